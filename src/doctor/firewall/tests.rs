//! Rules as the programs print them.

use std::collections::HashSet;

use serde_json::json;

use super::chains::{Fate, Hook, fate};
use super::packet::{Addresses, Packet};
use super::*;

/// `nft --json list ruleset` of version 1.0.6, and its listing with handles.
const NFT: &str = include_str!("tests/nft.json");
const LISTING: &str = include_str!("tests/nft.txt");
/// `iptables-save` of version 1.8.9 with ufw 0.36.2 active and 22/tcp allowed.
const UFW: &str = include_str!("tests/ufw.txt");
/// The same with Docker 20.10, which publishes 9090 as 8080 of 192.0.2.2.
const DOCKER: &str = include_str!("tests/docker.txt");

fn packet(port: u16) -> Packet {
    Packet::to_port(port)
}

fn to_container(address: &str) -> Packet {
    let destination = Addresses::OneOf(vec![address.parse().unwrap()]);
    let to = Some(vec!["docker0".to_owned()]);
    Packet { destination, to, forwarded: true, asked: 9090, ..packet(8080) }
}

fn by_nft(packet: &Packet) -> Fate {
    judged_by_nft(serde_json::from_str(NFT).unwrap(), LISTING, packet)
}

fn judged_by_nft(ruleset: serde_json::Value, listing: &str, packet: &Packet) -> Fate {
    let chains = nft::Ruleset::new(ruleset, listing).chains(packet, &HashSet::new());
    fate(&chains, Hook::Input, &(i64::MIN..=i64::MAX))
}

fn by_iptables(saved: &str, packet: &Packet, hook: Hook) -> Fate {
    let chains = iptables::chains(saved, packet, |_| false, |_, _| 0);
    fate(&chains, hook, &(i64::MIN..=i64::MAX))
}

fn rule(fate: Fate) -> String {
    match fate {
        Fate::Passes(_) => "passes".into(),
        Fate::Dropped(place) => place.rule.unwrap_or_else(|| format!("policy of {}", place.chain)),
        Fate::Rejected(place) => format!("reject: {}", place.rule.unwrap_or_default()),
    }
}

#[test]
fn nftables_is_followed_through_sets_maps_and_jumps() {
    assert_eq!(by_nft(&packet(443)), Fate::Passes(None));
    assert_eq!(by_nft(&packet(8005)), Fate::Passes(None));
    assert_eq!(rule(by_nft(&packet(7))), "tcp dport vmap { 1-10 : drop, 20 : jump x }");
    assert_eq!(rule(by_nft(&packet(9443))), "reject: reject with icmpx admin-prohibited");
    // For some addresses alone.
    assert_ne!(by_nft(&packet(22)), Fate::Passes(None));
    let neighbour =
        Packet { source: Addresses::OneOf(vec!["10.1.2.3".parse().unwrap()]), ..packet(22) };
    assert_eq!(by_nft(&neighbour), Fate::Passes(None));
    let local = Packet { from: Some(vec!["lo".into()]), ..packet(9443) };
    assert_eq!(by_nft(&local), Fate::Passes(None));
}

#[test]
fn a_limit_might_let_it_pass() {
    let Fate::Rejected(place) = by_nft(&packet(9090)) else { panic!("the limit is not known") };
    assert_eq!(place.doubt.as_deref(), Some("tcp dport 9090 limit rate 3/second accept"));
    assert_eq!((&*place.table, &*place.base), ("inet filter", "input"));
}

#[test]
fn the_first_of_two_base_chains_does_not_speak_for_the_second() {
    let chain = |name: &str, priority: i64, policy: &str| {
        json!({"chain": {"family": "inet", "table": "t", "name": name, "type": "filter",
            "hook": "input", "prio": priority, "policy": policy}})
    };
    let rule = |chain: &str, action: &str| {
        json!({"rule": {"family": "inet", "table": "t", "chain": chain, "handle": 1,
            "expr": [{action: null}]}})
    };
    let ruleset = json!({"nftables": [chain("first", -10, "drop"), chain("second", 0, "accept"),
        rule("first", "accept"), rule("second", "drop")]});
    let Fate::Dropped(place) = judged_by_nft(ruleset, "", &packet(80)) else {
        panic!("the second drops");
    };
    assert_eq!(place.base, "second");
}

