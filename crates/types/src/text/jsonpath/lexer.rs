//! Characters of a path to tokens.

use crate::{SqlError, SqlResult, SqlState};

/// A token of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// A name or keyword.
    Word(String),
    /// A string in quotes.
    String(String),
    /// `$name` or `$"name"`
    Variable(String),
    /// A number with a fraction or exponent, as it is written.
    Number(String),
    /// A number without either.
    Integer(String),
    /// Anything else.
    Symbol(&'static str),
    /// The end of the text.
    End,
}

/// Symbols, longer ones before those that they start with.
const SYMBOLS: &[&str] = &[
    "&&", "||", "**", "<=", "<>", "==", "!=", ">=", "<", ">", "!", "?", "%", "$", ".", "[", "]", "{", "}", "(", ")",
    "|", "&", "=", "@", "#", ",", "*", ":", "-", "+", "/",
];

/// A token and the text that it was read from.
#[derive(Clone, Debug)]
pub(super) struct Spanned<'a> {
    pub(super) token: Token,
    pub(super) text: &'a str,
}

/// Reads all tokens; the last is [`Token::End`].
///
/// # Errors
/// `42601`, `22P02`, `22P05`
pub(super) fn tokens(text: &str) -> SqlResult<Vec<Spanned<'_>>> {
    let mut lexer = Lexer { text, at: 0 };
    let mut tokens = Vec::new();
    loop {
        let start = lexer.skip()?;
        let token = lexer.token()?;
        let end = token == Token::End;
        tokens.push(Spanned { token, text: &text[start..lexer.at] });
        if end {
            return Ok(tokens);
        }
    }
}

/// `42601` at a place.
pub(super) fn error_at(message: &str, near: &str) -> SqlError {
    SqlError::syntax(if near.is_empty() {
        format!("{message} at end of jsonpath input")
    } else {
        format!("{message} at or near \"{near}\" of jsonpath input")
    })
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r' | '\u{c}')
}

