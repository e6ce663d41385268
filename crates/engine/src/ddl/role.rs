//! Roles, memberships and privileges. The rules of who may change what are those of PostgreSQL 16.

use std::sync::Arc;

use perigee_plan::RoleChange;
use perigee_plan::role::{MembershipChange, PrivilegeChange, RoleName, RoleOptions};
use perigee_security::scram::ScramVerifier;
use perigee_types::acl::{Acl, AclKind, Privileges};
use perigee_types::catalog::{
    BOOTSTRAP_ROLE, Catalog, CatalogChange, DATABASE_OWNER, DefaultPrivileges, FIRST_USER_OID, Membership, Object,
    Role, Table,
};
use perigee_types::rights::Rights;
use perigee_types::{Oid, SqlError, SqlResult, SqlState};

use super::Oids;
use crate::api::Severity;
use crate::identity::{denied, missing_role};
use crate::privileges::{no_privilege, noun};
use crate::session::Session;
use crate::session_settings::check_may_set;

impl Session {
    pub(super) async fn change_roles(&mut self, change: &RoleChange) -> SqlResult<()> {
        match change {
            RoleChange::Create { name, options } => self.create_role(name, options),
            RoleChange::Alter { role, options } => self.alter_role(role, options),
            RoleChange::Rename { from, to } => self.rename_role(from, to),
            RoleChange::Settings { role, name, value } => self.set_for_role(role, name.as_deref(), value.as_deref()),
            RoleChange::Drop { roles, if_exists } => self.drop_roles(roles, *if_exists),
            RoleChange::Privileges(change) => self.change_privileges(change),
            RoleChange::DefaultPrivileges { roles, schemas, kind, change } => {
                self.change_default_privileges(roles, schemas, *kind, change)
            }
            RoleChange::Membership(change) => self.change_memberships(change),
            RoleChange::DropOwned { roles, cascade } => self.drop_owned(roles, *cascade).await,
            RoleChange::ReassignOwned { roles, to } => self.reassign_owned(roles, to),
            RoleChange::RevokeApiKey(id) => self.revoke_api_key(id),
            RoleChange::CreateApiKey { .. } => Err(SqlError::internal("a key that is made gives a row")),
        }
    }

    fn create_role(&mut self, name: &str, options: &RoleOptions) -> SqlResult<()> {
        let catalog = self.latest_catalog();
        let creator = self.identity(&catalog).role.clone();
        if !creator.superuser && !creator.create_role {
            return Err(denied("permission denied to create role")
                .detail("Only roles with the CREATEROLE attribute may create roles."));
        }
        check_attributes(&creator, options, "create")?;
        if catalog.role(name).is_some() {
            return Err(SqlError::new(SqlState::DuplicateObject, format!("role \"{name}\" already exists")));
        }
        let mut role = Role::new(Oids::new(&catalog).next(), name);
        apply(&mut role, options)?;
        let oid = role.oid;
        self.put_role(role)?;
        if !creator.superuser {
            // Who makes a role may manage it, and give itself more of it.
            let own = Membership { role: oid, grantor: BOOTSTRAP_ROLE, admin: true, inherit: false, set: false };
            self.change_membership(creator.oid, |member_of| member_of.push(own))?;
        }
        let change = |roles: &[RoleName], members: &[RoleName], admin| MembershipChange {
            revoke: false,
            roles: roles.to_vec(),
            members: members.to_vec(),
            admin,
            inherit: None,
            set: None,
        };
        let new = [RoleName::Named(name.to_owned())];
        for (roles, members, admin) in [
            (&*options.in_roles, &new[..], None),
            (&new[..], &*options.members, None),
            (&new[..], &*options.admins, Some(true)),
        ] {
            if !roles.is_empty() && !members.is_empty() {
                self.change_memberships(&change(roles, members, admin))?;
            }
        }
        Ok(())
    }

