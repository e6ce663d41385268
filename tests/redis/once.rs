//! What was acknowledged is there, once: samples in pipelines, and commands that are sent again with their idempotency key.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use perigee_testkit::resp::{Connection, Value, command};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use crate::durability::kills;
use crate::{PATIENCE, connect, server};

const BATCH: u64 = 20;

/// The next number of each writer: all before it were acknowledged.
#[derive(Default)]
struct Next {
    samples: AtomicU64,
    counted: AtomicU64,
    listed: AtomicU64,
}

#[test]
fn kills_lose_nothing_and_retries_count_once() {
    let options = perigee_tests::options().env("PERIGEE_STORAGE__CHECKPOINT_SIZE", "1MB").with_redis();
    let mut server = options.start().unwrap();
    let next = Next::default();
    let mut random = StdRng::seed_from_u64(8);
    for kill in 0..kills() {
        let address = server.redis();
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            for write in [samples, counts, lists] {
                let (next, stop) = (&next, &stop);
                // A writer ends when its connection does, or with a reply that is not the first one's.
                scope.spawn(move || write(address, next, stop));
            }
            thread::sleep(Duration::from_millis(random.random_range(100..600)));
            server.kill();
            stop.store(true, Ordering::Relaxed);
        });
        server.restart().unwrap();
        check(&mut connect(&server), &next).unwrap_or_else(|wrong| panic!("after kill {kill}: {wrong}"));
    }
    // What was in flight at the last kill is sent once more, to its end.
    let stop = AtomicBool::new(true);
    counts(server.redis(), &next, &stop);
    lists(server.redis(), &next, &stop);
    let [samples, counted, listed] =
        [&next.samples, &next.counted, &next.listed].map(|next| next.load(Ordering::Relaxed));
    println!("acknowledged: {samples} samples, {counted} counts, {listed} elements with idempotency keys");
    assert!(samples > 0 && counted > 0 && listed > 0, "a load did nothing");
    let mut connection = connect(&server);
    assert_eq!(connection.line("GET once:count"), Value::Bulk(counted.to_string().into_bytes()));
    assert_eq!(connection.line("LLEN once:list"), Value::Integer(listed.cast_signed()));
    check(&mut connection, &next).unwrap();
}

/// Sends batches of commands; `take` says whether a reply is right. Ends with the connection, or behind a batch.
fn batches(
    address: SocketAddr,
    next: &AtomicU64,
    stop: &AtomicBool,
    make: impl Fn(u64) -> Vec<u8>,
    right: impl Fn(u64, &Value) -> bool,
) {
    let Ok(mut connection) = Connection::open(address, PATIENCE) else { return };
    loop {
        let first = next.load(Ordering::Relaxed);
        let lines: Vec<u8> = (first..first + BATCH).flat_map(&make).collect();
        if connection.send(&lines).is_err() {
            return;
        }
        for number in first..first + BATCH {
            let reply = connection.receive();
            if reply.is_end() {
                return;
            }
            assert!(right(number, &reply), "number {number}: {reply}");
            next.store(number + 1, Ordering::Relaxed);
        }
        if stop.load(Ordering::Relaxed) {
            return;
        }
    }
}

/// A series whose samples stand at 1, 2, 3, … and are their own values. Who begins again looks where it is: without a key
/// a sample that is sent twice would be one that is there.
fn samples(address: SocketAddr, next: &Next, stop: &AtomicBool) {
    let Ok(mut connection) = Connection::open(address, PATIENCE) else { return };
    if let Value::Array(last) = connection.line("TS.GET series")
        && let Some(Value::Integer(last)) = last.first()
    {
        next.samples.store(last.unsigned_abs(), Ordering::Relaxed);
    }
    let make = |number: u64| {
        let at = (number + 1).to_string();
        command(&["TS.ADD", "series", &at, &at, "ON_DUPLICATE", "BLOCK"])
    };
    batches(address, &next.samples, stop, make, |number, reply| *reply == Value::Integer(number.cast_signed() + 1));
}

fn counts(address: SocketAddr, next: &Next, stop: &AtomicBool) {
    let make = |number: u64| command(&["PERIGEE.ONCE", &format!("count:{number}"), "INCR", "once:count"]);
    batches(address, &next.counted, stop, make, |number, reply| *reply == Value::Integer(number.cast_signed() + 1));
}

/// The same, where a second run would show in the list; each in a transaction with a plain command.
fn lists(address: SocketAddr, next: &Next, stop: &AtomicBool) {
    let make = |number: u64| {
        let text = number.to_string();
        let key = format!("list:{number}");
        [
            command(&["MULTI"]),
            command(&["PERIGEE.ONCE", &key, "RPUSH", "once:list", &text]),
            command(&["SET", "once:last", &text]),
            command(&["EXEC"]),
        ]
        .concat()
    };
    let Ok(mut connection) = Connection::open(address, PATIENCE) else { return };
    loop {
        let number = next.listed.load(Ordering::Relaxed);
        if connection.send(&make(number)).is_err() {
            return;
        }
        let replies: Vec<Value> = (0..4).map(|_| connection.receive()).collect();
        match &replies[3] {
            Value::Array(items) => assert_eq!(items[0], Value::Integer(number.cast_signed() + 1), "{replies:?}"),
            reply if reply.is_end() => return,
            reply => panic!("{reply}"),
        }
        next.listed.store(number + 1, Ordering::Relaxed);
        if stop.load(Ordering::Relaxed) {
            return;
        }
    }
}

