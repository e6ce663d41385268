//! Two keyspaces fed the same log: one keeps all in memory, the other is written, emptied and restarted between commands.
//! They must not differ in any reply.

use std::sync::Arc;

use bytes::Bytes;
use perigee_runtime::Runtime;
use perigee_storage::companion::{Companion, CompanionError};
use perigee_storage::kv::{KvEngine, KvError, MemKv};
use perigee_types::{Hlc, LogIndex, Oid};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::{LsmLoad, restore};
use crate::payload::{self, GONE, Header, Item, PART, SWEEP, UNITS, WHOLE};
use crate::twin::{text, words};
use crate::unit::{Command, Unit};
use crate::{Context, DbId, Due, Keyspace, State};

const DB: DbId = DbId { tenant: Oid(1), number: 0 };
const START_MS: i64 = 1_704_067_200_000;

struct Node {
    kv: Arc<MemKv>,
    keyspace: Arc<Keyspace>,
    index: u64,
    now: i64,
}

impl Node {
    fn new() -> Self {
        let kv = Arc::new(MemKv::new());
        Self { keyspace: open(&kv), kv, index: 0, now: START_MS }
    }

    fn command(&self, line: &str) -> Option<Command> {
        let args: Vec<Bytes> = words(line).into_iter().map(Bytes::from).collect();
        let spec = crate::command::find(args.first()?)?.resolve(&args)?;
        Some(Command { spec, args })
    }

    fn write(&mut self, line: &str, db: u32) {
        let Some(command) = self.command(line) else { return };
        self.index += 1;
        self.now += 10;
        let unit = Unit { db: DbId { number: db, ..DB }, commands: vec![command], ..Unit::default() };
        let fields = payload::encode_units(self.index, [Item::Unit(unit)].iter());
        let entry = payload::entry(Header { origin: 7, number: self.index, kind: UNITS }, &fields);
        let time = Hlc::from_micros(self.now as u64 * 1_000);
        self.keyspace.apply(LogIndex(self.index), time, &entry).unwrap();
        self.keyspace.publish();
    }

    fn sweep(&mut self) {
        self.index += 1;
        self.now += 10;
        let header = Header { origin: 7, number: self.index, kind: SWEEP };
        let entry = payload::entry(header, &payload::sweep(Due { until: self.now, hash: u64::MAX }));
        self.keyspace.apply(LogIndex(self.index), Hlc::from_micros(self.now as u64 * 1_000), &entry).unwrap();
        self.keyspace.publish();
    }

    fn read(&self, line: &str, db: u32) -> String {
        let Some(command) = self.command(line) else { return "unknown".to_owned() };
        let context = Context::new(DbId { number: db, ..DB }, self.now);
        let replies = self.keyspace.read(&context, &[command]).unwrap();
        replies.iter().map(text).collect()
    }

    fn checkpoint(&self, meanwhile: impl FnOnce()) {
        let frozen = self.keyspace.freeze();
        meanwhile();
        let facts = frozen.facts().into_iter().map(Ok::<_, CompanionError>);
        let mut run = facts.chain(frozen.pairs()).map(|pair| pair.map_err(|error| KvError::Run(error.0)));
        self.kv.ingest(&mut run).unwrap();
        drop(run);
        frozen.finish();
    }

    fn evict(&self) {
        self.keyspace.evict(usize::MAX);
    }

    fn restart(&mut self) {
        self.checkpoint(|| {});
        self.keyspace = open(&self.kv);
        self.keyspace.new_term();
    }
}

fn open(kv: &Arc<MemKv>) -> Arc<Keyspace> {
    let state = restore(kv.as_ref()).unwrap();
    Keyspace::new(state, Box::new(LsmLoad::new(kv.clone())), Runtime::system().clock).0
}

