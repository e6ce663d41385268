//! Traffic of clients with some of its bytes changed: what is read of it does not depend on how it is cut, and a door
//! answers whatever comes with whole replies, lets go of who leaves, and goes on.
//!
//! As in the keyspace: `PERIGEE_FUZZ_SECONDS=600 cargo test -p perigee-resp --lib fuzz -- --nocapture`.

#[path = "../../../crates/keyspace/src/fuzz/rounds.rs"]
mod rounds;

use std::cell::Cell;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use perigee_keyspace::twin::words;
use rand::Rng;
use rand::rngs::SmallRng;
use rounds::{Rounds, WORDS, corpus, mutate, pick};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_util::sync::CancellationToken;

use crate::resp::{Limits, Parser};
use crate::{RespOptions, twin};

/// What stops a door, or takes as long as it says.
const LEFT_OUT: &[&str] = &["shutdown", "sleep"];
/// Lines beyond this are refused where they come in pieces and taken where they come whole, as in Redis.
const LINE_BYTES_MAX: usize = 64 << 10;
/// A connection ends behind its client in this time.
const PATIENCE: Duration = Duration::from_secs(60);

type Line = Vec<Vec<u8>>;

/// Lines for a door.
fn lines() -> Vec<Line> {
    let is_left_out = |word: &Vec<u8>| LEFT_OUT.iter().any(|name| word.eq_ignore_ascii_case(name.as_bytes()));
    corpus().into_iter().filter(|line| !line.iter().any(is_left_out)).collect()
}

/// Some commands as a client sends them; then some bytes of it are others.
fn traffic(random: &mut SmallRng, lines: &[Line]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..random.random_range(1..20) {
        let mut line = pick(random, lines).clone();
        if random.random_bool(0.2) {
            let at = random.random_range(0..line.len());
            line[at] = pick(random, WORDS).as_bytes().to_vec();
        }
        if random.random_bool(0.1) {
            let at = random.random_range(0..line.len());
            mutate(random, &mut line[at]);
        }
        if random.random_bool(0.2) {
            for word in &line {
                let quoted: String = word.iter().map(|byte| format!("\\x{byte:02x}")).collect();
                bytes.extend(if random.random_bool(0.5) {
                    format!("\"{quoted}\" ").into_bytes()
                } else {
                    [word, &b" "[..]].concat()
                });
            }
            bytes.extend(b"\r\n");
            continue;
        }
        bytes.extend(format!("*{}\r\n", line.len()).bytes());
        for word in &line {
            bytes.extend(format!("${}\r\n", word.len()).bytes());
            bytes.extend(word);
            bytes.extend(b"\r\n");
        }
    }
    for _ in 0..random.random_range(0..3) {
        mutate(random, &mut bytes);
    }
    bytes
}

/// All commands of `bytes`, and the error that ended them; `cut` says how long the next piece is.
fn parse(bytes: &[u8], limits: &Limits, mut cut: impl FnMut() -> usize) -> (Vec<Vec<Bytes>>, Option<String>) {
    let (mut parser, mut input, mut commands) = (Parser::default(), BytesMut::new(), Vec::new());
    let mut rest = bytes;
    while !rest.is_empty() {
        let (piece, behind) = rest.split_at(cut().clamp(1, rest.len()));
        rest = behind;
        input.extend_from_slice(piece);
        loop {
            let read = parser.next(&mut input, limits);
            // What is kept is of the size of what has come.
            assert!(parser.memory() <= 64 + 32 * bytes.len(), "{} bytes are kept", parser.memory());
            match read {
                Ok(Some(args)) => commands.push(args),
                Ok(None) => break,
                Err(error) => return (commands, Some(error.to_string())),
            }
        }
    }
    (commands, None)
}

#[test]
fn requests_are_read_alike_however_they_are_cut() {
    let lines = lines();
    let mut rounds = Rounds::new("requests", 3_000);
    let (mut commands, mut errors) = (0_u64, 0_u64);
    while let Some(mut random) = rounds.next() {
        let bytes = traffic(&mut random, &lines);
        let limits =
            Limits { authenticated: random.random_bool(0.8), bulk_bytes_max: *pick(&mut random, &[512 << 20, 100]) };
        let most = *pick(&mut random, &[1, 3, 50, 1_000]);
        let what = || format!("in pieces of {most}, {limits:?}: {}", bytes.escape_ascii());
        let read = rounds.step(&bytes, what, || {
            let whole = parse(&bytes, &limits, || bytes.len());
            let pieces = parse(&bytes, &limits, || random.random_range(1..=most));
            assert!(whole == pieces || bytes.len() > LINE_BYTES_MAX);
            assert!(whole.0.iter().flatten().map(Bytes::len).sum::<usize>() <= bytes.len());
            whole
        });
        if let Some((read, error)) = read {
            commands += read.len() as u64;
            errors += u64::from(error.is_some());
        }
    }
    rounds.end(&format!("{commands} commands, {errors} errors"));
}

