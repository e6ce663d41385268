//! SET, SHOW and RESET in a session: what a transaction undoes, and what clients are told of.

use perigee_plan::command::TransactionModes;
use perigee_types::{SqlError, SqlResult, SqlState};

use crate::identity::{ROLE, SESSION_AUTHORIZATION};
use crate::session::{Session, SettingsBehind};
use crate::session_transaction::{UNCOMMITTED, isolation_name, isolation_of};

impl Session {
    /// SET, by name. `local` ends with the transaction.
    pub(crate) fn set(&mut self, name: &str, value: Option<&str>, local: bool) -> SqlResult<()> {
        if name.eq_ignore_ascii_case("transaction_isolation") || name.eq_ignore_ascii_case("transaction_read_only") {
            return self.set_transaction_setting(name, value);
        }
        check_may_set(name, self.identity(&self.planning_catalog()).role.superuser)?;
        if let Some(text) = value.and_then(|value| crate::settings::truncation(name, value)) {
            self.notify(text);
        }
        let identity = [ROLE, SESSION_AUTHORIZATION].into_iter().find(|known| name.eq_ignore_ascii_case(known));
        if let Some(name) = identity {
            self.check_identity_setting(name, value)?;
        }
        let in_block = self.transaction.as_ref().is_some_and(|t| t.explicit);
        if local && !in_block {
            self.warn(SqlState::NoActiveSqlTransaction, "SET LOCAL can only be used in transaction blocks");
            // It would end with the statement.
            return self.settings.clone().set(name, value).map(|_| ());
        }
        if in_block && self.settings_behind.is_none() {
            let now = self.settings.clone();
            self.settings_behind = Some(SettingsBehind { rollback: now.clone(), commit: now });
        }
        let reported = self.settings.set(name, value)?;
        self.changes.settings |= !local;
        if !local && let Some(behind) = &mut self.settings_behind {
            behind.commit.set(name, value)?;
        }
        if identity == Some(SESSION_AUTHORIZATION) {
            // Another user begins without SET ROLE.
            self.settings.set(ROLE, None)?;
            if !local && let Some(behind) = &mut self.settings_behind {
                behind.commit.set(ROLE, None)?;
            }
        }
        if identity.is_some() {
            for name in [SESSION_AUTHORIZATION, "is_superuser"] {
                self.parameter_changes.push((name.to_owned(), self.show(name)?));
            }
        }
        if let Some(name) = reported {
            let value = self.settings.show(name)?;
            if name == "application_name" {
                self.entry.activity.lock().application_name.clone_from(&value);
            }
            self.parameter_changes.push((name.to_owned(), value));
        }
        Ok(())
    }

    /// What `set_config` has asked for in the statement before takes effect, and what `pg_notify` has sent waits for
    /// COMMIT.
    pub(crate) fn adopt_settings(&mut self) -> SqlResult<()> {
        for (channel, payload) in self.services.take_notifications() {
            let process_id = self.entry.process_id;
            self.transaction()?.notifications.add(&channel, &payload, process_id)?;
        }
        let in_block = self.transaction.as_ref().is_some_and(|t| t.explicit);
        for (name, value, local) in self.services.take_settings() {
            // Outside of a block a local setting ended with its statement.
            if in_block || !local {
                self.set(&name, Some(&value), local)?;
            }
        }
        Ok(())
    }

    fn set_transaction_setting(&mut self, name: &str, value: Option<&str>) -> SqlResult<()> {
        let mut modes = TransactionModes::default();
        match value {
            Some(value) if name.eq_ignore_ascii_case("transaction_isolation") => {
                self.settings.clone().set(name, Some(value))?;
                modes.isolation = Some(isolation_of(&value.to_ascii_lowercase()));
                modes.uncommitted = value.eq_ignore_ascii_case(UNCOMMITTED);
            }
            Some(value) => modes.read_only = crate::settings::parse_bool(value),
            None => {}
        }
        self.check_mode(modes.read_only.unwrap_or(true))?;
        if let Some(transaction) = self.transaction.as_mut().filter(|t| t.explicit) {
            if let Some(isolation) = modes.isolation {
                if transaction.has_run && isolation != transaction.isolation {
                    return Err(SqlError::new(
                        SqlState::ActiveSqlTransaction,
                        "SET TRANSACTION ISOLATION LEVEL must be called before any query",
                    ));
                }
                (transaction.isolation, transaction.uncommitted) = (isolation, modes.uncommitted);
            }
            if let Some(read_only) = modes.read_only {
                transaction.read_only = read_only;
            }
        }
        Ok(())
    }

    /// SHOW, by name.
    pub(crate) fn show(&self, name: &str) -> SqlResult<String> {
        if name.eq_ignore_ascii_case("transaction_isolation") {
            let default = self.settings.get("default_transaction_isolation").unwrap_or_default();
            return Ok(match &self.transaction {
                Some(transaction) => isolation_name(transaction.isolation, transaction.uncommitted).to_owned(),
                None => isolation_name(isolation_of(default), default == UNCOMMITTED).to_owned(),
            });
        }
        if name.eq_ignore_ascii_case("transaction_read_only") {
            let read_only = self
                .transaction
                .as_ref()
                .map(|t| t.read_only)
                .unwrap_or(self.settings.is_on("default_transaction_read_only"));
            return Ok(if read_only { "on" } else { "off" }.to_owned());
        }
        if name.eq_ignore_ascii_case("transaction_deferrable") {
            let default = || self.settings.is_on("default_transaction_deferrable");
            let deferrable = self.transaction.as_ref().map_or_else(default, |t| t.deferrable);
            return Ok(if deferrable { "on" } else { "off" }.to_owned());
        }
        if name.eq_ignore_ascii_case("session_authorization") {
            return Ok(self.identity(&self.planning_catalog()).session_user.name.clone());
        }
        if name.eq_ignore_ascii_case("is_superuser") {
            let superuser = self.identity(&self.planning_catalog()).role.superuser;
            return Ok(if superuser { "on" } else { "off" }.to_owned());
        }
        self.settings.show(name)
    }

    pub(crate) fn reset_all(&mut self) -> SqlResult<()> {
        self.changes.settings = true;
        for name in self.settings.reset_all() {
            let value = self.settings.show(name)?;
            self.parameter_changes.push((name.to_owned(), value));
        }
        if let Some(behind) = &mut self.settings_behind {
            behind.commit.reset_all();
        }
        Ok(())
    }

    pub(crate) fn end_settings(&mut self, committed: bool) {
        let Some(behind) = self.settings_behind.take() else { return };
        let before = std::mem::replace(&mut self.settings, if committed { behind.commit } else { behind.rollback });
        for definition in crate::settings::DEFINITIONS.iter().filter(|d| d.reported) {
            if before.get(definition.name) != self.settings.get(definition.name)
                && let Ok(value) = self.settings.show(definition.name)
            {
                self.parameter_changes.push((definition.name.to_owned(), value));
            }
        }
        for name in [SESSION_AUTHORIZATION, "is_superuser"] {
            if let Ok(value) = self.show(name) {
                self.parameter_changes.push((name.to_owned(), value));
            }
        }
    }
}

/// What a role without the attribute must not change: whoever reads the node's log would not see its statements.
pub(crate) fn check_may_set(name: &str, superuser: bool) -> SqlResult<()> {
    if superuser || !name.eq_ignore_ascii_case(crate::slow::SETTING) {
        return Ok(());
    }
    let message = format!("permission denied to set parameter \"{}\"", crate::slow::SETTING);
    Err(SqlError::new(SqlState::InsufficientPrivilege, message))
}
