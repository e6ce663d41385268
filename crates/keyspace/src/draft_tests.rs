//! Transactions of SQL over a keyspace without a log.

use perigee_runtime::SystemClock;
use perigee_types::{Hlc, LogIndex};

use super::*;
use crate::twin::{NothingCold, text};

const TENANT: Oid = Oid(5);

struct Node {
    keyspace: Arc<Keyspace>,
    index: Cell<u64>,
}

fn node() -> Node {
    let (keyspace, _line) = Keyspace::new(State::default(), Box::new(NothingCold), Arc::new(SystemClock::new()));
    Node { keyspace, index: Cell::new(0) }
}

fn args(line: &str) -> Vec<Bytes> {
    crate::twin::words(line).into_iter().map(Bytes::from).collect()
}

fn db() -> DbId {
    DbId { tenant: TENANT, number: 0 }
}

impl Node {
    fn draft(&self) -> Arc<Draft> {
        Draft::new(Arc::clone(&self.keyspace), TENANT)
    }

    fn next(&self) -> (LogIndex, Hlc) {
        self.index.set(self.index.get() + 1);
        let now = u64::try_from(self.keyspace.now_ms()).unwrap();
        (LogIndex(self.index.get()), Hlc::from_micros(now * 1_000))
    }

    /// A client of Redis.
    fn redis(&self, line: &str) {
        let args = args(line);
        let spec = crate::command::find(&args[0]).and_then(|spec| spec.resolve(&args)).unwrap();
        let unit = Unit { db: db(), commands: vec![Command { spec, args }], ..Unit::default() };
        let fields = payload::encode_units(1, [Item::Unit(unit)].iter());
        let header = Header { origin: 0, number: 0, kind: payload::UNITS };
        let (index, time) = self.next();
        self.keyspace.apply(index, time, &payload::entry(header, &fields)).unwrap();
    }

    fn read(&self, line: &str) -> String {
        let args = args(line);
        let spec = crate::command::find(&args[0]).unwrap();
        let context = self.keyspace.context(db());
        text(&self.keyspace.read(&context, &[Command { spec, args }]).unwrap()[0])
    }

    /// COMMIT; whether it took effect.
    fn commit(&self, draft: &Draft) -> bool {
        let payload = draft.payload(false).unwrap().unwrap();
        let (index, time) = self.next();
        self.keyspace.apply_transaction(index, time, &payload).unwrap().is_some()
    }
}

fn string(draft: &Draft, key: &str) -> Option<Bytes> {
    let found = draft.get(0, key.as_bytes()).unwrap()?;
    match found.value {
        crate::object::Value::String(string) => Some(string.to_bytes()),
        _ => None,
    }
}

#[test]
fn commands_are_seen_by_their_transaction_alone_until_they_are_applied() {
    let node = node();
    node.redis("SET a 1");
    let draft = node.draft();
    draft.run(0, args("INCR a")).unwrap();
    draft.run(0, args("SET b x")).unwrap();
    assert_eq!(string(&draft, "a").as_deref(), Some(&b"2"[..]));
    assert_eq!(draft.changed().of(db()).count(), 2);
    assert_eq!(node.read("GET a"), "\"1\"");
    assert!(node.commit(&draft));
    assert_eq!(node.read("MGET a b"), "[\"2\", \"x\"]");
}

#[test]
fn a_key_that_changed_meanwhile_rejects_the_whole() {
    for (seen, change) in [("a", "INCR a"), ("absent", "SET absent 1"), ("a", "DEL a"), ("a", "PEXPIRE a 100000")] {
        let node = node();
        node.redis("SET a 1");
        let draft = node.draft();
        draft.run(0, args("SET b 1")).unwrap();
        draft.run(0, args(&format!("INCR {seen}"))).unwrap();
        node.redis(change);
        assert!(!node.commit(&draft), "{change}");
        assert_eq!(node.read("EXISTS b"), "0", "{change}");
    }
}

#[test]
fn what_was_read_before_counts_from_then_on() {
    let node = node();
    node.redis("SET a 1");
    let version = |key: &str| node.keyspace.version(db(), key.as_bytes()).unwrap();
    let draft = node.draft();
    let key = Bytes::from_static(b"a");
    draft.note(db(), &key, version("a"), Reading::Noted).unwrap();
    node.redis("SET a 2");
    // Reading it again is no harm, writing by what was read is.
    draft.note(db(), &key, version("a"), Reading::Noted).unwrap();
    assert!(matches!(draft.note(db(), &key, version("a"), Reading::Repeatable), Err(DraftError::Changed)));
    assert!(matches!(draft.run(0, args("SET a 3")), Err(DraftError::Changed)));

    // What a write depends on is compared also where it is not written.
    let draft = node.draft();
    draft.note(db(), &key, version("a"), Reading::Watched).unwrap();
    draft.run(0, args("SET b 3")).unwrap();
    node.redis("SET a 4");
    assert!(!node.commit(&draft));
    // And what was only looked at is not.
    let draft = node.draft();
    draft.note(db(), &key, version("a"), Reading::Noted).unwrap();
    draft.run(0, args("SET b 3")).unwrap();
    node.redis("SET a 5");
    assert!(node.commit(&draft));
}

