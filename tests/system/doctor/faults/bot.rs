//! What the bot keeps, and what reaches it.

use std::path::PathBuf;
use std::process::Command;

use crate::doctor::lab::Lab;
use crate::doctor::table::Table;

#[test]
fn the_bot_itself() {
    let mut table = Table::new("机器人自身 / The bot itself");

    table.fault(("磁盘已满", "the disk is full"), "disk_full", async |lab| {
        let disk = Disk::mount(lab, "8m");
        let _bot = lab.bot().await;
        disk.fill();
        let report = lab.names(&[]).await;
        lab.mends(&report, &[], "腾出空间 / make room");
        disk.empty();
        lab.is_mended().await;
    });

    table.fault(
        ("数据库不可写", "the store cannot be written"),
        "store_unwritable",
        async |lab| {
            let disk = Disk::mount(lab, "8m");
            ran(lab).await;
            disk.remount("ro");
            let report = lab.names(&["dingbot.db"]).await;
            lab.mends(&report, &[], "恢复可写，再启动 / make it writable, start again");
            disk.remount("rw");
            let _bot = lab.bot().await;
            lab.is_mended().await;
        },
    );

    table.fault(("数据库损坏", "the store is damaged"), "store_damaged", async |lab| {
        ran(lab).await;
        let store = store(lab);
        let whole = std::fs::read(&store).unwrap();
        let mut damaged = whole.clone();
        damaged[..4096].fill(0x5a);
        std::fs::write(&store, damaged).unwrap();
        let report = lab.names(&["dingbot.db"]).await;
        lab.mends(&report, &[], "从备份恢复 / restore a backup");
        std::fs::write(&store, whole).unwrap();
        let _bot = lab.bot().await;
        lab.is_mended().await;
    });

    table.fault(
        ("数据库来自更新的版本", "the store is of a newer version"),
        "store_newer",
        async |lab| {
            ran(lab).await;
            let version = set_version(lab, 999);
            let report = lab.names(&["999"]).await;
            lab.mends(&report, &[], "用新版本的 dingbot / run the newer dingbot");
            set_version(lab, version);
            let _bot = lab.bot().await;
            lab.is_mended().await;
        },
    );

    table.fault(
        ("回调签名校验失败（AppSecret 不对）", "callbacks are rejected (the wrong AppSecret)"),
        "callbacks_rejected",
        async |lab| {
            let bot = lab.bot().await;
            for _ in 0..5 {
                let forged = lab.dingtalk.callback().bad_sign().build();
                assert_eq!(lab.posts(&forged).await, 401);
            }
            let report = lab.names(&[]).await;
            lab.mends(
                &report,
                &["client_secret"],
                "填对 AppSecret 并重启 / set the AppSecret, restart",
            );
            drop(bot);
            let _bot = lab.bot().await;
            assert_eq!(lab.posts(&lab.dingtalk.callback().build()).await, 200);
            lab.is_mended().await;
        },
    );

    table.fault(
        ("有投递失败的消息", "messages that could not be delivered"),
        "dead_letters",
        async |lab| {
            let robot = |settings: crate::support::settings::Settings| {
                settings.unset("dingtalk.client_id").unset("dingtalk.api_base")
            };
            let bot = lab.bot_with(robot).await;
            let lost = lab.dingtalk.callback().dead_session().text("into the void").build();
            assert_eq!(lab.posts(&lost).await, 200);
            lab.until("a dead letter", async || {
                let metrics = lab.metrics().await;
                metrics.sum("dingbot_outbox_messages", &[("state", "dead")]) == 1.0
            })
            .await;
            let report = lab.names(&["1"]).await;
            let file = bot.configuration();
            let how = "`dingbot outbox …`";
            lab.mends(&report, &["dingbot outbox"], how);
            lab.sh(&format!("dingbot outbox drop --all --config {}", file.display())).await;
            // The bot looks every few seconds.
            lab.until("no dead letter", async || {
                let metrics = lab.metrics().await;
                metrics.sum("dingbot_outbox_messages", &[("state", "dead")]) == 0.0
            })
            .await;
            lab.is_mended().await;
            lab.is_well(&lab.doctor().await);
        },
    );

    table.end();
}

/// Leaves behind what a bot leaves that was stopped as it should be.
async fn ran(lab: &Lab) {
    let mut bot = lab.bot().await;
    bot.sigterm();
    assert!(bot.wait_exit().await.success());
}

fn store(lab: &Lab) -> PathBuf {
    lab.home.path().join("state/dingbot.db")
}

/// Says that the store is of another version; the one it was.
fn set_version(lab: &Lab, version: i64) -> i64 {
    let store = rusqlite::Connection::open(store(lab)).unwrap();
    let was = store.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
    store.pragma_update(None, "user_version", version).unwrap();
    was
}

/// A disk for the store, small enough to be filled; it is unmounted when this is dropped.
struct Disk(PathBuf);

impl Disk {
    fn mount(lab: &Lab, size: &str) -> Self {
        let folder = lab.home.path().join("state");
        std::fs::create_dir_all(&folder).unwrap();
        run(Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "none"])
            .arg(&folder));
        Self(folder)
    }

    fn remount(&self, how: &str) {
        run(Command::new("mount").args(["-o", &format!("remount,{how}")]).arg(&self.0));
    }

    fn fill(&self) {
        let mut ballast = std::fs::File::create(self.0.join("ballast")).unwrap();
        let block = [0; 4096];
        while std::io::Write::write_all(&mut ballast, &block).is_ok() {}
    }

    fn empty(&self) {
        std::fs::remove_file(self.0.join("ballast")).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // The bot may still have files on it.
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).output();
    }
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
}
