//! What is no PostgreSQL on the PostgreSQL door: closed, with an error where one can be told, and the node goes on.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

/// Sends bytes and gives what comes back until the server closes.
fn send(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    // The server may close while we are still sending.
    drop(stream.write_all(bytes));
    read_to_end(&mut stream)
}

fn read_to_end(stream: &mut TcpStream) -> Vec<u8> {
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return answer,
            Ok(count) => answer.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return answer,
            Err(error) => panic!("the connection was not closed: {error}"),
        }
    }
}

/// A start-up message of protocol 3.0.
fn start_up(parameters: &[&str]) -> Vec<u8> {
    let mut body = 196_608_u32.to_be_bytes().to_vec();
    for parameter in parameters {
        body.extend_from_slice(parameter.as_bytes());
        body.push(0);
    }
    body.push(0);
    let mut message = (body.len() as u32 + 4).to_be_bytes().to_vec();
    message.extend(body);
    message
}

async fn still_fine(server: &perigee_testkit::Server) {
    assert_eq!(server.client().await.unwrap().value("SELECT 1").await.unwrap(), "1");
}

#[tokio::test]
async fn garbage_is_turned_away() {
    let server = perigee_tests::server();
    let address = server.pg();
    send(address, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    send(address, &[0xff; 64]);
    send(address, &[0; 64]);
    // A length of 1 GB, of 4 GB, and one that is too short for itself.
    send(address, &[0x40, 0, 0, 0, 0, 3, 0, 0]);
    send(address, &[0xff, 0xff, 0xff, 0xff, 0, 3, 0, 0]);
    send(address, &[0, 0, 0, 3, 0, 3, 0, 0]);
    let mut random = StdRng::seed_from_u64(1);
    for _ in 0..50 {
        let mut bytes = vec![0; random.random_range(8..400)];
        random.fill(&mut bytes[..]);
        // What looks like a plausible length would be waited for.
        bytes[0] |= 0x80;
        send(address, &bytes);
    }
    still_fine(&server).await;
}

#[tokio::test]
async fn an_unknown_protocol_is_answered_with_an_error() {
    let server = perigee_tests::server();
    let answer = send(server.pg(), &[0, 0, 0, 8, 0, 9, 0, 0]);
    assert_eq!(answer.first(), Some(&b'E'), "{answer:?}");
    still_fine(&server).await;
}

#[tokio::test]
async fn half_a_start_up_packet_harms_nobody() {
    let server = perigee_tests::server();
    let mut half = Vec::new();
    for _ in 0..20 {
        let mut stream = TcpStream::connect(server.pg()).unwrap();
        stream.write_all(&start_up(&["user", "postgres"])[..9]).unwrap();
        half.push(stream);
    }
    still_fine(&server).await;
    drop(half);
    still_fine(&server).await;
}

#[tokio::test]
async fn garbage_behind_a_start_up_ends_that_session_alone() {
    let server = perigee_tests::server();
    let other = server.client().await.unwrap();
    for garbage in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        &[b'Q', 0x40, 0, 0, 0],
        &[b'Q', 0xff, 0xff, 0xff, 0xff],
        &[b'Q', 0, 0, 0, 1],
        &[0xff; 100],
        // Bind with more parameters than bytes.
        &[b'B', 0, 0, 0, 10, 0, 0, 0, 0, 0x7f, 0xff],
    ] {
        let mut bytes = start_up(&["user", "postgres", "database", "postgres"]);
        bytes.extend_from_slice(garbage);
        let mut stream = TcpStream::connect(server.pg()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.write_all(&bytes).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        read_to_end(&mut stream);
    }
    assert_eq!(other.value("SELECT 1").await.unwrap(), "1");
    still_fine(&server).await;
}

#[tokio::test]
async fn a_client_that_never_reads_does_not_fill_the_server() {
    let server = perigee_tests::server();
    let mut stream = TcpStream::connect(server.pg()).unwrap();
    let mut bytes = start_up(&["user", "postgres", "database", "postgres"]);
    let query = b"SELECT repeat('x', 1000) FROM generate_series(1, 2000000)\0";
    bytes.push(b'Q');
    bytes.extend_from_slice(&(query.len() as u32 + 4).to_be_bytes());
    bytes.extend_from_slice(query);
    stream.write_all(&bytes).unwrap();
    std::thread::sleep(Duration::from_secs(3));
    // The result is 2 GB; the budget is 512 MB.
    assert!(server.resident_bytes().unwrap() < 768 << 20, "{:?}", server.resident_bytes());
    still_fine(&server).await;
    drop(stream);
    still_fine(&server).await;
}
