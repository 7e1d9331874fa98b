//! `dingbot serve`: the daemon.

use std::io::{self, IsTerminal, Write};
use std::net::SocketAddr;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;

use super::workplace::{self, reachable};
use crate::config::{self, Sources};
use crate::telemetry::logging;

#[derive(Debug, Args)]
pub(super) struct Serve {
    /// Address to listen on instead of server.listen, such as 127.0.0.1:8080; may be repeated
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Vec<SocketAddr>,
}

impl Serve {
    pub(super) fn run(self, sources: &mut Sources) -> anyhow::Result<ExitCode> {
        if !self.listen.is_empty() {
            let listen: Vec<String> = self.listen.iter().map(ToString::to_string).collect();
            sources.overrides.push((
                "server.listen".to_owned(),
                listen.join(","),
                "--listen".to_owned(),
            ));
        }
        let settings = match workplace::settings(sources) {
            Ok(settings) => settings,
            Err(code) => return Ok(code),
        };
        let path = config::state_path(&settings, &sources.environment);
        let logging = logging::start(&settings.log);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .thread_name("dingbot")
            .build()
            .context("cannot start")?;
        let done = runtime.block_on(crate::serve::run(settings, path, greet));
        // Not waited for: a look-up of a name may hang long after the drain.
        runtime.shutdown_background();
        drop(logging);
        done.map(|()| ExitCode::SUCCESS)
    }
}

/// Tells a person at the terminal where the daemon is; a unit or a container has the log.
fn greet(listen: &[SocketAddr]) {
    let Some(address) = listen.first().filter(|_| io::stdout().is_terminal()) else { return };
    let url = format!("http://{}/", reachable(*address));
    // Without a terminal after all there is nobody to greet.
    let _ = writeln!(
        io::stdout(),
        "\n  钉钉机器人已就绪：{url}  （帮助 {url}help，Ctrl-C 停止）\n  \
         The DingTalk bot is ready: {url}  (help: {url}help, Ctrl-C stops it)\n"
    );
}
