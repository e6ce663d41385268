//! More connections than there may be: refused and counted, and nothing of them stays, nor of what the node is for.

use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use perigee_testkit::resp::Connection;
use perigee_testkit::{Server, http};
use perigee_tests::grpc::Grpc;
use perigee_tests::options;
use serde_json::json;

use crate::rest::call;

const PATIENCE: Duration = Duration::from_secs(120);
/// Connections of a door.
const MAX: usize = 20;
/// Connections that come.
const COME: usize = 300;

fn refused(server: &Server, door: &str) -> usize {
    let (_, metrics) = http::get(server.ops(), "/metrics").unwrap();
    let name = format!("perigee_connections_refused_total{{door=\"{door}\"}} ");
    metrics.lines().find_map(|line| line.strip_prefix(&name)?.parse().ok()).unwrap_or(0)
}

fn open_files(server: &Server) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", server.pid().unwrap())).unwrap().count()
}

async fn until(what: &str, mut ask: impl FnMut() -> bool) {
    let since = Instant::now();
    while !ask() {
        assert!(since.elapsed() < PATIENCE, "{what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Asks each door something.
async fn each_door_answers(server: &Server) {
    assert_eq!(server.client().await.unwrap().value("SELECT 1").await.unwrap(), "1");
    let mut redis = Connection::open(server.redis(), PATIENCE).unwrap();
    assert!(redis.ask(&["PING"]).to_string().contains("PONG"));
    assert_eq!(call(server, "POST", "/v1/sql", &[], &json!({"sql": "SELECT 1"})).status, 200);
    assert_eq!(Grpc::open(server).await.rows("SELECT 1").await.len(), 1);
}

#[tokio::test]
async fn connections_above_the_limit_are_refused_and_leave_nothing() {
    let most = MAX.to_string();
    let server = options().with_rest().with_grpc().with_redis().env("PERIGEE_SESSIONS__MAX", &most).start().unwrap();
    let set = Connection::open(server.redis(), PATIENCE).unwrap().ask(&["CONFIG", "SET", "maxclients", &most]);
    assert!(set.to_string().contains("OK"), "{set}");
    each_door_answers(&server).await;
    let before = open_files(&server);
    let doors: [(&str, SocketAddr); 4] =
        [("pg", server.pg()), ("redis", server.redis()), ("rest", server.rest()), ("grpc", server.grpc())];
    for (door, address) in doors {
        let held: Vec<TcpStream> = (0..COME).map(|_| TcpStream::connect(address).unwrap()).collect();
        // Those of the questions before may still have been there.
        until(&format!("{door} counts what it refuses"), || refused(&server, door) >= COME - MAX).await;
        drop(held);
        until(&format!("{door} keeps nothing of them"), || open_files(&server) <= before + MAX / 2).await;
    }
    each_door_answers(&server).await;
}

/// Files that the process may have open.
const FILES: usize = 400;

#[tokio::test]
async fn connections_leave_the_node_files_for_its_data() {
    let server = options().with_rest().with_grpc().with_redis().with_open_files(FILES as u32).start().unwrap();
    let client = server.client().await.unwrap();
    client.batch_execute("CREATE TABLE t (n int PRIMARY KEY, text text)").await.unwrap();
    // All places for clients of all doors.
    let come = |address: SocketAddr, count: usize| -> Vec<TcpStream> {
        (0..count).map(|_| TcpStream::connect(address).unwrap()).collect()
    };
    let held = come(server.redis(), FILES / 2 + 20);
    until("redis counts what it refuses", || refused(&server, "redis") > 0).await;
    for (door, address) in [("rest", server.rest()), ("grpc", server.grpc()), ("pg", server.pg())] {
        drop(come(address, 20));
        until(&format!("{door} refuses all"), || refused(&server, door) >= 20).await;
    }
    // Those of operators are bounded by themselves.
    let operators = come(server.ops(), 60);
    until("files are left", || open_files(&server) < FILES - 50).await;
    client.batch_execute("INSERT INTO t SELECT n, repeat('x', 100) FROM generate_series(1, 20000) n").await.unwrap();
    client.batch_execute("CHECKPOINT").await.unwrap();
    assert_eq!(client.value("SELECT count(*) FROM t").await.unwrap(), "20000");
    drop((held, operators));
    until("operators are let in again", || http::get(server.ops(), "/ready").is_ok_and(|(status, _)| status == 200))
        .await;
    until("clients are let in again", || {
        let redis = Connection::open(server.redis(), PATIENCE);
        redis.is_ok_and(|mut redis| redis.ask(&["PING"]).to_string().contains("PONG"))
    })
    .await;
    each_door_answers(&server).await;
}
