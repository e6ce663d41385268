//! Whole rows into Arrow and out of it.

use std::sync::Arc;

use arrow::array::{ArrayRef, UInt32Array, new_null_array};
use arrow::compute::take;
use arrow::datatypes::{Schema, SchemaRef};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use perigee_types::{Row, SqlType, Value};

use super::{ColumnBuilder, ValueError, value_at};

/// The schema of columns given as (number, type, name): nullable fields that remember their SQL type.
#[must_use]
pub fn schema_of(columns: &[(u16, &SqlType, &str)]) -> SchemaRef {
    Arc::new(Schema::new(columns.iter().map(|(_, ty, name)| ty.field(*name, true)).collect::<Vec<_>>()))
}

/// Rows as a batch with [`schema_of`]'s schema; each row has one value per column.
///
/// # Errors
/// [`ValueError::Width`], and what [`ColumnBuilder::push`] gives.
pub fn rows_to_batch(columns: &[(u16, &SqlType, &str)], rows: &[Row]) -> Result<RecordBatch, ValueError> {
    let mut builders: Vec<_> = columns.iter().map(|(_, ty, _)| ColumnBuilder::new(ty, rows.len())).collect();
    for row in rows {
        if row.len() != columns.len() {
            return Err(ValueError::Width { columns: columns.len(), found: row.len() });
        }
        for (builder, value) in builders.iter_mut().zip(row) {
            builder.push(value)?;
        }
    }
    let arrays = builders.iter_mut().map(ColumnBuilder::finish).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
    Ok(RecordBatch::try_new_with_options(schema_of(columns), arrays, &options)?)
}

/// The rows of a batch, by the SQL types of its fields.
#[must_use]
pub fn batch_to_rows(batch: &RecordBatch) -> Vec<Row> {
    let mut rows: Vec<Row> = (0..batch.num_rows()).map(|_| Row::with_capacity(batch.num_columns())).collect();
    let schema = batch.schema();
    for (column, field) in batch.columns().iter().zip(schema.fields()) {
        let ty = SqlType::of_field(field);
        for (at, row) in rows.iter_mut().enumerate() {
            row.push(value_at(column, at, &ty));
        }
    }
    rows
}

/// `rows` times the same value.
///
/// # Errors
/// What [`ColumnBuilder::push`] gives.
pub fn repeat(value: &Value, ty: &SqlType, rows: usize) -> Result<ArrayRef, ValueError> {
    if value.is_null() {
        return Ok(new_null_array(&ty.arrow(), rows));
    }
    let mut one = ColumnBuilder::new(ty, 1);
    one.push(value)?;
    Ok(take(&one.finish(), &UInt32Array::from(vec![0; rows]), None)?)
}
