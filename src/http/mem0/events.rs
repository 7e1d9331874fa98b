//! What became of additions.

use serde_json::{Value, json};

use super::error::Refusal;
use super::lists::Page;
use super::{Answer, Call, MemoryApi, ok, records};
use crate::store::{Job, JobState};

impl MemoryApi {
    /// `GET /v1/events/`
    pub(super) async fn events(&self, call: &Call) -> Answer {
        call.needs_admin()?;
        let page = Page::of(&call.query)?.unwrap_or_default();
        let (jobs, count) = self.memory.jobs(page.part()).await?;
        let results = jobs.iter().map(event).collect();
        ok(page.envelope(call, "/v1/events/", count, results))
    }

    /// `GET /v1/event/{id}/`
    pub(super) async fn event(&self, call: &Call) -> Answer {
        let id = call.found.part("id");
        match self.memory.job(id).await? {
            Some(job) => ok(event(&job)),
            None => Err(Refusal::not_found("Event not found")),
        }
    }
}

fn event(job: &Job) -> Value {
    let status = match job.state {
        JobState::Waiting if job.attempts == 0 => "PENDING",
        JobState::Waiting => "RUNNING",
        JobState::Succeeded => "SUCCEEDED",
        JobState::Failed => "FAILED",
    };
    let value = |text: &Option<String>| -> Value {
        text.as_deref().and_then(|text| serde_json::from_str(text).ok()).unwrap_or(Value::Null)
    };
    let took = job.completed_at.zip(job.started_at).map(|(ended, began)| ended - began);
    json!({
        "id": job.id,
        "event_type": "ADD",
        "status": status,
        "payload": value(&Some(job.payload.clone())),
        "metadata": {},
        "results": value(&job.results),
        "created_at": records::time(job.created_at),
        "updated_at": records::time(job.completed_at.or(job.started_at).unwrap_or(job.created_at)),
        "started_at": job.started_at.map(records::time),
        "completed_at": job.completed_at.map(records::time),
        "latency": took,
        "error": job.error,
    })
}
