//! Backups of a running node and restores from them: what comes back is what was there, at the moment that was asked for.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use perigee_testkit::Client;
use perigee_tests::backups::{
    PATIENCE, archived, archived_every, bases, cold_files, each, files, files_of, good, last, logs, perigee, restore,
    sum, url, wait_archived, wait_base,
};

/// A base backup of a node without an archive: tables of all tiers and keys, by SQL and by the command.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_of_a_running_node_comes_back_whole() {
    let server = tokio::task::block_in_place(|| perigee_tests::options().with_grpc().with_redis().start().unwrap());
    let client = server.client().await.unwrap();
    each(
        &client,
        "CREATE TABLE t (id int8 PRIMARY KEY, v int8, tag text); CREATE INDEX ON t (v);
             INSERT INTO t SELECT g, g, 'tag ' || g FROM generate_series(1, 20000) g;
             CALL perigee.migrate('t', 'cold');
             UPDATE t SET v = 0 WHERE id % 100 = 0; DELETE FROM t WHERE id % 1000 = 1;
             INSERT INTO t SELECT g, g, 'tag ' || g FROM generate_series(20001, 21000) g;
             CREATE SEQUENCE s; SELECT nextval('s'); CREATE ROLE reader LOGIN PASSWORD 'secret';
             INSERT INTO redis.strings (key, value) VALUES ('k', 'kept')",
    )
    .await;
    let backups = server.scratch().join("backups");
    let error = client.batch_execute("CALL perigee.backup()").await.unwrap_err();
    assert_eq!(error.code().unwrap().code(), "55000", "{error:?}");
    client.batch_execute(&format!("CALL perigee.backup('{}')", url(&backups))).await.unwrap();
    let grpc = server.grpc().to_string();
    let made = tokio::task::block_in_place(|| good(&["backup", "create", "--address", &grpc, "--url", &url(&backups)]));
    assert!(made.contains("1 cold files"), "{made}");
    let questions = [
        "SELECT count(*), sum(id), sum(v), md5(string_agg(tag, ',' ORDER BY id)) FROM t",
        "SELECT id FROM t WHERE v = 12345",
        "SELECT tag FROM t WHERE id = 20500",
        "SELECT value FROM redis.strings WHERE key = 'k'",
        "SELECT rolname FROM pg_roles WHERE rolname = 'reader'",
    ];
    let mut before = Vec::new();
    for question in questions {
        before.push(client.rows(question).await.unwrap());
    }
    let verified = good(&["backup", "verify", "--url", &url(&backups)]);
    assert!(verified.contains("all is well"), "{verified}");

    let to = server.scratch().join("restored");
    let (text, code) = tokio::task::block_in_place(|| restore(&backups, &to, &[]));
    assert_eq!(code, 0, "{text}");
    let (text, code) = restore(&backups, &to, &[]);
    assert!(code == 3 && text.contains("--force"), "{text}");
    let (text, code) = tokio::task::block_in_place(|| restore(&backups, &to, &["--force"]));
    assert_eq!(code, 0, "{text}");
    let copy = tokio::task::block_in_place(|| perigee_tests::options().with_redis().on(&to).start().unwrap());
    let of_copy = copy.client().await.unwrap();
    for (question, before) in questions.iter().zip(&before) {
        assert_eq!(of_copy.rows(question).await.unwrap(), *before, "{question}");
    }
    // It goes on by itself: keys, sequences, files.
    let error = of_copy.batch_execute("INSERT INTO t VALUES (2, 0, '')").await.unwrap_err();
    assert_eq!(error.code().unwrap().code(), "23505");
    assert!(of_copy.value("SELECT nextval('s')").await.unwrap().parse::<i64>().unwrap() > 1);
    each(&of_copy, "CALL perigee.migrate('t', 'cold'); CALL perigee.collect_cold_files()").await;
    assert_eq!(of_copy.rows(questions[0]).await.unwrap(), before[0]);
    let verified = tokio::task::block_in_place(|| good(&["log", "verify", "--data-dir", to.to_str().unwrap()]));
    assert!(verified.contains("the log is whole"), "{verified}");
}

