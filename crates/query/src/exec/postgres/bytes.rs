//! Functions on bytea, and the binary forms of numbers.

use std::sync::Arc;

use datafusion::logical_expr::ScalarUDF;
use perigee_types::{SqlError, SqlResult, SqlState, SqlType, Value};

use super::function::{Call, Eval, Function, overload};

use SqlType as T;

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    let of = |name: &str, parameters: &[T], returns: T, eval: Eval| {
        Function::new(name, vec![overload(parameters, returns, eval)]).udf()
    };
    vec![
        of("get_bit", &[T::Bytea, T::Int8], T::Int4, |a, _| {
            let (byte, bit) = bit_place(&a[0], &a[1])?;
            Ok(Value::Int4(i32::from(bytes(&a[0])[byte] >> bit & 1)))
        }),
        of("set_bit", &[T::Bytea, T::Int8, T::Int4], T::Bytea, |a, _| {
            let (byte, bit) = bit_place(&a[0], &a[1])?;
            let mut bytes = bytes(&a[0]).to_vec();
            match a[2].as_i64() {
                Some(0) => bytes[byte] &= !(1 << bit),
                Some(1) => bytes[byte] |= 1 << bit,
                _ => return Err(SqlError::new(SqlState::InvalidParameterValue, "new bit must be 0 or 1")),
            }
            Ok(Value::Bytea(bytes))
        }),
        of("get_byte", &[T::Bytea, T::Int4], T::Int4, |a, _| {
            Ok(Value::Int4(i32::from(bytes(&a[0])[place(&a[1], bytes(&a[0]).len() as i64)?])))
        }),
        of("set_byte", &[T::Bytea, T::Int4, T::Int4], T::Bytea, |a, _| {
            let mut bytes = bytes(&a[0]).to_vec();
            let at = place(&a[1], bytes.len() as i64)?;
            // As in PostgreSQL, the lowest eight bits count.
            bytes[at] = a[2].as_i64().unwrap_or(0).to_le_bytes()[0];
            Ok(Value::Bytea(bytes))
        }),
        of("bit_count", &[T::Bytea], T::Int8, |a, _| {
            Ok(Value::Int8(bytes(&a[0]).iter().map(|b| i64::from(b.count_ones())).sum()))
        }),
        Function::new("gen_random_bytes", vec![overload(&[T::Int4], T::Bytea, random)]).volatile().udf(),
        of("float4send", &[T::Float4], T::Bytea, send),
        of("float8send", &[T::Float8], T::Bytea, send),
        of("int2send", &[T::Int2], T::Bytea, send),
        of("int4send", &[T::Int4], T::Bytea, send),
        of("int8send", &[T::Int8], T::Bytea, send),
    ]
}

fn bytes(value: &Value) -> &[u8] {
    match value {
        Value::Bytea(bytes) => bytes,
        _ => &[],
    }
}

fn place(index: &Value, length: i64) -> SqlResult<usize> {
    let index = index.as_i64().unwrap_or(-1);
    match usize::try_from(index) {
        Ok(at) if index < length => Ok(at),
        _ => {
            let last = length - 1;
            let message = format!("index {index} out of valid range, 0..{last}");
            Err(SqlError::new(SqlState::ArraySubscriptError, message))
        }
    }
}

/// The byte, and the bit in it from its low end.
fn bit_place(value: &Value, index: &Value) -> SqlResult<(usize, usize)> {
    let at = place(index, bytes(value).len() as i64 * 8)?;
    Ok((at / 8, at % 8))
}

/// `gen_random_bytes` of pgcrypto.
fn random(args: &[Value], _: &Call<'_>) -> SqlResult<Value> {
    match args[0].as_i64() {
        Some(count @ 1..=1024) => Ok(Value::Bytea((0..count).map(|_| rand::random()).collect())),
        _ => Err(SqlError::new(SqlState::InvalidParameterValue, "Length not in range")),
    }
}

fn send(args: &[Value], _: &Call<'_>) -> SqlResult<Value> {
    Ok(Value::Bytea(match &args[0] {
        Value::Float4(v) => v.to_be_bytes().to_vec(),
        Value::Float8(v) => v.to_be_bytes().to_vec(),
        Value::Int2(v) => v.to_be_bytes().to_vec(),
        Value::Int4(v) => v.to_be_bytes().to_vec(),
        Value::Int8(v) => v.to_be_bytes().to_vec(),
        _ => return Ok(Value::Null),
    }))
}
