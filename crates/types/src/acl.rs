//! Privileges on objects, and who holds them.
//!
//! An [`Acl`] is a list of grants, as in PostgreSQL: each says what `grantor` gave to `grantee`, and which of it may be
//! given on. An object without an ACL of its own has its kind's default ([`Acl::default_of`]).

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ids::Oid;

/// A set of privileges.
#[derive(Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Privileges(u16);

/// Letter in an ACL's text, the privilege, its name. In the order in which PostgreSQL prints them.
const ALL: &[(char, Privileges, &str)] = &[
    ('a', Privileges::INSERT, "INSERT"),
    ('r', Privileges::SELECT, "SELECT"),
    ('w', Privileges::UPDATE, "UPDATE"),
    ('d', Privileges::DELETE, "DELETE"),
    ('D', Privileges::TRUNCATE, "TRUNCATE"),
    ('x', Privileges::REFERENCES, "REFERENCES"),
    ('t', Privileges::TRIGGER, "TRIGGER"),
    ('X', Privileges::EXECUTE, "EXECUTE"),
    ('U', Privileges::USAGE, "USAGE"),
    ('C', Privileges::CREATE, "CREATE"),
    ('T', Privileges::TEMPORARY, "TEMPORARY"),
    ('c', Privileges::CONNECT, "CONNECT"),
];

impl Privileges {
    /// None.
    pub const NONE: Self = Self(0);
    /// Read rows; of a sequence: `currval`.
    pub const SELECT: Self = Self(1);
    /// Add rows.
    pub const INSERT: Self = Self(1 << 1);
    /// Change rows; of a sequence: `nextval` and `setval`.
    pub const UPDATE: Self = Self(1 << 2);
    /// Remove rows.
    pub const DELETE: Self = Self(1 << 3);
    /// Remove all rows.
    pub const TRUNCATE: Self = Self(1 << 4);
    /// Point to it with a foreign key.
    pub const REFERENCES: Self = Self(1 << 5);
    /// Make triggers on it; there are none.
    pub const TRIGGER: Self = Self(1 << 6);
    /// Look into a schema; of a sequence: `currval` and `nextval`.
    pub const USAGE: Self = Self(1 << 7);
    /// Make objects in it.
    pub const CREATE: Self = Self(1 << 8);
    /// Open a session.
    pub const CONNECT: Self = Self(1 << 9);
    /// Make temporary tables.
    pub const TEMPORARY: Self = Self(1 << 10);
    /// Call a function.
    pub const EXECUTE: Self = Self(1 << 11);

    /// All that an object of this kind knows.
    #[must_use]
    pub const fn all_of(kind: AclKind) -> Self {
        match kind {
            AclKind::Table => Self((1 << 7) - 1),
            AclKind::Column => Self(Self::SELECT.0 | Self::INSERT.0 | Self::UPDATE.0 | Self::REFERENCES.0),
            AclKind::Sequence => Self(Self::SELECT.0 | Self::UPDATE.0 | Self::USAGE.0),
            AclKind::Schema => Self(Self::USAGE.0 | Self::CREATE.0),
            AclKind::Database => Self(Self::CREATE.0 | Self::CONNECT.0 | Self::TEMPORARY.0),
            AclKind::Function => Self::EXECUTE,
        }
    }

    /// A privilege by its name, in any case.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        if name.eq_ignore_ascii_case("temp") {
            return Some(Self::TEMPORARY);
        }
        ALL.iter().find(|(_, _, known)| known.eq_ignore_ascii_case(name)).map(|(_, privilege, _)| *privilege)
    }

    /// Each privilege in it by its name, in the order in which PostgreSQL prints them.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        ALL.iter().filter(move |(_, privilege, _)| self.contains(*privilege)).map(|(_, _, name)| *name)
    }

    /// Each privilege in it.
    pub fn each(self) -> impl Iterator<Item = Self> {
        ALL.iter().map(|(_, privilege, _)| *privilege).filter(move |privilege| self.contains(*privilege))
    }

    /// Whether all of `other` are in it.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Those of both.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Those that are not in `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Those that are in `other` too.
    #[must_use]
    pub const fn within(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl fmt::Debug for Privileges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}

