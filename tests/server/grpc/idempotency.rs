//! Calls that come again.

use perigee_api::v1;
use perigee_tests::grpc::{Grpc, statement, text, within};
use tonic::{Code, Status};

use super::server;

async fn once(client: &Grpc, key: &str, statement: v1::Statement) -> Result<v1::Summary, Status> {
    let mut request = client.request(v1::ExecuteRequest { statement: Some(statement) });
    request.metadata_mut().insert("idempotency-key", key.parse().unwrap());
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
