//! Results as Arrow for others: types that every reader of Arrow and Parquet knows, in place of the forms that this server keeps.
//!
//! | SQL | here |
//! | --- | --- |
//! | `numeric(p,s)` of at most 38 digits | `Decimal128(p,s)` |
//! | any other `numeric` | `Utf8`, its exact text |
//! | text, `json`, labels of enumerated types | `Utf8` |
//! | `bytea` | `Binary` |
//! | `timestamp`, `timestamptz` | microseconds, without a zone and in UTC |
//! | `uuid` | `FixedSizeBinary(16)`, marked as `arrow.uuid` |
//! | `vector` | `List` of `Float32` |
//! | arrays | `List` of the same |
//!
//! A field's metadata names its SQL type under `sql_type`.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float32Builder, ListArray, ListBuilder, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use perigee_plan::ResultColumn;
use perigee_storage::arrow_value::{rows_to_batch, value_at};
use perigee_types::text::{OutputSettings, format};
use perigee_types::{SqlError, SqlResult, SqlType, Value, vector};

use crate::api::RowBlock;

/// The key of a field's metadata that names its SQL type.
pub const SQL_TYPE: &str = "sql_type";

/// Turns blocks of one result into batches of one schema.
#[derive(Clone, Debug)]
pub struct Exchange {
    types: Vec<(String, SqlType)>,
    schema: SchemaRef,
}

impl Exchange {
    /// For a result of these columns.
    #[must_use]
    pub fn new(columns: &[ResultColumn]) -> Self {
        let types: Vec<_> = columns.iter().map(|column| (column.name.to_string(), column.ty.clone())).collect();
        let fields: Vec<Field> = types.iter().map(|(name, ty)| field(name, ty)).collect();
        Self { types, schema: Arc::new(Schema::new(fields)) }
    }

    /// The same for Parquet, which has no form for intervals of months, days and time: they are their text there.
    #[must_use]
    pub fn for_parquet(columns: &[ResultColumn]) -> Self {
        let Self { types, schema } = Self::new(columns);
        let fields = schema
            .fields()
            .iter()
            .map(|field| Field::clone(field).with_data_type(texts_of_intervals(field.data_type())));
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        Self { types, schema }
    }

    /// The schema of all batches.
    #[must_use]
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// A block as a batch.
    ///
    /// # Errors
    /// `XX000` for a block of other columns.
    pub fn batch(&self, block: &RowBlock) -> SqlResult<RecordBatch> {
        let owned;
        let batch = match block {
            RowBlock::Batch(batch) => batch,
            RowBlock::Values(rows) => {
                let columns: Vec<_> = self.types.iter().map(|(name, ty)| (0, ty, name.as_str())).collect();
                owned = rows_to_batch(&columns, rows).map_err(SqlError::internal)?;
                &owned
            }
        };
        if batch.num_columns() != self.types.len() {
            return Err(SqlError::internal("a block of a result has other columns than the result"));
        }
        let columns = batch.columns().iter().zip(&self.types).zip(self.schema.fields());
        let columns: Vec<ArrayRef> = columns
            .map(|((column, (_, ty)), field)| convert(column, ty, field.data_type()))
            .collect::<SqlResult<_>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        RecordBatch::try_new_with_options(self.schema(), columns, &options).map_err(SqlError::internal)
    }
}

fn texts_of_intervals(form: &DataType) -> DataType {
    match form {
        DataType::Interval(_) => DataType::Utf8,
        DataType::List(item) => {
            DataType::List(Arc::new(Field::clone(item).with_data_type(texts_of_intervals(item.data_type()))))
        }
        other => other.clone(),
    }
}

/// A field of a result: its form, and the SQL type by name.
#[must_use]
pub fn field(name: &str, ty: &SqlType) -> Field {
    let mut metadata = HashMap::from([(SQL_TYPE.to_owned(), ty.to_string())]);
    if *ty == SqlType::Uuid {
        metadata.insert("ARROW:extension:name".to_owned(), "arrow.uuid".to_owned());
    }
    Field::new(name, form(ty), true).with_metadata(metadata)
}

/// The form that others get.
fn form(ty: &SqlType) -> DataType {
    match ty {
        SqlType::Enum(_) | SqlType::Record(_) => DataType::Utf8,
        ty if ty.is_kept_as_bytes() => DataType::Utf8,
        SqlType::Vector(_) => DataType::List(Arc::new(Field::new("item", DataType::Float32, true))),
        SqlType::Array(of) => DataType::List(Arc::new(Field::new("item", form(of), true))),
        ty => match ty.arrow() {
            DataType::Utf8View | DataType::LargeBinary => DataType::Utf8,
            DataType::BinaryView => DataType::Binary,
            other => other,
        },
    }
}

