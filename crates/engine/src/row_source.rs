//! Rows of a running query that are taken piece by piece: forward as they come, and back where they are kept.
//!
//! ```text
//!   position   0        1      2            n      n + 1
//!              before   row 1  row 2  …     row n  behind
//! ```
//!
//! Going forward only the block that is being taken is in memory. A SCROLL cursor keeps what it has read, up to a limit.

use std::sync::Arc;

use arrow::array::UInt64Array;
use arrow::compute::take_record_batch;
use perigee_plan::FetchDirection;
use perigee_types::{SqlError, SqlResult, SqlState};
use tokio_util::sync::CancellationToken;

use crate::api::{RowBlock, RowStream};
use crate::portal::slice;

/// Rows of a running query.
#[derive(Debug)]
pub struct RowSource {
    stream: RowStream,
    /// The block that is being taken, and its next row.
    block: Option<(RowBlock, usize)>,
    /// The stream has given everything, or failed; it must not be asked again.
    ended: bool,
    failed: bool,
    /// The row that the cursor stands on, from 1; 0 before the first, one more than there are behind the last.
    position: u64,
    /// The row that a cursor stands on, for FETCH 0.
    current: Option<RowBlock>,
    is_cursor: bool,
    kept: Option<Kept>,
    /// Cancels the statement that takes rows now; `None` while it is the one that began the query.
    pub(crate) cancel: Option<CancellationToken>,
    /// The statement's text.
    pub(crate) text: Arc<str>,
}

/// What a cursor has read that may go back.
#[derive(Debug, Default)]
struct Kept {
    /// Blocks, each with the number of rows before it.
    blocks: Vec<(u64, RowBlock)>,
    rows: u64,
    bytes: usize,
    bytes_max: usize,
    /// By SCROLL: the cursor fails where it would keep more. Otherwise it only goes forward from there on.
    asked: bool,
}

/// Whether a cursor goes back, over how many bytes of rows.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Scroll {
    /// NO SCROLL
    No,
    /// SCROLL
    Asked(usize),
    /// Neither: it goes back as long as it has read no more.
    Unasked(usize),
}

impl RowSource {
    /// The rows of a stream; `text` is its statement's.
    #[must_use]
    pub fn new(stream: RowStream, text: &Arc<str>) -> Self {
        Self {
            stream,
            block: None,
            ended: false,
            failed: false,
            position: 0,
            current: None,
            is_cursor: false,
            kept: None,
            cancel: None,
            text: text.clone(),
        }
    }

    /// For a cursor.
    pub(crate) fn cursor(stream: RowStream, text: &Arc<str>, scroll: Scroll) -> Self {
        let kept = match scroll {
            Scroll::No => None,
            Scroll::Asked(bytes_max) => Some(Kept { bytes_max, asked: true, ..Kept::default() }),
            Scroll::Unasked(bytes_max) => Some(Kept { bytes_max, ..Kept::default() }),
        };
        Self { is_cursor: true, kept, ..Self::new(stream, text) }
    }

