//! Clients behind a proxy that says for whom it speaks: sessions, lists, limits and the audit log see the client.

use std::net::SocketAddr;
use std::time::Duration;

use perigee_testkit::{Server, ServerOptions};
use perigee_tests::options;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio_postgres::NoTls;

/// Where the proxy is that servers here believe, and another.
const PROXY: &str = "127.0.0.2:0";
const STRANGER: &str = "127.0.0.3:0";
const V1: &[u8] = b"PROXY TCP4 203.0.113.7 192.0.2.1 4711 5432\r\n";
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
const PATIENCE: Duration = Duration::from_secs(60);

fn believing() -> ServerOptions {
    options().with_redis().with_rest().env("PERIGEE_SECURITY__TRUSTED_PROXIES", "127.0.0.2,10.0.0.0/8")
}

/// A header of version 2.
fn v2(command: u8, family: u8, follow: &[u8]) -> Vec<u8> {
    [SIGNATURE, &[command, family], &(follow.len() as u16).to_be_bytes(), follow].concat()
}

/// 2001:db8::7, port 4711, with something behind the addresses.
fn v2_of_ipv6() -> Vec<u8> {
    let mut follow = [0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7].to_vec();
    follow.extend([0; 16]);
    follow.extend([0x12, 0x67, 0x15, 0x38]);
    follow.extend([4, 0, 2, 1, 2]);
    v2(0x21, 0x21, &follow)
}

/// A connection from an address of this machine, with what it says first.
async fn connect(from: &str, to: SocketAddr, first: &[u8]) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(from.parse().unwrap()).unwrap();
    let mut stream = socket.connect(to).await.unwrap();
    stream.write_all(first).await.unwrap();
    stream
}

/// What comes until the server closes.
async fn rest(mut stream: TcpStream) -> Vec<u8> {
    let mut answer = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
    // A server that does not read all that was sent resets.
    drop(read.expect("the connection is closed"));
    answer
}

/// Address and port of the client, as the session's row has them.
async fn seen_by_pg(server: &Server, header: &[u8]) -> String {
    let stream = connect(PROXY, server.pg(), header).await;
    let mut config = tokio_postgres::Config::new();
    config.user("postgres").dbname("postgres");
    let (client, connection) = config.connect_raw(stream, NoTls).await.unwrap();
    tokio::spawn(connection);
    let sql = "SELECT client_addr || ' ' || client_port FROM pg_stat_activity WHERE pid = pg_backend_pid()";
    client.query_one(sql, &[]).await.unwrap().get(0)
}

/// The client's address in CLIENT LIST.
async fn seen_by_redis(server: &Server, header: &[u8]) -> String {
    let mut stream = connect(PROXY, server.redis(), header).await;
    stream.write_all(b"CLIENT INFO\r\nQUIT\r\n").await.unwrap();
    let text = String::from_utf8(rest(stream).await).unwrap();
    text.split(' ').find_map(|field| field.strip_prefix("addr=")).unwrap_or_else(|| panic!("{text}")).to_owned()
}

/// The status of a request, which names no role: a page that everybody may see.
async fn asked_of_rest(server: &Server, from: &str, first: &[u8], authorization: &str) -> String {
    let mut stream = connect(from, server.rest(), first).await;
    let request = format!(
        "POST /v1/sql HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{authorization}Content-Length: 18\r\n\r\n{{\"sql\":\"SELECT 1\"}}"
    );
    // A server that refuses may have closed.
    drop(stream.write_all(request.as_bytes()).await);
    let answer = String::from_utf8_lossy(&rest(stream).await).into_owned();
    answer.split(' ').nth(1).unwrap_or_default().to_owned()
}

#[tokio::test]
async fn sessions_and_lists_see_the_client() {
    let server = believing().start().unwrap();
    assert_eq!(seen_by_pg(&server, V1).await, "203.0.113.7 4711");
    assert_eq!(seen_by_pg(&server, &v2_of_ipv6()).await, "2001:db8::7 4711");
    assert_eq!(seen_by_redis(&server, V1).await, "203.0.113.7:4711");
    assert_eq!(seen_by_redis(&server, &v2_of_ipv6()).await, "[2001:db8::7]:4711");
    // Who has no address that we could know, and the proxy for itself.
    let none: [&[u8]; 5] =
        [b"", b"PROXY UNKNOWN\r\n", &v2(0x20, 0, b""), &v2(0x21, 0, b""), &v2(0x21, 0x31, &[b'x'; 216])];
    for header in none {
        let (pg, redis) = (seen_by_pg(&server, header).await, seen_by_redis(&server, header).await);
        assert!(pg.starts_with("127.0.0.2 ") && redis.starts_with("127.0.0.2:"), "{pg} {redis}");
    }
}

