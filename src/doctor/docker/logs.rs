//! The last words of a container.

use serde_json::Value;

/// Length of the header before each piece: the stream, three zeros, and the length of the piece.
const HEADER: usize = 8;
/// How the bot ends its list of what is wrong with its configuration.
const CONFIGURATION: &str = "configuration is not valid";
/// Words of a stranger are cut here.
const MOST: usize = 400;

/// The last error in a log, or else its last line.
pub(super) fn last_words(log: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(&joined(log)).into_owned();
    let lines = || text.lines().map(str::trim).filter(|line| !line.is_empty()).rev();
    let mut words = lines().find_map(error).or_else(|| lines().next().map(str::to_owned))?;
    // The line before says what is wrong, this one how much.
    if words.starts_with(CONFIGURATION) {
        let mut before = lines().skip_while(|line| !line.contains(CONFIGURATION)).skip(1);
        let problem = before.next().map(|line| line.trim_start_matches("dingbot: "));
        words = problem.map_or(words, str::to_owned);
    }
    Some(words.chars().take(MOST).collect())
}

/// The pieces of both streams; without a header before them, the container has a terminal.
fn joined(log: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(log.len());
    let mut rest = log;
    while let [stream @ 0..=2, 0, 0, 0, a, b, c, d, ..] = *rest {
        let _ = stream;
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        let end = HEADER.saturating_add(length).min(rest.len());
        text.extend_from_slice(&rest[HEADER..end]);
        rest = &rest[end..];
    }
    text.extend_from_slice(rest);
    text
}

/// What a line says when it is an error: of the log as JSON, or of the program before it has one.
fn error(line: &str) -> Option<String> {
    if let Some(words) = line.strip_prefix("dingbot: ") {
        return Some(words.to_owned());
    }
    let event: Value = serde_json::from_str(line).ok()?;
    let is_error = event["level"].as_str()?.eq_ignore_ascii_case("error");
    let message = event["message"].as_str()?;
    let detail = event["error"].as_str().map(|it| format!(": {it}")).unwrap_or_default();
    is_error.then(|| format!("{message}{detail}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(stream: u8, text: &str) -> Vec<u8> {
        let mut piece = vec![stream, 0, 0, 0];
        piece.extend((text.len() as u32).to_be_bytes());
        piece.extend(text.as_bytes());
        piece
    }

    #[test]
    fn the_last_error_is_found_in_both_streams() {
        let log = [
            piece(1, "{\"level\":\"INFO\",\"message\":\"ready\"}\n"),
            piece(2, "dingbot: cannot write the store /data/dingbot.db\n"),
            piece(1, "bye\n"),
        ];
        let words = last_words(&log.concat());
        assert_eq!(words.as_deref(), Some("cannot write the store /data/dingbot.db"));
        let json = "{\"level\":\"ERROR\",\"message\":\"failed\",\"error\":\"disk full\"}\n";
        assert_eq!(last_words(&piece(1, json)).as_deref(), Some("failed: disk full"));
    }

    #[test]
    fn a_configuration_that_is_not_valid_is_told_by_what_is_wrong_with_it() {
        let log = "environment X: server.max_connections: expected a number\n\
                   configuration is not valid: 1 problem\n";
        let words = last_words(&piece(2, log)).unwrap();
        assert_eq!(words, "environment X: server.max_connections: expected a number");
    }

    #[test]
    fn odd_logs_do_no_harm() {
        assert_eq!(last_words(b"").as_deref(), None);
        assert_eq!(last_words(b"with a terminal\r\n").as_deref(), Some("with a terminal"));
        assert_eq!(last_words(&[1, 0, 0, 0, 255, 255, 255, 255, b'x']).as_deref(), Some("x"));
    }
}
