use super::*;
use crate::key;

fn number(text: &str) -> Numeric {
    Numeric::parse(text).unwrap_or_else(|e| panic!("{text}: {e}"))
}

#[test]
fn reads_and_writes() {
    for (text, want) in [
        ("2.50", "2.50"),
        (" -00.10 ", "-0.10"),
        ("1e5", "100000"),
        ("1.5e-3", "0.0015"),
        (".5", "0.5"),
        ("5.", "5"),
        ("1_000.2_5", "1000.25"),
        ("nan", "NaN"),
        ("-inf", "-Infinity"),
        ("+Infinity", "Infinity"),
        ("0e10", "0"),
        ("123456789012345678901234567890123456789012345678901234567890.5", ""),
    ] {
        assert_eq!(number(text).to_string(), if want.is_empty() { text } else { want }, "{text}");
    }
    for text in ["", "-", ".", "1e", "1x", "- 1", "1__0", "-nan", "1e5.5", "infinit"] {
        assert!(Numeric::parse(text).is_err(), "{text}");
    }
    assert!(Numeric::parse("1e131072").is_err() && Numeric::parse("1e-16384").is_err());
    assert_eq!(number("1e131071").to_string().len(), 131_072);
}

#[test]
fn computes_as_postgresql() {
    let check = |got: SqlResult<Numeric>, want: &str| match got {
        Ok(v) => assert_eq!(v.to_string(), want),
        Err(e) => assert_eq!(e.message(), want),
    };
    check(number("1.50").add(&number("2.5")), "4.00");
    check(number("1.50").multiply(&number("2.0")), "3.000");
    check(number("1").divide(&number("3")), "0.33333333333333333333");
    check(number("100").divide(&number("3")), "33.3333333333333333");
    check(number("1e20").divide(&number("7")), "14285714285714285714");
    check(number("7").divide(&number("0")), "division by zero");
    check(number("-7.5").remainder(&number("2")), "-1.5");
    check(number("2").sqrt(), "1.414213562373095");
    check(number("1").exp(), "2.7182818284590452");
    check(number("-1").exp(), "0.3678794411714423");
    check(number("2").ln(), "0.6931471805599453");
    check(number("1000").log(&number("10")), "3.0000000000000000");
    check(number("2").power(&number("0.5")), "1.4142135623730950");
    check(number("2").power(&number("100")), "1267650600228229401496703205376.0000000000000000");
    check(number("-2").power(&number("3")), "-8.0000000000000000");
    check(number("2").power(&number("-3")), "0.1250000000000000");
    check(number("0").power(&number("-1")), "zero raised to a negative power is undefined");
    check(Numeric::factorial(25), "15511210043330985984000000");
    check(Ok(number("2.45").round(1)), "2.5");
    check(Ok(number("-155").round(-1)), "-160");
    check(Ok(number("-1.1").toward(1)), "-1");
    check(Ok(number("-1.1").toward(-1)), "-2");
    check(Ok(number("2.500").trim_scale()), "2.5");
    check(number("330.0").lcm(&number("462")), "2310.0");
    check(Numeric::Infinity.add(&Numeric::NegativeInfinity), "NaN");
    check(number("999.995").fit(5, 2), "numeric field overflow");
    check(number("999.994").fit(5, 2), "999.99");
    check(number("15555").fit(3, -2), "15600");
}

#[test]
fn forms_keep_order_value_and_places() {
    let ascending = [
        "-Infinity",
        "-1e40000",
        "-123456789012345678901234567890123456789012",
        "-100.5",
        "-100",
        "-99.99",
        "-1",
        "-0.5",
        "-0.05",
        "-1e-16000",
        "0",
        "1e-16000",
        "0.05",
        "0.5",
        "1",
        "9.99",
        "10",
        "10.01",
        "99",
        "100",
        "100.5",
        "1e38",
        "1.0000000000000000000000000000000000000000001e38",
        "1e131071",
        "Infinity",
        "NaN",
    ];
    let form = |text: &str| {
        let mut out = Vec::new();
        encode(&number(text), &mut out);
        out
    };
    for pair in ascending.windows(2) {
        assert!(key_of(&form(pair[0])) < key_of(&form(pair[1])), "{pair:?}");
        assert!(number(pair[0]).compare(&number(pair[1])).is_lt(), "{pair:?}");
    }
    for text in
        ascending.iter().chain(&["2.50", "0.000", "-7.0", "1.230", "12345678901234567890123456789012345678.000"])
    {
        let bytes = form(text);
        assert_eq!(decode(&bytes).unwrap().to_string(), number(text).to_string());
        assert!(decode_key(key_of(&bytes)).unwrap().compare(&number(text)).is_eq(), "{text}");
    }
    assert_eq!(key_of(&form("2.0")), key_of(&form("2.00")));
    assert!(decode(&[]).is_none() && decode(&[9, 0, 0]).is_none() && decode(&[3, 1, 0]).is_none());
}

/// Each byte of a stored number may have changed on a disk.
#[test]
fn forms_of_no_number_are_refused() {
    let mut form = Vec::new();
    encode(&number("123.45"), &mut form);
    assert!(decode(&form).is_some());
    // A number of two million digits, and one as small.
    for exponent in [[0xff, 0xff, 0xff], [0, 0, 0], [0x11, 0, 1]] {
        let mut changed = form.clone();
        changed[1..4].copy_from_slice(&exponent);
        assert!(decode(&changed).is_none() && decode_key(key_of(&changed)).is_none(), "{exponent:?}");
    }
    let digits = [vec![3, 0x10, 0, 10], vec![0xff; 19], vec![0, 0, 0]].concat();
    assert!(decode(&digits).is_none());
    let digits = [vec![3, 0x10, 0, 2], vec![0; 3], vec![0, 0, 0]].concat();
    assert!(decode(&digits).is_none());
}

#[test]
fn keys_do_not_tell_places_apart() {
    let key = |value: Value| {
        let mut out = Vec::new();
        key::encode_value(&value, &mut out);
        out
    };
    assert_eq!(key(Value::Numeric(20, 1)), key(Value::Numeric(2_000, 3)));
    assert!(key(Value::Numeric(-1, 2)) < key(Value::Numeric(1, 20)));
    assert!(key(Value::Numeric(1, 0)) < key(number("1e60").into_value()));
    assert!(key(number("NaN").into_value()) < key(Value::Null));
}

#[test]
fn groups_of_four_come_back() {
    for text in ["0", "0.00", "12345.678", "-0.0001", "10000", "1e50", "123456789.000"] {
        let wire = WireNumeric::of(&number(text)).unwrap();
        assert_eq!(wire.number().to_string(), number(text).to_string(), "{text}");
    }
    let wire = WireNumeric::of(&number("12345.678")).unwrap();
    assert_eq!(wire, WireNumeric { negative: false, weight: 1, scale: 3, groups: vec![1, 2345, 6780] });
}

#[test]
fn sums_are_exact_whatever_their_size() {
    let mut sum = NumericSum::default();
    for text in ["1e37", "9e37", "9e37", "0.05", "-1e60", "1e60", "1.5"] {
        sum.add(&number(text));
    }
    assert_eq!(sum.total().unwrap().to_string(), "190000000000000000000000000000000000001.55");
    sum.add(&Numeric::Infinity);
    assert_eq!(sum.total().unwrap().to_string(), "Infinity");
    sum.add(&Numeric::NegativeInfinity);
    assert!(sum.total().unwrap().is_nan());
}
