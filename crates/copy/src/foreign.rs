//! Batches of others, whose types are Arrow's, as batches of a table's columns: the way back of [`perigee_engine::exchange`].
//!
//! What is the same in both keeps its bytes. Everything else goes through the text of each value, and is what that is to PostgreSQL: so
//! `1.5` is no integer, and a text becomes whatever it says.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryViewBuilder, IntervalMonthDayNanoArray, ListArray};
use arrow::compute::{CastOptions, cast, cast_with_options};
use arrow::datatypes::{
    DataType, Float32Type, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit, Schema, SchemaRef, TimeUnit,
};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use perigee_types::text::OutputSettings;
use perigee_types::text::calendar::DAY_MICROS;
use perigee_types::{SqlError, SqlState, SqlType, vector};

use crate::column::Column;

/// Nanoseconds of a microsecond.
const MICRO_NANOS: i64 = 1_000;

/// Why a batch is none of the table's.
#[derive(Debug)]
pub struct Unfit {
    /// Why.
    pub error: SqlError,
    /// The row of the batch, from 0, where it is about one.
    pub row: Option<usize>,
    /// The place of the column, where it is about one.
    pub column: Option<usize>,
}

/// An error, and its row where it is about one.
type ValueError = (SqlError, Option<usize>);

/// Turns batches into those of a table's columns, which come in the same order.
#[derive(Clone, Debug)]
pub struct ForeignColumns {
    types: Vec<SqlType>,
    schema: SchemaRef,
    settings: OutputSettings,
}

impl ForeignColumns {
    /// For columns of these names and types. Texts of times without a zone are in that of the settings.
    #[must_use]
    pub fn new(columns: &[(String, SqlType)], settings: OutputSettings) -> Self {
        let fields: Vec<_> = columns.iter().map(|(name, ty)| ty.field(name.as_str(), true)).collect();
        let types = columns.iter().map(|(_, ty)| ty.clone()).collect();
        Self { types, schema: Arc::new(Schema::new(fields)), settings }
    }

    /// A batch of the table's columns.
    ///
    /// # Errors
    /// `42804` for a type that never becomes the column's, `22P02`, `22003` and the like for a value that does not.
    pub fn batch(&self, batch: &RecordBatch) -> Result<RecordBatch, Unfit> {
        let internal =
            |error: arrow::error::ArrowError| Unfit { error: SqlError::internal(error), row: None, column: None };
        let mut columns = Vec::with_capacity(self.types.len());
        for (place, (column, ty)) in batch.columns().iter().zip(&self.types).enumerate() {
            let converted = convert(column, ty, &self.settings);
            columns.push(converted.map_err(|(error, row)| Unfit { error, row, column: Some(place) })?);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options).map_err(internal)
    }
}

