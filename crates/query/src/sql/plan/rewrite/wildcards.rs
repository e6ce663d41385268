//! `t.*` of a table that FROM names with its schema, and `s.t.*` of one that it names without: DataFusion's planner wants the
//! name as FROM has it.

use sqlparser::ast::{Select, SelectItem, SelectItemQualifiedWildcardKind, TableFactor, TableWithJoins};

use super::super::names;
use crate::sql::context::PlanContext;
use crate::sql::parse::fold;

/// Gives each `t.*` of the select list the name that the table has in FROM.
pub(super) fn named_as_in_from(select: &mut Select, context: &PlanContext) {
    for item in &mut select.projection {
        let SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), _) = item else {
            continue;
        };
        let Ok(wanted) = names::last_ident(name).map(fold) else { continue };
        let mut same = Vec::new();
        let mut is_alias = false;
        for factor in select.from.iter().flat_map(factors) {
            match factor {
                TableFactor::Table { name, alias: None, args: None, .. }
                    if names::last_ident(name).is_ok_and(|last| fold(last) == wanted) =>
                {
                    same.push(name);
                }
                TableFactor::Table { alias: Some(alias), .. } | TableFactor::Derived { alias: Some(alias), .. } => {
                    is_alias |= fold(&alias.name) == wanted;
                }
                _ => {}
            }
        }
        let ([table], false) = (same.as_slice(), is_alias) else { continue };
        let found = |name| names::find(&names::qualified(name, context).ok()?, context).map(|object| object.oid());
        if name.0.len() == 1 && table.0.len() > 1
            || table.0.len() == 1 && found(name).is_some_and(|oid| found(table) == Some(oid))
        {
            *name = (*table).clone();
        }
    }
}

fn factors(table: &TableWithJoins) -> Vec<&TableFactor> {
    let mut found = Vec::new();
    for factor in std::iter::once(&table.relation).chain(table.joins.iter().map(|join| &join.relation)) {
        match factor {
            TableFactor::NestedJoin { table_with_joins, alias: None } => found.extend(factors(table_with_joins)),
            other => found.push(other),
        }
    }
    found
}
