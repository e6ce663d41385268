//! Rounds of a fuzzer, and what it makes its input from. The door has one of its own with the same.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::words;

/// No input may take so long, not even in a slow build on a busy machine.
const HANG: Duration = Duration::from_secs(120);

/// How much is tried.
pub(super) struct Rounds {
    name: &'static str,
    until: Option<Instant>,
    short: u64,
    seed: u64,
    pub(super) begun: u64,
    running: Arc<Mutex<(Instant, Vec<u8>)>>,
    pub(super) failures: Vec<String>,
}

impl Rounds {
    /// `short` rounds, or as many as the environment gives time for.
    pub(super) fn new(name: &'static str, short: u64) -> Self {
        let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
        let until = number("PERIGEE_FUZZ_SECONDS").map(|seconds| Instant::now() + Duration::from_secs(seconds));
        let running = Arc::new(Mutex::new((Instant::now(), Vec::new())));
        let watched = Arc::downgrade(&running);
        std::thread::spawn(move || {
            while let Some(running) = watched.upgrade() {
                let (since, what) =
                    running.lock().map(|running| running.clone()).unwrap_or((Instant::now(), Vec::new()));
                if since.elapsed() > HANG {
                    eprintln!("{name} hangs in: {}", what.escape_ascii());
                    std::process::exit(101);
                }
                drop(running);
                std::thread::sleep(Duration::from_secs(1));
            }
        });
        let seed = number("PERIGEE_FUZZ_SEED").unwrap_or(1);
        Self { name, until, short, seed, begun: 0, running, failures: Vec::new() }
    }

    /// The random numbers of the next round; `None` behind the last.
    pub(super) fn next(&mut self) -> Option<SmallRng> {
        let goes_on = match self.until {
            Some(until) => Instant::now() < until && self.failures.len() < 20,
            None => self.begun < self.short,
        };
        self.begun += u64::from(goes_on);
        let seed = self.seed.wrapping_mul(1 << 32).wrapping_add(self.begun);
        goes_on.then(|| SmallRng::seed_from_u64(seed))
    }

    /// Runs a step over `input`; a panic is kept, with what `what` says of it.
    pub(super) fn step<T>(&mut self, input: &[u8], what: impl Fn() -> String, run: impl FnOnce() -> T) -> Option<T> {
        if let Ok(mut running) = self.running.lock() {
            running.0 = Instant::now();
            running.1.clear();
            running.1.extend_from_slice(input);
        }
        match catch_unwind(AssertUnwindSafe(run)) {
            Ok(value) => Some(value),
            Err(_) => {
                let failure = format!("round {}: panicked: {}", self.begun, what());
                // At once: the rest may take long.
                eprintln!("{failure}");
                self.failures.push(failure);
                None
            }
        }
    }

    /// Says what was done; fails when something has.
    pub(super) fn end(self, counts: &str) {
        println!("{}: {} rounds, {counts}, {} MB at most", self.name, self.begun, peak_bytes() >> 20);
        assert!(self.failures.is_empty(), "{}", self.failures.join("\n"));
    }
}

/// The most memory that this process has held.
fn peak_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or(0) << 10
}

/// Command lines that mean something.
pub(super) fn corpus() -> Vec<Vec<Vec<u8>>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/redis/differential/scripts");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let mut lines = Vec::new();
    for file in files {
        for line in std::fs::read_to_string(file).unwrap().lines() {
            let mut rest = line.trim();
            while let Some(directive) = rest.strip_prefix('@') {
                let takes = ["conn", "near", "replies"].iter().any(|name| directive.starts_with(name));
                rest = directive.split_once(' ').map_or("", |(_, behind)| behind);
                rest = if takes { rest.split_once(' ').map_or("", |(_, behind)| behind) } else { rest };
            }
            let command = rest.split(" => ").next().unwrap_or_default();
            if command.is_empty() || command.starts_with(['#', '"', '$']) {
                continue;
            }
            lines.push(words(command));
        }
    }
    assert!(lines.len() > 3_000, "{} lines", lines.len());
    lines
}

