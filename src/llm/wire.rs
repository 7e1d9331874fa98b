//! The request as it goes out, and the parts of an answer as they come in.
//!
//! What comes in is read leniently: providers leave out, null or add fields, and none of it is a
//! reason to lose an answer.

use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::{Host, Url};

use super::chat::{ChatMessage, ChatRequest, Finish, Usage};
use super::error::{Failure, LlmError, Parameter, Retry};
use crate::config::Secret;
use crate::config::settings::Llm;

/// What follows the base address.
const CHAT: &str = "/chat/completions";
const EMBEDDINGS: &str = "/embeddings";

/// Where the model is, under which name, and what opens it.
#[derive(Debug)]
pub(super) struct Endpoint {
    url: Url,
    model: String,
    key: Secret,
    /// Azure OpenAI takes its resource keys in a header of its own, `api-key`.
    azure: bool,
}

impl Endpoint {
    pub(super) fn new(settings: &Llm) -> Self {
        Self::at(&settings.base_url, CHAT, &settings.model, settings.api_key.clone())
    }

    /// Where the embedding model is. The key of the chat model is for its own host alone.
    pub(super) fn of_embeddings(settings: &Llm) -> Self {
        let embedding = &settings.embedding;
        let base = embedding.base_url.trim();
        let base = Url::parse(base).unwrap_or_else(|_| settings.base_url.clone());
        let key = if !embedding.api_key.is_empty() {
            embedding.api_key.clone()
        } else if base.origin() == settings.base_url.origin() {
            settings.api_key.clone()
        } else {
            Secret::default()
        };
        Self::at(&base, EMBEDDINGS, &embedding.model, key)
    }

    fn at(base_url: &Url, path: &str, model: &str, key: Secret) -> Self {
        let mut url = base_url.clone();
        // The whole address, as many providers' documents give it, is taken for what is meant.
        let base = url.path().trim_end_matches('/');
        let base = [CHAT, EMBEDDINGS].into_iter().find_map(|whole| base.strip_suffix(whole));
        let base = base.unwrap_or_else(|| url.path().trim_end_matches('/'));
        url.set_path(&format!("{base}{path}"));
        let azure = matches!(url.host(), Some(Host::Domain(host)) if host.ends_with(".azure.com"));
        Self { url, model: model.to_owned(), key, azure }
    }

    /// A request with this body.
    pub(super) fn post(
        &self,
        client: &reqwest::Client,
        body: &impl Serialize,
    ) -> Result<reqwest::RequestBuilder, Failure> {
        Ok(client.post(self.url.clone()).headers(self.headers()?).json(body))
    }

    /// The key, to be taken out of whatever the endpoint says.
    pub(super) fn key(&self) -> &str {
        self.key.expose().trim()
    }

    /// The request that asks for a streamed answer.
    pub(super) fn request(
        &self,
        client: &reqwest::Client,
        request: &ChatRequest,
        dialect: Dialect,
    ) -> Result<reqwest::RequestBuilder, Failure> {
        let limit = (request.max_tokens > 0).then_some(request.max_tokens);
        let body = Body {
            model: &self.model,
            messages: &request.messages,
            stream: true,
            stream_options: dialect.stream_options.then_some(StreamOptions { include_usage: true }),
            max_tokens: limit.filter(|_| !dialect.max_completion_tokens),
            max_completion_tokens: limit.filter(|_| dialect.max_completion_tokens),
        };
        self.post(client, &body)
    }

    fn headers(&self) -> Result<HeaderMap, Failure> {
        let mut headers = HeaderMap::new();
        if self.key().is_empty() {
            return Ok(headers);
        }
        // A key that cannot stand in a header is not one any provider gave out.
        let secret = |text: &str| {
            let mut value = HeaderValue::from_str(text)
                .map_err(|_| Failure::new(LlmError::Unauthorized, Retry::Never))?;
            value.set_sensitive(true);
            Ok::<_, Failure>(value)
        };
        headers.insert(AUTHORIZATION, secret(&format!("Bearer {}", self.key()))?);
        if self.azure {
            headers.insert("api-key", secret(self.key())?);
        }
        Ok(headers)
    }
}

