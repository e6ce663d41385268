//! SELECT … FOR UPDATE and FOR SHARE between sessions.

use perigee_types::SqlState;

use crate::node::Node;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nowait_fails_and_skip_locked_leaves_out() {
    let node = Node::start().await;
    let (mut a, mut b) = (node.client().await, node.client().await);
    a.ok("create table t (id int primary key, state text)").await;
    a.ok("insert into t select g, 'ready' from generate_series(1, 6) as s (g)").await;
    a.ok("begin").await;
    assert_eq!(a.rows("select id from t where id in (1, 3) order by id for update").await, ["1", "3"]);
    for sql in [
        "select * from t where id = 1 for update nowait",
        "select * from t where id = 1 for share nowait",
        "select * from t order by id for update nowait",
        "select * from t where id = 3 for no key update nowait",
    ] {
        assert_eq!(b.fails(sql).await, SqlState::LockNotAvailable, "{sql}");
    }
    // The limit counts what was locked.
    let take = "select id from t where state = 'ready' order by id limit 2 for update skip locked";
    b.ok("begin").await;
    assert_eq!(b.rows(take).await, ["2", "4"]);
    assert_eq!(b.rows(take).await, ["2", "4"], "own locks are no obstacle");
    let mut c = node.client().await;
    c.ok("begin").await;
    assert_eq!(c.rows(take).await, ["5", "6"]);
    let mut d = node.client().await;
    assert!(d.rows(take).await.is_empty());
    assert_eq!(d.rows("select id from t order by id offset 1 for share skip locked").await, Vec::<String>::new());
    a.ok("rollback").await;
    assert_eq!(d.rows("select id from t order by id limit 5 offset 1 for share skip locked").await, ["3"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_share_a_queue_without_taking_a_job_twice() {
    let node = Node::start().await;
    let mut a = node.client().await;
    a.ok("create table job (id int primary key, done int not null default 0)").await;
    a.ok("insert into job select g from generate_series(1, 60) as s (g)").await;
    let mut workers = Vec::new();
    for _ in 0..4 {
        let mut client = node.client().await;
        workers.push(tokio::spawn(async move {
            let mut taken = 0;
            loop {
                client.ok("begin").await;
                let sql = "select id from job where done = 0 order by id limit 3 for update skip locked";
                let ids = client.rows(sql).await;
                for id in &ids {
                    client.ok(&format!("update job set done = done + 1 where id = {id}")).await;
                }
                client.ok("commit").await;
                taken += ids.len();
                if ids.is_empty() && client.rows("select count(*) from job where done = 0").await == ["0"] {
                    return taken;
                }
            }
        }));
    }
    let mut all = 0;
    for worker in workers {
        all += worker.await.unwrap();
    }
    assert_eq!(all, 60);
    assert_eq!(a.rows("select min(done), max(done) from job").await, ["1|1"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_statement_takes_a_job() {
    let node = Node::start().await;
    let mut a = node.client().await;
    a.ok("create table job (id int primary key, done int not null default 0)").await;
    a.ok("insert into job select g from generate_series(1, 60) as s (g)").await;
    let mut workers = Vec::new();
    for place in 0..4 {
        let mut client = node.client().await;
        workers.push(tokio::spawn(async move {
            // The even ones leave out what is locked, the others wait for it.
            let skip = if place % 2 == 0 { "skip locked" } else { "" };
            let sql = format!(
                "update job set done = done + 1 where id in \
                 (select id from job where done = 0 order by id for update {skip} limit 2) returning id"
            );
            let mut taken = 0;
            loop {
                let ids = client.rows(&sql).await.len();
                taken += ids;
                if ids == 0 && client.rows("select count(*) from job where done = 0").await == ["0"] {
                    return taken;
                }
            }
        }));
    }
    let mut all = 0;
    for worker in workers {
        all += worker.await.unwrap();
    }
    assert_eq!(all, 60);
    assert_eq!(a.rows("select min(done), max(done) from job").await, ["1|1"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shares_go_together_and_keep_writers_out() {
    let node = Node::start().await;
    let (mut a, mut b) = (node.client().await, node.client().await);
    a.ok("create table t (id int primary key, n int); create table u (id int primary key, t int)").await;
    a.ok("insert into t values (1, 1), (2, 2); insert into u values (1, 1), (2, 2)").await;
    a.ok("begin; set local lock_timeout = '50ms'").await;
    b.ok("begin; set local lock_timeout = '50ms'").await;
    a.rows("select * from t where id = 1 for share").await;
    b.rows("select * from t for key share").await;
    assert_eq!(b.fails("update t set n = 3 where id = 1").await, SqlState::LockNotAvailable);
    b.ok("rollback").await;
    a.ok("rollback").await;
    // Only the rows of the table that is named are locked.
    a.ok("begin").await;
    assert_eq!(a.rows("select t.id, u.id from t join u on u.t = t.id where t.id = 1 for update of t").await, ["1|1"]);
    b.ok("update u set t = 2 where id = 1").await;
    assert_eq!(b.fails("select * from t where id = 1 for update nowait").await, SqlState::LockNotAvailable);
    a.ok("commit").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_staged_is_read_by_its_own_transaction() {
    let node = Node::start().await;
    let (mut a, mut b) = (node.client().await, node.client().await);
    a.ok("create table t (id int primary key, n int, pad text)").await;
    a.ok("begin").await;
    // More than a transaction buffers.
    a.ok("insert into t select g, g % 10, repeat('x', 1000) from generate_series(1, 10000) as s (g)").await;
    assert_eq!(a.rows("select count(*), sum(n) from t").await, ["10000|45000"]);
    assert_eq!(b.rows("select count(*) from t").await, ["0"], "nobody else sees them");
    assert_eq!(a.rows("select n from t where id = 7777").await, ["7"]);
    assert_eq!(a.fails("begin; insert into t values (5, 5, '')").await, SqlState::UniqueViolation);
    a.ok("rollback").await;
    assert_eq!(a.rows("select count(*) from t").await, ["0"]);
    a.ok("begin").await;
    a.ok("insert into t select g, g % 10, repeat('x', 1000) from generate_series(1, 10000) as s (g)").await;
    assert_eq!(a.ok("update t set n = 100 where id = 5").await, "UPDATE 1");
    assert_eq!(a.ok("update t set n = n + 1 where id between 11 and 20").await, "UPDATE 10");
    assert_eq!(a.ok("delete from t where n = 9").await, "DELETE 1000");
    assert_eq!(a.rows("select count(*), max(n) from t").await, ["9000|100"]);
    a.ok("insert into t values (10001, 1, ''), (19, 0, '') on conflict (id) do update set n = 200").await;
    assert_eq!(a.rows("select id from t where n = 200").await, ["19"]);
    a.ok("commit").await;
    assert_eq!(b.rows("select count(*), max(n) from t").await, ["9001|200"]);
    assert_eq!(b.rows("select n from t where id = 5").await, ["100"]);
    assert_eq!(b.rows("select n from t where id = 9").await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_savepoint_takes_back_what_was_staged_behind_it() {
    let node = Node::start().await;
    let (mut a, mut b) = (node.client().await, node.client().await);
    a.ok("create table t (id int primary key, pad text); insert into t values (0, 'before')").await;
    let load = |from: i32| {
        format!("insert into t select g, repeat('x', 1000) from generate_series({from}, {}) as s (g)", from + 4_999)
    };
    a.ok("begin").await;
    a.ok("insert into t values (1, 'kept')").await;
    a.ok("savepoint first").await;
    a.ok(&load(10_000)).await;
    a.ok("savepoint second").await;
    a.ok(&load(20_000)).await;
    a.ok("delete from t where id in (0, 10000, 20000)").await;
    assert_eq!(a.fails("insert into t values (20001, '')").await, SqlState::UniqueViolation);
    a.ok("rollback to savepoint second").await;
    assert_eq!(a.rows("select count(*), max(id) from t").await, ["5002|14999"]);
    assert_eq!(a.rows("select pad from t where id = 0").await, ["before"]);
    assert!(a.rows("select id from t where id = 20001").await.is_empty());
    a.ok(&load(20_000)).await;
    assert_eq!(a.rows("select count(*), max(id) from t").await, ["10002|24999"]);
    a.ok("rollback to savepoint second").await;
    a.ok("insert into t values (20001, 'after')").await;
    a.ok("release savepoint second").await;
    assert_eq!(a.rows("select count(*), max(id) from t").await, ["5003|20001"]);
    a.ok("rollback to savepoint first").await;
    assert_eq!(a.rows("select id from t order by id").await, ["0", "1"]);
    a.ok(&load(30_000)).await;
    a.ok("commit").await;
    assert_eq!(b.rows("select count(*), min(id), max(id) from t").await, ["5002|0|34999"]);
    drop((a, b));
    let node = node.restart(true).await;
    let mut a = node.client().await;
    assert_eq!(a.rows("select count(*) from t").await, ["5002"]);
    assert_eq!(a.rows("select pad from t where id = 1").await, ["kept"]);
    a.ok("insert into t values (10005, 'free again'), (20005, 'free again')").await;
}

/// Statements that want the same rows of several partitions wait for each other, and none is the victim of a deadlock.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn statements_over_partitions_lock_in_one_order() {
    let node = Node::start().await;
    let mut a = node.client().await;
    a.ok("create table p (id int, n int, primary key (id)) partition by hash (id)").await;
    for part in 0..6 {
        a.ok(&format!("create table p{part} partition of p for values with (modulus 6, remainder {part})")).await;
    }
    // Several chunks in each.
    for from in 0..4 {
        a.ok(&format!("insert into p select g * 4 + {from}, 0 from generate_series(1, 2000) g")).await;
    }
    a.ok("create table keyless (id int, n int) partition by hash (id)").await;
    a.ok("create table keyless0 partition of keyless for values with (modulus 2, remainder 0)").await;
    a.ok("create table keyless1 partition of keyless for values with (modulus 2, remainder 1)").await;
    a.ok("insert into keyless select g, 0 from generate_series(1, 500) g").await;
    let statements = [
        "update p set n = n + 1 where id % 40 < 3",
        "select id from p where id % 40 < 3 for update",
        "merge into p using (select id from p where id % 40 < 3) s on p.id = s.id when matched then update set n = n + 1",
        "begin; delete from p where id % 40 = 1; rollback",
        "update keyless set n = n + 1",
    ];
    let mut workers = Vec::new();
    for worker in 0..6 {
        let mut client = node.client().await;
        workers.push(tokio::spawn(async move {
            for round in 0..15 {
                client.ok(statements[(worker + round) % statements.len()]).await;
            }
        }));
    }
    for worker in workers {
        worker.await.unwrap();
    }
    assert_eq!(a.rows("select count(*), sum(n) from keyless").await, ["500|9000"]);
}
