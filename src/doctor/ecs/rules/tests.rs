use proptest::prelude::*;

use super::*;

fn rule(policy: Policy, priority: u8, source: &str) -> Rule {
    Rule {
        id: format!("sgr-{policy:?}-{priority}-{source}"),
        group: "sg-1".into(),
        policy,
        priority,
        tcp: true,
        ports: vec![(9090, 9090)],
        sources: Sources::Networks(vec![source.parse().unwrap()]),
    }
}

fn open(rules: &[Rule]) -> Vec<String> {
    opening(rules, 9090, Family::V4).open.iter().map(ToString::to_string).collect()
}

use Policy::{Accept, Drop};

#[test]
fn without_a_rule_everything_is_dropped() {
    let opening = opening(&[], 9090, Family::V4);
    assert!(opening.open.is_empty() && opening.decided.is_empty());
    assert!(!opening.is_wide(Family::V4));
}

#[test]
fn at_the_same_priority_drop_goes_first_and_a_lower_number_before_both() {
    let all = "0.0.0.0/0";
    assert!(open(&[rule(Accept, 1, all), rule(Drop, 1, all)]).is_empty());
    assert_eq!(open(&[rule(Accept, 1, all), rule(Drop, 2, all)]), [all]);
    assert!(open(&[rule(Accept, 100, all), rule(Drop, 99, all)]).is_empty());
}

#[test]
fn a_hole_in_a_network_is_cut_out_by_the_fewest_networks() {
    let rules = [rule(Accept, 10, "10.0.0.0/8"), rule(Drop, 10, "10.128.0.0/9")];
    assert_eq!(open(&rules), ["10.0.0.0/9"]);
    let rules = [rule(Accept, 1, "10.0.0.0/9"), rule(Accept, 2, "10.128.0.0/9")];
    assert_eq!(open(&rules), ["10.0.0.0/8"]);
}

#[test]
fn an_acceptance_that_is_overruled_is_named_with_what_overrules_it() {
    let rules = [rule(Accept, 5, "198.51.100.0/24"), rule(Drop, 1, "0.0.0.0/0")];
    let opening = opening(&rules, 9090, Family::V4);
    assert_eq!(opening.overruled, [&rules[0]]);
    assert_eq!(opening.decides("198.51.100.7/32".parse().unwrap()), Some(&rules[1]));
}

#[test]
fn families_do_not_mix() {
    let rules = [rule(Accept, 1, "0.0.0.0/0"), rule(Drop, 1, "::/0")];
    assert!(opening(&rules, 9090, Family::V4).is_wide(Family::V4));
    assert!(opening(&rules, 9090, Family::V6).open.is_empty());
    let rules = [rule(Accept, 1, "::/0")];
    assert!(opening(&rules, 9090, Family::V6).is_wide(Family::V6));
    assert!(open(&rules).is_empty());
}

#[test]
fn what_is_known_by_group_or_not_at_all_is_set_apart() {
    let mut by_group = rule(Accept, 1, "0.0.0.0/0");
    by_group.sources = Sources::Group("sg-2".into());
    let mut unknown = rule(Drop, 1, "0.0.0.0/0");
    unknown.sources = Sources::Unknown("pl-1".into());
    let rules = [by_group, unknown, rule(Accept, 1, "10.0.0.0/8")];
    let opening = opening(&rules, 9090, Family::V4);
    assert_eq!((opening.by_group.len(), opening.unknown.len()), (1, 1));
    assert_eq!(opening.open.len(), 1);
}

#[test]
fn ports_and_networks_are_read_as_ecs_writes_them() {
    assert_eq!(port_range("9090/9090"), Some((9090, 9090)));
    assert_eq!(port_range("-1/-1"), Some((0, 65535)));
    assert_eq!(port_range("1/65535"), Some((1, 65535)));
    for wrong in ["", "80", "90/80", "-1/80", "1/65536", "a/b"] {
        assert_eq!(port_range(wrong), None, "{wrong}");
    }
    assert_eq!(network("10.1.2.3"), Some("10.1.2.3/32".parse().unwrap()));
    assert_eq!(network("10.1.2.3/8"), Some("10.0.0.0/8".parse().unwrap()));
    assert_eq!(network("2408::/16"), Some("2408::/16".parse().unwrap()));
    assert_eq!(network("sg-1"), None);
}

