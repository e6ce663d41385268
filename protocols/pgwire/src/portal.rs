//! A portal's rows on their way to the client.

use perigee_engine::{RowBlock, RowSource};

use crate::connection::{Connection, OUTPUT_BYTES};
use crate::error::Handled;
use crate::rows::RowEncoder;

/// Why sending rows stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// As many as were asked for.
    Suspended,
    /// All that there are; this many this time.
    All(u64),
}

/// Sends rows, at most `rows_max`. Never more than a block of them is in memory.
///
/// # Errors
/// What stops the query.
pub(crate) async fn send_rows(
    connection: &mut Connection,
    rows: &mut RowSource,
    encoder: &mut RowEncoder,
    rows_max: Option<u64>,
) -> Handled<Sent> {
    let mut sent = 0u64;
    loop {
        let left = rows_max.map_or(u64::MAX, |max| max - sent);
        if left == 0 {
            return Ok(Sent::Suspended);
        }
        let Some(block) = rows.take(left).await? else { return Ok(Sent::All(sent)) };
        sent += block.row_count() as u64;
        match &block {
            RowBlock::Batch(batch) => {
                let mut row = 0;
                while row < batch.num_rows() {
                    row = encoder.batch(&mut connection.output, batch, row, batch.num_rows(), OUTPUT_BYTES)?;
                    connection.flush_if_full().await?;
                }
            }
            RowBlock::Values(rows) => {
                for values in rows {
                    encoder.values(&mut connection.output, values);
                    connection.flush_if_full().await?;
                }
            }
        }
    }
}
