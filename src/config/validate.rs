//! What the type of a setting cannot say: ranges, and settings that depend on each other.

use std::time::Duration;

use url::Url;

use super::keys;
use super::location;
use super::merge::Merged;
use super::problem::Problem;
use super::secret::Secret;
use super::settings::{Bot, DingTalk, Extract, Llm, Log, Memory, Server, Settings, Store};
use crate::telemetry::logging;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;
/// Longer than any of them makes sense, and far below where the clock overflows.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(24 * 60 * 60);

/// Most people a message of a group robot may mention.
const MAX_MENTIONED: usize = 50;
/// Longest vector: what comparing sums up fits 32 bits.
const MAX_DIMENSIONS: usize = 4_096;

/// Everything found wrong with the settings as a whole: problems, then warnings.
pub(super) fn validate(settings: &Settings, merged: &Merged) -> (Vec<Problem>, Vec<Problem>) {
    let mut findings = Findings { merged, problems: Vec::new(), warnings: Vec::new() };
    findings.server(&settings.server);
    findings.dingtalk(&settings.dingtalk);
    findings.llm(&settings.llm);
    findings.memory(&settings.memory, &settings.llm);
    findings.bot(&settings.bot);
    findings.store(&settings.store);
    findings.log(&settings.log);
    (findings.problems, findings.warnings)
}

struct Findings<'a> {
    merged: &'a Merged,
    problems: Vec<Problem>,
    warnings: Vec<Problem>,
}

impl Findings<'_> {
    fn wrong(&mut self, key: &str, message: impl Into<String>) {
        self.problems.push(Problem::new(&self.merged.origin(key), Some(key), message));
    }

    fn warn(&mut self, key: &str, message: impl Into<String>) {
        self.warnings.push(Problem::new(&self.merged.origin(key), Some(key), message));
    }

    fn server(&mut self, server: &Server) {
        if server.listen.is_empty() {
            self.wrong("server.listen", "names no address: write one, such as \"[::]:8080\"");
        }
        for (index, address) in server.listen.iter().enumerate() {
            // Port 0 is any free port: a different one each time.
            if address.port() != 0 && server.listen[..index].contains(address) {
                self.wrong("server.listen", format!("names {address} twice: remove one"));
            }
        }
        for key in &server.api_keys {
            if key.is_empty() {
                self.wrong("server.api_keys", "has an empty key: remove it");
            }
            self.secret("server.api_keys", key);
        }
        self.within("server.max_body_bytes", server.max_body_bytes, KIB, 64 * MIB);
        self.at_least_one("server.max_connections", server.max_connections);
        self.timeout("server.header_timeout", server.header_timeout);
        self.timeout("server.drain_timeout", server.drain_timeout);
    }

    fn dingtalk(&mut self, dingtalk: &DingTalk) {
        self.address("dingtalk.api_base", &dingtalk.api_base);
        self.address("dingtalk.oapi_base", &dingtalk.oapi_base);
        self.secret("dingtalk.client_secret", &dingtalk.client_secret);
        if !dingtalk.client_id.is_empty() && dingtalk.client_secret.is_empty() {
            self.warn(
                "dingtalk.client_id",
                "opens nothing without dingtalk.client_secret: set the AppSecret too",
            );
        }
        for robot in &dingtalk.group_robots {
            let token = keys::robot_key(&robot.name, "access_token");
            if robot.access_token.is_empty() {
                self.wrong(
                    &token,
                    "is not set: copy what follows access_token= in the robot's webhook address",
                );
            } else if robot.access_token.expose().contains("://") {
                self.wrong(&token, "is a whole address: keep only what follows access_token=");
            }
            self.secret(&token, &robot.access_token);
            self.secret(&keys::robot_key(&robot.name, "secret"), &robot.secret);
            let mobiles = keys::robot_key(&robot.name, "mention_mobiles");
            if !robot.mention_mobiles.iter().all(|mobile| is_mobile(mobile)) {
                self.wrong(
                    &mobiles,
                    "has what is no mobile number: write the digits alone, such as \
                     \"13800000000\", and with the country's code \"+852-12345678\"",
                );
            }
            if robot.mention_mobiles.len() > MAX_MENTIONED {
                self.wrong(
                    &mobiles,
                    format!("names too many: DingTalk mentions at most {MAX_MENTIONED} people"),
                );
            }
        }
    }

    fn llm(&mut self, llm: &Llm) {
        self.address("llm.base_url", &llm.base_url);
        self.secret("llm.api_key", &llm.api_key);
        if llm.model.trim().is_empty() && !llm.is_offline() {
            self.wrong("llm.model", "is empty: name the model, such as \"gpt-4-turbo\"");
        }
        self.timeout("llm.timeout", llm.timeout);
        self.within("llm.max_concurrency", llm.max_concurrency, 1, 1024);
        self.at_least_one("llm.prompt_tokens", llm.prompt_tokens);
        self.at_least_one("llm.answer_tokens", llm.answer_tokens);
        self.embedding(llm);
    }

    fn embedding(&mut self, llm: &Llm) {
        let embedding = &llm.embedding;
        self.secret("llm.embedding.api_key", &embedding.api_key);
        let base = embedding.base_url.trim();
        if !base.is_empty() {
            match Url::parse(base) {
                Ok(url) => self.address("llm.embedding.base_url", &url),
                Err(_) => {
                    self.wrong("llm.embedding.base_url", "is no address: write https://HOST/v1");
                }
            }
        }
        self.within("llm.embedding.dimensions", embedding.dimensions, 0, MAX_DIMENSIONS);
        let unused = !base.is_empty() || embedding.dimensions > 0 || !embedding.api_key.is_empty();
        if embedding.model.trim().is_empty() && unused {
            self.warn("llm.embedding", "is not used: name the model in llm.embedding.model");
        }
    }

    fn memory(&mut self, memory: &Memory, llm: &Llm) {
        if memory.extract == Extract::Model && llm.is_offline() {
            self.warn(
                "memory.extract",
                "is \"model\" and no model is asked: until llm.api_key is set people's own words \
                 are kept",
            );
        }
        self.within("memory.recall_limit", memory.recall_limit, 0, 100);
        if jiff::tz::TimeZone::get(&memory.time_zone).is_err() {
            self.wrong(
                "memory.time_zone",
                "is no known time zone: write an IANA name, such as \"Asia/Shanghai\"",
            );
        }
    }

    fn bot(&mut self, bot: &Bot) {
        self.at_least_one("bot.inbox_limit", bot.inbox_limit);
    }

    fn store(&mut self, store: &Store) {
        if !store.url.is_empty()
            && let Err(message) = location::sqlite_path(&store.url)
        {
            self.wrong("store.url", message);
        }
    }

    fn log(&mut self, log: &Log) {
        if let Err(error) = logging::filter(&log.level) {
            self.wrong("log.level", error.to_string());
        }
    }

    fn within(&mut self, key: &str, value: usize, least: usize, most: usize) {
        if !(least..=most).contains(&value) {
            self.wrong(key, format!("is out of range: write a number from {least} to {most}"));
        }
    }

    fn at_least_one(&mut self, key: &str, value: usize) {
        if value == 0 {
            self.wrong(key, "is out of range: write a number of 1 or more");
        }
    }

    fn timeout(&mut self, key: &str, value: Duration) {
        if value.is_zero() || value > LONGEST_TIMEOUT {
            self.wrong(key, "is out of range: write a duration above zero, of one day at most");
        }
    }

    /// An address that requests go to. Its own text is not repeated: it may hold a password.
    fn address(&mut self, key: &str, url: &Url) {
        if !matches!(url.scheme(), "http" | "https") {
            self.wrong(key, "must begin with https:// or http://");
        }
        if !url.username().is_empty() || url.password().is_some() {
            self.wrong(key, "must not hold a user name or a password: use the settings for keys");
        }
        if url.fragment().is_some() {
            self.wrong(key, "must not have a `#`: remove it and what follows");
        }
    }

    /// A secret goes into a header or an address, where white space is a copying mistake.
    fn secret(&mut self, key: &str, secret: &Secret) {
        if secret.expose().contains(|c: char| c.is_whitespace() || c.is_control()) {
            self.wrong(key, "contains white space: copy it again, without spaces or line breaks");
        }
    }
}

