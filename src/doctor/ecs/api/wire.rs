//! The API's answers, as far as they are read.

use serde::Deserialize;
use serde_json::Value;

use crate::doctor::ecs::rules::{self, Policy, Rule, Sources};

/// An answer that is an error.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Problem {
    pub(super) code: String,
    #[serde(default)]
    pub(super) message: String,
    #[serde(default)]
    pub(super) request_id: String,
}

/// The answer of `DescribeInstances`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Instances {
    instances: InstanceList,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct InstanceList {
    #[serde(default)]
    instance: Vec<Instance>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Instance {
    instance_id: String,
    #[serde(default)]
    security_group_ids: GroupIds,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct GroupIds {
    #[serde(default)]
    security_group_id: Vec<String>,
}

impl Instances {
    /// The groups of this instance; nothing when it is not among them.
    pub(super) fn instance(self, id: &str) -> Option<Vec<String>> {
        let found = self.instances.instance.into_iter().find(|found| found.instance_id == id)?;
        Some(found.security_group_ids.security_group_id)
    }
}

/// The answer of `DescribeSecurityGroupAttribute`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Attribute {
    pub(super) permissions: Permissions,
    #[serde(default)]
    pub(super) next_token: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Permissions {
    #[serde(default)]
    pub(super) permission: Vec<Permission>,
}

/// A rule, as the API has it: what does not apply is empty.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Permission {
    security_group_rule_id: String,
    direction: String,
    ip_protocol: String,
    port_range: String,
    pub(super) port_range_list_id: String,
    source_cidr_ip: String,
    ipv6_source_cidr_ip: String,
    source_group_id: String,
    pub(super) source_prefix_list_id: String,
    policy: String,
    /// A number, or a text with one.
    priority: Value,
}

impl Permission {
    pub(super) fn is_ingress(&self) -> bool {
        !self.direction.eq_ignore_ascii_case("egress")
    }

    /// The rule, without what stands in lists.
    pub(super) fn rule(&self, group: &str) -> Rule {
        let protocol = self.ip_protocol.to_ascii_lowercase();
        let priority = match &self.priority {
            Value::String(text) => text.parse().ok(),
            number => number.as_u64().and_then(|number| u8::try_from(number).ok()),
        };
        let written = [&self.source_cidr_ip, &self.ipv6_source_cidr_ip];
        let networks: Vec<_> = written.iter().filter_map(|text| rules::network(text)).collect();
        let sources = if !networks.is_empty() {
            Sources::Networks(networks)
        } else if !self.source_group_id.is_empty() {
            Sources::Group(self.source_group_id.clone())
        } else {
            let written = written.into_iter().find(|text| !text.is_empty());
            Sources::Unknown(written.unwrap_or(&self.source_prefix_list_id).clone())
        };
        let rule = Rule {
            id: self.security_group_rule_id.clone(),
            group: group.to_owned(),
            policy: if self.policy.eq_ignore_ascii_case("accept") {
                Policy::Accept
            } else {
                Policy::Drop
            },
            priority: priority.unwrap_or(1),
            // By name, or by its number at IANA.
            tcp: matches!(protocol.as_str(), "tcp" | "all" | "6" | "-1"),
            ports: rules::port_range(&self.port_range).into_iter().collect(),
            sources,
        };
        if rule.ports.is_empty() && self.port_range_list_id.is_empty() {
            return rule.of_unknown_ports(&self.port_range);
        }
        rule
    }
}

impl Rule {
    /// The same about ports that are not known: those of a list, or of a text nobody can read.
    pub(super) fn of_unknown_ports(mut self, list: &str) -> Self {
        self.ports = vec![(0, u16::MAX)];
        self.sources = Sources::Unknown(list.to_owned());
        self
    }
}

/// The answer of `DescribePrefixListAttributes`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct PrefixList {
    entries: Entries<Cidr>,
}

/// The answer of `DescribePortRangeListEntries`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct PortRanges {
    entries: Entries<Ports>,
}

