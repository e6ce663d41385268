//! Clauses that PostgreSQL does not have, in a form that sqlparser reads.
//!
//! - `a ASOF [LEFT] JOIN b ON …` (DuckDB) is `a ASOF JOIN b MATCH_CONDITION (true) ON …`, with `(false)` for LEFT
//! - `a <+> b` (pgvector), which is three tokens, is one operator
//! - `ROWS FROM (f(a), g(b))`, which PostgreSQL has and sqlparser does not, is `(SELECT f(a), g(b))`: sets of a select list
//!   go on together
//! - `interval(3) '1.5 s'`, whose digits sqlparser forgets, is `'1.5 s'::interval(3)`
//! - `text ARRAY` and `text ARRAY[3]`, types that sqlparser does not read, are `text[]` and `text[3]`
//! - `JOIN … USING (a) AS j` names the common columns: `USING (a, "\0j")`
//! - `a OPERATOR(pg_catalog.=) ANY (…)`, which pg_dump asks and sqlparser reads without ANY alone, is `a = ANY (…)`
//! - `LATEST ON t PARTITION BY a, b` (QuestDB) is `QUALIFY __latest(t, a, b)`
//! - `CREATE TABLE t (…) WITH TTL = 7d` is `WITH (ttl = '7d')`
//! - `ALTER TABLE t RESET (a, b)`, which PostgreSQL has and sqlparser does not, is SET with a value that no text can have

use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Span, Token, TokenWithSpan, Word};

use super::rewrite::is_words;
use super::tokens::word_of;

/// The function that stands for LATEST ON.
pub(in crate::sql) const LATEST: &str = "__latest";

/// Before the name that USING gives to a join's common columns: no column's name begins so.
pub(in crate::sql) const JOIN_NAME_MARK: char = '\0';

/// The value of a storage option that RESET gives.
pub(in crate::sql) const RESET: &str = "\0";

fn word(value: &str, keyword: Keyword, span: Span) -> TokenWithSpan {
    TokenWithSpan { token: Token::Word(Word { value: value.to_owned(), quote_style: None, keyword }), span }
}

pub(super) fn rewrite(tokens: &mut Vec<TokenWithSpan>) {
    plus_between_angles(tokens);
    quantified_operators(tokens);
    asof_joins(tokens);
    latest_on(tokens);
    rows_from(tokens);
    interval_digits(tokens);
    using_names(tokens);
    array_types(tokens);
    if is_words(tokens, 0, &["create"]) {
        ttl_alone(tokens);
    }
    if is_words(tokens, 0, &["alter", "table"]) {
        reset_options(tokens);
    }
}

fn ttl_alone(tokens: &mut Vec<TokenWithSpan>) {
    let begins = |at: &usize| {
        tokens[*at].token == Token::RParen
            && is_words(tokens, at + 1, &["with", "ttl"])
            && tokens.get(at + 3).is_some_and(|t| t.token == Token::Eq)
    };
    let Some(from) = (0..tokens.len()).find(begins).map(|at| at + 4) else { return };
    let is_part = |token: &Token| matches!(token, Token::Number(..) | Token::Word(_) | Token::SingleQuotedString(_));
    let end = tokens[from..].iter().position(|t| !is_part(&t.token)).map_or(tokens.len(), |length| from + length);
    if end == from {
        return;
    }
    let text = |token: &Token| match token {
        Token::SingleQuotedString(text) => text.clone(),
        other => other.to_string(),
    };
    let age: Vec<String> = tokens[from..end].iter().map(|t| text(&t.token)).collect();
    let span = tokens[from].span;
    let made = |token| TokenWithSpan { token, span };
    tokens.splice(from..end, [made(Token::SingleQuotedString(age.join(" "))), made(Token::RParen)]);
    tokens.insert(from - 2, made(Token::LParen));
}

fn reset_options(tokens: &mut Vec<TokenWithSpan>) {
    let begins =
        |at: &usize| is_words(tokens, *at, &["reset"]) && tokens.get(at + 1).is_some_and(|t| t.token == Token::LParen);
    let Some(at) = (2..tokens.len()).find(begins) else { return };
    let span = tokens[at].span;
    let Some(end) = tokens[at..].iter().position(|t| t.token == Token::RParen) else { return };
    tokens[at] = word("SET", Keyword::SET, span);
    for name in (at + 2..at + end).rev() {
        if matches!(tokens[name].token, Token::Word(_)) && tokens[name + 1].token != Token::Period {
            let value = [Token::Eq, Token::SingleQuotedString(RESET.to_owned())];
            tokens.splice(name + 1..name + 1, value.map(|token| TokenWithSpan { token, span }));
        }
    }
}

