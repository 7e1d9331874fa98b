//! Long-term memory: what a person told the bot, kept for that person alone.
//!
//! Promises that every call names its [`Scope`] and touches nothing outside of it, that a call
//! carried out twice for the same source leaves one memory, and that a text comes back as it was
//! said. Knows nothing of chat commands, of DingTalk or of HTTP.
//!
//! Recall gathers candidates by words ([`terms`]) and, where there is a model for it, by meaning
//! ([`meaning`]), and ranks them ([`ranking`]). What a person says in passing is condensed by the
//! model in the background ([`learning`], [`extraction`]); without a model the person's own words
//! are kept ([`statements`]).

pub mod adding;
pub mod extraction;
pub mod filter;
pub mod indexing;
pub mod learning;
mod likeness;
pub mod meaning;
pub mod question;
pub mod ranking;
pub mod reports;
pub mod statements;
pub mod terms;
pub mod transfer;

use std::sync::Arc;
use std::time::Instant;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use uuid::Uuid;

use crate::config::settings::{self, Extract};
use crate::llm::ChatModel;
use crate::store::{
    Asked, Change, Edit, EntitySummary, Evidence, Forgotten, Job, NewMemory, Part, Profile, Result,
    Selection, Store, Stored,
};
use crate::telemetry::clock::Clock;
use crate::telemetry::metrics::Metrics;

use self::adding::{Addition, Said};
use self::learning::Lessons;
use self::meaning::Meaning;
use self::question::Question;
pub use crate::store::{MemoryRecord, Scope};

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
    /// How well it fits the question; from 0 to 1, see [`ranking::best`].
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
    clock: Clock,
    extract: Extract,
    zone: TimeZone,
    meaning: Option<Arc<Meaning>>,
    model: Option<Arc<ChatModel>>,
    lessons: Arc<Lessons>,
}

/// What memory works with.
#[derive(Debug)]
pub struct Parts {
    /// Where it is kept.
    pub store: Arc<dyn Store>,
    /// What counts its work.
    pub metrics: Arc<Metrics>,
    /// What tells the time.
    pub clock: Clock,
    /// `None`: memories are recalled by their words alone.
    pub meaning: Option<Arc<Meaning>>,
    /// `None`: what people say is kept in their own words.
    pub model: Option<Arc<ChatModel>>,
    /// The bell of whoever works in the background.
    pub lessons: Arc<Lessons>,
}

impl Memory {
    /// Memory made of `parts`.
    pub fn new(settings: &settings::Memory, parts: Parts) -> Self {
        // Validated with the settings; the zone database may be missing on a bare host.
        let zone = TimeZone::get(&settings.time_zone).unwrap_or(TimeZone::UTC);
        let Parts { store, metrics, clock, meaning, model, lessons } = parts;
        Self { store, metrics, clock, extract: settings.extract, zone, meaning, model, lessons }
    }

    /// The model that makes memories of what is said, if one does.
    fn teacher(&self) -> Option<&ChatModel> {
        match self.extract {
            Extract::Auto | Extract::Model => self.model.as_deref(),
            Extract::Verbatim | Extract::Off => None,
        }
    }

    /// The day on which it is asked, where the people are.
    pub fn today(&self) -> Date {
        self.clock.now().to_zoned(self.zone.clone()).date()
    }

    /// The zone that days are meant in.
    pub fn zone(&self) -> &TimeZone {
        &self.zone
    }

    /// What a person, or whatever else a scope names, has and what still holds on this day.
    fn alive(&self, scope: &Scope) -> Selection {
        Selection { alive_on: Some(self.today()), ..Selection::of(scope) }
    }

    /// Keeps what the person asked to have kept, word for word.
    pub async fn remember(&self, scope: &Scope, said: Utterance<'_>) -> Result<Stored> {
        let started = Instant::now();
        let kept = self.keep(scope, said.text, said).await;
        self.metrics.memory_operation("remember", kept.is_ok(), started);
        kept
    }

    /// Keeps what is worth keeping of something the person said unasked: at once, or, with a model,
    /// as work in the background. Returns how much was kept at once.
    pub async fn observe(&self, scope: &Scope, said: Utterance<'_>) -> Result<usize> {
        if self.teacher().is_some() {
            if extraction::is_asked_about(said.text) {
                let message = Said { role: "user".into(), text: said.text.into(), name: None };
                let addition = Addition {
                    messages: vec![message],
                    said_at: said.said_at,
                    ..Addition::default()
                };
                self.enqueue(scope, addition, Some(said.source)).await?;
            }
            return Ok(0);
        }
        let Some(statement) = self.worth_keeping(said.text) else { return Ok(0) };
        let started = Instant::now();
        let kept = self.keep_once(scope, &statement, said).await;
        self.metrics.memory_operation("observe", kept.is_ok(), started);
        kept
    }

    /// Keeps a statement unless the person made the same one before.
    async fn keep_once(&self, scope: &Scope, text: &str, said: Utterance<'_>) -> Result<usize> {
        if self.knows(scope, text).await? {
            return Ok(0);
        }
        self.keep(scope, text, said).await.map(|_| 1)
    }