/// What kind of object an ACL belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AclKind {
    /// Tables and views.
    Table,
    /// A column of one.
    Column,
    /// A sequence.
    Sequence,
    /// A schema.
    Schema,
    /// A database.
    Database,
    /// A function.
    Function,
}

/// What one role gave to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AclItem {
    /// Who holds it; `None` is everybody (PUBLIC).
    pub grantee: Option<Oid>,
    /// Who gave it.
    pub grantor: Oid,
    /// What may be done.
    pub privileges: Privileges,
    /// Which of it may be given on.
    pub grantable: Privileges,
}

/// Who may do what with an object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Acl(Vec<AclItem>);

/// A REVOKE without CASCADE whose privileges others were given on by the grantee.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DependentPrivileges;

impl Acl {
    /// What an object of this kind allows while nothing was granted or revoked.
    #[must_use]
    pub fn default_of(kind: AclKind, owner: Oid) -> Self {
        let all = Privileges::all_of(kind);
        let own = AclItem { grantee: Some(owner), grantor: owner, privileges: all, grantable: Privileges::NONE };
        match kind {
            AclKind::Column => Self::default(),
            AclKind::Table | AclKind::Sequence | AclKind::Schema => Self(vec![own]),
            AclKind::Database | AclKind::Function => {
                let public = all.within(Privileges::CONNECT.with(Privileges::TEMPORARY).with(Privileges::EXECUTE));
                Self(vec![
                    AclItem { grantee: None, grantor: owner, privileges: public, grantable: Privileges::NONE },
                    own,
                ])
            }
        }
    }

    /// Its grants.
    #[must_use]
    pub fn items(&self) -> &[AclItem] {
        &self.0
    }

    /// Whether it grants nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What those hold for whom `is` is true, everybody's included.
    #[must_use]
    pub fn held(&self, is: impl Fn(Oid) -> bool) -> Privileges {
        let items = self.0.iter().filter(|item| item.grantee.is_none_or(&is));
        items.fold(Privileges::NONE, |all, item| all.with(item.privileges))
    }

    /// What those may give on for whom `is` is true.
    #[must_use]
    pub fn grantable(&self, is: impl Fn(Oid) -> bool) -> Privileges {
        let items = self.0.iter().filter(|item| item.grantee.is_some_and(&is));
        items.fold(Privileges::NONE, |all, item| all.with(item.grantable))
    }

    /// GRANT
    pub fn grant(&mut self, grantor: Oid, grantee: Option<Oid>, privileges: Privileges, grantable: bool) {
        let grantable = if grantable { privileges } else { Privileges::NONE };
        match self.0.iter_mut().find(|item| item.grantee == grantee && item.grantor == grantor) {
            Some(item) => {
                item.privileges = item.privileges.with(privileges);
                item.grantable = item.grantable.with(grantable);
            }
            None => self.0.push(AclItem { grantee, grantor, privileges, grantable }),
        }
    }

    /// REVOKE of what `grantor` gave; `option_only`: only the right to give it on. `owner` may always give on.
    ///
    /// # Errors
    /// Where others hold it from the grantee and `cascade` is not said.
    pub fn revoke(
        &mut self,
        owner: Oid,
        grantor: Oid,
        grantee: Option<Oid>,
        privileges: Privileges,
        option_only: bool,
        cascade: bool,
    ) -> Result<(), DependentPrivileges> {
        let found = self.0.iter_mut().find(|item| item.grantee == grantee && item.grantor == grantor);
        let Some(item) = found else { return Ok(()) };
        let lost = item.grantable.within(privileges);
        item.grantable = item.grantable.without(privileges);
        if !option_only {
            item.privileges = item.privileges.without(privileges);
        }
        self.0.retain(|item| !item.privileges.is_empty());
        let Some(grantee) = grantee.filter(|grantee| *grantee != owner) else { return Ok(()) };
        let lost = lost.without(self.grantable(|oid| oid == grantee));
        let given: Vec<AclItem> = self
            .0
            .iter()
            .filter(|item| item.grantor == grantee && !item.privileges.within(lost).is_empty())
            .cloned()
            .collect();
        if !given.is_empty() && !cascade {
            return Err(DependentPrivileges);
        }
        given.into_iter().try_for_each(|item| {
            self.revoke(owner, grantee, item.grantee, item.privileges.within(lost), false, cascade)
        })
    }

