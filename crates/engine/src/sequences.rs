//! `nextval` on the leader: values are taken from the log in blocks, so that most calls cost nothing.
//!
//! A block that was logged and not used up is lost with its leader: gaps are fine, a value twice is not.

use std::sync::Arc;

use parking_lot::Mutex;
use perigee_storage::entry::{Entry, SequenceChange, Transaction};
use perigee_types::catalog::Sequence;
use perigee_types::{Oid, SqlError, SqlResult, SqlState, Term};
use rustc_hash::FxHashMap;

use crate::engine::Engine;

/// Values that one entry takes.
const BLOCK: i64 = 32;

#[derive(Clone, Copy, Debug)]
struct Block {
    /// The term that it was taken in: another leader takes its own.
    term: Term,
    /// What the next call gives.
    next: i64,
    /// How many are left.
    left: i64,
}

/// Blocks that this leader has taken and not used up.
#[derive(Debug, Default)]
pub(crate) struct Sequences {
    blocks: Mutex<FxHashMap<Oid, Arc<Mutex<Option<Block>>>>>,
}

impl Sequences {
    fn block(&self, sequence: Oid) -> Arc<Mutex<Option<Block>>> {
        self.blocks.lock().entry(sequence).or_default().clone()
    }

    /// Forgets what was taken of a sequence that is changed or dropped.
    pub(crate) fn forget(&self, sequence: Oid) {
        self.blocks.lock().remove(&sequence);
    }

    /// What the next call gives, where values that were taken are left.
    pub(crate) fn taken(&self, engine: &Engine, sequence: Oid) -> Option<i64> {
        let block = self.blocks.lock().get(&sequence)?.clone();
        let block = (*block.lock())?;
        (block.left > 0 && engine.consensus.leader_term() == Some(block.term)).then_some(block.next)
    }

    /// The definition of a sequence has changed: its next value is the last one and the new increment.
    pub(crate) fn redefine(&self, engine: &Engine, old: &Sequence, new: &Sequence) {
        let steps = |sequence: &Sequence| (sequence.increment, sequence.minimum, sequence.maximum, sequence.cycle);
        if steps(old) == steps(new) {
            return;
        }
        let block = self.block(new.oid);
        let mut block = block.lock();
        let Some(taken) = block.take() else { return };
        if engine.consensus.leader_term() != Some(taken.term) || taken.left == 0 && old.increment == new.increment {
            return;
        }
        let next = taken.next.saturating_sub(old.increment).saturating_add(new.increment);
        // Without it what is left of the block is skipped.
        if let Err(error) = log(engine, taken.term, SequenceChange { sequence: new.oid, next, called: true }) {
            tracing::warn!(%error, sequence = new.name, "values of a changed sequence are skipped");
        }
    }

    /// The next value. Blocks the thread for a commit when a new block is needed.
    pub(crate) fn next_value(&self, engine: &Engine, sequence: &Sequence) -> SqlResult<i64> {
        let term = engine.consensus.leader_term().ok_or_else(crate::transaction::no_leader)?;
        let block = self.block(sequence.oid);
        // Held over the commit of a new block: others who want this sequence wait for the same entry.
        let mut block = block.lock();
        if let Some(current) = block.as_mut()
            && current.term == term
            && current.left > 0
        {
            let value = current.next;
            current.left -= 1;
            current.next = value.saturating_add(sequence.increment);
            return Ok(value);
        }
        let taken = take(engine, sequence, term)?;
        let value = taken.next;
        *block = Some(Block { next: value.saturating_add(sequence.increment), left: taken.left - 1, term });
        Ok(value)
    }

    /// `setval`: the next call gives `value` (or, `called`, the one behind it).
    pub(crate) fn set_value(&self, engine: &Engine, sequence: &Sequence, value: i64, called: bool) -> SqlResult<()> {
        check_value(sequence, value)?;
        let term = engine.consensus.leader_term().ok_or_else(crate::transaction::no_leader)?;
        let block = self.block(sequence.oid);
        let mut block = block.lock();
        let next = if called { value.saturating_add(sequence.increment) } else { value };
        log(engine, term, SequenceChange { sequence: sequence.oid, next, called })?;
        *block = None;
        Ok(())
    }
}

/// Refuses a value that `setval` may not set.
///
/// # Errors
/// `22003`
pub(crate) fn check_value(sequence: &Sequence, value: i64) -> SqlResult<()> {
    if value < sequence.minimum || value > sequence.maximum {
        return Err(SqlError::new(
            SqlState::NumericValueOutOfRange,
            format!(
                "setval: value {value} is out of bounds for sequence \"{}\" ({}..{})",
                sequence.name, sequence.minimum, sequence.maximum
            ),
        ));
    }
    Ok(())
}

/// `next`, or where the sequence starts again when that is past its end.
///
/// # Errors
/// `2200H` at the end of a sequence that does not start again.
pub(crate) fn within(sequence: &Sequence, next: i64) -> SqlResult<i64> {
    if (sequence.minimum..=sequence.maximum).contains(&next) {
        return Ok(next);
    }
    if sequence.cycle {
        return Ok(if sequence.increment > 0 { sequence.minimum } else { sequence.maximum });
    }
    let (what, bound) =
        if sequence.increment > 0 { ("maximum", sequence.maximum) } else { ("minimum", sequence.minimum) };
    Err(SqlError::new(
        SqlState::SequenceGeneratorLimitExceeded,
        format!("nextval: reached {what} value of sequence \"{}\" ({bound})", sequence.name),
    ))
}

/// Takes a block from the log.
fn take(engine: &Engine, sequence: &Sequence, term: Term) -> SqlResult<Block> {
    let next = engine.store.sequence(sequence.oid).map_or(sequence.start, |state| state.next);
    let next = within(sequence, next)?;
    let room = if sequence.increment > 0 {
        (i128::from(sequence.maximum) - i128::from(next)) / i128::from(sequence.increment)
    } else {
        (i128::from(next) - i128::from(sequence.minimum)) / -i128::from(sequence.increment)
    };
    let left = (room + 1).min(i128::from(BLOCK)) as i64;
    let behind = i128::from(next) + i128::from(sequence.increment) * i128::from(left);
    // A sequence that ends at the end of its type has nothing behind it: any value out of its range says so.
    let behind = i64::try_from(behind).unwrap_or(if sequence.increment > 0 { i64::MAX } else { i64::MIN });
    log(engine, term, SequenceChange { sequence: sequence.oid, next: behind, called: true })?;
    Ok(Block { term, next, left })
}

fn log(engine: &Engine, term: Term, change: SequenceChange) -> SqlResult<()> {
    engine.check_disk(0)?;
    let entry = Entry::Transaction(Transaction { sequences: vec![change], ..Transaction::default() });
    engine.propose_blocking(term, &entry)
}
