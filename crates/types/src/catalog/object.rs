//! Schemas, sequences, views, databases, and what all objects have: a name, an owner, privileges.

use std::borrow::Cow;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Catalog, Function, Index, PUBLIC_SCHEMA, Role, TEMPORARY_PREFIX, Table, UserType};
use crate::acl::{Acl, AclKind};
use crate::ids::{Oid, TableId, TenantId};
use crate::sql_type::SqlType;

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

    /// Its comment; `public` has one until another one, or none, is said.
    #[must_use]
    pub fn described(&self) -> Option<&str> {
        let standard = (self.oid == PUBLIC_SCHEMA).then_some("standard public schema");
        self.comment.as_deref().or(standard).filter(|comment| !comment.is_empty())
    }
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
    /// Comment.
    #[serde(default)]
    pub comment: Option<String>,
    /// Who may do what, where that is not its kind's default.
    #[serde(default)]
    pub acl: Option<Acl>,
}

/// WITH CHECK OPTION of a view: rows that are written through it must be seen through it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CheckOption {
    /// LOCAL: by its own condition, and by those of views below that ask for it themselves.
    Local,
    /// CASCADED: by its own condition and those of all views below.
    Cascaded,
}

impl CheckOption {
    /// How it is called in an option's value.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            CheckOption::Local => "local",
            CheckOption::Cascaded => "cascaded",
        }
    }
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
    /// WITH CHECK OPTION
    #[serde(default)]
    pub check_option: Option<CheckOption>,
    /// Comment.
    #[serde(default)]
    pub comment: Option<String>,
    /// Who may do what, where that is not its kind's default.
    #[serde(default)]
    pub acl: Option<Acl>,
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
    /// Comment.
    #[serde(default)]
    pub comment: Option<String>,
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
    /// A function.
    Function(Arc<Function>),
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
            Object::Function(o) => Some(o.owner),
            Object::Role(_) => None,
        }
    }

    /// The greatest oid that it takes: a table's storage and constraints draw from the same numbers.
    #[must_use]
    pub fn highest_oid(&self) -> u32 {
        match self {
            Object::Table(table) => {
                let checks = table.checks.iter().map(|check| check.oid.0);
                let keys = table.foreign_keys.iter().map(|key| key.oid.0);
                checks.chain(keys).fold(table.oid.0.max(table.storage.0), u32::max)
            }
            Object::Type(ty) => ty.highest_oid(),
            other => other.oid().0,
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
            Object::Function(o) => Some(o.schema),
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
            Object::Function(_) => Some(AclKind::Function),
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
            Object::Function(o) => o.acl.as_ref(),
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
            Object::Function(o) => o.owner,
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
            Object::Function(o) => Object::Function(Arc::new(Function { acl, ..(**o).clone() })),
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
            Object::Function(o) => {
                Object::Function(Arc::new(Function { owner, acl: moved(&o.acl, o.owner), ..(**o).clone() }))
            }
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
            Object::Function(o) => o.oid,
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
            Object::Function(o) => &o.name,
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
            Object::Database(_) | Object::Schema(_) | Object::Role(_) | Object::Type(_) | Object::Function(_) => None,
        }
    }
}
