//! Where ranges of scores, of members and of ranks begin and end.

use std::ops::Range;

use crate::args;
use crate::object::ZSet;
use crate::{Error, Result};

/// From one score to another.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scores {
    min: (f64, bool),
    max: (f64, bool),
}

impl Scores {
    pub(super) fn parse(min: &[u8], max: &[u8]) -> Result<Self> {
        let wrong = || Error::reply("ERR min or max is not a float");
        Ok(Self { min: score(min).ok_or_else(wrong)?, max: score(max).ok_or_else(wrong)? })
    }

    pub(super) fn ranks(self, set: &ZSet) -> Range<usize> {
        let ((min, above), (max, below)) = (self.min, self.max);
        let start = set.partition(|score, _| score < min || (above && score == min));
        let end = set.partition(|score, _| score < max || (!below && score == max));
        start..end.max(start)
    }
}

/// A score, and whether it is itself outside. Nothing at all is zero.
fn score(text: &[u8]) -> Option<(f64, bool)> {
    let (text, outside) = match text {
        [b'(', rest @ ..] => (rest, true),
        text => (text, false),
    };
    let value = if text.is_empty() { 0.0 } else { args::parse_float(text)? };
    Some((value, outside))
}

/// From one member to another, where all have one score.
#[derive(Clone, Copy, Debug)]
pub(super) struct Members<'a> {
    min: Bound<'a>,
    max: Bound<'a>,
}

#[derive(Clone, Copy, Debug)]
enum Bound<'a> {
    Lowest,
    Highest,
    Inside(&'a [u8]),
    Outside(&'a [u8]),
}

impl<'a> Members<'a> {
    pub(super) fn parse(min: &'a [u8], max: &'a [u8]) -> Result<Self> {
        let bound = |text: &'a [u8]| match text {
            b"-" => Ok(Bound::Lowest),
            b"+" => Ok(Bound::Highest),
            [b'[', rest @ ..] => Ok(Bound::Inside(rest)),
            [b'(', rest @ ..] => Ok(Bound::Outside(rest)),
            _ => Err(Error::reply("ERR min or max not valid string range item")),
        };
        Ok(Self { min: bound(min)?, max: bound(max)? })
    }

    pub(super) fn ranks(self, set: &ZSet) -> Range<usize> {
        let start = match self.min {
            Bound::Lowest => 0,
            Bound::Highest => set.len(),
            Bound::Inside(min) => set.partition(|_, member| member < min),
            Bound::Outside(min) => set.partition(|_, member| member <= min),
        };
        let end = match self.max {
            Bound::Lowest => 0,
            Bound::Highest => set.len(),
            Bound::Inside(max) => set.partition(|_, member| member <= max),
            Bound::Outside(max) => set.partition(|_, member| member < max),
        };
        start..end.max(start)
    }
}

/// Ranks as clients give them, negative ones from the end, as a range within `count` members.
pub(super) fn ranks(start: i64, end: i64, count: usize) -> Range<usize> {
    let total = i64::try_from(count).unwrap_or(i64::MAX);
    let start = if start < 0 { start.saturating_add(total).max(0) } else { start };
    let end = if end < 0 { end.saturating_add(total) } else { end.min(total - 1) };
    if start > end || start >= total { 0..0 } else { start as usize..end as usize + 1 }
}
