//! Types of ranges: those that are built in, and those that CREATE TYPE … AS RANGE makes.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::coded::CodedType;
use crate::enum_type::quoted;
use crate::ids::Oid;
use crate::sql_type::SqlType;

/// Which type of ranges.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum RangeType {
    /// int4range
    Int4,
    /// int8range
    Int8,
    /// numrange
    Num,
    /// tsrange
    Timestamp,
    /// tstzrange
    Timestamptz,
    /// daterange
    Date,
    /// one that a user made
    User(Arc<UserRange>),
}

/// A type of ranges that a user made, and the type of several of them.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct UserRange {
    /// Its oid.
    pub oid: Oid,
    /// The oid of the type of its arrays.
    pub array: Oid,
    /// Its name.
    pub name: String,
    /// The oid of the type of several ranges.
    pub multirange: Oid,
    /// The oid of the type of that one's arrays.
    pub multirange_array: Oid,
    /// That one's name.
    pub multirange_name: String,
    /// The type of the bounds.
    pub subtype: SqlType,
    /// The function that was declared to measure how far two bounds are apart: kept and shown, not called.
    pub subtype_diff: Option<Oid>,
}

impl RangeType {
    /// Those that are built in.
    pub const ALL: [RangeType; 6] = [
        RangeType::Int4,
        RangeType::Int8,
        RangeType::Num,
        RangeType::Timestamp,
        RangeType::Timestamptz,
        RangeType::Date,
    ];

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            RangeType::Int4 => "int4range",
            RangeType::Int8 => "int8range",
            RangeType::Num => "numrange",
            RangeType::Timestamp => "tsrange",
            RangeType::Timestamptz => "tstzrange",
            RangeType::Date => "daterange",
            RangeType::User(of) => &of.name,
        }
    }

    /// The name of the type of several such ranges.
    #[must_use]
    pub fn multirange_name(&self) -> &str {
        match self {
            RangeType::Int4 => "int4multirange",
            RangeType::Int8 => "int8multirange",
            RangeType::Num => "nummultirange",
            RangeType::Timestamp => "tsmultirange",
            RangeType::Timestamptz => "tstzmultirange",
            RangeType::Date => "datemultirange",
            RangeType::User(of) => &of.multirange_name,
        }
    }

    /// Its name as SQL needs it.
    #[must_use]
    pub fn display_name(&self) -> String {
        quoted(self.name())
    }

    /// The name of the type of several such ranges, as SQL needs it.
    #[must_use]
    pub fn multirange_display_name(&self) -> String {
        quoted(self.multirange_name())
    }

    /// Its oid, and that of its arrays.
    #[must_use]
    pub fn oids(&self) -> (u32, u32) {
        match self {
            RangeType::Int4 => (3904, 3905),
            RangeType::Num => (3906, 3907),
            RangeType::Timestamp => (3908, 3909),
            RangeType::Timestamptz => (3910, 3911),
            RangeType::Date => (3912, 3913),
            RangeType::Int8 => (3926, 3927),
            RangeType::User(of) => (of.oid.0, of.array.0),
        }
    }

    /// The oid of the type of several such ranges, and that of its arrays.
    #[must_use]
    pub fn multirange_oids(&self) -> (u32, u32) {
        match self {
            RangeType::Int4 => (4451, 6150),
            RangeType::Num => (4532, 6151),
            RangeType::Timestamp => (4533, 6152),
            RangeType::Timestamptz => (4534, 6153),
            RangeType::Date => (4535, 6155),
            RangeType::Int8 => (4536, 6157),
            RangeType::User(of) => (of.multirange.0, of.multirange_array.0),
        }
    }

    /// The type of its bounds.
    #[must_use]
    pub fn subtype(&self) -> SqlType {
        match self {
            RangeType::Int4 => SqlType::Int4,
            RangeType::Int8 => SqlType::Int8,
            RangeType::Num => SqlType::Numeric(None),
            RangeType::Timestamp => SqlType::Timestamp(None),
            RangeType::Timestamptz => SqlType::Timestamptz(None),
            RangeType::Date => SqlType::Date,
            RangeType::User(of) => of.subtype.clone(),
        }
    }

    /// Whether a type may be that of the bounds: its values are in the order of their keys, and their texts say all of them.
    #[must_use]
    pub fn takes(subtype: &SqlType) -> bool {
        match subtype {
            SqlType::Bool
            | SqlType::Int2
            | SqlType::Int4
            | SqlType::Int8
            | SqlType::Float4
            | SqlType::Float8
            | SqlType::Numeric(_)
            | SqlType::Text
            | SqlType::Varchar(_)
            | SqlType::Name
            | SqlType::Bytea
            | SqlType::Date
            | SqlType::Time(_)
            | SqlType::Timetz(_)
            | SqlType::Timestamp(_)
            | SqlType::Timestamptz(_)
            | SqlType::Interval
            | SqlType::Uuid
            | SqlType::Oid
            | SqlType::Address(_) => true,
            SqlType::Coded(of) => {
                matches!(of, CodedType::Bit(_) | CodedType::VarBit(_) | CodedType::Lsn | CodedType::Money)
            }
            _ => false,
        }
    }

    /// Whether equal ranges may be kept as several bytes: their bounds may be equal and have several texts.
    #[must_use]
    pub fn has_forms(&self) -> bool {
        match self {
            RangeType::Num => true,
            RangeType::User(of) => {
                matches!(of.subtype, SqlType::Numeric(_) | SqlType::Float4 | SqlType::Float8 | SqlType::Interval)
            }
            _ => false,
        }
    }

    /// The oid of the type that a user made.
    #[must_use]
    pub fn user_type(&self) -> Option<Oid> {
        match self {
            RangeType::User(of) => Some(of.oid),
            _ => None,
        }
    }

    /// The oid of the type of several such ranges, where a user made it.
    #[must_use]
    pub fn user_multirange(&self) -> Option<Oid> {
        match self {
            RangeType::User(of) => Some(of.multirange),
            _ => None,
        }
    }
}
