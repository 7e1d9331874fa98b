//! A part of the daemon that a reload replaces while it is in use.

use std::sync::Arc;

use arc_swap::ArcSwap;

/// A shared place for a `T` that can be replaced as a whole. Who works with the old one finishes
/// with it; reading takes no lock.
#[derive(Debug)]
pub struct Live<T>(Arc<ArcSwap<T>>);

impl<T> Clone for Live<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Live<T> {
    /// A place with `part` in it.
    pub fn new(part: impl Into<Arc<T>>) -> Self {
        Self(Arc::new(ArcSwap::new(part.into())))
    }

    /// The part as it is now, for as long as it is needed.
    pub fn get(&self) -> Arc<T> {
        self.0.load_full()
    }

    /// Looks at the part as it is now; for what is read with every request.
    pub fn read<R>(&self, look: impl FnOnce(&T) -> R) -> R {
        look(&self.0.load())
    }

    /// Puts another in its place.
    pub fn replace(&self, part: impl Into<Arc<T>>) {
        self.0.store(part.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_holds_the_old_part_keeps_it() {
        let live = Live::new(1);
        let (elsewhere, held) = (live.clone(), live.get());
        elsewhere.replace(2);
        assert_eq!((*held, *live.get(), live.read(|part| part + 1)), (1, 2, 3));
    }
}
