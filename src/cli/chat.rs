//! `dingbot chat`: the bot on the terminal, with the same memory and model, without DingTalk.

use std::io::{self, BufRead, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use jiff::Timestamp;
use tokio::sync::Notify;
use uuid::Uuid;

use super::workplace::Workplace;
use crate::bot::responder::{Incoming, Responder};
use crate::bot::{Message, commands};
use crate::config::Sources;
use crate::dingtalk::DingTalk;
use crate::dingtalk::callback::Callback;
use crate::memory::{Scope, Utterance};
use crate::printed::visible;
use crate::serve;
use crate::store::{ConversationStore, Store};
use crate::telemetry::clock::Clock;

#[derive(Debug, Args)]
pub(super) struct Chat {
    /// Whose memories: a staff id, or a name of your own
    #[arg(long, value_name = "ID", default_value = "terminal")]
    user: String,
}

impl Chat {
    pub(super) fn run(self, sources: &Sources, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
        anyhow::ensure!(Scope::user(&self.user).is_some(), "--user must not be empty");
        let place = match Workplace::open(sources, true)? {
            Ok(place) => place,
            Err(code) => return Ok(code),
        };
        let settings = &place.settings;
        let clock = Clock::System;
        let dingtalk =
            DingTalk::new(&settings.dingtalk, Arc::clone(&place.metrics), clock.clone())?;
        let responder = Responder::new(
            settings,
            Arc::clone(&place.store) as Arc<dyn Store>,
            Arc::clone(&place.memory),
            serve::model(settings, &place.metrics)?,
            Arc::new(dingtalk),
            clock,
            // A reminder made here is pushed by the daemon, which looks for new ones by itself.
            Arc::new(Notify::new()),
        );
        let interactive = io::stdin().is_terminal();
        if interactive {
            writeln!(out, "dingbot {} — /help 查看命令，Ctrl-D 退出 (quit)", crate::VERSION)?;
        }
        let mut lines = io::stdin().lock().lines();
        loop {
            if interactive {
                write!(out, "> ")?;
                out.flush()?;
            }
            let Some(line) = lines.next().transpose()? else { return Ok(ExitCode::SUCCESS) };
            if line.trim().is_empty() {
                continue;
            }
            let answer = place.runtime.block_on(self.say(&line, &responder, &place))?;
            writeln!(out, "{}", visible(&answer))?;
        }
    }

    async fn say(
        &self,
        line: &str,
        responder: &Responder,
        place: &Workplace,
    ) -> anyhow::Result<String> {
        let message = Message::new(Callback::text(line, &self.user));
        let source = format!("chat:{}", Uuid::new_v4());
        let said_at = Timestamp::now().as_millisecond();
        let incoming = Incoming { message: &message, source: &source, said_at };
        let answer = responder.respond(&incoming).await?;
        place.store.continue_thread(answer.continuation).await?;
        if let Some(scope) = message.scope().filter(|_| commands::parse(line).is_none()) {
            let said = Utterance { text: line, source: &source, said_at };
            place.memory.observe(&scope, said).await?;
        }
        Ok(answer.text)
    }
}
