//! `perigee ready`: asks a node's operations door whether it can serve, for probes and for scripts that wait.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use perigee_config::Span;

use crate::cli::ReadyArguments;
use crate::failure::Failure;

/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Time between two questions.
const ASK_AGAIN: Duration = Duration::from_millis(200);
/// Bytes of an answer: it is one line.
const ANSWER_BYTES_MAX: u64 = 64 << 10;

/// Prints `ready`, or fails with the reason why the node is not.
pub(crate) fn run(arguments: &ReadyArguments) -> Result<(), Failure> {
    let wait = match &arguments.wait {
        Some(text) => text.parse::<Span>().map_err(Failure::Refused)?.duration(),
        None => Duration::ZERO,
    };
    let path = if arguments.leader { "/ready?role=leader" } else { "/ready" };
    let started = Instant::now();
    loop {
        let reason = match ask(&arguments.address, path) {
            Ok((200, _)) => {
                println!("ready");
                return Ok(());
            }
            Ok((status, body)) => reason(status, &body),
            Err(error) => format!("cannot reach {}: {error}", arguments.address),
        };
        if started.elapsed() >= wait {
            return Err(Failure::fatal(reason));
        }
        std::thread::sleep(ASK_AGAIN);
    }
}

/// Status and body of a GET.
fn ask(address: &str, path: &str) -> io::Result<(u16, String)> {
    let nobody = || io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    let at = address.to_socket_addrs()?.next().ok_or_else(nobody)?;
    let mut stream = TcpStream::connect_timeout(&at, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer)?;
    parse(&String::from_utf8_lossy(&answer)).ok_or_else(|| io::Error::other("what answers does not speak HTTP"))
}

fn parse(answer: &str) -> Option<(u16, String)> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    Some((status, body.to_owned()))
}

/// What the node says, in its own words where they are known.
fn reason(status: u16, body: &str) -> String {
    let document: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
    match document.get("reason").and_then(serde_json::Value::as_str) {
        Some(reason) => format!("not ready: {reason}"),
        None => format!("not ready: status {status}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read() {
        let answer = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 2\r\n\r\n{\"ready\":false,\"reason\":\"x\"}";
        let (status, body) = parse(answer).unwrap();
        assert_eq!(reason(status, &body), "not ready: x");
        assert_eq!(reason(404, "nothing"), "not ready: status 404");
        for wrong in ["", "HTTP/1.1 200", "SSH-2.0\r\n\r\n", "HTTP/1.1 \u{e9}\u{e9}\r\n\r\n"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
