//! Continuous aggregates show what their query gives, whatever was written and whatever was taken in.

use std::sync::Arc;

use perigee_engine::continuous::maintain;
use perigee_types::SqlState;
use perigee_types::catalog::{Object, Table};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::node::{Client, Node};

const QUERY: &str = "select time_bucket('5 min', ts) as bucket, k, count(*) as n, count(v) as nv, sum(v) as s, min(v) as low, \
     max(v) as high, avg(w) as mean, avg(v) as middle, first(v, id) as f, last(v, id) as l from t where k <> 3 group by bucket, k";

fn views(node: &Node) -> Vec<Arc<Table>> {
    let catalog = node.engine.store().catalog();
    let view = |object: &Object| match object {
        Object::Table(table) if table.materialized.is_some() => Some(table.clone()),
        _ => None,
    };
    catalog.objects().filter_map(view).collect()
}

async fn take_in(node: &Node) {
    for view in views(node) {
        maintain(&node.engine, &view).await.unwrap();
    }
}

async fn compare(client: &mut Client, at: &str) {
    let shown = client.rows("select * from v order by bucket nulls first, k").await;
    let expected = client.rows(&format!("{QUERY} order by bucket nulls first, k")).await;
    assert_eq!(shown, expected, "{at}");
    let part = "where bucket >= '2024-01-01 02:00' and n > 1";
    let shown = client.rows(&format!("select k, sum(n), max(high) from v {part} group by k order by k")).await;
    let expected =
        client.rows(&format!("select k, sum(n), max(high) from ({QUERY}) q {part} group by k order by k")).await;
    assert_eq!(shown, expected, "a part, {at}");
}

