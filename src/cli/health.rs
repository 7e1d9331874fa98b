//! `dingbot health`: what `curl /health` would say, where there is no curl.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Args;

use super::workplace;
use crate::config::Sources;
use crate::outbound;

/// Container health checks give up after a few seconds themselves.
const LIMIT: Duration = Duration::from_secs(3);

#[derive(Debug, Args)]
pub(super) struct Health {
    /// Ask for every check
    #[arg(long)]
    verbose: bool,
}

impl Health {
    pub(super) fn run(self, sources: &Sources, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
        let settings = match workplace::settings(sources) {
            Ok(settings) => settings,
            Err(code) => return Ok(code),
        };
        let listen = settings.server.listen.first().copied().context("server.listen is empty")?;
        let query = if self.verbose { "?verbose=1" } else { "" };
        let url = format!("http://{}/health{query}", reachable(listen));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (status, body) = runtime.block_on(async {
            let response = outbound::local_client(LIMIT)?
                .get(&url)
                .send()
                .await
                .map_err(reqwest::Error::without_url)
                .with_context(|| format!("no answer from {url}: is `dingbot serve` running?"))?;
            let status = response.status();
            anyhow::Ok((status, response.text().await?))
        })?;
        writeln!(out, "{}", body.trim_end())?;
        Ok(if status.is_success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// The address at which a daemon that listens everywhere is reached from its own host.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        // A host without IPv6 serves `[::]` by IPv4, and every host serves both on it.
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) | IpAddr::V6(Ipv6Addr::UNSPECIFIED) => {
            IpAddr::V4(Ipv4Addr::LOCALHOST)
        }
        other => other,
    };
    SocketAddr::new(ip, listen.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everywhere_is_reached_on_loopback() {
        let reached = |listen: &str| reachable(listen.parse().unwrap()).to_string();
        assert_eq!(reached("[::]:8080"), "127.0.0.1:8080");
        assert_eq!(reached("0.0.0.0:80"), "127.0.0.1:80");
        assert_eq!(reached("192.0.2.1:80"), "192.0.2.1:80");
    }
}
