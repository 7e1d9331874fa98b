//! The daemon: builds every room, wires them, and takes them down in order.

mod tasks;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use self::tasks::Tasks;
use crate::bot::{
    Courier, Housekeeping, Inbox, Mailbox, Reminders, Responder, Settler, Worker, commands,
};
use crate::config::Settings;
use crate::dingtalk::DingTalk;
use crate::http::webhook::{Webhook, webhook};
use crate::http::{self, StatusState, accept, listener};
use crate::llm::ChatModel;
use crate::memory::Memory;
use crate::service::signals::StopSignals;
use crate::store::sqlite::{Observer, Options, SqliteStore};
use crate::store::{Store, StoreError};
use crate::telemetry::clock::Clock;
use crate::telemetry::health::{Health, Status};
use crate::telemetry::metrics::Metrics;
use crate::telemetry::process::ProcessCollector;

/// File descriptors beside those of connections: the store, the log, requests to DingTalk and the
/// model.
const OTHER_DESCRIPTORS: u64 = 512;
/// Least time for messages and deliveries under way once the last request was answered.
const LEAST_DRAIN: Duration = Duration::from_secs(1);

/// How long before the deadline callers that wait on the line are told that there is no answer.
const DISMISS_BEFORE: Duration = Duration::from_millis(500);
/// How long the store may take to write what waits and close.
const LONGEST_CLOSE: Duration = Duration::from_secs(10);

/// Runs the daemon until it is told to stop. `announce` is told the addresses once it is ready:
/// listening, the store open, the workers running.
///
/// An error is for the operator: one sentence that says what to do.
pub async fn run(
    settings: Settings,
    store_path: PathBuf,
    announce: impl FnOnce(&[SocketAddr]),
) -> anyhow::Result<()> {
    let process = ProcessCollector::new();
    let mut signals = StopSignals::listen().context("cannot listen for signals")?;
    let clock = Clock::System;
    let metrics = Arc::new(Metrics::new());
    let health = Arc::new(Health::new(clock.clone()));
    raise_descriptor_limit(&settings);

    // First the port, so that a second start fails before it touches the store.
    let listeners = listener::bind(&settings.server.listen)?;
    let listen: Vec<SocketAddr> = listeners.iter().map(listener::Listener::local_addr).collect();
    let store = open_store(&store_path, &metrics, &health).await?;
    let kept: Arc<dyn Store> = Arc::clone(&store) as Arc<dyn Store>;

    let house = House::build(&settings, kept, &clock, &metrics, &health, process).await?;
    let stop_http = CancellationToken::new();
    let stop_bot = CancellationToken::new();
    let mut tasks = Tasks::new(Arc::clone(&health), Arc::clone(&metrics));
    let limits = accept::Limits {
        max_connections: settings.server.max_connections,
        header_timeout: settings.server.header_timeout,
        drain_timeout: settings.server.drain_timeout,
    };
    let service =
        http::service(house.routes, settings.server.trusted_proxies.clone(), Arc::clone(&metrics));
    let (arrivals, mail) = (house.arrivals, house.mail);
    tasks.spawn("worker", house.worker.run(arrivals, stop_bot.clone()));
    tasks.spawn("courier", house.courier.run(mail, stop_bot.clone()));
    tasks.spawn("reminders", house.reminders.run(stop_bot.clone()));
    tasks.spawn("settler", house.settler.run(stop_bot.clone()));
    tasks.spawn("housekeeping", house.housekeeping.run(stop_bot.clone()));
    let server = accept::serve(listeners, service, limits, Arc::clone(&metrics), stop_http.clone());
    tasks.spawn("http", server);

    metrics.config_last_reload_successful.set(1);
    metrics.config_last_reload_success_timestamp.set(clock.now_millis() as f64 / 1_000.0);
    metrics.ready.set(1);
    tracing::info!(
        listen = listen.iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
        store = %store_path.display(),
        answers = if settings.llm.is_offline() { "offline" } else { settings.llm.model.as_str() },
        version = crate::VERSION,
        revision = crate::REVISION,
        "ready"
    );
    advise(&settings);
    announce(&listen);

    let signal = tasks.watch_until(signals.stop()).await;
    metrics.ready.set(0);
    health.draining(true);
    tracing::info!(signal, inbox = house.inbox.depth(), "stopping: draining");
    let deadline = Instant::now() + settings.server.drain_timeout;
    // First the requests, for a caller may wait on the line for its answer; then what is under
    // way behind them. What is not finished stays on disk for the next start.
    stop_http.cancel();
    if !tasks.drain("http", deadline - DISMISS_BEFORE.min(settings.server.drain_timeout)).await {
        // Rather a 503 that says where the message is than a cut connection.
        house.inbox.dismiss_waiters();
        tasks.drain("http", deadline + LEAST_DRAIN).await;
    }
    if timeout_at(deadline + LEAST_DRAIN, house.inbox.settled()).await.is_err() {
        tracing::warn!("messages were still being kept; their senders heard nothing");
    }
    stop_bot.cancel();
    let unfinished = tasks.drain_all(deadline.max(Instant::now() + LEAST_DRAIN)).await;
    if !unfinished.is_empty() {
        tracing::warn!(?unfinished, "not finished in time; kept for the next start");
    }
    drop((house.inbox, house.webhook));
    close_store(store).await;
    tracing::info!("stopped");
    Ok(())
}

/// Every room, wired, and nothing running yet.
struct House {
    inbox: Inbox,
    webhook: Arc<Webhook>,
    routes: warp::filters::BoxedFilter<(warp::reply::Response,)>,
    arrivals: tokio::sync::mpsc::UnboundedReceiver<String>,
    mail: tokio::sync::mpsc::UnboundedReceiver<String>,
    worker: Worker,
    courier: Courier,
    reminders: Reminders,
    settler: Settler,
    housekeeping: Housekeeping,
}

