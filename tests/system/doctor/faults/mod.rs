//! What can be wrong, a group a file.

mod bot;
mod docker;
pub(super) mod firewall;
mod laptop;
mod listening;
pub(super) mod nginx;
mod security_group;
mod systemd;
mod upstreams;
