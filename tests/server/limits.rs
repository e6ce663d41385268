//! Statements that ask for more than there is: an error, and the node goes on.

use std::fmt::Write as _;

use perigee_testkit::{Client, Server};

/// The SQLSTATE of what a statement gives, or `ok`.
async fn outcome(client: &Client, sql: &str) -> String {
    match client.batch_execute(sql).await {
        Ok(()) => "ok".to_owned(),
        Err(error) => error.code().map_or_else(|| format!("{error}"), |code| code.code().to_owned()),
    }
}

async fn still_fine(server: &Server) {
    assert_eq!(server.client().await.unwrap().value("SELECT 1").await.unwrap(), "1");
}

fn listed(count: usize, separator: &str, item: impl Fn(usize) -> String) -> String {
    (0..count).map(item).collect::<Vec<_>>().join(separator)
}

fn joins(count: usize) -> String {
    let mut sql = "SELECT count(*) FROM large a0".to_owned();
    for at in 1..count {
        write!(sql, " JOIN large a{at} ON a{at}.id = a0.id").unwrap();
    }
    sql
}

fn left_joins(count: usize) -> String {
    let mut sql = "SELECT 1 FROM (VALUES (1)) a0 (x)".to_owned();
    for at in 1..count {
        write!(sql, " LEFT JOIN (VALUES (1)) a{at} (x) ON a{at}.x = a{}.x", at - 1).unwrap();
    }
    sql
}

fn with_chain(count: usize) -> String {
    let parts = listed(count, ", ", |at| match at.checked_sub(1) {
        None => "a0 AS (SELECT 1 x)".to_owned(),
        Some(before) => format!("a{at} AS (SELECT * FROM a{before})"),
    });
    format!("WITH {parts} SELECT * FROM a{}", count - 1)
}

fn cross_joins(count: usize) -> String {
    format!("SELECT 1 FROM {}", listed(count, ", ", |at| format!("(VALUES (1)) a{at} (x)")))
}

fn unions(count: usize) -> String {
    listed(count, " UNION ALL ", |at| format!("SELECT {at}"))
}

/// `with_chain`, where each reads the one before twice.
fn doubling(count: usize) -> String {
    let parts = listed(count, ", ", |at| match at.checked_sub(1) {
        None => "a0 AS (SELECT 1 x)".to_owned(),
        Some(before) => format!("a{at} AS (SELECT * FROM a{before} UNION ALL SELECT * FROM a{before})"),
    });
    format!("WITH {parts} SELECT count(*) FROM a{}", count - 1)
}

#[tokio::test]
async fn statements_of_many_relations_are_answered_or_refused() {
    let server = perigee_tests::server();
    let client = server.client().await.unwrap();
    client.batch_execute("CREATE TABLE large (id int PRIMARY KEY, v text)").await.unwrap();
    type Shape = fn(usize) -> String;
    let shapes: [(&str, Shape); 5] = [
        ("joins", joins),
        ("left joins", left_joins),
        ("WITH", with_chain),
        ("cross joins", cross_joins),
        ("unions", unions),
    ];
    for (name, shape) in shapes {
        assert_eq!(outcome(&client, &shape(60)).await, "ok", "{name}");
        assert_eq!(outcome(&client, &shape(20_000)).await, "54001", "{name}");
        still_fine(&server).await;
    }
    assert_eq!(outcome(&client, &doubling(8)).await, "ok");
    assert_eq!(outcome(&client, &doubling(40)).await, "54001");
    still_fine(&server).await;
}

#[tokio::test]
async fn chains_that_grew_too_long_for_small_stacks_run() {
    let server = perigee_tests::server();
    let client = server.client().await.unwrap();
    assert_eq!(outcome(&client, &with_chain(200)).await, "ok");
    assert_eq!(outcome(&client, &left_joins(100)).await, "ok");
    still_fine(&server).await;
}

#[tokio::test]
async fn views_on_views_are_answered_or_refused() {
    let server = perigee_tests::server();
    let client = server.client().await.unwrap();
    client.batch_execute("CREATE VIEW chain0 AS SELECT 1 x; CREATE VIEW pair0 AS SELECT 1 x").await.unwrap();
    let mut chain = Vec::new();
    let mut pairs = Vec::new();
    for at in 1..40 {
        let below = at - 1;
        if chain.last().is_none_or(|last| last == "ok") {
            chain.push(outcome(&client, &format!("CREATE VIEW chain{at} AS SELECT * FROM chain{below}")).await);
        }
        if pairs.last().is_none_or(|last| last == "ok") {
            let sql = format!("CREATE VIEW pair{at} AS SELECT a.x FROM pair{below} a, pair{below} b");
            pairs.push(outcome(&client, &sql).await);
        }
    }
    assert!(chain.len() > 30, "{chain:?}");
    assert_eq!(chain.last().map(String::as_str), Some("54001"));
    assert_eq!(outcome(&client, "SELECT * FROM chain30").await, "ok");
    assert_eq!(pairs.last().map(String::as_str), Some("54001"), "{pairs:?}");
    still_fine(&server).await;
}

