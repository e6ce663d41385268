//! Entries whose bytes are too many for one entry of the log: a row of many megabytes, a catalog change of thousands of
//! tables. They come in pieces, under the name of their transaction.
//!
//! ```text
//! Piece 0, Piece 1, ..   kept as they are applied; they go when the transaction ends, however it ends
//! Piece n, the last      all of them together are an entry, which is applied at the index of this one
//! Piece 0                begins anew: what was kept is of an entry that was given up
//! ```

use bytes::Bytes;
use perigee_types::{LogIndex, TransactionId};

use super::Entry;

/// Bytes of an entry above which it comes in pieces, and of each of these.
pub const PIECE_BYTES: usize = 1 << 20;

/// What comes behind a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PieceEnd {
    /// More pieces.
    More,
    /// Nothing: the entry is whole, part of a staged transaction.
    Stage,
    /// Nothing: the entry is whole, and ends the transaction.
    Transaction {
        /// An entry that stands before all pieces, for who reads the log from its end.
        from: LogIndex,
    },
}

/// The pieces of the bytes of an entry, in order.
pub fn pieces(transaction: TransactionId, whole: &Bytes, last: PieceEnd) -> impl Iterator<Item = Entry> + Send + '_ {
    let count = whole.len().div_ceil(PIECE_BYTES).max(1);
    (0..count).map(move |number| {
        let from = number * PIECE_BYTES;
        let bytes = whole.slice(from..whole.len().min(from + PIECE_BYTES));
        let end = if number + 1 == count { last } else { PieceEnd::More };
        Entry::Piece { transaction, number: number as u32, end, bytes }
    })
}

/// Pieces of one entry, as many as have come.
#[derive(Clone, Debug, Default)]
pub struct Pieces {
    kept: Vec<Bytes>,
}

impl Pieces {
    /// Takes the next piece. `false` for one that does not follow those before: then nothing is kept, and the entry can never
    /// be whole.
    pub fn take(&mut self, number: u32, bytes: Bytes) -> bool {
        if number == 0 {
            self.kept.clear();
        }
        let follows = self.kept.len() == number as usize;
        match follows {
            true => self.kept.push(bytes),
            false => self.kept.clear(),
        }
        follows
    }

    /// Whether none is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// Bytes kept.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.kept.iter().map(Bytes::len).sum()
    }

    /// What is kept, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Bytes> {
        self.kept.iter()
    }

    /// Takes all of them out, as the bytes of an entry.
    pub fn join(&mut self) -> Vec<u8> {
        let mut whole = Vec::with_capacity(self.bytes());
        // Each goes as soon as it is copied: there may be many megabytes.
        std::mem::take(&mut self.kept).into_iter().for_each(|piece| whole.extend_from_slice(&piece));
        whole
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(length: usize) -> (Bytes, Vec<Entry>) {
        let whole: Bytes = (0..length).map(|n| n as u8).collect();
        let cut = pieces(TransactionId(4), &whole, PieceEnd::Stage).collect();
        (whole, cut)
    }

    fn take(pieces: &mut Pieces, entry: &Entry) -> bool {
        let Entry::Piece { number, bytes, .. } = entry else { panic!("not a piece") };
        pieces.take(*number, bytes.clone())
    }

    #[test]
    fn pieces_make_the_whole_again() {
        for length in [0, 1, PIECE_BYTES, PIECE_BYTES + 1, 3 * PIECE_BYTES - 1] {
            let (whole, cut) = cut(length);
            let mut pieces = Pieces::default();
            for (at, entry) in cut.iter().enumerate() {
                let last = at + 1 == cut.len();
                assert!(matches!(entry, Entry::Piece { end, .. } if (*end == PieceEnd::Stage) == last));
                assert!(take(&mut pieces, entry));
            }
            assert_eq!(pieces.bytes(), length);
            assert!(pieces.join() == whole, "{length} bytes");
            assert!(pieces.is_empty());
        }
    }

    #[test]
    fn a_gap_leaves_nothing_and_the_first_begins_anew() {
        let (whole, cut) = cut(4 * PIECE_BYTES);
        let mut pieces = Pieces::default();
        let took: Vec<bool> = [0, 1, 3, 1, 2, 3].iter().map(|at| take(&mut pieces, &cut[*at])).collect();
        assert_eq!(took, [true, true, false, false, false, false]);
        assert!(pieces.is_empty());
        assert!(take(&mut pieces, &cut[0]) && take(&mut pieces, &cut[1]));
        assert!(cut.iter().all(|entry| take(&mut pieces, entry)));
        assert!(pieces.join() == whole);
    }
}
