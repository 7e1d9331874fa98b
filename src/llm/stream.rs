//! Reading an answer: the parts of an event stream put together, or one JSON document.

use std::ops::ControlFlow;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use reqwest::Response;
use reqwest::header::CONTENT_TYPE;
use serde_json::Value;
use sse_stream::{Sse, SseByteStream};
use tokio::time::timeout;

use super::chat::{Completion, Finish, Usage};
use super::error::{Failure, LlmError, Retry};
use super::rejection;
use super::thinking::without_thinking;
use super::wire::Part;

/// Most bytes of an answer's text, of one event of a stream, and of a JSON answer: an endpoint
/// that sends rubbish without end must not fill the memory.
pub(super) const MAX_ANSWER_BYTES: usize = 1024 * 1024;

/// How long to wait, after the model said that it has finished, for the usage and `[DONE]`.
const TRAILER_WAIT: Duration = Duration::from_secs(2);

/// Reads an answer of status 2xx, whichever way it is sent.
pub(super) async fn read(response: Response) -> Result<Completion, Failure> {
    let header = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media_type = header.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    match media_type.to_ascii_lowercase().as_str() {
        "application/json" => read_json(response).await,
        "text/html" => Err(Failure::new(
            LlmError::BadAnswer("it is a web page; most base addresses end in /v1".into()),
            Retry::Never,
        )),
        _ => read_events(response).await,
    }
}

async fn read_json(mut response: Response) -> Result<Completion, Failure> {
    let mut body = Vec::new();
    while let Some(part) = response.chunk().await? {
        if body.len() + part.len() > MAX_ANSWER_BYTES {
            return Err(too_long());
        }
        body.extend_from_slice(&part);
    }
    let mut answer = Assembly::default();
    answer.add(&body)?;
    // It is whole, whether or not it says why it ends.
    answer.finish.get_or_insert_default();
    answer.complete()
}

async fn read_events(response: Response) -> Result<Completion, Failure> {
    let pending = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&pending);
    let body = response.bytes_stream().map(move |part| {
        let part = part.map_err(ReadError::Transport)?;
        let unread = counter.fetch_add(part.len(), Ordering::Relaxed) + part.len();
        if unread > MAX_ANSWER_BYTES { Err(ReadError::TooLong) } else { Ok(part) }
    });
    // Some servers end without the blank line that ends the last event.
    let body = body.chain(stream::iter([Ok(Bytes::from_static(b"\n\n"))]));
    let mut events = pin!(SseByteStream::new(body));
    let mut answer = Assembly::default();
    loop {
        let next = if answer.finish.is_none() {
            events.next().await
        } else {
            // The answer is there; what is missing is not worth a person's time.
            timeout(TRAILER_WAIT, events.next()).await.unwrap_or_default()
        };
        match next {
            Some(Ok(event)) => {
                pending.store(0, Ordering::Relaxed);
                if answer.take(&event)?.is_break() {
                    break;
                }
            }
            Some(Err(_)) if answer.finish.is_some() => break,
            Some(Err(error)) => return Err(error.into()),
            None => break,
        }
    }
    answer.complete()
}

/// Why the bytes of a stream come to an end.
#[derive(Debug, thiserror::Error)]
enum ReadError {
    #[error(transparent)]
    Transport(reqwest::Error),
    #[error("too long")]
    TooLong,
}

impl From<sse_stream::Error> for Failure {
    fn from(error: sse_stream::Error) -> Self {
        let sse_stream::Error::Body(cause) = error else {
            return Self::rubbish("it is not an event stream in UTF-8");
        };
        match cause.downcast::<ReadError>().map(|cause| *cause) {
            Ok(ReadError::Transport(cause)) => cause.into(),
            Ok(ReadError::TooLong) => too_long(),
            Err(_) => Self::broken_off(),
        }
    }
}

fn too_long() -> Failure {
    let text = format!("it is longer than {MAX_ANSWER_BYTES} bytes");
    Failure::new(LlmError::BadAnswer(text), Retry::Never)
}

/// An answer as far as it has come.
#[derive(Debug, Default)]
struct Assembly {
    text: String,
    /// Set once the end was told: by a finish reason or by `[DONE]`.
    finish: Option<Finish>,
    usage: Option<Usage>,
}

impl Assembly {
    /// Takes one event in; breaks at the end of the stream.
    fn take(&mut self, event: &Sse) -> Result<ControlFlow<()>, Failure> {
        let data = event.data.as_deref().unwrap_or_default().trim();
        if data == "[DONE]" {
            self.finish.get_or_insert_default();
            return Ok(ControlFlow::Break(()));
        }
        if event.event.as_deref() == Some("error") {
            let value = serde_json::from_str(data).unwrap_or_else(|_| Value::from(data));
            return Err(rejection::reported(&value));
        }
        if !data.is_empty() {
            self.add(data.as_bytes())?;
        }
        let complete = self.finish.is_some() && self.usage.is_some();
        Ok(if complete { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    }

    /// Takes one JSON document in.
    fn add(&mut self, json: &[u8]) -> Result<(), Failure> {
        let not_ours = || Failure::rubbish("it is not the JSON of a chat completion");
        let value: Value = serde_json::from_slice(json).map_err(|_| not_ours())?;
        if let Some(failure) = rejection::inside(&value) {
            return Err(failure);
        }
        if !value.is_object() {
            return Err(not_ours());
        }
        let part: Part = serde_json::from_value(value).map_err(|_| not_ours())?;
        self.text.push_str(&part.text());
        if self.text.len() > MAX_ANSWER_BYTES {
            return Err(too_long());
        }
        self.finish = part.finish()?.or(self.finish);
        self.usage = part.usage().or(self.usage);
        Ok(())
    }

    fn complete(self) -> Result<Completion, Failure> {
        let Some(finish) = self.finish else { return Err(Failure::broken_off()) };
        let text = without_thinking(&self.text);
        if !text.is_empty() {
            return Ok(Completion { text: text.to_owned(), finish, usage: self.usage });
        }
        Err(match finish {
            Finish::Stop => Failure::rubbish("it is empty"),
            Finish::ContentFilter => Failure::new(LlmError::Refused, Retry::Never),
            Finish::Length => Failure::new(LlmError::OutOfTokens, Retry::Never),
        })
    }
}
