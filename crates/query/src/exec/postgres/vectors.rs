//! pgvector's operators and functions over `vector`. Distances are computed a column at a time, in double precision as
//! pgvector gives them.

use std::sync::Arc;

use arrow::array::{AsArray, Float64Array};
use arrow::datatypes::DataType;
use datafusion::error::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use datafusion::scalar::ScalarValue;
use perigee_types::{SqlError, SqlResult, SqlState, SqlType, Value, vector};
use sqlparser::ast::BinaryOperator;

use super::function::{Call, Eval, Function, overload};
use crate::exec::error::from_sql;

const VECTOR: SqlType = SqlType::Vector(None);

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    let of_one = |name: &'static str, returns: SqlType, eval: Eval| {
        Function::new(name, vec![overload(&[VECTOR], returns, eval)]).udf()
    };
    let mut all = vec![
        of_one("vector_dims", SqlType::Int4, |a, _| Ok(Value::Int4(vector::dimensions(bytes(&a[0])?) as i32))),
        of_one("vector_norm", SqlType::Float8, |a, _| Ok(Value::Float8(norm(bytes(&a[0])?)))),
        of_one("l2_norm", SqlType::Float8, |a, _| Ok(Value::Float8(norm(bytes(&a[0])?)))),
        of_one("l2_normalize", VECTOR, normalize),
        Function::new("subvector", vec![overload(&[VECTOR, SqlType::Int4, SqlType::Int4], VECTOR, subvector)]).udf(),
    ];
    all.extend(Kind::ALL.iter().map(|kind| kind.udf()));
    all.extend([ADD, SUBTRACT, MULTIPLY, CONCATENATE].into_iter().map(pairwise));
    all
}

/// What an operator between vectors calls; `None` where pgvector has none of that name.
pub(super) fn operator(op: &BinaryOperator) -> Option<Arc<ScalarUDF>> {
    Some(match op {
        BinaryOperator::LtDashGt => Kind::L2.udf(),
        BinaryOperator::Spaceship => Kind::Cosine.udf(),
        BinaryOperator::Custom(name) => match name.as_str() {
            "<#>" => Kind::NegativeInner.udf(),
            "<+>" => Kind::L1.udf(),
            _ => return None,
        },
        BinaryOperator::Plus => pairwise(ADD),
        BinaryOperator::Minus => pairwise(SUBTRACT),
        BinaryOperator::Multiply => pairwise(MULTIPLY),
        BinaryOperator::StringConcat => pairwise(CONCATENATE),
        _ => return None,
    })
}

fn bytes(value: &Value) -> SqlResult<&[u8]> {
    match value {
        Value::Bytea(bytes) => Ok(bytes),
        _ => Err(SqlError::internal("a vector is not kept as bytes")),
    }
}

fn differ(left: usize, right: usize) -> SqlError {
    SqlError::new(SqlState::DataException, format!("different vector dimensions {left} and {right}"))
}

fn out_of_range() -> SqlError {
    SqlError::new(SqlState::NumericValueOutOfRange, "value out of range: overflow")
}

fn made(floats: &[f32]) -> SqlResult<Value> {
    if floats.iter().any(|float| float.is_infinite()) {
        return Err(out_of_range());
    }
    vector::encode(floats).map(Value::Bytea)
}

fn norm(of: &[u8]) -> f64 {
    vector::floats(of).map(|x| f64::from(x) * f64::from(x)).sum::<f64>().sqrt()
}

fn normalize(args: &[Value], _: &Call<'_>) -> SqlResult<Value> {
    let of = bytes(&args[0])?;
    let norm = norm(of);
    if norm == 0.0 {
        return Ok(args[0].clone());
    }
    made(&vector::floats(of).map(|x| (f64::from(x) / norm) as f32).collect::<Vec<_>>())
}

/// Places count from 1; what lies outside is left out.
fn subvector(args: &[Value], _: &Call<'_>) -> SqlResult<Value> {
    let of = bytes(&args[0])?;
    let (start, count) = (args[1].as_i64().unwrap_or_default(), args[2].as_i64().unwrap_or_default());
    let end = start.saturating_add(count).clamp(1, vector::dimensions(of) as i64 + 1);
    let start = start.clamp(1, end);
    let (skip, take) = ((start - 1) as usize, (end - start) as usize);
    vector::encode(&vector::floats(of).skip(skip).take(take).collect::<Vec<_>>()).map(Value::Bytea)
}

type Pairwise = (&'static str, Eval);

const ADD: Pairwise = ("vector_add", |a, _| each(a, |x, y| x + y));
const SUBTRACT: Pairwise = ("vector_sub", |a, _| each(a, |x, y| x - y));
const MULTIPLY: Pairwise = ("vector_mul", |a, _| each(a, |x, y| x * y));
const CONCATENATE: Pairwise = ("vector_concat", |a, _| {
    made(&vector::floats(bytes(&a[0])?).chain(vector::floats(bytes(&a[1])?)).collect::<Vec<_>>())
});

fn pairwise((name, eval): Pairwise) -> Arc<ScalarUDF> {
    Function::new(name, vec![overload(&[VECTOR, VECTOR], VECTOR, eval)]).udf()
}

fn each(args: &[Value], of: fn(f32, f32) -> f32) -> SqlResult<Value> {
    let (left, right) = (bytes(&args[0])?, bytes(&args[1])?);
    let (left, right) = (vector::floats(left), vector::floats(right));
    if left.len() != right.len() {
        return Err(differ(left.len(), right.len()));
    }
    made(&left.zip(right).map(|(x, y)| of(x, y)).collect::<Vec<_>>())
}

/// How far two vectors are from each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    L2,
    L1,
    Cosine,
    Inner,
    NegativeInner,
}

