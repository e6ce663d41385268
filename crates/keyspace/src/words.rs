//! Lines of words: commands of people with `nc`, the first lines of libraries.

use bytes::Bytes;

/// The words of a line, quoted as Redis wants it; `None` where a quote is not closed or something follows it at once.
///
/// Double quotes hold `\n \r \t \b \a \xHH` and any other character behind a backslash; single quotes hold `\'`.
#[must_use]
pub fn split(line: &[u8]) -> Option<Vec<Bytes>> {
    let mut words = Vec::new();
    let mut rest = line;
    loop {
        let start = rest.iter().position(|byte| !is_space(*byte)).unwrap_or(rest.len());
        rest = &rest[start..];
        if rest.is_empty() {
            return Some(words);
        }
        let (word, after) = word(rest)?;
        words.push(Bytes::from(word));
        rest = after;
    }
}

/// What C's `isspace` says.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)
}

/// One word, and what follows it.
fn word(mut rest: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut word = Vec::new();
    loop {
        match rest {
            [] | [b' ' | b'\n' | b'\r' | b'\t' | 0, ..] => return Some((word, rest.get(1..).unwrap_or_default())),
            [quote @ (b'"' | b'\''), after @ ..] => {
                let after = quoted(after, *quote, &mut word)?;
                return match after {
                    [] => Some((word, after)),
                    [next, ..] if is_space(*next) => Some((word, after)),
                    _ => None,
                };
            }
            [byte, after @ ..] => {
                word.push(*byte);
                rest = after;
            }
        }
    }
}

/// Reads to the closing quote; what follows it.
fn quoted<'a>(mut rest: &'a [u8], quote: u8, word: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        match rest {
            [] => return None,
            [b'\\', b'x', high, low, after @ ..]
                if quote == b'"' && high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                word.push(digit(*high) << 4 | digit(*low));
                rest = after;
            }
            [b'\\', escaped, after @ ..] if quote == b'"' => {
                word.push(match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 0x08,
                    b'a' => 0x07,
                    other => *other,
                });
                rest = after;
            }
            [b'\\', b'\'', after @ ..] if quote == b'\'' => {
                word.push(b'\'');
                rest = after;
            }
            [byte, after @ ..] if *byte == quote => return Some(after),
            [byte, after @ ..] => {
                word.push(*byte);
                rest = after;
            }
        }
    }
}

fn digit(byte: u8) -> u8 {
    match byte {
        b'0'..=b'9' => byte - b'0',
        other => (other | 0x20).wrapping_sub(b'a').wrapping_add(10),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_divided_as_redis_divides_them() {
        let check = |line: &str, want: Option<&[&str]>| {
            let want = want.map(|words| words.iter().map(|word| Bytes::from(word.to_string())).collect::<Vec<_>>());
            assert_eq!(split(line.as_bytes()), want, "{line}");
        };
        check("", Some(&[]));
        check("  PING \t x ", Some(&["PING", "x"]));
        check(r#"SET "a b" 'c d'"#, Some(&["SET", "a b", "c d"]));
        check(r#""\x41\n\q\"" 'it\'s\n'"#, Some(&["A\nq\"", "it's\\n"]));
        check(r#"a"b""#, Some(&["ab"]));
        check(r#""""#, Some(&[""]));
        check(r#""\xZZ""#, Some(&["xZZ"]));
        for wrong in [r#"""#, r#""a"b"#, "'", "'a'b", r#""\"#, r#"a"b"c"#] {
            check(wrong, None);
        }
    }
}
