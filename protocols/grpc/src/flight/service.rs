//! `arrow.flight.protocol.FlightService`: which call is what.

use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use arrow_flight::flight_service_server::FlightService;
use arrow_flight::sql::{
    ActionBeginSavepointRequest, ActionBeginSavepointResult, ActionBeginTransactionRequest,
    ActionBeginTransactionResult, ActionCancelQueryRequest, ActionCancelQueryResult,
    ActionClosePreparedStatementRequest, ActionCreatePreparedStatementRequest, ActionCreatePreparedStatementResult,
    ActionEndSavepointRequest, ActionEndTransactionRequest, Any, Command, DoPutUpdateResult, EndTransaction,
    ProstMessageExt, TicketStatementQuery,
};
use arrow_flight::{
    Action, ActionType, CancelFlightInfoRequest, CancelFlightInfoResult, CancelStatus, Criteria, Empty, FlightData,
    FlightDescriptor, FlightEndpoint, FlightInfo, HandshakeRequest, HandshakeResponse, IpcMessage, PollInfo, PutResult,
    SchemaAsIpc, SchemaResult, Ticket,
};
use arrow_ipc::writer::IpcWriteOptions;
use perigee_door::load::quoted;
use perigee_door::{BeginOptions, Caller, Door};
use perigee_engine::ObjectNames;
use perigee_types::SqlError;
use prost::Message;
use prost::bytes::Bytes;
use tonic::metadata::MetadataValue;
use tonic::{Request, Response, Status, Streaming};

use super::handle::{Handle, transaction_of};
use super::keys::Which;
use super::messages::of_batch;
use super::placeholders::numbered;
use super::query::{internal, schema};
use super::running::Running;
use super::update::Incoming;
use super::{catalog, info, keys, parameters};
use crate::caller::{caller_of, lease};
use crate::error::{lease_status, status};
use crate::stream::Messages;

/// Values of `EndSavepoint`, and of `CancelResult`.
const RELEASE: i32 = 1;
const BACK: i32 = 2;
const CANCELLING: i32 = 2;
const NOT_CANCELLABLE: i32 = 3;

/// What DoAction knows, with the messages that it takes and gives.
const ACTIONS: [(&str, &str); 8] = [
    ("CreatePreparedStatement", "ActionCreatePreparedStatementRequest, ActionCreatePreparedStatementResult"),
    ("ClosePreparedStatement", "ActionClosePreparedStatementRequest"),
    ("BeginTransaction", "ActionBeginTransactionRequest, ActionBeginTransactionResult"),
    ("EndTransaction", "ActionEndTransactionRequest"),
    ("BeginSavepoint", "ActionBeginSavepointRequest, ActionBeginSavepointResult"),
    ("EndSavepoint", "ActionEndSavepointRequest"),
    ("CancelQuery", "ActionCancelQueryRequest, ActionCancelQueryResult"),
    ("CancelFlightInfo", "CancelFlightInfoRequest, CancelFlightInfoResult"),
];

/// The service.
pub(crate) struct FlightSql {
    pub(crate) door: Arc<Door>,
    pub(crate) running: Running,
}

impl FlightSql {
    pub(crate) fn new(door: Arc<Door>) -> Self {
        Self { door, running: Running::default() }
    }

    /// The catalog as a session of the caller sees it.
    async fn names(&self, caller: &Caller) -> Result<ObjectNames, Status> {
        Ok(lease(&self.door, caller, "").await?.object_names())
    }

    /// What a command about the catalog, or about this server, gives; `None` for a command that is none.
    async fn about(&self, caller: &Caller, command: Command) -> Result<Option<RecordBatch>, Status> {
        let which = |catalog, schema, table| Which { catalog, schema, table };
        let batch = match command {
            Command::CommandGetCatalogs(wanted) => catalog::catalogs(&self.names(caller).await?, wanted),
            Command::CommandGetDbSchemas(wanted) => catalog::db_schemas(&self.names(caller).await?, wanted),
            Command::CommandGetTables(wanted) => catalog::tables(&self.names(caller).await?, wanted),
            Command::CommandGetTableTypes(wanted) => catalog::table_types(wanted),
            Command::CommandGetPrimaryKeys(wanted) => {
                keys::primary(&self.names(caller).await?, &which(wanted.catalog, wanted.db_schema, wanted.table))
            }
            Command::CommandGetExportedKeys(wanted) => {
                let to = which(wanted.catalog, wanted.db_schema, wanted.table);
                keys::foreign(&self.names(caller).await?, None, Some(&to))
            }
            Command::CommandGetImportedKeys(wanted) => {
                let from = which(wanted.catalog, wanted.db_schema, wanted.table);
                keys::foreign(&self.names(caller).await?, Some(&from), None)
            }
            Command::CommandGetCrossReference(wanted) => {
                let to = which(wanted.pk_catalog, wanted.pk_db_schema, wanted.pk_table);
                let from = which(wanted.fk_catalog, wanted.fk_db_schema, wanted.fk_table);
                keys::foreign(&self.names(caller).await?, Some(&from), Some(&to))
            }
            Command::CommandGetSqlInfo(wanted) => info::sql_info(wanted),
            Command::CommandGetXdbcTypeInfo(wanted) => info::types(wanted),
            _ => return Ok(None),
        };
        batch.map(Some)
    }

