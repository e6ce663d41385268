//! `information_schema`: constraints and the columns they stand on.

use perigee_types::Value;
use perigee_types::catalog::{Deferral, ReferentialAction, Table};

use super::constraints::{Constraint, constraints_of};
use super::information::database;
use crate::pg_catalog::builder::{Rows, int4, text, yes_or_no};
use crate::pg_catalog::scope::{Relation, Scope};

/// The rows of `information_schema.NAME`, where it is about constraints.
pub(super) fn fill(name: &str, scope: &Scope, rows: &mut Rows) {
    match name {
        "table_constraints" => each(scope, |table, constraint| table_constraint(scope, rows, table, constraint)),
        "key_column_usage" => each(scope, |table, constraint| key_columns(scope, rows, table, constraint)),
        "constraint_column_usage" => each(scope, |table, constraint| column_usage(scope, rows, table, constraint)),
        "constraint_table_usage" => each(scope, |table, constraint| table_usage(scope, rows, table, constraint)),
        "referential_constraints" => each(scope, |table, constraint| reference(scope, rows, table, constraint)),
        "check_constraints" => each(scope, |table, constraint| check(scope, rows, table, constraint)),
        "view_table_usage" => view_tables(scope, rows),
        _ => {}
    }
}

fn each(scope: &Scope, mut visit: impl FnMut(&Table, &Constraint)) {
    for table in scope.tables() {
        for constraint in constraints_of(scope, table) {
            visit(table, &constraint);
        }
    }
}

fn table_constraint(scope: &Scope, rows: &mut Rows, table: &Table, constraint: &Constraint) {
    let schema = scope.schema_name(table.schema);
    rows.push([
        ("constraint_catalog", text(database(scope))),
        ("constraint_schema", text(schema)),
        ("constraint_name", text(constraint.name)),
        ("table_catalog", text(database(scope))),
        ("table_schema", text(schema)),
        ("table_name", text(table.name.as_str())),
        (
            "constraint_type",
            text(match constraint.kind {
                "p" => "PRIMARY KEY",
                "u" => "UNIQUE",
                "f" => "FOREIGN KEY",
                _ => "CHECK",
            }),
        ),
        ("is_deferrable", yes_or_no(constraint.deferral() != Deferral::Never)),
        ("initially_deferred", yes_or_no(constraint.deferral() == Deferral::Deferred)),
        ("enforced", yes_or_no(true)),
        ("nulls_distinct", if constraint.kind == "u" { yes_or_no(true) } else { Value::Null }),
    ]);
}

/// The names of a constraint's columns, in its order.
fn column_names<'a>(table: &'a Table, constraint: &Constraint) -> impl Iterator<Item = &'a str> {
    constraint.columns.iter().filter_map(|n| Some(table.columns.get(table.number_position(*n)?)?.name.as_str()))
}

fn key_columns(scope: &Scope, rows: &mut Rows, table: &Table, constraint: &Constraint) {
    if constraint.kind == "c" {
        return;
    }
    let schema = scope.schema_name(table.schema);
    for (at, column) in column_names(table, constraint).enumerate() {
        rows.push([
            ("constraint_catalog", text(database(scope))),
            ("constraint_schema", text(schema)),
            ("constraint_name", text(constraint.name)),
            ("table_catalog", text(database(scope))),
            ("table_schema", text(schema)),
            ("table_name", text(table.name.as_str())),
            ("column_name", text(column)),
            ("ordinal_position", int4(at + 1)),
            ("position_in_unique_constraint", in_index(scope, constraint, at).map_or(Value::Null, |at| int4(at + 1))),
        ]);
    }
}

/// The place in its index of the column that a foreign key's column points to.
fn in_index(scope: &Scope, constraint: &Constraint, at: usize) -> Option<usize> {
    let key = constraint.foreign?;
    let referenced = key.referenced.get(at)?;
    scope.catalog().index(key.index)?.columns.iter().position(|number| number == referenced)
}

