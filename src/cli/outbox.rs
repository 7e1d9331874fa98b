//! `dingbot outbox`: answers and pushes that could not be delivered.

use std::io::Write;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde::Serialize;

use super::workplace::Workplace;
use crate::bot::outgoing::Outgoing;
use crate::config::Sources;
use crate::printed::one_line;
use crate::store::{Delivery, OutboxId, OutboxState, OutboxStore};

/// Characters of a message that a line shows.
const EXCERPT: usize = 60;

#[derive(Debug, Args)]
pub(super) struct Outbox {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// What was given up, and why
    List {
        /// What still waits for delivery, too
        #[arg(long)]
        all: bool,
        /// How many at most
        #[arg(long, default_value_t = 100, value_name = "N")]
        limit: usize,
        /// One JSON object a line, with the whole text
        #[arg(long)]
        json: bool,
    },
    /// Try again what was given up; the running daemon takes it up within a second
    Retry(Which),
    /// Throw away what was given up
    Drop(Which),
}

#[derive(Debug, Args)]
struct Which {
    /// Numbers as `list` shows them
    #[arg(required_unless_present = "all", conflicts_with = "all", value_name = "ID")]
    ids: Vec<OutboxId>,
    /// All of them
    #[arg(long)]
    all: bool,
}

impl Which {
    fn ids(&self) -> Option<&[OutboxId]> {
        if self.all { None } else { Some(&self.ids) }
    }

    /// Fails if some of the numbers named nothing that was given up.
    fn expect(&self, done: usize) -> anyhow::Result<()> {
        let missing = self.ids().map_or(0, |ids| ids.len().saturating_sub(done));
        anyhow::ensure!(
            missing == 0,
            "{missing} of these are not among the undeliverable; see: dingbot outbox list"
        );
        Ok(())
    }
}

/// A delivery as it is printed.
#[derive(Serialize)]
struct Line<'a> {
    id: OutboxId,
    state: &'static str,
    to: &'a str,
    created_at: String,
    attempts: u32,
    error: Option<&'a str>,
    text: &'a str,
}

impl Outbox {
    pub(super) fn run(self, sources: &Sources, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
        let place = match Workplace::open(sources, false)? {
            Ok(place) => place,
            Err(code) => return Ok(code),
        };
        place.runtime.block_on(async {
            match self.action {
                Action::List { all, limit, json } => {
                    let state = (!all).then_some(OutboxState::Dead);
                    for delivery in place.store.deliveries(state, limit).await? {
                        print(out, &delivery, json)?;
                    }
                }
                Action::Retry(which) => {
                    let now = Timestamp::now().as_millisecond();
                    let revived = place.store.revive(which.ids(), now).await?;
                    writeln!(out, "to be delivered again: {revived}")?;
                    which.expect(revived)?;
                }
                Action::Drop(which) => {
                    let dropped = place.store.drop_dead(which.ids()).await?;
                    writeln!(out, "dropped: {dropped}")?;
                    which.expect(dropped)?;
                }
            }
            Ok(ExitCode::SUCCESS)
        })
    }
}

fn print(out: &mut dyn Write, delivery: &Delivery, json: bool) -> anyhow::Result<()> {
    let outgoing: Option<Outgoing> = serde_json::from_str(&delivery.payload).ok();
    let line = Line {
        id: delivery.id,
        state: match delivery.state {
            OutboxState::Waiting => "waiting",
            OutboxState::Dead => "dead",
        },
        to: &delivery.lane,
        created_at: format!("{:.0}", Timestamp::from_millisecond(delivery.created_at)?),
        attempts: delivery.attempts,
        error: delivery.last_error.as_deref(),
        text: outgoing.as_ref().map_or("", |o| o.text.as_str()),
    };
    if json {
        writeln!(out, "{}", serde_json::to_string(&line)?)?;
        return Ok(());
    }
    let excerpt: String = one_line(line.text).chars().take(EXCERPT).collect();
    let Line { id, state, created_at, attempts, .. } = line;
    let (to, error) = (one_line(line.to), one_line(line.error.unwrap_or("-")));
    writeln!(out, "{id}  {state}  {created_at}  attempts={attempts}  {to}  {error}  {excerpt}")?;
    Ok(())
}
