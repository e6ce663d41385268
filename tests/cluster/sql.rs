//! PostgreSQL clients of any node: what they run there, also while leaders are killed.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::SinkExt;
use perigee_testkit::{Client, Cluster};
use tokio_postgres::NoTls;
use tokio_postgres::error::SqlState;

use super::{at_itself, has_rows, options, until};

async fn client(cluster: &Cluster, number: usize) -> Client {
    cluster.servers()[number].client().await.unwrap()
}

fn code(error: &tokio_postgres::Error) -> Option<&SqlState> {
    error.as_db_error().map(tokio_postgres::error::DbError::code)
}

#[tokio::test]
async fn every_node_takes_every_statement() {
    let cluster = Cluster::start(&options()).unwrap();
    let leader = cluster.leader().unwrap();
    let mut one = client(&cluster, (leader + 1) % 3).await;
    let two = client(&cluster, (leader + 2) % 3).await;
    one.batch_execute("CREATE TABLE t (a int PRIMARY KEY, b text)").await.unwrap();
    assert_eq!(two.execute("INSERT INTO t VALUES ($1, $2)", &[&1, &"one"]).await.unwrap(), 1);
    for number in 0..3 {
        let client = client(&cluster, number).await;
        assert_eq!(client.value("SELECT b FROM t WHERE a = 1").await.unwrap(), "one", "n{}", number + 1);
        assert_eq!(client.value("SELECT pg_is_in_recovery()").await.unwrap(), "f");
        assert_eq!(client.value("SHOW transaction_read_only").await.unwrap(), "off");
        // One session for everybody, whichever node serves it.
        let known = "SELECT count(*) FROM pg_stat_activity WHERE pid = pg_backend_pid()";
        assert_eq!(client.value(known).await.unwrap(), "1");
    }

    // Errors are the statement's own, and the session goes on.
    let error = one.execute("INSERT INTO t VALUES (1, 'again')", &[]).await.unwrap_err();
    assert_eq!(code(&error), Some(&SqlState::UNIQUE_VIOLATION));
    let error = one.batch_execute("SELECT nothing FROM t").await.unwrap_err();
    assert_eq!(code(&error), Some(&SqlState::UNDEFINED_COLUMN));

    // Transactions, and what they undo.
    let transaction = one.transaction().await.unwrap();
    transaction.execute("INSERT INTO t VALUES (2, 'two')", &[]).await.unwrap();
    assert_eq!(two.value("SELECT count(*) FROM t").await.unwrap(), "1", "not committed");
    transaction.rollback().await.unwrap();
    let transaction = one.transaction().await.unwrap();
    transaction.execute("UPDATE t SET b = 'changed' WHERE a = 1", &[]).await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(two.value("SELECT b FROM t WHERE a = 1").await.unwrap(), "changed");
    one.batch_execute("BEGIN; INSERT INTO t VALUES (3, 'three'); COMMIT").await.unwrap();

    // Settings, prepared statements of both kinds, temporary tables.
    one.batch_execute("SET TimeZone = 'Europe/Berlin'").await.unwrap();
    assert_eq!(one.value("SHOW TimeZone").await.unwrap(), "Europe/Berlin");
    one.batch_execute("PREPARE by_key AS SELECT b FROM t WHERE a = $1").await.unwrap();
    assert_eq!(one.value("EXECUTE by_key(3)").await.unwrap(), "three");
    let prepared = one.prepare("SELECT b FROM t WHERE a = $1").await.unwrap();
    assert_eq!(one.query_one(&prepared, &[&3]).await.unwrap().get::<_, &str>(0), "three");
    one.batch_execute("CREATE TEMP TABLE own (x int); INSERT INTO own VALUES (7)").await.unwrap();
    assert_eq!(one.value("SELECT x FROM own").await.unwrap(), "7");
    assert!(two.batch_execute("SELECT x FROM own").await.is_err(), "another session's");

    // COPY both ways.
    let mut sink = pin!(one.copy_in("COPY t FROM STDIN").await.unwrap());
    for row in 10..2_010 {
        sink.send(Bytes::from(format!("{row}\trow {row}\n"))).await.unwrap();
    }
    assert_eq!(sink.finish().await.unwrap(), 2_000);
    assert_eq!(two.value("SELECT count(*) FROM t WHERE a >= 10").await.unwrap(), "2000");
    // More than fits the buffers on its way.
    let large = two.query("SELECT a, repeat(b, 100) FROM t ORDER BY a", &[]).await.unwrap();
    assert_eq!(large.len(), 2_002);
}

