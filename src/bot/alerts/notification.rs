//! What Alertmanager posts to a webhook: its format "4".
//!
//! Read leniently: fields that are missing or unknown are no error, so that Grafana and others that
//! post nearly the same are understood too. Source: the documentation of
//! Alertmanager (`webhook_config`); prometheus-webhook-dingtalk takes the same.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};
use sha2::{Digest, Sha256};

/// Longest explanation of what is wrong with a body, in characters.
const MAX_REASON: usize = 200;

/// Labels or annotations.
pub(super) type Pairs = BTreeMap<String, String>;

/// A group of alerts.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Notification {
    /// What the route calls the group; the same for all notifications about it.
    #[serde(default, deserialize_with = "or_default")]
    pub(super) group_key: String,
    /// Alerts that Alertmanager itself left out, by `max_alerts`.
    #[serde(default, deserialize_with = "or_default")]
    pub(super) truncated_alerts: u64,
    /// What Alertmanager calls whom it notifies.
    #[serde(default, deserialize_with = "or_default")]
    pub(super) receiver: String,
    /// What the group is made by.
    #[serde(default, deserialize_with = "or_default")]
    pub(super) group_labels: Pairs,
    /// What all alerts have.
    #[serde(default, deserialize_with = "or_default")]
    pub(super) common_labels: Pairs,
    /// What all alerts have.
    #[serde(default, deserialize_with = "or_default")]
    pub(super) common_annotations: Pairs,
    /// Alertmanager's own address.
    #[serde(default, rename = "externalURL", deserialize_with = "or_default")]
    pub(super) external_url: String,
    /// The alerts.
    pub(super) alerts: Vec<Alert>,
}

/// One alert.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Alert {
    #[serde(default, deserialize_with = "or_default")]
    status: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) labels: Pairs,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) annotations: Pairs,
    #[serde(default)]
    pub(super) starts_at: Option<Timestamp>,
    #[serde(default)]
    ends_at: Option<Timestamp>,
    /// Where the alert comes from: a graph of Prometheus.
    #[serde(default, rename = "generatorURL", deserialize_with = "or_default")]
    pub(super) generator_url: String,
}

/// What makes two notifications say the same. Not the addresses: two Alertmanagers of a cluster, or
/// two Prometheus servers with the same rules, say the same by others.
#[derive(Serialize)]
struct Content<'a> {
    truncated: u64,
    alerts: Vec<Said<'a>>,
}

#[derive(Serialize, PartialEq, Eq, PartialOrd, Ord)]
struct Said<'a> {
    labels: &'a Pairs,
    firing: bool,
    starts_at: Option<Timestamp>,
    ends_at: Option<Timestamp>,
    annotations: &'a Pairs,
}

impl Notification {
    /// Reads a body. An error says what is wrong with it, in bounded length.
    pub(super) fn read(body: &[u8]) -> Result<Self, String> {
        let wrong = |reason: &str| reason.chars().take(MAX_REASON).collect::<String>();
        if !body.trim_ascii_start().starts_with(b"{") {
            return Err(wrong("it is no JSON object"));
        }
        let notification: Self =
            serde_json::from_slice(body).map_err(|error| wrong(&error.to_string()))?;
        if notification.alerts.is_empty() {
            return Err(wrong("the field `alerts` is empty"));
        }
        Ok(notification)
    }

    /// How many alerts fire, and how many are resolved.
    pub(super) fn counts(&self) -> (usize, usize) {
        let firing = self.alerts.iter().filter(|alert| alert.is_firing()).count();
        (firing, self.alerts.len() - firing)
    }

    /// The same for all notifications about one group.
    pub(super) fn group_digest(&self) -> String {
        let labels = serde_json::to_string(&self.group_labels).expect("texts are always JSON");
        digest(&[&self.group_key, &self.receiver, &labels])
    }

    /// The same for notifications that say the same.
    pub(super) fn content_digest(&self) -> String {
        let mut alerts: Vec<Said<'_>> = self
            .alerts
            .iter()
            .map(|alert| Said {
                labels: &alert.labels,
                firing: alert.is_firing(),
                starts_at: alert.starts_at,
                ends_at: alert.ended_at(),
                annotations: &alert.annotations,
            })
            .collect();
        alerts.sort();
        let content = Content { truncated: self.truncated_alerts, alerts };
        digest(&[&serde_json::to_string(&content).expect("texts and times are always JSON")])
    }
}

impl Alert {
    /// Whether it is not over.
    pub(super) fn is_firing(&self) -> bool {
        self.status != "resolved"
    }

