//! Types whose values are kept as bytes in a code of their own: bit strings, points and their like, `pg_lsn`, and the types of
//! the extensions hstore and ltree.
//!
//! Where a type has an order the bytes have it too, and equal values are equal bytes.

mod bits;
mod geometry;
pub mod hstore;
pub mod ltree;

use serde::{Deserialize, Serialize};

use crate::error::{SqlError, SqlResult, SqlState};
use crate::text::{OutputSettings, invalid_syntax};

pub use bits::Bits;
pub use geometry::Shape;

/// Which of these types.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum CodedType {
    /// bit(n); without a length where nothing has declared one
    Bit(Option<u32>),
    /// bit varying(n), as well
    VarBit(Option<u32>),
    /// pg_lsn: a place in the log, 8 bytes
    Lsn,
    /// A geometric type
    Shape(Shape),
    /// hstore: texts by their keys
    Hstore,
    /// ltree: a path of labels
    Ltree,
    /// lquery: a pattern of paths
    Lquery,
    /// ltxtquery: words that a path has
    Ltxtquery,
}

/// The version of the binary formats of ltree's types.
const LTREE_VERSION: u8 = 1;

impl CodedType {
    /// All of them, without modifiers.
    pub const ALL: [CodedType; 14] = [
        CodedType::Bit(None),
        CodedType::VarBit(None),
        CodedType::Lsn,
        CodedType::Shape(Shape::Point),
        CodedType::Shape(Shape::Line),
        CodedType::Shape(Shape::Segment),
        CodedType::Shape(Shape::Path),
        CodedType::Shape(Shape::Box),
        CodedType::Shape(Shape::Polygon),
        CodedType::Shape(Shape::Circle),
        CodedType::Hstore,
        CodedType::Ltree,
        CodedType::Lquery,
        CodedType::Ltxtquery,
    ];

