//! `SUBSTRING(x SIMILAR pattern ESCAPE e)`: what stands between two escaped quotes of the pattern.

use perigee_types::{SqlError, SqlResult, SqlState, Value};

/// The part of a text that the middle of a pattern matches, or all of it where the pattern has one part; NULL where the
/// pattern does not match the whole text.
///
/// # Errors
/// `22025` for an escape of more than one character, `2200C` for more than two separators.
pub(super) fn substring(text: &str, pattern: &str, escape: &str) -> SqlResult<Value> {
    let mut escapes = escape.chars();
    let escape = escapes.next();
    if escapes.next().is_some() {
        return Err(SqlError::new(SqlState::InvalidEscapeSequence, "invalid escape string")
            .hint("Escape string must be empty or one character."));
    }
    let parts = parts(pattern, escape);
    // The parts beside the one that is wanted match as little as they can.
    let regex = match parts.as_slice() {
        [all] => format!("^({})$", regex(all, escape, false)),
        [before, wanted] => format!("^(?:{})({})$", regex(before, escape, true), regex(wanted, escape, false)),
        [before, wanted, behind] => format!(
            "^(?:{})({})(?:{})$",
            regex(before, escape, true),
            regex(wanted, escape, false),
            regex(behind, escape, false)
        ),
        _ => {
            return Err(SqlError::new(
                SqlState::InvalidUseOfEscapeCharacter,
                "SQL regular expression may not contain more than two escape-double-quote separators",
            ));
        }
    };
    let regex = super::text::regex(&format!("(?s){regex}"), false)?;
    let found = regex.captures(text).and_then(|found| found.get(1).map(|m| m.as_str().to_owned()));
    Ok(found.map_or(Value::Null, Value::Text))
}

/// The pattern between its separators.
fn parts(pattern: &str, escape: Option<char>) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut chars = pattern.chars().peekable();
    while let Some(c) = chars.next() {
        if Some(c) == escape {
            if chars.next_if_eq(&'"').is_some() {
                parts.push(String::new());
                continue;
            }
            if let (Some(part), Some(escaped)) = (parts.last_mut(), chars.next()) {
                part.push(c);
                part.push(escaped);
            }
        } else if let Some(part) = parts.last_mut() {
            part.push(c);
        }
    }
    parts
}

/// One part of an SQL pattern as a regular expression; `lazy`: that matches as little as it can.
fn regex(pattern: &str, escape: Option<char>, lazy: bool) -> String {
    let mut out = String::with_capacity(pattern.len() + 8);
    let mut in_brackets = false;
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        if Some(c) == escape {
            out.push_str(&regex::escape(&chars.next().map(String::from).unwrap_or_default()));
            continue;
        }
        match c {
            '[' | ']' => {
                in_brackets = c == '[';
                out.push(c);
            }
            '%' if !in_brackets => out.push_str(if lazy { ".*?" } else { ".*" }),
            '_' if !in_brackets => out.push('.'),
            '*' | '+' | '?' if !in_brackets => {
                out.push(c);
                if lazy {
                    out.push('?');
                }
            }
            '(' if !in_brackets => out.push_str("(?:"),
            '.' | '^' | '$' | '\\' if !in_brackets => {
                out.push('\\');
                out.push(c);
            }
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_part_between_the_separators_is_taken() {
        let check = |pattern: &str, want: Option<&str>| {
            let want = want.map_or(Value::Null, |text| Value::Text(text.to_owned()));
            assert_eq!(substring("abcdefg", pattern, "#"), Ok(want), "{pattern}");
        };
        check("a#\"(b_d)#\"%", Some("bcd"));
        check("#\"(b_d)#\"%", None);
        check("a#\"%#\"g", Some("bcdef"));
        check("a*#\"%#\"g*", Some("abcdefg"));
        check("a|b#\"%#\"g", Some("bcdef"));
        check("a#\"%#\"x|g", Some("bcdef"));
        check("a#\"%|ab#\"g", Some("bcdef"));
        check("a#\"%g", Some("bcdefg"));
        check("a%g", Some("abcdefg"));
        assert!(substring("a", "a#\"b#\"c#\"d", "#").is_err());
    }
}
