//! Operators of bit strings.

use perigee_types::coded::Bits;
use perigee_types::{CodedType, SqlError, SqlResult, SqlState, SqlType, Value};

use super::Operation;
use crate::exec::postgres::function::{Call, Eval, Function, overload};

const BITS: SqlType = SqlType::Coded(CodedType::VarBit(None));
const FIXED: SqlType = SqlType::Coded(CodedType::Bit(None));

pub(super) fn operations() -> Vec<Operation> {
    let two = [FIXED, FIXED];
    let moved = [FIXED, SqlType::Int4];
    vec![
        Operation::new("&", "bitand", two.clone(), FIXED, |a, c| both(a, c, "AND", |left, right| left && right)),
        Operation::new("|", "bitor", two.clone(), FIXED, |a, c| both(a, c, "OR", |left, right| left || right)),
        Operation::new("#", "bitxor", two, FIXED, |a, c| both(a, c, "XOR", |left, right| left != right)),
        Operation::new("||", "bitcat", [BITS, BITS], BITS, |a, c| Ok(made(&bits(a, c, 0)?.joined(&bits(a, c, 1)?)))),
        Operation::new("<<", "bitshiftleft", moved.clone(), FIXED, |a, c| shifted(a, c, 1)),
        Operation::new(">>", "bitshiftright", moved, FIXED, |a, c| shifted(a, c, -1)),
    ]
}

/// How many bits there are, or bytes.
pub(super) fn count_of(name: &str) -> Option<Function> {
    let (name, eval): (&str, Eval) = match name {
        "length" | "character_length" | "char_length" | "bit_length" => {
            ("__bit_length", |a, c| count(bits(a, c, 0)?.count()))
        }
        "octet_length" => ("__bit_octet_length", |a, c| count(bits(a, c, 0)?.bytes().len())),
        _ => return None,
    };
    Some(Function::new(name, vec![overload(&[BITS], SqlType::Int4, eval)]))
}

fn count(count: usize) -> SqlResult<Value> {
    i32::try_from(count).map(Value::Int4).map_err(SqlError::internal)
}

fn bits(args: &[Value], call: &Call<'_>, at: usize) -> SqlResult<Bits> {
    let is_bits = |ty: &SqlType| {
        matches!(ty, SqlType::Coded(CodedType::Bit(_) | CodedType::VarBit(_)) | SqlType::Unknown | SqlType::Text)
    };
    match (args.get(at), call.types.get(at)) {
        (Some(Value::Bytea(kept)), ty) if ty.is_none_or(is_bits) => Ok(Bits::decode(kept)),
        _ => Err(SqlError::new(SqlState::UndefinedFunction, "no function of bits takes a value of another type")),
    }
}

fn made(bits: &Bits) -> Value {
    Value::Bytea(bits.encode())
}

fn both(args: &[Value], call: &Call<'_>, what: &str, of: fn(bool, bool) -> bool) -> SqlResult<Value> {
    let (left, right) = (bits(args, call, 0)?, bits(args, call, 1)?);
    if left.count() != right.count() {
        let message = format!("cannot {what} bit strings of different sizes");
        return Err(SqlError::new(SqlState::StringDataLengthMismatch, message));
    }
    Ok(made(&left.mapped(|at, bit| of(bit, right.get(at)))))
}

/// Moved to the left by as many places as the second argument says, times `sign`.
fn shifted(args: &[Value], call: &Call<'_>, sign: i64) -> SqlResult<Value> {
    let bits = bits(args, call, 0)?;
    let by = args.get(1).and_then(Value::as_i64).unwrap_or_default() * sign;
    let from = |at: usize| usize::try_from(i64::try_from(at).ok()?.checked_add(by)?).ok();
    Ok(made(&bits.mapped(|at, _| from(at).is_some_and(|from| from < bits.count() && bits.get(from)))))
}