/// A time on the first of January 2024, and seldom another or none.
fn time(rng: &mut StdRng) -> String {
    match rng.random_range(0..40) {
        0 => "null".to_owned(),
        1 => "'infinity'::timestamptz".to_owned(),
        2 => "'1890-05-05'::timestamptz".to_owned(),
        _ => format!("'2024-01-01'::timestamptz + interval '{} s'", rng.random_range(0..20_000)),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_sequence_of_writes_is_shown() {
    for key in ["primary key", ""] {
        let seed = rand::random();
        println!("seed {seed}, {key}");
        sequence(StdRng::seed_from_u64(seed), key).await;
    }
}

async fn sequence(mut rng: StdRng, key: &str) {
    let mut node = Node::start().await;
    let mut client = node.client().await;
    client.ok(&format!("create table t (id int8 {key}, ts timestamptz, k int, v int, w float8)")).await;
    client.ok("insert into t select g, '2024-01-01'::timestamptz + g * interval '7 s', g % 5, g % 11, g % 4 from generate_series(1, 300) g").await;
    client.ok(&format!("create materialized view v with (continuous) as {QUERY}")).await;
    let mut id = 1_000;
    for step in 0..150 {
        id += 1;
        let (at, some) = (time(&mut rng), rng.random_range(0..id));
        let sql = match rng.random_range(0..16) {
            0..=4 => format!("insert into t values ({id}, {at}, {}, {}, {})", step % 5, step % 13, step % 4),
            5 => format!("insert into t values ({id}, {at}, 1, null, null), ({id} + 100000, {at}, 2, 7, 0.5)"),
            6 => format!("update t set v = v + 1 where id between {some} and {some} + 20"),
            7 => format!("update t set ts = {at} where id % 97 = {}", some % 97),
            8 => format!("update t set k = (k + 1) % 5 where id % 41 = {}", some % 41),
            9 => format!("delete from t where id between {some} and {some} + 15"),
            10 => format!("begin; insert into t values ({id}, {at}, 1, 1, 1); rollback"),
            11 => format!(
                "begin; insert into t values ({id}, {at}, 1, 1, 1); savepoint s; delete from t where id < 100; rollback to s; commit"
            ),
            12 if step % 6 == 0 => "truncate t".to_owned(),
            // More than an entry holds.
            13 if step % 4 == 0 => format!(
                "insert into t select {id} * 100000 + g, '2024-01-01'::timestamptz + g * interval '1 s', g % 5, g % 11, g % 4 \
                 from generate_series(1, 20000) g"
            ),
            14 => "alter table t add column if not exists extra text".to_owned(),
            _ => format!("delete from t where k = 3 and id % 7 = {}", some % 7),
        };
        client.ok(&sql).await;
        if rng.random_range(0..3) == 0 {
            take_in(&node).await;
        }
        if rng.random_range(0..4) == 0 {
            compare(&mut client, &format!("step {step}: {sql}")).await;
        }
        if step % 50 == 49 {
            drop(client);
            node = node.restart(step == 99).await;
            client = node.client().await;
            compare(&mut client, &format!("behind a restart at step {step}")).await;
        }
    }
    compare(&mut client, "at the end").await;
    take_in(&node).await;
    compare(&mut client, "with all taken in").await;
    // Nothing is left to be computed at reading.
    let plan = client.rows("explain analyze select count(*) from v").await.join("\n");
    println!("{plan}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn open_snapshots_and_own_writes_see_their_own() {
    let node = Node::start().await;
    let (mut a, mut b) = (node.client().await, node.client().await);
    a.ok("create table t (id int8 primary key, ts timestamptz not null, k int, v int, w float8)").await;
    a.ok(&format!("create materialized view v with (continuous) as {QUERY}")).await;
    let insert = |id: i32| format!("insert into t values ({id}, '2024-01-01 00:01', 1, {id}, 1)");
    a.ok(&insert(1)).await;
    b.ok("begin isolation level repeatable read").await;
    compare(&mut b, "the snapshot").await;
    a.ok(&insert(2)).await;
    take_in(&node).await;
    a.ok(&insert(3)).await;
    take_in(&node).await;
    assert_eq!(a.rows("select n, s from v").await, ["3|6"]);
    assert_eq!(b.rows("select n, s from v").await, ["1|1"]);
    compare(&mut b, "an old snapshot").await;
    b.ok("commit").await;
    a.ok("begin").await;
    a.ok(&insert(4)).await;
    a.ok("delete from t where id = 1").await;
    assert_eq!(a.rows("select n, s from v").await, ["3|9"]);
    assert_eq!(b.rows("select n, s from v").await, ["3|6"]);
    a.ok("truncate t").await;
    assert_eq!(a.rows("select n, s from v").await, Vec::<String>::new());
    a.ok("rollback").await;
    assert_eq!(a.rows("select n, s from v").await, ["3|6"]);
    a.ok("begin; create table u (ts timestamptz, x int); insert into u values ('2024-01-01', 5)").await;
    a.ok("create materialized view vu with (continuous) as select time_bucket('1 month', ts) m, sum(x) s from u group by 1").await;
    assert_eq!(a.rows("select s from vu").await, ["5"]);
    a.ok("commit").await;
    a.ok("insert into u values ('2024-01-31', 6), ('2024-02-01', 7)").await;
    assert_eq!(a.rows("select s from vu order by m").await, ["11", "7"]);
    a.ok("refresh materialized view vu").await;
    assert_eq!(a.rows("select s from vu order by m").await, ["11", "7"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_kept_is_refused() {
    let node = Node::start().await;
    let mut a = node.client().await;
    a.ok("create table t (ts timestamptz, d date, k int, v int)").await;
    let create = |query: &str| format!("create materialized view c with (continuous) as {query}");
    for query in [
        "select k, count(*) from t group by k",
        "select time_bucket('1 h', ts), count(*) from t group by time_bucket('1 h', ts) order by 1",
        "select time_bucket('1 h', t.ts), count(*) from t join t u on t.k = u.k group by 1",
        "select time_bucket('1 h', t.ts), count(*) from t where k in (select k from t) group by 1",
        "select count(*) from t group by time_bucket('1 h', ts)",
        "select time_bucket('1 h', ts), count(*) from t group by rollup (time_bucket('1 h', ts))",
        "select distinct time_bucket('1 h', ts), count(*) from t group by 1",
        "select time_bucket('1 h', ts + interval '1 s'), count(*) from t group by 1",
    ] {
        assert_eq!(a.fails(&create(query)).await, SqlState::FeatureNotSupported, "{query}");
    }
    for query in [
        "select time_bucket('1 h', ts), count(*) from t where ts < now() group by 1",
        "select time_bucket('1 h', ts), date_trunc('day', ts), count(*) from t group by 1, 2",
    ] {
        assert_eq!(a.fails(&create(query)).await, SqlState::InvalidObjectDefinition, "{query}");
    }
    a.ok(&create("select time_bucket('7 days', d) as week, count(*) as n from t group by week")).await;
    for (sql, state) in [
        ("insert into c values (now(), 1)", SqlState::WrongObjectType),
        ("update c set n = 1", SqlState::WrongObjectType),
        ("delete from c", SqlState::WrongObjectType),
        ("truncate c", SqlState::WrongObjectType),
        ("drop table c", SqlState::WrongObjectType),
        ("drop view c", SqlState::WrongObjectType),
        ("create index on c (n)", SqlState::FeatureNotSupported),
        ("drop table t", SqlState::DependentObjectsStillExist),
        ("alter table t drop column d", SqlState::DependentObjectsStillExist),
    ] {
        assert_eq!(a.fails(sql).await, state, "{sql}");
    }
    // ALTER TABLE renames whatever is a relation.
    a.ok("alter table c rename to d").await;
    a.ok("insert into t (d) values ('2024-05-16'), ('2024-05-13'), ('2024-05-12')").await;
    assert_eq!(a.rows("select week, n from d order by 1").await, ["2024-05-06|1", "2024-05-13|2"]);
    a.ok("drop table t cascade").await;
    assert_eq!(a.fails("select * from d").await, SqlState::UndefinedTable);
}
