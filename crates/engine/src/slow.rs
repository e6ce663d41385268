//! Statements that took long: log lines with the target `slow`, one per statement of at least `log_min_duration_statement`.
//!
//! The time is that from the plan to the last row that the client has taken, the commit of a statement without a block
//! with it.

use std::time::Duration;

use crate::audit::begin_of;
use crate::session::Session;

/// The setting, in milliseconds; -1 is none, 0 is every statement.
pub(crate) const SETTING: &str = "log_min_duration_statement";

impl Session {
    /// The statement that has been active is over.
    pub(crate) fn note_duration(&self) {
        let Some(least) = self.settings.least_duration_logged() else { return };
        let (text, began) = {
            let activity = self.entry.activity.lock();
            if activity.state != "active" {
                return;
            }
            (activity.query.clone(), activity.query_start_micros)
        };
        let took = Duration::from_micros(self.engine.now_micros().saturating_sub(began).max(0).unsigned_abs());
        if took < least {
            return;
        }
        tracing::info!(
            target: "slow",
            ms = took.as_micros() as f64 / 1e3,
            user = self.login_name,
            database = self.database,
            application = self.entry.activity.lock().application_name,
            peer = ?self.entry.peer,
            session = self.entry.process_id,
            "{}",
            shown(&text)
        );
    }
}

/// The beginning of a statement, unless it may hold a password.
pub(crate) fn shown(text: &str) -> String {
    if text.to_ascii_lowercase().contains("password") {
        "a statement with a password".to_owned()
    } else {
        begin_of(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_not_shown() {
        assert_eq!(shown("ALTER ROLE a PassWord 'secret'"), "a statement with a password");
        assert_eq!(shown("SELECT\n1"), "SELECT 1");
    }
}