    fn alter_role(&mut self, name: &RoleName, options: &RoleOptions) -> SqlResult<()> {
        let catalog = self.latest_catalog();
        let identity = self.identity(&catalog);
        let target = self.named_role(&catalog, name)?;
        // One's own password is one's own.
        let own_password = identity.role.oid == target.oid
            && *options == RoleOptions { password: options.password.clone(), ..RoleOptions::default() };
        if !own_password {
            check_attributes(&identity.role, options, "alter")?;
            self.require_manager(&catalog, &target, "alter")?;
        }
        if target.oid == BOOTSTRAP_ROLE && options.superuser == Some(false) {
            return Err(SqlError::unsupported(
                "the bootstrap superuser must have the SUPERUSER attribute: NOSUPERUSER",
            ));
        }
        let mut changed = Role::clone(&target);
        apply(&mut changed, options)?;
        self.put_role(changed)
    }

    fn rename_role(&mut self, from: &str, to: &str) -> SqlResult<()> {
        let catalog = self.latest_catalog();
        let identity = self.identity(&catalog);
        let target = catalog.role(from).cloned().ok_or_else(|| missing_role(from))?;
        if target.oid == identity.session_user.oid {
            return Err(SqlError::new(SqlState::FeatureNotSupported, "session user cannot be renamed"));
        }
        if target.oid == identity.role.oid {
            return Err(SqlError::new(SqlState::FeatureNotSupported, "current user cannot be renamed"));
        }
        refuse_predefined(&target, "rename")?;
        self.require_manager(&catalog, &target, "rename")?;
        if catalog.role(to).is_some() {
            return Err(SqlError::new(SqlState::DuplicateObject, format!("role \"{to}\" already exists")));
        }
        self.put_role(Role { name: to.to_owned(), ..Role::clone(&target) })
    }

    fn set_for_role(&mut self, role: &RoleName, name: Option<&str>, value: Option<&str>) -> SqlResult<()> {
        let catalog = self.latest_catalog();
        let target = self.named_role(&catalog, role)?;
        if target.oid != self.identity(&catalog).role.oid {
            self.require_manager(&catalog, &target, "alter")?;
        }
        let superuser = self.identity(&catalog).role.superuser;
        if let Some(name) = name {
            check_may_set(name, superuser)?;
        }
        let mut changed = Role::clone(&target);
        match (name, value) {
            (None, _) => changed.settings.retain(|name, _| check_may_set(name, superuser).is_err()),
            (Some(name), None) => {
                changed.settings.remove(name);
            }
            (Some(name), Some(value)) => {
                crate::settings::checked(name, value)?;
                changed.settings.insert(name.to_owned(), value.to_owned());
            }
        }
        self.put_role(changed)
    }

    pub(crate) fn drop_roles(&mut self, names: &[RoleName], if_exists: bool) -> SqlResult<()> {
        let catalog = self.latest_catalog();
        let identity = self.identity(&catalog);
        if !identity.role.superuser && !identity.role.create_role {
            return Err(denied("permission denied to drop role"));
        }
        for name in names {
            let catalog = self.latest_catalog();
            let target = match self.named_role(&catalog, name) {
                Ok(target) => target,
                Err(error) if if_exists && error.state() == SqlState::UndefinedObject => {
                    self.notify(format!("{}, skipping", error.message()));
                    continue;
                }
                Err(error) => return Err(error),
            };
            for (is, text) in [
                (target.oid == identity.role.oid, "current user cannot be dropped"),
                (target.oid == identity.session_user.oid, "session user cannot be dropped"),
            ] {
                if is {
                    return Err(SqlError::new(SqlState::ObjectInUse, text));
                }
            }
            refuse_predefined(&target, "drop")?;
            self.require_manager(&catalog, &target, "drop")?;
            refuse_dependents(&catalog, &target)?;
            // Memberships in it, and those that it gave, go with it.
            let members: Vec<Oid> = roles(&catalog)
                .filter(|role| role.member_of.iter().any(|m| m.role == target.oid || m.grantor == target.oid))
                .map(|role| role.oid)
                .collect();
            for member in members {
                self.change_membership(member, |member_of| {
                    member_of.retain(|m| m.role != target.oid && m.grantor != target.oid);
                })?;
            }
            self.change(vec![CatalogChange::Remove(target.oid)])?;
        }
        Ok(())
    }

