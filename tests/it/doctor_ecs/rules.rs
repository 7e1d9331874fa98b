//! What the rules come to.

use super::scene::{CLOUD, Report, Scene, api, key, listen, on_ecs};
use crate::support::ecs::api::{accept, drop, rule};
use crate::support::ecs::{About, Api, Metadata};

/// Runs a test on an instance that is in groups with these rules.
fn with(
    groups: &[(&str, Vec<serde_json::Value>)],
    about: About,
    test: impl AsyncFnOnce(&Scene, &Api) + Send,
) {
    on_ecs(&CLOUD, async |scene| {
        let _metadata = Metadata::start(about).await;
        let api = api(groups).await;
        test(scene, &api).await;
    });
}

#[test]
fn a_port_that_no_rule_names_is_closed() {
    let rules = vec![accept("22/22", "0.0.0.0/0"), accept("9091/9999", "0.0.0.0/0")];
    with(&[("sg-1", rules)], About::default(), async |scene, api| {
        let report = scene.report(api, &[]).await;
        assert_eq!(report.groups(), [("security_group_closed", "failed")]);
        let seen = report.seen("security_group_closed");
        assert!(seen.contains("sg-1 (2 inbound rules)") && seen.contains("TCP 9090"), "{seen}");
        assert_eq!(
            report.commands("security_group_closed"),
            [
                "dingbot doctor --open-port --port 9090 --source 0.0.0.0/0",
                "aliyun ecs AuthorizeSecurityGroup --RegionId cn-hangzhou --SecurityGroupId sg-1 \
                 --Permissions.1.IpProtocol TCP --Permissions.1.PortRange 9090/9090 \
                 --Permissions.1.SourceCidrIp 0.0.0.0/0 --Permissions.1.Policy accept \
                 --Permissions.1.Priority 1 --Permissions.1.Description dingbot",
            ]
        );
        let remedy = report.finding("security_group_closed")["remedy"]["text"]["zh"].clone();
        let remedy = remedy.as_str().unwrap();
        assert!(remedy.starts_with("ECS 控制台 → 实例 → 安全组 sg-1 → 入方向 → 手动添加"));
        assert!(remedy.contains("1～2 分钟内生效"), "{remedy}");
    });
}

#[test]
fn a_rule_that_drops_is_named() {
    let rules = [accept("9090/9090", "0.0.0.0/0"), drop(1, "9090/9090", "0.0.0.0/0")];
    let id = rules[1]["SecurityGroupRuleId"].as_str().unwrap().to_owned();
    // In another group of the instance: the groups are one list.
    let groups = [("sg-1", vec![rules[0].clone()]), ("sg-2", vec![rules[1].clone()])];
    with(&groups, About::default(), async |scene, api| {
        let report = scene.report(api, &[]).await;
        assert_eq!(report.groups(), [("security_group_drops", "failed")]);
        let seen = report.seen("security_group_drops");
        assert!(seen.contains(&format!("{id} [sg-2, Priority 1, Drop")), "{seen}");
        let revoke = format!(
            "aliyun ecs RevokeSecurityGroup --RegionId cn-hangzhou --SecurityGroupId sg-2 \
             --SecurityGroupRuleId.1 {id}"
        );
        assert_eq!(report.commands("security_group_drops"), [revoke]);
        // The remedy: without it, the other rule holds.
        api.world().groups.insert("sg-2".into(), vec![]);
        let report = scene.report(api, &[]).await;
        assert_eq!(report.groups(), [("security_group_wide_open", "warning")]);

        // One that is about other ports, too, is put behind.
        api.world().groups.insert("sg-2".into(), vec![drop(1, "1/65535", "0.0.0.0/0")]);
        let report = scene.report(api, &[]).await;
        let commands = report.commands("security_group_drops");
        assert!(commands[0].contains("ModifySecurityGroupRule"), "{commands:?}");
        assert!(commands[0].ends_with("--Policy drop --Priority 100"), "{commands:?}");
        api.world().groups.insert("sg-2".into(), vec![drop(100, "1/65535", "0.0.0.0/0")]);
        let report = scene.report(api, &[]).await;
        assert_eq!(report.groups(), [("security_group_wide_open", "warning")]);

        // Before one of a higher number goes a new one of the lowest.
        let low = rule("Accept", 50, "9090/9090", "0.0.0.0/0");
        api.world().groups.insert("sg-1".into(), vec![low]);
        api.world().groups.insert("sg-2".into(), vec![drop(20, "1/65535", "0.0.0.0/0")]);
        let report = scene.report(api, &[]).await;
        let commands = report.commands("security_group_drops");
        let wish = "dingbot doctor --open-port --port 9090 --source 0.0.0.0/0";
        assert_eq!(commands[0], wish);
        let wish = ["--open-port", "--yes", "--port", "9090", "--source", "0.0.0.0/0"];
        assert_eq!(scene.doctor(Some(api), &key(), &wish).await.code, 0);
        let report = scene.report(api, &[]).await;
        assert_eq!(report.groups(), [("security_group_wide_open", "warning")]);
    });
}

