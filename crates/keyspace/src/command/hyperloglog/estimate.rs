//! How many elements a sketch has seen, by its registers (Otmar Ertl, "New cardinality estimation algorithms for
//! HyperLogLog sketches", 2017): Redis's estimator, so that both give the same numbers.

use super::sketch::REGISTERS;

/// Bits of a hash that no register number takes.
const VALUE_BITS: usize = 50;
/// 1 / (2 ln 2)
const ALPHA: f64 = 0.721_347_520_444_481_7;

pub(super) fn estimate(registers: &[u8]) -> u64 {
    let mut histogram = [0_u32; 64];
    for value in registers {
        histogram[usize::from(value & 63)] += 1;
    }
    let m = REGISTERS as f64;
    let mut z = m * tau((m - f64::from(histogram[VALUE_BITS + 1])) / m);
    for count in histogram[1..=VALUE_BITS].iter().rev() {
        z = 0.5 * (z + f64::from(*count));
    }
    z += m * sigma(f64::from(histogram[0]) / m);
    (ALPHA * m * m / z).round() as u64
}

fn sigma(mut x: f64) -> f64 {
    if x == 1.0 {
        return f64::INFINITY;
    }
    let (mut y, mut z) = (1.0, x);
    loop {
        let before = z;
        x *= x;
        z += x * y;
        y += y;
        if z == before {
            return z;
        }
    }
}

fn tau(mut x: f64) -> f64 {
    if x == 0.0 || x == 1.0 {
        return 0.0;
    }
    let (mut y, mut z) = (1.0, 1.0 - x);
    loop {
        let before = z;
        x = x.sqrt();
        y *= 0.5;
        z -= (1.0 - x) * (1.0 - x) * y;
        if z == before {
            return z / 3.0;
        }
    }
}
