//! Redis's protocol as it is on the wire: every reply with its type, in RESP2 and RESP3.
//!
//! [`Connection`] blocks, has a deadline for every reply, and neither hides pushes nor repairs anything: what a server sends
//! next is what [`Connection::receive`] gives.

use std::fmt;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

const DEPTH_MAX: usize = 64;
const READ_BYTES: usize = 64 << 10;

/// A reply, or why there is none.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `+`
    Status(String),
    /// `-`, or `!` of RESP3.
    Error(String),
    /// `:`
    Integer(i64),
    /// `$`
    Bulk(Vec<u8>),
    /// `$-1`
    NullBulk,
    /// `*-1`
    NullArray,
    /// `_`
    Null,
    /// `*`
    Array(Vec<Value>),
    /// `~`
    Set(Vec<Value>),
    /// `%`
    Map(Vec<(Value, Value)>),
    /// `>`
    Push(Vec<Value>),
    /// `,` with its digits.
    Double(String),
    /// `#`
    Boolean(bool),
    /// `(`
    BigNumber(String),
    /// `=` with its format.
    Verbatim(String, Vec<u8>),
    /// `|` and the reply behind it.
    Attribute(Vec<(Value, Value)>, Box<Value>),
    /// Nothing came in time.
    Silence,
    /// The server has closed the connection.
    Closed,
    /// What came is no RESP.
    Broken(String),
}

/// One line, much as redis-cli writes it: `"bulk"`, `(error) …`, `[array]`, `~[set]`, `{map}`, `>[push]`, `,double`, `#true`.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |f: &mut fmt::Formatter<'_>, items: &[Value]| {
            f.write_str("[")?;
            for (at, item) in items.iter().enumerate() {
                write!(f, "{}{item}", if at == 0 { "" } else { ", " })?;
            }
            f.write_str("]")
        };
        let map = |f: &mut fmt::Formatter<'_>, items: &[(Value, Value)]| {
            f.write_str("{")?;
            for (at, (key, value)) in items.iter().enumerate() {
                write!(f, "{}{key}: {value}", if at == 0 { "" } else { ", " })?;
            }
            f.write_str("}")
        };
        match self {
            Self::Status(text) => f.write_str(text),
            Self::Error(text) => write!(f, "(error) {text}"),
            Self::Integer(value) => write!(f, "{value}"),
            Self::Bulk(bytes) => write!(f, "\"{}\"", bytes.escape_ascii()),
            Self::NullBulk | Self::NullArray | Self::Null => f.write_str("nil"),
            Self::Array(items) => list(f, items),
            Self::Set(items) => f.write_str("~").and_then(|()| list(f, items)),
            Self::Push(items) => f.write_str(">").and_then(|()| list(f, items)),
            Self::Map(items) => map(f, items),
            Self::Double(digits) => write!(f, ",{digits}"),
            Self::Boolean(value) => write!(f, "#{value}"),
            Self::BigNumber(digits) => write!(f, "({digits}"),
            Self::Verbatim(format, bytes) => write!(f, "={format}:\"{}\"", bytes.escape_ascii()),
            Self::Attribute(items, value) => {
                f.write_str("|")?;
                map(f, items)?;
                write!(f, " {value}")
            }
            Self::Silence => f.write_str("(no reply)"),
            Self::Closed => f.write_str("(closed)"),
            Self::Broken(why) => write!(f, "(no RESP: {why})"),
        }
    }
}

impl Value {
    /// The bytes of a bulk, a status or a number, as a client would pass them on.
    #[must_use]
    pub fn bytes(&self) -> Option<Vec<u8>> {
        match self {
            Self::Status(text) | Self::Double(text) | Self::BigNumber(text) => Some(text.clone().into_bytes()),
            Self::Integer(value) => Some(value.to_string().into_bytes()),
            Self::Bulk(bytes) | Self::Verbatim(_, bytes) => Some(bytes.clone()),
            _ => None,
        }
    }

    /// Elements of an array, a set or a push.
    #[must_use]
    pub fn items(&self) -> Option<&[Value]> {
        match self {
            Self::Array(items) | Self::Set(items) | Self::Push(items) => Some(items),
            _ => None,
        }
    }

