//! MEMORY DOCTOR | STATS | PURGE | MALLOC-STATS; USAGE is the keyspace's

use bytes::Bytes;
use perigee_keyspace::{Category, DbId, Flags, Reply, Result};

use super::{LOADING_STALE, commands, help};
use crate::info::{MEMORY_BASE, used_memory};
use crate::session::Session;

commands! {
    "memory" -2 Flags::empty(), Category::empty(), Server "4.0.0" "Memory" container;
    "memory|doctor" 2 Flags::empty(), Category::empty(), Server "4.0.0" "What is wrong with memory, in words" now doctor;
    "memory|stats" 2 Flags::empty(), Category::empty(), Server "4.0.0" "What holds memory" now stats;
    "memory|purge" 2 Flags::empty(), Category::empty(), Server "4.0.0" "Nothing: the allocator gives memory back by itself" now |_, _| Ok(Reply::OK);
    "memory|malloc-stats" 2 Flags::empty(), Category::empty(), Server "4.0.0" "What the allocator says" now malloc_stats;
    "memory|help" 2 LOADING_STALE, Category::empty(), Server "4.0.0" "What MEMORY can do" now helps;
}

fn doctor(session: &mut Session, _args: &[Bytes]) -> Result<Reply> {
    let facts = session.shared.host.facts();
    let used = used_memory(&session.shared);
    let text = if facts.memory_rss > used.saturating_mul(3) && used > 64 << 20 {
        "The process holds more than three times what its keys need: tables and caches of the server count as well."
    } else {
        "I can't find any memory issue in this instance."
    };
    Ok(Reply::Verbatim("txt", text.into()))
}

fn malloc_stats(session: &mut Session, _args: &[Bytes]) -> Result<Reply> {
    let text = format!("resident: {}\n", session.shared.host.facts().memory_rss);
    Ok(Reply::Verbatim("txt", text.into()))
}

fn stats(session: &mut Session, _args: &[Bytes]) -> Result<Reply> {
    let shared = &session.shared;
    let tenant = session.client.tenant();
    let facts = shared.host.facts();
    let used = used_memory(shared);
    let base = MEMORY_BASE as u64;
    let (keys, dbs) = shared.keyspace.with_state(|state| {
        let mut dbs = Vec::new();
        let mut keys = 0;
        for number in 0..state.settings.databases {
            if let Some(db) = state.db(DbId { tenant, number }).filter(|db| !db.is_empty()) {
                keys += db.len();
                dbs.push((number, db.len(), db.expiring()));
            }
        }
        (keys, dbs)
    });
    let integer = |value: u64| Reply::Integer(i64::try_from(value).unwrap_or(i64::MAX));
    let mut pairs: Vec<(Reply, Reply)> = Vec::new();
    let mut pair = |name: &str, value: Reply| pairs.push((Reply::bulk(name), value));
    pair("peak.allocated", integer(used));
    pair("total.allocated", integer(used));
    pair("startup.allocated", integer(base));
    pair("replication.backlog", Reply::Integer(0));
    pair("clients.slaves", Reply::Integer(0));
    pair("clients.normal", Reply::Integer(0));
    pair("cluster.links", Reply::Integer(0));
    pair("aof.buffer", Reply::Integer(0));
    pair("lua.caches", Reply::Integer(0));
    pair("functions.caches", Reply::Integer(0));
    for (number, keys, expires) in dbs {
        pair(
            &format!("db.{number}"),
            Reply::Map(vec![
                (Reply::bulk("overhead.hashtable.main"), integer(keys * 64)),
                (Reply::bulk("overhead.hashtable.expires"), integer(expires * 40)),
            ]),
        );
    }
    pair("overhead.total", integer(base));
    pair("keys.count", integer(keys));
    pair("keys.bytes-per-key", integer((used - base).checked_div(keys).unwrap_or(0)));
    pair("dataset.bytes", integer(used - base));
    pair("dataset.percentage", Reply::Double(if used > base { 100.0 } else { 0.0 }));
    pair("peak.percentage", Reply::Double(100.0));
    pair("allocator.allocated", integer(used));
    pair("allocator.active", integer(facts.memory_rss));
    pair("allocator.resident", integer(facts.memory_rss));
    pair("fragmentation", Reply::Double(facts.memory_rss as f64 / used as f64));
    pair("fragmentation.bytes", integer(facts.memory_rss.saturating_sub(used)));
    Ok(Reply::Map(pairs))
}

fn helps(_session: &mut Session, _args: &[Bytes]) -> Result<Reply> {
    Ok(help(
        "MEMORY",
        &[
            "DOCTOR",
            "    What is wrong with memory, in words.",
            "MALLOC-STATS",
            "    What the allocator says.",
            "PURGE",
            "    Gives memory back.",
            "STATS",
            "    What holds memory.",
            "USAGE <key> [SAMPLES <count>]",
            "    What a key holds.",
        ],
    ))
}