fn convert(column: &ArrayRef, ty: &SqlType, settings: &OutputSettings) -> Result<ArrayRef, ValueError> {
    let no_row = |error: SqlError| (error, None);
    let form = ty.arrow();
    match (column.data_type(), ty) {
        (DataType::Null, _) => Ok(arrow::array::new_null_array(&form, column.len())),
        (DataType::Dictionary(_, values), _) => {
            let plain = cast(column, values).map_err(|error| no_row(mismatch(column, ty, &error)))?;
            convert(&plain, ty, settings)
        }
        (DataType::RunEndEncoded(_, values), _) => {
            let plain = cast(column, values.data_type()).map_err(|error| no_row(mismatch(column, ty, &error)))?;
            convert(&plain, ty, settings)
        }
        (DataType::Boolean, SqlType::Bool)
        | (DataType::Int16, SqlType::Int2)
        | (DataType::Int32, SqlType::Int4)
        | (DataType::Int64, SqlType::Int8)
        | (DataType::UInt32, SqlType::Oid)
        | (DataType::Float32, SqlType::Float4)
        | (DataType::Float64, SqlType::Float8)
        | (DataType::Date32, SqlType::Date)
        | (DataType::FixedSizeBinary(16), SqlType::Uuid) => Ok(Arc::clone(column)),
        // Widening loses nothing.
        (DataType::Int8 | DataType::UInt8, SqlType::Int2 | SqlType::Int4 | SqlType::Int8)
        | (DataType::Int16 | DataType::UInt16, SqlType::Int4 | SqlType::Int8)
        | (DataType::Int32 | DataType::UInt32, SqlType::Int8)
        | (DataType::Float16 | DataType::Float32, SqlType::Float8)
        | (DataType::Float16, SqlType::Float4)
        | (
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_),
            SqlType::Bytea,
        ) => cast(column, &form).map_err(|error| no_row(mismatch(column, ty, &error))),
        (DataType::Decimal128(from, scale), _) if matches!(form, DataType::Decimal128(to, of) if of == *scale && to >= *from) => {
            cast(column, &form).map_err(|error| no_row(mismatch(column, ty, &error)))
        }
        (DataType::Timestamp(_, None), SqlType::Timestamp(None))
        | (DataType::Timestamp(_, Some(_)), SqlType::Timestamptz(None)) => times(column, ty, &form),
        (DataType::Time32(_) | DataType::Time64(_), SqlType::Time(None)) => {
            let times = times(column, ty, &form)?;
            let values = times.as_primitive::<arrow::datatypes::Time64MicrosecondType>();
            let outside =
                (0..values.len()).find(|row| values.is_valid(*row) && !(0..=DAY_MICROS).contains(&values.value(*row)));
            match outside {
                None => Ok(times),
                Some(row) => Err((out_of_range(ty), Some(row))),
            }
        }
        (DataType::Interval(_) | DataType::Duration(_), SqlType::Interval) => intervals(column, ty),
        (DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..), SqlType::Vector(wanted)) => {
            vectors(column, *wanted)
        }
        (DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..), SqlType::Array(of)) => {
            lists(column, ty, of, settings)
        }
        (
            DataType::List(_)
            | DataType::LargeList(_)
            | DataType::FixedSizeList(..)
            | DataType::ListView(_)
            | DataType::LargeListView(_)
            | DataType::Struct(_)
            | DataType::Map(..)
            | DataType::Union(..)
            | DataType::Binary
            | DataType::LargeBinary
            | DataType::BinaryView
            | DataType::FixedSizeBinary(_)
            | DataType::Interval(_)
            | DataType::Duration(_),
            _,
        ) => Err(no_row(mismatch(column, ty, &"there is no way from one to the other"))),
        _ => by_text(column, ty, settings),
    }
}

fn mismatch(column: &ArrayRef, ty: &SqlType, why: &dyn std::fmt::Display) -> SqlError {
    let message = format!("a column is of type {ty} but the data is of Arrow's type {}", column.data_type());
    SqlError::new(SqlState::DatatypeMismatch, message).detail(why.to_string())
}

fn out_of_range(ty: &SqlType) -> SqlError {
    SqlError::new(SqlState::DatetimeFieldOverflow, format!("{ty} out of range"))
}

/// Times in another unit. Finer ones lose what is below a microsecond.
fn times(column: &ArrayRef, ty: &SqlType, form: &DataType) -> Result<ArrayRef, ValueError> {
    let options = CastOptions { safe: true, ..CastOptions::default() };
    let found = cast_with_options(column, form, &options).map_err(|error| (mismatch(column, ty, &error), None))?;
    // What does not fit has become NULL.
    match (0..found.len()).find(|row| found.is_null(*row) && column.is_valid(*row)) {
        None => Ok(found),
        Some(row) => Err((out_of_range(ty), Some(row))),
    }
}

/// Intervals, whose nanoseconds are whole microseconds here.
fn intervals(column: &ArrayRef, ty: &SqlType) -> Result<ArrayRef, ValueError> {
    let column = match column.data_type() {
        DataType::Duration(TimeUnit::Nanosecond) => Arc::clone(column),
        DataType::Duration(_) => times(column, ty, &DataType::Duration(TimeUnit::Nanosecond))?,
        _ => Arc::clone(column),
    };
    let all = DataType::Interval(IntervalUnit::MonthDayNano);
    let found = cast(&column, &all).map_err(|error| (mismatch(&column, ty, &error), None))?;
    let values = found.as_primitive::<IntervalMonthDayNanoType>();
    let whole = |value: IntervalMonthDayNano| {
        IntervalMonthDayNano::new(value.months, value.days, value.nanoseconds / MICRO_NANOS * MICRO_NANOS)
    };
    let values: IntervalMonthDayNanoArray = values.iter().map(|value| value.map(whole)).collect();
    Ok(Arc::new(values))
}

