//! What no report may hold.

use std::net::IpAddr;
use std::sync::Arc;

use serde_json::{Value, json};

use super::host::{Host, on_a_host};
use crate::support::namespace::ATTACKER;
use crate::support::record::Record;
use crate::support::server::{self, Received, Server};
use crate::support::settings::Settings;

const CLIENT_SECRET: &str = "AppSecretOfTheApplication01";
const API_KEY: &str = "sk-KeyOfTheModel0123456789";
const ROBOT_TOKEN: &str = "TokenOfTheGroupRobot0123456";
const ROBOT_SECRET: &str = "SECSecretOfTheGroupRobot012";
const OWN_KEY: &str = "KeyOfThisServersInterface01";
const GIVEN_TOKEN: &str = "TokenThatDingTalkGave012345";
const ACCESS_SECRET: &str = "SecretOfTheAccessKey0123456";
const PROXY_PASSWORD: &str = "PasswordOfTheProxy01234567";

const ALL: [&str; 8] = [
    CLIENT_SECRET,
    API_KEY,
    ROBOT_TOKEN,
    ROBOT_SECRET,
    OWN_KEY,
    GIVEN_TOKEN,
    ACCESS_SECRET,
    PROXY_PASSWORD,
];

/// Every setting that is a secret, with `base` for DingTalk and for the model.
fn settings(base: &str) -> Settings {
    Settings::bare()
        .text("dingtalk.client_id", "dingapplication")
        .text("dingtalk.client_secret", CLIENT_SECRET)
        .text("dingtalk.api_base", base)
        .text("dingtalk.oapi_base", base)
        .group_robot("ops", ROBOT_TOKEN, ROBOT_SECRET)
        .text("llm.base_url", base)
        .text("llm.api_key", API_KEY)
        .set("server.api_keys", &format!("[{OWN_KEY:?}]"))
}

/// A stranger who says everything again that was said to him, with this status; and who may give a
/// token first, so that he is told that as well.
async fn echo(status: u16, gives_token: bool) -> (Server, Arc<Record<String>>) {
    let ip: IpAddr = ATTACKER.parse().unwrap();
    let heard = Arc::new(Record::default());
    let ears = Arc::clone(&heard);
    let server = Server::start(ip, move |request: Received| {
        let answer = repeated(&request, &ears);
        let token = json!({ "accessToken": GIVEN_TOKEN, "expireIn": 7200 });
        let is_given = gives_token && request.path.ends_with("/accessToken");
        async move {
            Some(if is_given { server::json(200, &token) } else { server::json(status, &answer) })
        }
    });
    (server.await, heard)
}

fn repeated(request: &Received, ears: &Record<String>) -> Value {
    let body = String::from_utf8_lossy(&request.body);
    let all = format!("{body} {:?} {} {}", request.headers, request.path, request.query);
    ears.push(all.clone());
    json!({
        "code": all, "message": all, "errcode": 1, "errmsg": all,
        "error": { "message": all, "code": all, "type": all },
    })
}

/// Runs doctor for people and for machines; all that it wrote.
async fn all_that_is_written(host: &Host, variables: &[(&str, &str)], file: &str) -> String {
    let mut written = String::new();
    for arguments in [&["--json"][..], &[], &["--lang", "zh"]] {
        let run = host.doctor(variables, &[&["--config", file], arguments].concat()).await;
        written.push_str(&run.out);
        written.push_str(&run.errors);
    }
    written
}

#[track_caller]
fn holds_none(written: &str, what: &str) {
    for secret in ALL {
        // A part is as good a find as the whole.
        let half = &secret[..secret.len() / 2 + 2];
        let line = written.lines().find(|line| line.contains(half));
        assert!(line.is_none(), "{what}: {secret} in {line:?}");
    }
}

#[test]
fn nobody_who_repeats_a_secret_has_it_printed() {
    on_a_host(async |host| {
        for gives_token in [false, true] {
            for status in [200, 400, 401, 402, 403, 404, 429, 500] {
                let (echo, heard) = echo(status, gives_token).await;
                let toml = settings(&echo.origin()).toml();
                let file = host.file("dingbot.toml", &toml);
                let written = all_that_is_written(host, &[], file.to_str().unwrap()).await;
                // He was told them, in what he repeats.
                let token = if gives_token { GIVEN_TOKEN } else { CLIENT_SECRET };
                for secret in [CLIENT_SECRET, API_KEY, token] {
                    let is_told = heard.with(|all| all.iter().any(|it| it.contains(secret)));
                    assert!(is_told, "{secret} at {status}: {heard:?}");
                }
                holds_none(&written, &format!("status {status}, token {gives_token}"));
            }
        }
    });
}

