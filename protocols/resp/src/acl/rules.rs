//! The rules of ACL SETUSER.

use bytes::Bytes;
use perigee_keyspace::{Flags, Grant, KeyFlags};
use rustc_hash::FxHashMap;

use super::{User, category, hash_of};
use crate::command::{self, Entry};
use perigee_keyspace::glob;

/// What a selector does not allow; by how near it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Denied {
    Command,
    /// The argument that is a key.
    Key(usize),
    /// The argument that is a channel.
    Channel(usize),
}

/// A pattern of keys.
#[derive(Clone, Debug)]
struct KeyPattern {
    pattern: Bytes,
    read: bool,
    write: bool,
}

/// What a user may do together.
#[derive(Clone, Debug)]
pub(crate) struct Selector {
    /// By the numbers of commands.
    allowed: Vec<u64>,
    /// First arguments that are allowed of a command that is not.
    first_args: FxHashMap<usize, Vec<Bytes>>,
    /// The rules on commands as they were given, without what later ones undo.
    commands: Vec<String>,
    keys: Vec<KeyPattern>,
    all_keys: bool,
    channels: Vec<Bytes>,
    all_channels: bool,
    /// All of it is allowed.
    pub(super) is_everything: bool,
}

impl Selector {
    pub(crate) fn nothing() -> Self {
        Self {
            allowed: vec![0; command::count_all().div_ceil(64)],
            first_args: FxHashMap::default(),
            commands: vec!["-@all".to_owned()],
            keys: Vec::new(),
            all_keys: false,
            channels: Vec::new(),
            all_channels: false,
            is_everything: false,
        }
    }