#[test]
fn a_savepoint_brings_keys_back_as_they_were() {
    let node = node();
    node.redis("SET a 1");
    node.redis("SET gone 1");
    let draft = node.draft();
    draft.run(0, args("INCR a")).unwrap();
    draft.run(0, args("DEL gone")).unwrap();
    let mark = draft.mark();
    draft.run(0, args("INCR a")).unwrap();
    draft.run(0, args("SET gone 2")).unwrap();
    draft.run(0, args("SET c 1")).unwrap();
    draft.rollback_to(&mark);
    assert_eq!(string(&draft, "a").as_deref(), Some(&b"2"[..]));
    assert_eq!(string(&draft, "c"), None);
    // A key that is gone for the transaction stays gone, whatever comes and goes under its name.
    draft.run(0, args("SET gone 3")).unwrap();
    draft.run(0, args("DEL gone")).unwrap();
    assert_eq!(string(&draft, "gone"), None);
    assert!(node.commit(&draft));
    assert_eq!(node.read("MGET a gone c"), "[\"2\", nil, nil]");
}

#[test]
fn savepoints_within_savepoints() {
    let node = node();
    node.redis("SET a 0");
    node.redis("TS.CREATE s");
    node.redis("TS.CREATE d");
    node.redis("TS.CREATERULE s d AGGREGATION sum 10");
    let draft = node.draft();
    let begin = DraftMark::default();
    let run = |line: &str| drop(draft.run(0, args(line)).unwrap());
    let show =
        |key: &str| string(&draft, key).map_or("-".to_owned(), |text| String::from_utf8_lossy(&text).into_owned());
    let all = || [show("a"), show("b"), show("c")].join(" ");
    run("SET a 1");
    let one = draft.mark();
    run("SET a 2");
    run("SET b 2");
    run("TS.ADD s 1 1");
    run("TS.ADD s 11 1");
    let two = draft.mark();
    run("SET a 3");
    run("DEL b");
    run("SET c 3 PX 100000");
    let three = draft.mark();
    run("SET b 4");
    assert_eq!(all(), "3 4 3");
    draft.rollback_to(&three);
    assert_eq!(all(), "3 - 3");
    drop(three);
    draft.rollback_to(&two);
    assert_eq!(all(), "2 2 -");
    run("SET c 5");
    // Released: what it kept is what the one before needs.
    drop(two);
    run("SET c 6");
    assert_eq!(all(), "2 2 6");
    draft.rollback_to(&one);
    assert_eq!(all(), "1 - -");
    run("SET c 7");
    draft.rollback_to(&one);
    assert_eq!(all(), "1 - -");
    assert_eq!(draft.changed().of(db()).count(), 1);
    run("APPEND a x");
    let other = node.draft();
    other.run(0, args("SET z 1")).unwrap();
    other.rollback_to(&begin);
    assert!(other.is_empty());
    assert!(node.commit(&draft));
    assert_eq!(node.read("MGET a b c z"), "[\"1x\", nil, nil, nil]");
    assert_eq!(node.read("TS.RANGE d - +"), "[]");
}

/// Drivers set one before each statement, and some never release them.
#[test]
fn many_savepoints_keep_little_and_large_ones_are_refused() {
    let node = node();
    let draft = node.draft();
    let mut marks = Vec::new();
    for n in 0..5_000 {
        marks.push(draft.mark());
        draft.run(0, args(&format!("SET k{n} {n}"))).unwrap();
    }
    assert!(draft.inner.lock().marks.iter().all(|mark| mark.images.len() <= 1));
    draft.rollback_to(&marks[2_500]);
    assert_eq!(draft.changed().of(db()).count(), 2_500);
    assert_eq!(string(&draft, "k2499").as_deref(), Some(&b"2499"[..]));
    assert_eq!(string(&draft, "k2500"), None);

    node.redis(&format!("SET large {}", "x".repeat(1 << 20)));
    let (draft, mut marks) = (node.draft(), Vec::new());
    let failed = (0..400).find_map(|_| {
        marks.push(draft.mark());
        draft.run(0, args("APPEND large y")).err()
    });
    assert!(matches!(failed, Some(DraftError::Memory)), "{failed:?}");
    draft.rollback_to(&marks[0]);
    assert_eq!(string(&draft, "large").map(|large| large.len()), Some(1 << 20));
    // One that is released keeps nothing.
    let draft = node.draft();
    let _whole = draft.mark();
    for _ in 0..400 {
        let mark = draft.mark();
        draft.run(0, args("APPEND large y")).unwrap();
        drop(mark);
    }
    assert!(draft.inner.lock().kept < 4 << 20);
    assert!(node.commit(&draft));
}

