//! Whose answer it is, and what it says.

use hyper::StatusCode;
use hyper::header::{HeaderMap, LOCATION, SERVER, VIA};
use serde_json::Value;

use super::Answer;

/// Of what a stranger says, so many characters are repeated.
const EXCERPT: usize = 120;
/// What the bot says at `/health` when it is well, and at `/`.
const WELL: [&str; 2] = ["DingBot Server is healthy", "DingBot Server is running"];

/// An answer, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::doctor) enum Voice {
    /// The bot, and it is well.
    Well,
    /// The bot, and it cannot accept or keep messages: its reason.
    Unwell(String),
    /// Nobody who lets us in: 401, 403, 451.
    Forbidden(Speaker),
    /// Somebody who sends us elsewhere.
    Redirected(Speaker, String),
    /// A proxy that does not get through to the bot: 502 or 504.
    Unserved(Speaker),
    /// Somebody between here and there who answers in its place.
    Intercepted(Speaker, String),
    /// Somebody who is in trouble, or finds us troublesome: 413, 429, 500 or 503.
    Troubled(Speaker),
    /// Another service.
    Stranger(Speaker),
}

/// Who it is, by its own words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::doctor) struct Speaker {
    /// The status.
    pub(in crate::doctor) status: StatusCode,
    /// Its `Server`, such as `nginx/1.22.1`.
    pub(in crate::doctor) server: Option<String>,
    /// The beginning of its text.
    pub(in crate::doctor) excerpt: String,
}

impl Voice {
    /// Understands an answer to `GET /health` or `GET /`.
    pub(in crate::doctor) fn of(answer: &Answer) -> Self {
        let said: Option<Value> = serde_json::from_str(&answer.body).ok();
        let said = |field: &str| said.as_ref().and_then(|said| said[field].as_str());
        let speaker = Speaker::of(answer);
        match (answer.status.as_u16(), said("status"), said("message")) {
            (200, Some("ok"), Some(message)) if WELL.contains(&message) => return Self::Well,
            (503, Some("error"), Some(message)) => return Self::Unwell(excerpt(message)),
            _ => {}
        }
        if let Some(between) = interceptor(&answer.headers, &speaker) {
            return Self::Intercepted(speaker, between);
        }
        match answer.status.as_u16() {
            300..=399 => {
                let location = text(&answer.headers, LOCATION.as_str()).unwrap_or_default();
                Self::Redirected(speaker, location)
            }
            401 | 403 | 451 => Self::Forbidden(speaker),
            407 => Self::Intercepted(speaker, "HTTP 407".into()),
            413 | 429 | 500 | 503 => Self::Troubled(speaker),
            502 | 504 => Self::Unserved(speaker),
            _ => Self::Stranger(speaker),
        }
    }
}

impl Speaker {
    fn of(answer: &Answer) -> Self {
        let server = text(&answer.headers, SERVER.as_str());
        Self { status: answer.status, server, excerpt: excerpt(&answer.body) }
    }

    /// Such as `HTTP 404, nginx/1.22.1, “<html>…”`.
    pub(in crate::doctor) fn shown(&self) -> String {
        let mut shown = format!("HTTP {}", self.status.as_u16());
        if let Some(server) = &self.server {
            shown.push_str(", ");
            shown.push_str(server);
        }
        if !self.excerpt.is_empty() {
            shown.push_str(&format!(", “{}”", self.excerpt));
        }
        shown
    }
}

/// Who stands between, when an answer that is not the bot's bears its mark.
fn interceptor(headers: &HeaderMap, speaker: &Speaker) -> Option<String> {
    // Alibaba Cloud answers for domains without an ICP filing in the server's place.
    let filing = speaker.server.as_deref().is_some_and(|it| it.eq_ignore_ascii_case("beaver"))
        || speaker.excerpt.contains("Non-compliance ICP Filing");
    if filing {
        return Some("ICP".into());
    }
    let marks = [VIA.as_str(), "x-cache", "x-squid-error", "proxy-authenticate"];
    marks.iter().find_map(|name| Some(format!("{name}: {}", text(headers, name)?)))
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    let value = headers.get(name)?;
    Some(excerpt(&String::from_utf8_lossy(value.as_bytes())))
}

/// The beginning of a text, on one line.
fn excerpt(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(EXCERPT) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn voice(status: u16, headers: &[(&'static str, &'static str)], body: &str) -> Voice {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().unwrap());
        }
        let status = StatusCode::from_u16(status).unwrap();
        Voice::of(&Answer { status, headers: map, body: body.into(), certificate: None })
    }

    #[test]
    fn the_bot_is_known_by_the_words_of_its_contract() {
        let well = r#"{"status":"ok","message":"DingBot Server is healthy"}"#;
        assert_eq!(voice(200, &[], well), Voice::Well);
        let unwell = r#"{"status":"error","message":"The disk is full"}"#;
        assert_eq!(voice(503, &[], unwell), Voice::Unwell("The disk is full".into()));
        assert!(matches!(voice(200, &[], r#"{"status":"ok"}"#), Voice::Stranger(_)));
        assert!(matches!(voice(200, &[], "<html>It works!</html>"), Voice::Stranger(_)));
        assert!(matches!(voice(503, &[], "busy"), Voice::Troubled(_)));
    }

    #[test]
    fn others_are_told_apart() {
        let nginx = [("server", "nginx/1.22.1")];
        assert!(matches!(voice(502, &nginx, "<html>"), Voice::Unserved(_)));
        assert!(matches!(voice(403, &nginx, "<html>"), Voice::Forbidden(_)));
        let elsewhere = voice(302, &[("location", "https://login.example/")], "");
        assert!(matches!(elsewhere, Voice::Redirected(_, to) if to == "https://login.example/"));
        assert!(matches!(
            voice(403, &[("server", "Beaver")], "<title>Non-compliance ICP Filing</title>"),
            Voice::Intercepted(_, by) if by == "ICP"
        ));
        assert!(matches!(voice(407, &[], ""), Voice::Intercepted(..)));
        assert!(matches!(voice(429, &nginx, "<html>"), Voice::Troubled(_)));
        let squid = voice(503, &[("via", "1.1 cache (squid/5)")], "ERR_CONNECT_FAIL");
        assert!(matches!(squid, Voice::Intercepted(_, by) if by == "via: 1.1 cache (squid/5)"));
        // A proxy that lets the bot speak is none in the way.
        let well = r#"{"status":"ok","message":"DingBot Server is healthy"}"#;
        assert_eq!(voice(200, &[("via", "1.1 cache")], well), Voice::Well);
    }

    #[test]
    fn a_stranger_is_quoted_in_few_words() {
        let Voice::Stranger(speaker) = voice(404, &[("server", "x")], &"長い ".repeat(200))
        else {
            panic!("a stranger");
        };
        assert!(speaker.excerpt.chars().count() <= EXCERPT + 1);
        assert!(speaker.shown().starts_with("HTTP 404, x, “長い"));
    }
}
