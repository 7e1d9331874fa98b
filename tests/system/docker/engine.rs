//! A Docker of the test's own: daemon, files, network and images are its alone, and end with it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::{Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::support::namespace::{HOST, Network};

/// The image under test, and the Debian it is made from.
pub(crate) const IMAGE: &str = "dingbot:test";
const DEBIAN: &str = "dingbot-test-debian:bookworm";
/// What the stage `debian` of the Dockerfile installs.
const PACKAGES: &str = "ca-certificates,busybox-static";

/// Docker's end of the bridge, and the address at which containers ask for names.
pub(crate) const GATEWAY: &str = "192.0.2.1";
const BRIDGE: &str = "192.0.2.1/24";
/// Where `docker network create` takes its networks from.
const POOL: &str = "base=198.51.100.0/24,size=28";

/// How long `dockerd` may take to answer, and any one command.
const START: Duration = Duration::from_secs(60);
const COMMAND: Duration = Duration::from_secs(180);

/// The project's own folder: the build context.
const PROJECT: &str = env!("CARGO_MANIFEST_DIR");

/// A running `dockerd` with the image built.
#[derive(Debug)]
pub(crate) struct Engine {
    // In the order in which they must end.
    _daemon: Daemon,
    network: Option<Network>,
    folder: TempDir,
    client: PathBuf,
}

impl Engine {
    /// Starts Docker and builds the image.
    ///
    /// # Errors
    /// Why Docker cannot run here: a reason to skip the test.
    ///
    /// # Panics
    /// When Docker runs and the image cannot be built.
    pub(crate) fn start() -> Result<Self, String> {
        let network = Network::new("127.0.0.1 localhost\n", &[])?;
        let engine = Self::start_in(network.host.name(), GATEWAY, POOL)?;
        Ok(Self { network: Some(network), ..engine })
    }

    /// As [`Engine::start`], in a namespace of somebody else's, whose containers ask `names` for
    /// names.
    pub(crate) fn start_in(namespace: &str, names: &str, pool: &str) -> Result<Self, String> {
        let client = client()?;
        let debian = debian()?;
        let folder = tempfile::Builder::new().prefix("dingbot-docker-").tempdir().unwrap();
        let daemon = Daemon::start(namespace, folder.path(), names, pool)?;
        let engine = Self { _daemon: daemon, network: None, folder, client };
        engine.wait_until_it_answers()?;
        engine.build(&debian);
        Ok(engine)
    }

    /// The host that Docker runs on, and somebody outside of it.
    pub(crate) fn network(&self) -> &Network {
        self.network.as_ref().expect("it was started with one")
    }

