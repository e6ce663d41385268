//! SET, SHOW, RESET, DISCARD, PREPARE, EXECUTE, DEALLOCATE, DECLARE, FETCH, MOVE, CLOSE.

use std::sync::Arc;

use futures::StreamExt;
use perigee_plan::command::{Discard, SessionCommand};
use perigee_plan::{FetchDirection, Plan, Prepared};
use perigee_query::sql;
use perigee_types::{SqlError, SqlResult, SqlState, SqlType, Value};

use crate::api::{CommandTag, Outcome, RowBlock, RowStream};
use crate::notify::Listening;
use crate::portal::Portal;
use crate::row_source::{RowSource, Scroll};
use crate::session::Session;
use crate::settings::DEFINITIONS;

/// How many bytes of rows a cursor without SCROLL goes back over.
const KEPT_UNASKED_BYTES_MAX: usize = 1 << 20;

impl Session {
    pub(crate) async fn session_command(
        &mut self,
        prepared: &Prepared,
        command: &SessionCommand,
        values: &[Value],
    ) -> SqlResult<Outcome> {
        match command {
            SessionCommand::Set { name, value, local } => self.set(name, value.as_deref(), *local)?,
            SessionCommand::Show(name) => {
                let value = self.show(name)?;
                return Ok(rows(prepared, vec![vec![Value::Text(value)]]));
            }
            SessionCommand::ShowAll => {
                let all = DEFINITIONS
                    .iter()
                    .map(|d| {
                        let value = self.show(d.name).unwrap_or_default();
                        vec![Value::Text(d.name.to_owned()), Value::Text(value), Value::Text(d.description.to_owned())]
                    })
                    .collect();
                return Ok(rows(prepared, all));
            }
            SessionCommand::Reset(Some(name)) => self.set(name, None, false)?,
            SessionCommand::Reset(None) => self.reset_all()?,
            SessionCommand::Discard(what) => self.discard(*what).await?,
            SessionCommand::Listen(channel) => {
                crate::notify::check(channel, "")?;
                self.transaction()?.listening.push(Listening::Start(channel.clone()));
            }
            SessionCommand::Unlisten(channel) => {
                let change = channel.clone().map_or(Listening::StopAll, Listening::Stop);
                self.transaction()?.listening.push(change);
            }
            SessionCommand::Notify { channel, payload } => {
                if self.reads_only {
                    return Err(crate::notify::refused());
                }
                let process_id = self.entry.process_id;
                self.transaction()?.notifications.add(channel, payload, process_id)?;
            }
            SessionCommand::Prepare { name, parameters, statement } => {
                self.prepare(name, parameters, statement, &prepared.text).await?;
            }
            SessionCommand::Execute { name, parameters } => return self.execute_prepared(name, parameters).await,
            SessionCommand::Do(block) => self.run_block(block).await?,
            SessionCommand::Deallocate(Some(name)) => {
                if !self.has_statement(name) {
                    return Err(SqlError::new(
                        SqlState::InvalidSqlStatementName,
                        format!("prepared statement \"{name}\" does not exist"),
                    ));
                }
                self.close_statement(name);
            }
            SessionCommand::Deallocate(None) => self.close_all_statements(),
            SessionCommand::Declare { name, scroll, hold, statement } => {
                self.declare(name, *scroll, *hold, statement, values).await?;
            }
            SessionCommand::Fetch { name, direction, moves: false } => return self.fetch(name, *direction).await,
            SessionCommand::Fetch { name, direction, moves: true } => {
                let (_, rows) = self.cursor_rows(name).await?;
                let mut rows = rows.lock().await;
                let moved = match direction {
                    FetchDirection::Forward(count) if *count != Some(0) => rows.skip(count.unwrap_or(u64::MAX)).await?,
                    direction => rows.fetch(*direction).await?.iter().map(|block| block.row_count() as u64).sum(),
                };
                return Ok(Outcome::Command(CommandTag { name: prepared.tag, rows: Some(moved) }));
            }
            SessionCommand::Close(Some(name)) => {
                self.portals.remove(name).ok_or_else(|| {
                    SqlError::new(SqlState::InvalidCursorName, format!("cursor \"{name}\" does not exist"))
                })?;
            }
            SessionCommand::Close(None) => self.portals.clear(),
        }
        Ok(Outcome::Command(CommandTag { name: prepared.tag, rows: None }))
    }

    async fn discard(&mut self, what: Discard) -> SqlResult<()> {
        match what {
            Discard::All => {
                if self.transaction.as_ref().is_some_and(|t| t.explicit) {
                    return Err(SqlError::new(
                        SqlState::ActiveSqlTransaction,
                        "DISCARD ALL cannot run inside a transaction block",
                    ));
                }
                self.close_all_statements();
                self.portals.clear();
                self.services.forget();
                self.services.advisory.give_all_back();
                self.engine.listeners.leave(self.entry.process_id);
                self.changes.channels = true;
                self.set("session_authorization", None, false)?;
                self.reset_all()?;
                self.discard_temporary().await
            }
            Discard::Sequences => {
                self.services.forget();
                Ok(())
            }
            Discard::Temp => self.discard_temporary().await,
            // Plans are shared by all sessions and checked at each use.
            Discard::Plans => Ok(()),
        }
    }

