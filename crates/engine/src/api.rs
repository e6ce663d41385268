//! What a door sees of a statement: its result, streamed, and what comes with it.

use std::net::SocketAddr;
use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use perigee_plan::ResultColumn;
use perigee_plan::command::CopyFormat;
use perigee_storage::arrow_value::batch_to_rows;
use perigee_types::{Row, SqlResult, SqlType};

/// Who wants a session, and how.
#[derive(Clone, Debug, Default)]
pub struct ConnectRequest {
    /// The role.
    pub user: String,
    /// The database; empty means the one named as the role.
    pub database: String,
    /// Settings of the start-up message (`application_name`, `options`, `TimeZone`, …), in order.
    pub settings: Vec<(String, String)>,
    /// Where the client is.
    pub peer: Option<SocketAddr>,
    /// Whether the connection is encrypted.
    pub encrypted: bool,
    /// Nothing is ever written: all transactions are read only, whatever the client says. Such a session may be
    /// `pg_read_all_data`'s own, which nobody else logs in as.
    pub read_only: bool,
}

/// How a role must prove itself before [`crate::Engine::connect`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Authentication {
    /// Nothing is asked: loopback without any authentication configured.
    Trust,
    /// SCRAM-SHA-256 against this verifier (`SCRAM-SHA-256$…`). A role that does not exist gets a made-up one that no
    /// password fits.
    Scram(String),
}

/// PostgreSQL's transaction status byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransactionStatus {
    /// No transaction block (`I`).
    Idle,
    /// In a block (`T`).
    InTransaction,
    /// In a block that has failed (`E`).
    Failed,
}

/// How serious a notice is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// `NOTICE`
    Notice,
    /// `WARNING`
    Warning,
    /// `INFO`
    Info,
}

/// A message beside the result.
#[derive(Clone, Debug)]
pub struct Notice {
    /// How serious.
    pub severity: Severity,
    /// Text, SQLSTATE, detail and hint, in an error's fields.
    pub error: perigee_types::SqlError,
}

/// What a finished command says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandTag {
    /// `INSERT`, `SELECT`, `CREATE TABLE`, …
    pub name: &'static str,
    /// Rows, for the commands that count them.
    pub rows: Option<u64>,
}

impl CommandTag {
    /// As PostgreSQL writes it: `INSERT 0 5`, `UPDATE 3`, `BEGIN`.
    #[must_use]
    pub fn text(&self) -> String {
        match self.rows {
            Some(rows) if self.name == "INSERT" => format!("INSERT 0 {rows}"),
            Some(rows) => format!("{} {rows}", self.name),
            None => self.name.to_owned(),
        }
    }
}

/// Rows of a result, as they come.
#[derive(Debug)]
pub enum RowBlock {
    /// Few rows, from the point path.
    Values(Vec<Row>),
    /// A batch of Arrow columns in the order and types of the result's columns.
    Batch(RecordBatch),
}

impl RowBlock {
    /// How many rows.
    #[must_use]
    pub fn row_count(&self) -> usize {
        match self {
            RowBlock::Values(rows) => rows.len(),
            RowBlock::Batch(batch) => batch.num_rows(),
        }
    }

    /// Its first rows, at most `rows_max`.
    #[must_use]
    pub fn first(self, rows_max: usize) -> Self {
        let rows = self.row_count().min(rows_max);
        crate::portal::slice(&self, 0, rows)
    }

    /// The rows as values. A large batch is best given in slices: all of its values stand in memory.
    #[must_use]
    pub fn into_rows(self) -> Vec<Row> {
        match self {
            RowBlock::Values(rows) => rows,
            RowBlock::Batch(batch) => batch_to_rows(&batch),
        }
    }
}

/// A result that is still being produced. Dropping it cancels what produces it.
pub struct RowStream {
    inner: Inner,
    /// The command's name in its tag; rows are counted by the reader.
    pub tag: &'static str,
}

enum Inner {
    Ready(Option<RowBlock>),
    Stream(futures::stream::BoxStream<'static, SqlResult<RowBlock>>),
}

impl RowStream {
    /// Rows that are there already.
    #[must_use]
    pub fn ready(tag: &'static str, block: RowBlock) -> Self {
        Self { inner: Inner::Ready(Some(block)), tag }
    }

    /// Batches of rows that are there already.
    pub(crate) fn batches(tag: &'static str, batches: Vec<arrow::array::RecordBatch>) -> Self {
        Self::stream(tag, Box::pin(futures::stream::iter(batches.into_iter().map(|batch| Ok(RowBlock::Batch(batch))))))
    }

    /// Rows that come from a stream.
    #[must_use]
    pub fn stream(tag: &'static str, stream: futures::stream::BoxStream<'static, SqlResult<RowBlock>>) -> Self {
        Self { inner: Inner::Stream(stream), tag }
    }

    /// The next rows, `None` at the end. Blocks may be empty.
    ///
    /// # Errors
    /// Whatever stops the query; the transaction is then aborted by [`crate::Session::fail`].
    pub async fn next(&mut self) -> SqlResult<Option<RowBlock>> {
        match &mut self.inner {
            Inner::Ready(block) => Ok(block.take()),
            Inner::Stream(stream) => futures::StreamExt::next(stream).await.transpose(),
        }
    }
}

impl std::fmt::Debug for RowStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RowStream").field("tag", &self.tag).finish_non_exhaustive()
    }
}

/// What the client shall send for a COPY … FROM STDIN.
///
/// The door decodes the client's bytes into batches and gives them to [`crate::Session::copy_write`], then calls
/// [`crate::Session::copy_finish`]; on CopyFail or bad data it calls [`crate::Session::fail`].
#[derive(Clone, Debug)]
pub struct CopyIn {
    /// How the data is written.
    pub format: CopyFormat,
    /// `table` as it is named in error contexts.
    pub table: String,
    /// Names and types of the columns that the data holds, in order. Batches have these columns.
    pub columns: Arc<[(String, SqlType)]>,
}

/// What to write for a COPY … TO STDOUT.
#[derive(Debug)]
pub struct CopyOut {
    /// How to write the data.
    pub format: CopyFormat,
    /// Names and types of the columns.
    pub columns: Arc<[ResultColumn]>,
    /// The rows.
    pub rows: RowStream,
}

/// What an executed statement gives.
#[derive(Debug)]
pub enum Outcome {
    /// Rows; their columns are in the prepared statement, or here where it has none of its own (EXECUTE).
    Rows(Arc<[ResultColumn]>, RowStream),
    /// Done.
    Command(CommandTag),
    /// The client shall send data.
    CopyIn(CopyIn),
    /// The client gets data.
    CopyOut(CopyOut),
}
