//! Which memories fit a question best: by their words, Okapi BM25 over the owner's own memories, and
//! by their meaning, the cosine of their vectors; with what was superseded behind what holds.
//!
//! Candidates are what either of the two finds. Both are brought to the range from 0 to 1 among the
//! owner's memories and added up; the more of the question's words the best match by words has, the
//! more words count: a name or a number is found by them, a paraphrase by its meaning.

use std::cmp::Ordering;
use std::collections::HashMap;

use crate::store::Evidence;

/// How soon another occurrence of a term adds little.
const K1: f64 = 1.2;
/// How much a long memory is held against it.
const B: f64 = 0.75;
/// What words count at least beside meaning, and at most.
const WORDS_LEAST: f64 = 0.2;
const WORDS_MOST: f64 = 0.85;
/// What a turn of a conversation has from the one before it and the one after it, and from those
/// next to them: an answer seldom repeats the words of its question.
const NEAR_BY_WORDS: f64 = 0.3;
const FAR_BY_WORDS: f64 = 0.15;
const NEAR_BY_MEANING: f64 = 0.15;
const FAR_BY_MEANING: f64 = 0.075;
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
    let rarity = rarity(evidence, weights);
    let mut words = bm25(evidence, &rarity);
    let best = words.values().copied().fold(0.0, f64::max);
    let share = words_share(best, &rarity, evidence.similar.is_empty());
    spread(&mut words, &evidence.turns, NEAR_BY_WORDS, FAR_BY_WORDS, false);
    to_unit(&mut words, 0.0);
    let mut scores = HashMap::new();
    if !evidence.similar.is_empty() {
        let similar = evidence.similar.iter().map(|(key, cosine)| (*key, f64::from(*cosine)));
        let mut meaning: HashMap<i64, f64> = similar.collect();
        let least = meaning.values().copied().fold(f64::INFINITY, f64::min);
        to_unit(&mut meaning, least);
        spread(&mut meaning, &evidence.turns, NEAR_BY_MEANING, FAR_BY_MEANING, true);
        to_unit(&mut meaning, 0.0);
        scores = meaning;
        scores.values_mut().for_each(|score| *score *= 1.0 - share);
    }
    for (key, score) in words {
        *scores.entry(key).or_default() += share * score;
    }
    // Who asks about what was is told what is: "where do I live" finds "I moved to Shanghai" by the
    // address before. The oldest first, so that it goes on along the way.
    for (old, new) in &evidence.replaced {
        if let Some(&score) = scores.get(old) {
            let heir = scores.entry(*new).or_default();
            *heir = heir.max(score);
        }
    }
    let ranked = scores.into_iter().filter(|(_, score)| *score > 0.0).map(|(key, score)| {
        let holds = if evidence.demoted.contains(&key) { DEMOTED } else { 1.0 };
        Ranked { key, score: score * holds }
    });
    ranked.collect()
}

/// What words count beside meaning: how much of the question's words the best match has.
fn words_share(best: f64, rarity: &[f64], words_alone: bool) -> f64 {
    if words_alone {
        return 1.0;
    }
    let whole: f64 = rarity.iter().sum();
    let covered = if whole > 0.0 { best / whole } else { 0.0 };
    (WORDS_LEAST + (1.0 - WORDS_LEAST) * covered).min(WORDS_MOST)
}

/// Brings scores to the range from 0 to 1.
fn to_unit(scores: &mut HashMap<i64, f64>, least: f64) {
    let most = scores.values().copied().fold(least, f64::max);
    if most > least {
        scores.values_mut().for_each(|score| *score = (*score - least) / (most - least));
    }
}

