//! What all checks found: the one thing to mend first, and the list.

use std::io::{self, Write};

use serde::Serialize;

use super::finding::{Area, Finding, Remedy, State};
use crate::language::Language;
use crate::printed::{visible, visible_json};

/// What one check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Section {
    /// What was looked at.
    pub area: Area,
    /// What was found, in the order in which it was looked for.
    pub findings: Vec<Finding>,
}

/// What all checks found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    sections: Vec<Section>,
}

/// As machines read it.
#[derive(Debug, Serialize)]
struct Machine<'a> {
    /// The worst state of all findings that count.
    verdict: State,
    /// What to mend first.
    first: Option<&'a Finding>,
    sections: &'a [Section],
}

impl Report {
    /// Of what the checks found.
    pub fn new(mut sections: Vec<Section>) -> Self {
        sections.retain(|section| !section.findings.is_empty());
        sections.sort_by_key(|section| section.area);
        Self { sections }
    }

    /// The worst of all states. What cannot be seen from here is no fault.
    pub fn verdict(&self) -> State {
        let worst = self.findings().map(|finding| finding.state).max();
        worst.filter(|state| *state >= State::Warning).unwrap_or(State::Fine)
    }

    /// What to mend first: the deepest cause among the worst findings.
    pub fn first(&self) -> Option<&Finding> {
        let worst = self.verdict();
        self.findings()
            .filter(|finding| finding.state == worst && worst > State::Fine)
            .min_by_key(|finding| finding.depth)
    }

    /// All findings, in the order in which they are shown.
    pub fn findings(&self) -> impl Iterator<Item = &Finding> {
        self.sections.iter().flat_map(|section| &section.findings)
    }

    /// When nothing is to be mended.
    fn praise(&self, language: Language) -> &'static str {
        if self.findings().any(|finding| finding.state == State::Unseen) {
            let english = "Nothing wrong that can be seen from here; ⏳ marks what cannot";
            language.pick("从这里能看到的都正常；⏳ 是从这里看不到的", english)
        } else {
            language.pick("一切正常", "Everything is well")
        }
    }

    /// As JSON, in both languages.
    pub fn write_json(&self, out: &mut dyn Write) -> io::Result<()> {
        let machine =
            Machine { verdict: self.verdict(), first: self.first(), sections: &self.sections };
        writeln!(out, "{}", visible_json(&serde_json::to_string_pretty(&machine)?))
    }

    /// For people: first what to mend, then everything.
    pub fn write_text(&self, language: Language, out: &mut dyn Write) -> io::Result<()> {
        let verdict = self.verdict();
        let sign = verdict.sign();
        match self.first() {
            None => writeln!(out, "{sign} {}", self.praise(language))?,
            Some(first) => {
                let title = match verdict {
                    State::Failed => language.pick("先解决这一条", "Mend this first"),
                    _ => language.pick("可用，但请注意", "It works, but take note"),
                };
                writeln!(out, "{sign} {title}")?;
                write_seen(first, language, out)?;
                write_remedy(first, language, out)?;
            }
        }
        for section in &self.sections {
            writeln!(out, "\n{}", section.area.title(language))?;
            for finding in &section.findings {
                write_seen(finding, language, out)?;
                // What mends the first of all stands above.
                if !self.first().is_some_and(|first| std::ptr::eq(first, finding)) {
                    write_remedy(finding, language, out)?;
                }
            }
        }
        Ok(())
    }
}

fn write_seen(finding: &Finding, language: Language, out: &mut dyn Write) -> io::Result<()> {
    let seen = indented(finding.seen.of(language), "     ");
    writeln!(out, "  {} {seen}", finding.state.sign())
}

fn write_remedy(finding: &Finding, language: Language, out: &mut dyn Write) -> io::Result<()> {
    let Some(Remedy { text, commands }) = &finding.remedy else { return Ok(()) };
    writeln!(out, "     → {}", indented(text.of(language), "       "))?;
    for command in commands {
        writeln!(out, "       $ {}", indented(command, "         "))?;
    }
    Ok(())
}

/// A text with its later lines indented, and with what other programs and hosts put into it made
/// harmless for the terminal.
fn indented(text: &str, indent: &str) -> String {
    visible(text).replace('\n', &format!("\n{indent}"))
}

#[cfg(test)]
mod tests {
    use super::super::finding::{Depth, Text};
    use super::*;

    fn text(words: &str) -> Text {
        Text::new(format!("中文 {words}"), words)
    }

    fn failed(code: &'static str, depth: Depth) -> Finding {
        Finding::failed(code, depth, text(code), Remedy::new(text("mend it")).command("mend --now"))
    }

    fn report(findings: Vec<Finding>) -> Report {
        Report::new(vec![Section { area: Area::Reach, findings }])
    }

    #[test]
    fn the_deepest_cause_among_the_worst_comes_first() {
        let note = Remedy::new(text("look"));
        let report = report(vec![
            Finding::warning("configuration_warning", Depth::Configuration, text("deep"), note),
            failed("health_timed_out", Depth::Reach),
            failed("firewall_drops", Depth::Firewall),
        ]);
        assert_eq!(report.first().unwrap().code, "firewall_drops");
        assert_eq!(report.verdict(), State::Failed);
    }

    #[test]
    fn what_cannot_be_seen_is_no_fault() {
        let unseen =
            Finding::unseen("firewall_unseen", text("unseen"), Remedy::new(text("as root")));
        let report = report(vec![unseen, Finding::fine("healthy", text("fine"))]);
        assert_eq!((report.verdict(), report.first()), (State::Fine, None));
    }

    #[test]
    fn people_read_the_fault_first_and_nothing_moves_their_cursor() {
        let mut bad = failed("wrong_service", Depth::Reach);
        bad.seen = Text::new("答的是 \u{1b}[2Jnginx", "it is \u{1b}[2Jnginx");
        let report = report(vec![Finding::fine("healthy", text("fine")), bad]);
        let mut page = Vec::new();
        report.write_text(Language::English, &mut page).unwrap();
        let page = String::from_utf8(page).unwrap();
        let expected = "❌ Mend this first\n  ❌ it is \\u{1b}[2Jnginx\n     → mend it\n       \
                        $ mend --now\n\nReach\n  ✅ fine\n";
        assert!(page.starts_with(expected), "{page}");
    }

    #[test]
    fn machines_read_both_languages() {
        let mut json = Vec::new();
        report(vec![failed("port_taken", Depth::Port)]).write_json(&mut json).unwrap();
        let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
        assert_eq!(json["verdict"], "failed");
        assert_eq!(json["first"]["code"], "port_taken");
        assert_eq!(json["sections"][0]["area"], "reach");
        assert_eq!(json["sections"][0]["findings"][0]["seen"]["zh"], "中文 port_taken");
        assert_eq!(json["first"]["remedy"]["commands"][0], "mend --now");
    }
}
