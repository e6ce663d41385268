//! Sizes of tables, and sizes for people.

use std::collections::HashSet;

use perigee_storage::store::TableStatistics;
use perigee_types::catalog::Table;
use perigee_types::numeric::Numeric;
use perigee_types::{Oid, SqlResult, SqlType, Value};

use super::{SystemFunction, function, relation_of};
use crate::pg_catalog::scope::{Relation, Scope};

pub(super) fn all() -> Vec<SystemFunction> {
    let of_table = |name, counts, eval| function(name, counts, SqlType::Int8, eval);
    vec![
        of_table("pg_relation_size", 1..=2, relation_size),
        of_table("pg_table_size", 1..=1, relation_size),
        of_table("pg_total_relation_size", 1..=1, total_size),
        of_table("pg_indexes_size", 1..=1, indexes_size),
        of_table("pg_database_size", 1..=1, database_size),
        of_table("pg_tablespace_size", 1..=1, |s, _| Ok(sum(s, |_| true, true))),
        of_table("pg_stat_get_live_tuples", 1..=1, |s, v| rows(s, v, |t| t.rows)),
        of_table("pg_stat_get_dead_tuples", 1..=1, |s, v| rows(s, v, |t| t.dead_rows)),
        function("pg_size_pretty", 1..=1, SqlType::Text, size_pretty),
    ]
}

/// Bytes of the tables whose storage `wanted` takes, with or without their indexes.
fn sum(scope: &Scope, wanted: impl Fn(Oid) -> bool, indexes: bool) -> Value {
    let statistics = scope.view().snapshot.store().statistics();
    let bytes = statistics.tables.iter().filter(|t| wanted(t.storage)).fold(0u64, |sum, t| {
        let of_indexes = if indexes { t.index_delta_bytes } else { 0 };
        sum.saturating_add(t.hot_bytes).saturating_add(t.warm_bytes).saturating_add(of_indexes)
    });
    Value::Int8(i64::try_from(bytes).unwrap_or(i64::MAX))
}

fn table_of<'a>(scope: &Scope<'a>, values: &[Value]) -> SqlResult<Option<Option<&'a Table>>> {
    Ok(match relation_of(scope, values.first().unwrap_or(&Value::Null))? {
        Some(Relation::Table(table)) => Some(Some(table)),
        Some(_) => Some(None),
        None => None,
    })
}

/// What the store counts of a table's rows.
fn rows(scope: &Scope, values: &[Value], count: fn(&TableStatistics) -> u64) -> SqlResult<Value> {
    let Some(Some(table)) = table_of(scope, values)? else { return Ok(Value::Int8(0)) };
    let statistics = scope.view().snapshot.store().statistics();
    let rows = statistics.tables.iter().find(|t| t.storage == table.storage).map_or(0, count);
    Ok(Value::Int8(i64::try_from(rows).unwrap_or(i64::MAX)))
}

fn relation_size(scope: &Scope, values: &[Value]) -> SqlResult<Value> {
    Ok(match table_of(scope, values)? {
        Some(Some(table)) => sum(scope, |storage| storage == table.storage, false),
        Some(None) => Value::Int8(0),
        None => Value::Null,
    })
}

fn total_size(scope: &Scope, values: &[Value]) -> SqlResult<Value> {
    Ok(match table_of(scope, values)? {
        Some(Some(table)) => sum(scope, |storage| storage == table.storage, true),
        Some(None) => Value::Int8(0),
        None => Value::Null,
    })
}

fn indexes_size(scope: &Scope, values: &[Value]) -> SqlResult<Value> {
    let (total, table) = (total_size(scope, values)?, relation_size(scope, values)?);
    Ok(match (total, table) {
        (Value::Int8(total), Value::Int8(table)) => Value::Int8(total.saturating_sub(table)),
        _ => Value::Null,
    })
}

fn database_size(scope: &Scope, _: &[Value]) -> SqlResult<Value> {
    let storages: HashSet<Oid> = scope.tables().map(|t| t.storage).collect();
    Ok(sum(scope, |storage| storages.contains(&storage), true))
}

fn size_pretty(_: &Scope, values: &[Value]) -> SqlResult<Value> {
    let bytes = match values.first() {
        Some(value @ (Value::Numeric(..) | Value::Wide(_))) => {
            Numeric::of(value).and_then(|n| n.truncate(0).to_i64("bigint").ok()).unwrap_or(i64::MAX)
        }
        Some(other) => other.as_i64().unwrap_or(0),
        None => 0,
    };
    Ok(Value::Text(pretty(bytes)))
}

/// Bytes in the largest unit of which there are at least ten, rounded half away from zero.
fn pretty(bytes: i64) -> String {
    const LIMIT: i128 = 10 * 1024;
    const UNITS: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];
    if i128::from(bytes).abs() < LIMIT {
        return format!("{bytes} bytes");
    }
    // One bit more than needed is kept for rounding.
    let mut size = i128::from(bytes) / 512;
    let rounded = |size: i128| if size < 0 { (size - 1) / 2 } else { (size + 1) / 2 };
    for unit in UNITS {
        if rounded(size).abs() < LIMIT || unit == "PB" {
            return format!("{} {unit}", rounded(size));
        }
        size /= 1024;
    }
    String::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_shown_as_postgresql_shows_them() {
        for (bytes, shown) in [
            (0, "0 bytes"),
            (10_239, "10239 bytes"),
            (10_240, "10 kB"),
            (10_752, "11 kB"),
            (1_048_576, "1024 kB"),
            (10_485_760, "10 MB"),
            (-20_480, "-20 kB"),
            (1 << 40, "1024 GB"),
        ] {
            assert_eq!(pretty(bytes), shown, "{bytes}");
        }
    }
}
