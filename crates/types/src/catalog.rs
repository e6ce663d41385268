//! The catalog: what a statement may name.
//!
//! A [`Catalog`] is immutable and belongs to the log index that made it; a change makes a new one that shares what did
//! not change. Storage keeps the versions that an open snapshot may still ask for, so a statement always meets the
//! catalog of its own snapshot. Objects have persistent oids and go to disk as JSON.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::acl::{Acl, AclKind, Privileges};
use crate::enum_type::EnumType;
use crate::ids::{IndexId, LogIndex, Oid, TableId, TenantId};
use crate::sql_type::SqlType;
use crate::value::Value;

/// The first oid of an object that a user made.
pub const FIRST_USER_OID: u32 = 16_384;
/// Oid of the schema `pg_catalog`.
pub const PG_CATALOG_SCHEMA: Oid = Oid(11);
/// Oid of the schema `public`.
pub const PUBLIC_SCHEMA: Oid = Oid(2200);
/// Oid of the schema `information_schema`.
pub const INFORMATION_SCHEMA: Oid = Oid(13_182);
/// `perigee`: system tables that PostgreSQL does not have.
pub const PERIGEE_SCHEMA: Oid = Oid(15_000);
/// Stands in plans for the session's own schema of temporary objects, which the engine makes with the first of them. No
/// object of the catalog has it.
pub const TEMPORARY_SCHEMA: Oid = Oid(15_001);
/// The schema of a session's temporary objects is this and a number; users cannot make one of such a name.
pub const TEMPORARY_PREFIX: &str = "pg_temp_";
/// Oid of the first superuser.
pub const BOOTSTRAP_ROLE: Oid = Oid(10);
/// `pg_database_owner`: its one member is the owner of the session's database.
pub const DATABASE_OWNER: Oid = Oid(6171);
/// `pg_read_all_data`: reads every table, view and sequence.
pub const READ_ALL_DATA: Oid = Oid(6181);
/// `pg_write_all_data`: writes every table, view and sequence.
pub const WRITE_ALL_DATA: Oid = Oid(6182);
/// `pg_read_all_stats`: sees what all sessions do.
pub const READ_ALL_STATS: Oid = Oid(3375);
/// `pg_signal_backend`: ends statements and sessions of others.
pub const SIGNAL_BACKEND: Oid = Oid(4200);
/// `pg_checkpoint`: may CHECKPOINT.
pub const CHECKPOINT: Oid = Oid(4544);
/// Oid of the database `postgres`.
pub const BOOTSTRAP_DATABASE: Oid = Oid(5);

/// The roles that every cluster has, with the oids that PostgreSQL gives them.
fn predefined_roles() -> impl Iterator<Item = Object> {
    const ROLES: &[(Oid, &str, &[Oid])] = &[
        (DATABASE_OWNER, "pg_database_owner", &[]),
        (READ_ALL_DATA, "pg_read_all_data", &[]),
        (WRITE_ALL_DATA, "pg_write_all_data", &[]),
        (Oid(3373), "pg_monitor", &[READ_ALL_STATS, Oid(3374), Oid(3377)]),
        (Oid(3374), "pg_read_all_settings", &[]),
        (READ_ALL_STATS, "pg_read_all_stats", &[]),
        (Oid(3377), "pg_stat_scan_tables", &[]),
        (SIGNAL_BACKEND, "pg_signal_backend", &[]),
        (CHECKPOINT, "pg_checkpoint", &[]),
    ];
    ROLES.iter().map(|(oid, name, member_of)| {
        let member =
            |role: &Oid| Membership { role: *role, grantor: BOOTSTRAP_ROLE, admin: false, inherit: true, set: true };
        let member_of = member_of.iter().map(member).collect();
        Object::Role(Arc::new(Role { member_of, ..Role::new(*oid, name) }))
    })
}

/// A schema (namespace).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Schema {
    /// Its oid.
    pub oid: Oid,
    /// Its tenant.
    pub tenant: TenantId,
    /// Its name.
    pub name: String,
    /// The role that owns it.
    pub owner: Oid,
    /// Who may do what, where that is not its kind's default.
    #[serde(default)]
    pub acl: Option<Acl>,
}

/// Where a column's value comes from when an INSERT does not give one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ColumnDefault {
    /// An SQL expression, evaluated for each row on the leader.
    Expression(String),
    /// `nextval` of a sequence (serial and identity columns).
    Sequence(Oid),
    /// GENERATED ALWAYS AS (…) STORED: an SQL expression over the other columns, evaluated for each row that is written.
    Generated(String),
}

/// A column of a table. Chunks know columns by `number`, so that dropping one moves no data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Column {
    /// `attnum`: from 1, never reused in the table.
    pub number: u16,
    /// Its name.
    pub name: String,
    /// Its type.
    pub ty: SqlType,
    /// Whether NULL is refused.
    pub not_null: bool,
    /// What an INSERT without a value writes.
    pub default: Option<ColumnDefault>,
    /// What rows that are older than the column hold in it.
    pub missing: Value,
    /// The domain that its values are of; `ty` is the type below.
    #[serde(default)]
    pub domain: Option<Oid>,
    /// For identity columns: whether it is GENERATED ALWAYS (else BY DEFAULT).
    #[serde(default)]
    pub identity_always: Option<bool>,
    /// Comment.
    #[serde(default)]
    pub comment: Option<String>,
    /// What is granted on this column alone.
    #[serde(default, skip_serializing_if = "Acl::is_empty")]
    pub acl: Acl,
}

