//! The servers dingbot is compared with: nginx, and hyper with nothing around it.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::Response;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};

/// What every server answers.
pub(crate) const BODY: &str = r#"{"status":"ok","message":"DingBot Server is healthy"}"#;
/// The argument that makes this program a bare hyper server.
pub(crate) const BARE_HYPER: &str = "bare-hyper";

/// A server of another program; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    /// Held to be killed.
    child: Child,
    _folder: Option<TempDir>,
}

impl Peer {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id().expect("the peer is running")
    }

    /// nginx as one tunes it for this: as many workers as processors, no access log, connections
    /// kept for ever.
    pub(crate) async fn nginx() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let address = free_address();
        let home = folder.path().display();
        let configuration = format!(
            "daemon off; master_process on; worker_processes auto; pid {home}/pid;
             error_log {home}/error.log;
             events {{ worker_connections 1024; }}
             http {{
               access_log off; keepalive_requests 1000000000; keepalive_timeout 60s;
               client_body_temp_path {home}/body; proxy_temp_path {home}/proxy;
               fastcgi_temp_path {home}/fastcgi; uwsgi_temp_path {home}/uwsgi;
               scgi_temp_path {home}/scgi;
               server {{
                 listen {address};
                 location /health {{ default_type application/json; return 200 '{BODY}'; }}
               }}
             }}"
        );
        let file = folder.path().join("nginx.conf");
        std::fs::write(&file, configuration).unwrap();
        let mut nginx = Command::new("nginx");
        nginx.arg("-p").arg(folder.path()).arg("-e").arg(folder.path().join("error.log"));
        let child = nginx.arg("-c").arg(&file).kill_on_drop(true).spawn().expect("nginx starts");
        let peer = Self { address, child, _folder: Some(folder) };
        peer.answers().await;
        peer
    }

    /// This program again, as a bare hyper server.
    pub(crate) async fn bare_hyper() -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .arg(BARE_HYPER)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut line = String::new();
        let stdout = child.stdout.take().expect("it is piped");
        BufReader::new(stdout).read_line(&mut line).await.unwrap();
        Self { address: line.trim().parse().unwrap(), child, _folder: None }
    }

    /// Asks nginx to stop, so that its workers end with it.
    pub(crate) async fn stop(mut self) {
        let pid = rustix::process::Pid::from_raw(self.pid() as i32).expect("not 0");
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        self.child.wait().await.unwrap();
    }

    async fn answers(&self) {
        for _ in 0..500 {
            if TcpStream::connect(self.address).await.is_ok() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("no server at {}", self.address);
    }
}

/// A port that was free a moment ago; nginx cannot be asked which one it took.
fn free_address() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// Prints its address and answers everything by [`BODY`] until standard input ends.
pub(crate) async fn serve_bare_hyper() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("{}", listener.local_addr().unwrap());
    let accepting = tokio::spawn(async move {
        loop {
            let Ok((stream, _)) = listener.accept().await else { continue };
            let _ = stream.set_nodelay(true);
            tokio::spawn(http1::Builder::new().serve_connection(
                TokioIo::new(stream),
                service_fn(|_| async { Ok::<_, Infallible>(healthy()) }),
            ));
        }
    });
    // The other end is held by who started this: it ends with it, however that ends.
    let ended = tokio::task::spawn_blocking(|| io::copy(&mut io::stdin(), &mut io::sink()));
    let _ = ended.await;
    accepting.abort();
}

fn healthy() -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(BODY.as_bytes())));
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}
