//! Knocking at an address: one request, taken apart into the steps at which it can fail.
//!
//! No proxy of the environment stands between, no redirect is followed, and a bad certificate is
//! noted rather than obeyed: nothing that is sent is a secret.

mod outcome;
mod tls;
mod voice;

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper::client::conn::http1;
use hyper::header::{HOST, HeaderMap, USER_AGENT};
use hyper::{Method, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

pub(super) use self::outcome::Outcome;
pub(super) use self::tls::{Certificate, Trouble};
pub(super) use self::voice::Voice;

/// The longest a connection may take to come about.
const CONNECT: Duration = Duration::from_millis(1_500);
/// The longest a request and its answer may take.
const WHOLE: Duration = Duration::from_millis(2_500);
/// The longest everything may take, with the questions that a strange answer calls for.
const LIMIT: Duration = Duration::from_millis(3_300);
/// What is left of the time when the body must have come.
const MARGIN: Duration = Duration::from_millis(100);
/// How soon who speaks first has spoken.
const BANNER: Duration = Duration::from_millis(700);
/// Of an answer's body so many bytes are read.
const BODY: usize = 64 * 1024;

/// A request without a body.
#[derive(Debug, Clone)]
pub(super) struct Knock {
    /// Where to connect to.
    pub(super) address: SocketAddr,
    /// The name that is asked for, without a port: of the certificate, and of the host.
    pub(super) host: String,
    /// Whether by HTTPS.
    pub(super) tls: bool,
    /// `GET` or `POST`.
    pub(super) method: Method,
    /// The path, which begins with a slash.
    pub(super) path: String,
    /// When it must have come to its end.
    pub(super) deadline: Instant,
}

/// What came back.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    /// The body, or the beginning of it.
    pub(super) body: String,
    /// Of HTTPS: the certificate.
    pub(super) certificate: Option<Certificate>,
}

/// At which step it failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Failure {
    /// A packet came back that says no: nothing listens, or a filter rejects.
    #[error("connection refused")]
    Refused,
    /// No packet came back.
    #[error("no answer to the connection within {CONNECT:?}")]
    ConnectTimedOut,
    /// There is no way to the address.
    #[error("{0}")]
    Unreachable(String),
    /// The connection was there, and was cut.
    #[error("the connection was reset")]
    Reset,
    /// An answer began, and did not come to its end.
    #[error("the answer broke off, or did not come to its end within {WHOLE:?}")]
    BrokenOff,
    /// The connection was there, and nothing was said.
    #[error("connected, and no answer within {WHOLE:?}")]
    Silent,
    /// What came back is not HTTP.
    #[error("the answer is not HTTP")]
    NotHttp,
    /// It was asked by HTTPS, and does not speak TLS.
    #[error("the other side does not speak TLS")]
    NotTls,
    /// It was asked by HTTP, and speaks HTTPS.
    #[error("the other side speaks HTTPS")]
    IsTls,
    /// No TLS connection came about.
    #[error("TLS: {0}")]
    Tls(String),
}

impl Knock {
    /// A `GET` of `/health` by HTTP.
    pub(super) fn health(address: SocketAddr) -> Self {
        Self {
            address,
            host: address.ip().to_string(),
            tls: false,
            method: Method::GET,
            path: "/health".into(),
            deadline: Instant::now() + LIMIT,
        }
    }

    /// Sends it, and reads what comes back.
    pub(super) async fn ask(&self) -> Result<Answer, Failure> {
        let attempt = self.attempt(self.deadline.min(Instant::now() + WHOLE)).await;
        match &attempt {
            // Who speaks first is no server of HTTP, and may have been heard or not.
            Err(Failure::NotHttp | Failure::Reset | Failure::NotTls)
                if self.speaks_first().await =>
            {
                Err(Failure::NotHttp)
            }
            // Whoever speaks TLS takes a plain request for nonsense, and says so in TLS, or by 400.
            Err(Failure::NotHttp | Failure::Reset) if self.speaks_tls().await => {
                Err(Failure::IsTls)
            }
            Ok(answer) if answer.status == StatusCode::BAD_REQUEST && self.speaks_tls().await => {
                Err(Failure::IsTls)
            }
            _ => attempt,
        }
    }

