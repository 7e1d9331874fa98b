//! What an operator finds with journalctl, and what nobody finds anywhere: a secret.

use std::time::Duration;

use serde_json::Value;

use crate::host::{Host, on_hosts};
use crate::support::PATIENCE;
use crate::support::{dingtalk, model};

on_hosts! {
    every_entry_names_what_it_is_about: bookworm trixie;
    no_secret_is_shown_anywhere: bookworm trixie;
}

/// The entries of the daemon itself, not those of systemd about it.
async fn entries(host: &Host) -> Vec<Value> {
    let mut entries = host.machine.journal("dingbot").await;
    entries.retain(|entry| entry["_COMM"] == "dingbot");
    entries
}

async fn every_entry_names_what_it_is_about(host: &Host) {
    host.with_settings(&host.settings().text("log.level", "debug")).await;
    let callback = host.accepts(host.callback().text("a line\nand another one")).await;
    host.dingtalk.wait_for_text("and another one").await;

    let about = |entry: &Value| entry["DINGBOT_MESSAGE_ID"] == callback.msg_id.as_str();
    let look = async || {
        let found = entries(host).await;
        found.iter().any(about).then_some(found)
    };
    let found = host.machine.wait("an entry about the message", PATIENCE, look).await;
    let mut kinds = std::collections::BTreeSet::new();
    for entry in &found {
        assert_eq!(entry["SYSLOG_IDENTIFIER"], "dingbot", "{entry}");
        assert_eq!(entry["_TRANSPORT"], "journal", "{entry}");
        assert!(entry["MESSAGE"].as_str().is_some_and(|text| !text.is_empty()), "{entry}");
        kinds.insert(entry["PRIORITY"].as_str().unwrap().to_owned());
    }
    // 6 is info and 7 is debug; there is no reason for a warning.
    let expected: Vec<_> = kinds.iter().map(String::as_str).collect();
    assert_eq!(expected, ["6", "7"], "{found:?}");
    let ready = found.iter().find(|entry| entry["MESSAGE"] == "ready").expect("it says ready");
    assert_eq!(ready["PRIORITY"], "6");
    assert!(ready["DINGBOT_LISTEN"].as_str().is_some_and(|at| at.contains("8080")), "{ready}");

    // What an operator filters by, as journalctl itself finds it.
    for (field, value) in
        [("DINGBOT_MESSAGE_ID", &callback.msg_id), ("DINGBOT_CONVERSATION", &callback.conversation)]
    {
        let filter = format!("journalctl -o cat --no-pager _COMM=dingbot '{field}={value}'");
        assert!(!host.machine.succeeds(&filter).await.is_empty(), "{filter}");
    }
}

async fn no_secret_is_shown_anywhere(host: &Host) {
    const ROBOT: [(&str, &str); 3] = [
        ("dingtalk-group_robots-default-access_token", "4f1c0de5ec2e7"),
        ("dingtalk-group_robots-default-secret", "SEC5ec2e70f7he62047b07"),
        ("server-api_keys", "m0-5ec2e7-0f-7he-4p1"),
    ];
    for (name, secret) in ROBOT {
        host.credential(name, secret);
    }
    // All that the daemon can say.
    host.with_settings(&host.settings().text("log.level", "trace")).await;
    host.answers("what do you know?").await;
    host.model.answer_next([model::Reply::Unauthorized]);
    host.accepts(host.callback().text("and now?")).await;
    host.model.wait_for_question("and now?").await;
    tokio::time::sleep(Duration::from_secs(1)).await;

    let pid = host.pid().await;
    let places = [
        "journalctl --no-pager -o json --all".to_owned(),
        "systemctl show dingbot".to_owned(),
        "systemctl status --no-pager --full dingbot".to_owned(),
        format!("tr '\\0' '\\n' < /proc/{pid}/environ"),
        format!("tr '\\0' '\\n' < /proc/{pid}/cmdline"),
        "cat /usr/lib/systemd/system/dingbot.service".to_owned(),
    ];
    let secrets = ROBOT.map(|(_, secret)| secret);
    for place in places {
        let shown = host.machine.succeeds(&place).await;
        assert!(!shown.is_empty(), "{place}");
        for secret in secrets.iter().chain(&[dingtalk::CLIENT_SECRET, model::KEY]) {
            assert!(!shown.contains(secret), "{secret} in {place}");
        }
    }
    let daemon = host.machine.succeeds(&format!("cat /proc/{pid}/status")).await;
    assert!(daemon.contains("CapEff:\t0000000000000000"), "{daemon}");
    assert!(daemon.contains("Seccomp:\t2"), "{daemon}");
    // Nobody else on the machine may read them either.
    let reading = "setpriv --reuid=65534 --clear-groups cat /etc/dingbot/credentials/llm-api_key";
    host.machine.fails(reading).await;
}