fn vectors(column: &ArrayRef, wanted: Option<u16>) -> Result<ArrayRef, ValueError> {
    let floats = DataType::List(Arc::new(arrow::datatypes::Field::new("item", DataType::Float32, true)));
    let ty = SqlType::Vector(wanted);
    let found = cast(column, &floats).map_err(|error| (mismatch(column, &ty, &error), None))?;
    let lists = found.as_list::<i32>();
    let mut builder = BinaryViewBuilder::with_capacity(lists.len());
    for row in 0..lists.len() {
        if lists.is_null(row) {
            builder.append_null();
            continue;
        }
        let item = lists.value(row);
        let item = item.as_primitive::<Float32Type>();
        let of_row = |error| (error, Some(row));
        if item.null_count() > 0 {
            let error = SqlError::new(SqlState::NullValueNotAllowed, "a vector has no NULL among its floats");
            return Err(of_row(error));
        }
        let bytes = vector::encode(item.values()).map_err(of_row)?;
        vector::fit(&bytes, wanted).map_err(of_row)?;
        builder.append_value(&bytes);
    }
    Ok(Arc::new(builder.finish()))
}

fn lists(column: &ArrayRef, ty: &SqlType, of: &SqlType, settings: &OutputSettings) -> Result<ArrayRef, ValueError> {
    let item = match column.data_type() {
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => Arc::clone(item),
        _ => return Err((mismatch(column, ty, &"it is no list"), None)),
    };
    if matches!(item.data_type(), DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..)) {
        return Err((SqlError::unsupported("an array of several dimensions"), None));
    }
    let found = cast(column, &DataType::List(item)).map_err(|error| (mismatch(column, ty, &error), None))?;
    let lists = found.as_list::<i32>();
    let values = convert(lists.values(), of, settings).map_err(|(error, item)| {
        let row = item.map(|item| lists.offsets().partition_point(|offset| *offset as usize <= item) - 1);
        (error, row)
    })?;
    let field = Arc::new(of.field("item", true));
    let list = ListArray::try_new(field, lists.offsets().clone(), values, lists.nulls().cloned());
    Ok(Arc::new(list.map_err(|error| (SqlError::internal(error), None))?))
}

/// Value by value, through its text.
fn by_text(column: &ArrayRef, ty: &SqlType, settings: &OutputSettings) -> Result<ArrayRef, ValueError> {
    let texts = cast(column, &DataType::Utf8View).map_err(|error| (mismatch(column, ty, &error), None))?;
    let texts = texts.as_string_view();
    let mut built = Column::new(ty, *settings, texts.len());
    for row in 0..texts.len() {
        if texts.is_null(row) {
            // The cast has no text for some values that are there.
            if column.is_valid(row) {
                return Err((out_of_range(ty), Some(row)));
            }
            built.push_null();
        } else {
            built.push_text(texts.value(row)).map_err(|error| (error, Some(row)))?;
        }
    }
    built.finish().map_err(|error| (error, None))
}

#[cfg(test)]
mod tests {
    use arrow::array::{
        BinaryArray, Date32Array, Decimal128Array, DictionaryArray, DurationMillisecondArray, FixedSizeListArray,
        Float64Array, Int32Array, Int64Array, NullArray, StringArray, Time32SecondArray, TimestampNanosecondArray,
        UInt64Array,
    };
    use arrow::datatypes::Int32Type;
    use perigee_engine::exchange::Exchange;
    use perigee_engine::{RowBlock, api};
    use perigee_plan::ResultColumn;
    use perigee_types::text::format;

    use super::*;

