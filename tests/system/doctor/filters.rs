//! The packet filters of the instance, as operators set them up.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::lab::Lab;
use crate::docker::engine::installed;

/// How often is looked whether firewalld answers, and how often at most.
const LOOK: Duration = Duration::from_millis(200);
const LOOKS: usize = 75;

/// Loads a ruleset.
pub(super) async fn nft(lab: &Lab, ruleset: &str) {
    let file = lab.home.path().join("ruleset.nft");
    // A table ends on a line of its own.
    fs::write(&file, ruleset.replace("} }", "}\n}")).unwrap();
    lab.sh(&format!("nft -f {}", file.display())).await;
}

/// Turns ufw on, which lets SSH in, with files of its own.
pub(super) async fn ufw(lab: &Lab) {
    let files = lab.network.host.files();
    for folder in ["ufw", "default"] {
        let output =
            Command::new("cp").args(["-a", &format!("/etc/{folder}")]).arg(files).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }
    lab.sh("ufw allow 22/tcp && ufw --force enable").await;
}

/// Has a copy of a folder of `/etc` for the instance alone.
fn copy(lab: &Lab, folder: &str) {
    let files = lab.network.host.files();
    let output =
        Command::new("cp").args(["-a", &format!("/etc/{folder}")]).arg(files).output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

/// firewalld with a bus of its own; both end when this is dropped.
#[derive(Debug)]
pub(super) struct Firewalld([Child; 2]);

impl Firewalld {
    /// Whether it cannot be had.
    pub(super) fn missing() -> bool {
        !["firewalld", "firewall-cmd", "dbus-daemon"].iter().all(|it| installed(it))
    }

    /// Starts it with the zones it comes with: SSH is let in.
    pub(super) async fn start(lab: &Lab) -> Self {
        copy(lab, "firewalld");
        let home = lab.home.path();
        let bus = format!("unix:path={}", home.join("bus").display());
        let configuration = format!(
            "<!DOCTYPE busconfig PUBLIC \"-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN\" \
             \"http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd\">\n<busconfig>\
             <type>system</type><listen>{bus}</listen><auth>EXTERNAL</auth>\
             <policy context=\"default\"><allow send_destination=\"*\" eavesdrop=\"true\"/>\
             <allow receive_sender=\"*\"/><allow own=\"*\"/><allow user=\"*\"/></policy>\
             </busconfig>\n"
        );
        let file = home.join("bus.conf");
        fs::write(&file, configuration).unwrap();
        lab.variable("DBUS_SYSTEM_BUS_ADDRESS", &bus);
        let mut daemon = quiet("dbus-daemon");
        let daemon = daemon.arg("--nofork").arg("--config-file").arg(file).spawn().unwrap();
        for _ in 0..LOOKS {
            if home.join("bus").exists() {
                break;
            }
            tokio::time::sleep(LOOK).await;
        }
        let mut firewalld = quiet("ip");
        firewalld.args(["netns", "exec", lab.network.host.name()]);
        firewalld.args(["firewalld", "--nofork", "--nopid", "--log-file"]).arg(home.join("log"));
        firewalld.env("DBUS_SYSTEM_BUS_ADDRESS", &bus);
        let this = Self([firewalld.spawn().unwrap(), daemon]);
        for _ in 0..LOOKS {
            if lab.try_sh("firewall-cmd --state").await.status.success() {
                return this;
            }
            tokio::time::sleep(LOOK).await;
        }
        panic!("firewalld does not start: {:?}", fs::read_to_string(home.join("log")));
    }
}

impl Drop for Firewalld {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A program that ends with this test.
fn quiet(program: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", program]).stdin(Stdio::null());
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command
}
