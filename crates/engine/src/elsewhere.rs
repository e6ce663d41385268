//! Sessions on several nodes: where a session's statements run, what of it travels, and what became of a commit at a lost leader.
//!
//! A client's session stands on the node that the client is connected to. On a node that follows, statements run in a session at the
//! leader that has the same settings and prepared statements: what either changes is told the other between transactions. So either
//! can go on alone when leaders change.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use perigee_consensus::{Expected, ProposalId, ProposeError};
use perigee_query::sql;
use perigee_types::row::{get_bytes, get_varint, put_bytes, put_varint};
use perigee_types::{LogIndex, SqlError, SqlResult, SqlState, SqlType, Term};
use tokio_util::sync::CancellationToken;

use crate::Statement;
use crate::api::ConnectRequest;
use crate::engine::Engine;
use crate::notify::Listening;
use crate::session::Session;
use crate::settings::definition;
use crate::transaction::{Transaction, no_leader};

/// How long a read may wait for the leader to say where the log is, or for this node to come there.
const READ_PATIENCE: Duration = Duration::from_secs(5);
/// How long the fate of a commit may stay open once its leader is lost.
const FATE_PATIENCE: Duration = Duration::from_secs(15);

/// Where statements run now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// On this node.
    Here,
    /// At another node, which leads.
    There,
    /// No leader is known.
    Nowhere,
}

/// Bytes from the leader, for a session that runs there.
pub type Answers = BoxStream<'static, Result<Bytes, String>>;

/// Whose session at the leader is opened. Numbers on the wire: never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum SessionDoor {
    /// PostgreSQL's protocol.
    Postgres = 1,
    /// HTTP, one request.
    Rest = 2,
    /// HTTP/2, one call of gRPC.
    Grpc = 3,
}

/// The way to sessions at the leader.
pub trait Elsewhere: Send + Sync + 'static {
    /// Opens a session at the leader's door for what `requests` brings. Fails when the leader has seen none of it.
    fn open(
        &self,
        door: SessionDoor,
        requests: BoxStream<'static, Bytes>,
    ) -> BoxFuture<'static, Result<Answers, String>>;

    /// A cancel request for a session of another node.
    fn cancel(&self, process_id: i32, secret: i32);
}

/// A session of another node's client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Foreign {
    /// The number that the client knows.
    pub process_id: i32,
    /// What a cancel request must know.
    pub secret: i32,
}

/// What became of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommitFate {
    /// It took effect.
    Committed,
    /// It did not, and never will.
    Never,
    /// Nobody could say in time.
    Unknown,
}

/// A commit that was named before it is made at the leader.
pub struct NamedCommit {
    engine: Arc<Engine>,
    term: Term,
    expected: Expected,
}

impl NamedCommit {
    /// Its name, to be sent to the leader.
    #[must_use]
    pub fn name(&self) -> (u64, u64) {
        (self.expected.id().origin, self.expected.id().number)
    }

    /// Waits until it is known what became of it, when its leader is lost.
    pub async fn fate(&mut self) -> CommitFate {
        let fate = self.engine.consensus.fate(&mut self.expected, self.term);
        match tokio::time::timeout(FATE_PATIENCE, fate).await {
            Ok(Ok(_)) => CommitFate::Committed,
            Ok(Err(ProposeError::NotLeader)) => CommitFate::Never,
            Ok(Err(_)) | Err(_) => CommitFate::Unknown,
        }
    }
}

impl Engine {
    /// Statements that have to run at the leader find the way there from now on.
    pub fn set_elsewhere(&self, elsewhere: Arc<dyn Elsewhere>) {
        drop(self.elsewhere.set(elsewhere));
    }

    /// The way to the leader, in a cluster.
    #[must_use]
    pub fn elsewhere(&self) -> Option<&Arc<dyn Elsewhere>> {
        self.elsewhere.get()
    }

    /// Where statements run now.
    #[must_use]
    pub fn place(&self) -> Place {
        if self.elsewhere.get().is_none() || self.consensus.leader_term().is_some() {
            Place::Here
        } else if self.consensus.remote_leader().is_some() {
            Place::There
        } else {
            Place::Nowhere
        }
    }

    /// Who leads, where it is another node, and in which term.
    #[must_use]
    pub fn remote_leader(&self) -> Option<(u64, Term)> {
        self.consensus.remote_leader().map(|(leader, term)| (leader.id(), term))
    }

    /// Whether reads here see what anybody was told, without asking.
    #[must_use]
    pub fn reads_are_current(&self) -> bool {
        self.elsewhere.get().is_none() || self.consensus.is_current()
    }

