//! Two network namespaces with a cable between them and no way out: one for the daemon, one for
//! whoever attacks it from outside.
//!
//! Needs root and iproute2. Both namespaces end with the value, also when a test fails.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Address of the daemon's end of the cable.
pub const HOST: &str = "203.0.113.1";
/// Address of the other end.
pub const ATTACKER: &str = "203.0.113.2";

/// Where `ip netns exec` finds the files that stand in for those of `/etc`.
const FILES: &str = "/etc/netns";

/// The two namespaces.
#[derive(Debug)]
pub struct Network {
    /// Where the daemon runs.
    pub host: Namespace,
    /// Where the attacker is.
    pub attacker: Namespace,
}

/// A network namespace; it is deleted when this is dropped.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    files: PathBuf,
}

impl Network {
    /// Both namespaces. `hosts` is the daemon's `/etc/hosts`, and `local` are further addresses
    /// of its loopback interface.
    ///
    /// # Errors
    /// Why there can be none here: a reason to skip the test.
    pub fn new(hosts: &str, local: &[&str]) -> Result<Self, String> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        if !rustix::process::geteuid().is_root() {
            return Err("network namespaces need root".into());
        }
        let id = format!("{}n{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let network = Self {
            host: Namespace::new(&format!("dingbot-host-{id}"))?,
            attacker: Namespace::new(&format!("dingbot-attacker-{id}"))?,
        };
        let Self { host, attacker } = &network;
        let (near, far) = (format!("dh{id}"), format!("da{id}"));
        let (here, there) = (&host.name, &attacker.name);
        let cable = ["link", "add", &near, "netns", here, "type", "veth"];
        ip(&[&cable[..], &["peer", "name", &far, "netns", there]].concat())?;
        for (namespace, device, address) in [(host, &near, HOST), (attacker, &far, ATTACKER)] {
            ip(&[
                "-n",
                &namespace.name,
                "address",
                "add",
                &format!("{address}/24"),
                "dev",
                device,
            ])?;
            ip(&["-n", &namespace.name, "link", "set", device, "up"])?;
            ip(&["-n", &namespace.name, "link", "set", "lo", "up"])?;
        }
        for address in local {
            ip(&["-n", &host.name, "address", "add", address, "dev", "lo"])?;
        }
        host.write("hosts", hosts)?;
        Ok(network)
    }
}

impl Namespace {
    /// A new one, with nothing in it.
    ///
    /// # Errors
    /// Why there can be none here: a reason to skip the test.
    pub fn new(name: &str) -> Result<Self, String> {
        ip(&["netns", "add", name])?;
        Ok(Self { name: name.into(), files: Path::new(FILES).join(name) })
    }

    /// Its name, as `ip netns` knows it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file that stands for it.
    pub fn path(&self) -> PathBuf {
        Path::new("/run/netns").join(&self.name)
    }

    /// Has this text for the file `name` of `/etc`.
    ///
    /// # Errors
    /// Why it cannot be written.
    pub fn write(&self, name: &str, text: &str) -> Result<(), String> {
        let failed = |e: std::io::Error| format!("{}: {e}", self.files.display());
        fs::create_dir_all(&self.files).map_err(failed)?;
        fs::write(self.files.join(name), text).map_err(failed)
    }

    /// The folder that stands before `/etc`.
    pub fn files(&self) -> &Path {
        &self.files
    }

    /// Runs `work` on a thread of its own that is in this namespace: its sockets, its threads and
    /// the programs it starts are, too.
    pub fn run<R: Send>(&self, work: impl Future<Output = R> + Send) -> R {
        self.run_made(|| work)
    }

    /// As [`Namespace::run`], of a future that is made on the thread and stays there.
    pub fn run_made<R: Send, F: Future<Output = R>>(&self, make: impl FnOnce() -> F + Send) -> R {
        let inside = || {
            let link = File::open(self.path()).expect("it exists");
            move_into_link_name_space(link.as_fd(), Some(LinkNameSpaceType::Network))
                .expect("root may enter a network namespace");
            tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime")
                .block_on(make())
        };
        std::thread::scope(|scope| {
            scope.spawn(inside).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }
}

/// Runs `work` on a machine outside, while the simulators here go on answering.
pub async fn outside<R: Send + 'static>(
    network: &Arc<Network>,
    work: impl Future<Output = R> + Send + 'static,
) -> R {
    let network = Arc::clone(network);
    match tokio::task::spawn_blocking(move || network.attacker.run(work)).await {
        Ok(result) => result,
        Err(failed) => std::panic::resume_unwind(failed.into_panic()),
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // The devices in it go with it. Nothing can be done about a failure.
        let _ = ip(&["netns", "delete", &self.name]);
        let _ = fs::remove_dir_all(&self.files);
        // Only when nobody else keeps files there.
        let _ = fs::remove_dir(FILES);
    }
}

/// Runs `ip`.
///
/// # Errors
/// What it said.
pub fn ip(arguments: &[&str]) -> Result<(), String> {
    let output = Command::new("ip").args(arguments).output().map_err(|e| match e.kind() {
        ErrorKind::NotFound => "`ip` of iproute2 is not installed".to_owned(),
        _ => format!("ip: {e}"),
    })?;
    let wrong = String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(()) } else { Err(format!("ip {arguments:?}: {wrong}")) }
}
