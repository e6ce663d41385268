//! COPY data in and out, as tables; cut into messages anywhere.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::record_batch::RecordBatch;
use perigee_engine::RowBlock;
use perigee_plan::ResultColumn;
use perigee_plan::command::CopyFormat;
use perigee_types::text::OutputSettings;
use perigee_types::{SqlType, Value};

use super::*;
use crate::rows::cell::Cell;

fn format(kind: CopyKind) -> CopyFormat {
    let csv = kind == CopyKind::Csv;
    CopyFormat {
        kind,
        delimiter: if csv { b',' } else { b'\t' },
        null: if csv { "" } else { "\\N" }.to_owned(),
        header: false,
        quote: b'"',
        escape: b'"',
        force_quote: vec![],
        force_not_null: vec![],
        force_null: vec![],
    }
}

fn copy(format: CopyFormat, types: &[SqlType]) -> CopyIn {
    let columns = types.iter().enumerate().map(|(i, ty)| (format!("c{i}"), ty.clone())).collect::<Vec<_>>();
    CopyIn { format, table: "t".into(), columns: columns.into() }
}

/// Feeds the data in pieces of `piece` bytes; rows as text, `∅` for NULL, or the error's state, message and context.
fn decode(copy: &CopyIn, data: &[u8], piece: usize) -> Result<Vec<Vec<String>>, String> {
    let mut decoder = CopyDecoder::new(copy.clone(), OutputSettings::DEFAULT, binary::decode);
    let mut batches = Vec::new();
    let mut feed = || {
        for message in data.chunks(piece) {
            let mut rest = message;
            while !rest.is_empty() {
                rest = decoder.feed(rest)?;
                if decoder.is_full() {
                    batches.extend(decoder.batch()?);
                }
            }
        }
        decoder.end()?;
        batches.extend(decoder.batch()?);
        SqlResult::Ok(())
    };
    feed().map_err(|error| {
        let context = error.fields().context.clone().unwrap_or_default();
        format!("{} {} / {context}", error.state().code(), error.message())
    })?;
    Ok(batches.iter().flat_map(|batch| rows(batch, copy)).collect())
}

fn rows(batch: &RecordBatch, copy: &CopyIn) -> Vec<Vec<String>> {
    let cell = |array: &ArrayRef, ty: &SqlType, row: usize| {
        let cell = Cell::new(array, ty).unwrap();
        if cell.is_null(row) {
            return "∅".to_owned();
        }
        let mut out = Vec::new();
        cell.text(&mut out, row, ty, &OutputSettings::DEFAULT, &mut Vec::new());
        String::from_utf8(out).unwrap()
    };
    let row = |row| batch.columns().iter().zip(copy.columns.iter()).map(|(a, (_, ty))| cell(a, ty, row)).collect();
    (0..batch.num_rows()).map(row).collect()
}

/// `want`: rows divided by `;`, fields by `|`, or the error.
fn check(format: &CopyFormat, types: &[SqlType], data: &[u8], want: &str) {
    let copy = copy(format.clone(), types);
    for piece in [1, 2, 3, 7, usize::MAX] {
        let got = match decode(&copy, data, piece.min(data.len().max(1))) {
            Ok(rows) => rows.iter().map(|r| r.join("|")).collect::<Vec<_>>().join(";"),
            Err(error) => error,
        };
        assert_eq!(got, want, "{:?} in pieces of {piece}", data.escape_ascii().to_string());
    }
}

