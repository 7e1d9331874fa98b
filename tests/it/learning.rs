//! What the model makes of what people say, in the background and behind the API.

mod by_clock;

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::PATIENCE;
use crate::support::daemon::Daemon;
use crate::support::exposition::Exposition;
use crate::support::model::{Asked, Reply};
use crate::support::stage::Stage;

/// The number that a known memory is shown by.
fn number_of(question: &str, memory: &str) -> Option<usize> {
    let line = question.lines().find(|line| line.ends_with(&format!(": \"{memory}\"")))?;
    line.split(':').next()?.parse().ok()
}

/// A model that answers people by an echo, and makes of their messages what a good one would.
fn teacher(asked: &Asked) -> Reply {
    let question = asked.question();
    if question.starts_with("Memories:") && question.contains("\nSchema: ") {
        return Reply::text(r#"{"name":"张三","cats":null,"invented":"x"}"#);
    }
    if question.starts_with("Memories:") {
        return Reply::text(r#"{"summary":"张三，住在上海，养猫。"}"#);
    }
    if !question.starts_with("Time of the message:") {
        return Reply::Text(format!("echo: {question}"));
    }
    let said = |part: &str| question.contains(&format!("Message: {part}"));
    let fact = |text: &str| json!({"text": text, "supersedes": [], "repeats": null});
    let memories = if said("\"对了，我叫张三，住在杭州") {
        vec![fact("我叫张三"), fact("我住在杭州"), fact("我2026-12-02去上海出差")]
    } else if said("\"我搬到上海了") {
        let old = number_of(question, "我住在杭州").into_iter().collect::<Vec<_>>();
        vec![json!({"text": "我搬到上海了", "supersedes": old})]
    } else if said("\"我养了一只猫") {
        vec![fact("我养了一只猫")]
    } else {
        Vec::new()
    };
    Reply::text(json!({ "memories": memories }).to_string())
}

async fn stage() -> Stage {
    let stage = Stage::with(|settings| settings.learning().text("log.level", "debug")).await;
    stage.model.answer_by(teacher);
    stage
}

/// What ann says, with the answer delivered.
async fn ann_says(stage: &Stage, text: &str) {
    stage.daemon.accepts(stage.dingtalk.callback().from("ann").text(text)).await;
    stage.dingtalk.wait_for_text(&format!("echo: {text}")).await;
}

async fn has_memories(daemon: &Daemon, count: f64) {
    let kept = |metrics: &Exposition| {
        metrics.sum("dingbot_memories", &[]) == count
            && metrics.sum("dingbot_memory_jobs", &[]) == 0.0
    };
    daemon.wait_for_metrics("the memories are there", kept).await;
}

async fn send(daemon: &Daemon, method: Method, path: &str, body: Value) -> Value {
    let request = daemon.client().request(method, daemon.url(path)).json(&body);
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), 200, "{path}");
    response.json().await.unwrap()
}

async fn found(daemon: &Daemon, query: &str) -> Vec<Value> {
    let asked = json!({"query": query, "filters": {"user_id": "ann"}, "top_k": 10});
    let found = send(daemon, Method::POST, "/v3/memories/search/", asked).await;
    found["results"].as_array().unwrap().clone()
}

