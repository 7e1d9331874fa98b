//! Alibaba Cloud ECS: what the instance says of itself, and what the API says of it.

use std::net::IpAddr;

/// The instance that this host is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// `i-…`
    pub id: String,
    /// Such as `cn-hangzhou`.
    pub region: String,
    /// The address of its interface in the VPC.
    pub private: Vec<IpAddr>,
    /// Its public or elastic address; none: it cannot be reached from outside.
    pub public: Vec<IpAddr>,
}

/// Asks the metadata service; nothing when there is none.
pub(super) async fn find() -> Option<Instance> {
    None
}
