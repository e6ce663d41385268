//! A node whose data is damaged comes back by itself, from the others.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use perigee_testkit::Cluster;
use perigee_testkit::resp::{Connection, Value};

use super::{PATIENCE, has_rows, options, until, voters};

/// Flips a bit in the middle of what is written in a file.
fn flip(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let used = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    bytes[used / 2] ^= 0x10;
    fs::write(path, bytes).unwrap();
}

/// A file of a folder, the first by name of those that end so.
fn file(folder: &Path, ending: &str) -> PathBuf {
    let mut paths: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.into_iter().find(|path| path.to_string_lossy().ends_with(ending)).unwrap()
}

fn set_aside(cluster: &Cluster, number: usize) -> Vec<PathBuf> {
    let entries = fs::read_dir(cluster.servers()[number].data_dir()).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("damaged-")).collect()
}

async fn all_vote(cluster: &Cluster) {
    until("all vote", || async {
        let votes = |number| voters(cluster, number) == ["n1", "n2", "n3"];
        let members = cluster.status(cluster.leader().unwrap()).unwrap()["members"].as_array().unwrap().len();
        (0..3).all(votes) && members == 3
    })
    .await;
}

/// Rows and keys are there, at the node itself.
async fn has_all(cluster: &Cluster, number: usize, rows: u64) {
    has_rows(cluster, number, rows).await;
    let mut redis = Connection::open(cluster.servers()[number].redis(), PATIENCE).unwrap();
    assert_eq!(redis.ask(&["GET", "key"]), Value::Bulk(b"value".to_vec()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_with_damaged_files_comes_back_by_itself() {
    let mut cluster = super::with_table(&options()).await;
    let leader = cluster.leader().unwrap();
    let (damaged, other) = ((leader + 1) % 3, (leader + 2) % 3);
    let client = cluster.servers()[leader].client().await.unwrap();
    let mut redis = Connection::open(cluster.servers()[leader].redis(), PATIENCE).unwrap();
    assert_eq!(redis.ask(&["SET", "key", "value"]), Value::Status("OK".into()));
    let pids: Vec<Option<u32>> = [leader, other].map(|number| cluster.servers()[number].pid()).to_vec();
    let mut rows = 0;
    let incarnation = || async {
        let sql = format!("SELECT incarnation FROM perigee.cluster_nodes WHERE name = 'n{}'", damaged + 1);
        client.value(&sql).await.unwrap()
    };
    let mut before = incarnation().await;
    for (round, (folder, ending)) in
        [("log", ".segment"), ("meta", "vote"), ("lsm/keyspaces/1", "current")].into_iter().enumerate()
    {
        client
            .batch_execute(&format!("INSERT INTO t SELECT x FROM generate_series({rows}, {rows} + 499) AS g(x)"))
            .await
            .unwrap();
        rows += 500;
        has_all(&cluster, damaged, rows).await;
        // A graceful stop leaves a checkpoint, and everything of the log known to be on the disk.
        tokio::task::block_in_place(|| cluster.server(damaged).stop()).unwrap();
        client
            .batch_execute(&format!("INSERT INTO t SELECT x FROM generate_series({rows}, {rows} + 499) AS g(x)"))
            .await
            .unwrap();
        rows += 500;
        flip(&file(&cluster.servers()[damaged].data_dir().join(folder), ending));
        cluster.spawn(damaged).unwrap();
        has_all(&cluster, damaged, rows).await;
        let kept = set_aside(&cluster, damaged);
        assert_eq!(kept.len(), round + 1, "{folder}");
        assert!(kept.iter().all(|kept| kept.join("log").is_dir() && kept.join("meta/identity").exists()));
        all_vote(&cluster).await;
        let now = incarnation().await;
        assert_ne!(now, before, "{folder}");
        before = now;
    }
    let log = cluster.servers()[damaged].log();
    assert_eq!(log.matches("begins anew as another incarnation").count(), 3, "{log}");
    // The others have not stopped, and it counts: without one of them there is still a majority.
    assert_eq!([leader, other].map(|number| cluster.servers()[number].pid()).to_vec(), pids);
    cluster.kill(other);
    client.batch_execute(&format!("INSERT INTO t VALUES ({rows})")).await.unwrap();
    has_rows(&cluster, damaged, rows + 1).await;
    tokio::task::block_in_place(|| cluster.server(other).restart()).unwrap();

    // A disk that damages everything is not given ever more.
    tokio::task::block_in_place(|| cluster.server(damaged).stop()).unwrap();
    flip(&cluster.servers()[damaged].data_dir().join("meta/vote"));
    cluster.spawn(damaged).unwrap();
    let exit = tokio::task::block_in_place(|| cluster.server(damaged).wait_exit(PATIENCE)).unwrap();
    assert!(exit.status.code() == Some(5) && exit.log.contains("folders of damaged data already"), "{}", exit.log);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_majority_damaged_data_stays_where_it_is() {
    let mut cluster = super::with_table(&options()).await;
    let leader = cluster.leader().unwrap();
    let damaged = (leader + 1) % 3;
    let client = cluster.servers()[leader].client().await.unwrap();
    client.batch_execute("INSERT INTO t SELECT x FROM generate_series(1, 500) AS g(x)").await.unwrap();
    has_rows(&cluster, damaged, 500).await;
    tokio::task::block_in_place(|| cluster.server(damaged).stop()).unwrap();
    (0..3).for_each(|number| cluster.kill(number));
    flip(&file(&cluster.servers()[damaged].data_dir().join("log"), ".segment"));
    cluster.spawn(damaged).unwrap();
    let says = |cluster: &Cluster, text: &str| cluster.servers()[damaged].log().contains(text);
    until("it says that it waits", || async { says(&cluster, "waiting for a majority of the peers") }).await;
    // One of the others is none.
    cluster.spawn(leader).unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(set_aside(&cluster, damaged).is_empty());
    assert!(cluster.status(damaged).is_none_or(|status| status["role"] == "starting"));
    let exit = tokio::task::block_in_place(|| cluster.server(damaged).stop()).unwrap();
    assert_eq!(exit.status.code(), Some(0), "{}", exit.log);
    assert!(set_aside(&cluster, damaged).is_empty(), "its data was not touched");
    (0..3).filter(|number| *number != leader).for_each(|number| cluster.spawn(number).unwrap());
    has_rows(&cluster, damaged, 500).await;
    assert_eq!(set_aside(&cluster, damaged).len(), 1);
    all_vote(&cluster).await;
}
