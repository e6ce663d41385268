//! InfluxDB's line protocol on `/write` and `/api/v2/write`: Telegraf and the like write here.
//!
//! A measurement is a table of its name, made and widened as lines ask for it:
//!
//! ```text
//! cpu,host=a,core=1 usage=0.5,up=true 1767322800000000000
//!
//!   cpu(series text, time timestamptz, host text, core text, usage double precision, up boolean, PRIMARY KEY (series, time))
//! ```
//!
//! `series` is the set of tags as text, so that a line that comes again is the same row, and a later one with other fields fills it up, as
//! InfluxDB does. The answer is 204 once all lines are in the log; a request is all or nothing.

mod parse;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use futures::FutureExt as _;
use perigee_engine::Session;
use perigee_types::{SqlError, SqlResult, SqlState, Value};

use crate::address::Address;
use crate::error::{Answer, Problem};
use crate::filter::quoted;
use crate::identity::Caller;
use crate::script::{Given, fetch, perform};
use crate::server::{Door, read_body};
use parse::{Field, Line};

/// Lines of one INSERT.
const LINES: usize = 200;
/// How often a request is tried anew as another one has changed a table meanwhile.
const TRIES: usize = 5;

/// Nanoseconds of a unit of time.
const PRECISIONS: &[(&str, i128)] = &[
    ("ns", 1),
    ("n", 1),
    ("us", 1_000),
    ("u", 1_000),
    ("µ", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

pub(crate) async fn post(
    State(door): State<Arc<Door>>,
    caller: Caller,
    mut address: Address,
    headers: HeaderMap,
    body: Body,
) -> Answer<Response> {
    let unit = address.word("precision", PRECISIONS)?.unwrap_or(1);
    // Whose database, bucket or policy it is says nothing here: the tables are those of the database postgres.
    for name in ["db", "rp", "org", "orgID", "bucket", "consistency", "u", "p"] {
        address.take(name);
    }
    address.end()?;
    let body = read_body(&door, &headers, body).await?;
    let text = std::str::from_utf8(&body).map_err(|_| Problem::bad("the lines are not UTF-8"))?;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_micros();
    let mut lines = Vec::new();
    for (at, line) in text.lines().enumerate() {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let wrong = |reason: &str| Problem::bad(format!("line {}: {reason}", at + 1));
        let mut line = Line::parse(line).map_err(wrong)?;
        line.micros = match line.timestamp {
            None => now as i64,
            Some(time) => {
                let micros = i128::from(time) * unit / 1_000;
                i64::try_from(micros).map_err(|_| wrong("the time is out of range"))?
            }
        };
        lines.push(line);
    }
    let mut tables: BTreeMap<String, Vec<Line>> = BTreeMap::new();
    for line in lines {
        tables.entry(line.measurement.clone()).or_default().push(line);
    }
    let tables = Arc::new(tables);
    for _ in 0..TRIES {
        let lease = door.lease(&caller, &headers, None, None).await?;
        let (wanted, kept) = (tables.clone(), lease.is_kept());
        let written = perform(&door, lease, move |session| async move { write(session, &wanted).await }.boxed()).await;
        match written {
            Ok(()) => return Ok(StatusCode::NO_CONTENT.into_response()),
            // A table was made or widened by another request between the look and the write.
            Err(problem)
                if !kept
                    && matches!(
                        problem.state(),
                        Some(
                            SqlState::DuplicateTable
                                | SqlState::DuplicateColumn
                                | SqlState::SerializationFailure
                                | SqlState::DeadlockDetected
                        )
                    ) => {}
            Err(problem) => return Err(problem),
        }
    }
    Err(SqlError::new(SqlState::SerializationFailure, "others change the same tables: try again").into())
}

async fn write(session: &mut Session, tables: &BTreeMap<String, Vec<Line>>) -> SqlResult<()> {
    for (name, lines) in tables {
        define(session, name, lines).await?;
        // A row of an INSERT is changed once only: of lines of one series and time the later fills the earlier up.
        let mut rows: BTreeMap<(&str, i64), BTreeMap<&str, &Field>> = BTreeMap::new();
        let mut tags: BTreeMap<&str, &BTreeMap<String, String>> = BTreeMap::new();
        for line in lines {
            let row = rows.entry((&line.series, line.micros)).or_default();
            row.extend(line.fields.iter().map(|(name, field)| (name.as_str(), field)));
            tags.insert(&line.series, &line.tags);
        }
        let mut rest: Vec<_> = rows.into_iter().collect();
        // Rows with the same fields stand together: the others keep what they have.
        rest.sort_by(|(a, x), (b, y)| x.keys().cmp(y.keys()).then_with(|| a.cmp(b)));
        let alike = |a: &Row<'_>, b: &Row<'_>| {
            a.1.keys().eq(b.1.keys())
                && tags.get(a.0.0).map(|t| t.keys().collect::<Vec<_>>()) == tags.get(b.0.0).map(|t| t.keys().collect())
        };
        for group in rest.chunk_by(alike) {
            for rows in group.chunks(LINES) {
                insert(session, name, rows, &tags).await?;
            }
        }
    }
    Ok(())
}

type Row<'a> = ((&'a str, i64), BTreeMap<&'a str, &'a Field>);