#[test]
fn a_last_rule_that_drops_everything_is_no_fault_of_its_own() {
    let rules = vec![drop(100, "-1/-1", "0.0.0.0/0")];
    with(&[("sg-1", rules)], About::default(), async |scene, api| {
        let report = scene.report(api, &[]).await;
        assert_eq!(report.groups(), [("security_group_closed", "failed")]);
    });
}

#[test]
fn only_whom_it_is_open_to_may_come_in() {
    let rules =
        vec![accept("9090/9090", "198.51.100.0/25"), accept("9090/9090", "198.51.100.128/25")];
    with(&[("sg-1", rules)], About::default(), async |scene, api| {
        let report = scene.report(api, &[]).await;
        assert_eq!(report.groups(), [("security_group_open", "fine")]);
        assert!(report.seen("security_group_open").contains("open to 198.51.100.0/24,"));
        let report = scene.report(api, &["--source", "198.51.100.7"]).await;
        assert_eq!(report.groups(), [("security_group_open", "fine")]);
        let report = scene.report(api, &["--source", "192.0.2.0/24"]).await;
        assert_eq!(report.groups(), [("security_group_other_source", "failed")]);
        let commands = report.commands("security_group_other_source");
        assert!(commands[0].ends_with("--port 9090 --source 192.0.2.0/24"), "{commands:?}");

        // To networks inside alone.
        let inside = vec![accept("9090/9090", "172.16.0.0/12")];
        api.world().groups.insert("sg-1".into(), inside);
        let report = scene.report(api, &[]).await;
        assert_eq!(report.groups(), [("security_group_other_source", "warning")]);
        // To another group alone.
        let group = vec![accept("9090/9090", "sg-2")];
        api.world().groups.insert("sg-1".into(), group);
        let report = scene.report(api, &[]).await;
        assert_eq!(report.groups(), [("security_group_closed", "failed")]);
        assert!(report.seen("security_group_closed").contains("sg-2"));
    });
}

#[test]
fn open_to_everybody_is_a_warning_with_the_narrower_rule() {
    let rules = vec![accept("9090/9090", "0.0.0.0/0")];
    let id = rules[0]["SecurityGroupRuleId"].as_str().unwrap().to_owned();
    with(&[("sg-1", rules)], About::default(), async |scene, api| {
        let from = [("SSH_CLIENT", "198.51.100.9 51515 22")];
        let variables = [&key()[..], &from].concat();
        let report = Report::of(scene.doctor(Some(api), &variables, &["--json"]).await);
        assert_eq!(report.groups(), [("security_group_wide_open", "warning")]);
        let commands = report.commands("security_group_wide_open");
        assert_eq!(commands[0], "dingbot doctor --open-port --port 9090 --source 198.51.100.9/32");
        assert!(commands[1].ends_with(&format!("--SecurityGroupRuleId.1 {id}")), "{commands:?}");

        // The remedy: the narrower rule is added beside the wide one, which then goes.
        let wish = ["--open-port", "--yes", "--port", "9090", "--source", "198.51.100.9/32"];
        assert_eq!(scene.doctor(Some(api), &key(), &wish).await.code, 0);
        assert_eq!(api.world().groups["sg-1"].len(), 2);
        api.world().groups.get_mut("sg-1").unwrap().remove(0);
        let report = scene.report(api, &[]).await;
        assert_eq!(report.groups(), [("security_group_open", "fine")]);

        // Everybody may come by the ports of the web.
        scene.settings("[server]\nlisten = [\"0.0.0.0:80\"]");
        api.world().groups.insert("sg-1".into(), vec![accept("80/80", "0.0.0.0/0")]);
        assert_eq!(scene.report(api, &[]).await.groups(), [("security_group_open", "fine")]);
        scene.settings("[server]\nlisten = [\"0.0.0.0:9090\"]");

        // A rule about all ports is not to be deleted lightly.
        api.world().groups.insert("sg-1".into(), vec![accept("1/65535", "0.0.0.0/0")]);
        let report = scene.report(api, &[]).await;
        let commands = report.commands("security_group_wide_open");
        assert!(commands.iter().all(|command| !command.contains("Revoke")), "{commands:?}");
        let chinese = &report.finding("security_group_wide_open")["remedy"]["text"]["zh"];
        assert!(chinese.as_str().unwrap().contains("SSH"), "{chinese}");
    });
}

