//! Rows of tables: insert, get by key, query, update, delete.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use futures::FutureExt as _;
use perigee_engine::Session;
use perigee_types::{SqlError, SqlResult, SqlState};
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use crate::address::Address;
use crate::error::{Answer, Problem};
use crate::filter::{Filter, quoted};
use crate::identity::Caller;
use crate::precondition::{Preconditions, failed, tagged};
use crate::run::{Parameter, Query, respond};
use crate::script::{Fetched, Given, fetch, json_bytes, perform, row_object, style_of};
use crate::server::{Door, body_object, read_body};
use crate::sql::{content_type, format};
use crate::tables::{TableName, primary_key};

/// Rows of one INSERT.
const INSERT_ROWS: usize = 200;

/// A row as it comes: its columns with their values.
type Given1 = BTreeMap<String, Box<RawValue>>;

/// Which rows, which columns, in which order.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Wanted {
    filter: Option<Filter>,
    /// `["a", "-b"]`: by a, then by b from the greatest on.
    order: Vec<String>,
    columns: Vec<String>,
    limit: Option<u64>,
    offset: Option<u64>,
}

impl Wanted {
    /// From an address: `filter` is JSON, `order` and `columns` are divided by commas.
    fn of(mut address: Address) -> Answer<Self> {
        let list = |text: Option<String>| -> Vec<String> {
            text.map(|text| text.split(',').map(|part| part.trim().to_owned()).collect()).unwrap_or_default()
        };
        let wanted = Self {
            filter: address.take("filter").map(|text| parse(text.as_bytes())).transpose()?,
            order: list(address.take("order")),
            columns: list(address.take("columns")),
            limit: address.read("limit")?,
            offset: address.read("offset")?,
        };
        address.end()?;
        Ok(wanted)
    }

    fn query(&self, table: &TableName) -> SqlResult<(String, Vec<Parameter>)> {
        let columns: Vec<String> = self.columns.iter().map(|name| quoted(name)).collect();
        let columns = if columns.is_empty() { "*".to_owned() } else { columns.join(", ") };
        let mut sql = format!("SELECT {columns} FROM {}", table.sql());
        let mut parameters = Vec::new();
        if let Some(filter) = &self.filter {
            sql.push_str(" WHERE ");
            filter.write(&mut sql, &mut parameters)?;
        }
        for (at, name) in self.order.iter().enumerate() {
            sql.push_str(if at == 0 { " ORDER BY " } else { ", " });
            match name.strip_prefix('-') {
                Some(name) => sql.push_str(&format!("{} DESC", quoted(name))),
                None => sql.push_str(&quoted(name)),
            }
        }
        if let Some(limit) = self.limit {
            sql.push_str(&format!(" LIMIT {}", limit.min(i64::MAX as u64)));
        }
        if let Some(offset) = self.offset {
            sql.push_str(&format!(" OFFSET {}", offset.min(i64::MAX as u64)));
        }
        Ok((sql, parameters))
    }
}

fn parse<T: serde::de::DeserializeOwned>(body: &[u8]) -> Answer<T> {
    serde_json::from_slice(body).map_err(|error| Problem::bad(format!("the request is not right: {error}")))
}

/// `GET /v1/tables/{table}/rows`
pub(crate) async fn list(
    State(door): State<Arc<Door>>,
    caller: Caller,
    Path(table): Path<String>,
    wanted: Address,
    headers: HeaderMap,
) -> Answer<Response> {
    select(&door, &caller, &table, Wanted::of(wanted)?, &headers).await
}

