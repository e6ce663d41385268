//! Calls of functions that users made, as what their bodies say.

use perigee_types::catalog::{Function, Returns};
use perigee_types::{SqlError, SqlResult, SqlState};
use sqlparser::ast::{
    self, Expr, FunctionArg, FunctionArguments, Ident, Join, JoinOperator, SelectItem, TableAlias, TableFactor,
    TableFunctionArgs, TableWithJoins,
};
use std::sync::Arc;

use super::super::function::body;
use super::super::returning::select_query;
use super::whole_rows;
use crate::sql::context::PlanContext;

/// How deep bodies may stand in bodies, and how many calls a statement may have in FROM, or by bodies.
const DEPTH_MAX: usize = 32;
const CALLS_MAX: usize = 10_000;
const CALLS_IN_FROM_MAX: usize = 64;
/// How deep expressions may stand in each other where bodies were put in: what is planned walks them by recursion.
const NESTED_MAX: usize = 2_000;

/// The calls of a statement.
#[derive(Default)]
pub(super) struct Calls {
    /// Where the calls stand whose bodies are being looked at, innermost last.
    open: Vec<usize>,
    made: usize,
    made_in_from: usize,
    /// How many expressions bodies have become, and how many are around the one that is looked at.
    expressions: usize,
    depth: usize,
}

impl Calls {
    /// The value of an expression that is a call of a user's function. [`Self::leave`] has to follow when it was looked at.
    ///
    /// # Errors
    /// `0A000` for one that gives rows, `54001` where bodies stand in bodies too deeply.
    pub(super) fn enter(
        &mut self,
        expr: &mut Expr,
        scopes: &[whole_rows::Relations],
        context: &PlanContext,
    ) -> SqlResult<()> {
        self.depth += 1;
        let Expr::Function(call) = &*expr else { return Ok(()) };
        let FunctionArguments::List(list) = &call.args else { return no_list(call, context).map_or(Ok(()), Err) };
        let Some(function) = body::find(&call.name, list.args.len(), context) else { return Ok(()) };
        refuse_clauses(call, list, &function)?;
        note(&function, context);
        if !matches!(function.returns, Returns::Value(_)) {
            let what = format!("a call of {}, which gives rows, outside of FROM", function.name);
            return Err(SqlError::unsupported(what));
        }
        self.made += 1;
        if self.open.len() >= DEPTH_MAX || self.made > CALLS_MAX {
            return Err(too_deep());
        }
        let arguments = body::arguments(&function, &list.args)?;
        let owner_of = |ident: &Ident| whole_rows::owner_of(ident, scopes).map(str::to_owned);
        *expr = body::value(&function, arguments, self.made, owner_of, context)?;
        self.grow(&body::Size::of(expr))?;
        self.open.push(place(expr));
        Ok(())
    }

    /// Behind an expression.
    pub(super) fn leave(&mut self, expr: &Expr) {
        self.depth = self.depth.saturating_sub(1);
        if self.open.last() == Some(&place(expr)) {
            self.open.pop();
        }
    }

    fn grow(&mut self, by: &body::Size) -> SqlResult<()> {
        self.expressions += by.count;
        if self.expressions > body::EXPRESSIONS_MAX || self.depth + by.depth > NESTED_MAX {
            return Err(too_deep());
        }
        Ok(())
    }

    /// Puts queries where FROM calls users' functions.
    ///
    /// # Errors
    /// As [`Self::enter`].
    pub(super) fn from(
        &mut self,
        tables: &mut [TableWithJoins],
        scopes: &[whole_rows::Relations],
        context: &PlanContext,
    ) -> SqlResult<()> {
        if !context.catalog.has_functions() {
            return Ok(());
        }
        let own = whole_rows::relations(tables, context);
        let mut first = true;
        for table in tables {
            self.with_joins(table, first, &own, scopes, context)?;
            first = false;
        }
        Ok(())
    }

    fn with_joins(
        &mut self,
        table: &mut TableWithJoins,
        first: bool,
        own: &whole_rows::Relations,
        scopes: &[whole_rows::Relations],
        context: &PlanContext,
    ) -> SqlResult<()> {
        self.factor(&mut table.relation, !first, own, scopes, context)?;
        for Join { relation, join_operator, .. } in &mut table.joins {
            let lateral = !matches!(join_operator, JoinOperator::FullOuter(_) | JoinOperator::RightOuter(_));
            self.factor(relation, lateral, own, scopes, context)?;
        }
        Ok(())
    }

