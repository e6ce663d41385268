//! `information_schema`: constraints and the columns they stand on.

use perigee_types::catalog::Table;

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
                _ => "CHECK",
            }),
        ),
        ("is_deferrable", yes_or_no(false)),
        ("initially_deferred", yes_or_no(false)),
        ("enforced", yes_or_no(true)),
        ("nulls_distinct", if constraint.kind == "u" { yes_or_no(true) } else { perigee_types::Value::Null }),
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
        ]);
    }
}

fn column_usage(scope: &Scope, rows: &mut Rows, table: &Table, constraint: &Constraint) {
    let schema = scope.schema_name(table.schema);
    for column in column_names(table, constraint) {
        rows.push([
            ("table_catalog", text(database(scope))),
            ("table_schema", text(schema)),
            ("table_name", text(table.name.as_str())),
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
    rows.push([
        ("table_catalog", text(database(scope))),
        ("table_schema", text(schema)),
        ("table_name", text(table.name.as_str())),
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
