//! Ranges: values of `int4range` and its like, and of types that CREATE TYPE … AS RANGE makes.
//!
//! A value is kept as bytes whose order is PostgreSQL's: the empty range first, then by the lower bound, then by the upper one. Behind
//! what orders them stands what the bounds are read from, and how long the first part is:
//!
//! ```text
//! 0                                                    the empty range, or
//! 1, lower: 0 | 1 key exclusive, upper: 0 key inclusive | 1
//! flags (those of the binary format), the text of each bound that there is with its length (4 bytes)
//! the length of what stands before the flags (4 bytes)
//! ```
//!
//! Bounds of `numrange` keep the places as written, so ranges that differ in places alone are equal in the first part alone
//! ([`RangeType::has_forms`]).

use std::cmp::Ordering;

use crate::error::{SqlError, SqlResult, SqlState};
use crate::key;
pub use crate::range_type::{RangeType, UserRange};
use crate::text::calendar::{DATE_INFINITY, DATE_MINUS_INFINITY};
use crate::text::{self, OutputSettings};
use crate::value::Value;

/// Flags of the binary format.
pub mod flags {
    /// Nothing is in it.
    pub const EMPTY: u8 = 0x01;
    /// The lower bound is in it.
    pub const LOWER_INCLUSIVE: u8 = 0x02;
    /// The upper bound is in it.
    pub const UPPER_INCLUSIVE: u8 = 0x04;
    /// There is no lower bound.
    pub const LOWER_INFINITE: u8 = 0x08;
    /// There is no upper bound.
    pub const UPPER_INFINITE: u8 = 0x10;
}

impl RangeType {
    /// The value behind another one, where there is one: those of the other types lie close together, and types that users
    /// made say nothing of it.
    ///
    /// # Errors
    /// `22003`, `22008` beyond the last value.
    fn next(&self, value: &Value) -> SqlResult<Option<Value>> {
        if let RangeType::User(_) = self {
            return Ok(None);
        }
        let beyond = |what: &str| SqlError::new(SqlState::NumericValueOutOfRange, format!("{what} out of range"));
        Ok(match value {
            Value::Int4(v) => Some(Value::Int4(v.checked_add(1).ok_or_else(|| beyond("integer"))?)),
            Value::Int8(v) => Some(Value::Int8(v.checked_add(1).ok_or_else(|| beyond("bigint"))?)),
            Value::Date(DATE_INFINITY | DATE_MINUS_INFINITY) => None,
            Value::Date(v) => {
                let out_of_range = || SqlError::new(SqlState::DatetimeFieldOverflow, "date out of range");
                let next = v.checked_add(1).filter(|next| *next != DATE_INFINITY);
                Some(Value::Date(next.ok_or_else(out_of_range)?))
            }
            _ => None,
        })
    }

    /// Reads a range's text as the bytes that are kept.
    ///
    /// # Errors
    /// `22P02` for what is no range, `22000` where the bounds are the wrong way round, and what the bounds' type refuses.
    pub fn parse(&self, text: &str, settings: &OutputSettings) -> SqlResult<Vec<u8>> {
        let parts = literal::split(text)?;
        let Some((lower, upper, edges)) = parts else { return Ok(Range::Empty.encode(self)) };
        let value = |bound: Option<String>| bound.map(|b| text::parse_with(&b, &self.subtype(), settings)).transpose();
        Ok(Range::new(self, value(lower)?, value(upper)?, edges)?.encode(self))
    }

    /// The text of bytes that are kept.
    #[must_use]
    pub fn format(&self, kept: &[u8], settings: &OutputSettings) -> String {
        match Range::decode(self, kept) {
            None | Some(Range::Empty) => "empty".to_owned(),
            Some(Range::Bounds { lower, upper, edges }) => {
                let bound = |value: &Option<Value>| {
                    let text = value.as_ref().map(|value| text::format(value, &self.subtype(), settings));
                    text.map_or_else(String::new, |text| literal::quoted(&text))
                };
                let open = if edges.lower { '[' } else { '(' };
                let close = if edges.upper { ']' } else { ')' };
                format!("{open}{},{}{close}", bound(&lower), bound(&upper))
            }
        }
    }
}

/// Which bounds are in a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edges {
    /// The lower one.
    pub lower: bool,
    /// The upper one.
    pub upper: bool,
}

