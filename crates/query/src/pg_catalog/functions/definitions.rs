//! Objects as SQL, and their comments.

use std::sync::Arc;

use perigee_types::catalog::{ColumnDefault, EXTENSIONS, Table};
use perigee_types::{Oid, SqlError, SqlResult, SqlState, SqlType, Value};

use super::names::{cell, formatted};
use super::{SystemFunction, bool_at, function, oid_at, oid_of, relation_of, text_at};
use crate::pg_catalog::scope::{Relation, Scope};
use crate::pg_catalog::{comment_of, deparse, routine, view_text};

pub(super) fn all() -> Vec<SystemFunction> {
    vec![
        // Expressions are kept as SQL, not as trees.
        function("pg_get_expr", 2..=3, SqlType::Text, |_, v| Ok(v.first().cloned().unwrap_or(Value::Null))),
        function("pg_get_indexdef", 1..=3, SqlType::Text, index),
        function("pg_get_constraintdef", 1..=2, SqlType::Text, |s, v| {
            Ok(deparse::constraint(s, oid_at(v, 0), bool_at(v, 1)).map_or(Value::Null, Value::Text))
        }),
        function("pg_get_viewdef", 1..=2, SqlType::Text, view),
        function("pg_get_ruledef", 1..=2, SqlType::Text, |_, _| Ok(Value::Null)),
        function("pg_get_triggerdef", 1..=2, SqlType::Text, |_, _| Ok(Value::Null)),
        function("pg_get_partkeydef", 1..=1, SqlType::Text, |scope, values| {
            let table = scope.catalog().table(oid_at(values, 0));
            Ok(table.and_then(|table| deparse::partition_key(table)).map_or(Value::Null, Value::Text))
        }),
        function("pg_get_partition_constraintdef", 1..=1, SqlType::Text, |scope, values| {
            let table = scope.catalog().table(oid_at(values, 0));
            let text = table.and_then(|table| deparse::partition_constraint(scope, table));
            Ok(text.map_or(Value::Null, Value::Text))
        }),
        function("pg_partition_ancestors_array", 1..=1, set_of(SqlType::Oid), |scope, values| {
            Ok(Value::Array(lineage(scope, values)?.iter().map(|table| Value::Oid(table.oid.0)).collect()))
        }),
        function("pg_partition_tree_relid_array", 1..=1, set_of(SqlType::Oid), |scope, values| {
            Ok(Value::Array(tree(scope, values)?.iter().map(|(table, _)| Value::Oid(table.oid.0)).collect()))
        }),
        function("pg_partition_tree_parent_array", 1..=1, set_of(SqlType::Oid), |scope, values| {
            let parent = |(table, _): &(Arc<Table>, i32)| match table.parents.first() {
                Some(parent) if table.is_partition() => Value::Oid(parent.0),
                _ => Value::Null,
            };
            Ok(Value::Array(tree(scope, values)?.iter().map(parent).collect()))
        }),
        function("pg_partition_tree_leaf_array", 1..=1, set_of(SqlType::Bool), |scope, values| {
            let leaf = |(table, _): &(Arc<Table>, i32)| Value::Bool(table.partitioning.is_none());
            Ok(Value::Array(tree(scope, values)?.iter().map(leaf).collect()))
        }),
        function("pg_partition_tree_level_array", 1..=1, set_of(SqlType::Int4), |scope, values| {
            Ok(Value::Array(tree(scope, values)?.iter().map(|(_, level)| Value::Int4(*level)).collect()))
        }),
        function("pg_partition_root", 1..=1, SqlType::Regclass, |scope, values| {
            Ok(lineage(scope, values)?.last().map_or(Value::Null, |root| Value::Oid(root.oid.0)))
        }),
        function("pg_get_statisticsobjdef_columns", 1..=1, SqlType::Text, |_, _| Ok(Value::Null)),
        function("pg_get_functiondef", 1..=1, SqlType::Text, |scope, values| {
            let function = scope.function(oid_at(values, 0));
            Ok(function.map_or(Value::Null, |function| Value::Text(routine::definition(scope, function))))
        }),
        // Bodies are texts, never trees.
        function("pg_get_function_sqlbody", 1..=1, SqlType::Text, |_, _| Ok(Value::Null)),
        function("pg_get_function_arg_default", 2..=2, SqlType::Text, |scope, values| {
            let parameter = values.get(1).and_then(Value::as_i64).and_then(|n| usize::try_from(n).ok()?.checked_sub(1));
            let parameter = scope.function(oid_at(values, 0)).and_then(|function| function.parameters.get(parameter?));
            Ok(parameter.and_then(|parameter| parameter.default.clone()).map_or(Value::Null, Value::Text))
        }),
        function("pg_get_function_result", 1..=1, SqlType::Text, function_result),
        function("pg_get_function_arguments", 1..=1, SqlType::Text, function_arguments),
        function("pg_get_function_identity_arguments", 1..=1, SqlType::Text, |scope, values| {
            match scope.function(oid_at(values, 0)) {
                Some(function) => Ok(Value::Text(routine::arguments(scope, function, false))),
                None => function_arguments(scope, values),
            }
        }),
        function("pg_get_serial_sequence", 2..=2, SqlType::Text, serial_sequence),
        function("pg_relation_is_publishable", 1..=1, SqlType::Bool, |_, _| Ok(Value::Bool(false))),
        function("pg_relation_is_updatable", 2..=2, SqlType::Int4, relation_is_updatable),
        function("obj_description", 1..=2, SqlType::Text, comment),
        function("shobj_description", 2..=2, SqlType::Text, |_, _| Ok(Value::Null)),
        function("col_description", 2..=2, SqlType::Text, column_comment),
        function("pg_describe_object", 3..=3, SqlType::Text, described),
        function("quote_ident", 1..=1, SqlType::Text, |_, v| Ok(Value::Text(deparse::quote_ident(text_at(v, 0))))),
    ]
}

