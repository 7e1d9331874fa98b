//! One memory, or several by their ids: read, changed, judged, deleted; and deletion of what is
//! selected.

use serde_json::{Value, json};

use super::error::Refusal;
use super::fields::Fields;
use super::messages::without_ids;
use super::searches::Unscoped;
use super::{Answer, Call, MemoryApi, ok, records, said};
use crate::memory::filter::Dialect;
use crate::memory::{MAX_STATEMENT_CHARS, MemoryRecord, terms};
use crate::store::{Edit, Feedback, Field, Filter, Scope, Selection, Test};

/// Most memories of a batch.
const MAX_BATCH: usize = 1_000;

fn unknown(id: &str) -> Refusal {
    let id: String = id.chars().take(64).collect();
    Refusal::not_found(format!("Memory with id {id} not found"))
}

/// A memory by its id, whoever it belongs to: the id cannot be guessed.
fn by_id(id: &str) -> Selection {
    let filter = Filter::Is(Field::Id, Test::OneOf(vec![id.into()]));
    Selection { filter: Some(filter), ..Selection::of(&Scope::default()) }
}

impl MemoryApi {
    async fn known(&self, id: &str) -> Result<MemoryRecord, Refusal> {
        self.memory.get(id).await?.ok_or_else(|| unknown(id))
    }

    /// `GET /memories/{id}`: its clients take null for an answer.
    pub(super) async fn get_at_server(&self, call: &Call) -> Answer {
        let found = self.memory.get(call.found.part("id")).await?;
        ok(found.map_or(Value::Null, |record| {
            let mut item = records::item(&record, None);
            item["score"] = Value::Null;
            item
        }))
    }

    /// `GET /v1/memories/{id}/`
    pub(super) async fn get(&self, call: &Call) -> Answer {
        ok(records::memory(&self.known(call.found.part("id")).await?, None))
    }

    /// `PUT /memories/{id}` and `PUT /v1/memories/{id}/`
    pub(super) async fn update(&self, call: &Call, at_server: bool) -> Answer {
        let fields = Fields::of_body(&call.body)?;
        let edited = self.edit(call.found.part("id"), &fields).await?;
        if at_server {
            return said("Memory updated successfully!");
        }
        ok(records::memory(&edited, None))
    }

    async fn edit(&self, id: &str, fields: &Fields) -> Result<MemoryRecord, Refusal> {
        let change = self.change(fields)?;
        self.memory.edit(id, change).await?.ok_or_else(|| unknown(id))
    }

    fn change(&self, fields: &Fields) -> Result<Edit, Refusal> {
        let text = match fields.text("text")? {
            Some(text) => Some(text),
            None => fields.text("data")?,
        };
        let edit = Edit {
            text: text
                .map(statement)
                .transpose()?
                .map(|text| (text.to_owned(), terms::words(text, None))),
            metadata: fields.object("metadata")?.map(without_ids),
            expires_on: fields.date("expiration_date")?,
            created_at: fields.millis("timestamp", self.memory.zone())?,
            feedback: None,
            at: self.clock.now_millis(),
        };
        let nothing = edit.text.is_none()
            && edit.metadata.is_none()
            && edit.expires_on.is_none()
            && edit.created_at.is_none();
        if nothing {
            return Err(Refusal::bad_request(
                "At least one of text, metadata, timestamp or expiration_date must be provided.",
            ));
        }
        Ok(edit)
    }

    /// `DELETE /memories/{id}` and `DELETE /v1/memories/{id}/`
    pub(super) async fn delete(&self, call: &Call, at_server: bool) -> Answer {
        let id = call.found.part("id");
        if self.memory.remove(&by_id(id)).await? == 0 {
            return Err(unknown(id));
        }
        said(if at_server { "Memory deleted successfully" } else { "Memory deleted successfully!" })
    }

    /// `DELETE /memories?…` and `DELETE /v1/memories/?…`
    pub(super) async fn delete_all(&self, call: &Call, at_server: bool) -> Answer {
        let dialect = if at_server { Dialect::Server } else { Dialect::Platform };
        let named = ["filters", "user_id", "agent_id", "app_id", "run_id"];
        if !named.iter().any(|name| call.query.has(name)) {
            return Err(Refusal::bad_request(
                "At least one identifier (user_id, agent_id, run_id) is required.",
            ));
        }
        let selection = self.selection(call, &call.query, dialect, Unscoped::Refused)?;
        // Deleting is not to leave what a list does not show.
        let selection = Selection { alive_on: None, ..selection };
        let count = self.memory.remove(&selection).await?;
        let message = if at_server {
            "All relevant memories deleted"
        } else {
            "Memories deleted successfully!"
        };
        ok(json!({"message": message, "count": count}))
    }

