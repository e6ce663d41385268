//! `x op ANY (array)` and `x op ALL (array)` where DataFusion has none of its own: over a literal in quotes, and for LIKE
//! and regular expressions. `x = ANY (array)` is DataFusion's `array_has`, with NULL where PostgreSQL has it.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray};
use arrow::datatypes::DataType;
use datafusion::common::DFSchema;
use datafusion::error::Result;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ExprSchemable, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};
use datafusion::scalar::ScalarValue;
use perigee_types::{SqlError, SqlResult, SqlState, SqlType, Value};

use super::cast;
use super::function::{Call, Eval, Function, Parameter, Returns, is_unknown, overload_of, undefined_operator};
use super::operators::same_bytes;

use SqlType as T;

/// The functions' names: value, operator, array.
pub(crate) const ANY: &str = "__any";
pub(crate) const ALL: &str = "__all";

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    let of = |name: &str, eval: Eval| {
        let parameters = vec![Parameter::Any, Parameter::Of(T::Text), Parameter::Any];
        Function::new(name, vec![overload_of(parameters, Returns::Type(T::Bool), eval).called_on_null()]).udf()
    };
    vec![of(ANY, |a, c| quantified(a, c, true)), of(ALL, |a, c| quantified(a, c, false))]
}

/// Gives an untyped array literal the type of the other side's elements.
pub(super) fn with_types(mut call: ScalarFunction, schema: &DFSchema) -> Result<ScalarFunction> {
    if !matches!(call.func.name(), ANY | ALL) {
        return Ok(call);
    }
    if let [left, _, right] = call.args.as_mut_slice()
        && let Expr::Literal(ScalarValue::Utf8(Some(text)), _) = right
    {
        let field = left.to_field(schema)?.1;
        let of = if is_unknown(field.data_type()) { T::Text } else { T::of_field(&field) };
        *right = cast::text_literal(text, &T::Array(Box::new(of)), false)?;
    }
    Ok(call)
}

/// `array_has` with PostgreSQL's NULL in place of DataFusion's; any other call as it is.
pub(super) fn with_nulls(call: &mut ScalarFunction) {
    let is_own = call.func.inner().downcast_ref::<EqualsAny>().is_some();
    if call.func.name() == "array_has" && !is_own {
        let own = EqualsAny { inner: Arc::clone(&call.func) };
        call.func = Arc::new(ScalarUDF::new_from_impl(own));
    }
}

/// `array_has(array, value)` that is NULL where nothing is equal and an element is NULL, and false where the array is
/// empty, whatever the value is.
#[derive(Debug, PartialEq, Eq, Hash)]
struct EqualsAny {
    inner: Arc<ScalarUDF>,
}

impl ScalarUDFImpl for EqualsAny {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(arg_types)
    }

    /// IN over the elements where they are constant.
    fn simplify(&self, args: Vec<Expr>, context: &SimplifyContext) -> Result<ExprSimplifyResult> {
        self.inner.inner().simplify(args, context)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.number_rows;
        let array = args.args.first().cloned();
        let found = self.inner.invoke_with_args(args)?;
        match array {
            Some(array) if matches!(array.data_type(), DataType::List(_)) => {
                let once = matches!((&array, &found), (ColumnarValue::Scalar(_), ColumnarValue::Scalar(_)));
                let rows = if once { 1 } else { rows };
                let known = nulls_of_any(&array.into_array(rows)?, &found.into_array(rows)?);
                if once {
                    return Ok(ColumnarValue::Scalar(ScalarValue::Boolean(known.iter().next().flatten())));
                }
                Ok(ColumnarValue::Array(Arc::new(known)))
            }
            _ => Ok(found),
        }
    }
}

/// What `= ANY` gives for each list, where `found` says whether an element is equal: DataFusion's NULL where the value or
/// the list is NULL.
fn nulls_of_any(lists: &ArrayRef, found: &ArrayRef) -> BooleanArray {
    let (lists, found) = (lists.as_list::<i32>(), found.as_boolean());
    let of_row = |row: usize| {
        let found = found.is_valid(row).then(|| found.value(row));
        if lists.is_null(row) || found == Some(true) {
            return found;
        }
        let elements = lists.value(row);
        // A comparison with NULL may hold, and no comparison does not.
        if elements.is_empty() { Some(false) } else { found.filter(|_| elements.null_count() == 0) }
    };
    (0..lists.len()).map(of_row).collect()
}

