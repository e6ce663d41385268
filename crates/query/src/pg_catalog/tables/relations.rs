//! `pg_class` and what hangs on it.

use perigee_types::catalog::{Column, ColumnDefault, TypeKind, UserType};
use perigee_types::partition::{PartitionBound, Strategy};
use perigee_types::{CompositeType, Oid, SqlType, Value};

use super::roles::{acl, acl_of};
use crate::pg_catalog::builder::{Rows, bool, int2, int4, int8, numbers, oid, text};
use crate::pg_catalog::deparse;
use crate::pg_catalog::scope::{Relation, Scope};

/// Oid of the access method `heap`.
const HEAP: u32 = 2;
/// Oid of the access method `btree`.
const BTREE: u32 = 403;
/// Oid of the collation `default`.
const DEFAULT_COLLATION: u32 = 100;
/// Oid of the collation `C`, which names have.
const C_COLLATION: u32 = 950;

/// `pg_class`
pub(super) fn classes(scope: &Scope, rows: &mut Rows) {
    for (ty, of) in composites(scope) {
        composite(scope, ty, of, rows);
    }
    for relation in scope.relations() {
        let (owner, storage, count, checks, options) = match relation {
            Relation::Table(t) => (
                t.owner,
                t.storage,
                scope.row_count(t),
                t.checks.len(),
                (!t.options.is_empty()).then(|| {
                    Value::Array(t.options.iter().map(|(name, value)| text(format!("{name}={value}"))).collect())
                }),
            ),
            Relation::Index(i) => {
                let table = scope.catalog().table(i.table);
                let owner = table.map_or(Oid(0), |t| t.owner);
                (owner, i.oid, table.map_or(0, |t| scope.row_count(t)), 0, None)
            }
            Relation::Sequence(s) => (s.owner, s.oid, 1, 0, None),
            Relation::View(v) => {
                let option = |option: perigee_types::catalog::CheckOption| format!("check_option={}", option.as_str());
                let options = v.check_option.map(|check| Value::Array(vec![text(option(check))]));
                (v.owner, Oid(0), 0, 0, options)
            }
            Relation::System(d) => (perigee_types::catalog::BOOTSTRAP_ROLE, Oid(d.oid), 0, 0, None),
        };
        let kind = relation.kind_in(scope);
        let (method, identity) = match kind {
            "r" => (HEAP, if matches!(relation, Relation::System(_)) { "n" } else { "d" }),
            "m" => (HEAP, "d"),
            "p" => (0, "d"),
            "i" | "I" => (BTREE, "n"),
            _ => (0, "n"),
        };
        let (is_partition, bound, subclass) = match relation {
            Relation::Table(t) => {
                let parent = t.parents.first().and_then(|parent| scope.catalog().table(*parent));
                let bound = parent.zip(t.bound.as_ref()).map(|(parent, bound)| deparse::bound(bound, parent));
                (t.is_partition(), bound, scope.catalog().has_children(t.oid) || t.partitioning.is_some())
            }
            Relation::Index(i) => (i.parent.is_some(), None, kind == "I"),
            _ => (false, None, false),
        };
        rows.push([
            ("relispartition", bool(is_partition)),
            ("relpartbound", bound.map_or(Value::Null, text)),
            ("relhassubclass", bool(subclass)),
            ("oid", oid(relation.oid().0)),
            ("relname", text(relation.name())),
            ("relnamespace", oid(relation.schema(scope).0)),
            ("relowner", oid(owner.0)),
            ("relam", oid(method)),
            ("relfilenode", oid(storage.0)),
            ("reltuples", Value::Float4(count as f32)),
            ("relhasindex", bool(matches!(relation, Relation::Table(t) if !t.indexes.is_empty()))),
            ("relpersistence", text(if scope.catalog().is_temporary(relation.schema(scope)) { "t" } else { "p" })),
            ("relkind", text(kind)),
            ("relnatts", int2(relation.columns(scope).len())),
            ("relchecks", int2(checks)),
            ("relhasrules", bool(kind == "v")),
            // Foreign keys are triggers of both tables in PostgreSQL; psql looks for none where this is false.
            ("relhastriggers", bool(scope.has_key_triggers(relation))),
            ("relispopulated", bool(true)),
            ("relreplident", text(identity)),
            ("reloptions", options.unwrap_or(Value::Null)),
            ("relacl", acl_of(scope, relation.oid())),
            ("relfrozenxid", oid(if matches!(kind, "r" | "m") { scope.view().transaction_number() } else { 0 })),
        ]);
    }
}

