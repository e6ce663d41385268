//! Values as JSON.

use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::expr::{AggregateFunction, ScalarFunction};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::planner::RawAggregateExpr;
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Expr, ScalarUDF, Signature, Volatility};
use perigee_types::coded::hstore;
use perigee_types::text::{OutputSettings, format as format_value, json};
use perigee_types::{CodedType, SqlError, SqlResult, SqlState, SqlType, Value};

use super::super::collecting::array_agg;
use super::super::function::{Call, Eval, Function, Parameter, Returns, overload, overload_of};

use SqlType as T;

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    let zoned = |name: &str, returns: T, eval: Eval| {
        let overload = overload_of(vec![Parameter::Any], Returns::Type(returns), eval).with_zone();
        Function::new(name, vec![overload]).udf()
    };
    let texts = || T::Array(Box::new(T::Text));
    let many = |name: &str, returns: T, eval: Eval| {
        let overload = overload_of(vec![Parameter::Any], Returns::Type(returns), eval).variadic().called_on_null();
        Function::new(name, vec![overload]).udf()
    };
    let object = |name: &str, returns: T, one: Eval, two: Eval| {
        Function::new(
            name,
            vec![overload(&[texts()], returns.clone(), one), overload(&[texts(), texts()], returns, two)],
        )
        .udf()
    };
    vec![
        zoned("row_to_json", T::Json, |a, c| Ok(Value::Text(zoned_text(a, c)?))),
        zoned("to_json", T::Json, |a, c| Ok(Value::Text(zoned_text(a, c)?))),
        zoned("to_jsonb", T::Jsonb, |a, c| normal(&zoned_text(a, c)?)),
        Function::new(
            "array_to_json",
            vec![
                overload_of(vec![Parameter::Any], Returns::Type(T::Json), |a, c| {
                    Ok(Value::Text(shown(&a[0], &c.types[0])))
                }),
                overload_of(vec![Parameter::Any, Parameter::Of(T::Bool)], Returns::Type(T::Json), |a, c| {
                    let separator = if a[1] == Value::Bool(true) { ",\n " } else { "," };
                    match (&a[0], &c.types[0]) {
                        (Value::Array(elements), T::Array(of)) => {
                            let shown: Vec<String> = elements.iter().map(|e| shown(e, of)).collect();
                            Ok(Value::Text(format!("[{}]", shown.join(separator))))
                        }
                        (other, ty) => Ok(Value::Text(shown(other, ty))),
                    }
                }),
            ],
        )
        .udf(),
        many(JSON_ROW, T::Json, row),
        many("json_build_array", T::Json, build_array),
        many("jsonb_build_array", T::Jsonb, build_array_binary),
        many("json_build_object", T::Json, build_object),
        many("jsonb_build_object", T::Jsonb, build_object_binary),
        object("json_object", T::Json, |a, _| from_texts(a).map(Value::Text), |a, _| from_texts(a).map(Value::Text)),
        object("jsonb_object", T::Jsonb, |a, _| normal(&from_texts(a)?), |a, _| normal(&from_texts(a)?)),
    ]
}

/// A whole row: whether it has lines of its own, then names and values.
pub(crate) const JSON_ROW: &str = "__json_row";

fn row(args: &[Value], call: &Call<'_>) -> SqlResult<Value> {
    let separator = if args.first() == Some(&Value::Bool(true)) { ",\n " } else { "," };
    let mut out = "{".to_owned();
    let rest = args.iter().zip(call.types).skip(1).collect::<Vec<_>>();
    for (at, field) in rest.chunks_exact(2).enumerate() {
        if at > 0 {
            out.push_str(separator);
        }
        json::write_string(&mut out, field[0].0.as_str().unwrap_or_default());
        out.push(':');
        write(&mut out, field[1].0, field[1].1);
    }
    out.push('}');
    Ok(Value::Text(out))
}

/// `json_build_array`
pub(in crate::exec::postgres) fn build_array(args: &[Value], call: &Call<'_>) -> SqlResult<Value> {
    Ok(Value::Text(array(args, call.types)))
}

/// `jsonb_build_array`
pub(in crate::exec::postgres) fn build_array_binary(args: &[Value], call: &Call<'_>) -> SqlResult<Value> {
    normal(&array(args, call.types))
}

/// `json_build_object`
pub(in crate::exec::postgres) fn build_object(args: &[Value], call: &Call<'_>) -> SqlResult<Value> {
    pairs(args, call).map(Value::Text)
}

/// `jsonb_build_object`
pub(in crate::exec::postgres) fn build_object_binary(args: &[Value], call: &Call<'_>) -> SqlResult<Value> {
    normal(&pairs(args, call)?)
}

