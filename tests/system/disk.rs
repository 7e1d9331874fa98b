//! A full disk: nothing more is accepted, nothing accepted is lost, and room is all it takes.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::host::{Host, on_hosts};
use crate::support::dingtalk::Message;

on_hosts! {
    a_full_disk_is_said_and_survived: bookworm;
}

/// The size of the disk with the data.
const DISK: &str = "16m";
/// Most messages sent until the disk must be full; each is some kilobytes.
const MESSAGES: usize = 400;

async fn a_full_disk_is_said_and_survived(host: &Host) {
    // Where systemd keeps the data of a dynamic user; a disk that is smaller than the test's own.
    let mount = format!(
        "mkdir -p -m 700 /var/lib/private/dingbot && \
         mount -t tmpfs -o size={DISK},mode=700 none /var/lib/private/dingbot"
    );
    host.machine.succeeds(&mount).await;
    host.with_service().await;
    host.answers("there is room").await;
    // Answers wait, so that messages are kept rather than answered.
    host.model.hold();
    let fill = "dd if=/dev/zero of=/var/lib/private/dingbot/ballast bs=64k 2>&1 || true";
    let filled = host.machine.succeeds(fill).await;
    assert!(filled.contains("No space left"), "{filled}");

    let mut accepted = BTreeSet::new();
    let padding = "full ".repeat(1000);
    let mut refused = None;
    for number in 0..MESSAGES {
        let (staff, text) = (format!("staff{number}"), format!("parcel-{number}. {padding}"));
        let callback = host.callback().from(&staff).text(&text).build();
        let answer = host.try_post(&callback).await.expect("the service answers");
        match answer.status {
            200 => accepted.insert(callback.conversation.clone()),
            _ => {
                refused = Some((answer, callback));
                break;
            }
        };
    }
    let (refusal, callback) = refused.expect("the disk is full some time");
    let message = refusal.error(503);
    assert!(message.contains("disk") || message.contains("space"), "{message}");
    assert!(!refusal.header("retry-after").is_empty(), "{refusal:?}");
    let health = host.health_becomes(503).await;
    assert!(health.body.contains("disk"), "{health:?}");
    assert_eq!(host.machine.property("dingbot", "ActiveState").await, "active");

    host.machine.succeeds("rm /var/lib/private/dingbot/ballast").await;
    host.becomes_healthy().await;
    // DingTalk sends again what was refused.
    assert_eq!(host.try_post(&callback).await.unwrap().status, 200);
    accepted.insert(callback.conversation);
    host.model.release();
    let answered = |messages: &[Message]| {
        let conversations: BTreeSet<_> = messages.iter().map(Message::conversation).collect();
        accepted.iter().all(|conversation| conversations.contains(conversation.as_str()))
    };
    host.dingtalk.wait_for(answered, Duration::from_secs(60)).await;
    assert_eq!(host.machine.property("dingbot", "NRestarts").await, "0");
}
