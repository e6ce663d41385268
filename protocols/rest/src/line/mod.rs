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

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use futures::FutureExt as _;
use perigee_engine::Session;
use perigee_types::catalog::Object;
use perigee_types::{SqlError, SqlResult, SqlState, Value};

use crate::address::Address;
use crate::error::{Answer, Problem};
use crate::filter::quoted;
use crate::identity::Caller;
use crate::script::{Given, fetch, perform};
use crate::server::{Door, read_body};
pub(crate) use parse::{Field, Line};

/// Lines of one INSERT.
const LINES: usize = 200;
/// Bytes of the name of a table or a column.
const NAME_BYTES_MAX: usize = 63;
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
    for (number, line) in parse::lines(text) {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let wrong = |reason: &str| Problem::bad(format!("line {number}: {reason}"));
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
    store(&door, &caller, &headers, lines).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Writes lines to the tables of their measurements, all of them or none.
pub(crate) async fn store(door: &Arc<Door>, caller: &Caller, headers: &HeaderMap, lines: Vec<Line>) -> Answer<()> {
    let mut tables: BTreeMap<String, Vec<Line>> = BTreeMap::new();
    for mut line in lines {
        tables.entry(std::mem::take(&mut line.measurement)).or_default().push(line);
    }
    let tables = Arc::new(tables);
    for _ in 0..TRIES {
        let lease = door.lease(caller, headers, None, None).await?;
        let (wanted, kept) = (tables.clone(), lease.is_kept());
        let written = perform(door, lease, move |session| async move { write(session, &wanted).await }.boxed()).await;
        match written {
            Ok(()) => return Ok(()),
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
        for rows in rows_of(lines) {
            for rows in rows.chunks(LINES) {
                insert(session, name, rows).await?;
            }
        }
    }
    Ok(())
}

/// A row of a measurement.
struct Row<'a> {
    line: &'a Line,
    fields: Cow<'a, [(String, Field)]>,
}

/// The rows of lines: those that fill the same columns together, in the order of their keys, so that requests at once wait for each
/// other and never in a circle. Columns that a row does not fill keep what they have.
fn rows_of(lines: &[Line]) -> Vec<Vec<Row<'_>>> {
    // A row of an INSERT is changed once only: of lines of one series and time the later fills the earlier up.
    let mut rows: Vec<Row<'_>> = Vec::with_capacity(lines.len());
    let mut known: HashMap<(&str, i64), usize> = HashMap::with_capacity(lines.len());
    for line in lines {
        let at = *known.entry((line.series.as_str(), line.micros)).or_insert(rows.len());
        match rows.get_mut(at) {
            None => rows.push(Row { line, fields: Cow::Borrowed(&line.fields) }),
            Some(row) => fill_up(row.fields.to_mut(), &line.fields),
        }
    }
    let mut groups: BTreeMap<(Vec<&str>, Vec<String>), Vec<Row<'_>>> = BTreeMap::new();
    let mut rest = rows.into_iter().peekable();
    while let Some(first) = rest.next() {
        let tags = first.line.tags.iter().map(|(name, _)| name.as_str()).collect();
        let fields = first.fields.iter().map(|(name, _)| name.clone()).collect();
        let group = groups.entry((tags, fields)).or_default();
        let (line, is_whole) = (first.line, matches!(first.fields, Cow::Borrowed(_)));
        group.push(first);
        let alike = |row: &Row<'_>| is_whole && matches!(row.fields, Cow::Borrowed(_)) && row.line.is_alike(line);
        while let Some(row) = rest.next_if(alike) {
            group.push(row);
        }
    }
    let mut groups: Vec<_> = groups.into_values().collect();
    for group in &mut groups {
        group.sort_unstable_by(|a, b| (&a.line.series, a.line.micros).cmp(&(&b.line.series, b.line.micros)));
    }
    groups
}

/// Puts later fields over earlier ones; both by name.
fn fill_up(fields: &mut Vec<(String, Field)>, later: &[(String, Field)]) {
    for (name, value) in later {
        match fields.binary_search_by(|(field, _)| field.cmp(name)) {
            Ok(at) => fields[at].1 = value.clone(),
            Err(at) => fields.insert(at, (name.clone(), value.clone())),
        }
    }
}

