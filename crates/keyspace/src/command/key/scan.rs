//! SCAN, KEYS, RANDOMKEY: walks over a database in the order of its keys' hashes.
//!
//! A cursor is the upper bits of a hash. So a walk meets every key that stays, whatever comes, goes, is evicted or loaded
//! meanwhile, and comes to the same keys on every node.

use bytes::Bytes;

use crate::args::{Cursor, is};
use crate::db::hash_of;
use crate::glob;
use crate::object::Value;
use crate::spec::{Category, Flags, Group, Run, Spec};
use crate::{Error, Reader, Reply, Result};

/// SCAN
pub(super) static SCAN: Spec = Spec {
    name: "scan",
    arity: -2,
    flags: Flags::READONLY,
    category: Category::KEYSPACE,
    group: Group::Generic,
    since: "2.8.0",
    summary: "Walks over the keys of the database",
    run: Run::Read(scan),
    ..Spec::DEFAULT
};
/// KEYS
pub(super) static KEYS: Spec = Spec {
    name: "keys",
    arity: 2,
    flags: Flags::READONLY,
    category: Category::KEYSPACE.union(Category::DANGEROUS),
    group: Group::Generic,
    since: "1.0.0",
    summary: "The keys of the database that match a pattern",
    run: Run::Read(keys),
    ..Spec::DEFAULT
};
/// RANDOMKEY
pub(super) static RANDOMKEY: Spec = Spec {
    name: "randomkey",
    arity: 1,
    flags: Flags::READONLY,
    category: Category::KEYSPACE,
    group: Group::Generic,
    since: "1.0.0",
    summary: "One key of the database",
    run: Run::Read(randomkey),
    ..Spec::DEFAULT
};

/// Cursors have 53 bits, so that they are exact where numbers are doubles.
const CURSOR_SHIFT: u32 = 11;
/// Keys of one step of KEYS and RANDOMKEY.
const STEP_KEYS: usize = 512;
const CHOICE_KEYS: usize = 32;

/// A key that a walk meets, also one whose time is over.
struct Met {
    cursor: u64,
    key: Bytes,
    type_name: &'static str,
    lives: bool,
}

/// About `count` keys from a cursor on, all of one cursor together, and the next cursor; zero at the end.
fn walk(reader: &Reader<'_>, cursor: u64, count: usize) -> Result<(Vec<Met>, u64)> {
    let Some(db) = reader.db().filter(|db| !db.is_empty()) else { return Ok((Vec::new(), 0)) };
    if cursor > u64::MAX >> CURSOR_SHIFT {
        return Ok((Vec::new(), 0));
    }
    // What is not in memory has no buckets: about as many keys at a time as are wanted.
    let wanted = count.min(STEP_KEYS) as u64 + 1;
    let stride = (u64::MAX / db.len()).saturating_mul(wanted) >> CURSOR_SHIFT << CURSOR_SHIFT;
    let stride = stride.max(1 << CURSOR_SHIFT);
    let lives = |end: Option<i64>| end.is_none_or(|at| at > reader.now());
    let mut met: Vec<Met> = Vec::new();
    let mut from = Some(cursor << CURSOR_SHIFT);
    while let Some(at) = from.filter(|_| met.len() <= count) {
        let (entries, bucket_end) = db.bucket_from(at);
        let to = match (bucket_end, at.checked_add(stride)) {
            (Some(end), Some(stride_end)) => Some(end.min(stride_end)),
            (end, stride_end) => end.or(stride_end),
        };
        let known = met.len();
        for entry in entries {
            let (hash, value) = (hash_of(&entry.key), entry.value.as_ref());
            if let Some(value) = value.filter(|_| hash >= at && to.is_none_or(|to| hash < to)) {
                met.push(Met {
                    cursor: hash >> CURSOR_SHIFT,
                    key: Bytes::copy_from_slice(&entry.key),
                    type_name: Value::type_name(value),
                    lives: lives(entry.expire_at()),
                });
            }
        }
        met.extend(reader.cold_keys(db, at, to)?.into_iter().map(|(key, end, type_name)| Met {
            cursor: hash_of(&key) >> CURSOR_SHIFT,
            key: Bytes::from(key),
            type_name,
            lives: lives(end),
        }));
        met[known..].sort_unstable_by(|one, other| (one.cursor, &one.key).cmp(&(other.cursor, &other.key)));
        from = to;
    }
    let mut cut = count.min(met.len());
    while cut > 0 && met.get(cut).is_some_and(|next| next.cursor == met[cut - 1].cursor) {
        cut += 1;
    }
    let next = met.get(cut).map_or(0, |next| next.cursor);
    met.truncate(cut);
    Ok((met, next))
}

