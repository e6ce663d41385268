//! Queries of views as PostgreSQL prints them: columns behind their relations, wildcards written out, one clause to a line.
//!
//! Known are SELECTs over tables and views and joins of these, with all clauses of one, and what combines such by UNION and its
//! like. Of anything else the text is shown that is kept.

use perigee_types::SqlType;
use perigee_types::catalog::{Table, View};
use sqlparser::ast::{
    Distinct, Expr, GroupByExpr, Ident, Join, JoinConstraint, JoinOperator, LimitClause, ObjectName, OrderByExpr,
    OrderByKind, Query, Select, SelectItem, SelectItemQualifiedWildcardKind, SetExpr, SetOperator, SetQuantifier,
    Statement, TableFactor, TableWithJoins, Value,
};

use super::deparse::{quote_ident, short};
use super::expression::{self, Names, Node, column_text};
use super::scope::Scope;
use crate::sql::{Ast, fold};

/// The query of a view, with its semicolon.
pub(super) fn of_view(scope: &Scope, view: &View, pretty: bool) -> String {
    let names: Vec<&str> = view.columns.iter().map(|(name, _)| name.as_str()).collect();
    text(scope, &view.query, &names, pretty)
}

/// The query of a materialized view, with its semicolon.
pub(super) fn of_materialized(scope: &Scope, table: &Table, query: &str, pretty: bool) -> String {
    let names: Vec<&str> = table.visible_columns().iter().map(|column| column.name.as_str()).collect();
    text(scope, query, &names, pretty)
}

/// A query whose columns have these names, with its semicolon.
fn text(scope: &Scope, query: &str, names: &[&str], pretty: bool) -> String {
    let printed = parsed(query).and_then(|query| Printer { scope, pretty }.query(&query, names));
    format!("{};", printed.unwrap_or_else(|| query.to_owned()))
}

fn parsed(query: &str) -> Option<Query> {
    let Ast::Sql(statement) = crate::sql::parse(query).ok()?.pop()?.ast else { return None };
    match *statement {
        Statement::Query(query) => Some(*query),
        _ => None,
    }
}

/// A relation of FROM.
struct Relation {
    name: String,
    columns: Vec<(String, SqlType)>,
}

/// What a SELECT's names mean.
#[derive(Default)]
struct From {
    relations: Vec<Relation>,
    /// Columns that USING makes one of two.
    merged: Vec<String>,
    /// Whether an outer join fills in what a merged column stands for.
    outer: bool,
}

impl From {
    /// A column by its name, or by its relation's and its own.
    fn column(&self, parts: &[Ident]) -> Option<(String, SqlType)> {
        let name = fold(parts.last()?);
        let relation = parts.len().checked_sub(2).and_then(|at| parts.get(at)).map(fold);
        let mut found = self.relations.iter().filter(|of| relation.as_ref().is_none_or(|name| of.name == *name));
        let mut owners = found.by_ref().filter_map(|of| {
            let (column, ty) = of.columns.iter().find(|(column, _)| *column == name)?;
            Some((column_text(Some(&of.name), column), ty.clone()))
        });
        let first = owners.next()?;
        let is_merged = relation.is_none() && self.merged.contains(&name);
        match owners.next() {
            None => Some(first),
            Some(_) if is_merged && !self.outer => Some(first),
            Some(_) => None,
        }
    }
}

/// A column of a result.
struct Output {
    node: Node,
    /// Its column's name, where it is one of a relation.
    column: Option<String>,
}

struct Printer<'a, 's> {
    scope: &'a Scope<'s>,
    pretty: bool,
}

impl Printer<'_, '_> {
    fn query(&self, query: &Query, names: &[&str]) -> Option<String> {
        if query.with.is_some() || query.fetch.is_some() || !query.locks.is_empty() {
            return None;
        }
        match query.body.as_ref() {
            SetExpr::Select(select) => self.select(select, Some(query), names),
            body if query.order_by.is_none() && query.limit_clause.is_none() => self.set_operation(body, names),
            _ => None,
        }
    }

    /// SELECTs that are combined from left to right.
    fn set_operation(&self, body: &SetExpr, names: &[&str]) -> Option<String> {
        match body {
            SetExpr::Select(select) => self.select(select, None, names),
            SetExpr::SetOperation { op, set_quantifier, left, right } => {
                let right = match right.as_ref() {
                    SetExpr::Select(select) => self.select(select, None, names)?,
                    _ => return None,
                };
                if let SetExpr::SetOperation { op: inner, set_quantifier: of_inner, .. } = left.as_ref()
                    && (inner, of_inner) != (op, set_quantifier)
                {
                    return None;
                }
                let word = match op {
                    SetOperator::Union => "UNION",
                    SetOperator::Intersect => "INTERSECT",
                    SetOperator::Except => "EXCEPT",
                    SetOperator::Minus => return None,
                };
                let all = match set_quantifier {
                    SetQuantifier::All => " ALL",
                    SetQuantifier::None | SetQuantifier::Distinct => "",
                    _ => return None,
                };
                Some(format!("{}\n{word}{all}\n{right}", self.set_operation(left, names)?))
            }
            _ => None,
        }
    }

