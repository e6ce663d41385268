//! Where in a text the name stands that an error is about.
//!
//! DataFusion's planner does not say where it was. An error's message names what it found wrong, and the first place in
//! the text where that name can mean the same is what PostgreSQL points at, but for a name that is right there and wrong
//! further on.

use perigee_types::{SqlError, SqlState};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::tokenizer::{Location, Token, Tokenizer};

/// The error with the place of what it names, where it has none yet.
pub(super) fn locate(error: SqlError, sql: &str) -> SqlError {
    if error.fields().position.is_some() {
        return error;
    }
    match place(&error, sql) {
        Some(position) => error.position(position),
        None => error,
    }
}

/// What a token must be.
enum Wanted<'a> {
    /// A relation: not qualified further, not called.
    Relation(Vec<&'a str>),
    /// A column, perhaps behind its table's name.
    Column(Vec<&'a str>),
    /// A name before a point.
    Table(&'a str),
    /// A name before a parenthesis.
    Function(&'a str),
    /// Any word.
    Word(&'a str),
    /// A text in quotes.
    Literal(&'a str),
    /// An operator.
    Operator(&'a str),
}

/// Counted in characters from one.
fn place(error: &SqlError, sql: &str) -> Option<u32> {
    let message = error.message();
    let quoted = || message.split('"').nth(1);
    let wanted = match error.state() {
        SqlState::UndefinedTable if message.starts_with("missing FROM-clause") => Wanted::Table(quoted()?),
        SqlState::UndefinedTable => Wanted::Relation(quoted()?.split('.').collect()),
        SqlState::UndefinedColumn if message.starts_with("column \"") => Wanted::Column(vec![quoted()?]),
        SqlState::UndefinedColumn => {
            Wanted::Column(message.strip_prefix("column ")?.split(' ').next()?.split('.').collect())
        }
        SqlState::AmbiguousColumn => Wanted::Column(vec![quoted()?]),
        SqlState::GroupingError => Wanted::Column(quoted()?.split('.').collect()),
        SqlState::UndefinedObject => Wanted::Word(quoted()?),
        SqlState::UndefinedFunction | SqlState::AmbiguousFunction => match message.strip_prefix("function ") {
            Some(rest) => Wanted::Function(rest.split(['(', ' ']).next()?),
            None => {
                let operator =
                    message.split(' ').find(|w| !w.is_empty() && w.chars().all(|c| "+-*/<>=~!@#%^&|`?".contains(c)))?;
                Wanted::Operator(operator)
            }
        },
        SqlState::InvalidTextRepresentation | SqlState::InvalidDatetimeFormat | SqlState::DatetimeFieldOverflow => {
            Wanted::Literal(message.split_once(": \"")?.1.strip_suffix('"')?)
        }
        _ => return None,
    };
    find(&wanted, sql)
}

fn find(wanted: &Wanted, sql: &str) -> Option<u32> {
    let tokens: Vec<_> = Tokenizer::new(&PostgreSqlDialect {}, sql)
        .tokenize_with_location()
        .ok()?
        .into_iter()
        .filter(|t| !matches!(t.token, Token::Whitespace(_)))
        .collect();
    let word = |at: usize| match tokens.get(at).map(|t| &t.token) {
        Some(Token::Word(word)) if word.quote_style.is_some() => Some(word.value.clone()),
        Some(Token::Word(word)) => Some(word.value.to_lowercase()),
        _ => None,
    };
    let is = |at: usize, token: &Token| tokens.get(at).is_some_and(|t| t.token == *token);
    // The names from `at` on, with points between them.
    let path = |at: usize, names: &[&str]| {
        names.iter().enumerate().all(|(i, name)| {
            word(at + 2 * i).as_deref() == Some(*name) && (i == 0 || is(at + 2 * i - 1, &Token::Period))
        })
    };
    let unqualified = |at: usize| at == 0 || !is(at - 1, &Token::Period);
    let found = (0..tokens.len()).find(|at| {
        let at = *at;
        match wanted {
            Wanted::Relation(names) => {
                path(at, names) && unqualified(at) && !is(at + 2 * names.len() - 1, &Token::LParen) && {
                    let before = at.checked_sub(1).and_then(word);
                    let keyword = before.as_deref().is_some_and(|w| {
                        matches!(
                            w,
                            "from"
                                | "join"
                                | "into"
                                | "update"
                                | "table"
                                | "only"
                                | "using"
                                | "exists"
                                | "copy"
                                | "on"
                                | "view"
                                | "references"
                        )
                    });
                    keyword || at > 0 && is(at - 1, &Token::Comma)
                }
            }
            Wanted::Column(names) => {
                let bare = names.len() == 1;
                path(at, names)
                    && unqualified(at)
                    && !is(at + 2 * names.len() - 1, &Token::LParen)
                    && !(bare && is(at + 1, &Token::Period))
                    && at.checked_sub(1).and_then(word).as_deref() != Some("as")
            }
            Wanted::Table(name) => word(at).as_deref() == Some(*name) && is(at + 1, &Token::Period),
            Wanted::Function(name) => word(at).as_deref() == Some(*name) && is(at + 1, &Token::LParen),
            Wanted::Word(name) => word(at).as_deref() == Some(*name),
            Wanted::Literal(text) => {
                matches!(&tokens[at].token, Token::SingleQuotedString(s) | Token::EscapedStringLiteral(s) if s == text)
            }
            Wanted::Operator(symbol) => tokens[at].token.to_string() == *symbol,
        }
    });
    // A grouped column may be written without its table.
    let found = found.or_else(|| match wanted {
        Wanted::Column(names) if names.len() > 1 => {
            let last = *names.last()?;
            (0..tokens.len()).find(|at| word(*at).as_deref() == Some(last) && unqualified(*at))
        }
        _ => None,
    });
    characters_before(sql, tokens.get(found?)?.span.start).map(|before| before + 1)
}

/// Characters before a place in a text.
fn characters_before(sql: &str, place: Location) -> Option<u32> {
    let line = usize::try_from(place.line).ok()?.checked_sub(1)?;
    let before: usize = sql.split_inclusive('\n').take(line).map(|line| line.chars().count()).sum();
    u32::try_from(before).ok()?.checked_add(u32::try_from(place.column).ok()?.checked_sub(1)?)
}
