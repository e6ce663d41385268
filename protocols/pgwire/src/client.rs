//! One client after its start-up: one message after the other.
//!
//! There is one flush point: what is collected is written when the client waits for it (ReadyForQuery, Flush, the start of
//! a COPY, an error outside of a simple query) or when it has grown large.

use std::collections::HashSet;
use std::panic::AssertUnwindSafe;

use futures::FutureExt as _;
use perigee_engine::{CommandTag, Place, Session, TransactionStatus};
use perigee_telemetry::names;
use perigee_types::{SqlError, SqlState};

use crate::backend;
use crate::connection::Connection;
use crate::error::{self, Failure, Handled};
use crate::extended::State;
use crate::forward::Gateway;
use crate::frontend::{Message, is_whole};

/// The door, as traces call it.
pub(crate) const DOOR: &str = "PostgreSQL";

/// A client with its session.
pub(crate) struct Client {
    pub(crate) connection: Connection,
    pub(crate) session: Session,
    /// Prepared statements that are empty queries: the engine has no statement for them.
    pub(crate) empty_statements: HashSet<String>,
    pub(crate) state: State,
    /// Messages of the extended protocol have come, and their Sync has not.
    pub(crate) in_batch: bool,
    pub(crate) gateway: Gateway,
    /// There are other nodes.
    clustered: bool,
}

impl Client {
    pub(crate) fn new(connection: Connection, mut session: Session) -> Self {
        let clustered = session.engine().elsewhere().is_some();
        if clustered {
            session.track_changes();
        }
        // Of what another node sends, that node says what is traced.
        if !connection.foreign {
            session.begins_traces(DOOR);
        }
        Self {
            connection,
            session,
            empty_statements: HashSet::new(),
            state: State::Ready,
            in_batch: false,
            gateway: Gateway::default(),
            clustered,
        }
    }

    /// Serves the client until it leaves or is told to.
    pub(crate) async fn run(mut self) {
        let failure = loop {
            if let Err(failure) = survive(self.step()).await {
                break failure;
            }
        };
        let error = match &failure {
            Failure::Io(_) => None,
            // What its client's node makes of it is known there.
            Failure::Sql(error) | Failure::Fatal(error) if self.ends_with_its_node(error) => None,
            Failure::Sql(error) | Failure::Fatal(error) => Some(error),
        };
        let error = error.map(|error| match self.connection.foreign && error.state() == SqlState::AdminShutdown {
            true => error.clone().hint(crate::foreign::TERMINATED),
            false => error.clone(),
        });
        let error = error.as_ref();
        // The session ends before the socket does.
        self.session.fail();
        drop(self.session);
        if let Some(error) = error {
            tracing::debug!(%error, peer = ?self.connection.peer, "connection closed");
        }
        self.connection.close(error).await;
    }

    /// Whether a session of another node's client ends because this node does, or leads no more.
    fn ends_with_its_node(&self, error: &SqlError) -> bool {
        self.connection.foreign
            && error.state() == SqlState::AdminShutdown
            && (self.connection.is_ending() || self.session.engine().is_closing())
    }

    async fn step(&mut self) -> Handled<()> {
        let (tag, body) = self.next_message().await?;
        if self.connection.foreign && self.foreign_message(tag, &body)? {
            return Ok(());
        }
        if self.clustered {
            if let Some(error) = self.doom(tag, &body) {
                return self.refuse(tag, error).await;
            }
            if self.begins_turn() && !matches!(tag, b'X' | b'd' | b'c' | b'f') {
                match self.place(tag, &body).await {
                    Ok(Place::There) => return Box::pin(self.forward(tag, body)).await,
                    Ok(_) => {}
                    Err(Failure::Sql(error)) => return self.refuse(tag, error).await,
                    Err(failure) => return Err(failure),
                }
            }
            self.in_batch =
                !is_whole(tag) && tag != b'S' && (self.in_batch || matches!(tag, b'P' | b'B' | b'D' | b'E' | b'C'));
        }
        match Message::read(tag, &body) {
            Ok(Message::Terminate) => Err(Failure::Io(std::io::ErrorKind::UnexpectedEof.into())),
            // What is left of a COPY that failed.
            Ok(Message::CopyData(_) | Message::CopyDone | Message::CopyFail(_)) => Ok(()),
            Ok(Message::Query(sql)) => self.simple_query(sql).await,
            Ok(message) => self.extended(message).await,
            Err(error) if is_whole(tag) => self.refuse_query(error).await,
            Err(error) => self.refuse_extended(tag, error).await,
        }
    }