/// The moments between transactions: by time, and by entry.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restore_stops_between_two_transactions() {
    let folder = tempfile::tempdir().unwrap();
    let backups = folder.path().join("backups");
    let server = tokio::task::block_in_place(|| archived(&backups, perigee_tests::options()));
    let client = server.client().await.unwrap();
    client.batch_execute("CREATE TABLE t (id int8 PRIMARY KEY, v int8)").await.unwrap();
    wait_base(&backups, &server).await;
    let mut moments = Vec::new();
    for n in 1..=6 {
        let rows = format!("INSERT INTO t SELECT {n} * 1000 + g, {n} FROM generate_series(1, 100) g");
        client.batch_execute(&rows).await.unwrap();
        if n == 3 {
            each(&client, "CALL perigee.migrate('t', 'cold'); CHECKPOINT").await;
        }
        let time = client.value("SELECT clock_timestamp()");
        moments.push((n, time.await.unwrap(), last(&server), sum(&server).await));
    }
    // A base in the middle: earlier moments need the one before it.
    client.batch_execute("CALL perigee.backup()").await.unwrap();
    client.batch_execute("INSERT INTO t VALUES (7001, 7)").await.unwrap();
    let written = Instant::now();
    let end = (last(&server), sum(&server).await);
    wait_archived(&backups, &server, end.0).await;
    println!("archived {:?} after the last commit", written.elapsed());
    drop(client);
    // Everything of the node is lost, at any moment.
    drop(server);
    let verified = good(&["backup", "verify", "--url", &url(&backups)]);
    assert!(verified.contains("all is well") && !verified.contains("lacks"), "{verified}");
    let check = async |name: &str, arguments: &[&str], want: &str| {
        let to = folder.path().join(name);
        let (text, code) = tokio::task::block_in_place(|| restore(&backups, &to, arguments));
        assert_eq!(code, 0, "{name}: {text}");
        let copy = tokio::task::block_in_place(|| perigee_tests::options().on(&to).start().unwrap());
        assert_eq!(sum(&copy).await, want, "{name}: {text}");
    };
    for (n, time, index, want) in [&moments[2], &moments[4]] {
        check(&format!("time {n}"), &["--to-time", time], want).await;
        check(&format!("index {n}"), &["--to-index", &index.to_string()], want).await;
    }
    check("end", &[], &end.1).await;
    let (text, code) = restore(&backups, &folder.path().join("x"), &["--to-index", "1000000"]);
    assert!(code == 2 && text.contains("cannot be restored"), "{text}");
    let (text, code) = restore(&backups, &folder.path().join("x"), &["--to-time", "2001-01-01T00:00:00Z"]);
    assert!(code == 2 && text.contains("before the oldest"), "{text}");
    assert!(!folder.path().join("x").exists(), "a refused restore makes nothing");
}

