//! Work on memories, in SQLite.

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{SqliteStore, memories, owners};
use crate::store::{Job, JobEnd, JobState, JobStore, NewJob, NewMemory, Part, Result, Scope};

const COLUMNS: &str = "id, payload, state, attempts, next_attempt_at, created_at, started_at, \
                       completed_at, results, error";

#[async_trait]
impl JobStore for SqliteStore {
    async fn add_job(&self, scope: &Scope, job: NewJob) -> Result<String> {
        let scope = scope.clone();
        self.writer
            .write(move |c| {
                let owner = owners::owner(c, &scope.owner())?;
                c.prepare_cached(
                    "INSERT INTO jobs (id, owner, source, payload, next_attempt_at, created_at)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?5) ON CONFLICT (owner, source) DO NOTHING",
                )?
                .execute(params![
                    job.id,
                    owner,
                    job.source,
                    job.payload,
                    job.created_at
                ])?;
                if let Some(over) = &job.end {
                    end(c, &job.id, over)?;
                }
                if job.source.is_none() {
                    return Ok(job.id);
                }
                c.prepare_cached("SELECT id FROM jobs WHERE owner = ?1 AND source = ?2")?
                    .query_row(params![owner, job.source], |r| r.get(0))
            })
            .await
    }

    async fn due_jobs(&self, now: i64, limit: usize) -> Result<Vec<Job>> {
        self.readers
            .read(move |c| {
                c.prepare_cached(&format!(
                    "SELECT {COLUMNS} FROM jobs WHERE state = 0 AND next_attempt_at <= ?1
                       AND NOT EXISTS (SELECT 1 FROM jobs first WHERE first.state = 0
                                         AND first.owner = jobs.owner
                                         AND first.number < jobs.number)
                     ORDER BY next_attempt_at, number LIMIT ?2"
                ))?
                .query_map(params![now, limit as i64], job)?
                .collect()
            })
            .await
    }

    async fn postpone_job(&self, id: &str, error: &str, now: i64, next: i64) -> Result<()> {
        let (id, error) = (id.to_owned(), error.to_owned());
        self.writer
            .write(move |c| {
                c.prepare_cached(
                    "UPDATE jobs SET attempts = attempts + 1, error = ?2, next_attempt_at = ?4,
                       started_at = coalesce(started_at, ?3)
                     WHERE id = ?1 AND state = 0",
                )?
                .execute(params![id, error, now, next])
                .map(|_| ())
            })
            .await
    }

    async fn end_job(
        &self,
        id: &str,
        scope: &Scope,
        memories: Vec<NewMemory>,
        end: JobEnd,
    ) -> Result<usize> {
        let (id, scope) = (id.to_owned(), scope.clone());
        self.writer
            .write(move |c| {
                if !self::end(c, &id, &end)? {
                    return Ok(0);
                }
                let owner = owners::owner(c, &scope.owner())?;
                let stored = memories::add(c, owner, &scope, &memories)?;
                let new = stored.iter().filter(|it| it.new).count();
                owners::note_changes(c, owner, new)?;
                Ok(new)
            })
            .await
    }

    async fn waiting_jobs(&self) -> Result<u64> {
        self.readers
            .read(|c| {
                c.prepare_cached("SELECT count(*) FROM jobs WHERE state = 0")?
                    .query_row([], |r| r.get::<_, i64>(0))
                    .map(|count| count as u64)
            })
            .await
    }

    async fn job(&self, id: &str) -> Result<Option<Job>> {
        let id = id.to_owned();
        self.readers
            .read(move |c| {
                c.prepare_cached(&format!("SELECT {COLUMNS} FROM jobs WHERE id = ?1"))?
                    .query_row([id], job)
                    .optional()
            })
            .await
    }

    async fn jobs(&self, part: Part) -> Result<(Vec<Job>, usize)> {
        self.readers
            .read(move |c| {
                let count: i64 =
                    c.prepare_cached("SELECT count(*) FROM jobs")?.query_row([], |r| r.get(0))?;
                let jobs = c
                    .prepare_cached(&format!(
                        "SELECT {COLUMNS} FROM jobs ORDER BY number DESC LIMIT ?1 OFFSET ?2"
                    ))?
                    .query_map(params![part.limit as i64, part.offset as i64], job)?
                    .collect::<rusqlite::Result<_>>()?;
                Ok((jobs, count as usize))
            })
            .await
    }

    async fn prune_jobs(&self, before: i64, limit: usize) -> Result<usize> {
        self.writer
            .write(move |c| {
                c.prepare_cached(
                    "DELETE FROM jobs WHERE number IN (
                       SELECT number FROM jobs WHERE state > 0 AND completed_at < ?1
                       ORDER BY completed_at LIMIT ?2)",
                )?
                .execute(params![before, limit as i64])
            })
            .await
    }
}

/// Ends work; `false`: there is none that waits.
fn end(c: &Connection, id: &str, end: &JobEnd) -> rusqlite::Result<bool> {
    let state = if end.succeeded { 1 } else { 2 };
    c.prepare_cached(
        "UPDATE jobs SET state = ?2, payload = ?3, results = ?4, error = ?5,
           attempts = attempts + 1, started_at = coalesce(started_at, ?6), completed_at = ?6
         WHERE id = ?1 AND state = 0",
    )?
    .execute(params![id, state, end.payload, end.results, end.error, end.at])
    .map(|ended| ended > 0)
}

fn job(row: &Row<'_>) -> rusqlite::Result<Job> {
    Ok(Job {
        id: row.get(0)?,
        payload: row.get(1)?,
        state: match row.get::<_, i64>(2)? {
            0 => JobState::Waiting,
            1 => JobState::Succeeded,
            _ => JobState::Failed,
        },
        attempts: row.get(3)?,
        next_attempt_at: row.get(4)?,
        created_at: row.get(5)?,
        started_at: row.get(6)?,
        completed_at: row.get(7)?,
        results: row.get(8)?,
        error: row.get(9)?,
    })
}