    /// `typname`
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            CodedType::Bit(_) => "bit",
            CodedType::VarBit(_) => "varbit",
            CodedType::Lsn => "pg_lsn",
            CodedType::Shape(of) => of.name(),
            CodedType::Hstore => "hstore",
            CodedType::Ltree => "ltree",
            CodedType::Lquery => "lquery",
            CodedType::Ltxtquery => "ltxtquery",
        }
    }

    /// The type of a name, without a modifier.
    #[must_use]
    pub fn named(name: &str) -> Option<CodedType> {
        CodedType::ALL.into_iter().find(|ty| ty.name() == name)
    }

    /// The name as `format_type` prints it.
    #[must_use]
    pub fn display_name(self) -> String {
        match self {
            CodedType::Bit(Some(n)) => format!("bit({n})"),
            CodedType::VarBit(None) => "bit varying".to_owned(),
            CodedType::VarBit(Some(n)) => format!("bit varying({n})"),
            other => other.name().to_owned(),
        }
    }

    /// Its oid, and that of its arrays. Extensions' types have no numbers of their own: these are free in PostgreSQL, and clients
    /// (asyncpg) ask what a type is only where its oid is above 9,999.
    #[must_use]
    pub fn oids(self) -> (u32, u32) {
        match self {
            CodedType::Bit(_) => (1560, 1561),
            CodedType::VarBit(_) => (1562, 1563),
            CodedType::Lsn => (3220, 3221),
            CodedType::Shape(of) => of.oids(),
            CodedType::Hstore => (16_170, 16_171),
            CodedType::Ltree => (16_172, 16_173),
            CodedType::Lquery => (16_174, 16_175),
            CodedType::Ltxtquery => (16_176, 16_177),
        }
    }

    /// `typlen`
    #[must_use]
    pub fn type_length(self) -> i16 {
        match self {
            CodedType::Lsn => 8,
            CodedType::Shape(of) => of.type_length(),
            _ => -1,
        }
    }

    /// `atttypmod`
    #[must_use]
    pub fn modifier(self) -> i32 {
        match self {
            CodedType::Bit(Some(n)) | CodedType::VarBit(Some(n)) => n.cast_signed(),
            _ => -1,
        }
    }

    /// The type with another `atttypmod`.
    #[must_use]
    pub fn with_modifier(self, modifier: i64) -> CodedType {
        let length = u32::try_from(modifier).ok();
        match self {
            CodedType::Bit(_) => CodedType::Bit(length),
            CodedType::VarBit(_) => CodedType::VarBit(length),
            other => other,
        }
    }

    /// The type without a length.
    #[must_use]
    pub fn without_modifier(self) -> CodedType {
        self.with_modifier(-1)
    }

    /// Whether values are equal to others: `=` is there, and so are DISTINCT, GROUP BY, ORDER BY and keys.
    #[must_use]
    pub fn has_order(self) -> bool {
        !matches!(self, CodedType::Shape(_) | CodedType::Lquery | CodedType::Ltxtquery)
    }

    /// Reads a value's text as the bytes that are kept.
    ///
    /// # Errors
    /// `22P02`, and `42601` for the types of hstore and ltree; `22026` and `22001` for bits of another length than declared.
    pub fn parse(self, text: &str) -> SqlResult<Vec<u8>> {
        match self {
            CodedType::Bit(_) | CodedType::VarBit(_) => self.fit(Bits::parse(text)?.encode(), false),
            CodedType::Lsn => parse_lsn(text).map(|lsn| lsn.to_be_bytes().to_vec()),
            CodedType::Shape(of) => of.parse(text),
            CodedType::Hstore => hstore::parse(text),
            CodedType::Ltree => ltree::parse(text),
            CodedType::Lquery => ltree::LevelQuery::parse(text).map(|_| text.trim_ascii().as_bytes().to_vec()),
            CodedType::Ltxtquery => ltree::WordQuery::parse(text).map(|query| query.to_string().into_bytes()),
        }
    }

    /// Bits with the length that the type declares; others as they are. `explicit`: a cast, which cuts and pads.
    ///
    /// # Errors
    /// `22026` and `22001` for another length, where nothing has been cast.
    pub fn fit(self, kept: Vec<u8>, explicit: bool) -> SqlResult<Vec<u8>> {
        let (CodedType::Bit(Some(length)) | CodedType::VarBit(Some(length))) = self else { return Ok(kept) };
        let mut bits = Bits::decode(&kept);
        let is_fixed = matches!(self, CodedType::Bit(_));
        let count = bits.count();
        if count == length as usize || !is_fixed && count <= length as usize {
            return Ok(kept);
        }
        if explicit {
            bits.resize(length as usize);
            return Ok(bits.encode());
        }
        Err(if is_fixed {
            let message = format!("bit string length {count} does not match type bit({length})");
            SqlError::new(SqlState::StringDataLengthMismatch, message)
        } else {
            let message = format!("bit string too long for type bit varying({length})");
            SqlError::new(SqlState::StringDataRightTruncation, message)
        })
    }

    /// The text of bytes that are kept.
    #[must_use]
    pub fn format(self, kept: &[u8], settings: &OutputSettings) -> String {
        match self {
            CodedType::Bit(_) | CodedType::VarBit(_) => Bits::decode(kept).to_string(),
            CodedType::Lsn => {
                let lsn = kept.try_into().map_or(0, u64::from_be_bytes);
                format!("{:X}/{:X}", lsn >> 32, lsn & 0xffff_ffff)
            }
            CodedType::Shape(of) => of.format(kept, settings.extra_float_digits),
            CodedType::Hstore => hstore::format(kept),
            CodedType::Ltree => ltree::format(kept),
            CodedType::Lquery | CodedType::Ltxtquery => String::from_utf8_lossy(kept).into_owned(),
        }
    }

    /// The bytes of the binary format.
    #[must_use]
    pub fn to_wire(self, kept: &[u8]) -> Vec<u8> {
        match self {
            CodedType::Bit(_) | CodedType::VarBit(_) => Bits::decode(kept).to_wire(),
            CodedType::Lsn | CodedType::Shape(_) | CodedType::Hstore => kept.to_vec(),
            CodedType::Ltree => [&[LTREE_VERSION], ltree::format(kept).as_bytes()].concat(),
            CodedType::Lquery | CodedType::Ltxtquery => [&[LTREE_VERSION], kept].concat(),
        }
    }

    /// The bytes that are kept, of those of the binary format.
    ///
    /// # Errors
    /// `22P03`, and as [`CodedType::parse`].
    pub fn from_wire(self, wire: &[u8]) -> SqlResult<Vec<u8>> {
        match self {
            CodedType::Bit(_) | CodedType::VarBit(_) => {
                let bits = Bits::from_wire(wire).ok_or_else(|| bad_binary(self))?;
                self.fit(bits.encode(), false)
            }
            CodedType::Lsn if wire.len() == 8 => Ok(wire.to_vec()),
            CodedType::Lsn => Err(bad_binary(self)),
            CodedType::Shape(of) => of.read_wire(wire).ok_or_else(|| bad_binary(self)),
            CodedType::Hstore => hstore::from_wire(wire),
            CodedType::Ltree | CodedType::Lquery | CodedType::Ltxtquery => match wire {
                [LTREE_VERSION, text @ ..] => self.parse(std::str::from_utf8(text).map_err(|_| bad_binary(self))?),
                _ => Err(bad_binary(self)),
            },
        }
    }
}

