//! Rows of schema `redis` as commands.

use bytes::Bytes;
use perigee_keyspace::DraftError;
use perigee_keyspace::object::Value as Held;
use perigee_keyspace::scan::ScannedKey;
use perigee_types::{Row, SqlError, SqlResult, SqlState, Value};

use super::rows::{KeyTable, Shown, key_bytes, text, time};

/// A command with its arguments, the name first.
pub type Arguments = Vec<Bytes>;

/// Rows of one key that go.
pub struct Deleted<'a> {
    /// The rows.
    pub rows: &'a [Row],
    /// What the key holds.
    pub held: &'a ScannedKey,
    /// Bytes that no element of a list has.
    pub mark: [u8; 16],
}

/// What a transaction's trouble with keys is in SQL.
#[must_use]
pub fn draft_error(error: DraftError) -> SqlError {
    match error {
        DraftError::Changed => SqlError::new(
            SqlState::SerializationFailure,
            "could not serialize access due to concurrent update of a key",
        )
        .hint("retry the transaction"),
        DraftError::TooLarge | DraftError::TooMany => SqlError::new(SqlState::ProgramLimitExceeded, error.to_string())
            .hint("Change keys in several transactions, or with commands of Redis."),
        DraftError::Full => SqlError::new(SqlState::OutOfMemory, error.to_string()),
        DraftError::Memory => {
            SqlError::new(SqlState::OutOfMemory, error.to_string()).hint("Change large objects with commands of Redis.")
        }
        DraftError::Refused(text) if text.starts_with("WRONGTYPE") => {
            SqlError::new(SqlState::WrongObjectType, "the key holds a value of another type")
        }
        DraftError::Refused(text) => {
            let text = text.strip_prefix("ERR ").unwrap_or(&text).to_owned();
            SqlError::new(SqlState::InvalidParameterValue, text)
        }
        DraftError::Storage(fault) => SqlError::new(SqlState::DataCorrupted, fault.to_string()),
    }
}

impl KeyTable {
    /// The database and the key of a row.
    ///
    /// # Errors
    /// `22023` for a number that no database has, `23502` without a key.
    pub fn key_of(self, row: &[Value]) -> SqlResult<(u32, Vec<u8>)> {
        let number = match row.first() {
            Some(Value::Int4(number)) => u32::try_from(*number).ok().filter(|number| *number < 16),
            _ => None,
        };
        let number =
            number.ok_or_else(|| SqlError::new(SqlState::InvalidParameterValue, "db is a number from 0 to 15"))?;
        Ok((number, bytes(row, 1)?))
    }

