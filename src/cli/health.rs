//! `dingbot health`: what `curl /health` would say, where there is no curl.

use std::io::Write;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Args;

use super::workplace::{self, reachable};
use crate::config::Sources;
use crate::outbound;

/// Container health checks give up after a few seconds themselves.
const LIMIT: Duration = Duration::from_secs(3);

#[derive(Debug, Args)]
pub(super) struct Health {
    /// Ask for every check
    #[arg(long)]
    verbose: bool,
    /// Ask at this address instead of that of server.listen (or PORT)
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Option<SocketAddr>,
}

impl Health {
    pub(super) fn run(self, sources: &Sources, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
        let settings = match workplace::settings(sources) {
            Ok(settings) => settings,
            Err(code) => return Ok(code),
        };
        let configured = settings.server.listen.first().copied();
        let listen = self.listen.or(configured).context("server.listen is empty")?;
        let query = if self.verbose { "?verbose=1" } else { "" };
        let url = format!("http://{}/health{query}", reachable(listen));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (status, body) = runtime.block_on(async {
            let response = outbound::local_client(LIMIT)?
                .get(&url)
                .send()
                .await
                .map_err(reqwest::Error::without_url)
                .with_context(|| {
                    format!(
                        "no answer from {url} (server.listen, PORT or --listen say where): is \
                         `dingbot serve` running?"
                    )
                })?;
            let status = response.status();
            anyhow::Ok((status, response.text().await?))
        })?;
        writeln!(out, "{}", body.trim_end())?;
        Ok(if status.is_success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}
