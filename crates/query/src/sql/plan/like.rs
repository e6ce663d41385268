//! CREATE TABLE (LIKE …): what a table takes from another relation.

use std::ops::ControlFlow;

use perigee_plan::ddl::{
    CheckConstraint, ColumnDefinition, IndexKeyDefinition, KeyConstraint, PlainIndex, SequenceClauses, SequenceColumn,
};
use perigee_types::catalog::{ColumnDefault, Index, Object, Table};
use perigee_types::{SqlError, SqlResult, SqlState};
use sqlparser::ast::{Expr, TypedString, visit_expressions};

use super::names;
use super::types::base_type;
use crate::sql::context::PlanContext;
use crate::sql::parse::parse_expression;
use crate::sql::statement::LikeClause;

/// What one LIKE gives.
#[derive(Default)]
pub(super) struct Taken {
    pub(super) columns: Vec<ColumnDefinition>,
    pub(super) keys: Vec<KeyConstraint>,
    pub(super) checks: Vec<CheckConstraint>,
    pub(super) indexes: Vec<PlainIndex>,
}

/// # Errors
/// `42P01` where there is no such relation, `42809` where it has no columns to take.
pub(super) fn taken(like: &LikeClause, context: &PlanContext) -> SqlResult<Taken> {
    let name = names::qualified(&like.name, context)?;
    let includes = |what: &str| {
        let last = like.options.iter().rev().find(|(_, option)| option == what || option == "all");
        last.is_some_and(|(including, _)| *including)
    };
    let found = names::find(&name, context);
    if let (Some(uses), Some(found)) = (context.uses, found) {
        uses.likes.borrow_mut().insert(found.oid());
    }
    let table = match found {
        Some(Object::Table(_)) => names::table(&like.name, context)?,
        Some(Object::View(view)) => {
            let columns = view.columns.iter().map(|(name, ty)| super::table::plain_column(name.clone(), ty.clone()));
            return Ok(Taken { columns: columns.collect(), ..Taken::default() });
        }
        Some(_) => {
            let text = format!("relation \"{}\" is invalid in LIKE clause", name.1);
            return Err(SqlError::new(SqlState::WrongObjectType, text));
        }
        None => return Err(names::undefined_table(&name)),
    };
    let mut taken = Taken::default();
    for column in table.visible_columns() {
        let mut definition = super::table::plain_column(column.name.clone(), column.ty.clone());
        definition.domain = column.domain;
        definition.not_null = column.not_null;
        match &column.default {
            Some(ColumnDefault::Expression(text)) if includes("defaults") => definition.default = Some(text.clone()),
            Some(ColumnDefault::Generated(text)) if includes("generated") => {
                definition.default = Some(text.clone());
                definition.generated = true;
            }
            Some(ColumnDefault::Sequence(oid)) => match column.identity_always {
                Some(always) if includes("identity") => {
                    definition.sequence =
                        Some(if always { SequenceColumn::IdentityAlways } else { SequenceColumn::IdentityByDefault });
                    definition.clauses = same_sequence(*oid, context);
                }
                // A serial column's default is the same sequence.
                None if includes("defaults") => {
                    let place = table.number_position(column.number).unwrap_or_default();
                    let expression = super::update::default_expression(&table, place, context)?;
                    definition.default = Some(expression.to_string());
                }
                _ => {}
            },
            _ => {}
        }
        taken.columns.push(definition);
    }
    if includes("constraints") {
        let check = |check: &perigee_types::catalog::Check| CheckConstraint {
            name: Some(check.name.clone()),
            expression: check.expression.clone(),
            not_valid: false,
        };
        taken.checks = table.checks.iter().map(check).collect();
    }
    if includes("indexes") {
        for index in context.catalog.indexes_of(&table) {
            if index.constraint {
                let columns = column_names(&table, &index.columns);
                let primary = table.primary_key == Some(index.oid);
                let deferral = index.definition.deferral;
                taken.keys.push(KeyConstraint { name: None, columns, primary, deferral });
            } else {
                taken.indexes.push(plain_index(&table, index)?);
            }
        }
    }
    look_at_types(&taken)?;
    Ok(taken)
}

/// Looks up the types that the texts name which a table takes: they are not planned again, and a temporary one does not
/// stay.
fn look_at_types(taken: &Taken) -> SqlResult<()> {
    let defaults = taken.columns.iter().filter_map(|column| column.default.as_deref());
    let checks = taken.checks.iter().map(|check| check.expression.as_str());
    let of_index = |index: &PlainIndex| {
        let keys = index.keys.iter().filter_map(|key| key.expression.as_ref().map(|(text, _)| text.clone()));
        keys.chain(index.predicate.clone()).collect::<Vec<_>>()
    };
    let indexes: Vec<String> = taken.indexes.iter().flat_map(of_index).collect();
    for text in defaults.chain(checks).chain(indexes.iter().map(String::as_str)) {
        let _: ControlFlow<()> = visit_expressions(&parse_expression(text)?, |expr| {
            if let Expr::Cast { data_type, .. } | Expr::TypedString(TypedString { data_type, .. }) = expr {
                // What it is does not matter here.
                let _ = base_type(data_type);
            }
            ControlFlow::Continue(())
        });
    }
    Ok(())
}

fn column_names(table: &Table, numbers: &[u16]) -> Vec<String> {
    let name = |number: &u16| table.columns.iter().find(|c| c.number == *number).map(|c| c.name.clone());
    numbers.iter().filter_map(name).collect()
}

fn plain_index(table: &Table, index: &Index) -> SqlResult<PlainIndex> {
    let key = |(at, number): (usize, &u16)| {
        let written = index.definition.keys.get(at).cloned().unwrap_or_default();
        let column = table.number_position(*number).and_then(|place| table.columns.get(place));
        let (name, expression) = match (written.expression, column) {
            (Some(text), Some(column)) => {
                (super::ddl::index_expression_name(&parse_expression(&text)?), Some((text, column.ty.clone())))
            }
            (_, column) => (column.map(|column| column.name.clone()).unwrap_or_default(), None),
        };
        Ok(IndexKeyDefinition { name, expression, descending: written.descending, nulls_first: written.nulls_first })
    };
    Ok(PlainIndex {
        keys: index.key_columns().iter().enumerate().map(key).collect::<SqlResult<_>>()?,
        predicate: index.definition.predicate.clone(),
        include: column_names(table, &index.definition.include),
        unique: index.unique,
    })
}

fn same_sequence(oid: perigee_types::Oid, context: &PlanContext) -> SequenceClauses {
    let Some(sequence) = context.catalog.sequence(oid) else { return SequenceClauses::default() };
    SequenceClauses {
        increment: Some(sequence.increment),
        minimum: Some(Some(sequence.minimum)),
        maximum: Some(Some(sequence.maximum)),
        start: Some(sequence.start),
        cycle: Some(sequence.cycle),
        ..SequenceClauses::default()
    }
}

/// Refuses a LIKE where the statement has a query.
pub(super) fn refuse(likes: &[LikeClause]) -> SqlResult<()> {
    if likes.is_empty() { Ok(()) } else { Err(SqlError::syntax("syntax error at or near \"LIKE\"")) }
}
