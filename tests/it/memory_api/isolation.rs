//! Nobody is shown what is another's, whatever is asked: random memories and filters, held to a
//! plain reading of the filter language.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};

use super::Api;

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