#[test]
fn text_in() {
    let text = format(CopyKind::Text);
    let two = [SqlType::Int4, SqlType::Text];
    for (data, want) in [
        (&b"1\ta\n2\tb\n"[..], "1|a;2|b"),
        (b"1\ta", "1|a"),
        (b"1\t\\N\n", "1|∅"),
        (b"\\N\t\n", "∅|"),
        (b"1\ta\\tb\\\\c\\nd\\x41\\101\\q\n", "1|a\tb\\c\ndAAq"),
        (b"1\ta\\\nb\n2\tc\n", "1|a\nb;2|c"),
        (b"1\ta\\\\\n2\tc\n", "1|a\\;2|c"),
        (b"1\ta\r\n2\tb\r\n", "1|a;2|b"),
        (b"1\ta\n\\.\nrubbish\n", "1|a"),
        ("1\tä\n".as_bytes(), "1|ä"),
        (b"", ""),
        (b"1\n", "22P04 missing data for column \"c1\" / COPY t, line 1: \"1\""),
        (b"x\n", "22P02 invalid input syntax for type integer: \"x\" / COPY t, line 1, column c0: \"x\""),
        (b"1\ta\n2\tb\tc\n", "22P04 extra data after last expected column / COPY t, line 2: \"2\tb\tc\""),
        (b"1\ta\nx\tb\n", "22P02 invalid input syntax for type integer: \"x\" / COPY t, line 2, column c0: \"x\""),
        (b"1\t\xff\n", "22021 invalid byte sequence for encoding \"UTF8\": 0xff / COPY t, line 1"),
        (
            b"1\t\\xff\n",
            "22021 invalid byte sequence for encoding \"UTF8\": 0xff / COPY t, line 1, column c1: \"\u{fffd}\"",
        ),
        (
            b"99999999999\ta\n",
            "22003 value \"99999999999\" is out of range for type integer / COPY t, line 1, column c0: \"99999999999\"",
        ),
    ] {
        check(&text, &two, data, want);
    }
    let piped = CopyFormat { delimiter: b'|', null: "null".into(), header: true, ..text };
    check(&piped, &two, b"c0|c1\n1|a\\|b\n2|null\n", "1|a|b;2|∅");
    check(&piped, &[SqlType::Numeric(Some((15, 2)))], b"h\n1.5\n-0.005\n.1\n1e3\n", "1.50;-0.01;0.10;1000.00");
    check(&piped, &[], b"h\n\n\n", ";");
}

#[test]
fn every_type_in() {
    let text = CopyFormat { delimiter: b'|', ..format(CopyKind::Text) };
    for (ty, value) in [
        (SqlType::Bool, "t"),
        (SqlType::Int2, "-3"),
        (SqlType::Int8, "9223372036854775807"),
        (SqlType::Oid, "7"),
        (SqlType::Float4, "1.5"),
        (SqlType::Float8, "NaN"),
        (SqlType::Numeric(None), "12.5"),
        (SqlType::Varchar(Some(3)), "abc"),
        (SqlType::Char(3), "a  "),
        (SqlType::Date, "2024-02-29"),
        (SqlType::Time(None), "01:02:03.5"),
        (SqlType::Timestamp(None), "2024-02-29 01:02:03"),
        (SqlType::Timestamptz(None), "2024-02-29 01:02:03+00"),
        (SqlType::Interval, "1 mon 02:00:00"),
        (SqlType::Uuid, "01010101-0101-0101-0101-010101010101"),
        (SqlType::Json, "{ }"),
        (SqlType::Jsonb, "{\"a\": 1}"),
        (SqlType::Array(Box::new(SqlType::Int4)), "{1,NULL}"),
        (SqlType::Array(Box::new(SqlType::Text)), "{a,\"b c\"}"),
    ] {
        let lines = format!("{value}\n\\N\n{value}\n");
        check(&text, std::slice::from_ref(&ty), lines.as_bytes(), &format!("{value};∅;{value}"));
    }
    check(&text, &[SqlType::Bytea], b"\\\\x00ff\n", "\\x00ff");
}

