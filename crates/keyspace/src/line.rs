//! The line in which units wait for the next entry of the log.
//!
//! Who puts the first one into it wakes the proposer. Where a door has one thread, not before those have had a turn that are
//! ready on it: a connection that was read from has others beside it that were too, and all of them go into one entry, with one
//! wake-up. On a thread that something holds up nobody else depends: who finds that the first one came from another thread wakes
//! at once, and where there are several threads so does the first one.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::thread::ThreadId;

use futures::task::AtomicWaker;
use parking_lot::Mutex;
use tokio::runtime::Handle;

use crate::service::Submitted;

#[derive(Default)]
struct Waiting {
    items: Vec<Submitted>,
    /// Who put the first of them.
    first_by: Option<ThreadId>,
    /// Nobody takes them any more.
    is_closed: bool,
}

/// The end that units are put into.
#[derive(Default)]
pub(crate) struct Queue {
    waiting: Mutex<Waiting>,
    proposer: AtomicWaker,
}

/// The line has ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Closed;

/// Wakes the proposer when it drops.
#[must_use = "nobody else wakes the proposer"]
pub(crate) struct First<'a>(&'a Queue);

impl First<'_> {
    /// Wakes the proposer, behind the tasks that are ready where this is the only thread.
    pub(crate) async fn wake(self) {
        if !Handle::try_current().is_ok_and(|handle| handle.metrics().num_workers() == 1) {
            return;
        }
        let mut is_behind = false;
        // To the end of the line of tasks, from where another thread can take it should this one be held up. `yield_now` waits
        // on this very thread.
        poll_fn(|context| {
            if std::mem::replace(&mut is_behind, true) {
                return Poll::Ready(());
            }
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }
}

impl Drop for First<'_> {
    fn drop(&mut self) {
        self.0.proposer.wake();
    }
}

impl Queue {
    /// Puts something behind what waits. Gives a [`First`] to who has to wake the proposer; `None` where that is done.
    ///
    /// # Errors
    /// Nobody takes it any more.
    pub(crate) fn put(&self, item: Submitted) -> Result<Option<First<'_>>, Closed> {
        let by = Some(std::thread::current().id());
        let mut waiting = self.waiting.lock();
        if waiting.is_closed {
            return Err(Closed);
        }
        let is_first = waiting.items.is_empty();
        if is_first {
            waiting.first_by = by;
        }
        let waits_for_first = waiting.first_by == by;
        waiting.items.push(item);
        drop(waiting);
        if is_first {
            return Ok(Some(First(self)));
        }
        if !waits_for_first {
            self.proposer.wake();
        }
        Ok(None)
    }
}

/// The end of the line that the proposer task takes from. Behind its drop nothing more is taken, and what waits has no outcome.
pub struct Line(Arc<Queue>);

impl Line {
    /// A line, with its other end.
    pub(crate) fn new() -> (Arc<Queue>, Self) {
        let queue = Arc::new(Queue::default());
        (Arc::clone(&queue), Self(queue))
    }

    /// Takes what waits, until `gathered` has `count_max`; says how many that were.
    pub(crate) fn take(&mut self, gathered: &mut Vec<Submitted>, count_max: usize) -> usize {
        let mut waiting = self.0.waiting.lock();
        let count = waiting.items.len().min(count_max.saturating_sub(gathered.len()));
        if count == 0 {
            return 0;
        }
        if gathered.is_empty() && count == waiting.items.len() {
            // As many are likely to come next.
            *gathered = std::mem::replace(&mut waiting.items, Vec::with_capacity(count));
        } else {
            gathered.extend(waiting.items.drain(..count));
        }
        count
    }

    /// The same once there is something to take.
    pub(crate) async fn wait(&mut self, gathered: &mut Vec<Submitted>, count_max: usize) -> usize {
        poll_fn(|context| self.poll(context, gathered, count_max)).await
    }