    /// Waits until reads here see what anybody was told before the call.
    ///
    /// # Errors
    /// `57P03` when no leader can say it: it may be isolated.
    pub async fn confirm_reads(&self) -> SqlResult<()> {
        if self.reads_are_current() {
            return Ok(());
        }
        let read = self.consensus.read_index(READ_PATIENCE).await;
        read.map(drop).map_err(|error| no_leader().detail(error.to_string()))
    }

    /// Names a commit that the leader is about to make for a client of this node. `None` where no other node leads.
    #[must_use]
    pub fn name_commit(self: &Arc<Self>) -> Option<NamedCommit> {
        let (_, term) = self.consensus.remote_leader()?;
        Some(NamedCommit { engine: Arc::clone(self), term, expected: self.consensus.expect(term) })
    }

    /// Whether the node is about to end.
    #[must_use]
    pub fn is_closing(&self) -> bool {
        self.sessions.is_closing()
    }

    /// Opens a session for a client of another node, which has proved itself there.
    ///
    /// # Errors
    /// As [`Engine::connect`].
    pub async fn connect_foreign(self: &Arc<Self>, request: ConnectRequest, foreign: Foreign) -> SqlResult<Session> {
        let mut session = Session::open_as(self, request, Some(foreign))?;
        session.changes.track = true;
        Ok(session)
    }
}

/// What of a session was changed since it was last told.
#[derive(Default)]
pub(crate) struct Changes {
    /// Whether anybody wants to know.
    pub(crate) track: bool,
    pub(crate) settings: bool,
    pub(crate) channels: bool,
    statements: Vec<(String, Option<Text>)>,
    all_closed: bool,
}

/// A prepared statement as text, with the types that its client declared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Text {
    text: String,
    types: Vec<u32>,
}

impl Text {
    fn of(statement: &Statement) -> Self {
        let prepared = &statement.prepared;
        let types = if statement.literals.is_empty() { &prepared.parameters[..] } else { &[] };
        Self { text: prepared.text.to_string(), types: types.iter().map(SqlType::oid).collect() }
    }
}

impl Changes {
    pub(crate) fn prepared(&mut self, name: &str, statement: &Statement) {
        // The unnamed one is the door's: it comes with nearly every message.
        if self.track && !name.is_empty() {
            self.statements.push((name.to_owned(), Some(Text::of(statement))));
        }
    }

    pub(crate) fn closed(&mut self, name: &str) {
        if self.track && !name.is_empty() {
            self.statements.push((name.to_owned(), None));
        }
    }

    pub(crate) fn all_closed(&mut self) {
        if self.track {
            self.statements.clear();
            self.all_closed = true;
        }
    }
}

/// What of a session travels.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionChanges {
    settings: Option<Vec<(String, String)>>,
    channels: Option<Vec<String>>,
    all_closed: bool,
    statements: Vec<(String, Option<Text>)>,
}

impl SessionChanges {
    /// The statement without a name, as the door knows it.
    #[must_use]
    pub fn unnamed(text: String, types: Vec<u32>) -> Self {
        Self { statements: vec![(String::new(), Some(Text { text, types }))], ..Self::default() }
    }

    /// Whether there is nothing to tell.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// As bytes: flags (1 settings, 2 channels, 4 all statements are closed), then what they say with counts, then the statements: name,
    /// 1 with text and types or 0. Numbers are varints, texts have their length before them.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64);
        let flags = u64::from(self.settings.is_some())
            | u64::from(self.channels.is_some()) << 1
            | u64::from(self.all_closed) << 2;
        put_varint(flags, &mut out);
        if let Some(settings) = &self.settings {
            put_varint(settings.len() as u64, &mut out);
            for (name, value) in settings {
                put_bytes(name.as_bytes(), &mut out);
                put_bytes(value.as_bytes(), &mut out);
            }
        }
        if let Some(channels) = &self.channels {
            put_varint(channels.len() as u64, &mut out);
            channels.iter().for_each(|channel| put_bytes(channel.as_bytes(), &mut out));
        }
        put_varint(self.statements.len() as u64, &mut out);
        for (name, text) in &self.statements {
            put_bytes(name.as_bytes(), &mut out);
            put_varint(u64::from(text.is_some()), &mut out);
            if let Some(Text { text, types }) = text {
                put_bytes(text.as_bytes(), &mut out);
                put_varint(types.len() as u64, &mut out);
                types.iter().for_each(|oid| put_varint(u64::from(*oid), &mut out));
            }
        }
        out
    }

    /// Reads what [`SessionChanges::encode`] wrote; `None` for anything else.
    #[must_use]
    pub fn decode(mut bytes: &[u8]) -> Option<Self> {
        let bytes = &mut bytes;
        let text = |bytes: &mut &[u8]| Some(std::str::from_utf8(get_bytes(bytes).ok()?).ok()?.to_owned());
        let flags = get_varint(bytes).ok()?;
        let mut changes = Self { all_closed: flags & 4 != 0, ..Self::default() };
        if flags & 1 != 0 {
            let mut settings = Vec::new();
            for _ in 0..get_varint(bytes).ok()? {
                settings.push((text(bytes)?, text(bytes)?));
            }
            changes.settings = Some(settings);
        }
        if flags & 2 != 0 {
            let mut channels = Vec::new();
            for _ in 0..get_varint(bytes).ok()? {
                channels.push(text(bytes)?);
            }
            changes.channels = Some(channels);
        }
        for _ in 0..get_varint(bytes).ok()? {
            let name = text(bytes)?;
            if get_varint(bytes).ok()? == 0 {
                changes.statements.push((name, None));
                continue;
            }
            let sql = text(bytes)?;
            let mut types = Vec::new();
            for _ in 0..get_varint(bytes).ok()? {
                types.push(u32::try_from(get_varint(bytes).ok()?).ok()?);
            }
            changes.statements.push((name, Some(Text { text: sql, types })));
        }
        bytes.is_empty().then_some(changes)
    }
}

