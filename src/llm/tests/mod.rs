//! The model against an endpoint that answers, stalls, breaks off, refuses and talks rubbish.

mod answers;
mod endpoint;
mod failures;

use std::sync::Arc;
use std::time::Duration;

use self::endpoint::{Reply, ScriptedEndpoint};
use super::model::Pace;
use super::{ChatMessage, ChatModel, ChatRequest, Completion, LlmError, Role};
use crate::config::settings::Llm;
use crate::telemetry::metrics::Metrics;

/// Longer than any of these tests takes, however busy the machine is.
const LONG: Duration = Duration::from_secs(60);
/// A silence that is meant to run out.
const SHORT: Duration = Duration::from_millis(100);
const KEY: &str = "sk-test-0123456789";

/// Waits that a test can do with.
const PACE: Pace = Pace {
    first_delay: Duration::from_millis(1),
    max_retry_after: Duration::from_millis(1),
    open_for: LONG,
};

/// A model and the endpoint it asks.
#[derive(Debug)]
struct Fixture {
    endpoint: ScriptedEndpoint,
    model: ChatModel,
    metrics: Arc<Metrics>,
}

impl Fixture {
    async fn new(script: Vec<Reply>) -> Self {
        Self::with(script, LONG, PACE).await
    }

    async fn with(script: Vec<Reply>, timeout: Duration, pace: Pace) -> Self {
        let endpoint = ScriptedEndpoint::start(script).await;
        let metrics = Arc::new(Metrics::new());
        let settings = Llm {
            base_url: endpoint.url.clone(),
            api_key: KEY.into(),
            model: "test-model".into(),
            timeout,
            ..Llm::default()
        };
        let model = ChatModel::with_pace(&settings, Arc::clone(&metrics), pace).unwrap();
        Self { endpoint, model, metrics }
    }

    async fn complete(&self) -> Result<Completion, LlmError> {
        self.model.complete(&question()).await
    }

    fn requests(&self) -> usize {
        self.endpoint.asked().len()
    }

    fn counted(&self, outcome: &str) -> u64 {
        self.metrics.llm_requests.with_label_values(&["chat", outcome]).get()
    }

    fn tokens(&self, kind: &str) -> u64 {
        self.metrics.llm_tokens.with_label_values(&[kind]).get()
    }
}

fn question() -> ChatRequest {
    ChatRequest {
        messages: vec![
            ChatMessage::new(Role::System, "Be brief."),
            ChatMessage::new(Role::User, "你好"),
        ],
        max_tokens: 64,
    }
}