    fn factor(
        &mut self,
        relation: &mut TableFactor,
        lateral: bool,
        own: &whole_rows::Relations,
        scopes: &[whole_rows::Relations],
        context: &PlanContext,
    ) -> SqlResult<()> {
        let (name, args, ordinality, alias) = match relation {
            TableFactor::NestedJoin { table_with_joins, .. } => {
                return self.with_joins(table_with_joins, !lateral, own, scopes, context);
            }
            TableFactor::Table { name, args: Some(TableFunctionArgs { args, .. }), with_ordinality, alias, .. }
            | TableFactor::Function { name, args, with_ordinality, alias, .. } => (name, args, *with_ordinality, alias),
            _ => return Ok(()),
        };
        let Some(function) = body::find(name, args.len(), context) else { return Ok(()) };
        note(&function, context);
        if ordinality {
            return Err(SqlError::unsupported(format_args!("WITH ORDINALITY of {}", function.name)));
        }
        self.made += 1;
        self.made_in_from += 1;
        if self.made_in_from > CALLS_IN_FROM_MAX {
            return Err(too_deep());
        }
        let called = alias.as_ref().map_or_else(|| Ident::with_quote('"', function.name.clone()), |a| a.name.clone());
        let given: Vec<Ident> = alias.iter().flat_map(|a| a.columns.iter().map(|c| c.name.clone())).collect();
        let names: Vec<Ident> = match &function.returns {
            // A column that has no name of its own has the alias's.
            Returns::Value(_) | Returns::Set(_) => vec![given.first().cloned().unwrap_or_else(|| called.clone())],
            Returns::Table(columns) => columns
                .iter()
                .enumerate()
                .map(|(at, (name, _))| given.get(at).cloned().unwrap_or_else(|| Ident::with_quote('"', name.clone())))
                .collect(),
        };
        let lateral = lateral && !args.iter().all(is_constant);
        let arguments = body::arguments(&function, args)?;
        let owner_of = |ident: &Ident| {
            let in_own = whole_rows::owner_of(ident, std::slice::from_ref(own));
            in_own.or_else(|| whole_rows::owner_of(ident, scopes)).map(str::to_owned)
        };
        let subquery = match &function.returns {
            Returns::Value(_) => {
                let value = body::value(&function, arguments, self.made, owner_of, context)?;
                let alias = names.into_iter().next().unwrap_or_else(|| called.clone());
                select_query(vec![SelectItem::ExprWithAlias { expr: value, alias }], Vec::new(), None)
            }
            _ => body::rows(&function, arguments, &names, self.made, owner_of, context)?,
        };
        self.grow(&body::Size::of(&subquery))?;
        *relation = TableFactor::Derived {
            lateral,
            subquery: Box::new(subquery),
            alias: Some(TableAlias { explicit: true, name: called, columns: Vec::new(), at: None }),
            sample: None,
        };
        Ok(())
    }
}

/// Who runs the statement has to have the right to call the function.
fn note(function: &Function, context: &PlanContext) {
    if let Some(uses) = context.uses {
        uses.functions.borrow_mut().insert(function.oid);
    }
}

/// `f` without parentheses is no call; `f(SELECT …)` is one of a function that is not a user's.
fn no_list(call: &ast::Function, context: &PlanContext) -> Option<SqlError> {
    let FunctionArguments::Subquery(_) = &call.args else { return None };
    let function = body::find(&call.name, 1, context)?;
    Some(SqlError::syntax(format!("the argument of {} is a query without parentheses", function.name)))
}

/// DISTINCT, ORDER BY, FILTER and OVER are for functions that gather rows.
fn refuse_clauses(call: &ast::Function, list: &ast::FunctionArgumentList, function: &Arc<Function>) -> SqlResult<()> {
    let text = if list.duplicate_treatment.is_some() {
        format!("DISTINCT specified, but {} is not an aggregate function", function.name)
    } else if call.over.is_some() {
        format!("OVER specified, but {} is not a window function nor an aggregate function", function.name)
    } else if call.filter.is_some() {
        format!("FILTER specified, but {} is not an aggregate function", function.name)
    } else if !list.clauses.is_empty() {
        format!("ORDER BY specified, but {} is not an aggregate function", function.name)
    } else {
        return Ok(());
    };
    Err(SqlError::new(SqlState::WrongObjectType, text))
}

fn too_deep() -> SqlError {
    SqlError::new(SqlState::StatementTooComplex, "stack depth limit exceeded")
        .hint("Functions call each other, or themselves, too deeply.")
}

/// Where an expression stands: it is the same before and behind a look at its parts.
fn place(expr: &Expr) -> usize {
    std::ptr::from_ref(expr).addr()
}

/// Whether an argument names no column.
fn is_constant(arg: &FunctionArg) -> bool {
    let found = ast::visit_expressions(arg, |expr| match expr {
        Expr::Identifier(_) | Expr::CompoundIdentifier(_) => std::ops::ControlFlow::Break(()),
        _ => std::ops::ControlFlow::Continue(()),
    });
    !found.is_break()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_column() {
        let argument = |sql: &str| {
            let expr = crate::sql::parse::parse_expression(sql).unwrap();
            FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(expr))
        };
        assert!(is_constant(&argument("1 + $1")));
        assert!(!is_constant(&argument("1 + t.a")));
    }
}