fn normal(text: &str) -> SqlResult<Value> {
    json::normalize(text).map(Value::Text)
}

/// A value as JSON.
fn shown(value: &Value, ty: &T) -> String {
    let mut out = String::new();
    write(&mut out, value, ty);
    out
}

/// The first argument as JSON, with times in the zone that the second names.
fn zoned_text(args: &[Value], call: &Call<'_>) -> SqlResult<String> {
    let settings = super::super::cast::settings(args.get(1..).unwrap_or_default())?;
    let mut out = String::new();
    write_with(&mut out, &args[0], &call.types[0], &settings);
    Ok(out)
}

fn write(out: &mut String, value: &Value, ty: &T) {
    write_with(out, value, ty, &OutputSettings::DEFAULT);
}

fn write_with(out: &mut String, value: &Value, ty: &T, settings: &OutputSettings) {
    match (value, ty) {
        (Value::Null, _) => out.push_str("null"),
        (Value::Bool(v), _) => out.push_str(if *v { "true" } else { "false" }),
        (Value::Array(values), T::Record(fields)) => {
            out.push('{');
            for (at, (value, (name, ty))) in values.iter().zip(fields).enumerate() {
                if at > 0 {
                    out.push(',');
                }
                json::write_string(out, name);
                out.push(':');
                write_with(out, value, ty, settings);
            }
            out.push('}');
        }
        (Value::Bytea(kept), T::Composite(of)) => {
            let values = Value::Array(of.decode(kept).unwrap_or_default());
            write_with(out, &values, &T::Record(of.attributes.clone()), settings);
        }
        // It has a cast to json, which PostgreSQL takes.
        (Value::Bytea(kept), T::Coded(CodedType::Hstore)) => out.push_str(&hstore::to_json(kept)),
        (Value::Array(elements), T::Array(of)) => {
            out.push('[');
            for (at, element) in elements.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                write_with(out, element, of, settings);
            }
            out.push(']');
        }
        (Value::Text(text), T::Json | T::Jsonb) => out.push_str(text),
        (value, ty) => {
            let text = format_value(value, ty, settings);
            match value {
                Value::Int2(_) | Value::Int4(_) | Value::Int8(_) | Value::Numeric(..) => out.push_str(&text),
                Value::Wide(number) if number.is_finite() => out.push_str(&text),
                Value::Float4(v) if v.is_finite() => out.push_str(&text),
                Value::Float8(v) if v.is_finite() => out.push_str(&text),
                Value::Timestamp(_) | Value::Timestamptz(_) => json::write_string(out, &iso(&text)),
                _ => json::write_string(out, &text),
            }
        }
    }
}

/// A time as ISO 8601 writes it: a `T` in its middle, minutes in its zone.
fn iso(text: &str) -> String {
    let mut out = text.replacen(' ', "T", 1);
    let zone = out.len().checked_sub(3).and_then(|at| out.as_bytes().get(at)).copied();
    if matches!(zone, Some(b'+' | b'-')) && out.contains('T') {
        out.push_str(":00");
    }
    out
}

fn array(args: &[Value], types: &[T]) -> String {
    let elements: Vec<String> = args.iter().zip(types).map(|(value, ty)| shown(value, ty)).collect();
    format!("[{}]", elements.join(", "))
}

/// A value as a key.
fn key(value: &Value, ty: &T) -> SqlResult<String> {
    match value {
        Value::Null => Err(SqlError::new(SqlState::InvalidParameterValue, "argument 1: key must not be null")),
        Value::Array(_) => Err(SqlError::new(
            SqlState::InvalidParameterValue,
            "key value must be scalar, not array, composite, or json",
        )),
        _ => Ok(format_value(value, ty, &OutputSettings::DEFAULT)),
    }
}

fn pairs(args: &[Value], call: &Call<'_>) -> SqlResult<String> {
    if args.len() % 2 == 1 {
        return Err(SqlError::new(SqlState::InvalidParameterValue, "argument list must have even number of elements")
            .hint("The arguments of json_build_object() must consist of alternating keys and values."));
    }
    let mut out = "{".to_owned();
    for (at, (pair, types)) in args.chunks(2).zip(call.types.chunks(2)).enumerate() {
        if at > 0 {
            out.push_str(", ");
        }
        json::write_string(&mut out, &key(&pair[0], &types[0])?);
        out.push_str(" : ");
        write(&mut out, &pair[1], &types[1]);
    }
    out.push('}');
    Ok(out)
}

