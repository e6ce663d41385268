//! Syntax within expressions that sqlparser does not read, as calls of functions that stand for it.
//!
//! - `f(a, VARIADIC b)` is `__variadic_f(a, b)`
//! - `x LIKE ANY (a)` is `x ~~ ANY (a)`
//! - `f(x) AS (a int)` is `f(x) AS record(a int)`
//! - `x BETWEEN SYMMETRIC a AND b` is `x BETWEEN __symmetric(a) AND b`, and once it is read two BETWEEN
//! - `SET a[1] = x, b[1:2] = y` is `SET a = __assign_element(a, x, 1), b = __assign_slice(b, y, 1, 2)`

use std::ops::ControlFlow;

use perigee_types::{SqlError, SqlResult};
use sqlparser::ast::{
    BinaryOperator, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, VisitMut, VisitorMut, visit_expressions,
};
use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Span, Token, TokenWithSpan, Word};

use super::rewrite::is_words;
use super::tokens::word_of;
use crate::exec::{BOUND_LEFT_OUT, VARIADIC};

fn made(token: Token, span: Span) -> TokenWithSpan {
    TokenWithSpan { token, span }
}

fn name(text: impl Into<String>) -> Token {
    Token::Word(Word { value: text.into(), quote_style: None, keyword: Keyword::NoKeyword })
}

/// Functions that have a twin for VARIADIC; others take an array anyway.
const TWINS: &[&str] = &[
    "concat",
    "concat_ws",
    "format",
    "json_build_array",
    "jsonb_build_array",
    "json_build_object",
    "jsonb_build_object",
];

/// `f(a, VARIADIC b)`
pub(super) fn expand_variadic(tokens: &mut Vec<TokenWithSpan>) {
    let mut at = 1;
    while at < tokens.len() {
        let in_call = matches!(tokens[at - 1].token, Token::LParen | Token::Comma);
        if !in_call || !is_words(tokens, at, &["variadic"]) {
            at += 1;
            continue;
        }
        let mut depth = 0_usize;
        let open = tokens[..at].iter().rposition(|t| match t.token {
            Token::RParen => {
                depth += 1;
                false
            }
            Token::LParen if depth > 0 => {
                depth -= 1;
                false
            }
            ref token => *token == Token::LParen,
        });
        let function = open.and_then(|open| open.checked_sub(1));
        let Some((function, word)) = function.and_then(|at| Some((at, word_of(&tokens[at].token)?))) else {
            at += 1;
            continue;
        };
        if TWINS.contains(&word.as_str()) {
            tokens[function].token = name(format!("{VARIADIC}{word}"));
        }
        tokens.remove(at);
    }
}

/// `[NOT] LIKE ANY (array)`, `ILIKE`, `ALL`
pub(super) fn name_quantified_patterns(tokens: &mut Vec<TokenWithSpan>) {
    let mut at = 0;
    while at < tokens.len() {
        let negated = is_words(tokens, at, &["not"]);
        let like = at + usize::from(negated);
        let insensitive = is_words(tokens, like, &["ilike"]);
        let quantifier = ["any", "all", "some"].iter().any(|word| is_words(tokens, like + 1, &[word]));
        let array = matches!(tokens.get(like + 2).map(|t| &t.token), Some(Token::LParen));
        if (insensitive || is_words(tokens, like, &["like"])) && quantifier && array {
            let operator = match (negated, insensitive) {
                (false, false) => Token::DoubleTilde,
                (false, true) => Token::DoubleTildeAsterisk,
                (true, false) => Token::ExclamationMarkDoubleTilde,
                (true, true) => Token::ExclamationMarkDoubleTildeAsterisk,
            };
            let span = tokens[at].span;
            tokens.splice(at..=like, [made(operator, span)]);
        }
        at += 1;
    }
}

/// Around the first bound of BETWEEN SYMMETRIC, until the statement is read.
const SYMMETRIC: &str = "__symmetric";

