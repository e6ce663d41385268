//! Hash functions that statements call: `hashtext` and `hashtextextended`, with which locks and shares are named.
//!
//! They give PostgreSQL's numbers, which are those of Bob Jenkins's hash over the bytes of the text.

use std::sync::Arc;

use datafusion::logical_expr::ScalarUDF;
use perigee_types::{SqlType, Value};

use super::function::{Function, overload};

use SqlType as T;

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    vec![
        Function::new(
            "hashtext",
            vec![overload(&[T::Text], T::Int4, |a, _| {
                let (_, low) = hash(a[0].as_str().unwrap_or_default().as_bytes(), 0);
                Ok(Value::Int4(low.cast_signed()))
            })],
        )
        .udf(),
        Function::new(
            "hashtextextended",
            vec![overload(&[T::Text, T::Int8], T::Int8, |a, _| {
                let seed = a[1].as_i64().unwrap_or_default().cast_unsigned();
                let (high, low) = hash(a[0].as_str().unwrap_or_default().as_bytes(), seed);
                Ok(Value::Int8(((u64::from(high) << 32) | u64::from(low)).cast_signed()))
            })],
        )
        .udf(),
    ]
}

/// The two halves of the hash; the lower one is that of 32 bits.
fn hash(bytes: &[u8], seed: u64) -> (u32, u32) {
    // As PostgreSQL, which takes no more than 1 GB.
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    let begin = 0x9e37_79b9_u32.wrapping_add(length).wrapping_add(3_923_095);
    let mut state = [begin; 3];
    if seed != 0 {
        state[0] = begin.wrapping_add((seed >> 32) as u32);
        state[1] = begin.wrapping_add(seed as u32);
        mix(&mut state);
    }
    let mut blocks = bytes.chunks_exact(12);
    for block in &mut blocks {
        for (word, four) in state.iter_mut().zip(block.chunks_exact(4)) {
            *word = word.wrapping_add(number(four));
        }
        mix(&mut state);
    }
    let rest = blocks.remainder();
    for (place, (word, four)) in state.iter_mut().zip(rest.chunks(4)).enumerate() {
        // The lowest byte of the third word is not used.
        let shift = if place == 2 { 8 } else { 0 };
        *word = word.wrapping_add(number(four) << shift);
    }
    finish(&mut state);
    (state[1], state[2])
}

/// Up to four bytes as a number, the lowest first.
fn number(bytes: &[u8]) -> u32 {
    bytes.iter().rev().fold(0, |number, byte| (number << 8) | u32::from(*byte))
}

fn mix(state: &mut [u32; 3]) {
    let [mut a, mut b, mut c] = *state;
    for [first, second, third] in [[4, 6, 8], [16, 19, 4]] {
        a = a.wrapping_sub(c) ^ c.rotate_left(first);
        c = c.wrapping_add(b);
        b = b.wrapping_sub(a) ^ a.rotate_left(second);
        a = a.wrapping_add(c);
        c = c.wrapping_sub(b) ^ b.rotate_left(third);
        b = b.wrapping_add(a);
    }
    *state = [a, b, c];
}

fn finish(state: &mut [u32; 3]) {
    let [mut a, mut b, mut c] = *state;
    c = (c ^ b).wrapping_sub(b.rotate_left(14));
    a = (a ^ c).wrapping_sub(c.rotate_left(11));
    b = (b ^ a).wrapping_sub(a.rotate_left(25));
    c = (c ^ b).wrapping_sub(b.rotate_left(16));
    a = (a ^ c).wrapping_sub(c.rotate_left(4));
    b = (b ^ a).wrapping_sub(a.rotate_left(14));
    c = (c ^ b).wrapping_sub(b.rotate_left(24));
    *state = [a, b, c];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_postgresql() {
        for (text, want) in [
            ("", -1_477_818_771),
            ("a", 1_075_015_857),
            ("hello world", 1_021_725_223),
            ("twelve bytes", 652_846_557),
            ("héllo, a longer text than that", -891_583_610),
        ] {
            assert_eq!(hash(text.as_bytes(), 0).1.cast_signed(), want, "{text}");
        }
        for (text, seed, want) in [
            ("a", 0, 3_591_986_179_850_072_241),
            ("a", 42, 6_942_402_718_208_252_407),
            ("hello world and more", -5_i64, 3_193_821_432_871_054_907_i64),
        ] {
            let (high, low) = hash(text.as_bytes(), seed.cast_unsigned());
            assert_eq!(((u64::from(high) << 32) | u64::from(low)).cast_signed(), want, "{text} {seed}");
        }
    }
}
