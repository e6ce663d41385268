//! SHA-1, by which scripts are named (FIPS 180-4). Not for security.

use sha1::{Digest, Sha1};

/// The digest in hexadecimal digits.
pub(crate) fn sha1_hex(bytes: &[u8]) -> [u8; 40] {
    let mut digits = [0; 40];
    digits.copy_from_slice(hex::encode(Sha1::digest(bytes)).as_bytes());
    digits
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
