//! Learning in the background: what somebody said is made into memories by the model.
//!
//! What is to be learnt is kept as a job first, and whoever asked for it may go. Of one person the
//! first is learnt first, for what was said later takes the place of what was said before; several
//! people's side by side. While the model does not answer, everything waits; a message that the
//! model itself fails on is kept word for word in the end. Then the profiles of those are written
//! of whom enough has changed.

use std::time::{Duration, Instant};

use backon::{BackoffBuilder, ExponentialBuilder};
use futures_util::StreamExt;
use futures_util::stream;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::adding::{Added, Addition, Said, added_as_json, scope_as_json};
use super::extraction::prompt::{MAX_KNOWN, MAX_UTTERANCE_CHARS};
use super::extraction::{self, ExtractError, Known, profile};
use super::{MAX_STATEMENT_CHARS, Memory, Utterance, likeness, new, statements};
use crate::live::Live;
use crate::llm::ChatModel;
use crate::store::{
    Entity, Job, JobEnd, NewJob, NewMemory, Part, Profile, Result, Scope, Selection, StoreError,
};

/// Messages that the model is asked about at a time.
const SIDE_BY_SIDE: usize = 4;
/// Jobs read at a time.
const AT_A_TIME: usize = 32;
/// How often it looks without being told.
const SWEEP: Duration = Duration::from_secs(30);
/// How long to rest when the store failed.
const STORE_PAUSE: Duration = Duration::from_secs(5);
/// How often the model may fail on one message before its words are kept as they are.
const MAX_ATTEMPTS: u32 = 3;
const FIRST_WAIT: Duration = Duration::from_secs(5);
const LONGEST_WAIT: Duration = Duration::from_secs(10 * 60);
/// People whose profiles are looked at in one round.
const PROFILES_AT_A_TIME: usize = 16;
/// Memories that a profile is made of, the newest.
const MEMORIES_OF_A_PROFILE: usize = 200;

/// Rings for work, and tells that some of it is over.
#[derive(Debug, Default)]
pub struct Lessons {
    bell: Notify,
    progress: watch::Sender<Progress>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Progress {
    /// Attempts that ended, this way or that.
    attempts: u64,
    /// The model does not answer.
    rests: bool,
}

/// What is to be learnt, as it is kept.
#[derive(Debug, Serialize, Deserialize)]
struct Lesson {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    user_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    agent_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    app_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    run_id: Option<String>,
    messages: Vec<Said>,
    said_at: i64,
    /// What the message is known by elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    source: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    metadata: Option<Map<String, Value>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires_on: Option<Date>,
}

impl Lesson {
    fn of(scope: &Scope, addition: Addition, source: Option<&str>) -> Self {
        let id = |entity| scope.id(entity).map(str::to_owned);
        Self {
            user_id: id(Entity::User),
            agent_id: id(Entity::Agent),
            app_id: id(Entity::App),
            run_id: id(Entity::Run),
            messages: addition.messages,
            said_at: addition.said_at,
            source: source.map(str::to_owned),
            metadata: addition.metadata,
            expires_on: addition.expires_on,
        }
    }

    fn scope(&self) -> Option<Scope> {
        let ids = [
            (Entity::User, &self.user_id),
            (Entity::Agent, &self.agent_id),
            (Entity::App, &self.app_id),
            (Entity::Run, &self.run_id),
        ];
        let named = ids.into_iter().filter_map(|(entity, id)| Some((entity, id.as_deref()?)));
        named
            .into_iter()
            .try_fold(Scope::default(), |scope, (entity, id)| scope.with(entity, id).ok())
    }

    /// What each speaker said, in as few pieces as the model takes: one call a piece.
    fn utterances(&self) -> Vec<(Option<&str>, String)> {
        let mut pieces: Vec<(Option<&str>, String)> = Vec::new();
        // Not the bot's own claims about the person.
        let is_own = |said: &&Said| !matches!(said.role.as_str(), "assistant" | "system");
        for said in self.messages.iter().filter(is_own) {
            let (name, text) = (said.name.as_deref(), said.text.trim());
            let last = pieces.iter_mut().rfind(|(speaker, _)| *speaker == name);
            match last {
                Some((_, before))
                    if before.chars().count() + text.chars().count() < MAX_UTTERANCE_CHARS =>
                {
                    before.push('\n');
                    before.push_str(text);
                }
                _ => pieces.push((name, text.to_owned())),
            }
        }
        pieces
    }
}

/// What became of something that was to be learnt.
#[derive(Debug)]
pub enum Learnt {
    /// It was, and these are the memories.
    Now(Vec<Added>),
    /// It is kept, and will be; the UUID of the job.
    Later(String),
}

/// Why a lesson is not over.
enum Interrupted {
    Model(ExtractError),
    Store(StoreError),
    Stopped,
}

impl From<ExtractError> for Interrupted {
    fn from(error: ExtractError) -> Self {
        Self::Model(error)
    }
}

impl From<StoreError> for Interrupted {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl Memory {
    /// Keeps what the model is to make memories of; returns the UUID of the job. The same source
    /// makes one job.
    pub(super) async fn enqueue(
        &self,
        scope: &Scope,
        addition: Addition,
        source: Option<&str>,
    ) -> Result<String> {
        let lesson = Lesson::of(scope, addition, source);
        let job = NewJob {
            id: Uuid::now_v7().to_string(),
            source: source.map(str::to_owned),
            payload: serde_json::to_string(&lesson).unwrap_or_default(),
            created_at: self.clock.now_millis(),
            end: None,
        };
        let id = self.store.add_job(scope, job).await?;
        self.lessons.bell.notify_one();
        Ok(id)
    }

