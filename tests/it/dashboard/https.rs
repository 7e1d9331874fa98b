//! nginx with a certificate before the daemon, and a blackbox exporter that looks at it.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use crate::support::PATIENCE;
use crate::support::prometheus::project;

/// Both; they end when this is dropped.
#[derive(Debug)]
pub(super) struct Https {
    proxy: SocketAddr,
    exporter: String,
    _nginx: Child,
    _blackbox: Child,
    _folder: TempDir,
}

impl Https {
    /// A proxy for `daemon`; or why there can be none.
    pub(super) async fn start(daemon: SocketAddr) -> Result<Self, String> {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let home = folder.path();
        certificate(home).await?;
        let proxy = free_address();
        let nginx = nginx(home, proxy, daemon)?;
        let (blackbox, exporter) = blackbox(home).await?;
        for _ in 0..500 {
            if TcpStream::connect(proxy).await.is_ok() {
                return Ok(Self {
                    proxy,
                    exporter,
                    _nginx: nginx,
                    _blackbox: blackbox,
                    _folder: folder,
                });
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        Err("nginx does not listen".into())
    }

    /// What the exporter looks at.
    pub(super) fn target(&self) -> String {
        format!("https://{}/health", self.proxy)
    }

    /// Where the exporter listens.
    pub(super) fn exporter(&self) -> &str {
        &self.exporter
    }
}

async fn certificate(home: &Path) -> Result<(), String> {
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "60"])
        .args(["-subj", "/CN=bot", "-addext", "subjectAltName=IP:127.0.0.1"])
        .args(["-keyout", "key.pem", "-out", "certificate.pem"])
        .current_dir(home)
        .output()
        .await;
    let made = made.map_err(|_| "openssl is not installed")?;
    if made.status.success() { Ok(()) } else { Err(format!("openssl: {made:?}")) }
}

/// In one process, so that it ends with it.
fn nginx(home: &Path, listen: SocketAddr, daemon: SocketAddr) -> Result<Child, String> {
    let place = home.display();
    let configuration = format!(
        "daemon off; master_process off; pid {place}/pid; error_log {place}/error.log;
         events {{ worker_connections 64; }}
         http {{
           access_log off;
           client_body_temp_path {place}/body; proxy_temp_path {place}/proxy;
           fastcgi_temp_path {place}/fastcgi; uwsgi_temp_path {place}/uwsgi;
           scgi_temp_path {place}/scgi;
           server {{
             listen {listen} ssl;
             ssl_certificate {place}/certificate.pem; ssl_certificate_key {place}/key.pem;
             location / {{ proxy_pass http://{daemon}; }}
           }}
         }}"
    );
    let file = home.join("nginx.conf");
    std::fs::write(&file, configuration).map_err(|error| error.to_string())?;
    let path = std::env::var("PATH").unwrap_or_default();
    let mut nginx = Command::new("nginx");
    nginx.env("PATH", format!("{path}:/usr/sbin")).arg("-p").arg(home).arg("-c").arg(&file);
    nginx.arg("-e").arg(home.join("error.log")).kill_on_drop(true);
    nginx.spawn().map_err(|_| "nginx is not installed".into())
}

/// With the module that is shipped, and this certificate's word for it.
async fn blackbox(home: &Path) -> Result<(Child, String), String> {
    let mut configuration: Value =
        serde_saphyr::from_str(&project("etc/prometheus/blackbox.yml")).expect("valid YAML");
    let trust = json!({ "ca_file": home.join("certificate.pem") });
    configuration["modules"]["dingbot_health"]["http"]["tls_config"] = trust;
    let file = home.join("blackbox.yml");
    std::fs::write(&file, configuration.to_string()).map_err(|error| error.to_string())?;
    let mut exporter = Command::new("prometheus-blackbox-exporter")
        .arg(format!("--config.file={}", file.display()))
        .args(["--web.listen-address=127.0.0.1:0", "--log.format=json"])
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|_| "prometheus-blackbox-exporter is not installed")?;
    let mut lines = BufReader::new(exporter.stderr.take().expect("it is piped")).lines();
    let listens = async {
        while let Ok(Some(line)) = lines.next_line().await {
            let event: Value = serde_json::from_str(&line).unwrap_or_default();
            let text = event["msg"].as_str().unwrap_or_default();
            let address = event["address"].as_str().filter(|_| text == "Listening on");
            if let Some(address) = address {
                return Some(address.to_owned());
            }
        }
        None
    };
    let address = tokio::time::timeout(PATIENCE, listens).await.ok().flatten();
    let address = address.ok_or("the blackbox exporter does not say where it listens")?;
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    Ok((exporter, address))
}

/// A port that was free a moment ago; nginx cannot be asked which one it took.
fn free_address() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("a bound listener has an address")
}
