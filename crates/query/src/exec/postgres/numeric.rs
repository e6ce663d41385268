//! numeric of any count of digits, which Arrow has no type for.
//!
//! Such a column is [`DataType::LargeBinary`], which nothing else is, of values in [`perigee_types::numeric`]'s form; numeric
//! of at most 38 digits and a fixed scale stays Arrow's decimal, whose kernels are the fast ones. Bytes of the form tell
//! 2.0 from 2.00, so whatever compares, groups, joins or sorts does so by [`key`], and DataFusion, which knows no cast
//! between the two, gets one wherever they meet: see [`super::rules`].

use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, AsArray, BinaryBuilder, LargeBinaryBuilder};
use arrow::datatypes::{DataType, Decimal128Type, FieldRef, Int16Type, Int32Type, Int64Type};
use datafusion::common::DFSchema;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    Cast, ColumnarValue, Expr, ExprSchemable, Operator, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};
use datafusion::scalar::ScalarValue;
use perigee_storage::arrow_value::value_at;
use perigee_types::numeric::{self, Numeric};
use perigee_types::{SqlResult, SqlType};

use super::{cast, meeting};
use crate::exec::error::from_sql;

/// The Arrow type of numerics of any count of digits.
pub(in crate::exec) const WIDE: DataType = DataType::LargeBinary;

/// Whether values of a type are numerics of any count of digits.
pub(in crate::exec) fn is_wide(ty: &DataType) -> bool {
    *ty == WIDE
}

/// Whether a type is one of exact numbers.
pub(super) fn is_exact(ty: &DataType) -> bool {
    is_wide(ty) || ty.is_integer() || matches!(ty, DataType::Decimal128(..) | DataType::Decimal256(..))
}

fn is_float(ty: &DataType) -> bool {
    matches!(ty, DataType::Float32 | DataType::Float64)
}

/// The type that numbers of these types are compared as where DataFusion would take another, or has none; `None` where it
/// takes PostgreSQL's, or where they have no common type.
///
/// A float beside an exact number is double precision, real too: DataFusion would take a decimal, which has neither the
/// range nor the small values of a float, or for integers real.
pub(super) fn common<'a>(types: impl Iterator<Item = &'a DataType> + Clone) -> Option<SqlType> {
    let mut known = types.filter(|ty| !super::function::is_unknown(ty));
    if !known.clone().all(|ty| is_exact(ty) || is_float(ty)) {
        return None;
    }
    if known.clone().any(is_float) {
        // Integers beside double precision are DataFusion's own case.
        let has_real = known.clone().any(|ty| *ty == DataType::Float32);
        known.any(|ty| is_exact(ty) && (has_real || !ty.is_integer())).then_some(SqlType::Float8)
    } else {
        known.any(is_wide).then_some(SqlType::Numeric(None))
    }
}

/// The value of a constant that is an exact number, as the nearest double.
pub(super) fn nearest_double(expr: &Expr) -> Option<f64> {
    match expr {
        // No exact number is a negative zero.
        Expr::Negative(inner) => nearest_double(inner).map(|value| 0.0 - value),
        Expr::Literal(
            value @ (ScalarValue::Int16(_)
            | ScalarValue::Int32(_)
            | ScalarValue::Int64(_)
            | ScalarValue::Decimal128(..)
            | ScalarValue::LargeBinary(_)),
            _,
        ) => Some(number_at(&value.to_array().ok()?, 0)?.to_f64()),
        _ => None,
    }
}

/// Numbers, floats among them, as one type of floats that compares them as double precision does.
fn as_floats(exprs: Vec<Expr>, types: &[DataType], schema: &DFSchema) -> Result<Vec<Expr>> {
    // A column of real stays as it is, which statistics and indexes know, where the constants beside it are reals.
    let is_real = |expr: &Expr| nearest_double(expr).is_some_and(|value| f64::from(value as f32) == value);
    let all_real = exprs.iter().zip(types).all(|(expr, ty)| *ty == DataType::Float32 || is_real(expr));
    let to = if all_real { SqlType::Float4 } else { SqlType::Float8 };
    exprs.into_iter().map(|e| brought(e, &to, schema)).collect()
}

