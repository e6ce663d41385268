//! Values through Arrow and back, of every type.

use arrow::array::types::Int32Type;
use arrow::array::{Array, DictionaryArray, Int32Array, UInt64Array};
use perigee_types::{Interval, SqlType, Value};
use proptest::prelude::*;

use super::*;

/// Every type with a strategy for its values; shared with the tests of the encoding.
pub(crate) fn typed_value() -> impl Strategy<Value = (SqlType, Vec<Value>)> {
    scalar_type().prop_flat_map(|ty| {
        prop_oneof![3 => Just(ty.clone()), 1 => Just(SqlType::Array(Box::new(ty)))]
            .prop_flat_map(|ty| (Just(ty.clone()), prop::collection::vec(value_of(&ty), 0..300), 0usize..400))
            .prop_map(|(ty, values, distinct)| (ty, few(values, distinct)))
    })
}

/// The same count of values with at most about `distinct` different ones, so that some columns are worth a dictionary.
fn few(mut values: Vec<Value>, distinct: usize) -> Vec<Value> {
    for at in distinct / 4 + 1..values.len() {
        if distinct.is_multiple_of(2) {
            values[at] = values[at * at % (distinct / 4 + 1)].clone();
        }
    }
    values
}

fn scalar_type() -> impl Strategy<Value = SqlType> {
    prop::sample::select(vec![
        SqlType::Bool,
        SqlType::Int2,
        SqlType::Int4,
        SqlType::Int8,
        SqlType::Oid,
        SqlType::Float4,
        SqlType::Float8,
        SqlType::Numeric(None),
        SqlType::Numeric(Some((15, 2))),
        SqlType::Text,
        SqlType::Char(3),
        SqlType::Varchar(Some(9)),
        SqlType::Json,
        SqlType::Bytea,
        SqlType::Date,
        SqlType::Time(None),
        SqlType::Timestamp(None),
        SqlType::Timestamptz(None),
        SqlType::Interval,
        SqlType::Uuid,
        SqlType::Enum(perigee_types::EnumType::form()),
    ])
}

fn value_of(ty: &SqlType) -> BoxedStrategy<Value> {
    let some = match ty {
        SqlType::Bool => any::<bool>().prop_map(Value::Bool).boxed(),
        SqlType::Int2 => any::<i16>().prop_map(Value::Int2).boxed(),
        SqlType::Int4 => any::<i32>().prop_map(Value::Int4).boxed(),
        SqlType::Int8 => prop_oneof![any::<i64>(), 0..9i64].prop_map(Value::Int8).boxed(),
        SqlType::Oid => any::<u32>().prop_map(Value::Oid).boxed(),
        SqlType::Float4 => prop::num::f32::ANY.prop_map(Value::Float4).boxed(),
        SqlType::Float8 => {
            let special = prop::sample::select(vec![0.0, -0.0, f64::NAN, -f64::NAN, f64::INFINITY, 0.1, 1e300]);
            prop_oneof![prop::num::f64::ANY, special].prop_map(Value::Float8).boxed()
        }
        SqlType::Numeric(None) => (any::<i128>(), 0..200u32)
            .prop_map(|(v, scale)| perigee_types::numeric::Numeric::small(v, scale).into_value())
            .boxed(),
        SqlType::Numeric(_) => (-99_999i128..99_999).prop_map(|v| Value::Numeric(v, 2)).boxed(),
        SqlType::Bytea => prop::collection::vec(any::<u8>(), 0..40).prop_map(Value::Bytea).boxed(),
        SqlType::Date => any::<i32>().prop_map(Value::Date).boxed(),
        SqlType::Time(_) => (0..86_400_000_000i64).prop_map(Value::Time).boxed(),
        SqlType::Timestamp(_) => any::<i64>().prop_map(Value::Timestamp).boxed(),
        SqlType::Timestamptz(_) => any::<i64>().prop_map(Value::Timestamptz).boxed(),
        SqlType::Interval => (any::<i32>(), any::<i32>(), -9_000_000_000_000_000i64..9_000_000_000_000_000)
            .prop_map(|(months, days, micros)| Value::Interval(Interval { months, days, micros }))
            .boxed(),
        SqlType::Uuid => any::<[u8; 16]>().prop_map(Value::Uuid).boxed(),
        SqlType::Enum(_) => any::<i64>().prop_map(Value::Enum).boxed(),
        SqlType::Array(of) => prop::collection::vec(value_of(of), 0..4).prop_map(Value::Array).boxed(),
        _ => prop_oneof!["[a-c]{0,2}", "\\PC{0,40}"].prop_map(Value::Text).boxed(),
    };
    prop_oneof![5 => some, 1 => Just(Value::Null)].boxed()
}

