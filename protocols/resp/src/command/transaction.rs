//! MULTI, EXEC, DISCARD, WATCH, UNWATCH

use bytes::Bytes;
use perigee_keyspace::{Category, Error, Flags, Group, KeyFlags, KeySpec, Reply, Result, Spec};

use super::{Door, DoorRun, NOSCRIPT_LOADING_STALE};
use crate::session::{Ended, Session};
use crate::transaction::Transaction;

const FAST: Flags = NOSCRIPT_LOADING_STALE.union(Flags::FAST).union(Flags::ALLOW_BUSY);

const fn spec(name: &'static str, arity: i8, flags: Flags, since: &'static str, summary: &'static str) -> Spec {
    Spec {
        name,
        arity,
        flags,
        category: Category::TRANSACTION,
        group: Group::Transactions,
        since,
        summary,
        ..Spec::DEFAULT
    }
}

pub(super) static COMMANDS: &[Door] = &[
    Door { spec: spec("multi", 1, FAST, "1.2.0", "Begins a transaction"), run: Some(DoorRun::Now(multi)) },
    Door {
        spec: spec(
            "exec",
            1,
            NOSCRIPT_LOADING_STALE.union(Flags::SKIP_SLOWLOG),
            "1.2.0",
            "Runs the commands of a transaction",
        ),
        run: Some(DoorRun::Later(|session, args| Box::pin(exec(session, args)))),
    },
    Door {
        spec: spec("discard", 1, FAST, "2.0.0", "Ends a transaction without running it"),
        run: Some(DoorRun::Now(discard)),
    },
    Door {
        spec: Spec {
            keys: &[KeySpec::range(1, -1, 1, KeyFlags::RO)],
            ..spec("watch", -2, FAST, "2.2.0", "Lets the next transaction fail if a key changes before it")
        },
        run: Some(DoorRun::Now(watch)),
    },
    Door { spec: spec("unwatch", 1, FAST, "2.2.0", "Undoes WATCH"), run: Some(DoorRun::Now(unwatch)) },
];

fn multi(session: &mut Session, _args: &[Bytes]) -> Result<Reply> {
    if session.multi.is_some() {
        return Err(Error::reply("ERR MULTI calls can not be nested"));
    }
    session.multi = Some(Transaction::default());
    Ok(Reply::OK)
}

async fn exec(session: &mut Session, _args: &[Bytes]) -> Result<Result<Reply>, Ended> {
    Ok(Ok(session.exec().await?))
}

fn discard(session: &mut Session, _args: &[Bytes]) -> Result<Reply> {
    if session.multi.take().is_none() {
        return Err(Error::reply("ERR DISCARD without MULTI"));
    }
    session.watches.clear();
    Ok(Reply::OK)
}

fn watch(session: &mut Session, args: &[Bytes]) -> Result<Reply> {
    if session.multi.is_some() {
        return Err(Error::reply("ERR WATCH inside MULTI is not allowed"));
    }
    let db = session.db_id();
    for key in &args[1..] {
        let watched = (db, Bytes::copy_from_slice(key));
        if !session.watches.contains_key(&watched) {
            let version = session.shared.keyspace.version(db, key)?;
            session.watches.insert(watched, version);
        }
    }
    Ok(Reply::OK)
}

fn unwatch(session: &mut Session, _args: &[Bytes]) -> Result<Reply> {
    session.watches.clear();
    Ok(Reply::OK)
}
