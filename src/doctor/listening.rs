//! Who listens on the port, and where.

use std::net::{IpAddr, Ipv6Addr};

use super::docker::State;
use super::door::{Behind, Door};
use super::facts::Facts;
use super::finding::{Depth, Finding, Remedy, Text};
use super::sockets::{Listener, Owner, Sockets};

/// Programs that stand at a published port in the container's place.
const ENGINES: [&str; 6] =
    ["docker-proxy", "dockerd", "rootlessport", "conmon", "podman", "containerd-shim"];
/// Who holds a socket for a service that is to be started: the first process.
const SERVICE_MANAGER: i32 = 1;

pub(super) async fn look(facts: &Facts) -> Vec<Finding> {
    let (doors, sockets, own) =
        tokio::join!(facts.doors(), facts.sockets(), facts.private_addresses());
    let running = facts.docker().await.containers().iter().filter(|it| it.state == State::Running);
    let running: Vec<&str> = running.map(|it| it.name.as_str()).collect();
    let mut findings = Vec::new();
    for door in doors {
        match &door.container {
            // A container that does not run has nobody at its door; the service says so.
            Some(behind) if !running.contains(&behind.name.as_str()) => {}
            Some(behind) => findings.extend(of_container(door, behind, sockets)),
            None => {
                findings.extend(of_host(door, sockets));
                findings.extend(one_family(door.port, sockets, &own));
            }
        }
    }
    findings
}

fn of_container(door: &Door, behind: &Behind, sockets: &Sockets) -> Option<Finding> {
    let listeners: Vec<&Listener> = sockets.on(door.port).collect();
    let Behind { name, port } = behind;
    let stranger = listeners.iter().flat_map(|it| &it.owners).find(|owner| {
        // A thread's name may be cut; and in the host's own network it is the bot itself.
        !ENGINES.iter().any(|engine| engine.starts_with(&owner.name)) && owner.name != "dingbot"
    });
    if let Some(owner) = stranger {
        return Some(taken(door.port, owner));
    }
    if listeners.is_empty() {
        return Some(Finding::fine(
            "forwarded",
            Text::new(
                format!("端口 {} 由 Docker 的转发规则送到容器 {name} 的 {port}", door.port),
                format!("port {} is forwarded to {port} of the container {name}", door.port),
            ),
        ));
    }
    let places = places(&listeners);
    Some(Finding::fine(
        "listening",
        Text::new(
            format!("docker-proxy 在监听 {places}，通向容器 {name} 的 {port}"),
            format!("docker-proxy listens at {places} for port {port} of the container {name}"),
        ),
    ))
}

fn of_host(door: &Door, sockets: &Sockets) -> Vec<Finding> {
    let listeners: Vec<&Listener> = sockets.on(door.port).collect();
    if listeners.is_empty() {
        return vec![nobody(door)];
    }
    let owners: Vec<&Owner> = listeners.iter().flat_map(|it| &it.owners).collect();
    let is_bot = |owner: &&&Owner| owner.name == "dingbot" || owner.pid == SERVICE_MANAGER;
    if !owners.is_empty() && !owners.iter().any(|owner| is_bot(&owner)) {
        return vec![taken(door.port, owners[0])];
    }
    // The bot on loopback, and somebody else where callers from outside come in.
    let outer: Vec<&Owner> =
        listeners.iter().filter(|it| !it.is_local()).flat_map(|it| &it.owners).collect();
    if let Some(owner) = outer.first().filter(|_| !outer.iter().any(|owner| is_bot(&owner))) {
        return vec![taken(door.port, owner)];
    }
    let places = places(&listeners);
    if listeners.iter().all(|it| it.is_local()) {
        return vec![match sockets.web_server() {
            Some(server) => behind(door.port, server, &places),
            None => local(door.port, &places),
        }];
    }
    let who = owners.first().map_or_else(String::new, |it| format!(" ({}, {})", it.name, it.pid));
    let seen = Text::new(format!("正在监听 {places}{who}"), format!("listening at {places}{who}"));
    let mut findings = vec![Finding::fine("listening", seen)];
    if owners.is_empty() {
        findings.push(Finding::unseen(
            "listener_unseen",
            Text::new(
                format!("看不到是哪个进程在监听 {}", door.port),
                format!("which process listens on {} cannot be seen", door.port),
            ),
            Remedy::new(Text::new("用 root 运行", "Run it as root")).command("sudo dingbot doctor"),
        ));
    }
    findings
}