/// A list, which some answers wrap once more.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Entries<T> {
    Plain(Vec<T>),
    #[serde(rename_all = "PascalCase")]
    Wrapped {
        entry: Vec<T>,
    },
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Cidr {
    cidr: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Ports {
    port_range: String,
}

impl<T> Entries<T> {
    fn list(&self) -> &[T] {
        match self {
            Self::Plain(list) | Self::Wrapped { entry: list } => list,
        }
    }
}

impl PrefixList {
    pub(super) fn sources(&self, id: &str) -> Sources {
        let entries = self.entries.list().iter();
        match entries.map(|entry| rules::network(&entry.cidr)).collect() {
            Some(networks) => Sources::Networks(networks),
            None => Sources::Unknown(id.to_owned()),
        }
    }
}

impl PortRanges {
    pub(super) fn ranges(&self) -> Option<Vec<(u16, u16)>> {
        self.entries.list().iter().map(|entry| rules::port_range(&entry.port_range)).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A rule as the documents show it: every field is there, and those that do not apply are
    /// empty.
    fn documented() -> Value {
        json!({
            "SecurityGroupRuleId": "sgr-bp12kewq32dfwrdi0000", "Direction": "ingress",
            "SourceGroupId": "", "DestGroupOwnerAccount": "", "DestPrefixListId": "",
            "DestPrefixListName": "", "SourceCidrIp": "10.0.0.0/8", "Ipv6DestCidrIp": "",
            "CreateTime": "2018-12-12T07:28:38Z", "Ipv6SourceCidrIp": "", "DestGroupId": "",
            "DestCidrIp": "", "IpProtocol": "TCP", "Priority": "7", "DestGroupName": "",
            "NicType": "intranet", "Policy": "Accept", "Description": "", "PortRange": "22/80",
            "SourcePrefixListName": "", "SourcePrefixListId": "", "SourceGroupOwnerAccount": "",
            "SourceGroupName": "", "SourcePortRange": "-1/-1"
        })
    }

    fn rule(change: Value) -> Rule {
        let mut all = documented();
        for (name, value) in change.as_object().unwrap() {
            all[name] = value.clone();
        }
        serde_json::from_value::<Permission>(all).unwrap().rule("sg-1")
    }

    #[test]
    fn a_rule_is_read_as_documented() {
        let read = rule(json!({}));
        assert_eq!((read.policy, read.priority, read.tcp), (Policy::Accept, 7, true));
        assert_eq!(read.ports, [(22, 80)]);
        assert_eq!(read.sources, Sources::Networks(vec!["10.0.0.0/8".parse().unwrap()]));
        assert_eq!(rule(json!({ "Priority": 100 })).priority, 100);
        assert!(!rule(json!({ "IpProtocol": "UDP" })).tcp);
        assert!(rule(json!({ "IpProtocol": "all", "PortRange": "-1/-1" })).tcp);
        assert_eq!(rule(json!({ "Policy": "drop" })).policy, Policy::Drop);
        let group = json!({ "SourceCidrIp": "", "SourceGroupId": "sg-2" });
        assert_eq!(rule(group).sources, Sources::Group("sg-2".into()));
    }

    #[test]
    fn what_cannot_be_read_is_unknown_and_not_nothing() {
        let read = rule(json!({ "SourceCidrIp": "somewhere" }));
        assert_eq!(read.sources, Sources::Unknown("somewhere".into()));
        let read = rule(json!({ "PortRange": "http" }));
        assert_eq!((read.ports, read.sources), (vec![(0, 65535)], Sources::Unknown("http".into())));
    }

    #[test]
    fn lists_are_read_wrapped_or_not() {
        let wrapped = json!({ "Entries": { "Entry": [{ "Cidr": "10.0.0.0/8" }] } });
        let list: PrefixList = serde_json::from_value(wrapped).unwrap();
        assert_eq!(list.sources("pl-1"), Sources::Networks(vec!["10.0.0.0/8".parse().unwrap()]));
        let plain = json!({ "Entries": [{ "PortRange": "80/80" }, { "PortRange": "1/2" }] });
        let list: PortRanges = serde_json::from_value(plain).unwrap();
        assert_eq!(list.ranges(), Some(vec![(80, 80), (1, 2)]));
    }
}