fn set_of(ty: SqlType) -> SqlType {
    SqlType::Array(Box::new(ty))
}

/// A partition or a partitioned table and those above it, up to the root; nothing for other relations.
fn lineage(scope: &Scope, values: &[Value]) -> SqlResult<Vec<Arc<Table>>> {
    let found = relation_of(scope, values.first().unwrap_or(&Value::Null))?;
    let mut all = Vec::new();
    let mut next = match found {
        Some(Relation::Table(table)) if table.partitioning.is_some() || table.is_partition() => Some(table.clone()),
        _ => None,
    };
    while let Some(table) = next {
        let parent = if table.is_partition() { table.parents.first() } else { None };
        next = parent.and_then(|parent| scope.catalog().table(*parent)).cloned();
        all.push(table);
    }
    Ok(all)
}

/// A partition or a partitioned table and those below it, with their levels.
fn tree(scope: &Scope, values: &[Value]) -> SqlResult<Vec<(Arc<Table>, i32)>> {
    let Some(root) = lineage(scope, values)?.into_iter().next() else { return Ok(Vec::new()) };
    let mut all: Vec<(Arc<Table>, i32)> = Vec::new();
    for table in scope.catalog().family(&root) {
        let above = all.iter().find(|(above, _)| table.parents.contains(&above.oid)).map_or(-1, |(_, level)| *level);
        all.push((table, above + 1));
    }
    Ok(all)
}

fn index(scope: &Scope, values: &[Value]) -> SqlResult<Value> {
    let Some(Relation::Index(index)) = scope.relation(oid_at(values, 0)) else { return Ok(Value::Null) };
    let Some(table) = scope.catalog().table(index.table) else { return Ok(Value::Null) };
    let column = values.get(1).and_then(Value::as_i64).unwrap_or(0);
    let Ok(column) = usize::try_from(column) else { return Ok(Value::Null) };
    if column == 0 {
        return Ok(Value::Text(deparse::index(scope, table, index, bool_at(values, 2))));
    }
    let included = index.definition.include.iter().filter_map(|number| {
        let column = table.columns.get(table.number_position(*number)?)?;
        Some(deparse::quote_ident(&column.name))
    });
    let name = index.key_texts(table, deparse::quote_ident).chain(included).nth(column - 1);
    Ok(name.map_or(Value::Text(String::new()), Value::Text))
}

