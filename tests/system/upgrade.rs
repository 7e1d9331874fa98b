//! Another version, removal and purge: what stays and what goes.

use crate::host::{Host, on_hosts};
use crate::package::{OLDER, Package};
use crate::repository::Repository;

on_hosts! {
    an_upgrade_keeps_configuration_and_data_and_restarts_once: bookworm trixie;
    a_downgrade_is_refused_and_the_service_goes_on: bookworm trixie;
    remove_keeps_the_data_and_purge_leaves_nothing: bookworm trixie;
}

const CONFFILE: &str = "/etc/dingbot/dingbot.toml";
/// What an administrator does with the package's own file.
const EDIT: &str = "sed -i 's/^#recall_limit = 5/recall_limit = 7/'";

/// How often the daemon has said that it is ready.
async fn starts(host: &Host) -> usize {
    let said = "journalctl --sync; journalctl -u dingbot -o json --all --no-pager";
    let said = host.machine.succeeds(said).await;
    said.lines().filter(|entry| entry.contains("\"_COMM\":\"dingbot\"")).filter(is_ready).count()
}

/// Whether an entry says that the daemon is ready, in either form of its log.
fn is_ready(entry: &&str) -> bool {
    entry.contains("\"MESSAGE\":\"ready\"") || entry.contains(" ready listen=")
}

async fn installed(host: &Host) -> String {
    let ask = "dpkg-query --show --showformat='${Status} ${Version}' dingbot";
    host.machine.succeeds(ask).await
}

async fn an_upgrade_keeps_configuration_and_data_and_restarts_once(host: &Host) {
    let (older, current) = (Package::older(), Package::current());
    let repository = Repository::publish(&[older, current.clone()]).await;
    repository.add_to(host).await;
    host.configure(&host.settings());
    host.credential("dingtalk-client_secret", crate::support::dingtalk::CLIENT_SECRET);
    host.credential("llm-api_key", crate::support::model::KEY);
    let machine = &host.machine;
    machine.succeeds(&format!("apt-get install --yes dingbot={OLDER}")).await;
    host.becomes_healthy().await;
    host.accepts(host.callback().from("ann").text("我的猫叫咪咪。")).await;
    host.dingtalk.wait_for_text("咪咪").await;
    machine.succeeds(&format!("{EDIT} {CONFFILE}; sha256sum {CONFFILE} > /root/sum")).await;
    let (starts_before, pid) = (starts(host).await, host.pid().await);
    assert_eq!(starts_before, 1);

    let terminal = machine.succeeds("apt-get upgrade --yes 2>&1").await;
    host.becomes_healthy().await;
    assert_eq!(installed(host).await, format!("install ok installed {}", current.version));
    assert_ne!(host.pid().await, pid);
    assert_eq!(starts(host).await, 2, "restarted once");
    assert_eq!(machine.property("dingbot", "NRestarts").await, "0");
    machine.succeeds("sha256sum --check /root/sum").await;
    machine.succeeds("dingbot config | grep -E 'recall_limit *= *7'").await;
    assert!(!terminal.contains("Three next steps"), "these are for the first time: {terminal}");
    host.accepts(host.callback().from("ann").group("team").text(" 我的猫叫什么？")).await;
    let prompt = host.model.wait_for_question("我的猫叫什么？").await.prompt();
    assert!(prompt.contains("咪咪"), "{prompt}");

    // Who stopped and disabled it does not find it running after an upgrade.
    machine.succeeds("systemctl disable --now dingbot").await;
    machine.succeeds("apt-get install --yes --reinstall dingbot").await;
    assert_eq!(machine.run("systemctl is-enabled dingbot").await.stdout.trim(), "disabled");
}

async fn a_downgrade_is_refused_and_the_service_goes_on(host: &Host) {
    let (older, current) = (Package::older(), Package::current());
    host.with_service().await;
    let pid = host.pid().await;
    let older = host.bring(&older);
    let said = host.machine.fails(&format!("dpkg --install {older} 2>&1")).await;
    assert!(said.contains("downgrade") && said.contains("降级"), "{said}");
    assert!(said.contains(OLDER) && said.contains(&current.version), "{said}");
    assert_eq!(installed(host).await, format!("install ok installed {}", current.version));
    assert_eq!(host.machine.succeeds("systemctl is-active dingbot").await.trim(), "active");
    assert_eq!(host.pid().await, pid, "not even restarted");
    assert_eq!(host.machine.succeeds("dpkg --audit").await, "");
    host.answers("still here?").await;

    // What the refusal says to do for whoever wants it all the same.
    let machine = &host.machine;
    machine.succeeds("systemctl stop dingbot; cp -a /var/lib/private/dingbot /root/backup").await;
    let insist = "env DINGBOT_ALLOW_DOWNGRADE=1 apt-get install --yes --allow-downgrades";
    machine.succeeds(&format!("{insist} {older} 2>&1")).await;
    assert_eq!(installed(host).await, format!("install ok installed {OLDER}"));
    host.becomes_healthy().await;
    machine.succeeds("test -s /root/backup/dingbot.db").await;
}

/// Every file that a package may leave something in; what is under /run is gone at a boot, and
/// what is in /var/log, /var/cache and the files of dpkg and systemd themselves is theirs.
const FILES: &str = "find / -xdev \\( -path /proc -o -path /sys -o -path /dev -o -path /tmp \
    -o -path /root -o -path /var/log -o -path /var/cache -o -path /var/lib/dpkg \
    -o -path /var/lib/apt -o -path /var/tmp \\) -prune -o -print | sort";

async fn remove_keeps_the_data_and_purge_leaves_nothing(host: &Host) {
    let machine = &host.machine;
    let before = machine.succeeds(FILES).await;
    host.with_service().await;
    host.accepts(host.callback().from("ann").text("我的猫叫咪咪。")).await;
    host.dingtalk.wait_for_text("咪咪").await;

    machine.succeeds("apt-get remove --yes dingbot").await;
    assert!(host.try_get("/health").await.is_none(), "it does not run any more");
    machine.succeeds(&format!("test -e {CONFFILE}")).await;
    machine.succeeds("test -e /var/lib/private/dingbot/dingbot.db").await;
    assert_eq!(machine.succeeds("systemctl --failed --no-legend --plain").await, "");

    host.install(&Package::current()).await;
    host.becomes_healthy().await;
    host.accepts(host.callback().from("ann").group("team").text(" 我的猫叫什么？")).await;
    let prompt = host.model.wait_for_question("我的猫叫什么？").await.prompt();
    assert!(prompt.contains("咪咪"), "{prompt}");

    machine.succeeds("systemctl enable --now dingbot.socket; apt-get purge --yes dingbot").await;
    let after = machine.succeeds(FILES).await;
    let new = after.lines().filter(|file| !before.lines().any(|old| old == *file));
    let new: Vec<_> = new.collect();
    assert!(new.is_empty(), "left behind: {new:#?}");
    let known = machine.run("dpkg-query --show dingbot").await;
    assert_ne!(known.status, 0, "{}", known.stdout);
    assert_eq!(
        machine.succeeds("systemctl list-unit-files --no-legend 'dingbot*' || true").await,
        ""
    );
    assert_eq!(machine.succeeds("systemctl --failed --no-legend --plain").await, "");
    assert_eq!(machine.run("getent passwd dingbot").await.stdout, "");
}
