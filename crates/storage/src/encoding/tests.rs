//! Columns through bytes and back, of every type, and what damage does.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::types::Int32Type;
use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array, ListArray, StringViewArray, UInt64Array,
};
use arrow::buffer::NullBuffer;
use arrow::datatypes::DataType;
use perigee_types::{SqlType, Value};
use proptest::prelude::*;

use super::*;
use crate::arrow_value::tests::{array_of, same, typed_value};
use crate::arrow_value::value_at;

fn round_trip(column: &ArrayRef) -> (Bytes, ArrayRef) {
    let bytes = encode_column(column).unwrap();
    let back = decode_column(&bytes, column.data_type(), column.len()).unwrap();
    (bytes, back)
}

fn assert_same(a: &ArrayRef, b: &ArrayRef, ty: &SqlType) {
    assert_eq!(a.data_type(), b.data_type());
    assert_eq!(a.len(), b.len());
    assert_eq!(a.null_count(), b.null_count());
    for row in 0..a.len() {
        let (a, b) = (value_at(a, row, ty), value_at(b, row, ty));
        assert!(same(&a, &b), "{a:?} came back as {b:?} at {row}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn every_column_comes_back((ty, values) in typed_value(), from in 0usize..100, to in 0usize..100) {
        let column = array_of(&ty, &values);
        assert_same(&round_trip(&column).1, &column, &ty);
        let from = from.min(column.len());
        let sliced = column.slice(from, (column.len() - from).saturating_sub(to));
        assert_same(&round_trip(&sliced).1, &sliced, &ty);
    }

    #[test]
    fn statistics_bound_every_value((ty, values) in typed_value()) {
        let stats = stats(&array_of(&ty, &values));
        prop_assert_eq!(stats.null_count, values.iter().filter(|v| v.is_null()).count());
        for value in values.iter().filter(|v| !v.is_null()) {
            prop_assert!(stats.min.is_null() || stats.min.sql_cmp(value).is_some_and(|o| o.is_le()));
            prop_assert!(stats.max.is_null() || stats.max.sql_cmp(value).is_some_and(|o| o.is_ge()));
        }
    }

    #[test]
    fn a_flipped_bit_is_an_error((ty, values) in typed_value(), at in any::<prop::sample::Index>(), bit in 0u8..8) {
        let column = array_of(&ty, &values);
        let mut bytes = encode_column(&column).unwrap().to_vec();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        prop_assert!(decode_column(&bytes, column.data_type(), column.len()).is_err());
    }

    /// What a checksum cannot tell: bytes made to fit it. They may decode, but never panic or run out of memory.
    #[test]
    fn bytes_with_a_right_checksum_do_no_harm(
        (ty, values) in typed_value(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let column = array_of(&ty, &values);
        let mut bytes = encode_column(&column).unwrap().to_vec();
        bytes.truncate(bytes.len() - 4);
        for (at, byte) in &changes {
            let at = at.index(bytes.len());
            bytes[at] = *byte;
        }
        if changes.len() == 1 {
            bytes.truncate(cut.index(bytes.len()));
        }
        let crc = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
        if let Ok(back) = decode_column(&bytes, column.data_type(), column.len()) {
            prop_assert_eq!(back.len(), column.len());
        }
    }
}

#[test]
fn every_flipped_bit_of_one_column_is_an_error() {
    let column: ArrayRef =
        Arc::new((0..200).map(|n| (n % 7 != 0).then(|| format!("value {}", n % 11))).collect::<StringViewArray>());
    let bytes = encode_column(&column).unwrap();
    for bit in 0..bytes.len() * 8 {
        let mut bytes = bytes.to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(decode_column(&bytes, &DataType::Utf8View, 200).is_err(), "bit {bit}");
    }
    for end in 0..bytes.len() {
        assert!(decode_column(&bytes[..end], &DataType::Utf8View, 200).is_err(), "cut at {end}");
    }
}

#[test]
fn a_column_is_not_read_as_another() {
    let check = |column: ArrayRef, ty: DataType, rows| {
        let bytes = encode_column(&column).unwrap();
        assert!(matches!(decode_column(&bytes, &ty, rows), Err(EncodingError::Mismatch(_))), "{ty} {rows}");
    };
    check(Arc::new(Int64Array::from(vec![1, 2])), DataType::UInt64, 2);
    check(Arc::new(Int64Array::from(vec![1, 2])), DataType::Int64, 3);
    check(Arc::new(Int64Array::from(vec![1, 2])), SqlType::Timestamp(None).arrow(), 2);
    check(array_of(&SqlType::Timestamp(None), &[]), SqlType::Timestamptz(None).arrow(), 0);
    check(array_of(&SqlType::Numeric(Some((9, 2))), &[Value::Null]), SqlType::Numeric(Some((9, 3))).arrow(), 1);
    assert!(matches!(
        encode_column(&(Arc::new(arrow::array::Int8Array::from(vec![1])) as _)),
        Err(EncodingError::Unsupported(_))
    ));
    assert!(matches!(
        encode_column(&(Arc::new(UInt64Array::from(vec![0; ROWS_MAX + 1])) as _)),
        Err(EncodingError::TooLarge(_))
    ));
}

#[test]
fn a_full_column_of_the_greatest_size_comes_back() {
    let numbers: ArrayRef = Arc::new((0..ROWS_MAX as u64).map(|n| n * n).collect::<UInt64Array>());
    assert_eq!(&*round_trip(&numbers).1, &*numbers);
    let text: ArrayRef =
        Arc::new((0..ROWS_MAX).map(|n| Some(format!("row number {}", n / 5))).collect::<StringViewArray>());
    let (bytes, back) = round_trip(&text);
    assert_eq!(&*back, &*text);
    assert_eq!(bytes.len(), encode_column(&back).unwrap().len(), "what was decoded encodes alike");
}

#[test]
fn items_under_a_null_array_are_left_out() {
    let mut list = ListArray::from_iter_primitive::<Int32Type, _, _>(vec![
        Some(vec![Some(1), Some(2)]),
        Some(vec![Some(9), None]),
        Some(vec![None]),
        Some(vec![]),
    ]);
    let (field, offsets, values, _) = list.clone().into_parts();
    list = ListArray::new(field, offsets, values, Some(NullBuffer::from(vec![true, false, true, true])));
    let column: ArrayRef = Arc::new(list);
    let back = round_trip(&column).1;
    assert_eq!(&*back, &*column);
    assert_eq!(back.as_list::<i32>().values().len(), 3);
}

#[test]
fn few_values_take_little() {
    let check = |column: ArrayRef, bytes_max: usize| {
        let (bytes, back) = round_trip(&column);
        assert_eq!(&*back, &*column);
        assert!(bytes.len() <= bytes_max, "{} of {} take {} bytes", column.len(), column.data_type(), bytes.len());
    };
    check(Arc::new(Int64Array::from(vec![7; 8_192])), 40);
    check(Arc::new(Int64Array::from_iter_values(0..8_192)), 120);
    check(Arc::new(Int64Array::from(vec![None; 8_192])), 20);
    check(Arc::new(BooleanArray::from(vec![true; 8_192])), 60);
    check(Arc::new(StringViewArray::from(vec!["the same long text everywhere"; 8_192])), 100);
    let flags: StringViewArray = (0..8_192).map(|n| Some(["A", "N", "R"][n * n % 3])).collect();
    check(Arc::new(flags), 2_300);
}

#[test]
fn a_dictionary_shares_its_bytes() {
    let text = ["the first of two long values", "the second of two long values"];
    let column: ArrayRef = Arc::new((0..1_000).map(|n| Some(text[n % 2])).collect::<StringViewArray>());
    let back = round_trip(&column).1;
    let bytes: usize = back.as_string_view().data_buffers().iter().map(|b| b.len()).sum();
    assert_eq!(bytes, text[0].len() + text[1].len());
}

#[test]
fn statistics_follow_postgresqls_order() {
    let check = |values: Vec<f64>, min: f64, max: f64| {
        let stats = stats(&(Arc::new(Float64Array::from(values)) as ArrayRef));
        assert!(same(&stats.min, &Value::Float8(min)) && same(&stats.max, &Value::Float8(max)), "{stats:?}");
    };
    check(vec![1.0, f64::NAN, f64::NEG_INFINITY], f64::NEG_INFINITY, f64::NAN);
    check(vec![f64::NAN, f64::NAN], f64::NAN, f64::NAN);
    check(vec![0.0, -0.0], -0.0, 0.0);
    check(vec![0.0], -0.0, 0.0);
}

#[test]
fn long_text_is_cut_to_bounds() {
    let check = |text: String, max: Value| {
        let column: ArrayRef = Arc::new(StringViewArray::from(vec![text.as_str()]));
        let stats = stats(&column);
        assert_eq!(stats.max, max);
        assert!(stats.min.as_str().is_some_and(|min| text.starts_with(min) && min.len() <= STATS_BYTES_MAX));
    };
    check("x".repeat(64), Value::Text("x".repeat(64)));
    check("x".repeat(65), Value::Text("x".repeat(63) + "y"));
    check("ü".repeat(40), Value::Text("ü".repeat(31) + "ý"));
    check("x".repeat(60) + &"\u{10ffff}".repeat(9), Value::Text("x".repeat(59) + "y"));
    check("\u{10ffff}".repeat(99), Value::Null);
    check("\u{d7ff}".repeat(99), Value::Text("\u{d7ff}".repeat(20) + "\u{e000}"));
    let bytea = |byte| array_of(&SqlType::Bytea, &[Value::Bytea(vec![byte; 65])]);
    assert_eq!(stats(&bytea(0xff)).max, Value::Null);
    assert_eq!(stats(&bytea(0xfe)).min, Value::Bytea(vec![0xfe; 64]));
}

/// `cargo test -p perigee-storage --release -- --ignored --nocapture rates`
#[test]
#[ignore = "prints rates; slow without optimization"]
fn rates() {
    let mut seed = 1u64;
    let mut random = move || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        seed >> 33
    };
    const N: usize = 8_192;
    let words =
        ["carefully", "final", "deposits", "sleep", "quickly", "requests", "above", "the", "ironic", "accounts"];
    let mut comment = || (0..5).map(|_| words[random() as usize % 10]).collect::<Vec<_>>().join(" ");
    let comments: StringViewArray = (0..N).map(|_| Some(comment())).collect();
    let modes = ["MAIL", "AIR", "TRUCK", "RAIL", "SHIP", "FOB", "REG AIR"];
    let cases: Vec<(&str, ArrayRef)> = vec![
        ("ids, ascending i64", Arc::new(Int64Array::from_iter_values((0..N as i64).map(|n| n * 4)))),
        ("random i64 below 1e6", Arc::new(Int64Array::from_iter_values((0..N).map(|_| (random() % 1_000_000) as i64)))),
        (
            "prices, f64 of 2 decimals",
            Arc::new(Float64Array::from_iter_values((0..N).map(|_| (random() % 100_000) as f64 / 100.0))),
        ),
        (
            "random f64",
            Arc::new(Float64Array::from_iter_values((0..N).map(|_| f64::from_bits(random() << 20 ^ random())))),
        ),
        (
            "numeric(15,2)",
            array_of(
                &SqlType::Numeric(Some((15, 2))),
                &(0..N).map(|_| Value::Numeric((random() % 10_000_000).into(), 2)).collect::<Vec<_>>(),
            ),
        ),
        (
            "dates",
            array_of(
                &SqlType::Date,
                &(0..N).map(|_| Value::Date(8_000 + (random() % 2_500) as i32)).collect::<Vec<_>>(),
            ),
        ),
        (
            "timestamps, jittered",
            array_of(
                &SqlType::Timestamptz(None),
                &(0..N as i64)
                    .map(|n| Value::Timestamptz(n * 1_000_000 + (random() % 5_000) as i64))
                    .collect::<Vec<_>>(),
            ),
        ),
        ("text, 7 values", Arc::new((0..N).map(|_| Some(modes[random() as usize % 7])).collect::<StringViewArray>())),
        ("text, comments", Arc::new(comments)),
        (
            "uuid",
            array_of(
                &SqlType::Uuid,
                &(0..N)
                    .map(|_| Value::Uuid((u128::from(random()) << 64 | u128::from(random())).to_le_bytes()))
                    .collect::<Vec<_>>(),
            ),
        ),
        (
            "bool, a tenth null",
            Arc::new((0..N).map(|_| (random() % 10 != 0).then(|| random() % 2 == 0)).collect::<BooleanArray>()),
        ),
    ];
    println!(
        "{:28} {:>9} {:>7} {:>12} {:>12} {:>12}",
        "8,192 rows of", "bytes", "ratio", "encode MB/s", "decode MB/s", "Mrows/s"
    );
    for (name, column) in cases {
        let plain = column.get_array_memory_size().min(column.len() * 16 + column.get_buffer_memory_size());
        let plain = match column.data_type() {
            DataType::Utf8View => column.as_string_view().iter().flatten().map(|s| s.len() + 16).sum(),
            _ => plain,
        };
        let bytes = encode_column(&column).unwrap();
        let time = |f: &dyn Fn()| {
            let (start, mut n) = (Instant::now(), 0u32);
            while start.elapsed() < Duration::from_millis(300) {
                f();
                n += 1;
            }
            start.elapsed() / n
        };
        let encode = time(&|| drop(encode_column(&column).unwrap()));
        let decode = time(&|| drop(decode_column(&bytes, column.data_type(), column.len()).unwrap()));
        let rate = |t: Duration| plain as f64 / 1e6 / t.as_secs_f64();
        let ratio = plain as f64 / bytes.len() as f64;
        let rows = N as f64 / 1e6 / decode.as_secs_f64();
        println!(
            "{name:28} {:>9} {ratio:>7.1} {:>12.0} {:>12.0} {rows:>12.0}",
            bytes.len(),
            rate(encode),
            rate(decode)
        );
    }
}
