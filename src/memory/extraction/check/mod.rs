//! What is not believed of an answer though it is well formed, and what follows from it.
//!
//! A false refusal loses a memory, so a rule either is certain or asks again:
//!
//! | a statement that | first answer | second answer |
//! |---|---|---|
//! | is an order to the bot, a secret or a question | dropped | dropped |
//! | is a fragment | asked again | dropped |
//! | is in another script than the message | asked again | dropped |
//! | has a number, code or date that nobody said | asked again | dropped |
//! | has nothing in common with the message | asked again | dropped |
//! | has a word in another script that nobody said (a translated name) | asked again | kept |
//! | has another date than the one that the message means for certain | asked again | kept |
//!
//! A statement that only says what a known memory says repeats it, whether or not the model saw
//! that. Claims that are not believed cost the claim and not the statement: a number of no known
//! memory, more than [`MAX_SUPERSEDED`] memories outdated at once, a memory repeated that has
//! other figures.

mod figure;
pub(super) mod numerals;
mod said;
pub(super) mod script;
#[cfg(test)]
mod tests;
mod unwanted;

use std::collections::HashSet;

use jiff::Zoned;
use jiff::civil::Date;

use self::said::Said;
use self::script::{Original, Script, squeezed};
use self::unwanted::Unwanted;
use super::answer::Statement;
use super::dates::{self, Meant};
use super::prompt::quoted;
use super::{Known, prompt};
use crate::memory::terms;

/// Most known memories that one statement outdates. One that outdates everything is a model that
/// was talked into it.
pub(super) const MAX_SUPERSEDED: usize = 3;
/// Longest beginning of a statement that is quoted to the model, in characters.
const MAX_QUOTED_CHARS: usize = 120;
/// Letters by which two forms of a word are taken for one.
const STEM_CHARS: usize = 4;
/// Characters of Chinese grammar, which every two sentences share.
const COMMON_HAN: &str = "我你他她它们的是了在有不和也就都这那要会很一个上下对吗呢吧把被给到";

/// What statements are held against.
#[derive(Debug)]
pub(super) struct Check<'a> {
    known: &'a [Known],
    known_squeezed: Vec<String>,
    /// The day of the message, where the person is.
    day: Date,
    /// The days that the message means, if they are certain.
    meant: Option<Vec<Meant<'a>>>,
    original: Original,
    /// The message and the known memories.
    sources: Original,
    figures: Said,
    characters: HashSet<char>,
    words: HashSet<String>,
}

/// What an answer comes to.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    /// Statements to be believed.
    pub(super) kept: Vec<Statement>,
    /// What the model is to be told about the others, a sentence each.
    pub(super) wrong: Vec<String>,
    /// How many statements were dropped for good.
    pub(super) dropped: usize,
}

impl<'a> Check<'a> {
    pub(super) fn new(message: &'a str, known: &'a [Known], said_at: &Zoned) -> Self {
        let shown = &known[..known.len().min(prompt::MAX_KNOWN)];
        let texts = || shown.iter().map(|memory| memory.text.as_str());
        let sources = std::iter::once(message).chain(texts()).collect::<Vec<_>>().join("\n");
        Self {
            known: shown,
            known_squeezed: texts().map(squeezed).collect(),
            day: said_at.date(),
            meant: dates::all_meant(message, said_at.date()),
            figures: Said::new(message, texts(), said_at),
            characters: characters(message).collect(),
            words: stems(message).collect(),
            original: Original::new(message),
            sources: Original::new(&sources),
        }
    }

    /// Judges the statements of an answer; `last` if the model is not asked again.
    pub(super) fn judge(&self, statements: Vec<Statement>, last: bool) -> Verdict {
        let mut verdict = Verdict::default();
        for mut statement in statements {
            match unwanted::reason(&statement.text) {
                Some(Unwanted::Fragment) if !last => {
                    let shown = quoted(&statement.text);
                    verdict.wrong.push(format!("{shown} is no complete sentence"));
                    continue;
                }
                Some(_) => {
                    verdict.dropped += 1;
                    continue;
                }
                None => {}
            }
            if let Some(wrong) = self.wrong(&statement.text, last) {
                verdict.wrong.push(wrong);
                continue;
            }
            self.correct(&mut statement);
            verdict.kept.push(statement);
        }
        verdict
    }

