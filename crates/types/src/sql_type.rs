//! SQL types, their PostgreSQL identity and the Arrow type each one is stored as.
//!
//! A type that Arrow cannot tell apart (jsonb from text, varchar(40) from text) stands in the field's metadata under
//! [`FIELD_METADATA_KEY`].

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, IntervalUnit, TimeUnit};
use serde::{Deserialize, Serialize};

use crate::coded::CodedType;
use crate::composite::CompositeType;
use crate::enum_type::EnumType;
use crate::ids::Oid;
use crate::interval_type::IntervalType;
use crate::network::AddressType;
use crate::range::RangeType;

/// Key of an Arrow field's metadata under which the SQL type stands, as [`SqlType`]'s JSON.
pub const FIELD_METADATA_KEY: &str = "perigee.type";

/// The zone of every timestamptz column: values are stored in UTC.
pub const UTC: &str = "+00:00";

/// Digits of the numerics that a column keeps in 128 bits each.
pub const SHORT_PRECISION_MAX: u16 = 38;

/// An SQL type.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SqlType {
    /// boolean
    Bool,
    /// smallint
    Int2,
    /// integer
    Int4,
    /// bigint
    Int8,
    /// real
    Float4,
    /// double precision
    Float8,
    /// numeric, with precision and scale where they were declared
    Numeric(Option<(u16, i16)>),
    /// text
    Text,
    /// character varying, with its length in characters where it was declared
    Varchar(Option<u32>),
    /// character(n), padded with blanks
    Char(u32),
    /// name: an identifier in the catalog
    Name,
    /// "char": one byte, in the catalog
    InternalChar,
    /// bytea
    Bytea,
    /// date
    Date,
    /// time without time zone, with its digits of a second where they were declared
    Time(Option<u8>),
    /// time with time zone, as well
    Timetz(Option<u8>),
    /// timestamp without time zone, as well
    Timestamp(Option<u8>),
    /// timestamp with time zone, as well
    Timestamptz(Option<u8>),
    /// interval
    Interval,
    /// interval, with the fields or the digits of a second that were declared
    IntervalOf(IntervalType),
    /// uuid
    Uuid,
    /// json
    Json,
    /// jsonb
    Jsonb,
    /// jsonpath
    JsonPath,
    /// oid
    Oid,
    /// xid: the number of a transaction
    Xid,
    /// regclass
    Regclass,
    /// regtype
    Regtype,
    /// regproc
    Regproc,
    /// regnamespace
    Regnamespace,
    /// regrole
    Regrole,
    /// vector of pgvector, with its count of dimensions where it was declared
    Vector(Option<u16>),
    /// inet, cidr, macaddr, macaddr8
    Address(AddressType),
    /// int4range, int8range, numrange, tsrange, tstzrange, daterange, and those that users make
    Range(RangeType),
    /// int4multirange and its like
    Multirange(RangeType),
    /// an enumerated type that a user made
    Enum(Arc<EnumType>),
    /// an array; one of arrays has several dimensions
    Array(Box<SqlType>),
    /// record: a row of named values, which no column of a table holds
    Record(Vec<(String, SqlType)>),
    /// the type of a literal that nothing has given a type yet
    Unknown,
    /// the result of a function that returns nothing
    Void,
    /// bit strings, points and their like, pg_lsn, the types of hstore and ltree
    Coded(CodedType),
    /// citext: text that compares whatever its case
    Citext,
    /// a composite type that a user made
    Composite(Arc<CompositeType>),
}

