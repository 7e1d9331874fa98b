//! The metadata service of an instance ("Instance metadata"), with a token where it can be had.

use std::net::Ipv4Addr;
use std::time::Duration;

use reqwest::header::{HeaderName, HeaderValue};
use reqwest::{Method, StatusCode};
use tokio::net::TcpStream;

use crate::outbound;

/// An address that is reached from inside an instance alone.
const SERVICE: &str = "http://100.100.100.200/latest/";
const ADDRESS: (Ipv4Addr, u16) = (Ipv4Addr::new(100, 100, 100, 200), 80);
/// How long a token is valid, in seconds: longer than this process lives.
const TOKEN_LIFE: &str = "60";
/// Header that asks for a token, and header that carries it.
const TTL_HEADER: HeaderName = HeaderName::from_static("x-aliyun-ecs-metadata-token-ttl-seconds");
const TOKEN_HEADER: HeaderName = HeaderName::from_static("x-aliyun-ecs-metadata-token");
/// The longest a request may take: the service is on the same host, and the checks that wait for
/// it have little time.
const LIMIT: Duration = Duration::from_millis(900);
/// The longest the service may take to be there. Elsewhere nobody answers at its address, and
/// everybody waits for that.
const CONNECT_LIMIT: Duration = Duration::from_millis(700);
/// Longest answer that is read, in bytes: credentials with a long token are some thousands.
const LARGEST: usize = 64 * 1024;

/// How the service is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::doctor) enum Mode {
    /// With a token.
    Hardened,
    /// Without one.
    Normal,
}

/// The service.
#[derive(Debug)]
pub(in crate::doctor) struct Metadata {
    client: reqwest::Client,
    /// The token, whose value is not shown.
    token: Option<HeaderValue>,
}

impl Metadata {
    /// Finds the service; nothing when nobody answers. With `only_tokens` it is not asked without
    /// a token.
    pub(super) async fn open(only_tokens: bool) -> Option<Self> {
        tokio::time::timeout(CONNECT_LIMIT, TcpStream::connect(ADDRESS)).await.ok()?.ok()?;
        let client = outbound::local_client(LIMIT).ok()?;
        let asked = client
            .request(Method::PUT, format!("{SERVICE}api/token"))
            .header(TTL_HEADER, TOKEN_LIFE)
            .send()
            .await;
        let token = match asked {
            Ok(answer) if answer.status() == StatusCode::OK => {
                read(answer).await.as_deref().and_then(token)
            }
            Ok(_) | Err(_) => None,
        };
        (token.is_some() || !only_tokens).then_some(Self { client, token })
    }

    /// How it is asked.
    pub(in crate::doctor) fn mode(&self) -> Mode {
        if self.token.is_some() { Mode::Hardened } else { Mode::Normal }
    }

    /// The item at `path`; nothing when there is none, or no answer.
    pub(super) async fn get(&self, path: &str) -> Option<String> {
        let mut request = self.client.get(format!("{SERVICE}meta-data/{path}"));
        if let Some(token) = &self.token {
            request = request.header(TOKEN_HEADER, token);
        }
        let answer = request.send().await.ok()?;
        if answer.status() != StatusCode::OK {
            return None;
        }
        let text = read(answer).await?.trim().to_owned();
        // Nothing that the service says is a page.
        (!text.is_empty() && !text.starts_with('<')).then_some(text)
    }
}

/// The token that the service answered with, if it is one: a stranger answers with a page.
fn token(answer: &str) -> Option<HeaderValue> {
    let token = answer.trim();
    let is_token = (1..=2048).contains(&token.len())
        && token.bytes().all(|c| c.is_ascii_alphanumeric() || b"+/=-_.:".contains(&c));
    let mut value = is_token.then(|| HeaderValue::from_str(token).ok())??;
    value.set_sensitive(true);
    Some(value)
}

/// The text of an answer, if it is one of a sensible length.
async fn read(mut answer: reqwest::Response) -> Option<String> {
    let mut text = Vec::new();
    while let Some(chunk) = answer.chunk().await.ok()? {
        text.extend_from_slice(&chunk);
        if text.len() > LARGEST {
            return None;
        }
    }
    String::from_utf8(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_no_token() {
        assert!(token("AQAEAFGYzQAAAAAA-_+/=\n").is_some());
        for text in ["", "<html>sign in</html>", "two words", "中文", &"x".repeat(4096)] {
            assert!(token(text).is_none(), "{text}");
        }
    }

    #[test]
    fn a_token_is_not_shown() {
        let metadata = Metadata {
            client: outbound::local_client(LIMIT).unwrap(),
            token: token("AQAEAFGYzQAAAAAA"),
        };
        assert!(!format!("{metadata:?}").contains("AQAEAF"));
    }
}
