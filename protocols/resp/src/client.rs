//! What others may know of a connection, and how they reach it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use futures::task::AtomicWaker;
use parking_lot::{Mutex, RwLock};
use perigee_types::Oid;
use rustc_hash::FxHashMap;

use crate::session::Killed;

/// What CLIENT LIST shows, as of the connection's last command.
#[derive(Clone, Debug, Default)]
pub(crate) struct View {
    pub(crate) name: String,
    pub(crate) lib_name: String,
    pub(crate) lib_version: String,
    pub(crate) user: String,
    pub(crate) command: String,
    pub(crate) db: u32,
    pub(crate) channels: usize,
    pub(crate) patterns: usize,
    pub(crate) shards: usize,
    /// Queued commands; `None` outside of MULTI.
    pub(crate) multi: Option<usize>,
    pub(crate) multi_bytes: usize,
    pub(crate) watching: usize,
    pub(crate) input: usize,
    pub(crate) input_free: usize,
    pub(crate) monitor: bool,
    pub(crate) blocked: bool,
    pub(crate) no_evict: bool,
    pub(crate) no_touch: bool,
    pub(crate) tracking: Option<TrackingView>,
}

impl View {
    /// The command that runs, or ran last.
    pub(crate) fn runs(&mut self, name: &str) {
        if self.command != name {
            self.command.clear();
            self.command.push_str(name);
        }
    }
}

/// The same of CLIENT TRACKING.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct TrackingView {
    pub(crate) redirect: u64,
    pub(crate) bcast: bool,
    pub(crate) broken: bool,
}

/// What others have for a connection: whole replies in its protocol.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    pub(crate) bytes: Vec<u8>,
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) id: u64,
    pub(crate) peer: Option<SocketAddr>,
    pub(crate) local: Option<SocketAddr>,
    pub(crate) created: Instant,
    pub(crate) view: Mutex<View>,
    pub(crate) outbox: Mutex<Outbox>,
    has_outbox: AtomicBool,
    pub(crate) waker: AtomicWaker,
    killed: Mutex<Option<Killed>>,
    is_killed: AtomicBool,
    pub(crate) resp3: AtomicBool,
    /// Milliseconds since `created` at its last command, or at its last bytes of one.
    pub(crate) active_ms: AtomicU64,
    /// Bytes of what it has sent that is no whole command yet, or waits for one that runs.
    pub(crate) input_bytes: AtomicUsize,
    /// Bytes of replies that it has not taken yet.
    pub(crate) output_bytes: AtomicUsize,
    /// Milliseconds since `created` at which its output went over the soft limit; zero while it is below.
    pub(crate) over_since_ms: AtomicU64,
    /// Milliseconds since `created` of its last progress in writing.
    pub(crate) written_ms: AtomicU64,
    pub(crate) tenant: AtomicU64,
    /// The role that it is; zero for nobody.
    pub(crate) role: AtomicU32,
    /// Bytes that were read from it and written to it, since they were last added up.
    pub(crate) read_bytes: AtomicU64,
    pub(crate) sent_bytes: AtomicU64,
}

impl Client {
    pub(crate) fn new(id: u64, peer: Option<SocketAddr>, local: Option<SocketAddr>) -> Self {
        Self {
            id,
            peer,
            local,
            created: Instant::now(),
            view: Mutex::default(),
            outbox: Mutex::default(),
            has_outbox: AtomicBool::new(false),
            waker: AtomicWaker::new(),
            killed: Mutex::default(),
            is_killed: AtomicBool::new(false),
            resp3: AtomicBool::new(false),
            active_ms: AtomicU64::new(0),
            input_bytes: AtomicUsize::new(0),
            output_bytes: AtomicUsize::new(0),
            over_since_ms: AtomicU64::new(0),
            written_ms: AtomicU64::new(0),
            tenant: AtomicU64::new(0),
            role: AtomicU32::new(0),
            read_bytes: AtomicU64::new(0),
            sent_bytes: AtomicU64::new(0),
        }
    }

    pub(crate) fn tenant(&self) -> Oid {
        Oid(u32::try_from(self.tenant.load(Ordering::Relaxed)).unwrap_or(0))
    }