fn quantified(args: &[Value], call: &Call<'_>, any: bool) -> SqlResult<Value> {
    let symbol = args[1].as_str().unwrap_or_default();
    let elements = match (&args[2], &call.types[2]) {
        (Value::Array(elements), _) => elements,
        (Value::Null, _) => return Ok(Value::Null),
        (_, ty) => {
            return Err(SqlError::new(
                SqlState::WrongObjectType,
                format!("op ANY/ALL (array) requires array on right side, not {ty}"),
            ));
        }
    };
    if let T::Array(of) = &call.types[2]
        && !same_bytes(&call.types[0], of)
    {
        return Err(undefined_operator(symbol, &call.types[0].to_string(), &of.to_string()));
    }
    let mut unknown = false;
    for element in elements {
        match holds(&args[0], symbol, element, call)? {
            Some(holds) if holds == any => return Ok(Value::Bool(any)),
            Some(_) => {}
            None => unknown = true,
        }
    }
    Ok(if unknown { Value::Null } else { Value::Bool(!any) })
}

/// Whether `left symbol right`.
fn holds(left: &Value, symbol: &str, right: &Value, call: &Call<'_>) -> SqlResult<Option<bool>> {
    if left.is_null() || right.is_null() {
        return Ok(None);
    }
    let pattern = symbol.trim_start_matches('!');
    if pattern.starts_with('~') {
        let (Some(text), Some(against)) = (left.as_str(), right.as_str()) else {
            let (a, b) = (call.types[0].to_string(), call.types[2].to_string());
            return Err(undefined_operator(symbol, &a, b.trim_end_matches("[]")));
        };
        let ignore_case = pattern.ends_with('*');
        let found = if pattern.starts_with("~~") {
            like(text, against, ignore_case)
        } else {
            super::text::regex(against, ignore_case)?.is_match(text)
        };
        return Ok(Some(found != symbol.starts_with('!')));
    }
    let Some(order) = left.sql_cmp(right) else {
        let (a, b) = (call.types[0].to_string(), call.types[2].to_string());
        return Err(undefined_operator(symbol, &a, b.trim_end_matches("[]")));
    };
    Ok(Some(match symbol {
        "=" => order.is_eq(),
        "<>" => order.is_ne(),
        "<" => order.is_lt(),
        "<=" => order.is_le(),
        ">" => order.is_gt(),
        ">=" => order.is_ge(),
        other => return Err(SqlError::unsupported(format_args!("{other} ANY or ALL (array)"))),
    }))
}

/// LIKE with a backslash as its escape.
fn like(text: &str, pattern: &str, ignore_case: bool) -> bool {
    let folded = |s: &str| if ignore_case { s.to_lowercase() } else { s.to_owned() };
    let text: Vec<char> = folded(text).chars().collect();
    // A character, or one of the two signs.
    let mut wanted: Vec<Option<char>> = Vec::new();
    let mut many: Vec<bool> = Vec::new();
    let pattern = folded(pattern);
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        match c {
            '%' => {
                wanted.push(None);
                many.push(true);
            }
            '_' => {
                wanted.push(None);
                many.push(false);
            }
            c => {
                let c = if c == '\\' { chars.next().unwrap_or(c) } else { c };
                wanted.push(Some(c));
                many.push(false);
            }
        }
    }
    // Where the last % stands and what it has taken so far.
    let (mut at, mut place, mut star) = (0, 0, None);
    while at < text.len() {
        if place < wanted.len() && many[place] {
            star = Some((place, at));
            place += 1;
        } else if place < wanted.len() && wanted[place].is_none_or(|c| c == text[at]) {
            place += 1;
            at += 1;
        } else if let Some((behind, taken)) = star {
            place = behind + 1;
            at = taken + 1;
            star = Some((behind, at));
        } else {
            return false;
        }
    }
    many[place..].iter().all(|many| *many)
}

#[cfg(test)]
mod tests {
    use super::like;

    #[test]
    fn patterns_match_as_like_does() {
        for (text, pattern, want) in [
            ("foo", "%o", true),
            ("foo", "f%", true),
            ("foo", "_o", false),
            ("foo", "f_o", true),
            ("", "%", true),
            ("", "_", false),
            ("a%b", "a\\%b", true),
            ("axb", "a\\%b", false),
            ("abcabd", "%abd", true),
            ("abc", "%%c", true),
        ] {
            assert_eq!(like(text, pattern, false), want, "{text} {pattern}");
        }
        assert!(like("FoO", "fO%", true));
    }
}
