//! ACL

use std::sync::Arc;

use bytes::Bytes;
use perigee_keyspace::{Category, Error, Flags, Reply, Result, args};

use super::{ADMIN, Found, LOADING_STALE, NOSCRIPT_LOADING_STALE, commands, help, text};
use crate::acl::{self, Denied, User, category};
use crate::host::{DEFAULT, Edit};
use crate::session::{Ended, Session};

commands! {
    "acl" -2 Flags::empty(), Category::empty(), Server "6.0.0" "Users and what they may do" container;
    "acl|whoami" 2 NOSCRIPT_LOADING_STALE, Category::empty(), Server "6.0.0" "The user of this connection" now whoami;
    "acl|cat" -2 NOSCRIPT_LOADING_STALE, Category::empty(), Server "6.0.0" "Categories of commands, or the commands of one" now cat;
    "acl|list" 2 ADMIN, Category::empty(), Server "6.0.0" "All users with their rules" now list;
    "acl|users" 2 ADMIN, Category::empty(), Server "6.0.0" "The names of all users" now users;
    "acl|getuser" 3 ADMIN, Category::empty(), Server "6.0.0" "The rules of a user" now get_user;
    "acl|setuser" -3 ADMIN, Category::empty(), Server "6.0.0" "Makes or changes a user" later set_user;
    "acl|deluser" -3 ADMIN, Category::empty(), Server "6.0.0" "Removes users and closes their connections" later del_user;
    "acl|genpass" -2 NOSCRIPT_LOADING_STALE, Category::empty(), Server "6.0.0" "A password that nobody guesses" now genpass;
    "acl|log" -2 ADMIN, Category::empty(), Server "6.0.0" "What was refused" now log;
    "acl|dryrun" -4 ADMIN, Category::empty(), Server "7.0.0" "Whether a user may do something" now dry_run;
    "acl|load" 2 ADMIN, Category::empty(), Server "6.0.0" "Does nothing: users are those of the catalog" now kept;
    "acl|save" 2 ADMIN, Category::empty(), Server "6.0.0" "Does nothing: every change of a user is durable" now kept;
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
    let line = |user: &User| Reply::bulk(user.describe(may_see_hashes(session, user)));
    Ok(Reply::Array(session.shared.users().iter().map(line).collect()))
}

fn users(session: &mut Session, _args: &[Bytes]) -> Result<Reply> {
    Ok(Reply::Array(session.shared.users().iter().map(|user| Reply::bulk(user.name.as_bytes())).collect()))
}

/// Hashes can be tried out elsewhere.
fn may_see_hashes(session: &Session, user: &User) -> bool {
    session.user.is_superuser() || session.user.role() == user.role()
}

fn get_user(session: &mut Session, args: &[Bytes]) -> Result<Reply> {
    let Some(user) = session.shared.user(&text(&args[2])) else { return Ok(Reply::Null) };
    let hashes: &[String] = if may_see_hashes(session, &user) { &user.passwords } else { &[] };
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
        pair("passwords", Reply::Array(hashes.iter().map(Reply::bulk).collect())),
    ];
    pairs.extend(user.selectors.first().map(rules).unwrap_or_default());
    let others = user.selectors.iter().skip(1).map(|selector| Reply::Map(rules(selector))).collect();
    pairs.push(pair("selectors", Reply::Array(others)));
    Ok(Reply::Map(pairs))
}

async fn set_user(session: &mut Session, args: &[Bytes]) -> Result<Result<Reply>, Ended> {
    let name = text(&args[2]).into_owned();
    if name.is_empty() || name.bytes().any(|byte| byte.is_ascii_whitespace() || byte == 0) {
        return Ok(Err(Error::reply("ERR Usernames can't contain spaces or null characters")));
    }
    let rules: Vec<String> = args[3..].iter().map(|rule| text(rule).into_owned()).collect();
    let hears_all = session.shared.config.get_by_name("acl-pubsub-default") == "allchannels";
    let (host, me, new) = (Arc::clone(&session.shared.host), Arc::clone(&session.user), name.clone());
    let edit: Edit = Box::new(move |account| {
        let before = account.map(User::of);
        let mut user = before.clone().unwrap_or_else(|| User::new(&new));
        if before.is_none() && hears_all {
            drop(user.apply_all(&["allchannels".to_owned()]));
        }
        user.apply_all(&rules).map_err(|(rule, why)| {
            if why.starts_with("Unmatched") {
                return format!("ERR {why} '{}'.", rule.split(' ').next().unwrap_or_default());
            }
            format!("ERR Error in ACL SETUSER modifier '{rule}': {why}")
        })?;
        if !me.is_superuser() && !me.may_make(&user, before.as_ref()) {
            return Err("NOPERM only rights that one has oneself can be given".to_owned());
        }
        Ok(user.record())
    });
    let by = session.user.role();
    let changed = session.wait(false, async move { host.set_user(by, &name, edit).await }).await?;
    Ok(settled(session, changed.map(|()| Reply::OK)))
}

/// What a change of users gives; connections that must end do.
fn settled(session: &mut Session, changed: std::result::Result<Reply, String>) -> Result<Reply> {
    let reply = changed.map_err(Error::reply)?;
    session.closing |= session.shared.settle_users(Some(session.client.id));
    Ok(reply)
}

async fn del_user(session: &mut Session, args: &[Bytes]) -> Result<Result<Reply>, Ended> {
    let names: Vec<String> = args[2..].iter().map(|name| text(name).into_owned()).collect();
    let host = Arc::clone(&session.shared.host);
    if names.iter().any(|name| name == DEFAULT) {
        return Ok(Err(Error::reply("ERR The 'default' user cannot be removed")));
    }
    let by = session.user.role();
    let removed = session.wait(false, async move { host.drop_users(by, &names).await }).await?;
    Ok(settled(session, removed.map(Reply::count)))
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
            session.shared.acl_log.clear();
            return Ok(Reply::OK);
        }
        Some(count) => args::integer(count)?,
    };
    Ok(Reply::Array(session.shared.acl_log.latest(usize::try_from(count).unwrap_or(0))))
}

fn dry_run(session: &mut Session, args: &[Bytes]) -> Result<Reply> {
    let name = text(&args[2]);
    let Some(user) = session.shared.user(&name) else {
        return Err(Error::reply(format!("ERR User '{name}' not found")));
    };
    let call = &args[3..];
    let Found::Command(entry) = super::find(call) else {
        return Err(Error::reply(format!("ERR Command '{}' not found", text(&args[3]))));
    };
    if !entry.spec.takes(call.len()) {
        return Err(Error::reply(format!("ERR wrong number of arguments for '{}' command", entry.spec.name)));
    }
    let refusal = match acl::check(&user, entry, call) {
        Err(refusal) if !entry.is_always_allowed() => refusal,
        _ => return Ok(Reply::OK),
    };
    let shown = |at: usize| refusal.args.get(at).map(|word| text(word).into_owned()).unwrap_or_default();
    Ok(Reply::bulk(match refusal.denied {
        Denied::Command => format!("This user has no permissions to run the '{}' command", refusal.entry.spec.name),
        Denied::Key(at) => format!("This user has no permissions to access the '{}' key", shown(at)),
        Denied::Channel(at) => format!("This user has no permissions to access the '{}' channel", shown(at)),
    }))
}

/// ACL SAVE and LOAD: what they promise holds, as every change is logged before it is answered, and nothing else is known.
fn kept(_session: &mut Session, _args: &[Bytes]) -> Result<Reply> {
    Ok(Reply::OK)
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
