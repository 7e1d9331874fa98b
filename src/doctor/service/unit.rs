//! The systemd unit.

use crate::doctor::finding::{Depth, Finding, Remedy, Text};
use crate::doctor::systemd::{self, Unit};

/// `EX_CONFIG` and `EX_USAGE` of sysexits(3), with which the daemon ends.
const EX_CONFIG: i32 = 78;
const EX_USAGE: i32 = 64;
/// With which systemd ends a start whose credentials cannot be loaded (`systemd.exec(5)`).
const EXIT_CREDENTIALS: i32 = 243;

pub(super) async fn look(unit: &Unit) -> Vec<Finding> {
    let mut findings = vec![state(unit).await];
    // One of another kind is started by something else, if at all.
    let survives = !matches!(
        unit.file.as_str(),
        "disabled" | "enabled-runtime" | "linked" | "linked-runtime" | "masked-runtime"
    );
    if unit.active == "active" && !survives && !unit.has_socket {
        findings.push(disabled());
    }
    findings
}

async fn state(unit: &Unit) -> Finding {
    match unit.active.as_str() {
        "active" | "reloading" => running(unit),
        "inactive" if unit.file == "masked" => masked(),
        // The socket unit starts it with the first caller.
        "inactive" if !unit.sockets.is_empty() => waiting(unit),
        "inactive" => stopped(),
        // Between two attempts it is neither up nor down.
        "activating" if !unit.sub.starts_with("auto-restart") => starting(unit),
        "deactivating" => stopping(),
        _ => failed(unit, systemd::last_error().await),
    }
}

fn running(unit: &Unit) -> Finding {
    let words = if unit.words.is_empty() { "" } else { &unit.words };
    Finding::fine(
        "service_runs",
        Text::new(
            format!("systemd 服务 dingbot 正在运行：{words}"),
            format!("the systemd unit dingbot runs: {words}"),
        ),
    )
}

fn waiting(unit: &Unit) -> Finding {
    let sockets = unit.sockets.join(", ");
    Finding::fine(
        "service_waits",
        Text::new(
            format!("dingbot.socket 在 {sockets} 等待，有请求时启动 dingbot"),
            format!("dingbot.socket waits at {sockets} and starts dingbot for the first caller"),
        ),
    )
}

fn starting(unit: &Unit) -> Finding {
    Finding::warning(
        "service_starting",
        Depth::Service,
        Text::new(
            format!("dingbot 正在启动：{}", unit.words),
            format!("dingbot is starting: {}", unit.words),
        ),
        Remedy::new(Text::new("等它启动完再看", "Look again when it has started"))
            .command("systemctl status dingbot"),
    )
}

fn stopping() -> Finding {
    Finding::warning(
        "service_starting",
        Depth::Service,
        Text::new(
            "dingbot 正在停止或重启，先处理完手上的消息",
            "dingbot is stopping, or starting anew, once it has done with its messages",
        ),
        Remedy::new(Text::new("等它停下再看", "Look again when it has stopped"))
            .command("systemctl status dingbot"),
    )
}

fn stopped() -> Finding {
    Finding::failed(
        "service_stopped",
        Depth::Service,
        Text::new("systemd 服务 dingbot 没有运行", "the systemd unit dingbot does not run"),
        Remedy::new(Text::new("启动它，并让它开机自启", "Start it, now and at every boot"))
            .command("sudo systemctl enable --now dingbot"),
    )
}

fn masked() -> Finding {
    Finding::failed(
        "service_masked",
        Depth::Service,
        Text::new(
            "systemd 服务 dingbot 被屏蔽 (masked)，不能启动",
            "the systemd unit dingbot is masked and cannot be started",
        ),
        Remedy::new(Text::new("取消屏蔽并启动", "Unmask and start it"))
            .command("sudo systemctl unmask dingbot")
            .command("sudo systemctl enable --now dingbot"),
    )
}

fn disabled() -> Finding {
    Finding::warning(
        "service_disabled",
        Depth::Service,
        Text::new(
            "dingbot 正在运行，但主机重启后不会自动启动",
            "dingbot runs, and will not be started when the host boots",
        ),
        Remedy::new(Text::new("让它开机自启", "Have it started at boot"))
            .command("sudo systemctl enable dingbot"),
    )
}

fn failed(unit: &Unit, error: Option<String>) -> Finding {
    let (chinese, english, remedy) = reason(unit);
    let (last_zh, last_en) = match &error {
        Some(error) => (format!("；最后的错误：{error}"), format!("; its last error: {error}")),
        None => Default::default(),
    };
    let tries = if unit.restarts > 0 {
        (
            format!("，systemd 已重试 {} 次", unit.restarts),
            format!(", tried {} times", unit.restarts),
        )
    } else {
        Default::default()
    };
    Finding::failed(
        "service_failed",
        Depth::Service,
        Text::new(
            format!("systemd 服务 dingbot 启动失败：{chinese}{}{last_zh}", tries.0),
            format!("the systemd unit dingbot has failed: {english}{}{last_en}", tries.1),
        ),
        remedy,
    )
}