fn check(connection: &mut Connection, next: &Next) -> Result<(), String> {
    let within = |what: &str, count: u64, next: &AtomicU64, most: u64| {
        let acknowledged = next.load(Ordering::Relaxed);
        let fine = (acknowledged..=acknowledged + most).contains(&count);
        if fine { Ok(()) } else { Err(format!("{what}: {count} are there, {acknowledged} were acknowledged")) }
    };
    let range = connection.line("TS.RANGE series - +");
    let range = range.items().ok_or_else(|| format!("TS.RANGE: {range}"))?;
    for (sample, at) in range.iter().zip(1_i64..) {
        let pair = sample.items().unwrap_or_default();
        let value = pair.get(1).and_then(Value::bytes).unwrap_or_default();
        if pair.first() != Some(&Value::Integer(at)) || value != at.to_string().into_bytes() {
            return Err(format!("{sample} where sample {at} should be"));
        }
    }
    within("samples", range.len() as u64, &next.samples, BATCH)?;
    let count = match connection.line("GET once:count") {
        Value::NullBulk => 0,
        reply => reply.bytes().and_then(|text| String::from_utf8(text).ok()?.parse().ok()).unwrap_or(u64::MAX),
    };
    within("counts", count, &next.counted, BATCH)?;
    let list = connection.line("LRANGE once:list 0 -1");
    let list = list.items().ok_or_else(|| format!("LRANGE: {list}"))?;
    for (item, number) in list.iter().zip(0_u64..) {
        if item.bytes() != Some(number.to_string().into_bytes()) {
            return Err(format!("{item} where {number} should be"));
        }
    }
    within("list", list.len() as u64, &next.listed, 1)
}

#[test]
fn many_who_say_one_key_run_it_once() {
    const CLIENTS: usize = 8;
    let mut server = server();
    let address = server.redis();
    for round in 0..20 {
        let key = format!("round:{round}");
        let replies: Vec<Value> = thread::scope(|scope| {
            let ask = || Connection::open(address, PATIENCE).unwrap().ask(&["PERIGEE.ONCE", &key, "INCRBY", "n", "5"]);
            let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(ask)).collect();
            clients.into_iter().map(|client| client.join().unwrap()).collect()
        });
        assert_eq!(replies, vec![Value::Integer(5 * (round + 1)); CLIENTS]);
    }
    server.kill();
    server.restart().unwrap();
    let mut connection = connect(&server);
    assert_eq!(connection.line("PERIGEE.ONCE round:3 INCRBY n 5"), Value::Integer(20));
    assert_eq!(connection.line("GET n"), Value::Bulk(b"100".to_vec()));
    let reply = connection.line("PERIGEE.ONCE round:3 INCRBY n 6").to_string();
    assert!(reply.contains("said with another command"), "{reply}");
    let reply = connection.line("PERIGEE.ONCE other COMMAND COUNT").to_string();
    assert!(reply.contains("ERR PERIGEE.ONCE cannot run"), "{reply}");
    // FLUSHALL takes data, not what has run.
    assert_eq!(connection.line("FLUSHALL"), Value::Status("OK".to_owned()));
    assert_eq!(connection.line("PERIGEE.ONCE round:3 INCRBY n 5"), Value::Integer(20));
    assert_eq!(connection.line("EXISTS n"), Value::Integer(0));
    let reply = connection.ask(&["SQL", "SELECT key, database FROM perigee.idempotency_keys WHERE key = 'round:3'"]);
    let row = reply.items().unwrap()[1].items().unwrap();
    assert_eq!(row, [Value::Bulk(b"round:3".to_vec()), Value::Integer(0)]);
}

#[test]
fn parameters_of_the_keyspace_stay_and_those_of_the_process_go() {
    let mut server = server();
    let mut connection = connect(&server);
    let set = "CONFIG SET notify-keyspace-events KEA maxmemory 1000mb hash-max-listpack-entries 3 \
               idempotency-key-ttl 77 proto-max-bulk-len 2000000 slowlog-max-len 7";
    assert_eq!(connection.line(set), Value::Status("OK".to_owned()));
    assert!(connection.line("CONFIG REWRITE").to_string().contains("writes no file"));
    server.kill();
    server.restart().unwrap();
    let mut connection = connect(&server);
    for (name, want) in [
        ("notify-keyspace-events", "AKE"),
        ("maxmemory", "1048576000"),
        ("hash-max-listpack-entries", "3"),
        ("idempotency-key-ttl", "77"),
        ("slowlog-max-len", "128"),
    ] {
        let reply = connection.ask(&["CONFIG", "GET", name]);
        assert_eq!(reply.items().unwrap()[1], Value::Bulk(want.as_bytes().to_vec()), "{name}");
    }
    // And they have effect: events are told, encodings change, limits hold.
    let mut listener = connect(&server);
    listener.line("SUBSCRIBE __keyevent@0__:set");
    assert_eq!(connection.line("SET k v"), Value::Status("OK".to_owned()));
    assert_eq!(listener.receive().items().unwrap()[2], Value::Bulk(b"k".to_vec()));
    connection.line("HSET h a 1 b 2 c 3 d 4");
    assert_eq!(connection.line("OBJECT ENCODING h"), Value::Bulk(b"hashtable".to_vec()));
    let reply = connection.ask(&["SET", "k", &"x".repeat(2_000_001)]).to_string();
    assert!(reply.contains("invalid bulk length"), "{reply}");
}
