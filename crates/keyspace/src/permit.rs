//! What the commands of a script may do.
//!
//! A script runs at apply, on every node, and the users stand elsewhere. So an entry carries what the user may do who runs
//! it, unless that is everything: the commands that a script can call and that are allowed, the patterns of keys and of
//! channels.

use std::collections::BTreeMap;

use bytes::Bytes;
use perigee_types::row::{get_bytes, get_varint, put_bytes, put_varint};
use smallvec::SmallVec;

use crate::args::is;
use crate::{KeyFlags, Spec, glob};

/// What a user may do. As bytes: name | selectors: count, then each [`Grant`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Permit {
    /// The name of the user, for what is said where something is not allowed.
    pub user: Bytes,
    /// A call has to be allowed by one of them.
    pub grants: Vec<Grant>,
}

/// What is allowed together.
///
/// As bytes: flags | commands: count, then each name, first arguments: count, then each | keys: count, then each pattern,
/// flags | channels: count, then each pattern.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grant {
    /// Commands by their names (`get`, `xinfo|stream`); those with words are allowed with one of these as the first argument.
    pub commands: BTreeMap<Bytes, Vec<Bytes>>,
    /// Whether all keys are allowed.
    pub all_keys: bool,
    /// Patterns of keys, each with whether they may be read and written.
    pub keys: Vec<(Bytes, bool, bool)>,
    /// Whether all channels are allowed.
    pub all_channels: bool,
    /// Patterns of channels.
    pub channels: Vec<Bytes>,
}

/// What a permit does not allow; by how near the call came.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Denial {
    /// The command, by its name.
    Command(&'static str),
    /// A key.
    Key(Bytes),
    /// A channel.
    Channel(Bytes),
    /// BY or GET of SORT, which read keys that nobody can tell beforehand.
    Sort(&'static str),
}

const ALL_KEYS: u64 = 1;
const ALL_CHANNELS: u64 = 2;
const READ: u64 = 1;
const WRITE: u64 = 2;

impl Permit {
    /// Whether a call of `name` is allowed; `spec` is `None` for the commands that scripts have of their own.
    ///
    /// # Errors
    /// What came nearest.
    pub fn check(&self, name: &'static str, spec: Option<&Spec>, args: &[Bytes]) -> Result<(), Denial> {
        let keys = spec.map(|spec| spec.keys_of_call(args)).unwrap_or_default();
        let mut nearest = Denial::Command(name);
        for grant in &self.grants {
            match grant.check(name, &keys, args) {
                Ok(()) => return self.check_sort(name, args),
                Err(denial) => nearest = nearest.max(denial),
            }
        }
        Err(nearest)
    }

    /// Whether a command that finds its keys by what they hold may read this one.
    #[must_use]
    pub fn may_read(&self, name: &str, key: &[u8]) -> bool {
        self.grants.iter().any(|grant| {
            let fits = |(pattern, read, _): &(Bytes, bool, bool)| *read && glob::matches_case(pattern, key, false);
            grant.commands.contains_key(name.as_bytes()) && (grant.all_keys || grant.keys.iter().any(fits))
        })
    }

    fn check_sort(&self, name: &str, args: &[Bytes]) -> Result<(), Denial> {
        if !matches!(name, "sort" | "sort_ro") || self.grants.iter().any(Grant::reads_all_keys) {
            return Ok(());
        }
        sort_reads_elsewhere(args).map_or(Ok(()), |option| Err(Denial::Sort(option)))
    }

    /// Writes it into an entry.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_bytes(&self.user, out);
        put_varint(self.grants.len() as u64, out);
        for grant in &self.grants {
            grant.encode(out);
        }
    }

    /// Reads what [`Permit::encode`] wrote; `None` for anything else.
    #[must_use]
    pub fn decode(bytes: &mut &[u8]) -> Option<Self> {
        let user = Bytes::copy_from_slice(get_bytes(bytes).ok()?);
        let mut grants = Vec::new();
        for _ in 0..get_varint(bytes).ok()? {
            grants.push(Grant::decode(bytes)?);
        }
        Some(Self { user, grants })
    }
}

impl Grant {
    fn check(&self, name: &'static str, keys: &[(usize, KeyFlags)], args: &[Bytes]) -> Result<(), Denial> {
        let allowed = self.commands.get(name.as_bytes()).is_some_and(|words| {
            words.is_empty() || args.get(1).is_some_and(|arg| words.iter().any(|word| word.eq_ignore_ascii_case(arg)))
        });
        if !allowed {
            return Err(Denial::Command(name));
        }
        for (at, flags) in keys.iter().filter(|(_, flags)| !self.all_keys && !flags.contains(KeyFlags::NOT_KEY)) {
            let Some(key) = args.get(*at) else { continue };
            let reads = flags.contains(KeyFlags::ACCESS);
            let writes = flags.intersects(KeyFlags::INSERT | KeyFlags::DELETE | KeyFlags::UPDATE);
            let fits = |(pattern, read, write): &(Bytes, bool, bool)| {
                (!reads || *read) && (!writes || *write) && glob::matches_case(pattern, key, false)
            };
            if !self.keys.iter().any(fits) {
                return Err(Denial::Key(key.clone()));
            }
        }
        if !self.all_channels
            && matches!(name, "publish" | "spublish")
            && let Some(channel) = args.get(1)
            && !self.channels.iter().any(|pattern| glob::matches_case(pattern, channel, false))
        {
            return Err(Denial::Channel(channel.clone()));
        }
        Ok(())
    }