/// A warning when it listens for IPv4 or for IPv6 alone, and the host has addresses of the other
/// kind that callers come by.
fn one_family(port: u16, sockets: &Sockets, own: &[IpAddr]) -> Option<Finding> {
    let outer: Vec<&Listener> = sockets.on(port).filter(|it| !it.is_local()).collect();
    let listens = |is: fn(&IpAddr) -> bool| outer.iter().any(|it| is(&it.address.ip()));
    // A socket at [::] serves both, as far as can be seen from here.
    let all = outer.iter().any(|it| it.address.ip() == Ipv6Addr::UNSPECIFIED);
    let has_v4 = own.iter().any(IpAddr::is_ipv4);
    let v6 = own.iter().find(|it| is_global(it));
    let places = places(&outer);
    if outer.is_empty() || all {
        return None;
    }
    if !listens(IpAddr::is_ipv4) && has_v4 {
        let seen = Text::new(
            format!("只监听 IPv6（{places}），IPv4 访问不到"),
            format!("listening by IPv6 alone ({places}): nobody gets there by IPv4"),
        );
        return Some(Finding::failed("ipv6_only", Depth::Listening, seen, both(port)));
    }
    let v6 = v6.filter(|_| !listens(IpAddr::is_ipv6))?;
    let seen = Text::new(
        format!("只监听 IPv4（{places}），而本机有公网 IPv6 地址 {v6}：域名有 AAAA 记录时访问不到"),
        format!(
            "listening by IPv4 alone ({places}), and this host has the IPv6 address {v6}: callers of \
             a name with an AAAA record do not get there"
        ),
    );
    Some(Finding::warning("ipv4_only", Depth::Listening, seen, both(port)))
}

/// Whether callers from elsewhere may use the address: it is IPv6, and of no private network.
fn is_global(address: &IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if v6.segments()[0] & 0xe000 == 0x2000)
}

fn both(port: u16) -> Remedy {
    Remedy::new(Text::new(
        format!("把 server.listen 改成 [\"[::]:{port}\"]（IPv4 和 IPv6 都监听）并重启"),
        format!("Set server.listen = [\"[::]:{port}\"], which serves IPv4 and IPv6, and restart"),
    ))
    .command("sudo systemctl restart dingbot")
}

fn places(listeners: &[&Listener]) -> String {
    listeners.iter().map(|it| it.address.to_string()).collect::<Vec<_>>().join(", ")
}

fn nobody(door: &Door) -> Finding {
    let port = door.port;
    Finding::failed(
        "not_listening",
        Depth::Listening,
        Text::new(format!("没有进程在监听端口 {port}"), format!("nothing listens on port {port}")),
        Remedy::new(Text::new(
            "启动 dingbot；如果它已在运行，可能还在启动，或配置改过而没有重启",
            "Start dingbot; if it runs, it may still be starting, or its configuration was changed \
             without a restart",
        ))
        .command("sudo systemctl restart dingbot"),
    )
}

fn taken(port: u16, owner: &Owner) -> Finding {
    let Owner { pid, name } = owner;
    Finding::failed(
        "port_taken",
        Depth::Port,
        Text::new(
            format!("端口 {port} 被别的进程占用：{name}（进程 {pid}）"),
            format!("port {port} is taken by another process: {name} ({pid})"),
        ),
        Remedy::new(Text::new(
            "停掉它，再启动 dingbot；或给 dingbot 换端口（server.listen 或 PORT），并在安全组放行新端口",
            "Stop it and start dingbot; or give dingbot another port (server.listen or PORT), and \
             open that in the security group",
        ))
        .command(format!("sudo kill {pid}")),
    )
}

fn local(port: u16, places: &str) -> Finding {
    Finding::failed(
        "listens_on_loopback",
        Depth::Listening,
        Text::new(
            format!("只监听在 {places}，外面访问不到"),
            format!("listening at {places} alone, where nobody outside reaches it"),
        ),
        Remedy::new(Text::new(
            format!(
                "把 server.listen 改成 [\"[::]:{port}\"]（IPv4 和 IPv6 都监听）并重启；\
                 或者在前面放 nginx"
            ),
            format!(
                "Set server.listen = [\"[::]:{port}\"], which serves IPv4 and IPv6, and restart; or \
                 put nginx before it"
            ),
        ))
        .command("sudo systemctl restart dingbot"),
    )
}

