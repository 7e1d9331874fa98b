//! What the keys of the memory API need of a store.

use async_trait::async_trait;

use super::Result;

/// A key that the daemon made; the key itself is nowhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// What an operator calls it.
    pub name: String,
    /// SHA-256 of the key.
    pub hash: [u8; 32],
    /// Whether it opens everybody's memories at once.
    pub admin: bool,
    /// Most requests a second.
    pub rate: u32,
    /// When it was made.
    pub created_at: i64,
    /// When it was last used, to the minute.
    pub last_used_at: Option<i64>,
}

/// The keys of the memory API.
#[async_trait]
pub trait KeyStore {
    /// Keeps a key; `false`: there is one of this name.
    async fn add_key(&self, key: ApiKey) -> Result<bool>;

    /// Removes a key; `false`: there is none of this name.
    async fn remove_key(&self, name: &str) -> Result<bool>;

    /// All of them, by name.
    async fn keys(&self) -> Result<Vec<ApiKey>>;

    /// Notes when keys, by hash, were used.
    async fn note_key_uses(&self, uses: Vec<([u8; 32], i64)>) -> Result<()>;
}
