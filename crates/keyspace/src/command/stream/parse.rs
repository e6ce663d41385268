//! What the commands of streams share: reading ids and options, writing entries, and their errors.

use bytes::Bytes;
use rustc_hash::FxHashSet;

use crate::args::{self, is};
use crate::object::Object;
use crate::object::stream::{BlockLimits, Entry, Id, Stream};
use crate::room::Room;
use crate::{Error, Reply, Result, State};

pub(super) const INVALID_ID: Error =
    Error::Reply(std::borrow::Cow::Borrowed("ERR Invalid stream ID specified as stream command argument"));

/// A number of 64 bits without sign, as in ids.
fn parse_unsigned(text: &[u8]) -> Option<u64> {
    let digits = text.strip_prefix(b"+").unwrap_or(text);
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// `ms` or `ms-seq`; without `seq` it is `seq_missing`.
pub(super) fn parse_id(text: &[u8], seq_missing: u64) -> Option<Id> {
    match text.iter().position(|byte| *byte == b'-') {
        Some(dash) => {
            let (ms, seq) = (text.get(..dash)?, text.get(dash + 1..)?);
            Some(Id { ms: parse_unsigned(ms)?, seq: parse_unsigned(seq)? })
        }
        None => Some(Id { ms: parse_unsigned(text)?, seq: seq_missing }),
    }
}

/// An id that must be written out.
pub(super) fn id(text: &[u8]) -> Result<Id> {
    parse_id(text, 0).ok_or(INVALID_ID)
}

/// The same for many, all before the first change.
pub(super) fn ids(args: &[Bytes]) -> Result<Vec<Id>> {
    args.iter().map(|arg| id(arg)).collect()
}

/// One end of a range: an id, `-`, `+`, or `(` and an id that is not in it.
fn bound(text: &[u8], seq_missing: u64) -> Result<(Id, bool)> {
    match text {
        b"-" => Ok((Id::MIN, false)),
        b"+" => Ok((Id::MAX, false)),
        [b'(', rest @ ..] if !rest.is_empty() => Ok((parse_id(rest, seq_missing).ok_or(INVALID_ID)?, true)),
        text => Ok((parse_id(text, seq_missing).ok_or(INVALID_ID)?, false)),
    }
}

/// Where a range begins.
pub(super) fn start(text: &[u8]) -> Result<Id> {
    match bound(text, 0)? {
        (id, true) => id.next().ok_or(Error::reply("ERR invalid start ID for the interval")),
        (id, false) => Ok(id),
    }
}

/// Where a range ends.
pub(super) fn end(text: &[u8]) -> Result<Id> {
    match bound(text, u64::MAX)? {
        (id, true) => id.previous().ok_or(Error::reply("ERR invalid end ID for the interval")),
        (id, false) => Ok(id),
    }
}

/// A group or its key is absent.
pub(super) fn no_group(key: &[u8], group: &[u8], tail: &str) -> Error {
    let (key, group) = (String::from_utf8_lossy(key), String::from_utf8_lossy(group));
    Error::reply(format!("NOGROUP No such key '{key}' or consumer group '{group}'{tail}"))
}

/// The group is absent from a stream that is there.
pub(super) fn no_such_group(key: &[u8], group: &[u8]) -> Error {
    let (key, group) = (String::from_utf8_lossy(key), String::from_utf8_lossy(group));
    Error::reply(format!("NOGROUP No such consumer group '{group}' for key name '{key}'"))
}

/// The arguments of a subcommand do not fit together.
pub(super) fn wrong_subcommand(command: &str, subcommand: &[u8]) -> Error {
    let subcommand: String = String::from_utf8_lossy(subcommand).chars().take(128).collect();
    Error::reply(format!("ERR unknown subcommand or wrong number of arguments for '{subcommand}'. Try {command} HELP."))
}

pub(super) fn id_reply(id: Id) -> Reply {
    Reply::bulk(id.to_string())
}

/// An entry: its id and its fields with their values in turn.
pub(super) fn entry_reply(entry: &Entry<'_>) -> Reply {
    let fields = entry.fields().flat_map(|(name, value)| [Reply::bulk(name), Reply::bulk(value)]).collect();
    Reply::Array(vec![id_reply(entry.id), Reply::Array(fields)])
}

/// Whether there is room for what is asked for again where a stream is named more than once.
///
/// # Errors
/// What the client is told where there is none.
pub(super) fn repeats_fit<'a>(keys: &[Bytes], stream: impl Fn(&Bytes) -> Result<Option<&'a Stream>>) -> Result<()> {
    let (mut seen, mut room) = (FxHashSet::default(), Room::default());
    for key in keys {
        if !seen.insert(key) {
            room.take(stream(key)?.map_or(0, Object::memory))?;
        }
    }
    Ok(())
}