/// The type of a choice between numbers of these types where DataFusion would take another: numerics and floats are a
/// float, and what stands beside a wide numeric is one. `None` where it would not, or where not all are numbers.
pub(super) fn choice<'a>(types: impl Iterator<Item = &'a DataType> + Clone) -> Option<SqlType> {
    let mut known = types.filter(|ty| !super::function::is_unknown(ty));
    let is_numeric = |ty: &DataType| is_exact(ty) && !ty.is_integer();
    if !known.clone().any(is_numeric) || !known.clone().all(|ty| is_exact(ty) || is_float(ty)) {
        return None;
    }
    if known.clone().any(|ty| *ty == DataType::Float64) {
        Some(SqlType::Float8)
    } else if known.clone().any(is_float) {
        Some(SqlType::Float4)
    } else {
        known.any(is_wide).then_some(SqlType::Numeric(None))
    }
}

/// The results of a choice as one type, where DataFusion would bring them to another than PostgreSQL does; as they are
/// else.
pub(super) fn chosen(exprs: Vec<Expr>, schema: &DFSchema) -> Result<Vec<Expr>> {
    let types = exprs.iter().map(|e| e.get_type(schema)).collect::<Result<Vec<_>>>()?;
    let to = match meeting::chosen(types.iter()) {
        // Constants alone show their own places; beside a column of so many, they have as many as that.
        None if exprs.iter().all(|e| matches!(e, Expr::Literal(..))) => {
            let mut scales = types.iter().filter_map(|ty| match ty {
                DataType::Decimal128(_, scale) => Some(*scale),
                ty if ty.is_integer() => Some(0),
                _ => None,
            });
            let first = scales.next();
            let differ = scales.any(|scale| Some(scale) != first);
            (differ && types.iter().all(is_exact)).then_some(SqlType::Numeric(None))
        }
        to => to,
    };
    match to {
        Some(to) => exprs.into_iter().map(|e| brought(e, &to, schema)).collect(),
        None => Ok(exprs),
    }
}

/// `expr` cast to a type, unless it has it.
pub(super) fn brought(expr: Expr, to: &SqlType, schema: &DFSchema) -> Result<Expr> {
    if expr.get_type(schema)? == to.arrow() {
        return Ok(expr);
    }
    cast::rewrite(Cast::new_from_field(Box::new(expr), Arc::new(to.field(to.internal_name(), true))), schema)
}

/// All of these as one type where DataFusion would take another than PostgreSQL does: as they are else.
pub(super) fn unified(exprs: Vec<Expr>, schema: &DFSchema) -> Result<Vec<Expr>> {
    let types = exprs.iter().map(|e| e.get_type(schema)).collect::<Result<Vec<_>>>()?;
    match meeting::compared(types.iter()) {
        Some(to) => exprs.into_iter().map(|e| brought(e, &to, schema)).collect(),
        None => Ok(exprs),
    }
}

/// All of these so that DataFusion's comparison compares them as PostgreSQL does: numbers as numbers, times in the session's
/// time zone.
pub(super) fn comparable(exprs: Vec<Expr>, schema: &DFSchema) -> Result<Vec<Expr>> {
    let types = exprs.iter().map(|e| e.get_type(schema)).collect::<Result<Vec<_>>>()?;
    if common(types.iter()) == Some(SqlType::Float8) {
        return as_floats(exprs, &types, schema);
    }
    if let Some(to) = meeting::times(types.iter()) {
        return exprs.into_iter().map(|e| brought(e, &to, schema)).collect();
    }
    if !types.iter().any(is_wide) {
        return Ok(exprs);
    }
    // A constant that fits a decimal becomes one: then the column stays as it is, which statistics and kernels know.
    let exprs: Vec<Expr> = exprs.into_iter().map(|e| if types.iter().all(is_wide) { e } else { narrowed(e) }).collect();
    let exprs = unified(exprs, schema)?;
    exprs.into_iter().map(|e| Ok(if is_wide(&e.get_type(schema)?) { key(e) } else { e })).collect()
}