/// Their pieces are replicated one by one, and those of a leader that is lost go everywhere.
#[tokio::test]
async fn large_rows_come_to_every_node() {
    let mut cluster = Cluster::start(&options()).unwrap();
    let leader = cluster.leader().unwrap();
    let one = client(&cluster, (leader + 1) % 3).await;
    one.batch_execute("CREATE TABLE t (a int PRIMARY KEY, b text)").await.unwrap();
    one.batch_execute("INSERT INTO t VALUES (1, repeat('x', 10000000))").await.unwrap();
    let open = client(&cluster, leader).await;
    open.batch_execute("BEGIN; INSERT INTO t SELECT 10 + n, repeat('y', 8000000) FROM generate_series(1, 3) n")
        .await
        .unwrap();
    cluster.kill(leader);
    let next = cluster.leader_but(&[leader]).unwrap();
    until("a row comes through the next leader", || async {
        let Ok(client) = cluster.servers()[next].client().await else { return false };
        let insert = "INSERT INTO t VALUES (2, repeat('z', 3000000)) ON CONFLICT DO NOTHING";
        client.batch_execute(insert).await.is_ok()
    })
    .await;
    cluster.spawn(leader).unwrap();
    for number in 0..3 {
        has_rows(&cluster, number, 2).await;
        let local = at_itself(&cluster, number).await.unwrap();
        let sizes = "SELECT string_agg(a || ':' || length(b), ' ' ORDER BY a) FROM t";
        assert_eq!(local.value(sizes).await.unwrap(), "1:10000000 2:3000000", "n{}", number + 1);
    }
}

#[tokio::test]
async fn a_statement_is_cancelled_at_whichever_node() {
    let cluster = Cluster::start(&options()).unwrap();
    let leader = cluster.leader().unwrap();
    let holds = client(&cluster, (leader + 2) % 3).await;
    holds.batch_execute("CREATE TABLE t (a int PRIMARY KEY); INSERT INTO t VALUES (1)").await.unwrap();
    holds.batch_execute("BEGIN; UPDATE t SET a = 1").await.unwrap();
    let waits = client(&cluster, (leader + 1) % 3).await;
    let cancel = waits.cancel_token();
    let waiting = waits.batch_execute("UPDATE t SET a = 1");
    // One that comes before the statement has begun cancels nothing.
    let cancelling = async {
        loop {
            tokio::time::sleep(Duration::from_millis(500)).await;
            cancel.cancel_query(NoTls).await.unwrap();
        }
    };
    let ended = tokio::select! {
        ended = waiting => ended,
        () = cancelling => unreachable!("it is repeated"),
    };
    assert_eq!(code(&ended.unwrap_err()), Some(&SqlState::QUERY_CANCELED));
    // One that comes late may meet this.
    until("the session goes on", || async { waits.value("SELECT 1").await.is_ok_and(|value| value == "1") }).await;
    holds.batch_execute("ROLLBACK").await.unwrap();
}

/// Inserts a row of one key. The next leader may be lost too, on a slow machine, and with it the outcome: then the key tells.
async fn insist(client: &Client, sql: &str) {
    let mut unknown = false;
    for _ in 0..20 {
        match client.batch_execute(sql).await {
            Ok(()) => return,
            Err(error) if code(&error).is_some_and(|state| state.code() == "08007") => unknown = true,
            Err(error) if unknown && code(&error) == Some(&SqlState::UNIQUE_VIOLATION) => return,
            Err(error) => panic!("{sql}: {error}"),
        }
    }
    panic!("{sql}: no leader stays");
}

#[tokio::test]
async fn a_session_survives_its_leader() {
    let mut cluster = Cluster::start(&options()).unwrap();
    let leader = cluster.leader().unwrap();
    let idle = client(&cluster, (leader + 1) % 3).await;
    idle.batch_execute("CREATE TABLE t (a int PRIMARY KEY)").await.unwrap();
    idle.batch_execute("SET application_name = 'survivor'; PREPARE add AS INSERT INTO t VALUES ($1)").await.unwrap();
    let prepared = idle.prepare("SELECT a FROM t WHERE a = $1").await.unwrap();
    let open = client(&cluster, (leader + 2) % 3).await;
    open.batch_execute("BEGIN; INSERT INTO t VALUES (1)").await.unwrap();
    cluster.server(leader).kill();

    // What was open is over, and says so once.
    let error = open.batch_execute("INSERT INTO t VALUES (2)").await.unwrap_err();
    assert_eq!(code(&error), Some(&SqlState::T_R_SERIALIZATION_FAILURE), "{error}");
    let error = open.batch_execute("INSERT INTO t VALUES (2)").await.unwrap_err();
    assert_eq!(code(&error), Some(&SqlState::IN_FAILED_SQL_TRANSACTION), "{error}");
    open.batch_execute("ROLLBACK").await.unwrap();
    insist(&open, "INSERT INTO t VALUES (3)").await;

    // What was idle goes on as if nothing had happened.
    insist(&idle, "EXECUTE add(4)").await;
    assert_eq!(idle.query(&prepared, &[&4]).await.unwrap().len(), 1);
    assert_eq!(idle.value("SHOW application_name").await.unwrap(), "survivor");
    assert_eq!(idle.value("SELECT count(*) FROM t").await.unwrap(), "2");
    cluster.server(leader).restart().unwrap();
}