/// A CHECK constraint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// Its oid.
    pub oid: Oid,
    /// Its name.
    pub name: String,
    /// The SQL expression.
    pub expression: String,
}

/// What becomes of the rows that point to a row which goes or changes its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReferentialAction {
    /// The statement fails if they still point to nothing at its end.
    NoAction,
    /// The statement fails.
    Restrict,
    /// They go, or follow the key.
    Cascade,
    /// Their columns become NULL.
    SetNull,
    /// Their columns get their defaults.
    SetDefault,
}

/// A foreign key: rows whose `columns` hold no NULL have a row in `references`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ForeignKey {
    /// Its oid.
    pub oid: Oid,
    /// Its name.
    pub name: String,
    /// Numbers of the columns that point.
    pub columns: Vec<u16>,
    /// The table that they point to.
    pub references: TableId,
    /// Numbers of the columns there, in the order of `columns`.
    pub referenced: Vec<u16>,
    /// The unique index there over just these columns, perhaps in another order.
    pub index: IndexId,
    /// ON UPDATE
    pub on_update: ReferentialAction,
    /// ON DELETE
    pub on_delete: ReferentialAction,
    /// MATCH FULL: all of the columns are NULL or none.
    pub match_full: bool,
}

/// What COMMIT does with a temporary table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum OnCommit {
    /// PRESERVE ROWS, and every table that is not temporary.
    #[default]
    PreserveRows,
    /// DELETE ROWS
    DeleteRows,
    /// DROP
    Drop,
}

/// What a materialized view holds: the rows of a query as they were when it was refreshed, or, for a continuous
/// aggregate, as they are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Materialized {
    /// The query's text; names in it are qualified.
    pub query: String,
    /// Tables and views that it reads; they cannot be dropped without it.
    pub depends_on: Vec<Oid>,
    /// Whether it may be read: not from WITH NO DATA to the first REFRESH.
    pub populated: bool,
    /// How it is kept up to date.
    pub continuous: Option<Continuous>,
}

/// A continuous aggregate: groups of one table's rows, by ranges of time among others.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Continuous {
    /// The table.
    pub table: TableId,
    /// Its storage when all rows of the view were made last: with another one all of them are void.
    pub storage: Oid,
    /// Number of its column that says when a row was.
    pub time_column: u16,
    /// Number of the view's column with the beginning of the range.
    pub bucket_column: u16,
    /// How long a range is: months, days, microseconds.
    pub width: (i32, i32, i64),
    /// A sequence whose value is the entry of the log through which the view's rows are made.
    pub position: Oid,
}

/// A table. `columns` holds the live ones in order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Table {
    /// Its oid.
    pub oid: TableId,
    /// Its tenant.
    pub tenant: TenantId,
    /// Its schema.
    pub schema: Oid,
    /// Its name.
    pub name: String,
    /// The role that owns it.
    pub owner: Oid,
    /// Raised by each change of the columns.
    pub version: u32,
    /// Names the rows: TRUNCATE gives a new one, and the rows of the old are dropped.
    pub storage: Oid,
    /// The live columns, in order.
    pub columns: Vec<Column>,
    /// The number for the next new column.
    pub next_column: u16,
    /// The index of the primary key.
    pub primary_key: Option<IndexId>,
    /// All indexes, the primary key's too, by oid.
    pub indexes: Vec<IndexId>,
    /// CHECK constraints.
    #[serde(default)]
    pub checks: Vec<Check>,
    /// Foreign keys of this table's rows.
    #[serde(default)]
    pub foreign_keys: Vec<ForeignKey>,
    /// Continuous aggregates that read the table: ended rows go into the log whole for them.
    #[serde(default)]
    pub aggregates: Vec<TableId>,
    /// For a materialized view: what it holds.
    #[serde(default)]
    pub materialized: Option<Arc<Materialized>>,
    /// Storage options as given in WITH (…).
    #[serde(default)]
    pub options: BTreeMap<String, String>,
    /// What COMMIT does with a temporary table.
    #[serde(default)]
    pub on_commit: OnCommit,
    /// Comment.
    #[serde(default)]
    pub comment: Option<String>,
    /// Who may do what, where that is not its kind's default.
    #[serde(default)]
    pub acl: Option<Acl>,
}

impl Schema {
    /// Whether it holds the temporary objects of a session.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        self.name.starts_with(TEMPORARY_PREFIX)
    }
}

impl Column {
    /// Whether SQL does not see it: it holds what an index on an expression or with WHERE has its keys from.
    #[must_use]
    pub fn is_hidden(&self) -> bool {
        // No text of SQL has a NUL in it.
        self.name.starts_with('\0')
    }

    /// The name of a hidden column: the `part`th of an index.
    #[must_use]
    pub fn hidden_name(index: IndexId, part: usize) -> String {
        format!("\0{index}_{part}")
    }

