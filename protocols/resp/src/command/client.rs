//! CLIENT, but KILL and TRACKING

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use perigee_keyspace::{Category, Error, Flags, Reply, Result, args};

use super::{ADMIN, LOADING_STALE, NOSCRIPT_LOADING_STALE, commands, help, text};
use crate::client::Client;
use crate::session::{Ended, Replies, Session};
use crate::shared::Shared;

commands! {
    "client" -2 Flags::empty(), Category::empty(), Connection "2.4.0" "Connections" container;
    "client|id" 2 NOSCRIPT_LOADING_STALE, Category::CONNECTION, Connection "5.0.0" "The number of this connection" now id;
    "client|info" 2 NOSCRIPT_LOADING_STALE, Category::CONNECTION, Connection "6.2.0" "What is known of this connection" now info;
    "client|list" -2 ADMIN, Category::CONNECTION, Connection "2.4.0" "What is known of connections" now list;
    "client|setname" 3 NOSCRIPT_LOADING_STALE, Category::CONNECTION, Connection "2.6.9" "Names this connection" now set_name;
    "client|getname" 2 NOSCRIPT_LOADING_STALE, Category::CONNECTION, Connection "2.6.9" "The name of this connection" now get_name;
    "client|setinfo" 4 NOSCRIPT_LOADING_STALE, Category::CONNECTION, Connection "7.2.0" "Says which library the client is" now set_info;
    "client|no-evict" 3 ADMIN, Category::CONNECTION, Connection "7.0.0" "Whether this connection may be closed when memory is short" now no_evict;
    "client|no-touch" 3 NOSCRIPT_LOADING_STALE, Category::CONNECTION, Connection "7.2.0" "Whether commands of this connection count as a use of keys" now no_touch;
    "client|reply" 3 NOSCRIPT_LOADING_STALE, Category::CONNECTION, Connection "3.2.0" "Whether commands are answered" now reply;
    "client|pause" -3 ADMIN, Category::CONNECTION, Connection "2.9.50" "Holds commands of all clients back" now pause;
    "client|unpause" 2 ADMIN, Category::CONNECTION, Connection "6.2.0" "Undoes CLIENT PAUSE" now unpause;
    "client|unblock" -3 ADMIN, Category::CONNECTION, Connection "5.0.0" "Ends the wait of a connection" later unblock;
    "client|help" 2 LOADING_STALE, Category::CONNECTION, Connection "5.0.0" "What CLIENT can do" now helps;
}

fn id(session: &mut Session, _args: &[Bytes]) -> Result<Reply> {
    Ok(Reply::Integer(i64::try_from(session.client.id).unwrap_or(i64::MAX)))
}

/// What this connection shows of itself is as of this command.
fn show_now(session: &Session, command: &str, args: &[Bytes]) {
    session.client.active_ms.store(session.client.age_ms(), Ordering::Relaxed);
    session.show();
    let mut view = session.client.view.lock();
    command.clone_into(&mut view.command);
    view.input += request_bytes(args);
}

/// The length of a command as it is sent.
fn request_bytes(args: &[Bytes]) -> usize {
    let digits = |number: usize| number.checked_ilog10().unwrap_or(0) as usize + 1;
    3 + digits(args.len()) + args.iter().map(|arg| arg.len() + digits(arg.len()) + 5).sum::<usize>()
}

fn info(session: &mut Session, args: &[Bytes]) -> Result<Reply> {
    show_now(session, "client|info", args);
    Ok(Reply::Verbatim("txt", (describe(&session.shared, &session.client) + "\n").into()))
}

fn list(session: &mut Session, args: &[Bytes]) -> Result<Reply> {
    show_now(session, "client|list", args);
    let shared = &session.shared;
    let clients = match args.get(2) {
        None => shared.clients.all(),
        Some(word) if args::is(word, "type") && args.len() == 4 => {
            let kind = kind_of(&args[3])?;
            shared.clients.all().into_iter().filter(|client| is_kind(client, kind)).collect()
        }
        Some(word) if args::is(word, "id") && args.len() > 3 => {
            let mut found = Vec::new();
            for id in &args[3..] {
                let id = args::parse_integer(id)
                    .and_then(|id| u64::try_from(id).ok())
                    .ok_or_else(|| Error::reply("ERR Invalid client ID"))?;
                found.extend(shared.clients.get(id));
            }
            found
        }
        Some(_) => return Err(Error::SYNTAX),
    };
    let mut lines = String::new();
    for client in clients {
        lines.push_str(&describe(shared, &client));
        lines.push('\n');
    }
    Ok(Reply::Verbatim("txt", lines.into()))
}

