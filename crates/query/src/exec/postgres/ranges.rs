//! Operators and functions of ranges. What orders and equals them are the bytes that are kept.

use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef};
use datafusion::error::Result;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use perigee_types::catalog::TypeKind;
use perigee_types::multirange;
use perigee_types::numeric::Numeric;
use perigee_types::range::{Edges, Range, RangeType};
use perigee_types::{SqlError, SqlResult, SqlState, SqlType, Value};
use sqlparser::ast::BinaryOperator;

use super::function::{Call, Eval, Function, Parameter, Returns, overload, overload_of};

/// Any range: all have one Arrow type, and a call looks at what its arguments are.
const ANY: SqlType = SqlType::Range(RangeType::Int4);

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    let of_type = |ty: RangeType| [constructor(&ty), multirange_constructor(&ty)];
    let mut all: Vec<Arc<ScalarUDF>> = RangeType::ALL.into_iter().flat_map(of_type).collect();
    let test = |name: &str, eval: Eval| Function::new(name, vec![overload(&[ANY], SqlType::Bool, eval)]).udf();
    all.extend([
        test("isempty", |a, c| Ok(Value::Bool(range(a, c, 0)?.0 == Range::Empty))),
        test("lower_inc", |a, c| edge(a, c, |_, _, edges| edges.lower)),
        test("upper_inc", |a, c| edge(a, c, |_, _, edges| edges.upper)),
        test("lower_inf", |a, c| edge(a, c, |lower, _, _| lower.is_none())),
        test("upper_inf", |a, c| edge(a, c, |_, upper, _| upper.is_none())),
        Function::new("range_merge", vec![like_first(vec![Parameter::Of(ANY), Parameter::Of(ANY)], merged)]).udf(),
        bound_or_case(datafusion::functions::string::lower(), |lower, _| lower),
        bound_or_case(datafusion::functions::string::upper(), |_, upper| upper),
    ]);
    all.push(key_function());
    all.extend(DISTANCES.iter().map(|(name, of)| {
        Function::new(name, vec![overload(&[of.clone(), of.clone()], SqlType::Float8, distance)]).udf()
    }));
    all.extend(OPERATIONS.iter().map(Operation::udf));
    all
}

/// `int4range(lower, upper [, bounds])` and its like, where NULL is no bound.
fn constructor(ty: &RangeType) -> Arc<ScalarUDF> {
    let (of, returns) = (ty.subtype(), SqlType::Range(ty.clone()));
    let overloads = vec![
        overload(&[of.clone(), of.clone()], returns.clone(), made).called_on_null(),
        overload(&[of.clone(), of, SqlType::Text], returns, made).called_on_null(),
    ];
    Function::new(ty.name(), overloads).udf()
}

/// `int4multirange(range, …)` and its like.
fn multirange_constructor(ty: &RangeType) -> Arc<ScalarUDF> {
    let ranges = overload(&[SqlType::Range(ty.clone())], SqlType::Multirange(ty.clone()), several).variadic();
    Function::new(ty.multirange_name(), vec![ranges]).udf()
}

/// The constructor of a type of ranges, or of several of them, that a user made; `None` for another type.
pub(in crate::exec) fn constructor_of(kind: &TypeKind) -> Option<Arc<ScalarUDF>> {
    match kind {
        TypeKind::Range(of) => Some(constructor(&RangeType::User(Arc::clone(of)))),
        TypeKind::Multirange(of) => Some(multirange_constructor(&RangeType::User(Arc::clone(of)))),
        TypeKind::Enum(_) | TypeKind::Domain(_) | TypeKind::Composite(_) => None,
    }
}

/// How far apart two values are, as types of ranges are declared with it.
const DISTANCES: [(&str, SqlType); 7] = [
    ("float8mi", SqlType::Float8),
    ("int4range_subdiff", SqlType::Int4),
    ("int8range_subdiff", SqlType::Int8),
    ("numrange_subdiff", SqlType::Numeric(None)),
    ("daterange_subdiff", SqlType::Date),
    ("tsrange_subdiff", SqlType::Timestamp(None)),
    ("tstzrange_subdiff", SqlType::Timestamptz(None)),
];

/// In days between dates, in seconds between moments.
fn distance(args: &[Value], _: &Call<'_>) -> SqlResult<Value> {
    let as_number = |at: usize| match element(args, at) {
        Value::Date(days) => Some(f64::from(*days)),
        Value::Timestamp(micros) | Value::Timestamptz(micros) => Some(*micros as f64 / 1e6),
        value => value.as_f64(),
    };
    Ok(as_number(0).zip(as_number(1)).map_or(Value::Null, |(left, right)| Value::Float8(left - right)))
}

