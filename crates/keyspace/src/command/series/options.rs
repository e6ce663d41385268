//! Options of TS.CREATE and of what creates a series on the way.

use bytes::Bytes;

use super::{find, time};
use crate::args::{is, parse_float, parse_integer};
use crate::object::{DuplicatePolicy, Label, SeriesOptions};
use crate::{Error, Result};

/// What was given; the rest is left as it is.
pub(super) fn parse(args: &[Bytes], options: &mut SeriesOptions, command: &str) -> Result<()> {
    // Labels take all that is behind them.
    let (args, given) = match find(args, "labels") {
        Some(at) => (&args[..at], Some(&args[at + 1..])),
        None => (args, None),
    };
    if let Some(given) = given {
        options.labels = labels(given)?;
    }
    if let Some(at) = find(args, "retention") {
        let retention = args.get(at + 1).and_then(|text| time(text));
        options.retention_ms = retention.ok_or(Error::reply("ERR TSDB: Couldn't parse RETENTION"))?;
    }
    if let Some(at) = find(args, "chunk_size") {
        options.chunk_bytes = chunk(args.get(at + 1))?;
    }
    match find(args, "encoding") {
        Some(at) => match args.get(at + 1) {
            Some(word) if is(word, "compressed") => options.is_compressed = true,
            Some(word) if is(word, "uncompressed") => options.is_compressed = false,
            Some(_) => return Err(Error::reply("ERR TSDB: unknown ENCODING parameter")),
            None => return Err(crate::error::wrong_arity(command)),
        },
        None if find(args, "uncompressed").is_some() => options.is_compressed = false,
        None => {}
    }
    if let Some(policy) = policy(args, "duplicate_policy")? {
        options.policy = Some(policy);
    }
    if let Some(at) = find(args, "ignore") {
        let wrong = || Error::reply("ERR TSDB: Couldn't parse IGNORE");
        let ms = args.get(at + 1).and_then(|text| time(text)).ok_or_else(wrong)?;
        let value = args.get(at + 2).and_then(|text| parse_float(text)).filter(|value| *value >= 0.0);
        options.ignore = (ms, value.ok_or_else(wrong)?);
    }
    Ok(())
}

/// The policy behind a word.
pub(super) fn policy(args: &[Bytes], word: &str) -> Result<Option<DuplicatePolicy>> {
    let Some(at) = find(args, word) else { return Ok(None) };
    let name = args.get(at + 1).ok_or(Error::reply("ERR TSDB: Couldn't parse DUPLICATE_POLICY"))?;
    DuplicatePolicy::parse(name).map(Some).ok_or(Error::reply("ERR TSDB: Unknown DUPLICATE_POLICY"))
}

fn chunk(text: Option<&Bytes>) -> Result<i64> {
    let bytes = text.and_then(|text| parse_integer(text)).ok_or(Error::reply("ERR TSDB: Couldn't parse CHUNK_SIZE"))?;
    if !(48..=1_048_576).contains(&bytes) || bytes % 8 != 0 {
        return Err(Error::reply("ERR TSDB: CHUNK_SIZE value must be a multiple of 8 in the range [48 .. 1048576]"));
    }
    Ok(bytes)
}

fn labels(given: &[Bytes]) -> Result<Vec<Label>> {
    let wrong = || Error::reply("ERR TSDB: Couldn't parse LABELS");
    let (pairs, odd) = given.as_chunks::<2>();
    if !odd.is_empty() {
        return Err(wrong());
    }
    let mut labels: Vec<Label> = Vec::with_capacity(pairs.len());
    for [name, value] in pairs {
        if name.is_empty() || value.is_empty() || value.iter().any(|byte| b"(),".contains(byte)) {
            return Err(wrong());
        }
        // A name stands once.
        if labels.iter().any(|(label, _)| label == name) {
            return Err(wrong());
        }
        labels.push((Bytes::copy_from_slice(name), Bytes::copy_from_slice(value)));
    }
    Ok(labels)
}