fn behind(port: u16, server: &Listener, places: &str) -> Finding {
    let name = server.owners.first().map_or("", |owner| owner.name.as_str());
    Finding::fine(
        "listening_behind_proxy",
        Text::new(
            format!("只在本机监听 {places}，由 {} 上的 {name} 对外服务", server.address),
            format!(
                "port {port} is open to this host alone ({places}), and {name} at {} serves the \
                 outside",
                server.address
            ),
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listener(address: &str, owners: &[(&str, i32)]) -> Listener {
        let owners = owners.iter().map(|(name, pid)| Owner { pid: *pid, name: (*name).into() });
        Listener { address: address.parse().unwrap(), owners: owners.collect() }
    }

    fn found(listeners: Vec<Listener>, container: bool) -> Vec<&'static str> {
        let behind = Behind { name: "dingbot".into(), port: 8080 };
        let container = container.then_some(behind);
        let door = Door { port: 9090, bound: vec!["::".parse().unwrap()], container };
        let sockets = Sockets { listeners, bots: Vec::new() };
        let findings = match &door.container {
            Some(behind) => of_container(&door, behind, &sockets).into_iter().collect(),
            None => of_host(&door, &sockets),
        };
        findings.iter().map(|finding| finding.code).collect()
    }

    #[test]
    fn it_tells_who_listens() {
        let bot = [("dingbot", 7)];
        assert_eq!(found(vec![listener("[::]:9090", &bot)], false), ["listening"]);
        assert_eq!(found(vec![listener("127.0.0.1:9090", &bot)], false), ["listens_on_loopback"]);
        assert_eq!(found(vec![listener("[::]:9090", &[("python3", 8)])], false), ["port_taken"]);
        assert_eq!(found(vec![listener("[::]:80", &[("nginx", 8)])], false), ["not_listening"]);
        let proxied =
            vec![listener("127.0.0.1:9090", &bot), listener("0.0.0.0:443", &[("nginx", 8)])];
        assert_eq!(found(proxied, false), ["listening_behind_proxy"]);
        // Between the service manager's start of the socket and that of the service.
        assert_eq!(found(vec![listener("[::]:9090", &[("systemd", 1)])], false), ["listening"]);
    }

    #[test]
    fn a_stranger_where_callers_come_in_is_seen_beside_the_bot() {
        let both = [
            listener("127.0.0.1:9090", &[("dingbot", 7)]),
            listener("172.24.223.120:9090", &[("python3", 8)]),
        ];
        assert_eq!(found(both.to_vec(), false), ["port_taken"]);
    }

    #[test]
    fn one_kind_of_address_is_not_enough_for_a_host_with_both() {
        let code = |place: &str, own: &[&str]| {
            let listeners = vec![listener(place, &[("dingbot", 7)])];
            let own: Vec<IpAddr> = own.iter().map(|it| it.parse().unwrap()).collect();
            let sockets = Sockets { listeners, bots: Vec::new() };
            one_family(9090, &sockets, &own).map(|finding| finding.code)
        };
        assert_eq!(code("[2408::1]:9090", &["172.24.223.120", "2408::1"]), Some("ipv6_only"));
        assert_eq!(code("[2408::1]:9090", &["2408::1"]), None);
        assert_eq!(code("0.0.0.0:9090", &["172.24.223.120", "2408::1"]), Some("ipv4_only"));
        assert_eq!(code("0.0.0.0:9090", &["172.24.223.120", "fd00::1"]), None);
        assert_eq!(code("[::]:9090", &["172.24.223.120", "2408::1"]), None);
        assert_eq!(code("127.0.0.1:9090", &["172.24.223.120"]), None);
    }

    #[test]
    fn another_users_process_is_not_accused() {
        assert_eq!(
            found(vec![listener("[::]:9090", &[])], false),
            ["listening", "listener_unseen"]
        );
    }

    #[test]
    fn the_engine_listens_for_its_containers() {
        let proxy = [("docker-proxy", 9)];
        assert_eq!(found(vec![listener("0.0.0.0:9090", &proxy)], true), ["listening"]);
        assert_eq!(found(Vec::new(), true), ["forwarded"]);
        assert_eq!(found(vec![listener("0.0.0.0:9090", &[("nc", 9)])], true), ["port_taken"]);
    }
}
