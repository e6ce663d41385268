//! VALUES: each column in the type that its rows have in common, as PostgreSQL finds it.
//!
//! The planner gives a column the type that Arrow would, before analysis has made literals and numerics what they are
//! here, and refuses what differs by a length. So what is not of one type gets a cast to the common one.

use perigee_types::{SqlError, SqlResult, SqlState, SqlType};
use sqlparser::ast::{
    CastKind, DataType, ExactNumberInfo, Expr, Ident, ObjectName, Query, SetExpr, UnaryOperator, Value, Values,
};

use super::literals::long_number;
use crate::exec::{common_of, without_modifier};
use crate::sql::context::PlanContext;
use crate::sql::plan::function::body::data_type;
use crate::sql::plan::parameters::{Parameters, placeholder};
use crate::sql::plan::query;
use crate::sql::plan::types::base_type;

/// The VALUES of a query, and those that a recursive one begins with.
///
/// # Errors
/// `42804` where a column's rows have no type in common.
pub(super) fn in_query(query: &mut Query, context: &PlanContext) -> SqlResult<()> {
    let parameters = Parameters::declared(context.declared);
    if let SetExpr::Values(values) = query.body.as_mut() {
        for at in 0..width(values) {
            common(values, at, false, &parameters, context)?;
        }
    }
    for cte in query.with.iter_mut().filter(|with| with.recursive).flat_map(|with| &mut with.cte_tables) {
        let mut body = cte.query.body.as_mut();
        while let SetExpr::SetOperation { left, .. } = body {
            body = left.as_mut();
        }
        if let SetExpr::Values(values) = body {
            for at in 0..width(values) {
                common(values, at, true, &parameters, context)?;
            }
        }
    }
    Ok(())
}

/// The rows of an INSERT, each column as its target takes it where they are not of one type: PostgreSQL assigns each
/// value by itself.
///
/// # Errors
/// What `refuse` says of a type that the column at this place does not take.
pub(in crate::sql::plan) fn assigned(
    values: &mut Values,
    targets: &[&SqlType],
    parameters: &Parameters,
    context: &PlanContext,
    refuse: impl Fn(usize, &SqlType) -> SqlResult<()>,
) -> SqlResult<()> {
    if values.rows.len() < 2 {
        return Ok(());
    }
    for (at, target) in targets.iter().enumerate() {
        let kinds = kinds(values, at, parameters, context);
        let to = match target.element() {
            // Rows and texts have no other type in common.
            SqlType::Composite(_) => Some(data_type(target, context.catalog)?),
            // Nor have ranges and texts; those that are built in have names that mean the same everywhere.
            ty @ (SqlType::Range(_) | SqlType::Multirange(_)) if ty.user_type().is_some() => {
                Some(data_type(target, context.catalog)?)
            }
            _ => name_of(&without_modifier(target)),
        };
        let Some(to) = to.filter(|_| !is_uniform(&kinds)) else { continue };
        for (row, kind) in values.rows.iter_mut().zip(&kinds) {
            if let Kind::Known(ty) = kind {
                refuse(at, ty)?;
            }
            if let Some(expr) = row.get_mut(at) {
                cast(expr, to.clone());
            }
        }
    }
    Ok(())
}

fn width(values: &Values) -> usize {
    values.rows.first().map_or(0, |row| row.len())
}

/// Brings a column to the type that its rows have in common. `all_integers`: also where they all are integer literals,
/// which the planner makes int8.
fn common(
    values: &mut Values,
    at: usize,
    all_integers: bool,
    parameters: &Parameters,
    context: &PlanContext,
) -> SqlResult<()> {
    // A row alone is what it is.
    if values.rows.len() < 2 && !all_integers {
        return Ok(());
    }
    let kinds = kinds(values, at, parameters, context);
    let integers = all_integers && kinds.iter().all(|kind| matches!(kind, Kind::Number(_, 0)));
    if is_uniform(&kinds) && !integers {
        return Ok(());
    }
    let types = kinds.iter().filter_map(Kind::ty).collect::<Vec<_>>();
    let common = common_of(types).map_err(|(left, right)| {
        SqlError::new(SqlState::DatatypeMismatch, format!("VALUES types {left} and {right} cannot be matched"))
    })?;
    let Some(common) = common else { return Ok(()) };
    let common = without_modifier(&common);
    // A user's type is called as a row calls it, which the search path knows.
    let Some(to) = name_of(&common).or_else(|| values.rows.iter().find_map(|row| cast_type(row.get(at)?))) else {
        return Ok(());
    };
    for (row, kind) in values.rows.iter_mut().zip(&kinds) {
        let is_it = matches!(kind, Kind::Known(ty) if *ty == common);
        if let Some(expr) = row.get_mut(at).filter(|_| !is_it && *kind != Kind::Other) {
            cast(expr, to.clone());
        }
    }
    Ok(())
}

