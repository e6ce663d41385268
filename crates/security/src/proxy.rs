//! The PROXY protocol, versions 1 and 2: in front of a connection's own bytes a proxy says for whom it speaks.
//!
//! It is believed of configured addresses only. From one of these a header is taken where the first bytes begin one; a connection that
//! begins otherwise, such as a proxy's check of its server, is one of the proxy itself. From anywhere else nothing is looked for: a
//! header is then what the door's protocol makes of it, which is no request.
//!
//! Source: <https://www.haproxy.org/download/2.8/doc/proxy-protocol.txt>

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use proxy_header::{ParseConfig, Protocol, ProxyHeader};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

/// How long the first bytes of a connection are waited for, and then the rest of a header.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two looks at a connection of which less has come than tells what it begins with.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

const TEXT: &[u8] = b"PROXY ";
const TEXT_BYTES_MAX: usize = 107;
const BINARY: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Up to the length of what follows, which is its last two bytes.
const BINARY_HEAD_BYTES: usize = 16;

/// Why a connection of a trusted proxy cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// What begins as a header does not go on as one.
    #[error("the PROXY header is malformed")]
    Malformed,
    /// The header has not come to its end in time.
    #[error("the PROXY header did not come in time")]
    Late,
    /// The connection broke.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Whose PROXY headers are believed. Cheap to clone; nobody's by default.
#[derive(Clone, Debug, Default)]
pub struct TrustedProxies(Arc<[IpNet]>);

impl TrustedProxies {
    /// Believes addresses within `networks`.
    #[must_use]
    pub fn new(networks: &[IpNet]) -> Self {
        Self(networks.into())
    }

    /// Who the client is of a connection that was just accepted from `peer`: before anything else is read of it. What is left to be
    /// read is the client's.
    ///
    /// # Errors
    /// [`ProxyError`]: the connection has to be closed without a word.
    pub async fn client(&self, stream: &mut TcpStream, peer: SocketAddr) -> Result<SocketAddr, ProxyError> {
        let from = peer.ip().to_canonical();
        if !self.0.iter().any(|network| network.contains(&from)) {
            return Ok(peer);
        }
        // Who says nothing yet, or stops in the middle of what might become a header, is not waited for any longer than this: it may
        // be a client that is in no hurry.
        let Ok(begin) = timeout(PATIENCE, begin(stream)).await else { return Ok(peer) };
        let header = match begin? {
            None => return Ok(peer),
            Some(TEXT) => timeout(PATIENCE, read_text(stream)).await,
            Some(_) => timeout(PATIENCE, read_binary(stream)).await,
        };
        let client = address(&header.map_err(|_| ProxyError::Late)??)?;
        // Without an address in it: a check of the proxy, or a client that has none.
        Ok(client.unwrap_or(peer))
    }
}

/// Which header the connection begins with, if any. Takes nothing from it.
async fn begin(stream: &TcpStream) -> io::Result<Option<&'static [u8]>> {
    let mut bytes = [0; BINARY.len()];
    loop {
        let seen = stream.peek(&mut bytes).await?;
        let seen = &bytes[..seen];
        let found = [TEXT, BINARY].into_iter().find(|signature| seen.starts_with(signature));
        let may_come = !seen.is_empty() && [TEXT, BINARY].iter().any(|signature| signature.starts_with(seen));
        if found.is_some() || !may_come {
            return Ok(found);
        }
        // What was seen stays readable, so there is nothing to be woken by.
        sleep(LOOK_AGAIN).await;
    }
}

/// A line, up to its end.
async fn read_text(stream: &mut TcpStream) -> Result<Vec<u8>, ProxyError> {
    let mut header = Vec::with_capacity(TEXT_BYTES_MAX);
    let mut ahead = [0; TEXT_BYTES_MAX];
    while header.last() != Some(&b'\n') {
        let room = &mut ahead[header.len()..];
        let seen = if room.is_empty() { 0 } else { stream.peek(room).await? };
        if seen == 0 {
            return Err(ProxyError::Malformed);
        }
        let taken = room[..seen].iter().position(|byte| *byte == b'\n').map_or(seen, |at| at + 1);
        let at = header.len();
        header.resize(at + taken, 0);
        stream.read_exact(&mut header[at..]).await?;
    }
    Ok(header)
}

