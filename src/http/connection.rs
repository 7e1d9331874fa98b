//! One connection: HTTP/1.1 on it, whether it is idle, and how it ends.

use std::convert::Infallible;
use std::error::Error as StdError;
use std::future::{Future, poll_fn};
use std::net::{Shutdown, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use hyper::body::{Body, Incoming};
use hyper::header::{CONNECTION, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::SockRef;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::accept::Limits;
use crate::live::Live;
use crate::telemetry::metrics::Metrics;

/// Largest request header, and so the most memory a connection takes before its request is known.
const MAX_HEADER_BYTES: usize = 16 * 1024;
/// In place of a time: a request is being answered.
const BUSY: u64 = u64::MAX;
/// How long, and for how many bytes, a client may go on sending what is not read any more.
const LINGER: (Duration, usize) = (Duration::from_secs(1), 4 * 1024 * 1024);

/// Who is at the other end of the connection; an extension of every request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer(pub(super) SocketAddr);

/// What all connections share.
pub(super) struct Shared {
    http: http1::Builder,
    pub(super) limits: Live<Limits>,
    metrics: Arc<Metrics>,
    /// The zero of idle times.
    epoch: Instant,
    /// Whether every answer is to be the last on its connection.
    pub(super) draining: AtomicBool,
}

impl Shared {
    pub(super) fn new(limits: Live<Limits>, metrics: Arc<Metrics>) -> Self {
        let mut http = http1::Builder::new();
        // hyper's own limit of 100 header lines is kept: setting another one costs an allocation
        // a request. A client that shuts its sending half after the request still gets its answer.
        http.timer(TokioTimer::new()).max_buf_size(MAX_HEADER_BYTES).half_close(true);
        Self { http, limits, metrics, epoch: Instant::now(), draining: AtomicBool::new(false) }
    }

    /// HTTP under the limits of the moment.
    fn http(&self) -> http1::Builder {
        let mut http = self.http.clone();
        http.header_read_timeout(self.limits.read(|limits| limits.header_timeout));
        http
    }

    fn now(&self) -> u64 {
        self.epoch.elapsed().as_micros() as u64
    }
}

/// What the accept loop knows of a connection.
#[derive(Debug)]
pub(super) struct Connection {
    peer: SocketAddr,
    /// Since when no request is being answered, in microseconds of [`Shared::epoch`], or [`BUSY`].
    idle_since: AtomicU64,
    /// Whether a request was ever answered.
    served: AtomicBool,
    /// Whether it is closed to make room rather than because the server stops.
    shed: AtomicBool,
    close: CancellationToken,
}

impl Connection {
    pub(super) fn new(peer: SocketAddr, shared: &Shared) -> Self {
        Self {
            peer,
            idle_since: AtomicU64::new(shared.now()),
            served: AtomicBool::new(false),
            shed: AtomicBool::new(false),
            close: CancellationToken::new(),
        }
    }

    /// Since when no request is being answered; nothing if one is, or if it is closing already.
    ///
    /// An answer counts as given once it is handed to the connection: who does not read it is idle.
    pub(super) fn idle_since(&self) -> Option<u64> {
        let since = self.idle_since.load(Ordering::Relaxed);
        (since != BUSY && !self.shed.load(Ordering::Relaxed)).then_some(since)
    }

    /// Whether a request is being answered.
    pub(super) fn is_busy(&self) -> bool {
        self.idle_since.load(Ordering::Relaxed) == BUSY
    }

    /// Whether it can be dropped at once: no request is being answered, and the last answer need
    /// not be waited for, because there was none or because room is needed more.
    fn is_owed_nothing(&self) -> bool {
        self.idle_since.load(Ordering::Relaxed) != BUSY
            && (self.shed.load(Ordering::Relaxed) || !self.served.load(Ordering::Relaxed))
    }

    /// Closes the connection to make room, unless a request came in meanwhile: that is answered
    /// first.
    pub(super) fn shed(&self) {
        self.shed.store(true, Ordering::Relaxed);
        self.close.cancel();
    }

    /// Closes the connection after the request under way, if there is one.
    pub(super) fn finish(&self) {
        self.close.cancel();
    }
}

/// Serves HTTP on `stream` until either side ends it.
pub(super) async fn serve<S, B>(
    stream: TcpStream,
    connection: Arc<Connection>,
    service: S,
    shared: Arc<Shared>,
) where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Unpin,
    S::Future: Unpin,
    B: Body + 'static,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    let tracked = Tracked { service, connection: connection.clone(), shared: shared.clone() };
    let mut http = shared.http().serve_connection(TokioIo::new(stream), tracked);
    let mut closing = false;
    let end = loop {
        tokio::select! {
            biased; // A request that is there already is answered before the connection closes.
            end = poll_fn(|cx| http.poll_without_shutdown(cx)) => break end,
            () = connection.close.cancelled(), if !closing => {
                closing = true;
                if connection.is_owed_nothing() {
                    return;
                }
                Pin::new(&mut http).graceful_shutdown();
            }
        }
    };
    match end {
        Ok(()) => linger(http.into_parts().io.into_inner(), &connection).await,
        Err(error) if error.is_timeout() => {
            tracing::debug!(peer = %connection.peer, "no request within the header timeout");
            if !connection.served.load(Ordering::Relaxed) {
                shared
                    .metrics
                    .http_connections_refused
                    .with_label_values(&["header_timeout"])
                    .inc();
            }
        }
        Err(error) => {
            let error_kind = if error.is_parse() { "malformed" } else { "io" };
            tracing::debug!(peer = %connection.peer, %error, error_kind, "connection ended");
            if error.is_parse() {
                linger(http.into_parts().io.into_inner(), &connection).await;
            }
        }
    }
}

/// Ends the connection so that the client can read the last answer.
///
/// Closing a socket while the client still sends (a body over the limit) makes the kernel reset
/// the connection, and the answer may be lost on the way. So only our half is closed, and what
/// still comes is thrown away for a moment.
async fn linger(stream: TcpStream, connection: &Connection) {
    if SockRef::from(&stream).shutdown(Shutdown::Write).is_err() {
        return;
    }
    let (time, most) = LINGER;
    let discard = async {
        let mut left = most;
        while stream.readable().await.is_ok() {
            let mut scratch = [0; 8 * 1024];
            match stream.try_read(&mut scratch) {
                Ok(0) => break,
                Ok(n) if n >= left => break,
                Ok(n) => left -= n,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(_) => break,
            }
        }
    };
    tokio::select! {
        () = discard => {}
        () = tokio::time::sleep(time) => {}
        () = connection.close.cancelled(), if connection.shed.load(Ordering::Relaxed) => {}
    }
}

/// A service that keeps the connection's idle time.
struct Tracked<S> {
    service: S,
    connection: Arc<Connection>,
    shared: Arc<Shared>,
}

impl<S, B> Service<Request<Incoming>> for Tracked<S>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
    S::Future: Unpin,
{
    type Response = Response<B>;
    type Error = Infallible;
    type Future = Answer<S::Future>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        self.connection.idle_since.store(BUSY, Ordering::Relaxed);
        request.extensions_mut().insert(Peer(self.connection.peer));
        Answer {
            connection: self.connection.clone(),
            shared: self.shared.clone(),
            future: self.service.call(request),
        }
    }
}

/// A request being answered.
struct Answer<F> {
    future: F,
    connection: Arc<Connection>,
    shared: Arc<Shared>,
}

impl<F, B> Future for Answer<F>
where
    F: Future<Output = Result<Response<B>, Infallible>> + Unpin,
{
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Ok(mut response) = ready!(Pin::new(&mut self.future).poll(cx));
        self.connection.served.store(true, Ordering::Relaxed);
        self.connection.idle_since.store(self.shared.now(), Ordering::Relaxed);
        if self.shared.draining.load(Ordering::Relaxed) {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        Poll::Ready(Ok(response))
    }
}
