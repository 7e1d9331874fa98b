//! What operators were promised about the configuration, sentence by sentence.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use tempfile::TempDir;

use super::settings::Provider;
use super::{Loaded, Problem, Sources, load};

/// A host: its `/etc/dingbot`, credentials and environment.
struct Host {
    directory: TempDir,
    sources: Sources,
}

impl Host {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let sources = Sources {
            default_file: directory.path().join("dingbot.toml"),
            conf_dir: directory.path().join("conf.d"),
            ..Sources::default()
        };
        Self { directory, sources }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A file that only its owner may read.
    fn file(self, name: &str, text: &str) -> Self {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("in a directory")).expect("made");
        std::fs::write(&path, text).expect("written");
        std::fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("owned");
        self
    }

    fn credential(mut self, name: &str, content: &str) -> Self {
        self.sources.credentials = Some(self.path("credentials"));
        self.file(&format!("credentials/{name}"), content)
    }

    fn variable(mut self, name: &str, value: &str) -> Self {
        self.sources.environment.push((name.into(), value.into()));
        self
    }

    fn option(mut self, key: &str, value: &str, origin: &str) -> Self {
        self.sources.overrides.push((key.into(), value.into(), origin.into()));
        self
    }

    fn loaded(&self) -> Loaded {
        load(&self.sources).expect("a valid configuration")
    }

    /// The problems as lines, with the directory's name left out.
    fn problems(&self) -> Vec<String> {
        self.lines(&load(&self.sources).expect_err("a bad configuration"))
    }

    fn warnings(&self) -> Vec<String> {
        self.lines(&self.loaded().warnings)
    }

    fn lines(&self, problems: &[Problem]) -> Vec<String> {
        let directory = format!("{}/", self.directory.path().display());
        problems.iter().map(|problem| problem.to_string().replace(&directory, "")).collect()
    }

    /// Value and origin of an effective setting.
    fn effective(&self, key: &str) -> (String, String) {
        let loaded = self.loaded();
        let row = loaded.effective.iter().find(|row| row.key == key).expect("a known key");
        let directory = format!("{}/", self.directory.path().display());
        (row.value.clone(), row.origin.replace(&directory, ""))
    }
}

fn pair(value: &str, origin: &str) -> (String, String) {
    (value.into(), origin.into())
}

/// The lines begin with these texts, one each.
#[track_caller]
fn assert_starts(lines: &[String], starts: &[&str]) {
    assert_eq!(lines.len(), starts.len(), "{lines:#?}");
    for (line, start) in lines.iter().zip(starts) {
        assert!(line.starts_with(start), "{line}\nshould begin with\n{start}");
    }
}

#[test]
fn later_layers_win() {
    let mut host = Host::new();
    let model = |host: &Host| host.effective("llm.model");
    assert_eq!(model(&host), pair("\"gpt-4-turbo\"", "default"));
    host = host.file("dingbot.toml", "[llm]\nmodel = \"main\"\n");
    assert_eq!(model(&host), pair("\"main\"", "dingbot.toml:2"));
    host = host.file("conf.d/20-b.toml", "\n[llm]\nmodel = \"twenty\"\n");
    host = host.file("conf.d/10-a.toml", "[llm]\nmodel = \"ten\"\n");
    host = host.file("conf.d/99-not-toml.conf", "[llm]\nmodel = \"ninety-nine\"\n");
    assert_eq!(model(&host), pair("\"twenty\"", "conf.d/20-b.toml:3"));
    host = host.credential("llm-model", "credential\n");
    assert_eq!(model(&host), pair("\"credential\"", "credential llm-model"));
    host = host.variable("DINGBOT_LLM__MODEL", "long");
    assert_eq!(model(&host), pair("\"long\"", "environment DINGBOT_LLM__MODEL"));
    host = host.variable("OPENAI_MODEL", "short");
    assert_eq!(model(&host), pair("\"short\"", "environment OPENAI_MODEL"));
    host = host.option("llm.model", "option", "--model");
    assert_eq!(model(&host), pair("\"option\"", "--model"));
}

