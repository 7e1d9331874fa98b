//! An ECS instance with a bot on it, the cloud around it, and doctor run where operators run it.
//!
//! The scenario itself runs in the cloud's namespace, where the simulators are.

use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use super::network::{DINGTALK, ECS_API, HOST, MODEL, NAMES, Network, PUBLIC};
use super::report::Report;
use super::table::Row;
use crate::dns::Dns;
use crate::docker::container::Container;
use crate::docker::engine::Engine;
use crate::support::daemon::Daemon;
use crate::support::dingtalk::{DingTalk, SignedCallback};
use crate::support::ecs::metadata::About;
use crate::support::ecs::{Api, Key, METADATA, Metadata, PUBLIC_ENDPOINT, VPC_ENDPOINT, api};
use crate::support::exposition::Exposition;
use crate::support::http::{self, Answer};
use crate::support::model::Model;
use crate::support::namespace::ip;
use crate::support::settings::Settings;

/// The longest doctor may take, whatever does not answer.
const IN_TIME: Duration = Duration::from_secs(5);
/// The longest any program may take, and a whole scenario.
const COMMAND: Duration = Duration::from_secs(30);
pub(super) const SCENARIO: Duration = Duration::from_secs(120);
/// How long the laptop waits.
const PATIENCE: Duration = Duration::from_secs(3);
/// Where Docker of the lab takes its networks from.
pub(super) const DOCKER_POOL: &str = "base=10.201.0.0/16,size=24";
/// The port of the guide.
pub(super) const PORT: u16 = 9090;
/// The security group of the instance, and who is let in by it.
pub(super) const GROUP: &str = "sg-bp1dingbot";
pub(super) const VISITORS: &str = "198.51.100.0/24";
/// The operator's access key.
pub(super) const KEY: &str = "LTAI5tLabAccessKeyId";
const SECRET: &str = "LabAccessKeySecret000000000000";

/// The instance and its surroundings.
#[derive(Debug)]
pub(super) struct Lab {
    pub(super) network: Arc<Network>,
    pub(super) metadata: Option<Metadata>,
    pub(super) api: Api,
    pub(super) dingtalk: DingTalk,
    pub(super) model: Model,
    pub(super) home: TempDir,
    docker: Option<Arc<Engine>>,
    dns: Mutex<Option<Dns>>,
    configuration: Mutex<Option<PathBuf>>,
    variables: Mutex<Vec<(String, String)>>,
    kept: Mutex<Vec<Container>>,
    row: Arc<Mutex<Row>>,
}