    /// The expression of a stored generated column.
    #[must_use]
    pub fn generated(&self) -> Option<&str> {
        match &self.default {
            Some(ColumnDefault::Generated(expression)) => Some(expression),
            _ => None,
        }
    }
}

impl Table {
    /// The columns that SQL sees; hidden ones stand behind all of them.
    #[must_use]
    pub fn visible_columns(&self) -> &[Column] {
        let hidden = self.columns.iter().rev().take_while(|column| column.is_hidden()).count();
        &self.columns[..self.columns.len() - hidden]
    }

    /// The place of a column in `columns` by name.
    #[must_use]
    pub fn column_position(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|c| c.name == name)
    }

    /// The place of a column in `columns` by number.
    #[must_use]
    pub fn number_position(&self, number: u16) -> Option<usize> {
        self.columns.iter().position(|c| c.number == number)
    }
}

/// Whether an index may be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum IndexState {
    /// Maintained by apply, not yet filled from older rows.
    Building,
    /// Complete.
    Valid,
}

/// A key of an index as it was written.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct IndexKey {
    /// The expression, where it is no column.
    pub expression: Option<String>,
    /// DESC
    pub descending: bool,
    /// NULLS FIRST
    pub nulls_first: bool,
}

/// How an index was written, where that is more than columns in ascending order.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct IndexDefinition {
    /// One for each key; empty: all are columns, ascending.
    pub keys: Vec<IndexKey>,
    /// WHERE: rows for which it is not true are as good as not in it.
    pub predicate: Option<String>,
    /// INCLUDE: numbers of columns.
    pub include: Vec<u16>,
}

/// An index.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Index {
    /// Its oid.
    pub oid: IndexId,
    /// Its table.
    pub table: TableId,
    /// Its schema.
    pub schema: Oid,
    /// Its name.
    pub name: String,
    /// Numbers of the key columns, in order.
    pub columns: Vec<u16>,
    /// Whether two rows may not share a key. Keys with a NULL in them never collide.
    pub unique: bool,
    /// Whether it stands for a constraint (PRIMARY KEY or UNIQUE) and goes with it.
    pub constraint: bool,
    /// Whether it may be read.
    pub state: IndexState,
    /// How it was written.
    #[serde(default)]
    pub definition: IndexDefinition,
    /// Comment.
    #[serde(default)]
    pub comment: Option<String>,
}

impl Index {
    /// Numbers of the columns of its keys. With WHERE there is one more column in it, which is NULL, so that nothing
    /// collides, in rows that are not in the index.
    #[must_use]
    pub fn key_columns(&self) -> &[u16] {
        let keys = self.columns.len() - usize::from(self.definition.predicate.is_some()).min(self.columns.len());
        &self.columns[..keys]
    }

    /// Each key as SQL writes it: a column's name, quoted by `quote`, or an expression.
    pub fn key_texts<'a>(
        &'a self,
        table: &'a Table,
        quote: impl Fn(&str) -> String + 'a,
    ) -> impl Iterator<Item = String> + 'a {
        self.key_columns().iter().enumerate().map(move |(at, number)| {
            match self.definition.keys.get(at).and_then(|key| key.expression.as_deref()) {
                Some(expression) if is_call(expression) => expression.to_owned(),
                Some(expression) => format!("({expression})"),
                None => {
                    let column = table.number_position(*number).and_then(|place| table.columns.get(place));
                    column.map(|column| quote(&column.name)).unwrap_or_default()
                }
            }
        })
    }
}

/// Whether an expression is one call, which needs no parentheses around it in an index.
fn is_call(expression: &str) -> bool {
    let Some(open) = expression.find('(') else { return false };
    let is_name = open > 0 && expression[..open].chars().all(|c| c.is_alphanumeric() || c == '_' || c == '.');
    let mut depth = 0usize;
    let closes_last = expression[open..].char_indices().all(|(at, c)| {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth > 0 || open + at + 1 == expression.len()
    });
    is_name && closes_last
}

/// A sequence. Its position is not part of the catalog.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sequence {
    /// Its oid.
    pub oid: Oid,
    /// Its tenant.
    pub tenant: TenantId,
    /// Its schema.
    pub schema: Oid,
    /// Its name.
    pub name: String,
    /// The role that owns it.
    pub owner: Oid,
    /// Type of the values.
    pub ty: SqlType,
    /// First value.
    pub start: i64,
    /// Step.
    pub increment: i64,
    /// Smallest value.
    pub minimum: i64,
    /// Greatest value.
    pub maximum: i64,
    /// Whether it starts again at the end.
    pub cycle: bool,
    /// The table column that it belongs to and goes with: (table, column number).
    pub owned_by: Option<(TableId, u16)>,
    /// Who may do what, where that is not its kind's default.
    #[serde(default)]
    pub acl: Option<Acl>,
}

/// A view.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct View {
    /// Its oid.
    pub oid: Oid,
    /// Its tenant.
    pub tenant: TenantId,
    /// Its schema.
    pub schema: Oid,
    /// Its name.
    pub name: String,
    /// The role that owns it.
    pub owner: Oid,
    /// The query's text.
    pub query: String,
    /// Names and types of its columns.
    pub columns: Vec<(String, SqlType)>,
    /// Tables and views that it reads; they cannot be dropped without it.
    pub depends_on: Vec<Oid>,
    /// Comment.
    #[serde(default)]
    pub comment: Option<String>,
    /// Who may do what, where that is not its kind's default.
    #[serde(default)]
    pub acl: Option<Acl>,
}

