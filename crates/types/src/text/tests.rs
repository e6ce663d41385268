//! Data tables: text in, text out, and the errors.

use super::*;

fn settings() -> OutputSettings {
    OutputSettings { now: Some(86_400_000_000 + 3_600_000_000), ..OutputSettings::DEFAULT }
}

fn check_with(ty: &SqlType, text: &str, want: &str, settings: &OutputSettings) {
    match parse_with(text, ty, settings) {
        Ok(value) => assert_eq!(format(&value, ty, settings), want, "{ty}: {text:?} is {value:?}"),
        Err(error) => assert_eq!(error.state().code(), want, "{ty}: {text:?}: {error}"),
    }
}

fn check(ty: &SqlType, cases: &[(&str, &str)]) {
    for (text, want) in cases {
        check_with(ty, text, want, &settings());
    }
}

#[test]
fn booleans() {
    check(
        &SqlType::Bool,
        &[
            ("t", "t"),
            ("TRUE", "t"),
            (" yes ", "t"),
            ("on", "t"),
            ("1", "t"),
            ("tru", "t"),
            ("f", "f"),
            ("of", "f"),
            ("off", "f"),
            ("n", "f"),
            ("0", "f"),
            ("o", "22P02"),
            ("", "22P02"),
            ("truex", "22P02"),
            ("2", "22P02"),
        ],
    );
}

#[test]
fn integers() {
    check(
        &SqlType::Int4,
        &[
            ("42", "42"),
            (" -42 ", "-42"),
            ("+7", "7"),
            ("0x1F", "31"),
            ("0b101", "5"),
            ("0o17", "15"),
            ("1_000", "1000"),
            ("2147483647", "2147483647"),
            ("-2147483648", "-2147483648"),
            ("2147483648", "22003"),
            ("1e3", "22P02"),
            ("", "22P02"),
            ("-", "22P02"),
            ("1__0", "22P02"),
            ("1_", "22P02"),
            ("_1", "22P02"),
            ("4.5", "22P02"),
            ("99999999999999999999999999999999999999999999999999", "22003"),
        ],
    );
    check(&SqlType::Int2, &[("-32768", "-32768"), ("32768", "22003")]);
    check(&SqlType::Int8, &[("9223372036854775807", "9223372036854775807"), ("9223372036854775808", "22003")]);
    check(&SqlType::Oid, &[("4294967295", "4294967295"), ("-1", "4294967295"), ("4294967296", "22003")]);
    let error = parse("x", &SqlType::Int4).unwrap_err();
    assert_eq!(error.message(), "invalid input syntax for type integer: \"x\"");
    let error = parse("99999999999", &SqlType::Int4).unwrap_err();
    assert_eq!(error.message(), "value \"99999999999\" is out of range for type integer");
}

#[test]
fn floats() {
    check(
        &SqlType::Float8,
        &[
            ("0", "0"),
            ("-0", "-0"),
            ("1", "1"),
            ("0.1", "0.1"),
            ("1e15", "1e+15"),
            ("123456789012345", "123456789012345"),
            ("100000000000000", "100000000000000"),
            ("1e-5", "1e-05"),
            ("0.0001", "0.0001"),
            ("1.5e300", "1.5e+300"),
            ("NaN", "NaN"),
            ("infinity", "Infinity"),
            ("-inf", "-Infinity"),
            ("1e400", "22003"),
            ("1e-400", "22003"),
            ("3.141592653589793", "3.141592653589793"),
            ("x", "22P02"),
            ("", "22P02"),
            (" 2.5 ", "2.5"),
            ("1234.5", "1234.5"),
        ],
    );
    check(
        &SqlType::Float4,
        &[("0.1", "0.1"), ("16777216", "1.6777216e+07"), ("123456", "123456"), ("1e6", "1e+06"), ("1e39", "22003")],
    );
    let rounded = OutputSettings { extra_float_digits: 0, ..OutputSettings::DEFAULT };
    check_with(&SqlType::Float8, "0.30000000000000004", "0.3", &rounded);
    check_with(&SqlType::Float8, "123456789012345678", "1.23456789012346e+17", &rounded);
}

