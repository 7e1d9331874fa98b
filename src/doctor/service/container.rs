//! A container of the bot.

use std::net::IpAddr;

use crate::doctor::docker::{Container, Published, State};
use crate::doctor::door;
use crate::doctor::facts::Facts;
use crate::doctor::finding::{Depth, Finding, Remedy, Text};
use crate::doctor::sockets;

/// What the engine says when a port of the host is somebody else's.
const TAKEN: [&str; 2] = ["address already in use", "port is already allocated"];

pub(super) async fn look(container: &Container, facts: &Facts) -> Vec<Finding> {
    match container.state {
        State::Running => running(container, facts).await,
        State::Restarting => vec![restarting(container)],
        State::Paused => vec![paused(container)],
        State::Created | State::Exited
            if TAKEN.iter().any(|words| container.error.contains(words)) =>
        {
            vec![taken(container, facts).await]
        }
        State::Created | State::Exited => vec![exited(container)],
    }
}

async fn running(container: &Container, facts: &Facts) -> Vec<Finding> {
    let mut findings = vec![health(container)];
    if container.host_network {
        return findings;
    }
    let inside = door::inside(container);
    if container.published.is_empty() {
        findings.push(unpublished(container, inside));
        return findings;
    }
    let mut leads = Vec::new();
    for published in &container.published {
        let pid = container.pid.unwrap_or_default();
        let listens = sockets::listens_inside(pid, &container.id, published.inside).await;
        if listens.unwrap_or(published.inside == inside) {
            leads.push(published);
        }
    }
    // One that leads to the bot is enough, whatever else is published.
    let is_local = |it: &&Published| it.bound.iter().all(IpAddr::is_loopback);
    let Some(first) = leads.first() else {
        let first = container.published.first();
        findings.extend(first.map(|it| mismatch(container, it.inside, it.port, inside)));
        return findings;
    };
    if leads.iter().all(is_local) && facts.sockets().await.web_server().is_none() {
        findings.push(on_loopback(container, first));
    }
    findings
}

fn on_loopback(container: &Container, published: &Published) -> Finding {
    let Container { name, .. } = container;
    let Published { inside, port, .. } = published;
    Finding::failed(
        "published_on_loopback",
        Depth::Publishing,
        Text::new(
            format!("容器 {name} 的端口只发布在 127.0.0.1:{port}，外面访问不到"),
            format!(
                "the port of the container {name} is published at 127.0.0.1:{port} alone, where \
                 nobody outside reaches it"
            ),
        ),
        again(container, &format!("{port}:{inside}")),
    )
}

fn health(container: &Container) -> Finding {
    let Container { name, image, restarts, .. } = container;
    let again = if *restarts > 0 {
        (format!("，重启过 {restarts} 次"), format!(", restarted {restarts} times"))
    } else {
        Default::default()
    };
    match container.health.as_deref() {
        Some("unhealthy") => Finding::failed(
            "container_unhealthy",
            // The bot's own check, inside: what it finds is told by the checks of the bot.
            Depth::Reach,
            Text::new(
                format!(
                    "容器 {name} 不健康：{}",
                    container.health_words.as_deref().unwrap_or("健康检查失败")
                ),
                format!(
                    "the container {name} is unhealthy: {}",
                    container.health_words.as_deref().unwrap_or("its health check fails")
                ),
            ),
            Remedy::new(Text::new("按日志里的错误处理", "Mend what its log names"))
                .command(format!("docker logs --tail 50 {name}")),
        ),
        health => {
            let (zh, en) = match health {
                Some("healthy") => ("，健康 (healthy)", ", healthy"),
                Some("starting") => ("，正在启动 (starting)", ", starting"),
                _ => ("", ""),
            };
            Finding::fine(
                "container_runs",
                Text::new(
                    format!(
                        "容器 {name}（镜像 {image}）正在运行{zh}{}{}",
                        again.0,
                        ports(container)
                    ),
                    format!(
                        "the container {name} (image {image}) runs{en}{}{}",
                        again.1,
                        ports(container)
                    ),
                ),
            )
        }
    }
}

/// Such as `, 0.0.0.0:9090→8080`.
fn ports(container: &Container) -> String {
    let published = container.published.iter().flat_map(|it| {
        it.bound
            .iter()
            .map(move |ip| format!(", {}→{}", std::net::SocketAddr::new(*ip, it.port), it.inside))
    });
    published.collect()
}

fn unpublished(container: &Container, inside: u16) -> Finding {
    let name = &container.name;
    Finding::failed(
        "port_not_published",
        Depth::Publishing,
        Text::new(
            format!("容器 {name} 在运行，但没有发布端口：主机上没有端口通向它的 {inside}"),
            format!(
                "the container {name} runs and publishes no port: none of the host's leads to its \
                 {inside}"
            ),
        ),
        again(container, &format!("9090:{inside}")),
    )
}

fn mismatch(container: &Container, mapped: u16, port: u16, inside: u16) -> Finding {
    let name = &container.name;
    Finding::failed(
        "container_port_mismatch",
        Depth::Publishing,
        Text::new(
            format!(
                "主机端口 {port} 映射到容器 {name} 的 {mapped}，而机器人在容器内监听的是 {inside}"
            ),
            format!(
                "port {port} of the host leads to port {mapped} of the container {name}, and the \
                 bot listens on {inside} inside"
            ),
        ),
        again(container, &format!("{port}:{inside}")),
    )
}

