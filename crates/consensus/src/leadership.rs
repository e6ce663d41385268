//! Who may serve: the term in which this node leads **and** has applied its first entry.
//!
//! Between election and that entry the state may be older than what the last leader answered from, and locks must not be
//! handed out: so the term is announced only behind the barrier (failure case C3).

use std::sync::atomic::{AtomicU64, Ordering};

use perigee_types::Term;

use crate::watch;

/// See the module. Written by the watcher of core (leading) and by apply (applied).
pub(crate) struct Leadership {
    /// Term in which this node leads; 0 when it does not.
    leading: AtomicU64,
    /// Term of the last applied entry.
    applied: AtomicU64,
    /// What [`Self::term`] says; 0 for none.
    serving: AtomicU64,
    announced: watch::Sender<Option<Term>>,
}

impl Leadership {
    pub(crate) fn new(applied: Term) -> Self {
        Self {
            leading: AtomicU64::new(0),
            applied: AtomicU64::new(applied.0),
            serving: AtomicU64::new(0),
            announced: watch::Sender::new(None),
        }
    }

    /// The term in which this node serves.
    pub(crate) fn term(&self) -> Option<Term> {
        match self.serving.load(Ordering::Acquire) {
            0 => None,
            term => Some(Term(term)),
        }
    }

    /// Changes of [`Self::term`].
    pub(crate) fn watch(&self) -> watch::Receiver<Option<Term>> {
        self.announced.subscribe()
    }

    /// This node leads in `term`, or not at all.
    pub(crate) fn set_leading(&self, term: Option<Term>) {
        self.leading.store(term.map_or(0, |term| term.0), Ordering::SeqCst);
        self.refresh();
    }

    /// An entry of `term` was applied and published.
    pub(crate) fn set_applied(&self, term: Term) {
        if self.applied.load(Ordering::Relaxed) != term.0 {
            self.applied.store(term.0, Ordering::SeqCst);
            self.refresh();
        }
    }

    fn refresh(&self) {
        // Under the lock of the channel, so that the last refresh sees both stores and wins.
        self.announced.send_if_modified(|announced| {
            let leading = self.leading.load(Ordering::SeqCst);
            let serving = if leading == self.applied.load(Ordering::SeqCst) { leading } else { 0 };
            self.serving.store(serving, Ordering::Release);
            let term = (serving != 0).then_some(Term(serving));
            std::mem::replace(announced, term) != term
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leader_serves_behind_its_first_entry() {
        let leadership = Leadership::new(Term(3));
        let watch = leadership.watch();
        leadership.set_leading(Some(Term(4)));
        assert_eq!(leadership.term(), None, "elected, nothing applied");
        leadership.set_applied(Term(4));
        assert_eq!(leadership.term(), Some(Term(4)));
        assert!(watch.has_changed().unwrap());
        leadership.set_leading(None);
        assert_eq!(leadership.term(), None);
    }
}
