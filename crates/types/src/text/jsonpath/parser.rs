//! Tokens of a path to steps.
//!
//! Values and truth values are told apart while they are read: `&&`, `||`, `!` and filters take truth values, all else
//! takes values, and a truth value is one only in parentheses with an accessor behind them.

use super::super::json::normal_number;
use super::lexer::{Spanned, Token, error_at, tokens};
use super::{Binary, Chain, JsonPath, LEVEL_LAST, Method, Pattern, Step, Unary};
use crate::{SqlError, SqlResult, SqlState};

/// How deep values may nest in a path.
const DEPTH_MAX: usize = 100;
/// Steps of one chain, and operators of one expression.
const STEPS_MAX: usize = 1_000;

/// The keywords that mean something without their case, and those that must be lower case.
const ANY_CASE: &[&str] = &[
    "is",
    "to",
    "abs",
    "lax",
    "flag",
    "last",
    "size",
    "type",
    "with",
    "floor",
    "double",
    "exists",
    "starts",
    "strict",
    "ceiling",
    "unknown",
    "datetime",
    "keyvalue",
    "like_regex",
];

pub(super) fn parse(text: &str) -> SqlResult<JsonPath> {
    let mut parser = Parser { tokens: tokens(text)?, at: 0, depth: 0 };
    if parser.tokens.len() == 1 {
        return Err(super::super::invalid_syntax("jsonpath", text));
    }
    let lax = match parser.keyword().as_deref() {
        Some("strict") => {
            parser.at += 1;
            false
        }
        Some("lax") => {
            parser.at += 1;
            true
        }
        _ => true,
    };
    let root = parser.or()?;
    if *parser.peek() != Token::End {
        return Err(parser.error());
    }
    check(&root.chain, 0, false)?;
    Ok(JsonPath { lax, root: root.chain })
}