#[tokio::test]
async fn who_listens_hears_what_any_node_is_told() {
    let cluster = Cluster::start(&options()).unwrap();
    let leader = cluster.leader().unwrap();
    let server = &cluster.servers()[(leader + 1) % 3];
    let mut config = tokio_postgres::Config::new();
    config.host(server.pg().ip().to_string()).port(server.pg().port()).user("postgres").dbname("postgres");
    let (listens, mut connection) = config.connect(NoTls).await.unwrap();
    let (heard, mut hears) = tokio::sync::mpsc::unbounded_channel();
    let task = tokio::spawn(async move {
        while let Some(Ok(message)) = std::future::poll_fn(|context| connection.poll_message(context)).await {
            if let tokio_postgres::AsyncMessage::Notification(one) = message {
                heard.send((one.channel().to_owned(), one.payload().to_owned())).unwrap();
            }
        }
    });
    listens.batch_execute("LISTEN news").await.unwrap();
    for number in 0..3 {
        client(&cluster, number).await.batch_execute(&format!("NOTIFY news, 'from {number}'")).await.unwrap();
        let got = tokio::time::timeout(Duration::from_secs(60), hears.recv()).await.unwrap().unwrap();
        assert_eq!(got, ("news".to_owned(), format!("from {number}")));
    }
    task.abort();
}

#[tokio::test]
async fn local_reads_need_no_leader() {
    let mut cluster = Cluster::start(&options()).unwrap();
    let leader = cluster.leader().unwrap();
    let stays = (leader + 1) % 3;
    let reads = client(&cluster, stays).await;
    reads.batch_execute("CREATE TABLE t (a int PRIMARY KEY); INSERT INTO t VALUES (1)").await.unwrap();
    assert_eq!(reads.value("SELECT count(*) FROM t").await.unwrap(), "1");
    reads.batch_execute("SET perigee.read_consistency = local").await.unwrap();
    until("the row is here", || async { reads.value("SELECT count(*) FROM t").await.is_ok_and(|count| count == "1") })
        .await;
    // Writes go to the leader all the same.
    reads.batch_execute("INSERT INTO t VALUES (2)").await.unwrap();
    let limited = client(&cluster, stays).await;
    limited.batch_execute("SET statement_timeout = '300ms'").await.unwrap();
    for number in (0..3).filter(|number| *number != stays) {
        cluster.server(number).kill();
    }
    assert_eq!(reads.value("SELECT a FROM t WHERE a = 1").await.unwrap(), "1");
    let error = reads.batch_execute("INSERT INTO t VALUES (3)").await.unwrap_err();
    assert!(
        matches!(code(&error).map(SqlState::code), Some("57P03" | "08007")),
        "a write without a majority is refused, or its end is not known: {error}"
    );
    // How long a statement may run counts while a leader is looked for.
    until("the time limit ends it", || async {
        let error = limited.batch_execute("INSERT INTO t VALUES (4)").await.unwrap_err();
        code(&error).is_some_and(|state| state.code() == "57014")
    })
    .await;
    reads.batch_execute("SET perigee.max_staleness = '100ms'").await.unwrap();
    let error = reads.batch_execute("SELECT a FROM t").await.unwrap_err();
    assert_eq!(code(&error).map(SqlState::code), Some("57P03"), "{error}");
}

/// What became of rows that a client wrote.
#[derive(Default)]
struct Written {
    acknowledged: BTreeSet<i32>,
    /// Perhaps.
    open: BTreeSet<i32>,
    /// Surely not.
    refused: BTreeSet<i32>,
}

