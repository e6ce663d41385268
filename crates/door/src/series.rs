//! Series through `redis.series` and `redis.samples`, so that transactions and rights are those of SQL.

use futures::FutureExt as _;
use futures::future::BoxFuture;
use perigee_engine::Session;
use perigee_types::{SqlError, SqlResult, SqlState, Value};

use crate::run::{Given, Parameter};
use crate::script::fetch;

/// Samples of one INSERT.
const SAMPLES: usize = 500;

/// A moment that a client gives: microseconds since 1970, or the text of a timestamp.
pub type Moment = Result<i64, String>;

/// A sample of a series.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample<'a> {
    /// The series.
    pub key: &'a str,
    /// When.
    pub ts: &'a Moment,
    /// How much.
    pub value: f64,
}

/// Adds samples; one that is there gets the new value. How many they were.
///
/// # Errors
/// What the table gives.
pub fn add<'a>(session: &'a mut Session, db: i32, samples: &'a [Sample<'a>]) -> BoxFuture<'a, SqlResult<u64>> {
    async move {
        let mut count = 0;
        for samples in samples.chunks(SAMPLES) {
            let mut sql = "INSERT INTO redis.samples (db, key, ts, value) VALUES ".to_owned();
            let mut given = vec![Given::Value(Value::Int4(db))];
            for (number, sample) in samples.iter().enumerate() {
                given.push(Given::text(sample.key));
                given.push(match sample.ts {
                    Ok(micros) => Given::Value(Value::Timestamptz(*micros)),
                    Err(text) => Given::text(text),
                });
                given.push(Given::Value(Value::Float8(sample.value)));
                let (comma, last) = (if number == 0 { "" } else { ", " }, given.len());
                sql.push_str(&format!("{comma}($1, ${}, ${}, ${last})", last - 2, last - 1));
            }
            // Who sends a sample again, as its answer was lost, means the same one.
            sql.push_str(" ON CONFLICT (key, ts) DO UPDATE SET value = excluded.value");
            count += fetch(session, &sql, &given).await?.count;
        }
        Ok(count)
    }
    .boxed()
}

/// What becomes of the samples of a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aggregate {
    /// Their mean.
    Avg,
    /// Their sum.
    Sum,
    /// The least.
    Min,
    /// The greatest.
    Max,
    /// How many they are.
    Count,
}

impl Aggregate {
    fn name(self) -> &'static str {
        match self {
            Aggregate::Avg => "avg",
            Aggregate::Sum => "sum",
            Aggregate::Min => "min",
            Aggregate::Max => "max",
            Aggregate::Count => "count",
        }
    }
}

/// Whose samples.
#[derive(Clone, Debug)]
pub enum Which {
    /// One series.
    Key(String),
    /// All series with these labels.
    Labels(Vec<(String, String)>),
}

/// Which samples of series, and what becomes of them.
#[derive(Clone, Debug)]
pub struct Range {
    /// The numbered database.
    pub db: i32,
    /// The series.
    pub which: Which,
    /// The first moment.
    pub from: Option<Moment>,
    /// The last one.
    pub to: Option<Moment>,
    /// An aggregate, and how long a bucket is, milliseconds.
    pub bucket: Option<(Aggregate, u32)>,
    /// Rows at most.
    pub limit: Option<u64>,
}

impl Range {
    /// A statement that gives `ts` and `value`, before them `key` where there may be several series, and its parameters.
    ///
    /// # Errors
    /// `22023` for labels that name no series.
    pub fn statement(&self) -> SqlResult<(String, Vec<Parameter>)> {
        let mut parameters = vec![Parameter::value(Value::Int4(self.db))];
        let mut condition = "db = $1".to_owned();
        let key = match &self.which {
            Which::Key(key) => {
                parameters.push(Parameter::text(key));
                condition.push_str(" AND key = $2");
                ""
            }
            Which::Labels(labels) => {
                if labels.is_empty() {
                    return Err(SqlError::new(SqlState::InvalidParameterValue, "there is no label"));
                }
                for (name, value) in labels {
                    // A lookup takes the name as a literal.
                    let name = name.replace('\'', "''");
                    parameters.push(Parameter::text(value));
                    condition.push_str(&format!(" AND labels::jsonb ->> '{name}' = ${}", parameters.len()));
                }
                "key, "
            }
        };
        for (moment, operator) in [(&self.from, ">="), (&self.to, "<=")] {
            let Some(moment) = moment else { continue };
            parameters.push(match moment {
                Ok(micros) => Parameter::value(Value::Timestamptz(*micros)),
                Err(text) => Parameter::text(text),
            });
            condition.push_str(&format!(" AND ts {operator} ${}::timestamptz", parameters.len()));
        }
        let mut sql = match self.bucket {
            None => format!("SELECT {key}ts, value FROM redis.samples WHERE {condition} ORDER BY {key}ts"),
            Some((aggregate, ms)) => format!(
                "SELECT {key}date_bin(interval '{ms} milliseconds', ts, '1970-01-01 00:00:00+00'::timestamptz) AS ts, \
                 {}(value)::float8 AS value FROM redis.samples WHERE {condition} GROUP BY {places} ORDER BY {places}",
                aggregate.name(),
                places = if key.is_empty() { "1" } else { "1, 2" },
            ),
        };
        if let Some(limit) = self.limit {
            sql.push_str(&format!(" LIMIT {}", limit.min(i64::MAX as u64)));
        }
        Ok((sql, parameters))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_labels_do_not_end_their_literal() {
        let which = Which::Labels(vec![("a'b".into(), "x".into())]);
        let range = Range { db: 0, which, from: None, to: Some(Ok(1)), bucket: None, limit: Some(2) };
        let (sql, parameters) = range.statement().unwrap();
        let expected = "SELECT key, ts, value FROM redis.samples WHERE db = $1 AND labels::jsonb ->> 'a''b' = $2 \
                        AND ts <= $3::timestamptz ORDER BY key, ts LIMIT 2";
        assert_eq!((sql.as_str(), parameters.len()), (expected, 3));
        assert!(Range { which: Which::Labels(Vec::new()), ..range }.statement().is_err());
    }
}
