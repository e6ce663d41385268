//! TPC-H: each of its queries is planned and runs, over a few rows.

use std::sync::Arc;

use perigee_types::catalog::Table;
use perigee_types::text::parse;
use perigee_types::{Row, SqlType};

use super::Fixture;

const PRICE: SqlType = SqlType::Numeric(Some((15, 2)));

fn table(fixture: &mut Fixture, name: &str, columns: &[(&str, SqlType)], rows: &[&str]) {
    let table: Arc<Table> = fixture.table(name, columns);
    let rows: Vec<Row> = rows
        .iter()
        .map(|row| row.split('|').zip(columns).map(|(text, (_, ty))| parse(text, ty).unwrap()).collect())
        .collect();
    fixture.insert(&table, rows);
}

fn database() -> Fixture {
    use SqlType::{Char, Date, Int4, Int8, Varchar};
    let mut f = Fixture::new();
    let v = || Varchar(Some(200));
    table(
        &mut f,
        "region",
        &[("r_regionkey", Int8), ("r_name", Char(25)), ("r_comment", v())],
        &["0|EUROPE|x", "1|ASIA|x"],
    );
    table(
        &mut f,
        "nation",
        &[("n_nationkey", Int8), ("n_name", Char(25)), ("n_regionkey", Int8), ("n_comment", v())],
        &["0|GERMANY|0|x", "1|FRANCE|0|x", "2|CHINA|1|x"],
    );
    table(
        &mut f,
        "supplier",
        &[
            ("s_suppkey", Int8),
            ("s_name", Char(25)),
            ("s_address", v()),
            ("s_nationkey", Int8),
            ("s_phone", Char(15)),
            ("s_acctbal", PRICE),
            ("s_comment", v()),
        ],
        &["1|S1|a|0|10-1|100.00|x", "2|S2|b|1|11-1|200.00|x", "3|S3|c|2|12-1|300.00|x"],
    );
    table(
        &mut f,
        "customer",
        &[
            ("c_custkey", Int8),
            ("c_name", v()),
            ("c_address", v()),
            ("c_nationkey", Int8),
            ("c_phone", Char(15)),
            ("c_acctbal", PRICE),
            ("c_mktsegment", Char(10)),
            ("c_comment", v()),
        ],
        &["1|C1|a|0|13-1|711.56|BUILDING|x", "2|C2|b|2|31-1|121.65|AUTOMOBILE|x", "3|C3|c|1|23-1|9000.00|BUILDING|x"],
    );
    table(
        &mut f,
        "part",
        &[
            ("p_partkey", Int8),
            ("p_name", v()),
            ("p_mfgr", Char(25)),
            ("p_brand", Char(10)),
            ("p_type", v()),
            ("p_size", Int4),
            ("p_container", Char(10)),
            ("p_retailprice", PRICE),
            ("p_comment", v()),
        ],
        &[
            "1|green forest|M1|Brand#12|PROMO BRASS|15|SM CASE|901.00|x",
            "2|blue forest|M2|Brand#23|ECONOMY ANODIZED STEEL|4|MED BOX|902.00|x",
        ],
    );
    table(
        &mut f,
        "partsupp",
        &[
            ("ps_partkey", Int8),
            ("ps_suppkey", Int8),
            ("ps_availqty", Int4),
            ("ps_supplycost", PRICE),
            ("ps_comment", v()),
        ],
        &["1|1|100|10.00|x", "2|2|200|20.00|x"],
    );
    table(
        &mut f,
        "orders",
        &[
            ("o_orderkey", Int8),
            ("o_custkey", Int8),
            ("o_orderstatus", Char(1)),
            ("o_totalprice", PRICE),
            ("o_orderdate", Date),
            ("o_orderpriority", Char(15)),
            ("o_clerk", Char(15)),
            ("o_shippriority", Int4),
            ("o_comment", v()),
        ],
        &["1|1|F|100.00|1995-03-01|1-URGENT|c|0|x", "2|2|F|200.00|1994-02-01|2-HIGH|c|0|x"],
    );
    table(
        &mut f,
        "lineitem",
        &[
            ("l_orderkey", Int8),
            ("l_partkey", Int8),
            ("l_suppkey", Int8),
            ("l_linenumber", Int4),
            ("l_quantity", PRICE),
            ("l_extendedprice", PRICE),
            ("l_discount", PRICE),
            ("l_tax", PRICE),
            ("l_returnflag", Char(1)),
            ("l_linestatus", Char(1)),
            ("l_shipdate", Date),
            ("l_commitdate", Date),
            ("l_receiptdate", Date),
            ("l_shipinstruct", Char(25)),
            ("l_shipmode", Char(10)),
            ("l_comment", v()),
        ],
        &[
            "1|1|1|1|10.00|1000.00|0.05|0.02|N|O|1995-03-20|1995-03-10|1995-03-25|DELIVER IN PERSON|AIR|x",
            "2|2|2|1|20.00|2000.00|0.06|0.04|R|F|1994-03-20|1994-03-10|1994-03-25|NONE|MAIL|x",
        ],
    );
    f
}

fn queries() -> Vec<(String, String)> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../integration/tpch/queries.sql");
    let text = std::fs::read_to_string(path).unwrap();
    let mut queries = Vec::new();
    for part in text.split("\n-- Q").skip(1) {
        let (number, sql) = part.split_once('\n').unwrap();
        let sql = sql.trim().trim_end_matches(';').replace(":fraction", "0.0001");
        queries.push((format!("Q{number}"), sql));
    }
    queries
}

#[test]
fn every_query_runs() {
    let fixture = database();
    let queries = queries();
    assert_eq!(queries.len(), 22);
    let mut failed = Vec::new();
    for (name, sql) in queries {
        if let Err(error) = fixture.run(&sql, &[]) {
            failed.push(format!("{name}: {error}"));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn no_query_runs_a_subquery_row_by_row() {
    let fixture = database();
    for (name, sql) in queries() {
        let text = fixture.plan(&sql).unwrap().display_indent().to_string();
        assert!(!text.contains("subplan("), "{name}: {text}");
    }
}

#[test]
fn sums_are_exact_and_dates_move_on_the_calendar() {
    let fixture = database();
    let queries = queries();
    let run = |name: &str| {
        let (_, sql) = queries.iter().find(|(n, _)| n == name).unwrap();
        fixture.run(sql, &[]).unwrap()
    };
    assert_eq!(
        run("Q1"),
        [
            "N|O|10.00|1000.00|950.0000|969.000000|10.0000000000000000|1000.0000000000000000|0.05000000000000000000|1",
            "R|F|20.00|2000.00|1880.0000|1955.200000|20.0000000000000000|2000.0000000000000000|0.06000000000000000000|1",
        ]
    );
    assert_eq!(run("Q3"), ["1|950.0000|1995-03-01|0"]);
    assert_eq!(run("Q6"), ["120.0000"]);
}

#[test]
fn filters_on_dates_reach_the_scan_as_dates() {
    let fixture = database();
    let plan = fixture
        .plan("SELECT count(*) FROM lineitem WHERE l_shipdate <= date '1998-12-01' - interval '90' day")
        .unwrap();
    let text = plan.display_indent().to_string();
    assert!(text.contains("l_shipdate <= Date32(\"1998-09-02\")"), "{text}");
}