#[test]
fn behind_a_proxy_its_port_is_the_one_that_counts() {
    let rules = vec![accept("443/443", "0.0.0.0/0")];
    with(&[("sg-1", rules)], About::default(), async |scene, api| {
        let proxied = "[server]\nlisten = [\"0.0.0.0:9090\"]\ntrusted_proxies = [\"127.0.0.1/32\"]";
        scene.settings(proxied);
        let proxy = listen(scene, 443);
        let report = scene.report(api, &[]).await;
        assert_eq!(report.groups(), [("security_group_open", "fine")]);
        assert!(report.seen("security_group_open").contains("TCP 443 is open to 0.0.0.0/0"));
        // A visitor is let in there.
        let report = scene.report(api, &["--source", "192.0.2.7"]).await;
        assert_eq!(report.groups(), [("security_group_open", "fine")]);
        // A bot at loopback is one behind a proxy.
        scene.settings("[server]\nlisten = [\"127.0.0.1:9090\"]");
        assert_eq!(scene.report(api, &[]).await.groups(), [("security_group_open", "fine")]);
        // A service that may be anything else is not taken for a proxy.
        scene.settings("[server]\nlisten = [\"0.0.0.0:9090\"]");
        let report = scene.report(api, &[]).await;
        assert_eq!(report.groups(), [("security_group_behind_proxy", "unseen")]);
        // The proxy's port is what is closed.
        scene.settings(proxied);
        api.world().groups.insert("sg-1".into(), vec![]);
        let report = scene.report(api, &[]).await;
        assert_eq!(report.groups(), [("security_group_closed", "failed")]);
        assert!(report.seen("security_group_closed").contains("TCP 443"), "{report:?}");
        std::mem::drop(proxy);
        let report = scene.report(api, &[]).await;
        assert!(report.seen("security_group_closed").contains("TCP 9090"), "{report:?}");
    });
}

#[test]
fn lists_are_read_and_what_cannot_be_is_said() {
    let rules = vec![accept("9090/9090", "pl-1"), accept("prl-1", "203.0.113.0/24")];
    with(&[("sg-1", rules)], About::default(), async |scene, api| {
        let report = scene.report(api, &[]).await;
        assert_eq!(report.groups(), [("security_group_unseen", "unseen")]);
        api.world().prefix_lists.insert("pl-1".into(), vec!["192.0.2.0/24".into()]);
        api.world().port_lists.insert("prl-1".into(), vec!["80/80".into(), "9090/9090".into()]);
        let report = scene.report(api, &[]).await;
        assert_eq!(report.groups(), [("security_group_open", "fine")]);
        let seen = report.seen("security_group_open");
        assert!(seen.contains("192.0.2.0/24, 203.0.113.0/24"), "{seen}");
    });
}

#[test]
fn every_page_of_a_long_group_is_read() {
    let mut rules: Vec<_> = (0..1_200)
        .map(|port| accept(&format!("{0}/{0}", 20_000 + port), "198.51.100.0/24"))
        .collect();
    rules.push(rule("Accept", 7, "9090/9090", "192.0.2.0/24"));
    with(&[("sg-1", rules)], About::default(), async |scene, api| {
        let report = scene.report(api, &[]).await;
        assert_eq!(report.groups(), [("security_group_open", "fine")]);
        let asked =
            |call: &crate::support::ecs::api::Call| call.action == "DescribeSecurityGroupAttribute";
        assert_eq!(api.calls().into_iter().filter(asked).count(), 2);
    });
}

#[test]
fn an_ipv6_address_wants_a_rule_of_its_own() {
    let about = About { ipv6: vec!["2408:4005:325:a204::1".into()], ..About::default() };
    let rules = vec![accept("9090/9090", "198.51.100.0/24")];
    with(&[("sg-1", rules)], about, async |scene, api| {
        // A bot without IPv6 wants none.
        assert_eq!(scene.report(api, &[]).await.groups(), [("security_group_open", "fine")]);
        scene.settings("[server]\nlisten = [\"[::]:9090\"]");
        // Nor does an address that was assigned, and is on no interface.
        assert_eq!(scene.report(api, &[]).await.groups(), [("security_group_open", "fine")]);
        scene.give_address("2408:4005:325:a204::1");
        let report = scene.report(api, &[]).await;
        let expected = [("security_group_open", "fine"), ("security_group_ipv6_closed", "warning")];
        assert_eq!(report.groups(), expected);
        let commands = report.commands("security_group_ipv6_closed");
        assert!(commands[1].contains("--Permissions.1.Ipv6SourceCidrIp ::/0"), "{commands:?}");
        let both = vec![accept("9090/9090", "198.51.100.0/24"), accept("9090/9090", "2408::/20")];
        api.world().groups.insert("sg-1".into(), both);
        assert_eq!(scene.report(api, &[]).await.groups(), [("security_group_open", "fine")]);
    });
}