fn view(scope: &Scope, values: &[Value]) -> SqlResult<Value> {
    let found = relation_of(scope, values.first().unwrap_or(&Value::Null))?;
    // A number says where to wrap lines, which are pretty then.
    let pretty = matches!(values.get(1), Some(Value::Bool(true) | Value::Int4(_) | Value::Int8(_)));
    Ok(match found {
        Some(Relation::View(view)) => Value::Text(view_text::of_view(scope, view, pretty)),
        Some(Relation::Table(table)) => match &table.materialized {
            Some(materialized) => Value::Text(view_text::of_materialized(scope, table, &materialized.query, pretty)),
            None => Value::Null,
        },
        _ => Value::Null,
    })
}

fn function_result(scope: &Scope, values: &[Value]) -> SqlResult<Value> {
    let oid = oid_at(values, 0);
    if let Some(function) = scope.function(oid) {
        return Ok(Value::Text(routine::result(scope, function)));
    }
    let Some(returns) = cell("pg_proc", oid, "prorettype").as_ref().and_then(oid_of) else { return Ok(Value::Null) };
    let set = cell("pg_proc", oid, "proretset") == Some(Value::Bool(true));
    Ok(Value::Text(format!("{}{}", if set { "SETOF " } else { "" }, formatted(scope, returns, -1))))
}

fn function_arguments(scope: &Scope, values: &[Value]) -> SqlResult<Value> {
    if let Some(function) = scope.function(oid_at(values, 0)) {
        return Ok(Value::Text(routine::arguments(scope, function, true)));
    }
    let Some(Value::Array(types)) = cell("pg_proc", oid_at(values, 0), "proargtypes") else { return Ok(Value::Null) };
    let types: Vec<String> = types.iter().filter_map(oid_of).map(|oid| formatted(scope, oid, -1)).collect();
    Ok(Value::Text(types.join(", ")))
}

fn serial_sequence(scope: &Scope, values: &[Value]) -> SqlResult<Value> {
    let found = relation_of(scope, values.first().unwrap_or(&Value::Null))?;
    let Some(Relation::Table(table)) = found else { return Ok(Value::Null) };
    let name = text_at(values, 1);
    let Some(column) = table.column_position(name).and_then(|at| table.columns.get(at)) else {
        return Err(SqlError::new(
            SqlState::UndefinedColumn,
            format!("column \"{name}\" of relation \"{}\" does not exist", table.name),
        ));
    };
    let owned = |oid: Oid| {
        scope.catalog().sequence(oid).filter(|s| s.owned_by == Some((table.oid, column.number))).map(Relation::Sequence)
    };
    let sequence = match &column.default {
        Some(ColumnDefault::Sequence(oid)) => owned(*oid),
        _ => scope.sequences().find(|s| s.owned_by == Some((table.oid, column.number))).map(Relation::Sequence),
    };
    Ok(sequence.map_or(Value::Null, |sequence| Value::Text(deparse::qualified(scope, sequence))))
}

/// Bits of UPDATE (4), INSERT (8) and DELETE (16).
fn relation_is_updatable(scope: &Scope, values: &[Value]) -> SqlResult<Value> {
    let updatable = match scope.relation(oid_at(values, 0)) {
        Some(Relation::Table(_)) => true,
        Some(Relation::View(view)) => scope.updatable_columns(view).is_some(),
        _ => false,
    };
    Ok(Value::Int4(if updatable { 28 } else { 0 }))
}

