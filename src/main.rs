//! The `dingbot` program.
fn main() {}
