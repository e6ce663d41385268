//! LIKE where the pattern is not known before, or has many wildcards: Arrow makes a regular expression of it, whose size
//! times the text's length is the time that it takes, and nothing stops it.

use std::sync::{Arc, LazyLock};

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::Result;
use datafusion::logical_expr::expr::{Like, ScalarFunction};
use datafusion::logical_expr::{Expr, ScalarUDF};
use datafusion::scalar::ScalarValue;
use perigee_types::{SqlError, SqlResult, SqlState, SqlType, Value};

use super::function::{Call, Function, overload};

use SqlType as T;

/// Wildcards that Arrow's own evaluation may have to match.
const WILDCARDS_MAX: usize = 8;
/// Comparisons of characters between two looks at whether the statement is canceled.
const STEPS: usize = 1 << 20;
/// Comparisons where nobody could cancel them: a constant is folded, and is left to the run then.
const STEPS_UNWATCHED: usize = 1 << 24;

/// A LIKE as what evaluates it in time: as it is where its pattern is known and short, or is known only when it runs.
pub(in crate::exec) fn planned(like: Like) -> Result<Transformed<Expr>> {
    let pattern = like.pattern.as_ref();
    let stays = match pattern {
        Expr::Literal(value, _) => {
            value.try_as_str().flatten().is_none_or(|text| text.matches('%').count() <= WILDCARDS_MAX)
        }
        pattern => pattern.exists(|part| Ok(matches!(part, Expr::Placeholder(_) | Expr::ScalarVariable(..))))?,
    };
    if stays {
        return Ok(Transformed::no(Expr::Like(like)));
    }
    let ignore_case = Expr::Literal(ScalarValue::Boolean(Some(like.case_insensitive)), None);
    let call = ScalarFunction::new_udf(self::like(), vec![*like.expr, *like.pattern, ignore_case]);
    let found = Expr::ScalarFunction(call);
    Ok(Transformed::yes(if like.negated { Expr::Not(Box::new(found)) } else { found }))
}

/// `like(text, pattern, ignore case)`, with backslashes as escapes.
fn like() -> Arc<ScalarUDF> {
    static LIKE: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| {
        let eval = |a: &[Value], call: &Call<'_>| match a {
            [Value::Text(text), Value::Text(pattern), Value::Bool(ignore_case)] => {
                let found = match ignore_case {
                    true => matches(&text.to_lowercase(), &pattern.to_lowercase(), call),
                    false => matches(text, pattern, call),
                };
                found.map(Value::Bool)
            }
            _ => Err(SqlError::internal("LIKE was called with values of other types")),
        };
        Function::new("__like", vec![overload(&[T::Text, T::Text, T::Bool], T::Bool, eval)]).udf()
    });
    Arc::clone(&LIKE)
}

/// A part of a pattern between two `%`.
enum Part {
    /// Characters alone.
    Plain(String),
    /// Characters, `None` for any one.
    Wild(Vec<Option<char>>),
}

impl Part {
    fn of(characters: Vec<Option<char>>) -> Self {
        match characters.iter().copied().collect() {
            Some(plain) => Self::Plain(plain),
            None => Self::Wild(characters),
        }
    }

    /// How many bytes of the beginning of `text` it takes.
    fn at_start(&self, text: &str, watch: &mut Watch) -> SqlResult<Option<usize>> {
        match self {
            Self::Plain(plain) => Ok(text.starts_with(plain.as_str()).then_some(plain.len())),
            Self::Wild(characters) => {
                let mut rest = text.chars();
                for wanted in characters {
                    watch.step(1)?;
                    match (rest.next(), wanted) {
                        (None, _) => return Ok(None),
                        (Some(c), Some(wanted)) if c != *wanted => return Ok(None),
                        _ => {}
                    }
                }
                Ok(Some(text.len() - rest.as_str().len()))
            }
        }
    }

    /// What is left of `text` behind the first place where it is.
    fn skip<'t>(&self, text: &'t str, watch: &mut Watch) -> SqlResult<Option<&'t str>> {
        if let Self::Plain(plain) = self {
            watch.step(1)?;
            return Ok(text.find(plain.as_str()).map(|at| &text[at + plain.len()..]));
        }
        let mut rest = text;
        loop {
            if let Some(taken) = self.at_start(rest, watch)? {
                return Ok(Some(&rest[taken..]));
            }
            let mut behind = rest.chars();
            if behind.next().is_none() {
                return Ok(None);
            }
            rest = behind.as_str();
        }
    }

    /// Whether `text` ends with it.
    fn at_end(&self, text: &str, watch: &mut Watch) -> SqlResult<bool> {
        match self {
            Self::Plain(plain) => Ok(text.ends_with(plain.as_str())),
            Self::Wild(characters) => {
                let mut rest = text.chars();
                for wanted in characters.iter().rev() {
                    watch.step(1)?;
                    match (rest.next_back(), wanted) {
                        (None, _) => return Ok(false),
                        (Some(c), Some(wanted)) if c != *wanted => return Ok(false),
                        _ => {}
                    }
                }
                Ok(true)
            }
        }
    }
}

