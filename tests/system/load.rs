//! A load of plain requests, and what became of each.

use std::fmt;
use std::io::{Error, ErrorKind};
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Callers that keep their connection, and callers that open one for each request.
const KEEPING: usize = 16;
const FRESH: usize = 8;
/// Pause of a caller between two requests.
const PAUSE: Duration = Duration::from_millis(10);
/// The longest a request may take; a restart is in it.
const REQUEST: Duration = Duration::from_secs(20);
/// Largest answer read.
const ANSWER: usize = 64 * 1024;

/// What became of the requests.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// Answered with 200.
    pub(crate) answered: usize,
    /// Kept connections that the server closed while no request was on them or it had read
    /// nothing of one; the caller opens another, as RFC 9112 §9.3.1 has it.
    pub(crate) reopened: usize,
    /// Connections refused.
    pub(crate) refused: usize,
    /// Connections reset or closed under a request.
    pub(crate) reset: usize,
    /// Answered with another status.
    pub(crate) other: Vec<u16>,
    /// Not answered in time.
    pub(crate) silent: usize,
}

/// What can become of one request.
enum Request {
    Answered {
        status: u16,
        closing: bool,
    },
    /// The connection ended before a byte of the answer.
    Closed,
    Failed(Error),
}

impl Outcome {
    /// Whether every request was answered.
    pub(crate) fn is_perfect(&self) -> bool {
        let Self { answered, refused, reset, other, silent, .. } = self;
        *answered > 0 && refused + reset + silent == 0 && other.is_empty()
    }

    fn add(&mut self, other: Self) {
        self.answered += other.answered;
        self.reopened += other.reopened;
        self.refused += other.refused;
        self.reset += other.reset;
        self.other.extend(other.other);
        self.silent += other.silent;
    }

    fn count(&mut self, error: &Error) {
        match error.kind() {
            ErrorKind::ConnectionRefused => self.refused += 1,
            ErrorKind::TimedOut => self.silent += 1,
            _ => self.reset += 1,
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { answered, reopened, refused, reset, other, silent } = self;
        write!(
            f,
            "{answered} answered, {refused} refused, {reset} reset, {silent} silent, {} with an \
             error, {reopened} kept connections reopened",
            other.len()
        )
    }
}

/// Loads `address` until `enough`.
pub(crate) async fn load(address: SocketAddr, enough: CancellationToken) -> Outcome {
    let mut callers = JoinSet::new();
    for number in 0..KEEPING + FRESH {
        callers.spawn(call(address, number < KEEPING, enough.clone()));
    }
    let mut all = Outcome::default();
    for outcome in callers.join_all().await {
        all.add(outcome);
    }
    all
}

async fn call(address: SocketAddr, keeps: bool, enough: CancellationToken) -> Outcome {
    let mut outcome = Outcome::default();
    let mut kept: Option<TcpStream> = None;
    while !enough.is_cancelled() {
        let reused = kept.is_some();
        let request = async {
            let mut stream = match kept.take() {
                Some(stream) => stream,
                None => match TcpStream::connect(address).await {
                    Ok(stream) => stream,
                    Err(error) => return (Request::Failed(error), None),
                },
            };
            let request = ask(&mut stream, keeps).await;
            (request, Some(stream))
        };
        let limited = tokio::time::timeout(REQUEST, request).await;
        let (request, stream) =
            limited.unwrap_or_else(|limit| (Request::Failed(limit.into()), None));
        match request {
            Request::Answered { status: 200, closing } => {
                outcome.answered += 1;
                kept = stream.filter(|_| keeps && !closing);
            }
            Request::Answered { status, .. } => outcome.other.push(status),
            Request::Closed if reused => {
                outcome.reopened += 1;
                continue;
            }
            Request::Closed => outcome.reset += 1,
            Request::Failed(error) => outcome.count(&error),
        }
        tokio::time::sleep(PAUSE).await;
    }
    outcome
}

async fn ask(stream: &mut TcpStream, keeps: bool) -> Request {
    let connection = if keeps { "keep-alive" } else { "close" };
    let request = format!("GET / HTTP/1.1\r\nHost: dingbot\r\nConnection: {connection}\r\n\r\n");
    // The end of a connection may be seen by writing to it as well as by reading.
    let ended =
        |error: &Error| matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe);
    if let Err(error) = stream.write_all(request.as_bytes()).await {
        return if ended(&error) { Request::Closed } else { Request::Failed(error) };
    }
    let mut answer = Vec::new();
    loop {
        match stream.read_buf(&mut answer).await {
            Ok(0) if answer.is_empty() => return Request::Closed,
            Ok(0) => return Request::Failed(ErrorKind::UnexpectedEof.into()),
            Err(error) if answer.is_empty() && ended(&error) => return Request::Closed,
            Err(error) => return Request::Failed(error),
            Ok(_) => {}
        }
        if let Some(answered) = whole(&answer) {
            return answered;
        }
        if answer.len() > ANSWER {
            return Request::Failed(ErrorKind::InvalidData.into());
        }
    }
}

/// The answer, when all of it is there.
fn whole(answer: &[u8]) -> Option<Request> {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
    let field = |name: &str| {
        head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
    };
    let length: usize = field("content-length")?.parse().ok()?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let closing = field("connection") == Some("close");
    (answer.len() >= end + 4 + length).then_some(Request::Answered { status, closing })
}
