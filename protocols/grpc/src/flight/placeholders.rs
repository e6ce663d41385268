//! `?` for parameters, as programs write it that speak JDBC: Arrow's driver sends the text as it is.
//!
//! SQL has operators of that character, so a text is read so only when it is none as it stands.

use std::fmt::Write as _;

/// The text with `$1`, `$2`, … in place of each `?`, and `?` in place of `??`; `None` where there is none, or where parameters have
/// numbers already.
pub(crate) fn numbered(sql: &str) -> Option<String> {
    let mut out = String::with_capacity(sql.len() + 16);
    let (mut rest, mut count) = (sql, 0_u32);
    while let Some(c) = rest.chars().next() {
        if let Some(behind) = rest.strip_prefix("??") {
            out.push('?');
            rest = behind;
            continue;
        }
        if let Some(behind) = rest.strip_prefix('?') {
            count += 1;
            // Writing to a text does not fail.
            let _ = write!(out, "${count}");
            rest = behind;
            continue;
        }
        if c == '$' && rest[1..].starts_with(|c: char| c.is_ascii_digit()) {
            return None;
        }
        let (whole, behind) = rest.split_at(length(rest, c, &out).unwrap_or(rest.len()));
        out.push_str(whole);
        rest = behind;
    }
    (count > 0).then_some(out)
}

/// Bytes of the constant, name in quotes, comment or character that a text begins with; `None` for one without an end.
fn length(text: &str, first: char, before: &str) -> Option<usize> {
    match first {
        '\'' => quoted(text, '\'', escapes(before)),
        '"' => quoted(text, '"', false),
        '-' if text.starts_with("--") => text.find('\n'),
        '/' if text.starts_with("/*") => comment(text),
        '$' if !before.ends_with(is_of_name) => dollar(text),
        c => Some(c.len_utf8()),
    }
}

fn is_of_name(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '$')
}

/// Whether backslashes escape in the constant behind a text: `E'…'`.
fn escapes(before: &str) -> bool {
    before.strip_suffix(['e', 'E']).is_some_and(|before| !before.ends_with(is_of_name))
}

fn quoted(text: &str, quote: char, escapes: bool) -> Option<usize> {
    let mut chars = text.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        if c == '\\' && escapes {
            chars.next();
        } else if c == quote {
            // One that is doubled begins the next constant, side by side with this.
            return Some(at + 1);
        }
    }
    None
}

/// `$tag$…$tag$`, or a dollar that begins no constant.
fn dollar(text: &str) -> Option<usize> {
    let behind = &text[1..];
    let tag = behind.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(behind.len());
    if !behind[tag..].starts_with('$') {
        return Some(1);
    }
    let tag = &text[..tag + 2];
    text[tag.len()..].find(tag).map(|found| tag.len() * 2 + found)
}

/// `/* … */`, which nests.
fn comment(text: &str) -> Option<usize> {
    let (mut at, mut depth) = (0, 0_usize);
    loop {
        let rest = &text[at..];
        let next = rest.find(['/', '*'])?;
        match &rest.as_bytes()[next..] {
            [b'/', b'*', ..] => {
                depth += 1;
                at += next + 2;
            }
            [b'*', b'/', ..] => {
                depth -= 1;
                at += next + 2;
                if depth == 0 {
                    return Some(at);
                }
            }
            _ => at += next + 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn question_marks_become_numbers() {
        let check = |sql: &str, expected: Option<&str>| assert_eq!(numbered(sql).as_deref(), expected, "{sql}");
        check("SELECT ? + ?", Some("SELECT $1 + $2"));
        check("SELECT j ?? 'a' WHERE id = ?", Some("SELECT j ? 'a' WHERE id = $1"));
        let constants = "SELECT '?', \"?\", E'\\'?', $$?$$, $a$ $$?$a$, 'it''s ?'";
        check(constants, None);
        check(&format!("{constants}, ?"), Some(&format!("{constants}, $1")));
        check("SELECT ? -- ?\n, ? /* ? /* ? */ ? */, ?", Some("SELECT $1 -- ?\n, $2 /* ? /* ? */ ? */, $3"));
        check("SELECT type'\\', ?", Some("SELECT type'\\', $1"));
        check("SELECT a$b, ? -- ?", Some("SELECT a$b, $1 -- ?"));
        check("SELECT ä?", Some("SELECT ä$1"));
        check("SELECT $1, ?", None);
        check("SELECT 1", None);
        check("SELECT '?", None);
        check("SELECT /* ?", None);
    }
}
