//! Keys: scan, get, set, delete. They go through the tables of schema `redis`, so that transactions and rights are those of SQL.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use futures::FutureExt as _;
use perigee_engine::Session;
use perigee_types::{SqlError, SqlResult, SqlState, Value};
use serde::Deserialize;
use serde_json::{Map, json};

use crate::address::Address;
use crate::error::{Answer, Problem};
use crate::identity::Caller;
use crate::rows::tagged;
use crate::run::{Parameter, Query, respond};
use crate::script::{Given, fetch, perform};
use crate::server::{Door, read_body};
use crate::sql::{content_type, format as format_of};

/// Keys of one page, when nobody says.
const PAGE: u64 = 1_000;
/// Values of one INSERT.
const VALUES: usize = 500;

/// The numbered database that an address names.
fn database(address: &mut Address) -> Answer<i32> {
    Ok(address.read::<i32>("db")?.unwrap_or(0))
}

fn text_parameter(text: &str) -> Parameter {
    let json = serde_json::value::to_raw_value(text).unwrap_or_default();
    Parameter { ty: None, json }
}

/// `GET /v1/keys?match=prefix*&after=&limit=&type=`
pub(crate) async fn scan(
    State(door): State<Arc<Door>>,
    caller: Caller,
    mut address: Address,
    headers: HeaderMap,
) -> Answer<Response> {
    let mut sql = "SELECT key, type, expire_at, bytes FROM redis.keys WHERE db = $1".to_owned();
    let mut parameters = vec![text_parameter(&database(&mut address)?.to_string())];
    if let Some(pattern) = address.take("match") {
        parameters.push(text_parameter(&like(&pattern)?));
        sql.push_str(&format!(" AND key LIKE ${}", parameters.len()));
    }
    for (name, condition) in [("after", "key >"), ("type", "type =")] {
        if let Some(text) = address.take(name) {
            parameters.push(text_parameter(&text));
            sql.push_str(&format!(" AND {condition} ${}", parameters.len()));
        }
    }
    let limit = address.read::<u64>("limit")?.unwrap_or(PAGE);
    address.end()?;
    sql.push_str(&format!(" ORDER BY key LIMIT {}", limit.min(i64::MAX as u64)));
    let lease = door.lease(&caller, &headers, None, None).await?;
    respond(&door, lease, Query::plain(sql, parameters, format_of(&headers)?)).await
}

/// A pattern with `*` and `?` as one of LIKE.
fn like(pattern: &str) -> Answer<String> {
    let mut out = String::new();
    for c in pattern.chars() {
        match c {
            '*' => out.push('%'),
            '?' => out.push('_'),
            '%' | '_' | '\\' => out.extend(['\\', c]),
            '[' | ']' => return Err(Problem::bad("a pattern has * and ? only")),
            c => out.push(c),
        }
    }
    Ok(out)
}

fn no_key() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "there is no such key")
}

/// `GET /v1/keys/{key}`
pub(crate) async fn get(
    State(door): State<Arc<Door>>,
    caller: Caller,
    Path(key): Path<String>,
    mut address: Address,
    headers: HeaderMap,
) -> Answer<Response> {
    let db = database(&mut address)?;
    address.end()?;
    // Type and value are of one moment.
    let lease = door.lease_of_one_moment(&caller, &headers).await?;
    let found = perform(&door, lease, move |session| async move { read(session, db, &key).await }.boxed()).await?;
    Ok(tagged(&headers, found.ok_or_else(no_key)?.to_string().into_bytes()))
}

