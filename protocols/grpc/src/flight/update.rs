//! Statements that count rows.

use std::sync::Arc;
use std::time::Duration;

use arrow_flight::sql::DoPutPreparedStatementResult;
use arrow_flight::{FlightData, FlightDescriptor};
use futures::FutureExt as _;
use perigee_copy::IpcMessages;
use perigee_door::script::{describe, fetch, perform};
use perigee_door::{Caller, Given, Query};
use perigee_types::{SqlError, SqlResult, SqlState};
use tonic::{Status, Streaming};

use super::handle::Handle;
use super::parameters;
use super::service::FlightSql;
use crate::caller::lease;
use crate::error::status;
use crate::stream::run;

/// How long the next message of a client may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a client sends, of which the first message was looked at.
pub(crate) struct Incoming {
    first: Option<FlightData>,
    rest: Streaming<FlightData>,
}

impl Incoming {
    /// Waits for the first message, which says what the others are for.
    pub(crate) async fn open(rest: Streaming<FlightData>) -> Result<(FlightDescriptor, Self), Status> {
        let mut incoming = Self { first: None, rest };
        let first = incoming.next().await?.ok_or_else(|| Status::invalid_argument("the stream is empty"))?;
        let descriptor = first.flight_descriptor.clone();
        incoming.first = Some(first);
        let descriptor =
            descriptor.ok_or_else(|| Status::invalid_argument("the stream does not say what it is for"))?;
        Ok((descriptor, incoming))
    }

    /// The next message, `None` at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<FlightData>, Status> {
        if let Some(first) = self.first.take() {
            return Ok(Some(first));
        }
        let next = tokio::time::timeout(PATIENCE, self.rest.message()).await;
        next.map_err(|_| Status::deadline_exceeded("the next message did not come in time"))?
    }

    /// The same for who gives errors of SQL.
    pub(crate) async fn next_or_error(&mut self) -> SqlResult<Option<FlightData>> {
        self.next().await.map_err(|status| {
            SqlError::new(SqlState::ProtocolViolation, format!("the client's stream broke off: {}", status.message()))
        })
    }
}

impl FlightSql {
    /// Runs a statement. How many rows it has counted, or -1.
    pub(crate) async fn update(&self, caller: &Caller, handle: Handle) -> Result<i64, Status> {
        let lease = lease(&self.door, caller, &handle.transaction).await?;
        let query = Query { sql: handle.sql, parameters: Vec::new(), rows_max: None };
        let end = run(&self.door, lease, query).await.map_err(|error| status(&error))?;
        Ok(end.rows.and_then(|rows| i64::try_from(rows).ok()).unwrap_or(-1))
    }

    /// Runs a prepared statement for each row of parameters that comes, all in one transaction.
    pub(crate) async fn update_prepared(
        &self,
        caller: &Caller,
        handle: Handle,
        mut incoming: Incoming,
    ) -> Result<i64, Status> {
        let lease = lease(&self.door, caller, &handle.transaction).await?;
        let (door, caller) = (Arc::clone(&self.door), caller.clone());
        let work = perform(&self.door, lease, move |session| {
            async move {
                let described = describe(session, &handle.sql, &[]).await?;
                let (mut messages, mut count, mut has_run) = (IpcMessages::default(), 0, false);
                while let Some(data) = incoming.next_or_error().await? {
                    caller.check_proof(&door)?;
                    let Some(batch) = parameters::take(&mut messages, data)? else { continue };
                    for part in parameters::parts(&batch) {
                        for row in parameters::rows(session, &described.parameters, &part)? {
                            let given: Vec<Given<'_>> = row.into_iter().map(Given::Exact).collect();
                            count += fetch(session, &handle.sql, &given).await?.count;
                            has_run = true;
                        }
                    }
                }
                // Nothing was bound: it runs once, with what was bound before. Some clients send a schema without columns for a
                // statement that has no parameters; no rows of parameters are no runs.
                if !has_run && (messages.schema().is_none() || described.parameters.is_empty()) {
                    let held = parameters::held(session, &described, &handle.parameters)?;
                    let given: Vec<Given<'_>> = held.into_iter().map(|parameter| parameter.given).collect();
                    count += fetch(session, &handle.sql, &given).await?.count;
                }
                caller.check_proof(&door)?;
                Ok(count)
            }
            .boxed()
        });
        let count = work.await.map_err(|error| status(&error))?;
        Ok(i64::try_from(count).unwrap_or(i64::MAX))
    }

    /// Binds a row of parameters to a prepared statement: its new handle holds them.
    pub(crate) async fn bind(
        &self,
        caller: &Caller,
        handle: Handle,
        mut incoming: Incoming,
    ) -> Result<DoPutPreparedStatementResult, Status> {
        let (mut messages, mut bound) = (IpcMessages::default(), None);
        let sql = |error: SqlError| status(&error);
        while let Some(data) = incoming.next().await? {
            let Some(batch) = parameters::take(&mut messages, data).map_err(sql)? else { continue };
            if batch.num_rows() == 0 {
                continue;
            }
            if batch.num_rows() > 1 || bound.is_some() {
                return Err(status(&SqlError::unsupported("a query with several rows of parameters")));
            }
            bound = Some(batch);
        }
        let held = match &bound {
            Some(batch) => parameters::hold(batch).map_err(sql)?,
            None => Vec::new(),
        };
        let handle = Handle { parameters: held, ..handle };
        // What does not fit is said now, not when the rows are fetched.
        let (lease, described) = self.describe(caller, &handle).await?;
        parameters::held(&lease, &described, &handle.parameters).map_err(sql)?;
        Ok(DoPutPreparedStatementResult { prepared_statement_handle: Some(handle.bytes()) })
    }
}