    fn select(&self, select: &Select, query: Option<&Query>, names: &[&str]) -> Option<String> {
        let plain = select.into.is_none()
            && select.top.is_none()
            && select.named_window.is_empty()
            && select.qualify.is_none()
            && select.lateral_views.is_empty();
        if !plain {
            return None;
        }
        let mut from = From::default();
        let tables: Vec<String> =
            select.from.iter().map(|table| self.with_joins(table, &mut from)).collect::<Option<_>>()?;
        let column = |parts: &[Ident]| from.column(parts);
        let meaning = Names { scope: self.scope, column: &column };
        let outputs = outputs(select, &from, &meaning)?;
        if outputs.len() != names.len() {
            return None;
        }
        let distinct = match &select.distinct {
            None => "",
            Some(Distinct::Distinct) => "DISTINCT ",
            Some(_) => return None,
        };
        let items: Vec<String> = outputs
            .iter()
            .zip(names)
            .map(|(output, name)| {
                let text = output.node.text(self.pretty);
                if output.column.as_deref() == Some(*name) { text } else { format!("{text} AS {}", quote_ident(name)) }
            })
            .collect();
        let mut text = format!(" SELECT {distinct}{}", items.join(",\n    "));
        if !tables.is_empty() {
            text.push_str(&format!("\n   FROM {}", tables.join(",\n    ")));
        }
        if let Some(condition) = &select.selection {
            let condition = expression::condition(condition, &meaning)?;
            text.push_str(&format!("\n  WHERE {}", condition.text(self.pretty)));
        }
        if let GroupByExpr::Expressions(by, modifiers) = &select.group_by {
            if !modifiers.is_empty() {
                return None;
            }
            let keys = by.iter().map(|expr| key(expr, select, &outputs, names, &meaning, false));
            let keys: Vec<String> = keys.map(|node| Some(node?.key_text(self.pretty))).collect::<Option<_>>()?;
            if !keys.is_empty() {
                text.push_str(&format!("\n  GROUP BY {}", keys.join(", ")));
            }
        } else {
            return None;
        }
        if let Some(condition) = &select.having {
            let condition = expression::condition(condition, &meaning)?;
            text.push_str(&format!("\n HAVING {}", condition.text(self.pretty)));
        }
        if let Some(query) = query {
            text.push_str(&self.order(query, select, &outputs, names, &meaning)?);
            text.push_str(&limits(query)?);
        }
        Some(text)
    }

    fn order(
        &self,
        query: &Query,
        select: &Select,
        outputs: &[Output],
        names: &[&str],
        meaning: &Names,
    ) -> Option<String> {
        let Some(order) = &query.order_by else { return Some(String::new()) };
        let OrderByKind::Expressions(by) = &order.kind else { return None };
        let keys: Vec<String> = by
            .iter()
            .map(|OrderByExpr { expr, options, with_fill }| {
                if with_fill.is_some() {
                    return None;
                }
                let key = key(expr, select, outputs, names, meaning, true)?.key_text(self.pretty);
                let descending = options.asc == Some(false);
                let nulls = match (descending, options.nulls_first) {
                    (false, Some(true)) => " NULLS FIRST",
                    (true, Some(false)) => " NULLS LAST",
                    _ => "",
                };
                Some(format!("{key}{}{nulls}", if descending { " DESC" } else { "" }))
            })
            .collect::<Option<_>>()?;
        Some(if keys.is_empty() { String::new() } else { format!("\n  ORDER BY {}", keys.join(", ")) })
    }

    /// A relation of FROM with what is joined to it.
    fn with_joins(&self, table: &TableWithJoins, from: &mut From) -> Option<String> {
        let mut text = self.factor(&table.relation, from)?;
        for Join { relation, join_operator, .. } in &table.joins {
            let right = match relation {
                TableFactor::Table { .. } => self.factor(relation, from)?,
                _ => return None,
            };
            let (word, constraint) = match join_operator {
                JoinOperator::Join(constraint) | JoinOperator::Inner(constraint) => ("JOIN", constraint),
                JoinOperator::Left(constraint) | JoinOperator::LeftOuter(constraint) => ("LEFT JOIN", constraint),
                JoinOperator::Right(constraint) | JoinOperator::RightOuter(constraint) => ("RIGHT JOIN", constraint),
                JoinOperator::FullOuter(constraint) => ("FULL JOIN", constraint),
                JoinOperator::CrossJoin(constraint) => ("CROSS JOIN", constraint),
                _ => return None,
            };
            from.outer |= matches!(word, "RIGHT JOIN" | "FULL JOIN");
            let condition = match constraint {
                JoinConstraint::None if word == "CROSS JOIN" => String::new(),
                JoinConstraint::On(condition) => {
                    let column = |parts: &[Ident]| from.column(parts);
                    let node = expression::condition(condition, &Names { scope: self.scope, column: &column })?;
                    let text = node.text(self.pretty);
                    if self.pretty { format!(" ON {text}") } else { format!(" ON ({text})") }
                }
                JoinConstraint::Using(columns) => {
                    let columns: Vec<String> =
                        columns.iter().map(|name| Some(fold(name.0.last()?.as_ident()?))).collect::<Option<_>>()?;
                    let quoted: Vec<String> = columns.iter().map(|column| quote_ident(column)).collect();
                    from.merged.extend(columns);
                    format!(" USING ({})", quoted.join(", "))
                }
                _ => return None,
            };
            text = format!("{text}\n     {word} {right}{condition}");
            if !self.pretty {
                text = format!("({text})");
            }
        }
        Some(text)
    }