#[test]
fn csv_in() {
    let csv = format(CopyKind::Csv);
    let two = [SqlType::Int4, SqlType::Text];
    for (data, want) in [
        (&b"1,a\n2,b\n"[..], "1|a;2|b"),
        (b"1,\n2,\"\"\n", "1|∅;2|"),
        (b"1,\"a,b\"\n", "1|a,b"),
        (b"1,\"a\nb\"\n2,c\n", "1|a\nb;2|c"),
        (b"1,\"a\"\"b\"\n", "1|a\"b"),
        (b"1,a\"b,c\"d\n", "1|ab,cd"),
        (b"1,\"a\r\nb\"\r\n2,c\r\n", "1|a\r\nb;2|c"),
        (b"1,a\n\\.\nx", "1|a"),
        (b"1,a\\tb\n", "1|a\\tb"),
        (b"1,\"a\n", "22P04 unterminated CSV quoted field / COPY t, line 1: \"1,\"a\n\""),
        (b"1,\"a\nb\"\nx,c\n", "22P02 invalid input syntax for type integer: \"x\" / COPY t, line 3, column c0: \"x\""),
        (b"1\n", "22P04 missing data for column \"c1\" / COPY t, line 1: \"1\""),
        (b"x\n", "22P02 invalid input syntax for type integer: \"x\" / COPY t, line 1, column c0: \"x\""),
    ] {
        check(&csv, &two, data, want);
    }
    let escaped = CopyFormat { escape: b'\\', header: true, ..csv.clone() };
    check(&escaped, &two, b"a,b\n1,\"a\\\"b\\\\c\\d\"\n2,\"x\\\"\n\"\n", "1|a\"b\\c\\d;2|x\"\n");
    let forced = CopyFormat { force_not_null: vec![1], ..csv.clone() };
    check(&forced, &two, b"1,\n", "1|");
    let forced = CopyFormat { force_null: vec![1], ..csv };
    check(&forced, &two, b"1,\"\"\n", "1|∅");
}

fn binary_data(tuples: &[u8]) -> Vec<u8> {
    let mut data = perigee_copy::SIGNATURE.to_vec();
    data.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 2, 9, 9]);
    data.extend_from_slice(tuples);
    data
}

#[test]
fn binary_in() {
    let binary = format(CopyKind::Binary);
    let two = [SqlType::Int4, SqlType::Text];
    let row = b"\0\x02\0\0\0\x04\0\0\0\x07\0\0\0\x01a";
    let with = |tail: &[u8]| binary_data(&[&row[..], tail].concat());
    check(&binary, &two, &with(b"\xff\xff"), "7|a");
    check(&binary, &two, &with(b"\0\x02\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"), "7|a;∅|∅");
    check(&binary, &two, &with(b"\xff\xffx"), "22P04 received copy data after EOF marker / COPY t, line 2");
    check(&binary, &two, &with(b"\0\x03"), "22P04 row field count is 3, expected 2 / COPY t, line 2");
    check(&binary, &two, &with(b"\0\x02\0\0"), "22P04 unexpected EOF in COPY data / COPY t, line 1");
    check(
        &binary,
        &two,
        &with(b"\0\x02\0\0\0\x02\0\0\0\0\0\0"),
        "08P01 insufficient data left in message / COPY t, line 2, column c0",
    );
    check(&binary, &two, &with(b"\0\x02\xff\xff\xff\xfe"), "22P04 invalid field size / COPY t, line 2, column c0");
    check(&binary, &two, b"PGCOPX", "22P04 COPY file signature not recognized / COPY t, line 1");
    check(&binary, &two, b"PGC", "22P04 COPY file signature not recognized / COPY t, line 1");
}

#[test]
fn batches_are_bounded() {
    let copy = copy(format(CopyKind::Text), &[SqlType::Int4]);
    let data: Vec<u8> = (0..20_000).flat_map(|i| format!("{i}\n").into_bytes()).collect();
    let mut decoder = CopyDecoder::new(copy, OutputSettings::DEFAULT, binary::decode);
    let rest = decoder.feed(&data).unwrap();
    assert!(decoder.is_full() && !rest.is_empty());
    let batch = decoder.batch().unwrap().unwrap();
    assert_eq!(batch.num_rows(), 8_192);
    assert_eq!(batch.column(0).as_primitive::<arrow::datatypes::Int32Type>().value(8_191), 8_191);
    assert_eq!(batch.column(0).null_count(), 0);
}