#[test]
fn what_the_environment_and_the_home_hold_stays_there() {
    on_a_host(async |host| {
        let (echo, heard) = echo(401, true).await;
        let base = echo.origin();
        host.file(
            ".aliyun/config.json",
            &format!(
                r#"{{"current": "ops", "profiles": [{{"name": "ops", "mode": "AK",
                "access_key_id": "LTAI5tTest", "access_key_secret": "{ACCESS_SECRET}"}}]}}"#
            ),
        );
        let proxy = format!("http://ops:{PROXY_PASSWORD}@{}", echo.address());
        let empty = host.file("dingbot.toml", "");
        let empty = empty.to_str().unwrap();
        let variables = [
            ("DINGBOT_DINGTALK__CLIENT_ID", "dingapplication"),
            ("DINGBOT_DINGTALK__CLIENT_SECRET", CLIENT_SECRET),
            ("DINGBOT_DINGTALK__API_BASE", &base),
            ("DINGBOT_DINGTALK__OAPI_BASE", &base),
            ("OPENAI_API_KEY", API_KEY),
            ("OPENAI_API_BASE", &base),
            ("ALIBABA_CLOUD_ACCESS_KEY_ID", "LTAI5tTest"),
            ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", ACCESS_SECRET),
        ];
        let written = all_that_is_written(host, &variables, empty).await;
        assert!(heard.with(|all| all.iter().any(|it| it.contains(API_KEY))), "{written}");
        holds_none(&written, "the environment");

        for name in ["HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "http_proxy"] {
            let variables = [&variables[..], &[(name, &proxy)]].concat();
            let written = all_that_is_written(host, &variables, empty).await;
            holds_none(&written, name);
            // From a laptop.
            let run = host.doctor(&variables, &["--target", &base]).await;
            holds_none(&format!("{}{}", run.out, run.errors), &format!("{name} and --target"));
        }
    });
}

#[test]
fn a_bot_that_runs_is_looked_into_without_a_word_of_its_secrets() {
    on_a_host(async |host| {
        let (echo, heard) = echo(500, true).await;
        let bot = settings(&echo.origin()).unset("dingtalk.client_secret");
        let bot = bot.variable("DINGBOT_DINGTALK__CLIENT_SECRET", CLIENT_SECRET);
        let _bot = host.bot(bot).await;
        let run = host.doctor(&[], &["--json"]).await;
        // Its process was looked into, where alone this one is.
        let is_told = heard.with(|all| all.iter().any(|it| it.contains(CLIENT_SECRET)));
        assert!(is_told, "{run:?}");
        holds_none(&format!("{}{}", run.out, run.errors), "a bot that runs");
    });
}

#[test]
fn a_secret_that_is_written_wrongly_is_not_shown_either() {
    on_a_host(async |host| {
        for line in [
            // No quotation marks, one too few, blanks, another type, another name.
            format!("dingtalk.client_secret = {CLIENT_SECRET}"),
            format!("dingtalk.client_secret = \"{CLIENT_SECRET}"),
            format!("dingtalk.client_secret = \"{CLIENT_SECRET} {CLIENT_SECRET}\""),
            format!("llm.api_key = [\"{API_KEY}\"]"),
            format!("llm.apikey = \"{API_KEY}\""),
            format!("dingtalk.app_secret = \"{CLIENT_SECRET}\""),
            format!("server.api_keys = [[\"{OWN_KEY}\"]]"),
            format!("dingtalk.group_robots = [{{ name = \"ops\", access_token = {ROBOT_TOKEN} }}]"),
            format!("dingtalk.group_robots = [{{ access_token = \"{ROBOT_TOKEN}\" }}]"),
            format!("llm.base_url = \"https://ops:{PROXY_PASSWORD}@192.0.2.1/v1\""),
            format!("llm.base_url = \"ops:{PROXY_PASSWORD}@ 192.0.2.1/v1\""),
        ] {
            let file = host.file("dingbot.toml", &format!("{line}\n"));
            let written = all_that_is_written(host, &[], file.to_str().unwrap()).await;
            assert!(written.contains("configuration_invalid"), "{line}: {written}");
            holds_none(&written, &line);
        }
    });
}
