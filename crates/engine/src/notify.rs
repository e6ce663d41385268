//! LISTEN and NOTIFY.
//!
//! A notification rides in the entry of its transaction, so it is delivered if and only if the transaction commits, and in
//! the order of the log. While anybody listens one task follows the [change feed](perigee_streams) and puts what it finds
//! into the inboxes of the sessions; entries without notifications cost it a look at two bytes.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use perigee_storage::entry::Notification;
use perigee_streams::{Change, Position, Wanted};
use perigee_types::{LogIndex, SqlError, SqlResult, SqlState};
use rustc_hash::{FxHashMap, FxHashSet};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::engine::Engine;

/// The longest name of a channel, in bytes, as of every name.
const CHANNEL_BYTES_MAX: usize = 63;
/// The longest payload, in bytes.
const PAYLOAD_BYTES_MAX: usize = 7_999;
/// Bytes that wait for a session which does not take them; beyond that it is ended.
const INBOX_BYTES_MAX: usize = 16 << 20;
/// Bytes of the log that the dispatcher reads at once.
const READ_BYTES: usize = 1 << 20;

/// What LISTEN and UNLISTEN ask for; done at COMMIT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Listening {
    Start(String),
    Stop(String),
    StopAll,
}

/// Notifications that wait for a session to take them.
#[derive(Default)]
pub struct Inbox {
    waiting: Mutex<(VecDeque<Notification>, usize)>,
    arrived: Notify,
}

impl Inbox {
    /// Takes what has arrived, in order.
    pub fn take(&self) -> VecDeque<Notification> {
        let mut waiting = self.waiting.lock();
        waiting.1 = 0;
        std::mem::take(&mut waiting.0)
    }

    /// Waits until something has arrived.
    pub async fn arrived(&self) {
        loop {
            let arrived = self.arrived.notified();
            if !self.waiting.lock().0.is_empty() {
                return;
            }
            arrived.await;
        }
    }

    /// Whether there was room.
    fn put(&self, notification: Notification) -> bool {
        let mut waiting = self.waiting.lock();
        let bytes = notification.channel.len() + notification.payload.len() + 64;
        if waiting.1 + bytes > INBOX_BYTES_MAX {
            return false;
        }
        waiting.1 += bytes;
        waiting.0.push_back(notification);
        drop(waiting);
        self.arrived.notify_one();
        true
    }
}

/// A session that listens.
struct Listener {
    inbox: Arc<Inbox>,
    terminated: CancellationToken,
    /// By channel: what was applied when it began; notifications of that entry and before are not for it.
    channels: FxHashMap<String, LogIndex>,
}

/// Who listens to what.
pub(crate) struct Listeners {
    listeners: Mutex<FxHashMap<i32, Listener>>,
    /// Entries through this one have been looked at; while nobody listens, all.
    dispatched: watch::Sender<LogIndex>,
    running: Mutex<bool>,
}

impl Default for Listeners {
    fn default() -> Self {
        Self {
            listeners: Mutex::default(),
            dispatched: watch::Sender::new(LogIndex(u64::MAX)),
            running: Mutex::new(false),
        }
    }
}

impl Listeners {
    /// Does what the transaction of a session has asked for. Channels that it began to listen to are given back, for the
    /// case that the commit fails.
    pub(crate) fn change(
        &self,
        engine: &Arc<Engine>,
        process_id: i32,
        inbox: &Arc<Inbox>,
        terminated: &CancellationToken,
        changes: &[Listening],
    ) -> Vec<String> {
        let mut begun = Vec::new();
        let mut listeners = self.listeners.lock();
        for change in changes {
            match change {
                Listening::Start(channel) => {
                    let listener = listeners.entry(process_id).or_insert_with(|| Listener {
                        inbox: Arc::clone(inbox),
                        terminated: terminated.clone(),
                        channels: FxHashMap::default(),
                    });
                    if !listener.channels.contains_key(channel) {
                        listener.channels.insert(channel.clone(), engine.store.applied());
                        begun.push(channel.clone());
                    }
                }
                Listening::Stop(channel) => {
                    if let Some(listener) = listeners.get_mut(&process_id) {
                        listener.channels.remove(channel);
                    }
                }
                Listening::StopAll => {
                    listeners.remove(&process_id);
                }
            }
        }
        listeners.retain(|_, listener| !listener.channels.is_empty());
        let anybody = !listeners.is_empty();
        drop(listeners);
        if anybody {
            self.start(engine);
        }
        begun
    }

    /// Takes back what a transaction began that did not commit.
    pub(crate) fn take_back(&self, process_id: i32, begun: &[String]) {
        let mut listeners = self.listeners.lock();
        if let Some(listener) = listeners.get_mut(&process_id) {
            listener.channels.retain(|channel, _| !begun.contains(channel));
        }
        listeners.retain(|_, listener| !listener.channels.is_empty());
    }

    /// The session is gone.
    pub(crate) fn leave(&self, process_id: i32) {
        self.listeners.lock().remove(&process_id);
    }

    /// The channels of a session, by name.
    pub(crate) fn channels(&self, process_id: i32) -> Vec<String> {
        let listeners = self.listeners.lock();
        let mut channels: Vec<String> =
            listeners.get(&process_id).map(|l| l.channels.keys().cloned().collect()).unwrap_or_default();
        channels.sort();
        channels
    }

