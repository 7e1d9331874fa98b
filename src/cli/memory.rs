//! `dingbot memory`: a person's memories, beside the running daemon.

mod key;
mod model;
mod transfer;

use std::io::Write;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde::Serialize;
use uuid::Uuid;

use super::workplace::Workplace;
use crate::config::Sources;
use crate::memory::{MAX_STATEMENT_CHARS, Scope, Utterance};
use crate::printed::one_line;
use crate::store::{Forgotten, MemoryRecord};

#[derive(Debug, Args)]
pub(super) struct Memory {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    #[command(flatten)]
    Person(Person),
    /// Write memories to a file, as JSON Lines that `import` brings back
    Export(transfer::Export),
    /// Bring memories in from a file
    Import(transfer::Import),
    /// Keys with which other programs use the memory API
    Key {
        #[command(subcommand)]
        action: key::Action,
    },
    /// The model by which memories are recalled by meaning, with no network
    Model {
        #[command(subcommand)]
        action: model::Action,
    },
}

/// What is done with one person's memories.
#[derive(Debug, Subcommand)]
enum Person {
    /// Newest memories of a person, newest first
    List {
        #[command(flatten)]
        whose: Whose,
        #[command(flatten)]
        shown: Shown,
    },
    /// Memories of a person that fit a question, best first
    Search {
        #[command(flatten)]
        whose: Whose,
        #[command(flatten)]
        shown: Shown,
        /// The question
        query: String,
    },
    /// Keep a memory for a person
    Add {
        #[command(flatten)]
        whose: Whose,
        /// The statement, kept word for word
        text: String,
    },
    /// Forget one memory of a person, or all
    Delete {
        #[command(flatten)]
        whose: Whose,
        /// The memory's number, as `list` shows it
        #[arg(required_unless_present = "all", conflicts_with = "all")]
        number: Option<i64>,
        /// Forget every memory and reminder of the person
        #[arg(long)]
        all: bool,
    },
}

#[derive(Debug, Args)]
struct Whose {
    /// The person: DingTalk's staff id
    #[arg(long, value_name = "ID")]
    user: String,
}

#[derive(Debug, Args)]
struct Shown {
    /// How many at most
    #[arg(long, default_value_t = 20, value_name = "N")]
    limit: usize,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

impl Whose {
    fn scope(&self) -> anyhow::Result<Scope> {
        Scope::user(&self.user).context("--user must not be empty")
    }
}

/// A memory as it is printed.
#[derive(Serialize)]
struct Line<'a> {
    number: i64,
    id: &'a str,
    text: &'a str,
    created_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    score: Option<f64>,
}

impl Memory {
    pub(super) fn run(self, sources: &Sources, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
        match self.action {
            Action::Person(action) => action.run(sources, out),
            Action::Export(export) => export.run(sources, out),
            Action::Import(import) => import.run(sources, out),
            Action::Key { action } => key::run(action, sources, out),
            Action::Model { action } => model::run(&action, sources, out),
        }
    }
}

impl Person {
    fn run(self, sources: &Sources, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
        let create = matches!(self, Self::Add { .. });
        let place = match Workplace::open(sources, create)? {
            Ok(place) => place,
            Err(code) => return Ok(code),
        };
        let memory = &place.memory;
        place.runtime.block_on(async {
            let now = Timestamp::now().as_millisecond();
            let source = format!("command:{}", Uuid::new_v4());
            match self {
                Self::List { whose, shown } => {
                    for record in memory.list(&whose.scope()?, shown.limit).await? {
                        print(out, &record, None, shown.json)?;
                    }
                }
                Self::Search { whose, shown, query } => {
                    for found in memory.recall(&whose.scope()?, &query, shown.limit).await? {
                        print(out, &found.record, Some(found.score), shown.json)?;
                    }
                }
                Self::Add { whose, text } => {
                    anyhow::ensure!(!text.trim().is_empty(), "TEXT must not be empty");
                    anyhow::ensure!(
                        text.chars().count() <= MAX_STATEMENT_CHARS,
                        "TEXT must have at most {MAX_STATEMENT_CHARS} characters"
                    );
                    let said = Utterance { text: &text, source: &source, said_at: now };
                    let stored = memory.remember(&whose.scope()?, said).await?;
                    writeln!(out, "#{} {}", stored.number, stored.id)?;
                }
                Self::Delete { whose, number: Some(number), .. } => {
                    let forgotten = memory.forget(&whose.scope()?, number, &source, now).await?;
                    anyhow::ensure!(
                        forgotten == Forgotten::Now,
                        "{} has no memory #{number}; see: dingbot memory list --user {}",
                        whose.user,
                        whose.user
                    );
                    writeln!(out, "forgotten: 1")?;
                }
                Self::Delete { whose, number: None, .. } => {
                    let count = memory.forget_all(&whose.scope()?, &source, now).await?;
                    writeln!(out, "forgotten: {count}")?;
                }
            }
            Ok(ExitCode::SUCCESS)
        })
    }
}

fn print(
    out: &mut dyn Write,
    record: &MemoryRecord,
    score: Option<f64>,
    json: bool,
) -> anyhow::Result<()> {
    let created = Timestamp::from_millisecond(record.created_at)?;
    let line = Line {
        number: record.number,
        id: &record.id,
        text: &record.text,
        created_at: format!("{created:.0}"),
        score,
    };
    if json {
        writeln!(out, "{}", serde_json::to_string(&line)?)?;
    } else {
        let score = score.map(|s| format!("  {s:.2}")).unwrap_or_default();
        let text = one_line(line.text);
        writeln!(out, "#{}  {}{score}  {text}", line.number, line.created_at)?;
    }
    Ok(())
}
