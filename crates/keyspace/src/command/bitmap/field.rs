//! BITFIELD, BITFIELD_RO

use bytes::Bytes;

use super::bit_offset;
use crate::args::{Cursor, is, parse_integer};
use crate::growth::Growth;
use crate::object::Str;
use crate::spec::{Category, Flags, Group, KeyFlags, KeySpec, Run, Spec};
use crate::{Error, EventClass, Reader, Reply, Result, State, Writer};

/// BITFIELD
pub(super) static BITFIELD: Spec = Spec {
    name: "bitfield",
    arity: -2,
    flags: Flags::WRITE.union(Flags::DENYOOM),
    category: Category::BITMAP,
    keys: &[KeySpec::one(
        1,
        KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::UPDATE).union(KeyFlags::VARIABLE_FLAGS),
    )],
    group: Group::Bitmap,
    since: "3.2.0",
    summary: "Reads and writes integers of any width in a string",
    grows: Growth::To(farthest),
    run: Run::Write(bitfield),
    ..Spec::DEFAULT
};
/// BITFIELD_RO
pub(super) static BITFIELD_RO: Spec = Spec {
    name: "bitfield_ro",
    arity: -2,
    flags: Flags::READONLY.union(Flags::FAST),
    category: Category::BITMAP,
    keys: &[KeySpec::one(1, KeyFlags::RO.union(KeyFlags::ACCESS))],
    group: Group::Bitmap,
    since: "6.0.0",
    summary: "Reads integers of any width in a string",
    run: Run::Read(bitfield_ro),
    ..Spec::DEFAULT
};

/// The last byte, about, that SET or INCRBY among these arguments writes.
fn farthest(args: &[Bytes]) -> u64 {
    let writes = |word: &Bytes| is(word, "set") || is(word, "incrby");
    let end = |kind: &Bytes, offset: &Bytes| {
        let bits = kind.get(1..).and_then(parse_integer)?.unsigned_abs();
        let begin = match offset.strip_prefix(b"#") {
            Some(number) => parse_integer(number)?.unsigned_abs().saturating_mul(bits),
            None => parse_integer(offset)?.unsigned_abs(),
        };
        Some(begin.saturating_add(bits).div_ceil(8))
    };
    args.windows(3).filter(|words| writes(&words[0])).filter_map(|words| end(&words[1], &words[2])).max().unwrap_or(0)
}

/// What becomes of a value that its type does not hold.
#[derive(Clone, Copy, Debug, Default)]
enum Overflow {
    #[default]
    Wrap,
    Saturate,
    Fail,
}

/// Where an integer stands.
#[derive(Clone, Copy, Debug)]
struct Field {
    signed: bool,
    bits: u32,
    offset: u64,
}

#[derive(Clone, Copy, Debug)]
enum Operation {
    Get(Field),
    Set(Field, i64, Overflow),
    IncrBy(Field, i64, Overflow),
}

impl Field {
    fn parse(state: &State, rest: &mut Cursor<'_>) -> Result<Field> {
        let wrong = || {
            Error::reply(
                "ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.",
            )
        };
        let (signed, digits) = match &rest.must()?[..] {
            [b'i', digits @ ..] => (true, digits),
            [b'u', digits @ ..] => (false, digits),
            _ => return Err(wrong()),
        };
        let bits = parse_integer(digits).and_then(|bits| u32::try_from(bits).ok());
        let max = if signed { 64 } else { 63 };
        let bits = bits.filter(|bits| (1..=max).contains(bits)).ok_or_else(wrong)?;
        let offset = bit_offset(state, rest.must()?, Some(bits))?;
        Ok(Field { signed, bits, offset })
    }

    /// The byte behind its last.
    fn end(self) -> usize {
        (self.offset + u64::from(self.bits)).div_ceil(8) as usize
    }

    /// The same, with what is behind the string's end taken for zeros.
    fn read(self, bytes: &[u8]) -> i64 {
        let mut window = 0_u128;
        let first = (self.offset / 8) as usize;
        for at in first..first + 9 {
            window = window << 8 | u128::from(bytes.get(at).copied().unwrap_or(0));
        }
        let raw = (window >> (72 - self.offset % 8 - u64::from(self.bits))) & ((1 << self.bits) - 1);
        if self.signed && raw >> (self.bits - 1) == 1 { (raw as i128 - (1 << self.bits)) as i64 } else { raw as i64 }
    }

    /// The string must be long enough.
    fn write(self, bytes: &mut [u8], value: i64) {
        for n in 0..u64::from(self.bits) {
            let at = self.offset + n;
            let mask = 0x80_u8 >> (at % 8);
            let on = value >> (u64::from(self.bits) - 1 - n) & 1 == 1;
            if let Some(byte) = bytes.get_mut((at / 8) as usize) {
                *byte = if on { *byte | mask } else { *byte & !mask };
            }
        }
    }

