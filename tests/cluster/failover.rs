//! How long writes stand still when the leader is killed: `integration/cluster/failover`.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use perigee_testkit::Cluster;
use perigee_testkit::resp::{Connection, Value};
use perigee_testkit::session::{Answer, Request, Session};

use super::PATIENCE;

/// Writes that were acknowledged: when each was begun and when its answer came.
#[derive(Default)]
struct Written {
    values: Mutex<Vec<(u64, Instant, Instant)>>,
    next: AtomicU64,
    stop: AtomicBool,
}

impl Written {
    /// Writes new values with `write` until it fails or the end.
    fn through(&self, mut write: impl FnMut(u64) -> bool) {
        while !self.stop.load(Ordering::Relaxed) {
            let value = self.next.fetch_add(1, Ordering::Relaxed);
            let began = Instant::now();
            if !write(value) {
                return;
            }
            self.values.lock().unwrap().push((value, began, Instant::now()));
        }
    }

    /// When the first write was acknowledged that was begun behind `moment`.
    fn first_behind(&self, moment: Instant) -> Option<Instant> {
        let values = self.values.lock().unwrap();
        values.iter().filter(|(_, began, _)| *began >= moment).map(|(_, _, ended)| *ended).min()
    }
}

fn write_keys(written: &Written, addresses: &[SocketAddr], mut at: usize) {
    while !written.stop.load(Ordering::Relaxed) {
        at += 1;
        match Connection::open(addresses[at % addresses.len()], Duration::from_secs(30)) {
            Ok(mut connection) => written
                .through(|value| matches!(connection.ask(&["SADD", "values", &value.to_string()]), Value::Integer(_))),
            Err(_) => thread::sleep(Duration::from_millis(1)),
        }
    }
}

fn write_rows(written: &Written, addresses: &[SocketAddr], mut at: usize) {
    while !written.stop.load(Ordering::Relaxed) {
        at += 1;
        match Session::connect(addresses[at % addresses.len()], "postgres", &[]) {
            Ok(mut session) => written.through(|value| {
                let sql = format!("INSERT INTO t VALUES ({value})");
                matches!(session.ask(&Request::simple(&sql)).answers[..], [Answer::Done(_)])
            }),
            Err(_) => thread::sleep(Duration::from_millis(1)),
        }
    }
}

/// What every node has, of both kinds.
fn found(cluster: &Cluster, number: usize) -> BTreeSet<u64> {
    let server = &cluster.servers()[number];
    let mut connection = Connection::open(server.redis(), PATIENCE).unwrap();
    let members = connection.ask(&["SMEMBERS", "values"]);
    let number = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().parse::<u64>().unwrap();
    let mut found: BTreeSet<u64> = members.items().unwrap().iter().filter_map(Value::bytes).map(number).collect();
    let mut session = Session::connect(server.pg(), "postgres", &[]).unwrap();
    match &session.ask(&Request::simple("SELECT a FROM t")).answers[..] {
        [Answer::Rows { rows, .. }] => found.extend(rows.iter().map(|row| number(row[0].clone().unwrap()))),
        other => panic!("{other:?}"),
    }
    found
}

#[test]
#[ignore = "takes minutes, and a machine of its own"]
fn failover() {
    let kills = std::env::var("PERIGEE_KILLS").ok().map_or(30, |text| text.parse::<usize>().unwrap());
    let mut cluster = Cluster::start(&perigee_tests::options().with_redis()).unwrap();
    let mut session = Session::connect(cluster.servers()[0].pg(), "postgres", &[]).unwrap();
    session.ask(&Request::simple("CREATE TABLE t (a bigint PRIMARY KEY)"));
    let pg: Vec<SocketAddr> = cluster.servers().iter().map(|server| server.pg()).collect();
    let redis: Vec<SocketAddr> = cluster.servers().iter().map(|server| server.redis()).collect();
    let written = Arc::new(Written::default());
    let clients: Vec<_> = (0..6)
        .map(|number| {
            let (written, pg, redis) = (Arc::clone(&written), pg.clone(), redis.clone());
            thread::spawn(move || match number % 2 {
                0 => write_keys(&written, &redis, number),
                _ => write_rows(&written, &pg, number),
            })
        })
        .collect();

    let mut times = Vec::new();
    for kill in 0..kills {
        let leader = cluster.leader().unwrap();
        thread::sleep(Duration::from_millis(500));
        let killed = Instant::now();
        cluster.kill(leader);
        let first = loop {
            if let Some(first) = written.first_behind(killed) {
                break first;
            }
            assert!(killed.elapsed() < PATIENCE, "writes do not go on");
            thread::sleep(Duration::from_millis(1));
        };
        let time = first - killed;
        eprintln!("kill {kill}: n{} led; {} ms until the next acknowledged write", leader + 1, time.as_millis());
        times.push(time);
        cluster.repair().unwrap();
    }
    written.stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.join().unwrap();
    }
    let acknowledged: BTreeSet<u64> = written.values.lock().unwrap().iter().map(|(value, ..)| *value).collect();
    for number in 0..3 {
        let found = found(&cluster, number);
        let lost: Vec<&u64> = acknowledged.difference(&found).collect();
        assert!(lost.is_empty(), "n{}: acknowledged and lost: {lost:?}", number + 1);
    }
    times.sort_unstable();
    let share = |share: f64| times[((times.len() as f64 * share) as usize).min(times.len() - 1)].as_millis();
    println!(
        "{kills} leaders killed, {} writes acknowledged, 0 lost; the next one after: p50 {} ms, p99 {} ms, max {} ms",
        acknowledged.len(),
        share(0.5),
        share(0.99),
        share(1.0)
    );
}
