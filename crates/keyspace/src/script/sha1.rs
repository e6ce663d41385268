//! SHA-1, by which scripts are named (FIPS 180-4). Not for security.

/// The digest in hexadecimal digits.
pub(crate) fn sha1_hex(bytes: &[u8]) -> [u8; 40] {
    let mut state: [u32; 5] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0];
    let mut blocks = bytes.chunks_exact(64);
    blocks.by_ref().for_each(|block| compress(&mut state, block));
    let mut tail = blocks.remainder().to_vec();
    tail.push(0x80);
    while tail.len() % 64 != 56 {
        tail.push(0);
    }
    tail.extend_from_slice(&(bytes.len() as u64).wrapping_mul(8).to_be_bytes());
    tail.chunks_exact(64).for_each(|block| compress(&mut state, block));
    let mut hex = [0; 40];
    for (digit, n) in hex.iter_mut().zip(0..) {
        let word = state[n / 8];
        *digit = b"0123456789abcdef"[(word >> (28 - 4 * (n % 8)) & 15) as usize];
    }
    hex
}

fn compress(state: &mut [u32; 5], block: &[u8]) {
    let mut words = [0_u32; 80];
    for (word, bytes) in words.iter_mut().zip(block.chunks_exact(4)) {
        *word = bytes.iter().fold(0, |word, byte| word << 8 | u32::from(*byte));
    }
    for n in 16..80 {
        words[n] = (words[n - 3] ^ words[n - 8] ^ words[n - 14] ^ words[n - 16]).rotate_left(1);
    }
    let [mut a, mut b, mut c, mut d, mut e] = *state;
    for (n, word) in words.iter().enumerate() {
        let (mixed, constant) = match n / 20 {
            0 => (b & c | !b & d, 0x5a82_7999),
            1 => (b ^ c ^ d, 0x6ed9_eba1),
            2 => (b & c | b & d | c & d, 0x8f1b_bcdc),
            _ => (b ^ c ^ d, 0xca62_c1d6),
        };
        let next = a.rotate_left(5).wrapping_add(mixed).wrapping_add(e).wrapping_add(constant).wrapping_add(*word);
        (e, d, c, b, a) = (d, c, b.rotate_left(30), a, next);
    }
    for (sum, part) in state.iter_mut().zip([a, b, c, d, e]) {
        *sum = sum.wrapping_add(part);
    }
}

#[cfg(test)]
mod tests {
    use super::sha1_hex;

    #[test]
    fn digests_are_those_of_the_standard() {
        let check = |text: &str, want: &str| assert_eq!(sha1_hex(text.as_bytes()), want.as_bytes(), "{text}");
        check("abc", "a9993e364706816aba3e25717850c26c9cd0d89d");
        check("", "da39a3ee5e6b4b0d3255bfef95601890afd80709");
        check("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", "84983e441c3bd26ebaae4aa1f95129e5e54670f1");
    }
}