impl Lab {
    /// Starts the cloud's side; the group lets [`VISITORS`] in.
    pub(super) async fn new(
        network: Arc<Network>,
        docker: Option<Arc<Engine>>,
        row: Arc<Mutex<Row>>,
    ) -> Self {
        let home = tempfile::Builder::new().prefix("dingbot-ecs-").tempdir().unwrap();
        let open = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(home.path(), open).unwrap();
        let programs = home.path().join("bin");
        std::fs::create_dir(&programs).unwrap();
        let program = env!("CARGO_BIN_EXE_dingbot");
        std::os::unix::fs::symlink(program, programs.join("dingbot")).unwrap();
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let rules = vec![api::accept(&format!("{PORT}/{PORT}"), VISITORS)];
        let (dingtalk, model) =
            tokio::join!(DingTalk::start_at(address(DINGTALK)), Model::start_at(address(MODEL)),);
        let lab = Self {
            metadata: Some(Metadata::start(About::default()).await),
            api: Api::start(address(ECS_API), vec![Key::new(KEY, SECRET)], &[(GROUP, rules)]).await,
            dingtalk,
            model,
            docker,
            dns: Mutex::default(),
            configuration: Mutex::default(),
            variables: Mutex::default(),
            kept: Mutex::default(),
            row,
            network,
            home,
        };
        lab.serve_names(&[]).await;
        for (name, value) in
            [("ALIBABA_CLOUD_ACCESS_KEY_ID", KEY), ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", SECRET)]
        {
            lab.variable(name, value);
        }
        lab.trust(&[]);
        // Operators say `sudo`, and are root here.
        let sudo = programs.join("sudo");
        std::fs::write(&sudo, "#!/bin/sh\nexec \"$@\"\n").unwrap();
        std::fs::set_permissions(&sudo, std::fs::Permissions::from_mode(0o755)).unwrap();
        let docker = match &lab.docker {
            Some(docker) => {
                let _ = std::os::unix::fs::symlink(docker.client(), programs.join("docker"));
                docker.environment()[0].1.clone()
            }
            // That of this machine is not that of the instance.
            None => "unix:///nonexistent/docker.sock".into(),
        };
        lab.variable("DOCKER_HOST", &docker);
        lab.follow_the_group();
        lab
    }

    /// Answers for the names of ECS and these.
    pub(super) async fn serve_names(&self, more: &[(&str, &str)]) {
        let own = [(PUBLIC_ENDPOINT, ECS_API), (VPC_ENDPOINT, ECS_API)];
        let names: Vec<_> =
            own.iter().chain(more).map(|(name, ip)| (*name, ip.parse().unwrap())).collect();
        self.stop_names().await;
        let new = Dns::start(NAMES.parse().unwrap(), &names).await;
        *lock(&self.dns) = Some(new);
    }

    /// Answers for no name any more.
    pub(super) async fn stop_names(&self) {
        let before = lock(&self.dns).take();
        if let Some(before) = before {
            before.stop().await;
        }
    }

    /// Trusts these authorities and that of the API.
    pub(super) fn trust(&self, authorities: &[PathBuf]) {
        let bundle = self.home.path().join("authorities.pem");
        let own = self.api.certificate().authority();
        let all = std::iter::once(&own).chain(authorities);
        let text: String = all.map(|file| std::fs::read_to_string(file).unwrap()).collect();
        std::fs::write(&bundle, text).unwrap();
        self.variable("SSL_CERT_FILE", bundle.to_str().unwrap());
    }

    /// The operator's environment has this from now on.
    pub(super) fn variable(&self, name: &str, value: &str) {
        let mut variables = lock(&self.variables);
        variables.retain(|(known, _)| known != name);
        variables.push((name.into(), value.into()));
    }

    /// The operator has no access key.
    pub(super) fn without_key(&self) {
        lock(&self.variables).retain(|(name, _)| !name.starts_with("ALIBABA_CLOUD"));
    }

    /// The metadata service says something else from now on.
    pub(super) fn about(&self, change: impl FnOnce(&mut About)) {
        self.metadata.as_ref().expect("it is an instance of ECS").change(change);
    }

    /// There is nobody at the address of the metadata service.
    pub(super) async fn leaves_ecs(&self) {
        let name = self.network.cloud.name();
        ip(&["-n", name, "address", "delete", &format!("{METADATA}/32"), "dev", "lo"]).unwrap();
    }

    /// The operator has these variables no more.
    pub(super) fn without_variables(&self, names: &[&str]) {
        lock(&self.variables).retain(|(name, _)| !names.contains(&name.as_str()));
    }

    /// Removes this container at the end.
    pub(super) fn keeps(&self, container: Container) {
        lock(&self.kept).push(container);
    }

    /// Posts a callback, as DingTalk does; the status of the answer.
    pub(super) async fn posts(&self, callback: &SignedCallback) -> u16 {
        let request = callback.request(&http::client(), self.address());
        request.send().await.expect("the bot answers").status().as_u16()
    }

    /// The metrics of the bot as they are now.
    pub(super) async fn metrics(&self) -> Exposition {
        let request = http::client().get(format!("http://{}/metrics", self.address()));
        Exposition::read(&request.send().await.unwrap().text().await.unwrap())
    }

    /// Waits until it is so.
    pub(super) async fn until(&self, what: &str, mut is: impl AsyncFnMut() -> bool) {
        let began = Instant::now();
        while !is().await {
            assert!(began.elapsed() < COMMAND, "not in {COMMAND:?}: {what}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Docker of the instance.
    pub(super) fn docker(&self) -> &Arc<Engine> {
        self.docker.as_ref().expect("the group has one")
    }

    /// Does on the wire what the rules of the group say now.
    pub(super) fn follow_the_group(&self) {
        let rules: Vec<Value> = {
            let world = self.api.world();
            let groups = world.instances.values().flatten();
            groups.filter_map(|id| world.groups.get(id)).flatten().cloned().collect()
        };
        self.network.allow(&rules);
    }

    /// Changes the rules of the group, as somebody does in the console.
    pub(super) fn in_the_console(&self, change: impl FnOnce(&mut Vec<Value>)) {
        change(self.api.world().groups.get_mut(GROUP).expect("it is there"));
        self.follow_the_group();
    }

    /// What a bot of this place is told: both simulators, and port 9090 for everybody.
    pub(super) fn settings(&self) -> Settings {
        let state = self.home.path().join("state");
        std::fs::create_dir_all(&state).unwrap();
        let store = format!("sqlite://{}/dingbot.db", state.display());
        self.listening(Settings::new(&self.dingtalk, &self.model), &format!("[::]:{PORT}"))
            .text("store.url", &store)
            .within(&self.network.host)
    }

    /// Listens at `address`, by the command line and by the file.
    pub(super) fn listening(&self, settings: Settings, address: &str) -> Settings {
        settings.listen(address).set("server.listen", &format!("[{address:?}]"))
    }

    /// A bot that runs, well.
    pub(super) async fn bot(&self) -> Daemon {
        self.bot_with(|settings| settings).await
    }

    /// As [`Lab::bot`], with some settings changed.
    pub(super) async fn bot_with(&self, change: impl FnOnce(Settings) -> Settings) -> Daemon {
        let bot = Daemon::start(change(self.settings())).await;
        // That of the bot goes with it.
        let file = self.home.path().join("dingbot.toml");
        std::fs::copy(bot.configuration(), &file).unwrap();
        self.is_configured_by(file);
        bot
    }

    /// Settings of a bot that does not run.
    pub(super) fn configure(&self, settings: &Settings) {
        let file = self.home.path().join("dingbot.toml");
        std::fs::write(&file, settings.toml()).unwrap();
        self.is_configured_by(file);
    }

    /// Doctor is told of this file, which only root may read: it holds secrets.
    fn is_configured_by(&self, file: PathBuf) {
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        *lock(&self.configuration) = Some(file);
    }

    /// The settings are the container's: doctor is told of no file.
    pub(super) fn without_configuration(&self) {
        *lock(&self.configuration) = None;
    }

    /// The file doctor is told of.
    pub(super) fn configuration(&self) -> PathBuf {
        lock(&self.configuration).clone().expect("the bot has a file of settings")
    }

    /// What doctor is told of it.
    fn named(&self) -> Vec<String> {
        let file = lock(&self.configuration).clone();
        file.iter().flat_map(|it| ["--config".into(), it.display().to_string()]).collect()
    }

    /// Runs doctor on the instance, as root.
    pub(super) async fn doctor(&self) -> Report {
        self.doctor_with(&[]).await
    }

    /// As [`Lab::doctor`], with more arguments.
    pub(super) async fn doctor_with(&self, arguments: &[&str]) -> Report {
        let named = self.named();
        let named: Vec<&str> = named.iter().map(String::as_str).collect();
        self.report(&[&["dingbot", "doctor", "--json"], &named[..], arguments].concat()).await
    }

    /// Runs doctor on the instance as somebody who is not root.
    pub(super) async fn doctor_of_a_user(&self) -> Report {
        let named = self.named();
        let named: Vec<&str> = named.iter().map(String::as_str).collect();
        let command = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "dingbot"];
        self.report(&[&command[..], &["doctor", "--json"], &named].concat()).await
    }

    async fn report(&self, command: &[&str]) -> Report {
        self.follow_the_group();
        let began = Instant::now();
        let output = self.run_in(self.network.host.name(), command).await;
        read(&output, began.elapsed())
    }

    /// Runs doctor on the laptop.
    pub(super) async fn doctor_of_the_laptop(&self, target: &str) -> Report {
        self.follow_the_group();
        let began = Instant::now();
        let command = ["dingbot", "doctor", "--json", "--target", target];
        let output = self.run_in(self.network.laptop.name(), &command).await;
        read(&output, began.elapsed())
    }

    /// Runs a shell command on the instance, which must succeed; what it printed.
    pub(super) async fn sh(&self, command: &str) -> String {
        let output = self.try_sh(command).await;
        assert!(output.status.success(), "{command}: {output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Runs a shell command on the instance.
    pub(super) async fn try_sh(&self, command: &str) -> Output {
        let output = self.run_in(self.network.host.name(), &["sh", "-c", command]).await;
        self.follow_the_group();
        output
    }

    async fn run_in(&self, namespace: &str, command: &[&str]) -> Output {
        let mut run = tokio::process::Command::new("setpriv");
        run.args(["--pdeathsig", "KILL", "ip", "netns", "exec", namespace]).args(command);
        let programs = self.home.path().join("bin");
        run.env_clear()
            .env("PATH", format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", programs.display()));
        run.env("HOME", self.home.path()).env("LANG", "en_US.UTF-8");
        run.envs(lock(&self.variables).iter().map(|(name, value)| (name, value)));
        run.current_dir(self.home.path()).stdin(Stdio::null()).kill_on_drop(true);
        let ended = tokio::time::timeout(COMMAND, run.output()).await;
        ended.unwrap_or_else(|_| panic!("{command:?} still runs")).expect("it can be started")
    }

    /// Doctor names this first, and says these words of it; the report.
    pub(super) async fn names(&self, words: &[&str]) -> Report {
        let report = self.doctor().await;
        self.expect(&report, words);
        report
    }

    /// As [`Lab::names`], of doctor on the laptop.
    pub(super) async fn laptop_names(&self, target: &str, words: &[&str]) -> Report {
        let report = self.doctor_of_the_laptop(target).await;
        self.expect(&report, words);
        report
    }

    /// Notes what a report names, which must be what is expected.
    pub(super) fn expect(&self, report: &Report, words: &[&str]) {
        judge(&self.row, report, words);
    }

    /// Runs the first command of the remedy as it is printed.
    pub(super) async fn carry_out(&self, report: &Report) {
        self.carry_out_as(report, 0, "").await;
    }

    /// Runs all commands of the remedy as they are printed, one after the other.
    pub(super) async fn carry_out_all(&self, report: &Report) {
        let commands = report.commands();
        assert!(!commands.is_empty(), "no commands in the remedy: {}", report.remedy());
        let shown: Vec<String> = commands.iter().map(|it| format!("`{it}`")).collect();
        lock(&self.row).cure = Some(shown.join(", "));
        for command in commands {
            self.sh(&command).await;
        }
    }

    /// Runs a command of the remedy, with something added to its end.
    pub(super) async fn carry_out_as(&self, report: &Report, number: usize, more: &str) {
        let commands = report.commands();
        let command = commands.get(number).unwrap_or_else(|| {
            panic!("there is no command {number} in the remedy: {}", report.remedy())
        });
        let command = format!("{command}{more}");
        lock(&self.row).cure = Some(format!("`{}`", command.replace('|', "\\|")));
        self.sh(&command).await;
    }

    /// The remedy must say these words; the scenario does it by itself.
    pub(super) fn mends(&self, report: &Report, words: &[&str], how: &str) {
        let remedy = report.remedy();
        let missing: Vec<_> = words.iter().filter(|word| !remedy.contains(**word)).collect();
        assert!(missing.is_empty(), "{missing:?} is not in the remedy: {remedy}");
        lock(&self.row).cure = Some(how.to_owned());
    }

    /// Nothing fails any more, and the laptop is answered.
    pub(super) async fn is_mended(&self) {
        self.is_mended_at(&format!("http://{PUBLIC}:{PORT}/health")).await;
    }

    /// As [`Lab::is_mended`], of a bot that is reached elsewhere.
    pub(super) async fn is_mended_at(&self, url: &str) {
        self.nothing_fails(&self.doctor().await);
        self.laptop_is_answered(url).await;
        lock(&self.row).cured = true;
    }

    /// As [`Lab::is_mended`], when this request of the laptop is answered.
    pub(super) async fn is_mended_by(&self, request: reqwest::RequestBuilder) {
        self.nothing_fails(&self.doctor().await);
        self.follow_the_group();
        let answer = self.laptop_sends(request).await;
        assert_eq!(answer.as_ref().map(|it| it.status), Ok(200), "{answer:?}");
        lock(&self.row).cured = true;
    }

    /// Nothing fails any more, as doctor on the laptop sees it.
    pub(super) async fn laptop_is_mended(&self, target: &str) {
        self.nothing_fails(&self.doctor_of_the_laptop(target).await);
        lock(&self.row).cured = true;
    }

    fn nothing_fails(&self, report: &Report) {
        in_time(report);
        let failures = report.failures();
        assert!(
            failures.is_empty(),
            "after the cure:\n{}\n{}",
            failures.join("\n"),
            report.lines()
        );
    }

    /// The laptop gets 200.
    pub(super) async fn laptop_is_answered(&self, url: &str) {
        let answer = self.laptop_gets(url).await;
        assert_eq!(answer.as_ref().map(|it| it.status), Ok(200), "{url}: {answer:?}");
    }

    /// What the laptop gets.
    pub(super) async fn laptop_gets(&self, url: &str) -> Result<Answer, String> {
        self.follow_the_group();
        let request = http::client().get(url).timeout(PATIENCE);
        self.laptop_sends(request).await
    }

    /// What the laptop gets for this request.
    pub(super) async fn laptop_sends(
        &self,
        request: reqwest::RequestBuilder,
    ) -> Result<Answer, String> {
        let network = Arc::clone(&self.network);
        let ask = async move {
            let response = request.send().await.map_err(|error| format!("{error:?}"))?;
            Answer::read(response).await.map_err(|error| format!("{error:?}"))
        };
        tokio::task::spawn_blocking(move || network.laptop.run(ask)).await.unwrap()
    }

    /// Nothing is complained of, and the laptop is answered.
    pub(super) async fn is_healthy_at(&self, url: &str) {
        let report = self.doctor().await;
        self.is_well(&report);
        self.laptop_is_answered(url).await;
        lock(&self.row).cured = true;
    }

    /// As [`Lab::is_healthy_at`] the guide's address.
    pub(super) async fn is_healthy(&self) {
        self.is_healthy_at(&format!("http://{PUBLIC}:{PORT}/health")).await;
    }

    /// It is as it should be.
    pub(super) fn is_done(&self) {
        lock(&self.row).cured = true;
    }

    /// Nothing fails and nothing warns.
    pub(super) fn is_well(&self, report: &Report) {
        well(&self.row, report);
    }

    /// The address of the bot within the cloud.
    pub(super) fn address(&self) -> SocketAddr {
        SocketAddr::new(HOST.parse().unwrap(), PORT)
    }
}

/// Notes what a report names first, which must be what is expected, seen with these words.
pub(super) fn judge(row: &Mutex<Row>, report: &Report, words: &[&str]) {
    let expected = {
        let mut row = lock(row);
        row.named = Some(report.first().to_owned());
        row.took = Some(report.took);
        row.expected()
    };
    assert_eq!(report.first(), expected, "named first; all:\n{}", report.lines());
    let seen = report.seen();
    let missing: Vec<_> = words.iter().filter(|word| !seen.contains(**word)).collect();
    assert!(missing.is_empty(), "{missing:?} is not in what was seen: {seen}");
    let failed = report.json["verdict"] == "failed";
    assert_eq!(report.code, if failed { 1 } else { 2 }, "the exit code; {}", report.lines());
    in_time(report);
}

/// Nothing fails and nothing warns.
pub(super) fn well(row: &Mutex<Row>, report: &Report) {
    {
        let mut row = lock(row);
        row.named.get_or_insert_with(|| report.first().to_owned());
        row.took.get_or_insert(report.took);
    }
    let complaints = report.complaints();
    assert!(complaints.is_empty(), "a false alarm:\n{}\n{}", complaints.join("\n"), report.lines());
    assert_eq!((report.first(), report.code), ("", 0), "{}", report.lines());
    in_time(report);
}

fn in_time(report: &Report) {
    assert!(report.took < IN_TIME, "it took {:?}", report.took);
}

/// The report of a run of doctor that took this long.
fn read(output: &Output, took: Duration) -> Report {
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(!text.contains(SECRET), "a secret in {text}");
    let json = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {output:?}"));
    Report { json, took, code: output.status.code().expect("it was not killed") }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