impl Kind {
    const ALL: [Kind; 5] = [Kind::L2, Kind::L1, Kind::Cosine, Kind::Inner, Kind::NegativeInner];

    fn name(self) -> &'static str {
        match self {
            Kind::L2 => "l2_distance",
            Kind::L1 => "l1_distance",
            Kind::Cosine => "cosine_distance",
            Kind::Inner => "inner_product",
            Kind::NegativeInner => "vector_negative_inner_product",
        }
    }

    fn udf(self) -> Arc<ScalarUDF> {
        let signature = Signature::user_defined(Volatility::Immutable);
        Arc::new(ScalarUDF::from(Distance { kind: self, signature }))
    }

    fn between(self, left: &[f32], right: impl Iterator<Item = f32>) -> f64 {
        let pairs = left.iter().copied().zip(right);
        match self {
            Kind::L2 => pairs.map(|(x, y)| (x - y) * (x - y)).fold(0.0_f32, |sum, x| sum + x).into(),
            Kind::L1 => f64::from(pairs.map(|(x, y)| (x - y).abs()).sum::<f32>()),
            Kind::Inner => f64::from(pairs.map(|(x, y)| x * y).sum::<f32>()),
            Kind::NegativeInner => -f64::from(pairs.map(|(x, y)| x * y).sum::<f32>()),
            Kind::Cosine => {
                let (dot, own, other) = pairs.fold((0.0_f32, 0.0_f32, 0.0_f32), |(dot, own, other), (x, y)| {
                    (dot + x * y, own + x * x, other + y * y)
                });
                // NaN where a vector has no direction.
                let similarity = f64::from(dot) / (f64::from(own) * f64::from(other)).sqrt();
                1.0 - similarity.clamp(-1.0, 1.0)
            }
        }
    }

    fn finished(self, distance: f64) -> f64 {
        if self == Kind::L2 { distance.sqrt() } else { distance }
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Distance {
    kind: Kind,
    signature: Signature,
}

impl ScalarUDFImpl for Distance {
    fn name(&self) -> &str {
        self.kind.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            [left, right] if [left, right].iter().all(|ty| matches!(ty, DataType::BinaryView | DataType::Null)) => {
                Ok(vec![DataType::BinaryView; 2])
            }
            _ => {
                let names: Vec<_> = types.iter().map(super::function::type_name).collect();
                Err(from_sql(
                    SqlError::new(
                        SqlState::UndefinedFunction,
                        format!("function {}({}) does not exist", self.kind.name(), names.join(", ")),
                    )
                    .hint("It takes two vectors: you might need to add explicit type casts."),
                ))
            }
        }
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.number_rows;
        let (fixed, column, fixed_first) = match args.args.as_slice() {
            [ColumnarValue::Array(left), ColumnarValue::Array(right)] => {
                let (left, right) = (left.as_binary_view(), right.as_binary_view());
                let pairs = left.iter().zip(right.iter());
                let distances = pairs.map(|pair| match pair {
                    (Some(left), Some(right)) => {
                        let left: Vec<f32> = vector::floats(left).collect();
                        self.distance(&left, right).map(Some)
                    }
                    _ => Ok(None),
                });
                let distances = distances.collect::<SqlResult<Float64Array>>().map_err(from_sql)?;
                return Ok(ColumnarValue::Array(Arc::new(distances)));
            }
            // All of the distances are the same in both directions.
            [ColumnarValue::Scalar(fixed), column] => (fixed, column, true),
            [column, ColumnarValue::Scalar(fixed)] => (fixed, column, false),
            _ => return Err(from_sql(SqlError::internal("a distance is between two vectors"))),
        };
        let ScalarValue::BinaryView(Some(fixed)) = fixed else {
            return Ok(ColumnarValue::Array(Arc::new(Float64Array::new_null(rows))));
        };
        let fixed: Vec<f32> = vector::floats(fixed).collect();
        let column = column.to_array(rows)?;
        let distance = |of: &[u8]| match fixed.len() == vector::dimensions(of) {
            true => self.distance(&fixed, of),
            false if fixed_first => Err(differ(fixed.len(), vector::dimensions(of))),
            false => Err(differ(vector::dimensions(of), fixed.len())),
        };
        let distances = column.as_binary_view().iter().map(|of| of.map(distance).transpose());
        let distances = distances.collect::<SqlResult<Float64Array>>().map_err(from_sql)?;
        Ok(ColumnarValue::Array(Arc::new(distances)))
    }
}

impl Distance {
    fn distance(&self, left: &[f32], right: &[u8]) -> SqlResult<f64> {
        let right = vector::floats(right);
        if left.len() != right.len() {
            return Err(differ(left.len(), right.len()));
        }
        Ok(self.kind.finished(self.kind.between(left, right)))
    }
}
