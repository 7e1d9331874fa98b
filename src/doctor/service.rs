//! The service: the systemd unit, the container, or a process started by hand.

mod container;
mod unit;

use super::docker::Docker;
use super::facts::Facts;
use super::finding::{Depth, Finding, Remedy, Text};
use super::sockets::Sockets;

pub(super) async fn look(facts: &Facts) -> Vec<Finding> {
    let (docker, unit, sockets) = tokio::join!(facts.docker(), facts.unit(), facts.sockets());
    let mut findings = Vec::new();
    let containers = docker.containers();
    // A unit that was never started is none, where a container does its work or the bot was
    // started by hand.
    let instead = !containers.is_empty() || !sockets.bots.is_empty();
    let unit = unit.filter(|unit| !(unit.active == "inactive" && instead));
    if let Some(unit) = unit {
        findings.extend(unit::look(unit).await);
    }
    for container in containers {
        findings.extend(container::look(container, facts).await);
    }
    if unit.is_none() && !sockets.bots.is_empty() {
        findings.push(by_hand(sockets));
    }
    match docker {
        Docker::Forbidden(socket) => findings.push(unseen_docker(&socket.display().to_string())),
        Docker::Broken(why) => findings.push(broken_docker(why)),
        // It is of no concern to a bot that is no container.
        Docker::Stopped if findings.is_empty() => findings.push(stopped_docker()),
        Docker::Stopped | Docker::Absent | Docker::Containers(_) => {}
    }
    let running = unit.iter().filter(|unit| unit.active == "active").count()
        + containers.iter().filter(|it| it.state == super::docker::State::Running).count()
        + if unit.is_none() { sockets.bots.len() } else { 0 };
    if running > 1 {
        findings.push(several(running));
    }
    // Containers that cannot be seen are not missing.
    if findings.is_empty() {
        findings.push(none());
    }
    findings
}

fn by_hand(sockets: &Sockets) -> Finding {
    let pids: Vec<String> = sockets.bots.iter().map(|bot| bot.pid.to_string()).collect();
    let pids = pids.join(", ");
    Finding::fine(
        "runs_by_hand",
        Text::new(
            format!("dingbot 正在运行（进程 {pids}），不是由 systemd 或 Docker 启动的"),
            format!("dingbot runs (process {pids}), started neither by systemd nor by Docker"),
        ),
    )
}

fn none() -> Finding {
    Finding::failed(
        "service_not_found",
        Depth::Service,
        Text::new(
            "没有找到 dingbot：没有 systemd 服务，没有容器，也没有正在运行的进程",
            "dingbot is not here: no systemd unit, no container, no process",
        ),
        Remedy::new(Text::new(
            "安装并启动它；用 Docker 时运行第二条命令",
            "Install and start it; with Docker, run the second command",
        ))
        .command("sudo apt install dingbot && sudo systemctl enable --now dingbot")
        .command("docker run -d --name dingbot --restart unless-stopped -p 9090:8080 -v dingbot:/data dingbot"),
    )
}

fn several(running: usize) -> Finding {
    Finding::warning(
        "several_services",
        Depth::Service,
        Text::new(
            format!("本机同时运行着 {running} 个 dingbot"),
            format!("{running} dingbots run on this host at the same time"),
        ),
        Remedy::new(Text::new(
            "如果不是有意的，只留一个：它们各有各的数据，回调只会到其中一个",
            "Unless that is meant, keep one: each has its own data, and callbacks reach one of them",
        ))
        .command("systemctl status dingbot; docker ps --filter name=dingbot"),
    )
}

fn unseen_docker(socket: &str) -> Finding {
    Finding::unseen(
        "docker_unseen",
        Text::new(
            format!("没有权限访问 Docker（{socket}），看不到容器"),
            format!("Docker ({socket}) is closed to this user: containers cannot be seen"),
        ),
        Remedy::new(Text::new("用 root 运行", "Run it as root")).command("sudo dingbot doctor"),
    )
}

fn stopped_docker() -> Finding {
    Finding::failed(
        "docker_stopped",
        Depth::Service,
        Text::new(
            "Docker 没有运行，容器也都没有运行；除了容器，本机没有别的 dingbot",
            "Docker does not run, and no container either; besides containers there is no dingbot \
             on this host",
        ),
        Remedy::new(Text::new(
            "启动 Docker，并让它开机自启；容器没有跟着启动时再启动容器",
            "Start Docker, now and at every boot; then the container, unless it starts by itself",
        ))
        .command("sudo systemctl enable --now docker")
        .command("docker ps --all"),
    )
}

fn broken_docker(why: &str) -> Finding {
    Finding::unseen(
        "docker_broken",
        Text::new(format!("Docker 没有正常应答：{why}"), format!("Docker does not answer: {why}")),
        Remedy::new(Text::new("看 Docker 的状态", "Look at Docker's state"))
            .command("sudo systemctl status docker"),
    )
}