    /// Waits until notifications through an entry are in the inboxes, if the session listens at all.
    pub(crate) async fn delivered(&self, process_id: i32, index: LogIndex) {
        if !self.listeners.lock().contains_key(&process_id) {
            return;
        }
        let mut dispatched = self.dispatched.subscribe();
        let _ = dispatched.wait_for(|at| *at >= index).await;
    }

    fn start(&self, engine: &Arc<Engine>) {
        let mut running = self.running.lock();
        if !*running {
            *running = true;
            let from = engine.feed.end();
            self.dispatched.send_replace(LogIndex(from.index.0 - 1));
            tokio::spawn(dispatch(Arc::downgrade(engine), from));
        }
    }

    /// Whether the dispatcher may end: nobody listens any more.
    fn stop_if_idle(&self) -> bool {
        let mut running = self.running.lock();
        if !self.listeners.lock().is_empty() {
            return false;
        }
        *running = false;
        self.dispatched.send_replace(LogIndex(u64::MAX));
        true
    }

    fn deliver(&self, index: LogIndex, notification: &Notification) {
        let listeners = self.listeners.lock();
        for listener in listeners.values() {
            let wanted = listener.channels.get(&notification.channel).is_some_and(|since| *since < index);
            if wanted && !listener.inbox.put(notification.clone()) {
                tracing::warn!("a session does not take its notifications: it is ended");
                listener.terminated.cancel();
            }
        }
    }
}

/// Follows the feed from `from` on, until nobody listens.
async fn dispatch(engine: std::sync::Weak<Engine>, from: Position) {
    let Some(mut cursor) = engine.upgrade().map(|engine| engine.feed.cursor(from, Wanted::notifications())) else {
        return;
    };
    loop {
        let feed = match engine.upgrade() {
            Some(engine) => Arc::clone(&engine.feed),
            None => return,
        };
        // Sessions end without a word: look from time to time whether anybody is left.
        let _ = tokio::time::timeout(std::time::Duration::from_secs(5), feed.wait(cursor.position())).await;
        let Some(engine) = engine.upgrade() else { return };
        if engine.listeners.stop_if_idle() {
            return;
        }
        let read = tokio::task::spawn_blocking(move || {
            let batch = cursor.read(READ_BYTES);
            (cursor, batch)
        });
        let batch;
        (cursor, batch) = match read.await {
            Ok(read) => read,
            Err(error) => return engine.fail(format!("notifications cannot be read: {error}")),
        };
        match batch {
            Ok(batch) => {
                for event in batch.events {
                    if let Change::Notification(notification) = &event.change {
                        engine.listeners.deliver(event.position.index, notification);
                    }
                }
                engine.listeners.dispatched.send_replace(LogIndex(batch.next.index.0.saturating_sub(1)));
            }
            // It fell so far behind that the log was cut under it. Nothing else can be said to those who listen.
            Err(error) => {
                tracing::error!(%error, "notifications were lost: the sessions that listen are ended");
                engine.listeners.listeners.lock().drain().for_each(|(_, listener)| listener.terminated.cancel());
                cursor = cursor.moved_to(engine.feed.end());
                engine.listeners.dispatched.send_replace(LogIndex(cursor.position().index.0.saturating_sub(1)));
            }
        }
    }
}

/// Notifications of a transaction: in order, and each but once.
#[derive(Default)]
pub(crate) struct Pending {
    list: Vec<Notification>,
    known: FxHashSet<(String, String)>,
}

impl Pending {
    /// # Errors
    /// `22023` for a name or a payload that cannot be.
    pub(crate) fn add(&mut self, channel: &str, payload: &str, process_id: i32) -> SqlResult<()> {
        check(channel, payload)?;
        if self.known.insert((channel.to_owned(), payload.to_owned())) {
            self.list.push(Notification { channel: channel.to_owned(), payload: payload.to_owned(), process_id });
        }
        Ok(())
    }

    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Takes back what was added behind the first `count`.
    pub(crate) fn truncate(&mut self, count: usize) {
        for gone in self.list.drain(count.min(self.list.len())..) {
            self.known.remove(&(gone.channel, gone.payload));
        }
    }

    pub(crate) fn take(&mut self) -> Vec<Notification> {
        self.known.clear();
        std::mem::take(&mut self.list)
    }

    /// Bytes, about.
    pub(crate) fn bytes(&self) -> usize {
        self.list.iter().map(|n| n.channel.len() + n.payload.len() + 16).sum()
    }
}

/// What a session that never writes is told.
pub(crate) fn refused() -> SqlError {
    SqlError::new(SqlState::ReadOnlySqlTransaction, "cannot execute NOTIFY: who is connected may only read")
}

/// Whether a notification may be sent.
///
/// # Errors
/// `22023`
pub(crate) fn check(channel: &str, payload: &str) -> SqlResult<()> {
    let wrong = |text: &str| Err(SqlError::new(SqlState::InvalidParameterValue, text));
    if channel.is_empty() {
        return wrong("channel name cannot be empty");
    }
    if channel.len() > CHANNEL_BYTES_MAX {
        return wrong("channel name too long");
    }
    if payload.len() > PAYLOAD_BYTES_MAX {
        return wrong("payload string too long");
    }
    Ok(())
}
