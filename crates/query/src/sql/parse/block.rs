//! DO: the part of PL/pgSQL that migrations are written in.
//!
//! `BEGIN`, statements of SQL, `IF … THEN … ELSIF … ELSE … END IF`, `PERFORM`, `EXECUTE 'constant'`, `NULL`, `RAISE` of a
//! constant, blocks in blocks, and `EXCEPTION WHEN … THEN …`. What else PL/pgSQL has is 0A000.

use std::sync::Arc;

use perigee_plan::SessionCommand;
use perigee_plan::block::{Block, Handler, Raise, Step};
use perigee_types::{SqlError, SqlResult, SqlState};
use sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer};

use super::position::Text;
use super::tokens::{Tokens, word_of};
use super::{DIALECT, position, without_space};
use crate::sql::statement::Ast;

/// How deep blocks and conditions may stand in each other.
const NESTED_MAX: usize = 20;

/// Statements that a block may have; the session refuses those that cannot run in one.
const COMMANDS: &[&str] = &[
    "alter", "analyze", "comment", "create", "delete", "drop", "grant", "insert", "lock", "merge", "notify", "refresh",
    "reset", "revoke", "set", "truncate", "update",
];

/// Names of errors, as PL/pgSQL has them.
const CONDITIONS: &[(&str, &str)] = &[
    ("check_violation", "23514"),
    ("datatype_mismatch", "42804"),
    ("dependent_objects_still_exist", "2BP01"),
    ("division_by_zero", "22012"),
    ("duplicate_alias", "42712"),
    ("duplicate_column", "42701"),
    ("duplicate_database", "42P04"),
    ("duplicate_function", "42723"),
    ("duplicate_object", "42710"),
    ("duplicate_prepared_statement", "42P05"),
    ("duplicate_schema", "42P06"),
    ("duplicate_table", "42P07"),
    ("feature_not_supported", "0A000"),
    ("foreign_key_violation", "23503"),
    ("insufficient_privilege", "42501"),
    ("invalid_column_reference", "42P10"),
    ("invalid_parameter_value", "22023"),
    ("invalid_schema_name", "3F000"),
    ("invalid_table_definition", "42P16"),
    ("invalid_text_representation", "22P02"),
    ("lock_not_available", "55P03"),
    ("not_null_violation", "23502"),
    ("numeric_value_out_of_range", "22003"),
    ("object_in_use", "55006"),
    ("object_not_in_prerequisite_state", "55000"),
    ("raise_exception", "P0001"),
    ("string_data_right_truncation", "22001"),
    ("syntax_error", "42601"),
    ("undefined_column", "42703"),
    ("undefined_file", "58P01"),
    ("undefined_function", "42883"),
    ("undefined_object", "42704"),
    ("undefined_parameter", "42P02"),
    ("undefined_table", "42P01"),
    ("unique_violation", "23505"),
    ("wrong_object_type", "42809"),
];

/// `DO [LANGUAGE plpgsql] 'body'`, the language perhaps behind the body.
pub(super) fn parse(tokens: &mut Tokens) -> SqlResult<Ast> {
    tokens.expect_words(&["do"])?;
    let before = language(tokens)?;
    let body = tokens.string()?;
    let language = before.or(language(tokens)?);
    tokens.expect_end()?;
    if let Some(language) = language.filter(|language| language != "plpgsql") {
        return Err(SqlError::unsupported(format_args!("DO in language {language}")));
    }
    let text = Text::new(&body);
    let inner = Tokenizer::new(&DIALECT, &body).tokenize_with_location();
    let inner = inner.map_err(|error| position::tokenizer_error(&text, &error).without_position())?;
    let inner = without_space(&text, inner).map_err(SqlError::without_position)?;
    let mut reader = Reader { text: &text, tokens: &inner, at: 0, depth: 0 };
    let block = reader.body().map_err(SqlError::without_position)?;
    Ok(Ast::Session(SessionCommand::Do(Arc::new(block))))
}