/// The documents' words, read for one address: what the first rule that matches says.
fn as_documented(rules: &[Rule], port: u16, source: IpAddr) -> bool {
    let mut matching: Vec<&Rule> = rules
        .iter()
        .filter(|rule| rule.tcp)
        .filter(|rule| rule.ports.iter().any(|(first, last)| *first <= port && port <= *last))
        .filter(|rule| match &rule.sources {
            Sources::Networks(networks) => networks.iter().any(|network| network.contains(&source)),
            Sources::Group(_) | Sources::Unknown(_) => false,
        })
        .collect();
    matching.sort_by_key(|rule| (rule.priority, rule.policy == Accept));
    matching.first().is_some_and(|rule| rule.policy == Accept)
}

/// Networks that lie in each other and side by side, and the whole.
fn any_network() -> impl Strategy<Value = IpNet> {
    let v4 = (0..64u8, prop_oneof![Just(0u8), 24..=32u8]).prop_map(|(host, length)| {
        IpNet::new(IpAddr::from([203, 0, 113, host]), length).unwrap().trunc()
    });
    let v6 = (0..16u16, prop_oneof![Just(0u8), 120..=128u8]).prop_map(|(host, length)| {
        let address = IpAddr::from([0x2408, 0, 0, 0, 0, 0, 0, host]);
        IpNet::new(address, length).unwrap().trunc()
    });
    prop_oneof![3 => v4, 1 => v6]
}

fn any_rule() -> impl Strategy<Value = Rule> {
    let ports = prop_oneof![
        Just((9090, 9090)),
        Just((0, 65535)),
        Just((1, 9089)),
        Just((9091, 9999)),
        Just((80, 9090)),
    ];
    (
        prop_oneof![Just(Accept), Just(Drop)],
        1..4u8,
        prop::bool::weighted(0.9),
        prop::collection::vec(ports, 1..3),
        prop::collection::vec(any_network(), 1..3),
    )
        .prop_map(|(policy, priority, tcp, ports, networks)| Rule {
            id: String::new(),
            group: "sg-1".into(),
            policy,
            priority,
            tcp,
            ports,
            sources: Sources::Networks(networks),
        })
}

proptest! {
    #[test]
    fn every_address_is_treated_as_documented(
        rules in prop::collection::vec(any_rule(), 0..9),
        port in prop_oneof![Just(9090u16), Just(80), Just(0), Just(65535)],
    ) {
        let v4 = (0..=80u8).map(|host| IpAddr::from([203, 0, 113, host]));
        let edges = [[0, 0, 0, 0], [255; 4], [203, 0, 112, 255], [203, 0, 114, 0]];
        let v6 = (0..=20u16).map(|host| IpAddr::from([0x2408, 0, 0, 0, 0, 0, 0, host]));
        let ends = [IpAddr::from([0u16; 8]), IpAddr::from([0xffffu16; 8])];
        for source in v4.chain(edges.map(IpAddr::from)).chain(v6).chain(ends) {
            let family = if source.is_ipv4() { Family::V4 } else { Family::V6 };
            let opening = opening(&rules, port, family);
            let open = opening.open.iter().any(|network| network.contains(&source));
            prop_assert_eq!(open, as_documented(&rules, port, source), "{} {}", source, port);
            prop_assert_eq!(open, opening.lets_in(source.into()));
            let decides = opening.decides(source.into());
            prop_assert_eq!(open, decides.is_some_and(|rule| rule.policy == Accept));
        }
    }

    #[test]
    fn networks_are_the_fewest_there_can_be(rules in prop::collection::vec(any_rule(), 0..9)) {
        for family in [Family::V4, Family::V6] {
            let open = opening(&rules, 9090, family).open;
            prop_assert_eq!(&IpNet::aggregate(&open), &open);
        }
    }

    #[test]
    fn what_is_decided_does_not_overlap(rules in prop::collection::vec(any_rule(), 0..9)) {
        let opening = opening(&rules, 9090, Family::V4);
        let all: Vec<IpNet> =
            opening.decided.iter().flat_map(|(_, networks)| networks.clone()).collect();
        for (at, one) in all.iter().enumerate() {
            for other in &all[at + 1..] {
                prop_assert!(!one.contains(other) && !other.contains(one), "{} {}", one, other);
            }
        }
    }
}