/// `POST /v1/tables/{table}/query`
pub(crate) async fn query(
    State(door): State<Arc<Door>>,
    caller: Caller,
    Path(table): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Answer<Response> {
    let wanted = body_object(&read_body(&door, &headers, body).await?)?;
    select(&door, &caller, &table, wanted, &headers).await
}

async fn select(door: &Arc<Door>, caller: &Caller, table: &str, wanted: Wanted, headers: &HeaderMap) -> Answer {
    let (sql, parameters) = wanted.query(&TableName::new(table))?;
    let format = format(headers)?;
    let lease = door.lease(caller, headers, None, None).await?;
    respond(door, lease, Query::plain(sql, parameters, format)).await
}

/// How rows are inserted.
#[derive(Debug, Default)]
struct Inserting {
    /// `ignore` leaves rows alone that are there, `replace` gives them the new values.
    on_conflict: Option<OnConflict>,
    /// The rows are answered, as they are in the table.
    returning: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OnConflict {
    Ignore,
    Replace,
}

impl Inserting {
    fn of(mut address: Address) -> Answer<Self> {
        let actions = [("ignore", OnConflict::Ignore), ("replace", OnConflict::Replace)];
        let how = Self {
            on_conflict: address.word("on_conflict", &actions)?,
            returning: address.read("returning")?.unwrap_or(false),
        };
        address.end()?;
        Ok(how)
    }
}

/// `POST /v1/tables/{table}/rows`: an object, an array of them, or NDJSON.
pub(crate) async fn insert(
    State(door): State<Arc<Door>>,
    caller: Caller,
    Path(table): Path<String>,
    address: Address,
    headers: HeaderMap,
    body: Body,
) -> Answer<Response> {
    let how = Inserting::of(address)?;
    let body = read_body(&door, &headers, body).await?;
    let rows = rows_of(&headers, &body)?;
    if rows.iter().any(BTreeMap::is_empty) {
        return Err(Problem::bad("a row has no column"));
    }
    let table = TableName::new(&table);
    let lease = door.lease(&caller, &headers, None, None).await?;
    let answer = perform(&door, lease, move |session| {
        async move {
            let key = match how.on_conflict {
                Some(OnConflict::Replace) => primary_key(session, &table).await?,
                _ => Vec::new(),
            };
            let (mut count, mut written) = (0, Vec::new());
            for rows in groups(&rows) {
                let fetched = insert_rows(session, &table, rows, &how, &key).await?;
                count += fetched.count;
                let style = style_of(session);
                written.extend(fetched.rows.iter().map(|row| row_object(row, &fetched.columns, &style)));
            }
            let mut out = format!("{{\"inserted\":{count}").into_bytes();
            if how.returning {
                out.extend_from_slice(b",\"rows\":[");
                out.extend(written.join(&b","[..]));
                out.push(b']');
            }
            out.extend_from_slice(b"}\n");
            Ok(out)
        }
        .boxed()
    })
    .await?;
    Ok(json_bytes(StatusCode::CREATED, answer))
}

/// The rows of a body.
pub(crate) fn rows_of(headers: &HeaderMap, body: &Bytes) -> Answer<Vec<Given1>> {
    match content_type(headers) {
        "application/x-ndjson" | "application/ndjson" | "application/jsonl" => {
            let lines = body.split(|b| *b == b'\n').enumerate();
            let lines = lines.filter(|(_, line)| !line.iter().all(u8::is_ascii_whitespace));
            let row = |(at, line): (usize, &[u8])| {
                serde_json::from_slice(line).map_err(|error| Problem::bad(format!("line {}: {error}", at + 1)))
            };
            lines.map(row).collect()
        }
        "application/json" => {
            let first = body.iter().find(|b| !b.is_ascii_whitespace());
            if first == Some(&b'[') { parse(body) } else { Ok(vec![parse(body)?]) }
        }
        other => {
            let detail = format!("the body is {other:?}: send application/json or application/x-ndjson");
            Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail))
        }
    }
}

/// Runs of rows with the same columns.
fn groups(rows: &[Given1]) -> impl Iterator<Item = &[Given1]> {
    rows.chunk_by(|a, b| a.keys().eq(b.keys())).flat_map(|group| group.chunks(INSERT_ROWS))
}

async fn insert_rows(
    session: &mut Session,
    table: &TableName,
    rows: &[Given1],
    how: &Inserting,
    key: &[String],
) -> SqlResult<Fetched> {
    let Some(first) = rows.first() else { return Err(SqlError::syntax("there is no row")) };
    let names: Vec<String> = first.keys().map(|name| quoted(name)).collect();
    let mut sql = format!("INSERT INTO {} ({}) VALUES ", table.sql(), names.join(", "));
    let mut parameters = Vec::new();
    for (at, row) in rows.iter().enumerate() {
        sql.push_str(if at == 0 { "(" } else { ", (" });
        for (at, json) in row.values().enumerate() {
            parameters.push(Parameter::json(json.clone()));
            sql.push_str(&format!("{}${}", if at == 0 { "" } else { ", " }, parameters.len()));
        }
        sql.push(')');
    }
    match how.on_conflict {
        None => {}
        Some(OnConflict::Ignore) => sql.push_str(" ON CONFLICT DO NOTHING"),
        Some(OnConflict::Replace) if key.is_empty() => {
            return Err(no_key(table));
        }
        Some(OnConflict::Replace) => {
            let target: Vec<String> = key.iter().map(|name| quoted(name)).collect();
            let others = first.keys().filter(|name| !key.contains(name)).map(|name| quoted(name));
            let set: Vec<String> = others.map(|name| format!("{name} = excluded.{name}")).collect();
            let action = if set.is_empty() { "NOTHING".to_owned() } else { format!("UPDATE SET {}", set.join(", ")) };
            sql.push_str(&format!(" ON CONFLICT ({}) DO {action}", target.join(", ")));
        }
    }
    if how.returning {
        sql.push_str(" RETURNING *");
    }
    let given: Vec<Given<'_>> = parameters.iter().map(|parameter| parameter.given.borrowed()).collect();
    fetch(session, &sql, &given).await
}

