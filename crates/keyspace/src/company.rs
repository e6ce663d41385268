//! How many the line waits for before it makes an entry.
//!
//! An entry costs as much as a dozen of its commands. A line that proposes whatever is there as soon as the log is free spends
//! its time on small entries, the faster the log the smaller. Clients that were just answered mostly come back at once, so
//! the line waits until a part of those around are there: while their entry is written the others come back, and log and
//! doors both have work all the time. Where clients do not come back, it soon waits no more.

use std::time::Duration;

use rustc_hash::FxHashSet;
use tokio::sync::mpsc;

use crate::payload::Item;
use crate::service::Submitted;

/// Longest wait. Timers count milliseconds: it may be twice this.
const WINDOW: Duration = Duration::from_millis(1);
/// Turns of other tasks that the line waits for as long as each brings more.
const TURNS_MAX: usize = 16;
/// Units of an entry at most.
pub(crate) const UNITS_MAX: usize = 4_096;
/// Clients are around that come back within so many units for each of them.
const ROUNDS: usize = 4;
/// Clients that are told apart at most.
const CLIENTS_MAX: usize = 1_024;
/// Entries without a wait behind one in vain, at first and at most.
const REST: u32 = 16;
const REST_MAX: u32 = 4_096;

/// See the module.
#[derive(Debug)]
pub(crate) struct Company {
    /// Those who have come since the last count, and how many units they brought.
    clients: FxHashSet<u64>,
    units: usize,
    /// Clients around, as they were counted last.
    around: usize,
    /// Entries for which nobody is waited for.
    rest: u32,
    /// What `rest` begins with behind the next wait in vain.
    rest_next: u32,
}

impl Default for Company {
    fn default() -> Self {
        Self { clients: FxHashSet::default(), units: 0, around: 0, rest: 0, rest_next: REST }
    }
}

impl Company {
    /// These go to the log.
    pub(crate) fn sent(&mut self, submitted: &[Submitted]) {
        self.units += submitted.len();
        for submitted in submitted {
            if let Item::Unit(unit) = &submitted.item
                && self.clients.len() < CLIENTS_MAX
            {
                self.clients.insert(unit.client);
            }
        }
        if self.units >= ROUNDS * self.clients.len() {
            self.around = self.clients.len();
            self.clients.clear();
            self.units = 0;
        }
    }

    /// Units that are worth a wait.
    fn wanted(&self) -> usize {
        if self.rest > 0 { 0 } else { self.around * part() / 100 }
    }

    /// Takes from the line what the next entry carries.
    pub(crate) async fn gather(&mut self, line: &mut mpsc::Receiver<Submitted>, gathered: &mut Vec<Submitted>) {
        let wanted = self.wanted();
        self.rest = self.rest.saturating_sub(1);
        if gathered.len() < wanted {
            let came = tokio::time::timeout(WINDOW, async {
                while gathered.len() < wanted && line.recv_many(gathered, UNITS_MAX).await > 0 {}
            });
            if came.await.is_ok() {
                self.rest_next = REST;
            } else {
                self.rest = self.rest_next;
                self.rest_next = (self.rest_next * 2).min(REST_MAX);
            }
        }
        for _ in 0..TURNS_MAX {
            let before = gathered.len();
            tokio::task::yield_now().await;
            while gathered.len() < UNITS_MAX
                && let Ok(submitted) = line.try_recv()
            {
                gathered.push(submitted);
            }
            if gathered.len() == before {
                return;
            }
        }
    }
}

fn part() -> usize {
    static PART: std::sync::OnceLock<usize> = std::sync::OnceLock::new();
    *PART.get_or_init(|| std::env::var("PERIGEE_LINE_PART").ok().and_then(|v| v.parse().ok()).unwrap_or(50))
}
