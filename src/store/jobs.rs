//! What the work in the background on memories needs of a store.

use async_trait::async_trait;

use super::{NewMemory, Part, Result, Scope};

/// Work to be done.
#[derive(Debug, Clone)]
pub struct NewJob {
    /// A UUID.
    pub id: String,
    /// What it is made of; the same source of the same owner never makes a second one.
    pub source: Option<String>,
    /// What is to be done, in the words of the room above.
    pub payload: String,
    /// When it was asked for, and so when it is due.
    pub created_at: i64,
    /// How it ended, if it is over already and only noted.
    pub end: Option<JobEnd>,
}

/// How work stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobState {
    /// It waits, for its first attempt or another.
    Waiting,
    /// It was done.
    Succeeded,
    /// It was given up.
    Failed,
}

/// Work that was asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    /// Its UUID.
    pub id: String,
    /// What is to be done; once it is over, what of that may be shown.
    pub payload: String,
    /// How it stands.
    pub state: JobState,
    /// How often it was attempted.
    pub attempts: u32,
    /// When it is attempted next.
    pub next_attempt_at: i64,
    /// When it was asked for.
    pub created_at: i64,
    /// When it was first attempted.
    pub started_at: Option<i64>,
    /// When it was over.
    pub completed_at: Option<i64>,
    /// What came of it, in the words of the room above.
    pub results: Option<String>,
    /// Why the last attempt failed.
    pub error: Option<String>,
}

/// How work ended.
#[derive(Debug, Clone)]
pub struct JobEnd {
    /// Whether it was done.
    pub succeeded: bool,
    /// What of the payload may be kept.
    pub payload: String,
    /// What came of it.
    pub results: Option<String>,
    /// Why it was given up.
    pub error: Option<String>,
    /// When.
    pub at: i64,
}

/// Work on memories that outlives the process. What a person has forgotten takes the work on it
/// along.
#[async_trait]
pub trait JobStore {
    /// Keeps work; the UUID of the one its source had made before, if there is one.
    async fn add_job(&self, scope: &Scope, job: NewJob) -> Result<String>;

    /// The work that is due, the longest waiting first; of one owner none before it is over that
    /// was asked for earlier.
    async fn due_jobs(&self, now: i64, limit: usize) -> Result<Vec<Job>>;

    /// Notes a failed attempt, and when the next is due.
    async fn postpone_job(&self, id: &str, error: &str, now: i64, next: i64) -> Result<()>;

    /// Ends work, and keeps the memories that it made, in one transaction; returns how many are new.
    /// Work that is not there, for it was forgotten, or over makes nothing.
    async fn end_job(
        &self,
        id: &str,
        scope: &Scope,
        memories: Vec<NewMemory>,
        end: JobEnd,
    ) -> Result<usize>;

    /// How much work waits.
    async fn waiting_jobs(&self) -> Result<u64>;

    /// One work.
    async fn job(&self, id: &str) -> Result<Option<Job>>;

    /// A part of all work, newest first, and how much there is.
    async fn jobs(&self, part: Part) -> Result<(Vec<Job>, usize)>;

    /// Deletes at most `limit` that were over before `before`; returns how many.
    async fn prune_jobs(&self, before: i64, limit: usize) -> Result<usize>;
}
