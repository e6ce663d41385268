//! What operators ask of a whole cluster: whether it is there, and whether its nodes hold the same.

use perigee_testkit::resp::Connection;
use perigee_testkit::{Cluster, copy_folder, http};
use perigee_tests::admin::admin;

use super::divergence::forge;
use super::{PATIENCE, at_itself, has_rows, options, until, with_table};

fn ask(cluster: &Cluster, number: usize, arguments: &[&str]) -> (String, Option<i32>) {
    admin(&cluster.servers()[number].grpc().to_string(), arguments)
}

#[test]
fn members_are_pinged_and_waited_for() {
    let options = options().with_grpc();
    let mut cluster = Cluster::start(&options).unwrap();
    for number in 0..3 {
        let (text, code) = ask(&cluster, number, &["cluster", "wait-healthy"]);
        assert!(code == Some(0) && text.contains("the cluster is healthy"), "{text}");
        let (text, code) = ask(&cluster, number, &["cluster", "ping"]);
        assert_eq!(code, Some(0), "{text}");
        for name in ["n1", "n2", "n3"] {
            let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{text}"));
            assert!(
                line.contains("answered in ") && line.contains(concat!("perigee ", env!("CARGO_PKG_VERSION"))),
                "{line}"
            );
        }
        assert_eq!(text.matches(" leader at ").count(), 1, "{text}");
    }
    // One is away: said, and failed.
    let leader = cluster.leader().unwrap();
    let away = (leader + 1) % 3;
    let name = format!("n{}", away + 1);
    cluster.kill(away);
    let (text, code) = ask(&cluster, leader, &["cluster", "ping"]);
    assert!(code == Some(1) && text.contains(&format!("no answer of {name}")), "{text}");
    let (text, code) = ask(&cluster, leader, &["cluster", "wait-healthy", "--timeout", "1s"]);
    assert!(code == Some(1) && text.contains("not healthy after 1s") && text.contains(&name), "{text}");
    // Who waits is told as soon as it is back.
    cluster.spawn(away).unwrap();
    let (text, code) = ask(&cluster, leader, &["cluster", "wait-healthy", "--timeout", "2min"]);
    assert_eq!(code, Some(0), "{text}");
    // So is who asks a node that is not there yet.
    (0..3).for_each(|number| cluster.kill(number));
    (0..3).for_each(|number| cluster.spawn(number).unwrap());
    let (text, code) = ask(&cluster, 0, &["cluster", "wait-healthy", "--timeout", "2min"]);
    assert_eq!(code, Some(0), "{text}");
    let (text, code) = ask(&cluster, 0, &["cluster", "wait-healthy", "--timeout", "soon"]);
    assert!(code == Some(2) && text.contains("is not a duration"), "{text}");
}

/// How many entries a member is behind, as the leader says.
fn behind(cluster: &Cluster, leader: usize, member: usize) -> Option<u64> {
    let (status, text) = http::get(cluster.servers()[leader].ops(), "/cluster/replication").unwrap();
    let found: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert!(status == 200 && found["leader"] == format!("n{}", leader + 1), "{text}");
    let members = found["members"].as_array().unwrap();
    assert_eq!(members.len(), 3, "{text}");
    let member = format!("n{}", member + 1);
    members.iter().find(|other| other["id"] == member.as_str()).unwrap()["behind"].as_u64()
}

#[tokio::test]
async fn a_member_that_is_behind_is_seen() {
    let mut cluster = with_table(&options()).await;
    let leader = cluster.leader().unwrap();
    let away = (leader + 1) % 3;
    until("all hold the same", || async { behind(&cluster, leader, away) == Some(0) }).await;
    cluster.kill(away);
    let client = cluster.servers()[leader].client().await.unwrap();
    for number in 0..20 {
        client.batch_execute(&format!("INSERT INTO t VALUES ({number})")).await.unwrap();
    }
    assert!(behind(&cluster, leader, away).unwrap() >= 20);
    assert_eq!(behind(&cluster, leader, leader), Some(0));
    cluster.spawn(away).unwrap();
    until("it has come after", || async { behind(&cluster, leader, away) == Some(0) }).await;
}

#[test]
fn a_node_that_is_alone_is_healthy_too() {
    let (_server, address) = perigee_tests::admin::server_with_grpc(perigee_tests::options());
    for arguments in [&["cluster", "ping"][..], &["cluster", "wait-healthy"], &["verify", "--cluster"]] {
        let (text, code) = admin(&address, arguments);
        assert_eq!(code, Some(0), "{arguments:?}: {text}");
    }
}

