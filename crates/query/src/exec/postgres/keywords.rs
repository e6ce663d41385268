//! `pg_get_keywords()`: a function for each of its columns, whose rows go together.

use std::sync::Arc;

use datafusion::logical_expr::ScalarUDF;
use perigee_types::{SqlResult, SqlType, Value};

use super::function::{Eval, Function, overload};

use crate::pg_catalog::KEYWORDS;

/// The columns, and the functions that give them.
pub(super) const COLUMNS: &[(&str, &str)] = &[
    ("word", "__keyword_word"),
    ("catcode", "__keyword_catcode"),
    ("barelabel", "__keyword_barelabel"),
    ("catdesc", "__keyword_catdesc"),
    ("baredesc", "__keyword_baredesc"),
];

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    let of = |name: &str, ty: SqlType, eval: Eval| {
        Function::new(name, vec![overload(&[], SqlType::Array(Box::new(ty)), eval)]).set_returning().udf()
    };
    vec![
        of("__keyword_word", SqlType::Text, |_, _| column(0, Value::Text)),
        of("__keyword_catcode", SqlType::InternalChar, |_, _| column(1, Value::Text)),
        of("__keyword_barelabel", SqlType::Bool, |_, _| column(2, |cell| Value::Bool(cell == "t"))),
        of("__keyword_catdesc", SqlType::Text, |_, _| column(1, |cell| described(&cell))),
        of("__keyword_baredesc", SqlType::Text, |_, _| {
            column(2, |cell| Value::Text(if cell == "t" { "can be bare label" } else { "requires AS" }.to_owned()))
        }),
    ]
}

fn column(place: usize, value: impl Fn(String) -> Value) -> SqlResult<Value> {
    let cells = KEYWORDS.lines().filter_map(|line| line.split('\t').nth(place));
    Ok(Value::Array(cells.map(|cell| value(cell.to_owned())).collect()))
}

/// What a category means.
fn described(category: &str) -> Value {
    Value::Text(
        match category {
            "U" => "unreserved",
            "C" => "unreserved (cannot be function or type name)",
            "T" => "reserved (can be function or type name)",
            _ => "reserved",
        }
        .to_owned(),
    )
}
