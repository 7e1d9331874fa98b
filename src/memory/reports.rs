//! What is told of somebody as a whole: a profile, a summary, a form filled in.

use serde_json::{Value, json};
use uuid::Uuid;

use super::Memory;
use super::extraction::{ExtractError, form, profile};
use crate::llm::ChatModel;
use crate::store::{Job, JobEnd, NewJob, Part, Profile, Result, Scope, Selection, StoreError};

/// Memories that a report is made of, the newest.
const MEMORIES_OF_A_REPORT: usize = 200;

/// Why there is no report.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReportError {
    /// Nothing is remembered that it could be made of.
    #[error("nothing is remembered that it could be made of")]
    NothingKnown,
    /// No model writes any.
    #[error("reports are written by a model: set llm.api_key, and memory.extract = \"auto\"")]
    NoModel,
    /// The model wrote none.
    #[error(transparent)]
    Model(#[from] ExtractError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// How it stands with somebody's profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProfileState {
    /// It is written.
    Written(Profile),
    /// It is about to be written.
    Pending,
    /// Too little is known.
    NothingKnown,
    /// No model writes any.
    NoModel,
}

impl Memory {
    /// The profile of a person, or why there is none.
    pub async fn profile_state(&self, scope: &Scope) -> Result<ProfileState> {
        if let Some(profile) = self.profile(scope).await? {
            return Ok(ProfileState::Written(profile));
        }
        if self.teacher().is_none() {
            return Ok(ProfileState::NoModel);
        }
        let changed = self.store.changes(scope).await?;
        let is_due = changed.is_some_and(|it| profile::ENOUGH.is_reached(&it));
        Ok(if is_due { ProfileState::Pending } else { ProfileState::NothingKnown })
    }

    /// A summary of the memories selected, written now.
    pub async fn summary(&self, selection: &Selection) -> std::result::Result<String, ReportError> {
        let (model, memories) = self.material(selection).await?;
        Ok(profile::summarize(model, &memories).await?)
    }

    /// A form by a JSON Schema, filled in now from the memories selected, which are all of `scope`;
    /// returns the UUID by which it is [told](Self::form).
    pub async fn fill_form(
        &self,
        scope: &Scope,
        selection: &Selection,
        schema: &Value,
        wishes: &str,
    ) -> std::result::Result<String, ReportError> {
        let (model, memories) = self.material(selection).await?;
        let form = form::fill(model, schema, wishes, &memories).await?;
        let (id, now) = (Uuid::now_v7().to_string(), self.clock.now_millis());
        let payload = json!({"scope": scope.to_string(), "form": true}).to_string();
        let results = Some(form.to_string());
        let (succeeded, error) = (true, None);
        let end = JobEnd { succeeded, payload: payload.clone(), results, error, at: now };
        let job = NewJob { id, source: None, payload, created_at: now, end: Some(end) };
        Ok(self.store.add_job(scope, job).await?)
    }

    /// A form that was filled in; `None`: there is none, or no longer.
    pub async fn form(&self, id: &str) -> Result<Option<Value>> {
        let job = self.store.job(id).await?.filter(is_form);
        Ok(job.and_then(|job| serde_json::from_str(job.results.as_deref()?).ok()))
    }

    async fn material(
        &self,
        selection: &Selection,
    ) -> std::result::Result<(&ChatModel, Vec<String>), ReportError> {
        let model = self.teacher().ok_or(ReportError::NoModel)?;
        let current = Selection { current_only: true, ..selection.clone() };
        let records =
            self.store.select_memories(&current, Part::first(MEMORIES_OF_A_REPORT)).await?;
        if records.is_empty() {
            return Err(ReportError::NothingKnown);
        }
        Ok((model, records.into_iter().map(|record| record.text).collect()))
    }
}

fn is_form(job: &Job) -> bool {
    serde_json::from_str::<Value>(&job.payload).is_ok_and(|payload| payload["form"] == true)
}
