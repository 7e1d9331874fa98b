//! The memory API told in OpenAPI 3.1, at `/openapi.json`.
//!
//! What is told is what is promised: paths with one spelling each (a slash at the end makes no
//! difference), and of each field the form that clients should send, though others are taken too.

use std::sync::LazyLock;

use serde_json::{Map, Value, json};

/// The document, as it is sent.
pub(super) static DOCUMENT: LazyLock<String> = LazyLock::new(|| document().to_string());

/// An id: without control characters, and not blank.
const ID: &str = "^[^\\u0000-\\u001f\\u007f-\\u009f]*\
                  [^\\u0000-\\u0020\\u007f-\\u00a0\\s]\
                  [^\\u0000-\\u001f\\u007f-\\u009f]*$";

/// What is not blank.
const SOMETHING: &str = "[^\\u0000-\\u0020\\u007f-\\u00a0\\s]";

/// What an operation may be answered with beside its success.
const ANY: &[u16] = &[400, 401, 403, 429, 503];
/// The same, where a body is read.
const BODY: &[u16] = &[400, 401, 403, 408, 413, 415, 422, 429, 503];

fn document() -> Value {
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "dingbot: long-term memory",
            "version": crate::VERSION,
            "description": "The memories of dingbot, at the paths of Mem0's open-source server and of \
                            its platform. Without any key the API is served to this host alone.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"}
        },
        "security": [{}, {"bearer": []}, {"token": []}],
        "paths": paths(),
        "components": {
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "token": {"type": "apiKey", "in": "header", "name": "X-API-Key"}
            },
            "schemas": schemas()
        }
    })
}

/// An operation: what it does, its parameters, its body, the schema of its success, and what else.
struct Operation {
    summary: &'static str,
    parameters: Vec<Value>,
    body: Option<Value>,
    success: (u16, Value),
    others: Vec<u16>,
}

impl Operation {
    fn new(summary: &'static str, success: Value) -> Self {
        Self {
            summary,
            parameters: Vec::new(),
            body: None,
            success: (200, success),
            others: ANY.to_vec(),
        }
    }

    fn with(mut self, parameters: impl IntoIterator<Item = Value>) -> Self {
        self.parameters.extend(parameters);
        self
    }

    fn taking(mut self, body: Value) -> Self {
        self.body = Some(body);
        self.others = BODY.to_vec();
        self
    }

    fn or(mut self, status: u16) -> Self {
        self.others.push(status);
        self
    }

    fn told(self) -> Value {
        let json_of = |schema: &Value| json!({"application/json": {"schema": schema}});
        let mut responses = Map::new();
        let (status, schema) = &self.success;
        responses.insert(
            status.to_string(),
            json!({"description": "It is done.", "content": json_of(schema)}),
        );
        for status in &self.others {
            responses.insert(
                status.to_string(),
                json!({"description": reason(*status), "content": json_of(&of("Error"))}),
            );
        }
        let mut told = json!({
            "summary": self.summary,
            "parameters": self.parameters,
            "responses": responses,
        });
        if let Some(body) = &self.body {
            told["requestBody"] = json!({"required": true, "content": json_of(body)});
        }
        told
    }
}

fn reason(status: u16) -> &'static str {
    match status {
        400 => "The request makes no sense; `detail` names what is wrong.",
        401 => "A key is missing or wrong.",
        403 => "It needs an administrator's key, or is served to this host alone.",
        404 => "There is none.",
        408 => "The body took too long.",
        413 => "The body is too long.",
        415 => "The body is not JSON.",
        422 => "A field is missing or of another type; `detail` names it.",
        429 => "Too many requests.",
        501 => "It needs a model, and there is none.",
        _ => "The store or the model failed; try again later.",
    }
}

