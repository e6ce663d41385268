//! DataRows of batches and of values are the same bytes.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryViewArray, BooleanArray, Date32Array, Decimal128Array, DictionaryArray, FixedSizeBinaryArray,
    Float64Array, Int8Array, Int32Array, Int64Array, IntervalMonthDayNanoArray, ListArray, NullArray, StringArray,
    StringViewArray, TimestampMicrosecondArray, UInt32Array,
};
use arrow::datatypes::{Int32Type, IntervalMonthDayNano, Schema};
use perigee_types::{Interval, Value};

use super::*;

fn column(ty: SqlType) -> ResultColumn {
    ResultColumn { name: "c".into(), ty, source: None, vector: false }
}

/// The one field of a DataRow; `None` for NULL.
fn field(out: &[u8]) -> Option<Vec<u8>> {
    assert_eq!((out[0], &out[5..7]), (b'D', &[0, 1][..]));
    assert_eq!(u32::from_be_bytes(out[1..5].try_into().unwrap()) as usize, out.len() - 1);
    let length = i32::from_be_bytes(out[7..11].try_into().unwrap());
    (length >= 0).then(|| out[11..].to_vec())
}

fn check(ty: SqlType, array: ArrayRef, value: Value, text: &str) {
    let field_of = arrow::datatypes::Field::new("c", array.data_type().clone(), true);
    let batch = RecordBatch::try_new(Arc::new(Schema::new(vec![field_of])), vec![array]).unwrap();
    for format in [Format::Text, Format::Binary] {
        let mut encoder = RowEncoder::new(&[column(ty.clone())], &[format], OutputSettings::DEFAULT);
        let (mut from_batch, mut from_values) = (Vec::new(), Vec::new());
        assert_eq!(encoder.batch(&mut from_batch, &batch, 0, 1, usize::MAX), Ok(1));
        encoder.values(&mut from_values, &vec![value.clone()]);
        assert_eq!(from_batch, from_values, "{ty} {format:?}");
        if format == Format::Text && !value.is_null() {
            assert_eq!(field(&from_batch).as_deref(), Some(text.as_bytes()), "{ty}");
        }
    }
}

#[test]
fn batches_and_values_agree() {
    check(SqlType::Bool, Arc::new(BooleanArray::from(vec![true])), Value::Bool(true), "t");
    check(SqlType::Int4, Arc::new(Int32Array::from(vec![-7])), Value::Int4(-7), "-7");
    check(SqlType::Int2, Arc::new(Int8Array::from(vec![-7])), Value::Int2(-7), "-7");
    check(SqlType::Oid, Arc::new(UInt32Array::from(vec![26])), Value::Oid(26), "26");
    check(SqlType::Regclass, Arc::new(UInt32Array::from(vec![0])), Value::Oid(0), "-");
    check(SqlType::Float8, Arc::new(Float64Array::from(vec![0.1])), Value::Float8(0.1), "0.1");
    let decimal = |v, p, s| Arc::new(Decimal128Array::from(vec![v]).with_precision_and_scale(p, s).unwrap());
    check(SqlType::Numeric(Some((15, 2))), decimal(150, 15, 2), Value::Numeric(150, 2), "1.50");
    check(SqlType::Numeric(None), decimal(150, 38, 2), Value::Numeric(150, 2), "1.50");
    let mut form = Vec::new();
    perigee_types::numeric::encode(&perigee_types::numeric::Numeric::small(150, 2), &mut form);
    let wide = Arc::new(arrow::array::LargeBinaryArray::from_iter_values([form]));
    check(SqlType::Numeric(None), wide, Value::Numeric(150, 2), "1.50");
    check(SqlType::Text, Arc::new(StringViewArray::from(vec!["ä"])), Value::Text("ä".into()), "ä");
    check(SqlType::Text, Arc::new(StringArray::from(vec!["a"])), Value::Text("a".into()), "a");
    check(SqlType::Char(3), Arc::new(StringViewArray::from(vec!["a"])), Value::Text("a".into()), "a  ");
    let words: DictionaryArray<Int32Type> = vec!["x"].into_iter().collect();
    check(SqlType::Text, Arc::new(words), Value::Text("x".into()), "x");
    check(SqlType::Jsonb, Arc::new(StringViewArray::from(vec!["{}"])), Value::Text("{}".into()), "{}");
    check(SqlType::Bytea, Arc::new(BinaryViewArray::from(vec![&b"\x01"[..]])), Value::Bytea(vec![1]), "\\x01");
    check(SqlType::Date, Arc::new(Date32Array::from(vec![0])), Value::Date(0), "1970-01-01");
    let time = TimestampMicrosecondArray::from(vec![1]);
    check(SqlType::Timestamp(None), Arc::new(time.clone()), Value::Timestamp(1), "1970-01-01 00:00:00.000001");
    let zoned = time.with_timezone("+00:00");
    check(SqlType::Timestamptz(None), Arc::new(zoned), Value::Timestamptz(1), "1970-01-01 00:00:00.000001+00");
    let interval = IntervalMonthDayNanoArray::from(vec![IntervalMonthDayNano::new(1, 2, 3_000)]);
    let value = Value::Interval(Interval { months: 1, days: 2, micros: 3 });
    check(SqlType::Interval, Arc::new(interval), value, "1 mon 2 days 00:00:00.000003");
    let uuid = FixedSizeBinaryArray::try_from_iter(std::iter::once([1u8; 16])).unwrap();
    check(SqlType::Uuid, Arc::new(uuid), Value::Uuid([1; 16]), "01010101-0101-0101-0101-010101010101");
    let list = ListArray::from_iter_primitive::<Int32Type, _, _>(vec![Some(vec![Some(1), None])]);
    let value = Value::Array(vec![Value::Int4(1), Value::Null]);
    check(SqlType::Array(Box::new(SqlType::Int4)), Arc::new(list), value, "{1,NULL}");
    check(SqlType::Text, Arc::new(NullArray::new(1)), Value::Null, "");
    check(SqlType::Int8, Arc::new(Int64Array::from(vec![None])), Value::Null, "");
}

