//! How often statements run on this node, and how long they take: `perigee.queries`.

use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use perigee_query::exec::QueryStatistics;
use rustc_hash::{FxBuildHasher, FxHashMap};

use crate::slow::shown;

/// Parts, each with a lock of its own: every statement comes here.
const PARTS: usize = 16;
/// Statements that a part keeps; the one that ran least often makes room.
const STATEMENTS_MAX: usize = 64;

/// Counts statements by their text. Since the process started; local to the node.
#[derive(Debug, Default)]
pub(crate) struct Queries([Mutex<FxHashMap<Arc<str>, QueryStatistics>>; PARTS]);

impl Queries {
    /// A statement has run.
    pub(crate) fn note(&self, text: &Arc<str>, took: Duration, has_failed: bool, now_micros: i64) {
        // The high bits: the maps themselves go by the low ones.
        let part = (FxBuildHasher.hash_one(&**text) >> 48) as usize % PARTS;
        let mut part = self.0[part].lock();
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let add = |known: &mut QueryStatistics| {
            known.calls += 1;
            known.errors += u64::from(has_failed);
            known.total_nanos = known.total_nanos.saturating_add(nanos);
            known.max_nanos = known.max_nanos.max(nanos);
            known.last_micros = now_micros;
        };
        if let Some(known) = part.get_mut(text) {
            return add(known);
        }
        if part.len() >= STATEMENTS_MAX {
            let least = part.iter().min_by_key(|(_, known)| (known.calls, known.last_micros));
            if let Some(least) = least.map(|(text, _)| Arc::clone(text)) {
                part.remove(&least);
            }
        }
        // What may hold a password is not shown, and counted under its own text all the same.
        let mut new = QueryStatistics {
            text: shown(text).into(),
            calls: 0,
            errors: 0,
            total_nanos: 0,
            max_nanos: 0,
            last_micros: now_micros,
        };
        add(&mut new);
        part.insert(Arc::clone(text), new);
    }

    /// All, those first that have taken most.
    pub(crate) fn all(&self) -> Vec<QueryStatistics> {
        let mut all: Vec<QueryStatistics> =
            self.0.iter().flat_map(|part| part.lock().values().cloned().collect::<Vec<_>>()).collect();
        all.sort_by(|a, b| b.total_nanos.cmp(&a.total_nanos).then_with(|| a.text.cmp(&b.text)));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_are_counted_and_bounded() {
        let queries = Queries::default();
        let often: Arc<str> = "SELECT $1".into();
        for n in 0..10_000_u64 {
            queries.note(&often, Duration::from_millis(1 + n % 2), n % 4 == 0, n as i64);
            queries.note(&format!("SELECT 'once {n}'").into(), Duration::from_nanos(1), false, n as i64);
        }
        queries.note(&"ALTER ROLE a PASSWORD 'x'".into(), Duration::from_secs(100), false, 0);
        let all = queries.all();
        assert!(all.len() <= PARTS * STATEMENTS_MAX, "{}", all.len());
        assert_eq!(&*all[0].text, "a statement with a password");
        let often = &all[1];
        assert_eq!((&*often.text, often.calls, often.errors), ("SELECT $1", 10_000, 2_500));
        assert_eq!((often.total_nanos, often.max_nanos, often.last_micros), (15_000_000_000, 2_000_000, 9_999));
    }
}
