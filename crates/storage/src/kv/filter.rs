//! Compaction drops the keys of dropped tables and indexes.
//!
//! Their oids are never reused and nobody reads them any more, so a key goes without a tombstone, also while an older
//! version of it still lies in a deeper level: that one goes when compaction meets it.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use arc_swap::ArcSwap;
use fjall::compaction::filter::{CompactionFilter, CompactionFilterResult, Context, Factory, ItemAccessor, Verdict};

use super::{DroppedSet, keys};

/// The set that compaction looks at, replaced as a whole.
#[derive(Clone, Default)]
pub(super) struct Dropped(Arc<AssertUnwindSafe<ArcSwap<DroppedSet>>>);

impl Dropped {
    pub(super) fn set(&self, oids: DroppedSet) {
        self.0.store(Arc::new(oids));
    }
}

/// Makes one filter for each compaction.
pub(super) struct DroppedKeys {
    dropped: Dropped,
}

impl DroppedKeys {
    pub(super) fn factory(dropped: Dropped) -> Arc<DroppedKeys> {
        Arc::new(DroppedKeys { dropped })
    }
}

impl Factory for DroppedKeys {
    fn name(&self) -> &str {
        "dropped oids"
    }

    fn make_filter(&self, _: &Context) -> Box<dyn CompactionFilter> {
        Box::new(Filter { dropped: self.dropped.0.load_full() })
    }
}

struct Filter {
    dropped: Arc<DroppedSet>,
}

impl CompactionFilter for Filter {
    fn filter_item(&mut self, item: ItemAccessor<'_>, _: &Context) -> CompactionFilterResult {
        let gone = !self.dropped.is_empty() && keys::is_dropped(item.key(), &self.dropped);
        Ok(if gone { Verdict::Destroy } else { Verdict::Keep })
    }
}
