//! Rows that become cold in a cluster: not on a store that one member alone has; in one store that all have each file is written
//! once, all members answer from it, and a leader that is killed on the way does no harm.

use std::path::Path;
use std::time::Duration;

use perigee_testkit::{Client, Cluster};
use perigee_tests::admin::admin;
use perigee_tests::backups::{cold_files, url};

use super::{at_itself, options, until};

const SUM: &str =
    "SELECT count(*) || ' ' || sum(id) || ' ' || sum(v) || ' ' || md5(string_agg(v::text, ',' ORDER BY id)) FROM t";

/// Runs a statement at whoever leads, until it goes well.
async fn insist(cluster: &Cluster, sql: &str) {
    until(sql, || async {
        let Ok(leader) = cluster.leader() else { return false };
        let Ok(client) = cluster.servers()[leader].client().await else { return false };
        client.batch_execute(sql).await.is_ok()
    })
    .await;
}

/// What each member itself has.
async fn all_say(cluster: &Cluster, wanted: &str) {
    for number in 0..cluster.servers().len() {
        until(&format!("n{} says {wanted}", number + 1), || async {
            let Ok(client) = at_itself(cluster, number).await else { return false };
            client.value(SUM).await.is_ok_and(|found| found == wanted)
        })
        .await;
    }
}

/// Behind a collection there are the files that manifests name, and nothing else.
async fn nothing_is_idle(cluster: &Cluster, store: &Path) {
    until("files that nothing needs are gone", || async {
        let Ok(client) = leader(cluster).await else { return false };
        let named = "SELECT sum(files)::text FROM perigee.tiers WHERE tier = 'cold'";
        client.batch_execute("CALL perigee.collect_cold_files()").await.is_ok()
            && client.value(named).await.is_ok_and(|named| named == cold_files(store).len().to_string())
    })
    .await;
}

async fn leader(cluster: &Cluster) -> Result<Client, perigee_testkit::TestkitError> {
    cluster.servers()[cluster.leader()?].client().await
}

#[tokio::test]
async fn rows_stay_warm_on_a_store_that_one_member_alone_has() {
    let cluster = Cluster::start(&options()).unwrap();
    let number = cluster.leader().unwrap();
    let client = cluster.servers()[number].client().await.unwrap();
    let create = "CREATE TABLE t (id int8 PRIMARY KEY, v int8) WITH (tier = 'cold');
        INSERT INTO t SELECT g, g FROM generate_series(1, 20000) g";
    client.batch_execute(create).await.unwrap();
    let error = client.batch_execute("CALL perigee.migrate('t', 'cold')").await.unwrap_err();
    let told = error.as_db_error().unwrap();
    assert_eq!(told.code().code(), "55000");
    assert!(told.message().contains("the other members could not read them"), "{told:?}");
    assert!(told.hint().is_some_and(|hint| hint.contains("cold.url")), "{told:?}");
    until("who leads tells why nothing moves", || async {
        cluster.servers().iter().any(|server| server.log().contains("the other members could not read them"))
    })
    .await;
    let cold = "SELECT coalesce(sum(rows), 0)::text FROM perigee.tiers WHERE tier = 'cold'";
    assert_eq!(client.value(cold).await.unwrap(), "0");
}

#[tokio::test]
async fn who_could_not_read_cold_rows_gets_no_vote() {
    let options = options().with_grpc();
    let cluster = Cluster::start(&options).unwrap();
    let number = cluster.leader().unwrap();
    let at = cluster.servers()[number].grpc().to_string();
    let others: Vec<String> = (0..3).filter(|other| *other != number).map(|other| format!("n{}", other + 1)).collect();
    for name in &others {
        until("another votes no more", || async { admin(&at, &["cluster", "demote", name]).1 == Some(0) }).await;
    }
    let client = cluster.servers()[number].client().await.unwrap();
    client.batch_execute("CREATE TABLE t (id int8 PRIMARY KEY); INSERT INTO t VALUES (1)").await.unwrap();
    client.batch_execute("CALL perigee.migrate('t', 'cold')").await.unwrap();
    let promote = ["cluster", "promote", others[0].as_str()];
    let (text, code) = admin(&at, &promote);
    assert!(code != Some(0) && text.contains("could not read cold rows"), "{text}");
    client.batch_execute("DROP TABLE t").await.unwrap();
    until("another votes again", || async { admin(&at, &promote).1 == Some(0) }).await;
}

#[tokio::test]
async fn one_store_of_all_members_has_each_file_once_and_outlives_its_writers() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store");
    let options = options().env("PERIGEE_COLD__URL", url(&store)).env("PERIGEE_COLD__SHARED", "true");
    let mut cluster = Cluster::start(&options).unwrap();
    let client = leader(&cluster).await.unwrap();
    let create = "CREATE TABLE t (id int8 PRIMARY KEY, v int8 NOT NULL);
        INSERT INTO t SELECT g, g * 7 FROM generate_series(1, 100000) g";
    client.batch_execute(create).await.unwrap();
    let wanted = client.value(SUM).await.unwrap();
    client.batch_execute("CALL perigee.migrate('t', 'cold')").await.unwrap();
    assert_eq!(cold_files(&store).len(), 1, "one member writes, all read");
    all_say(&cluster, &wanted).await;
    for number in 0..3 {
        until(&format!("n{} has let go of its copies", number + 1), || async {
            let Ok(client) = at_itself(&cluster, number).await else { return false };
            let rows = "SELECT rows::text FROM perigee.tiers WHERE table_name = 't' AND tier = 'cold'";
            client.value(rows).await.is_ok_and(|rows| rows == "100000")
        })
        .await;
    }
    drop(client);
    for round in 0..2_u64 {
        let change = format!(
            "DELETE FROM t WHERE id % 41 = {round}; UPDATE t SET v = v + 1 WHERE id % 37 = {round};
             INSERT INTO t SELECT g, g FROM generate_series({0} + 1, {0} + 30000) g ON CONFLICT DO NOTHING",
            200_000 + round * 30_000
        );
        insist(&cluster, &change).await;
        let number = cluster.leader().unwrap();
        let client = cluster.servers()[number].client().await.unwrap();
        let wanted = client.value(SUM).await.unwrap();
        let work = if round % 2 == 0 { "CALL perigee.migrate('t', 'cold')" } else { "CALL perigee.compact('t')" };
        let running = tokio::spawn(async move { client.batch_execute(work).await.is_ok() });
        tokio::time::sleep(Duration::from_millis(40 + round * 60)).await;
        cluster.kill(number);
        let ended = running.await.unwrap();
        println!("round {round}: {work} had ended: {ended}");
        insist(&cluster, "SELECT 1").await;
        assert_eq!(leader(&cluster).await.unwrap().value(SUM).await.unwrap(), wanted, "round {round}");
        insist(&cluster, work).await;
        assert_eq!(leader(&cluster).await.unwrap().value(SUM).await.unwrap(), wanted, "round {round}, done");
        cluster.spawn(number).unwrap();
        cluster.server(number).wait_ready().unwrap();
        all_say(&cluster, &wanted).await;
        // What compaction has replaced stays for others for a while.
        if round == 0 {
            nothing_is_idle(&cluster, &store).await;
        }
    }
}
