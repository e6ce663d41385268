//! ACL

use bytes::Bytes;
use perigee_keyspace::{Category, Error, Flags, Reply, Result, args};

use super::{ADMIN, Found, LOADING_STALE, NOSCRIPT_LOADING_STALE, commands, help, text};
use crate::acl::{self, Acl, DEFAULT, Denied, User, category};
use crate::session::{Killed, Session};

commands! {
    "acl" -2 Flags::empty(), Category::empty(), Server "6.0.0" "Users and what they may do" container;
    "acl|whoami" 2 NOSCRIPT_LOADING_STALE, Category::empty(), Server "6.0.0" "The user of this connection" now whoami;
    "acl|cat" -2 NOSCRIPT_LOADING_STALE, Category::empty(), Server "6.0.0" "Categories of commands, or the commands of one" now cat;
    "acl|list" 2 ADMIN, Category::empty(), Server "6.0.0" "All users with their rules" now list;
    "acl|users" 2 ADMIN, Category::empty(), Server "6.0.0" "The names of all users" now users;
    "acl|getuser" 3 ADMIN, Category::empty(), Server "6.0.0" "The rules of a user" now get_user;
    "acl|setuser" -3 ADMIN, Category::empty(), Server "6.0.0" "Makes or changes a user" now set_user;
    "acl|deluser" -3 ADMIN, Category::empty(), Server "6.0.0" "Removes users and closes their connections" now del_user;
    "acl|genpass" -2 NOSCRIPT_LOADING_STALE, Category::empty(), Server "6.0.0" "A password that nobody guesses" now genpass;
    "acl|log" -2 ADMIN, Category::empty(), Server "6.0.0" "What was refused" now log;
    "acl|dryrun" -4 ADMIN, Category::empty(), Server "7.0.0" "Whether a user may do something" now dry_run;
    "acl|load" 2 ADMIN, Category::empty(), Server "6.0.0" "Cannot be done: users are in no file" now no_file;
    "acl|save" 2 ADMIN, Category::empty(), Server "6.0.0" "Cannot be done: users are in no file" now no_file;
    "acl|help" 2 LOADING_STALE, Category::empty(), Server "6.0.0" "What ACL can do" now helps;
}

fn whoami(session: &mut Session, _args: &[Bytes]) -> Result<Reply> {
    Ok(Reply::bulk(session.user.name.as_bytes()))
}

fn cat(_session: &mut Session, args: &[Bytes]) -> Result<Reply> {
    match args.get(2) {
        None => Ok(Reply::Array(category::NAMES.iter().map(|(name, _)| Reply::bulk(name)).collect())),
        Some(_) if args.len() > 3 => Err(super::wrong_sub("ACL", &args[1])),
        Some(name) => {
            let category = category::of(&text(name))
                .ok_or_else(|| Error::reply(format!("ERR Unknown category '{}'", text(name))))?;
            let mut names = Vec::new();
            super::each(|entry| {
                if entry.spec.categories().contains(category) {
                    names.push(Reply::bulk(entry.spec.name));
                }
            });
            Ok(Reply::Array(names))
        }
    }
}

fn list(session: &mut Session, _args: &[Bytes]) -> Result<Reply> {
    Ok(Reply::Array(session.shared.acl.all().iter().map(|user| Reply::bulk(user.describe())).collect()))
}

fn users(session: &mut Session, _args: &[Bytes]) -> Result<Reply> {
    Ok(Reply::Array(session.shared.acl.all().iter().map(|user| Reply::bulk(user.name.as_bytes())).collect()))
}

fn get_user(session: &mut Session, args: &[Bytes]) -> Result<Reply> {
    let Some(user) = session.shared.acl.get(&text(&args[2])) else { return Ok(Reply::Null) };
    let mut flags = vec![Reply::bulk(if user.on { "on" } else { "off" })];
    if user.nopass {
        flags.push(Reply::bulk("nopass"));
    }
    if user.skip_sanitize {
        flags.push(Reply::bulk("skip-sanitize-payload"));
    }
    let pair = |name: &str, value: Reply| (Reply::bulk(name), value);
    let rules = |selector: &acl::Selector| {
        vec![
            pair("commands", Reply::bulk(selector.describe_commands())),
            pair("keys", Reply::bulk(selector.describe_keys())),
            pair("channels", Reply::bulk(selector.describe_channels())),
        ]
    };
    let mut pairs = vec![
        pair("flags", Reply::Set(flags)),
        pair("passwords", Reply::Array(user.passwords.iter().map(Reply::bulk).collect())),
    ];
    pairs.extend(user.selectors.first().map(rules).unwrap_or_default());
    let others = user.selectors.iter().skip(1).map(|selector| Reply::Map(rules(selector))).collect();
    pairs.push(pair("selectors", Reply::Array(others)));
    Ok(Reply::Map(pairs))
}

fn set_user(session: &mut Session, args: &[Bytes]) -> Result<Reply> {
    let name = text(&args[2]).into_owned();
    if name.is_empty() || name.bytes().any(|byte| byte.is_ascii_whitespace() || byte == 0) {
        return Err(Error::reply("ERR Usernames can't contain spaces or null characters"));
    }
    let shared = &session.shared;
    let before = shared.acl.get(&name);
    let mut user = match &before {
        Some(user) => (**user).clone(),
        None => {
            let mut user = User::new(&name, session.client.tenant());
            if shared.config.get_by_name("acl-pubsub-default") == "allchannels" {
                drop(user.apply_all(&["allchannels".to_owned()]));
            }
            user
        }
    };
    let rules: Vec<String> = args[3..].iter().map(|rule| text(rule).into_owned()).collect();
    user.apply_all(&rules).map_err(|(rule, why)| {
        if why.starts_with("Unmatched") {
            return Error::reply(format!("ERR {why} '{}'.", rule.split(' ').next().unwrap_or_default()));
        }
        Error::reply(format!("ERR Error in ACL SETUSER modifier '{rule}': {why}"))
    })?;
    let user_now = user.clone();
    shared.acl.put(user);
    if before.is_some() {
        close_those_who_lost_channels(session, &user_now);
    }
    Ok(Reply::OK)
}

