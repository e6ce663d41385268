//! Actions of ALTER TABLE about what there is nothing of here: how columns are stored and sampled, in which order rows lie.
//!
//! sqlparser does not read them, so each travels as the validation of a constraint that nobody can have made.

use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, TokenWithSpan, Word};

use super::rewrite::is_words;
use super::tokens::word_of;

/// What the name of such a constraint begins with; the column that the action names follows.
pub(in crate::sql) const WITHOUT_EFFECT: char = '\u{1}';

/// Rewrites the actions of an ALTER TABLE that change nothing here.
pub(super) fn mark_without_effect(tokens: &mut Vec<TokenWithSpan>) {
    if !is_words(tokens, 0, &["alter", "table"]) {
        return;
    }
    let mut at = 2;
    if is_words(tokens, at, &["if", "exists"]) {
        at += 2;
    }
    if is_words(tokens, at, &["only"]) {
        at += 1;
    }
    // The table's name, and the star behind it.
    while tokens.get(at + 1).is_some_and(|t| t.token == Token::Period) {
        at += 2;
    }
    at += 1;
    if tokens.get(at).is_some_and(|t| t.token == Token::Mul) {
        at += 1;
    }
    while at < tokens.len() {
        let end = end_of_action(tokens, at);
        if let Some(column) = column_without_effect(&tokens[at..end]) {
            let span = tokens[at].span;
            let made = |value: String, quote_style, keyword| TokenWithSpan {
                token: Token::Word(Word { value, quote_style, keyword }),
                span,
            };
            let action = [
                made("VALIDATE".to_owned(), None, Keyword::VALIDATE),
                made("CONSTRAINT".to_owned(), None, Keyword::CONSTRAINT),
                made(format!("{WITHOUT_EFFECT}{column}"), Some('"'), Keyword::NoKeyword),
            ];
            tokens.splice(at..end, action);
            at += 3;
        } else {
            at = end;
        }
        // The comma.
        at += 1;
    }
}

/// Where the action at `at` ends: at a comma outside of parentheses.
fn end_of_action(tokens: &[TokenWithSpan], at: usize) -> usize {
    let mut depth = 0_usize;
    for (place, token) in tokens.iter().enumerate().skip(at) {
        match token.token {
            Token::LParen => depth += 1,
            Token::RParen => depth = depth.saturating_sub(1),
            Token::Comma if depth == 0 => return place,
            _ => {}
        }
    }
    tokens.len()
}

/// The column of an action that has nothing to change here, empty where it is about the table; `None` for every other action.
fn column_without_effect(action: &[TokenWithSpan]) -> Option<String> {
    let is = |at: usize, words: &[&str]| is_words(action, at, words);
    let opens = |at: usize| action.get(at).is_some_and(|t| t.token == Token::LParen);
    let of_table = match action.len() {
        2 => is(0, &["set", "logged"]) || is(0, &["set", "unlogged"]),
        3 => {
            is(0, &["set", "without", "oids"])
                || is(0, &["set", "without", "cluster"])
                || is(0, &["disable", "trigger", "user"])
                || is(0, &["enable", "trigger", "user"])
        }
        _ => false,
    };
    if of_table {
        return Some(String::new());
    }
    if !is(0, &["alter"]) {
        return None;
    }
    let name = if is(1, &["column"]) { 2 } else { 1 };
    let Token::Word(word) = &action.get(name)?.token else { return None };
    let behind = name + 1;
    let known = is(behind, &["set", "statistics"])
        || is(behind, &["set", "storage"])
        || is(behind, &["set", "compression"])
        || (is(behind, &["set"]) && opens(behind + 1))
        || (is(behind, &["reset"]) && opens(behind + 1));
    if !known {
        return None;
    }
    Some(match word.quote_style {
        Some(_) => word.value.clone(),
        None => word_of(&action[name].token)?,
    })
}
