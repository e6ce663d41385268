//! Multiranges: ranges that lie apart from each other, in order. `int4multirange` and its like, one for each type of ranges.
//!
//! A value is kept as its ranges' bytes one behind the other, as keys of several columns are: their order is PostgreSQL's.

use std::cmp::Ordering;

use crate::error::{SqlError, SqlResult, SqlState};
use crate::range::{Range, RangeType};
use crate::text::OutputSettings;

/// What stands behind the last range: less than what any range begins with.
const END: u8 = 0;
const RANGE: u8 = 1;

impl RangeType {
    /// Reads a multirange's text as the bytes that are kept.
    ///
    /// # Errors
    /// `22P02` for what is no multirange, and what its ranges refuse.
    pub fn parse_multirange(&self, text: &str, settings: &OutputSettings) -> SqlResult<Vec<u8>> {
        let malformed = |detail: &str| {
            let message = format!("malformed multirange literal: \"{text}\"");
            SqlError::new(SqlState::InvalidTextRepresentation, message).detail(detail)
        };
        let body = text.trim_ascii().strip_prefix('{').ok_or_else(|| malformed("Missing left brace."))?;
        let mut rest = body.trim_ascii_start();
        let mut ranges = Vec::new();
        while !rest.starts_with('}') || !ranges.is_empty() {
            let length = range_length(rest).ok_or_else(|| malformed("Expected range start."))?;
            let (one, behind) = rest.split_at(length);
            let kept = self.parse(one, settings)?;
            ranges.extend(Range::decode(self, &kept));
            rest = behind.trim_ascii_start();
            match rest.strip_prefix(',') {
                Some(behind) => rest = behind.trim_ascii_start(),
                None if rest.starts_with('}') => break,
                None => return Err(malformed("Expected comma or end of multirange.")),
            }
        }
        if !rest.get(1..).unwrap_or_default().trim_ascii().is_empty() {
            return Err(malformed("Junk after closing right brace."));
        }
        Ok(encode(self, &apart(self, ranges)?))
    }

    /// The text of bytes that are kept.
    #[must_use]
    pub fn format_multirange(&self, kept: &[u8], settings: &OutputSettings) -> String {
        let ranges = decode(self, kept).unwrap_or_default();
        let texts: Vec<String> = ranges.iter().map(|range| self.format(&range.encode(self), settings)).collect();
        format!("{{{}}}", texts.join(","))
    }
}

/// How many bytes of a text its first range takes; `None` where there is none.
fn range_length(text: &str) -> Option<usize> {
    if text.get(..5).is_some_and(|word| word.eq_ignore_ascii_case("empty")) {
        return Some(5);
    }
    if !text.starts_with(['[', '(']) {
        return None;
    }
    let (mut quoted, mut escaped) = (false, false);
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => quoted = !quoted,
            ']' | ')' if !quoted => return Some(at + 1),
            _ => {}
        }
    }
    None
}

/// Ranges in order, those that meet made one, without empty ones.
///
/// # Errors
/// None that a range of its type has not had before.
pub fn apart(ty: &RangeType, mut ranges: Vec<Range>) -> SqlResult<Vec<Range>> {
    ranges.retain(|range| *range != Range::Empty);
    ranges.sort_by(|left, right| {
        if left.begins_within(right) && !right.begins_within(left) { Ordering::Greater } else { Ordering::Less }
    });
    let mut all: Vec<Range> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match all.last_mut() {
            Some(last) if last.overlaps(&range) || last.adjoins(&range) => *last = last.union(&range, ty, false)?,
            _ => all.push(range),
        }
    }
    Ok(all)
}

/// The bytes that are kept of ranges that lie apart.
#[must_use]
pub fn encode(ty: &RangeType, ranges: &[Range]) -> Vec<u8> {
    let mut kept = Vec::new();
    for range in ranges {
        kept.push(RANGE);
        crate::key::encode_bytes(&range.encode(ty), &mut kept);
    }
    kept.push(END);
    kept
}

/// Of the bytes that are kept; `None` where they are none.
#[must_use]
pub fn decode(ty: &RangeType, kept: &[u8]) -> Option<Vec<Range>> {
    let mut rest = kept.iter().copied();
    let mut ranges = Vec::new();
    while rest.next()? == RANGE {
        // The mark of a value in a key.
        rest.next()?;
        let mut range = Vec::new();
        loop {
            match rest.next()? {
                0 => match rest.next()? {
                    0 => break,
                    _ => range.push(0),
                },
                byte => range.push(byte),
            }
        }
        ranges.push(Range::decode(ty, &range)?);
    }
    Some(ranges)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(ty: &RangeType, text: &str) -> SqlResult<String> {
        let settings = &OutputSettings::DEFAULT;
        ty.parse_multirange(text, settings).map(|kept| ty.format_multirange(&kept, settings))
    }

    #[test]
    fn texts() {
        use RangeType::{Date, Int4, Num, Timestamp};
        for (ty, text, want) in [
            (Int4, "{}", "{}"),
            (Int4, " { [1,3) , [5,7] } ", "{[1,3),[5,8)}"),
            (Int4, "{[5,7),[1,3)}", "{[1,3),[5,7)}"),
            (Int4, "{[1,3),[3,5),[4,9)}", "{[1,9)}"),
            (Int4, "{empty}", "{}"),
            (Int4, "{(,3),[5,)}", "{(,3),[5,)}"),
            (Num, "{[3,7),[9.5,11.4)}", "{[3,7),[9.5,11.4)}"),
            (Date, "{[2023-06-01,2023-06-06)}", "{[2023-06-01,2023-06-06)}"),
            (Timestamp, "{[\"2001-02-03 04:05\",2023-02-03)}", "{[\"2001-02-03 04:05:00\",\"2023-02-03 00:00:00\")}"),
        ] {
            assert_eq!(shown(&ty, text).unwrap(), want, "{text}");
        }
        for malformed in ["", "{", "[1,2)", "{[1,2)", "{[1,2),}", "{[1,2)}x", "{1}"] {
            let state = shown(&Int4, malformed).map_err(|error| error.state());
            assert_eq!(state, Err(SqlState::InvalidTextRepresentation), "{malformed}");
        }
    }

    #[test]
    fn bytes_are_in_order() {
        let kept = |text: &&str| RangeType::Int4.parse_multirange(text, &OutputSettings::DEFAULT).unwrap();
        let ordered = ["{}", "{(,3)}", "{[1,2)}", "{[1,2),[5,6)}", "{[1,2),[6,7)}", "{[1,3)}", "{[2,3)}"];
        assert!(ordered.iter().map(kept).is_sorted());
    }

    #[test]
    fn bytes_that_are_none_give_nothing() {
        for bytes in [&[][..], &[1], &[1, 1, 0, 0, 0], &[1, 1, 5, 0]] {
            assert_eq!(decode(&RangeType::Int4, bytes), None, "{bytes:?}");
        }
    }
}
