//! Nothing lost: what was acknowledged is answered, whatever moment the daemon is killed at.
//!
//! Many conversations send while the daemon is killed with SIGKILL again and again and restarted
//! on the same state directory, at another port each time. A sender repeats what was not
//! acknowledged under the same `msgId`, as DingTalk does. What is true at the end is judged in
//! [`audit`].
//!
//! `DINGBOT_KILLS` sets the number of kills, `DINGBOT_SEED` repeats the random choices of a run;
//! their effect still depends on the machine's timing.

mod audit;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::support::daemon::Daemon;
use crate::support::dingtalk::DingTalk;
use crate::support::http::{self, Answer};
use crate::support::stage::Stage;
use audit::{Audit, Kill};

/// Kills unless `DINGBOT_KILLS` says otherwise.
const KILLS: usize = 20;
/// Conversations; every other one is a group.
const CONVERSATIONS: usize = 24;
/// People in each group.
const MEMBERS: usize = 3;
/// Longest pause of a sender between two messages, in milliseconds.
const LONGEST_PAUSE: u64 = 150;
/// How long a run lives once it is ready, in milliseconds.
const LIFE: std::ops::Range<u64> = 0..700;
/// How long a run lives that is killed whether it is ready or not, in milliseconds. One run in
/// [`EARLY`] is.
const EARLY_LIFE: std::ops::Range<u64> = 1..120;
const EARLY: usize = 5;
/// How long a sender waits before it repeats what was not acknowledged.
const REPEAT: Duration = Duration::from_millis(20);
/// Seconds between the pushes of each reminder.
const REMINDERS: [(&str, u64); 3] = [("tick-a", 2), ("tick-b", 3), ("tick-c", 5)];

/// A message that was acknowledged.
#[derive(Debug)]
struct Acknowledged {
    /// The conversation's number.
    conversation: usize,
    /// The text, which names the message.
    parcel: Parcel,
    /// Who said it.
    staff: String,
}

/// The name of a message: the conversation's number, and its number in the conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Parcel(usize, usize);

impl fmt::Display for Parcel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "parcel-{:02}-{:06}", self.0, self.1)
    }
}

impl Parcel {
    /// Finds the name in a text.
    fn in_text(text: &str) -> Option<Self> {
        text.split_whitespace().find_map(|word| {
            let (conversation, number) = word.strip_prefix("parcel-")?.split_once('-')?;
            Some(Self(conversation.parse().ok()?, number.parse().ok()?))
        })
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_lost() {
    let kills = number("DINGBOT_KILLS").map_or(KILLS, |kills| kills as usize);
    let seed = number("DINGBOT_SEED").unwrap_or_else(|| fastrand::u64(..));
    println!("nothing lost: {kills} kills, DINGBOT_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);

    let Stage { mut daemon, dingtalk, model: _model } = Stage::with_group_robot().await;
    let dingtalk = Arc::new(dingtalk);
    let reminded = Instant::now();
    for (text, seconds) in REMINDERS {
        let callback = dingtalk.callback().from("reminded");
        daemon.says(callback.text(&format!("/remember {seconds} {text}"))).await;
    }

    let (running, address) = watch::channel(Some(daemon.address()));
    let enough = CancellationToken::new();
    let mut senders = JoinSet::new();
    for conversation in 0..CONVERSATIONS {
        let sender = Sender {
            conversation,
            dingtalk: Arc::clone(&dingtalk),
            address: address.clone(),
            random: random.fork(),
            enough: enough.clone(),
        };
        senders.spawn(sender.run());
    }
    let killed = kill_again_and_again(&mut daemon, kills, &running, &mut random).await;
    enough.cancel();
    let acknowledged: Vec<Acknowledged> = senders.join_all().await.into_iter().flatten().collect();

    let mut audit = Audit::new(acknowledged, killed);
    audit.wait_for_answers(&dingtalk).await;
    audit.wait_for_memories(&daemon).await;
    // Whatever was to be sent a second time was sent by now.
    audit::wait_for_empty_outbox(&daemon).await;
    let answered = audit.check_answers(&dingtalk);
    audit.check_order(&dingtalk);
    audit.check_memories(&daemon).await;
    let pushes = audit::check_pushes(&dingtalk, &REMINDERS, reminded.elapsed());
    println!(
        "nothing lost: {kills} kills, {} acknowledged, {answered}, lost 0; {pushes}",
        audit.acknowledged(),
    );
}

/// Kills the daemon at random moments and leaves a running one.
async fn kill_again_and_again(
    daemon: &mut Daemon,
    kills: usize,
    running: &watch::Sender<Option<std::net::SocketAddr>>,
    random: &mut fastrand::Rng,
) -> Vec<Kill> {
    let mut killed = Vec::with_capacity(kills);
    while killed.len() < kills {
        if killed.len() % EARLY == EARLY - 1 {
            let life = Duration::from_millis(random.u64(EARLY_LIFE));
            killed.push(Kill::during(daemon.restart_and_kill(life), life).await);
            continue;
        }
        if running.borrow().is_none() {
            daemon.restart().await;
            running.send_replace(Some(daemon.address()));
        }
        tokio::time::sleep(Duration::from_millis(random.u64(LIFE))).await;
        killed.push(Kill::during(daemon.kill9(), Duration::ZERO).await);
        running.send_replace(None);
    }
    daemon.restart().await;
    running.send_replace(Some(daemon.address()));
    killed
}

/// Sends the messages of one conversation, the next once the one before was acknowledged.
struct Sender {
    conversation: usize,
    dingtalk: Arc<DingTalk>,
    address: watch::Receiver<Option<std::net::SocketAddr>>,
    random: fastrand::Rng,
    enough: CancellationToken,
}

impl Sender {
    async fn run(mut self) -> Vec<Acknowledged> {
        let client = http::client();
        let mut acknowledged = Vec::new();
        while !self.enough.is_cancelled() {
            let parcel = Parcel(self.conversation, acknowledged.len());
            let staff = self.speaker();
            self.deliver(&client, &staff, parcel).await;
            acknowledged.push(Acknowledged { conversation: self.conversation, parcel, staff });
            let pause = Duration::from_millis(self.random.u64(0..LONGEST_PAUSE));
            tokio::time::sleep(pause).await;
        }
        acknowledged
    }

    /// Who speaks next: the one person of a conversation of two, or anybody in the group.
    fn speaker(&mut self) -> String {
        let member = if self.is_group() { self.random.usize(0..MEMBERS) } else { 0 };
        format!("staff{}of{}", member, self.conversation)
    }

    fn is_group(&self) -> bool {
        self.conversation % 2 == 1
    }

    /// Posts one message until it is acknowledged.
    async fn deliver(&mut self, client: &reqwest::Client, staff: &str, parcel: Parcel) {
        let group = format!("group{}", self.conversation);
        // A statement, so that it becomes a memory.
        let text = format!("My {parcel} lies on the shelf");
        let callback = self.dingtalk.callback().from(staff).text(&text);
        let callback = if self.is_group() { callback.group(&group) } else { callback };
        let callback = callback.build();
        loop {
            let running = self.address.wait_for(Option::is_some).await;
            let address = running.expect("the test outlives its senders").expect("it is some");
            if let Ok(response) = callback.request(client, address).send().await
                && let Ok(answer) = Answer::read(response).await
            {
                match answer.status {
                    200 => return,
                    503 => {}
                    _ => panic!("{parcel}: {answer:?}"),
                }
            }
            tokio::time::sleep(REPEAT).await;
        }
    }
}

fn number(variable: &str) -> Option<u64> {
    let value = std::env::var(variable).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{variable} is not a number: {value}")))
}
