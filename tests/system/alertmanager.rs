//! A real Prometheus that scrapes the daemon, a real Alertmanager with `etc/prometheus/alertmanager.yml`,
//! and DingTalk's simulator at the end.
//!
//! All of it is in network namespaces of its own, on the ports that stand in the files. Changed in
//! the file are its waits, which are minutes; and for the caller from outside what the file says to
//! change.

use std::fs;
use std::io::ErrorKind;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use tempfile::TempDir;

use crate::support::PATIENCE;
use crate::support::daemon::Daemon;
use crate::support::dingtalk::{DingTalk, GROUP_SECRET, GROUP_TOKEN, Message, Via};
use crate::support::http;
use crate::support::model::Model;
use crate::support::namespace::{HOST, Namespace, Network, outside};
use crate::support::settings::Settings;

/// The file that is shipped.
const FILE: &str = include_str!("../../etc/prometheus/alertmanager.yml");
/// The waits in it, and what they are here.
const WAITS: [(&str, &str); 2] =
    [("group_wait: 30s", "group_wait: 0s"), ("group_interval: 5m", "group_interval: 1s")];
/// Where the daemon is, as the file says.
const DAEMON: &str = "127.0.0.1:8080";
/// Longest time in which an alert fires and is over.
const LONG: Duration = Duration::from_secs(60);
/// Whom the robot calls.
const ON_CALL: &str = "13800000000";

/// Scrapes the daemon each second; callbacks that are refused make an alert for some seconds.
const PROMETHEUS: &str = r"
global: { scrape_interval: 1s, evaluation_interval: 1s }
rule_files: [rules.yml]
alerting:
  alertmanagers: [{ static_configs: [{ targets: ['127.0.0.1:9093'] }] }]
scrape_configs:
  - job_name: dingbot
    static_configs: [{ targets: ['127.0.0.1:8080'] }]
";
const RULES: &str = r"
groups:
  - name: test
    rules:
      - alert: CallbacksRejected
        expr: rate(dingbot_messages_rejected_total[6s]) > 0
        labels: { severity: warning }
        annotations:
          summary: '钉钉回调被拒绝：{{ $labels.reason }}'
          runbook_url: https://wiki.example.com/callbacks
";

/// A program that ends with this value, and with the test.
struct Program {
    child: Child,
    folder: TempDir,
}

