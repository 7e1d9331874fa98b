//! The log: entries of the journal, and where lines go when there is none.

use std::time::{Duration, Instant};

use crate::support::PATIENCE;
use crate::support::daemon::Daemon;
use crate::support::journal::{Entry, Journal, parse};
use crate::support::model::Reply;
use crate::support::settings::Settings;
use crate::support::stage::Stage;

/// A journal for this test, or `None` and the reason on standard output.
fn journal() -> Option<Journal> {
    Journal::start().map_err(|why| println!("skipped: the journal: {why}")).ok()
}

/// The first entry with this message.
async fn entry(journal: &Journal, message: &str) -> Entry {
    let found = journal.entries().find(0, PATIENCE, |entry| {
        // The text says what went wrong, too.
        let error = entry.get("DINGBOT_ERROR").map(|error| format!(": {}", error[0]));
        let text = format!("{message}{}", error.unwrap_or_default());
        (one(entry, "MESSAGE") == text).then(|| entry.clone())
    });
    found.await.unwrap_or_else(|| panic!("no {message:?} in {:#?}", journal.entries().all()))
}

/// The one value of a field.
fn one<'a>(entry: &'a Entry, name: &str) -> &'a str {
    let values = entry.get(name).unwrap_or_else(|| panic!("no {name} in {entry:#?}"));
    assert_eq!(values.len(), 1, "{name} in {entry:#?}");
    &values[0]
}

fn following(level: &str, journal: &Journal) -> impl FnOnce(Settings) -> Settings {
    let (level, journal) = (level.to_owned(), journal.clone());
    move |settings| {
        settings.text("log.format", "journald").text("log.level", &level).journal(&journal)
    }
}

#[test]
fn an_entry_is_read_as_journald_reads_it() {
    let value = "two\nlines";
    let mut bytes = b"PRIORITY=6\nMESSAGE\n".to_vec();
    bytes.extend_from_slice(&(value.len() as u64).to_le_bytes());
    bytes.extend_from_slice(value.as_bytes());
    bytes.extend_from_slice(b"\nA=b=c\nA=\n");
    let entry = parse(&bytes).unwrap();
    assert_eq!(entry["PRIORITY"], ["6"]);
    assert_eq!(entry["MESSAGE"], [value]);
    assert_eq!(entry["A"], ["b=c", ""]);
    for wrong in [&b"MESSAGE\n\xff\0\0\0\0\0\0\0x\n"[..], b"lower=1\n", b"_PID=1\n", b"A=1"] {
        assert_eq!(parse(wrong), None, "{wrong:?}");
    }
}

#[tokio::test]
async fn a_message_is_found_by_its_fields_from_the_request_to_the_delivery() {
    let Some(journal) = journal() else { return };
    let mut stage = Stage::with(following("info,dingbot=debug", &journal)).await;
    stage.model.answer_always(Reply::text("the answer"));
    let callback = stage.dingtalk.callback().text("a private thought").build();
    let posted = stage.daemon.post_callback(&callback).await;
    let body: serde_json::Value = serde_json::from_slice(&callback.body).unwrap();
    stage.dingtalk.wait_for_text("the answer").await;

    let priorities = [("message accepted", "7"), ("message answered", "6"), ("delivered", "7")];
    for (message, priority) in priorities {
        let entry = entry(&journal, message).await;
        assert_eq!(one(&entry, "PRIORITY"), priority);
        assert_eq!(one(&entry, "DINGBOT_MESSAGE_ID"), body["msgId"]);
        assert_eq!(one(&entry, "DINGBOT_REQUEST_ID"), posted.header("x-request-id"));
        assert_eq!(one(&entry, "SYSLOG_IDENTIFIER"), "dingbot");
        assert!(one(&entry, "CODE_FILE").ends_with(".rs"));
    }
    for message in ["message answered", "delivered"] {
        let entry = entry(&journal, message).await;
        assert_eq!(one(&entry, "DINGBOT_CONVERSATION"), body["conversationId"]);
        assert_eq!(one(&entry, "DINGBOT_ROBOT"), body["robotCode"]);
    }
    // A key of systemd's catalogue, were it not for the prefix.
    stage.daemon.sigterm();
    assert_eq!(stage.daemon.wait_exit().await.code(), Some(0));
    entry(&journal, "stopped").await;
    let entries = journal.entries().all();
    assert!(entries.iter().all(|entry| !entry.contains_key("MESSAGE_ID")));
    assert!(entries.iter().flat_map(Entry::values).flatten().all(|v| !v.contains("private")));
    let elsewhere = stage.daemon.log().all();
    assert!(!elsewhere.iter().any(|line| line.contains("stopped")), "{elsewhere:?}");
}

