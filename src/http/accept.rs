//! The accept loop: how many connections there may be, and how they are taken down.
//!
//! warp's own server has no header timeout, no limit of connections and no deadline for its drain,
//! so its filters are driven from here, each connection by a task this loop owns.

use std::collections::HashMap;
use std::convert::Infallible;
use std::error::Error as StdError;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::{Body, Incoming};
use hyper::service::Service;
use hyper::{Request, Response};
use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;

use super::connection::{self, Connection, Shared};
use super::listener::{self, Listener};
use crate::live::Live;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::progress::Pulse;

/// What a connection past the limit is told when no other can be closed for it.
const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\n\
    content-length: 76\r\nretry-after: 1\r\nconnection: close\r\n\r\n\
    {\"error\":\"unavailable\",\"message\":\"Too many connections; try again shortly.\"}";
/// First and longest wait after an accept failed for want of descriptors or memory.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(1), Duration::from_secs(1));
/// How often such a failure is logged at most.
const LOG_EVERY: Duration = Duration::from_secs(1);
/// How long a draining server still waits for requests that are on their way on open connections.
const ARRIVAL: Duration = Duration::from_millis(100);
/// How long a search that found no idle connection is believed.
const NONE_IDLE: Duration = Duration::from_millis(10);
/// Most connections found by one search.
const FOUND_AT_ONCE: usize = 256;

/// The limits of the listener; `[server]` has them.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Most connections at a time; past it the longest idle one is closed for the next.
    pub max_connections: usize,
    /// Time for a client to send a whole request header, and time a kept connection may be idle.
    pub header_timeout: Duration,
    /// Time for requests under way to be answered once the server stops.
    pub drain_timeout: Duration,
}

/// Accepts and serves connections until `shutdown`, then drains, and returns when the last
/// connection is closed.
///
/// Draining: as long as requests under way at that moment are being answered, new connections are
/// still served; then those the kernel has already completed, and the listeners are closed. An
/// inherited listener is left at once, with what waits in it, to whoever gets it next. Requests
/// under way are answered with `connection: close`, idle connections are closed, and what is left
/// at [`Limits::drain_timeout`] is cut. Dropping the future cuts everything.
pub async fn serve<S, B>(
    mut listeners: Vec<Listener>,
    service: S,
    limits: Live<Limits>,
    metrics: Arc<Metrics>,
    mut pulse: Pulse,
    shutdown: CancellationToken,
) where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
    S: Clone + Send + Unpin + 'static,
    S::Future: Unpin + Send + 'static,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    let shared = Arc::new(Shared::new(limits.clone(), metrics.clone()));
    let mut connections = Connections {
        open: HashMap::new(),
        tasks: JoinSet::new(),
        idle: Vec::new(),
        none_idle_until: Instant::now(),
        shared: shared.clone(),
        metrics,
    };
    let mut trouble = Trouble::default();
    let mut turn = 0;
    loop {
        let paused = trouble.pause_until;
        tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            () = pulse.beat() => {}
            Some(ended) = connections.tasks.join_next_with_id() => connections.forget(ended),
            () = sleep_until(paused.unwrap_or_else(Instant::now)), if paused.is_some() => {
                trouble.pause_until = None;
            }
            accepted = poll_fn(|cx| poll_accept(&listeners, &mut turn, cx)), if paused.is_none() => {
                match accepted {
                    Ok((stream, peer)) => {
                        trouble.wait = None;
                        connections.admit(stream, peer, &service);
                    }
                    Err(error) if concerns_one_client(&error) => {
                        tracing::debug!(%error, error_kind = "io", "a client left before it was accepted");
                    }
                    Err(error) => {
                        trouble.met(&error);
                        connections.make_room();
                    }
                }
            }
        }
    }
    shared.draining.store(true, Ordering::Relaxed);
    let deadline = Instant::now() + limits.get().drain_timeout;
    // An inherited socket outlives this process: what waits in it is answered by the next one.
    listeners.retain(|listener| !listener.is_inherited());
    // While requests under way are being answered, whoever asks for `/health` hears that the daemon
    // is stopping. Only what was under way at the signal is waited for.
    let owed = connections.being_answered();
    let mut arrived = Some(Instant::now() + ARRIVAL);
    while connections.has_any(&owed) {
        tokio::select! {
            biased;
            () = sleep_until(deadline) => break,
            () = sleep_until(arrived.unwrap_or(deadline)), if arrived.is_some() => {
                arrived = None;
                connections.finish();
            }
            Some(ended) = connections.tasks.join_next_with_id() => connections.forget(ended),
            accepted = poll_fn(|cx| poll_accept(&listeners, &mut turn, cx)) => match accepted {
                Ok((stream, peer)) => connections.admit(stream, peer, &service),
                Err(_) => tokio::time::sleep(BACKOFF.0).await,
            },
        }
    }
    for (stream, peer) in listeners.into_iter().flat_map(Listener::close) {
        connections.admit(stream, peer, &service);
    }
    connections.drain(deadline.saturating_duration_since(Instant::now())).await;
}

