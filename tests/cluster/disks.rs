//! Nodes of a cluster whose disk is slow, full or fails, and whose clock jumps, under load: nothing acknowledged is lost or doubled.

use std::fs;

use perigee_testkit::Cluster;

use super::faults::options;
use super::load::Load;
use super::{PATIENCE, until};

/// Three nodes with faults that are in force on one of them while a file of its name is in the folder; `own` is for that node alone.
fn faulty(
    folder: &tempfile::TempDir,
    faults: &[(&str, &str)],
    own: impl Fn(&str) -> Option<(&'static str, &'static str)>,
) -> Cluster {
    let options = |name: &str| {
        let mut options =
            options().env("PERIGEE_FAULTS_WHILE", folder.path().join(name).to_str().unwrap()).with_faults();
        for (fault, value) in faults.iter().copied().chain(own(name)) {
            options = options.env(fault, value);
        }
        options
    };
    Cluster::each(3, options).unwrap()
}

/// The fault comes to the leader, then to a follower, each until the clients have come on with it and without it. A node may have
/// to end by it: what is on its disk is in doubt.
fn suffer(mut cluster: Cluster, folder: &tempfile::TempDir, ends: bool) {
    let load = Load::start(&cluster, 3, rand::random());
    load.progress(20, "at first");
    for follows in [0, 1] {
        let number = (cluster.leader().unwrap() + follows) % 3;
        let switch = folder.path().join(format!("n{}", number + 1));
        fs::write(&switch, "").unwrap();
        load.progress(40, "with the fault");
        if ends {
            let exit = cluster.server(number).wait_exit(PATIENCE).unwrap();
            assert_eq!(exit.status.code(), Some(1), "{}", exit.log);
        }
        fs::remove_file(&switch).unwrap();
        cluster.repair().unwrap();
        load.progress(20, "behind the fault");
    }
    load.check();
}

/// It would refuse the writes of all.
#[tokio::test]
async fn a_leader_whose_disk_is_nearly_full_lets_another_lead() {
    let folder = tempfile::tempdir().unwrap();
    let faults = [("PERIGEE_FAULTS_FREE", "100000000"), ("PERIGEE_STORAGE__DISK_RESERVE", "256MiB")];
    let cluster = faulty(&folder, &faults, |_| None);
    let full = cluster.leader().unwrap();
    let client = cluster.servers()[(full + 1) % 3].client().await.unwrap();
    client.batch_execute("CREATE TABLE t (a int)").await.unwrap();
    fs::write(folder.path().join(format!("n{}", full + 1)), "").unwrap();
    until("another member leads", || {
        let leader = cluster.leader();
        async move { leader.is_ok_and(|leader| leader != full) }
    })
    .await;
    until("rows are written", || async { client.batch_execute("INSERT INTO t VALUES (1)").await.is_ok() }).await;
}

#[test]
fn slow_disks_and_clocks_that_jump_cost_nothing_that_was_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let jump = |name: &str| match name {
        "n1" => Some(("PERIGEE_FAULTS_CLOCK_JUMP", "4000:3600000")),
        "n2" => Some(("PERIGEE_FAULTS_CLOCK_JUMP", "6000:-3600000")),
        _ => None,
    };
    suffer(faulty(&folder, &[("PERIGEE_FAULTS_SLOW_SYNC_MS", "250")], jump), &folder, false);
}

#[test]
fn a_full_disk_costs_nothing_that_was_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    suffer(faulty(&folder, &[("PERIGEE_FAULTS_FAIL", "write:ENOSPC:1")], |_| None), &folder, true);
}

#[test]
fn a_disk_that_fails_costs_nothing_that_was_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    suffer(faulty(&folder, &[("PERIGEE_FAULTS_FAIL", "sync:EIO:1:/log/")], |_| None), &folder, true);
}
