//! Search, and what selects memories: filters, ids and the rest that lists have too.

use serde_json::{Value, json};

use super::error::Refusal;
use super::fields::Fields;
use super::paths::Place;
use super::{Answer, Call, MemoryApi, ok, records};
use crate::memory::filter::{self, Dialect};
use crate::store::{Entity, Scope, Selection};

/// Most memories that a search returns.
const MOST: usize = 1_000;

impl MemoryApi {
    /// `POST /search`, `POST /v1/memories/search/` and its versions 2 and 3
    pub(super) async fn search(&self, call: &Call) -> Answer {
        let fields = Fields::of_body(&call.body)?;
        let at_server = call.found.place == Place::Search;
        let Some(query) = fields.text("query")? else {
            return Err(Refusal::unprocessable("query", "Field required"));
        };
        if query.trim().is_empty() {
            return Err(Refusal::bad_request("Invalid query: cannot be empty or whitespace-only."));
        }
        let default = if at_server { 20 } else { 10 };
        let limit = match fields.count("top_k", 0, MOST)? {
            Some(limit) => limit,
            None => fields.count("limit", 0, MOST)?.unwrap_or(default),
        };
        let threshold = fields.fraction("threshold")?.unwrap_or(0.0);
        let dialect = if at_server { Dialect::Server } else { Dialect::Platform };
        let selection = self.selection(call, &fields, dialect, Unscoped::Refused)?;
        let found = self.memory.search(&selection, query, limit).await?;
        let found = found.iter().filter(|it| it.score >= threshold);
        let results: Vec<Value> = if at_server {
            found.map(|it| records::item(&it.record, Some(it.score))).collect()
        } else {
            found.map(|it| records::memory(&it.record, Some(it.score))).collect()
        };
        let wrapped = match call.found.place {
            Place::SearchV1 | Place::SearchV2 => fields.text("output_format")? == Some("v1.1"),
            _ => true,
        };
        ok(if wrapped { json!({ "results": results }) } else { results.into() })
    }

    /// Which memories the fields select: by `filters`, by ids beside them, by dates and categories.
    pub(super) fn selection(
        &self,
        call: &Call,
        fields: &Fields,
        dialect: Dialect,
        unscoped: Unscoped,
    ) -> Result<Selection, Refusal> {
        let mut parts = Vec::new();
        if let Some(filters) = fields.value("filters") {
            let filters = read_filters(filters)?;
            if filters.as_object().is_none_or(|filters| !filters.is_empty()) {
                parts.push(filters);
            }
        }
        for entity in Entity::ALL {
            let name = format!("{}_id", entity.name());
            if let Some(id) = fields.id(&name)? {
                parts.push(json!({ name: id }));
            }
        }
        for (name, operator) in [("start_date", "gte"), ("end_date", "lte")] {
            if let Some(date) = fields.value(name) {
                parts.push(json!({"created_at": {operator: date}}));
            }
        }
        if let Some(categories) = fields.value("categories") {
            let categories = match categories {
                Value::String(list) => list.split(',').map(|one| Value::from(one.trim())).collect(),
                other => other.clone(),
            };
            parts.push(json!({"categories": {"in": categories}}));
        }
        if let Some(keywords) = fields.value("keywords").filter(|it| it.is_string()) {
            parts.push(json!({"keywords": keywords}));
        }
        if let (Dialect::Platform, Some(metadata)) = (dialect, fields.object("metadata")?) {
            parts.push(json!({ "metadata": metadata }));
        }
        let zone = self.memory.zone();
        let parsed = filter::parse(&json!({ "AND": parts }), dialect, zone)?;
        let scopes = match (parsed.scopes, unscoped) {
            (Some(scopes), _) => scopes,
            (None, _) if parsed.wildcard => vec![Scope::default()],
            (None, Unscoped::Everybody) => vec![Scope::default()],
            (None, Unscoped::Refused) => {
                return Err(Refusal::bad_request(
                    "filters must contain at least one of: user_id, agent_id, run_id. Example: \
                     filters={'user_id': 'u1'}",
                ));
            }
        };
        if scopes.iter().any(Scope::is_everything) {
            call.needs_admin()?;
        }
        let show_expired = fields.flag("show_expired")?.unwrap_or(false);
        Ok(Selection {
            scopes,
            filter: parsed.filter,
            alive_on: (!show_expired).then(|| self.memory.today()),
            current_only: fields.flag("latest_only")?.unwrap_or(false),
        })
    }
}

/// What becomes of a request that names nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unscoped {
    /// It is refused.
    Refused,
    /// It is about everybody's memories.
    Everybody,
}

/// Filters as an object; in an address they are text, from some clients the way Python writes it.
fn read_filters(filters: &Value) -> Result<Value, Refusal> {
    match filters {
        Value::String(text) => json5::from_str(text).map_err(|_| {
            Refusal::bad_request(format!("Invalid filters: {text:?} is no JSON object."))
        }),
        other => Ok(other.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_in_an_address_are_json_or_pythons_way_of_writing_it() {
        let expected = json!({"AND": [{"user_id": "alice's"}]});
        for text in [r#"{"AND": [{"user_id": "alice's"}]}"#, r#"{'AND': [{'user_id': "alice's"}]}"#]
        {
            assert_eq!(read_filters(&text.into()), Ok(expected.clone()));
        }
        assert!(read_filters(&"{'user_id'".into()).is_err());
        assert!(read_filters(&"user_id=alice".into()).is_err());
    }
}