impl Program {
    /// Starts it in this network with these files in its folder, and waits until its log says
    /// `ready`.
    async fn start(
        namespace: &Namespace,
        name: &str,
        arguments: &[&str],
        files: &[(&str, String)],
        ready: &str,
    ) -> Self {
        let folder = tempfile::Builder::new().prefix("dingbot-alerts-").tempdir().unwrap();
        for (file, content) in files {
            fs::write(folder.path().join(file), content).unwrap();
        }
        let log = fs::File::create(folder.path().join("log")).unwrap();
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "ip", "netns", "exec", namespace.name(), name])
            .args(arguments)
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let program = Self { child, folder };
        program.says(ready).await;
        program
    }

    async fn alertmanager(namespace: &Namespace, configuration: String) -> Self {
        let arguments = [
            "--config.file=alertmanager.yml",
            "--storage.path=data",
            "--cluster.listen-address=",
            "--web.listen-address=127.0.0.1:9093",
            "--web.external-url=http://alertmanager.example:9093",
        ];
        let files = [("alertmanager.yml", configuration)];
        let program = "prometheus-alertmanager";
        Self::start(namespace, program, &arguments, &files, "Listening on").await
    }

    async fn prometheus(namespace: &Namespace) -> Self {
        let arguments = [
            "--config.file=prometheus.yml",
            "--storage.tsdb.path=data",
            "--web.listen-address=127.0.0.1:9090",
            "--web.external-url=http://prometheus.example:9090",
        ];
        let files = [("prometheus.yml", PROMETHEUS.into()), ("rules.yml", RULES.into())];
        let ready = "Server is ready to receive web requests";
        Self::start(namespace, "prometheus", &arguments, &files, ready).await
    }

    /// Waits until its log holds `part`.
    async fn says(&self, part: &str) {
        let began = Instant::now();
        while !self.log().contains(part) {
            assert!(began.elapsed() < LONG, "it does not say {part:?}: {}", self.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- {}\n{}", self.folder.path().display(), self.log());
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What is missing for the test: a reason to skip it.
fn missing(programs: &[&str]) -> Option<String> {
    programs.iter().find_map(|program| match Command::new(program).arg("--version").output() {
        Err(e) if e.kind() == ErrorKind::NotFound => Some(format!("`{program}` is not installed")),
        _ => None,
    })
}

/// The network for a test, or says why there can be none.
fn network(programs: &[&str]) -> Option<Arc<Network>> {
    let network = match missing(programs) {
        Some(why) => Err(why),
        None => Network::new("127.0.0.1 localhost\n", &[]),
    };
    network.inspect_err(|why| println!("skipped: a real Alertmanager: {why}")).ok().map(Arc::new)
}

/// The file with some texts replaced, which must be there.
fn file(changes: &[(&str, &str)]) -> String {
    WAITS.iter().chain(changes).fold(FILE.to_owned(), |file, (from, to)| {
        assert!(file.contains(from), "{from} is not in the file");
        file.replace(from, to)
    })
}

/// The daemon with the robot `default`.
async fn daemon(
    dingtalk: &DingTalk,
    model: &Model,
    network: &Network,
    change: impl FnOnce(Settings) -> Settings,
) -> Daemon {
    let settings = Settings::new(dingtalk, model)
        .mentioning_robot("default", GROUP_TOKEN, GROUP_SECRET, &[ON_CALL], false)
        .listen(DAEMON)
        .within(&network.host);
    Daemon::start(change(settings)).await
}

fn about<'a>(messages: &'a [Message], title: &str) -> Option<&'a Message> {
    messages.iter().find(|message| message.title.as_deref().is_some_and(|t| t.starts_with(title)))
}

#[test]
fn the_file_is_valid() {
    match Command::new("amtool").args(["check-config", "etc/prometheus/alertmanager.yml"]).output()
    {
        Err(e) if e.kind() == ErrorKind::NotFound => {
            println!("skipped: amtool check-config: amtool is not installed");
        }
        checked => {
            let checked = checked.unwrap();
            assert!(checked.status.success(), "{checked:?}");
        }
    }
}

#[test]
fn an_alert_about_the_daemon_fires_and_is_over_in_the_group() {
    let Some(network) = network(&["prometheus", "prometheus-alertmanager"]) else { return };
    network.host.run(async {
        let (dingtalk, model) = tokio::join!(DingTalk::start(), Model::start());
        let daemon = daemon(&dingtalk, &model, &network, |settings| settings).await;
        let alertmanager = Program::alertmanager(&network.host, file(&[])).await;
        let prometheus = Program::prometheus(&network.host).await;
        // Until it has a first value, there is no rate.
        let began = Instant::now();
        let scraped = "http://127.0.0.1:9090/api/v1/query?query=dingbot_ready";
        loop {
            let answer = http::client().get(scraped).send().await.unwrap();
            if answer.text().await.unwrap().contains("\"__name__\"") {
                break;
            }
            assert!(began.elapsed() < PATIENCE, "{}", prometheus.log());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }

        let began = Instant::now();
        daemon.post(dingtalk.callback().bad_sign()).await.error(401);
        let fires = |messages: &[Message]| about(messages, "🟠 告警 1：").is_some();
        let messages = dingtalk.wait_for(fires, LONG).await;
        let fired = about(&messages, "🟠 告警 1：CallbacksRejected").expect("its name");
        let after = began.elapsed();
        assert_eq!(fired.via, Via::GroupRobot(GROUP_TOKEN.into()));
        assert_eq!(fired.called(), [ON_CALL]);
        for part in [
            "### 🔥 告警 1 条 (1 firing)",
            "**🟠 warning · CallbacksRejected** · [图表 graph](http://prometheus.example:9090/graph?",
            "> 钉钉回调被拒绝：signature\\_mismatch",
            "[runbook\\_url](https://wiki.example.com/callbacks)",
            "- reason：signature\\_mismatch",
            " +08:00\n",
            "(http://alertmanager.example:9093/#/alerts?receiver=dingtalk)",
        ] {
            assert!(fired.text.contains(part), "{part} is not in {}", fired.text);
        }

        let over = |messages: &[Message]| about(messages, "✅ 恢复 1：CallbacksRejected").is_some();
        let messages = dingtalk.wait_for(over, LONG).await;
        let over = about(&messages, "✅ 恢复 1：").expect("it was just found");
        assert!(over.text.contains("### ✅ 恢复 1 条 (1 resolved)"), "{}", over.text);
        assert!(over.text.contains("历时 "), "{}", over.text);
        assert!(over.called().is_empty() && !over.text.contains('@'), "{}", over.text);
        assert_eq!(messages.len(), 2, "each once: {messages:?}");
        println!(
            "a refused callback: in the group as an alert after {:.1} s, as resolved after {:.1} s",
            after.as_secs_f64(),
            began.elapsed().as_secs_f64()
        );
        drop((alertmanager, prometheus));
    });
}

#[test]
fn an_alertmanager_elsewhere_needs_a_key_and_tries_again_until_the_daemon_is_there() {
    let Some(network) = network(&["prometheus-alertmanager"]) else { return };
    network.host.run(async {
        let (dingtalk, model) = tokio::join!(DingTalk::start(), Model::start());
        let keys = |s: Settings| s.listen("[::]:8080").set("server.api_keys", r#"["the-key"]"#);
        let mut daemon = daemon(&dingtalk, &model, &network, keys).await;
        let url = ("http://127.0.0.1:8080", format!("http://{HOST}:8080"));
        let moved = |key: &str| {
            file(&[
                (url.0, &url.1),
                ("#http_config:", "http_config:"),
                ("#  authorization:", "  authorization:"),
                (
                    "#    credentials_file: /etc/prometheus/dingbot.key",
                    &format!("    credentials: {key}"),
                ),
            ])
        };
        let refused = |line: &String| line.contains("alerts refused").then(|| line.clone());

        let there = &network.attacker;
        let wrong = Program::alertmanager(there, moved("another-key")).await;
        outside(&network, add("WithoutRight")).await;
        let line = daemon.log().find(0, PATIENCE, refused).await.expect("it is refused");
        assert!(line.contains("key_wrong") && !line.contains("another-key"), "{line}");
        drop(wrong);

        let right = Program::alertmanager(there, moved("the-key")).await;
        daemon.sigterm();
        daemon.wait_exit().await;
        outside(&network, add("WhileItIsDown")).await;
        right.says("connection refused").await;
        daemon.restart().await;
        dingtalk.wait_for_text("WhileItIsDown").await;
        assert!(about(&dingtalk.messages(), "🟠 告警 1：WithoutRight").is_none());
        drop(right);
    });
}

/// Gives an alert to the Alertmanager of this network.
async fn add(name: &str) {
    let alert = json!([{ "labels": { "alertname": name } }]);
    let request = http::client().post("http://127.0.0.1:9093/api/v2/alerts").json(&alert);
    assert_eq!(request.send().await.unwrap().status(), 200);
}
