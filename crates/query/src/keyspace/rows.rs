//! Objects as rows.

use perigee_keyspace::command::{GRPC, Once, REST};
use perigee_keyspace::object::Value as Held;
use perigee_keyspace::object::stream::Id;
use perigee_keyspace::scan::ScannedKey;
use perigee_types::{Oid, Row, Value};

/// A table of schema `redis`, or `perigee.idempotency_keys`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyTable {
    /// Every key.
    Keys,
    /// Strings.
    Strings,
    /// Fields of hashes.
    Hashes,
    /// Elements of lists.
    Lists,
    /// Members of sets.
    Sets,
    /// Members of sorted sets.
    SortedSets,
    /// Fields of entries of streams.
    Streams,
    /// Time series.
    Series,
    /// Samples of time series.
    Samples,
    /// Idempotency keys of all doors: `perigee.idempotency_keys`.
    IdempotencyKeys,
}

/// What a scan is asked for.
pub(super) struct Shown<'a> {
    pub(super) now: i64,
    /// The first and the last time that matter, milliseconds.
    pub(super) window: (i64, i64),
    /// Places of the columns that are wanted.
    pub(super) places: &'a [usize],
}

impl KeyTable {
    /// The table of this oid.
    #[must_use]
    pub fn of(oid: Oid) -> Option<Self> {
        Some(match oid.0 {
            15_101 => KeyTable::Keys,
            15_102 => KeyTable::Strings,
            15_103 => KeyTable::Hashes,
            15_104 => KeyTable::Lists,
            15_105 => KeyTable::Sets,
            15_106 => KeyTable::SortedSets,
            15_107 => KeyTable::Streams,
            15_108 => KeyTable::Series,
            15_109 => KeyTable::Samples,
            15_011 => KeyTable::IdempotencyKeys,
            _ => return None,
        })
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            KeyTable::Keys => "keys",
            KeyTable::Strings => "strings",
            KeyTable::Hashes => "hashes",
            KeyTable::Lists => "lists",
            KeyTable::Sets => "sets",
            KeyTable::SortedSets => "zsets",
            KeyTable::Streams => "streams",
            KeyTable::Series => "series",
            KeyTable::Samples => "samples",
            KeyTable::IdempotencyKeys => "idempotency_keys",
        }
    }

    /// Whether a value has rows in it, or may have some.
    pub(super) fn holds(self, value: &Held) -> bool {
        matches!(
            (self, value),
            (KeyTable::Keys, _)
                | (KeyTable::Strings | KeyTable::IdempotencyKeys, Held::String(_))
                | (KeyTable::Hashes, Held::Hash(_))
                | (KeyTable::Lists, Held::List(_))
                | (KeyTable::Sets, Held::Set(_))
                | (KeyTable::SortedSets, Held::ZSet(_))
                | (KeyTable::Streams, Held::Stream(_))
                | (KeyTable::Series | KeyTable::Samples, Held::Series(_))
        )
    }

    /// Gives the rows that a key has in this table to `take`, until that wants no more. Whether it wants more.
    pub(super) fn rows_of(
        self,
        db: u32,
        key: &ScannedKey,
        shown: &Shown<'_>,
        take: &mut dyn FnMut(Row) -> bool,
    ) -> bool {
        let known = match (self, &key.value) {
            (KeyTable::IdempotencyKeys, Held::String(record)) => Once::decode(&record.to_bytes()),
            _ => None,
        };
        // They stand in a database of their own; the one that is shown is where the command ran.
        let db = known.as_ref().map_or(db, |known| known.database);
        let db_cell = || Value::Int4(i32::try_from(db).unwrap_or(i32::MAX));
        let end = || key.expire_at.map_or(Value::Null, time);
        let mut push = |cell: &dyn Fn(usize) -> Value| {
            let value = |at: &usize| match at {
                0 => db_cell(),
                1 => text(&key.key),
                at => cell(*at),
            };
            take(shown.places.iter().map(value).collect())
        };
        if let Some(known) = known {
            return push(&|at| match at {
                2 => Value::Text(
                    match known.door {
                        0 => "redis",
                        REST => "rest",
                        GRPC => "grpc",
                        _ => "other",
                    }
                    .to_owned(),
                ),
                3 => Value::Text(format!("{:032x}", known.digest)),
                4 => time(known.created_ms),
                _ => end(),
            });
        }
        match (self, &key.value) {
            (KeyTable::Keys, value) => push(&|at| match at {
                2 => Value::Text(value.type_name().to_owned()),
                3 => Value::Text(value.encoding().to_owned()),
                4 => end(),
                _ => Value::Int8(i64::try_from(value.memory()).unwrap_or(i64::MAX)),
            }),
            (KeyTable::Strings, Held::String(string)) => push(&|at| match at {
                2 => text(&string.to_bytes()),
                _ => end(),
            }),
            (KeyTable::SortedSets, Held::ZSet(set)) => set.iter().enumerate().all(|(rank, (member, score))| {
                push(&|at| match at {
                    2 => Value::Int8(i64::try_from(rank).unwrap_or(i64::MAX)),
                    3 => text(member),
                    4 => Value::Float8(score),
                    _ => end(),
                })
            }),
            (KeyTable::Hashes, Held::Hash(hash)) => hash.live(shown.now).all(|field| {
                push(&|at| match at {
                    2 => text(field.name),
                    3 => text(field.value),
                    4 => field.end.map_or(Value::Null, time),
                    _ => end(),
                })
            }),
            (KeyTable::Lists, Held::List(list)) => list.iter().enumerate().all(|(position, value)| {
                push(&|at| match at {
                    2 => Value::Int8(i64::try_from(position).unwrap_or(i64::MAX)),
                    3 => text(value),
                    _ => end(),
                })
            }),
            (KeyTable::Sets, Held::Set(set)) => set.iter().all(|member| {
                push(&|at| match at {
                    2 => text(&member),
                    _ => end(),
                })
            }),
            (KeyTable::Streams, Held::Stream(stream)) => stream.range(Id::MIN, Id::MAX).all(|entry| {
                entry.fields().all(|(field, value)| {
                    push(&|at| match at {
                        2 => Value::Text(entry.id.to_string()),
                        3 => time(i64::try_from(entry.id.ms).unwrap_or(i64::MAX)),
                        4 => text(field),
                        5 => text(value),
                        _ => end(),
                    })
                })
            }),
            (KeyTable::Series, Held::Series(series)) => push(&|at| match at {
                2 => labels(&series.options.labels),
                3 => Value::Int8(series.options.retention_ms),
                4 => Value::Int8(i64::try_from(series.count()).unwrap_or(i64::MAX)),
                5 => series.first().map_or(Value::Null, |sample| time(sample.time)),
                _ => series.last().map_or(Value::Null, |sample| time(sample.time)),
            }),
            (KeyTable::Samples, Held::Series(series)) => {
                let described = if shown.places.contains(&4) { labels(&series.options.labels) } else { Value::Null };
                let mut more = true;
                let (first, last) = shown.window;
                series.visit(series.kept_from().max(first), last, false, |sample| {
                    more = push(&|at| match at {
                        2 => time(sample.time),
                        3 => Value::Float8(sample.value),
                        _ => described.clone(),
                    });
                    more
                });
                more
            }
            _ => true,
        }
    }
}

/// Milliseconds since 1970 UTC as a timestamptz.
pub(super) fn time(ms: i64) -> Value {
    Value::Timestamptz(ms.saturating_mul(1_000))
}

/// Bytes as text: as they are where they are UTF-8 without a zero byte, else `\x` and hexadecimal digits.
pub(super) fn text(bytes: &[u8]) -> Value {
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