/// The value and the elements of an IN list so that DataFusion compares them as PostgreSQL does: several constants become
/// values of one type first, and that of numerics beside real is real.
pub(super) fn listed(exprs: Vec<Expr>, schema: &DFSchema) -> Result<Vec<Expr>> {
    let types = exprs.iter().map(|e| e.get_type(schema)).collect::<Result<Vec<_>>>()?;
    let constants = exprs.iter().skip(1).filter(|e| nearest_double(e).is_some()).count();
    let is_real = common(types.iter()) == Some(SqlType::Float8) && !types.contains(&DataType::Float64);
    if is_real && constants > 1 && constants + 1 == exprs.len() {
        return exprs.into_iter().map(|e| brought(e, &SqlType::Float4, schema)).collect();
    }
    comparable(exprs, schema)
}

/// A wide constant as a decimal that is equal to it and shows the same places; anything else as it is.
pub(super) fn narrowed(expr: Expr) -> Expr {
    match &expr {
        Expr::Literal(ScalarValue::LargeBinary(Some(form)), _) => {
            match numeric::decode(form).map(Numeric::into_value) {
                Some(perigee_types::Value::Numeric(v, scale)) => decimal_literal(v, scale),
                _ => expr,
            }
        }
        _ => expr,
    }
}

fn decimal_literal(v: i128, scale: i8) -> Expr {
    let digits = v.unsigned_abs().checked_ilog10().map_or(1, |log| log + 1) as u8;
    Expr::Literal(ScalarValue::Decimal128(Some(v), digits.max(scale.unsigned_abs()), scale), None)
}

/// A comparison with `key(cast(x))` on one side, where `x` is a decimal or an integer, and a constant on the other, as one
/// of `x`; `None` where it is another, or where `x` cannot have the constant's value.
///
/// Parameters have their values only once a plan runs, so this is asked again then.
pub(in crate::exec) fn short_comparison(left: &Expr, op: Operator, right: &Expr) -> Option<Expr> {
    use Operator::{Eq, Gt, GtEq, Lt, LtEq, NotEq};
    if !matches!(op, Eq | NotEq | Lt | LtEq | Gt | GtEq) {
        return None;
    }
    let (value, constant, flipped) = match (left, right) {
        (value, Expr::Literal(ScalarValue::Binary(Some(key)), _)) => (value, key, false),
        (Expr::Literal(ScalarValue::Binary(Some(key)), _), value) => (value, key, true),
        _ => return None,
    };
    let Expr::ScalarFunction(call) = value else { return None };
    let [Expr::ScalarFunction(inner)] = call.args.as_slice() else { return None };
    let ty = cast::widened(inner).filter(|_| call.func.name() == KEY)?;
    let [x] = inner.args.as_slice() else { return None };
    let number = numeric::decode_key(constant)?;
    let literal = match ty {
        DataType::Int16 => ScalarValue::Int16(Some(number.exactly_at(0)?.try_into().ok()?)),
        DataType::Int32 => ScalarValue::Int32(Some(number.exactly_at(0)?.try_into().ok()?)),
        DataType::Int64 => ScalarValue::Int64(Some(number.exactly_at(0)?.try_into().ok()?)),
        DataType::Decimal128(precision, scale) => {
            let v = number.exactly_at(u32::try_from(*scale).ok()?)?;
            let fits = v.unsigned_abs().checked_ilog10().is_none_or(|log| log < u32::from(*precision));
            fits.then_some(ScalarValue::Decimal128(Some(v), *precision, *scale))?
        }
        _ => return None,
    };
    let literal = Expr::Literal(literal, None);
    let (left, right) = if flipped { (literal, x.clone()) } else { (x.clone(), literal) };
    Some(Expr::BinaryExpr(datafusion::logical_expr::BinaryExpr::new(Box::new(left), op, Box::new(right))))
}

