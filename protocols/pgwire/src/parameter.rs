//! Bind's parameters and format codes.

use perigee_copy::utf8;
use perigee_engine::ObjectNames;
use perigee_types::text::{OutputSettings, array, parse_with};
use perigee_types::{SqlError, SqlResult, SqlState, SqlType, Value};

use crate::backend::Format;
use crate::binary;
use crate::error::violation;
use crate::frontend::Bind;
use crate::rows::{is_name, names_in};

/// Values of the parameters, in order.
///
/// # Errors
/// `08P01` for counts that do not fit, `22P02`, `22P03`, … for bad values, with the parameter as context.
pub(crate) fn decode(
    bind: &Bind,
    types: &[SqlType],
    settings: &OutputSettings,
    names: impl Fn() -> ObjectNames,
) -> SqlResult<Vec<Value>> {
    if bind.parameters.len() != types.len() {
        return Err(violation(format!(
            "bind message supplies {} parameters, but prepared statement \"{}\" requires {}",
            bind.parameters.len(),
            bind.statement,
            types.len()
        )));
    }
    let codes = bind.parameter_formats.len();
    if codes > 1 && codes != types.len() {
        return Err(violation(format!("bind message has {codes} parameter formats but {} parameters", types.len())));
    }
    let mut values = Vec::with_capacity(types.len());
    for (i, (bytes, ty)) in bind.parameters.iter().zip(types).enumerate() {
        let format = format_at(&bind.parameter_formats, i)?;
        values.push(match bytes {
            None => Value::Null,
            Some(bytes) => {
                value(bytes, ty, format, settings, &names).map_err(|error| in_parameter(error, i, bind.portal))?
            }
        });
    }
    Ok(values)
}

fn value(
    bytes: &[u8],
    ty: &SqlType,
    format: Format,
    settings: &OutputSettings,
    names: &impl Fn() -> ObjectNames,
) -> SqlResult<Value> {
    match format {
        Format::Text if is_name(ty) => names().oid(utf8(bytes)?, ty).map(|oid| Value::Oid(oid.0)),
        Format::Text if let Some(of) = names_in(ty) => names().oids(utf8(bytes)?, of),
        Format::Text => parse_with(utf8(bytes)?, ty, settings),
        Format::Binary => binary::decode(bytes, ty),
    }
}

/// The types of the parameters with the dimensions that the arrays among them have; `None` where these are those of `types`.
pub(crate) fn with_dimensions(bind: &Bind, types: &[SqlType]) -> SqlResult<Option<Vec<SqlType>>> {
    if !types.iter().any(|ty| matches!(ty, SqlType::Array(_))) {
        return Ok(None);
    }
    let mut found = types.to_vec();
    for (i, (bytes, ty)) in bind.parameters.iter().zip(&mut found).enumerate() {
        let (Some(bytes), SqlType::Array(_)) = (bytes, &*ty) else { continue };
        let count = match format_at(&bind.parameter_formats, i)? {
            Format::Text => array::dimensions(utf8(bytes)?).min(array::DIMENSIONS_MAX),
            Format::Binary => binary::dimensions(bytes),
        };
        *ty = ty.with_dimensions(count);
    }
    Ok((found != types).then_some(found))
}

fn in_parameter(error: SqlError, index: usize, portal: &str) -> SqlError {
    let portal = if portal.is_empty() { "unnamed portal".to_owned() } else { format!("portal \"{portal}\"") };
    let number = index + 1;
    if error.state() == SqlState::InvalidBinaryRepresentation && error.message() == "incorrect binary data format" {
        let message = format!("incorrect binary data format in bind parameter {number}");
        return SqlError::new(SqlState::InvalidBinaryRepresentation, message)
            .context(format!("{portal} parameter ${number}"));
    }
    error.context(format!("{portal} parameter ${number}"))
}

/// Formats of the result's columns.
///
/// # Errors
/// `08P01`, `22023`.
pub(crate) fn result_formats(codes: &[i16], columns: usize) -> SqlResult<Vec<Format>> {
    if codes.len() > 1 && codes.len() != columns {
        return Err(violation(format!(
            "bind message has {} result formats but query has {columns} columns",
            codes.len()
        )));
    }
    for code in codes {
        format_of(*code)?;
    }
    (0..columns).map(|i| format_at(codes, i)).collect()
}

