//! The package on a booted machine, under its real systemd.

use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use futures_util::FutureExt;

use crate::doctor::lab::{judge, lock};
use crate::doctor::report::Report;
use crate::doctor::table::{Row, Table};
use crate::host::{self, Host};
use crate::suites::Suite;

/// The packaged service, and doctor run by root of that machine.
struct Service<'a> {
    host: &'a Host,
    row: &'a std::sync::Arc<std::sync::Mutex<Row>>,
}

impl Service<'_> {
    async fn doctor(&self) -> Report {
        let began = Instant::now();
        let run = self.host.machine.run("dingbot doctor --json").await;
        let took = began.elapsed();
        let json = serde_json::from_str(&run.stdout).unwrap_or_else(|e| panic!("{e}: {run:?}"));
        Report { json, took, code: run.status }
    }

    async fn names(&self, words: &[&str]) -> Report {
        let report = self.doctor().await;
        judge(self.row, &report, words);
        report
    }

    /// Runs the commands of the remedy with these numbers, as they are printed.
    async fn carry_out(&self, report: &Report, numbers: &[usize]) {
        let all = report.commands();
        let chosen: Vec<String> = numbers
            .iter()
            .map(|number| all.get(*number).cloned())
            .collect::<Option<_>>()
            .unwrap_or_else(|| panic!("no {numbers:?} in the remedy: {}", report.remedy()));
        let shown: Vec<String> = chosen.iter().map(|it| format!("`{it}`")).collect();
        lock(self.row).cure = Some(shown.join(", "));
        for command in chosen {
            self.host.machine.succeeds(&command).await;
        }
    }

    fn mends(&self, report: &Report, words: &[&str], how: &str) {
        let remedy = report.remedy();
        for word in words {
            assert!(remedy.contains(word), "{word} is not in the remedy: {remedy}");
        }
        lock(self.row).cure = Some(how.to_owned());
    }

    async fn is_mended(&self) {
        self.host.becomes_healthy().await;
        let report = self.doctor().await;
        let failures = report.failures();
        assert!(failures.is_empty(), "after the cure: {failures:?}\n{}", report.lines());
        lock(self.row).cured = true;
    }

    async fn sh(&self, script: &str) -> String {
        self.host.machine.succeeds(script).await
    }

    /// Waits until the unit is in this state.
    async fn becomes(&self, state: &str) {
        let machine = &self.host.machine;
        let look = async || {
            let now = machine.property("dingbot", "ActiveState").await;
            (now == state).then_some(())
        };
        machine.wait(state, Duration::from_secs(30), look).await;
    }
}

