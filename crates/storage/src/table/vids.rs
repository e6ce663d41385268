//! Which row versions a chunk holds, and since when.

use std::sync::Arc;

use super::fate::Fate;

/// The vids of a chunk, ascending by row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Vids {
    /// `first`, `first + 1`, and so on.
    Dense {
        /// Vid of row 0.
        first: u64,
        /// Count of rows.
        count: u32,
    },
    /// One by one, once dead versions were dropped between them.
    Listed(Box<[u64]>),
}

impl Vids {
    /// The shorter form of ascending vids.
    pub(crate) fn from_list(list: Vec<u64>) -> Self {
        match (list.first(), list.last()) {
            (Some(first), Some(last)) if last - first + 1 != list.len() as u64 => Vids::Listed(list.into_boxed_slice()),
            (Some(first), _) => Vids::Dense { first: *first, count: list.len() as u32 },
            (None, _) => Vids::Dense { first: 0, count: 0 },
        }
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Vids::Dense { count, .. } => *count as usize,
            Vids::Listed(list) => list.len(),
        }
    }

    /// The vid of a row.
    pub(crate) fn at(&self, row: u32) -> u64 {
        match self {
            Vids::Dense { first, .. } => first + u64::from(row),
            Vids::Listed(list) => list[row as usize],
        }
    }

    /// The row of a vid.
    pub(crate) fn position(&self, vid: u64) -> Option<u32> {
        match self {
            Vids::Dense { first, count } => {
                let row = vid.checked_sub(*first)?;
                (row < u64::from(*count)).then_some(row as u32)
            }
            Vids::Listed(list) => list.binary_search(&vid).ok().map(|row| row as u32),
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = u64> + '_ {
        (0..self.len() as u32).map(|row| self.at(row))
    }
}

/// The indexes that wrote the rows of a chunk.
#[derive(Clone, Debug)]
pub(crate) enum Begins {
    /// Runs of rows: (first row of the run, index), by row.
    Runs(Box<[(u32, u64)]>),
    /// All rows become visible with their staged transaction.
    Staged(Arc<Fate>),
}

impl Begins {
    /// Runs of the indexes of rows 0, 1, and so on.
    pub(crate) fn from_rows(indexes: impl IntoIterator<Item = u64>) -> Self {
        let mut runs: Vec<(u32, u64)> = Vec::new();
        for (row, index) in indexes.into_iter().enumerate() {
            if runs.last().is_none_or(|(_, last)| *last != index) {
                runs.push((row as u32, index));
            }
        }
        Begins::Runs(runs.into_boxed_slice())
    }

    /// The index that wrote a row.
    pub(crate) fn at(&self, row: u32) -> u64 {
        match self {
            Begins::Runs(runs) => match runs.partition_point(|(first, _)| *first <= row).checked_sub(1) {
                Some(run) => runs[run].1,
                None => 0,
            },
            Begins::Staged(fate) => fate.index(),
        }
    }

    /// The oldest and the newest index.
    pub(crate) fn bounds(&self) -> (u64, u64) {
        match self {
            Begins::Runs(runs) => {
                let indexes = || runs.iter().map(|(_, index)| *index);
                (indexes().min().unwrap_or(0), indexes().max().unwrap_or(0))
            }
            Begins::Staged(fate) => (fate.index(), fate.index()),
        }
    }

    /// Calls `f` for each run of rows that one entry wrote, as (first row, row behind the last, index).
    pub(crate) fn for_each_run(&self, rows: u32, mut f: impl FnMut(u32, u32, u64)) {
        match self {
            Begins::Runs(runs) => {
                for (n, (first, index)) in runs.iter().enumerate() {
                    f(*first, runs.get(n + 1).map_or(rows, |next| next.0), *index);
                }
            }
            Begins::Staged(fate) => f(0, rows, fate.index()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vids_without_a_gap_need_no_list() {
        assert_eq!(Vids::from_list(vec![5, 6, 7]), Vids::Dense { first: 5, count: 3 });
        let listed = Vids::from_list(vec![5, 7, 9]);
        assert_eq!((listed.position(7), listed.position(8), listed.at(2)), (Some(1), None, 9));
    }

    #[test]
    fn runs_give_each_row_its_index() {
        let begins = Begins::from_rows([3, 3, 9, 2]);
        assert_eq!([0, 1, 2, 3].map(|row| begins.at(row)), [3, 3, 9, 2]);
        assert_eq!(begins.bounds(), (2, 9));
    }
}
