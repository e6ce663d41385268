//! `perigee.v1.Sql`: statements and transactions.

use std::sync::Arc;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use perigee_door::arrow::ArrowStream;
use perigee_door::run::for_rows;
use perigee_door::script::{describe, perform};
use perigee_door::{BeginOptions, Caller, Door, End, Isolation, Lease, Query};
use perigee_engine::{Notice, RowBlock, Session, Severity};
use perigee_plan::ResultColumn;
use perigee_types::{SqlError, SqlResult, SqlType};
use prost::Message as _;
use tonic::{Request, Response, Status};

use crate::caller::{caller_of, lease_with, said};
use crate::error::{lease_status, status};
use crate::once::{Call, key_of, once};
use crate::stream::{Encode, Messages, run, stream};
use crate::v1;
use crate::v1::query_response::Part;
use crate::value::{Style, parameters};

/// Bytes of a message of a result, about: clients take 4 MiB when nobody tells them otherwise.
const PART_BYTES: usize = 256 << 10;

/// The service.
pub(crate) struct SqlService {
    door: Arc<Door>,
}

impl SqlService {
    pub(crate) fn new(door: Arc<Door>) -> Self {
        Self { door }
    }

    /// What a message wants to run, and the session for it.
    async fn prepare(&self, caller: &Caller, statement: Option<v1::Statement>) -> Result<(Lease, Query), Status> {
        prepare(&self.door, caller, statement.ok_or_else(no_statement)?).await
    }
}

fn no_statement() -> Status {
    Status::invalid_argument("there is no statement")
}

async fn prepare(door: &Arc<Door>, caller: &Caller, statement: v1::Statement) -> Result<(Lease, Query), Status> {
    let v1::Statement { sql, parameters: values, parameter_types, transaction, database, timeout_ms } = statement;
    let query = Query { sql, parameters: parameters(values, parameter_types)?, rows_max: None };
    Ok((lease_with(door, caller, &transaction, &database, timeout_ms).await?, query))
}

/// Runs a statement.
///
/// # Errors
/// The statement's.
pub(crate) async fn execute(
    door: &Arc<Door>,
    caller: &Caller,
    statement: v1::Statement,
) -> Result<v1::ExecuteResponse, Status> {
    let (lease, query) = prepare(door, caller, statement).await?;
    let end = run(door, lease, query).await.map_err(|error| status(&error))?;
    Ok(v1::ExecuteResponse { summary: Some(summary(end)) })
}

impl Call for v1::Statement {
    type Answer = v1::ExecuteResponse;

    const KIND: &'static str = "";

    fn transaction(&self) -> &str {
        &self.transaction
    }

    fn begin(&self) -> BeginOptions {
        BeginOptions {
            timeout_ms: Some(self.timeout_ms).filter(|ms| *ms > 0),
            database: said(&self.database).map(str::to_owned),
            ..BeginOptions::default()
        }
    }

    fn within(self, transaction: &str) -> Self {
        // The transaction has its own.
        Self { transaction: transaction.to_owned(), database: String::new(), timeout_ms: 0, ..self }
    }

    fn run<'a>(self, door: &'a Arc<Door>, caller: &'a Caller) -> BoxFuture<'a, Result<v1::ExecuteResponse, Status>> {
        async move { execute(door, caller, self).await }.boxed()
    }
}

#[tonic::async_trait]
impl v1::sql_server::Sql for SqlService {
    type QueryStream = Messages<v1::QueryResponse>;

    async fn execute(&self, request: Request<v1::ExecuteRequest>) -> Result<Response<v1::ExecuteResponse>, Status> {
        let caller = caller_of(&request)?;
        let key = key_of(request.metadata())?;
        let statement = request.into_inner().statement.ok_or_else(no_statement)?;
        Ok(Response::new(once(&self.door, caller, key, statement).await?))
    }

    async fn query(&self, request: Request<v1::QueryRequest>) -> Result<Response<Self::QueryStream>, Status> {
        let caller = caller_of(&request)?;
        let request = request.into_inner();
        let as_arrow = match request.format.try_into() {
            Ok(v1::ResultFormat::Rows) => false,
            Ok(v1::ResultFormat::Arrow) => true,
            Err(_) => return Err(Status::invalid_argument("there is no such format")),
        };
        let (lease, query) = self.prepare(&caller, request.statement).await?;
        let query = Query { rows_max: Some(request.rows_max).filter(|rows| *rows > 0), ..query };
        let encode = Encoder { as_arrow, form: Form::None };
        Ok(Response::new(stream(&self.door, lease, query, encode)))
    }

    async fn describe(&self, request: Request<v1::DescribeRequest>) -> Result<Response<v1::DescribeResponse>, Status> {
        let caller = caller_of(&request)?;
        let (lease, query) = self.prepare(&caller, request.into_inner().statement).await?;
        let types = query.parameters.into_iter().map(|parameter| parameter.ty).collect::<Vec<_>>();
        let described = perform(&self.door, lease, move |session| {
            async move { describe(session, &query.sql, &types).await }.boxed()
        });
        let described = described.await.map_err(|error| status(&error))?;
        Ok(Response::new(v1::DescribeResponse {
            parameter_types: described.parameters.iter().map(SqlType::to_string).collect(),
            columns: described.columns.iter().map(column).collect(),
        }))
    }

