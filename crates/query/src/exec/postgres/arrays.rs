//! Arrays: containment and what DataFusion does otherwise.

use std::borrow::Cow;
use std::sync::Arc;

use datafusion::logical_expr::ScalarUDF;
use perigee_plan::evaluate::cast;
use perigee_types::text::array::flattened;
use perigee_types::text::{OutputSettings, format};
use perigee_types::{SqlError, SqlResult, SqlState, SqlType, Value};
use sqlparser::ast::BinaryOperator;

use super::function::{Call, Eval, Function, Parameter, Returns, overload, overload_of};
use super::limits::{self, Growing, check_bytes};
use super::text::settings;

use SqlType as T;

/// Elements that `array_fill` makes, at most.
const FILLED_MAX: usize = 1 << 24;

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    let list = || T::Array(Box::new(T::Text));
    let any = |count: usize| vec![Parameter::Any; count];
    vec![
        Function::new(
            "string_to_table",
            vec![
                overload(&[T::Text, T::Text], list(), split).called_on_null(),
                overload(&[T::Text, T::Text, T::Text], list(), split).called_on_null(),
            ],
        )
        .set_returning()
        .udf(),
        Function::new(
            "array_position",
            vec![
                overload_of(any(2), Returns::Type(T::Int4), position).called_on_null(),
                overload_of(any(3), Returns::Type(T::Int4), position).called_on_null(),
            ],
        )
        .with_aliases(&["list_position", "list_indexof", "array_indexof"])
        .udf(),
        Function::new(
            "array_positions",
            vec![
                overload_of(any(2), Returns::Type(T::Array(Box::new(T::Int4))), |a, _| {
                    let Value::Array(elements) = &a[0] else { return Ok(Value::Null) };
                    of_one_dimension(elements, SEARCHING)?;
                    let places = places(elements, &a[1]).map(|at| Value::Int4(int(at + 1)));
                    Ok(Value::Array(places.collect()))
                })
                .called_on_null(),
            ],
        )
        .with_aliases(&["list_positions"])
        .udf(),
        Function::new(
            "trim_array",
            vec![overload_of(
                vec![Parameter::Any, Parameter::Of(T::Int4)],
                Returns::Derived(|types, _| types.first().cloned().unwrap_or(T::Text)),
                |a, _| {
                    let Value::Array(elements) = &a[0] else { return Ok(Value::Null) };
                    let kept = a[1].as_i64().and_then(|n| usize::try_from(n).ok());
                    match kept.and_then(|n| elements.len().checked_sub(n)) {
                        Some(kept) => Ok(Value::Array(elements[..kept].to_vec())),
                        None => Err(SqlError::new(
                            SqlState::ArraySubscriptError,
                            format!("number of elements to trim must be between 0 and {}", elements.len()),
                        )),
                    }
                },
            )],
        )
        .udf(),
        Function::new(
            "array_remove",
            vec![
                overload_of(any(2), like_first(), |a, _| {
                    let Value::Array(elements) = &a[0] else { return Ok(Value::Null) };
                    of_one_dimension(elements, "removing elements from")?;
                    let kept = elements.iter().filter(|element| !same(element, &a[1]));
                    Ok(Value::Array(kept.cloned().collect()))
                })
                .called_on_null(),
            ],
        )
        .udf(),
        Function::new(
            "array_replace",
            vec![
                overload_of(any(3), like_first(), |a, c| {
                    let Value::Array(elements) = &a[0] else { return Ok(Value::Null) };
                    let T::Array(of) = c.types[0].with_dimensions(1) else { return Ok(Value::Null) };
                    let new = cast(a[2].clone(), &c.types[2], &of, false, OutputSettings::DEFAULT)?;
                    Ok(Value::Array(replaced(elements, &a[1], &new)))
                })
                .called_on_null(),
            ],
        )
        .udf(),
        of_dimension("array_length", |a, _| Ok(length(a).map_or(Value::Null, |length| Value::Int4(int(length))))),
        of_dimension("array_upper", |a, _| Ok(length(a).map_or(Value::Null, |length| Value::Int4(int(length))))),
        of_dimension("array_lower", |a, _| Ok(length(a).map_or(Value::Null, |_| Value::Int4(1)))),
        Function::new(
            "array_ndims",
            vec![overload_of(any(1), Returns::Type(T::Int4), |a, _| {
                Ok(match dimensions(&a[0]).len() {
                    0 => Value::Null,
                    count => Value::Int4(int(count)),
                })
            })],
        )
        .udf(),
        Function::new(
            "array_dims",
            vec![overload_of(any(1), Returns::Type(T::Text), |a, _| {
                let dimensions = dimensions(&a[0]);
                if dimensions.is_empty() {
                    return Ok(Value::Null);
                }
                Ok(Value::Text(dimensions.iter().map(|length| format!("[1:{length}]")).collect()))
            })],
        )
        .udf(),
        Function::new("array_fill", vec![overload_of(any(2), Returns::Derived(filled), fill).called_on_null()]).udf(),
        catalog_vector("int2vector", T::Int2, |a, c| vector_of(&a[0], &c.types[0], &T::Int2)),
        catalog_vector("oidvector", T::Oid, |a, c| vector_of(&a[0], &c.types[0], &T::Oid)),
        Function::new(
            "array_to_string",
            vec![
                overload_of(vec![Parameter::Any, Parameter::Of(T::Text)], Returns::Type(T::Text), join),
                overload_of(
                    vec![Parameter::Any, Parameter::Of(T::Text), Parameter::Of(T::Text)],
                    Returns::Type(T::Text),
                    join,
                )
                .called_on_null(),
            ],
        )
        .with_aliases(&["list_to_string", "array_join", "list_join"])
        .udf(),
        Function::new(
            "string_to_array",
            vec![
                overload(&[T::Text, T::Text], list(), split).called_on_null(),
                overload(&[T::Text, T::Text, T::Text], list(), split).called_on_null(),
            ],
        )
        .udf(),
    ]
}

