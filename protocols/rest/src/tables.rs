//! Tables: list, create, describe, drop.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use futures::FutureExt as _;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use perigee_engine::Session;
use perigee_types::text::{OutputSettings, format};
use perigee_types::{Row, SqlError, SqlResult, SqlState, Value};
use serde::Deserialize;
use serde_json::json;

use crate::error::Answer;
use crate::filter::quoted;
use crate::identity::Caller;
use crate::run::{Query, respond};
use crate::script::{Given, fetch, perform};
use crate::server::{Door, body_object, read_body};
use crate::sql::format as format_of;

/// A table by the name in an address: `orders`, or `sales.orders`.
#[derive(Clone, Debug)]
pub(crate) struct TableName {
    pub(crate) schema: String,
    pub(crate) name: String,
}

impl TableName {
    pub(crate) fn new(text: &str) -> Self {
        let (schema, name) = text.split_once('.').unwrap_or(("public", text));
        Self { schema: schema.to_owned(), name: name.to_owned() }
    }

    /// As a statement names it.
    pub(crate) fn sql(&self) -> String {
        format!("{}.{}", quoted(&self.schema), quoted(&self.name))
    }
}

/// What stands in a path as it is.
const IN_PATHS: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

impl std::fmt::Display for TableName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.schema, self.name)
    }
}

/// The name of a type in a definition: what a cast may name, and nothing else.
fn type_name(name: &str) -> SqlResult<&str> {
    let allowed = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '"' | ' ' | '(' | ')' | ',' | '[' | ']');
    if name.is_empty() || name.len() > 200 || !name.chars().all(allowed) {
        return Err(SqlError::new(SqlState::UndefinedObject, format!("type \"{name}\" does not exist")));
    }
    // A parenthesis that closes more than it has opened would end the column.
    let mut open = 0i32;
    for c in name.chars() {
        open += i32::from(c == '(') - i32::from(c == ')');
        if open < 0 || c == ',' && open == 0 {
            return Err(SqlError::new(SqlState::UndefinedObject, format!("type \"{name}\" does not exist")));
        }
    }
    Ok(name)
}

/// `GET /v1/tables`
pub(crate) async fn list(State(door): State<Arc<Door>>, caller: Caller, headers: HeaderMap) -> Answer<Response> {
    let lease = door.lease(&caller, &headers, None, None).await?;
    let sql = "SELECT table_schema AS schema, table_name AS name, \
               CASE table_type WHEN 'VIEW' THEN 'view' ELSE 'table' END AS kind FROM information_schema.tables \
               WHERE table_schema NOT IN ('pg_catalog', 'information_schema') ORDER BY table_schema, table_name";
    respond(&door, lease, Query::plain(sql.to_owned(), Vec::new(), format_of(&headers)?)).await
}

/// `GET /v1/tables/{table}`
pub(crate) async fn describe(
    State(door): State<Arc<Door>>,
    caller: Caller,
    Path(table): Path<String>,
    headers: HeaderMap,
) -> Answer<Response> {
    let lease = door.lease(&caller, &headers, None, None).await?;
    let table = TableName::new(&table);
    let body = perform(&door, lease, move |session| {
        async move {
            let names = [Given::text(&table.schema), Given::text(&table.name)];
            let sql = "SELECT column_name, data_type, is_nullable, column_default FROM information_schema.columns \
                       WHERE table_schema = $1 AND table_name = $2 ORDER BY ordinal_position";
            let columns = fetch(session, sql, &names).await?;
            if columns.rows.is_empty() {
                return Err(missing(&table));
            }
            let column = |row: &Row| {
                json!({"name": text(row, 0), "type": text(row, 1), "nullable": text(row, 2).as_deref() == Some("YES"),
                       "default": text(row, 3)})
            };
            let columns: Vec<_> = columns.rows.iter().map(column).collect();
            let key: Vec<String> = primary_key(session, &table).await?;
            Ok(json!({"schema": table.schema, "name": table.name, "columns": columns, "primary_key": key}))
        }
        .boxed()
    })
    .await?;
    Ok(Json(body).into_response())
}

