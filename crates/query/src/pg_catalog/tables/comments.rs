//! `pg_description`.

use perigee_types::Value;

use super::constraints::constraints_of;
use crate::pg_catalog::builder::{Rows, oid, text};
use crate::pg_catalog::scope::{Relation, Scope};

/// Oid of `pg_class` as the class of an object.
const PG_CLASS: u32 = 1259;
/// Oid of `pg_type` as the class of an object.
const PG_TYPE: u32 = 1247;
/// Oid of `pg_constraint` as the class of an object.
const PG_CONSTRAINT: u32 = 2606;
/// Oid of `pg_namespace` as the class of an object.
const PG_NAMESPACE: u32 = 2615;

/// `pg_description`: comments on relations, their columns and constraints, and on types.
pub(super) fn fill(scope: &Scope, rows: &mut Rows) {
    let mut push = |class: u32, object: u32, column: u16, comment: &str| {
        rows.push([
            ("objoid", oid(object)),
            ("classoid", oid(class)),
            ("objsubid", Value::Int4(i32::from(column))),
            ("description", text(comment)),
        ]);
    };
    for schema in scope.schemas().filter(|s| s.name == "public") {
        push(PG_NAMESPACE, schema.oid.0, 0, "standard public schema");
    }
    for ty in scope.user_types() {
        if let Some(comment) = &ty.comment {
            push(PG_TYPE, ty.oid.0, 0, comment);
        }
    }
    for relation in scope.relations() {
        if let Some(comment) = relation.comment() {
            push(PG_CLASS, relation.oid().0, 0, comment);
        }
        let Relation::Table(table) = relation else { continue };
        for constraint in constraints_of(scope, table) {
            if let Some((_, comment)) = table.constraint_comments.iter().find(|(of, _)| *of == constraint.oid) {
                push(PG_CONSTRAINT, constraint.oid.0, 0, comment);
            }
        }
        for column in &table.columns {
            if let Some(comment) = &column.comment {
                push(PG_CLASS, table.oid.0, column.number, comment);
            }
        }
    }
}