    /// Learns what is to be remembered of a conversation; it is on disk when this returns. With a
    /// model it waits at most `patience` for it.
    pub async fn learn(
        &self,
        scope: &Scope,
        addition: Addition,
        patience: Duration,
    ) -> Result<Learnt> {
        if !addition.infer || self.teacher().is_none() {
            return self.take(scope, addition).await.map(Learnt::Now);
        }
        let mut progress = self.lessons.progress.subscribe();
        let id = self.enqueue(scope, addition, None).await?;
        let wait = async {
            loop {
                let rests = progress.borrow_and_update().rests;
                let job = self.store.job(&id).await?;
                match job {
                    Some(job) if job.completed_at.is_some() => {
                        return Ok(Learnt::Now(added_of(&job)));
                    }
                    Some(job) if job.attempts == 0 && !rests => {}
                    _ => return Ok(Learnt::Later(id.clone())),
                }
                if progress.changed().await.is_err() {
                    return Ok(Learnt::Later(id.clone()));
                }
            }
        };
        tokio::time::timeout(patience, wait).await.unwrap_or(Ok(Learnt::Later(id.clone())))
    }

    async fn made_of(
        &self,
        scope: &Scope,
        lesson: &Lesson,
        model: Option<&ChatModel>,
    ) -> std::result::Result<Vec<NewMemory>, Interrupted> {
        let mut made: Vec<NewMemory> = Vec::new();
        for (speaker, text) in lesson.utterances() {
            let text = text.as_str();
            let known = Selection { current_only: true, ..self.alive(scope) };
            let known = self.ranked(&known, text, MAX_KNOWN).await?;
            let statements = match model {
                Some(model) => {
                    let shown: Vec<Known> = known.iter().enumerate().map(known_as).collect();
                    let source = lesson.source.as_deref().unwrap_or_default();
                    let said = Utterance { text, source, said_at: lesson.said_at };
                    extraction::extract(model, &said, &shown, &self.zone).await?
                }
                None => {
                    statements::of(text).map(extraction::Statement::verbatim).into_iter().collect()
                }
            };
            for statement in statements {
                let is_known = statement.repeats.is_some()
                    || known.iter().any(|it| likeness::is_same(&it.record.text, &statement.text))
                    || made.iter().any(|it| likeness::is_same(&it.text, &statement.text));
                // What is outdated was said before.
                let older = statement.supersedes.iter().filter_map(|number| {
                    let record = &known.get(number.checked_sub(1)?)?.record;
                    (record.created_at <= lesson.said_at).then(|| record.id.clone())
                });
                let supersedes: Vec<String> = older.collect();
                if is_known && supersedes.is_empty() {
                    continue;
                }
                let text: String = statement.text.chars().take(MAX_STATEMENT_CHARS).collect();
                made.push(NewMemory {
                    role: Some("user".into()),
                    metadata: lesson.metadata.clone(),
                    expires_on: lesson.expires_on,
                    source: lesson.source.as_deref().map(|source| part_of(source, made.len())),
                    supersedes,
                    created_at: lesson.said_at,
                    ..new(&text, speaker.map(str::to_owned))
                });
            }
        }
        Ok(made)
    }
}

/// A message makes several memories: each but the first has a number behind its source.
fn part_of(source: &str, index: usize) -> String {
    if index == 0 { source.to_owned() } else { format!("{source}#{}", index + 1) }
}

fn known_as((index, known): (usize, &super::Recalled)) -> Known {
    Known { number: index + 1, text: known.record.text.clone() }
}

/// The memories that a job made.
fn added_of(job: &Job) -> Vec<Added> {
    let results = job.results.as_deref().unwrap_or("[]");
    let results: Vec<Value> = serde_json::from_str(results).unwrap_or_default();
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let added = results.iter().filter_map(|it| {
        Some(Added {
            id: text(&it["id"])?,
            text: text(&it["data"]["memory"])?,
            role: text(&it["role"]),
            actor_id: text(&it["actor_id"]),
        })
    });
    added.collect()
}

/// Works on what is to be learnt.
#[derive(Debug)]
pub struct Learner {
    /// What it is kept in, and by which settings.
    pub memory: Live<Memory>,
}

impl Learner {
    /// Works until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let mut failures = 0;
        loop {
            let memory = self.memory.get();
            let pause = match memory.learn_all(&stop).await {
                Ok(()) => {
                    failures = 0;
                    SWEEP
                }
                Err(Interrupted::Stopped) => return,
                Err(Interrupted::Store(error)) => {
                    let error_kind = error.kind();
                    tracing::error!(%error, error_kind, "memory could not be updated; trying again");
                    STORE_PAUSE
                }
                Err(Interrupted::Model(error)) => {
                    let pause = wait_after(failures);
                    failures += 1;
                    let error_kind = error.kind();
                    let waiting = memory.store.waiting_jobs().await.unwrap_or_default();
                    tracing::warn!(
                        %error,
                        error_kind,
                        waiting,
                        retry_seconds = pause.as_secs(),
                        "the model makes no memories; what was said waits"
                    );
                    memory.lessons.progress.send_modify(|progress| progress.rests = true);
                    pause
                }
            };
            let is_resting = failures > 0;
            tokio::select! {
                () = stop.cancelled() => return,
                // While the model is out of order, who rings must not have it asked each time.
                () = memory.lessons.bell.notified(), if !is_resting => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }
}

impl Memory {
    /// Does what is due, as long as there is something.
    async fn learn_all(&self, stop: &CancellationToken) -> std::result::Result<(), Interrupted> {
        loop {
            let due = self.store.due_jobs(self.clock.now_millis(), AT_A_TIME).await?;
            if due.is_empty() {
                break;
            }
            let attempts = due.into_iter().map(|job| self.attempt(job, stop));
            let mut attempts = stream::iter(attempts).buffer_unordered(SIDE_BY_SIDE);
            while let Some(attempt) = attempts.next().await {
                self.lessons.progress.send_modify(|progress| {
                    progress.attempts += 1;
                    progress.rests = false;
                });
                attempt?;
            }
        }
        self.write_profiles(stop).await
    }

