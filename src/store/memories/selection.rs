//! Which memories a read or a removal is about, and what is known of how they fit a question.

use std::collections::HashSet;

use jiff::civil::Date;

use super::{Filter, ModelId, Scope};

/// Which memories.
#[derive(Debug, Clone, PartialEq)]
pub struct Selection {
    /// Those of any of these scopes. [`Scope::is_everything`] is everybody's.
    pub scopes: Vec<Scope>,
    /// Only those that meet it.
    pub filter: Option<Filter>,
    /// Only those that hold on this day or have no last day.
    pub alive_on: Option<Date>,
    /// Only those that were not superseded.
    pub current_only: bool,
}

impl Selection {
    /// All of a scope.
    pub fn of(scope: &Scope) -> Self {
        Self { scopes: vec![scope.clone()], filter: None, alive_on: None, current_only: false }
    }
}

/// A part of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// How many are passed over.
    pub offset: usize,
    /// How many at most.
    pub limit: usize,
}

impl Part {
    /// The first so many.
    pub fn first(limit: usize) -> Self {
        Self { offset: 0, limit }
    }
}

/// A question, as the store sees it.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    /// Its terms.
    pub terms: Vec<String>,
    /// What it means, by a model.
    pub vector: Option<(ModelId, Vec<f32>)>,
}

/// One term in one memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Posting {
    /// Index of the term in the question.
    pub term: usize,
    /// The memory, by a key that is good until it is forgotten.
    pub memory: i64,
    /// How often the term occurs in it.
    pub frequency: u32,
    /// How many terms the memory has.
    pub length: u32,
}

/// What is known of an owner's memories about a question.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Evidence {
    /// How many memories the owner has.
    pub memories: u64,
    /// How many terms they have together.
    pub terms: u64,
    /// In how many of them each term of the question occurs.
    pub holders: Vec<u64>,
    /// Where the terms of the question occur, among the memories selected.
    pub postings: Vec<Posting>,
    /// How near each of the memories selected is in meaning, as a cosine, in the order of their
    /// keys; those that have no vector yet are not there.
    pub similar: Vec<(i64, f32)>,
    /// Turns of a conversation, each with the one that it followed.
    pub turns: Vec<(i64, i64)>,
    /// Memories that were superseded, each with what took its place; in the order in which they
    /// came.
    pub replaced: Vec<(i64, i64)>,
    /// Those of the memories selected that were superseded, or judged badly.
    pub demoted: HashSet<i64>,
}
