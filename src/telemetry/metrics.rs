//! Every metric family of the daemon, in one place.
//!
//! Names follow the Prometheus conventions: prefix `dingbot_`, base units, and label values from
//! closed sets only; a user, a conversation or a path never becomes a label.

use std::time::Instant;

use prometheus::{
    Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry,
};

use super::{labels, logging};

/// Seconds, for what answers in milliseconds.
const FAST: &[f64] = &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0];
/// Seconds, for what crosses a network or asks a model.
const SLOW: &[f64] = &[0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0];

/// The metric families; one per process, shared by reference.
#[derive(Debug)]
#[allow(missing_docs, reason = "each field is the family of its name; the help text is below")]
pub struct Metrics {
    registry: Registry,
    pub ready: IntGauge,
    pub http_requests: IntCounterVec,
    pub http_request_duration: HistogramVec,
    pub http_requests_in_flight: IntGauge,
    pub http_connections: IntGauge,
    pub http_connections_refused: IntCounterVec,
    pub messages_received: IntCounterVec,
    pub messages_rejected: IntCounterVec,
    pub message_last_received: GaugeVec,
    pub message_last_rejected: GaugeVec,
    pub messages_handled: IntCounterVec,
    pub inbox_messages: IntGaugeVec,
    pub inbox_oldest: Gauge,
    pub outbox_messages: IntGaugeVec,
    pub outbox_oldest: Gauge,
    pub deliveries: IntCounterVec,
    pub reply_duration: Histogram,
    pub dingtalk_requests: IntCounterVec,
    pub dingtalk_request_duration: HistogramVec,
    pub llm_requests: IntCounterVec,
    pub llm_request_duration: HistogramVec,
    pub llm_tokens: IntCounterVec,
    pub llm_circuit_open: IntGauge,
    pub memory_operations: IntCounterVec,
    pub memory_operation_duration: HistogramVec,
    pub memories: IntGauge,
    pub memory_jobs: IntGauge,
    pub reminders: IntGauge,
    pub alert_notifications: IntCounterVec,
    pub alerts_received: IntCounterVec,
    pub store_commits: IntCounterVec,
    pub store_commit_jobs: Histogram,
    pub store_size: IntGauge,
    pub store_disk_available: IntGauge,
    pub store_disk_size: IntGauge,
    pub unclean_stops: IntCounter,
    pub config_last_reload_successful: IntGauge,
    pub config_last_reload_success_timestamp: Gauge,
}