#[tokio::test]
async fn a_header_may_come_in_pieces() {
    let server = believing().start().unwrap();
    for header in [V1, &v2_of_ipv6()] {
        let mut stream = connect(PROXY, server.redis(), b"").await;
        stream.set_nodelay(true).unwrap();
        for byte in header {
            stream.write_all(&[*byte]).await.unwrap();
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        stream.write_all(b"CLIENT INFO\r\nQUIT\r\n").await.unwrap();
        let text = String::from_utf8(rest(stream).await).unwrap();
        assert!(text.contains(":4711 "), "{text}");
    }
}

#[tokio::test]
async fn broken_headers_are_closed_without_a_word() {
    let server = believing().start().unwrap();
    let long = [b"PROXY UNKNOWN ", &[b'x'; 200][..], b"\r\n"].concat();
    let broken: [&[u8]; 9] = [
        b"PROXY \r\n",
        b"PROXY TCP4 203.0.113.7 192.0.2.1 4711\r\n",
        b"PROXY TCP4 203.0.113.7 192.0.2.1 4711 99999\r\n",
        b"PROXY TCP4 2001:db8::7 2001:db8::1 4711 5432\r\n",
        &long,
        &v2(0x21, 0x11, &[1, 2, 3]),
        &v2(0x31, 0x11, &[0; 12]),
        &v2(0x21, 0x12, &[0; 12]),
        &v2(0x21, 0x99, &[0; 12]),
    ];
    for header in broken {
        for door in [server.pg(), server.redis(), server.rest()] {
            let mut stream = connect(PROXY, door, header).await;
            drop(stream.write_all(b"PING\r\n").await);
            let answer = rest(stream).await;
            assert_eq!(answer, b"", "{}: {}", header.escape_ascii(), answer.escape_ascii());
        }
    }
    // One that stops in the middle, too.
    let half = &v2_of_ipv6()[..20];
    for header in [&V1[..20], half] {
        assert_eq!(rest(connect(PROXY, server.redis(), header).await).await, b"");
    }
    assert_eq!(server.client().await.unwrap().value("SELECT 1").await.unwrap(), "1");
}

#[tokio::test]
async fn nobody_else_is_believed() {
    let server = believing().start().unwrap();
    for header in [V1, &v2_of_ipv6()] {
        let pg = rest(connect(STRANGER, server.pg(), header).await).await;
        assert!(!pg.starts_with(b"R"), "{}", pg.escape_ascii());
        let mut stream = connect(STRANGER, server.redis(), header).await;
        drop(stream.write_all(b"SET stolen 1\r\n").await);
        rest(stream).await;
        let rest = asked_of_rest(&server, STRANGER, header, "").await;
        assert!(rest == "400" || rest.is_empty(), "{rest}");
    }
    let stream = connect(STRANGER, server.redis(), b"EXISTS stolen\r\nQUIT\r\n").await;
    assert_eq!(rest(stream).await, b":0\r\n+OK\r\n");
    // By default nobody is.
    let server = options().with_redis().start().unwrap();
    assert_eq!(rest(connect(PROXY, server.redis(), V1).await).await, b"");
}

#[tokio::test]
async fn limits_and_the_audit_log_see_the_client() {
    let server = believing()
        .env("PERIGEE_SECURITY__AUTHENTICATION", "scram-sha-256")
        .env("PERIGEE_SECURITY__SUPERUSER_PASSWORD", "correct horse")
        .env("PERIGEE_LIMITS__ADDRESS_REQUESTS_PER_MINUTE", "2")
        .start()
        .unwrap();
    let wrong = "Authorization: Basic cG9zdGdyZXM6d3Jvbmc=\r\n";
    let other = b"PROXY TCP4 203.0.113.8 192.0.2.1 4711 8080\r\n";
    let mut codes = Vec::new();
    for header in [V1, V1, V1, other] {
        codes.push(asked_of_rest(&server, PROXY, header, wrong).await);
    }
    assert_eq!(codes, ["401", "401", "429", "401"]);
    let log = server.log();
    let denied = |client: &str| log.lines().any(|line| line.contains("audit") && line.contains(client));
    assert!(denied("203.0.113.7") && denied("203.0.113.8") && !denied("127.0.0.2"), "{log}");
}
