//! The keyspace of a node: what doors call, what the log drives.
//!
//! ```text
//! door -- submit(unit) --> line --> proposer task: one entry of all that waits --> log
//!   ^                                                                                | committed
//!   +------- replies --- publish <-- apply: units in order, waiters behind them <----+
//! ```
//!
//! One entry is on its way at a time, or two; what comes meanwhile goes into the next one. So one fsync serves all
//! connections, and a quiet node waits for nobody.

use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use parking_lot::{Mutex, RwLock};
use perigee_runtime::{Clock, Passing};
use perigee_storage::budget::{Guard, MemoryBudget, OutOfMemory, Pool};
use perigee_telemetry::trace::Parent;
use rustc_hash::FxHashMap;
use tokio::sync::{Semaphore, oneshot};

use crate::answers::Answers;
use crate::db::Position;
use crate::error::Block;
use crate::line::{Closed, First, Line, Queue};
use crate::payload::Item;
use crate::room::REPLIES_BYTES_MAX;
use crate::state::{DbId, State};
use crate::unit::{Command, Unit};
use crate::{Context, Effects, Error, EventClass, Load, Reader, Reply, StorageFault};

/// KiB of large units between a door and their answers. With one small unit for each connection this bounds the line.
const LINE_KIB_MAX: usize = 512 << 10;
/// From so many bytes on a unit is large. All connections share the count of their room, which costs as much as what it counts.
const LARGE_UNIT_BYTES: usize = 4 << 10;

/// Why a unit has no replies.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// Nobody can tell whether it took effect: close the connection.
    #[error("the outcome of the command is not known")]
    Unknown,
    /// Nothing was written. The text is for the client, with its prefix.
    #[error("{0}")]
    Refused(String),
}

/// Who takes entries to the log.
pub trait Proposer: Send + Sync + 'static {
    /// Proposes an entry; calls made one after the other stand in the log in that order. Completes once it is applied here. `traced`: the
    /// steps that it is a part of.
    fn propose(&self, payload: Bytes, traced: &[Parent]) -> BoxFuture<'static, Result<(), SubmitError>>;

    /// Entries on their way at a time. What comes meanwhile goes into the next one, so fewer are larger.
    fn on_their_way_max(&self) -> usize {
        1
    }

    /// Whether this node looks after what is over: one of all does.
    fn leads(&self) -> bool {
        true
    }

    /// Whether a write of about `bytes` has room on the disk.
    ///
    /// # Errors
    /// What the client is told.
    fn check_room(&self, bytes: usize) -> Result<(), String>;

    /// Completes when there is memory for more changes before the next checkpoint.
    fn relieved(&self) -> BoxFuture<'static, ()>;
}

/// Who is told what commands do beside their replies.
pub trait Listener: Send + Sync + 'static {
    /// Classes of events that somebody is told of now. Called as [`Listener::effects`] is.
    fn events(&self) -> EventClass;

    /// Behind each command or transaction that was applied. `client` is the connection when it is one of this node.
    ///
    /// Called while the keyspace is locked: must not wait, and must not call it.
    fn effects(&self, effects: &Effects, client: Option<u64>);
}

/// A unit on its way, and who waits for it.
pub(crate) struct Submitted {
    pub(crate) item: Item,
    pub(crate) answer: Option<oneshot::Sender<Result<Answered, SubmitError>>>,
}

/// What became of a unit, with its commands: who made them takes their memory back.
pub(crate) struct Answered {
    pub(crate) answer: Answer,
    pub(crate) commands: Vec<Command>,
}

/// What became of a unit.
pub(crate) enum Answer {
    /// All its replies.
    Replies(Vec<Reply>),
    /// The replies so far; its last command waits.
    Waits { replies: Vec<Reply>, at: Position, block: Block, served: oneshot::Receiver<Result<Reply, SubmitError>> },
}

/// A client of this node whose command waits.
pub(crate) struct LocalWaiter {
    pub(crate) client: u64,
    pub(crate) served: oneshot::Sender<Result<Reply, SubmitError>>,
    /// What it is told when it is taken away.
    pub(crate) otherwise: Reply,
    /// CLIENT UNBLOCK has ended it, and the log does not have that yet.
    pub(crate) ends: bool,
}

