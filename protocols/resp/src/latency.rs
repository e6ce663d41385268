//! LATENCY: events that took longer than `latency-monitor-threshold`.

use std::collections::{BTreeMap, VecDeque};
use std::time::{SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;

/// Samples that are kept of an event.
const SAMPLES_MAX: usize = 160;

/// One kind of event.
#[derive(Clone, Debug, Default)]
pub(crate) struct Event {
    /// Seconds since 1970, and milliseconds that it took.
    pub(crate) samples: VecDeque<(i64, i64)>,
    pub(crate) max_ms: i64,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Latency {
    events: Mutex<BTreeMap<&'static str, Event>>,
}

impl Latency {
    /// Keeps an event; several in a second are one.
    pub(crate) fn add(&self, name: &'static str, ms: i64) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        let mut events = self.events.lock();
        let event = events.entry(name).or_default();
        event.max_ms = event.max_ms.max(ms);
        match event.samples.back_mut() {
            Some((time, longest)) if *time == now => *longest = (*longest).max(ms),
            _ => event.samples.push_back((now, ms)),
        }
        if event.samples.len() > SAMPLES_MAX {
            event.samples.pop_front();
        }
    }

    pub(crate) fn all(&self) -> Vec<(&'static str, Event)> {
        self.events.lock().iter().map(|(name, event)| (*name, event.clone())).collect()
    }

    /// Forgets an event, or all; says how many there were.
    pub(crate) fn reset(&self, name: Option<&[u8]>) -> usize {
        let mut events = self.events.lock();
        let before = events.len();
        events.retain(|known, _| name.is_some_and(|name| known.as_bytes() != name));
        before - events.len()
    }
}
