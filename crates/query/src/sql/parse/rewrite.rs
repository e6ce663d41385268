//! What PostgreSQL writes and sqlparser does not read, written as it does read it.

use sqlparser::ast::{ObjectName, ObjectNamePart};
use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, TokenWithSpan, Word};

use super::syntax;
use super::tokens::word_of;
use crate::sql::statement::LikeClause;

/// The tokens for sqlparser.
pub(super) struct Rewritten {
    pub(super) tokens: Vec<TokenWithSpan>,
    /// CREATE TABLE … AS … WITH NO DATA
    pub(super) no_data: bool,
    /// LIKE among the columns of CREATE TABLE
    pub(super) likes: Vec<LikeClause>,
}

/// Rewrites `TABLE t`, `CREATE UNLOGGED TABLE`, `… WITH [NO] DATA`, LIKE and OVERRIDING, the columns of CREATE TABLE … AS,
/// the options of a materialized view, `FOR NO KEY UPDATE`, `FOR KEY SHARE`, targets of ON CONFLICT with expressions or
/// WHERE, `ORDER BY … USING`, `current_schema`, and what [`super::partition`] says.
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
    give_view_options_values(&mut tokens);
    option_for_check_option(&mut tokens);
    let likes = take_likes(&mut tokens);
    comment_on_constraint(&mut tokens);
    order_identity_options(&mut tokens);
    move_overriding(&mut tokens);
    drop_words_without_effect(&mut tokens);
    type_columns_of_table_as(&mut tokens);
    strengthen_row_locks(&mut tokens);
    row_locks_behind_limits(&mut tokens);
    part_conflict_from_select(&mut tokens);
    name_conflict_target(&mut tokens);
    if tokens.iter().any(|t| word_of(&t.token).as_deref() == Some("merge")) {
        spell_out_merge_actions(&mut tokens);
    }
    super::alter::mark_without_effect(&mut tokens);
    expand_table_commands(&mut tokens);
    super::partition::rewrite(&mut tokens);
    lock_without_from(&mut tokens);
    order_using(&mut tokens);
    call_current_schema(&mut tokens);
    super::beyond::rewrite(&mut tokens);
    syntax::bare_rows(&mut tokens);
    syntax::limit_for_fetch(&mut tokens);
    syntax::plain_tokens(&mut tokens);
    syntax::plain_strings(&mut tokens);
    syntax::plain_substring(&mut tokens);
    syntax::expand_variadic(&mut tokens);
    syntax::name_quantified_patterns(&mut tokens);
    syntax::mark_symmetric(&mut tokens);
    syntax::name_records(&mut tokens);
    syntax::assign_subscripts(&mut tokens);
    Rewritten { tokens, no_data, likes }
}

/// Behind a constraint's name that stands where a column's name is read.
pub(in crate::sql) const CONSTRAINT_MARK: &str = "\u{1}constraint";

/// `COMMENT ON CONSTRAINT c ON t IS …` is `COMMENT ON COLUMN t.c IS …`, with a mark behind the name.
fn comment_on_constraint(tokens: &mut Vec<TokenWithSpan>) {
    if !is_words(tokens, 0, &["comment", "on", "constraint"]) || !is_words(tokens, 4, &["on"]) {
        return;
    }
    let Some(end) = (5..tokens.len()).find(|at| is_words(tokens, *at, &["is"])) else { return };
    let TokenWithSpan { token: Token::Word(word), span } = &tokens[3] else { return };
    let name = if word.quote_style.is_some() { word.value.clone() } else { word.value.to_ascii_lowercase() };
    let marked =
        Word { value: format!("{name}{CONSTRAINT_MARK}"), quote_style: Some('"'), keyword: Keyword::NoKeyword };
    let made = |token| TokenWithSpan { token, span: *span };
    let column = [made(Token::Period), made(Token::Word(marked))];
    tokens.splice(end..end, column);
    tokens.drain(3..5);
    tokens[2].token = keyword("COLUMN", Keyword::COLUMN);
}

