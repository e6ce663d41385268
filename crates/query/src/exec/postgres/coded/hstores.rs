//! Operators and functions of `hstore`.

use std::sync::Arc;

use datafusion::logical_expr::ScalarUDF;
use perigee_types::coded::hstore::{Hstore, to_json};
use perigee_types::text::json;
use perigee_types::{CodedType, SqlError, SqlResult, SqlState, SqlType, Value};

use super::{Operation, kept, text, text_or_null, texts};
use crate::exec::postgres::function::{Call, Eval, Function, overload};

const HSTORE: SqlType = SqlType::Coded(CodedType::Hstore);

fn text_array() -> SqlType {
    SqlType::Array(Box::new(SqlType::Text))
}

pub(super) fn operations() -> Vec<Operation> {
    let key = [HSTORE, SqlType::Text];
    let keys = [HSTORE, text_array()];
    let two = [HSTORE, HSTORE];
    vec![
        Operation::new("->", "fetchval", key.clone(), SqlType::Text, |a, c| {
            Ok(text_or_null(hstore(a, c, 0)?.get(text(a, 1)).flatten()))
        }),
        Operation::new("->", "slice_array", keys.clone(), text_array(), |a, c| {
            let of = hstore(a, c, 0)?;
            let value = |key: Option<&str>| text_or_null(key.and_then(|key| of.get(key)).flatten());
            Ok(Value::Array(texts(a, 1).into_iter().map(value).collect()))
        }),
        Operation::new("?", "exist", key.clone(), SqlType::Bool, |a, c| {
            Ok(Value::Bool(hstore(a, c, 0)?.get(text(a, 1)).is_some()))
        }),
        Operation::new("?&", "exists_all", keys.clone(), SqlType::Bool, |a, c| {
            let of = hstore(a, c, 0)?;
            Ok(Value::Bool(texts(a, 1).into_iter().flatten().all(|key| of.get(key).is_some())))
        }),
        Operation::new("?|", "exists_any", keys.clone(), SqlType::Bool, |a, c| {
            let of = hstore(a, c, 0)?;
            Ok(Value::Bool(texts(a, 1).into_iter().flatten().any(|key| of.get(key).is_some())))
        }),
        Operation::new("@>", "hs_contains", two.clone(), SqlType::Bool, |a, c| {
            Ok(Value::Bool(contains(&hstore(a, c, 0)?, &hstore(a, c, 1)?)))
        }),
        Operation::new("<@", "hs_contained", two.clone(), SqlType::Bool, |a, c| {
            Ok(Value::Bool(contains(&hstore(a, c, 1)?, &hstore(a, c, 0)?)))
        }),
        Operation::new("||", "hs_concat", two.clone(), HSTORE, |a, c| {
            let mut joined = hstore(a, c, 0)?;
            for (key, value) in hstore(a, c, 1)?.pairs() {
                joined.put(key.to_owned(), value.map(str::to_owned), true);
            }
            Ok(made(&joined))
        }),
        Operation::new("-", "__hstore_without", key, HSTORE, |a, c| without(a, c, &[Some(text(a, 1))])),
        Operation::new("-", "__hstore_without_all", keys, HSTORE, |a, c| without(a, c, &texts(a, 1))),
        Operation::new("-", "__hstore_minus", two, HSTORE, minus),
    ]
}

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    let of_one =
        |name: &str, returns: SqlType, eval: Eval| Function::new(name, vec![overload(&[HSTORE], returns, eval)]);
    vec![
        Function::new(
            "hstore",
            vec![
                overload(&[SqlType::Text, SqlType::Text], HSTORE, |a, _| {
                    let mut made_of = Hstore::default();
                    let value = a.get(1).and_then(Value::as_str).map(str::to_owned);
                    // Without a key there is nothing.
                    if matches!(a.first(), None | Some(Value::Null)) {
                        return Ok(Value::Null);
                    }
                    made_of.put(text(a, 0).to_owned(), value, true);
                    Ok(made(&made_of))
                })
                .called_on_null(),
                overload(&[text_array(), text_array()], HSTORE, |a, _| {
                    let (keys, values) = (texts(a, 0), texts(a, 1));
                    if keys.len() != values.len() {
                        return Err(SqlError::new(SqlState::ArraySubscriptError, "arrays must have same bounds"));
                    }
                    of_pairs(keys.into_iter().zip(values))
                }),
                overload(&[text_array()], HSTORE, |a, _| {
                    let all = texts(a, 0);
                    if !all.len().is_multiple_of(2) {
                        let message = "array must have even number of elements";
                        return Err(SqlError::new(SqlState::ArraySubscriptError, message));
                    }
                    of_pairs(all.chunks(2).map(|pair| (pair[0], pair.get(1).copied().flatten())))
                }),
            ],
        )
        .udf(),
        of_one("akeys", text_array(), keys).udf(),
        of_one("avals", text_array(), values).udf(),
        of_one("skeys", text_array(), keys).set_returning().udf(),
        of_one("svals", text_array(), values).set_returning().udf(),
        of_one("hstore_to_array", text_array(), |a, c| {
            let of = hstore(a, c, 0)?;
            Ok(Value::Array(
                of.pairs().flat_map(|(key, value)| [Value::Text(key.to_owned()), text_or_null(value)]).collect(),
            ))
        })
        .udf(),
        of_one("hstore_to_json", SqlType::Json, |a, c| Ok(Value::Text(to_json(kept(a, c, 0, CodedType::Hstore)?))))
            .udf(),
        of_one("hstore_to_jsonb", SqlType::Jsonb, |a, c| {
            json::normalize(&to_json(kept(a, c, 0, CodedType::Hstore)?)).map(Value::Text)
        })
        .udf(),
        Function::new(
            "defined",
            vec![overload(&[HSTORE, SqlType::Text], SqlType::Bool, |a, c| {
                Ok(Value::Bool(hstore(a, c, 0)?.get(text(a, 1)).flatten().is_some()))
            })],
        )
        .udf(),
        Function::new(
            "delete",
            vec![
                overload(&[HSTORE, SqlType::Text], HSTORE, |a, c| without(a, c, &[Some(text(a, 1))])),
                overload(&[HSTORE, text_array()], HSTORE, |a, c| without(a, c, &texts(a, 1))),
                overload(&[HSTORE, HSTORE], HSTORE, minus),
            ],
        )
        .udf(),
        Function::new(
            "slice",
            vec![overload(&[HSTORE, text_array()], HSTORE, |a, c| {
                let of = hstore(a, c, 0)?;
                let there = |key: Option<&'_ str>| {
                    let key = key?;
                    Some((key.to_owned(), of.get(key)?.map(str::to_owned)))
                };
                let mut found = Hstore::default();
                for (key, value) in texts(a, 1).into_iter().filter_map(there) {
                    found.put(key, value, true);
                }
                Ok(made(&found))
            })],
        )
        .udf(),
    ]
}

