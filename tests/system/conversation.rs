//! A message, its answer, and what is kept.

use crate::host::{Host, on_hosts};
use crate::support::model::Reply;

on_hosts! {
    a_signed_callback_is_answered_and_what_it_said_is_known_after_a_restart: bookworm trixie;
}

async fn a_signed_callback_is_answered_and_what_it_said_is_known_after_a_restart(host: &Host) {
    host.with_service().await;
    host.model.answer_next([Reply::text("记住了，它叫咪咪。")]);
    let callback = host.accepts(host.callback().from("ann").text("我的猫叫咪咪。")).await;
    let answer = host.dingtalk.wait_for_text("记住了，它叫咪咪。").await;
    assert_eq!(answer.conversation(), callback.conversation);
    // Whoever knows no secret is not served.
    let forged = host.try_post(&host.callback().bad_sign().build()).await.unwrap();
    assert_eq!(forged.status, 401, "{forged:?}");

    let before = host.pid().await;
    host.machine.succeeds("systemctl restart dingbot").await;
    host.becomes_healthy().await;
    assert_ne!(host.pid().await, before);
    host.accepts(host.callback().from("ann").group("team").text(" 我的猫叫什么？")).await;
    let prompt = host.model.wait_for_question("我的猫叫什么？").await.prompt();
    assert!(prompt.contains("咪咪"), "{prompt}");
    assert!(host.dingtalk.refusals().is_empty());
}
