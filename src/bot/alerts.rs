//! Alerts: what Alertmanager says, put into the outbox for the group of a custom robot.
//!
//! A notification that was taken is on disk. Alertmanager repeats itself when it did not hear so:
//! what a group of alerts said last, said again within a minute, is taken once. Nothing
//! else is left out: what a group says again after something else, or later, is news.

mod notification;
mod severity;
mod text;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jiff::tz::TimeZone;

use self::notification::Notification;
use super::courier::Mailbox;
use super::outgoing;
use crate::config::Settings;
use crate::dingtalk::Mention;
use crate::store::{NewDelivery, Once, Store, StoreError};
use crate::telemetry::clock::Clock;

/// How soon the same must come again to be a repetition. Alertmanager tries again within seconds
/// when its connection broke, and says the same of its own accord after `repeat_interval`, which
/// is minutes at the least; the other one of a cluster says the same within 15 seconds.
const REPEATED_WITHIN: Duration = Duration::from_secs(60);
/// Most deliveries of any kind that may wait before no alert is taken.
const OUTBOX_LIMIT: usize = 10_000;

/// Takes alerts for the group robots of the settings.
#[derive(Debug, Clone)]
pub struct Alerts {
    store: Arc<dyn Store>,
    mailbox: Mailbox,
    clock: Clock,
    zone: TimeZone,
    /// The robots, and whom each mentions.
    robots: BTreeMap<String, Vec<Mention>>,
}

/// What was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken {
    /// Whether the same was taken a moment ago, and nothing was done.
    pub repeated: bool,
    /// Alerts that fire.
    pub firing: usize,
    /// Alerts that are over.
    pub resolved: usize,
    /// The messages they became.
    pub messages: usize,
    /// Alerts that are only counted in them.
    pub left_out: usize,
}

/// Why alerts were not taken.
#[derive(Debug, thiserror::Error)]
pub enum NotTaken {
    /// The settings have no such robot.
    #[error("no such group robot")]
    UnknownRobot,
    /// It is no notification of Alertmanager.
    #[error("{0}")]
    Malformed(String),
    /// Too much waits to be delivered.
    #[error("{OUTBOX_LIMIT} messages wait to be delivered already")]
    Full,
    /// They could not be kept.
    #[error("the alerts could not be kept: {0}")]
    Store(#[from] StoreError),
    /// A fault of this program.
    #[error("the alerts made the program panic")]
    Panicked,
}

impl Alerts {
    /// For the robots, their mentions and the time zone of `settings`.
    pub fn new(settings: &Settings, store: Arc<dyn Store>, mailbox: Mailbox, clock: Clock) -> Self {
        let robots = settings.dingtalk.group_robots.iter().map(|robot| {
            let everybody = robot.mention_all.then_some(Mention::All);
            let mobiles = robot.mention_mobiles.iter().cloned().map(Mention::Mobile);
            (robot.name.clone(), everybody.into_iter().chain(mobiles).collect())
        });
        let zone = TimeZone::get(&settings.memory.time_zone).unwrap_or(TimeZone::UTC);
        Self { robots: robots.collect(), store, mailbox, clock, zone }
    }

    /// The names of the robots, in alphabetical order.
    pub fn robots(&self) -> impl Iterator<Item = &str> {
        self.robots.keys().map(String::as_str)
    }

    /// Takes the body of a webhook for the group of `robot`; returns once it is on disk.
    pub async fn take(&self, robot: &str, body: Bytes) -> Result<Taken, NotTaken> {
        let mention = self.robots.get(robot).cloned().ok_or(NotTaken::UnknownRobot)?;
        let (zone, now) = (self.zone.clone(), self.clock.now_millis());
        let name = robot.to_owned();
        // Thousands of alerts take their time.
        let work = move || Post::of(&name, mention, &body, &zone, now);
        let post = tokio::task::spawn_blocking(work)
            .await
            .map_err(|_| NotTaken::Panicked)?
            .map_err(NotTaken::Malformed)?;
        if self.store.outbox_depth().await?.waiting >= OUTBOX_LIMIT {
            return Err(NotTaken::Full);
        }
        let Post { deliveries, once, taken } = post;
        let lane = deliveries.first().map(|delivery| delivery.lane.clone());
        let posted = self.store.post(deliveries, once, now).await?;
        if posted && let Some(lane) = lane {
            self.mailbox.notify(lane);
        }
        Ok(Taken { repeated: !posted, ..taken })
    }
}

/// A notification, ready to be kept.
struct Post {
    deliveries: Vec<NewDelivery>,
    once: Once,
    taken: Taken,
}

impl Post {
    /// An error says what is wrong with the body.
    fn of(
        robot: &str,
        mention: Vec<Mention>,
        body: &[u8],
        zone: &TimeZone,
        now: i64,
    ) -> Result<Self, String> {
        let notification = Notification::read(body)?;
        let (firing, resolved) = notification.counts();
        let (parts, left_out) = text::render(&notification, zone);
        // Nobody is called to what is over, and once is enough.
        let mut mention = if firing > 0 { mention } else { Vec::new() };
        let deliveries: Vec<NewDelivery> = parts
            .into_iter()
            .map(|part| {
                let shown = (part.title, part.text);
                outgoing::alerts(robot, shown, std::mem::take(&mut mention), part.tally, now)
            })
            .collect();
        let once = Once {
            series: format!("alerts:{robot}:{}", notification.group_digest()),
            content: notification.content_digest(),
            window_millis: i64::try_from(REPEATED_WITHIN.as_millis()).unwrap_or(i64::MAX),
        };
        let messages = deliveries.len();
        let taken = Taken { repeated: false, firing, resolved, messages, left_out };
        Ok(Self { deliveries, once, taken })
    }
}