    /// The name in the command's tag.
    #[must_use]
    pub fn tag(&self) -> &'static str {
        self.stream.tag
    }

    /// Waits until the query has its first rows; they are taken later.
    ///
    /// # Errors
    /// What stops the query.
    pub(crate) async fn begin(&mut self) -> SqlResult<()> {
        self.block = self.next_block().await?;
        Ok(())
    }

    /// The next rows, at most `rows_max` (at least 1); `None` at the end.
    ///
    /// # Errors
    /// What stops the query. It is over then: `55000` from there on.
    pub async fn take(&mut self, rows_max: u64) -> SqlResult<Option<RowBlock>> {
        if self.kept.is_some() {
            let at = self.position;
            self.read_until(at.saturating_add(1)).await?;
            let taken = self.kept_block(at, at.saturating_add(rows_max));
            self.position = match &taken {
                Some(block) => at + block.row_count() as u64,
                None => self.kept_rows() + 1,
            };
            self.let_go();
            return Ok(taken);
        }
        let Some((block, from)) = self.next_block().await? else {
            if self.current.take().is_some() || self.position == 0 {
                self.position += 1;
            }
            return Ok(None);
        };
        let count = block.row_count();
        let to = usize::try_from(rows_max).map_or(count, |max| count.min(from.saturating_add(max)));
        let taken = if from == 0 && to == count && !self.is_cursor {
            block
        } else {
            let taken = slice(&block, from, to);
            if to < count {
                self.block = Some((block, to));
            }
            taken
        };
        self.position += (to - from) as u64;
        if self.is_cursor {
            self.current = Some(slice(&taken, to - from - 1, to - from));
        }
        Ok(Some(taken))
    }

    /// The rows that a FETCH in any direction takes, all at once where it is not straight forward.
    ///
    /// # Errors
    /// `55000` for going back without SCROLL, and what stops the query.
    pub(crate) async fn fetch(&mut self, direction: FetchDirection) -> SqlResult<Vec<RowBlock>> {
        let here = self.position;
        match direction {
            FetchDirection::Forward(Some(0)) | FetchDirection::Relative(0) => Ok(self.current_row()),
            FetchDirection::Forward(count) => self.fetch_forward(count.unwrap_or(u64::MAX)).await,
            FetchDirection::Backward(count) => self.fetch_back(count.unwrap_or(u64::MAX)).await,
            FetchDirection::Relative(count) => match u64::try_from(count) {
                Ok(count) => self.go_to(here.saturating_add(count)).await,
                Err(_) => self.go_to(here.saturating_sub(count.unsigned_abs())).await,
            },
            FetchDirection::Absolute(number) => match u64::try_from(number) {
                Ok(number) => self.go_to(number).await,
                Err(_) => {
                    self.check_scroll()?;
                    self.read_until(u64::MAX).await?;
                    self.go_to((self.kept_rows() + 1).saturating_sub(number.unsigned_abs())).await
                }
            },
        }
    }

    async fn fetch_forward(&mut self, mut count: u64) -> SqlResult<Vec<RowBlock>> {
        let mut blocks = Vec::new();
        while count > 0 {
            let Some(block) = self.take(count).await? else { break };
            count -= block.row_count() as u64;
            blocks.push(block);
        }
        Ok(blocks)
    }

    /// Skips rows; says how many there were.
    pub(crate) async fn skip(&mut self, mut count: u64) -> SqlResult<u64> {
        let mut skipped = 0;
        while count > 0 {
            let Some(block) = self.take(count).await? else { break };
            skipped += block.row_count() as u64;
            count -= block.row_count() as u64;
        }
        Ok(skipped)
    }

    /// Rows before the one that the cursor stands on, the nearest first.
    async fn fetch_back(&mut self, count: u64) -> SqlResult<Vec<RowBlock>> {
        self.check_scroll()?;
        let last = self.position.saturating_sub(1);
        let first = last.saturating_sub(count.saturating_sub(1)).max(1);
        // With fewer rows than asked for, the cursor ends before the first.
        self.position = if count > last { 0 } else { first };
        let Some(kept) = self.kept.as_ref().filter(|_| first <= last) else { return Ok(Vec::new()) };
        let (from, to) = (first - 1, last);
        let behind = kept.blocks.partition_point(|(before, _)| *before < to);
        let mut blocks = Vec::new();
        for (before, block) in kept.blocks[..behind].iter().rev() {
            let end = block.row_count().min(usize::try_from(to - before).unwrap_or(usize::MAX));
            let start = usize::try_from(from.saturating_sub(*before)).unwrap_or(usize::MAX);
            if start >= end {
                break;
            }
            blocks.push(reversed(block, start, end)?);
        }
        Ok(blocks)
    }

    /// Moves onto a row and gives it; nothing before the first and behind the last.
    async fn go_to(&mut self, row: u64) -> SqlResult<Vec<RowBlock>> {
        if self.kept.as_ref().is_some_and(|kept| kept.asked || row <= kept.rows) {
            self.read_until(row).await?;
            self.position = row.min(self.kept_rows() + 1);
            return Ok(self.current_row());
        }
        if row == self.position {
            return Ok(self.current_row());
        }
        if row < self.position {
            self.check_scroll()?;
        }
        self.skip(row - self.position - 1).await?;
        Ok(self.take(1).await?.into_iter().collect())
    }

    fn current_row(&self) -> Vec<RowBlock> {
        if self.kept.is_some() {
            let row = self.position;
            return if row == 0 { Vec::new() } else { self.kept_block(row - 1, row).into_iter().collect() };
        }
        self.current.as_ref().map(|block| slice(block, 0, 1)).into_iter().collect()
    }

    fn check_scroll(&self) -> SqlResult<()> {
        if self.kept.is_some() {
            return Ok(());
        }
        Err(forward_only())
    }

    fn kept_rows(&self) -> u64 {
        self.kept.as_ref().map_or(0, |kept| kept.rows)
    }

    /// Rows of one kept block from `from` on, at most up to `to`; counted from 0.
    fn kept_block(&self, from: u64, to: u64) -> Option<RowBlock> {
        let kept = self.kept.as_ref()?;
        if from >= to.min(kept.rows) {
            return None;
        }
        let place = kept.blocks.partition_point(|(before, _)| *before <= from).checked_sub(1)?;
        let (before, block) = kept.blocks.get(place)?;
        let start = usize::try_from(from - before).ok()?;
        let end = block.row_count().min(usize::try_from(to - before).unwrap_or(usize::MAX));
        Some(slice(block, start, end))
    }

    /// Ends the keeping of rows by a cursor that was not asked to go back, once they are too many.
    fn let_go(&mut self) {
        let Some(kept) = &self.kept else { return };
        let Some((before, last)) = kept.blocks.last() else { return };
        // Of what has been read only the last block may still be to be taken.
        if kept.asked || kept.bytes <= kept.bytes_max || self.position < *before {
            return;
        }
        let from = usize::try_from(self.position - before).unwrap_or(usize::MAX);
        if from < last.row_count() {
            self.block = Some((slice(last, 0, last.row_count()), from));
        }
        self.current = self.current_row().pop();
        self.kept = None;
    }

    /// Reads until so many rows are kept, or to the end.
    async fn read_until(&mut self, rows: u64) -> SqlResult<()> {
        while self.kept_rows() < rows {
            let Some((block, _)) = self.next_block().await? else { break };
            let Some(kept) = &mut self.kept else { break };
            kept.bytes += bytes_of(&block);
            if kept.bytes > kept.bytes_max && kept.asked {
                self.fail();
                return Err(SqlError::new(SqlState::ProgramLimitExceeded, "a SCROLL cursor keeps too many rows")
                    .hint("Declare it with NO SCROLL."));
            }
            let count = block.row_count() as u64;
            kept.blocks.push((kept.rows, block));
            kept.rows += count;
            if kept.bytes > kept.bytes_max && rows == u64::MAX {
                return Err(forward_only());
            }
        }
        Ok(())
    }

    /// What is left of the block that is being taken, or the next one that has rows.
    async fn next_block(&mut self) -> SqlResult<Option<(RowBlock, usize)>> {
        if self.failed {
            return Err(SqlError::new(SqlState::ObjectNotInPrerequisiteState, "portal cannot be run"));
        }
        if let Some(block) = self.block.take() {
            return Ok(Some(block));
        }
        while !self.ended {
            let next = match &self.cancel {
                None => self.stream.next().await,
                Some(cancel) => {
                    tokio::select! {
                        biased;
                        () = cancel.cancelled() => Err(SqlError::new(
                            SqlState::QueryCanceled,
                            "canceling statement due to user request",
                        )),
                        next = self.stream.next() => next,
                    }
                }
            };
            match next {
                Ok(Some(block)) if block.row_count() > 0 => return Ok(Some((block, 0))),
                Ok(Some(_)) => {}
                Ok(None) => self.close_stream(),
                Err(error) => {
                    self.fail();
                    return Err(error);
                }
            }
        }
        Ok(None)
    }

    fn fail(&mut self) {
        self.failed = true;
        self.current = None;
        self.kept = None;
        self.close_stream();
    }

    /// Gives back what the query holds.
    fn close_stream(&mut self) {
        self.ended = true;
        self.stream = RowStream::ready(self.stream.tag, RowBlock::Values(Vec::new()));
    }
}

