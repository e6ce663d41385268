//! Clients that do not read, that do nothing, that send what is no RESP: memory is bounded, and others are served.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use perigee_testkit::Server;
use perigee_testkit::resp::{Connection, Value, command};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use crate::{PATIENCE, connect, server};

const IDLE: usize = 300;
/// What a node may take on for one client that does not read, and for the replies that are made meanwhile.
const GROWTH_MAX_BYTES: u64 = 256 << 20;

fn pong() -> Value {
    Value::Status("PONG".to_owned())
}

/// Writes until the other side takes no more for a second, or the bytes are used up; how many were taken.
fn write_until_full(stream: &mut TcpStream, bytes: &[u8], times: usize) -> usize {
    stream.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
    (0..times).take_while(|_| stream.write_all(bytes).is_ok()).count()
}

fn bounded(server: &Server, before: u64) {
    let after = server.resident_bytes().unwrap();
    let grown = after.saturating_sub(before) >> 20;
    assert!(after <= before + GROWTH_MAX_BYTES, "the node has grown by {grown} MB");
}

#[test]
fn who_never_reads_takes_no_memory_from_others() {
    let server = server();
    let mut other = connect(&server);
    let value = "x".repeat(1 << 20);
    assert_eq!(other.ask(&["SET", "large", &value]), Value::Status("OK".to_owned()));
    let before = server.resident_bytes().unwrap();
    // 20 GB of replies.
    let mut deaf: Vec<TcpStream> = (0..5).map(|_| TcpStream::connect(server.redis()).unwrap()).collect();
    for stream in &mut deaf {
        write_until_full(stream, &command(&["GET", "large"]).repeat(100), 40);
        assert_eq!(other.line("PING"), pong());
        bounded(&server, before);
    }
    assert_eq!(other.line("STRLEN large"), Value::Integer(1 << 20));
    drop(deaf);
    assert_eq!(other.line("PING"), pong());
}

#[test]
fn a_subscriber_that_never_reads_is_left_behind() {
    let server = server();
    let mut other = connect(&server);
    let mut deaf = TcpStream::connect(server.redis()).unwrap();
    deaf.write_all(b"SUBSCRIBE news\r\n").unwrap();
    while other.line("PUBSUB NUMSUB news").items().and_then(|items| items.get(1).cloned()) != Some(Value::Integer(1)) {
        std::thread::sleep(Duration::from_millis(10));
    }
    let before = server.resident_bytes().unwrap();
    let message = "x".repeat(100_000);
    let mut heard = connect(&server);
    assert_eq!(heard.line("SUBSCRIBE news").items().map(<[_]>::len), Some(3));
    // 500 MB, each message read by the one who reads.
    for _ in 0..5_000 {
        assert!(matches!(other.ask(&["PUBLISH", "news", &message]), Value::Integer(1..=2)));
        let got = heard.receive();
        assert_eq!(got.items().and_then(|items| items.get(2)?.bytes()).map(|bytes| bytes.len()), Some(100_000));
    }
    bounded(&server, before);
}

#[test]
fn idle_connections_cost_little() {
    let idle = std::env::var("PERIGEE_REDIS_IDLE").ok().and_then(|text| text.parse().ok()).unwrap_or(IDLE);
    let server = server();
    let before = server.resident_bytes().unwrap();
    let mut connections: Vec<Connection> = (0..idle).map(|_| connect(&server)).collect();
    let mut other = connect(&server);
    for (at, connection) in connections.iter_mut().enumerate() {
        assert_eq!(connection.line(&format!("SET idle:{at} v")), Value::Status("OK".to_owned()));
    }
    assert_eq!(other.line("DBSIZE"), Value::Integer(idle as i64));
    bounded(&server, before);
    for connection in &mut connections {
        assert_eq!(connection.line("PING"), pong());
    }
}