/// A head that says how much follows, and that.
async fn read_binary(stream: &mut TcpStream) -> Result<Vec<u8>, ProxyError> {
    let mut header = vec![0; BINARY_HEAD_BYTES];
    stream.read_exact(&mut header).await?;
    let follow = usize::from(u16::from_be_bytes([header[14], header[15]]));
    header.resize(BINARY_HEAD_BYTES + follow, 0);
    stream.read_exact(&mut header[BINARY_HEAD_BYTES..]).await?;
    Ok(header)
}

/// The client's address in a whole header; `None` where the header has none.
fn address(header: &[u8]) -> Result<Option<SocketAddr>, ProxyError> {
    let config = ParseConfig { include_tlvs: false, ..ParseConfig::default() };
    let (parsed, length) = ProxyHeader::parse(header, config).map_err(|_| ProxyError::Malformed)?;
    if length != header.len() {
        return Err(ProxyError::Malformed);
    }
    match parsed.proxied_address() {
        None => Ok(None),
        // This is a stream.
        Some(found) if found.protocol != Protocol::Stream => Err(ProxyError::Malformed),
        Some(found) => Ok(Some(SocketAddr::new(found.source.ip().to_canonical(), found.source.port()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header of version 2: command, family, what follows.
    fn binary(command: u8, family: u8, follow: &[u8]) -> Vec<u8> {
        let length = u16::try_from(follow.len()).unwrap();
        [BINARY, &[command, family], &length.to_be_bytes(), follow].concat()
    }

    fn check(header: &[u8], expected: Result<Option<&str>, ()>) {
        let found = address(header).map(|found| found.map(|address| address.to_string())).map_err(drop);
        assert_eq!(found, expected.map(|address| address.map(str::to_owned)), "{}", header.escape_ascii());
    }

    #[test]
    fn addresses_are_found() {
        check(b"PROXY TCP4 203.0.113.7 192.0.2.1 4711 5432\r\n", Ok(Some("203.0.113.7:4711")));
        check(b"PROXY TCP6 2001:db8::7 2001:db8::1 4711 5432\r\n", Ok(Some("[2001:db8::7]:4711")));
        check(b"PROXY TCP6 ::ffff:203.0.113.7 ::1 4711 5432\r\n", Ok(Some("203.0.113.7:4711")));
        check(b"PROXY UNKNOWN\r\n", Ok(None));
        check(b"PROXY UNKNOWN ::1 ::1 1 2\r\n", Ok(None));
        let v4 = [203, 0, 113, 7, 192, 0, 2, 1, 0x12, 0x67, 0x15, 0x38];
        check(&binary(0x21, 0x11, &v4), Ok(Some("203.0.113.7:4711")));
        // Behind the addresses stands what else a proxy knows.
        check(&binary(0x21, 0x11, &[&v4[..], &[4, 0, 1, 9]].concat()), Ok(Some("203.0.113.7:4711")));
        check(&binary(0x21, 0x31, &[b'x'; 216]), Ok(None));
        check(&binary(0x21, 0x00, b""), Ok(None));
        check(&binary(0x20, 0x00, b""), Ok(None));
        check(&binary(0x20, 0x11, &v4), Ok(None));
    }

    #[test]
    fn what_is_no_header_is_refused() {
        for line in ["", "TCP4", "TCP4 1.2.3.4 1.2.3.4 1", "TCP4 ::1 ::1 1 2", "TCP4 1.2.3.4 1.2.3.4 1 70000", "UDP4 x"]
        {
            check(format!("PROXY {line}\r\n").as_bytes(), Err(()));
        }
        check(b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n", Err(()));
        check(&binary(0x21, 0x11, &[1, 2, 3]), Err(()));
        check(&binary(0x21, 0x12, &[0; 12]), Err(()));
        check(&binary(0x21, 0x31, b"/too/short"), Err(()));
        check(&binary(0x11, 0x11, &[0; 12]), Err(()));
        check(&binary(0x2f, 0x11, &[0; 12]), Err(()));
        check(&binary(0x21, 0x55, &[0; 12]), Err(()));
    }
}
