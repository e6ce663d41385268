//! Redis clients of any node: what they write, read, wait for and hear, also while leaders are killed.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use perigee_testkit::Cluster;
use perigee_testkit::resp::{Connection, Value};

use super::{PATIENCE, options};

fn connect(cluster: &Cluster, number: usize) -> Connection {
    Connection::open(cluster.servers()[number].redis(), PATIENCE).unwrap()
}

fn ok() -> Value {
    Value::Status("OK".into())
}

#[test]
fn every_node_takes_every_command() {
    let cluster = Cluster::start(&options()).unwrap();
    let leader = cluster.leader().unwrap();
    let mut all: Vec<Connection> = (0..3).map(|number| connect(&cluster, number)).collect();
    for writer in 0..3 {
        for reader in 0..3 {
            let value = format!("{writer}{reader}");
            assert_eq!(all[writer].ask(&["SET", "key", &value]), ok());
            let read = all[reader].ask(&["GET", "key"]).bytes();
            assert_eq!(read, Some(value.into_bytes()), "n{} wrote, n{} read", writer + 1, reader + 1);
        }
    }
    let follower = (leader + 1) % 3;
    let other = (leader + 2) % 3;
    let [one, two] = all.get_disjoint_mut([follower, other]).unwrap();

    // A pipeline answers in order, reads behind writes see them.
    let pipeline: Vec<u8> = ["SET a 1", "GET a", "INCR a", "GET a"]
        .iter()
        .flat_map(|line| perigee_testkit::resp::command(&line.split(' ').collect::<Vec<_>>()))
        .collect();
    one.send(&pipeline).unwrap();
    let replies: Vec<Option<Vec<u8>>> = (0..4).map(|_| one.receive().bytes()).collect();
    assert_eq!(replies, ["OK", "1", "2", "2"].map(|text| Some(text.into())));

    assert_eq!(one.line("MULTI"), ok());
    one.line("INCR a");
    one.line("LPUSH list x");
    assert_eq!(one.line("EXEC").items().map(<[Value]>::len), Some(2));
    assert_eq!(two.line("GET a").bytes(), Some(b"3".to_vec()));

    // WATCH sees what another node writes.
    one.line("WATCH a");
    two.line("SET a 10");
    one.line("MULTI");
    one.line("SET a 99");
    assert_eq!(one.line("EXEC").items(), None, "a watched key has changed");
    assert_eq!(one.line("GET a").bytes(), Some(b"10".to_vec()));

    let script = "redis.call('SET', KEYS[1], ARGV[1]); return redis.call('GET', KEYS[1])";
    assert_eq!(one.ask(&["EVAL", script, "1", "scripted", "yes"]).bytes(), Some(b"yes".to_vec()));

    // A value of several entries.
    let large = "v".repeat(3_500_000);
    assert_eq!(one.ask(&["SET", "large", &large]), ok());
    assert_eq!(two.line("STRLEN large"), Value::Integer(3_500_000));

    for connection in &mut all {
        let info = connection.line("INFO replication").bytes().unwrap();
        assert!(String::from_utf8_lossy(&info).contains("role:master"));
    }
}

fn until_one_waits(cluster: &Cluster, number: usize) {
    let started = Instant::now();
    while !String::from_utf8_lossy(&connect(cluster, number).line("INFO clients").bytes().unwrap())
        .contains("blocked_clients:1")
    {
        assert!(started.elapsed() < PATIENCE, "nobody waits");
    }
}

#[test]
fn who_waits_on_one_node_is_served_by_a_push_on_another() {
    let cluster = Cluster::start(&options()).unwrap();
    let leader = cluster.leader().unwrap();
    let (waiting, pushing) = ((leader + 1) % 3, (leader + 2) % 3);
    let (mut waits, mut pushes) = (connect(&cluster, waiting), connect(&cluster, pushing));
    waits.send(&perigee_testkit::resp::command(&["BLPOP", "jobs", "0"])).unwrap();
    until_one_waits(&cluster, waiting);
    assert_eq!(pushes.line("RPUSH jobs one"), Value::Integer(1));
    let got = waits.receive();
    assert_eq!(got.items().unwrap()[1].bytes(), Some(b"one".to_vec()));
    // Its time is over.
    assert_eq!(waits.line("BLPOP jobs 0.1").items(), None);

    let mut hears = connect(&cluster, pushing);
    hears.line("SUBSCRIBE news");
    for from in 0..3 {
        let text = format!("from {from}");
        connect(&cluster, from).ask(&["PUBLISH", "news", &text]);
        assert_eq!(hears.receive().items().unwrap()[2].bytes(), Some(text.into_bytes()));
    }
    // In order, also many at a time.
    let many: Vec<u8> =
        (0..500).flat_map(|n| perigee_testkit::resp::command(&["PUBLISH", "news", &n.to_string()])).collect();
    let mut tells = connect(&cluster, waiting);
    tells.send(&many).unwrap();
    for n in 0..500 {
        assert_eq!(hears.receive().items().unwrap()[2].bytes(), Some(n.to_string().into_bytes()));
    }
}

