//! CONFIG GET | SET | RESETSTAT | REWRITE

use std::sync::Arc;

use bytes::Bytes;
use perigee_keyspace::glob;
use perigee_keyspace::{Category, Command, Error, Flags, Reply, Result, Unit};

use super::{ADMIN, LOADING_STALE, commands, help, text};
use crate::config::{self, Param, Place};
use crate::host::{DEFAULT, Edit};
use crate::session::{Ended, Session};

commands! {
    "config" -2 Flags::empty(), Category::empty(), Server "2.0.0" "Parameters" container;
    "config|get" -3 ADMIN, Category::empty(), Server "2.0.0" "Values of parameters" now get;
    "config|set" -4 ADMIN, Category::empty(), Server "2.0.0" "Sets parameters" later set;
    "config|resetstat" 2 ADMIN, Category::empty(), Server "2.0.0" "Begins statistics anew" now resetstat;
    "config|rewrite" 2 ADMIN, Category::empty(), Server "2.8.0" "Cannot be done" now rewrite;
    "config|help" 2 LOADING_STALE, Category::empty(), Server "5.0.0" "What CONFIG can do" now helps;
}

/// The value of a parameter, wherever it is kept.
fn value(session: &Session, param: &Param) -> String {
    let shared = &session.shared;
    match (param.place, param.name) {
        (Place::Logged, name) => shared
            .keyspace
            .with_state(|state| state.settings.values.get(name).cloned())
            .unwrap_or_else(|| shared.config.get(param)),
        (_, "port") => shared.host.facts().port.to_string(),
        (_, "databases") => shared.keyspace.with_state(|state| state.settings.databases).to_string(),
        (_, "cluster-enabled") => if shared.cluster_mode { "yes" } else { "no" }.to_owned(),
        _ => shared.config.get(param),
    }
}

fn get(session: &mut Session, args: &[Bytes]) -> Result<Reply> {
    let mut pairs: Vec<(Reply, Reply)> = Vec::new();
    for param in config::all() {
        let is_asked = |pattern: &Bytes| {
            if param.is_hidden() {
                pattern.eq_ignore_ascii_case(param.name.as_bytes())
            } else {
                glob::matches_case(pattern, param.name.as_bytes(), true)
            }
        };
        if !args[2..].iter().any(is_asked) {
            continue;
        }
        let target = param.alias.and_then(|name| config::find(name.as_bytes())).unwrap_or(param);
        pairs.push((Reply::bulk(param.name), Reply::bulk(value(session, target))));
    }
    Ok(Reply::Map(pairs))
}

async fn set(session: &mut Session, args: &[Bytes]) -> Result<Result<Reply>, Ended> {
    let wanted = match check(session, &args[2..]) {
        Ok(wanted) => wanted,
        Err(error) => return Ok(Err(error)),
    };
    if let Some((_, password)) = wanted.iter().find(|(param, _)| param.name == "requirepass")
        && let Err(error) = require(session, password.clone()).await?
    {
        return Ok(Err(error));
    }
    let logged: Vec<Bytes> = wanted
        .iter()
        .filter(|(param, _)| param.place == Place::Logged)
        .flat_map(|(param, value)| [Bytes::from_static(param.name.as_bytes()), Bytes::from(value.clone())])
        .collect();
    if !logged.is_empty() {
        let mut words = vec![Bytes::from_static(b"CONFIG"), Bytes::from_static(b"SET")];
        words.extend(logged);
        let spec = perigee_keyspace::command::find(b"config").and_then(|spec| spec.resolve(&words));
        let Some(spec) = spec else { return Ok(Err(Error::reply("ERR these parameters cannot be set"))) };
        let commands = vec![Command { spec, args: words }];
        let unit = Unit { db: session.db_id(), client: session.client.id, commands, ..Unit::default() };
        let (replies, _) = session.submit(unit, false, 1).await?;
        if let Some(Reply::Error(text)) = replies.into_iter().next() {
            return Ok(Err(Error::Reply(text)));
        }
    }
    // Those that are logged were taken over when they were applied.
    for (param, value) in wanted.into_iter().filter(|(param, _)| param.place != Place::Logged) {
        session.shared.config.set(param, value);
    }
    Ok(Ok(Reply::OK))
}

/// The default user has this password, or none. It is a change of the user, logged as such.
async fn require(session: &mut Session, password: String) -> Result<Result<()>, Ended> {
    let (host, by) = (Arc::clone(&session.shared.host), session.user.role());
    let trusts = host.trusts(session.client.peer);
    let edit: Edit = Box::new(move |account| {
        let mut user = account.ok_or("ERR there is no default user")?.user.clone();
        user.follow_role_password();
        if !password.is_empty() {
            user.passwords.push(crate::acl::hash_of(password.as_bytes()));
            user.role_password = false;
        } else if trusts {
            (user.nopass, user.role_password) = (true, false);
        }
        Ok(user)
    });
    let changed = session.wait(false, async move { host.set_user(by, DEFAULT, edit).await }).await?;
    Ok(changed.map_err(Error::reply))
}

/// All or none.
fn check(session: &Session, pairs: &[Bytes]) -> Result<Vec<(&'static Param, String)>> {
    if !pairs.len().is_multiple_of(2) {
        return Err(Error::reply("ERR wrong number of arguments for 'config|set' command"));
    }
    let mut wanted: Vec<(&'static Param, String)> = Vec::new();
    for pair in pairs.chunks(2) {
        let [name, given] = pair else { continue };
        let Some(param) = config::find(name) else {
            return Err(Error::reply(format!(
                "ERR Unknown option or number of arguments for CONFIG SET - '{}'",
                text(name)
            )));
        };
        let failed = |why: &str| {
            Error::reply(format!("ERR CONFIG SET failed (possibly related to argument '{}') - {why}", text(name)))
        };
        if wanted.iter().any(|(known, _)| known.name == param.name) {
            return Err(failed("duplicate parameter"));
        }
        let now = value(session, param);
        if param.place == Place::Fixed {
            if *given == now.as_bytes() {
                continue;
            }
            return Err(failed("can't set immutable config"));
        }
        let value = config::check(param, &text(given), &now).map_err(|why| failed(&why))?;
        wanted.push((param, value));
    }
    Ok(wanted)
}

fn resetstat(session: &mut Session, _args: &[Bytes]) -> Result<Reply> {
    session.shared.stats.reset();
    session.shared.latency.reset(None);
    Ok(Reply::OK)
}

/// No file is written; what is logged is kept without one.
fn rewrite(_session: &mut Session, _args: &[Bytes]) -> Result<Reply> {
    Err(Error::reply(
        "ERR CONFIG REWRITE writes no file: users and parameters of the keyspace are kept without one, other parameters last as long as the process",
    ))
}

fn helps(_session: &mut Session, _args: &[Bytes]) -> Result<Reply> {
    Ok(help(
        "CONFIG",
        &[
            "GET <pattern>",
            "    Values of parameters.",
            "SET <directive> <value>",
            "    Sets parameters.",
            "RESETSTAT",
            "    Begins statistics anew.",
            "REWRITE",
            "    Writes the configuration file, which this server does not do.",
        ],
    ))
}
