//! Type names of SQL text to fields that remember their SQL type.

use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef};
use datafusion::error::Result;
use datafusion::logical_expr::planner::TypePlanner;
use datafusion::sql::sqlparser::ast::{
    ArrayElemTypeDef, CharacterLength, DataType as SqlDataType, ExactNumberInfo, GeometricTypeKind, Ident,
    IntervalFields as SqlIntervalFields, ObjectName, TimezoneInfo,
};
use perigee_types::catalog::{TypeKind, UserType};
use perigee_types::coded::{CodedType, Shape};
use perigee_types::network::AddressType;
use perigee_types::range::RangeType;
use perigee_types::{IntervalFields, IntervalType, SqlError, SqlResult, SqlState, SqlType, vector};

use super::error::from_sql;
use super::type_names;

/// The longest varchar or char; PostgreSQL's limit.
const LENGTH_MAX: u64 = 10_485_760;

/// Resolves type names as PostgreSQL does.
#[derive(Debug)]
pub(super) struct PostgresTypes;

impl TypePlanner for PostgresTypes {
    fn plan_type_field(&self, sql_type: &SqlDataType) -> Result<Option<FieldRef>> {
        let ty = sql_type_of(sql_type).map_err(from_sql)?;
        // Without a name DataFusion would add to it what it knows of the value that is cast.
        Ok(Some(Arc::new(ty.field(ty.internal_name(), true))))
    }

    fn plan_type(&self, sql_type: &SqlDataType) -> Result<Option<DataType>> {
        Ok(Some(sql_type_of(sql_type).map_err(from_sql)?.arrow()))
    }
}

