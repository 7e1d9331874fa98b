//! Alibaba Cloud ECS: what the instance says of itself, and what the API says of it.

mod acs3;
mod api;
mod credentials;
mod metadata;
pub mod open_port;
pub(in crate::doctor) mod rules;

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use futures_util::future::join_all;

pub(in crate::doctor) use self::api::{Api, ApiError, Authorize};
pub(in crate::doctor) use self::credentials::{CredentialsError, Origin, find as credentials};
pub(in crate::doctor) use self::metadata::{Metadata, Mode};
use super::facts::Facts;
use super::machine;

/// The longest the metadata service may take to say what this host is: others wait for that, and
/// have to ask the API then.
const LIMIT: Duration = Duration::from_millis(1_600);
/// Where the kernel says who made the machine.
const VENDOR: &str = "/sys/class/dmi/id/sys_vendor";

/// The instance that this host is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// `i-…`
    pub id: String,
    /// Such as `cn-hangzhou`.
    pub region: String,
    /// Such as `cn-hangzhou-i`.
    pub zone: Option<String>,
    /// The address of its interface in the VPC.
    pub private: Vec<IpAddr>,
    /// Its public or elastic address; none: it cannot be reached from outside.
    pub public: Vec<IpAddr>,
}

/// What is known of ECS from here.
#[derive(Debug)]
pub(in crate::doctor) enum Ecs {
    /// This host is an instance.
    Instance {
        /// What it says of itself.
        instance: Instance,
        /// Where it says so.
        metadata: Metadata,
    },
    /// This host is an instance as far as its maker's name tells, and does not say which.
    Silent,
    /// This host is none.
    Elsewhere,
}

/// Asks the metadata service.
pub(super) async fn find(facts: &Facts) -> Ecs {
    let only_tokens = facts.variable("ALIBABA_CLOUD_IMDSV1_DISABLED") == Some("true");
    let asked = async {
        let metadata = Metadata::open(only_tokens).await?;
        let instance = describe(&metadata).await?;
        Some(Ecs::Instance { instance, metadata })
    };
    if let Ok(Some(instance)) = tokio::time::timeout(LIMIT, asked).await {
        return instance;
    }
    if is_made_by_alibaba(Path::new(VENDOR)) { Ecs::Silent } else { Ecs::Elsewhere }
}

/// What the service says; nothing when it is not the one of ECS.
async fn describe(metadata: &Metadata) -> Option<Instance> {
    let items = ["instance-id", "region-id", "zone-id", "private-ipv4", "public-ipv4", "eipv4"];
    let items = join_all(items.map(|item| metadata.get(item)));
    let (items, ipv6) = tokio::join!(items, ipv6(metadata));
    let mut items = items.into_iter();
    let mut next = || items.next().flatten();
    let id = next().filter(|id| is_instance_id(id))?;
    let region = next().filter(|region| is_region(region))?;
    let zone = next().filter(|zone| zone.starts_with(&region) && is_region(zone));
    let mut address = || next().and_then(|address| address.parse::<IpAddr>().ok());
    let private = address().into_iter().collect();
    let mut public: Vec<IpAddr> = Vec::new();
    for address in [address(), address()].into_iter().flatten().chain(ipv6) {
        if !public.contains(&address) {
            public.push(address);
        }
    }
    Some(Instance { id, region, zone, private, public })
}

/// The global IPv6 addresses of the first interface. One that was assigned, and that no interface
/// has, is nobody's way in.
async fn ipv6(metadata: &Metadata) -> Vec<IpAddr> {
    let Some(mac) = metadata.get("mac").await.filter(|mac| is_mac(mac)) else {
        return Vec::new();
    };
    let listed = metadata.get(&format!("network/interfaces/macs/{mac}/ipv6s")).await;
    let listed = listed.unwrap_or_default();
    let listed = listed.trim_matches(['[', ']']).split([',', ' ', '\n', '"']);
    let addresses = listed.filter_map(|address| address.trim().parse::<IpAddr>().ok());
    let own = machine::addresses();
    addresses.filter(|address| address.is_ipv6() && own.contains(address)).collect()
}

/// Whether it is an id: a name that leads to other hosts must not come from a stranger's answer.
fn is_instance_id(text: &str) -> bool {
    let id = text.strip_prefix("i-").unwrap_or_default();
    (6..=64).contains(&id.len()) && id.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-')
}

/// Whether it is a region or a zone: a label of a host name, with a country or an area before it.
fn is_region(text: &str) -> bool {
    let label = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    let area = text.split_once('-').map_or("", |(area, _)| area);
    (1..=3).contains(&area.len())
        && text.len() <= 40
        && text.bytes().all(label)
        && !text.ends_with('-')
        && !text.contains("--")
}

fn is_mac(text: &str) -> bool {
    text.len() == 17 && text.bytes().all(|c| c.is_ascii_hexdigit() || c == b':')
}

fn is_made_by_alibaba(vendor: &Path) -> bool {
    std::fs::read_to_string(vendor).is_ok_and(|vendor| vendor.trim() == "Alibaba Cloud")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_leads_into_a_host_name_is_checked() {
        for region in ["cn-hangzhou", "ap-southeast-1", "cn-shanghai-finance-1", "us-west-1"] {
            assert!(is_region(region), "{region}");
        }
        for text in
            ["", "ok", "evil.example/", "cn-hangzhou.evil", "cn-", "-1", "CN-hangzhou", "c d"]
        {
            assert!(!is_region(text), "{text}");
        }
        assert!(is_instance_id("i-bp13znx0m0me8cquu000"));
        for text in ["", "i-", "ok", "<html>", "i-a b cdefg", "i-../../../x"] {
            assert!(!is_instance_id(text), "{text}");
        }
    }

    #[test]
    fn the_maker_is_read_from_the_kernel() {
        let folder = tempfile::tempdir().unwrap();
        let vendor = folder.path().join("sys_vendor");
        assert!(!is_made_by_alibaba(&vendor));
        std::fs::write(&vendor, "Alibaba Cloud\n").unwrap();
        assert!(is_made_by_alibaba(&vendor));
        std::fs::write(&vendor, "QEMU\n").unwrap();
        assert!(!is_made_by_alibaba(&vendor));
    }
}