#[test]
fn users_are_made_on_any_node_and_known_on_all() {
    let cluster = Cluster::start(&options()).unwrap();
    let leader = cluster.leader().unwrap();
    let follower = (leader + 1) % 3;
    let mut admin = connect(&cluster, follower);
    for round in 0..3 {
        let name = format!("user{round}");
        assert_eq!(admin.ask(&["ACL", "SETUSER", &name, "on", ">secret", "~*", "+@all"]), ok());
        for number in 0..3 {
            assert_eq!(connect(&cluster, number).ask(&["AUTH", &name, "secret"]), ok(), "n{}", number + 1);
        }
    }
    assert_eq!(admin.ask(&["ACL", "DELUSER", "user0"]), Value::Integer(1));
    let refused = admin.ask(&["ACL", "SETUSER", "bad name"]);
    assert!(matches!(refused, Value::Error(_)), "{refused:?}");
    let made = admin.ask(&["SQL", "CREATE TABLE t (a int PRIMARY KEY)"]);
    assert!(!matches!(made, Value::Error(_)), "{made:?}");
    admin.ask(&["SQL", "INSERT INTO t VALUES (7)"]);
    let rows = admin.ask(&["SQL", "SELECT a FROM t"]);
    assert_eq!(rows.items().unwrap()[1].items().unwrap()[0], Value::Integer(7));
}

/// A client that counts, and goes on with another connection where one was closed on it.
struct Counting {
    acknowledged: u64,
    /// Nobody said what became of these.
    open: u64,
    /// Refused: nothing was written.
    refused: u64,
}

fn count_up(addresses: [SocketAddr; 3], key: String, stop: &AtomicBool) -> Counting {
    let mut counting = Counting { acknowledged: 0, open: 0, refused: 0 };
    let mut last = 0;
    let mut at = 0;
    while !stop.load(Ordering::Relaxed) {
        at += 1;
        let Ok(mut connection) = Connection::open(addresses[at % 3], Duration::from_secs(60)) else {
            thread::sleep(Duration::from_millis(5));
            continue;
        };
        for _ in 0..50 {
            match connection.ask(&["INCR", &key]) {
                Value::Integer(value) => {
                    assert!(value > last, "{key} runs back from {last} to {value}");
                    last = value;
                    counting.acknowledged += 1;
                }
                Value::Error(text) => {
                    assert!(text.contains("nothing was written") || text.contains("stopping"), "{text}");
                    counting.refused += 1;
                    break;
                }
                _ => {
                    counting.open += 1;
                    break;
                }
            }
        }
    }
    counting
}

#[test]
fn counters_on_all_nodes_lose_and_double_nothing_when_leaders_are_killed() {
    let mut cluster = Cluster::start(&options()).unwrap();
    let addresses: [SocketAddr; 3] = std::array::from_fn(|number| cluster.servers()[number].redis());
    let stop = Arc::new(AtomicBool::new(false));
    let counting: Vec<_> = (0..6)
        .map(|client| {
            let stop = Arc::clone(&stop);
            thread::spawn(move || count_up(addresses, format!("counter{client}"), &stop))
        })
        .collect();
    for _ in 0..4 {
        thread::sleep(Duration::from_secs(2));
        let leader = cluster.leader().unwrap();
        cluster.server(leader).kill();
        thread::sleep(Duration::from_secs(2));
        cluster.server(leader).restart().unwrap();
    }
    stop.store(true, Ordering::Relaxed);
    let counted: Vec<Counting> = counting.into_iter().map(|counting| counting.join().unwrap()).collect();
    for number in 0..3 {
        let mut connection = connect(&cluster, number);
        for (client, counted) in counted.iter().enumerate() {
            let found = connection.ask(&["GET", &format!("counter{client}")]).bytes().unwrap();
            let found: u64 = String::from_utf8(found).unwrap().parse().unwrap();
            assert!(found >= counted.acknowledged, "n{}: {found} of {} acknowledged", number + 1, counted.acknowledged);
            let most = counted.acknowledged + counted.open;
            assert!(found <= most, "n{}: {found} though at most {most} were asked for", number + 1);
        }
    }
    let sum = |of: fn(&Counting) -> u64| counted.iter().map(of).sum::<u64>();
    eprintln!(
        "{} acknowledged, {} of unknown outcome, {} refused",
        sum(|counted| counted.acknowledged),
        sum(|counted| counted.open),
        sum(|counted| counted.refused)
    );
    assert!(sum(|counted| counted.acknowledged) > 100);
}

#[test]
fn waits_end_with_the_leader_and_writes_are_refused_without_a_majority() {
    let mut cluster = Cluster::start(&options()).unwrap();
    let leader = cluster.leader().unwrap();
    let (one, two) = ((leader + 1) % 3, (leader + 2) % 3);
    let mut waits = connect(&cluster, one);
    waits.send(&perigee_testkit::resp::command(&["BLPOP", "jobs", "0"])).unwrap();
    let mut writes = connect(&cluster, two);
    assert_eq!(writes.line("SET a 1"), ok());
    until_one_waits(&cluster, one);
    // Also at the leader.
    thread::sleep(Duration::from_millis(300));
    cluster.server(leader).kill();
    let ended = waits.receive();
    assert!(ended.is_end(), "{ended:?}");
    // The same connection goes on with the next leader.
    assert_eq!(writes.line("SET a 2"), ok());
    cluster.server(one).kill();
    let refused = writes.line("SET a 3");
    assert!(
        matches!(&refused, Value::Error(text) if text.starts_with("CLUSTERDOWN")) || refused.is_end(),
        "{refused:?}"
    );
    let mut reads = connect(&cluster, two);
    let refused = reads.line("GET a");
    assert!(matches!(&refused, Value::Error(text) if text.starts_with("CLUSTERDOWN")), "{refused:?}");
    cluster.server(leader).restart().unwrap();
    cluster.leader().unwrap();
    let found = connect(&cluster, two).line("GET a").bytes();
    assert!(found == Some(b"2".to_vec()) || found == Some(b"3".to_vec()), "{found:?}");
}
