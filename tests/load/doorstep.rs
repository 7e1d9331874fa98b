//! The daemon's way in and nothing behind it: HTTP, signature, inbox, store, in this process.
//!
//! It has what the daemon does not offer for good reason: a commit for every single message.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use dingbot::bot::Inbox;
use dingbot::config::Settings;
use dingbot::dingtalk::DingTalk;
use dingbot::http::webhook::{Webhook, webhook};
use dingbot::http::{self, Landing, StatusState, accept, listener};
use dingbot::live::Live;
use dingbot::store::Store;
use dingbot::store::sqlite::{Options, SqliteStore};
use dingbot::telemetry::clock::Clock;
use dingbot::telemetry::health::Health;
use dingbot::telemetry::metrics::Metrics;
use dingbot::telemetry::process::ProcessCollector;
use dingbot::telemetry::progress::pulse;
use dingbot::telemetry::traffic::Traffic;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::support::dingtalk::{self, DingTalk as Simulator};

/// Accepts callbacks, and answers none.
#[derive(Debug)]
pub(crate) struct Doorstep {
    pub(crate) address: SocketAddr,
    metrics: Arc<Metrics>,
    serving: JoinHandle<()>,
    stop: CancellationToken,
    _folder: TempDir,
}

impl Doorstep {
    /// With a new store; `max_batch` is the most messages in one commit, the daemon's own unless
    /// given.
    pub(crate) async fn open(simulator: &Simulator, max_batch: Option<usize>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (clock, metrics) = (Clock::System, Arc::new(Metrics::new()));
        let mut options = Options::new(folder.path().join("store.db"), Arc::clone(&metrics));
        options.max_batch = max_batch.unwrap_or(options.max_batch);
        let store: Arc<dyn Store> = Arc::new(SqliteStore::open(options).unwrap());
        let mut settings = Settings::default();
        settings.dingtalk.client_secret = dingtalk::CLIENT_SECRET.into();
        settings.dingtalk.oapi_base = simulator.base().parse().unwrap();
        let out = DingTalk::new(&settings.dingtalk, Arc::clone(&metrics), clock.clone()).unwrap();
        // Nobody takes the messages out, so there must be room for all.
        let (inbox, _) =
            Inbox::open(store, clock.clone(), Arc::clone(&metrics), usize::MAX).await.unwrap();
        let callbacks =
            Webhook::new(&settings, inbox, Arc::new(out), clock.clone(), Arc::clone(&metrics));
        let traffic = Arc::new(Traffic::new(clock.clone(), Arc::clone(&metrics)));
        let status = StatusState::new(
            Arc::new(Health::new(clock)),
            Arc::clone(&metrics),
            ProcessCollector::new(),
            Live::new(Vec::new()),
            Landing { listen: Vec::new(), traffic },
            ("", ""),
        );
        let surface = webhook(Live::new(callbacks));
        let routes = http::routes(Arc::new(status), surface);
        let service = http::service(routes, Live::new(Vec::new()), Arc::clone(&metrics));
        let listeners = listener::bind(&["127.0.0.1:0".parse().unwrap()]).unwrap();
        let address = listeners[0].local_addr();
        let limits = accept::Limits {
            max_connections: settings.server.max_connections,
            header_timeout: settings.server.header_timeout,
            drain_timeout: Duration::from_secs(1),
        };
        let stop = CancellationToken::new();
        let serving = tokio::spawn(accept::serve(
            listeners,
            service,
            Live::new(limits),
            metrics.clone(),
            pulse("http").1,
            stop.clone(),
        ));
        Self { address, metrics, serving, stop, _folder: folder }
    }

    /// Returns how many messages were new and kept.
    pub(crate) async fn close(self) -> u64 {
        self.stop.cancel();
        self.serving.await.unwrap();
        self.metrics.messages_received.with_label_values(&["webhook"]).get()
    }
}
