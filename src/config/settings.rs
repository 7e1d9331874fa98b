//! The settings themselves: one struct a section, with the built-in defaults.
//!
//! Names, defaults and units are the contract with operators; `docs` on each field are what the
//! manual page says.

use std::net::SocketAddr;
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use url::Url;

use super::secret::Secret;

/// Every setting of the daemon.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The HTTP listener.
    pub server: Server,
    /// The DingTalk application and its group robots.
    pub dingtalk: DingTalk,
    /// The model that answers.
    pub llm: Llm,
    /// Long-term memory.
    pub memory: Memory,
    /// Limits of the message pipeline.
    pub bot: Bot,
    /// Where everything is kept.
    pub store: Store,
    /// What is logged, and how.
    pub log: Log,
}

/// `[server]`: the HTTP listener.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Server {
    /// Addresses to listen on. `[::]` serves IPv4 too, and falls back to `0.0.0.0` on a host
    /// without IPv6.
    pub listen: Vec<SocketAddr>,
    /// Networks that may read `/metrics` and `/health?verbose=1`; none: everyone.
    pub metrics_allow: Vec<IpNet>,
    /// Keys for the memory API and for alerts; none: loopback only.
    pub api_keys: Vec<Secret>,
    /// Networks whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Largest request body, in bytes; of alerts, whose senders have shown who they are, 16 MiB at
    /// the least.
    pub max_body_bytes: usize,
    /// Most connections at a time; past it the longest idle one is closed.
    pub max_connections: usize,
    /// Time for a client to send a whole request header, and then its whole body.
    #[serde(with = "humantime_serde")]
    pub header_timeout: Duration,
    /// Time for requests and messages under way to finish when the daemon stops.
    #[serde(with = "humantime_serde")]
    pub drain_timeout: Duration,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: vec![SocketAddr::from((std::net::Ipv6Addr::UNSPECIFIED, 8080))],
            metrics_allow: Vec::new(),
            api_keys: Vec::new(),
            trusted_proxies: Vec::new(),
            max_body_bytes: 1024 * 1024,
            max_connections: 10_000,
            header_timeout: Duration::from_secs(10),
            drain_timeout: Duration::from_secs(20),
        }
    }
}

/// `[dingtalk]`: the application (AppKey, AppSecret) and the custom robots of groups.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct DingTalk {
    /// AppKey of the application; with `client_secret` it opens the OpenAPI.
    pub client_id: String,
    /// AppSecret: verifies callbacks, opens the OpenAPI.
    pub client_secret: Secret,
    /// Code of the robot; empty: `client_id`.
    pub robot_code: String,
    /// Serve unsigned callbacks from anywhere when there is no `client_secret`.
    pub allow_unsigned: bool,
    /// Origin of the OpenAPI.
    pub api_base: Url,
    /// Origin of session webhooks and of group robots.
    pub oapi_base: Url,
    /// Custom robots of groups, for pushes.
    pub group_robots: Vec<GroupRobot>,
}

impl Default for DingTalk {
    fn default() -> Self {
        Self {
            client_id: String::new(),
            client_secret: Secret::default(),
            robot_code: String::new(),
            allow_unsigned: false,
            api_base: Url::parse("https://api.dingtalk.com").expect("a constant URL"),
            oapi_base: Url::parse("https://oapi.dingtalk.com").expect("a constant URL"),
            group_robots: Vec::new(),
        }
    }
}

impl DingTalk {
    /// The robot's code: `robot_code`, or the AppKey, which is the code of an internal
    /// application's robot.
    pub fn robot_code(&self) -> &str {
        if self.robot_code.is_empty() { &self.client_id } else { &self.robot_code }
    }
}

/// `[[dingtalk.group_robots]]`: one custom robot of a group.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct GroupRobot {
    /// What the settings and the metrics call it.
    pub name: String,
    /// The `access_token` of its webhook address.
    pub access_token: Secret,
    /// The `SEC…` secret of its signature; empty: the robot is guarded by keywords or addresses.
    pub secret: Secret,
    /// Mobile numbers of those whom an alert mentions; from elsewhere than mainland China with the
    /// country's code, such as `+852-12345678`.
    pub mention_mobiles: Vec<String>,
    /// Whether an alert mentions everybody in the group.
    pub mention_all: bool,
}