/// The keyspace of a node.
pub struct Keyspace {
    this: Weak<Keyspace>,
    pub(crate) state: RwLock<State>,
    pub(crate) load: Box<dyn Load + Send + Sync>,
    pub(crate) clock: Arc<dyn Clock>,
    started: Duration,
    /// Times of applied entries.
    pub(crate) passing: Passing,
    /// Tells this process's entries from others'.
    pub(crate) origin: u64,
    line: Arc<Queue>,
    room: Semaphore,
    /// Units of entries on their way, by number.
    pub(crate) on_their_way: Mutex<FxHashMap<u64, Vec<Submitted>>>,
    pub(crate) local_waiters: Mutex<FxHashMap<Position, LocalWaiter>>,
    /// Waits that are to end and whose end has not come into the log: tried again, until it has.
    pub(crate) unended: Mutex<Vec<Position>>,
    /// Answers that go out when the batch is published.
    pub(crate) finished: Mutex<Vec<Finished>>,
    /// Those that did, on their way to a door.
    pub(crate) answers: Answers,
    pub(crate) listener: RwLock<Option<Arc<dyn Listener>>>,
    counted: Mutex<Option<Counted>>,
}

/// What the budget holds for it.
struct Counted {
    hot: Guard,
    dirty: Guard,
    all: Pool,
}

pub(crate) enum Finished {
    Unit(oneshot::Sender<Result<Answered, SubmitError>>, Result<Answered, SubmitError>),
    Waiter(oneshot::Sender<Result<Reply, SubmitError>>, Result<Reply, SubmitError>),
}

impl Keyspace {
    /// An empty keyspace; give the [`Line`] to [`Keyspace::run`].
    #[must_use]
    pub fn new(state: State, load: Box<dyn Load + Send + Sync>, clock: Arc<dyn Clock>) -> (Arc<Self>, Line) {
        let (line, rest) = Line::new();
        let keyspace = Arc::new_cyclic(|this| Self {
            this: this.clone(),
            state: RwLock::new(state),
            load,
            started: clock.monotonic(),
            clock,
            passing: Passing::default(),
            origin: rand::random(),
            line,
            room: Semaphore::new(LINE_KIB_MAX),
            on_their_way: Mutex::default(),
            local_waiters: Mutex::default(),
            unended: Mutex::default(),
            finished: Mutex::default(),
            answers: Answers::default(),
            listener: RwLock::default(),
            counted: Mutex::default(),
        });
        (keyspace, rest)
    }

    /// Counts its bytes in the node's budget from now on.
    pub fn count_in(&self, budget: &MemoryBudget) {
        let counted = Counted { hot: budget.hot.reserve(0), dirty: budget.dirty.reserve(0), all: budget.root.clone() };
        *self.counted.lock() = Some(counted);
        self.account(&self.state.read());
    }

    /// Tells the budget how much there is.
    pub(crate) fn account(&self, state: &State) {
        if let Some(counted) = &mut *self.counted.lock() {
            counted.hot.resize(state.hot_bytes());
            counted.dirty.resize(state.dirty_bytes());
        }
    }

    /// Takes `bytes` out of the node's memory, where it is counted at all.
    pub(crate) fn reserve(&self, bytes: usize) -> Result<Option<Guard>, OutOfMemory> {
        let counted = self.counted.lock();
        counted.as_ref().map(|counted| counted.all.try_reserve(bytes)).transpose()
    }

    /// Itself, for what outlives a call.
    pub(crate) fn handle(&self) -> Arc<Keyspace> {
        // Whoever calls holds one, as it is never made without.
        self.this.upgrade().unwrap_or_else(|| unreachable!("a keyspace is always shared"))
    }

    /// Tells `listener` from now on.
    pub fn listen(&self, listener: Arc<dyn Listener>) {
        *self.listener.write() = Some(listener);
    }

    /// Tells nobody any more; whoever listens may hold the keyspace itself.
    pub fn end_listening(&self) {
        *self.listener.write() = None;
    }

