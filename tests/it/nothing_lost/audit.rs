//! What must be true after the kills.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use super::{Acknowledged, Parcel};
use crate::support::daemon::Daemon;
use crate::support::dingtalk::{DingTalk, Message, Via};

/// Longest time, in milliseconds, between the arrival of an answer at the session webhook and a
/// kill that made the daemon send it again: its answer must be read and its deletion from the
/// outbox be on disk. Far above what that takes, for a busy machine.
const IN_FLIGHT: i64 = 1_000;
/// How late, in milliseconds, the simulator may note what the killed daemon had sent.
const LATE: i64 = 50;
/// The longest that answering what was left over may stand still.
const AFTERWARDS: Duration = Duration::from_secs(60);
/// How often something is looked at that cannot be waited for.
const LOOK: Duration = Duration::from_millis(100);

/// A kill: the daemon may have died at any moment between the two, in milliseconds since the Unix
/// epoch.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kill {
    from: i64,
    to: i64,
}

impl Kill {
    /// A kill that `killing` carries out, not before `earliest` has passed.
    pub(super) async fn during(killing: impl Future<Output = ()>, earliest: Duration) -> Self {
        let from = now() + earliest.as_millis() as i64;
        killing.await;
        Self { from, to: now() }
    }
}

/// Everything that was acknowledged, and what came of it.
#[derive(Debug)]
pub(super) struct Audit {
    acknowledged: Vec<Acknowledged>,
    killed: Vec<Kill>,
}

/// The messages that were answered, and the answers that came more than once, each for a good
/// reason.
#[derive(Debug, Default)]
pub(super) struct Answered {
    once: usize,
    again: usize,
    /// Longest time between the arrival of the first and the kill, in milliseconds.
    longest: i64,
}

impl fmt::Display for Answered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { once, again, longest } = self;
        write!(
            f,
            "{once} answered, {again} of them again (arrived at most {longest} ms before a kill)"
        )
    }
}

impl Audit {
    pub(super) fn new(acknowledged: Vec<Acknowledged>, killed: Vec<Kill>) -> Self {
        assert!(!acknowledged.is_empty());
        Self { acknowledged, killed }
    }

    pub(super) fn acknowledged(&self) -> usize {
        self.acknowledged.len()
    }

    /// Waits until every acknowledged message is answered.
    pub(super) async fn wait_for_answers(&mut self, dingtalk: &DingTalk) {
        let mut open: BTreeSet<Parcel> = self.acknowledged.iter().map(|a| a.parcel).collect();
        assert_eq!(open.len(), self.acknowledged.len());
        // A backlog on a busy machine takes its time: it is lost when nothing more comes.
        let mut seen = 0;
        loop {
            let (before, from) = (open.len(), seen);
            let answered = |message: &Message| {
                seen += 1;
                if let Some(parcel) = Parcel::in_text(&message.text) {
                    open.remove(&parcel);
                }
                open.is_empty().then_some(())
            };
            if dingtalk.record().find(from, AFTERWARDS, answered).await.is_some() {
                return;
            }
            assert!(open.len() < before, "{} are lost: {open:?}", open.len());
        }
    }

    /// Checks that a message was answered again only if the first answer was in flight at a kill.
    pub(super) fn check_answers(&self, dingtalk: &DingTalk) -> Answered {
        let sent: HashSet<Parcel> = self.acknowledged.iter().map(|a| a.parcel).collect();
        let mut before: HashMap<Parcel, i64> = HashMap::new();
        let mut answered = Answered::default();
        for (parcel, message) in answers(&dingtalk.messages()) {
            assert!(sent.contains(&parcel), "nobody said {parcel}");
            let at = message.received;
            let Some(first) = before.insert(parcel, at) else { continue };
            // The newest kill that came after the first and before the second.
            let between = self.killed.iter().rev().find(|k| first <= k.to + LATE && k.from <= at);
            let kill = between.unwrap_or_else(|| panic!("{parcel} twice, and no kill between"));
            let flight = (kill.from - first).max(0);
            assert!(flight <= IN_FLIGHT, "{parcel} was sent again {flight} ms after its arrival");
            answered.again += 1;
            answered.longest = answered.longest.max(flight);
        }
        answered.once = before.len();
        answered
    }

    /// Checks that each conversation got its answers in the order of its messages, and that
    /// nothing came again once the next answer was there: by then it had been forgotten for good.
    pub(super) fn check_order(&self, dingtalk: &DingTalk) {
        let mut newest: HashMap<usize, Parcel> = HashMap::new();
        let mut place: HashMap<usize, String> = HashMap::new();
        for (parcel, message) in answers(&dingtalk.messages()) {
            let at = message.conversation().to_owned();
            assert_eq!(*place.entry(parcel.0).or_insert(at.clone()), at, "{parcel} went elsewhere");
            let expected = newest.get(&parcel.0).map_or(0, |last| last.1 + 1);
            assert!(
                parcel.1 == expected || parcel.1 + 1 == expected,
                "{parcel} came where number {expected} was due"
            );
            newest.insert(parcel.0, parcel);
        }
        for Acknowledged { conversation, parcel, .. } in &self.acknowledged {
            assert!(newest[conversation] >= *parcel);
        }
    }