/// Commands over few keys, so that they meet.
fn random_write(rng: &mut SmallRng) -> String {
    let key = |rng: &mut SmallRng, kind: &str| format!("{kind}{}", rng.random_range(0..12));
    let n = |rng: &mut SmallRng| rng.random_range(0..200_u32);
    match rng.random_range(0..36) {
        0 | 1 => format!("SET {} value{}", key(rng, "s"), n(rng)),
        2 => format!("INCR {}", key(rng, "s")),
        3 => format!("APPEND {} more", key(rng, "s")),
        4 => format!("DEL {} {}", key(rng, "s"), key(rng, "z")),
        5 => format!("PEXPIRE {} {}", key(rng, "z"), n(rng)),
        6 => format!("PEXPIRE {} {}", key(rng, "s"), 500 + n(rng)),
        7..=9 => format!("ZADD {} {} member{}", key(rng, "z"), n(rng), n(rng)),
        10 => format!("ZREM {} member{}", key(rng, "z"), n(rng)),
        11 => format!("ZUNIONSTORE {} 2 {} {}", key(rng, "z"), key(rng, "z"), key(rng, "z")),
        12 | 13 => format!("HSET {} field{} value{}", key(rng, "h"), n(rng), n(rng)),
        14 => format!("HDEL {} field{}", key(rng, "h"), n(rng)),
        15 => format!("HPEXPIRE {} {} FIELDS 1 field{}", key(rng, "h"), n(rng) * 5, n(rng)),
        16 | 17 => format!("RPUSH {} item{}", key(rng, "l"), n(rng)),
        18 => format!("LPOP {}", key(rng, "l")),
        19 => format!("LMOVE {} {} LEFT RIGHT", key(rng, "l"), key(rng, "l")),
        20 | 21 => format!("SADD {} {} member{}", key(rng, "t"), n(rng), n(rng)),
        22 => format!("SPOP {}", key(rng, "t")),
        23 => format!("XADD {} * field value{}", key(rng, "x"), n(rng)),
        24 => format!("XTRIM {} MAXLEN 20", key(rng, "x")),
        25 => format!("TS.ADD {} * {} ON_DUPLICATE LAST", key(rng, "ts"), n(rng)),
        30 | 31 => {
            let (key, group) = (key(rng, "ts"), n(rng) % 3);
            format!("TS.ADD {key} {} {} ON_DUPLICATE LAST LABELS group {group}", n(rng), n(rng))
        }
        32 => format!("TS.CREATERULE {} {} AGGREGATION sum 50", key(rng, "ts"), key(rng, "ts")),
        33 => format!("TS.ALTER {} LABELS group {}", key(rng, "ts"), n(rng) % 3),
        34 if rng.random_bool(0.5) => format!("RENAME {} {}", key(rng, "ts"), key(rng, "ts")),
        34 => format!("TS.DEL {} {} {}", key(rng, "ts"), n(rng), n(rng)),
        35 if rng.random_bool(0.5) => format!("PEXPIRE {} {}", key(rng, "ts"), n(rng)),
        35 => format!("DEL {}", key(rng, "ts")),
        26 if rng.random_bool(0.3) => format!("COPY {} {} REPLACE", key(rng, "s"), key(rng, "s")),
        26 if rng.random_bool(0.3) => format!("SORT {} BY nosort STORE {}", key(rng, "z"), key(rng, "l")),
        26 if rng.random_bool(0.3) => format!("MOVE {} 1", key(rng, "s")),
        26 => format!("RENAME {} {}", key(rng, "s"), key(rng, "s")),
        27 => format!("SETBIT {} {} 1", key(rng, "b"), n(rng) * 8),
        28 if rng.random_bool(0.1) => "FLUSHDB".to_owned(),
        28 if rng.random_bool(0.1) => "SWAPDB 0 1".to_owned(),
        _ => format!("PERSIST {}", key(rng, "z")),
    }
}

fn reads() -> impl Iterator<Item = String> {
    let of = |kind: &'static str, commands: &'static [&'static str]| {
        (0..12).flat_map(move |n| commands.iter().map(move |command| command.replace('K', &format!("{kind}{n}"))))
    };
    // First those that list keys without loading them.
    let lists = ["KEYS *", "RANDOMKEY", "SCAN 0 COUNT 5 TYPE zset", "SCAN 0 COUNT 1000 MATCH s*"];
    (lists.into_iter().map(str::to_owned))
        .chain(of("s", &["GET K", "PTTL K", "OBJECT ENCODING K", "DUMP K"]))
        .chain(of("z", &["ZRANGE K 0 -1 WITHSCORES", "PTTL K", "OBJECT ENCODING K", "DUMP K", "SORT_RO K BY s*"]))
        .chain(of("h", &["HGETALL K", "OBJECT ENCODING K", "DUMP K"]))
        .chain(of("l", &["LRANGE K 0 -1", "DUMP K"]))
        .chain(of("t", &["SMEMBERS K", "OBJECT ENCODING K", "DUMP K"]))
        .chain(of("x", &["XRANGE K - +", "XINFO STREAM K", "DUMP K"]))
        .chain(of("ts", &["TS.RANGE K - +", "TS.INFO K", "TS.GET K LATEST"]))
        .chain(of("b", &["GET K"]))
        .chain(
            ["DBSIZE", "SCAN 0 COUNT 1000", "TS.QUERYINDEX group=(0,1,2)", "TS.QUERYLABELS LABELS"].map(str::to_owned),
        )
}

