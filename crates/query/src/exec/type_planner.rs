//! Type names of SQL text to fields that remember their SQL type.

use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef};
use datafusion::error::Result;
use datafusion::logical_expr::planner::TypePlanner;
use datafusion::sql::sqlparser::ast::{
    ArrayElemTypeDef, CharacterLength, DataType as SqlDataType, ExactNumberInfo, ObjectName, TimezoneInfo,
};
use perigee_types::sql_type::NUMERIC_DEFAULT;
use perigee_types::{SqlError, SqlResult, SqlState, SqlType};

use super::error::from_sql;

/// Resolves type names as PostgreSQL does.
#[derive(Debug)]
pub(super) struct PostgresTypes;

impl TypePlanner for PostgresTypes {
    fn plan_type_field(&self, sql_type: &SqlDataType) -> Result<Option<FieldRef>> {
        let ty = sql_type_of(sql_type).map_err(from_sql)?;
        Ok(Some(Arc::new(ty.field("", true))))
    }

    fn plan_type(&self, sql_type: &SqlDataType) -> Result<Option<DataType>> {
        Ok(Some(sql_type_of(sql_type).map_err(from_sql)?.arrow()))
    }
}

/// The SQL type that a type name of the parser stands for.
///
/// # Errors
/// `42704` for unknown names, `22023` for modifiers out of range, `0A000` for types that are not there yet.
pub fn sql_type_of(ty: &SqlDataType) -> SqlResult<SqlType> {
    use SqlDataType as T;
    Ok(match ty {
        T::Boolean | T::Bool => SqlType::Bool,
        T::SmallInt(_) | T::Int2(_) => SqlType::Int2,
        T::Int(_) | T::Integer(_) | T::Int4(_) => SqlType::Int4,
        T::BigInt(_) | T::Int8(_) => SqlType::Int8,
        T::Real | T::Float4 => SqlType::Float4,
        T::Double(_) | T::DoublePrecision | T::Float8 => SqlType::Float8,
        T::Float(info) => match info {
            ExactNumberInfo::Precision(p) if *p <= 24 => SqlType::Float4,
            _ => SqlType::Float8,
        },
        T::Numeric(info) | T::Decimal(info) | T::Dec(info) => numeric(info)?,
        T::Text => SqlType::Text,
        T::Varchar(length) | T::CharacterVarying(length) | T::CharVarying(length) => {
            SqlType::Varchar(length.as_ref().map(characters).transpose()?)
        }
        T::Char(length) | T::Character(length) => {
            SqlType::Char(length.as_ref().map(characters).transpose()?.unwrap_or(1))
        }
        T::Bytea => SqlType::Bytea,
        T::Date => SqlType::Date,
        T::Time(_, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => SqlType::Time,
        T::Timestamp(_, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => SqlType::Timestamp,
        T::Timestamp(_, TimezoneInfo::WithTimeZone | TimezoneInfo::Tz) => SqlType::Timestamptz,
        T::Interval { .. } => SqlType::Interval,
        T::Uuid => SqlType::Uuid,
        T::JSON => SqlType::Json,
        T::JSONB => SqlType::Jsonb,
        T::Regclass => SqlType::Regclass,
        T::Array(ArrayElemTypeDef::SquareBracket(inner, _) | ArrayElemTypeDef::AngleBracket(inner)) => {
            match sql_type_of(inner)? {
                SqlType::Array(inner) => SqlType::Array(inner),
                inner => SqlType::Array(Box::new(inner)),
            }
        }
        T::Custom(name, modifiers) if modifiers.is_empty() => custom(name)?,
        other => {
            return Err(SqlError::new(
                SqlState::UndefinedObject,
                format!("type \"{}\" does not exist", other.to_string().to_lowercase()),
            ));
        }
    })
}

fn custom(name: &ObjectName) -> SqlResult<SqlType> {
    let parts: Vec<String> = name.0.iter().filter_map(|p| p.as_ident()).map(|i| i.value.clone()).collect();
    let unknown = || SqlError::new(SqlState::UndefinedObject, format!("type \"{name}\" does not exist"));
    let quoted = name.0.last().and_then(|p| p.as_ident()).is_some_and(|i| i.quote_style.is_some());
    let last = match parts.as_slice() {
        [name] => name,
        [schema, name] if schema == "pg_catalog" => name,
        _ => return Err(unknown()),
    };
    let last = if quoted { last.clone() } else { last.to_lowercase() };
    Ok(match last.as_str() {
        "bool" => SqlType::Bool,
        "int2" => SqlType::Int2,
        "int4" => SqlType::Int4,
        "int8" => SqlType::Int8,
        "float4" => SqlType::Float4,
        "float8" => SqlType::Float8,
        "numeric" => SqlType::Numeric(None),
        "text" => SqlType::Text,
        "varchar" => SqlType::Varchar(None),
        "bpchar" => SqlType::Varchar(None),
        "char" if quoted => SqlType::InternalChar,
        "char" => SqlType::Char(1),
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
        // Shown by their numbers: no catalog of ours has columns of them.
        "regnamespace" | "regrole" => SqlType::Oid,
        "regproc" => SqlType::Regproc,
        "unknown" => SqlType::Unknown,
        "void" => SqlType::Void,
        other => match other.strip_prefix('_') {
            Some(element) if !quoted => {
                let element = ObjectName::from(vec![datafusion::sql::sqlparser::ast::Ident::new(element)]);
                SqlType::Array(Box::new(custom(&element).map_err(|_| unknown())?))
            }
            _ => return Err(unknown()),
        },
    })
}

fn characters(length: &CharacterLength) -> SqlResult<u32> {
    match length {
        CharacterLength::IntegerLength { length, .. } if (1..=10_485_760).contains(length) => Ok(*length as u32),
        CharacterLength::IntegerLength { length: 0, .. } => {
            Err(SqlError::new(SqlState::InvalidParameterValue, "length for type varchar must be at least 1"))
        }
        _ => Err(SqlError::new(SqlState::InvalidParameterValue, "length for type varchar cannot exceed 10485760")),
    }
}

fn numeric(info: &ExactNumberInfo) -> SqlResult<SqlType> {
    let (precision, scale) = match info {
        ExactNumberInfo::None => return Ok(SqlType::Numeric(None)),
        ExactNumberInfo::Precision(p) => (*p, 0),
        ExactNumberInfo::PrecisionAndScale(p, s) => (*p, *s),
    };
    if precision == 0 || precision > 1000 {
        return Err(SqlError::new(
            SqlState::InvalidParameterValue,
            format!("NUMERIC precision {precision} must be between 1 and 1000"),
        ));
    }
    let fits = u8::try_from(precision).ok().filter(|p| *p <= NUMERIC_DEFAULT.0);
    match (fits, i8::try_from(scale)) {
        (Some(precision), Ok(scale)) if scale >= 0 && u64::try_from(scale).is_ok_and(|s| s <= u64::from(precision)) => {
            Ok(SqlType::Numeric(Some((precision, scale))))
        }
        _ => Err(SqlError::unsupported(format_args!("numeric({precision},{scale}): more than 38 digits"))),
    }
}