/// Why it failed, and what to do.
fn reason(unit: &Unit) -> (String, String, Remedy) {
    let journal = "journalctl -u dingbot -n 50 --no-pager";
    let restart = "sudo systemctl restart dingbot";
    let (chinese, english, remedy) = match (unit.result.as_str(), unit.status) {
        (_, EX_CONFIG) => (
            "配置无效（退出码 78）".to_owned(),
            "its configuration is not valid (exit code 78)".to_owned(),
            Remedy::new(Text::new(
                "改正列出的每一项，再启动",
                "Mend what this lists, then start it",
            ))
            .command("sudo dingbot check")
            .command(restart),
        ),
        (_, EX_USAGE) => (
            "启动命令的参数不对（退出码 64）".to_owned(),
            "its command line makes no sense (exit code 64)".to_owned(),
            Remedy::new(Text::new("看 ExecStart 和 drop-in", "Look at ExecStart and the drop-ins"))
                .command("systemctl cat dingbot"),
        ),
        (_, EXIT_CREDENTIALS) => (
            "读不到凭据文件（243/CREDENTIALS）".to_owned(),
            "a credential cannot be read (243/CREDENTIALS)".to_owned(),
            Remedy::new(Text::new(
                "LoadCredential= 指的文件必须存在且 root 可读",
                "The file of each LoadCredential= must exist and be readable by root",
            ))
            .command("systemctl cat dingbot; sudo ls -l /etc/dingbot/credentials"),
        ),
        ("watchdog", _) => (
            "卡死，被看门狗终止".to_owned(),
            "it hung and was ended by the watchdog".to_owned(),
            Remedy::new(Text::new(
                "多半是磁盘卡住：看日志和磁盘，再启动",
                "Most often the disk hangs: look at the log and the disk, then start it",
            ))
            .command(journal)
            .command(restart),
        ),
        ("oom-kill", _) => (
            "内存不足，被系统终止".to_owned(),
            "it was ended for want of memory".to_owned(),
            Remedy::new(Text::new(
                "给主机或服务 (MemoryMax=) 更多内存，再启动",
                "Give the host, or the unit (MemoryMax=), more memory, then start it",
            ))
            .command("free -m; systemctl show dingbot -p MemoryMax")
            .command(restart),
        ),
        ("start-limit-hit", _) => (
            "短时间内失败太多次，systemd 不再重试".to_owned(),
            "it failed too often in a short time, and systemd has given up".to_owned(),
            Remedy::new(Text::new(
                "先看原因，改正后再启动",
                "Find the reason first, then start it",
            ))
            .command(journal)
            .command("sudo systemctl reset-failed dingbot && sudo systemctl start dingbot"),
        ),
        ("timeout", _) => (
            "启动或停止超时".to_owned(),
            "it took too long to start or to stop".to_owned(),
            Remedy::new(Text::new(
                "按日志里的错误处理，再启动",
                "Mend what the log names, then start it",
            ))
            .command(journal)
            .command(restart),
        ),
        (result, status) => (
            ending(result, status).0,
            ending(result, status).1,
            Remedy::new(Text::new(
                "按日志里的错误处理，再启动",
                "Mend what the log names, then start it",
            ))
            .command(journal)
            .command(restart),
        ),
    };
    (chinese, english, remedy)
}

/// How its process ended, with systemd's own name for its exit code (`systemd.exec(5)`).
fn ending(result: &str, status: i32) -> (String, String) {
    let name = match status {
        200 => "/CHDIR",
        203 => "/EXEC",
        216 => "/GROUP",
        217 => "/USER",
        226 => "/NAMESPACE",
        238 => "/STATE_DIRECTORY",
        _ => "",
    };
    match result {
        "signal" | "core-dump" => {
            (format!("被信号 {status} 终止"), format!("ended by signal {status}"))
        }
        "exit-code" => (format!("退出码 {status}{name}"), format!("exit code {status}{name}")),
        result => (
            format!("{result}，退出码 {status}{name}"),
            format!("{result}, exit code {status}{name}"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::State;

    fn unit(active: &str, file: &str) -> Unit {
        Unit { active: active.into(), file: file.into(), ..Unit::default() }
    }

    #[tokio::test]
    async fn one_that_runs_and_is_enabled_is_fine() {
        let found = look(&unit("active", "enabled")).await;
        assert!(found.iter().all(|it| it.state == State::Fine), "{found:?}");
        let found = look(&unit("active", "disabled")).await;
        assert_eq!(found[1].code, "service_disabled");
    }

    #[tokio::test]
    async fn one_that_does_not_run_says_how_to_start_it() {
        assert_eq!(look(&unit("inactive", "enabled")).await[0].code, "service_stopped");
        assert_eq!(look(&unit("inactive", "masked")).await[0].code, "service_masked");
        let sockets = vec!["[::]:8080".to_owned()];
        let waiting = Unit { sockets, ..unit("inactive", "disabled") };
        assert_eq!(look(&waiting).await[0].code, "service_waits");
        // It drains, or is between two attempts.
        assert_eq!(look(&unit("deactivating", "enabled")).await[0].state, State::Warning);
        let again = Unit { sub: "auto-restart-queued".into(), ..unit("activating", "enabled") };
        assert_eq!(look(&again).await[0].code, "service_failed");
    }

    #[test]
    fn a_failure_says_why() {
        for (result, status, words) in [
            ("exit-code", 78, "configuration is not valid"),
            ("exit-code", 243, "credential"),
            ("watchdog", 0, "watchdog"),
            ("oom-kill", 0, "memory"),
            ("start-limit-hit", 1, "given up"),
            ("exit-code", 1, "exit code 1"),
            ("exit-code", 217, "217/USER"),
            ("signal", 9, "signal 9"),
            ("timeout", 0, "too long"),
        ] {
            let unit = Unit { result: result.into(), status, ..unit("failed", "enabled") };
            let found = failed(&unit, Some("the port is in use".into()));
            let seen = found.seen.english();
            assert!(seen.contains(words) && seen.contains("the port is in use"), "{seen}");
        }
    }
}
