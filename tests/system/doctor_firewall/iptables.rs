//! Random rules for iptables, as iptables-restore reads them.

use std::fmt::Write as _;

use fastrand::Rng;

use super::Side;

/// Tests; some hold for the caller's packets to 9090, some do not.
const TESTS: [&str; 42] = [
    "-m mark --mark 0x0",
    "-m mark ! --mark 0x8/0xff",
    "-p tcp --dport 9090",
    "-p tcp --dport 9090",
    "-p tcp --dport 9090",
    "-p tcp --dport 8080",
    "-p tcp ! --dport 9090",
    "-p tcp --dport 22",
    "-p tcp --dport 8000:9090",
    "-p tcp --dport 1024:",
    "-p tcp -m multiport --dports 22,9000:9100",
    "-p tcp -m multiport ! --dports 22,443",
    "-p tcp --sport 1024:65535",
    "-p tcp --sport :1023",
    "-p tcp --syn",
    "-p tcp ! --syn",
    "-p tcp --tcp-flags ALL SYN",
    "-p tcp",
    "-p udp --dport 9090",
    "! -p tcp",
    "-p icmp",
    "-s 203.0.113.2",
    "! -s 203.0.113.2",
    "-s 203.0.113.0/24",
    "-s 198.51.100.0/24",
    "! -s 198.51.100.0/24",
    "-d 203.0.113.1",
    "-d 127.0.0.0/8",
    "-m iprange --src-range 203.0.113.2-203.0.113.9",
    "-m iprange ! --src-range 198.51.100.2-198.51.100.9",
    "-m conntrack --ctstate NEW",
    "-m conntrack --ctstate RELATED,ESTABLISHED",
    "-m conntrack ! --ctstate ESTABLISHED",
    "-m conntrack --ctstate INVALID",
    "-m state --state NEW,ESTABLISHED",
    "-m conntrack --ctorigdstport 9090 -p tcp",
    "-m conntrack --ctdir REPLY",
    "-m addrtype --dst-type LOCAL",
    "-m addrtype ! --dst-type LOCAL",
    "-m connlimit --connlimit-above 500",
    "-m hashlimit --hashlimit-above 500/sec --hashlimit-mode srcip --hashlimit-name callers",
    "-m comment --comment \"-p tcp --dport 9090 -j ACCEPT\"",
];
/// Tests of the interface by which it comes in.
const INTERFACES: [&str; 6] = ["-i eth0", "! -i eth0", "! -i lo", "-i eth+", "-i eth1", "-i e+"];
/// What doctor cannot tell.
pub(super) const UNKNOWN: [&str; 3] =
    ["-m limit --limit 500/sec", "-m ttl --ttl-gt 10", "-m length --length 1:1500"];

pub(super) fn ruleset(random: &mut Rng, side: Side) -> String {
    let mut script = String::new();
    if random.u8(..4) == 0 {
        let table = if random.bool() { "raw" } else { "mangle" };
        writeln!(script, "*{table}\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -i lo -j ACCEPT")
            .unwrap();
        rules(&mut script, random, "PREROUTING", 3, &[], false);
        script.push_str("COMMIT\n");
    }
    script.push_str("*filter\n");
    let chain = match side {
        Side::Host => {
            let policy = if random.u8(..3) == 0 { "DROP" } else { "ACCEPT" };
            writeln!(script, ":INPUT {policy} [0:0]").unwrap();
            "INPUT"
        }
        // Where Docker's own rules leave room for others.
        Side::Docker => "DOCKER-USER",
    };
    script.push_str(":deep - [0:0]\n:side - [0:0]\n");
    rules(&mut script, random, "deep", 2, &[], true);
    rules(&mut script, random, "side", 3, &["deep"], true);
    if side == Side::Docker {
        // Which has an end that returns.
        script.push_str("-F DOCKER-USER\n");
    } else {
        writeln!(script, "-A {chain} -i lo -j ACCEPT").unwrap();
        if random.u8(..4) > 0 {
            writeln!(script, "-A {chain} -m state --state RELATED,ESTABLISHED -j ACCEPT").unwrap();
        }
    }
    rules(&mut script, random, chain, 5, &["side", "deep"], true);
    if side == Side::Docker {
        script.push_str("-A DOCKER-USER -j RETURN\n");
    } else if random.u8(..5) == 0 {
        let policy = if random.bool() { "DROP" } else { "ACCEPT" };
        writeln!(script, ":OUTPUT {policy} [0:0]\n-A OUTPUT -o lo -j ACCEPT").unwrap();
        for sport in ["22", "9090", "1024:65535"] {
            if random.bool() {
                let decision = if random.u8(..4) > 0 { "ACCEPT" } else { "DROP" };
                writeln!(script, "-A OUTPUT -p tcp --sport {sport} -j {decision}").unwrap();
            }
        }
    }
    script.push_str("COMMIT\n");
    script
}

fn rules(
    script: &mut String,
    random: &mut Rng,
    chain: &str,
    most: usize,
    calls: &[&str],
    rejects: bool,
) {
    for _ in 0..random.usize(1..=most) {
        let mut words: Vec<&str> = Vec::new();
        for _ in 0..random.usize(0..=2) {
            let test = random.choice(TESTS).unwrap();
            // A rule has one protocol.
            let is_second =
                |option: &str| test.contains(option) && words.iter().any(|it| it.contains(option));
            if !["-p ", "-s ", "-d ", "--src-range", "-m conntrack"].into_iter().any(is_second) {
                words.push(test);
            }
        }
        if random.u8(..4) == 0 {
            words.push(random.choice(INTERFACES).unwrap());
        }
        if random.u8(..60) == 0 {
            // What may be for all that there is is passed over.
            words = vec!["-p tcp --dport 9090", random.choice(UNKNOWN).unwrap()];
        }
        if words.is_empty() && random.u8(..3) > 0 {
            words.push("-p tcp --dport 9090");
        }
        let is_tcp = words.iter().any(|it| it.contains("-p tcp") && !it.contains("! -p"));
        words.push(match random.u8(..20) {
            0..=7 => "-j ACCEPT",
            8..=11 => "-j DROP",
            12 if rejects => "-j REJECT",
            13 if rejects => "-j REJECT --reject-with icmp-host-prohibited",
            14 if rejects && is_tcp => "-j REJECT --reject-with tcp-reset",
            15 => "-j RETURN",
            16 if calls.contains(&"side") => "-j side",
            17 if calls.contains(&"deep") => "-g deep",
            18 => "-j LOG --log-prefix \"-j DROP \" --log-level 4",
            _ => "-m comment --comment nothing",
        });
        writeln!(script, "-A {chain} {}", words.join(" ")).unwrap();
    }
}
