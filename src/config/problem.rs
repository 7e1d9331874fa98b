//! What is wrong with the configuration, and where.

use std::fmt;

/// Something wrong, or worth a warning, in the configuration.
///
/// `Display` is one line, `PLACE:LINE: KEY: MESSAGE`, without the parts that are missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file, variable, credential or option it came from.
    pub origin: String,
    /// Line of the file, counted from 1.
    pub line: Option<usize>,
    /// The setting, as `section.key`.
    pub key: Option<String>,
    /// What is wrong and what to do about it; never the value of the setting.
    pub message: String,
}

impl Problem {
    pub(super) fn new(origin: &Origin, key: Option<&str>, message: impl Into<String>) -> Self {
        Self {
            origin: origin.place.clone(),
            line: origin.line,
            key: key.map(str::to_owned),
            message: message.into(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.origin)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if let Some(key) = &self.key {
            write!(f, ": {key}")?;
        }
        write!(f, ": {}", self.message)
    }
}

/// Where a value came from; `Display` is `PLACE` or `PLACE:LINE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Origin {
    place: String,
    line: Option<usize>,
}

impl Origin {
    pub(super) fn new(place: impl Into<String>) -> Self {
        Self { place: place.into(), line: None }
    }

    pub(super) fn at_line(&self, line: usize) -> Self {
        Self { place: self.place.clone(), line: Some(line) }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}", self.place),
            None => f.write_str(&self.place),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_one_line_with_the_parts_it_has() {
        let file = Origin::new("/etc/dingbot/dingbot.toml");
        let all = Problem::new(&file.at_line(12), Some("llm.timeout"), "is wrong");
        assert_eq!(all.to_string(), "/etc/dingbot/dingbot.toml:12: llm.timeout: is wrong");
        let bare = Problem::new(&file, None, "cannot be read");
        assert_eq!(bare.to_string(), "/etc/dingbot/dingbot.toml: cannot be read");
    }
}