async fn read(session: &mut Session, db: i32, key: &str) -> SqlResult<Option<serde_json::Value>> {
    let at = [Given::Value(Value::Int4(db)), Given::Text(key)];
    let sql = "SELECT type, (extract(epoch FROM expire_at) * 1000)::bigint FROM redis.keys WHERE db = $1 AND key = $2";
    let found = fetch(session, sql, &at).await?;
    let Some(row) = found.rows.into_iter().next() else { return Ok(None) };
    let (kind, end) = match row.as_slice() {
        [Value::Text(kind), end] => (kind.clone(), end.as_i64()),
        _ => return Err(SqlError::internal("a key without a type")),
    };
    let sql = match kind.as_str() {
        "string" => "SELECT value FROM redis.strings WHERE db = $1 AND key = $2",
        "list" => "SELECT value FROM redis.lists WHERE db = $1 AND key = $2 ORDER BY position",
        "set" => "SELECT member FROM redis.sets WHERE db = $1 AND key = $2 ORDER BY member",
        "hash" => "SELECT field, value FROM redis.hashes WHERE db = $1 AND key = $2 ORDER BY field",
        "zset" => "SELECT member, score FROM redis.zsets WHERE db = $1 AND key = $2 ORDER BY rank",
        // Streams and series have addresses, or tables, of their own.
        _ => return Ok(Some(json!({"key": key, "type": kind, "value": null, "expire_at_ms": end}))),
    };
    let rows = fetch(session, sql, &at).await?.rows;
    let string = |value: Option<&Value>| value.and_then(Value::as_str).map(|text| json!(text)).unwrap_or_default();
    let mut firsts = rows.iter().map(|row| string(row.first()));
    let value = match kind.as_str() {
        "string" => firsts.next().unwrap_or_default(),
        "hash" => {
            let pair = |row: &perigee_types::Row| Some((row.first()?.as_str()?.to_owned(), string(row.get(1))));
            rows.iter().filter_map(pair).collect::<Map<_, _>>().into()
        }
        "zset" => {
            let score = |value: Option<&Value>| match value {
                Some(Value::Float8(score)) if score.is_finite() => json!(score),
                Some(Value::Float8(score)) => json!(if *score > 0.0 { "Infinity" } else { "-Infinity" }),
                _ => serde_json::Value::Null,
            };
            let member = |row: &perigee_types::Row| json!({"member": string(row.first()), "score": score(row.get(1))});
            rows.iter().map(member).collect::<Vec<_>>().into()
        }
        _ => firsts.collect::<Vec<_>>().into(),
    };
    Ok(Some(json!({"key": key, "type": kind, "value": value, "expire_at_ms": end})))
}

/// A value to be set.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    /// Where the form of the value does not say it: `set`, `zset`.
    #[serde(default, rename = "type")]
    kind: Option<Kind>,
    value: serde_json::Value,
    /// Milliseconds until it ends.
    #[serde(default)]
    ttl_ms: Option<u32>,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Kind {
    String,
    Hash,
    List,
    Set,
    Zset,
}

/// What is written: rows of one table of schema `redis`, behind database and key.
#[derive(Debug, PartialEq, Eq)]
struct Written {
    table: &'static str,
    columns: &'static [&'static str],
    rows: Vec<Vec<String>>,
}

/// A string of JSON, or the text of a number or truth value.
fn scalar(value: &serde_json::Value) -> Answer<String> {
    match value {
        serde_json::Value::String(text) => Ok(text.clone()),
        serde_json::Value::Number(number) => Ok(number.to_string()),
        serde_json::Value::Bool(value) => Ok(value.to_string()),
        _ => Err(Problem::bad("the values of a key are strings, numbers and truth values")),
    }
}

impl Wanted {
    fn written(&self) -> Answer<Written> {
        let mismatch = || Problem::bad("the value has another form than its type");
        let kind = self.kind.unwrap_or(match &self.value {
            serde_json::Value::Object(_) => Kind::Hash,
            serde_json::Value::Array(_) => Kind::List,
            _ => Kind::String,
        });
        let list = || self.value.as_array().ok_or_else(mismatch);
        let singles =
            |list: &[serde_json::Value]| list.iter().map(|v| Ok(vec![scalar(v)?])).collect::<Answer<Vec<_>>>();
        let (table, columns, rows): (_, &[&str], _) = match kind {
            Kind::String => ("strings", &["value"], vec![vec![scalar(&self.value)?]]),
            Kind::List => ("lists", &["value"], singles(list()?)?),
            Kind::Set => {
                let mut rows = singles(list()?)?;
                rows.sort();
                rows.dedup();
                ("sets", &["member"], rows)
            }
            Kind::Hash => {
                let fields = self.value.as_object().ok_or_else(mismatch)?;
                let rows = fields.iter().map(|(name, value)| Ok(vec![name.clone(), scalar(value)?]));
                ("hashes", &["field", "value"], rows.collect::<Answer<_>>()?)
            }
            Kind::Zset => {
                let member = |value: &serde_json::Value| {
                    let member = value.get("member").ok_or_else(mismatch)?;
                    Ok((scalar(member)?, scalar(value.get("score").ok_or_else(mismatch)?)?))
                };
                // The last score of a member counts.
                let members = list()?.iter().map(member).collect::<Answer<BTreeMap<_, _>>>()?;
                (
                    "zsets",
                    &["member", "score"],
                    members.into_iter().map(|(member, score)| vec![member, score]).collect(),
                )
            }
        };
        if rows.is_empty() {
            return Err(Problem::bad("an empty value is no value: DELETE the key"));
        }
        Ok(Written { table, columns, rows })
    }
}

