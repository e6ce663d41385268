//! Set-returning functions: each makes an array of its rows, whose elements the plan then takes apart (see
//! [`super::rules`]). A function of several columns is one of these for each column.

use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use perigee_types::text::array::flattened;
use perigee_types::{SqlError, SqlResult, SqlState, SqlType, Value};

use super::function::{Call, Eval, Function, Parameter, Returns, overload, overload_of};
use super::series::Series;

use SqlType as T;

/// `unnest` by a name that DataFusion's planner has no rule of its own for.
pub(crate) const UNNEST: &str = "__unnest";
/// The numbers from one on, as many as the longest of its arguments has rows: WITH ORDINALITY.
pub(crate) const ORDINALITY: &str = "__ordinality";
/// The places of an array's elements, from one on, whatever its first subscript is.
pub(crate) const PLACES: &str = "__places";
/// `generate_subscripts` of an int2vector or oidvector, whose first subscript is zero.
pub(crate) const VECTOR_SUBSCRIPTS: &str = "__vector_subscripts";
/// Rows that one call may make: they stand in one array.
const ROWS_MAX: usize = 1 << 24;

/// The columns of a function that returns records: their names and the functions that give them.
pub(crate) fn record_columns(function: &str) -> Option<&'static [(&'static str, &'static str)]> {
    if function == "pg_partition_ancestors" {
        return Some(&[("relid", "pg_partition_ancestors")]);
    }
    if function == "pg_options_to_table" {
        return Some(&[("option_name", "pg_options_to_table_name"), ("option_value", "pg_options_to_table_value")]);
    }
    if function == "pg_get_keywords" {
        return Some(super::keywords::COLUMNS);
    }
    if function == "pg_partition_tree" {
        return Some(&[
            ("relid", "pg_partition_tree_relid"),
            ("parentrelid", "pg_partition_tree_parent"),
            ("isleaf", "pg_partition_tree_leaf"),
            ("level", "pg_partition_tree_level"),
        ]);
    }
    super::json::record_columns(function)
}

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    let list = |ty: T| T::Array(Box::new(ty));
    // However many dimensions an array has, its elements are rows.
    let flat: fn(&[T], &[Option<Value>]) -> T = |types, _| match types.first() {
        Some(array @ T::Array(_)) => array.with_dimensions(1),
        _ => T::Array(Box::new(T::Text)),
    };
    vec![
        Function::new(
            "generate_series",
            vec![
                overload(&[T::Int4, T::Int4], list(T::Int4), series),
                overload(&[T::Int4, T::Int4, T::Int4], list(T::Int4), series),
                overload(&[T::Int8, T::Int8], list(T::Int8), series),
                overload(&[T::Int8, T::Int8, T::Int8], list(T::Int8), series),
                overload_of(vec![Parameter::AnyNumeric; 2], Returns::Type(list(T::Numeric(None))), series),
                overload_of(vec![Parameter::AnyNumeric; 3], Returns::Type(list(T::Numeric(None))), series),
                overload(&[T::Timestamp(None), T::Timestamp(None), T::Interval], list(T::Timestamp(None)), series),
                overload(
                    &[T::Timestamptz(None), T::Timestamptz(None), T::Interval],
                    list(T::Timestamptz(None)),
                    series,
                )
                .with_zone(),
            ],
        )
        .set_returning()
        .udf(),
        options("pg_options_to_table_name", |a, _| {
            Ok(parts(&a[0], |option| Some(option.split_once('=').map_or(option, |(name, _)| name))))
        }),
        options("pg_options_to_table_value", |a, _| {
            Ok(parts(&a[0], |option| option.split_once('=').map(|(_, value)| value)))
        }),
        subscripts_of("generate_subscripts", |a, _| Ok(subscripts(a, 1))),
        subscripts_of(PLACES, |a, _| Ok(subscripts(a, 1))),
        subscripts_of(VECTOR_SUBSCRIPTS, |a, _| Ok(subscripts(a, 0))),
        Function::new(
            "pg_listening_channels",
            vec![overload(&[], list(T::Text), |_, c| {
                let services = c.view()?.session.services.as_ref();
                let channels = services.map(|services| services.listening_channels()).unwrap_or_default();
                Ok(Value::Array(channels.into_iter().map(Value::Text).collect()))
            })],
        )
        .volatile()
        .set_returning()
        .udf(),
        Function::new(UNNEST, vec![overload_of(vec![Parameter::Any], Returns::Derived(flat), elements)])
            .set_returning()
            .udf(),
        Function::new(
            ORDINALITY,
            vec![overload_of(vec![Parameter::Any], Returns::Type(list(T::Int8)), ordinals).variadic().called_on_null()],
        )
        .set_returning()
        .udf(),
    ]
}

