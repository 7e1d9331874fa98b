//! Which memories fit a question best: by their words, Okapi BM25 over the owner's own memories, and
//! by their meaning, the cosine of their vectors; with what was superseded behind what holds.
//!
//! Candidates are what either of the two finds. Both are brought to the range from 0 to 1 among the
//! owner's memories and added up; the more of the question's words the best match by words has, the
//! more words count: a name or a number is found by them, a paraphrase by its meaning.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::sync::Arc;

use super::question::Question;
use crate::store::{Evidence, Posting};

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

/// What the oldest memory loses of its score: of two that fit alike the newer one comes first.
const AGED: f64 = 0.02;

/// What a memory keeps of its score when the question names people and none of them speaks in it.
const OTHERS: f64 = 0.87;

/// The nearness in meaning of a memory that has no vector yet: the greatest and the least of several
/// pass it over, and whatever is added to it, it stays.
const UNKNOWN: f64 = f64::NAN;

/// The best memories of all owners, best first; of equals the newer one first.
///
/// Of each the key, and how well it fits, from 0 to 1: a score compares the memories of one owner for
/// one question.
pub fn best(evidence: &[Evidence], asked: &Question, limit: usize) -> Vec<(i64, f64)> {
    let mut ranked: Vec<(i64, f64)> = evidence.iter().flat_map(|it| of_owner(it, asked)).collect();
    let order = |(one, score): &(i64, f64), (other, others): &(i64, f64)| -> Ordering {
        others.total_cmp(score).then_with(|| other.cmp(one))
    };
    if ranked.len() > limit && limit > 0 {
        ranked.select_nth_unstable_by(limit - 1, order);
    }
    ranked.truncate(limit);
    ranked.sort_unstable_by(order);
    ranked
}

fn of_owner(evidence: &Evidence, asked: &Question) -> Vec<(i64, f64)> {
    let rarity = rarity(evidence, asked.weights());
    let mut words = bm25(evidence, &rarity);
    leave_out(&mut words, evidence);
    let best = words.iter().copied().fold(0.0, f64::max);
    let share = words_share(best, &rarity, evidence.similar.is_empty());
    spread(&mut words, &evidence.turns, NEAR_BY_WORDS, FAR_BY_WORDS);
    leave_out(&mut words, evidence);
    to_unit(&mut words, 0.0);
    let mut scores = words;
    if !evidence.similar.is_empty() {
        let mut meaning = vec![UNKNOWN; evidence.keys.len()];
        for (memory, cosine) in &evidence.similar {
            meaning[*memory as usize] = f64::from(*cosine);
        }
        let least = meaning.iter().copied().fold(f64::INFINITY, f64::min);
        to_unit(&mut meaning, least);
        spread(&mut meaning, &evidence.turns, NEAR_BY_MEANING, FAR_BY_MEANING);
        to_unit(&mut meaning, 0.0);
        for (score, meaning) in scores.iter_mut().zip(meaning) {
            let meaning = if meaning.is_nan() { 0.0 } else { meaning };
            *score = share * *score + (1.0 - share) * meaning;
        }
    }
    // Who asks about what was is told what is: "where do I live" finds "I moved to Shanghai" by the
    // address before. The oldest first, so that it goes on along the way.
    for (old, new) in &evidence.replaced {
        scores[*new as usize] = scores[*new as usize].max(scores[*old as usize]);
    }
    prefer_named(&mut scores, evidence, asked.terms());
    for memory in &evidence.demoted {
        scores[*memory as usize] *= DEMOTED;
    }
    let last = scores.len().saturating_sub(1).max(1) as f64;
    for (place, score) in scores.iter_mut().enumerate() {
        *score *= 1.0 - AGED * (1.0 - place as f64 / last);
    }
    evidence.keys.iter().copied().zip(scores).filter(|(_, score)| *score > 0.0).collect()
}