fn texts(memories: &[Value]) -> Vec<&str> {
    memories.iter().map(|memory| memory["memory"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_message_becomes_statements_and_a_later_one_takes_their_place() {
    let stage = stage().await;
    ann_says(&stage, "对了，我叫张三，住在杭州，2026年12月2日要去上海出差").await;
    has_memories(&stage.daemon, 3.0).await;
    ann_says(&stage, "我搬到上海了").await;
    has_memories(&stage.daemon, 4.0).await;

    // What holds comes first, what held is still there, and says what took its place.
    let all = found(&stage.daemon, "我住在哪里，搬到哪里了").await;
    let place = |text: &str| all.iter().position(|memory| memory["memory"] == text).unwrap();
    assert!(place("我搬到上海了") < place("我住在杭州"), "{:?}", texts(&all));
    let old = &all[place("我住在杭州")];
    assert_eq!(old["replaced_by"], all[place("我搬到上海了")]["id"]);
    let path = format!("/v1/memories/{}/history/", old["id"].as_str().unwrap());
    let history = send(&stage.daemon, Method::GET, &path, Value::Null).await;
    assert_eq!(history[1]["old_memory"], "我住在杭州");
    assert_eq!(history[1]["new_memory"], "我搬到上海了");

    // The next question has them, as data.
    ann_says(&stage, "我叫什么名字？").await;
    let prompt = stage.model.wait_for_question("我叫什么名字？").await.prompt();
    assert!(prompt.contains("- \"我叫张三\""), "{prompt}");
    let log = stage.daemon.log().all().join("\n");
    assert!(!log.contains("张三"), "what people say is not logged");
}

#[tokio::test]
async fn who_is_known_is_summed_up_and_the_summary_goes_with_what_is_forgotten() {
    let stage = stage().await;
    ann_says(&stage, "对了，我叫张三，住在杭州，2026年12月2日要去上海出差").await;
    stage.model.wait_for_question("Memories:").await;
    let written = |metrics: &Exposition| {
        let labels = [("operation", "profile"), ("outcome", "ok")];
        metrics.sum("dingbot_memory_operations_total", &labels) == 1.0
    };
    stage.daemon.wait_for_metrics("the profile is written", written).await;
    ann_says(&stage, "在吗？").await;
    let prompt = stage.model.wait_for_question("在吗？").await.prompt();
    assert!(prompt.contains("In short: \"张三，住在上海，养猫。\""), "{prompt}");

    // Not a moment longer than what it was made of. Another is written, of what is left.
    ann_says_command(&stage, "/forget 1").await;
    stage.daemon.wait_for_metrics("forgotten", |it| it.sum("dingbot_memories", &[]) == 2.0).await;
    let before = stage.model.asked().len();
    stage.daemon.accepts(stage.dingtalk.callback().from("ann").text("还在吗？")).await;
    stage.dingtalk.wait_for_text("echo: 还在吗？").await;
    let prompt = stage.model.wait_for_question("还在吗？").await.prompt();
    let rewritten = stage.model.asked()[..before].iter().filter(|it| is_summary(it)).count() > 1;
    assert!(rewritten || !prompt.contains("In short"), "{prompt}");
    for asked in stage.model.asked().iter().filter(|it| is_summary(it)).skip(1) {
        assert!(!asked.question().contains("我叫张三"), "{}", asked.question());
    }
}

fn is_summary(asked: &Asked) -> bool {
    asked.question().starts_with("Memories:")
}

async fn ann_says_command(stage: &Stage, command: &str) {
    stage.daemon.accepts(stage.dingtalk.callback().from("ann").text(command)).await;
}

#[tokio::test]
async fn an_outage_of_the_model_loses_nothing_nor_does_a_kill() {
    let mut stage = stage().await;
    let down = |asked: &Asked| match asked.question().starts_with("Time of the message:") {
        true => Reply::Status(503),
        false => Reply::Text(format!("echo: {}", asked.question())),
    };
    stage.model.answer_by(down);
    ann_says(&stage, "对了，我叫张三，住在杭州，2026年12月2日要去上海出差").await;
    ann_says(&stage, "我养了一只猫").await;
    let waiting = |metrics: &Exposition| metrics.sum("dingbot_memory_jobs", &[]) == 2.0;
    stage.daemon.wait_for_metrics("both wait", waiting).await;
    assert_eq!(found(&stage.daemon, "张三").await.len(), 0);
    let told = |line: &String| line.contains("the model makes no memories; what was said waits");
    stage.daemon.log().wait_for(|log| log.iter().any(told), PATIENCE).await;

    stage.daemon.kill9().await;
    stage.model.answer_by(teacher);
    stage.daemon.restart().await;
    has_memories(&stage.daemon, 4.0).await;
    assert_eq!(texts(&found(&stage.daemon, "我叫张三").await)[0], "我叫张三");
}

#[tokio::test]
async fn what_is_added_by_the_api_goes_the_same_way() {
    let stage = stage().await;
    let text = "对了，我叫张三，住在杭州，2026年12月2日要去上海出差";
    let conversation = json!([
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": text},
        {"role": "assistant", "content": "你喜欢杭州吧？"},
    ]);
    let body = json!({"messages": conversation, "user_id": "ann", "metadata": {"from": "test"}});
    let added = send(&stage.daemon, Method::POST, "/v3/memories/add/", body.clone()).await;
    assert_eq!(added["status"], "PENDING", "{added}");
    let path = format!("/v1/event/{}/", added["event_id"].as_str().unwrap());
    let mut event = Value::Null;
    for _ in 0..200 {
        event = send(&stage.daemon, Method::GET, &path, Value::Null).await;
        if event["status"] == "SUCCEEDED" {
            break;
        }
        assert!(["PENDING", "RUNNING"].contains(&event["status"].as_str().unwrap()), "{event}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let made: Vec<_> = event["results"].as_array().unwrap().iter().collect();
    assert_eq!(made.len(), 3, "{event}");
    assert_eq!(made[0]["data"]["memory"], "我叫张三");
    assert!(!event.to_string().contains(text), "what was said is not kept with what came of it");

    let all = found(&stage.daemon, "张三").await;
    assert_eq!(all[0]["metadata"], json!({"from": "test"}));
    assert_eq!(all[0]["id"], made[0]["id"]);

    // Said again, it is known; and who wants to wait is answered with what came of it.
    let again = json!({"messages": "对了，我叫张三，住在杭州，真的", "user_id": "ann"});
    let again = send(&stage.daemon, Method::POST, "/memories", again).await;
    let new: Vec<_> = again["results"].as_array().unwrap().iter().map(|it| &it["memory"]).collect();
    assert!(new.iter().all(|text| *text != "我叫张三" && *text != "我住在杭州"), "{again}");
    let cat = json!({"messages": "我养了一只猫", "user_id": "ann"});
    let cat = send(&stage.daemon, Method::POST, "/memories", cat).await;
    assert_eq!(cat["results"][0]["memory"], "我养了一只猫", "{cat}");

    // While the model does not answer nobody waits for it, and nothing is lost.
    stage.model.answer_always(Reply::Status(503));
    let other = json!({"messages": "我养了一只猫", "user_id": "bob"});
    let later = send(&stage.daemon, Method::POST, "/memories", other).await;
    assert_eq!(later["results"], json!([]), "{later}");
    assert!(later["event_id"].is_string(), "{later}");
    stage.model.answer_by(teacher);
    has_memories(&stage.daemon, 5.0).await;
}

#[tokio::test]
async fn reports_are_made_of_memories_and_go_with_them() {
    let stage = stage().await;
    let profile = async || {
        let path = "/v2/entities/user/ann/profile/";
        send(&stage.daemon, Method::GET, path, Value::Null).await
    };
    assert_eq!(profile().await["status"], "insufficient_data");
    ann_says(&stage, "对了，我叫张三，住在杭州，2026年12月2日要去上海出差").await;
    has_memories(&stage.daemon, 3.0).await;
    let mut written = Value::Null;
    for _ in 0..200 {
        written = profile().await;
        if written["status"] == "succeeded" {
            break;
        }
        assert_eq!(written["status"], "pending");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(written["profile"], "张三，住在上海，养猫。", "{written}");

    let ann = json!({"user_id": "ann"});
    let asked = json!({ "filters": ann });
    let summary = send(&stage.daemon, Method::POST, "/v1/summary/", asked).await;
    assert_eq!(summary["summary"], "张三，住在上海，养猫。");
    let nobody = json!({"filters": {"user_id": "bob"}});
    let summary = send(&stage.daemon, Method::POST, "/v1/summary/", nobody).await;
    assert_eq!(summary["summary"], "");

    let schema = json!({"properties": {"name": {"type": "string"}, "cats": {}}});
    let wishes = "for a badge";
    let asked = json!({"schema": schema, "filters": ann, "export_instructions": wishes});
    let request = stage.daemon.client().post(stage.daemon.url("/v1/exports/")).json(&asked);
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), 201);
    let made: Value = answer.json().await.unwrap();
    let asked = json!({"memory_export_id": made["id"]});
    let form = send(&stage.daemon, Method::POST, "/v1/exports/get/", asked.clone()).await;
    assert_eq!(form, json!({"name": "张三", "cats": null}));
    let told = stage.model.wait_for_question("Schema: ").await;
    assert!(told.question().contains("\"for a badge\""), "{}", told.question());

    // With one memory of it forgotten, what was made of it is gone.
    ann_says_command(&stage, "/forget 1").await;
    stage.daemon.wait_for_metrics("forgotten", |it| it.sum("dingbot_memories", &[]) == 2.0).await;
    let request = stage.daemon.client().post(stage.daemon.url("/v1/exports/get/")).json(&asked);
    assert_eq!(request.send().await.unwrap().status(), 404);
    let events = send(&stage.daemon, Method::GET, "/v1/events/", Value::Null).await;
    assert!(!events.to_string().contains("张三"), "{events}");
}

#[tokio::test]
async fn everything_of_a_person_is_also_what_waits() {
    let stage = stage().await;
    stage.model.answer_always(Reply::Status(503));
    for who in ["ann", "bob"] {
        let body = json!({"messages": "我养了一只猫", "user_id": who});
        send(&stage.daemon, Method::POST, "/v3/memories/add/", body).await;
    }
    send(&stage.daemon, Method::DELETE, "/v1/memories/?user_id=ann", Value::Null).await;
    stage.model.answer_by(teacher);
    has_memories(&stage.daemon, 1.0).await;
    assert_eq!(found(&stage.daemon, "猫").await.len(), 0);
}