    async fn prepare(
        &self,
        caller: &Caller,
        request: ActionCreatePreparedStatementRequest,
    ) -> Result<ActionCreatePreparedStatementResult, Status> {
        let mut handle = Handle::new(request.query, request.transaction_id.as_ref())?;
        let described = match self.describe(caller, &handle).await {
            Ok((_, described)) => described,
            Err(status) => match numbered(&handle.sql).filter(|_| status.message().contains('?')) {
                Some(sql) => {
                    handle.sql = sql;
                    self.describe(caller, &handle).await?.1
                }
                None => return Err(status),
            },
        };
        let as_ipc = |schema: &arrow::datatypes::Schema| -> Result<Bytes, Status> {
            let message = IpcMessage::try_from(SchemaAsIpc::new(schema, &IpcWriteOptions::default()));
            message.map(|message| message.0).map_err(internal)
        };
        Ok(ActionCreatePreparedStatementResult {
            prepared_statement_handle: handle.bytes(),
            dataset_schema: match described.columns.is_empty() {
                true => Bytes::new(),
                false => as_ipc(&schema(&described))?,
            },
            parameter_schema: as_ipc(&parameters::schema(&described.parameters))?,
        })
    }

    async fn begin(&self, caller: &Caller) -> Result<ActionBeginTransactionResult, Status> {
        // Clients begin one with each connection, long before they need it.
        let time_ms = u64::try_from(perigee_door::transactions::TIME_MAX.as_millis()).ok();
        let begun = self.door.begin(caller, BeginOptions { time_ms, ..BeginOptions::default() }).await;
        let begun = begun.map_err(|error| lease_status(&error))?;
        Ok(ActionBeginTransactionResult { transaction_id: begun.id.into() })
    }

    async fn end(&self, caller: &Caller, request: ActionEndTransactionRequest) -> Result<(), Status> {
        let id = transaction_of(&request.transaction_id)?;
        let ended = match request.action() {
            EndTransaction::Commit => self.door.commit(caller, &id).await,
            EndTransaction::Rollback => self.door.rollback(caller, &id).await,
            EndTransaction::Unspecified => {
                return Err(Status::invalid_argument("a transaction is committed or rolled back"));
            }
        };
        ended.map_err(|error| lease_status(&error))
    }

    async fn savepoint(
        &self,
        caller: &Caller,
        request: ActionBeginSavepointRequest,
    ) -> Result<ActionBeginSavepointResult, Status> {
        let transaction = transaction_of(&request.transaction_id)?;
        let sql = format!("SAVEPOINT {}", quoted(&request.name));
        self.update(caller, Handle { sql, transaction: transaction.clone(), ..Handle::default() }).await?;
        Ok(ActionBeginSavepointResult { savepoint_id: format!("{transaction}:{}", request.name).into() })
    }

    async fn end_savepoint(&self, caller: &Caller, request: ActionEndSavepointRequest) -> Result<(), Status> {
        let id = transaction_of(&request.savepoint_id)?;
        let none = || Status::invalid_argument("the savepoint's name is none of this server");
        let (transaction, name) = id.split_once(':').ok_or_else(none)?;
        let sql = match request.action {
            RELEASE => format!("RELEASE SAVEPOINT {}", quoted(name)),
            BACK => format!("ROLLBACK TO SAVEPOINT {}", quoted(name)),
            _ => return Err(Status::invalid_argument("a savepoint is released or rolled back to")),
        };
        self.update(caller, Handle { sql, transaction: transaction.to_owned(), ..Handle::default() }).await?;
        Ok(())
    }

    /// Cancels what the tickets of a result run; whether one of them does.
    fn cancel(&self, caller: &Caller, info: Option<FlightInfo>) -> Result<bool, Status> {
        let mut any = false;
        for endpoint in info.into_iter().flat_map(|info| info.endpoint) {
            let ticket = endpoint.ticket.unwrap_or_default();
            if let Command::TicketStatementQuery(ticket) = command(&ticket.ticket)? {
                let handle = Handle::read(&ticket.statement_handle)?;
                any |= self.running.cancel(&handle.id, &caller.user, &self.door);
            }
        }
        Ok(any)
    }
}

