//! `SET (a, b) = …`: one value for each of several columns.

use std::borrow::Cow;

use perigee_types::{SqlError, SqlResult};
use sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, FunctionArguments, GroupByExpr, Ident, Query, SelectItem, SetExpr, TableAlias,
    TableAliasColumnDef, TableFactor, TableWithJoins,
};

use super::returning;

/// The values for `count` columns.
///
/// # Errors
/// `42601` where there are more or fewer, `0A000` for another expression.
pub(super) fn values<'a>(value: &'a Expr, count: usize) -> SqlResult<Vec<Cow<'a, Expr>>> {
    let values: Vec<Cow<'a, Expr>> = match value {
        Expr::Tuple(values) => values.iter().map(Cow::Borrowed).collect(),
        Expr::Nested(value) if count == 1 => vec![Cow::Borrowed(value)],
        Expr::Function(function) if function.name.to_string().eq_ignore_ascii_case("row") => {
            let FunctionArguments::List(list) = &function.args else { return Err(unsupported()) };
            let argument = |arg: &'a FunctionArg| match arg {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Ok(Cow::Borrowed(expr)),
                _ => Err(unsupported()),
            };
            list.args.iter().map(argument).collect::<SqlResult<_>>()?
        }
        Expr::Subquery(query) => {
            if selected(query).is_some_and(|items| items.len() != count) {
                return Err(wrong_count());
            }
            (0..count).map(|place| Cow::Owned(Expr::Subquery(Box::new(column(query, place, count))))).collect()
        }
        _ => return Err(unsupported()),
    };
    if values.len() == count { Ok(values) } else { Err(wrong_count()) }
}

fn wrong_count() -> SqlError {
    SqlError::syntax("number of columns does not match number of values")
}

fn unsupported() -> SqlError {
    SqlError::unsupported("source for a multiple-column UPDATE item that is no sub-SELECT or ROW() expression")
}

/// The select list of a query, where it says how many columns there are.
fn selected(query: &Query) -> Option<&[SelectItem]> {
    let SetExpr::Select(select) = &*query.body else { return None };
    let plain = |item: &SelectItem| matches!(item, SelectItem::UnnamedExpr(_) | SelectItem::ExprWithAlias { .. });
    select.projection.iter().all(plain).then_some(&select.projection)
}

/// The query with one of its columns alone.
fn column(query: &Query, place: usize, count: usize) -> Query {
    let mut one = query.clone();
    if let SetExpr::Select(select) = &mut *one.body
        && selected(query).is_some()
        // What counts or names the columns of the list needs all of them.
        && select.distinct.is_none()
        && query.order_by.is_none()
        && matches!(&select.group_by, GroupByExpr::Expressions(list, modifiers) if list.is_empty() && modifiers.is_empty())
    {
        select.projection.swap(0, place);
        select.projection.truncate(1);
        return one;
    }
    let name = |place: usize| Ident::with_quote('"', format!("c{place}"));
    let columns = (0..count).map(|place| TableAliasColumnDef { name: name(place), data_type: None });
    let alias =
        TableAlias { explicit: true, name: Ident::with_quote('"', "row\u{1}"), columns: columns.collect(), at: None };
    let relation = TableFactor::Derived { lateral: false, subquery: Box::new(one), alias: Some(alias), sample: None };
    let items = vec![SelectItem::UnnamedExpr(Expr::Identifier(name(place)))];
    returning::select_query(items, vec![TableWithJoins { relation, joins: Vec::new() }], None)
}
