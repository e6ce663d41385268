//! What PostgreSQL has as views over the other tables, for reading by people.

use perigee_types::Value;

use crate::pg_catalog::builder::{Rows, bool, int8, oid, text};
use crate::pg_catalog::scope::{Relation, Scope};
use crate::pg_catalog::{deparse, view_text};

/// `pg_tables`
pub(super) fn tables(scope: &Scope, rows: &mut Rows) {
    for relation in scope.relations() {
        let (owner, indexed) = match relation {
            Relation::Table(table) if table.materialized.is_none() => (table.owner, !table.indexes.is_empty()),
            Relation::System(definition) if definition.kind == "r" => (perigee_types::catalog::BOOTSTRAP_ROLE, false),
            _ => continue,
        };
        rows.push([
            ("schemaname", text(scope.schema_name(relation.schema(scope)))),
            ("tablename", text(relation.name())),
            ("tableowner", text(scope.role_name(owner))),
            ("hasindexes", bool(indexed)),
            ("hasrules", bool(false)),
            ("hastriggers", bool(scope.has_key_triggers(relation))),
            ("rowsecurity", bool(false)),
        ]);
    }
}

/// `pg_views`
pub(super) fn views(scope: &Scope, rows: &mut Rows) {
    for view in scope.views() {
        rows.push([
            ("schemaname", text(scope.schema_name(view.schema))),
            ("viewname", text(view.name.as_str())),
            ("viewowner", text(scope.role_name(view.owner))),
            ("definition", text(view_text::of_view(scope, view, false))),
        ]);
    }
}

/// `pg_matviews`
pub(super) fn materialized_views(scope: &Scope, rows: &mut Rows) {
    for table in scope.tables() {
        let Some(materialized) = &table.materialized else { continue };
        rows.push([
            ("schemaname", text(scope.schema_name(table.schema))),
            ("matviewname", text(table.name.as_str())),
            ("matviewowner", text(scope.role_name(table.owner))),
            ("hasindexes", Value::Bool(!table.indexes.is_empty())),
            ("ispopulated", Value::Bool(materialized.populated)),
            ("definition", text(view_text::of_materialized(scope, table, &materialized.query, false))),
        ]);
    }
}

/// `pg_indexes`
pub(super) fn indexes(scope: &Scope, rows: &mut Rows) {
    for (table, index) in scope.indexes() {
        rows.push([
            ("schemaname", text(scope.schema_name(table.schema))),
            ("tablename", text(table.name.as_str())),
            ("indexname", text(index.name.as_str())),
            ("indexdef", text(deparse::index(scope, table, index, false))),
        ]);
    }
}

/// `pg_sequences`
pub(super) fn sequences(scope: &Scope, rows: &mut Rows) {
    for sequence in scope.sequences() {
        let state = scope.view().snapshot.store().sequence(sequence.oid);
        let last = state.filter(|s| s.called).map(|s| s.next.saturating_sub(sequence.increment));
        rows.push([
            ("schemaname", text(scope.schema_name(sequence.schema))),
            ("sequencename", text(sequence.name.as_str())),
            ("sequenceowner", text(scope.role_name(sequence.owner))),
            ("data_type", oid(sequence.ty.oid())),
            ("start_value", Value::Int8(sequence.start)),
            ("min_value", Value::Int8(sequence.minimum)),
            ("max_value", Value::Int8(sequence.maximum)),
            ("increment_by", Value::Int8(sequence.increment)),
            ("cycle", bool(sequence.cycle)),
            ("cache_size", int8(1)),
            ("last_value", last.map_or(Value::Null, Value::Int8)),
        ]);
    }
}

/// `pg_stat_user_tables`: counts of rows; what PostgreSQL counts over time is not counted.
pub(super) fn table_statistics(scope: &Scope, rows: &mut Rows) {
    let statistics = scope.view().snapshot.store().statistics();
    for table in scope.tables() {
        let of_table = statistics.tables.iter().find(|s| s.storage == table.storage);
        rows.push([
            ("relid", oid(table.oid.0)),
            ("schemaname", text(scope.schema_name(table.schema))),
            ("relname", text(table.name.as_str())),
            ("n_live_tup", int8(of_table.map_or(0, |s| s.rows))),
            ("n_dead_tup", int8(of_table.map_or(0, |s| s.dead_rows))),
            ("vacuum_count", int8(0)),
            ("autovacuum_count", int8(0)),
            ("analyze_count", int8(0)),
            ("autoanalyze_count", int8(0)),
        ]);
    }
}

/// `pg_stat_user_indexes`
pub(super) fn index_statistics(scope: &Scope, rows: &mut Rows) {
    for (table, index) in scope.indexes() {
        rows.push([
            ("relid", oid(table.oid.0)),
            ("indexrelid", oid(index.oid.0)),
            ("schemaname", text(scope.schema_name(table.schema))),
            ("relname", text(table.name.as_str())),
            ("indexrelname", text(index.name.as_str())),
        ]);
    }
}

/// `pg_statio_user_tables` and `pg_stat_xact_user_tables`: nothing of theirs is counted.
pub(super) fn uncounted_tables(scope: &Scope, rows: &mut Rows) {
    for table in scope.tables() {
        rows.push([
            ("relid", oid(table.oid.0)),
            ("schemaname", text(scope.schema_name(table.schema))),
            ("relname", text(table.name.as_str())),
        ]);
    }
}

/// `pg_statio_user_sequences`
pub(super) fn uncounted_sequences(scope: &Scope, rows: &mut Rows) {
    for sequence in scope.sequences() {
        rows.push([
            ("relid", oid(sequence.oid.0)),
            ("schemaname", text(scope.schema_name(sequence.schema))),
            ("relname", text(sequence.name.as_str())),
        ]);
    }
}