/// The command that some bytes are.
fn command(bytes: &[u8]) -> Result<Command, Status> {
    if bytes.is_empty() {
        return Err(Status::invalid_argument("no command: a descriptor of a path, or a ticket of nothing"));
    }
    let any = Any::decode(bytes).map_err(|error| Status::invalid_argument(format!("no command: {error}")))?;
    Command::try_from(any).map_err(|error| Status::invalid_argument(error.to_string()))
}

/// The message that an action takes.
fn unpack<T: ProstMessageExt>(body: &[u8]) -> Result<T, Status> {
    let wrong = |error: &dyn std::fmt::Display| Status::invalid_argument(format!("the action is not right: {error}"));
    let any = Any::decode(body).map_err(|error| wrong(&error))?;
    any.unpack().map_err(|error| wrong(&error))?.ok_or_else(|| wrong(&any.type_url))
}

fn unknown(what: &str) -> Status {
    status(&SqlError::unsupported(what))
}

#[tonic::async_trait]
impl FlightService for FlightSql {
    type HandshakeStream = Messages<HandshakeResponse>;
    type ListFlightsStream = Messages<FlightInfo>;
    type DoGetStream = Messages<FlightData>;
    type DoPutStream = Messages<PutResult>;
    type DoActionStream = Messages<arrow_flight::Result>;
    type ListActionsStream = Messages<ActionType>;
    type DoExchangeStream = Messages<FlightData>;

    /// Who has come so far is known; a client that has sent a name and a password is told what to send from now on.
    async fn handshake(
        &self,
        request: Request<Streaming<HandshakeRequest>>,
    ) -> Result<Response<Self::HandshakeStream>, Status> {
        caller_of(&request)?;
        let given = request.metadata().get("authorization").and_then(|given| given.to_str().ok()).map(str::to_owned);
        let mut response: Response<Self::HandshakeStream> =
            Response::new(Box::pin(futures::stream::iter([Ok(HandshakeResponse::default())])));
        if let Some(bearer) = given.as_deref().and_then(perigee_door::bearer_of) {
            let value = MetadataValue::try_from(bearer).map_err(internal)?;
            response.metadata_mut().insert("authorization", value);
        }
        Ok(response)
    }

    async fn list_flights(&self, _: Request<Criteria>) -> Result<Response<Self::ListFlightsStream>, Status> {
        Ok(Response::new(Box::pin(futures::stream::empty())))
    }

    async fn get_flight_info(&self, request: Request<FlightDescriptor>) -> Result<Response<FlightInfo>, Status> {
        let caller = caller_of(&request)?;
        let descriptor = request.into_inner();
        let info = match command(&descriptor.cmd)? {
            Command::CommandStatementQuery(query) => {
                let handle = Handle::new(query.query, query.transaction_id.as_ref())?;
                self.info(&caller, handle, descriptor).await?
            }
            Command::CommandPreparedStatementQuery(query) => {
                self.info(&caller, Handle::read(&query.prepared_statement_handle)?, descriptor).await?
            }
            other => {
                let name = other.type_url().to_owned();
                let batch = self.about(&caller, other).await?.ok_or_else(|| unknown(&name))?;
                // Its ticket is the command: what is fetched is what is there then.
                let endpoint = FlightEndpoint::new().with_ticket(Ticket::new(descriptor.cmd.clone()));
                let info = FlightInfo::new().with_descriptor(descriptor).with_endpoint(endpoint);
                info.with_total_records(-1).try_with_schema(&batch.schema()).map_err(internal)?
            }
        };
        Ok(Response::new(info))
    }

    async fn poll_flight_info(&self, _: Request<FlightDescriptor>) -> Result<Response<PollInfo>, Status> {
        Err(unknown("PollFlightInfo"))
    }

    async fn get_schema(&self, request: Request<FlightDescriptor>) -> Result<Response<SchemaResult>, Status> {
        let caller = caller_of(&request)?;
        let schema = match command(&request.get_ref().cmd)? {
            Command::CommandStatementQuery(query) => {
                let handle = Handle::new(query.query, query.transaction_id.as_ref())?;
                schema(&self.describe(&caller, &handle).await?.1)
            }
            Command::CommandPreparedStatementQuery(query) => {
                let handle = Handle::read(&query.prepared_statement_handle)?;
                schema(&self.describe(&caller, &handle).await?.1)
            }
            other => {
                let name = other.type_url().to_owned();
                let batch = self.about(&caller, other).await?.ok_or_else(|| unknown(&name))?;
                arrow::datatypes::Schema::clone(&batch.schema())
            }
        };
        let result = SchemaResult::try_from(SchemaAsIpc::new(&schema, &IpcWriteOptions::default()));
        Ok(Response::new(result.map_err(internal)?))
    }