#[test]
fn numerics() {
    check(
        &SqlType::Numeric(None),
        &[
            ("1.50", "1.50"),
            ("100", "100"),
            ("-0.001", "-0.001"),
            (".5", "0.5"),
            ("5.", "5"),
            ("1e3", "1000"),
            ("1.5e-3", "0.0015"),
            ("0", "0"),
            ("0.00", "0.00"),
            ("NaN", "NaN"),
            ("inf", "Infinity"),
            ("", "22P02"),
            ("1.12345678900", "1.12345678900"),
            ("9999999999999999999999999999999999999999999.5", "9999999999999999999999999999999999999999999.5"),
            ("1e131072", "22003"),
            ("1e-16384", "22003"),
            (".", "22P02"),
            ("1e", "22P02"),
            ("1x", "22P02"),
            ("12_345.5", "12345.5"),
            ("-", "22P02"),
            ("1e99999999999999999999", "22003"),
        ],
    );
    check(
        &SqlType::Numeric(Some((5, 2))),
        &[
            ("1.5", "1.50"),
            ("1.005", "1.01"),
            ("-1.005", "-1.01"),
            ("999.994", "999.99"),
            ("999.995", "22003"),
            ("0", "0.00"),
            ("-.001", "0.00"),
            ("1e-30", "0.00"),
            ("inf", "22003"),
            ("NaN", "22003"),
        ],
    );
    check(
        &SqlType::Numeric(Some((38, 0))),
        &[
            ("99999999999999999999999999999999999999", "99999999999999999999999999999999999999"),
            ("99999999999999999999999999999999999999.4", "99999999999999999999999999999999999999"),
            ("100000000000000000000000000000000000000", "22003"),
        ],
    );
    let error = parse("1000", &SqlType::Numeric(Some((5, 2)))).unwrap_err();
    assert_eq!(error.message(), "numeric field overflow");
    assert_eq!(
        error.fields().detail.as_deref(),
        Some("A field with precision 5, scale 2 must round to an absolute value less than 10^3.")
    );
}

#[test]
fn strings() {
    check(&SqlType::Text, &[("", ""), (" a ", " a "), ("a\0b", "22021")]);
    check(&SqlType::Varchar(Some(3)), &[("abc", "abc"), ("äöü", "äöü"), ("abc  ", "abc"), ("abcd", "22001")]);
    check(&SqlType::Char(4), &[("ab", "ab  "), ("abcd   ", "abcd"), ("abcde", "22001"), ("ä", "ä   ")]);
    assert_eq!(parse("ab  ", &SqlType::Char(4)).unwrap(), Value::Text("ab".into()));
    let error = parse("abcd", &SqlType::Varchar(Some(3))).unwrap_err();
    assert_eq!(error.message(), "value too long for type character varying(3)");
}

#[test]
fn bytes_and_uuids() {
    check(
        &SqlType::Bytea,
        &[
            ("\\x00fF", "\\x00ff"),
            ("\\x 00 ff", "\\x00ff"),
            ("abc", "\\x616263"),
            ("a\\\\b\\001", "\\x615c6201"),
            ("\\x0", "22023"),
            ("\\xzz", "22023"),
            ("\\9", "22P02"),
            ("\\400", "22P02"),
            ("", "\\x"),
        ],
    );
    let escape = OutputSettings { bytea_output: ByteaOutput::Escape, ..OutputSettings::DEFAULT };
    check_with(&SqlType::Bytea, "\\x615c00ff", "a\\\\\\000\\377", &escape);
    let uuid = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11";
    check(
        &SqlType::Uuid,
        &[
            (uuid, uuid),
            ("A0EEBC999C0B4EF8BB6D6BB9BD380A11", uuid),
            ("{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}", uuid),
            ("a0ee-bc99-9c0b-4ef8-bb6d-6bb9-bd38-0a11", uuid),
            ("a0eebc99", "22P02"),
            ("", "22P02"),
            ("{a0eebc999c0b4ef8bb6d6bb9bd380a11", "22P02"),
        ],
    );
}

