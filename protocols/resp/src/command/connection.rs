//! PING, ECHO, SELECT, QUIT, RESET, READONLY, READWRITE, ASKING

use bytes::Bytes;
use perigee_keyspace::{Category, Error, Flags, Reply, Result, args};

use super::{LOADING_STALE, NOSCRIPT_LOADING_STALE, commands};
use crate::session::{Replies, Session};

const NO_AUTH: Flags = NOSCRIPT_LOADING_STALE.union(Flags::FAST).union(Flags::NO_AUTH).union(Flags::ALLOW_BUSY);

commands! {
    "ping" -1 Flags::FAST, Category::CONNECTION, Connection "1.0.0" "Answers, with a message if there is one" now ping;
    "echo" 2 LOADING_STALE.union(Flags::FAST), Category::CONNECTION, Connection "1.0.0" "Gives a message back" now echo;
    "select" 2 LOADING_STALE.union(Flags::FAST), Category::CONNECTION, Connection "1.0.0" "Chooses the database of the connection" now select;
    "quit" -1 NO_AUTH, Category::CONNECTION, Connection "1.0.0" "Closes the connection" now quit;
    "reset" 1 NO_AUTH, Category::CONNECTION, Connection "6.2.0" "Makes the connection as it was when it was opened" now reset;
    "readonly" 1 LOADING_STALE.union(Flags::FAST), Category::CONNECTION, Cluster "3.0.0" "Allows reads of a replica in a cluster" now cluster_only;
    "readwrite" 1 LOADING_STALE.union(Flags::FAST), Category::CONNECTION, Cluster "3.0.0" "Undoes READONLY" now cluster_only;
    "asking" 1 Flags::FAST, Category::CONNECTION, Cluster "3.0.0" "Follows a redirection in a cluster" now cluster_only;
}

fn ping(session: &mut Session, args: &[Bytes]) -> Result<Reply> {
    if args.len() > 2 {
        return Err(Error::reply("ERR wrong number of arguments for 'ping' command"));
    }
    let message = args.get(1);
    if session.is_subscribed() && !session.resp3 {
        return Ok(Reply::Array(vec![Reply::bulk("pong"), Reply::Bulk(message.cloned().unwrap_or_default())]));
    }
    Ok(message.map_or(Reply::status("PONG"), |message| Reply::Bulk(message.clone())))
}

fn echo(_session: &mut Session, args: &[Bytes]) -> Result<Reply> {
    Ok(Reply::Bulk(args[1].clone()))
}

fn select(session: &mut Session, args: &[Bytes]) -> Result<Reply> {
    let number = args::integer(&args[1])?;
    if session.shared.cluster_mode && number != 0 {
        return Err(Error::reply("ERR SELECT is not allowed in cluster mode"));
    }
    let databases = session.shared.keyspace.with_state(|state| state.settings.databases);
    let number = u32::try_from(number).ok().filter(|number| *number < databases);
    session.db = number.ok_or_else(|| Error::reply("ERR DB index is out of range"))?;
    Ok(Reply::OK)
}

fn quit(session: &mut Session, _args: &[Bytes]) -> Result<Reply> {
    session.closing = true;
    session.replies = Replies::On;
    Ok(Reply::OK)
}

fn reset(session: &mut Session, _args: &[Bytes]) -> Result<Reply> {
    session.forget();
    session.replies = Replies::On;
    session.db = 0;
    session.resp3 = false;
    session.no_touch = false;
    session.client.view.lock().name.clear();
    session.client.view.lock().no_evict = false;
    let (is_known, user) = session.shared.stranger(session.client.peer);
    session.become_user(is_known, user);
    session.show();
    Ok(Reply::status("RESET"))
}

fn cluster_only(session: &mut Session, _args: &[Bytes]) -> Result<Reply> {
    if session.shared.cluster_mode {
        return Ok(Reply::OK);
    }
    Err(Error::reply("ERR This instance has cluster support disabled"))
}
