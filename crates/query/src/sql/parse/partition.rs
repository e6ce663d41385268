//! Partitions and inheritance: what PostgreSQL writes about them and sqlparser does not read.

use perigee_types::{SqlError, SqlResult};
use sqlparser::ast::{self, ForValues, Ident, ObjectName, ObjectNamePart};
use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, TokenWithSpan, Word};

use super::position::{Text, at_or_near};
use super::tokens::{Tokens, word_of};
use super::with_parser;
use crate::exec::ONLY_MARK;
use crate::sql::statement::{Ast, Lineage, LineageChange};

/// The type of a column that PARTITION OF names without one: its parent's.
pub(in crate::sql) const PARENTS_TYPE: &str = "\u{1}parent";

/// `ALTER TABLE … ATTACH PARTITION`, `DETACH PARTITION`, `INHERIT`, `NO INHERIT`; `None` where it is another statement.
pub(super) fn alter(text: &Text, all: &[TokenWithSpan]) -> SqlResult<Option<Ast>> {
    let mut tokens = Tokens::new(text, all);
    if !tokens.accept_words(&["alter", "table"]) {
        return Ok(None);
    }
    let if_exists = tokens.accept_words(&["if", "exists"]);
    tokens.accept_words(&["only"]);
    let Ok(table) = tokens.object_name() else { return Ok(None) };
    tokens.accept(&Token::Mul);
    let change = if tokens.accept_words(&["attach", "partition"]) {
        let child = tokens.object_name()?;
        LineageChange::Attach { child, bound: bound(text, tokens.rest())? }
    } else if tokens.accept_words(&["detach", "partition"]) {
        let child = tokens.object_name()?;
        if tokens.accept_one(&["concurrently", "finalize"]).is_some() {
            return Ok(Some(Ast::Unsupported("DETACH PARTITION CONCURRENTLY")));
        }
        tokens.expect_end()?;
        LineageChange::Detach { child }
    } else if tokens.accept_words(&["no", "inherit"]) {
        let parent = tokens.object_name()?;
        tokens.expect_end()?;
        LineageChange::NoInherit { parent }
    } else if tokens.accept_words(&["inherit"]) {
        let parent = tokens.object_name()?;
        tokens.expect_end()?;
        LineageChange::Inherit { parent }
    } else {
        return Ok(None);
    };
    Ok(Some(Ast::Lineage(Lineage { table, if_exists, change })))
}

/// `FOR VALUES …` or `DEFAULT`. sqlparser reads it behind PARTITION OF alone.
fn bound(text: &Text, tokens: &[TokenWithSpan]) -> SqlResult<ForValues> {
    let Some(first) = tokens.first() else { return Err(Tokens::new(text, tokens).error()) };
    let word = |word: &str, keyword| TokenWithSpan { token: made(word, keyword), span: first.span };
    let name = || word("t", Keyword::NoKeyword);
    let mut statement = vec![word("CREATE", Keyword::CREATE), word("TABLE", Keyword::TABLE), name()];
    statement.extend([word("PARTITION", Keyword::PARTITION), word("OF", Keyword::OF), name()]);
    statement.extend_from_slice(tokens);
    match with_parser(text, &statement, |parser| parser.parse_statement())? {
        ast::Statement::CreateTable(ast::CreateTable { for_values: Some(bound), partition_by: None, .. }) => Ok(bound),
        _ => Err(at_or_near(text, first)),
    }
}

fn made(text: &str, keyword: Keyword) -> Token {
    Token::Word(Word { value: text.to_owned(), quote_style: None, keyword })
}

/// Rewrites `ONLY t`, `t *`, operator classes in PARTITION BY and the columns of PARTITION OF.
pub(super) fn rewrite(tokens: &mut Vec<TokenWithSpan>) {
    mark_only(tokens);
    let is = |at: usize, word: &str| tokens.get(at).and_then(|t| word_of(&t.token)).as_deref() == Some(word);
    if is(0, "create") && (1..4).any(|at| is(at, "table")) {
        type_columns_of_partition(tokens);
        drop_operator_classes(tokens);
    }
}

/// `ONLY t` and `ONLY (t)` become a name that nobody else can write; `t *` becomes `t`.
fn mark_only(tokens: &mut Vec<TokenWithSpan>) {
    // Behind the USING of a change of a type stands an expression: `a * 10`.
    let alters = tokens.first().and_then(|t| word_of(&t.token)).as_deref() == Some("alter");
    let mut at = 0;
    while at + 1 < tokens.len() {
        let before = at.checked_sub(1).map(|at| &tokens[at].token);
        let word = before.and_then(word_of);
        let merge = at.checked_sub(2).and_then(|at| word_of(&tokens[at].token)).as_deref() == Some("merge");
        let relation = matches!(word.as_deref(), Some("from" | "join" | "update"))
            || (word.as_deref() == Some("using") && !alters)
            || (word.as_deref() == Some("into") && merge);
        let listed = before == Some(&Token::Comma);
        if (relation || listed) && word_of(&tokens[at].token).as_deref() == Some("only") {
            let parenthesized = tokens[at + 1].token == Token::LParen;
            let name = at + 1 + usize::from(parenthesized);
            let Some(last) = last_of_name(tokens, name) else {
                at += 1;
                continue;
            };
            if parenthesized && tokens.get(last + 1).is_none_or(|t| t.token != Token::RParen) {
                at += 1;
                continue;
            }
            if let Token::Word(word) = &mut tokens[last].token {
                let plain =
                    if word.quote_style.is_some() { word.value.clone() } else { word.value.to_ascii_lowercase() };
                *word =
                    Word { value: format!("{plain}{ONLY_MARK}"), quote_style: Some('"'), keyword: Keyword::NoKeyword };
            }
            if parenthesized {
                tokens.remove(last + 1);
                tokens.remove(at + 1);
            }
            tokens.remove(at);
        } else if relation
            && let Some(last) = last_of_name(tokens, at)
            && tokens.get(last + 1).is_some_and(|t| t.token == Token::Mul)
        {
            tokens.remove(last + 1);
        }
        at += 1;
    }
}