    async fn attempt(
        &self,
        job: Job,
        stop: &CancellationToken,
    ) -> std::result::Result<(), Interrupted> {
        let Some((lesson, scope)) = lesson_of(&job) else {
            tracing::error!(
                job = job.id,
                error_kind = "payload",
                "work on memories cannot be read"
            );
            let end = self.ended(&job.payload, Err("it cannot be read".into()));
            self.store.end_job(&job.id, &Scope::default(), Vec::new(), end).await?;
            return Ok(());
        };
        let started = Instant::now();
        let model = self.teacher();
        let made = tokio::select! {
            () = stop.cancelled() => return Err(Interrupted::Stopped),
            made = self.made_of(&scope, &lesson, model) => made,
        };
        let made = match made {
            Ok(made) => made,
            Err(Interrupted::Model(error)) if !error.blames_message() => {
                self.metrics.memory_operation("extract", false, started);
                return Err(error.into());
            }
            Err(Interrupted::Model(error)) => {
                self.metrics.memory_operation("extract", false, started);
                let attempts = job.attempts + 1;
                let (now, error_kind) = (self.clock.now_millis(), error.kind());
                tracing::warn!(
                    job = job.id,
                    attempts,
                    %error,
                    error_kind,
                    "the model could not make memories of a message"
                );
                if attempts < MAX_ATTEMPTS {
                    let next = now + millis(wait_after(attempts));
                    self.store.postpone_job(&job.id, &error.to_string(), now, next).await?;
                    return Ok(());
                }
                self.made_of(&scope, &lesson, None).await?
            }
            Err(other) => return Err(other),
        };
        let end = self.ended(&scope_as_json(&scope), Ok(added_as_json(&made)));
        let count = self.store.end_job(&job.id, &scope, made, end).await;
        self.metrics.memory_operation("extract", count.is_ok(), started);
        self.metrics.memories.add(count? as i64);
        if let Some(meaning) = &self.meaning {
            meaning.ring();
        }
        Ok(())
    }