fn hstore(args: &[Value], call: &Call<'_>, at: usize) -> SqlResult<Hstore> {
    kept(args, call, at, CodedType::Hstore).map(Hstore::decode)
}

fn made(of: &Hstore) -> Value {
    Value::Bytea(of.encode())
}

fn of_pairs<'a>(pairs: impl Iterator<Item = (Option<&'a str>, Option<&'a str>)>) -> SqlResult<Value> {
    let mut found = Hstore::default();
    for (key, value) in pairs {
        let null = || SqlError::new(SqlState::NullValueNotAllowed, "null value not allowed for hstore key");
        found.put(key.ok_or_else(null)?.to_owned(), value.map(str::to_owned), false);
    }
    Ok(made(&found))
}

fn keys(args: &[Value], call: &Call<'_>) -> SqlResult<Value> {
    Ok(Value::Array(hstore(args, call, 0)?.pairs().map(|(key, _)| Value::Text(key.to_owned())).collect()))
}

fn values(args: &[Value], call: &Call<'_>) -> SqlResult<Value> {
    Ok(Value::Array(hstore(args, call, 0)?.pairs().map(|(_, value)| text_or_null(value)).collect()))
}

fn contains(all: &Hstore, part: &Hstore) -> bool {
    part.pairs().all(|(key, value)| all.get(key) == Some(value))
}

fn without(args: &[Value], call: &Call<'_>, keys: &[Option<&str>]) -> SqlResult<Value> {
    let mut rest = hstore(args, call, 0)?;
    keys.iter().flatten().for_each(|key| rest.remove(key));
    Ok(made(&rest))
}

/// Without the pairs that the other has too.
fn minus(args: &[Value], call: &Call<'_>) -> SqlResult<Value> {
    let (mut rest, gone) = (hstore(args, call, 0)?, hstore(args, call, 1)?);
    for (key, value) in gone.pairs() {
        if rest.get(key) == Some(value) {
            rest.remove(key);
        }
    }
    Ok(made(&rest))
}