/// A cast to int2vector or oidvector.
fn catalog_vector(name: &str, of: T, eval: Eval) -> Arc<ScalarUDF> {
    let list = T::Array(Box::new(of));
    Function::new(name, vec![overload_of(vec![Parameter::Any], Returns::Type(list), eval)]).vector().udf()
}

/// Numbers with blanks between them, or those of an array.
fn vector_of(value: &Value, from: &T, of: &T) -> SqlResult<Value> {
    match (value, from) {
        (Value::Text(text), _) => {
            let numbers = text.split_ascii_whitespace().map(|number| perigee_types::text::parse(number, of));
            numbers.collect::<SqlResult<_>>().map(Value::Array)
        }
        (Value::Array(items), T::Array(item)) => {
            let items = items.iter().map(|value| cast(value.clone(), item, of, true, OutputSettings::DEFAULT));
            items.collect::<SqlResult<_>>().map(Value::Array)
        }
        _ => Err(SqlError::new(SqlState::CannotCoerce, format!("cannot cast type {from} to {of} vector"))),
    }
}

/// What is done to elements only where there is one dimension.
const SEARCHING: &str = "searching for elements in";

/// `0A000` for an array of several dimensions.
fn of_one_dimension(elements: &[Value], doing: &str) -> SqlResult<()> {
    match elements.first() {
        Some(Value::Array(_)) => {
            let text = format!("{doing} multidimensional arrays is not supported");
            Err(SqlError::new(SqlState::FeatureNotSupported, text))
        }
        _ => Ok(()),
    }
}

/// An array with another value for each element that is `old`, however many dimensions it has.
fn replaced(elements: &[Value], old: &Value, new: &Value) -> Vec<Value> {
    let one = |element: &Value| match element {
        Value::Array(inner) => Value::Array(replaced(inner, old, new)),
        element if same(element, old) => new.clone(),
        element => element.clone(),
    };
    elements.iter().map(one).collect()
}

fn like_first() -> Returns {
    Returns::Derived(|types, _| types.first().cloned().unwrap_or(T::Text))
}