    /// Whether a role gives or holds something in it.
    #[must_use]
    pub fn mentions(&self, role: Oid) -> bool {
        self.0.iter().any(|item| item.grantor == role || item.grantee == Some(role))
    }

    /// Takes a role out: what it holds, and what it gave.
    pub fn forget(&mut self, role: Oid) {
        self.0.retain(|item| item.grantor != role && item.grantee != Some(role));
    }

    /// The owner's part goes to the new owner, and so does what the owner gave.
    pub fn change_owner(&mut self, from: Oid, to: Oid) {
        for item in std::mem::take(&mut self.0) {
            let grantee = if item.grantee == Some(from) { Some(to) } else { item.grantee };
            let grantor = if item.grantor == from { to } else { item.grantor };
            self.grant(grantor, grantee, item.privileges, false);
            if let Some(same) = self.0.iter_mut().find(|known| known.grantee == grantee && known.grantor == grantor) {
                same.grantable = same.grantable.with(item.grantable);
            }
        }
    }

    /// Its grants as PostgreSQL writes them: `grantee=privileges/grantor`, `*` behind what may be given on.
    #[must_use]
    pub fn texts(&self, name: impl Fn(Oid) -> String) -> Vec<String> {
        let text = |item: &AclItem| {
            let mut text = item.grantee.map(&name).unwrap_or_default();
            text.push('=');
            for (letter, privilege, _) in ALL.iter().filter(|(_, privilege, _)| item.privileges.contains(*privilege)) {
                text.push(*letter);
                if item.grantable.contains(*privilege) {
                    text.push('*');
                }
            }
            text.push('/');
            text.push_str(&name(item.grantor));
            text
        };
        self.0.iter().map(text).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWNER: Oid = Oid(10);
    const ANN: Oid = Oid(20);
    const BOB: Oid = Oid(30);

    fn names(oid: Oid) -> String {
        match oid {
            OWNER => "owner".to_owned(),
            ANN => "ann".to_owned(),
            _ => "bob".to_owned(),
        }
    }

    #[test]
    fn grants_are_written_as_postgresql_writes_them() {
        let mut acl = Acl::default_of(AclKind::Table, OWNER);
        acl.grant(OWNER, Some(ANN), Privileges::SELECT.with(Privileges::UPDATE), true);
        acl.grant(OWNER, None, Privileges::SELECT, false);
        acl.grant(OWNER, Some(ANN), Privileges::INSERT, false);
        assert_eq!(acl.texts(names), ["owner=arwdDxt/owner", "ann=ar*w*/owner", "=r/owner"]);
        assert!(acl.held(|oid| oid == BOB).contains(Privileges::SELECT), "everybody");
        assert!(!acl.held(|oid| oid == BOB).contains(Privileges::UPDATE));
    }

    #[test]
    fn what_was_given_on_goes_with_its_source() {
        let mut acl = Acl::default_of(AclKind::Table, OWNER);
        acl.grant(OWNER, Some(ANN), Privileges::SELECT, true);
        acl.grant(ANN, Some(BOB), Privileges::SELECT, false);
        let before = acl.clone();
        assert_eq!(
            acl.revoke(OWNER, OWNER, Some(ANN), Privileges::SELECT, false, false),
            Err(DependentPrivileges),
            "bob has it from ann"
        );
        acl = before;
        assert_eq!(acl.revoke(OWNER, OWNER, Some(ANN), Privileges::SELECT, true, true), Ok(()));
        assert_eq!(acl.texts(names), ["owner=arwdDxt/owner", "ann=r/owner"], "GRANT OPTION FOR leaves the privilege");
    }

    #[test]
    fn a_new_owner_takes_the_old_ones_place() {
        let mut acl = Acl::default_of(AclKind::Schema, OWNER);
        acl.grant(OWNER, Some(BOB), Privileges::USAGE, true);
        acl.change_owner(OWNER, ANN);
        assert_eq!(acl.texts(names), ["ann=UC/ann", "bob=U*/ann"]);
        acl.forget(BOB);
        assert_eq!(acl.texts(names), ["ann=UC/ann"]);
    }
}
