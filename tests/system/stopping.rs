//! `systemctl stop` and `restart` let the daemon finish.

use std::time::{Duration, Instant};

use crate::host::{Host, on_hosts};
use crate::support::model::Reply;

on_hosts! {
    stopping_is_a_success_and_keeps_what_is_not_answered_yet: bookworm trixie;
    a_drain_longer_than_the_time_limit_is_waited_for: bookworm trixie;
}

async fn stopping_is_a_success_and_keeps_what_is_not_answered_yet(host: &Host) {
    host.with_settings(&host.settings().text("server.drain_timeout", "1s")).await;
    host.model.hold();
    host.accepts(host.callback().text("keep this for me")).await;
    host.model.wait_for_question("keep this for me").await;
    host.machine.succeeds("systemctl stop dingbot").await;
    assert_eq!(host.machine.property("dingbot", "Result").await, "success");
    assert_eq!(host.machine.property("dingbot", "ActiveState").await, "inactive");
    assert!(host.try_get("/health").await.is_none(), "nobody listens");
    assert!(host.dingtalk.messages().is_empty());

    host.model.release();
    host.machine.succeeds("systemctl start dingbot").await;
    host.dingtalk.wait_for_text("keep this for me").await;
}

async fn a_drain_longer_than_the_time_limit_is_waited_for(host: &Host) {
    host.drop_in("[Service]\nTimeoutStopSec=3s\n").await;
    host.with_settings(&host.settings().text("server.drain_timeout", "10s")).await;
    host.model.set_latency(Duration::from_secs(6));
    host.model.answer_always(Reply::text("worth waiting for"));
    host.accepts(host.callback().text("take your time")).await;
    host.model.wait_for_question("take your time").await;
    let since = Instant::now();
    host.machine.succeeds("systemctl stop dingbot").await;
    let took = since.elapsed();
    assert_eq!(host.machine.property("dingbot", "Result").await, "success");
    // Delivered before it ended: nobody has started it again.
    let messages = host.dingtalk.messages();
    assert_eq!(messages.len(), 1, "after {took:?}: {messages:?}");
    assert!(messages[0].text.contains("worth waiting for"));
    assert!(took > Duration::from_secs(3), "{took:?}");
    let said = host.machine.succeeds("journalctl -u dingbot -o cat --no-pager").await;
    assert!(!said.contains("timed out"), "{said}");
}
