//! Types as SQL writes them.

use perigee_types::{SqlError, SqlResult, SqlState, SqlType};
use sqlparser::ast::{ArrayElemTypeDef, CharacterLength, DataType, ExactNumberInfo, ObjectName, TimezoneInfo};

use crate::sql::parse::fold;

/// The longest varchar or char; PostgreSQL's limit.
const LENGTH_MAX: u64 = 10_485_760;
/// The most digits of a numeric: what 128 bits hold.
const PRECISION_MAX: u64 = 38;

/// A type, or the shorthand for a column with a sequence.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum ColumnType {
    /// A type.
    Plain(SqlType),
    /// smallserial, serial, bigserial
    Serial(SqlType),
}

/// The type of a column in CREATE TABLE.
///
/// # Errors
/// `42704` for an unknown type, `0A000` for one that Perigee does not have.
pub(super) fn column_type(ty: &DataType) -> SqlResult<ColumnType> {
    if let DataType::Custom(name, modifiers) = ty
        && modifiers.is_empty()
        && let Some(name) = bare_name(name)
    {
        match name.as_str() {
            "smallserial" | "serial2" => return Ok(ColumnType::Serial(SqlType::Int2)),
            "serial" | "serial4" => return Ok(ColumnType::Serial(SqlType::Int4)),
            "bigserial" | "serial8" => return Ok(ColumnType::Serial(SqlType::Int8)),
            _ => {}
        }
    }
    sql_type(ty).map(ColumnType::Plain)
}

