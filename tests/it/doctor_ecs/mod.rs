//! `dingbot doctor` on an ECS instance: what it says of the machine and of the security group.

mod credentials;
mod open_port;
mod rules;
mod scene;
mod silence;

use self::scene::{CLOUD, Report, api, on_ecs};
use crate::support::ecs::metadata::About;
use crate::support::ecs::{INSTANCE, Metadata, api::accept};

#[test]
fn the_instance_is_shown() {
    on_ecs(&CLOUD, async |scene| {
        let metadata = Metadata::start(About::default()).await;
        let api = api(&[("sg-1", vec![accept("9090/9090", "198.51.100.0/24")])]).await;
        let report = scene.report(&api, &[]).await;
        let seen = report.seen("ecs_instance");
        for part in [INSTANCE, "cn-hangzhou", "cn-hangzhou-i", "8.222.215.42", "hardened mode"] {
            assert!(seen.contains(part), "{part} is not in {seen}");
        }
        assert!(report.seen("host").contains("203.0.113.1"), "{report:?}");
        // With a token from the first item on.
        let requests = metadata.requests();
        assert_eq!(requests[0], ("PUT /latest/api/token".into(), false));
        assert!(requests[1..].iter().all(|(_, token)| *token), "{requests:?}");

        // Where tokens are required, and where there are none.
        metadata.change(|about| about.hardened = true);
        assert!(scene.report(&api, &[]).await.seen("ecs_instance").contains("hardened mode"));
        metadata.change(|about| (about.hardened, about.tokens) = (false, false));
        let report = scene.report(&api, &[]).await;
        assert!(report.seen("ecs_instance").contains("normal mode"));
        assert_eq!(report.groups(), [("security_group_open", "fine")]);

        // Nor without a token where that is forbidden.
        let only_tokens = [("ALIBABA_CLOUD_IMDSV1_DISABLED", "true")];
        let report = Report::of(scene.doctor(None, &only_tokens, &["--json"]).await);
        assert_eq!(report.machine(), ["host", "not_on_ecs"]);
    });
}

#[test]
fn an_instance_without_a_public_address_is_told_what_it_needs() {
    on_ecs(&CLOUD, async |scene| {
        let metadata = Metadata::start(About { elastic: None, ..About::default() }).await;
        let api = api(&[("sg-1", vec![])]).await;
        let report = scene.report(&api, &[]).await;
        assert_eq!(report.finding("no_public_address")["state"], "warning");
        // A load balancer may come by another way: closed is no more than a warning.
        assert_eq!(report.groups(), [("security_group_closed", "warning")]);
        let commands = report.commands("no_public_address");
        assert!(commands[1].contains(INSTANCE), "{commands:?}");
        // A public address that came with the instance is as good as an elastic one.
        metadata.change(|about| about.public = Some("120.55.0.1".into()));
        let report = scene.report(&api, &[]).await;
        assert!(report.seen("ecs_instance").contains("120.55.0.1"));
        assert_eq!(report.groups(), [("security_group_closed", "failed")]);
    });
}

#[test]
fn a_stranger_who_answers_everything_is_not_believed() {
    on_ecs(&CLOUD, async |scene| {
        let page = "<html><body>Sign in to the network</body></html>".to_owned();
        let _metadata = Metadata::start(About { captive: Some(page), ..About::default() }).await;
        let report = Report::of(scene.doctor(None, &scene::key(), &["--json"]).await);
        assert_eq!(report.machine(), ["host", "not_on_ecs"]);
        assert!(report.groups().is_empty());
    });
    // Nor is a region that would lead the signed request to another host.
    on_ecs(&CLOUD, async |scene| {
        let region = "evil.example/".to_owned();
        let _metadata = Metadata::start(About { region, ..About::default() }).await;
        let report = Report::of(scene.doctor(None, &scene::key(), &["--json"]).await);
        assert_eq!(report.machine(), ["host", "not_on_ecs"]);
    });
}
