//! Commands as steps of traces: those that run together are one, and what is proposed for them is a part of it.

use perigee_keyspace::Reply;
use perigee_telemetry::trace::{self, Step};

use crate::session::Session;

impl Session {
    /// The step of `count` commands of which the first is called so, where it is to be traced. What they say is not told: only their names are no
    /// data.
    pub(crate) fn begin_trace(&self, first: &str, count: usize) -> Option<Step> {
        if !trace::is_on() {
            return None;
        }
        let name = if count == 1 { first.to_ascii_uppercase() } else { "PIPELINE".to_owned() };
        self.trace(name, count)
    }

    /// The same of a transaction.
    pub(crate) fn begin_transaction_trace(&self, count: usize) -> Option<Step> {
        if !trace::is_on() {
            return None;
        }
        self.trace("MULTI".to_owned(), count)
    }

    fn trace(&self, name: String, count: usize) -> Option<Step> {
        let mut step = trace::begin(name.clone(), None)?;
        step.tell("perigee.door", "redis");
        step.tell("db.system.name", "perigee");
        step.tell("db.namespace", self.db.to_string());
        step.tell("db.operation.name", name);
        if count > 1 {
            step.tell("db.operation.batch.size", count.to_string());
        }
        step.tell("user.name", &*self.user.name);
        Some(step)
    }
}

/// The first error among replies is the step's.
pub(crate) fn tell_errors(step: &mut Option<Step>, replies: &[Reply]) {
    let Some(step) = step else { return };
    let error = replies.iter().find_map(|reply| match reply {
        Reply::Error(text) => Some(text),
        _ => None,
    });
    if let Some(text) = error {
        step.fail(text.split(' ').next().unwrap_or_default(), text);
    }
}