#[test]
fn errors_of_a_batch_name_the_line() {
    let csv = CopyFormat { header: true, ..format(CopyKind::Csv) };
    let mut decoder = CopyDecoder::new(copy(csv, &[SqlType::Text]), OutputSettings::DEFAULT, binary::decode);
    decoder.feed(b"head\n1\n\"2\n2\"\n3\n").unwrap();
    decoder.batch().unwrap();
    let context = |row| {
        let error = decoder.in_batch(SqlError::new(SqlState::NotNullViolation, "x"), row);
        error.fields().context.clone().unwrap_or_default()
    };
    assert_eq!(context(Some(0)), "COPY t, line 2");
    assert_eq!(context(Some(1)), "COPY t, line 4", "the last line of a record");
    assert_eq!(context(Some(2)), "COPY t, line 5");
    assert_eq!(context(None), "COPY t, line 5");
}

/// What is written reads back the same, in every format and from values and batches alike.
#[test]
fn out_and_in_again() {
    let types = [SqlType::Int4, SqlType::Text, SqlType::Array(Box::new(SqlType::Text))];
    let columns: Vec<ResultColumn> = types
        .iter()
        .map(|ty| ResultColumn { name: "a,b".into(), ty: ty.clone(), source: None, vector: false })
        .collect();
    let text = |s: &str| Value::Text(s.into());
    let values = vec![
        vec![Value::Int4(1), text("plain"), Value::Array(vec![text("x"), Value::Null])],
        vec![Value::Null, text("a\tb\nc\\d\"e,f|g\r"), Value::Null],
        vec![Value::Int4(3), text(""), Value::Array(vec![text("\"q\" \\")])],
        vec![Value::Int4(4), text("\\N"), Value::Array(vec![])],
        vec![Value::Int4(5), text("\\."), Value::Null],
    ];
    for format in [
        format(CopyKind::Text),
        CopyFormat { delimiter: b'|', header: true, ..format(CopyKind::Text) },
        CopyFormat { header: true, ..format(CopyKind::Csv) },
        CopyFormat { force_quote: vec![0, 1], escape: b'\\', ..format(CopyKind::Csv) },
        format(CopyKind::Binary),
    ] {
        let copy = copy(format.clone(), &types);
        let data = written(&format, &columns, &RowBlock::Values(values.clone()));
        let mut decoder = CopyDecoder::new(copy.clone(), OutputSettings::DEFAULT, binary::decode);
        assert!(decoder.feed(&data).unwrap().is_empty());
        decoder.end().unwrap();
        let batch = decoder.batch().unwrap().unwrap();
        let got = rows(&batch, &copy);
        let want: Vec<Vec<String>> = values
            .iter()
            .map(|row| {
                let cell = |(v, ty): (&Value, &SqlType)| {
                    if v.is_null() {
                        "∅".to_owned()
                    } else {
                        perigee_types::text::format(v, ty, &OutputSettings::DEFAULT)
                    }
                };
                row.iter().zip(&types).map(cell).collect()
            })
            .collect();
        assert_eq!(got, want, "{format:?}");
        assert_eq!(written(&format, &columns, &RowBlock::Batch(batch)), data, "{format:?}");
    }
}

/// Clients read rows message by message: the header is part of the first row's, the trailer stands alone.
#[test]
fn a_binary_message_is_a_row() {
    let columns = [ResultColumn { name: "a".into(), ty: SqlType::Int2, source: None, vector: false }];
    let lengths = |rows: Vec<perigee_types::Row>| {
        let mut encoder = CopyEncoder::new(format(CopyKind::Binary), &columns, OutputSettings::DEFAULT);
        let mut out = Vec::new();
        encoder.header(&mut out);
        encoder.block(&mut out, &RowBlock::Values(rows), 0, usize::MAX).unwrap();
        encoder.trailer(&mut out);
        let (mut lengths, mut at) = (Vec::new(), 0);
        while at < out.len() {
            let length = u32::from_be_bytes(out[at + 1..at + 5].try_into().unwrap()) as usize;
            lengths.push(length - 4);
            at += 1 + length;
        }
        lengths
    };
    let (header, row, trailer) = (19, 8, 2);
    assert_eq!(lengths(vec![vec![Value::Int2(1)], vec![Value::Int2(2)]]), [header + row, row, trailer]);
    assert_eq!(lengths(vec![]), [header + trailer]);
}

