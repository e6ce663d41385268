//! Where statements of a text end, as PostgreSQL reads quotes and comments.

use perigee_types::opaque::{self, Opaque};

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
        match opaque::comment(trimmed) {
            Opaque::Bytes(bytes) => at += bytes,
            // It belongs to what is still to come.
            Opaque::Open => return text.len(),
            Opaque::No => return at,
        }
    }
}

/// The byte of the semicolon that ends the statement which a text begins with.
fn end(text: &str) -> Option<usize> {
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        if c == ';' {
            return Some(at);
        }
        at += match opaque::at(&text[at..], &text[..at]) {
            Opaque::No => c.len_utf8(),
            Opaque::Bytes(bytes) => bytes,
            Opaque::Open => return None,
        };
    }
    None
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
