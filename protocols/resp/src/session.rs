//! One connection: what it has chosen, and the loop that reads, runs and writes.
//!
//! ```text
//! input --> parser --> dispatch --+--> burst (commands of the keyspace) --> one read, or one unit --+--> output
//!                                 +--> a command of the door, behind the burst ---------------------+
//! ```

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use indexmap::{IndexMap, IndexSet};
use perigee_keyspace::{DbId, Permit, Position, Reply};

use crate::acl::User;
use crate::burst::Burst;
use crate::client::Client;
use crate::codec::reply;
use crate::codec::request::{Limits, Parser};
use crate::shared::Shared;
use crate::transaction::Transaction;
use crate::wire::{Turn, Wire};

/// Up to this nobody asks whether a reply is too large.
const LARGE_REPLY_BYTES: usize = 1 << 30;

/// The connection is over: nothing more can be said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ended;

/// How a connection was ended from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Killed {
    /// At once; what waits for it is lost.
    Now,
    /// Once what waits for it is written.
    Written,
}

/// CLIENT REPLY.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Replies {
    /// Every command is answered.
    #[default]
    On,
    /// None is.
    Off,
    /// The next is not.
    SkipNext,
}

/// CLIENT TRACKING of a connection.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tracking {
    pub(crate) on: bool,
    pub(crate) bcast: bool,
    pub(crate) optin: bool,
    pub(crate) optout: bool,
    pub(crate) noloop: bool,
    pub(crate) redirect: u64,
    pub(crate) prefixes: Vec<Bytes>,
    /// What CLIENT CACHING said, for the next command only.
    pub(crate) caching: Option<bool>,
}

/// See the module.
pub(crate) struct Session {
    pub(crate) shared: Arc<Shared>,
    pub(crate) client: Arc<Client>,
    pub(crate) wire: Wire,
    parser: Parser,
    /// Whether the client has proved itself, or does not have to.
    is_known: bool,
    /// What the user may do.
    pub(crate) user: Arc<User>,
    /// The version of the users at which it was looked up.
    pub(crate) user_version: u64,
    pub(crate) db: u32,
    pub(crate) resp3: bool,
    pub(crate) replies: Replies,
    pub(crate) multi: Option<Transaction>,
    /// Keys that the next transaction depends on, with the versions that they had when they were first watched.
    pub(crate) watches: IndexMap<(DbId, Bytes), Position>,
    pub(crate) channels: IndexSet<Bytes>,
    pub(crate) patterns: IndexSet<Bytes>,
    pub(crate) shards: IndexSet<Bytes>,
    pub(crate) tracking: Tracking,
    pub(crate) no_touch: bool,
    /// Nothing more is read; what is written goes out.
    pub(crate) closing: bool,
    /// Stands in an EXEC: what would wait must not.
    pub(crate) in_exec: bool,
    pub(crate) burst: Burst,
    /// What the scripts of a user may do, as it was found last.
    pub(crate) permit: Option<(Arc<User>, Arc<Permit>)>,
}

impl Session {
    pub(crate) fn new(shared: Arc<Shared>, client: Arc<Client>, wire: Wire) -> Self {
        let (is_known, user) = shared.stranger(client.peer);
        let mut session = Self {
            shared,
            client,
            wire,
            parser: Parser::default(),
            is_known: false,
            user,
            user_version: u64::MAX,
            db: 0,
            resp3: false,
            replies: Replies::On,
            multi: None,
            watches: IndexMap::new(),
            channels: IndexSet::new(),
            patterns: IndexSet::new(),
            shards: IndexSet::new(),
            tracking: Tracking::default(),
            no_touch: false,
            closing: false,
            in_exec: false,
            burst: Burst::default(),
            permit: None,
        };
        let user = Arc::clone(&session.user);
        session.become_user(is_known, user);
        session
    }

    /// Serves the connection to its end.
    pub(crate) async fn run(mut self) {
        let (Ok(()) | Err(Ended)) = self.serve().await;
        self.forget();
        let Session { wire, client, shared, .. } = self;
        shared.clients.remove(client.id);
        shared.add_up(&client);
        if client.killed() != Some(Killed::Now) {
            wire.close(&client).await;
        }
    }

    async fn serve(&mut self) -> Result<(), Ended> {
        loop {
            self.process().await?;
            if self.closing || (self.wire.is_over && self.wire.waiting() == 0) {
                return Ok(());
            }
            self.show();
            match self.wire.turn(&self.client).await? {
                Turn::Written => {}
                Turn::Input if self.wire.is_over => {
                    self.process().await?;
                    return Ok(());
                }
                Turn::Input => self.check_input()?,
            }
        }
    }

