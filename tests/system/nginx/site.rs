//! A real nginx with `etc/nginx/dingbot.conf`, on the ports and for the domain that stand there.
//!
//! Changed are the paths of certificate, logs and challenges, and the port of dingbot.

use std::fs;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::support::PATIENCE;
use crate::support::namespace::HOST;

/// The domain of the file.
pub(super) const DOMAIN: &str = "bot.example.com";
/// What the file holds, and a path in it that must be another here.
const FILE: &str = include_str!("../../../etc/nginx/dingbot.conf");
const CERTIFICATES: &str = "/etc/letsencrypt/live/bot.example.com";
const LOGS: &str = "/var/log/nginx";
const CHALLENGES: &str = "/var/www/html";
const UPSTREAM: &str = "server 127.0.0.1:8080;";

/// A certificate of this domain, signed by itself.
const REQUEST: &str = "[req]\nprompt = no\ndistinguished_name = name\nx509_extensions = leaf\n\
    [name]\nCN = bot.example.com\n\
    [leaf]\nsubjectAltName = DNS:bot.example.com\nbasicConstraints = critical, CA:FALSE\n";

/// The site; nginx ends when this is dropped.
#[derive(Debug)]
pub(super) struct Site {
    nginx: Child,
    folder: TempDir,
}

impl Site {
    /// What is missing for one: a reason to skip the test.
    pub(super) fn missing() -> Option<String> {
        [("nginx", "-v"), ("openssl", "version")].into_iter().find_map(|(program, argument)| {
            match Command::new(program).arg(argument).output() {
                Err(e) if e.kind() == ErrorKind::NotFound => {
                    Some(format!("`{program}` is not installed"))
                }
                _ => None,
            }
        })
    }

    /// Starts nginx in front of the daemon at `dingbot`, in the network of the calling thread.
    pub(super) async fn start(dingbot: SocketAddr) -> Self {
        let folder = tempfile::Builder::new().prefix("dingbot-nginx-").tempdir().unwrap();
        let path = folder.path();
        certify(path);
        let challenges = path.join("acme/.well-known/acme-challenge");
        fs::create_dir_all(&challenges).unwrap();
        fs::write(challenges.join("token"), "the answer to a challenge").unwrap();
        let here = path.to_str().unwrap();
        let site = [
            (CERTIFICATES, here.to_owned()),
            (LOGS, here.to_owned()),
            (CHALLENGES, format!("{here}/acme")),
            (UPSTREAM, format!("server {dingbot};")),
        ]
        .into_iter()
        .fold(FILE.to_owned(), |site, (from, to)| {
            assert!(site.contains(from), "{from} is not in the file");
            site.replace(from, &to)
        });
        fs::write(path.join("dingbot.conf"), site).unwrap();
        let main = format!(
            "user root;\nworker_processes 2;\ndaemon off;\npid {here}/pid;\n\
             error_log {here}/error.log;\nevents {{}}\nhttp {{\n\
             client_body_temp_path {here}/body;\nproxy_temp_path {here}/proxy;\n\
             include {here}/dingbot.conf;\n}}\n"
        );
        fs::write(path.join("nginx.conf"), main).unwrap();

        let test = nginx(path).arg("-t").output().unwrap();
        let said = String::from_utf8_lossy(&test.stderr);
        assert!(test.status.success(), "{said}");
        for word in ["[warn]", "[error]", "[emerg]"] {
            assert!(!said.contains(word), "{said}");
        }
        let nginx = nginx(path).stdin(Stdio::null()).spawn().unwrap();
        let site = Self { nginx, folder };
        let began = Instant::now();
        while tokio::net::TcpStream::connect((HOST, 443)).await.is_err() {
            let log = || fs::read_to_string(path_of_log(&site)).unwrap_or_default();
            assert!(began.elapsed() < PATIENCE, "nginx does not listen: {}", log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        site
    }

    /// A client that knows the domain and trusts its certificate, and nothing else.
    pub(super) fn client(&self) -> reqwest::Client {
        let certificate = fs::read(self.folder.path().join("fullchain.pem")).unwrap();
        reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(Duration::from_secs(60))
            .tls_certs_only([reqwest::Certificate::from_pem(&certificate).unwrap()])
            .resolve(DOMAIN, format!("{HOST}:0").parse().unwrap())
            .build()
            .unwrap()
    }

    /// The line of the access log about the request with this id, which nginx writes after the
    /// answer.
    pub(super) async fn logged(&self, id: &str) -> String {
        let began = Instant::now();
        loop {
            let log = fs::read_to_string(self.folder.path().join("dingbot.access.log")).unwrap();
            let end = format!("id={id}");
            if let Some(line) = log.lines().find(|line| line.ends_with(&end)) {
                return line.to_owned();
            }
            assert!(began.elapsed() < PATIENCE, "{id} is not in {log}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        // Its workers end with it only when it is asked to.
        if let Some(pid) = Pid::from_raw(self.nginx.id() as i32) {
            let _ = kill_process(pid, Signal::TERM);
        }
        let began = Instant::now();
        while matches!(self.nginx.try_wait(), Ok(None)) && began.elapsed() < PATIENCE {
            #[allow(clippy::disallowed_methods, reason = "nothing can be awaited in a drop")]
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.nginx.kill();
        let _ = self.nginx.wait();
    }
}

/// nginx, which the kernel tells to end when the test is killed.
fn nginx(folder: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "TERM", "nginx", "-p"]).arg(folder);
    command.arg("-c").arg(folder.join("nginx.conf"));
    command
}

fn path_of_log(site: &Site) -> std::path::PathBuf {
    site.folder.path().join("error.log")
}

fn certify(folder: &Path) {
    fs::write(folder.join("request.conf"), REQUEST).unwrap();
    let output = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"])
        .args(["-nodes", "-days", "2", "-config", "request.conf"])
        .args(["-keyout", "privkey.pem", "-out", "fullchain.pem"])
        .current_dir(folder)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
}