/// Whether a character may stand in a name.
fn is_other(c: char) -> bool {
    !is_blank(c) && !"?%$.[]{}()|&!=<>@#,*:-+/\\\"".contains(c)
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    /// Steps over blanks and comments, and says where the next token starts.
    fn skip(&mut self) -> SqlResult<usize> {
        loop {
            self.at = self.text.len() - self.rest().trim_start_matches(is_blank).len();
            let Some(comment) = self.rest().strip_prefix("/*") else { return Ok(self.at) };
            let Some(end) = comment.find("*/") else { return Err(error_at("unexpected end of comment", "")) };
            self.at += end + 4;
        }
    }

    fn token(&mut self) -> SqlResult<Token> {
        let rest = self.rest();
        let Some(first) = rest.chars().next() else { return Ok(Token::End) };
        if first == '"' {
            self.at += 1;
            return self.quoted().map(Token::String);
        }
        if let Some(name) = rest.strip_prefix('$') {
            if name.starts_with('"') {
                self.at += 2;
                return self.quoted().map(Token::Variable);
            }
            let length = other_length(name);
            if length > 0 {
                self.at += 1 + length;
                return Ok(Token::Variable(name[..length].to_owned()));
            }
        }
        if first.is_ascii_digit() || (first == '.' && rest[1..].starts_with(|c: char| c.is_ascii_digit())) {
            return self.number_or_word();
        }
        if first == '\\' || is_other(first) {
            return self.word().map(Token::Word);
        }
        let symbol = SYMBOLS.iter().find(|symbol| rest.starts_with(**symbol));
        let symbol = symbol.ok_or_else(|| error_at("syntax error", rest))?;
        self.at += symbol.len();
        Ok(Token::Symbol(symbol))
    }

    /// What starts like a number: the longest of number, number with junk behind it, and name.
    fn number_or_word(&mut self) -> SqlResult<Token> {
        let rest = self.rest();
        let integer = integer_length(rest);
        let decimal = decimal_length(rest, integer);
        let mantissa = decimal.max(integer);
        let exponent = exponent_length(&rest[mantissa..]);
        let real = if exponent > 0 { mantissa + exponent } else { 0 };
        let junk = |number: usize| match rest[number..].chars().next() {
            Some(c) if number > 0 && is_other(c) => number + c.len_utf8(),
            _ => 0,
        };
        // An exponent without digits.
        let broken = match &rest.as_bytes()[mantissa..] {
            [b'e' | b'E', b'+' | b'-', ..] if exponent == 0 => mantissa + 2,
            _ => 0,
        };
        let candidates = [
            (real, "real"),
            (decimal, "decimal"),
            (integer, "integer"),
            (broken, "junk"),
            (junk(integer), "junk"),
            (junk(decimal), "junk"),
            (junk(real), "junk"),
            (other_length(rest), "word"),
        ];
        let (mut length, mut what) = candidates[0];
        for (longer, kind) in candidates {
            if longer > length {
                (length, what) = (longer, kind);
            }
        }
        let text = &rest[..length];
        match what {
            "word" => return self.word().map(Token::Word),
            "junk" => return Err(error_at("trailing junk after numeric literal", text)),
            _ => {}
        }
        self.at += length;
        Ok(if what == "integer" { Token::Integer(text.to_owned()) } else { Token::Number(text.to_owned()) })
    }

    /// A name, up to a blank, a symbol or a comment.
    fn word(&mut self) -> SqlResult<String> {
        let mut out = String::new();
        while let Some(c) = self.rest().chars().next() {
            if c == '\\' {
                self.escape(&mut out)?;
            } else if is_other(c) {
                out.push(c);
                self.at += c.len_utf8();
            } else {
                break;
            }
        }
        Ok(out)
    }

    /// A string, from behind its first quote.
    fn quoted(&mut self) -> SqlResult<String> {
        let mut out = String::new();
        loop {
            match self.rest().chars().next() {
                None => return Err(error_at("unexpected end of quoted string", "")),
                Some('"') => {
                    self.at += 1;
                    return Ok(out);
                }
                Some('\\') => self.escape(&mut out)?,
                Some(c) => {
                    out.push(c);
                    self.at += c.len_utf8();
                }
            }
        }
    }

    /// A backslash and what it stands for.
    fn escape(&mut self, out: &mut String) -> SqlResult<()> {
        let escaped = self.rest()[1..].chars().next();
        let Some(c) = escaped else { return Err(error_at("unexpected end after backslash", "")) };
        if c == 'u' {
            return self.unicode(out);
        }
        self.at += 1 + c.len_utf8();
        match c {
            'b' => out.push('\u{8}'),
            'f' => out.push('\u{c}'),
            'n' => out.push('\n'),
            'r' => out.push('\r'),
            't' => out.push('\t'),
            'v' => out.push('\u{b}'),
            'x' => {
                let code = self.rest().get(..2).and_then(|digits| u32::from_str_radix(digits, 16).ok());
                let code = code.ok_or_else(|| error_at("invalid hexadecimal character sequence", self.rest()))?;
                self.at += 2;
                out.push(character(code)?);
            }
            other => out.push(other),
        }
        Ok(())
    }

    /// `\u0041`, `\u{41}`, or two of them that are one character.
    fn unicode(&mut self, out: &mut String) -> SqlResult<()> {
        let low = |detail: &str| {
            SqlError::new(SqlState::InvalidTextRepresentation, "invalid input syntax for type jsonpath").detail(detail)
        };
        let code = self.code()?;
        let code = match code {
            0xd800..=0xdbff => {
                let second = if self.rest().starts_with("\\u") { self.code()? } else { 0 };
                if !(0xdc00..=0xdfff).contains(&second) {
                    return Err(match second {
                        0xd800..=0xdbff => low("Unicode high surrogate must not follow a high surrogate."),
                        _ => low("Unicode low surrogate must follow a high surrogate."),
                    });
                }
                0x10000 + ((code - 0xd800) << 10) + (second - 0xdc00)
            }
            0xdc00..=0xdfff => return Err(low("Unicode low surrogate must follow a high surrogate.")),
            code => code,
        };
        out.push(character(code)?);
        Ok(())
    }

    /// The number of one `\u…`.
    fn code(&mut self) -> SqlResult<u32> {
        let digits = &self.rest()[2..];
        let (digits, length) = match digits.strip_prefix('{') {
            Some(inner) => {
                let end = inner.find('}').filter(|end| (1..=6).contains(end));
                (end.map(|end| &inner[..end]), end.map_or(0, |end| end + 4))
            }
            None => (digits.get(..4), 6),
        };
        let hex = digits.filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()));
        let code = hex.and_then(|digits| u32::from_str_radix(digits, 16).ok());
        let code = code.ok_or_else(|| error_at("invalid Unicode escape sequence", self.rest()))?;
        self.at += length;
        Ok(code)
    }
}

fn character(code: u32) -> SqlResult<char> {
    if code == 0 {
        return Err(SqlError::new(SqlState::UntranslatableCharacter, "unsupported Unicode escape sequence")
            .detail("\\u0000 cannot be converted to text."));
    }
    char::from_u32(code)
        .ok_or_else(|| SqlError::new(SqlState::SyntaxError, "could not convert Unicode to server encoding"))
}

fn other_length(text: &str) -> usize {
    text.find(|c| !is_other(c)).unwrap_or(text.len())
}

fn digits(text: &str) -> usize {
    text.bytes().take_while(u8::is_ascii_digit).count()
}

/// The length of `0` or of digits that do not start with it.
fn integer_length(text: &str) -> usize {
    if text.starts_with('0') { 1 } else { digits(text) }
}

fn decimal_length(text: &str, integer: usize) -> usize {
    match text[integer..].strip_prefix('.') {
        Some(fraction) if integer > 0 || digits(fraction) > 0 => integer + 1 + digits(fraction),
        _ => 0,
    }
}

fn exponent_length(text: &str) -> usize {
    let Some(exponent) = text.strip_prefix(['e', 'E']) else { return 0 };
    let unsigned = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    match digits(unsigned) {
        0 => 0,
        count => 1 + (exponent.len() - unsigned.len()) + count,
    }
}