fn forward_only() -> SqlError {
    SqlError::new(SqlState::ObjectNotInPrerequisiteState, "cursor can only scan forward")
        .hint("Declare it with SCROLL option to enable backward scan.")
}

/// Rows of a block, the last first.
fn reversed(block: &RowBlock, from: usize, to: usize) -> SqlResult<RowBlock> {
    Ok(match block {
        RowBlock::Batch(batch) => {
            let places = UInt64Array::from_iter_values((from as u64..to as u64).rev());
            RowBlock::Batch(take_record_batch(batch, &places).map_err(SqlError::internal)?)
        }
        RowBlock::Values(rows) => RowBlock::Values(rows[from..to].iter().rev().cloned().collect()),
    })
}

fn bytes_of(block: &RowBlock) -> usize {
    match block {
        RowBlock::Batch(batch) => batch.get_array_memory_size(),
        RowBlock::Values(rows) => rows.iter().flatten().map(perigee_types::Value::size_bytes).sum(),
    }
}

#[cfg(test)]
mod tests {
    use perigee_types::Value;

    use super::*;
    use FetchDirection::{Absolute, Backward, Forward, Relative};

    fn source(scroll: Scroll) -> RowSource {
        let block = |from: i32, to: i32| RowBlock::Values((from..=to).map(|i| vec![Value::Int4(i)]).collect());
        let blocks = vec![Ok(block(1, 2)), Ok(block(3, 2)), Ok(block(3, 5))];
        let stream = RowStream::stream("SELECT", Box::pin(futures::stream::iter(blocks)));
        RowSource::cursor(stream, &Arc::from("SELECT"), scroll)
    }

