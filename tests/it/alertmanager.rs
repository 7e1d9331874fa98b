//! Alerts of Alertmanager, for the group of a custom robot.

mod delivery;
mod surface;

use serde_json::{Value, json};

use crate::support::dingtalk::{GROUP_SECRET, GROUP_TOKEN};
use crate::support::http::Answer;
use crate::support::settings::Settings;
use crate::support::stage::Stage;

/// As an Alertmanager 0.25 posts it: one alert fires and one is over.
const POSTED: &str = include_str!("alertmanager/posted.json");

/// The number of whom the robot `ops` calls.
const ON_CALL: [&str; 2] = ["13800000000", "+852-12345678"];

/// A daemon with the group robot `ops` that calls [`ON_CALL`].
async fn stage() -> Stage {
    with(|settings| settings).await
}

async fn with(change: impl FnOnce(Settings) -> Settings) -> Stage {
    Stage::with(|settings| {
        change(settings.mentioning_robot("ops", GROUP_TOKEN, GROUP_SECRET, &ON_CALL, false))
    })
    .await
}

/// A group of alerts that fire, one for each instance.
fn firing(group: &str, instances: &[&str]) -> Value {
    let alerts: Vec<Value> = instances
        .iter()
        .map(|instance| {
            json!({
                "status": "firing",
                "labels": { "alertname": group, "instance": instance, "severity": "critical" },
                "annotations": { "summary": format!("{instance} 不可达") },
                "startsAt": "2026-11-23T06:41:05.123Z",
                "endsAt": "0001-01-01T00:00:00Z",
                "generatorURL": "http://prometheus.example:9090/graph",
                "fingerprint": format!("f{instance}"),
            })
        })
        .collect();
    json!({
        "version": "4", "groupKey": format!("{{}}:{{alertname={group:?}}}"), "truncatedAlerts": 0,
        "status": "firing", "receiver": "dingtalk", "groupLabels": { "alertname": group },
        "commonLabels": { "alertname": group, "severity": "critical" }, "commonAnnotations": {},
        "externalURL": "http://alertmanager.example:9093", "alerts": alerts,
    })
}

/// Posts for the robot `ops`, from loopback and without a key.
async fn post(stage: &Stage, body: &Value) -> Answer {
    let request = stage.daemon.client().post(stage.daemon.url("/dingtalk/ops/send")).json(body);
    Answer::of(request.send().await.expect("the daemon answers")).await
}

/// As [`post`], and it must be taken.
async fn takes(stage: &Stage, body: &Value) {
    let answer = post(stage, body).await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "OK"), "{answer:?}");
}
