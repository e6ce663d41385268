//! Who may do what: users with their passwords and rules, as ACL SETUSER makes them.
//!
//! Kept by the door of this node for now, behind [`Acl`]: users that the server's catalog knows may do everything and are
//! not listed here. A command is checked by a bit, unless the user may do everything, which is one flag.

pub(crate) mod category;
mod log;
mod rules;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use parking_lot::RwLock;
use perigee_keyspace::{KeyFlags, Reply};
use perigee_types::Oid;
use sha2::{Digest, Sha256};

pub(crate) use log::{AclLog, Reason};
pub(crate) use rules::{Denied, Selector};

use crate::command::Entry;
use crate::session::Session;

/// The user of connections that name none.
pub(crate) const DEFAULT: &str = "default";

/// A user.
#[derive(Clone, Debug)]
pub(crate) struct User {
    pub(crate) name: Arc<str>,
    pub(crate) tenant: Oid,
    pub(crate) on: bool,
    pub(crate) nopass: bool,
    pub(crate) skip_sanitize: bool,
    /// SHA-256 in hexadecimal digits.
    pub(crate) passwords: Vec<String>,
    /// What the user may do; the first are the rules outside of parentheses.
    pub(crate) selectors: Vec<Selector>,
}

impl User {
    /// A user as ACL SETUSER makes it: nothing is allowed.
    pub(crate) fn new(name: &str, tenant: Oid) -> Self {
        Self {
            name: name.into(),
            tenant,
            on: false,
            nopass: false,
            skip_sanitize: false,
            passwords: Vec::new(),
            selectors: vec![Selector::nothing()],
        }
    }

    /// A user who may do everything.
    pub(crate) fn unbounded(name: &str, tenant: Oid) -> Self {
        let mut user = Self::new(name, tenant);
        user.on = true;
        user.selectors = vec![Selector::everything()];
        user
    }

    /// Whether the user may do everything.
    pub(crate) fn is_unbounded(&self) -> bool {
        self.selectors.first().is_some_and(|selector| selector.is_everything)
    }

    /// Whether this is the user's password.
    pub(crate) fn accepts(&self, password: &[u8]) -> bool {
        if self.nopass {
            return true;
        }
        let hash = hash_of(password);
        // All are compared whole: how long it takes says nothing.
        self.passwords.iter().fold(false, |found, known| found | same(known.as_bytes(), hash.as_bytes()))
    }

    /// The line of ACL LIST.
    pub(crate) fn describe(&self) -> String {
        let mut words = vec!["user".to_owned(), self.name.to_string(), if self.on { "on" } else { "off" }.to_owned()];
        if self.nopass {
            words.push("nopass".to_owned());
        }
        if self.skip_sanitize {
            words.push("skip-sanitize-payload".to_owned());
        }
        words.extend(self.passwords.iter().map(|hash| format!("#{hash}")));
        for (number, selector) in self.selectors.iter().enumerate() {
            words.push(if number == 0 { selector.describe() } else { format!("({})", selector.describe()) });
        }
        words.join(" ")
    }
}

/// SHA-256 in hexadecimal digits.
pub(crate) fn hash_of(password: &[u8]) -> String {
    hex::encode(Sha256::digest(password))
}

fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |different, (a, b)| different | (a ^ b)) == 0
}

/// See the module.
pub(crate) struct Acl {
    users: RwLock<BTreeMap<String, Arc<User>>>,
    /// Moves with every change: connections look their user up again.
    generation: AtomicU64,
    pub(crate) log: AclLog,
}

impl Acl {
    pub(crate) fn new() -> Self {
        let mut default = User::unbounded(DEFAULT, Oid(0));
        default.nopass = true;
        let users = BTreeMap::from([(DEFAULT.to_owned(), Arc::new(default))]);
        Self { users: RwLock::new(users), generation: AtomicU64::new(0), log: AclLog::default() }
    }