impl SqlType {
    /// The Arrow type that values are stored and computed as.
    #[must_use]
    pub fn arrow(&self) -> DataType {
        match self {
            SqlType::Bool => DataType::Boolean,
            SqlType::Int2 => DataType::Int16,
            SqlType::Int4 => DataType::Int32,
            SqlType::Int8 => DataType::Int64,
            SqlType::Float4 => DataType::Float32,
            SqlType::Float8 => DataType::Float64,
            SqlType::Numeric(modifier) => match short_numeric(*modifier) {
                Some((precision, scale)) => DataType::Decimal128(precision, scale),
                // No other type has this form, so that it is known wherever only the Arrow type is.
                None => DataType::LargeBinary,
            },
            SqlType::Text
            | SqlType::Varchar(_)
            | SqlType::Char(_)
            | SqlType::Name
            | SqlType::InternalChar
            | SqlType::Json
            | SqlType::Jsonb
            | SqlType::JsonPath
            | SqlType::Citext
            | SqlType::Unknown
            | SqlType::Void => DataType::Utf8View,
            SqlType::Bytea
            | SqlType::Coded(_)
            | SqlType::Composite(_)
            | SqlType::Timetz(_)
            | SqlType::Vector(_)
            | SqlType::Address(_)
            | SqlType::Range(_)
            | SqlType::Multirange(_) => DataType::BinaryView,
            SqlType::Date => DataType::Date32,
            SqlType::Time(_) => DataType::Time64(TimeUnit::Microsecond),
            SqlType::Timestamp(_) => DataType::Timestamp(TimeUnit::Microsecond, None),
            SqlType::Timestamptz(_) => DataType::Timestamp(TimeUnit::Microsecond, Some(UTC.into())),
            SqlType::Interval | SqlType::IntervalOf(_) => DataType::Interval(IntervalUnit::MonthDayNano),
            SqlType::Uuid => DataType::FixedSizeBinary(16),
            SqlType::Oid
            | SqlType::Xid
            | SqlType::Regclass
            | SqlType::Regtype
            | SqlType::Regproc
            | SqlType::Regnamespace
            | SqlType::Regrole => DataType::UInt32,
            // Seconds are nobody else's: integers that compare and sort, with the whole type in the zone.
            SqlType::Enum(of) => DataType::Timestamp(TimeUnit::Second, Some(of.zone())),
            SqlType::Array(of) => DataType::List(Arc::new(of.item())),
            SqlType::Record(fields) => {
                DataType::Struct(fields.iter().map(|(name, ty)| ty.field(name.as_str(), true)).collect())
            }
        }
    }

    /// The field of the items of an array of this type.
    ///
    /// The field of the array alone says of which type they are: DataFusion keeps what is said of items in some places and not in
    /// others, and takes lists that differ in it for lists of different types.
    #[must_use]
    pub fn item(&self) -> Field {
        Field::new("item", self.arrow(), true)
    }

    /// An Arrow field of this type that remembers it.
    #[must_use]
    pub fn field(&self, name: impl Into<String>, nullable: bool) -> Field {
        let field = Field::new(name, self.arrow(), nullable);
        if SqlType::of_arrow(field.data_type()).as_ref() == Some(self) {
            return field;
        }
        let json = serde_json::to_string(self).unwrap_or_default();
        field.with_metadata(HashMap::from([(FIELD_METADATA_KEY.to_owned(), json)]))
    }

