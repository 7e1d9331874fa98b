//! The credentials, and what the API says of them.

use super::scene::{CLOUD, ID, Report, SECRET, api, on_ecs};
use crate::support::ecs::api::accept;
use crate::support::ecs::{About, Key, Metadata, Role};

/// Rules with which all is well.
fn well() -> Vec<serde_json::Value> {
    vec![accept("9090/9090", "198.51.100.0/24")]
}

#[test]
fn without_credentials_the_rule_to_add_is_shown() {
    on_ecs(&CLOUD, async |scene| {
        let _metadata = Metadata::start(About::default()).await;
        let api = api(&[("sg-1", well())]).await;
        let report = Report::of(scene.doctor(Some(&api), &[], &["--json"]).await);
        assert_eq!(report.groups(), [("security_group_unseen", "unseen")]);
        assert!(api.calls().is_empty());
        let remedy = &report.finding("security_group_unseen")["remedy"];
        let chinese = remedy["text"]["zh"].as_str().unwrap();
        assert!(chinese.contains("ECS 控制台 → 实例 → 安全组 → 入方向 → 手动添加"), "{chinese}");
        assert!(chinese.contains("端口范围 9090/9090"), "{chinese}");
        let commands = report.commands("security_group_unseen");
        assert!(commands[0].contains("--RegionId cn-hangzhou --InstanceIds '[\"i-bp13"));
        assert!(commands[1].contains("--SecurityGroupId 'sg-…'"), "{commands:?}");

        let source = ["--json", "--source", "192.0.2.7"];
        let report = Report::of(scene.doctor(Some(&api), &[], &source).await);
        let commands = report.commands("security_group_unseen");
        assert!(commands[1].contains("SourceCidrIp 192.0.2.7/32"), "{commands:?}");

        let half = [("ALIBABA_CLOUD_ACCESS_KEY_ID", ID)];
        let report = Report::of(scene.doctor(Some(&api), &half, &["--json"]).await);
        let seen = report.seen("security_group_unseen");
        assert!(seen.contains("ALIBABA_CLOUD_ACCESS_KEY_SECRET is not"), "{seen}");
    });
}

#[test]
fn the_role_of_the_instance_will_do() {
    on_ecs(&CLOUD, async |scene| {
        let role = Role::new("DingbotRole", "STS.Role", "TestRoleSecret", "TestSecurityToken/+=");
        let about = About { role: Some(role), hardened: true, ..About::default() };
        let metadata = Metadata::start(about).await;
        let api = api(&[("sg-1", well())]).await;
        let role = Key::temporary("STS.Role", "TestRoleSecret", "TestSecurityToken/+=");
        api.world().keys.push(role);
        let run = |variables: Vec<(&'static str, &'static str)>| {
            let api = &api;
            async move { Report::of(scene.doctor(Some(api), &variables, &["--json"]).await) }
        };
        assert_eq!(run(vec![]).await.groups(), [("security_group_open", "fine")]);
        // By its name, without the list.
        let before = metadata.requests().len();
        let named = run(vec![("ALIBABA_CLOUD_ECS_METADATA", "DingbotRole")]).await;
        assert_eq!(named.groups(), [("security_group_open", "fine")]);
        let asked = &metadata.requests()[before..];
        let list = "GET /latest/meta-data/ram/security-credentials/";
        assert!(asked.iter().all(|(path, _)| path != list), "{asked:?}");
        // Not when that is forbidden.
        let disabled = run(vec![("ALIBABA_CLOUD_ECS_METADATA_DISABLED", "true")]).await;
        assert_eq!(disabled.groups(), [("security_group_unseen", "unseen")]);

        api.world().keys[1].expired = true;
        let report = run(vec![]).await;
        assert_eq!(report.groups(), [("ecs_credentials_refused", "warning")]);
        let seen = report.seen("ecs_credentials_refused");
        assert!(seen.contains("InvalidSecurityToken.Expired"), "{seen}");
        assert!(seen.contains("the RAM role DingbotRole"), "{seen}");
    });
}