/// That a role is a member of another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Membership {
    /// The role that it is a member of.
    pub role: Oid,
    /// Who gave it.
    pub grantor: Oid,
    /// May give it on.
    pub admin: bool,
    /// Has the role's privileges without SET ROLE.
    pub inherit: bool,
    /// May SET ROLE to it.
    pub set: bool,
}

/// What is granted on the objects that a role will make: ALTER DEFAULT PRIVILEGES.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DefaultPrivileges {
    /// Objects of this schema; `None` is any.
    pub schema: Option<Oid>,
    /// What kind of objects.
    pub kind: AclKind,
    /// For any schema: in place of the kind's default. For one schema: besides it.
    pub acl: Acl,
}

/// What a type is that a user made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum TypeKind {
    /// An enumerated type; its name and oids are the type's.
    Enum(Arc<EnumType>),
    /// A domain.
    Domain(Domain),
}

/// Another type with rules for its values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Domain {
    /// The type of its values, which is no domain.
    pub base: SqlType,
    /// The domain that it is made from, whose rules hold too.
    pub of: Option<Oid>,
    /// What a column without a default of its own gets: an SQL expression.
    pub default: Option<String>,
    /// Whether NULL is refused.
    pub not_null: bool,
    /// CHECK constraints: expressions over VALUE.
    pub checks: Vec<Check>,
}

/// A type that a user made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UserType {
    /// Its oid.
    pub oid: Oid,
    /// The oid of the type of its arrays.
    pub array: Oid,
    /// Its tenant.
    pub tenant: TenantId,
    /// Its schema.
    pub schema: Oid,
    /// Its name.
    pub name: String,
    /// The role that owns it.
    pub owner: Oid,
    /// What it is.
    pub kind: TypeKind,
    /// Comment.
    #[serde(default)]
    pub comment: Option<String>,
}

impl UserType {
    /// The type of its values.
    #[must_use]
    pub fn sql_type(&self) -> SqlType {
        match &self.kind {
            TypeKind::Enum(of) => SqlType::Enum(Arc::clone(of)),
            TypeKind::Domain(domain) => domain.base.clone(),
        }
    }

    /// The greatest oid that it takes.
    fn highest_oid(&self) -> u32 {
        let highest = self.oid.0.max(self.array.0);
        match &self.kind {
            TypeKind::Enum(of) => of.labels().iter().map(|label| label.oid.0).fold(highest, u32::max),
            TypeKind::Domain(domain) => domain.checks.iter().map(|check| check.oid.0).fold(highest, u32::max),
        }
    }
}

/// A role.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Role {
    /// Its oid.
    pub oid: Oid,
    /// Its name.
    pub name: String,
    /// May do everything.
    pub superuser: bool,
    /// May connect.
    pub login: bool,
    /// Has the privileges of roles that it is made a member of.
    pub inherit: bool,
    /// May make roles.
    pub create_role: bool,
    /// May make databases.
    pub create_database: bool,
    /// May open replication connections.
    pub replication: bool,
    /// Row policies do not bind it.
    pub bypass_row_security: bool,
    /// Sessions that it may have open on a node, `None` for any number.
    pub connections_max: Option<u32>,
    /// When its password ends: microseconds since 1970 UTC.
    pub valid_until: Option<i64>,
    /// `SCRAM-SHA-256$…`, where a password is set.
    pub password: Option<String>,
    /// What it is a member of.
    pub member_of: Vec<Membership>,
    /// Settings of its new sessions: ALTER ROLE … SET.
    pub settings: BTreeMap<String, String>,
    /// What is granted on the objects that it will make.
    #[serde(default)]
    pub default_privileges: Vec<DefaultPrivileges>,
    /// Comment.
    pub comment: Option<String>,
}

impl Role {
    /// A role as CREATE ROLE makes it without options.
    #[must_use]
    pub fn new(oid: Oid, name: &str) -> Self {
        Self {
            oid,
            name: name.to_owned(),
            superuser: false,
            login: false,
            inherit: true,
            create_role: false,
            create_database: false,
            replication: false,
            bypass_row_security: false,
            connections_max: None,
            valid_until: None,
            password: None,
            member_of: Vec::new(),
            settings: BTreeMap::new(),
            default_privileges: Vec::new(),
            comment: None,
        }
    }

    /// The privileges of an object that it makes in a schema; `None` where they are its kind's default.
    #[must_use]
    pub fn acl_of_new(&self, kind: AclKind, schema: Option<Oid>) -> Option<Acl> {
        let of = |schema| self.default_privileges.iter().find(|d| d.kind == kind && d.schema == schema).map(|d| &d.acl);
        let (any, here) = (of(None), schema.and_then(|schema| of(Some(schema))));
        if any.is_none() && here.is_none() {
            return None;
        }
        let mut acl = any.cloned().unwrap_or_else(|| Acl::default_of(kind, self.oid));
        for item in here.into_iter().flat_map(|acl| acl.items()) {
            acl.grant(item.grantor, item.grantee, item.privileges.without(item.grantable), false);
            acl.grant(item.grantor, item.grantee, item.grantable, true);
        }
        Some(acl)
    }
}