/// Whether equal ranges of a type may be kept as several bytes.
pub(super) fn has_key(ty: &SqlType) -> bool {
    matches!(ty, SqlType::Range(of) if of.has_forms())
}

/// What such a range compares by.
pub(super) fn key(range: Expr) -> Expr {
    Expr::ScalarFunction(ScalarFunction::new_udf(key_function(), vec![range]))
}

fn key_function() -> Arc<ScalarUDF> {
    let eval: Eval = |args, _| {
        Ok(match args.first() {
            Some(Value::Bytea(kept)) => Value::Bytea(Range::key_of(kept).to_vec()),
            _ => Value::Null,
        })
    };
    Function::new("__range_key", vec![overload(&[SqlType::Range(RangeType::Num)], SqlType::Bytea, eval)]).udf()
}

fn several(args: &[Value], call: &Call<'_>) -> SqlResult<Value> {
    let Some(SqlType::Multirange(ty)) = call.declared else { return Err(no_type()) };
    let mut ranges = Vec::with_capacity(args.len());
    for at in 0..args.len() {
        let (range, of) = range(args, call, at)?;
        if of != *ty {
            let message = format!("function {}({}) does not exist", ty.multirange_name(), of.name());
            return Err(SqlError::new(SqlState::UndefinedFunction, message));
        }
        ranges.push(range);
    }
    Ok(Value::Bytea(multirange::encode(ty, &multirange::apart(ty, ranges)?)))
}

fn made(args: &[Value], call: &Call<'_>) -> SqlResult<Value> {
    let Some(SqlType::Range(ty)) = call.declared else { return Err(no_type()) };
    let edges = match args.get(2) {
        None => Edges { lower: true, upper: false },
        Some(Value::Null) => {
            let message = "range constructor flags argument must not be null";
            return Err(SqlError::new(SqlState::DataException, message));
        }
        Some(flags) => Edges::parse(flags.as_str().unwrap_or_default())?,
    };
    let subtype = ty.subtype();
    // All that is kept as bytes has one Arrow type.
    let is_other = |(value, given): (&Value, &SqlType)| {
        matches!(value, Value::Bytea(_)) && given.without_second_digits() != subtype
    };
    if args.iter().zip(call.types).take(2).any(is_other) {
        let types: Vec<String> = call.types.iter().map(ToString::to_string).collect();
        let message = format!("function {}({}) does not exist", ty.name(), types.join(", "));
        return Err(SqlError::new(SqlState::UndefinedFunction, message));
    }
    let is_exact = matches!(subtype, SqlType::Numeric(_));
    let bound = |at: usize| {
        let value = args.get(at).filter(|value| !value.is_null())?;
        // Exact numbers come as they are; those of a range are numerics.
        let number = if is_exact { Numeric::of(value).map(Numeric::into_value) } else { None };
        Some(number.unwrap_or_else(|| value.clone()))
    };
    Ok(Value::Bytea(Range::new(ty, bound(0), bound(1), edges)?.encode(ty)))
}

fn no_type() -> SqlError {
    SqlError::internal("a constructor of ranges does not know its type")
}

/// A function that gives a range of its first argument's type.
fn like_first(parameters: Vec<Parameter>, eval: Eval) -> super::function::Overload {
    let returns = Returns::Derived(|types, _| {
        let found = types.iter().find(|ty| matches!(ty, SqlType::Range(_)));
        found.cloned().unwrap_or(ANY)
    });
    overload_of(parameters, returns, eval)
}

/// What a test says of bounds; an empty range has none of what is asked for.
fn edge(args: &[Value], call: &Call<'_>, test: fn(&Option<Value>, &Option<Value>, Edges) -> bool) -> SqlResult<Value> {
    Ok(Value::Bool(match &range(args, call, 0)?.0 {
        Range::Empty => false,
        Range::Bounds { lower, upper, edges } => test(lower, upper, *edges),
    }))
}

fn merged(args: &[Value], call: &Call<'_>) -> SqlResult<Value> {
    let (left, right, ty) = both(args, call)?;
    Ok(Value::Bytea(left.union(&right, &ty, true)?.encode(&ty)))
}

/// A function behind an operator.
struct Operation {
    name: &'static str,
    /// Whether it gives a range; others are tests.
    makes: bool,
    eval: Eval,
}

impl Operation {
    fn udf(&self) -> Arc<ScalarUDF> {
        // One side may be an element.
        let parameters = vec![Parameter::Any, Parameter::Any];
        let overload = match self.makes {
            true => like_first(parameters, self.eval),
            false => overload_of(parameters, Returns::Type(SqlType::Bool), self.eval),
        };
        Function::new(self.name, vec![overload]).udf()
    }
}

const fn test(name: &'static str, eval: Eval) -> Operation {
    Operation { name, makes: false, eval }
}