impl Edges {
    /// As `[)` and its like say it.
    ///
    /// # Errors
    /// `42601`
    pub fn parse(text: &str) -> SqlResult<Self> {
        Ok(match text {
            "[)" => Self { lower: true, upper: false },
            "(]" => Self { lower: false, upper: true },
            "[]" => Self { lower: true, upper: true },
            "()" => Self { lower: false, upper: false },
            _ => {
                return Err(SqlError::syntax("invalid range bound flags")
                    .hint("Valid values are \"[]\", \"[)\", \"(]\", and \"()\"."));
            }
        })
    }
}

/// A range. One of whole numbers or dates has its lower bound in it, and its upper one not.
#[derive(Clone, Debug, PartialEq)]
pub enum Range {
    /// Nothing is in it.
    Empty,
    /// All between two bounds.
    Bounds {
        /// Where it begins; `None`: it has no beginning.
        lower: Option<Value>,
        /// Where it ends; `None`: it has no end.
        upper: Option<Value>,
        /// Which of them are in it; never one that is not there.
        edges: Edges,
    },
}

/// A bound of a range: its value, whether it is the lower one, whether it is in the range.
#[derive(Clone, Copy, Debug)]
struct Bound<'a> {
    value: Option<&'a Value>,
    lower: bool,
    inclusive: bool,
}

impl Bound<'_> {
    /// Which of two bounds comes first on the line of values.
    fn order(self, other: Bound) -> Ordering {
        let (own, others) = match (self.value, other.value) {
            (None, None) => return other.lower.cmp(&self.lower),
            (None, Some(_)) => return if self.lower { Ordering::Less } else { Ordering::Greater },
            (Some(_), None) => return if other.lower { Ordering::Greater } else { Ordering::Less },
            (Some(own), Some(others)) => (own, others),
        };
        let by_value = own.sql_cmp(others).unwrap_or(Ordering::Equal);
        // At one value: a lower bound that is not in the range comes behind it, an upper one before it.
        let place = |bound: Bound| match (bound.inclusive, bound.lower) {
            (true, _) => 0,
            (false, true) => 1,
            (false, false) => -1,
        };
        by_value.then_with(|| place(self).cmp(&place(other)))
    }
}

impl Range {
    /// A range between two bounds.
    ///
    /// # Errors
    /// `22000` where the lower one is above the upper one; `22003`, `22008` where the type has no value behind a bound.
    pub fn new(ty: &RangeType, lower: Option<Value>, upper: Option<Value>, edges: Edges) -> SqlResult<Self> {
        let mut edges = Edges { lower: edges.lower && lower.is_some(), upper: edges.upper && upper.is_some() };
        if let (Some(from), Some(to)) = (&lower, &upper) {
            match from.sql_cmp(to) {
                Some(Ordering::Greater) => {
                    let message = "range lower bound must be less than or equal to range upper bound";
                    return Err(SqlError::new(SqlState::DataException, message));
                }
                Some(Ordering::Equal) if !(edges.lower && edges.upper) => return Ok(Range::Empty),
                _ => {}
            }
        }
        let (mut lower, mut upper) = (lower, upper);
        if let (Some(value), false) = (&lower, edges.lower)
            && let Some(next) = ty.next(value)?
        {
            (lower, edges.lower) = (Some(next), true);
        }
        if let (Some(value), true) = (&upper, edges.upper)
            && let Some(next) = ty.next(value)?
        {
            (upper, edges.upper) = (Some(next), false);
        }
        let is_nothing = matches!((&lower, &upper), (Some(from), Some(to)) if from.sql_cmp(to) != Some(Ordering::Less))
            && !(edges.lower && edges.upper);
        Ok(if is_nothing { Range::Empty } else { Range::Bounds { lower, upper, edges } })
    }

    /// The flags of the binary format.
    #[must_use]
    pub fn flags(&self) -> u8 {
        let Range::Bounds { lower, upper, edges } = self else { return flags::EMPTY };
        let flag = |is: bool, flag: u8| if is { flag } else { 0 };
        flag(edges.lower, flags::LOWER_INCLUSIVE)
            | flag(edges.upper, flags::UPPER_INCLUSIVE)
            | flag(lower.is_none(), flags::LOWER_INFINITE)
            | flag(upper.is_none(), flags::UPPER_INFINITE)
    }

