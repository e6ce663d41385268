//! Numbers as C's `printf` writes them.

/// `%.{digits}g`
pub(super) fn format_g(value: f64, digits: usize) -> String {
    if value.is_nan() {
        return if value.is_sign_negative() { "-nan".to_owned() } else { "nan".to_owned() };
    }
    if value.is_infinite() {
        return if value < 0.0 { "-inf".to_owned() } else { "inf".to_owned() };
    }
    if value == 0.0 {
        return if value.is_sign_negative() { "-0".to_owned() } else { "0".to_owned() };
    }
    let digits = digits.max(1);
    let scientific = format!("{value:.*e}", digits - 1);
    let Some((mantissa, exponent)) = scientific.split_once('e') else { return scientific };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let trimmed = |text: &str| {
        if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text.to_owned() }
    };
    if exponent < -4 || exponent >= digits as i32 {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{}e{sign}{:02}", trimmed(mantissa), exponent.unsigned_abs());
    }
    let decimals = (digits as i32 - 1 - exponent).max(0) as usize;
    trimmed(&format!("{value:.decimals$}"))
}

/// A float as an integer, as C converts it on the machines that Redis runs on.
pub(super) fn to_integer(value: f64) -> i64 {
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    if (-LIMIT..LIMIT).contains(&value) { value as i64 } else { i64::MIN }
}

#[cfg(test)]
mod tests {
    use super::format_g;

    #[test]
    fn numbers_are_written_as_c_writes_them() {
        let check = |value, digits, want| assert_eq!(format_g(value, digits), want);
        check(0.1, 17, "0.10000000000000001");
        check(1e20, 17, "1e+20");
        check(123_456_789_012.0, 17, "123456789012");
        check(3.25, 14, "3.25");
        check(1e15, 14, "1e+15");
        check(9_007_199_254_740_993.0, 14, "9.007199254741e+15");
        check(0.0001, 14, "0.0001");
        check(0.00001, 14, "1e-05");
        check(-2.5, 14, "-2.5");
        check(100.0, 14, "100");
        check(99_999_999_999_999.9, 14, "1e+14");
    }
}