#[tokio::test]
async fn what_goes_wrong_has_its_kind_and_its_priority() {
    let Some(journal) = journal() else { return };
    let stage = Stage::with(following("warn,dingbot::serve=info", &journal)).await;
    let refused = stage.daemon.post(stage.dingtalk.callback().bad_sign()).await;
    let entry_of_refusal = entry(&journal, "callback refused").await;
    assert_eq!(one(&entry_of_refusal, "PRIORITY"), "4");
    assert_eq!(one(&entry_of_refusal, "DINGBOT_REASON"), "signature_mismatch");
    assert_eq!(one(&entry_of_refusal, "DINGBOT_ERROR_KIND"), "signature_mismatch");
    assert_eq!(one(&entry_of_refusal, "DINGBOT_REQUEST_ID"), refused.header("x-request-id"));

    // The level leaves out everything else about it, and not whose message it is.
    stage.model.answer_always(Reply::Unauthorized);
    let callback = stage.dingtalk.callback().text("a private thought").build();
    assert_eq!(stage.daemon.post_callback(&callback).await.status, 200);
    let body: serde_json::Value = serde_json::from_slice(&callback.body).unwrap();
    let failed = entry(&journal, "the model gave no answer").await;
    assert_eq!(one(&failed, "PRIORITY"), "4");
    assert_eq!(one(&failed, "DINGBOT_ERROR_KIND"), "unauthorized");
    assert!(one(&failed, "DINGBOT_ERROR").contains("llm.api_key"));
    assert_eq!(one(&failed, "DINGBOT_MESSAGE_ID"), body["msgId"]);
    assert_eq!(one(&failed, "DINGBOT_CONVERSATION"), body["conversationId"]);
}

#[tokio::test]
async fn a_value_of_several_lines_is_one_field_of_one_entry() {
    let Some(journal) = journal() else { return };
    // What callbacks hold never comes so far with a line feed; this is the operator's own.
    let forged = "m\nMESSAGE=forged\nPRIORITY=0\n\nMESSAGE=another";
    let settings =
        |settings: Settings| following("info", &journal)(settings.text("llm.model", forged));
    let _stage = Stage::with(settings).await;
    let ready = entry(&journal, "ready").await;
    assert_eq!(one(&ready, "DINGBOT_ANSWERS"), forged);
    assert_eq!(one(&ready, "PRIORITY"), "6");
    let entries = journal.entries().all();
    assert!(entries.iter().all(|entry| !one(entry, "MESSAGE").contains("another")));
}

#[tokio::test]
async fn a_journal_that_does_not_read_holds_up_nobody() {
    let Some(journal) = journal() else { return };
    let mut stage = Stage::with(following("debug", &journal)).await;
    journal.hold();
    // More than any socket's queue takes; every request is a line.
    let lines = 2_000;
    for _ in 0..lines {
        let started = Instant::now();
        assert_eq!(stage.daemon.get("/health").await.status, 200);
        assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    }
    journal.release();
    let answered = |entries: &[Entry]| {
        entries.iter().filter(|entry| entry["MESSAGE"] == ["request answered"]).count() >= lines
    };
    journal.entries().wait_for(answered, PATIENCE).await;
    // They had room to wait.
    let metrics = stage.daemon.get("/metrics").await.body;
    assert!(metrics.contains("\ndingbot_log_lines_dropped_total 0\n"), "{metrics}");

    journal.hold();
    for _ in 0..lines {
        assert_eq!(stage.daemon.get("/health").await.status, 200);
    }
    let started = Instant::now();
    stage.daemon.sigterm();
    assert_eq!(stage.daemon.wait_exit().await.code(), Some(0));
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
}

#[tokio::test]
async fn under_systemd_the_journal_is_chosen_by_itself() {
    let Some(journal) = journal() else { return };
    let settings = Settings::bare().text("log.format", "auto").journal(&journal);
    // Its standard error is what $JOURNAL_STREAM says: the support sees to that.
    let daemon = Daemon::start(settings).await;
    assert_eq!(one(&entry(&journal, "ready").await, "PRIORITY"), "6");
    assert!(daemon.log().is_empty(), "{:?}", daemon.log().all());
}

#[tokio::test]
async fn a_journal_stream_that_is_elsewhere_is_none_and_json_goes_to_standard_output() {
    let settings = Settings::bare().text("log.format", "auto").variable("JOURNAL_STREAM", "1:2");
    let daemon = Daemon::start(settings).await;
    assert!(daemon.errors().is_empty(), "{:?}", daemon.errors().all());
    let lines = daemon.log().all();
    let line: serde_json::Value = serde_json::from_str(&lines[0]).unwrap();
    assert!(line["timestamp"].is_string() && line["target"] == "dingbot::serve", "{line}");
}

#[tokio::test]
async fn without_a_journal_it_starts_all_the_same_and_says_so() {
    let absent = match Journal::absent() {
        Ok(absent) => absent,
        Err(why) => return println!("skipped: the journal: {why}"),
    };
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let settings = Settings::bare()
        .text("log.format", "journald")
        .journal(&absent)
        .listen(&taken.local_addr().unwrap().to_string());
    let (status, said) = Daemon::start_and_fail(settings).await;
    assert_eq!(status.code(), Some(1), "{said}");
    let line = said.lines().find(|line| line.contains("the journal cannot be reached")).unwrap();
    // Standard error is said to be the journal: it takes the priority from there.
    assert!(line.starts_with("<4>"), "{line}");
    assert!(line.contains("error_kind=\"io\""), "{line}");
}
