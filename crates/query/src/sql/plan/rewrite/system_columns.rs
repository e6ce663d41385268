//! `tableoid`: the same for all rows of a table, so it is known where the table is.

use perigee_types::Oid;
use sqlparser::ast::{CastKind, DataType, Expr, Ident, ObjectName, SelectItem, TableFactor, TableWithJoins, Value};

use super::super::names;
use crate::exec::system_table_oid;
use crate::sql::context::PlanContext;
use crate::sql::parse::fold;

const TABLE_OID: &str = "tableoid";

/// The names of a SELECT's tables and the tables' oids.
pub(super) type Relations = Vec<(String, Oid)>;

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
                let own = || names::find(&qualified, context).map(|object| object.oid());
                let system = match &qualified.0 {
                    Some(schema) => system_table_oid(schema, &qualified.1),
                    None => system_table_oid("pg_catalog", &qualified.1),
                };
                let Some(oid) = system.or_else(own) else { continue };
                found.push((alias.as_ref().map_or(qualified.1, |alias| fold(&alias.name)), oid));
            }
            TableFactor::NestedJoin { table_with_joins, .. } => collect(table_with_joins, context, found),
            _ => {}
        }
    }
}

/// The oid that an expression `tableoid` or `t.tableoid` is.
pub(super) fn table_oid(expr: &Expr, scopes: &[Relations]) -> Option<Expr> {
    let oid = match expr {
        Expr::Identifier(column) if is_table_oid(column) => match scopes.last()?.as_slice() {
            [(_, oid)] => *oid,
            _ => return None,
        },
        Expr::CompoundIdentifier(parts) => match parts.as_slice() {
            [.., table, column] if is_table_oid(column) => {
                let name = fold(table);
                scopes.iter().rev().flatten().find(|(known, _)| *known == name)?.1
            }
            _ => return None,
        },
        _ => return None,
    };
    Some(Expr::Cast {
        kind: CastKind::Cast,
        expr: Box::new(Expr::value(Value::Number(oid.0.to_string(), false))),
        data_type: DataType::Custom(ObjectName::from(vec![Ident::new("oid")]), Vec::new()),
        array: false,
        format: None,
    })
}

fn is_table_oid(column: &Ident) -> bool {
    fold(column) == TABLE_OID
}

/// Keeps the column's name, which the number does not have.
pub(super) fn name(projection: &mut [SelectItem]) {
    for item in projection {
        if let SelectItem::UnnamedExpr(expr) = item
            && match expr {
                Expr::Identifier(column) => is_table_oid(column),
                Expr::CompoundIdentifier(parts) => parts.last().is_some_and(is_table_oid),
                _ => false,
            }
        {
            let expr = std::mem::replace(expr, Expr::value(Value::Null));
            *item = SelectItem::ExprWithAlias { expr, alias: Ident::new(TABLE_OID) };
        }
    }
}