/// Rows in chunks and open rows, with and without keys, keys of all kinds.
async fn fill(cluster: &Cluster) {
    let leader = &cluster.servers()[cluster.leader().unwrap()];
    let client = leader.client().await.unwrap();
    client
        .batch_execute(
            "CREATE TABLE t (a int PRIMARY KEY);
             CREATE TYPE mood AS ENUM ('sad', 'ok');
             CREATE TABLE texts (id serial, t text, n numeric(9, 2), ts timestamptz, tags text[], m mood, b bytea, u uuid);
             INSERT INTO texts (t, n, ts, tags, m, b) SELECT 'x' || g, g / 3.0, '2026-01-01'::timestamptz + g * interval '1s',
                 ARRAY['a', NULL, g::text], 'ok'::mood, '\\x00ff'::bytea FROM generate_series(1, 3000) AS s(g);
             UPDATE texts SET t = NULL WHERE id % 7 = 0; DELETE FROM texts WHERE id % 11 = 0;
             INSERT INTO t VALUES (1), (2), (3)",
        )
        .await
        .unwrap();
    let mut redis = Connection::open(leader.redis(), PATIENCE).unwrap();
    for command in [
        "SET string value",
        "SADD set a b c",
        "SADD numbers 3 1 2",
        "ZADD sorted 1 a 2 b",
        "RPUSH list a b",
        "HSET hash a 1 b 2",
        "XADD stream * a 1",
        "PEXPIRE hash 86400000",
        "SET gone 1 PX 1",
        "SPOP set",
        "TS.ADD series 1000 2.5",
        "SELECT 3",
        "SET other 1",
    ] {
        let answer = redis.ask(&command.split(' ').collect::<Vec<_>>());
        assert!(!answer.to_string().starts_with("(error)"), "{command}: {answer}");
    }
    for number in 0..3 {
        has_rows(cluster, number, 3).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_hold_the_same_agree_also_while_they_are_written_to() {
    let options = options().with_grpc().env("PERIGEE_STORAGE__CHECKPOINT_INTERVAL", "2s");
    let mut cluster = Cluster::start(&options).unwrap();
    fill(&cluster).await;
    let agree = |cluster: &Cluster, number: usize| {
        let (text, code) = tokio::task::block_in_place(|| ask(cluster, number, &["verify", "--cluster"]));
        assert!(code == Some(0) && text.ends_with("all is well\n"), "{text}");
        assert_eq!(text.matches("has what most have").count(), 3, "{text}");
    };
    (0..3).for_each(|number| agree(&cluster, number));
    // One has read everything back from its disk.
    let leader = cluster.leader().unwrap();
    let restarted = (leader + 1) % 3;
    tokio::task::block_in_place(|| {
        cluster.server(restarted).stop().unwrap();
        cluster.server(restarted).restart().unwrap();
    });
    let client = cluster.servers()[leader].client().await.unwrap();
    let writing = tokio::spawn(async move {
        for number in 1000.. {
            let sql = format!("INSERT INTO t VALUES ({number}); UPDATE texts SET t = 'y' WHERE id = {number}");
            if client.batch_execute(&sql).await.is_err() {
                return;
            }
        }
    });
    (0..3).for_each(|number| agree(&cluster, number));
    writing.abort();
}

/// What a node makes of a changed log becomes its checkpoint, and its log is what it was: nothing of it differs from the others' but
/// its rows.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_node_that_holds_something_else_is_named() {
    let options = options().with_grpc().env("PERIGEE_STORAGE__CHECKPOINT_INTERVAL", "1h");
    let mut cluster = Cluster::start(&options).unwrap();
    fill(&cluster).await;
    let leader = cluster.leader().unwrap();
    let differs = (leader + 1) % 3;
    // The first checkpoint comes at once, and there is no other until the end.
    until("it has a checkpoint", || async {
        let (_, metrics) = http::get(cluster.servers()[differs].ops(), "/metrics").unwrap();
        metrics.lines().any(|line| line.strip_prefix("perigee_checkpoint_index ").is_some_and(|index| index != "0"))
    })
    .await;
    let client = cluster.servers()[leader].client().await.unwrap();
    client.batch_execute("INSERT INTO texts (t) VALUES ('planted')").await.unwrap();
    client.batch_execute("INSERT INTO t VALUES (4)").await.unwrap();
    has_rows(&cluster, differs, 4).await;
    let name = format!("n{}", differs + 1);
    tokio::task::block_in_place(|| {
        (0..3).for_each(|number| cluster.kill(number));
        let folder = cluster.servers()[differs].data_dir();
        let scratch = cluster.servers()[differs].scratch().to_owned();
        for part in ["log", "meta"] {
            copy_folder(&folder.join(part), &scratch.join(part)).unwrap();
        }
        // What was attested of the log holds no more, until it is put back.
        forge(&cluster, differs, b"planted", b"changed", false);
        // Nobody leads: it only applies what it knows to be committed.
        cluster.spawn(differs).unwrap();
        let started = std::time::Instant::now();
        while cluster.status(differs).is_none() {
            assert!(started.elapsed() < PATIENCE, "it does not start");
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        let exit = cluster.server(differs).stop().unwrap();
        assert!(exit.log.contains("INFO perigee::assembly: final checkpoint index=Some"), "{}", exit.log);
        for part in ["log", "meta"] {
            std::fs::remove_dir_all(folder.join(part)).unwrap();
            copy_folder(&scratch.join(part), &folder.join(part)).unwrap();
        }
        (0..3).for_each(|number| cluster.spawn(number).unwrap());
    });
    until("the planted row is another there", || async {
        let Ok(client) = at_itself(&cluster, differs).await else { return false };
        client.value("SELECT count(*) FROM texts WHERE t = 'changed'").await.is_ok_and(|count| count == "1")
    })
    .await;
    for number in 0..3 {
        let (text, code) = tokio::task::block_in_place(|| {
            let healthy = ask(&cluster, number, &["cluster", "wait-healthy", "--timeout", "2min"]);
            assert_eq!(healthy.1, Some(0), "{}", healthy.0);
            ask(&cluster, number, &["verify", "--cluster"])
        });
        assert_eq!(code, Some(5), "{text}");
        assert!(text.contains(&format!("{name} differs: table public.texts: as many as others have")), "{text}");
        assert!(text.contains("1 faults") && text.matches("has what most have").count() == 2, "{text}");
    }
    // One that is away is said to be.
    let away = (0..3).find(|number| *number != differs && *number != cluster.leader().unwrap()).unwrap();
    cluster.kill(away);
    let (text, code) = tokio::task::block_in_place(|| ask(&cluster, differs, &["verify", "--cluster"]));
    assert!(code != Some(0) && text.contains(&format!("n{} was not compared", away + 1)), "{text}");
}