/// Makes the table, or the columns, that the lines need.
async fn define(session: &mut Session, name: &str, lines: &[Line]) -> SqlResult<()> {
    check_length(name)?;
    let mut wanted: BTreeMap<&str, &'static str> = BTreeMap::new();
    for line in lines.chunk_by(Line::is_alike).filter_map(<[Line]>::first) {
        for (tag, _) in &line.tags {
            conflict(name, tag, wanted.insert(tag, "text"), "text")?;
        }
        for (field, value) in &line.fields {
            conflict(name, field, wanted.insert(field, value.sql_type()), value.sql_type())?;
        }
    }
    let table = format!("public.{}", quoted(name));
    let names = session.object_names();
    let schema = names.catalog.schema(names.tenant, "public");
    let known: BTreeSet<&str> = match schema.and_then(|schema| names.catalog.relation(schema.oid, name)) {
        Some(Object::Table(table)) => table.visible_columns().iter().map(|column| column.name.as_str()).collect(),
        Some(Object::View(view)) => view.columns.iter().map(|(name, _)| name.as_str()).collect(),
        _ => {
            let columns = wanted.iter().map(|(name, ty)| format!(", {} {ty}", quoted(name))).collect::<String>();
            let sql =
                format!("CREATE TABLE {table} (series text, time timestamptz{columns}, PRIMARY KEY (series, time))");
            fetch(session, &sql, &[]).await?;
            return Ok(());
        }
    };
    for (column, ty) in wanted.iter().filter(|(name, _)| !known.contains(**name)) {
        fetch(session, &format!("ALTER TABLE {table} ADD COLUMN {} {ty}", quoted(column)), &[]).await?;
    }
    Ok(())
}

/// SQL would cut a longer name, and find another table or column.
fn check_length(name: &str) -> SqlResult<()> {
    if name.len() <= NAME_BYTES_MAX {
        return Ok(());
    }
    let message = format!("\"{name}\" is too long for a table or a column: they have {NAME_BYTES_MAX} bytes at most");
    Err(SqlError::new(SqlState::InvalidParameterValue, message))
}

fn conflict(table: &str, column: &str, before: Option<&str>, now: &str) -> SqlResult<()> {
    check_length(column)?;
    if matches!(column, "series" | "time") {
        let message =
            format!("\"{column}\" of \"{table}\" is a column that each measurement has: it cannot be a tag or a field");
        // Not that of a column that another request has made: this one never passes.
        return Err(SqlError::new(SqlState::InvalidParameterValue, message));
    }
    match before {
        Some(before) if before != now => {
            let message = format!("\"{column}\" of \"{table}\" is {before} in one line and {now} in another");
            Err(SqlError::new(SqlState::DatatypeMismatch, message))
        }
        _ => Ok(()),
    }
}

/// Writes rows that fill the same columns.
async fn insert(session: &mut Session, name: &str, rows: &[Row<'_>]) -> SqlResult<()> {
    let Some(first) = rows.first() else { return Ok(()) };
    let tags = first.line.tags.iter().map(|(name, _)| name.as_str());
    let fields = first.fields.iter().map(|(name, _)| name.as_str());
    let columns: Vec<String> = ["series", "time"].into_iter().chain(tags).chain(fields).map(quoted).collect();
    let mut sql = format!("INSERT INTO public.{} ({}) VALUES ", quoted(name), columns.join(", "));
    let mut given = Vec::with_capacity(rows.len() * columns.len());
    for (at, Row { line, fields }) in rows.iter().enumerate() {
        sql.push_str(if at == 0 { "(" } else { ", (" });
        for column in 1..=columns.len() {
            let comma = if column == 1 { "" } else { ", " };
            // Writing to a text does not fail.
            let _ = write!(sql, "{comma}${}", given.len() + column);
        }
        sql.push(')');
        given.push(Given::text(&line.series));
        given.push(Given::Value(Value::Timestamptz(line.micros)));
        given.extend(line.tags.iter().map(|(_, text)| Given::text(text)));
        given.extend(fields.iter().map(|(_, field)| Given::Value(field.value())));
    }
    let set: Vec<String> = first.fields.iter().map(|(name, _)| format!("{0} = excluded.{0}", quoted(name))).collect();
    sql.push_str(&format!(" ON CONFLICT (series, time) DO UPDATE SET {}", set.join(", ")));
    fetch(session, &sql, &given).await.map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_that_fill_the_same_columns_stand_together_by_key() {
        let body =
            ["m,a=2 v=1 5", "m,a=1 v=2 5", "m,a=1 u=1 5", "m,a=1 v=3 4", "m v=1 5", "m,a=1 v=9 5", "m,a=3 v=1 5"];
        let parse = |line: &&str| {
            let mut line = Line::parse(line).unwrap();
            line.micros = line.timestamp.unwrap_or_default();
            line
        };
        let lines: Vec<Line> = body.iter().map(parse).collect();
        let shown = |row: &Row<'_>| {
            let fields: Vec<_> = row.fields.iter().map(|(name, value)| format!("{name}={:?}", value.value())).collect();
            format!("{} {} {}", row.line.series, row.line.micros, fields.join(","))
        };
        let groups: Vec<Vec<String>> = rows_of(&lines).iter().map(|group| group.iter().map(shown).collect()).collect();
        let expected: [&[&str]; 3] = [
            &[" 5 v=Float8(1.0)"],
            &["a=1 5 u=Float8(1.0),v=Float8(9.0)"],
            &["a=1 4 v=Float8(3.0)", "a=2 5 v=Float8(1.0)", "a=3 5 v=Float8(1.0)"],
        ];
        assert_eq!(groups, expected);
    }
}