/// The SQL type that a type name of the parser stands for: in a cast, for a column or a parameter.
///
/// # Errors
/// `42704` for an unknown type, `0A000` for one that Perigee does not have.
pub fn sql_type_of(ty: &SqlDataType) -> SqlResult<SqlType> {
    Ok(match ty {
        SqlDataType::Bool | SqlDataType::Boolean => SqlType::Bool,
        SqlDataType::Int2(None) | SqlDataType::SmallInt(None) => SqlType::Int2,
        SqlDataType::Int(None) | SqlDataType::Integer(None) | SqlDataType::Int4(None) => SqlType::Int4,
        SqlDataType::BigInt(None) | SqlDataType::Int8(None) => SqlType::Int8,
        SqlDataType::Real | SqlDataType::Float4 => SqlType::Float4,
        SqlDataType::Double(_)
        | SqlDataType::Float8
        | SqlDataType::DoublePrecision
        | SqlDataType::Float(ExactNumberInfo::None) => SqlType::Float8,
        SqlDataType::Float(ExactNumberInfo::Precision(bits)) => match bits {
            1..=24 => SqlType::Float4,
            25..=53 => SqlType::Float8,
            _ => return Err(invalid("precision for type float must be between 1 and 53 bits")),
        },
        SqlDataType::Numeric(info) | SqlDataType::Decimal(info) | SqlDataType::Dec(info) => numeric(info)?,
        SqlDataType::Text => SqlType::Text,
        SqlDataType::Varchar(length) | SqlDataType::CharacterVarying(length) | SqlDataType::CharVarying(length) => {
            SqlType::Varchar(self::length(length.as_ref(), "varchar")?)
        }
        SqlDataType::Char(length) | SqlDataType::Character(length) => {
            SqlType::Char(self::length(length.as_ref(), "char")?.unwrap_or(1))
        }
        SqlDataType::Uuid => SqlType::Uuid,
        SqlDataType::Bytea => SqlType::Bytea,
        SqlDataType::JSON => SqlType::Json,
        SqlDataType::JSONB => SqlType::Jsonb,
        SqlDataType::Date => SqlType::Date,
        SqlDataType::Time(digits, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => {
            SqlType::Time(second_digits(*digits))
        }
        SqlDataType::Timestamp(digits, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => {
            SqlType::Timestamp(second_digits(*digits))
        }
        SqlDataType::Timestamp(digits, TimezoneInfo::Tz | TimezoneInfo::WithTimeZone) => {
            SqlType::Timestamptz(second_digits(*digits))
        }
        SqlDataType::Interval { fields: None, precision: None } => SqlType::Interval,
        SqlDataType::Interval { fields, precision } => {
            let fields = fields.as_ref().map(interval_fields);
            SqlType::IntervalOf(IntervalType { fields, digits: second_digits(*precision) })
        }
        SqlDataType::Regclass => SqlType::Regclass,
        // Made of a constant that has so many dimensions.
        SqlDataType::Array(ArrayElemTypeDef::AngleBracket(of)) => SqlType::Array(Box::new(sql_type_of(of)?)),
        SqlDataType::Array(ArrayElemTypeDef::SquareBracket(of, _) | ArrayElemTypeDef::Parenthesis(of)) => {
            match sql_type_of(of)? {
                // PostgreSQL does not tell int[][] from int[].
                array @ SqlType::Array(_) => array,
                of => SqlType::Array(Box::new(of)),
            }
        }
        SqlDataType::Custom(name, modifiers) => custom(name, modifiers)?,
        SqlDataType::Time(digits, TimezoneInfo::Tz | TimezoneInfo::WithTimeZone) => {
            SqlType::Timetz(second_digits(*digits))
        }
        SqlDataType::Bit(length) => SqlType::Coded(CodedType::Bit(Some(bits(*length, "bit")?.unwrap_or(1)))),
        SqlDataType::BitVarying(length) | SqlDataType::VarBit(length) => {
            SqlType::Coded(CodedType::VarBit(bits(*length, "varbit")?))
        }
        SqlDataType::GeometricType(kind) => SqlType::Coded(CodedType::Shape(match kind {
            GeometricTypeKind::Point => Shape::Point,
            GeometricTypeKind::Line => Shape::Line,
            GeometricTypeKind::LineSegment => Shape::Segment,
            GeometricTypeKind::GeometricBox => Shape::Box,
            GeometricTypeKind::GeometricPath => Shape::Path,
            GeometricTypeKind::Polygon => Shape::Polygon,
            GeometricTypeKind::Circle => Shape::Circle,
        })),
        SqlDataType::TsVector | SqlDataType::TsQuery => {
            return Err(SqlError::unsupported(format_args!("type {}", ty.to_string().to_lowercase())));
        }
        other => return Err(undefined(&other.to_string().to_lowercase())),
    })
}

/// A count of bits as declared.
fn bits(length: Option<u64>, name: &str) -> SqlResult<Option<u32>> {
    const BITS_MAX: u64 = 83_886_080;
    match length {
        Some(0) => Err(invalid(format!("length for type {name} must be at least 1"))),
        Some(length) if length > BITS_MAX => Err(invalid(format!("length for type {name} cannot exceed {BITS_MAX}"))),
        length => Ok(length.and_then(|length| u32::try_from(length).ok())),
    }
}

fn interval_fields(fields: &SqlIntervalFields) -> IntervalFields {
    match fields {
        SqlIntervalFields::Year => IntervalFields::Year,
        SqlIntervalFields::Month => IntervalFields::Month,
        SqlIntervalFields::Day => IntervalFields::Day,
        SqlIntervalFields::Hour => IntervalFields::Hour,
        SqlIntervalFields::Minute => IntervalFields::Minute,
        SqlIntervalFields::Second => IntervalFields::Second,
        SqlIntervalFields::YearToMonth => IntervalFields::YearToMonth,
        SqlIntervalFields::DayToHour => IntervalFields::DayToHour,
        SqlIntervalFields::DayToMinute => IntervalFields::DayToMinute,
        SqlIntervalFields::DayToSecond => IntervalFields::DayToSecond,
        SqlIntervalFields::HourToMinute => IntervalFields::HourToMinute,
        SqlIntervalFields::HourToSecond => IntervalFields::HourToSecond,
        SqlIntervalFields::MinuteToSecond => IntervalFields::MinuteToSecond,
    }
}

/// Declared digits of a second; PostgreSQL takes more than six as six.
fn second_digits(digits: Option<u64>) -> Option<u8> {
    digits.map(|digits| u8::try_from(digits).unwrap_or(6).min(6))
}

/// The count of dimensions behind `vector`.
fn dimensions(modifiers: &[String]) -> SqlResult<Option<u16>> {
    let [count] = modifiers else {
        return if modifiers.is_empty() { Ok(None) } else { Err(invalid("invalid type modifier")) };
    };
    let count = count.trim().parse::<i64>().map_err(|_| invalid("invalid type modifier"))?;
    if count < 1 {
        return Err(invalid("dimensions for type vector must be at least 1"));
    }
    let fits = u16::try_from(count).ok().filter(|count| usize::from(*count) <= vector::DIMENSIONS_MAX);
    let too_many = || invalid(format!("dimensions for type vector cannot exceed {}", vector::DIMENSIONS_MAX));
    fits.map(Some).ok_or_else(too_many)
}

fn custom(name: &ObjectName, modifiers: &[String]) -> SqlResult<SqlType> {
    let quoted = name.0.last().and_then(|p| p.as_ident()).is_some_and(|i| i.quote_style.is_some());
    let Some(bare) = bare_name(name) else {
        let unknown = || undefined(&name.to_string());
        let mut parts = parts(name).filter(|_| modifiers.is_empty()).ok_or_else(unknown)?;
        if let Some(found) = type_names::find(&parts) {
            return plain(&found);
        }
        let element = parts.last().and_then(|last| last.strip_prefix('_')).map(str::to_owned).ok_or_else(unknown)?;
        parts.pop();
        parts.push(element);
        let of = plain(&*type_names::find(&parts).ok_or_else(unknown)?)?;
        return Ok(SqlType::Array(Box::new(of)));
    };
    if !modifiers.is_empty() && bare != "bpchar" && bare != "vector" {
        return Err(SqlError::syntax(format!("type modifier is not allowed for type \"{bare}\"")));
    }
    if let Some(ty) = range_type(&bare) {
        return Ok(ty);
    }
    if let Some(ty) = CodedType::named(&bare) {
        return Ok(SqlType::Coded(ty));
    }
    Ok(match bare.as_str() {
        // "char" in quotes is another type than char.
        "char" if quoted => SqlType::InternalChar,
        "bool" => SqlType::Bool,
        "int2" => SqlType::Int2,
        "int4" => SqlType::Int4,
        "int8" => SqlType::Int8,
        "float4" => SqlType::Float4,
        "float8" => SqlType::Float8,
        "numeric" => SqlType::Numeric(None),
        "text" => SqlType::Text,
        "varchar" => SqlType::Varchar(None),
        "bpchar" => match modifiers {
            [length] => SqlType::Char(length.parse().map_err(|_| invalid("invalid length for type char"))?),
            _ => SqlType::Text,
        },
        "name" => SqlType::Name,
        "bytea" => SqlType::Bytea,
        "date" => SqlType::Date,
        "time" => SqlType::Time(None),
        "timetz" => SqlType::Timetz(None),
        "timestamp" => SqlType::Timestamp(None),
        "timestamptz" => SqlType::Timestamptz(None),
        "interval" => SqlType::Interval,
        "uuid" => SqlType::Uuid,
        "json" => SqlType::Json,
        "jsonb" => SqlType::Jsonb,
        "jsonpath" => SqlType::JsonPath,
        "vector" => SqlType::Vector(dimensions(modifiers)?),
        "inet" => SqlType::Address(AddressType::Inet),
        "cidr" => SqlType::Address(AddressType::Cidr),
        "macaddr" => SqlType::Address(AddressType::Mac),
        "macaddr8" => SqlType::Address(AddressType::Mac8),
        "oid" => SqlType::Oid,
        "xid" => SqlType::Xid,
        "regclass" => SqlType::Regclass,
        "regtype" => SqlType::Regtype,
        // Functions are told apart by their names alone.
        "regproc" | "regprocedure" => SqlType::Regproc,
        "regnamespace" => SqlType::Regnamespace,
        "regrole" => SqlType::Regrole,
        // What input functions read: no column is of it.
        "cstring" => SqlType::Text,
        "unknown" => SqlType::Unknown,
        "void" => SqlType::Void,
        "citext" => SqlType::Citext,
        "xml" | "tsvector" | "tsquery" | "cid" | "record" => {
            return Err(SqlError::unsupported(format_args!("type {bare}")));
        }
        other => match (type_names::find(&[other.to_owned()]), other.strip_prefix('_')) {
            (Some(found), _) => plain(&found)?,
            (None, Some(of)) => {
                let of = custom(&ObjectName::from(vec![Ident::with_quote('"', of)]), &[]);
                SqlType::Array(Box::new(of.map_err(|_| undefined(other))?))
            }
            (None, None) => return Err(undefined(other)),
        },
    })
}

fn range_type(name: &str) -> Option<SqlType> {
    let named = |ty: &RangeType| match name {
        name if name == ty.name() => Some(SqlType::Range(ty.clone())),
        name if name == ty.multirange_name() => Some(SqlType::Multirange(ty.clone())),
        _ => None,
    };
    RangeType::ALL.iter().find_map(named)
}

/// The type of a user's type where none of its rules would be forgotten.
fn plain(ty: &UserType) -> SqlResult<SqlType> {
    match &ty.kind {
        TypeKind::Domain(_) => Err(SqlError::unsupported(format_args!("domain {} here", ty.name))),
        TypeKind::Enum(_) | TypeKind::Composite(_) | TypeKind::Range(_) | TypeKind::Multirange(_) => Ok(ty.sql_type()),
    }
}

/// The domain that a type name of the parser stands for.
pub(crate) fn domain_of(ty: &SqlDataType) -> Option<Arc<UserType>> {
    let SqlDataType::Custom(name, modifiers) = ty else { return None };
    let found = type_names::find(&parts(name)?).filter(|_| modifiers.is_empty())?;
    // What PostgreSQL has by itself comes first.
    let is_domain = matches!(found.kind, TypeKind::Domain(_));
    (is_domain && (name.0.len() > 1 || custom(name, modifiers).is_err())).then_some(found)
}

fn parts(name: &ObjectName) -> Option<Vec<String>> {
    name.0.iter().map(|part| part.as_ident().map(fold)).collect()
}

/// The name without a schema; that of the system may be written.
pub(crate) fn bare_name(name: &ObjectName) -> Option<String> {
    match parts(name)?.as_slice() {
        [name] => Some(name.clone()),
        [schema, name] if schema == "pg_catalog" => Some(name.clone()),
        _ => None,
    }
}

fn numeric(info: &ExactNumberInfo) -> SqlResult<SqlType> {
    let (precision, scale) = match *info {
        ExactNumberInfo::None => return Ok(SqlType::Numeric(None)),
        ExactNumberInfo::Precision(precision) => (precision, 0),
        ExactNumberInfo::PrecisionAndScale(precision, scale) => (precision, scale),
    };
    if !(1..=1000).contains(&precision) {
        return Err(invalid(format!("NUMERIC precision {precision} must be between 1 and 1000")));
    }
    if !(-1000..=1000).contains(&scale) {
        return Err(invalid(format!("NUMERIC scale {scale} must be between -1000 and 1000")));
    }
    Ok(SqlType::Numeric(Some((precision as u16, scale as i16))))
}

fn length(length: Option<&CharacterLength>, name: &str) -> SqlResult<Option<u32>> {
    match length {
        None => Ok(None),
        Some(CharacterLength::IntegerLength { length: 0, .. }) => {
            Err(invalid(format!("length for type {name} must be at least 1")))
        }
        Some(CharacterLength::IntegerLength { length, .. }) if *length > LENGTH_MAX => {
            Err(invalid(format!("length for type {name} cannot exceed {LENGTH_MAX}")))
        }
        Some(CharacterLength::IntegerLength { length, .. }) => Ok(u32::try_from(*length).ok()),
        Some(CharacterLength::Max) => Err(undefined(name)),
    }
}

/// A name as PostgreSQL keeps it.
fn fold(ident: &Ident) -> String {
    if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_lowercase() }
}

fn invalid(message: impl Into<String>) -> SqlError {
    SqlError::new(SqlState::InvalidParameterValue, message)
}

fn undefined(name: &str) -> SqlError {
    SqlError::new(SqlState::UndefinedObject, format!("type \"{name}\" does not exist"))
}