#[test]
fn maxmemory_is_for_everybody() {
    let node = node();
    node.redis("CONFIG SET maxmemory 1");
    let draft = node.draft();
    assert!(matches!(draft.run(0, args("SET a 1")), Err(DraftError::Full)));
    draft.run(0, args("DEL a")).unwrap();
}

#[test]
fn a_series_takes_its_compactions_along() {
    let node = node();
    node.redis("TS.CREATE s");
    node.redis("TS.CREATE d");
    node.redis("TS.CREATERULE s d AGGREGATION sum 10");
    let draft = node.draft();
    for line in ["TS.ADD s 1 1", "TS.ADD s 2 2", "TS.ADD s 11 5"] {
        draft.run(0, args(line)).unwrap();
    }
    assert!(node.commit(&draft));
    assert_eq!(node.read("TS.RANGE d - +"), "[[0, 3]]");
    // The destination is one of the keys that it depends on.
    let draft = node.draft();
    draft.run(0, args("TS.ADD s 21 5")).unwrap();
    node.redis("TS.ADD d 5 100");
    assert!(!node.commit(&draft));
}

#[test]
fn errors_change_nothing_and_too_much_is_refused() {
    let node = node();
    node.redis("LPUSH l 1");
    let draft = node.draft();
    assert!(matches!(draft.run(0, args("INCR l")), Err(DraftError::Refused(_))));
    assert!(matches!(draft.run(0, args("GET l")), Err(DraftError::Refused(_))));
    let large = Bytes::from(vec![b'x'; DRAFT_BYTES_MAX]);
    let set = vec![Bytes::from_static(b"SET"), Bytes::from_static(b"k"), large];
    assert!(matches!(draft.run(0, set), Err(DraftError::TooLarge)));
    assert!(draft.is_empty());
    assert!(draft.payload(true).unwrap().is_some(), "it has looked at the list");
}

#[test]
fn two_nodes_come_to_the_same_digest() {
    let nodes = [node(), node()];
    for node in &nodes {
        node.redis("SET a 1");
    }
    let draft = nodes[0].draft();
    draft.run(0, args("INCR a")).unwrap();
    let payload = draft.payload(false).unwrap().unwrap();
    let (index, time) = nodes[0].next();
    let digests = nodes.each_ref().map(|node| node.keyspace.apply_transaction(index, time, &payload).unwrap());
    assert_eq!(digests[0], digests[1]);
    assert!(digests[0].is_some());
    // Again it is rejected, on both.
    let (index, time) = nodes[0].next();
    for node in &nodes {
        assert_eq!(node.keyspace.apply_transaction(index, time, &payload).unwrap(), None);
    }
}

#[test]
fn an_idempotency_key_is_kept_with_what_the_transaction_does() {
    let node = node();
    let once = |reply| crate::command::Once {
        door: crate::command::REST,
        digest: 7,
        database: 0,
        created_ms: node.keyspace.now_ms(),
        reply,
    };
    let (first, second) = (node.draft(), node.draft());
    for draft in [&first, &second] {
        assert_eq!(draft.once(b"k").unwrap(), None);
        // Said before the outcome is known, and again with it.
        draft.keep_once(b"k", &once(None)).unwrap();
        draft.run(0, args("INCR n")).unwrap();
        draft.keep_once(b"k", &once(Some(Reply::Integer(1)))).unwrap();
        assert_eq!(draft.once(b"k").unwrap().unwrap().reply, Some(Reply::Integer(1)));
    }
    assert!(node.commit(&first));
    assert!(!node.commit(&second), "only one of both takes effect");
    assert_eq!(node.read("GET n"), "\"1\"");
    assert_eq!(node.draft().once(b"k").unwrap().unwrap().reply, Some(Reply::Integer(1)));
    // It is no key of a database that clients see, and it ends.
    assert_eq!(node.read("DBSIZE"), "1");
    let db = DbId { tenant: TENANT, number: IDEMPOTENCY_DB };
    node.keyspace.with_state(|state| assert!(state.db(db).is_some_and(|db| db.expiring() == 1)));
}