    async fn begin(&self, request: Request<v1::BeginRequest>) -> Result<Response<v1::BeginResponse>, Status> {
        let caller = caller_of(&request)?;
        let request = request.into_inner();
        let isolation = match request.isolation.try_into() {
            Ok(v1::Isolation::Unspecified) => None,
            Ok(v1::Isolation::ReadCommitted) => Some(Isolation::ReadCommitted),
            Ok(v1::Isolation::RepeatableRead) => Some(Isolation::RepeatableRead),
            Ok(v1::Isolation::Serializable) => Some(Isolation::Serializable),
            Err(_) => return Err(Status::invalid_argument("there is no such isolation level")),
        };
        let said_ms = |ms: u64| Some(ms).filter(|ms| *ms > 0);
        let options = BeginOptions {
            isolation,
            read_only: request.read_only,
            time_ms: said_ms(request.time_ms),
            timeout_ms: said_ms(request.timeout_ms),
            database: said(&request.database).map(str::to_owned),
        };
        let begun = self.door.begin(&caller, options).await.map_err(|error| lease_status(&error))?;
        let time_ms = begun.time.as_millis() as u64;
        Ok(Response::new(v1::BeginResponse { transaction: begun.id, time_ms }))
    }

    async fn commit(&self, request: Request<v1::CommitRequest>) -> Result<Response<v1::CommitResponse>, Status> {
        let caller = caller_of(&request)?;
        let ended = self.door.commit(&caller, &request.get_ref().transaction).await;
        ended.map_err(|error| lease_status(&error))?;
        Ok(Response::new(v1::CommitResponse {}))
    }

    async fn rollback(&self, request: Request<v1::RollbackRequest>) -> Result<Response<v1::RollbackResponse>, Status> {
        let caller = caller_of(&request)?;
        let ended = self.door.rollback(&caller, &request.get_ref().transaction).await;
        ended.map_err(|error| lease_status(&error))?;
        Ok(Response::new(v1::RollbackResponse {}))
    }
}

fn column(column: &ResultColumn) -> v1::Column {
    v1::Column { name: column.name.to_string(), r#type: column.ty.to_string() }
}

fn summary(end: End) -> v1::Summary {
    let severity = |severity| match severity {
        Severity::Notice => "NOTICE",
        Severity::Warning => "WARNING",
        Severity::Info => "INFO",
    };
    let notice = |notice: Notice| v1::Notice {
        severity: severity(notice.severity).to_owned(),
        sqlstate: notice.error.state().code().to_owned(),
        message: notice.error.message().to_owned(),
    };
    let notices = end.notices.into_iter().map(notice).collect();
    v1::Summary { command: end.command, rows: end.rows, truncated: end.truncated, notices }
}

/// Makes messages of a result in the form that was asked for.
struct Encoder {
    as_arrow: bool,
    form: Form,
}

enum Form {
    /// Nothing has begun.
    None,
    Rows(Arc<[ResultColumn]>, Style),
    Arrow(Box<ArrowStream>),
}

fn message(part: Part) -> v1::QueryResponse {
    v1::QueryResponse { part: Some(part) }
}

impl Encode for Encoder {
    type Message = v1::QueryResponse;

    fn begin(
        &mut self,
        session: &Session,
        columns: &Arc<[ResultColumn]>,
        out: &mut Vec<v1::QueryResponse>,
    ) -> SqlResult<()> {
        let named = v1::Columns { columns: columns.iter().map(column).collect() };
        out.push(message(Part::Columns(named)));
        self.form = if self.as_arrow {
            let mut bytes = Vec::new();
            let stream = ArrowStream::begin(columns, &mut bytes)?;
            out.push(message(Part::Arrow(bytes)));
            Form::Arrow(Box::new(stream))
        } else {
            Form::Rows(Arc::clone(columns), Style::of(session))
        };
        Ok(())
    }

    fn block(&mut self, block: RowBlock, out: &mut Vec<v1::QueryResponse>) -> SqlResult<()> {
        match &mut self.form {
            Form::None => Err(SqlError::internal("rows without columns")),
            Form::Arrow(stream) => {
                let mut bytes = Vec::new();
                stream.block(&block, &mut bytes)?;
                out.extend(bytes.chunks(PART_BYTES).map(|part| message(Part::Arrow(part.to_vec()))));
                Ok(())
            }
            Form::Rows(columns, style) => {
                let (mut rows, mut size) = (Vec::new(), 0);
                for_rows(block, |row| {
                    let values = row.into_iter().zip(columns.iter());
                    let values = values.map(|(value, column)| style.message(value, &column.ty)).collect();
                    let row = v1::Row { values };
                    size += row.encoded_len();
                    rows.push(row);
                    if size >= PART_BYTES {
                        size = 0;
                        out.push(message(Part::Rows(v1::Rows { rows: std::mem::take(&mut rows) })));
                    }
                });
                if !rows.is_empty() {
                    out.push(message(Part::Rows(v1::Rows { rows })));
                }
                Ok(())
            }
        }
    }

    fn end(&mut self, end: End, out: &mut Vec<v1::QueryResponse>) -> SqlResult<()> {
        if let Form::Arrow(stream) = &mut self.form {
            let mut bytes = Vec::new();
            stream.end(&mut bytes)?;
            out.push(message(Part::Arrow(bytes)));
        }
        out.push(message(Part::Summary(summary(end))));
        Ok(())
    }
}