    /// When it ended; Alertmanager gives the year 1 to those that have not.
    pub(super) fn ended_at(&self) -> Option<Timestamp> {
        self.ends_at.filter(|_| !self.is_firing())
    }

    /// A label, if it is there and not empty.
    pub(super) fn label(&self, name: &str) -> Option<&str> {
        self.labels.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }
}

/// Go writes an absent map as `null`.
fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}

fn digest(texts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for text in texts {
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text);
    }
    // Half of it is more than enough to tell groups apart.
    hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn body() -> Value {
        json!({
            "version": "4", "groupKey": "{}:{alertname=\"A\"}", "truncatedAlerts": 0,
            "status": "firing", "receiver": "dingtalk", "groupLabels": {"alertname": "A"},
            "commonLabels": {"alertname": "A"}, "commonAnnotations": {},
            "externalURL": "http://am-1:9093",
            "alerts": [
                {"status": "firing", "labels": {"alertname": "A", "n": "1"}, "annotations": {},
                 "startsAt": "2026-11-23T06:41:05.123Z", "endsAt": "0001-01-01T00:00:00Z",
                 "generatorURL": "http://prometheus-1:9090/graph", "fingerprint": "f1"},
                {"status": "resolved", "labels": {"alertname": "A", "n": "2"}, "annotations": {},
                 "startsAt": "2026-11-23T06:41:05.123+08:00", "endsAt": "2026-11-23T07:41:05Z",
                 "generatorURL": "", "fingerprint": "f2"},
            ],
        })
    }

    fn read(body: &Value) -> Notification {
        Notification::read(body.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn a_notification_is_read() {
        let read = read(&body());
        assert_eq!(read.counts(), (1, 1));
        assert_eq!(read.alerts[0].ended_at(), None);
        assert!(read.alerts[1].ended_at().is_some());
    }

    #[test]
    fn what_is_absent_or_null_is_no_error() {
        let least = read(&json!({ "alerts": [{}] }));
        assert_eq!((least.counts(), least.group_key.as_str()), ((1, 0), ""));
        let nulls = json!({
            "groupLabels": null, "commonAnnotations": null, "externalURL": null, "more": [1],
            "alerts": [{ "labels": null, "status": "resolved", "endsAt": null, "values": null }],
        });
        assert_eq!(read(&nulls).counts(), (0, 1));
    }

    #[test]
    fn what_is_no_notification_is_said_to_be_none() {
        for (body, what) in [
            ("", "no JSON object"),
            ("{", "EOF"),
            ("{}", "missing field `alerts`"),
            ("[]", "no JSON object"),
            (r#"{"alerts": []}"#, "`alerts` is empty"),
            (r#"{"alerts": [{"labels": {"a": 5}}]}"#, "expected a string"),
            (r#"{"alerts": [{"startsAt": "yesterday"}]}"#, "line 1"),
        ] {
            let error = Notification::read(body.as_bytes()).unwrap_err();
            assert!(error.contains(what), "{body}: {error}");
        }
        let long = format!(r#"{{"alerts": "{}"}}"#, "x".repeat(10_000));
        assert!(Notification::read(long.as_bytes()).unwrap_err().chars().count() <= MAX_REASON);
    }

    #[test]
    fn the_same_from_another_address_is_the_same() {
        let first = read(&body());
        let mut other = body();
        other["externalURL"] = "http://am-2:9093".into();
        other["alerts"][0]["generatorURL"] = "http://prometheus-2:9090/graph".into();
        let alerts = other["alerts"].as_array_mut().unwrap();
        alerts.reverse();
        let other = read(&other);
        assert_eq!(first.content_digest(), other.content_digest());
        assert_eq!(first.group_digest(), other.group_digest());
    }

    #[test]
    fn whatever_is_new_makes_it_another() {
        let first = read(&body()).content_digest();
        for (path, value) in [
            ("/alerts/0/status", "resolved"),
            ("/alerts/0/startsAt", "2026-11-23T06:41:06Z"),
            ("/alerts/1/endsAt", "2026-11-23T07:41:06Z"),
            ("/alerts/0/labels/n", "3"),
        ] {
            let mut changed = body();
            *changed.pointer_mut(path).unwrap() = value.into();
            assert_ne!(read(&changed).content_digest(), first, "{path}");
        }
        let mut group = body();
        group["groupKey"] = "{}:{alertname=\"B\"}".into();
        assert_ne!(read(&group).group_digest(), read(&body()).group_digest());
    }
}
