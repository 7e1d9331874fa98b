//! What is said when the rules cannot be seen: why, and the rule to look for by hand.

use ipnet::IpNet;

use super::entrance::Entrances;
use super::{Unknown, words};
use crate::doctor::ecs::{ApiError, Instance, Origin, rules};
use crate::doctor::finding::{Depth, Finding, Remedy, Text};

/// Stands for a region and a group that are not known.
const REGION: &str = "'cn-…'";
const GROUP: &str = "'sg-…'";

/// The rules of `instance` are not known.
pub(super) fn finding(
    unknown: &Unknown,
    instance: &Instance,
    entrances: &Entrances,
    visitor: Option<IpNet>,
) -> Finding {
    let by_hand = |first: Text| by_hand(Some(instance), entrances, visitor, &first);
    let plain = || by_hand(Text::new("", ""));
    match unknown {
        Unknown::Credentials(error) => {
            let (chinese, english) = words::no_credentials(error);
            let seen = Text::new(
                format!("没有阿里云访问凭证，看不到安全组：{chinese}"),
                format!(
                    "no credentials of Alibaba Cloud, so the security group is not seen: {english}"
                ),
            );
            let role = Text::new(
                "给实例授予带 AliyunECSReadOnlyAccess 权限的 RAM 角色，doctor 就能自己检查；也可手动核对：",
                "With a RAM role that has AliyunECSReadOnlyAccess doctor sees it by itself; by hand: ",
            );
            Finding::unseen("security_group_unseen", seen, by_hand(role))
        }
        Unknown::Api(error, origin) => {
            let (chinese, english) = words::api_error(error);
            let (of_zh, of_en) = named(origin);
            let seen = Text::new(
                format!("看不到安全组：{chinese}（凭证来自{of_zh}）"),
                format!("the security group is not seen: {english} (credentials from {of_en})"),
            );
            match error {
                ApiError::Refused { .. } => Finding::warning(
                    "ecs_credentials_refused",
                    Depth::Note,
                    seen,
                    by_hand(Text::new(
                        "更换有效的访问密钥，或删除它以使用实例的 RAM 角色；也可手动核对：",
                        "Give a valid access key, or remove it, so that the instance's RAM role is taken; by hand: ",
                    )),
                ),
                ApiError::Clock { .. } => Finding::warning(
                    "clock_skew",
                    Depth::Clock,
                    seen,
                    Remedy::new(Text::new(
                        "校准时钟：启用 chrony 或 systemd-timesyncd",
                        "Set the clock: enable chrony or systemd-timesyncd",
                    ))
                    .command("timedatectl set-ntp true"),
                ),
                ApiError::NotPermitted { action } => Finding::unseen(
                    "ecs_not_permitted",
                    seen,
                    by_hand(Text::new(
                        format!(
                            "在 RAM 控制台给它授予 AliyunECSReadOnlyAccess（或 ecs:{action}）；也可手动核对："
                        ),
                        format!(
                            "Grant it AliyunECSReadOnlyAccess (or ecs:{action}) in the RAM console; by hand: "
                        ),
                    )),
                ),
                ApiError::Unreachable(_) => Finding::unseen("ecs_unreachable", seen, plain()),
                ApiError::Throttled { .. } => Finding::unseen("ecs_throttled", seen, plain()),
                ApiError::NotOfThisAccount | ApiError::Other { .. } => {
                    Finding::unseen("security_group_unseen", seen, plain())
                }
            }
        }
    }
}

/// This is a machine of Alibaba Cloud that does not say which.
pub(super) fn silent(entrances: &Entrances, visitor: Option<IpNet>) -> Finding {
    Finding::unseen(
        "security_group_unseen",
        Text::new(
            "元数据服务没有应答，看不到安全组",
            "the metadata service does not answer, so the security group is not seen",
        ),
        by_hand(None, entrances, visitor, &Text::new("", "")),
    )
}

/// The path through the console with the rule, and the same by `aliyun`.
fn by_hand(
    instance: Option<&Instance>,
    entrances: &Entrances,
    visitor: Option<IpNet>,
    first: &Text,
) -> Remedy {
    use crate::language::Language::{Chinese, English};
    let port = port(entrances);
    let source = visitor.unwrap_or_else(|| rules::everywhere(rules::Family::V4));
    let remedy = Remedy::new(Text::new(
        format!(
            "{}ECS 控制台 → 实例 → 安全组 → 入方向 → 手动添加：授权策略 允许，优先级 1，协议类型 自定义 TCP，端口范围 {port}/{port}，授权对象 {source}（只给固定来源用时填它的网段），描述 dingbot；1～2 分钟内生效",
            first.of(Chinese)
        ),
        format!(
            "{}ECS console → Instances → Security Groups → Inbound → Add Rule: action Allow, priority 1, protocol Custom TCP, port range {port}/{port}, source {source} (or the network of those who use it), description dingbot; it takes effect within 1 to 2 minutes",
            first.of(English)
        ),
    ));
    let region = instance.map_or(REGION, |instance| &instance.region);
    let remedy = match instance {
        Some(Instance { id, .. }) => remedy.command(format!(
            "aliyun ecs DescribeInstances --RegionId {region} --InstanceIds '[\"{id}\"]' \
             --output cols=InstanceId,SecurityGroupIds.SecurityGroupId 'rows=Instances.Instance[]'"
        )),
        None => remedy,
    };
    remedy.command(words::command(region, GROUP, port, source))
}

/// The port the outside comes in by.
fn port(entrances: &Entrances) -> u16 {
    let own = entrances.own.first().map(|own| own.port);
    let front = entrances.front.first().copied().filter(|_| entrances.proxied);
    front.or(own).unwrap_or(443)
}

fn named(origin: &Origin) -> (String, String) {
    match origin {
        Origin::Environment(name) => (format!("环境变量 {name}"), format!("the variable {name}")),
        Origin::Profile(file, name) => {
            let file = file.display();
            (format!(" {file} 的配置 {name}"), format!("profile {name} of {file}"))
        }
        Origin::Role(role) => (format!("实例 RAM 角色 {role}"), format!("the RAM role {role}")),
    }
}