/// The parts of a pattern.
///
/// # Errors
/// `22025` where it ends with a lone backslash.
fn parts(pattern: &str) -> SqlResult<Vec<Part>> {
    let mut parts = Vec::new();
    let mut part = Vec::new();
    let mut characters = pattern.chars();
    while let Some(c) = characters.next() {
        match c {
            '%' => parts.push(Part::of(std::mem::take(&mut part))),
            '_' => part.push(None),
            '\\' => part.push(Some(characters.next().ok_or_else(|| {
                let text = "LIKE pattern must not end with escape character";
                SqlError::new(SqlState::InvalidEscapeSequence, text)
            })?)),
            c => part.push(Some(c)),
        }
    }
    parts.push(Part::of(part));
    Ok(parts)
}

/// Each part between `%` is looked for behind the one before: where it is first leaves the most for those behind it.
fn matches(text: &str, pattern: &str, call: &Call<'_>) -> SqlResult<bool> {
    let parts = parts(pattern)?;
    let mut watch = Watch { call, steps: 0 };
    let Some((first, rest)) = parts.split_first() else { return Ok(text.is_empty()) };
    let Some(taken) = first.at_start(text, &mut watch)? else { return Ok(false) };
    let mut text = &text[taken..];
    let Some((last, between)) = rest.split_last() else { return Ok(text.is_empty()) };
    for part in between {
        match part.skip(text, &mut watch)? {
            Some(rest) => text = rest,
            None => return Ok(false),
        }
    }
    last.at_end(text, &mut watch)
}

/// Counts steps, and looks up from time to time.
struct Watch<'a> {
    call: &'a Call<'a>,
    steps: usize,
}

impl Watch<'_> {
    fn step(&mut self, count: usize) -> SqlResult<()> {
        let checked = self.steps / STEPS;
        self.steps += count;
        if self.call.view.is_none() && self.steps > STEPS_UNWATCHED {
            return Err(SqlError::new(SqlState::ProgramLimitExceeded, "LIKE takes too many steps here"));
        }
        // The steps of a long part go over a multiple.
        if self.steps / STEPS > checked { self.call.check_canceled() } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, pattern: &str, wanted: bool) {
        let call = Call { types: &[], returned: &arrow::datatypes::DataType::Null, declared: None, view: None };
        assert_eq!(matches(text, pattern, &call).unwrap(), wanted, "{text:?} LIKE {pattern:?}");
    }

    #[test]
    fn patterns_match_as_in_postgresql() {
        check("", "", true);
        check("", "%", true);
        check("", "_", false);
        check("a", "", false);
        check("abc", "abc", true);
        check("abc", "a%", true);
        check("abc", "%c", true);
        check("abc", "%b%", true);
        check("abc", "a%b", false);
        check("aab", "%ab", true);
        check("ab", "ab%ab", false);
        check("abab", "ab%ab", true);
        check("aba", "ab%ba", false);
        check("äöü", "_ö_", true);
        check("äöü", "%_ü", true);
        check("xaybz", "%a_b%", true);
        check("xaaybz", "%a_b%z", true);
        check("a%b", "a\\%b", true);
        check("axb", "a\\%b", false);
        check("a\\b", "a\\\\b", true);
        check("mississippi", "m%iss%ip%i", true);
        check("mississippi", "m%iss%iss%iss%", false);
        check("line\nline", "line%line", true);
    }

    #[test]
    fn many_wildcards_take_few_steps() {
        check(&"a".repeat(30_000), &format!("{}b", "%a".repeat(3_000)), false);
        check(&"a".repeat(30_000), &"%a".repeat(30_000), true);
        check(&"a".repeat(30_000), &"%a".repeat(30_001), false);
    }

    #[test]
    fn what_nobody_could_cancel_is_refused() {
        let call = Call { types: &[], returned: &arrow::datatypes::DataType::Null, declared: None, view: None };
        let pattern = format!("%{}b%", "_".repeat(10_000));
        let error = matches(&"a".repeat(30_000), &pattern, &call).unwrap_err();
        assert_eq!(error.state(), SqlState::ProgramLimitExceeded);
        assert_eq!(matches("a", "%\\", &call).unwrap_err().state(), SqlState::InvalidEscapeSequence);
    }
}
