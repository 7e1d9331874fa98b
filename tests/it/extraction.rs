//! What a person's message says, asked of a model that answers as real ones do.

use std::sync::Arc;
use std::time::{Duration, Instant};

use dingbot::config::settings::Llm;
use dingbot::llm::{ChatModel, LlmError};
use dingbot::memory::Utterance;
use dingbot::memory::extraction::{ExtractError, Known, Statement, extract, profile};
use dingbot::telemetry::metrics::Metrics;
use futures_util::future::join_all;
use jiff::tz::TimeZone;
use serde::Deserialize;

use crate::support::model::{KEY, Model, Reply};

/// Monday 2026-11-23 07:30 in Shanghai, and still Sunday in UTC.
const SAID_AT: i64 = 1_795_390_200_000;

/// A line of the table.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    message: String,
    #[serde(default)]
    known: Vec<String>,
    answers: Vec<Answer>,
    keeps: Option<Vec<Kept>>,
    fails: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Answer {
    Whole(String),
    Cut { cut: String },
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Kept {
    Text(String),
    Full {
        text: String,
        #[serde(default)]
        supersedes: Vec<usize>,
        repeats: Option<usize>,
    },
}

impl From<&Kept> for Statement {
    fn from(kept: &Kept) -> Self {
        match kept {
            Kept::Text(text) => Self { text: text.clone(), supersedes: Vec::new(), repeats: None },
            Kept::Full { text, supersedes, repeats } => {
                Self { text: text.clone(), supersedes: supersedes.clone(), repeats: *repeats }
            }
        }
    }
}

fn table() -> Vec<Case> {
    let file = include_str!("extraction/answers.yaml");
    serde_saphyr::from_str(file).expect("a table of cases")
}

fn client(model: &Model, timeout: Duration) -> ChatModel {
    let settings = Llm {
        base_url: model.base().parse().unwrap(),
        api_key: KEY.into(),
        model: "m-1".into(),
        timeout,
        ..Llm::default()
    };
    ChatModel::new(&settings, Arc::new(Metrics::new())).unwrap()
}

fn zone() -> TimeZone {
    TimeZone::get("Asia/Shanghai").unwrap()
}

fn said(text: &str) -> Utterance<'_> {
    Utterance { text, source: "m1", said_at: SAID_AT }
}

/// Asks a model that replies so, one after another; also tells how often it was asked.
async fn extracted(
    message: &str,
    known: &[Known],
    replies: Vec<Reply>,
) -> (Result<Vec<Statement>, ExtractError>, Model) {
    let model = Model::start().await;
    model.answer_next(replies);
    let client = client(&model, Duration::from_secs(20));
    (extract(&client, &said(message), known, &zone()).await, model)
}

#[tokio::test]
async fn each_answer_of_the_table_is_understood() {
    let cases = table();
    assert!(cases.len() >= 50, "{}", cases.len());
    let mut asked_twice = 0;
    for case in &cases {
        let known = case.known.iter().zip(1..);
        let known: Vec<Known> =
            known.map(|(text, number)| Known { number, text: text.clone() }).collect();
        let replies = case.answers.iter().map(|answer| match answer {
            // No model says nothing and is heard: to the client it is a failure to be repeated.
            Answer::Whole(text) => Reply::text(text),
            Answer::Cut { cut } => Reply::CutOff(cut.clone()),
        });
        let (result, model) = extracted(&case.message, &known, replies.collect()).await;
        let times = model.asked().len();
        assert_eq!(times, case.answers.len(), "{}: asked so often", case.name);
        asked_twice += usize::from(times == 2);
        match (&case.keeps, &case.fails) {
            (Some(keeps), None) => {
                let keeps: Vec<Statement> = keeps.iter().map(Statement::from).collect();
                assert_eq!(result, Ok(keeps), "{}", case.name);
            }
            (None, Some(kind)) => {
                let error = result.expect_err(&case.name);
                assert_eq!(error.kind(), kind, "{}", case.name);
                assert!(error.blames_message(), "{}", case.name);
            }
            _ => panic!("{}: either keeps or fails", case.name),
        }
    }
    println!("{} answers, {asked_twice} of them asked for twice", cases.len());
}

