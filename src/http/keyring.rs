//! The keys that the daemon made, for the memory API alone: `dingbot memory key add`.
//!
//! They are read from the store every few seconds, so that a request waits for no disk, and a key
//! that was removed opens nothing a moment later.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use governor::{DefaultDirectRateLimiter, DefaultKeyedRateLimiter, Quota, RateLimiter};
use subtle::ConstantTimeEq;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::store::{ApiKey, Result, Store};
use crate::telemetry::clock::Clock;

/// How soon a key that was made or removed is heard of.
const REFRESH: Duration = Duration::from_secs(2);
/// How often the last uses are written.
const NOTE: Duration = Duration::from_secs(60);
/// Wrong keys that one address may try in a second, and at once.
const WRONG_A_SECOND: NonZeroU32 = NonZeroU32::new(1).unwrap();
const WRONG_AT_ONCE: NonZeroU32 = NonZeroU32::new(20).unwrap();

/// The keys that the daemon made.
pub struct Keyring {
    store: Arc<dyn Store>,
    clock: Clock,
    keys: ArcSwap<Vec<Arc<Made>>>,
    wrong: DefaultKeyedRateLimiter<IpAddr>,
}

/// One of them.
struct Made {
    key: ApiKey,
    limit: DefaultDirectRateLimiter,
    /// When it was used since that was last written; 0: not.
    used_at: AtomicI64,
}

/// What a key that was sent is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// It opens; an administrator's opens everything.
    Opens {
        /// Whether it is an administrator's.
        admin: bool,
    },
    /// It is used more often than it may be.
    TooOften,
    /// It is none.
    Unknown,
}

impl std::fmt::Debug for Keyring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keyring").field("keys", &self.keys.load().len()).finish_non_exhaustive()
    }
}

impl Keyring {
    /// The keys that the store has.
    pub async fn open(store: Arc<dyn Store>, clock: Clock) -> Result<Self> {
        let quota = Quota::per_second(WRONG_A_SECOND).allow_burst(WRONG_AT_ONCE);
        let (keys, wrong) = (ArcSwap::default(), RateLimiter::keyed(quota));
        let ring = Self { store, clock, keys, wrong };
        ring.refresh().await?;
        Ok(ring)
    }

    /// Keeps up with the store until `stop`.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut noted = Instant::now();
        let mut failing = false;
        loop {
            let stopped = tokio::select! {
                () = stop.cancelled() => true,
                () = tokio::time::sleep(REFRESH) => false,
            };
            let note = stopped || noted.elapsed() >= NOTE;
            let kept_up = async {
                if note {
                    self.note_uses().await?;
                }
                self.refresh().await
            };
            match kept_up.await {
                Ok(()) => failing = false,
                Err(error) if !failing => {
                    failing = true;
                    let error_kind = error.kind();
                    tracing::error!(%error, error_kind, "the keys of the memory API cannot be read");
                }
                Err(_) => {}
            }
            if stopped {
                return;
            }
            if note {
                noted = Instant::now();
                self.wrong.retain_recent();
            }
        }
    }

    async fn refresh(&self) -> Result<()> {
        let stored = self.store.keys().await?;
        let known = self.keys.load_full();
        if known.len() == stored.len()
            && known.iter().zip(&stored).all(|(made, key)| made.key.hash == key.hash)
        {
            return Ok(());
        }
        let keys = stored.into_iter().map(|key| {
            let known = known.iter().find(|made| made.key.hash == key.hash);
            known.map_or_else(|| Arc::new(Made::new(key.clone())), Arc::clone)
        });
        self.keys.store(Arc::new(keys.collect()));
        Ok(())
    }

    async fn note_uses(&self) -> Result<()> {
        let keys = self.keys.load_full();
        let uses = keys.iter().filter_map(|made| {
            let at = made.used_at.swap(0, Ordering::Relaxed);
            (at != 0).then_some((made.key.hash, at))
        });
        let uses: Vec<_> = uses.collect();
        if uses.is_empty() { Ok(()) } else { self.store.note_key_uses(uses).await }
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.keys.load().is_empty()
    }

    /// Looks for a key by its SHA-256; the time it takes tells nothing of the others.
    pub(super) fn find(&self, hash: &[u8; 32]) -> Found {
        let keys = self.keys.load();
        let mut found = None;
        for made in keys.iter() {
            if bool::from(made.key.hash.ct_eq(hash)) {
                found = Some(made);
            }
        }
        let Some(made) = found else { return Found::Unknown };
        made.used_at.store(self.clock.now_millis(), Ordering::Relaxed);
        match made.limit.check() {
            Ok(()) => Found::Opens { admin: made.key.admin },
            Err(_) => Found::TooOften,
        }
    }

    /// Counts a wrong key; `false`: this address tried too many.
    pub(super) fn bears(&self, client: IpAddr) -> bool {
        self.wrong.check_key(&client).is_ok()
    }
}

impl Made {
    fn new(key: ApiKey) -> Self {
        let rate = NonZeroU32::new(key.rate).unwrap_or(NonZeroU32::MIN);
        // Twice as many at once, for a caller that has rested.
        let burst = rate.saturating_mul(NonZeroU32::MIN.saturating_add(1));
        let limit = RateLimiter::direct(Quota::per_second(rate).allow_burst(burst));
        Self { key, limit, used_at: AtomicI64::new(0) }
    }
}