/// A column of `pg_options_to_table`, whose argument has an element `name=value` for each option.
fn options(name: &str, eval: Eval) -> Arc<ScalarUDF> {
    let texts = || T::Array(Box::new(T::Text));
    Function::new(name, vec![overload(&[texts()], texts(), eval)]).set_returning().udf()
}

/// A part of each option; NULL where it has none.
fn parts(options: &Value, part: fn(&str) -> Option<&str>) -> Value {
    let Value::Array(options) = options else { return Value::Null };
    let parts = options.iter().map(|option| {
        let part = option.as_str().and_then(part);
        part.map_or(Value::Null, |part| Value::Text(part.to_owned()))
    });
    Value::Array(parts.collect())
}

/// The rows of a call as an array.
fn series(args: &[Value], call: &Call<'_>) -> SqlResult<Value> {
    let zoned = matches!(call.types.first(), Some(T::Timestamptz(_)));
    let (args, zone) = match (zoned, args.split_last()) {
        (true, Some((Value::Text(zone), front))) => (front, super::cast::time_zone(zone)?),
        _ => (args, perigee_types::text::TimeZone::Utc),
    };
    let wide = call.types.first() == Some(&T::Int8);
    let mut series = Series::new(args, zone)?;
    let mut rows = Vec::new();
    while let Some(value) = series.next()? {
        if rows.len() == ROWS_MAX {
            return Err(SqlError::new(
                SqlState::ProgramLimitExceeded,
                format!("generate_series gives more than {ROWS_MAX} rows here"),
            ));
        }
        rows.push(match value {
            Value::Int4(v) if wide => Value::Int8(i64::from(v)),
            other => other,
        });
    }
    Ok(Value::Array(rows))
}

fn subscripts_of(name: &str, eval: Eval) -> Arc<ScalarUDF> {
    let of = |rest: &[T]| {
        let rest = rest.iter().cloned().map(Parameter::Of);
        let parameters = std::iter::once(Parameter::Any).chain(rest).collect();
        overload_of(parameters, Returns::Type(T::Array(Box::new(T::Int4))), eval)
    };
    Function::new(name, vec![of(&[T::Int4]), of(&[T::Int4, T::Bool])]).set_returning().udf()
}

/// The subscripts of an array whose first one is `lower`.
fn subscripts(args: &[Value], lower: i32) -> Value {
    let (Value::Array(array), Some(1)) = (&args[0], args[1].as_i64()) else { return Value::Array(Vec::new()) };
    let numbers = (lower..lower + array.len() as i32).map(Value::Int4);
    Value::Array(if args.get(2) == Some(&Value::Bool(true)) { numbers.rev().collect() } else { numbers.collect() })
}

fn ordinals(args: &[Value], _: &Call<'_>) -> SqlResult<Value> {
    let lengths = args.iter().filter_map(|arg| match arg {
        Value::Array(rows) => Some(rows.len() as i64),
        _ => None,
    });
    Ok(lengths.max().map_or(Value::Null, |longest| Value::Array((1..=longest).map(Value::Int8).collect())))
}

fn elements(args: &[Value], call: &Call<'_>) -> SqlResult<Value> {
    match (&args[0], call.types.first()) {
        (Value::Array(elements), _) => Ok(Value::Array(flattened(elements.clone()))),
        (_, ty) => Err(SqlError::new(
            SqlState::UndefinedFunction,
            format!("function unnest({}) does not exist", ty.map_or_else(|| "unknown".to_owned(), T::to_string)),
        )),
    }
}

/// `expr` as a value of a field whose Arrow type it has already: what the field says of its SQL type holds.
pub(in crate::exec) fn labeled(expr: Expr, field: FieldRef) -> Expr {
    let udf = ScalarUDF::new_from_impl(Labeled { field, signature: Signature::user_defined(Volatility::Immutable) });
    Expr::ScalarFunction(ScalarFunction::new_udf(Arc::new(udf), vec![expr]))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Labeled {
    field: FieldRef,
    signature: Signature,
}

impl ScalarUDFImpl for Labeled {
    fn name(&self) -> &str {
        self.field.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.field.data_type().clone())
    }

    fn return_field_from_args(&self, _: ReturnFieldArgs) -> Result<FieldRef> {
        Ok(Arc::clone(&self.field))
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        Ok(arg_types.to_vec())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        args.args.into_iter().next().ok_or_else(|| DataFusionError::Internal("a label without a value".to_owned()))
    }
}