/// A schema by its name.
fn of(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

fn list_of(schema: &Value) -> Value {
    json!({"type": "array", "items": schema})
}

fn object(properties: Value, required: &[&str]) -> Value {
    json!({"type": "object", "properties": properties, "required": required})
}

fn in_path(name: &str) -> Value {
    let schema = if name == "name" { of("Id") } else { json!({"type": "string", "minLength": 1}) };
    json!({"name": name, "in": "path", "required": true, "schema": schema})
}

fn in_query(name: &str, schema: &Value) -> Value {
    json!({"name": name, "in": "query", "required": false, "schema": schema})
}

/// Whom a request is about; `agent_id`, `app_id` and `run_id` are taken in its place, or narrow it.
fn user_in_query() -> [Value; 1] {
    [json!({"name": "user_id", "in": "query", "required": true, "schema": of("Id")})]
}

fn page_in_query() -> [Value; 2] {
    let page = json!({"type": "integer", "minimum": 1, "maximum": 1_000_000});
    let size = json!({"type": "integer", "minimum": 1, "maximum": 1_000});
    [in_query("page", &page), in_query("page_size", &size)]
}

fn paths() -> Value {
    let memory = of("Memory");
    let page = of("Page");
    let message = object(json!({"message": {"type": "string"}}), &["message"]);
    let results = object(json!({"results": list_of(&of("Added"))}), &["results"]);
    let either = json!({"anyOf": [list_of(&memory), object(json!({"results": list_of(&memory)}), &["results"]), page]});
    let found = object(json!({"results": list_of(&memory)}), &["results"]);
    let id = || in_path("memory_id");
    let kind = json!({"name": "type", "in": "path", "required": true,
                      "schema": {"enum": ["user", "agent", "app", "run"]}});
    let batch = |item: Value| {
        object(
            json!({"memories": {"type": "array", "items": item,
                                            "minItems": 1, "maxItems": 1_000}}),
            &["memories"],
        )
    };
    let batch_of_updates = batch(object(
        json!({"memory_id": {"type": "string"}, "text": of("Text")}),
        &["memory_id", "text"],
    ));
    let batch_of_ids = batch(object(json!({"memory_id": {"type": "string"}}), &["memory_id"]));
    json!({
        "/v1/ping/": {
            "get": Operation::new("Whether the key is right", object(
                json!({"status": {"const": "ok"}, "org_id": {"type": "string"},
                       "project_id": {"type": "string"}, "user_email": {"type": "string"}}),
                &["status", "org_id", "project_id", "user_email"])).told()
        },
        "/memories": {
            "get": Operation::new("List, open-source server", found.clone())
                .with([in_query("user_id", &of("Id"))])
                .or(422)
                .told(),
            "post": Operation::new("Add, open-source server", results.clone())
                .taking(of("AdditionAtServer"))
                .or(501)
                .told(),
            "delete": Operation::new("Delete what is selected, open-source server", message.clone())
                .with(user_in_query())
                .or(422)
                .told()
        },
        "/memories/{memory_id}": {
            "get": Operation::new("One memory, open-source server; null: none",
                json!({"anyOf": [memory.clone(), {"type": "null"}]})).with([id()]).told(),
            "put": Operation::new("Change, open-source server", message.clone())
                .with([id()]).taking(of("Change")).or(404).told(),
            "delete": Operation::new("Delete, open-source server", message.clone())
                .with([id()]).or(404).told()
        },
        "/memories/{memory_id}/history": {
            "get": Operation::new("History, open-source server", list_of(&of("Past")))
                .with([id()]).or(404).told()
        },
        "/search": {
            "post": Operation::new("Search, open-source server", found.clone())
                .taking(of("Search")).told()
        },
        "/entities": {
            "get": Operation::new("Who has memories, open-source server",
                list_of(&json!({"type": "object"}))).told()
        },
        "/v3/memories/add/": {
            "post": Operation::new("Add", object(
                json!({"message": {"type": "string"}, "event_id": {"type": "string"},
                       "status": {"enum": ["PENDING", "SUCCEEDED"]},
                       "results": list_of(&of("Added"))}),
                &["message", "event_id", "status"])).taking(of("Addition")).or(501).told()
        },
        "/v1/memories/": {
            "get": Operation::new("List", either.clone())
                .with(user_in_query()).with(page_in_query()).or(422).told(),
            "post": Operation::new("Add, versions 0 and 1",
                json!({"anyOf": [list_of(&json!({"type": "object"})), {"type": "object"}]}))
                .taking(of("Addition")).or(501).told(),
            "delete": Operation::new("Delete what is selected", message.clone())
                .with(user_in_query()).or(422).told()
        },
        "/v1/memories/{memory_id}/": {
            "get": Operation::new("One memory", memory.clone()).with([id()]).or(404).told(),
            "put": Operation::new("Change", memory.clone())
                .with([id()]).taking(of("Change")).or(404).told(),
            "delete": Operation::new("Delete", message.clone()).with([id()]).or(404).told()
        },
        "/v1/memories/{memory_id}/history/": {
            "get": Operation::new("History", list_of(&of("Past"))).with([id()]).or(404).told()
        },
        "/v1/memories/search/": {
            "post": Operation::new("Search, version 0", either.clone()).taking(of("Search")).told()
        },
        "/v2/memories/": {
            "post": Operation::new("List, version 1", either.clone()).taking(of("Selection"))
                .with(page_in_query()).told()
        },
        "/v3/memories/": {
            "post": Operation::new("List page by page", page.clone()).taking(of("Selection"))
                .with(page_in_query()).told()
        },
        "/v2/memories/search/": {
            "post": Operation::new("Search, version 1", either).taking(of("Search")).told()
        },
        "/v3/memories/search/": {
            "post": Operation::new("Search", found).taking(of("Search")).told()
        },
        "/v1/batch/": {
            "put": Operation::new("Change several", message.clone()).taking(batch_of_updates)
                .or(404).told(),
            "delete": Operation::new("Delete several", message.clone()).taking(batch_of_ids)
                .or(404).told()
        },
        "/v1/feedback/": {
            "post": Operation::new("Say what a memory is worth", json!({"type": "object"}))
                .taking(object(
                    json!({"memory_id": {"type": "string"},
                           "feedback": {"enum": ["POSITIVE", "NEGATIVE", "VERY_NEGATIVE", null]},
                           "feedback_reason": {"type": ["string", "null"]}}),
                    &["memory_id"]))
                .or(404).told()
        },
        "/v1/entities/": {
            "get": Operation::new("Who has memories", object(
                json!({"count": {"type": "integer"}, "results": list_of(&json!({"type": "object"}))}),
                &["count", "results"])).with(page_in_query()).or(422).told()
        },
        "/v2/entities/{type}/{name}/": {
            "delete": Operation::new("Delete somebody's memories", message)
                .with([kind, in_path("name")]).or(404).or(422).told()
        },
        "/v2/entities/user/{name}/profile/": {
            "get": Operation::new("The profile of a person", object(
                json!({"profile": {"type": ["string", "null"]},
                       "status": {"enum": ["succeeded", "pending", "not_enabled", "insufficient_data"]},
                       "entity_type": {"const": "user"}, "entity_id": {"type": "string"},
                       "updated_at": {"type": ["string", "null"]}}),
                &["profile", "status", "entity_type", "entity_id"])).with([in_path("name")]).told()
        },
        "/v1/events/": {
            "get": Operation::new("What became of additions", object(
                json!({"count": {"type": "integer"}, "results": list_of(&of("Event"))}),
                &["count", "results"])).with(page_in_query()).or(422).told()
        },
        "/v1/event/{event_id}/": {
            "get": Operation::new("What became of one addition", of("Event"))
                .with([in_path("event_id")]).or(404).told()
        },
        "/v1/summary/": {
            "post": Operation::new("A summary of memories, written now",
                object(json!({"summary": {"type": "string"}}), &["summary"]))
                .taking(of("Selection")).or(501).told()
        },
        "/v1/exports/": {
            "post": export().told()
        },
        "/v1/exports/get/": {
            "post": Operation::new("An export", json!({"type": "object"}))
                .taking(object(json!({"memory_export_id": {"type": "string"}}), &["memory_export_id"]))
                .or(404).told()
        }
    })
}

fn export() -> Operation {
    let created = object(
        json!({"message": {"type": "string"}, "id": {"type": "string"}}),
        &["message", "id"],
    );
    let asked = object(
        json!({"schema": {"type": "object"}, "filters": of("Filters"),
               "export_instructions": {"type": ["string", "null"]}}),
        &["schema", "filters"],
    );
    let operation = Operation::new("A form filled in from memories", created).taking(asked);
    Operation { success: (201, operation.success.1.clone()), ..operation }.or(404).or(501)
}

/// What is to be remembered, with whose it is: of a user, and narrowed to an agent and so on.
fn addition(id: &str, message: &Value) -> Value {
    let messages = json!({"type": "array", "items": message, "maxItems": 1_000});
    let mut addition = object(
        json!({
            "messages": {"anyOf": [of("Text"), messages]},
            "user_id": of(id),
            "agent_id": of(id),
            "app_id": of(id),
            "run_id": of(id),
            "metadata": {"type": ["object", "null"]},
            "infer": {"type": ["boolean", "null"], "default": true},
            "async_mode": {"type": ["boolean", "null"]},
            "expiration_date": of("Day"),
            "timestamp": {"type": ["number", "null"], "minimum": -99_999_999_999_i64, "maximum": 99_999_999_999_i64}
        }),
        &["messages"],
    );
    addition["anyOf"] = somebody(&[]);
    addition
}

/// At least one of the ids, or of the `others`, must be there.
fn somebody(others: &[&str]) -> Value {
    let ids = ["user_id", "agent_id", "app_id", "run_id"].into_iter().chain(others.iter().copied());
    // An id may be null, and a list empty, where another is there.
    let there = json!({"type": ["string", "number", "object", "array"], "minItems": 1});
    ids.map(|name| json!({"required": [name], "properties": {name: there}})).collect()
}

fn schemas() -> Value {
    let text_or_null = json!({"type": ["string", "null"]});
    let with_ids = |mut properties: Value| {
        for name in ["user_id", "agent_id", "app_id", "run_id"] {
            properties[name] = of("AnyId");
        }
        properties
    };
    let mut search = object(
        with_ids(json!({
            "query": {"type": "string", "pattern": SOMETHING},
            "filters": of("Filters"),
            "top_k": {"type": ["integer", "null"], "minimum": 0, "maximum": 1_000},
            "threshold": {"type": ["number", "null"], "minimum": 0, "maximum": 1}
        })),
        &["query"],
    );
    search["anyOf"] = somebody(&["filters"]);
    let message = object(
        json!({"role": {"enum": ["user", "assistant", "system"]}, "content": of("Text"),
               "name": {"type": "string"}}),
        &["role", "content"],
    );
    json!({
        "Id": {
            "type": "string",
            "maxLength": 256,
            "pattern": ID,
            "description": "Whose memories: a user's, an agent's, an application's or a run's. Of \
                            DingTalk's people the staff id. `*` means any, and needs an \
                            administrator's key."
        },
        "AnyId": {
            "type": ["string", "number", "null"],
            "maxLength": 256,
            "pattern": ID,
            "description": "An id in a body, where a number is taken for one and null for none."
        },
        // Mem0's open-source server has no blanks in them.
        "Word": {
            "type": ["string", "number", "null"],
            "maxLength": 256,
            "pattern": "^[^\\u0000-\\u0020\\u007f-\\u00a0\\s]+$"
        },
        "Day": {
            "type": ["string", "null"],
            "pattern": "^20[0-9]{2}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])$",
            "description": "YYYY-MM-DD"
        },
        "Text": {"type": "string", "maxLength": 2000, "pattern": SOMETHING},
        "Filters": {
            "type": "object",
            "description": "Conditions, of which at least one names a user, agent, app or run, wherever \
                            AND leads to it. AND, OR and NOT nest; eq, ne, gt, gte, lt, lte, in, nin, \
                            contains and icontains compare: {\"AND\": [{\"user_id\": \"ann\"}, \
                            {\"created_at\": {\"gte\": \"2026-01-01\"}}]}.",
            "properties": with_ids(json!({
                "AND": of("Conditions"),
                "OR": of("Conditions")
            })),
            "anyOf": somebody(&["AND", "OR"]),
            "additionalProperties": false
        },
        "Conditions": {"anyOf": [
            of("Condition"),
            {"type": "array", "items": of("Condition")}
        ]},
        "Condition": {
            "type": "object",
            "properties": with_ids(json!({})),
            "anyOf": somebody(&[]),
            "additionalProperties": false
        },
        "Addition": addition("AnyId", &message),
        "AdditionAtServer": addition("Word", &message),
        "Change": object(json!({
            "text": of("Text"),
            "metadata": {"type": ["object", "null"]},
            "expiration_date": of("Day")
        }), &["text"]),
        "Search": search,
        "Selection": object(json!({"filters": of("Filters")}), &["filters"]),
        "Memory": object(with_ids(json!({
            "id": {"type": "string"},
            "memory": {"type": "string"},
            "metadata": {"type": ["object", "null"]},
            "categories": {"type": "array", "items": {"type": "string"}},
            "hash": {"type": "string"},
            "created_at": {"type": "string"},
            "updated_at": {"type": "string"},
            "score": {"type": "number", "minimum": 0, "maximum": 1}
        })), &["id", "memory", "hash", "created_at", "updated_at"]),
        "Page": object(json!({
            "count": {"type": "integer", "minimum": 0},
            "next": text_or_null,
            "previous": text_or_null,
            "results": list_of(&of("Memory"))
        }), &["count", "next", "previous", "results"]),
        "Added": object(json!({"id": {"type": "string"}, "event": {"const": "ADD"}}), &["id", "event"]),
        "Past": object(json!({
            "id": {"type": "string"},
            "memory_id": {"type": "string"},
            "event": {"enum": ["ADD", "UPDATE", "DELETE"]},
            "old_memory": text_or_null,
            "new_memory": text_or_null
        }), &["id", "memory_id", "event", "old_memory", "new_memory"]),
        "Event": object(json!({
            "id": {"type": "string"},
            "event_type": {"type": "string"},
            "status": {"enum": ["PENDING", "RUNNING", "SUCCEEDED", "FAILED"]},
            "results": {"type": ["array", "null"]}
        }), &["id", "event_type", "status", "results"]),
        "Error": object(json!({
            "detail": {},
            "error": {"type": "string"}
        }), &["detail", "error"])
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::mem0::paths::{self, Place};

    #[test]
    fn every_path_that_is_told_is_there_and_every_one_that_is_there_is_told() {
        let document = document();
        let told = document["paths"].as_object().unwrap();
        let place = |path: &str| paths::find(&path.replace(['{', '}'], "")).map(|it| it.place);
        for path in told.keys() {
            let found = place(path);
            assert!(found.is_some() && !matches!(found, Some(Place::Unsupported(_))), "{path}");
        }
        let places: Vec<_> = told.keys().filter_map(|path| place(path)).collect();
        for path in paths::PATHS {
            let found = place(path).unwrap();
            // Told of by their newer spelling, or for the maintainer alone.
            let known = matches!(
                found,
                Place::Unsupported(_)
                    | Place::Project
                    | Place::Reset
                    | Place::Entity
                    | Place::EntityV1
            );
            assert!(known || places.contains(&found), "{path}");
        }
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let document = document();
        let text = document.to_string();
        for part in text.split("\"#/components/schemas/").skip(1) {
            let name = part.split('"').next().unwrap();
            assert!(document["components"]["schemas"].get(name).is_some(), "{name}");
        }
    }
}
