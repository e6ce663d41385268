//! What a session tells its client of itself: settings, messages, where it stands, how values are written.

use std::sync::Arc;
use std::time::Duration;

use perigee_query::pg_catalog::ObjectNames;
use perigee_types::text::OutputSettings;
use perigee_types::{SqlError, SqlState};
use tokio_util::sync::CancellationToken;

use crate::api::{Notice, Severity, TransactionStatus};
use crate::identity::SESSION_AUTHORIZATION;
use crate::notify::Inbox;
use crate::session::Session;

impl Session {
    /// What clients are told when the session begins.
    #[must_use]
    pub fn parameters(&self) -> Vec<(String, String)> {
        let mut all: Vec<(String, String)> = crate::settings::DEFINITIONS
            .iter()
            .filter(|d| d.reported || d.name == "is_superuser")
            .chain(crate::settings::definition(SESSION_AUTHORIZATION))
            .map(|d| (d.name.to_owned(), self.show(d.name).unwrap_or_default()))
            .collect();
        let dumps = |(name, value): &(String, String)| {
            name == "application_name" && matches!(value.as_str(), "pg_dump" | "pg_dumpall")
        };
        if all.iter().any(dumps)
            && let Some((_, version)) = all.iter_mut().find(|(name, _)| name == "server_version")
        {
            crate::settings::SERVER_VERSION_FOR_DUMPS.clone_into(version);
        }
        all.push(("perigee_version".to_owned(), self.engine.options.version.clone()));
        all
    }

    /// Settings that clients are told of and that are not what they were told last. What was changed and changed back
    /// is not among them.
    pub fn take_parameter_changes(&mut self) -> Vec<(String, String)> {
        let mut last: Vec<(String, String)> = Vec::new();
        for (name, value) in std::mem::take(&mut self.parameter_changes) {
            last.retain(|(other, _)| *other != name);
            last.push((name, value));
        }
        last.retain(|(name, value)| self.told.get(name) != Some(value));
        self.told.extend(last.iter().cloned());
        last
    }

    /// Messages since the last call that the client wants to see.
    pub fn take_notices(&mut self) -> Vec<Notice> {
        if self.notices.is_empty() {
            return Vec::new();
        }
        let least = match self.settings.get("client_min_messages") {
            Some("error") => None,
            Some("warning") => Some(Severity::Warning),
            _ => Some(Severity::Notice),
        };
        let mut notices = std::mem::take(&mut self.notices);
        notices.retain(|n| least.is_some_and(|least| least == Severity::Notice || n.severity == Severity::Warning));
        notices
    }

    /// Notifications for this session. The door delivers them where no transaction block is open.
    #[must_use]
    pub fn inbox(&self) -> Arc<Inbox> {
        Arc::clone(&self.inbox)
    }

    pub(crate) fn notice(&mut self, severity: Severity, error: SqlError) {
        self.notices.push(Notice { severity, error });
    }

    /// Where the session stands between statements.
    #[must_use]
    pub fn status(&self) -> TransactionStatus {
        match &self.transaction {
            Some(t) if t.explicit && t.failed => TransactionStatus::Failed,
            Some(t) if t.explicit => TransactionStatus::InTransaction,
            _ => TransactionStatus::Idle,
        }
    }

    /// Fires when the session shall end: the node stops, or `pg_terminate_backend`.
    #[must_use]
    pub fn terminated(&self) -> CancellationToken {
        self.entry.terminated.clone()
    }

    /// How values are written as text.
    #[must_use]
    pub fn output_settings(&self) -> OutputSettings {
        OutputSettings {
            now: Some(self.transaction.as_ref().map_or_else(|| self.engine.now_micros(), |t| t.started_micros)),
            ..self.settings.output()
        }
    }

    /// How names of objects are written as text.
    #[must_use]
    pub fn object_names(&self) -> ObjectNames {
        let catalog = self.planning_catalog();
        let path = self.search_path(&catalog);
        ObjectNames { catalog, tenant: self.tenant, path: path.schemas }
    }

    /// How long the session may idle where it stands now.
    #[must_use]
    pub fn idle_timeout(&self) -> Option<(Duration, SqlError)> {
        let (name, state, text) = if self.transaction.as_ref().is_some_and(|t| t.explicit) {
            (
                "idle_in_transaction_session_timeout",
                SqlState::IdleInTransactionSessionTimeout,
                "terminating connection due to idle-in-transaction timeout",
            )
        } else {
            ("idle_session_timeout", SqlState::IdleSessionTimeout, "terminating connection due to idle-session timeout")
        };
        Some((self.settings.duration(name)?, SqlError::new(state, text)))
    }
}
