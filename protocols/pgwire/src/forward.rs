//! A client of a node that follows: its messages go to a session at the leader, the answers come back as they are.
//!
//! ```text
//! idle --a message--> leads? here : to the leader, up to ReadyForQuery outside of a block --> idle
//! ```
//!
//! What was sent up to one ReadyForQuery is a *segment*. Each has a name that its commit carries in the log, so that this node's own log
//! tells what became of it when the leader is lost. What was surely not written, and not answered in part, is sent again to the next leader.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes, BytesMut};
use futures::StreamExt as _;
use perigee_engine::{Answers, CommitFate, NamedCommit, Place, SessionChanges, SessionDoor};
use perigee_telemetry::trace::{self, Step};
use perigee_types::{SqlError, SqlResult, SqlState, Term};
use tokio::sync::mpsc;

use crate::backend;
use crate::client::{Client, DOOR};
use crate::connection::OUTPUT_BYTES;
use crate::error::{Failure, Handled};
use crate::extended::State;
use crate::foreign::{CANCEL, CHANGES, COMMIT_NAME, DATA, Opening, PROVISIONAL, TRACE};
use crate::frontend::{Message, Target, is_whole};

/// How long a message waits for a leader.
const LEADER_PATIENCE: Duration = Duration::from_secs(10);
/// Between two looks.
const RETRY: Duration = Duration::from_millis(20);
/// Between two looks at who leads while a statement runs.
const LOOK: Duration = Duration::from_millis(200);
/// A segment above this is not kept for another try.
const KEPT_BYTES_MAX: usize = 256 << 10;
/// Frames on their way to the leader.
const FRAMES_MAX: usize = 8;

/// What the gateway keeps between turns.
#[derive(Default)]
pub(crate) struct Gateway {
    remote: Option<Remote>,
    /// The last Parse without a name that the leader has.
    unnamed: Option<(String, Vec<u32>)>,
    /// A block was open at a leader that is lost: its next statement is told.
    pub(crate) doomed: bool,
    /// Since when no leader has answered.
    trying_since: Option<Instant>,
    /// Since when the statement waits that is to run: its time limit counts while a leader is looked for, too.
    asked_since: Option<Instant>,
}

impl Gateway {
    /// A leader was found, or the client was told that there is none.
    fn stop_trying(&mut self) {
        self.trying_since = None;
        self.asked_since = None;
    }
}

/// A session at the leader.
struct Remote {
    /// The leader and its term, when it was opened.
    leader: Option<(u64, Term)>,
    requests: mpsc::Sender<Bytes>,
    answers: Answers,
    input: BytesMut,
}

/// What was sent up to one ReadyForQuery.
struct Segment {
    commit: Option<NamedCommit>,
    /// The messages, for another try.
    sent: Option<Vec<u8>>,
    /// The client has seen a part of the answer.
    relayed: bool,
    /// What the client is told when it is committed and the leader cannot say it any more.
    provisional: Option<Vec<u8>>,
    /// It is COMMIT.
    commits: bool,
    in_block: bool,
    extended: bool,
    /// It ends with the answer.
    _step: Option<Step>,
}

/// From idle to idle.
struct Turn {
    /// Sent whole.
    segments: VecDeque<Segment>,
    /// Sent in part.
    open: Option<Segment>,
    status: u8,
    copying: bool,
}

/// What the answers so far mean.
enum Answered {
    More,
    Over,
    /// The leader is lost, or about to be.
    Lost,
    /// The session was ended there, and the client knows.
    Ended,
}

impl Client {
    /// Whether a message that comes now may choose where it runs.
    pub(crate) fn begins_turn(&self) -> bool {
        !self.in_batch && self.state == State::Ready && self.session.status() == perigee_engine::TransactionStatus::Idle
    }

    /// Where a message runs that begins a turn.
    pub(crate) async fn place(&mut self, tag: u8, body: &[u8]) -> Handled<Place> {
        self.gateway.asked_since.get_or_insert_with(Instant::now);
        let place = self.find_place(tag, body).await;
        if !matches!(place, Ok(Place::There)) {
            self.gateway.stop_trying();
        }
        place
    }

