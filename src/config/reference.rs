//! Every setting as the manual describes it: the example file's words with the program's own types.

use super::keys;

/// The commented example that the package installs as `/etc/dingbot/dingbot.toml`.
pub const EXAMPLE: &str = include_str!("../../etc/dingbot.toml");

/// One setting, for a reader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    /// `section.key`.
    pub key: String,
    /// What it is for, in Chinese.
    pub chinese: String,
    /// The same in English.
    pub english: String,
    /// What a value looks like; `None` for the list of group robots, which `lines` show.
    pub form: Option<String>,
    /// The default, as a TOML literal; for group robots: none.
    pub default: String,
    /// Whether the value is a secret, better kept in a credential.
    pub is_secret: bool,
    /// Lines of TOML that show a setting which is more than one line.
    pub lines: Vec<String>,
}

impl Described {
    /// The section: what stands before the last dot.
    pub fn section(&self) -> &str {
        self.key.rsplit_once('.').map_or("", |(section, _)| section)
    }

    /// The name in its section.
    pub fn name(&self) -> &str {
        self.key.rsplit('.').next().unwrap_or_default()
    }

    /// The environment variable that sets it.
    pub fn variable(&self) -> String {
        format!("DINGBOT_{}", self.key.to_ascii_uppercase().replace('.', "__"))
    }

    /// The systemd credential that sets it.
    pub fn credential(&self) -> String {
        self.key.replace('.', "-")
    }
}

/// All settings, in the order of the example.
pub fn reference() -> Vec<Described> {
    let mut reading = Reading::default();
    for line in EXAMPLE.lines() {
        reading.line(line);
    }
    reading.settings
}

#[derive(Default)]
struct Reading {
    section: String,
    comment: Vec<&'static str>,
    /// The comment already belongs to a setting; those that follow at once share it.
    used: bool,
    settings: Vec<Described>,
}

impl Reading {
    fn line(&mut self, line: &'static str) {
        if let Some(section) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            self.section = section.to_owned();
            self.forget();
        } else if let Some(code) = line.strip_prefix("#   ") {
            self.example(code);
        } else if let Some(comment) = line.strip_prefix("# ") {
            if self.used {
                self.forget();
            }
            self.comment.push(comment);
        } else if let Some((name, default)) =
            line.strip_prefix('#').and_then(|rest| rest.split_once(" = "))
        {
            let key = format!("{}.{name}", self.section);
            let form = Some(keys::form(&key).to_string());
            self.add(key, form, default);
        } else if line.is_empty() {
            self.forget();
        }
    }

    /// A line of the one setting that is a list of tables.
    fn example(&mut self, code: &'static str) {
        let opens = code.strip_prefix("[[").and_then(|rest| rest.strip_suffix("]]"));
        if let Some(key) = opens {
            self.add(key.to_owned(), None, "none");
        }
        if let Some(last) = self.settings.last_mut() {
            last.lines.push(code.to_owned());
        }
    }

    fn add(&mut self, key: String, form: Option<String>, default: &str) {
        let (chinese, english) = by_language(&self.comment);
        let is_secret = keys::is_secret(&key) || key == keys::GROUP_ROBOTS;
        let default = default.to_owned();
        self.used = true;
        self.settings.push(Described {
            key,
            chinese,
            english,
            form,
            default,
            is_secret,
            lines: Vec::new(),
        });
    }

    fn forget(&mut self) {
        self.comment.clear();
        self.used = false;
    }
}

/// The Chinese and the English of a comment: either a line each, or both in one, parted by `/`.
fn by_language(lines: &[&str]) -> (String, String) {
    let (mut chinese, mut english) = (Vec::new(), Vec::new());
    for line in lines {
        match line.split_once("/ ") {
            Some((left, right)) if is_chinese(left) && !is_chinese(right) => {
                chinese.push(left.trim_end());
                english.push(right);
            }
            _ if is_chinese(line) => chinese.push(line),
            _ => english.push(line),
        }
    }
    // A Chinese sentence goes on in the next line without a space, unless Latin letters meet.
    let chinese = chinese.into_iter().fold(String::new(), |text, line| {
        let latin = |c: Option<char>| c.is_some_and(|c| c.is_ascii());
        let space = latin(text.chars().last()) && latin(line.chars().next());
        if space { text + " " + line } else { text + line }
    });
    (chinese, english.join(" "))
}

fn is_chinese(text: &str) -> bool {
    text.chars().any(|c| ('\u{4e00}'..='\u{9fff}').contains(&c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_is_described_in_both_languages() {
        let settings = reference();
        for key in keys::all().chain([keys::GROUP_ROBOTS]) {
            let found: Vec<_> = settings.iter().filter(|setting| setting.key == key).collect();
            let [setting] = found[..] else { panic!("{key} is described {} times", found.len()) };
            assert!(is_chinese(&setting.chinese), "{key}: no Chinese in the example");
            assert!(!setting.english.is_empty(), "{key}: no English in the example");
            assert!(!is_chinese(&setting.english), "{key}: {}", setting.english);
            assert!(!setting.default.is_empty(), "{key}");
        }
        assert_eq!(settings.len(), keys::all().count() + 1, "no other keys");
    }

    #[test]
    fn the_languages_are_told_apart() {
        let (chinese, english) = by_language(&["监听（地址）/ Addresses", "更多", "and /v1 more"]);
        assert_eq!(
            (chinese.as_str(), english.as_str()),
            ("监听（地址）更多", "Addresses and /v1 more")
        );
        let (chinese, _) = by_language(&["用 dingbot.db", "in 这里"]);
        assert_eq!(chinese, "用 dingbot.db in 这里");
    }

    #[test]
    fn variables_and_credentials_are_those_that_the_layers_read() {
        let secret = reference().into_iter().find(|s| s.key == "dingtalk.client_secret");
        let secret = secret.expect("a setting");
        assert_eq!(secret.variable(), "DINGBOT_DINGTALK__CLIENT_SECRET");
        assert_eq!(secret.credential(), "dingtalk-client_secret");
        assert_eq!((secret.section(), secret.name()), ("dingtalk", "client_secret"));
        assert!(secret.is_secret);
    }
}