impl Session {
    /// The engine that it belongs to.
    #[must_use]
    pub fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    /// What it was opened with: role, database and settings.
    #[must_use]
    pub fn opening(&self) -> (String, String, Vec<(String, String)>) {
        let fixed = |name: &str| {
            definition(name).is_some_and(|definition| matches!(definition.kind, crate::settings::Kind::Fixed))
        };
        let settings = self.settings.base().filter(|(name, _)| !fixed(name));
        let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        (self.login_name.clone(), self.database.clone(), settings)
    }

    /// A statement begins that runs at another node: fires when it is to be cancelled.
    pub fn begin_elsewhere(&mut self) -> CancellationToken {
        self.entry.begin_statement()
    }

    /// Whether the implicit transaction has something to commit.
    #[must_use]
    pub fn has_written(&self) -> bool {
        self.transaction.as_ref().is_some_and(|t| {
            !t.explicit && !t.failed && (!t.writes.is_empty() || t.staging.is_some() || t.changes_keys())
        })
    }

    /// From now on [`Session::take_changes`] has something to tell.
    pub fn track_changes(&mut self) {
        self.changes.track = true;
    }

    /// All that travels of the session, for one that begins as this stands.
    pub fn everything(&mut self) -> SessionChanges {
        drop(self.take_changes());
        let mut statements: BTreeMap<&String, Text> = self.imported.iter().map(|(n, text)| (n, text.clone())).collect();
        statements.extend(self.prepared_statements().map(|(name, statement)| (name, Text::of(statement))));
        let statements = statements.into_iter().map(|(name, text)| (name.clone(), Some(text))).collect();
        SessionChanges {
            settings: Some(self.settings.changed()),
            channels: Some(self.channels()),
            all_closed: true,
            statements,
        }
    }

    /// What was changed since the last call. To be asked between transactions.
    pub fn take_changes(&mut self) -> SessionChanges {
        let track = self.changes.track;
        let taken = std::mem::replace(&mut self.changes, Changes { track, ..Changes::default() });
        SessionChanges {
            settings: taken.settings.then(|| self.settings.changed()),
            channels: taken.channels.then(|| self.channels()),
            all_closed: taken.all_closed,
            statements: taken.statements,
        }
    }

    fn channels(&self) -> Vec<String> {
        self.engine.listeners.channels(self.entry.process_id)
    }

    /// Becomes as its twin on the other node. The client knows it already.
    pub fn adopt(&mut self, changes: SessionChanges) {
        let track = std::mem::replace(&mut self.changes.track, false);
        if let Some(mut settings) = changes.settings {
            let gone: Vec<String> = self.settings.changed().into_iter().map(|(name, _)| name).collect();
            for name in gone.iter().filter(|name| !settings.iter().any(|(other, _)| other == *name)) {
                self.adopt_setting(name, None);
            }
            // Another user begins without SET ROLE.
            settings.sort_by_key(|(name, _)| name != "session_authorization");
            for (name, value) in &settings {
                if self.settings.get(name) != Some(value) {
                    self.adopt_setting(name, Some(value));
                }
            }
        }
        if let Some(channels) = changes.channels {
            let known = self.channels();
            let stops = known.iter().filter(|one| !channels.contains(one)).map(|one| Listening::Stop(one.clone()));
            let starts = channels.iter().filter(|one| !known.contains(one)).map(|one| Listening::Start(one.clone()));
            let both: Vec<Listening> = stops.chain(starts).collect();
            let (engine, process_id) = (&self.engine, self.entry.process_id);
            engine.listeners.change(engine, process_id, &self.inbox, &self.entry.terminated, &both);
        }
        if changes.all_closed {
            self.close_all_statements();
        }
        for (name, text) in changes.statements {
            self.close_statement(&name);
            if let Some(text) = text {
                self.imported.insert(name, text);
            }
        }
        drop(self.take_parameter_changes());
        self.changes.track = track;
    }

