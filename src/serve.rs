//! The daemon: builds every room, wires them, and takes them down in order.

mod advice;
mod ending;
mod house;
mod reload;
mod store;
mod tasks;

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use self::ending::Run;
pub(crate) use self::house::model;
use self::house::{Ground, House};
use self::reload::Reloader;
use self::tasks::Tasks;
use crate::bot::Inbox;
use crate::config::{Settings, Sources};
use crate::http::{self, accept, listener};
use crate::llm::EmbeddingModel;
use crate::memory::indexing;
use crate::memory::meaning::{self, Meaning};
use crate::service::control::{self, ControlSocket, Request};
use crate::service::notify::Notifier;
use crate::service::signals::{Signal, Signals};
use crate::service::watchdog::{Part, Watchdog};
use crate::store::Store;
use crate::telemetry::clock::Clock;
use crate::telemetry::health::{Health, Status};
use crate::telemetry::logging::LevelHandle;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::process::ProcessCollector;
use crate::telemetry::progress::{Probe, pulse};

/// File descriptors beside those of connections: the store, the log, requests to DingTalk and the
/// model.
const OTHER_DESCRIPTORS: u64 = 512;
/// Least time for messages and deliveries under way once the last request was answered.
const LEAST_DRAIN: Duration = Duration::from_secs(1);
/// How long before the deadline callers that wait on the line are told that there is no answer.
const DISMISS_BEFORE: Duration = Duration::from_millis(500);

/// What the daemon is started with.
#[allow(missing_debug_implementations, reason = "the sources hold secrets")]
pub struct Start {
    /// The settings, as they were read at the start.
    pub settings: Settings,
    /// Where they were read from; a reload reads them again.
    pub sources: Sources,
    /// Where the store is.
    pub store: PathBuf,
    /// Sockets to listen on in place of `server.listen`; none: that is listened on.
    pub sockets: Vec<TcpListener>,
    /// Changes the level of the log.
    pub level: LevelHandle,
}

