//! Who may do what: users with their passwords and rules.
//!
//! A user is a role of the server, read from its catalog ([`Account`]) and made ready here: rules become bits. A connection
//! keeps its user until the catalog moves, and looks it up again by the role's oid. A command is checked by a bit, unless
//! the user may do everything, which is one flag.

pub(crate) mod category;
mod log;
mod rules;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use perigee_keyspace::{KeyFlags, Reply};
use perigee_types::Oid;
use perigee_types::catalog::RedisUser;
use sha2::{Digest, Sha256};

pub(crate) use log::{AclLog, Reason};
pub(crate) use rules::{Denied, Selector};

use crate::command::Entry;
use crate::host::{Account, DEFAULT};
use crate::session::{Killed, Session};
use crate::shared::Shared;

/// A user.
#[derive(Clone, Debug)]
pub(crate) struct User {
    /// What it was made of; `None` for one that is not there.
    account: Option<Account>,
    pub(crate) name: Arc<str>,
    pub(crate) on: bool,
    pub(crate) nopass: bool,
    pub(crate) skip_sanitize: bool,
    /// The password that the role has in the server counts.
    pub(crate) role_password: bool,
    /// SHA-256 in hexadecimal digits.
    pub(crate) passwords: Vec<String>,
    /// What the user may do; the first are the rules outside of parentheses.
    pub(crate) selectors: Vec<Selector>,
}

impl User {
    /// A user as ACL SETUSER makes it: nothing is allowed.
    pub(crate) fn new(name: &str) -> Self {
        Self {
            account: None,
            name: name.into(),
            on: false,
            nopass: false,
            skip_sanitize: false,
            role_password: false,
            passwords: Vec::new(),
            selectors: vec![Selector::nothing()],
        }
    }

    /// The user of an account. Rules that cannot be read, as those of a later version, allow nothing.
    pub(crate) fn of(account: &Account) -> Self {
        let known = &account.user;
        let ready = |rules: &String| {
            Selector::of(rules).unwrap_or_else(|why| {
                tracing::error!(user = &*account.name, rules, why, "rules that are not understood allow nothing");
                Selector::nothing()
            })
        };
        let mut user = Self {
            name: Arc::clone(&account.name),
            on: known.on && account.login,
            nopass: known.nopass,
            skip_sanitize: known.skip_sanitize,
            role_password: known.role_password,
            passwords: known.passwords.clone(),
            selectors: known.selectors.iter().map(ready).collect(),
            account: Some(account.clone()),
        };
        if user.selectors.is_empty() {
            user.selectors.push(Selector::nothing());
        }
        user
    }

    /// As the catalog keeps it.
    pub(crate) fn record(&self) -> RedisUser {
        RedisUser {
            on: self.on,
            nopass: self.nopass,
            skip_sanitize: self.skip_sanitize,
            role_password: self.role_password,
            passwords: self.passwords.clone(),
            selectors: self.selectors.iter().map(Selector::describe).collect(),
        }
    }

    /// The role that it is; zero for none.
    pub(crate) fn role(&self) -> Oid {
        self.account.as_ref().map_or(Oid(0), |account| account.role)
    }

    pub(crate) fn tenant(&self) -> Oid {
        self.account.as_ref().map_or(Oid(0), |account| account.tenant)
    }

    pub(crate) fn is_superuser(&self) -> bool {
        self.account.as_ref().is_some_and(|account| account.superuser)
    }

    /// Whether the user may do everything.
    pub(crate) fn is_unbounded(&self) -> bool {
        self.selectors.first().is_some_and(|selector| selector.is_everything)
    }

    /// Whether this is one of the passwords that were given over Redis.
    pub(crate) fn accepts(&self, password: &[u8]) -> bool {
        let hash = hash_of(password);
        // All are compared whole: how long it takes says nothing.
        self.passwords.iter().fold(false, |found, known| found | same(known.as_bytes(), hash.as_bytes()))
    }

    /// Whether it may give another user these rights: those that it has, and those that the user has had.
    pub(crate) fn may_make(&self, user: &User, before: Option<&User>) -> bool {
        user.selectors.iter().all(|wanted| {
            let had = |known: &Selector| known.describe() == wanted.describe();
            self.selectors.iter().any(|own| own.covers(wanted))
                || before.is_some_and(|before| before.selectors.iter().any(had))
        })
    }

