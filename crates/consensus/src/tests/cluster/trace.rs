//! What happens in a run, step for step: one number for all of it, and what must not have happened.
//!
//! `PERIGEE_SIM_TRACE=1` prints the steps: two processes that differ tell where they begin to.

use std::fmt::Display;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use tokio::time::Instant;

/// A run's steps; clones share them.
#[derive(Clone)]
pub(super) struct Trace(Arc<Mutex<State>>);

struct State {
    began: Instant,
    printed: bool,
    digest: Sha256,
    wrong: Vec<String>,
}

impl Trace {
    /// Begins now; inside of the simulation, whose time it tells.
    pub(super) fn new() -> Self {
        let printed = std::env::var_os("PERIGEE_SIM_TRACE").is_some();
        let (began, digest, wrong) = (Instant::now(), Sha256::new(), Vec::new());
        Self(Arc::new(Mutex::new(State { began, printed, digest, wrong })))
    }

    /// Something happened now.
    pub(super) fn note(&self, what: impl Display) {
        let mut state = self.0.lock();
        let step = format!("{:>9} {what}\n", state.began.elapsed().as_micros());
        if state.printed {
            eprint!("{step}");
        }
        state.digest.update(step.as_bytes());
    }

    /// Something happened that must not.
    pub(super) fn wrong(&self, what: String) {
        self.note(format_args!("WRONG: {what}"));
        self.0.lock().wrong.push(what);
    }

    /// Fails when something was wrong.
    pub(super) fn check(&self) {
        let state = self.0.lock();
        assert!(state.wrong.is_empty(), "{:#?}", state.wrong);
    }

    /// Equal for equal steps.
    pub(super) fn digest(&self) -> u64 {
        first(&self.0.lock().digest.clone().finalize())
    }
}

/// A short name of what a message holds.
pub(super) fn short(body: &Bytes) -> String {
    format!("{:016x}", first(&Sha256::digest(body)))
}

fn first(hash: &[u8]) -> u64 {
    hash[..8].iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}