/// A database; Perigee's tenant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Database {
    /// Its oid.
    pub oid: Oid,
    /// Its tenant.
    pub tenant: TenantId,
    /// Its name.
    pub name: String,
    /// The role that owns it.
    pub owner: Oid,
    /// Who may do what, where that is not its kind's default.
    #[serde(default)]
    pub acl: Option<Acl>,
}

/// Any object of the catalog.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Object {
    /// A database.
    Database(Arc<Database>),
    /// A schema.
    Schema(Arc<Schema>),
    /// A table.
    Table(Arc<Table>),
    /// An index.
    Index(Arc<Index>),
    /// A sequence.
    Sequence(Arc<Sequence>),
    /// A view.
    View(Arc<View>),
    /// A role.
    Role(Arc<Role>),
    /// A type.
    Type(Arc<UserType>),
}

impl Object {
    /// The role that owns it; an index belongs to its table's, a role to nobody.
    #[must_use]
    pub fn owner(&self, catalog: &Catalog) -> Option<Oid> {
        match self {
            Object::Database(o) => Some(o.owner),
            Object::Schema(o) => Some(o.owner),
            Object::Table(o) => Some(o.owner),
            Object::Index(o) => catalog.table(o.table).map(|table| table.owner),
            Object::Sequence(o) => Some(o.owner),
            Object::View(o) => Some(o.owner),
            Object::Type(o) => Some(o.owner),
            Object::Role(_) => None,
        }
    }

    /// The schema that it stands in.
    #[must_use]
    pub fn schema(&self) -> Option<Oid> {
        match self {
            Object::Table(o) => Some(o.schema),
            Object::Index(o) => Some(o.schema),
            Object::Sequence(o) => Some(o.schema),
            Object::View(o) => Some(o.schema),
            Object::Type(o) => Some(o.schema),
            Object::Database(_) | Object::Schema(_) | Object::Role(_) => None,
        }
    }

    /// What kind of privileges it has.
    #[must_use]
    pub fn acl_kind(&self) -> Option<AclKind> {
        match self {
            Object::Database(_) => Some(AclKind::Database),
            Object::Schema(_) => Some(AclKind::Schema),
            Object::Table(_) | Object::View(_) => Some(AclKind::Table),
            Object::Sequence(_) => Some(AclKind::Sequence),
            Object::Index(_) | Object::Role(_) | Object::Type(_) => None,
        }
    }

    /// Its privileges, where something was granted or revoked.
    #[must_use]
    pub fn own_acl(&self) -> Option<&Acl> {
        match self {
            Object::Database(o) => o.acl.as_ref(),
            Object::Schema(o) => o.acl.as_ref(),
            Object::Table(o) => o.acl.as_ref(),
            Object::View(o) => o.acl.as_ref(),
            Object::Sequence(o) => o.acl.as_ref(),
            Object::Index(_) | Object::Role(_) | Object::Type(_) => None,
        }
    }

    /// Who may do what with it; `None` where its kind has no privileges.
    #[must_use]
    pub fn acl(&self) -> Option<Cow<'_, Acl>> {
        let owner = match self {
            Object::Database(o) => o.owner,
            Object::Schema(o) => o.owner,
            Object::Table(o) => o.owner,
            Object::View(o) => o.owner,
            Object::Sequence(o) => o.owner,
            Object::Index(_) | Object::Role(_) | Object::Type(_) => return None,
        };
        Some(match self.own_acl() {
            Some(acl) => Cow::Borrowed(acl),
            None => Cow::Owned(Acl::default_of(self.acl_kind()?, owner)),
        })
    }

    /// The object with other privileges; unchanged where its kind has none.
    #[must_use]
    pub fn with_acl(&self, acl: Acl) -> Self {
        let acl = Some(acl);
        match self {
            Object::Database(o) => Object::Database(Arc::new(Database { acl, ..(**o).clone() })),
            Object::Schema(o) => Object::Schema(Arc::new(Schema { acl, ..(**o).clone() })),
            Object::Table(o) => Object::Table(Arc::new(Table { acl, ..(**o).clone() })),
            Object::View(o) => Object::View(Arc::new(View { acl, ..(**o).clone() })),
            Object::Sequence(o) => Object::Sequence(Arc::new(Sequence { acl, ..(**o).clone() })),
            Object::Index(_) | Object::Role(_) | Object::Type(_) => self.clone(),
        }
    }

    /// The object with another owner, who takes the old one's place in its privileges.
    #[must_use]
    pub fn with_owner(&self, owner: Oid) -> Self {
        let moved = |acl: &Option<Acl>, from: Oid| {
            acl.clone().map(|mut acl| {
                acl.change_owner(from, owner);
                acl
            })
        };
        match self {
            Object::Database(o) => {
                Object::Database(Arc::new(Database { owner, acl: moved(&o.acl, o.owner), ..(**o).clone() }))
            }
            Object::Schema(o) => {
                Object::Schema(Arc::new(Schema { owner, acl: moved(&o.acl, o.owner), ..(**o).clone() }))
            }
            Object::Table(o) => {
                let mut table = Table { owner, acl: moved(&o.acl, o.owner), ..(**o).clone() };
                table.columns.iter_mut().for_each(|column| column.acl.change_owner(o.owner, owner));
                Object::Table(Arc::new(table))
            }
            Object::View(o) => Object::View(Arc::new(View { owner, acl: moved(&o.acl, o.owner), ..(**o).clone() })),
            Object::Sequence(o) => {
                Object::Sequence(Arc::new(Sequence { owner, acl: moved(&o.acl, o.owner), ..(**o).clone() }))
            }
            Object::Type(o) => Object::Type(Arc::new(UserType { owner, ..(**o).clone() })),
            Object::Index(_) | Object::Role(_) => self.clone(),
        }
    }

    /// Its oid.
    #[must_use]
    pub fn oid(&self) -> Oid {
        match self {
            Object::Database(o) => o.oid,
            Object::Schema(o) => o.oid,
            Object::Table(o) => o.oid,
            Object::Index(o) => o.oid,
            Object::Sequence(o) => o.oid,
            Object::View(o) => o.oid,
            Object::Role(o) => o.oid,
            Object::Type(o) => o.oid,
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Object::Database(o) => &o.name,
            Object::Schema(o) => &o.name,
            Object::Table(o) => &o.name,
            Object::Index(o) => &o.name,
            Object::Sequence(o) => &o.name,
            Object::View(o) => &o.name,
            Object::Role(o) => &o.name,
            Object::Type(o) => &o.name,
        }
    }

    /// Schema and name, for what shares the name space of tables.
    #[must_use]
    pub fn relation_name(&self) -> Option<(Oid, &str)> {
        match self {
            Object::Table(o) => Some((o.schema, &o.name)),
            Object::Index(o) => Some((o.schema, &o.name)),
            Object::Sequence(o) => Some((o.schema, &o.name)),
            Object::View(o) => Some((o.schema, &o.name)),
            Object::Database(_) | Object::Schema(_) | Object::Role(_) | Object::Type(_) => None,
        }
    }
}

