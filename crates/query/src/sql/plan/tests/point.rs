//! Which statements are point plans, and what these evaluate to.

use perigee_plan::{EvaluationContext, Expr, Plan, Point};
use perigee_types::{SqlType, Value};

use super::Fixture;

/// The kind of a plan: `point` or `query`, `write`.
fn kind(plan: &Plan) -> &'static str {
    match plan {
        Plan::Point(_) => "point",
        Plan::Query(_) => "query",
        Plan::Write(_) => "write",
        Plan::With(_) => "with",
        _ => "other",
    }
}

#[test]
fn a_whole_unique_key_makes_a_point() {
    let fixture = Fixture::new();
    for (sql, want) in [
        ("select abalance from pgbench_accounts where aid = 5", "point"),
        ("select * from pgbench_accounts a where a.aid = $1 and a.bid = 2", "point"),
        ("select abalance from public.pgbench_accounts where (5) = aid limit 1", "point"),
        ("select abalance from pgbench_accounts where aid = 5 for update", "point"),
        ("select abalance + 1, 'x', now() from pgbench_accounts where aid = 1 + 2", "point"),
        ("select * from pairs where b = 'x' and a = 1", "point"),
        ("select * from pairs where d = 'x' and c > 3", "point"),
        ("select * from things where key = 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'", "point"),
        ("select * from pairs where a = 1", "query"),
        ("select * from pairs where a = 1 or b = 'x'", "query"),
        ("select abalance from pgbench_accounts where aid = bid", "query"),
        ("select abalance from pgbench_accounts where aid > 5", "query"),
        ("select count(*) from pgbench_accounts where aid = 5", "query"),
        ("select abalance from pgbench_accounts where aid = 5 order by 1", "query"),
        ("select upper(name) from things where id = 5", "query"),
        ("select price * 2 from things where id = 5", "query"),
        ("update pgbench_accounts set abalance = abalance + -123 where aid = 45", "point"),
        ("update pgbench_accounts set abalance = abalance + $1 where aid = $2 returning abalance", "point"),
        ("update pairs set c = c * 1.1, d = default where a = 1 and b = 'x'", "point"),
        ("update pairs set (c, d) = (1, 'x') where d = 'y'", "point"),
        ("update pgbench_accounts set abalance = 0", "write"),
        ("update pgbench_accounts set abalance = (select 1) where aid = 1", "write"),
        ("delete from pgbench_accounts where aid = 1 returning *", "point"),
        ("delete from pgbench_accounts where bid = 1", "write"),
        ("insert into pgbench_history (tid, bid, aid, delta, mtime) values (1, 2, 3, -4, current_timestamp)", "point"),
        ("insert into things (name) values ('a'), ($1), (default || 'x')", "write"),
        ("insert into things (name) values ('a'), ($1)", "point"),
        ("insert into things default values", "point"),
        ("insert into things (name) select 'x'", "write"),
        ("insert into things (name) values (upper('x'))", "write"),
        ("insert into pairs values (1, 'x') on conflict do nothing", "point"),
    ] {
        match fixture.plan(sql) {
            Ok(prepared) => assert_eq!(kind(&prepared.plan), want, "{sql}"),
            // DEFAULT within an expression is refused in the long way.
            Err(error) => assert!(sql.contains("default ||"), "{sql}: {error}"),
        }
    }
}

/// The one row of an INSERT, evaluated.
fn inserted(sql: &str, parameters: &[Value]) -> Result<Vec<Value>, String> {
    let prepared = Fixture::new().plan(sql).map_err(|e| e.to_string())?;
    let Plan::Point(Point::Insert { rows, .. }) = &prepared.plan else { panic!("{sql}: {:?}", prepared.plan) };
    let context = EvaluationContext { next_value: &|_| Ok(7), ..EvaluationContext::constant() };
    rows[0].iter().map(|e| e.evaluate(&[], parameters, &context).map_err(|e| e.to_string())).collect()
}