/// Writes rows of its own numbers through all nodes, in all ways, until told to stop.
async fn write(addresses: [SocketAddr; 3], first: i32, stop: Arc<AtomicBool>) -> Written {
    let mut written = Written::default();
    let mut next = first;
    let mut at = first as usize;
    while !stop.load(Ordering::Relaxed) {
        at += 1;
        let Ok(mut client) = Client::connect(addresses[at % 3]).await else {
            tokio::time::sleep(Duration::from_millis(5)).await;
            continue;
        };
        for _ in 0..30 {
            let row = next;
            next += 1;
            let result = match row % 3 {
                0 => client.batch_execute(&format!("INSERT INTO t VALUES ({row})")).await,
                1 => client.execute("INSERT INTO t VALUES ($1)", &[&row]).await.map(drop),
                _ => in_transaction(&mut client, row).await,
            };
            match result {
                Ok(()) => drop(written.acknowledged.insert(row)),
                Err(error) => match code(&error).map(SqlState::code) {
                    Some("40001" | "57P03" | "25P02") => drop(written.refused.insert(row)),
                    _ => {
                        written.open.insert(row);
                        if client.is_closed() {
                            break;
                        }
                    }
                },
            }
        }
    }
    written
}

async fn in_transaction(client: &mut Client, row: i32) -> Result<(), tokio_postgres::Error> {
    let transaction = client.transaction().await?;
    transaction.batch_execute(&format!("INSERT INTO t VALUES ({row})")).await?;
    transaction.batch_execute("SELECT count(*) FROM t WHERE a < 0").await?;
    transaction.commit().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_through_all_nodes_are_neither_lost_nor_doubled_when_leaders_are_killed() {
    let mut cluster = Cluster::start(&options()).unwrap();
    client(&cluster, 0).await.batch_execute("CREATE TABLE t (a int)").await.unwrap();
    let addresses: [SocketAddr; 3] = std::array::from_fn(|number| cluster.servers()[number].pg());
    let stop = Arc::new(AtomicBool::new(false));
    let writing: Vec<_> =
        (0..4).map(|number| tokio::spawn(write(addresses, number * 10_000_000, Arc::clone(&stop)))).collect();
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_secs(2)).await;
        let leader = cluster.leader().unwrap();
        cluster.server(leader).kill();
        tokio::time::sleep(Duration::from_secs(3)).await;
        cluster.server(leader).restart().unwrap();
    }
    stop.store(true, Ordering::Relaxed);
    let mut all = Written::default();
    for one in writing {
        let one = one.await.unwrap();
        all.acknowledged.extend(one.acknowledged);
        all.open.extend(one.open);
        all.refused.extend(one.refused);
    }
    eprintln!(
        "{} acknowledged, {} of unknown outcome, {} refused",
        all.acknowledged.len(),
        all.open.len(),
        all.refused.len()
    );
    assert!(all.acknowledged.len() > 50);
    for number in 0..3 {
        let rows = client(&cluster, number).await.rows("SELECT a FROM t").await.unwrap();
        let found: BTreeSet<i32> = rows.iter().map(|row| row[0].as_ref().unwrap().parse().unwrap()).collect();
        assert_eq!(found.len(), rows.len(), "n{}: a row stands twice", number + 1);
        let lost: Vec<&i32> = all.acknowledged.difference(&found).collect();
        assert!(lost.is_empty(), "n{}: acknowledged and lost: {lost:?}", number + 1);
        let written: Vec<&i32> = all.refused.intersection(&found).collect();
        assert!(written.is_empty(), "n{}: said not to be written: {written:?}", number + 1);
    }
}

/// The locks of a leader are in its memory, and nobody else has the time to be elected.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_back_at_once_commits_nothing_of_before() {
    let mut cluster = Cluster::start(&options().env("PERIGEE_NODE__ELECTION_TIMEOUT", "6s")).unwrap();
    let leader = cluster.leader().unwrap();
    let (one, other) = ((leader + 1) % 3, (leader + 2) % 3);
    let open = client(&cluster, one).await;
    open.batch_execute("CREATE TABLE t (a int PRIMARY KEY, b int); INSERT INTO t VALUES (1, 0)").await.unwrap();
    open.batch_execute("BEGIN; UPDATE t SET b = b + 10 WHERE a = 1").await.unwrap();
    cluster.server(leader).kill();
    cluster.spawn(leader).unwrap();
    super::until("another writes", || async {
        let Ok(client) = cluster.servers()[other].client().await else { return false };
        client.batch_execute("UPDATE t SET b = 1 WHERE a = 1").await.is_ok()
    })
    .await;
    // The block has failed: its end is an error, or ROLLBACK.
    drop(open.batch_execute("COMMIT").await);
    assert_eq!(client(&cluster, other).await.value("SELECT b FROM t").await.unwrap(), "1");
}
