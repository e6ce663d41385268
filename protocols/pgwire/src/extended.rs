//! The extended protocol: a state machine of two states.
//!
//! ```text
//!            Parse, Bind, Describe, Execute, Close, Flush: done
//!              +-----+
//!              |     v         error: ErrorResponse, the transaction has failed
//!   Sync  -->  Ready  ---------------------------------------------------------->  SkipUntilSync
//!   (commit,   ^   ^                                                                  |      |
//!   Ready-     |   +--------------------------- Sync (roll back, ReadyForQuery) ------+      | anything else:
//!   ForQuery)--+                                                                      ^------+ ignored
//! ```
//!
//! What the messages up to Sync run outside of a transaction block is one implicit transaction, which Sync ends.
//!
//! | object | begins | ends |
//! |---|---|---|
//! | unnamed statement | Parse | next Parse without a name (also a failed one), Query |
//! | named statement | Parse, PREPARE | Close, DEALLOCATE |
//! | unnamed portal | Bind | next Bind without a name (also a failed one), Query, end of transaction |
//! | named portal | Bind | Close, end of transaction |
//!
//! The implicit transaction ends at Sync, so without a block no portal outlives it.

use perigee_engine::{Portal, PortalRun, Session, Statement};
use perigee_plan::ResultColumn;
use perigee_types::{SqlError, SqlResult, SqlState, SqlType};

use crate::backend::{self, Format};
use crate::client::{Client, rows_tag};
use crate::copy;
use crate::error::{Failure, Handled};
use crate::frontend::{Bind, Message, Target};
use crate::parameter;
use crate::portal::{Sent, send_rows};
use crate::rows::RowEncoder;

/// Where the extended protocol stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Ready,
    /// After an error: everything up to Sync is ignored.
    SkipUntilSync,
}

impl Client {
    /// Handles a message of the extended protocol.
    pub(crate) async fn extended(&mut self, message: Message<'_>) -> Handled<()> {
        if message == Message::Sync {
            return self.sync().await;
        }
        if self.state == State::SkipUntilSync {
            return Ok(());
        }
        let handled = match message {
            Message::Parse { name, sql, types } => self.parse(name, sql, &types).await,
            Message::Bind(bind) => self.bind(&bind),
            Message::Describe { target: Target::Statement, name } => self.describe_statement(name),
            Message::Describe { target: Target::Portal, name } => self.describe_portal(name),
            Message::Execute { portal, rows_max } => Box::pin(self.execute(portal, rows_max)).await,
            Message::Close { target, name } => {
                self.close(target, name);
                Ok(())
            }
            Message::Flush => self.connection.flush().await,
            // The others do not come here.
            _ => Ok(()),
        };
        match handled {
            Err(Failure::Sql(error)) => self.fail_extended(error).await,
            handled => handled,
        }
    }

    /// A message that could not be read.
    pub(crate) async fn refuse_extended(&mut self, tag: u8, error: SqlError) -> Handled<()> {
        match self.state {
            State::SkipUntilSync if tag == b'S' => self.sync().await,
            State::SkipUntilSync => Ok(()),
            State::Ready => self.fail_extended(error).await,
        }
    }

    async fn fail_extended(&mut self, error: SqlError) -> Handled<()> {
        self.session.fail();
        self.state = State::SkipUntilSync;
        self.error(error)?;
        // A client may wait for it behind a Flush, which is ignored now.
        self.connection.flush().await
    }

    async fn sync(&mut self) -> Handled<()> {
        self.state = State::Ready;
        if self.connection.foreign && self.session.has_written() {
            self.tell_before_commit(&[]).await?;
        }
        if let Err(error) = self.session.finish().await {
            self.session.fail();
            self.error(error)?;
            drop(self.session.finish().await);
        }
        self.ready().await
    }

    async fn parse(&mut self, name: &str, sql: &str, types: &[u32]) -> Handled<()> {
        if name.is_empty() {
            self.session.close_statement("");
            self.empty_statements.remove("");
        } else if self.empty_statements.contains(name) {
            return Err(duplicate_statement(name).into());
        }
        let declared = types.iter().map(|oid| declared_type(*oid, &self.session)).collect::<SqlResult<Vec<_>>>()?;
        if let Some(statement) = self.session.cached(sql, &declared) {
            self.session.put_statement(name, statement, sql, false)?;
            backend::bare(&mut self.connection.output, b'1');
            return Ok(());
        }
        let statements = self.session.split(sql)?;
        match &statements[..] {
            [] => {
                if !name.is_empty() && self.session.get_statement(name).is_ok() {
                    return Err(duplicate_statement(name).into());
                }
                self.empty_statements.insert(name.to_owned());
            }
            [statement] => {
                let planned = self.session.plan(statement, &declared).await?;
                self.session.put_statement(name, planned, sql, false)?;
            }
            _ => {
                let message = "cannot insert multiple commands into a prepared statement";
                return Err(SqlError::syntax(message).into());
            }
        }
        backend::bare(&mut self.connection.output, b'1');
        Ok(())
    }