/// Whether an element is this value; NULL is NULL here.
fn same(element: &Value, wanted: &Value) -> bool {
    if wanted.is_null() { element.is_null() } else { has(std::slice::from_ref(element), wanted) }
}

/// Lengths of an array in its dimensions; of an empty array there are none.
fn dimensions(array: &Value) -> Vec<usize> {
    let mut lengths = Vec::new();
    let mut next = Some(array);
    while let Some(Value::Array(elements)) = next {
        if elements.is_empty() {
            break;
        }
        lengths.push(elements.len());
        next = elements.first();
    }
    lengths
}

/// A function of an array and the number of a dimension.
fn of_dimension(name: &str, eval: Eval) -> Arc<ScalarUDF> {
    let parameters = vec![Parameter::Any, Parameter::Of(T::Int4)];
    Function::new(name, vec![overload_of(parameters, Returns::Type(T::Int4), eval)]).udf()
}

fn length(args: &[Value]) -> Option<usize> {
    let dimension = usize::try_from(args[1].as_i64()?).ok()?.checked_sub(1)?;
    dimensions(&args[0]).get(dimension).copied()
}

fn filled(types: &[T], _: &[Option<Value>]) -> T {
    T::Array(Box::new(match types.first() {
        None | Some(T::Unknown) => T::Text,
        Some(ty) => ty.clone(),
    }))
}

/// `array_fill(value, lengths)`
fn fill(args: &[Value], _: &Call<'_>) -> SqlResult<Value> {
    let Value::Array(lengths) = &args[1] else {
        let text = "dimension array or low bound array cannot be null";
        return Err(SqlError::new(SqlState::NullValueNotAllowed, text));
    };
    match lengths.as_slice() {
        [] => Ok(Value::Array(Vec::new())),
        [Value::Null] => Err(SqlError::new(SqlState::NullValueNotAllowed, "dimension values cannot be null")),
        [length] => match length.as_i64().and_then(|n| usize::try_from(n).ok()).filter(|n| *n <= FILLED_MAX) {
            Some(length) => {
                check_bytes(args[0].size_bytes().checked_mul(length))?;
                Ok(Value::Array(vec![args[0].clone(); length]))
            }
            None => {
                let text = format!("array size exceeds the maximum allowed ({FILLED_MAX})");
                Err(SqlError::new(SqlState::ProgramLimitExceeded, text))
            }
        },
        _ => Err(SqlError::unsupported("an array of several dimensions")),
    }
}

fn int(place: usize) -> i32 {
    i32::try_from(place).unwrap_or(i32::MAX)
}

/// Where an element stands, from zero; NULL is found too.
fn places<'a>(elements: &'a [Value], wanted: &'a Value) -> impl Iterator<Item = usize> + 'a {
    elements
        .iter()
        .enumerate()
        .filter(move |(_, e)| if wanted.is_null() { e.is_null() } else { has(std::slice::from_ref(*e), wanted) })
        .map(|(at, _)| at)
}

/// `array_position(array, element, start)`
fn position(args: &[Value], _: &Call<'_>) -> SqlResult<Value> {
    let Value::Array(elements) = &args[0] else { return Ok(Value::Null) };
    let start = match args.get(2) {
        None => 1,
        Some(Value::Null) => {
            return Err(SqlError::new(SqlState::NullValueNotAllowed, "initial position must not be null"));
        }
        Some(start) => start.as_i64().unwrap_or(1),
    };
    of_one_dimension(elements, SEARCHING)?;
    let skipped = usize::try_from(start - 1).unwrap_or(0);
    let found = places(elements, &args[1]).find(|at| *at >= skipped);
    Ok(found.map_or(Value::Null, |at| Value::Int4(int(at + 1))))
}

