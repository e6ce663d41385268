//! COPY over the wire: data from and to the client, as messages.

mod encode;

use perigee_copy::CopyDecoder;
use perigee_engine::{CommandTag, CopyIn, CopyOut, Session};
use perigee_plan::command::CopyKind;
use perigee_types::{SqlError, SqlResult, SqlState};

use crate::backend::{self, Format};
use crate::binary;
use crate::connection::{Connection, OUTPUT_BYTES};
use crate::error::{Failure, Handled, violation};
use crate::frontend::Message;

use encode::CopyEncoder;

/// Reads the client's data into the table until CopyDone.
///
/// # Errors
/// The first error ends it; what the client still sends is then left to the main loop, which ignores it.
pub(crate) async fn copy_in(connection: &mut Connection, session: &mut Session, copy: CopyIn) -> Handled<CommandTag> {
    backend::copy_response(&mut connection.output, b'G', format_of(copy.format.kind), copy.columns.len());
    connection.flush().await?;
    let mut decoder = CopyDecoder::new(copy, session.output_settings(), binary::decode);
    loop {
        let (tag, body) = connection.message().await?;
        match Message::read(tag, &body)? {
            Message::CopyData(data) => {
                let mut rest = data;
                while !rest.is_empty() {
                    rest = decoder.feed(rest)?;
                    if decoder.is_full() {
                        write_batch(&mut decoder, session).await?;
                    }
                }
            }
            Message::CopyDone => {
                decoder.end()?;
                write_batch(&mut decoder, session).await?;
                return Ok(session.copy_finish().await?);
            }
            Message::CopyFail(reason) => {
                let message = format!("COPY from stdin failed: {reason}");
                return Err(decoder.in_next_line(SqlError::new(SqlState::QueryCanceled, message)).into());
            }
            // libpq sends them behind an Execute that turned out to be a COPY.
            Message::Flush | Message::Sync => {}
            Message::Terminate => return Err(Failure::Io(std::io::ErrorKind::UnexpectedEof.into())),
            _ => {
                let message = format!("unexpected message type 0x{tag:02X} during COPY from stdin");
                return Err(Failure::Fatal(violation(message)));
            }
        }
    }
}

async fn write_batch(decoder: &mut CopyDecoder, session: &mut Session) -> SqlResult<()> {
    let Some(batch) = decoder.batch()? else { return Ok(()) };
    match session.copy_write(batch).await {
        Ok(()) => {
            decoder.batch_written();
            Ok(())
        }
        Err(refused) => Err(decoder.in_batch(refused.error, refused.row)),
    }
}

/// Writes the rows to the client.
///
/// # Errors
/// What stops the query, also in the middle.
pub(crate) async fn copy_out(connection: &mut Connection, session: &Session, mut copy: CopyOut) -> Handled<CommandTag> {
    backend::copy_response(&mut connection.output, b'H', format_of(copy.format.kind), copy.columns.len());
    let mut encoder = CopyEncoder::new(copy.format, &copy.columns, session.output_settings());
    encoder.header(&mut connection.output);
    let mut rows = 0;
    while let Some(block) = copy.rows.next().await? {
        let mut row = 0;
        while row < block.row_count() {
            row = encoder.block(&mut connection.output, &block, row, OUTPUT_BYTES)?;
            connection.flush_if_full().await?;
        }
        rows += row as u64;
    }
    encoder.trailer(&mut connection.output);
    backend::bare(&mut connection.output, b'c');
    Ok(CommandTag { name: "COPY", rows: Some(rows) })
}

fn format_of(kind: CopyKind) -> Format {
    if kind == CopyKind::Binary { Format::Binary } else { Format::Text }
}

#[cfg(test)]
mod tests;
