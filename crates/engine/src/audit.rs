//! What an auditor wants to know of: definitions and roles that change, and what was denied. Log lines with the target `audit`, one per
//! event, never with a password or a key.
//!
//! A line says what a statement has done in its transaction; who reads it sees in the line of the same session whether that was rolled back.

use perigee_plan::role::{RoleName, RoleOptions};
use perigee_plan::{Ddl, Prepared, RoleChange};
use perigee_types::{SqlError, SqlState};

use crate::session::Session;

/// Bytes of a statement's text.
const TEXT_BYTES_MAX: usize = 1_024;

impl Session {
    /// A definition or a role has changed.
    pub(crate) fn audit_ddl(&self, prepared: &Prepared, ddl: &Ddl) {
        let (event, what) = match ddl {
            Ddl::Role(change) => ("role", described(change, prepared)),
            _ => ("ddl", begin_of(&prepared.text)),
        };
        tracing::info!(
            target: "audit",
            event,
            user = self.login_name,
            role = self.identity(&self.latest_catalog()).role.name,
            database = self.database,
            peer = ?self.entry.peer,
            session = self.entry.process_id,
            "{what}"
        );
    }

    /// A statement was refused for who has sent it.
    pub(crate) fn audit_error(&self, error: &SqlError) {
        if error.state() != SqlState::InsufficientPrivilege {
            return;
        }
        tracing::warn!(
            target: "audit",
            event = "denied",
            user = self.login_name,
            database = self.database,
            peer = ?self.entry.peer,
            session = self.entry.process_id,
            "{}",
            begin_of(error.message())
        );
    }
}

/// A change of roles in words, of which none is a secret.
fn described(change: &RoleChange, prepared: &Prepared) -> String {
    let name = |role: &RoleName| match role {
        RoleName::Named(name) => format!("{name:?}"),
        RoleName::Current => "CURRENT_ROLE".to_owned(),
        RoleName::Session => "SESSION_USER".to_owned(),
        RoleName::Public => "PUBLIC".to_owned(),
    };
    match change {
        RoleChange::Create { name, options } => format!("CREATE ROLE {name:?}{}", changed(options)),
        RoleChange::Alter { role, options } => format!("ALTER ROLE {}{}", name(role), changed(options)),
        RoleChange::CreateApiKey { role, name, expires, read_only } => {
            let scope = if *read_only { "read" } else { "all" };
            let ends = if expires.is_some() { "which expires" } else { "without an end" };
            format!("API key {name:?} made for {role:?}, scope {scope}, {ends}")
        }
        RoleChange::RevokeApiKey(id) => format!("API key {id:?} revoked"),
        // The value of a setting may be one.
        RoleChange::Settings { role, name: setting, .. } => {
            format!("ALTER ROLE {} SET {}", name(role), setting.as_deref().unwrap_or("ALL"))
        }
        RoleChange::Rename { .. }
        | RoleChange::Drop { .. }
        | RoleChange::Privileges(_)
        | RoleChange::DefaultPrivileges { .. }
        | RoleChange::Membership(_)
        | RoleChange::DropOwned { .. }
        | RoleChange::ReassignOwned { .. } => begin_of(&prepared.text),
    }
}

/// What options of a role are set.
fn changed(options: &RoleOptions) -> String {
    let mut text = String::new();
    for (name, value) in [
        ("SUPERUSER", options.superuser),
        ("CREATEDB", options.create_database),
        ("CREATEROLE", options.create_role),
        ("INHERIT", options.inherit),
        ("LOGIN", options.login),
        ("REPLICATION", options.replication),
        ("BYPASSRLS", options.bypass_row_security),
    ] {
        match value {
            Some(true) => text.extend([" ", name]),
            Some(false) => text.extend([" NO", name]),
            None => {}
        }
    }
    for (name, is_set) in [
        ("PASSWORD", options.password.is_some()),
        ("VALID UNTIL", options.valid_until.is_some()),
        ("CONNECTION LIMIT", options.connections_max.is_some()),
        ("IN ROLE", !options.in_roles.is_empty()),
        ("ROLE", !options.members.is_empty()),
        ("ADMIN", !options.admins.is_empty()),
    ] {
        if is_set {
            text.extend([" ", name]);
        }
    }
    text
}

/// The begin of a text, as a part of one line: what stands behind a line break would look like an event of its own.
/// The beginning of a text, on one line.
pub(crate) fn begin_of(text: &str) -> String {
    let end = (0..=TEXT_BYTES_MAX.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    text[..end.unwrap_or_default()].chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_named_and_secrets_are_not_said() {
        let options = RoleOptions {
            superuser: Some(true),
            login: Some(false),
            password: Some(Some("secret".to_owned())),
            ..RoleOptions::default()
        };
        assert_eq!(changed(&options), " SUPERUSER NOLOGIN PASSWORD");
        assert_eq!(begin_of("a\nb\x1b"), "a b ");
        assert_eq!(begin_of(&"ä".repeat(TEXT_BYTES_MAX)).len(), TEXT_BYTES_MAX);
    }
}