/// Equal to the bit: NaN is not equal to itself, and the zeros are.
pub(crate) fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Float4(a), Value::Float4(b)) => a.to_bits() == b.to_bits(),
        (Value::Float8(a), Value::Float8(b)) => a.to_bits() == b.to_bits(),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        _ => a == b,
    }
}

pub(crate) fn array_of(ty: &SqlType, values: &[Value]) -> arrow::array::ArrayRef {
    let mut builder = ColumnBuilder::new(ty, values.len());
    for value in values {
        builder.push(value).unwrap();
    }
    builder.finish()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_value_is_checked_as_a_column_would_take_it((ty, _) in typed_value(), (_, values) in typed_value()) {
        for value in &values {
            let pushed = ColumnBuilder::new(&ty, 1).push(value);
            prop_assert_eq!(check_value(&ty, value), pushed, "{:?} in {}", value, ty);
        }
    }

    #[test]
    fn values_come_back_from_the_builder_and_from_its_arrays((ty, values) in typed_value(), cut in 0usize..300) {
        let mut builder = ColumnBuilder::new(&ty, 4);
        let cut = cut.min(values.len());
        for value in &values[..cut] {
            builder.push(value).unwrap();
        }
        let early = builder.finish_cloned();
        for value in &values[cut..] {
            builder.push(value).unwrap();
        }
        prop_assert_eq!(builder.len(), values.len());
        for (row, value) in values.iter().enumerate() {
            prop_assert!(same(&builder.value(row), value), "{:?} in the builder at {}", value, row);
        }
        let array = builder.finish();
        prop_assert_eq!(array.data_type(), &ty.arrow());
        prop_assert_eq!(early.len(), cut);
        for (row, value) in values.iter().enumerate() {
            prop_assert!(same(&value_at(&array, row, &ty), value));
            prop_assert!(row >= cut || same(&value_at(&early, row, &ty), value));
        }
        prop_assert!(builder.is_empty());
        builder.append_array(&array.slice(cut, array.len() - cut)).unwrap();
        for (row, value) in values[cut..].iter().enumerate() {
            prop_assert!(same(&builder.value(row), value), "appended as an array");
        }
    }

    #[test]
    fn rows_come_back((ty, values) in typed_value()) {
        let rows: Vec<_> = values.iter().map(|v| vec![Value::Int4(7), v.clone()]).collect();
        let batch = rows_to_batch(&[(1, &SqlType::Int4, "a"), (2, &ty, "b")], &rows).unwrap();
        let back = batch_to_rows(&batch);
        prop_assert_eq!(back.len(), rows.len());
        prop_assert!(back.iter().flatten().zip(rows.iter().flatten()).all(|(a, b)| same(a, b)));
    }
}

