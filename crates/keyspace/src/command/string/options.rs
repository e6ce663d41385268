//! The options of SET and GETEX: conditions, and when the key ends.

use bytes::Bytes;

use crate::args::{Cursor, integer};
use crate::{Error, Result};

/// When SET does something.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) enum Condition<'a> {
    #[default]
    Always,
    /// The key is absent.
    Absent,
    /// The key exists.
    Present,
    /// It holds these bytes.
    Equal(&'a Bytes),
    /// It does not.
    NotEqual(&'a Bytes),
}

/// How an end is given.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Unit {
    Seconds,
    Milliseconds,
    AtSeconds,
    AtMilliseconds,
}

/// What becomes of the key's end.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) enum End<'a> {
    #[default]
    Unsaid,
    At(Unit, &'a Bytes),
    Keep,
    Persist,
}

/// Which of the two commands has the options.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Of {
    Set,
    GetEx,
}

/// See the module.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Options<'a> {
    pub(super) condition: Condition<'a>,
    pub(super) get: bool,
    pub(super) end: End<'a>,
}

impl<'a> Options<'a> {
    pub(super) fn parse(args: &'a [Bytes], of: Of) -> Result<Self> {
        let mut options = Options::default();
        let mut rest = Cursor::new(args);
        while !rest.is_empty() {
            if of == Of::Set && rest.take("get") {
                options.get = true;
            } else if of == Of::Set && rest.take("keepttl") {
                options.set_end(End::Keep)?;
            } else if of == Of::GetEx && rest.take("persist") {
                options.set_end(End::Persist)?;
            } else if let Some(unit) = unit(&mut rest) {
                options.set_end(End::At(unit, rest.must()?))?;
            } else if of == Of::Set {
                let condition = condition(&mut rest)?;
                if std::mem::discriminant(&options.condition) != std::mem::discriminant(&condition)
                    && options.condition != Condition::Always
                {
                    return Err(Error::SYNTAX);
                }
                options.condition = condition;
            } else {
                return Err(Error::SYNTAX);
            }
        }
        Ok(options)
    }

    /// The same option may come again; another one may not.
    fn set_end(&mut self, end: End<'a>) -> Result<()> {
        let same = match (self.end, end) {
            (End::Unsaid, _) => true,
            (End::At(one, _), End::At(other, _)) => one == other,
            (one, other) => one == other,
        };
        self.end = end;
        if same { Ok(()) } else { Err(Error::SYNTAX) }
    }
}

fn unit(rest: &mut Cursor<'_>) -> Option<Unit> {
    let units =
        [("ex", Unit::Seconds), ("px", Unit::Milliseconds), ("exat", Unit::AtSeconds), ("pxat", Unit::AtMilliseconds)];
    units.into_iter().find(|(word, _)| rest.take(word)).map(|(_, unit)| unit)
}

fn condition<'a>(rest: &mut Cursor<'a>) -> Result<Condition<'a>> {
    if rest.take("nx") {
        Ok(Condition::Absent)
    } else if rest.take("xx") {
        Ok(Condition::Present)
    } else if rest.take("ifeq") {
        rest.must().map(Condition::Equal)
    } else if rest.take("ifne") {
        rest.must().map(Condition::NotEqual)
    } else {
        Err(Error::SYNTAX)
    }
}

/// When a key ends, in milliseconds since 1970 UTC. `command` is named in errors.
pub(super) fn end_at(unit: Unit, text: &[u8], now: i64, command: &str) -> Result<i64> {
    let value = integer(text)?;
    let ms = match unit {
        Unit::Seconds | Unit::AtSeconds => value.checked_mul(1_000),
        Unit::Milliseconds | Unit::AtMilliseconds => Some(value),
    };
    let at = match unit {
        Unit::Seconds | Unit::Milliseconds => ms.and_then(|ms| ms.checked_add(now)),
        Unit::AtSeconds | Unit::AtMilliseconds => ms,
    };
    let invalid = || Error::reply(format!("ERR invalid expire time in '{command}' command"));
    at.filter(|_| value > 0).ok_or_else(invalid)
}
