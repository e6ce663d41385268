//! AUTH [user] password; HELLO [version [AUTH user password] [SETNAME name]]

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use perigee_keyspace::{Category, Error, Flags, Reply, Result, args};

use super::{NOSCRIPT_LOADING_STALE, commands, text};
use crate::acl::{Reason, User};
use crate::host::DEFAULT;
use crate::session::{Ended, Session};

const NO_AUTH: Flags = NOSCRIPT_LOADING_STALE.union(Flags::FAST).union(Flags::NO_AUTH).union(Flags::ALLOW_BUSY);

commands! {
    "auth" -2 NO_AUTH, Category::CONNECTION, Connection "1.0.0" "Proves who the client is" later auth;
    "hello" -1 NO_AUTH, Category::CONNECTION, Connection "6.0.0" "Chooses the protocol and says what server this is" later hello;
}

async fn auth(session: &mut Session, args: &[Bytes]) -> Result<Result<Reply>, Ended> {
    let (user, password) = match args {
        [_, password] => {
            if session.shared.default_user().nopass && session.shared.host.trusts(session.client.peer) {
                return Ok(Err(Error::reply(
                    "ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?",
                )));
            }
            (Bytes::from_static(DEFAULT.as_bytes()), password.clone())
        }
        [_, user, password] => (user.clone(), password.clone()),
        _ => return Ok(Err(Error::SYNTAX)),
    };
    Ok(log_in(session, &user, &password).await?.map(|()| Reply::OK))
}

/// Makes the connection that of a user.
async fn log_in(session: &mut Session, user: &[u8], password: &[u8]) -> Result<Result<()>, Ended> {
    let name = text(user).into_owned();
    match who(session, &name, password).await? {
        Some(user) => {
            tracing::info!(target: "audit", event = "login", door = "redis", user = name, peer = ?session.client.peer);
            session.become_user(true, Arc::new(user));
            Ok(Ok(()))
        }
        None => {
            tracing::warn!(target: "audit", event = "login denied", door = "redis", user = name, peer = ?session.client.peer);
            session.shared.stats.acl_denied_auth.fetch_add(1, Ordering::Relaxed);
            let length_max = session.shared.config.hot.acl_log_length_max.load(Ordering::Relaxed);
            let info = super::describe_client(&session.shared, &session.client);
            let context = if session.in_exec { "multi" } else { "toplevel" };
            session.shared.acl_log.add(Reason::Auth, context, "AUTH", &name, info, length_max);
            Ok(Err(Error::reply("WRONGPASS invalid username-password pair or user is disabled.")))
        }
    }
}

/// Who has this name and password. Passwords that were given over Redis count in place of the role's own.
async fn who(session: &mut Session, name: &str, password: &[u8]) -> Result<Option<User>, Ended> {
    let host = Arc::clone(&session.shared.host);
    let peer = session.client.peer;
    let account = host.account(name);
    let user = account.as_ref().map(User::of).filter(|user| user.on);
    let is_usable = user.is_some() && account.as_ref().is_some_and(|account| !account.expired);
    if let Some(user) = user.clone().filter(|user| is_usable && !user.role_password) {
        // A user without a password is nobody's where the server wants to know who connects.
        let accepted = if user.nopass { host.trusts(peer) } else { user.accepts(password) };
        return Ok(accepted.then_some(user));
    }
    if is_usable && user.as_ref().is_some_and(|user| user.nopass) && host.trusts(peer) {
        return Ok(user);
    }
    let role = user.as_ref().filter(|_| is_usable).map(User::role);
    let password = password.to_vec();
    let right = session.wait(true, async move { host.verify(role, &password, peer).await }).await?;
    Ok(user.filter(|_| right && is_usable))
}

async fn hello(session: &mut Session, words: &[Bytes]) -> Result<Result<Reply>, Ended> {
    let resp3 = match words.get(1).map(|version| args::parse_integer(version)) {
        None => session.resp3,
        Some(Some(2)) => false,
        Some(Some(3)) => true,
        Some(Some(_)) => return Ok(Err(Error::reply("NOPROTO unsupported protocol version"))),
        Some(None) => {
            return Ok(Err(Error::reply("ERR Protocol version is not an integer or out of range")));
        }
    };
    let (mut credentials, mut name) = (None, None);
    let mut at = 2;
    while let Some(word) = words.get(at) {
        match (words.get(at + 1), words.get(at + 2)) {
            (Some(user), Some(password)) if args::is(word, "auth") => {
                credentials = Some((user, password));
                at += 3;
            }
            (Some(given), _) if args::is(word, "setname") => {
                name = Some(given);
                at += 2;
            }
            _ => return Ok(Err(Error::reply(format!("ERR Syntax error in HELLO option '{}'", text(word))))),
        }
    }
    if let Some(name) = name
        && let Err(error) = super::client::check_name(name)
    {
        return Ok(Err(error));
    }
    if let Some((user, password)) = credentials
        && let Err(error) = log_in(session, user, password).await?
    {
        return Ok(Err(error));
    }
    if !session.is_known() {
        return Ok(Err(Error::reply(
            "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the same time",
        )));
    }
    if let Some(name) = name {
        session.client.view.lock().name = text(name).into_owned();
    }
    session.resp3 = resp3;
    session.show();
    let id = i64::try_from(session.client.id).unwrap_or(i64::MAX);
    let mode = if session.shared.cluster_mode { "cluster" } else { "standalone" };
    Ok(Ok(Reply::Map(vec![
        (Reply::bulk("server"), Reply::bulk("redis")),
        (Reply::bulk("version"), Reply::bulk(crate::info::REDIS_VERSION)),
        (Reply::bulk("proto"), Reply::Integer(if resp3 { 3 } else { 2 })),
        (Reply::bulk("id"), Reply::Integer(id)),
        (Reply::bulk("mode"), Reply::bulk(mode)),
        (Reply::bulk("role"), Reply::bulk("master")),
        (Reply::bulk("modules"), super::module::list()),
    ])))
}
