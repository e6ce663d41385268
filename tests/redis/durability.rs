//! What was acknowledged is there, once; what one connection has written it reads; transactions are seen whole.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use perigee_testkit::resp::{Connection, Value, command};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use crate::{PATIENCE, connect, server};

const KILLS: usize = 5;
const BATCH: u64 = 20;
/// What a connection had sent and not heard of when the node was killed.
const IN_FLIGHT_MAX: u64 = BATCH;

/// How many kills: `PERIGEE_REDIS_KILLS`, which `make integration` sets.
pub(crate) fn kills() -> usize {
    std::env::var("PERIGEE_REDIS_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(KILLS)
}

/// What the node has acknowledged to each writer.
#[derive(Default)]
struct Acknowledged {
    pipeline: AtomicU64,
    transaction: AtomicU64,
    script: AtomicU64,
    expiry: AtomicU64,
}

#[test]
fn kills_lose_nothing_and_repeat_nothing() {
    // Small checkpoints, so that kills meet some.
    let options = perigee_tests::options().env("PERIGEE_STORAGE__CHECKPOINT_SIZE", "1MB").with_redis();
    let mut server = options.start().unwrap();
    let acknowledged = Acknowledged::default();
    let mut random = StdRng::seed_from_u64(5);
    for kill in 0..kills() {
        let address = server.redis();
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            for write in [pipelines, transactions, scripts, expiries] {
                let (acknowledged, stop) = (&acknowledged, &stop);
                // A writer ends when its connection does.
                scope.spawn(move || write(address, acknowledged, stop).unwrap_or_default());
            }
            thread::sleep(Duration::from_millis(random.random_range(100..600)));
            server.kill();
            stop.store(true, Ordering::Relaxed);
        });
        server.restart().unwrap();
        check(&mut connect(&server), &acknowledged).unwrap_or_else(|wrong| panic!("after kill {kill}: {wrong}"));
    }
    let counts = [&acknowledged.pipeline, &acknowledged.transaction, &acknowledged.script, &acknowledged.expiry];
    let counts = counts.map(|count| count.load(Ordering::Relaxed));
    println!("acknowledged: {counts:?} elements, transactions, scripts, keys that expire");
    assert!(counts.iter().all(|count| *count > 0), "a load did nothing");
}

fn integer(value: &Value) -> Option<u64> {
    String::from_utf8(value.bytes()?).ok()?.parse().ok()
}

/// The next number: one behind the length of what is there.
fn next(connection: &mut Connection, line: &str) -> Option<u64> {
    match connection.line(line) {
        Value::NullBulk => Some(0),
        value => integer(&value),
    }
}

/// Numbers in order into a list, many in flight.
fn pipelines(address: SocketAddr, acknowledged: &Acknowledged, stop: &AtomicBool) -> Option<()> {
    let mut connection = Connection::open(address, PATIENCE).ok()?;
    let mut number = next(&mut connection, "LLEN pipeline")?;
    while !stop.load(Ordering::Relaxed) {
        let batch = (number..number + BATCH).flat_map(|number| command(&["RPUSH", "pipeline", &number.to_string()]));
        connection.send(&batch.collect::<Vec<u8>>()).ok()?;
        for _ in 0..BATCH {
            number += 1;
            if connection.receive() != Value::Integer(number.cast_signed()) {
                return None;
            }
            acknowledged.pipeline.store(number, Ordering::Relaxed);
        }
    }
    Some(())
}

/// One number in three places.
fn transactions(address: SocketAddr, acknowledged: &Acknowledged, stop: &AtomicBool) -> Option<()> {
    let mut connection = Connection::open(address, PATIENCE).ok()?;
    let mut number = next(&mut connection, "GET tx:count")?;
    while !stop.load(Ordering::Relaxed) {
        let text = number.to_string();
        let lines: [&[&str]; 5] = [
            &["MULTI"],
            &["INCR", "tx:count"],
            &["RPUSH", "tx:list", &text],
            &["ZADD", "tx:set", &text, &text],
            &["EXEC"],
        ];
        connection.send(&lines.iter().flat_map(|line| command(line)).collect::<Vec<u8>>()).ok()?;
        let replies: Vec<Value> = lines.iter().map(|_| connection.receive()).collect();
        replies.last().and_then(Value::items)?;
        number += 1;
        acknowledged.transaction.store(number, Ordering::Relaxed);
    }
    Some(())
}

const SCRIPT: &str = "local n = redis.call('INCR', KEYS[1]) redis.call('RPUSH', KEYS[2], n) \
    redis.call('HSET', KEYS[3], n, redis.call('TIME')[1]) return n";

fn scripts(address: SocketAddr, acknowledged: &Acknowledged, stop: &AtomicBool) -> Option<()> {
    let mut connection = Connection::open(address, PATIENCE).ok()?;
    while !stop.load(Ordering::Relaxed) {
        let reply = connection.ask(&["EVAL", SCRIPT, "3", "script:count", "script:list", "script:hash"]);
        let Value::Integer(number) = reply else { return None };
        acknowledged.script.store(number.cast_unsigned(), Ordering::Relaxed);
    }
    Some(())
}

/// Keys that stay for long, and keys that are gone at once.
fn expiries(address: SocketAddr, acknowledged: &Acknowledged, stop: &AtomicBool) -> Option<()> {
    let mut connection = Connection::open(address, PATIENCE).ok()?;
    let mut number = acknowledged.expiry.load(Ordering::Relaxed);
    while !stop.load(Ordering::Relaxed) {
        for line in [
            format!("SET stays:{number} v PX 100000000"),
            format!("SET gone:{number} v PX 1"),
            format!("SADD mortal:{number} m"),
            format!("PEXPIRE mortal:{number} 1"),
        ] {
            if connection.line(&line).is_end() {
                return None;
            }
        }
        number += 1;
        acknowledged.expiry.store(number, Ordering::Relaxed);
    }
    Some(())
}

