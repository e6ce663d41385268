//! XTRIM key <MAXLEN | MINID> [= | ~] threshold [LIMIT count]

use bytes::Bytes;

use super::parse;
use crate::args::{self, is};
use crate::effects::EventClass;
use crate::object::stream::{Id, Keep, Stream, Trim};
use crate::spec::{Category, Flags, Group, KeyFlags, KeySpec, Run, Spec};
use crate::{Error, Reply, Result, State, Writer};

/// XTRIM
pub(super) static XTRIM: Spec = Spec {
    name: "xtrim",
    arity: -4,
    flags: Flags::WRITE,
    category: Category::STREAM,
    keys: &[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::DELETE))],
    group: Group::Stream,
    since: "5.0.0",
    summary: "Removes entries from the front of a stream",
    run: Run::Write(xtrim),
    ..Spec::DEFAULT
};

fn xtrim(writer: &mut Writer<'_>, args: &[Bytes]) -> Result<Reply> {
    let options = Options::parse(args, false, writer.state())?;
    let Some(trim) = options.trim else { return Err(Error::SYNTAX) };
    let key = &args[1];
    match writer.get::<Stream>(key)? {
        Some(stream) if removes(stream, &trim) => {}
        _ => return Ok(Reply::Integer(0)),
    }
    let removed = writer.get_mut::<Stream>(key)?.map_or(0, |stream| stream.trim(&trim));
    writer.notify(EventClass::STREAM, "xtrim", key);
    Ok(Reply::Integer(removed.cast_signed()))
}

/// Whether a trim would remove something, without changing it.
fn removes(stream: &Stream, trim: &Trim) -> bool {
    let due = match trim.keep {
        Keep::Count(max) => stream.count() > max,
        Keep::From(id) => stream.count() > 0 && stream.first() < id,
    };
    // Only trimming itself knows for whole blocks; a copy of the map of blocks is cheap beside a change for nothing.
    due && (!trim.approximately || stream.clone().trim(trim) > 0)
}

/// What XADD and XTRIM have in common.
#[derive(Debug)]
pub(super) struct Options {
    pub(super) trim: Option<Trim>,
    pub(super) no_make: bool,
    /// The id of XADD: ms and seq, where they are given.
    pub(super) id: Option<(u64, Option<u64>)>,
    /// Where that id stands.
    pub(super) at: usize,
}

impl Options {
    pub(super) fn parse(args: &[Bytes], is_add: bool, state: &State) -> Result<Options> {
        let mut options = Options { trim: None, no_make: false, id: None, at: 2 };
        let mut limit = None;
        while let Some(word) = args.get(options.at) {
            let more = args.len() - options.at - 1;
            if is_add && &**word == b"*" {
                break;
            } else if (is(word, "maxlen") || is(word, "minid")) && more > 0 {
                if options.trim.is_some() {
                    let text = "ERR syntax error, MAXLEN and MINID options at the same time are not compatible";
                    return Err(Error::reply(text));
                }
                let approximately = more >= 2 && &*args[options.at + 1] == b"~";
                let exactly = more >= 2 && &*args[options.at + 1] == b"=";
                options.at += 1 + usize::from(approximately || exactly);
                let threshold = &args[options.at];
                let keep = if is(word, "maxlen") {
                    let max = args::integer(threshold)?;
                    Keep::Count(u64::try_from(max).map_err(|_| Error::reply("ERR The MAXLEN argument must be >= 0."))?)
                } else {
                    Keep::From(parse::id(threshold)?)
                };
                options.trim = Some(Trim { keep, approximately, limit: 0 });
            } else if is(word, "limit") && more > 0 {
                let count = args::integer(&args[options.at + 1])?;
                limit = Some(u64::try_from(count).map_err(|_| Error::reply("ERR The LIMIT argument must be >= 0."))?);
                options.at += 1;
            } else if is_add && is(word, "nomkstream") {
                options.no_make = true;
            } else if is_add {
                options.id = Some(parse_new_id(word)?);
                break;
            } else {
                return Err(Error::SYNTAX);
            }
            options.at += 1;
        }
        if limit.is_some_and(|limit| limit > 0) && options.trim.is_none() {
            let text = "ERR syntax error, LIMIT cannot be used without specifying a trimming strategy";
            return Err(Error::reply(text));
        }
        if !is_add && options.trim.is_none() {
            return Err(Error::reply("ERR syntax error, XTRIM must be called with a trimming strategy"));
        }
        let is_approximate = options.trim.is_some_and(|trim| trim.approximately);
        if limit.is_some() && !is_approximate {
            return Err(Error::reply("ERR syntax error, LIMIT cannot be used without the special ~ option"));
        }
        if let Some(trim) = options.trim.as_mut().filter(|trim| trim.approximately) {
            let entries = state.settings.number("stream-node-max-entries", 100);
            let most = u64::try_from(entries.saturating_mul(100)).ok().filter(|most| *most > 0).unwrap_or(10_000);
            trim.limit = limit.unwrap_or(most.min(1_000_000));
        }
        Ok(options)
    }
}

/// `ms-seq`, `ms-*` or `ms`, which is `ms-0`.
fn parse_new_id(text: &[u8]) -> Result<(u64, Option<u64>)> {
    match text.strip_suffix(b"-*") {
        Some(ms) if !ms.contains(&b'-') => Ok((parse::id(ms)?.ms, None)),
        _ => {
            let Id { ms, seq } = parse::id(text)?;
            Ok((ms, Some(seq)))
        }
    }
}
