//! Random rulesets for nft.

use std::fmt::Write as _;

use fastrand::Rng;

use super::Side;

/// Tests of the port; some hold for the caller's packets to 9090, some do not.
const PORTS: [&str; 20] = [
    "tcp dport 9090",
    "tcp dport 9090",
    "tcp dport 8080",
    "tcp dport != 9090",
    "tcp dport 22",
    "tcp dport 9000-9100",
    "tcp dport { 22, 80, 8000-9090 }",
    "tcp dport { 22, 443 }",
    "tcp dport != { 22, 443 }",
    "tcp dport @ports",
    "tcp dport != @ports",
    "tcp dport > 1023",
    "tcp dport <= 1024",
    "tcp sport 1024-65535",
    "tcp sport < 1024",
    "meta l4proto { tcp, udp } th dport 9090",
    "meta l4proto tcp",
    "udp dport 9090",
    "udp dport != 53",
    "tcp flags & (fin|syn|rst|ack) == syn",
];
/// Tests of the addresses.
const ADDRESSES: [&str; 14] = [
    "ip saddr 203.0.113.2",
    "ip saddr != 203.0.113.2",
    "ip saddr 203.0.113.0/24",
    "ip saddr != 203.0.113.0/24",
    "ip saddr 198.51.100.0/24",
    "ip saddr != 198.51.100.0/24",
    "ip saddr { 198.51.100.7, 203.0.113.0/29 }",
    "ip saddr @friends",
    "ip saddr != @friends",
    "ip saddr 203.0.113.2-203.0.113.9",
    "ip saddr 198.51.100.2-198.51.100.9",
    "ip daddr 203.0.113.1",
    "ip daddr 127.0.0.0/8",
    "ip saddr . tcp dport { 203.0.113.2 . 9090, 198.51.100.0/24 . 22 }",
];
/// Tests of the interface by which it comes in.
const INTERFACES: [&str; 8] = [
    "iifname \"eth0\"",
    "iifname != \"eth0\"",
    "iifname != \"lo\"",
    "iifname \"eth*\"",
    "iifname { \"eth0\", \"eth1\" }",
    "iifname \"eth1\"",
    "iif \"eth0\"",
    "iif != \"lo\"",
];
/// Tests of the connection.
const CONNECTIONS: [&str; 9] = [
    "ct state new",
    "ct state new",
    "ct state established,related",
    "ct state { new, established }",
    "ct state invalid",
    "ct state != established",
    "ct state != invalid",
    "ct direction original",
    "meta l4proto tcp ct original proto-dst 9090",
];
/// Other tests.
const OTHERS: [&str; 11] = [
    "meta mark 0x0",
    "meta mark & 0xff == 0x1",
    "ct mark 0x7",
    "fib daddr type local",
    "meta pkttype host",
    "ip protocol tcp",
    "ip6 saddr fd00::/8",
    "limit rate over 500/second",
    "ct count over 500",
    "tcp flags & (syn|ack) == syn",
    "tcp flags syn",
];
/// What doctor cannot tell.
pub(super) const UNKNOWN: [&str; 3] = [
    "tcp dport 9090 limit rate 500/second",
    "tcp dport 9090 ip ttl > 10",
    "tcp dport @ports ip length > 9",
];
/// Where a base chain stands among others.
const PRIORITIES: [&str; 7] = ["-300", "-150", "-10", "filter", "0", "10", "50"];

pub(super) fn ruleset(random: &mut Rng, side: Side) -> String {
    let mut script = String::new();
    let mut tables = random.usize(1..=3);
    // That of iptables as well, with what iptables does not know.
    let own_filter = side == Side::Host && random.u8(..6) == 0;
    if own_filter {
        tables = 1;
    }
    for number in 0..tables {
        let name = if own_filter { "filter".to_owned() } else { format!("t{number}") };
        let family = if own_filter || random.u8(..3) == 0 { "ip" } else { "inet" };
        writeln!(script, "table {family} {name} {{").unwrap();
        if random.u8(..12) == 0 {
            script.push_str("\tflags dormant;\n");
        }
        script.push_str(
            "\tset ports { type inet_service; flags interval; elements = { 22, 9000-9099 }; }\n\
             \tset friends { type ipv4_addr; flags interval; elements = { 198.51.100.0/24, \
             203.0.113.2 }; }\n",
        );
        script.push_str(
            "\tmap verdicts { type inet_service : verdict; elements = { 22 : accept, \
             9090 : goto deep }; }\n",
        );
        // The deeper ones first: nobody calls what is not there.
        for (name, calls) in [("deep", &[][..]), ("side", &["deep"])] {
            let rules = random.usize(0..=3);
            chain(&mut script, random, name, "", rules, calls, "input");
        }
        for number in 0..if own_filter { 1 } else { random.usize(1..=2) } {
            let hook = if own_filter { "input" } else { hook(random, side) };
            let priority = random.choice(PRIORITIES).unwrap();
            let priority = if own_filter { "filter" } else { priority };
            let policy = if random.u8(..4) == 0 { "drop" } else { "accept" };
            let head = format!(
                "\t\ttype filter hook {hook} priority {priority}; policy {policy};\n\
                 \t\t{} \"lo\" accept\n",
                if matches!(hook, "output" | "postrouting") { "oifname" } else { "iifname" }
            );
            let name = if own_filter { "INPUT".to_owned() } else { format!("{hook}{number}") };
            let rules = random.usize(1..=5);
            let calls = ["side", "deep"];
            // Who drops by policy lets in what he has for connections already.
            let usual = policy == "drop" && random.u8(..5) > 0;
            let head = match usual {
                true => format!("{head}\t\tct state established,related accept\n"),
                false => head,
            };
            chain(&mut script, random, &name, &head, rules, &calls, hook);
        }
        script.push_str("}\n");
    }
    script
}