/// `obj_description(oid [, class])`
fn comment(scope: &Scope, values: &[Value]) -> SqlResult<Value> {
    let oid = oid_at(values, 0);
    let class = values.get(1).and_then(Value::as_str).unwrap_or("pg_class");
    let comment = match class {
        "pg_class" => scope.relation(oid).and_then(Relation::comment).map(str::to_owned),
        "pg_constraint" => scope
            .tables()
            .flat_map(|table| &table.constraint_comments)
            .find(|(of, _)| *of == oid)
            .map(|(_, comment)| comment.clone()),
        other => comment_of(scope, other, oid.0),
    };
    Ok(comment.map_or(Value::Null, Value::Text))
}

/// `pg_describe_object(class, object, part)`: what an object is, and its name; NULL for what is not there, and for other classes.
fn described(scope: &Scope, values: &[Value]) -> SqlResult<Value> {
    let object = oid_at(values, 1);
    let part = values.get(2).and_then(Value::as_i64).unwrap_or_default();
    let of_relation = |relation: Relation| {
        let noun = match relation.kind_in(scope) {
            "i" | "I" => "index",
            "S" => "sequence",
            "v" => "view",
            "m" => "materialized view",
            _ => "table",
        };
        format!("{noun} {}", deparse::short(scope, relation))
    };
    // By the oids of the classes in `pg_class`.
    let text = match oid_at(values, 0).0 {
        1_247 => {
            let is_there = scope.user_type(object).is_some() || cell("pg_type", object, "typname").is_some();
            is_there.then(|| format!("type {}", formatted(scope, object, -1)))
        }
        1_255 => match scope.function(object) {
            Some(function) => {
                let types: Vec<String> =
                    function.parameters.iter().map(|p| formatted(scope, Oid(p.ty.oid()), -1)).collect();
                Some(format!("function {}({})", deparse::quote_ident(&function.name), types.join(",")))
            }
            None => match cell("pg_proc", object, "proargtypes") {
                Some(Value::Array(types)) => {
                    let name = cell("pg_proc", object, "proname");
                    let types: Vec<String> =
                        types.iter().filter_map(oid_of).map(|ty| formatted(scope, ty, -1)).collect();
                    let name = name.as_ref().and_then(Value::as_str).unwrap_or_default();
                    Some(format!("function {}({})", deparse::quote_ident(name), types.join(",")))
                }
                _ => None,
            },
        },
        1_259 => scope.relation(object).and_then(|relation| match part {
            0 => Some(of_relation(relation)),
            part => {
                let columns = relation.columns(scope);
                let (_, name, _) = columns.iter().find(|(number, ..)| i64::from(*number) == part)?;
                Some(format!("column {name} of {}", of_relation(relation)))
            }
        }),
        1_260 => scope.roles().find(|role| role.oid == object).map(|role| format!("role {}", role.name)),
        1_262 => scope.databases().find(|of| of.oid == object).map(|of| format!("database {}", of.name)),
        2_606 => scope.tables().find_map(|table| {
            let check = table.checks.iter().find(|check| check.oid == object).map(|check| &check.name);
            let key = table.foreign_keys.iter().find(|key| key.oid == object).map(|key| &key.name);
            let index = scope.catalog().indexes_of(table).find(|index| index.constraint && index.oid == object);
            let name = check.or(key).or(index.map(|index| &index.name))?;
            Some(format!("constraint {name} on {}", of_relation(Relation::Table(table))))
        }),
        2_615 => scope.schemas().find(|schema| schema.oid == object).map(|schema| format!("schema {}", schema.name)),
        3_079 => EXTENSIONS.iter().find(|of| of.oid == object.0).map(|of| format!("extension {}", of.name)),
        _ => None,
    };
    Ok(text.map_or(Value::Null, Value::Text))
}

fn column_comment(scope: &Scope, values: &[Value]) -> SqlResult<Value> {
    let Some(Relation::Table(table)) = scope.relation(oid_at(values, 0)) else { return Ok(Value::Null) };
    let column = values
        .get(1)
        .and_then(Value::as_i64)
        .and_then(|n| u16::try_from(n).ok())
        .and_then(|number| table.columns.get(table.number_position(number)?));
    Ok(column.and_then(|c| c.comment.clone()).map_or(Value::Null, Value::Text))
}
