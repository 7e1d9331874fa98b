//! `dingbot doctor`: why the bot cannot be reached, or cannot answer.

use std::io::Write;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, ValueEnum};

use crate::config::Sources;
use crate::doctor::facts::Facts;
use crate::doctor::finding::State;
use crate::doctor::{self, report::Report};
use crate::language::Language;

/// Nothing failed, and there are warnings.
const ONLY_WARNINGS: u8 = 2;

#[derive(Debug, Args)]
pub(super) struct Doctor {
    /// Language of the report [default: from `LC_ALL`, `LC_MESSAGES` or `LANG`]
    #[arg(long, value_enum, value_name = "LANGUAGE")]
    lang: Option<Lang>,
    /// Print JSON, in both languages
    #[arg(long)]
    json: bool,
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
        let facts = Facts::new(sources.clone());
        let language = match self.lang {
            Some(Lang::Zh) => Language::Chinese,
            Some(Lang::En) => Language::English,
            None => language_of(|name| facts.variable(name)),
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("cannot start")?;
        let report = runtime.block_on(doctor::examine(&facts));
        // A command or a name that hangs on a thread of its own is not waited for.
        runtime.shutdown_background();
        if self.json {
            report.write_json(out)?;
        } else {
            report.write_text(language, out)?;
        }
        Ok(exit_code(&report))
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
