//! Bytes that are not quite what was written: payloads of RESTORE, objects, states, entries of the log.

use bytes::Bytes;
use perigee_types::Oid;
use rand::Rng;
use rand::rngs::SmallRng;

use super::{Rounds, corpus, mutate, pick};
use crate::object::Value;
use crate::payload::{self, Item};
use crate::twin::Twin;
use crate::unit::{Command, Unit};
use crate::{DbId, Ran, rdb};

/// Objects of all kinds and encodings.
fn objects() -> Vec<Value> {
    let mut twin = Twin::new();
    twin.check(
        r#"
        SET s1 12345
        SET s2 "some text with \x00 bytes"
        RPUSH l1 1 2 3 a b c 100000 -70000
        SADD s3 1 2 3
        SADD s4 1 b c
        ZADD z1 1 a 2 b inf c -inf d 1.5 e
        HSET h1 a 1 b 2
        HSET h2 a 1 b 2
        HPEXPIRE h2 100000 FIELDS 1 a
        XADD x1 1-1 a 1 b 2
        XADD x1 2-1 a 1 b 2
        XADD x1 2-2 c 1
        XGROUP CREATE x1 g 0
        XREADGROUP GROUP g me COUNT 2 STREAMS x1 >
        TS.CREATE t1 LABELS a b RETENTION 100000
        TS.ADD t1 1000 1.5
        TS.ADD t1 2000 2.5
        PFADD p1 a b c d
        SETBIT b1 1000 1
        "#,
    );
    for number in 0..600 {
        twin.line(&format!("RPUSH l2 {}", "x".repeat(number % 90)));
        twin.line(&format!("SADD s5 member:{number}"));
        twin.line(&format!("SADD s6 {number}"));
        twin.line(&format!("ZADD z2 {number} member:{number}"));
        twin.line(&format!("HSET h3 field:{number} {number}"));
        twin.line(&format!("XADD x2 {number}-1 a {number} b x"));
        twin.line(&format!("TS.ADD t2 {number}000 {number}.5"));
    }
    let id = twin.context.db;
    twin.state.db(id).unwrap().entries().filter_map(|entry| entry.value.clone()).collect()
}

/// Bodies as Redis and as this writes them, without their ends.
fn bodies() -> Vec<Vec<u8>> {
    let known = rdb::tests::payloads();
    let own = objects().into_iter().filter_map(|value| rdb::dump(&value, 1_704_067_200_000));
    let without_end = |mut payload: Vec<u8>| {
        payload.truncate(payload.len().saturating_sub(10));
        payload
    };
    known.into_iter().chain(own).map(without_end).collect()
}

#[test]
fn payloads_of_restore_do_no_harm() {
    let (bodies, lines) = (bodies(), corpus());
    let mut rounds = Rounds::new("payloads", 3_000);
    let mut twin = Twin::new();
    let mut taken = 0_u64;
    while let Some(mut random) = rounds.next() {
        let mut body = pick(&mut random, &bodies).clone();
        if random.random_bool(0.1) && !body.is_empty() {
            // Another type's bytes.
            body[0] = random.random_range(0..27);
        }
        if random.random_bool(0.2) {
            let other = pick(&mut random, &bodies);
            body.truncate(random.random_range(0..=body.len()));
            body.extend_from_slice(&other[random.random_range(0..=other.len())..]);
        }
        mutate(&mut random, &mut body);
        let payload = rdb::tests::sealed(&body);
        let what = || format!("RESTORE {}", hex::encode(&payload));
        let ran = rounds.step(&payload, what, || twin.run(&[&b"RESTORE"[..], b"k", b"0", &payload, b"REPLACE"]));
        if matches!(ran, Some(Ran::Reply(reply)) if !reply.is_error()) {
            taken += 1;
            // What was taken is an object like any other.
            let ran = rounds.step(&payload, what, || {
                let Some(entry) = twin.state.db(twin.context.db).and_then(|db| db.entry(b"k")) else { return Ok(()) };
                let Some(value) = &entry.value else { return Ok(()) };
                let mut bytes = Vec::new();
                value.encode(&mut bytes);
                let again = Value::decode(&bytes).ok_or("is not read again")?;
                if again.encoding() != value.encoding() {
                    return Err("has another encoding when it is read again");
                }
                let dumped = rdb::dump(value, twin.context.now).ok_or("has no DUMP")?;
                rdb::restore(&dumped, &twin.state, twin.context.now).map(drop).map_err(|_| "is not restored again")
            });
            if let Some(Err(why)) = ran {
                rounds.failures.push(format!("round {}: {why}: {}", rounds.begun, what()));
            }
            for _ in 0..4 {
                let mut args = command_about(&mut random, &lines, &twin);
                args.get_mut(1).into_iter().for_each(|key| *key = b"k".to_vec());
                let what = || {
                    format!(
                        "{}\n  {}",
                        what(),
                        args.iter().map(|arg| arg.escape_ascii().to_string()).collect::<Vec<_>>().join(" ")
                    )
                };
                rounds.step(&payload, what, || twin.run(&args));
            }
        }
        if rounds.begun.is_multiple_of(200) {
            twin = Twin::new();
        }
    }
    rounds.end(&format!("{taken} taken"));
}

