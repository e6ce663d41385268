//! Rows in bulk: a COPY of what the client streams, all of it or nothing.

use arrow::datatypes::{DataType, Field};
use arrow_flight::FlightData;
use arrow_flight::sql::{CommandStatementIngest, TableExistsOption, TableNotExistOption};
use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use perigee_copy::IpcMessages;
use perigee_door::Caller;
use perigee_door::load::{Coding, Form, Load, load, quoted};
use perigee_engine::Session;
use perigee_types::catalog::Object;
use perigee_types::{SqlError, SqlResult, SqlState};
use prost::bytes::{BufMut as _, Bytes, BytesMut};
use tonic::Status;

use super::handle::transaction_of;
use super::parameters;
use super::service::FlightSql;
use super::update::Incoming;
use crate::caller::lease_with;
use crate::error::status;

/// What the length of a message in a stream begins with.
const CONTINUATION: u32 = u32::MAX;

impl FlightSql {
    /// Loads the rows of a stream. How many they were.
    pub(crate) async fn ingest(
        &self,
        caller: &Caller,
        wanted: CommandStatementIngest,
        mut incoming: Incoming,
    ) -> Result<i64, Status> {
        let sql = |error: SqlError| status(&error);
        if wanted.temporary {
            return Err(sql(SqlError::unsupported("a temporary table, which would end with its load,")));
        }
        let transaction = wanted.transaction_id.as_ref().map(|id| transaction_of(id)).transpose()?.unwrap_or_default();
        let database = wanted.catalog.as_deref().filter(|_| transaction.is_empty()).unwrap_or_default();
        let lease = lease_with(&self.door, caller, &transaction, database, 0).await?;
        // The schema comes first; what has neither head nor rows is not kept.
        let mut messages = IpcMessages::default();
        let first = loop {
            let data = incoming.next().await?.ok_or_else(|| Status::invalid_argument("the stream has no schema"))?;
            if !data.data_header.is_empty() {
                break data;
            }
        };
        parameters::take(&mut messages, first.clone()).map_err(sql)?;
        let Some(schema) = messages.schema() else {
            return Err(Status::invalid_argument("the stream does not begin with a schema"));
        };
        let fields = schema.fields().clone();
        let table = match &wanted.schema {
            Some(schema) => format!("{}.{}", quoted(schema), quoted(&wanted.table)),
            None => quoted(&wanted.table),
        };
        let before = definition(&lease, &wanted, &table, fields.iter().map(|field| &**field)).map_err(sql)?;
        let wanted = Load { before, table, columns: None, form: Form::Arrow, coding: Coding::Plain };
        let loaded = load(&self.door, caller, lease, wanted, body(first, incoming)).await;
        let loaded = loaded.map_err(|refused| status(&refused.error))?;
        Ok(i64::try_from(loaded).unwrap_or(i64::MAX))
    }
}

/// The statements that make the table as the client wants it.
fn definition<'a>(
    session: &Session,
    wanted: &CommandStatementIngest,
    table: &str,
    fields: impl Iterator<Item = &'a Field>,
) -> SqlResult<Vec<String>> {
    let options = wanted.table_definition_options.unwrap_or_default();
    let drop = format!("DROP TABLE {table}");
    let columns = fields.map(|field| {
        Ok::<_, SqlError>(format!("{} {}", quoted(field.name()), type_of(field.name(), field.data_type())?))
    });
    let create = |columns: Vec<String>| format!("CREATE TABLE {table} ({})", columns.join(", "));
    match (exists(session, wanted), options.if_exists(), options.if_not_exist()) {
        (true, TableExistsOption::Fail, _) => {
            let message = format!("relation \"{}\" already exists", wanted.table);
            Err(SqlError::new(SqlState::DuplicateTable, message))
        }
        (true, TableExistsOption::Replace, _) => Ok(vec![drop, create(columns.collect::<SqlResult<_>>()?)]),
        (false, _, TableNotExistOption::Create) => Ok(vec![create(columns.collect::<SqlResult<_>>()?)]),
        // What is not there COPY says.
        _ => Ok(Vec::new()),
    }
}