#[tokio::test]
async fn values_that_are_too_large_are_refused_before_they_are_made() {
    let server = perigee_tests::server();
    let client = server.client().await.unwrap();
    for sql in [
        "SELECT format('%1000000000s', 'x')",
        "SELECT format('%-1000000000s|%1000000000s', 'x', 'y')",
        "SELECT repeat('x', 2000000000)",
        "SELECT repeat('x', 1000000000)",
        "SELECT lpad('x', 2000000000, 'y'), rpad('x', 1000000000, 'y')",
        "SELECT length(replace(repeat('x', 1000000), 'x', repeat('y', 100000)))",
        "SELECT length(regexp_replace(repeat('x', 1000000), 'x', repeat('y', 100000), 'g'))",
        "SELECT length(regexp_replace(repeat('x', 100000), '(x+)', repeat('\\1', 100000)))",
        "SELECT length(array_to_string(array_fill(''::text, ARRAY[100000]), repeat('y', 100000)))",
        "SELECT cardinality(array_fill(repeat('x', 1000000), ARRAY[10000000]))",
    ] {
        let state = outcome(&client, sql).await;
        assert!(state == "54000" || state == "53200", "{sql}: {state}");
    }
    assert_eq!(outcome(&client, "SELECT format('%2147483648s', 'x')").await, "22023");
    still_fine(&server).await;
}

#[tokio::test]
async fn aggregates_that_keep_their_rows_are_counted() {
    let server = perigee_tests::server();
    let client = server.client().await.unwrap();
    for sql in [
        "SELECT length(string_agg(repeat('x', 1000000), '')) FROM generate_series(1, 5000)",
        "SELECT length(string_agg(DISTINCT repeat('x', 1000000), '')) FROM generate_series(1, 5000)",
        "SELECT length(string_agg(repeat('x', 1000000), '' ORDER BY n)) FROM generate_series(1, 5000) n",
        "SELECT cardinality(array_agg(repeat('x', 1000000))) FROM generate_series(1, 5000)",
        "SELECT n % 2, length(string_agg(repeat('x', 1000000), '')) FROM generate_series(1, 5000) n GROUP BY 1",
        "SELECT length(jsonb_agg(repeat('x', 1000))::text) FROM generate_series(1, 3000000)",
        "SELECT length(json_object_agg(n, repeat('x', 1000000))::text) FROM generate_series(1, 5000) n",
    ] {
        let state = outcome(&client, sql).await;
        let is_one_value = sql.contains("DISTINCT");
        assert!(state == "54000" || state == "53200" || (is_one_value && state == "ok"), "{sql}: {state}");
    }
    // What a filter leaves out is not kept.
    let kept = "SELECT n % 2, length(string_agg(repeat('x', 1000000), '') FILTER (WHERE n < 10))
        FROM generate_series(1, 5000) n GROUP BY 1 ORDER BY 1";
    assert_eq!(client.rows(kept).await.unwrap().len(), 2);
    still_fine(&server).await;
}

#[tokio::test]
async fn like_with_many_wildcards_ends() {
    let server = perigee_tests::server();
    let client = server.client().await.unwrap();
    client.batch_execute("SET statement_timeout = '20s'").await.unwrap();
    let wildcards = "%a".repeat(3_000);
    for (sql, wanted) in [
        (format!("SELECT repeat('a', 30000) LIKE '{wildcards}b'"), "f"),
        (format!("SELECT repeat('a', 30000) LIKE '{wildcards}'"), "t"),
        (format!("SELECT repeat('A', 30000) ILIKE '{wildcards}'"), "t"),
        (format!("SELECT repeat('a', 30000) NOT LIKE '{wildcards}b'"), "t"),
        (format!("SELECT count(*) FROM generate_series(1, 3) n WHERE repeat('a', 30000 + n) LIKE '{wildcards}'"), "3"),
        ("SELECT repeat('a', 30000) LIKE repeat('%a', 3000) || 'b'".to_owned(), "f"),
        ("SELECT 'abc' LIKE p FROM (VALUES ('a%')) v (p)".to_owned(), "t"),
        ("SELECT 'abc' LIKE p FROM (VALUES (NULL::text)) v (p)".to_owned(), "NULL"),
    ] {
        let rows = client.rows(&sql).await.unwrap();
        assert_eq!(rows[0][0].as_deref().unwrap_or("NULL"), wanted, "{}", &sql[..sql.len().min(80)]);
    }
    still_fine(&server).await;
}
