//! Expressions of point plans: SQL's typing rules over the few forms that [`perigee_plan::Expr`] carries.
//!
//! A string constant, NULL and a parameter without a type have the type `unknown` until something beside them says what
//! they are. What cannot be carried stops with [`Stop::Relational`]: DataFusion plans the statement instead.

mod call;
mod coerce;
mod operator;

use perigee_plan::Expr;
use perigee_types::catalog::Table;
use perigee_types::{SqlError, SqlState, SqlType, Value};
use sqlparser::ast;

use super::literal;
use super::parameters::Parameters;
use super::types::{domain_of, sql_type};
use crate::sql::context::PlanContext;
use crate::sql::parse::fold;

pub(super) use coerce::{assignable, type_mismatch};

/// Why an expression is not bound.
#[derive(Debug)]
pub(super) enum Stop {
    /// It may be valid, but not here: plan it as a query.
    Relational,
    /// It is wrong.
    Error(SqlError),
}

impl From<SqlError> for Stop {
    fn from(error: SqlError) -> Self {
        Stop::Error(error)
    }
}

/// A bound expression and its type.
pub(super) type Bound = (Expr, SqlType);

/// What an expression may name.
pub(super) struct Scope<'a> {
    /// The table and the name that its columns may be qualified with.
    pub(super) table: Option<(&'a Table, String)>,
    pub(super) context: &'a PlanContext<'a>,
    pub(super) parameters: &'a mut Parameters,
}

impl Scope<'_> {
    /// Binds an expression.
    pub(super) fn bind(&mut self, expr: &ast::Expr) -> Result<Bound, Stop> {
        match expr {
            ast::Expr::Value(value) => self.constant(&value.value),
            ast::Expr::Identifier(ident) => self.column(None, ident),
            ast::Expr::CompoundIdentifier(parts) => match parts.as_slice() {
                [table, column] => self.column(Some(table), column),
                _ => Err(Stop::Relational),
            },
            ast::Expr::Nested(inner) => self.bind(inner),
            ast::Expr::BinaryOp { left, op, right } => self.binary(left, op, right),
            ast::Expr::UnaryOp { op, expr } => self.unary(*op, expr),
            ast::Expr::IsNull(inner) => Ok((Expr::IsNull(Box::new(self.any(inner)?)), SqlType::Bool)),
            ast::Expr::IsNotNull(inner) => Ok((Expr::IsNotNull(Box::new(self.any(inner)?)), SqlType::Bool)),
            ast::Expr::Between { expr, negated, low, high } => self.between(expr, *negated, low, high),
            ast::Expr::InList { expr, list, negated } => self.in_list(expr, list, *negated),
            ast::Expr::Cast { kind: ast::CastKind::Cast | ast::CastKind::DoubleColon, expr, data_type, .. } => {
                // Its rules are a query's.
                if domain_of(data_type).is_some() {
                    return Err(Stop::Relational);
                }
                let bound = self.bind(expr)?;
                self.explicit_cast(bound, &sql_type(data_type)?)
            }
            ast::Expr::TypedString(typed) => {
                let ast::Value::SingleQuotedString(text) = &typed.value.value else { return Err(Stop::Relational) };
                if domain_of(&typed.data_type).is_some() {
                    return Err(Stop::Relational);
                }
                let bound = (Expr::Literal(Value::Text(text.clone())), SqlType::Unknown);
                self.explicit_cast(bound, &sql_type(&typed.data_type)?)
            }
            ast::Expr::Function(function) => self.call(function),
            _ => Err(Stop::Relational),
        }
    }

    /// Binds an expression where any type will do.
    fn any(&mut self, expr: &ast::Expr) -> Result<Expr, Stop> {
        Ok(self.bind(expr)?.0)
    }

    /// Binds a condition.
    pub(super) fn condition(&mut self, expr: &ast::Expr) -> Result<Expr, Stop> {
        let bound = self.bind(expr)?;
        match &bound.1 {
            SqlType::Bool | SqlType::Unknown => self.coerce(bound, &SqlType::Bool),
            other => Err(Stop::Error(SqlError::new(
                SqlState::DatatypeMismatch,
                format!("argument of WHERE must be type boolean, not type {other}"),
            ))),
        }
    }

    fn constant(&mut self, value: &ast::Value) -> Result<Bound, Stop> {
        let text = |text: &str| Ok((Expr::Literal(Value::Text(text.to_owned())), SqlType::Unknown));
        match value {
            ast::Value::Number(number, _) => {
                let (value, ty) = literal::number(number).ok_or(Stop::Relational)?;
                Ok((Expr::Literal(value), ty))
            }
            ast::Value::SingleQuotedString(s)
            | ast::Value::EscapedStringLiteral(s)
            | ast::Value::UnicodeStringLiteral(s)
            | ast::Value::NationalStringLiteral(s) => text(s),
            ast::Value::DollarQuotedString(s) => text(&s.value),
            ast::Value::Boolean(value) => Ok((Expr::Literal(Value::Bool(*value)), SqlType::Bool)),
            ast::Value::Null => Ok((Expr::Literal(Value::Null), SqlType::Unknown)),
            ast::Value::Placeholder(name) => {
                let place = self.parameters.place(name)?;
                let ty = self.parameters.get(place).cloned().unwrap_or(SqlType::Unknown);
                Ok((Expr::Parameter(place), ty))
            }
            _ => Err(Stop::Relational),
        }
    }

    fn column(&self, qualifier: Option<&ast::Ident>, ident: &ast::Ident) -> Result<Bound, Stop> {
        let name = fold(ident);
        let Some((table, known_as)) = &self.table else { return Err(Stop::Relational) };
        if let Some(qualifier) = qualifier.map(fold)
            && qualifier != *known_as
        {
            return Err(Stop::Relational);
        }
        // What is no column may be a system column or a mistake, which the relational planner names.
        let place = table.column_position(&name).ok_or(Stop::Relational)?;
        Ok((Expr::Column(place), table.columns[place].ty.clone()))
    }
}
