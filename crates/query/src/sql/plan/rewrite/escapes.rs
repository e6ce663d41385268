//! ESCAPE of LIKE where it is not one ASCII character in plain quotes, which is all that the planner takes.

use sqlparser::ast::{Expr, Value};

use super::functions::call;

/// Makes an empty escape, and one that is longer than a byte, a function over the pattern. Hibernate ends each LIKE with `ESCAPE ''`.
pub(super) fn plain(expr: &mut Expr) {
    let (Expr::Like { pattern, escape_char, .. } | Expr::ILike { pattern, escape_char, .. }) = expr else { return };
    let Some(Value::SingleQuotedString(text) | Value::EscapedStringLiteral(text)) =
        escape_char.as_ref().map(|escape| &escape.value)
    else {
        return;
    };
    let escape = Value::SingleQuotedString(text.clone());
    if text.len() == 1 {
        *escape_char = Some(escape.into());
        return;
    }
    *escape_char = None;
    let of = std::mem::replace(pattern.as_mut(), Expr::value(Value::Null));
    **pattern = call("like_escape", vec![of, Expr::value(escape)]);
}
