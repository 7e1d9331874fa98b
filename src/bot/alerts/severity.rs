//! How severe an alert is, as its label `severity` says.

use super::notification::Alert;

/// The severe before the harmless.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Severity {
    /// Somebody should look now.
    Critical,
    /// Somebody should look; also what has no label that is known.
    Warning,
    /// Good to know.
    Info,
}

impl Severity {
    /// That of an alert, by the words people use.
    pub(super) fn of(alert: &Alert) -> Self {
        let word = alert.label("severity").unwrap_or_default().to_ascii_lowercase();
        match word.as_str() {
            "critical" | "page" | "emergency" | "disaster" | "fatal" | "error" | "high" | "p0"
            | "p1" => Self::Critical,
            "info" | "information" | "notice" | "low" | "none" | "debug" | "p3" | "p4" => {
                Self::Info
            }
            _ => Self::Warning,
        }
    }

    /// How it is seen at a glance.
    pub(super) fn mark(self) -> &'static str {
        match self {
            Self::Critical => "🔴",
            Self::Warning => "🟠",
            Self::Info => "🔵",
        }
    }
}
