//! ROLE, WAIT, WAITAOF; REPLICAOF, FAILOVER and the commands of replicas, which this server does not have

use bytes::Bytes;
use perigee_keyspace::{Category, Error, Flags, Reply, Result, args};

use super::{NOSCRIPT_LOADING_STALE, commands};
use crate::host::Durability;
use crate::session::Session;

const REPLICA: Flags = Flags::ADMIN.union(Flags::NOSCRIPT).union(Flags::STALE).union(Flags::NO_ASYNC_LOADING);
const SYNC: Flags = Flags::ADMIN.union(Flags::NOSCRIPT).union(Flags::NO_ASYNC_LOADING).union(Flags::NO_MULTI);

commands! {
    "role" 1 NOSCRIPT_LOADING_STALE.union(Flags::FAST), Category::ADMIN.union(Category::DANGEROUS), Server "2.8.12" "What this server is among its replicas" now role;
    "wait" 3 Flags::NOSCRIPT, Category::CONNECTION, Generic "3.0.0" "How many other nodes have all writes of this connection" now wait;
    "waitaof" 4 Flags::NOSCRIPT, Category::CONNECTION, Generic "7.2.0" "How many nodes have all writes of this connection on disk" now wait_aof;
    "replicaof" 3 REPLICA, Category::empty(), Server "5.0.0" "Cannot be done: nodes replicate by their log" now replica_of;
    "slaveof" 3 REPLICA, Category::empty(), Server "1.0.0" "Cannot be done: nodes replicate by their log" now replica_of;
    "failover" -1 Flags::ADMIN.union(Flags::NOSCRIPT).union(Flags::STALE), Category::empty(), Server "6.2.0" "Cannot be done: the log chooses its leader" now failover;
    "replconf" -1 Flags::ADMIN.union(NOSCRIPT_LOADING_STALE).union(Flags::ALLOW_BUSY), Category::empty(), Server "3.0.0" "For replicas of Redis" now no_replicas;
    "psync" -3 SYNC, Category::empty(), Server "2.8.0" "For replicas of Redis" now no_replicas;
    "sync" 1 SYNC, Category::empty(), Server "1.0.0" "For replicas of Redis" now no_replicas;
}

fn role(session: &mut Session, _args: &[Bytes]) -> Result<Reply> {
    let index = i64::try_from(session.shared.host.facts().applied_index).unwrap_or(i64::MAX);
    Ok(Reply::Array(vec![Reply::bulk("master"), Reply::Integer(index), Reply::Array(Vec::new())]))
}

fn timeout(word: &[u8]) -> Result<()> {
    let timeout =
        args::parse_integer(word).ok_or_else(|| Error::reply("ERR timeout is not an integer or out of range"))?;
    if timeout < 0 { Err(Error::reply("ERR timeout is negative")) } else { Ok(()) }
}

fn wait(session: &mut Session, args: &[Bytes]) -> Result<Reply> {
    args::integer(&args[1])?;
    timeout(&args[2])?;
    // A write is answered when a majority has it: nothing is left to wait for.
    Ok(Reply::Integer(i64::from(session.shared.host.facts().replicas)))
}

fn wait_aof(session: &mut Session, args: &[Bytes]) -> Result<Reply> {
    let range = || Error::reply("ERR value is out of range, must be between 0 and 1");
    let local = args::parse_integer(&args[1]).filter(|local| (0..=1).contains(local)).ok_or_else(range)?;
    let count = args::integer(&args[2])?;
    if count < 0 {
        return Err(Error::reply("ERR value is out of range, must be positive"));
    }
    timeout(&args[3])?;
    let _ = local;
    let on_disk = session.shared.host.durability() == Durability::Fsync;
    let replicas = i64::from(session.shared.host.facts().replicas);
    Ok(Reply::Array(vec![Reply::Integer(i64::from(on_disk)), Reply::Integer(if on_disk { replicas } else { 0 })]))
}

fn replica_of(session: &mut Session, words: &[Bytes]) -> Result<Reply> {
    if session.shared.cluster_mode {
        return Err(Error::reply("ERR REPLICAOF not allowed in cluster mode."));
    }
    if args::is(&words[1], "no") && args::is(&words[2], "one") {
        return Ok(Reply::OK);
    }
    Err(Error::reply("ERR this server replicates by its own log: members are added to its cluster instead"))
}

fn failover(_session: &mut Session, _args: &[Bytes]) -> Result<Reply> {
    Err(Error::reply("ERR FAILOVER requires connected replicas."))
}

fn no_replicas(_session: &mut Session, _args: &[Bytes]) -> Result<Reply> {
    Err(Error::reply("ERR this server is no master for replicas of Redis"))
}