    fn bind(&mut self, bind: &Bind) -> Handled<()> {
        if bind.portal.is_empty() {
            self.session.close_portal("");
        }
        let mut statement = self.statement(bind.statement)?;
        if let Some(known) = &statement
            && let Some(types) = parameter::with_dimensions(bind, parameter_types(known))?
        {
            statement = Some(self.session.retyped(known, types)?);
        }
        let types = statement.as_ref().map_or(&[][..], parameter_types);
        let names = || self.session.object_names();
        let parameters = parameter::decode(bind, types, &self.session.output_settings(), names)?;
        let columns = columns(statement.as_ref()).map_or(0, <[_]>::len);
        let formats = if columns > 0 {
            parameter::result_formats(&bind.result_formats, columns)?
        } else {
            parameter::result_formats(&bind.result_formats, bind.result_formats.len())?;
            Vec::new()
        };
        let formats = formats.into_iter().map(Format::code).collect();
        self.session.put_portal(bind.portal, Portal::new(statement, parameters, formats))?;
        backend::bare(&mut self.connection.output, b'2');
        Ok(())
    }

    fn describe_statement(&mut self, name: &str) -> Handled<()> {
        let statement = self.statement(name)?;
        let out = &mut self.connection.output;
        let domains = statement.as_ref().map_or(&[][..], |statement| &statement.prepared.parameter_domains);
        backend::parameter_description(out, statement.as_ref().map_or(&[], parameter_types), domains);
        match columns(statement.as_ref()) {
            Some(columns) => backend::row_description(out, columns, &[]),
            None => backend::bare(out, b'n'),
        }
        Ok(())
    }

    fn describe_portal(&mut self, name: &str) -> Handled<()> {
        let portal = self.session.portal(name)?;
        let out = &mut self.connection.output;
        match portal.columns() {
            Some(columns) => backend::row_description(out, columns, &formats_of(portal.formats())?),
            None => backend::bare(out, b'n'),
        }
        Ok(())
    }

    async fn execute(&mut self, name: &str, rows_max: i32) -> Handled<()> {
        let rows_max = u64::try_from(rows_max).ok().filter(|max| *max > 0);
        let tag = match self.session.run_portal(name).await? {
            PortalRun::Empty => {
                backend::bare(&mut self.connection.output, b'I');
                return Ok(());
            }
            PortalRun::Rows { columns, formats, rows } => {
                let settings = self.session.output_settings();
                let mut encoder = RowEncoder::new(&columns, &formats_of(&formats)?, settings)
                    .with_names(|| self.session.object_names());
                let mut rows = rows.lock().await;
                match send_rows(&mut self.connection, &mut rows, &mut encoder, rows_max).await? {
                    Sent::Suspended => {
                        backend::bare(&mut self.connection.output, b's');
                        return Ok(());
                    }
                    Sent::All(count) => rows_tag(rows.tag(), count),
                }
            }
            PortalRun::Command(tag) => tag,
            PortalRun::CopyIn(copy) => copy::copy_in(&mut self.connection, &mut self.session, copy).await?,
            PortalRun::CopyOut(copy) => copy::copy_out(&mut self.connection, &self.session, copy).await?,
        };
        self.complete(&tag);
        Ok(())
    }

    fn close(&mut self, target: Target, name: &str) {
        match target {
            Target::Portal => self.session.close_portal(name),
            Target::Statement => {
                self.empty_statements.remove(name);
                self.session.close_statement(name);
            }
        }
        backend::bare(&mut self.connection.output, b'3');
    }

    /// A prepared statement; `None` is the empty query.
    fn statement(&mut self, name: &str) -> SqlResult<Option<Statement>> {
        if self.empty_statements.contains(name) {
            return Ok(None);
        }
        self.session.get_statement(name).map(Some)
    }
}

/// Types of the parameters that the client gives: none where the statement's own literals were lifted.
fn parameter_types(statement: &Statement) -> &[SqlType] {
    if statement.literals.is_empty() { &statement.prepared.parameters } else { &[] }
}

fn columns(statement: Option<&Statement>) -> Option<&[ResultColumn]> {
    statement?.prepared.columns.as_deref()
}

/// What Bind asked for, from a portal.
fn formats_of(codes: &[i16]) -> SqlResult<Vec<Format>> {
    parameter::result_formats(codes, codes.len())
}

/// A parameter type that the client declared; 0 and `unknown` leave it to the server.
fn declared_type(oid: u32, session: &Session) -> SqlResult<Option<SqlType>> {
    match oid {
        0 | 705 => Ok(None),
        oid => session
            .type_of_oid(oid)
            .map(Some)
            .ok_or_else(|| SqlError::unsupported(format!("a parameter of the type with oid {oid}"))),
    }
}

fn duplicate_statement(name: &str) -> SqlError {
    SqlError::new(SqlState::DuplicatePreparedStatement, format!("prepared statement \"{name}\" already exists"))
}