fn exists(session: &Session, wanted: &CommandStatementIngest) -> bool {
    let names = session.object_names();
    let path = match &wanted.schema {
        Some(schema) => std::slice::from_ref(schema),
        None => &names.path[..],
    };
    path.iter().any(|schema| {
        let schema = names.catalog.schema(names.tenant, schema);
        let found = schema.and_then(|schema| names.catalog.relation(schema.oid, &wanted.table));
        matches!(found, Some(Object::Table(_) | Object::View(_)))
    })
}

/// The type of a column that takes values of a type of Arrow.
fn type_of(name: &str, form: &DataType) -> SqlResult<String> {
    Ok(match form {
        DataType::Boolean => "boolean".to_owned(),
        DataType::Int8 | DataType::UInt8 | DataType::Int16 => "smallint".to_owned(),
        DataType::UInt16 | DataType::Int32 => "integer".to_owned(),
        DataType::UInt32 | DataType::Int64 => "bigint".to_owned(),
        DataType::UInt64 => "numeric(20,0)".to_owned(),
        DataType::Float16 | DataType::Float32 => "real".to_owned(),
        DataType::Float64 => "double precision".to_owned(),
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale)
        | DataType::Decimal256(precision, scale) => format!("numeric({precision},{scale})"),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null => "text".to_owned(),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            "bytea".to_owned()
        }
        DataType::Date32 | DataType::Date64 => "date".to_owned(),
        DataType::Time32(_) | DataType::Time64(_) => "time".to_owned(),
        DataType::Timestamp(_, None) => "timestamp".to_owned(),
        DataType::Timestamp(_, Some(_)) => "timestamptz".to_owned(),
        DataType::Interval(_) | DataType::Duration(_) => "interval".to_owned(),
        DataType::Dictionary(_, values) => type_of(name, values)?,
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _)
            if !item.data_type().is_nested() =>
        {
            format!("{}[]", type_of(name, item.data_type())?)
        }
        other => {
            let message = format!("column \"{name}\" is of Arrow's type {other}, which no column is made of");
            return Err(SqlError::new(SqlState::FeatureNotSupported, message));
        }
    })
}

/// The messages as one IPC stream.
fn body(first: FlightData, incoming: Incoming) -> BoxStream<'static, SqlResult<Bytes>> {
    let rest = stream::unfold(incoming, |mut incoming| async move {
        let next = incoming.next_or_error().await.transpose()?;
        Some((next, incoming))
    });
    let framed = |data: SqlResult<FlightData>| stream::iter(frames(data));
    stream::iter([Ok(first)]).chain(rest).flat_map(framed).boxed()
}

fn frames(data: SqlResult<FlightData>) -> Vec<SqlResult<Bytes>> {
    let data = match data {
        Ok(data) if data.data_header.is_empty() => return Vec::new(),
        Ok(data) => data,
        Err(error) => return vec![Err(error)],
    };
    let mut head = BytesMut::with_capacity(8 + data.data_header.len());
    head.put_u32_le(CONTINUATION);
    head.put_u32_le(u32::try_from(data.data_header.len()).unwrap_or(u32::MAX));
    head.put_slice(&data.data_header);
    vec![Ok(head.freeze()), Ok(data.data_body)]
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn types_become_columns() {
        let list = |item| DataType::List(Arc::new(Field::new("item", item, true)));
        for (form, expected) in [
            (DataType::UInt32, Some("bigint")),
            (DataType::Decimal128(12, 3), Some("numeric(12,3)")),
            (DataType::Timestamp(arrow::datatypes::TimeUnit::Second, Some("UTC".into())), Some("timestamptz")),
            (DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8)), Some("text")),
            (list(DataType::Int16), Some("smallint[]")),
            (list(list(DataType::Int16)), None),
            (DataType::Struct(arrow::datatypes::Fields::empty()), None),
        ] {
            assert_eq!(type_of("a", &form).ok().as_deref(), expected, "{form}");
        }
    }
}
