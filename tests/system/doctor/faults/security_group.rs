//! The rules of ECS, and what is needed to see them.

use crate::doctor::lab::{GROUP, KEY, PORT};
use crate::doctor::table::Table;
use crate::support::ecs::api::{accept, drop, rule};

const AT_PORT: &str = "9090/9090";
const EVERYBODY: &str = "0.0.0.0/0";

#[test]
fn the_security_group() {
    let mut table = Table::new("安全组 / Security group");

    table.fault(
        ("安全组未开放 9090", "no rule opens the port"),
        "security_group_closed",
        async |lab| {
            let _bot = lab.bot().await;
            lab.in_the_console(|rules| *rules = vec![accept("22/22", EVERYBODY)]);
            let report = lab.names(&[GROUP, "9090"]).await;
            // As printed, but for whom it is opened, which the remedy leaves to the operator.
            lab.carry_out_as(&report, 0, " --yes").await;
            lab.is_mended().await;
        },
    );

    table.fault(
        ("拒绝规则优先于允许规则", "a drop rule goes before the accept rule"),
        "security_group_drops",
        async |lab| {
            let _bot = lab.bot().await;
            lab.in_the_console(|rules| {
                *rules =
                    vec![rule("Accept", 10, AT_PORT, EVERYBODY), drop(5, "1/65535", EVERYBODY)];
            });
            let report = lab.names(&["Drop", "Priority 5", "Priority 10"]).await;
            lab.carry_out_as(&report, 0, " --yes").await;
            lab.is_mended().await;
        },
    );

    table.fault(
        ("安全组只对别的网段开放", "open, but to somebody else's network"),
        "security_group_other_source",
        async |lab| {
            let _bot = lab.bot().await;
            lab.in_the_console(|rules| *rules = vec![accept(AT_PORT, "192.0.2.0/24")]);
            let report = lab.doctor_with(&["--source", "198.51.100.7"]).await;
            lab.expect(&report, &["192.0.2.0/24", "198.51.100.7/32"]);
            lab.carry_out_as(&report, 0, " --yes").await;
            lab.is_mended().await;
        },
    );

    table.fault(
        ("安全组只对内网开放", "open to private networks only"),
        "security_group_other_source",
        async |lab| {
            let _bot = lab.bot().await;
            lab.in_the_console(|rules| *rules = vec![accept(AT_PORT, "172.16.0.0/12")]);
            let report = lab.names(&["172.16.0.0/12"]).await;
            lab.carry_out_as(&report, 0, " --yes").await;
            lab.is_mended().await;
        },
    );

    table.fault(
        ("有公网 IPv6，但安全组没有 IPv6 规则", "a global IPv6 address without a rule for it"),
        "security_group_ipv6_closed",
        async |lab| {
            lab.sh("ip address add 2001:db8:120::120/64 dev eth0 nodad").await;
            lab.about(|about| about.ipv6 = vec!["2001:db8:120::120".into()]);
            let _bot = lab.bot().await;
            let report = lab.names(&["IPv6", "9090"]).await;
            lab.carry_out_as(&report, 0, " --yes").await;
            lab.is_mended().await;
        },
    );

    table.fault(
        ("端口对整个互联网开放", "open to the whole Internet"),
        "security_group_wide_open",
        async |lab| {
            let _bot = lab.bot().await;
            lab.in_the_console(|rules| *rules = vec![accept(AT_PORT, EVERYBODY)]);
            let report = lab.names(&[EVERYBODY]).await;
            let how = "先加较窄的规则，再删除宽的 / add the narrower rule, delete the wide one";
            lab.mends(&report, &["--open-port", "RevokeSecurityGroup"], how);
            lab.sh(&format!(
                "dingbot doctor --open-port --port {PORT} --source 198.51.100.0/24 --yes"
            ))
            .await;
            lab.in_the_console(|rules| rules.retain(|rule| rule["SourceCidrIp"] != EVERYBODY));
            lab.is_mended().await;
            lab.is_well(&lab.doctor().await);
        },
    );

    table.fault(
        ("访问密钥无效", "the access key is refused"),
        "ecs_credentials_refused",
        async |lab| {
            let _bot = lab.bot().await;
            lab.variable("ALIBABA_CLOUD_ACCESS_KEY_ID", "LTAI5tDeletedKey");
            let report = lab.names(&["InvalidAccessKeyId"]).await;
            let how = "换成有效的密钥 / give a valid key";
            lab.mends(&report, &["更换有效的访问密钥"], how);
            lab.variable("ALIBABA_CLOUD_ACCESS_KEY_ID", KEY);
            lab.is_mended().await;
        },
    );

    table.fault(("没有公网 IP", "no public address"), "no_public_address", async |lab| {
        let _bot = lab.bot().await;
        lab.about(|about| about.elastic = None);
        let report = lab.names(&["EIP"]).await;
        lab.mends(&report, &["绑定弹性 IP", "AssociateEipAddress"], "绑定弹性 IP / bind an EIP");
        lab.about(|about| about.elastic = Some("8.222.215.42".into()));
        lab.is_mended().await;
    });

    table.fault(
        ("本机时钟比 ECS 慢 20 分钟", "the clock is 20 minutes behind that of ECS"),
        "clock_skew",
        async |lab| {
            let _bot = lab.bot().await;
            lab.api.world().ahead = 20 * 60;
            let report = lab.names(&[]).await;
            lab.mends(&report, &["chrony", "timedatectl"], "校准时钟 / set the clock");
            lab.api.world().ahead = 0;
            lab.is_mended().await;
        },
    );

    table.end();
}