    async fn prepare(&mut self, name: &str, declared: &[Option<SqlType>], text: &str, command: &str) -> SqlResult<()> {
        let parsed = sql::parse(text)?;
        let [parsed] = parsed.as_slice() else {
            return Err(SqlError::syntax("PREPARE takes one statement"));
        };
        if self.has_statement(name) {
            return Err(SqlError::new(
                SqlState::DuplicatePreparedStatement,
                format!("prepared statement \"{name}\" already exists"),
            ));
        }
        let parsed = parsed.clone();
        let prepared = self.plan_apart(declared, move |_, context| sql::plan(&parsed, context)).await?;
        self.put_statement(name, self.unlifted(prepared), command, true)
    }

    async fn execute_prepared(&mut self, name: &str, parameters: &[Value]) -> SqlResult<Outcome> {
        let statement = self.get_statement(name)?;
        // One that runs another, or itself, would nest as deep as a client likes.
        if matches!(statement.prepared.plan, Plan::Session(_)) {
            return Err(SqlError::unsupported("EXECUTE of a statement that is not a query or a write"));
        }
        let wanted = &statement.prepared.parameters;
        if parameters.len() != wanted.len() {
            return Err(SqlError::syntax(format!("wrong number of parameters for prepared statement \"{name}\""))
                .detail(format!("Expected {} parameters but got {}.", wanted.len(), parameters.len())));
        }
        let settings = self.output_settings();
        let mut values = Vec::with_capacity(parameters.len());
        for (value, ty) in parameters.iter().zip(wanted) {
            values.push(convert(value, ty, &settings)?);
        }
        self.run(&statement.prepared, &values).await
    }
}

impl Session {
    async fn declare(
        &mut self,
        name: &str,
        scroll: Option<bool>,
        hold: bool,
        statement: &Arc<Prepared>,
        parameters: &[Value],
    ) -> SqlResult<()> {
        if name.is_empty() {
            return Err(SqlError::new(SqlState::InvalidCursorName, "invalid cursor name: must not be empty"));
        }
        let in_block = self.shared_implicit || self.transaction.as_ref().is_some_and(|t| t.explicit);
        if !hold && !in_block {
            return Err(SqlError::new(
                SqlState::NoActiveSqlTransaction,
                "DECLARE CURSOR can only be used in transaction blocks",
            ));
        }
        if hold && matches!(&statement.plan, Plan::Query(query) if query.row_lock.is_some()) {
            return Err(SqlError::unsupported("DECLARE CURSOR WITH HOLD ... FOR UPDATE"));
        }
        if self.portals.contains(name) {
            return Err(SqlError::new(SqlState::DuplicateCursor, format!("cursor \"{name}\" already exists")));
        }
        let Outcome::Rows(columns, stream) = Box::pin(self.run_plan(statement, parameters)).await? else {
            return Err(SqlError::internal("a cursor's query gave no rows"));
        };
        let scroll = match scroll {
            None => Scroll::Unasked(KEPT_UNASKED_BYTES_MAX),
            Some(true) => Scroll::Asked(self.engine.options.transaction_bytes_max),
            Some(false) => Scroll::No,
        };
        let mut rows = RowSource::cursor(stream, &statement.text, scroll);
        if hold && self.transaction.as_ref().is_some_and(|t| t.staging.is_some()) {
            // Its scans must hold the staged rows before these become everybody's.
            rows.begin().await?;
        }
        self.put_portal(name, Portal::cursor(columns, rows, hold))
    }

    async fn fetch(&mut self, name: &str, direction: FetchDirection) -> SqlResult<Outcome> {
        let (columns, rows) = self.cursor_rows(name).await?;
        let FetchDirection::Forward(count @ (None | Some(1..))) = direction else {
            let blocks = rows.lock().await.fetch(direction).await?;
            let stream = futures::stream::iter(blocks.into_iter().map(Ok));
            return Ok(Outcome::Rows(columns, RowStream::stream("FETCH", stream.boxed())));
        };
        // The rows are taken as the client reads them.
        let stream = futures::stream::try_unfold((rows, count.unwrap_or(u64::MAX)), |(rows, left)| async move {
            if left == 0 {
                return Ok(None);
            }
            let block = rows.lock().await.take(left).await?;
            Ok(block.map(|block| {
                let left = left - block.row_count() as u64;
                (block, (rows, left))
            }))
        });
        Ok(Outcome::Rows(columns, RowStream::stream("FETCH", stream.boxed())))
    }
}

/// A value written in EXECUTE as the type that the statement wants.
fn convert(value: &Value, ty: &SqlType, settings: &perigee_types::text::OutputSettings) -> SqlResult<Value> {
    let from = match value {
        Value::Null => return Ok(Value::Null),
        Value::Text(text) => return perigee_types::text::parse(text, ty),
        Value::Bool(_) => SqlType::Bool,
        Value::Int2(_) => SqlType::Int2,
        Value::Int4(_) => SqlType::Int4,
        Value::Int8(_) => SqlType::Int8,
        Value::Float4(_) => SqlType::Float4,
        Value::Float8(_) => SqlType::Float8,
        Value::Numeric(..) | Value::Wide(_) => SqlType::Numeric(None),
        _ => return Ok(value.clone()),
    };
    if from == *ty {
        return Ok(value.clone());
    }
    perigee_types::text::parse(&perigee_types::text::format(value, &from, settings), ty)
}

fn rows(prepared: &Prepared, rows: Vec<Vec<Value>>) -> Outcome {
    let columns = prepared.columns.clone().unwrap_or_else(|| Vec::new().into());
    Outcome::Rows(columns, RowStream::ready(prepared.tag, RowBlock::Values(rows)))
}