fn language(tokens: &mut Tokens) -> SqlResult<Option<String>> {
    if !tokens.accept_words(&["language"]) {
        return Ok(None);
    }
    let name = if matches!(tokens.peek(), Some(Token::Word(_))) { tokens.name()? } else { tokens.string()? };
    Ok(Some(name.to_lowercase()))
}

/// A cursor over the body.
struct Reader<'a> {
    text: &'a Text<'a>,
    tokens: &'a [TokenWithSpan],
    at: usize,
    depth: usize,
}

impl Reader<'_> {
    fn body(&mut self) -> SqlResult<Block> {
        let block = self.block()?;
        self.accept(&Token::SemiColon);
        if self.at < self.tokens.len() { Err(self.error()) } else { Ok(block) }
    }

    fn word(&self) -> Option<String> {
        word_of(&self.tokens.get(self.at)?.token)
    }

    fn accept_word(&mut self, word: &str) -> bool {
        let found = self.word().is_some_and(|found| found == word);
        self.at += usize::from(found);
        found
    }

    fn accept(&mut self, token: &Token) -> bool {
        let found = self.tokens.get(self.at).is_some_and(|found| found.token == *token);
        self.at += usize::from(found);
        found
    }

    fn expect_word(&mut self, word: &str) -> SqlResult<()> {
        if self.accept_word(word) { Ok(()) } else { Err(self.error()) }
    }

    fn end_of_step(&mut self) -> SqlResult<()> {
        if self.accept(&Token::SemiColon) { Ok(()) } else { Err(self.error()) }
    }

    fn error(&self) -> SqlError {
        match self.tokens.get(self.at) {
            Some(token) => position::at_or_near(self.text, token),
            None => SqlError::syntax("syntax error at end of input"),
        }
    }

    fn nested<T>(&mut self, read: impl FnOnce(&mut Self) -> SqlResult<T>) -> SqlResult<T> {
        if self.depth == NESTED_MAX {
            return Err(SqlError::new(SqlState::StatementTooComplex, "blocks of DO stand too deep in each other"));
        }
        self.depth += 1;
        let read = read(self);
        self.depth -= 1;
        read
    }

    fn block(&mut self) -> SqlResult<Block> {
        if self.word().as_deref() == Some("declare") {
            return Err(SqlError::unsupported("DECLARE in DO"));
        }
        self.expect_word("begin")?;
        let steps = self.steps(&["exception", "end"])?;
        let mut handlers = Vec::new();
        if self.accept_word("exception") {
            while self.accept_word("when") {
                handlers.push(self.handler()?);
            }
            if handlers.is_empty() {
                return Err(self.error());
            }
        }
        self.expect_word("end")?;
        Ok(Block { steps, handlers })
    }

    fn handler(&mut self) -> SqlResult<Handler> {
        let mut states = vec![self.condition()?];
        while self.accept_word("or") {
            states.push(self.condition()?);
        }
        self.expect_word("then")?;
        Ok(Handler { states, steps: self.steps(&["when", "end"])? })
    }

    fn condition(&mut self) -> SqlResult<Option<Arc<str>>> {
        if self.accept_word("sqlstate") {
            let Some(Token::SingleQuotedString(state)) = self.tokens.get(self.at).map(|t| &t.token) else {
                return Err(self.error());
            };
            self.at += 1;
            return Ok(Some(Arc::from(state.as_str())));
        }
        let Some(name) = self.word() else { return Err(self.error()) };
        self.at += 1;
        if name == "others" {
            return Ok(None);
        }
        match CONDITIONS.iter().find(|(known, _)| *known == name) {
            Some((_, state)) => Ok(Some(Arc::from(*state))),
            None => {
                Err(SqlError::new(SqlState::UndefinedObject, format!("unrecognized exception condition \"{name}\"")))
            }
        }
    }

    fn steps(&mut self, ends: &[&str]) -> SqlResult<Vec<Step>> {
        let mut steps = Vec::new();
        loop {
            let Some(word) = self.word() else { return Err(self.error()) };
            if ends.contains(&word.as_str()) {
                return Ok(steps);
            }
            steps.extend(self.nested(|reader| reader.step(&word))?);
        }
    }

    fn step(&mut self, word: &str) -> SqlResult<Option<Step>> {
        let start = self.at;
        match word {
            "null" => {
                self.at += 1;
                self.end_of_step()?;
                Ok(None)
            }
            "begin" => {
                let block = self.block()?;
                self.end_of_step()?;
                Ok(Some(Step::Block(block)))
            }
            "if" => self.choice().map(Some),
            "raise" => self.raise().map(Some),
            "perform" => {
                self.at += 1;
                let rest = self.until_semicolon()?;
                Ok(Some(Step::Run(format!("SELECT {rest}").into())))
            }
            "execute" => {
                self.at += 1;
                let command = match self.tokens.get(self.at).map(|t| &t.token) {
                    Some(Token::SingleQuotedString(command)) => command.clone(),
                    Some(Token::DollarQuotedString(command)) => command.value.clone(),
                    _ => return Err(SqlError::unsupported("EXECUTE of what is no constant in DO")),
                };
                self.at += 1;
                if self.tokens.get(self.at).is_some_and(|t| t.token != Token::SemiColon) {
                    return Err(SqlError::unsupported("EXECUTE of what is no constant in DO"));
                }
                self.end_of_step()?;
                Ok(Some(Step::Run(command.into())))
            }
            "select" | "with" | "values" => Err(SqlError::syntax("query has no destination for result data")
                .hint("If you want to discard the results of a SELECT, use PERFORM instead.")),
            command if COMMANDS.contains(&command) => {
                self.at = start;
                let text = self.until_semicolon()?;
                Ok(Some(Step::Run(text.into())))
            }
            other => Err(SqlError::unsupported(format_args!("{} in DO", other.to_uppercase()))),
        }
    }

    /// The text up to the semicolon, and goes behind it.
    fn until_semicolon(&mut self) -> SqlResult<String> {
        let rest = &self.tokens[self.at..];
        let Some(length) = rest.iter().position(|t| t.token == Token::SemiColon) else {
            self.at = self.tokens.len();
            return Err(self.error());
        };
        let text = self.text.slice(self.text.range(&rest[..length])).to_owned();
        self.at += length + 1;
        Ok(text)
    }

    fn choice(&mut self) -> SqlResult<Step> {
        let mut branches = Vec::new();
        self.expect_word("if")?;
        loop {
            let condition = self.until_then()?;
            branches.push((condition, self.steps(&["elsif", "elseif", "else", "end"])?));
            if !self.accept_word("elsif") && !self.accept_word("elseif") {
                break;
            }
        }
        let otherwise = if self.accept_word("else") { self.steps(&["end"])? } else { Vec::new() };
        self.expect_word("end")?;
        self.expect_word("if")?;
        self.end_of_step()?;
        Ok(Step::If(branches, otherwise))
    }

    /// A query for the condition up to THEN, and goes behind it. CASE has THENs of its own.
    fn until_then(&mut self) -> SqlResult<Arc<str>> {
        let start = self.at;
        let mut cases = 0_usize;
        loop {
            match self.word().as_deref() {
                Some("then") if cases == 0 => break,
                Some("case") => cases += 1,
                Some("end") => cases = cases.saturating_sub(1),
                _ => {}
            }
            if self.at >= self.tokens.len() || self.tokens[self.at].token == Token::SemiColon {
                return Err(self.error());
            }
            self.at += 1;
        }
        let condition = self.text.slice(self.text.range(&self.tokens[start..self.at]));
        self.at += 1;
        Ok(format!("SELECT 1 WHERE ({condition})").into())
    }

    fn raise(&mut self) -> SqlResult<Step> {
        self.expect_word("raise")?;
        let level = match self.word().as_deref() {
            Some("info") => Raise::Info,
            Some("notice") => Raise::Notice,
            Some("warning") => Raise::Warning,
            Some("exception") | None => Raise::Exception,
            Some(other) => return Err(SqlError::unsupported(format_args!("RAISE {} in DO", other.to_uppercase()))),
        };
        self.at += usize::from(self.word().is_some());
        let message = match self.tokens.get(self.at).map(|t| &t.token) {
            Some(Token::SingleQuotedString(message)) if !message.replace("%%", "").contains('%') => {
                message.replace("%%", "%")
            }
            Some(Token::SingleQuotedString(_)) => return Err(SqlError::unsupported("RAISE with values in DO")),
            _ => return Err(self.error()),
        };
        self.at += 1;
        if self.word().as_deref() == Some("using") {
            return Err(SqlError::unsupported("RAISE with USING in DO"));
        }
        self.end_of_step()?;
        Ok(Step::Raise(level, message.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::parse::parse;

    fn block(body: &str) -> Result<Block, &'static str> {
        let parsed = parse(&format!("DO $do$ {body} $do$")).map_err(|error| error.state().code())?;
        match &parsed[0].ast {
            Ast::Session(SessionCommand::Do(block)) => Ok((**block).clone()),
            other => panic!("{other:?}"),
        }
    }

    fn texts(steps: &[Step]) -> Vec<String> {
        steps
            .iter()
            .map(|step| match step {
                Step::Run(text) => text.to_string(),
                other => format!("{other:?}"),
            })
            .collect()
    }

    #[test]
    fn statements_conditions_and_handlers() {
        let read = block(
            "BEGIN CREATE TYPE e AS ENUM ('a;b'); PERFORM f(1); NULL; EXECUTE 'DROP TABLE t';
             EXCEPTION WHEN duplicate_object OR SQLSTATE '42P07' THEN null; WHEN others THEN RAISE NOTICE '100%%'; END;",
        );
        let read = read.unwrap();
        assert_eq!(texts(&read.steps), ["CREATE TYPE e AS ENUM ('a;b')", "SELECT f(1)", "DROP TABLE t"]);
        let states: Vec<_> = read.handlers.iter().map(|handler| handler.states.clone()).collect();
        assert_eq!(states, [vec![Some("42710".into()), Some("42P07".into())], vec![None]]);
        assert!(matches!(&read.handlers[1].steps[..], [Step::Raise(Raise::Notice, text)] if &**text == "100%"));
    }

    #[test]
    fn conditions_have_cases_of_their_own() {
        let read = block(
            "BEGIN IF CASE WHEN a THEN b END THEN DROP TABLE t; ELSIF c THEN NULL; ELSE BEGIN DROP VIEW v; END; END IF; END",
        );
        let read = read.unwrap();
        let Step::If(branches, otherwise) = &read.steps[0] else { panic!() };
        assert_eq!(&*branches[0].0, "SELECT 1 WHERE (CASE WHEN a THEN b END)");
        assert_eq!(texts(&branches[0].1), ["DROP TABLE t"]);
        assert_eq!((&*branches[1].0, branches[1].1.len()), ("SELECT 1 WHERE (c)", 0));
        assert!(matches!(&otherwise[..], [Step::Block(block)] if texts(&block.steps) == ["DROP VIEW v"]));
    }

    #[test]
    fn what_is_refused() {
        let check = |body: &str, state: &'static str| assert_eq!(block(body).map(drop), Err(state), "{body}");
        check("DECLARE x int; BEGIN END", "0A000");
        check("BEGIN FOR i IN 1..2 LOOP NULL; END LOOP; END", "0A000");
        check("BEGIN x := 1; END", "0A000");
        check("BEGIN SELECT 1; END", "42601");
        check("BEGIN EXECUTE 'a' || 'b'; END", "0A000");
        check("BEGIN RAISE NOTICE '%', 1; END", "0A000");
        check("BEGIN COMMIT; END", "0A000");
        check("BEGIN DROP TABLE t END", "42601");
        check("BEGIN DROP TABLE t;", "42601");
        check("BEGIN EXCEPTION WHEN no_such THEN NULL; END", "42704");
        check("BEGIN END x", "42601");
        check(&format!("BEGIN {} NULL; {} END", "BEGIN ".repeat(30), "END; ".repeat(30)), "54001");
        assert_eq!(parse("DO LANGUAGE sql 'x'").map(drop).map_err(|e| e.state().code()), Err("0A000"));
    }
}