/// Clients that listen to what their user may not hear any more.
fn close_those_who_lost_channels(session: &mut Session, user: &User) {
    for client in session.shared.clients.all() {
        if client.view.lock().user != *user.name {
            continue;
        }
        let lost = session.shared.hub.names_of(&client).into_iter().any(|(name, is_pattern)| {
            !user.selectors.iter().any(|selector| selector.keeps_channels_of(&name, is_pattern))
        });
        if lost {
            if client.id == session.client.id {
                session.closing = true;
            } else {
                client.kill(Killed::Now);
            }
        }
    }
}

fn del_user(session: &mut Session, args: &[Bytes]) -> Result<Reply> {
    let names: Vec<String> = args[2..].iter().map(|name| text(name).into_owned()).collect();
    if names.iter().any(|name| name == DEFAULT) {
        return Err(Error::reply("ERR The 'default' user cannot be removed"));
    }
    let acl: &Acl = &session.shared.acl;
    let removed: Vec<String> = names.into_iter().filter(|name| acl.remove(name)).collect();
    for client in session.shared.clients.all() {
        if removed.contains(&client.view.lock().user) {
            if client.id == session.client.id {
                session.closing = true;
            } else {
                client.kill(Killed::Now);
            }
        }
    }
    Ok(Reply::count(removed.len()))
}

fn genpass(_session: &mut Session, args: &[Bytes]) -> Result<Reply> {
    const BITS_MAX: i64 = 4_096;
    let bits = match args.get(2) {
        None => 256,
        Some(bits) => args::integer(bits)?,
    };
    if args.len() > 3 || !(1..=BITS_MAX).contains(&bits) {
        return Err(Error::reply(
            "ERR ACL GENPASS argument must be the number of bits for the output password, a positive number up to 4096",
        ));
    }
    let digits = usize::try_from(bits).unwrap_or(256).div_ceil(4);
    let bytes: Vec<u8> = (0..digits.div_ceil(2)).map(|_| rand::random()).collect();
    let mut password = hex::encode(bytes);
    password.truncate(digits);
    Ok(Reply::bulk(password))
}

fn log(session: &mut Session, args: &[Bytes]) -> Result<Reply> {
    let count = match args.get(2) {
        None => 10,
        Some(_) if args.len() > 3 => return Err(super::wrong_sub("ACL", &args[1])),
        Some(word) if args::is(word, "reset") => {
            session.shared.acl.log.clear();
            return Ok(Reply::OK);
        }
        Some(count) => args::integer(count)?,
    };
    Ok(Reply::Array(session.shared.acl.log.latest(usize::try_from(count).unwrap_or(0))))
}

fn dry_run(session: &mut Session, args: &[Bytes]) -> Result<Reply> {
    let name = text(&args[2]);
    let Some(user) = session.shared.acl.get(&name) else {
        return Err(Error::reply(format!("ERR User '{name}' not found")));
    };
    let call = &args[3..];
    let Found::Command(entry) = super::find(call) else {
        return Err(Error::reply(format!("ERR Command '{}' not found", text(&args[3]))));
    };
    if !entry.spec.takes(call.len()) {
        return Err(Error::reply(format!("ERR wrong number of arguments for '{}' command", entry.spec.name)));
    }
    let shown = |at: usize| call.get(at).map(|word| text(word).into_owned()).unwrap_or_default();
    Ok(match acl::check(&user, entry, call) {
        Ok(()) => Reply::OK,
        Err(_) if entry.is_always_allowed() => Reply::OK,
        Err(Denied::Command) => {
            Reply::bulk(format!("This user has no permissions to run the '{}' command", entry.spec.name))
        }
        Err(Denied::Key(at)) => Reply::bulk(format!("This user has no permissions to access the '{}' key", shown(at))),
        Err(Denied::Channel(at)) => {
            Reply::bulk(format!("This user has no permissions to access the '{}' channel", shown(at)))
        }
    })
}

fn no_file(_session: &mut Session, _args: &[Bytes]) -> Result<Reply> {
    Err(Error::reply(
        "ERR This Redis instance is not configured to use an ACL file. You may want to specify users via the ACL SETUSER command and then issue a CONFIG REWRITE (assuming you have a Redis configuration file set) in order to store users in the Redis configuration.",
    ))
}

fn helps(_session: &mut Session, _args: &[Bytes]) -> Result<Reply> {
    Ok(help(
        "ACL",
        &[
            "CAT [<category>]",
            "    Categories of commands, or the commands of one.",
            "DELUSER <username> [<username> ...]",
            "    Removes users.",
            "DRYRUN <username> <command> [<arg> ...]",
            "    Whether a user may do something.",
            "GENPASS [<bits>]",
            "    A password that nobody guesses.",
            "GETUSER <username>",
            "    The rules of a user.",
            "LIST",
            "    All users with their rules.",
            "LOG [<count> | RESET]",
            "    What was refused.",
            "SETUSER <username> <attribute> [<attribute> ...]",
            "    Makes or changes a user.",
            "USERS",
            "    The names of all users.",
            "WHOAMI",
            "    The user of this connection.",
        ],
    ))
}