    fn rows(blocks: &[RowBlock]) -> Vec<i32> {
        let values = blocks.iter().flat_map(|block| match block {
            RowBlock::Values(rows) => rows.clone(),
            RowBlock::Batch(_) => panic!("a batch"),
        });
        values.map(|row| if let [Value::Int4(i)] = row[..] { i } else { panic!("{row:?}") }).collect()
    }

    async fn check(scroll: Scroll, steps: &[(FetchDirection, Result<&[i32], &str>)]) {
        let mut source = source(scroll);
        for (i, (direction, want)) in steps.iter().enumerate() {
            let got = source.fetch(*direction).await;
            let got = got.as_deref().map(rows).map_err(|error| error.state().code());
            assert_eq!(got, want.map(<[i32]>::to_vec), "step {i}: {direction:?}");
        }
    }

    #[tokio::test]
    async fn goes_forward() {
        let back = Err("55000");
        check(
            Scroll::No,
            &[
                (Forward(Some(0)), Ok(&[])),
                (Forward(Some(1)), Ok(&[1])),
                (Relative(0), Ok(&[1])),
                (Forward(Some(2)), Ok(&[2, 3])),
                (Absolute(3), Ok(&[3])),
                (Absolute(2), back),
                (Backward(Some(1)), back),
                (Relative(2), Ok(&[5])),
                (Forward(None), Ok(&[])),
                (Forward(Some(0)), Ok(&[])),
                (Forward(Some(1)), Ok(&[])),
                (Absolute(-1), back),
            ],
        )
        .await;
        check(Scroll::No, &[(Absolute(9), Ok(&[])), (Forward(Some(1)), Ok(&[]))]).await;
        check(Scroll::No, &[(Forward(None), Ok(&[1, 2, 3, 4, 5])), (Forward(None), Ok(&[]))]).await;
    }

    #[tokio::test]
    async fn goes_back_unasked_as_long_as_it_has_read_little() {
        check(
            Scroll::Unasked(1 << 20),
            &[
                (Forward(Some(2)), Ok(&[1, 2])),
                (Backward(Some(1)), Ok(&[1])),
                (Absolute(4), Ok(&[4])),
                (Backward(None), Ok(&[3, 2, 1])),
                (Forward(None), Ok(&[1, 2, 3, 4, 5])),
                (Backward(Some(1)), Ok(&[5])),
                (Absolute(-2), Ok(&[4])),
            ],
        )
        .await;
        let back = Err("55000");
        check(
            Scroll::Unasked(1),
            &[
                (Forward(Some(1)), Ok(&[1])),
                (Relative(0), Ok(&[1])),
                (Backward(Some(1)), back),
                (Forward(Some(2)), Ok(&[2, 3])),
                (Absolute(2), back),
                (Absolute(5), Ok(&[5])),
                (Forward(None), Ok(&[])),
                (Forward(Some(1)), Ok(&[])),
            ],
        )
        .await;
        check(Scroll::Unasked(1), &[(Absolute(-1), back), (Forward(None), Ok(&[1, 2, 3, 4, 5]))]).await;
    }

