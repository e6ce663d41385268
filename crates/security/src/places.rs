//! Places for clients: how many connections all doors together may have.
//!
//! A door bounds its own connections. Together they must leave the process file descriptors for its data: a checkpoint that
//! cannot open a file stops the node. So who accepts a connection takes a place for it, and refuses it where there is none.

use std::sync::atomic::{AtomicUsize, Ordering};

static MOST: AtomicUsize = AtomicUsize::new(usize::MAX);
static TAKEN: AtomicUsize = AtomicUsize::new(0);

/// Sets how many places there are; without this, as many as are asked for.
pub fn limit(most: usize) {
    MOST.store(most, Ordering::Relaxed);
}

/// The place of a connection, given back when it is dropped.
#[derive(Debug)]
pub struct Place(());

impl Place {
    /// A place, where there is one.
    #[must_use]
    pub fn take() -> Option<Self> {
        // Counted before it is compared: of two that come for the last one none sees too few.
        let place = (TAKEN.fetch_add(1, Ordering::AcqRel), Self(()));
        (place.0 < MOST.load(Ordering::Relaxed)).then_some(place.1)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        TAKEN.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_come_back() {
        limit(2);
        let (one, two) = (Place::take(), Place::take());
        assert!(one.is_some() && two.is_some());
        assert!(Place::take().is_none());
        drop(one);
        let three = Place::take();
        assert!(three.is_some());
        assert!(Place::take().is_none());
        limit(usize::MAX);
        drop((two, three));
    }
}