fn scan(reader: &Reader<'_>, args: &[Bytes]) -> Result<Reply> {
    // A negative one wraps around, as C reads it: it is behind the end.
    let text = std::str::from_utf8(&args[1]).ok();
    let cursor = text.and_then(|text| text.parse().ok().or_else(|| text.parse().ok().map(i64::cast_unsigned)));
    let cursor = cursor.ok_or(Error::reply("ERR invalid cursor"))?;
    let (mut pattern, mut count, mut type_name) = (None, 10, None);
    let mut rest = Cursor::new(&args[2..]);
    while !rest.is_empty() {
        if rest.rest().len() > 1 && rest.take("count") {
            count = usize::try_from(rest.integer()?).ok().filter(|count| *count > 0).ok_or(Error::SYNTAX)?;
        } else if rest.rest().len() > 1 && rest.take("match") {
            pattern = rest.next();
        } else if rest.rest().len() > 1 && rest.take("type") {
            type_name = rest.next();
        } else {
            return Err(Error::SYNTAX);
        }
    }
    let (met, next) = walk(reader, cursor, count)?;
    let wanted = |met: &Met| {
        met.lives
            && pattern.is_none_or(|pattern| glob::matches(pattern, &met.key))
            && type_name.is_none_or(|name| name.eq_ignore_ascii_case(met.type_name.as_bytes()))
    };
    let keys = met.into_iter().filter(wanted).map(|met| Reply::Bulk(met.key)).collect();
    Ok(Reply::Array(vec![Reply::bulk(next.to_string()), Reply::Array(keys)]))
}

fn keys(reader: &Reader<'_>, args: &[Bytes]) -> Result<Reply> {
    let all = is(&args[1], "*");
    let (mut keys, mut cursor) = (Vec::new(), 0);
    loop {
        let (met, next) = walk(reader, cursor, STEP_KEYS)?;
        let wanted = met.into_iter().filter(|met| met.lives && (all || glob::matches(&args[1], &met.key)));
        keys.extend(wanted.map(|met| Reply::Bulk(met.key)));
        if next == 0 {
            return Ok(Reply::Array(keys));
        }
        cursor = next;
    }
}

fn randomkey(reader: &Reader<'_>, _args: &[Bytes]) -> Result<Reply> {
    let Some(db) = reader.db() else { return Ok(Reply::Null) };
    let random = reader.context.random.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let random = (random ^ (random >> 31)).wrapping_mul(0x94d0_49bb_1331_11eb);
    // Few keys are all of them candidates; of many, some that stand together anywhere.
    let start = if db.len() <= CHOICE_KEYS as u64 { 0 } else { random >> CURSOR_SHIFT };
    let (mut cursor, mut wrapped) = (start, false);
    loop {
        let (mut met, next) = walk(reader, cursor, CHOICE_KEYS)?;
        met.retain(|met| met.lives);
        if !met.is_empty() {
            let chosen = (random ^ (random >> 29)) as usize % met.len();
            return Ok(Reply::Bulk(met.swap_remove(chosen).key));
        }
        let all_seen = if next == 0 { wrapped || start == 0 } else { wrapped && next > start };
        if all_seen {
            return Ok(Reply::Null);
        }
        wrapped |= next == 0;
        cursor = next;
    }
}