#[test]
fn no_file_at_the_default_place_is_fine_but_a_named_one_must_exist() {
    let mut host = Host::new();
    assert!(host.loaded().warnings.is_empty());
    host.sources.file = Some(host.path("other.toml"));
    assert_starts(&host.problems(), &["other.toml: cannot be read: No such file"]);
    let host = host.file("other.toml", "[log]\nlevel = \"debug\"\n");
    let host = host.file("dingbot.toml", "[log]\nformat = \"json\"\n");
    assert_eq!(host.effective("log.level"), pair("\"debug\"", "other.toml:2"));
    assert_eq!(host.effective("log.format"), pair("\"auto\"", "default"), "not read as well");
}

#[test]
fn a_file_that_is_there_must_be_readable() {
    let host = Host::new().file("dingbot.toml/x", "").file("conf.d/a.toml/x", "");
    assert_starts(
        &host.problems(),
        &["dingbot.toml: cannot be read: Is a directory", "conf.d/a.toml: cannot be read: Is a"],
    );
    let host = Host::new();
    std::fs::write(host.path("dingbot.toml"), b"[llm]\nmodel = \"\xff\"\n").expect("written");
    assert_starts(&host.problems(), &["dingbot.toml: cannot be read: "]);
}

#[test]
fn all_problems_of_all_layers_come_at_once() {
    let host = Host::new()
        .file(
            "dingbot.toml",
            "[server]\nlisten = [\"8080\"]\nmax_body_bytes = 1\n\n[llm]\nmodle = \"x\"\n\
             timeout = 30\nmax_concurrency = 0\n",
        )
        .file("conf.d/a.toml", "[llm\n")
        .file("conf.d/b.toml", "[log]\nlevel = \"verbose\"\n")
        .credential("server-max_connections", "many")
        .variable("DINGBOT_DINGTALK__ALLOW_UNSIGNED", "perhaps")
        .variable("FORCE_MOCK_OPENAI", "perhaps")
        .option("server.listen", "here", "--listen");
    assert_starts(
        &host.problems(),
        &[
            "dingbot.toml:2: server.listen: expected a list of addresses with a port",
            "dingbot.toml:6: llm.modle: unknown key; the nearest known one is `llm.model`",
            "dingbot.toml:7: llm.timeout: expected a duration with its unit, such as \"10s\"",
            "conf.d/a.toml:1: not valid TOML: ",
            "credential server-max_connections: server.max_connections: expected a whole number",
            "environment DINGBOT_DINGTALK__ALLOW_UNSIGNED: dingtalk.allow_unsigned: expected true",
            "environment FORCE_MOCK_OPENAI: llm.provider: expected 1 or 0",
            "--listen: server.listen: expected a list of addresses",
            "dingbot.toml:3: server.max_body_bytes: is out of range: write a number from 1024",
            "dingbot.toml:8: llm.max_concurrency: is out of range: write a number from 1 to 1024",
            "conf.d/b.toml:2: log.level: is no valid filter",
        ],
    );
}

#[test]
fn credentials_are_named_after_their_keys() {
    let host = Host::new()
        .credential("dingtalk-client_secret", "app secret's\n\n")
        .credential("llm-api_key", "unset\n")
        .credential("server-api_keys", "one,two")
        .credential("dingtalk-group_robots-ops-access_token", "token\n")
        .credential("dingtalk-group_robots-ops-secret", "SEC1")
        .credential("dingtalk-group_robots-other-access_token", "unset")
        .credential("llm-base_url", "")
        .credential("tls.key", "of another service")
        .variable("DINGBOT_DINGTALK__CLIENT_SECRET", "appsecret");
    let loaded = host.loaded();
    assert!(loaded.settings.llm.is_offline(), "`unset` is absent");
    assert_eq!(loaded.settings.server.api_keys.len(), 2);
    assert_eq!(loaded.settings.dingtalk.group_robots.len(), 1);
    assert_eq!(loaded.settings.dingtalk.group_robots[0].access_token.expose(), "token");
    assert_eq!(
        host.effective("dingtalk.group_robots.ops.secret"),
        pair("***", "credential dingtalk-group_robots-ops-secret")
    );
    assert_starts(&host.warnings(), &["credential tls.key: sets nothing; the nearest known name"]);
}

#[test]
fn credentials_lose_one_line_break() {
    let host = Host::new().credential("llm-system_prompt", "first\nsecond\n\n");
    assert_eq!(host.loaded().settings.llm.system_prompt, "first\nsecond\n");
}