    fn change_privileges(&mut self, change: &PrivilegeChange) -> SqlResult<()> {
        let catalog = self.latest_catalog();
        let identity = self.identity(&catalog);
        let grantees = change
            .grantees
            .iter()
            .map(|name| match name {
                RoleName::Public if change.option && !change.revoke => {
                    Err(SqlError::new(SqlState::InvalidGrantOperation, "grant options can only be granted to roles"))
                }
                RoleName::Public => Ok(None),
                name => self.named_role(&catalog, name).map(|role| Some(role.oid)),
            })
            .collect::<SqlResult<Vec<_>>>()?;
        for object in &change.objects {
            // Objects may stand in the list twice.
            let catalog = self.latest_catalog();
            let Some(object) = catalog.object(*object).cloned() else { continue };
            let (Some(kind), Some(owner)) = (object.acl_kind(), object.owner(&catalog)) else { continue };
            let whole: Privileges = change
                .privileges
                .iter()
                .filter(|(_, columns)| columns.is_empty())
                .fold(Privileges::NONE, |all, (privilege, _)| all.with(*privilege));
            let all = change.privileges.is_empty() && change.all_columns.is_empty();
            let whole = if all { Privileges::all_of(kind) } else { whole };
            let mut wanted = whole;
            let mut on_columns: Vec<(Privileges, String)> = Vec::new();
            for (privilege, columns) in &change.privileges {
                on_columns.extend(columns.iter().map(|column| (*privilege, column.clone())));
            }
            let of_column = Privileges::all_of(AclKind::Column);
            on_columns.extend(change.all_columns.iter().map(|column| (of_column, column.clone())));
            wanted = on_columns.iter().fold(wanted, |all, (privileges, _)| all.with(*privileges));
            let (grantor, may) = best_grantor(&identity.rights, &object, owner, wanted);
            if may.is_empty() {
                if identity.rights.held(&object).is_empty() {
                    return Err(no_privilege(&object));
                }
                let verb = if change.revoke { "revoked" } else { "granted" };
                let text = match change.revoke {
                    false => format!("no privileges were {verb} for \"{}\"", object.name()),
                    true => format!("no privileges could be {verb} for \"{}\"", object.name()),
                };
                self.notice(Severity::Warning, SqlError::new(SqlState::Warning, text));
                continue;
            }
            let edit = |acl: &mut Acl, privileges: Privileges| -> SqlResult<()> {
                let privileges = privileges.within(may);
                for grantee in &grantees {
                    if !change.revoke {
                        acl.grant(grantor, *grantee, privileges, change.option);
                    } else if acl.revoke(owner, grantor, *grantee, privileges, change.option, change.cascade).is_err() {
                        return Err(SqlError::new(SqlState::DependentObjectsStillExist, "dependent privileges exist")
                            .hint("Use CASCADE to revoke them too."));
                    }
                }
                Ok(())
            };
            let mut changed = object.clone();
            if !whole.is_empty() {
                let mut acl = object.acl().map(|acl| acl.into_owned()).unwrap_or_default();
                edit(&mut acl, whole)?;
                changed = changed.with_acl(acl);
            }
            if let Object::Table(table) = &changed {
                let mut table = Table::clone(table);
                for column in &mut table.columns {
                    for (privileges, name) in on_columns.iter().filter(|(_, name)| *name == column.name) {
                        debug_assert_eq!(*name, column.name);
                        edit(&mut column.acl, *privileges)?;
                    }
                    // What is taken from the table is taken from its columns.
                    if change.revoke && !whole.is_empty() {
                        edit(&mut column.acl, whole.within(of_column))?;
                    }
                }
                changed = Object::Table(Arc::new(table));
            }
            self.change(vec![CatalogChange::Put(changed)])?;
        }
        Ok(())
    }

    /// The roles of a GRANT or REVOKE; `None` is everybody.
    fn grantees(&self, catalog: &Catalog, change: &PrivilegeChange) -> SqlResult<Vec<Option<Oid>>> {
        let grantee = |name: &RoleName| match name {
            RoleName::Public if change.option && !change.revoke => {
                Err(SqlError::new(SqlState::InvalidGrantOperation, "grant options can only be granted to roles"))
            }
            RoleName::Public => Ok(None),
            name => self.named_role(catalog, name).map(|role| Some(role.oid)),
        };
        change.grantees.iter().map(grantee).collect()
    }

