//! The rules of a group, as the API writes them, and how one is added.
//!
//! Follows `AuthorizeSecurityGroup` and `DescribeSecurityGroupAttribute` (2014-05-26): priority 1
//! to 100, 1 when it is not given; one source; a rule that exists is success and no second rule;
//! host bits are cut off. `NextToken` is opaque: what is in it is the simulator's own.

use ipnet::IpNet;
use serde_json::{Value, json};

use super::api::Failure;
use crate::support::server::Received;

/// A rule that lets in.
pub fn accept(port_range: &str, source: &str) -> Value {
    rule("Accept", 1, port_range, source)
}

/// A rule that drops.
pub fn drop(priority: u8, port_range: &str, source: &str) -> Value {
    rule("Drop", priority, port_range, source)
}

/// A rule for TCP; `source` is a network, a group or a prefix list.
pub fn rule(policy: &str, priority: u8, port_range: &str, source: &str) -> Value {
    let name = match source {
        _ if source.starts_with("sg-") => "SourceGroupId",
        _ if source.starts_with("pl-") => "SourcePrefixListId",
        _ if source.contains(':') => "Ipv6SourceCidrIp",
        _ => "SourceCidrIp",
    };
    let list = if port_range.starts_with("prl-") { port_range } else { "" };
    let mut rule = json!({
        "SecurityGroupRuleId": format!("sgr-{}", &uuid::Uuid::new_v4().simple().to_string()[..20]),
        "Direction": "ingress", "NicType": "intranet", "Policy": policy,
        "Priority": priority.to_string(), "IpProtocol": "TCP",
        "PortRange": if list.is_empty() { port_range } else { "" }, "PortRangeListId": list,
        "SourcePortRange": "-1/-1", "SourceCidrIp": "", "Ipv6SourceCidrIp": "",
        "SourceGroupId": "", "SourceGroupName": "", "SourceGroupOwnerAccount": "",
        "SourcePrefixListId": "", "SourcePrefixListName": "", "DestCidrIp": "",
        "Ipv6DestCidrIp": "", "DestGroupId": "", "DestGroupName": "",
        "DestGroupOwnerAccount": "", "DestPrefixListId": "", "DestPrefixListName": "",
        "Description": "", "CreateTime": "2026-01-01T00:00:00Z",
    });
    rule[name] = json!(source);
    rule
}

/// The rule that `Permissions.1.…` asks for.
pub(super) fn asked(request: &Received) -> Result<Value, Failure> {
    let get = |name: &str| {
        request.parameter(&format!("Permissions.1.{name}")).filter(|value| !value.is_empty())
    };
    let missing = |name: &str| {
        let message = format!("The parameter Permissions.1.{name} is mandatory.");
        Failure::new(400, "MissingParameter", &message)
    };
    let malformed = |name: &str| {
        Failure::new(400, &format!("InvalidParam.{name}"), "The specified parameter is not valid.")
    };
    let protocol = get("IpProtocol").ok_or_else(|| missing("IpProtocol"))?;
    if !["TCP", "UDP", "ALL", "ICMP", "GRE"].contains(&protocol.to_uppercase().as_str()) {
        return Err(malformed("IpProtocol"));
    }
    let ports = get("PortRange").ok_or_else(|| missing("PortRange"))?;
    let valid = ports.split_once('/').is_some_and(|(first, last)| {
        let (first, last) = (first.parse::<u16>(), last.parse::<u16>());
        matches!((first, last), (Ok(first), Ok(last)) if 0 < first && first <= last)
    });
    if !valid {
        return Err(malformed("PortRange"));
    }
    let priority = get("Priority").unwrap_or_else(|| "1".into());
    if !priority.parse::<u8>().is_ok_and(|number| (1..=100).contains(&number)) {
        return Err(malformed("Priority"));
    }
    let policy = get("Policy").unwrap_or_else(|| "accept".into());
    let policy = match policy.to_lowercase().as_str() {
        "accept" => "Accept",
        "drop" => "Drop",
        _ => return Err(malformed("Policy")),
    };
    let sources = ["SourceCidrIp", "Ipv6SourceCidrIp", "SourceGroupId", "SourcePrefixListId"];
    let mut sources = sources.iter().filter_map(|name| Some((*name, get(name)?)));
    let (name, source) = sources.next().ok_or_else(|| missing("SourceCidrIp"))?;
    if sources.next().is_some() {
        return Err(Failure::new(400, "InvalidParam.Conflict", "More than one source."));
    }
    let source = match name {
        "SourceCidrIp" | "Ipv6SourceCidrIp" => {
            let network: IpNet = source.parse().map_err(|_| malformed(name))?;
            if (name == "SourceCidrIp") != matches!(network, IpNet::V4(_)) {
                return Err(malformed(name));
            }
            network.trunc().to_string()
        }
        _ => source,
    };
    let mut rule = rule(policy, priority.parse().expect("it was read"), &ports, &source);
    rule["IpProtocol"] = json!(protocol.to_uppercase());
    rule["Description"] = json!(get("Description").unwrap_or_default());
    Ok(rule)
}

/// Whether two rules are one: all that decides is the same.
pub(super) fn same(one: &Value, other: &Value) -> bool {
    let decides = [
        "Direction",
        "IpProtocol",
        "PortRange",
        "PortRangeListId",
        "Policy",
        "Priority",
        "SourceCidrIp",
        "Ipv6SourceCidrIp",
        "SourceGroupId",
        "SourcePrefixListId",
    ];
    decides.iter().all(|name| one[name] == other[name])
}

/// A page of `rules`, and where the next one begins.
pub(super) fn page(rules: &[Value], request: &Received) -> Result<(Vec<Value>, String), Failure> {
    let invalid =
        |name: &str| Failure::new(400, &format!("InvalidParameter.{name}"), "It is not valid.");
    let most = match request.parameter("MaxResults") {
        None => 500,
        Some(most) => {
            let most = most.parse::<usize>().ok().filter(|most| (10..=1000).contains(most));
            most.ok_or_else(|| invalid("MaxResults"))?
        }
    };
    let from = match request.parameter("NextToken").filter(|token| !token.is_empty()) {
        None => 0,
        Some(token) => {
            let from = token.strip_prefix("AAAAA").and_then(|from| from.parse::<usize>().ok());
            from.ok_or_else(|| invalid("NextToken"))?
        }
    };
    let page = rules.iter().skip(from).take(most).cloned().collect();
    let next = from + most;
    let token = if next < rules.len() { format!("AAAAA{next}") } else { String::new() };
    Ok((page, token))
}