/// Whether the form is made of the text of each value.
fn by_text(ty: &SqlType) -> bool {
    matches!(ty, SqlType::Enum(_) | SqlType::Char(_) | SqlType::Record(_))
        || ty.is_kept_as_bytes()
        || ty.arrow() == DataType::LargeBinary
}

fn convert(column: &ArrayRef, ty: &SqlType, form: &DataType) -> SqlResult<ArrayRef> {
    let is_text_here = matches!(ty, SqlType::Interval | SqlType::IntervalOf(_)) && *form == DataType::Utf8;
    if by_text(ty) || is_text_here || *column.data_type() == DataType::LargeBinary {
        let settings = OutputSettings::default();
        let text = |row| (!column.is_null(row)).then(|| format(&value_at(column, row, ty), ty, &settings));
        let texts: ArrayRef = Arc::new((0..column.len()).map(text).collect::<StringArray>());
        // A short numeric in the form of the long ones: cast from its text.
        return if texts.data_type() == form { Ok(texts) } else { cast(&texts, form).map_err(SqlError::internal) };
    }
    if let SqlType::Vector(_) = ty {
        return Ok(floats(column, ty));
    }
    if let (SqlType::Array(of), DataType::List(item), Some(list)) = (ty, form, column.as_list_opt::<i32>()) {
        let values = convert(list.values(), of, item.data_type())?;
        let list = ListArray::try_new(Arc::clone(item), list.offsets().clone(), values, list.nulls().cloned());
        return Ok(Arc::new(list.map_err(SqlError::internal)?));
    }
    if column.data_type() == form {
        return Ok(Arc::clone(column));
    }
    cast(column, form).map_err(SqlError::internal)
}

/// Vectors as lists of their floats.
fn floats(column: &ArrayRef, ty: &SqlType) -> ArrayRef {
    let mut lists = ListBuilder::with_capacity(Float32Builder::new(), column.len());
    for row in 0..column.len() {
        match value_at(column, row, ty) {
            Value::Bytea(bytes) => {
                lists.values().append_slice(&vector::floats(&bytes).collect::<Vec<_>>());
                lists.append(true);
            }
            _ => lists.append(false),
        }
    }
    Arc::new(lists.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: &str, ty: SqlType) -> ResultColumn {
        ResultColumn { name: name.to_owned(), ty, source: None, vector: false }
    }

    #[test]
    fn parquet_gets_intervals_as_text() {
        let columns = [column("i", SqlType::Interval), column("a", SqlType::Array(Box::new(SqlType::Interval)))];
        let value = perigee_types::text::parse("1 day 00:00:02", &SqlType::Interval).unwrap();
        let rows = vec![vec![value.clone(), Value::Array(vec![value])]];
        let batch = Exchange::for_parquet(&columns).batch(&RowBlock::Values(rows)).unwrap();
        assert_eq!(batch.column(0).as_string::<i32>().value(0), "1 day 00:00:02");
        assert_eq!(batch.column(1).as_list::<i32>().value(0).as_string::<i32>().value(0), "1 day 00:00:02");
    }

    #[test]
    fn rows_and_batches_come_out_the_same() {
        let columns = [
            column("n", SqlType::Numeric(None)),
            column("d", SqlType::Numeric(Some((10, 2)))),
            column("t", SqlType::Text),
            column("b", SqlType::Bytea),
            column("a", SqlType::Array(Box::new(SqlType::Text))),
        ];
        let texts = Value::Array(vec![Value::Text("x".into()), Value::Null]);
        let rows = vec![
            vec![
                Value::Numeric(1_10, 2),
                Value::Numeric(12_345, 2),
                Value::Text("ä".into()),
                Value::Bytea(vec![0, 255]),
                texts,
            ],
            vec![Value::Null; 5],
        ];
        let exchange = Exchange::new(&columns);
        let batch = exchange.batch(&RowBlock::Values(rows.clone())).unwrap();
        assert_eq!(batch.column(0).as_string::<i32>().value(0), "1.10");
        assert_eq!(*batch.column(1).data_type(), DataType::Decimal128(10, 2));
        assert_eq!(batch.column(3).as_binary::<i32>().value(0), [0, 255]);
        assert_eq!(batch.column(4).as_list::<i32>().value(0).as_string::<i32>().value(0), "x");
        assert!(batch.columns().iter().all(|column| column.is_null(1)));
        let named: Vec<_> = columns.iter().map(|column| (0, &column.ty, column.name.as_str())).collect();
        let internal = rows_to_batch(&named, &rows).unwrap();
        assert_eq!(exchange.batch(&RowBlock::Batch(internal)).unwrap(), batch);
        assert_eq!(batch.schema().field(1).metadata()[SQL_TYPE], "numeric(10,2)");
    }
}