#[test]
fn ufw_is_followed_through_its_chains() {
    assert_eq!(by_iptables(UFW, &packet(22), Hook::Input), Fate::Passes(None));
    assert_eq!(rule(by_iptables(UFW, &packet(9090), Hook::Input)), "policy of INPUT");
    assert_eq!(by_iptables("", &packet(9090), Hook::Input), Fate::Passes(None));
}

#[test]
fn docker_passes_on_what_it_publishes_and_nothing_else() {
    let forward = |address| by_iptables(DOCKER, &to_container(address), Hook::Forward);
    assert_eq!(forward("192.0.2.2"), Fate::Passes(None));
    assert_eq!(rule(forward("192.0.2.9")), "policy of FORWARD");
    let closed = DOCKER.replace(
        "-A DOCKER-USER -j RETURN",
        "-A DOCKER-USER -p tcp -m tcp --dport 8080 -j DROP\n-A DOCKER-USER -j RETURN",
    );
    assert_eq!(
        rule(by_iptables(&closed, &to_container("192.0.2.2"), Hook::Forward)),
        "-A DOCKER-USER -p tcp -m tcp --dport 8080 -j DROP"
    );
}

#[test]
fn iptables_rules_are_read_with_their_negations() {
    let verdict = |rule: &str, port| {
        let saved = format!("*filter\n:INPUT ACCEPT [0:0]\n-A INPUT {rule}\nCOMMIT\n");
        by_iptables(&saved, &packet(port), Hook::Input) == Fate::Passes(None)
    };
    assert!(!verdict("-p tcp -m multiport ! --dports 22,80:90 -j REJECT", 9090));
    assert!(verdict("-p tcp -m multiport ! --dports 22,80:90 -j REJECT", 85));
    assert!(!verdict(
        "-p tcp -m comment --comment \"no -p udp\" -m tcp --dport 9090 -j DROP",
        9090
    ));
    assert!(verdict("-p udp -m udp --dport 9090 -j DROP", 9090));
    assert!(verdict("-s 198.51.100.0/24 -j DROP", 9090));
    assert!(!verdict("! -s 198.51.100.0/24 -j DROP", 9090));
    assert!(verdict("-i lo -j DROP", 9090));
    assert!(!verdict("! -i lo -j DROP", 9090));
    assert!(verdict("-m state --state INVALID -j DROP", 9090));
    assert!(!verdict("-m conntrack --ctstate NEW -j DROP", 9090));
    // So many packets are dropped, and only more would pass.
    assert!(!verdict("-p tcp -m limit --limit 1/sec -j DROP", 9090));
    assert!(verdict("-j LOG --log-prefix \"x \" --log-level 4", 9090));
}

#[test]
fn the_remedy_is_in_the_words_of_who_keeps_the_rules() {
    let command = |manager, fate: Fate| match fate {
        Fate::Passes(_) => panic!("it passes"),
        Fate::Dropped(place) | Fate::Rejected(place) => {
            remedy::to_pass(manager, &place, &packet(9090)).commands.remove(0)
        }
    };
    let ufw = by_iptables(UFW, &packet(9090), Hook::Input);
    assert_eq!(command(Some(Manager::Ufw), ufw), "sudo ufw allow 9090/tcp");
    let nft = by_nft(&packet(9090));
    assert_eq!(command(None, nft), "sudo nft insert rule inet filter input tcp dport 9090 accept");
    let saved = "*filter\n:INPUT DROP [0:0]\nCOMMIT\n";
    assert_eq!(
        command(None, by_iptables(saved, &packet(9090), Hook::Input)),
        "sudo iptables -I INPUT -p tcp --dport 9090 -j ACCEPT"
    );
}
