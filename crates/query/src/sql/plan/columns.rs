//! Columns of a result: PostgreSQL's names, types, and the table columns they show.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::FieldRef;
use datafusion::common::TableReference;
use datafusion::logical_expr::{Expr as DfExpr, JoinType, LogicalPlan};
use perigee_plan::ResultColumn;
use perigee_types::catalog::Object;
use perigee_types::{Oid, SqlType};
use sqlparser::ast::{
    AccessExpr, BinaryOperator, CastKind, Expr, Ident, ObjectName, Query, Select, SelectItem,
    SelectItemQualifiedWildcardKind, SetExpr, Value,
};

use super::names;
use super::types::type_name;
use crate::pg_catalog::VECTOR_METADATA_KEY;
use crate::sql::context::PlanContext;
use crate::sql::parse::fold;

/// The name of a column that nothing names.
pub(super) const UNNAMED: &str = "?column?";

/// Names of a query's columns by place, as far as the plan's own names do not say them.
#[derive(Clone, Debug, Default)]
pub(super) struct OutputNames {
    /// Names of the columns before the first wildcard, and of all behind the last, counted from the end.
    front: Vec<String>,
    back: Vec<String>,
    /// Whether a wildcard stands between them.
    wildcard: bool,
}

impl OutputNames {
    /// The name of the column at `place` of `count`; `None`: the plan's.
    fn get(&self, place: usize, count: usize) -> Option<&str> {
        if let Some(name) = self.front.get(place) {
            return Some(name);
        }
        if !self.wildcard {
            return None;
        }
        let from_end = count.checked_sub(place + 1)?;
        self.back.len().checked_sub(from_end + 1).and_then(|i| self.back.get(i)).map(String::as_str)
    }
}

/// Works out the names of a query's columns, and gives the expressions of its select list aliases by which ORDER BY
/// finds them and which DataFusion's planner, unlike PostgreSQL, wants to differ.
pub(super) fn name_outputs(query: &mut Query) -> OutputNames {
    named(query, false)
}

/// As [`name_outputs`], for a subquery of FROM: what is around it finds its columns by their names.
pub(super) fn name_derived(query: &mut Query) {
    named(query, true);
}

fn named(query: &mut Query, derived: bool) -> OutputNames {
    distinguish(&mut query.body);
    match first_select(&mut query.body) {
        Some(select) => name_select(select, derived),
        None => OutputNames::default(),
    }
}

/// Gives the columns behind UNION, INTERSECT and EXCEPT, whose names nobody sees, names that no other column has.
fn distinguish(body: &mut SetExpr) {
    let SetExpr::SetOperation { left, right, .. } = body else { return };
    distinguish(left);
    distinguish(right);
    hide_names(right);
}

fn hide_names(body: &mut SetExpr) {
    match body {
        SetExpr::Select(select) => {
            for (place, item) in select.projection.iter_mut().enumerate() {
                let expr = match item {
                    // DISTINCT ON and GROUP BY may go by an alias.
                    SelectItem::UnnamedExpr(expr) => expr,
                    _ => continue,
                };
                let expr = std::mem::replace(expr, Expr::value(Value::Null));
                *item = SelectItem::ExprWithAlias { expr, alias: hidden_alias(UNNAMED, place) };
            }
        }
        SetExpr::SetOperation { left, .. } => hide_names(left),
        _ => {}
    }
}

fn first_select(body: &mut SetExpr) -> Option<&mut Select> {
    match body {
        SetExpr::Select(select) => Some(select),
        SetExpr::Query(query) => first_select(&mut query.body),
        SetExpr::SetOperation { left, .. } => first_select(left),
        _ => None,
    }
}

/// What the wildcards of a select list bring.
struct Wildcards {
    /// The relations that are named: `t.*`.
    relations: Vec<String>,
    /// `*`, or one of something else than a relation.
    all: bool,
    /// Whether FROM has one relation only.
    single: bool,
}

impl Wildcards {
    fn of(select: &Select) -> Self {
        let single = matches!(select.from.as_slice(), [one] if one.joins.is_empty());
        let mut found = Self { relations: Vec::new(), all: false, single };
        for item in &select.projection {
            match item {
                SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), _) => {
                    match name.0.last().and_then(|part| part.as_ident()) {
                        Some(relation) => found.relations.push(fold(relation)),
                        None => found.all = true,
                    }
                }
                SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..) => found.all = true,
                _ => {}
            }
        }
        found
    }

    /// Whether they may bring the same column once more, which DataFusion's planner refuses.
    fn may_bring(&self, expr: &Expr) -> bool {
        match expr {
            Expr::Identifier(_) => self.all || self.single,
            Expr::CompoundIdentifier(parts) => match parts.as_slice() {
                [.., relation, _] => self.all || self.relations.contains(&fold(relation)),
                _ => true,
            },
            _ => false,
        }
    }
}

