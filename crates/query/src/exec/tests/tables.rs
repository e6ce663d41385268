//! Scans: visibility, own rows, pruning, cancellation, memory.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use perigee_plan::relational::RETURNING_TABLE;
use perigee_storage::store::{Overlay, TableOverlay};
use perigee_types::{SqlType, Value, Vid};

use super::{Fixture, query_of};
use crate::exec::explain::ExplainOptions;

fn items(fixture: &mut Fixture, rows: i32) -> Arc<perigee_types::catalog::Table> {
    let columns = [("id", SqlType::Int4), ("name", SqlType::Text), ("price", SqlType::Numeric(Some((15, 2))))];
    let table = fixture.table("items", &columns);
    for first in (0..rows).step_by(5_000) {
        let block = (first..rows.min(first + 5_000))
            .map(|i| vec![Value::Int4(i), Value::Text(format!("item {i}")), Value::Numeric(i128::from(i) * 100, 2)])
            .collect();
        fixture.insert(&table, block);
    }
    table
}

#[test]
fn reads_rows_by_filter_order_and_limit() {
    let mut fixture = Fixture::new();
    items(&mut fixture, 20_000);
    fixture.check("SELECT count(*), min(id), max(id) FROM items", &["20000|0|19999"]);
    fixture.check("SELECT name FROM items WHERE id = 12345", &["item 12345"]);
    fixture.check("SELECT id FROM items ORDER BY id DESC LIMIT 2", &["19999", "19998"]);
    fixture.check("SELECT sum(price) FROM items WHERE id < 3", &["3.00"]);
    fixture.check("SELECT count(*) FROM items WHERE name LIKE 'item 1999%'", &["11"]);
    fixture.check("SELECT a.id FROM items a JOIN items b ON a.id = b.id + 1 WHERE b.id = 7", &["8"]);
    fixture.check("SELECT count(*) FROM (SELECT id FROM items LIMIT 100) t", &["100"]);
    fixture.check("SELECT 1 FROM items WHERE id IN (SELECT id FROM items WHERE id > 19998)", &["1"]);
}

#[test]
fn counts_of_what_is_never_null_are_one() {
    let mut fixture = Fixture::new();
    items(&mut fixture, 100);
    fixture.check("SELECT avg(id), count(id), count(*) FROM items", &["49.5000000000000000|100|100"]);
    fixture.check("SELECT count(id) FILTER (WHERE id < 3), count(*) FROM items", &["3|100"]);
    let outer = "SELECT count(b.id), count(*) FROM items a LEFT JOIN items b ON b.id = a.id AND b.id < 10";
    fixture.check(outer, &["10|100"]);
    let aggregates = |sql: &str| {
        let plan = fixture.plan(sql).unwrap().display_indent().to_string();
        plan.lines().find(|line| line.contains("Aggregate:")).unwrap().to_owned()
    };
    let line = aggregates("SELECT avg(id), count(id), count(*) FROM items");
    assert_eq!(line.matches("count(Int64(1))").count(), 1, "{line}");
    let line = aggregates("SELECT avg(price), count(*) FROM items");
    let counted: Vec<&str> = line.split("count(").skip(1).filter_map(|rest| rest.split(')').next()).collect();
    assert!(counted.iter().any(|of| of.ends_with("price")), "{line}");
}

#[test]
fn what_only_filters_name_is_not_handed_over() {
    let mut fixture = Fixture::new();
    items(&mut fixture, 100);
    fixture.check("SELECT id + 1, price * 2 FROM items WHERE name = 'item 7'", &["8|14.00"]);
    let query = query_of(fixture.plan("SELECT price * 2 FROM items WHERE name LIKE 'item 1%' AND id > 5").unwrap());
    let explain = fixture.runtime.explain(&query, &[], fixture.view(), ExplainOptions::default());
    let lines = fixture.block_on(explain).unwrap();
    assert!(lines.iter().any(|line| line.contains("columns=[price]")), "{lines:?}");
}

#[test]
fn batches_of_long_rows_are_short() {
    let mut fixture = Fixture::new();
    let table = fixture.table("documents", &[("id", SqlType::Int4), ("body", SqlType::Text)]);
    for id in 0..40 {
        fixture.insert(&table, vec![vec![Value::Int4(id), Value::Text("x".repeat(1 << 20))]]);
    }
    let query = query_of(fixture.plan("SELECT id, body FROM documents").unwrap());
    let batches = fixture.block_on(fixture.runtime.fetch_batches(&query, &[], fixture.view())).unwrap();
    let rows: Vec<usize> = batches.iter().map(arrow::array::RecordBatch::num_rows).collect();
    assert_eq!(rows.iter().sum::<usize>(), 40);
    // 8 MB are gathered, and what goes beyond them.
    assert!(rows.iter().all(|rows| *rows <= 16), "{rows:?}");
}

#[test]
fn parameters_are_bound_into_a_cached_plan() {
    let mut fixture = Fixture::new();
    items(&mut fixture, 100);
    let query = fixture.query("SELECT name, $2::text FROM items WHERE id = $1::int LIMIT $3").unwrap();
    for id in [3, 42] {
        let parameters = [Value::Int4(id), Value::Text("x".into()), Value::Int8(5)];
        assert_eq!(fixture.run_query(&query, &parameters).unwrap(), [format!("item {id}|x")]);
    }
    let parameters = [Value::Null, Value::Text("x".into()), Value::Int8(5)];
    assert!(fixture.run_query(&query, &parameters).unwrap().is_empty());
    assert_eq!(fixture.run_query(&query, &[]).unwrap_err().state().code(), "42P02");
}

