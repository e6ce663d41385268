//! Patterns of KEYS, SCAN and PSUBSCRIBE: `*`, `?`, `[a-z]`, `[^a]`, `\` before a plain character.

/// Redis does not look further than behind so many stars: nothing matches.
const STARS_MAX: usize = 1_000;

/// Whether the whole of `text` matches.
#[must_use]
pub fn matches(pattern: &[u8], text: &[u8]) -> bool {
    matches_case(pattern, text, false)
}

/// The same; `any_case`: letters match in either case.
#[must_use]
pub fn matches_case(pattern: &[u8], text: &[u8], any_case: bool) -> bool {
    // Only the last star has to give more: what stands before it has found its first place. So this takes time in
    // proportion to both lengths multiplied, at most.
    let (mut p, mut t, mut star, mut stars) = (0, 0, None, 0);
    while t < text.len() {
        if pattern.get(p) == Some(&b'*') {
            star = Some((p + 1, t));
            p += 1;
            stars += usize::from(pattern.get(p).is_some_and(|next| *next != b'*'));
            if stars > STARS_MAX {
                return false;
            }
            continue;
        }
        match one(&pattern[p..], text[t], any_case) {
            Some(used) => (p, t) = (p + used, t + 1),
            None => match star {
                Some((behind, from)) => {
                    (p, t) = (behind, from + 1);
                    star = Some((behind, from + 1));
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

/// How many bytes of the pattern match one byte; `None` when it does not.
fn one(pattern: &[u8], byte: u8, any_case: bool) -> Option<usize> {
    let fold = |byte: u8| if any_case { byte.to_ascii_lowercase() } else { byte };
    match *pattern {
        [] => None,
        [b'?', ..] => Some(1),
        [b'[', ..] => class(pattern, fold(byte), fold),
        [b'\\', plain, ..] => (fold(plain) == fold(byte)).then_some(2),
        [plain, ..] => (fold(plain) == fold(byte)).then_some(1),
    }
}

/// `[…]`. One that is not closed ends with the pattern.
fn class(pattern: &[u8], byte: u8, fold: impl Fn(u8) -> u8) -> Option<usize> {
    let negated = pattern.get(1) == Some(&b'^');
    let mut at = if negated { 2 } else { 1 };
    let mut found = false;
    loop {
        match pattern[at..] {
            [] => break,
            [b']', ..] => {
                at += 1;
                break;
            }
            [b'\\', plain, ..] => {
                found |= fold(plain) == byte;
                at += 2;
            }
            [from, b'-', to, ..] => {
                let (from, to) = (fold(from), fold(to));
                found |= (from.min(to)..=from.max(to)).contains(&byte);
                at += 3;
            }
            [plain, ..] => {
                found |= fold(plain) == byte;
                at += 1;
            }
        }
    }
    (found != negated).then_some(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_many_stars_match_nothing() {
        let text = "a".repeat(2_000);
        assert!(matches("*?".repeat(1_000).as_bytes(), text.as_bytes()));
        assert!(!matches("*?".repeat(1_001).as_bytes(), text.as_bytes()));
        assert!(matches(format!("a{}", "*".repeat(5_000)).as_bytes(), text.as_bytes()));
    }

    #[test]
    fn patterns() {
        let check = |pattern: &str, text: &str, want| {
            assert_eq!(matches(pattern.as_bytes(), text.as_bytes()), want, "{pattern} {text}");
        };
        for (pattern, text) in [
            ("*", ""),
            ("*", "a"),
            ("a*c*e", "abcde"),
            ("a*bc", "abbbc"),
            ("h?llo", "hello"),
            ("h[ae]llo", "hallo"),
            ("h[^e]llo", "hallo"),
            ("h[a-c]llo", "hbllo"),
            ("h[c-a]llo", "hbllo"),
            ("\\*", "*"),
            ("[\\]]", "]"),
            ("a\\", "a\\"),
            ("[ab", "b"),
            ("", ""),
            ("a**", "a"),
        ] {
            check(pattern, text, true);
        }
        for (pattern, text) in [
            ("", "a"),
            ("a", ""),
            ("?", ""),
            ("h[^e]llo", "hello"),
            ("*b", "abc"),
            ("\\*", "a"),
            ("[]", "a"),
            ("ab", "a"),
        ] {
            check(pattern, text, false);
        }
        assert!(matches_case(b"A[B-D]*", b"abX", true));
        // Many stars do not take for ever.
        let (pattern, text) = ("a*".repeat(50) + "b", "a".repeat(10_000));
        check(&pattern, &text, false);
    }
}