#[test]
fn dates() {
    check(
        &SqlType::Date,
        &[
            ("2024-02-29", "2024-02-29"),
            ("2023-02-29", "22008"),
            ("1/8/1999", "1999-01-08"),
            ("1/18/99", "1999-01-18"),
            ("18.1.1999", "1999-01-18"),
            ("January 8, 1999", "1999-01-08"),
            ("8 Jan 1999", "1999-01-08"),
            ("Jan-08-1999", "1999-01-08"),
            ("08-Jan-99", "1999-01-08"),
            ("1999-Jan-08", "1999-01-08"),
            ("19990108", "1999-01-08"),
            ("990108", "1999-01-08"),
            ("1999-008", "1999-01-08"),
            ("J2451187", "1999-01-08"),
            ("0044-03-15 BC", "0044-03-15 BC"),
            ("January 8, 0099 BC", "0099-01-08 BC"),
            ("infinity", "infinity"),
            ("-infinity", "-infinity"),
            ("epoch", "1970-01-01"),
            ("today", "1970-01-02"),
            ("yesterday", "1970-01-01"),
            ("2024-13-01", "22008"),
            ("0000-01-01", "22008"),
            ("", "22007"),
            ("hello", "22007"),
            ("2024-01-01 10:00:00", "2024-01-01"),
            ("12345-01-01", "12345-01-01"),
            ("5874898-01-01", "22008"),
            ("2024-1-5", "2024-01-05"),
            ("13/1/2024", "22008"),
            ("4714-11-23 BC", "22008"),
            ("-", "22007"),
            ("1.2.3.4", "22007"),
        ],
    );
    let dmy = OutputSettings { date_order: DateOrder::Dmy, date_style: DateStyle::Sql, ..OutputSettings::DEFAULT };
    check_with(&SqlType::Date, "8/1/1999", "08/01/1999", &dmy);
}

#[test]
fn times() {
    check(
        &SqlType::Time(None),
        &[
            ("04:05:06.789", "04:05:06.789"),
            ("04:05", "04:05:00"),
            ("4:5", "04:05:00"),
            ("040506", "04:05:06"),
            ("04:05 PM", "16:05:00"),
            ("12:00 am", "00:00:00"),
            ("24:00:00", "24:00:00"),
            ("24:00:01", "22008"),
            ("23:59:60", "24:00:00"),
            ("25:00", "22008"),
            ("10:60", "22008"),
            ("04:05:06.1234567", "04:05:06.123457"),
            ("allballs", "00:00:00"),
            ("now", "01:00:00"),
            ("x", "22007"),
            ("2024-01-01 04:05:06", "04:05:06"),
        ],
    );
}

#[test]
fn timestamps() {
    check(
        &SqlType::Timestamp(None),
        &[
            ("2024-01-31 12:34:56.5", "2024-01-31 12:34:56.5"),
            ("2024-01-31T12:34:56Z", "2024-01-31 12:34:56"),
            ("2024-01-31", "2024-01-31 00:00:00"),
            ("20240131T123456", "2024-01-31 12:34:56"),
            ("2024-01-31 24:00", "2024-02-01 00:00:00"),
            ("2024-01-31 12:34:56+05", "2024-01-31 12:34:56"),
            ("Wed Jan 31 12:34:56 2024", "2024-01-31 12:34:56"),
            ("infinity", "infinity"),
            ("-infinity", "-infinity"),
            ("now", "1970-01-02 01:00:00"),
            ("294300-01-01", "22008"),
            ("2024-01-31 12:34:56 x", "22007"),
            ("0001-01-01 00:00:00 BC", "0001-01-01 00:00:00 BC"),
            ("12:00", "22007"),
            ("2024-02-30 00:00", "22008"),
            ("2024-01-31 23:59:59.9999999", "2024-02-01 00:00:00"),
        ],
    );
    check(
        &SqlType::Timestamptz(None),
        &[
            ("2024-01-31 12:34:56+02", "2024-01-31 10:34:56+00"),
            ("2024-01-31T12:34:56Z", "2024-01-31 12:34:56+00"),
            ("2024-01-31 12:34:56 +02:30", "2024-01-31 10:04:56+00"),
            ("2024-01-31 12:34:56-0330", "2024-01-31 16:04:56+00"),
            ("2024-07-01 12:00 Europe/Berlin", "2024-07-01 10:00:00+00"),
            ("2024-01-01 12:00 PST", "2024-01-01 20:00:00+00"),
            ("2024-01-01 12:00 Nowhere/Land", "22023"),
            ("2024-01-01 12:00+16", "22008"),
            ("epoch", "1970-01-01 00:00:00+00"),
            ("2024-01-31 12:34:56.123456789+00:00", "2024-01-31 12:34:56.123457+00"),
            ("infinity", "infinity"),
        ],
    );
    let berlin = OutputSettings { time_zone: TimeZone::parse("europe/berlin").unwrap(), ..OutputSettings::DEFAULT };
    for (text, want) in [
        ("2024-07-01 12:00", "2024-07-01 12:00:00+02"),
        ("2024-01-01 12:00Z", "2024-01-01 13:00:00+01"),
        ("2024-03-31 02:30", "2024-03-31 03:30:00+02"), // a time that does not exist
        ("2024-10-27 02:30", "2024-10-27 02:30:00+01"), // one that exists twice
    ] {
        check_with(&SqlType::Timestamptz(None), text, want, &berlin);
    }
    let postgres = OutputSettings { date_style: DateStyle::Postgres, ..berlin };
    check_with(&SqlType::Timestamptz(None), "2024-07-01 12:00", "Mon Jul 01 12:00:00 2024 CEST", &postgres);
    let kolkata = OutputSettings { time_zone: TimeZone::Fixed(19_800), ..OutputSettings::DEFAULT };
    check_with(&SqlType::Timestamptz(None), "2024-01-01 00:00Z", "2024-01-01 05:30:00+05:30", &kolkata);
}

