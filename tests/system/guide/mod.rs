//! The guide for ECS, followed word by word: every command of `docs/ecs.zh.md` and `docs/ecs.en.md`
//! is run, on a booted Debian and on a host with Docker.

pub(crate) mod aliyun;
pub(crate) mod apt;
pub(crate) mod document;
pub(crate) mod session;

use std::path::Path;

use document::{Language, Place, blocks};
use session::NOT_RUN;

/// A command without what is for readers alone.
fn without_comments(command: &str) -> String {
    let lines = command.lines().filter(|line| !line.trim_start().starts_with('#'));
    lines.map(str::trim_end).collect::<Vec<_>>().join("\n")
}

#[test]
fn both_languages_have_the_same_commands() {
    let [chinese, english] = Language::BOTH.map(|language| blocks(language.text()));
    for (one, other) in chinese.iter().zip(&english) {
        let lines = (one.line, other.line);
        assert_eq!(one.words, other.words, "lines {lines:?}");
        assert_eq!(one.section, other.section, "lines {lines:?}");
        let commands = |block: &document::Block| -> Vec<String> {
            block.steps.iter().map(|step| without_comments(&step.command)).collect()
        };
        assert_eq!(commands(one), commands(other), "lines {lines:?}");
    }
    assert_eq!(chinese.len(), english.len());
    let sections = |blocks: &[document::Block]| blocks.iter().map(|block| block.section).max();
    assert!(sections(&chinese) >= Some(9), "it is the whole guide");
}

#[test]
fn what_is_not_run_is_known_and_says_why() {
    for language in Language::BOTH {
        let blocks = blocks(language.text());
        for block in &blocks {
            assert_eq!(block.place == Place::NotRun, block.reason.is_some(), "{block:?}");
        }
        let not_run = blocks.iter().filter(|block| block.place == Place::NotRun);
        let begins: Vec<_> = not_run.map(document::Block::first_line).collect();
        assert_eq!(begins.len(), NOT_RUN.len(), "{begins:#?}");
        for line in begins {
            assert!(NOT_RUN.iter().any(|known| line.starts_with(known.begins)), "{line}");
        }
    }
}

/// The anchor that GitHub gives a heading.
fn anchor(heading: &str) -> String {
    let kept = |c| match c {
        ' ' => Some('-'),
        '-' | '_' => Some(c),
        c => c.is_alphanumeric().then_some(c),
    };
    heading.to_lowercase().chars().filter_map(kept).collect()
}

#[test]
fn links_lead_somewhere() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    for (language, name) in Language::BOTH.into_iter().zip(["ecs.zh.md", "ecs.en.md"]) {
        for link in language.text().split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.starts_with("https://") {
                continue;
            }
            let (file, wanted) = link.split_once('#').unwrap_or((link, ""));
            let file = if file.is_empty() { name } else { file };
            let text = std::fs::read_to_string(docs.join(file))
                .unwrap_or_else(|error| panic!("{name}: {link}: {error}"));
            let headings = text.lines().filter(|line| line.starts_with('#'));
            let mut anchors = headings.map(|line| anchor(line.trim_start_matches('#').trim()));
            assert!(wanted.is_empty() || anchors.any(|a| a == wanted), "{name}: {link}");
        }
    }
}
