//! What clients have asked this node for and that it does not have: `perigee.compat_gaps`.

use parking_lot::Mutex;
use perigee_query::exec::CompatGap;
use perigee_types::{SqlError, SqlState};
use rustc_hash::FxHashMap;

/// Different gaps that are kept; what comes behind them is counted together.
const GAPS_MAX: usize = 1_000;
/// Characters of a message that are kept.
const MESSAGE_CHARS_MAX: usize = 200;

/// Counts refused statements by SQLSTATE and message. Since the process started; local to the node.
#[derive(Debug, Default)]
pub(crate) struct Gaps(Mutex<FxHashMap<(&'static str, String), CompatGap>>);

impl Gaps {
    /// Counts an error, if it says that something is not there that PostgreSQL has.
    pub(crate) fn note(&self, error: &SqlError, now_micros: i64) {
        if !is_gap(error) {
            return;
        }
        let sqlstate = error.state().code();
        metrics::counter!(perigee_telemetry::names::COMPAT_GAPS_TOTAL, "code" => sqlstate).increment(1);
        let mut message: String = error.message().chars().take(MESSAGE_CHARS_MAX).collect();
        let mut gaps = self.0.lock();
        if gaps.len() >= GAPS_MAX && !gaps.contains_key(&(sqlstate, message.clone())) {
            "(others)".clone_into(&mut message);
        }
        let gap = gaps.entry((sqlstate, message.clone())).or_insert(CompatGap {
            sqlstate,
            message,
            count: 0,
            first_micros: now_micros,
            last_micros: now_micros,
        });
        gap.count += 1;
        gap.last_micros = now_micros;
    }

    /// All, the most frequent first.
    pub(crate) fn all(&self) -> Vec<CompatGap> {
        let mut all: Vec<CompatGap> = self.0.lock().values().cloned().collect();
        all.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.message.cmp(&b.message)));
        all
    }
}

/// A feature, function, type or setting that is not there. A system table that is missing is one too; a table of the
/// user's is not.
fn is_gap(error: &SqlError) -> bool {
    match error.state() {
        SqlState::FeatureNotSupported => error.message() != "cached plan must not change result type",
        SqlState::UndefinedFunction | SqlState::UndefinedObject => true,
        SqlState::UndefinedTable => {
            let name = error.message().strip_prefix("relation \"").unwrap_or_default();
            name.starts_with("pg_") || name.starts_with("information_schema.")
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_counted_and_bounded() {
        let gaps = Gaps::default();
        let error = |state, message: &str| SqlError::new(state, message.to_owned());
        gaps.note(&SqlError::unsupported("MERGE"), 1);
        gaps.note(&SqlError::unsupported("MERGE"), 2);
        gaps.note(&error(SqlState::UndefinedTable, "relation \"pg_catalog.pg_nothing\" does not exist"), 3);
        gaps.note(&error(SqlState::UndefinedTable, "relation \"mine\" does not exist"), 4);
        gaps.note(&error(SqlState::DivisionByZero, "division by zero"), 5);
        let all = gaps.all();
        assert_eq!(all.len(), 2);
        assert_eq!((all[0].sqlstate, all[0].count, all[0].first_micros, all[0].last_micros), ("0A000", 2, 1, 2));
        for i in 0..2 * GAPS_MAX {
            gaps.note(&error(SqlState::UndefinedFunction, &format!("function f{i}() does not exist")), 6);
        }
        let all = gaps.all();
        assert_eq!(all.len(), GAPS_MAX + 1);
        assert_eq!((all[0].message.as_str(), all[0].count), ("(others)", GAPS_MAX as u64 + 2));
    }
}