fn scan(node: &Node, db: u32) -> Vec<String> {
    let Some(mut scan) = node.keyspace.scan(DbId { number: db, ..DB }) else { return Vec::new() };
    let mut keys = Vec::new();
    while let Some(some) = scan.next().unwrap() {
        keys.extend(some.into_iter().map(|key| format!("{} {}", key.key.escape_ascii(), key.value.type_name())));
    }
    keys
}

#[test]
fn eviction_and_restarts_are_not_seen() {
    for seed in 0..24 {
        let mut rng = SmallRng::seed_from_u64(seed);
        let (mut kept, mut moved) = (Node::new(), Node::new());
        for step in 0..600 {
            let (line, db) = (random_write(&mut rng), u32::from(rng.random_bool(0.1)));
            kept.write(&line, db);
            if rng.random_bool(0.1) {
                let frozen = moved.keyspace.freeze();
                moved.write(&line, db);
                let facts = frozen.facts().into_iter().map(Ok::<_, CompanionError>);
                let mut run = facts.chain(frozen.pairs()).map(|pair| pair.map_err(|error| KvError::Run(error.0)));
                moved.kv.ingest(&mut run).unwrap();
                drop(run);
                frozen.finish();
            } else {
                moved.write(&line, db);
            }
            if rng.random_bool(0.05) {
                kept.sweep();
                moved.sweep();
            }
            match rng.random_range(0..12) {
                0 | 1 => moved.checkpoint(|| {}),
                2 => {
                    moved.checkpoint(|| {});
                    moved.evict();
                }
                3 => moved.evict(),
                4 => moved.restart(),
                _ => {}
            }
            if step % 40 == 39 {
                moved.now = kept.now;
                for db in [0, 1] {
                    for read in reads() {
                        assert_eq!(
                            moved.read(&read, db),
                            kept.read(&read, db),
                            "seed {seed} step {step} db {db}: {read}"
                        );
                    }
                    let keys = |node| {
                        let mut keys = scan(node, db);
                        keys.sort();
                        keys
                    };
                    // The scan reads the clock of the machine, at which everything with an end is over.
                    assert_eq!(keys(&moved), keys(&kept), "seed {seed} step {step} db {db}");
                }
            }
        }
    }
}

#[test]
fn eviction_in_small_steps_goes_round() {
    let mut node = Node::new();
    for n in 0..3_000 {
        node.write(&format!("SET key{n} value{n}"), 0);
    }
    node.checkpoint(|| {});
    let held = node.keyspace.with_state(State::memory);
    let freed: usize = (0..60).map(|_| node.keyspace.evict(held / 50)).sum();
    assert_eq!((freed, node.keyspace.with_state(State::memory)), (held, 0));
    for n in 0..3_000 {
        assert_eq!(node.read(&format!("GET key{n}"), 0), format!("\"value{n}\""));
    }
}

/// Who reads the LSM without the lock never brings back what was there before.
#[test]
fn readers_meet_no_older_values_while_keys_are_written_and_evicted() {
    const KEYS: usize = 6;
    let mut node = Node::new();
    let gets: Vec<Command> = (0..KEYS).filter_map(|n| node.command(&format!("GET n{n}"))).collect();
    let keyspace = Arc::clone(&node.keyspace);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for round in 0..400 {
                for n in 0..KEYS {
                    node.write(&format!("INCR n{n}"), 0);
                    // One that goes leaves a trace that the checkpoint takes away.
                    node.write(&format!("SET gone{n} {round}"), 0);
                    node.write(&format!("DEL gone{n}"), 0);
                }
                let other = Arc::clone(&node.keyspace);
                node.checkpoint(|| {
                    other.evict(usize::MAX);
                });
                node.evict();
            }
        });
        let context = Context::new(DB, START_MS + 1_000_000_000);
        let mut last = [0; KEYS];
        while !writer.is_finished() {
            for (get, last) in gets.iter().zip(&mut last) {
                let replies = keyspace.read(&context, std::slice::from_ref(get)).unwrap();
                let found: String = replies.iter().map(text).collect();
                let found = found.trim_matches('"').parse::<i32>().unwrap_or(0);
                assert!(found >= *last, "{found} behind {last}");
                *last = found;
            }
        }
    });
}