    fn change_default_privileges(
        &mut self,
        roles: &[RoleName],
        schemas: &[Oid],
        kind: AclKind,
        change: &PrivilegeChange,
    ) -> SqlResult<()> {
        let catalog = self.latest_catalog();
        let grantees = self.grantees(&catalog, change)?;
        let own = [RoleName::Current];
        let privileges = match change.privileges.as_slice() {
            [] => Privileges::all_of(kind),
            listed => listed.iter().fold(Privileges::NONE, |all, (privilege, _)| all.with(*privilege)),
        };
        let schemas: Vec<Option<Oid>> = match schemas {
            [] => vec![None],
            schemas => schemas.iter().copied().map(Some).collect(),
        };
        for name in if roles.is_empty() { &own } else { roles } {
            let role = self.named_role(&catalog, name)?;
            if !self.identity(&catalog).rights.is(role.oid) {
                return Err(denied("permission denied to change default privileges"));
            }
            let mut role = Role::clone(&role);
            for schema in &schemas {
                let at = role.default_privileges.iter().position(|d| d.kind == kind && d.schema == *schema);
                let mut acl = match (at, schema) {
                    (Some(at), _) => role.default_privileges.remove(at).acl,
                    (None, None) => Acl::default_of(kind, role.oid),
                    (None, Some(_)) => Acl::default(),
                };
                for grantee in &grantees {
                    if change.revoke {
                        // Nobody can have given it on: the objects are not there yet.
                        let _ = acl.revoke(role.oid, role.oid, *grantee, privileges, change.option, true);
                    } else {
                        acl.grant(role.oid, *grantee, privileges, change.option);
                    }
                }
                let is_default = match schema {
                    None => acl == Acl::default_of(kind, role.oid),
                    Some(_) => acl.is_empty(),
                };
                if !is_default {
                    role.default_privileges.push(DefaultPrivileges { schema: *schema, kind, acl });
                }
            }
            self.put_role(role)?;
        }
        Ok(())
    }

    /// The privileges of an object that the current role makes.
    pub(super) fn acl_of_new(&self, kind: AclKind, schema: Option<Oid>) -> Option<Acl> {
        self.identity(&self.latest_catalog()).role.acl_of_new(kind, schema)
    }