/// A restored cluster and its original, with one folder for the cold files of both: neither touches the other's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restored_cluster_leaves_its_original_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (backups, bucket) = (folder.path().join("backups"), folder.path().join("bucket"));
    let shared = || perigee_tests::options().env("PERIGEE_COLD__URL", url(&bucket));
    let server = tokio::task::block_in_place(|| archived(&backups, shared()));
    let client = server.client().await.unwrap();
    each(
        &client,
        "CREATE TABLE t (id int8 PRIMARY KEY, v int8); INSERT INTO t SELECT g, g FROM generate_series(1, 3000) g;
             CALL perigee.migrate('t', 'cold'); CALL perigee.backup()",
    )
    .await;
    let of_original = cold_files(&bucket);
    let want = sum(&server).await;
    let to = folder.path().join("restored");
    let setting = folder.path().join("perigee.toml");
    fs::write(&setting, format!("[cold]\nurl = \"{}\"\n", url(&bucket))).unwrap();
    let (text, code) = tokio::task::block_in_place(|| restore(&backups, &to, &["--config", setting.to_str().unwrap()]));
    assert_eq!(code, 0, "{text}");
    // Its own backups go beside those of the original.
    let copy = tokio::task::block_in_place(|| archived(&backups, shared().on(&to)));
    assert_eq!(sum(&copy).await, want);
    let of_copy = copy.client().await.unwrap();
    each(
        &of_copy,
        "INSERT INTO t VALUES (9000, 1); CALL perigee.migrate('t', 'cold'); CALL perigee.collect_cold_files();
             CALL perigee.backup(); TRUNCATE t; CALL perigee.collect_cold_files()",
    )
    .await;
    for file in &of_original {
        assert!(file.exists(), "{} is gone", file.display());
    }
    client.batch_execute("CALL perigee.collect_cold_files()").await.unwrap();
    assert_eq!(sum(&server).await, want);
    // The other way round.
    each(&of_copy, "INSERT INTO t SELECT g, g FROM generate_series(1, 10) g; CALL perigee.migrate('t', 'cold')").await;
    each(&client, "DROP TABLE t; CALL perigee.collect_cold_files()").await;
    assert_eq!(sum(&copy).await, "10 55");
    let (text, code) = perigee(&["backup", "list", "--url", &url(&backups)]);
    assert!(code == 2 && text.contains("of 2 clusters"), "{text}");
}

/// What is old goes, and what is left can be restored.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_backups_are_removed() {
    let folder = tempfile::tempdir().unwrap();
    let backups = folder.path().join("backups");
    let server = tokio::task::block_in_place(|| archived_every(&backups, perigee_tests::options(), "1h"));
    let client = server.client().await.unwrap();
    client.batch_execute("CREATE TABLE t (id int8 PRIMARY KEY, v int8)").await.unwrap();
    wait_base(&backups, &server).await;
    for n in 1..=4 {
        let step = format!(
            "TRUNCATE t; INSERT INTO t SELECT g, {n} FROM generate_series(1, 1000) g;
             CALL perigee.migrate('t', 'cold'); CALL perigee.backup(); INSERT INTO t VALUES (0, {n})"
        );
        each(&client, &step).await;
    }
    let want = sum(&server).await;
    // It archives what was done until now first.
    client.batch_execute("CALL perigee.collect_cold_files()").await.unwrap();
    drop(client);
    drop(server);
    let before = files(&backups).len();
    let pruned = good(&["backup", "prune", "--url", &url(&backups), "--keep", "1"]);
    assert!(!pruned.starts_with("0 backups"), "{pruned}");
    let pruned = good(&["backup", "prune", "--url", &url(&backups), "--keep", "1", "--grace", "0"]);
    assert!(pruned.starts_with("0 backups"), "{pruned}");
    let left = files(&backups);
    assert!(left.len() < before);
    let cold = left.iter().filter(|path| path.extension().is_some_and(|extension| extension == "parquet")).count();
    assert_eq!(cold, 1, "{left:?}");
    let verified = good(&["backup", "verify", "--url", &url(&backups)]);
    assert!(verified.contains("all is well"), "{verified}");
    let to = folder.path().join("restored");
    let (text, code) = tokio::task::block_in_place(|| restore(&backups, &to, &[]));
    assert_eq!(code, 0, "{text}");
    let copy = tokio::task::block_in_place(|| perigee_tests::options().on(&to).start().unwrap());
    assert_eq!(sum(&copy).await, want);
    let (text, code) = perigee(&["backup", "prune", "--url", &url(&backups), "--keep", "0"]);
    assert_eq!(code, 2, "{text}");
}

fn flip(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    fs::write(path, bytes).unwrap();
}

