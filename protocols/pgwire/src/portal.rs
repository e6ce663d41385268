//! A portal: a bound statement, and where its rows stand.

use perigee_engine::{RowBlock, RowStream, Statement};
use perigee_plan::ResultColumn;
use perigee_types::Value;
use perigee_types::text::OutputSettings;

use crate::backend::Format;
use crate::connection::{Connection, OUTPUT_BYTES};
use crate::error::Handled;
use crate::rows::RowEncoder;

/// A bound statement.
#[derive(Debug)]
pub(crate) struct Portal {
    /// `None` is the empty query.
    pub(crate) statement: Option<Statement>,
    pub(crate) parameters: Vec<Value>,
    pub(crate) formats: Vec<Format>,
    pub(crate) progress: Progress,
}

/// How far a portal has run.
#[derive(Debug)]
pub(crate) enum Progress {
    New,
    /// It gives rows; some may have been sent. At its end it stays here and gives no more.
    Rows(Rows),
    /// It was something other than rows, and is done.
    Done,
}

/// Why sending rows stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// As many as were asked for.
    Suspended,
    /// All that there are; this many this time.
    All(u64),
}

/// A result on its way to the client: a stream, what is left of its last block, and an encoder. Never more of it is in
/// memory than that.
#[derive(Debug)]
pub(crate) struct Rows {
    stream: RowStream,
    encoder: RowEncoder,
    /// The block that is being sent, and its next row.
    block: Option<(RowBlock, usize)>,
    /// The stream has given everything; it must not be asked again.
    ended: bool,
}

impl Rows {
    pub(crate) fn new(
        stream: RowStream,
        columns: &[ResultColumn],
        formats: &[Format],
        settings: OutputSettings,
    ) -> Self {
        Self { stream, encoder: RowEncoder::new(columns, formats, settings), block: None, ended: false }
    }

    /// The command's name in its tag.
    pub(crate) fn tag(&self) -> &'static str {
        self.stream.tag
    }

    /// Sends rows, at most `rows_max`.
    ///
    /// # Errors
    /// What stops the query.
    pub(crate) async fn send(&mut self, connection: &mut Connection, rows_max: Option<u64>) -> Handled<Sent> {
        let mut sent = 0u64;
        loop {
            let Some((block, row)) = &mut self.block else {
                if self.ended {
                    return Ok(Sent::All(sent));
                }
                match self.stream.next().await? {
                    Some(block) => self.block = Some((block, 0)),
                    None => self.ended = true,
                }
                continue;
            };
            let left = rows_max.map_or(usize::MAX, |max| usize::try_from(max - sent).unwrap_or(usize::MAX));
            let to = block.row_count().min(row.saturating_add(left));
            let from = *row;
            *row = match block {
                RowBlock::Batch(batch) => self.encoder.batch(&mut connection.output, batch, from, to, OUTPUT_BYTES)?,
                RowBlock::Values(rows) => {
                    for values in &rows[from..to] {
                        self.encoder.values(&mut connection.output, values);
                    }
                    to
                }
            };
            sent += (*row - from) as u64;
            if *row == block.row_count() {
                self.block = None;
            }
            connection.flush_if_full().await?;
            if rows_max.is_some_and(|max| sent >= max) {
                return Ok(Sent::Suspended);
            }
        }
    }
}