/// Runs the daemon until it is told to stop. `announce` is told the addresses once it is ready:
/// listening, the store open, the workers running.
///
/// An error is for the operator: one sentence that says what to do.
pub async fn run(start: Start, announce: impl FnOnce(&[SocketAddr])) -> anyhow::Result<()> {
    let Start { settings, sources, store: store_path, sockets, level } = start;
    let process = ProcessCollector::new();
    let mut signals = Signals::listen().context("cannot listen for signals")?;
    let clock = Clock::System;
    let metrics = Arc::new(Metrics::new());
    let health = Arc::new(Health::new(clock.clone()));
    let notifier = Notifier::start();
    raise_descriptor_limit(&settings);

    // First the port, so that a second start fails before it touches the store.
    let listeners = listen_on(sockets, &settings)?;
    let listen: Vec<SocketAddr> = listeners.iter().map(listener::Listener::local_addr).collect();
    let store = notifier
        .taking_time("opening the store", store::open(&store_path, &metrics, &health))
        .await?;
    let kept = Arc::clone(&store) as Arc<dyn Store>;
    let meaning = match EmbeddingModel::new(&settings.llm, Arc::clone(&metrics))? {
        Some(endpoint) => Some(Meaning::at(endpoint, kept)),
        None => {
            let places = meaning::places(&store_path);
            tokio::task::spawn_blocking(move || Meaning::open(&places, kept)).await?
        }
    };
    let ground = Ground {
        meaning: meaning.clone(),
        lessons: Arc::default(),
        store: Arc::clone(&store) as Arc<dyn Store>,
        clock: clock.clone(),
        metrics: Arc::clone(&metrics),
        health: Arc::clone(&health),
    };
    let house = notifier
        .taking_time("reading the inbox", House::build(&settings, &ground, process, &listen))
        .await?;
    drop(ground);
    let traffic = house.traffic;
    let (marked, metered) = (store_path.clone(), Arc::clone(&metrics));
    let run = tokio::task::spawn_blocking(move || Run::after(&marked, &metered)).await?;

    let stops = Stops::default();
    let mut tasks = Tasks::new(Arc::clone(&health));
    let (worker_probe, worker_pulse) = pulse("worker");
    let (http_probe, http_pulse) = pulse("http");
    tasks.spawn("worker", house.worker.run(house.arrivals, worker_pulse, stops.bot.clone()));
    let mail = (stops.mail.clone(), stops.mail_now.clone());
    tasks.spawn("courier", house.courier.run(house.mail, mail.0, mail.1));
    tasks.spawn("reminders", house.reminders.run(stops.bot.clone()));
    tasks.spawn("settler", house.settler.run(stops.bot.clone()));
    tasks.spawn("learner", house.learner.run(stops.bot.clone()));
    let kept = Arc::clone(&store) as Arc<dyn Store>;
    tasks.spawn("indexing", indexing::run(kept, stops.bot.clone()));
    tasks.spawn("keys", house.keyring.run(stops.service.clone()));
    tasks.spawn("housekeeping", house.housekeeping.run(stops.bot.clone()));
    if let Some(meaning) = meaning {
        let stop = stops.bot.clone();
        tasks.spawn("vectors", async move { meaning.run(stop).await });
    }
    tasks.spawn("traffic", traffic.run(stops.service.clone()));
    let proxies = house.furniture.trusted_proxies.clone();
    let service = http::service(house.routes, proxies, Arc::clone(&metrics));
    let limits = house.furniture.limits.clone();
    let metered = Arc::clone(&metrics);
    let server = accept::serve(listeners, service, limits, metered, http_pulse, stops.http.clone());
    tasks.spawn("http", server);
    let watchdog = Watchdog::new(
        notifier.clone(),
        vec![alive(worker_probe), alive(http_probe), writing(&store)],
        status_line(&listen, &house.inbox, &health),
    );
    tasks.spawn("watchdog", watchdog.run(stops.service.clone()));
    let (requests, mut asked) = mpsc::channel(1);
    if let Some(socket) = control_socket(&sources, &store_path) {
        tasks.spawn("control", socket.run(requests, stops.service.clone()));
    }
    let inbox = house.inbox;
    let mut reloader =
        Reloader::new(sources, settings, house.furniture, level, clock, Arc::clone(&metrics));

    tracing::info!(
        listen = joined(&listen),
        store = %store_path.display(),
        answers = answers(reloader.running()),
        version = crate::VERSION,
        revision = crate::REVISION,
        "ready"
    );
    let run = run.map(|run| tokio::task::spawn_blocking(move || run.begin()));
    advice::give(reloader.running(), &listen);
    let status = status_line(&listen, &inbox, &health);
    notifier.ready(&status());
    announce(&listen);

    let signal = loop {
        let asker = match tasks.watch_until(next_call(&mut signals, &mut asked)).await {
            Call::Stop(signal) => break signal,
            Call::Reload(asker) => asker,
        };
        notifier.reloading();
        let read = tokio::select! {
            biased;
            signal = signals.stop() => break signal,
            read = reloader.read() => read,
        };
        let report = reloader.conclude(read);
        notifier.ready(&status());
        // Nobody, after a signal; and who asked may have given up.
        let _ = asker.map(|asker| asker.send(report));
    };
    // Whoever still asks for a reload hears that the daemon is stopping.
    drop(asked);
    health.draining(true);
    let drain_timeout = reloader.running().server.drain_timeout;
    drop(reloader);
    tracing::info!(signal, inbox = inbox.depth(), "stopping: draining");
    notifier.stopping("stopping: finishing what was accepted");
    stops.service.cancel();
    notifier.taking_time("draining", drain(&mut tasks, &inbox, drain_timeout, &stops)).await;
    drop(inbox);
    drop(status);
    notifier.taking_time("closing the store", store::close(store)).await;
    // A disk that does not answer must not hold up the end.
    let _ = tokio::time::timeout(LEAST_DRAIN, ended(run)).await;
    tracing::info!("stopped");
    Ok(())
}

/// Takes back the mark of a run.
async fn ended(run: Option<JoinHandle<Run>>) {
    let Some(run) = run else { return };
    if let Ok(run) = run.await {
        let _ = tokio::task::spawn_blocking(move || run.end()).await;
    }
}

/// What ends the tasks, in the order of the message's way.
#[derive(Default)]
struct Stops {
    service: CancellationToken,
    http: CancellationToken,
    bot: CancellationToken,
    /// What is in the mail is still delivered.
    mail: CancellationToken,
    /// Nothing more is delivered.
    mail_now: CancellationToken,
}

