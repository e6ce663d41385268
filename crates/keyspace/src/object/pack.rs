//! Elements one behind the other in one block of memory, readable from both ends: small objects and the nodes of lists.
//!
//! ```text
//! | room | length data back | length data back | ...     back: bytes of length and data, written to be read backwards
//!        ^ start
//! ```

/// See the module.
#[derive(Clone, Default)]
pub(super) struct Pack {
    bytes: Vec<u8>,
    /// Where the first element begins: what is in front of it is free.
    start: usize,
    count: usize,
}

impl std::fmt::Debug for Pack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter().map(<[u8]>::escape_ascii)).finish()
    }
}

/// Bytes that an element of this length takes.
pub(super) fn entry_bytes(length: usize) -> usize {
    let header = digits(length);
    header + length + digits(header + length)
}

/// Bytes of a number in digits of seven bits.
fn digits(number: usize) -> usize {
    ((usize::BITS - number.leading_zeros()).div_ceil(7) as usize).max(1)
}

fn write_entry(data: &[u8], out: &mut Vec<u8>) {
    let from = out.len();
    perigee_types::row::put_varint(data.len() as u64, out);
    out.extend_from_slice(data);
    let size = out.len() - from;
    // Highest digits first: the last byte, read first, has the lowest ones.
    for at in (0..digits(size)).rev() {
        let more = if at + 1 < digits(size) { 0x80 } else { 0 };
        out.push((size >> (7 * at)) as u8 & 0x7f | more);
    }
}

/// The element that begins at `at`, and where the next one does.
fn read_entry(bytes: &[u8], at: usize) -> Option<(&[u8], usize)> {
    let mut rest = bytes.get(at..)?;
    let data = perigee_types::row::get_bytes(&mut rest).ok()?;
    let end = bytes.len() - rest.len();
    Some((data, end + digits(end - at)))
}

/// Where the element begins that ends before `end`.
fn entry_before(bytes: &[u8], end: usize) -> Option<usize> {
    let (mut size, mut shift, mut at) = (0, 0, end);
    loop {
        at = at.checked_sub(1)?;
        let byte = *bytes.get(at)?;
        size |= usize::from(byte & 0x7f) << shift;
        shift += 7;
        // The first digit that was written has no mark.
        if byte & 0x80 == 0 || shift > 56 {
            return at.checked_sub(size);
        }
    }
}

impl Pack {
    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// Bytes of its elements.
    pub(super) fn byte_len(&self) -> usize {
        self.bytes.len() - self.start
    }

    pub(super) fn push_back(&mut self, data: &[u8]) {
        write_entry(data, &mut self.bytes);
        self.count += 1;
    }

    pub(super) fn push_front(&mut self, data: &[u8]) {
        let size = entry_bytes(data.len());
        if self.start < size {
            // Room for as much as there is, so that a row of pushes moves each byte a few times only.
            let room = self.byte_len().max(size);
            let mut bytes = Vec::with_capacity(room + self.byte_len());
            bytes.resize(room, 0);
            bytes.extend_from_slice(self.bytes.get(self.start..).unwrap_or_default());
            (self.bytes, self.start) = (bytes, room);
        }
        let mut entry = Vec::with_capacity(size);
        write_entry(data, &mut entry);
        let start = self.start - size;
        self.bytes[start..self.start].copy_from_slice(&entry);
        self.start = start;
        self.count += 1;
    }

    pub(super) fn pop_front(&mut self) -> Option<Vec<u8>> {
        let (data, next) = read_entry(&self.bytes, self.start)?;
        let data = data.to_vec();
        self.start = next;
        self.count -= 1;
        self.trim();
        Some(data)
    }

    pub(super) fn pop_back(&mut self) -> Option<Vec<u8>> {
        if self.count == 0 {
            return None;
        }
        let at = entry_before(&self.bytes, self.bytes.len())?;
        let data = read_entry(&self.bytes, at)?.0.to_vec();
        self.bytes.truncate(at);
        self.count -= 1;
        self.trim();
        Some(data)
    }

    /// Gives memory back where most of it is free.
    fn trim(&mut self) {
        if self.count == 0 {
            *self = Self::default();
        } else if self.start > 64 && self.start > 2 * self.byte_len() {
            self.bytes.drain(..self.start);
            self.start = 0;
            self.bytes.shrink_to(self.bytes.len() * 2);
        }
    }

    /// Where an element begins; the end for the number of elements.
    fn offset(&self, index: usize) -> Option<usize> {
        if index > self.count {
            return None;
        }
        if index <= self.count / 2 {
            (0..index).try_fold(self.start, |at, _| read_entry(&self.bytes, at).map(|(_, next)| next))
        } else {
            (index..self.count).try_fold(self.bytes.len(), |end, _| entry_before(&self.bytes, end))
        }
    }

