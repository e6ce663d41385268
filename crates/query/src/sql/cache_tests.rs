use perigee_plan::{Plan, Point};
use perigee_types::{SqlType, Value};

use super::StatementCache;
use crate::sql::parse;
use crate::sql::plan::tests::fixture::Fixture;

fn plan(cache: &StatementCache, fixture: &Fixture, sql: &str) -> Vec<Value> {
    let statement = parse(sql).unwrap().remove(0);
    fixture.run(|context| cache.plan(&statement, context)).unwrap_or_else(|e| panic!("{sql}: {e}")).1
}

fn lookup(cache: &StatementCache, fixture: &Fixture, sql: &str) -> Option<Vec<Value>> {
    fixture.run(|context| cache.lookup(sql, context)).unwrap().map(|(_, values)| values)
}

#[test]
fn one_plan_serves_all_literals() {
    let (cache, fixture) = (StatementCache::new(100), Fixture::new());
    let update = |a: i64, id: i64| format!("UPDATE pgbench_accounts SET abalance = abalance + {a} WHERE aid = {id};");
    assert_eq!(lookup(&cache, &fixture, &update(1, 2)), None);
    assert_eq!(plan(&cache, &fixture, &update(1, 2)), [Value::Int4(1), Value::Int4(2)]);
    assert_eq!(lookup(&cache, &fixture, &update(-123, 45)), Some(vec![Value::Int4(-123), Value::Int4(45)]));
    assert_eq!(cache.len(), 1);
    // A bigger number is another plan, with the same meaning.
    assert_eq!(lookup(&cache, &fixture, &update(1, 5_000_000_000)), None);
    assert_eq!(plan(&cache, &fixture, &update(1, 5_000_000_000))[1], Value::Int8(5_000_000_000));
}

#[test]
fn strings_become_what_their_column_wants() {
    let (cache, fixture) = (StatementCache::new(100), Fixture::new());
    let insert = |name: &str, at: &str| format!("insert into things (name, at, price) values ('{name}', '{at}', 1.5)");
    plan(&cache, &fixture, &insert("a", "2024-01-01"));
    let values = lookup(&cache, &fixture, &insert("it''s", "1970-01-01 00:00:01+00")).unwrap();
    assert_eq!(values, [Value::Text("it's".into()), Value::Timestamptz(1_000_000), Value::Numeric(15, 1)]);
    let error = fixture.run(|context| cache.lookup(&insert("a", "nonsense"), context)).unwrap_err();
    assert_eq!(error.state().code(), "22007");
}

#[test]
fn other_statements_are_kept_as_they_are() {
    let (cache, fixture) = (StatementCache::new(100), Fixture::new());
    for sql in [
        "select count(*) from pgbench_accounts where bid = 1",
        "select * from pairs order by 1 limit 5",
        "begin",
        "select price * 2.50 from things where id = 1",
        "select 1",
    ] {
        assert_eq!(plan(&cache, &fixture, sql), [], "{sql}");
        assert_eq!(lookup(&cache, &fixture, sql), Some(vec![]), "{sql}");
    }
    assert_eq!(lookup(&cache, &fixture, "select count(*) from pgbench_accounts where bid = 2"), None);
    plan(&cache, &fixture, "create table z (a int)");
    assert_eq!(lookup(&cache, &fixture, "create table z (a int)"), None);
}

#[test]
fn a_plan_belongs_to_its_catalog_search_path_and_types() {
    let (cache, fixture) = (StatementCache::new(100), Fixture::new());
    let sql = "select abalance from pgbench_accounts where aid = $1";
    plan(&cache, &fixture, sql);
    assert!(lookup(&cache, &fixture, sql).is_some());
    let declared = [Some(SqlType::Int8)];
    assert!(fixture.run_declared(&declared, |context| cache.lookup(sql, context)).unwrap().is_none());
    let mut elsewhere = Fixture::new();
    assert!(lookup(&cache, &elsewhere, sql).is_none(), "another catalog");
    elsewhere.search_path = vec!["other".to_owned()];
    assert!(lookup(&cache, &elsewhere, sql).is_none());
}

#[test]
fn a_lookup_keeps_the_kind_of_plan() {
    let (cache, fixture) = (StatementCache::new(100), Fixture::new());
    plan(&cache, &fixture, "select abalance from pgbench_accounts where aid = 1");
    let sql = "select abalance from pgbench_accounts where aid = 77";
    let (prepared, values) = fixture.run(|context| cache.lookup(sql, context)).unwrap().unwrap();
    assert!(matches!(prepared.plan, Plan::Point(Point::Select { .. })));
    assert_eq!(values, [Value::Int4(77)]);
    assert_eq!(prepared.parameters, [SqlType::Int4]);
}

/// Prints what a hit costs: `cargo test -p perigee-query --release -- --ignored --nocapture lookup_costs`.
#[test]
#[ignore = "a measurement"]
fn lookup_costs() {
    let (cache, fixture) = (StatementCache::new(100), Fixture::new());
    let sql = "UPDATE pgbench_accounts SET abalance = abalance + -1234 WHERE aid = 45678;";
    plan(&cache, &fixture, sql);
    let rounds = 200_000;
    let start = std::time::Instant::now();
    for _ in 0..rounds {
        std::hint::black_box(lookup(&cache, &fixture, sql));
    }
    println!("{:?} a lookup", start.elapsed() / rounds);
}
