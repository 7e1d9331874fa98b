//! How near the memories of an owner are to a question in meaning: of some thousands the vectors are
//! kept beside the file and compared one by one; of more only the signs of their numbers are kept,
//! which tell the few whose vectors are read.

use std::f32::consts::PI;

use rusqlite::{Connection, OptionalExtension, params};

use super::vectors::Question;
use crate::store::ModelId;

/// Vectors that are compared one by one, at most: those of 1,024 numbers take some milliseconds.
const EXACT: usize = 20_000;
/// Vectors that are read of more than that. On 5,882 turns of conversations with the built-in model
/// 99.9 % of the ten nearest are among the 300 nearest by their signs.
const CANDIDATES: usize = 500;
/// Signs in a word.
const WORD: usize = u64::BITS as usize;

/// The vectors of an owner, in the order of their memories.
#[derive(Debug, Clone)]
pub(super) struct Vectors {
    pub(super) model: ModelId,
    /// How many numbers each has; 0 until there is one.
    length: usize,
    /// The places of the memories.
    pub(super) memories: Vec<u32>,
    numbers: Numbers,
}

#[derive(Debug, Clone)]
enum Numbers {
    /// All, beside each other, with the scale of each vector.
    All { scales: Vec<f32>, bytes: Vec<u8> },
    /// Whether each is negative.
    Signs(Vec<u64>),
}

impl Vectors {
    pub(super) fn of(model: ModelId) -> Self {
        let numbers = Numbers::All { scales: Vec::new(), bytes: Vec::new() };
        Self { model, length: 0, memories: Vec::new(), numbers }
    }

    pub(super) fn push(&mut self, memory: u32, scale: f32, numbers: &[u8]) {
        if self.memories.is_empty() {
            self.length = numbers.len();
        }
        // All vectors of a model have the same length; another one is damage.
        if numbers.len() != self.length || self.length == 0 {
            return;
        }
        if self.memories.len() == EXACT
            && let Numbers::All { bytes, .. } = &self.numbers
        {
            let vectors = bytes.chunks_exact(self.length);
            self.numbers = Numbers::Signs(vectors.flat_map(signs).collect());
        }
        self.memories.push(memory);
        match &mut self.numbers {
            Numbers::All { scales, bytes } => {
                scales.push(scale);
                bytes.extend_from_slice(numbers);
            }
            Numbers::Signs(kept) => kept.extend(signs(numbers)),
        }
    }

    pub(super) fn bytes(&self) -> usize {
        let numbers = match &self.numbers {
            Numbers::All { scales, bytes } => size_of_val(&**scales) + bytes.len(),
            Numbers::Signs(signs) => size_of_val(&**signs),
        };
        size_of_val(&*self.memories) + numbers
    }

    /// The cosine of every vector whose memory `is_selected`, with the memory's place in `keys`; of
    /// those that are not near and of which only the signs are kept, about.
    pub(super) fn compare(
        &self,
        c: &Connection,
        keys: &[i64],
        owner: i64,
        question: &Question,
        is_selected: impl Fn(u32) -> bool,
    ) -> rusqlite::Result<Vec<(u32, f32)>> {
        if question.len() != self.length {
            return Ok(Vec::new());
        }
        match &self.numbers {
            Numbers::All { scales, bytes } => {
                let vectors = scales.iter().zip(bytes.chunks_exact(self.length));
                let of =
                    self.memories.iter().zip(vectors).filter(|(memory, _)| is_selected(**memory));
                let cosine = |(memory, (scale, numbers)): (&u32, (&f32, &[u8]))| {
                    (*memory, question.cosine(*scale, numbers))
                };
                Ok(of.map(cosine).collect())
            }
            Numbers::Signs(kept) => {
                let asked: Vec<u64> = signs(&question.bytes()).collect();
                // Of the angle between two vectors as much lies between their signs.
                let cosines: Vec<f32> = (0..=self.length)
                    .map(|other| (PI * other as f32 / self.length as f32).cos())
                    .collect();
                let vectors = kept.chunks_exact(self.length.div_ceil(WORD));
                let of =
                    self.memories.iter().zip(vectors).filter(|(memory, _)| is_selected(**memory));
                let about = |(memory, signs): (&u32, &[u64])| {
                    let differ = asked.iter().zip(signs).map(|(a, b)| (a ^ b).count_ones());
                    (*memory, cosines[differ.sum::<u32>() as usize])
                };
                self.exactly(c, keys, owner, question, of.map(about).collect())
            }
        }
    }

    /// Reads the vectors of the nearest; none of the others is said to be nearer than they are.
    fn exactly(
        &self,
        c: &Connection,
        keys: &[i64],
        owner: i64,
        question: &Question,
        mut found: Vec<(u32, f32)>,
    ) -> rusqlite::Result<Vec<(u32, f32)>> {
        if found.len() > CANDIDATES {
            found.select_nth_unstable_by(CANDIDATES - 1, |one, other| other.1.total_cmp(&one.1));
        }
        let near = found.len().min(CANDIDATES);
        let (near, far) = found.split_at_mut(near);
        let mut read = c.prepare_cached(
            "SELECT scale, numbers FROM vectors WHERE owner = ?1 AND memory = ?2 AND model = ?3",
        )?;
        let mut least = f32::INFINITY;
        for (memory, cosine) in near {
            let exact = read
                .query_row(params![owner, keys[*memory as usize], self.model.0], |r| {
                    let scale: f64 = r.get(0)?;
                    Ok(question.cosine(scale as f32, r.get_ref(1)?.as_blob()?))
                })
                .optional()?;
            *cosine = exact.unwrap_or(*cosine);
            least = least.min(*cosine);
        }
        far.iter_mut().for_each(|(_, cosine)| *cosine = cosine.min(least));
        Ok(found)
    }
}