/// The optional parts of the request that this endpoint understands, as far as is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Dialect {
    /// OpenAI's newer models refuse `max_tokens`, most compatible servers know nothing else.
    max_completion_tokens: bool,
    /// Asks for the usage in a last part of the stream.
    stream_options: bool,
}

impl Default for Dialect {
    fn default() -> Self {
        Self { max_completion_tokens: false, stream_options: true }
    }
}

impl Dialect {
    /// What to try after `rejected` was rejected; `None` if nothing is left to change.
    pub(super) fn without(self, rejected: Parameter) -> Option<Self> {
        match rejected {
            Parameter::TokenLimit => {
                Some(Self { max_completion_tokens: !self.max_completion_tokens, ..self })
            }
            Parameter::StreamOptions if self.stream_options => {
                Some(Self { stream_options: false, ..self })
            }
            Parameter::StreamOptions => None,
        }
    }
}

#[derive(Debug, Serialize)]
struct Body<'a> {
    model: &'a str,
    messages: &'a [ChatMessage],
    stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream_options: Option<StreamOptions>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_completion_tokens: Option<usize>,
}

#[derive(Debug, Serialize)]
struct StreamOptions {
    include_usage: bool,
}

/// A whole answer, or one part of a streamed one.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Part {
    choices: Option<Vec<Choice>>,
    usage: Value,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Choice {
    /// In a part of a stream.
    delta: Option<Message>,
    /// In a whole answer.
    message: Option<Message>,
    finish_reason: Option<String>,
}

