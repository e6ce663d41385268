//! Sessions that live over several requests.
//!
//! One request begins a transaction, others name it, and one ends it. Its time is limited from its begin on: what holds locks must not
//! wait for a client for ever.

use std::collections::HashMap;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use perigee_engine::{Session, TransactionStatus};
use perigee_types::{SqlError, SqlState};
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};
use tokio_util::task::AbortOnDropHandle;

use crate::{Caller, Door};

/// How long a transaction may take when nobody says.
const TIME: Duration = Duration::from_secs(60);
/// How long it may take at most.
pub const TIME_MAX: Duration = Duration::from_secs(3_600);
/// Transactions of this kind at a time.
const OPEN_MAX: usize = 256;
/// The same of one role: none may take all.
const OPEN_OF_ROLE_MAX: usize = 64;

/// Why there is no session for a request, or its transaction did not end as it was to.
#[derive(Debug)]
pub enum LeaseError {
    /// The transaction that it names is not there, or not the caller's.
    Missing,
    /// Another request of the transaction is running.
    Busy,
    /// It wants what does not go together.
    Bad(String),
    /// What the engine says.
    Sql(SqlError),
}

impl LeaseError {
    /// What of it does not depend on the door.
    #[must_use]
    pub fn message(&self) -> &str {
        match self {
            LeaseError::Missing => "there is no such transaction: it has ended, or its time is over",
            LeaseError::Busy => "another request of this transaction is running",
            LeaseError::Bad(message) => message,
            LeaseError::Sql(error) => error.message(),
        }
    }
}

impl From<SqlError> for LeaseError {
    fn from(error: SqlError) -> Self {
        Self::Sql(error)
    }
}

/// A session for one request: its own, or one that lives on.
pub enum Lease {
    /// The request's own.
    Own(Box<Session>),
    /// One that lives over several.
    Kept(OwnedMutexGuard<Option<Session>>, Box<Kept>),
}

/// What a lease of a session that lives on knows of it.
pub struct Kept {
    door: Arc<Door>,
    id: String,
}

impl Lease {
    /// Whether the session lives on.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        matches!(self, Lease::Kept(..))
    }
}

impl Deref for Lease {
    type Target = Session;

    fn deref(&self) -> &Session {
        match self {
            Lease::Own(session) => session,
            Lease::Kept(session, _) => match &**session {
                Some(session) => session,
                None => unreachable!("a lease is given for a session that is there, and only its end takes it"),
            },
        }
    }
}

impl DerefMut for Lease {
    fn deref_mut(&mut self) -> &mut Session {
        match self {
            Lease::Own(session) => session,
            Lease::Kept(session, _) => match &mut **session {
                Some(session) => session,
                None => unreachable!("a lease is given for a session that is there, and only its end takes it"),
            },
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // COMMIT or ROLLBACK as a statement has ended it.
        if let Lease::Kept(session, kept) = self
            && session.as_ref().is_some_and(|session| session.status() == TransactionStatus::Idle)
        {
            **session = None;
            kept.door.transactions.forget(&kept.id);
        }
    }
}

/// Transactions that are open, by name.
#[derive(Default)]
pub(crate) struct Transactions(Mutex<HashMap<String, Open>>);

struct Open {
    /// The role that has begun it, and whether it may write nothing: a key that only reads does not find what its role has begun.
    owner: (String, bool),
    session: Arc<AsyncMutex<Option<Session>>>,
    /// Its session's number and secret, to cancel what runs when its time is over.
    process: (i32, i32),
    ended: AbortOnDropHandle<()>,
}

impl Open {
    fn is_of(&self, caller: &Caller) -> bool {
        self.owner.0 == caller.user && self.owner.1 == caller.read_only
    }
}

impl Transactions {
    fn forget(&self, id: &str) {
        let open = self.0.lock().remove(id);
        // Its own timer may be what calls.
        if let Some(open) = open {
            drop(open.ended.detach());
        }
    }

