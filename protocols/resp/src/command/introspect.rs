//! COMMAND, and COUNT, LIST, INFO, DOCS, GETKEYS, GETKEYSANDFLAGS of it

use bytes::Bytes;
use perigee_keyspace::{
    Begin, Category, Error, Find, Flags, Group, KeyFlags, KeySpec, Reply, Result, Spec, args, glob,
};

use super::{Entry, Found, LOADING_STALE, commands, docs, find_name, help, is_hidden, text};
use crate::acl::category;
use crate::session::Session;

commands! {
    "command" -1 LOADING_STALE, Category::CONNECTION, Server "2.8.13" "What is known of commands" now |_, _| Ok(Reply::Array(all().map(info_of).collect()));
    "command|count" 2 LOADING_STALE, Category::CONNECTION, Server "2.8.13" "How many commands there are" now |_, _| Ok(Reply::count(all().count()));
    "command|list" -2 LOADING_STALE, Category::CONNECTION, Server "7.0.0" "The names of commands" now list;
    "command|info" -2 LOADING_STALE, Category::CONNECTION, Server "2.8.13" "What is known of some commands" now info;
    "command|docs" -2 LOADING_STALE, Category::CONNECTION, Server "7.0.0" "What commands are for" now describe;
    "command|getkeys" -3 LOADING_STALE, Category::CONNECTION, Server "2.8.13" "The keys in a call" now |_, words| keys(words, false);
    "command|getkeysandflags" -3 LOADING_STALE, Category::CONNECTION, Server "7.0.0" "The keys in a call, with what becomes of them" now |_, words| keys(words, true);
    "command|help" 2 LOADING_STALE, Category::CONNECTION, Server "5.0.0" "What COMMAND can do" now helps;
}

/// Those that clients are told of.
fn all() -> impl Iterator<Item = &'static Entry> {
    super::all().into_iter().filter(|entry| !is_hidden(entry.spec.name))
}

const FLAGS: &[(Flags, &str)] = &[
    (Flags::WRITE, "write"),
    (Flags::READONLY, "readonly"),
    (Flags::DENYOOM, "denyoom"),
    (Flags::ADMIN, "admin"),
    (Flags::PUBSUB, "pubsub"),
    (Flags::NOSCRIPT, "noscript"),
    (Flags::BLOCKING, "blocking"),
    (Flags::LOADING, "loading"),
    (Flags::STALE, "stale"),
    (Flags::SKIP_MONITOR, "skip_monitor"),
    (Flags::SKIP_SLOWLOG, "skip_slowlog"),
    (Flags::ASKING, "asking"),
    (Flags::FAST, "fast"),
    (Flags::NO_AUTH, "no_auth"),
    (Flags::MAY_REPLICATE, "may_replicate"),
    (Flags::NO_MANDATORY_KEYS, "no_mandatory_keys"),
    (Flags::NO_ASYNC_LOADING, "no_async_loading"),
    (Flags::NO_MULTI, "no_multi"),
    (Flags::ALLOW_BUSY, "allow_busy"),
];

const KEY_FLAGS: &[(KeyFlags, &str)] = &[
    (KeyFlags::RO, "RO"),
    (KeyFlags::RW, "RW"),
    (KeyFlags::OW, "OW"),
    (KeyFlags::RM, "RM"),
    (KeyFlags::ACCESS, "access"),
    (KeyFlags::UPDATE, "update"),
    (KeyFlags::INSERT, "insert"),
    (KeyFlags::DELETE, "delete"),
    (KeyFlags::NOT_KEY, "not_key"),
    (KeyFlags::INCOMPLETE, "incomplete"),
    (KeyFlags::VARIABLE_FLAGS, "variable_flags"),
];

fn status(word: &'static str) -> Reply {
    Reply::status(word)
}

fn key_flags(flags: KeyFlags) -> Reply {
    Reply::Set(KEY_FLAGS.iter().filter(|(flag, _)| flags.contains(*flag)).map(|(_, word)| status(word)).collect())
}

/// First key, last key, step: of the specifications that can be said so, when they follow each other.
fn range(keys: &[KeySpec]) -> ((i64, i64, i64), bool) {
    let (mut first, mut end, mut step, mut movable) = (0, 0, 0, false);
    for spec in keys {
        let (Begin::Index(at), Find::Range { last, step: each, limit }) = (spec.begin, spec.find) else {
            movable = true;
            continue;
        };
        if limit > 1 || spec.flags.contains(KeyFlags::INCOMPLETE) {
            movable |= spec.flags.contains(KeyFlags::INCOMPLETE);
        }
        let at = i64::from(at);
        let last = if last >= 0 { at + i64::from(last) } else { i64::from(last) };
        if first == 0 {
            (first, end, step) = (at, last, i64::from(each.max(1)));
        } else if end >= 0 && at == end + step {
            end = if last >= 0 { last } else { -1 };
        }
    }
    ((first, end, step), movable)
}

