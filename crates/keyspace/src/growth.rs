//! What a unit may add to memory beyond its own bytes. It is asked before the unit is logged: behind the log all nodes do the
//! same, whatever memory they have, and one that has too little would end there, and again at each start.

use bytes::Bytes;

use crate::service::{Keyspace, SubmitError};
use crate::unit::Unit;
use crate::{DbId, Spec, State, command};

/// Less than this is not looked at.
const LITTLE_BYTES: u64 = 64 << 10;

/// How a command may make more of what it is given.
#[derive(Clone, Copy, Debug, Default)]
pub enum Growth {
    /// By no more than its arguments.
    #[default]
    Little,
    /// Its first key becomes at least so many bytes long; what no string can be is an error of the command itself.
    To(fn(&[Bytes]) -> u64),
    /// What its keys hold is written once more.
    Copies,
    /// As the command does that begins with this argument.
    Inner(usize),
}

/// Bytes of the longest string (`proto-max-bulk-len`).
pub(crate) fn longest(state: &State) -> u64 {
    state.settings.number("proto-max-bulk-len", 512 << 20).unsigned_abs()
}

impl Keyspace {
    /// Reserves what a unit may add, until it is applied and counted.
    pub(crate) fn grow(&self, unit: &Unit) -> Result<Option<perigee_storage::budget::Guard>, SubmitError> {
        let bytes = unit
            .commands
            .iter()
            .map(|command| self.growth_of(unit.db, command.spec, &command.args))
            .fold(0, u64::saturating_add);
        if bytes < LITTLE_BYTES {
            return Ok(None);
        }
        let refused = || SubmitError::Refused("OOM command not allowed when used memory > 'maxmemory'.".to_owned());
        // A value that grows is held twice while it is copied.
        let bytes = usize::try_from(bytes.saturating_mul(2)).map_err(|_| refused())?;
        self.reserve(bytes).map_err(|error| {
            tracing::warn!(%error, "a command that would need much memory was refused");
            refused()
        })
    }

    fn growth_of(&self, db: DbId, spec: &Spec, args: &[Bytes]) -> u64 {
        let held = |state: &State, key: &Bytes| {
            let entry = state.find(db, key, self.now_ms()).ok().flatten();
            entry.map_or(0, |entry| entry.memory() as u64)
        };
        match spec.grows {
            Growth::Little => 0,
            Growth::To(bytes) => match (bytes(args), args.get(1)) {
                (bytes, Some(key)) if bytes >= LITTLE_BYTES => {
                    self.with_state(
                        |state| {
                            if bytes > longest(state) { 0 } else { bytes.saturating_sub(held(state, key)) }
                        },
                    )
                }
                _ => 0,
            },
            Growth::Copies => self.with_state(|state| {
                let keys = spec.keys_of(args);
                keys.iter().filter_map(|(at, _)| args.get(*at)).map(|key| held(state, key)).sum()
            }),
            Growth::Inner(at) => {
                let inner = args.get(at..).unwrap_or_default();
                let spec = inner.first().and_then(|name| command::find(name));
                // None of those stands within another of its kind.
                spec.filter(|spec| !matches!(spec.grows, Growth::Inner(_)))
                    .map_or(0, |spec| self.growth_of(db, spec, inner))
            }
        }
    }
}
