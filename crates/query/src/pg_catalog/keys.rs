//! The tables of schema `redis` as tables that statements write to.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use perigee_types::catalog::{BOOTSTRAP_ROLE, Column, ColumnDefault, OnCommit, REDIS_SCHEMA, Table};
use perigee_types::{Oid, TenantId, Value};

use super::definition::{self, Definition};
use crate::keyspace::KeyTable;

/// Columns that nobody gives a value for.
const COMPUTED: &[(KeyTable, &str)] = &[
    (KeyTable::Keys, "type"),
    (KeyTable::Keys, "encoding"),
    (KeyTable::Keys, "bytes"),
    (KeyTable::SortedSets, "rank"),
    (KeyTable::Samples, "labels"),
    (KeyTable::Series, "samples"),
    (KeyTable::Series, "first_ts"),
    (KeyTable::Series, "last_ts"),
];

/// The table `redis.name`.
pub(crate) fn key_table(name: &str) -> Option<Arc<Table>> {
    static TABLES: LazyLock<BTreeMap<&'static str, Arc<Table>>> = LazyLock::new(|| {
        let keys = definition::all().filter_map(|definition| {
            let table = KeyTable::of(Oid(definition.oid))?;
            Some((definition.name, Arc::new(table_of(definition, table))))
        });
        keys.collect()
    });
    TABLES.get(name).cloned()
}

fn table_of(definition: &Definition, keys: KeyTable) -> Table {
    let column = |(at, column): (usize, &definition::SystemColumn)| {
        let computed = COMPUTED.contains(&(keys, column.name));
        // Where an element goes that is given no position is known at the end.
        let optional = computed || keys == KeyTable::Lists && column.name == "position";
        Column {
            number: u16::try_from(at + 1).unwrap_or(u16::MAX),
            name: column.name.to_owned(),
            ty: column.ty.clone(),
            not_null: column.not_null && !optional,
            default: match column.name {
                "db" => Some(ColumnDefault::Expression("0".to_owned())),
                _ if computed => Some(ColumnDefault::Generated(String::new())),
                _ => None,
            },
            missing: Value::Null,
            domain: None,
            identity_always: None,
            inherited: 0,
            local: true,
            comment: None,
            acl: perigee_types::acl::Acl::default(),
        }
    };
    Table {
        oid: Oid(definition.oid),
        tenant: TenantId(1),
        schema: REDIS_SCHEMA,
        name: definition.name.to_owned(),
        owner: BOOTSTRAP_ROLE,
        version: 0,
        storage: Oid(0),
        columns: definition.columns.iter().enumerate().map(column).collect(),
        next_column: u16::try_from(definition.columns.len() + 1).unwrap_or(u16::MAX),
        primary_key: None,
        indexes: Vec::new(),
        checks: Vec::new(),
        foreign_keys: Vec::new(),
        aggregates: Vec::new(),
        materialized: None,
        options: BTreeMap::new(),
        on_commit: OnCommit::default(),
        parents: Vec::new(),
        partitioning: None,
        bound: None,
        constraint_comments: Vec::new(),
        comment: None,
        acl: None,
    }
}