    /// The bounds that there are.
    pub fn bounds(&self) -> impl Iterator<Item = &Value> {
        let (lower, upper) = match self {
            Range::Empty => (None, None),
            Range::Bounds { lower, upper, .. } => (lower.as_ref(), upper.as_ref()),
        };
        lower.into_iter().chain(upper)
    }

    /// The bytes that are kept.
    #[must_use]
    pub fn encode(&self, ty: &RangeType) -> Vec<u8> {
        let mut kept = Vec::with_capacity(48);
        match self {
            Range::Empty => kept.push(0),
            Range::Bounds { lower, upper, edges } => {
                kept.push(1);
                kept.push(u8::from(lower.is_some()));
                if let Some(value) = lower {
                    key::encode_value(value, &mut kept);
                    kept.push(u8::from(!edges.lower));
                }
                kept.push(u8::from(upper.is_none()));
                if let Some(value) = upper {
                    key::encode_value(value, &mut kept);
                    kept.push(u8::from(edges.upper));
                }
            }
        }
        let length = kept.len() as u32;
        kept.push(self.flags());
        for bound in self.bounds() {
            let text = text::format(bound, &ty.subtype(), &OutputSettings::DEFAULT);
            kept.extend_from_slice(&(text.len() as u32).to_be_bytes());
            kept.extend_from_slice(text.as_bytes());
        }
        kept.extend_from_slice(&length.to_be_bytes());
        kept
    }

    /// Of the bytes that are kept; `None` where they are none.
    #[must_use]
    pub fn decode(ty: &RangeType, kept: &[u8]) -> Option<Self> {
        let (front, length) = kept.split_last_chunk::<4>()?;
        let (flags, mut rest) = front.get(u32::from_be_bytes(*length) as usize..)?.split_first()?;
        if flags & flags::EMPTY != 0 {
            return Some(Range::Empty);
        }
        let mut bound = |infinite: u8| {
            if flags & infinite != 0 {
                return Some(None);
            }
            let (length, behind) = rest.split_first_chunk::<4>()?;
            let (text, behind) = behind.split_at_checked(u32::from_be_bytes(*length) as usize)?;
            rest = behind;
            text::parse(std::str::from_utf8(text).ok()?, &ty.subtype()).ok().map(Some)
        };
        let (lower, upper) = (bound(flags::LOWER_INFINITE)?, bound(flags::UPPER_INFINITE)?);
        let edges = Edges { lower: flags & flags::LOWER_INCLUSIVE != 0, upper: flags & flags::UPPER_INCLUSIVE != 0 };
        Some(Range::Bounds { lower, upper, edges })
    }

    /// What orders and equals the bytes that are kept, without what the bounds are read from.
    #[must_use]
    pub fn key_of(kept: &[u8]) -> &[u8] {
        let length = kept.last_chunk::<4>().map_or(0, |length| u32::from_be_bytes(*length) as usize);
        kept.get(..length).unwrap_or(kept)
    }

    /// Its bounds, where it is not empty.
    fn ends(&self) -> Option<(Bound<'_>, Bound<'_>)> {
        let Range::Bounds { lower, upper, edges } = self else { return None };
        Some((
            Bound { value: lower.as_ref(), lower: true, inclusive: edges.lower },
            Bound { value: upper.as_ref(), lower: false, inclusive: edges.upper },
        ))
    }

    fn of_bounds(ty: &RangeType, lower: Bound, upper: Bound) -> SqlResult<Self> {
        let edges = Edges { lower: lower.inclusive, upper: upper.inclusive };
        Self::new(ty, lower.value.cloned(), upper.value.cloned(), edges)
    }

    /// Whether a value is in it.
    #[must_use]
    pub fn contains_value(&self, value: &Value) -> bool {
        let Some((lower, upper)) = self.ends() else { return false };
        let own = |lower: bool| Bound { value: Some(value), lower, inclusive: true };
        lower.order(own(true)) != Ordering::Greater && upper.order(own(false)) != Ordering::Less
    }

    /// Whether all of another range is in it.
    #[must_use]
    pub fn contains(&self, other: &Range) -> bool {
        let Some((lower, upper)) = other.ends() else { return true };
        let Some((own_lower, own_upper)) = self.ends() else { return false };
        own_lower.order(lower) != Ordering::Greater && own_upper.order(upper) != Ordering::Less
    }

