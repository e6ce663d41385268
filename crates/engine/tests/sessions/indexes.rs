//! What is found through an index is what a scan finds, whatever happens to the rows.

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use crate::node::{Client, Node};

const COLUMNS: &str = "(a int, b int, c text, d timestamptz, e bigint)";

/// `t` has indexes, `u` has the same rows and none.
async fn tables(client: &mut Client) {
    client.ok(&format!("CREATE TABLE t {COLUMNS}")).await;
    client.ok(&format!("CREATE TABLE u {COLUMNS}")).await;
    let row = "x, (x * 7919) % 1000, CASE WHEN x % 17 = 0 THEN NULL ELSE 'k' || x % 500 END, \
               timestamptz '2026-01-01' + (x % 3000) * interval '1 minute', x % 5";
    client.ok(&format!("INSERT INTO t SELECT {row} FROM generate_series(1, 20000) AS g (x)")).await;
    client.ok("INSERT INTO u SELECT * FROM t").await;
    client.ok("CREATE INDEX t_b ON t (b)").await;
    client.ok("CREATE INDEX t_cb ON t (c, b DESC)").await;
    client.ok("CREATE INDEX t_ed ON t (e, d)").await;
}

fn condition(random: &mut StdRng) -> String {
    let b = random.random_range(-5..1005);
    let c = format!("'k{}'", random.random_range(0..510));
    let d = format!("timestamptz '2026-01-01' + interval '{} minutes'", random.random_range(0..3010));
    let e = random.random_range(0..6);
    match random.random_range(0..12) {
        0 => format!("b = {b}"),
        1 => format!("b IN ({b}, {}, NULL, {}, 7)", b + 3, b + 9),
        2 => format!("b BETWEEN {b} AND {}", b + 1),
        3 => "b > 996".to_owned(),
        4 => format!("{c} = c"),
        5 => format!("c = {c} AND b >= {b}"),
        6 => format!("c IN ({c}, 'k3') AND b < {b}"),
        7 => format!("e = {e} AND d = {d}"),
        8 => format!("e = {e} AND d > {d} AND d <= {d} + interval '3 minutes'"),
        9 => format!("e IN (1, 3) AND d = {d}"),
        10 => format!("b = {b} OR b = {}", b + 1),
        _ => format!("c = {c} AND b = {b} AND a % 2 = 0"),
    }
}

async fn check(client: &mut Client, random: &mut StdRng, count: usize) {
    for _ in 0..count {
        let condition = condition(random);
        let indexed = client.rows(&format!("SELECT * FROM t WHERE {condition} ORDER BY a, b")).await;
        let scanned = client.rows(&format!("SELECT * FROM u WHERE {condition} ORDER BY a, b")).await;
        assert_eq!(indexed, scanned, "{condition}");
        let plan = client.rows(&format!("EXPLAIN SELECT * FROM t WHERE {condition}")).await.join("\n");
        assert!(plan.contains("index=t_"), "{condition}: {plan}");
    }
}

async fn write(client: &mut Client, random: &mut StdRng) {
    let (kind, b) = (random.random_range(0..5), random.random_range(0..1000));
    for table in ["t", "u"] {
        let statement = match kind {
            0 => format!("UPDATE {table} SET b = b + 1 WHERE b = {b}"),
            1 => format!("DELETE FROM {table} WHERE b = {b} AND a % 3 = 0"),
            2 => format!("UPDATE {table} SET c = 'k7' WHERE c = 'k{}' AND b < 300", b % 500),
            3 => format!("INSERT INTO {table} SELECT a + 100000, b, c, d, e FROM {table} WHERE b = {b}"),
            _ => format!("UPDATE {table} SET d = d + interval '1 minute' WHERE e = {} AND b < 20", b % 5),
        };
        client.ok(&statement).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_finds_what_a_scan_finds() {
    let mut random = StdRng::seed_from_u64(8);
    let mut node = Node::start().await;
    tables(&mut node.client().await).await;
    for round in 0..4 {
        let mut client = node.client().await;
        check(&mut client, &mut random, 6).await;
        let mut old = node.client().await;
        old.ok("BEGIN ISOLATION LEVEL REPEATABLE READ").await;
        check(&mut old, &mut random, 1).await;
        for _ in 0..4 {
            write(&mut client, &mut random).await;
        }
        check(&mut client, &mut random, 4).await;
        client.ok("BEGIN").await;
        for _ in 0..3 {
            write(&mut client, &mut random).await;
        }
        check(&mut client, &mut random, 4).await;
        client.ok(if round % 2 == 0 { "COMMIT" } else { "ROLLBACK" }).await;
        check(&mut client, &mut random, 4).await;
        check(&mut old, &mut random, 4).await;
        drop((client, old));
        node = node.restart(round % 2 == 0).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_join_asks_the_index_for_what_its_other_side_has() {
    let node = Node::start().await;
    let mut client = node.client().await;
    tables(&mut client).await;
    let joined =
        |table: &str| format!("SELECT count(*), sum(y.a) FROM u AS x JOIN {table} AS y ON y.b = x.b WHERE x.a = 77");
    assert_eq!(client.rows(&joined("t")).await, client.rows(&joined("u")).await);
    let plan = client.rows(&format!("EXPLAIN ANALYZE {}", joined("t"))).await.join("\n");
    assert!(plan.contains("by index: rows=20"), "{plan}");
}
