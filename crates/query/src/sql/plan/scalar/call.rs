//! The functions that point plans carry.

use perigee_plan::Expr;
use perigee_types::SqlType;
use perigee_types::catalog::Object;
use sqlparser::ast::{self, FunctionArg, FunctionArgExpr, FunctionArguments};

use super::coerce::cast;
use super::{Bound, Scope, Stop};
use crate::sql::parse::fold;
use crate::sql::plan::names;

impl Scope<'_> {
    pub(super) fn call(&mut self, function: &ast::Function) -> Result<Bound, Stop> {
        let parts = function.name.0.iter().map(|p| p.as_ident().map(fold)).collect::<Option<Vec<_>>>();
        let name = match parts.as_deref() {
            Some([name]) => name.as_str(),
            Some([schema, name]) if schema == "pg_catalog" => name.as_str(),
            _ => return Err(Stop::Relational),
        };
        if function.over.is_some() || function.filter.is_some() || !function.within_group.is_empty() {
            return Err(Stop::Relational);
        }
        let arguments = arguments(&function.args).ok_or(Stop::Relational)?;
        let now = || (Expr::TransactionTime, SqlType::Timestamptz(None));
        let local = |to: SqlType| {
            let (expr, from) = now();
            (cast(expr, from, &to, true), to)
        };
        match (name, arguments.as_slice()) {
            ("now" | "current_timestamp" | "transaction_timestamp", []) => Ok(now()),
            ("localtimestamp", []) => Ok(local(SqlType::Timestamp(None))),
            ("current_date", []) => Ok(local(SqlType::Date)),
            ("localtime", []) => Ok(local(SqlType::Time(None))),
            ("statement_timestamp", []) => Ok((Expr::StatementTime, SqlType::Timestamptz(None))),
            ("gen_random_uuid" | "uuid_generate_v4", []) => Ok((Expr::RandomUuid, SqlType::Uuid)),
            ("nextval", [sequence]) => self.next_value(sequence),
            ("coalesce", [_, ..]) => self.coalesce(&arguments),
            _ => Err(Stop::Relational),
        }
    }

    /// `nextval('name')`, `nextval('name'::regclass)`
    fn next_value(&mut self, argument: &ast::Expr) -> Result<Bound, Stop> {
        let literal = match argument {
            ast::Expr::Cast { expr, data_type: ast::DataType::Regclass, .. } => expr,
            other => other,
        };
        let ast::Expr::Value(value) = literal else { return Err(Stop::Relational) };
        let ast::Value::SingleQuotedString(name) = &value.value else { return Err(Stop::Relational) };
        let oid = sequence_named(name, self).ok_or(Stop::Relational)?;
        Ok((Expr::NextValue(oid), SqlType::Int8))
    }

    fn coalesce(&mut self, arguments: &[&ast::Expr]) -> Result<Bound, Stop> {
        let bound = arguments.iter().map(|argument| self.bind(argument)).collect::<Result<Vec<_>, _>>()?;
        let ty = bound.iter().map(|(_, ty)| ty).find(|ty| **ty != SqlType::Unknown).unwrap_or(&SqlType::Text).clone();
        let list = bound.into_iter().map(|bound| self.coerce(bound, &ty)).collect::<Result<Vec<_>, _>>()?;
        Ok((Expr::Coalesce(list), ty))
    }
}

/// The sequence of a text as regclass reads it: `name`, `schema.name`, parts in quotes.
fn sequence_named(text: &str, scope: &Scope) -> Option<perigee_types::Oid> {
    let parts = match crate::sql::parse::parse_expression(text).ok()? {
        ast::Expr::Identifier(ident) => vec![fold(&ident)],
        ast::Expr::CompoundIdentifier(idents) => idents.iter().map(fold).collect(),
        _ => return None,
    };
    let name = match parts.as_slice() {
        [name] => (None, name.clone()),
        [schema, name] => (Some(schema.clone()), name.clone()),
        _ => return None,
    };
    match names::find(&name, scope.context)? {
        Object::Sequence(sequence) => Some(sequence.oid),
        _ => None,
    }
}

/// The plain arguments of a call; `None` for anything besides.
fn arguments(arguments: &FunctionArguments) -> Option<Vec<&ast::Expr>> {
    match arguments {
        FunctionArguments::None => Some(Vec::new()),
        FunctionArguments::List(list) if list.clauses.is_empty() && list.duplicate_treatment.is_none() => list
            .args
            .iter()
            .map(|arg| match arg {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr),
                _ => None,
            })
            .collect(),
        _ => None,
    }
}
