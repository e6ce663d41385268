//! Text to statements.
//!
//! The tokenizer is sqlparser's. Commands that sqlparser lacks or reads otherwise than PostgreSQL (transactions,
//! sessions, COPY, EXPLAIN, maintenance) are read here from the tokens; everything relational goes to sqlparser.

mod alter;
mod api_key;
mod beyond;
mod block;
mod copy;
mod cursor;
mod database;
mod dialect;
mod function;
mod maintenance;
pub(super) mod partition;
mod position;
mod relation;
mod rewrite;
mod role;
mod session;
mod syntax;
mod tokens;
mod transaction;
mod unsupported;
mod user_type;

use std::sync::Arc;

use perigee_types::{SqlError, SqlResult, SqlState};
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer, Whitespace};

pub(super) use self::alter::WITHOUT_EFFECT;
pub(super) use self::beyond::{JOIN_NAME_MARK, LATEST, RESET};
pub(crate) use self::dialect::PerigeeDialect;
use self::position::Text;
use self::position::at_or_near;
pub(super) use self::rewrite::CONSTRAINT_MARK;
pub(super) use self::rewrite::{CONFLICT_TARGET, NOTHING};
use self::tokens::Tokens;
pub(crate) use self::tokens::fold;
use super::statement::{Ast, Statement};

/// How deep parentheses, CASE and prefix operators may nest, and how long a chain of operators may be: what is planned
/// walks them by recursion.
const DEPTH_MAX: usize = 100;
const OPERATORS_MAX: usize = 2_000;
/// What sqlparser may recurse, which counts a parenthesis more than once.
const RECURSION_MAX: usize = 512;
/// How long a text may be; a wire message may hold more.
const TEXT_BYTES_MAX: usize = 64 << 20;

const DIALECT: PerigeeDialect = PerigeeDialect;

/// Splits and parses a client's text. An empty text or one of comments alone has no statements.
///
/// # Errors
/// `42601` with the place of the error, `54001` where it nests too deeply.
pub fn parse(sql: &str) -> SqlResult<Vec<Statement>> {
    if sql.len() > TEXT_BYTES_MAX {
        return Err(SqlError::new(SqlState::ProgramLimitExceeded, "statement is too long"));
    }
    let text = Text::new(sql);
    let tokens =
        Tokenizer::new(&DIALECT, sql).tokenize_with_location().map_err(|e| position::tokenizer_error(&text, &e))?;
    let tokens = without_space(&text, tokens)?;
    tokens
        .split(|t| t.token == Token::SemiColon)
        .filter(|tokens| !tokens.is_empty())
        .map(|tokens| statement(&text, tokens))
        .collect()
}

/// The tokens without white space and comments. String constants with a line's end between them are one.
///
/// # Errors
/// `42601` for two string constants side by side, for parameters of other dialects, and for names in quotes that have nothing between them.
fn without_space(text: &Text, tokens: Vec<TokenWithSpan>) -> SqlResult<Vec<TokenWithSpan>> {
    let mut kept: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len());
    let mut new_line = false;
    for mut token in tokens {
        if let Some(number) = number_of_base(text, &token) {
            token.token = number;
        }
        match &token.token {
            Token::Whitespace(Whitespace::Newline | Whitespace::SingleLineComment { .. }) => new_line = true,
            Token::Whitespace(_) => {}
            Token::Placeholder(name) if !name.starts_with('$') => return Err(at_or_near(text, &token)),
            Token::Word(word) if word.value.is_empty() && word.quote_style.is_some() => {
                return Err(position::zero_length(text, &token));
            }
            Token::SingleQuotedString(more) => {
                match kept.last_mut() {
                    Some(TokenWithSpan {
                        token: Token::SingleQuotedString(so_far) | Token::EscapedStringLiteral(so_far),
                        span,
                    }) => {
                        if !new_line {
                            return Err(at_or_near(text, &token));
                        }
                        so_far.push_str(more);
                        span.end = token.span.end;
                    }
                    _ => kept.push(token),
                }
                new_line = false;
            }
            _ => {
                kept.push(token);
                new_line = false;
            }
        }
    }
    Ok(kept)
}

