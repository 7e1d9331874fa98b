//! What the package's scripts do where something is out of the ordinary.

use crate::host::{Host, on_hosts};
use crate::package::Package;

on_hosts! {
    an_upgrade_after_which_it_does_not_start_says_why: bookworm trixie;
    a_refused_downgrade_starts_nothing: bookworm;
    policy_forbids_the_start_and_the_operator_hears_it: bookworm;
    a_changed_conffile_of_an_edited_one_is_asked_about: bookworm;
    purge_takes_what_the_operator_added_and_bears_a_mounted_disk: bookworm trixie;
    a_socket_moves_to_another_port: bookworm;
}

/// Whether it runs, and what dpkg thinks of it.
const STATE: &str = "systemctl is-active dingbot; \
                     dpkg-query --show --showformat='${Status}' dingbot";

async fn state(host: &Host) -> String {
    host.machine.run(STATE).await.stdout.replace('\n', " ")
}

async fn an_upgrade_after_which_it_does_not_start_says_why(host: &Host) {
    host.install(&Package::older()).await;
    host.machine.publish("/etc/dingbot/conf.d/bad.toml", "[llm]\nmodle = \"x\"\n");
    let said = host.install(&Package::current()).await;
    for part in ["没有启动", "did not start", "bad.toml:2", "llm.modle", "dingbot check"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert_eq!(state(host).await, "failed install ok installed");

    // What was said to do.
    host.machine.succeeds("rm /etc/dingbot/conf.d/bad.toml; systemctl restart dingbot").await;
    host.becomes_healthy().await;
    let said = host.install(&Package::current()).await;
    assert!(!said.contains("did not start"), "{said}");
}

async fn a_refused_downgrade_starts_nothing(host: &Host) {
    host.with_service().await;
    let older = host.bring(&Package::older());
    host.machine.succeeds("systemctl stop dingbot").await;
    host.machine.fails(&format!("dpkg --install {older}")).await;
    assert_eq!(state(host).await, "inactive install ok installed");
}

async fn policy_forbids_the_start_and_the_operator_hears_it(host: &Host) {
    let policy = "printf '#!/bin/sh\\nexit 101\\n' > /usr/sbin/policy-rc.d; \
                  chmod +x /usr/sbin/policy-rc.d";
    host.machine.succeeds(policy).await;
    let said = host.install(&Package::current()).await;
    assert!(said.contains("policy-rc.d forbids it"), "{said}");
    assert_eq!(state(host).await, "inactive install ok installed");
    host.machine.succeeds("systemctl start dingbot").await;
    host.becomes_healthy().await;
}

async fn a_changed_conffile_of_an_edited_one_is_asked_about(host: &Host) {
    let machine = &host.machine;
    host.install(&Package::current()).await;
    let file = "/etc/dingbot/dingbot.toml";
    machine.succeeds(&format!("sed -i 's/^#recall_limit = 5/recall_limit = 7/' {file}")).await;
    let edit = "sed -i 's/^Version: .*/Version: 99/' DEBIAN/control; \
                sed -i 's/^#recall_limit = 5/#recall_limit = 6/' etc/dingbot/dingbot.toml";
    let folder = tempfile::tempdir().unwrap();
    let newer = host.bring(&Package::current().edited(folder.path(), edit));
    // Nobody is there to answer.
    let said = machine.fails(&format!("dpkg --install {newer} 2>&1")).await;
    assert!(said.contains("Modified (by you or by a script)"), "{said}");
    machine.succeeds("dpkg --force-confold --configure --pending").await;
    machine.succeeds(&format!("grep '^recall_limit = 7' {file}")).await;
    host.becomes_healthy().await;
}

async fn purge_takes_what_the_operator_added_and_bears_a_mounted_disk(host: &Host) {
    let machine = &host.machine;
    machine
        .succeeds(
            "mkdir -p -m 700 /var/lib/private; mkdir /var/lib/private/dingbot; \
             mount -t tmpfs data /var/lib/private/dingbot",
        )
        .await;
    host.with_service().await;
    machine
        .succeeds(
            "test -e /var/lib/private/dingbot/dingbot.db; touch /etc/dingbot/notes; \
             cp /lib/systemd/system/dingbot.service /etc/systemd/system/; \
             systemctl daemon-reload; systemctl restart dingbot",
        )
        .await;
    host.becomes_healthy().await;
    let said = machine.succeeds("dpkg --purge dingbot 2>&1").await;
    assert!(said.contains("/var/lib/private/dingbot stays; unmount it"), "{said}");
    assert_ne!(machine.run("dpkg-query --show dingbot").await.status, 0);
    let left = "find / -xdev -name '*dingbot*' -not -path '/proc/*' -not -path '/root/*'; \
                find /var/lib/private/dingbot -mindepth 1";
    assert_eq!(machine.run(left).await.stdout, "/var/lib/private/dingbot\n");
}

async fn a_socket_moves_to_another_port(host: &Host) {
    let machine = &host.machine;
    host.with_service().await;
    machine
        .succeeds(
            "systemctl stop dingbot; systemctl enable --now dingbot.socket; \
             systemctl start dingbot",
        )
        .await;
    let override_ = "[Socket]\nListenStream=\nListenStream=[::]:80\n";
    machine.publish("/etc/systemd/system/dingbot.socket.d/override.conf", override_);
    machine
        .succeeds(
            "systemctl daemon-reload; systemctl stop dingbot.socket dingbot; \
             systemctl start dingbot.socket dingbot; dingbot health --listen 127.0.0.1:80",
        )
        .await;
    // An upgrade leaves it there.
    host.install(&Package::current()).await;
    machine.succeeds("dingbot health --listen 127.0.0.1:80").await;
    assert!(host.try_get("/health").await.is_none(), "nothing at the old port");
}