    /// Waits until memory has seen every message.
    pub(super) async fn wait_for_memories(&self, daemon: &Daemon) {
        let enough = async {
            let kept = async || daemon.metrics().await.sum("dingbot_memories", &[]);
            while kept().await < self.acknowledged.len() as f64 {
                tokio::time::sleep(LOOK).await;
            }
        };
        let waited = tokio::time::timeout(AFTERWARDS, enough).await;
        waited.expect("every message becomes a memory");
    }

    /// Checks that each message is one memory, of the person who said it.
    pub(super) async fn check_memories(&self, daemon: &Daemon) {
        let mut said: HashMap<&str, Vec<Parcel>> = HashMap::new();
        for Acknowledged { parcel, staff, .. } in &self.acknowledged {
            said.entry(staff).or_default().push(*parcel);
        }
        for (staff, mut parcels) in said {
            let arguments = ["memory", "list", "--user", staff, "--json", "--limit", "1000000"];
            let mut kept: Vec<Parcel> = daemon
                .command(&arguments)
                .await
                .lines()
                .map(|line| serde_json::from_str(line).expect("one JSON object a line"))
                .map(|line: Value| Parcel::in_text(line["text"].as_str().unwrap()).unwrap())
                .collect();
            kept.sort_unstable();
            parcels.sort_unstable();
            assert_eq!(kept, parcels, "what {staff} said and what is remembered of it");
        }
    }
}

/// The answers to parcels among the messages, in the order of their arrival.
fn answers(messages: &[Message]) -> impl Iterator<Item = (Parcel, &Message)> {
    messages.iter().filter_map(|message| Some((Parcel::in_text(&message.text)?, message)))
}

/// Waits until nothing waits for delivery, and checks that nothing was given up.
pub(super) async fn wait_for_empty_outbox(daemon: &Daemon) {
    let empty = async {
        loop {
            let left = daemon.command(&["outbox", "list", "--all", "--json"]).await;
            let lines = left.lines().map(|line| serde_json::from_str(line).unwrap());
            let lines: Vec<Value> = lines.collect();
            assert!(lines.iter().all(|line| line["state"] == "waiting"), "given up: {left}");
            // Pushes go on, and may have to wait for the group robot's next minute.
            if lines.iter().all(|line| line["to"].as_str().unwrap().starts_with("push:")) {
                return;
            }
            tokio::time::sleep(LOOK).await;
        }
    };
    tokio::time::timeout(AFTERWARDS, empty).await.expect("every answer is delivered");
}

/// Checks that no time of a reminder was pushed twice and that the group robot's limit held; what
/// there is to say about it.
pub(super) fn check_pushes(
    dingtalk: &DingTalk,
    reminders: &[(&str, u64)],
    elapsed: Duration,
) -> String {
    let messages = dingtalk.messages();
    let pushes = messages.iter().filter(|m| matches!(m.via, Via::GroupRobot(_)));
    let pushes: Vec<&Message> = pushes.collect();
    let keys: HashSet<&str> = pushes.iter().map(|m| m.uuid.as_deref().unwrap()).collect();
    assert_eq!(keys.len(), pushes.len());
    assert!(dingtalk.refusals().is_empty(), "{:?}", dingtalk.refusals());
    let mut total = 0;
    for (text, seconds) in reminders {
        let said: u64 = pushes.iter().map(|message| occurrences(&message.text, text)).sum();
        // Its times are fixed when it is made: that many have come.
        let due = elapsed.as_secs() / seconds + 1;
        assert!((1..=due).contains(&said), "{text} was due {due} times and said {said} times");
        total += said;
    }
    format!(
        "{total} reminders in {} pushes, {} repeated under the same msgUuid and recorded once",
        pushes.len(),
        dingtalk.duplicates()
    )
}

/// How often a push says `text`: `⏰ text`, or `⏰ text（×3）` when several were merged.
fn occurrences(push: &str, text: &str) -> u64 {
    let lines = push.lines().filter_map(|line| line.trim().split_once(text));
    lines
        .map(|(_, rest)| {
            let count = rest.strip_prefix("（×").and_then(|rest| rest.strip_suffix("）"));
            count.map_or(1, |count| count.parse().expect("a number of occurrences"))
        })
        .sum()
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is past 1970");
    since.as_millis() as i64
}
