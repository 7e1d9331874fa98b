//! One request to DingTalk and its answer, with limits of time and size.

use std::error::Error;
use std::io;
use std::time::Duration;

use reqwest::header::RETRY_AFTER;
use serde_json::{Map, Value};

use super::error::{SendError, SendErrorKind};

/// Longest silence of DingTalk.
pub(super) const READ_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest whole request, connecting and reading included.
const WHOLE_TIMEOUT: Duration = Duration::from_secs(10);
/// Largest answer that is read, in bytes; real ones have a few hundred.
const MAX_ANSWER_BYTES: usize = 64 * 1024;
/// Documented ban of an address that sent 10,000 requests in 20 seconds.
const ADDRESS_BAN: Duration = Duration::from_secs(300);

/// What came back.
#[derive(Debug)]
pub(super) struct Answer {
    /// HTTP status.
    pub(super) status: u16,
    /// The JSON object of its body.
    pub(super) fields: Map<String, Value>,
}

impl Answer {
    /// A field as text, empty if it is not there or no string.
    pub(super) fn text(&self, field: &str) -> &str {
        self.fields.get(field).and_then(Value::as_str).unwrap_or_default()
    }

    /// A field as a whole number; DingTalk writes some as strings.
    pub(super) fn number(&self, field: &str) -> Option<i64> {
        match self.fields.get(field)? {
            Value::String(text) => text.parse().ok(),
            value => value.as_i64(),
        }
    }
}

/// Sends `request` and reads the answer, whatever its status; an answer that is no JSON object, or
/// comes from the shield in front of DingTalk, is an error already.
pub(super) async fn exchange(request: reqwest::RequestBuilder) -> Result<Answer, SendError> {
    let mut response = request.timeout(WHOLE_TIMEOUT).send().await.map_err(network_error)?;
    let status = response.status().as_u16();
    let retry_after = response
        .headers()
        .get(RETRY_AFTER)
        .and_then(|value| value.to_str().ok()?.trim().parse().ok())
        .map(Duration::from_secs);
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(network_error)? {
        if body.len() + chunk.len() > MAX_ANSWER_BYTES {
            let detail = format!("HTTP {status} with more than {MAX_ANSWER_BYTES} bytes");
            return Err(SendError::new(SendErrorKind::Temporary, detail));
        }
        body.extend_from_slice(&chunk);
    }
    let Ok(Value::Object(fields)) = serde_json::from_slice(&body) else {
        let kind = match status {
            429 => SendErrorKind::RateLimited { retry_after },
            _ => SendErrorKind::Temporary,
        };
        return Err(SendError::new(kind, format!("HTTP {status} without a JSON object")));
    };
    let answer = Answer { status, fields };
    if answer.text("punish") == "deny" {
        return Err(SendError::new(
            SendErrorKind::RateLimited { retry_after: Some(ADDRESS_BAN) },
            "DingTalk bans this host's address for too many requests",
        ));
    }
    Ok(answer)
}

fn network_error(error: reqwest::Error) -> SendError {
    // The address holds the session or the token.
    let error = error.without_url();
    let mut root: &(dyn Error + 'static) = &error;
    let mut no_public_address = false;
    loop {
        // The guard's refusal is not the system's, and so has no error number.
        no_public_address |= root.downcast_ref::<io::Error>().is_some_and(|error| {
            error.kind() == io::ErrorKind::PermissionDenied && error.raw_os_error().is_none()
        });
        match root.source() {
            Some(source) => root = source,
            None => break,
        }
    }
    if no_public_address {
        return SendError::new(SendErrorKind::Refused, root.to_string());
    }
    let what = if error.is_timeout() {
        "no answer in time"
    } else if error.is_connect() {
        "cannot connect"
    } else {
        "the exchange broke off"
    };
    SendError::new(SendErrorKind::Temporary, format!("{what}: {root}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outbound;

    #[tokio::test]
    async fn a_name_that_leads_inside_is_refused_for_good() {
        let client = outbound::guarded_client(READ_TIMEOUT).unwrap();
        let error = exchange(client.post("http://localhost:9/?session=1")).await.unwrap_err();
        assert_eq!(error.kind, SendErrorKind::Refused);
        assert_eq!(error.detail, "localhost leads to no public address");
    }
}
