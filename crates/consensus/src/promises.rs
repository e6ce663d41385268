//! What other members have promised this leader: who takes an append helps no other leader for the time of an election.
//!
//! openraft has such times too, but takes an answer for that of the last append it may be of: one that waited in a socket while this
//! process stood still counts there for an append that was sent just now and never arrived. Here each answer counts from when its own
//! append was sent.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

/// By member: the term of the leader that it has answered last, and when that was asked, of the monotonic clock.
#[derive(Default)]
pub(crate) struct Promises(Mutex<BTreeMap<u64, (u64, Duration)>>);

impl Promises {
    /// A member has taken an append of a leader's term that was sent at `sent`.
    pub(crate) fn given(&self, member: u64, term: u64, sent: Duration) {
        let mut promises = self.0.lock();
        let last = promises.entry(member).or_default();
        *last = (*last).max((term, sent));
    }

    /// Whether a majority of each of these sets of voters, `own` among them, has taken an append of the term that was sent at `since`
    /// or later.
    pub(crate) fn are_of_majorities(&self, voters: &[BTreeSet<u64>], own: u64, term: u64, since: Duration) -> bool {
        let promises = self.0.lock();
        let holds =
            |member: &u64| *member == own || promises.get(member).is_some_and(|last| last.0 == term && last.1 >= since);
        voters.iter().all(|voters| voters.iter().filter(|member| holds(member)).count() * 2 > voters.len())
    }
}

/// Appends of one stream that have no answer yet; answers come in their order.
#[derive(Clone, Default)]
pub(crate) struct Sent(Arc<Mutex<VecDeque<(u64, Duration)>>>);

impl Sent {
    /// An append of a term goes.
    pub(crate) fn push(&self, term: u64, now: Duration) {
        self.0.lock().push_back((term, now));
    }

    /// The one that is answered now.
    pub(crate) fn pop(&self) -> Option<(u64, Duration)> {
        self.0.lock().pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: u64 = 1;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_majority_of_each_set_has_to_have_answered_of_late_and_in_this_term() {
        let promises = Promises::default();
        let three = [BTreeSet::from([OWN, 2, 3])];
        assert!(!promises.are_of_majorities(&three, OWN, 5, at(0)), "nobody has answered");
        promises.given(2, 4, at(20));
        assert!(!promises.are_of_majorities(&three, OWN, 5, at(10)), "of an earlier term");
        promises.given(2, 5, at(9));
        assert!(!promises.are_of_majorities(&three, OWN, 5, at(10)), "too long ago");
        promises.given(2, 5, at(10));
        promises.given(2, 5, at(8));
        assert!(promises.are_of_majorities(&three, OWN, 5, at(10)));
        let joint = [three[0].clone(), BTreeSet::from([3, 4, 5])];
        assert!(!promises.are_of_majorities(&joint, OWN, 5, at(10)), "nobody of those to come");
        promises.given(4, 5, at(11));
        promises.given(5, 5, at(11));
        assert!(promises.are_of_majorities(&joint, OWN, 5, at(10)), "who leads need not be one of them");
    }

    #[test]
    fn an_answer_is_of_the_first_append_that_has_none() {
        let sent = Sent::default();
        sent.push(5, at(1));
        sent.push(5, at(60));
        assert_eq!(sent.pop(), Some((5, at(1))));
        assert_eq!(sent.pop(), Some((5, at(60))));
        assert_eq!(sent.pop(), None);
    }
}