/// A line about an object of the type that `k` has.
fn command_about(random: &mut SmallRng, lines: &[Vec<Vec<u8>>], twin: &Twin) -> Vec<Vec<u8>> {
    let entry = twin.state.db(twin.context.db).and_then(|db| db.entry(b"k"));
    let first: &[u8] = match entry.and_then(|entry| entry.value.as_ref()).map(Value::type_name) {
        Some("list") => b"LR",
        Some("set") => b"S",
        Some("zset") => b"Z",
        Some("hash") => b"H",
        Some("stream") => b"X",
        _ => b"GSAIBP",
    };
    for _ in 0..50 {
        let line = pick(random, lines);
        if line.len() > 1 && first.contains(&line[0].first().copied().unwrap_or(0).to_ascii_uppercase()) {
            return line.clone();
        }
    }
    vec![b"TYPE".to_vec(), b"k".to_vec()]
}

#[test]
fn objects_that_are_damaged_are_not_read() {
    let objects = objects();
    let mut rounds = Rounds::new("objects", 5_000);
    let mut read = 0_u64;
    while let Some(mut random) = rounds.next() {
        let mut bytes = Vec::new();
        pick(&mut random, &objects).encode(&mut bytes);
        mutate(&mut random, &mut bytes);
        let what = || hex::encode(&bytes);
        let value = rounds.step(&bytes, what, || Value::decode(&bytes)).flatten();
        if let Some(value) = value {
            read += 1;
            rounds.step(&bytes, what, || {
                let mut out = Vec::new();
                value.encode(&mut out);
                (out.len(), value.memory(), value.encoding(), value.is_empty(), value.first_end())
            });
        }
    }
    rounds.end(&format!("{read} read all the same"));
}

/// A state with something of everything in it, as a checkpoint writes it.
fn state() -> Vec<u8> {
    let mut twin = Twin::new();
    twin.check(
        r#"
        SET a 1
        EVAL "return 1" 0
        SCRIPT LOAD "return 2"
        TS.CREATE t LABELS a b c d
        "#,
    );
    twin.context.db.number = 3;
    twin.check("TS.CREATE t LABELS e f");
    let library = "#!lua name=lib\nredis.register_function('f', function(keys, args) return 1 end)";
    twin.run(&["FUNCTION", "LOAD", library]);
    twin.state.settings.values.insert("hash-max-listpack-entries".to_owned(), "5".to_owned());
    twin.state.dropped.push(7);
    twin.state.parts.insert((1, 2), b"part".to_vec());
    crate::persist::encode_state(&twin.state)
}

#[test]
fn states_that_are_damaged_are_not_read() {
    let state = state();
    let mut rounds = Rounds::new("states", 3_000);
    let mut read = 0_u64;
    while let Some(mut random) = rounds.next() {
        let mut bytes = state.clone();
        mutate(&mut random, &mut bytes);
        let found = rounds.step(&bytes, || hex::encode(&bytes), || crate::persist::decode_state(&bytes).is_some());
        read += u64::from(found == Some(true));
    }
    rounds.end(&format!("{read} read all the same"));
}

#[test]
fn entries_that_are_damaged_are_not_read() {
    let lines = corpus();
    let mut rounds = Rounds::new("entries", 5_000);
    let mut read = 0_u64;
    while let Some(mut random) = rounds.next() {
        let commands: Vec<Command> = (0..random.random_range(1..4))
            .filter_map(|_| {
                let args: Vec<Bytes> = pick(&mut random, &lines).iter().map(|arg| Bytes::from(arg.clone())).collect();
                let spec = crate::command::find(args.first()?)?.resolve(&args)?;
                Some(Command { spec, args })
            })
            .collect();
        let db = DbId { tenant: Oid(5), number: 0 };
        let unit = Unit { db, transaction: random.random(), commands, ..Unit::default() };
        let mut fields = payload::encode_units(1, [Item::Unit(unit)].iter());
        mutate(&mut random, &mut fields);
        let found = rounds.step(&fields, || hex::encode(&fields), || payload::decode_units(&fields));
        read += u64::from(matches!(found, Some(Some(_))));
    }
    rounds.end(&format!("{read} read all the same"));
}