/// Who answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Provider {
    /// An OpenAI-compatible endpoint; without a key: offline.
    #[default]
    OpenAi,
    /// No model: memory and commands alone.
    Offline,
}

/// `[llm]`: the model.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Llm {
    /// `openai` (any compatible endpoint) or `offline`.
    pub provider: Provider,
    /// Base address, `…/v1`; a query (`?api-version=…`) is kept.
    pub base_url: Url,
    /// Key; empty: offline.
    pub api_key: Secret,
    /// Name of the model.
    pub model: String,
    /// Longest silence of the endpoint: before the first byte of an answer and between two parts
    /// of a streamed one.
    #[serde(with = "humantime_serde")]
    pub timeout: Duration,
    /// Most requests to the model at a time.
    pub max_concurrency: usize,
    /// What the model is told before everything else; empty: a built-in text.
    pub system_prompt: String,
    /// Largest prompt, in tokens by estimate: older turns, then memories, are left out first.
    pub prompt_tokens: usize,
    /// Largest answer, in tokens.
    pub answer_tokens: usize,
    /// Endpoint of embeddings.
    pub embedding: Embedding,
}

impl Default for Llm {
    fn default() -> Self {
        Self {
            provider: Provider::default(),
            base_url: Url::parse("https://api.openai.com/v1").expect("a constant URL"),
            api_key: Secret::default(),
            model: "gpt-4-turbo".into(),
            timeout: Duration::from_secs(30),
            max_concurrency: 8,
            system_prompt: String::new(),
            prompt_tokens: 6_000,
            answer_tokens: 1_024,
            embedding: Embedding::default(),
        }
    }
}

impl Llm {
    /// Whether a model is asked at all.
    pub fn is_offline(&self) -> bool {
        self.provider == Provider::Offline || self.api_key.is_empty()
    }
}

/// `[llm.embedding]`: recall by meaning through an endpoint. Without a model name the built-in encoder
/// is used where its file is, else recall is lexical.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Embedding {
    /// Base address; empty: `llm.base_url`.
    pub base_url: String,
    /// Key; empty: `llm.api_key`, if the address is of the same host.
    pub api_key: Secret,
    /// Name of the model; empty: none.
    pub model: String,
    /// Length of a vector; 0: as the model makes them.
    pub dimensions: usize,
}

/// What of a message is remembered without being asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Extract {
    /// The best that is available: today the person's own statements, word for word.
    #[default]
    Auto,
    /// What a model makes of a message.
    Model,
    /// The person's own statements, word for word.
    Verbatim,
    /// Nothing but what `/remember` is told.
    Off,
}

/// `[memory]`: long-term memory.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Memory {
    /// Most memories put before the model with a question.
    pub recall_limit: usize,
    /// What is remembered unasked.
    pub extract: Extract,
    /// IANA time zone in which people's dates and times are meant.
    pub time_zone: String,
}

impl Default for Memory {
    fn default() -> Self {
        Self { recall_limit: 5, extract: Extract::Auto, time_zone: "Asia/Shanghai".into() }
    }
}

/// `[bot]`: limits of the message pipeline.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Bot {
    /// Most messages accepted and not yet answered; past it `/webhook` answers 503.
    pub inbox_limit: usize,
    /// Most turns of a conversation put before the model; a question with its answer is two.
    pub history_turns: usize,
}

impl Default for Bot {
    fn default() -> Self {
        Self { inbox_limit: 10_000, history_turns: 20 }
    }
}

/// `[store]`: where everything is kept.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Store {
    /// `sqlite:///path`; empty: `dingbot.db` in the state directory.
    pub url: String,
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// The journal where standard error is the journal, text on a terminal, JSON elsewhere.
    #[default]
    Auto,
    /// An entry of systemd's journal an event, with its fields.
    Journald,
    /// One line of text an event, on standard error.
    Text,
    /// One JSON object an event, on standard output.
    Json,
}

/// `[log]`: what is logged, and how.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// `auto`, `journald`, `text` or `json`.
    pub format: LogFormat,
    /// `error`, `warn`, `info`, `debug`, `trace`, or a filter such as `info,dingbot::bot=debug`.
    pub level: String,
}

impl Default for Log {
    fn default() -> Self {
        Self { format: LogFormat::Auto, level: "info".into() }
    }
}
