//! What a role may do with the objects of a catalog.

use std::collections::BTreeSet;

use crate::acl::Privileges;
use crate::catalog::{Catalog, Column, Object, READ_ALL_DATA, WRITE_ALL_DATA};
use crate::ids::{Oid, TenantId};

/// What one role may do: by what it owns, by what it or a role that it inherits from was granted, by predefined roles.
#[derive(Clone, Debug)]
pub struct Rights {
    superuser: bool,
    roles: BTreeSet<Oid>,
}

impl Rights {
    /// The rights of `role` in a database of `tenant`. A role that is not there has none.
    #[must_use]
    pub fn of(catalog: &Catalog, role: Oid, tenant: TenantId) -> Self {
        Self {
            superuser: catalog.role_of(role).is_some_and(|role| role.superuser),
            roles: catalog.inherited_roles(role, tenant),
        }
    }

    /// Whether nothing is refused.
    #[must_use]
    pub fn is_superuser(&self) -> bool {
        self.superuser
    }

    /// Whether it has the privileges of `role`.
    #[must_use]
    pub fn is(&self, role: Oid) -> bool {
        self.superuser || self.roles.contains(&role)
    }

    /// The roles whose privileges it has, itself included.
    pub fn roles(&self) -> impl Iterator<Item = Oid> {
        self.roles.iter().copied()
    }

    /// Whether it may do what only the owner may.
    #[must_use]
    pub fn owns(&self, object: &Object, catalog: &Catalog) -> bool {
        self.superuser || object.owner(catalog).is_some_and(|owner| self.roles.contains(&owner))
    }

    /// The privileges that it has on the whole object.
    #[must_use]
    pub fn held(&self, object: &Object) -> Privileges {
        let Some(kind) = object.acl_kind() else { return Privileges::NONE };
        if self.superuser {
            return Privileges::all_of(kind);
        }
        let granted = object.acl().map(|acl| acl.held(|oid| self.roles.contains(&oid))).unwrap_or_default();
        let reads = match object {
            Object::Schema(_) => Privileges::USAGE,
            _ => Privileges::SELECT,
        };
        let writes = match object {
            Object::Schema(_) => Privileges::USAGE,
            _ => Privileges::INSERT.with(Privileges::UPDATE).with(Privileges::DELETE),
        };
        let mut held = granted;
        for (role, of_role) in [(READ_ALL_DATA, reads), (WRITE_ALL_DATA, writes)] {
            if self.roles.contains(&role) {
                held = held.with(of_role.within(Privileges::all_of(kind)));
            }
        }
        held
    }

    /// The privileges that it has on a column, without those on the whole table.
    #[must_use]
    pub fn held_on_column(&self, column: &Column) -> Privileges {
        column.acl.held(|oid| self.roles.contains(&oid))
    }

    /// The privileges that it may give on, those of its owner included.
    #[must_use]
    pub fn grantable(&self, object: &Object, catalog: &Catalog) -> Privileges {
        match object.acl_kind() {
            Some(kind) if self.owns(object, catalog) => Privileges::all_of(kind),
            _ => object.acl().map(|acl| acl.grantable(|oid| self.roles.contains(&oid))).unwrap_or_default(),
        }
    }

    /// Whether it has `privileges` on the object: on the whole, or on each of these columns. Without a column in the
    /// list one column of any is enough: `count(*)` reads none of them.
    #[must_use]
    pub fn allows(&self, object: &Object, privileges: Privileges, columns: Option<&[u16]>) -> bool {
        let missing = privileges.without(self.held(object));
        if missing.is_empty() {
            return true;
        }
        let (Some(columns), Object::Table(table)) = (columns, object) else { return false };
        let has = |column: &Column| self.held_on_column(column).contains(missing);
        if columns.is_empty() {
            return table.columns.iter().any(has);
        }
        columns.iter().all(|number| table.columns.iter().find(|c| c.number == *number).is_some_and(has))
    }
}
