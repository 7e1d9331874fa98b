//! What mends it: the rule to add, and what to do about those in its way.

use ipnet::IpNet;

use super::verdict::Scene;
use super::words;
use crate::doctor::ecs::rules::{self, Family, Rule};
use crate::doctor::finding::{Remedy, Text};
use crate::language::Language;

impl Scene<'_> {
    /// The rule that lets `source` in: by doctor, by `aliyun`, and in the console.
    pub(super) fn add(&self, port: u16, source: IpNet) -> Remedy {
        let narrower = if source == rules::everywhere(rules::of(source)) {
            ("（只给固定来源用时填它的网段）", " (or the network of those who use it)")
        } else {
            ("", "")
        };
        let group = self.groups.first().map_or("", String::as_str);
        Remedy::new(Text::new(
            format!("ECS 控制台 → 实例 → 安全组 {group} → 入方向 → 手动添加：授权策略 允许，优先级 1，协议类型 自定义 TCP，端口范围 {port}/{port}，授权对象 {source}{}，描述 dingbot；1～2 分钟内生效。或用命令（任选一条）", narrower.0),
            format!("ECS console → Instances → Security Group {group} → Inbound → Add Rule: action Allow, priority 1, protocol Custom TCP, port range {port}/{port}, source {source}{}, description dingbot; it takes effect within 1 to 2 minutes. Or by one of these commands", narrower.1),
        ))
        .command(open_port(port, source))
        .command(words::command(self.region, group, port, source))
    }

    fn revoke(&self, rule: &Rule) -> String {
        format!(
            "aliyun ecs RevokeSecurityGroup --RegionId {} --SecurityGroupId {} \
             --SecurityGroupRuleId.1 {}",
            self.region, rule.group, rule.id
        )
    }

    /// Lets in what `drop` drops, and changes as little else as can be.
    pub(super) fn overrule(&self, port: u16, drop: &Rule, accept: Option<&Rule>) -> Remedy {
        let source = self.visitor.unwrap_or_else(|| rules::everywhere(Family::V4));
        if drop.priority > 1 {
            return self.add(port, source);
        }
        let alone = drop.ports == [(port, port)];
        let remedy = if alone {
            Remedy::new(Text::new(
                "ECS 控制台 → 实例 → 安全组 → 入方向：删除这条拒绝规则；1～2 分钟内生效",
                "ECS console → Instances → Security Groups → Inbound: delete this rule; it takes effect within 1 to 2 minutes",
            ))
        } else {
            Remedy::new(Text::new(
                "ECS 控制台 → 实例 → 安全组 → 入方向：把这条拒绝规则的优先级改为 100，排到允许规则之后（它还管其他端口，不要删除）；1～2 分钟内生效",
                "ECS console → Instances → Security Groups → Inbound: give this rule priority 100, so that it goes after those that allow (it is about other ports as well: do not delete it); it takes effect within 1 to 2 minutes",
            ))
        };
        let Rule { id, group, .. } = drop;
        let remedy = match id.as_str() {
            "" => remedy,
            _ if alone => remedy.command(self.revoke(drop)),
            _ => remedy.command(format!(
                "aliyun ecs ModifySecurityGroupRule --RegionId {} --SecurityGroupId {group} \
                 --SecurityGroupRuleId {id} --Policy drop --Priority 100",
                self.region
            )),
        };
        match accept {
            Some(_) => remedy,
            None => remedy.command(open_port(port, source)),
        }
    }

    /// A narrower rule in the place of `wide`, which lets in everybody; behind a proxy, none.
    pub(super) fn narrow(&self, port: u16, family: Family, wide: Option<&Rule>) -> Remedy {
        let behind = self.entrances.front.first().filter(|_| self.entrances.proxied);
        let advice = if let Some(front) = behind {
            Text::new(
                format!("外部经反向代理（{front}）访问即可：删除这条规则，{port} 只留给本机"),
                format!(
                    "Callers come by the proxy on {front}: delete this rule, and leave {port} to this host"
                ),
            )
        } else {
            Text::new(
                "能用。更稳妥的做法：只给自己的网段开放；要接收钉钉回调（来源不固定）时，前面放 nginx，对外只开 443。先加窄规则，再删宽规则",
                "It works. Safer: open it to your own network only; where DingTalk calls back (from addresses that are not fixed), put nginx before it and open 443 alone. Add the narrower rule first, then delete the wide one",
            )
        };
        let alone = wide.is_some_and(|rule| rule.ports == [(port, port)]);
        let advice = if alone { advice } else { with_other_ports(&advice) };
        let mut remedy = Remedy::new(advice);
        if behind.is_none() {
            let narrow = self.operator.filter(|operator| rules::of(*operator) == family);
            let narrow = narrow.map_or_else(|| "'CIDR'".to_owned(), |network| network.to_string());
            remedy = remedy
                .command(format!("dingbot doctor --open-port --port {port} --source {narrow}"));
        }
        if let Some(rule) = wide.filter(|rule| alone && !rule.id.is_empty()) {
            remedy = remedy.command(self.revoke(rule));
        }
        remedy
    }
}

/// The same about a rule that is for more ports than this one.
fn with_other_ports(advice: &Text) -> Text {
    Text::new(
        format!(
            "{}。这条规则还放行其他端口（例如 SSH 22）：先给它们单独加规则，再删除它",
            advice.of(Language::Chinese)
        ),
        format!(
            "{}. The rule lets in other ports as well, perhaps SSH: give those rules of their own before it is deleted",
            advice.of(Language::English)
        ),
    )
}

fn open_port(port: u16, source: IpNet) -> String {
    format!("dingbot doctor --open-port --port {port} --source {source}")
}
