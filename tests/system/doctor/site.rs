//! A real nginx on the instance, with the site that is shipped, under `/etc/nginx`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::lab::Lab;
use super::network::PUBLIC;
use super::report::Report;
use crate::support::tls::Certificate;

/// The domain of the file.
pub(super) const DOMAIN: &str = "bot.example.com";
/// What the file holds, and a path in it that must be another here.
const FILE: &str = include_str!("../../../etc/nginx/dingbot.conf");
const CERTIFICATES: &str = "/etc/letsencrypt/live/bot.example.com";
const LOGS: &str = "/var/log/nginx";
const UPSTREAM: &str = "server 127.0.0.1:8080;";
/// The longest it may take to start, or to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// nginx; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct Site {
    nginx: Child,
    folder: PathBuf,
}

impl Site {
    /// What is missing for one: a reason to skip.
    pub(super) fn missing() -> bool {
        !Path::new("/etc/nginx").is_dir() || !crate::docker::engine::installed("nginx")
    }

    /// Starts nginx with `certificate` and the site as `change` makes it.
    pub(super) async fn start(
        lab: &Lab,
        certificate: &Certificate,
        change: impl FnOnce(String) -> String,
    ) -> Self {
        let folder = lab.home.path().join("nginx");
        fs::create_dir_all(&folder).unwrap();
        present(&folder, certificate);
        let here = folder.to_str().unwrap();
        let site = [(CERTIFICATES, here), (LOGS, here)].into_iter().fold(
            FILE.to_owned(),
            |site, (from, to)| {
                assert!(site.contains(from), "{from} is not in the file");
                site.replace(from, to)
            },
        );
        let etc = lab.network.host.files().join("nginx");
        fs::create_dir_all(etc.join("sites-enabled")).unwrap();
        fs::write(etc.join("sites-enabled/dingbot.conf"), change(site)).unwrap();
        let main = format!(
            "user root;\nworker_processes 1;\npid {here}/pid;\nerror_log {here}/error.log;\n\
             events {{}}\nhttp {{\naccess_log {here}/access.log;\n\
             client_body_temp_path {here}/body;\nproxy_temp_path {here}/proxy;\n\
             include /etc/nginx/sites-enabled/*;\n}}\n"
        );
        fs::write(etc.join("nginx.conf"), main).unwrap();
        lab.sh("nginx -t").await;
        let nginx = Command::new("setpriv")
            .args(["--pdeathsig", "TERM", "ip", "netns", "exec", lab.network.host.name()])
            .args(["nginx", "-g", "daemon off;"])
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let site = Self { nginx, folder };
        let began = Instant::now();
        while tokio::net::TcpStream::connect((super::network::HOST, 443)).await.is_err() {
            let log = || fs::read_to_string(site.folder.join("error.log")).unwrap_or_default();
            assert!(began.elapsed() < PATIENCE, "nginx does not listen: {}", log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        site
    }

    /// There is another site, too.
    pub(super) fn beside(lab: &Lab, name: &str, site: &str) {
        let sites = lab.network.host.files().join("nginx/sites-enabled");
        fs::create_dir_all(&sites).unwrap();
        fs::write(sites.join(name), site).unwrap();
    }

    /// Shows another certificate from now on.
    pub(super) async fn renew(&self, lab: &Lab, certificate: &Certificate) {
        self.replace(certificate);
        self.reload(lab).await;
    }

    /// Another certificate is there from now on, which nginx has not read.
    pub(super) fn replace(&self, certificate: &Certificate) {
        present(&self.folder, certificate);
    }

    /// Changes the site.
    pub(super) async fn edit(&self, lab: &Lab, change: impl FnOnce(String) -> String) {
        Self::write(lab, change);
        self.reload(lab).await;
    }

    /// Changes the file of the site, which nginx has not read.
    pub(super) fn write(lab: &Lab, change: impl FnOnce(String) -> String) {
        let file = lab.network.host.files().join("nginx/sites-enabled/dingbot.conf");
        let site = fs::read_to_string(&file).unwrap();
        fs::write(&file, change(site)).unwrap();
    }

    async fn reload(&self, lab: &Lab) {
        lab.sh("nginx -s reload").await;
        Self::is_reloaded().await;
    }

    /// Carries out the whole remedy, which ends by a reload.
    pub(super) async fn carries_out(&self, lab: &Lab, report: &Report) {
        lab.carry_out_all(report).await;
        Self::is_reloaded().await;
    }

    /// The workers of before take no new connection once the new ones are there.
    async fn is_reloaded() {
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// The site, with this in it once, changed to that.
pub(super) fn changed(site: String, from: &str, to: &str) -> String {
    assert!(site.contains(from), "{from} is not in the site");
    site.replacen(from, to, 1)
}

/// The site, with the bot elsewhere.
pub(super) fn upstream(site: String, to: &str) -> String {
    assert!(site.contains(UPSTREAM));
    site.replace(UPSTREAM, &format!("server {to};"))
}

/// A client that knows the domain's address, and trusts this authority alone.
pub(super) fn client(certificate: &Certificate) -> reqwest::Client {
    let authority = fs::read(certificate.authority()).unwrap();
    reqwest::Client::builder()
        .no_proxy()
        .timeout(Duration::from_secs(5))
        .tls_certs_only([reqwest::Certificate::from_pem(&authority).unwrap()])
        .resolve(DOMAIN, format!("{PUBLIC}:0").parse().unwrap())
        .build()
        .unwrap()
}

fn present(folder: &Path, certificate: &Certificate) {
    let from = certificate.folder();
    let leaf = fs::read_to_string(from.join("leaf.pem")).unwrap();
    let others = fs::read_to_string(from.join("intermediate.pem")).unwrap_or_default();
    fs::write(folder.join("fullchain.pem"), leaf.clone() + &others).unwrap();
    fs::write(folder.join("cert.pem"), leaf).unwrap();
    fs::copy(from.join("leaf.key"), folder.join("privkey.pem")).unwrap();
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
