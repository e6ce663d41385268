//! Transactions over several calls.

use perigee_api::v1;
use perigee_api::v1::value::Kind;
use perigee_tests::grpc::{Grpc, statement, text, told, within};
use perigee_tests::options;
use tonic::Code;

use super::server;

async fn begin(client: &Grpc, request: v1::BeginRequest) -> String {
    client.sql.clone().begin(client.request(request)).await.unwrap().into_inner().transaction
}

#[tokio::test]
async fn a_transaction_lives_over_calls_and_services() {
    let server = server();
    let client = Grpc::open(&server).await;
    client.run("CREATE TABLE t (a int PRIMARY KEY)").await;
    let count = || async { client.rows("SELECT count(*) FROM t").await[0][0].clone() };
    let commit = |transaction: &str| {
        let (mut sql, transaction) = (client.sql.clone(), transaction.to_owned());
        async move { sql.commit(v1::CommitRequest { transaction }).await.map(drop) }
    };
    let id = begin(&client, v1::BeginRequest::default()).await;
    client.execute(within(&id, "INSERT INTO t VALUES (1)")).await.unwrap();
    let set = v1::SetRequest {
        key: "k".into(),
        transaction: id.clone(),
        value: Some(v1::set_request::Value::Text("v".into())),
        ..v1::SetRequest::default()
    };
    assert!(client.keys.clone().set(set).await.unwrap().into_inner().set);
    let get = |transaction: &str| {
        let request = v1::GetRequest { key: "k".into(), transaction: transaction.into(), db: 0 };
        let mut keys = client.keys.clone();
        async move { keys.get(request).await.map(|found| found.into_inner().entry.unwrap().value) }
    };
    // Row and key are seen within, and by nobody else.
    assert_eq!(get(&id).await.unwrap(), Some(v1::entry::Value::Text("v".into())));
    assert_eq!((told(get("").await).0, count().await), (Code::NotFound, Some(Kind::Integer(0))));
    commit(&id).await.unwrap();
    assert_eq!(get("").await.unwrap(), Some(v1::entry::Value::Text("v".into())));
    assert_eq!(count().await, Some(Kind::Integer(1)));
    assert_eq!(told(commit(&id).await).0, Code::NotFound);
    assert_eq!(told(client.execute(within(&id, "SELECT 1")).await).0, Code::NotFound);

    let serializable =
        v1::BeginRequest { isolation: v1::Isolation::Serializable.into(), ..v1::BeginRequest::default() };
    let id = begin(&client, serializable).await;
    let level =
        v1::QueryRequest { statement: Some(within(&id, "SHOW transaction_isolation")), ..v1::QueryRequest::default() };
    assert_eq!(client.query(level).await.unwrap().rows, [[text("serializable")]]);
    client.execute(within(&id, "INSERT INTO t VALUES (2)")).await.unwrap();
    client.sql.clone().rollback(v1::RollbackRequest { transaction: id.clone() }).await.unwrap();
    assert_eq!(count().await, Some(Kind::Integer(1)));

    // A statement that fails ends it; a commit of it says so.
    let id = begin(&client, v1::BeginRequest::default()).await;
    let failed = told(client.execute(within(&id, "INSERT INTO t VALUES (1)")).await);
    assert_eq!(failed, (Code::AlreadyExists, "23505".into()));
    assert_eq!(told(commit(&id).await), (Code::FailedPrecondition, "25P02".into()));

    let id = begin(&client, v1::BeginRequest { read_only: true, ..v1::BeginRequest::default() }).await;
    let refused = told(client.execute(within(&id, "DELETE FROM t")).await);
    assert_eq!(refused, (Code::PermissionDenied, "25006".into()));
    let elsewhere = v1::Statement { database: "postgres".into(), ..within(&id, "SELECT 1") };
    assert_eq!(told(client.execute(elsewhere).await).0, Code::InvalidArgument);
    let never = v1::BeginRequest { time_ms: u64::MAX, ..v1::BeginRequest::default() };
    assert_eq!(client.sql.clone().begin(never).await.unwrap_err().code(), Code::InvalidArgument);

    // When its time is over it is gone, and what it holds is free.
    let id = begin(&client, v1::BeginRequest { time_ms: 1, ..v1::BeginRequest::default() }).await;
    while told(client.execute(within(&id, "SELECT pg_sleep(0.01), 1 / 0")).await).0 != Code::NotFound {}
}

#[tokio::test]
async fn a_transaction_is_of_who_has_begun_it() {
    let server = options()
        .with_grpc()
        .env("PERIGEE_SECURITY__AUTHENTICATION", "scram-sha-256")
        .env("PERIGEE_SECURITY__SUPERUSER_PASSWORD", "correct horse")
        .start()
        .unwrap();
    let owner = Grpc::login(&server, "postgres", "correct horse").await;
    owner.run("CREATE ROLE ann LOGIN PASSWORD 'first'").await;
    let ann = Grpc::login(&server, "ann", "first").await;
    let id = begin(&owner, v1::BeginRequest::default()).await;
    assert_eq!(told(ann.execute(within(&id, "SELECT 1")).await).0, Code::NotFound);
    let end = ann.request(v1::RollbackRequest { transaction: id.clone() });
    assert_eq!(ann.sql.clone().rollback(end).await.unwrap_err().code(), Code::NotFound);
    owner.execute(within(&id, "SELECT 1")).await.unwrap();
    ann.execute(statement("SELECT 1")).await.unwrap();
}