/// The type of clients that a word names.
pub(super) fn kind_of(word: &[u8]) -> Result<&'static str> {
    ["normal", "slave", "replica", "pubsub", "master"]
        .into_iter()
        .find(|kind| args::is(word, kind))
        .ok_or_else(|| Error::reply(format!("ERR Unknown client type '{}'", text(word))))
}

/// Whether a client is of a type.
pub(super) fn is_kind(client: &Client, kind: &str) -> bool {
    match kind {
        "normal" => !client.is_pubsub(),
        "pubsub" => client.is_pubsub(),
        _ => false,
    }
}

/// A line of CLIENT LIST.
pub(crate) fn describe(shared: &Shared, client: &Client) -> String {
    let _ = shared;
    let view = client.view.lock().clone();
    let outbox = client.outbox.lock().bytes.len();
    let output = client.output_bytes.load(Ordering::Relaxed) + outbox;
    let age = client.age_ms();
    let idle = age.saturating_sub(client.active_ms.load(Ordering::Relaxed)) / 1_000;
    let mut flags = String::new();
    let mut flag = |letter: char, holds: bool| {
        if holds {
            flags.push(letter);
        }
    };
    flag('O', view.monitor);
    flag('P', view.channels + view.patterns + view.shards > 0);
    flag('x', view.multi.is_some());
    flag('b', view.blocked);
    flag('t', view.tracking.is_some());
    flag('R', view.tracking.is_some_and(|tracking| tracking.broken));
    flag('B', view.tracking.is_some_and(|tracking| tracking.bcast));
    flag('e', view.no_evict);
    flag('T', view.no_touch);
    if flags.is_empty() {
        flags.push('N');
    }
    let redirect = view.tracking.map_or(-1, |tracking| i64::try_from(tracking.redirect).unwrap_or(-1));
    let multi = view.multi.map_or(-1, |count| i64::try_from(count).unwrap_or(-1));
    let memory = size_of::<Client>() + view.input + view.input_free + view.multi_bytes + output + 1_024;
    format!(
        "id={} addr={} laddr={} fd={} name={} age={} idle={idle} flags={flags} db={} sub={} psub={} ssub={} multi={multi} \
         qbuf={} qbuf-free={} argv-mem=0 multi-mem={} rbs=16384 rbp=16384 obl=0 oll={} omem={output} tot-mem={memory} \
         events=r cmd={} user={} redir={redirect} resp={} watch={} lib-name={} lib-ver={}",
        client.id,
        client.address(),
        client.local_address(),
        client.id.saturating_add(7),
        view.name,
        age / 1_000,
        view.db,
        view.channels,
        view.patterns,
        view.shards,
        view.input,
        view.input_free,
        view.multi_bytes,
        usize::from(output > 0),
        if view.command.is_empty() { "NULL" } else { &view.command },
        view.user,
        if client.is_resp3() { 3 } else { 2 },
        view.watching,
        view.lib_name,
        view.lib_version,
    )
}

/// A name may hold what can be seen, and no blank.
pub(super) fn check_name(name: &[u8]) -> Result<()> {
    if name.iter().all(|byte| (b'!'..=b'~').contains(byte)) {
        return Ok(());
    }
    Err(Error::reply("ERR Client names cannot contain spaces, newlines or special characters."))
}

fn set_name(session: &mut Session, args: &[Bytes]) -> Result<Reply> {
    check_name(&args[2])?;
    session.client.view.lock().name = text(&args[2]).into_owned();
    Ok(Reply::OK)
}

fn get_name(session: &mut Session, _args: &[Bytes]) -> Result<Reply> {
    let name = session.client.view.lock().name.clone();
    Ok(if name.is_empty() { Reply::Null } else { Reply::bulk(name) })
}

fn set_info(session: &mut Session, args: &[Bytes]) -> Result<Reply> {
    let value = &args[3];
    let check = |word: &str| {
        if value.iter().all(|byte| (b'!'..=b'~').contains(byte)) {
            return Ok(());
        }
        Err(Error::reply(format!("ERR {word} cannot contain spaces, newlines or special characters.")))
    };
    if args::is(&args[2], "lib-name") {
        check("lib-name")?;
        session.client.view.lock().lib_name = text(value).into_owned();
    } else if args::is(&args[2], "lib-ver") {
        check("lib-ver")?;
        session.client.view.lock().lib_version = text(value).into_owned();
    } else {
        return Err(Error::reply(format!("ERR Unrecognized option '{}'", text(&args[2]))));
    }
    Ok(Reply::OK)
}

