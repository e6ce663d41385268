//! PostgreSQL's regular expressions as the `regex` crate reads them.
//!
//! Most of the two dialects is the same. What differs are some escapes and what a bracket means inside of brackets.

/// A pattern of PostgreSQL's advanced regular expressions for the `regex` crate.
#[must_use]
pub fn translate(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len() + 8);
    let mut rest = pattern;
    let mut in_brackets = false;
    while let Some(c) = rest.chars().next() {
        if !in_brackets {
            // The words' ends as they were written before there were escapes for them.
            let boundary = [("[[:<:]]", "\\b{start}"), ("[[:>:]]", "\\b{end}")];
            if let Some((old, new)) = boundary.iter().find(|(old, _)| rest.starts_with(old)) {
                out.push_str(new);
                rest = &rest[old.len()..];
                continue;
            }
        }
        let tail = &rest[c.len_utf8()..];
        match c {
            '\\' => rest = escape(tail, in_brackets, &mut out),
            '[' if !in_brackets => {
                in_brackets = true;
                let negated = tail.strip_prefix('^');
                out.push_str(if negated.is_some() { "[^" } else { "[" });
                rest = negated.unwrap_or(tail);
                // A bracket that stands first is one of the characters.
                if let Some(first) = rest.strip_prefix(']') {
                    out.push_str("\\]");
                    rest = first;
                }
            }
            '[' if tail.starts_with(':') => match tail.find(":]") {
                Some(end) => {
                    out.push('[');
                    out.push_str(&tail[..end + 2]);
                    rest = &tail[end + 2..];
                }
                None => {
                    out.push_str("\\[");
                    rest = tail;
                }
            },
            ']' if in_brackets => {
                in_brackets = false;
                out.push(']');
                rest = tail;
            }
            '[' | '&' | '~' if in_brackets => {
                out.push('\\');
                out.push(c);
                rest = tail;
            }
            other => {
                out.push(other);
                rest = tail;
            }
        }
    }
    out
}

/// What stands behind a backslash; gives what is left.
fn escape<'t>(text: &'t str, in_brackets: bool, out: &mut String) -> &'t str {
    let Some(c) = text.chars().next() else {
        out.push('\\');
        return text;
    };
    let tail = &text[c.len_utf8()..];
    let code = |digits: &str| u32::from_str_radix(digits, 16).ok().and_then(char::from_u32);
    match c {
        'm' if !in_brackets => out.push_str("\\b{start}"),
        'M' if !in_brackets => out.push_str("\\b{end}"),
        'y' if !in_brackets => out.push_str("\\b"),
        'Y' if !in_brackets => out.push_str("\\B"),
        'Z' if !in_brackets => out.push_str("\\z"),
        'A' if !in_brackets => out.push_str("\\A"),
        'b' => out.push_str("\\x08"),
        'B' => out.push_str("\\\\"),
        'e' => out.push_str("\\x1B"),
        'u' | 'U' => {
            let length = if c == 'u' { 4 } else { 8 };
            match tail.get(..length).and_then(code) {
                Some(character) => {
                    out.push_str(&regex::escape(&character.to_string()));
                    return &tail[length..];
                }
                None => {
                    out.push('\\');
                    out.push(c);
                }
            }
        }
        other => {
            out.push('\\');
            out.push(other);
        }
    }
    tail
}

#[cfg(test)]
mod tests {
    use super::translate;

    #[test]
    fn escapes_mean_what_they_mean_in_postgresql() {
        let check = |pattern: &str, text: &str, want: bool| {
            let translated = translate(pattern);
            let regex = regex::Regex::new(&translated).unwrap_or_else(|e| panic!("{pattern} {translated}: {e}"));
            assert_eq!(regex.is_match(text), want, "{pattern} {text}");
        };
        check("\\mfoo\\M", "a foo b", true);
        check("\\mfoo\\M", "afoo", false);
        check("[[:<:]]foo[[:>:]]", "foo", true);
        check("foo\\y", "foobar", false);
        check("a\\b", "a", false);
        check("a\\b", "a\u{8}", true);
        check("[]a]", "]", true);
        check("[[:digit:]x]+", "7x", true);
        check("[a&&b]", "&", true);
        check("[[a]", "[", true);
        check("\\u0041", "A", true);
        check("a\\Z", "a", true);
    }
}