/// Takes the tasks down in order: first the requests, for a caller may wait on the line for its
/// answer; then the messages under way behind them; then the delivery of their answers. What is
/// not finished in time stays on disk for the next start.
async fn drain(tasks: &mut Tasks, inbox: &Inbox, limit: Duration, stops: &Stops) {
    let deadline = Instant::now() + limit;
    stops.http.cancel();
    if !tasks.drain("http", deadline - DISMISS_BEFORE.min(limit)).await {
        // Rather a 503 that says where the message is than a cut connection.
        inbox.dismiss_waiters();
        tasks.drain("http", deadline + LEAST_DRAIN).await;
    }
    if timeout_at(deadline + LEAST_DRAIN, inbox.settled()).await.is_err() {
        tracing::warn!("messages were still being kept; their senders heard nothing");
    }
    stops.bot.cancel();
    let least = deadline.max(Instant::now() + LEAST_DRAIN);
    tasks.drain("worker", least).await;
    stops.mail.cancel();
    tasks.drain("courier", least).await;
    stops.mail_now.cancel();
    let unfinished = tasks.drain_all(deadline.max(Instant::now() + LEAST_DRAIN)).await;
    if !unfinished.is_empty() {
        tracing::warn!(?unfinished, "not finished in time; kept for the next start");
    }
}

/// What the daemon is asked from outside.
enum Call {
    /// By this signal.
    Stop(&'static str),
    /// By somebody who waits for the report, or by a signal.
    Reload(Option<Request>),
}

async fn next_call(signals: &mut Signals, asked: &mut mpsc::Receiver<Request>) -> Call {
    tokio::select! {
        biased;
        signal = signals.next() => match signal {
            Signal::Stop(name) => Call::Stop(name),
            Signal::Reload => Call::Reload(None),
        },
        // Without a control socket there is nobody who asks.
        Some(asker) = asked.recv() => Call::Reload(Some(asker)),
    }
}

/// The sockets that were handed over, or those of `server.listen`.
fn listen_on(
    sockets: Vec<TcpListener>,
    settings: &Settings,
) -> anyhow::Result<Vec<listener::Listener>> {
    if sockets.is_empty() {
        return Ok(listener::bind(&settings.server.listen)?);
    }
    let listeners =
        listener::adopt(sockets).context("a socket of the socket unit cannot be used")?;
    tracing::info!("listening on the sockets of the socket unit; server.listen is not used");
    Ok(listeners)
}

/// Where `dingbot reload` reaches the daemon; without it SIGHUP still does.
fn control_socket(sources: &Sources, store: &std::path::Path) -> Option<ControlSocket> {
    let path = control::path(&sources.environment, store);
    ControlSocket::bind(path.clone())
        .inspect_err(|error| {
            tracing::warn!(
                path = %path.display(),
                %error,
                error_kind = "io",
                "no control socket: dingbot reload will not reach this daemon, SIGHUP will"
            );
        })
        .ok()
}

/// A loop, as the watchdog asks it.
fn alive(probe: Probe) -> Part {
    Part::new(probe.name(), move || {
        let probe = probe.clone();
        async move { probe.felt().await }
    })
}

/// The thread that writes, as the watchdog asks it. It does not keep the store open.
fn writing(store: &Arc<impl Store + 'static>) -> Part {
    let store = Arc::downgrade(store);
    Part::new("store", move || {
        let store = store.upgrade();
        async move {
            match store {
                Some(store) if store.heartbeat().await.is_ok() => {}
                _ => std::future::pending().await,
            }
        }
    })
}

/// Makes the line for `systemctl status`.
fn status_line(
    listen: &[SocketAddr],
    inbox: &Inbox,
    health: &Arc<Health>,
) -> impl Fn() -> String + Send + Sync + use<> {
    let (listen, inbox, health) = (joined(listen), inbox.clone(), Arc::clone(health));
    move || {
        let snapshot = health.snapshot();
        let unwell = snapshot.checks.iter().filter(|check| check.status != Status::Ok);
        let trouble: String =
            unwell.map(|check| format!("; {}: {}", check.name, check.message)).collect();
        format!("listening on {listen}; {} waiting in the inbox{trouble}", inbox.depth())
    }
}

fn joined(listen: &[SocketAddr]) -> String {
    listen.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

fn answers(settings: &Settings) -> &str {
    if settings.llm.is_offline() { "offline" } else { &settings.llm.model }
}

/// Each connection is a file descriptor.
fn raise_descriptor_limit(settings: &Settings) {
    let wanted = settings.server.max_connections as u64 + OTHER_DESCRIPTORS;
    match rlimit::increase_nofile_limit(wanted) {
        Ok(limit) if limit < wanted => tracing::warn!(
            limit,
            wanted,
            "too few file descriptors for server.max_connections; raise LimitNOFILE"
        ),
        Ok(_) => {}
        Err(error) => {
            tracing::warn!(%error, error_kind = "io", "cannot raise the limit of file descriptors");
        }
    }
}
