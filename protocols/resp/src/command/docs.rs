//! What COMMAND DOCS and COMMAND INFO say beside a specification: how expensive a command is, tips for those who route it,
//! what replaces it, and the syntax of its arguments.
//!
//! It stands in `docs.txt`, four lines for a command at most:
//!
//! ```text
//! name complexity
//!   tips tip ...
//!   deprecated since replacement, or: flags flag ...
//!   args argument ...
//! ```
//!
//! An argument is ``name:type#key=`token`@since!deprecated?*(argument ...)``, each part but the name optional: a string where no type
//! is given, the number of the key's specification, the word before it, optional (`?`), several times (`*`, or `+` with
//! the word before each).

use std::sync::LazyLock;

use perigee_keyspace::Reply;
use rustc_hash::FxHashMap;

static DOCS: LazyLock<FxHashMap<&'static str, Docs>> =
    LazyLock::new(|| read(include_str!("docs.txt")).unwrap_or_default());

/// See the module.
#[derive(Clone, Debug, Default)]
pub(super) struct Docs {
    /// In the size of arguments and values; empty where it depends on other things.
    pub(super) complexity: &'static str,
    pub(super) tips: Vec<&'static str>,
    /// Since when, and what to use instead.
    pub(super) deprecated: Option<(&'static str, &'static str)>,
    pub(super) flags: Vec<&'static str>,
    pub(super) arguments: Vec<Argument>,
}

/// One argument, or a group of them.
#[derive(Clone, Debug, Default)]
pub(super) struct Argument {
    name: &'static str,
    kind: &'static str,
    key: Option<i64>,
    token: Option<&'static str>,
    since: Option<&'static str>,
    deprecated: Option<&'static str>,
    optional: bool,
    multiple: bool,
    multiple_token: bool,
    inner: Vec<Argument>,
}

/// What is known of a command beside its specification.
pub(super) fn of(name: &str) -> Option<&'static Docs> {
    DOCS.get(name)
}