/// `x BETWEEN SYMMETRIC a AND b`; ASYMMETRIC says nothing.
pub(super) fn mark_symmetric(tokens: &mut Vec<TokenWithSpan>) {
    let mut at = 0;
    while at < tokens.len() {
        if is_words(tokens, at, &["between", "asymmetric"]) {
            tokens.remove(at + 1);
        } else if is_words(tokens, at, &["between", "symmetric"])
            && let Some(and) = find_at_top(tokens, at + 2, |tokens, at| is_words(tokens, at, &["and"]))
        {
            let span = tokens[at + 1].span;
            tokens.insert(and, made(Token::RParen, span));
            tokens.splice(at + 1..at + 2, [made(name(SYMMETRIC), span), made(Token::LParen, span)]);
        }
        at += 1;
    }
}

/// `x BETWEEN __symmetric(a) AND b` is `(x BETWEEN a AND b OR x BETWEEN b AND a)`. `tokens` are what `node` was read from.
///
/// # Errors
/// `0A000` for one within another: what stands there twice would double each time.
pub(super) fn spell_out_symmetric(tokens: &[TokenWithSpan], node: &mut impl VisitMut) -> SqlResult<()> {
    if !tokens.iter().any(|token| matches!(&token.token, Token::Word(word) if word.value == SYMMETRIC)) {
        return Ok(());
    }
    match node.visit(&mut SpellOut) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

struct SpellOut;

impl VisitorMut for SpellOut {
    type Break = SqlError;

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<SqlError> {
        let Expr::Between { expr: of, negated, low, high } = &*expr else { return ControlFlow::Continue(()) };
        let Some(low) = symmetric_bound(low) else { return ControlFlow::Continue(()) };
        if [&**of, low, &**high].into_iter().any(holds_symmetric) {
            return ControlFlow::Break(SqlError::unsupported("BETWEEN SYMMETRIC within BETWEEN SYMMETRIC"));
        }
        let between = |low: &Expr, high: &Expr| {
            let (low, high) = (Box::new(low.clone()), Box::new(high.clone()));
            Box::new(Expr::Between { expr: of.clone(), negated: *negated, low, high })
        };
        let op = if *negated { BinaryOperator::And } else { BinaryOperator::Or };
        let both = Expr::BinaryOp { left: between(low, high), op, right: between(high, low) };
        *expr = Expr::Nested(Box::new(both));
        ControlFlow::Continue(())
    }
}

/// The first bound of a BETWEEN that is symmetric.
fn symmetric_bound(low: &Expr) -> Option<&Expr> {
    let Expr::Function(function) = low else { return None };
    let FunctionArguments::List(list) = &function.args else { return None };
    match list.args.as_slice() {
        [FunctionArg::Unnamed(FunctionArgExpr::Expr(bound))] if function.name.to_string() == SYMMETRIC => Some(bound),
        _ => None,
    }
}

fn holds_symmetric(expr: &Expr) -> bool {
    let found = visit_expressions(expr, |expr| match symmetric_bound(expr) {
        Some(_) => ControlFlow::Break(()),
        None => ControlFlow::Continue(()),
    });
    found.is_break()
}

/// `f(x) AS (a int, …)`
pub(super) fn name_records(tokens: &mut Vec<TokenWithSpan>) {
    let mut at = 1;
    while at + 3 < tokens.len() {
        let definition = tokens[at - 1].token == Token::RParen
            && is_words(tokens, at, &["as"])
            && tokens[at + 1].token == Token::LParen
            && matches!((&tokens[at + 2].token, &tokens[at + 3].token), (Token::Word(_), Token::Word(_)))
            && !matches!(
                word_of(&tokens[at + 2].token).as_deref(),
                Some("select" | "with" | "values" | "table" | "insert" | "update" | "delete" | "merge")
            );
        if definition {
            let span = tokens[at].span;
            tokens.insert(at + 1, made(name("record"), span));
        }
        at += 1;
    }
}

/// `FETCH FIRST (n) ROWS ONLY` is `LIMIT (n)`.
pub(super) fn limit_for_fetch(tokens: &mut Vec<TokenWithSpan>) {
    for at in 1..tokens.len() {
        let fetches = is_words(tokens, at, &["fetch", "first"]) || is_words(tokens, at, &["fetch", "next"]);
        if !fetches || tokens.get(at + 2).is_none_or(|open| open.token != Token::LParen) {
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
        if is_words(tokens, close + 1, &["rows", "only"]) || is_words(tokens, close + 1, &["row", "only"]) {
            tokens.drain(close + 1..close + 3);
            let limit = Word { value: "LIMIT".to_owned(), quote_style: None, keyword: Keyword::LIMIT };
            tokens[at].token = Token::Word(limit);
            tokens.remove(at + 1);
        }
    }
}

/// `(t).*` is `t.*`.
pub(super) fn bare_rows(tokens: &mut Vec<TokenWithSpan>) {
    let mut at = 0;
    while at + 4 < tokens.len() {
        if let [open, row, close, period, star] = &tokens[at..at + 5]
            && open.token == Token::LParen
            && matches!(row.token, Token::Word(_))
            && close.token == Token::RParen
            && period.token == Token::Period
            && star.token == Token::Mul
            && (at == 0 || tokens[at - 1].token == Token::Comma || word_of(&tokens[at - 1].token).is_some())
        {
            tokens.remove(at + 2);
            tokens.remove(at);
        }
        at += 1;
    }
}

/// `name := value` is `name => value`, and `U&'…'` a string like any other.
pub(super) fn plain_tokens(tokens: &mut [TokenWithSpan]) {
    for token in tokens {
        let plain = match &mut token.token {
            Token::Assignment => Token::RArrow,
            Token::UnicodeStringLiteral(text) => Token::SingleQuotedString(std::mem::take(text)),
            _ => continue,
        };
        token.token = plain;
    }
}

/// `TRIM(BOTH FROM x)` is `TRIM(BOTH x)`; `name 'x'` is `CAST('x' AS name)` for types that sqlparser does not know;
/// `N'x'` is `CAST('x' AS bpchar)`; `'a'` and `'b'` on lines of their own are `'ab'`.
pub(super) fn plain_strings(tokens: &mut Vec<TokenWithSpan>) {
    let is_string =
        |token: Option<&TokenWithSpan>| matches!(token, Some(t) if matches!(t.token, Token::SingleQuotedString(_)));
    let mut at = 0;
    while at < tokens.len() {
        let behind_call = at >= 2 && tokens[at - 1].token == Token::LParen && is_words(tokens, at - 2, &["trim"]);
        if behind_call && ["both", "leading", "trailing"].iter().any(|word| is_words(tokens, at, &[word, "from"])) {
            tokens.remove(at + 1);
        }
        let typed = [
            "name",
            "jsonpath",
            "regtype",
            "regproc",
            "oid",
            "bpchar",
            "inet",
            "cidr",
            "macaddr",
            "macaddr8",
            "pg_lsn",
            "tid",
            "hstore",
            "ltree",
            "lquery",
            "ltxtquery",
            "citext",
        ];
        let is_typed = typed.iter().any(|word| is_words(tokens, at, &[word])) && is_string(tokens.get(at + 1));
        let qualified = at > 0 && matches!(tokens[at - 1].token, Token::Period | Token::DoubleColon);
        if is_typed && !qualified && !(at > 0 && is_words(tokens, at - 1, &["as"])) {
            let cast = cast_of(tokens[at + 1].clone(), tokens[at].clone());
            tokens.splice(at..at + 2, cast);
        }
        if let Token::NationalStringLiteral(text) = &tokens[at].token {
            let span = tokens[at].span;
            let text = made(Token::SingleQuotedString(text.clone()), span);
            let cast = cast_of(text, made(Token::make_word("bpchar", None), span));
            tokens.splice(at..=at, cast);
        }
        if let [first, second, ..] = &mut tokens[at..]
            && let (Token::SingleQuotedString(text), Token::SingleQuotedString(more)) =
                (&mut first.token, &second.token)
            && second.span.start.line > first.span.end.line
        {
            text.push_str(more);
            first.span.end = second.span.end;
            tokens.remove(at + 1);
            continue;
        }
        at += 1;
    }
}

/// `CAST(text AS ty)`
fn cast_of(text: TokenWithSpan, ty: TokenWithSpan) -> [TokenWithSpan; 6] {
    let span = ty.span;
    [
        made(Token::Word(Word { value: "CAST".into(), quote_style: None, keyword: Keyword::CAST }), span),
        made(Token::LParen, span),
        text,
        made(Token::Word(Word { value: "AS".into(), quote_style: None, keyword: Keyword::AS }), span),
        ty,
        made(Token::RParen, span),
    ]
}

/// `SUBSTRING(x SIMILAR p ESCAPE e)` is `substring(x, p, e)`.
pub(super) fn plain_substring(tokens: &mut [TokenWithSpan]) {
    let mut at = 2;
    while at < tokens.len() {
        if tokens[at - 1].token == Token::LParen
            && is_words(tokens, at - 2, &["substring"])
            && let Some(close) = find_at_top(tokens, at, |tokens, at| tokens[at].token == Token::RParen)
            && let Some(similar) = find_at_top(&tokens[..close], at, |tokens, at| is_words(tokens, at, &["similar"]))
            && let Some(escape) = find_at_top(&tokens[..close], similar, |tokens, at| is_words(tokens, at, &["escape"]))
        {
            tokens[at - 2].token = name("__substring_similar");
            tokens[similar].token = Token::Comma;
            tokens[escape].token = Token::Comma;
        }
        at += 1;
    }
}

/// Assignments to elements and slices in UPDATE … SET. What is not understood is left as it is.
pub(super) fn assign_subscripts(tokens: &mut Vec<TokenWithSpan>) {
    if !["update", "with", "insert"].iter().any(|word| is_words(tokens, 0, &[word])) {
        return;
    }
    let Some(set) = find_at_top(tokens, 0, |tokens, at| is_words(tokens, at, &["set"])) else { return };
    let start = set + 1;
    let end = find_at_top(tokens, start, is_end).unwrap_or(tokens.len());
    let list = &tokens[start..end];
    if !list.windows(2).any(|pair| matches!(pair[0].token, Token::Word(_)) && pair[1].token == Token::LBracket) {
        return;
    }
    // Column and new value, one for each column.
    let mut assignments: Vec<(Vec<TokenWithSpan>, Vec<TokenWithSpan>)> = Vec::new();
    for assignment in split_at_top(list) {
        let Some(equals) = find_at_top(assignment, 0, |tokens, at| tokens[at].token == Token::Eq) else { return };
        let (target, value) = (&assignment[..equals], &assignment[equals + 1..]);
        let bracket = target.iter().position(|t| t.token == Token::LBracket);
        let (column, brackets) = target.split_at(bracket.unwrap_or(target.len()));
        if brackets.is_empty() {
            assignments.push((column.to_vec(), value.to_vec()));
            continue;
        }
        let Some(subscripts) = subscripts(brackets) else { return };
        let known = assignments.iter_mut().find(|(other, _)| same(other, column));
        let container = known.as_ref().map_or_else(|| column.to_vec(), |(_, value)| value.clone());
        let Some(call) = call(container, value, subscripts) else { return };
        match known {
            Some((_, value)) => *value = call,
            None => assignments.push((column.to_vec(), call)),
        }
    }
    let mut written: Vec<TokenWithSpan> = Vec::new();
    for (at, (column, value)) in assignments.into_iter().enumerate() {
        let span = column.first().map_or_else(Span::empty, |t| t.span);
        if at > 0 {
            written.push(made(Token::Comma, span));
        }
        written.extend(column);
        written.push(made(Token::Eq, span));
        written.extend(value);
    }
    tokens.splice(start..end, written);
}

fn same(a: &[TokenWithSpan], b: &[TokenWithSpan]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.token == b.token)
}

/// The tokens of one subscript, or of the two bounds of a slice, which may be left out.
enum Subscript {
    Element(Vec<TokenWithSpan>),
    Slice(Vec<TokenWithSpan>, Vec<TokenWithSpan>),
}

/// `[a][b:c]`
fn subscripts(tokens: &[TokenWithSpan]) -> Option<Vec<Subscript>> {
    let mut found = Vec::new();
    let mut rest = tokens;
    while let Some((open, tail)) = rest.split_first() {
        if open.token != Token::LBracket {
            return None;
        }
        let close = find_at_top(tail, 0, |tokens, at| tokens[at].token == Token::RBracket)?;
        let inner = &tail[..close];
        rest = &tail[close + 1..];
        found.push(match find_at_top(inner, 0, |tokens, at| tokens[at].token == Token::Colon) {
            Some(colon) => Subscript::Slice(inner[..colon].to_vec(), inner[colon + 1..].to_vec()),
            None => Subscript::Element(inner.to_vec()),
        });
    }
    Some(found)
}

/// `__assign_…(container, value, subscripts)`; `None` for slices of several dimensions.
fn call(
    container: Vec<TokenWithSpan>,
    value: &[TokenWithSpan],
    subscripts: Vec<Subscript>,
) -> Option<Vec<TokenWithSpan>> {
    let span = container.first()?.span;
    let comma = || made(Token::Comma, span);
    let slice = subscripts.iter().any(|s| matches!(s, Subscript::Slice(..)));
    if slice && subscripts.len() != 1 {
        return None;
    }
    let function = if slice { "__assign_slice" } else { "__assign_element" };
    let mut call = vec![made(name(function), span), made(Token::LParen, span)];
    call.extend(container);
    call.push(comma());
    if value.len() == 1 && is_words(value, 0, &["default"]) {
        return None;
    }
    call.extend(value.to_vec());
    for subscript in subscripts {
        let bounds = match subscript {
            Subscript::Element(place) => vec![place],
            Subscript::Slice(lower, upper) => vec![lower, upper],
        };
        for bound in bounds {
            call.push(comma());
            if bound.is_empty() {
                call.push(made(Token::SingleQuotedString(BOUND_LEFT_OUT.to_owned()), span));
            }
            call.extend(bound);
        }
    }
    call.push(made(Token::RParen, span));
    Some(call)
}

/// Whether the list of assignments ends here.
fn is_end(tokens: &[TokenWithSpan], at: usize) -> bool {
    match word_of(&tokens[at].token).as_deref() {
        Some("where" | "returning") => true,
        // IS DISTINCT FROM is part of an expression.
        Some("from") => at.checked_sub(1).is_none_or(|before| !is_words(tokens, before, &["distinct"])),
        _ => false,
    }
}

/// The first place outside of parentheses and brackets where something holds.
fn find_at_top(
    tokens: &[TokenWithSpan],
    from: usize,
    holds: impl Fn(&[TokenWithSpan], usize) -> bool,
) -> Option<usize> {
    let mut depth = 0_usize;
    for at in from..tokens.len() {
        if depth == 0 && holds(tokens, at) {
            return Some(at);
        }
        match tokens[at].token {
            Token::LParen | Token::LBracket => depth += 1,
            Token::RParen | Token::RBracket => depth = depth.checked_sub(1)?,
            _ => {}
        }
    }
    None
}

fn split_at_top(tokens: &[TokenWithSpan]) -> Vec<&[TokenWithSpan]> {
    let mut pieces = Vec::new();
    let mut rest = tokens;
    while let Some(comma) = find_at_top(rest, 0, |tokens, at| tokens[at].token == Token::Comma) {
        pieces.push(&rest[..comma]);
        rest = &rest[comma + 1..];
    }
    pieces.push(rest);
    pieces
}
