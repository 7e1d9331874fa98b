use proptest::prelude::*;
use pulldown_cmark::{Event, Options, Parser, Tag};
use serde_json::{Value, json};

use super::*;

fn alert(labels: &Value, annotations: &Value) -> Value {
    json!({
        "status": "firing", "labels": labels, "annotations": annotations,
        "startsAt": "2026-11-22T22:41:05.123Z", "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "http://prometheus:9090/graph?g0.expr=up+%3D%3D+0&g0.tab=1",
    })
}

fn notification(alerts: Vec<Value>) -> Value {
    json!({
        "receiver": "ding talk", "externalURL": "http://alertmanager:9093", "alerts": alerts,
        "groupLabels": {}, "commonLabels": {}, "commonAnnotations": {},
    })
}

fn shanghai() -> TimeZone {
    TimeZone::get("Asia/Shanghai").unwrap()
}

fn rendered(body: &Value) -> (Vec<Part>, usize) {
    render(&Notification::read(body.to_string().as_bytes()).unwrap(), &shanghai())
}

fn one(body: &Value) -> Part {
    let (mut parts, left_out) = rendered(body);
    assert_eq!((parts.len(), left_out), (1, 0));
    parts.remove(0)
}

#[test]
fn one_alert_is_shown_whole() {
    let part = one(&notification(vec![alert(
        &json!({"alertname": "InstanceDown", "severity": "critical", "instance": "10.0.0.1:9100"}),
        &json!({
            "summary": "实例不可达", "description": "已 5 分钟没有采集到数据\n\n请检查主机",
            "runbook_url": "https://wiki.example.com/down",
        }),
    )]));
    assert_eq!(part.title, "🔴 告警 1：InstanceDown");
    assert_eq!(
        part.text,
        "### 🔥 告警 1 条 (1 firing)\n\n\
         #### 🔥 未恢复 Firing\n\n\
         **🔴 critical · InstanceDown** · \
         [图表 graph](http://prometheus:9090/graph?g0.expr=up+%3D%3D+0&g0.tab=1)\n\n\
         > 实例不可达\n\n\
         > 已 5 分钟没有采集到数据  \n> 请检查主机\n\n\
         - 开始 Start：2026-11-23 06:41:05 +08:00\n\
         - instance：10.0.0.1:9100\n\
         - [runbook\\_url](https://wiki.example.com/down)\n\n\
         [在 Alertmanager 中查看 open](http://alertmanager:9093/#/alerts?receiver=ding+talk)"
    );
}

#[test]
fn several_are_grouped_and_the_severe_come_first() {
    let mut over = alert(&json!({"alertname": "Slow", "cluster": "a", "n": "3"}), &json!({}));
    over["status"] = "resolved".into();
    over["endsAt"] = "2026-11-23T00:43:08Z".into();
    let mut body = notification(vec![
        over,
        alert(
            &json!({"alertname": "Slow", "cluster": "a", "n": "1", "severity": "info"}),
            &json!({}),
        ),
        alert(
            &json!({"alertname": "Slow", "cluster": "a", "n": "2", "severity": "page"}),
            &json!({}),
        ),
    ]);
    body["groupLabels"] = json!({"alertname": "Slow"});
    body["commonLabels"] = json!({"alertname": "Slow", "cluster": "a"});
    let Part { title, text, tally } = one(&body);
    assert_eq!(title, "🔴 告警 2，恢复 1：Slow");
    assert_eq!(tally, Tally { firing: 2, resolved: 1 });
    let head = "### 🔥 告警 2 条，✅ 恢复 1 条 (2 firing, 1 resolved)\n\n\
                分组 Group：alertname=Slow\n\n共同 Common：cluster=a\n\n#### 🔥 未恢复 Firing";
    assert!(text.starts_with(head), "{text}");
    let places: Vec<usize> =
        ["🔴 page", "n：2", "🔵 info", "n：1", "#### ✅ 已恢复", "✅ Slow", "n：3"]
            .iter()
            .map(|what| text.find(what).unwrap_or_else(|| panic!("{what} in {text}")))
            .collect();
    assert!(places.is_sorted(), "{text}");
    assert_eq!(text.matches("cluster").count(), 1, "said once");
    assert!(text.contains("恢复 End：2026-11-23 08:43:08 +08:00，历时 2 小时 2 分"), "{text}");
}

