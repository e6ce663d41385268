//! Rows of tables as hashes that can be read: `table:{name}:{primary key}`.
//!
//! A key of the keyspace with such a name comes first. Where there is none, and a table has the name, the commands that
//! read hashes see the row, and those that would make a hash of that name are refused. In MULTI rows are read behind what
//! the transaction does with keys, and WATCH refuses them. In scripts there are keys only.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use perigee_keyspace::{Group, Reply};

use crate::command::Entry;
use crate::session::{Ended, Replies, Session};

/// What such keys begin with.
const PREFIX: &[u8] = b"table:";

/// A row: names of columns with their values. Those that are NULL are not there.
pub type TableRow = Vec<(Bytes, Bytes)>;

/// What a key of this kind names.
#[derive(Clone, Debug)]
pub enum TableKey {
    /// No table that the user may read, or not as many values as its primary key has columns.
    None,
    /// A table, and its row with that primary key.
    Row(Option<TableRow>),
    /// What the client is told.
    Refused(Reply),
}

/// The key of a command that reads or writes a hash, where it may name a row.
fn key_of<'a>(entry: &Entry, args: &'a [Bytes]) -> Option<&'a Bytes> {
    let key = args.get(1).filter(|key| key.starts_with(PREFIX))?;
    (entry.spec.group == Group::Hash && (reads(entry) || entry.spec.is_write())).then_some(key)
}

fn reads(entry: &Entry) -> bool {
    matches!(entry.spec.name, "hget" | "hgetall" | "hmget" | "hexists" | "hlen" | "hkeys" | "hvals" | "hstrlen")
}

/// Whether an answer to a command that reads a hash says that there is none, or no such field.
fn says_nothing(answer: &Reply) -> bool {
    match answer {
        Reply::Null | Reply::NullArray | Reply::Integer(0) => true,
        Reply::Array(items) => items.iter().all(says_nothing),
        Reply::Map(pairs) => pairs.is_empty(),
        _ => false,
    }
}

impl Session {
    /// Answers a command on a hash whose key names a row; `false` for all others.
    pub(crate) async fn table_row(&mut self, entry: &'static Entry, args: &[Bytes]) -> Result<bool, Ended> {
        let Some(key) = key_of(entry, args) else { return Ok(false) };
        // What the client has sent before may make such a key.
        self.run_burst().await?;
        self.pause(entry, args).await?;
        let began = Instant::now();
        let answer = match self.row_named(key).await? {
            TableKey::None => return Ok(false),
            TableKey::Refused(error) => error,
            TableKey::Row(_) if entry.spec.is_write() => read_only(),
            TableKey::Row(row) => answer(entry.spec.name, &row.unwrap_or_default(), args.get(2..).unwrap_or_default()),
        };
        self.monitor(args, entry);
        if answer.is_error() {
            self.shared.stats.count_error(&answer);
        }
        self.write(&answer);
        self.ran(entry, args, began.elapsed(), answer.is_error());
        // What was said for one command was said for this one.
        self.tracking.caching = None;
        if self.replies == Replies::SkipNext {
            self.replies = Replies::On;
        }
        Ok(true)
    }

    /// Why a command cannot be queued: it would make a hash where a row is seen.
    pub(crate) async fn refuses_row(&mut self, entry: &Entry, args: &[Bytes]) -> Result<Option<Reply>, Ended> {
        let Some(key) = key_of(entry, args).filter(|_| entry.spec.is_write()) else { return Ok(None) };
        Ok(match self.row_named(key).await? {
            TableKey::None => None,
            TableKey::Refused(error) => Some(error),
            TableKey::Row(_) => Some(read_only()),
        })
    }

    /// Why keys cannot be watched: one is a row, and who changes that touches no key.
    pub(crate) async fn refuses_watch(&mut self, args: &[Bytes]) -> Result<Option<Reply>, Ended> {
        for key in args.iter().skip(1).filter(|key| key.starts_with(PREFIX)) {
            match self.row_named(key).await? {
                TableKey::None => {}
                TableKey::Refused(error) => return Ok(Some(error)),
                TableKey::Row(_) => {
                    return Ok(Some(Reply::error("ERR rows of tables cannot be watched: use a transaction of SQL")));
                }
            }
        }
        Ok(None)
    }

    /// The answer to a command of a transaction that has run: that of a row, where there was no key.
    pub(crate) async fn or_row(&mut self, entry: &Entry, args: &[Bytes], found: Reply) -> Result<Reply, Ended> {
        let Some(key) = key_of(entry, args).filter(|_| reads(entry) && says_nothing(&found)) else { return Ok(found) };
        Ok(match self.row_named(key).await? {
            TableKey::None => found,
            TableKey::Refused(error) => error,
            TableKey::Row(row) => answer(entry.spec.name, &row.unwrap_or_default(), args.get(2..).unwrap_or_default()),
        })
    }

    /// What a key names where no key of the keyspace has its name.
    async fn row_named(&mut self, key: &Bytes) -> Result<TableKey, Ended> {
        let is_key = self.shared.keyspace.get(self.db_id(), key).map(|found| found.is_some());
        if !self.is_known() || !matches!(is_key, Ok(false)) {
            return Ok(TableKey::None);
        }
        if let Some(error) = self.catch_up().await? {
            return Ok(TableKey::Refused(error));
        }
        let (host, role, tenant, key) =
            (Arc::clone(&self.shared.host), self.user.role(), self.user.tenant(), key.clone());
        self.wait(false, async move { host.table_row(role, tenant, &key).await }).await
    }
}

fn read_only() -> Reply {
    Reply::error("ERR rows of tables are read-only as hashes: use SQL to write them")
}

fn answer(command: &str, row: &TableRow, names: &[Bytes]) -> Reply {
    let value = |name: &Bytes| row.iter().find(|(column, _)| column == name).map(|(_, value)| value.clone());
    let of = |name: Option<&Bytes>| name.and_then(value);
    match command {
        "hget" => Reply::bulk_or_null(of(names.first())),
        "hmget" => Reply::Array(names.iter().map(|name| Reply::bulk_or_null(value(name))).collect()),
        "hexists" => Reply::flag(of(names.first()).is_some()),
        "hstrlen" => Reply::count(of(names.first()).map_or(0, |value| value.len())),
        "hlen" => Reply::count(row.len()),
        "hkeys" => Reply::Array(row.iter().map(|(name, _)| Reply::Bulk(name.clone())).collect()),
        "hvals" => Reply::Array(row.iter().map(|(_, value)| Reply::Bulk(value.clone())).collect()),
        _ => Reply::Map(
            row.iter().map(|(name, value)| (Reply::Bulk(name.clone()), Reply::Bulk(value.clone()))).collect(),
        ),
    }
}