/// `json_object` of keys and values, in one array or two.
fn from_texts(args: &[Value]) -> SqlResult<String> {
    let list = |value: &Value| match value {
        Value::Array(elements) => elements.clone(),
        _ => Vec::new(),
    };
    let first = list(&args[0]);
    let (keys, values): (Vec<Value>, Vec<Value>) = match args.get(1) {
        Some(second) => (first, list(second)),
        None if first.len() % 2 == 1 => {
            return Err(SqlError::new(SqlState::ArraySubscriptError, "array must have even number of elements"));
        }
        None => first.chunks(2).map(|pair| (pair[0].clone(), pair[1].clone())).unzip(),
    };
    if keys.len() != values.len() {
        return Err(SqlError::new(SqlState::ArraySubscriptError, "mismatched array dimensions"));
    }
    let mut out = "{".to_owned();
    for (at, (key, value)) in keys.iter().zip(&values).enumerate() {
        let Some(key) = key.as_str() else {
            return Err(SqlError::new(SqlState::NullValueNotAllowed, "null value not allowed for object key"));
        };
        if at > 0 {
            out.push_str(", ");
        }
        json::write_string(&mut out, key);
        out.push_str(" : ");
        write(&mut out, value, &T::Text);
    }
    out.push('}');
    Ok(out)
}

/// The aggregates that make JSON, by their names.
const AGGREGATES: &[(&str, bool, bool)] = &[
    ("json_agg", false, false),
    ("jsonb_agg", false, true),
    ("json_object_agg", true, false),
    ("jsonb_object_agg", true, true),
];

/// The aggregates that make JSON, for the planner: [`aggregate`] plans their calls otherwise.
pub(in crate::exec::postgres) fn aggregates() -> Vec<Arc<AggregateUDF>> {
    AGGREGATES
        .iter()
        .map(|(name, object, _)| {
            let signature = Signature::any(1 + usize::from(*object), Volatility::Immutable);
            Arc::new(AggregateUDF::new_from_impl(Planned { name, signature }))
        })
        .collect()
}

/// A call of one of [`aggregates`]: `array_agg` of its arguments, made JSON.
pub(in crate::exec::postgres) fn aggregate(raw: &RawAggregateExpr) -> Option<Expr> {
    let (_, object, binary) = AGGREGATES.iter().find(|(name, ..)| *name == raw.func.name())?;
    // What is collected forgets its SQL type, so it is made JSON, or the text of a key, before.
    let json = Function::new(
        "to_json",
        vec![overload_of(vec![Parameter::Any], Returns::Type(T::Json), |a, c| {
            Ok(Value::Text(shown(&a[0], &c.types[0])))
        })],
    );
    // Arrays and rows stand on lines of their own in an array: they begin with the line break.
    let lines = Function::new(
        "json_line",
        vec![overload_of(vec![Parameter::Any], Returns::Type(T::Json), |a, c| {
            let structured = matches!(c.types[0], T::Array(_) | T::Record(_));
            Ok(Value::Text(format!("{}{}", if structured { LINE } else { "" }, shown(&a[0], &c.types[0]))))
        })],
    );
    let rows = Function::new(
        "json_row_line",
        vec![overload_of(vec![Parameter::Any], Returns::Type(T::Json), |a, c| {
            Ok(Value::Text(format!("{LINE}{}", shown(&a[0], &c.types[0]))))
        })],
    );
    let key_text = Function::new(
        "json_key",
        vec![overload_of(vec![Parameter::Any], Returns::Type(T::Text), |a, c| {
            key(&a[0], &c.types[0]).map(Value::Text)
        })],
    );
    let returns = if *binary { T::Jsonb } else { T::Json };
    let is_row = matches!(raw.args.first(), Some(Expr::ScalarFunction(call)) if call.func.name() == JSON_ROW);
    if raw.distinct && !is_row {
        // What is distinct are values, not their JSON; of an object the pairs.
        let pair = Function::new(
            "json_pair",
            vec![overload_of(vec![Parameter::Any; 2], Returns::Type(T::Text), pair).called_on_null()],
        );
        let eval: Eval = match (object, binary) {
            (false, false) => |a, c| Ok(Value::Text(collected_array(&lines_of(&a[0], &c.types[0])))),
            (false, true) => |a, c| normal(&collected_array(&lines_of(&a[0], &c.types[0]))),
            (true, false) => |a, _| Ok(Value::Text(collected_pairs(&a[0]))),
            (true, true) => |a, _| normal(&collected_pairs(&a[0])),
        };
        let args = match object {
            true => vec![Expr::ScalarFunction(ScalarFunction::new_udf(pair.udf(), raw.args.clone()))],
            false => raw.args.clone(),
        };
        let collected = Expr::AggregateFunction(AggregateFunction::new_udf(
            array_agg(),
            args,
            true,
            raw.filter.clone(),
            raw.order_by.clone(),
            raw.null_treatment,
        ));
        let of_array = overload_of(vec![Parameter::Any], Returns::Type(returns), eval);
        let finish = Function::new(raw.func.name(), vec![of_array]).udf();
        return Some(Expr::ScalarFunction(ScalarFunction::new_udf(finish, vec![collected])));
    }
    let (json, lines, rows, key_text) = (json.udf(), lines.udf(), rows.udf(), key_text.udf());
    let collected = |(place, arg): (usize, &Expr)| {
        let udf = match arg {
            _ if *object && place == 0 => &key_text,
            _ if *object => &json,
            Expr::ScalarFunction(call) if call.func.name() == JSON_ROW => &rows,
            _ => &lines,
        };
        let arg = Expr::ScalarFunction(ScalarFunction::new_udf(Arc::clone(udf), vec![arg.clone()]));
        Expr::AggregateFunction(AggregateFunction::new_udf(
            array_agg(),
            vec![arg],
            raw.distinct,
            raw.filter.clone(),
            raw.order_by.clone(),
            raw.null_treatment,
        ))
    };
    let eval: Eval = match (object, binary) {
        (false, false) => |a, _| Ok(Value::Text(collected_array(&a[0]))),
        (false, true) => |a, _| normal(&collected_array(&a[0])),
        (true, false) => |a, _| collected_object(a).map(Value::Text),
        (true, true) => |a, _| normal(&collected_object(a)?),
    };
    let parameters = vec![Parameter::Any; 1 + usize::from(*object)];
    let finish = Function::new(raw.func.name(), vec![overload_of(parameters, Returns::Type(returns), eval)]).udf();
    Some(Expr::ScalarFunction(ScalarFunction::new_udf(finish, raw.args.iter().enumerate().map(collected).collect())))
}