/// The function of an operator on arrays.
pub(super) fn operator(op: &BinaryOperator) -> Option<Arc<ScalarUDF>> {
    let one = |name: &str, symbol: &'static str, eval: Eval| {
        let overload = overload_of(vec![Parameter::Any, Parameter::Any], Returns::Type(T::Bool), eval);
        Some(Function::new(name, vec![overload]).operator(symbol).udf())
    };
    match op {
        BinaryOperator::AtArrow => one("arraycontains", "@>", |a, _| Ok(Value::Bool(contains(&a[0], &a[1])))),
        BinaryOperator::ArrowAt => one("arraycontained", "<@", |a, _| Ok(Value::Bool(contains(&a[1], &a[0])))),
        BinaryOperator::PGOverlap => one("arrayoverlap", "&&", |a, _| {
            let (Value::Array(left), Value::Array(right)) = (&a[0], &a[1]) else { return Ok(Value::Null) };
            let (left, right) = (flat(left), flat(right));
            Ok(Value::Bool(left.iter().any(|e| has(&right, e))))
        }),
        _ => None,
    }
}

/// Whether an element is one of an array's. Integers are the same whatever their widths.
fn has(array: &[Value], element: &Value) -> bool {
    array.iter().any(|known| match (known.as_i64(), element.as_i64()) {
        (Some(known), Some(element)) => known == element,
        _ => !known.is_null() && known == element,
    })
}

/// The elements of an array, whatever its dimensions.
fn flat(elements: &[Value]) -> Cow<'_, [Value]> {
    match elements.first() {
        Some(Value::Array(_)) => Cow::Owned(flattened(elements.to_vec())),
        _ => Cow::Borrowed(elements),
    }
}

/// Whether every element of `part` is one of `whole`; NULL is none.
fn contains(whole: &Value, part: &Value) -> bool {
    match (whole, part) {
        (Value::Array(whole), Value::Array(part)) => {
            let (whole, part) = (flat(whole), flat(part));
            part.iter().all(|e| has(&whole, e))
        }
        _ => false,
    }
}

/// The pieces of a text between delimiters: all of it where the delimiter is empty, its characters where it is NULL.
/// Pieces that are the third argument are NULL.
fn split(args: &[Value], call: &Call<'_>) -> SqlResult<Value> {
    let Some(text) = args[0].as_str() else { return Ok(Value::Null) };
    let null = args.get(2).and_then(Value::as_str);
    let value = |piece: &str| if Some(piece) == null { Value::Null } else { Value::Text(piece.to_owned()) };
    match args[1].as_str() {
        _ if text.is_empty() => Ok(Value::Array(Vec::new())),
        None => {
            let mut buffer = [0; 4];
            limits::array(text.chars().map(|c| value(c.encode_utf8(&mut buffer))), call)
        }
        Some("") => Ok(Value::Array(vec![value(text)])),
        Some(delimiter) => limits::array(text.split(delimiter).map(value), call),
    }
}

/// `array_to_string(array, delimiter, null)`: elements as output shows them, of all dimensions.
fn join(args: &[Value], call: &Call<'_>) -> SqlResult<Value> {
    let (Value::Array(elements), Some(delimiter)) = (&args[0], args[1].as_str()) else { return Ok(Value::Null) };
    let mut of = &call.types[0];
    while let T::Array(item) = of {
        of = item;
    }
    let mut joined = Joined {
        delimiter,
        null: args.get(2).and_then(Value::as_str),
        of,
        settings: settings(call),
        any: false,
        out: Growing::new(call),
    };
    joined.add(elements)?;
    Ok(joined.out.finish())
}

struct Joined<'a> {
    delimiter: &'a str,
    /// What NULL is shown as; else it is left out.
    null: Option<&'a str>,
    of: &'a T,
    settings: OutputSettings,
    any: bool,
    out: Growing<'a>,
}

impl Joined<'_> {
    fn add(&mut self, elements: &[Value]) -> SqlResult<()> {
        for element in elements {
            match (element, self.null) {
                (Value::Array(inner), _) if !matches!(self.of, T::Record(_)) => self.add(inner)?,
                (Value::Null, None) => {}
                (Value::Null, Some(null)) => self.piece(null)?,
                _ => self.piece(&format(element, self.of, &self.settings))?,
            }
        }
        Ok(())
    }

    fn piece(&mut self, piece: &str) -> SqlResult<()> {
        if std::mem::replace(&mut self.any, true) {
            self.out.push(self.delimiter)?;
        }
        self.out.push(piece)
    }
}