    async fn find_place(&mut self, tag: u8, body: &[u8]) -> Handled<Place> {
        let engine = Arc::clone(self.session.engine());
        loop {
            let place = engine.place();
            if place == Place::Here {
                if !engine.reads_are_current() {
                    if self.runs_here(tag, body) {
                        within(self.time_left(), self.session.wait_until_fresh()).await?;
                    } else {
                        within(self.time_left(), engine.confirm_reads()).await?;
                    }
                }
                self.leave_remote(None);
                return Ok(Place::Here);
            }
            if self.connection.foreign {
                // Its own node finds the leader.
                return Err(Failure::Io(std::io::ErrorKind::ConnectionAborted.into()));
            }
            if self.runs_here(tag, body) {
                within(self.time_left(), self.session.wait_until_fresh()).await?;
                return Ok(Place::Here);
            }
            if place == Place::There {
                return Ok(Place::There);
            }
            self.keep_trying("no leader is known").await?;
        }
    }

    /// What is left of the time that a statement may run.
    fn time_left(&self) -> Option<Duration> {
        let limit = self.session.statement_timeout()?;
        let waited = self.gateway.asked_since.map_or(Duration::ZERO, |since| since.elapsed());
        Some(limit.saturating_sub(waited))
    }

    /// Waits a moment for a leader.
    ///
    /// # Errors
    /// `57P03` when it was long enough, `57014` when the statement may run no longer.
    async fn keep_trying(&mut self, why: &str) -> Handled<()> {
        let since = *self.gateway.trying_since.get_or_insert_with(Instant::now);
        if self.time_left().is_some_and(|left| left.is_zero()) {
            self.gateway.stop_trying();
            return Err(timed_out().into());
        }
        if since.elapsed() > LEADER_PATIENCE {
            self.gateway.stop_trying();
            let message = "no leader takes statements: a majority of the cluster is needed; nothing was written";
            return Err(SqlError::new(SqlState::CannotConnectNow, message).detail(why).into());
        }
        tokio::time::sleep(RETRY).await;
        Ok(())
    }

    /// Whether a message runs on this node although another one leads.
    fn runs_here(&mut self, tag: u8, body: &[u8]) -> bool {
        let local = self.session.reads_locally();
        let mut all_here = |sql: &str| {
            self.session.split(sql).is_ok_and(|statements| {
                !statements.is_empty()
                    && (statements.iter().all(|one| one.sets_own())
                        || local && statements.iter().all(|one| one.reads()))
            })
        };
        match Message::read(tag, body) {
            Ok(Message::Query(sql) | Message::Parse { sql, .. }) => all_here(sql),
            Ok(Message::Bind(bind)) => match self.session.text_of(bind.statement) {
                Some(text) => local && self.session.split(&text).is_ok_and(|all| all.iter().all(|one| one.reads())),
                None => false,
            },
            Ok(Message::Describe { target: Target::Statement, name }) => local && self.session.text_of(name).is_some(),
            // Nothing is open: they need nobody.
            Ok(Message::Sync | Message::Flush) | Err(_) => true,
            Ok(_) => false,
        }
    }

    /// Tells the client of an error of a message that was not handled.
    pub(crate) async fn refuse(&mut self, tag: u8, error: SqlError) -> Handled<()> {
        if is_whole(tag) { self.refuse_query(error).await } else { self.refuse_extended(tag, error).await }
    }

    /// The first statement in a block whose leader was lost; `None` where it may run.
    pub(crate) fn doom(&mut self, tag: u8, body: &[u8]) -> Option<SqlError> {
        if !self.gateway.doomed {
            return None;
        }
        let text = match Message::read(tag, body) {
            Ok(Message::Query(sql) | Message::Parse { sql, .. }) => sql,
            Ok(Message::Bind(_) | Message::Execute { .. }) => "",
            _ => return None,
        };
        self.gateway.doomed = false;
        let rolls_back = self.session.split(text).is_ok_and(|all| all.first().is_some_and(|one| one.rolls_back()));
        (!rolls_back).then(leader_lost)
    }

    /// The session at the leader is no more: this one goes on with what it had.
    fn leave_remote(&mut self, remote: Option<Remote>) {
        let was_there = self.gateway.remote.take().is_some() || remote.is_some();
        if was_there && let Some((text, types)) = self.gateway.unnamed.take() {
            self.session.adopt(SessionChanges::unnamed(text, types));
        }
    }