/// One change of the catalog, as it stands in the log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum CatalogChange {
    /// The object is new or replaces the one with its oid.
    Put(Object),
    /// The object with this oid is gone.
    Remove(Oid),
}

/// The catalog as of one log index. Cheap to clone behind an [`Arc`]; objects are shared between versions.
#[derive(Clone, Debug)]
pub struct Catalog {
    /// The index of the entry that made this version.
    pub version: LogIndex,
    objects: BTreeMap<Oid, Object>,
    relations: HashMap<(Oid, String), Oid>,
    /// Types that users made, by schema and name.
    types: HashMap<(Oid, String), Oid>,
    /// Tables with foreign keys, by the table that they point to.
    referencing: HashMap<TableId, BTreeSet<TableId>>,
    next_oid: u32,
}

impl Catalog {
    /// The catalog of a new cluster: database `postgres`, the system schemas and `public`, and one superuser.
    #[must_use]
    pub fn bootstrap(superuser: &str) -> Self {
        let schema = |oid, name: &str| {
            let owner = if oid == PUBLIC_SCHEMA { DATABASE_OWNER } else { BOOTSTRAP_ROLE };
            let mut acl = Acl::default_of(AclKind::Schema, owner);
            acl.grant(owner, None, Privileges::USAGE, false);
            Object::Schema(Arc::new(Schema { oid, tenant: TenantId(1), name: name.to_owned(), owner, acl: Some(acl) }))
        };
        Self::from_objects(
            LogIndex(0),
            [
                Object::Database(Arc::new(Database {
                    oid: BOOTSTRAP_DATABASE,
                    tenant: TenantId(1),
                    name: "postgres".to_owned(),
                    owner: BOOTSTRAP_ROLE,
                    acl: None,
                })),
                schema(PG_CATALOG_SCHEMA, "pg_catalog"),
                schema(INFORMATION_SCHEMA, "information_schema"),
                schema(PERIGEE_SCHEMA, "perigee"),
                schema(PUBLIC_SCHEMA, "public"),
                Object::Role(Arc::new(Role {
                    superuser: true,
                    login: true,
                    create_role: true,
                    create_database: true,
                    replication: true,
                    bypass_row_security: true,
                    ..Role::new(BOOTSTRAP_ROLE, superuser)
                })),
            ]
            .into_iter()
            .chain(predefined_roles()),
        )
    }

    /// A catalog of these objects.
    #[must_use]
    pub fn from_objects(version: LogIndex, objects: impl IntoIterator<Item = Object>) -> Self {
        let mut catalog = Self {
            version,
            objects: BTreeMap::new(),
            relations: HashMap::new(),
            types: HashMap::new(),
            referencing: HashMap::new(),
            next_oid: FIRST_USER_OID,
        };
        for object in objects {
            catalog.put(object);
        }
        catalog
    }

    /// This catalog with `changes`, as of `version`.
    #[must_use]
    pub fn with_changes(&self, changes: &[CatalogChange], version: LogIndex) -> Self {
        let mut next = self.clone();
        next.version = version;
        for change in changes {
            match change {
                CatalogChange::Put(object) => next.put(object.clone()),
                CatalogChange::Remove(oid) => next.remove(*oid),
            }
        }
        next
    }

