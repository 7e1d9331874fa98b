//! Which memories a read or a removal is about, and what is known of how they fit a question.

use std::sync::Arc;

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

/// A term in one memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Posting {
    /// The memory, by its place in [`Evidence::keys`].
    pub memory: u32,
    /// How often the term occurs in it.
    pub frequency: u32,
    /// How many terms the memory has.
    pub length: u32,
}

/// What is known of an owner's memories about a question. Much of it is shared with whoever asks
/// next, so that nothing is copied for a question.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Evidence {
    /// The owner's memories, by keys that are good until a memory is forgotten, the oldest first.
    /// All that follows names a memory by its place here.
    pub keys: Arc<Vec<i64>>,
    /// Which of them are selected; `None`: all.
    pub selected: Option<Vec<bool>>,
    /// How many terms they have together.
    pub terms: u64,
    /// Where each term of the question occurs, among all of them, the oldest first.
    pub postings: Vec<Arc<Vec<Posting>>>,
    /// How near each of those selected is in meaning, as a cosine; those that have no vector yet are
    /// not there.
    pub similar: Vec<(u32, f32)>,
    /// Turns of a conversation, each with the one that it followed.
    pub turns: Arc<Vec<(u32, u32)>>,
    /// Memories in which somebody speaks who is named, each with the place of the name.
    pub speakers: Arc<Vec<(u32, u32)>>,
    /// The names of those who speak, as [`Words::speaker`](super::Words::speaker) has them.
    pub names: Arc<Vec<String>>,
    /// Of those selected the ones that were superseded, each with what took its place; in the order
    /// in which they came.
    pub replaced: Vec<(u32, u32)>,
    /// Of those selected the ones that were superseded, or judged badly.
    pub demoted: Vec<u32>,
}

impl Evidence {
    /// Whether the memory at a place is selected.
    pub fn is_selected(&self, memory: u32) -> bool {
        self.selected.as_ref().is_none_or(|selected| selected[memory as usize])
    }
}