#[test]
fn zones() {
    for (text, want) in [
        ("UTC", "UTC"),
        ("europe/berlin", "Europe/Berlin"),
        ("-3", "<-03>+03"),
        ("5.5", "<+05:30>-05:30"),
        ("GMT+3", "<-03>+03"),
        ("<+02>-02", "<+02>-02"),
        ("Z", "UTC"),
    ] {
        assert_eq!(TimeZone::parse(text).map(TimeZone::name).as_deref(), Some(want), "{text}");
    }
    for text in ["Nowhere", "", "GMT+99", "<x", "99"] {
        assert_eq!(TimeZone::parse(text), None, "{text}");
    }
}

#[test]
fn intervals() {
    check(
        &SqlType::Interval,
        &[
            ("1 year 2 mons 3 days 04:05:06.7", "1 year 2 mons 3 days 04:05:06.7"),
            ("1 day ago", "-1 days"),
            ("@ 1 minute", "00:01:00"),
            ("1-2", "1 year 2 mons"),
            ("-1-2 +3 -4:05:06", "-1 years -2 mons +3 days -04:05:06"),
            ("90", "00:01:30"),
            ("1.5 days", "1 day 12:00:00"),
            ("1.5 months", "1 mon 15 days"),
            ("1.5 years", "1 year 6 mons"),
            ("2 weeks", "14 days"),
            ("100 ms", "00:00:00.1"),
            ("1d2h3m4s", "1 day 02:03:04"),
            ("P1Y2M3DT4H5M6.7S", "1 year 2 mons 3 days 04:05:06.7"),
            ("PT36H", "36:00:00"),
            ("P0001-02-03T04:05:06", "1 year 2 mons 3 days 04:05:06"),
            ("-1 day +02:00", "-1 days +02:00:00"),
            ("0", "00:00:00"),
            ("3 4:05:06", "3 days 04:05:06"),
            ("", "22007"),
            ("1 fortnight", "22007"),
            ("P", "22007"),
            ("999999999999 years", "22015"),
            ("10:61", "22015"),
            ("1 century", "100 years"),
            ("-00:00:01", "-00:00:01"),
            ("99999999999999999999 s", "22015"),
            ("-0.5 s", "-00:00:00.5"),
            ("1 h 1 h", "02:00:00"),
        ],
    );
    let style = |interval_style| OutputSettings { interval_style, ..OutputSettings::DEFAULT };
    let text = "1 year 2 mons -3 days 04:05:06.7";
    check_with(&SqlType::Interval, text, "P1Y2M-3DT4H5M6.7S", &style(IntervalStyle::Iso8601));
    check_with(&SqlType::Interval, text, "+1-2 -3 +4:05:06.7", &style(IntervalStyle::SqlStandard));
    check_with(
        &SqlType::Interval,
        "1 year 3 days 01:00",
        "@ 1 year 3 days 1 hour",
        &style(IntervalStyle::PostgresVerbose),
    );
    check_with(&SqlType::Interval, "-1 s", "@ 1 sec ago", &style(IntervalStyle::PostgresVerbose));
    check_with(&SqlType::Interval, "0", "PT0S", &style(IntervalStyle::Iso8601));
    check_with(&SqlType::Interval, "3 days 1:00", "3 1:00:00", &style(IntervalStyle::SqlStandard));
}

