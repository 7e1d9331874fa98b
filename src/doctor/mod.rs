//! Finds out why the bot cannot be reached, or cannot answer.
//!
//! One file a check; each looks at one area and says what it found ([`finding::Finding`]). They run
//! side by side, each under a time limit, and share what they need to know ([`facts::Facts`]). The
//! [`report::Report`] names the deepest cause first: the one thing to mend.
//!
//! Promises to end in [`LIMIT`] whatever does not answer, to change nothing, to need no root (what
//! it cannot see without it, it says), and to print no secret. Knows the outside of the daemon
//! alone: its unit, its port, its configuration, its store, its endpoints.

mod bot;
pub mod codes;
mod command;
mod docker;
mod door;
pub mod ecs;
mod examined;
pub mod facts;
pub mod finding;
mod firewall;
mod https;
mod listening;
mod machine;
mod probe;
mod reach;
pub mod report;
mod security_group;
mod service;
mod sockets;
mod systemd;
pub mod target;
mod upstreams;

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join_all};

use self::facts::Facts;
use self::finding::{Area, Finding, Remedy, Text};
use self::report::{Report, Section};

/// The longest all checks together may take.
pub const LIMIT: Duration = Duration::from_millis(4_500);

/// A check: looks, and says what it found.
type Look = for<'a> fn(&'a Facts) -> BoxFuture<'a, Vec<Finding>>;

/// Every check of this host.
const CHECKS: [(Area, Look); 9] = [
    (Area::Machine, |facts| machine::look(facts).boxed()),
    (Area::Service, |facts| service::look(facts).boxed()),
    (Area::Listening, |facts| listening::look(facts).boxed()),
    (Area::Firewall, |facts| firewall::look(facts).boxed()),
    (Area::Reach, |facts| reach::look(facts).boxed()),
    (Area::SecurityGroup, |facts| security_group::look(facts).boxed()),
    (Area::Https, |facts| https::look(facts).boxed()),
    (Area::Upstreams, |facts| upstreams::look(facts).boxed()),
    (Area::Bot, |facts| bot::look(facts).boxed()),
];

/// Looks at this host and the bot on it.
pub async fn examine(facts: &Facts) -> Report {
    let looks = CHECKS.iter().map(|(area, look)| limited(*area, look(facts)));
    Report::new(join_all(looks).await)
}

/// One check, which says so when it does not come to an end.
async fn limited(area: Area, look: BoxFuture<'_, Vec<Finding>>) -> Section {
    let findings = match tokio::time::timeout(LIMIT, look).await {
        Ok(findings) => findings,
        Err(_) => vec![Finding::unseen(
            "check_timed_out",
            Text::new(
                format!("检查没有在 {:.1} 秒内结束", LIMIT.as_secs_f64()),
                format!("the check did not end within {:.1} s", LIMIT.as_secs_f64()),
            ),
            Remedy::new(Text::new(
                "主机可能过载，或有命令没有响应；稍后再试",
                "The host may be overloaded, or a command may hang; try again later",
            )),
        )],
    };
    Section { area, findings }
}
