//! Regular expressions: `regexp_…`, with PostgreSQL's flags.

use std::cell::RefCell;
use std::sync::Arc;

use datafusion::logical_expr::ScalarUDF;
use perigee_types::text::pattern::translate;
use perigee_types::{SqlError, SqlResult, SqlState, SqlType, Value};
use regex::{Captures, Regex, RegexBuilder};
use rustc_hash::FxHashMap;

use super::function::{Call, Eval, Function, overload};
use super::limits::{self, Growing};

use SqlType as T;

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    let list = |ty: T| T::Array(Box::new(ty));
    let texts = |count: usize| vec![T::Text; count];
    let of = |name: &str, signatures: &[Vec<T>], returns: &T, eval: Eval| {
        let overloads = signatures.iter().map(|parameters| overload(parameters, returns.clone(), eval)).collect();
        Function::new(name, overloads)
    };
    let plain = [texts(2), texts(3)];
    // Text and pattern, then numbers, flags, and the group.
    let with = |rest: &[T]| [[T::Text, T::Text].as_slice(), rest].concat();
    let int = T::Int4;
    vec![
        of("regexp_match", &plain, &list(T::Text), |a, _| {
            let (regex, _) = compile(str(&a[1]), flags(a, 2), "regexp_match", false)?;
            Ok(regex.captures(str(&a[0])).map_or(Value::Null, |found| groups(&found)))
        })
        .udf(),
        of("regexp_matches", &plain, &list(list(T::Text)), |a, c| {
            let (regex, global) = compile(str(&a[1]), flags(a, 2), "regexp_matches", true)?;
            let limit = if global { usize::MAX } else { 1 };
            limits::array(regex.captures_iter(str(&a[0])).take(limit).map(|found| groups(&found)), c)
        })
        .set_returning()
        .udf(),
        of("regexp_split_to_array", &plain, &list(T::Text), |a, c| split(a, c, "regexp_split_to_array")).udf(),
        of("regexp_split_to_table", &plain, &list(T::Text), |a, c| split(a, c, "regexp_split_to_table"))
            .set_returning()
            .udf(),
        of("regexp_like", &plain, &T::Bool, |a, _| {
            let (regex, _) = compile(str(&a[1]), flags(a, 2), "regexp_like", false)?;
            Ok(Value::Bool(regex.is_match(str(&a[0]))))
        })
        .udf(),
        of(
            "regexp_count",
            &[with(&[]), with(std::slice::from_ref(&int)), with(&[int.clone(), T::Text])],
            &T::Int4,
            |a, _| {
                let (regex, _) = compile(str(&a[1]), flags(a, 3), "regexp_count", false)?;
                let from = start(a, 2)?;
                let rest = from_character(str(&a[0]), from).1;
                Ok(Value::Int4(i32::try_from(regex.find_iter(rest).count()).unwrap_or(i32::MAX)))
            },
        )
        .udf(),
        of(
            "regexp_substr",
            &[
                with(&[]),
                with(std::slice::from_ref(&int)),
                with(&[int.clone(), int.clone()]),
                with(&[int.clone(), int.clone(), T::Text]),
                with(&[int.clone(), int.clone(), T::Text, int.clone()]),
            ],
            &T::Text,
            |a, _| {
                let found = nth(a, flags(a, 4), number(a, 5, "subexpr", 0)?, "regexp_substr")?;
                Ok(found.map_or(Value::Null, |(from, to)| Value::Text(str(&a[0])[from..to].to_owned())))
            },
        )
        .udf(),
        of(
            "regexp_instr",
            &[
                with(&[]),
                with(std::slice::from_ref(&int)),
                with(&[int.clone(), int.clone()]),
                with(&[int.clone(), int.clone(), int.clone()]),
                with(&[int.clone(), int.clone(), int.clone(), T::Text]),
                with(&[int.clone(), int.clone(), int.clone(), T::Text, int.clone()]),
            ],
            &T::Int4,
            |a, _| {
                let end = match a.get(4).and_then(Value::as_i64) {
                    None | Some(0) => false,
                    Some(1) => true,
                    Some(other) => return Err(invalid("endoption", other)),
                };
                let found = nth(a, flags(a, 5), number(a, 6, "subexpr", 0)?, "regexp_instr")?;
                Ok(Value::Int4(found.map_or(0, |(from, to)| {
                    let before = str(&a[0])[..if end { to } else { from }].chars().count();
                    i32::try_from(before + 1).unwrap_or(i32::MAX)
                })))
            },
        )
        .udf(),
        of(
            "regexp_replace",
            &[
                texts(3),
                texts(4),
                vec![T::Text, T::Text, T::Text, int.clone()],
                vec![T::Text, T::Text, T::Text, int.clone(), int.clone()],
                vec![T::Text, T::Text, T::Text, int.clone(), int, T::Text],
            ],
            &T::Text,
            replace,
        )
        .udf(),
    ]
}

