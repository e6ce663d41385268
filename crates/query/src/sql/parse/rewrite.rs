//! What PostgreSQL writes and sqlparser does not read, written as it does read it.

use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, TokenWithSpan, Word};

use super::tokens::word_of;

/// The tokens for sqlparser.
pub(super) struct Rewritten {
    pub(super) tokens: Vec<TokenWithSpan>,
    /// CREATE TABLE … AS … WITH NO DATA
    pub(super) no_data: bool,
}

/// Rewrites `TABLE t`, `CREATE UNLOGGED TABLE`, `… WITH [NO] DATA`.
pub(super) fn rewrite(tokens: &[TokenWithSpan]) -> Rewritten {
    let mut tokens = tokens.to_vec();
    let mut no_data = false;
    if is_words(&tokens, 0, &["create", "unlogged", "table"]) {
        tokens.remove(1);
    }
    if is_words(&tokens, 0, &["create"]) {
        let length = tokens.len();
        if length > 3 && is_words(&tokens, length - 3, &["with", "no", "data"]) {
            no_data = true;
            tokens.truncate(length - 3);
        } else if length > 2 && is_words(&tokens, length - 2, &["with", "data"]) {
            tokens.truncate(length - 2);
        }
    }
    expand_table_commands(&mut tokens);
    Rewritten { tokens, no_data }
}

/// `TABLE t` where a query stands becomes `SELECT * FROM t`.
fn expand_table_commands(tokens: &mut Vec<TokenWithSpan>) {
    let mut at = 0;
    while at < tokens.len() {
        if is_words(tokens, at, &["table"]) && starts_query(tokens, at) {
            let span = tokens[at].span;
            let made = |token| TokenWithSpan { token, span };
            let select =
                [made(keyword("SELECT", Keyword::SELECT)), made(Token::Mul), made(keyword("FROM", Keyword::FROM))];
            tokens.splice(at..=at, select);
        }
        at += 1;
    }
}

/// Whether a query may start at `at`: at the front, behind a set operator, or behind `(` or `AS`, and a name follows.
fn starts_query(tokens: &[TokenWithSpan], at: usize) -> bool {
    if !matches!(tokens.get(at + 1).map(|t| &t.token), Some(Token::Word(_))) {
        return false;
    }
    let Some(before) = at.checked_sub(1).map(|i| &tokens[i].token) else { return true };
    match before {
        Token::LParen => {
            // `grant … on (table …)` and the like do not exist; a column named table would have to be quoted.
            true
        }
        other => matches!(word_of(other).as_deref(), Some("union" | "all" | "intersect" | "except" | "as")),
    }
}

fn keyword(text: &str, keyword: Keyword) -> Token {
    Token::Word(Word { value: text.to_owned(), quote_style: None, keyword })
}

fn is_words(tokens: &[TokenWithSpan], at: usize, words: &[&str]) -> bool {
    words
        .iter()
        .enumerate()
        .all(|(i, word)| tokens.get(at + i).and_then(|t| word_of(&t.token)).is_some_and(|w| w == *word))
}