fn no_key(table: &TableName) -> SqlError {
    SqlError::new(SqlState::ObjectNotInPrerequisiteState, format!("table \"{table}\" has no primary key"))
}

/// The condition that a key in an address stands for: its values divided by commas, in the key's order.
async fn by_key(session: &mut Session, table: &TableName, key: &str) -> SqlResult<(String, Vec<String>)> {
    let columns = primary_key(session, table).await?;
    if columns.is_empty() {
        return Err(no_key(table));
    }
    // The last value takes what is left: it may have commas.
    let values: Vec<String> = key.splitn(columns.len(), ',').map(str::to_owned).collect();
    if values.len() != columns.len() {
        let message = format!("the primary key of \"{table}\" has {} columns", columns.len());
        return Err(SqlError::new(SqlState::InvalidParameterValue, message));
    }
    let conditions: Vec<String> =
        columns.iter().zip(1..).map(|(name, at)| format!("{} = ${at}", quoted(name))).collect();
    Ok((conditions.join(" AND "), values))
}

fn no_row() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "there is no row of this key")
}

/// `GET /v1/tables/{table}/rows/{key}`
pub(crate) async fn get(
    State(door): State<Arc<Door>>,
    caller: Caller,
    Path((table, key)): Path<(String, String)>,
    headers: HeaderMap,
) -> Answer<Response> {
    let table = TableName::new(&table);
    let lease = door.lease(&caller, &headers, None, None).await?;
    let found = perform(&door, lease, move |session| {
        async move {
            let (condition, values) = by_key(session, &table, &key).await?;
            let given: Vec<Given<'_>> = values.iter().map(|text| Given::text(text)).collect();
            let sql = format!("SELECT * FROM {} WHERE {condition}", table.sql());
            let fetched = fetch(session, &sql, &given).await?;
            let style = style_of(session);
            Ok(fetched.rows.first().map(|row| row_object(row, &fetched.columns, &style)))
        }
        .boxed()
    })
    .await?;
    Ok(tagged(&headers, found.ok_or_else(no_row)?))
}

/// Whether the row of a key is as the request says, and stays so until the transaction ends; also where there is none.
async fn is_as_known(
    session: &mut Session,
    table: &TableName,
    condition: &str,
    values: &[String],
    asked: &Preconditions,
) -> SqlResult<bool> {
    if asked.are_none() {
        return Ok(true);
    }
    let given: Vec<Given<'_>> = values.iter().map(|text| Given::text(text)).collect();
    let sql = format!("SELECT * FROM {} WHERE {condition} FOR UPDATE", table.sql());
    let fetched = fetch(session, &sql, &given).await?;
    let style = style_of(session);
    let row = fetched.rows.first().map(|row| row_object(row, &fetched.columns, &style));
    Ok(row.is_none_or(|row| asked.hold(Some(&row))))
}

