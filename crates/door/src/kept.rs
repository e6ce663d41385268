//! How much of idempotency keys and of their answers each role keeps.
//!
//! They stand in memory, in checkpoints and in the log, for a day unless `idempotency-key-ttl` says otherwise: nobody may fill all of it. What
//! came within a day is counted, by the hour, on the node that leads and since it started.

use std::collections::HashMap;
use std::time::Instant;

use parking_lot::Mutex;

/// Bytes of keys and answers that a role keeps; behind that answers are not kept.
const ANSWERS_BYTES_MAX: u64 = 64 << 20;
/// Bytes behind which no key is taken either.
const KEYS_BYTES_MAX: u64 = 2 * ANSWERS_BYTES_MAX;
/// Bytes that a key has beside itself, about.
const KEY_BYTES: u64 = 256;
/// Seconds that are counted together, and how many of them.
pub const HOUR_S: u64 = 3_600;
const HOURS: usize = 24;
/// Roles that are counted; a catalog with more of them would have other troubles.
const ROLES_MAX: usize = 65_536;

/// What roles keep.
#[derive(Debug)]
pub struct Kept {
    since: Instant,
    roles: Mutex<HashMap<u32, Day>>,
}

impl Default for Kept {
    fn default() -> Self {
        Self { since: Instant::now(), roles: Mutex::default() }
    }
}

/// Bytes of a day, by the hour.
#[derive(Clone, Copy, Debug, Default)]
struct Day {
    hours: [u64; HOURS],
    /// The hour that was counted last.
    last: u64,
}

impl Day {
    /// Forgets what is older than a day; gives the bytes of the hour that it is now.
    fn now(&mut self, hour: u64) -> &mut u64 {
        let gone = hour.saturating_sub(self.last).min(HOURS as u64);
        for back in 0..gone {
            self.hours[((hour - back) % HOURS as u64) as usize] = 0;
        }
        self.last = self.last.max(hour);
        &mut self.hours[(self.last % HOURS as u64) as usize]
    }

    fn bytes(&self) -> u64 {
        self.hours.iter().sum()
    }
}

impl Kept {
    /// Whether a role may say one more key.
    #[must_use]
    pub fn has_room(&self, role: u32, now: Instant) -> bool {
        self.with(role, now, |day, _| day.bytes() < KEYS_BYTES_MAX)
    }

    /// Counts a key, and its answer where that may be kept; whether it may.
    pub fn take(&self, role: u32, key_bytes: usize, answer_bytes: usize, now: Instant) -> bool {
        self.with(role, now, |day, hour| {
            let (key, answer) = (KEY_BYTES + key_bytes as u64, answer_bytes as u64);
            let is_kept = day.bytes() + key + answer <= ANSWERS_BYTES_MAX;
            *day.now(hour) += if is_kept { key + answer } else { key };
            is_kept
        })
    }

    fn with<T>(&self, role: u32, now: Instant, count: impl FnOnce(&mut Day, u64) -> T) -> T {
        let hour = now.saturating_duration_since(self.since).as_secs() / HOUR_S;
        let mut roles = self.roles.lock();
        if roles.len() >= ROLES_MAX && !roles.contains_key(&role) {
            roles.retain(|_, day| {
                day.now(hour);
                day.bytes() > 0
            });
        }
        let day = roles.entry(role).or_default();
        day.now(hour);
        count(day, hour)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_role_keeps_so_much_in_a_day() {
        let kept = Kept::default();
        let at = |hour: u64| kept.since + Duration::from_secs(hour * HOUR_S);
        let large = (ANSWERS_BYTES_MAX / 2) as usize;
        assert!(kept.take(1, 1, large, at(0)) && !kept.take(1, 1, large, at(1)));
        assert!(kept.take(1, 1, 1_000, at(1)), "a small one has room");
        assert!(kept.take(2, 1, large, at(1)), "roles are counted apart");
        assert!(!kept.take(1, 1, large, at(23)) && kept.take(1, 1, large, at(24)));
        assert!(kept.take(1, 1, large, at(500)) && !kept.take(1, 1, large, at(500)));
    }

    #[test]
    fn keys_are_counted_without_their_answers_too() {
        let kept = Kept::default();
        let mut count = 0u64;
        while kept.has_room(1, kept.since) {
            assert!(!kept.take(1, 1 << 20, ANSWERS_BYTES_MAX as usize, kept.since));
            count += 1;
        }
        assert!((100..=128).contains(&count), "{count}");
        assert!(kept.has_room(2, kept.since) && kept.has_room(1, kept.since + Duration::from_secs(24 * HOUR_S)));
    }
}
