//! ACL LOG: what was refused, the latest first.

use std::collections::VecDeque;
use std::time::{SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use perigee_keyspace::Reply;

/// Refusals of the same kind within this time are one entry.
const SAME_MS: i64 = 60_000;

/// Why something was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    Auth,
    Command,
    Key,
    Channel,
}

#[derive(Clone, Debug)]
struct Entry {
    id: i64,
    count: i64,
    reason: Reason,
    context: &'static str,
    object: String,
    user: String,
    client: String,
    created_ms: i64,
    updated_ms: i64,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct AclLog {
    entries: Mutex<(VecDeque<Entry>, i64)>,
}

fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_millis()).unwrap_or(i64::MAX)
}

impl AclLog {
    pub(crate) fn add(
        &self,
        reason: Reason,
        context: &'static str,
        object: &str,
        user: &str,
        client: String,
        length_max: usize,
    ) {
        let now = now_ms();
        let mut entries = self.entries.lock();
        let same = |entry: &Entry| {
            entry.reason == reason
                && entry.context == context
                && entry.object == object
                && entry.user == user
                && now - entry.updated_ms <= SAME_MS
        };
        let mut entry = match entries.0.iter().position(same).and_then(|at| entries.0.remove(at)) {
            Some(entry) => entry,
            None => {
                let id = entries.1;
                entries.1 += 1;
                let (object, user) = (object.to_owned(), user.to_owned());
                Entry {
                    id,
                    count: 0,
                    reason,
                    context,
                    object,
                    user,
                    client: String::new(),
                    created_ms: now,
                    updated_ms: now,
                }
            }
        };
        entry.count += 1;
        entry.client = client;
        entry.updated_ms = now;
        entries.0.push_front(entry);
        entries.0.truncate(length_max);
    }

    pub(crate) fn clear(&self) {
        self.entries.lock().0.clear();
    }

    /// The latest, as ACL LOG shows them.
    pub(crate) fn latest(&self, count: usize) -> Vec<Reply> {
        let now = now_ms();
        let show = |entry: &Entry| {
            let pair = |name: &str, value: Reply| (Reply::bulk(name), value);
            Reply::Map(vec![
                pair("count", Reply::Integer(entry.count)),
                pair(
                    "reason",
                    Reply::bulk(match entry.reason {
                        Reason::Auth => "auth",
                        Reason::Command => "command",
                        Reason::Key => "key",
                        Reason::Channel => "channel",
                    }),
                ),
                pair("context", Reply::bulk(entry.context)),
                pair("object", Reply::bulk(&entry.object)),
                pair("username", Reply::bulk(&entry.user)),
                pair("age-seconds", Reply::Double((now - entry.created_ms) as f64 / 1_000.0)),
                pair("client-info", Reply::bulk(&entry.client)),
                pair("entry-id", Reply::Integer(entry.id)),
                pair("timestamp-created", Reply::Integer(entry.created_ms)),
                pair("timestamp-last-updated", Reply::Integer(entry.updated_ms)),
            ])
        };
        self.entries.lock().0.iter().take(count).map(show).collect()
    }
}