/// A composite type as `pg_class` has it.
fn composite(scope: &Scope, ty: &UserType, of: &CompositeType, rows: &mut Rows) {
    rows.push([
        ("relispartition", bool(false)),
        ("relhassubclass", bool(false)),
        ("oid", oid(of.relation.0)),
        ("relname", text(ty.name.as_str())),
        ("relnamespace", oid(ty.schema.0)),
        ("reltype", oid(ty.oid.0)),
        ("relowner", oid(ty.owner.0)),
        ("relhasindex", bool(false)),
        ("relpersistence", text(if scope.catalog().is_temporary(ty.schema) { "t" } else { "p" })),
        ("relkind", text("c")),
        ("relnatts", int2(of.attributes.len())),
        ("relhasrules", bool(false)),
        ("relhastriggers", bool(false)),
        ("relispopulated", bool(true)),
        ("relreplident", text("n")),
    ]);
}

fn composites<'a>(scope: &Scope<'a>) -> impl Iterator<Item = (&'a UserType, &'a CompositeType)> {
    scope.user_types().filter_map(|ty| match &ty.kind {
        TypeKind::Composite(of) => Some((&**ty, &**of)),
        _ => None,
    })
}

/// `pg_attribute`
pub(super) fn attributes(scope: &Scope, rows: &mut Rows) {
    for (_, of) in composites(scope) {
        for (at, (name, ty)) in of.attributes.iter().enumerate() {
            let number = u16::try_from(at + 1).unwrap_or(u16::MAX);
            attribute(rows, of.relation, (number, name, ty, ty.oid()), None, false, Value::Null);
        }
    }
    for relation in scope.relations() {
        let columns = relation.columns(scope);
        for (at, (number, name, ty)) in columns.into_iter().enumerate() {
            let column = match relation {
                Relation::Table(table) => table.columns.get(at),
                _ => None,
            };
            let not_null = match relation {
                Relation::System(d) => d.columns.get(at).is_some_and(|c| c.not_null),
                _ => column.is_some_and(|c| c.not_null),
            };
            let acl = column.filter(|c| !c.acl.is_empty()).map_or(Value::Null, |c| acl(scope, &c.acl));
            let type_oid = match relation {
                Relation::System(d) => d.columns.get(at).map(|c| c.type_oid()),
                _ => column.and_then(|c| c.domain).map(|domain| domain.0),
            };
            let type_oid = type_oid.unwrap_or_else(|| ty.oid());
            attribute(rows, relation.oid(), (number, &name, &ty, type_oid), column, not_null, acl);
        }
    }
}

fn attribute(
    rows: &mut Rows,
    relation: Oid,
    (number, name, ty, type_oid): (u16, &str, &SqlType, u32),
    column: Option<&Column>,
    not_null: bool,
    acl: Value,
) {
    let length = ty.type_length();
    let identity = match column.and_then(|c| c.identity_always) {
        Some(true) => "a",
        Some(false) => "d",
        None => "",
    };
    let has_default = identity.is_empty() && column.is_some_and(|c| c.default.is_some());
    rows.push([
        ("attrelid", oid(relation.0)),
        ("attname", text(name)),
        ("atttypid", oid(type_oid)),
        ("attstattarget", Value::Int4(-1)),
        ("attlen", Value::Int2(length)),
        ("attnum", int2(usize::from(number))),
        ("attndims", int4(usize::from(matches!(ty, SqlType::Array(_))))),
        ("attcacheoff", Value::Int4(-1)),
        ("atttypmod", Value::Int4(ty.modifier())),
        ("attbyval", bool(matches!(length, 1..=8))),
        ("attalign", text(alignment(ty))),
        ("attstorage", text(storage(ty))),
        ("attnotnull", bool(not_null)),
        ("atthasdef", bool(has_default)),
        ("attidentity", text(identity)),
        ("attgenerated", text(if column.is_some_and(|c| c.generated().is_some()) { "s" } else { "" })),
        ("attislocal", bool(column.is_none_or(|c| c.local))),
        ("attinhcount", int4(column.map_or(0, |c| usize::from(c.inherited)))),
        ("attcollation", oid(collation(ty))),
        ("attacl", acl),
    ]);
}

/// `typalign` of a type.
fn alignment(ty: &SqlType) -> &'static str {
    match ty {
        SqlType::Bool | SqlType::InternalChar | SqlType::Name | SqlType::Uuid | SqlType::Unknown => "c",
        SqlType::Int2 => "s",
        SqlType::Array(of) if alignment(of) == "d" => "d",
        SqlType::Interval | SqlType::IntervalOf(_) => "d",
        _ if ty.type_length() == 8 => "d",
        _ => "i",
    }
}

