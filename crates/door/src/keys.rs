//! Keys through the tables of schema `redis`, so that transactions and rights are those of SQL.

use std::collections::{BTreeMap, BTreeSet};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use perigee_engine::Session;
use perigee_types::{Row, SqlError, SqlResult, SqlState, Value};

use crate::run::{Given, Parameter};
use crate::script::fetch;

/// Values of one INSERT.
const VALUES: usize = 500;

/// What a key holds. What is not UTF-8 is shown as `\x` and hexadecimal digits.
#[derive(Clone, Debug, PartialEq)]
pub enum Held {
    /// A string.
    Text(String),
    /// A hash's fields.
    Hash(BTreeMap<String, String>),
    /// A list, in order.
    List(Vec<String>),
    /// A set.
    Set(BTreeSet<String>),
    /// The members of a sorted set with their scores.
    Zset(Vec<(String, f64)>),
    /// A stream or a series, which have tables of their own.
    Other,
}

/// A key.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// Its type, as TYPE says it.
    pub kind: String,
    /// What it holds.
    pub held: Held,
    /// When it ends, milliseconds since 1970.
    pub expire_at_ms: Option<i64>,
}

/// Whether a key is set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Condition {
    /// Whatever there is.
    #[default]
    Always,
    /// Only where there is no such key.
    IfAbsent,
    /// Only where there is one.
    IfPresent,
}

/// What a key is to hold: rows of one table of schema `redis`, behind database and key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The table.
    pub table: &'static str,
    /// Its columns.
    pub columns: &'static [&'static str],
    /// Values of the columns, each as text.
    pub rows: Vec<Vec<String>>,
}

impl Written {
    /// The rows of a value; `None` for one that is empty, which no key can hold, and for one that is not written this way.
    #[must_use]
    pub fn new(held: Held) -> Option<Self> {
        let singles = |items: Vec<String>| items.into_iter().map(|item| vec![item]).collect();
        let (table, columns, rows): (_, &[&str], Vec<_>) = match held {
            Held::Text(text) => ("strings", &["value"], vec![vec![text]]),
            Held::List(items) => ("lists", &["value"], singles(items)),
            Held::Set(members) => ("sets", &["member"], members.into_iter().map(|member| vec![member]).collect()),
            Held::Hash(fields) => {
                ("hashes", &["field", "value"], fields.into_iter().map(|(name, value)| vec![name, value]).collect())
            }
            Held::Zset(members) => {
                // The last score of a member counts.
                let members: BTreeMap<String, f64> = members.into_iter().collect();
                let row = |(member, score): (String, f64)| vec![member, score.to_string()];
                ("zsets", &["member", "score"], members.into_iter().map(row).collect())
            }
            Held::Other => return None,
        };
        (!rows.is_empty()).then_some(Self { table, columns, rows })
    }
}

fn place<'a>(db: i32, key: &'a str) -> [Given<'a>; 2] {
    [Given::Value(Value::Int4(db)), Given::text(key)]
}

/// Reads a key; `None` where it is not there. Type and value are of one moment in a session of REPEATABLE READ.
///
/// # Errors
/// What the tables give.
pub fn read<'a>(session: &'a mut Session, db: i32, key: &'a str) -> BoxFuture<'a, SqlResult<Option<Found>>> {
    async move {
        let at = place(db, key);
        let sql =
            "SELECT type, (extract(epoch FROM expire_at) * 1000)::bigint FROM redis.keys WHERE db = $1 AND key = $2";
        let found = fetch(session, sql, &at).await?;
        let Some(row) = found.rows.into_iter().next() else { return Ok(None) };
        let (kind, expire_at_ms) = match row.as_slice() {
            [Value::Text(kind), end] => (kind.clone(), end.as_i64()),
            _ => return Err(SqlError::internal("a key without a type")),
        };
        let sql = match kind.as_str() {
            "string" => "SELECT value FROM redis.strings WHERE db = $1 AND key = $2",
            "list" => "SELECT value FROM redis.lists WHERE db = $1 AND key = $2 ORDER BY position",
            "set" => "SELECT member FROM redis.sets WHERE db = $1 AND key = $2",
            "hash" => "SELECT field, value FROM redis.hashes WHERE db = $1 AND key = $2",
            "zset" => "SELECT member, score FROM redis.zsets WHERE db = $1 AND key = $2 ORDER BY rank",
            _ => return Ok(Some(Found { kind, held: Held::Other, expire_at_ms })),
        };
        let rows = fetch(session, sql, &at).await?.rows;
        let held = held(&kind, &rows)?;
        Ok(Some(Found { kind, held, expire_at_ms }))
    }
    .boxed()
}

fn held(kind: &str, rows: &[Row]) -> SqlResult<Held> {
    let text = |row: &Row, at: usize| {
        let text = row.get(at).and_then(Value::as_str);
        text.map(str::to_owned).ok_or_else(|| SqlError::internal("a value of a key that is no text"))
    };
    let firsts = rows.iter().map(|row| text(row, 0));
    Ok(match kind {
        // One that has ended between the two statements holds nothing.
        "string" => Held::Text(firsts.collect::<SqlResult<Vec<_>>>()?.pop().unwrap_or_default()),
        "list" => Held::List(firsts.collect::<SqlResult<_>>()?),
        "set" => Held::Set(firsts.collect::<SqlResult<_>>()?),
        "hash" => Held::Hash(rows.iter().map(|row| Ok((text(row, 0)?, text(row, 1)?))).collect::<SqlResult<_>>()?),
        _ => {
            let member = |row: &Row| match row.get(1) {
                Some(Value::Float8(score)) => Ok((text(row, 0)?, *score)),
                _ => Err(SqlError::internal("a member without a score")),
            };
            Held::Zset(rows.iter().map(member).collect::<SqlResult<_>>()?)
        }
    })
}

