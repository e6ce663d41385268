//! SORT, SORT_RO: key [BY pattern] [LIMIT offset count] [GET pattern …] [ASC | DESC] [ALPHA] [STORE destination]

use std::borrow::Cow;
use std::cmp::Ordering;

use bytes::Bytes;

use crate::args::{Cursor, parse_float};
use crate::growth::Growth;
use crate::object::{List, ListLimits, Object, Value};
use crate::room::Room;
use crate::spec::{Begin, Category, Find, Flags, Group, KeyFlags, KeySpec, Run, Spec};
use crate::{Error, EventClass, Reader, Reply, Result, Writer};

/// SORT
pub(super) static SORT: Spec = Spec {
    name: "sort",
    arity: -2,
    flags: Flags::WRITE.union(Flags::DENYOOM).union(Flags::MOVABLEKEYS),
    category: Category::SET.union(Category::SORTEDSET).union(Category::LIST).union(Category::DANGEROUS),
    keys: &[
        KeySpec::one(1, KeyFlags::RO.union(KeyFlags::ACCESS)),
        KeySpec { flags: KeyFlags::RO.union(KeyFlags::ACCESS), begin: Begin::Unknown, find: Find::Unknown },
        KeySpec { flags: KeyFlags::OW.union(KeyFlags::UPDATE), begin: Begin::Unknown, find: Find::Unknown },
    ],
    group: Group::Generic,
    since: "1.0.0",
    summary: "Sorts the elements of a list, set or sorted set, and may store them",
    run: Run::Write(sort),
    grows: Growth::Copies,
    ..Spec::DEFAULT
};
/// SORT_RO
pub(super) static SORT_RO: Spec = Spec {
    name: "sort_ro",
    arity: -2,
    flags: Flags::READONLY.union(Flags::MOVABLEKEYS),
    category: Category::SET.union(Category::SORTEDSET).union(Category::LIST).union(Category::DANGEROUS),
    keys: &[
        KeySpec::one(1, KeyFlags::RO.union(KeyFlags::ACCESS)),
        KeySpec { flags: KeyFlags::RO.union(KeyFlags::ACCESS), begin: Begin::Unknown, find: Find::Unknown },
    ],
    group: Group::Generic,
    since: "7.0.0",
    summary: "Sorts the elements of a list, set or sorted set",
    run: Run::Read(sort_ro),
    ..Spec::DEFAULT
};

#[derive(Debug, Default)]
struct Options<'a> {
    by: Option<&'a Bytes>,
    get: Vec<&'a Bytes>,
    limit: Option<(i64, i64)>,
    descending: bool,
    alpha: bool,
    store: Option<&'a Bytes>,
}

impl<'a> Options<'a> {
    fn parse(args: &'a [Bytes], may_store: bool) -> Result<Self> {
        let mut options = Options::default();
        let mut rest = Cursor::new(args);
        while !rest.is_empty() {
            let left = rest.rest().len() - 1;
            if rest.take("asc") {
                options.descending = false;
            } else if rest.take("desc") {
                options.descending = true;
            } else if rest.take("alpha") {
                options.alpha = true;
            } else if left >= 2 && rest.take("limit") {
                options.limit = Some((rest.integer()?, rest.integer()?));
            } else if left >= 1 && may_store && rest.take("store") {
                options.store = rest.next();
            } else if left >= 1 && rest.take("by") {
                options.by = rest.next();
            } else if left >= 1 && rest.take("get") {
                options.get.push(rest.must()?);
            } else {
                return Err(Error::SYNTAX);
            }
        }
        Ok(options)
    }

    /// Which of `length` elements are wanted.
    fn range(&self, length: usize) -> std::ops::Range<usize> {
        let Some((offset, count)) = self.limit else { return 0..length };
        let start = usize::try_from(offset).unwrap_or(0).min(length);
        match usize::try_from(count) {
            Ok(count) => start..start.saturating_add(count).min(length),
            Err(_) => start..length,
        }
    }
}

/// What an element is sorted by.
#[derive(Clone, Debug)]
enum Weight<'a> {
    Number(f64),
    Text(Option<Cow<'a, [u8]>>),
}

/// A name for each element: its first `*` gives way to the element. Behind `->` stands a field of a hash.
struct Pattern<'p> {
    before: &'p [u8],
    behind: &'p [u8],
    field: Option<&'p [u8]>,
}

impl<'p> Pattern<'p> {
    fn parse(text: &'p [u8]) -> Option<Self> {
        let star = text.iter().position(|byte| *byte == b'*')?;
        let (before, behind) = (&text[..star], &text[star + 1..]);
        let arrow = behind.windows(2).position(|pair| pair == b"->").filter(|at| at + 2 < behind.len());
        Some(match arrow {
            Some(at) => Pattern { before, behind: &behind[..at], field: Some(&behind[at + 2..]) },
            None => Pattern { before, behind, field: None },
        })
    }