    fn change_memberships(&mut self, change: &MembershipChange) -> SqlResult<()> {
        for (role, member) in change.roles.iter().flat_map(|role| change.members.iter().map(move |m| (role, m))) {
            let catalog = self.latest_catalog();
            let (role, member) = (self.named_role(&catalog, role)?, self.named_role(&catalog, member)?);
            let identity = self.identity(&catalog);
            if role.oid == DATABASE_OWNER {
                return Err(SqlError::new(
                    SqlState::InvalidGrantOperation,
                    "role \"pg_database_owner\" cannot have explicit members",
                ));
            }
            let admin = catalog.reachable_roles(identity.role.oid, |m| m.inherit || m.admin);
            let manages = identity.rights.is_superuser()
                || admin
                    .iter()
                    .filter_map(|oid| catalog.role_of(*oid))
                    .any(|holder| holder.member_of.iter().any(|m| m.role == role.oid && m.admin));
            if role.superuser && !identity.rights.is_superuser() || !manages {
                let verb = if change.revoke { "revoke" } else { "grant" };
                return Err(denied(format!("permission denied to {verb} role \"{}\"", role.name)).detail(format!(
                    "Only roles with the ADMIN option on role \"{}\" may {verb} this role.",
                    role.name
                )));
            }
            let grantor = if identity.rights.is_superuser() { BOOTSTRAP_ROLE } else { identity.role.oid };
            let known = member.member_of.iter().find(|m| m.role == role.oid && m.grantor == grantor).cloned();
            if change.revoke {
                let Some(known) = known else {
                    let text = format!(
                        "role \"{}\" has not been granted membership in role \"{}\" by role \"{}\"",
                        member.name,
                        role.name,
                        catalog.role_of(grantor).map(|r| r.name.clone()).unwrap_or_default()
                    );
                    self.notice(Severity::Warning, SqlError::new(SqlState::Warning, text));
                    continue;
                };
                let only = change.admin.is_some() || change.inherit.is_some() || change.set.is_some();
                self.change_membership(member.oid, |member_of| {
                    if !only {
                        member_of.retain(|m| *m != known);
                        return;
                    }
                    for m in member_of.iter_mut().filter(|m| **m == known) {
                        m.admin = change.admin.unwrap_or(m.admin);
                        m.inherit = change.inherit.unwrap_or(m.inherit);
                        m.set = change.set.unwrap_or(m.set);
                    }
                })?;
                continue;
            }
            if role.oid == member.oid || catalog.reachable_roles(role.oid, |_| true).contains(&member.oid) {
                return Err(SqlError::new(
                    SqlState::InvalidGrantOperation,
                    format!("role \"{}\" is a member of role \"{}\"", role.name, member.name),
                ));
            }
            let wanted = Membership {
                role: role.oid,
                grantor,
                admin: change.admin.unwrap_or(known.as_ref().is_some_and(|m| m.admin)),
                inherit: change.inherit.unwrap_or(known.as_ref().map_or(member.inherit, |m| m.inherit)),
                set: change.set.unwrap_or(known.as_ref().is_none_or(|m| m.set)),
            };
            if known.as_ref() == Some(&wanted) {
                let by = catalog.role_of(grantor).map(|r| r.name.clone()).unwrap_or_default();
                self.notify(format!(
                    "role \"{}\" has already been granted membership in role \"{}\" by role \"{by}\"",
                    member.name, role.name
                ));
                continue;
            }
            self.change_membership(member.oid, |member_of| {
                member_of.retain(|m| Some(m) != known.as_ref());
                member_of.push(wanted);
            })?;
        }
        Ok(())
    }

    async fn drop_owned(&mut self, names: &[RoleName], cascade: bool) -> SqlResult<()> {
        let catalog = self.latest_catalog();
        let owners = self.acting_roles(&catalog, names, "drop objects")?;
        let owned: Vec<Object> = catalog
            .objects()
            .filter(|object| !matches!(object, Object::Database(_) | Object::Index(_)))
            .filter(|object| object.owner(&catalog).is_some_and(|owner| owners.contains(&owner)))
            .cloned()
            .collect();
        self.drop_found(&owned, cascade).await?;
        let catalog = self.latest_catalog();
        let without = |acl: &Acl| {
            let mut acl = acl.clone();
            owners.iter().for_each(|owner| acl.forget(*owner));
            acl
        };
        let mut changes = Vec::new();
        for object in catalog.objects() {
            let mut changed = object.clone();
            if let Some(acl) = object.acl().filter(|acl| owners.iter().any(|owner| acl.mentions(*owner)))
                && object.owner(&catalog).is_none_or(|owner| !owners.contains(&owner))
            {
                changed = changed.with_acl(without(&acl));
            }
            if let Object::Table(table) = &changed
                && table.columns.iter().any(|c| owners.iter().any(|owner| c.acl.mentions(*owner)))
            {
                let mut table = Table::clone(table);
                table.columns.iter_mut().for_each(|c| c.acl = without(&c.acl));
                changed = Object::Table(Arc::new(table));
            }
            if let Object::Role(role) = &changed
                && role.default_privileges.iter().any(|d| owners.iter().any(|owner| d.acl.mentions(*owner)))
            {
                let mut role = Role::clone(role);
                role.default_privileges.iter_mut().for_each(|d| d.acl = without(&d.acl));
                // What a role would grant on its own objects goes with these.
                role.default_privileges.retain(|d| !d.acl.is_empty() && !owners.contains(&role.oid));
                changed = Object::Role(Arc::new(role));
            }
            if changed != *object {
                changes.push(CatalogChange::Put(changed));
            }
        }
        self.change(changes)
    }

