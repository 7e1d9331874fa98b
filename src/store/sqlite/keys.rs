//! The keys of the memory API, in SQLite.

use async_trait::async_trait;
use rusqlite::{Row, params};

use super::SqliteStore;
use crate::store::{ApiKey, KeyStore, Result};

#[async_trait]
impl KeyStore for SqliteStore {
    async fn add_key(&self, key: ApiKey) -> Result<bool> {
        self.writer
            .write(move |c| {
                c.prepare_cached(
                    "INSERT INTO api_keys (name, hash, admin, rate, created_at)
                     VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO NOTHING",
                )?
                .execute(params![key.name, key.hash, key.admin, key.rate, key.created_at])
                .map(|added| added > 0)
            })
            .await
    }

    async fn remove_key(&self, name: &str) -> Result<bool> {
        let name = name.to_owned();
        self.writer
            .write(move |c| {
                c.prepare_cached("DELETE FROM api_keys WHERE name = ?1")?
                    .execute([&name])
                    .map(|removed| removed > 0)
            })
            .await
    }

    async fn keys(&self) -> Result<Vec<ApiKey>> {
        self.readers
            .read(|c| {
                c.prepare_cached(
                    "SELECT name, hash, admin, rate, created_at, last_used_at FROM api_keys
                     ORDER BY name",
                )?
                .query_map([], key)?
                .collect()
            })
            .await
    }

    async fn note_key_uses(&self, uses: Vec<([u8; 32], i64)>) -> Result<()> {
        self.writer
            .write(move |c| {
                let mut note = c.prepare_cached(
                    "UPDATE api_keys SET last_used_at = max(coalesce(last_used_at, 0), ?2)
                     WHERE hash = ?1",
                )?;
                for (hash, at) in &uses {
                    note.execute(params![hash, at])?;
                }
                Ok(())
            })
            .await
    }
}

fn key(row: &Row<'_>) -> rusqlite::Result<ApiKey> {
    Ok(ApiKey {
        name: row.get(0)?,
        hash: row.get(1)?,
        admin: row.get(2)?,
        rate: row.get(3)?,
        created_at: row.get(4)?,
        last_used_at: row.get(5)?,
    })
}