#[test]
fn stops_at_the_row_or_the_size_asked_for() {
    let array: ArrayRef = Arc::new(Int32Array::from_iter_values(0..1000));
    let batch = RecordBatch::try_from_iter([("c", array)]).unwrap();
    let mut encoder = RowEncoder::new(&[column(SqlType::Int4)], &[], OutputSettings::DEFAULT);
    let mut out = Vec::new();
    assert_eq!(encoder.batch(&mut out, &batch, 0, 3, usize::MAX), Ok(3));
    out.clear();
    let next = encoder.batch(&mut out, &batch, 3, 1000, 100).unwrap();
    assert!((5..20).contains(&next), "{next}");
    assert!(out.len() < 120);
}

#[test]
fn a_number_too_large_for_what_was_described_is_an_error() {
    let array: ArrayRef = Arc::new(Int64Array::from(vec![i64::MAX]));
    let batch = RecordBatch::try_from_iter([("c", array)]).unwrap();
    let mut encoder = RowEncoder::new(&[column(SqlType::Int4)], &[Format::Binary], OutputSettings::DEFAULT);
    let error = encoder.batch(&mut Vec::new(), &batch, 0, 1, usize::MAX).unwrap_err();
    assert_eq!(error.state().code(), "22003");
    let none = RowEncoder::new(&[], &[], OutputSettings::DEFAULT).batch(&mut Vec::new(), &batch, 0, 1, usize::MAX);
    assert_eq!(none.map_err(|e| e.state().code()), Err("XX000"));
}

#[test]
fn vectors_of_the_catalogs_have_their_text() {
    let column = ResultColumn { vector: true, ..column(SqlType::Array(Box::new(SqlType::Int2))) };
    assert_eq!(column.type_oid(), 22);
    let lists: ArrayRef = Arc::new(ListArray::from_iter_primitive::<arrow::datatypes::Int16Type, _, _>([
        Some(vec![Some(1), Some(20)]),
        Some(vec![]),
        None,
    ]));
    let field_of = arrow::datatypes::Field::new("c", lists.data_type().clone(), true);
    let batch = RecordBatch::try_new(Arc::new(Schema::new(vec![field_of])), vec![lists]).unwrap();
    let mut encoder = RowEncoder::new(&[column], &[Format::Text], OutputSettings::DEFAULT);
    for (row, want) in [Some("1 20"), Some(""), None].into_iter().enumerate() {
        let mut out = Vec::new();
        assert_eq!(encoder.batch(&mut out, &batch, row, row + 1, usize::MAX), Ok(row + 1));
        assert_eq!(field(&out).as_deref(), want.map(str::as_bytes));
    }
    let mut out = Vec::new();
    encoder.values(&mut out, &vec![Value::Array(vec![Value::Int2(1), Value::Int2(20)])]);
    assert_eq!(field(&out).as_deref(), Some(&b"1 20"[..]));
}