/// An archive with a damaged object goes on: the newest is written again, and behind one in the middle a base backup begins.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_archive_is_made_good() {
    let folder = tempfile::tempdir().unwrap();
    let backups = folder.path().join("backups");
    let mut server = tokio::task::block_in_place(|| archived(&backups, perigee_tests::options()));
    let client = server.client().await.unwrap();
    client.batch_execute("CREATE TABLE t (id int, v int)").await.unwrap();
    wait_base(&backups, &server).await;
    for id in 0..5 {
        client.batch_execute(&format!("INSERT INTO t VALUES ({id}, 1)")).await.unwrap();
        wait_archived(&backups, &server, last(&server)).await;
    }
    drop(client);
    tokio::task::block_in_place(|| server.stop()).unwrap();
    flip(logs(&backups).last().unwrap());
    let (text, code) = perigee(&["backup", "verify", "--url", &url(&backups)]);
    assert!(code != 0 && text.contains("damaged"), "{text}");
    tokio::task::block_in_place(|| server.restart()).unwrap();
    let client = server.client().await.unwrap();
    client.batch_execute("INSERT INTO t VALUES (100, 2)").await.unwrap();
    wait_archived(&backups, &server, last(&server)).await;
    let verified = good(&["backup", "verify", "--url", &url(&backups)]);
    assert!(verified.contains("all is well"), "what the log still had was written again:\n{verified}");
    assert_eq!(bases(&backups), 1);

    // One in the middle is found when small ones become one.
    flip(&logs(&backups)[2]);
    let started = Instant::now();
    let mut id = 1_000;
    while bases(&backups) == 1 {
        client.batch_execute(&format!("INSERT INTO t VALUES ({id}, 3)")).await.unwrap();
        wait_archived(&backups, &server, last(&server)).await;
        id += 1;
        assert!(started.elapsed() < PATIENCE, "no new backup begins:\n{}", server.log());
    }
    client.batch_execute("INSERT INTO t VALUES (5000, 4)").await.unwrap();
    wait_archived(&backups, &server, last(&server)).await;
    let want = sum(&server).await;
    drop(client);
    tokio::task::block_in_place(|| server.stop()).unwrap();
    let (text, code) = perigee(&["backup", "verify", "--url", &url(&backups)]);
    assert!(code != 0 && text.contains("damaged"), "it stays, and is told:\n{text}");
    let to = folder.path().join("restored");
    let (text, code) = tokio::task::block_in_place(|| restore(&backups, &to, &[]));
    assert_eq!(code, 0, "{text}");
    let copy = tokio::task::block_in_place(|| perigee_tests::options().on(&to).start().unwrap());
    assert_eq!(sum(&copy).await, want);
}

/// What can become of an object while nobody looks.
const CHANGES: [&str; 6] = ["first bit", "early bit", "middle bit", "last bit", "cut", "longer"];

fn change(path: &Path, how: &str) {
    let mut bytes = fs::read(path).unwrap();
    let last = bytes.len() - 1;
    match how {
        "first bit" => bytes[0] ^= 1,
        "early bit" => bytes[21] ^= 0x40,
        "middle bit" => bytes[last / 2] ^= 0x10,
        "last bit" => bytes[last] ^= 0x80,
        "cut" => bytes.truncate(last),
        _ => bytes.push(0),
    }
    fs::write(path, bytes).unwrap();
}

