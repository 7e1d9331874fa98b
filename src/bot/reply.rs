//! The answer to what was said: recall, prompt, model; or the offline answerer.

use std::sync::Arc;

use jiff::tz::TimeZone;

use super::phrases;
use super::prompt::Prompt;
use crate::config::Settings;
use crate::language::Language;
use crate::llm::{ChatModel, ChatRequest, Finish, LlmError, offline};
use crate::memory::{Memory, Scope};
use crate::store::{Result, Store};
use crate::telemetry::clock::Clock;

/// Memories put before the model when too few fit the question: the newest ones. Words seldom
/// match a question about "me".
const AT_LEAST_NEWEST: usize = 3;
/// What a person is told once: that no model answers.
const OFFLINE_NOTICE: &str = "offline";

/// Makes answers.
#[derive(Debug)]
pub(super) struct Replier {
    pub store: Arc<dyn Store>,
    pub memory: Arc<Memory>,
    /// `None`: offline.
    pub model: Option<Arc<ChatModel>>,
    pub clock: Clock,
    pub time_zone: TimeZone,
    pub instructions: String,
    pub prompt_tokens: usize,
    pub answer_tokens: usize,
    pub recall_limit: usize,
    pub history_turns: usize,
}

/// Something that wants an answer.
pub(super) struct Question<'a> {
    pub scope: &'a Scope,
    pub thread: &'a str,
    pub nick: Option<&'a str>,
    pub text: &'a str,
    pub language: Language,
}

/// An answer.
pub(super) struct Reply {
    pub text: String,
    /// How it came about, for the metrics.
    pub outcome: &'static str,
    /// Whether it belongs into the conversation that the model looks back on.
    pub remembered_as_turn: bool,
    /// What it told that is told once.
    pub told: Option<&'static str>,
}

impl Replier {
    pub(super) fn new(
        settings: &Settings,
        store: Arc<dyn Store>,
        memory: Arc<Memory>,
        model: Option<Arc<ChatModel>>,
        clock: Clock,
    ) -> Self {
        Self {
            store,
            memory,
            model,
            clock,
            // Validated with the settings; the zone database may be missing on a bare host.
            time_zone: TimeZone::get(&settings.memory.time_zone).unwrap_or(TimeZone::UTC),
            instructions: settings.llm.system_prompt.clone(),
            prompt_tokens: settings.llm.prompt_tokens,
            answer_tokens: settings.llm.answer_tokens,
            recall_limit: settings.memory.recall_limit,
            history_turns: settings.bot.history_turns,
        }
    }

    pub(super) async fn reply(&self, question: &Question<'_>) -> Result<Reply> {
        let Some(model) = &self.model else { return self.offline(question).await };
        let memories = self.memories_for(question).await?;
        let profile = self.memory.profile(question.scope).await?;
        let turns = self.store.recent_turns(question.thread, self.history_turns).await?;
        let now = self.clock.now().to_zoned(self.time_zone.clone());
        let prompt = Prompt {
            instructions: &self.instructions,
            now: &now,
            nick: question.nick,
            profile: profile.as_ref().map(|profile| profile.text.as_str()),
            memories: &memories,
            turns: &turns,
            question: question.text,
            budget: self.prompt_tokens,
        };
        let request = ChatRequest { messages: prompt.messages(), max_tokens: self.answer_tokens };
        Ok(match model.complete(&request).await {
            Ok(completion) => {
                let mut text = completion.text;
                if completion.finish == Finish::Length {
                    text = format!("{text}\n\n{}", phrases::cut_off(question.language));
                }
                Reply { text, outcome: "answered", remembered_as_turn: true, told: None }
            }
            Err(error) => failure(&error, question.language),
        })
    }

    /// What fits the question, then the newest.
    async fn memories_for(&self, question: &Question<'_>) -> Result<Vec<String>> {
        let limit = self.recall_limit;
        let mut recalled: Vec<_> = self
            .memory
            .recall(question.scope, question.text, limit)
            .await?
            .into_iter()
            .map(|r| r.record)
            .collect();
        let missing = AT_LEAST_NEWEST.min(limit).saturating_sub(recalled.len());
        if missing > 0 {
            for newest in self.memory.list(question.scope, AT_LEAST_NEWEST).await? {
                if recalled.len() < limit && !recalled.iter().any(|r| r.id == newest.id) {
                    recalled.push(newest);
                }
            }
        }
        Ok(recalled.into_iter().map(|record| record.text).collect())
    }

    async fn offline(&self, question: &Question<'_>) -> Result<Reply> {
        let recalled = self.memory.recall(question.scope, question.text, self.recall_limit).await?;
        let recalled: Vec<String> = recalled.into_iter().map(|r| r.record.text).collect();
        let first = !self.store.was_told(&question.scope.owner(), OFFLINE_NOTICE).await?;
        let text = offline::answer(&offline::Question {
            text: question.text,
            recalled: &recalled,
            remembered: self.memory.worth_keeping(question.text).is_some(),
            language: question.language,
            first,
        });
        let told = first.then_some(OFFLINE_NOTICE);
        Ok(Reply { text, outcome: "offline", remembered_as_turn: true, told })
    }
}

/// What the person is told when the model fails, and the operator in the log.
fn failure(error: &LlmError, language: Language) -> Reply {
    let (text, outcome) = match error {
        LlmError::Refused => (phrases::model_refused(language), "refused"),
        LlmError::ContextTooLong => (phrases::too_long(language), "too_long"),
        _ => (phrases::model_down(language), "model_failed"),
    };
    tracing::warn!(%error, error_kind = error.outcome(), "the model gave no answer");
    Reply { text: text.into(), outcome, remembered_as_turn: false, told: None }
}
