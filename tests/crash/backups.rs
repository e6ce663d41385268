//! SIGKILL at every step of a base backup, of the archive of the log, and of a restore. What was there before is there, what is
//! left over is removed, and no node starts on half of a restore.

use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use perigee_testkit::{Server, TestkitError, binary, copy_folder};
use perigee_tests::backups::{
    PATIENCE, archived, cold_files, each, files, files_of, good, last, logs, metric, perigee, restore, sum, url,
    wait_archived, wait_base,
};

use crate::steps::{Steps, points};

const ARCHIVED: &str = "perigee_backup_archived_index";
const CREATE: &str = "CREATE TABLE t (id int8 PRIMARY KEY, v int8, tag text)";

fn insert(n: usize) -> String {
    format!("INSERT INTO t SELECT {n} * 1000 + g, g, md5(g::text) FROM generate_series(1, 300) g")
}

/// What `perigee backup verify` says of a whole backup.
fn verify(backups: &Path) -> String {
    let mut said = (String::new(), 0);
    // A node that merges its archive removes what was just listed; what is wrong stays so.
    for _ in 0..5 {
        said = perigee(&["backup", "verify", "--url", &url(backups)]);
        if said.1 == 0 {
            break;
        }
    }
    assert!(said.0.contains("all is well") && !said.0.contains("lacks"), "{}", said.0);
    said.0
}

fn prune(backups: &Path) {
    let _ = good(&["backup", "prune", "--url", &url(backups), "--keep", "1", "--grace", "0"]);
}

/// Behind `prune` there is what one backup consists of, and nothing else.
fn nothing_is_left_over(backups: &Path) {
    let text = verify(backups);
    assert!(!text.contains("not finished"), "{text}");
    let cold = files_of(backups, "parquet").len();
    assert!(text.contains(&format!("  {cold} cold files")), "{cold} are there: {text}");
    let partial: Vec<_> = files(backups).into_iter().filter(|path| path.to_string_lossy().contains('#')).collect();
    assert!(partial.is_empty(), "{partial:?}");
}