/// `CREATE MATERIALIZED VIEW v WITH (a)` is `WITH (a = true)`.
fn give_view_options_values(tokens: &mut Vec<TokenWithSpan>) {
    if !is_words(tokens, 0, &["create", "materialized", "view"]) {
        return;
    }
    let Some(query) = (3..tokens.len()).find(|at| is_words(tokens, *at, &["as"])) else { return };
    let is_options =
        |at: &usize| is_words(tokens, *at, &["with"]) && tokens.get(at + 1).is_some_and(|t| t.token == Token::LParen);
    let Some(mut at) = (3..query).find(is_options) else { return };
    while at + 1 < tokens.len() && tokens[at].token != Token::RParen {
        let opens = matches!(tokens[at].token, Token::LParen | Token::Comma);
        let bare = matches!(tokens.get(at + 2).map(|t| &t.token), Some(Token::Comma | Token::RParen));
        if opens && bare && matches!(tokens[at + 1].token, Token::Word(_)) {
            let span = tokens[at + 1].span;
            let made = |token| TokenWithSpan { token, span };
            tokens.splice(at + 2..at + 2, [made(Token::Eq), made(keyword("TRUE", Keyword::TRUE))]);
        }
        at += 1;
    }
}

/// `CREATE VIEW v AS … WITH LOCAL CHECK OPTION` is `CREATE VIEW v WITH (check_option = 'local') AS …`.
fn option_for_check_option(tokens: &mut Vec<TokenWithSpan>) {
    let length = tokens.len();
    if length < 6 || !is_words(tokens, 0, &["create"]) || !is_words(tokens, length - 2, &["check", "option"]) {
        return;
    }
    let (words, option) = match () {
        () if is_words(tokens, length - 4, &["with", "local"]) => (4, "local"),
        () if is_words(tokens, length - 4, &["with", "cascaded"]) => (4, "cascaded"),
        () if is_words(tokens, length - 3, &["with"]) => (3, "cascaded"),
        () => return,
    };
    let Some(view) = (1..5).find(|at| is_words(tokens, *at, &["view"])) else { return };
    let Some(query) = (view..length).find(|at| is_words(tokens, *at, &["as"])) else { return };
    tokens.truncate(length - words);
    let Some(span) = tokens.get(query).map(|token| token.span) else { return };
    let made = |token| TokenWithSpan { token, span };
    let name = Token::Word(Word { value: "check_option".to_owned(), quote_style: None, keyword: Keyword::NoKeyword });
    let value = [made(name), made(Token::Eq), made(Token::SingleQuotedString(option.to_owned()))];
    if tokens[query - 1].token == Token::RParen
        && let Some(open) = (view..query).rfind(|at| tokens[*at].token == Token::LParen)
        && is_words(tokens, open - 1, &["with"])
    {
        // Beside the options that stand there.
        let beside = std::iter::once(made(Token::Comma)).chain(value);
        tokens.splice(query - 1..query - 1, beside);
        return;
    }
    let clause = [made(keyword("WITH", Keyword::WITH)), made(Token::LParen)];
    tokens.splice(query..query, clause.into_iter().chain(value).chain([made(Token::RParen)]));
}

/// What stands before the text of a target in [`name_conflict_target`]: no name of a constraint begins like that.
pub(in crate::sql) const CONFLICT_TARGET: char = '\u{1}';

