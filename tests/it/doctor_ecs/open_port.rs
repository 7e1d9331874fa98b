//! `dingbot doctor --open-port`.

use super::scene::{CLOUD, Run, Scene, api, key, on_ecs};
use crate::support::ecs::api::{accept, drop};
use crate::support::ecs::{About, Api, Metadata};

async fn open(scene: &Scene, api: &Api, arguments: &[&str]) -> Run {
    let arguments = [&["--open-port"], arguments].concat();
    scene.doctor(Some(api), &key(), &arguments).await
}

/// The sources of the rules of `group`.
fn sources(api: &Api, group: &str) -> Vec<String> {
    let text = |rule: &serde_json::Value| rule["SourceCidrIp"].as_str().unwrap().to_owned();
    api.world().groups[group].iter().map(text).collect()
}

#[test]
fn a_rule_is_added_once_and_after_asking() {
    on_ecs(&CLOUD, async |scene| {
        let _metadata = Metadata::start(About::default()).await;
        let api = api(&[("sg-1", vec![accept("22/22", "0.0.0.0/0")]), ("sg-2", vec![])]).await;
        let wish = ["--source", "192.0.2.0/24"];

        // Nobody to ask.
        let run = open(scene, &api, &wish).await;
        assert_eq!(run.code, 64, "{run:?}");
        assert!(run.out.contains("TCP 9090/9090, source 192.0.2.0/24"), "{run:?}");
        assert!(run.errors.contains("--yes") && run.errors.contains("AuthorizeSecurityGroup"));
        assert_eq!(sources(&api, "sg-1").len(), 1);

        // Somebody says no, and yes.
        let typed = ["--open-port", "--source", "192.0.2.0/24"];
        let run = scene.typed(&api, &key(), &typed, "n\n").await;
        assert!(run.code == 1 && run.out.contains("Nothing was changed"), "{run:?}");
        assert_eq!(sources(&api, "sg-1").len(), 1);
        let run = scene.typed(&api, &key(), &typed, "y\n").await;
        assert!(run.code == 0 && run.out.contains("Add this rule? [y/N]"), "{run:?}");
        assert!(run.out.contains("sg-1, sg-2"), "{run:?}");
        assert_eq!(sources(&api, "sg-1"), ["0.0.0.0/0", "192.0.2.0/24"]);
        assert!(sources(&api, "sg-2").is_empty());
        assert_eq!(api.world().groups["sg-1"][1]["Description"], "dingbot");

        // Once more: it is there.
        let before = api.calls().len();
        let run = open(scene, &api, &[&wish[..], &["--yes"]].concat()).await;
        assert!(run.code == 0 && run.out.contains("nothing to do"), "{run:?}");
        assert!(api.calls()[before..].iter().all(|call| call.action.starts_with("Describe")));

        // Deleted by somebody, and wanted again: the API knows the token, and does nothing.
        api.world().groups.insert("sg-1".into(), vec![]);
        let run = open(scene, &api, &[&wish[..], &["--yes"]].concat()).await;
        assert!(run.code == 0 && run.out.contains("1 to 2 minutes"), "{run:?}");
        assert_eq!(sources(&api, "sg-1"), ["192.0.2.0/24"]);
    });
}

#[test]
fn the_whole_internet_is_let_in_when_it_is_said_so() {
    on_ecs(&CLOUD, async |scene| {
        let _metadata = Metadata::start(About::default()).await;
        let api = api(&[("sg-1", vec![])]).await;
        let run = open(scene, &api, &["--yes", "--source", "0.0.0.0/0", "--port", "443"]).await;
        assert!(run.code == 0 && run.out.contains("to the whole Internet"), "{run:?}");
        assert_eq!(api.world().groups["sg-1"][0]["PortRange"], "443/443");
        let run = open(scene, &api, &["--yes", "--source", "2408::/20"]).await;
        assert_eq!(run.code, 0, "{run:?}");
        assert_eq!(api.world().groups["sg-1"][1]["Ipv6SourceCidrIp"], "2408::/20");
    });
}

#[test]
fn what_makes_no_sense_is_refused() {
    on_ecs(&CLOUD, async |scene| {
        let _metadata = Metadata::start(About::default()).await;
        let api = api(&[("sg-1", vec![drop(1, "9090/9090", "192.0.2.0/24")])]).await;
        for (arguments, word) in [
            (&["--yes"][..], "--source"),
            (&["--yes", "--source", "192.0.2.7/24"], "the network is 192.0.2.0/24"),
            (&["--yes", "--source", "everybody"], "203.0.113.0/24"),
            (&["--yes", "--source", "192.0.2.7", "--port", "0"], "--port"),
        ] {
            let run = open(scene, &api, arguments).await;
            assert!(run.code == 64 && run.errors.contains(word), "{arguments:?}: {run:?}");
        }
        // A rule that would do nothing.
        let run = open(scene, &api, &["--yes", "--source", "192.0.2.7"]).await;
        assert!(run.code == 1 && run.errors.contains("no effect"), "{run:?}");
        // Two ports to choose from.
        scene.settings("[server]\nlisten = [\"0.0.0.0:9090\", \"0.0.0.0:9091\"]");
        let run = open(scene, &api, &["--yes", "--source", "198.51.100.1"]).await;
        assert!(run.code == 1 && run.errors.contains("9090, 9091"), "{run:?}");
        // May look, and not write.
        api.world().keys[0].forbidden = vec!["AuthorizeSecurityGroup"];
        let wish = ["--yes", "--source", "198.51.100.1", "--port", "9090"];
        let run = open(scene, &api, &wish).await;
        assert!(run.errors.contains("ecs:AuthorizeSecurityGroup"), "{run:?}");
        let run = scene.doctor(Some(&api), &[], &[&["--open-port"], &wish[..]].concat()).await;
        assert!(run.code == 1 && run.errors.contains("there are no credentials"), "{run:?}");
        assert_eq!(api.world().groups["sg-1"].len(), 1);
    });
}
