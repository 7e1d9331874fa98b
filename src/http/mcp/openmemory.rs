//! The tools of OpenMemory: those of one person, whom the path names.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use rmcp::model::Tool;
use serde_json::{Value, json};
use warp::http::Method;

use super::{ApiCall, Arguments, Tools, Trouble, text, tool};
use crate::http::auth::Right;

/// Memories that a search returns.
const FOUND: usize = 10;
/// Most memories that one call deletes.
const MOST: usize = 1_000;

/// The tools as they are listed.
pub(super) fn tools() -> Vec<Tool> {
    vec![
        tool(
            "add_memories",
            "Keep something that the person told about themselves or wants remembered.",
            json!({
                "text": {"type": "string"},
                "infer": {
                    "type": "boolean",
                    "default": true,
                    "description": "false keeps the text word for word"
                }
            }),
            &["text"],
        ),
        tool(
            "search_memory",
            "Find what is remembered of the person that fits a question.",
            json!({"query": {"type": "string"}}),
            &["query"],
        ),
        tool("list_memories", "List all memories of the person.", json!({}), &[]),
        tool(
            "delete_memories",
            "Delete memories of the person, by their ids.",
            json!({"memory_ids": {"type": "array", "items": {"type": "string"}}}),
            &["memory_ids"],
        ),
        tool("delete_all_memories", "Delete all memories of the person.", json!({}), &[]),
    ]
}

/// Calls a tool; `None`: there is none of this name.
pub(super) async fn call(
    tools: &Tools,
    right: Right,
    (client, user): (&str, &str),
    name: &str,
    arguments: &Arguments,
) -> Option<Result<String, String>> {
    let place = Person { tools, right, client, user };
    let told = match name {
        "add_memories" => place.add(arguments).await,
        "search_memory" => place.search(arguments).await,
        "list_memories" => place.list().await,
        "delete_memories" => place.delete(arguments).await,
        "delete_all_memories" => place.delete_all().await,
        _ => return None,
    };
    Some(told.map_err(|trouble| match trouble.detail {
        Value::String(text) => format!("Error: {text}"),
        other => format!("Error: {other}"),
    }))
}

/// Whose memories they are, and through which program.
struct Person<'a> {
    tools: &'a Tools,
    right: Right,
    client: &'a str,
    user: &'a str,
}

impl Person<'_> {
    async fn ask(&self, call: ApiCall) -> Result<Value, Trouble> {
        self.tools.call(self.right, call).await
    }

    async fn add(&self, arguments: &Arguments) -> Result<String, Trouble> {
        let body = json!({
            "messages": text(arguments, "text")?,
            "user_id": self.user,
            "infer": arguments.get("infer").and_then(Value::as_bool).unwrap_or(true),
            "metadata": {"source_app": "openmemory", "mcp_client": self.client},
            "async_mode": false,
            "output_format": "v1.1",
        });
        let added = self.ask(ApiCall::new(Method::POST, "/v1/memories/", body)).await?;
        Ok(added.to_string())
    }

    async fn search(&self, arguments: &Arguments) -> Result<String, Trouble> {
        let body = json!({
            "query": text(arguments, "query")?,
            "filters": {"user_id": self.user},
            "top_k": FOUND,
        });
        let found = self.ask(ApiCall::new(Method::POST, "/search", body)).await?;
        let shown = found["results"].as_array().into_iter().flatten().map(|memory| {
            let names = ["id", "memory", "hash", "created_at", "updated_at", "score"];
            let fields = names.into_iter().map(|name| (name.to_owned(), memory[name].clone()));
            Value::Object(fields.collect())
        });
        Ok(json!({ "results": shown.collect::<Vec<_>>() }).to_string())
    }

    async fn list(&self) -> Result<String, Trouble> {
        let call = ApiCall::get("/memories").with_query(&[("user_id", self.user)]);
        let mut listed = self.ask(call).await?;
        Ok(listed["results"].take().to_string())
    }

    async fn delete(&self, arguments: &Arguments) -> Result<String, Trouble> {
        let wrong = || Trouble::arguments("Give memory_ids as a list of ids.");
        let ids = arguments.get("memory_ids").and_then(Value::as_array).ok_or_else(wrong)?;
        if ids.is_empty() || ids.len() > MOST {
            return Err(wrong());
        }
        let ids = ids.iter().map(|id| id.as_str().ok_or_else(wrong));
        let mut paths = Vec::new();
        for id in ids {
            let id = utf8_percent_encode(id?, NON_ALPHANUMERIC).to_string();
            let path = format!("/v1/memories/{id}/");
            // Somebody else's is not there.
            match self.ask(ApiCall::get(path.clone())).await {
                Ok(memory) if memory["user_id"] == self.user => paths.push(path),
                Ok(_) | Err(Trouble { status: 404, .. }) => {}
                Err(trouble) => return Err(trouble),
            }
        }
        if paths.is_empty() {
            return Err(Trouble::arguments("No accessible memories found with provided IDs"));
        }
        let count = paths.len();
        for path in paths {
            match self.ask(ApiCall::new(Method::DELETE, path, Value::Null)).await {
                Ok(_) | Err(Trouble { status: 404, .. }) => {}
                Err(trouble) => return Err(trouble),
            }
        }
        Ok(format!("Successfully deleted {count} memories"))
    }

    async fn delete_all(&self) -> Result<String, Trouble> {
        let call = ApiCall::new(Method::DELETE, "/v1/memories/", Value::Null);
        self.ask(call.with_query(&[("user_id", self.user)])).await?;
        Ok("Successfully deleted all memories".into())
    }
}
