//! The newest row of each group, by leaps through an index whose keys begin with the group's columns and go on with the
//! time.
//!
//! ```text
//! keys:   a 1   a 2   a 3   b 1   b 2   c 1   c 2   c 3   c 4
//!                      ^           ^                       ^     the last entry, the last before c, the last before b
//! ```

use std::ops::Bound;

use perigee_types::{IndexId, LogIndex, SqlType, TransactionId, Vid, key};

use super::{LATEST, TableStore};
use crate::store::StoreError;

/// What is asked for.
pub struct NewestRequest {
    /// The index.
    pub index: IndexId,
    /// Types of its leading columns, which tell groups apart. The time stands behind them.
    pub group: Vec<SqlType>,
    /// Key of the first of these columns where their values are known: only such groups.
    pub prefix: Vec<u8>,
    /// Key of a time: only rows before it, or up to it where it is included. Rows without a time are not among them.
    pub time_max: Option<Bound<Vec<u8>>>,
    /// Which rows count; see [`TableStore::get`].
    pub at: LogIndex,
    /// The open transaction whose staged rows count too.
    pub staged: Option<TransactionId>,
    /// Past so many leaps reading all rows is cheaper.
    pub leaps_max: usize,
}

impl TableStore {
    /// One row version of each group, of those with its newest time; a time that is NULL is older than any. Counts only what
    /// `alive` says is there. `None` where the index is not filled or not of these columns, or where it takes too many leaps.
    ///
    /// # Errors
    /// [`StoreError::UnknownIndex`]; the LSM's.
    pub fn newest(&self, request: &NewestRequest, alive: impl Fn(Vid) -> bool) -> Result<Option<Vec<Vid>>, StoreError> {
        let index = self.index(request.index)?;
        if !index.is_ready() {
            return Ok(None);
        }
        let held = self.context.clock.hold();
        let at = if request.at == LATEST { held.index() } else { request.at.0 };
        let visible = |vid: u64| {
            let seen = match request.staged {
                Some(own) => self.visible_with(vid, at, own),
                None => self.visible(vid, at),
            };
            seen && alive(Vid(vid))
        };
        let mut leaps = 0;
        let mut last = |from: &[u8], to: Bound<Vec<u8>>| {
            leaps += 1;
            let found = index.last(&self.context, Bound::Included(from.to_vec()), to, visible)?;
            Ok::<_, StoreError>((found, leaps > request.leaps_max))
        };
        let mut to = match request.prefix.is_empty() {
            true => Bound::Unbounded,
            false => Bound::Included(request.prefix.clone()),
        };
        let mut newest = Vec::new();
        loop {
            let (found, too_many) = last(&request.prefix, to)?;
            if too_many {
                return Ok(None);
            }
            let Some((found_key, vid)) = found else { return Ok(Some(newest)) };
            let Some(group) = group_of(&request.group, &found_key) else { return Ok(None) };
            let (group, time) = found_key.split_at(group);
            match &request.time_max {
                Some(time_max) if !is_within(time, time_max) => {
                    let time_max = match time_max {
                        Bound::Included(time) => Bound::Included([group, time].concat()),
                        Bound::Excluded(time) => Bound::Excluded([group, time].concat()),
                        Bound::Unbounded => Bound::Unbounded,
                    };
                    newest.extend(last(group, time_max)?.0.map(|(_, vid)| Vid(vid)));
                }
                None if key::is_null(time) => {
                    let mut null = group.to_vec();
                    key::encode_null(&mut null);
                    newest.push(last(group, Bound::Excluded(null))?.0.map_or(Vid(vid), |(_, vid)| Vid(vid)));
                }
                _ => newest.push(Vid(vid)),
            }
            to = Bound::Excluded(group.to_vec());
        }
    }
}

/// How many bytes of a key the group's columns take.
fn group_of(types: &[SqlType], found: &[u8]) -> Option<usize> {
    types.iter().try_fold(0, |at, ty| Some(at + key::value_bytes(ty, found.get(at..)?)?))
}

fn is_within(time: &[u8], time_max: &Bound<Vec<u8>>) -> bool {
    match time_max {
        Bound::Included(max) => time.starts_with(max) || time < max.as_slice(),
        Bound::Excluded(max) => time < max.as_slice(),
        Bound::Unbounded => true,
    }
}
