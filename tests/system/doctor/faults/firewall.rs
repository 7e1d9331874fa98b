//! The packet filters of the instance.

use std::process::Command;

use crate::docker::engine::installed;
use crate::doctor::lab::Lab;
use crate::doctor::table::Table;

/// A filter as people write it: what they have connections for already, loopback, SSH.
const STRICT: &str = "table inet filter { chain input { type filter hook input priority filter; \
                      policy drop; ct state established,related accept; iifname lo accept; \
                      tcp dport 22 accept; } }";

#[test]
fn the_hosts_packet_filter() {
    let mut table = Table::new("主机防火墙 / Host firewall");

    table.fault(
        ("nftables 规则丢弃 9090", "an nftables rule drops the port"),
        "firewall_drops",
        async |lab| {
            let _bot = lab.bot().await;
            nft(
                lab,
                "table inet guard { chain in { type filter hook input priority 0; \
                      iifname eth0 tcp dport 9090 drop; } }",
            )
            .await;
            let report = lab.names(&["nft", "guard", "9090"]).await;
            lab.carry_out(&report).await;
            lab.is_mended().await;
        },
    );

    table.fault(
        ("nftables 默认丢弃，只放行 22", "the policy of nftables drops, and opens SSH alone"),
        "firewall_drops",
        async |lab| {
            let _bot = lab.bot().await;
            nft(lab, STRICT).await;
            let report = lab.names(&["filter", "9090"]).await;
            lab.carry_out(&report).await;
            lab.is_mended().await;
        },
    );

    table.fault(
        ("nftables 规则拒绝（reject）9090", "an nftables rule rejects the port"),
        "firewall_rejects",
        async |lab| {
            let _bot = lab.bot().await;
            nft(
                lab,
                "table inet guard { chain in { type filter hook input priority 0; \
                      iifname eth0 tcp dport { 8080, 9090 } reject with tcp reset; } }",
            )
            .await;
            let report = lab.names(&["guard", "9090"]).await;
            lab.carry_out(&report).await;
            lab.is_mended().await;
        },
    );

    if installed("iptables") {
        table.fault(
            ("iptables DROP 9090", "an iptables rule drops the port"),
            "firewall_drops",
            async |lab| {
                let _bot = lab.bot().await;
                lab.sh("iptables -A INPUT -i eth0 -p tcp --dport 9090 -j DROP").await;
                let report = lab.names(&["INPUT", "9090"]).await;
                lab.carry_out(&report).await;
                lab.is_mended().await;
            },
        );

        table.fault(
            ("iptables 末尾 REJECT 其余端口", "the last rule of iptables rejects all the rest"),
            "firewall_rejects",
            async |lab| {
                let _bot = lab.bot().await;
                lab.sh("iptables -A INPUT -m state --state ESTABLISHED,RELATED -j ACCEPT; \
                        iptables -A INPUT -i lo -j ACCEPT; \
                        iptables -A INPUT -p tcp --dport 22 -j ACCEPT; \
                        iptables -A INPUT -j REJECT --reject-with icmp-host-prohibited")
                    .await;
                let report = lab.names(&["INPUT"]).await;
                lab.carry_out(&report).await;
                lab.is_mended().await;
            },
        );
    }

    if installed("ufw") {
        table.fault(
            ("ufw 已启用，未放行 9090", "ufw is active and does not allow the port"),
            "firewall_drops",
            async |lab| {
                let _bot = lab.bot().await;
                ufw(lab).await;
                let report = lab.names(&["ufw", "9090"]).await;
                lab.carry_out(&report).await;
                lab.is_mended().await;
            },
        );
    } else {
        println!("skipped: doctor behind ufw: it is not installed");
    }

    table.end();
}

/// Loads a ruleset.
pub(in crate::doctor) async fn nft(lab: &Lab, ruleset: &str) {
    let file = lab.home.path().join("ruleset.nft");
    // A table ends on a line of its own.
    std::fs::write(&file, ruleset.replace("} }", "}\n}")).unwrap();
    lab.sh(&format!("nft -f {}", file.display())).await;
}

/// Turns ufw on, which lets SSH in, with files of its own.
pub(in crate::doctor) async fn ufw(lab: &Lab) {
    let files = lab.network.host.files();
    for folder in ["ufw", "default"] {
        let output =
            Command::new("cp").args(["-a", &format!("/etc/{folder}")]).arg(files).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }
    lab.sh("ufw allow 22/tcp && ufw --force enable").await;
}