fn bad_binary(ty: CodedType) -> SqlError {
    let message = format!("invalid binary value of type {}", ty.name());
    SqlError::new(SqlState::InvalidBinaryRepresentation, message)
}

/// Two numbers of up to eight hexadecimal digits.
fn parse_lsn(text: &str) -> SqlResult<u64> {
    let half = |digits: &str| {
        let fits = (1..=8).contains(&digits.len()) && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        fits.then(|| u64::from_str_radix(digits, 16).ok()).flatten()
    };
    let halves = text.trim_ascii().split_once('/').and_then(|(high, low)| Some((half(high)?, half(low)?)));
    halves.map(|(high, low)| high << 32 | low).ok_or_else(|| invalid_syntax("pg_lsn", text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn there_and_back(ty: CodedType, text: &str) -> String {
        let kept = ty.parse(text).unwrap();
        assert_eq!(ty.from_wire(&ty.to_wire(&kept)).unwrap(), kept, "{text}");
        ty.format(&kept, &OutputSettings::DEFAULT)
    }

    #[test]
    fn places_in_the_log() {
        assert_eq!(there_and_back(CodedType::Lsn, "16/B374D848"), "16/B374D848");
        assert_eq!(there_and_back(CodedType::Lsn, "0/0"), "0/0");
        let state = |text: &str| CodedType::Lsn.parse(text).unwrap_err().state().code();
        assert_eq!(state("G/0"), "22P02");
        assert_eq!(state("123456789/0"), "22P02");
        assert!(CodedType::Lsn.parse("1/0").unwrap() > CodedType::Lsn.parse("0/FFFFFFFF").unwrap());
    }

    #[test]
    fn lengths_of_bits_are_kept_or_refused() {
        let fixed = CodedType::Bit(Some(3));
        let bits = |text: &str| Bits::parse(text).unwrap().encode();
        assert_eq!(fixed.fit(bits("1011"), false).unwrap_err().state().code(), "22026");
        assert_eq!(fixed.fit(bits("1011"), true).unwrap(), bits("101"));
        assert_eq!(fixed.fit(bits("1"), true).unwrap(), bits("100"));
        let varying = CodedType::VarBit(Some(3));
        assert_eq!(varying.fit(bits("1"), true).unwrap(), bits("1"));
        assert_eq!(varying.fit(bits("1011"), false).unwrap_err().state().code(), "22001");
    }

    #[test]
    fn other_types_come_back() {
        assert_eq!(there_and_back(CodedType::VarBit(None), "0110"), "0110");
        assert_eq!(there_and_back(CodedType::Hstore, "b=>NULL, a=>\"x y\""), "\"a\"=>\"x y\", \"b\"=>NULL");
        assert_eq!(there_and_back(CodedType::Ltree, "a.b_1.c"), "a.b_1.c");
        assert_eq!(there_and_back(CodedType::Lquery, "b.*{1,2}.d|e"), "b.*{1,2}.d|e");
        assert_eq!(there_and_back(CodedType::Ltxtquery, "b@*&!c"), "b@* & !c");
        for damaged in [&[][..], &[2, b'a'], &[0xff, 0xff, 0xff, 0xff]] {
            for ty in CodedType::ALL {
                assert!(ty.from_wire(damaged).is_err(), "{} {damaged:?}", ty.name());
            }
        }
    }
}