    pub(super) fn get(&self, index: usize) -> Option<&[u8]> {
        (index < self.count)
            .then(|| self.offset(index))
            .flatten()
            .and_then(|at| read_entry(&self.bytes, at))
            .map(|e| e.0)
    }

    /// Puts an element before that at `index`.
    pub(super) fn insert(&mut self, index: usize, data: &[u8]) {
        if let Some(at) = self.offset(index) {
            let mut entry = Vec::with_capacity(entry_bytes(data.len()));
            write_entry(data, &mut entry);
            self.bytes.splice(at..at, entry);
            self.count += 1;
        }
    }

    /// Removes elements from `index` on.
    pub(super) fn remove(&mut self, index: usize, count: usize) {
        let count = count.min(self.count.saturating_sub(index));
        if let (Some(from), Some(to)) = (self.offset(index), self.offset(index + count)) {
            self.bytes.drain(from..to);
            self.count -= count;
            self.trim();
        }
    }

    /// Puts an element in place of another.
    pub(super) fn replace(&mut self, index: usize, data: &[u8]) {
        if let Some(at) = self.offset(index)
            && let Some((_, end)) = read_entry(&self.bytes, at)
        {
            let mut entry = Vec::with_capacity(entry_bytes(data.len()));
            write_entry(data, &mut entry);
            self.bytes.splice(at..end, entry);
        }
    }

    /// Takes the elements from `index` on away into another one.
    pub(super) fn split_off(&mut self, index: usize) -> Self {
        let Some(at) = self.offset(index) else { return Self::default() };
        let other = Self { bytes: self.bytes.split_off(at), start: 0, count: self.count - index };
        self.count = index;
        self.trim();
        other
    }

    /// Puts the elements of another behind its own.
    pub(super) fn append(&mut self, other: &Self) {
        self.bytes.extend_from_slice(other.bytes.get(other.start..).unwrap_or_default());
        self.count += other.count;
    }

    pub(super) fn iter(&self) -> PackIter<'_> {
        PackIter { bytes: &self.bytes, start: self.start, end: self.bytes.len(), left: self.count }
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        perigee_types::row::put_varint(self.count as u64, out);
        for data in self.iter() {
            perigee_types::row::put_bytes(data, out);
        }
    }

    pub(super) fn decode(bytes: &mut &[u8]) -> Option<Self> {
        let count = perigee_types::row::get_varint(bytes).ok()?;
        // Each takes a byte at least.
        if count > bytes.len() as u64 {
            return None;
        }
        let mut pack = Self::default();
        for _ in 0..count {
            pack.push_back(perigee_types::row::get_bytes(bytes).ok()?);
        }
        Some(pack)
    }
}

/// Elements in order, or backwards by `rev`.
#[derive(Clone, Debug, Default)]
pub(super) struct PackIter<'a> {
    bytes: &'a [u8],
    start: usize,
    end: usize,
    left: usize,
}

impl<'a> Iterator for PackIter<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        self.left = self.left.checked_sub(1)?;
        let (data, next) = read_entry(self.bytes, self.start)?;
        self.start = next;
        Some(data)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl DoubleEndedIterator for PackIter<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        self.end = entry_before(self.bytes, self.end)?;
        read_entry(self.bytes, self.end).map(|(data, _)| data)
    }
}

impl ExactSizeIterator for PackIter<'_> {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_pack_is_a_deque(steps in prop::collection::vec((0_u8..9, 0_usize..20, 0_usize..300), 1..80)) {
            let (mut pack, mut model) = (Pack::default(), std::collections::VecDeque::<Vec<u8>>::new());
            for (step, index, length) in steps {
                let data = vec![length as u8; length * length / 3];
                let at = index.min(model.len());
                match step {
                    0 | 1 => (pack.push_back(&data), model.push_back(data)).0,
                    2 | 3 => (pack.push_front(&data), model.push_front(data)).0,
                    4 => prop_assert_eq!(pack.pop_back(), model.pop_back()),
                    5 => prop_assert_eq!(pack.pop_front(), model.pop_front()),
                    6 => (pack.insert(at, &data), model.insert(at, data)).0,
                    7 if at < model.len() => {
                        pack.replace(at, &data);
                        model[at] = data;
                    }
                    _ => {
                        pack.remove(at, 2);
                        model.drain(at..(at + 2).min(model.len()));
                    }
                }
                prop_assert!(pack.iter().eq(model.iter().map(Vec::as_slice)));
                prop_assert!(pack.iter().rev().eq(model.iter().rev().map(Vec::as_slice)));
                prop_assert_eq!(pack.get(at), model.get(at).map(Vec::as_slice));
                prop_assert_eq!(pack.byte_len(), model.iter().map(|data| entry_bytes(data.len())).sum::<usize>());
            }
            let half = pack.len() / 2;
            let mut left = pack.clone();
            let right = left.split_off(half);
            prop_assert_eq!((left.len(), right.len()), (half, pack.len() - half));
            left.append(&right);
            prop_assert!(left.iter().eq(pack.iter()));
        }
    }
}