impl House {
    async fn build(
        settings: &Settings,
        store: Arc<dyn Store>,
        clock: &Clock,
        metrics: &Arc<Metrics>,
        health: &Arc<Health>,
        process: ProcessCollector,
    ) -> anyhow::Result<Self> {
        let dingtalk =
            Arc::new(DingTalk::new(&settings.dingtalk, Arc::clone(metrics), clock.clone())?);
        let model = model(settings, metrics)?;
        let memory =
            Arc::new(Memory::new(Arc::clone(&store), Arc::clone(metrics), settings.memory.extract));
        let alarm = Arc::new(Notify::new());
        let answered = Arc::new(Notify::new());
        let (inbox, arrivals) = Inbox::open(
            Arc::clone(&store),
            clock.clone(),
            Arc::clone(metrics),
            settings.bot.inbox_limit,
        )
        .await
        .context("the inbox cannot be read")?;
        let (mailbox, mail) = Mailbox::new();
        let responder = Arc::new(Responder::new(
            settings,
            Arc::clone(&store),
            Arc::clone(&memory),
            model.clone(),
            Arc::clone(&dingtalk),
            clock.clone(),
            Arc::clone(&alarm),
        ));
        let callbacks = Arc::new(Webhook::new(
            &settings.dingtalk,
            inbox.clone(),
            Arc::clone(&dingtalk),
            clock.clone(),
            Arc::clone(metrics),
        ));
        let status = StatusState::new(
            Arc::clone(health),
            Arc::clone(metrics),
            process,
            settings.server.metrics_allow.clone(),
            (commands::HELP_CHINESE, commands::HELP_ENGLISH),
        );
        let server = &settings.server;
        let surface = webhook(Arc::clone(&callbacks), server.max_body_bytes, server.header_timeout);
        Ok(Self {
            routes: http::routes(Arc::new(status), surface),
            worker: Worker {
                store: Arc::clone(&store),
                inbox: inbox.clone(),
                responder,
                mailbox: mailbox.clone(),
                settle: Arc::clone(&answered),
                clock: clock.clone(),
                metrics: Arc::clone(metrics),
            },
            courier: Courier {
                store: Arc::clone(&store),
                dingtalk,
                clock: clock.clone(),
                metrics: Arc::clone(metrics),
                health: Arc::clone(health),
            },
            reminders: Reminders {
                store: Arc::clone(&store),
                mailbox,
                clock: clock.clone(),
                alarm,
            },
            settler: Settler { store: Arc::clone(&store), memory, answered },
            housekeeping: Housekeeping {
                store,
                inbox: inbox.clone(),
                clock: clock.clone(),
                metrics: Arc::clone(metrics),
                health: Arc::clone(health),
                model,
            },
            inbox,
            webhook: callbacks,
            arrivals,
            mail,
        })
    }
}

/// The model, unless the bot answers offline.
pub fn model(
    settings: &Settings,
    metrics: &Arc<Metrics>,
) -> anyhow::Result<Option<Arc<ChatModel>>> {
    if settings.llm.is_offline() {
        return Ok(None);
    }
    Ok(Some(Arc::new(ChatModel::new(&settings.llm, Arc::clone(metrics))?)))
}

async fn open_store(
    path: &std::path::Path,
    metrics: &Arc<Metrics>,
    health: &Arc<Health>,
) -> anyhow::Result<Arc<SqliteStore>> {
    let mut options = Options::new(path.to_owned(), Arc::clone(metrics));
    options.exclusive = true;
    options.observer = store_observer(Arc::clone(health));
    let opened = tokio::task::spawn_blocking(move || SqliteStore::open(options)).await?;
    health.set("store", Status::Ok, "messages are kept");
    Ok(Arc::new(opened?))
}

/// Tells health how it stands with the store, when that changes.
fn store_observer(health: Arc<Health>) -> Observer {
    let failing = AtomicBool::new(false);
    Arc::new(move |outcome: &Result<(), StoreError>| match outcome {
        Ok(()) => {
            if failing.swap(false, Ordering::AcqRel) {
                tracing::info!("the store can be written again");
                health.set("store", Status::Ok, "messages are kept");
            }
        }
        Err(error) => {
            if !failing.swap(true, Ordering::AcqRel) {
                tracing::error!(%error, error_kind = error.kind(), "the store cannot be written");
            }
            health.set("store", Status::Error, error.to_string());
        }
    })
}

/// Closes the store; every room that had it is gone by now.
async fn close_store(store: Arc<SqliteStore>) {
    match Arc::try_unwrap(store) {
        Ok(store) => {
            let closing = tokio::task::spawn_blocking(move || store.close());
            match tokio::time::timeout(LONGEST_CLOSE, closing).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    tracing::error!(%error, error_kind = "store", "the store did not close well");
                }
                Err(_) => tracing::error!(
                    error_kind = "timeout",
                    "the disk does not answer; the store is left as it is"
                ),
            }
        }
        // A task that did not end in time holds it: nothing acknowledged is lost by that.
        Err(_) => tracing::warn!("the store is still in use; it is left to the system"),
    }
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

/// What an operator of a fresh installation should know.
fn advise(settings: &Settings) {
    if settings.dingtalk.client_secret.is_empty() {
        if settings.dingtalk.allow_unsigned {
            tracing::warn!("dingtalk.allow_unsigned is on: anybody who reaches /webhook is served");
        } else {
            tracing::info!("no dingtalk.client_secret: /webhook serves loopback callers only");
        }
    }
    if settings.llm.is_offline() {
        tracing::info!(
            "no llm.api_key (OPENAI_API_KEY): answers come from memory and commands alone"
        );
    }
}