#[test]
fn a_plan_is_optimized_again_with_the_parameters_of_a_large_read() {
    let mut fixture = Fixture::new();
    items(&mut fixture, 60_000);
    let mut query = fixture.query("SELECT count(*), 1::int8 FROM items WHERE id < $1::int4").unwrap();
    query.replan = true;
    assert_eq!(fixture.run_query(&query, &[Value::Int4(10)]).unwrap(), ["10|1"]);
    let rows = fixture.block_on(fixture.runtime.fetch_rows(&query, &[Value::Int4(10)], fixture.view())).unwrap();
    assert_eq!(rows, [vec![Value::Int8(10), Value::Int8(1)]], "types stay");
}

#[test]
fn a_transaction_sees_its_own_rows() {
    let mut fixture = Fixture::new();
    let table = items(&mut fixture, 10);
    let vids = fixture.plan_with("SELECT _vid FROM items WHERE id IN (1, 2) ORDER BY id", &[table.oid]).unwrap();
    let rows = fixture.block_on(fixture.runtime.fetch_rows(&query_of(vids), &[], fixture.view())).unwrap();
    let ended: HashSet<Vid> = rows
        .iter()
        .map(|row| match &row[0] {
            Value::Numeric(v, _) => Vid(*v as u64),
            other => Vid(other.as_i64().unwrap() as u64),
        })
        .collect();
    assert_eq!(ended.len(), 2);
    let row = vec![Value::Int4(99), Value::Text("new".into()), Value::Null];
    let inserted = vec![(Vid::LOCAL_FIRST, row)];
    let own = TableOverlay { ended, inserted };
    fixture.overlay = Some(Arc::new(Overlay { tables: HashMap::from([(table.storage, own)]), staged: None }));
    fixture.check("SELECT count(*) FROM items", &["9"]);
    fixture.check(
        "SELECT id, name, price FROM items WHERE id > 8 OR id < 3 ORDER BY id",
        &["0|item 0|0.00", "9|item 9|9.00", "99|new|NULL"],
    );
}

#[test]
fn chunks_that_cannot_match_are_not_read() {
    let mut fixture = Fixture::new();
    items(&mut fixture, 40_000);
    let query = fixture.query("SELECT count(*) FROM items WHERE id BETWEEN 100 AND 200").unwrap();
    let options = ExplainOptions { analyze: true, verbose: false };
    let lines = fixture.block_on(fixture.runtime.explain(&query, &[], fixture.view(), options)).unwrap();
    let text = lines.join("\n");
    assert!(text.contains("pruned="), "{text}");
    assert!(!text.contains("pruned=0"), "{text}");
    assert!(text.contains("hot: rows="), "{text}");
}

#[test]
fn a_cancelled_query_ends() {
    let mut fixture = Fixture::new();
    items(&mut fixture, 20_000);
    let query = fixture.query("SELECT count(*) FROM items a, items b, items c WHERE a.id + b.id > c.id").unwrap();
    let view = fixture.view();
    let cancel = view.cancel.clone();
    let error = fixture.block_on(async {
        let run = fixture.runtime.fetch_rows(&query, &[], view);
        let stop = async {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            cancel.cancel();
        };
        tokio::join!(run, stop).0.unwrap_err()
    });
    assert_eq!(error.state().code(), "57014");
}

/// A join whose filter lets nothing through gives no batch to yield behind; its thread is wanted by the next query.
#[test]
fn a_cancelled_join_without_rows_gives_its_thread_back() {
    let fixture = Fixture::new();
    let sql =
        "SELECT count(*) FROM generate_series(1, 1000000) a(x), generate_series(1, 3000) b(x) WHERE a.x + b.x < 0";
    let query = fixture.query(sql).unwrap();
    // More than there are threads.
    for _ in 0..4 {
        let view = fixture.view();
        let cancel = view.cancel.clone();
        let error = fixture.block_on(async {
            let run = fixture.runtime.fetch_rows(&query, &[], view);
            let stop = async {
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                cancel.cancel();
            };
            tokio::join!(run, stop).0.unwrap_err()
        });
        assert_eq!(error.state().code(), "57014");
    }
    fixture.check("SELECT count(*) FROM generate_series(1, 10)", &["10"]);
}

#[test]
fn a_join_beyond_memory_runs_again_as_sort_merge() {
    let mut fixture = Fixture::with_memory(6 << 20);
    items(&mut fixture, 60_000);
    fixture.check("SELECT count(*), sum(a.id) FROM items a JOIN items b ON a.name = b.name", &["60000|1799970000"]);
}

#[test]
fn returning_is_evaluated_over_rows_in_memory() {
    let mut fixture = Fixture::new();
    let table = items(&mut fixture, 1);
    let source = crate::exec::returning::source(&table);
    let plan = datafusion::logical_expr::LogicalPlanBuilder::scan(RETURNING_TABLE, source, None)
        .and_then(|b| {
            use datafusion::logical_expr::col;
            b.project(vec![col("name"), col("id") + datafusion::logical_expr::lit(1)])?.build()
        })
        .unwrap();
    let plan = crate::exec::optimize(&plan).unwrap();
    let columns: Vec<(u16, &SqlType, &str)> =
        table.columns.iter().map(|c| (c.number, &c.ty, c.name.as_str())).collect();
    let row = vec![Value::Int4(7), Value::Text("seven".into()), Value::Null];
    let rows = perigee_storage::arrow_value::rows_to_batch(&columns, &[row]).unwrap();
    let batches = fixture.block_on(fixture.runtime.evaluate(&plan, rows, &[], fixture.view())).unwrap();
    let rows: Vec<_> = batches.iter().flat_map(perigee_storage::arrow_value::batch_to_rows).collect();
    assert_eq!(rows, [vec![Value::Text("seven".into()), Value::Int4(8)]]);
}