const fn makes(name: &'static str, eval: Eval) -> Operation {
    Operation { name, makes: true, eval }
}

const CONTAINS: Operation = test("range_contains", |a, c| compare(a, c, |left, right| left.contains(right)));
const CONTAINED: Operation = test("range_contained_by", |a, c| compare(a, c, |left, right| right.contains(left)));
const CONTAINS_ELEMENT: Operation =
    test("range_contains_elem", |a, c| Ok(Value::Bool(range(a, c, 0)?.0.contains_value(element(a, 1)))));
const ELEMENT_CONTAINED: Operation =
    test("elem_contained_by_range", |a, c| Ok(Value::Bool(range(a, c, 1)?.0.contains_value(element(a, 0)))));
const OVERLAPS: Operation = test("range_overlaps", |a, c| compare(a, c, Range::overlaps));
const BEFORE: Operation = test("range_before", |a, c| compare(a, c, Range::is_before));
const AFTER: Operation = test("range_after", |a, c| compare(a, c, |left, right| right.is_before(left)));
const OVERLEFT: Operation = test("range_overleft", |a, c| compare(a, c, Range::ends_within));
const OVERRIGHT: Operation = test("range_overright", |a, c| compare(a, c, Range::begins_within));
const ADJACENT: Operation = test("range_adjacent", |a, c| compare(a, c, Range::adjoins));
const UNION: Operation = makes("range_union", |a, c| combine(a, c, |left, right, ty| left.union(right, ty, false)));
const INTERSECTION: Operation = makes("range_intersect", |a, c| combine(a, c, Range::intersection));
const DIFFERENCE: Operation = makes("range_minus", |a, c| combine(a, c, Range::difference));

const OPERATIONS: [Operation; 13] = [
    CONTAINS,
    CONTAINED,
    CONTAINS_ELEMENT,
    ELEMENT_CONTAINED,
    OVERLAPS,
    BEFORE,
    AFTER,
    OVERLEFT,
    OVERRIGHT,
    ADJACENT,
    UNION,
    INTERSECTION,
    DIFFERENCE,
];

/// What an operator calls between values of these types, and what its sides are where they have no type yet; `None` where none of
/// them is a range, or there is no such operator.
pub(super) fn operator(
    op: &BinaryOperator,
    left: &SqlType,
    right: &SqlType,
) -> Option<(Arc<ScalarUDF>, SqlType, SqlType)> {
    let ty = match (left, right) {
        (SqlType::Range(left), SqlType::Range(right)) if left != right => return None,
        (SqlType::Range(ty), _) | (_, SqlType::Range(ty)) => ty,
        _ => return None,
    };
    let own = SqlType::Range(ty.clone());
    let is_own = |side: &SqlType| *side == own || *side == SqlType::Unknown;
    let is_element = |side: &SqlType| match (ty.subtype(), side) {
        (SqlType::Timestamp(_), SqlType::Timestamp(_)) | (SqlType::Timestamptz(_), SqlType::Timestamptz(_)) => true,
        (SqlType::Numeric(_), side) => side.is_integer() || matches!(side, SqlType::Numeric(_)),
        (SqlType::Int8, side) => side.is_integer(),
        // An integer literal is a bigint until analysis looks at its size.
        (SqlType::Int4, side) => side.is_integer(),
        (SqlType::Text | SqlType::Varchar(_), side) => matches!(side, SqlType::Text | SqlType::Varchar(_)),
        (of, side) => of == *side,
    };
    let operation = match op {
        BinaryOperator::AtArrow if is_element(right) => CONTAINS_ELEMENT,
        BinaryOperator::ArrowAt if is_element(left) => ELEMENT_CONTAINED,
        _ if !(is_own(left) && is_own(right)) => return None,
        BinaryOperator::AtArrow => CONTAINS,
        BinaryOperator::ArrowAt => CONTAINED,
        BinaryOperator::PGOverlap => OVERLAPS,
        BinaryOperator::PGBitwiseShiftLeft => BEFORE,
        BinaryOperator::PGBitwiseShiftRight => AFTER,
        BinaryOperator::Plus => UNION,
        BinaryOperator::Multiply => INTERSECTION,
        BinaryOperator::Minus => DIFFERENCE,
        BinaryOperator::AndLt => OVERLEFT,
        BinaryOperator::AndGt => OVERRIGHT,
        BinaryOperator::Custom(name) if name == "-|-" => ADJACENT,
        _ => return None,
    };
    Some((operation.udf(), own.clone(), own))
}

