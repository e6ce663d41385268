//! LZF: bytes as they are, and copies of what was before.
//!
//! ```text
//! 000lllll            l + 1 bytes follow
//! lllooooo oooooooo   l + 2 bytes from o + 1 back; l = 7: one more byte of l stands between
//! ```

/// At most so many bytes come out of one.
const RATIO_MAX: usize = 264;

/// What `bytes` stand for, which must be `length` bytes.
pub(super) fn decompress(mut bytes: &[u8], length: usize) -> Option<Vec<u8>> {
    if length > bytes.len().saturating_mul(RATIO_MAX) {
        return None;
    }
    let mut out = Vec::with_capacity(length);
    while let [control, rest @ ..] = bytes {
        bytes = rest;
        let control = usize::from(*control);
        if control < 32 {
            let (plain, rest) = bytes.split_at_checked(control + 1)?;
            out.extend_from_slice(plain);
            bytes = rest;
        } else {
            let mut count = control >> 5;
            if count == 7 {
                let (more, rest) = bytes.split_first()?;
                count += usize::from(*more);
                bytes = rest;
            }
            let (low, rest) = bytes.split_first()?;
            bytes = rest;
            let back = ((control & 31) << 8 | usize::from(*low)) + 1;
            let from = out.len().checked_sub(back)?;
            // It may reach into what it writes.
            for at in from..from + count + 2 {
                out.push(*out.get(at)?);
            }
        }
        if out.len() > length {
            return None;
        }
    }
    (out.len() == length).then_some(out)
}