    /// The values as PostgreSQL's text, divided by `|`; `∅` for NULL; else the error's state and its row.
    fn check(column: impl Array + 'static, ty: &SqlType, expected: &str) {
        let column: ArrayRef = Arc::new(column);
        let schema = Schema::new(vec![arrow::datatypes::Field::new("a", column.data_type().clone(), true)]);
        let batch = RecordBatch::try_new(Arc::new(schema), vec![Arc::clone(&column)]).unwrap();
        let foreign = ForeignColumns::new(&[("a".to_owned(), ty.clone())], OutputSettings::DEFAULT);
        let found = match foreign.batch(&batch) {
            Ok(batch) => {
                let text = |mut row: Vec<perigee_types::Value>| match row.pop().unwrap() {
                    perigee_types::Value::Null => "∅".to_owned(),
                    value => format(&value, ty, &OutputSettings::DEFAULT),
                };
                let rows = api::RowBlock::Batch(batch).into_rows();
                rows.into_iter().map(text).collect::<Vec<_>>().join("|")
            }
            Err(unfit) => format!("{} {:?}", unfit.error.state().code(), unfit.row),
        };
        assert_eq!(found, expected, "{:?} as {ty}", column.data_type());
    }

    #[test]
    fn values_become_those_of_the_column() {
        let numbers = || Int64Array::from(vec![Some(7), None, Some(40_000)]);
        check(numbers(), &SqlType::Int8, "7|∅|40000");
        check(numbers(), &SqlType::Int4, "7|∅|40000");
        check(numbers(), &SqlType::Int2, "22003 Some(2)");
        check(numbers(), &SqlType::Numeric(Some((7, 2))), "7.00|∅|40000.00");
        check(numbers(), &SqlType::Text, "7|∅|40000");
        check(UInt64Array::from(vec![u64::MAX]), &SqlType::Numeric(None), "18446744073709551615");
        check(UInt64Array::from(vec![u64::MAX]), &SqlType::Int8, "22003 Some(0)");
        check(Float64Array::from(vec![1.0, 1.5]), &SqlType::Float4, "1|1.5");
        check(Float64Array::from(vec![1.5]), &SqlType::Int4, "22P02 Some(0)");
        check(Float64Array::from(vec![f64::NAN]), &SqlType::Float8, "NaN");
        let decimals = || Decimal128Array::from(vec![12_345]).with_precision_and_scale(9, 3).unwrap();
        check(decimals(), &SqlType::Numeric(Some((12, 3))), "12.345");
        check(decimals(), &SqlType::Numeric(Some((12, 2))), "12.35");
        check(decimals(), &SqlType::Numeric(Some((3, 2))), "22003 Some(0)");
        check(decimals(), &SqlType::Numeric(None), "12.345");

        let texts = || StringArray::from(vec![Some("12"), None, Some("x")]);
        check(texts(), &SqlType::Text, "12|∅|x");
        check(texts(), &SqlType::Int4, "22P02 Some(2)");
        check(texts(), &SqlType::Varchar(Some(1)), "22001 Some(0)");
        check(StringArray::from(vec!["a\0b"]), &SqlType::Text, "22021 Some(0)");
        check(StringArray::from(vec!["{\"b\": 1, \"a\":2}"]), &SqlType::Jsonb, "{\"a\": 2, \"b\": 1}");
        check(StringArray::from(vec!["{"]), &SqlType::Json, "22P02 Some(0)");
        check(StringArray::from(vec!["{1,2}"]), &SqlType::Array(Box::new(SqlType::Int4)), "{1,2}");
        let labels: DictionaryArray<Int32Type> = vec![Some("b"), None, Some("b"), Some("a")].into_iter().collect();
        check(labels, &SqlType::Text, "b|∅|b|a");

        check(BinaryArray::from(vec![&b"\0\xff"[..]]), &SqlType::Bytea, "\\x00ff");
        check(BinaryArray::from(vec![&b"text"[..]]), &SqlType::Text, "42804 None");
        check(NullArray::new(2), &SqlType::Int4, "∅|∅");
    }