/// A member of an object.
fn pair(args: &[Value], call: &Call<'_>) -> SqlResult<Value> {
    if args[0].is_null() {
        return Err(SqlError::new(SqlState::InvalidParameterValue, "field name must not be null"));
    }
    let mut out = String::new();
    json::write_string(&mut out, &key(&args[0], &call.types[0])?);
    out.push_str(" : ");
    write(&mut out, &args[1], &call.types[1]);
    Ok(Value::Text(out))
}

/// Collected members as an object.
fn collected_pairs(pairs: &Value) -> String {
    let Value::Array(pairs) = pairs else { return "{}".to_owned() };
    let pairs: Vec<&str> = pairs.iter().filter_map(Value::as_str).collect();
    format!("{{ {} }}", pairs.join(", "))
}

/// The elements of an array as [`collected_array`] takes them.
fn lines_of(array: &Value, ty: &T) -> Value {
    let (Value::Array(elements), T::Array(of)) = (array, ty) else { return Value::Null };
    let line = if matches!(**of, T::Array(_) | T::Record(_)) { LINE } else { "" };
    let text = |element: &Value| match element {
        Value::Null => Value::Null,
        element => Value::Text(format!("{line}{}", shown(element, of))),
    };
    Value::Array(elements.iter().map(text).collect())
}

/// What stands before an element of an array on a line of its own.
const LINE: &str = "\n ";

/// Collected JSON as an array.
fn collected_array(value: &Value) -> String {
    let Value::Array(elements) = value else { return "null".to_owned() };
    let mut out = "[".to_owned();
    for (at, element) in elements.iter().enumerate() {
        let element = element.as_str().unwrap_or("null");
        if at > 0 {
            out.push_str(", ");
        }
        out.push_str(if at == 0 { element.strip_prefix(LINE).unwrap_or(element) } else { element });
    }
    out.push(']');
    out
}

/// Collected keys and JSON as an object.
fn collected_object(args: &[Value]) -> SqlResult<String> {
    let (Value::Array(keys), Value::Array(values)) = (&args[0], &args[1]) else { return Ok("{}".to_owned()) };
    let mut out = "{ ".to_owned();
    for (at, (key, value)) in keys.iter().zip(values).enumerate() {
        let Some(key) = key.as_str() else {
            return Err(SqlError::new(SqlState::InvalidParameterValue, "field name must not be null"));
        };
        if at > 0 {
            out.push_str(", ");
        }
        json::write_string(&mut out, key);
        out.push_str(" : ");
        out.push_str(value.as_str().unwrap_or("null"));
    }
    out.push_str(" }");
    Ok(out)
}

/// An aggregate whose calls are planned as something else.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Planned {
    name: &'static str,
    signature: Signature,
}

impl AggregateUDFImpl for Planned {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8View)
    }

    fn accumulator(&self, _: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        // As a window function it is not planned otherwise.
        Err(DataFusionError::NotImplemented(format!("{} over a window", self.name)))
    }

    fn state_fields(&self, _: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        Ok(Vec::new())
    }
}