    async fn do_get(&self, request: Request<Ticket>) -> Result<Response<Self::DoGetStream>, Status> {
        let caller = caller_of(&request)?;
        let rows = match command(&request.get_ref().ticket)? {
            Command::TicketStatementQuery(TicketStatementQuery { statement_handle }) => {
                self.rows(&caller, &Handle::read(&statement_handle)?).await?
            }
            Command::CommandPreparedStatementQuery(query) => {
                self.rows(&caller, &Handle::read(&query.prepared_statement_handle)?).await?
            }
            other => {
                let name = other.type_url().to_owned();
                of_batch(&self.about(&caller, other).await?.ok_or_else(|| unknown(&name))?)?
            }
        };
        Ok(Response::new(rows))
    }

    async fn do_put(&self, request: Request<Streaming<FlightData>>) -> Result<Response<Self::DoPutStream>, Status> {
        let caller = caller_of(&request)?;
        let (descriptor, incoming) = Incoming::open(request.into_inner()).await?;
        let counted = |record_count: i64| DoPutUpdateResult { record_count }.encode_to_vec();
        let result = match command(&descriptor.cmd)? {
            Command::CommandStatementUpdate(update) => {
                let handle = Handle::new(update.query, update.transaction_id.as_ref())?;
                counted(self.update(&caller, handle).await?)
            }
            Command::CommandPreparedStatementUpdate(update) => {
                let handle = Handle::read(&update.prepared_statement_handle)?;
                counted(self.update_prepared(&caller, handle, incoming).await?)
            }
            Command::CommandPreparedStatementQuery(query) => {
                let handle = Handle::read(&query.prepared_statement_handle)?;
                self.bind(&caller, handle, incoming).await?.encode_to_vec()
            }
            Command::CommandStatementIngest(wanted) => counted(self.ingest(&caller, wanted, incoming).await?),
            other => return Err(unknown(other.type_url())),
        };
        let result = PutResult { app_metadata: result.into() };
        Ok(Response::new(Box::pin(futures::stream::iter([Ok(result)]))))
    }

    async fn do_action(&self, request: Request<Action>) -> Result<Response<Self::DoActionStream>, Status> {
        let caller = caller_of(&request)?;
        let Action { r#type: kind, body } = request.into_inner();
        let packed = |any: Any| any.encode_to_vec();
        let result = match kind.as_str() {
            "CreatePreparedStatement" => Some(packed(self.prepare(&caller, unpack(&body)?).await?.as_any())),
            "ClosePreparedStatement" => {
                // Nothing is held for it.
                let request: ActionClosePreparedStatementRequest = unpack(&body)?;
                Handle::read(&request.prepared_statement_handle)?;
                None
            }
            "BeginTransaction" => {
                let ActionBeginTransactionRequest {} = unpack(&body)?;
                Some(packed(self.begin(&caller).await?.as_any()))
            }
            "EndTransaction" => {
                self.end(&caller, unpack(&body)?).await?;
                None
            }
            "BeginSavepoint" => Some(packed(self.savepoint(&caller, unpack(&body)?).await?.as_any())),
            "EndSavepoint" => {
                self.end_savepoint(&caller, unpack(&body)?).await?;
                None
            }
            "CancelQuery" => {
                let request: ActionCancelQueryRequest = unpack(&body)?;
                let info =
                    FlightInfo::decode(request.info).map_err(|error| Status::invalid_argument(error.to_string()))?;
                let result = if self.cancel(&caller, Some(info))? { CANCELLING } else { NOT_CANCELLABLE };
                Some(packed(ActionCancelQueryResult { result }.as_any()))
            }
            "CancelFlightInfo" => {
                let request = CancelFlightInfoRequest::decode(body);
                let request = request.map_err(|error| Status::invalid_argument(error.to_string()))?;
                let is_cancelled = self.cancel(&caller, request.info)?;
                let status = if is_cancelled { CancelStatus::Cancelling } else { CancelStatus::NotCancellable };
                Some(CancelFlightInfoResult::new(status).encode_to_vec())
            }
            other => return Err(unknown(&format!("the action {other}"))),
        };
        let results = result.into_iter().map(|body| Ok(arrow_flight::Result::new(body)));
        Ok(Response::new(Box::pin(futures::stream::iter(results.collect::<Vec<_>>()))))
    }

    async fn list_actions(&self, _: Request<Empty>) -> Result<Response<Self::ListActionsStream>, Status> {
        let actions = ACTIONS.map(|(kind, messages)| {
            Ok(ActionType { r#type: kind.to_owned(), description: format!("takes and gives: {messages}") })
        });
        Ok(Response::new(Box::pin(futures::stream::iter(actions))))
    }

    async fn do_exchange(&self, _: Request<Streaming<FlightData>>) -> Result<Response<Self::DoExchangeStream>, Status> {
        Err(unknown("DoExchange"))
    }
}
