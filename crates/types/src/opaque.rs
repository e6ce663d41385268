//! What a text of SQL is not read within: constants, names in quotes and comments, with PostgreSQL's rules for where each ends.
//!
//! For those who look for something between them, a semicolon or a placeholder, before there is a parser.

/// What a text begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opaque {
    /// Something else.
    No,
    /// A constant, a name or a comment of so many bytes.
    Bytes(usize),
    /// One that has no end.
    Open,
}

impl Opaque {
    fn of(bytes: Option<usize>) -> Self {
        bytes.map_or(Self::Open, Self::Bytes)
    }
}

/// What a text begins with that has `before` in front of it. A quote that is doubled ends one constant and begins the next.
pub fn at(text: &str, before: &str) -> Opaque {
    match text.as_bytes().first() {
        Some(b'\'') => Opaque::of(quoted(text, '\'', escapes(before))),
        Some(b'"') => Opaque::of(quoted(text, '"', false)),
        // As in a$b, which is a name.
        Some(b'$') if !before.ends_with(is_of_name) => dollar(text),
        _ => comment(text),
    }
}

/// The comment that a text begins with: to the end of its line, or `/* … */`, which nests.
pub fn comment(text: &str) -> Opaque {
    if text.starts_with("--") {
        return Opaque::of(text.find('\n').map(|end| end + 1));
    }
    if !text.starts_with("/*") {
        return Opaque::No;
    }
    let (mut at, mut depth) = (0, 0_usize);
    while let Some(next) = text[at..].find(['/', '*']) {
        at += next;
        match &text.as_bytes()[at..] {
            [b'/', b'*', ..] => {
                depth += 1;
                at += 2;
            }
            [b'*', b'/', ..] => {
                depth -= 1;
                at += 2;
                if depth == 0 {
                    return Opaque::Bytes(at);
                }
            }
            _ => at += 1,
        }
    }
    Opaque::Open
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
            return Some(at + 1);
        }
    }
    None
}

/// `$tag$…$tag$`; the number of a parameter is no tag.
fn dollar(text: &str) -> Opaque {
    let behind = &text[1..];
    let tag = behind.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(behind.len());
    if !behind[tag..].starts_with('$') || behind.starts_with(|c: char| c.is_ascii_digit()) {
        return Opaque::No;
    }
    let tag = &text[..tag + 2];
    Opaque::of(text[tag.len()..].find(tag).map(|found| tag.len() * 2 + found))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constants_names_and_comments_end_where_postgresql_ends_them() {
        let check = |before: &str, text: &str, expected| assert_eq!(at(text, before), expected, "{before}{text}");
        check("", "'a''b' c", Opaque::Bytes(3));
        check("", r"'a\' b", Opaque::Bytes(4));
        check("E", r"'a\'' b", Opaque::Bytes(5));
        check("type", r"'\' b", Opaque::Bytes(3));
        check("", "\"a'b\"'", Opaque::Bytes(5));
        check("", "$a$ $$ $b$ $a$ c", Opaque::Bytes(14));
        check("a", "$b$ c", Opaque::No);
        check("", "$1$", Opaque::No);
        check("", "-- a\nb", Opaque::Bytes(5));
        check("", "/* a /* b */ */ c", Opaque::Bytes(15));
        check("", "/*/ */", Opaque::Bytes(6));
        for text in ["'a", "\"a", "$$a$", "-- a", "/* a /* */"] {
            check("", text, Opaque::Open);
        }
        for text in ["", "a", "-", "/", "$", "ä"] {
            check("", text, Opaque::No);
        }
    }
}
