//! Reminders: pushed at their interval, through restarts and limits.

use std::collections::HashSet;
use std::time::Duration;

use crate::support::PATIENCE;
use crate::support::dingtalk::{Api, Fault, GROUP_TOKEN, Message, Via};
use crate::support::stage::Stage;

/// How often `part` was pushed, however it was merged with others.
fn count(messages: &[Message], part: &str) -> usize {
    messages.iter().map(|message| message.text.matches(part).count()).sum()
}

/// Waits until a push of `text` waits to be delivered.
async fn waits_in_the_outbox(stage: &Stage, text: &str) {
    let waits = async {
        while !stage.daemon.command(&["outbox", "list", "--all"]).await.contains(text) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waits).await.unwrap_or_else(|_| panic!("{text} is not due"));
}

async fn say(stage: &Stage, text: &str) -> String {
    stage.daemon.says(stage.dingtalk.callback().from("ann").text(text)).await
}

#[tokio::test]
async fn a_reminder_fires_at_its_interval() {
    let stage = Stage::with_group_robot().await;
    say(&stage, "/remember 2 drink water").await;
    let twice = |messages: &[Message]| count(messages, "drink water") >= 2;
    let messages = stage.dingtalk.wait_for(twice, PATIENCE).await;
    assert_eq!(messages[0].via, Via::GroupRobot(GROUP_TOKEN.into()));
    let apart = messages[1].received - messages[0].received;
    assert!((1_500..3_000).contains(&apart), "{apart} ms");
    assert!(messages.iter().all(|message| message.uuid.is_some()), "a retry must be harmless");
}

#[tokio::test]
async fn with_the_openapi_a_reminder_goes_to_the_person() {
    let stage = Stage::new().await;
    say(&stage, "/remember 1 stand up").await;
    let message = stage.dingtalk.wait_for_text("stand up").await;
    assert_eq!(message.via, Via::Persons(vec!["ann".into()]));
}

#[tokio::test]
async fn a_reminder_survives_a_kill_and_does_not_burst_after_downtime() {
    let mut stage = Stage::with_group_robot().await;
    say(&stage, "/remember 1 look up").await;
    stage.dingtalk.wait_for_text("look up").await;
    stage.daemon.kill9().await;
    let before = count(&stage.dingtalk.messages(), "look up");
    // The subject of the test: several intervals pass while nothing runs.
    tokio::time::sleep(Duration::from_secs(4)).await;
    let restarted = stage.dingtalk.messages().len();
    stage.daemon.restart().await;
    let again = |messages: &[Message]| count(messages, "look up") >= before + 3;
    let messages = stage.dingtalk.wait_for(again, PATIENCE).await;
    let times: Vec<i64> = messages[restarted..].iter().map(|message| message.received).collect();
    // The one that is late comes at once and the next at its own time; the missed ones never.
    let span = times.last().unwrap() - times[0];
    assert!(span >= 900, "{} messages in {span} ms", times.len());
    // The late one may share a message with the next; more would be the missed ones.
    assert!(
        messages[restarted..].iter().all(|message| message.text.matches("look up").count() <= 2)
    );
}

#[tokio::test]
async fn a_forgotten_reminder_is_silent() {
    let stage = Stage::with_group_robot().await;
    say(&stage, "/remember 1 first one").await;
    stage.dingtalk.wait_for_text("first one").await;
    let list = say(&stage, "/memories").await;
    let line =
        list.lines().find(|line| line.contains("first one")).unwrap_or_else(|| panic!("{list}"));
    let digits = line.chars().skip_while(|c| !c.is_ascii_digit());
    let id: String = digits.take_while(char::is_ascii_digit).collect();
    say(&stage, &format!("/forget {id}")).await;
    let after = count(&stage.dingtalk.messages(), "first one");
    // Another reminder's third push shows that more than an interval has passed.
    say(&stage, "/remember 1 second one").await;
    let thrice = |messages: &[Message]| count(messages, "second one") >= 3;
    let messages = stage.dingtalk.wait_for(thrice, PATIENCE).await;
    // One push may have been on its way.
    assert!(count(&messages, "first one") <= after + 1);
}

#[tokio::test]
async fn thirty_reminders_at_once_stay_under_the_limit_and_all_arrive() {
    let mut stage = Stage::with_group_robot().await;
    let texts: HashSet<String> = (0..30).map(|number| format!("task-{number:02}")).collect();
    for text in &texts {
        say(&stage, &format!("/remember 5 {text}")).await;
    }
    let missing = |messages: &[Message]| -> Vec<&String> {
        let there = |text: &&String| messages.iter().any(|message| message.text.contains(*text));
        texts.iter().filter(|text| !there(text)).collect()
    };
    let full = |messages: &[Message]| missing(messages).is_empty() || messages.len() == 20;
    let messages = stage.dingtalk.wait_for(full, PATIENCE).await;
    // What did not fit the minute waits for the next; not even a restart makes the bot forget how
    // much of it is used up.
    for text in missing(&messages) {
        waits_in_the_outbox(&stage, text).await;
    }
    stage.daemon.kill9().await;
    stage.daemon.restart().await;
    // The subject of the test: nothing comes, although several are due.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let sent = stage.dingtalk.messages();
    assert!(sent.len() <= 20, "{} messages in a minute", sent.len());
    assert!(stage.dingtalk.refusals().is_empty(), "{:?}", stage.dingtalk.refusals());

    stage.daemon.kill9().await;
    a_minute_passes(&stage);
    stage.daemon.restart().await;
    let all_there = |messages: &[Message]| missing(messages).is_empty();
    let messages = stage.dingtalk.wait_for(all_there, PATIENCE).await;
    assert!(stage.dingtalk.refusals().is_empty(), "{:?}", stage.dingtalk.refusals());
    assert!(messages.len() <= 25, "what waited is merged: {}", messages.len());
}

/// Makes the last minute of a daemon that is down a minute older, for the simulator and in the
/// daemon's own store, which a test cannot wait for.
fn a_minute_passes(stage: &Stage) {
    const MILLIS: i64 = 65_000;
    stage.dingtalk.advance(Duration::from_millis(MILLIS as u64));
    let store = stage.daemon.state_directory().join("dingbot.db");
    let store = rusqlite::Connection::open(store).unwrap();
    let aged = store.execute("UPDATE sends SET at = at - ?1", [MILLIS]).unwrap();
    assert!(aged > 0, "every push is noted");
    store.execute("UPDATE outbox SET next_attempt_at = next_attempt_at - ?1", [MILLIS]).unwrap();
}

#[tokio::test]
async fn a_push_that_arrived_unnoticed_does_not_swallow_the_next() {
    let stage = Stage::with_group_robot().await;
    // It is there, but the daemon does not hear so, and sends it again under the same msgUuid:
    // nothing else may be in it by then.
    stage.dingtalk.fail_next(Api::GroupRobot, 2, Fault::CloseAfterRecording);
    say(&stage, "/remember 2 first one").await;
    stage.dingtalk.wait_for_text("first one").await;
    say(&stage, "/remember 1 second one").await;
    waits_in_the_outbox(&stage, "second one").await;
    say(&stage, "/forget all").await;
    say(&stage, "yes").await;
    stage.dingtalk.wait_for_text("second one").await;
    let messages = stage.dingtalk.messages();
    assert_eq!(count(&messages[..1], "first one"), 1);
    assert!(stage.dingtalk.duplicates() >= 1);
}
