//! The layout of the file, and how an older one is brought up to date.

use std::path::Path;

use rusqlite::Connection;
use rusqlite::functions::FunctionFlags;

use crate::store::OpenError;

/// Marks the file as ours (`PRAGMA application_id`): "dbot".
const APPLICATION_ID: i64 = 0x6462_6f74;

/// Step `n` brings layout `n` to `n + 1`. A step that was released is never changed.
const MIGRATIONS: &[&str] =
    &[include_str!("schema_1.sql"), include_str!("schema_2.sql"), include_str!("schema_3.sql")];

/// The newest layout this program knows.
pub(super) const NEWEST: i64 = MIGRATIONS.len() as i64;

/// Prepared statements a connection keeps: all there are. The default of 16 would have the commonest
/// writes compiled again and again.
pub(super) const STATEMENTS: usize = 64;

/// Settings of the connection that writes.
///
/// A page of 16 KiB keeps a memory's vector inline; it can only be set while the file is empty.
/// `FULL` makes a commit wait for the disk, which is what an acknowledgement promises. What is
/// forgotten is overwritten, not only unlinked (`secure_delete`). Temporary tables and the
/// savepoint of each write stay in memory, so that no other file system can fail us.
pub(super) fn configure(connection: &Connection, path: &Path) -> Result<(), OpenError> {
    let failed = |e: rusqlite::Error| super::open_error(path, e);
    connection
        .execute_batch("PRAGMA busy_timeout = 5000; PRAGMA page_size = 16384;")
        .map_err(failed)?;
    let journal: String =
        connection.query_row("PRAGMA journal_mode = WAL", [], |r| r.get(0)).map_err(failed)?;
    if journal != "wal" {
        return Err(OpenError::Failed {
            path: path.into(),
            reason: "its file system has no shared memory; put it on a local disk".into(),
        });
    }
    connection
        .execute_batch(
            "PRAGMA synchronous = FULL;
             PRAGMA foreign_keys = ON;
             PRAGMA secure_delete = ON;
             PRAGMA temp_store = MEMORY;
             PRAGMA journal_size_limit = 67108864;
             PRAGMA cache_size = -2000;",
        )
        .map_err(failed)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    add_functions(connection).map_err(failed)
}

/// What SQL has of this program: `fold(text)`, the text in lower case.
pub(super) fn add_functions(connection: &Connection) -> rusqlite::Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC;
    connection.create_scalar_function("fold", 1, flags, |context| {
        let text: Option<String> = context.get(0)?;
        Ok(text.map(|text| text.to_lowercase()))
    })
}

/// Refuses a file that is not ours or newer than this program, before anything is written.
pub(super) fn check(connection: &Connection, path: &Path) -> Result<(), OpenError> {
    let failed = |e: rusqlite::Error| super::open_error(path, e);
    let application: i64 =
        connection.pragma_query_value(None, "application_id", |r| r.get(0)).map_err(failed)?;
    let found: i64 =
        connection.pragma_query_value(None, "user_version", |r| r.get(0)).map_err(failed)?;
    let tables: i64 = connection
        .query_row("SELECT count(*) FROM sqlite_schema", [], |r| r.get(0))
        .map_err(failed)?;
    let fresh = application == 0 && tables == 0 && found == 0;
    if application != APPLICATION_ID && !fresh {
        return Err(OpenError::Corrupt {
            path: path.into(),
            reason: "it belongs to another program".into(),
        });
    }
    if found > NEWEST {
        return Err(OpenError::Newer { path: path.into(), found, known: NEWEST });
    }
    Ok(())
}

/// Brings the file's layout up to date, each step in a transaction of its own.
pub(super) fn migrate(connection: &mut Connection) -> rusqlite::Result<()> {
    migrate_to(connection, NEWEST)
}

/// Brings the file's layout to this one, unless it has a newer one.
pub(super) fn migrate_to(connection: &mut Connection, layout: i64) -> rusqlite::Result<()> {
    loop {
        // Immediate: of two programs that start together one migrates, the other finds it done.
        let step =
            connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        let found: i64 = step.pragma_query_value(None, "user_version", |r| r.get(0))?;
        let next = usize::try_from(found).ok().filter(|_| found < layout);
        let Some(sql) = next.and_then(|n| MIGRATIONS.get(n)) else { return Ok(()) };
        step.execute_batch(sql)?;
        step.pragma_update(None, "application_id", APPLICATION_ID)?;
        step.pragma_update(None, "user_version", found + 1)?;
        step.commit()?;
    }
}