    /// The line of ACL LIST. Hashes are for superusers, and for whom they are of.
    pub(crate) fn describe(&self, with_hashes: bool) -> String {
        let mut words = vec!["user".to_owned(), self.name.to_string(), if self.on { "on" } else { "off" }.to_owned()];
        if self.nopass {
            words.push("nopass".to_owned());
        }
        if self.skip_sanitize {
            words.push("skip-sanitize-payload".to_owned());
        }
        if with_hashes {
            words.extend(self.passwords.iter().map(|hash| format!("#{hash}")));
        }
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

impl Shared {
    /// A user by name.
    pub(crate) fn user(&self, name: &str) -> Option<User> {
        self.host.account(name).map(|account| User::of(&account))
    }

    /// The user of connections that name none.
    pub(crate) fn default_user(&self) -> User {
        self.user(DEFAULT).unwrap_or_else(|| User::new(DEFAULT))
    }

    /// All users, by name.
    pub(crate) fn users(&self) -> Vec<User> {
        let mut users: Vec<User> = self.host.accounts().iter().map(User::of).collect();
        users.sort_by(|a, b| a.name.cmp(&b.name));
        users
    }

    /// Ends the connections of roles that are gone or may not log in any more, and of those that listen to what they may
    /// not hear any more. Says whether `own`, which is answered first, is one of them.
    pub(crate) fn settle_users(&self, own: Option<u64>) -> bool {
        if self.host.users_version() == self.users_version.load(Ordering::Acquire) {
            return false;
        }
        let mut ends_own = false;
        let mut version = self.host.account(DEFAULT).map_or(0, |account| account.version);
        for client in self.clients.all() {
            let role = client.role();
            if role == Oid(0) {
                continue;
            }
            let stays = self.host.account_of(role).filter(|account| account.login).is_some_and(|account| {
                version = version.min(account.version);
                let names = self.hub.names_of(&client);
                let hears = || {
                    let user = User::of(&account);
                    names.iter().all(|(name, is_pattern)| {
                        user.selectors.iter().any(|selector| selector.keeps_channels_of(name, *is_pattern))
                    })
                };
                names.is_empty() || hears()
            });
            if !stays && Some(client.id) == own {
                ends_own = true;
            } else if !stays {
                client.kill(Killed::Written);
            }
        }
        self.users_version.store(version, Ordering::Release);
        ends_own
    }
}

impl Session {
    /// Looks the user up again when users may have changed. One that is gone ends the connection.
    fn follow_user(&mut self) -> Result<(), Reply> {
        if !self.is_known() || self.shared.host.users_version() == self.user_version {
            return Ok(());
        }
        let account = self.shared.host.account_of(self.user.role()).filter(|account| account.login);
        let Some(account) = account else {
            self.closing = true;
            return Err(Reply::error("NOPERM the user of this connection does not exist any more, or may not log in"));
        };
        self.user_version = account.version;
        let is_same = |known: &Account| *known == Account { version: known.version, ..account.clone() };
        if !self.user.account.as_ref().is_some_and(is_same) {
            self.user = Arc::new(User::of(&account));
            self.client.view.lock().user = self.user.name.to_string();
        }
        Ok(())
    }

    /// Whether the user may run a command; the reply and an entry of ACL LOG where not.
    pub(crate) fn permit(&mut self, entry: &Entry, args: &[Bytes], context: &'static str) -> Result<(), Reply> {
        self.follow_user()?;
        if self.user.is_unbounded() || entry.is_always_allowed() {
            return Ok(());
        }
        let Err(Refusal { denied, entry, args }) = check(&self.user, entry, args) else {
            let (entry, args) = entry.inner(args).unwrap_or((entry, args));
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
        self.shared.acl_log.add(reason, context, &object, &self.user.name, info, length_max);
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

/// Why a call is not allowed: the call, which may stand within the one that was checked, and what of it.
pub(crate) struct Refusal<'a> {
    pub(crate) denied: Denied,
    pub(crate) entry: &'a Entry,
    pub(crate) args: &'a [Bytes],
}

/// Whether a user's selectors allow a call, and the one that stands within it; what came nearest where they do not.
pub(crate) fn check<'a>(user: &User, entry: &'a Entry, args: &'a [Bytes]) -> Result<(), Refusal<'a>> {
    let Some((inner, words)) = entry.inner(args) else { return check_one(user, entry, args) };
    // The keys are those of what stands within.
    check_one(user, entry, args.get(..2).unwrap_or(args))?;
    check_one(user, inner, words)
}

fn check_one<'a>(user: &User, entry: &'a Entry, args: &'a [Bytes]) -> Result<(), Refusal<'a>> {
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
    Err(Refusal { denied: nearest, entry, args })
}