    /// Whether the connection is of no more use behind it.
    #[must_use]
    pub fn is_end(&self) -> bool {
        matches!(self, Self::Silence | Self::Closed | Self::Broken(_))
    }
}

/// A command as clients send it: an array of bulks.
#[must_use]
pub fn command<T: AsRef<[u8]>>(args: &[T]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", args.len()).into_bytes();
    for arg in args {
        bytes.extend_from_slice(format!("${}\r\n", arg.as_ref().len()).as_bytes());
        bytes.extend_from_slice(arg.as_ref());
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

/// A connection to a Redis, or to what speaks like one.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    at: usize,
    patience: Duration,
}

impl Connection {
    /// Connects in RESP2; a reply may take `patience`.
    ///
    /// # Errors
    /// What the system says.
    pub fn open(address: SocketAddr, patience: Duration) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, patience)?;
        stream.set_nodelay(true)?;
        // A server that does not read is found by its silence.
        stream.set_write_timeout(Some(patience))?;
        Ok(Self { stream, buffer: Vec::new(), at: 0, patience })
    }

    /// Sends a command and waits for one reply.
    pub fn ask<T: AsRef<[u8]>>(&mut self, args: &[T]) -> Value {
        match self.send(&command(args)) {
            Ok(()) => self.receive(),
            // What the server has said before it closed is still to be read.
            Err(_) => self.receive(),
        }
    }

    /// The same for words without spaces in them.
    pub fn line(&mut self, line: &str) -> Value {
        self.ask(&line.split_whitespace().collect::<Vec<_>>())
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// What the system says.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// The next reply or push.
    pub fn receive(&mut self) -> Value {
        let deadline = Instant::now() + self.patience;
        match self.value(deadline, 0) {
            Ok(value) => {
                self.buffer.drain(..self.at);
                self.at = 0;
                value
            }
            Err(Stop::Late) => Value::Silence,
            Err(Stop::Closed) => Value::Closed,
            Err(Stop::Wrong(why)) => Value::Broken(why),
        }
    }

    /// How long a reply may take from now on.
    pub fn set_patience(&mut self, patience: Duration) {
        self.patience = patience;
    }

    fn fill(&mut self, deadline: Instant) -> Result<(), Stop> {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() || self.stream.set_read_timeout(Some(left)).is_err() {
            return Err(Stop::Late);
        }
        let length = self.buffer.len();
        self.buffer.resize(length + READ_BYTES, 0);
        let read = self.stream.read(&mut self.buffer[length..]);
        self.buffer.truncate(length + read.as_ref().copied().unwrap_or(0));
        match read {
            Ok(0) => Err(Stop::Closed),
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                Err(Stop::Late)
            }
            Err(_) => Err(Stop::Closed),
        }
    }

    fn take_line(&mut self, deadline: Instant) -> Result<String, Stop> {
        let mut searched = self.at;
        loop {
            if let Some(end) = self.buffer[searched..].iter().position(|byte| *byte == b'\n') {
                let line = &self.buffer[self.at..searched + end];
                let line = line.strip_suffix(b"\r").unwrap_or(line);
                let line = String::from_utf8_lossy(line).into_owned();
                self.at = searched + end + 1;
                return Ok(line);
            }
            searched = self.buffer.len();
            self.fill(deadline)?;
        }
    }

    fn take_bytes(&mut self, count: usize, deadline: Instant) -> Result<Vec<u8>, Stop> {
        while self.buffer.len() < self.at + count + 2 {
            self.fill(deadline)?;
        }
        let bytes = self.buffer[self.at..self.at + count].to_vec();
        self.at += count + 2;
        Ok(bytes)
    }

    fn values(&mut self, count: i64, deadline: Instant, depth: usize) -> Result<Vec<Value>, Stop> {
        (0..count).map(|_| self.value(deadline, depth + 1)).collect()
    }

    fn pairs(&mut self, count: i64, deadline: Instant, depth: usize) -> Result<Vec<(Value, Value)>, Stop> {
        (0..count).map(|_| Ok((self.value(deadline, depth + 1)?, self.value(deadline, depth + 1)?))).collect()
    }

    fn value(&mut self, deadline: Instant, depth: usize) -> Result<Value, Stop> {
        let line = self.take_line(deadline)?;
        let wrong = || Stop::Wrong(line.clone());
        if depth > DEPTH_MAX {
            return Err(wrong());
        }
        let (kind, rest) = line.split_at_checked(1).ok_or_else(wrong)?;
        let number = || rest.parse::<i64>().map_err(|_| wrong());
        let count = || number().and_then(|count| if count < 0 { Err(wrong()) } else { Ok(count) });
        let size = || number().and_then(|size| usize::try_from(size).map_err(|_| wrong()));
        Ok(match kind {
            "+" => Value::Status(rest.to_owned()),
            "-" => Value::Error(rest.to_owned()),
            ":" => Value::Integer(number()?),
            "$" if rest == "-1" => Value::NullBulk,
            "$" => Value::Bulk(self.take_bytes(size()?, deadline)?),
            "!" => Value::Error(String::from_utf8_lossy(&self.take_bytes(size()?, deadline)?).into_owned()),
            "*" if rest == "-1" => Value::NullArray,
            "*" => Value::Array(self.values(count()?, deadline, depth)?),
            "~" => Value::Set(self.values(count()?, deadline, depth)?),
            ">" => Value::Push(self.values(count()?, deadline, depth)?),
            "%" => Value::Map(self.pairs(count()?, deadline, depth)?),
            "_" => Value::Null,
            "," => Value::Double(rest.to_owned()),
            "#" => Value::Boolean(rest == "t"),
            "(" => Value::BigNumber(rest.to_owned()),
            "=" => {
                let mut text = self.take_bytes(size()?, deadline)?;
                let bytes = text.split_off(text.len().min(4));
                Value::Verbatim(String::from_utf8_lossy(&text).trim_end_matches(':').to_owned(), bytes)
            }
            "|" => {
                let attributes = self.pairs(count()?, deadline, depth)?;
                Value::Attribute(attributes, Box::new(self.value(deadline, depth + 1)?))
            }
            _ => return Err(wrong()),
        })
    }
}