/// One changed bit in any object that a backup consists of: it is found by name, and nothing is restored from it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_object_is_found_and_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (backups, to) = (folder.path().join("backups"), folder.path().join("restored"));
    let mut server = tokio::task::block_in_place(|| archived(&backups, perigee_tests::options()));
    let client = server.client().await.unwrap();
    each(
        &client,
        "CREATE TABLE t (id int8 PRIMARY KEY, v int8); INSERT INTO t SELECT g, g FROM generate_series(1, 3000) g;
             CALL perigee.migrate('t', 'cold'); CALL perigee.backup(); INSERT INTO t VALUES (5000, 1);
             CALL perigee.migrate('t', 'cold'); INSERT INTO t VALUES (5001, 1)",
    )
    .await;
    let want = sum(&server).await;
    drop(client);
    tokio::task::block_in_place(|| server.stop()).unwrap();
    let base = files(&backups).into_iter().rfind(|path| path.ends_with("manifest")).unwrap();
    let piece = base.with_file_name("000000.piece");
    // The archive's end, and a cold file of the base and of the archive each.
    let log = logs(&backups).pop().unwrap();
    let cold = files_of(&backups, "parquet");
    assert_eq!(cold.len(), 2, "{cold:?}");
    let objects = [&base, &piece, &log, &cold[0], &cold[1]];
    let verify = || perigee(&["backup", "verify", "--url", &url(&backups)]);
    for object in objects {
        let whole = fs::read(object).unwrap();
        let name = object.file_name().unwrap().to_str().unwrap();
        for how in CHANGES {
            change(object, how);
            let (text, code) = tokio::task::block_in_place(verify);
            assert!(code == 5 && text.contains(name), "{how} of {name}: {code} {text}");
            let (text, code) = tokio::task::block_in_place(|| restore(&backups, &to, &[]));
            assert!(code == 5 && text.contains(name), "{how} of {name}: {code} {text}");
            fs::write(object, &whole).unwrap();
        }
        if object != &base && object != &log {
            // What nothing names any more is no backup, or the archive's end a while ago.
            fs::remove_file(object).unwrap();
            let (text, code) = tokio::task::block_in_place(verify);
            assert!(code == 5 && text.contains(name), "without {name}: {code} {text}");
            let (text, code) = tokio::task::block_in_place(|| restore(&backups, &to, &[]));
            assert!(code == 5 && text.contains(name), "without {name}: {code} {text}");
            fs::write(object, &whole).unwrap();
        }
    }
    // Of all these tries there is nothing that a node would start on, and nothing in the way of a good one.
    let started = tokio::task::block_in_place(|| perigee_tests::options().on(&to).start());
    assert!(started.is_err_and(|error| error.to_string().contains("holds a restore that has not ended")));
    let (text, code) = tokio::task::block_in_place(|| restore(&backups, &to, &[]));
    assert_eq!(code, 0, "{text}");
    let copy = tokio::task::block_in_place(|| perigee_tests::options().on(&to).start().unwrap());
    assert_eq!(sum(&copy).await, want);
}

/// Numbers that one session has written, each with the moment when it was told so.
async fn count_up(address: std::net::SocketAddr, session: usize) -> Vec<(i64, Instant)> {
    let mut acknowledged = Vec::new();
    let Ok(client) = Client::connect(address).await else { return acknowledged };
    for n in 1.. {
        if client.batch_execute(&format!("INSERT INTO counted VALUES ({session}, {n})")).await.is_err() {
            break;
        }
        acknowledged.push((n, Instant::now()));
    }
    acknowledged
}