    /// Whether something is in both.
    #[must_use]
    pub fn overlaps(&self, other: &Range) -> bool {
        let (Some((lower, upper)), Some((other_lower, other_upper))) = (self.ends(), other.ends()) else {
            return false;
        };
        lower.order(other_upper) != Ordering::Greater && other_lower.order(upper) != Ordering::Greater
    }

    /// Whether it ends before another begins.
    #[must_use]
    pub fn is_before(&self, other: &Range) -> bool {
        let (Some((_, upper)), Some((lower, _))) = (self.ends(), other.ends()) else { return false };
        upper.order(lower) == Ordering::Less
    }

    /// Whether it does not go beyond the end of another.
    #[must_use]
    pub fn ends_within(&self, other: &Range) -> bool {
        let (Some((_, upper)), Some((_, other_upper))) = (self.ends(), other.ends()) else { return false };
        upper.order(other_upper) != Ordering::Greater
    }

    /// Whether it does not begin before another.
    #[must_use]
    pub fn begins_within(&self, other: &Range) -> bool {
        let (Some((lower, _)), Some((other_lower, _))) = (self.ends(), other.ends()) else { return false };
        lower.order(other_lower) != Ordering::Less
    }

    /// Whether nothing lies between it and another, and nothing is in both.
    #[must_use]
    pub fn adjoins(&self, other: &Range) -> bool {
        let (Some((lower, upper)), Some((other_lower, other_upper))) = (self.ends(), other.ends()) else {
            return false;
        };
        // One value, that one of the two has. Whole numbers and dates have been brought to that form.
        let meet = |end: Bound, begin: Bound| match (end.value, begin.value) {
            (Some(end_value), Some(begin_value)) => {
                end_value.sql_cmp(begin_value) == Some(Ordering::Equal) && end.inclusive != begin.inclusive
            }
            _ => false,
        };
        meet(upper, other_lower) || meet(other_upper, lower)
    }

    /// All that is in either.
    ///
    /// # Errors
    /// `22000` where something lies between them, unless `gaps` are taken in.
    pub fn union(&self, other: &Range, ty: &RangeType, gaps: bool) -> SqlResult<Self> {
        let (Some((lower, upper)), Some((other_lower, other_upper))) = (self.ends(), other.ends()) else {
            return Ok(if *self == Range::Empty { other.clone() } else { self.clone() });
        };
        if !gaps && !self.overlaps(other) && !self.adjoins(other) {
            let message = "result of range union would not be contiguous";
            return Err(SqlError::new(SqlState::DataException, message));
        }
        let lower = if lower.order(other_lower) == Ordering::Greater { other_lower } else { lower };
        let upper = if upper.order(other_upper) == Ordering::Less { other_upper } else { upper };
        Self::of_bounds(ty, lower, upper)
    }

    /// What is in both.
    ///
    /// # Errors
    /// None that a range of its type has not had before.
    pub fn intersection(&self, other: &Range, ty: &RangeType) -> SqlResult<Self> {
        let (Some((lower, upper)), Some((other_lower, other_upper))) = (self.ends(), other.ends()) else {
            return Ok(Range::Empty);
        };
        if !self.overlaps(other) {
            return Ok(Range::Empty);
        }
        let lower = if lower.order(other_lower) == Ordering::Less { other_lower } else { lower };
        let upper = if upper.order(other_upper) == Ordering::Greater { other_upper } else { upper };
        Self::of_bounds(ty, lower, upper)
    }

    /// What is in it and not in another.
    ///
    /// # Errors
    /// `22000` where that would be two ranges.
    pub fn difference(&self, other: &Range, ty: &RangeType) -> SqlResult<Self> {
        let (Some((lower, upper)), Some((other_lower, other_upper))) = (self.ends(), other.ends()) else {
            return Ok(self.clone());
        };
        if !self.overlaps(other) {
            return Ok(self.clone());
        }
        let begins_before = lower.order(other_lower) == Ordering::Less;
        let ends_behind = upper.order(other_upper) == Ordering::Greater;
        match (begins_before, ends_behind) {
            (true, true) => {
                let message = "result of range difference would not be contiguous";
                Err(SqlError::new(SqlState::DataException, message))
            }
            (false, false) => Ok(Range::Empty),
            (true, false) => {
                let end = Bound { lower: false, inclusive: !other_lower.inclusive, ..other_lower };
                Self::of_bounds(ty, lower, end)
            }
            (false, true) => {
                let begin = Bound { lower: true, inclusive: !other_upper.inclusive, ..other_upper };
                Self::of_bounds(ty, begin, upper)
            }
        }
    }
}

