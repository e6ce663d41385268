//! The rows of each system table.
//!
//! - [`relations`]: `pg_class`, `pg_attribute`, `pg_attrdef`, `pg_namespace`, `pg_sequence`
//! - [`constraints`]: `pg_index`, `pg_constraint`, `pg_depend`
//! - [`cluster`]: databases, settings, sessions (`pg_stat_activity`, `perigee.sessions`)
//! - [`roles`]: roles, memberships, privileges, `perigee.redis_users`, `perigee.api_keys`
//! - [`lists`]: `pg_tables`, `pg_views`, `pg_stat_user_tables` and other views over the above
//! - [`comments`][]: `pg_description`
//! - [`functions`]: `pg_proc`, routines
//! - [`gaps`][]: `perigee.compat_gaps`
//! - [`members`][]: `perigee.cluster_nodes`, `perigee.raft_status`
//! - [`statistics`]: `perigee.queries`, `perigee.metrics`
//! - [`tiers`][]: `perigee.tiers`
//! - [`types`]: `pg_type`, `pg_enum`, `pg_extension`
//! - [`information`], [`information_keys`]: `information_schema`

mod cluster;
mod comments;
mod constraints;
mod functions;
mod gaps;
mod information;
mod information_keys;
mod information_types;
mod lists;
mod members;
mod relations;
mod roles;
mod statistics;
mod tiers;
mod types;

pub(super) use comments::of_object as comment_of;

use super::builder::Rows;
use super::definition::Definition;
use super::scope::Scope;

/// The rows of a system table for a statement. A table of what Perigee does not have is empty.
pub(super) fn rows(definition: &'static Definition, scope: &Scope) -> Rows {
    let mut rows = Rows::new(definition);
    rows.extend(definition.fixed_rows());
    if definition.schema == "information_schema" {
        information::fill(definition.name, scope, &mut rows);
        return rows;
    }
    if definition.schema == "perigee" {
        match definition.name {
            "redis_users" => roles::redis_users(scope, &mut rows),
            "api_keys" => roles::api_keys(scope, &mut rows),
            "tiers" => tiers::fill(scope, &mut rows),
            "queries" => statistics::queries(scope, &mut rows),
            "metrics" => statistics::metrics(scope, &mut rows),
            "sessions" => cluster::sessions(scope, &mut rows),
            "cluster_nodes" => members::nodes(scope, &mut rows),
            "raft_status" => members::status(scope, &mut rows),
            _ => gaps::fill(scope, &mut rows),
        }
        return rows;
    }
    match definition.name {
        "pg_class" => relations::classes(scope, &mut rows),
        "pg_attribute" => relations::attributes(scope, &mut rows),
        "pg_attrdef" => relations::defaults(scope, &mut rows),
        "pg_namespace" => relations::namespaces(scope, &mut rows),
        "pg_sequence" => relations::sequences(scope, &mut rows),
        "pg_type" => types::types(scope, &mut rows),
        "pg_enum" => types::enums(scope, &mut rows),
        "pg_range" => types::ranges(scope, &mut rows),
        "pg_proc" => functions::procedures(scope, &mut rows),
        "pg_extension" => types::extensions(&mut rows),
        "pg_available_extensions" => types::available_extensions(&mut rows),
        "pg_inherits" => relations::inheritance(scope, &mut rows),
        "pg_partitioned_table" => relations::partitioned_tables(scope, &mut rows),
        "pg_index" => constraints::indexes(scope, &mut rows),
        "pg_constraint" => constraints::constraints(scope, &mut rows),
        "pg_depend" => constraints::dependencies(scope, &mut rows),
        "pg_rewrite" => constraints::rules(scope, &mut rows),
        "pg_description" => comments::fill(scope, &mut rows),
        "pg_database" => cluster::databases(scope, &mut rows),
        "pg_authid" => roles::auth_ids(scope, &mut rows),
        "pg_roles" => roles::roles(scope, &mut rows),
        "pg_user" => roles::users(scope, &mut rows, false),
        "pg_shadow" => roles::users(scope, &mut rows, true),
        "pg_group" => roles::groups(scope, &mut rows),
        "pg_auth_members" => roles::memberships(scope, &mut rows),
        "pg_default_acl" => roles::default_acls(scope, &mut rows),
        "pg_db_role_setting" => roles::role_settings(scope, &mut rows),
        "pg_settings" => cluster::settings(scope, &mut rows),
        "pg_prepared_statements" => cluster::prepared_statements(scope, &mut rows),
        "pg_stat_activity" => cluster::activity(scope, &mut rows),
        "pg_stat_database" => cluster::database_statistics(scope, &mut rows),
        "pg_tables" => lists::tables(scope, &mut rows),
        "pg_views" => lists::views(scope, &mut rows),
        "pg_matviews" => lists::materialized_views(scope, &mut rows),
        "pg_indexes" => lists::indexes(scope, &mut rows),
        "pg_sequences" => lists::sequences(scope, &mut rows),
        "pg_stat_user_tables" | "pg_stat_all_tables" => lists::table_statistics(scope, &mut rows),
        "pg_stat_user_indexes" | "pg_stat_all_indexes" | "pg_statio_user_indexes" | "pg_statio_all_indexes" => {
            lists::index_statistics(scope, &mut rows)
        }
        "pg_statio_user_tables" | "pg_statio_all_tables" | "pg_stat_xact_user_tables" | "pg_stat_xact_all_tables" => {
            lists::uncounted_tables(scope, &mut rows)
        }
        "pg_statio_user_sequences" | "pg_statio_all_sequences" => lists::uncounted_sequences(scope, &mut rows),
        _ => {}
    }
    rows
}