#[test]
fn jsons() {
    check(
        &SqlType::Json,
        &[(" { \"a\" : 1 } ", " { \"a\" : 1 } "), ("{", "22P02"), ("", "22P02"), ("nul", "22P02"), ("[1,]", "22P02")],
    );
    check(
        &SqlType::Jsonb,
        &[
            ("{\"bb\":1,\"a\":[1,2, {}],\"a\":2}", "{\"a\": 2, \"bb\": 1}"),
            ("[ ]", "[]"),
            ("1.10", "1.10"),
            ("1e2", "100"),
            ("1.5e-3", "0.0015"),
            ("-0", "0"),
            ("\"\\u00e4\\n\\/\"", "\"ä\\n/\""),
            ("\"\\ud83d\\ude00\"", "\"😀\""),
            ("\"\\u0000\"", "22P05"),
            ("01", "22P02"),
            ("\"\\ud83d\"", "22P02"),
            ("true", "true"),
            ("truex", "22P02"),
            ("{\"a\" 1}", "22P02"),
            ("\"a\tb\"", "22P02"),
            ("1 2", "22P02"),
            (
                "12345678901234567890123456789012345678901234567890",
                "12345678901234567890123456789012345678901234567890",
            ),
            ("1e99999", "22003"),
        ],
    );
    check(&SqlType::Jsonb, &[(&"[".repeat(100_000), "54001")]);
}

#[test]
fn arrays() {
    let ints = SqlType::Array(Box::new(SqlType::Int4));
    check(
        &ints,
        &[
            ("{1,2,NULL}", "{1,2,NULL}"),
            (" { 1 , 2 } ", "{1,2}"),
            ("{}", "{}"),
            ("[1:2]={1,2}", "{1,2}"),
            ("[2:3]={1,2}", "0A000"),
            ("{{1},{2}}", "0A000"),
            ("{1,2", "22P02"),
            ("1,2", "22P02"),
            ("{1,}", "22P02"),
            ("{1} x", "22P02"),
            ("{x}", "22P02"),
            ("{,}", "22P02"),
        ],
    );
    let texts = SqlType::Array(Box::new(SqlType::Text));
    check(
        &texts,
        &[
            ("{a,\"b c\",\"\",\"NULL\",null}", "{a,\"b c\",\"\",\"NULL\",NULL}"),
            ("{a b}", "{\"a b\"}"),
            ("{\"q\\\"x\\\\\"}", "{\"q\\\"x\\\\\"}"),
            ("{\"a,b\"}", "{\"a,b\"}"),
            ("{\"a\"b}", "22P02"),
            ("{\"a", "22P02"),
        ],
    );
}

/// Whatever the bytes, an answer and no panic.
#[test]
fn garbage_is_refused() {
    let alphabet: Vec<char> = "0123456789-+:./ ,{}[]\"\\eETZPxNjanbcymdhs_<>ä\0".chars().collect();
    let types = [
        SqlType::Bool,
        SqlType::Int4,
        SqlType::Float8,
        SqlType::Numeric(None),
        SqlType::Numeric(Some((5, 2))),
        SqlType::Bytea,
        SqlType::Date,
        SqlType::Time(None),
        SqlType::Timestamp(None),
        SqlType::Timestamptz(None),
        SqlType::Interval,
        SqlType::Uuid,
        SqlType::Jsonb,
        SqlType::Char(2),
        SqlType::Array(Box::new(SqlType::Text)),
        SqlType::Array(Box::new(SqlType::Timestamptz(None))),
    ];
    let mut seed = 42u64;
    let mut next = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as usize
    };
    for _ in 0..60_000 {
        let length = next() % 24;
        let text: String = (0..length).map(|_| alphabet[next() % alphabet.len()]).collect();
        let ty = &types[next() % types.len()];
        if let Ok(value) = parse_with(&text, ty, &settings()) {
            // What was read reads back from what is written.
            let again = format(&value, ty, &settings());
            let back = parse_with(&again, ty, &settings());
            assert_eq!(back.map(|v| format(&v, ty, &settings())), Ok(again), "{ty}: {text:?}");
        }
    }
}
