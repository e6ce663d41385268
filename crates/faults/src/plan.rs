//! What the environment asks for.

use std::env;
use std::ffi::{CString, OsString};
use std::os::unix::ffi::OsStringExt as _;

/// A kind of call, as it is named in `PERIGEE_FAULTS_FAIL`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Open,
    Write,
    Sync,
    Rename,
    Unlink,
}

/// One rule of `PERIGEE_FAULTS_FAIL`.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) operation: Operation,
    pub(crate) error: libc::c_int,
    /// The first call that fails, from 1.
    pub(crate) from: u64,
    /// A part of the paths concerned; empty for all.
    pub(crate) part: Vec<u8>,
}

/// Everything asked for.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// With a `/` at its end; empty when there is nothing to do.
    pub(crate) dir: Vec<u8>,
    pub(crate) record: Option<CString>,
    /// The point to be killed at, from 1, and a part of the paths that count; empty for all.
    pub(crate) kill_at: Option<(u64, Vec<u8>)>,
    pub(crate) failures: Vec<Failure>,
    pub(crate) slow_sync_ms: u64,
    /// Free space that every file system has.
    pub(crate) free_bytes: Option<u64>,
    pub(crate) only_while: Option<CString>,
    /// After this many milliseconds, by this many.
    pub(crate) clock_jump: Option<(u64, i64)>,
}

impl Plan {
    pub(crate) fn from_environment() -> Self {
        let get = |name: &str| env::var_os(format!("PERIGEE_FAULTS_{name}")).map(OsString::into_vec);
        let text = |name: &str| get(name).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        let path = |name: &str| get(name).and_then(|bytes| CString::new(bytes).ok());
        let kill_at = text("KILL_AT").map(|text| must(point(&text), "KILL_AT", &text));
        let number = |name: &str| text(name).map(|text| must(text.parse().ok(), name, &text));
        let mut dir = get("DIR").unwrap_or_default();
        if !dir.is_empty() && !dir.ends_with(b"/") {
            dir.push(b'/');
        }
        let rules = text("FAIL").unwrap_or_default();
        Self {
            dir,
            record: path("RECORD"),
            kill_at,
            failures: rules
                .split(',')
                .filter(|rule| !rule.is_empty())
                .map(|rule| must(failure(rule), "FAIL", rule))
                .collect(),
            slow_sync_ms: number("SLOW_SYNC_MS").unwrap_or_default(),
            free_bytes: number("FREE"),
            only_while: path("WHILE"),
            clock_jump: text("CLOCK_JUMP").map(|text| must(jump(&text), "CLOCK_JUMP", &text)),
        }
    }
}

fn point(text: &str) -> Option<(u64, Vec<u8>)> {
    let (number, part) = text.split_once(':').unwrap_or((text, ""));
    Some((number.parse().ok()?, part.as_bytes().to_vec()))
}

fn failure(rule: &str) -> Option<Failure> {
    let mut parts = rule.splitn(4, ':');
    let operation = match parts.next()? {
        "open" => Operation::Open,
        "write" => Operation::Write,
        "sync" => Operation::Sync,
        "rename" => Operation::Rename,
        "unlink" => Operation::Unlink,
        _ => return None,
    };
    let error = match parts.next()? {
        "EIO" => libc::EIO,
        "ENOSPC" => libc::ENOSPC,
        _ => return None,
    };
    let from = parts.next()?.parse().ok()?;
    Some(Failure { operation, error, from, part: parts.next().unwrap_or_default().as_bytes().to_vec() })
}

fn jump(text: &str) -> Option<(u64, i64)> {
    let (after, by) = text.split_once(':')?;
    Some((after.parse().ok()?, by.parse().ok()?))
}

/// A test that misspells its fault must not pass for want of it.
fn must<T>(value: Option<T>, name: &str, text: &str) -> T {
    value.unwrap_or_else(|| {
        crate::system::message(&format!("perigee-faults: PERIGEE_FAULTS_{name}: cannot read {text:?}\n"));
        std::process::abort()
    })
}