fn read(text: &'static str) -> Option<FxHashMap<&'static str, Docs>> {
    let mut all = FxHashMap::default();
    let mut current: Option<(&'static str, Docs)> = None;
    for line in text.lines() {
        let Some(part) = line.strip_prefix("  ") else {
            all.extend(current.take());
            let (name, complexity) = line.split_once(' ').unwrap_or((line, ""));
            current = Some((name, Docs { complexity, ..Docs::default() }));
            continue;
        };
        let (_, docs) = current.as_mut()?;
        let (kind, rest) = part.split_once(' ')?;
        match kind {
            "tips" => docs.tips = rest.split(' ').collect(),
            "flags" => docs.flags = rest.split(' ').collect(),
            "deprecated" => docs.deprecated = rest.split_once(' '),
            "args" => {
                let mut rest = rest;
                docs.arguments = arguments(&mut rest)?;
                rest.is_empty().then_some(())?;
            }
            _ => return None,
        }
    }
    all.extend(current);
    Some(all)
}

/// Arguments up to the end or the parenthesis that closes their group.
fn arguments(rest: &mut &'static str) -> Option<Vec<Argument>> {
    let mut all = Vec::new();
    loop {
        all.push(argument(rest)?);
        match rest.strip_prefix(' ') {
            Some(behind) => *rest = behind,
            None => return Some(all),
        }
    }
}

/// A name or a number: what goes up to the next sign.
fn word(rest: &mut &'static str) -> &'static str {
    let end = rest.find([' ', ':', '#', '=', '@', '!', '?', '*', '+', '(', ')']).unwrap_or(rest.len());
    let (word, behind) = rest.split_at(end);
    *rest = behind;
    word
}

fn argument(rest: &mut &'static str) -> Option<Argument> {
    let mut argument = Argument { name: word(rest), kind: "string", ..Argument::default() };
    // `ip:port` is the name of one.
    if let Some(behind) = rest.strip_prefix(":port").filter(|_| argument.name == "ip") {
        (argument.name, *rest) = ("ip:port", behind);
    }
    loop {
        let Some(sign) = rest.chars().next().filter(|sign| !matches!(sign, ' ' | ')')) else { return Some(argument) };
        *rest = rest.split_at(sign.len_utf8()).1;
        match sign {
            ':' => argument.kind = word(rest),
            '#' => argument.key = Some(word(rest).parse().ok()?),
            '=' => {
                let (token, behind) = rest.strip_prefix('`')?.split_once('`')?;
                (argument.token, *rest) = (Some(token), behind);
            }
            '@' => argument.since = Some(word(rest)),
            '!' => argument.deprecated = Some(word(rest)),
            '?' => argument.optional = true,
            '*' => argument.multiple = true,
            '+' => (argument.multiple, argument.multiple_token) = (true, true),
            '(' => {
                argument.inner = arguments(rest)?;
                *rest = rest.strip_prefix(')')?;
            }
            _ => return None,
        }
    }
}

impl Argument {
    /// As COMMAND DOCS shows it.
    pub(super) fn reply(&self) -> Reply {
        let pair = |name: &str, value: Reply| (Reply::bulk(name), value);
        let mut pairs = vec![pair("name", Reply::bulk(self.name)), pair("type", Reply::bulk(self.kind))];
        if self.inner.is_empty() {
            pairs.push(pair("display_text", Reply::bulk(self.name)));
        }
        pairs.extend(self.key.map(|key| pair("key_spec_index", Reply::Integer(key))));
        pairs.extend(self.token.map(|token| pair("token", Reply::bulk(token))));
        pairs.extend(self.since.map(|since| pair("since", Reply::bulk(since))));
        pairs.extend(self.deprecated.map(|since| pair("deprecated_since", Reply::bulk(since))));
        let flags = [(self.optional, "optional"), (self.multiple, "multiple"), (self.multiple_token, "multiple_token")];
        let flags: Vec<Reply> = flags.iter().filter(|(is, _)| *is).map(|(_, flag)| Reply::status(flag)).collect();
        if !flags.is_empty() {
            pairs.push(pair("flags", Reply::Set(flags)));
        }
        if !self.inner.is_empty() {
            pairs.push(pair("arguments", Reply::Array(self.inner.iter().map(Argument::reply).collect())));
        }
        Reply::Map(pairs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_its_docs_and_they_name_commands() {
        let docs = read(include_str!("docs.txt")).expect("the text of the docs");
        let mut missing = Vec::new();
        super::super::each(|entry| missing.extend((!docs.contains_key(entry.spec.name)).then_some(entry.spec.name)));
        missing.retain(|name| !super::super::is_hidden(name));
        assert_eq!(missing, Vec::<&str>::new(), "commands without docs");
        let known = |name: &&str| super::super::find_name(name).is_some();
        assert_eq!(docs.keys().filter(|name| !known(name)).collect::<Vec<_>>(), Vec::<&&str>::new(), "docs of nothing");
    }

    #[test]
    fn arguments_are_read() {
        let read = |mut text: &'static str| arguments(&mut text).map(|all| format!("{all:?}"));
        let text = "key:key#0 id:oneof=`TYPE`@2.8.12!7.0.0?(auto:pure-token=`*` a*) ip:port=`ADDR`?+";
        let mut rest = text;
        let all = arguments(&mut rest).expect("arguments");
        assert_eq!(rest, "");
        let [key, id, ip] = &all[..] else { panic!("{all:?}") };
        assert_eq!((key.name, key.kind, key.key), ("key", "key", Some(0)));
        assert_eq!(
            (id.token, id.since, id.deprecated, id.optional),
            (Some("TYPE"), Some("2.8.12"), Some("7.0.0"), true)
        );
        assert_eq!((id.inner[0].token, id.inner[1].multiple, id.inner[1].kind), (Some("*"), true, "string"));
        assert_eq!((ip.name, ip.multiple, ip.multiple_token), ("ip:port", true, true));
        for wrong in ["a(b", "a=b", "a#x", "a=`b"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