fn missing(table: &TableName) -> SqlError {
    SqlError::new(SqlState::UndefinedTable, format!("relation \"{table}\" does not exist"))
}

fn text(row: &Row, at: usize) -> Option<String> {
    match row.get(at) {
        Some(Value::Text(text)) => Some(text.clone()),
        Some(Value::Null) | None => None,
        Some(other) => Some(format(other, &perigee_types::SqlType::Text, &OutputSettings::default())),
    }
}

/// The names of the columns of a table's primary key, in its order; none where it has none.
///
/// # Errors
/// `42P01`
pub(crate) async fn primary_key(session: &mut Session, table: &TableName) -> SqlResult<Vec<String>> {
    let names = session.object_names();
    let catalog = &names.catalog;
    let schema = catalog.schema(names.tenant, &table.schema).ok_or_else(|| missing(table))?;
    let found = catalog.relation(schema.oid, &table.name);
    let Some(perigee_types::catalog::Object::Table(found)) = found else { return Ok(Vec::new()) };
    let Some(index) = found.primary_key.and_then(|index| catalog.index(index)) else { return Ok(Vec::new()) };
    let column = |number: &u16| found.columns.iter().find(|column| column.number == *number);
    Ok(index.columns.iter().filter_map(column).map(|column| column.name.clone()).collect())
}

/// A table to be made.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Definition {
    name: String,
    columns: Vec<Column>,
    #[serde(default)]
    primary_key: Vec<String>,
    #[serde(default)]
    if_not_exists: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Column {
    name: String,
    #[serde(rename = "type", alias = "data_type")]
    ty: String,
    #[serde(default = "yes")]
    nullable: bool,
}

fn yes() -> bool {
    true
}

/// `POST /v1/tables`
pub(crate) async fn create(
    State(door): State<Arc<Door>>,
    caller: Caller,
    headers: HeaderMap,
    body: Body,
) -> Answer<Response> {
    let body = read_body(&door, &headers, body).await?;
    let wanted: Definition = body_object(&body)?;
    let table = TableName::new(&wanted.name);
    let mut parts = Vec::new();
    for column in &wanted.columns {
        let null = if column.nullable { "" } else { " NOT NULL" };
        parts.push(format!("{} {}{null}", quoted(&column.name), type_name(&column.ty)?));
    }
    if !wanted.primary_key.is_empty() {
        let key: Vec<String> = wanted.primary_key.iter().map(|name| quoted(name)).collect();
        parts.push(format!("PRIMARY KEY ({})", key.join(", ")));
    }
    let exists = if wanted.if_not_exists { "IF NOT EXISTS " } else { "" };
    let sql = format!("CREATE TABLE {exists}{} ({})", table.sql(), parts.join(", "));
    let lease = door.lease(&caller, &headers, None, None).await?;
    perform(&door, lease, move |session| async move { fetch(session, &sql, &[]).await }.boxed()).await?;
    let location = format!("/v1/tables/{}", utf8_percent_encode(&table.to_string(), IN_PATHS));
    let body = json!({"schema": table.schema, "name": table.name});
    Ok((StatusCode::CREATED, [("location", location)], Json(body)).into_response())
}

/// `DELETE /v1/tables/{table}`
pub(crate) async fn drop_table(
    State(door): State<Arc<Door>>,
    caller: Caller,
    Path(table): Path<String>,
    headers: HeaderMap,
) -> Answer<Response> {
    let lease = door.lease(&caller, &headers, None, None).await?;
    let sql = format!("DROP TABLE {}", TableName::new(&table).sql());
    perform(&door, lease, move |session| async move { fetch(session, &sql, &[]).await }.boxed()).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_is_a_type_and_nothing_else() {
        for name in ["int", "numeric(10, 2)", "text[]", "timestamp with time zone", "public.mood", "\"Mood\""] {
            assert!(type_name(name).is_ok(), "{name}");
        }
        for name in ["", "int) ; DROP TABLE t", "int, b int", "int DEFAULT 'x'", "int; SELECT 1", "int -- x"] {
            assert!(type_name(name).is_err(), "{name}");
        }
    }
}