/// A number as DingTalk takes it: digits, or `+852-12345678`.
fn is_mobile(text: &str) -> bool {
    let local = match text.strip_prefix('+') {
        None => text,
        Some(rest) => match rest.split_once('-') {
            Some((country, local)) if (1..=4).contains(&country.len()) && is_number(country) => {
                local
            }
            _ => return false,
        },
    };
    (5..=15).contains(&local.len()) && is_number(local)
}

fn is_number(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mobile_number_is_digits_with_or_without_a_country() {
        assert!(is_mobile("13800000000") && is_mobile("+852-12345678"));
        for text in
            ["", "138 0000 0000", "+85212345678", "+-1234567", "@13800000000", "1380000000a"]
        {
            assert!(!is_mobile(text), "{text}");
        }
    }

    fn with(mobiles: &str) -> Result<crate::config::Loaded, Vec<Problem>> {
        let robot = "DINGBOT_DINGTALK__GROUP_ROBOTS__OPS";
        let environment = vec![
            (format!("{robot}__ACCESS_TOKEN"), "t".into()),
            (format!("{robot}__MENTION_ALL"), "1".into()),
            (format!("{robot}__MENTION_MOBILES"), mobiles.into()),
        ];
        crate::config::load(&crate::config::Sources { environment, ..Default::default() })
    }

    #[test]
    fn whom_a_robot_mentions_is_checked() {
        let robots =
            with("13800000000, +852-12345678").expect("valid").settings.dingtalk.group_robots;
        assert_eq!(robots[0].mention_mobiles, ["13800000000", "+852-12345678"]);
        assert!(robots[0].mention_all);
        for (mobiles, what) in
            [("13800000000, ops", "no mobile number"), (&"13800000000,".repeat(51), "too many")]
        {
            let problems = with(mobiles).expect_err("refused");
            let problem = problems[0].to_string();
            assert_eq!(problems.len(), 1, "{problem}");
            assert!(problem.contains("ops.mention_mobiles") && problem.contains(what), "{problem}");
        }
    }
}
