//! A daemon that hangs or dies is back, and what it had accepted is answered.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::time::Duration;

use crate::host::{Host, on_hosts};
use crate::support::dingtalk::{Message, SignedCallback};

on_hosts! {
    a_daemon_that_hangs_is_killed_by_the_watchdog_and_started_again: bookworm trixie;
    a_daemon_killed_under_load_is_started_again_and_answers_all_it_accepted: bookworm;
    a_configuration_that_cannot_work_is_not_tried_again: bookworm;
}

/// How long the watchdog and a restart may take together.
const BACK: Duration = Duration::from_secs(30);
/// Times the daemon is killed, and how long it works before each.
const KILLS: usize = 3;
const BETWEEN_KILLS: Duration = Duration::from_millis(700);
/// Messages sent meanwhile, each in a conversation of its own: more than this, or it was no load,
/// and no more than this.
const LEAST: usize = 100;
const MOST: usize = 3000;

/// Waits until systemd has started the service again `times` times and it is healthy.
async fn back(host: &Host, times: usize) {
    let restarted = async || {
        let restarts = host.machine.property("dingbot", "NRestarts").await;
        (restarts.parse::<usize>().ok()? >= times).then_some(())
    };
    host.machine.wait("systemd starts it again", BACK, restarted).await;
    host.becomes_healthy().await;
}

async fn a_daemon_that_hangs_is_killed_by_the_watchdog_and_started_again(host: &Host) {
    host.drop_in("[Service]\nWatchdogSec=3s\nRestartSec=100ms\n").await;
    host.with_service().await;
    // As long as it works it is left alone.
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(host.machine.property("dingbot", "NRestarts").await, "0");

    host.machine.succeeds(&format!("kill -STOP {}", host.pid().await)).await;
    back(host, 1).await;
    let said = host.machine.succeeds("journalctl -u dingbot -o cat --no-pager").await;
    assert!(said.contains("Watchdog timeout"), "{said}");
    let killed = host.metrics().await.sum("dingbot_unclean_stops_total", &[]);
    assert_eq!(killed, 1.0, "the next run knows");
    host.machine.succeeds("systemctl restart dingbot").await;
    host.becomes_healthy().await;
    let killed = host.metrics().await.sum("dingbot_unclean_stops_total", &[]);
    assert_eq!(killed, 1.0, "a restart is no such end");
    host.answers("are you back?").await;
}

async fn a_daemon_killed_under_load_is_started_again_and_answers_all_it_accepted(host: &Host) {
    host.drop_in("[Service]\nRestartSec=100ms\n").await;
    host.with_service().await;
    host.model.set_latency(Duration::from_millis(100));
    let killed = Cell::new(false);
    let sending = async {
        let mut accepted = BTreeSet::new();
        while !killed.get() && accepted.len() < MOST {
            let number = accepted.len();
            let (staff, text) = (format!("staff{number}"), format!("parcel-{number:04}."));
            let callback = host.callback().from(&staff).text(&text).build();
            insist(host, &callback).await;
            accepted.insert(callback.conversation);
        }
        accepted
    };
    let killing = async {
        for kill in 1..=KILLS {
            tokio::time::sleep(BETWEEN_KILLS).await;
            host.machine.succeeds("systemctl kill --signal=KILL dingbot").await;
            back(host, kill).await;
        }
        killed.set(true);
    };
    let (accepted, ()) = tokio::join!(sending, killing);
    assert!(accepted.len() > LEAST, "no load: {}", accepted.len());

    let answered = |messages: &[Message]| {
        let conversations: BTreeSet<_> = messages.iter().map(Message::conversation).collect();
        accepted.iter().all(|conversation| conversations.contains(conversation.as_str()))
    };
    let messages = host.dingtalk.wait_for(answered, Duration::from_secs(60)).await;
    println!(
        "{}: {} messages accepted around {KILLS} kills, all answered, {} of them twice",
        host.suite.name(),
        accepted.len(),
        messages.len() - accepted.len(),
    );
}

/// Posts until it is accepted, as DingTalk repeats a callback.
async fn insist(host: &Host, callback: &SignedCallback) {
    let accepted = async || {
        let answer = host.try_post(callback).await?;
        (answer.status == 200).then_some(())
    };
    host.machine.wait("the message is accepted", BACK, accepted).await;
}

async fn a_configuration_that_cannot_work_is_not_tried_again(host: &Host) {
    host.with_service().await;
    host.configure(&host.settings().set("server.max_connektions", "5"));
    host.machine.fails("systemctl restart dingbot").await;
    assert_eq!(host.machine.property("dingbot", "ExecMainStatus").await, "78");
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(host.machine.property("dingbot", "ActiveState").await, "failed");
    assert_eq!(host.machine.property("dingbot", "NRestarts").await, "0");
    // Among the errors: who looks for trouble finds it.
    let said = "journalctl --sync; journalctl -u dingbot -p err -o cat _COMM=dingbot";
    let said = host.machine.succeeds(said).await;
    for part in ["50-test.toml", "server.max_connektions", "max_connections"] {
        assert!(said.contains(part), "{part} is not named: {said}");
    }
    host.configure(&host.settings());
    host.machine.succeeds("systemctl start dingbot").await;
    host.becomes_healthy().await;
}