/// What a constraint is about: a foreign key is about the columns that it points to.
fn used<'a>(scope: &'a Scope, table: &'a Table, constraint: &Constraint) -> (&'a Table, Vec<&'a str>) {
    let names = |table: &'a Table, numbers: &[u16]| {
        let name = |number: &u16| Some(table.columns.get(table.number_position(*number)?)?.name.as_str());
        numbers.iter().filter_map(name).collect()
    };
    match constraint.foreign.and_then(|key| Some((key, scope.catalog().table(key.references)?))) {
        Some((key, parent)) => (parent, names(parent, &key.referenced)),
        None => (table, names(table, &constraint.columns)),
    }
}

fn reference(scope: &Scope, rows: &mut Rows, table: &Table, constraint: &Constraint) {
    let Some(key) = constraint.foreign else { return };
    let Some(index) = scope.catalog().index(key.index) else { return };
    let Some(parent) = scope.catalog().table(key.references) else { return };
    let rule = |action| match action {
        ReferentialAction::NoAction => "NO ACTION",
        ReferentialAction::Restrict => "RESTRICT",
        ReferentialAction::Cascade => "CASCADE",
        ReferentialAction::SetNull => "SET NULL",
        ReferentialAction::SetDefault => "SET DEFAULT",
    };
    // A unique index that is no constraint has no name here.
    let unique = |of: Value| if index.constraint { of } else { Value::Null };
    rows.push([
        ("constraint_catalog", text(database(scope))),
        ("constraint_schema", text(scope.schema_name(table.schema))),
        ("constraint_name", text(constraint.name)),
        ("unique_constraint_catalog", unique(text(database(scope)))),
        ("unique_constraint_schema", unique(text(scope.schema_name(parent.schema)))),
        ("unique_constraint_name", unique(text(index.name.as_str()))),
        ("match_option", text(if key.match_full { "FULL" } else { "NONE" })),
        ("update_rule", text(rule(key.on_update))),
        ("delete_rule", text(rule(key.on_delete))),
    ]);
}

fn column_usage(scope: &Scope, rows: &mut Rows, table: &Table, constraint: &Constraint) {
    let schema = scope.schema_name(table.schema);
    let (of, columns) = used(scope, table, constraint);
    for column in columns {
        rows.push([
            ("table_catalog", text(database(scope))),
            ("table_schema", text(scope.schema_name(of.schema))),
            ("table_name", text(of.name.as_str())),
            ("column_name", text(column)),
            ("constraint_catalog", text(database(scope))),
            ("constraint_schema", text(schema)),
            ("constraint_name", text(constraint.name)),
        ]);
    }
}

fn table_usage(scope: &Scope, rows: &mut Rows, table: &Table, constraint: &Constraint) {
    if constraint.kind == "c" {
        return;
    }
    let schema = scope.schema_name(table.schema);
    let (of, _) = used(scope, table, constraint);
    rows.push([
        ("table_catalog", text(database(scope))),
        ("table_schema", text(scope.schema_name(of.schema))),
        ("table_name", text(of.name.as_str())),
        ("constraint_catalog", text(database(scope))),
        ("constraint_schema", text(schema)),
        ("constraint_name", text(constraint.name)),
    ]);
}

fn check(scope: &Scope, rows: &mut Rows, table: &Table, constraint: &Constraint) {
    let Some(expression) = constraint.expression else { return };
    rows.push([
        ("constraint_catalog", text(database(scope))),
        ("constraint_schema", text(scope.schema_name(table.schema))),
        ("constraint_name", text(constraint.name)),
        ("check_clause", text(format!("(({expression}))"))),
    ]);
}

fn view_tables(scope: &Scope, rows: &mut Rows) {
    for view in scope.views() {
        for read in view.depends_on.iter().filter_map(|oid| scope.relation(*oid)) {
            if matches!(read, Relation::Sequence(_) | Relation::Index(_)) {
                continue;
            }
            rows.push([
                ("view_catalog", text(database(scope))),
                ("view_schema", text(scope.schema_name(view.schema))),
                ("view_name", text(view.name.as_str())),
                ("table_catalog", text(database(scope))),
                ("table_schema", text(scope.schema_name(read.schema(scope)))),
                ("table_name", text(read.name())),
            ]);
        }
    }
}
