//! The scanner that lifts literals of a simple statement to parameters.
//!
//! `UPDATE t SET a = a + -123 WHERE id = 45` becomes `UPDATE t SET a = a + $1 WHERE id = $2`, so that one plan serves
//! all numbers. Nothing is parsed: the scanner gives up on every construct in which a literal may be more than a value
//! (casts, typed strings, ORDER BY 1, LIMIT, comments, dollar quotes, parameters of the client's own), and such a
//! statement is kept under its own text.

use std::ops::Range;

/// More literals or a longer text are not worth keeping.
const LITERALS_MAX: usize = 256;
const TEXT_BYTES_MAX: usize = 16 << 10;

/// What a lifted literal is; part of the key, because `1` and `1.5` make different plans.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// A number within int4.
    Integer,
    /// A number within int8.
    Bigint,
    /// Another number.
    Numeric,
    /// A string.
    Text,
}

/// A literal in a statement's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Literal {
    pub(super) class: Class,
    /// A minus before a number.
    pub(super) negative: bool,
    /// The digits, or what stands between the quotes.
    pub(super) range: Range<usize>,
}

/// A statement's text with `$1`, `$2`, … for its literals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Normalized {
    pub(super) text: String,
    pub(super) literals: Vec<Literal>,
}

/// The statement without the white space and the semicolons around it; `None` where it may be several.
pub(super) fn trimmed(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_ascii_whitespace() || c == ';')
}

/// Lifts the literals of a statement; `None` where it has none or must be kept as it is.
pub(super) fn normalize(text: &str) -> Option<Normalized> {
    if text.len() > TEXT_BYTES_MAX {
        return None;
    }
    Scanner {
        bytes: text.as_bytes(),
        text,
        at: 0,
        before: Before::Start,
        out: String::with_capacity(text.len()),
        literals: Vec::new(),
    }
    .run()
}

/// What stands before the scanner's place: decides whether a minus is a sign and a literal a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Before {
    Start,
    /// An operator, `(` or `,`: a value follows.
    Operator,
    /// A word behind which a value may stand.
    ValueWord,
    /// Another word, a name.
    Word,
    /// A value: literal, `)`.
    Value,
}

struct Scanner<'a> {
    bytes: &'a [u8],
    text: &'a str,
    at: usize,
    before: Before,
    out: String,
    literals: Vec<Literal>,
}