/// The text of a range: `empty`, or bounds between brackets.
mod literal {
    use super::Edges;
    use crate::error::{SqlError, SqlResult, SqlState};

    /// The texts of the bounds that there are.
    type Parts = (Option<String>, Option<String>, Edges);

    /// Takes a range's text apart; `None` is the empty range.
    pub(super) fn split(text: &str) -> SqlResult<Option<Parts>> {
        let malformed = |detail: &str| {
            let message = format!("malformed range literal: \"{text}\"");
            SqlError::new(SqlState::InvalidTextRepresentation, message).detail(detail)
        };
        let trimmed = text.trim_ascii();
        if let Some(behind) = trimmed.get(..5).filter(|word| word.eq_ignore_ascii_case("empty")) {
            return if trimmed.len() == behind.len() {
                Ok(None)
            } else {
                Err(malformed("Junk after \"empty\" key word."))
            };
        }
        let mut rest = trimmed.chars();
        let lower_in = match rest.next() {
            Some('[') => true,
            Some('(') => false,
            _ => return Err(malformed("Missing left parenthesis or bracket.")),
        };
        let unended = || malformed("Unexpected end of input.");
        let (lower, comma) = bound(&mut rest).ok_or_else(unended)?;
        if comma != ',' {
            return Err(malformed("Missing comma after lower bound."));
        }
        let (upper, close) = bound(&mut rest).ok_or_else(unended)?;
        let upper_in = match close {
            ']' => true,
            ')' => false,
            _ => return Err(malformed("Too many commas.")),
        };
        if !rest.as_str().is_empty() {
            return Err(malformed("Junk after right parenthesis or bracket."));
        }
        Ok(Some((lower, upper, Edges { lower: lower_in, upper: upper_in })))
    }

    /// The text up to the character that ends a bound, and that character; `None` at the end of the text.
    fn bound(rest: &mut std::str::Chars) -> Option<(Option<String>, char)> {
        let mut text = String::new();
        let (mut quoted, mut in_quotes) = (false, false);
        loop {
            match rest.next()? {
                '\\' => text.push(rest.next()?),
                '"' if !in_quotes => (quoted, in_quotes) = (true, true),
                '"' if rest.as_str().starts_with('"') => {
                    rest.next();
                    text.push('"');
                }
                '"' => in_quotes = false,
                end @ (',' | ')' | ']' | '(' | '[') if !in_quotes => {
                    return Some(((quoted || !text.is_empty()).then_some(text), end));
                }
                c => text.push(c),
            }
        }
    }

