//! Types that users make: enums, domains, composite types and ranges.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Check;
use crate::composite::CompositeType;
use crate::enum_type::EnumType;
use crate::ids::{Oid, TenantId};
use crate::range::{RangeType, UserRange};
use crate::sql_type::SqlType;

/// What a type is that a user made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum TypeKind {
    /// An enumerated type; its name and oids are the type's.
    Enum(Arc<EnumType>),
    /// A domain.
    Domain(Domain),
    /// A composite type; its name and oids are the type's.
    Composite(Arc<CompositeType>),
    /// A type of ranges; its name and oids are the type's.
    Range(Arc<UserRange>),
    /// The type of several ranges of such a type, and made with it.
    Multirange(Arc<UserRange>),
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

impl TypeKind {
    /// What is said of it as a domain; `None` for any other type.
    #[must_use]
    pub fn as_domain(&self) -> Option<&Domain> {
        match self {
            TypeKind::Domain(domain) => Some(domain),
            TypeKind::Enum(_) | TypeKind::Composite(_) | TypeKind::Range(_) | TypeKind::Multirange(_) => None,
        }
    }
}

impl UserType {
    /// The type of its values.
    #[must_use]
    pub fn sql_type(&self) -> SqlType {
        match &self.kind {
            TypeKind::Enum(of) => SqlType::Enum(Arc::clone(of)),
            TypeKind::Domain(domain) => domain.base.clone(),
            TypeKind::Composite(of) => SqlType::Composite(Arc::clone(of)),
            TypeKind::Range(of) => SqlType::Range(RangeType::User(Arc::clone(of))),
            TypeKind::Multirange(of) => SqlType::Multirange(RangeType::User(Arc::clone(of))),
        }
    }

    /// The type that a user made and that this one is made from.
    #[must_use]
    pub fn below(&self) -> Option<Oid> {
        match &self.kind {
            TypeKind::Domain(domain) => domain.of.or(domain.base.user_type()),
            TypeKind::Multirange(of) => Some(of.oid),
            TypeKind::Enum(_) | TypeKind::Composite(_) | TypeKind::Range(_) => None,
        }
    }

    /// The function that was declared with it; it may be a built-in one.
    #[must_use]
    pub fn calls(&self) -> Option<Oid> {
        match &self.kind {
            TypeKind::Range(of) => of.subtype_diff,
            _ => None,
        }
    }

    /// The greatest oid that it takes.
    pub(super) fn highest_oid(&self) -> u32 {
        let highest = self.oid.0.max(self.array.0);
        match &self.kind {
            TypeKind::Enum(of) => of.labels().iter().map(|label| label.oid.0).fold(highest, u32::max),
            TypeKind::Domain(domain) => domain.checks.iter().map(|check| check.oid.0).fold(highest, u32::max),
            TypeKind::Composite(of) => highest.max(of.relation.0),
            TypeKind::Range(_) | TypeKind::Multirange(_) => highest,
        }
    }
}