#[test]
fn what_is_too_long_is_cut_and_the_times_stay() {
    let labels: Value = (0..200)
        .map(|n| (format!("label_{n:03}"), Value::from("很长".repeat(500))))
        .chain([("alertname".to_owned(), Value::from("名".repeat(500)))])
        .collect::<serde_json::Map<_, _>>()
        .into();
    let long = "磁盘将满".repeat(5_000);
    let annotations = json!({ "summary": long, "description": long, "message": long });
    let mut body = notification(vec![alert(&labels, &annotations), alert(&labels, &json!({}))]);
    for common in [json!({}), labels] {
        body["commonLabels"] = common;
        let (parts, left_out) = rendered(&body);
        assert_eq!(left_out, 0);
        let text: String = parts.iter().map(|part| part.text.as_str()).collect();
        assert_eq!(text.matches("开始 Start：2026").count(), 2, "{text}");
        assert!(text.contains("> 磁盘将满") && text.contains("\n\n…"), "{text}");
        assert!(text.contains("label\\_000"), "{text}");
        assert!(text.chars().count() < 6_000, "{}", text.chars().count());
        for part in &parts {
            assert!(serde_json::to_string(&part.text).unwrap().len() <= markdown::PART_BYTES);
        }
    }
}

#[test]
fn who_has_no_name_is_shown_too() {
    let part = one(&json!({ "alerts": [{}, { "status": "resolved" }] }));
    assert_eq!(part.title, "🟠 告警 1，恢复 1");
    assert_eq!(part.text.matches("未命名 unnamed").count(), 2, "{}", part.text);
}

#[test]
fn spans_are_said_in_two_units() {
    for (seconds, said) in [
        (-5, "0 秒"),
        (0, "0 秒"),
        (59, "59 秒"),
        (60, "1 分"),
        (61, "1 分 1 秒"),
        (3_601, "1 小时"),
        (7_384, "2 小时 3 分"),
        (90_000, "1 天 1 小时"),
        (86_400 + 59, "1 天"),
    ] {
        assert_eq!(span(SignedDuration::from_secs(seconds)), said);
    }
}

#[test]
fn an_address_is_a_link_only_on_the_web() {
    assert_eq!(link("x", "https://a.example/p").as_deref(), Some("[x](https://a.example/p)"));
    let escaped = link("x", "http://a/?q=up{a=\"b\"}) [y](http://evil \\ `*").unwrap();
    assert!(
        escaped.starts_with("[x](http://a/?q=up{a=%22b%22}%29%20[y]%28http://evil%20%5C%20%60%2A)")
    );
    for none in [
        "",
        "/graph",
        "javascript:alert(1)",
        "dingtalk://dingtalkclient/page/link?url=x",
        "file:///etc/passwd",
        "ftp://a.example",
        "http://user:secret@a.example/",
        &format!("http://a.example/{}", "x".repeat(MAX_ADDRESS)),
    ] {
        assert_eq!(link("x", none), None, "{none}");
    }
}

#[test]
fn thousands_are_bounded_and_counted() {
    let many = |number: usize, status: &'static str| {
        (0..number).map(move |n| {
            let mut alert = alert(
                &json!({"alertname": "Down", "instance": format!("host-{n:05}.example:9100")}),
                &json!({"description": "磁盘将满。".repeat(40)}),
            );
            alert["status"] = status.into();
            alert
        })
    };
    let alerts: Vec<Value> = many(1_000, "resolved").chain(many(4_000, "firing")).collect();
    let mut body = notification(alerts);
    body["truncatedAlerts"] = 17.into();
    let (parts, left_out) = rendered(&body);
    assert_eq!(parts.len(), MAX_PARTS);
    let shown: usize = parts.iter().map(|part| part.text.matches("instance：host").count()).sum();
    assert!(shown > 20 && shown + left_out == 5_000, "{shown} and {left_out}");
    for part in &parts {
        assert!(serde_json::to_string(&part.text).unwrap().len() <= markdown::PART_BYTES);
        assert!(part.title.chars().count() <= MAX_TITLE, "{}", part.title);
        // What docs/alerts.md promises to whom has a robot that is guarded by a keyword.
        assert!(part.text.contains("恢复"), "{}", part.text);
    }
    assert!(parts[0].title.ends_with("（1/3）"), "{}", parts[0].title);
    let last = &parts[2].text;
    let firing_left = 4_000 - shown;
    assert!(last.contains(&format!("另有 {left_out} 条未列出")), "{last}");
    assert!(last.contains(&format!("🔥 {firing_left}，✅ 1000")), "those that fire come first");
    assert!(last.contains("省略了 17 条"), "{last}");
    let firing: usize = parts.iter().map(|part| part.tally.firing).sum();
    assert_eq!(firing, 4_000);
}

