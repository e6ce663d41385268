//! `?` for parameters, as programs write it that speak JDBC: Arrow's driver sends the text as it is.
//!
//! SQL has operators of that character, so a text is read so only when it is none as it stands.

use std::fmt::Write as _;

use perigee_types::opaque::{self, Opaque};

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
        let bytes = match opaque::at(rest, &out) {
            Opaque::No => c.len_utf8(),
            Opaque::Bytes(bytes) => bytes,
            Opaque::Open => rest.len(),
        };
        let (whole, behind) = rest.split_at(bytes);
        out.push_str(whole);
        rest = behind;
    }
    (count > 0).then_some(out)
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
