//! `create_hypertable`, as users of TimescaleDB call it, and the options of CREATE TABLE that say the same.

use std::sync::Arc;

use perigee_plan::ddl::{ColumnDefinition, Hypertable, PartitionBy};
use perigee_plan::{Ddl, Expr, Plan, ResultColumn};
use perigee_types::partition::Strategy;
use perigee_types::{Interval, SqlError, SqlResult, SqlState, SqlType, Value, text};
use sqlparser::ast::{
    self, Expr as AstExpr, FunctionArg, FunctionArgExpr, FunctionArguments, ObjectName, Query, SelectItem, SetExpr,
    TableFactor,
};

use super::parameters::Parameters;
use super::scalar::{Scope, Stop};
use super::{Planned, names};
use crate::sql::context::PlanContext;
use crate::sql::parse::{fold, parse_expression};

const NAME: &str = "create_hypertable";
/// TimescaleDB's default.
const EVERY: Interval = Interval { months: 0, days: 7, micros: 0 };

/// A SELECT that is a call of `create_hypertable` and nothing else; `None` where it is another query.
///
/// # Errors
/// `42883` for arguments that it does not take, `42P01`, `42703`.
pub(super) fn plan(query: &Query, context: &PlanContext) -> SqlResult<Option<Planned>> {
    let Some((arguments, whole)) = call(query) else { return Ok(None) };
    let mut of = Arguments::default();
    for (at, argument) in arguments.iter().enumerate() {
        match argument {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => {
                let name = match at {
                    0 => "relation",
                    1 => "time_column_name",
                    _ => return Err(no_such_function()),
                };
                of.take(name, expr, context)?;
            }
            FunctionArg::Named { name, arg: FunctionArgExpr::Expr(expr), .. } => of.take(&fold(name), expr, context)?,
            FunctionArg::ExprNamed { name: AstExpr::Identifier(name), arg: FunctionArgExpr::Expr(expr), .. } => {
                of.take(&fold(name), expr, context)?;
            }
            _ => return Err(no_such_function()),
        }
    }
    let (Some(relation), Some(column)) = (&of.relation, of.column) else { return Err(no_such_function()) };
    let table = names::table(relation, context)?;
    let place = table
        .column_position(&column)
        .ok_or_else(|| SqlError::new(SqlState::UndefinedColumn, format!("column \"{column}\" does not exist")))?;
    let every = match of.every {
        Some(every) => every,
        None if table.columns[place].ty.is_integer() => {
            return Err(SqlError::new(
                SqlState::InvalidParameterValue,
                "integer dimensions require an explicit interval",
            ));
        }
        None => EVERY,
    };
    let column_of = |name: &str, ty| ResultColumn { name: name.to_owned(), ty, source: None, vector: false };
    let columns = match whole {
        true => vec![column_of(NAME, SqlType::Text)],
        false => vec![
            column_of("hypertable_id", SqlType::Int4),
            column_of("schema_name", SqlType::Text),
            column_of("table_name", SqlType::Text),
            column_of("created", SqlType::Bool),
        ],
    };
    let ddl =
        Hypertable { table, column, every, if_not_exists: of.if_not_exists, migrate_data: of.migrate_data, whole };
    Ok(Some(Planned {
        plan: Plan::Ddl(Ddl::Hypertable(ddl)),
        parameters: Vec::new(),
        columns: Some(Arc::from(columns)),
        tag: "SELECT",
    }))
}

fn no_such_function() -> SqlError {
    SqlError::new(SqlState::UndefinedFunction, format!("function {NAME} does not take these arguments"))
        .hint("create_hypertable(relation, time_column_name, chunk_time_interval => interval, if_not_exists => boolean, migrate_data => boolean)")
}

/// The arguments of the call, and whether it stands in the select list.
fn call(query: &Query) -> Option<(&[FunctionArg], bool)> {
    let Query { with: None, body, order_by: None, limit_clause: None, fetch: None, .. } = query else { return None };
    let SetExpr::Select(select) = body.as_ref() else { return None };
    if select.selection.is_some() {
        return None;
    }
    let is_named = |name: &ObjectName| names::last_ident(name).is_ok_and(|name| fold(name) == NAME);
    match (select.from.as_slice(), select.projection.as_slice()) {
        ([], [SelectItem::UnnamedExpr(AstExpr::Function(function))]) if is_named(&function.name) => {
            match &function.args {
                FunctionArguments::List(list) => Some((&list.args, true)),
                _ => None,
            }
        }
        ([from], [SelectItem::Wildcard(_)]) if from.joins.is_empty() => match &from.relation {
            TableFactor::Table { name, args: Some(args), .. } if is_named(name) => Some((&args.args, false)),
            _ => None,
        },
        _ => None,
    }
}

#[derive(Default)]
struct Arguments {
    relation: Option<ObjectName>,
    column: Option<String>,
    every: Option<Interval>,
    if_not_exists: bool,
    migrate_data: bool,
}

impl Arguments {
    fn take(&mut self, name: &str, expr: &AstExpr, context: &PlanContext) -> SqlResult<()> {
        match name {
            "relation" | "main_table" => {
                let bare = match expr {
                    AstExpr::Cast { expr, .. } => expr.as_ref(),
                    other => other,
                };
                let name = string(bare).ok_or_else(no_such_function)?;
                self.relation = Some(relation(&name)?);
            }
            "time_column_name" => match expr {
                AstExpr::Function(function) => self.dimension(function, context)?,
                _ => self.column = Some(string(expr).ok_or_else(no_such_function)?),
            },
            "dimension" => match expr {
                AstExpr::Function(function) => self.dimension(function, context)?,
                _ => return Err(no_such_function()),
            },
            "chunk_time_interval" => self.every = Some(interval(expr, context)?),
            "if_not_exists" => self.if_not_exists = boolean(expr)?,
            "migrate_data" => self.migrate_data = boolean(expr)?,
            // An index over the time is what chunks are for.
            "create_default_indexes" => {
                boolean(expr)?;
            }
            other => return Err(SqlError::unsupported(format_args!("argument {other} of {NAME}"))),
        }
        Ok(())
    }