/// `typstorage` of a type.
fn storage(ty: &SqlType) -> &'static str {
    match ty {
        SqlType::Numeric(_) => "m",
        _ if ty.type_length() == -1 => "x",
        _ => "p",
    }
}

/// `typcollation` of a type.
fn collation(ty: &SqlType) -> u32 {
    match ty {
        SqlType::Text | SqlType::Varchar(_) | SqlType::Char(_) => DEFAULT_COLLATION,
        SqlType::Name => C_COLLATION,
        SqlType::Array(of) => collation(of),
        _ => 0,
    }
}

/// `pg_attrdef`. A default has no oid of its own in our catalog; it gets one from its table and column.
pub(super) fn defaults(scope: &Scope, rows: &mut Rows) {
    for table in scope.tables() {
        for column in table.visible_columns().iter().filter(|c| c.identity_always.is_none()) {
            let Some(default) = &column.default else { continue };
            let expression = match default {
                ColumnDefault::Expression(expression) => deparse::default(scope, expression, &column.ty),
                ColumnDefault::Generated(expression) => format!("({expression})"),
                ColumnDefault::Sequence(sequence) => deparse::nextval(scope, *sequence),
            };
            rows.push([
                ("oid", oid(default_oid(table.oid, column.number))),
                ("adrelid", oid(table.oid.0)),
                ("adnum", int2(usize::from(column.number))),
                ("adbin", text(expression)),
            ]);
        }
    }
}

/// The oid of a default: in the upper half, where no oid of an object comes. No two defaults share one while tables have
/// fewer than 1664 columns and oids below a million.
pub(super) fn default_oid(table: Oid, column: u16) -> u32 {
    0x8000_0000 | table.0.wrapping_mul(1_664).wrapping_add(u32::from(column))
}

/// `pg_inherits`: tables and their parents, indexes of partitions and those that they belong to.
pub(super) fn inheritance(scope: &Scope, rows: &mut Rows) {
    let mut push = |child: Oid, parent: Oid, at: usize| {
        rows.push([("inhrelid", oid(child.0)), ("inhparent", oid(parent.0)), ("inhseqno", int4(at))]);
    };
    for table in scope.tables() {
        for (parent, at) in table.parents.iter().zip(1..) {
            push(table.oid, *parent, at);
        }
    }
    for (_, index) in scope.indexes() {
        if let Some(parent) = index.parent {
            push(index.oid, parent, 1);
        }
    }
}

/// `pg_partitioned_table`
pub(super) fn partitioned_tables(scope: &Scope, rows: &mut Rows) {
    for table in scope.tables() {
        let Some(partitioning) = &table.partitioning else { continue };
        let strategy = match partitioning.strategy {
            Strategy::Range => "r",
            Strategy::List => "l",
            Strategy::Hash => "h",
        };
        let default = scope.catalog().children(table.oid).find(|child| child.bound == Some(PartitionBound::Default));
        let numbers: Vec<u16> = partitioning.keys.iter().map(|key| key.column.unwrap_or(0)).collect();
        let expressions: Vec<&str> = partitioning.keys.iter().filter_map(|key| key.expression.as_deref()).collect();
        rows.push([
            ("partrelid", oid(table.oid.0)),
            ("partstrat", text(strategy)),
            ("partnatts", int2(partitioning.keys.len())),
            ("partdefid", oid(default.map_or(0, |child| child.oid.0))),
            ("partattrs", self::numbers(&numbers)),
            ("partexprs", if expressions.is_empty() { Value::Null } else { text(expressions.join(", ")) }),
        ]);
    }
}

/// `pg_namespace`
pub(super) fn namespaces(scope: &Scope, rows: &mut Rows) {
    for schema in scope.schemas() {
        rows.push([
            ("oid", oid(schema.oid.0)),
            ("nspname", text(schema.name.as_str())),
            ("nspowner", oid(schema.owner.0)),
            ("nspacl", acl_of(scope, schema.oid)),
        ]);
    }
}

/// `pg_sequence`
pub(super) fn sequences(scope: &Scope, rows: &mut Rows) {
    for sequence in scope.sequences() {
        rows.push([
            ("seqrelid", oid(sequence.oid.0)),
            ("seqtypid", oid(sequence.ty.oid())),
            ("seqstart", Value::Int8(sequence.start)),
            ("seqincrement", Value::Int8(sequence.increment)),
            ("seqmax", Value::Int8(sequence.maximum)),
            ("seqmin", Value::Int8(sequence.minimum)),
            ("seqcache", int8(1)),
            ("seqcycle", bool(sequence.cycle)),
        ]);
    }
}