    async fn attempt(&self, deadline: Instant) -> Result<Answer, Failure> {
        let stream = connect(self.address, deadline).await?;
        let conversation = async {
            if !self.tls {
                return self.converse(stream, None, deadline).await;
            }
            let (stream, certificate) = tls::wrap(stream, &self.host).await?;
            self.converse(stream, Some(certificate), deadline).await
        };
        timeout_at(deadline, conversation).await.unwrap_or(Err(Failure::Silent))
    }

    async fn converse(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        certificate: Option<Certificate>,
        deadline: Instant,
    ) -> Result<Answer, Failure> {
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(failure)?;
        let request = hyper::Request::builder()
            .method(self.method.clone())
            .uri(&self.path)
            .header(HOST, self.host_header())
            .header(USER_AGENT, concat!("dingbot-doctor/", env!("CARGO_PKG_VERSION")))
            .body(Empty::<Bytes>::new())
            .map_err(|_| Failure::NotHttp)?;
        // The connection does its work while the answer is waited for, and ends with it.
        let mut connection = std::pin::pin!(connection);
        let answer = async {
            let (head, body) = sender.send_request(request).await.map_err(failure)?.into_parts();
            // A little sooner than everything, so that what came is not lost with it.
            let body = timeout_at(deadline - MARGIN, beginning(body)).await;
            let body = body.unwrap_or(Err(Failure::BrokenOff))?;
            Ok(Answer { status: head.status, headers: head.headers, body, certificate })
        };
        tokio::select! {
            answer = answer => answer,
            // It may end before the answer is taken from it; then the other arm has the answer.
            () = async {
                let _ = connection.as_mut().await;
                std::future::pending::<()>().await;
            } => unreachable!("pending"),
        }
    }

    fn host_header(&self) -> String {
        let host = match self.host.parse() {
            Ok(std::net::IpAddr::V6(v6)) => format!("[{v6}]"),
            _ => self.host.clone(),
        };
        let usual = if self.tls { 443 } else { 80 };
        let port = self.address.port();
        if port == usual { host } else { format!("{host}:{port}") }
    }

    async fn speaks_tls(&self) -> bool {
        if self.tls {
            return false;
        }
        let attempt = async {
            let stream = connect(self.address, self.deadline).await.ok()?;
            tls::wrap(stream, &self.host).await.ok()
        };
        matches!(timeout_at(self.deadline, attempt).await, Ok(Some(_)))
    }

    /// Whether the other side speaks before it is asked, as SSH, SMTP and databases do.
    async fn speaks_first(&self) -> bool {
        let listen = async {
            let stream = connect(self.address, self.deadline).await.ok()?;
            stream.peek(&mut [0]).await.ok().filter(|heard| *heard > 0)
        };
        let limit = self.deadline.min(Instant::now() + BANNER);
        matches!(timeout_at(limit, listen).await, Ok(Some(_)))
    }
}

async fn connect(address: SocketAddr, deadline: Instant) -> Result<TcpStream, Failure> {
    let limit = deadline.min(Instant::now() + CONNECT);
    match timeout_at(limit, TcpStream::connect(address)).await {
        Err(_) => Err(Failure::ConnectTimedOut),
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(match error.kind() {
            ErrorKind::ConnectionRefused => Failure::Refused,
            ErrorKind::TimedOut => Failure::ConnectTimedOut,
            ErrorKind::ConnectionReset => Failure::Reset,
            _ => Failure::Unreachable(error.to_string()),
        }),
    }
}

/// The body, or as much of it as is read.
async fn beginning(body: hyper::body::Incoming) -> Result<String, Failure> {
    let mut body = Limited::new(body, BODY);
    let mut read = Vec::new();
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => read.extend(frame.into_data().iter().flatten()),
            // Enough to know who speaks.
            Err(error) if error.is::<LengthLimitError>() => break,
            Err(_) => return Err(Failure::BrokenOff),
        }
    }
    Ok(String::from_utf8_lossy(&read).into_owned())
}

/// Why hyper gave up.
fn failure(error: hyper::Error) -> Failure {
    use std::error::Error as _;
    if error.is_parse() {
        return Failure::NotHttp;
    }
    let cause = error.source().and_then(|source| source.downcast_ref::<io::Error>());
    match cause.map(io::Error::kind) {
        Some(ErrorKind::InvalidData) => {
            Failure::Tls(cause.map(ToString::to_string).unwrap_or_default())
        }
        // Closed without a word, or in the middle of one.
        _ => Failure::Reset,
    }
}