/// Which numbers are negative, a bit for each.
fn signs(numbers: &[u8]) -> impl Iterator<Item = u64> {
    numbers
        .chunks(WORD)
        .map(|word| word.iter().rev().fold(0, |signs, number| signs << 1 | u64::from(number >> 7)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many vectors of 96 numbers, in a table and as they are kept.
    fn filled(count: u32) -> (Connection, Vectors, Vec<i64>) {
        let c = Connection::open_in_memory().unwrap();
        c.execute_batch("CREATE TABLE vectors (owner, memory, model, scale, numbers)").unwrap();
        c.execute_batch("CREATE INDEX by_memory ON vectors (memory)").unwrap();
        let mut vectors = Vectors::of(ModelId(1));
        let keys: Vec<i64> = (0..i64::from(count)).map(|place| place * 3).collect();
        let mut insert = c.prepare("INSERT INTO vectors VALUES (7, ?1, 1, ?2, ?3)").unwrap();
        let mut seed = 1_u64;
        for place in 0..count {
            let numbers: Vec<u8> = std::iter::repeat_with(|| {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (seed >> 56) as u8
            })
            .take(96)
            .collect();
            let square = |number: &u8| f64::from(number.cast_signed()).powi(2);
            let scale = 1.0 / numbers.iter().map(square).sum::<f64>().sqrt();
            insert.execute(params![keys[place as usize], scale, numbers]).unwrap();
            vectors.push(place, scale as f32, &numbers);
        }
        drop(insert);
        (c, vectors, keys)
    }

    fn asked(c: &Connection, key: i64) -> Question {
        let found =
            c.query_row("SELECT scale, numbers FROM vectors WHERE memory = ?1", [key], |r| {
                let scale: f64 = r.get(0)?;
                let numbers: Vec<u8> = r.get(1)?;
                Ok(numbers
                    .into_iter()
                    .map(|it| f32::from(it.cast_signed()) * scale as f32)
                    .collect())
            });
        Question::new(&found.unwrap_or_else(|error| -> Vec<f32> { panic!("{error}") }))
    }

    fn nearest(mut found: Vec<(u32, f32)>) -> Vec<(u32, f32)> {
        found.sort_by(|one, other| other.1.total_cmp(&one.1));
        found.truncate(5);
        found
    }

    #[test]
    fn of_many_the_nearest_are_found_by_their_signs() {
        let (c, many, keys) = filled(EXACT as u32 + 100);
        assert!(matches!(many.numbers, Numbers::Signs(_)));
        assert_eq!(many.bytes(), many.memories.len() * (4 + 2 * 8));
        let mut exact = Vectors { length: 96, ..Vectors::of(ModelId(1)) };
        let mut read = c.prepare("SELECT scale, numbers FROM vectors ORDER BY memory").unwrap();
        let mut rows = read.query([]).unwrap();
        let (mut scales, mut bytes) = (Vec::new(), Vec::new());
        while let Some(row) = rows.next().unwrap() {
            scales.push(row.get::<_, f64>(0).unwrap() as f32);
            bytes.extend(row.get::<_, Vec<u8>>(1).unwrap());
        }
        exact.memories.clone_from(&many.memories);
        exact.numbers = Numbers::All { scales, bytes };
        for place in [0, 777, EXACT as u32 + 50] {
            let question = asked(&c, keys[place as usize]);
            let all = many.compare(&c, &keys, 7, &question, |_| true).unwrap();
            assert_eq!(all.len(), many.memories.len());
            let found = nearest(all);
            assert_eq!(found[0].0, place);
            assert!((found[0].1 - 1.0).abs() < 0.01, "{found:?}");
            let by_all = nearest(exact.compare(&c, &keys, 7, &question, |_| true).unwrap());
            assert_eq!(found[..3], by_all[..3]);
            let others = many.compare(&c, &keys, 7, &question, |it| it != place).unwrap();
            assert_eq!(nearest(others)[0], found[1]);
        }
    }

    #[test]
    fn a_question_of_another_length_finds_nothing() {
        let (c, few, keys) = filled(10);
        let question = Question::new(&[1.0; 64]);
        assert_eq!(few.compare(&c, &keys, 7, &question, |_| true), Ok(vec![]));
    }

    #[test]
    fn a_sign_is_a_bit() {
        let numbers: Vec<u8> = (0..70_u8).map(|at| if at % 3 == 0 { 0xff } else { at }).collect();
        let found: Vec<u64> = signs(&numbers).collect();
        assert_eq!(found.len(), 2);
        for (at, number) in numbers.iter().enumerate() {
            assert_eq!(found[at / 64] >> (at % 64) & 1 == 1, number.cast_signed() < 0, "{at}");
        }
    }
}