    /// The selector of rules with spaces between them.
    pub(super) fn of(rules: &str) -> Result<Self, &'static str> {
        let mut selector = Self::nothing();
        rules.split_ascii_whitespace().try_for_each(|rule| selector.apply(rule))?;
        Ok(selector)
    }

    /// Whether all that another selector allows is allowed by this one too, as far as patterns are the same words.
    pub(super) fn covers(&self, other: &Self) -> bool {
        let commands = self.allowed.iter().zip(&other.allowed).all(|(own, wanted)| wanted & !own == 0);
        let first_args = other.first_args.iter().all(|(number, words)| {
            let own = self.first_args.get(number);
            self.allows(*number) || own.is_some_and(|own| words.iter().all(|word| own.contains(word)))
        });
        let has_key = |wanted: &KeyPattern| {
            let fits = |own: &KeyPattern| {
                own.pattern == wanted.pattern && (own.read || !wanted.read) && (own.write || !wanted.write)
            };
            self.keys.iter().any(fits)
        };
        let keys = self.all_keys || !other.all_keys && other.keys.iter().all(has_key);
        let has_channel = |wanted: &Bytes| self.channels.contains(wanted);
        let channels = self.all_channels || !other.all_channels && other.channels.iter().all(has_channel);
        commands && first_args && keys && channels
    }

    fn settle(&mut self) {
        self.is_everything = self.all_keys && self.all_channels && self.commands == ["+@all"];
    }

    fn allow_all(&mut self, yes: bool) {
        self.allowed.fill(if yes { u64::MAX } else { 0 });
        self.first_args.clear();
        self.commands = vec![if yes { "+@all" } else { "-@all" }.to_owned()];
    }

    fn set(&mut self, number: usize, yes: bool) {
        if let Some(word) = self.allowed.get_mut(number / 64) {
            if yes {
                *word |= 1 << (number % 64);
            } else {
                *word &= !(1 << (number % 64));
            }
        }
        self.first_args.remove(&number);
    }

    fn allows(&self, number: usize) -> bool {
        self.allowed.get(number / 64).is_some_and(|word| word >> (number % 64) & 1 == 1)
    }

    /// Whether a call is allowed.
    pub(super) fn check(&self, entry: &Entry, args: &[Bytes], keys: &[(usize, KeyFlags)]) -> Result<(), Denied> {
        let by_first_arg = || {
            self.first_args.get(&entry.number).is_some_and(|words| {
                args.get(1).is_some_and(|arg| words.iter().any(|word| word.eq_ignore_ascii_case(arg)))
            })
        };
        if !self.allows(entry.number) && !by_first_arg() {
            return Err(Denied::Command);
        }
        if !self.all_keys {
            for (at, flags) in keys {
                let read = flags.contains(KeyFlags::ACCESS);
                let write = flags.intersects(KeyFlags::INSERT | KeyFlags::DELETE | KeyFlags::UPDATE);
                let fits = |pattern: &KeyPattern| {
                    (!read || pattern.read)
                        && (!write || pattern.write)
                        && args.get(*at).is_some_and(|key| glob::matches_case(&pattern.pattern, key, false))
                };
                if !self.keys.iter().any(fits) {
                    return Err(Denied::Key(*at));
                }
            }
        }
        if !self.all_channels {
            let (channels, is_pattern) = entry.channels(args);
            for at in channels {
                let fits = |pattern: &Bytes| {
                    args.get(at).is_some_and(|channel| {
                        if is_pattern { pattern == channel } else { glob::matches_case(pattern, channel, false) }
                    })
                };
                if !self.channels.iter().any(fits) {
                    return Err(Denied::Channel(at));
                }
            }
        }
        Ok(())
    }

    /// Whether all that `before` allowed of channels is allowed still.
    pub(crate) fn keeps_channels_of(&self, channel: &[u8], is_pattern: bool) -> bool {
        self.all_channels
            || self.channels.iter().any(|pattern| {
                if is_pattern { pattern == channel } else { glob::matches_case(pattern, channel, false) }
            })
    }

    /// Whether every key may be read.
    pub(super) fn reads_all_keys(&self) -> bool {
        self.all_keys || self.keys.iter().any(|key| key.read && &*key.pattern == b"*")
    }

    /// The same for the calls of scripts, which are checked where they run.
    pub(crate) fn grant(&self) -> Grant {
        let mut grant = Grant {
            all_keys: self.all_keys,
            keys: self.keys.iter().map(|key| (key.pattern.clone(), key.read, key.write)).collect(),
            all_channels: self.all_channels,
            channels: self.channels.clone(),
            ..Grant::default()
        };
        command::each(|entry| {
            let words = self.first_args.get(&entry.number);
            let is_allowed = self.allows(entry.number) || entry.is_always_allowed();
            if !entry.spec.flags.contains(Flags::NOSCRIPT) && (is_allowed || words.is_some()) {
                let words = words.filter(|_| !is_allowed).cloned().unwrap_or_default();
                grant.commands.insert(Bytes::from_static(entry.spec.name.as_bytes()), words);
            }
        });
        grant
    }

    /// `~… &… +…`
    pub(super) fn describe(&self) -> String {
        let channels = match self.describe_channels() {
            channels if self.all_channels => channels,
            channels => format!("resetchannels {channels}").trim_end().to_owned(),
        };
        let parts = [self.describe_keys(), channels, self.describe_commands()];
        parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
    }

    pub(crate) fn describe_commands(&self) -> String {
        self.commands.join(" ")
    }

    pub(crate) fn describe_keys(&self) -> String {
        if self.all_keys {
            return "~*".to_owned();
        }
        let word = |key: &KeyPattern| {
            let pattern = String::from_utf8_lossy(&key.pattern);
            match (key.read, key.write) {
                (true, false) => format!("%R~{pattern}"),
                (false, true) => format!("%W~{pattern}"),
                _ => format!("~{pattern}"),
            }
        };
        self.keys.iter().map(word).collect::<Vec<_>>().join(" ")
    }

    pub(crate) fn describe_channels(&self) -> String {
        if self.all_channels {
            return "&*".to_owned();
        }
        let word = |pattern: &Bytes| format!("&{}", String::from_utf8_lossy(pattern));
        self.channels.iter().map(word).collect::<Vec<_>>().join(" ")
    }

    /// One rule that may also stand in parentheses.
    fn apply(&mut self, rule: &str) -> Result<(), &'static str> {
        const AFTER_ALL_KEYS: &str = "Adding a pattern after the * pattern (or the 'allkeys' flag) is not valid and does not have any effect. Try 'resetkeys' to start with an empty list of patterns";
        const AFTER_ALL_CHANNELS: &str = "Adding a pattern after the * pattern (or the 'allchannels' flag) is not valid and does not have any effect. Try 'resetchannels' to start with an empty list of channels";
        match rule.to_ascii_lowercase().as_str() {
            "allkeys" | "~*" => {
                self.all_keys = true;
                self.keys.clear();
            }
            "resetkeys" => {
                self.all_keys = false;
                self.keys.clear();
            }
            "allchannels" | "&*" => {
                self.all_channels = true;
                self.channels.clear();
            }
            "resetchannels" => {
                self.all_channels = false;
                self.channels.clear();
            }
            "allcommands" | "+@all" => self.allow_all(true),
            "nocommands" | "-@all" => self.allow_all(false),
            _ => match rule.as_bytes().first() {
                Some(b'~') | Some(b'%') => {
                    if self.all_keys {
                        return Err(AFTER_ALL_KEYS);
                    }
                    let (permissions, pattern) = match rule.strip_prefix('%') {
                        // Redis takes permissions without a pattern for those on the empty key.
                        Some(rest) => rest.split_once('~').unwrap_or((rest, "")),
                        None => ("rw", rule.get(1..).unwrap_or_default()),
                    };
                    let (mut read, mut write) = (false, false);
                    for letter in permissions.chars() {
                        match letter.to_ascii_lowercase() {
                            'r' => read = true,
                            'w' => write = true,
                            _ => return Err("Syntax error"),
                        }
                    }
                    if !(read || write) || !is_word(pattern) {
                        return Err("Syntax error");
                    }
                    match self.keys.iter_mut().find(|known| known.pattern == pattern) {
                        Some(known) => (known.read, known.write) = (known.read || read, known.write || write),
                        None => self.keys.push(KeyPattern { pattern: Bytes::from(pattern.to_owned()), read, write }),
                    }
                }
                Some(b'&') => {
                    if self.all_channels {
                        return Err(AFTER_ALL_CHANNELS);
                    }
                    let pattern = rule.get(1..).unwrap_or_default();
                    if !is_word(pattern) {
                        return Err("Syntax error");
                    }
                    if !self.channels.iter().any(|known| known == pattern) {
                        self.channels.push(Bytes::from(pattern.to_owned()));
                    }
                }
                Some(b'+' | b'-') => self.command(rule)?,
                _ => return Err("Syntax error"),
            },
        }
        self.settle();
        Ok(())
    }

    fn command(&mut self, rule: &str) -> Result<(), &'static str> {
        const UNKNOWN: &str = "Unknown command or category name in ACL";
        let yes = rule.starts_with('+');
        let name = rule.get(1..).unwrap_or_default().to_ascii_lowercase();
        if let Some(name) = name.strip_prefix('@') {
            let category = category::of(name).ok_or(UNKNOWN)?;
            command::each(|entry| {
                if entry.spec.categories().contains(category) {
                    self.set(entry.number, yes);
                }
            });
        } else if let Some(entry) = command::find_name(&name) {
            self.set(entry.number, yes);
            for sub in &entry.subs {
                self.set(sub.number, yes);
            }
        } else {
            let (parent, word) = name.split_once('|').ok_or(UNKNOWN)?;
            if word.is_empty() {
                return Err("Syntax error");
            }
            let entry = command::find_name(parent).ok_or(UNKNOWN)?;
            if !entry.subs.is_empty() {
                return Err(if word.contains('|') {
                    "Allowing first-arg of a subcommand is not supported"
                } else {
                    UNKNOWN
                });
            }
            if !yes {
                return Err(UNKNOWN);
            }
            let words = self.first_args.entry(entry.number).or_default();
            words.push(Bytes::from(word.to_owned()));
        }
        let is_undone = |known: &String| {
            let known = known.get(1..).unwrap_or_default();
            known == name || (known.starts_with(&name) && known[name.len()..].starts_with('|'))
        };
        self.commands.retain(|known| !is_undone(known));
        let sign = if yes { '+' } else { '-' };
        self.commands.push(format!("{sign}{name}"));
        Ok(())
    }
}