    fn adopt_setting(&mut self, name: &str, value: Option<&str>) {
        if let Err(error) = self.set(name, value, false) {
            tracing::debug!(%error, name, "a setting of the session's twin cannot be had here");
        }
    }

    /// Plans a statement that came from the other node, when it is first wanted here.
    pub(crate) fn plan_imported(&mut self, name: &str) -> SqlResult<()> {
        let Some(Text { text, types }) = self.imported.get(name).cloned() else { return Ok(()) };
        let parsed = sql::parse(&text)?;
        let [parsed] = parsed.as_slice() else { return Ok(()) };
        let declared: Vec<Option<SqlType>> = types.iter().map(|oid| self.type_of_oid(*oid)).collect();
        let planned = self.plan_unlifted(parsed, &declared)?;
        self.imported.remove(name);
        let track = std::mem::replace(&mut self.changes.track, false);
        let put = self.put_statement(name, planned, &text, false);
        self.changes.track = track;
        put
    }

    /// The text of a prepared statement.
    #[must_use]
    pub fn text_of(&self, name: &str) -> Option<String> {
        let imported = self.imported.get(name).map(|text| text.text.clone());
        imported.or_else(|| {
            self.prepared_statements().find(|(other, _)| *other == name).map(|(_, one)| one.prepared.text.to_string())
        })
    }

    /// The next commit is known by this name on the node of the client.
    pub fn name_next_commit(&mut self, origin: u64, number: u64) {
        self.commit_name = Some(ProposalId { origin, number });
    }

    /// Whether reads may run on this node, whatever leads.
    #[must_use]
    pub fn reads_locally(&self) -> bool {
        self.settings.get("perigee.read_consistency") == Some("local")
    }

    /// Waits until this node is as fresh as the settings want it: `perigee.min_index`, `perigee.max_staleness`.
    ///
    /// # Errors
    /// `57P03` when it is not in time.
    pub async fn wait_until_fresh(&mut self) -> SqlResult<()> {
        let behind = |text: String| {
            SqlError::new(SqlState::CannotConnectNow, text).hint("read on another node, or ask for less")
        };
        let index = self.settings.get("perigee.min_index").and_then(|index| index.parse().ok()).unwrap_or(0);
        if index > 0 && self.engine.consensus.wait_applied(LogIndex(index), READ_PATIENCE).await.is_err() {
            return Err(behind(format!("this node has not applied entry {index} in time")));
        }
        let Some(most) = self.settings.duration("perigee.max_staleness") else { return Ok(()) };
        let fresh = self.fresh_at.is_some_and(|at| at.elapsed() <= most);
        if fresh || self.engine.consensus.is_current() {
            return Ok(());
        }
        let asked = std::time::Instant::now();
        let read = self.engine.consensus.read_index(READ_PATIENCE).await;
        read.map_err(|error| behind(format!("this node may be staler than perigee.max_staleness: {error}")))?;
        self.fresh_at = Some(asked);
        Ok(())
    }

    /// A block that was open at a lost leader goes on here as one that has failed.
    pub fn continue_failed(&mut self) {
        let mut transaction = Transaction::over(&self.engine);
        transaction.failed = true;
        self.transaction = Some(transaction);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_survive_a_round_trip() {
        let text = Text { text: "SELECT $1".to_owned(), types: vec![23] };
        let changes = SessionChanges {
            settings: Some(vec![("work_mem".to_owned(), "1MB".to_owned())]),
            channels: Some(vec!["news".to_owned()]),
            all_closed: true,
            statements: vec![("a".to_owned(), Some(text)), ("b".to_owned(), None)],
        };
        let bytes = changes.encode();
        assert_eq!(SessionChanges::decode(&bytes), Some(changes));
        assert!((0..bytes.len()).all(|end| SessionChanges::decode(&bytes[..end]).is_none()));
        assert!(SessionChanges::decode(&SessionChanges::default().encode()).unwrap().is_empty());
    }
}