    fn reassign_owned(&mut self, names: &[RoleName], to: &RoleName) -> SqlResult<()> {
        let catalog = self.latest_catalog();
        let owners = self.acting_roles(&catalog, names, "reassign objects")?;
        let identity = self.identity(&catalog);
        self.check_new_owner(&catalog, &identity, to, None)?;
        let to = self.named_role(&catalog, to)?.oid;
        let changes = catalog
            .objects()
            .filter(|object| object.owner(&catalog).is_some_and(|owner| owners.contains(&owner)))
            .map(|object| CatalogChange::Put(object.with_owner(to)))
            .collect();
        self.change(changes)
    }

    /// The roles, all of which the current one can act as.
    fn acting_roles(&self, catalog: &Catalog, names: &[RoleName], what: &str) -> SqlResult<Vec<Oid>> {
        let identity = self.identity(catalog);
        let mut found = Vec::with_capacity(names.len());
        for name in names {
            let role = self.named_role(catalog, name)?;
            if role.oid == BOOTSTRAP_ROLE {
                return Err(SqlError::new(
                    SqlState::DependentObjectsStillExist,
                    format!(
                        "cannot {what} owned by role {} because they are required by the database system",
                        role.name
                    ),
                ));
            }
            if !identity.rights.is(role.oid) {
                return Err(denied(format!("permission denied to {what}"))
                    .detail(format!("Only roles with privileges of role \"{}\" may {what} owned by it.", role.name)));
            }
            found.push(role.oid);
        }
        Ok(found)
    }

    /// `42501` unless the current role may change `target`.
    pub(crate) fn require_manager(&self, catalog: &Catalog, target: &Role, verb: &str) -> SqlResult<()> {
        let role = &self.identity(catalog).role;
        if role.superuser {
            return Ok(());
        }
        let refused = || denied(format!("permission denied to {verb} role"));
        if target.superuser {
            return Err(refused().detail(format!(
                "Only roles with the SUPERUSER attribute may {verb} roles with the SUPERUSER attribute."
            )));
        }
        let admin = role.member_of.iter().any(|m| m.role == target.oid && m.admin);
        if !role.create_role || !admin {
            return Err(refused().detail(format!(
                "Only roles with the CREATEROLE attribute and the ADMIN option on role \"{}\" may {verb} this role.",
                target.name
            )));
        }
        Ok(())
    }

    pub(crate) fn change_membership(&mut self, role: Oid, edit: impl FnOnce(&mut Vec<Membership>)) -> SqlResult<()> {
        let Some(role) = self.latest_catalog().role_of(role).cloned() else { return Ok(()) };
        let mut role = Role::clone(&role);
        edit(&mut role.member_of);
        self.put_role(role)
    }

    pub(crate) fn put_role(&mut self, role: Role) -> SqlResult<()> {
        self.change(vec![CatalogChange::Put(Object::Role(Arc::new(role)))])
    }
}

fn roles(catalog: &Catalog) -> impl Iterator<Item = &Arc<Role>> {
    catalog.objects().filter_map(|object| match object {
        Object::Role(role) => Some(role),
        _ => None,
    })
}

/// An attribute is given only by who has it.
fn check_attributes(by: &Role, options: &RoleOptions, verb: &str) -> SqlResult<()> {
    if by.superuser {
        return Ok(());
    }
    for (wanted, has, name) in [
        (options.superuser, false, "SUPERUSER"),
        (options.create_database, by.create_database, "CREATEDB"),
        (options.replication, by.replication, "REPLICATION"),
        (options.bypass_row_security, by.bypass_row_security, "BYPASSRLS"),
    ] {
        if !has && (wanted == Some(true) || verb == "alter" && wanted.is_some()) {
            let text = format!("permission denied to {verb} role");
            let detail = match verb {
                "create" => format!("Only roles with the {name} attribute may create roles with the {name} attribute."),
                _ => format!("Only roles with the {name} attribute may change the {name} attribute."),
            };
            return Err(denied(text).detail(detail));
        }
    }
    Ok(())
}