    fn put(&mut self, object: Object) {
        self.remove(object.oid());
        if let Some((schema, name)) = object.relation_name() {
            self.relations.insert((schema, name.to_owned()), object.oid());
        }
        // A table's storage and constraints draw from the same numbers.
        let mut highest = object.oid().0;
        if let Object::Type(ty) = &object {
            self.types.insert((ty.schema, ty.name.clone()), ty.oid);
            highest = ty.highest_oid();
        }
        if let Object::Table(table) = &object {
            highest = highest.max(table.storage.0);
            highest = table.checks.iter().map(|c| c.oid.0).fold(highest, u32::max);
            highest = table.foreign_keys.iter().map(|k| k.oid.0).fold(highest, u32::max);
            for key in &table.foreign_keys {
                self.referencing.entry(key.references).or_default().insert(table.oid);
            }
        }
        self.next_oid = self.next_oid.max(highest.saturating_add(1));
        self.objects.insert(object.oid(), object);
    }

    fn remove(&mut self, oid: Oid) {
        let Some(object) = self.objects.remove(&oid) else { return };
        if let Some((schema, name)) = object.relation_name() {
            self.relations.remove(&(schema, name.to_owned()));
        }
        if let Object::Type(ty) = &object {
            self.types.remove(&(ty.schema, ty.name.clone()));
        }
        if let Object::Table(table) = &object {
            for key in &table.foreign_keys {
                if let Some(tables) = self.referencing.get_mut(&key.references) {
                    tables.remove(&oid);
                }
            }
        }
    }

    /// The smallest oid that no object has had in this version's history.
    #[must_use]
    pub fn next_oid(&self) -> u32 {
        self.next_oid
    }

    /// Never hands out an oid below `next` again: what the checkpoint kept of dropped objects.
    pub fn reserve_oids(&mut self, next: u32) {
        self.next_oid = self.next_oid.max(next);
    }

    /// All objects, by oid.
    pub fn objects(&self) -> impl Iterator<Item = &Object> {
        self.objects.values()
    }

    /// An object by oid.
    #[must_use]
    pub fn object(&self, oid: Oid) -> Option<&Object> {
        self.objects.get(&oid)
    }

    /// A table, index, sequence or view by schema and name: they share one name space.
    #[must_use]
    pub fn relation(&self, schema: Oid, name: &str) -> Option<&Object> {
        // HashMap<(Oid, String)> wants an owned key; relations are looked up when planning, not per row.
        self.objects.get(self.relations.get(&(schema, name.to_owned()))?)
    }

    /// A table by oid.
    #[must_use]
    pub fn table(&self, oid: TableId) -> Option<&Arc<Table>> {
        match self.objects.get(&oid) {
            Some(Object::Table(table)) => Some(table),
            _ => None,
        }
    }

    /// An index by oid.
    #[must_use]
    pub fn index(&self, oid: IndexId) -> Option<&Arc<Index>> {
        match self.objects.get(&oid) {
            Some(Object::Index(index)) => Some(index),
            _ => None,
        }
    }

    /// A sequence by oid.
    #[must_use]
    pub fn sequence(&self, oid: Oid) -> Option<&Arc<Sequence>> {
        match self.objects.get(&oid) {
            Some(Object::Sequence(sequence)) => Some(sequence),
            _ => None,
        }
    }

    /// A type that a user made, by schema and name.
    #[must_use]
    pub fn user_type(&self, schema: Oid, name: &str) -> Option<&Arc<UserType>> {
        match self.objects.get(self.types.get(&(schema, name.to_owned()))?) {
            Some(Object::Type(ty)) => Some(ty),
            _ => None,
        }
    }

    /// A domain and those that it is made from, itself first; nothing for what is no domain.
    pub fn domains(&self, oid: Option<Oid>) -> impl Iterator<Item = (&Arc<UserType>, &Domain)> {
        let domain = |oid: Oid| match self.objects.get(&oid) {
            Some(Object::Type(ty)) => match &ty.kind {
                TypeKind::Domain(domain) => Some((ty, domain)),
                TypeKind::Enum(_) => None,
            },
            _ => None,
        };
        std::iter::successors(oid.and_then(domain), move |(_, below)| below.of.and_then(domain))
    }

    /// Where a column's value comes from when none is given: its own default, or that of its domain.
    #[must_use]
    pub fn default_of<'a>(&'a self, column: &'a Column) -> Option<std::borrow::Cow<'a, ColumnDefault>> {
        if let Some(default) = &column.default {
            return Some(std::borrow::Cow::Borrowed(default));
        }
        let text = self.domains(column.domain).find_map(|(_, domain)| domain.default.clone())?;
        Some(std::borrow::Cow::Owned(ColumnDefault::Expression(text)))
    }

    /// The types that users made.
    pub fn user_types(&self) -> impl Iterator<Item = &Arc<UserType>> {
        self.objects.values().filter_map(|object| match object {
            Object::Type(ty) => Some(ty),
            _ => None,
        })
    }

    /// The type with an oid of `pg_type`, without a modifier: PostgreSQL's own or a user's.
    #[must_use]
    pub fn type_of_oid(&self, oid: u32) -> Option<SqlType> {
        if oid < FIRST_USER_OID {
            return SqlType::from_oid(oid);
        }
        match self.objects.get(&Oid(oid)) {
            Some(Object::Type(ty)) => Some(ty.sql_type()),
            _ => {
                let of = self.user_types().find(|ty| ty.array.0 == oid)?;
                Some(SqlType::Array(Box::new(of.sql_type())))
            }
        }
    }

