//! DECLARE, FETCH, MOVE, CLOSE.

use perigee_plan::{FetchDirection, SessionCommand};
use perigee_types::{SqlError, SqlResult};
use sqlparser::tokenizer::Token;

use super::tokens::{Tokens, word_of};
use crate::sql::statement::Ast;

pub(super) fn parse(tokens: &mut Tokens) -> SqlResult<Ast> {
    match tokens.next().and_then(word_of).as_deref() {
        Some("declare") => declare(tokens),
        Some("close") => close(tokens),
        Some("move") => fetch(tokens, true),
        _ => fetch(tokens, false),
    }
}

/// `DECLARE name [BINARY] [ASENSITIVE | INSENSITIVE] [[NO] SCROLL] CURSOR [{WITH | WITHOUT} HOLD] FOR query`
fn declare(tokens: &mut Tokens) -> SqlResult<Ast> {
    let name = tokens.name()?;
    let mut scroll = None;
    loop {
        if tokens.accept_words(&["binary"]) {
            return unsupported(tokens, "DECLARE … BINARY CURSOR");
        } else if tokens.accept_words(&["no", "scroll"]) {
            scroll = Some(false);
        } else if tokens.accept_words(&["scroll"]) {
            scroll = Some(true);
        } else if tokens.accept_one(&["asensitive", "insensitive"]).is_none() {
            // Every cursor reads the snapshot that it was declared at.
            break;
        }
    }
    tokens.expect_words(&["cursor"])?;
    let hold = tokens.accept_words(&["with", "hold"]);
    if !hold {
        tokens.accept_words(&["without", "hold"]);
    }
    tokens.expect_words(&["for"])?;
    let statement = Box::new(tokens.rest_statement()?);
    match &statement.ast {
        Ast::Sql(sql) if matches!(**sql, sqlparser::ast::Statement::Query(_)) => {}
        Ast::Unsupported(what) => return Ok(Ast::Unsupported(what)),
        _ => {
            let first = statement.text.split_whitespace().next().unwrap_or_default();
            return Err(SqlError::syntax(format!("syntax error at or near \"{first}\""))
                .position(statement.offset.saturating_add(1)));
        }
    }
    Ok(Ast::Declare { name, scroll, hold, statement })
}

fn unsupported(tokens: &mut Tokens, what: &'static str) -> SqlResult<Ast> {
    while tokens.next().is_some() {}
    Ok(Ast::Unsupported(what))
}

/// `{FETCH | MOVE} [direction] [FROM | IN] name`
fn fetch(tokens: &mut Tokens, moves: bool) -> SqlResult<Ast> {
    let direction = direction(tokens)?;
    tokens.accept_one(&["from", "in"]);
    let name = tokens.name()?;
    tokens.expect_end()?;
    Ok(Ast::Session(SessionCommand::Fetch { name, direction, moves }))
}

fn direction(tokens: &mut Tokens) -> SqlResult<FetchDirection> {
    use FetchDirection::{Absolute, Backward, Forward, Relative};
    if tokens.is_last() {
        // A cursor may have the name of a direction.
        return Ok(Forward(Some(1)));
    }
    if matches!(tokens.peek(), Some(Token::Number(..) | Token::Minus | Token::Plus)) {
        return Ok(forward(tokens.integer()?));
    }
    let words = &["next", "prior", "first", "last", "absolute", "relative", "all", "forward", "backward"];
    Ok(match tokens.accept_one(words) {
        Some("prior") => Backward(Some(1)),
        Some("first") => Absolute(1),
        Some("last") => Absolute(-1),
        Some("absolute") => Absolute(tokens.integer()?),
        Some("relative") => Relative(tokens.integer()?),
        Some("all") => Forward(None),
        Some("forward") => count(tokens)?.map_or(Forward(None), forward),
        Some("backward") => count(tokens)?.map_or(Backward(None), |count| forward(-count)),
        _ => Forward(Some(1)),
    })
}

/// What follows FORWARD or BACKWARD: a count, ALL (`None`) or nothing, which is 1.
fn count(tokens: &mut Tokens) -> SqlResult<Option<i64>> {
    if tokens.accept_words(&["all"]) {
        return Ok(None);
    }
    if matches!(tokens.peek(), Some(Token::Number(..) | Token::Minus | Token::Plus)) {
        return tokens.integer().map(Some);
    }
    Ok(Some(1))
}

/// A negative count goes the other way.
fn forward(count: i64) -> FetchDirection {
    match u64::try_from(count) {
        Ok(count) => FetchDirection::Forward(Some(count)),
        Err(_) => FetchDirection::Backward(Some(count.unsigned_abs())),
    }
}

fn close(tokens: &mut Tokens) -> SqlResult<Ast> {
    let name = if tokens.accept_words(&["all"]) { None } else { Some(tokens.name()?) };
    tokens.expect_end()?;
    Ok(Ast::Session(SessionCommand::Close(name)))
}
