//! `tableoid`: the same for all rows of a table, so it is known where the table is. Rows of a table with partitions, or
//! that others inherit from, have it in a hidden column: its scan is asked for it by a mark behind the table's name.
//!
//! `ctid`: made of the number of the row's version, which the scan gives in another hidden column, asked for in the same way.
//!
//! `xmin` of the system catalogs, whose rows are computed from a version of the catalog, not written by a transaction: it is
//! the frozen transaction's for all of them.

use std::ops::ControlFlow;

use perigee_plan::relational::VID_COLUMN;
use perigee_types::catalog::{Object, Table};
use perigee_types::{Oid, SqlError, SqlResult};
use sqlparser::ast::{
    CastKind, DataType, ExcludeSelectItem, Expr, Ident, JoinConstraint, JoinOperator, ObjectName, ObjectNamePart,
    OrderByKind, Query, Select, SelectItem, SelectItemQualifiedWildcardKind, SetExpr, TableAlias, TableFactor,
    TableWithJoins, Value, Visit, WildcardAdditionalOptions, visit_expressions,
};

use super::super::names;
use super::super::query::is_target;
use super::functions;
use crate::exec::{ONLY_MARK, ROW_TID, TABLE_OID_MARK, TID_MARK, system_table_oid};
use crate::sql::context::PlanContext;
use crate::sql::parse::fold;

const TABLE_OID: &str = "tableoid";
const TID: &str = "ctid";
const XMIN: &str = "xmin";
/// What rows have that were there before all transactions that are.
const FROZEN_TRANSACTION: u32 = 2;
/// Oids of system tables are below this, those of views over them above.
const SYSTEM_TABLES_END: u32 = 10_000;

/// The tables of a SELECT.
pub(super) type Relations = Vec<Relation>;

/// A table of a SELECT.
pub(super) struct Relation {
    name: String,
    /// Its oid, where all rows have the same.
    oid: Option<Oid>,
    /// Whether its scan has the hidden column that `ctid` is made of.
    tid: bool,
}

/// Which of the columns that need another scan stand anywhere in a statement.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Named {
    table_oid: bool,
    tid: bool,
}

impl Named {
    /// Whether one of them does.
    pub(super) fn any(self) -> bool {
        self.table_oid || self.tid
    }
}

/// A table whose scan was asked for hidden columns.
pub(super) struct Marked {
    name: String,
    hidden: Vec<&'static str>,
}

/// Which of these columns stand in a statement.
pub(super) fn named(node: &impl Visit) -> Named {
    let mut named = Named::default();
    let all: ControlFlow<()> = visit_expressions(node, |expr| {
        let column = match expr {
            Expr::Identifier(column) => Some(column),
            Expr::CompoundIdentifier(parts) => parts.last(),
            _ => None,
        };
        match column.map(fold).as_deref() {
            Some(TABLE_OID) => named.table_oid = true,
            Some(TID) => named.tid = true,
            _ => {}
        }
        ControlFlow::Continue(())
    });
    debug_assert!(all.is_continue());
    named
}