    /// The tables with a foreign key to a table, by oid; itself where it points to itself.
    pub fn referencing(&self, table: TableId) -> impl Iterator<Item = &Arc<Table>> {
        self.referencing.get(&table).into_iter().flatten().filter_map(|oid| self.table(*oid))
    }

    /// The indexes of a table, by oid.
    pub fn indexes_of<'a>(&'a self, table: &'a Table) -> impl Iterator<Item = &'a Arc<Index>> {
        table.indexes.iter().filter_map(|oid| self.index(*oid))
    }

    /// A schema by name.
    #[must_use]
    pub fn schema(&self, tenant: TenantId, name: &str) -> Option<&Arc<Schema>> {
        self.objects.values().find_map(|object| match object {
            Object::Schema(schema) if schema.tenant == tenant && schema.name == name => Some(schema),
            _ => None,
        })
    }

    /// Whether objects of a schema are temporary.
    #[must_use]
    pub fn is_temporary(&self, schema: Oid) -> bool {
        matches!(self.objects.get(&schema), Some(Object::Schema(schema)) if schema.is_temporary())
    }

    /// A role by name.
    #[must_use]
    pub fn role(&self, name: &str) -> Option<&Arc<Role>> {
        self.objects.values().find_map(|object| match object {
            Object::Role(role) if role.name == name => Some(role),
            _ => None,
        })
    }

    /// A role by oid.
    #[must_use]
    pub fn role_of(&self, oid: Oid) -> Option<&Arc<Role>> {
        match self.objects.get(&oid) {
            Some(Object::Role(role)) => Some(role),
            _ => None,
        }
    }

    /// The roles whose privileges a role has without SET ROLE, itself included. In a database's tenant its owner is
    /// also `pg_database_owner`.
    #[must_use]
    pub fn inherited_roles(&self, role: Oid, tenant: TenantId) -> BTreeSet<Oid> {
        let mut roles = self.reachable_roles(role, |membership| membership.inherit);
        let owns =
            |object: &Object| matches!(object, Object::Database(d) if d.tenant == tenant && roles.contains(&d.owner));
        if self.objects.values().any(owns) {
            roles.insert(DATABASE_OWNER);
        }
        roles
    }

    /// The roles that a role can be reached from by memberships that `follow` takes, itself included.
    #[must_use]
    pub fn reachable_roles(&self, role: Oid, follow: impl Fn(&Membership) -> bool) -> BTreeSet<Oid> {
        let mut known = BTreeSet::from([role]);
        let mut open = vec![role];
        while let Some(role) = open.pop() {
            let memberships = self.role_of(role).map(|role| role.member_of.as_slice()).unwrap_or_default();
            for membership in memberships.iter().filter(|membership| follow(membership)) {
                if known.insert(membership.role) {
                    open.push(membership.role);
                }
            }
        }
        known
    }

    /// A database by name.
    #[must_use]
    pub fn database(&self, name: &str) -> Option<&Arc<Database>> {
        self.objects.values().find_map(|object| match object {
            Object::Database(database) if database.name == name => Some(database),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(oid: u32, name: &str) -> Object {
        Object::Table(Arc::new(Table {
            oid: Oid(oid),
            tenant: TenantId(1),
            schema: PUBLIC_SCHEMA,
            name: name.to_owned(),
            owner: BOOTSTRAP_ROLE,
            version: 1,
            storage: Oid(oid),
            columns: Vec::new(),
            next_column: 1,
            primary_key: None,
            indexes: Vec::new(),
            checks: Vec::new(),
            foreign_keys: Vec::new(),
            aggregates: Vec::new(),
            materialized: None,
            options: BTreeMap::new(),
            on_commit: OnCommit::PreserveRows,
            comment: None,
            acl: None,
        }))
    }

    #[test]
    fn a_change_leaves_older_versions_alone() {
        let old = Catalog::bootstrap("postgres");
        let new = old.with_changes(&[CatalogChange::Put(table(16_384, "t"))], LogIndex(5));
        assert!(old.relation(PUBLIC_SCHEMA, "t").is_none());
        assert!(new.relation(PUBLIC_SCHEMA, "t").is_some());
        let renamed = new.with_changes(&[CatalogChange::Put(table(16_384, "u"))], LogIndex(6));
        assert!(renamed.relation(PUBLIC_SCHEMA, "t").is_none());
        assert!(renamed.relation(PUBLIC_SCHEMA, "u").is_some());
        let gone = renamed.with_changes(&[CatalogChange::Remove(Oid(16_384))], LogIndex(7));
        assert!(gone.relation(PUBLIC_SCHEMA, "u").is_none());
        assert_eq!(gone.next_oid(), 16_385, "oids are not handed out twice");
    }

    #[test]
    fn objects_come_back_from_json() {
        let object = table(16_384, "t");
        let json = serde_json::to_vec(&object).unwrap();
        assert_eq!(serde_json::from_slice::<Object>(&json).unwrap(), object);
    }
}