/// Refuses `@` outside of filters and `last` outside of subscripts, and patterns that are none.
fn check(chain: &Chain, filters: usize, in_subscript: bool) -> SqlResult<()> {
    for step in chain {
        match step {
            Step::Current if filters == 0 => {
                return Err(SqlError::syntax("@ is not allowed in root expressions"));
            }
            Step::Last if !in_subscript => {
                return Err(SqlError::syntax("LAST is allowed only in array subscripts"));
            }
            Step::Elements(elements) => {
                for (from, to) in elements {
                    check(from, filters, true)?;
                    to.iter().try_for_each(|to| check(to, filters, true))?;
                }
            }
            Step::Binary(_, sides) => {
                check(&sides.0, filters, in_subscript)?;
                check(&sides.1, filters, in_subscript)?;
            }
            Step::Unary(op, value) => check(value, filters + usize::from(*op == Unary::Filter), in_subscript)?,
            Step::LikeRegex(value, pattern) => {
                check(value, filters, in_subscript)?;
                if pattern.expanded && !pattern.quoted {
                    return Err(SqlError::new(
                        SqlState::FeatureNotSupported,
                        "XQuery \"x\" flag (expanded regular expressions) is not implemented",
                    ));
                }
                pattern.regex()?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// What has been read.
struct Operand {
    chain: Chain,
    /// Whether it is a truth value.
    predicate: bool,
    /// Whether it stands in parentheses with nothing behind them.
    enclosed: bool,
}

impl Operand {
    fn value(step: Step) -> Self {
        Self { chain: vec![step], predicate: false, enclosed: false }
    }

    fn predicate(step: Step) -> Self {
        Self { chain: vec![step], predicate: true, enclosed: false }
    }
}

struct Parser<'a> {
    tokens: Vec<Spanned<'a>>,
    at: usize,
    depth: usize,
}

impl Parser<'_> {
    fn peek(&self) -> &Token {
        self.tokens.get(self.at).map_or(&Token::End, |spanned| &spanned.token)
    }

    /// The keyword at the cursor.
    fn keyword(&self) -> Option<String> {
        let Token::Word(word) = self.peek() else { return None };
        let lower = word.to_ascii_lowercase();
        let exact = matches!(word.as_str(), "null" | "true" | "false");
        (exact || ANY_CASE.contains(&lower.as_str())).then_some(lower)
    }

    fn error(&self) -> SqlError {
        error_at("syntax error", self.tokens.get(self.at).map_or("", |spanned| spanned.text))
    }

    fn is(&self, symbol: &str) -> bool {
        matches!(self.peek(), Token::Symbol(found) if *found == symbol)
    }

    fn accept(&mut self, symbol: &str) -> bool {
        let found = self.is(symbol);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, symbol: &str) -> SqlResult<()> {
        if self.accept(symbol) { Ok(()) } else { Err(self.error()) }
    }

    fn accept_keyword(&mut self, word: &str) -> bool {
        let found = self.keyword().as_deref() == Some(word);
        self.at += usize::from(found);
        found
    }

    fn string(&mut self) -> SqlResult<String> {
        match self.peek() {
            Token::String(text) => {
                let text = text.clone();
                self.at += 1;
                Ok(text)
            }
            _ => Err(self.error()),
        }
    }

    /// Reads one level deeper.
    fn deeper<T>(&mut self, read: impl FnOnce(&mut Self) -> SqlResult<T>) -> SqlResult<T> {
        if self.depth == DEPTH_MAX {
            return Err(too_complex());
        }
        self.depth += 1;
        let result = read(self);
        self.depth -= 1;
        result
    }

    fn truth(&self, operand: Operand) -> SqlResult<Chain> {
        if operand.predicate { Ok(operand.chain) } else { Err(self.error()) }
    }

    fn value(&self, operand: Operand) -> SqlResult<Chain> {
        if operand.predicate { Err(self.error()) } else { Ok(operand.chain) }
    }

    fn or(&mut self) -> SqlResult<Operand> {
        self.logical("||", Binary::Or, Self::and)
    }

    fn and(&mut self) -> SqlResult<Operand> {
        self.logical("&&", Binary::And, Self::not)
    }

    fn logical(
        &mut self,
        symbol: &str,
        op: Binary,
        operand: fn(&mut Self) -> SqlResult<Operand>,
    ) -> SqlResult<Operand> {
        let mut left = operand(self)?;
        let mut count = 0;
        while self.is(symbol) {
            count_up(&mut count)?;
            let first = self.truth(left)?;
            self.at += 1;
            let second = operand(self)?;
            let second = self.truth(second)?;
            left = Operand::predicate(Step::Binary(op, Box::new((first, second))));
        }
        Ok(left)
    }

    fn not(&mut self) -> SqlResult<Operand> {
        if !self.accept("!") {
            return self.comparison();
        }
        let inner = if self.keyword().as_deref() == Some("exists") {
            vec![self.exists()?]
        } else {
            self.expect("(")?;
            let inner = self.deeper(Self::or)?;
            let inner = self.truth(inner)?;
            self.expect(")")?;
            inner
        };
        Ok(Operand::predicate(Step::Unary(Unary::Not, Box::new(inner))))
    }

    fn exists(&mut self) -> SqlResult<Step> {
        self.at += 1;
        self.expect("(")?;
        let inner = self.deeper(Self::or)?;
        let inner = self.value(inner)?;
        self.expect(")")?;
        Ok(Step::Unary(Unary::Exists, Box::new(inner)))
    }

    fn comparison(&mut self) -> SqlResult<Operand> {
        if self.keyword().as_deref() == Some("exists") {
            return self.exists().map(Operand::predicate);
        }
        let left = self.sum()?;
        if left.predicate {
            if left.enclosed && self.accept_keyword("is") {
                if !self.accept_keyword("unknown") {
                    return Err(self.error());
                }
                return Ok(Operand::predicate(Step::Unary(Unary::IsUnknown, Box::new(left.chain))));
            }
            return Ok(left);
        }
        let op = match self.peek() {
            Token::Symbol("==") => Binary::Equal,
            Token::Symbol("!=" | "<>") => Binary::NotEqual,
            Token::Symbol("<") => Binary::Less,
            Token::Symbol("<=") => Binary::LessOrEqual,
            Token::Symbol(">") => Binary::Greater,
            Token::Symbol(">=") => Binary::GreaterOrEqual,
            _ => return self.word_predicate(left),
        };
        self.at += 1;
        let right = self.sum()?;
        let right = self.value(right)?;
        Ok(Operand::predicate(Step::Binary(op, Box::new((left.chain, right)))))
    }

    /// `starts with`, `like_regex`, or nothing.
    fn word_predicate(&mut self, left: Operand) -> SqlResult<Operand> {
        if self.accept_keyword("starts") {
            if !self.accept_keyword("with") {
                return Err(self.error());
            }
            let start = match self.peek() {
                Token::String(text) => Step::String(text.clone()),
                Token::Variable(name) => Step::Variable(name.clone()),
                _ => return Err(self.error()),
            };
            self.at += 1;
            return Ok(Operand::predicate(Step::Binary(Binary::StartsWith, Box::new((left.chain, vec![start])))));
        }
        if self.accept_keyword("like_regex") {
            let text = self.string()?;
            let flags = if self.accept_keyword("flag") { self.string()? } else { String::new() };
            let pattern = pattern(text, &flags)?;
            return Ok(Operand::predicate(Step::LikeRegex(Box::new(left.chain), pattern)));
        }
        Ok(left)
    }

    fn sum(&mut self) -> SqlResult<Operand> {
        self.arithmetic(&[("+", Binary::Add), ("-", Binary::Subtract)], Self::product)
    }

    fn product(&mut self) -> SqlResult<Operand> {
        let ops = [("*", Binary::Multiply), ("/", Binary::Divide), ("%", Binary::Modulo)];
        self.arithmetic(&ops, Self::sign)
    }

    fn arithmetic(
        &mut self,
        ops: &[(&str, Binary)],
        operand: fn(&mut Self) -> SqlResult<Operand>,
    ) -> SqlResult<Operand> {
        let mut left = operand(self)?;
        let mut count = 0;
        while let Some((_, op)) = ops.iter().find(|(symbol, _)| self.is(symbol)) {
            count_up(&mut count)?;
            let first = self.value(left)?;
            self.at += 1;
            let second = operand(self)?;
            let second = self.value(second)?;
            left = Operand::value(Step::Binary(*op, Box::new((first, second))));
        }
        Ok(left)
    }

    fn sign(&mut self) -> SqlResult<Operand> {
        let op = if self.accept("+") {
            Unary::Plus
        } else if self.accept("-") {
            Unary::Minus
        } else {
            return self.accessors();
        };
        let operand = self.deeper(Self::sign)?;
        let chain = self.value(operand)?;
        Ok(match (op, chain.as_slice()) {
            (Unary::Plus, [Step::Number(_)]) => Operand { chain, predicate: false, enclosed: false },
            (_, [Step::Number(number)]) => Operand::value(Step::Number(negated(number))),
            _ => Operand::value(Step::Unary(op, Box::new(chain))),
        })
    }

    fn accessors(&mut self) -> SqlResult<Operand> {
        let mut operand = self.primary()?;
        while let Some(step) = self.accessor()? {
            if operand.chain.len() == STEPS_MAX {
                return Err(too_complex());
            }
            operand.chain.push(step);
            operand.predicate = false;
            operand.enclosed = false;
        }
        Ok(operand)
    }

    fn primary(&mut self) -> SqlResult<Operand> {
        if self.accept("(") {
            let mut inner = self.deeper(Self::or)?;
            self.expect(")")?;
            inner.enclosed = true;
            return Ok(inner);
        }
        let keyword = self.keyword();
        let step = match self.peek() {
            Token::String(text) => Step::String(text.clone()),
            Token::Variable(name) => Step::Variable(name.clone()),
            Token::Integer(number) | Token::Number(number) => Step::Number(normal_number(number)?),
            Token::Symbol("$") => Step::Root,
            Token::Symbol("@") => Step::Current,
            Token::Word(_) => match keyword.as_deref() {
                Some("null") => Step::Null,
                Some("true") => Step::Bool(true),
                Some("false") => Step::Bool(false),
                Some("last") => Step::Last,
                _ => return Err(self.error_behind_word()),
            },
            _ => return Err(self.error()),
        };
        self.at += 1;
        Ok(Operand::value(step))
    }

    /// A name that stands where none may: found out when what follows it has been read.
    fn error_behind_word(&mut self) -> SqlError {
        self.at += 1;
        self.error()
    }

    fn accessor(&mut self) -> SqlResult<Option<Step>> {
        if self.accept("[") {
            return self.deeper(Self::subscripts).map(Some);
        }
        if self.accept("?") {
            self.expect("(")?;
            let condition = self.deeper(Self::or)?;
            let condition = self.truth(condition)?;
            self.expect(")")?;
            return Ok(Some(Step::Unary(Unary::Filter, Box::new(condition))));
        }
        if !self.accept(".") {
            return Ok(None);
        }
        if self.accept("*") {
            return Ok(Some(Step::AnyKey));
        }
        if self.accept("**") {
            return self.levels().map(Some);
        }
        match self.peek().clone() {
            Token::String(name) => {
                self.at += 1;
                Ok(Some(Step::Key(name)))
            }
            Token::Word(name) => {
                let keyword = self.keyword();
                self.at += 1;
                match keyword.as_deref().and_then(method).filter(|_| self.is("(")) {
                    Some(step) => self.method(step).map(Some),
                    None => Ok(Some(Step::Key(name))),
                }
            }
            _ => Err(self.error()),
        }
    }

    fn method(&mut self, step: Step) -> SqlResult<Step> {
        self.expect("(")?;
        let step = match step {
            Step::Datetime(_) if !self.is(")") => Step::Datetime(Some(self.string()?)),
            other => other,
        };
        self.expect(")")?;
        Ok(step)
    }

    fn subscripts(&mut self) -> SqlResult<Step> {
        if self.is("*") {
            self.at += 1;
            self.expect("]")?;
            return Ok(Step::AnyElement);
        }
        let mut elements = Vec::new();
        loop {
            let from = self.sum()?;
            let from = self.value(from)?;
            let to = if self.accept_keyword("to") {
                let to = self.sum()?;
                Some(self.value(to)?)
            } else {
                None
            };
            if elements.len() == STEPS_MAX {
                return Err(too_complex());
            }
            elements.push((from, to));
            if !self.accept(",") {
                self.expect("]")?;
                return Ok(Step::Elements(elements));
            }
        }
    }

    fn levels(&mut self) -> SqlResult<Step> {
        if !self.accept("{") {
            return Ok(Step::AnyLevel(0, LEVEL_LAST));
        }
        let first = self.level()?;
        let last = if self.accept_keyword("to") { self.level()? } else { first };
        self.expect("}")?;
        Ok(Step::AnyLevel(first, last))
    }

    fn level(&mut self) -> SqlResult<u32> {
        let level = match self.peek() {
            Token::Integer(number) => u32::try_from(super::super::number::parse_int4(number)?).unwrap_or(0),
            _ if self.keyword().as_deref() == Some("last") => LEVEL_LAST,
            _ => return Err(self.error()),
        };
        self.at += 1;
        Ok(level)
    }
}

fn too_complex() -> SqlError {
    SqlError::new(SqlState::StatementTooComplex, "jsonpath is nested too deeply")
}

fn count_up(count: &mut usize) -> SqlResult<()> {
    // Each operator is a level of what is evaluated.
    *count += 1;
    if *count > DEPTH_MAX { Err(too_complex()) } else { Ok(()) }
}

fn negated(number: &str) -> String {
    match number.strip_prefix('-') {
        Some(positive) => positive.to_owned(),
        None if number.bytes().all(|b| matches!(b, b'0' | b'.')) => number.to_owned(),
        None => format!("-{number}"),
    }
}

fn method(keyword: &str) -> Option<Step> {
    Some(Step::Method(match keyword {
        "type" => Method::Type,
        "size" => Method::Size,
        "abs" => Method::Abs,
        "floor" => Method::Floor,
        "ceiling" => Method::Ceiling,
        "double" => Method::Double,
        "keyvalue" => Method::KeyValue,
        "datetime" => return Some(Step::Datetime(None)),
        _ => return None,
    }))
}

fn pattern(text: String, flags: &str) -> SqlResult<Pattern> {
    let mut pattern =
        Pattern { text, ignore_case: false, dot_all: false, multi_line: false, expanded: false, quoted: false };
    for flag in flags.chars() {
        match flag {
            'i' => pattern.ignore_case = true,
            's' => pattern.dot_all = true,
            'm' => pattern.multi_line = true,
            'x' => pattern.expanded = true,
            'q' => pattern.quoted = true,
            other => {
                return Err(SqlError::syntax("invalid input syntax for type jsonpath")
                    .detail(format!("Unrecognized flag character \"{other}\" in LIKE_REGEX predicate.")));
            }
        }
    }
    Ok(pattern)
}