/// What an expression is to the column that it stands in.
#[derive(Clone, Debug, PartialEq)]
enum Kind {
    /// NULL, a literal in quotes or a parameter that nothing has given a type.
    Unknown,
    /// A number that is written down, with its type and places.
    Number(SqlType, usize),
    /// An expression of a type.
    Known(SqlType),
    /// What only the query around it can say.
    Other,
}

impl Kind {
    fn ty(&self) -> Option<&SqlType> {
        match self {
            Kind::Number(ty, _) | Kind::Known(ty) => Some(ty),
            Kind::Unknown | Kind::Other => None,
        }
    }
}

/// Whether the planner gives a column of these its right type by itself.
fn is_uniform(kinds: &[Kind]) -> bool {
    match kinds.first() {
        Some(first @ (Kind::Unknown | Kind::Known(_) | Kind::Number(..))) => kinds.iter().all(|kind| kind == first),
        _ => kinds.iter().all(|kind| *kind == Kind::Other),
    }
}

fn kinds(values: &Values, at: usize, parameters: &Parameters, context: &PlanContext) -> Vec<Kind> {
    let mut kinds: Vec<Kind> = Vec::with_capacity(values.rows.len());
    let mut before: Option<&Expr> = None;
    for row in &values.rows {
        let Some(expr) = row.get(at) else { return vec![Kind::Other] };
        let kind = match (kinds.last(), before) {
            (Some(last), Some(before)) if before == expr => last.clone(),
            _ => kind(expr, parameters, context),
        };
        kinds.push(kind);
        before = Some(expr);
    }
    kinds
}

fn kind(expr: &Expr, parameters: &Parameters, context: &PlanContext) -> Kind {
    if let Some(name) = placeholder(expr) {
        let place = name.strip_prefix('$').and_then(|n| n.parse::<usize>().ok()).and_then(|n| n.checked_sub(1));
        return match place.and_then(|place| parameters.get(place)) {
            Some(ty) => Kind::Known(ty.clone()),
            None => Kind::Unknown,
        };
    }
    match expr {
        Expr::Nested(inner) => kind(inner, parameters, context),
        Expr::UnaryOp { op: UnaryOperator::Minus | UnaryOperator::Plus, expr: inner } if is_number(inner) => {
            kind(inner, parameters, context)
        }
        Expr::Value(value) => match &value.value {
            Value::Number(text, _) => number(expr, text),
            Value::Boolean(_) => Kind::Known(SqlType::Bool),
            Value::Null
            | Value::SingleQuotedString(_)
            | Value::EscapedStringLiteral(_)
            | Value::DollarQuotedString(_) => Kind::Unknown,
            _ => Kind::Other,
        },
        Expr::Cast { data_type, .. } => base_type(data_type).map_or(Kind::Other, Kind::Known),
        Expr::TypedString(typed) => base_type(&typed.data_type).map_or(Kind::Other, Kind::Known),
        other => match query::type_alone(other.clone(), parameters, context) {
            Some(SqlType::Unknown) => Kind::Unknown,
            Some(ty) => Kind::Known(ty),
            None => Kind::Other,
        },
    }
}

fn is_number(expr: &Expr) -> bool {
    matches!(expr, Expr::Value(value) if matches!(value.value, Value::Number(..)))
}

fn number(expr: &Expr, text: &str) -> Kind {
    if long_number(expr).is_some() {
        return Kind::Known(SqlType::Numeric(None));
    }
    match text.split_once('.') {
        Some((_, places)) => Kind::Number(SqlType::Numeric(None), places.len()),
        None if text.parse::<i32>().is_ok() => Kind::Number(SqlType::Int4, 0),
        None if text.parse::<i64>().is_ok() => Kind::Number(SqlType::Int8, 0),
        None => Kind::Known(SqlType::Numeric(None)),
    }
}

fn cast_type(expr: &Expr) -> Option<DataType> {
    match expr {
        Expr::Nested(inner) => cast_type(inner),
        Expr::Cast { data_type, .. } => Some(data_type.clone()),
        Expr::TypedString(typed) => Some(typed.data_type.clone()),
        _ => None,
    }
}

/// A type without a modifier as SQL names it; `None` for one that a user made.
fn name_of(ty: &SqlType) -> Option<DataType> {
    match ty {
        SqlType::Unknown | SqlType::Void | SqlType::Record(_) => None,
        SqlType::Numeric(_) => Some(DataType::Numeric(ExactNumberInfo::None)),
        ty if ty.user_type().is_some() => None,
        ty => Some(DataType::Custom(ObjectName::from(vec![Ident::with_quote('"', ty.internal_name())]), Vec::new())),
    }
}

fn cast(expr: &mut Expr, data_type: DataType) {
    let inner = std::mem::replace(expr, Expr::value(Value::Null));
    *expr = Expr::Cast { kind: CastKind::Cast, expr: Box::new(inner), data_type, array: false, format: None };
}
