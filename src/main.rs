//! The `dingbot` program: see [`dingbot::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    dingbot::cli::main()
}