#[test]
fn the_credentials_of_another_service_are_no_error() {
    let mut host = Host::new();
    host.sources.credentials = Some(host.path("gone"));
    assert_starts(&host.warnings(), &["gone: the credentials cannot be listed"]);
}

#[test]
fn stray_and_empty_variables_are_never_errors() {
    let host = Host::new()
        .variable("DINGBOT_CONFIG", "/elsewhere.toml")
        .variable("DINGBOT_PORT", "tcp://10.0.0.1:80")
        .variable("DINGBOT_OTHER__THING", "1")
        .variable("SECRET", "of another program")
        .variable("PORT", "")
        .variable("OPENAI_API_KEY", "")
        .variable("DATABASE_PATH", "")
        .variable("FORCE_MOCK_OPENAI", "")
        .variable("OPENAI_REQUEST_TIMEOUT", "");
    assert!(host.loaded().settings.dingtalk.group_robots.is_empty());
    assert_starts(
        &host.warnings(),
        &[
            "environment DINGBOT_OTHER__THING: sets nothing",
            "environment SECRET: passed over: there is no group robot `default`",
        ],
    );
}

#[test]
fn port_changes_the_port_of_every_address() {
    let host = Host::new().variable("PORT", "9000");
    assert_eq!(host.effective("server.listen"), pair("[\"[::]:9000\"]", "environment PORT"));
    let host = host.file("dingbot.toml", "server.listen = [\"127.0.0.1:1\", \"[::1]:2\"]\n");
    assert_eq!(host.effective("server.listen").0, "[\"127.0.0.1:9000\",\"[::1]:9000\"]");
    let host = host.variable("DINGBOT_SERVER__LISTEN", "127.0.0.1:1,127.0.0.1:2");
    assert_eq!(host.effective("server.listen").0, "[\"127.0.0.1:9000\"]", "no address twice");
    let host = host.option("server.listen", "[::1]:7", "--listen");
    assert_eq!(host.effective("server.listen"), pair("[\"[::1]:7\"]", "--listen"));
    for bad in ["65536", "http", "-1"] {
        let host = Host::new().variable("PORT", bad);
        assert_starts(&host.problems(), &["environment PORT: server.listen: expected a port"]);
    }
}

#[test]
fn listen_may_be_a_single_text() {
    let host = Host::new().file("dingbot.toml", "[server]\nlisten = \"127.0.0.1:80\"\n");
    assert_eq!(host.effective("server.listen").0, "[\"127.0.0.1:80\"]");
}

#[test]
fn the_short_names_set_the_model() {
    let host = Host::new()
        .variable("OPENAI_API_KEY", "sk-1")
        .variable("OPENAI_BASE_URL", "https://two.example/v1")
        .variable("OPENAI_REQUEST_TIMEOUT", "45");
    let llm = host.loaded().settings.llm;
    assert_eq!(llm.base_url.as_str(), "https://two.example/v1");
    assert_eq!(llm.timeout, Duration::from_secs(45));
    assert!(!llm.is_offline());
    let host = host.variable("OPENAI_API_BASE", "https://one.example/v1");
    assert_eq!(host.loaded().settings.llm.base_url.as_str(), "https://one.example/v1");
    for (value, provider) in
        [("1", Provider::Offline), ("true", Provider::Offline), ("0", Provider::OpenAi)]
    {
        let host = Host::new().variable("FORCE_MOCK_OPENAI", value);
        assert_eq!(host.loaded().settings.llm.provider, provider, "{value}");
    }
    let host = Host::new().variable("OPENAI_REQUEST_TIMEOUT", "2m");
    assert_eq!(host.loaded().settings.llm.timeout, Duration::from_secs(120));
}

#[test]
fn access_token_and_secret_make_or_complete_the_default_robot() {
    let host = Host::new().variable("ACCESS_TOKEN", "t").variable("SECRET", "SEC1");
    let robots = host.loaded().settings.dingtalk.group_robots;
    assert_eq!((robots.len(), robots[0].name.as_str()), (1, "default"));
    assert_eq!((robots[0].access_token.expose(), robots[0].secret.expose()), ("t", "SEC1"));

    let file = "[[dingtalk.group_robots]]\nname = \"default\"\naccess_token = \"of the file\"\n";
    let host = Host::new().file("dingbot.toml", &file.replace(' ', "")).variable("SECRET", "SEC1");
    let robots = host.loaded().settings.dingtalk.group_robots;
    assert_eq!(robots.len(), 1);
    assert_eq!(robots[0].access_token.expose(), "ofthefile");
    assert_eq!(robots[0].secret.expose(), "SEC1");
}