#[test]
fn scan_gives_keys_that_are_not_in_memory() {
    let mut node = Node::new();
    for n in 0..1_000 {
        node.write(&format!("SET key{n} {n}"), 0);
    }
    node.write(&format!("SET {} long", "k".repeat(3_000)), 0);
    node.checkpoint(|| {});
    node.evict();
    let (mut cursor, mut keys, mut steps) = ("0".to_owned(), 0, 0);
    loop {
        let reply = node.read(&format!("SCAN {cursor} COUNT 20"), 0);
        let (next, found) = reply.trim_start_matches("[\"").split_once('"').unwrap();
        (cursor, keys, steps) = (next.to_owned(), keys + found.matches('"').count() / 2, steps + 1);
        if cursor == "0" {
            break;
        }
        if steps % 7 == 0 {
            node.read(&format!("GET key{steps}"), 0);
            node.evict();
        }
    }
    assert_eq!(keys, 1_001);
    assert!(steps > 45, "{steps}");
    assert_eq!(node.read("KEYS key99?", 0).matches("key").count(), 10);
    assert_ne!(node.read("RANDOMKEY", 0), "nil");
}

#[test]
fn a_large_unit_needs_its_parts() {
    let part = |node: &mut Node, kind, fields: &[u8]| {
        node.index += 1;
        let entry = payload::entry(Header { origin: 7, number: 1, kind }, fields);
        let time = Hlc::from_micros(node.now as u64 * 1_000);
        node.keyspace.apply(LogIndex(node.index), time, &entry).unwrap();
    };
    let fields = |node: &Node| {
        let commands = vec![node.command("SET large value").unwrap()];
        payload::encode_units(1, [Item::Unit(Unit { db: DB, commands, ..Unit::default() })].iter())
    };
    let mut node = Node::new();
    let bytes = fields(&node);
    let parts = |node: &mut Node| {
        for (at, bytes) in bytes.chunks(9).enumerate() {
            part(node, PART, &payload::part(at * 9, bytes));
        }
    };
    let whole = payload::part(bytes.len(), &[]);
    parts(&mut node);
    // A checkpoint between the parts and their end keeps them.
    node.checkpoint(|| {});
    node.keyspace = open(&node.kv);
    part(&mut node, WHOLE, &whole);
    assert_eq!(node.read("GET large", 0), "\"value\"");
    node.write("DEL large", 0);
    parts(&mut node);
    node.keyspace.new_term();
    // The node goes on, and the unit has had no effect.
    part(&mut node, WHOLE, &whole);
    assert_eq!(node.read("GET large", 0), "nil");
    // Nor has one of which some parts are missing.
    part(&mut node, PART, &payload::part(9, &bytes[9..]));
    part(&mut node, WHOLE, &whole);
    assert_eq!(node.read("GET large", 0), "nil");
}

#[test]
fn a_scan_is_of_one_moment() {
    let mut node = Node::new();
    for n in 0..500 {
        node.write(&format!("ZADD key{n} 1 a"), 0);
    }
    node.checkpoint(|| {});
    node.evict();
    for n in 0..100 {
        node.write(&format!("ZADD key{n} 1 a"), 0);
    }
    let mut scan = node.keyspace.scan(DB).unwrap();
    let mut seen = Vec::new();
    let mut rng = SmallRng::seed_from_u64(1);
    let mut step = 0;
    while let Some(keys) = scan.next().unwrap() {
        seen.extend(keys.into_iter().map(|key| String::from_utf8(key.key.to_vec()).unwrap()));
        for _ in 0..20 {
            let n = rng.random_range(0..500);
            node.write(&format!("ZREM key{n} a"), 0);
            node.write(&format!("ZADD new{n} 1 a"), 0);
        }
        step += 1;
        if step % 3 == 0 {
            node.checkpoint(|| {});
            node.evict();
        }
    }
    seen.sort();
    let mut want: Vec<String> = (0..500).map(|n| format!("key{n}")).collect();
    want.sort();
    assert_eq!(seen, want);
}