fn str(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// The flags at a place among the arguments.
fn flags(args: &[Value], at: usize) -> &str {
    args.get(at).and_then(Value::as_str).unwrap_or_default()
}

fn invalid(name: &str, value: i64) -> SqlError {
    SqlError::new(SqlState::InvalidParameterValue, format!("invalid value for parameter \"{name}\": {value}"))
}

/// A number among the arguments that must not be below `least`.
fn number(args: &[Value], at: usize, name: &str, least: i64) -> SqlResult<usize> {
    match args.get(at).and_then(Value::as_i64) {
        None => Ok(usize::try_from(least).unwrap_or(0)),
        Some(value) if value < least => Err(invalid(name, value)),
        Some(value) => Ok(usize::try_from(value).unwrap_or(usize::MAX)),
    }
}

fn start(args: &[Value], at: usize) -> SqlResult<usize> {
    number(args, at, "start", 1)
}

/// The byte at which the `n`th character stands, from one, and the text from there.
fn from_character(text: &str, n: usize) -> (usize, &str) {
    let at = text.char_indices().nth(n.saturating_sub(1)).map_or(text.len(), |(at, _)| at);
    (at, &text[at..])
}

/// Patterns that a thread keeps compiled, and how long they may be.
const CACHED_MAX: usize = 64;
const CACHED_BYTES_MAX: usize = 4096;

/// [`build`], once for each pattern instead of once for each row.
fn compile(pattern: &str, flags: &str, function: &str, global_allowed: bool) -> SqlResult<(Regex, bool)> {
    type Known = FxHashMap<(String, String), (Regex, bool)>;
    thread_local! {
        static KNOWN: RefCell<Known> = RefCell::new(Known::default());
    }
    // Flags that a function refuses are refused by `build`.
    if pattern.len() > CACHED_BYTES_MAX || (!global_allowed && flags.contains('g')) {
        return build(pattern, flags, function, global_allowed);
    }
    let key = (pattern.to_owned(), flags.to_owned());
    if let Some(known) = KNOWN.with_borrow(|known| known.get(&key).cloned()) {
        return Ok(known);
    }
    let built = build(pattern, flags, function, global_allowed)?;
    KNOWN.with_borrow_mut(|known| {
        if known.len() == CACHED_MAX {
            known.clear();
        }
        known.insert(key, built.clone());
    });
    Ok(built)
}

/// A pattern with PostgreSQL's flags, and whether `g` is among them.
fn build(pattern: &str, flags: &str, function: &str, global_allowed: bool) -> SqlResult<(Regex, bool)> {
    let mut global = false;
    let mut builder = RegexBuilder::new(&translate(pattern));
    // A newline is a character like any other unless a flag says otherwise.
    builder.dot_matches_new_line(true);
    let mut literal = false;
    for flag in flags.chars() {
        match flag {
            'g' if global_allowed => global = true,
            'g' => {
                return Err(SqlError::new(
                    SqlState::InvalidParameterValue,
                    format!("{function}() does not support the \"global\" option"),
                ));
            }
            'i' => {
                builder.case_insensitive(true);
            }
            'c' => {
                builder.case_insensitive(false);
            }
            'n' | 'm' => {
                builder.multi_line(true).dot_matches_new_line(false);
            }
            'p' => {
                builder.dot_matches_new_line(false);
            }
            's' => {
                builder.dot_matches_new_line(true);
            }
            'w' => {
                builder.multi_line(true);
            }
            'x' => {
                builder.ignore_whitespace(true);
            }
            'q' => literal = true,
            'e' | 't' | 'b' => {}
            other => {
                return Err(SqlError::new(
                    SqlState::InvalidParameterValue,
                    format!("invalid regular expression option: \"{other}\""),
                ));
            }
        }
    }
    let failed = |error: regex::Error| {
        let reason = error.to_string();
        let reason = reason.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
        SqlError::new(SqlState::InvalidRegularExpression, format!("invalid regular expression: {reason}"))
    };
    if literal {
        let plain = RegexBuilder::new(&regex::escape(pattern)).case_insensitive(flags.contains('i')).build();
        return plain.map(|regex| (regex, global)).map_err(failed);
    }
    builder.build().map(|regex| (regex, global)).map_err(failed)
}

/// What the groups of a match took, or the whole match where there are none.
fn groups(found: &Captures<'_>) -> Value {
    let text = |m: Option<regex::Match<'_>>| m.map_or(Value::Null, |m| Value::Text(m.as_str().to_owned()));
    Value::Array(match found.len() {
        1 => vec![text(found.get(0))],
        count => (1..count).map(|group| text(found.get(group))).collect(),
    })
}

fn split(args: &[Value], call: &Call<'_>, function: &str) -> SqlResult<Value> {
    let (regex, _) = compile(str(&args[1]), flags(args, 2), function, false)?;
    let text = str(&args[0]);
    // An empty match at either end, or right behind the last one, separates nothing.
    let mut from = 0;
    let mut places = regex.find_iter(text).filter(|found| !(found.is_empty() && found.start() == text.len()));
    let mut is_whole = false;
    let pieces = std::iter::from_fn(|| {
        if is_whole {
            return None;
        }
        let found = places.find(|found| !(found.is_empty() && from == 0 && found.start() == 0));
        let piece = &text[from..found.map_or(text.len(), |found| found.start())];
        is_whole = found.is_none();
        from = found.map_or(from, |found| found.end());
        Some(Value::Text(piece.to_owned()))
    });
    limits::array(pieces, call)
}

/// The bytes of the n-th match, or of one of its groups.
fn nth(args: &[Value], flags: &str, group: usize, function: &str) -> SqlResult<Option<(usize, usize)>> {
    let (from, n) = (start(args, 2)?, number(args, 3, "n", 1)?);
    let (regex, _) = compile(str(&args[1]), flags, function, false)?;
    let (offset, rest) = from_character(str(&args[0]), from);
    let found = regex.captures_iter(rest).nth(n - 1);
    Ok(found.and_then(|found| found.get(group).map(|m| (offset + m.start(), offset + m.end()))))
}

fn replace(args: &[Value], call: &Call<'_>) -> SqlResult<Value> {
    let by_number = args.get(3).is_some_and(|v| v.as_i64().is_some());
    let options = if by_number { flags(args, 5) } else { flags(args, 3) };
    let (regex, global) = compile(str(&args[1]), options, "regexp_replace", true)?;
    let (offset, rest) = from_character(str(&args[0]), if by_number { start(args, 3)? } else { 1 });
    let nth = if by_number { args.get(4).map(|_| number(args, 4, "n", 0)).transpose()? } else { None };
    let wanted = match nth {
        Some(0) => None,
        Some(n) => Some(n),
        None if global => None,
        None => Some(1),
    };
    let text = str(&args[0]);
    let mut out = Growing::new(call);
    out.push(&text[..offset])?;
    let mut from = 0;
    for (at, found) in regex.captures_iter(rest).enumerate() {
        let Some(whole) = found.get(0) else { continue };
        if wanted.is_some_and(|n| n != at + 1) {
            continue;
        }
        out.push(&rest[from..whole.start()])?;
        expand(str(&args[2]), &found, &mut out)?;
        from = whole.end();
    }
    out.push(&rest[from..])?;
    Ok(out.finish())
}

/// Puts groups where the replacement says `\1` or `\&`.
fn expand(replacement: &str, found: &Captures<'_>, out: &mut Growing<'_>) -> SqlResult<()> {
    let mut rest = replacement;
    while let Some((plain, escaped)) = rest.split_once('\\') {
        out.push(plain)?;
        let mut behind = escaped.chars();
        match behind.next() {
            Some('&') => out.push(found.get(0).map_or("", |m| m.as_str()))?,
            Some(digit @ '1'..='9') => {
                let group = digit.to_digit(10).and_then(|d| usize::try_from(d).ok()).unwrap_or(0);
                out.push(found.get(group).map_or("", |m| m.as_str()))?;
            }
            Some('\\') | None => out.push("\\")?,
            Some(_) => {
                out.push("\\")?;
                behind = escaped.chars();
            }
        }
        rest = behind.as_str();
    }
    out.push(rest)
}