/// The next connection of any listener, each in turn the first to be asked.
fn poll_accept(
    listeners: &[Listener],
    turn: &mut usize,
    cx: &mut Context<'_>,
) -> Poll<io::Result<(TcpStream, SocketAddr)>> {
    for _ in listeners {
        *turn = (*turn + 1) % listeners.len();
        if let ready @ Poll::Ready(_) = listeners[*turn].poll_accept(cx) {
            return ready;
        }
    }
    Poll::Pending
}

/// Whether an accept failed because of the one client it was about: `accept(2)` reports errors of
/// the new connection too.
fn concerns_one_client(error: &io::Error) -> bool {
    use io::ErrorKind::{
        ConnectionAborted, ConnectionRefused, ConnectionReset, HostUnreachable, Interrupted,
        NetworkUnreachable, PermissionDenied, TimedOut,
    };
    matches!(
        error.kind(),
        ConnectionAborted
            | ConnectionRefused
            | ConnectionReset
            | HostUnreachable
            | Interrupted
            | NetworkUnreachable
            | PermissionDenied
            | TimedOut
    )
}

/// Failures to accept that waiting may cure, such as `EMFILE`.
#[derive(Default)]
struct Trouble {
    wait: Option<Duration>,
    pause_until: Option<Instant>,
    logged: Option<Instant>,
}

impl Trouble {
    fn met(&mut self, error: &io::Error) {
        let (first, longest) = BACKOFF;
        let wait = self.wait.map_or(first, |wait| (wait * 2).min(longest));
        let now = Instant::now();
        self.wait = Some(wait);
        self.pause_until = Some(now + wait);
        if self.logged.is_none_or(|logged| now - logged >= LOG_EVERY) {
            self.logged = Some(now);
            tracing::error!(
                %error,
                error_kind = "io",
                "cannot accept connections; raise LimitNOFILE or lower server.max_connections if \
                 descriptors ran out"
            );
        }
    }
}

/// The open connections and their tasks; only the accept loop has it, so it needs no lock.
struct Connections {
    open: HashMap<Id, Arc<Connection>>,
    tasks: JoinSet<()>,
    /// Idle connections as the last search found them, the longest idle last. Since idle times
    /// only ever move forward, one whose time is still the same is still the longest idle of all.
    idle: Vec<(u64, Id)>,
    none_idle_until: Instant,
    shared: Arc<Shared>,
    metrics: Arc<Metrics>,
}

impl Connections {
    /// Most connections at a time.
    fn limit(&self) -> usize {
        self.shared.limits.read(|limits| limits.max_connections.max(1))
    }

    /// Lets every connection end after the request under way, if there is one.
    fn finish(&self) {
        self.open.values().for_each(|connection| connection.finish());
    }

    /// The connections on which a request is being answered.
    fn being_answered(&self) -> Vec<Id> {
        let busy = self.open.iter().filter(|(_, connection)| connection.is_busy());
        busy.map(|(id, _)| *id).collect()
    }

    /// Whether any of these connections is still open.
    fn has_any(&self, ids: &[Id]) -> bool {
        ids.iter().any(|id| self.open.contains_key(id))
    }

    /// Serves a new connection, if there is or can be made room for it.
    fn admit<S, B>(&mut self, stream: TcpStream, peer: SocketAddr, service: &S)
    where
        S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
        S: Clone + Send + Unpin + 'static,
        S::Future: Unpin + Send + 'static,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn StdError + Send + Sync>>,
    {
        if self.open.len() >= self.limit() && !self.make_room() {
            self.metrics.http_connections_refused.with_label_values(&["limit"]).inc();
            tracing::debug!(%peer, "connection refused, all are busy");
            refuse(&stream);
            return;
        }
        listener::prepare(&stream);
        let connection = Arc::new(Connection::new(peer, &self.shared));
        let task =
            connection::serve(stream, connection.clone(), service.clone(), self.shared.clone());
        self.open.insert(self.tasks.spawn(task).id(), connection);
        self.metrics.http_connections.set(self.open.len() as i64);
    }