#[test]
fn flushed_databases_are_forgotten_when_the_lsm_has_nothing_of_them() {
    let mut node = Node::new();
    let dropped = |node: &Node| node.keyspace.state.read().dropped.len();
    for _ in 0..100 {
        node.write("SET a 1", 0);
        node.write("FLUSHALL", 0);
    }
    assert_eq!(dropped(&node), 0, "no checkpoint has seen them");
    for _ in 0..3 {
        node.write("SET a 1", 0);
        node.checkpoint(|| {});
        node.write("SET b 1", 0);
        node.write("FLUSHALL", 0);
    }
    assert_eq!(dropped(&node), 3);
    node.checkpoint(|| {});
    assert_eq!((dropped(&node), node.keyspace.dropped().len()), (3, 3), "the LSM holds their keys still");
    node.restart();
    assert_eq!(dropped(&node), 3);
    node.kv.dropped(node.keyspace.dropped().into_iter().map(|oid| (0, oid)).collect());
    node.kv.compact().unwrap();
    node.checkpoint(|| {});
    assert_eq!((dropped(&node), node.keyspace.dropped().len()), (0, 0));
    // One that is flushed while a checkpoint writes it.
    node.write("SET a 1", 0);
    let frozen = node.keyspace.freeze();
    node.write("FLUSHALL", 0);
    let mut run = frozen.pairs().map(|pair| pair.map_err(|error: CompanionError| KvError::Run(error.0)));
    node.kv.ingest(&mut run).unwrap();
    drop(run);
    frozen.finish();
    assert_eq!(dropped(&node), 1);
}

#[test]
fn an_absent_key_that_was_made_and_went_differs() {
    let mut node = Node::new();
    let version = |node: &Node, key: &str| {
        crate::run::ensure(&mut node.keyspace.state.write(), node.keyspace.load.as_ref(), DB, key.as_bytes()).unwrap();
        node.keyspace.state.read().version(DB, key.as_bytes(), node.now).unwrap()
    };
    let never = version(&node, "a");
    node.write("SET other 1", 0);
    node.write("GET a", 0);
    node.write("DEL a other", 0);
    node.write("FLUSHALL", 0);
    node.write("SET a 1", 1);
    assert_eq!(version(&node, "a"), never);
    node.write("SET a 1", 0);
    let present = version(&node, "a");
    node.write("DEL a", 0);
    let absent = version(&node, "a");
    assert!(absent != never && never != present && present != absent);
    node.write("LPOP a", 0);
    assert_eq!(version(&node, "a"), absent);
    for line in ["FLUSHALL", "DEL a", "SWAPDB 0 3", "PEXPIREAT a 1"] {
        node.write("SET a 1", 0);
        let present = version(&node, "a");
        node.write(line, 0);
        assert!(version(&node, "a") != present, "{line}");
    }
    let absent = version(&node, "a");
    // The same behind a restart, and behind a flush.
    node.restart();
    assert_eq!(version(&node, "a"), absent);
    node.write("FLUSHALL", 0);
    assert_eq!(version(&node, "a"), absent);
    // Over, and swept away later: absent both times. Made again over what is over: a change.
    node.write("SET a 1 PX 1", 0);
    node.now += 10;
    let over = version(&node, "a");
    assert!(over != absent);
    node.sweep();
    assert_eq!(version(&node, "a"), over);
    node.write("SET a 1 PX 1", 0);
    node.now += 10;
    let again = version(&node, "a");
    node.write("SET a 1 PX 1", 0);
    node.now += 10;
    assert!(again != over && version(&node, "a") != again);
}

#[test]
fn parts_that_are_given_up_go() {
    let node = Node::new();
    let parts = |node: &Node| node.keyspace.state.read().parts.len();
    let apply = |number: u64, kind: u8, fields: &[u8]| {
        let entry = payload::entry(Header { origin: 7, number, kind }, fields);
        node.keyspace.apply(LogIndex(number + 1), Hlc::from_micros(START_MS as u64 * 1_000), &entry).unwrap();
    };
    apply(1, PART, &payload::part(0, b"abc"));
    apply(2, PART, &payload::part(0, b"abc"));
    assert_eq!(parts(&node), 2);
    apply(1, GONE, b"");
    apply(5, GONE, b"");
    assert_eq!(parts(&node), 1);
}