/// The type that a cast, a column or a parameter names.
///
/// # Errors
/// `42704` for an unknown type, `0A000` for one that Perigee does not have.
pub(in crate::sql) fn sql_type(ty: &DataType) -> SqlResult<SqlType> {
    Ok(match ty {
        DataType::Bool | DataType::Boolean => SqlType::Bool,
        DataType::Int2(None) | DataType::SmallInt(None) => SqlType::Int2,
        DataType::Int(None) | DataType::Integer(None) | DataType::Int4(None) => SqlType::Int4,
        DataType::BigInt(None) | DataType::Int8(None) => SqlType::Int8,
        DataType::Real | DataType::Float4 => SqlType::Float4,
        DataType::Float8 | DataType::DoublePrecision | DataType::Float(ExactNumberInfo::None) => SqlType::Float8,
        DataType::Float(ExactNumberInfo::Precision(bits)) => match bits {
            1..=24 => SqlType::Float4,
            25..=53 => SqlType::Float8,
            _ => return Err(invalid("precision for type float must be between 1 and 53 bits")),
        },
        DataType::Numeric(info) | DataType::Decimal(info) | DataType::Dec(info) => numeric(info)?,
        DataType::Text => SqlType::Text,
        DataType::Varchar(length) | DataType::CharacterVarying(length) | DataType::CharVarying(length) => {
            SqlType::Varchar(self::length(length.as_ref(), "varchar")?)
        }
        DataType::Char(length) | DataType::Character(length) => {
            SqlType::Char(self::length(length.as_ref(), "char")?.unwrap_or(1))
        }
        DataType::Uuid => SqlType::Uuid,
        DataType::Bytea => SqlType::Bytea,
        DataType::JSON => SqlType::Json,
        DataType::JSONB => SqlType::Jsonb,
        DataType::Date => SqlType::Date,
        DataType::Time(precision, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => {
            fraction(*precision, "time")?;
            SqlType::Time
        }
        DataType::Timestamp(precision, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => {
            fraction(*precision, "timestamp")?;
            SqlType::Timestamp
        }
        DataType::Timestamp(precision, TimezoneInfo::Tz | TimezoneInfo::WithTimeZone) => {
            fraction(*precision, "timestamptz")?;
            SqlType::Timestamptz
        }
        DataType::Interval { fields: None, precision: None } => SqlType::Interval,
        DataType::Regclass => SqlType::Regclass,
        DataType::Array(
            ArrayElemTypeDef::SquareBracket(of, _)
            | ArrayElemTypeDef::AngleBracket(of)
            | ArrayElemTypeDef::Parenthesis(of),
        ) => match sql_type(of)? {
            // PostgreSQL does not tell int[][] from int[].
            array @ SqlType::Array(_) => array,
            of => SqlType::Array(Box::new(of)),
        },
        DataType::Custom(name, modifiers) => custom(name, modifiers)?,
        DataType::Time(..) => return Err(SqlError::unsupported("type time with time zone")),
        DataType::Bit(_) | DataType::BitVarying(_) | DataType::VarBit(_) => {
            return Err(SqlError::unsupported("type bit"));
        }
        DataType::Interval { .. } => return Err(SqlError::unsupported("an interval type with fields or precision")),
        DataType::TsVector | DataType::TsQuery | DataType::GeometricType(_) => {
            return Err(SqlError::unsupported(format_args!("type {}", ty.to_string().to_lowercase())));
        }
        other => return Err(undefined(&other.to_string().to_lowercase())),
    })
}

fn custom(name: &ObjectName, modifiers: &[String]) -> SqlResult<SqlType> {
    let quoted = name.0.last().and_then(|p| p.as_ident()).is_some_and(|i| i.quote_style.is_some());
    let bare = bare_name(name).ok_or_else(|| undefined(&name.to_string()))?;
    if !modifiers.is_empty() && bare != "bpchar" {
        return Err(SqlError::syntax(format!("type modifier is not allowed for type \"{bare}\"")));
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
        "time" => SqlType::Time,
        "timestamp" => SqlType::Timestamp,
        "timestamptz" => SqlType::Timestamptz,
        "interval" => SqlType::Interval,
        "uuid" => SqlType::Uuid,
        "json" => SqlType::Json,
        "jsonb" => SqlType::Jsonb,
        "oid" => SqlType::Oid,
        "regclass" => SqlType::Regclass,
        "regtype" => SqlType::Regtype,
        "regproc" => SqlType::Regproc,
        // Shown by its number: no catalog of ours has a column of it.
        "regnamespace" | "regrole" => SqlType::Oid,
        "unknown" => SqlType::Unknown,
        "void" => SqlType::Void,
        "inet" | "cidr" | "macaddr" | "money" | "xml" | "point" | "line" | "box" | "circle" | "polygon" | "path"
        | "timetz" | "tsvector" | "tsquery" | "hstore" | "citext" | "int4range" | "int8range" | "numrange"
        | "tsrange" | "tstzrange" | "daterange" | "pg_lsn" | "xid" | "cid" | "tid" => {
            return Err(SqlError::unsupported(format_args!("type {bare}")));
        }
        other => match other.strip_prefix('_') {
            Some(of) => {
                let of = custom(&ObjectName::from(vec![sqlparser::ast::Ident::new(of)]), &[])?;
                SqlType::Array(Box::new(of))
            }
            None => return Err(undefined(other)),
        },
    })
}

/// The name without a schema; that of the system may be written.
fn bare_name(name: &ObjectName) -> Option<String> {
    let parts = name.0.iter().map(|part| part.as_ident().map(fold)).collect::<Option<Vec<_>>>()?;
    match parts.as_slice() {
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
    if precision > PRECISION_MAX {
        return Err(SqlError::unsupported(format_args!("numeric with more than {PRECISION_MAX} digits")));
    }
    let (Ok(precision), Ok(scale)) = (u8::try_from(precision), i8::try_from(scale)) else {
        return Err(invalid(format!("NUMERIC scale {scale} must be between -1000 and 1000")));
    };
    if scale < 0 || i16::from(scale) > i16::from(precision) {
        return Err(SqlError::unsupported(format_args!("numeric with a scale of {scale} in {precision} digits")));
    }
    Ok(SqlType::Numeric(Some((precision, scale))))
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

/// Fewer than six digits of a second would have to be rounded.
fn fraction(precision: Option<u64>, name: &str) -> SqlResult<()> {
    match precision {
        None | Some(6) => Ok(()),
        Some(digits) => Err(SqlError::unsupported(format_args!("type {name}({digits})"))),
    }
}

fn invalid(message: impl Into<String>) -> SqlError {
    SqlError::new(SqlState::InvalidParameterValue, message)
}

fn undefined(name: &str) -> SqlError {
    SqlError::new(SqlState::UndefinedObject, format!("type \"{name}\" does not exist"))
}
