//! Another bot of the same application, as far as this host shows.

use procfs::process::Process;

use crate::doctor::docker::State;
use crate::doctor::examined::{Examined, Starter};
use crate::doctor::facts::Facts;
use crate::doctor::finding::{Depth, Finding, Remedy, Text};
use crate::printed::one_line;

/// The variable that names the application, where a bot's settings are in its environment.
const CLIENT_ID: &str = "DINGBOT_DINGTALK__CLIENT_ID";

pub(super) async fn look(facts: &Facts, bot: &Examined) -> Vec<Finding> {
    let id = &bot.settings().dingtalk.client_id;
    if id.is_empty() || !bot.runs {
        return Vec::new();
    }
    let (docker, sockets) = tokio::join!(facts.docker(), facts.sockets());
    let own = match &bot.starter {
        Starter::Container(name) => Some(name),
        Starter::Unit | Starter::Hand => None,
    };
    let containers = docker.containers().iter();
    let containers = containers
        .filter(|it| it.state == State::Running && Some(&it.name) != own)
        .filter(|it| it.environment.iter().any(|(name, value)| name == CLIENT_ID && value == id))
        .map(|it| format!("docker: {}", it.name));
    let processes = sockets.bots.iter().filter(|it| Some(it.pid) != bot.pid);
    let processes = processes.filter(|it| is_of(it.pid, id)).map(|it| format!("pid {}", it.pid));
    let mut all = vec![match &bot.starter {
        Starter::Container(name) => format!("docker: {name}"),
        Starter::Unit => "systemd: dingbot".into(),
        Starter::Hand => bot.pid.map_or_else(String::new, |pid| format!("pid {pid}")),
    }];
    all.extend(containers.chain(processes));
    if all.len() == 1 {
        return Vec::new();
    }
    let (count, all, id) = (all.len(), all.join(", "), one_line(id));
    vec![Finding::warning(
        "second_instance",
        Depth::DingTalk,
        Text::new(
            format!("本机有 {count} 个 dingbot 用着同一个 client_id {id}：{all}"),
            format!("{count} dingbots of this host have the same client_id {id}: {all}"),
        ),
        Remedy::new(Text::new(
            "只留一个：它们的记忆各自独立，回调只会到其中一个，提醒会发两遍。其他主机上的，从这里看不到",
            "Keep one: each has memories of its own, callbacks reach one of them, and reminders come \
             twice. Those on other hosts cannot be seen from here",
        ))
        .command("systemctl status dingbot; docker ps --filter name=dingbot"),
    )]
}

/// Whether a process is of this application, by its environment.
fn is_of(pid: i32, id: &str) -> bool {
    let environment = Process::new(pid).and_then(|process| process.environ());
    let value = environment.ok().and_then(|mut all| all.remove(std::ffi::OsStr::new(CLIENT_ID)));
    value.is_some_and(|value| value == id)
}