/// Makes the table, or the columns, that the lines need.
async fn define(session: &mut Session, name: &str, lines: &[Line]) -> SqlResult<()> {
    let mut wanted: BTreeMap<&str, &'static str> = BTreeMap::new();
    for line in lines {
        for tag in line.tags.keys() {
            conflict(name, tag, wanted.insert(tag, "text"), "text")?;
        }
        for (field, value) in &line.fields {
            conflict(name, field, wanted.insert(field, value.sql_type()), value.sql_type())?;
        }
    }
    let sql = "SELECT column_name FROM information_schema.columns WHERE table_schema = 'public' AND table_name = $1";
    let known = fetch(session, sql, &[Given::text(name)]).await?.rows;
    let known: BTreeSet<&str> = known.iter().filter_map(|row| row.first()?.as_str()).collect();
    let table = format!("public.{}", quoted(name));
    if known.is_empty() {
        let columns = wanted.iter().map(|(name, ty)| format!(", {} {ty}", quoted(name))).collect::<String>();
        let sql = format!("CREATE TABLE {table} (series text, time timestamptz{columns}, PRIMARY KEY (series, time))");
        fetch(session, &sql, &[]).await?;
        return Ok(());
    }
    for (column, ty) in wanted.iter().filter(|(name, _)| !known.contains(**name)) {
        fetch(session, &format!("ALTER TABLE {table} ADD COLUMN {} {ty}", quoted(column)), &[]).await?;
    }
    Ok(())
}

fn conflict(table: &str, column: &str, before: Option<&str>, now: &str) -> SqlResult<()> {
    if matches!(column, "series" | "time") {
        let message =
            format!("\"{column}\" of \"{table}\" is a column that each measurement has: it cannot be a tag or a field");
        return Err(SqlError::new(SqlState::DuplicateColumn, message));
    }
    match before {
        Some(before) if before != now => {
            let message = format!("\"{column}\" of \"{table}\" is {before} in one line and {now} in another");
            Err(SqlError::new(SqlState::DatatypeMismatch, message))
        }
        _ => Ok(()),
    }
}

async fn insert(
    session: &mut Session,
    name: &str,
    rows: &[Row<'_>],
    tags: &BTreeMap<&str, &BTreeMap<String, String>>,
) -> SqlResult<()> {
    let Some((first, fields)) = rows.first() else { return Ok(()) };
    let tag_names: Vec<&str> =
        tags.get(first.0).map(|tags| tags.keys().map(String::as_str).collect()).unwrap_or_default();
    let columns: Vec<String> = ["series", "time"]
        .into_iter()
        .chain(tag_names.iter().copied())
        .chain(fields.keys().copied())
        .map(quoted)
        .collect();
    let mut sql = format!("INSERT INTO public.{} ({}) VALUES ", quoted(name), columns.join(", "));
    let mut given = Vec::new();
    for (at, ((series, micros), fields)) in rows.iter().enumerate() {
        let from = given.len();
        given.push(Given::text(series));
        given.push(Given::Value(Value::Timestamptz(*micros)));
        let of_series = tags.get(series);
        for tag in &tag_names {
            given.push(match of_series.and_then(|tags| tags.get(*tag)) {
                Some(text) => Given::text(text),
                None => Given::Value(Value::Null),
            });
        }
        given.extend(fields.values().map(|field| Given::Value(field.value())));
        let places: Vec<String> = (from + 1..=given.len()).map(|place| format!("${place}")).collect();
        sql.push_str(&format!("{}({})", if at == 0 { "" } else { ", " }, places.join(", ")));
    }
    let set: Vec<String> = fields.keys().map(|name| format!("{0} = excluded.{0}", quoted(name))).collect();
    sql.push_str(&format!(" ON CONFLICT (series, time) DO UPDATE SET {}", set.join(", ")));
    fetch(session, &sql, &given).await.map(|_| ())
}
