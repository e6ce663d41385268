//! Places in a text, and errors that name them as PostgreSQL does.

use std::ops::Range;

use perigee_types::{SqlError, SqlState};
use sqlparser::parser::ParserError;
use sqlparser::tokenizer::{Location, Token, TokenWithSpan, TokenizerError};

/// A text whose places the tokenizer gives as line and column.
pub(super) struct Text<'a> {
    sql: &'a str,
    /// Byte offset of each line.
    lines: Vec<usize>,
}

impl<'a> Text<'a> {
    pub(super) fn new(sql: &'a str) -> Self {
        let lines = std::iter::once(0).chain(sql.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { sql, lines }
    }

    /// Byte offset of a place; the text's length for one behind it.
    pub(super) fn offset(&self, location: Location) -> usize {
        let Some(line) = usize::try_from(location.line).ok().and_then(|l| l.checked_sub(1)) else {
            return self.sql.len();
        };
        let Some(start) = self.lines.get(line).copied() else { return self.sql.len() };
        let column = usize::try_from(location.column.saturating_sub(1)).unwrap_or(usize::MAX);
        let rest = &self.sql[start..];
        start + rest.char_indices().nth(column).map_or(rest.len(), |(at, _)| at)
    }

    /// The bytes that tokens stand on.
    pub(super) fn range(&self, tokens: &[TokenWithSpan]) -> Range<usize> {
        match (tokens.first(), tokens.last()) {
            (Some(first), Some(last)) => {
                let start = self.offset(first.span.start);
                start..self.offset(last.span.end).max(start)
            }
            _ => 0..0,
        }
    }

    pub(super) fn slice(&self, range: Range<usize>) -> &'a str {
        self.sql.get(range).unwrap_or_default()
    }

    pub(super) fn characters_before(&self, offset: usize) -> u32 {
        let before = self.sql.get(..offset).unwrap_or(self.sql);
        u32::try_from(before.chars().count()).unwrap_or(u32::MAX)
    }

    /// `syntax error at or near "…"` for the text at a range of bytes.
    fn near(&self, range: Range<usize>) -> SqlError {
        let position = self.characters_before(range.start).saturating_add(1);
        let near = self.slice(range);
        if near.is_empty() {
            return SqlError::syntax("syntax error at end of input").position(position);
        }
        SqlError::syntax(format!("syntax error at or near \"{near}\"")).position(position)
    }
}

/// The syntax error at a token.
pub(in crate::sql) fn at_or_near(text: &Text, token: &TokenWithSpan) -> SqlError {
    if token.token == Token::EOF {
        return text.near(text.sql.len()..text.sql.len());
    }
    text.near(text.range(std::slice::from_ref(token)))
}

/// The error of a name in quotes that has nothing between them.
pub(super) fn zero_length(text: &Text, token: &TokenWithSpan) -> SqlError {
    let range = text.range(std::slice::from_ref(token));
    let position = text.characters_before(range.start).saturating_add(1);
    SqlError::syntax(format!("zero-length delimited identifier at or near \"{}\"", text.slice(range)))
        .position(position)
}

/// What the tokenizer refuses, in PostgreSQL's words.
pub(super) fn tokenizer_error(text: &Text, error: &TokenizerError) -> SqlError {
    let start = text.offset(error.location);
    let rest = text.slice(start..text.sql.len());
    let position = text.characters_before(start).saturating_add(1);
    let message = error.message.to_ascii_lowercase();
    let what = if message.contains("dollar-quoted") {
        "unterminated dollar-quoted string"
    } else if message.contains("multi-line comment") || message.contains("comment") {
        "unterminated /* comment"
    } else if message.contains("delimit") || message.contains("quoted identifier") {
        "unterminated quoted identifier"
    } else if message.contains("string literal") || message.contains("unterminated") {
        "unterminated quoted string"
    } else {
        "syntax error"
    };
    SqlError::syntax(format!("{what} at or near \"{rest}\"")).position(position)
}

/// What sqlparser refuses, in PostgreSQL's words: the token at the place that its message ends with.
pub(super) fn parser_error(text: &Text, tokens: &[TokenWithSpan], error: &ParserError) -> SqlError {
    let message = match error {
        ParserError::RecursionLimitExceeded => {
            return SqlError::new(SqlState::StatementTooComplex, "stack depth limit exceeded")
                .hint("The statement nests expressions or queries too deeply.");
        }
        ParserError::TokenizerError(message) | ParserError::ParserError(message) => message,
    };
    let place = location_of(message);
    let token = place.and_then(|place| tokens.iter().find(|t| t.span.start == place));
    match token {
        Some(token) => at_or_near(text, token),
        None if place.is_none() && !message.contains("EOF") => {
            // A refusal of sqlparser's own that names no place.
            SqlError::syntax(format!("syntax error: {}", message.to_lowercase()))
        }
        None => text.near(text.range(tokens).end..text.range(tokens).end),
    }
}

/// The place in `… at Line: 1, Column: 15`.
fn location_of(message: &str) -> Option<Location> {
    let (_, place) = message.rsplit_once(" at Line: ")?;
    let (line, column) = place.split_once(", Column: ")?;
    Some(Location { line: line.trim().parse().ok()?, column: column.trim().parse().ok()? })
}