/// The machine is lost in the middle of writes: what comes back is all up to a moment, and how long ago that was is printed.
///
/// `PERIGEE_RPO_SECONDS` says how long is written before, in each of `PERIGEE_RPO_ROUNDS`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_lost_with_a_machine_is_its_last_moment() {
    let number = |name: &str, other: u64| std::env::var(name).map_or(other, |text| text.parse().unwrap());
    let (seconds, rounds) = (number("PERIGEE_RPO_SECONDS", 3), number("PERIGEE_RPO_ROUNDS", 1));
    for round in 1..=rounds {
        let folder = tempfile::tempdir().unwrap();
        let backups = folder.path().join("backups");
        // As it is by default.
        let mut server = tokio::task::block_in_place(|| archived_every(&backups, perigee_tests::options(), "1s"));
        let create = "CREATE TABLE counted (session int, n int8, PRIMARY KEY (session, n))";
        server.client().await.unwrap().batch_execute(create).await.unwrap();
        wait_base(&backups, &server).await;
        wait_archived(&backups, &server, last(&server)).await;
        let address = server.pg();
        let killer = async {
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            tokio::task::block_in_place(|| server.kill());
            Instant::now()
        };
        let sessions = futures::future::join_all((0..4).map(|session| count_up(address, session)));
        let (acknowledged, killed) = tokio::join!(sessions, killer);
        // Everything of the node is lost.
        drop(server);
        let to = folder.path().join("restored");
        let (text, code) = tokio::task::block_in_place(|| restore(&backups, &to, &[]));
        assert_eq!(code, 0, "{text}");
        let copy = tokio::task::block_in_place(|| perigee_tests::options().on(&to).start().unwrap());
        let client = copy.client().await.unwrap();
        let (mut lost, mut written, mut longest) = (0, 0, Duration::ZERO);
        for (session, acknowledged) in acknowledged.iter().enumerate() {
            let sql = format!("SELECT count(*), coalesce(max(n), 0) FROM counted WHERE session = {session}");
            let row = client.rows(&sql).await.unwrap();
            let there: Vec<i64> = row[0].iter().map(|value| value.as_ref().unwrap().parse().unwrap()).collect();
            assert_eq!(there[0], there[1], "numbers are missing before the last one");
            assert!(there[1] <= acknowledged.len() as i64 + 1, "more than was written");
            written += acknowledged.len();
            let gone = acknowledged.iter().filter(|(n, _)| *n > there[1]);
            lost += gone.clone().count();
            longest = gone.map(|(_, at)| killed.saturating_duration_since(*at)).max().unwrap_or_default().max(longest);
        }
        println!("round {round}: {written} commits in {seconds} s, {lost} lost, the oldest of them {longest:?} old");
        assert!(written > lost, "nothing came back");
    }
}

/// A cold file that is not found where it should be is not left out of the archive, as one of a table that is gone is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cold_file_that_is_away_is_archived_later() {
    let folder = tempfile::tempdir().unwrap();
    let (backups, cold, away) = (folder.path().join("backups"), folder.path().join("cold"), folder.path().join("away"));
    let options = perigee_tests::options().env("PERIGEE_COLD__URL", url(&cold));
    let mut server = tokio::task::block_in_place(|| archived_every(&backups, options, "1h"));
    let client = server.client().await.unwrap();
    wait_base(&backups, &server).await;
    each(
        &client,
        "CREATE TABLE t (id int8 PRIMARY KEY, v int8); INSERT INTO t SELECT g, g FROM generate_series(1, 3000) g;
             CALL perigee.migrate('t', 'cold')",
    )
    .await;
    let want = sum(&server).await;
    fs::rename(&cold, &away).unwrap();
    // It archives before it removes anything.
    let error = client.batch_execute("CALL perigee.collect_cold_files()").await.unwrap_err();
    assert_eq!(error.code().unwrap().code(), "58030", "{error:?}");
    drop(fs::remove_dir_all(&cold));
    fs::rename(&away, &cold).unwrap();
    client.batch_execute("CALL perigee.collect_cold_files()").await.unwrap();
    drop(client);
    tokio::task::block_in_place(|| server.stop()).unwrap();
    let to = folder.path().join("restored");
    let (text, code) = tokio::task::block_in_place(|| restore(&backups, &to, &[]));
    assert_eq!(code, 0, "{text}");
    let mut copy = tokio::task::block_in_place(|| perigee_tests::options().on(&to).start().unwrap());
    assert_eq!(sum(&copy).await, want);
    // The files of a restored cluster stand elsewhere than their manifests say: they are told apart all the same.
    tokio::task::block_in_place(|| copy.kill());
    let again = folder.path().join("again");
    let copy = tokio::task::block_in_place(|| archived(&again, perigee_tests::options().on(&to)));
    wait_base(&again, &copy).await;
    assert_eq!(sum(&copy).await, want);
}
