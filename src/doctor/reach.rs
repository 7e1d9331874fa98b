//! `/health`, on loopback, at each private address and at the public one.
//!
//! From inside, only what is on the host itself can be judged for certain: a request to an own
//! address does not leave the host, and whether one to the public address comes back in depends on
//! who may come in. So silence there is no fault, but something that cannot be seen from here.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use futures_util::future::join_all;

use super::door::Door;
use super::facts::Facts;
use super::finding::{Depth, Finding, Remedy, Text};
use super::probe::{Failure, Knock, Outcome, Voice};

/// Where a request is sent to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Loopback,
    Private,
    Public,
}

impl Place {
    fn named(self) -> (&'static str, &'static str) {
        match self {
            Self::Loopback => ("本机", "loopback"),
            Self::Private => ("内网", "private address"),
            Self::Public => ("公网", "public address"),
        }
    }
}

pub(super) async fn look(facts: &Facts) -> Vec<Finding> {
    let (doors, private) = tokio::join!(facts.doors(), facts.private_addresses());
    let instance = facts.instance().await;
    let public = instance.map(|instance| instance.public.clone()).unwrap_or_default();
    let mut knocks = Vec::new();
    for door in doors {
        knocks.extend(addresses(door, &private, &public));
    }
    let findings = knocks.into_iter().map(|(place, address)| async move {
        let health = Knock::health(address);
        let knock = Knock { deadline: health.deadline.min(facts.deadline()), ..health };
        finding(place, &knock, &knock.outcome().await)
    });
    join_all(findings).await.into_iter().flatten().collect()
}

/// Where the bot behind `door` must answer.
fn addresses(door: &Door, private: &[IpAddr], public: &[IpAddr]) -> Vec<(Place, SocketAddr)> {
    let serves = |address: IpAddr| door.bound.iter().any(|bound| serves(*bound, address));
    let loopback = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
    let mut places: Vec<(Place, IpAddr)> = Vec::new();
    places.extend(loopback.into_iter().filter(|it| serves(*it)).map(|it| (Place::Loopback, it)));
    let own = private.iter().copied().filter(|it| serves(*it) && !public.contains(it));
    places.extend(own.map(|it| (Place::Private, it)));
    // A public address is translated to a private one, or is one of the host's own.
    let open = door.bound.iter().any(|bound| !bound.is_loopback());
    places.extend(public.iter().filter(|_| open).map(|it| (Place::Public, *it)));
    places.into_iter().map(|(place, ip)| (place, SocketAddr::new(ip, door.port))).collect()
}

