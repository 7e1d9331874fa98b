//! etc/grafana/dingbot.json: every query of every panel, asked of a real Prometheus that scrapes a
//! daemon under traffic by the configuration that is shipped.
//!
//! `DINGBOT_DASHBOARD=docs/dashboard.svg cargo test --test it every_panel` draws the panels from the
//! answers, after `DINGBOT_DASHBOARD_SECONDS` (240) of traffic.

mod https;
mod panels;
mod picture;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use self::https::Https;
use self::panels::{Dashboard, Window};
use crate::support::dingtalk::{Api, Fault};
use crate::support::model::Reply;
use crate::support::prometheus::{Prometheus, project};
use crate::support::stage::Stage;

/// The time between two rounds of traffic.
const TICK: Duration = Duration::from_millis(250);
/// How long the traffic of a test lasts; a rate needs a few scrapes.
const TRAFFIC: Duration = Duration::from_secs(14);

#[test]
fn the_dashboard_is_laid_out_without_gaps_in_what_an_operator_needs() {
    let dashboard = Dashboard::read();
    let mut ids = BTreeSet::new();
    let mut taken = BTreeSet::new();
    let is_chinese = |text: &str| text.chars().any(|c| ('\u{4e00}'..='\u{9fff}').contains(&c));
    let mut reading = Vec::new();
    for panel in &dashboard.panels {
        assert!(ids.insert(panel.id), "two panels have the id {}", panel.id);
        let (chinese, english) = panel.title.split_once(" · ").unwrap_or((&panel.title, ""));
        assert!(is_chinese(chinese) || chinese.starts_with("HTTP"), "{}", panel.title);
        assert!(!english.is_empty() && !is_chinese(english), "{}", panel.title);
        let [x, y, width, height] = panel.place;
        assert!(x + width <= 24 && width > 0 && height > 0, "{}", panel.title);
        for cell in (x..x + width).flat_map(|x| (y..y + height).map(move |y| (x, y))) {
            assert!(taken.insert(cell), "{} lies on another panel", panel.title);
        }
        if panel.kind == "row" {
            reading.push(english.to_owned());
            continue;
        }
        assert!(is_chinese(&panel.description), "{} is not explained", panel.title);
        assert!(!panel.targets.is_empty(), "{} asks nothing", panel.title);
        let letters: BTreeSet<&str> = panel.targets.iter().map(|t| &*t.letter).collect();
        assert_eq!(letters.len(), panel.targets.len(), "{}", panel.title);
    }
    let expected = [
        "Is it up",
        "Are people answered",
        "How fast",
        "What is failing",
        "What it costs in tokens",
        "Memory and resources",
        "the certificate",
    ];
    assert_eq!(reading, expected, "read from top to bottom");
    let variables: Vec<&str> = dashboard.variables.iter().map(|(name, _)| &**name).collect();
    assert_eq!(variables, ["datasource", "instance"]);
}

#[tokio::test]
async fn every_panel_shows_something_of_a_daemon_under_traffic() {
    let stage = Stage::new().await;
    let https = match Https::start(stage.daemon.address()).await {
        Ok(https) => Some(https),
        Err(why) => {
            println!("skipped: the panels of the certificate: {why}");
            None
        }
    };
    let configuration = configuration(&stage, https.as_ref());
    let Some(prometheus) = Prometheus::start(&configuration).await else {
        return println!("skipped: the queries of the dashboard: prometheus is not installed");
    };
    let picture = std::env::var_os("DINGBOT_DASHBOARD");
    let seconds = std::env::var("DINGBOT_DASHBOARD_SECONDS").ok().and_then(|s| s.parse().ok());
    let length = match picture {
        Some(_) => Duration::from_secs(seconds.unwrap_or(240)),
        None => TRAFFIC,
    };
    prometheus.wait_for("up{job=\"dingbot\"} == 1").await;
    traffic(&stage, length).await;
    if https.is_some() {
        prometheus.wait_for("probe_success{job=\"dingbot-https\"} == 1").await;
    }

    let dashboard = Dashboard::read();
    let window = Window { seconds: length.as_secs() + 2, step: length.as_secs().div_ceil(120) };
    let mut answered = Vec::new();
    for panel in dashboard.panels.iter().filter(|panel| panel.kind != "row") {
        let of_https = |expression: &str| expression.contains("probe_");
        for target in &panel.targets {
            if https.is_none() && of_https(&target.expression) {
                continue;
            }
            let series = target.ask(&prometheus, window).await;
            let series = series.unwrap_or_else(|error| panic!("{}: {error}", panel.title));
            assert!(!series.is_empty(), "{} is empty: {}", panel.title, target.expression);
            let number = |points: &[(f64, f64)]| points.iter().any(|(_, value)| value.is_finite());
            assert!(
                series.iter().any(|series| number(&series.points)),
                "{} has no number: {}",
                panel.title,
                target.expression
            );
            answered.push((panel.id, series));
        }
    }
    for expression in &dashboard.annotations {
        prometheus.query(&window.fill(expression)).await.expect("a valid query");
    }
    for (_, metric) in dashboard.variables.iter().filter(|(_, metric)| !metric.is_empty()) {
        let series = prometheus.query(metric).await.expect("a valid query");
        assert!(series.iter().all(|one| one["metric"]["instance"].is_string()), "{series:?}");
        assert!(!series.is_empty());
    }
    if let Some(path) = picture {
        let drawn = picture::draw(&dashboard, &answered, window);
        std::fs::write(Path::new(env!("CARGO_MANIFEST_DIR")).join(path), drawn).unwrap();
    }
}