    /// Places of the columns that tell one row of the table from another, behind the database.
    #[must_use]
    pub fn identity(self) -> &'static [usize] {
        match self {
            KeyTable::Keys | KeyTable::Strings | KeyTable::Series | KeyTable::IdempotencyKeys => &[1],
            KeyTable::Hashes | KeyTable::Lists | KeyTable::Sets | KeyTable::Samples => &[1, 2],
            KeyTable::SortedSets => &[1, 3],
            KeyTable::Streams => &[1, 2, 4],
        }
    }

    /// Whether rows can be inserted.
    #[must_use]
    pub fn inserts(self) -> bool {
        !matches!(self, KeyTable::Keys | KeyTable::Streams | KeyTable::Series | KeyTable::IdempotencyKeys)
    }

    /// Whether rows can be deleted.
    #[must_use]
    pub fn deletes(self) -> bool {
        !matches!(self, KeyTable::Streams | KeyTable::IdempotencyKeys)
    }

    /// Whether a column can be assigned by UPDATE.
    #[must_use]
    pub fn updates(self, place: usize) -> bool {
        match self {
            KeyTable::Keys => matches!(place, 1 | 4),
            KeyTable::Strings => place <= 3,
            KeyTable::Hashes => place <= 5,
            KeyTable::Lists => matches!(place, 3 | 4),
            KeyTable::Sets => place <= 3,
            KeyTable::SortedSets => place != 2,
            KeyTable::Samples => matches!(place, 2 | 3),
            KeyTable::Streams | KeyTable::Series | KeyTable::IdempotencyKeys => false,
        }
    }

    /// The row of the table that has the identity of `row`, in what the key holds.
    ///
    /// # Errors
    /// `42809` where the key holds something else.
    pub fn find(self, held: Option<&ScannedKey>, row: &[Value], now: i64) -> SqlResult<Option<Row>> {
        let Some(held) = held else { return Ok(None) };
        if !self.holds(&held.value) {
            let message = format!("key \"{}\" holds no row of redis.{}", shown(&held.key), self.name());
            let detail = format!("It is of type {}.", held.value.type_name());
            return Err(SqlError::new(SqlState::WrongObjectType, message).detail(detail));
        }
        let (number, _) = self.key_of(row)?;
        let db = || row.first().cloned().unwrap_or(Value::Null);
        let end = || held.expire_at.map_or(Value::Null, time);
        Ok(match (self, &held.value) {
            (KeyTable::Keys | KeyTable::Strings | KeyTable::Series, _) => {
                let mut found = None;
                let places: Vec<usize> = (0..8).collect();
                let all = Shown { now, window: (i64::MIN, i64::MAX), places: &places[..self.width()] };
                self.rows_of(number, held, &all, &mut |row| {
                    found = Some(row);
                    false
                });
                found
            }
            (KeyTable::Hashes, Held::Hash(hash)) => hash.field(&bytes(row, 2)?, now).map(|field| {
                vec![
                    db(),
                    text(&held.key),
                    text(field.name),
                    text(field.value),
                    field.end.map_or(Value::Null, time),
                    end(),
                ]
            }),
            (KeyTable::Sets, Held::Set(set)) => {
                let member = bytes(row, 2)?;
                set.contains(&member).then(|| vec![db(), text(&held.key), text(&member), end()])
            }
            (KeyTable::SortedSets, Held::ZSet(set)) => {
                let member = bytes(row, 3)?;
                set.rank(&member).map(|(rank, score)| {
                    let rank = Value::Int8(i64::try_from(rank).unwrap_or(i64::MAX));
                    vec![db(), text(&held.key), rank, text(&member), Value::Float8(score), end()]
                })
            }
            (KeyTable::Samples, Held::Series(series)) => {
                let at = ms(row, 2)?.unwrap_or_default();
                let mut found = None;
                series.visit(at, at, false, |sample| {
                    found = Some(sample.value);
                    false
                });
                found.map(|value| vec![db(), text(&held.key), time(at), Value::Float8(value), Value::Null])
            }
            _ => None,
        })
    }

    fn width(self) -> usize {
        match self {
            KeyTable::Strings | KeyTable::Sets => 4,
            KeyTable::Lists | KeyTable::Samples => 5,
            KeyTable::Keys | KeyTable::Hashes | KeyTable::SortedSets | KeyTable::IdempotencyKeys => 6,
            KeyTable::Streams | KeyTable::Series => 7,
        }
    }

    /// The commands that make a row which is not there. `length`: of the list that the key holds.
    ///
    /// # Errors
    /// `0A000` where no command makes such a row.
    pub fn insert(self, row: &[Value], length: usize) -> SqlResult<Vec<Arguments>> {
        let key = bytes(row, 1)?;
        let mut commands = Vec::with_capacity(2);
        let end = match self {
            KeyTable::Strings => {
                commands.push(set(&key, row)?);
                None
            }
            KeyTable::Hashes => {
                let field = bytes(row, 2)?;
                commands.push(command("HSET", [key.clone(), field.clone(), bytes(row, 3)?]));
                commands.extend(field_end(&key, &field, ms(row, 4)?));
                ms(row, 5)?
            }
            KeyTable::Lists => {
                let name = match row.get(2) {
                    Some(Value::Int8(0)) if length > 0 => "LPUSH",
                    Some(Value::Null) => "RPUSH",
                    Some(Value::Int8(at)) if usize::try_from(*at) == Ok(length) => "RPUSH",
                    _ => {
                        let what = "INSERT into redis.lists elsewhere than at the begin or at the end";
                        return Err(SqlError::unsupported(what));
                    }
                };
                commands.push(command(name, [key.clone(), bytes(row, 3)?]));
                ms(row, 4)?
            }
            KeyTable::Sets => {
                commands.push(command("SADD", [key.clone(), bytes(row, 2)?]));
                ms(row, 3)?
            }
            KeyTable::SortedSets => {
                commands.push(command("ZADD", [key.clone(), float(row, 4)?, bytes(row, 3)?]));
                ms(row, 5)?
            }
            KeyTable::Samples => {
                let at = digits(ms(row, 2)?.unwrap_or_default());
                commands.push(command("TS.ADD", [key.clone(), at, float(row, 3)?]));
                None
            }
            KeyTable::Keys | KeyTable::Streams | KeyTable::Series | KeyTable::IdempotencyKeys => {
                return Err(self.unsupported("INSERT into"));
            }
        };
        commands.extend(end.map(|end| command("PEXPIREAT", [key, digits(end)])));
        Ok(commands)
    }

    /// Whether an UPDATE makes another row of one.
    #[must_use]
    pub fn moves(self, old: &[Value], new: &[Value]) -> bool {
        std::iter::once(&0).chain(self.identity()).any(|at| old.get(*at) != new.get(*at))
    }

    /// The commands that make `new` of `old`, which is there, has the same identity, and is a row of `held`.
    ///
    /// # Errors
    /// `0A000` where no command does that.
    pub fn update(self, old: &[Value], new: &[Value], held: &ScannedKey) -> SqlResult<Vec<Arguments>> {
        let key = bytes(new, 1)?;
        let differs = |at: usize| old.get(at) != new.get(at);
        let mut commands = Vec::with_capacity(2);
        let end = match self {
            KeyTable::Keys => 4,
            KeyTable::Strings => {
                commands.push(set(&key, new)?);
                return Ok(commands);
            }
            KeyTable::Hashes => {
                let field = bytes(new, 2)?;
                if differs(3) {
                    commands.push(command("HSET", [key.clone(), field.clone(), bytes(new, 3)?]));
                }
                // HSET takes the field's end away.
                if differs(3) || differs(4) {
                    commands.extend(field_end(&key, &field, ms(new, 4)?));
                }
                if !differs(3) && ms(new, 4)?.is_none() && ms(old, 4)?.is_some() {
                    let one = [key.clone(), b"FIELDS".to_vec(), b"1".to_vec(), field];
                    commands.push(command("HPERSIST", one));
                }
                5
            }
            KeyTable::Lists => {
                if differs(3) {
                    let at = match new.get(2) {
                        Some(Value::Int8(at)) => digits(*at),
                        _ => return Err(null("position")),
                    };
                    commands.push(command("LSET", [key.clone(), at, bytes(new, 3)?]));
                }
                4
            }
            KeyTable::Sets => 3,
            KeyTable::SortedSets => {
                if differs(4) {
                    commands.push(command("ZADD", [key.clone(), float(new, 4)?, bytes(new, 3)?]));
                }
                5
            }
            KeyTable::Samples => {
                if differs(3) {
                    let at = digits(ms(new, 2)?.unwrap_or_default());
                    let (on, last) = (b"ON_DUPLICATE".to_vec(), b"LAST".to_vec());
                    commands.push(command("TS.ADD", [key, at, float(new, 3)?, on, last]));
                }
                return Ok(commands);
            }
            KeyTable::Streams | KeyTable::Series | KeyTable::IdempotencyKeys => {
                return Err(self.unsupported("UPDATE of"));
            }
        };
        let wanted = ms(new, end)?;
        if differs(end) && wanted != held.expire_at {
            commands.push(match wanted {
                Some(at) => command("PEXPIREAT", [key, digits(at)]),
                None => command("PERSIST", [key]),
            });
        }
        Ok(commands)
    }

    /// The command that gives a key another name.
    ///
    /// # Errors
    /// `23502` without a key.
    pub fn rename(self, old: &[Value], new: &[Value]) -> SqlResult<Arguments> {
        Ok(command("RENAME", [bytes(old, 1)?, bytes(new, 1)?]))
    }

    /// The commands that delete rows of one key, in their order.
    ///
    /// # Errors
    /// `0A000` where no command does that.
    pub fn delete(self, deleted: &Deleted<'_>) -> SqlResult<Vec<Arguments>> {
        let Deleted { rows, held, mark } = deleted;
        let key = held.key.to_vec();
        let each = |name: &str, place: usize| {
            let members = rows.iter().map(|row| bytes(row, place)).collect::<SqlResult<Vec<_>>>()?;
            let of_some = |some: &[Vec<u8>]| command(name, std::iter::once(key.clone()).chain(some.iter().cloned()));
            Ok(members.chunks(1_024).map(of_some).collect())
        };
        match (self, &held.value) {
            (KeyTable::Keys | KeyTable::Strings | KeyTable::Series, _) => Ok(vec![command("DEL", [key])]),
            (KeyTable::Hashes, Held::Hash(_)) => each("HDEL", 2),
            (KeyTable::Sets, Held::Set(_)) => each("SREM", 2),
            (KeyTable::SortedSets, Held::ZSet(_)) => each("ZREM", 3),
            (KeyTable::Lists, Held::List(list)) => {
                if rows.len() == list.len() {
                    return Ok(vec![command("DEL", [key])]);
                }
                // No command deletes by position: what goes is marked first.
                let position = |row: &Row| match row.get(2) {
                    Some(Value::Int8(at)) => Ok(digits(*at)),
                    _ => Err(null("position")),
                };
                let mut commands = Vec::with_capacity(rows.len() + 1);
                for row in *rows {
                    commands.push(command("LSET", [key.clone(), position(row)?, mark.to_vec()]));
                }
                commands.push(command("LREM", [key, digits(0), mark.to_vec()]));
                Ok(commands)
            }
            (KeyTable::Samples, Held::Series(series)) => {
                let mut times = Vec::with_capacity(rows.len());
                for row in *rows {
                    times.extend(ms(row, 2)?);
                }
                times.sort_unstable();
                let (Some(first), Some(last)) = (times.first(), times.last()) else { return Ok(Vec::new()) };
                // Samples that stand side by side go in one command.
                let mut runs: Vec<(i64, i64)> = Vec::new();
                let mut joined = false;
                series.visit(*first, *last, false, |sample| {
                    let goes = times.binary_search(&sample.time).is_ok();
                    match runs.last_mut() {
                        Some(run) if goes && joined => run.1 = sample.time,
                        _ if goes => runs.push((sample.time, sample.time)),
                        _ => {}
                    }
                    joined = goes;
                    true
                });
                let run = |(from, to): (i64, i64)| command("TS.DEL", [key.clone(), digits(from), digits(to)]);
                Ok(runs.into_iter().map(run).collect())
            }
            _ => Err(self.unsupported("DELETE from")),
        }
    }

    /// `0A000` for a kind of write that the table does not take.
    #[must_use]
    pub fn unsupported(self, what: &str) -> SqlError {
        let hint = match self {
            KeyTable::Keys => "Keys are made by rows of redis.strings, redis.hashes and the others.",
            _ => "Use the commands of Redis.",
        };
        SqlError::unsupported(format_args!("{what} redis.{}", self.name())).hint(hint)
    }

    /// `23505` for a row that is there.
    #[must_use]
    pub fn duplicate(self, row: &[Value]) -> SqlError {
        let shown = self.identity().iter().map(|at| match row.get(*at) {
            Some(Value::Text(text)) => text.clone(),
            Some(Value::Timestamptz(micros)) => format!("{} ms", micros.div_euclid(1_000)),
            _ => String::new(),
        });
        let detail = format!("({}) is already there.", shown.collect::<Vec<_>>().join(", "));
        let message = format!("duplicate key value violates the identity of rows of redis.{}", self.name());
        SqlError::new(SqlState::UniqueViolation, message).detail(detail)
    }

    /// A row as the keyspace keeps it: times are milliseconds, and numbers of the column's type.
    pub fn settle(self, row: &mut [Value]) {
        let place = match self {
            KeyTable::Lists => Some(2),
            KeyTable::Samples => Some(3),
            KeyTable::SortedSets => Some(4),
            _ => None,
        };
        if let Some(value) = place.and_then(|place| row.get_mut(place)) {
            let whole = match value {
                Value::Int2(value) => Some(i64::from(*value)),
                Value::Int4(value) => Some(i64::from(*value)),
                Value::Int8(value) => Some(*value),
                _ => None,
            };
            *value = match (self, whole, &*value) {
                (KeyTable::Lists, Some(whole), _) => Value::Int8(whole),
                (_, Some(whole), _) => Value::Float8(whole as f64),
                (_, None, Value::Float4(value)) => Value::Float8(f64::from(*value)),
                (_, None, value) => value.clone(),
            };
        }
        for value in row.iter_mut() {
            if let Value::Timestamptz(micros) = value {
                *micros = micros.div_euclid(1_000).saturating_mul(1_000);
            }
        }
    }
}

