//! `dingbot doctor`: why the bot cannot be reached, or cannot answer.

mod open_port;

use std::io::{ErrorKind, Write};
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, ValueEnum};
use ipnet::IpNet;

use self::open_port::Wish;
use crate::config::Sources;
use crate::doctor;
use crate::doctor::ecs::open_port::source;
use crate::doctor::facts::Facts;
use crate::doctor::finding::State;
use crate::doctor::report::Report;
use crate::doctor::target::{self, Target};
use crate::language::Language;

/// Nothing failed, and there are warnings.
const ONLY_WARNINGS: u8 = 2;

/// What stands below the options in the help.
const MORE: &str = "\
Exit codes: 0 nothing fails (⏳ is no fault), 1 something fails, 2 only warnings, 64 usage.
It changes nothing but with --open-port, and asks the model for one token.

  sudo dingbot doctor                                     everything, on the host
  dingbot doctor --target http://8.222.215.42:9090        from another machine
  dingbot doctor --open-port --source 203.0.113.0/24      opens the port in the security group";

#[derive(Debug, Args)]
#[command(after_long_help = MORE)]
pub(super) struct Doctor {
    /// Look at this server from here instead, such as `http://8.222.215.42:9090`: from a laptop
    #[arg(long, value_name = "URL", conflicts_with_all = ["open_port", "source"])]
    target: Option<Target>,
    /// Language of the report [default: from `LC_ALL`, `LC_MESSAGES` or `LANG`]
    #[arg(long, value_enum, value_name = "LANGUAGE")]
    lang: Option<Lang>,
    /// Print JSON, in both languages
    #[arg(long)]
    json: bool,
    /// Add a rule to the ECS security group that opens the bot's port to --source, after asking
    #[arg(long, requires = "source", conflicts_with = "json")]
    open_port: bool,
    /// Address or network of the callers, such as 203.0.113.7 or 203.0.113.0/24: whether the
    /// security group lets them in, or whom to let in with --open-port
    #[arg(long, value_name = "CIDR", value_parser = source)]
    source: Option<IpNet>,
    /// Port to open [default: the bot's]
    #[arg(long, requires = "open_port", value_parser = clap::value_parser!(u16).range(1..))]
    port: Option<u16>,
    /// Do not ask
    #[arg(long, requires = "open_port")]
    yes: bool,
}

/// A language of the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Lang {
    /// Chinese
    Zh,
    /// English
    En,
}

impl Doctor {
    pub(super) fn run(self, sources: &Sources, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
        let facts = Facts::new(sources.clone()).for_visitor(self.source);
        let language = match self.lang {
            Some(Lang::Zh) => Language::Chinese,
            Some(Lang::En) => Language::English,
            None => language_of(|name| facts.variable(name)),
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("cannot start")?;
        if let Some(source) = self.source.filter(|_| self.open_port) {
            let wish = Wish { port: self.port, source, yes: self.yes };
            let done = runtime.block_on(open_port::run(&facts, wish, language, out));
            runtime.shutdown_background();
            return done;
        }
        let report = runtime.block_on(async {
            match &self.target {
                Some(target) => target::examine(target, |name| facts.variable(name)).await,
                None => doctor::examine(&facts).await,
            }
        });
        // A command or a name that hangs on a thread of its own is not waited for.
        runtime.shutdown_background();
        let written =
            if self.json { report.write_json(out) } else { report.write_text(language, out) };
        match written.and_then(|()| out.flush()) {
            // `dingbot doctor | head -1` has read enough; what was found remains.
            Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error.into()),
            _ => Ok(exit_code(&report)),
        }
    }
}

fn exit_code(report: &Report) -> ExitCode {
    match report.verdict() {
        State::Failed => ExitCode::FAILURE,
        State::Warning => ExitCode::from(ONLY_WARNINGS),
        State::Fine | State::Unseen => ExitCode::SUCCESS,
    }
}

/// The language that the locale asks for; Chinese when it asks for none, as the bot itself.
fn language_of<'a>(variable: impl Fn(&str) -> Option<&'a str>) -> Language {
    let locale = ["LC_ALL", "LC_MESSAGES", "LANG"].iter().find_map(|name| variable(name));
    match locale {
        Some(locale) if locale.starts_with("en") => Language::English,
        _ => Language::Chinese,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_locale_decides_in_the_order_of_posix() {
        let language = |set: &[(&str, &'static str)]| {
            language_of(|name| set.iter().find(|(known, _)| *known == name).map(|(_, it)| *it))
        };
        assert_eq!(language(&[("LANG", "en_US.UTF-8")]), Language::English);
        assert_eq!(language(&[("LANG", "en_US.UTF-8"), ("LC_ALL", "zh_CN")]), Language::Chinese);
        assert_eq!(language(&[("LANG", "C.UTF-8")]), Language::Chinese);
        assert_eq!(language(&[]), Language::Chinese);
    }
}
