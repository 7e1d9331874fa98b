//! What was found wrong with the service that these clients came from, held to be right here.
//!
//! Its messages of one request share a time and push each other out of a window of ten: there is
//! no such window here. Its file has no write-ahead log and no patience: see `nothing_lost`. It
//! does not check how long a vector is: there are none here yet.

use serde_json::{Value, json};

use super::{Api, texts};

fn ann() -> Value {
    json!({"user_id": "ann"})
}

#[tokio::test]
async fn a_word_that_occurs_never_lowers_a_score() {
    let api = Api::start().await;
    for text in ["the cello", "a cello lesson every Friday", "nothing of the kind at all"] {
        api.keep(&ann(), text, json!({})).await;
    }
    let scores = |came: &Value| -> Vec<f64> {
        came.as_array().unwrap().iter().map(|it| it["score"].as_f64().unwrap()).collect()
    };
    let came = api.post("/v2/memories/search/", json!({"query": "cello", "filters": ann()})).await;
    let alone = scores(&came.body);
    let asked = json!({"query": "cello lesson", "filters": ann()});
    let came = api.post("/v2/memories/search/", asked).await;
    assert_eq!(texts(&came.body)[0], "a cello lesson every Friday");
    assert!(scores(&came.body)[0] >= alone[1], "{alone:?} {came:?}");
}

#[tokio::test]
async fn chinese_is_found_by_its_words() {
    let api = Api::start().await;
    let kept = ["我每天早上喝一杯美式咖啡", "下周三去上海出差", "女儿在杭州上小学"];
    for text in kept {
        api.keep(&ann(), text, json!({})).await;
    }
    for (query, text) in [("咖啡", kept[0]), ("出差", kept[1]), ("杭州", kept[2]), ("茶", "")]
    {
        let found = api.found(query, ann()).await;
        assert_eq!(found.first().map_or("", String::as_str), text, "{query}");
    }
}

#[tokio::test]
async fn a_nested_filter_finds_what_it_says() {
    let api = Api::start().await;
    for (text, priority, tag) in [("x a", 9, "work"), ("x b", 3, "work"), ("x c", 9, "home")] {
        let metadata = json!({"metadata": {"priority": priority, "tag": tag}});
        api.keep(&ann(), text, metadata).await;
    }
    let filters = json!({"AND": [
        {"user_id": "ann"},
        {"OR": [{"metadata": {"tag": "home"}}, {"metadata": {"priority": {"lt": 5}}}]},
        {"NOT": [{"metadata": {"tag": {"contains": "garden"}}}]},
    ]});
    let mut found = api.found("x", filters).await;
    found.sort();
    assert_eq!(found, ["x b", "x c"]);
    // The server's way of writing it.
    let asked = json!({"query": "x", "filters": {"user_id": "ann", "priority": {"gte": 5},
        "tag": {"in": ["home", "garden"]}}});
    assert_eq!(texts(&api.post("/search", asked).await.body["results"]), ["x c"]);
}

#[tokio::test]
async fn who_said_it_in_a_group_is_kept() {
    let api = Api::start().await;
    let messages = json!([
        {"role": "user", "content": "I am allergic to nuts", "name": "ann"},
        {"role": "user", "content": "I am vegetarian", "name": "bob"},
    ]);
    let whose = json!({"run_id": "lunch"});
    let body = json!({"messages": messages, "run_id": "lunch", "infer": false});
    api.post("/v1/memories/", body).await;
    let filters = json!({"AND": [whose, {"actor_id": "bob"}]});
    let asked = json!({"query": "allergic vegetarian", "filters": filters});
    let came = api.post("/search", asked).await;
    assert_eq!(texts(&came.body["results"]), ["I am vegetarian"]);
}

#[tokio::test]
async fn an_id_that_is_none_is_unknown_and_no_failure() {
    let api = Api::start().await;
    for id in ["not-a-uuid", "00000000-0000-0000-0000-000000000000", "%27%3B--"] {
        assert_eq!(api.get(&format!("/v1/memories/{id}/")).await.status, 404);
        assert_eq!(api.delete(&format!("/memories/{id}")).await.status, 404);
    }
}

#[tokio::test]
async fn dates_can_be_compared() {
    let api = Api::start().await;
    for (text, at) in
        [("x old", "2025-03-01T12:00:00+08:00"), ("x new", "2026-03-01T00:30:00+08:00")]
    {
        api.keep(&ann(), text, json!({ "timestamp": at })).await;
    }
    for (filter, expected) in [
        (json!({"created_at": {"gte": "2026-01-01"}}), "x new"),
        (json!({"created_at": {"lt": "2026-01-01"}}), "x old"),
        // In Shanghai it is the first of March already, in London not yet.
        (json!({"created_at": "2026-03-01"}), "x new"),
        (json!({"created_at": {"lte": "2025-03-01", "gte": "2025-03-01"}}), "x old"),
    ] {
        let filters = json!({"AND": [ann(), filter]});
        assert_eq!(api.found("x", filters.clone()).await, [expected], "{filters}");
        assert_eq!(api.listed(filters).await, [expected]);
    }
}