/// Sets a key, whatever it held before. Whether the condition held; if not, nothing has changed.
///
/// # Errors
/// What the tables give, `40001` where another has changed the key meanwhile.
pub fn write<'a>(
    session: &'a mut Session,
    db: i32,
    key: &'a str,
    written: &'a Written,
    ttl_ms: Option<u32>,
    condition: Condition,
) -> BoxFuture<'a, SqlResult<bool>> {
    async move {
        let at = || place(db, key);
        let sql = "DELETE FROM redis.keys WHERE db = $1 AND key = $2";
        match condition {
            Condition::Always => drop(fetch(session, sql, &at()).await?),
            Condition::IfPresent if fetch(session, sql, &at()).await?.count == 0 => return Ok(false),
            Condition::IfPresent => {}
            Condition::IfAbsent => {
                let there = fetch(session, "SELECT 1 FROM redis.keys WHERE db = $1 AND key = $2", &at()).await?;
                if there.count > 0 {
                    return Ok(false);
                }
            }
        }
        for rows in written.rows.chunks(VALUES) {
            let mut sql =
                format!("INSERT INTO redis.{} (db, key, {}) VALUES ", written.table, written.columns.join(", "));
            let mut given = at().into_iter().collect::<Vec<_>>();
            for (number, row) in rows.iter().enumerate() {
                sql.push_str(if number == 0 { "($1, $2" } else { ", ($1, $2" });
                for value in row {
                    given.push(Given::text(value));
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
        Ok(true)
    }
    .boxed()
}

/// Deletes a key. Whether it was there.
///
/// # Errors
/// What the tables give.
pub fn delete<'a>(session: &'a mut Session, db: i32, key: &'a str) -> BoxFuture<'a, SqlResult<bool>> {
    async move {
        let at = place(db, key);
        Ok(fetch(session, "DELETE FROM redis.keys WHERE db = $1 AND key = $2", &at).await?.count > 0)
    }
    .boxed()
}

/// Which keys are gone through.
#[derive(Clone, Debug, Default)]
pub struct Scan {
    /// The numbered database.
    pub db: i32,
    /// A pattern with `*` and `?`.
    pub pattern: Option<String>,
    /// Keys behind this one.
    pub after: Option<String>,
    /// Keys of this type.
    pub kind: Option<String>,
    /// How many at most.
    pub limit: Option<u64>,
}

impl Scan {
    /// A statement that gives `columns` of `redis.keys` in the order of keys, and its parameters.
    ///
    /// # Errors
    /// `22023` for a pattern that is none.
    pub fn statement(&self, columns: &str) -> SqlResult<(String, Vec<Parameter>)> {
        let mut sql = format!("SELECT {columns} FROM redis.keys WHERE db = $1");
        let mut parameters = vec![Parameter::value(Value::Int4(self.db))];
        let pattern = self.pattern.as_deref().map(like).transpose()?;
        for (condition, text) in [("key LIKE", &pattern), ("key >", &self.after), ("type =", &self.kind)].into_iter() {
            if let Some(text) = text {
                parameters.push(Parameter::text(text));
                sql.push_str(&format!(" AND {condition} ${}", parameters.len()));
            }
        }
        sql.push_str(" ORDER BY key");
        if let Some(limit) = self.limit {
            sql.push_str(&format!(" LIMIT {}", limit.min(i64::MAX as u64)));
        }
        Ok((sql, parameters))
    }
}

/// A pattern with `*` and `?` as one of LIKE.
///
/// # Errors
/// `22023` for one with brackets.
pub fn like(pattern: &str) -> SqlResult<String> {
    let mut out = String::new();
    for c in pattern.chars() {
        match c {
            '*' => out.push('%'),
            '?' => out.push('_'),
            '%' | '_' | '\\' => out.extend(['\\', c]),
            '[' | ']' => {
                return Err(SqlError::new(SqlState::InvalidParameterValue, "a pattern has * and ? only"));
            }
            c => out.push(c),
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(held: Held, expected: Option<(&str, &[&[&str]])>) {
        let owned = |rows: &[&[&str]]| -> Vec<Vec<String>> {
            rows.iter().map(|row| row.iter().map(|text| (*text).to_owned()).collect()).collect()
        };
        let found = Written::new(held).map(|written| (written.table, written.rows));
        assert_eq!(found, expected.map(|(table, rows)| (table, owned(rows))));
    }

    #[test]
    fn values_become_rows() {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        check(Held::Text("x".into()), Some(("strings", &[&["x"]])));
        check(Held::List(texts(&["b", "a", "b"])), Some(("lists", &[&["b"], &["a"], &["b"]])));
        check(Held::Set(texts(&["b", "a", "b"]).into_iter().collect()), Some(("sets", &[&["a"], &["b"]])));
        check(Held::Hash([("f".into(), "true".into())].into()), Some(("hashes", &[&["f", "true"]])));
        check(Held::Zset(vec![("m".into(), 9.0), ("m".into(), 1.5)]), Some(("zsets", &[&["m", "1.5"]])));
        check(Held::List(Vec::new()), None);
        check(Held::Other, None);
    }

    #[test]
    fn patterns_become_those_of_like() {
        assert_eq!(like("a*b?_%").unwrap(), "a%b_\\_\\%");
        assert!(like("[a]").is_err());
    }
}