/// `0x1F` as a number: the tokenizer takes it for the same as `X'1F'`.
fn number_of_base(text: &Text, token: &TokenWithSpan) -> Option<Token> {
    let Token::HexStringLiteral(digits) = &token.token else { return None };
    let written = text.slice(text.range(std::slice::from_ref(token)));
    if !written.starts_with('0') {
        return None;
    }
    let number = u128::from_str_radix(&digits.replace('_', ""), 16).ok()?;
    Some(Token::Number(number.to_string(), false))
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
    check_depth(tokens)?;
    if let Some(token) = clause_behind_from(tokens) {
        return Err(at_or_near(text, token));
    }
    let mut cursor = Tokens::new(text, tokens);
    let first = cursor.peek_word().unwrap_or_default();
    match first.as_str() {
        "begin" | "start" | "commit" | "end" | "rollback" | "abort" | "savepoint" | "release" => {
            return transaction::parse(&mut cursor);
        }
        "set" | "show" | "reset" | "discard" | "listen" | "unlisten" | "notify" | "deallocate" | "execute" => {
            return session::parse(&mut cursor);
        }
        "do" => return block::parse(&mut cursor),
        "prepare" => return session::prepare(&mut cursor),
        "declare" | "fetch" | "move" | "close" => return cursor::parse(&mut cursor),
        "copy" => return copy::parse(&mut cursor),
        "lock" => return relation::lock(&mut cursor),
        "reindex" => return relation::reindex(&mut cursor),
        "create" | "alter" | "drop" | "grant" | "revoke" | "reassign" => {
            if let Some(ast) = role::parse(&mut cursor)? {
                return Ok(ast);
            }
            if let Some(ast) = database::parse(&mut cursor)? {
                return Ok(ast);
            }
            if let Some(ast) = relation::parse(&cursor)? {
                return Ok(ast);
            }
        }
        "call" => return maintenance::call(&mut cursor),
        "explain" | "vacuum" | "analyze" | "analyse" | "checkpoint" | "refresh" => {
            return maintenance::parse(&mut cursor);
        }
        _ => {}
    }
    if let Some(ast) = function::parse(&mut cursor)? {
        return Ok(ast);
    }
    if let Some(ast) = user_type::parse(&mut cursor)? {
        return Ok(ast);
    }
    if let Some(change) = partition::alter(text, tokens)? {
        return Ok(change);
    }
    if let Some(what) = unsupported::find(tokens) {
        return Ok(Ast::Unsupported(what));
    }
    if first == "select" && tokens.len() == 1 {
        // A row without columns; sqlparser wants FROM behind what selects none.
        return parse_no_columns();
    }
    let rewritten = rewrite::rewrite(tokens);
    let mut statement = Box::new(with_parser(text, &rewritten.tokens, |parser| parser.parse_statement())?);
    syntax::spell_out_symmetric(&rewritten.tokens, &mut *statement)?;
    Ok(match rewritten.no_data || !rewritten.likes.is_empty() {
        true => Ast::CreateTable { statement, with_data: !rewritten.no_data, likes: rewritten.likes },
        false => Ast::Sql(statement),
    })
}

/// `SELECT`, and nothing else.
fn parse_no_columns() -> SqlResult<Ast> {
    let mut statements = parse("SELECT FROM (VALUES (1)) AS one_row")?;
    statements.pop().map(|statement| statement.ast).ok_or_else(|| SqlError::internal("no statement"))
}

/// The word of a clause where FROM wants a relation: sqlparser takes it for a name.
fn clause_behind_from(tokens: &[TokenWithSpan]) -> Option<&TokenWithSpan> {
    tokens.windows(2).find_map(|pair| {
        let (from, next) = (tokens::word_of(&pair[0].token), tokens::word_of(&pair[1].token));
        let clause = matches!(
            next.as_deref(),
            Some("where" | "group" | "having" | "order" | "limit" | "offset" | "union" | "intersect" | "except" | "on")
        );
        (from.as_deref() == Some("from") && clause).then_some(&pair[1])
    })
}

/// Refuses what nests too deeply before anything recurses into it.
///
/// # Errors
/// `54001`
fn check_depth(tokens: &[TokenWithSpan]) -> SqlResult<()> {
    let (mut depth, mut prefixes, mut operators) = (0_usize, 0_usize, 0_usize);
    // The operators before each parenthesis that is open: what stands within it is as deep as they are, what comes behind it is
    // not deeper for what stood within.
    let mut around: Vec<usize> = Vec::new();
    for token in tokens {
        let word = tokens::word_of(&token.token);
        match (&token.token, word.as_deref()) {
            (Token::LParen | Token::LBracket, _) | (_, Some("case")) => depth += 1,
            (Token::RParen | Token::RBracket, _) | (_, Some("end")) => depth = depth.saturating_sub(1),
            (Token::Comma, _) => operators = around.last().copied().unwrap_or(0),
            _ => {}
        }
        match &token.token {
            Token::LParen | Token::LBracket => around.push(operators),
            Token::RParen | Token::RBracket => operators = around.pop().unwrap_or(operators),
            _ => {}
        }
        match (&token.token, word.as_deref()) {
            (Token::Minus | Token::Plus | Token::Tilde | Token::ExclamationMark, _) | (_, Some("not")) => {
                prefixes += 1;
                operators += 1;
            }
            (Token::LParen, _) => {}
            (Token::Word(_), Some("and" | "or" | "union" | "intersect" | "except")) => {
                prefixes = 0;
                operators += 1;
            }
            (Token::Word(_) | Token::Number(..) | Token::SingleQuotedString(_) | Token::RParen | Token::Comma, _) => {
                prefixes = 0;
            }
            _ => operators += 1,
        }
        if depth + prefixes > DEPTH_MAX || operators > OPERATORS_MAX {
            return Err(SqlError::new(SqlState::StatementTooComplex, "stack depth limit exceeded")
                .hint("The statement nests expressions or queries too deeply."));
        }
    }
    Ok(())
}

/// Runs a method of sqlparser over all of `tokens`.
fn with_parser<T>(
    text: &Text,
    tokens: &[TokenWithSpan],
    read: impl FnOnce(&mut Parser) -> Result<T, ParserError>,
) -> SqlResult<T> {
    let mut parser =
        Parser::new(&DIALECT).with_recursion_limit(RECURSION_MAX).with_tokens_with_locations(tokens.to_vec());
    let result = read(&mut parser).map_err(|e| position::parser_error(text, tokens, &e))?;
    let rest = parser.peek_token();
    if rest.token != Token::EOF {
        return Err(at_or_near(text, &rest));
    }
    Ok(result)
}

#[cfg(test)]
mod tests;
