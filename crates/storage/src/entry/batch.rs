//! A record batch inside an entry: an Arrow IPC record-batch message without its schema.
//!
//! Storage oid and column numbers name the schema. What is decoded is validated (offsets, UTF-8, lengths): a wrong
//! batch is an error here and never a chunk.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::buffer::Buffer;
use arrow::datatypes::{Field, Schema};
use arrow::record_batch::RecordBatch;
use arrow_ipc::reader::read_record_batch;
use arrow_ipc::writer::{DictionaryTracker, IpcDataGenerator, IpcWriteContext, IpcWriteOptions};
use arrow_ipc::{MessageHeader, root_as_message};
use perigee_types::SqlType;
use perigee_types::row::{get_bytes, put_bytes};

use super::EntryError;

/// Whether the columns have the form in which their SQL types are stored. Others (dictionaries, offsets instead of views)
/// would not decode, on any node: they go into the entry as rows.
pub(super) fn is_plain(batch: &RecordBatch) -> bool {
    batch.schema_ref().fields().iter().all(|field| SqlType::of_field(field).arrow() == *field.data_type())
}

/// Appends message and body of `batch`, each behind its length.
pub(super) fn encode(batch: &RecordBatch, out: &mut Vec<u8>) {
    let mut dictionaries = DictionaryTracker::new(false);
    let encoded = IpcDataGenerator::default().encode(
        batch,
        &mut dictionaries,
        &IpcWriteOptions::default(),
        &mut IpcWriteContext::default(),
    );
    // Fails only for dictionaries, which are not plain. Empty bytes are refused when decoded.
    if let Ok((_, data)) = encoded {
        put_bytes(&data.ipc_message, out);
        put_bytes(&data.arrow_data, out);
    } else {
        put_bytes(&[], out);
        put_bytes(&[], out);
    }
}

/// Passes over a batch.
pub(super) fn skip(rest: &mut &[u8]) -> Result<(), EntryError> {
    get_bytes(rest)?;
    get_bytes(rest)?;
    Ok(())
}

/// Reads a batch of columns of `types`.
pub(super) fn decode(rest: &mut &[u8], types: &[SqlType]) -> Result<RecordBatch, EntryError> {
    let bad = |error: &dyn std::fmt::Display| EntryError::Batch(error.to_string());
    let message = get_bytes(rest)?;
    let body = get_bytes(rest)?;
    // The message is a flatbuffer and wants its own alignment.
    let aligned = Buffer::from_slice_ref(message);
    let message = root_as_message(&aligned).map_err(|error| bad(&error))?;
    if message.header_type() != MessageHeader::RecordBatch {
        return Err(bad(&"not a record batch"));
    }
    let header = message.header_as_record_batch().ok_or_else(|| bad(&"no record batch"))?;
    let fields: Vec<Field> = types.iter().enumerate().map(|(n, ty)| ty.field(n.to_string(), true)).collect();
    let schema = Arc::new(Schema::new(fields));
    // Some lengths that do not fit together are assertions of Arrow's reader, not errors.
    let read =
        || read_record_batch(&Buffer::from_slice_ref(body), header, schema, &HashMap::new(), None, &message.version());
    match std::panic::catch_unwind(std::panic::AssertUnwindSafe(read)) {
        Ok(batch) => batch.map_err(|error| bad(&error)),
        Err(_) => Err(bad(&"buffers and lengths do not fit together")),
    }
}