#[tokio::test]
async fn the_second_request_shows_the_answer_and_what_is_wrong_with_it() {
    let answers = [r#"["User lives in Hangzhou"]"#, r#"{"memories":["我住在杭州"]}"#];
    let (result, model) = extracted("我住在杭州", &[], answers.map(Reply::text).into()).await;
    assert_eq!(result.unwrap().len(), 1);
    let asked = model.asked();
    let messages = asked[1].body["messages"].as_array().unwrap();
    let roles: Vec<&str> = messages.iter().map(|m| m["role"].as_str().unwrap()).collect();
    assert_eq!(roles, ["system", "user", "assistant", "user"]);
    assert_eq!(messages[..2], asked[0].body["messages"].as_array().unwrap()[..]);
    assert_eq!(messages[2]["content"], answers[0]);
    let complaint = messages[3]["content"].as_str().unwrap();
    assert!(complaint.contains("\"User lives in Hangzhou\" must be in Chinese"), "{complaint}");
}

#[tokio::test]
async fn the_prompt_has_the_day_of_the_person_and_the_memories_by_number() {
    let known = [Known { number: 7, text: "我住在杭州".into() }];
    let (_, model) = extracted("我明天搬家", &known, vec![Reply::text("[]")]).await;
    let prompt = model.asked()[0].prompt();
    assert!(prompt.contains("Monday 2026-11-23 07:30"), "{prompt}");
    assert!(prompt.contains("7: \"我住在杭州\"\nMessage: \"我明天搬家\"\n"), "{prompt}");
}

#[tokio::test]
async fn a_message_without_a_statement_costs_no_call() {
    for message in ["谢谢！", "我叫什么名字？", "/memories", "Can you help me", "👍", ""]
    {
        let (result, model) = extracted(message, &[], Vec::new()).await;
        assert_eq!(result, Ok(Vec::new()), "{message}");
        assert!(model.asked().is_empty(), "{message}");
    }
}

#[tokio::test]
async fn what_fails_at_the_endpoint_is_an_error_and_never_nothing() {
    let many = |reply: Reply| vec![reply; 3];
    let failures = [
        (many(Reply::Status(500)), LlmError::Server(500), false),
        (many(Reply::RateLimited(0)), LlmError::RateLimited, false),
        (vec![Reply::Unauthorized], LlmError::Unauthorized, false),
        (vec![Reply::ContentFilter], LlmError::Refused, true),
        (vec![Reply::TooLong], LlmError::ContextTooLong, true),
        (vec![Reply::CutOff("<think>how shall I".into()); 2], LlmError::OutOfTokens, true),
    ];
    join_all(failures.map(async |(replies, error, blames_message)| {
        let (result, _) = extracted("我叫张三", &[], replies).await;
        let failed = result.unwrap_err();
        assert_eq!(failed, ExtractError::Model(error.clone()));
        assert_eq!(failed.blames_message(), blames_message, "{failed}");
        assert_eq!(failed.kind(), error.outcome());
    }))
    .await;
    let rubbish = [many(Reply::BrokenJson), many(Reply::Close), vec![Reply::Html]];
    join_all(rubbish.map(async |replies| {
        let (result, _) = extracted("我叫张三", &[], replies).await;
        assert!(!result.unwrap_err().blames_message());
    }))
    .await;
}

#[tokio::test]
async fn a_passing_failure_loses_nothing() {
    let answer = Reply::text(r#"{"memories":["我叫张三"]}"#);
    let passing = [
        Reply::Status(503),
        Reply::RateLimited(0),
        Reply::Close,
        Reply::BreakOff(r#"{"memories":["我叫"#.repeat(4)),
    ];
    join_all(passing.map(async |passing| {
        let (result, _) = extracted("我叫张三", &[], vec![passing.clone(), answer.clone()]).await;
        assert_eq!(result.unwrap()[0].text, "我叫张三", "{passing:?}");
    }))
    .await;
}

#[tokio::test]
async fn an_answer_that_was_too_long_is_given_more_room() {
    let answer = Reply::text(r#"{"memories":["我叫张三"]}"#);
    for cut in ["<think>用户说", r#"{"memories":["我叫"#] {
        let (result, model) =
            extracted("我叫张三", &[], vec![Reply::CutOff(cut.into()), answer.clone()]).await;
        assert_eq!(result.unwrap()[0].text, "我叫张三", "{cut}");
        let asked = model.asked();
        let room = |at: usize| asked[at].body["max_tokens"].as_u64().unwrap();
        assert!(room(1) > room(0), "{cut}");
    }
}

#[tokio::test]
async fn a_failure_at_the_second_request_is_one_too() {
    let replies =
        vec![Reply::text(r#"{"memories":["我叫张三","Works in Hangzhou"]}"#), Reply::ContentFilter];
    let (result, _) = extracted("我叫张三，在杭州做运维", &[], replies).await;
    assert_eq!(result, Err(ExtractError::Model(LlmError::Refused)));
}

#[tokio::test]
async fn silence_ends_in_time() {
    for silence in [Reply::Stall, Reply::StallMidway("{\"memories\": [\"half of it\"]}".into())] {
        let model = Model::start().await;
        model.answer_always(silence);
        let client = client(&model, Duration::from_millis(300));
        let started = Instant::now();
        let result = extract(&client, &said("我叫张三"), &[], &zone()).await;
        assert_eq!(result, Err(ExtractError::Model(LlmError::Timeout)));
        assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
        assert_eq!(model.asked().len(), 1);
    }
}

#[tokio::test]
async fn a_summary_is_asked_for_twice_at_most() {
    let memories = ["我叫张三", "我在杭州做运维", "我对花生过敏"].map(String::from);
    let summary = "张三，在杭州做运维，对花生过敏。";
    let right = Reply::text(format!("```json\n{{\"summary\": \"{summary}\"}}\n```"));
    let wrong = Reply::text("{\"summary\": \"Zhang San, 35, works in Hangzhou\"}");
    for (replies, expected) in [
        (vec![right.clone()], Some(summary)),
        (vec![wrong.clone(), right.clone()], Some(summary)),
        (vec![wrong.clone(), wrong], None),
    ] {
        let model = Model::start().await;
        let times = replies.len();
        model.answer_next(replies);
        let client = client(&model, Duration::from_secs(20));
        let result = profile::summarize(&client, &memories).await;
        assert_eq!(result.as_deref().ok(), expected);
        assert_eq!(model.asked().len(), times);
        if let Err(error) = result {
            assert_eq!(error.kind(), "not_understood");
        }
    }
}