    /// A bound's text, in quotes where it needs them.
    pub(super) fn quoted(text: &str) -> String {
        let special = |c: char| matches!(c, '"' | '\\' | '(' | ')' | '[' | ']' | ',') || c.is_ascii_whitespace();
        if !text.is_empty() && !text.contains(special) {
            return text.to_owned();
        }
        let mut out = String::with_capacity(text.len() + 2);
        out.push('"');
        for c in text.chars() {
            if matches!(c, '"' | '\\') {
                out.push(c);
            }
            out.push(c);
        }
        out.push('"');
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(ty: &RangeType, text: &str) -> Range {
        Range::decode(ty, &ty.parse(text, &OutputSettings::DEFAULT).unwrap()).unwrap()
    }

    fn text(ty: &RangeType, range: &Range) -> String {
        ty.format(&range.encode(ty), &OutputSettings::DEFAULT)
    }

    #[test]
    fn texts() {
        use RangeType::{Date, Int4, Num, Timestamp};
        for (ty, given, want) in [
            (Int4, "[1,5)", "[1,5)"),
            (Int4, " (1,5] ", "[2,6)"),
            (Int4, "(1,2)", "empty"),
            (Int4, "[3,3]", "[3,4)"),
            (Int4, "[3,3)", "empty"),
            (Int4, "EMPTY", "empty"),
            (Int4, "[,5]", "(,6)"),
            (Int4, "[,]", "(,)"),
            (Num, "(1.0,2.50]", "(1.0,2.50]"),
            (Num, "[1,1]", "[1,1]"),
            (Date, "[2020-01-01,2020-01-31]", "[2020-01-01,2020-02-01)"),
            (Date, "[-infinity,infinity]", "[-infinity,infinity]"),
            (
                Timestamp,
                "[2020-01-01 00:00,\"2020-01-02 10:00:00\")",
                "[\"2020-01-01 00:00:00\",\"2020-01-02 10:00:00\")",
            ),
        ] {
            assert_eq!(text(&ty, &of(&ty, given)), want, "{given}");
        }
        let error = |text: &str| Int4.parse(text, &OutputSettings::DEFAULT).unwrap_err().state();
        for malformed in ["", "1,2", "[1", "[1,2", "[1,2,3)", "[1 2)", "[1,2)x", "emptyx", "[a,2)"] {
            assert_eq!(error(malformed), SqlState::InvalidTextRepresentation, "{malformed}");
        }
        assert_eq!(error("[5,1)"), SqlState::DataException);
        assert_eq!(error("[1,2147483647]"), SqlState::NumericValueOutOfRange);
    }

    #[test]
    fn bytes_are_in_order() {
        let ordered = ["empty", "(,)", "[1,2)", "[1,3)", "[1,)", "(1,2)", "[1.5,2]", "[2,3)", "[2,3]", "[10,11)"];
        let kept = |text: &&str| RangeType::Num.parse(text, &OutputSettings::DEFAULT).unwrap();
        let all: Vec<Vec<u8>> = ordered.iter().map(kept).collect();
        assert!(all.is_sorted(), "{all:?}");
    }

    #[test]
    fn bytes_that_are_none_give_nothing() {
        for bytes in [&[][..], &[0], &[1, 2, 3, 4], &[255; 9], &[0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0]] {
            assert_eq!(Range::decode(&RangeType::Int4, bytes), None, "{bytes:?}");
        }
    }

    #[test]
    fn operators() {
        let of = |text| of(&RangeType::Num, text);
        assert!(of("[1,5)").contains(&of("[1,4]")));
        assert!(!of("[1,5)").contains(&of("[1,5]")));
        assert!(of("[1,5)").contains(&of("empty")));
        assert!(of("[1,5)").contains_value(&Value::Int4(1)));
        assert!(!of("(1,5)").contains_value(&Value::Int4(1)));
        assert!(!of("[1,5)").contains_value(&Value::Int4(5)));
        assert!(of("[1,5]").overlaps(&of("[5,6]")));
        assert!(!of("[1,5)").overlaps(&of("[5,6]")));
        assert!(of("[1,5)").adjoins(&of("[5,6]")));
        assert!(!of("[1,5]").adjoins(&of("[5,6]")));
        assert!(!of("[1,5)").adjoins(&of("(5,6]")));
        assert!(of("[1,5)").is_before(&of("[5,6]")));
        assert!(!of("[1,5]").is_before(&of("[5,6]")));
        assert!(of("(,5)").ends_within(&of("[1,5]")));
        assert!(of("[3,)").begins_within(&of("[1,5]")));
        let show = |range: SqlResult<Range>| range.map(|range| text(&RangeType::Num, &range)).map_err(|e| e.state());
        let ty = &RangeType::Num;
        assert_eq!(show(of("[1,3)").union(&of("[3,5)"), ty, false)).unwrap(), "[1,5)");
        assert_eq!(show(of("[1,2)").union(&of("[3,5)"), ty, false)), Err(SqlState::DataException));
        assert_eq!(show(of("[1,2)").union(&of("[3,5)"), ty, true)).unwrap(), "[1,5)");
        assert_eq!(show(of("[1,3)").intersection(&of("[2,5)"), ty)).unwrap(), "[2,3)");
        assert_eq!(show(of("[1,2)").intersection(&of("[2,5)"), ty)).unwrap(), "empty");
        assert_eq!(show(of("[1,5)").difference(&of("[3,9)"), ty)).unwrap(), "[1,3)");
        assert_eq!(show(of("[3,9)").difference(&of("[1,5]"), ty)).unwrap(), "(5,9)");
        assert_eq!(show(of("[1,9)").difference(&of("[3,5)"), ty)), Err(SqlState::DataException));
        assert_eq!(show(of("[3,5)").difference(&of("[1,9)"), ty)).unwrap(), "empty");
    }
}