const KEY: &str = "numeric_key";

/// What of a numeric compares: equal numbers have equal keys, whatever places they show.
pub(super) fn key(expr: Expr) -> Expr {
    static UDF: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| Form::udf(KEY, DataType::Binary));
    Expr::ScalarFunction(ScalarFunction::new_udf(Arc::clone(&UDF), vec![expr]))
}

/// A numeric without zeros at the end of its places: equal numbers are the same bytes.
pub(super) fn canonical(expr: Expr) -> Expr {
    static UDF: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| Form::udf("numeric_canonical", WIDE));
    Expr::ScalarFunction(ScalarFunction::new_udf(Arc::clone(&UDF), vec![expr]))
}

/// Another form of the same number.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Form {
    name: &'static str,
    returns: DataType,
    signature: Signature,
}

impl Form {
    fn udf(name: &'static str, returns: DataType) -> Arc<ScalarUDF> {
        let signature = Signature::user_defined(Volatility::Immutable);
        Arc::new(ScalarUDF::new_from_impl(Form { name, returns, signature }))
    }
}

impl ScalarUDFImpl for Form {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        let args = args.iter().map(|a| a.schema_name().to_string()).collect::<Vec<_>>().join(", ");
        // An aggregate over the same numbers keeps its name; a key stands beside the column that it is of.
        Ok(if self.name == KEY { format!("{KEY}({args})") } else { args })
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        Ok(arg_types.to_vec())
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.returns.clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [arg] = args.args.as_slice() else {
            return Err(DataFusionError::Internal("a numeric's form of several values".to_owned()));
        };
        let scalar = matches!(arg, ColumnarValue::Scalar(_));
        let array = arg.to_array(if scalar { 1 } else { args.number_rows })?;
        let array = wide(array)?;
        let forms = array.as_binary::<i64>();
        let result: ArrayRef = if self.returns == DataType::Binary {
            let mut out = BinaryBuilder::with_capacity(forms.len(), forms.value_data().len());
            forms.iter().for_each(|form| out.append_option(form.map(numeric::key_of)));
            Arc::new(out.finish())
        } else {
            let mut out = WideBuilder::new(forms.len());
            for form in forms {
                match form.and_then(numeric::decode) {
                    Some(number) => out.push(&number.trim_scale()),
                    None => out.push_null(),
                }
            }
            out.finish()
        };
        if scalar {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&result, 0)?));
        }
        Ok(ColumnarValue::Array(result))
    }
}

/// A column as one of wide numerics. Functions are called with what their plan says, except where a rule of DataFusion has
/// put another array of bytes, or of numbers, in its place.
fn wide(array: ArrayRef) -> Result<ArrayRef> {
    match array.data_type() {
        DataType::LargeBinary => Ok(array),
        DataType::Binary | DataType::BinaryView | DataType::FixedSizeBinary(_) | DataType::Dictionary(..) => {
            Ok(arrow::compute::cast(&array, &WIDE)?)
        }
        DataType::Null => Ok(arrow::array::new_null_array(&WIDE, array.len())),
        ty if is_exact(ty) => {
            let mut out = WideBuilder::new(array.len());
            for row in 0..array.len() {
                match number_at(&array, row) {
                    Some(number) => out.push(&number),
                    None => out.push_null(),
                }
            }
            Ok(out.finish())
        }
        other => Err(DataFusionError::Internal(format!("a numeric's form of {other}"))),
    }
}

/// A column of wide numerics that grows.
pub(super) struct WideBuilder {
    values: LargeBinaryBuilder,
    form: Vec<u8>,
}

