//! Requests: arrays of bulk strings, and lines.
//!
//! The parser remembers how far it came, so that a request that arrives in many pieces is looked at once. It allocates
//! for what has come, never for what a client claims, and does not recurse.

use bytes::{Buf, Bytes, BytesMut};
use perigee_keyspace::args::parse_integer;

/// The most arguments of a command.
const ARGS_MAX: i64 = 1 << 20;
/// The longest line: a count, a length, or an inline command.
const LINE_BYTES_MAX: usize = 64 << 10;
/// The most arguments before authentication.
const ARGS_MAX_UNAUTHENTICATED: i64 = 10;
/// The longest argument before authentication.
const BULK_BYTES_MAX_UNAUTHENTICATED: i64 = 16 << 10;

/// What a client may send now.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The longest argument (`proto-max-bulk-len`).
    pub bulk_bytes_max: i64,
    /// Whether the client has proved itself.
    pub authenticated: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self { bulk_bytes_max: 512 << 20, authenticated: true }
    }
}

/// Why nothing more can be read: words that follow `ERR Protocol error: `.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("ERR Protocol error: {0}")]
pub struct ProtocolError(String);

fn wrong(text: &str) -> ProtocolError {
    ProtocolError(text.to_owned())
}

/// See the module.
#[derive(Debug, Default)]
pub struct Parser {
    /// Where the next line or argument begins.
    at: usize,
    /// Bytes that hold no end of a line.
    scanned: usize,
    /// Arguments that are still to come.
    left: usize,
    /// The length of the argument at `at`.
    bulk: Option<usize>,
    /// Where the arguments stand.
    ranges: Vec<(usize, usize)>,
}

impl Parser {
    /// Takes the next command out of `input`; `None` until more has come. Arguments share the memory of `input`.
    ///
    /// # Errors
    /// [`ProtocolError`]: what follows has no meaning.
    pub fn next(&mut self, input: &mut BytesMut, limits: &Limits) -> Result<Option<Vec<Bytes>>, ProtocolError> {
        loop {
            if self.left == 0 {
                match input.first() {
                    None => return Ok(None),
                    Some(b'*') => match self.count(input, limits)? {
                        None => return Ok(None),
                        // Redis passes over empty arrays in silence.
                        Some(0) => {
                            input.advance(self.at);
                            self.restart();
                            continue;
                        }
                        Some(count) => self.left = count,
                    },
                    Some(_) => match self.line(input)? {
                        None => return Ok(None),
                        Some(words) if words.is_empty() => continue,
                        Some(words) => return Ok(Some(words)),
                    },
                }
            }
            while self.left > 0 {
                if !self.argument(input, limits)? {
                    return Ok(None);
                }
            }
            let frame = input.split_to(self.at).freeze();
            let args = self.ranges.iter().map(|(from, to)| frame.slice(*from..*to)).collect();
            self.restart();
            return Ok(Some(args));
        }
    }

    /// Whether part of a command was read.
    #[must_use]
    pub fn is_within(&self) -> bool {
        self.left > 0
    }