    async fn open_remote(&mut self) -> Result<Remote, String> {
        let engine = Arc::clone(self.session.engine());
        let leader = engine.remote_leader();
        let elsewhere = engine.elsewhere().ok_or_else(|| "this node is alone".to_owned())?;
        let opening = Opening::of(&mut self.session, self.connection.peer, self.connection.encrypted);
        let (requests, waiting) = mpsc::channel::<Bytes>(FRAMES_MAX);
        requests.try_send(opening.encode().into()).map_err(|error| error.to_string())?;
        let stream = futures::stream::unfold(waiting, |mut waiting: mpsc::Receiver<Bytes>| async move {
            waiting.recv().await.map(|frame| (frame, waiting))
        });
        let answers = elsewhere.open(SessionDoor::Postgres, stream.boxed()).await?;
        Ok(Remote { leader, requests, answers, input: BytesMut::new() })
    }

    /// Runs messages at the leader, from one that begins a turn until no block is open behind them.
    pub(crate) async fn forward(&mut self, tag: u8, body: BytesMut) -> Handled<()> {
        let leader = self.session.engine().remote_leader();
        if self.gateway.remote.as_ref().is_some_and(|remote| remote.leader != leader) {
            self.leave_remote(None);
        }
        let mut remote = match self.gateway.remote.take() {
            Some(remote) => remote,
            None => match self.open_remote().await {
                Ok(remote) => remote,
                Err(why) => {
                    let waited = self.keep_trying(&why).await;
                    return match waited {
                        Ok(()) => {
                            let mut bytes = Vec::new();
                            put_message(&mut bytes, tag, &body);
                            self.connection.unread(&bytes);
                            Ok(())
                        }
                        Err(Failure::Sql(error)) => self.refuse(tag, error).await,
                        Err(failure) => Err(failure),
                    };
                }
            },
        };
        let mut turn = Turn { segments: VecDeque::new(), open: None, status: b'I', copying: false };
        let mut is_there = self.send(&mut remote, &mut turn, tag, &body);
        let mut cancel = self.session.begin_elsewhere();
        let mut look = tokio::time::interval(LOOK);
        while is_there {
            let room = remote.requests.capacity() > 0;
            // A statement that runs may write its answer, also when this node stops.
            let reads = room && (turn.segments.is_empty() || !self.connection.is_ending());
            tokio::select! {
                biased;
                answer = remote.answers.next() => {
                    let Some(Ok(bytes)) = answer else { break };
                    remote.input.extend_from_slice(&bytes);
                    match self.take_answers(&mut remote, &mut turn).await? {
                        Answered::More => {}
                        Answered::Over => {
                            self.gateway.remote = Some(remote);
                            return Ok(());
                        }
                        Answered::Lost => break,
                        Answered::Ended => return Err(Failure::Io(std::io::ErrorKind::ConnectionAborted.into())),
                    }
                }
                () = cancel.cancelled() => {
                    cancel = self.session.begin_elsewhere();
                    is_there = remote.requests.send(Bytes::from_static(&[CANCEL])).await.is_ok();
                }
                message = self.connection.message(), if reads => {
                    let (tag, body) = message?;
                    if tag == b'X' {
                        return Err(Failure::Io(std::io::ErrorKind::UnexpectedEof.into()));
                    }
                    is_there = self.send(&mut remote, &mut turn, tag, &body);
                }
                has_room = has_room(&remote.requests), if !room => is_there = has_room,
                // A leader that is cut off, or stands still, does not say that it is one no more.
                _ = look.tick() => {
                    let leader = self.session.engine().remote_leader();
                    is_there = leader.is_none() || leader == remote.leader;
                    is_there &= self.session.engine().place() != Place::Here;
                }
            }
        }
        self.leave_remote(Some(remote));
        Box::pin(self.lost(turn)).await
    }

