//! A cursor over the tokens of one statement.

use perigee_types::{SqlError, SqlResult, SqlType};
use sqlparser::ast::{DataType, Expr, Ident, ObjectName, ObjectNamePart};
use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::position::{Text, at_or_near};
use super::{statement, with_parser};
use crate::sql::statement::Statement;

/// A cursor over the tokens of one statement.
#[derive(Clone)]
pub(super) struct Tokens<'a> {
    text: &'a Text<'a>,
    tokens: &'a [TokenWithSpan],
    at: usize,
}

impl<'a> Tokens<'a> {
    pub(super) fn new(text: &'a Text<'a>, tokens: &'a [TokenWithSpan]) -> Self {
        Self { text, tokens, at: 0 }
    }

    pub(super) fn peek(&self) -> Option<&'a Token> {
        self.tokens.get(self.at).map(|t| &t.token)
    }

    /// The unquoted word at the cursor, in lower case.
    pub(super) fn peek_word(&self) -> Option<String> {
        word_of(self.peek()?)
    }

    /// Whether `words` come next.
    pub(super) fn peek_words(&self, words: &[&str]) -> bool {
        words.iter().enumerate().all(|(i, word)| {
            self.tokens.get(self.at + i).and_then(|t| word_of(&t.token)).is_some_and(|found| found == *word)
        })
    }

    /// The unquoted word before the cursor, in lower case.
    pub(super) fn previous_word(&self) -> Option<String> {
        word_of(&self.tokens.get(self.at.checked_sub(1)?)?.token)
    }

    pub(super) fn is_done(&self) -> bool {
        self.at >= self.tokens.len()
    }

    /// Whether the token at the cursor is the last one.
    pub(super) fn is_last(&self) -> bool {
        self.at + 1 == self.tokens.len()
    }

    /// A whole number with its sign, of 32 bits as in PostgreSQL's grammar.
    pub(super) fn integer(&mut self) -> SqlResult<i64> {
        let negative = self.accept(&Token::Minus);
        if !negative {
            self.accept(&Token::Plus);
        }
        let Some(Token::Number(number, _)) = self.peek() else { return Err(self.error()) };
        let number: i32 = number.parse().map_err(|_| self.error())?;
        self.at += 1;
        Ok(if negative { -i64::from(number) } else { i64::from(number) })
    }

    pub(super) fn next(&mut self) -> Option<&'a Token> {
        let token = self.tokens.get(self.at)?;
        self.at += 1;
        Some(&token.token)
    }

    /// Steps over `token` if it is there.
    pub(super) fn accept(&mut self, token: &Token) -> bool {
        let found = self.peek() == Some(token);
        self.at += usize::from(found);
        found
    }

    /// Steps over `words` if they are there.
    pub(super) fn accept_words(&mut self, words: &[&str]) -> bool {
        let found = self.peek_words(words);
        self.at += if found { words.len() } else { 0 };
        found
    }

    /// Steps over one of `words` and says which.
    pub(super) fn accept_one(&mut self, words: &[&'static str]) -> Option<&'static str> {
        words.iter().copied().find(|word| self.accept_words(&[word]))
    }

    pub(super) fn expect(&mut self, token: &Token) -> SqlResult<()> {
        if self.accept(token) { Ok(()) } else { Err(self.error()) }
    }

    pub(super) fn expect_words(&mut self, words: &[&str]) -> SqlResult<()> {
        if self.accept_words(words) { Ok(()) } else { Err(self.error()) }
    }

    /// The syntax error at the cursor.
    pub(super) fn error(&self) -> SqlError {
        match self.tokens.get(self.at) {
            Some(token) => at_or_near(self.text, token),
            None => SqlError::syntax("syntax error at end of input")
                .position(self.text.characters_before(self.text.range(self.tokens).end).saturating_add(1)),
        }
    }

    pub(super) fn expect_end(&self) -> SqlResult<()> {
        if self.is_done() { Ok(()) } else { Err(self.error()) }
    }

    /// A name: folded to lower case unless quoted.
    pub(super) fn name(&mut self) -> SqlResult<String> {
        Ok(fold(&self.ident()?))
    }

    pub(super) fn ident(&mut self) -> SqlResult<Ident> {
        match self.tokens.get(self.at) {
            Some(TokenWithSpan { token: Token::Word(word), span }) => {
                self.at += 1;
                Ok(word.clone().into_ident(*span))
            }
            _ => Err(self.error()),
        }
    }

    /// `name` or `schema.name`.
    pub(super) fn object_name(&mut self) -> SqlResult<ObjectName> {
        let mut parts = vec![ObjectNamePart::Identifier(self.ident()?)];
        while self.accept(&Token::Period) {
            parts.push(ObjectNamePart::Identifier(self.ident()?));
        }
        Ok(ObjectName(parts))
    }

    /// `( item, … )`
    pub(super) fn list<T>(&mut self, mut item: impl FnMut(&mut Self) -> SqlResult<T>) -> SqlResult<Vec<T>> {
        self.expect(&Token::LParen)?;
        let mut items = vec![item(self)?];
        while self.accept(&Token::Comma) {
            items.push(item(self)?);
        }
        self.expect(&Token::RParen)?;
        Ok(items)
    }

    /// A string constant of any kind of quotes.
    pub(super) fn string(&mut self) -> SqlResult<String> {
        let text = match self.peek() {
            Some(
                Token::SingleQuotedString(s)
                | Token::EscapedStringLiteral(s)
                | Token::UnicodeStringLiteral(s)
                | Token::NationalStringLiteral(s),
            ) => s.clone(),
            Some(Token::DollarQuotedString(s)) => s.value.clone(),
            _ => return Err(self.error()),
        };
        self.at += 1;
        Ok(text)
    }

    /// The tokens from the cursor to the `)` that closes the `(` before it; the cursor moves behind that.
    pub(super) fn until_closed(&mut self) -> SqlResult<&'a [TokenWithSpan]> {
        let start = self.at;
        let mut depth = 1_usize;
        while let Some(token) = self.next() {
            match token {
                Token::LParen => depth += 1,
                Token::RParen => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                return Ok(&self.tokens[start..self.at - 1]);
            }
        }
        Err(self.error())
    }

    /// The type from the cursor to the comma or the `)` behind it, and whether that is a `)`; the cursor moves behind it.
    pub(super) fn type_of_list(&mut self) -> SqlResult<(DataType, bool)> {
        let start = self.at;
        let mut depth = 0_usize;
        while let Some(token) = self.next() {
            match token {
                Token::LParen => depth += 1,
                Token::RParen if depth > 0 => depth -= 1,
                end @ (Token::RParen | Token::Comma) if depth == 0 => {
                    let ty = self.types(&self.tokens[start..self.at - 1])?.pop().ok_or_else(|| self.error())?;
                    return Ok((ty, *end == Token::RParen));
                }
                _ => {}
            }
        }
        Err(self.error())
    }

    /// The tokens from the cursor on.
    pub(super) fn rest(&self) -> &'a [TokenWithSpan] {
        self.tokens.get(self.at..).unwrap_or_default()
    }

    /// The statement that the rest of the tokens are.
    pub(super) fn rest_statement(&mut self) -> SqlResult<Statement> {
        if self.is_done() {
            return Err(self.error());
        }
        let rest = &self.tokens[self.at..];
        self.at = self.tokens.len();
        statement(self.text, rest)
    }

    /// Comma-separated expressions, which `tokens` are.
    pub(super) fn expressions(&self, tokens: &[TokenWithSpan]) -> SqlResult<Vec<Expr>> {
        with_parser(self.text, tokens, |parser| parser.parse_comma_separated(|p| p.parse_expr()))
    }

    /// Comma-separated types, which `tokens` are.
    pub(super) fn types(&self, tokens: &[TokenWithSpan]) -> SqlResult<Vec<DataType>> {
        with_parser(self.text, tokens, |parser| parser.parse_comma_separated(|p| p.parse_data_type()))
    }

    /// The expression that the rest of the tokens are.
    pub(super) fn rest_expression(&mut self) -> SqlResult<Expr> {
        let rest = &self.tokens[self.at..];
        self.at = self.tokens.len();
        with_parser(self.text, rest, |parser| parser.parse_expr())
    }

    /// `CREATE TABLE name (value …)`, where `…` is the rest of the tokens.
    pub(super) fn column_of_table(&mut self, name: &ObjectName) -> SqlResult<sqlparser::ast::Statement> {
        let rest = &self.tokens[self.at..];
        self.at = self.tokens.len();
        let Some(first) = rest.first() else { return Err(self.error()) };
        let mut made = Vec::with_capacity(rest.len() + 8);
        let mut push = |token| made.push(TokenWithSpan { token, span: first.span });
        push(Token::make_keyword("CREATE"));
        push(Token::make_keyword("TABLE"));
        for (at, part) in name.0.iter().enumerate() {
            if at > 0 {
                push(Token::Period);
            }
            if let Some(ident) = part.as_ident() {
                push(Token::make_word(&ident.value, Some('"')));
            }
        }
        push(Token::LParen);
        push(Token::make_word("value", Some('"')));
        made.extend(rest.iter().cloned());
        made.push(TokenWithSpan { token: Token::RParen, span: first.span });
        with_parser(self.text, &made, |parser| parser.parse_statement())
    }

    /// A type of one word.
    ///
    /// # Errors
    /// `42601`, `42704`
    pub(super) fn one_type(&mut self) -> SqlResult<SqlType> {
        let Some(token) = self.tokens.get(self.at..=self.at) else { return Err(self.error()) };
        self.at += 1;
        let ty = self.types(token)?.pop().ok_or_else(|| self.error())?;
        crate::exec::sql_type_of(&ty)
    }

    /// A query, which `tokens` are.
    pub(super) fn query(&self, tokens: &[TokenWithSpan]) -> SqlResult<Box<sqlparser::ast::Query>> {
        let tokens = super::rewrite::rewrite(tokens).tokens;
        let mut query = with_parser(self.text, &tokens, |parser| parser.parse_query())?;
        super::syntax::spell_out_symmetric(&tokens, &mut *query)?;
        Ok(query)
    }
}

/// The unquoted word that a token is, in lower case.
pub(super) fn word_of(token: &Token) -> Option<String> {
    match token {
        Token::Word(word) if word.quote_style.is_none() => Some(word.value.to_ascii_lowercase()),
        _ => None,
    }
}

/// A name as PostgreSQL keeps it: in UTF-8 it makes only ASCII's capitals small.
pub(crate) fn fold(ident: &Ident) -> String {
    match ident.quote_style {
        Some(_) => ident.value.clone(),
        None => ident.value.to_ascii_lowercase(),
    }
}
