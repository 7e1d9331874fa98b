//! The guide as it is written: its blocks of commands, and where each of them belongs.
//!
//! A fence says so behind its language: ```` ```bash host apt ````. The place is `host`, where the
//! bot is, or `laptop`, where its user is; the way is `apt` or `docker`, and none means both.
//! `norun` is for what cannot be run in a test: a comment above it says why.

/// A language of the guide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Language {
    Chinese,
    English,
}

/// How the bot is installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Apt,
    Docker,
}

/// Where commands are typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Host,
    Laptop,
    /// Nowhere in a test.
    NotRun,
}

/// A command, and what the guide shows of its output; `…` stands for anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) command: String,
    /// Nothing where the guide shows none.
    pub(crate) shown: Option<String>,
}

/// A fenced block of commands.
#[derive(Debug, Clone)]
pub(crate) struct Block {
    /// The number of its section.
    pub(crate) section: u32,
    pub(crate) line: usize,
    pub(crate) place: Place,
    /// Of one way alone.
    pub(crate) way: Option<Way>,
    /// Every word of the fence.
    pub(crate) words: Vec<String>,
    pub(crate) steps: Vec<Step>,
    /// Why it is not run, where it says so.
    pub(crate) reason: Option<String>,
}

impl Language {
    pub(crate) const BOTH: [Self; 2] = [Self::Chinese, Self::English];

    /// The guide's text.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Chinese => include_str!("../../../docs/ecs.zh.md"),
            Self::English => include_str!("../../../docs/ecs.en.md"),
        }
    }

    /// Its locale, as a host of somebody who reads it has it.
    pub(crate) fn locale(self) -> &'static str {
        match self {
            Self::Chinese => "zh_CN.UTF-8",
            Self::English => "en_US.UTF-8",
        }
    }
}

impl Block {
    /// Whether somebody who installs this way comes here.
    pub(crate) fn is_for(&self, way: Way) -> bool {
        self.way.is_none_or(|of| of == way)
    }

    /// The first line of its first command.
    pub(crate) fn first_line(&self) -> &str {
        self.steps[0].command.lines().next().unwrap_or_default()
    }
}

/// Every block of commands, in the order of the text.
///
/// # Panics
/// On a fence that says something else than this knows.
pub(crate) fn blocks(text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut section = 0;
    let mut before = "";
    let mut lines = text.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        if let Some(title) = line.strip_prefix("## ") {
            let number = title.split('.').next().and_then(|number| number.parse().ok());
            section = number.unwrap_or_else(|| panic!("a section without a number: {title}"));
        }
        let Some(fence) = line.trim_start().strip_prefix("```") else {
            if !line.trim().is_empty() {
                before = line.trim();
            }
            continue;
        };
        let indent = line.len() - line.trim_start().len();
        let inside: Vec<&str> = lines
            .by_ref()
            .map(|(_, line)| line.get(indent..).unwrap_or_default())
            .take_while(|line| !line.starts_with("```"))
            .collect();
        let words: Vec<String> = fence.split_whitespace().map(str::to_owned).collect();
        let steps = match words.first().map(String::as_str) {
            Some("bash") => vec![Step { command: inside.join("\n"), shown: None }],
            Some("console") => dialogue(&inside),
            // Pictures and answers, not commands.
            Some("text" | "json") => continue,
            other => panic!("line {}: a fence of {other:?}", number + 1),
        };
        let has = |word: &str| words.iter().any(|other| other == word);
        let place = match (has("host"), has("laptop"), has("norun")) {
            (true, false, false) => Place::Host,
            (false, true, false) => Place::Laptop,
            (false, false, true) => Place::NotRun,
            _ => panic!("line {}: where is it run?", number + 1),
        };
        let way = match (has("apt"), has("docker")) {
            (true, false) => Some(Way::Apt),
            (false, true) => Some(Way::Docker),
            _ => None,
        };
        let reason = before.strip_prefix("<!-- norun: ").and_then(|why| why.strip_suffix(" -->"));
        let reason = reason.map(str::to_owned);
        blocks.push(Block { section, line: number + 1, place, way, words, steps, reason });
        before = "";
    }
    blocks
}

/// The commands behind `$ `, each with the lines below it.
fn dialogue(lines: &[&str]) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for line in lines {
        if let Some(command) = line.strip_prefix("$ ") {
            steps.push(Step { command: command.into(), shown: None });
            continue;
        }
        let step = steps.last_mut().expect("a console begins with a command");
        let shown = step.shown.get_or_insert_default();
        shown.push_str(line);
        shown.push('\n');
    }
    steps
}

/// Whether a command printed what is shown.
pub(crate) fn is_as_shown(shown: &str, printed: &str) -> bool {
    let mut rest = printed.trim_end();
    let pieces: Vec<&str> = shown.trim_end().split('…').collect();
    for (index, piece) in pieces.iter().enumerate() {
        let found = match (index, index + 1 == pieces.len()) {
            (0, true) => (rest == *piece).then_some(0),
            (0, false) => rest.starts_with(piece).then_some(0),
            (_, true) => rest.ends_with(piece).then(|| rest.len() - piece.len()),
            (_, false) => rest.find(piece),
        };
        let Some(at) = found else { return false };
        rest = &rest[at + piece.len()..];
    }
    true
}

#[test]
fn the_output_shown_may_leave_out_some() {
    assert!(is_as_shown("pong\n", "pong"));
    assert!(!is_as_shown("pong\n", "pong!"));
    assert!(is_as_shown("a…c\n", "abc"));
    assert!(is_as_shown("a…\n…d…\n", "ab\nc\nxdx\n"));
    assert!(!is_as_shown("a…c\n", "abd"));
    assert!(!is_as_shown("a…b…c\n", "acb c".trim_end_matches('c')));
}
