//! Memories that an older program kept, indexed as this one does it: recall finds them meanwhile by
//! what was known of them then.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::terms;
use crate::store::{Result, Store};

/// Memories that are indexed in one write, short enough that others need not wait for it.
const AT_A_TIME: usize = 64;
/// How long the store is left to others in between.
const BREATH: Duration = Duration::from_millis(20);
/// How long to rest when the store failed.
const PAUSE: Duration = Duration::from_secs(30);

/// Indexes what an older program kept, then waits for the end.
pub async fn run(store: Arc<dyn Store>, stop: CancellationToken) {
    let mut done = 0;
    let work = async {
        loop {
            let pause = match round(&*store).await {
                Ok(0) => break,
                Ok(count) => {
                    done += count;
                    BREATH
                }
                Err(error) => {
                    let error_kind = error.kind();
                    tracing::error!(%error, error_kind, "memories could not be indexed; trying again");
                    PAUSE
                }
            };
            tokio::time::sleep(pause).await;
        }
    };
    stop.run_until_cancelled(work).await;
    if done > 0 {
        tracing::info!(made = done, "memories of an older version are indexed anew");
    }
    stop.cancelled().await;
}

async fn round(store: &dyn Store) -> Result<usize> {
    let found = store.unindexed(AT_A_TIME).await?;
    let count = found.len();
    let indexed = found.into_iter().map(|it| {
        let words = terms::words(&it.text, it.actor_id.as_deref());
        (it, words)
    });
    if count > 0 {
        store.index_memories(indexed.collect()).await?;
    }
    Ok(count)
}
