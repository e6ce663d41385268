//! What of each table is in memory, in the LSM and in the object store, and rows that are told to go to another tier.

use std::sync::Arc;

use futures::FutureExt as _;
use perigee_door::script::{fetch, perform};
use perigee_door::{Caller, Door, Given};
use perigee_engine::Session;
use perigee_types::{Row, SqlError, SqlResult, SqlState, Value};
use tonic::Status;

use crate::caller::said;
use crate::diagnostics::here;
use crate::error::status;
use crate::v1;

/// The tiers of all tables, or of one that is named as `schema.table`, as this node has them.
///
/// # Errors
/// `42P01` for a table that is not there.
pub(crate) async fn tiers(
    door: &Arc<Door>,
    caller: &Caller,
    database: &str,
    table: &str,
) -> SqlResult<Vec<v1::TableTier>> {
    let session = here(door, caller, said(database)).await?;
    let table = said(table).map(str::to_owned);
    perform(door, session, move |session| async move { read(session, table.as_deref()).await }.boxed()).await
}

async fn read(session: &mut Session, table: Option<&str>) -> SqlResult<Vec<v1::TableTier>> {
    let columns = "SELECT schema_name, table_name, tier, rows, bytes, files, oldest, newest FROM perigee.tiers";
    let order = "ORDER BY schema_name, table_name, CASE tier WHEN 'hot' THEN 1 WHEN 'warm' THEN 2 ELSE 3 END";
    let Some(table) = table else {
        let fetched = fetch(session, &format!("{columns} {order}"), &[]).await?;
        return Ok(fetched.rows.into_iter().map(tier).collect());
    };
    let (schema, name) = named(table);
    let sql = format!("{columns} WHERE schema_name = $1 AND table_name = $2 {order}");
    let fetched = fetch(session, &sql, &[Given::text(schema), Given::text(name)]).await?;
    // Partitioned tables have no rows of their own.
    let there = "SELECT c.oid FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE n.nspname = $1 AND c.relname = $2 AND c.relkind IN ('r', 'p', 'm')";
    if fetched.rows.is_empty()
        && fetch(session, there, &[Given::text(schema), Given::text(name)]).await?.rows.is_empty()
    {
        let message = format!("table \"{schema}.{name}\" does not exist");
        return Err(SqlError::new(SqlState::UndefinedTable, message));
    }
    Ok(fetched.rows.into_iter().map(tier).collect())
}

fn named(table: &str) -> (&str, &str) {
    table.split_once('.').unwrap_or(("public", table))
}

fn tier(row: Row) -> v1::TableTier {
    let mut tier = v1::TableTier::default();
    let count = |value| match value {
        Value::Int8(count) => u64::try_from(count).unwrap_or_default(),
        _ => 0,
    };
    let micros = |value| match value {
        Value::Timestamptz(micros) => Some(micros),
        _ => None,
    };
    for (at, value) in row.into_iter().enumerate() {
        match (at, value) {
            (0, Value::Text(text)) => tier.schema = text,
            (1, Value::Text(text)) => tier.table = text,
            (2, Value::Text(text)) => tier.tier = text,
            (3, value) => tier.rows = count(value),
            (4, value) => tier.bytes = count(value),
            (5, value) => tier.files = count(value),
            (6, value) => tier.oldest_micros = micros(value),
            (7, value) => tier.newest_micros = micros(value),
            _ => {}
        }
    }
    tier
}

/// Moves a table's rows, and says where they are then.
///
/// # Errors
/// The status of what `CALL perigee.migrate` says.
pub(crate) async fn migrate(
    door: &Arc<Door>,
    caller: &Caller,
    request: v1::MigrateTierRequest,
) -> Result<Vec<v1::TableTier>, Status> {
    let v1::MigrateTierRequest { database, table, tier } = request;
    let (schema, name) = named(&table);
    let call = format!("CALL perigee.migrate({}, {})", constant(&quoted(schema, name)), constant(&tier));
    let statement = v1::Statement { sql: call, database: database.clone(), ..v1::Statement::default() };
    crate::sql::execute(door, caller, statement).await?;
    tiers(door, caller, &database, &table).await.map_err(|error| status(&error))
}

/// A name as statements have it.
fn quoted(schema: &str, name: &str) -> String {
    let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
    format!("{}.{}", quoted(schema), quoted(name))
}

/// A text as a constant.
pub(crate) fn constant(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted() {
        assert_eq!(named("t"), ("public", "t"));
        assert_eq!(constant(&quoted("s'", "a\"b.c")), "'\"s''\".\"a\"\"b.c\"'");
    }

    #[test]
    fn rows_become_messages() {
        let row = vec![
            Value::Text("s".to_owned()),
            Value::Text("t".to_owned()),
            Value::Text("cold".to_owned()),
            Value::Int8(3),
            Value::Int8(4),
            Value::Int8(-1),
            Value::Null,
            Value::Timestamptz(5),
        ];
        let expected = v1::TableTier {
            schema: "s".to_owned(),
            table: "t".to_owned(),
            tier: "cold".to_owned(),
            rows: 3,
            bytes: 4,
            files: 0,
            oldest_micros: None,
            newest_micros: Some(5),
        };
        assert_eq!(tier(row), expected);
    }
}