#[test]
fn database_path_is_the_sqlite_file() {
    let host = Host::new().variable("DATABASE_PATH", "/data/dingbot.db");
    assert_eq!(
        host.effective("store.url"),
        pair("\"sqlite:///data/dingbot.db\"", "environment DATABASE_PATH")
    );
    let loaded = Host::new().variable("DATABASE_PATH", "data.db").loaded();
    let path = super::state_path(&loaded.settings, &[]);
    assert!(path.is_absolute() && path.ends_with("data.db"), "{}", path.display());
}

#[test]
fn group_robots_merge_by_name_across_layers() {
    let host = Host::new()
        .file("dingbot.toml", "[[dingtalk.group_robots]]\nname = \"ops-team\"\nsecret = \"a\"\n")
        .file("conf.d/a.toml", "[[dingtalk.group_robots]]\nname = \"dev\"\naccess_token = \"d\"\n")
        .variable("DINGBOT_DINGTALK__GROUP_ROBOTS__OPS_TEAM__ACCESS_TOKEN", "o");
    let robots = host.loaded().settings.dingtalk.group_robots;
    let shown: Vec<[&str; 3]> = robots
        .iter()
        .map(|it| [it.name.as_str(), it.access_token.expose(), it.secret.expose()])
        .collect();
    assert_eq!(shown, [["dev", "d", ""], ["ops-team", "o", "a"]]);
    assert_eq!(host.effective("dingtalk.group_robots.dev.secret"), pair("\"\"", "default"));
}

#[test]
fn settings_are_validated_as_a_whole() {
    let host = Host::new().file(
        "dingbot.toml",
        r#"[server]
listen = ["127.0.0.1:80", "127.0.0.1:80"]
api_keys = ["a b", ""]
max_body_bytes = 67108865
max_connections = 0
header_timeout = "0s"
drain_timeout = "2days"
[dingtalk]
api_base = "ftp://host"
oapi_base = "https://user:hunter2@host/#x"
client_secret = "hunter2 "
[[dingtalk.group_robots]]
name = "empty"
[[dingtalk.group_robots]]
name = "whole"
access_token = "https://oapi.dingtalk.com/robot/send?access_token=hunter2"
[llm]
base_url = "mailto:hunter2@host"
timeout = "0s"
prompt_tokens = 0
answer_tokens = 0
max_concurrency = 1025
[llm.embedding]
base_url = "m"
dimensions = 5000
[memory]
recall_limit = 101
extract = "model"
time_zone = "Mars/Olympus"
[bot]
inbox_limit = 0
[store]
url = "postgres://user:hunter2@host/db"
[log]
level = "dingbot=loud"
"#,
    );
    let problems = host.problems();
    assert_starts(
        &problems,
        &[
            "dingbot.toml:2: server.listen: names 127.0.0.1:80 twice",
            "dingbot.toml:3: server.api_keys: contains white space",
            "dingbot.toml:3: server.api_keys: has an empty key",
            "dingbot.toml:4: server.max_body_bytes: is out of range",
            "dingbot.toml:5: server.max_connections: is out of range",
            "dingbot.toml:6: server.header_timeout: is out of range",
            "dingbot.toml:7: server.drain_timeout: is out of range",
            "dingbot.toml:9: dingtalk.api_base: must begin with https://",
            "dingbot.toml:10: dingtalk.oapi_base: must not hold a user name",
            "dingbot.toml:10: dingtalk.oapi_base: must not have a `#`",
            "dingbot.toml:11: dingtalk.client_secret: contains white space",
            "dingbot.toml:13: dingtalk.group_robots.empty.access_token: is not set",
            "dingbot.toml:16: dingtalk.group_robots.whole.access_token: is a whole address",
            "dingbot.toml:18: llm.base_url: must begin with https://",
            "dingbot.toml:19: llm.timeout: is out of range",
            "dingbot.toml:22: llm.max_concurrency: is out of range",
            "dingbot.toml:20: llm.prompt_tokens: is out of range",
            "dingbot.toml:21: llm.answer_tokens: is out of range",
            "dingbot.toml:24: llm.embedding.base_url: is no address",
            "dingbot.toml:25: llm.embedding.dimensions: is out of range",
            "dingbot.toml:27: memory.recall_limit: is out of range",
            "dingbot.toml:29: memory.time_zone: is no known time zone",
            "dingbot.toml:31: bot.inbox_limit: is out of range",
            "dingbot.toml:33: store.url: PostgreSQL is not available in this version",
            "dingbot.toml:35: log.level: is no valid filter",
        ],
    );
    assert!(!problems.join("\n").contains("hunter2"), "{problems:#?}");
}