/// What COMMAND INFO says of a command.
fn info_of(entry: &Entry) -> Reply {
    let spec = entry.spec;
    let ((first, last, step), movable) = range(spec.keys);
    let mut flags: Vec<Reply> =
        FLAGS.iter().filter(|(flag, _)| spec.flags.contains(*flag)).map(|(_, word)| status(word)).collect();
    if movable || spec.flags.contains(Flags::MOVABLEKEYS) {
        flags.push(status("movablekeys"));
    }
    let categories = spec.categories();
    let categories = category::NAMES.iter().filter(|(_, category)| categories.contains(*category));
    let tips = docs::of(spec.name).map_or(&[][..], |docs| &docs.tips);
    // As Redis has it: none are a set, some are an array.
    let subs: Vec<Reply> = entry.subs.iter().map(info_of).collect();
    let subs = if subs.is_empty() { Reply::Set(subs) } else { Reply::Array(subs) };
    Reply::Array(vec![
        Reply::bulk(spec.name),
        Reply::Integer(i64::from(spec.arity)),
        Reply::Set(flags),
        Reply::Integer(first),
        Reply::Integer(last),
        Reply::Integer(step),
        Reply::Set(categories.map(|(name, _)| Reply::Status(format!("@{name}").into())).collect()),
        Reply::Set(tips.iter().map(Reply::bulk).collect()),
        Reply::Set(spec.keys.iter().map(key_spec).collect()),
        subs,
    ])
}

fn key_spec(spec: &KeySpec) -> Reply {
    let pair = |name: &str, value: Reply| (Reply::bulk(name), value);
    let number = |value: i64| Reply::Integer(value);
    let (begin, begin_spec) = match spec.begin {
        Begin::Index(at) => ("index", vec![pair("index", number(i64::from(at)))]),
        Begin::Keyword(word, from) => {
            ("keyword", vec![pair("keyword", Reply::bulk(word)), pair("startfrom", number(i64::from(from)))])
        }
        Begin::Unknown => ("unknown", Vec::new()),
    };
    let (find, find_spec) = match spec.find {
        Find::Range { last, step, limit } => (
            "range",
            vec![
                pair("lastkey", number(i64::from(last))),
                pair("keystep", number(i64::from(step))),
                pair("limit", number(i64::from(limit))),
            ],
        ),
        Find::Count { at, first, step } => (
            "keynum",
            vec![
                pair("keynumidx", number(i64::from(at))),
                pair("firstkey", number(i64::from(first))),
                pair("keystep", number(i64::from(step))),
            ],
        ),
        Find::Unknown => ("unknown", Vec::new()),
    };
    let typed = |kind: &str, spec| Reply::Map(vec![pair("type", Reply::bulk(kind)), pair("spec", Reply::Map(spec))]);
    Reply::Map(vec![
        pair("flags", key_flags(spec.flags)),
        pair("begin_search", typed(begin, begin_spec)),
        pair("find_keys", typed(find, find_spec)),
    ])
}

fn info(_session: &mut Session, words: &[Bytes]) -> Result<Reply> {
    if words.len() == 2 {
        return Ok(Reply::Array(all().map(info_of).collect()));
    }
    let one = |name: &Bytes| find_name(&text(name).to_ascii_lowercase()).map_or(Reply::Null, info_of);
    Ok(Reply::Array(words[2..].iter().map(one).collect()))
}

fn list(_session: &mut Session, words: &[Bytes]) -> Result<Reply> {
    let takes: Box<dyn Fn(&Entry) -> bool> = match &words[2..] {
        [] => Box::new(|_| true),
        [filter, kind, value] if args::is(filter, "filterby") => {
            if args::is(kind, "aclcat") {
                match category::of(&text(value)) {
                    Some(category) => Box::new(move |entry| entry.spec.categories().contains(category)),
                    None => Box::new(|_| false),
                }
            } else if args::is(kind, "pattern") {
                let pattern = value.clone();
                Box::new(move |entry| glob::matches_case(&pattern, entry.spec.name.as_bytes(), true))
            } else if args::is(kind, "module") {
                let name = value.clone();
                Box::new(move |entry| entry.spec.group == Group::Module && *name == *MODULE.as_bytes())
            } else {
                return Err(Error::SYNTAX);
            }
        }
        _ => return Err(Error::SYNTAX),
    };
    let mut names = Vec::new();
    for entry in all() {
        if takes(entry) {
            names.push(Reply::bulk(entry.spec.name));
        }
        names.extend(entry.subs.iter().filter(|sub| takes(sub)).map(|sub| Reply::bulk(sub.spec.name)));
    }
    Ok(Reply::Array(names))
}

/// The module that clients find the commands of time series in.
const MODULE: &str = "timeseries";

