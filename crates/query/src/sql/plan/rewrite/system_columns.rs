//! `tableoid`: the same for all rows of a table, so it is known where the table is. Rows of a table with partitions, or
//! that others inherit from, have it in a hidden column: its scan is asked for it by a mark behind the table's name.
//!
//! `xmin` of the system catalogs, whose rows are computed from a version of the catalog, not written by a transaction: it is
//! the frozen transaction's for all of them.

use std::ops::ControlFlow;

use perigee_types::catalog::Object;
use perigee_types::{Oid, SqlError, SqlResult};
use sqlparser::ast::{
    CastKind, DataType, ExcludeSelectItem, Expr, Ident, JoinConstraint, JoinOperator, ObjectName, ObjectNamePart,
    Select, SelectItem, SelectItemQualifiedWildcardKind, TableAlias, TableFactor, TableWithJoins, Value, Visit,
    WildcardAdditionalOptions, visit_expressions,
};

use super::super::names;
use crate::exec::{ONLY_MARK, TABLE_OID_MARK, system_table_oid};
use crate::sql::context::PlanContext;
use crate::sql::parse::fold;

const TABLE_OID: &str = "tableoid";
const XMIN: &str = "xmin";
/// What rows have that were there before all transactions that are.
const FROZEN_TRANSACTION: u32 = 2;
/// Oids of system tables are below this, those of views over them above.
const SYSTEM_TABLES_END: u32 = 10_000;

/// The names of a SELECT's tables, and the tables' oids where all rows have the same.
pub(super) type Relations = Vec<(String, Option<Oid>)>;

/// Whether the column stands anywhere in a statement.
pub(super) fn is_named(node: &impl Visit) -> bool {
    let found = visit_expressions(node, |expr| match expr {
        Expr::Identifier(column) if is_table_oid(column) => ControlFlow::Break(()),
        Expr::CompoundIdentifier(parts) if parts.last().is_some_and(is_table_oid) => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    });
    found.is_break()
}

fn factors(from: &mut [TableWithJoins]) -> Vec<&mut TableFactor> {
    let mut found = Vec::new();
    for table in from {
        collect_factors(table, &mut found);
    }
    found
}

fn collect_factors<'a>(table: &'a mut TableWithJoins, found: &mut Vec<&'a mut TableFactor>) {
    let joined = table.joins.iter_mut().map(|join| &mut join.relation);
    for factor in std::iter::once(&mut table.relation).chain(joined) {
        match factor {
            TableFactor::NestedJoin { table_with_joins, alias: None } => collect_factors(table_with_joins, found),
            other => found.push(other),
        }
    }
}

fn alias(name: String) -> TableAlias {
    TableAlias { explicit: true, name: Ident::with_quote('"', name), columns: Vec::new(), at: None }
}

/// Gives tables behind ONLY their own names: the mark is not to be seen.
pub(super) fn name_only(from: &mut [TableWithJoins]) {
    for factor in factors(from) {
        if let TableFactor::Table { name, alias: alias @ None, args: None, .. } = factor
            && names::is_only(name)
            && let Some(ident) = name.0.last().and_then(|part| part.as_ident())
            && let Some(plain) = ident.value.strip_suffix(ONLY_MARK)
        {
            *alias = Some(self::alias(plain.to_owned()));
        }
    }
}

/// Has the scans of tables with partitions or heirs end with the column. Gives the names of these tables.
pub(super) fn mark(from: &mut [TableWithJoins], context: &PlanContext) -> Vec<String> {
    let mut marked = Vec::new();
    for factor in factors(from) {
        let TableFactor::Table { name, alias, args: None, .. } = factor else { continue };
        let Ok(qualified) = names::qualified(name, context) else { continue };
        let Some(Object::Table(table)) = names::find(&qualified, context) else { continue };
        if names::is_only(name) || !context.catalog.has_children(table.oid) {
            continue;
        }
        let Some(ObjectNamePart::Identifier(last)) = name.0.last_mut() else { continue };
        *last = Ident::with_quote('"', format!("{}{TABLE_OID_MARK}", qualified.1));
        let alias = alias.get_or_insert_with(|| self::alias(qualified.1));
        marked.push(fold(&alias.name));
    }
    marked
}

/// Leaves the column out of `*`.
pub(in crate::sql::plan) fn hide(items: &mut [SelectItem]) {
    for item in items {
        if let SelectItem::Wildcard(options) | SelectItem::QualifiedWildcard(_, options) = item {
            options.opt_exclude = Some(without());
        }
    }
}

fn without() -> ExcludeSelectItem {
    ExcludeSelectItem::Single(ObjectName::from(vec![Ident::new(TABLE_OID)]))
}

/// Leaves the column of `marked` tables out of the select list's `*`.
///
/// # Errors
/// `0A000` where `*` cannot be written out.
pub(super) fn hide_in(select: &mut Select, marked: &[String]) -> SqlResult<()> {
    if marked.is_empty() {
        return Ok(());
    }
    let mut items = Vec::with_capacity(select.projection.len());
    for mut item in std::mem::take(&mut select.projection) {
        match &mut item {
            SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), options)
                if names::last_ident(name).is_ok_and(|name| marked.contains(&fold(name))) =>
            {
                options.opt_exclude = Some(without());
            }
            SelectItem::Wildcard(options) if marked.len() == 1 => options.opt_exclude = Some(without()),
            SelectItem::Wildcard(_) => {
                items.extend(written_out(select, marked)?);
                continue;
            }
            _ => {}
        }
        items.push(item);
    }
    select.projection = items;
    Ok(())
}

