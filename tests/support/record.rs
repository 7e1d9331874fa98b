//! A list that grows while a test watches it.

use std::fmt::Debug;
use std::panic::Location;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::watch;

/// Most entries shown when waiting was in vain, and most characters of each.
const SHOWN: (usize, usize) = (20, 400);

/// What has happened, in order; whoever waits is told of each addition.
#[derive(Debug)]
pub struct Record<T> {
    entries: Mutex<Vec<T>>,
    length: watch::Sender<usize>,
}

impl<T> Default for Record<T> {
    fn default() -> Self {
        Self { entries: Mutex::new(Vec::new()), length: watch::Sender::new(0) }
    }
}

impl<T> Record<T> {
    fn entries(&self) -> MutexGuard<'_, Vec<T>> {
        self.entries.lock().expect("no holder of this lock panics")
    }

    /// Adds an entry and wakes who waits.
    pub fn push(&self, entry: T) {
        let length = {
            let mut entries = self.entries();
            entries.push(entry);
            entries.len()
        };
        // Two additions may report in either order; the length must not go back.
        self.length.send_modify(|known| *known = length.max(*known));
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.entries().len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Runs `look` over the entries without copying them.
    pub fn with<R>(&self, look: impl FnOnce(&[T]) -> R) -> R {
        look(&self.entries())
    }

    /// Waits until `look` finds something among the entries from `from` on, or `within` is over.
    pub async fn find<R>(
        &self,
        from: usize,
        within: Duration,
        mut look: impl FnMut(&T) -> Option<R>,
    ) -> Option<R> {
        let mut length = self.length.subscribe();
        let search = async {
            let mut seen = from;
            loop {
                length.borrow_and_update();
                let found = self.with(|entries| {
                    let new = entries.get(seen..).unwrap_or_default();
                    seen += new.len();
                    new.iter().find_map(&mut look)
                });
                if found.is_some() {
                    return found;
                }
                if length.changed().await.is_err() {
                    return None;
                }
            }
        };
        tokio::time::timeout(within, search).await.ok().flatten()
    }
}

impl<T: Clone> Record<T> {
    /// A copy of everything so far.
    pub fn all(&self) -> Vec<T> {
        self.entries().clone()
    }
}

impl<T: Clone + Debug> Record<T> {
    /// Waits until `enough` holds, and returns everything recorded by then.
    ///
    /// # Panics
    /// When `within` is over first; the text shows what there was.
    #[track_caller]
    pub fn wait_for<'a>(
        &'a self,
        mut enough: impl FnMut(&[T]) -> bool + 'a,
        within: Duration,
    ) -> impl Future<Output = Vec<T>> + 'a {
        let caller = Location::caller();
        async move {
            let mut length = self.length.subscribe();
            let wait = async {
                loop {
                    length.borrow_and_update();
                    if self.with(&mut enough) {
                        return;
                    }
                    if length.changed().await.is_err() {
                        return;
                    }
                }
            };
            if tokio::time::timeout(within, wait).await.is_err() {
                panic!("waited {within:?} in vain at {caller}; recorded {}", self.shown());
            }
            self.all()
        }
    }

    fn shown(&self) -> String {
        self.with(|entries| {
            let (most, long) = SHOWN;
            let from = entries.len().saturating_sub(most);
            let lines = entries[from..]
                .iter()
                .map(|entry| format!("\n  {}", cut(&format!("{entry:?}"), long)));
            format!("{} entries, the last of them:{}", entries.len(), lines.collect::<String>())
        })
    }
}

/// The first `long` characters of `text`.
fn cut(text: &str, long: usize) -> &str {
    text.char_indices().nth(long).map_or(text, |(end, _)| &text[..end])
}