    #[tokio::test]
    async fn goes_back_where_it_may() {
        check(
            Scroll::Asked(1 << 20),
            &[
                (Absolute(-1), Ok(&[5])),
                (Backward(Some(2)), Ok(&[4, 3])),
                (Forward(Some(1)), Ok(&[4])),
                (Backward(None), Ok(&[3, 2, 1])),
                (Backward(Some(1)), Ok(&[])),
                (Forward(Some(3)), Ok(&[1, 2, 3])),
                (Relative(-2), Ok(&[1])),
                (Relative(-2), Ok(&[])),
                (Forward(Some(1)), Ok(&[1])),
                (Forward(None), Ok(&[2, 3, 4, 5])),
                (Relative(0), Ok(&[])),
                (Backward(Some(1)), Ok(&[5])),
                (Absolute(-6), Ok(&[])),
                (Absolute(-5), Ok(&[1])),
                (Absolute(0), Ok(&[])),
                (Absolute(7), Ok(&[])),
                (Backward(Some(9)), Ok(&[5, 4, 3, 2, 1])),
            ],
        )
        .await;
    }

    #[tokio::test]
    async fn goes_back_over_columns() {
        let batch = |from: i32, to: i32| {
            let column: arrow::array::ArrayRef = Arc::new(arrow::array::Int32Array::from_iter_values(from..=to));
            Ok(RowBlock::Batch(arrow::array::RecordBatch::try_from_iter([("n", column)]).unwrap()))
        };
        let stream = futures::stream::iter(vec![batch(1, 3), batch(4, 4), batch(5, 9)]);
        let stream = RowStream::stream("SELECT", Box::pin(stream));
        let mut source = RowSource::cursor(stream, &Arc::from("SELECT"), Scroll::Asked(1 << 20));
        let rows = |blocks: Vec<RowBlock>| {
            let values = |block: &RowBlock| match block {
                RowBlock::Batch(batch) => {
                    use arrow::array::AsArray;
                    batch.column(0).as_primitive::<arrow::datatypes::Int32Type>().values().to_vec()
                }
                RowBlock::Values(_) => panic!("rows"),
            };
            (blocks.len(), blocks.iter().flat_map(values).collect::<Vec<i32>>())
        };
        assert_eq!(rows(source.fetch(Absolute(8)).await.unwrap()), (1, vec![8]));
        assert_eq!(rows(source.fetch(Backward(Some(5))).await.unwrap()), (3, vec![7, 6, 5, 4, 3]));
        assert_eq!(rows(source.fetch(Backward(None)).await.unwrap()), (1, vec![2, 1]));
        assert_eq!(rows(source.fetch(Forward(None)).await.unwrap()).1, (1..=9).collect::<Vec<_>>());
        assert_eq!(rows(source.fetch(Backward(None)).await.unwrap()), (3, (1..=9).rev().collect()));
    }

    #[tokio::test]
    async fn keeps_no_more_than_it_may() {
        let mut source = source(Scroll::Asked(10));
        assert_eq!(source.fetch(Forward(None)).await.map_err(|e| e.state().code()).unwrap_err(), "54000");
        assert_eq!(source.fetch(Forward(None)).await.map_err(|e| e.state().code()).unwrap_err(), "55000");
    }

    #[tokio::test]
    async fn a_cancelled_source_is_over() {
        let mut source = source(Scroll::No);
        let cancel = CancellationToken::new();
        source.cancel = Some(cancel.clone());
        assert_eq!(rows(&source.fetch(Forward(Some(1))).await.unwrap()), [1]);
        cancel.cancel();
        // What is there already is given; more is not asked for.
        assert_eq!(rows(&source.fetch(Forward(Some(1))).await.unwrap()), [2]);
        assert_eq!(source.fetch(Forward(Some(1))).await.unwrap_err().state().code(), "57014");
        assert_eq!(source.fetch(Forward(Some(1))).await.unwrap_err().state().code(), "55000");
    }
}
