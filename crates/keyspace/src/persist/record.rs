//! What the keyspace is beside its objects, as bytes.
//!
//! ```text
//! version u8 = 2 | next incarnation | databases: count, then each: tenant, number, incarnation, live keys,
//!   series: count, then each: key, end + 1 or 0, labels: count, then each name and value
//! | dropped incarnations: count, then each | settings: count, then each name and value
//! | waiters: count, then each: index, n, origin, unit with one command
//! | parts: count, then each: origin, number, bytes
//! | when keys were made: databases: count, then each: tenant, number, see `Made`; not in version 1
//! | scripts and libraries: see `ScriptStore`
//! ```
//!
//! Numbers are varints, texts stand behind their length.

use bytes::Bytes;
use perigee_storage::companion;
use perigee_storage::kv::KvEngine;
use perigee_storage::kv::keys::Kind;
use perigee_types::Oid;
use perigee_types::row::{get_bytes, get_varint, put_bytes, put_varint};

use crate::db::{Db, Position};
use crate::made::Made;
use crate::state::{DbId, State};
use crate::unit::Unit;
use crate::waiters::Waiter;
use crate::{Indexed, StorageFault};

const VERSION: u8 = 2;

pub(crate) fn encode(state: &State) -> Vec<u8> {
    let mut out = vec![VERSION];
    put_varint(u64::from(state.next_incarnation), &mut out);
    let ids = state.db_ids();
    put_varint(ids.len() as u64, &mut out);
    for id in ids {
        let Some(db) = state.db(id) else { continue };
        put_varint(u64::from(id.tenant.0), &mut out);
        put_varint(u64::from(id.number), &mut out);
        put_varint(u64::from(db.incarnation), &mut out);
        put_varint(db.live, &mut out);
        put_varint(db.labels.len() as u64, &mut out);
        for (key, series) in db.labels.iter() {
            put_bytes(key, &mut out);
            put_varint(series.expire_at.map_or(0, |at| (at as u64).wrapping_add(1)), &mut out);
            put_varint(series.labels.len() as u64, &mut out);
            for (name, value) in &series.labels {
                put_bytes(name, &mut out);
                put_bytes(value, &mut out);
            }
        }
    }
    put_varint(state.dropped.len() as u64, &mut out);
    state.dropped.iter().for_each(|incarnation| put_varint(u64::from(*incarnation), &mut out));
    let mut settings: Vec<_> = state.settings.values.iter().collect();
    settings.sort();
    put_varint(settings.len() as u64, &mut out);
    for (name, value) in settings {
        put_bytes(name.as_bytes(), &mut out);
        put_bytes(value.as_bytes(), &mut out);
    }
    put_varint(state.waiters.len() as u64, &mut out);
    for (at, waiter) in state.waiters.iter() {
        put_varint(at.index, &mut out);
        put_varint(u64::from(at.n), &mut out);
        put_varint(waiter.origin, &mut out);
        let unit = Unit {
            db: waiter.db,
            resp3: waiter.resp3,
            client: waiter.client,
            commands: vec![waiter.command.clone()],
            ..Unit::default()
        };
        unit.encode(&mut out);
    }
    put_varint(state.parts.len() as u64, &mut out);
    for ((origin, number), bytes) in &state.parts {
        put_varint(*origin, &mut out);
        put_varint(*number, &mut out);
        put_bytes(bytes, &mut out);
    }
    put_varint(state.made.len() as u64, &mut out);
    for (id, made) in &state.made {
        put_varint(u64::from(id.tenant.0), &mut out);
        put_varint(u64::from(id.number), &mut out);
        made.encode(&mut out);
    }
    state.scripts.encode(&mut out);
    out
}

/// The state that the last checkpoint in `kv` holds, without objects: they are read when somebody wants them. An empty one
/// when there is none.
///
/// # Errors
/// [`StorageFault`]: the LSM, or damage.
pub fn restore(kv: &dyn KvEngine) -> Result<State, StorageFault> {
    let key = companion::key(Kind::Keyspace, Oid(0), b"state");
    let Some(value) = kv.get(&key)? else { return Ok(State::default()) };
    let damaged = |why| StorageFault::Damaged { key: "state of the keyspace".to_owned(), why };
    let body = companion::unseal(&value, &key).map_err(|_| damaged("the checksum does not match"))?;
    decode(body).ok_or_else(|| damaged("it is cut, or of another version"))
}

pub(crate) fn decode(bytes: &[u8]) -> Option<State> {
    let (version, mut rest) = bytes.split_first()?;
    if !(1..=VERSION).contains(version) {
        return None;
    }
    let rest = &mut rest;
    let number = |rest: &mut &[u8]| get_varint(rest).ok();
    let small = |rest: &mut &[u8]| u32::try_from(get_varint(rest).ok()?).ok();
    let text = |rest: &mut &[u8]| String::from_utf8(get_bytes(rest).ok()?.to_vec()).ok();
    let bytes_of = |rest: &mut &[u8]| get_bytes(rest).ok().map(Bytes::copy_from_slice);
    let mut state = State { next_incarnation: small(rest)?, ..State::default() };
    for _ in 0..number(rest)? {
        let id = DbId { tenant: Oid(small(rest)?), number: small(rest)? };
        let mut db = Db::new(small(rest)?);
        db.live = number(rest)?;
        db.cold = db.live;
        db.may_be_stored = true;
        for _ in 0..number(rest)? {
            let key = bytes_of(rest)?;
            let end = number(rest)?;
            let mut series = Indexed { expire_at: (end != 0).then(|| end.wrapping_sub(1) as i64), labels: Vec::new() };
            for _ in 0..number(rest)? {
                series.labels.push((bytes_of(rest)?, bytes_of(rest)?));
            }
            db.labels.put(key, series);
        }
        state.dbs.insert(id, db);
    }
    for _ in 0..number(rest)? {
        state.dropped.push(small(rest)?);
    }
    state.dropped_durable.clone_from(&state.dropped);
    for _ in 0..number(rest)? {
        let name = text(rest)?;
        state.settings.values.insert(name, text(rest)?);
    }
    for _ in 0..number(rest)? {
        let at = Position { index: number(rest)?, n: small(rest)? };
        let origin = number(rest)?;
        let mut unit = Unit::decode(rest)?;
        let command = unit.commands.pop()?;
        let keys = command.spec.keys_of(&command.args).iter().map(|(at, _)| command.args[*at].clone()).collect();
        let waiter = Waiter { db: unit.db, command, keys, resp3: unit.resp3, origin, client: unit.client };
        state.waiters.insert(at, waiter);
    }
    for _ in 0..number(rest)? {
        let name = (number(rest)?, number(rest)?);
        state.parts.insert(name, get_bytes(rest).ok()?.to_vec());
    }
    if *version > 1 {
        for _ in 0..number(rest)? {
            let id = DbId { tenant: Oid(small(rest)?), number: small(rest)? };
            state.made.insert(id, Made::decode(rest)?);
        }
    }
    state.scripts = crate::ScriptStore::decode(rest)?;
    rest.is_empty().then_some(state)
}
