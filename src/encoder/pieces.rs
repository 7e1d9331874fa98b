//! A text in pieces of the vocabulary: the likeliest way to cut it (Kudo 2018, "Subword
//! Regularization", the unigram model).

use std::fs::File;

use fst::Map;
use fst::raw::{Fst, Output};

use super::charsmap::Charsmap;
use super::file::Header;

/// What is no piece.
const UNKNOWN: u32 = 0;
/// Before and behind every text.
const BEGIN: u32 = 1;
const END: u32 = 2;
/// How much less likely than the unlikeliest piece a character is that is none.
const UNKNOWN_PENALTY: f32 = 10.0;

/// The vocabulary, with how likely each piece is.
pub(super) struct Pieces {
    charsmap: Charsmap,
    numbers: Fst<Vec<u8>>,
    scores: Vec<f32>,
    unknown: f32,
}

impl std::fmt::Debug for Pieces {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pieces").field("pieces", &self.scores.len()).finish_non_exhaustive()
    }
}

impl Pieces {
    pub(super) fn read(file: &File, header: &Header) -> Result<Self, String> {
        let charsmap = Charsmap::new(&header.bytes(file, "charsmap")?)?;
        let numbers = Map::new(header.bytes(file, "vocabulary")?)
            .map_err(|error| format!("vocabulary: {error}"))?;
        let scores = header.numbers(file, "scores", numbers.len())?;
        let least = scores.iter().copied().fold(f32::INFINITY, f32::min);
        Ok(Self { charsmap, numbers: numbers.into_fst(), scores, unknown: least - UNKNOWN_PENALTY })
    }

    /// The pieces of a text, between a beginning and an end.
    pub(super) fn ids(&self, text: &str) -> Vec<u32> {
        let normal = self.charsmap.normalize(text);
        let mut ids = vec![BEGIN];
        if normal.is_empty() {
            ids.push(UNKNOWN);
        } else {
            self.cut(&normal, &mut ids);
        }
        ids.push(END);
        ids
    }

    /// The best cut, from left to right: of the ways to each place the likeliest, of equals the one
    /// whose last piece begins first.
    fn cut(&self, text: &str, ids: &mut Vec<u32>) {
        let bytes = text.as_bytes();
        let mut best = vec![f32::MIN; bytes.len() + 1];
        let mut came_from = vec![(0_u32, 0_u32); bytes.len() + 1];
        best[0] = 0.0;
        for (at, character) in text.char_indices() {
            let base = best[at];
            let next = at + character.len_utf8();
            let mut is_piece = false;
            self.each_prefix(&bytes[at..], |length, id| {
                let score = base + self.scores[id as usize];
                if score > best[at + length] {
                    best[at + length] = score;
                    came_from[at + length] = (at as u32, id);
                }
                is_piece |= at + length == next;
            });
            if !is_piece && base + self.unknown > best[next] {
                best[next] = base + self.unknown;
                came_from[next] = (at as u32, UNKNOWN);
            }
        }
        let first = ids.len();
        let mut at = bytes.len();
        while at > 0 {
            let (before, id) = came_from[at];
            ids.push(id);
            at = before as usize;
        }
        ids[first..].reverse();
    }

    /// Every piece that `text` begins with, the shortest first.
    fn each_prefix(&self, text: &[u8], mut each: impl FnMut(usize, u32)) {
        let mut node = self.numbers.root();
        let mut number = Output::zero();
        for (index, byte) in text.iter().enumerate() {
            let Some(found) = node.find_input(*byte) else { return };
            let step = node.transition(found);
            number = number.cat(step.out);
            node = self.numbers.node(step.addr);
            if node.is_final() {
                each(index + 1, number.cat(node.final_output()).value() as u32);
            }
        }
    }
}
