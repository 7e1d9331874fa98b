//! What became of DingTalk's callbacks, for those who ask why the bot hears nothing.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::labels;
use super::metrics::Metrics;

/// The callbacks since the start.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Callbacks {
    /// Messages accepted and stored.
    pub accepted: u64,
    /// When the last of them came.
    pub last_accepted: Option<Timestamp>,
    /// Callbacks refused or ignored, by their reason; reasons that never occurred are left out.
    pub rejected: Vec<Rejected>,
}

/// Callbacks refused or ignored for one reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejected {
    /// As in `dingbot_messages_rejected_total`.
    pub reason: String,
    /// How many.
    pub count: u64,
    /// When the last of them came.
    pub last: Option<Timestamp>,
}

impl Callbacks {
    /// As the counters have them now.
    pub fn of(metrics: &Metrics) -> Self {
        let accepted = labels::TRANSPORTS.iter();
        let last =
            accepted.clone().map(|it| metrics.message_last_received.with_label_values(&[it]));
        let rejected = labels::REJECTIONS.iter().map(|reason| Rejected {
            reason: (*reason).to_owned(),
            count: metrics.messages_rejected.with_label_values(&[reason]).get(),
            last: time(metrics.message_last_rejected.with_label_values(&[reason]).get()),
        });
        Self {
            accepted: accepted
                .map(|it| metrics.messages_received.with_label_values(&[it]).get())
                .sum(),
            last_accepted: last.filter_map(|it| time(it.get())).max(),
            rejected: rejected.filter(|it| it.count > 0).collect(),
        }
    }
}

/// A time as the gauges have it; 0 is none.
fn time(seconds: f64) -> Option<Timestamp> {
    let millis = (seconds * 1_000.0).round() as i64;
    Timestamp::from_millisecond(millis).ok().filter(|_| millis > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_of_each_kind_is_told() {
        let metrics = Metrics::new();
        assert_eq!(Callbacks::of(&metrics), Callbacks::default());
        metrics.message_received("webhook", 1_700_000_000_123);
        metrics.message_rejected("unsigned", 1_700_000_000_000);
        metrics.message_rejected("unsigned", 1_700_000_009_999);
        let callbacks = Callbacks::of(&metrics);
        let at = |millis| Some(Timestamp::from_millisecond(millis).unwrap());
        assert_eq!((callbacks.accepted, callbacks.last_accepted), (1, at(1_700_000_000_123)));
        let unsigned =
            Rejected { reason: "unsigned".into(), count: 2, last: at(1_700_000_009_999) };
        assert_eq!(callbacks.rejected, [unsigned]);
    }
}