    /// The SQL type of an Arrow field: what its metadata says, else what fits its Arrow type.
    #[must_use]
    pub fn of_field(field: &Field) -> SqlType {
        if let Some(ty) = field.metadata().get(FIELD_METADATA_KEY).and_then(|json| serde_json::from_str(json).ok()) {
            return ty;
        }
        match field.data_type() {
            DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
                SqlType::Array(Box::new(SqlType::of_field(item)))
            }
            other => SqlType::of_arrow(other).unwrap_or(SqlType::Text),
        }
    }

    /// The SQL type that an Arrow type stands for by itself, `None` where there is no such type.
    #[must_use]
    pub fn of_arrow(ty: &DataType) -> Option<SqlType> {
        Some(match ty {
            DataType::Boolean => SqlType::Bool,
            DataType::Int8 | DataType::Int16 | DataType::UInt8 => SqlType::Int2,
            DataType::Int32 | DataType::UInt16 => SqlType::Int4,
            DataType::Int64 => SqlType::Int8,
            DataType::UInt32 => SqlType::Oid,
            DataType::UInt64 => SqlType::Numeric(Some((20, 0))),
            DataType::Float16 | DataType::Float32 => SqlType::Float4,
            DataType::Float64 => SqlType::Float8,
            DataType::Decimal32(p, s)
            | DataType::Decimal64(p, s)
            | DataType::Decimal128(p, s)
            | DataType::Decimal256(p, s) => SqlType::Numeric(Some((u16::from(*p), i16::from(*s)))),
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => SqlType::Text,
            DataType::LargeBinary => SqlType::Numeric(None),
            DataType::Binary | DataType::BinaryView => SqlType::Bytea,
            DataType::FixedSizeBinary(16) => SqlType::Uuid,
            DataType::FixedSizeBinary(_) => SqlType::Bytea,
            DataType::Date32 | DataType::Date64 => SqlType::Date,
            DataType::Time32(_) | DataType::Time64(_) => SqlType::Time(None),
            DataType::Timestamp(TimeUnit::Second, Some(zone)) => match EnumType::of_zone(zone) {
                Some(of) => SqlType::Enum(of),
                None => SqlType::Timestamptz(None),
            },
            DataType::Timestamp(_, None) => SqlType::Timestamp(None),
            DataType::Timestamp(_, Some(_)) => SqlType::Timestamptz(None),
            DataType::Interval(_) | DataType::Duration(_) => SqlType::Interval,
            DataType::Null => SqlType::Text,
            DataType::Dictionary(_, of) => return SqlType::of_arrow(of),
            DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
                SqlType::Array(Box::new(SqlType::of_arrow(item.data_type())?))
            }
            DataType::Struct(fields) => {
                SqlType::Record(fields.iter().map(|field| (field.name().clone(), SqlType::of_field(field))).collect())
            }
            _ => return None,
        })
    }

    /// The oid of the type in `pg_type`.
    #[must_use]
    pub fn oid(&self) -> u32 {
        match self {
            SqlType::Bool => 16,
            SqlType::Bytea => 17,
            SqlType::InternalChar => 18,
            SqlType::Name => 19,
            SqlType::Int8 => 20,
            SqlType::Int2 => 21,
            SqlType::Int4 => 23,
            SqlType::Regproc => 24,
            SqlType::Text => 25,
            SqlType::Oid => 26,
            SqlType::Xid => 28,
            SqlType::Json => 114,
            SqlType::Float4 => 700,
            SqlType::Float8 => 701,
            SqlType::Unknown => 705,
            SqlType::Char(_) => 1042,
            SqlType::Varchar(_) => 1043,
            SqlType::Date => 1082,
            SqlType::Time(_) => 1083,
            SqlType::Timetz(_) => 1266,
            SqlType::Timestamp(_) => 1114,
            SqlType::Timestamptz(_) => 1184,
            SqlType::Interval | SqlType::IntervalOf(_) => 1186,
            SqlType::Numeric(_) => 1700,
            SqlType::Regclass => 2205,
            SqlType::Regtype => 2206,
            SqlType::Regnamespace => 4089,
            SqlType::Regrole => 4096,
            SqlType::Record(_) => 2249,
            SqlType::Void => 2278,
            SqlType::Uuid => 2950,
            SqlType::Jsonb => 3802,
            SqlType::JsonPath => 4072,
            // An extension's types have no numbers of their own: these are free in PostgreSQL.
            SqlType::Vector(_) => 16_196,
            SqlType::Citext => 16_168,
            SqlType::Coded(of) => of.oids().0,
            SqlType::Address(of) => of.oids().0,
            SqlType::Range(of) => of.oids().0,
            SqlType::Multirange(of) => of.multirange_oids().0,
            SqlType::Enum(of) => of.oid().0,
            SqlType::Composite(of) => of.oid.0,
            SqlType::Array(of) => match &**of {
                SqlType::Bool => 1000,
                SqlType::Bytea => 1001,
                SqlType::InternalChar => 1002,
                SqlType::Name => 1003,
                SqlType::Int2 => 1005,
                SqlType::Int4 => 1007,
                SqlType::Regproc => 1008,
                SqlType::Char(_) => 1014,
                SqlType::Varchar(_) => 1015,
                SqlType::Int8 => 1016,
                SqlType::Float4 => 1021,
                SqlType::Float8 => 1022,
                SqlType::Xid => 1011,
                SqlType::Oid => 1028,
                SqlType::Timestamp(_) => 1115,
                SqlType::Date => 1182,
                SqlType::Time(_) => 1183,
                SqlType::Timetz(_) => 1270,
                SqlType::Timestamptz(_) => 1185,
                SqlType::Interval | SqlType::IntervalOf(_) => 1187,
                SqlType::Numeric(_) => 1231,
                SqlType::Regclass => 2210,
                SqlType::Regtype => 2211,
                SqlType::Regnamespace => 4090,
                SqlType::Regrole => 4097,
                SqlType::Uuid => 2951,
                SqlType::Json => 199,
                SqlType::Jsonb => 3807,
                SqlType::JsonPath => 4073,
                SqlType::Vector(_) => 16_197,
                SqlType::Citext => 16_169,
                SqlType::Coded(of) => of.oids().1,
                SqlType::Address(of) => of.oids().1,
                SqlType::Range(of) => of.oids().1,
                SqlType::Multirange(of) => of.multirange_oids().1,
                SqlType::Enum(of) => of.array().0,
                SqlType::Composite(of) => of.array.0,
                SqlType::Record(_) => 2287,
                // An array of any number of dimensions has one type.
                SqlType::Array(_) => of.oid(),
                SqlType::Text | SqlType::Unknown | SqlType::Void => 1009,
            },
        }
    }

    /// The type with an oid of `pg_type`, without a modifier; `None` for types that Perigee does not have.
    #[must_use]
    pub fn from_oid(oid: u32) -> Option<SqlType> {
        let simple = [
            SqlType::Bool,
            SqlType::Bytea,
            SqlType::InternalChar,
            SqlType::Name,
            SqlType::Int8,
            SqlType::Int2,
            SqlType::Int4,
            SqlType::Regproc,
            SqlType::Regnamespace,
            SqlType::Regrole,
            SqlType::Text,
            SqlType::Oid,
            SqlType::Xid,
            SqlType::Json,
            SqlType::Float4,
            SqlType::Float8,
            SqlType::Unknown,
            SqlType::Char(1),
            SqlType::Varchar(None),
            SqlType::Date,
            SqlType::Time(None),
            SqlType::Timetz(None),
            SqlType::Timestamp(None),
            SqlType::Timestamptz(None),
            SqlType::Interval,
            SqlType::Numeric(None),
            SqlType::Regclass,
            SqlType::Regtype,
            SqlType::Void,
            SqlType::Uuid,
            SqlType::Jsonb,
            SqlType::JsonPath,
            SqlType::Vector(None),
            SqlType::Citext,
            SqlType::Address(AddressType::Inet),
            SqlType::Address(AddressType::Cidr),
            SqlType::Address(AddressType::Mac),
            SqlType::Address(AddressType::Mac8),
        ];
        let ranges = RangeType::ALL.into_iter().flat_map(|of| [SqlType::Range(of.clone()), SqlType::Multirange(of)]);
        let coded = CodedType::ALL.into_iter().map(SqlType::Coded);
        let all: Vec<SqlType> = simple.into_iter().chain(ranges).chain(coded).collect();
        if let Some(found) = all.iter().find(|t| t.oid() == oid) {
            return Some(found.clone());
        }
        all.into_iter().map(|t| SqlType::Array(Box::new(t))).find(|t| t.oid() == oid)
    }

    /// `typlen`: bytes of a value, -1 where it varies.
    #[must_use]
    pub fn type_length(&self) -> i16 {
        match self {
            SqlType::Bool | SqlType::InternalChar => 1,
            SqlType::Int2 => 2,
            SqlType::Int4 | SqlType::Float4 | SqlType::Date | SqlType::Void => 4,
            SqlType::Oid
            | SqlType::Xid
            | SqlType::Regclass
            | SqlType::Regtype
            | SqlType::Regproc
            | SqlType::Regnamespace
            | SqlType::Regrole
            | SqlType::Enum(_) => 4,
            SqlType::Int8 | SqlType::Float8 | SqlType::Time(_) | SqlType::Timestamp(_) | SqlType::Timestamptz(_) => 8,
            SqlType::Timetz(_) => 12,
            SqlType::Interval | SqlType::IntervalOf(_) | SqlType::Uuid => 16,
            SqlType::Name => 64,
            SqlType::Unknown => -2,
            SqlType::Address(of) => of.type_length(),
            SqlType::Coded(of) => of.type_length(),
            _ => -1,
        }
    }

    /// Digits of a second that were declared.
    #[must_use]
    pub fn second_digits(&self) -> Option<u8> {
        match self {
            SqlType::Time(digits)
            | SqlType::Timetz(digits)
            | SqlType::Timestamp(digits)
            | SqlType::Timestamptz(digits) => *digits,
            _ => None,
        }
    }

    /// The type without declared digits of a second, fields of an interval and counts of bits; others as they are.
    #[must_use]
    pub fn without_second_digits(&self) -> SqlType {
        match self {
            SqlType::Time(_) => SqlType::Time(None),
            SqlType::Timetz(_) => SqlType::Timetz(None),
            SqlType::Timestamp(_) => SqlType::Timestamp(None),
            SqlType::Timestamptz(_) => SqlType::Timestamptz(None),
            SqlType::IntervalOf(_) => SqlType::Interval,
            SqlType::Coded(of) => SqlType::Coded(of.without_modifier()),
            other => other.clone(),
        }
    }

    /// A count of microseconds with the digits of a second that were declared; halves go away from zero. The infinities stay.
    #[must_use]
    pub fn rounded_micros(&self, micros: i64) -> i64 {
        let Some(digits) = self.second_digits().filter(|digits| *digits < 6) else { return micros };
        if micros == i64::MAX || micros == i64::MIN {
            return micros;
        }
        let unit = 10_i64.pow(6 - u32::from(digits));
        let (whole, rest) = (micros / unit, micros % unit);
        let up = if rest.abs() * 2 >= unit { micros.signum() } else { 0 };
        (whole + up).checked_mul(unit).unwrap_or(micros)
    }

    /// `atttypmod`: the modifier as PostgreSQL writes it, -1 without one.
    #[must_use]
    pub fn modifier(&self) -> i32 {
        match self {
            SqlType::Numeric(Some((precision, scale))) => {
                ((i32::from(*precision) << 16) | (i32::from(*scale) & 0x7ff)) + 4
            }
            SqlType::Varchar(Some(n)) | SqlType::Char(n) => *n as i32 + 4,
            SqlType::Vector(Some(n)) => i32::from(*n),
            SqlType::Coded(of) => of.modifier(),
            SqlType::Time(Some(n))
            | SqlType::Timetz(Some(n))
            | SqlType::Timestamp(Some(n))
            | SqlType::Timestamptz(Some(n)) => i32::from(*n),
            SqlType::IntervalOf(of) => of.modifier(),
            SqlType::Array(of) => of.modifier(),
            _ => -1,
        }
    }

    /// `typname` in `pg_type`.
    #[must_use]
    pub fn internal_name(&self) -> String {
        match self {
            SqlType::Bool => "bool",
            SqlType::Int2 => "int2",
            SqlType::Int4 => "int4",
            SqlType::Int8 => "int8",
            SqlType::Float4 => "float4",
            SqlType::Float8 => "float8",
            SqlType::Numeric(_) => "numeric",
            SqlType::Text => "text",
            SqlType::Varchar(_) => "varchar",
            SqlType::Char(_) => "bpchar",
            SqlType::Name => "name",
            SqlType::InternalChar => "char",
            SqlType::Bytea => "bytea",
            SqlType::Date => "date",
            SqlType::Time(_) => "time",
            SqlType::Timetz(_) => "timetz",
            SqlType::Timestamp(_) => "timestamp",
            SqlType::Timestamptz(_) => "timestamptz",
            SqlType::Interval | SqlType::IntervalOf(_) => "interval",
            SqlType::Uuid => "uuid",
            SqlType::Json => "json",
            SqlType::Jsonb => "jsonb",
            SqlType::JsonPath => "jsonpath",
            SqlType::Vector(_) => "vector",
            SqlType::Address(of) => of.name(),
            SqlType::Coded(of) => of.name(),
            SqlType::Citext => "citext",
            SqlType::Range(of) => of.name(),
            SqlType::Multirange(of) => of.multirange_name(),
            SqlType::Oid => "oid",
            SqlType::Xid => "xid",
            SqlType::Regclass => "regclass",
            SqlType::Regtype => "regtype",
            SqlType::Regproc => "regproc",
            SqlType::Regnamespace => "regnamespace",
            SqlType::Regrole => "regrole",
            SqlType::Unknown => "unknown",
            SqlType::Void => "void",
            SqlType::Record(_) => "record",
            SqlType::Enum(of) => of.name(),
            SqlType::Composite(of) => &of.name,
            SqlType::Array(of) => return format!("_{}", of.internal_name()),
        }
        .to_owned()
    }

    /// How many dimensions arrays of the type have; 0 for what is no array.
    #[must_use]
    pub fn dimensions(&self) -> usize {
        match self {
            SqlType::Array(of) => 1 + of.dimensions(),
            _ => 0,
        }
    }

    /// The type of the elements of an array, however many dimensions it has; what is no array is its own.
    #[must_use]
    pub fn element(&self) -> &SqlType {
        match self {
            SqlType::Array(of) => of.element(),
            ty => ty,
        }
    }

    /// The type of arrays of the same elements with so many dimensions; what is no array stays.
    #[must_use]
    pub fn with_dimensions(&self, count: usize) -> SqlType {
        match self {
            SqlType::Array(_) => (0..count).fold(self.element().clone(), |ty, _| SqlType::Array(Box::new(ty))),
            ty => ty.clone(),
        }
    }

    /// The type whose Arrow form storage keeps: enumerated types all have one, so that a new label changes no column.
    #[must_use]
    pub fn stored(&self) -> SqlType {
        match self {
            SqlType::Enum(_) => SqlType::Enum(EnumType::form()),
            SqlType::Array(of) => SqlType::Array(Box::new(of.stored())),
            other => other.clone(),
        }
    }

    /// The oid of the type that a user made and that this is, or is an array of.
    #[must_use]
    pub fn user_type(&self) -> Option<Oid> {
        match self {
            SqlType::Enum(of) => Some(of.oid()),
            SqlType::Composite(of) => Some(of.oid),
            SqlType::Range(of) => of.user_type(),
            SqlType::Multirange(of) => of.user_multirange(),
            SqlType::Array(of) => of.user_type(),
            _ => None,
        }
    }

    /// The type with another definition of one enumerated type in it; `None` where it has nothing of that type.
    #[must_use]
    pub fn with_enum(&self, new: &Arc<EnumType>) -> Option<SqlType> {
        match self {
            SqlType::Enum(of) if of.oid() == new.oid() => Some(SqlType::Enum(Arc::clone(new))),
            SqlType::Array(of) => Some(SqlType::Array(Box::new(of.with_enum(new)?))),
            _ => None,
        }
    }

    /// Whether its values are bytes that mean something else, which Arrow's type alone does not say.
    #[must_use]
    pub fn is_kept_as_bytes(&self) -> bool {
        matches!(
            self,
            SqlType::Timetz(_)
                | SqlType::Address(_)
                | SqlType::Range(_)
                | SqlType::Multirange(_)
                | SqlType::Coded(_)
                | SqlType::Composite(_)
        )
    }

    /// Whether it is one of the string types.
    #[must_use]
    pub fn is_string(&self) -> bool {
        matches!(
            self,
            SqlType::Text | SqlType::Varchar(_) | SqlType::Char(_) | SqlType::Name | SqlType::Citext | SqlType::Unknown
        )
    }

    /// Whether it is one of the integer types.
    #[must_use]
    pub fn is_integer(&self) -> bool {
        matches!(self, SqlType::Int2 | SqlType::Int4 | SqlType::Int8)
    }

    /// Whether it is one of the number types.
    #[must_use]
    pub fn is_number(&self) -> bool {
        self.is_integer() || matches!(self, SqlType::Float4 | SqlType::Float8 | SqlType::Numeric(_))
    }
}