impl Scanner<'_> {
    fn run(mut self) -> Option<Normalized> {
        while let Some(&byte) = self.bytes.get(self.at) {
            match byte {
                b' ' | b'\t' | b'\n' | b'\r' => self.copy(1),
                b'a'..=b'z' | b'A'..=b'Z' | b'_' | 0x80.. => self.word()?,
                b'0'..=b'9' => self.number(false)?,
                b'.' if self.digit_at(self.at + 1) && self.before != Before::Word => self.number(false)?,
                b'\'' => self.string()?,
                b'"' => self.quoted_name()?,
                b'-' if self.byte_at(self.at + 1) == Some(b'-') => return None,
                b'/' if self.byte_at(self.at + 1) == Some(b'*') => return None,
                b'-' if self.before == Before::Operator && self.digit_at(self.at + 1) && !self.minus_is_operator() => {
                    self.at += 1;
                    self.number(true)?;
                }
                // `::`, `$1`, `;` between statements, `a[1]`, and `^`, which binds tighter than a sign.
                b':' | b'$' | b';' | b'[' | b'^' | b'\\' => return None,
                b')' => {
                    self.copy(1);
                    self.before = Before::Value;
                }
                _ => {
                    self.copy(1);
                    self.before = if byte == b'.' { Before::Word } else { Before::Operator };
                }
            }
        }
        (!self.literals.is_empty()).then_some(Normalized { text: self.out, literals: self.literals })
    }

    fn byte_at(&self, at: usize) -> Option<u8> {
        self.bytes.get(at).copied()
    }

    fn digit_at(&self, at: usize) -> bool {
        self.byte_at(at).is_some_and(|b| b.is_ascii_digit())
    }

    /// Whether the minus belongs to an operator of several characters, as in `@-1` or `<-1`.
    fn minus_is_operator(&self) -> bool {
        let before = self.at.checked_sub(1).and_then(|at| self.byte_at(at));
        before.is_some_and(|b| matches!(b, b'@' | b'#' | b'~' | b'!' | b'&' | b'|' | b'?' | b'%' | b'`' | b'-'))
    }

    fn copy(&mut self, length: usize) {
        self.out.push_str(&self.text[self.at..self.at + length]);
        self.at += length;
    }

    fn word(&mut self) -> Option<()> {
        let end = self.bytes[self.at..]
            .iter()
            .position(|b| !(b.is_ascii_alphanumeric() || matches!(b, b'_' | b'$' | 0x80..)))
            .map_or(self.bytes.len(), |length| self.at + length);
        // E'…', B'…', U&'…'
        if matches!(self.byte_at(end), Some(b'\'' | b'&')) && end - self.at == 1 {
            return None;
        }
        let word = &self.text[self.at..end];
        if self.literals.is_empty() && self.before == Before::Start && !starts_simple(word) {
            return None;
        }
        self.before = match kind(word) {
            // Behind a point it is a name whatever it spells.
            _ if self.at > 0 && self.bytes[self.at - 1] == b'.' => Before::Word,
            Kind::Refused => return None,
            Kind::BeforeValue => Before::ValueWord,
            Kind::Other => Before::Word,
        };
        self.copy(end - self.at);
        Some(())
    }

    fn number(&mut self, negative: bool) -> Option<()> {
        let start = self.at;
        let mut end = start;
        let mut whole = true;
        while let Some(byte) = self.byte_at(end) {
            match byte {
                b'0'..=b'9' => {}
                b'.' => whole = false,
                // Exponents, 0x…, 1_000, 1abc: let the parser see them.
                b'a'..=b'z' | b'A'..=b'Z' | b'_' | 0x80.. => return None,
                _ => break,
            }
            end += 1;
        }
        let digits = &self.text[start..end];
        if !matches!(self.before, Before::Operator | Before::ValueWord) {
            if self.before == Before::Value {
                return None;
            }
            self.copy(end - start);
            self.before = Before::Value;
            return Some(());
        }
        let class = if !whole {
            Class::Numeric
        } else if digits.len() < 10 || digits.parse::<i32>().is_ok() {
            Class::Integer
        } else if digits.parse::<i64>().is_ok() {
            Class::Bigint
        } else {
            Class::Numeric
        };
        self.at = end;
        self.lift(Literal { class, negative, range: start..end })
    }

    fn string(&mut self) -> Option<()> {
        let start = self.at + 1;
        let mut end = start;
        loop {
            match self.byte_at(end)? {
                b'\'' if self.byte_at(end + 1) == Some(b'\'') => end += 2,
                b'\'' => break,
                _ => end += 1,
            }
        }
        match self.before {
            Before::Operator | Before::ValueWord => {
                self.at = end + 1;
                self.lift(Literal { class: Class::Text, negative: false, range: start..end })
            }
            // A typed string (`date '…'`), or one string in two parts.
            _ => None,
        }
    }

    fn quoted_name(&mut self) -> Option<()> {
        let length = self.bytes[self.at + 1..].iter().position(|b| *b == b'"')?;
        self.copy(length + 2);
        self.before = Before::Word;
        Some(())
    }

    fn lift(&mut self, literal: Literal) -> Option<()> {
        if self.literals.len() >= LITERALS_MAX {
            return None;
        }
        self.literals.push(literal);
        self.out.push('$');
        let number = self.literals.len();
        if number >= 10 {
            self.out.push_str(&number.to_string());
        } else {
            self.out.push(char::from(b'0' + number as u8));
        }
        self.before = Before::Value;
        Some(())
    }
}

fn starts_simple(word: &str) -> bool {
    ["select", "update", "insert", "delete"].iter().any(|w| word.eq_ignore_ascii_case(w))
}

