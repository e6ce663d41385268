//! LCS key1 key2 [LEN] [IDX] [MINMATCHLEN min-match-len] [WITHMATCHLEN]

use bytes::Bytes;

use crate::args::Cursor;
use crate::object::{Object, Str};
use crate::spec::{Category, Flags, Group, KeyFlags, KeySpec, Run, Spec};
use crate::{Error, Reader, Reply, Result};

/// LCS
pub(super) static LCS: Spec = Spec {
    name: "lcs",
    arity: -3,
    flags: Flags::READONLY,
    category: Category::STRING,
    keys: &[KeySpec::range(1, 1, 1, KeyFlags::RO.union(KeyFlags::ACCESS))],
    group: Group::String,
    since: "7.0.0",
    summary: "The longest common subsequence of two strings",
    run: Run::Read(lcs),
    ..Spec::DEFAULT
};

/// Bytes of the table of lengths, unless `proto-max-bulk-len` says another.
const TABLE_BYTES_MAX: i64 = 512 << 20;

/// A run that both strings share: the first and the last index in each.
#[derive(Clone, Copy, Debug)]
struct Match {
    a: (usize, usize),
    b: (usize, usize),
}

fn lcs(reader: &Reader<'_>, args: &[Bytes]) -> Result<Reply> {
    let string = |key: &[u8]| match reader.value(key)? {
        Some(value) => {
            let other = Error::reply("ERR The specified keys must contain string values");
            Str::of(value).map(Str::to_bytes).ok_or(other)
        }
        None => Ok(Bytes::new()),
    };
    let (a, b) = (string(&args[1])?, string(&args[2])?);
    let (mut only_length, mut with_indexes, mut with_lengths, mut length_min) = (false, false, false, 0);
    let mut rest = Cursor::new(&args[3..]);
    while !rest.is_empty() {
        if rest.take("idx") {
            with_indexes = true;
        } else if rest.take("len") {
            only_length = true;
        } else if rest.take("withmatchlen") {
            with_lengths = true;
        } else if rest.rest().len() > 1 && rest.take("minmatchlen") {
            length_min = rest.integer()?.max(0);
        } else {
            return Err(Error::SYNTAX);
        }
    }
    if only_length && with_indexes {
        return Err(Error::reply("ERR If you want both the length and indexes, please just use IDX."));
    }
    let table_bytes = (a.len() as u64 + 1).saturating_mul(b.len() as u64 + 1).saturating_mul(4);
    let max = reader.state().settings.number("proto-max-bulk-len", TABLE_BYTES_MAX);
    if i64::try_from(table_bytes).map_or(true, |bytes| bytes > max) {
        return Err(Error::reply("ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len"));
    }
    let (common, matches) = solve(&a, &b);
    if only_length {
        return Ok(Reply::count(common.len()));
    }
    if !with_indexes {
        return Ok(Reply::Bulk(common.into()));
    }
    let pair = |(first, last): (usize, usize)| Reply::Array(vec![Reply::count(first), Reply::count(last)]);
    let one = |found: &Match| {
        let length = found.a.1 - found.a.0 + 1;
        let mut parts = vec![pair(found.a), pair(found.b)];
        if with_lengths {
            parts.push(Reply::count(length));
        }
        (length as i64 >= length_min).then_some(Reply::Array(parts))
    };
    let matches = matches.iter().filter_map(one).collect();
    let length = Reply::count(common.len());
    Ok(Reply::Map(vec![(Reply::bulk("matches"), Reply::Array(matches)), (Reply::bulk("len"), length)]))
}

/// The subsequence, and its runs from the last to the first.
fn solve(a: &[u8], b: &[u8]) -> (Vec<u8>, Vec<Match>) {
    let width = b.len() + 1;
    // lengths[i * width + j]: of the first i bytes of one and the first j of the other.
    let mut lengths = vec![0_u32; (a.len() + 1) * width];
    for (i, byte) in a.iter().enumerate() {
        for (j, other) in b.iter().enumerate() {
            lengths[(i + 1) * width + j + 1] = if byte == other {
                lengths[i * width + j] + 1
            } else {
                lengths[i * width + j + 1].max(lengths[(i + 1) * width + j])
            };
        }
    }
    let (mut i, mut j) = (a.len(), b.len());
    let (mut common, mut matches) = (Vec::new(), Vec::<Match>::new());
    while i > 0 && j > 0 {
        if a[i - 1] == b[j - 1] {
            (i, j) = (i - 1, j - 1);
            common.push(a[i]);
            match matches.last_mut() {
                Some(run) if run.a.0 == i + 1 && run.b.0 == j + 1 => (run.a.0, run.b.0) = (i, j),
                _ => matches.push(Match { a: (i, i), b: (j, j) }),
            }
        } else if lengths[(i - 1) * width + j] > lengths[i * width + j - 1] {
            i -= 1;
        } else {
            j -= 1;
        }
    }
    common.reverse();
    (common, matches)
}