/// A name behind ONLY.
pub(super) fn only(mut name: ObjectName) -> ObjectName {
    if let Some(ObjectNamePart::Identifier(last)) = name.0.last_mut() {
        *last = Ident::with_quote('"', format!("{}{ONLY_MARK}", super::fold(last)));
    }
    name
}

/// The last token of the name that starts at `at`.
fn last_of_name(tokens: &[TokenWithSpan], at: usize) -> Option<usize> {
    let is_word = |at: usize| matches!(tokens.get(at).map(|t| &t.token), Some(Token::Word(_)));
    if !is_word(at) {
        return None;
    }
    let mut last = at;
    while tokens.get(last + 1).is_some_and(|t| t.token == Token::Period) && is_word(last + 2) {
        last += 2;
    }
    Some(last)
}

/// `PARTITION OF t (a NOT NULL, b WITH OPTIONS DEFAULT 1)`: sqlparser wants types.
fn type_columns_of_partition(tokens: &mut Vec<TokenWithSpan>) {
    let word = |tokens: &[TokenWithSpan], at: usize| tokens.get(at).and_then(|t| word_of(&t.token));
    let Some(of) = (0..tokens.len())
        .find(|at| word(tokens, *at).as_deref() == Some("partition") && word(tokens, at + 1).as_deref() == Some("of"))
    else {
        return;
    };
    let Some(open) = last_of_name(tokens, of + 2).map(|last| last + 1) else { return };
    if tokens.get(open).is_none_or(|t| t.token != Token::LParen) {
        return;
    }
    let (mut depth, mut at, mut starts) = (0usize, open, true);
    while at < tokens.len() {
        match &tokens[at].token {
            Token::LParen => depth += 1,
            Token::RParen => {
                depth -= 1;
                if depth == 0 {
                    return;
                }
            }
            Token::Comma if depth == 1 => starts = true,
            Token::Word(_) if depth == 1 && starts => {
                starts = false;
                let constraint = matches!(
                    word(tokens, at).as_deref(),
                    Some("constraint" | "check" | "primary" | "unique" | "foreign" | "exclude")
                );
                if !constraint {
                    if word(tokens, at + 1).as_deref() == Some("with")
                        && word(tokens, at + 2).as_deref() == Some("options")
                    {
                        tokens.drain(at + 1..at + 3);
                    }
                    let ty =
                        Word { value: PARENTS_TYPE.to_owned(), quote_style: Some('"'), keyword: Keyword::NoKeyword };
                    tokens.insert(at + 1, TokenWithSpan { token: Token::Word(ty), span: tokens[at].span });
                    at += 1;
                }
            }
            _ => {}
        }
        at += 1;
    }
}

/// `PARTITION BY RANGE (a int4_ops)`: the built-in operator classes are those that are used anyway.
fn drop_operator_classes(tokens: &mut Vec<TokenWithSpan>) {
    let word = |tokens: &[TokenWithSpan], at: usize| tokens.get(at).and_then(|t| word_of(&t.token));
    let Some(by) = (0..tokens.len())
        .find(|at| word(tokens, *at).as_deref() == Some("partition") && word(tokens, at + 1).as_deref() == Some("by"))
    else {
        return;
    };
    let mut at = by + 4;
    while at < tokens.len() {
        let ends = matches!(tokens.get(at + 1).map(|t| &t.token), Some(Token::Comma | Token::RParen));
        let behind = matches!(tokens[at - 1].token, Token::Word(_) | Token::RParen);
        if ends && behind && word(tokens, at).is_some_and(|word| word.ends_with("_ops")) {
            tokens.remove(at);
        }
        at += 1;
    }
}

/// The strategy and the keys of PARTITION BY.
///
/// # Errors
/// `42601`
pub(in crate::sql) fn clause(expr: &ast::Expr) -> SqlResult<(String, Vec<ast::Expr>)> {
    let wrong = || SqlError::syntax(format!("syntax error at or near \"{expr}\""));
    let ast::Expr::Function(function) = expr else { return Err(wrong()) };
    let ast::FunctionArguments::List(list) = &function.args else { return Err(wrong()) };
    let keys = list.args.iter().map(|arg| match arg {
        ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(expr)) => Some(expr.clone()),
        _ => None,
    });
    let keys: Option<Vec<_>> = keys.collect();
    match keys {
        Some(keys) if !keys.is_empty() => Ok((function.name.to_string(), keys)),
        _ => Err(wrong()),
    }
}
