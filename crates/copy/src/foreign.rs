//! Batches of others, whose types are Arrow's, as batches of a table's columns: the way back of [`perigee_engine::exchange`].
//!
//! What is the same in both keeps its bytes. Everything else goes through the text of each value, and is what that is to PostgreSQL: so
//! `1.5` is no integer, and a text becomes whatever it says.

use std::ops::RangeInclusive;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BinaryViewBuilder, IntervalMonthDayNanoArray, ListArray,
    PrimitiveArray,
};
use arrow::buffer::OffsetBuffer;
use arrow::compute::{CastOptions, cast, cast_with_options};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, DecimalType, Float32Type, Int16Type, Int32Type, Int64Type,
    IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit, Schema, SchemaRef, TimeUnit,
    TimestampMicrosecondType,
};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use perigee_types::text::OutputSettings;
use perigee_types::text::calendar::DAY_MICROS;
use perigee_types::{SqlError, SqlState, SqlType, vector};

use crate::column::Column;

/// Nanoseconds of a microsecond.
const MICRO_NANOS: i64 = 1_000;
/// Bytes of the texts, or of the bytes, of a column of a batch.
const BYTES_MAX: usize = 256 << 20;
/// Items of the lists of a column of a batch: those of NULL have no bytes until they are the column's.
const ITEMS_MAX: usize = 16 << 20;
/// The days, and the microseconds, from 1970 on that PostgreSQL has. The ends of what the numbers can say stand for its infinities, and
/// elsewhere for nothing at all: they come as text.
const DATES: RangeInclusive<i32> = -2_440_588..=2_145_031_948;
const MOMENTS: RangeInclusive<i64> = -210_866_803_200_000_000..=i64::MAX - 1;

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
            expands(column, ty, values)?;
            let plain = cast(column, values).map_err(|error| no_row(mismatch(column, ty, &error)))?;
            convert(&plain, ty, settings)
        }
        (DataType::RunEndEncoded(_, values), _) => {
            expands(column, ty, values.data_type())?;
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
        | (DataType::FixedSizeBinary(16), SqlType::Uuid) => Ok(Arc::clone(column)),
        (DataType::Date32, SqlType::Date) => {
            let days = column.as_primitive::<Date32Type>();
            match first(days, |day| !DATES.contains(&day)) {
                None => Ok(Arc::clone(column)),
                Some(row) => Err((out_of_range(ty), Some(row))),
            }
        }
        (DataType::BinaryView, SqlType::Bytea) => {
            bounded((0..column.len()).map(|row| length_at(column, row)))?;
            Ok(Arc::clone(column))
        }
        // Widening loses nothing.
        (DataType::Int8 | DataType::UInt8, SqlType::Int2 | SqlType::Int4 | SqlType::Int8)
        | (DataType::Int16 | DataType::UInt16, SqlType::Int4 | SqlType::Int8)
        | (DataType::Int32 | DataType::UInt32, SqlType::Int8)
        | (DataType::Float16 | DataType::Float32, SqlType::Float8)
        | (DataType::Float16, SqlType::Float4)
        | (DataType::Binary | DataType::LargeBinary | DataType::FixedSizeBinary(_), SqlType::Bytea) => {
            cast(column, &form).map_err(|error| no_row(mismatch(column, ty, &error)))
        }
        (DataType::Decimal128(from, scale), _) if matches!(form, DataType::Decimal128(to, of) if of == *scale && to >= *from) =>
        {
            // Their digits are not counted by who reads them, and one too many makes the table unreadable.
            let digits = column.as_primitive::<Decimal128Type>();
            let is_too_long = |value| Decimal128Type::validate_decimal_precision(value, *from, *scale).is_err();
            if let Some(row) = first(digits, is_too_long) {
                let error = SqlError::new(SqlState::NumericValueOutOfRange, "numeric field overflow");
                let detail = format!("A value has more than the {from} digits of its type.");
                return Err((error.detail(detail), Some(row)));
            }
            cast(column, &form).map_err(|error| no_row(mismatch(column, ty, &error)))
        }
        (DataType::Timestamp(_, None), SqlType::Timestamp(None))
        | (DataType::Timestamp(_, Some(_)), SqlType::Timestamptz(None)) => {
            let found = times(column, ty, &form)?;
            match first(found.as_primitive::<TimestampMicrosecondType>(), |micros| !MOMENTS.contains(&micros)) {
                None => Ok(found),
                Some(row) => Err((out_of_range(ty), Some(row))),
            }
        }
        (DataType::Time32(_) | DataType::Time64(_), SqlType::Time(None)) => {
            let times = times(column, ty, &form)?;
            let values = times.as_primitive::<arrow::datatypes::Time64MicrosecondType>();
            match first(values, |micros| !(0..=DAY_MICROS).contains(&micros)) {
                None => Ok(times),
                Some(row) => Err((out_of_range(ty), Some(row))),
            }
        }
        (DataType::Interval(_) | DataType::Duration(_), SqlType::Interval | SqlType::IntervalOf(_)) => {
            intervals(column, ty)
        }
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

/// The first row with a value that is so.
fn first<T: ArrowPrimitiveType>(values: &PrimitiveArray<T>, is_so: impl Fn(T::Native) -> bool) -> Option<usize> {
    (0..values.len()).find(|row| values.is_valid(*row) && is_so(values.value(*row)))
}

/// Refuses values whose bytes are too many together: a few bytes can stand for many values, which then have them each.
fn bounded(lengths: impl Iterator<Item = usize>) -> Result<(), ValueError> {
    let mut sum = 0usize;
    for (row, length) in lengths.enumerate() {
        sum = sum.saturating_add(length);
        if sum > BYTES_MAX {
            let message = format!("the values of a record batch have more than {BYTES_MAX} bytes in a column");
            let error = SqlError::new(SqlState::ProgramLimitExceeded, message).hint("send batches of fewer rows");
            return Err((error, Some(row)));
        }
    }
    Ok(())
}

/// The bytes of a text or of bytes; 0 for what has none, or as few as any number.
fn length_at(values: &dyn Array, row: usize) -> usize {
    if values.is_null(row) {
        return 0;
    }
    match values.data_type() {
        DataType::Utf8 => values.as_string::<i32>().value_length(row) as usize,
        DataType::LargeUtf8 => values.as_string::<i64>().value_length(row) as usize,
        DataType::Binary => values.as_binary::<i32>().value_length(row) as usize,
        DataType::LargeBinary => values.as_binary::<i64>().value_length(row) as usize,
        DataType::Utf8View => values.as_string_view().value(row).len(),
        DataType::BinaryView => values.as_binary_view().value(row).len(),
        DataType::FixedSizeBinary(width) => *width as usize,
        _ => 0,
    }
}

/// Refuses a dictionary, or runs of values, that are too large once each row has its own.
fn expands(column: &ArrayRef, ty: &SqlType, values: &DataType) -> Result<(), ValueError> {
    if values.is_nested() || matches!(values, DataType::Dictionary(..) | DataType::RunEndEncoded(..)) {
        return Err((mismatch(column, ty, &"values that stand for others are no lists, and stand for none"), None));
    }
    if let Some(dictionary) = column.as_any_dictionary_opt() {
        let (keys, values) = (dictionary.keys(), dictionary.values());
        if values.is_empty() {
            return Ok(());
        }
        let places = dictionary.normalized_keys();
        let length = |(row, place): (usize, usize)| if keys.is_null(row) { 0 } else { length_at(values, place) };
        return bounded(places.into_iter().enumerate().map(length));
    }
    macro_rules! runs {
        ($($ends:ty),*) => {
            $(if let Some(runs) = column.as_run_opt::<$ends>() {
                let (ends, values) = (runs.run_ends(), runs.values());
                return bounded((0..runs.len()).map(|row| length_at(values, ends.get_physical_index(row))));
            })*
        };
    }
    runs!(Int16Type, Int32Type, Int64Type);
    Ok(())
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
    bounded(lists.offsets().lengths().map(|items| items * size_of::<f32>()))?;
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
    // A batch may be a part of one whose items are all there.
    let (from, to) = (lists.value_offsets()[0] as usize, lists.value_offsets()[lists.len()] as usize);
    if to - from > ITEMS_MAX {
        let message = format!("the lists of a record batch have more than {ITEMS_MAX} items");
        let error = SqlError::new(SqlState::ProgramLimitExceeded, message).hint("send batches of fewer rows");
        return Err((error, None));
    }
    let offsets = OffsetBuffer::from_lengths(lists.offsets().lengths());
    let values = convert(&lists.values().slice(from, to - from), of, settings).map_err(|(error, item)| {
        let row = item.map(|item| offsets.partition_point(|offset| *offset as usize <= item) - 1);
        (error, row)
    })?;
    let field = Arc::new(of.item());
    let list = ListArray::try_new(field, offsets, values, lists.nulls().cloned());
    Ok(Arc::new(list.map_err(|error| (SqlError::internal(error), None))?))
}

/// Value by value, through its text.
fn by_text(column: &ArrayRef, ty: &SqlType, settings: &OutputSettings) -> Result<ArrayRef, ValueError> {
    let texts = cast(column, &DataType::Utf8View).map_err(|error| (mismatch(column, ty, &error), None))?;
    let texts = texts.as_string_view();
    bounded(
        texts.views().iter().enumerate().map(|(row, view)| if texts.is_null(row) { 0 } else { *view as u32 as usize }),
    )?;
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
    use arrow::array::{RunArray, StringViewArray, TimestampMicrosecondArray};
    use arrow::buffer::NullBuffer;
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

    /// What no writer counts: digits beyond the type's, days and moments that nobody has.
    #[test]
    fn values_beyond_their_type_are_refused() {
        let digits = |precision| {
            let values = Decimal128Array::from(vec![Some(1), None, Some(10i128.pow(20))]);
            values.with_data_type(DataType::Decimal128(precision, 2))
        };
        for precision in [4, 5] {
            check(digits(precision), &SqlType::Numeric(Some((5, 2))), "22003 Some(2)");
        }
        check(digits(30), &SqlType::Numeric(Some((30, 2))), "0.01|∅|1000000000000000000.00");
        let field = Arc::new(arrow::datatypes::Field::new("item", DataType::Decimal128(5, 2), true));
        let list = ListArray::new(field, OffsetBuffer::from_lengths([0, 1, 2]), Arc::new(digits(5)), None);
        let array = SqlType::Array(Box::new(SqlType::Numeric(Some((5, 2)))));
        check(list.clone(), &array, "22003 Some(2)");
        check(list.slice(2, 1), &array, "22003 Some(0)");
        check(list.slice(0, 2), &array, "{}|{0.01}");

        for day in [i32::MIN, i32::MAX, -2_440_589, 2_145_031_949] {
            check(Date32Array::from(vec![Some(0), None, Some(day)]), &SqlType::Date, "22008 Some(2)");
        }
        for micros in [i64::MIN, i64::MIN + 1, i64::MAX] {
            let moments = || TimestampMicrosecondArray::from(vec![None, Some(micros)]);
            check(moments(), &SqlType::Timestamp(None), "22008 Some(1)");
            check(moments().with_timezone("UTC"), &SqlType::Timestamptz(None), "22008 Some(1)");
        }
    }

    /// A few bytes that stand for many: nothing is made of them.
    #[test]
    fn values_that_stand_for_many_are_bounded() {
        let long = "x".repeat(1 << 20);
        let texts = || Arc::new(StringArray::from(vec![long.as_str()])) as ArrayRef;
        let keys = || Int32Array::from_iter_values(std::iter::repeat_n(0, 300));
        check(DictionaryArray::new(keys(), texts()), &SqlType::Text, "54000 Some(256)");
        check(
            DictionaryArray::new(keys(), cast(&texts(), &DataType::Binary).unwrap()),
            &SqlType::Bytea,
            "54000 Some(256)",
        );
        let runs = RunArray::<Int32Type>::try_new(&Int32Array::from(vec![300]), texts().as_ref()).unwrap();
        check(runs, &SqlType::Text, "54000 Some(256)");
        let views = cast(&texts(), &DataType::Utf8View).unwrap();
        let views: &StringViewArray = views.as_string_view();
        let many = StringViewArray::new(vec![views.views()[0]; 300].into(), views.data_buffers().to_vec(), None);
        check(many.clone(), &SqlType::Text, "54000 Some(256)");
        check(many.to_binary_view(), &SqlType::Bytea, "54000 Some(256)");
        let lists = ListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(1)])]);
        check(DictionaryArray::new(keys(), Arc::new(lists)), &SqlType::Array(Box::new(SqlType::Int4)), "42804 None");
        let field = Arc::new(arrow::datatypes::Field::new("item", DataType::Null, true));
        let nulls = Arc::new(NullArray::new(ITEMS_MAX + 1));
        let list = ListArray::new(field, OffsetBuffer::from_lengths([ITEMS_MAX + 1]), nulls, None::<NullBuffer>);
        check(list, &SqlType::Array(Box::new(SqlType::Int4)), "54000 None");
        let few: DictionaryArray<Int32Type> = DictionaryArray::new(Int32Array::from(vec![Some(0), None]), texts());
        check(few, &SqlType::Varchar(Some(1)), "22001 Some(0)");
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
            ("4713-01-01 BC", SqlType::Date),
            ("294246-12-31 00:00:00+00", SqlType::Timestamptz(None)),
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
