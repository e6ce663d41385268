//! Values that clients bind to parameters: rows of Arrow, a column for each parameter.

use arrow::buffer::Buffer;
use arrow::datatypes::Schema;
use arrow::record_batch::RecordBatch;
use arrow_flight::FlightData;
use arrow_ipc::writer::StreamWriter;
use perigee_copy::{ForeignColumns, IpcMessages, IpcStream};
use perigee_door::script::Described;
use perigee_door::{Given, Parameter};
use perigee_engine::exchange::field;
use perigee_engine::{RowBlock, Session};
use perigee_types::{Row, SqlError, SqlResult, SqlState, SqlType, Value};

/// Bytes of parameters that a handle holds.
const HELD_BYTES_MAX: usize = 1 << 20;
/// Rows of parameters that are made values at a time.
const ROWS: usize = 1_024;

/// The schema of a statement's parameters.
pub(crate) fn schema(types: &[SqlType]) -> Schema {
    let name = |place: usize| format!("${}", place + 1);
    Schema::new(types.iter().enumerate().map(|(place, ty)| field(&name(place), ty)).collect::<Vec<_>>())
}

/// A batch in parts that may be made values: columns of nothing but NULL have more rows than bytes.
pub(crate) fn parts(batch: &RecordBatch) -> impl Iterator<Item = RecordBatch> {
    let rows = batch.num_rows();
    (0..rows).step_by(ROWS).map(move |from| batch.slice(from, ROWS.min(rows - from)))
}

/// The rows of a batch, as values of the types that the statement has for its parameters.
pub(crate) fn rows(session: &Session, types: &[SqlType], batch: &RecordBatch) -> SqlResult<Vec<Row>> {
    if batch.num_columns() != types.len() {
        let message = format!("the statement has {} parameters, and {} were given", types.len(), batch.num_columns());
        return Err(SqlError::new(SqlState::ProtocolViolation, message));
    }
    let columns: Vec<_> = types.iter().map(|ty| (String::new(), ty.clone())).collect();
    let converted = ForeignColumns::new(&columns, session.output_settings()).batch(batch);
    let converted = converted.map_err(|unfit| match unfit.column {
        Some(place) => unfit.error.context(format!("parameter ${}", place + 1)),
        None => unfit.error,
    })?;
    Ok(RowBlock::Batch(converted).into_rows())
}

/// The parameters that a handle holds, as a query is given them.
pub(crate) fn held(session: &Session, described: &Described, held: &[u8]) -> SqlResult<Vec<Parameter>> {
    if held.is_empty() {
        return Ok(Vec::new());
    }
    let mut stream = IpcStream::open(held)?;
    let batch = stream.batch()?.filter(|batch| batch.num_rows() == 1);
    let batch =
        batch.ok_or_else(|| SqlError::new(SqlState::ProtocolViolation, "the handle has no row of parameters"))?;
    let mut rows = rows(session, &described.parameters, &batch)?;
    Ok(rows.pop().unwrap_or_default().into_iter().map(exact).collect())
}

fn exact(value: Value) -> Parameter {
    Parameter { ty: None, given: Given::Exact(value) }
}

/// A row of parameters, for a handle to hold.
pub(crate) fn hold(batch: &RecordBatch) -> SqlResult<Vec<u8>> {
    let mut writer = StreamWriter::try_new(Vec::new(), &batch.schema()).map_err(SqlError::internal)?;
    writer.write(batch).and_then(|()| writer.finish()).map_err(SqlError::internal)?;
    let bytes = writer.into_inner().map_err(SqlError::internal)?;
    if bytes.len() > HELD_BYTES_MAX {
        let message = format!("the parameters of a query have more than {HELD_BYTES_MAX} bytes");
        return Err(SqlError::new(SqlState::ProgramLimitExceeded, message));
    }
    Ok(bytes)
}

/// Takes a message of a client's stream; gives its rows, where it has some.
pub(crate) fn take(messages: &mut IpcMessages, data: FlightData) -> SqlResult<Option<RecordBatch>> {
    if data.data_header.is_empty() {
        return Ok(None);
    }
    messages.message(&data.data_header, Buffer::from(data.data_body))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::NullArray;

    use super::*;

    #[test]
    fn batches_come_in_parts() {
        let batch = RecordBatch::try_from_iter([("a", Arc::new(NullArray::new(2 * ROWS + 1)) as _)]).unwrap();
        let counts = |batch: &RecordBatch| parts(batch).map(|part| part.num_rows()).collect::<Vec<_>>();
        assert_eq!(counts(&batch), [ROWS, ROWS, 1]);
        assert_eq!(counts(&batch.slice(0, 0)), [0; 0]);
    }
}