/// How to make the container anew: ports cannot be changed.
fn again(container: &Container, mapping: &str) -> Remedy {
    let name = &container.name;
    if let Some(files) = &container.compose {
        // Compose lists several with commas between them.
        let options: Vec<String> =
            files.split(',').map(|file| format!("-f {}", quoted(file))).collect();
        return Remedy::new(Text::new(
            format!("在 {files} 里把这个服务的 ports 写成 [\"{mapping}\"]，再重建容器（数据在卷里，不会丢）"),
            format!(
                "Set ports: [\"{mapping}\"] of the service in {files}, and make the container anew \
                 (its data stay in the volume)"
            ),
        ))
        .command(format!("docker compose {} up -d", options.join(" ")));
    }
    Remedy::new(Text::new(
        format!("端口映射改不了，要重建容器（数据在卷里，不会丢）：用原来的参数，把端口写成 -p {mapping}"),
        format!(
            "Ports cannot be changed: make the container anew (its data stay in the volume) with \
             the options it had and -p {mapping}"
        ),
    ))
    .command(format!("docker rm -f {name}"))
    .command(format!(
        "docker run -d --name {name} --restart unless-stopped -p {mapping} -v dingbot:/data {}",
        container.image
    ))
}

/// As a shell reads it.
fn quoted(text: &str) -> String {
    shlex::try_quote(text).map_or_else(|_| "''".into(), std::borrow::Cow::into_owned)
}

fn restarting(container: &Container) -> Finding {
    let Container { name, restarts, .. } = container;
    let why = why(container);
    Finding::failed(
        "container_restarting",
        Depth::Service,
        Text::new(
            format!("容器 {name} 反复重启（{restarts} 次）：{}", why.0),
            format!("the container {name} starts again and again ({restarts} times): {}", why.1),
        ),
        mend(container),
    )
}

fn exited(container: &Container) -> Finding {
    let name = &container.name;
    let why = why(container);
    Finding::failed(
        "container_exited",
        Depth::Service,
        Text::new(
            format!("容器 {name} 没有运行：{}", why.0),
            format!("the container {name} does not run: {}", why.1),
        ),
        mend(container),
    )
}

fn paused(container: &Container) -> Finding {
    let name = &container.name;
    Finding::failed(
        "container_paused",
        Depth::Service,
        Text::new(
            format!("容器 {name} 被暂停 (paused)"),
            format!("the container {name} is paused"),
        ),
        Remedy::new(Text::new("让它继续", "Let it go on"))
            .command(format!("docker unpause {name}")),
    )
}

async fn taken(container: &Container, facts: &Facts) -> Finding {
    let name = &container.name;
    let ports: Vec<u16> = container.published.iter().map(|it| it.port).collect();
    let sockets = facts.sockets().await;
    let owner = ports.iter().flat_map(|port| sockets.on(*port)).flat_map(|it| &it.owners).next();
    let (zh, en) = match owner {
        Some(owner) => (
            format!("进程 {}（{}）", owner.name, owner.pid),
            format!("the process {} ({})", owner.name, owner.pid),
        ),
        None => ("别的进程".to_owned(), "another process".to_owned()),
    };
    let port = ports.first().copied().unwrap_or_default();
    Finding::failed(
        "port_taken",
        Depth::Port,
        Text::new(
            format!("容器 {name} 启动不了：主机端口 {port} 被{zh}占用"),
            format!("the container {name} cannot start: port {port} of the host is taken by {en}"),
        ),
        Remedy::new(Text::new(
            "停掉占用端口的进程再启动容器，或重建容器换一个主机端口",
            "Stop who has the port and start the container, or make it anew with another port",
        ))
        .command(format!("sudo ss -ltnp 'sport = :{port}'"))
        .command(format!("docker start {name}")),
    )
}

/// Why it does not run.
fn why(container: &Container) -> (String, String) {
    let words = container.last_words.as_deref().map(|words| format!("：{words}"));
    let words = words.unwrap_or_default();
    if container.out_of_memory {
        return ("内存不足被终止 (OOM)".into(), "ended for want of memory (OOM)".into());
    }
    if !container.error.is_empty() {
        return (container.error.clone(), container.error.clone());
    }
    let code = container.exit_code;
    // Between two ends, when there is no exit code.
    if code == 0 && container.state == State::Restarting {
        let words = words.trim_start_matches('：').to_owned();
        return match words.as_str() {
            "" => ("每次启动后不久就退出".into(), "it ends soon after each start".into()),
            _ => (words.clone(), words),
        };
    }
    (format!("退出码 {code}{words}"), format!("exit code {code}{}", words.replacen('：', ": ", 1)))
}

fn mend(container: &Container) -> Remedy {
    let name = &container.name;
    let is_well = container.exit_code == 0 && container.state != State::Restarting;
    let text = if is_well {
        Text::new("启动它", "Start it")
    } else {
        Text::new("按它最后的错误处理，再启动", "Mend what its last words name, then start it")
    };
    let remedy = Remedy::new(text);
    let remedy =
        if is_well { remedy } else { remedy.command(format!("docker logs --tail 50 {name}")) };
    remedy.command(format!("docker start {name}"))
}