/// Sends bytes and an end, and gives what comes back until the server closes.
fn send(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // The server may close while we are still sending.
    drop(stream.write_all(bytes));
    drop(stream.shutdown(Shutdown::Write));
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

#[test]
fn garbage_is_turned_away() {
    let server = server();
    let address = server.redis();
    let mut other = connect(&server);
    let before = server.resident_bytes().unwrap();
    let starts_with_error = |bytes: &[u8]| {
        let answer = send(address, bytes);
        assert!(answer.starts_with(b"-ERR"), "{}: {}", bytes.escape_ascii(), answer.escape_ascii());
    };
    starts_with_error(b"*1\r\n$1000000000\r\n");
    starts_with_error(b"*2000000000\r\n");
    starts_with_error(b"*1\r\n+PING\r\n");
    // A length that is allowed is not reserved before the bytes are there.
    for _ in 0..50 {
        send(address, b"*1\r\n$500000000\r\nabc");
        send(address, b"*1000000\r\n$3\r\nGET\r\n");
    }
    send(address, &[0xff; 64]);
    send(address, &[0; 200_000]);
    send(address, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03");
    // What a browser sends is no list of commands.
    let answer = send(address, b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 20\r\n\r\nSET from-a-browser 1\r\n");
    assert!(!answer.windows(3).any(|bytes| bytes == b"+OK"), "{}", answer.escape_ascii());
    assert_eq!(other.line("EXISTS from-a-browser"), Value::Integer(0));
    let mut random = StdRng::seed_from_u64(1);
    for round in 0..200 {
        let mut bytes = vec![0; random.random_range(1..400)];
        random.fill(&mut bytes[..]);
        // Also behind what is well-formed.
        let begin: &[u8] = match round % 4 {
            0 => b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$",
            1 => b"*",
            2 => b"*2\r\n$3\r\nGET\r\n",
            _ => b"",
        };
        send(address, &[begin, &bytes].concat());
        assert_eq!(other.line("PING"), pong());
    }
    bounded(&server, before);
}

/// A few bytes that ask for gigabytes are refused before they are in the log: behind it they would end the node, and each start.
#[test]
fn small_commands_that_need_much_memory_are_refused() {
    // Of 512 MB.
    let mut server = server();
    let mut client = connect(&server);
    let refused = |reply: Value| assert!(reply.to_string().contains("OOM"), "{reply}");
    let huge = "4294967295";
    refused(client.ask(&["SETBIT", "bits", huge, "1"]));
    refused(client.ask(&["SETRANGE", "text", "500000000", "x"]));
    refused(client.ask(&["BITFIELD", "field", "SET", "u8", "4294967280", "1"]));
    refused(client.ask(&["PERIGEE.ONCE", "once", "SETBIT", "bits", huge, "1"]));
    let script = "for i = 1, 8 do redis.call('SETBIT', KEYS[1] .. i, ARGV[1], 1) end";
    refused(client.ask(&["EVAL", script, "1", "scripted", huge]));
    client.line("MULTI");
    for number in 0..14 {
        client.ask(&["SETBIT", &format!("m{number}"), "1000000000", "1"]);
    }
    refused(client.line("EXEC"));
    assert_eq!(client.line("DBSIZE"), Value::Integer(0), "nothing was written");
    // What fits goes on, and a long string takes bits anywhere in it.
    assert_eq!(client.ask(&["SETBIT", "bits", "80000000", "1"]), Value::Integer(0));
    for _ in 0..100 {
        assert!(!client.ask(&["SETBIT", "bits", "79999999", "1"]).to_string().contains("OOM"));
    }
    drop(client);
    server.kill();
    server.restart().unwrap();
    assert_eq!(connect(&server).line("STRLEN bits"), Value::Integer(10_000_001));
}

/// A stream that ends by its time ends the waits of its group, as DEL does.
#[test]
fn who_waits_for_a_stream_learns_that_it_has_expired() {
    let server = server();
    let (mut waiting, mut other) = (connect(&server), connect(&server));
    other.line("XGROUP CREATE s g $ MKSTREAM");
    waiting.send(&command(&["XREADGROUP", "GROUP", "g", "c", "BLOCK", "0", "STREAMS", "s", ">"])).unwrap();
    while !other.line("INFO clients").to_string().contains("blocked_clients:1") {
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(other.line("PEXPIRE s 100"), Value::Integer(1));
    assert!(waiting.receive().to_string().contains("NOGROUP"));
}