fn name_select(select: &mut Select, derived: bool) -> OutputNames {
    let mut names = OutputNames::default();
    let mut count: HashMap<String, usize> = HashMap::new();
    for item in &select.projection {
        match item_name(item) {
            Some(name) => {
                *count.entry(name.clone()).or_default() += 1;
                if names.wildcard { &mut names.back } else { &mut names.front }.push(name);
            }
            None => {
                names.wildcard = true;
                names.back.clear();
            }
        }
    }
    let wildcards = names.wildcard.then(|| Wildcards::of(select));
    for (place, item) in select.projection.iter_mut().enumerate() {
        let Some(name) = item_name(item) else { continue };
        let may_be_doubled = |expr: &Expr| match &wildcards {
            Some(wildcards) => !derived || name == UNNAMED || wildcards.may_bring(expr),
            None => false,
        };
        let unique =
            count.get(&name) == Some(&1) && !matches!(&*item, SelectItem::UnnamedExpr(expr) if may_be_doubled(expr));
        let take = |expr: &mut Expr, alias| {
            let expr = std::mem::replace(expr, Expr::value(Value::Null));
            SelectItem::ExprWithAlias { expr, alias }
        };
        match item {
            SelectItem::UnnamedExpr(expr) if !unique => *item = take(expr, hidden_alias(&name, place)),
            SelectItem::UnnamedExpr(expr) if (derived || name != UNNAMED) && !is_column(expr) => {
                *item = take(expr, Ident::with_quote('"', name));
            }
            SelectItem::ExprWithAlias { alias, .. } if count.get(&name) != Some(&1) => {
                *alias = hidden_alias(&name, place);
            }
            _ => {}
        }
    }
    names
}

/// An alias that no user's name equals.
fn hidden_alias(name: &str, place: usize) -> Ident {
    Ident::with_quote('"', format!("{name}\u{1}{place}"))
}

fn is_column(expr: &Expr) -> bool {
    matches!(expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_))
}

fn item_name(item: &SelectItem) -> Option<String> {
    match item {
        SelectItem::UnnamedExpr(expr) => Some(expression_name(expr)),
        SelectItem::ExprWithAlias { alias, .. } => Some(fold(alias)),
        _ => None,
    }
}

/// The name that PostgreSQL gives a column of this expression.
pub(super) fn expression_name(expr: &Expr) -> String {
    name_of(expr).map_or_else(|| UNNAMED.to_owned(), |(name, _)| name)
}

/// A name and whether it is a good one: a cast's type only stands in where there is nothing better.
fn name_of(expr: &Expr) -> Option<(String, bool)> {
    let good = |name: &str| Some((name.to_owned(), true));
    match expr {
        Expr::Identifier(ident) => Some((fold(ident), true)),
        Expr::CompoundIdentifier(idents) => idents.last().map(|ident| (fold(ident), true)),
        Expr::CompoundFieldAccess { root, access_chain } => {
            let field = access_chain.iter().rev().find_map(|access| match access {
                AccessExpr::Dot(Expr::Identifier(field)) => Some(field),
                _ => None,
            });
            field.map_or_else(|| name_of(root), |field| Some((fold(field), true)))
        }
        Expr::Nested(inner) | Expr::Collate { expr: inner, .. } => name_of(inner),
        Expr::Function(function) => function_name(&function.name).map(|name| (name, true)),
        Expr::Cast { expr, data_type, kind, .. } => match name_of(expr) {
            Some((name, true)) => Some((name, true)),
            _ if matches!(kind, CastKind::Cast | CastKind::DoubleColon) => Some((type_name(data_type)?, false)),
            weak => weak,
        },
        Expr::TypedString(typed) => Some((type_name(&typed.data_type)?, false)),
        Expr::Interval(_) => Some(("interval".to_owned(), false)),
        Expr::Case { else_result, .. } => match else_result.as_deref().and_then(name_of) {
            Some((name, true)) => Some((name, true)),
            _ => Some(("case".to_owned(), false)),
        },
        Expr::Exists { negated: false, .. } => good("exists"),
        Expr::BinaryOp { op: BinaryOperator::Overlaps, .. } => good("overlaps"),
        Expr::Array(_) => good("array"),
        Expr::Extract { .. } => good("extract"),
        Expr::Substring { shorthand, .. } => good(if *shorthand { "substr" } else { "substring" }),
        Expr::Position { .. } => good("position"),
        Expr::Overlay { .. } => good("overlay"),
        Expr::Trim { trim_where, .. } => good(match trim_where {
            Some(sqlparser::ast::TrimWhereField::Leading) => "ltrim",
            Some(sqlparser::ast::TrimWhereField::Trailing) => "rtrim",
            _ => "btrim",
        }),
        Expr::Ceil { .. } => good("ceil"),
        Expr::Floor { .. } => good("floor"),
        Expr::AtTimeZone { .. } => good("timezone"),
        Expr::Tuple(_) => good("row"),
        Expr::Subquery(query) => subquery_name(query),
        _ => None,
    }
}