/// Whether what is bound to `bound` answers at `address`.
pub(super) fn serves(bound: IpAddr, address: IpAddr) -> bool {
    match bound {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => address.is_ipv4(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => true,
        bound => bound == address,
    }
}

/// What a knock tells; nothing, when it tells nothing: a host without IPv6 has no `::1`.
fn finding(place: Place, knock: &Knock, outcome: &Outcome) -> Option<Finding> {
    let (code, seen) = (outcome.code(), sentence(place, knock, outcome));
    match (place, outcome) {
        (_, Outcome::Said(Voice::Well, _)) => Some(Finding::fine("healthy", seen)),
        (Place::Loopback, Outcome::Failed(Failure::Unreachable(_))) if knock.address.is_ipv6() => {
            None
        }
        (Place::Public, Outcome::Failed(Failure::ConnectTimedOut | Failure::Unreachable(_))) => {
            Some(Finding::unseen(code, seen, from_outside(knock)))
        }
        (_, Outcome::Said(Voice::Unwell(_), _)) => {
            Some(Finding::failed(code, Depth::Reach, seen, unwell()))
        }
        _ => Some(Finding::failed(code, Depth::Reach, seen, remedy(place, knock, outcome))),
    }
}

fn sentence(place: Place, knock: &Knock, outcome: &Outcome) -> Text {
    let (chinese, english) = place.named();
    let (url, seen) = (knock.url(), outcome.seen());
    Text::new(
        format!("{chinese} {url}：{}", seen.chinese()),
        format!("{english}, {url}: {}", seen.english()),
    )
}

fn from_outside(knock: &Knock) -> Remedy {
    let url = knock.url();
    let base = url.strip_suffix("/health").unwrap_or(&url);
    Remedy::new(Text::new(
        "从实例内部访问自己的公网地址，不通不一定是故障；请在另一台机器上运行下面的命令。\
         那里也超时，多半是安全组没有放行",
        "From inside, an own public address that does not answer is no proof; run this on another \
         machine. A time-out there, too, most often means that the security group is closed",
    ))
    .command(format!("dingbot doctor --target {base}"))
}

fn unwell() -> Remedy {
    Remedy::new(Text::new(
        "按机器人给出的原因处理；各项检查见下面的命令",
        "Mend what the bot names; this lists its checks",
    ))
    .command("dingbot health --verbose")
}

fn remedy(place: Place, knock: &Knock, outcome: &Outcome) -> Remedy {
    let port = knock.address.port();
    let text = match outcome {
        Outcome::Failed(Failure::Refused) if place == Place::Public => Text::new(
            format!("有东西拒绝了 {port} 端口：看主机防火墙，以及公网地址是否属于这台实例"),
            format!(
                "Something rejects port {port}: look at the host firewall, and whether the public \
                 address is this instance's"
            ),
        ),
        Outcome::Failed(Failure::Refused) => Text::new(
            format!("{port} 端口上没有服务：启动 dingbot，或改用它实际监听的端口"),
            format!("Nothing listens on port {port}: start dingbot, or use the port it listens on"),
        ),
        Outcome::Failed(Failure::ConnectTimedOut) => Text::new(
            "本机防火墙丢弃了发给自己的包，或进程卡住不接受连接",
            "A filter of this host drops its own packets, or the process hangs and accepts nothing",
        ),
        Outcome::Failed(Failure::Reset) => Text::new(
            "连上就被断开：容器里没有进程监听映射的端口，或进程刚刚崩溃",
            "Cut off at once: nothing listens inside the container at the mapped port, or the \
             process has just crashed",
        ),
        Outcome::Failed(Failure::Silent) => Text::new(
            "进程收下连接却不应答：可能卡住，看日志后重启",
            "The process takes connections and does not answer: it may hang; read its log, restart it",
        ),
        Outcome::Failed(Failure::IsTls) => Text::new(
            format!("{port} 端口是 HTTPS 服务，不是 dingbot 本身：换端口，或停掉那个服务"),
            format!(
                "Port {port} belongs to an HTTPS server, not to dingbot: change the port, or stop \
                 that server"
            ),
        ),
        Outcome::Said(Voice::Troubled(_), _) | Outcome::Failed(Failure::BrokenOff) => Text::new(
            "服务在，但没有正常应答：看它的日志，必要时重启",
            "The service is there and gives no proper answer: read its log, restart it if need be",
        ),
        Outcome::Said(Voice::Forbidden(_) | Voice::Redirected(..) | Voice::Stranger(_), _)
        | Outcome::Failed(Failure::NotHttp) => Text::new(
            format!("{port} 端口被别的服务占用：看是谁在监听，停掉它，或给 dingbot 换端口"),
            format!(
                "Port {port} is another service's: see who listens, stop it, or give dingbot \
                 another port"
            ),
        ),
        _ => Text::new("看这个端口上是谁在应答", "See who answers at this port"),
    };
    Remedy::new(text).command(format!("sudo ss -ltnp 'sport = :{port}'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn door(bound: &[&str]) -> Door {
        let bound = bound.iter().map(|it| it.parse().unwrap()).collect();
        Door { port: 9090, bound, container: None }
    }

    fn shown(door: &Door) -> String {
        let private = ["172.24.223.120".parse().unwrap()];
        let public = ["8.222.215.42".parse().unwrap()];
        let places = addresses(door, &private, &public);
        places.iter().map(|(_, it)| it.to_string()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn it_is_asked_where_it_must_answer() {
        assert_eq!(
            shown(&door(&["::"])),
            "127.0.0.1:9090 [::1]:9090 172.24.223.120:9090 8.222.215.42:9090"
        );
        assert_eq!(
            shown(&door(&["0.0.0.0"])),
            "127.0.0.1:9090 172.24.223.120:9090 8.222.215.42:9090"
        );
        assert_eq!(shown(&door(&["127.0.0.1"])), "127.0.0.1:9090");
        assert_eq!(shown(&door(&["172.24.223.120"])), "172.24.223.120:9090 8.222.215.42:9090");
    }

    #[test]
    fn silence_at_the_public_address_is_no_fault() {
        let knock = Knock::health("8.222.215.42:9090".parse().unwrap());
        let silence = Outcome::Failed(Failure::ConnectTimedOut);
        let found = finding(Place::Public, &knock, &silence).unwrap();
        assert_eq!(
            (found.code, found.state),
            ("health_timed_out", super::super::finding::State::Unseen)
        );
        let command = &found.remedy.unwrap().commands[0];
        assert_eq!(command, "dingbot doctor --target http://8.222.215.42:9090");
        let inside = finding(Place::Private, &knock, &silence).unwrap();
        assert_eq!(inside.state, super::super::finding::State::Failed);
    }
}
