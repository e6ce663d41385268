//! Calls that come again.

use perigee_api::v1;
use perigee_tests::grpc::{Grpc, statement, text, within};
use tonic::{Code, Status};

use super::server;

/// A request with a key.
fn keyed<T>(client: &Grpc, key: &str, message: T) -> tonic::Request<T> {
    let mut request = client.request(message);
    request.metadata_mut().insert("idempotency-key", key.parse().unwrap());
    request
}

async fn once(client: &Grpc, key: &str, statement: v1::Statement) -> Result<v1::Summary, Status> {
    let request = keyed(client, key, v1::ExecuteRequest { statement: Some(statement) });
    Ok(client.sql.clone().execute(request).await?.into_inner().summary.unwrap())
}

#[tokio::test]
async fn a_call_with_a_key_is_done_once() {
    let mut server = server();
    let client = Grpc::open(&server).await;
    client.run("CREATE TABLE t (a int); CREATE TABLE u (a int PRIMARY KEY)").await;
    let insert = || statement("INSERT INTO t VALUES (1), (2)");
    let first = once(&client, "k", insert()).await.unwrap();
    assert_eq!((first.command.as_str(), first.rows), ("INSERT 0 2", Some(2)));
    assert_eq!(once(&client, "k", insert()).await.unwrap(), first);
    // What was done is known behind a kill too.
    server.kill();
    server.restart().unwrap();
    let client = Grpc::open(&server).await;
    assert_eq!(once(&client, "k", insert()).await.unwrap(), first);
    assert_eq!(client.rows("SELECT count(*)::text FROM t").await, [[text("2")]]);
    assert_eq!(client.rows("SELECT door FROM perigee.idempotency_keys").await, [[text("grpc")]]);
    let code = |result: Result<v1::Summary, Status>| result.unwrap_err().code();
    assert_eq!(code(once(&client, "k", statement("INSERT INTO t VALUES (3)")).await), Code::FailedPrecondition);
    assert_eq!(code(once(&client, "", insert()).await), Code::InvalidArgument);
    assert_eq!(code(once(&client, "l", within("1", "SELECT 1")).await), Code::InvalidArgument);
    // What has failed was not done.
    client.run("INSERT INTO u VALUES (1)").await;
    let late = || statement("INSERT INTO u VALUES (1)");
    assert_eq!(code(once(&client, "m", late()).await), Code::AlreadyExists);
    client.run("DELETE FROM u").await;
    assert_eq!(once(&client, "m", late()).await.unwrap().rows, Some(1));
    // Of many at once one is committed.
    let calls = (0..8).map(|_| {
        let client = client.clone();
        tokio::spawn(async move { once(&client, "n", statement("INSERT INTO t VALUES (7)")).await })
    });
    for call in calls.collect::<Vec<_>>() {
        assert_eq!(call.await.unwrap().unwrap().rows, Some(1));
    }
    assert_eq!(client.rows("SELECT count(*)::text FROM t WHERE a = 7").await, [[text("1")]]);
    // One that ends its transaction by itself is not done again either.
    let ends = || statement("INSERT INTO t VALUES (9); COMMIT");
    once(&client, "o", ends()).await.unwrap();
    drop(once(&client, "o", ends()).await);
    assert_eq!(client.rows("SELECT count(*)::text FROM t WHERE a = 9").await, [[text("1")]]);
}

#[tokio::test]
async fn keys_and_samples_are_written_once() {
    let mut server = server();
    let mut client = Grpc::open(&server).await;
    let fields = |count: usize| (0..count).map(|at| (format!("f{at}"), at.to_string())).collect();
    let set = |value: v1::set_request::Value| v1::SetRequest {
        key: "k".to_owned(),
        value: Some(value),
        condition: v1::SetCondition::IfAbsent.into(),
        ..v1::SetRequest::default()
    };
    let hash = || set(v1::set_request::Value::Hash(v1::Hash { fields: fields(50) }));
    let delete = || v1::DeleteRequest { keys: vec!["k".to_owned(), "none".to_owned()], ..v1::DeleteRequest::default() };
    // A map comes in another order each time, and says the same.
    for _ in 0..5 {
        assert!(client.keys.set(keyed(&client, "a", hash())).await.unwrap().into_inner().set);
    }
    assert!(!client.keys.set(client.request(hash())).await.unwrap().into_inner().set);
    for _ in 0..2 {
        assert_eq!(client.keys.delete(keyed(&client, "b", delete())).await.unwrap().into_inner().deleted, 1);
    }
    let other = set(v1::set_request::Value::Hash(v1::Hash { fields: fields(49) }));
    let plain = set(v1::set_request::Value::Text("t".to_owned()));
    for (key, request) in [("a", other), ("b", plain)] {
        assert_eq!(client.keys.set(keyed(&client, key, request)).await.unwrap_err().code(), Code::FailedPrecondition);
    }
    let within = v1::SetRequest { transaction: "1".to_owned(), ..hash() };
    assert_eq!(client.keys.set(keyed(&client, "c", within)).await.unwrap_err().code(), Code::InvalidArgument);

    let message = |value: f64| v1::AddRequest {
        samples: vec![v1::SeriesSample { key: "s".to_owned(), ts_ms: 1_000, value }],
        ..v1::AddRequest::default()
    };
    let add = |values: &[f64]| futures::stream::iter(values.iter().map(|value| message(*value)).collect::<Vec<_>>());
    assert_eq!(client.series.add(keyed(&client, "d", add(&[1.0, 2.0]))).await.unwrap().into_inner().added, 2);
    client.series.add(client.request(add(&[9.0]))).await.unwrap();
    server.kill();
    server.restart().unwrap();
    client = Grpc::open(&server).await;
    // What was written since stays: the messages are not done again.
    assert_eq!(client.series.add(keyed(&client, "d", add(&[1.0, 2.0]))).await.unwrap().into_inner().added, 2);
    assert_eq!(client.rows("SELECT value::text FROM redis.samples").await, [[text("9")]]);
    let wrong = client.series.add(keyed(&client, "d", add(&[1.0, 3.0]))).await.unwrap_err();
    assert_eq!(wrong.code(), Code::FailedPrecondition);
}
