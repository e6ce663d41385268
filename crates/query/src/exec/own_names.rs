//! Columns under names of their own where DataFusion looks columns up by their names alone.
//!
//! The operator that makes rows of arrays looks so for the places of its input's columns among its own: of two columns of one name
//! the first gets what is known of both. Where the second is a constant, an ORDER BY of the first would be left out.

use std::collections::HashMap;

use datafusion::common::{Column, DFSchema};
use datafusion::logical_expr::Expr;

/// What the columns of a schema are called below such an operator.
pub(super) struct OwnNames<'a> {
    schema: &'a DFSchema,
    /// For each column its name there, where that is not its own.
    names: Vec<Option<Column>>,
}

impl<'a> OwnNames<'a> {
    /// Other names for the columns whose names several have.
    pub(super) fn of(schema: &'a DFSchema) -> Self {
        let mut counts: HashMap<&str, usize> = HashMap::new();
        for field in schema.fields() {
            *counts.entry(field.name()).or_default() += 1;
        }
        let is_shared = |name: &str| counts.get(name).is_some_and(|count| *count > 1);
        let other = |at: usize| Column::new_unqualified(format!("__kept_{at}"));
        let fields = schema.fields().iter().enumerate();
        let names = fields.map(|(at, field)| is_shared(field.name()).then(|| other(at))).collect();
        Self { schema, names }
    }

    /// The names that the columns have.
    pub(super) fn unchanged(schema: &'a DFSchema) -> Self {
        Self { schema, names: vec![None; schema.fields().len()] }
    }

    /// The columns as they are called there.
    pub(super) fn below(&self) -> Vec<Expr> {
        let columns = self.schema.iter().zip(&self.names);
        columns
            .map(|(column, name)| {
                let column = Expr::Column(Column::from(column));
                match name {
                    Some(name) => column.alias(name.name.clone()),
                    None => column,
                }
            })
            .collect()
    }

    /// The columns from there under their names of before.
    pub(super) fn above(&self) -> Vec<Expr> {
        let columns = self.schema.iter().zip(&self.names);
        columns
            .map(|((qualifier, field), name)| match name {
                Some(name) => Expr::Column(name.clone()).alias_qualified(qualifier.cloned(), field.name()),
                None => Expr::Column(Column::from((qualifier, field))),
            })
            .collect()
    }

    /// What a column is called there, where that is another name.
    pub(super) fn other(&self, column: &Column) -> Option<&Column> {
        let at = self.schema.maybe_index_of_column(column)?;
        self.names.get(at)?.as_ref()
    }
}
