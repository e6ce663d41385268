//! Sessions that live over several requests.
//!
//! `POST /v1/transactions` begins one, the header `Perigee-Transaction` of other requests names it, and
//! `POST /v1/transactions/{id}/commit` or `/rollback` ends it. Its time is limited from its begin on: what holds locks must not
//! wait for a client for ever.

use std::collections::HashMap;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use parking_lot::Mutex;
use perigee_engine::{Session, TransactionStatus};
use perigee_types::{SqlError, SqlState};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

use crate::error::{Answer, Problem};
use crate::identity::Caller;
use crate::server::{Door, read_body};

/// The header that names a transaction.
pub(crate) const HEADER: &str = "perigee-transaction";
/// How long a transaction may take when nobody says.
const TIME: Duration = Duration::from_secs(60);
/// How long it may take at most.
const TIME_MAX: Duration = Duration::from_secs(3_600);
/// Transactions of this kind at a time.
const OPEN_MAX: usize = 256;

/// A session for one request: its own, or one that lives on.
pub(crate) enum Lease {
    Own(Box<Session>),
    Kept(OwnedMutexGuard<Option<Session>>, Box<Kept>),
}

/// What a lease of a session that lives on knows of it.
pub(crate) struct Kept {
    door: Arc<Door>,
    id: String,
}

impl Lease {
    /// Whether the session lives on.
    pub(crate) fn is_kept(&self) -> bool {
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
    user: String,
    session: Arc<AsyncMutex<Option<Session>>>,
    /// Its session's number and secret, to cancel what runs when its time is over.
    process: (i32, i32),
    ended: tokio_util::task::AbortOnDropHandle<()>,
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
    fn find(&self, id: &str, user: &str) -> Option<Arc<AsyncMutex<Option<Session>>>> {
        let open = self.0.lock();
        open.get(id).filter(|open| open.user == user).map(|open| open.session.clone())
    }
}

fn missing() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "there is no such transaction: it has ended, or its time is over")
}

impl Door {
    /// The session of a request: that of the transaction that its headers name, or a new one.
    pub(crate) async fn lease(
        self: &Arc<Self>,
        caller: &Caller,
        headers: &HeaderMap,
        database: Option<&str>,
        timeout_ms: Option<u64>,
    ) -> Answer<Lease> {
        let Some(id) = headers.get(HEADER) else {
            let timeout = timeout_ms.map(|ms| ("statement_timeout".to_owned(), ms.to_string()));
            let session = caller.connect(self, database, timeout.into_iter().collect()).await?;
            return Ok(Lease::Own(Box::new(session)));
        };
        if database.is_some() || timeout_ms.is_some() {
            return Err(Problem::bad("database and timeout_ms are those of the transaction"));
        }
        let id = id.to_str().map_err(|_| missing())?;
        self.kept(caller, id)
    }

    /// The same for several statements that are to see one moment.
    pub(crate) async fn lease_of_one_moment(self: &Arc<Self>, caller: &Caller, headers: &HeaderMap) -> Answer<Lease> {
        if headers.contains_key(HEADER) {
            return self.lease(caller, headers, None, None).await;
        }
        let isolation = ("default_transaction_isolation".to_owned(), "repeatable read".to_owned());
        Ok(Lease::Own(Box::new(caller.connect(self, None, vec![isolation]).await?)))
    }

    fn kept(self: &Arc<Self>, caller: &Caller, id: &str) -> Answer<Lease> {
        let session = self.transactions.find(id, &caller.user).ok_or_else(missing)?;
        let busy = || Problem::new(StatusCode::CONFLICT, "another request of this transaction is running");
        let session = session.try_lock_owned().map_err(|_| busy())?;
        if session.is_none() {
            return Err(missing());
        }
        Ok(Lease::Kept(session, Box::new(Kept { door: self.clone(), id: id.to_owned() })))
    }
}

/// How a transaction is to be.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Begin {
    isolation: Option<Isolation>,
    read_only: bool,
    /// How long it may take, from now on.
    time_ms: Option<u64>,
    /// How long each of its statements may take.
    timeout_ms: Option<u64>,
    database: Option<String>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
enum Isolation {
    #[serde(rename = "read committed")]
    ReadCommitted,
    #[serde(rename = "repeatable read")]
    RepeatableRead,
    #[serde(rename = "serializable")]
    Serializable,
}

