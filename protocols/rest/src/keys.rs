//! Keys: scan, get, set, delete. They go through the tables of schema `redis`, so that transactions and rights are those of SQL.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use futures::FutureExt as _;
use perigee_door::Lease;
use perigee_door::keys::{Condition, Found, Held, Scan, Written};
use perigee_engine::Session;
use perigee_types::{SqlError, SqlResult, SqlState};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::address::Address;
use crate::error::{Answer, Problem};
use crate::identity::Caller;
use crate::precondition::{Preconditions, failed, tagged};
use crate::run::{Query, respond};
use crate::script::{fetch, perform};
use crate::server::{Door, body_object, read_body};
use crate::sql::{content_type, format as format_of};
use crate::transactions::TRANSACTION;

/// Keys of one page, when nobody says.
const PAGE: u64 = 1_000;
/// The numbered database that an address names.
fn database(address: &mut Address) -> Answer<i32> {
    Ok(address.read::<i32>("db")?.unwrap_or(0))
}

/// `GET /v1/keys?match=prefix*&after=&limit=&type=`
pub(crate) async fn scan(
    State(door): State<Arc<Door>>,
    caller: Caller,
    mut address: Address,
    headers: HeaderMap,
) -> Answer<Response> {
    let scan = Scan {
        db: database(&mut address)?,
        pattern: address.take("match"),
        after: address.take("after"),
        kind: address.take("type"),
        limit: Some(address.read::<u64>("limit")?.unwrap_or(PAGE)),
    };
    address.end()?;
    let (sql, parameters) = scan.statement("key, type, expire_at, bytes")?;
    let lease = door.lease(&caller, &headers, None, None).await?;
    respond(&door, lease, Query::plain(sql, parameters, format_of(&headers)?)).await
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
    let place = Place { door: &door, caller: &caller, headers: &headers, db, key: &key };
    let found = place.again(|| place.look()).await?.ok_or_else(no_key)?;
    Ok(tagged(&headers, document(&key, found).to_string().into_bytes()))
}

fn document(key: &str, found: Found) -> Value {
    let score = |score: f64| match score.is_finite() {
        true => json!(score),
        false => json!(if score > 0.0 { "Infinity" } else { "-Infinity" }),
    };
    let value = match found.held {
        Held::Text(text) => text.into(),
        Held::Hash(fields) => json!(fields),
        Held::List(items) => items.into(),
        Held::Set(members) => json!(members),
        Held::Zset(members) => {
            members.into_iter().map(|(member, of)| json!({"member": member, "score": score(of)})).collect()
        }
        // Streams and series have addresses, or tables, of their own.
        Held::Other => Value::Null,
    };
    json!({"key": key, "type": found.kind, "value": value, "expire_at_ms": found.expire_at_ms})
}

/// A value to be set.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    /// Where the form of the value does not say it: `set`, `zset`.
    #[serde(default, rename = "type")]
    kind: Option<Kind>,
    value: Value,
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

/// A string of JSON, or the text of a number or truth value.
fn scalar(value: &Value) -> Answer<String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(number) => Ok(number.to_string()),
        Value::Bool(value) => Ok(value.to_string()),
        _ => Err(Problem::bad("the values of a key are strings, numbers and truth values")),
    }
}

impl Wanted {
    fn written(&self) -> Answer<Written> {
        let mismatch = || Problem::bad("the value has another form than its type");
        let kind = self.kind.unwrap_or(match &self.value {
            Value::Object(_) => Kind::Hash,
            Value::Array(_) => Kind::List,
            _ => Kind::String,
        });
        let list = || self.value.as_array().ok_or_else(mismatch);
        let singles = |list: &[Value]| list.iter().map(|v| Ok(vec![scalar(v)?])).collect::<Answer<Vec<_>>>();
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
                let member = |value: &Value| {
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
        "application/json" => body_object(&body)?,
        "text/plain" => {
            let text = String::from_utf8(body.into()).map_err(|_| Problem::bad("the value is not UTF-8"))?;
            Wanted { kind: Some(Kind::String), value: text.into(), ttl_ms: None }
        }
        other => {
            let detail = format!("the body is {other:?}: send application/json or text/plain");
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
        }
    };
    let (written, asked) = (wanted.written()?, Preconditions::of(&headers));
    let place = Place { door: &door, caller: &caller, headers: &headers, db, key: &key };
    let is_done = place.again(|| place.set(&written, wanted.ttl_ms, &asked)).await?;
    if is_done { Ok(StatusCode::NO_CONTENT.into_response()) } else { Err(failed()) }
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
    let asked = Preconditions::of(&headers);
    let place = Place { door: &door, caller: &caller, headers: &headers, db, key: &key };
    match place.again(|| place.remove(&asked)).await? {
        Some(true) => Ok(StatusCode::NO_CONTENT.into_response()),
        Some(false) => Err(no_key()),
        None => Err(failed()),
    }
}

/// How often a request is tried as others change its key meanwhile.
const TRIES: usize = 32;

/// A key, and who asks for it.
struct Place<'a> {
    door: &'a Arc<Door>,
    caller: &'a Caller,
    headers: &'a HeaderMap,
    db: i32,
    key: &'a str,
}