fn interval_digits(tokens: &mut Vec<TokenWithSpan>) {
    let begins = |tokens: &[TokenWithSpan], at: usize| {
        let [_, open, digits, close, text] = &tokens[at..at + 5] else { return false };
        is_words(tokens, at, &["interval"])
            && open.token == Token::LParen
            && matches!(digits.token, Token::Number(..))
            && close.token == Token::RParen
            && matches!(text.token, Token::SingleQuotedString(_))
    };
    let mut at = 0;
    while at + 5 <= tokens.len() {
        if begins(tokens, at) {
            tokens[at..at + 5].rotate_right(1);
            let span = tokens[at].span;
            tokens.insert(at + 1, TokenWithSpan { token: Token::DoubleColon, span });
        }
        at += 1;
    }
}

fn using_names(tokens: &mut Vec<TokenWithSpan>) {
    let mut at = 0;
    while at + 4 < tokens.len() {
        at += 1;
        if !is_words(tokens, at - 1, &["using"]) || tokens[at].token != Token::LParen {
            continue;
        }
        let Some(close) = tokens[at..].iter().position(|t| t.token == Token::RParen).map(|length| at + length) else {
            return;
        };
        let columns = tokens[at + 1..close].iter().enumerate().all(|(place, t)| match t.token {
            Token::Word(_) => place % 2 == 0,
            Token::Comma => place % 2 == 1,
            _ => false,
        });
        let name = match tokens.get(close + 2).map(|t| &t.token) {
            Some(Token::Word(name)) if columns && is_words(tokens, close + 1, &["as"]) => fold_word(name),
            _ => continue,
        };
        let span = tokens[close].span;
        let marked =
            Word { value: format!("{JOIN_NAME_MARK}{name}"), quote_style: Some('"'), keyword: Keyword::NoKeyword };
        let mark = [Token::Comma, Token::Word(marked)].map(|token| TokenWithSpan { token, span });
        tokens.drain(close + 1..close + 3);
        tokens.splice(close..close, mark);
    }
}

/// Types of the system that may stand before `ARRAY[3]`, which begins a value behind any other word.
const BEFORE_ARRAY: &[&str] = &[
    "bigint",
    "boolean",
    "char",
    "character",
    "date",
    "decimal",
    "int",
    "integer",
    "jsonb",
    "numeric",
    "precision",
    "real",
    "smallint",
    "text",
    "timestamp",
    "timestamptz",
    "uuid",
    "varchar",
    "varying",
    "zone",
];

fn array_types(tokens: &mut Vec<TokenWithSpan>) {
    let word_at = |tokens: &[TokenWithSpan], at: usize| tokens.get(at).and_then(|t| word_of(&t.token));
    let mut at = 1;
    while at < tokens.len() {
        if !is_words(tokens, at, &["array"]) {
            at += 1;
            continue;
        }
        let span = tokens[at].span;
        let before = word_at(tokens, at - 1);
        match tokens.get(at + 1).map(|t| &t.token) {
            Some(Token::LBracket) if before.as_deref().is_some_and(|word| BEFORE_ARRAY.contains(&word)) => {
                tokens.remove(at);
            }
            Some(Token::LBracket | Token::LParen) => {}
            // `IS JSON ARRAY`, `WITH ARRAY WRAPPER` and `AS array` are no types.
            _ if before.as_deref() == Some("as")
                || is_words(tokens, at + 1, &["wrapper"])
                || before.as_deref() == Some("json")
                    && at > 1
                    && matches!(word_at(tokens, at - 2).as_deref(), Some("is" | "not")) => {}
            _ if matches!(tokens[at - 1].token, Token::Word(_) | Token::RParen) => {
                let brackets = [Token::LBracket, Token::RBracket].map(|token| TokenWithSpan { token, span });
                tokens.splice(at..=at, brackets);
            }
            _ => {}
        }
        at += 1;
    }
}

fn fold_word(word: &Word) -> String {
    if word.quote_style.is_some() { word.value.clone() } else { word.value.to_lowercase() }
}

fn rows_from(tokens: &mut Vec<TokenWithSpan>) {
    let mut at = 1;
    while at + 2 < tokens.len() {
        let begins = is_words(tokens, at, &["rows", "from"]) && tokens[at + 2].token == Token::LParen;
        if !begins {
            at += 1;
            continue;
        }
        let mut depth = 0_usize;
        let close = (at + 2..tokens.len()).find(|at| {
            match tokens[*at].token {
                Token::LParen => depth += 1,
                Token::RParen => depth = depth.saturating_sub(1),
                _ => {}
            }
            depth == 0
        });
        let Some(close) = close else { return };
        // What names a column is about a relation before it.
        let names_columns = (at + 3..close).any(|at| {
            let is_name = matches!(&tokens[at].token, Token::Word(word) if word.keyword == Keyword::NoKeyword);
            is_name && tokens.get(at + 1).is_none_or(|next| next.token != Token::LParen)
        });
        let span = tokens[at].span;
        let mut clause = vec![TokenWithSpan { token: Token::LParen, span }, word("SELECT", Keyword::SELECT, span)];
        if names_columns {
            clause.insert(0, word("LATERAL", Keyword::LATERAL, span));
        }
        let length = clause.len();
        tokens.splice(at..at + 3, clause);
        at += length;
    }
}