impl Metrics {
    /// Registers every family in a registry of its own.
    ///
    /// # Panics
    /// Never in practice: the names are constants, and a unit test registers them.
    pub fn new() -> Self {
        let registry = Registry::new();
        let counter = |name: &str, help: &str, labels: &[&str]| {
            let family = IntCounterVec::new(Opts::new(name, help).namespace("dingbot"), labels)
                .expect("a valid constant name");
            registry.register(Box::new(family.clone())).expect("a unique constant name");
            family
        };
        let count = |name: &str, help: &str| {
            let family = IntCounter::with_opts(Opts::new(name, help).namespace("dingbot"))
                .expect("a valid constant name");
            registry.register(Box::new(family.clone())).expect("a unique constant name");
            family
        };
        let gauge = |name: &str, help: &str| {
            let family = IntGauge::with_opts(Opts::new(name, help).namespace("dingbot"))
                .expect("a valid constant name");
            registry.register(Box::new(family.clone())).expect("a unique constant name");
            family
        };
        let float_gauge = |name: &str, help: &str| {
            let family = Gauge::with_opts(Opts::new(name, help).namespace("dingbot"))
                .expect("a valid constant name");
            registry.register(Box::new(family.clone())).expect("a unique constant name");
            family
        };
        let gauges = |name: &str, help: &str, labels: &[&str]| {
            let family = IntGaugeVec::new(Opts::new(name, help).namespace("dingbot"), labels)
                .expect("a valid constant name");
            registry.register(Box::new(family.clone())).expect("a unique constant name");
            family
        };
        let times = |name: &str, help: &str, labels: &[&str]| {
            let family = GaugeVec::new(Opts::new(name, help).namespace("dingbot"), labels)
                .expect("a valid constant name");
            registry.register(Box::new(family.clone())).expect("a unique constant name");
            family
        };
        let histograms = |name: &str, help: &str, labels: &[&str], buckets: &[f64]| {
            let opts = HistogramOpts::new(name, help).namespace("dingbot").buckets(buckets.into());
            let family = HistogramVec::new(opts, labels).expect("a valid constant name");
            registry.register(Box::new(family.clone())).expect("a unique constant name");
            family
        };
        let histogram = |name: &str, help: &str, buckets: &[f64]| {
            let opts = HistogramOpts::new(name, help).namespace("dingbot").buckets(buckets.into());
            let family = Histogram::with_opts(opts).expect("a valid constant name");
            registry.register(Box::new(family.clone())).expect("a unique constant name");
            family
        };
        let build = GaugeVec::new(
            Opts::new("build_info", "Version and revision of the running program; always 1.")
                .namespace("dingbot"),
            &["version", "revision"],
        )
        .expect("a valid constant name");
        registry.register(Box::new(build.clone())).expect("a unique constant name");
        build.with_label_values(&[crate::VERSION, crate::REVISION]).set(1.0);
        // The log begins before there are metrics, and counts for itself.
        let dropped = Box::new(logging::dropped_lines());
        registry.register(dropped).expect("a unique constant name");

        let metrics = Self {
            ready: gauge("ready", "1 when messages are accepted, kept and worked on."),
            http_requests: counter(
                "http_requests_total",
                "HTTP requests answered.",
                &["route", "method", "code"],
            ),
            http_request_duration: histograms(
                "http_request_duration_seconds",
                "Time from a request's header to its answer.",
                &["route"],
                FAST,
            ),
            http_requests_in_flight: gauge(
                "http_requests_in_flight",
                "HTTP requests being answered.",
            ),
            http_connections: gauge("http_connections", "HTTP connections open."),
            http_connections_refused: counter(
                "http_connections_closed_total",
                "HTTP connections closed by a limit.",
                &["reason"],
            ),
            messages_received: counter(
                "messages_received_total",
                "Messages accepted and stored.",
                &["transport"],
            ),
            messages_rejected: counter(
                "messages_rejected_total",
                "Callbacks refused or ignored.",
                &["reason"],
            ),
            message_last_received: times(
                "message_last_received_timestamp_seconds",
                "When a message was last accepted, in Unix time; 0: not since the start.",
                &["transport"],
            ),
            message_last_rejected: times(
                "message_last_rejected_timestamp_seconds",
                "When a callback was last refused or ignored, in Unix time; 0: not since the start.",
                &["reason"],
            ),
            messages_handled: counter(
                "messages_handled_total",
                "Accepted messages that came to an end.",
                &["outcome"],
            ),
            inbox_messages: gauges(
                "inbox_messages",
                "Accepted messages not yet answered.",
                &["state"],
            ),
            inbox_oldest: float_gauge(
                "inbox_oldest_seconds",
                "Age of the oldest message not yet answered; 0: none waits.",
            ),
            outbox_messages: gauges(
                "outbox_messages",
                "Answers and pushes not yet delivered.",
                &["state"],
            ),
            outbox_oldest: float_gauge(
                "outbox_oldest_seconds",
                "Age of the oldest answer or push not yet delivered, from the message on; 0: none \
                 waits.",
            ),
            deliveries: counter(
                "deliveries_total",
                "Attempts to deliver an answer or a push, by what came of them; abandoned: the \
                 last one.",
                &["outcome"],
            ),
            reply_duration: histogram(
                "reply_duration_seconds",
                "Time from a message stored to the whole of its answer delivered.",
                SLOW,
            ),
            dingtalk_requests: counter(
                "dingtalk_requests_total",
                "Requests to DingTalk.",
                &["api", "outcome"],
            ),
            dingtalk_request_duration: histograms(
                "dingtalk_request_duration_seconds",
                "Time of a request to DingTalk.",
                &["api"],
                SLOW,
            ),
            llm_requests: counter(
                "llm_requests_total",
                "Requests to the model, retries included.",
                &["operation", "outcome"],
            ),
            llm_request_duration: histograms(
                "llm_request_duration_seconds",
                "Time of a request to the model, to its last byte.",
                &["operation"],
                SLOW,
            ),
            llm_tokens: counter("llm_tokens_total", "Tokens as the model counted them.", &["kind"]),
            llm_circuit_open: gauge(
                "llm_circuit_open",
                "1 while the model is not asked because it kept failing.",
            ),
            memory_operations: counter(
                "memory_operations_total",
                "Operations on long-term memory.",
                &["operation", "outcome"],
            ),
            memory_operation_duration: histograms(
                "memory_operation_duration_seconds",
                "Time of an operation on long-term memory.",
                &["operation"],
                FAST,
            ),
            memories: gauge("memories", "Memories kept."),
            memory_jobs: gauge("memory_jobs", "Messages that wait to be made into memories."),
            reminders: gauge("reminders", "Reminders kept."),
            alert_notifications: counter(
                "alert_notifications_total",
                "Notifications of Alertmanager, by what became of them.",
                &["outcome"],
            ),
            alerts_received: counter(
                "alerts_received_total",
                "Alerts accepted for a group robot.",
                &["status"],
            ),
            store_commits: counter(
                "store_commits_total",
                "Transactions of the store.",
                &["outcome"],
            ),
            store_commit_jobs: histogram(
                "store_commit_writes",
                "Writes that shared one transaction, and so one wait for the disk.",
                &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0],
            ),
            store_size: gauge("store_size_bytes", "Size of the store's files."),
            store_disk_available: gauge(
                "store_disk_available_bytes",
                "Room that the daemon may still use on the disk of the store.",
            ),
            store_disk_size: gauge("store_disk_size_bytes", "Size of the disk of the store."),
            unclean_stops: count(
                "unclean_stops_total",
                "Earlier runs on this store that did not stop, but were killed: by a crash, by \
                 the watchdog, for want of memory or of power.",
            ),
            config_last_reload_successful: gauge(
                "config_last_reload_successful",
                "1 when the settings were last loaded without an error.",
            ),
            config_last_reload_success_timestamp: float_gauge(
                "config_last_reload_success_timestamp_seconds",
                "When the settings were last loaded without an error, in Unix time.",
            ),
            registry,
        };
        metrics.begin_at_zero();
        metrics
    }

    /// Makes every series there can be, of all families but `dingbot_http_requests_total`.
    fn begin_at_zero(&self) {
        let counters: [(&IntCounterVec, &[&[&str]]); 12] = [
            (&self.http_connections_refused, &[labels::CLOSED]),
            (&self.messages_received, &[labels::TRANSPORTS]),
            (&self.messages_rejected, &[labels::REJECTIONS]),
            (&self.messages_handled, &[labels::HANDLED]),
            (&self.deliveries, &[labels::DELIVERIES]),
            (&self.dingtalk_requests, &[labels::DINGTALK_APIS, labels::DINGTALK_OUTCOMES]),
            (&self.llm_requests, &[labels::LLM_OPERATIONS, labels::LLM_OUTCOMES]),
            (&self.llm_tokens, &[labels::TOKENS]),
            (&self.memory_operations, &[labels::MEMORY_OPERATIONS, labels::OK_OR_ERROR]),
            (&self.alert_notifications, &[labels::ALERT_NOTIFICATIONS]),
            (&self.alerts_received, &[labels::ALERTS]),
            (&self.store_commits, &[labels::OK_OR_ERROR]),
        ];
        for (family, sets) in counters {
            for values in combinations(sets) {
                family.with_label_values(&values);
            }
        }
        let times = [
            (&self.message_last_received, labels::TRANSPORTS),
            (&self.message_last_rejected, labels::REJECTIONS),
        ];
        for (family, set) in times {
            set.iter().for_each(|value| drop(family.with_label_values(&[value])));
        }
        let histograms: [(&HistogramVec, &[&str]); 3] = [
            (&self.dingtalk_request_duration, labels::DINGTALK_APIS),
            (&self.llm_request_duration, labels::LLM_OPERATIONS),
            (&self.memory_operation_duration, labels::MEMORY_OPERATIONS),
        ];
        for (family, set) in histograms {
            set.iter().for_each(|value| drop(family.with_label_values(&[value])));
        }
        for (family, set) in
            [(&self.inbox_messages, labels::INBOX), (&self.outbox_messages, labels::OUTBOX)]
        {
            set.iter().for_each(|value| drop(family.with_label_values(&[value])));
        }
    }

    /// The registry, to be gathered for `/metrics`.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Counts a message that was accepted at this time.
    pub fn message_received(&self, transport: &str, at_millis: i64) {
        debug_assert!(labels::TRANSPORTS.contains(&transport), "{transport}");
        self.messages_received.with_label_values(&[transport]).inc();
        self.message_last_received.with_label_values(&[transport]).set(seconds(at_millis));
    }

    /// Counts a callback that was refused or ignored at this time.
    pub fn message_rejected(&self, reason: &str, at_millis: i64) {
        debug_assert!(labels::REJECTIONS.contains(&reason), "{reason}");
        self.messages_rejected.with_label_values(&[reason]).inc();
        self.message_last_rejected.with_label_values(&[reason]).set(seconds(at_millis));
    }

    /// Counts one request to DingTalk that began at `started`.
    pub fn dingtalk_request(&self, api: &str, outcome: &str, started: Instant) {
        debug_assert!(labels::DINGTALK_APIS.contains(&api), "{api}");
        debug_assert!(labels::DINGTALK_OUTCOMES.contains(&outcome), "{outcome}");
        self.dingtalk_requests.with_label_values(&[api, outcome]).inc();
        self.dingtalk_request_duration
            .with_label_values(&[api])
            .observe(started.elapsed().as_secs_f64());
    }

    /// Counts one request to the model that began at `started`.
    pub fn llm_request(&self, operation: &str, outcome: &str, started: Instant) {
        debug_assert!(labels::LLM_OPERATIONS.contains(&operation), "{operation}");
        debug_assert!(labels::LLM_OUTCOMES.contains(&outcome), "{outcome}");
        self.llm_requests.with_label_values(&[operation, outcome]).inc();
        self.llm_request_duration
            .with_label_values(&[operation])
            .observe(started.elapsed().as_secs_f64());
    }

    /// Counts one operation on long-term memory that began at `started`.
    pub fn memory_operation(&self, operation: &str, ok: bool, started: Instant) {
        debug_assert!(labels::MEMORY_OPERATIONS.contains(&operation), "{operation}");
        let outcome = if ok { "ok" } else { "error" };
        self.memory_operations.with_label_values(&[operation, outcome]).inc();
        self.memory_operation_duration
            .with_label_values(&[operation])
            .observe(started.elapsed().as_secs_f64());
    }
}

/// A time in the unit of the exposition.
fn seconds(millis: i64) -> f64 {
    millis as f64 / 1_000.0
}

/// Every way to take one value of each set.
fn combinations<'a>(sets: &[&[&'a str]]) -> Vec<Vec<&'a str>> {
    sets.iter().fold(vec![Vec::new()], |begun, set| {
        let longer = |begun: &Vec<&'a str>, value: &'a str| [&begun[..], &[value]].concat();
        begun.iter().flat_map(|begun| set.iter().map(|value| longer(begun, value))).collect()
    })
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}
