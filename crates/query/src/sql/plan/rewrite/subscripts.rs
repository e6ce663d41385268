//! Subscripts of arrays that DataFusion does not read as PostgreSQL does: slices, and fewer of them than an array has
//! dimensions.

use sqlparser::ast::{AccessExpr, Expr, Subscript, Value};

use super::functions::call;
use crate::exec::{BOUND_LEFT_OUT, SLICE, SUBSCRIPTED};

/// `a[1:2][3]` as a function of the array and its bounds; `a[1]` marked for analysis, which knows what it gives.
pub(super) fn rewrite(expr: &mut Expr) -> Option<Expr> {
    let Expr::CompoundFieldAccess { root, access_chain } = expr else { return None };
    let subscripts = access_chain.iter().map(|access| match access {
        AccessExpr::Subscript(subscript) => Some(subscript.clone()),
        AccessExpr::Dot(_) => None,
    });
    let subscripts = subscripts.collect::<Option<Vec<_>>>()?;
    let has_stride = |subscript: &Subscript| matches!(subscript, Subscript::Slice { stride: Some(_), .. });
    if subscripts.iter().any(has_stride) {
        return None;
    }
    if !subscripts.iter().any(|subscript| matches!(subscript, Subscript::Slice { .. })) {
        let marked = std::mem::replace(expr, Expr::value(Value::Null));
        return Some(call(SUBSCRIPTED, vec![marked]));
    }
    let number = |text: &str| Expr::value(Value::Number(text.to_owned(), false));
    let left_out = || Expr::value(Value::SingleQuotedString(BOUND_LEFT_OUT.to_owned()));
    let mut args = vec![std::mem::replace(root.as_mut(), Expr::value(Value::Null))];
    for subscript in subscripts {
        match subscript {
            // Beside a slice a place is a slice that begins with the first element.
            Subscript::Index { index } => args.extend([number("1"), index]),
            Subscript::Slice { lower_bound, upper_bound, .. } => {
                args.extend([lower_bound.unwrap_or_else(left_out), upper_bound.unwrap_or_else(left_out)]);
            }
        }
    }
    Some(call(SLICE, args))
}