/// `*` as one `t.*` for each table.
fn written_out(select: &mut Select, marked: &[String]) -> SqlResult<Vec<SelectItem>> {
    let refused = || SqlError::unsupported("tableoid beside * over tables that are joined like this");
    let merges = |operator: &JoinOperator| match operator {
        JoinOperator::Join(constraint)
        | JoinOperator::Inner(constraint)
        | JoinOperator::Left(constraint)
        | JoinOperator::LeftOuter(constraint)
        | JoinOperator::Right(constraint)
        | JoinOperator::RightOuter(constraint)
        | JoinOperator::FullOuter(constraint) => {
            matches!(constraint, JoinConstraint::Using(_) | JoinConstraint::Natural)
        }
        _ => false,
    };
    if select.from.iter().flat_map(|from| &from.joins).any(|join| merges(&join.join_operator)) {
        return Err(refused());
    }
    let mut items = Vec::new();
    for factor in factors(&mut select.from) {
        let name = match factor {
            TableFactor::Table { alias: Some(alias), .. } | TableFactor::Derived { alias: Some(alias), .. } => {
                alias.name.clone()
            }
            TableFactor::Table { name, .. } => names::last_ident(name)?.clone(),
            _ => return Err(refused()),
        };
        let opt_exclude = marked.contains(&fold(&name)).then(without);
        let options = WildcardAdditionalOptions { opt_exclude, ..WildcardAdditionalOptions::default() };
        let of = SelectItemQualifiedWildcardKind::ObjectName(ObjectName::from(vec![name]));
        items.push(SelectItem::QualifiedWildcard(of, options));
    }
    Ok(items)
}

/// The tables of a FROM.
pub(super) fn relations(from: &[TableWithJoins], context: &PlanContext) -> Relations {
    let mut found = Vec::new();
    for table in from {
        collect(table, context, &mut found);
    }
    found
}

fn collect(table: &TableWithJoins, context: &PlanContext, found: &mut Relations) {
    for factor in std::iter::once(&table.relation).chain(table.joins.iter().map(|join| &join.relation)) {
        match factor {
            TableFactor::Table { name, alias, args: None, .. } => {
                let Ok(qualified) = names::qualified(name, context) else { continue };
                if names::has_table_oid(name) {
                    // Its column says it.
                    found.push((alias.as_ref().map_or(qualified.1, |alias| fold(&alias.name)), None));
                    continue;
                }
                let own = || names::find(&qualified, context).map(|object| object.oid());
                let system = match &qualified.0 {
                    Some(schema) => system_table_oid(schema, &qualified.1),
                    None => system_table_oid("pg_catalog", &qualified.1),
                };
                let Some(oid) = system.or_else(own) else { continue };
                found.push((alias.as_ref().map_or(qualified.1, |alias| fold(&alias.name)), Some(oid)));
            }
            TableFactor::NestedJoin { table_with_joins, .. } => collect(table_with_joins, context, found),
            _ => {}
        }
    }
}

/// What an expression `tableoid`, `t.tableoid` or `t.xmin` is.
pub(super) fn value(expr: &Expr, scopes: &[Relations]) -> Option<Expr> {
    let (table, column) = match expr {
        Expr::Identifier(column) => (None, fold(column)),
        Expr::CompoundIdentifier(parts) => match parts.as_slice() {
            [.., table, column] => (Some(fold(table)), fold(column)),
            _ => return None,
        },
        _ => return None,
    };
    if !is_known(&column) {
        return None;
    }
    let oid = match table {
        None => match scopes.last()?.as_slice() {
            [(_, oid)] => (*oid)?,
            _ => return None,
        },
        Some(table) => scopes.iter().rev().flatten().find(|(known, _)| *known == table)?.1?,
    };
    let (number, ty) = match column.as_str() {
        XMIN if oid.0 < SYSTEM_TABLES_END => (FROZEN_TRANSACTION, "xid"),
        XMIN => return None,
        _ => (oid.0, "oid"),
    };
    Some(Expr::Cast {
        kind: CastKind::Cast,
        expr: Box::new(Expr::value(Value::SingleQuotedString(number.to_string()))),
        data_type: DataType::Custom(ObjectName::from(vec![Ident::new(ty)]), Vec::new()),
        array: false,
        format: None,
    })
}

fn is_known(column: &str) -> bool {
    matches!(column, TABLE_OID | XMIN)
}

fn is_table_oid(column: &Ident) -> bool {
    fold(column) == TABLE_OID
}

/// Keeps the column's name, which the number does not have.
pub(super) fn name(projection: &mut [SelectItem]) {
    for item in projection {
        let SelectItem::UnnamedExpr(expr) = item else { continue };
        let column = match &*expr {
            Expr::Identifier(column) => fold(column),
            Expr::CompoundIdentifier(parts) => parts.last().map(fold).unwrap_or_default(),
            _ => continue,
        };
        if is_known(&column) {
            let expr = std::mem::replace(expr, Expr::value(Value::Null));
            *item = SelectItem::ExprWithAlias { expr, alias: Ident::new(column) };
        }
    }
}
