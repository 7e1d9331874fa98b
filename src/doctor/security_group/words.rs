//! What is said of security groups in more than one place.

use ipnet::IpNet;

use crate::doctor::ecs::rules::{Policy, Rule, Sources};
use crate::doctor::ecs::{ApiError, CredentialsError};

/// Most networks that are listed.
const LISTED: usize = 6;

/// A rule by the names the API has for its parts, which the console shows as well.
pub(in crate::doctor) fn rule(rule: &Rule) -> String {
    let Rule { id, group, priority, sources, .. } = rule;
    let id = if id.is_empty() { "-" } else { id };
    let policy = match rule.policy {
        Policy::Accept => "Accept",
        Policy::Drop => "Drop",
    };
    let from = match sources {
        Sources::Networks(found) => networks(found),
        Sources::Group(id) | Sources::Unknown(id) => id.clone(),
    };
    let ports: Vec<String> =
        rule.ports.iter().map(|(first, last)| format!("{first}/{last}")).collect();
    format!("{id} [{group}, Priority {priority}, {policy}, {}, {from}]", ports.join(","))
}

/// Networks, or the first of them.
pub(in crate::doctor) fn networks(networks: &[IpNet]) -> String {
    let listed: Vec<String> = networks.iter().take(LISTED).map(ToString::to_string).collect();
    let more = networks.len().saturating_sub(LISTED);
    let listed = listed.join(", ");
    if more > 0 { format!("{listed} … (+{more})") } else { listed }
}

/// Adds the rule that lets in `source`, by `aliyun`.
pub(in crate::doctor) fn command(region: &str, group: &str, port: u16, source: IpNet) -> String {
    let name = match source {
        IpNet::V4(_) => "SourceCidrIp",
        IpNet::V6(_) => "Ipv6SourceCidrIp",
    };
    format!(
        "aliyun ecs AuthorizeSecurityGroup --RegionId {region} --SecurityGroupId {group} \
         --Permissions.1.IpProtocol TCP --Permissions.1.PortRange {port}/{port} \
         --Permissions.1.{name} {source} --Permissions.1.Policy accept \
         --Permissions.1.Priority 1 --Permissions.1.Description dingbot"
    )
}

/// Why there are no credentials, in Chinese and in English.
pub(in crate::doctor) fn no_credentials(error: &CredentialsError) -> (String, String) {
    let chinese = match error {
        CredentialsError::None => {
            return (
                "环境变量没有设置，~/.aliyun/config.json 里没有，实例也没有授予 RAM 角色".into(),
                "none in the environment, none in ~/.aliyun/config.json, and the instance has no RAM role".into(),
            );
        }
        CredentialsError::Half(set, missing) => format!("设置了 {set}，但没有设置 {missing}"),
        CredentialsError::Profile { file, why } => format!("{}：{why}", file.display()),
        CredentialsError::Role(role, why) => format!("RAM 角色 {role}：{why}"),
    };
    (chinese, error.to_string())
}

/// What the API refused with, in Chinese and in English.
pub(in crate::doctor) fn api_error(error: &ApiError) -> (String, String) {
    match error {
        ApiError::Unreachable(why) => {
            (format!("连不上 ECS 接口：{why}"), format!("the API of ECS is not reached: {why}"))
        }
        ApiError::Refused { code } => (
            format!("ECS 接口不接受这个访问密钥（{code}）"),
            format!("the API of ECS does not accept the access key ({code})"),
        ),
        ApiError::Clock { code } => (
            format!("本机时钟与 ECS 相差超过 15 分钟（{code}）"),
            format!("the clock of this host is more than 15 minutes off that of ECS ({code})"),
        ),
        ApiError::NotPermitted { action } => (
            format!("访问密钥没有 ecs:{action} 权限"),
            format!("the access key lacks the permission ecs:{action}"),
        ),
        ApiError::NotOfThisAccount => (
            "访问密钥有查询权限，但它的账号里没有这台实例（密钥属于另一个阿里云账号？）".into(),
            "the access key may look, but its account has no such instance (a key of another account?)".into(),
        ),
        ApiError::Throttled { code } => {
            (format!("ECS 接口限流（{code}）"), format!("the API of ECS is throttling ({code})"))
        }
        ApiError::Other { .. } => {
            (format!("ECS 接口报错：{error}"), format!("the API of ECS says: {error}"))
        }
    }
}
