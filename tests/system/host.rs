//! A host of the service: a booted machine, and what the daemon talks to from there.
//!
//! The test is on the other end of a cable and plays the rest of the world: DingTalk, the model,
//! the caller, the apt repository. There is no way out of the two network namespaces.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::machine::Machine;
use crate::package::Package;
use crate::suites::Suite;
use crate::support::dingtalk::{self, Callback, DingTalk, SignedCallback};
use crate::support::exposition::Exposition;
use crate::support::http::{self, Answer};
use crate::support::model::{self, Model};
use crate::support::namespace::{ATTACKER, HOST, Network};
use crate::support::settings::Settings;

/// Machines at a time; each keeps a processor busy while it boots and installs.
static MACHINES: Semaphore = Semaphore::const_new(2);
/// The longest a test may take.
const TEST: Duration = Duration::from_secs(300);
/// The longest the service may take to be healthy after it was started.
const START: Duration = Duration::from_secs(20);
/// The port of the package's configuration.
const PORT: u16 = 8080;
/// What the harness itself calls, and the packages that have it.
const TOOLS: [(&str, &str); 6] = [
    ("mmdebstrap", "mmdebstrap"),
    ("systemd-nspawn", "systemd-container"),
    ("nsenter", "util-linux"),
    ("setpriv", "util-linux"),
    ("ip", "iproute2"),
    ("dpkg-deb", "dpkg"),
];
/// Where the test's settings are, and where secrets are.
const SETTINGS: &str = "/etc/dingbot/conf.d/50-test.toml";
const CREDENTIALS: &str = "/etc/dingbot/credentials";

/// The machine and its surroundings.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) suite: Suite,
    pub(crate) machine: Machine,
    pub(crate) dingtalk: DingTalk,
    pub(crate) model: Model,
    client: reqwest::Client,
}

/// Runs `test` on a fresh host, or says why there can be none.
pub(crate) fn on(suite: Suite, test: impl AsyncFnOnce(&Host) + Send) {
    let (root, network) = match prepare(suite) {
        Ok(prepared) => prepared,
        Err(why) => return println!("skipped: a booted {}: {why}", suite.name()),
    };
    // Before the clock of the test starts: it may have to be built.
    Package::current();
    network.attacker.run_made(|| async {
        let _turn = MACHINES.acquire().await.expect("it is never closed");
        let (dingtalk, model) =
            tokio::join!(DingTalk::start_at(outside()), Model::start_at(outside()));
        let machine = Machine::boot(root, &network.host).await;
        let host = Host { suite, machine, dingtalk, model, client: http::client() };
        let done = tokio::time::timeout(TEST, test(&host)).await;
        assert!(done.is_ok(), "the test takes more than {TEST:?}");
    });
}

/// Makes a test of each function, for each suite named.
macro_rules! on_hosts {
    ($($test:ident: $($suite:ident)+;)+) => {
        $(mod $test {
            $(
                #[test]
                fn $suite() {
                    crate::host::on(crate::suites::Suite::$suite(), super::$test);
                }
            )+
        })+
    };
}
pub(crate) use on_hosts;

/// The test's end of the cable.
pub(crate) fn outside() -> IpAddr {
    ATTACKER.parse().expect("an address")
}

/// What a test needs before it can begin.
fn prepare(suite: Suite) -> Result<(&'static Path, Network), String> {
    if !rustix::process::geteuid().is_root() {
        return Err("booting a machine needs root".into());
    }
    for (command, package) in TOOLS {
        let found = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
            .any(|folder| folder.join(command).exists());
        if !found {
            return Err(format!("`{command}` of {package} is not installed"));
        }
    }
    Ok((suite.root()?, Network::new("", &[])?))
}

impl Host {
    /// The settings that go with the simulators. Secrets are in credentials, not here, and where
    /// to listen and log to is as in the package.
    pub(crate) fn settings(&self) -> Settings {
        Settings::new(&self.dingtalk, &self.model)
            .unset("dingtalk.client_secret")
            .unset("llm.api_key")
            .unset("log.format")
    }