fn check(connection: &mut Connection, acknowledged: &Acknowledged) -> Result<(), String> {
    let list = |connection: &mut Connection, line: &str, first: u64| {
        let reply = connection.line(line);
        let items = reply.items().ok_or_else(|| format!("{line}: {reply}"))?;
        // In order, without a gap, each once.
        match items.iter().zip(first..).find(|(item, number)| integer(item) != Some(*number)) {
            Some((item, number)) => Err(format!("{line}: {item} where {number} should be")),
            None => Ok(items.len() as u64),
        }
    };
    let in_flight = |what: &str, count: u64, acknowledged: &AtomicU64, most: u64| {
        let acknowledged = acknowledged.load(Ordering::Relaxed);
        let fine = (acknowledged..=acknowledged + most).contains(&count);
        if fine { Ok(()) } else { Err(format!("{what}: {count} are there, {acknowledged} were acknowledged")) }
    };
    let count = list(connection, "LRANGE pipeline 0 -1", 0)?;
    in_flight("pipeline", count, &acknowledged.pipeline, IN_FLIGHT_MAX)?;
    for (name, first, first_of_list, known) in
        [("tx", "set", 0, &acknowledged.transaction), ("script", "hash", 1, &acknowledged.script)]
    {
        let count = list(connection, &format!("LRANGE {name}:list 0 -1"), first_of_list)?;
        in_flight(name, count, known, 1)?;
        let length = if first == "set" { "ZCARD" } else { "HLEN" };
        for line in [format!("GET {name}:count"), format!("{length} {name}:{first}")] {
            let other = integer(&connection.line(&line)).unwrap_or(0);
            if other != count {
                return Err(format!("{line}: {other}, but the list has {count}"));
            }
        }
    }
    for number in 0..acknowledged.expiry.load(Ordering::Relaxed) {
        for (line, want) in [
            (format!("GET stays:{number}"), Value::Bulk(b"v".to_vec())),
            (format!("EXISTS gone:{number} mortal:{number}"), Value::Integer(0)),
        ] {
            let got = connection.line(&line);
            if got != want {
                return Err(format!("{line}: {got}"));
            }
        }
        let left = connection.line(&format!("PTTL stays:{number}"));
        if !matches!(left, Value::Integer(1..=100_000_000)) {
            return Err(format!("PTTL stays:{number}: {left}"));
        }
    }
    Ok(())
}

#[test]
fn a_pipeline_reads_its_own_writes() {
    let server = server();
    let mut connection = connect(&server);
    for round in 0..20_u32 {
        let numbers = round * 50..(round + 1) * 50;
        let lines = numbers.clone().flat_map(|number| {
            let text = number.to_string();
            [command(&["SET", "k", &text]), command(&["GET", "k"]), command(&["STRLEN", "k"])].concat()
        });
        connection.send(&lines.collect::<Vec<u8>>()).unwrap();
        for number in numbers {
            let text = number.to_string();
            assert_eq!(connection.receive(), Value::Status("OK".to_owned()));
            assert_eq!(connection.receive(), Value::Bulk(text.clone().into_bytes()));
            assert_eq!(connection.receive(), Value::Integer(text.len() as i64));
        }
    }
}

#[test]
fn transactions_are_seen_whole() {
    let server = server();
    let address = server.redis();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for write in ["MULTI\r\nSET a N\r\nSET b N\r\nSET c N\r\nEXEC\r\n", "MSET a N b N c N\r\n"] {
            let done = &done;
            scope.spawn(move || {
                let mut connection = Connection::open(address, PATIENCE).unwrap();
                let replies = write.lines().count();
                let mut number = 0_u64;
                while !done.load(Ordering::Relaxed) {
                    number += 1;
                    connection.send(write.replace('N', &format!("{replies}-{number}")).as_bytes()).unwrap();
                    (0..replies).for_each(|_| drop(connection.receive()));
                }
            });
        }
        let mut connection = Connection::open(address, PATIENCE).unwrap();
        let (mut torn, mut seen) = (None, std::collections::HashSet::new());
        for _ in 0..2_000 {
            let reply = connection.line("MGET a b c");
            let items = reply.items().unwrap_or_default();
            if items.len() != 3 || items.iter().any(|item| *item != items[0]) {
                torn = Some(reply);
                break;
            }
            seen.insert(reply.to_string());
        }
        done.store(true, Ordering::Relaxed);
        assert_eq!(torn, None, "half of a transaction");
        assert!(seen.len() > 1, "nothing was written while it was read");
    });
}

#[test]
fn a_pipeline_of_ten_thousand_is_answered_in_order() {
    let server = server();
    let mut connection = connect(&server);
    let lines: Vec<u8> = (0..10_000).flat_map(|_| command(&["INCR", "count"])).collect();
    connection.send(&lines).unwrap();
    for number in 1..=10_000 {
        assert_eq!(connection.receive(), Value::Integer(number));
    }
    let mut lines: Vec<u8> = (0..10_000).flat_map(|number| command(&["SET", &format!("k{number}"), "v"])).collect();
    lines.extend(command(&["DBSIZE"]));
    connection.send(&lines).unwrap();
    for _ in 0..10_000 {
        assert_eq!(connection.receive(), Value::Status("OK".to_owned()));
    }
    assert_eq!(connection.receive(), Value::Integer(10_001));
}