    /// Runs the commands that are here.
    async fn process(&mut self) -> Result<(), Ended> {
        while !self.closing {
            if self.wire.is_full() {
                self.run_burst().await?;
                if self.wire.is_full() {
                    break;
                }
            }
            if self.client.killed() == Some(Killed::Now) {
                return Err(Ended);
            }
            let limits =
                Limits { bulk_bytes_max: self.shared.config.hot.bulk_bytes_max(), authenticated: self.is_known() };
            match self.parser.next(&mut self.wire.input, &limits) {
                Ok(Some(args)) => self.dispatch(args).await?,
                // More may have come while the burst ran: nobody else would look at it before the client sends again.
                Ok(None) if self.burst.is_empty() => break,
                Ok(None) => self.run_burst().await?,
                Err(error) => {
                    self.run_burst().await?;
                    self.write(&Reply::error(error.to_string()));
                    self.closing = true;
                }
            }
        }
        self.run_burst().await?;
        self.check_output()
    }

    /// Runs one command to its end.
    pub(crate) async fn run_whole(&mut self, args: Vec<Bytes>) -> Result<(), Ended> {
        self.dispatch(args).await?;
        self.run_burst().await
    }

    /// A client that asks for more than may wait for it is ended without an answer.
    fn check_output(&self) -> Result<(), Ended> {
        let hard = self.shared.config.hot.normal_limit.read().hard;
        if hard > 0 && self.wire.waiting() > hard && !self.is_subscribed() {
            tracing::info!(client = self.client.id, "closed: its output buffer is over the limit");
            self.client.kill(Killed::Now);
            return Err(Ended);
        }
        Ok(())
    }

    fn check_input(&self) -> Result<(), Ended> {
        if self.wire.input.len() > self.shared.config.hot.query_buffer_bytes_max() {
            tracing::warn!(client = self.client.id, "closed: its query buffer is over the limit");
            return Err(Ended);
        }
        Ok(())
    }

    /// Whether the client has proved itself, or does not have to.
    pub(crate) fn is_known(&self) -> bool {
        self.is_known
    }

    /// Becomes a user, or nobody.
    pub(crate) fn become_user(&mut self, is_known: bool, user: Arc<User>) {
        let tenant = if is_known { u64::from(user.tenant().0) } else { 0 };
        if self.client.tenant.load(Ordering::Relaxed) != tenant {
            // What it listens to is another tenant's.
            self.forget();
        }
        self.client.tenant.store(tenant, Ordering::Relaxed);
        self.client.view.lock().user = user.name.to_string();
        let role = if is_known { user.role().0 } else { 0 };
        self.client.role.store(role, Ordering::Relaxed);
        self.is_known = is_known;
        self.user = user;
        // It is looked up again with the first command: it may have changed since it was read.
        self.user_version = u64::MAX;
    }

    /// The selected database.
    pub(crate) fn db_id(&self) -> DbId {
        DbId { tenant: self.client.tenant(), number: self.db }
    }

    /// Answers.
    pub(crate) fn write(&mut self, answer: &Reply) {
        if let Reply::Nothing = answer {
            return;
        }
        match self.replies {
            Replies::On if self.is_too_large(answer) => {
                let error = Reply::error("ERR the reply would be too large for the memory of this server");
                reply::write(&mut self.wire.output, &error, self.resp3);
            }
            Replies::On => reply::write(&mut self.wire.output, answer, self.resp3),
            Replies::Off | Replies::SkipNext => {}
        }
    }

    /// Whether a reply would take more than all clients may: a value that is named often is there once, but written out each time.
    fn is_too_large(&self, answer: &Reply) -> bool {
        let bytes = answer.memory();
        bytes > LARGE_REPLY_BYTES && bytes as u64 > self.shared.clients_bytes_max()
    }

    /// Waits for what a command needs, while the client may leave.
    ///
    /// # Errors
    /// [`Ended`].
    pub(crate) async fn wait<T>(&mut self, takes: bool, future: impl Future<Output = T>) -> Result<T, Ended> {
        self.wire.wait(&self.client, takes, future).await
    }

    /// What CLIENT LIST shows changes.
    pub(crate) fn show(&self) {
        self.client.resp3.store(self.resp3, Ordering::Relaxed);
        let mut view = self.client.view.lock();
        view.db = self.db;
        view.channels = self.channels.len();
        view.patterns = self.patterns.len();
        view.shards = self.shards.len();
        view.multi = self.multi.as_ref().map(|multi| multi.commands.len());
        view.multi_bytes = self.multi.as_ref().map_or(0, |multi| multi.bytes);
        view.watching = self.watches.len();
        view.input = self.wire.input.len();
        view.input_free = self.wire.input.capacity() - self.wire.input.len();
        self.client.input_bytes.store(self.wire.input.len(), Ordering::Relaxed);
        view.no_touch = self.no_touch;
    }

    /// Takes everything back that others know of this connection, but itself: its end, and RESET.
    pub(crate) fn forget(&mut self) {
        self.multi = None;
        self.watches.clear();
        crate::command::unsubscribe_all(self);
        self.shared.tracking.stop(self.client.id, self.client.tenant());
        self.tracking = Tracking::default();
        self.client.view.lock().tracking = None;
        self.shared.monitors.remove(self.client.id);
        self.client.view.lock().monitor = false;
    }
}