    /// Waits for a message, as long as the session may idle.
    async fn next_message(&mut self) -> Handled<(u8, bytes::BytesMut)> {
        if let Some(message) = self.connection.buffered_message()? {
            return Ok(message);
        }
        let inbox = self.session.inbox();
        // Of an idle session of another node's client that node knows.
        let in_block = self.session.status() != TransactionStatus::Idle;
        let idle = self.session.idle_timeout().filter(|_| in_block || !self.connection.foreign);
        let timeout = async {
            match idle {
                Some((timeout, error)) => {
                    tokio::time::sleep(timeout).await;
                    error
                }
                None => std::future::pending().await,
            }
        };
        tokio::pin!(timeout);
        loop {
            // In a block notifications wait for its end, and in a pipeline for its Sync.
            let quiet = self.state == State::Ready && self.session.status() == TransactionStatus::Idle;
            tokio::select! {
                biased;
                // Reading is taken up again where it was left: what has come stays in the connection's buffer.
                message = self.connection.message() => return message,
                () = inbox.arrived(), if quiet => {}
                error = &mut timeout => return Err(Failure::Fatal(error)),
            }
            self.notifications();
            self.connection.flush().await?;
        }
    }

    /// Appends the notifications that have arrived.
    fn notifications(&mut self) {
        for one in self.session.inbox().take() {
            if self.connection.foreign {
                // Its own node has it from its own log.
                continue;
            }
            backend::notification(&mut self.connection.output, one.process_id, &one.channel, &one.payload);
        }
    }

    /// Tells the client of an error. An error of a session that is being ended ends the connection.
    pub(crate) fn error(&mut self, error: SqlError) -> Handled<()> {
        let error = self.session.explain_cancel(error);
        self.session.note_error(&error);
        if self.session.terminated().is_cancelled() {
            let error = if error.state() == SqlState::AdminShutdown { error } else { error::terminated() };
            return Err(Failure::Fatal(error));
        }
        self.notices();
        error::write_error(&mut self.connection.output, &error, false);
        Ok(())
    }

    /// Appends CommandComplete, behind what the command wants to say.
    pub(crate) fn complete(&mut self, tag: &CommandTag) {
        self.notices();
        backend::command_complete(&mut self.connection.output, &tag.text());
    }

    pub(crate) fn notices(&mut self) {
        for notice in self.session.take_notices() {
            error::write_notice(&mut self.connection.output, &notice);
        }
    }

    /// Appends ReadyForQuery and writes everything.
    pub(crate) async fn ready(&mut self) -> Handled<()> {
        self.notices();
        for (name, value) in self.session.take_parameter_changes() {
            backend::parameter_status(&mut self.connection.output, &name, &value);
        }
        if self.session.status() == TransactionStatus::Idle {
            self.notifications();
            if self.connection.foreign {
                self.tell_changes();
            }
        }
        backend::ready_for_query(&mut self.connection.output, self.session.status());
        self.connection.flush().await
    }
}

/// Runs `step`. A panic in it ends the session, and the client is told so: what the session holds may be half done.
async fn survive(step: impl Future<Output = Handled<()>>) -> Handled<()> {
    // The session is dropped behind a panic, so nothing half done is looked at again.
    match AssertUnwindSafe(step).catch_unwind().await {
        Ok(handled) => handled,
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic");
            tracing::error!(panic = text, "a PostgreSQL session panicked; the others go on");
            metrics::counter!(names::PG_PANICS_TOTAL).increment(1);
            Err(Failure::Fatal(SqlError::internal("the session has met an internal error and is closed")))
        }
    }
}

/// The tag of a result of rows: only some commands count them.
pub(crate) fn rows_tag(name: &'static str, rows: u64) -> CommandTag {
    let counted = matches!(name, "SELECT" | "INSERT" | "UPDATE" | "DELETE" | "MERGE" | "FETCH" | "MOVE" | "COPY");
    CommandTag { name, rows: counted.then_some(rows) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_told_and_ends_the_session() {
        let failure = survive(async { panic!("{} is missing", "something") }).await.unwrap_err();
        let Failure::Fatal(error) = failure else { panic!("{failure:?}") };
        assert_eq!(error.state().code(), "XX000");
        survive(async { Ok(()) }).await.unwrap();
        assert!(matches!(survive(async { Err(Failure::Sql(SqlError::syntax("x"))) }).await, Err(Failure::Sql(_))));
    }
}
