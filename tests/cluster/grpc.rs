//! gRPC at any node: calls go to whoever leads.

use std::time::{Duration, Instant};

use perigee_api::v1;
use perigee_api::v1::value::Kind;
use perigee_testkit::Cluster;
use perigee_tests::grpc::{Grpc, statement, told, within};
use tonic::Code;

use crate::{PATIENCE, options};

#[tokio::test(flavor = "multi_thread")]
async fn calls_go_to_the_leader_and_see_what_others_were_told() {
    let mut cluster = Cluster::start(&options().with_grpc()).unwrap();
    let leader = cluster.leader().unwrap();
    let followers = [(leader + 1) % 3, (leader + 2) % 3];
    let one = Grpc::open(&cluster.servers()[followers[0]]).await;
    let two = Grpc::open(&cluster.servers()[followers[1]]).await;
    let count = |client: &Grpc| {
        let client = client.clone();
        async move { client.rows("SELECT count(*) FROM d").await[0][0].clone() }
    };
    one.run("CREATE TABLE d (a int PRIMARY KEY, b text)").await;
    for number in 0..20 {
        // Each at a follower, and read at the other one right behind.
        one.run(&format!("INSERT INTO d VALUES ({number}, 'x')")).await;
        assert_eq!(count(&two).await, Some(Kind::Integer(number + 1)));
    }
    // Errors are those of the leader's door; what is large is streamed, and what a client streams goes on.
    let refused = told(one.execute(statement("INSERT INTO d VALUES (1, 'again')")).await);
    assert_eq!(refused, (Code::AlreadyExists, "23505".into()));
    assert_eq!(one.rows("SELECT repeat('x', 1000) FROM generate_series(1, 5000)").await.len(), 5_000);
    let long = v1::Statement {
        parameters: vec![v1::Value { kind: Some(Kind::Text("y".repeat(1 << 20))) }],
        ..statement("UPDATE d SET b = $1 WHERE a = 1")
    };
    assert_eq!(two.execute(long).await.unwrap().rows, Some(1));
    let message = |n: i64| v1::AddRequest {
        samples: (0..100).map(|at| v1::SeriesSample { key: "s".into(), ts_ms: n * 100 + at, value: 1.0 }).collect(),
        ..v1::AddRequest::default()
    };
    let added = one.series.clone().add(futures::stream::iter((0..10).map(message))).await;
    assert_eq!(added.unwrap().into_inner().added, 1_000);

    // A transaction lives at the leader; any node knows it.
    let id = one.sql.clone().begin(v1::BeginRequest::default()).await.unwrap().into_inner().transaction;
    two.execute(within(&id, "DELETE FROM d")).await.unwrap();
    assert_eq!(count(&one).await, Some(Kind::Integer(20)));
    one.sql.clone().commit(v1::CommitRequest { transaction: id }).await.unwrap();
    assert_eq!(count(&two).await, Some(Kind::Integer(0)));

    // Each call through the election is done once, or its status says what became of it.
    cluster.server(leader).kill();
    let (mut done, mut open) = (0, 0);
    let started = Instant::now();
    for number in 0.. {
        assert!(started.elapsed() < PATIENCE, "{done} are done");
        match one.execute(statement(&format!("INSERT INTO d VALUES ({number}, 'behind')"))).await {
            Ok(_) => done += 1,
            Err(status) => match status.code() {
                Code::Unknown => open += 1,
                Code::Unavailable | Code::Aborted => {}
                other => panic!("{other:?}: {status:?}"),
            },
        }
        if done == 20 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let Some(Kind::Integer(found)) = count(&one).await else { panic!("no count") };
    assert!((done..=done + open).contains(&found), "{found} rows of {done} done and {open} of unknown outcome");
}
