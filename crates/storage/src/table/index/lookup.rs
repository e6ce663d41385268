//! Point lookup in a unique index.

use smallvec::SmallVec;

use super::{TableIndex, VidList, lsm_prefix};
use crate::checkpoint::format;
use crate::store::StoreError;
use crate::table::context::TableContext;

impl TableIndex {
    /// The first version of `key` for which `visible` holds.
    ///
    /// At most one version of a key is visible to any snapshot, so the order of the candidates decides only the speed.
    pub(crate) fn find(
        &self,
        context: &TableContext,
        key: &[u8],
        visible: impl Fn(u64) -> bool,
    ) -> Result<Option<u64>, StoreError> {
        let mut candidates: SmallVec<[u64; 8]> = SmallVec::new();
        let generation = {
            let deltas = self.deltas.read();
            if let Some(delta) = deltas.active.get(key) {
                candidates.extend(delta.added.iter().rev().copied());
            }
            if let Some(delta) = deltas.frozen.as_ref().and_then(|frozen| frozen.get(key)) {
                candidates.extend(delta.added.iter().rev().copied());
            }
            deltas.generation
        };
        if let Some(vid) = candidates.into_iter().find(|vid| visible(*vid)) {
            return Ok(Some(vid));
        }
        let vids = self.stored(context, key, generation)?;
        Ok(vids.into_iter().find(|vid| visible(*vid)))
    }

    /// What the LSM holds for `key`; `generation` was read before, together with the deltas.
    fn stored(&self, context: &TableContext, key: &[u8], generation: u64) -> Result<VidList, StoreError> {
        if let Some(vids) = context.index_cache.get(context.storage, self.oid, key) {
            return Ok(vids);
        }
        let mut lsm_key = lsm_prefix(self.kind(), context.storage, self.oid);
        lsm_key.extend_from_slice(key);
        let Some(value) = context.kv.get(&lsm_key)? else { return Ok(VidList::new()) };
        let vids = format::decode_vids(&value, &lsm_key)?;
        let deltas = self.deltas.read();
        let frozen = deltas.frozen.as_ref().is_some_and(|frozen| frozen.get(key).is_some());
        if deltas.generation == generation && !frozen {
            // Under the lock: the next freeze comes behind it and forgets what it makes stale.
            context.index_cache.insert(context.storage, self.oid, key, vids.clone());
        }
        Ok(vids)
    }
}