    /// `POST /reset`
    pub(super) async fn reset(&self, call: &Call) -> Answer {
        call.needs_admin()?;
        let count = self.memory.remove(&Selection::of(&Scope::default())).await?;
        tracing::warn!(count, "every memory was deleted through the memory API");
        ok(json!({"message": "All memories reset", "count": count}))
    }

    /// `GET /memories/{id}/history` and `GET /v1/memories/{id}/history/`
    pub(super) async fn history(&self, call: &Call, at_server: bool) -> Answer {
        let id = call.found.part("id");
        let changes = self.memory.history(id).await?;
        if changes.is_empty() && !at_server {
            return Err(unknown(id));
        }
        ok(changes.iter().map(|change| records::change(change, at_server)).collect())
    }

    /// `PUT /v1/batch/`
    pub(super) async fn update_several(&self, call: &Call) -> Answer {
        let several = several(&Fields::of_body(&call.body)?)?;
        // All is read before anything is written.
        for (id, fields) in &several {
            self.change(fields)?;
            self.known(id).await?;
        }
        for (id, fields) in &several {
            self.edit(id, fields).await?;
        }
        said(&format!("Successfully updated {} memories", several.len()))
    }

    /// `DELETE /v1/batch/`
    pub(super) async fn delete_several(&self, call: &Call) -> Answer {
        let several = several(&Fields::of_body(&call.body)?)?;
        for (id, _) in &several {
            self.known(id).await?;
        }
        let ids = several.into_iter().map(|(id, _)| id.into()).collect();
        let filter = Filter::Is(Field::Id, Test::OneOf(ids));
        let selection = Selection { filter: Some(filter), ..Selection::of(&Scope::default()) };
        let count = self.memory.remove(&selection).await?;
        said(&format!("Successfully deleted {count} memories"))
    }

    /// `POST /v1/feedback/`
    pub(super) async fn feedback(&self, call: &Call) -> Answer {
        let fields = Fields::of_body(&call.body)?;
        let Some(id) = fields.text("memory_id")? else {
            return Err(Refusal::bad_request("memory_id is required."));
        };
        let verdict = fields.text("feedback")?.map(str::to_ascii_uppercase);
        let good = match verdict.as_deref() {
            None => None,
            Some("POSITIVE") => Some(true),
            Some("NEGATIVE" | "VERY_NEGATIVE") => Some(false),
            Some(_) => {
                return Err(Refusal::bad_request(
                    "Invalid feedback: use POSITIVE, NEGATIVE, VERY_NEGATIVE or null.",
                ));
            }
        };
        let reason = fields.text("feedback_reason")?.map(str::to_owned);
        let feedback = Feedback { good, reason: reason.clone() };
        let at = self.clock.now_millis();
        let edit = Edit { feedback: Some(feedback), at, ..Edit::default() };
        self.memory.edit(id, edit).await?.ok_or_else(|| unknown(id))?;
        ok(json!({"id": id, "feedback": verdict, "feedback_reason": reason}))
    }
}

/// A text that may be kept.
fn statement(text: &str) -> Result<&str, Refusal> {
    let text = text.trim();
    if text.is_empty() {
        return Err(Refusal::bad_request("Invalid text: it must not be empty."));
    }
    if text.chars().count() > MAX_STATEMENT_CHARS {
        return Err(Refusal::bad_request(format!(
            "Invalid text: it must have at most {MAX_STATEMENT_CHARS} characters."
        )));
    }
    Ok(text)
}

/// The memories of a batch, each with its id.
fn several(fields: &Fields) -> Result<Vec<(String, Fields)>, Refusal> {
    let list = fields.value("memories").and_then(Value::as_array);
    let Some(list) = list.filter(|list| (1..=MAX_BATCH).contains(&list.len())) else {
        return Err(Refusal::bad_request(format!(
            "memories must be a list of 1 to {MAX_BATCH} objects with a memory_id."
        )));
    };
    list.iter()
        .map(|one| {
            let fields = Fields::of_body(one.to_string().as_bytes())?;
            let id = fields.text("memory_id")?.map(str::to_owned);
            let id =
                id.ok_or_else(|| Refusal::bad_request("Each of memories must have a memory_id."))?;
            Ok((id, fields))
        })
        .collect()
}
