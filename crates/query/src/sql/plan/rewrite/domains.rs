//! Casts to domains: a cast to the type below, and the domain's rules over it.

use perigee_types::catalog::TypeKind;
use perigee_types::{SqlError, SqlResult, SqlType};
use sqlparser::ast::{CastKind, DataType, Expr, Value};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;

use super::functions::call;
use crate::exec::{DOMAIN_VALUE, domain_of};
use crate::sql::context::PlanContext;
use crate::sql::plan::checks::domain_check;

/// The cast that `expr` is, where it is one to a domain.
///
/// # Errors
/// `0A000` for a type that cannot be written.
pub(super) fn cast(expr: &Expr, context: &PlanContext) -> SqlResult<Option<Expr>> {
    let (value, data_type) = match expr {
        Expr::Cast { kind: CastKind::Cast | CastKind::DoubleColon, expr, data_type, .. } => {
            ((**expr).clone(), data_type)
        }
        Expr::TypedString(typed) => (Expr::Value(typed.value.clone()), &typed.data_type),
        _ => return Ok(None),
    };
    let Some(domain) = domain_of(data_type) else { return Ok(None) };
    let TypeKind::Domain(first) = &domain.kind else { return Ok(None) };
    let value = Expr::Cast {
        kind: CastKind::Cast,
        expr: Box::new(value),
        data_type: written(&first.base)?,
        array: false,
        format: None,
    };
    let text = |text: &str| Expr::value(Value::SingleQuotedString(text.to_owned()));
    let mut args = vec![value.clone()];
    let mut domains: Vec<_> = context.catalog.domains(Some(domain.oid)).collect();
    domains.reverse();
    for (ty, domain) in domains {
        if domain.not_null {
            args.extend([text(&ty.name), text(""), Expr::IsNotNull(Box::new(value.clone()))]);
        }
        for check in &domain.checks {
            args.extend([text(&ty.name), text(&check.name), domain_check(&check.expression, &value, context)?]);
        }
    }
    Ok(Some(call(DOMAIN_VALUE, args)))
}

/// A type as the parser's tree has it.
///
/// # Errors
/// `0A000` for one that has no text to be read again.
pub(super) fn written(ty: &SqlType) -> SqlResult<DataType> {
    Parser::new(&PostgreSqlDialect {})
        .try_with_sql(&ty.to_string())
        .and_then(|mut parser| parser.parse_data_type())
        .map_err(|_| SqlError::unsupported(format_args!("type {ty} in this place")))
}
