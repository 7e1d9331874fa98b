//! What memories mean, as vectors, apart from the memories themselves: they come later, and may be
//! made anew.

use async_trait::async_trait;

use crate::store::Result;

/// A model whose vectors are kept; vectors of two models do not compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ModelId(pub i64);

/// A memory that has no vector of a model yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unembedded {
    /// The memory, by its key.
    pub memory: i64,
    /// Its text.
    pub text: String,
}

/// The vectors of memories.
#[async_trait]
pub trait VectorStore {
    /// The model of a name and a number of dimensions.
    async fn embedding_model(&self, name: &str, dimensions: usize) -> Result<ModelId>;

    /// Memories that have no vector of this model, the newest first.
    async fn unembedded(&self, model: ModelId, limit: usize) -> Result<Vec<Unembedded>>;

    /// How many memories have no vector of this model.
    async fn count_unembedded(&self, model: ModelId) -> Result<u64>;

    /// Keeps vectors of unit length. That of a memory which has gone or has another text by now is
    /// not kept.
    async fn put_vectors(&self, model: ModelId, vectors: Vec<(Unembedded, Vec<f32>)>)
    -> Result<()>;
}