    /// Writes a file of settings, the only one besides the package's.
    pub(crate) fn configure(&self, settings: &Settings) {
        self.machine.publish(SETTINGS, settings.toml());
    }

    /// Gives the service a secret.
    pub(crate) fn credential(&self, name: &str, secret: &str) {
        self.machine.write(&format!("{CREDENTIALS}/{name}"), secret);
    }

    /// Installs the package under test, set up for the simulators, and waits until it is healthy.
    pub(crate) async fn with_service(&self) {
        self.with_settings(&self.settings()).await;
    }

    /// As [`Host::with_service`], with other settings.
    pub(crate) async fn with_settings(&self, settings: &Settings) {
        self.configure(settings);
        self.credential("dingtalk-client_secret", dingtalk::CLIENT_SECRET);
        self.credential("llm-api_key", model::KEY);
        self.install(&Package::current()).await;
        self.becomes_healthy().await;
    }

    /// Installs a package's file; what the operator sees.
    pub(crate) async fn install(&self, package: &Package) -> String {
        let file = self.bring(package);
        self.machine.succeeds(&format!("dpkg --install {file} 2>&1")).await
    }

    /// Copies a package into the machine; where it is there.
    pub(crate) fn bring(&self, package: &Package) -> String {
        let file = format!("/root/{}", package.file_name());
        std::fs::copy(&package.file, self.machine.outside(&file)).expect("the package can be read");
        file
    }

    /// Adds a drop-in to the service's unit.
    pub(crate) async fn drop_in(&self, content: &str) {
        self.machine.publish("/etc/systemd/system/dingbot.service.d/test.conf", content);
        self.machine.succeeds("systemctl daemon-reload").await;
    }

    /// Where the service listens.
    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::new(HOST.parse().expect("an address"), PORT)
    }

    /// Gets `path` from outside; nothing when there is no answer.
    pub(crate) async fn try_get(&self, path: &str) -> Option<Answer> {
        let response = self.client.get(format!("http://{}{path}", self.address())).send().await;
        Answer::read(response.ok()?).await.ok()
    }

    /// Gets `path` from outside.
    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.try_get(path).await.expect("the service answers")
    }

    /// The metrics as they are now.
    pub(crate) async fn metrics(&self) -> Exposition {
        let answer = self.get("/metrics").await;
        assert_eq!(answer.status, 200, "{answer:?}");
        Exposition::read(&answer.body)
    }

    /// Waits until `/health` is 200.
    pub(crate) async fn becomes_healthy(&self) {
        self.health_becomes(200).await;
    }

    /// Waits until `/health` answers with this status.
    pub(crate) async fn health_becomes(&self, status: u16) -> Answer {
        let what = format!("/health is {status}");
        let asked = async || self.try_get("/health").await.filter(|answer| answer.status == status);
        self.machine.wait(&what, START, asked).await
    }

    /// Begins a callback of DingTalk.
    pub(crate) fn callback(&self) -> Callback<'_> {
        self.dingtalk.callback()
    }

    /// Posts a callback; nothing when there is no whole answer.
    pub(crate) async fn try_post(&self, callback: &SignedCallback) -> Option<Answer> {
        let response = callback.request(&self.client, self.address()).send().await;
        Answer::read(response.ok()?).await.ok()
    }

    /// Posts a callback that must be accepted.
    pub(crate) async fn accepts(&self, callback: Callback<'_>) -> SignedCallback {
        let callback = callback.build();
        let answer = self.try_post(&callback).await.expect("the service answers");
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.json()["msgtype"], "empty");
        callback
    }

    /// Says a text and waits for the answer that holds it; the model echoes.
    pub(crate) async fn answers(&self, text: &str) {
        self.accepts(self.callback().text(text)).await;
        self.dingtalk.wait_for_text(text).await;
    }

    /// The number of the daemon's process inside the machine.
    pub(crate) async fn pid(&self) -> String {
        self.machine.property("dingbot", "MainPID").await
    }
}