/// What is shipped in etc/prometheus, pointed at this daemon and scraping every second.
fn configuration(stage: &Stage, https: Option<&Https>) -> String {
    let job = |file: &str| -> Value {
        let file: Value = serde_saphyr::from_str(&project(file)).expect("valid YAML");
        file["scrape_configs"][0].clone()
    };
    let mut dingbot = job("etc/prometheus/dingbot.yml");
    dingbot["scrape_interval"] = "1s".into();
    dingbot["static_configs"] = json!([{ "targets": [stage.daemon.address().to_string()] }]);
    dingbot.as_object_mut().expect("a job").remove("file_sd_configs");
    let mut jobs = vec![dingbot];
    if let Some(https) = https {
        let mut probe = job("etc/prometheus/dingbot-https.yml");
        probe["scrape_interval"] = "1s".into();
        probe["static_configs"] = json!([{ "targets": [https.target()] }]);
        let relabel = probe["relabel_configs"].as_array_mut().expect("a list");
        relabel.last_mut().expect("the exporter's address")["replacement"] =
            https.exporter().into();
        jobs.push(probe);
    }
    let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("etc/prometheus/dingbot.rules.yml");
    // JSON is YAML.
    json!({ "rule_files": [rules], "scrape_configs": jobs }).to_string()
}

/// People who talk with the bot, at first without trouble; then the model fails, then DingTalk;
/// then all is well again.
async fn traffic(stage: &Stage, length: Duration) {
    let begun = Instant::now();
    let mut tick = tokio::time::interval(TICK);
    stage.dingtalk.forget_staff("ghost");
    let (failing, fails) = (Arc::new(AtomicBool::new(false)), AtomicUsize::new(0));
    let model_fails = Arc::clone(&failing);
    stage.model.answer_by(move |asked| {
        if !model_fails.load(Ordering::Relaxed) {
            return Reply::text(format!("关于“{}”，我的看法是：先试一试。", asked.question()));
        }
        match fails.fetch_add(1, Ordering::Relaxed) % 3 {
            0 => Reply::RateLimited(0),
            _ => Reply::Status(503),
        }
    });
    let mut trouble = false;
    for round in 0_u64.. {
        tick.tick().await;
        let part = begun.elapsed().as_secs_f64() / length.as_secs_f64();
        if part >= 1.0 {
            return;
        }
        // A wave, as the hours of a day have.
        let wave = 1.0 + (part * std::f64::consts::TAU * 1.5).sin();
        stage.model.set_latency(Duration::from_millis(60 + (150.0 * wave) as u64 + round % 7 * 20));
        failing.store((0.45..0.6).contains(&part), Ordering::Relaxed);
        // So many that each lane has to wait a few times, and then all arrives.
        if part >= 0.7 && !std::mem::replace(&mut trouble, true) {
            stage.dingtalk.fail_next(Api::Session, 30, Fault::ServerError);
        }
        for person in 0..=(2.0 * wave) as u64 {
            let callback = stage.dingtalk.callback().from(&format!("staff{}", round % 9 + person));
            let text = match (round + person) % 8 {
                0 => format!("/remember 第{round}号柜子的钥匙在前台"),
                1 => "/memories 钥匙".to_owned(),
                2 => format!("/remember 1d 第{round}件事"),
                3 => format!("/forget {}", round % 5),
                _ => format!("你怎么看第{round}个方案？"),
            };
            stage.daemon.accepts(callback.text(&text)).await;
        }
        match round % 12 {
            1 => drop(stage.daemon.post(stage.dingtalk.callback().bad_sign()).await),
            3 => drop(stage.daemon.post(stage.dingtalk.callback().unsigned()).await),
            5 => drop(stage.daemon.get("/nothing/here").await),
            7 => {
                let lost = stage.dingtalk.callback().from("ghost").dead_session();
                stage.daemon.accepts(lost.text("/ping")).await;
            }
            9 => drop(stage.daemon.get("/health").await),
            _ => {}
        }
    }
}
