//! Where every packet is dropped on the way: the report comes in time, and names what is silent.

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::host::{Host, findings, on_a_host};
use crate::support::settings::Settings;

/// A bot of an application and a model, at hosts of these names.
fn settings(dingtalk: &str, model: &str) -> Settings {
    Settings::bare()
        .text("dingtalk.client_id", "dingapplication")
        .text("dingtalk.client_secret", "AppSecretOfTheApplication01")
        .text("dingtalk.api_base", dingtalk)
        .text("dingtalk.oapi_base", dingtalk)
        .text("llm.base_url", model)
        .text("llm.api_key", "sk-KeyOfTheModel0123456789")
}

/// The codes that doctor has for a bot with these settings.
async fn codes(host: &Host, settings: &Settings) -> Vec<String> {
    let file = host.file("dingbot.toml", &settings.toml());
    let run = host.doctor(&[], &["--json", "--config", file.to_str().unwrap()]).await;
    codes_of(&run.json())
}

fn codes_of(report: &Value) -> Vec<String> {
    findings(report).iter().map(|it| it["code"].as_str().unwrap().to_owned()).collect()
}

#[track_caller]
fn holds(codes: &[String], code: &str) {
    assert!(codes.iter().any(|it| it == code), "{code} is not among {codes:?}");
    assert!(codes.iter().all(|it| it != "check_timed_out"), "{codes:?}");
}

#[test]
fn upstreams_that_are_silent_are_said_to_be() {
    on_a_host(async |host| {
        host.is_dropped_outside();
        let codes = codes(host, &settings("https://192.0.2.10", "https://192.0.2.11/v1")).await;
        holds(&codes, "dingtalk_unreachable");
        holds(&codes, "model_unreachable");
    });
}

/// As DingTalk has: each address is as silent as the others.
#[test]
fn a_name_with_several_silent_addresses_takes_no_longer() {
    on_a_host(async |host| {
        host.is_dropped_outside();
        let lines = |name: &str, net: &str| -> String {
            (1..=4).map(|number| format!("{net}.{number} {name}\n")).collect()
        };
        let hosts = lines("dingtalk.example", "192.0.2") + &lines("model.example", "198.51.100");
        host.network.host.write("hosts", &format!("127.0.0.1 localhost\n{hosts}")).unwrap();
        let settings = settings("https://dingtalk.example", "https://model.example/v1");
        let codes = codes(host, &settings).await;
        holds(&codes, "dingtalk_unreachable");
        holds(&codes, "model_unreachable");
    });
}

#[test]
fn a_name_server_that_is_silent_is_said_to_be() {
    on_a_host(async |host| {
        host.is_dropped_outside();
        host.network.host.write("resolv.conf", "nameserver 192.0.2.53\n").unwrap();
        let settings = settings("https://dingtalk.example", "https://model.example/v1");
        holds(&codes(host, &settings).await, "dns_fails");
    });
}

/// One that hangs takes connections and answers none, wherever it listens.
#[test]
fn a_bot_that_hangs_hides_nothing_of_what_is_seen_without_it() {
    on_a_host(async |host| {
        let places = r#"["127.0.0.1:9090", "127.0.0.1:9091", "203.0.113.1:9090"]"#;
        let settings = Settings::bare().set("server.listen", places);
        let bot = host.serve(&settings, "203.0.113.1:9090").await;
        let pid = Pid::from_raw(bot.id().unwrap().cast_signed()).unwrap();
        kill_process(pid, Signal::STOP).unwrap();
        let run = host.doctor(&[], &["--json"]).await;
        let report = run.json();
        let codes = codes_of(&report);
        holds(&codes, "health_silent");
        holds(&codes, "configuration_valid");
    });
}