enum Kind {
    /// Behind it a literal is a value.
    BeforeValue,
    /// With it the statement is kept as it is.
    Refused,
    Other,
}

fn kind(word: &str) -> Kind {
    let mut lower = [0_u8; 12];
    let Some(lower) = lower.get_mut(..word.len()) else { return Kind::Other };
    lower.copy_from_slice(word.as_bytes());
    lower.make_ascii_lowercase();
    match &*lower {
        b"select" | b"where" | b"and" | b"or" | b"not" | b"between" | b"returning" | b"in" => Kind::BeforeValue,
        b"order" | b"group" | b"limit" | b"offset" | b"fetch" | b"having" | b"union" | b"intersect" | b"except"
        | b"join" | b"with" | b"interval" | b"cast" | b"extract" | b"over" | b"distinct" | b"array" | b"case"
        | b"exists" | b"row" | b"collate" | b"as" | b"like" | b"ilike" | b"similar" | b"nextval" | b"operator" => {
            Kind::Refused
        }
        _ => Kind::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, want: Option<(&str, &[&str])>) {
        let got = normalize(text).map(|n| {
            let literals = n.literals.iter().map(|l| {
                let sign = if l.negative { "-" } else { "" };
                format!("{}{sign}{}", class_letter(l.class), &text[l.range.clone()])
            });
            (n.text.clone(), literals.collect::<Vec<_>>())
        });
        let want = want
            .map(|(text, literals)| (text.to_owned(), literals.iter().map(|l| (*l).to_owned()).collect::<Vec<_>>()));
        assert_eq!(got, want, "{text}");
    }

    fn class_letter(class: Class) -> char {
        match class {
            Class::Integer => 'i',
            Class::Bigint => 'l',
            Class::Numeric => 'n',
            Class::Text => 's',
        }
    }

    #[test]
    fn literals_become_parameters() {
        check(
            "UPDATE t SET a = a + -123 WHERE id = 45",
            Some(("UPDATE t SET a = a + $1 WHERE id = $2", &["i-123", "i45"])),
        );
        check("UPDATE t SET a = a - 5 WHERE id = 1", Some(("UPDATE t SET a = a - $1 WHERE id = $2", &["i5", "i1"])));
        check("UPDATE t SET a = a -5 WHERE id = 1", Some(("UPDATE t SET a = a -$1 WHERE id = $2", &["i5", "i1"])));
        check("SELECT abalance FROM a WHERE aid = 9;", None);
        check("SELECT abalance FROM a WHERE aid = 9", Some(("SELECT abalance FROM a WHERE aid = $1", &["i9"])));
        check(
            "insert into h (a, b) values (1, -2.5, 'it''s', 5000000000)",
            Some(("insert into h (a, b) values ($1, $2, $3, $4)", &["i1", "n-2.5", "sit''s", "l5000000000"])),
        );
        check("select * from t1 where a2=3", Some(("select * from t1 where a2=$1", &["i3"])));
        check("select \"a 1\" from t where b='x'", Some(("select \"a 1\" from t where b=$1", &["sx"])));
        check("select a from t where b in (1,2)", Some(("select a from t where b in ($1,$2)", &["i1", "i2"])));
    }

    #[test]
    fn what_may_be_more_than_a_value_is_left_alone() {
        for text in [
            "select 1 where a = 'x'::date",
            "select a from t where d > date '2020-01-01'",
            "select a from t where d > interval '1 day'",
            "select a from t order by 1",
            "select a from t group by 1",
            "select a from t limit 5",
            "select a from t where id = $1 and b = 2",
            "select a from t where id = 1 -- x",
            "select a /* x */ from t where id = 1",
            "select $$x$$",
            "select e'x'",
            "select u&'x'",
            "select 1; select 2",
            "select 'a' 'b'",
            "select 1e5",
            "select 0x1F",
            "select 'abc",
            "create table t (a int default 1)",
            "set x = 1",
            "select a[1] from t",
            "select 2 ^ 3",
            "select a from t",
        ] {
            check(text, None);
        }
    }
}