/// Lets turns of a conversation have something of what the turns around them have. With `known_only`
/// none gets a score that had none.
fn spread(
    scores: &mut HashMap<i64, f64>,
    turns: &[(i64, i64)],
    near: f64,
    far: f64,
    known_only: bool,
) {
    if turns.is_empty() || scores.is_empty() {
        return;
    }
    let before: HashMap<i64, i64> = turns.iter().copied().collect();
    let mut added: HashMap<i64, f64> = HashMap::new();
    for (turn, first) in turns {
        let pairs = [Some((*first, near)), before.get(first).map(|second| (*second, far))];
        for (other, weight) in pairs.into_iter().flatten() {
            for (from, to) in [(*turn, other), (other, *turn)] {
                if let Some(score) = scores.get(&from).filter(|score| **score > 0.0) {
                    *added.entry(to).or_default() += weight * score;
                }
            }
        }
    }
    for (key, more) in added {
        match scores.get_mut(&key) {
            Some(score) => *score += more,
            None if known_only => {}
            None => {
                scores.insert(key, more);
            }
        }
    }
}

/// How rare each term of the question is among the owner's memories, times what it weighs.
fn rarity(evidence: &Evidence, weights: &[f64]) -> Vec<f64> {
    let memories = evidence.memories.max(1) as f64;
    let rarity = |(holders, weight): (&u64, &f64)| {
        let holding = *holders as f64;
        weight * (1.0 + ((memories - holding).max(0.0) + 0.5) / (holding + 0.5)).ln()
    };
    evidence.holders.iter().zip(weights).map(rarity).collect()
}

/// The score of every memory in which a term of the question occurs.
fn bm25(evidence: &Evidence, rarity: &[f64]) -> HashMap<i64, f64> {
    let memories = evidence.memories.max(1) as f64;
    let mean_length = (evidence.terms as f64 / memories).max(1.0);
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
        let found = evidence(2, 8, vec![posting(0, 7, 1, 4)]);
        let scores = bm25(&found, &rarity(&found, EVEN));
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
    fn what_took_its_place_is_found_by_what_was_said_before() {
        let mut found = evidence(10, 60, vec![posting(0, 1, 2, 4), posting(1, 5, 1, 40)]);
        found.demoted.extend([1, 2]);
        found.replaced.extend([(1, 2), (2, 3)]);
        let ranked = best(&[found], EVEN, 9);
        assert_eq!(ranked[0].key, 3, "{ranked:?}");
        assert_eq!(ranked.iter().filter(|it| [1, 2].contains(&it.key)).count(), 2);
    }

    #[test]
    fn owners_are_measured_by_their_own() {
        let one = evidence(1_000, 9_000, vec![posting(0, 1, 1, 9)]);
        let other = evidence(2, 18, vec![posting(0, 2, 1, 9)]);
        let both = best(&[one, other], EVEN, 2);
        assert_eq!((both[0].score, both[1].score), (1.0, 1.0));
    }

    #[test]
    fn what_either_finds_is_a_candidate() {
        let mut found = evidence(4, 40, vec![posting(0, 1, 1, 10)]);
        found.similar = vec![(1, 0.1), (2, 0.9), (3, 0.2)];
        let ranked = best(&[found.clone()], EVEN, 10);
        assert_eq!(ranked.len(), 3, "{ranked:?}");
        // By its words alone it is first, for it has all of them.
        assert_eq!(keys(&ranked)[0], 1);
        // A memory that has no vector yet is found by its words all the same.
        found.similar.remove(0);
        assert_eq!(keys(&best(&[found], EVEN, 10))[0], 1);
    }

    #[test]
    fn a_question_with_few_words_in_common_goes_by_meaning() {
        // One of many terms occurs.
        let mut found = evidence(100, 1_000, vec![posting(0, 1, 1, 10)]);
        found.holders.extend([0; 30]);
        found.similar = vec![(1, 0.2), (2, 0.9)];
        assert_eq!(keys(&best(&[found], &[1.0; 31], 1)), [2]);
    }

    #[test]
    fn an_answer_is_found_by_its_question() {
        // 2 follows 1, in which the word is; 3 has nothing to do with it.
        let mut found = evidence(5, 50, vec![posting(0, 1, 1, 10)]);
        assert_eq!(keys(&best(&[found.clone()], EVEN, 5)), [1]);
        found.turns = vec![(2, 1)];
        let ranked = best(&[found], EVEN, 5);
        assert_eq!(keys(&ranked), [1, 2]);
        assert!(ranked[1].score < 0.5);
    }
}