impl Place<'_> {
    /// What it holds. Type and value are of one moment.
    async fn look(&self) -> Answer<Option<Found>> {
        let lease = self.door.lease_of_one_moment(self.caller, self.headers).await?;
        let (db, key) = (self.db, self.key.to_owned());
        perform(self.door, lease, move |session| {
            async move { perigee_door::keys::read(session, db, &key).await }.boxed()
        })
        .await
    }

    /// Sets it; `false` where it is not as the client knows it.
    async fn set(&self, written: &Written, ttl_ms: Option<u32>, asked: &Preconditions) -> Answer<bool> {
        let lease = lease_to_write(self.door, self.caller, self.headers, asked).await?;
        let (db, key, written, asked) = (self.db, self.key.to_owned(), written.clone(), asked.clone());
        perform(self.door, lease, move |session| {
            async move {
                let Some(condition) = condition(session, db, &key, &asked).await? else { return Ok(false) };
                perigee_door::keys::write(session, db, &key, &written, ttl_ms, condition).await
            }
            .boxed()
        })
        .await
    }

    /// Deletes it, and whether it was there; `None` where it is not as the client knows it.
    async fn remove(&self, asked: &Preconditions) -> Answer<Option<bool>> {
        let lease = lease_to_write(self.door, self.caller, self.headers, asked).await?;
        let (db, key, asked) = (self.db, self.key.to_owned(), asked.clone());
        perform(self.door, lease, move |session| {
            async move {
                match condition(session, db, &key, &asked).await? {
                    Some(_) => Ok(Some(perigee_door::keys::delete(session, db, &key).await?)),
                    None => Ok(None),
                }
            }
            .boxed()
        })
        .await
    }

    /// Tries anew what had no effect because another request has changed the key meanwhile. A transaction over several requests is its
    /// client's to try.
    async fn again<T, F: Future<Output = Answer<T>>>(&self, attempt: impl Fn() -> F) -> Answer<T> {
        for _ in 1..TRIES {
            match attempt().await {
                Err(problem)
                    if problem.state() == Some(SqlState::SerializationFailure)
                        && !self.headers.contains_key(TRANSACTION) => {}
                answer => return answer,
            }
        }
        attempt().await
    }
}

/// A session that writes a key: one that has compared it with what the client knows commits only if it is still so.
async fn lease_to_write(door: &Door, caller: &Caller, headers: &HeaderMap, asked: &Preconditions) -> Answer<Lease> {
    if asked.are_none() {
        door.lease(caller, headers, None, None).await
    } else {
        door.lease_of_one_moment(caller, headers).await
    }
}

/// What is left to be seen to when a key is written, where it is as the client knows it; `None` where it is not.
async fn condition(session: &mut Session, db: i32, key: &str, asked: &Preconditions) -> SqlResult<Option<Condition>> {
    if asked.are_none() {
        return Ok(Some(Condition::Always));
    }
    // Only such a transaction compares at its end what it has read.
    let shown = fetch(session, "SHOW transaction_isolation", &[]).await?;
    if shown.rows.first().and_then(|row| row.first()).and_then(|value| value.as_str()) == Some("read committed") {
        let message = "a precondition of a key takes a transaction whose isolation is repeatable read or serializable";
        return Err(SqlError::new(SqlState::ObjectNotInPrerequisiteState, message));
    }
    let found = perigee_door::keys::read(session, db, key).await?;
    let condition = if found.is_some() { Condition::Always } else { Condition::IfAbsent };
    let body = found.map(|found| document(key, found).to_string().into_bytes());
    Ok(asked.hold(body.as_deref()).then_some(condition))
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
}