#[test]
fn what_does_not_fit_is_refused_and_leaves_nothing() {
    let check = |ty: SqlType, value: Value| {
        let mut builder = ColumnBuilder::new(&ty, 1);
        assert!(builder.push(&value).is_err(), "{value:?} into {ty}");
        assert_eq!(builder.len(), 0);
        builder.push_null();
        assert!(builder.finish().is_null(0));
    };
    check(SqlType::Int2, Value::Int4(40_000));
    check(SqlType::Int4, Value::Text("1".into()));
    check(SqlType::Oid, Value::Int4(-1));
    check(SqlType::Text, Value::Int4(1));
    check(SqlType::Float4, Value::Float8(1.0));
    check(SqlType::Numeric(Some((3, 0))), Value::Numeric(1_000, 0));
    check(SqlType::Numeric(Some((3, 1))), Value::Numeric(1_25, 2));
    check(SqlType::Interval, Value::Interval(Interval { months: 0, days: 0, micros: i64::MAX }));
    check(SqlType::Array(Box::new(SqlType::Int2)), Value::Array(vec![Value::Int2(1), Value::Int4(1 << 20)]));
    check(SqlType::Timestamp(None), Value::Timestamptz(0));
}

#[test]
fn what_fits_exactly_is_taken() {
    let check = |ty: SqlType, value: Value, want: Value| {
        let mut builder = ColumnBuilder::new(&ty, 1);
        builder.push(&value).unwrap();
        assert_eq!(builder.value(0), want);
    };
    check(SqlType::Int8, Value::Int2(3), Value::Int8(3));
    check(SqlType::Numeric(Some((5, 2))), Value::Int4(7), Value::Numeric(700, 2));
    check(SqlType::Numeric(Some((5, 2))), Value::Numeric(7_100, 3), Value::Numeric(710, 2));
    check(SqlType::Float8, Value::Float4(0.5), Value::Float8(0.5));
}

#[test]
fn other_forms_of_the_same_value_are_read() {
    let keys = Int32Array::from(vec![Some(1), None, Some(0)]);
    let values = arrow::array::StringArray::from(vec!["a", "b"]);
    let dictionary = DictionaryArray::<Int32Type>::new(keys, std::sync::Arc::new(values));
    assert_eq!(value_at(&dictionary, 0, &SqlType::Text), Value::Text("b".into()));
    assert_eq!(value_at(&dictionary, 1, &SqlType::Text), Value::Null);
    assert_eq!(value_at(&Int32Array::from(vec![5]), 0, &SqlType::Int8), Value::Int8(5));
    assert_eq!(value_at(&UInt64Array::from(vec![u64::MAX]), 0, &SqlType::Int8), Value::Numeric(u64::MAX.into(), 0));
    let seconds = arrow::array::TimestampSecondArray::from(vec![3]);
    assert_eq!(value_at(&seconds, 0, &SqlType::Timestamp(None)), Value::Timestamp(3_000_000));
}

#[test]
fn a_value_is_repeated() {
    let check = |value: Value, ty: SqlType| {
        let array = repeat(&value, &ty, 3).unwrap();
        assert_eq!((array.len(), array.data_type()), (3, &ty.arrow()));
        assert_eq!(value_at(&array, 2, &ty), value);
    };
    check(Value::Null, SqlType::Timestamptz(None));
    check(Value::Text("a string beyond twelve bytes".into()), SqlType::Text);
    check(Value::Array(vec![Value::Int4(1), Value::Null]), SqlType::Array(Box::new(SqlType::Int4)));
}

#[test]
fn a_batch_without_columns_keeps_its_count_of_rows() {
    assert_eq!(rows_to_batch(&[], &[vec![], vec![]]).unwrap().num_rows(), 2);
    assert!(matches!(rows_to_batch(&[], &[vec![Value::Null]]), Err(ValueError::Width { .. })));
}

#[test]
fn a_tail_of_strings_shares_its_full_blocks() {
    let mut builder = ColumnBuilder::new(&SqlType::Text, 0);
    let long = Value::Text("x".repeat(5_000));
    for _ in 0..20 {
        builder.push(&long).unwrap();
    }
    let (a, b) = (builder.finish_cloned(), builder.finish_cloned());
    use arrow::array::AsArray;
    let block = |array: &arrow::array::ArrayRef| array.as_string_view().data_buffers()[0].as_ptr();
    assert_eq!(block(&a), block(&b));
    assert!(builder.size_bytes() >= 100_000);
}
