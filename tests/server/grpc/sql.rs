//! Statements and their results.

use std::time::Duration;

use perigee_api::v1;
use perigee_api::v1::value::Kind;
use tonic::Code;

use perigee_tests::grpc::{Grpc, statement, text, told, value};

use super::server;

#[tokio::test]
async fn statements_give_typed_rows_and_say_what_they_did() {
    let server = server();
    let client = Grpc::open(&server).await;
    assert_eq!(client.run("CREATE TABLE t (id int PRIMARY KEY, v text)").await.command, "CREATE TABLE");
    let insert = v1::Statement {
        parameters: vec![value(Kind::Integer(1)), v1::Value::default(), value(Kind::Text("2".into()))],
        ..statement("INSERT INTO t VALUES ($1, $2), ($3, 'b')")
    };
    let done = client.execute(insert).await.unwrap();
    assert_eq!((done.command.as_str(), done.rows), ("INSERT 0 2", Some(2)));
    assert_eq!(client.run("SELECT * FROM t").await.rows, Some(2));
    let done = client.run("CREATE TABLE IF NOT EXISTS t (id int)").await;
    assert_eq!(done.notices[0].severity, "NOTICE");
    assert!(done.notices[0].message.contains("already exists"), "{done:?}");

    let array = v1::Array { values: vec![value(Kind::Text("a,\"b".into())), v1::Value::default()] };
    let query = v1::QueryRequest {
        statement: Some(v1::Statement {
            parameters: vec![
                value(Kind::Integer(41)),
                value(Kind::Text("12345678901234567890.10".into())),
                value(Kind::Bytes(vec![0, 255])),
                value(Kind::Array(array.clone())),
                value(Kind::Boolean(true)),
                value(Kind::Double(0.5)),
            ],
            parameter_types: vec![String::new(), "numeric".into()],
            ..statement(
                "SELECT $1::int + 1 AS n, $2, $3::bytea, $4::text[], $5::bool, $6::float8, NULL AS nothing,
                 '2026-01-02 03:04:05+00'::timestamptz AT TIME ZONE 'UTC' AS ts, '{\"a\": 1}'::jsonb AS j",
            )
        }),
        ..v1::QueryRequest::default()
    };
    let answer = client.query(query).await.unwrap();
    let types: Vec<&str> = answer.columns.iter().map(|column| column.r#type.as_str()).collect();
    let expected = ["integer", "numeric", "bytea", "text[]", "boolean", "double precision", "text"];
    assert_eq!((types[..7].to_vec(), answer.columns[0].name.as_str()), (expected.to_vec(), "n"));
    let expected = vec![
        Some(Kind::Integer(42)),
        text("12345678901234567890.10"),
        Some(Kind::Bytes(vec![0, 255])),
        Some(Kind::Array(array)),
        Some(Kind::Boolean(true)),
        Some(Kind::Double(0.5)),
        None,
        text("2026-01-02 03:04:05"),
        text("{\"a\": 1}"),
    ];
    assert_eq!(answer.rows, [expected]);
    let summary = answer.summary.unwrap();
    assert_eq!((summary.command.as_str(), summary.rows, summary.truncated), ("SELECT 1", Some(1), false));

    let asked = Some(statement("SELECT v, id * 2 AS twice FROM t WHERE id = $1 AND v < $2"));
    let described = client.sql.clone().describe(v1::DescribeRequest { statement: asked }).await.unwrap().into_inner();
    assert_eq!(described.parameter_types, ["integer", "text"]);
    let columns: Vec<_> = described.columns.iter().map(|column| (&*column.name, &*column.r#type)).collect();
    assert_eq!(columns, [("v", "text"), ("twice", "integer")]);
}

#[tokio::test]
async fn long_results_come_in_parts_in_both_forms() {
    let server = server();
    let client = Grpc::open(&server).await;
    let long = "SELECT g, repeat('x', 100) || g AS v FROM generate_series(1, 100000) g ORDER BY g";
    let ask = |format: v1::ResultFormat, rows_max| v1::QueryRequest {
        statement: Some(statement(long)),
        format: format.into(),
        rows_max,
    };
    let answer = client.query(ask(v1::ResultFormat::Rows, 0)).await.unwrap();
    assert_eq!(answer.rows.len(), 100_000);
    let last = format!("{}100000", "x".repeat(100));
    assert_eq!(answer.rows[99_999][1], text(&last));
    let answer = client.query(ask(v1::ResultFormat::Arrow, 0)).await.unwrap();
    assert_eq!((answer.rows.len(), answer.columns.len()), (0, 2));
    let batches = arrow_ipc::reader::StreamReader::try_new(&answer.arrow[..], None).unwrap();
    assert_eq!(batches.schema().field(1).name(), "v");
    assert_eq!(batches.map(|batch| batch.unwrap().num_rows()).sum::<usize>(), 100_000);
    let answer = client.query(ask(v1::ResultFormat::Rows, 7)).await.unwrap();
    let summary = answer.summary.unwrap();
    assert_eq!((answer.rows.len(), summary.rows, summary.truncated), (7, Some(7), true));
}

#[tokio::test]
async fn errors_have_codes_and_sqlstates() {
    let server = server();
    let client = Grpc::open(&server).await;
    client.run("CREATE TABLE t (id int PRIMARY KEY, v int NOT NULL)").await;
    client.run("INSERT INTO t VALUES (1, 1)").await;
    let cases = [
        ("SELEC 1", Code::InvalidArgument, "42601"),
        ("SELECT * FROM nothing", Code::NotFound, "42P01"),
        ("SELECT nothing FROM t", Code::InvalidArgument, "42703"),
        ("SELECT 1 / (id - 1) FROM t", Code::InvalidArgument, "22012"),
        ("INSERT INTO t VALUES (1, 1)", Code::AlreadyExists, "23505"),
        ("INSERT INTO t VALUES (2, NULL)", Code::FailedPrecondition, "23502"),
        ("COPY t FROM STDIN", Code::Unimplemented, "0A000"),
        ("BEGIN", Code::FailedPrecondition, "25000"),
        ("SELECT $1::int", Code::InvalidArgument, "08P01"),
        ("", Code::InvalidArgument, "42601"),
    ];
    for (sql, code, state) in cases {
        assert_eq!(told(client.execute(statement(sql)).await), (code, state.to_owned()), "{sql}");
        let query = v1::QueryRequest { statement: Some(statement(sql)), ..v1::QueryRequest::default() };
        assert_eq!(told(client.query(query).await), (code, state.to_owned()), "{sql}");
    }
    let status = client.execute(statement("SELECT * FROM nothing")).await.unwrap_err();
    // google.rpc.Status with one detail, whose type and SQLSTATE stand in it as they are.
    let details = String::from_utf8_lossy(status.details()).into_owned();
    assert!(details.contains("perigee.v1.ErrorDetail") && details.contains("42P01"), "{details}");
    let timed = v1::Statement { timeout_ms: 1, ..statement("SELECT pg_sleep(600)") };
    assert_eq!(told(client.execute(timed).await), (Code::Cancelled, "57014".into()));
    assert_eq!(
        client.sql.clone().execute(v1::ExecuteRequest::default()).await.unwrap_err().code(),
        Code::InvalidArgument
    );
}

#[tokio::test]
async fn who_drops_a_call_cancels_its_statement() {
    let server = server();
    let client = Grpc::open(&server).await;
    let running = || async {
        let rows = client.rows("SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(600)'").await;
        rows[0][0] == Some(Kind::Integer(1))
    };
    let asking = client.clone();
    let call = tokio::spawn(async move { asking.execute(statement("SELECT pg_sleep(600)")).await });
    while !running().await {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    call.abort();
    while running().await {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // A stream that is left in the middle too: what it has written is undone.
    client.run("CREATE TABLE t (a int)").await;
    let query = v1::QueryRequest {
        statement: Some(statement(
            "INSERT INTO t SELECT g FROM generate_series(1, 1000000) g RETURNING a, repeat('x', 1000)",
        )),
        ..v1::QueryRequest::default()
    };
    let mut stream = client.sql.clone().query(query).await.unwrap().into_inner();
    assert!(stream.message().await.unwrap().is_some());
    drop(stream);
    let sessions = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'grpc'";
    while client.rows(sessions).await != [[Some(Kind::Integer(1))]] {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(client.rows("SELECT count(*) FROM t").await, [[Some(Kind::Integer(0))]]);
}