    fn poll(&mut self, context: &Context<'_>, gathered: &mut Vec<Submitted>, count_max: usize) -> Poll<usize> {
        let count = self.take(gathered, count_max);
        if count > 0 {
            return Poll::Ready(count);
        }
        self.0.proposer.register(context.waker());
        // Between the two somebody may have put one and found nobody to wake.
        match self.take(gathered, count_max) {
            0 => Poll::Pending,
            count => Poll::Ready(count),
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let left = {
            let mut waiting = self.0.waiting.lock();
            waiting.is_closed = true;
            std::mem::take(&mut waiting.items)
        };
        // Not under the lock: who waits for these is told by that.
        drop(left);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Wake, Waker};

    use super::*;
    use crate::db::Position;
    use crate::payload::Item;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    impl Woken {
        fn count(&self) -> usize {
            self.0.load(Ordering::SeqCst)
        }
    }

    fn item(n: u32) -> Submitted {
        Submitted { item: Item::Unblock(Position { index: 1, n }), answer: None }
    }

    fn numbers(gathered: &[Submitted]) -> Vec<u32> {
        let number = |submitted: &Submitted| match &submitted.item {
            Item::Unblock(at) => at.n,
            Item::Unit(_) => 0,
        };
        gathered.iter().map(number).collect()
    }

    #[test]
    fn the_first_one_wakes_for_those_of_its_thread() {
        let (queue, mut line) = Line::new();
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        let context = Context::from_waker(&waker);
        let mut gathered = Vec::new();
        assert_eq!(line.poll(&context, &mut gathered, 10), Poll::Pending);
        let first = queue.put(item(1)).unwrap();
        assert!(first.is_some());
        assert!(queue.put(item(2)).unwrap().is_none());
        assert_eq!(woken.count(), 0, "not before the first one's turn is over");
        drop(first);
        assert_eq!(woken.count(), 1);
        assert_eq!(line.poll(&context, &mut gathered, 10), Poll::Ready(2));
        assert_eq!(numbers(&gathered), [1, 2]);

        assert_eq!(line.poll(&context, &mut gathered, 10), Poll::Pending);
        let first = queue.put(item(3)).unwrap();
        let other = std::thread::scope(|scope| scope.spawn(|| queue.put(item(4)).unwrap().is_none()).join().unwrap());
        assert!(other);
        assert_eq!(woken.count(), 2, "another thread does not count on it");
        assert_eq!(line.poll(&context, &mut gathered, 3), Poll::Ready(1), "no more than there is room for");
        assert_eq!(numbers(&gathered), [1, 2, 3]);
        drop(first);
        assert_eq!(line.take(&mut gathered, 10), 1);
        assert_eq!(numbers(&gathered), [1, 2, 3, 4]);
    }

    /// How often the proposer was woken when the first one was polled once, and twice.
    async fn woken_by_first() -> [usize; 2] {
        let (queue, mut line) = Line::new();
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        assert!(line.poll(&Context::from_waker(&waker), &mut Vec::new(), 10).is_pending());
        let mut first = Box::pin(queue.put(item(1)).unwrap().unwrap().wake());
        let once = futures::poll!(&mut first).is_ready();
        let count = woken.count();
        assert_eq!(once, count == 1);
        if !once {
            assert!(futures::poll!(&mut first).is_ready());
        }
        [count, woken.count()]
    }

    #[tokio::test]
    async fn where_there_is_one_thread_the_first_one_waits_for_its_other_tasks() {
        assert_eq!(woken_by_first().await, [0, 1]);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn where_there_are_several_the_first_one_wakes_at_once() {
        assert_eq!(woken_by_first().await, [1, 1]);
    }

    #[test]
    fn nothing_is_put_behind_the_end() {
        let (queue, line) = Line::new();
        drop(queue.put(item(1)).unwrap());
        drop(line);
        assert!(queue.put(item(2)).is_err());
        assert!(queue.waiting.lock().items.is_empty());
    }
}
