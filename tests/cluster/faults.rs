//! Nodes that are killed, paused and cut off under load: nothing acknowledged is lost or doubled, nothing old is read.

use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use perigee_testkit::resp::{Connection, Value, command};
use perigee_testkit::session::{Answer, Request, Session};
use perigee_testkit::{Cluster, ServerOptions};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::PATIENCE;
use super::load::Load;

/// Elections that a test can wait for, and that a busy machine does not call for all the time.
pub(crate) fn options() -> ServerOptions {
    let options = perigee_tests::options().with_redis();
    options.env("PERIGEE_NODE__HEARTBEAT", "100ms").env("PERIGEE_NODE__ELECTION_TIMEOUT", "600ms")
}

/// What can happen to a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    LeaderKilled,
    FollowerKilled,
    /// As many as make a majority.
    MajorityKilled,
    AllKilled,
    /// Nodes are killed and started again, one behind the other, before they are ready.
    RestartStorm,
    LeaderStopped,
    LeaderPaused,
    FollowerPaused,
    MajorityPaused,
    LeaderIsolated,
    FollowerIsolated,
    /// Nobody hears the leader, which hears all.
    LeaderMute,
    /// The leader hears nobody, and all hear it.
    LeaderDeaf,
    /// The leader and one follower do not hear each other; both hear the others.
    LinkCut,
    /// The leader is on the smaller side.
    Split,
    /// The leader is paused, cut off, and goes on while it is cut off.
    PausedAndIsolated,
}

const ALL: [Fault; 16] = [
    Fault::LeaderKilled,
    Fault::FollowerKilled,
    Fault::MajorityKilled,
    Fault::AllKilled,
    Fault::RestartStorm,
    Fault::LeaderStopped,
    Fault::LeaderPaused,
    Fault::FollowerPaused,
    Fault::MajorityPaused,
    Fault::LeaderIsolated,
    Fault::FollowerIsolated,
    Fault::LeaderMute,
    Fault::LeaderDeaf,
    Fault::LinkCut,
    Fault::Split,
    Fault::PausedAndIsolated,
];

impl Fault {
    /// Whether writes must go on while it lasts.
    fn leaves_a_majority(self) -> bool {
        !matches!(self, Self::MajorityKilled | Self::AllKilled | Self::MajorityPaused | Self::RestartStorm)
    }

    fn begin(self, cluster: &mut Cluster, random: &mut StdRng) {
        let size = cluster.servers().len();
        let leader = cluster.leader().unwrap();
        let follower = (leader + random.random_range(1..size)) % size;
        let some = |count: usize| (0..count).map(move |step| (follower + step) % size);
        match self {
            Self::LeaderKilled => cluster.kill(leader),
            Self::FollowerKilled => cluster.kill(follower),
            Self::MajorityKilled => some(size / 2 + 1).for_each(|number| cluster.kill(number)),
            Self::AllKilled => (0..size).for_each(|number| cluster.kill(number)),
            Self::RestartStorm => {
                for _ in 0..2 * size {
                    let number = random.random_range(0..size);
                    cluster.kill(number);
                    thread::sleep(Duration::from_millis(random.random_range(0..200)));
                    cluster.spawn(number).unwrap();
                    thread::sleep(Duration::from_millis(random.random_range(0..400)));
                }
            }
            Self::LeaderStopped => {
                let exit = cluster.server(leader).stop().unwrap();
                assert_eq!(exit.status.code(), Some(0), "{}", exit.log);
            }
            Self::LeaderPaused => cluster.pause(leader).unwrap(),
            Self::FollowerPaused => cluster.pause(follower).unwrap(),
            Self::MajorityPaused => some(size / 2 + 1).for_each(|number| cluster.pause(number).unwrap()),
            Self::LeaderIsolated => cluster.network().isolate(leader),
            Self::FollowerIsolated => cluster.network().isolate(follower),
            Self::LeaderMute => {
                (0..size).filter(|other| *other != leader).for_each(|other| cluster.network().cut(leader, other));
            }
            Self::LeaderDeaf => {
                (0..size).filter(|other| *other != leader).for_each(|other| cluster.network().cut(other, leader));
            }
            Self::LinkCut => {
                cluster.network().cut(leader, follower);
                cluster.network().cut(follower, leader);
            }
            Self::Split => {
                let small = |number: usize| (number + size - leader) % size < size / 2;
                for one in (0..size).filter(|one| small(*one)) {
                    for other in (0..size).filter(|other| !small(*other)) {
                        cluster.network().cut(one, other);
                        cluster.network().cut(other, one);
                    }
                }
            }
            Self::PausedAndIsolated => {
                cluster.pause(leader).unwrap();
                cluster.network().isolate(leader);
                cluster.leader_but(&[leader]).unwrap();
                cluster.resume(leader).unwrap();
            }
        }
    }
}