fn hook(random: &mut Rng, side: Side) -> &'static str {
    let hooks: &[&str] = match side {
        Side::Host => &["input", "input", "input", "input", "prerouting", "output"],
        Side::Docker => &["forward", "forward", "forward", "prerouting", "postrouting", "input"],
    };
    random.choice(hooks).unwrap()
}

fn chain(
    script: &mut String,
    random: &mut Rng,
    name: &str,
    head: &str,
    rules: usize,
    calls: &[&str],
    hook: &str,
) {
    writeln!(script, "\tchain {name} {{\n{head}").unwrap();
    for _ in 0..rules {
        writeln!(script, "\t\t{}", rule(random, calls, hook)).unwrap();
    }
    script.push_str("\t}\n");
}

fn rule(random: &mut Rng, calls: &[&str], hook: &str) -> String {
    let mut words: Vec<&str> = Vec::new();
    if random.u8(..10) < 7 {
        words.push(random.choice(PORTS).unwrap());
    }
    for (all, of_ten) in [(&ADDRESSES[..], 3), (&INTERFACES, 2), (&CONNECTIONS, 2), (&OTHERS, 1)] {
        if random.u8(..10) < of_ten {
            words.push(random.choice(all).unwrap());
        }
    }
    if random.u8(..60) == 0 {
        words.push(random.choice(UNKNOWN).unwrap());
    }
    // Who asks for UDP or IPv6 cannot ask for TCP or IPv4.
    let other = words.iter().copied().find(|it| it.starts_with("udp") || it.starts_with("ip6"));
    if let Some(other) = other {
        words = vec![other];
    }
    // Something for everybody is decided rarely: else all the rest would say nothing.
    if words.is_empty() && random.u8(..3) > 0 {
        words.push("tcp dport 9090");
    }
    match random.u8(..10) {
        0 | 1 => words.push("counter"),
        2 => words.push("log prefix \"dropped: \""),
        _ => {}
    }
    // Maps decide by themselves.
    match if other.is_some() { 9 } else { random.u8(..14) } {
        0 if !calls.is_empty() => words.push("tcp dport vmap @verdicts"),
        1 => words.push("tcp dport vmap { 22 : accept, 9000-9089 : drop, 9090 : return }"),
        2 => words.push("ct state vmap { established : accept, invalid : drop }"),
        3 => words.push("ip saddr . tcp dport vmap { 203.0.113.2 . 9090 : accept }"),
        _ => {
            let decision = decision(random, calls);
            // A reset answers TCP alone; and what leaves cannot be refused.
            let is_tcp = words.iter().any(|it| it.contains("tcp ") && !it.contains("udp"));
            words.push(match decision {
                "reject with tcp reset" if !is_tcp => "drop",
                reject if reject.starts_with("reject") && hook == "postrouting" => "drop",
                reject if reject.contains("icmp ") && other.is_some() => "reject",
                decision => decision,
            });
        }
    }
    let comment = if random.u8(..8) == 0 { " comment \"tcp dport 9090 accept\"" } else { "" };
    format!("{}{comment}", words.join(" "))
}

fn decision(random: &mut Rng, calls: &[&str]) -> &'static str {
    match random.u8(..20) {
        0..=8 => "accept",
        9..=12 => "drop",
        13 => "reject with tcp reset",
        14 => "reject with icmp port-unreachable",
        15 => "return",
        16 | 17 if calls.contains(&"side") => "jump side",
        16 | 17 if !calls.is_empty() => "jump deep",
        18 if calls.contains(&"side") => "goto side",
        19 => "counter",
        _ => "accept",
    }
}