/// A scenario on the machine, whose failure does not end it.
async fn scenario(
    host: &Host,
    table: &mut Table,
    names: (&'static str, &'static str),
    expected: &'static str,
    scene: impl AsyncFnOnce(&Service<'_>),
) {
    if !crate::doctor::table::is_wanted(names.1) {
        return;
    }
    // Whatever a scenario before this one left.
    host.machine
        .run(
            "systemctl unmask dingbot; rm -rf /etc/systemd/system/dingbot.service.d \
             /etc/dingbot/conf.d/60-wrong.toml; systemctl daemon-reload; \
             systemctl reset-failed dingbot; systemctl enable --now dingbot",
        )
        .await;
    host.becomes_healthy().await;
    let row = table.row(names, expected);
    let service = Service { host, row: &row };
    let done = AssertUnwindSafe(scene(&service)).catch_unwind().await;
    table.take(&row, done);
}

#[test]
fn the_packaged_service() {
    let mut table = Table::empty("systemd 服务（软件包）/ The packaged service");
    host::on(Suite::bookworm(), async |host| {
        host.with_service().await;
        // A machine that was just installed has no sudo, and its operator is root.
        host.machine.publish("/usr/bin/sudo", "#!/bin/sh\nexec \"$@\"\n");
        host.machine.succeeds("chmod 755 /usr/bin/sudo").await;
        on_the_machine(host, &mut table).await;
    });
    table.end();
}

async fn on_the_machine(host: &Host, table: &mut Table) {
    let t = table;
    scenario(host, t, ("服务正常", "the service is well"), "", async |it| {
        let report = it.doctor().await;
        crate::doctor::lab::well(it.row, &report);
        lock(it.row).cured = true;
    })
    .await;

    scenario(
        host,
        t,
        ("服务被停止", "the service was stopped"),
        "service_stopped",
        async |it| {
            it.sh("systemctl stop dingbot").await;
            let report = it.names(&["dingbot"]).await;
            it.carry_out(&report, &[0]).await;
            it.is_mended().await;
        },
    )
    .await;

    scenario(host, t, ("服务被屏蔽", "the service is masked"), "service_masked", async |it| {
        it.sh("systemctl stop dingbot && systemctl mask dingbot").await;
        let report = it.names(&["masked"]).await;
        it.carry_out(&report, &[0, 1]).await;
        it.is_mended().await;
    })
    .await;

    scenario(
        host,
        t,
        ("没有开机自启", "not started at boot"),
        "service_disabled",
        async |it| {
            it.sh("systemctl disable dingbot").await;
            let report = it.names(&[]).await;
            it.carry_out(&report, &[0]).await;
            it.is_mended().await;
        },
    )
    .await;

    let wrong = "/etc/dingbot/conf.d/60-wrong.toml";
    scenario(
        host,
        t,
        ("配置有误，服务起不来", "the settings keep the service from starting"),
        "configuration_invalid",
        async |it| {
            it.host.machine.publish(wrong, "# mine\nserver.max_connections = \"many\"\n");
            it.host.machine.run("systemctl restart dingbot").await;
            it.becomes("failed").await;
            let report = it.names(&["60-wrong.toml:2", "max_connections"]).await;
            it.mends(
                &report,
                &["dingbot check"],
                "改正所指的一行，再启动 / correct the line, start",
            );
            it.sh(&format!("rm {wrong}; systemctl reset-failed dingbot; systemctl start dingbot"))
                .await;
            it.is_mended().await;
        },
    )
    .await;

    scenario(
        host,
        t,
        ("启动命令失败", "the command of the unit fails"),
        "service_failed",
        async |it| {
            it.host.drop_in("[Service]\nRestart=no\nExecStartPre=/bin/false\n").await;
            it.host.machine.run("systemctl restart dingbot").await;
            it.becomes("failed").await;
            let report = it.names(&["dingbot"]).await;
            it.mends(
                &report,
                &["systemctl"],
                "去掉出错的配置片段，再启动 / take the drop-in away, start",
            );
            it.sh("rm -r /etc/systemd/system/dingbot.service.d; systemctl daemon-reload; \
                   systemctl reset-failed dingbot; systemctl start dingbot")
                .await;
            it.is_mended().await;
        },
    )
    .await;

    scenario(
        host,
        t,
        ("看门狗超时被终止", "ended by the watchdog"),
        "service_failed",
        async |it| {
            it.host.drop_in("[Service]\nRestart=no\nWatchdogSec=2\nTimeoutAbortSec=2\n").await;
            it.sh("systemctl restart dingbot").await;
            it.host.becomes_healthy().await;
            it.sh("kill -STOP $(systemctl show dingbot --property MainPID --value)").await;
            it.becomes("failed").await;
            let report = it.names(&["watchdog"]).await;
            it.carry_out(&report, &[report.commands().len() - 1]).await;
            it.is_mended().await;
            it.sh("rm -r /etc/systemd/system/dingbot.service.d; systemctl daemon-reload; \
                   systemctl restart dingbot")
                .await;
            it.host.becomes_healthy().await;
        },
    )
    .await;

    scenario(
        host,
        t,
        ("端口被别的程序占用", "another program has the port"),
        "port_taken",
        async |it| {
            it.sh("systemctl stop dingbot").await;
            // There is no /etc/protocols, which its modules would read.
            let script = "use Socket; socket(my $s, PF_INET, SOCK_STREAM, 6) or die; \
                          setsockopt($s, SOL_SOCKET, SO_REUSEADDR, 1); bind($s, pack_sockaddr_in(8080, INADDR_ANY)) or die; \
                          listen($s, 5) or die; sleep 600;";
            it.host.machine.publish("/root/other.pl", script);
            it.sh("systemd-run --unit other perl /root/other.pl").await;
            tokio::time::sleep(Duration::from_millis(500)).await;
            it.sh("systemctl is-active other || { journalctl -u other; exit 1; }").await;
            it.host.machine.run("systemctl start dingbot --no-block; sleep 3").await;
            let report = it.names(&["8080", "perl"]).await;
            it.carry_out(&report, &[0]).await;
            it.sh("systemctl reset-failed dingbot; systemctl restart dingbot").await;
            it.is_mended().await;
        },
    )
    .await;

    scenario(host, t, ("套接字激活", "socket activation"), "", async |it| {
        it.sh("systemctl stop dingbot && systemctl enable --now dingbot.socket").await;
        let report = it.doctor().await;
        crate::doctor::lab::well(it.row, &report);
        it.host.becomes_healthy().await;
        let report = it.doctor().await;
        crate::doctor::lab::well(it.row, &report);
        lock(it.row).cured = true;
    })
    .await;
}