/// One fault behind the other, each for a moment, under load.
fn suffer(cluster: &mut Cluster, faults: &[Fault], clients: u64, seed: u64) {
    eprintln!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let load = Load::start(cluster, clients, seed);
    load.progress(20, "at first");
    for fault in faults {
        let started = Instant::now();
        fault.begin(cluster, &mut random);
        thread::sleep(Duration::from_millis(random.random_range(200..1_200)));
        if fault.leaves_a_majority() {
            load.progress(20, &format!("{fault:?}"));
        }
        let lasted = started.elapsed();
        cluster.repair().unwrap();
        load.progress(20, &format!("behind {fault:?}"));
        eprintln!("{fault:?}: {} ms, over after {} ms", lasted.as_millis(), started.elapsed().as_millis());
    }
    load.check();
}

#[test]
fn pauses_and_cuts_cost_nothing_that_was_acknowledged() {
    let mut cluster = Cluster::with_network(3, &options()).unwrap();
    let faults = [
        Fault::LeaderPaused,
        Fault::LeaderIsolated,
        Fault::LeaderMute,
        Fault::LeaderDeaf,
        Fault::LinkCut,
        Fault::PausedAndIsolated,
        Fault::MajorityPaused,
    ];
    suffer(&mut cluster, &faults, 3, rand::random());
}

#[test]
fn five_nodes_go_on_without_two() {
    let mut cluster = Cluster::with_network(5, &options()).unwrap();
    let faults = [Fault::Split, Fault::RestartStorm, Fault::MajorityKilled];
    suffer(&mut cluster, &faults, 2, rand::random());
}

/// The long run: `make torture`.
#[test]
#[ignore = "takes as long as it is told to"]
fn torture() {
    let number = |name: &str, default: u64| std::env::var(name).ok().map_or(default, |text| text.parse().unwrap());
    let rounds = number("PERIGEE_TORTURE_ROUNDS", 20);
    let first = number("PERIGEE_TORTURE_SEED", rand::random::<u32>().into());
    for round in 0..rounds {
        let seed = first + round;
        let mut random = StdRng::seed_from_u64(seed);
        let size = if random.random_range(0..3) == 0 { 5 } else { 3 };
        let faults: Vec<Fault> = (0..6).map(|_| ALL[random.random_range(0..ALL.len())]).collect();
        eprintln!("round {round}: {size} nodes, {faults:?}");
        // Small logs, so that who was away gets a snapshot now and then.
        let mut options = options();
        if random.random_range(0..2) == 0 {
            options = options
                .env("PERIGEE_LOG__KEEP_ENTRIES", "50")
                .env("PERIGEE_LOG__FEED_RETENTION", "0")
                .env("PERIGEE_STORAGE__CHECKPOINT_INTERVAL", "1s");
        }
        let mut cluster = Cluster::with_network(size, &options).unwrap();
        suffer(&mut cluster, &faults, 4, seed);
    }
}

