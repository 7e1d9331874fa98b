//! A stand-in for Alibaba Cloud's command line: it takes a request only if the ECS API knows it.
//!
//! Follows the API of ECS, version 2014-05-26, of which the program passes on an action and its
//! parameters by their names.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// An action: what it needs, and what it takes besides. `#` stands for a number.
struct Action {
    name: &'static str,
    required: &'static [&'static str],
    optional: &'static [&'static str],
}

const RULE: [&str; 8] = [
    "Permissions.#.IpProtocol",
    "Permissions.#.PortRange",
    "Permissions.#.SourceCidrIp",
    "Permissions.#.Ipv6SourceCidrIp",
    "Permissions.#.Policy",
    "Permissions.#.Priority",
    "Permissions.#.Description",
    "ClientToken",
];
const ACTIONS: [Action; 4] = [
    Action {
        name: "DescribeInstances",
        required: &["RegionId"],
        optional: &["InstanceIds", "PrivateIpAddresses", "MaxResults", "NextToken"],
    },
    Action {
        name: "DescribeSecurityGroupAttribute",
        required: &["RegionId", "SecurityGroupId"],
        optional: &["Direction", "NicType", "MaxResults", "NextToken"],
    },
    Action {
        name: "AuthorizeSecurityGroup",
        required: &["RegionId", "SecurityGroupId"],
        optional: &RULE,
    },
    Action {
        name: "RevokeSecurityGroup",
        required: &["RegionId", "SecurityGroupId"],
        optional: &RULE,
    },
];

/// The program in a folder for `PATH`; it writes down how it was called.
#[derive(Debug)]
pub(crate) struct Aliyun {
    calls: PathBuf,
}

impl Aliyun {
    /// Puts it into the folder.
    pub(crate) fn install(folder: &Path) -> Self {
        let calls = folder.join("aliyun.calls");
        let program = folder.join("aliyun");
        let script = format!(
            "#!/bin/sh\nfor argument; do printf '%s\\037' \"$argument\"; done >> '{0}'\n\
             echo >> '{0}'\necho '{{}}'\n",
            calls.display()
        );
        fs::write(&program, script).expect("the folder can be written");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("it is there");
        Self { calls }
    }

    /// Checks every call there was, and that there was one of each of these actions.
    ///
    /// # Panics
    /// On a call that the API would not take.
    pub(crate) fn check(&self, wanted: &[&str]) {
        let calls = fs::read_to_string(&self.calls).expect("it was called");
        let calls: Vec<Vec<&str>> = calls
            .lines()
            .map(|call| call.trim_end_matches('\u{1f}').split('\u{1f}').collect())
            .collect();
        for call in &calls {
            if let Err(why) = check(call) {
                panic!("{call:?}: {why}");
            }
        }
        for action in wanted {
            assert!(calls.iter().any(|call| call[1] == *action), "no {action} in {calls:?}");
        }
    }
}

fn check(call: &[&str]) -> Result<(), String> {
    let [product, name, parameters @ ..] = call else { return Err("no action".into()) };
    if *product != "ecs" {
        return Err(format!("{product} is not ECS"));
    }
    let action = ACTIONS.iter().find(|action| action.name == *name);
    let action = action.ok_or(format!("ECS has no {name}"))?;
    let mut seen = Vec::new();
    for pair in parameters.chunks(2) {
        let [key, value] = pair else { return Err(format!("{pair:?} has no value")) };
        let key = key.strip_prefix("--").ok_or(format!("{key} is no parameter"))?;
        let number = |part: &str| part.parse::<u8>().is_ok_and(|number| number > 0);
        let general: Vec<&str> =
            key.split('.').map(|part| if number(part) { "#" } else { part }).collect();
        let general = general.join(".");
        let known = action.required.iter().chain(action.optional);
        if !known.clone().any(|known| *known == general) {
            return Err(format!("{name} has no parameter {key}"));
        }
        is_good(&general, value)?;
        seen.push(general);
    }
    match action.required.iter().find(|required| !seen.iter().any(|key| key == *required)) {
        Some(missing) => Err(format!("{missing} is missing")),
        None => Ok(()),
    }
}

/// Whether the API takes the value of a parameter.
fn is_good(key: &str, value: &str) -> Result<(), String> {
    let good = match key {
        "RegionId" => value.starts_with("cn-"),
        "SecurityGroupId" => value.starts_with("sg-"),
        "InstanceIds" => serde_json::from_str::<Vec<String>>(value)
            .is_ok_and(|ids| ids.iter().all(|id| id.starts_with("i-"))),
        "Direction" => ["ingress", "egress", "all"].contains(&value),
        "Permissions.#.IpProtocol" => ["TCP", "UDP", "ICMP", "GRE", "ALL"].contains(&value),
        "Permissions.#.PortRange" => value.split_once('/').is_some_and(|(from, to)| {
            let port = |text: &str| text.parse::<u16>().ok().filter(|port| *port > 0);
            port(from).is_some() && port(from) <= port(to)
        }),
        "Permissions.#.SourceCidrIp" => value.parse::<ipnet::Ipv4Net>().is_ok(),
        "Permissions.#.Policy" => ["accept", "drop"].contains(&value),
        "Permissions.#.Priority" => value.parse::<u8>().is_ok_and(|it| (1..=100).contains(&it)),
        "Permissions.#.Description" => (1..=512).contains(&value.len()),
        _ => !value.is_empty(),
    };
    good.then_some(()).ok_or(format!("{key} is not {value:?}"))
}

#[test]
fn the_stand_in_knows_a_bad_request() {
    let good = "ecs AuthorizeSecurityGroup --RegionId cn-hangzhou --SecurityGroupId sg-1 \
                --Permissions.1.PortRange 9090/9090 --Permissions.1.SourceCidrIp 203.0.113.7/32";
    let words = |call: &str| check(&call.split_whitespace().collect::<Vec<_>>());
    assert_eq!(words(good), Ok(()));
    for (from, to) in [
        ("9090/9090", "9090"),
        ("203.0.113.7/32", "203.0.113.7"),
        ("PortRange", "Port"),
        ("--SecurityGroupId sg-1", ""),
        ("AuthorizeSecurityGroup", "OpenPort"),
    ] {
        assert!(words(&good.replace(from, to)).is_err(), "{to:?}");
    }
}