    /// What the key that it makes of an element holds.
    fn look_up(&self, reader: &Reader<'_>, element: &[u8]) -> Result<Option<Bytes>> {
        let key = [self.before, element, self.behind].concat();
        Ok(match (reader.value(&key)?, self.field) {
            (Some(Value::Hash(hash)), Some(field)) => hash.get(field, reader.now()).map(Bytes::copy_from_slice),
            (Some(Value::String(string)), None) => Some(string.to_bytes()),
            _ => None,
        })
    }
}

/// A number as C reads it: with spaces before it, and nothing for zero.
fn number(text: &[u8]) -> Result<f64> {
    let text = text.trim_ascii_start();
    let not_a_number = Error::reply("ERR One or more scores can't be converted into double");
    if text.is_empty() { Ok(0.0) } else { parse_float(text).ok_or(not_a_number) }
}

fn compare(one: &(Weight<'_>, Cow<'_, [u8]>), other: &(Weight<'_>, Cow<'_, [u8]>)) -> Ordering {
    match (&one.0, &other.0) {
        (Weight::Number(a), Weight::Number(b)) => {
            a.partial_cmp(b).unwrap_or(Ordering::Equal).then_with(|| one.1.cmp(&other.1))
        }
        (Weight::Text(a), Weight::Text(b)) => a.cmp(b),
        _ => Ordering::Equal,
    }
}

/// The sorted elements, or what they stand for.
fn run(reader: &Reader<'_>, key: &[u8], options: &Options<'_>) -> Result<Vec<Option<Bytes>>> {
    let by = options.by.and_then(|by| Pattern::parse(by));
    let as_it_is = options.by.is_some() && by.is_none();
    let mut elements: Vec<Cow<'_, [u8]>> = match reader.value(key)? {
        None => Vec::new(),
        Some(Value::List(list)) => list.iter().map(Cow::Borrowed).collect(),
        Some(Value::Set(set)) => set.iter().collect(),
        Some(Value::ZSet(set)) => set.iter().map(|(member, _)| Cow::Borrowed(member)).collect(),
        Some(_) => return Err(Error::WRONG_TYPE),
    };
    if as_it_is && options.descending {
        elements.reverse();
    }
    // The members of a set have no order of their own that a copy would keep.
    let is_set = matches!(reader.value(key)?, Some(Value::Set(_)));
    let by_bytes = as_it_is && is_set && (options.store.is_some() || reader.context.must_not_wait);
    if !as_it_is || by_bytes {
        let alpha = options.alpha || by_bytes;
        let mut weighed = Vec::with_capacity(elements.len());
        for element in elements {
            let text = match &by {
                Some(by) => by.look_up(reader, &element)?.map(|bytes| Cow::Owned(bytes.to_vec())),
                None => Some(element.clone()),
            };
            let weight = match (text, alpha) {
                (text, true) => Weight::Text(text),
                (Some(text), false) => Weight::Number(number(&text)?),
                (None, false) => Weight::Number(0.0),
            };
            weighed.push((weight, element));
        }
        weighed.sort_by(|one, other| {
            let order = compare(one, other);
            if options.descending { order.reverse() } else { order }
        });
        elements = weighed.into_iter().map(|(_, element)| element).collect();
    }
    let range = options.range(elements.len());
    let wanted = elements.get(range).unwrap_or_default();
    let mut room = Room::default();
    room.take_parts(wanted.len().saturating_mul(options.get.len()))?;
    let mut found = Vec::with_capacity(wanted.len() * options.get.len().max(1));
    for element in wanted {
        let whole = || Some(Bytes::copy_from_slice(element));
        if options.get.is_empty() {
            found.push(whole());
        }
        for get in &options.get {
            found.push(match Pattern::parse(get) {
                Some(pattern) => pattern.look_up(reader, element)?,
                None if get[..] == *b"#" => whole(),
                None => None,
            });
            room.take(found.last().and_then(Option::as_ref).map_or(0, Bytes::len))?;
        }
    }
    Ok(found)
}

fn reply(found: Vec<Option<Bytes>>) -> Reply {
    Reply::Array(found.into_iter().map(Reply::bulk_or_null).collect())
}

fn sort_ro(reader: &Reader<'_>, args: &[Bytes]) -> Result<Reply> {
    let options = Options::parse(&args[2..], false)?;
    Ok(reply(run(reader, &args[1], &options)?))
}

fn sort(writer: &mut Writer<'_>, args: &[Bytes]) -> Result<Reply> {
    let options = Options::parse(&args[2..], true)?;
    let found = run(&writer.reader(), &args[1], &options)?;
    let Some(to) = options.store else { return Ok(reply(found)) };
    if found.is_empty() {
        if writer.remove(to)? {
            writer.notify(EventClass::GENERIC, "del", to);
        }
        return Ok(Reply::Integer(0));
    }
    let limits = ListLimits::of(writer.state());
    let mut list = List::default();
    for element in &found {
        list.push_back(element.as_deref().unwrap_or_default(), limits);
    }
    writer.put(to, list.into_value(), None)?;
    writer.notify(EventClass::LIST, "sortstore", to);
    Ok(Reply::count(found.len()))
}