/// `PATCH /v1/tables/{table}/rows/{key}`
pub(crate) async fn update(
    State(door): State<Arc<Door>>,
    caller: Caller,
    Path((table, key)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Answer<Response> {
    let body = read_body(&door, &headers, body).await?;
    let changes: Given1 = parse(&body)?;
    if changes.is_empty() {
        return Err(Problem::bad("there is no column to change"));
    }
    let (table, asked) = (TableName::new(&table), Preconditions::of(&headers));
    let lease = door.lease(&caller, &headers, None, None).await?;
    let found = perform(&door, lease, move |session| {
        async move {
            let (condition, values) = by_key(session, &table, &key).await?;
            if !is_as_known(session, &table, &condition, &values, &asked).await? {
                return Ok(Err(failed()));
            }
            let changes: Vec<(String, Parameter)> =
                changes.into_iter().map(|(name, json)| (name, Parameter::json(json))).collect();
            let set = changes.iter().zip(values.len() + 1..).map(|((name, _), at)| format!("{} = ${at}", quoted(name)));
            let set: Vec<String> = set.collect();
            let sql = format!("UPDATE {} SET {} WHERE {condition} RETURNING *", table.sql(), set.join(", "));
            let mut given: Vec<Given<'_>> = values.iter().map(|text| Given::text(text)).collect();
            given.extend(changes.iter().map(|(_, parameter)| parameter.given.borrowed()));
            let fetched = fetch(session, &sql, &given).await?;
            let style = style_of(session);
            Ok(fetched.rows.first().map(|row| row_object(row, &fetched.columns, &style)).ok_or_else(no_row))
        }
        .boxed()
    })
    .await??;
    Ok(tagged(&HeaderMap::new(), found))
}

/// `DELETE /v1/tables/{table}/rows/{key}`
pub(crate) async fn delete(
    State(door): State<Arc<Door>>,
    caller: Caller,
    Path((table, key)): Path<(String, String)>,
    headers: HeaderMap,
) -> Answer<Response> {
    let (table, asked) = (TableName::new(&table), Preconditions::of(&headers));
    let lease = door.lease(&caller, &headers, None, None).await?;
    let deleted = perform(&door, lease, move |session| {
        async move {
            let (condition, values) = by_key(session, &table, &key).await?;
            if !is_as_known(session, &table, &condition, &values, &asked).await? {
                return Ok(Err(failed()));
            }
            let given: Vec<Given<'_>> = values.iter().map(|text| Given::text(text)).collect();
            Ok(Ok(fetch(session, &format!("DELETE FROM {} WHERE {condition}", table.sql()), &given).await?))
        }
        .boxed()
    })
    .await??;
    if deleted.count == 0 { Err(no_row()) } else { Ok(StatusCode::NO_CONTENT.into_response()) }
}

/// A change of all rows that a filter finds.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    filter: Filter,
    #[serde(default)]
    updates: Given1,
}

/// `PATCH /v1/tables/{table}/rows`: `{"filter": …, "updates": {…}}`
pub(crate) async fn update_all(
    State(door): State<Arc<Door>>,
    caller: Caller,
    Path(table): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Answer<Response> {
    let change: Change = body_object(&read_body(&door, &headers, body).await?)?;
    if change.updates.is_empty() {
        return Err(Problem::bad("there is no column to change"));
    }
    let mut parameters = Vec::new();
    let mut set = Vec::new();
    for (name, json) in change.updates {
        parameters.push(Parameter::json(json));
        set.push(format!("{} = ${}", quoted(&name), parameters.len()));
    }
    let mut sql = format!("UPDATE {} SET {} WHERE ", TableName::new(&table).sql(), set.join(", "));
    change.filter.write(&mut sql, &mut parameters)?;
    counted(&door, &caller, &headers, sql, parameters, "updated").await
}

/// `DELETE /v1/tables/{table}/rows`: `{"filter": …}`
pub(crate) async fn delete_all(
    State(door): State<Arc<Door>>,
    caller: Caller,
    Path(table): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Answer<Response> {
    let change: Change = body_object(&read_body(&door, &headers, body).await?)?;
    let mut parameters = Vec::new();
    let mut sql = format!("DELETE FROM {} WHERE ", TableName::new(&table).sql());
    change.filter.write(&mut sql, &mut parameters)?;
    counted(&door, &caller, &headers, sql, parameters, "deleted").await
}

async fn counted(
    door: &Arc<Door>,
    caller: &Caller,
    headers: &HeaderMap,
    sql: String,
    parameters: Vec<Parameter>,
    what: &str,
) -> Answer<Response> {
    let lease = door.lease(caller, headers, None, None).await?;
    let done = perform(door, lease, move |session| {
        async move {
            let given: Vec<Given<'_>> = parameters.iter().map(|parameter| parameter.given.borrowed()).collect();
            fetch(session, &sql, &given).await
        }
        .boxed()
    })
    .await?;
    Ok(Json(json!({what: done.count})).into_response())
}
