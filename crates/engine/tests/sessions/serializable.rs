//! SERIALIZABLE: transactions beside each other leave what some order of them would have left.

use perigee_types::SqlState;

use crate::node::{Client, Node};

async fn begin(client: &mut Client) {
    client.ok("begin isolation level serializable").await;
}

/// Two transactions read, then write, then commit. Whether the second commit is refused.
async fn refused(setup: &str, reads: [&str; 2], writes: [&str; 2]) -> bool {
    let node = Node::start().await;
    let (mut a, mut b) = (node.client().await, node.client().await);
    a.ok(setup).await;
    begin(&mut a).await;
    begin(&mut b).await;
    a.rows(reads[0]).await;
    b.rows(reads[1]).await;
    a.ok(writes[0]).await;
    b.ok(writes[1]).await;
    a.ok("commit").await;
    match b.run("commit").await {
        Ok(_) => false,
        Err(error) => {
            assert_eq!(error.state(), SqlState::SerializationFailure, "{error}");
            b.ok("rollback").await;
            true
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn write_skew_is_refused_however_it_is_read() {
    let setup = "create table t (id int primary key, n int, g text); insert into t values (1, 1, 'x'), (2, 1, 'x')";
    let writes = ["update t set n = 0 where id = 1", "update t set n = 0 where id = 2"];
    for reads in [
        ["select sum(n) from t", "select sum(n) from t"],
        ["select count(*) from t where n = 1", "select count(*) from t where n = 1"],
        ["select * from t where id = 2", "select * from t where id = 1"],
        [
            "select a.n from t a join t b on a.n = b.n",
            "select 1 where exists (select 1 from t where n > 0 and g = 'x')",
        ],
    ] {
        assert!(refused(setup, reads, writes).await, "{reads:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn phantoms_and_missing_rows_are_seen() {
    let setup = "create table t (id int primary key, n int); insert into t values (1, 1)";
    let inserts = ["insert into t values (10, 5)", "insert into t values (20, 5)"];
    for reads in [
        ["select count(*) from t", "select count(*) from t"],
        ["select * from t where n = 5", "select * from t where n = 5"],
        ["select * from t where id = 20", "select * from t where id = 10"],
        ["select max(n) from t where id between 5 and 30", "select max(n) from t where id > 5"],
    ] {
        assert!(refused(setup, reads, inserts).await, "{reads:?}");
    }
    // A row that leaves what was read.
    let moves = ["update t set n = 7 where id = 1", "insert into t values (3, 3)"];
    assert!(refused(setup, ["select 1", "select * from t where n = 1"], moves).await);
    let deletes = ["delete from t where id = 1", "insert into t values (3, 3)"];
    assert!(refused(setup, ["select 1", "select n from t where id = 1"], deletes).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_not_read_is_no_conflict() {
    let setup = "create table t (id int primary key, n int, g text); create table u (n int);
        insert into t values (1, 1, 'a'), (2, 2, 'b')";
    for (reads, writes) in [
        (
            ["select * from t where id = 1", "select * from t where id = 2"],
            ["update t set n = 5 where id = 1", "update t set n = 6 where id = 2"],
        ),
        (
            ["select sum(n) from t where g = 'a'", "select sum(n) from t where g = 'b'"],
            ["insert into t values (3, 3, 'a')", "insert into t values (4, 4, 'b')"],
        ),
        (
            ["select count(*) from u", "select count(*) from t"],
            ["insert into u values (1)", "insert into u values (2)"],
        ),
        (["select 1", "select 1"], ["insert into t values (5, 5, '')", "insert into t values (6, 6, '')"]),
    ] {
        assert!(!refused(setup, reads, writes).await, "{reads:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_alone_is_never_refused_and_weaker_levels_are_seen() {
    let node = Node::start().await;
    let (mut a, mut b) = (node.client().await, node.client().await);
    a.ok("create table t (id int primary key, n int); insert into t values (1, 1)").await;
    begin(&mut a).await;
    assert_eq!(a.rows("select n from t where id = 1").await, ["1"]);
    b.ok("update t set n = 2").await;
    assert_eq!(a.rows("select sum(n) from t").await, ["1"], "one snapshot");
    a.ok("commit").await;

    // A commit of READ COMMITTED counts as any other.
    begin(&mut a).await;
    a.rows("select * from t").await;
    b.ok("insert into t values (2, 2)").await;
    a.ok("insert into t values (3, 3)").await;
    assert_eq!(a.fails("commit").await, SqlState::SerializationFailure);
    assert_eq!(a.rows("select id from t order by id").await, ["1", "2"]);

    // So does one that is too large for one entry, and a change of the table.
    for change in [
        "insert into t select g, g from generate_series(1000, 80000) as s (g)",
        "truncate t",
        "alter table t add column more int",
    ] {
        begin(&mut a).await;
        a.rows("select max(id) from t where n < 0").await;
        b.ok(change).await;
        a.ok("create table if not exists other (id int)").await;
        assert_eq!(a.fails("commit").await, SqlState::SerializationFailure, "{change}");
    }
    a.ok("set default_transaction_isolation = 'serializable'").await;
    assert_eq!(a.ok("insert into t values (1, 1)").await, "INSERT 0 1");
    assert_eq!(a.rows("show transaction_isolation").await, ["serializable"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_sum_over_accounts_never_goes_below_zero() {
    let node = Node::start().await;
    let mut a = node.client().await;
    a.ok("create table account (id int primary key, balance int not null)").await;
    a.ok("insert into account values (1, 50), (2, 50), (3, 50)").await;
    let mut workers = Vec::new();
    for worker in 0..4 {
        let mut client = node.client().await;
        workers.push(tokio::spawn(async move {
            for round in 0..20 {
                let id = (worker + round) % 3 + 1;
                begin(&mut client).await;
                let step = async {
                    let (rows, _) = client.run("select sum(balance) from account").await?;
                    if rows[0][0].parse::<i64>().unwrap() >= 10 {
                        client.run(&format!("update account set balance = balance - 10 where id = {id}")).await?;
                    }
                    client.run("commit").await
                };
                if let Err(error) = step.await {
                    assert_eq!(error.state(), SqlState::SerializationFailure, "{error}");
                    client.ok("rollback").await;
                }
            }
        }));
    }
    for worker in workers {
        worker.await.unwrap();
    }
    let sum: i64 = a.rows("select sum(balance) from account").await[0].parse().unwrap();
    assert!((0..150).contains(&sum), "{sum}: someone was served, nobody too much");
}