/// `ON CONFLICT (lower(a)) WHERE b`: sqlparser reads names alone, so the target travels as the name of a constraint.
fn name_conflict_target(tokens: &mut Vec<TokenWithSpan>) {
    let Some(on) = (0..tokens.len()).find(|at| is_words(tokens, *at, &["on", "conflict"])) else { return };
    let open = on + 2;
    if tokens.get(open).is_none_or(|t| t.token != Token::LParen) {
        return;
    }
    let Some(end) = (open..tokens.len())
        .find(|at| is_words(tokens, *at, &["do", "nothing"]) || is_words(tokens, *at, &["do", "update"]))
    else {
        return;
    };
    let plain = tokens[open + 1..end].iter().enumerate().all(|(at, t)| match &t.token {
        Token::Word(_) => at % 2 == 0,
        Token::Comma => at % 2 == 1,
        Token::RParen => open + 1 + at + 1 == end,
        _ => false,
    });
    if plain {
        return;
    }
    let mut depth = 0_usize;
    let close = (open..end).find(|at| {
        match tokens[*at].token {
            Token::LParen => depth += 1,
            Token::RParen => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth == 0
    });
    let Some(close) = close else { return };
    let text = |tokens: &[TokenWithSpan]| tokens.iter().map(|t| t.token.to_string()).collect::<Vec<_>>().join(" ");
    let filter = match &tokens[close + 1..end] {
        [] => String::new(),
        [first, rest @ ..] if word_of(&first.token).as_deref() == Some("where") && !rest.is_empty() => text(rest),
        _ => return,
    };
    let name = format!("{CONFLICT_TARGET}{}{CONFLICT_TARGET}{filter}", text(&tokens[open..=close]));
    let span = tokens[open].span;
    let word = |value: &str, quote_style: Option<char>| {
        let keyword = if quote_style.is_some() { Keyword::NoKeyword } else { keyword_of(value) };
        TokenWithSpan { token: Token::Word(Word { value: value.to_owned(), quote_style, keyword }), span }
    };
    let named = [word("ON", None), word("CONSTRAINT", None), word(&name, Some('"'))];
    tokens.splice(open..end, named);
}

fn keyword_of(word: &str) -> Keyword {
    match word {
        "ON" => Keyword::ON,
        _ => Keyword::CONSTRAINT,
    }
}

/// `INSERT … OVERRIDING SYSTEM VALUE` is `INSERT OVERWRITE INTO …`, and with USER `INSERT INTO TABLE …`: forms of sqlparser
/// that PostgreSQL does not have.
fn move_overriding(tokens: &mut Vec<TokenWithSpan>) {
    while let Some(at) =
        (0..tokens.len()).find(|at| is_words(tokens, *at, &["overriding"]) && is_words(tokens, at + 2, &["value"]))
    {
        let Some(insert) = (0..at).rev().find(|at| is_words(tokens, *at, &["insert", "into"])) else { return };
        let span = tokens[at].span;
        let word = |value: &str, keyword| TokenWithSpan {
            token: Token::Word(Word { value: value.to_owned(), quote_style: None, keyword }),
            span,
        };
        let (place, word) = match tokens.get(at + 1).and_then(|t| word_of(&t.token)).as_deref() {
            Some("system") => (insert + 1, word("OVERWRITE", Keyword::OVERWRITE)),
            Some("user") => (insert + 2, word("TABLE", Keyword::TABLE)),
            _ => return,
        };
        tokens.drain(at..at + 3);
        tokens.insert(place, word);
    }
}

/// The options of `GENERATED … AS IDENTITY ( … )` in the order that sqlparser wants. What is none of them ends the list and
/// stays.
fn order_identity_options(tokens: &mut [TokenWithSpan]) {
    for identity in 0..tokens.len() {
        let opens = tokens.get(identity + 2).is_some_and(|t| t.token == Token::LParen);
        if !opens || !is_words(tokens, identity, &["as", "identity"]) {
            continue;
        }
        let start = identity + 3;
        let mut at = start;
        // The place of each option in sqlparser's order, and its tokens.
        let mut options: Vec<(u8, Vec<TokenWithSpan>)> = Vec::new();
        while let Some((rank, length)) = sequence_option(tokens, at) {
            let end = (at + length).min(tokens.len());
            options.push((rank, tokens[at..end].to_vec()));
            at = end;
        }
        options.sort_by_key(|(rank, _)| *rank);
        let ordered = options.into_iter().flat_map(|(_, tokens)| tokens);
        tokens[start..at].iter_mut().zip(ordered).for_each(|(place, token)| *place = token);
    }
}

/// An option of a sequence at `at`: its place in sqlparser's order and how many tokens it has.
fn sequence_option(tokens: &[TokenWithSpan], at: usize) -> Option<(u8, usize)> {
    let number =
        |at: usize| 1 + usize::from(matches!(tokens.get(at).map(|t| &t.token), Some(Token::Minus | Token::Plus)));
    let with = |word: &str| usize::from(is_words(tokens, at + 1, &[word]));
    let word = tokens.get(at).and_then(|t| word_of(&t.token))?;
    Some(match word.as_str() {
        "increment" => (1, 1 + with("by") + number(at + 1 + with("by"))),
        "minvalue" => (2, 1 + number(at + 1)),
        "maxvalue" => (3, 1 + number(at + 1)),
        "start" => (4, 1 + with("with") + number(at + 1 + with("with"))),
        "cache" => (5, 1 + number(at + 1)),
        "cycle" => (6, 1),
        "no" if is_words(tokens, at + 1, &["minvalue"]) => (2, 2),
        "no" if is_words(tokens, at + 1, &["maxvalue"]) => (3, 2),
        "no" if is_words(tokens, at + 1, &["cycle"]) => (6, 2),
        _ => return None,
    })
}

/// `DROP INDEX CONCURRENTLY` is DROP INDEX; `EXCLUDE NO OTHERS` is what a window's frame does anyway.
fn drop_words_without_effect(tokens: &mut Vec<TokenWithSpan>) {
    if is_words(tokens, 0, &["drop", "index", "concurrently"]) {
        tokens.remove(2);
    }
    while let Some(at) = (0..tokens.len()).find(|at| is_words(tokens, *at, &["exclude", "no", "others"])) {
        tokens.drain(at..at + 3);
    }
}

/// Takes `LIKE relation …` out of the columns of CREATE TABLE. One that is not well formed stays, for the parser to refuse.
fn take_likes(tokens: &mut Vec<TokenWithSpan>) -> Vec<LikeClause> {
    let words = |range: &[TokenWithSpan], word: &str| range.iter().any(|t| word_of(&t.token).as_deref() == Some(word));
    let open = tokens.iter().position(|t| t.token == Token::LParen).unwrap_or(0);
    if !is_words(tokens, 0, &["create"]) || !words(&tokens[..open], "table") || words(&tokens[..open], "as") {
        return Vec::new();
    }
    let (mut depth, mut start, mut end) = (0_usize, open + 1, None);
    let mut elements = Vec::new();
    for (at, token) in tokens.iter().enumerate().skip(open) {
        match token.token {
            Token::LParen => depth += 1,
            Token::RParen => depth -= 1,
            Token::Comma if depth == 1 => {
                elements.push(start..at);
                start = at + 1;
            }
            _ => {}
        }
        if depth == 0 {
            elements.push(start..at);
            end = Some(at);
            break;
        }
    }
    let Some(end) = end else { return Vec::new() };
    let (mut kept, mut likes, mut columns): (Vec<TokenWithSpan>, _, _) = (Vec::new(), Vec::new(), 0);
    for element in elements {
        let element = &tokens[element];
        match element.first().and_then(|t| word_of(&t.token)).as_deref() {
            Some("like") => match like_clause(element, columns) {
                Some(like) => likes.push(like),
                None => return Vec::new(),
            },
            first => {
                let constraint =
                    matches!(first, Some("constraint" | "primary" | "unique" | "check" | "foreign" | "exclude"));
                columns += usize::from(!constraint);
                if !kept.is_empty() {
                    kept.push(TokenWithSpan { token: Token::Comma, span: tokens[open].span });
                }
                kept.extend_from_slice(element);
            }
        }
    }
    if !likes.is_empty() {
        tokens.splice(open + 1..end, kept);
    }
    likes
}

fn like_clause(element: &[TokenWithSpan], at: usize) -> Option<LikeClause> {
    let mut parts = Vec::new();
    let mut rest = element.get(1..)?;
    loop {
        let Token::Word(word) = &rest.first()?.token else { return None };
        parts.push(ObjectNamePart::Identifier(word.clone().into_ident(rest[0].span)));
        rest = &rest[1..];
        match rest.first().map(|t| &t.token) {
            Some(Token::Period) => rest = &rest[1..],
            _ => break,
        }
    }
    let mut options = Vec::new();
    for pair in rest.chunks(2) {
        let including = match word_of(&pair.first()?.token)?.as_str() {
            "including" => true,
            "excluding" => false,
            _ => return None,
        };
        let what = word_of(&pair.get(1)?.token)?;
        let known = ["all", "comments", "compression", "constraints", "defaults", "generated", "identity", "indexes"];
        if !known.contains(&what.as_str()) && !matches!(what.as_str(), "statistics" | "storage") {
            return None;
        }
        options.push((including, what));
    }
    Some(LikeClause { at, name: ObjectName(parts), options })
}

/// `CREATE TABLE t (a, b) AS …`: sqlparser wants types, the query has them.
fn type_columns_of_table_as(tokens: &mut Vec<TokenWithSpan>) {
    if !is_words(tokens, 0, &["create"]) {
        return;
    }
    let Some(open) = tokens.iter().position(|t| t.token == Token::LParen) else { return };
    if !tokens[..open].iter().any(|t| word_of(&t.token).as_deref() == Some("table")) {
        return;
    }
    let Some(close) = tokens[open..].iter().position(|t| t.token == Token::RParen).map(|at| open + at) else { return };
    let names = &tokens[open + 1..close];
    let plain = !names.is_empty()
        && names.len() % 2 == 1
        && names.iter().enumerate().all(|(i, t)| matches!((i % 2, &t.token), (0, Token::Word(_)) | (1, Token::Comma)));
    if !plain || !tokens[close + 1..].iter().any(|t| word_of(&t.token).as_deref() == Some("as")) {
        return;
    }
    let typed: Vec<TokenWithSpan> = names
        .iter()
        .flat_map(|t| {
            let ty = matches!(t.token, Token::Word(_))
                .then(|| TokenWithSpan { token: keyword("text", Keyword::TEXT), span: t.span });
            std::iter::once(t.clone()).chain(ty)
        })
        .collect();
    tokens.splice(open + 1..close, typed);
}

/// `SELECT 1 FOR UPDATE`: sqlparser reads FOR behind a select list as a name, unless a clause stands before it.
fn lock_without_from(tokens: &mut Vec<TokenWithSpan>) {
    let mut at = 1;
    while at < tokens.len() {
        let locks = ["update", "share", "no", "key"].iter().any(|word| is_words(tokens, at, &["for", word]));
        if locks && in_select_list(&tokens[..at]) {
            let span = tokens[at].span;
            let made = |token| TokenWithSpan { token, span };
            tokens.splice(at..at, [made(keyword("LIMIT", Keyword::LIMIT)), made(keyword("ALL", Keyword::ALL))]);
            at += 2;
        }
        at += 1;
    }
}

/// `ORDER BY x USING <` is `ORDER BY x ASC`.
fn order_using(tokens: &mut Vec<TokenWithSpan>) {
    let mut at = 0;
    while at + 1 < tokens.len() {
        let direction = match tokens[at + 1].token {
            Token::Lt => ("ASC", Keyword::ASC),
            Token::Gt => ("DESC", Keyword::DESC),
            _ => ("", Keyword::NoKeyword),
        };
        if is_words(tokens, at, &["using"]) && !direction.0.is_empty() {
            tokens[at].token = keyword(direction.0, direction.1);
            tokens.remove(at + 1);
        }
        at += 1;
    }
}

/// `current_schema` is a function also without parentheses.
fn call_current_schema(tokens: &mut Vec<TokenWithSpan>) {
    let mut at = 0;
    while at < tokens.len() {
        let named = at > 0 && (tokens[at - 1].token == Token::Period || is_words(tokens, at - 1, &["as"]));
        let called = tokens.get(at + 1).is_some_and(|next| next.token == Token::LParen);
        if is_words(tokens, at, &["current_schema"]) && !named && !called {
            let span = tokens[at].span;
            let made = |token| TokenWithSpan { token, span };
            tokens.splice(at + 1..at + 1, [made(Token::LParen), made(Token::RParen)]);
        }
        at += 1;
    }
}

/// Whether no clause follows the last SELECT of this level.
fn in_select_list(before: &[TokenWithSpan]) -> bool {
    let mut depth = 0_usize;
    for token in before.iter().rev() {
        match &token.token {
            Token::RParen => depth += 1,
            Token::LParen if depth == 0 => return false,
            Token::LParen => depth -= 1,
            other if depth == 0 => match word_of(other).as_deref() {
                Some("select") => return true,
                Some("from" | "where" | "group" | "having" | "order" | "limit" | "offset" | "window") => return false,
                _ => {}
            },
            _ => {}
        }
    }
    false
}

/// `FOR NO KEY UPDATE` and `FOR KEY SHARE` become the next stronger locks.
fn strengthen_row_locks(tokens: &mut Vec<TokenWithSpan>) {
    let mut at = 0;
    while at < tokens.len() {
        if is_words(tokens, at, &["for", "no", "key", "update"]) {
            tokens.drain(at + 1..at + 3);
        } else if is_words(tokens, at, &["for", "key", "share"]) {
            tokens.remove(at + 1);
        }
        at += 1;
    }
}

/// `FOR UPDATE SKIP LOCKED LIMIT 1` becomes `LIMIT 1 FOR UPDATE SKIP LOCKED`: sqlparser reads the clauses in this order alone.
fn row_locks_behind_limits(tokens: &mut [TokenWithSpan]) {
    const LIMITS: [&str; 3] = ["limit", "offset", "fetch"];
    for at in 0..tokens.len() {
        if !is_words(tokens, at, &["for", "update"]) && !is_words(tokens, at, &["for", "share"]) {
            continue;
        }
        let limits = end_of_row_lock(tokens, at + 2);
        if !LIMITS.iter().any(|word| is_words(tokens, limits, &[word])) {
            continue;
        }
        let mut depth = 0_usize;
        let ends = |token: &TokenWithSpan| match &token.token {
            Token::LParen => {
                depth += 1;
                false
            }
            Token::RParen if depth == 0 => true,
            Token::RParen => {
                depth -= 1;
                false
            }
            Token::SemiColon | Token::EOF => true,
            other if depth == 0 => matches!(
                word_of(other).as_deref(),
                Some("for" | "union" | "intersect" | "except" | "returning" | "on" | "with")
            ),
            _ => false,
        };
        let end = tokens[limits..].iter().position(ends).map_or(tokens.len(), |count| limits + count);
        tokens[at..end].rotate_left(limits - at);
    }
}

/// Where a locking clause ends whose `OF`, `NOWAIT` or `SKIP LOCKED` may stand at `at`.
fn end_of_row_lock(tokens: &[TokenWithSpan], mut at: usize) -> usize {
    if is_words(tokens, at, &["of"]) {
        at += 1;
        while let Some(Token::Word(_)) = tokens.get(at).map(|t| &t.token) {
            at += 1;
            if !matches!(tokens.get(at).map(|t| &t.token), Some(Token::Period | Token::Comma)) {
                break;
            }
            at += 1;
        }
    }
    match () {
        () if is_words(tokens, at, &["nowait"]) => at + 1,
        () if is_words(tokens, at, &["skip", "locked"]) => at + 2,
        () => at,
    }
}

/// The column that DO NOTHING of MERGE writes for sqlparser, which does not know it.
pub(in crate::sql) const NOTHING: &str = "nothing\u{1}";

/// `THEN INSERT DEFAULT VALUES` of MERGE becomes `THEN INSERT VALUES (DEFAULT)`: columns without a value get theirs anyway.
/// `THEN DO NOTHING` becomes a write of [`NOTHING`].
fn spell_out_merge_actions(tokens: &mut Vec<TokenWithSpan>) {
    let mut at = 0;
    while at < tokens.len() {
        let span = tokens[at].span;
        let made = |token| TokenWithSpan { token, span };
        if is_words(tokens, at, &["then", "insert", "default", "values"]) {
            let default = tokens.remove(at + 2);
            tokens.splice(at + 3..at + 3, [made(Token::LParen), default, made(Token::RParen)]);
        } else if is_words(tokens, at, &["then", "do", "nothing"]) {
            let when = (0..at).rev().find(|when| is_words(tokens, *when, &["when"])).unwrap_or(at);
            let nothing =
                Token::Word(Word { value: NOTHING.to_owned(), quote_style: Some('"'), keyword: Keyword::NoKeyword });
            let null = keyword("NULL", Keyword::NULL);
            let action = if is_words(tokens, when, &["when", "not"]) {
                vec![
                    keyword("INSERT", Keyword::INSERT),
                    Token::LParen,
                    nothing,
                    Token::RParen,
                    keyword("VALUES", Keyword::VALUES),
                    Token::LParen,
                    null,
                    Token::RParen,
                ]
            } else {
                vec![keyword("UPDATE", Keyword::UPDATE), keyword("SET", Keyword::SET), nothing, Token::Eq, null]
            };
            tokens.splice(at + 1..at + 3, action.into_iter().map(made));
        }
        at += 1;
    }
}

/// `INSERT … SELECT 1 ON CONFLICT`: sqlparser takes ON for an alias where no clause stands behind the select list, so
/// one is put there.
fn part_conflict_from_select(tokens: &mut Vec<TokenWithSpan>) {
    if !is_words(tokens, 0, &["insert"]) {
        return;
    }
    let (mut depth, mut open_list) = (0usize, false);
    for at in 0..tokens.len() {
        match &tokens[at].token {
            Token::LParen => depth += 1,
            Token::RParen => depth = depth.saturating_sub(1),
            token if depth == 0 => match word_of(token).as_deref() {
                Some("select") => open_list = true,
                Some("from" | "where" | "group" | "having" | "window" | "order" | "limit" | "offset" | "fetch") => {
                    open_list = false;
                }
                Some("on") if open_list && is_words(tokens, at, &["on", "conflict"]) => {
                    let span = tokens[at].span;
                    let made = |token| TokenWithSpan { token, span };
                    let clause = [made(keyword("WHERE", Keyword::WHERE)), made(keyword("TRUE", Keyword::TRUE))];
                    tokens.splice(at..at, clause);
                    return;
                }
                _ => {}
            },
            _ => {}
        }
    }
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

pub(super) fn is_words(tokens: &[TokenWithSpan], at: usize, words: &[&str]) -> bool {
    words
        .iter()
        .enumerate()
        .all(|(i, word)| tokens.get(at + i).and_then(|t| word_of(&t.token)).is_some_and(|w| w == *word))
}