    /// Why a statement is not believed.
    fn wrong(&self, text: &str, last: bool) -> Option<String> {
        let shown: String = text.chars().take(MAX_QUOTED_CHARS).collect();
        let shown = quoted(&shown);
        if self.original.is_translated_in(text) {
            let language = self.original.script.and_then(Script::language);
            let language = language.unwrap_or("the language of the message");
            return Some(format!("{shown} must be in {language}, in the words of the message"));
        }
        if let Some(figure) = self.figures.made_up(text) {
            return Some(format!(
                "{shown} has {}, which the message does not say",
                quoted(&figure)
            ));
        }
        if !self.is_grounded(text) {
            return Some(format!("{shown} is not what the message says"));
        }
        if last {
            return None;
        }
        if let Some(word) = self.sources.word_translated_in(text) {
            return Some(format!("{shown} has {}: keep the words of the message", quoted(&word)));
        }
        self.wrong_date(text).map(|told| format!("{shown}: {told}"))
    }

    /// What the dates of the message are, if a statement has another one.
    fn wrong_date(&self, text: &str) -> Option<String> {
        let meant = self.meant.as_ref()?;
        let normal = figure::normal(text);
        let figures = figure::figures(&normal);
        let other = figures.iter().filter_map(|figure| figure.text.get(..10)?.parse().ok()).any(
            |date: Date| {
                // A known memory may be referred to with its date.
                let known = self.known.iter().any(|known| known.text.contains(&date.to_string()));
                date != self.day && !known && meant.iter().all(|meant| meant.date != date)
            },
        );
        other.then(|| {
            let told = meant.iter().map(|m| format!("{} is {}", quoted(m.expression), m.date));
            told.collect::<Vec<_>>().join(", ")
        })
    }

    /// Whether anything of the statement is of the message. Texts in scripts whose words are not
    /// known to be told apart are believed.
    fn is_grounded(&self, text: &str) -> bool {
        let known = [self.original.script, Script::of(text)].into_iter().all(|script| {
            matches!(
                script,
                Some(Script::Chinese | Script::Japanese | Script::Korean | Script::Latin)
            )
        });
        if !known {
            return true;
        }
        let mut own = characters(text).map(|c| self.characters.contains(&c)).peekable();
        let mut words = stems(text).map(|stem| self.words.contains(&stem)).peekable();
        let says_nothing = own.peek().is_none() && words.peek().is_none();
        says_nothing || own.any(|said| said) || words.any(|said| said)
    }

    fn correct(&self, statement: &mut Statement) {
        let said = squeezed(&statement.text);
        let same = self.known_squeezed.iter().position(|known| *known == said);
        if let Some(same) = same.and_then(|at| self.known.get(at)) {
            statement.repeats = Some(same.number);
        }
        let known = |number: usize| self.known.iter().find(|memory| memory.number == number);
        statement.repeats = statement.repeats.filter(|number| {
            known(*number).is_some_and(|memory| same_figures(&statement.text, &memory.text))
        });
        statement
            .supersedes
            .retain(|number| known(*number).is_some() && statement.repeats != Some(*number));
        if statement.supersedes.len() > MAX_SUPERSEDED {
            statement.supersedes.clear();
        }
    }
}

/// Whether a text that was made of others has a figure that none of them has.
pub(super) fn has_made_up_figure(text: &str, sources: &[String]) -> bool {
    Said::literally(sources.iter().map(String::as_str)).made_up(text).is_some()
}

/// Whether two texts have the same digits: a number that changed is no repetition.
fn same_figures(one: &str, other: &str) -> bool {
    let digits = |text: &str| -> HashSet<String> {
        let runs = text.split(|c: char| !c.is_ascii_digit()).filter(|run| !run.is_empty());
        runs.map(str::to_owned).collect()
    };
    digits(one).is_subset(&digits(other))
}

/// The characters that are words or parts of words by themselves.
fn characters(text: &str) -> impl Iterator<Item = char> {
    text.chars().filter(|c| {
        let cjk = matches!(
            Script::of(c.encode_utf8(&mut [0; 4])),
            Some(Script::Chinese | Script::Japanese | Script::Korean)
        );
        cjk && !COMMON_HAN.contains(*c)
    })
}

/// The beginnings of the words in alphabets, and numbers; common words where there are no others.
fn stems(text: &str) -> impl Iterator<Item = String> {
    let terms = terms::counted(text).into_iter().map(|(term, _)| term);
    terms
        // No stop word of recall, and yet in every second sentence.
        .filter(|term| term != "am")
        .filter(|term| term.is_ascii() || Script::of(term) == Some(Script::Latin))
        .map(|term| term.chars().take(STEM_CHARS).collect())
}
