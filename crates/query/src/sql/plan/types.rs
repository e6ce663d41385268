//! Types as SQL writes them.

use perigee_types::{SqlError, SqlResult, SqlState, SqlType};
use sqlparser::ast::{ArrayElemTypeDef, DataType};

pub(super) use crate::exec::domain_of;
pub(in crate::sql) use crate::exec::sql_type_of as sql_type;
use crate::exec::type_planner::bare_name;

/// A type, or the shorthand for a column with a sequence.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum ColumnType {
    /// A type.
    Plain(SqlType),
    /// smallserial, serial, bigserial
    Serial(SqlType),
}

/// The type of the values of a type: that below a domain.
///
/// # Errors
/// As [`sql_type`].
pub(super) fn base_type(ty: &DataType) -> SqlResult<SqlType> {
    match domain_of(ty) {
        Some(domain) => Ok(domain.sql_type()),
        None => sql_type(ty),
    }
}

/// What a column is called that is a cast to a type.
pub(super) fn type_name(ty: &DataType) -> Option<String> {
    match domain_of(ty) {
        Some(domain) => Some(domain.name.clone()),
        None => Some(match sql_type(ty).ok()? {
            SqlType::Array(of) => of.internal_name(),
            ty => ty.internal_name(),
        }),
    }
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
    if is_cstring(ty) {
        return Err(SqlError::new(SqlState::InvalidTableDefinition, "column has pseudo-type cstring"));
    }
    match base_type(ty)? {
        ty if ty.dimensions() > 1 => Err(SqlError::unsupported("an array of several dimensions in a column")),
        ty => Ok(ColumnType::Plain(ty)),
    }
}

fn is_cstring(ty: &DataType) -> bool {
    match ty {
        DataType::Array(ArrayElemTypeDef::SquareBracket(of, _)) => is_cstring(of),
        DataType::Custom(name, _) => bare_name(name).is_some_and(|name| name == "cstring"),
        _ => false,
    }
}
