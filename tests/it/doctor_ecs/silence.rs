//! Where nobody answers.

use std::net::IpAddr;

use super::scene::{CLOUD, ID, PUBLIC, Report, SECRET, VPC, key, on_ecs};
use crate::support::ecs::api::accept;
use crate::support::ecs::{About, Api, Key, METADATA, Metadata, VPC_ENDPOINT};

#[test]
fn a_host_that_is_no_instance_is_left_in_peace() {
    // Everything that is sent to the metadata service is dropped.
    on_ecs(&[], async |scene| {
        let report = Report::of(scene.doctor(None, &key(), &["--json"]).await);
        assert_eq!(report.machine(), ["host", "not_on_ecs"]);
        assert_eq!(report.finding("not_on_ecs")["state"], "fine");
        assert!(report.groups().is_empty());
    });
}

#[test]
fn a_service_that_refuses_is_none() {
    on_ecs(&CLOUD, async |scene| {
        let report = Report::of(scene.doctor(None, &key(), &["--json"]).await);
        assert_eq!(report.machine(), ["host", "not_on_ecs"]);
    });
}

#[test]
fn a_service_that_takes_requests_and_answers_none_is_not_waited_for() {
    on_ecs(&CLOUD, async |scene| {
        let _metadata = Metadata::start(About { silent: true, ..About::default() }).await;
        let report = Report::of(scene.doctor(None, &key(), &["--json"]).await);
        assert_eq!(report.machine(), ["host", "not_on_ecs"]);
    });
}

#[test]
fn an_api_that_does_not_answer_is_said_to_be_unreachable() {
    on_ecs(&[METADATA], async |scene| {
        let _metadata = Metadata::start(About::default()).await;
        let report = Report::of(scene.doctor(None, &key(), &["--json"]).await);
        assert_eq!(report.groups(), [("ecs_unreachable", "unseen")]);
        let commands = report.commands("ecs_unreachable");
        assert!(commands[1].contains("AuthorizeSecurityGroup --RegionId cn-hangzhou"));
    });
}

#[test]
fn an_instance_without_a_way_out_asks_the_endpoint_of_its_vpc() {
    on_ecs(&[METADATA, VPC], async |scene| {
        let _metadata = Metadata::start(About::default()).await;
        let rules = vec![accept("9090/9090", "198.51.100.0/24")];
        let ip: IpAddr = VPC.parse().unwrap();
        let api = Api::start(ip, vec![Key::new(ID, SECRET)], &[("sg-1", rules)]).await;
        let report = scene.report(&api, &[]).await;
        assert_eq!(report.groups(), [("security_group_open", "fine")]);
        assert!(api.calls().iter().all(|call| call.host == VPC_ENDPOINT), "{:?}", api.calls());
    });
}

#[test]
fn a_certificate_of_nobody_is_not_trusted() {
    on_ecs(&CLOUD, async |scene| {
        let _metadata = Metadata::start(About::default()).await;
        let ip: IpAddr = PUBLIC.parse().unwrap();
        let api = Api::start(ip, vec![Key::new(ID, SECRET)], &[("sg-1", vec![])]).await;
        // With the authorities of the system alone.
        let report = Report::of(scene.doctor(None, &key(), &["--json"]).await);
        assert_eq!(report.groups(), [("ecs_unreachable", "unseen")]);
        assert!(api.calls().is_empty());
    });
}
