//! Three network namespaces: a laptop on the Internet, the cloud in the middle, and the instance.
//!
//! The cloud is the router between the two others and the only way there is; where it does not know
//! the way, packets vanish, as they do on the Internet. It has the instance's public address and
//! translates it, also for the instance itself, and lets in what the security group allows.

use std::net::IpAddr;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use ipnet::IpNet;
use serde_json::Value;

use crate::support::ecs::METADATA;
use crate::support::namespace::{Namespace, ip};

/// The addresses of the operators' guide.
pub(super) const HOST: &str = "172.24.223.120";
pub(super) const PUBLIC: &str = "8.222.215.42";
pub(super) const LAPTOP: &str = "198.51.100.7";
/// What is in the cloud.
pub(super) const ECS_API: &str = "203.0.113.80";
pub(super) const NAMES: &str = "203.0.113.53";
pub(super) const DINGTALK: &str = "203.0.113.10";
pub(super) const MODEL: &str = "203.0.113.20";
/// The router's ends.
const VPC_GATEWAY: &str = "172.24.223.253";
const ISP_GATEWAY: &str = "198.51.100.1";

/// The three.
#[derive(Debug)]
pub(super) struct Network {
    pub(super) laptop: Namespace,
    pub(super) cloud: Namespace,
    pub(super) host: Namespace,
}

impl Network {
    /// Lays the cables.
    ///
    /// # Errors
    /// Why it cannot be done here: a reason to skip.
    pub(super) fn new() -> Result<Self, String> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        if !rustix::process::geteuid().is_root() {
            return Err("network namespaces need root".into());
        }
        for (program, package) in [("ip", "iproute2"), ("nft", "nftables"), ("openssl", "openssl")]
        {
            if !crate::docker::engine::installed(program) {
                return Err(format!("`{program}` is not installed (package {package})"));
            }
        }
        let id = format!("{}x{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let named = |who: &str| Namespace::new(&format!("dingbot-{who}-{id}"));
        let network =
            Self { laptop: named("laptop")?, cloud: named("cloud")?, host: named("ecs")? };
        let Self { laptop, cloud, host } = &network;
        cable(cloud, ("isp0", &format!("{ISP_GATEWAY}/24")), laptop, &format!("{LAPTOP}/24"))?;
        cable(cloud, ("vpc0", &format!("{VPC_GATEWAY}/20")), host, &format!("{HOST}/20"))?;
        for (namespace, gateway) in [(laptop, ISP_GATEWAY), (host, VPC_GATEWAY)] {
            ip(&["-n", namespace.name(), "route", "add", "default", "via", gateway])?;
        }
        let name = cloud.name();
        for address in [METADATA, ECS_API, NAMES, DINGTALK, MODEL] {
            ip(&["-n", name, "address", "add", &format!("{address}/32"), "dev", "lo"])?;
        }
        // The rest of the world.
        ip(&["-n", name, "route", "add", "blackhole", "default"])?;
        let forwards = "for what in ip_forward conf/all/send_redirects conf/default/send_redirects \
                        conf/vpc0/send_redirects; do \
                        case $what in *redirects) on=0;; *) on=1;; esac; \
                        echo $on > /proc/sys/net/ipv4/$what; done";
        ip(&["netns", "exec", name, "sh", "-c", forwards])?;
        host.write("hosts", "127.0.0.1 localhost\n::1 localhost\n")?;
        host.write("resolv.conf", &format!("nameserver {NAMES}\noptions timeout:1 attempts:1\n"))?;
        laptop.write("hosts", "127.0.0.1 localhost\n::1 localhost\n")?;
        laptop
            .write("resolv.conf", &format!("nameserver {NAMES}\noptions timeout:1 attempts:1\n"))?;
        Ok(network)
    }

    /// Lets in what these rules of the security group allow, and nothing else.
    pub(super) fn allow(&self, rules: &[Value]) {
        let mut rules: Vec<&Value> = rules.iter().collect();
        // The lower number first, and drop before accept.
        rules.sort_by_key(|rule| (priority(rule), rule["Policy"] != "Drop"));
        let from_outside: Vec<String> = rules.iter().filter_map(|rule| statement(rule)).collect();
        // What comes back to the instance comes from its own public address.
        let own: IpAddr = PUBLIC.parse().expect("an address");
        let from_itself: Vec<String> = rules
            .iter()
            .filter(|rule| source(rule).is_some_and(|source| source.contains(&own)))
            .filter_map(|rule| {
                let statement = statement(rule)?;
                statement.split_once(" tcp dport").map(|(_, it)| format!("tcp dport{it}"))
            })
            .collect();
        let script = format!(
            "table ip cloud\ndelete table ip cloud\ntable ip cloud {{\n\
             chain pre {{ type nat hook prerouting priority dstnat;\n\
               ip daddr {PUBLIC} dnat to {HOST}\n }}\n\
             chain post {{ type nat hook postrouting priority srcnat;\n\
               ip saddr {HOST} ip daddr {HOST} snat to {PUBLIC}\n\
               ip saddr {HOST} oifname \"isp0\" snat to {PUBLIC}\n }}\n\
             chain forward {{ type filter hook forward priority filter; policy accept;\n\
               ct state established,related accept\n\
               iifname \"isp0\" oifname \"vpc0\" jump group\n\
               iifname \"vpc0\" oifname \"vpc0\" jump itself\n }}\n\
             chain group {{\n{}\ndrop\n }}\n\
             chain itself {{\n{}\ndrop\n }}\n}}\n",
            from_outside.join("\n"),
            from_itself.join("\n"),
        );
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        std::fs::write(file.path(), &script).expect("a writable temporary file");
        let output = Command::new("ip")
            .args(["netns", "exec", self.cloud.name(), "nft", "-f"])
            .arg(file.path())
            .output()
            .expect("ip can be started");
        assert!(output.status.success(), "{output:?}\n{script}");
    }
}

/// A cable from the cloud, whose end is named, to `eth0` of somebody.
fn cable(
    cloud: &Namespace,
    near: (&str, &str),
    far: &Namespace,
    address: &str,
) -> Result<(), String> {
    let (here, there) = (cloud.name(), far.name());
    ip(&[
        "-n", here, "link", "add", near.0, "type", "veth", "peer", "name", "eth0", "netns", there,
    ])?;
    for (name, device, address) in [(here, near.0, near.1), (there, "eth0", address)] {
        ip(&["-n", name, "address", "add", address, "dev", device])?;
        ip(&["-n", name, "link", "set", device, "up"])?;
        ip(&["-n", name, "link", "set", "lo", "up"])?;
    }
    Ok(())
}

fn priority(rule: &Value) -> u8 {
    rule["Priority"].as_str().and_then(|it| it.parse().ok()).expect("every rule has a priority")
}

fn source(rule: &Value) -> Option<IpNet> {
    rule["SourceCidrIp"].as_str()?.parse().ok()
}

/// A rule by nft; nothing for those of IPv6, groups and lists, which nobody here is in.
fn statement(rule: &Value) -> Option<String> {
    let source = source(rule)?;
    let (first, last) = rule["PortRange"].as_str()?.split_once('/')?;
    let ports = if first == "-1" { "1-65535".to_owned() } else { format!("{first}-{last}") };
    let verdict = if rule["Policy"] == "Drop" { "drop" } else { "accept" };
    Some(format!("ip saddr {source} tcp dport {ports} {verdict}"))
}