    fn factor(&self, factor: &TableFactor, from: &mut From) -> Option<String> {
        let TableFactor::Table { name, alias, args: None, sample: None, with_ordinality: false, .. } = factor else {
            return None;
        };
        let relation = self.relation(name)?;
        let mut text = short(self.scope, relation);
        let mut shown = relation.name().to_owned();
        if let Some(alias) = alias {
            if !alias.columns.is_empty() {
                return None;
            }
            let given = fold(&alias.name);
            if given != shown {
                text.push_str(&format!(" {}", quote_ident(&given)));
                shown = given;
            }
        }
        let columns = relation.columns(self.scope).into_iter().map(|(_, name, ty)| (name, ty)).collect();
        from.relations.push(Relation { name: shown, columns });
        Some(text)
    }

    fn relation<'n>(&'n self, name: &ObjectName) -> Option<super::scope::Relation<'n>> {
        let parts: Vec<String> = name.0.iter().map(|part| part.as_ident().map(fold)).collect::<Option<_>>()?;
        match parts.as_slice() {
            [name] => self.scope.find(None, name),
            [schema, name] => self.scope.find(Some(schema), name),
            _ => None,
        }
    }
}

/// The columns of a select list, with those that wildcards stand for.
fn outputs(select: &Select, from: &From, meaning: &Names) -> Option<Vec<Output>> {
    let mut all = Vec::new();
    let of = |relation: &Relation| {
        let columns = relation.columns.iter().map(|(column, _)| Output {
            node: Node::Column(column_text(Some(&relation.name), column)),
            column: Some(column.clone()),
        });
        columns.collect::<Vec<_>>()
    };
    for item in &select.projection {
        match item {
            SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => {
                let node = expression::node(expr, meaning)?;
                let column = match expr {
                    Expr::Identifier(ident) => Some(fold(ident)),
                    Expr::CompoundIdentifier(parts) => parts.last().map(fold),
                    _ => None,
                };
                all.push(Output { node, column });
            }
            SelectItem::Wildcard(_) if from.merged.is_empty() => all.extend(from.relations.iter().flat_map(of)),
            SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), _) => {
                let name = fold(name.0.last()?.as_ident()?);
                all.extend(of(from.relations.iter().find(|relation| relation.name == name)?));
            }
            _ => return None,
        }
    }
    Some(all)
}

/// A key of ORDER BY or GROUP BY: a place in the select list, a name of one of its columns, or an expression. A name means the
/// result's column first in ORDER BY, and last in GROUP BY.
fn key(
    expr: &Expr,
    select: &Select,
    outputs: &[Output],
    names: &[&str],
    meaning: &Names,
    results_first: bool,
) -> Option<Node> {
    if let Expr::Value(value) = expr {
        let Value::Number(place, _) = &value.value else { return None };
        let place = place.parse::<usize>().ok()?.checked_sub(1)?;
        return outputs.get(place).map(|output| output.node.clone());
    }
    let Expr::Identifier(ident) = expr else { return expression::node(expr, meaning) };
    let written = fold(ident);
    let alias = |item: &SelectItem| matches!(item, SelectItem::ExprWithAlias { alias, .. } if fold(alias) == written);
    let place = match select.projection.iter().position(alias) {
        // Places in the list are those of the columns where no wildcard stands in it.
        Some(place) if select.projection.len() == outputs.len() => Some(place),
        Some(_) => return None,
        None => names.iter().position(|name| *name == written).filter(|_| results_first),
    };
    let result = || place.and_then(|place| outputs.get(place)).map(|output| output.node.clone());
    if results_first {
        result().or_else(|| expression::node(expr, meaning))
    } else {
        expression::node(expr, meaning).or_else(result)
    }
}

/// OFFSET and LIMIT, where they are numbers.
fn limits(query: &Query) -> Option<String> {
    let number = |expr: &Expr| match expr {
        Expr::Value(value) => match &value.value {
            Value::Number(number, _) => Some(number.clone()),
            _ => None,
        },
        _ => None,
    };
    let Some(clause) = &query.limit_clause else { return Some(String::new()) };
    let LimitClause::LimitOffset { limit, offset, limit_by } = clause else { return None };
    if !limit_by.is_empty() {
        return None;
    }
    let mut text = String::new();
    if let Some(offset) = offset {
        text.push_str(&format!("\n OFFSET {}", number(&offset.value)?));
    }
    if let Some(limit) = limit {
        text.push_str(&format!("\n LIMIT {}", number(limit)?));
    }
    Some(text)
}
