//! What becomes of proposals that somebody of this process waits for, wherever they were made: this node's own apply tells.
//!
//! ```text
//! expect(term) --> an entry with this number is applied here           --> what it did
//!              \-> an entry of a later term is applied here, and it was not  --> never: nothing of its term comes any more
//! ```
//!
//! So the outcome of a proposal whose leader was lost is known as soon as a later leader has applied its first entry.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use perigee_types::Term;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use crate::machine::Committed;
use crate::{Outcome, ProposeError};

/// Names a proposal for ever: the process that waits for it, and its number there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProposalId {
    /// The process; drawn when it starts.
    pub origin: u64,
    /// Counted from 1.
    pub number: u64,
}

/// What is known of a proposal for ever.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It stands in the log.
    Committed(Committed),
    /// It does not, and never will.
    Never,
}

/// Who waits for a proposal.
struct Waiting {
    term: Term,
    /// The stream to the leader that it was handed to; zero for none.
    stream: u64,
    told: oneshot::Sender<Result<Fate, ProposeError>>,
}

#[derive(Default)]
struct Inner {
    waiting: BTreeMap<u64, Waiting>,
    /// Number of the last one.
    last: u64,
    /// Term of the last applied entry.
    applied: Term,
}

/// See the module.
pub(crate) struct Fates {
    pub(crate) origin: u64,
    inner: Mutex<Inner>,
}

impl Fates {
    pub(crate) fn new(origin: u64, applied: Term) -> Arc<Self> {
        Arc::new(Self { origin, inner: Mutex::new(Inner { applied, ..Inner::default() }) })
    }

    /// A number for a proposal that is evaluated in `term`, and its fate.
    pub(crate) fn expect(self: &Arc<Self>, term: Term, stream: u64) -> Expected {
        let (told, tells) = oneshot::channel();
        let mut inner = self.inner.lock();
        inner.last += 1;
        let number = inner.last;
        if inner.applied > term {
            let _ = told.send(Ok(Fate::Never));
        } else {
            inner.waiting.insert(number, Waiting { term, stream, told });
        }
        let id = ProposalId { origin: self.origin, number };
        Expected { id, tells, fates: Arc::clone(self) }
    }

    /// Entries of this process were applied and published; then `term`'s was the last of all.
    pub(crate) fn applied(&self, own: &mut Vec<(u64, Committed)>, term: Term) {
        // Nearly always nobody waits here and nothing has changed.
        let mut inner = self.inner.lock();
        for (number, committed) in own.drain(..) {
            if let Some(waiting) = inner.waiting.remove(&number) {
                let fate = match committed.outcome {
                    Outcome::Fenced => Fate::Never,
                    Outcome::Applied | Outcome::Rejected => Fate::Committed(committed),
                };
                let _ = waiting.told.send(Ok(fate));
            }
        }
        if inner.applied != term {
            inner.applied = term;
            Self::end(&mut inner, |waiting| waiting.term < term);
        }
    }

    /// What was handed to a stream and evaluated in `term` or before is not in the log, and cannot come there any more.
    pub(crate) fn never(&self, stream: u64, term: Term) {
        Self::end(&mut self.inner.lock(), |waiting| waiting.stream == stream && waiting.term <= term);
    }

    /// The leader has refused it.
    pub(crate) fn refuse(&self, number: u64, error: ProposeError) {
        if let Some(waiting) = self.inner.lock().waiting.remove(&number) {
            let _ = waiting.told.send(Err(error));
        }
    }

    /// Whether somebody waits for what was handed to a stream.
    pub(crate) fn awaits(&self, stream: u64) -> bool {
        self.inner.lock().waiting.values().any(|waiting| waiting.stream == stream)
    }

    fn end(inner: &mut Inner, over: impl Fn(&Waiting) -> bool) {
        let numbers: Vec<u64> =
            inner.waiting.iter().filter(|(_, waiting)| over(waiting)).map(|(number, _)| *number).collect();
        for waiting in numbers.iter().filter_map(|number| inner.waiting.remove(number)) {
            let _ = waiting.told.send(Ok(Fate::Never));
        }
    }
}

/// A proposal that was named before it is made, and what becomes of it. Who drops this does not want to know.
pub struct Expected {
    id: ProposalId,
    tells: oneshot::Receiver<Result<Fate, ProposeError>>,
    fates: Arc<Fates>,
}

impl Expected {
    /// Its name, for who proposes it.
    #[must_use]
    pub fn id(&self) -> ProposalId {
        self.id
    }

    /// Waits for its fate.
    ///
    /// # Errors
    /// The leader has refused it: nothing was written.
    pub async fn fate(&mut self) -> Result<Fate, ProposeError> {
        (&mut self.tells).await.unwrap_or(Err(ProposeError::Unknown))
    }
}

impl Drop for Expected {
    fn drop(&mut self) {
        self.fates.inner.lock().waiting.remove(&self.id.number);
    }
}

#[cfg(test)]
mod tests {
    use perigee_types::{Hlc, LogIndex};

    use super::*;

    fn committed(outcome: Outcome) -> Committed {
        Committed { index: LogIndex(7), time: Hlc(1), outcome }
    }

    #[tokio::test]
    async fn what_is_applied_is_known() {
        let fates = Fates::new(9, Term(1));
        let (mut first, mut second) = (fates.expect(Term(1), 0), fates.expect(Term(1), 0));
        let done = committed(Outcome::Applied);
        fates.applied(&mut vec![(second.id().number, done), (first.id().number, committed(Outcome::Fenced))], Term(1));
        assert_eq!(second.fate().await, Ok(Fate::Committed(done)));
        assert_eq!(first.fate().await, Ok(Fate::Never));
    }

    #[tokio::test]
    async fn a_later_term_ends_what_has_not_come() {
        let fates = Fates::new(9, Term(1));
        let mut old = fates.expect(Term(1), 1);
        let mut new = fates.expect(Term(2), 2);
        fates.applied(&mut Vec::new(), Term(2));
        assert_eq!(old.fate().await, Ok(Fate::Never));
        assert!(fates.awaits(2));
        assert_eq!(fates.expect(Term(1), 1).fate().await, Ok(Fate::Never), "it is over before it begins");
        fates.never(2, Term(1));
        assert!(fates.awaits(2), "another term");
        fates.never(2, Term(2));
        assert_eq!(new.fate().await, Ok(Fate::Never));
        drop((old, new));
        assert!(fates.inner.lock().waiting.is_empty());
    }
}
