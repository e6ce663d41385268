//! HSETEX key [FNX | FXX] [EX seconds | PX milliseconds | EXAT seconds | PXAT milliseconds | KEEPTTL]
//! FIELDS numfields field value [field value ...]

use bytes::Bytes;

use super::tell_ends;
use super::times::Unit;
use crate::args::{is, parse_integer};
use crate::error::wrong_arity;
use crate::object::{Hash, HashLimits};
use crate::spec::{Category, Flags, Group, KeyFlags, KeySpec, Run, Spec};
use crate::{Error, EventClass, Reply, Result, Writer};

/// HSETEX
pub(super) static HSETEX: Spec = Spec {
    name: "hsetex",
    arity: -6,
    flags: Flags::WRITE.union(Flags::DENYOOM).union(Flags::FAST),
    category: Category::HASH,
    keys: &[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::UPDATE))],
    group: Group::Hash,
    since: "8.0.0",
    summary: "Gives fields of a hash their values and an end",
    run: Run::Write(hsetex),
    ..Spec::DEFAULT
};

/// What becomes of the ends of fields that are set.
#[derive(Clone, Copy)]
enum Ends {
    Go,
    Stay,
    Become(i64),
}

struct Options<'a> {
    /// Whether all fields must exist already, or none.
    must_exist: Option<bool>,
    ends: Option<Ends>,
    pairs: &'a [[Bytes; 2]],
}

impl<'a> Options<'a> {
    fn set_ends(&mut self, ends: Ends) -> Result<()> {
        match self.ends.replace(ends) {
            None => Ok(()),
            Some(_) => Err(Error::reply("ERR Only one of EX, PX, EXAT, PXAT or KEEPTTL arguments can be specified")),
        }
    }

    fn set_condition(&mut self, must_exist: bool) -> Result<()> {
        match self.must_exist.replace(must_exist) {
            None => Ok(()),
            Some(_) => Err(Error::reply("ERR Only one of FXX or FNX arguments can be specified")),
        }
    }

    fn of(args: &'a [Bytes], now: i64) -> Result<Self> {
        let (mut options, mut at) = (Options { must_exist: None, ends: None, pairs: &[] }, 0);
        while let Some(word) = args.get(at) {
            at += 1;
            if is(word, "fields") {
                let (count, pairs) = args[at..].split_first().ok_or(wrong_arity("hsetex"))?;
                if pairs.len() < 2 {
                    return Err(wrong_arity("hsetex"));
                }
                let count = parse_integer(count).and_then(|count| i32::try_from(count).ok()).filter(|count| *count > 0);
                let count = count.ok_or(Error::reply("ERR invalid number of fields"))?;
                let (pairs, rest) = pairs.as_chunks();
                if !rest.is_empty() || usize::try_from(count) != Ok(pairs.len()) {
                    return Err(wrong_arity("hsetex"));
                }
                options.pairs = pairs;
                return Ok(options);
            } else if let Some(unit) = Unit::of(word) {
                if options.ends.is_some() {
                    options.set_ends(Ends::Go)?;
                }
                let time = args.get(at).ok_or(Error::reply("ERR missing expire time"))?;
                options.set_ends(Ends::Become(unit.end(time, now, "hsetex")?))?;
                at += 1;
            } else if is(word, "keepttl") {
                options.set_ends(Ends::Stay)?;
            } else if is(word, "fxx") {
                options.set_condition(true)?;
            } else if is(word, "fnx") {
                options.set_condition(false)?;
            } else {
                return Err(Error::reply(format!("ERR unknown argument: {}", String::from_utf8_lossy(word))));
            }
        }
        Err(wrong_arity("hsetex"))
    }
}

fn hsetex(writer: &mut Writer<'_>, args: &[Bytes]) -> Result<Reply> {
    let (key, now) = (&args[1], writer.now());
    let options = Options::of(&args[2..], now)?;
    let hash = writer.get::<Hash>(key)?;
    let exists = |[name, _]: &[Bytes; 2]| hash.is_some_and(|hash| hash.get(name, now).is_some());
    let fits = match options.must_exist {
        Some(true) => options.pairs.iter().all(exists),
        Some(false) => !options.pairs.iter().any(exists),
        None => true,
    };
    if !fits {
        return Ok(Reply::Integer(0));
    }
    let limits = HashLimits::of(writer.state());
    let hash = writer.get_or_create::<Hash>(key)?;
    hash.expect(options.pairs.len(), options.pairs.iter().flatten().map(Bytes::len), limits);
    let (mut updated, mut removed) = (0, 0);
    for [name, value] in options.pairs {
        match options.ends {
            Some(Ends::Stay) => {
                if !hash.replace(name, value, limits) {
                    hash.insert(name, value, limits);
                }
            }
            Some(Ends::Become(end)) if end > now => {
                hash.insert_until(name, value, Some(end), limits);
                updated += 1;
            }
            Some(Ends::Become(_)) => {
                hash.remove(name);
                removed += 1;
            }
            Some(Ends::Go) | None => {
                hash.insert(name, value, limits);
            }
        }
    }
    writer.notify(EventClass::HASH, "hset", key);
    tell_ends(writer, key, updated, removed)?;
    Ok(Reply::Integer(1))
}