    /// What is written for a value.
    fn fit(self, value: i128, overflow: Overflow) -> Option<i64> {
        let (min, max) = if self.signed {
            (-(1_i128 << (self.bits - 1)), (1_i128 << (self.bits - 1)) - 1)
        } else {
            (0, (1_i128 << self.bits) - 1)
        };
        if (min..=max).contains(&value) {
            return Some(value as i64);
        }
        match overflow {
            Overflow::Wrap => Some(((value - min).rem_euclid(1 << self.bits) + min) as i64),
            Overflow::Saturate => Some(value.clamp(min, max) as i64),
            Overflow::Fail => None,
        }
    }
}

impl Operation {
    fn field(&self) -> Field {
        match self {
            Operation::Get(field) | Operation::Set(field, ..) | Operation::IncrBy(field, ..) => *field,
        }
    }

    /// What is written where `old` stands, if anything, and what is answered.
    fn result(&self, old: i64) -> (Option<i64>, Reply) {
        match *self {
            Operation::Get(_) => (None, Reply::Integer(old)),
            Operation::Set(field, value, overflow) => {
                // As C takes a negative number for an unsigned one.
                let wide = if field.signed { i128::from(value) } else { i128::from(value.cast_unsigned()) };
                let new = field.fit(wide, overflow);
                (new, new.map_or(Reply::Null, |_| Reply::Integer(old)))
            }
            Operation::IncrBy(field, by, overflow) => {
                let new = field.fit(i128::from(old) + i128::from(by), overflow);
                (new, new.map_or(Reply::Null, Reply::Integer))
            }
        }
    }
}

fn parse(state: &State, args: &[Bytes], only_get: bool) -> Result<Vec<Operation>> {
    let mut rest = Cursor::new(&args[2..]);
    let (mut operations, mut overflow) = (Vec::new(), Overflow::default());
    while !rest.is_empty() {
        let left = rest.rest().len() - 1;
        if left >= 2 && rest.take("get") {
            operations.push(Operation::Get(Field::parse(state, &mut rest)?));
        } else if left >= 3 && rest.take("set") {
            let field = Field::parse(state, &mut rest)?;
            operations.push(Operation::Set(field, rest.integer()?, overflow));
        } else if left >= 3 && rest.take("incrby") {
            let field = Field::parse(state, &mut rest)?;
            operations.push(Operation::IncrBy(field, rest.integer()?, overflow));
        } else if left >= 1 && rest.take("overflow") {
            overflow = if rest.take("wrap") {
                Overflow::Wrap
            } else if rest.take("sat") {
                Overflow::Saturate
            } else if rest.take("fail") {
                Overflow::Fail
            } else {
                return Err(Error::reply("ERR Invalid OVERFLOW type specified"));
            };
        } else {
            return Err(Error::SYNTAX);
        }
    }
    if only_get && operations.iter().any(|operation| !matches!(operation, Operation::Get(_))) {
        return Err(Error::reply("ERR BITFIELD_RO only supports the GET subcommand"));
    }
    Ok(operations)
}

fn gets(string: Option<&Str>, operations: &[Operation]) -> Reply {
    let bytes = string.map(Str::to_bytes).unwrap_or_default();
    Reply::Array(operations.iter().map(|operation| Reply::Integer(operation.field().read(&bytes))).collect())
}

fn bitfield_ro(reader: &Reader<'_>, args: &[Bytes]) -> Result<Reply> {
    let operations = parse(reader.state(), args, true)?;
    Ok(gets(reader.get::<Str>(&args[1])?, &operations))
}

fn bitfield(writer: &mut Writer<'_>, args: &[Bytes]) -> Result<Reply> {
    let key = &args[1];
    let operations = parse(writer.state(), args, false)?;
    let end_of = |operation: &Operation| match operation {
        Operation::Get(_) => 0,
        written => written.field().end(),
    };
    let end = operations.iter().map(end_of).max().unwrap_or(0);
    if end == 0 {
        return Ok(gets(writer.get::<Str>(key)?, &operations));
    }
    // The one write of most calls may change nothing: then the key stays as it is.
    if let [Operation::Set(field, ..) | Operation::IncrBy(field, ..)] = operations[..]
        && let Some(held) = writer.get::<Str>(key)?.map(Str::to_bytes).filter(|held| held.len() >= end)
    {
        let old = field.read(&held);
        let (new, reply) = operations[0].result(old);
        if new.is_none_or(|new| new == old) {
            return Ok(Reply::Array(vec![reply]));
        }
    }
    let (mut replies, mut changed) = (Vec::with_capacity(operations.len()), false);
    writer.get_or_create::<Str>(key)?.edit(|bytes| {
        let grows = bytes.len() < end;
        if grows {
            bytes.resize(end, 0);
        }
        for operation in &operations {
            let old = operation.field().read(bytes);
            let (new, reply) = operation.result(old);
            if let Some(new) = new {
                changed |= grows || new != old;
                operation.field().write(bytes, new);
            }
            replies.push(reply);
        }
    });
    if changed {
        writer.notify(EventClass::STRING, "setbit", key);
    }
    Ok(Reply::Array(replies))
}
