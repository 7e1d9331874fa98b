//! `dingbot doctor` on an ECS instance on which something is wrong, or nothing.
//!
//! Network namespaces stand for a laptop, the cloud and the instance. The bot, Docker, nginx and
//! the packet filters are real; the metadata service, the API of ECS, DingTalk and the model are
//! simulated, and the rules of the simulated security group decide what passes. Each fault must be
//! named first, with a remedy that is then carried out; after that nothing fails, and the laptop is
//! answered.

mod containers;
mod faults;
mod healthy;
mod lab;
mod network;
mod report;
mod site;
mod stand_in;
mod table;