/// Precision and scale of a numeric that a column keeps in 128 bits; `None` for one that takes any count of digits.
#[must_use]
pub fn short_numeric(modifier: Option<(u16, i16)>) -> Option<(u8, i8)> {
    let (precision, scale) = modifier?;
    let fits = precision <= SHORT_PRECISION_MAX && u16::try_from(scale).is_ok_and(|scale| scale <= precision);
    fits.then_some((precision as u8, scale as i8))
}

/// The name as `format_type` prints it.
impl fmt::Display for SqlType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SqlType::Bool => f.write_str("boolean"),
            SqlType::Int2 => f.write_str("smallint"),
            SqlType::Int4 => f.write_str("integer"),
            SqlType::Int8 => f.write_str("bigint"),
            SqlType::Float4 => f.write_str("real"),
            SqlType::Float8 => f.write_str("double precision"),
            SqlType::Numeric(Some((p, s))) => write!(f, "numeric({p},{s})"),
            SqlType::Varchar(Some(n)) => write!(f, "character varying({n})"),
            SqlType::Varchar(None) => f.write_str("character varying"),
            SqlType::Char(n) => write!(f, "character({n})"),
            SqlType::InternalChar => f.write_str("\"char\""),
            SqlType::Time(None) => f.write_str("time without time zone"),
            SqlType::Time(Some(n)) => write!(f, "time({n}) without time zone"),
            SqlType::Timetz(None) => f.write_str("time with time zone"),
            SqlType::Timetz(Some(n)) => write!(f, "time({n}) with time zone"),
            SqlType::Timestamp(None) => f.write_str("timestamp without time zone"),
            SqlType::Timestamp(Some(n)) => write!(f, "timestamp({n}) without time zone"),
            SqlType::Timestamptz(None) => f.write_str("timestamp with time zone"),
            SqlType::Timestamptz(Some(n)) => write!(f, "timestamp({n}) with time zone"),
            SqlType::IntervalOf(of) => of.fmt(f),
            SqlType::Vector(Some(n)) => write!(f, "vector({n})"),
            SqlType::Array(of) => write!(f, "{of}[]"),
            SqlType::Enum(of) => f.write_str(&of.display_name()),
            SqlType::Coded(of) => f.write_str(&of.display_name()),
            SqlType::Composite(of) => f.write_str(&of.display_name()),
            SqlType::Range(of) => f.write_str(&of.display_name()),
            SqlType::Multirange(of) => f.write_str(&of.multirange_display_name()),
            other => f.write_str(&other.internal_name()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_remembers_its_type() {
        for ty in [
            SqlType::Int4,
            SqlType::Jsonb,
            SqlType::Varchar(Some(40)),
            SqlType::Char(1),
            SqlType::Numeric(None),
            SqlType::Numeric(Some((15, 2))),
            SqlType::Timestamptz(None),
            SqlType::Uuid,
            SqlType::Array(Box::new(SqlType::Uuid)),
            SqlType::Array(Box::new(SqlType::Text)),
            SqlType::Regclass,
        ] {
            assert_eq!(SqlType::of_field(&ty.field("c", true)), ty);
        }
    }

    #[test]
    fn oids_come_back() {
        for oid in [16, 20, 21, 23, 25, 700, 701, 1043, 1082, 1184, 1700, 2950, 3802, 1007, 1009, 1231, 600, 1561] {
            assert_eq!(SqlType::from_oid(oid).map(|t| t.oid()), Some(oid));
        }
        assert_eq!(SqlType::from_oid(3614), None);
    }

    #[test]
    fn modifiers_are_postgresqls() {
        assert_eq!(SqlType::Varchar(Some(40)).modifier(), 44);
        assert_eq!(SqlType::Timestamptz(Some(3)).modifier(), 3);
        assert_eq!(SqlType::Numeric(Some((15, 2))).modifier(), (15 << 16 | 2) + 4);
        assert_eq!(SqlType::Text.modifier(), -1);
    }

    #[test]
    fn seconds_are_rounded_away_from_zero() {
        let to = |digits, micros| SqlType::Timestamp(digits).rounded_micros(micros);
        assert_eq!(to(Some(0), 1_500_000), 2_000_000);
        assert_eq!(to(Some(0), -1_500_000), -2_000_000);
        assert_eq!(to(Some(3), 1_499), 1_000);
        assert_eq!(to(Some(6), 1_499), 1_499);
        assert_eq!(to(None, 1_499), 1_499);
        assert_eq!(to(Some(0), i64::MAX), i64::MAX);
        assert_eq!(to(Some(0), i64::MIN), i64::MIN);
    }
}
