//! FUNCTION LOAD | DELETE | FLUSH | LIST | STATS | KILL | DUMP | RESTORE | HELP

use bytes::Bytes;

use super::function_restore::{dump, restore};
use super::known::kill;
use crate::args::is;
use crate::glob;
use crate::script::{Function, Library};
use crate::spec::{Category, Flags, Group, Run, Spec};
use crate::{Error, Reader, Reply, Result, Writer};

/// FUNCTION
pub(super) static FUNCTION: Spec = Spec {
    name: "function",
    arity: -2,
    group: Group::Scripting,
    since: "7.0.0",
    summary: "Libraries of functions",
    subcommands: &[&DELETE, &DUMP, &FLUSH, &HELP, &KILL, &LIST, &LOAD, &RESTORE, &STATS],
    run: Run::Container,
    ..Spec::DEFAULT
};

static LOAD: Spec = Spec {
    name: "function|load",
    arity: -3,
    flags: Flags::WRITE.union(Flags::DENYOOM).union(Flags::NOSCRIPT),
    category: Category::SCRIPTING,
    group: Group::Scripting,
    since: "7.0.0",
    summary: "Makes a library",
    run: Run::Write(load),
    ..Spec::DEFAULT
};

static DELETE: Spec = Spec {
    name: "function|delete",
    arity: 3,
    flags: Flags::WRITE.union(Flags::NOSCRIPT),
    category: Category::SCRIPTING,
    group: Group::Scripting,
    since: "7.0.0",
    summary: "Removes a library",
    run: Run::Write(delete),
    ..Spec::DEFAULT
};

static FLUSH: Spec = Spec {
    name: "function|flush",
    arity: -2,
    flags: Flags::WRITE.union(Flags::NOSCRIPT),
    category: Category::SCRIPTING,
    group: Group::Scripting,
    since: "7.0.0",
    summary: "Removes all libraries",
    run: Run::Write(flush),
    ..Spec::DEFAULT
};

static LIST: Spec = Spec {
    name: "function|list",
    arity: -2,
    flags: Flags::NOSCRIPT,
    category: Category::SCRIPTING,
    group: Group::Scripting,
    since: "7.0.0",
    summary: "The libraries and their functions",
    run: Run::Read(list),
    ..Spec::DEFAULT
};

static STATS: Spec = Spec {
    name: "function|stats",
    arity: 2,
    flags: Flags::NOSCRIPT.union(Flags::ALLOW_BUSY),
    category: Category::SCRIPTING,
    group: Group::Scripting,
    since: "7.0.0",
    summary: "What runs, and how many functions there are",
    run: Run::Read(stats),
    ..Spec::DEFAULT
};

static KILL: Spec = Spec {
    name: "function|kill",
    arity: 2,
    flags: Flags::NOSCRIPT.union(Flags::ALLOW_BUSY),
    category: Category::SCRIPTING,
    group: Group::Scripting,
    since: "7.0.0",
    summary: "Ends the function that runs",
    run: Run::Read(kill),
    ..Spec::DEFAULT
};

static DUMP: Spec = Spec {
    name: "function|dump",
    arity: 2,
    flags: Flags::NOSCRIPT,
    category: Category::SCRIPTING,
    group: Group::Scripting,
    since: "7.0.0",
    summary: "All libraries as bytes",
    run: Run::Read(dump),
    ..Spec::DEFAULT
};

static RESTORE: Spec = Spec {
    name: "function|restore",
    arity: -3,
    flags: Flags::WRITE.union(Flags::DENYOOM).union(Flags::NOSCRIPT),
    category: Category::SCRIPTING,
    group: Group::Scripting,
    since: "7.0.0",
    summary: "Makes libraries of such bytes",
    run: Run::Write(restore),
    ..Spec::DEFAULT
};

static HELP: Spec = Spec {
    name: "function|help",
    arity: 2,
    flags: Flags::LOADING.union(Flags::STALE),
    category: Category::SCRIPTING,
    group: Group::Scripting,
    since: "7.0.0",
    summary: "Lists the subcommands",
    run: Run::Read(help),
    ..Spec::DEFAULT
};

fn load(writer: &mut Writer<'_>, args: &[Bytes]) -> Result<Reply> {
    let (mut replace, mut options) = (false, &args[2..]);
    while let [option, rest @ ..] = options
        && !rest.is_empty()
    {
        if !is(option, "replace") {
            let option = String::from_utf8_lossy(option);
            return Err(Error::reply(format!("ERR Unknown option given: {option}")));
        }
        (replace, options) = (true, rest);
    }
    let code = options.first().ok_or(Error::SYNTAX)?;
    let error = |text: String| Error::reply(format!("ERR {text}"));
    let name = Library::name_of(code).map_err(error)?;
    let tenant = writer.context.db.tenant;
    let known = writer.state().scripts.tenant(tenant);
    if !replace && known.is_some_and(|known| known.libraries.contains_key(&name)) {
        return Err(error(format!("Library '{}' already exists", String::from_utf8_lossy(&name))));
    }
    let library = Library::load(code).map_err(error)?;
    if let Some(known) = known {
        refuse_doubles(&library.functions, known.libraries.iter().filter(|(other, _)| **other != name))?;
    }
    writer.scripts_mut().tenant_mut(tenant).libraries.insert(name.clone(), library);
    Ok(Reply::Bulk(name))
}

