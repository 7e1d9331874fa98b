//! What can be wrong, a group a file.

pub(super) mod firewall;
mod laptop;
mod listening;
mod security_group;