/// What a reader's client would do: the addresses of links, and what is neither text nor expected.
fn done(markdown: &str) -> (Vec<String>, Vec<String>) {
    let options =
        Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH | Options::ENABLE_TASKLISTS;
    let (mut links, mut else_) = (Vec::new(), Vec::new());
    for event in Parser::new_ext(markdown, options) {
        match event {
            Event::Start(Tag::Link { dest_url, .. }) => links.push(dest_url.into_string()),
            Event::Start(
                Tag::Paragraph
                | Tag::Heading { .. }
                | Tag::BlockQuote(_)
                | Tag::List(None)
                | Tag::Item
                | Tag::Strong,
            )
            | Event::Text(_)
            | Event::SoftBreak
            | Event::HardBreak
            | Event::End(_) => {}
            other => else_.push(format!("{other:?}")),
        }
    }
    (links, else_)
}

fn headings(markdown: &str) -> usize {
    let is_heading = |event: &Event<'_>| matches!(event, Event::Start(Tag::Heading { .. }));
    Parser::new(markdown).filter(is_heading).count()
}

/// A notification in which every text that comes from elsewhere is `hostile`.
fn hostile_everywhere(hostile: &str) -> Value {
    let pairs =
        json!({"alertname": hostile, "severity": hostile, "instance": hostile, hostile: "x"});
    let words = json!({"summary": hostile, "description": hostile, "other": hostile, hostile: "x"});
    let mut first = alert(&pairs, &words);
    first["generatorURL"] = hostile.into();
    let mut body = notification(vec![first, alert(&json!({"alertname": "B"}), &json!({}))]);
    body["groupLabels"] = json!({ "g": hostile, hostile: "x" });
    body["commonLabels"] = json!({ "c": hostile });
    body["commonAnnotations"] = json!({ "summary": hostile });
    body["receiver"] = hostile.into();
    body["externalURL"] = hostile.into();
    body
}

#[test]
fn a_label_does_nothing_but_stand_there() {
    for hostile in [
        "[急](http://198.51.100.1/)",
        "![](http://198.51.100.1/x.png)",
        "x](http://198.51.100.1/)",
        "# 标题\n## 又一个\n\n---",
        "**\n\n- 甲\n- 乙",
        "```\n\n```",
        "@所有人 @all @13800000000",
        "<font color=red>红</font>",
        "| a | b |\n|---|---|\n| 1 | 2 |",
        "javascript:alert(1)",
    ] {
        let part = one(&hostile_everywhere(hostile));
        let (links, other) = done(&part.text);
        assert_eq!(links, ["http://prometheus:9090/graph?g0.expr=up+%3D%3D+0&g0.tab=1"]);
        assert!(other.is_empty(), "{other:?} in {}", part.text);
        assert_eq!(headings(&part.text), 2, "{}", part.text);
        assert!(!part.text.contains('@') && !part.title.contains('@'), "{}", part.text);
        assert!(!part.title.contains('\n'));
    }
}

proptest! {
    #[test]
    fn any_label_stays_text_and_within_bounds(
        hostile in r"(?s)([ -~]|[你＠@#*_`\[\]()<>|\n\-]){1,80}",
        times in 1_usize..200,
    ) {
        let hostile = hostile.repeat(times);
        let (parts, left_out) = rendered(&hostile_everywhere(&hostile));
        prop_assert_eq!(left_out, 0);
        for part in parts {
            let (links, other) = done(&part.text);
            prop_assert!(links.len() <= 1, "{:?}", links);
            prop_assert!(other.is_empty(), "{:?} in {}", other, part.text);
            prop_assert!(serde_json::to_string(&part.text).unwrap().len() <= markdown::PART_BYTES);
            prop_assert!(part.title.chars().count() <= MAX_TITLE);
        }
    }
}