    /// Closes the connection that has been idle longest; false if none is idle.
    fn make_room(&mut self) -> bool {
        if self.close_longest_idle() {
            return true;
        }
        if Instant::now() < self.none_idle_until {
            return false;
        }
        self.find_idle();
        let made = self.close_longest_idle();
        if !made {
            // Without this, a flood of connections would cost a search each.
            self.none_idle_until = Instant::now() + NONE_IDLE;
        }
        made
    }

    fn close_longest_idle(&mut self) -> bool {
        while let Some((since, id)) = self.idle.pop() {
            let Some(connection) = self.open.get(&id) else { continue };
            if connection.idle_since() == Some(since) {
                connection.shed();
                self.metrics.http_connections_refused.with_label_values(&["idle"]).inc();
                return true;
            }
        }
        false
    }

    /// Searches for the longest idle connections, a batch at once so that a search costs little
    /// when every new connection needs one.
    fn find_idle(&mut self) {
        let idle = self.open.iter().filter_map(|(id, c)| Some((c.idle_since()?, *id)));
        self.idle.extend(idle);
        let batch = (self.limit() / 16).clamp(1, FOUND_AT_ONCE);
        if self.idle.len() > batch {
            self.idle.select_nth_unstable_by_key(batch, |(since, _)| *since);
            self.idle.truncate(batch);
        }
        self.idle.sort_unstable_by_key(|(since, _)| std::cmp::Reverse(*since));
    }

    fn forget(&mut self, ended: Result<(Id, ()), JoinError>) {
        let id = match ended {
            Ok((id, ())) => id,
            Err(error) => {
                if error.is_panic() {
                    // The error quotes the panic's text, which may quote a message.
                    tracing::error!(error_kind = "panic", "the task of a connection panicked");
                }
                error.id()
            }
        };
        self.open.remove(&id);
        self.metrics.http_connections.set(self.open.len() as i64);
    }

    async fn all_ended(&mut self) {
        while let Some(ended) = self.tasks.join_next_with_id().await {
            self.forget(ended);
        }
    }

    async fn drain(mut self, limit: Duration) {
        let deadline = Instant::now() + limit;
        tracing::info!(connections = self.open.len(), "stopped listening, finishing requests");
        let arrived = (Instant::now() + ARRIVAL).min(deadline);
        if timeout_at(arrived, self.all_ended()).await.is_ok() {
            return;
        }
        self.finish();
        if timeout_at(deadline, self.all_ended()).await.is_err() {
            tracing::warn!(
                connections = self.open.len(),
                "requests were not finished within server.drain_timeout, cutting them off"
            );
            self.tasks.shutdown().await;
            self.metrics.http_connections.set(0);
        }
    }
}

/// Tells a client that there is no room. What does not fit the socket's buffer at once is not sent:
/// nothing is spent on a connection that is not served.
fn refuse(stream: &TcpStream) {
    let sent = SockRef::from(stream).send(FULL);
    if sent.is_ok_and(|sent| sent == FULL.len()) {
        let _ = SockRef::from(stream).shutdown(std::net::Shutdown::Write);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_refusal_states_its_true_length() {
        let text = std::str::from_utf8(FULL).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("content-length: {}", body.len())), "{}", body.len());
        assert!(serde_json::from_str::<serde_json::Value>(body).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_doubles_up_to_its_limit() {
        let mut trouble = Trouble::default();
        let error = io::Error::from_raw_os_error(24);
        let mut waits = Vec::new();
        for _ in 0..12 {
            trouble.met(&error);
            waits.push((trouble.pause_until.unwrap() - Instant::now()).as_millis());
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1_000, 1_000]);
    }

    #[test]
    fn only_what_concerns_the_host_makes_it_wait() {
        assert!(concerns_one_client(&io::ErrorKind::ConnectionAborted.into()));
        assert!(!concerns_one_client(&io::Error::from_raw_os_error(24)), "EMFILE");
    }
}