fn group(group: Group) -> &'static str {
    match group {
        Group::String => "string",
        Group::Generic => "generic",
        Group::List => "list",
        Group::Set => "set",
        Group::SortedSet => "sorted-set",
        Group::Hash => "hash",
        Group::Stream => "stream",
        Group::Bitmap => "bitmap",
        Group::HyperLogLog => "hyperloglog",
        Group::Geo => "geo",
        Group::PubSub => "pubsub",
        Group::Transactions => "transactions",
        Group::Scripting => "scripting",
        Group::Connection => "connection",
        Group::Server => "server",
        Group::Cluster => "cluster",
        Group::Module => "module",
    }
}

fn docs_of(entry: &Entry) -> (Reply, Reply) {
    let spec: &Spec = entry.spec;
    let pair = |name: &str, value: Reply| (Reply::bulk(name), value);
    let mut pairs = vec![
        pair("summary", Reply::bulk(spec.summary)),
        pair("since", Reply::bulk(spec.since)),
        pair("group", Reply::bulk(group(spec.group))),
    ];
    if spec.group == Group::Module {
        pairs.push(pair("module", Reply::bulk(MODULE)));
    }
    if let Some(docs) = docs::of(spec.name) {
        if !docs.complexity.is_empty() {
            pairs.push(pair("complexity", Reply::bulk(docs.complexity)));
        }
        let mut flags: Vec<Reply> = docs.flags.iter().map(|flag| status(flag)).collect();
        flags.extend(docs.deprecated.map(|_| status("deprecated")));
        if !flags.is_empty() {
            pairs.push(pair("doc_flags", Reply::Set(flags)));
        }
        if let Some((since, instead)) = docs.deprecated {
            pairs.push(pair("deprecated_since", Reply::bulk(since)));
            pairs.push(pair("replaced_by", Reply::bulk(instead)));
        }
        if !docs.arguments.is_empty() {
            pairs.push(pair("arguments", Reply::Array(docs.arguments.iter().map(docs::Argument::reply).collect())));
        }
    }
    if !entry.subs.is_empty() {
        pairs.push(pair("subcommands", Reply::Map(entry.subs.iter().map(docs_of).collect())));
    }
    (Reply::bulk(spec.name), Reply::Map(pairs))
}

fn describe(_session: &mut Session, words: &[Bytes]) -> Result<Reply> {
    if words.len() == 2 {
        return Ok(Reply::Map(all().map(docs_of).collect()));
    }
    let found = words[2..].iter().filter_map(|name| find_name(&text(name).to_ascii_lowercase()));
    Ok(Reply::Map(found.map(docs_of).collect()))
}

fn keys(words: &[Bytes], with_flags: bool) -> Result<Reply> {
    let call = &words[2..];
    let Found::Command(entry) = super::find(call) else {
        return Err(Error::reply("ERR Invalid command specified"));
    };
    if entry.spec.keys.is_empty() {
        return Err(Error::reply("ERR The command has no key arguments"));
    }
    if !entry.spec.takes(call.len()) {
        return Err(Error::reply("ERR Invalid number of arguments specified for command"));
    }
    let counts_wrong = |spec: &KeySpec| match (spec.begin, spec.find) {
        (Begin::Index(begin), Find::Count { at, .. }) => {
            let count = call.get(usize::from(begin) + usize::from(at)).and_then(|count| args::parse_integer(count));
            count.is_none_or(|count| usize::try_from(count).map_or(true, |count| count > call.len()))
        }
        _ => false,
    };
    if entry.spec.keys.iter().any(counts_wrong) {
        return Err(Error::reply("ERR Invalid arguments specified for command"));
    }
    let found = entry.keys(call);
    if found.is_empty() {
        if entry.spec.flags.contains(Flags::NO_MANDATORY_KEYS) {
            return Ok(Reply::Array(Vec::new()));
        }
        return Err(Error::reply("ERR Invalid arguments specified for command"));
    }
    let one = |(at, flags): &(usize, KeyFlags)| {
        let key = Reply::Bulk(call[*at].clone());
        let flags = flags.difference(KeyFlags::VARIABLE_FLAGS);
        if with_flags { Reply::Array(vec![key, key_flags(flags)]) } else { key }
    };
    Ok(Reply::Array(found.iter().map(one).collect()))
}

fn helps(_session: &mut Session, _args: &[Bytes]) -> Result<Reply> {
    Ok(help(
        "COMMAND",
        &[
            "(no subcommand)",
            "    What is known of all commands.",
            "COUNT",
            "    How many there are.",
            "DOCS [<command-name> ...]",
            "    What they are for.",
            "GETKEYS <full-command>",
            "    The keys in a call.",
            "GETKEYSANDFLAGS <full-command>",
            "    The keys in a call, with what becomes of them.",
            "INFO [<command-name> ...]",
            "    What is known of some.",
            "LIST",
            "    Their names.",
        ],
    ))
}