    /// Now, as reads see it: milliseconds since 1970 UTC, never behind an applied entry and what has passed since.
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        i64::try_from(self.passing.now_micros(&*self.clock) / 1_000).unwrap_or(i64::MAX)
    }

    /// Seconds since the node started.
    #[must_use]
    pub fn uptime(&self) -> u32 {
        u32::try_from(self.clock.monotonic().saturating_sub(self.started).as_secs()).unwrap_or(u32::MAX)
    }

    /// A context for a client's read, now.
    #[must_use]
    pub fn context(&self, db: DbId) -> Context {
        Context { uptime: self.uptime(), random: rand::random(), ..Context::new(db, self.now_ms()) }
    }

    /// Runs commands that only read, all of them over one state. Replies to the first of them, where these are so large that the
    /// others had better wait.
    ///
    /// Blocks on the disk for keys that are not in memory.
    ///
    /// # Errors
    /// [`StorageFault`]: this read cannot be served, and perhaps no other.
    pub fn read(&self, context: &Context, commands: &[Command]) -> Result<Vec<Reply>, StorageFault> {
        loop {
            match self.try_read(context, commands) {
                Ok(replies) => return Ok(replies),
                Err(Error::Miss(db, key)) => self.load.load_shared(&self.state, db, &key)?,
                Err(Error::Storage(fault)) => return Err(fault),
                Err(Error::Reply(_) | Error::Block(_)) => {
                    return Err(StorageFault::Entry("a read ended as only a command may"));
                }
            }
        }
    }

    fn try_read(&self, context: &Context, commands: &[Command]) -> Result<Vec<Reply>, Error> {
        let state = self.state.read();
        let reader = Reader::new(&state, context).loading(&*self.load);
        let mut replies = Vec::with_capacity(commands.len());
        let mut bytes = 0;
        for command in commands {
            if bytes > REPLIES_BYTES_MAX {
                break;
            }
            match crate::run::read_with(&reader, command.spec, &command.args) {
                Err(Error::Block(block)) if context.must_not_wait => replies.push(block.otherwise),
                other => replies.push(other?),
            }
            bytes += replies.last().map_or(0, Reply::memory);
        }
        Ok(replies)
    }

    /// Looks at the state; for statistics and tables.
    pub fn with_state<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.state.read())
    }

    /// The version of a key, for WATCH: it moves with each change, and for an absent key when it is made.
    ///
    /// # Errors
    /// [`StorageFault`].
    pub fn version(&self, db: DbId, key: &[u8]) -> Result<Position, StorageFault> {
        loop {
            let found = self.state.read().version(db, key, self.now_ms());
            match found {
                Ok(version) => return Ok(version),
                Err(Error::Miss(db, key)) => self.load.load_shared(&self.state, db, &key)?,
                Err(Error::Storage(fault)) => return Err(fault),
                Err(_) => return Ok(Position::default()),
            }
        }
    }

    /// Logs and applies a unit and gives a reply for each of its commands.
    ///
    /// Only its last command may be one that waits; then this waits. Dropping the future takes a waiting command away, not
    /// one that is on its way to the log. A transaction whose watched keys have changed answers with one
    /// [`Reply::NullArray`].
    ///
    /// # Errors
    /// See [`SubmitError`].
    pub async fn submit(self: &Arc<Self>, unit: Unit) -> Result<Vec<Reply>, SubmitError> {
        match self.start(unit).await? {
            Started::Replies(replies, _) => Ok(replies),
            Started::Waits(waiting) => Ok(waiting.end().await?.0),
        }
    }

    /// The first half of [`Keyspace::submit`]: until the unit is applied. Who drops this does not know whether its last
    /// command waits; the node ends such a wait when it learns of it.
    ///
    /// # Errors
    /// See [`SubmitError`].
    pub async fn start(self: &Arc<Self>, unit: Unit) -> Result<Started, SubmitError> {
        let bytes = unit.bytes();
        let _room = if bytes < LARGE_UNIT_BYTES {
            None
        } else {
            let kib = (bytes / 1_024).min(LINE_KIB_MAX);
            Some(self.room.acquire_many(u32::try_from(kib).unwrap_or(u32::MAX)).await)
        };
        let _growing = self.grow(&unit)?;
        let (answer, answered) = oneshot::channel();
        if let Some(first) = self.put(Submitted { item: Item::Unit(unit), answer: Some(answer) })? {
            first.wake().await;
        }
        let Answered { answer, commands } = answered.await.unwrap_or(Err(SubmitError::Unknown))?;
        Ok(match answer {
            Answer::Replies(replies) => Started::Replies(replies, commands),
            Answer::Waits { replies, at, block, served } => {
                let gone = Gone { keyspace: Arc::clone(self), at: Some(at) };
                Started::Waits(Waiting { replies, commands, at, timeout_ms: block.timeout_ms, served, gone })
            }
        })
    }

    /// Ends the wait of a connection (CLIENT UNBLOCK): as if its time were over, or with an error. Says whether it waits.
    pub async fn unblock(self: &Arc<Self>, client: u64, with_error: bool) -> bool {
        let at = {
            let mut waiters = self.local_waiters.lock();
            let waiting = waiters.iter_mut().find(|(_, waiter)| waiter.client == client && !waiter.ends);
            let Some((at, waiter)) = waiting else { return false };
            waiter.ends = true;
            if with_error {
                waiter.otherwise = Reply::error("UNBLOCKED client unblocked via CLIENT UNBLOCK");
            }
            *at
        };
        self.put(Submitted { item: Item::Unblock(at), answer: None }).is_ok()
    }

    /// Connections of this node that wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.local_waiters.lock().len()
    }

    /// Ends a wait whose client has gone: what comes later is for others.
    pub(crate) fn end_wait(&self, at: Position) {
        if self.put(Submitted { item: Item::Unblock(at), answer: None }).is_err() {
            self.unended.lock().push(at);
        }
    }

    /// Puts something into the line. The proposer is woken when what this gives drops.
    fn put(&self, submitted: Submitted) -> Result<Option<First<'_>>, SubmitError> {
        let closed = |Closed| SubmitError::Refused("ERR the node is stopping".to_owned());
        self.line.put(submitted).map_err(closed)
    }
}

