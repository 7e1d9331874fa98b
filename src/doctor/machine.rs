//! The machine: its name, its addresses, whether this is a container, and the ECS instance it is.

mod container;

use std::net::{IpAddr, Ipv4Addr};

use super::ecs::{Ecs, Instance, Metadata, Mode};
use super::facts::Facts;
use super::finding::{Depth, Finding, Remedy, Text};

/// Where the kernel keeps the name of this host.
const HOST_NAME: &str = "/proc/sys/kernel/hostname";
/// Interfaces that lead to containers and virtual machines of this host, and nowhere else.
pub(super) const INSIDE: [&str; 10] =
    ["docker", "br-", "veth", "virbr", "lxcbr", "lxdbr", "podman", "cni", "flannel", "cali"];
/// The metadata service, where a host has it as an address of its own.
const METADATA: IpAddr = IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200));

pub(super) async fn look(facts: &Facts) -> Vec<Finding> {
    let mut findings = vec![host(&addresses())];
    findings.extend(container::look());
    match facts.ecs().await {
        Ecs::Instance { instance, metadata } => {
            findings.push(shown(instance, metadata));
            if instance.public.is_empty() {
                findings.push(without_public_address(instance));
            }
        }
        Ecs::Silent => findings.push(silent()),
        Ecs::Elsewhere => findings.push(Finding::fine(
            "not_on_ecs",
            Text::new(
                "不是阿里云 ECS 实例，跳过安全组检查",
                "Not an ECS instance of Alibaba Cloud: security groups do not apply",
            ),
        )),
    }
    findings
}

/// The addresses of this host's interfaces, but for loopback, link-local ones and those of
/// networks inside this host.
pub(super) fn addresses() -> Vec<IpAddr> {
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    let outer = interfaces.into_iter().filter(|interface| {
        let name = interface.name.as_str();
        let inside = INSIDE.iter().any(|prefix| name.starts_with(prefix));
        name != "lo" && !inside && !interface.is_loopback() && !interface.is_link_local()
    });
    let mut addresses: Vec<IpAddr> = outer.map(|interface| interface.ip()).collect();
    addresses.retain(|address| *address != METADATA);
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}

fn host(addresses: &[IpAddr]) -> Finding {
    let name = std::fs::read_to_string(HOST_NAME).unwrap_or_default();
    let name = name.trim();
    if addresses.is_empty() {
        let words = (
            format!("主机名 {name}，除本机回环外没有网络地址"),
            format!("host name {name}, no network address besides loopback"),
        );
        return Finding::fine("host", Text::new(words.0, words.1));
    }
    let listed = listed(addresses);
    Finding::fine(
        "host",
        Text::new(
            format!("主机名 {name}，本机地址 {listed}"),
            format!("host name {name}, addresses {listed}"),
        ),
    )
}

fn listed(addresses: &[IpAddr]) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn shown(instance: &Instance, metadata: &Metadata) -> Finding {
    let Instance { id, region, zone, public, .. } = instance;
    let place = zone.as_deref().unwrap_or(region);
    let mode = match metadata.mode() {
        Mode::Hardened => ("加固模式（令牌）", "hardened mode (token)"),
        Mode::Normal => ("普通模式（无令牌）", "normal mode (no token)"),
    };
    let public = if public.is_empty() {
        ("无公网地址".to_owned(), "no public address".to_owned())
    } else {
        let public = listed(public);
        (format!("公网地址 {public}"), format!("public address {public}"))
    };
    Finding::fine(
        "ecs_instance",
        Text::new(
            format!(
                "ECS 实例 {id}，地域 {region}（{place}），{}；元数据服务：{}",
                public.0, mode.0
            ),
            format!(
                "ECS instance {id}, region {region} ({place}), {}; metadata service: {}",
                public.1, mode.1
            ),
        ),
    )
}

fn without_public_address(instance: &Instance) -> Finding {
    let Instance { id, region, .. } = instance;
    Finding::warning(
        "no_public_address",
        Depth::Address,
        Text::new(
            format!("实例 {id} 没有公网 IP，也没有绑定弹性公网 IP（EIP）：公网无法直接访问，钉钉的回调也到不了"),
            format!("instance {id} has neither a public nor an elastic IP address: nobody on the Internet, DingTalk included, reaches it directly"),
        ),
        Remedy::new(Text::new(
            "ECS 控制台 → 实例 → 更多 → 网络和安全组 → 绑定弹性 IP。已通过负载均衡（SLB/ALB）或 NAT 网关接入的，无需处理",
            "ECS console → Instances → More → Network and Security Group → Bind EIP. Nothing to do when a load balancer (SLB/ALB) or a NAT gateway stands before it",
        ))
        .command(format!("aliyun vpc AllocateEipAddress --RegionId {region}"))
        .command(format!(
            "aliyun vpc AssociateEipAddress --RegionId {region} --AllocationId 'eip-…' --InstanceId {id}"
        )),
    )
}

fn silent() -> Finding {
    Finding::unseen(
        "ecs_metadata_unseen",
        Text::new(
            "这是阿里云的机器，但元数据服务 100.100.100.200 没有应答：实例、地域、公网地址未知",
            "this machine is Alibaba Cloud's, but the metadata service 100.100.100.200 does not answer: instance, region and public address are not known",
        ),
        Remedy::new(Text::new(
            "检查主机防火墙是否拦截了 100.100.100.200，以及 ECS 控制台 → 实例 → 更多 → 修改实例元数据访问信息 是否已启用",
            "See whether a firewall of this host drops 100.100.100.200, and whether ECS console → Instances → More → Modify instance metadata access has it enabled",
        ))
        .command("curl -m 2 -X PUT -H 'X-aliyun-ecs-metadata-token-ttl-seconds: 60' http://100.100.100.200/latest/api/token"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_no_address_to_reach_it_by() {
        for address in addresses() {
            assert!(!address.is_loopback() && address != METADATA, "{address}");
        }
    }
}
