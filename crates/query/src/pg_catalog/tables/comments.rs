//! `pg_description`. Built-in functions, operators, types and languages carry no comments.

use perigee_types::Value;
use perigee_types::catalog::EXTENSIONS;

use super::constraints::constraints_of;
use crate::pg_catalog::builder::{Rows, oid, text};
use crate::pg_catalog::scope::{Relation, Scope};

/// Oid of `pg_class` as the class of an object.
const PG_CLASS: u32 = 1259;
/// Oid of `pg_proc` as the class of an object.
const PG_PROC: u32 = 1255;
/// Oid of `pg_extension` as the class of an object.
const PG_EXTENSION: u32 = 3079;
/// Oid of `pg_type` as the class of an object.
const PG_TYPE: u32 = 1247;
/// Oid of `pg_constraint` as the class of an object.
const PG_CONSTRAINT: u32 = 2606;
/// Oid of `pg_namespace` as the class of an object.
const PG_NAMESPACE: u32 = 2615;

/// The comment on an object of a class, other than a relation, by the class's name.
pub(in crate::pg_catalog) fn of_object(scope: &Scope, class: &str, object: u32) -> Option<String> {
    match class {
        "pg_namespace" => scope
            .schemas()
            .find(|schema| schema.oid.0 == object)
            .and_then(|schema| schema.described().map(str::to_owned)),
        "pg_extension" => {
            EXTENSIONS.iter().find(|extension| extension.oid == object).map(|extension| extension.comment.to_owned())
        }
        "pg_proc" => {
            scope.functions().find(|function| function.oid.0 == object).and_then(|function| function.comment.clone())
        }
        "pg_type" => scope.user_types().find(|ty| ty.oid.0 == object).and_then(|ty| ty.comment.clone()),
        _ => None,
    }
}

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
    for schema in scope.schemas() {
        if let Some(comment) = schema.described() {
            push(PG_NAMESPACE, schema.oid.0, 0, comment);
        }
    }
    for extension in EXTENSIONS {
        push(PG_EXTENSION, extension.oid, 0, extension.comment);
    }
    for function in scope.functions() {
        if let Some(comment) = &function.comment {
            push(PG_PROC, function.oid.0, 0, comment);
        }
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
