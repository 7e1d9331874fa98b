//! What a model is asked, and what it answers.

use serde::Serialize;

/// Who speaks in a message of the prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The operator: instructions.
    System,
    /// The person.
    User,
    /// The model, in an earlier turn.
    Assistant,
}

/// One message of the prompt, in the shape of the wire.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ChatMessage {
    /// Who says it.
    pub role: Role,
    /// What is said.
    pub content: String,
}

impl ChatMessage {
    /// A message.
    pub fn new(role: Role, content: impl Into<String>) -> Self {
        Self { role, content: content.into() }
    }
}

/// One question to the model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChatRequest {
    /// The prompt, oldest message first.
    pub messages: Vec<ChatMessage>,
    /// Largest answer, in tokens as the model counts them; 0: the provider's default.
    pub max_tokens: usize,
}

/// The model's answer; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Completion {
    /// The answer, without the model's thinking and without white space around it.
    pub text: String,
    /// Why the model stopped.
    pub finish: Finish,
    /// What was spent, where the provider says it.
    pub usage: Option<Usage>,
}

/// Why the model stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Finish {
    /// It had said everything.
    #[default]
    Stop,
    /// The answer is cut off at [`ChatRequest::max_tokens`] or at the end of the context.
    Length,
    /// The provider's content filter cut the answer off.
    ContentFilter,
}

/// Tokens as the model counted them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Of the prompt.
    pub prompt_tokens: u64,
    /// Of the answer, thinking included.
    pub completion_tokens: u64,
}
