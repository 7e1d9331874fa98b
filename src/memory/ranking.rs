//! Which memories fit a question best: Okapi BM25 over the person's own memories.

use std::cmp::Ordering;
use std::collections::HashMap;

use crate::store::LexicalStatistics;

/// How soon another occurrence of a term adds little.
const K1: f64 = 1.2;
/// How much a long memory is held against it.
const B: f64 = 0.75;

/// The best memories with their scores, best first; of equals the newer one first.
pub fn bm25(statistics: &LexicalStatistics, limit: usize) -> Vec<(i64, f64)> {
    let memories = statistics.memories.max(1) as f64;
    let mean_length = (statistics.terms as f64 / memories).max(1.0);
    let mut holders: HashMap<usize, f64> = HashMap::new();
    for posting in &statistics.postings {
        *holders.entry(posting.term).or_default() += 1.0;
    }
    let mut scores: HashMap<i64, f64> = HashMap::new();
    for posting in &statistics.postings {
        let holding = holders[&posting.term];
        // A scope narrower than the person has fewer memories than the sum says: never below 0.
        let rarity = (1.0 + ((memories - holding).max(0.0) + 0.5) / (holding + 0.5)).ln();
        let frequency = f64::from(posting.frequency);
        let length = 1.0 - B + B * f64::from(posting.length) / mean_length;
        *scores.entry(posting.memory).or_default() +=
            rarity * frequency * (K1 + 1.0) / (frequency + K1 * length);
    }
    let mut ranked: Vec<(i64, f64)> = scores.into_iter().collect();
    let order = |a: &(i64, f64), b: &(i64, f64)| -> Ordering {
        b.1.total_cmp(&a.1).then_with(|| b.0.cmp(&a.0))
    };
    if ranked.len() > limit && limit > 0 {
        ranked.select_nth_unstable_by(limit - 1, order);
    }
    ranked.truncate(limit);
    ranked.sort_unstable_by(order);
    ranked
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Posting;

    fn posting(term: usize, memory: i64, frequency: u32, length: u32) -> Posting {
        Posting { term, memory, frequency, length }
    }

    #[test]
    fn a_rare_term_outweighs_a_common_one() {
        let statistics = LexicalStatistics {
            memories: 4,
            terms: 20,
            postings: vec![
                posting(0, 1, 1, 5),
                posting(0, 2, 1, 5),
                posting(0, 3, 1, 5),
                posting(1, 4, 1, 5),
            ],
        };
        let ranked = bm25(&statistics, 10);
        assert_eq!(ranked.iter().map(|r| r.0).collect::<Vec<_>>(), [4, 3, 2, 1]);
    }

    #[test]
    fn a_known_value() {
        // ln(1 + (2 - 1 + 0.5) / (1 + 0.5)) * 1 * 2.2 / (1 + 1.2) = ln 2
        let statistics =
            LexicalStatistics { memories: 2, terms: 8, postings: vec![posting(0, 7, 1, 4)] };
        let ranked = bm25(&statistics, 1);
        assert!((ranked[0].1 - std::f64::consts::LN_2).abs() < 1e-12);
    }

    #[test]
    fn only_as_many_as_asked() {
        let postings = (0..100).map(|m| posting(0, m, 1 + m as u32 % 7, 9)).collect();
        let statistics = LexicalStatistics { memories: 100, terms: 900, postings };
        let three = bm25(&statistics, 3);
        assert_eq!(three, bm25(&statistics, 100)[..3]);
        assert!(bm25(&statistics, 0).is_empty());
    }
}
