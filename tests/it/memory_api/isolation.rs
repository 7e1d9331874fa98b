//! Nobody is shown what is another's, whatever is asked: random memories and filters, held to a
//! plain reading of the filter language.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};

use super::Api;
use crate::support::stage::Stage;

/// A memory: user, agent, a number and a tag in its metadata.
#[derive(Debug, Clone)]
struct Kept {
    user: &'static str,
    agent: Option<&'static str>,
    number: i64,
    tag: &'static str,
}

/// A condition, and what it means.
#[derive(Debug, Clone)]
enum Condition {
    User(&'static str),
    Agent(&'static str),
    Number(&'static str, i64),
    Tag(&'static str),
    Not(Box<Condition>),
    All(Vec<Condition>),
    Any(Vec<Condition>),
}

const USERS: [&str; 3] = ["ann", "bob", "安妮"];
const AGENTS: [&str; 2] = ["chef", "coach"];
const TAGS: [&str; 3] = ["work", "home", "wörk"];

impl Condition {
    fn written(&self) -> Value {
        match self {
            Self::User(id) => json!({ "user_id": id }),
            Self::Agent(id) => json!({ "agent_id": id }),
            Self::Number(operator, number) => {
                json!({"metadata": {"number": {*operator: number}}})
            }
            Self::Tag(tag) => json!({"metadata": {"tag": tag}}),
            Self::Not(part) => json!({"NOT": [part.written()]}),
            Self::All(parts) => json!({"AND": parts.iter().map(Self::written).collect::<Vec<_>>()}),
            Self::Any(parts) => json!({"OR": parts.iter().map(Self::written).collect::<Vec<_>>()}),
        }
    }

    fn holds(&self, kept: &Kept) -> bool {
        match self {
            Self::User(id) => kept.user == *id,
            Self::Agent(id) => kept.agent == Some(*id),
            Self::Number("gte", number) => kept.number >= *number,
            Self::Number("lt", number) => kept.number < *number,
            Self::Number("ne", number) => kept.number != *number,
            Self::Number(_, number) => kept.number == *number,
            Self::Tag(tag) => kept.tag == *tag,
            Self::Not(part) => !part.holds(kept),
            Self::All(parts) => parts.iter().all(|part| part.holds(kept)),
            Self::Any(parts) => parts.iter().any(|part| part.holds(kept)),
        }
    }
}

fn conditions() -> impl Strategy<Value = Condition> {
    let leaf = prop_oneof![
        prop::sample::select(&USERS[..]).prop_map(Condition::User),
        prop::sample::select(&AGENTS[..]).prop_map(Condition::Agent),
        (prop::sample::select(&["gte", "lt", "ne", "eq"][..]), 0..4_i64)
            .prop_map(|(operator, number)| Condition::Number(operator, number)),
        prop::sample::select(&TAGS[..]).prop_map(Condition::Tag),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        let parts = prop::collection::vec(inner.clone(), 1..3);
        prop_oneof![
            inner.prop_map(|part| Condition::Not(Box::new(part))),
            parts.clone().prop_map(Condition::All),
            parts.prop_map(Condition::Any),
        ]
    })
}

fn memories() -> impl Strategy<Value = Vec<Kept>> {
    let agent = prop::option::of(prop::sample::select(&AGENTS[..]));
    let kept = (prop::sample::select(&USERS[..]), agent, 0..4_i64, prop::sample::select(&TAGS[..]));
    let kept = kept.prop_map(|(user, agent, number, tag)| Kept { user, agent, number, tag });
    prop::collection::vec(kept, 12)
}

#[test]
fn only_what_the_filter_selects_is_shown() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let api = runtime.block_on(Api::start());
    let mut runner = TestRunner::new(Config { cases: 24, ..Config::default() });
    let filters = prop::collection::vec((prop::sample::select(&USERS[..]), conditions()), 6);
    runner
        .run(&(memories(), filters), |(memories, filters)| {
            runtime.block_on(async {
                api.post("/reset", json!({})).await;
                for (index, kept) in memories.iter().enumerate() {
                    let mut whose = json!({ "user_id": kept.user });
                    if let Some(agent) = kept.agent {
                        whose["agent_id"] = agent.into();
                    }
                    let metadata = json!({"number": kept.number, "tag": kept.tag,
                        "user_id": "eve", "agent_id": "eve"});
                    api.keep(&whose, &format!("x {index}"), json!({ "metadata": metadata })).await;
                }
                for (user, condition) in filters {
                    let filter = json!({"AND": [{"user_id": user}, condition.written()]});
                    let mut expected: Vec<String> = memories
                        .iter()
                        .enumerate()
                        .filter(|(_, kept)| kept.user == user && condition.holds(kept))
                        .map(|(index, _)| format!("x {index}"))
                        .collect();
                    expected.sort();
                    let mut found = api.found("x", filter.clone()).await;
                    let mut listed = api.listed(filter.clone()).await;
                    found.sort();
                    listed.sort();
                    prop_assert_eq!(&found, &expected, "search by {}", filter);
                    prop_assert_eq!(&listed, &expected, "list by {}", filter);
                }
                Ok(())
            })
        })
        .unwrap();
}

/// Texts of which each says whose it is.
fn of_people() -> impl Strategy<Value = Vec<&'static str>> {
    prop::collection::vec(prop::sample::select(&USERS[..]), 3..8)
}

/// What a tool answers.
async fn tool(stage: &Stage, path: &str, name: &str, arguments: Value) -> String {
    let params = json!({"name": name, "arguments": arguments});
    let call = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params});
    let request = stage.daemon.client().post(stage.daemon.url(path)).json(&call);
    let request = request.header("accept", "application/json, text/event-stream");
    let answer: Value = request.send().await.unwrap().json().await.unwrap();
    assert_eq!(answer["result"]["isError"], false, "{answer}");
    answer["result"]["content"].to_string()
}

