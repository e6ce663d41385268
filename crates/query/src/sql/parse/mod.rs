//! Text to statements.
//!
//! The tokenizer is sqlparser's. Commands that sqlparser lacks or reads otherwise than PostgreSQL (transactions,
//! sessions, COPY, EXPLAIN, maintenance) are read here from the tokens; everything relational goes to sqlparser.

mod copy;
mod cursor;
mod maintenance;
mod position;
mod rewrite;
mod session;
mod tokens;
mod transaction;
mod unsupported;

use std::sync::Arc;

use perigee_types::{SqlError, SqlResult, SqlState};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer};

use self::position::Text;
use self::position::at_or_near;
use self::tokens::Tokens;
pub(super) use self::tokens::fold;
use super::statement::{Ast, Statement};

/// How deep expressions and queries may nest. sqlparser guards its stack by this count.
const DEPTH_MAX: usize = 128;
/// How long a text may be; a wire message may hold more.
const TEXT_BYTES_MAX: usize = 64 << 20;

const DIALECT: PostgreSqlDialect = PostgreSqlDialect {};

/// Splits and parses a client's text. An empty text or one of comments alone has no statements.
///
/// # Errors
/// `42601` with the place of the error, `54001` where it nests too deeply.
pub fn parse(sql: &str) -> SqlResult<Vec<Statement>> {
    if sql.len() > TEXT_BYTES_MAX {
        return Err(SqlError::new(SqlState::ProgramLimitExceeded, "statement is too long"));
    }
    let text = Text::new(sql);
    let tokens = Tokenizer::new(&DIALECT, sql)
        .tokenize_with_location()
        .map_err(|e| position::tokenizer_error(&text, &e))?
        .into_iter()
        .filter(|t| !matches!(t.token, Token::Whitespace(_)))
        .collect::<Vec<_>>();
    tokens
        .split(|t| t.token == Token::SemiColon)
        .filter(|tokens| !tokens.is_empty())
        .map(|tokens| statement(&text, tokens))
        .collect()
}

/// One expression, as a column's default stands in the catalog.
///
/// # Errors
/// As [`parse`].
pub fn parse_expression(sql: &str) -> SqlResult<sqlparser::ast::Expr> {
    let text = Text::new(sql);
    let tokens =
        Tokenizer::new(&DIALECT, sql).tokenize_with_location().map_err(|e| position::tokenizer_error(&text, &e))?;
    with_parser(&text, &tokens, |parser| parser.parse_expr())
}

/// Reads one statement from its tokens, which hold no white space and no semicolon.
fn statement(text: &Text, tokens: &[TokenWithSpan]) -> SqlResult<Statement> {
    let range = text.range(tokens);
    let slice = Arc::from(text.slice(range.clone()));
    let offset = text.characters_before(range.start);
    let ast = ast(text, tokens)?;
    Ok(Statement { text: slice, offset, ast, literals: Vec::new() })
}

fn ast(text: &Text, tokens: &[TokenWithSpan]) -> SqlResult<Ast> {
    let mut cursor = Tokens::new(text, tokens);
    let first = cursor.peek_word().unwrap_or_default();
    match first.as_str() {
        "begin" | "start" | "commit" | "end" | "rollback" | "abort" | "savepoint" | "release" => {
            return transaction::parse(&mut cursor);
        }
        "set" | "show" | "reset" | "discard" | "deallocate" | "execute" => return session::parse(&mut cursor),
        "prepare" => return session::prepare(&mut cursor),
        "declare" | "fetch" | "move" | "close" => return cursor::parse(&mut cursor),
        "copy" => return copy::parse(&mut cursor),
        "explain" | "vacuum" | "analyze" | "analyse" | "checkpoint" => return maintenance::parse(&mut cursor),
        _ => {}
    }
    if let Some(what) = unsupported::find(tokens) {
        return Ok(Ast::Unsupported(what));
    }
    let rewritten = rewrite::rewrite(tokens);
    let statement = Box::new(with_parser(text, &rewritten.tokens, |parser| parser.parse_statement())?);
    Ok(if rewritten.no_data { Ast::CreateTableNoData(statement) } else { Ast::Sql(statement) })
}

/// Runs a method of sqlparser over all of `tokens`.
fn with_parser<T>(
    text: &Text,
    tokens: &[TokenWithSpan],
    read: impl FnOnce(&mut Parser) -> Result<T, ParserError>,
) -> SqlResult<T> {
    let mut parser = Parser::new(&DIALECT).with_recursion_limit(DEPTH_MAX).with_tokens_with_locations(tokens.to_vec());
    let result = read(&mut parser).map_err(|e| position::parser_error(text, tokens, &e))?;
    let rest = parser.peek_token();
    if rest.token != Token::EOF {
        return Err(at_or_near(text, &rest));
    }
    Ok(result)
}

#[cfg(test)]
mod tests;