/// A unit that was applied.
pub enum Started {
    /// All its replies, and its commands.
    Replies(Vec<Reply>, Vec<Command>),
    /// Its last command waits.
    Waits(Waiting),
}

/// A command that waits; dropping it takes it out of the line before anything that is submitted later.
pub struct Waiting {
    replies: Vec<Reply>,
    commands: Vec<Command>,
    at: Position,
    /// 0 for no end.
    timeout_ms: u64,
    served: oneshot::Receiver<Result<Reply, SubmitError>>,
    gone: Gone,
}

impl Waiting {
    /// Waits for its turn or its end; gives the replies of the whole unit, and its commands.
    ///
    /// # Errors
    /// See [`SubmitError`].
    pub async fn end(mut self) -> Result<(Vec<Reply>, Vec<Command>), SubmitError> {
        let unknown = |_| Err(SubmitError::Unknown);
        let keyspace = Arc::clone(&self.gone.keyspace);
        let mut reply = None;
        if self.timeout_ms > 0 {
            tokio::select! {
                biased;
                served = &mut self.served => reply = Some(served.unwrap_or_else(unknown)),
                () = keyspace.clock.sleep(Duration::from_millis(self.timeout_ms)) => {
                    // It may be served before the log knows that its time is over.
                    drop(keyspace.put(Submitted { item: Item::Unblock(self.at), answer: None })?);
                }
            }
        }
        let reply = match reply {
            Some(reply) => reply,
            None => (&mut self.served).await.unwrap_or_else(unknown),
        };
        self.gone.at = None;
        self.replies.push(reply?);
        Ok((std::mem::take(&mut self.replies), std::mem::take(&mut self.commands)))
    }
}

/// Takes a waiter away when nobody waits for its reply any more.
struct Gone {
    keyspace: Arc<Keyspace>,
    at: Option<Position>,
}

impl Drop for Gone {
    fn drop(&mut self) {
        let Some(at) = self.at else { return };
        self.keyspace.end_wait(at);
    }
}