enum Stop {
    Late,
    Closed,
    Wrong(String),
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::TcpListener;

    use super::*;

    fn all(bytes: &[u8]) -> Vec<String> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut connection = Connection::open(listener.local_addr().unwrap(), Duration::from_secs(10)).unwrap();
        let (mut peer, _) = listener.accept().unwrap();
        peer.write_all(bytes).unwrap();
        drop(peer);
        let mut replies: Vec<String> = Vec::new();
        while replies.last().is_none_or(|last| last != "(closed)" && !last.starts_with("(no RESP")) {
            replies.push(connection.receive().to_string());
        }
        replies
    }

    #[test]
    fn every_kind_is_read() {
        let wire = b"+OK\r\n-ERR no\r\n:-7\r\n$3\r\na\r\n\r\n$-1\r\n*-1\r\n*2\r\n$0\r\n\r\n*0\r\n~1\r\n:1\r\n%1\r\n+k\r\n,0.5\r\n>1\r\n_\r\n\
            #t\r\n(12\r\n=5\r\ntxt:a\r\n!3\r\nE x\r\n|1\r\n+a\r\n+b\r\n:1\r\n";
        let want = [
            "OK",
            "(error) ERR no",
            "-7",
            "\"a\\r\\n\"",
            "nil",
            "nil",
            "[\"\", []]",
            "~[1]",
            "{k: ,0.5}",
            ">[nil]",
            "#true",
            "(12",
            "=txt:\"a\"",
            "(error) E x",
            "|{a: b} 1",
            "(closed)",
        ];
        assert_eq!(all(wire), want);
    }

    #[test]
    fn what_is_no_resp_is_said() {
        assert_eq!(all(b"HTTP/1.1 200\r\n"), ["(no RESP: HTTP/1.1 200)"]);
        assert_eq!(all(b"$-7\r\n"), ["(no RESP: $-7)"]);
    }
}
