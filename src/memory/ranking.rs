//! Which memories fit a question best: Okapi BM25 over the owner's own memories, with what was
//! superseded behind what holds.

use std::cmp::Ordering;
use std::collections::HashMap;

use crate::store::Evidence;

/// How soon another occurrence of a term adds little.
const K1: f64 = 1.2;
/// How much a long memory is held against it.
const B: f64 = 0.75;
/// What a memory that was superseded, or judged badly, keeps of its score: behind what took its
/// place, which says nearly the same words, yet before what has nothing to do with the question.
const DEMOTED: f64 = 0.5;

/// A memory that fits, by its key in the store.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ranked {
    /// The memory.
    pub key: i64,
    /// How well it fits, from 0 to 1. It compares the memories of one owner for one question: the
    /// best of them has 1.
    pub score: f64,
}

/// The best memories of all owners, best first; of equals the newer one first. `weights` are those
/// of the question's terms.
pub fn best(evidence: &[Evidence], weights: &[f64], limit: usize) -> Vec<Ranked> {
    let of_owner = |it| of_owner(it, weights);
    let mut ranked: Vec<Ranked> = evidence.iter().flat_map(of_owner).collect();
    let order = |a: &Ranked, b: &Ranked| -> Ordering {
        b.score.total_cmp(&a.score).then_with(|| b.key.cmp(&a.key))
    };
    if ranked.len() > limit && limit > 0 {
        ranked.select_nth_unstable_by(limit - 1, order);
    }
    ranked.truncate(limit);
    ranked.sort_unstable_by(order);
    ranked
}

fn of_owner(evidence: &Evidence, weights: &[f64]) -> Vec<Ranked> {
    let mut lexical = bm25(evidence, weights);
    let most = lexical.values().copied().fold(0.0, f64::max);
    if most > 0.0 {
        lexical.values_mut().for_each(|score| *score /= most);
    }
    let ranked = lexical.into_iter().map(|(key, score)| {
        let holds = if evidence.demoted.contains(&key) { DEMOTED } else { 1.0 };
        Ranked { key, score: score * holds }
    });
    ranked.collect()
}

/// The score of every memory in which a term of the question occurs.
fn bm25(evidence: &Evidence, weights: &[f64]) -> HashMap<i64, f64> {
    let memories = evidence.memories.max(1) as f64;
    let mean_length = (evidence.terms as f64 / memories).max(1.0);
    let rarity = |(holders, weight): (&u64, &f64)| {
        let holding = *holders as f64;
        weight * (1.0 + ((memories - holding).max(0.0) + 0.5) / (holding + 0.5)).ln()
    };
    let rarity: Vec<f64> = evidence.holders.iter().zip(weights).map(rarity).collect();
    let mut scores = HashMap::with_capacity(evidence.postings.len() / 2);
    for posting in &evidence.postings {
        let frequency = f64::from(posting.frequency);
        let length = 1.0 - B + B * f64::from(posting.length) / mean_length;
        *scores.entry(posting.memory).or_default() +=
            rarity[posting.term] * frequency * (K1 + 1.0) / (frequency + K1 * length);
    }
    scores
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Posting;

    fn posting(term: usize, memory: i64, frequency: u32, length: u32) -> Posting {
        Posting { term, memory, frequency, length }
    }

    fn evidence(memories: u64, terms: u64, postings: Vec<Posting>) -> Evidence {
        let most = postings.iter().map(|it| it.term + 1).max().unwrap_or(0);
        let holding = |term| postings.iter().filter(|it| it.term == term).count() as u64;
        let holders = (0..most).map(holding).collect();
        Evidence { memories, terms, holders, postings, ..Evidence::default() }
    }

    const EVEN: &[f64] = &[1.0, 1.0];

    fn keys(ranked: &[Ranked]) -> Vec<i64> {
        ranked.iter().map(|it| it.key).collect()
    }

    #[test]
    fn a_rare_term_outweighs_a_common_one() {
        let postings = vec![
            posting(0, 1, 1, 5),
            posting(0, 2, 1, 5),
            posting(0, 3, 1, 5),
            posting(1, 4, 1, 5),
        ];
        assert_eq!(keys(&best(&[evidence(4, 20, postings)], EVEN, 10)), [4, 3, 2, 1]);
    }

    #[test]
    fn a_known_value() {
        // ln(1 + (2 - 1 + 0.5) / (1 + 0.5)) * 1 * 2.2 / (1 + 1.2) = ln 2
        let scores = bm25(&evidence(2, 8, vec![posting(0, 7, 1, 4)]), EVEN);
        assert!((scores[&7] - std::f64::consts::LN_2).abs() < 1e-12);
    }

    #[test]
    fn only_as_many_as_asked() {
        let postings = (0..100).map(|m| posting(0, m, 1 + m as u32 % 7, 9)).collect();
        let all = [evidence(100, 900, postings)];
        let three = best(&all, EVEN, 3);
        assert_eq!(three, best(&all, EVEN, 100)[..3]);
        assert_eq!(three[0].score, 1.0);
        assert!(best(&all, EVEN, 0).is_empty());
    }

    #[test]
    fn what_holds_comes_before_what_it_took_the_place_of() {
        let postings = vec![posting(0, 1, 2, 4), posting(0, 2, 1, 6), posting(0, 3, 1, 40)];
        let mut found = evidence(10, 60, postings);
        assert_eq!(keys(&best(&[found.clone()], EVEN, 3)), [1, 2, 3]);
        found.demoted.insert(1);
        assert_eq!(keys(&best(&[found], EVEN, 3)), [2, 1, 3]);
    }

    #[test]
    fn owners_are_measured_by_their_own() {
        let one = evidence(1_000, 9_000, vec![posting(0, 1, 1, 9)]);
        let other = evidence(2, 18, vec![posting(0, 2, 1, 9)]);
        let both = best(&[one, other], EVEN, 2);
        assert_eq!((both[0].score, both[1].score), (1.0, 1.0));
    }
}
