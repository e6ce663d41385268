//! SQL/JSON path: what a `jsonpath` says, read from its text and written in PostgreSQL's canonical form.
//!
//! A path is kept as its canonical text; whoever evaluates it reads that again with [`parse`].
//!
//! - [`lexer`]: characters to tokens
//! - [`parser`]: tokens to [`Chain`]s
//! - [`write`](mod@write): the canonical text

mod lexer;
mod parser;
mod write;

use crate::{SqlError, SqlResult, SqlState};

/// A level of `**{n}` that means the leaves: `last`.
pub const LEVEL_LAST: u32 = u32::MAX;

/// A path and its mode.
#[derive(Clone, Debug, PartialEq)]
pub struct JsonPath {
    /// Whether structural errors are forgiven and arrays are taken apart: without `strict` in front.
    pub lax: bool,
    /// What is evaluated.
    pub root: Chain,
}

/// A first value and what is done to it, step by step. It has at least one step.
pub type Chain = Vec<Step>;

/// One step of a [`Chain`].
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// `null`
    Null,
    /// `true`, `false`
    Bool(bool),
    /// A number as numeric prints it.
    Number(String),
    /// A string.
    String(String),
    /// `$name`
    Variable(String),
    /// `$`
    Root,
    /// `@`
    Current,
    /// `last`
    Last,
    /// `.name`
    Key(String),
    /// `.*`
    AnyKey,
    /// `[*]`
    AnyElement,
    /// `[1, 2 to 3]`
    Elements(Vec<(Chain, Option<Chain>)>),
    /// `.**{first to last}`
    AnyLevel(u32, u32),
    /// `left op right`
    Binary(Binary, Box<(Chain, Chain)>),
    /// `op value`
    Unary(Unary, Box<Chain>),
    /// `value like_regex "pattern" flag "flags"`
    LikeRegex(Box<Chain>, Pattern),
    /// `.method()`
    Method(Method),
    /// `.datetime("template")`
    Datetime(Option<String>),
}

/// An operator between two values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binary {
    /// `&&`
    And,
    /// `||`
    Or,
    /// `==`
    Equal,
    /// `!=`, `<>`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
    /// `starts with`
    StartsWith,
    /// `+`
    Add,
    /// `-`
    Subtract,
    /// `*`
    Multiply,
    /// `/`
    Divide,
    /// `%`
    Modulo,
}

impl Binary {
    /// How it is written.
    #[must_use]
    pub fn symbol(self) -> &'static str {
        match self {
            Binary::And => "&&",
            Binary::Or => "||",
            Binary::Equal => "==",
            Binary::NotEqual => "!=",
            Binary::Less => "<",
            Binary::LessOrEqual => "<=",
            Binary::Greater => ">",
            Binary::GreaterOrEqual => ">=",
            Binary::StartsWith => "starts with",
            Binary::Add => "+",
            Binary::Subtract => "-",
            Binary::Multiply => "*",
            Binary::Divide => "/",
            Binary::Modulo => "%",
        }
    }

    /// Whether it gives a truth value.
    #[must_use]
    pub fn is_predicate(self) -> bool {
        !matches!(self, Binary::Add | Binary::Subtract | Binary::Multiply | Binary::Divide | Binary::Modulo)
    }
}

/// What is done to one value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unary {
    /// `!(…)`
    Not,
    /// `(…) is unknown`
    IsUnknown,
    /// `exists (…)`
    Exists,
    /// `?(…)`
    Filter,
    /// `+`
    Plus,
    /// `-`
    Minus,
}

/// A method without arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// `.type()`
    Type,
    /// `.size()`
    Size,
    /// `.abs()`
    Abs,
    /// `.floor()`
    Floor,
    /// `.ceiling()`
    Ceiling,
    /// `.double()`
    Double,
    /// `.keyvalue()`
    KeyValue,
}

impl Method {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Method::Type => "type",
            Method::Size => "size",
            Method::Abs => "abs",
            Method::Floor => "floor",
            Method::Ceiling => "ceiling",
            Method::Double => "double",
            Method::KeyValue => "keyvalue",
        }
    }
}

/// The pattern of `like_regex`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    /// The regular expression.
    pub text: String,
    /// `i`: letters of both cases are the same.
    pub ignore_case: bool,
    /// `s`: a dot is also a newline.
    pub dot_all: bool,
    /// `m`: `^` and `$` stand at every line.
    pub multi_line: bool,
    /// `x`, which only `q` beside it makes harmless.
    pub expanded: bool,
    /// `q`: the pattern is plain text.
    pub quoted: bool,
}

impl Pattern {
    /// The compiled pattern.
    ///
    /// # Errors
    /// `2201B` where it is malformed.
    pub fn regex(&self) -> SqlResult<regex::Regex> {
        let text = if self.quoted { regex::escape(&self.text) } else { super::pattern::translate(&self.text) };
        regex::RegexBuilder::new(&text)
            .case_insensitive(self.ignore_case)
            .dot_matches_new_line(self.dot_all)
            .multi_line(self.multi_line && !self.quoted)
            .build()
            .map_err(|error| {
                let reason = error.to_string();
                let reason = reason.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
                SqlError::new(SqlState::InvalidRegularExpression, format!("invalid regular expression: {reason}"))
            })
    }
}

/// Reads a path.
///
/// # Errors
/// `42601` for what is no path, `22P02` for an empty text or half a surrogate pair, `22P05` for `\u0000`, `2201B` for a
/// malformed regular expression, `54001` where it is nested too deeply.
pub fn parse(text: &str) -> SqlResult<JsonPath> {
    parser::parse(text)
}

/// The canonical text of a path.
///
/// # Errors
/// As [`parse`].
pub fn normalize(text: &str) -> SqlResult<String> {
    Ok(write::canonical(&parse(text)?))
}

#[cfg(test)]
mod tests;
