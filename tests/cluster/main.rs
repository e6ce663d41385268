//! Three nodes of one cluster as processes: who leads, who follows, who is killed and comes back.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends")]

mod disks;
mod divergence;
mod failover;
mod faults;
mod grpc;
mod health;
mod load;
mod members;
mod redis;
mod repair;
mod rest;
mod sql;
mod tiering;
mod traces;

use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};

use perigee_testkit::resp::{Connection, Value};
use perigee_testkit::{Client, Cluster, ServerOptions, TestkitError, http};

const PATIENCE: Duration = Duration::from_secs(120);

/// A machine that is busy for a moment is no reason for another leader.
fn options() -> ServerOptions {
    let options = perigee_tests::options().with_redis();
    options.env("PERIGEE_NODE__HEARTBEAT", "200ms").env("PERIGEE_NODE__ELECTION_TIMEOUT", "2s")
}

/// A cluster with a table `t`.
async fn with_table(options: &ServerOptions) -> Cluster {
    let cluster = Cluster::start(options).unwrap();
    let client = cluster.servers()[cluster.leader().unwrap()].client().await.unwrap();
    client.batch_execute("CREATE TABLE t (a int PRIMARY KEY)").await.unwrap();
    cluster
}

/// Asks again until it is as wanted.
async fn until<F: Future<Output = bool>>(what: &str, mut ask: impl FnMut() -> F) {
    let started = Instant::now();
    while !ask().await {
        assert!(started.elapsed() < PATIENCE, "{what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A client that reads what the node itself has.
async fn at_itself(cluster: &Cluster, number: usize) -> Result<Client, TestkitError> {
    let client = cluster.servers()[number].client().await?;
    client.batch_execute("SET perigee.read_consistency = local").await?;
    Ok(client)
}

/// Waits until a node has all rows, read at the node itself.
async fn has_rows(cluster: &Cluster, number: usize, wanted: u64) {
    until(&format!("n{} has {wanted} rows", number + 1), || async {
        let Ok(client) = at_itself(cluster, number).await else { return false };
        matches!(client.value("SELECT count(*) FROM t").await, Ok(found) if found == wanted.to_string())
    })
    .await;
}

/// Writes numbers from `next` on through whoever leads, for `time`; gives what was acknowledged.
async fn write(cluster: &Cluster, next: &mut u64, time: Duration) -> BTreeSet<u64> {
    let mut acknowledged = BTreeSet::new();
    let started = Instant::now();
    while started.elapsed() < time || acknowledged.is_empty() {
        assert!(started.elapsed() < PATIENCE, "writes do not go on");
        let leader = cluster.leader().unwrap();
        let Ok(client) = cluster.servers()[leader].client().await else { continue };
        while started.elapsed() < time || acknowledged.is_empty() {
            let number = *next;
            *next += 1;
            if client.batch_execute(&format!("INSERT INTO t VALUES ({number})")).await.is_err() {
                break;
            }
            acknowledged.insert(number);
        }
    }
    acknowledged
}

/// Everything acknowledged is there, on every node, and all nodes have the same.
async fn check(cluster: &Cluster, acknowledged: &BTreeSet<u64>) {
    let leader = cluster.leader().unwrap();
    let sql = "SELECT a FROM t ORDER BY a";
    let rows = cluster.servers()[leader].client().await.unwrap().rows(sql).await.unwrap();
    let found: BTreeSet<u64> = rows.iter().map(|row| row[0].as_ref().unwrap().parse().unwrap()).collect();
    assert_eq!(found.len(), rows.len());
    let lost: Vec<&u64> = acknowledged.difference(&found).collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
    for number in 0..3 {
        has_rows(cluster, number, rows.len() as u64).await;
        let same = at_itself(cluster, number).await.unwrap().rows(sql).await.unwrap();
        assert!(same == rows, "n{} has other rows", number + 1);
    }
}

fn voters(cluster: &Cluster, number: usize) -> Vec<String> {
    let Some(status) = cluster.status(number) else { return Vec::new() };
    let members = status["members"].as_array().cloned().unwrap_or_default();
    let voters = members.iter().filter(|member| member["voter"] == true);
    voters.filter_map(|member| member["id"].as_str().map(str::to_owned)).collect()
}

#[tokio::test]
async fn three_nodes_replicate_what_the_leader_writes() {
    let cluster = Cluster::start(&options()).unwrap();
    let leader = cluster.leader().unwrap();
    let client = cluster.servers()[leader].client().await.unwrap();
    client.batch_execute("CREATE TABLE t (a int PRIMARY KEY); CREATE INDEX ON t (a)").await.unwrap();
    client.batch_execute("INSERT INTO t SELECT x FROM generate_series(1, 500) AS g(x)").await.unwrap();
    let mut redis = Connection::open(cluster.servers()[leader].redis(), PATIENCE).unwrap();
    assert_eq!(redis.ask(&["SET", "key", "value"]), Value::Status("OK".into()));
    for number in (0..3).filter(|number| *number != leader) {
        has_rows(&cluster, number, 500).await;
        let server = &cluster.servers()[number];
        let follower = server.client().await.unwrap();
        assert_eq!(follower.value("SELECT sum(a) FROM t WHERE a <= 10").await.unwrap(), "55");
        let mut keys = Connection::open(server.redis(), PATIENCE).unwrap();
        assert_eq!(keys.ask(&["GET", "key"]).bytes(), Some(b"value".to_vec()));
    }
    assert_eq!(voters(&cluster, leader), ["n1", "n2", "n3"]);
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_when_nodes_are_killed() {
    let mut cluster = with_table(&options()).await;
    let (mut next, mut acknowledged) = (0, BTreeSet::new());
    for round in 0..3 {
        acknowledged.extend(write(&cluster, &mut next, Duration::from_secs(1)).await);
        let leader = cluster.leader().unwrap();
        // The leader, a follower, the leader.
        let killed = if round == 1 { (leader + 1) % 3 } else { leader };
        cluster.server(killed).kill();
        let killed_at = Instant::now();
        acknowledged.extend(write(&cluster, &mut next, Duration::ZERO).await);
        eprintln!("writes went on {} ms after n{} was killed", killed_at.elapsed().as_millis(), killed + 1);
        acknowledged.extend(write(&cluster, &mut next, Duration::from_secs(1)).await);
        cluster.server(killed).restart().unwrap();
        check(&cluster, &acknowledged).await;
    }
}

#[tokio::test]
async fn an_empty_disk_is_filled_and_votes_again() {
    let mut cluster = with_table(&options()).await;
    let mut next = 0;
    let mut acknowledged = write(&cluster, &mut next, Duration::from_secs(1)).await;
    let replaced = (cluster.leader().unwrap() + 1) % 3;
    cluster.server(replaced).kill();
    fs::remove_dir_all(cluster.servers()[replaced].data_dir()).unwrap();
    cluster.server(replaced).restart().unwrap();
    acknowledged.extend(write(&cluster, &mut next, Duration::from_secs(1)).await);
    check(&cluster, &acknowledged).await;
    until("the new incarnation votes", || {
        let voters = voters(&cluster, cluster.leader().unwrap());
        async move { voters == ["n1", "n2", "n3"] }
    })
    .await;
    // It counts: without one of the others there is still a majority.
    let other = (replaced + 1) % 3;
    cluster.server(other).kill();
    acknowledged.extend(write(&cluster, &mut next, Duration::from_secs(1)).await);
    cluster.server(other).restart().unwrap();
    check(&cluster, &acknowledged).await;
}

#[tokio::test]
async fn a_follower_below_the_cut_log_gets_a_snapshot() {
    let options = options()
        .with_rest()
        .env("PERIGEE_LOG__KEEP_ENTRIES", "20")
        .env("PERIGEE_LOG__FEED_RETENTION", "0")
        .env("PERIGEE_STORAGE__CHECKPOINT_INTERVAL", "1s");
    let mut cluster = with_table(&options).await;
    let mut next = 0;
    let mut acknowledged = write(&cluster, &mut next, Duration::from_secs(1)).await;
    let away = (cluster.leader().unwrap() + 1) % 3;
    cluster.server(away).kill();
    let stood = cluster.status(cluster.leader().unwrap()).unwrap()["applied"].as_u64().unwrap();
    let started = Instant::now();
    loop {
        acknowledged.extend(write(&cluster, &mut next, Duration::from_secs(1)).await);
        let leader = cluster.leader().unwrap();
        if cluster.status(leader).unwrap()["log"]["first"].as_u64().unwrap() > stood + 1 {
            break;
        }
        assert!(started.elapsed() < PATIENCE, "the log was not cut");
    }
    // Who follows the changes and was away as long is told so, never given what is left without what is missing.
    for server in cluster.servers().iter().filter(|server| server.pid().is_some()) {
        let (status, text) = http::get(server.rest(), "/v1/changes/t?from=2.0").unwrap();
        assert!(status == 410 && text.contains("are no longer kept"), "{status}: {text}");
    }
    cluster.server(away).restart().unwrap();
    acknowledged.extend(write(&cluster, &mut next, Duration::from_secs(1)).await);
    check(&cluster, &acknowledged).await;
    let log = cluster.servers()[away].log();
    assert!(log.contains("a snapshot of the leader has taken the place"), "{log}");
}

#[tokio::test]
async fn a_leader_that_stops_hands_over() -> Result<(), TestkitError> {
    let mut cluster = Cluster::start(&options())?;
    let leader = cluster.leader()?;
    let exit = cluster.server(leader).stop()?;
    assert_eq!(exit.status.code(), Some(0), "{}", exit.log);
    assert!(!exit.log.contains("no other member has taken over"), "{}", exit.log);
    assert_ne!(cluster.leader()?, leader);
    cluster.server(leader).restart()?;
    Ok(())
}

#[tokio::test]
async fn a_leader_without_the_others_waits_between_two_tries_and_stops_when_told() -> Result<(), TestkitError> {
    // As loud as openraft is: each try is a line.
    let mut cluster = Cluster::start(&options().env("PERIGEE_TELEMETRY__LEVEL", "warn"))?;
    let leader = cluster.leader()?;
    for number in (0..3).filter(|number| *number != leader) {
        cluster.server(number).kill();
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    let lines = cluster.servers()[leader].log().lines().count();
    assert!(lines < 10_000, "{lines} lines");
    let exit = cluster.server(leader).stop()?;
    assert_eq!(exit.status.code(), Some(0), "{}", exit.log);
    Ok(())
}

#[test]
fn peers_elsewhere_need_certificates() {
    let peers = "n1=127.0.0.1:1,n2=192.0.2.1:7000,n3=127.0.0.1:3";
    let error =
        options().flag(&["--peers", peers, "--cluster-address", "127.0.0.1:0"]).start().err().unwrap().to_string();
    assert!(error.contains("cluster_certificate") && error.contains("--insecure"), "{error}");
}