#[test]
fn what_is_allowed_stays_allowed() {
    let host = Host::new().file(
        "dingbot.toml",
        "[server]\nlisten = [\"127.0.0.1:0\", \"127.0.0.1:0\"]\nmax_body_bytes = 1024\n\
         [dingtalk]\nclient_secret = \"s\"\n\
         [llm]\nbase_url = \"http://localhost:11434/v1?api-version=2\"\n\
         [log]\nlevel = \"warn,dingbot::bot=debug\"\n",
    );
    assert!(host.warnings().is_empty(), "a secret alone verifies callbacks");
    let host = Host::new().variable("DINGBOT_DINGTALK__CLIENT_ID", "ding1");
    assert_starts(
        &host.warnings(),
        &["environment DINGBOT_DINGTALK__CLIENT_ID: dingtalk.client_id: opens nothing without"],
    );
    let host = Host::new().file("dingbot.toml", "server.listen = []\n");
    assert_starts(&host.problems(), &["dingbot.toml:1: server.listen: names no address"]);
}

#[test]
fn a_secret_that_everyone_can_read_is_a_warning() {
    let host = Host::new().file("dingbot.toml", "[llm]\nmodel = \"m\"\napi_key = \"k\"\n");
    assert!(host.warnings().is_empty(), "mode 600");
    let readable = || Permissions::from_mode(0o644);
    std::fs::set_permissions(host.path("dingbot.toml"), readable()).expect("owned");
    assert_starts(&host.warnings(), &["dingbot.toml:3: llm.api_key: everyone on this host"]);
    let host = Host::new().file("dingbot.toml", "[llm]\napi_key = \"\"\n");
    std::fs::set_permissions(host.path("dingbot.toml"), readable()).expect("owned");
    assert!(host.warnings().is_empty(), "there is no secret in it");
}

#[test]
fn secrets_are_shown_nowhere() {
    let host = Host::new()
        .file(
            "dingbot.toml",
            "[server]\napi_keys = [\"hunter2\"]\n[dingtalk]\nclient_secret = \"hunter2\"\n\
             [[dingtalk.group_robots]]\nname = \"a\"\naccess_token = \"hunter2\"\n\
             secret = \"hunter2\"\n",
        )
        .credential("llm-api_key", "hunter2");
    let loaded = host.loaded();
    assert!(!format!("{loaded:?}").contains("hunter2"));
    for (key, shown) in [
        ("server.api_keys", "***"),
        ("dingtalk.client_secret", "***"),
        ("dingtalk.group_robots.a.access_token", "***"),
        ("dingtalk.group_robots.a.secret", "***"),
        ("llm.api_key", "***"),
        ("dingtalk.client_id", "\"\""),
    ] {
        assert_eq!(host.effective(key).0, shown, "{key}");
    }
    assert_eq!(Host::new().effective("llm.api_key").0, "\"\"", "unset is not hidden");

    let host = Host::new()
        .file("dingbot.toml", "[llm]\napi_key = [\"hunter2\"]\nprovider = \"hunter2\"\n")
        .file("conf.d/a.toml", "[llm]\napi_key = hunter2\n")
        .file("conf.d/b.toml", "[llm]\nbase_url = \"hunter2\"\nhunter3 = \"hunter2\"\n")
        .variable("OPENAI_API_BASE", "hunter2")
        .variable("PORT", "hunter2");
    let problems = load(&host.sources).expect_err("a bad configuration");
    assert_eq!(problems.len(), 7, "{problems:#?}");
    assert!(!format!("{problems:?}").contains("hunter2"), "{problems:#?}");
}