/// An argument. What is kept as bytes may be something else than a range.
fn range(args: &[Value], call: &Call<'_>, at: usize) -> SqlResult<(Range, RangeType)> {
    // A literal in quotes was given the type of the other side.
    let ty = match call.types.get(at) {
        Some(SqlType::Range(ty)) => Some(ty.clone()),
        Some(SqlType::Unknown | SqlType::Text | SqlType::Bytea) => call.types.iter().find_map(|ty| match ty {
            SqlType::Range(ty) => Some(ty.clone()),
            _ => None,
        }),
        _ => None,
    };
    match (args.get(at), ty) {
        (Some(Value::Bytea(kept)), Some(ty)) => {
            let range = Range::decode(&ty, kept).ok_or_else(|| SqlError::internal("a range is not kept as one"))?;
            Ok((range, ty))
        }
        _ => {
            let ty = call.types.get(at).map_or("unknown".to_owned(), ToString::to_string);
            let message = format!("no function of ranges takes a value of type {ty}");
            Err(SqlError::new(SqlState::UndefinedFunction, message))
        }
    }
}

fn element(args: &[Value], at: usize) -> &Value {
    args.get(at).unwrap_or(&Value::Null)
}

fn both(args: &[Value], call: &Call<'_>) -> SqlResult<(Range, Range, RangeType)> {
    let ((left, ty), (right, other)) = (range(args, call, 0)?, range(args, call, 1)?);
    if ty != other {
        let message = format!("no function of ranges takes {} and {}", ty.name(), other.name());
        return Err(SqlError::new(SqlState::UndefinedFunction, message));
    }
    Ok((left, right, ty))
}

fn compare(args: &[Value], call: &Call<'_>, test: fn(&Range, &Range) -> bool) -> SqlResult<Value> {
    let (left, right, _) = both(args, call)?;
    Ok(Value::Bool(test(&left, &right)))
}

fn combine(
    args: &[Value],
    call: &Call<'_>,
    combined: fn(&Range, &Range, &RangeType) -> SqlResult<Range>,
) -> SqlResult<Value> {
    let (left, right, ty) = both(args, call)?;
    Ok(Value::Bytea(combined(&left, &right, &ty)?.encode(&ty)))
}

/// `lower` and `upper`: of a text DataFusion's own, of a range its bound.
#[derive(Debug)]
pub(super) struct BoundOrCase {
    inner: Arc<ScalarUDF>,
    bound: fn(Option<Value>, Option<Value>) -> Option<Value>,
    signature: Signature,
}

fn bound_or_case(inner: Arc<ScalarUDF>, bound: fn(Option<Value>, Option<Value>) -> Option<Value>) -> Arc<ScalarUDF> {
    let signature = Signature::user_defined(Volatility::Immutable);
    Arc::new(ScalarUDF::new_from_impl(BoundOrCase { inner, bound, signature }))
}

/// There is one of each name.
impl PartialEq for BoundOrCase {
    fn eq(&self, other: &Self) -> bool {
        self.inner.name() == other.inner.name()
    }
}

impl Eq for BoundOrCase {}

impl std::hash::Hash for BoundOrCase {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.inner.name().hash(state);
    }
}

impl ScalarUDFImpl for BoundOrCase {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        match arg_types {
            [DataType::BinaryView] => Ok(arg_types.to_vec()),
            [DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8 | DataType::Dictionary(..) | DataType::Null] => {
                Ok(vec![DataType::Utf8View])
            }
            types => {
                let types: Vec<String> = types.iter().map(super::function::type_name).collect();
                let message = format!("function {}({}) does not exist", self.name(), types.join(", "));
                let error = SqlError::new(SqlState::UndefinedFunction, message).hint(
                    "No function matches the given name and argument types. You might need to add explicit type casts.",
                );
                Err(crate::exec::error::from_sql(error))
            }
        }
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(arg_types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let ty = args.arg_fields.first().map(|field| SqlType::of_field(field));
        match ty {
            Some(SqlType::Range(ty)) => Ok(Arc::new(ty.subtype().field(self.name(), true))),
            Some(ty) if ty.arrow() == DataType::BinaryView => {
                let message = format!("function {}({ty}) does not exist", self.name());
                Err(crate::exec::error::from_sql(SqlError::new(SqlState::UndefinedFunction, message)))
            }
            _ => Ok(Arc::new(SqlType::Text.field(self.name(), true))),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let types: Vec<SqlType> = args.arg_fields.iter().map(|field| SqlType::of_field(field)).collect();
        if !matches!(types.first(), Some(SqlType::Range(_))) {
            return self.inner.invoke_with_args(args);
        }
        let call = Call { types: &types, returned: &DataType::Null, declared: None, view: None };
        super::function::each_row(&args, &types, true, |values| {
            Ok(match range(values, &call, 0)?.0 {
                Range::Empty => Value::Null,
                Range::Bounds { lower, upper, .. } => (self.bound)(lower, upper).unwrap_or(Value::Null),
            })
        })
    }
}