/// Who asks what Anna thinks means what Anna said rather than what was said to her.
fn prefer_named(scores: &mut [f64], evidence: &Evidence, asked: &[String]) {
    if evidence.names.is_empty() {
        return;
    }
    let asked: HashSet<&str> = asked.iter().map(String::as_str).collect();
    let is_named = |name: &String| name.split(' ').all(|term| asked.contains(term));
    let named: Vec<bool> = evidence.names.iter().map(is_named).collect();
    if !named.contains(&true) {
        return;
    }
    let mut said = vec![false; scores.len()];
    for (memory, name) in &*evidence.speakers {
        said[*memory as usize] = named[*name as usize];
    }
    for (score, said) in scores.iter_mut().zip(said) {
        *score *= if said { 1.0 } else { OTHERS };
    }
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

/// What is not selected has no say in what is.
fn leave_out(scores: &mut [f64], evidence: &Evidence) {
    if let Some(selected) = &evidence.selected {
        scores.iter_mut().zip(selected).filter(|(_, is)| !**is).for_each(|(score, _)| *score = 0.0);
    }
}

/// Brings scores to the range from 0 to 1.
fn to_unit(scores: &mut [f64], least: f64) {
    let most = scores.iter().copied().fold(least, f64::max);
    if most > least {
        scores.iter_mut().for_each(|score| *score = (*score - least) / (most - least));
    }
}

/// Lets turns of a conversation have something of what the turns around them have. What is
/// [`UNKNOWN`] stays so.
fn spread(scores: &mut [f64], turns: &[(u32, u32)], near: f64, far: f64) {
    if turns.is_empty() {
        return;
    }
    let mut before = vec![None; scores.len()];
    for (turn, first) in turns {
        before[*turn as usize] = Some(*first);
    }
    let had = scores.to_vec();
    for (turn, first) in turns {
        let pairs = [Some((*first, near)), before[*first as usize].map(|second| (second, far))];
        for (other, weight) in pairs.into_iter().flatten() {
            for (from, to) in [(*turn, other), (other, *turn)] {
                if had[from as usize] > 0.0 {
                    scores[to as usize] += weight * had[from as usize];
                }
            }
        }
    }
}

/// How rare each term of the question is among the owner's memories, times what it weighs.
fn rarity(evidence: &Evidence, weights: &[f64]) -> Vec<f64> {
    let memories = evidence.keys.len().max(1) as f64;
    let rarity = |(postings, weight): (&Arc<Vec<Posting>>, &f64)| {
        let holding = postings.len() as f64;
        weight * (1.0 + ((memories - holding).max(0.0) + 0.5) / (holding + 0.5)).ln()
    };
    evidence.postings.iter().zip(weights).map(rarity).collect()
}

/// The score of every memory by the terms of the question that occur in it.
fn bm25(evidence: &Evidence, rarity: &[f64]) -> Vec<f64> {
    let memories = evidence.keys.len().max(1) as f64;
    let mean_length = (evidence.terms as f64 / memories).max(1.0);
    let mut scores = vec![0.0; evidence.keys.len()];
    for (postings, rarity) in evidence.postings.iter().zip(rarity) {
        for posting in &**postings {
            let frequency = f64::from(posting.frequency);
            let length = 1.0 - B + B * f64::from(posting.length) / mean_length;
            scores[posting.memory as usize] +=
                rarity * frequency * (K1 + 1.0) / (frequency + K1 * length);
        }
    }
    scores
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Posting;

    /// Of `memories` whose keys are their places; of each posting the term, the memory, how often the
    /// term occurs in it, and how many terms it has.
    fn evidence(memories: i64, terms: u64, postings: &[(usize, u32, u32, u32)]) -> Evidence {
        let most = postings.iter().map(|it| it.0 + 1).max().unwrap_or(0);
        let of = |term| {
            let postings = postings.iter().filter(|it| it.0 == term);
            postings
                .map(|&(_, memory, frequency, length)| Posting { memory, frequency, length })
                .collect::<Vec<_>>()
        };
        Evidence {
            keys: Arc::new((0..memories).collect()),
            terms,
            postings: (0..most).map(|term| Arc::new(of(term))).collect(),
            ..Evidence::default()
        }
    }

    fn even() -> Question {
        Question::of_terms(&[], &[1.0, 1.0])
    }

    fn keys(ranked: &[(i64, f64)]) -> Vec<i64> {
        ranked.iter().map(|it| it.0).collect()
    }

    #[test]
    fn a_rare_term_outweighs_a_common_one() {
        let postings = [(0, 0, 1, 5), (0, 1, 1, 5), (0, 2, 1, 5), (1, 3, 1, 5)];
        assert_eq!(keys(&best(&[evidence(4, 20, &postings)], &even(), 10)), [3, 2, 1, 0]);
    }

    #[test]
    fn a_known_value() {
        // ln(1 + (2 - 1 + 0.5) / (1 + 0.5)) * 1 * 2.2 / (1 + 1.2) = ln 2
        let found = evidence(2, 8, &[(0, 1, 1, 4)]);
        let scores = bm25(&found, &rarity(&found, even().weights()));
        assert!((scores[1] - std::f64::consts::LN_2).abs() < 1e-12);
    }

    #[test]
    fn only_as_many_as_asked() {
        let postings: Vec<_> = (0..100).map(|memory| (0, memory, 1 + memory % 7, 9)).collect();
        let all = [evidence(100, 900, &postings)];
        let three = best(&all, &even(), 3);
        assert_eq!(three, best(&all, &even(), 100)[..3]);
        assert!(three[0].1 > 1.0 - AGED && three[0].1 <= 1.0);
        assert!(best(&all, &even(), 0).is_empty());
    }

    #[test]
    fn what_holds_comes_before_what_it_took_the_place_of() {
        let mut found = evidence(10, 60, &[(0, 1, 2, 4), (0, 2, 1, 6), (0, 3, 1, 40)]);
        assert_eq!(keys(&best(&[found.clone()], &even(), 3)), [1, 2, 3]);
        found.demoted.push(1);
        assert_eq!(keys(&best(&[found], &even(), 3)), [2, 1, 3]);
    }

    #[test]
    fn what_took_its_place_is_found_by_what_was_said_before() {
        let mut found = evidence(10, 60, &[(0, 1, 2, 4), (1, 5, 1, 40)]);
        found.demoted.extend([1, 2]);
        found.replaced.extend([(1, 2), (2, 3)]);
        let ranked = best(&[found], &even(), 9);
        assert_eq!(ranked[0].0, 3, "{ranked:?}");
        assert_eq!(ranked.iter().filter(|it| [1, 2].contains(&it.0)).count(), 2);
    }

    #[test]
    fn owners_are_measured_by_their_own() {
        let one = evidence(1_000, 9_000, &[(0, 1, 1, 9)]);
        let other = evidence(2, 18, &[(0, 1, 1, 9)]);
        let both = best(&[one, other], &even(), 2);
        assert!(both.iter().all(|(_, score)| *score >= 1.0 - AGED), "{both:?}");
    }

    #[test]
    fn what_either_finds_is_a_candidate() {
        let mut found = evidence(4, 40, &[(0, 1, 1, 10)]);
        found.similar = vec![(1, 0.1), (2, 0.9), (3, 0.2)];
        let ranked = best(&[found.clone()], &even(), 10);
        assert_eq!(ranked.len(), 3, "{ranked:?}");
        // By its words alone it is first, for it has all of them.
        assert_eq!(keys(&ranked)[0], 1);
        // A memory that has no vector yet is found by its words all the same.
        found.similar.remove(0);
        assert_eq!(keys(&best(&[found], &even(), 10))[0], 1);
    }

    #[test]
    fn a_question_with_few_words_in_common_goes_by_meaning() {
        // One of many terms occurs.
        let mut found = evidence(100, 1_000, &[(0, 1, 1, 10)]);
        found.postings.resize(31, Arc::default());
        found.similar = vec![(1, 0.2), (2, 0.9)];
        assert_eq!(keys(&best(&[found], &Question::of_terms(&[], &[1.0; 31]), 1)), [2]);
    }

    #[test]
    fn an_answer_is_found_by_its_question() {
        // 2 follows 1, in which the word is; 3 has nothing to do with it.
        let mut found = evidence(5, 50, &[(0, 1, 1, 10)]);
        assert_eq!(keys(&best(&[found.clone()], &even(), 5)), [1]);
        found.turns = Arc::new(vec![(2, 1)]);
        let ranked = best(&[found], &even(), 5);
        assert_eq!(keys(&ranked), [1, 2]);
        assert!(ranked[1].1 < 0.5);
    }

    #[test]
    fn what_somebody_named_said_comes_before_what_was_said_to_them() {
        let mut found = evidence(3, 30, &[(0, 0, 1, 10), (0, 1, 1, 10)]);
        assert_eq!(keys(&best(&[found.clone()], &even(), 5)), [1, 0]);
        found.names = Arc::new(vec!["bob".into(), "anna li".into()]);
        found.speakers = Arc::new(vec![(0, 1), (1, 0)]);
        let named = |terms: &[&str]| {
            keys(&best(&[found.clone()], &Question::of_terms(terms, &[1.0, 1.0]), 5))
        };
        assert_eq!(named(&["anna", "li"]), [0, 1]);
        assert_eq!(named(&["anna", "bob"]), [1, 0]);
        assert_eq!(named(&["anna"]), [1, 0]);
    }

    #[test]
    fn of_what_fits_alike_the_newer_comes_first() {
        let found = evidence(9, 90, &[(0, 2, 1, 10), (0, 7, 1, 10), (1, 4, 1, 10)]);
        assert_eq!(keys(&best(&[found], &even(), 5)), [4, 7, 2]);
    }

    #[test]
    fn what_is_not_selected_changes_nothing() {
        // 1 has both words, and 2 came after it; neither is asked for.
        let mut found = evidence(5, 50, &[(0, 1, 3, 10), (0, 3, 1, 10), (1, 1, 1, 10)]);
        found.turns = Arc::new(vec![(2, 1), (3, 2)]);
        found.similar = vec![(3, 0.2), (4, 0.1)];
        found.selected = Some(vec![true, false, false, true, true]);
        let ranked = best(&[found], &even(), 5);
        assert_eq!(keys(&ranked), [3], "{ranked:?}");
        assert!(ranked[0].1 > 0.9, "{ranked:?}");
    }
}
