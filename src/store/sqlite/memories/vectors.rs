//! Vectors in SQLite: a signed byte for each number, beside each other for each owner, compared one
//! by one.

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, params};

use crate::store::sqlite::SqliteStore;
use crate::store::{ModelId, Result, Unembedded, VectorStore};

/// Largest number of a question's vector: a sum of 4,096 products fits 32 bits.
const MOST_ASKED: f32 = 2_047.0;

#[async_trait]
impl VectorStore for SqliteStore {
    async fn embedding_model(&self, name: &str, dimensions: usize) -> Result<ModelId> {
        let name = name.to_owned();
        self.writer
            .write(move |c| {
                c.prepare_cached(
                    "INSERT INTO embedding_models (name, dimensions) VALUES (?1, ?2)
                     ON CONFLICT DO NOTHING",
                )?
                .execute(params![name, dimensions as i64])?;
                c.prepare_cached(
                    "SELECT id FROM embedding_models WHERE name = ?1 AND dimensions = ?2",
                )?
                .query_row(params![name, dimensions as i64], |r| r.get(0).map(ModelId))
            })
            .await
    }

    async fn unembedded(&self, model: ModelId, limit: usize) -> Result<Vec<Unembedded>> {
        self.readers
            .read(move |c| {
                // Those without any first; then those of another model.
                let mut found = Vec::new();
                for condition in ["embedded IS NULL", "embedded < ?1", "embedded > ?1"] {
                    let sql = format!(
                        "SELECT key, text FROM memories WHERE {condition} AND ?1 IS NOT NULL
                         ORDER BY embedded DESC, key DESC LIMIT ?2"
                    );
                    let left = limit - found.len();
                    let mut statement = c.prepare_cached(&sql)?;
                    let mut rows = statement.query(params![model.0, left as i64])?;
                    while let Some(row) = rows.next()? {
                        found.push(Unembedded { memory: row.get(0)?, text: row.get(1)? });
                    }
                }
                Ok(found)
            })
            .await
    }

    async fn count_unembedded(&self, model: ModelId) -> Result<u64> {
        self.readers
            .read(move |c| {
                c.prepare_cached(
                    "SELECT (SELECT count(*) FROM memories)
                          - (SELECT count(*) FROM memories WHERE embedded = ?1)",
                )?
                .query_row([model.0], |r| r.get::<_, i64>(0))
                .map(i64::unsigned_abs)
            })
            .await
    }

    async fn put_vectors(
        &self,
        model: ModelId,
        vectors: Vec<(Unembedded, Vec<f32>)>,
    ) -> Result<()> {
        // The bytes are made here, not on the thread that writes.
        let mut small: Vec<_> = vectors
            .into_iter()
            .map(|(it, vector)| {
                let (scale, numbers) = small(&vector);
                (it, scale, numbers)
            })
            .collect();
        // In the order in which the memories came, what is kept of the vectors only grows.
        small.sort_by_key(|(it, ..)| it.memory);
        self.writer
            .write(move |c| {
                small.iter().try_for_each(|(it, scale, numbers)| put(c, model, it, *scale, numbers))
            })
            .await
    }
}

fn put(
    c: &Connection,
    model: ModelId,
    it: &Unembedded,
    scale: f32,
    numbers: &[u8],
) -> rusqlite::Result<()> {
    let owner: Option<i64> = c
        .prepare_cached(
            "UPDATE memories SET embedded = ?3 WHERE key = ?1 AND text = ?2 RETURNING owner",
        )?
        .query_row(params![it.memory, it.text, model.0], |r| r.get(0))
        .optional()?;
    let Some(owner) = owner else { return Ok(()) };
    c.prepare_cached("INSERT OR REPLACE INTO vectors VALUES (?1, ?2, ?3, ?4, ?5)")?
        .execute(params![owner, it.memory, model.0, f64::from(scale), numbers])
        .map(|_| ())
}

/// A vector as signed bytes, and what each stands for.
fn small(vector: &[f32]) -> (f32, Vec<u8>) {
    let most = vector.iter().fold(0.0_f32, |most, number| most.max(number.abs()));
    let scale = if most > 0.0 { most / 127.0 } else { 1.0 };
    let numbers = vector.iter().map(|number| ((number / scale).round() as i8).cast_unsigned());
    (scale, numbers.collect())
}

/// The vector of a question, made ready to be compared with many.
pub(super) struct Question {
    scale: f32,
    numbers: Vec<i16>,
}

impl Question {
    pub(super) fn new(vector: &[f32]) -> Self {
        let most = vector.iter().fold(0.0_f32, |most, number| most.max(number.abs()));
        let scale = if most > 0.0 { most / MOST_ASKED } else { 1.0 };
        let numbers = vector.iter().map(|number| (number / scale).round() as i16).collect();
        Self { scale, numbers }
    }

    /// How many numbers it has.
    pub(super) fn len(&self) -> usize {
        self.numbers.len()
    }

    /// Its numbers as bytes that have their signs.
    pub(super) fn bytes(&self) -> Vec<u8> {
        self.numbers.iter().map(|number| number.signum() as u8).collect()
    }

    /// The cosine with a kept vector; both have unit length.
    pub(super) fn cosine(&self, scale: f32, numbers: &[u8]) -> f32 {
        let products = self.numbers.iter().zip(numbers);
        // Whole numbers: the compiler makes four and eight products of it at once.
        let sum: i32 = products
            .map(|(asked, kept)| i32::from(*asked) * i32::from(i16::from(kept.cast_signed())))
            .sum();
        sum as f32 * self.scale * scale
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cosine_survives_being_made_small() {
        let unit = |seed: u32| {
            let numbers = (0..512).map(|at| ((at * seed + seed) as f32).sin());
            let vector: Vec<f32> = numbers.collect();
            let length = vector.iter().map(|it| it * it).sum::<f32>().sqrt();
            vector.into_iter().map(|it| it / length).collect::<Vec<f32>>()
        };
        let asked = unit(7);
        let question = Question::new(&asked);
        for seed in [7, 8, 9, 11] {
            let kept = unit(seed);
            let exact: f32 = asked.iter().zip(&kept).map(|(a, b)| a * b).sum();
            let (scale, numbers) = small(&kept);
            let found = question.cosine(scale, &numbers);
            assert!((found - exact).abs() < 0.003, "{found} {exact}");
        }
        assert_eq!(small(&[0.0, 0.0]).1, [0, 0]);
    }
}