/// What is said of more arguments than a subcommand takes.
pub(super) fn wrong_count(word: &[u8]) -> Error {
    let word = String::from_utf8_lossy(word);
    Error::reply(format!("ERR unknown subcommand or wrong number of arguments for '{word}'. Try FUNCTION HELP."))
}

/// A function's name belongs to one library, in any case.
pub(super) fn refuse_doubles<'a>(
    functions: &[Function],
    others: impl Iterator<Item = (&'a Bytes, &'a Library)>,
) -> Result<()> {
    for (_, other) in others {
        if let Some(double) =
            functions.iter().find(|own| other.functions.iter().any(|f| f.name.eq_ignore_ascii_case(&own.name)))
        {
            let name = String::from_utf8_lossy(&double.name);
            return Err(Error::reply(format!("ERR Function {name} already exists")));
        }
    }
    Ok(())
}

fn delete(writer: &mut Writer<'_>, args: &[Bytes]) -> Result<Reply> {
    let tenant = writer.context.db.tenant;
    let is_known = |known: &crate::script::Tenant| known.libraries.contains_key(&args[2]);
    if !writer.state().scripts.tenant(tenant).is_some_and(is_known) {
        return Err(Error::reply("ERR Library not found"));
    }
    writer.scripts_mut().tenant_mut(tenant).libraries.remove(&args[2]);
    Ok(Reply::OK)
}

fn flush(writer: &mut Writer<'_>, args: &[Bytes]) -> Result<Reply> {
    match args.get(2) {
        _ if args.len() > 3 => return Err(wrong_count(&args[1])),
        None => {}
        Some(mode) if is(mode, "sync") || is(mode, "async") => {}
        Some(_) => return Err(Error::reply("ERR FUNCTION FLUSH only supports SYNC|ASYNC option")),
    }
    let tenant = writer.context.db.tenant;
    writer.scripts_mut().tenant_mut(tenant).libraries.clear();
    Ok(Reply::OK)
}

fn list(reader: &Reader<'_>, args: &[Bytes]) -> Result<Reply> {
    let (mut pattern, mut with_code) = (None, false);
    let mut options = &args[2..];
    while let [option, rest @ ..] = options {
        options = rest;
        if !with_code && is(option, "withcode") {
            with_code = true;
        } else if pattern.is_none() && is(option, "libraryname") {
            let [text, rest @ ..] = rest else {
                return Err(Error::reply("ERR library name argument was not given"));
            };
            (pattern, options) = (Some(text), rest);
        } else {
            let option = String::from_utf8_lossy(option);
            return Err(Error::reply(format!("ERR Unknown argument {option}")));
        }
    }
    let known = reader.state().scripts.tenant(reader.context.db.tenant);
    let libraries = known.into_iter().flat_map(|known| &known.libraries);
    let fits = |name: &Bytes| pattern.is_none_or(|pattern| glob::matches(pattern, name));
    Ok(Reply::Array(
        libraries.filter(|(name, _)| fits(name)).map(|(name, library)| entry(name, library, with_code)).collect(),
    ))
}

fn entry(name: &Bytes, library: &Library, with_code: bool) -> Reply {
    let functions = library.functions.iter().map(|function| {
        let flags = function.flags.names().map(Reply::status).collect();
        Reply::Map(vec![
            (Reply::bulk("name"), Reply::Bulk(function.name.clone())),
            (Reply::bulk("description"), Reply::bulk_or_null(function.description.clone())),
            (Reply::bulk("flags"), Reply::Set(flags)),
        ])
    });
    let mut fields = vec![
        (Reply::bulk("library_name"), Reply::Bulk(name.clone())),
        (Reply::bulk("engine"), Reply::bulk("LUA")),
        (Reply::bulk("functions"), Reply::Array(functions.collect())),
    ];
    if with_code {
        fields.push((Reply::bulk("library_code"), Reply::Bulk(library.code.text.clone())));
    }
    Reply::Map(fields)
}

fn stats(reader: &Reader<'_>, _: &[Bytes]) -> Result<Reply> {
    let known = reader.state().scripts.tenant(reader.context.db.tenant);
    let libraries = known.map_or(0, |known| known.libraries.len());
    let functions = known.map_or(0, |known| known.libraries.values().map(|library| library.functions.len()).sum());
    let counts = Reply::Map(vec![
        (Reply::bulk("libraries_count"), Reply::count(libraries)),
        (Reply::bulk("functions_count"), Reply::count(functions)),
    ]);
    Ok(Reply::Map(vec![
        (Reply::bulk("running_script"), Reply::Null),
        (Reply::bulk("engines"), Reply::Map(vec![(Reply::bulk("LUA"), counts)])),
    ]))
}

fn help(_: &Reader<'_>, _: &[Bytes]) -> Result<Reply> {
    let lines = [
        "FUNCTION <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "LOAD [REPLACE] <code>",
        "    Makes a library.",
        "DELETE <library>",
        "    Removes a library.",
        "LIST [LIBRARYNAME <pattern>] [WITHCODE]",
        "    The libraries and their functions.",
        "STATS",
        "    What runs, and how many functions there are.",
        "KILL",
        "    Ends the function that runs.",
        "FLUSH [ASYNC | SYNC]",
        "    Removes all libraries.",
        "DUMP",
        "    All libraries as bytes, for RESTORE.",
        "RESTORE <bytes> [FLUSH | APPEND | REPLACE]",
        "    Makes libraries of such bytes.",
        "HELP",
        "    Prints this help.",
    ];
    Ok(Reply::Array(lines.into_iter().map(Reply::status).collect()))
}