/// Replies that stand one behind the other: how many, or why they do not.
fn replies(bytes: &[u8]) -> Result<u64, String> {
    let (mut at, mut count, mut open) = (0, 0, Vec::<u64>::new());
    while at < bytes.len() {
        let from = at;
        let wrong = |why: &str| format!("{why} at {from} of {}", bytes.escape_ascii());
        let end =
            memchr::memchr(b'\r', &bytes[at..]).map(|found| at + found).ok_or_else(|| wrong("no end of a line"))?;
        if bytes.get(end + 1) != Some(&b'\n') {
            return Err(wrong("a carriage return alone"));
        }
        let (kind, text) = (bytes[at], &bytes[at + 1..end]);
        if text.contains(&b'\n') {
            return Err(wrong("a line feed alone"));
        }
        let number = || {
            std::str::from_utf8(text).ok().and_then(|text| text.parse::<i64>().ok()).ok_or_else(|| wrong("no number"))
        };
        at = end + 2;
        let parts = match kind {
            b'+' | b'-' | b'_' | b'#' | b',' | b'(' => 0,
            b':' => number().map(|_| 0)?,
            b'$' | b'=' | b'!' => {
                if let Ok(length) = usize::try_from(number()?) {
                    at += length + 2;
                    if bytes.get(at - 2..at) != Some(b"\r\n") {
                        return Err(format!(
                            "a text of {length} bytes has no end before {at} of {}",
                            bytes.escape_ascii()
                        ));
                    }
                }
                0
            }
            b'*' | b'~' | b'>' => u64::try_from(number()?).unwrap_or(0),
            b'%' => 2 * u64::try_from(number()?).unwrap_or(0),
            // Attributes: the reply that they are about follows.
            b'|' => 2 * u64::try_from(number()?).unwrap_or(0) + 1,
            _ => return Err(format!("no reply begins with {kind} before {at} of {}", bytes.escape_ascii())),
        };
        if parts > 0 {
            open.push(parts);
            continue;
        }
        loop {
            match open.last_mut() {
                None => {
                    count += 1;
                    break;
                }
                Some(1) => drop(open.pop()),
                Some(left) => {
                    *left -= 1;
                    break;
                }
            }
        }
    }
    if open.is_empty() { Ok(count) } else { Err(format!("an array has no end: {}", bytes.escape_ascii())) }
}

#[test]
fn a_door_takes_whatever_comes() {
    let lines = lines();
    let mut rounds = Rounds::new("door", 400);
    let (answered, sent) = (Cell::new(0), Cell::new(0));
    while let Some(mut random) = rounds.next() {
        let bytes = traffic(&mut random, &lines);
        let most = *pick(&mut random, &[1, 10, 300, 100_000]);
        let what = || format!("in pieces of up to {most}: {}", bytes.escape_ascii());
        sent.set(sent.get() + bytes.len());
        rounds.step(&bytes, what, || {
            // The tasks of a door end with it.
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let stop = CancellationToken::new();
                let door = twin::door(6379, None, RespOptions::default(), stop.clone()).unwrap();
                let (ours, theirs) = tokio::io::duplex(1 << 16);
                let session = door.attach(Box::new(theirs));
                let (mut output, mut input) = tokio::io::split(ours);
                let reader = tokio::spawn(async move {
                    let mut bytes = Vec::new();
                    output.read_to_end(&mut bytes).await.map(|_| bytes)
                });
                let mut rest = &bytes[..];
                while !rest.is_empty() {
                    let (piece, behind) = rest.split_at(random.random_range(1..=most).min(rest.len()));
                    rest = behind;
                    // The door may have closed it.
                    if input.write_all(piece).await.is_err() {
                        break;
                    }
                }
                drop(input.shutdown().await);
                tokio::time::timeout(PATIENCE, session).await.expect("it has not ended").expect("it has panicked");
                let bytes = tokio::time::timeout(PATIENCE, reader).await.unwrap().unwrap().unwrap();
                answered.set(answered.get() + replies(&bytes).unwrap());
                // Another client finds the door open, whatever was set.
                let (mut other, theirs) = tokio::io::duplex(1 << 16);
                drop(door.attach(Box::new(theirs)));
                other.write_all(b"*1\r\n$4\r\nQUIT\r\n").await.unwrap();
                let mut last = Vec::new();
                tokio::time::timeout(PATIENCE, other.read_to_end(&mut last)).await.expect("no answer to QUIT").unwrap();
                assert_eq!(last, b"+OK\r\n");
                stop.cancel();
                door.close();
            });
        });
    }
    rounds.end(&format!("{} bytes, {} replies", sent.get(), answered.get()));
}
