//! Objects as rows.

use perigee_keyspace::command::Once;
use perigee_keyspace::object::Value as Held;
use perigee_keyspace::object::stream::Id;
use perigee_keyspace::scan::ScannedKey;
use perigee_types::{Row, Value};

/// A table of schema `redis`, or `perigee.idempotency_keys`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Table {
    Keys,
    Strings,
    Hashes,
    Lists,
    Sets,
    SortedSets,
    Streams,
    Series,
    Samples,
    IdempotencyKeys,
}

impl Table {
    pub(super) fn of(name: &str) -> Option<Self> {
        Some(match name {
            "keys" => Table::Keys,
            "strings" => Table::Strings,
            "hashes" => Table::Hashes,
            "lists" => Table::Lists,
            "sets" => Table::Sets,
            "zsets" => Table::SortedSets,
            "streams" => Table::Streams,
            "series" => Table::Series,
            "samples" => Table::Samples,
            "idempotency_keys" => Table::IdempotencyKeys,
            _ => return None,
        })
    }

    /// Appends the rows that a key has in this table at `now`, with the columns at `places`.
    pub(super) fn rows_of(self, db: u32, key: &ScannedKey, now: i64, places: &[usize], rows: &mut Vec<Row>) {
        let known = match (self, &key.value) {
            (Table::IdempotencyKeys, Held::String(record)) => Once::decode(&record.to_bytes()),
            _ => None,
        };
        // They stand in a database of their own; the one that is shown is where the command ran.
        let db = known.as_ref().map_or(db, |known| known.database);
        let db_cell = || Value::Int4(i32::try_from(db).unwrap_or(i32::MAX));
        let end = || key.expire_at.map_or(Value::Null, time);
        let mut push = |cell: &dyn Fn(usize) -> Value| {
            rows.push(
                places
                    .iter()
                    .map(|at| match at {
                        0 => db_cell(),
                        1 => text(&key.key),
                        at => cell(*at),
                    })
                    .collect(),
            );
        };
        if let Some(known) = known {
            return push(&|at| match at {
                2 => Value::Text(if known.door == 0 { "redis" } else { "other" }.to_owned()),
                3 => Value::Text(format!("{:032x}", known.digest)),
                4 => time(known.created_ms),
                _ => end(),
            });
        }
        match (self, &key.value) {
            (Table::Keys, value) => push(&|at| match at {
                2 => Value::Text(value.type_name().to_owned()),
                3 => Value::Text(value.encoding().to_owned()),
                4 => end(),
                _ => Value::Int8(i64::try_from(value.memory()).unwrap_or(i64::MAX)),
            }),
            (Table::Strings, Held::String(string)) => push(&|at| match at {
                2 => text(&string.to_bytes()),
                _ => end(),
            }),
            (Table::SortedSets, Held::ZSet(set)) => {
                for (rank, (member, score)) in set.iter().enumerate() {
                    push(&|at| match at {
                        2 => Value::Int8(i64::try_from(rank).unwrap_or(i64::MAX)),
                        3 => text(member),
                        4 => Value::Float8(score),
                        _ => end(),
                    });
                }
            }
            (Table::Hashes, Held::Hash(hash)) => {
                for field in hash.live(now) {
                    push(&|at| match at {
                        2 => text(field.name),
                        3 => text(field.value),
                        4 => field.end.map_or(Value::Null, time),
                        _ => end(),
                    });
                }
            }
            (Table::Lists, Held::List(list)) => {
                for (position, value) in list.iter().enumerate() {
                    push(&|at| match at {
                        2 => Value::Int8(i64::try_from(position).unwrap_or(i64::MAX)),
                        3 => text(value),
                        _ => end(),
                    });
                }
            }
            (Table::Sets, Held::Set(set)) => {
                for member in set.iter() {
                    push(&|at| match at {
                        2 => text(&member),
                        _ => end(),
                    });
                }
            }
            (Table::Streams, Held::Stream(stream)) => {
                for entry in stream.range(Id::MIN, Id::MAX) {
                    for (field, value) in entry.fields() {
                        push(&|at| match at {
                            2 => Value::Text(entry.id.to_string()),
                            3 => time(i64::try_from(entry.id.ms).unwrap_or(i64::MAX)),
                            4 => text(field),
                            5 => text(value),
                            _ => end(),
                        });
                    }
                }
            }
            (Table::Series, Held::Series(series)) => push(&|at| match at {
                2 => labels(&series.options.labels),
                3 => Value::Int8(series.options.retention_ms),
                4 => Value::Int8(i64::try_from(series.count()).unwrap_or(i64::MAX)),
                5 => series.first().map_or(Value::Null, |sample| time(sample.time)),
                _ => series.last().map_or(Value::Null, |sample| time(sample.time)),
            }),
            (Table::Samples, Held::Series(series)) => series.visit(series.kept_from(), i64::MAX, false, |sample| {
                push(&|at| match at {
                    2 => time(sample.time),
                    _ => Value::Float8(sample.value),
                });
                true
            }),
            _ => {}
        }
    }
}

/// Milliseconds since 1970 UTC as a timestamptz.
fn time(ms: i64) -> Value {
    Value::Timestamptz(ms.saturating_mul(1_000))
}

/// Bytes as text: as they are where they are UTF-8 without a zero byte, else `\x` and hexadecimal digits.
fn text(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) if !bytes.contains(&0) => Value::Text(text.to_owned()),
        _ => Value::Text(bytes.iter().fold("\\x".to_owned(), |text, byte| text + &format!("{byte:02x}"))),
    }
}

/// The bytes that [`text`] shows like this.
pub(super) fn key_bytes(text: &str) -> Vec<u8> {
    let hex = text.strip_prefix("\\x").filter(|digits| digits.len() % 2 == 0 && !digits.is_empty());
    let bytes: Option<Vec<u8>> = hex.and_then(|digits| {
        (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok()).collect()
    });
    match bytes {
        Some(bytes) if !matches!(std::str::from_utf8(&bytes), Ok(text) if !text.contains('\0')) => bytes,
        _ => text.as_bytes().to_vec(),
    }
}

/// Labels as a JSON object.
fn labels(labels: &[(bytes::Bytes, bytes::Bytes)]) -> Value {
    let shown = |bytes: &[u8]| text(bytes).as_str().unwrap_or_default().to_owned();
    let object = labels.iter().map(|(name, value)| (shown(name), serde_json::Value::String(shown(value)))).collect();
    Value::Text(serde_json::Value::Object(object).to_string())
}
