//! Snapshots that transactions show each other: `pg_export_snapshot` and SET TRANSACTION SNAPSHOT.
//!
//! One can be taken over until the transaction ends that has exported it; who has taken it over goes on with it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use perigee_storage::store::Snapshot;
use perigee_types::{SqlError, SqlResult, SqlState, TenantId};

/// Snapshots that one transaction may export: each keeps the versions of rows that it sees.
const SNAPSHOTS_MAX: usize = 100;

/// The process id of the session, and a number.
type Key = (i32, u64);

/// The exported snapshots of a node.
#[derive(Default)]
pub(crate) struct SharedSnapshots {
    known: Mutex<BTreeMap<Key, (TenantId, Arc<Snapshot>)>>,
    last: AtomicU64,
}

impl SharedSnapshots {
    /// Shows a snapshot to others; gives the name that they call it by.
    ///
    /// # Errors
    /// `54000` for too many of one session.
    pub(crate) fn export(&self, process_id: i32, tenant: TenantId, snapshot: &Arc<Snapshot>) -> SqlResult<String> {
        let mut known = self.known.lock();
        if known.range((process_id, 0)..=(process_id, u64::MAX)).count() >= SNAPSHOTS_MAX {
            let message = "too many snapshots are exported by one transaction";
            return Err(SqlError::new(SqlState::ProgramLimitExceeded, message));
        }
        let number = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        // Others do not see what is not committed.
        known.insert((process_id, number), (tenant, snapshot.committed()));
        Ok(format!("{process_id:08X}-{number:08X}-1"))
    }

    /// The snapshot of a name.
    ///
    /// # Errors
    /// `22023` where there is none, `0A000` where it is of another database.
    pub(crate) fn get(&self, name: &str, tenant: TenantId) -> SqlResult<Arc<Snapshot>> {
        let known = self.known.lock();
        let key = key(name).and_then(|key| known.get(&key));
        let Some((of, snapshot)) = key else {
            let message = format!("invalid snapshot identifier: \"{name}\"");
            return Err(SqlError::new(SqlState::InvalidParameterValue, message));
        };
        if *of != tenant {
            let message = "cannot import a snapshot from a different database";
            return Err(SqlError::new(SqlState::FeatureNotSupported, message));
        }
        Ok(Arc::clone(snapshot))
    }

    /// The session's transaction has ended.
    pub(crate) fn end(&self, process_id: i32) {
        let mut known = self.known.lock();
        let mut ended = known.split_off(&(process_id, 0));
        if let Some(next) = process_id.checked_add(1) {
            known.append(&mut ended.split_off(&(next, 0)));
        }
        // Dropping a snapshot takes another lock.
        drop(known);
        drop(ended);
    }
}

fn key(name: &str) -> Option<Key> {
    let mut parts = name.strip_suffix("-1")?.split('-');
    let (process_id, number) = (parts.next()?, parts.next()?);
    let key = (i32::from_str_radix(process_id, 16).ok()?, u64::from_str_radix(number, 16).ok()?);
    parts.next().is_none().then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_or_refused() {
        assert_eq!(key("0000001B-00000002-1"), Some((27, 2)));
        for name in ["", "x", "1", "0000001B-1", "0000001B-00000002", "0000001B-00000002-3-1", "../x-2-1"] {
            assert_eq!(key(name), None, "{name}");
        }
    }
}