/// Restores all that there is, and compares it.
async fn comes_back(backups: &Path, to: &Path, want: &str) {
    let (text, code) = tokio::task::block_in_place(|| restore(backups, to, &[]));
    assert_eq!(code, 0, "{text}");
    let copy = tokio::task::block_in_place(|| perigee_tests::options().on(to).start().unwrap());
    assert_eq!(sum(&copy).await, want, "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_at_each_step_of_a_base_backup_leaves_those_before_it() {
    let folder = tempfile::tempdir().unwrap();
    let backups = folder.path().join("backups");
    let options = perigee_tests::options().on(&folder.path().join("data"));
    let mut node = tokio::task::block_in_place(|| Steps::new(options, folder.path(), "/backups"));
    let backup = format!("CALL perigee.backup('{}')", url(&backups));
    let client = node.server.client().await.unwrap();
    let migrate = "CALL perigee.migrate('t', 'cold')";
    // The second one has a cold file to copy, which goes again when it is killed.
    each(&client, &format!("{CREATE}; {}; {migrate}; {backup}; {}; {migrate}", insert(0), insert(1))).await;
    let (mut kills, mut want) = (0, String::new());
    for point in points(4) {
        tokio::task::block_in_place(|| node.restart(point));
        let found = sum(&node.server).await;
        assert!(want.is_empty() || found == want, "{found}, and it was {want}");
        tokio::task::block_in_place(|| {
            verify(&backups);
            prune(&backups);
            nothing_is_left_over(&backups);
        });
        let client = node.server.client().await.unwrap();
        client.batch_execute(&format!("INSERT INTO t VALUES (-{point}, 1, 'x')")).await.unwrap();
        want = sum(&node.server).await;
        if !node.run_armed(&client, std::slice::from_ref(&backup)).await {
            break;
        }
        kills += 1;
    }
    assert!(kills > 2, "{kills} kills: a backup has hardly a step");
    comes_back(&backups, &folder.path().join("restored"), &want).await;
}

/// The archiver is killed a step further in each life, once there are `fill` objects; the work is done when `done` says so of
/// how many there are.
async fn killed_while_archiving(fill: usize, done: fn(usize) -> bool, some: usize) {
    let folder = tempfile::tempdir().unwrap();
    let backups = folder.path().join("backups");
    let options = perigee_tests::options().on(&folder.path().join("data"));
    let options = options.env("PERIGEE_BACKUP__URL", url(&backups)).env("PERIGEE_BACKUP__INTERVAL", "5ms");
    let mut node = tokio::task::block_in_place(|| Steps::new(options, folder.path(), "/backups"));
    node.server.client().await.unwrap().batch_execute(CREATE).await.unwrap();
    wait_base(&backups, &node.server).await;
    let (mut acknowledged, mut kills) = (0, 0);
    for point in points(some) {
        tokio::task::block_in_place(|| node.restart(point));
        let client = node.server.client().await.unwrap();
        let count: i64 = client.value("SELECT count(*) FROM t").await.unwrap().parse().unwrap();
        assert!(count >= acknowledged, "{acknowledged} were acknowledged, {count} are there");
        acknowledged = count;
        wait_archived(&backups, &node.server, last(&node.server)).await;
        verify(&backups);
        let insert = "INSERT INTO t SELECT 1 + coalesce(max(id), 0), 1, 'x' FROM t";
        while logs(&backups).len() < fill {
            client.batch_execute(insert).await.unwrap();
            acknowledged += 1;
            wait_archived(&backups, &node.server, last(&node.server)).await;
        }
        node.arm();
        let started = Instant::now();
        let broken = loop {
            if client.batch_execute(insert).await.is_err() {
                break true;
            }
            acknowledged += 1;
            let shipped = last(&node.server);
            while node.server.poll().is_none() && metric(&node.server, ARCHIVED) < shipped {
                assert!(started.elapsed() < PATIENCE, "nothing is archived:\n{}", node.server.log());
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            if done(logs(&backups).len()) {
                break false;
            }
        };
        if !tokio::task::block_in_place(|| node.disarm(broken)) {
            break;
        }
        kills += 1;
    }
    assert!(kills > 0, "the archive has hardly a step");
    let want = sum(&node.server).await;
    wait_archived(&backups, &node.server, last(&node.server)).await;
    tokio::task::block_in_place(|| node.server.stop()).unwrap();
    comes_back(&backups, &folder.path().join("restored"), &want).await;
    tokio::task::block_in_place(|| node.restart(usize::MAX));
    let client = node.server.client().await.unwrap();
    client.batch_execute("CALL perigee.backup()").await.unwrap();
    tokio::task::block_in_place(|| node.server.stop()).unwrap();
    prune(&backups);
    nothing_is_left_over(&backups);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_at_each_step_of_the_archive_leaves_no_gap() {
    killed_while_archiving(0, |_| true, 3).await;
}

/// Small objects become one at 64.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_at_each_step_of_a_merge_of_the_archive_leaves_no_gap() {
    killed_while_archiving(62, |objects| objects < 32, 31).await;
}

/// `perigee restore`, killed at a step. Says whether it was.
fn restore_killed_at(point: usize, backups: &Path, to: &Path, more: &[&str]) -> bool {
    fs::create_dir_all(to).unwrap();
    let (url, dir) = (url(backups), to.canonicalize().unwrap());
    let mut command = Command::new(binary::perigee().unwrap());
    command.args(["restore", "--url", &url, "--data-dir"]).arg(&dir).args(more);
    command.env("LD_PRELOAD", binary::faults().unwrap()).env("PERIGEE_FAULTS_DIR", &dir);
    command.env("PERIGEE_FAULTS_KILL_AT", point.to_string());
    let output = command.output().unwrap();
    assert!(output.status.success() || output.status.signal() == Some(9), "{output:?}");
    !output.status.success()
}

/// A cluster with rows in all tiers and its archive; what its rows come to.
async fn backed_up(backups: &Path) -> String {
    let mut server = tokio::task::block_in_place(|| archived(backups, perigee_tests::options()));
    let client = server.client().await.unwrap();
    client.batch_execute(CREATE).await.unwrap();
    each(&client, &format!("{}; CALL perigee.migrate('t', 'cold'); {}", insert(1), insert(2))).await;
    wait_base(backups, &server).await;
    each(&client, &format!("CALL perigee.backup(); {}; CALL perigee.migrate('t', 'cold'); {}", insert(3), insert(4)))
        .await;
    let want = sum(&server).await;
    drop(client);
    tokio::task::block_in_place(|| server.stop()).unwrap();
    verify(backups);
    want
}

/// Why a node does not start on a folder.
fn refusal(folder: &Path) -> Result<Server, String> {
    match perigee_tests::options().on(folder).start() {
        Ok(server) => Ok(server),
        Err(TestkitError::Server { log, .. }) => Err(log),
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_at_each_step_of_a_restore_leaves_nothing_that_starts() {
    let folder = tempfile::tempdir().unwrap();
    let backups = folder.path().join("backups");
    let want = backed_up(&backups).await;
    let mut kills = 0;
    for point in points(12) {
        let to = folder.path().join(format!("restored-{point}"));
        if !tokio::task::block_in_place(|| restore_killed_at(point, &backups, &to, &[])) {
            break;
        }
        kills += 1;
        // Before that nothing was begun; and behind its last change it has ended, whoever was told.
        let mut ended = false;
        if to.join("meta/restoring.fact").exists() {
            match tokio::task::block_in_place(|| refusal(&to)) {
                Err(log) => assert!(log.contains("holds a restore that has not ended"), "step {point}: {log}"),
                Ok(whole) => {
                    assert_eq!(sum(&whole).await, want, "step {point}");
                    ended = true;
                }
            }
        }
        // Once more, and killed again; then to its end.
        if !ended {
            tokio::task::block_in_place(|| restore_killed_at(point + 1, &backups, &to, &[]));
            let (text, code) = tokio::task::block_in_place(|| restore(&backups, &to, &[]));
            let has_ended = code == 3 && text.contains("has data of a node");
            assert!(code == 0 || has_ended, "step {point}: {code} {text}");
        }
        let copy = tokio::task::block_in_place(|| perigee_tests::options().on(&to).start().unwrap());
        assert_eq!(sum(&copy).await, want, "step {point}");
        let client = copy.client().await.unwrap();
        client.batch_execute("CALL perigee.collect_cold_files()").await.unwrap();
        let named = client.value("SELECT sum(files)::text FROM perigee.tiers WHERE tier = 'cold'").await.unwrap();
        assert_eq!(cold_files(&to.join("cold")).len().to_string(), named, "step {point}");
        drop((client, copy));
        fs::remove_dir_all(&to).unwrap();
    }
    assert!(kills > 3, "{kills} kills: a restore has hardly a step");
}

/// `--force` empties a folder that has a node's data: no node starts on a part of these.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_while_a_folder_is_emptied_leaves_nothing_that_starts() {
    let folder = tempfile::tempdir().unwrap();
    let (backups, old) = (folder.path().join("backups"), folder.path().join("old"));
    let want = backed_up(&backups).await;
    let mut before = tokio::task::block_in_place(|| perigee_tests::options().on(&old).start().unwrap());
    let client = before.client().await.unwrap();
    each(&client, &format!("{CREATE}; {}; CALL perigee.migrate('t', 'cold'); CHECKPOINT; {}", insert(7), insert(8)))
        .await;
    let of_old = sum(&before).await;
    drop(client);
    tokio::task::block_in_place(|| before.stop()).unwrap();
    let mut kills = 0;
    for point in points(4) {
        let to = folder.path().join(format!("restored-{point}"));
        copy_folder(&old, &to).unwrap();
        tokio::task::block_in_place(|| restore_killed_at(point, &backups, &to, &["--force"]));
        if to.join("meta/restoring.fact").exists() {
            break;
        }
        kills += 1;
        let has_data = ["log", "lsm"].iter().any(|name| !files(&to.join(name)).is_empty());
        if has_data {
            match tokio::task::block_in_place(|| refusal(&to)) {
                Ok(whole) => assert_eq!(sum(&whole).await, of_old, "step {point}"),
                Err(log) => assert!(log.contains("identity in meta/ is missing"), "step {point}: {log}"),
            }
        }
        let (text, code) = tokio::task::block_in_place(|| restore(&backups, &to, &["--force"]));
        assert_eq!(code, 0, "step {point}: {text}");
        let copy = tokio::task::block_in_place(|| perigee_tests::options().on(&to).start().unwrap());
        assert_eq!(sum(&copy).await, want, "step {point}: {text}");
        drop(copy);
        fs::remove_dir_all(&to).unwrap();
    }
    assert!(kills > 2, "{kills} kills: there was hardly anything to remove");
}
