//! Operators and functions of `ltree`.

use std::sync::Arc;

use datafusion::logical_expr::ScalarUDF;
use perigee_types::coded::ltree::{LevelQuery, WordQuery, encode, labels};
use perigee_types::text::OutputSettings;
use perigee_types::{CodedType, SqlError, SqlResult, SqlState, SqlType, Value};

use super::{Operation, kept, text};
use crate::exec::postgres::function::{Call, Function, overload};

const LTREE: SqlType = SqlType::Coded(CodedType::Ltree);
const LQUERY: SqlType = SqlType::Coded(CodedType::Lquery);
const LTXTQUERY: SqlType = SqlType::Coded(CodedType::Ltxtquery);

pub(super) fn operations() -> Vec<Operation> {
    let two = [LTREE, LTREE];
    vec![
        Operation::new("@>", "ltree_isparent", two.clone(), SqlType::Bool, |a, c| {
            Ok(Value::Bool(path(a, c, 1)?.starts_with(&path(a, c, 0)?)))
        }),
        Operation::new("<@", "ltree_risparent", two.clone(), SqlType::Bool, |a, c| {
            Ok(Value::Bool(path(a, c, 0)?.starts_with(&path(a, c, 1)?)))
        }),
        Operation::new("~", "ltq_regex", [LTREE, LQUERY], SqlType::Bool, |a, c| level_query(a, c, 0, 1)),
        Operation::new("~", "ltq_rregex", [LQUERY, LTREE], SqlType::Bool, |a, c| level_query(a, c, 1, 0)),
        Operation::new("@", "ltxtq_exec", [LTREE, LTXTQUERY], SqlType::Bool, |a, c| word_query(a, c, 0, 1)),
        Operation::new("@", "ltxtq_rexec", [LTXTQUERY, LTREE], SqlType::Bool, |a, c| word_query(a, c, 1, 0)),
        Operation::new("||", "ltree_addltree", two, LTREE, |a, c| Ok(made(&[path(a, c, 0)?, path(a, c, 1)?].concat()))),
        Operation::new("||", "ltree_addtext", [LTREE, SqlType::Text], LTREE, |a, c| {
            let behind = CodedType::Ltree.parse(text(a, 1))?;
            Ok(made(&[path(a, c, 0)?, labels(&behind)].concat()))
        }),
        Operation::new("||", "ltree_textadd", [SqlType::Text, LTREE], LTREE, |a, c| {
            let before = CodedType::Ltree.parse(text(a, 0))?;
            Ok(made(&[labels(&before), path(a, c, 1)?].concat()))
        }),
    ]
}

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    let ints = |count: usize| [LTREE].into_iter().chain(vec![SqlType::Int4; count]).collect::<Vec<_>>();
    vec![
        Function::new(
            "nlevel",
            vec![overload(&[LTREE], SqlType::Int4, |a, c| {
                Ok(Value::Int4(i32::try_from(path(a, c, 0)?.len()).unwrap_or(i32::MAX)))
            })],
        )
        .udf(),
        Function::new(
            "subltree",
            vec![overload(&ints(2), LTREE, |a, c| part(&path(a, c, 0)?, integer(a, 1), integer(a, 2)))],
        )
        .udf(),
        Function::new(
            "subpath",
            vec![
                overload(&ints(1), LTREE, |a, c| {
                    let path = path(a, c, 0)?;
                    let count = path.len() as i64;
                    part(&path, from_end(integer(a, 1), count), count)
                }),
                overload(&ints(2), LTREE, |a, c| {
                    let path = path(a, c, 0)?;
                    let (count, length) = (path.len() as i64, integer(a, 2));
                    let start = from_end(integer(a, 1), count);
                    // A negative length leaves so many labels off at the end.
                    let end = if length < 0 { count + length } else { start.saturating_add(length).min(count) };
                    part(&path, start, end)
                }),
            ],
        )
        .udf(),
        Function::new(
            "index",
            vec![
                overload(&[LTREE, LTREE], SqlType::Int4, |a, c| place(&path(a, c, 0)?, &path(a, c, 1)?, 0)),
                overload(&[LTREE, LTREE, SqlType::Int4], SqlType::Int4, |a, c| {
                    place(&path(a, c, 0)?, &path(a, c, 1)?, integer(a, 2))
                }),
            ],
        )
        .udf(),
        Function::new(
            "text2ltree",
            vec![overload(&[SqlType::Text], LTREE, |a, _| CodedType::Ltree.parse(text(a, 0)).map(Value::Bytea))],
        )
        .udf(),
        Function::new(
            "ltree2text",
            vec![overload(&[LTREE], SqlType::Text, |a, c| {
                let path = kept(a, c, 0, CodedType::Ltree)?;
                Ok(Value::Text(CodedType::Ltree.format(path, &OutputSettings::DEFAULT)))
            })],
        )
        .udf(),
        Function::new(
            "lca",
            vec![
                overload(&[LTREE, LTREE], LTREE, |a, c| {
                    let paths = (0..a.len()).map(|at| path(a, c, at)).collect::<SqlResult<Vec<_>>>()?;
                    Ok(ancestor(&paths))
                })
                .variadic(),
            ],
        )
        .udf(),
    ]
}