#[test]
fn values_become_their_columns_types() {
    let text = |s: &str| Value::Text(s.to_owned());
    let check = |sql: &str, want: Result<Vec<Value>, &str>| {
        assert_eq!(inserted(sql, &[]), want.map_err(str::to_owned), "{sql}");
    };
    check(
        "insert into pairs values (1, 'x')",
        Ok(vec![Value::Int4(1), text("x"), Value::Numeric(150, 2), Value::Null]),
    );
    check(
        "insert into pairs (b, a, c, d) values (5, '12', 1.005, 'abc')",
        Ok(vec![Value::Int4(12), text("5"), Value::Numeric(101, 2), text("abc")]),
    );
    check(
        "insert into pairs (a, b, d) values (1, 'x', 'abcd')",
        Err("value too long for type character varying(3) (22001)"),
    );
    check("insert into pairs (a, b) values (5000000000, 'x')", Err("integer out of range (22003)"));
    check("insert into pairs (a, b) values ('z', 'x')", Err("invalid input syntax for type integer: \"z\" (22P02)"));
    check("insert into pairs (a, b) values (1/0, 'x')", Err("division by zero (22012)"));
    let things = inserted(
        "insert into things (name, price, tags, ratio, day) values ('n', '3.5', '{a,b}', 2, '2024-02-29')",
        &[],
    );
    let things = things.unwrap();
    assert_eq!(things[0], Value::Int8(7), "the sequence's value");
    assert_eq!(things[2], Value::Numeric(350, 2));
    assert_eq!(things[3], Value::Array(vec![text("a"), text("b")]));
    assert_eq!(things[4], Value::Timestamptz(0), "the default");
    assert_eq!(things[7], Value::Float8(2.0));
    assert_eq!(things[9], Value::Date(19_782));
}

#[test]
fn parameters_take_the_types_beside_them() {
    let fixture = Fixture::new();
    use SqlType::{Bool, Int2, Int4, Int8, Numeric, Text, Timestamptz, Varchar};
    for (sql, want) in [
        ("select abalance from pgbench_accounts where aid = $1", vec![Int4]),
        ("update pgbench_accounts set abalance = abalance + $1 where aid = $2", vec![Int4, Int4]),
        (
            "insert into things (name, price, at, ok, small) values ($1, $2, $3, $4, $5)",
            vec![Text, Numeric(None), Timestamptz(None), Bool, Int2],
        ),
        ("select * from pairs where d = $1", vec![Text]),
        ("insert into pairs (d, a) values ($1, $2)", vec![Varchar(None), Int4]),
        ("select $1::int8 from pgbench_accounts where aid = $2", vec![Int8, Int4]),
        ("select $1 from pgbench_accounts where aid = 1", vec![Text]),
        ("select abalance from pgbench_accounts where aid = $1 + 1", vec![Int4]),
        ("select abalance from pgbench_accounts where aid = $2", vec![Text, Int4]),
        ("select coalesce(abalance, $1) from pgbench_accounts where aid = 1", vec![Int4]),
    ] {
        let prepared = fixture.plan(sql).unwrap();
        assert_eq!(kind(&prepared.plan), "point", "{sql}");
        assert_eq!(prepared.parameters, want, "{sql}");
    }
}

#[test]
fn declared_types_win() {
    let fixture = Fixture::new();
    let statement = crate::sql::parse("select abalance from pgbench_accounts where aid = $1").unwrap().remove(0);
    let prepared =
        fixture.run_declared(&[Some(SqlType::Int8)], |context| crate::sql::plan(&statement, context)).unwrap();
    assert_eq!(prepared.parameters, [SqlType::Int8]);
    let Plan::Point(Point::Select { lookup, .. }) = &prepared.plan else { panic!() };
    let key = |v: i64| lookup.key[0].evaluate(&[], &[Value::Int8(v)], &EvaluationContext::constant()).unwrap();
    assert_eq!(key(5), Value::Int4(5));
    assert_eq!(key(5_000_000_000), Value::Null, "no row has it");
}

#[test]
fn residuals_are_three_valued() {
    let fixture = Fixture::new();
    let prepared = fixture.plan("select 1 from pairs where a = 1 and b = 'x' and (c > 2 or d = 'y')").unwrap();
    let Plan::Point(Point::Select { lookup, .. }) = &prepared.plan else { panic!() };
    let residual: &Expr = lookup.residual.as_ref().unwrap();
    let row = |c: Value, d: Value| vec![Value::Int4(1), Value::Text("x".into()), c, d];
    let holds = |row: &[Value]| residual.holds(row, &[], &EvaluationContext::constant()).unwrap();
    assert!(holds(&row(Value::Numeric(201, 2), Value::Null)));
    assert!(!holds(&row(Value::Null, Value::Null)));
    assert!(holds(&row(Value::Null, Value::Text("y".into()))));
}