    /// `by_range('ts', INTERVAL '1 day')`
    fn dimension(&mut self, function: &ast::Function, context: &PlanContext) -> SqlResult<()> {
        if !function.name.to_string().eq_ignore_ascii_case("by_range") {
            return Err(SqlError::unsupported(format_args!("dimension {}", function.name)));
        }
        let FunctionArguments::List(list) = &function.args else { return Err(no_such_function()) };
        for (at, argument) in list.args.iter().enumerate() {
            match (at, argument) {
                (0, FunctionArg::Unnamed(FunctionArgExpr::Expr(expr))) => {
                    self.column = Some(string(expr).ok_or_else(no_such_function)?);
                }
                (1, FunctionArg::Unnamed(FunctionArgExpr::Expr(expr))) => self.every = Some(interval(expr, context)?),
                _ => return Err(no_such_function()),
            }
        }
        Ok(())
    }
}

fn string(expr: &AstExpr) -> Option<String> {
    match expr {
        AstExpr::Value(value) => match &value.value {
            ast::Value::SingleQuotedString(text) => Some(text.clone()),
            _ => None,
        },
        AstExpr::Nested(inner) => string(inner),
        AstExpr::Cast { expr, .. } => string(expr),
        _ => None,
    }
}

fn boolean(expr: &AstExpr) -> SqlResult<bool> {
    if let AstExpr::Value(value) = expr {
        match &value.value {
            ast::Value::Boolean(value) => return Ok(*value),
            ast::Value::SingleQuotedString(text) => {
                if let Value::Bool(value) = text::parse(text, &SqlType::Bool)? {
                    return Ok(value);
                }
            }
            _ => {}
        }
    }
    Err(no_such_function())
}

/// A relation's name as a string holds it.
fn relation(name: &str) -> SqlResult<ObjectName> {
    match parse_expression(name)? {
        AstExpr::Identifier(ident) => Ok(ObjectName::from(vec![ident])),
        AstExpr::CompoundIdentifier(parts) => Ok(ObjectName::from(parts)),
        _ => Err(SqlError::new(SqlState::InvalidName, "invalid name syntax")),
    }
}

/// A length of time, or of integers.
fn interval(expr: &AstExpr, context: &PlanContext) -> SqlResult<Interval> {
    let mut parameters = Parameters::default();
    parameters.look_at_expression(expr)?;
    let mut scope = Scope { table: None, context, parameters: &mut parameters };
    let stop = |stop| match stop {
        Stop::Error(error) => error,
        Stop::Relational => SqlError::unsupported("this expression of an interval"),
    };
    // sqlparser has a form of its own for INTERVAL '1 day'.
    if let AstExpr::Interval(interval) = expr {
        let text = string(&interval.value).ok_or_else(no_such_function)?;
        let unit = interval.leading_field.as_ref().map(|unit| format!(" {unit}")).unwrap_or_default();
        return parsed(&format!("{text}{unit}"));
    }
    match scope.bind(expr).map_err(stop)? {
        (Expr::Literal(Value::Interval(interval)), _) => Ok(interval),
        (Expr::Literal(Value::Text(text)), _) => parsed(&text),
        (Expr::Literal(number), _) if number.as_i64().is_some() => {
            Ok(Interval { months: 0, days: 0, micros: number.as_i64().unwrap_or_default() })
        }
        (Expr::Cast { from, .. }, SqlType::Interval) => match *from {
            Expr::Literal(Value::Text(text)) => parsed(&text),
            _ => Err(stop(Stop::Relational)),
        },
        _ => Err(stop(Stop::Relational)),
    }
}

fn parsed(interval: &str) -> SqlResult<Interval> {
    match text::parse(interval, &SqlType::Interval)? {
        Value::Interval(interval) => Ok(interval),
        _ => Err(SqlError::internal("an interval that is none")),
    }
}

/// `WITH (time_column = 'ts', partition = '1 day')`
///
/// # Errors
/// `22023` where one stands without the other, `42703`, and what the interval's text gives.
pub(super) fn options(
    (column, every): &(Option<String>, Option<String>),
    columns: &[ColumnDefinition],
) -> SqlResult<Option<PartitionBy>> {
    let (Some(name), Some(every)) = (column, every) else {
        if column.is_some() || every.is_some() {
            return Err(SqlError::new(
                SqlState::InvalidParameterValue,
                "time_column and partition must be given together",
            ));
        }
        return Ok(None);
    };
    let column = columns
        .iter()
        .find(|column| column.name == *name)
        .ok_or_else(|| SqlError::new(SqlState::UndefinedColumn, format!("column \"{name}\" does not exist")))?;
    let every = match (column.ty.is_integer(), every.parse::<i64>()) {
        (true, Ok(micros)) => Interval { months: 0, days: 0, micros },
        _ => parsed(every)?,
    };
    Ok(Some(PartitionBy {
        strategy: Strategy::Range,
        keys: vec![(Some(name.clone()), None, column.ty.clone())],
        every: Some(every),
    }))
}
