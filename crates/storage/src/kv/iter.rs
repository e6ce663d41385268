//! Bounds of scans, made such that no engine has to think about them: a `BTreeMap` panics on some, fjall on others.

use std::ops::Bound;

use super::KEY_BYTES_MAX;

/// Where a scan begins and where it ends.
pub(super) type Range<'a> = (Bound<&'a [u8]>, Bound<&'a [u8]>);

/// Bounds between which the same keys lie, none of them empty or longer than a key may be; `None` where no key can lie
/// between them.
pub(super) fn usable<'a>(from: Bound<&'a [u8]>, to: Bound<&'a [u8]>) -> Option<Range<'a>> {
    // No key is empty, so all lie behind the empty one. A bound that is too long lies right behind its own beginning.
    let from = match from {
        Bound::Included([]) | Bound::Excluded([]) => Bound::Unbounded,
        Bound::Included(key) | Bound::Excluded(key) if key.len() > KEY_BYTES_MAX => {
            Bound::Excluded(&key[..KEY_BYTES_MAX])
        }
        from => from,
    };
    let to = match to {
        Bound::Included([]) | Bound::Excluded([]) => return None,
        Bound::Included(key) | Bound::Excluded(key) if key.len() > KEY_BYTES_MAX => {
            Bound::Included(&key[..KEY_BYTES_MAX])
        }
        to => to,
    };
    let empty = match (from, to) {
        (Bound::Unbounded, _) | (_, Bound::Unbounded) => false,
        (Bound::Included(a), Bound::Included(b)) => a > b,
        (Bound::Included(a) | Bound::Excluded(a), Bound::Included(b) | Bound::Excluded(b)) => a >= b,
    };
    (!empty).then_some((from, to))
}