fn on_or_off(word: &[u8]) -> Result<bool> {
    match word {
        word if args::is(word, "on") => Ok(true),
        word if args::is(word, "off") => Ok(false),
        _ => Err(Error::SYNTAX),
    }
}

fn no_evict(session: &mut Session, args: &[Bytes]) -> Result<Reply> {
    session.client.view.lock().no_evict = on_or_off(&args[2])?;
    Ok(Reply::OK)
}

fn no_touch(session: &mut Session, args: &[Bytes]) -> Result<Reply> {
    session.no_touch = on_or_off(&args[2])?;
    Ok(Reply::OK)
}

fn reply(session: &mut Session, args: &[Bytes]) -> Result<Reply> {
    let word = &args[2];
    if args::is(word, "on") {
        session.replies = Replies::On;
        return Ok(Reply::OK);
    }
    if args::is(word, "off") {
        session.replies = Replies::Off;
    } else if args::is(word, "skip") {
        if session.replies == Replies::On {
            session.replies = Replies::SkipNext;
        }
    } else {
        return Err(Error::SYNTAX);
    }
    Ok(Reply::Nothing)
}

fn pause(session: &mut Session, args: &[Bytes]) -> Result<Reply> {
    let all = match args.get(3) {
        None => true,
        Some(mode) if args::is(mode, "all") => true,
        Some(mode) if args::is(mode, "write") => false,
        Some(_) => return Err(Error::reply("ERR CLIENT PAUSE mode must be WRITE or ALL")),
    };
    if args.len() > 4 {
        return Err(super::wrong_sub("CLIENT", &args[1]));
    }
    let ms =
        args::parse_integer(&args[2]).ok_or_else(|| Error::reply("ERR timeout is not an integer or out of range"))?;
    let ms = u64::try_from(ms).map_err(|_| Error::reply("ERR timeout is negative"))?;
    session.shared.pause(Duration::from_millis(ms), all);
    Ok(Reply::OK)
}

fn unpause(session: &mut Session, _args: &[Bytes]) -> Result<Reply> {
    session.shared.unpause();
    Ok(Reply::OK)
}

async fn unblock(session: &mut Session, args: &[Bytes]) -> Result<Result<Reply>, Ended> {
    let with_error = match args.get(3) {
        None => false,
        Some(word) if args::is(word, "timeout") => false,
        Some(word) if args::is(word, "error") => true,
        Some(_) => return Ok(Err(Error::reply("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR"))),
    };
    let Some(id) = args::parse_integer(&args[2]) else { return Ok(Err(Error::NOT_AN_INTEGER)) };
    let keyspace = std::sync::Arc::clone(&session.shared.keyspace);
    let id = u64::try_from(id).unwrap_or(0);
    let unblocked = session.wait(false, async move { keyspace.unblock(id, with_error).await }).await?;
    Ok(Ok(Reply::flag(unblocked)))
}

fn helps(_session: &mut Session, _args: &[Bytes]) -> Result<Reply> {
    Ok(help(
        "CLIENT",
        &[
            "CACHING (YES|NO)",
            "    Whether the keys of the next command are tracked.",
            "GETREDIR",
            "    Where invalidations go.",
            "GETNAME",
            "    The name of this connection.",
            "ID",
            "    The number of this connection.",
            "INFO",
            "    What is known of this connection.",
            "KILL <ip:port>",
            "KILL <option> <value> [<option> <value> [...]]",
            "    Closes connections: by ADDR, LADDR, TYPE, USER, SKIPME, ID, MAXAGE.",
            "LIST [TYPE (NORMAL|MASTER|REPLICA|PUBSUB)] [ID <id> ...]",
            "    What is known of connections.",
            "NO-EVICT (ON|OFF)",
            "    Keeps this connection when memory is short.",
            "NO-TOUCH (ON|OFF)",
            "    Leaves the last use of keys as it is.",
            "PAUSE <timeout> [WRITE|ALL]",
            "    Holds commands back.",
            "REPLY (ON|OFF|SKIP)",
            "    Whether commands are answered.",
            "SETINFO <option> <value>",
            "    Says which library the client is: LIB-NAME, LIB-VER.",
            "SETNAME <name>",
            "    Names this connection.",
            "TRACKING (ON|OFF) [REDIRECT <id>] [BCAST] [PREFIX <prefix> [...]] [OPTIN] [OPTOUT] [NOLOOP]",
            "    Tells this connection of keys that change.",
            "TRACKINGINFO",
            "    What is tracked.",
            "UNBLOCK <clientid> [TIMEOUT|ERROR]",
            "    Ends the wait of a connection.",
            "UNPAUSE",
            "    Undoes PAUSE.",
        ],
    ))
}