fn shown(key: &[u8]) -> String {
    text(key).as_str().unwrap_or_default().to_owned()
}

fn null(column: &str) -> SqlError {
    SqlError::new(SqlState::NotNullViolation, format!("null value in column \"{column}\""))
}

fn command(name: &str, args: impl IntoIterator<Item = Vec<u8>>) -> Arguments {
    std::iter::once(Bytes::copy_from_slice(name.as_bytes())).chain(args.into_iter().map(Bytes::from)).collect()
}

fn set(key: &[u8], row: &[Value]) -> SqlResult<Arguments> {
    let mut args = command("SET", [key.to_vec(), bytes(row, 2)?]);
    if let Some(end) = ms(row, 3)? {
        args.extend([Bytes::from_static(b"PXAT"), Bytes::from(digits(end))]);
    }
    Ok(args)
}

fn field_end(key: &[u8], field: &[u8], end: Option<i64>) -> Option<Arguments> {
    let end = digits(end?);
    Some(command("HPEXPIREAT", [key.to_vec(), end, b"FIELDS".to_vec(), b"1".to_vec(), field.to_vec()]))
}

fn bytes(row: &[Value], place: usize) -> SqlResult<Vec<u8>> {
    match row.get(place) {
        Some(Value::Text(text)) => Ok(key_bytes(text)),
        _ => Err(null("of the identity")),
    }
}

/// A time in milliseconds since 1970 UTC.
fn ms(row: &[Value], place: usize) -> SqlResult<Option<i64>> {
    match row.get(place) {
        Some(Value::Timestamptz(micros)) => Ok(Some(micros.div_euclid(1_000))),
        Some(Value::Null) => Ok(None),
        other => Err(SqlError::internal(format_args!("a time that is {other:?}"))),
    }
}

fn digits(number: i64) -> Vec<u8> {
    number.to_string().into_bytes()
}

fn float(row: &[Value], place: usize) -> SqlResult<Vec<u8>> {
    match row.get(place) {
        Some(Value::Float8(value)) => Ok(format!("{value}").into_bytes()),
        other => Err(SqlError::internal(format_args!("a number that is {other:?}"))),
    }
}