    pub(crate) fn role(&self) -> Oid {
        Oid(self.role.load(Ordering::Relaxed))
    }

    pub(crate) fn is_resp3(&self) -> bool {
        self.resp3.load(Ordering::Relaxed)
    }

    /// Milliseconds since it was accepted.
    pub(crate) fn age_ms(&self) -> u64 {
        self.age_ms_at(Instant::now())
    }

    /// The same at another moment.
    pub(crate) fn age_ms_at(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.created).as_millis()).unwrap_or(u64::MAX)
    }

    /// Ends it from outside.
    pub(crate) fn kill(&self, how: Killed) {
        self.killed.lock().get_or_insert(how);
        self.is_killed.store(true, Ordering::Release);
        self.waker.wake();
    }

    pub(crate) fn killed(&self) -> Option<Killed> {
        if self.is_killed.load(Ordering::Acquire) { *self.killed.lock() } else { None }
    }

    /// Sends it what `write` writes; gives the bytes that now wait.
    pub(crate) fn send(&self, write: impl FnOnce(&mut Vec<u8>)) -> usize {
        if self.is_killed.load(Ordering::Acquire) {
            return 0;
        }
        let waiting = {
            let mut outbox = self.outbox.lock();
            write(&mut outbox.bytes);
            outbox.bytes.len()
        };
        self.has_outbox.store(true, Ordering::Release);
        self.waker.wake();
        waiting + self.output_bytes.load(Ordering::Relaxed)
    }

    /// Takes what others sent.
    pub(crate) fn take_outbox(&self, output: &mut Vec<u8>) -> bool {
        if !self.has_outbox.swap(false, Ordering::AcqRel) {
            return false;
        }
        let mut outbox = self.outbox.lock();
        if output.is_empty() {
            std::mem::swap(output, &mut outbox.bytes);
        } else {
            output.append(&mut outbox.bytes);
        }
        outbox.bytes.shrink_to(16 << 10);
        true
    }

    /// Bytes that wait to be read by it.
    pub(crate) fn waiting_bytes(&self) -> usize {
        self.output_bytes.load(Ordering::Relaxed) + self.outbox.lock().bytes.len()
    }

    /// Bytes that are held for it, about: what it has sent, what it has queued, what it has not read.
    pub(crate) fn memory(&self) -> usize {
        let queued = self.view.lock().multi_bytes;
        self.waiting_bytes() + self.input_bytes.load(Ordering::Relaxed) + queued
    }

    /// `address:port`, as CLIENT LIST writes it.
    pub(crate) fn address(&self) -> String {
        self.peer.map_or_else(|| "?:0".to_owned(), |peer| peer.to_string())
    }

    /// The same of this side.
    pub(crate) fn local_address(&self) -> String {
        self.local.map_or_else(|| "?:0".to_owned(), |local| local.to_string())
    }

    pub(crate) fn is_pubsub(&self) -> bool {
        let view = self.view.lock();
        view.channels + view.patterns + view.shards > 0
    }
}

/// All connections.
#[derive(Debug, Default)]
pub(crate) struct Clients {
    by_id: RwLock<FxHashMap<u64, Arc<Client>>>,
    last_id: AtomicU64,
}

impl Clients {
    pub(crate) fn add(&self, peer: Option<SocketAddr>, local: Option<SocketAddr>) -> Arc<Client> {
        let id = self.last_id.fetch_add(1, Ordering::Relaxed) + 1;
        let client = Arc::new(Client::new(id, peer, local));
        self.by_id.write().insert(id, Arc::clone(&client));
        client
    }

    pub(crate) fn remove(&self, id: u64) {
        self.by_id.write().remove(&id);
    }

    pub(crate) fn get(&self, id: u64) -> Option<Arc<Client>> {
        self.by_id.read().get(&id).cloned()
    }

    pub(crate) fn count(&self) -> usize {
        self.by_id.read().len()
    }

    /// All of them, the oldest first.
    pub(crate) fn all(&self) -> Vec<Arc<Client>> {
        let mut all: Vec<_> = self.by_id.read().values().cloned().collect();
        all.sort_unstable_by_key(|client| client.id);
        all
    }
}
