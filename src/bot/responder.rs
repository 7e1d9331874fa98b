//! What is answered to a message: an open question, a command, a reply; and an honest sentence
//! for what the bot cannot use.

mod carry_out;

use std::sync::Arc;
use std::time::Duration;

use super::commands;
use super::message::Message;
use super::phrases;
use super::reply::{Question, Replier};
use crate::config::Settings;
use crate::dingtalk::DingTalk;
use crate::dingtalk::callback::Content;
use crate::language::Language;
use crate::llm::ChatModel;
use crate::memory::{Memory, Scope};
use crate::store::{Continuation, NewTurn, Result, Store, TurnRole};
use crate::telemetry::clock::Clock;
use tokio::sync::Notify;

/// How long the bot waits for a yes.
const QUESTION_OPEN: Duration = Duration::from_secs(5 * 60);
/// What the bot asks before it forgets everything.
const FORGET_ALL: &str = "forget-all";

/// A message to be answered.
#[derive(Debug, Clone, Copy)]
pub struct Incoming<'a> {
    /// The message.
    pub message: &'a Message,
    /// Names it for ever: what it changes is changed once.
    pub source: &'a str,
    /// When it came, in milliseconds since the Unix epoch.
    pub said_at: i64,
}

/// An answer, and all that comes with it.
#[derive(Debug, Clone)]
pub struct Answer {
    /// What is said, in Markdown; empty: nothing.
    pub text: String,
    /// How it came about, for the metrics.
    pub outcome: &'static str,
    /// How the conversation goes on.
    pub continuation: Continuation,
}

impl Answer {
    fn plain(text: impl Into<String>, outcome: &'static str) -> Self {
        Self { text: text.into(), outcome, continuation: Continuation::default() }
    }

    /// The answer to a message that could not be worked on.
    pub(super) fn failed(message: &Message) -> Self {
        let language = Language::of(message.text().unwrap_or_default());
        Self::plain(phrases::failed(language), "failed")
    }
}

/// What of the house the responder needs.
#[derive(Debug)]
pub struct Responder {
    replier: Replier,
    memory: Arc<Memory>,
    store: Arc<dyn Store>,
    dingtalk: Arc<DingTalk>,
    clock: Clock,
    /// Told when there is a new reminder.
    alarm: Arc<Notify>,
}

impl Responder {
    /// A responder; without a `model` it answers offline.
    pub fn new(
        settings: &Settings,
        store: Arc<dyn Store>,
        memory: Arc<Memory>,
        model: Option<Arc<ChatModel>>,
        dingtalk: Arc<DingTalk>,
        clock: Clock,
        alarm: Arc<Notify>,
    ) -> Self {
        let replier =
            Replier::new(settings, Arc::clone(&store), Arc::clone(&memory), model, clock.clone());
        Self { replier, memory, store, dingtalk, clock, alarm }
    }

    /// Answers a message. An error means that the store failed: the message can be tried again.
    pub async fn respond(&self, incoming: &Incoming<'_>) -> Result<Answer> {
        let mut answer = self.answer(incoming).await?;
        let message = incoming.message;
        answer.continuation.thread = message.thread();
        answer.continuation.user_id = message.user_id().unwrap_or_default().to_owned();
        answer.continuation.source = incoming.source.to_owned();
        Ok(answer)
    }

    async fn answer(&self, incoming: &Incoming<'_>) -> Result<Answer> {
        let message = incoming.message;
        let Some(scope) = message.scope() else {
            // The way in refuses such a message; it has nobody to answer to.
            return Ok(Answer::plain("", "nobody"));
        };
        let Some(text) = message.text() else { return Ok(unusable(&message.callback.content)) };
        let language = Language::of(text);
        if let Some(answer) = self.to_open_question(incoming, &scope, text, language).await? {
            return Ok(answer);
        }
        if let Some(command) = commands::parse(text) {
            let language = self.language_of_command(message, text).await?;
            return self.carry_out(command, incoming, &scope, language).await;
        }
        self.converse(incoming, &scope, text, language).await
    }

    async fn converse(
        &self,
        incoming: &Incoming<'_>,
        scope: &Scope,
        text: &str,
        language: Language,
    ) -> Result<Answer> {
        let message = incoming.message;
        let thread = message.thread();
        let reply = self
            .replier
            .reply(&Question {
                scope,
                thread: &thread,
                nick: message.callback.sender.nick.as_deref(),
                text,
                language,
            })
            .await?;
        let mut answer = Answer::plain(reply.text, reply.outcome);
        answer.continuation.told = reply.told;
        if reply.remembered_as_turn {
            let turn = |role, text: &str, at| NewTurn { role, text: text.to_owned(), at };
            answer.continuation.turns = vec![
                turn(TurnRole::User, text, incoming.said_at),
                turn(TurnRole::Assistant, &answer.text, self.clock.now_millis()),
            ];
        }
        if let Content::RichText { pictures: 1.., .. } = message.callback.content {
            answer.text = format!("{}\n\n{}", answer.text, phrases::pictures_unseen(language));
        }
        Ok(answer)
    }

    /// The language to answer a command in: its own words', else the one the person wrote in last.
    async fn language_of_command(&self, message: &Message, text: &str) -> Result<Language> {
        let words = commands::free_words(text);
        if words.chars().any(char::is_alphabetic) {
            return Ok(Language::of(&words));
        }
        let turns = self.store.recent_turns(&message.thread(), 2).await?;
        let said = turns.iter().rev().find(|turn| turn.role == TurnRole::User);
        Ok(said.map_or_else(Language::default, |turn| Language::of(&turn.text)))
    }

    /// The answer to a yes that the bot waits for. Anything else takes the question back.
    async fn to_open_question(
        &self,
        incoming: &Incoming<'_>,
        scope: &Scope,
        text: &str,
        language: Language,
    ) -> Result<Option<Answer>> {
        if !is_yes(text) {
            return Ok(None);
        }
        let thread = incoming.message.thread();
        // When it was said counts, not when its turn came.
        match self.store.open_question(&thread, incoming.said_at).await?.as_deref() {
            Some(FORGET_ALL) => self.forget_all(incoming, scope, language).await.map(Some),
            _ => Ok(None),
        }
    }
}

/// An honest sentence for what the bot cannot use yet.
fn unusable(content: &Content) -> Answer {
    let text = match content {
        Content::Text(_) => phrases::greeting(Language::Chinese).to_owned(),
        Content::RichText { pictures: 0, .. } => phrases::greeting(Language::Chinese).to_owned(),
        Content::RichText { .. } | Content::Picture => phrases::picture().to_owned(),
        Content::Audio { .. } => phrases::voice().to_owned(),
        Content::Video => phrases::video().to_owned(),
        Content::File { name } => phrases::file(name.as_deref()),
        Content::OverQuota { .. } => return Answer::plain("", "over_quota"),
        Content::Other { .. } => phrases::unknown_kind().to_owned(),
    };
    Answer::plain(text, "unusable")
}

fn is_yes(text: &str) -> bool {
    let bare = text.trim_end_matches(|c: char| !c.is_alphanumeric()).to_lowercase();
    // Courtesy is no consent: "好的" and "ok" are said to anything.
    matches!(bare.as_str(), "是" | "是的" | "确认" | "确定" | "yes" | "confirm")
}