    fn reads_all_keys(&self) -> bool {
        self.all_keys || self.keys.iter().any(|(pattern, read, _)| *read && &**pattern == b"*")
    }

    fn encode(&self, out: &mut Vec<u8>) {
        let all_keys = if self.all_keys { ALL_KEYS } else { 0 };
        put_varint(all_keys | if self.all_channels { ALL_CHANNELS } else { 0 }, out);
        put_varint(self.commands.len() as u64, out);
        for (name, words) in &self.commands {
            put_bytes(name, out);
            put_varint(words.len() as u64, out);
            words.iter().for_each(|word| put_bytes(word, out));
        }
        put_varint(self.keys.len() as u64, out);
        for (pattern, read, write) in &self.keys {
            put_bytes(pattern, out);
            put_varint(if *read { READ } else { 0 } | if *write { WRITE } else { 0 }, out);
        }
        put_varint(self.channels.len() as u64, out);
        self.channels.iter().for_each(|pattern| put_bytes(pattern, out));
    }

    fn decode(bytes: &mut &[u8]) -> Option<Self> {
        let flags = get_varint(bytes).ok()?;
        let mut grant =
            Self { all_keys: flags & ALL_KEYS != 0, all_channels: flags & ALL_CHANNELS != 0, ..Self::default() };
        let text = |bytes: &mut &[u8]| Some(Bytes::copy_from_slice(get_bytes(bytes).ok()?));
        for _ in 0..get_varint(bytes).ok()? {
            let name = text(bytes)?;
            let mut words = Vec::new();
            for _ in 0..get_varint(bytes).ok()? {
                words.push(text(bytes)?);
            }
            grant.commands.insert(name, words);
        }
        for _ in 0..get_varint(bytes).ok()? {
            let pattern = text(bytes)?;
            let flags = get_varint(bytes).ok()?;
            grant.keys.push((pattern, flags & READ != 0, flags & WRITE != 0));
        }
        for _ in 0..get_varint(bytes).ok()? {
            grant.channels.push(text(bytes)?);
        }
        Some(grant)
    }
}

/// The option of a SORT that reads keys which it does not name: `BY` or `GET` with a pattern.
#[must_use]
pub fn sort_reads_elsewhere(args: &[Bytes]) -> Option<&'static str> {
    let mut words = args.iter().skip(2);
    while let Some(word) = words.next() {
        let Some(option) = ["BY", "GET"].into_iter().find(|option| is(word, option)) else { continue };
        if words.next().is_some_and(|pattern| pattern.contains(&b'*')) {
            return Some(option);
        }
    }
    None
}

impl Spec {
    /// As [`Spec::keys_of`], with what becomes of the keys in this very call.
    #[must_use]
    pub fn keys_of_call(&self, args: &[Bytes]) -> SmallVec<[(usize, KeyFlags); 4]> {
        let mut keys = self.keys_of(args);
        let has = |word: &str, from: usize| args.iter().skip(from).any(|arg| is(arg, word));
        let flags = match self.name {
            "set" if !has("get", 3) => KeyFlags::OW | KeyFlags::UPDATE,
            "bitfield" if !has("set", 2) && !has("incrby", 2) => KeyFlags::RO | KeyFlags::ACCESS,
            _ => return keys,
        };
        keys.iter_mut().for_each(|(_, found)| *found = flags);
        keys
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_checked_and_a_permit_is_read_as_it_was_written() {
        let text = |text: &str| Bytes::from(text.to_owned());
        let grant = |commands: &[&str], keys: &[(&str, bool, bool)]| Grant {
            commands: commands.iter().map(|name| (text(name), Vec::new())).collect(),
            keys: keys.iter().map(|(pattern, read, write)| (text(pattern), *read, *write)).collect(),
            channels: vec![text("news*")],
            ..Grant::default()
        };
        let mut one = grant(&["get", "set", "publish", "sort"], &[("a*", true, false), ("b*", true, true)]);
        one.commands.insert(text("select"), vec![text("1")]);
        let permit = Permit { user: text("bob"), grants: vec![one, grant(&["del"], &[("*", false, true)])] };
        let mut bytes = Vec::new();
        permit.encode(&mut bytes);
        assert_eq!(Permit::decode(&mut &*bytes), Some(permit.clone()));
        assert_eq!(Permit::decode(&mut &bytes[..bytes.len() - 1]), None);
        let check = |call: &str, want: Result<(), Denial>| {
            let args: Vec<Bytes> = call.split(' ').map(text).collect();
            let spec = crate::command::find(&args[0]);
            let name =
                spec.map_or_else(|| if call.starts_with("publish") { "publish" } else { "select" }, |spec| spec.name);
            assert_eq!(permit.check(name, spec, &args), want, "{call}");
        };
        check("get ab", Ok(()));
        check("get c", Err(Denial::Key(text("c"))));
        check("set ab 1", Err(Denial::Key(text("ab"))));
        check("set b 1", Ok(()));
        check("del whatever", Ok(()));
        check("incr b", Err(Denial::Command("incr")));
        check("publish news.x hi", Ok(()));
        check("publish other hi", Err(Denial::Channel(text("other"))));
        check("sort b by nosort", Ok(()));
        check("sort b get x*", Err(Denial::Sort("GET")));
    }
}
