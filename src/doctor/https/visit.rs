//! Asking the bot through a site, from this host.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use hyper::Method;
use hyper::header::ALLOW;
use tokio::time::{Instant, timeout_at};

use super::site::{Listen, Passage};
use crate::doctor::probe::{Answer, Certificate, Failure, Knock, Voice};
use crate::doctor::sockets::Sockets;

/// After so long a site that allows a request a second allows another one.
const PAUSE: Duration = Duration::from_millis(1_100);
/// What the bot answers to the console's probe, a callback without a body.
const TAKEN: &str = r#"{"msgtype":"empty"}"#;

/// What came back through a site.
#[derive(Debug)]
pub(super) struct Visit {
    /// The question for callbacks.
    pub(super) callback: Knock,
    pub(super) health: Result<Answer, Failure>,
    /// The answer to a `GET` and a `POST` where DingTalk posts its callbacks.
    pub(super) webhook: [Result<Answer, Failure>; 2],
}

/// Where the site that listens so is reached from this host.
pub(super) fn address(listen: Listen, sockets: &Sockets) -> SocketAddr {
    let v4 = |ip: IpAddr| ip.is_ipv4() || ip == Ipv6Addr::UNSPECIFIED;
    let by_v4 = sockets.on(listen.port).any(|it| v4(it.address.ip()))
        || sockets.on(listen.port).next().is_none();
    let loopback =
        if by_v4 { Ipv4Addr::LOCALHOST.into() } else { IpAddr::from(Ipv6Addr::LOCALHOST) };
    SocketAddr::new(listen.address.unwrap_or(loopback), listen.port)
}

/// Under which path of the site the bot's own `path` is reached.
pub(super) fn outside(passages: &[Passage], path: &str) -> String {
    let found: Vec<String> = passages.iter().filter_map(|it| it.outside(path)).collect();
    let same = found.iter().any(|it| it == path);
    found.into_iter().next().filter(|_| !same).unwrap_or_else(|| path.to_owned())
}

impl Visit {
    /// Asks all at once. `paths` are those of health and callbacks.
    pub(super) async fn to(
        (address, tls): (SocketAddr, bool),
        host: &str,
        paths: [String; 2],
        deadline: Instant,
    ) -> Self {
        let [health, webhook] = paths;
        let health = Knock { host: host.to_owned(), tls, path: health, ..Knock::health(address) };
        let callback = Knock { path: webhook, ..health.clone() };
        let post = Knock { method: Method::POST, ..callback.clone() };
        let (health, got, posted) =
            tokio::join!(ask(&health, deadline), ask(&callback, deadline), ask(&post, deadline));
        Self { callback, health, webhook: [got, posted] }
    }

    /// Asks once more, for callbacks alone, when so many questions at once may have been too many.
    pub(super) async fn again(&mut self, deadline: Instant) {
        let limited =
            self.webhook.iter().flatten().any(|it| matches!(it.status.as_u16(), 429 | 503));
        if limited && !self.passes() && Instant::now() + PAUSE < deadline {
            tokio::time::sleep(PAUSE).await;
            self.webhook[0] = ask(&self.callback, deadline).await;
        }
    }

    /// Whether callbacks come to the bot: it takes no `GET` and says so, and an empty `POST` is
    /// well.
    pub(super) fn passes(&self) -> bool {
        let [got, posted] = &self.webhook;
        let refused = got.as_ref().is_ok_and(|answer| {
            let allow = answer.headers.get(ALLOW);
            answer.status == 405 && allow.is_some_and(|allow| allow == Method::POST.as_str())
        });
        refused || posted.as_ref().is_ok_and(|it| it.status == 200 && it.body.trim() == TAKEN)
    }

    /// Whether the bot speaks here at all.
    pub(super) fn speaks(&self) -> bool {
        let voice = self.health.as_ref().map(Voice::of);
        self.passes() || matches!(voice, Ok(Voice::Well | Voice::Unwell(_)))
    }

    /// The certificate that was shown.
    pub(super) fn certificate(&self) -> Option<&Certificate> {
        let answers = self.webhook.iter().chain([&self.health]);
        answers.flatten().find_map(|answer| answer.certificate.as_ref())
    }
}

pub(super) async fn ask(knock: &Knock, deadline: Instant) -> Result<Answer, Failure> {
    timeout_at(deadline, knock.ask()).await.unwrap_or(Err(Failure::Silent))
}