/// Words that commands know, and values at their limits.
pub(super) const WORDS: &[&str] = &[
    "",
    "0",
    "1",
    "-1",
    "2",
    "-2",
    "10",
    "100",
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775808",
    "18446744073709551615",
    "4294967295",
    "4294967296",
    "2147483647",
    "-2147483648",
    "1000000",
    "-1000000",
    "0.1",
    "-0",
    "1e308",
    "1e-320",
    "inf",
    "-inf",
    "+inf",
    "nan",
    "(1",
    "(inf",
    "[a",
    "(a",
    "[",
    "(",
    "-",
    "+",
    "*",
    "$",
    ">",
    "0-0",
    "0-1",
    "1-1",
    "18446744073709551615-18446744073709551615",
    "5-*",
    "=",
    "~",
    "MAXLEN",
    "MINID",
    "LIMIT",
    "COUNT",
    "BLOCK",
    "STREAMS",
    "NX",
    "XX",
    "GT",
    "LT",
    "CH",
    "INCR",
    "EX",
    "PX",
    "EXAT",
    "PXAT",
    "KEEPTTL",
    "GET",
    "PERSIST",
    "WITHSCORES",
    "WITHVALUES",
    "WITHSCORE",
    "BYSCORE",
    "BYLEX",
    "REV",
    "AGGREGATE",
    "WEIGHTS",
    "SUM",
    "MIN",
    "MAX",
    "STORE",
    "STOREDIST",
    "ASC",
    "DESC",
    "ALPHA",
    "BY",
    "MATCH",
    "TYPE",
    "NOVALUES",
    "FIELDS",
    "FNX",
    "FXX",
    "LEFT",
    "RIGHT",
    "BEFORE",
    "AFTER",
    "RANK",
    "REPLACE",
    "ABSTTL",
    "IDLETIME",
    "FREQ",
    "DB",
    "ASYNC",
    "IDX",
    "LEN",
    "MINMATCHLEN",
    "WITHMATCHLEN",
    "FROMMEMBER",
    "FROMLONLAT",
    "BYRADIUS",
    "BYBOX",
    "m",
    "km",
    "WITHDIST",
    "WITHCOORD",
    "WITHHASH",
    "ANY",
    "u8",
    "i64",
    "u63",
    "u64",
    "i65",
    "#1",
    "SET",
    "INCRBY",
    "OVERFLOW",
    "SAT",
    "FAIL",
    "WRAP",
    "BYTE",
    "BIT",
    "AND",
    "OR",
    "XOR",
    "NOT",
    "GROUP",
    "NOACK",
    "MKSTREAM",
    "ENTRIESREAD",
    "LASTID",
    "IDLE",
    "TIME",
    "RETRYCOUNT",
    "FORCE",
    "JUSTID",
    "FULL",
    "RETENTION",
    "LABELS",
    "AGGREGATION",
    "avg",
    "twa",
    "count",
    "ALIGN",
    "BUCKETTIMESTAMP",
    "EMPTY",
    "FILTER",
    "a=b",
    "a!=",
    "a=(b,c)",
    "GROUPBY",
    "REDUCE",
    "FILTER_BY_TS",
    "FILTER_BY_VALUE",
    "LATEST",
    "WITHLABELS",
    "SELECTED_LABELS",
    "DUPLICATE_POLICY",
    "ON_DUPLICATE",
    "LAST",
    "CHUNK_SIZE",
    "ENCODING",
    "k",
    "l",
    "s",
    "z",
    "h",
    "st",
    "a",
    "b",
    "c",
    "m1",
    "\u{0}",
    "\u{ff}é",
    "{k}x",
    "__proto__",
];

/// One of several.
pub(super) fn pick<'a, T>(random: &mut SmallRng, items: &'a [T]) -> &'a T {
    &items[random.random_range(0..items.len())]
}

/// Bytes with some of them changed.
pub(super) fn mutate(random: &mut SmallRng, bytes: &mut Vec<u8>) {
    const ODD: &[u8] = &[0, 1, 0x7f, 0x80, 0x81, 0xc0, 0xe0, 0xf0, 0xf1, 0xf2, 0xf3, 0xf4, 0xfe, 0xff];
    for _ in 0..random.random_range(1..4) {
        let at = random.random_range(0..=bytes.len());
        match random.random_range(0..8) {
            0 if at < bytes.len() => bytes[at] ^= 1 << random.random_range(0..8),
            1 if at < bytes.len() => bytes[at] = random.random(),
            2 if at < bytes.len() => bytes[at] = *pick(random, ODD),
            3 => bytes.truncate(at),
            4 => bytes.insert(at, *pick(random, ODD)),
            5 if at < bytes.len() => drop(bytes.remove(at)),
            6 => {
                let from = random.random_range(0..=at);
                let part = bytes[from..at].to_vec();
                bytes.splice(from..from, part.iter().copied().take(4_096));
            }
            7 => {
                let end = (at + random.random_range(1..9)).min(bytes.len());
                for byte in &mut bytes[at..end] {
                    *byte = *pick(random, ODD);
                }
            }
            _ => bytes.push(random.random()),
        }
    }
}