/// `POST /v1/transactions`
pub(crate) async fn begin(
    State(door): State<Arc<Door>>,
    caller: Caller,
    headers: HeaderMap,
    body: Body,
) -> Answer<Response> {
    let body = read_body(&door, &headers, body).await?;
    let begin: Begin = match body.is_empty() {
        true => Begin::default(),
        false => {
            serde_json::from_slice(&body).map_err(|error| Problem::bad(format!("the body is not right: {error}")))?
        }
    };
    let time = begin.time_ms.map_or(TIME, Duration::from_millis);
    if time.is_zero() || time > TIME_MAX {
        return Err(Problem::bad(format!("time_ms is 1 to {}", TIME_MAX.as_millis())));
    }
    let timeout = begin.timeout_ms.map(|ms| ("statement_timeout".to_owned(), ms.to_string()));
    let mut session = caller.connect(&door, begin.database.as_deref(), timeout.into_iter().collect()).await?;
    let isolation = match begin.isolation {
        None => "",
        Some(Isolation::ReadCommitted) => " ISOLATION LEVEL READ COMMITTED",
        Some(Isolation::RepeatableRead) => " ISOLATION LEVEL REPEATABLE READ",
        Some(Isolation::Serializable) => " ISOLATION LEVEL SERIALIZABLE",
    };
    run(&mut session, &format!("BEGIN{isolation}{}", if begin.read_only { " READ ONLY" } else { "" })).await?;
    let id = format!("{:032x}", rand::random::<u128>());
    let process = (session.process_id(), session.secret());
    let session = Arc::new(AsyncMutex::new(Some(session)));
    let timer = {
        let (door, id, session) = (Arc::downgrade(&door), id.clone(), session.clone());
        tokio::spawn(async move {
            tokio::time::sleep(time).await;
            let Some(door) = door.upgrade() else { return };
            // What runs ends first; nobody finds it any more.
            door.transactions.forget(&id);
            door.engine.cancel(process.0, process.1);
            session.lock().await.take();
        })
    };
    {
        let mut open = door.transactions.0.lock();
        if open.len() >= OPEN_MAX {
            timer.abort();
            let message = format!("{OPEN_MAX} transactions over requests are open");
            return Err(SqlError::new(SqlState::TooManyConnections, message).into());
        }
        let ended = tokio_util::task::AbortOnDropHandle::new(timer);
        open.insert(id.clone(), Open { user: caller.user.clone(), session, process, ended });
    }
    let body = json!({"id": id, "time_ms": time.as_millis() as u64});
    let location = format!("/v1/transactions/{id}");
    Ok((StatusCode::CREATED, [("location", location)], Json(body)).into_response())
}

/// `POST /v1/transactions/{id}/commit`
pub(crate) async fn commit(State(door): State<Arc<Door>>, caller: Caller, Path(id): Path<String>) -> Answer<Response> {
    let lease = door.kept(&caller, &id)?;
    end(lease, "COMMIT").await
}

/// `POST /v1/transactions/{id}/rollback`, `DELETE /v1/transactions/{id}`
pub(crate) async fn rollback(
    State(door): State<Arc<Door>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Answer<Response> {
    // A statement that runs has no more use.
    let process = door.transactions.0.lock().get(&id).filter(|open| open.user == caller.user).map(|open| open.process);
    if let Some(process) = process {
        door.engine.cancel(process.0, process.1);
    }
    let session = door.transactions.find(&id, &caller.user).ok_or_else(missing)?;
    let session = session.lock_owned().await;
    if session.is_none() {
        return Err(missing());
    }
    end(Lease::Kept(session, Box::new(Kept { door: door.clone(), id })), "ROLLBACK").await
}

/// Ends a transaction in a task of its own: a commit goes on when the client has gone.
async fn end(mut lease: Lease, statement: &'static str) -> Answer<Response> {
    let ended = tokio::spawn(async move {
        let failed = lease.status() == TransactionStatus::Failed;
        let result = run(&mut lease, statement).await;
        if result.is_err() {
            drop(run(&mut lease, "ROLLBACK").await);
        }
        result.map(|()| if failed { "ROLLBACK" } else { statement })
    });
    let ended = ended.await.map_err(SqlError::internal)?;
    match ended? {
        "ROLLBACK" if statement == "COMMIT" => {
            let message = "a statement of the transaction has failed: it was rolled back";
            Err(SqlError::new(SqlState::InFailedSqlTransaction, message).into())
        }
        done => Ok(Json(json!({"command": done})).into_response()),
    }
}

async fn run(session: &mut Session, text: &str) -> Result<(), SqlError> {
    let statements = session.split(text)?;
    for statement in &statements {
        let planned = session.plan(statement, &[]).await?;
        drop(session.execute(&planned, &[]).await?);
    }
    session.finish().await
}