    #[test]
    fn times_become_those_of_the_column() {
        check(Date32Array::from(vec![Some(0), None]), &SqlType::Date, "1970-01-01|∅");
        let nanos = || TimestampNanosecondArray::from(vec![Some(1_500_000_000), None]);
        check(nanos(), &SqlType::Timestamp(None), "1970-01-01 00:00:01.5|∅");
        check(nanos().with_timezone("UTC"), &SqlType::Timestamptz(None), "1970-01-01 00:00:01.5+00|∅");
        check(nanos(), &SqlType::Timestamptz(None), "1970-01-01 00:00:01.5+00|∅");
        check(Time32SecondArray::from(vec![3_661]), &SqlType::Time(None), "01:01:01");
        check(Time32SecondArray::from(vec![90_000]), &SqlType::Time(None), "22008 Some(0)");
        check(DurationMillisecondArray::from(vec![1_500]), &SqlType::Interval, "00:00:01.5");
        check(Int32Array::from(vec![1]), &SqlType::Date, "22007 Some(0)");
    }

    #[test]
    fn lists_become_arrays_and_vectors() {
        let list = |rows: Vec<Option<Vec<Option<i32>>>>| ListArray::from_iter_primitive::<Int32Type, _, _>(rows);
        let rows = || list(vec![Some(vec![Some(1), None]), None, Some(vec![]), Some(vec![Some(70_000)])]);
        check(rows(), &SqlType::Array(Box::new(SqlType::Int4)), "{1,NULL}|∅|{}|{70000}");
        check(rows(), &SqlType::Array(Box::new(SqlType::Int2)), "22003 Some(3)");
        check(rows(), &SqlType::Int4, "42804 None");
        let two =
            FixedSizeListArray::from_iter_primitive::<Float32Type, _, _>([Some(vec![Some(1.0), Some(2.5)]), None], 2);
        check(two.clone(), &SqlType::Vector(Some(2)), "[1,2.5]|∅");
        check(two, &SqlType::Vector(Some(3)), "22000 Some(0)");
    }

    /// What leaves as Arrow comes back.
    #[test]
    fn what_is_given_away_can_be_taken() {
        let types = [
            ("t", SqlType::Bool),
            ("-5", SqlType::Int2),
            ("7.25", SqlType::Float4),
            ("12.50", SqlType::Numeric(None)),
            ("1.50", SqlType::Numeric(Some((60, 2)))),
            ("x ", SqlType::Char(2)),
            ("\\x00ff", SqlType::Bytea),
            ("infinity", SqlType::Date),
            ("-infinity", SqlType::Timestamptz(None)),
            ("24:00:00", SqlType::Time(None)),
            ("1 mon 2 days 03:04:05.000006", SqlType::Interval),
            ("00000000-0000-4000-8000-000000000001", SqlType::Uuid),
            ("{\"a\": 1}", SqlType::Jsonb),
            ("{x,NULL}", SqlType::Array(Box::new(SqlType::Text))),
            ("{1.50}", SqlType::Array(Box::new(SqlType::Numeric(None)))),
            ("[1,-2.5]", SqlType::Vector(Some(2))),
        ];
        let settings = OutputSettings::DEFAULT;
        let columns: Vec<(String, SqlType)> = types.iter().map(|(text, ty)| ((*text).to_owned(), ty.clone())).collect();
        let result: Vec<ResultColumn> = columns
            .iter()
            .map(|(name, ty)| ResultColumn { name: name.clone(), ty: ty.clone(), source: None, vector: false })
            .collect();
        let row = types.iter().map(|(text, ty)| perigee_types::text::parse(text, ty).unwrap()).collect::<Vec<_>>();
        let nulls = vec![perigee_types::Value::Null; types.len()];
        let given = Exchange::new(&result).batch(&RowBlock::Values(vec![row, nulls])).unwrap();
        let taken = ForeignColumns::new(&columns, settings).batch(&given).unwrap();
        let rows = RowBlock::Batch(taken).into_rows();
        for ((text, ty), value) in types.iter().zip(&rows[0]) {
            assert_eq!(format(value, ty, &settings).trim_end(), text.trim_end(), "{ty}");
        }
        assert!(rows[1].iter().all(perigee_types::Value::is_null));
    }
}