/// Asks a node that is paused; the answers come when it goes on.
fn ask_while_paused(cluster: &mut Cluster, old: usize) -> (Vec<Value>, Vec<Answer>, Vec<Answer>) {
    let mut keys: Vec<Connection> =
        (0..6).map(|_| Connection::open(cluster.servers()[old].redis(), PATIENCE).unwrap()).collect();
    let mut sessions: Vec<Session> =
        (0..6).map(|_| Session::connect(cluster.servers()[old].pg(), "postgres", &[]).unwrap()).collect();
    // What the connections' first moments want of the leader is over.
    keys.iter_mut().for_each(|one| assert_eq!(one.line("GET key").bytes(), Some(b"old".to_vec())));
    let select = "SELECT v FROM t WHERE k = 1";
    let mut ask = |sql: &str| -> Vec<Answer> {
        sessions.iter_mut().map(|one| one.ask(&Request::simple(sql)).answers.swap_remove(0)).collect()
    };
    ask(select);
    let mut open = sessions_with_a_block(cluster, old);

    cluster.pause(old).unwrap();
    let new = cluster.leader_but(&[old]).unwrap();
    let mut writes = Connection::open(cluster.servers()[new].redis(), PATIENCE).unwrap();
    until_ok(|| writes.line("SET key new") == Value::Status("OK".into()));
    let address = cluster.servers()[new].pg();
    until_ok(|| {
        Session::connect(address, "postgres", &[]).is_ok_and(|mut session| {
            matches!(session.ask(&Request::simple("UPDATE t SET v = 'new' WHERE k = 1")).answers[..], [Answer::Done(_)])
        })
    });

    for one in &mut keys {
        one.send(&command(&["GET", "key"])).unwrap();
    }
    let together = Arc::new(Barrier::new(sessions.len() + open.len() + 1));
    let asking = |mut session: Session, sql: &'static str| {
        let together = Arc::clone(&together);
        thread::spawn(move || {
            together.wait();
            session.ask(&Request::simple(sql)).answers.swap_remove(0)
        })
    };
    let reading: Vec<_> = sessions.into_iter().map(|session| asking(session, select)).collect();
    let committing: Vec<_> = open.drain(..).map(|session| asking(session, "COMMIT")).collect();
    together.wait();
    thread::sleep(Duration::from_millis(100));
    cluster.resume(old).unwrap();
    let read = keys.iter_mut().map(Connection::receive).collect();
    let selected = reading.into_iter().map(|one| one.join().unwrap()).collect();
    let committed = committing.into_iter().map(|one| one.join().unwrap()).collect();
    (read, selected, committed)
}

/// Sessions with an open transaction that has written.
fn sessions_with_a_block(cluster: &Cluster, number: usize) -> Vec<Session> {
    (0..3)
        .map(|row| {
            let mut session = Session::connect(cluster.servers()[number].pg(), "postgres", &[]).unwrap();
            let sql = format!("BEGIN; INSERT INTO t SELECT 100 + max(k) + {row}, 'block' FROM t");
            let reply = session.ask(&Request::simple(&sql));
            assert!(reply.answers.iter().all(|answer| matches!(answer, Answer::Done(_))), "{reply:?}");
            session
        })
        .collect()
}

fn until_ok(mut done: impl FnMut() -> bool) {
    let started = Instant::now();
    while !done() {
        assert!(started.elapsed() < PATIENCE, "the new leader does not serve");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_leader_that_was_paused_answers_nothing_old() {
    // A leader that stays while nobody is paused: what is asked here first has to be done by it.
    let mut cluster = Cluster::start(&super::options()).unwrap();
    for round in 0..2 {
        let old = cluster.leader().unwrap();
        let mut session = Session::connect(cluster.servers()[old].pg(), "postgres", &[]).unwrap();
        let sql = "CREATE TABLE IF NOT EXISTS t (k int PRIMARY KEY, v text); \
                   INSERT INTO t VALUES (1, 'old') ON CONFLICT (k) DO UPDATE SET v = 'old'";
        let reply = session.ask(&Request::simple(sql));
        assert!(reply.answers.iter().all(|answer| matches!(answer, Answer::Done(_))), "{reply:?}");
        let mut keys = Connection::open(cluster.servers()[old].redis(), PATIENCE).unwrap();
        assert_eq!(keys.line("SET key old"), Value::Status("OK".into()));

        let (read, selected, committed) = ask_while_paused(&mut cluster, old);
        for value in &read {
            assert_ne!(value.bytes(), Some(b"old".to_vec()), "round {round}: GET has given what is no longer there");
        }
        for answer in &selected {
            if let Answer::Rows { rows, .. } = answer {
                assert_eq!(rows[..], [vec![Some(b"new".to_vec())]], "round {round}");
            }
        }
        for answer in &committed {
            assert!(matches!(answer, Answer::Error { .. } | Answer::Lost(_)), "round {round}: {answer:?}");
        }
        let leader = cluster.leader().unwrap();
        let mut session = Session::connect(cluster.servers()[leader].pg(), "postgres", &[]).unwrap();
        let reply = session.ask(&Request::simple("SELECT count(*) FROM t WHERE v = 'block'"));
        assert!(
            matches!(&reply.answers[..], [Answer::Rows { rows, .. }] if rows[..] == [vec![Some(b"0".to_vec())]]),
            "{reply:?}"
        );
    }
}
