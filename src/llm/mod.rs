//! The model: chat at any OpenAI-compatible endpoint, and answers without one.
//!
//! Promises that [`ChatModel::complete`] comes to an end, whatever the endpoint does: an answer,
//! or an error that names the operator's remedy. At most `llm.max_concurrency` requests are under
//! way, what may be repeated is repeated a little later, an endpoint that keeps failing is left
//! alone for a while, an answer without end is cut off, redirects are not followed, and the key
//! is in no log line and no error.
//!
//! Knows its own wire and nothing else: not whom the answer is for, not what a memory is, not
//! where anything is kept. The caller builds the prompt and keeps within the context; see
//! [`estimate_tokens`].
//!
//! The wire is the "Chat Completions" interface of OpenAI's API reference, with what Azure,
//! DashScope, DeepSeek, NVIDIA, Ollama and vLLM document of their own compatible endpoints.

mod breaker;
mod chat;
mod embedding;
mod error;
mod model;
pub mod offline;
mod rejection;
mod stream;
#[cfg(test)]
mod tests;
mod thinking;
mod tokens;
mod wire;

pub use chat::{ChatMessage, ChatRequest, Completion, Finish, Role, Usage};
pub use embedding::EmbeddingModel;
pub use error::LlmError;
pub use model::ChatModel;
pub use tokens::estimate_tokens;
