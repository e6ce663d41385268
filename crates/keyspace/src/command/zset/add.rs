//! ZADD key [NX | XX] [GT | LT] [CH] [INCR] score member [score member ...], ZINCRBY key increment member

use bytes::Bytes;

use crate::args::{self, is};
use crate::object::{ZSet, ZSetLimits};
use crate::spec::{Category, Flags, Group, KeyFlags, KeySpec, Run, Spec};
use crate::{Error, EventClass, Reply, Result, Writer};

/// ZADD
pub(super) static ZADD: Spec = Spec {
    name: "zadd",
    arity: -4,
    flags: Flags::WRITE.union(Flags::DENYOOM).union(Flags::FAST),
    category: Category::SORTEDSET,
    keys: &[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::UPDATE))],
    group: Group::SortedSet,
    since: "1.2.0",
    summary: "Gives members their scores",
    run: Run::Write(zadd),
    ..Spec::DEFAULT
};

/// ZINCRBY
pub(super) static ZINCRBY: Spec = Spec {
    name: "zincrby",
    arity: 4,
    flags: Flags::WRITE.union(Flags::DENYOOM).union(Flags::FAST),
    category: Category::SORTEDSET,
    keys: &[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::UPDATE))],
    group: Group::SortedSet,
    since: "1.2.0",
    summary: "Adds to the score of a member",
    run: Run::Write(zincrby),
    ..Spec::DEFAULT
};

#[derive(Clone, Copy, Debug, Default)]
struct Options {
    new_only: bool,
    old_only: bool,
    greater: bool,
    less: bool,
    count_changed: bool,
    increment: bool,
}

impl Options {
    /// The score that a member gets; `None` where it is left alone.
    fn score(self, old: Option<f64>, given: f64) -> Result<Option<f64>> {
        let Some(old) = old else { return Ok((!self.old_only).then_some(given)) };
        if self.new_only {
            return Ok(None);
        }
        let score = if self.increment { old + given } else { given };
        if score.is_nan() {
            return Err(Error::reply("ERR resulting score is not a number (NaN)"));
        }
        let kept = (self.less && score >= old) || (self.greater && score <= old);
        Ok((!kept).then_some(score))
    }
}

pub(in crate::command) fn zadd(writer: &mut Writer<'_>, args: &[Bytes]) -> Result<Reply> {
    let mut options = Options::default();
    let mut at = 2;
    while let Some(word) = args.get(at) {
        match word {
            word if is(word, "nx") => options.new_only = true,
            word if is(word, "xx") => options.old_only = true,
            word if is(word, "ch") => options.count_changed = true,
            word if is(word, "incr") => options.increment = true,
            word if is(word, "gt") => options.greater = true,
            word if is(word, "lt") => options.less = true,
            _ => break,
        }
        at += 1;
    }
    add(writer, &args[1], options, &args[at..])
}

fn zincrby(writer: &mut Writer<'_>, args: &[Bytes]) -> Result<Reply> {
    add(writer, &args[1], Options { increment: true, ..Options::default() }, &args[2..])
}

fn add(writer: &mut Writer<'_>, key: &[u8], options: Options, rest: &[Bytes]) -> Result<Reply> {
    let (pairs, odd) = rest.as_chunks::<2>();
    if pairs.is_empty() || !odd.is_empty() {
        return Err(Error::SYNTAX);
    }
    if options.new_only && options.old_only {
        return Err(Error::reply("ERR XX and NX options at the same time are not compatible"));
    }
    if (options.greater && options.new_only) || (options.less && (options.new_only || options.greater)) {
        return Err(Error::reply("ERR GT, LT, and/or NX options at the same time are not compatible"));
    }
    if options.increment && pairs.len() > 1 {
        return Err(Error::reply("ERR INCR option supports a single increment-element pair"));
    }
    let given = pairs.iter().map(|[score, member]| Ok((args::float(score)?, member)));
    let given = given.collect::<Result<Vec<(f64, &Bytes)>>>()?;

    // Up to the first that changes something, nothing has changed.
    let set = writer.get::<ZSet>(key)?;
    let (mut first, mut last_score) = (None, None);
    for (n, (score, member)) in given.iter().enumerate() {
        let old = set.and_then(|set| set.score(member));
        last_score = options.score(old, *score)?;
        if last_score.is_some_and(|new| old != Some(new)) {
            first = Some(n);
            break;
        }
    }
    let (mut added, mut updated) = (0, 0);
    if let Some(first) = first {
        let limits = ZSetLimits::of(writer.state());
        let set = writer.get_or_create::<ZSet>(key)?;
        for (given, member) in &given[first..] {
            let old = set.score(member);
            let Some(score) = options.score(old, *given)? else { continue };
            match old {
                None => added += 1,
                Some(old) if old != score => updated += 1,
                Some(_) => continue,
            }
            set.insert(member, score, limits);
        }
        writer.notify(EventClass::ZSET, if options.increment { "zincr" } else { "zadd" }, key);
    }
    Ok(match (options.increment, last_score) {
        (true, Some(score)) => Reply::Double(score),
        (true, None) => Reply::Null,
        _ if options.count_changed => Reply::Integer(added + updated),
        _ => Reply::Integer(added),
    })
}
