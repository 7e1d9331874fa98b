//! `dingbot doctor --open-port`: shows the rule, asks, and adds it.

use std::io::{self, BufRead, IsTerminal, Write};
use std::process::ExitCode;

use ipnet::IpNet;

use crate::cli::{USAGE, complaints};
use crate::doctor::ecs::open_port::{self, Proposal, Refusal, State};
use crate::doctor::facts::Facts;
use crate::language::Language;

/// What is asked for on the command line.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wish {
    pub(super) port: Option<u16>,
    pub(super) source: IpNet,
    /// Not to ask.
    pub(super) yes: bool,
}

/// Carries out a wish.
pub(super) async fn run(
    facts: &Facts,
    wish: Wish,
    language: Language,
    out: &mut dyn Write,
) -> anyhow::Result<ExitCode> {
    let done = match propose(facts, wish).await {
        Ok(proposal) => add(&proposal, wish.yes, language, out).await?,
        Err(refusal) => Err(refusal),
    };
    Ok(match done {
        Ok(code) => code,
        Err(Refusal(text)) => {
            let _ = writeln!(complaints::errors(), "dingbot: {}", text.of(language));
            ExitCode::FAILURE
        }
    })
}

async fn propose(facts: &Facts, wish: Wish) -> Result<Proposal, Refusal> {
    let port = open_port::port(facts, wish.port).await?;
    open_port::propose(facts, port, wish.source).await
}

async fn add(
    proposal: &Proposal,
    yes: bool,
    language: Language,
    out: &mut dyn Write,
) -> anyhow::Result<Result<ExitCode, Refusal>> {
    match proposal.state() {
        State::New => {}
        State::Open(text) => {
            writeln!(out, "✅ {}", text.of(language))?;
            return Ok(Ok(ExitCode::SUCCESS));
        }
        State::Overruled(text) => return Ok(Err(Refusal(text.clone()))),
    }
    writeln!(out, "{}", proposal.words().of(language))?;
    for note in proposal.notes() {
        writeln!(out, "{}", note.of(language))?;
    }
    if !yes {
        if !io::stdin().is_terminal() {
            let text = language.pick(
                "没有终端可以确认：加 --yes 直接添加，或自己执行",
                "there is no terminal to ask on: add --yes, or run this yourself",
            );
            let command = proposal.command();
            let _ = writeln!(complaints::errors(), "dingbot: {text}\n  $ {command}");
            return Ok(Ok(ExitCode::from(USAGE)));
        }
        write!(out, "{} [y/N] ", language.pick("添加这条规则？", "Add this rule?"))?;
        out.flush()?;
        let mut answer = String::new();
        io::stdin().lock().read_line(&mut answer)?;
        if !matches!(answer.trim().to_lowercase().as_str(), "y" | "yes" | "是") {
            writeln!(out, "{}", language.pick("没有修改", "Nothing was changed"))?;
            return Ok(Ok(ExitCode::FAILURE));
        }
    }
    Ok(match proposal.add().await {
        Ok(text) => {
            writeln!(out, "✅ {}", text.of(language))?;
            Ok(ExitCode::SUCCESS)
        }
        Err(refusal) => Err(refusal),
    })
}