fn path<'a>(args: &'a [Value], call: &Call<'_>, at: usize) -> SqlResult<Vec<&'a str>> {
    kept(args, call, at, CodedType::Ltree).map(labels)
}

fn made(labels: &[&str]) -> Value {
    Value::Bytea(encode(labels))
}

fn integer(args: &[Value], at: usize) -> i64 {
    args.get(at).and_then(Value::as_i64).unwrap_or_default()
}

fn query_text<'a>(args: &'a [Value], call: &Call<'_>, at: usize, ty: CodedType) -> SqlResult<&'a str> {
    std::str::from_utf8(kept(args, call, at, ty)?).map_err(SqlError::internal)
}

fn level_query(args: &[Value], call: &Call<'_>, path_at: usize, query_at: usize) -> SqlResult<Value> {
    let query = LevelQuery::parse(query_text(args, call, query_at, CodedType::Lquery)?)?;
    Ok(Value::Bool(query.fits(&path(args, call, path_at)?)))
}

fn word_query(args: &[Value], call: &Call<'_>, path_at: usize, query_at: usize) -> SqlResult<Value> {
    let query = WordQuery::parse(query_text(args, call, query_at, CodedType::Ltxtquery)?)?;
    Ok(Value::Bool(query.fits(&path(args, call, path_at)?)))
}

/// A negative place counts from the end.
fn from_end(place: i64, count: i64) -> i64 {
    if place < 0 { place + count } else { place }
}

/// The labels from one place up to another.
fn part(path: &[&str], start: i64, end: i64) -> SqlResult<Value> {
    let count = path.len() as i64;
    let fits = (0..count).contains(&start) && end >= start || path.is_empty() && start == 0;
    let found = usize::try_from(start).ok().zip(usize::try_from(end.min(count)).ok());
    match found.and_then(|(start, end)| path.get(start..end)).filter(|_| fits) {
        Some(labels) => Ok(made(labels)),
        None => Err(SqlError::new(SqlState::InvalidParameterValue, "invalid positions")),
    }
}

/// Where one path stands in another, from a place on; -1 where it does not.
fn place(path: &[&str], part: &[&str], from: i64) -> SqlResult<Value> {
    let start = usize::try_from(from_end(from, path.len() as i64).max(0)).unwrap_or_default();
    let fits = |at: &usize| path.get(*at..).is_some_and(|rest| rest.starts_with(part));
    let found = if part.is_empty() { None } else { (start..path.len()).find(fits) };
    Ok(Value::Int4(found.and_then(|at| i32::try_from(at).ok()).unwrap_or(-1)))
}

/// What all begin with, which is none of them.
fn ancestor(paths: &[Vec<&str>]) -> Value {
    let Some(shortest) = paths.iter().min_by_key(|path| path.len()) else { return Value::Null };
    if shortest.is_empty() {
        return Value::Null;
    }
    let alike = |at: &usize| paths.iter().all(|path| path.get(*at) == shortest.get(*at));
    let count = (0..shortest.len() - 1).take_while(alike).count();
    made(&shortest[..count])
}