/// All that `user` can be shown, by the way it came.
async fn shown(stage: &Stage, user: &str, own: &[String], number: usize) -> Vec<(String, String)> {
    let mut shown = Vec::new();
    let whose = json!({ "user_id": user });
    let hosted = json!({"query": "tea", "filters": whose});
    for (path, name, arguments) in [
        ("/mcp".to_owned(), "search_memories", hosted.clone()),
        ("/mcp".to_owned(), "get_memories", hosted),
        (format!("/mcp/test/http/{user}"), "search_memory", json!({"query": "tea"})),
        (format!("/mcp/test/http/{user}"), "list_memories", json!({})),
    ] {
        shown.push((name.to_owned(), tool(stage, &path, name, arguments).await));
    }
    let exported = stage.daemon.command(&["memory", "export", "--user", user]).await;
    shown.push(("export".into(), exported));
    let question = format!("Which tea is mine? {number}");
    stage.daemon.accepts(stage.dingtalk.callback().from(user).text(&question)).await;
    let asked = stage.model.wait_for_question(&question).await;
    // Of a long list the prompt has the best.
    if own.len() <= 3 {
        shown.push(("prompt".into(), asked.prompt()));
    }
    shown
}

#[test]
fn every_way_in_shows_people_what_is_theirs_and_nothing_else() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let stage = runtime.block_on(Stage::new());
    let mut runner = TestRunner::new(Config { cases: 6, ..Config::default() });
    let round = std::sync::atomic::AtomicUsize::new(0);
    runner
        .run(&of_people(), |people| {
            runtime.block_on(async {
                let round = round.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                let client = stage.daemon.client();
                client.post(stage.daemon.url("/reset")).send().await.unwrap();
                let text = |index: usize| format!("my tea is sort{round}x{index}y");
                for (index, user) in people.iter().enumerate() {
                    let message = json!({"role": "user", "content": text(index)});
                    let body = json!({"messages": [message], "user_id": user, "infer": false});
                    let request = client.post(stage.daemon.url("/v1/memories/")).json(&body);
                    assert_eq!(request.send().await.unwrap().status(), 200);
                }
                for (at, user) in USERS.iter().enumerate() {
                    let (own, others): (Vec<_>, Vec<_>) =
                        people.iter().enumerate().partition(|(_, it)| *it == user);
                    let texts = |of: Vec<(usize, _)>| -> Vec<String> {
                        of.into_iter().map(|(index, _)| text(index)).collect()
                    };
                    let (own, others) = (texts(own), texts(others));
                    for (way, shown) in shown(&stage, user, &own, 10 * round + at).await {
                        for text in &own {
                            prop_assert!(shown.contains(text), "{}: no {}: {}", way, text, shown);
                        }
                        for text in &others {
                            prop_assert!(!shown.contains(text), "{}: {}: {}", way, text, shown);
                        }
                    }
                }
                Ok(())
            })
        })
        .unwrap();
}