    /// The session of a transaction, for who has begun it; to everybody else it is not there.
    fn find(&self, id: &str, caller: &Caller) -> Option<Arc<AsyncMutex<Option<Session>>>> {
        let open = self.0.lock();
        open.get(id).filter(|open| open.is_of(caller)).map(|open| open.session.clone())
    }
}

/// How a transaction is to be.
#[derive(Clone, Debug, Default)]
pub struct BeginOptions {
    /// The role's, or the server's, where it is not said.
    pub isolation: Option<Isolation>,
    /// It writes nothing.
    pub read_only: bool,
    /// How long it may take, milliseconds from now on.
    pub time_ms: Option<u64>,
    /// How long each of its statements may take, milliseconds.
    pub timeout_ms: Option<u64>,
    /// The database.
    pub database: Option<String>,
}

/// What a transaction sees of others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// What is committed when each statement begins.
    ReadCommitted,
    /// What was committed when it began.
    RepeatableRead,
    /// As if it were alone.
    Serializable,
}

/// A transaction that has begun.
#[derive(Clone, Debug)]
pub struct Begun {
    /// Its name.
    pub id: String,
    /// How long it may take.
    pub time: Duration,
}

impl Door {
    /// The session of a request: that of the transaction that it names, or a new one.
    pub fn lease<'a>(
        self: &'a Arc<Self>,
        caller: &'a Caller,
        transaction: Option<&'a str>,
        database: Option<&'a str>,
        timeout_ms: Option<u64>,
    ) -> BoxFuture<'a, Result<Lease, LeaseError>> {
        async move {
            let Some(id) = transaction else {
                let timeout = timeout_ms.map(|ms| ("statement_timeout".to_owned(), ms.to_string()));
                let session = caller.connect(self, database, timeout.into_iter().collect()).await?;
                return Ok(Lease::Own(Box::new(session)));
            };
            if database.is_some() || timeout_ms.is_some() {
                return Err(LeaseError::Bad("database and timeout_ms are those of the transaction".to_owned()));
            }
            self.kept(caller, id)
        }
        .boxed()
    }

    /// The same for several statements that are to see one moment.
    pub fn lease_of_one_moment<'a>(
        self: &'a Arc<Self>,
        caller: &'a Caller,
        transaction: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Lease, LeaseError>> {
        if transaction.is_some() {
            return self.lease(caller, transaction, None, None);
        }
        async move {
            let isolation = ("default_transaction_isolation".to_owned(), "repeatable read".to_owned());
            Ok(Lease::Own(Box::new(caller.connect(self, None, vec![isolation]).await?)))
        }
        .boxed()
    }

    fn kept(self: &Arc<Self>, caller: &Caller, id: &str) -> Result<Lease, LeaseError> {
        let session = self.transactions.find(id, caller).ok_or(LeaseError::Missing)?;
        let mut session = session.try_lock_owned().map_err(|_| LeaseError::Busy)?;
        match &mut *session {
            Some(session) => session.trace_within(caller.traced()),
            None => return Err(LeaseError::Missing),
        }
        Ok(Lease::Kept(session, Box::new(Kept { door: self.clone(), id: id.to_owned() })))
    }

    /// Begins a transaction that requests name.
    pub fn begin<'a>(
        self: &'a Arc<Self>,
        caller: &'a Caller,
        options: BeginOptions,
    ) -> BoxFuture<'a, Result<Begun, LeaseError>> {
        self.begin_one(caller, options).boxed()
    }

    async fn begin_one(self: &Arc<Self>, caller: &Caller, options: BeginOptions) -> Result<Begun, LeaseError> {
        let time = options.time_ms.map_or(TIME, Duration::from_millis);
        if time.is_zero() || time > TIME_MAX {
            return Err(LeaseError::Bad(format!("time_ms is 1 to {}", TIME_MAX.as_millis())));
        }
        let timeout = options.timeout_ms.map(|ms| ("statement_timeout".to_owned(), ms.to_string()));
        let mut session = caller.connect(self, options.database.as_deref(), timeout.into_iter().collect()).await?;
        let isolation = match options.isolation {
            None => "",
            Some(Isolation::ReadCommitted) => " ISOLATION LEVEL READ COMMITTED",
            Some(Isolation::RepeatableRead) => " ISOLATION LEVEL REPEATABLE READ",
            Some(Isolation::Serializable) => " ISOLATION LEVEL SERIALIZABLE",
        };
        run(&mut session, &format!("BEGIN{isolation}{}", if options.read_only { " READ ONLY" } else { "" })).await?;
        let id = format!("{:032x}", rand::random::<u128>());
        let process = (session.process_id(), session.secret());
        let session = Arc::new(AsyncMutex::new(Some(session)));
        let timer = {
            let (door, id, session) = (Arc::downgrade(self), id.clone(), session.clone());
            tokio::spawn(async move {
                tokio::time::sleep(time).await;
                let Some(door) = door.upgrade() else { return };
                // What runs ends first; nobody finds it any more.
                door.transactions.forget(&id);
                door.engine.cancel(process.0, process.1);
                session.lock().await.take();
            })
        };
        let mut open = self.transactions.0.lock();
        if open.len() >= OPEN_MAX {
            timer.abort();
            let message = format!("{OPEN_MAX} transactions over requests are open");
            return Err(SqlError::new(SqlState::TooManyConnections, message).into());
        }
        if open.values().filter(|open| open.owner.0 == caller.user).count() >= OPEN_OF_ROLE_MAX {
            timer.abort();
            let message =
                format!("{OPEN_OF_ROLE_MAX} transactions over requests are open for role \"{}\"", caller.user);
            return Err(SqlError::new(SqlState::TooManyConnections, message).into());
        }
        let ended = AbortOnDropHandle::new(timer);
        open.insert(id.clone(), Open { owner: (caller.user.clone(), caller.read_only), session, process, ended });
        Ok(Begun { id, time })
    }

    /// Commits a transaction. It goes on when the client has gone.
    pub fn commit<'a>(self: &'a Arc<Self>, caller: &'a Caller, id: &'a str) -> BoxFuture<'a, Result<(), LeaseError>> {
        async move {
            match end(self.kept(caller, id)?, "COMMIT").await? {
                "COMMIT" => Ok(()),
                _ => {
                    let message = "a statement of the transaction has failed: it was rolled back";
                    Err(SqlError::new(SqlState::InFailedSqlTransaction, message).into())
                }
            }
        }
        .boxed()
    }

    /// Rolls a transaction back. A statement of it that runs is cancelled: it has no more use.
    pub fn rollback<'a>(self: &'a Arc<Self>, caller: &'a Caller, id: &'a str) -> BoxFuture<'a, Result<(), LeaseError>> {
        async move {
            let process = self.transactions.0.lock().get(id).filter(|open| open.is_of(caller)).map(|open| open.process);
            if let Some(process) = process {
                self.engine.cancel(process.0, process.1);
            }
            let session = self.transactions.find(id, caller).ok_or(LeaseError::Missing)?;
            let session = session.lock_owned().await;
            if session.is_none() {
                return Err(LeaseError::Missing);
            }
            let lease = Lease::Kept(session, Box::new(Kept { door: self.clone(), id: id.to_owned() }));
            end(lease, "ROLLBACK").await?;
            Ok(())
        }
        .boxed()
    }
}

/// Ends a transaction in a task of its own, and says how: a failed one is rolled back.
async fn end(mut lease: Lease, statement: &'static str) -> Result<&'static str, SqlError> {
    let ended = tokio::spawn(async move {
        let failed = lease.status() == TransactionStatus::Failed;
        let result = run(&mut lease, statement).await;
        if result.is_err() {
            drop(run(&mut lease, "ROLLBACK").await);
        }
        result.map(|()| if failed { "ROLLBACK" } else { statement })
    });
    ended.await.map_err(SqlError::internal)?
}

async fn run(session: &mut Session, text: &str) -> Result<(), SqlError> {
    let statements = session.split(text)?;
    for statement in &statements {
        let planned = session.plan(statement, &[]).await?;
        drop(session.execute(&planned, &[]).await?);
    }
    session.finish().await
}
