//! Where statements of a text end, as PostgreSQL reads quotes and comments.

/// A part of a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    /// A statement, without its semicolon.
    Statement(&'a str),
    /// A line that begins with a backslash, without it.
    Command(&'a str),
}

/// The first piece of a text and what is behind it. A statement that has no end is one when the text is `whole`; else there is none yet.
pub(super) fn next(text: &str, whole: bool) -> Option<(Piece<'_>, &str)> {
    let text = &text[blank(text)..];
    if let Some(command) = text.strip_prefix('\\') {
        let end = command.find('\n').unwrap_or(command.len());
        return Some((Piece::Command(command[..end].trim()), &command[end..]));
    }
    if let Some(rest) = text.strip_prefix(';') {
        return next(rest, whole);
    }
    match end(text) {
        Some(end) => Some((Piece::Statement(text[..end].trim()), &text[end + 1..])),
        None if whole && !text.is_empty() => Some((Piece::Statement(text.trim()), "")),
        None => None,
    }
}

/// Bytes of spaces and comments that a text begins with.
fn blank(text: &str) -> usize {
    let mut at = 0;
    loop {
        let rest = &text[at..];
        let trimmed = rest.trim_start();
        at += rest.len() - trimmed.len();
        match comment(trimmed) {
            Some(Some(bytes)) => at += bytes,
            // One without an end belongs to what is still to come.
            Some(None) => return text.len(),
            None => return at,
        }
    }
}

/// The byte of the semicolon that ends the statement which a text begins with.
fn end(text: &str) -> Option<usize> {
    let mut at = 0;
    let mut word_before = false;
    while let Some(c) = text[at..].chars().next() {
        let rest = &text[at..];
        if c == ';' {
            return Some(at);
        }
        let bytes = match c {
            '\'' => quoted(rest, '\'', escapes(&text[..at]))?,
            '"' => quoted(rest, '"', false)?,
            // As in a$b, which is a name.
            '$' if !word_before => dollar(rest)?,
            _ => match comment(rest) {
                Some(bytes) => bytes?,
                None => c.len_utf8(),
            },
        };
        word_before = c.is_alphanumeric() || c == '_' || c == '$';
        at += bytes;
    }
    None
}

/// Whether backslashes escape in the constant behind a text: `E'…'`.
fn escapes(before: &str) -> bool {
    let mut back = before.chars().rev();
    back.next().is_some_and(|c| c.eq_ignore_ascii_case(&'e'))
        && !back.next().is_some_and(|c| c.is_alphanumeric() || c == '_')
}

/// Bytes of what stands in quotes; a quote that is doubled is two of them side by side.
fn quoted(text: &str, quote: char, escapes: bool) -> Option<usize> {
    let mut chars = text.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        if c == '\\' && escapes {
            chars.next();
        } else if c == quote {
            return Some(at + 1);
        }
    }
    None
}

/// Bytes of `$tag$…$tag$`, or of a dollar that begins no constant.
fn dollar(text: &str) -> Option<usize> {
    let behind = &text[1..];
    let tag = behind.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(behind.len());
    if !behind[tag..].starts_with('$') || behind.starts_with(|c: char| c.is_ascii_digit()) {
        return Some(1);
    }
    let tag = &text[..tag + 2];
    text[tag.len()..].find(tag).map(|found| tag.len() * 2 + found)
}

/// Bytes of a comment: `None` where there is none, nothing within where it has no end. Those in `/* */` nest.
fn comment(text: &str) -> Option<Option<usize>> {
    if text.starts_with("--") {
        return Some(text.find('\n').map(|end| end + 1));
    }
    if !text.starts_with("/*") {
        return None;
    }
    let (mut at, mut depth) = (0, 0usize);
    loop {
        let rest = &text[at..];
        let (open, close) = (rest.find("/*"), rest.find("*/"));
        match (open, close) {
            (Some(open), Some(close)) if open < close => {
                depth += 1;
                at += open + 2;
            }
            (_, Some(close)) => {
                depth -= 1;
                at += close + 2;
                if depth == 0 {
                    return Some(Some(at));
                }
            }
            (_, None) => return Some(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(text: &str, whole: bool) -> Vec<String> {
        let (mut rest, mut found) = (text, Vec::new());
        while let Some((piece, behind)) = next(rest, whole) {
            found.push(match piece {
                Piece::Statement(text) => text.to_owned(),
                Piece::Command(text) => format!("\\{text}"),
            });
            rest = behind;
        }
        found
    }

    fn check(text: &str, expected: &[&str]) {
        assert_eq!(pieces(text, true), expected, "{text}");
    }

    #[test]
    fn statements_end_at_their_semicolons() {
        check("SELECT 1; SELECT 2", &["SELECT 1", "SELECT 2"]);
        check(" ;; ", &[]);
        check("SELECT ';', \"a;b\", 'it''s;';X", &["SELECT ';', \"a;b\", 'it''s;'", "X"]);
        check(r"SELECT E'\';', 'a\'; Y", &[r"SELECT E'\';', 'a\'", "Y"]);
        check("SELECT type'\\'; Y", &["SELECT type'\\'", "Y"]);
        check("SELECT $$;$$, $a$;$$;$a$, $1; Y", &["SELECT $$;$$, $a$;$$;$a$, $1", "Y"]);
        check("SELECT a$b; Y$", &["SELECT a$b", "Y$"]);
        check("-- a;\nSELECT 1 -- b;\n; /* c; /* d; */ ; */ Y", &["SELECT 1 -- b;", "Y"]);
        check("SELECT 'ä;ö'; ü", &["SELECT 'ä;ö'", "ü"]);
        check("-- nothing", &[]);
    }

    #[test]
    fn commands_are_lines() {
        check("\\d a; b\nSELECT 1;\n  \\q", &["\\d a; b", "SELECT 1", "\\q"]);
        check("SELECT 1 \\d;", &["SELECT 1 \\d"]);
    }

    #[test]
    fn what_has_no_end_is_waited_for() {
        for text in ["SELECT 1", "SELECT ';", "SELECT $$;", "/* ;", "SELECT \";", "-- ;"] {
            assert!(pieces(text, false).is_empty(), "{text}");
        }
        assert_eq!(pieces("SELECT 1; SELECT", false), ["SELECT 1"]);
    }
}