    /// Sends a message; `false` when the leader is gone. There is room for a frame.
    fn send(&mut self, remote: &mut Remote, turn: &mut Turn, tag: u8, body: &[u8]) -> bool {
        let mut frame = vec![DATA];
        let copies = matches!(tag, b'd' | b'c' | b'f');
        if !copies && turn.open.is_none() {
            if turn.status == b'I' && turn.segments.is_empty() {
                let changes = self.session.take_changes();
                if !changes.is_empty() {
                    put_message(&mut frame, CHANGES, &changes.encode());
                }
            }
            let commit = self.session.engine().name_commit();
            if let Some(commit) = &commit {
                let (origin, number) = commit.name();
                put_message(&mut frame, COMMIT_NAME, &[origin.to_be_bytes(), number.to_be_bytes()].concat());
            }
            let step = trace::begin("forward", None);
            let step = step.map(|mut step| {
                step.tell("perigee.door", DOOR);
                put_message(&mut frame, TRACE, step.parent().header().as_bytes());
                step
            });
            turn.open = Some(Segment {
                commit,
                sent: Some(Vec::new()),
                relayed: false,
                provisional: None,
                commits: false,
                in_block: turn.status != b'I',
                extended: !is_whole(tag),
                _step: step,
            });
        }
        put_message(&mut frame, tag, body);
        if let Some(segment) = &mut turn.open {
            match &mut segment.sent {
                Some(sent) if !copies && sent.len() + body.len() < KEPT_BYTES_MAX => put_message(sent, tag, body),
                _ => segment.sent = None,
            }
        }
        match Message::read(tag, body) {
            Ok(Message::Query(sql)) => {
                self.gateway.unnamed = None;
                let commits =
                    self.session.split(sql).is_ok_and(|all| all.len() == 1 && all.iter().all(|one| one.commits()));
                if let Some(segment) = &mut turn.open {
                    segment.commits = commits;
                }
            }
            Ok(Message::Parse { name: "", sql, types }) => self.gateway.unnamed = Some((sql.to_owned(), types)),
            _ => {}
        }
        match tag {
            b'c' | b'f' => turn.copying = false,
            tag if is_whole(tag) => turn.segments.extend(turn.open.take()),
            // During a COPY the leader ignores it.
            b'S' if !turn.copying => turn.segments.extend(turn.open.take()),
            _ => {}
        }
        remote.requests.try_send(frame.into()).is_ok()
    }

    /// Passes on what the leader has answered.
    async fn take_answers(&mut self, remote: &mut Remote, turn: &mut Turn) -> Handled<Answered> {
        while let &[tag, a, b, c, d, ..] = &remote.input[..] {
            let length = u32::from_be_bytes([a, b, c, d]) as usize;
            if remote.input.len() < length.saturating_add(1) || length < 4 {
                break;
            }
            let message = remote.input.split_to(length + 1);
            let body = &message[5..];
            let segment = turn.segments.front_mut().or(turn.open.as_mut());
            match tag {
                CHANGES => {
                    if let Some(changes) = SessionChanges::decode(body) {
                        self.session.adopt(changes);
                    }
                    continue;
                }
                PROVISIONAL => {
                    if let Some(segment) = segment {
                        segment.provisional = Some(body.to_vec());
                    }
                    continue;
                }
                b'E' => match (field(body, b'V'), field(body, b'C')) {
                    // It stops, or leads no more: what that means for the client is found out here.
                    (Some(b"FATAL"), Some(b"57P01")) if !is_terminated(body) => return Ok(Answered::Lost),
                    (_, Some(b"08007")) => return Ok(Answered::Lost),
                    (Some(b"FATAL"), _) => {
                        self.connection.output.extend_from_slice(&message);
                        self.connection.flush().await?;
                        return Ok(Answered::Ended);
                    }
                    _ => segment.into_iter().for_each(|segment| segment.relayed = true),
                },
                b'S' | b'N' => {}
                b'G' => {
                    turn.copying = true;
                    let extended = segment.is_some_and(|segment| segment.extended);
                    // The Sync that was sent behind it is ignored; another follows the data.
                    if turn.open.is_none() && extended {
                        turn.open = turn.segments.pop_front();
                    }
                    if let Some(segment) = turn.open.as_mut().or(turn.segments.front_mut()) {
                        segment.relayed = true;
                        segment.sent = None;
                    }
                }
                b'Z' => {
                    turn.status = body.first().copied().unwrap_or(b'I');
                    turn.copying = false;
                    turn.segments.pop_front();
                    self.gateway.stop_trying();
                }
                _ => segment.into_iter().for_each(|segment| segment.relayed = true),
            }
            self.connection.output.extend_from_slice(&message);
            if self.connection.output.len() >= OUTPUT_BYTES {
                self.connection.flush().await?;
            }
        }
        self.connection.flush().await?;
        let over = turn.status == b'I' && turn.segments.is_empty() && turn.open.is_none();
        Ok(if over { Answered::Over } else { Answered::More })
    }