    /// About how many bytes of memory the parser holds for the command that it reads.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.ranges.capacity() * size_of::<(usize, usize)>()
    }

    fn restart(&mut self) {
        (self.at, self.scanned, self.left, self.bulk) = (0, 0, 0, None);
        self.ranges.clear();
        self.ranges.shrink_to(1_024);
    }

    fn line(&mut self, input: &mut BytesMut) -> Result<Option<Vec<Bytes>>, ProtocolError> {
        let Some(end) = memchr::memchr(b'\n', &input[self.scanned..]).map(|found| self.scanned + found) else {
            self.scanned = input.len();
            return if input.len() > LINE_BYTES_MAX { Err(wrong("too big inline request")) } else { Ok(None) };
        };
        let line = input.split_to(end + 1);
        self.restart();
        let line = line[..end].strip_suffix(b"\r").unwrap_or(&line[..end]);
        perigee_keyspace::words::split(line).map(Some).ok_or_else(|| wrong("unbalanced quotes in request"))
    }

    /// The number behind the first byte of the line at `at`; moves behind the line.
    fn number(&mut self, input: &[u8], too_long: &str) -> Result<Option<Option<i64>>, ProtocolError> {
        // Most have one or two digits.
        let short = match input.get(self.at..) {
            Some(&[_, ones @ b'0'..=b'9', b'\r', _, ..]) => Some((ones - b'0', 4)),
            Some(&[_, tens @ b'1'..=b'9', ones @ b'0'..=b'9', b'\r', _, ..]) => {
                Some(((tens - b'0') * 10 + (ones - b'0'), 5))
            }
            _ => None,
        };
        if let Some((number, bytes)) = short {
            self.at += bytes;
            self.scanned = self.at;
            return Ok(Some(Some(number.into())));
        }
        let from = self.scanned.max(self.at);
        let Some(end) = memchr::memchr(b'\r', &input[from..]).map(|found| from + found) else {
            self.scanned = input.len();
            return if input.len() - self.at > LINE_BYTES_MAX { Err(wrong(too_long)) } else { Ok(None) };
        };
        self.scanned = end;
        if end + 2 > input.len() {
            return Ok(None);
        }
        let number = input.get(self.at + 1..end).and_then(parse_integer);
        self.at = end + 2;
        self.scanned = self.at;
        Ok(Some(number))
    }

    fn count(&mut self, input: &[u8], limits: &Limits) -> Result<Option<usize>, ProtocolError> {
        let Some(count) = self.number(input, "too big mbulk count string")? else { return Ok(None) };
        let count = count.filter(|count| *count <= ARGS_MAX).ok_or_else(|| wrong("invalid multibulk length"))?;
        if count > ARGS_MAX_UNAUTHENTICATED && !limits.authenticated {
            return Err(wrong("unauthenticated multibulk length"));
        }
        Ok(Some(usize::try_from(count).unwrap_or(0)))
    }

    /// Reads one more argument; says whether it is all there.
    fn argument(&mut self, input: &[u8], limits: &Limits) -> Result<bool, ProtocolError> {
        let length = match self.bulk {
            Some(length) => length,
            None => {
                let Some(first) = input.get(self.at) else { return Ok(false) };
                let Some(length) = self.number(input, "too big bulk count string")? else { return Ok(false) };
                if *first != b'$' {
                    return Err(ProtocolError(format!("expected '$', got '{}'", char::from(*first))));
                }
                let length = length
                    .filter(|length| (0..=limits.bulk_bytes_max).contains(length))
                    .ok_or_else(|| wrong("invalid bulk length"))?;
                if length > BULK_BYTES_MAX_UNAUTHENTICATED && !limits.authenticated {
                    return Err(wrong("unauthenticated bulk length"));
                }
                let length = usize::try_from(length).unwrap_or(0);
                self.bulk = Some(length);
                length
            }
        };
        let end = self.at.saturating_add(length);
        if input.len() < end.saturating_add(2) {
            return Ok(false);
        }
        self.ranges.push((self.at, end));
        self.at = end + 2;
        self.scanned = self.at;
        self.bulk = None;
        self.left -= 1;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// All commands of `bytes` that come in pieces of `piece`, and the error that ended it.
    fn parse(bytes: &[u8], piece: usize, limits: &Limits) -> (Vec<Vec<Bytes>>, Option<String>) {
        let (mut parser, mut input, mut commands) = (Parser::default(), BytesMut::new(), Vec::new());
        for piece in bytes.chunks(piece.max(1)) {
            input.extend_from_slice(piece);
            loop {
                match parser.next(&mut input, limits) {
                    Ok(Some(args)) => commands.push(args),
                    Ok(None) => break,
                    Err(error) => return (commands, Some(error.to_string())),
                }
            }
        }
        (commands, None)
    }

    fn check(bytes: &str, want: &[&[&str]], error: Option<&str>) {
        let want: Vec<Vec<Bytes>> =
            want.iter().map(|args| args.iter().map(|arg| Bytes::from(arg.to_string())).collect()).collect();
        for piece in 1..=bytes.len().max(1) {
            let (commands, found) = parse(bytes.as_bytes(), piece, &Limits::default());
            assert_eq!(commands, want, "{bytes:?} in pieces of {piece}");
            assert_eq!(found.as_deref(), error, "{bytes:?} in pieces of {piece}");
        }
    }

    #[test]
    fn commands_are_found_whatever_the_pieces() {
        check("*1\r\n$4\r\nPING\r\n", &[&["PING"]], None);
        check("*2\r\n$3\r\nGET\r\n$0\r\n\r\n*1\r\n$1\r\nx\r\n", &[&["GET", ""], &["x"]], None);
        check("\r\n*0\r\n*-1\r\nPING\r\nSET a \"b c\"\n", &[&["PING"], &["SET", "a", "b c"]], None);
        check("*2\r\n$3\r\nGET\r\n$5\r\nab", &[], None);
        check("*1\r\n$6\r\n\r\n$1\r\n\r\n", &[&["\r\n$1\r\n"]], None);
    }

    #[test]
    fn errors_have_the_words_of_redis() {
        let error = |bytes, words: &str| check(bytes, &[], Some(&format!("ERR Protocol error: {words}")));
        error("*3000000000\r\n", "invalid multibulk length");
        error("*x\r\n", "invalid multibulk length");
        error("*\r\n", "invalid multibulk length");
        error("*1\r\nfoo\r\n", "expected '$', got 'f'");
        error("*1\r\n$-10\r\n", "invalid bulk length");
        error("*1\r\n$x\r\n", "invalid bulk length");
        error("*1\r\n$2000000000\r\n", "invalid bulk length");
        error("SET \"a\r\n", "unbalanced quotes in request");
    }

    #[test]
    fn lines_that_never_end_are_refused() {
        let long = |first: &str| format!("{first}{}", "1".repeat(LINE_BYTES_MAX + 2));
        for (first, want) in [
            ("*", "too big mbulk count string"),
            ("*1\r\n$", "too big bulk count string"),
            ("a", "too big inline request"),
        ] {
            let (_, error) = parse(long(first).as_bytes(), 4_096, &Limits::default());
            assert_eq!(error, Some(format!("ERR Protocol error: {want}")));
        }
    }

    #[test]
    fn strangers_may_send_little() {
        let stranger = Limits { authenticated: false, ..Limits::default() };
        let (_, error) = parse(b"*11\r\n", 5, &stranger);
        assert_eq!(error.as_deref(), Some("ERR Protocol error: unauthenticated multibulk length"));
        let (_, error) = parse(b"*1\r\n$16385\r\n", 5, &stranger);
        assert_eq!(error.as_deref(), Some("ERR Protocol error: unauthenticated bulk length"));
    }

    #[test]
    fn a_large_count_allocates_nothing() {
        let mut parser = Parser::default();
        let mut input = BytesMut::from(&b"*1048576\r\n$536870912\r\nab"[..]);
        assert_eq!(parser.next(&mut input, &Limits::default()), Ok(None));
        assert!(parser.memory() < 1_024 && input.capacity() < 1_024);
    }

    fn request(args: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = format!("*{}\r\n", args.len()).into_bytes();
        for arg in args {
            bytes.extend(format!("${}\r\n", arg.len()).bytes());
            bytes.extend(arg);
            bytes.extend(b"\r\n");
        }
        bytes
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(
            commands in prop::collection::vec(prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..6), 0..8),
            piece in 1_usize..64,
        ) {
            let bytes: Vec<u8> = commands.iter().flat_map(|args| request(args)).collect();
            let (read, error) = parse(&bytes, piece, &Limits::default());
            prop_assert_eq!(error, None);
            prop_assert_eq!(read, commands);
        }

        #[test]
        fn garbage_does_no_harm(
            bytes in prop::collection::vec(
                prop_oneof![Just(b'*'), Just(b'$'), Just(b'\r'), Just(b'\n'), Just(b'1'), Just(b'-'), Just(b'"'), any::<u8>()],
                0..400,
            ),
            piece in 1_usize..64,
        ) {
            let whole = parse(&bytes, bytes.len(), &Limits::default());
            let pieces = parse(&bytes, piece, &Limits::default());
            prop_assert_eq!(whole, pieces);
        }
    }
}
