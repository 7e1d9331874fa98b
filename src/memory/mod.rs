//! Long-term memory: what a person told the bot, kept for that person alone.
//!
//! Promises that every call names its [`Scope`] and touches nothing outside of it, that a call
//! carried out twice for the same source leaves one memory, and that a text comes back as it was
//! said. Knows nothing of chat commands, of DingTalk or of HTTP.
//!
//! Recall gathers candidates and ranks them ([`ranking`]). Today the candidates are lexical
//! ([`terms`]); vectors will be a second list of candidates beside them. Extraction
//! ([`statements`]) keeps a person's own words; a model that condenses them will stand in its
//! place.

pub mod extraction;
pub mod ranking;
pub mod statements;
pub mod terms;

use std::sync::Arc;
use std::time::Instant;

use uuid::Uuid;

use crate::config::settings::Extract;
use crate::store::{Forgotten, MemoryRecord, NewMemory, Result, Store, Stored};
use crate::telemetry::metrics::Metrics;

pub use crate::store::Scope;

/// Longest statement kept, in characters; what is longer is a document, not a fact about somebody.
pub const MAX_STATEMENT_CHARS: usize = 2_000;

/// How many memories are compared with a statement to see whether it is known: the same words rank
/// first, together with what repeats them.
const ALIKE: usize = 8;

/// A memory that came to mind.
#[derive(Debug, Clone, PartialEq)]
pub struct Recalled {
    /// The memory.
    pub record: MemoryRecord,
    /// How well it fits the question; larger is better, comparable within one recall only.
    pub score: f64,
}

/// Something a person said, as memory sees it.
#[derive(Debug, Clone, Copy)]
pub struct Utterance<'a> {
    /// The words.
    pub text: &'a str,
    /// What it was said in; the same source is never remembered twice.
    pub source: &'a str,
    /// When, in milliseconds since the Unix epoch.
    pub said_at: i64,
}

/// Long-term memory.
#[derive(Debug)]
pub struct Memory {
    store: Arc<dyn Store>,
    metrics: Arc<Metrics>,
    extract: Extract,
}

impl Memory {
    /// Memory kept in `store`.
    pub fn new(store: Arc<dyn Store>, metrics: Arc<Metrics>, extract: Extract) -> Self {
        Self { store, metrics, extract }
    }

    /// Keeps what the person asked to have kept, word for word.
    pub async fn remember(&self, scope: &Scope, said: Utterance<'_>) -> Result<Stored> {
        let started = Instant::now();
        let kept = self.keep(scope, said.text, said).await;
        self.metrics.memory_operation("remember", kept.is_ok(), started);
        kept
    }

    /// Keeps what is worth keeping of something the person said unasked; returns how much that
    /// was.
    pub async fn observe(&self, scope: &Scope, said: Utterance<'_>) -> Result<usize> {
        let Some(statement) = self.worth_keeping(said.text) else { return Ok(0) };
        let started = Instant::now();
        let kept = self.keep_once(scope, &statement, said).await;
        self.metrics.memory_operation("observe", kept.is_ok(), started);
        kept
    }

    /// Keeps a statement unless the person made the very same one before.
    async fn keep_once(&self, scope: &Scope, text: &str, said: Utterance<'_>) -> Result<usize> {
        let alike = self.ranked(scope, text, ALIKE).await?;
        if alike.iter().any(|known| known.record.text == text) {
            return Ok(0);
        }
        self.keep(scope, text, said).await.map(|_| 1)
    }

    /// What [`observe`](Self::observe) would keep of a text.
    pub fn worth_keeping(&self, text: &str) -> Option<String> {
        match self.extract {
            Extract::Off => None,
            Extract::Auto | Extract::Verbatim | Extract::Model => statements::of(text),
        }
    }

    async fn keep(&self, scope: &Scope, text: &str, said: Utterance<'_>) -> Result<Stored> {
        let text: String = text.trim().chars().take(MAX_STATEMENT_CHARS).collect();
        let memory = NewMemory {
            id: Uuid::now_v7().to_string(),
            terms: terms::counted(&text),
            text,
            actor_id: None,
            source: Some(said.source.to_owned()),
            created_at: said.said_at,
        };
        let mut stored = self.store.add_memories(scope, vec![memory]).await?;
        let stored = stored.remove(0);
        if stored.new {
            self.metrics.memories.inc();
        }
        Ok(stored)
    }

    /// The memories that fit a question best, best first, at most `limit`.
    pub async fn recall(
        &self,
        scope: &Scope,
        question: &str,
        limit: usize,
    ) -> Result<Vec<Recalled>> {
        let started = Instant::now();
        let recalled = self.ranked(scope, question, limit).await;
        self.metrics.memory_operation("recall", recalled.is_ok(), started);
        recalled
    }

    async fn ranked(&self, scope: &Scope, question: &str, limit: usize) -> Result<Vec<Recalled>> {
        // A document pasted as a question must not keep others waiting for theirs.
        let question: String = question.chars().take(MAX_STATEMENT_CHARS).collect();
        let asked: Vec<String> = terms::counted(&question).into_iter().map(|(t, _)| t).collect();
        if asked.is_empty() || limit == 0 {
            return Ok(Vec::new());
        }
        let statistics = self.store.lexical_statistics(scope, asked).await?;
        let best = ranking::bm25(&statistics, limit);
        let keys = best.iter().map(|(key, _)| *key).collect();
        let records = self.store.memories_by_key(scope, keys).await?;
        let found = best.into_iter().zip(records);
        // One that was forgotten since the statistics were read has no record.
        Ok(found
            .filter_map(|((_, score), record)| Some(Recalled { record: record?, score }))
            .collect())
    }

    /// The newest memories, newest first, at most `limit`.
    pub async fn list(&self, scope: &Scope, limit: usize) -> Result<Vec<MemoryRecord>> {
        self.store.list_memories(scope, limit).await
    }

    /// How many memories there are.
    pub async fn count(&self, scope: &Scope) -> Result<usize> {
        self.store.count_memories(scope).await
    }

    /// Forgets the memory with this number; `source` is what asked for it.
    pub async fn forget(
        &self,
        scope: &Scope,
        number: i64,
        source: &str,
        now: i64,
    ) -> Result<Forgotten> {
        let started = Instant::now();
        let forgotten = self.store.forget_memory(scope, number, source, now).await;
        self.metrics.memory_operation("forget", forgotten.is_ok(), started);
        if forgotten == Ok(Forgotten::Now) {
            self.metrics.memories.dec();
        }
        forgotten
    }

    /// Forgets everything of a scope that was said before `now`, reminders too; returns how many
    /// there were.
    pub async fn forget_all(&self, scope: &Scope, source: &str, now: i64) -> Result<usize> {
        let started = Instant::now();
        let count = self.store.forget_all(scope, source, now).await;
        self.metrics.memory_operation("forget_all", count.is_ok(), started);
        if let Ok(total) = self.store.total_memories().await {
            self.metrics.memories.set(total as i64);
        }
        count
    }
}
