//! The sessions of this node: for cancellation, `pg_stat_activity`, the limit of connections and shutdown.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use parking_lot::Mutex;
use perigee_query::exec::SessionActivity;
use perigee_types::{SqlError, SqlResult, SqlState};
use rustc_hash::FxHashMap;
use tokio_util::sync::CancellationToken;

use crate::elsewhere::Foreign;

/// What others may see of a session, and do to it.
#[derive(Debug)]
pub struct SessionEntry {
    /// `pg_backend_pid()`.
    pub process_id: i32,
    /// What a cancel request must know.
    pub secret: i32,
    /// The role.
    pub user: String,
    /// The database.
    pub database: String,
    /// Where the client is.
    pub peer: Option<SocketAddr>,
    /// When it connected: microseconds since 1970 UTC.
    pub connected_micros: i64,
    /// What it does.
    pub activity: Mutex<Activity>,
    /// Ends the session.
    pub terminated: CancellationToken,
    cancel: Mutex<CancellationToken>,
}

/// What a session does.
#[derive(Clone, Debug, Default)]
pub struct Activity {
    /// `application_name`
    pub application_name: String,
    /// The text of the last statement.
    pub query: Arc<str>,
    /// `active`, `idle`, `idle in transaction`, `idle in transaction (aborted)`
    pub state: &'static str,
    /// When the last statement began: microseconds since 1970 UTC.
    pub query_start_micros: i64,
    /// When the transaction began.
    pub transaction_start_micros: Option<i64>,
    /// When `state` changed.
    pub state_change_micros: i64,
}

impl SessionEntry {
    /// A token for a statement that begins now; an older one has no effect any more.
    pub fn begin_statement(&self) -> CancellationToken {
        let token = self.terminated.child_token();
        *self.cancel.lock() = token.clone();
        token
    }

    /// What `pg_stat_activity` shows of it.
    #[must_use]
    pub fn shown(&self) -> SessionActivity {
        let activity = self.activity.lock().clone();
        SessionActivity {
            process_id: self.process_id,
            database: self.database.clone(),
            user: self.user.clone(),
            application_name: activity.application_name,
            peer: self.peer,
            connected_micros: self.connected_micros,
            transaction_start_micros: activity.transaction_start_micros,
            query_start_micros: (activity.query_start_micros != 0).then_some(activity.query_start_micros),
            state_change_micros: activity.state_change_micros,
            state: activity.state,
            query: activity.query,
        }
    }

    /// Cancels the running statement.
    pub fn cancel(&self) {
        self.cancel.lock().cancel();
    }
}

/// All sessions of the node.
#[derive(Debug, Default)]
pub struct Registry {
    sessions: Mutex<FxHashMap<i32, Arc<SessionEntry>>>,
    next: AtomicI32,
    node_number: u8,
    closing: CancellationToken,
}

/// Where the number of the node begins in a process id.
const NODE_SHIFT: u32 = 26;

impl Registry {
    /// The registry of a node: process ids of different nodes are different.
    #[must_use]
    pub(crate) fn new(node_number: u8) -> Self {
        Self { node_number: node_number & 31, ..Self::default() }
    }

    /// Whether a process id is one of this node's clients.
    #[must_use]
    pub fn is_own(&self, process_id: i32) -> bool {
        process_id >> NODE_SHIFT == i32::from(self.node_number)
    }

    /// Whether no new session is let in.
    #[must_use]
    pub fn is_closing(&self) -> bool {
        self.closing.is_cancelled()
    }

    /// Enters a session; of a client of another node with the numbers that it has there. The limits are that node's.
    ///
    /// # Errors
    /// `53300` above `limit` sessions, or `limit_of_user` of this user; `57P01` once the node stops.
    #[expect(clippy::too_many_arguments, reason = "what is known of a session when it begins")]
    pub(crate) fn enter(
        &self,
        limit: usize,
        limit_of_user: Option<usize>,
        user: &str,
        database: &str,
        peer: Option<SocketAddr>,
        foreign: Option<Foreign>,
        now_micros: i64,
    ) -> SqlResult<Arc<SessionEntry>> {
        if self.closing.is_cancelled() {
            return Err(SqlError::new(SqlState::CannotConnectNow, "the database system is shutting down"));
        }
        let mut sessions = self.sessions.lock();
        if foreign.is_some_and(|foreign| sessions.contains_key(&foreign.process_id)) {
            return Err(SqlError::new(SqlState::CannotConnectNow, "the session's last twin has not ended yet"));
        }
        let own = sessions.keys().filter(|id| self.is_own(**id)).count();
        if foreign.is_none() && own >= limit {
            return Err(SqlError::new(SqlState::TooManyConnections, "sorry, too many clients already"));
        }
        if foreign.is_none()
            && limit_of_user.is_some_and(|most| sessions.values().filter(|s| s.user == user).count() >= most)
        {
            return Err(SqlError::new(
                SqlState::TooManyConnections,
                format!("too many connections for role \"{user}\""),
            ));
        }
        let process_id = loop {
            if let Some(foreign) = foreign {
                break foreign.process_id;
            }
            let count = self.next.fetch_add(1, Ordering::Relaxed).wrapping_add(1) & ((1 << NODE_SHIFT) - 1);
            let id = i32::from(self.node_number) << NODE_SHIFT | count;
            if count != 0 && !sessions.contains_key(&id) {
                break id;
            }
        };
        let terminated = self.closing.child_token();
        let entry = Arc::new(SessionEntry {
            process_id,
            secret: foreign.map_or_else(rand::random, |foreign| foreign.secret),
            user: user.to_owned(),
            database: database.to_owned(),
            peer,
            connected_micros: now_micros,
            activity: Mutex::new(Activity { state: "idle", state_change_micros: now_micros, ..Activity::default() }),
            cancel: Mutex::new(terminated.child_token()),
            terminated,
        });
        sessions.insert(process_id, entry.clone());
        metrics::gauge!(perigee_telemetry::names::SESSIONS).set(sessions.len() as f64);
        Ok(entry)
    }

    pub(crate) fn leave(&self, process_id: i32) {
        let mut sessions = self.sessions.lock();
        sessions.remove(&process_id);
        metrics::gauge!(perigee_telemetry::names::SESSIONS).set(sessions.len() as f64);
    }

    /// A session by its process id.
    #[must_use]
    pub fn get(&self, process_id: i32) -> Option<Arc<SessionEntry>> {
        self.sessions.lock().get(&process_id).cloned()
    }

    /// All sessions, by process id.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<SessionEntry>> {
        let mut all: Vec<_> = self.sessions.lock().values().cloned().collect();
        all.sort_by_key(|s| s.process_id);
        all
    }

    /// Ends all sessions and lets no new one in.
    pub fn close(&self) {
        self.closing.cancel();
    }
}