    /// The leader is lost: finds out what became of what was sent, and tells the client or tries again.
    async fn lost(&mut self, mut turn: Turn) -> Handled<()> {
        let is_open = turn.open.is_some();
        turn.segments.extend(turn.open.take());
        let mut fates = Vec::new();
        for segment in &mut turn.segments {
            fates.push(match &mut segment.commit {
                Some(commit) => commit.fate().await,
                None => CommitFate::Unknown,
            });
        }
        let never = fates.iter().all(|fate| *fate == CommitFate::Never);
        let Some(first) = turn.segments.front() else {
            if turn.status != b'I' {
                self.session.continue_failed();
                self.gateway.doomed = turn.status == b'T';
            }
            return Ok(());
        };
        let kept = turn.segments.iter().all(|segment| !segment.relayed && segment.sent.is_some());
        if never && !first.in_block && kept {
            // Nothing was written and nothing was said: the next leader gets the same.
            let sent: Vec<u8> =
                turn.segments.iter().filter_map(|segment| segment.sent.as_deref()).flatten().copied().collect();
            return match self.keep_trying("the leader was lost").await {
                Ok(()) => {
                    self.connection.unread(&sent);
                    Ok(())
                }
                Err(Failure::Sql(error)) if turn.segments.len() == 1 => self.tell_lost(is_open, error).await,
                Err(Failure::Sql(error)) => Err(Failure::Fatal(error)),
                Err(failure) => Err(failure),
            };
        }
        self.gateway.stop_trying();
        let error = if never { leader_lost() } else { unknown() };
        if turn.segments.len() > 1 {
            return Err(Failure::Fatal(error));
        }
        let told = match (&first.provisional, first.commits) {
            (Some(told), _) => Some(told.clone()),
            (None, true) => {
                let mut told = Vec::new();
                backend::command_complete(&mut told, "COMMIT");
                Some(told)
            }
            (None, false) => None,
        };
        if let (Some(CommitFate::Committed), Some(told), false) = (fates.first(), told, is_open) {
            self.connection.output.extend_from_slice(&told);
            return self.ready().await;
        }
        if first.in_block && !first.commits && never {
            self.session.continue_failed();
        }
        self.tell_lost(is_open, error).await
    }

    /// An error instead of the answer to a segment, whose end has come unless it is open.
    async fn tell_lost(&mut self, is_open: bool, error: SqlError) -> Handled<()> {
        if is_open {
            return self.refuse_extended(b'E', error).await;
        }
        self.error(error)?;
        self.ready().await
    }
}

/// Waits no longer than there is time left.
async fn within(left: Option<Duration>, wait: impl Future<Output = SqlResult<()>>) -> SqlResult<()> {
    match left {
        Some(left) => tokio::time::timeout(left, wait).await.unwrap_or_else(|_| Err(timed_out())),
        None => wait.await,
    }
}

fn timed_out() -> SqlError {
    SqlError::new(SqlState::QueryCanceled, "canceling statement due to statement timeout")
}

/// Waits for room; `false` when nobody takes anything any more.
async fn has_room(requests: &mpsc::Sender<Bytes>) -> bool {
    requests.reserve().await.is_ok()
}

fn put_message(out: &mut Vec<u8>, tag: u8, body: &[u8]) {
    backend::message(out, tag, |out| out.extend_from_slice(body));
}

/// A field of an ErrorResponse.
fn field(mut body: &[u8], wanted: u8) -> Option<&[u8]> {
    while body.first().is_some_and(|key| *key != 0) {
        let key = body.get_u8();
        let end = memchr::memchr(0, body)?;
        if key == wanted {
            return Some(&body[..end]);
        }
        body = &body[end + 1..];
    }
    None
}

/// Whether a session was ended by pg_terminate_backend: its leader says so apart from its own end.
fn is_terminated(body: &[u8]) -> bool {
    field(body, b'H') == Some(crate::foreign::TERMINATED.as_bytes())
}

fn leader_lost() -> SqlError {
    SqlError::new(SqlState::SerializationFailure, "could not continue: the leader has changed; nothing was written")
        .hint("retry the transaction")
}

fn unknown() -> SqlError {
    SqlError::new(SqlState::TransactionResolutionUnknown, "the outcome of the commit is not known: its leader was lost")
        .hint("look for its effects before trying again")
}