fn plus_between_angles(tokens: &mut Vec<TokenWithSpan>) {
    let is_operator = |three: &[TokenWithSpan]| {
        let touch = three.windows(2).all(|pair| pair[0].span.end == pair[1].span.start);
        touch && three[0].token == Token::Lt && three[1].token == Token::Plus && three[2].token == Token::Gt
    };
    while let Some(at) = tokens.windows(3).position(is_operator) {
        tokens[at].token = Token::CustomBinaryOperator("<+>".to_owned());
        tokens[at].span.end = tokens[at + 2].span.end;
        tokens.drain(at + 1..at + 3);
    }
}

fn quantified_operators(tokens: &mut Vec<TokenWithSpan>) {
    let is_quantified = |seven: &[TokenWithSpan]| {
        let [_, open, _, period, _, close, quantifier] = seven else { return false };
        is_words(seven, 0, &["operator"])
            && open.token == Token::LParen
            && is_words(seven, 2, &["pg_catalog"])
            && period.token == Token::Period
            && close.token == Token::RParen
            && word_of(&quantifier.token).is_some_and(|word| matches!(word.as_str(), "any" | "all" | "some"))
    };
    while let Some(at) = tokens.windows(7).position(is_quantified) {
        tokens.drain(at + 5..at + 6);
        tokens.drain(at..at + 4);
    }
}

fn asof_joins(tokens: &mut Vec<TokenWithSpan>) {
    let mut at = 0;
    while at < tokens.len() {
        let (outer, words) = match () {
            () if is_words(tokens, at, &["asof", "join"]) => (false, 0),
            () if is_words(tokens, at, &["asof", "inner", "join"]) => (false, 1),
            () if is_words(tokens, at, &["asof", "left", "join"]) => (true, 1),
            () if is_words(tokens, at, &["asof", "left", "outer", "join"]) => (true, 2),
            () => {
                at += 1;
                continue;
            }
        };
        tokens.drain(at + 1..at + 1 + words);
        let mut depth = 0_usize;
        let condition = (at + 2..tokens.len()).find(|at| {
            match tokens[*at].token {
                Token::LParen => depth += 1,
                Token::RParen => depth = depth.saturating_sub(1),
                _ => {}
            }
            depth == 0 && matches!(word_of(&tokens[*at].token).as_deref(), Some("on" | "using"))
        });
        if let Some(condition) = condition {
            let span = tokens[condition].span;
            let value = if outer { ("FALSE", Keyword::FALSE) } else { ("TRUE", Keyword::TRUE) };
            let made = |token| TokenWithSpan { token, span };
            let clause = [
                word("MATCH_CONDITION", Keyword::MATCH_CONDITION, span),
                made(Token::LParen),
                word(value.0, value.1, span),
                made(Token::RParen),
            ];
            tokens.splice(condition..condition, clause);
        }
        at += 2;
    }
}

fn latest_on(tokens: &mut Vec<TokenWithSpan>) {
    let mut at = 1;
    while at < tokens.len() {
        if !is_words(tokens, at, &["latest", "on"]) {
            at += 1;
            continue;
        }
        let Some(time) = name_end(tokens, at + 2) else { return };
        if !is_words(tokens, time, &["partition", "by"]) {
            return;
        }
        let mut end = time + 2;
        loop {
            let Some(next) = name_end(tokens, end) else { return };
            end = next;
            if tokens.get(end).is_none_or(|t| t.token != Token::Comma) {
                break;
            }
            end += 1;
        }
        let span = tokens[at].span;
        let made = |token| TokenWithSpan { token, span };
        let mut clause =
            vec![word("QUALIFY", Keyword::QUALIFY, span), word(LATEST, Keyword::NoKeyword, span), made(Token::LParen)];
        clause.extend_from_slice(&tokens[at + 2..time]);
        clause.push(made(Token::Comma));
        clause.extend_from_slice(&tokens[time + 2..end]);
        clause.push(made(Token::RParen));
        let length = clause.len();
        tokens.splice(at..end, clause);
        at += length;
    }
}

/// Where a column's name that begins at `at` ends: `a`, `"A"`, `t.a`.
fn name_end(tokens: &[TokenWithSpan], at: usize) -> Option<usize> {
    let is_word = |at: usize| matches!(tokens.get(at).map(|t| &t.token), Some(Token::Word(_)));
    let mut end = is_word(at).then_some(at + 1)?;
    while tokens.get(end).is_some_and(|t| t.token == Token::Period) && is_word(end + 1) {
        end += 2;
    }
    Some(end)
}