    /// Whether a memory that holds says the same.
    async fn knows(&self, scope: &Scope, text: &str) -> Result<bool> {
        let current = Selection { current_only: true, ..self.alive(scope) };
        let alike = self.ranked(&current, text, ALIKE).await?;
        Ok(alike.iter().any(|known| likeness::is_same(&known.record.text, text)))
    }

    /// The standing summary of a person; `None`: there is none.
    pub async fn profile(&self, scope: &Scope) -> Result<Option<Profile>> {
        self.store.profile(scope).await
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
            source: Some(said.source.to_owned()),
            created_at: said.said_at,
            ..new(&text, None)
        };
        self.add(scope, vec![memory]).await.map(|mut stored| stored.remove(0))
    }

    /// Keeps memories that were made by [`new`], all or none.
    pub async fn add(&self, scope: &Scope, memories: Vec<NewMemory>) -> Result<Vec<Stored>> {
        let stored = self.store.add_memories(scope, memories).await?;
        self.metrics.memories.add(stored.iter().filter(|it| it.new).count() as i64);
        if let Some(meaning) = &self.meaning {
            meaning.settle().await;
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
        let recalled = self.ranked(&self.alive(scope), question, limit).await;
        self.metrics.memory_operation("recall", recalled.is_ok(), started);
        recalled
    }

    /// Of the memories selected those that fit a question best, best first, at most `limit`.
    pub async fn search(
        &self,
        selection: &Selection,
        question: &str,
        limit: usize,
    ) -> Result<Vec<Recalled>> {
        let started = Instant::now();
        let found = self.ranked(selection, question, limit).await;
        self.metrics.memory_operation("search", found.is_ok(), started);
        found
    }

    async fn ranked(
        &self,
        selection: &Selection,
        question: &str,
        limit: usize,
    ) -> Result<Vec<Recalled>> {
        let question = Question::new(question);
        if limit == 0 {
            return Ok(Vec::new());
        }
        let vector = match &self.meaning {
            Some(meaning) => meaning.of(&question).await?,
            None => None,
        };
        if question.terms().is_empty() && vector.is_none() {
            return Ok(Vec::new());
        }
        let asked = Asked { terms: question.terms().to_vec(), vector };
        let rank = move |evidence: &[Evidence]| ranking::best(evidence, &question, limit);
        let found = self.store.find_memories(selection, asked, Box::new(rank)).await?;
        Ok(found.into_iter().map(|(record, score)| Recalled { record, score }).collect())
    }

    /// The newest memories that hold, newest first, at most `limit`.
    pub async fn list(&self, scope: &Scope, limit: usize) -> Result<Vec<MemoryRecord>> {
        self.store.select_memories(&self.alive(scope), Part::first(limit)).await
    }

    /// A part of the memories selected, newest first, and how many there are in all.
    pub async fn select(
        &self,
        selection: &Selection,
        part: Part,
    ) -> Result<(Vec<MemoryRecord>, usize)> {
        let records = self.store.select_memories(selection, part).await?;
        let count = self.store.count_memories(selection).await?;
        Ok((records, count))
    }

    /// How many memories there are that hold.
    pub async fn count(&self, scope: &Scope) -> Result<usize> {
        self.store.count_memories(&self.alive(scope)).await
    }

    /// The memory with this UUID.
    pub async fn get(&self, id: &str) -> Result<Option<MemoryRecord>> {
        self.store.memory(id).await
    }

    /// Changes the memory with this UUID; `None`: there is none.
    pub async fn edit(&self, id: &str, change: Edit) -> Result<Option<MemoryRecord>> {
        let started = Instant::now();
        let edited = self.store.edit_memory(id, change).await;
        self.metrics.memory_operation("update", edited.is_ok(), started);
        edited
    }

    /// Removes the memories selected; returns how many they were.
    pub async fn remove(&self, selection: &Selection) -> Result<usize> {
        let started = Instant::now();
        let removed = self.store.remove_memories(selection, self.clock.now_millis()).await;
        self.metrics.memory_operation("delete", removed.is_ok(), started);
        if let Ok(count) = removed {
            self.metrics.memories.sub(count as i64);
        }
        removed
    }

    /// What became of the memory with this UUID, oldest first.
    pub async fn history(&self, id: &str) -> Result<Vec<Change>> {
        self.store.history(id).await
    }

    /// A part of the work on memories, newest first, and how much there is in all.
    pub async fn jobs(&self, part: Part) -> Result<(Vec<Job>, usize)> {
        self.store.jobs(part).await
    }

    /// One work, by its UUID.
    pub async fn job(&self, id: &str) -> Result<Option<Job>> {
        self.store.job(id).await
    }

    /// The entities that have memories, by kind and id.
    pub async fn entities(&self) -> Result<Vec<EntitySummary>> {
        self.store.entities().await
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

/// A memory of a text that an actor said, or the person of the scope, with a UUID and what it is found
/// by; the rest is the caller's.
pub fn new(text: &str, actor_id: Option<String>) -> NewMemory {
    NewMemory {
        id: Uuid::now_v7().to_string(),
        text: text.to_owned(),
        words: terms::words(text, actor_id.as_deref()),
        actor_id,
        ..NewMemory::default()
    }
}
