//! How often anybody may ask: buckets of tokens, one for each who asks.
//!
//! A bucket holds as many requests as a minute allows, and fills up evenly: who was quiet may ask a minute's worth at once. Those that are
//! full again are forgotten, and there are never more than [`BUCKETS_MAX`].

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Buckets of one kind.
const BUCKETS_MAX: usize = 65_536;
/// Buckets that are forgotten at once where all are in use: looking at all of them is not for each new one.
const ROOM: usize = BUCKETS_MAX / 16;
/// What a bucket fills up in.
const MINUTE: Duration = Duration::from_secs(60);

/// A limit on requests per minute.
#[derive(Debug)]
pub(crate) struct Limit<K> {
    /// Requests of a minute; 0 for any number.
    per_minute: u32,
    buckets: Mutex<HashMap<K, Bucket>>,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    /// Requests that may come now.
    left: f64,
    /// When that was so.
    at: Instant,
}

impl<K: Clone + Eq + Hash> Limit<K> {
    pub(crate) fn new(per_minute: u32) -> Self {
        Self { per_minute, buckets: Mutex::default() }
    }

    /// Counts a request of `key`; where it is one too many, says after how long the next may come.
    pub(crate) fn take(&self, key: &K, now: Instant) -> Result<(), Duration> {
        if self.per_minute == 0 {
            return Ok(());
        }
        let most = f64::from(self.per_minute);
        let mut buckets = self.buckets.lock();
        if !buckets.contains_key(key) && buckets.len() >= BUCKETS_MAX {
            make_room(&mut buckets, now, most);
        }
        let bucket = buckets.entry(key.clone()).or_insert(Bucket { left: most, at: now });
        *bucket = Bucket { left: bucket.left_at(now, most), at: now };
        if bucket.left >= 1.0 {
            bucket.left -= 1.0;
            return Ok(());
        }
        Err(MINUTE.mul_f64((1.0 - bucket.left) / most))
    }
}

impl Bucket {
    fn left_at(&self, now: Instant, most: f64) -> f64 {
        let filled = now.saturating_duration_since(self.at).as_secs_f64() / MINUTE.as_secs_f64() * most;
        (self.left + filled).min(most)
    }
}

/// Forgets who is as one that never asked; where too few are, who is nearest to it.
fn make_room<K: Clone + Eq + Hash>(buckets: &mut HashMap<K, Bucket>, now: Instant, most: f64) {
    buckets.retain(|_, bucket| bucket.left_at(now, most) < most);
    let surplus = buckets.len().saturating_sub(BUCKETS_MAX - ROOM);
    if surplus == 0 {
        return;
    }
    let mut fullest: Vec<(f64, K)> = buckets.iter().map(|(key, b)| (b.left_at(now, most), key.clone())).collect();
    fullest.sort_unstable_by(|(a, _), (b, _)| b.total_cmp(a));
    for (_, key) in fullest.into_iter().take(surplus) {
        buckets.remove(&key);
    }
}

/// What counts as one address: of IPv6 a /64, which is what one client gets.
pub(crate) fn site(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_s_worth_may_come_at_once_and_then_evenly() {
        let (limit, begin) = (Limit::new(6), Instant::now());
        let at = |s: u64| begin + Duration::from_secs(s);
        for _ in 0..6 {
            assert_eq!(limit.take(&"a", at(0)), Ok(()));
        }
        let wait = limit.take(&"a", at(0)).unwrap_err();
        assert!((9.9..10.1).contains(&wait.as_secs_f64()), "{wait:?}");
        assert_eq!(limit.take(&"b", at(0)), Ok(()));
        assert!(limit.take(&"a", at(9)).is_err());
        assert_eq!(limit.take(&"a", at(11)), Ok(()));
        assert!(limit.take(&"a", at(11)).is_err());
        // Never more than a minute's.
        for _ in 0..6 {
            assert_eq!(limit.take(&"a", at(600)), Ok(()));
        }
        assert!(limit.take(&"a", at(600)).is_err());
        let none = Limit::new(0);
        assert!((0..1_000).all(|_| none.take(&"a", begin).is_ok()) && none.buckets.lock().is_empty());
    }

    #[test]
    fn there_are_never_too_many_buckets() {
        let (limit, now) = (Limit::new(2), Instant::now());
        assert_eq!((limit.take(&0, now), limit.take(&0, now)), (Ok(()), Ok(())));
        for key in 1..=BUCKETS_MAX {
            assert_eq!(limit.take(&key, now), Ok(()));
        }
        assert_eq!(limit.buckets.lock().len(), BUCKETS_MAX - ROOM + 1);
        // Who has asked most is not forgotten for others.
        assert!(limit.take(&0, now).is_err());
        for key in 0..ROOM {
            assert_eq!(limit.take(&(BUCKETS_MAX + 1 + key), now + MINUTE), Ok(()));
        }
        assert_eq!(limit.buckets.lock().len(), ROOM);
    }

    #[test]
    fn a_client_has_one_address() {
        let check = |address: &str, expected: &str| {
            assert_eq!(site(address.parse().unwrap()), expected.parse::<IpAddr>().unwrap(), "{address}");
        };
        check("192.0.2.7", "192.0.2.7");
        check("::ffff:192.0.2.7", "192.0.2.7");
        check("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::");
    }
}