fn apply(role: &mut Role, options: &RoleOptions) -> SqlResult<()> {
    for (place, wanted) in [
        (&mut role.superuser, options.superuser),
        (&mut role.create_database, options.create_database),
        (&mut role.create_role, options.create_role),
        (&mut role.inherit, options.inherit),
        (&mut role.login, options.login),
        (&mut role.replication, options.replication),
        (&mut role.bypass_row_security, options.bypass_row_security),
    ] {
        *place = wanted.unwrap_or(*place);
    }
    if let Some(limit) = options.connections_max {
        role.connections_max = limit;
    }
    if let Some(until) = options.valid_until {
        role.valid_until = until;
    }
    if let Some(password) = &options.password {
        // Only the verifier reaches the log.
        let verifier = password.as_deref().map(ScramVerifier::from_password_or_verifier).transpose();
        role.password = verifier.map_err(SqlError::internal)?.map(|verifier| verifier.to_string());
        if let Some(user) = &mut role.redis {
            user.follow_role_password();
        }
    }
    Ok(())
}

pub(crate) fn refuse_predefined(role: &Role, verb: &str) -> SqlResult<()> {
    if role.oid.0 >= FIRST_USER_OID {
        return Ok(());
    }
    let text = match verb {
        "drop" => format!("cannot drop role {} because it is required by the database system", role.name),
        _ => format!("role name \"{}\" is reserved", role.name),
    };
    let state = if verb == "drop" { SqlState::DependentObjectsStillExist } else { SqlState::ReservedName };
    Err(SqlError::new(state, text))
}

/// `2BP01` while the role owns something or stands in privileges.
fn refuse_dependents(catalog: &Catalog, role: &Role) -> SqlResult<()> {
    let mut lines = Vec::new();
    for object in catalog.objects() {
        if !matches!(object, Object::Index(_)) && object.owner(catalog) == Some(role.oid) {
            lines.push(format!("owner of {} {}", noun(object), described(catalog, object)));
        } else if object.acl().is_some_and(|acl| acl.mentions(role.oid)) {
            lines.push(format!("privileges for {} {}", noun(object), described(catalog, object)));
        }
        if let Object::Role(other) = object
            && other.oid != role.oid
            && other.default_privileges.iter().any(|d| d.acl.mentions(role.oid))
        {
            lines.push(format!("privileges for default privileges on new objects belonging to role {}", other.name));
        }
        if let Object::Table(table) = object {
            let columns = table.columns.iter().filter(|column| column.acl.mentions(role.oid));
            lines.extend(columns.map(|c| format!("privileges for column {} of table {}", c.name, table.name)));
        }
    }
    if lines.is_empty() {
        return Ok(());
    }
    Err(SqlError::new(
        SqlState::DependentObjectsStillExist,
        format!("role \"{}\" cannot be dropped because some objects depend on it", role.name),
    )
    .detail(lines.join("\n")))
}

/// The name with its schema, unless that is `public`, which everybody sees.
fn described(catalog: &Catalog, object: &Object) -> String {
    match object.schema().and_then(|oid| catalog.object(oid)) {
        Some(schema) if schema.name() != "public" => format!("{}.{}", schema.name(), object.name()),
        _ => object.name().to_owned(),
    }
}

/// In whose name a role grants, and which of the wanted privileges it may: the owner's where it can, else that of the
/// one of its roles that may give most.
fn best_grantor(rights: &Rights, object: &Object, owner: Oid, wanted: Privileges) -> (Oid, Privileges) {
    if rights.is(owner) {
        return (owner, wanted);
    }
    let acl = object.acl();
    let of_columns = |role: Oid| match object {
        Object::Table(table) => {
            table.columns.iter().fold(Privileges::NONE, |all, c| all.with(c.acl.grantable(|oid| oid == role)))
        }
        _ => Privileges::NONE,
    };
    rights
        .roles()
        .map(|role| {
            let may = acl.as_ref().map(|acl| acl.grantable(|oid| oid == role)).unwrap_or_default();
            (role, may.with(of_columns(role)).within(wanted))
        })
        .max_by_key(|(_, may)| may.names().count())
        .unwrap_or((owner, Privileges::NONE))
}