    /// Runs `docker` with these arguments; what it printed.
    ///
    /// # Panics
    /// When it fails.
    pub(crate) async fn docker(&self, arguments: &[&str]) -> String {
        let output = self.try_docker(arguments).await;
        assert!(output.status.success(), "docker {arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }

    /// As [`Engine::docker`], for a command that may fail.
    pub(crate) async fn try_docker(&self, arguments: &[&str]) -> Output {
        let command = tokio::process::Command::from(self.command())
            .args(arguments)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let ended = tokio::time::timeout(COMMAND, command).await;
        ended.unwrap_or_else(|_| panic!("docker {arguments:?} still runs")).unwrap()
    }

    /// Removes a container with its anonymous volumes, if it is there; for when it is dropped.
    pub(crate) fn remove(&self, container: &str) {
        let _ = self.command().args(["rm", "--force", "--volumes", container]).output();
    }

    /// The program that is the client.
    pub(crate) fn client(&self) -> &Path {
        &self.client
    }

    /// The ids of all containers; for when something is dropped.
    pub(crate) fn listed(&self) -> Vec<String> {
        let output = self.command().args(["ps", "--all", "--quiet"]).output();
        let text = output.map(|it| String::from_utf8_lossy(&it.stdout).into_owned());
        text.unwrap_or_default().lines().map(str::to_owned).collect()
    }

    /// The environment by which other programs find this Docker.
    pub(crate) fn environment(&self) -> [(&'static str, String); 2] {
        [("DOCKER_HOST", address(self.folder.path())), ("DOCKER_BUILDKIT", "1".into())]
    }

    fn command(&self) -> std::process::Command {
        let mut command = std::process::Command::new(&self.client);
        command.envs(self.environment()).env("DOCKER_CONFIG", self.folder.path().join("client"));
        command
    }

    fn wait_until_it_answers(&self) -> Result<(), String> {
        let began = Instant::now();
        loop {
            let output = self.command().args(["info"]).output().map_err(|e| e.to_string())?;
            if output.status.success() {
                return Ok(());
            }
            if began.elapsed() > START {
                let log = fs::read_to_string(log(self.folder.path())).unwrap_or_default();
                let last = log.lines().rev().find(|line| !line.contains("module=grpc"));
                return Err(format!("dockerd does not start: {}", last.unwrap_or_default()));
            }
            #[allow(clippy::disallowed_methods, reason = "no runtime has been started yet")]
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// Builds the image as a release does that was compiled before, from the program under test.
    fn build(&self, debian: &Path) {
        let program = std::env::var_os("DINGBOT_PROGRAM")
            .map_or_else(|| env!("CARGO_BIN_EXE_dingbot").into(), PathBuf::from);
        let place = Path::new(PROJECT).join("target/docker");
        fs::create_dir_all(&place).unwrap();
        // Replaced in one step, by a copy that is nobody else's: another test may be reading it, or
        // replacing it, too.
        let copy = tempfile::NamedTempFile::new_in(&place).unwrap();
        fs::copy(program, copy.path()).unwrap();
        copy.persist(place.join("dingbot")).unwrap();

        let began = Instant::now();
        let run = |arguments: &[&str]| {
            let output = self.command().args(arguments).current_dir(PROJECT).output().unwrap();
            assert!(
                output.status.success(),
                "docker {arguments:?}: {}",
                String::from_utf8_lossy(&output.stderr)
            );
        };
        run(&["import", debian.to_str().unwrap(), DEBIAN]);
        let tools = format!("TOOLS_FROM={DEBIAN}");
        run(&[
            &["build", "-f", "packaging/docker/Dockerfile", "-t", IMAGE][..],
            &["--build-arg", "BINARY_FROM=prebuilt"],
            &["--build-arg", "BINARY=target/docker/dingbot"],
            &["--build-arg", &tools, "--build-arg", "DINGBOT_REVISION=0123456789ab", "."],
        ]
        .concat());
        println!("docker: image built in {:.1} s", began.elapsed().as_secs_f64());
    }
}

/// `dockerd` with everything it starts.
#[derive(Debug)]
struct Daemon {
    stop: Option<mpsc::Sender<()>>,
    keeper: Option<JoinHandle<()>>,
}

impl Daemon {
    /// Starts it in `namespace` with all its files in `folder`.
    ///
    /// It has process ids of its own: whatever ends, `dockerd` or these tests, takes all containers
    /// along. And it has mounts of its own, which vanish with it.
    fn start(namespace: &str, folder: &Path, names: &str, pool: &str) -> Result<Self, String> {
        let at = |name: &str| folder.join(name).to_str().unwrap().to_owned();
        let log = File::create(log(folder)).map_err(|e| e.to_string())?;
        let mut command = std::process::Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", "unshare", "--mount", "--propagation", "private"])
            .args(["--pid", "--fork", "--kill-child", "--mount-proc"])
            // Rather than `ip netns exec`, which would hide the control groups.
            .args(["nsenter", &format!("--net=/run/netns/{namespace}")])
            .args(["docker-init", "--", "dockerd", "--host", &address(folder)])
            .args(["--data-root", &at("data"), "--exec-root", &at("exec")])
            .args(["--pidfile", &at("pid"), "--config-file", &at("daemon.json")])
            .args(["--bip", BRIDGE, "--default-address-pool", pool, "--dns", names])
            .stdin(Stdio::null())
            .stdout(log.try_clone().map_err(|e| e.to_string())?)
            .stderr(log);
        fs::write(at("daemon.json"), "{}").map_err(|e| e.to_string())?;
        let (stop, stopped) = mpsc::channel();
        let (started, starting) = mpsc::channel();
        // The kernel ends it with the thread that started it, so that thread must wait.
        let keeper = std::thread::spawn(move || {
            let mut child = match command.spawn() {
                Ok(child) => child,
                Err(e) => return drop(started.send(Err(format!("setpriv: {e}")))),
            };
            let _ = started.send(Ok(()));
            let _ = stopped.recv();
            let _ = child.kill();
            let _ = child.wait();
        });
        starting.recv().map_err(|e| e.to_string())??;
        Ok(Self { stop: Some(stop), keeper: Some(keeper) })
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(keeper) = self.keeper.take() {
            let _ = keeper.join();
        }
    }
}

/// A client that can build: those of other packagers want a plugin for it that may be missing.
fn client() -> Result<PathBuf, String> {
    for needed in ["dockerd", "docker-init", "containerd", "runc", "setpriv", "nsenter"] {
        if !installed(needed) {
            return Err(format!("`{needed}` is not installed (packages docker.io, util-linux)"));
        }
    }
    let packaged = Path::new("/usr/bin/docker");
    Ok(if packaged.exists() { packaged.into() } else { "docker".into() })
}

pub(crate) fn installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).exists())
}

/// A Debian as the stage `debian` of the Dockerfile makes it, without a registry; made once.
fn debian() -> Result<PathBuf, String> {
    /// Held while it is made: whoever comes meanwhile takes what came of it.
    static MAKING: Mutex<()> = Mutex::new(());
    let _made_once = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let archive = folder.join("debian-bookworm.tar");
    if archive.exists() {
        return Ok(archive);
    }
    if !installed("mmdebstrap") {
        return Err("`mmdebstrap` is not installed".into());
    }
    let new = folder.join(format!("debian-bookworm.{}.tar", std::process::id()));
    let include = format!("--include={PACKAGES}");
    let output = std::process::Command::new("mmdebstrap")
        .args(["--quiet", "--variant=minbase", &include, "bookworm"])
        .arg(&new)
        .stdin(Stdio::null())
        .output()
        .map_err(|e| format!("mmdebstrap: {e}"))?;
    if !output.status.success() {
        let _ = fs::remove_file(&new);
        return Err(format!("no Debian: {}", String::from_utf8_lossy(&output.stderr).trim()));
    }
    fs::rename(&new, &archive).map_err(|e| e.to_string())?;
    Ok(archive)
}

fn address(folder: &Path) -> String {
    format!("unix://{}", folder.join("docker.sock").display())
}

fn log(folder: &Path) -> PathBuf {
    folder.join("log")
}

/// An address of the host that is none of its loopback's: what operators call the private address.
pub(crate) fn private(port: u16, path: &str) -> String {
    format!("http://{HOST}:{port}{path}")
}