/// What a key that ends costs: bytes of the log to set it and to end it, and memory before and behind.
#[test]
#[ignore = "a million keys; prints what they cost"]
fn a_million_keys_end() {
    const KEYS: u64 = 1_000_000;
    const UNIT: u64 = 100;
    let mut node = Node::new();
    let (mut set_bytes, mut end_bytes, mut sweeps) = (0, 0, 0);
    for first in (0..KEYS).step_by(UNIT as usize) {
        let commands =
            (first..first + UNIT).filter_map(|n| node.command(&format!("SET session:{n:07} value PX 60000")));
        let unit = Unit { db: DB, commands: commands.collect(), ..Unit::default() };
        let fields = payload::encode_units(first, [Item::Unit(unit)].iter());
        node.index += 1;
        let entry = payload::entry(Header { origin: 7, number: node.index, kind: UNITS }, &fields);
        set_bytes += entry.len();
        node.keyspace.apply(LogIndex(node.index), Hlc::from_micros(node.now as u64 * 1_000), &entry).unwrap();
        if first % 200_000 == 0 {
            node.now += 1_000;
        }
    }
    let full = node.keyspace.with_state(crate::State::memory);
    assert_eq!(node.read("DBSIZE", 0), KEYS.to_string());
    node.now += 70_000;
    // As the leader does it: each sweep ends about twenty thousand.
    while let Some(due) = { node.keyspace.with_state(|state| state.db(DB).and_then(|db| db.due(node.now, 20_000))) } {
        node.index += 1;
        let entry = payload::entry(Header { origin: 7, number: node.index, kind: SWEEP }, &payload::sweep(due));
        (end_bytes, sweeps) = (end_bytes + entry.len(), sweeps + 1);
        node.keyspace.apply(LogIndex(node.index), Hlc::from_micros(node.now as u64 * 1_000), &entry).unwrap();
    }
    let empty = node.keyspace.with_state(crate::State::memory);
    println!(
        "{KEYS} keys: {:.1} bytes of the log each to set, {:.4} to end ({sweeps} sweeps); {:.1} bytes of memory each, {empty} in all behind",
        set_bytes as f64 / KEYS as f64,
        end_bytes as f64 / KEYS as f64,
        full as f64 / KEYS as f64,
    );
    assert_eq!(node.read("DBSIZE", 0), "0");
    assert!(empty < 1 << 20, "{empty} bytes are held for nothing");
    assert!(end_bytes < KEYS as usize, "ending keys costs more than a byte each");
}

#[test]
fn keys_that_end_together_go_in_turns_alike_in_memory_and_in_the_lsm() {
    let (mut hot, mut cold) = (Node::new(), Node::new());
    for n in 0..500 {
        for node in [&mut hot, &mut cold] {
            node.write(&format!("SET k{n} v PXAT {}", START_MS + 100_000), 0);
        }
    }
    cold.checkpoint(|| {});
    cold.evict();
    let mut left = 500;
    while left > 0 {
        let due = |node: &Node| {
            node.keyspace.with_state(|state| {
                let db = state.db(DB).unwrap();
                db.due(START_MS + 200_000, 120).or(node.keyspace.load.due_until(db, START_MS + 200_000, 120).unwrap())
            })
        };
        let (of_hot, of_cold) = (due(&hot).unwrap(), due(&cold).unwrap());
        assert!(of_hot >= of_cold, "{left}");
        for node in [&mut hot, &mut cold] {
            node.index += 1;
            let header = Header { origin: 7, number: node.index, kind: SWEEP };
            let entry = payload::entry(header, &payload::sweep(of_cold));
            let time = Hlc::from_micros((START_MS + 200_000) as u64 * 1_000);
            node.keyspace.apply(LogIndex(node.index), time, &entry).unwrap();
            node.keyspace.publish();
        }
        left -= left.min(120);
        for node in [&hot, &cold] {
            assert_eq!(node.read("DBSIZE", 0), left.to_string());
        }
    }
}