/// No codes: text; one: all columns; else one for each.
fn format_at(codes: &[i16], index: usize) -> SqlResult<Format> {
    match codes {
        [] => Ok(Format::Text),
        [one] => format_of(*one),
        many => format_of(many.get(index).copied().unwrap_or(0)),
    }
}

fn format_of(code: i16) -> SqlResult<Format> {
    match code {
        0 => Ok(Format::Text),
        1 => Ok(Format::Binary),
        _ => Err(SqlError::new(SqlState::InvalidParameterValue, format!("unsupported format code: {code}"))),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use perigee_types::TenantId;
    use perigee_types::catalog::Catalog;

    use super::*;

    fn names() -> ObjectNames {
        let catalog = Arc::new(Catalog::bootstrap("postgres"));
        ObjectNames { catalog, tenant: TenantId(1), path: Arc::from(["public".to_owned()]) }
    }

    fn bind<'a>(formats: &[i16], parameters: &[Option<&'a [u8]>]) -> Bind<'a> {
        Bind {
            portal: "",
            statement: "s",
            parameter_formats: formats.to_vec(),
            parameters: parameters.to_vec(),
            result_formats: vec![],
        }
    }

    #[test]
    fn decodes_by_format() {
        let types = [SqlType::Int4, SqlType::Text];
        let check = |formats: &[i16], first: &[u8], want: Result<Vec<Value>, &str>| {
            let got = decode(&bind(formats, &[Some(first), None]), &types, &OutputSettings::DEFAULT, names);
            assert_eq!(got.map_err(|e| e.state().code()), want, "{formats:?} {first:?}");
        };
        let five = Ok(vec![Value::Int4(5), Value::Null]);
        check(&[], b"5", five.clone());
        check(&[0], b"5", five.clone());
        check(&[1], &[0, 0, 0, 5], five.clone());
        check(&[1, 0], &[0, 0, 0, 5], five);
        check(&[], b"x", Err("22P02"));
        check(&[1], b"5", Err("08P01"));
        check(&[1], &[0; 8], Err("22P03"));
        check(&[2], b"5", Err("22023"));
        check(&[0, 0, 0], b"5", Err("08P01"));
        let one = decode(&bind(&[], &[None]), &types, &OutputSettings::DEFAULT, names).unwrap_err();
        assert_eq!(one.message(), "bind message supplies 1 parameters, but prepared statement \"s\" requires 2");
    }

    #[test]
    fn names_of_objects_are_looked_up() {
        let check = |ty: SqlType, text: &'static str, want: Result<u32, &str>| {
            let got = decode(&bind(&[], &[Some(text.as_bytes())]), &[ty], &OutputSettings::DEFAULT, names);
            let want = want.map(|oid| vec![Value::Oid(oid)]);
            assert_eq!(got.map_err(|e| e.state().code()), want, "{text}");
        };
        check(SqlType::Regclass, "pg_catalog.pg_class", Ok(1259));
        check(SqlType::Regclass, " pg_class", Ok(1259));
        check(SqlType::Regclass, "1259", Ok(1259));
        check(SqlType::Regclass, "-", Ok(0));
        check(SqlType::Regclass, "no.such", Err("42P01"));
        check(SqlType::Regtype, "int4", Ok(23));
        check(SqlType::Regtype, "character varying[]", Ok(1015));
        check(SqlType::Regtype, "nothing", Err("42704"));
        check(SqlType::Regproc, "now", Err("0A000"));
        let types = [SqlType::Array(Box::new(SqlType::Regtype))];
        let oids =
            |text: &'static str| decode(&bind(&[], &[Some(text.as_bytes())]), &types, &OutputSettings::DEFAULT, names);
        let want = vec![Value::Array(vec![Value::Oid(23), Value::Null, Value::Oid(0), Value::Oid(25)])];
        assert_eq!(oids("{int4,NULL,-,25}"), Ok(want));
        assert_eq!(oids("{nothing}").map_err(|e| e.state().code()), Err("42704"));
    }

    #[test]
    fn result_formats_are_checked() {
        assert_eq!(result_formats(&[1], 2), Ok(vec![Format::Binary; 2]));
        assert_eq!(result_formats(&[], 2), Ok(vec![Format::Text; 2]));
        assert_eq!(result_formats(&[0, 1], 2), Ok(vec![Format::Text, Format::Binary]));
        assert!(result_formats(&[0, 1, 0], 2).is_err());
        assert!(result_formats(&[0, 1], 0).is_err());
        assert!(result_formats(&[7], 0).is_err());
    }
}
