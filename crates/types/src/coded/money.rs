//! `money`: a count of hundredths in 64 bits, as the locale `C` and that of the United States write it: `-$1,234.50`.

use super::CodedType;
use crate::error::{SqlError, SqlResult, SqlState};
use crate::text::invalid_syntax;

/// Hundredths in one.
const PARTS: i128 = 100;

/// The bytes that are kept of so many hundredths: big endian, with the sign's bit turned, so that they are in order.
#[must_use]
pub fn encode(hundredths: i64) -> Vec<u8> {
    (hundredths ^ i64::MIN).to_be_bytes().to_vec()
}

/// How many hundredths bytes stand for that are kept.
#[must_use]
pub fn decode(kept: &[u8]) -> i64 {
    kept.try_into().map_or(0, i64::from_be_bytes) ^ i64::MIN
}

/// Reads digits with at most one point, commas between them, a dollar sign, and a sign or parentheses for what is negative. What has
/// more than two places is rounded by the third.
pub(super) fn parse(text: &str) -> SqlResult<i64> {
    let bad = || invalid_syntax(CodedType::Money.name(), text);
    let mut negative = false;
    let mut rest = text.trim_ascii_start();
    rest = rest.strip_prefix('$').unwrap_or(rest).trim_ascii_start();
    if let Some(behind) = rest.strip_prefix(['-', '(']) {
        (negative, rest) = (true, behind);
    } else if let Some(behind) = rest.strip_prefix('+') {
        rest = behind;
    }
    rest = rest.trim_ascii_start();
    rest = rest.strip_prefix('$').unwrap_or(rest).trim_ascii_start();
    let mut hundredths: i128 = 0;
    let mut places = None;
    let mut digits = rest.char_indices();
    let end = loop {
        match digits.next() {
            Some((_, digit @ '0'..='9')) if places.is_none_or(|places| places < 2) => {
                hundredths = hundredths * 10 + i128::from(digit as u8 - b'0');
                places = places.map(|places| places + 1);
                if hundredths > i128::from(u64::MAX) {
                    return Err(out_of_range(text));
                }
            }
            Some((_, '.')) if places.is_none() => places = Some(0),
            Some((_, ',')) => {}
            Some((at, _)) => break at,
            None => break rest.len(),
        }
    };
    for _ in places.unwrap_or(0)..2 {
        hundredths *= 10;
    }
    let behind = rest.get(end..).unwrap_or_default();
    if behind.starts_with(|c: char| ('5'..='9').contains(&c)) {
        hundredths += 1;
    }
    for c in behind.trim_start_matches(|c: char| c.is_ascii_digit()).chars() {
        match c {
            '-' => negative = true,
            ')' | '+' | '$' => {}
            c if c.is_ascii_whitespace() => {}
            _ => return Err(bad()),
        }
    }
    i64::try_from(if negative { -hundredths } else { hundredths }).map_err(|_| out_of_range(text))
}

fn out_of_range(text: &str) -> SqlError {
    SqlError::new(SqlState::NumericValueOutOfRange, format!("value \"{text}\" is out of range for type money"))
}

pub(super) fn format(kept: &[u8]) -> String {
    let hundredths = i128::from(decode(kept));
    let digits = (hundredths.abs() / PARTS).to_string();
    let mut out = String::with_capacity(digits.len() * 4 / 3 + 6);
    if hundredths < 0 {
        out.push('-');
    }
    out.push('$');
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out.push_str(&format!(".{:02}", hundredths.abs() % PARTS));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts() {
        for (text, want) in [
            ("12", "$12.00"),
            ("$1,234.567", "$1,234.57"),
            ("-$5", "-$5.00"),
            ("$-3", "-$3.00"),
            ("3-", "-$3.00"),
            ("(3.005)", "-$3.01"),
            (" $ 12 ", "$12.00"),
            ("", "$0.00"),
            (".5", "$0.50"),
            ("0.004", "$0.00"),
            ("92233720368547758.07", "$92,233,720,368,547,758.07"),
            ("-92233720368547758.08", "-$92,233,720,368,547,758.08"),
        ] {
            assert_eq!(format(&encode(parse(text).unwrap())), want, "{text}");
        }
        let state = |text: &str| parse(text).unwrap_err().state().code();
        assert_eq!(state("abc"), "22P02");
        assert_eq!(state("1.2.3"), "22P02");
        assert_eq!(state("92233720368547758.08"), "22003");
        assert_eq!(state(&"9".repeat(100)), "22003");
    }

    #[test]
    fn bytes_are_in_order() {
        let all = [i64::MIN, -1, 0, 1, i64::MAX];
        assert!(all.iter().map(|n| encode(*n)).is_sorted());
        assert!(all.iter().all(|n| decode(&encode(*n)) == *n));
    }
}