/// Refuses `ctid` where the version of a row has no number yet.
///
/// # Errors
/// `0A000`
pub(in crate::sql::plan) fn refuse_tid(node: &impl Visit, place: &str) -> SqlResult<()> {
    match named(node).tid {
        true => Err(SqlError::unsupported(format_args!("{TID} in {place}"))),
        false => Ok(()),
    }
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

/// Has the scans of tables end with the columns that are named: of tables with partitions or heirs with their oids. Gives these
/// tables.
pub(super) fn mark(from: &mut [TableWithJoins], named: Named, context: &PlanContext) -> Vec<Marked> {
    let mut marked = Vec::new();
    for factor in factors(from) {
        let TableFactor::Table { name, alias, args: None, .. } = factor else { continue };
        let Ok(qualified) = names::qualified(name, context) else { continue };
        let Some(Object::Table(table)) = names::find(&qualified, context) else { continue };
        let only = names::is_only(name);
        let oid = named.table_oid && !only && context.catalog.has_children(table.oid);
        let tid = named.tid && has_versions(table);
        let mut hidden = Vec::new();
        hidden.extend(tid.then_some(VID_COLUMN));
        hidden.extend(oid.then_some(TABLE_OID));
        if hidden.is_empty() {
            continue;
        }
        let Some(ObjectNamePart::Identifier(last)) = name.0.last_mut() else { continue };
        let marks = [(only, ONLY_MARK), (oid, TABLE_OID_MARK), (tid, TID_MARK)];
        let marks: String = marks.iter().filter(|(asked, _)| *asked).map(|(_, mark)| *mark).collect();
        *last = Ident::with_quote('"', format!("{}{marks}", qualified.1));
        let alias = alias.get_or_insert_with(|| self::alias(qualified.1));
        marked.push(Marked { name: fold(&alias.name), hidden });
    }
    marked
}

/// Whether the rows that a statement sees of a table are versions of its own, and none of its columns has the name.
fn has_versions(table: &Table) -> bool {
    let computed = table.materialized.as_deref().is_some_and(|view| view.continuous.is_some());
    !computed && table.column_position(TID).is_none()
}

/// Leaves the tables' oids out of `*`.
pub(in crate::sql::plan) fn hide(items: &mut [SelectItem]) {
    for item in items {
        if let SelectItem::Wildcard(options) | SelectItem::QualifiedWildcard(_, options) = item {
            options.opt_exclude = Some(without(&[TABLE_OID]));
        }
    }
}

fn without(columns: &[&str]) -> ExcludeSelectItem {
    ExcludeSelectItem::Multiple(columns.iter().map(|column| ObjectName::from(vec![Ident::new(*column)])).collect())
}

fn hidden_of(marked: &[Marked], name: &Ident) -> Option<ExcludeSelectItem> {
    let name = fold(name);
    marked.iter().find(|marked| marked.name == name).map(|marked| without(&marked.hidden))
}

/// Leaves the columns of `marked` tables out of the select list's `*`.
///
/// # Errors
/// `0A000` where `*` cannot be written out.
pub(super) fn hide_in(select: &mut Select, marked: &[Marked]) -> SqlResult<()> {
    if marked.is_empty() {
        return Ok(());
    }
    let mut items = Vec::with_capacity(select.projection.len());
    for mut item in std::mem::take(&mut select.projection) {
        match &mut item {
            SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), options) => {
                if let Some(hidden) = hidden_of(marked, names::last_ident(name)?) {
                    options.opt_exclude = Some(hidden);
                }
            }
            SelectItem::Wildcard(options) if let [marked] = marked => {
                options.opt_exclude = Some(without(&marked.hidden));
            }
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
fn written_out(select: &mut Select, marked: &[Marked]) -> SqlResult<Vec<SelectItem>> {
    let refused = || SqlError::unsupported("tableoid or ctid beside * over tables that are joined like this");
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
        let opt_exclude = hidden_of(marked, &name);
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
        collect(table, false, context, &mut found);
    }
    found
}

/// Makes `ctid` as a key of ORDER BY what it is: that is visited behind its SELECT, before which it is rewritten. An output column
/// of that name comes first.
pub(super) fn in_order(query: &mut Query, named: Named, context: &PlanContext) {
    let (true, SetExpr::Select(select), Some(order)) = (named.tid, query.body.as_ref(), query.order_by.as_mut()) else {
        return;
    };
    let OrderByKind::Expressions(keys) = &mut order.kind else { return };
    let is_tid = |name: Option<&Ident>| name.is_some_and(|name| fold(name) == TID);
    let is_output = select.projection.iter().any(|item| match item {
        SelectItem::ExprWithAlias { alias, .. } => is_tid(Some(alias)),
        SelectItem::UnnamedExpr(Expr::Identifier(name)) => is_tid(Some(name)),
        SelectItem::UnnamedExpr(Expr::CompoundIdentifier(parts)) => is_tid(parts.last()),
        _ => false,
    });
    let mut found = Vec::new();
    select.from.iter().for_each(|table| collect(table, true, context, &mut found));
    let scopes = [found];
    for key in keys {
        let is_key = match &key.expr {
            Expr::Identifier(name) => !is_output && is_tid(Some(name)),
            Expr::CompoundIdentifier(parts) => is_tid(parts.last()),
            _ => false,
        };
        if let Some(place) = is_key.then(|| value(&key.expr, &scopes)).flatten() {
            key.expr = place;
        }
    }
}

/// `marked`: the scans of all tables will be asked for the column that `ctid` is made of.
fn collect(table: &TableWithJoins, marked: bool, context: &PlanContext, found: &mut Relations) {
    for factor in std::iter::once(&table.relation).chain(table.joins.iter().map(|join| &join.relation)) {
        match factor {
            TableFactor::Table { name, alias, args: None, .. } => {
                let Ok(qualified) = names::qualified(name, context) else { continue };
                let known_as = alias.as_ref().map_or_else(|| qualified.1.clone(), |alias| fold(&alias.name));
                let object = names::find(&qualified, context);
                let will_have = || matches!(object, Some(Object::Table(table)) if has_versions(table));
                let tid = names::has_tid(name) || is_target(name) || marked && will_have();
                if names::has_table_oid(name) || is_target(name) {
                    // Its column says it.
                    found.push(Relation { name: known_as, oid: None, tid });
                    continue;
                }
                let own = || object.map(Object::oid);
                let system = match &qualified.0 {
                    Some(schema) => system_table_oid(schema, &qualified.1),
                    None => system_table_oid("pg_catalog", &qualified.1),
                };
                let Some(oid) = system.or_else(own) else { continue };
                found.push(Relation { name: known_as, oid: Some(oid), tid });
            }
            TableFactor::NestedJoin { table_with_joins, .. } => collect(table_with_joins, marked, context, found),
            _ => {}
        }
    }
}

/// What an expression `tableoid`, `t.tableoid`, `t.ctid` or `t.xmin` is.
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
    let relation = match table {
        None => match scopes.last()?.as_slice() {
            [relation] => relation,
            _ => return None,
        },
        Some(table) => scopes.iter().rev().flatten().find(|known| known.name == table)?,
    };
    if column == TID {
        let quoted = |name: &str| Ident::with_quote('"', name);
        let version = Expr::CompoundIdentifier(vec![quoted(&relation.name), quoted(VID_COLUMN)]);
        return relation.tid.then(|| functions::call(ROW_TID, vec![version]));
    }
    let oid = relation.oid?;
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
    matches!(column, TABLE_OID | TID | XMIN)
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
