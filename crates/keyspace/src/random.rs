//! Choices that reads make.

use std::collections::BTreeSet;

/// splitmix64 from the seed of a read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Random(pub(crate) u64);

/// A negative count may ask for more than there are; so many at most are given in one reply.
pub(crate) const REPEATED_MAX: u64 = 1 << 22;

impl Random {
    /// A number below `bound`; zero for zero.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        ((u128::from(z) * bound.max(1) as u128) >> 64) as usize
    }

    /// Numbers below `total`: `count` distinct ones (all where there are not so many), or as many as a negative count says,
    /// each for itself. `None` where that would be too many for a reply.
    pub(crate) fn choose(&mut self, total: usize, count: i64) -> Option<Vec<usize>> {
        let wanted = count.unsigned_abs();
        if total == 0 {
            return Some(Vec::new());
        }
        if count < 0 {
            return (wanted <= REPEATED_MAX).then(|| (0..wanted).map(|_| self.below(total)).collect());
        }
        let wanted = usize::try_from(wanted).unwrap_or(total).min(total);
        if wanted == total {
            return Some((0..total).collect());
        }
        // Floyd's choice of distinct numbers.
        let mut chosen = BTreeSet::new();
        for last in total - wanted..total {
            let at = self.below(last + 1);
            if !chosen.insert(at) {
                chosen.insert(last);
            }
        }
        Some(chosen.into_iter().collect())
    }
}
