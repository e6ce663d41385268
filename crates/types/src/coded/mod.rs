//! Types whose values are kept as bytes in a code of their own: bit strings, points and their like, `pg_lsn`, `tid`, `money`, and the
//! types of the extensions hstore and ltree.
//!
//! Where a type has an order the bytes have it too, and equal values are equal bytes.

mod bits;
mod geometry;
pub mod hstore;
pub mod ltree;
pub mod money;

use serde::{Deserialize, Serialize};

use crate::error::{SqlError, SqlResult, SqlState};
use crate::ids::Vid;
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
    /// tid: the place of a row version, its block in 4 bytes and its number there in 2
    Tid,
    /// money: hundredths, 8 bytes
    Money,
}

/// The version of the binary formats of ltree's types.
const LTREE_VERSION: u8 = 1;

impl CodedType {
    /// All of them, without modifiers.
    pub const ALL: [CodedType; 16] = [
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
        CodedType::Tid,
        CodedType::Money,
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
            CodedType::Tid => "tid",
            CodedType::Money => "money",
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
            CodedType::Tid => (27, 1010),
            CodedType::Money => (790, 791),
        }
    }

    /// `typlen`
    #[must_use]
    pub fn type_length(self) -> i16 {
        match self {
            CodedType::Lsn | CodedType::Money => 8,
            CodedType::Tid => 6,
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
            CodedType::Tid => parse_tid(text).map(|(block, number)| tid_at(block, number)),
            CodedType::Money => money::parse(text).map(money::encode),
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
            CodedType::Tid => {
                let (block, number) = kept.split_first_chunk::<4>().unwrap_or((&[0; 4], &[]));
                let number = number.try_into().map_or(0, u16::from_be_bytes);
                format!("({},{number})", u32::from_be_bytes(*block))
            }
            CodedType::Money => money::format(kept),
        }
    }

    /// The bytes of the binary format.
    #[must_use]
    pub fn to_wire(self, kept: &[u8]) -> Vec<u8> {
        match self {
            CodedType::Bit(_) | CodedType::VarBit(_) => Bits::decode(kept).to_wire(),
            CodedType::Lsn | CodedType::Tid | CodedType::Shape(_) | CodedType::Hstore => kept.to_vec(),
            CodedType::Money => money::decode(kept).to_be_bytes().to_vec(),
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
            CodedType::Tid if wire.len() == 6 => Ok(wire.to_vec()),
            CodedType::Money => {
                wire.try_into().map(|wire| money::encode(i64::from_be_bytes(wire))).map_err(|_| bad_binary(self))
            }
            CodedType::Lsn | CodedType::Tid => Err(bad_binary(self)),
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

/// `(block,number)`, each in digits.
fn parse_tid(text: &str) -> SqlResult<(u32, u16)> {
    let inner = text.trim_ascii().strip_prefix('(').and_then(|text| text.strip_suffix(')'));
    let halves = inner.and_then(|text| text.split_once(','));
    let halves =
        halves.and_then(|(block, number)| Some((block.trim_ascii().parse().ok()?, number.trim_ascii().parse().ok()?)));
    halves.ok_or_else(|| invalid_syntax("tid", text))
}

fn tid_at(block: u32, number: u16) -> Vec<u8> {
    [&block.to_be_bytes()[..], &number.to_be_bytes()].concat()
}

/// The place, as bytes that are kept, that stands for the version of a row with this number: one each, in the same order, the numbers
/// within a block from 1 on as in PostgreSQL. Rows of an open transaction stand behind all others.
#[must_use]
pub fn tid_of(vid: Vid) -> Vec<u8> {
    const BLOCKS: u32 = 1 << 31;
    let in_block = u64::from(u16::MAX);
    let (first, place) = match vid.0.checked_sub(Vid::LOCAL_FIRST.0) {
        Some(local) => (BLOCKS, local),
        None => (0, vid.0),
    };
    let block = u32::try_from(place / in_block).map_or(BLOCKS - 1, |block| block.min(BLOCKS - 1));
    tid_at(first + block, u16::try_from(place % in_block + 1).unwrap_or(u16::MAX))
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
    fn places_of_rows() {
        assert_eq!(there_and_back(CodedType::Tid, " ( 7, 12 ) "), "(7,12)");
        assert_eq!(there_and_back(CodedType::Tid, "(4294967295,65535)"), "(4294967295,65535)");
        for text in ["", "(1)", "1,2", "(1,2", "(-1,2)", "(1,65536)", "(4294967296,1)"] {
            assert_eq!(CodedType::Tid.parse(text).unwrap_err().state().code(), "22P02", "{text}");
        }
        let shown = |vid: u64| CodedType::Tid.format(&tid_of(Vid(vid)), &OutputSettings::DEFAULT);
        assert_eq!([shown(0), shown(1), shown(65_534), shown(65_535)], ["(0,1)", "(0,2)", "(0,65535)", "(1,1)"]);
        assert!(tid_of(Vid(65_534)) < tid_of(Vid(65_535)));
        assert_eq!(shown(Vid::LOCAL_FIRST.0 + 1), "(2147483648,2)");
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
        assert_eq!(there_and_back(CodedType::Money, "-1234.5"), "-$1,234.50");
        assert_eq!(there_and_back(CodedType::Lquery, "b.*{1,2}.d|e"), "b.*{1,2}.d|e");
        assert_eq!(there_and_back(CodedType::Ltxtquery, "b@*&!c"), "b@* & !c");
        for damaged in [&[][..], &[2, b'a'], &[0xff, 0xff, 0xff, 0xff]] {
            for ty in CodedType::ALL {
                assert!(ty.from_wire(damaged).is_err(), "{} {damaged:?}", ty.name());
            }
        }
    }
}