/// Its `reasoning_content` (or `reasoning`) is the model's thinking, and left out.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Message {
    content: Option<Content>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Content {
    Text(String),
    /// An array of typed parts; only those of type `text` have this field.
    Pieces(Vec<Piece>),
    Other(IgnoredAny),
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Piece {
    text: Option<String>,
}

impl Part {
    /// The text of the first choice: what this part adds, or the whole answer.
    pub(super) fn text(&self) -> String {
        let message = self.choice().and_then(|c| c.delta.as_ref().or(c.message.as_ref()));
        match message.and_then(|m| m.content.as_ref()) {
            Some(Content::Text(text)) => text.clone(),
            Some(Content::Pieces(pieces)) => {
                pieces.iter().filter_map(|piece| piece.text.as_deref()).collect()
            }
            Some(Content::Other(_)) | None => String::new(),
        }
    }

    /// Why the model stopped, once it has.
    ///
    /// # Errors
    /// Some providers tell here that the model did not come to its end.
    pub(super) fn finish(&self) -> Result<Option<Finish>, Failure> {
        let Some(reason) = self.choice().and_then(|c| c.finish_reason.as_deref()) else {
            return Ok(None);
        };
        match reason {
            "" => Ok(None),
            "length" | "max_tokens" => Ok(Some(Finish::Length)),
            // "sensitive": Zhipu's GLM.
            "content_filter" | "sensitive" => Ok(Some(Finish::ContentFilter)),
            // DeepSeek and GLM, when their own machines gave out.
            "insufficient_system_resource" | "network_error" | "error" => {
                Err(Failure::broken_off())
            }
            _ => Ok(Some(Finish::Stop)),
        }
    }

    /// What was spent so far.
    pub(super) fn usage(&self) -> Option<Usage> {
        let count = |field| self.usage.get(field).and_then(Value::as_u64);
        let (prompt, completion) = (count("prompt_tokens"), count("completion_tokens"));
        prompt.or(completion)?;
        Some(Usage {
            prompt_tokens: prompt.unwrap_or_default(),
            completion_tokens: completion.unwrap_or_default(),
        })
    }

    fn choice(&self) -> Option<&Choice> {
        self.choices.as_ref()?.first()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn endpoint(base: &str) -> Endpoint {
        let base_url = Url::parse(base).unwrap();
        Endpoint::new(&Llm { base_url, api_key: "key".into(), ..Llm::default() })
    }

    fn part(value: Value) -> Part {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn the_query_of_the_base_address_is_kept() {
        for (base, whole) in [
            ("https://api.openai.com/v1", "https://api.openai.com/v1/chat/completions"),
            ("http://127.0.0.1:11434/v1/", "http://127.0.0.1:11434/v1/chat/completions"),
            ("http://127.0.0.1:8000", "http://127.0.0.1:8000/chat/completions"),
            (
                "https://x.openai.azure.com/openai/deployments/d?api-version=2024-10-21",
                "https://x.openai.azure.com/openai/deployments/d/chat/completions\
                 ?api-version=2024-10-21",
            ),
            (
                "https://integrate.api.nvidia.com/v1/chat/completions",
                "https://integrate.api.nvidia.com/v1/chat/completions",
            ),
        ] {
            assert_eq!(endpoint(base).url.as_str(), whole);
        }
    }

    #[test]
    fn azure_gets_the_key_in_its_own_header_too() {
        let headers = endpoint("https://x.openai.azure.com/openai/v1").headers().unwrap();
        assert_eq!(headers["api-key"], "key");
        assert_eq!(headers[AUTHORIZATION], "Bearer key");
        assert!(!format!("{headers:?}").contains("Bearer key"));
        for base in ["https://api.openai.com/v1", "https://notazure.com/v1"] {
            assert!(!endpoint(base).headers().unwrap().contains_key("api-key"), "{base}");
        }
    }

    #[test]
    fn a_key_with_a_line_break_is_refused_not_sent() {
        let settings = Llm { api_key: "two\nlines".into(), ..Llm::default() };
        let refused = Endpoint::new(&settings).headers().unwrap_err();
        assert_eq!(refused.error, LlmError::Unauthorized);
        let settings = Llm { api_key: "from-a-file\n".into(), ..Llm::default() };
        let headers = Endpoint::new(&settings).headers().unwrap();
        assert_eq!(headers[AUTHORIZATION], "Bearer from-a-file");
    }

    #[test]
    fn text_is_found_in_every_shape() {
        for (value, text) in [
            (json!({"choices": [{"delta": {"content": "a"}}]}), "a"),
            (json!({"choices": [{"message": {"role": "assistant", "content": "a"}}]}), "a"),
            (
                json!({"choices": [{"delta": {"content": [
                    {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
                    {"type": "text", "text": "a"}, {"type": "text", "text": "b"},
                ]}}]}),
                "ab",
            ),
            (json!({"choices": [{"delta": {"content": null, "reasoning_content": "hm"}}]}), ""),
            (json!({"choices": [{"delta": {"content": {"odd": true}}}]}), ""),
            (json!({"choices": [{"delta": {}}]}), ""),
            (json!({"choices": []}), ""),
            (json!({"choices": null, "usage": null}), ""),
            (json!({"prompt_filter_results": []}), ""),
        ] {
            assert_eq!(part(value.clone()).text(), text, "{value}");
        }
    }

    #[test]
    fn the_end_is_told_in_many_words() {
        let finish = |reason: &str| part(json!({"choices": [{"finish_reason": reason}]})).finish();
        assert_eq!(finish("stop").unwrap(), Some(Finish::Stop));
        assert_eq!(finish("length").unwrap(), Some(Finish::Length));
        assert_eq!(finish("sensitive").unwrap(), Some(Finish::ContentFilter));
        assert_eq!(finish("").unwrap(), None);
        assert_eq!(finish("insufficient_system_resource").unwrap_err().retry, Retry::Yes);
    }

    #[test]
    fn usage_is_read_where_there_is_one() {
        let usage = part(json!({"usage": {"prompt_tokens": 3, "completion_tokens": 4}})).usage();
        assert_eq!(usage, Some(Usage { prompt_tokens: 3, completion_tokens: 4 }));
        assert_eq!(part(json!({"usage": {}})).usage(), None);
        assert_eq!(part(json!({"usage": "none"})).usage(), None);
    }

    #[test]
    fn a_rejected_parameter_is_replaced_or_dropped() {
        let first = Dialect::default();
        let newer = first.without(Parameter::TokenLimit).unwrap();
        assert!(newer.max_completion_tokens);
        assert_eq!(newer.without(Parameter::TokenLimit), Some(first));
        let plain = first.without(Parameter::StreamOptions).unwrap();
        assert_eq!(plain.without(Parameter::StreamOptions), None);
    }
}
