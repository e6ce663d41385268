//! Statements whose rows are given, and those that have none.

use std::sync::Arc;

use arrow::datatypes::Schema;
use arrow::record_batch::RecordBatch;
use arrow_flight::{FlightData, FlightDescriptor, FlightInfo};
use futures::StreamExt as _;
use perigee_door::script::{Described, describe};
use perigee_door::{Caller, Lease, Query};
use perigee_engine::exchange::Exchange;
use tonic::Status;

use super::handle::Handle;
use super::messages::{Rows, of_batch};
use super::parameters;
use super::service::FlightSql;
use crate::caller::lease;
use crate::error::status;
use crate::stream::{Messages, run, stream};

impl FlightSql {
    /// What a statement takes and gives, with the session that it is to run in.
    pub(crate) async fn describe(&self, caller: &Caller, handle: &Handle) -> Result<(Lease, Described), Status> {
        let mut lease = lease(&self.door, caller, &handle.transaction).await?;
        let described = describe(&mut lease, &handle.sql, &[]).await;
        Ok((lease, described.map_err(|error| status(&error))?))
    }

    fn query(lease: &Lease, described: &Described, handle: &Handle) -> Result<Query, Status> {
        let parameters = parameters::held(lease, described, &handle.parameters);
        let parameters = parameters.map_err(|error| status(&error))?;
        Ok(Query { sql: handle.sql.clone(), parameters, rows_max: None })
    }

    /// Where a statement's rows are; one without rows is run.
    pub(crate) async fn info(
        &self,
        caller: &Caller,
        handle: Handle,
        descriptor: FlightDescriptor,
    ) -> Result<FlightInfo, Status> {
        let (lease, described) = self.describe(caller, &handle).await?;
        let mut handle = Handle { id: rand::random::<u128>().to_be_bytes().to_vec(), ..handle };
        let mut count = None;
        if described.columns.is_empty() {
            let query = Self::query(&lease, &described, &handle)?;
            let end = run(&self.door, lease, query).await.map_err(|error| status(&error))?;
            count = end.rows;
            handle = Handle { is_done: true, ..Handle::default() };
        }
        let count = count.and_then(|count| i64::try_from(count).ok()).unwrap_or(-1);
        let info = FlightInfo::new().with_descriptor(descriptor).with_endpoint(handle.endpoint());
        let info = info.with_total_records(count).with_ordered(true);
        info.try_with_schema(&schema(&described)).map_err(internal)
    }

    /// The rows of a statement.
    pub(crate) async fn rows(&self, caller: &Caller, handle: &Handle) -> Result<Messages<FlightData>, Status> {
        if handle.is_done {
            return of_batch(&RecordBatch::new_empty(Schema::empty().into()));
        }
        let (lease, described) = self.describe(caller, handle).await?;
        let query = Self::query(&lease, &described, handle)?;
        let process = (lease.process_id(), lease.secret());
        let rows = stream(&self.door, lease, query, Rows::default());
        let (door, caller, user) = (Arc::clone(&self.door), caller.clone(), &caller.user);
        let rows = rows.map(move |message| match caller.check_proof(&door) {
            Ok(()) => message,
            Err(error) => Err(status(&error)),
        });
        Ok(self.running.note(handle.id.clone(), process, user, rows.boxed()))
    }
}

/// The schema of a statement's rows.
pub(crate) fn schema(described: &Described) -> Schema {
    Schema::clone(&Exchange::new(&described.columns).schema())
}

pub(crate) fn internal(error: impl std::fmt::Display) -> Status {
    tracing::error!(%error, "a message of Flight could not be made");
    Status::internal(error.to_string())
}