impl WideBuilder {
    pub(super) fn new(rows: usize) -> Self {
        Self { values: LargeBinaryBuilder::with_capacity(rows, rows * 12), form: Vec::with_capacity(24) }
    }

    pub(super) fn push(&mut self, number: &Numeric) {
        self.form.clear();
        numeric::encode(number, &mut self.form);
        self.values.append_value(&self.form);
    }

    pub(super) fn push_null(&mut self) {
        self.values.append_null();
    }

    pub(super) fn finish(mut self) -> ArrayRef {
        Arc::new(self.values.finish())
    }
}

/// The number of a row of a column of exact numbers; `None` where it is NULL.
pub(super) fn number_at(array: &ArrayRef, row: usize) -> Option<Numeric> {
    if array.is_null(row) {
        return None;
    }
    Some(match array.data_type() {
        DataType::Int16 => Numeric::integer(i64::from(array.as_primitive::<Int16Type>().value(row))),
        DataType::Int32 => Numeric::integer(i64::from(array.as_primitive::<Int32Type>().value(row))),
        DataType::Int64 => Numeric::integer(array.as_primitive::<Int64Type>().value(row)),
        DataType::Decimal128(_, scale) if *scale >= 0 => {
            Numeric::small(array.as_primitive::<Decimal128Type>().value(row), u32::from(scale.unsigned_abs()))
        }
        DataType::LargeBinary => numeric::decode(array.as_binary::<i64>().value(row))?,
        _ => Numeric::of(&value_at(array, row, &SqlType::Numeric(None)))?,
    })
}

/// A wide literal.
pub(super) fn literal(number: &Numeric) -> Expr {
    let mut form = Vec::new();
    numeric::encode(number, &mut form);
    Expr::Literal(ScalarValue::LargeBinary(Some(form)), None)
}

/// Applies an operation to two columns of exact numbers.
pub(super) fn apply(
    args: &ScalarFunctionArgs,
    mut operation: impl FnMut(&Numeric, &Numeric) -> SqlResult<Numeric>,
) -> Result<ColumnarValue> {
    let [left, right] = args.args.as_slice() else {
        return Err(DataFusionError::Internal("an operator without two sides".to_owned()));
    };
    let scalar = matches!((left, right), (ColumnarValue::Scalar(_), ColumnarValue::Scalar(_)));
    let rows = if scalar { 1 } else { args.number_rows };
    // A constant is read once.
    let side = |value: &ColumnarValue| -> Result<(ArrayRef, Option<Option<Numeric>>)> {
        Ok(match value {
            ColumnarValue::Scalar(value) => {
                let array = value.to_array()?;
                let number = number_at(&array, 0);
                (array, Some(number))
            }
            ColumnarValue::Array(array) => (Arc::clone(array), None),
        })
    };
    let (left, right) = (side(left)?, side(right)?);
    let view = crate::exec::view::view_of(&args.config_options);
    let mut out = WideBuilder::new(rows);
    for row in 0..rows {
        if row % 64 == 0 && view.as_ref().is_some_and(|view| view.cancel.is_cancelled()) {
            return Err(from_sql(crate::exec::error::canceled()));
        }
        let at = |side: &(ArrayRef, Option<Option<Numeric>>)| match &side.1 {
            Some(constant) => constant.clone(),
            None => number_at(&side.0, row),
        };
        match (at(&left), at(&right)) {
            (Some(a), Some(b)) => out.push(&operation(&a, &b).map_err(from_sql)?),
            _ => out.push_null(),
        }
    }
    let result = out.finish();
    if scalar {
        return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&result, 0)?));
    }
    Ok(ColumnarValue::Array(result))
}

/// The field of a wide result.
pub(super) fn field(name: &str, nullable: bool) -> FieldRef {
    Arc::new(SqlType::Numeric(None).field(name, nullable))
}
