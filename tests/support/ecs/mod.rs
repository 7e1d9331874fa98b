//! Alibaba Cloud ECS, simulated: the metadata service of an instance, and the OpenAPI.
//!
//! Uses no code of the program; each part names the documents it follows. In a test the program
//! reaches them by address and by name: the metadata service at its own address in a namespace,
//! the API by `/etc/hosts` of the namespace and an authority in `SSL_CERT_FILE`.

pub mod api;
pub mod metadata;
mod permissions;
mod signature;

pub use api::{Api, Key};
pub use metadata::{About, Metadata, Role};

/// The instance of the simulators, and where it is.
pub const INSTANCE: &str = "i-bp13znx0m0me8cquu001";
pub const REGION: &str = "cn-hangzhou";
pub const ZONE: &str = "cn-hangzhou-i";
/// The address of the metadata service.
pub const METADATA: &str = "100.100.100.200";
/// The API's host names.
pub const PUBLIC_ENDPOINT: &str = "ecs.cn-hangzhou.aliyuncs.com";
pub const VPC_ENDPOINT: &str = "ecs-vpc.cn-hangzhou.aliyuncs.com";
