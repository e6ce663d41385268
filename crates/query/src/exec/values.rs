//! Values that a plan takes from the session when it runs: `now()`, `current_user`, the time zone.
//!
//! In a plan such a value is a scalar variable `@name` with its type. That keeps constant folding away from it, so the
//! plan may be cached, and still lets filters over it move down to scans. Binding puts the session's value in.

use std::sync::Arc;

use datafusion::logical_expr::Expr;
use datafusion::scalar::ScalarValue;
use perigee_types::{SqlType, Value};

use super::view::SessionFacts;

/// A value of the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SessionValue {
    TransactionTime,
    StatementTime,
    TimeZone,
    /// DateStyle, IntervalStyle, bytea_output and extra_float_digits, with bars between.
    Formats,
    User,
    SessionUser,
    Database,
    Schema,
    ProcessId,
}

impl SessionValue {
    const ALL: [SessionValue; 9] = [
        SessionValue::TransactionTime,
        SessionValue::StatementTime,
        SessionValue::TimeZone,
        SessionValue::Formats,
        SessionValue::User,
        SessionValue::SessionUser,
        SessionValue::Database,
        SessionValue::Schema,
        SessionValue::ProcessId,
    ];

    fn name(self) -> &'static str {
        match self {
            SessionValue::TransactionTime => "@now",
            SessionValue::StatementTime => "@statement_timestamp",
            SessionValue::TimeZone => "@timezone",
            SessionValue::Formats => "@formats",
            SessionValue::User => "@current_user",
            SessionValue::SessionUser => "@session_user",
            SessionValue::Database => "@current_database",
            SessionValue::Schema => "@current_schema",
            SessionValue::ProcessId => "@pg_backend_pid",
        }
    }

    fn ty(self) -> SqlType {
        match self {
            SessionValue::TransactionTime | SessionValue::StatementTime => SqlType::Timestamptz(None),
            SessionValue::TimeZone | SessionValue::Formats => SqlType::Text,
            SessionValue::User | SessionValue::SessionUser | SessionValue::Database | SessionValue::Schema => {
                SqlType::Name
            }
            SessionValue::ProcessId => SqlType::Int4,
        }
    }

    /// The value as it stands in plans.
    pub(super) fn expr(self) -> Expr {
        let field = self.ty().field(self.name(), self == SessionValue::Schema);
        Expr::ScalarVariable(Arc::new(field), vec![self.name().to_owned()])
    }

    /// The session value that a scalar variable stands for.
    pub(super) fn of_variable(names: &[String]) -> Option<SessionValue> {
        let [name] = names else { return None };
        Self::ALL.into_iter().find(|v| v.name() == name)
    }

    /// What it is in a session.
    pub(super) fn value(self, facts: &SessionFacts) -> Value {
        match self {
            SessionValue::TransactionTime => Value::Timestamptz(facts.transaction_time),
            SessionValue::StatementTime => Value::Timestamptz(facts.statement_time),
            SessionValue::TimeZone => Value::Text(facts.time_zone.clone()),
            SessionValue::Formats => {
                let names = ["datestyle", "intervalstyle", "bytea_output", "extra_float_digits"];
                let of = |name: &str| facts.settings.get(name).map_or("", String::as_str);
                Value::Text(names.map(of).join("|"))
            }
            SessionValue::User => Value::Text(facts.user.clone()),
            SessionValue::SessionUser => Value::Text(facts.session_user.clone()),
            SessionValue::Database => Value::Text(facts.database.clone()),
            SessionValue::Schema => match facts.listed_schemas().first() {
                Some(schema) => Value::Text(schema.clone()),
                None => Value::Null,
            },
            SessionValue::ProcessId => Value::Int4(facts.process_id),
        }
    }

    /// What it is in a session, as a literal of its own type.
    pub(super) fn literal(self, facts: &SessionFacts) -> datafusion::error::Result<ScalarValue> {
        super::scalar::scalar(&self.value(facts), &self.ty().arrow())
    }
}
