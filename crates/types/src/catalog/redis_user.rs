//! What a role may do over the Redis door.
//!
//! Rules are kept as the words of Redis's ACL: what commands there are, and in which categories, is the door's to know.

use serde::{Deserialize, Serialize};

use super::{BOOTSTRAP_ROLE, Catalog, FIRST_USER_OID, READ_ALL_DATA, Role, WRITE_ALL_DATA};

/// The Redis part of a role, as ACL SETUSER made it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RedisUser {
    /// May prove itself over Redis, if the role may log in at all.
    pub on: bool,
    /// Any password is right, where the server does not ask who connects.
    pub nopass: bool,
    /// RESTORE of this user need not be looked through.
    pub skip_sanitize: bool,
    /// The role's own password counts here too: nobody has given another one over Redis.
    pub role_password: bool,
    /// SHA-256 of its passwords here, in hexadecimal digits.
    pub passwords: Vec<String>,
    /// The rules of each selector, with spaces between them; the first are those outside of parentheses.
    pub selectors: Vec<String>,
}

impl RedisUser {
    /// A user with one selector of these rules and the role's own password.
    #[must_use]
    pub fn with_rules(rules: &str) -> Self {
        Self {
            on: true,
            nopass: false,
            skip_sanitize: false,
            role_password: true,
            passwords: Vec::new(),
            selectors: vec![rules.to_owned()],
        }
    }

    /// The role has got a new password, or has none any more: those from here have ended.
    pub fn follow_role_password(&mut self) {
        self.passwords.clear();
        self.nopass = false;
        self.role_password = true;
    }
}

impl Role {
    /// Whether Redis knows it as a user: it may log in, or ACL SETUSER has made it one.
    #[must_use]
    pub fn is_redis_user(&self) -> bool {
        let predefined = self.oid.0 < FIRST_USER_OID && self.oid != BOOTSTRAP_ROLE;
        !predefined && (self.login || self.redis.is_some())
    }
}

impl Catalog {
    /// What a role may do over Redis: what ACL SETUSER has said, or else what follows from its rights in SQL. A superuser
    /// may do everything; who reads or writes all data may do so with keys; others may do nothing.
    #[must_use]
    pub fn redis_user(&self, role: &Role) -> RedisUser {
        if let Some(user) = &role.redis {
            return user.clone();
        }
        if role.superuser {
            return RedisUser::with_rules("~* &* +@all");
        }
        let roles = self.reachable_roles(role.oid, |membership| membership.inherit);
        RedisUser::with_rules(match (roles.contains(&READ_ALL_DATA), roles.contains(&WRITE_ALL_DATA)) {
            (true, true) => "~* resetchannels -@all +@connection +@read +@write -@admin -@dangerous",
            (true, false) => "%R~* resetchannels -@all +@connection +@read -@admin -@dangerous",
            (false, true) => "%W~* resetchannels -@all +@connection +@write -@admin -@dangerous",
            (false, false) => "resetchannels -@all",
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::{CatalogChange, Membership, Object};
    use super::*;
    use crate::ids::{LogIndex, Oid};

    fn with(role: Role) -> Catalog {
        let change = CatalogChange::Put(Object::Role(Arc::new(role)));
        Catalog::bootstrap("postgres").with_changes(&[change], LogIndex(1))
    }

    #[test]
    fn rights_follow_from_those_in_sql() {
        let check = |superuser: bool, member_of: &[Oid], want: &str| {
            let member = |role: &Oid| Membership {
                role: *role,
                grantor: BOOTSTRAP_ROLE,
                admin: false,
                inherit: true,
                set: true,
            };
            let member_of = member_of.iter().map(member).collect();
            let role = Role { superuser, member_of, ..Role::new(Oid(20_000), "x") };
            assert_eq!(with(role.clone()).redis_user(&role).selectors, [want]);
        };
        check(true, &[], "~* &* +@all");
        check(false, &[], "resetchannels -@all");
        check(false, &[READ_ALL_DATA], "%R~* resetchannels -@all +@connection +@read -@admin -@dangerous");
        let both = "~* resetchannels -@all +@connection +@read +@write -@admin -@dangerous";
        check(false, &[READ_ALL_DATA, WRITE_ALL_DATA], both);
    }

    #[test]
    fn what_was_said_comes_before_what_follows() {
        let said = RedisUser::with_rules("~a -@all +get");
        let role = Role { superuser: true, redis: Some(said.clone()), ..Role::new(Oid(20_000), "x") };
        assert_eq!(with(role.clone()).redis_user(&role), said);
    }

    #[test]
    fn users_are_who_may_log_in_and_whom_redis_made() {
        let catalog = Catalog::bootstrap("postgres");
        let is_user = |role: &Role| role.is_redis_user();
        assert!(catalog.role("postgres").is_some_and(|role| is_user(role)));
        assert!(catalog.role("pg_read_all_data").is_some_and(|role| !is_user(role)));
        let role = Role::new(Oid(20_000), "x");
        assert!(!is_user(&role) && is_user(&Role { login: true, ..role.clone() }));
        assert!(is_user(&Role { redis: Some(RedisUser::with_rules("-@all")), ..role }));
    }
}
