//! Rows of tables as hashes that can be read: `table:{name}:{primary key}`.
//!
//! A key of the keyspace with such a name comes first. Where there is none, and a table has the name, the commands that
//! read hashes see the row, and those that would make a hash of that name are refused. In MULTI and in scripts there are
//! keys only.

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

impl Session {
    /// Answers a command on a hash whose key names a row; `false` for all others.
    pub(crate) async fn table_row(&mut self, entry: &'static Entry, args: &[Bytes]) -> Result<bool, Ended> {
        let spec = entry.spec;
        let Some(key) = args.get(1).filter(|key| key.starts_with(PREFIX)) else { return Ok(false) };
        let reads =
            matches!(spec.name, "hget" | "hgetall" | "hmget" | "hexists" | "hlen" | "hkeys" | "hvals" | "hstrlen");
        if spec.group != Group::Hash || !reads && !spec.is_write() {
            return Ok(false);
        }
        // What the client has sent before may make such a key.
        self.run_burst().await?;
        let is_key = self.shared.keyspace.get(self.db_id(), key).map(|found| found.is_some());
        if !self.is_known() || !matches!(is_key, Ok(false)) {
            return Ok(false);
        }
        self.pause(entry, args).await?;
        let began = Instant::now();
        if let Some(error) = self.catch_up().await? {
            self.write(&error);
            return Ok(true);
        }
        let (host, role, tenant, key) =
            (Arc::clone(&self.shared.host), self.user.role(), self.user.tenant(), key.clone());
        let found = self.wait(false, async move { host.table_row(role, tenant, &key).await }).await?;
        let answer = match found {
            TableKey::None => return Ok(false),
            TableKey::Refused(error) => error,
            TableKey::Row(_) if spec.is_write() => {
                Reply::error("ERR rows of tables are read-only as hashes: use SQL to write them")
            }
            TableKey::Row(row) => answer(spec.name, &row.unwrap_or_default(), args.get(2..).unwrap_or_default()),
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
