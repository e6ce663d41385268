//! Replies as RESP2 and RESP3.
//!
//! Replies are as deep as commands make them, which bound it: scripts are the only ones that nest further than a few.

use perigee_keyspace::Reply;
use perigee_keyspace::args::format_float;

/// Writes a reply.
pub fn write(out: &mut Vec<u8>, reply: &Reply, resp3: bool) {
    match reply {
        Reply::Status(text) => line(out, b'+', text),
        Reply::Error(text) => line(out, b'-', text),
        Reply::Integer(value) => number(out, b':', *value),
        Reply::Bulk(bytes) => bulk(out, bytes),
        Reply::Null => out.extend_from_slice(if resp3 { b"_\r\n" } else { b"$-1\r\n" }),
        Reply::NullArray => out.extend_from_slice(if resp3 { b"_\r\n" } else { b"*-1\r\n" }),
        Reply::Array(items) => list(out, b'*', items, resp3),
        Reply::Set(items) => list(out, if resp3 { b'~' } else { b'*' }, items, resp3),
        Reply::Push(items) => list(out, if resp3 { b'>' } else { b'*' }, items, resp3),
        Reply::Map(pairs) => {
            if resp3 {
                head(out, b'%', pairs.len());
            } else {
                head(out, b'*', pairs.len() * 2);
            }
            flat(out, pairs, resp3);
        }
        Reply::Pairs(pairs) => {
            head(out, b'*', if resp3 { pairs.len() } else { pairs.len() * 2 });
            for (first, second) in pairs {
                if resp3 {
                    head(out, b'*', 2);
                }
                write(out, first, resp3);
                write(out, second, resp3);
            }
        }
        Reply::Double(value) if resp3 => line(out, b',', &format_float(*value)),
        Reply::Double(value) => bulk(out, format_float(*value).as_bytes()),
        Reply::Boolean(yes) if resp3 => out.extend_from_slice(if *yes { b"#t\r\n" } else { b"#f\r\n" }),
        Reply::Boolean(yes) => number(out, b':', i64::from(*yes)),
        Reply::BigNumber(digits) if resp3 => line(out, b'(', digits),
        Reply::BigNumber(digits) => bulk(out, digits.as_bytes()),
        Reply::Verbatim(format, bytes) if resp3 => {
            head(out, b'=', bytes.len() + 4);
            out.extend_from_slice(format.as_bytes());
            out.push(b':');
            out.extend_from_slice(bytes);
            out.extend_from_slice(b"\r\n");
        }
        Reply::Verbatim(_, bytes) => bulk(out, bytes),
        Reply::Attribute(pairs, reply) => {
            if resp3 {
                head(out, b'|', pairs.len());
                flat(out, pairs, resp3);
            }
            write(out, reply, resp3);
        }
        Reply::Nothing => {}
    }
}

/// The head of an array whose elements follow.
pub(crate) fn array(out: &mut Vec<u8>, count: usize) {
    head(out, b'*', count);
}

/// The head of a push, which RESP2 writes as an array.
pub(crate) fn push(out: &mut Vec<u8>, count: usize, resp3: bool) {
    head(out, if resp3 { b'>' } else { b'*' }, count);
}

/// A string of bytes.
pub(crate) fn bulk(out: &mut Vec<u8>, bytes: &[u8]) {
    out.reserve(bytes.len() + 16);
    head(out, b'$', bytes.len());
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}

/// An integer.
pub(crate) fn integer(out: &mut Vec<u8>, value: i64) {
    number(out, b':', value);
}

fn list(out: &mut Vec<u8>, kind: u8, items: &[Reply], resp3: bool) {
    head(out, kind, items.len());
    for item in items {
        write(out, item, resp3);
    }
}

fn flat(out: &mut Vec<u8>, pairs: &[(Reply, Reply)], resp3: bool) {
    for (key, value) in pairs {
        write(out, key, resp3);
        write(out, value, resp3);
    }
}

fn head(out: &mut Vec<u8>, kind: u8, count: usize) {
    out.push(kind);
    out.extend_from_slice(itoa::Buffer::new().format(count).as_bytes());
    out.extend_from_slice(b"\r\n");
}

fn number(out: &mut Vec<u8>, kind: u8, value: i64) {
    out.push(kind);
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// A line; what would end it early becomes blanks.
fn line(out: &mut Vec<u8>, kind: u8, text: &str) {
    out.push(kind);
    let start = out.len();
    out.extend_from_slice(text.as_bytes());
    for byte in &mut out[start..] {
        if matches!(byte, b'\r' | b'\n') {
            *byte = b' ';
        }
    }
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn check(reply: &Reply, resp2: &str, resp3: &str) {
        for (is_resp3, want) in [(false, resp2), (true, resp3)] {
            let mut out = Vec::new();
            write(&mut out, reply, is_resp3);
            assert_eq!(String::from_utf8_lossy(&out), want, "{reply:?}");
            let read = if is_resp3 {
                redis_protocol::resp3::decode::complete::decode(&out).unwrap().map(|(_, length)| length)
            } else {
                redis_protocol::resp2::decode::decode(&out).unwrap().map(|(_, length)| length)
            };
            assert_eq!(read, (!out.is_empty()).then_some(out.len()), "{want:?} reads as one reply");
        }
    }

    #[test]
    fn every_kind_in_both_protocols() {
        let same = |reply: &Reply, want| check(reply, want, want);
        same(&Reply::OK, "+OK\r\n");
        same(&Reply::error("ERR a\r\nb"), "-ERR a  b\r\n");
        same(&Reply::Integer(-7), ":-7\r\n");
        same(&Reply::bulk("a\r\nb"), "$4\r\na\r\nb\r\n");
        same(&Reply::Array(vec![]), "*0\r\n");
        check(&Reply::Null, "$-1\r\n", "_\r\n");
        check(&Reply::NullArray, "*-1\r\n", "_\r\n");
        check(&Reply::Double(1.5), "$3\r\n1.5\r\n", ",1.5\r\n");
        check(&Reply::Double(f64::INFINITY), "$3\r\ninf\r\n", ",inf\r\n");
        check(&Reply::Boolean(true), ":1\r\n", "#t\r\n");
        check(&Reply::BigNumber("12".to_owned()), "$2\r\n12\r\n", "(12\r\n");
        check(&Reply::Verbatim("txt", Bytes::from("ab")), "$2\r\nab\r\n", "=6\r\ntxt:ab\r\n");
        let pair = || vec![(Reply::bulk("k"), Reply::Null)];
        check(&Reply::Map(pair()), "*2\r\n$1\r\nk\r\n$-1\r\n", "%1\r\n$1\r\nk\r\n_\r\n");
        check(&Reply::Pairs(pair()), "*2\r\n$1\r\nk\r\n$-1\r\n", "*1\r\n*2\r\n$1\r\nk\r\n_\r\n");
        check(&Reply::Set(vec![Reply::OK]), "*1\r\n+OK\r\n", "~1\r\n+OK\r\n");
        check(&Reply::Push(vec![Reply::bulk("a")]), "*1\r\n$1\r\na\r\n", ">1\r\n$1\r\na\r\n");
    }

    #[test]
    fn attributes_come_before_their_reply() {
        let reply = Reply::Attribute(vec![(Reply::bulk("k"), Reply::OK)], Box::new(Reply::Integer(1)));
        let mut out = Vec::new();
        write(&mut out, &reply, true);
        assert_eq!(out, b"|1\r\n$1\r\nk\r\n+OK\r\n:1\r\n");
        out.clear();
        write(&mut out, &reply, false);
        assert_eq!(out, b":1\r\n");
    }
}