/// `PUT /v1/keys/{key}`: JSON as [`Wanted`], or a string as it is as `text/plain`.
pub(crate) async fn put(
    State(door): State<Arc<Door>>,
    caller: Caller,
    Path(key): Path<String>,
    mut address: Address,
    headers: HeaderMap,
    body: Body,
) -> Answer<Response> {
    let db = database(&mut address)?;
    address.end()?;
    let body = read_body(&door, &headers, body).await?;
    let wanted: Wanted = match content_type(&headers) {
        "application/json" => {
            serde_json::from_slice(&body).map_err(|error| Problem::bad(format!("the body is not right: {error}")))?
        }
        "text/plain" => {
            let text = String::from_utf8(body.into()).map_err(|_| Problem::bad("the value is not UTF-8"))?;
            Wanted { kind: Some(Kind::String), value: text.into(), ttl_ms: None }
        }
        other => {
            let detail = format!("the body is {other:?}: send application/json or text/plain");
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
        }
    };
    let written = wanted.written()?;
    let lease = door.lease(&caller, &headers, None, None).await?;
    perform(&door, lease, move |session| {
        async move { write(session, db, &key, &written, wanted.ttl_ms).await }.boxed()
    })
    .await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn write(session: &mut Session, db: i32, key: &str, written: &Written, ttl_ms: Option<u32>) -> SqlResult<()> {
    let at = || [Given::Value(Value::Int4(db)), Given::Text(key)];
    fetch(session, "DELETE FROM redis.keys WHERE db = $1 AND key = $2", &at()).await?;
    for rows in written.rows.chunks(VALUES) {
        let mut sql = format!("INSERT INTO redis.{} (db, key, {}) VALUES ", written.table, written.columns.join(", "));
        let mut given = at().into_iter().collect::<Vec<_>>();
        for (number, row) in rows.iter().enumerate() {
            sql.push_str(if number == 0 { "($1, $2" } else { ", ($1, $2" });
            for value in row {
                given.push(Given::Text(value));
                sql.push_str(&format!(", ${}", given.len()));
            }
            sql.push(')');
        }
        fetch(session, &sql, &given).await?;
    }
    if let Some(ttl) = ttl_ms {
        let sql = format!(
            "UPDATE redis.keys SET expire_at = clock_timestamp() + interval '{ttl} milliseconds' \
                           WHERE db = $1 AND key = $2"
        );
        let done = fetch(session, &sql, &at()).await?;
        if done.count == 0 {
            return Err(SqlError::new(SqlState::SerializationFailure, "the key has changed meanwhile"));
        }
    }
    Ok(())
}

/// `DELETE /v1/keys/{key}`
pub(crate) async fn delete(
    State(door): State<Arc<Door>>,
    caller: Caller,
    Path(key): Path<String>,
    mut address: Address,
    headers: HeaderMap,
) -> Answer<Response> {
    let db = database(&mut address)?;
    address.end()?;
    let lease = door.lease(&caller, &headers, None, None).await?;
    let done = perform(&door, lease, move |session| {
        async move {
            let at = [Given::Value(Value::Int4(db)), Given::Text(&key)];
            fetch(session, "DELETE FROM redis.keys WHERE db = $1 AND key = $2", &at).await
        }
        .boxed()
    })
    .await?;
    if done.count == 0 { Err(no_key()) } else { Ok(StatusCode::NO_CONTENT.into_response()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(body: &str, expected: Option<(&'static str, &[&[&str]])>) {
        let wanted: Wanted = serde_json::from_str(body).unwrap();
        let found = wanted.written().ok().map(|written| (written.table, written.rows));
        let owned = |rows: &[&[&str]]| -> Vec<Vec<String>> {
            rows.iter().map(|row| row.iter().map(|text| (*text).to_owned()).collect()).collect()
        };
        assert_eq!(found, expected.map(|(table, rows)| (table, owned(rows))), "{body}");
    }

    #[test]
    fn values_become_rows() {
        check(r#"{"value": "x"}"#, Some(("strings", &[&["x"]])));
        check(r#"{"value": 12}"#, Some(("strings", &[&["12"]])));
        check(r#"{"value": ["b", "a", "b"]}"#, Some(("lists", &[&["b"], &["a"], &["b"]])));
        check(r#"{"type": "set", "value": ["b", "a", "b"]}"#, Some(("sets", &[&["a"], &["b"]])));
        check(r#"{"value": {"f": true}}"#, Some(("hashes", &[&["f", "true"]])));
        check(r#"{"type": "zset", "value": [{"member": "m", "score": 1.5}]}"#, Some(("zsets", &[&["m", "1.5"]])));
        check(r#"{"type": "set", "value": "x"}"#, None);
        check(r#"{"value": []}"#, None);
        check(r#"{"value": null}"#, None);
        check(r#"{"value": [["x"]]}"#, None);
    }

    #[test]
    fn patterns_become_those_of_like() {
        assert_eq!(like("a*b?_%").unwrap(), "a%b_\\_\\%");
        assert!(like("[a]").is_err());
    }
}
