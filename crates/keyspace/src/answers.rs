//! Answers on their way from apply to the clients that wait for them.
//!
//! Each one wakes a task of a door. Waking them one by one from apply's thread wakes the door's as often where the two share
//! cores: it runs at once, finds one task, and sleeps again while apply wakes the next. So a door that runs
//! [`Keyspace::hand_out`] gets all answers of a batch at once, and wakes its own tasks. Without one apply hands them out.

use std::sync::Arc;
use std::task::Poll;

use futures::task::AtomicWaker;
use parking_lot::Mutex;

use crate::service::{Answer, Answered, Finished, Keyspace};

/// See the module.
#[derive(Default)]
pub(crate) struct Answers {
    /// `None` while no door takes them.
    waiting: Mutex<Option<Vec<Finished>>>,
    door: AtomicWaker,
}

impl Answers {
    /// Gives the door a batch; gives it back where there is no door.
    fn put(&self, batch: Vec<Finished>) -> Vec<Finished> {
        match &mut *self.waiting.lock() {
            None => return batch,
            Some(waiting) if waiting.is_empty() => *waiting = batch,
            Some(waiting) => waiting.extend(batch),
        }
        self.door.wake();
        Vec::new()
    }

    fn take(&self) -> Vec<Finished> {
        self.waiting.lock().as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// The next ones, once there are some.
    async fn next(&self) -> Vec<Finished> {
        std::future::poll_fn(|context| {
            let batch = self.take();
            if !batch.is_empty() {
                return Poll::Ready(batch);
            }
            self.door.register(context.waker());
            // Between the two somebody may have put some and found nobody to wake.
            let batch = self.take();
            if batch.is_empty() { Poll::Pending } else { Poll::Ready(batch) }
        })
        .await
    }
}

impl Keyspace {
    /// Hands answers out to who waits for them, on the threads of who runs this, until it is dropped. It ends where another one
    /// does so already.
    pub async fn hand_out(self: Arc<Self>) {
        let Some(desk) = Desk::open(&self) else { return };
        loop {
            for finished in desk.0.answers.next().await {
                self.hand(finished);
            }
        }
    }

    /// Answers the clients of all entries applied so far; the end of a batch.
    pub fn publish(&self) {
        let mut batch = std::mem::take(&mut *self.finished.lock());
        // A single one is woken as soon from here.
        if batch.len() > 1 {
            batch = self.answers.put(batch);
        }
        batch.into_iter().for_each(|finished| self.hand(finished));
        crate::script::clean_later();
    }

    fn hand(&self, finished: Finished) {
        // A client that has gone is no error; but it must not wait on for what others could have.
        match finished {
            Finished::Unit(answer, result) => {
                if let Err(Ok(Answered { answer: Answer::Waits { at, .. }, .. })) = answer.send(result) {
                    self.end_wait(at);
                }
            }
            Finished::Waiter(answer, result) => drop(answer.send(result)),
        }
    }
}

/// While it is there a door hands answers out.
struct Desk<'a>(&'a Keyspace);

impl<'a> Desk<'a> {
    /// `None` where there is one.
    fn open(keyspace: &'a Keyspace) -> Option<Self> {
        let mut waiting = keyspace.answers.waiting.lock();
        if waiting.is_some() {
            return None;
        }
        *waiting = Some(Vec::new());
        Some(Self(keyspace))
    }
}

impl Drop for Desk<'_> {
    fn drop(&mut self) {
        // What was put before is handed out here, what comes from now on by apply.
        let left = self.0.answers.waiting.lock().take();
        left.into_iter().flatten().for_each(|finished| self.0.hand(finished));
    }
}

#[cfg(test)]
mod tests {
    use perigee_runtime::SystemClock;
    use tokio::sync::oneshot;

    use super::*;
    use crate::twin::NothingCold;
    use crate::{Reply, State, SubmitError};

    type Told = oneshot::Receiver<Result<Reply, SubmitError>>;

    /// Ends so many waits, and publishes that.
    fn finish(keyspace: &Keyspace, count: usize) -> Vec<Told> {
        let (waiters, told): (Vec<_>, Vec<_>) = (0..count).map(|_| oneshot::channel()).unzip();
        keyspace.finished.lock().extend(waiters.into_iter().map(|served| Finished::Waiter(served, Ok(Reply::OK))));
        keyspace.publish();
        told
    }

    fn all_told(told: &mut [Told]) -> bool {
        told.iter_mut().all(|told| told.try_recv().is_ok())
    }

    #[tokio::test]
    async fn a_door_hands_out_and_apply_where_there_is_none() {
        let (keyspace, _line) = Keyspace::new(State::default(), Box::new(NothingCold), Arc::new(SystemClock::new()));
        assert!(all_told(&mut finish(&keyspace, 3)), "there is no door");

        let door = tokio::spawn(Arc::clone(&keyspace).hand_out());
        tokio::task::yield_now().await;
        let mut told = finish(&keyspace, 3);
        assert!(!all_told(&mut told), "the door has not had its turn");
        for told in told {
            assert_eq!(told.await.unwrap(), Ok(Reply::OK));
        }
        assert!(all_told(&mut finish(&keyspace, 1)), "a single one does not go that way");

        let mut told = finish(&keyspace, 2);
        door.abort();
        assert!(door.await.unwrap_err().is_cancelled());
        assert!(all_told(&mut told), "these were put before it ended");
        assert!(all_told(&mut finish(&keyspace, 2)));
    }
}