pub(super) fn limits(state: &State) -> BlockLimits {
    BlockLimits {
        entries: state.settings.number("stream-node-max-entries", 100),
        bytes: state.settings.number("stream-node-max-bytes", 4096),
    }
}

/// The milliseconds of BLOCK.
pub(super) fn timeout_ms(text: &[u8]) -> Result<u64> {
    let wrong = Error::reply("ERR timeout is not an integer or out of range");
    let timeout = args::parse_integer(text).ok_or(wrong)?;
    u64::try_from(timeout).map_err(|_| Error::reply("ERR timeout is negative"))
}

/// What XREAD and XREADGROUP were called with.
#[derive(Debug, Default)]
pub(super) struct Read<'a> {
    pub(super) block_ms: Option<u64>,
    /// 0 for all.
    pub(super) count: usize,
    pub(super) group: Option<(&'a Bytes, &'a Bytes)>,
    pub(super) no_ack: bool,
    /// The first key; as many ids as keys stand behind the keys.
    pub(super) keys_at: usize,
    pub(super) keys: &'a [Bytes],
    pub(super) ids: &'a [Bytes],
}

impl<'a> Read<'a> {
    /// Reads the arguments of one of the two.
    pub(super) fn parse(args: &'a [Bytes], is_group: bool) -> Result<Read<'a>> {
        let mut read = Read::default();
        let mut at = 1;
        while let Some(word) = args.get(at) {
            let more = args.len() - at - 1;
            if is(word, "block") && more > 0 {
                read.block_ms = Some(timeout_ms(&args[at + 1])?);
                at += 2;
            } else if is(word, "count") && more > 0 {
                read.count = usize::try_from(args::integer(&args[at + 1])?).unwrap_or(0);
                at += 2;
            } else if is(word, "streams") && more > 0 {
                read.keys_at = at + 1;
                let streams = &args[at + 1..];
                if !streams.len().is_multiple_of(2) {
                    let (name, ids) = if is_group { ("xreadgroup", "ID or '>'") } else { ("xread", "ID, '+', or '$'") };
                    let text = format!(
                        "ERR Unbalanced '{name}' list of streams: for each stream key an {ids} must be specified."
                    );
                    return Err(Error::reply(text));
                }
                (read.keys, read.ids) = streams.split_at(streams.len() / 2);
                break;
            } else if is(word, "group") && more >= 2 {
                if !is_group {
                    return Err(only_by_xreadgroup("GROUP"));
                }
                read.group = Some((&args[at + 1], &args[at + 2]));
                at += 3;
            } else if is(word, "noack") {
                if !is_group {
                    return Err(only_by_xreadgroup("NOACK"));
                }
                read.no_ack = true;
                at += 1;
            } else {
                return Err(Error::SYNTAX);
            }
        }
        if read.keys_at == 0 {
            return Err(Error::SYNTAX);
        }
        Ok(read)
    }

    /// At most so many entries of each stream.
    pub(super) fn count_max(&self) -> usize {
        if self.count == 0 { usize::MAX } else { self.count }
    }
}

fn only_by_xreadgroup(option: &str) -> Error {
    Error::reply(format!("ERR The {option} option is only supported by XREADGROUP. You called XREAD instead."))
}

/// The streams of a reply: a map in RESP3, pairs in an array in RESP2.
pub(super) fn streams_reply(streams: Vec<(Reply, Reply)>, resp3: bool) -> Reply {
    if resp3 {
        return Reply::Map(streams);
    }
    Reply::Array(streams.into_iter().map(|(key, entries)| Reply::Array(vec![key, entries])).collect())
}