/// The data of all CopyData messages.
fn written(format: &CopyFormat, columns: &[ResultColumn], block: &RowBlock) -> Vec<u8> {
    let mut encoder = CopyEncoder::new(format.clone(), columns, OutputSettings::DEFAULT);
    let mut out = Vec::new();
    encoder.header(&mut out);
    let mut row = 0;
    while row < block.row_count() {
        row = encoder.block(&mut out, block, row, usize::MAX).unwrap();
    }
    encoder.trailer(&mut out);
    let (mut data, mut at) = (Vec::new(), 0);
    while at < out.len() {
        assert_eq!(out[at], b'd');
        let length = u32::from_be_bytes(out[at + 1..at + 5].try_into().unwrap()) as usize;
        data.extend_from_slice(&out[at + 5..at + 1 + length]);
        at += 1 + length;
    }
    data
}

#[test]
fn random_data_is_no_danger() {
    let types = [SqlType::Text, SqlType::Int4, SqlType::Array(Box::new(SqlType::Text))];
    let mut seed = 11u64;
    let mut next = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as u8
    };
    for kind in [CopyKind::Text, CopyKind::Csv, CopyKind::Binary] {
        let copy = copy(format(kind), &types);
        for _ in 0..4_000 {
            let length = usize::from(next() % 60);
            let mut data: Vec<u8> = if kind == CopyKind::Binary { binary_data(b"\0\x03") } else { Vec::new() };
            data.extend((0..length).map(|_| b"\t\n\\\",\"N.\r1a{}\0\xff\x03x"[usize::from(next()) % 17]));
            let whole = decode(&copy, &data, data.len().max(1));
            let pieces = decode(&copy, &data, usize::from(next() % 5) + 1);
            assert_eq!(whole.is_ok(), pieces.is_ok(), "{:?}", data.escape_ascii().to_string());
            if let (Ok(whole), Ok(pieces)) = (whole, pieces) {
                assert_eq!(whole, pieces);
            }
        }
    }
}

/// Not a test of correctness: `cargo test --release -- --ignored --nocapture speed` prints MB/s.
#[test]
#[ignore = "a measurement"]
fn speed_of_lineitem_text() {
    let money = SqlType::Numeric(Some((15, 2)));
    let types = [
        SqlType::Int8,
        SqlType::Int8,
        SqlType::Int8,
        SqlType::Int4,
        money.clone(),
        money.clone(),
        money.clone(),
        money,
        SqlType::Char(1),
        SqlType::Char(1),
        SqlType::Date,
        SqlType::Date,
        SqlType::Date,
        SqlType::Char(25),
        SqlType::Char(10),
        SqlType::Varchar(Some(44)),
    ];
    let line = b"1|155190|7706|1|17|21168.23|0.04|0.02|N|O|1996-03-13|1996-02-12|1996-03-22|DELIVER IN PERSON|TRUCK|egular courts above the\n";
    let data: Vec<u8> = line.repeat(400_000);
    let copy = copy(CopyFormat { delimiter: b'|', ..format(CopyKind::Text) }, &types);
    let mut decoder = CopyDecoder::new(copy, OutputSettings::DEFAULT, binary::decode);
    let start = std::time::Instant::now();
    for message in data.chunks(8192) {
        let mut rest = message;
        while !rest.is_empty() {
            rest = decoder.feed(rest).unwrap();
            if decoder.is_full() {
                decoder.batch().unwrap();
            }
        }
    }
    println!("{:.0} MB/s", data.len() as f64 / 1e6 / start.elapsed().as_secs_f64());
}
