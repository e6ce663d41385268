//! A watch channel that wakes who waits in the order in which they began to, in the place of tokio's for all tests of the crate:
//! tokio's wakes them in an order of chance that no seed gives, and a simulation must repeat in another process.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use openraft_rt::watch::{self, Watch, WatchReceiver, WatchSender};
use openraft_rt::{OptionalSend, OptionalSync};
use parking_lot::{RwLock, RwLockReadGuard};
use tokio::sync::Notify;

struct Shared<T> {
    value: RwLock<T>,
    /// Counts what was sent.
    version: AtomicU64,
    senders: AtomicUsize,
    receivers: AtomicUsize,
    /// Wakes in the order of waiting.
    changed: Notify,
}

/// The sending side; clones send to the same receivers.
pub(crate) struct Sender<T>(Arc<Shared<T>>);

/// The receiving side; each one knows what it has seen.
pub struct Receiver<T> {
    shared: Arc<Shared<T>>,
    seen: u64,
}

/// The value, locked.
pub(crate) struct Ref<'a, T>(RwLockReadGuard<'a, T>);

/// Nobody receives any more.
#[derive(Debug)]
pub(crate) struct SendError;

/// Nobody sends any more.
#[derive(Debug)]
pub(crate) struct RecvError;

/// A channel that holds `value`.
pub(crate) fn channel<T>(value: T) -> (Sender<T>, Receiver<T>) {
    let sender = Sender::new(value);
    let receiver = sender.subscribe();
    (sender, receiver)
}

impl<T> Sender<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(Arc::new(Shared {
            value: RwLock::new(value),
            version: AtomicU64::new(0),
            senders: AtomicUsize::new(1),
            receivers: AtomicUsize::new(0),
            changed: Notify::new(),
        }))
    }

    pub(crate) fn subscribe(&self) -> Receiver<T> {
        self.0.receivers.fetch_add(1, Ordering::SeqCst);
        Receiver { seen: self.0.version.load(Ordering::SeqCst), shared: Arc::clone(&self.0) }
    }

    pub(crate) fn receiver_count(&self) -> usize {
        self.0.receivers.load(Ordering::SeqCst)
    }

    pub(crate) fn send(&self, value: T) -> Result<(), SendError> {
        if self.receiver_count() == 0 {
            return Err(SendError);
        }
        self.send_replace(value);
        Ok(())
    }

    pub(crate) fn send_replace(&self, value: T) -> T {
        let mut before = None;
        self.send_if_modified(|now| {
            before = Some(std::mem::replace(now, value));
            true
        });
        before.expect("it was replaced")
    }

    pub(crate) fn send_if_modified(&self, modify: impl FnOnce(&mut T) -> bool) -> bool {
        let modified = {
            let mut value = self.0.value.write();
            let modified = modify(&mut value);
            self.0.version.fetch_add(u64::from(modified), Ordering::SeqCst);
            modified
        };
        if modified {
            self.0.changed.notify_waiters();
        }
        modified
    }

    pub(crate) fn borrow(&self) -> Ref<'_, T> {
        Ref(self.0.value.read())
    }
}

impl<T> Receiver<T> {
    pub(crate) async fn changed(&mut self) -> Result<(), RecvError> {
        loop {
            // Made before the look: what is sent from here on wakes it.
            let changed = self.shared.changed.notified();
            let version = self.shared.version.load(Ordering::SeqCst);
            if version != self.seen {
                self.seen = version;
                return Ok(());
            }
            if self.shared.senders.load(Ordering::SeqCst) == 0 {
                return Err(RecvError);
            }
            changed.await;
        }
    }

    pub(crate) async fn wait_for(&mut self, wanted: impl Fn(&T) -> bool) -> Result<Ref<'_, T>, RecvError> {
        while !wanted(&self.borrow_and_update()) {
            self.changed().await?;
        }
        Ok(self.borrow())
    }

    pub(crate) fn has_changed(&self) -> Result<bool, RecvError> {
        if self.shared.senders.load(Ordering::SeqCst) == 0 {
            return Err(RecvError);
        }
        Ok(self.shared.version.load(Ordering::SeqCst) != self.seen)
    }

    pub(crate) fn borrow(&self) -> Ref<'_, T> {
        Ref(self.shared.value.read())
    }

    pub(crate) fn borrow_and_update(&mut self) -> Ref<'_, T> {
        let value = self.shared.value.read();
        self.seen = self.shared.version.load(Ordering::SeqCst);
        Ref(value)
    }
}

impl<T> Deref for Ref<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.0.senders.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(&self.0))
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        if self.0.senders.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.changed.notify_waiters();
        }
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        self.shared.receivers.fetch_add(1, Ordering::SeqCst);
        Self { shared: Arc::clone(&self.shared), seen: self.seen }
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.shared.receivers.fetch_sub(1, Ordering::SeqCst);
    }
}

/// The same for openraft.
pub(crate) struct InOrder;

impl Watch for InOrder {
    type Sender<T: OptionalSend + OptionalSync> = Sender<T>;
    type Receiver<T: OptionalSend + OptionalSync> = Receiver<T>;
    type Ref<'a, T: OptionalSend + 'a> = Ref<'a, T>;

    fn channel<T: OptionalSend + OptionalSync>(value: T) -> (Sender<T>, Receiver<T>) {
        channel(value)
    }
}

impl<T: OptionalSend + OptionalSync> WatchSender<InOrder, T> for Sender<T> {
    fn send(&self, value: T) -> Result<(), watch::SendError<T>> {
        if self.receiver_count() == 0 {
            return Err(watch::SendError(value));
        }
        self.send_replace(value);
        Ok(())
    }

    fn send_if_modified<F: FnOnce(&mut T) -> bool>(&self, modify: F) -> bool {
        Self::send_if_modified(self, modify)
    }

    fn borrow_watched(&self) -> Ref<'_, T> {
        self.borrow()
    }

    fn subscribe(&self) -> Receiver<T> {
        Self::subscribe(self)
    }
}

impl<T: OptionalSend + OptionalSync> WatchReceiver<InOrder, T> for Receiver<T> {
    async fn changed(&mut self) -> Result<(), watch::RecvError> {
        Self::changed(self).await.map_err(|_| watch::RecvError(()))
    }

    fn borrow_watched(&self) -> Ref<'_, T> {
        self.borrow()
    }

    fn borrow_and_update(&mut self) -> Ref<'_, T> {
        Self::borrow_and_update(self)
    }
}

#[tokio::test]
async fn who_waits_is_woken_in_the_order_of_waiting() {
    let (sender, receiver) = channel(0);
    let woken = Arc::new(parking_lot::Mutex::new(Vec::new()));
    let tasks: Vec<_> = (0..20)
        .map(|number| {
            let (mut receiver, woken) = (receiver.clone(), Arc::clone(&woken));
            tokio::spawn(async move {
                receiver.changed().await.unwrap();
                woken.lock().push((number, *receiver.borrow()));
                assert!(receiver.changed().await.is_err(), "nobody sends any more");
            })
        })
        .collect();
    tokio::task::yield_now().await;
    sender.send(7).unwrap();
    drop(sender);
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(*woken.lock(), (0..20).map(|number| (number, 7)).collect::<Vec<_>>());
}