    pub(crate) fn default_user(&self) -> Arc<User> {
        self.get(DEFAULT).unwrap_or_else(|| Arc::new(User::new(DEFAULT, Oid(0))))
    }

    pub(crate) fn get(&self, name: &str) -> Option<Arc<User>> {
        self.users.read().get(name).cloned()
    }

    pub(crate) fn all(&self) -> Vec<Arc<User>> {
        self.users.read().values().cloned().collect()
    }

    pub(crate) fn put(&self, user: User) {
        self.users.write().insert(user.name.to_string(), Arc::new(user));
        self.generation.fetch_add(1, Ordering::Release);
    }

    pub(crate) fn remove(&self, name: &str) -> bool {
        let removed = self.users.write().remove(name).is_some();
        self.generation.fetch_add(1, Ordering::Release);
        removed
    }

    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }
}

impl Session {
    /// Whether the user may run a command; the reply and an entry of ACL LOG where not.
    pub(crate) fn permit(&mut self, entry: &Entry, args: &[Bytes], context: &'static str) -> Result<(), Reply> {
        let generation = self.shared.acl.generation();
        if generation != self.user_generation {
            self.user_generation = generation;
            // A user whom only the catalog knows is in no list and stays as it is.
            if let Some(user) = self.shared.acl.get(&self.user.name) {
                self.user = user;
            }
        }
        if self.user.is_unbounded() || entry.is_always_allowed() {
            return Ok(());
        }
        let Err(denied) = check(&self.user, entry, args) else {
            return sort_reads_only_what_it_may(&self.user, entry, args);
        };
        let (text, reason, object) = match denied {
            Denied::Command => (
                format!("NOPERM this user has no permissions to run the '{}' command", entry.spec.name),
                Reason::Command,
                entry.spec.name.to_owned(),
            ),
            Denied::Key(at) => (
                "NOPERM this user has no permissions to access one of the keys used as arguments".to_owned(),
                Reason::Key,
                shown(args.get(at)),
            ),
            Denied::Channel(at) => (
                "NOPERM this user has no permissions to access one of the channels used as arguments".to_owned(),
                Reason::Channel,
                shown(args.get(at)),
            ),
        };
        let length_max = self.shared.config.hot.acl_log_length_max.load(Ordering::Relaxed);
        let info = crate::command::describe_client(&self.shared, &self.client);
        self.shared.acl.log.add(reason, context, &object, &self.user.name, info, length_max);
        Err(Reply::error(text))
    }
}

/// SORT with BY or GET reads keys that nobody can tell beforehand: only who may read all keys may do that.
fn sort_reads_only_what_it_may(user: &User, entry: &Entry, args: &[Bytes]) -> Result<(), Reply> {
    if !matches!(entry.spec.name, "sort" | "sort_ro") || user.selectors.iter().any(Selector::reads_all_keys) {
        return Ok(());
    }
    match perigee_keyspace::sort_reads_elsewhere(args) {
        Some(option) => {
            Err(Reply::error(format!("ERR {option} option of SORT denied due to insufficient ACL permissions.")))
        }
        None => Ok(()),
    }
}

fn shown(arg: Option<&Bytes>) -> String {
    arg.map(|arg| String::from_utf8_lossy(arg).into_owned()).unwrap_or_default()
}

/// Whether one of a user's selectors allows a call; what came nearest where none does.
pub(crate) fn check(user: &User, entry: &Entry, args: &[Bytes]) -> Result<(), Denied> {
    let keys = entry.keys(args);
    let keys: Vec<(usize, KeyFlags)> =
        keys.into_iter().filter(|(_, flags)| !flags.contains(KeyFlags::NOT_KEY)).collect();
    let mut nearest = Denied::Command;
    for selector in &user.selectors {
        match selector.check(entry, args, &keys) {
            Ok(()) => return Ok(()),
            Err(denied) => nearest = nearest.max(denied),
        }
    }
    Err(nearest)
}