fn function_name(name: &ObjectName) -> Option<String> {
    let name = name.0.last()?.as_ident().map(fold)?;
    if name == "__substring_similar" {
        return Some("substring".to_owned());
    }
    Some(name.strip_prefix(crate::exec::VARIADIC).map(str::to_owned).unwrap_or(name))
}

fn subquery_name(query: &Query) -> Option<(String, bool)> {
    match &*query.body {
        SetExpr::Select(select) => match select.projection.first()? {
            SelectItem::UnnamedExpr(expr) => name_of(expr),
            SelectItem::ExprWithAlias { alias, .. } => Some((fold(alias), true)),
            _ => None,
        },
        SetExpr::Query(query) => subquery_name(query),
        _ => None,
    }
}

/// The columns of a result: `planned` says where they come from, `optimized` which types they have.
pub(super) fn result_columns(
    planned: &LogicalPlan,
    optimized: &LogicalPlan,
    names: &OutputNames,
    hidden: usize,
    context: &PlanContext,
) -> Arc<[ResultColumn]> {
    let fields = optimized.schema().fields();
    let count = fields.len().saturating_sub(hidden);
    fields[..count]
        .iter()
        .enumerate()
        .map(|(place, field)| ResultColumn {
            name: names
                .get(place, count)
                .unwrap_or_else(|| undoubled_name(visible_name(field.name()), &fields[..place]))
                .to_owned(),
            ty: match SqlType::of_field(field) {
                SqlType::Unknown => SqlType::Text,
                ty => ty,
            },
            source: source(planned, place, context),
            vector: field.metadata().contains_key(VECTOR_METADATA_KEY),
        })
        .collect()
}

/// A plan's name without what [`hidden_alias`] put behind it.
fn visible_name(name: &str) -> &str {
    name.split('\u{1}').next().unwrap_or(name)
}

/// A name without the number that DataFusion gives the second column of one name: `a:1` behind `a`.
fn undoubled_name<'n>(name: &'n str, before: &[FieldRef]) -> &'n str {
    match name.rsplit_once(':') {
        Some((bare, number))
            if number.bytes().all(|b| b.is_ascii_digit())
                && before.iter().any(|field| visible_name(field.name()) == bare) =>
        {
            bare
        }
        _ => name,
    }
}

/// The table column that the plan's column at `place` shows unchanged.
fn source(plan: &LogicalPlan, place: usize, context: &PlanContext) -> Option<(Oid, u16)> {
    match plan {
        LogicalPlan::Projection(projection) => {
            let place = column_place(projection.expr.get(place)?, &projection.input)?;
            source(&projection.input, place, context)
        }
        LogicalPlan::Aggregate(aggregate) => {
            let place = column_place(aggregate.group_expr.get(place)?, &aggregate.input)?;
            source(&aggregate.input, place, context)
        }
        LogicalPlan::Filter(filter) => source(&filter.input, place, context),
        LogicalPlan::Sort(sort) => source(&sort.input, place, context),
        LogicalPlan::Limit(limit) => source(&limit.input, place, context),
        LogicalPlan::SubqueryAlias(alias) => source(&alias.input, place, context),
        LogicalPlan::Distinct(datafusion::logical_expr::Distinct::All(input)) => source(input, place, context),
        LogicalPlan::Join(join) => match join.join_type {
            JoinType::Inner | JoinType::Left | JoinType::Right | JoinType::Full => {
                let left = join.left.schema().fields().len();
                match place.checked_sub(left) {
                    None => source(&join.left, place, context),
                    Some(place) => source(&join.right, place, context),
                }
            }
            _ => None,
        },
        LogicalPlan::TableScan(scan) => {
            let place = match &scan.projection {
                Some(projection) => *projection.get(place)?,
                None => place,
            };
            let (schema, name) = match &scan.table_name {
                TableReference::Bare { table } => (None, table),
                TableReference::Partial { schema, table } | TableReference::Full { schema, table, .. } => {
                    (Some(schema.to_string()), table)
                }
            };
            match names::find(&(schema, name.to_string()), context)? {
                Object::Table(table) => Some((table.oid, table.columns.get(place)?.number)),
                // A view's columns are its own.
                Object::View(view) => Some((view.oid, u16::try_from(place + 1).ok()?)),
                _ => None,
            }
        }
        _ => None,
    }
}

fn column_place(expr: &DfExpr, input: &LogicalPlan) -> Option<usize> {
    match expr {
        DfExpr::Column(column) => input.schema().maybe_index_of_column(column),
        DfExpr::Alias(alias) => column_place(&alias.expr, input),
        _ => None,
    }
}
