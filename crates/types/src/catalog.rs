//! The catalog: what a statement may name.
//!
//! A [`Catalog`] is immutable and belongs to the log index that made it; a change makes a new one that shares what did
//! not change. Storage keeps the versions that an open snapshot may still ask for, so a statement always meets the
//! catalog of its own snapshot. Objects have persistent oids and go to disk as JSON.

mod extension;
mod function;
mod index;
mod object;
mod redis_user;
pub mod retention;
mod role;
mod table;
mod user_type;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use self::extension::*;
pub use self::function::*;
pub use self::index::*;
pub use self::object::*;
pub use self::redis_user::RedisUser;
pub use self::role::{ApiKey, DefaultPrivileges, Membership, Role};
pub use self::table::*;
pub use self::user_type::*;
use crate::acl::{Acl, AclKind, Privileges};
use crate::ids::{IndexId, LogIndex, Oid, TableId, TenantId};
use crate::partition::Router;
use crate::sql_type::SqlType;

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
/// The schema of the keyspace's tables.
pub const REDIS_SCHEMA: Oid = Oid(15_100);

/// Whether a schema holds system tables alone.
#[must_use]
pub fn is_system_schema(name: &str) -> bool {
    matches!(name, "pg_catalog" | "information_schema" | "perigee" | "redis")
}
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
    /// Functions that users made, by schema and name.
    functions: HashMap<(Oid, String), BTreeSet<Oid>>,
    /// Tables with foreign keys, by the table that they point to.
    referencing: HashMap<TableId, BTreeSet<TableId>>,
    /// Tables with parents, by parent.
    children: HashMap<TableId, BTreeSet<TableId>>,
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
            let (tenant, name) = (TenantId(1), name.to_owned());
            Object::Schema(Arc::new(Schema { oid, tenant, name, owner, comment: None, acl: Some(acl) }))
        };
        Self::from_objects(
            LogIndex(0),
            [
                Object::Database(Arc::new(Database {
                    oid: BOOTSTRAP_DATABASE,
                    tenant: TenantId(1),
                    name: "postgres".to_owned(),
                    owner: BOOTSTRAP_ROLE,
                    comment: None,
                    acl: None,
                })),
                schema(PG_CATALOG_SCHEMA, "pg_catalog"),
                schema(INFORMATION_SCHEMA, "information_schema"),
                schema(PERIGEE_SCHEMA, "perigee"),
                schema(REDIS_SCHEMA, "redis"),
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
            .chain(role::predefined_roles()),
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
            functions: HashMap::new(),
            referencing: HashMap::new(),
            children: HashMap::new(),
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
        if let Object::Type(ty) = &object {
            self.types.insert((ty.schema, ty.name.clone()), ty.oid);
        }
        if let Object::Function(function) = &object {
            self.functions.entry((function.schema, function.name.clone())).or_default().insert(function.oid);
        }
        if let Object::Table(table) = &object {
            for key in &table.foreign_keys {
                self.referencing.entry(key.references).or_default().insert(table.oid);
            }
            for parent in &table.parents {
                self.children.entry(*parent).or_default().insert(table.oid);
            }
        }
        self.reserve_oids(object.highest_oid().saturating_add(1));
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
        if let Object::Function(function) = &object {
            let key = (function.schema, function.name.clone());
            if let Some(functions) = self.functions.get_mut(&key) {
                functions.remove(&oid);
                if functions.is_empty() {
                    self.functions.remove(&key);
                }
            }
        }
        if let Object::Table(table) = &object {
            for key in &table.foreign_keys {
                if let Some(tables) = self.referencing.get_mut(&key.references) {
                    tables.remove(&oid);
                }
            }
            for parent in &table.parents {
                if let Some(tables) = self.children.get_mut(parent) {
                    tables.remove(&oid);
                    if tables.is_empty() {
                        self.children.remove(parent);
                    }
                }
            }
        }
    }

    /// The smallest oid that neither an object of this version's history has had nor a staged transaction.
    #[must_use]
    pub fn next_oid(&self) -> u32 {
        self.next_oid
    }

    /// Never hands out an oid below `next` again: those of dropped objects, and of staged ones that may never be committed.
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

    /// The name of a table with its schema, as a statement writes it.
    #[must_use]
    pub fn written_name(&self, table: &Table) -> String {
        let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
        let schema = self.object(table.schema).map(Object::name).unwrap_or_default();
        format!("{}.{}", quoted(schema), quoted(&table.name))
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

    /// Whether users made any function.
    #[must_use]
    pub fn has_functions(&self) -> bool {
        !self.functions.is_empty()
    }

    /// The functions that users made, by schema and name.
    pub fn functions(&self, schema: Oid, name: &str) -> impl Iterator<Item = &Arc<Function>> {
        let found = self.functions.get(&(schema, name.to_owned()));
        found.into_iter().flatten().filter_map(|oid| self.function(*oid))
    }

    /// The function of this name in the first of some schemas that has one, with these types of parameters (their oids) where
    /// they are known.
    ///
    /// # Errors
    /// Where several have the name and no types are given.
    pub fn function_named(
        &self,
        tenant: TenantId,
        path: &[String],
        name: &str,
        types: Option<Vec<u32>>,
    ) -> Result<Option<Arc<Function>>, AmbiguousFunction> {
        for schema in path.iter().filter_map(|schema| self.schema(tenant, schema)) {
            let fits = |function: &&Arc<Function>| types.as_ref().is_none_or(|types| function.has_types(types));
            let mut found = self.functions(schema.oid, name).filter(fits);
            match (found.next(), found.next()) {
                (Some(_), Some(_)) => return Err(AmbiguousFunction),
                (Some(one), None) => return Ok(Some(Arc::clone(one))),
                _ => {}
            }
        }
        Ok(None)
    }

    /// A function that a user made, by oid.
    #[must_use]
    pub fn function(&self, oid: Oid) -> Option<&Arc<Function>> {
        match self.objects.get(&oid) {
            Some(Object::Function(function)) => Some(function),
            _ => None,
        }
    }

    /// A domain and those that it is made from, itself first; nothing for what is no domain.
    pub fn domains(&self, oid: Option<Oid>) -> impl Iterator<Item = (&Arc<UserType>, &Domain)> {
        let domain = |oid: Oid| match self.objects.get(&oid) {
            Some(Object::Type(ty)) => Some((ty, ty.kind.as_domain()?)),
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

    /// The tables that inherit from a table, or are its partitions, by oid.
    pub fn children(&self, table: TableId) -> impl Iterator<Item = &Arc<Table>> {
        self.children.get(&table).into_iter().flatten().filter_map(|oid| self.table(*oid))
    }

    /// Whether a table has partitions or is inherited from.
    #[must_use]
    pub fn has_children(&self, table: TableId) -> bool {
        self.children.contains_key(&table)
    }

    /// A table and all that descend from it, each once, parents before their children.
    #[must_use]
    pub fn family(&self, table: &Arc<Table>) -> Vec<Arc<Table>> {
        let mut all = vec![Arc::clone(table)];
        let mut known = BTreeSet::from([table.oid]);
        let mut at = 0;
        while let Some(parent) = all.get(at).map(|table| table.oid) {
            at += 1;
            all.extend(self.children(parent).filter(|child| known.insert(child.oid)).cloned());
        }
        all
    }

    /// The partitions of a partitioned table, by key.
    #[must_use]
    pub fn router(&self, table: &Table) -> Option<Router> {
        let partitioning = table.partitioning.as_ref()?;
        let partitions = self.children(table.oid).filter_map(|child| Some((child.oid, child.bound.as_ref()?)));
        Some(Router::new(partitioning.strategy, partitions))
    }

    /// The index of `table` that belongs to the index `of` of a table above it; `of` itself where it is the table's own.
    #[must_use]
    pub fn index_below(&self, table: &Table, of: IndexId) -> Option<IndexId> {
        table.indexes.iter().copied().find(|oid| {
            let mut at = Some(*oid);
            while let Some(index) = at {
                if index == of {
                    return true;
                }
                at = self.index(index).and_then(|index| index.parent);
            }
            false
        })
    }

    /// The indexes of a table, by oid.
    pub fn indexes_of<'a>(&'a self, table: &'a Table) -> impl Iterator<Item = &'a Arc<Index>> {
        table.indexes.iter().filter_map(|oid| self.index(*oid))
    }

    /// A schema by name; those of the system are every tenant's.
    #[must_use]
    pub fn schema(&self, tenant: TenantId, name: &str) -> Option<&Arc<Schema>> {
        self.objects.values().find_map(|object| match object {
            Object::Schema(schema) if schema.name == name && (schema.tenant == tenant || is_system_schema(name)) => {
                Some(schema)
            }
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

    /// An API key by its id, and the role that it proves.
    #[must_use]
    pub fn api_key(&self, id: &str) -> Option<(&Arc<Role>, &ApiKey)> {
        self.objects.values().find_map(|object| match object {
            Object::Role(role) => role.api_keys.iter().find(|key| key.id == id).map(|key| (role, key)),
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
            parents: Vec::new(),
            partitioning: None,
            bound: None,
            constraint_comments: Vec::new(),
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
