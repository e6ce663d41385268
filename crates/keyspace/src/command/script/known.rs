//! SCRIPT LOAD | EXISTS | FLUSH | KILL | DEBUG | HELP

use bytes::Bytes;

use crate::args::is;
use crate::spec::{Category, Flags, Group, Run, Spec};
use crate::{Error, Reader, Reply, Result, Writer};

/// SCRIPT
pub(super) static SCRIPT: Spec = Spec {
    name: "script",
    arity: -2,
    group: Group::Scripting,
    since: "2.6.0",
    summary: "The scripts that are known",
    subcommands: &[&DEBUG, &EXISTS, &FLUSH, &HELP, &KILL, &LOAD],
    run: Run::Container,
    ..Spec::DEFAULT
};

static LOAD: Spec = Spec {
    name: "script|load",
    arity: 3,
    flags: Flags::NOSCRIPT.union(Flags::STALE),
    category: Category::SCRIPTING,
    group: Group::Scripting,
    since: "2.6.0",
    summary: "Makes a script known",
    run: Run::Write(load),
    ..Spec::DEFAULT
};

static EXISTS: Spec = Spec {
    name: "script|exists",
    arity: -3,
    flags: Flags::NOSCRIPT,
    category: Category::SCRIPTING,
    group: Group::Scripting,
    since: "2.6.0",
    summary: "Whether scripts are known",
    run: Run::Read(exists),
    ..Spec::DEFAULT
};

static FLUSH: Spec = Spec {
    name: "script|flush",
    arity: -2,
    flags: Flags::NOSCRIPT,
    category: Category::SCRIPTING,
    group: Group::Scripting,
    since: "2.6.0",
    summary: "Forgets all scripts",
    run: Run::Write(flush),
    ..Spec::DEFAULT
};

static KILL: Spec = Spec {
    name: "script|kill",
    arity: 2,
    flags: Flags::NOSCRIPT.union(Flags::ALLOW_BUSY),
    category: Category::SCRIPTING,
    group: Group::Scripting,
    since: "2.6.0",
    summary: "Ends the script that runs",
    run: Run::Read(kill),
    ..Spec::DEFAULT
};

static DEBUG: Spec = Spec {
    name: "script|debug",
    arity: 3,
    flags: Flags::NOSCRIPT,
    category: Category::SCRIPTING,
    group: Group::Scripting,
    since: "3.2.0",
    summary: "Chooses how scripts are debugged",
    run: Run::Read(debug),
    ..Spec::DEFAULT
};

static HELP: Spec = Spec {
    name: "script|help",
    arity: 2,
    flags: Flags::LOADING.union(Flags::STALE),
    category: Category::SCRIPTING,
    group: Group::Scripting,
    since: "5.0.0",
    summary: "Lists the subcommands",
    run: Run::Read(help),
    ..Spec::DEFAULT
};

fn load(writer: &mut Writer<'_>, args: &[Bytes]) -> Result<Reply> {
    let digest = writer.remember_script(&args[2], false).map_err(|text| Error::reply(format!("ERR {text}")))?;
    Ok(Reply::bulk(digest))
}

fn exists(reader: &Reader<'_>, args: &[Bytes]) -> Result<Reply> {
    let tenant = reader.state().scripts.tenant(reader.context.db.tenant);
    let is_known = |digest: &Bytes| {
        let digest = <[u8; 40]>::try_from(digest.as_ref());
        digest.is_ok_and(|digest| tenant.is_some_and(|tenant| tenant.scripts.contains_key(&digest)))
    };
    Ok(Reply::Array(args[2..].iter().map(|digest| Reply::flag(is_known(digest))).collect()))
}

fn flush(writer: &mut Writer<'_>, args: &[Bytes]) -> Result<Reply> {
    match args.get(2) {
        None => {}
        Some(mode) if args.len() == 3 && (is(mode, "sync") || is(mode, "async")) => {}
        Some(_) => return Err(Error::reply("ERR SCRIPT FLUSH only support SYNC|ASYNC option")),
    }
    let tenant = writer.context.db.tenant;
    writer.scripts_mut().tenant_mut(tenant).scripts.clear();
    Ok(Reply::OK)
}

/// A script runs in one step of the log: whoever could end it comes behind it.
pub(super) fn kill(_: &Reader<'_>, _: &[Bytes]) -> Result<Reply> {
    Err(Error::reply("NOTBUSY No scripts in execution right now."))
}

fn debug(_: &Reader<'_>, args: &[Bytes]) -> Result<Reply> {
    if is(&args[2], "no") {
        return Ok(Reply::OK);
    }
    Err(Error::reply("ERR Scripts cannot be debugged here: they run in one step"))
}

fn help(_: &Reader<'_>, _: &[Bytes]) -> Result<Reply> {
    let lines = [
        "SCRIPT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "EXISTS <sha1> [<sha1> ...]",
        "    Whether scripts are known.",
        "FLUSH [ASYNC | SYNC]",
        "    Forgets all scripts.",
        "KILL",
        "    Ends the script that runs.",
        "LOAD <script>",
        "    Makes a script known without running it.",
        "HELP",
        "    Prints this help.",
    ];
    Ok(Reply::Array(lines.into_iter().map(Reply::status).collect()))
}