    fn ended(&self, payload: &str, results: std::result::Result<String, String>) -> JobEnd {
        JobEnd {
            succeeded: results.is_ok(),
            payload: payload.to_owned(),
            error: results.as_ref().err().cloned(),
            results: results.ok(),
            at: self.clock.now_millis(),
        }
    }

    /// Writes the profiles that are too old.
    async fn write_profiles(
        &self,
        stop: &CancellationToken,
    ) -> std::result::Result<(), Interrupted> {
        let Some(model) = self.teacher() else { return Ok(()) };
        for person in self.store.changed_people(profile::ENOUGH, PROFILES_AT_A_TIME).await? {
            let Some(scope) = Scope::user(&person.user_id) else { continue };
            let current = Selection { current_only: true, ..self.alive(&scope) };
            let records =
                self.store.select_memories(&current, Part::first(MEMORIES_OF_A_PROFILE)).await?;
            let memories: Vec<String> = records.into_iter().map(|record| record.text).collect();
            let started = Instant::now();
            let text = if memories.is_empty() {
                Ok(String::new())
            } else {
                tokio::select! {
                    () = stop.cancelled() => return Err(Interrupted::Stopped),
                    summary = profile::summarize(model, &memories) => summary,
                }
            };
            self.metrics.memory_operation("profile", text.is_ok(), started);
            let text = match text {
                Err(error) if !error.blames_message() => return Err(error.into()),
                // There will be another one when something has changed.
                Err(error) => {
                    let error_kind = error.kind();
                    tracing::warn!(%error, error_kind, "the model wrote no usable profile");
                    String::new()
                }
                Ok(text) => text,
            };
            let profile = Profile { text, made_at: self.clock.now_millis() };
            self.store.put_profile(&scope, profile, person.changes).await?;
        }
        Ok(())
    }
}

fn lesson_of(job: &Job) -> Option<(Lesson, Scope)> {
    let lesson: Lesson = serde_json::from_str(&job.payload).ok()?;
    let scope = lesson.scope()?;
    (!scope.is_everything()).then_some((lesson, scope))
}

/// The wait after a number of failed attempts.
fn wait_after(attempts: u32) -> Duration {
    ExponentialBuilder::default()
        .with_min_delay(FIRST_WAIT)
        .with_max_delay(LONGEST_WAIT)
        .with_factor(3.0)
        .without_max_times()
        .build()
        .nth(attempts.min(16) as usize)
        .unwrap_or(LONGEST_WAIT)
}

fn millis(wait: Duration) -> i64 {
    i64::try_from(wait.as_millis()).unwrap_or(i64::MAX / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(role: &str, name: Option<&str>, text: &str) -> Said {
        Said { role: role.into(), text: text.into(), name: name.map(str::to_owned) }
    }

    fn lesson(messages: Vec<Said>) -> Lesson {
        let addition = Addition { messages, infer: true, ..Addition::default() };
        Lesson::of(&Scope::user("ann").unwrap(), addition, Some("message:1"))
    }

    #[test]
    fn one_call_a_speaker() {
        let lesson = lesson(vec![
            said("system", None, "be brief"),
            said("user", None, "我住在杭州"),
            said("assistant", None, "你喜欢杭州吧"),
            said("user", Some("bob"), "我在北京"),
            said("user", None, "我养猫"),
        ]);
        let expected = [(None, "我住在杭州\n我养猫".into()), (Some("bob"), "我在北京".into())];
        assert_eq!(lesson.utterances(), expected);
    }

    #[test]
    fn nothing_of_a_long_conversation_is_left_out() {
        let long = "话".repeat(MAX_UTTERANCE_CHARS / 2);
        let pieces = lesson(vec![said("user", None, &long); 3]);
        let pieces = pieces.utterances();
        assert_eq!(pieces.len(), 3);
        assert!(pieces.iter().all(|(_, text)| *text == long));
    }

    #[test]
    fn whose_it_is_is_kept() {
        let scope = Scope::user("ann").unwrap().with(Entity::Run, "r 1").unwrap();
        let lesson = Lesson::of(&scope, Addition::default(), None);
        let kept = serde_json::to_string(&lesson).unwrap();
        assert_eq!(serde_json::from_str::<Lesson>(&kept).unwrap().scope(), Some(scope));
    }

    #[test]
    fn each_memory_of_a_message_has_its_source() {
        assert_eq!(
            [part_of("message:7", 0), part_of("message:7", 1)],
            ["message:7", "message:7#2"]
        );
    }

    #[test]
    fn the_waits_grow_up_to_ten_minutes() {
        assert_eq!(wait_after(0), FIRST_WAIT);
        assert!(wait_after(2) > wait_after(1));
        assert_eq!(wait_after(99), LONGEST_WAIT);
    }
}