#[test]
fn the_profile_of_aliyun_will_do() {
    on_ecs(&CLOUD, async |scene| {
        let _metadata = Metadata::start(About::default()).await;
        let api = api(&[("sg-1", well())]).await;
        scene.profile(&format!(
            r#"{{"current": "ops", "profiles": [{{"name": "ops", "mode": "AK",
            "access_key_id": "{ID}", "access_key_secret": "{SECRET}"}},
            {{"name": "sso", "mode": "CloudSSO"}}]}}"#
        ));
        let report = Report::of(scene.doctor(Some(&api), &[], &["--json"]).await);
        assert_eq!(report.groups(), [("security_group_open", "fine")]);
        let other = [("ALIBABA_CLOUD_PROFILE", "sso")];
        let report = Report::of(scene.doctor(Some(&api), &other, &["--json"]).await);
        assert!(report.seen("security_group_unseen").contains("mode `CloudSSO`"));
    });
}

#[test]
fn a_refusal_is_told_by_its_reason() {
    on_ecs(&CLOUD, async |scene| {
        let _metadata = Metadata::start(About::default()).await;
        let api = api(&[("sg-1", well())]).await;
        let report = scene.report(&api, &[]).await;
        assert_eq!(report.groups(), [("security_group_open", "fine")]);

        for (id, secret, code) in [
            ("LTAI5tNobody", SECRET, "InvalidAccessKeyId.NotFound"),
            (ID, "wrong", "SignatureDoesNotMatch"),
        ] {
            let key =
                [("ALIBABA_CLOUD_ACCESS_KEY_ID", id), ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", secret)];
            let report = Report::of(scene.doctor(Some(&api), &key, &["--json"]).await);
            assert_eq!(report.groups(), [("ecs_credentials_refused", "warning")]);
            let seen = report.seen("ecs_credentials_refused");
            assert!(seen.contains(code) && seen.contains("ALIBABA_CLOUD_ACCESS_KEY_ID"), "{seen}");
        }

        api.world().ahead = 16 * 60;
        let report = scene.report(&api, &[]).await;
        assert_eq!(report.groups(), [("clock_skew", "warning")]);
        api.world().ahead = -14 * 60;
        let report = scene.report(&api, &[]).await;
        assert_eq!(report.groups(), [("security_group_open", "fine")]);
    });
}

#[test]
fn a_missing_permission_is_named() {
    on_ecs(&CLOUD, async |scene| {
        let _metadata = Metadata::start(About::default()).await;
        let api = api(&[("sg-1", well())]).await;
        for forbidden in ["DescribeInstances", "DescribeSecurityGroupAttribute"] {
            // The list is empty where the API is as it was.
            for empty in [false, true] {
                api.world().keys[0].forbidden = vec![forbidden];
                api.world().empty_without_permission = empty;
                let report = scene.report(&api, &[]).await;
                assert_eq!(report.groups(), [("ecs_not_permitted", "unseen")]);
                let seen = report.seen("ecs_not_permitted");
                assert!(seen.contains(&format!("ecs:{forbidden}")), "{seen}");
            }
        }
        // A key of somebody else may look, and sees nothing.
        api.world().keys[0].forbidden = vec![];
        api.world().keys[0].stranger = true;
        let report = scene.report(&api, &[]).await;
        assert_eq!(report.groups(), [("security_group_unseen", "unseen")]);
        assert!(report.seen("security_group_unseen").contains("another account"));
    });
}

#[test]
fn a_throttled_call_is_made_once_more() {
    on_ecs(&CLOUD, async |scene| {
        let _metadata = Metadata::start(About::default()).await;
        let api = api(&[("sg-1", well())]).await;
        api.world().throttled = 1;
        assert_eq!(scene.report(&api, &[]).await.groups(), [("security_group_open", "fine")]);
        api.world().throttled = 1_000;
        let report = scene.report(&api, &[]).await;
        assert_eq!(report.groups(), [("ecs_throttled", "unseen")]);
    });
}