fn is_word(pattern: &str) -> bool {
    !pattern.bytes().any(|byte| byte.is_ascii_whitespace() || byte == 0)
}

impl User {
    /// Changes the user by the rules of ACL SETUSER.
    ///
    /// # Errors
    /// The rule that is wrong, and why.
    pub(crate) fn apply_all(&mut self, rules: &[String]) -> Result<(), (String, &'static str)> {
        let mut rules = rules.iter();
        while let Some(rule) = rules.next() {
            if !rule.starts_with('(') {
                self.apply(rule).map_err(|why| (rule.clone(), why))?;
                continue;
            }
            let mut whole = rule.clone();
            while !whole.ends_with(')') {
                let Some(next) = rules.next() else {
                    return Err((whole.clone(), "Unmatched parenthesis in acl selector starting at"));
                };
                whole.push(' ');
                whole.push_str(next);
            }
            let mut selector = Selector::nothing();
            let inside = whole.trim_start_matches('(').trim_end_matches(')');
            for rule in inside.split_ascii_whitespace() {
                selector.apply(rule).map_err(|why| (whole.clone(), why))?;
            }
            self.selectors.push(selector);
        }
        Ok(())
    }

    fn apply(&mut self, rule: &str) -> Result<(), &'static str> {
        const HASH: &str =
            "The password hash must be exactly 64 characters and contain only lowercase hexadecimal characters";
        const NO_SUCH: &str = "The password you are trying to remove from the user does not exist";
        let is_hash = |hash: &str| {
            hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
        };
        let rest = rule.get(1..).unwrap_or_default();
        match rule.to_ascii_lowercase().as_str() {
            "on" => self.on = true,
            "off" => self.on = false,
            "nopass" | "resetpass" => {
                self.nopass = rule.eq_ignore_ascii_case("nopass");
                self.role_password = false;
                self.passwords.clear();
            }
            "sanitize-payload" => self.skip_sanitize = false,
            "skip-sanitize-payload" => self.skip_sanitize = true,
            "clearselectors" => self.selectors.truncate(1),
            "reset" => *self = User { account: self.account.take(), ..User::new(&self.name) },
            _ => match rule.as_bytes().first() {
                Some(b'>') => self.add_password(hash_of(rest.as_bytes())),
                Some(b'#') if is_hash(rest) => self.add_password(rest.to_owned()),
                Some(b'#') => return Err(HASH),
                Some(b'<') => self.remove_password(&hash_of(rest.as_bytes())).then_some(()).ok_or(NO_SUCH)?,
                Some(b'!') if is_hash(rest) => self.remove_password(rest).then_some(()).ok_or(NO_SUCH)?,
                Some(b'!') => return Err(HASH),
                _ => {
                    if let Some(selector) = self.selectors.first_mut() {
                        selector.apply(rule)?;
                    }
                }
            },
        }
        Ok(())
    }

    fn add_password(&mut self, hash: String) {
        if !self.passwords.contains(&hash) {
            self.passwords.push(hash);
        }
        self.nopass = false;
        // What is said here holds here, in place of what the role has in the server.
        self.role_password = false;
    }

    fn remove_password(&mut self, hash: &str) -> bool {
        let before = self.passwords.len();
        self.passwords.retain(|known| known != hash);
        self.passwords.len() < before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(rules: &str) -> Result<User, String> {
        let mut user = User::new("x");
        let rules: Vec<String> = rules.split(' ').map(str::to_owned).collect();
        user.apply_all(&rules).map_err(|(rule, why)| format!("{rule}: {why}"))?;
        Ok(user)
    }

    #[test]
    fn rules_are_described_without_what_was_undone() {
        let check = |rules: &str, want: &str| {
            let user = user(rules).unwrap();
            assert_eq!(user.describe(true), format!("user x {want}"));
            // What is kept are the words: they must come to the same.
            let again: Vec<Selector> =
                user.record().selectors.iter().map(|rules| Selector::of(rules).unwrap()).collect();
            assert!(
                again.len() == user.selectors.len()
                    && again.iter().zip(&user.selectors).all(|(a, b)| {
                        a.covers(b) && b.covers(a) && a.describe() == b.describe() && a.is_everything == b.is_everything
                    }),
                "{rules}"
            );
        };
        check("on nopass ~* &* +@all", "on nopass ~* &* +@all");
        check("on +get -get +get", "on resetchannels -@all +get");
        check("off ~a %R~b &c +client|id +client", "off ~a %R~b resetchannels &c -@all +client");
        // Rules that change nothing now are kept as well: they hold for commands that come later.
        check("on +@all +client|id", "on resetchannels +@all +client|id");
        check("on +@set +@hash -@geo", "on resetchannels -@all +@set +@hash -@geo");
        check("on (~x +@read)", "on resetchannels -@all (~x resetchannels -@all +@read)");
        assert!(user("+nope").is_err() && user("~* ~a").is_err() && user("foo").is_err() && user("(~a").is_err());
    }

    #[test]
    fn a_user_gives_what_it_has() {
        let check = |own: &str, wanted: &str, want: bool| {
            assert_eq!(user(own).unwrap().may_make(&user(wanted).unwrap(), None), want, "{own}: {wanted}");
        };
        check("+@all ~* &*", "+@all ~* &*", true);
        check("+@all ~* &*", "+get (~a +set)", true);
        check("+@read ~app:*", "+get ~app:*", true);
        check("+@read ~app:*", "+get %R~app:*", true);
        check("+@read %R~app:*", "+get ~app:*", false);
        check("+@read ~app:*", "+get ~*", false);
        check("+@read ~app:*", "+set ~app:*", false);
        check("+select|1", "+select|1", true);
        check("+select|1", "+select", false);
        check("+@all", "+publish &a", false);
        check("+get ~a (+set ~b)", "(+set ~b)", true);
        check("+get ~a (+set ~b)", "+set ~a", false);
        // What somebody else gave stays.
        let (me, before) = (user("+get ~a").unwrap(), user("+set ~b").unwrap());
        assert!(me.may_make(&user("on +set ~b").unwrap(), Some(&before)));
    }

    #[test]
    fn passwords_over_redis_take_the_place_of_the_roles() {
        let check = |rules: &str, want: bool| {
            let mut user = User { role_password: true, ..User::new("x") };
            user.apply_all(&rules.split(' ').map(str::to_owned).collect::<Vec<_>>()).unwrap();
            assert_eq!(user.role_password, want, "{rules}");
        };
        check("on +get ~a", true);
        for rules in [">p", ">p <p", "nopass", "resetpass", "reset", &format!("#{}", hash_of(b"p"))] {
            check(rules, false);
        }
    }

    #[test]
    fn calls_are_checked() {
        let check = |rules: &str, call: &str, want: Result<(), Denied>| {
            let args: Vec<Bytes> = call.split(' ').map(|arg| Bytes::from(arg.to_owned())).collect();
            let command::Found::Command(entry) = command::find(&args) else { panic!("{call}") };
            let found = super::super::check(&user(rules).unwrap(), entry, &args).map_err(|refusal| refusal.denied);
            assert_eq!(found, want, "{rules}: {call}");
        };
        check("+get ~a*", "get abc", Ok(()));
        check("+get ~a*", "get b", Err(Denied::Key(1)));
        check("-get ~a*", "get a", Err(Denied::Command));
        check("+@all -get ~*", "get a", Err(Denied::Command));
        check("+select|1", "select 1", Ok(()));
        check("+select|1", "select 2", Err(Denied::Command));
        check("+publish &a", "publish a x", Ok(()));
        check("+publish &a", "publish b x", Err(Denied::Channel(1)));
        check("+psubscribe &a*", "psubscribe a*", Ok(()));
        check("+psubscribe &a*", "psubscribe ab", Err(Denied::Channel(1)));
        check("+publish (+get ~k)", "get k", Ok(()));
        check("+get %W~k", "get k", Err(Denied::Key(1)));
        check("+client|id", "client id", Ok(()));
        check("+client|id", "client list", Err(Denied::Command));
        // What runs once is checked as what runs.
        check("+perigee.once +set ~a", "perigee.once i set a v", Ok(()));
        check("+perigee.once (+set ~a)", "perigee.once i set a v", Ok(()));
        check("+perigee.once +set ~a", "perigee.once i set b v", Err(Denied::Key(1)));
        check("+perigee.once ~a", "perigee.once i set a v", Err(Denied::Command));
        check("+set ~a", "perigee.once i set a v", Err(Denied::Command));
    }
}
