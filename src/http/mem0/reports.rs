//! What is told of somebody as a whole: profiles, summaries, exports by a schema.

use serde_json::{Value, json};
use warp::http::StatusCode;

use super::error::Refusal;
use super::fields::Fields;
use super::searches::Unscoped;
use super::{Answer, Call, MemoryApi, ok, paths, records};
use crate::memory::filter::Dialect;
use crate::memory::reports::{ProfileState, ReportError};
use crate::store::{Entity, Scope, Selection};

/// Longest schema, in bytes.
const MAX_SCHEMA: usize = 16 * 1024;
/// How the path of a profile ends.
const PROFILE: &str = "/profile";

impl MemoryApi {
    /// `GET /v2/entities/user/{name}/profile/`
    pub(super) async fn profile(&self, call: &Call) -> Answer {
        let Some(name) = call.found.part("name").strip_suffix(PROFILE) else {
            return Err(Refusal::method("DELETE"));
        };
        let kind = call.found.part("type");
        if Entity::named(kind) != Some(Entity::User) {
            return Err(Refusal::unsupported(paths::NO_OTHER_PROFILES));
        }
        let scope = Scope::of(Entity::User, name)?;
        let state = self.memory.profile_state(&scope).await?;
        let (status, profile) = match &state {
            ProfileState::Written(profile) => ("succeeded", Some(profile)),
            ProfileState::Pending => ("pending", None),
            ProfileState::NothingKnown => ("insufficient_data", None),
            ProfileState::NoModel => ("not_enabled", None),
        };
        ok(json!({
            "profile": profile.map(|it| it.text.as_str()),
            "status": status,
            "entity_type": kind,
            "entity_id": name,
            "updated_at": profile.map(|it| records::time(it.made_at)),
        }))
    }

    /// `POST /v1/summary/`
    pub(super) async fn summary(&self, call: &Call) -> Answer {
        let fields = Fields::of_body(&call.body)?;
        let selection = self.selection(call, &fields, Dialect::Platform, Unscoped::Refused)?;
        match self.memory.summary(&selection).await {
            Ok(summary) => ok(json!({ "summary": summary })),
            Err(ReportError::NothingKnown) => ok(json!({"summary": ""})),
            Err(error) => Err(refusal(error)),
        }
    }

    /// `POST /v1/exports/`
    pub(super) async fn export(&self, call: &Call) -> Answer {
        let fields = Fields::of_body(&call.body)?;
        let schema = schema_of(&fields)?;
        let selection = self.selection(call, &fields, Dialect::Platform, Unscoped::Refused)?;
        let scope = one_scope(&selection)?;
        let wishes = fields.text("export_instructions")?.unwrap_or_default();
        match self.memory.fill_form(scope, &selection, &schema, wishes).await {
            Ok(id) => {
                let message = "Memory export request received. The export is ready.";
                Ok((StatusCode::CREATED, json!({"message": message, "id": id})))
            }
            Err(ReportError::NothingKnown) => {
                Err(Refusal::not_found("No memories found to export"))
            }
            Err(error) => Err(refusal(error)),
        }
    }

    /// `POST /v1/exports/get/`
    pub(super) async fn exported(&self, call: &Call) -> Answer {
        let fields = Fields::of_body(&call.body)?;
        let Some(id) = fields.text("memory_export_id")? else {
            return Err(Refusal::bad_request("Name the export: memory_export_id."));
        };
        match self.memory.form(id).await? {
            Some(form) => ok(form),
            None => Err(Refusal::not_found("No memory export request found")),
        }
    }
}

/// Whether a path of an entity is that of its profile.
pub(super) fn is_profile(call: &Call) -> bool {
    call.found.part("name").ends_with(PROFILE)
}

/// The schema, as an object or its text.
fn schema_of(fields: &Fields) -> Result<Value, Refusal> {
    let wrong = |what: &str| Refusal::unprocessable("schema", what);
    let schema = match fields.value("schema") {
        None => return Err(wrong("Field required")),
        Some(Value::String(text)) => serde_json::from_str(text)
            .map_err(|_| wrong("Input should be a JSON Schema, as an object or its text"))?,
        Some(schema) => schema.clone(),
    };
    if !schema.is_object() {
        return Err(wrong("Input should be a JSON Schema, as an object or its text"));
    }
    if schema.to_string().len() > MAX_SCHEMA {
        return Err(wrong("Input should have at most 16 KiB"));
    }
    Ok(schema)
}

/// Whose the export is; it goes when that one's memories do.
fn one_scope(selection: &Selection) -> Result<&Scope, Refusal> {
    match selection.scopes.as_slice() {
        [scope] if !scope.is_everything() => Ok(scope),
        _ => Err(Refusal::bad_request(
            "An export is of one user, agent, app or run; name one in the filters.",
        )),
    }
}

fn refusal(error: ReportError) -> Refusal {
    match error {
        ReportError::Store(error) => error.into(),
        ReportError::NoModel => Refusal::unsupported(&error.to_string()),
        ReportError::NothingKnown => Refusal::not_found(error.to_string()),
        ReportError::Model(error) => {
            tracing::warn!(%error, error_kind = error.kind(), "the model wrote no report");
            Refusal::model_failed()
        }
    }
}
