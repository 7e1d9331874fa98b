//! What several checks need to know, each asked once.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use tokio::sync::OnceCell;
use tokio::time::Instant;

use super::docker::{self, Docker};
use super::door::{self, Door};
use super::ecs::{self, Ecs, Instance};
use super::examined::{self, Examined};
use super::machine;
use super::sockets::{self, Sockets};
use super::systemd::{self, Unit};
use crate::config::Sources;

/// What all questions together may take; the checks have a little longer, to say what they saw.
const LIMIT: Duration = Duration::from_millis(4_200);

/// What is known of this host and of the bot on it. What takes time to find out is found out when
/// it is first asked for, once, however many checks ask.
#[allow(missing_debug_implementations, reason = "the sources hold secrets")]
pub struct Facts {
    sources: Sources,
    examined: OnceCell<Examined>,
    docker: OnceCell<Docker>,
    unit: OnceCell<Option<Unit>>,
    sockets: OnceCell<Sockets>,
    doors: OnceCell<Vec<Door>>,
    ecs: OnceCell<Ecs>,
    visitor: Option<IpNet>,
    deadline: Instant,
}

impl Facts {
    /// Of the bot that is configured by `sources`.
    pub fn new(sources: Sources) -> Self {
        Self {
            sources,
            examined: OnceCell::new(),
            docker: OnceCell::new(),
            unit: OnceCell::new(),
            sockets: OnceCell::new(),
            doors: OnceCell::new(),
            ecs: OnceCell::new(),
            visitor: None,
            deadline: Instant::now() + LIMIT,
        }
    }

    /// As asked about somebody's access: whether he is let in.
    #[must_use]
    pub fn for_visitor(mut self, visitor: Option<IpNet>) -> Self {
        self.visitor = visitor;
        self
    }

    /// Where the configuration of a bot that this user starts is read from.
    pub fn sources(&self) -> &Sources {
        &self.sources
    }

    /// The value of an environment variable that is set and not empty.
    pub fn variable(&self, name: &str) -> Option<&str> {
        let all = self.sources.environment.iter();
        all.filter(|(known, value)| known == name && !value.is_empty())
            .map(|(_, value)| value.as_str())
            .next_back()
    }

    /// Whether this process may look everywhere.
    pub fn is_root(&self) -> bool {
        rustix::process::geteuid().is_root()
    }

    /// The bot, with the settings it has.
    pub(super) async fn examined(&self) -> &Examined {
        self.examined.get_or_init(|| examined::find(self)).await
    }

    /// The containers of the bot.
    pub(super) async fn docker(&self) -> &Docker {
        self.docker.get_or_init(|| docker::find(self)).await
    }

    /// The systemd unit of the bot; nothing when there is none.
    pub(super) async fn unit(&self) -> Option<&Unit> {
        self.unit.get_or_init(systemd::find).await.as_ref()
    }

    /// Who listens on this host, and which processes are the bot's.
    pub(super) async fn sockets(&self) -> &Sockets {
        self.sockets.get_or_init(sockets::find).await
    }

    /// Where the bot can be knocked at, from this host's outside.
    pub async fn doors(&self) -> &[Door] {
        self.doors.get_or_init(|| door::find(self)).await
    }

    /// The ECS instance that this host is; nothing when it is none.
    pub async fn instance(&self) -> Option<&Instance> {
        match self.ecs().await {
            Ecs::Instance { instance, .. } => Some(instance),
            Ecs::Silent | Ecs::Elsewhere => None,
        }
    }

    /// What is known of ECS from here.
    pub(super) async fn ecs(&self) -> &Ecs {
        self.ecs.get_or_init(|| ecs::find(self)).await
    }

    /// When a check must have come to its end, to be heard.
    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Whose access is asked about.
    pub(super) fn visitor(&self) -> Option<IpNet> {
        self.visitor
    }

    /// The addresses of this host's own interfaces, without loopback and link-local ones.
    pub async fn private_addresses(&self) -> Vec<IpAddr> {
        machine::addresses()
    }
}
