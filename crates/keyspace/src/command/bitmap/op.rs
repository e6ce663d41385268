//! BITOP operation destkey key [key …]

use bytes::Bytes;

use crate::args::is;
use crate::growth::Growth;
use crate::object::{Str, Value};
use crate::spec::{Category, Flags, Group, KeyFlags, KeySpec, Run, Spec};
use crate::{Error, EventClass, Reply, Result, Writer};

/// BITOP
pub(super) static BITOP: Spec = Spec {
    name: "bitop",
    arity: -4,
    flags: Flags::WRITE.union(Flags::DENYOOM),
    category: Category::BITMAP,
    keys: &[
        KeySpec::one(2, KeyFlags::OW.union(KeyFlags::UPDATE)),
        KeySpec::range(3, -1, 1, KeyFlags::RO.union(KeyFlags::ACCESS)),
    ],
    group: Group::Bitmap,
    since: "2.6.0",
    summary: "Combines strings bit by bit into another",
    run: Run::Write(bitop),
    grows: Growth::Copies,
    ..Spec::DEFAULT
};

/// How bits are combined. `X` is the first string, `Y` the others.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Operation {
    And,
    Or,
    Xor,
    Not,
    /// In X and in no Y.
    Diff,
    /// In some Y and not in X.
    Diff1,
    /// In X and in some Y.
    AndOr,
    /// In exactly one.
    One,
}

const OPERATIONS: [(&str, Operation); 8] = [
    ("and", Operation::And),
    ("or", Operation::Or),
    ("xor", Operation::Xor),
    ("not", Operation::Not),
    ("diff", Operation::Diff),
    ("diff1", Operation::Diff1),
    ("andor", Operation::AndOr),
    ("one", Operation::One),
];

fn bitop(writer: &mut Writer<'_>, args: &[Bytes]) -> Result<Reply> {
    let operation = OPERATIONS.iter().find(|(name, _)| is(&args[1], name)).ok_or(Error::SYNTAX)?.1;
    let (to, from) = (&args[2], &args[3..]);
    if operation == Operation::Not && from.len() != 1 {
        return Err(Error::reply("ERR BITOP NOT must be called with a single source key."));
    }
    if matches!(operation, Operation::Diff | Operation::Diff1 | Operation::AndOr) && from.len() < 2 {
        let name = String::from_utf8_lossy(&args[1]).to_uppercase();
        return Err(Error::reply(format!("ERR BITOP {name} must be called with at least two source keys.")));
    }
    let string = |key: &Bytes| Ok(writer.get::<Str>(key)?.map(Str::to_bytes).unwrap_or_default());
    let strings = from.iter().map(string).collect::<Result<Vec<Bytes>>>()?;
    writer.exists(to)?;
    let result = combine(operation, &strings);
    let length = result.len();
    if result.is_empty() {
        if writer.remove(to)? {
            writer.notify(EventClass::GENERIC, "del", to);
        }
    } else {
        writer.put(to, Value::String(Str::changed(result)), None)?;
        writer.notify(EventClass::STRING, "set", to);
    }
    Ok(Reply::count(length))
}

/// As long as the longest one; the others end with zeros.
fn combine(operation: Operation, strings: &[Bytes]) -> Vec<u8> {
    let length = strings.iter().map(Bytes::len).max().unwrap_or(0);
    let Some((first, others)) = strings.split_first() else { return Vec::new() };
    let mut result = first.to_vec();
    result.resize(length, 0);
    let union = || {
        let mut union = vec![0; length];
        others.iter().for_each(|other| fold(&mut union, other, |a, b| a | b));
        union
    };
    match operation {
        Operation::And => others.iter().for_each(|other| fold(&mut result, other, |a, b| a & b)),
        Operation::Or => others.iter().for_each(|other| fold(&mut result, other, |a, b| a | b)),
        Operation::Xor => others.iter().for_each(|other| fold(&mut result, other, |a, b| a ^ b)),
        Operation::Not => result.iter_mut().for_each(|byte| *byte = !*byte),
        Operation::Diff => fold(&mut result, &union(), |a, b| a & !b),
        Operation::Diff1 => fold(&mut result, &union(), |a, b| b & !a),
        Operation::AndOr => fold(&mut result, &union(), |a, b| a & b),
        Operation::One => {
            let mut more = vec![0_u8; length];
            for other in others {
                for ((once, more), byte) in result.iter_mut().zip(&mut more).zip(other) {
                    *more |= *once & byte;
                    *once |= byte;
                }
            }
            fold(&mut result, &more, |a, b| a & !b);
        }
    }
    result
}

fn fold(result: &mut [u8], other: &[u8], with: impl Fn(u8, u8) -> u8) {
    let (both, rest) = result.split_at_mut(other.len().min(result.len()));
    both.iter_mut().zip(other).for_each(|(byte, other)| *byte = with(*byte, *other));
    rest.iter_mut().for_each(|byte| *byte = with(*byte, 0));
}
