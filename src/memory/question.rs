//! A question as recall sees it: the terms it is asked by, what each weighs, and its point.

use std::collections::HashSet;

use super::MAX_STATEMENT_CHARS;
use super::terms;

/// What a character weighs beside a pair.
const SINGLE: f64 = 0.5;
/// What a term of the point weighs beside the others.
const TO_THE_POINT: f64 = 1.5;

/// A question.
#[derive(Debug, Default)]
pub struct Question {
    text: String,
    terms: Vec<String>,
    weights: Vec<f64>,
}

impl Question {
    /// A question of this text. A document pasted as a question is cut: it must not keep others
    /// waiting for theirs.
    pub fn new(text: &str) -> Self {
        let text: String = text.chars().take(MAX_STATEMENT_CHARS).collect();
        let point: HashSet<String> =
            point(&text).map(terms::counted).into_iter().flatten().map(|(term, _)| term).collect();
        // What is said again and again is meant, though not as often as it is said; and a character
        // alone tells less than the pair that it is part of.
        let weight = |term: &str, count: u32| {
            let single = if terms::is_single(term) { SINGLE } else { 1.0 };
            let pointed = if point.contains(term) { TO_THE_POINT } else { 1.0 };
            f64::from(count).sqrt() * single * pointed
        };
        let weighed = terms::counted(&text).into_iter().map(|(term, count)| {
            let weight = weight(&term, count);
            (term, weight)
        });
        let (terms, weights) = weighed.unzip();
        Self { text, terms, weights }
    }

    /// What is asked.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Its terms.
    pub fn terms(&self) -> &[String] {
        &self.terms
    }

    /// What each term weighs.
    pub fn weights(&self) -> &[f64] {
        &self.weights
    }

    /// The last of several lines: a conversation, or a message that says first what it is about, asks
    /// at its end.
    pub fn point(&self) -> Option<&str> {
        point(&self.text)
    }

    #[cfg(test)]
    pub(super) fn of_terms(terms: &[&str], weights: &[f64]) -> Self {
        let terms = terms.iter().map(|term| (*term).to_owned()).collect();
        Self { text: String::new(), terms, weights: weights.to_vec() }
    }
}

fn point(text: &str) -> Option<&str> {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty()).rev();
    let last = lines.next()?;
    lines.next().map(|_| last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weight(question: &str, term: &str) -> f64 {
        let question = Question::new(question);
        let at = question.terms().iter().position(|it| it == term).unwrap();
        question.weights()[at]
    }

    #[test]
    fn a_question_weighs_its_terms() {
        let asked = "tea tea tea tea 茶叶";
        assert_eq!(
            (weight(asked, "tea"), weight(asked, "茶叶"), weight(asked, "叶")),
            (2.0, 1.0, SINGLE)
        );
        assert_eq!(weight("茶", "茶"), SINGLE);
    }

    #[test]
    fn the_last_of_several_lines_is_the_point() {
        let asked = "It rains.\nShall we go to the museum?\n\n";
        assert_eq!(Question::new(asked).point(), Some("Shall we go to the museum?"));
        assert_eq!(weight(asked, "museum"), TO_THE_POINT);
        assert_eq!(weight(asked, "rain"), 1.0);
        for single in ["Shall we go?", "\n Shall we go? \n", ""] {
            assert_eq!(Question::new(single).point(), None, "{single:?}");
        }
    }

    #[test]
    fn a_document_is_cut() {
        let asked = Question::new(&format!("tea {}rice", "x ".repeat(MAX_STATEMENT_CHARS)));
        assert!(!asked.terms().iter().any(|term| term == "rice"));
        assert_eq!(asked.text().chars().count(), MAX_STATEMENT_CHARS);
    }
}
