//! Operators and functions of `inet`, `cidr` and hardware addresses. What orders and equals them are the bytes that are kept.

use std::sync::Arc;

use datafusion::logical_expr::ScalarUDF;
use perigee_types::network::{AddressType, Network};
use perigee_types::{SqlError, SqlResult, SqlState, SqlType, Value};
use sqlparser::ast::BinaryOperator;

use super::function::{Call, Eval, Function, Parameter, Returns, overload, overload_of};

const INET: SqlType = SqlType::Address(AddressType::Inet);
const CIDR: SqlType = SqlType::Address(AddressType::Cidr);

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    let of_one = |name: &'static str, returns: SqlType, eval: Eval| {
        Function::new(name, vec![overload(&[INET], returns, eval)]).udf()
    };
    let mut all = vec![
        of_one("host", SqlType::Text, |a, c| Ok(Value::Text(network(a, c, 0)?.address.to_string()))),
        of_one("masklen", SqlType::Int4, |a, c| Ok(Value::Int4(network(a, c, 0)?.bits.into()))),
        of_one("family", SqlType::Int4, |a, c| Ok(Value::Int4(network(a, c, 0)?.family().into()))),
        of_one("network", CIDR, |a, c| Ok(made(network(a, c, 0)?.network()))),
        of_one("broadcast", INET, |a, c| Ok(made(network(a, c, 0)?.broadcast()))),
        of_one("netmask", INET, |a, c| Ok(made(network(a, c, 0)?.netmask()))),
        of_one("hostmask", INET, |a, c| Ok(made(network(a, c, 0)?.hostmask()))),
        Function::new(
            "set_masklen",
            vec![overload_of(
                vec![Parameter::Of(INET), Parameter::Of(SqlType::Int4)],
                Returns::Derived(|types, _| match types.first() {
                    Some(ty) if *ty == CIDR => CIDR,
                    _ => INET,
                }),
                set_masklen,
            )],
        )
        .udf(),
        Function::new(
            "inet_same_family",
            vec![overload(&[INET, INET], SqlType::Bool, |a, c| {
                Ok(Value::Bool(network(a, c, 0)?.family() == network(a, c, 1)?.family()))
            })],
        )
        .udf(),
        Function::new(
            "inet_merge",
            vec![overload(&[INET, INET], CIDR, |a, c| {
                let merged = network(a, c, 0)?.merged(network(a, c, 1)?);
                merged.map(made).ok_or_else(|| invalid("cannot merge addresses from different families"))
            })],
        )
        .udf(),
    ];
    all.extend([SUB, SUBEQ, SUP, SUPEQ, OVERLAP, ADD, SUBTRACT, DISTANCE].iter().map(Operation::udf));
    all
}

/// A function behind an operator.
struct Operation {
    name: &'static str,
    right: SqlType,
    returns: SqlType,
    eval: Eval,
}

impl Operation {
    fn udf(&self) -> Arc<ScalarUDF> {
        Function::new(self.name, vec![overload(&[INET, self.right.clone()], self.returns.clone(), self.eval)]).udf()
    }
}

const fn between(name: &'static str, eval: Eval) -> Operation {
    Operation { name, right: INET, returns: SqlType::Bool, eval }
}

const SUB: Operation = between("network_sub", |a, c| {
    let (left, right) = (network(a, c, 0)?, network(a, c, 1)?);
    Ok(Value::Bool(right.bits < left.bits && right.holds(left)))
});
const SUBEQ: Operation = between("network_subeq", |a, c| Ok(Value::Bool(network(a, c, 1)?.holds(network(a, c, 0)?))));
const SUP: Operation = between("network_sup", |a, c| {
    let (left, right) = (network(a, c, 0)?, network(a, c, 1)?);
    Ok(Value::Bool(left.bits < right.bits && left.holds(right)))
});
const SUPEQ: Operation = between("network_supeq", |a, c| Ok(Value::Bool(network(a, c, 0)?.holds(network(a, c, 1)?))));
const OVERLAP: Operation = between("network_overlap", |a, c| {
    let (left, right) = (network(a, c, 0)?, network(a, c, 1)?);
    Ok(Value::Bool(left.holds(right) || right.holds(left)))
});
const ADD: Operation =
    Operation { name: "inetpl", right: SqlType::Int8, returns: INET, eval: |a, c| moved(a, c, i64::checked_add) };
const SUBTRACT: Operation =
    Operation { name: "inetmi_int8", right: SqlType::Int8, returns: INET, eval: |a, c| moved(a, c, i64::checked_sub) };
const DISTANCE: Operation = Operation {
    name: "inetmi",
    right: INET,
    returns: SqlType::Int8,
    eval: |a, c| {
        let (left, right) = (network(a, c, 0)?, network(a, c, 1)?);
        if left.family() != right.family() {
            return Err(invalid("cannot subtract inet values of different sizes"));
        }
        left.distance(right).map(Value::Int8).ok_or_else(out_of_range)
    },
};

/// What an operator calls between values of these types, and what its sides are where they have no type yet; `None` where none of
/// them is the address of a network, or there is no such operator.
pub(super) fn operator(
    op: &BinaryOperator,
    left: &SqlType,
    right: &SqlType,
) -> Option<(Arc<ScalarUDF>, SqlType, SqlType)> {
    let is_network = |ty: &SqlType| *ty == INET || *ty == CIDR;
    let fits = |ty: &SqlType| is_network(ty) || *ty == SqlType::Unknown;
    if !(is_network(left) || is_network(right)) {
        return None;
    }
    let operation = match op {
        BinaryOperator::Plus if is_network(left) && (right.is_integer() || *right == SqlType::Unknown) => ADD,
        BinaryOperator::Minus if is_network(left) && right.is_integer() => SUBTRACT,
        _ if !(fits(left) && fits(right)) => return None,
        BinaryOperator::Minus => DISTANCE,
        BinaryOperator::PGBitwiseShiftLeft => SUB,
        BinaryOperator::PGBitwiseShiftRight => SUP,
        BinaryOperator::PGOverlap => OVERLAP,
        BinaryOperator::Custom(name) => match name.as_str() {
            "<<=" => SUBEQ,
            ">>=" => SUPEQ,
            _ => return None,
        },
        _ => return None,
    };
    Some((operation.udf(), INET, operation.right))
}

/// An argument. What is kept as bytes may be something else than an address.
fn network(args: &[Value], call: &Call<'_>, at: usize) -> SqlResult<Network> {
    let is_address =
        call.types.get(at).is_none_or(|ty| matches!(ty, SqlType::Address(_) | SqlType::Unknown | SqlType::Text));
    match args.get(at) {
        Some(Value::Bytea(kept)) if is_address => {
            Network::decode(kept).ok_or_else(|| SqlError::internal("an address is not kept as one"))
        }
        _ => {
            let ty = call.types.get(at).map_or("unknown".to_owned(), ToString::to_string);
            Err(SqlError::new(
                SqlState::UndefinedFunction,
                format!("no function of addresses takes a value of type {ty}"),
            ))
        }
    }
}

fn made(network: Network) -> Value {
    Value::Bytea(network.encode())
}

fn invalid(text: impl Into<String>) -> SqlError {
    SqlError::new(SqlState::InvalidParameterValue, text)
}

fn out_of_range() -> SqlError {
    SqlError::new(SqlState::NumericValueOutOfRange, "result is out of range")
}

fn moved(args: &[Value], call: &Call<'_>, by: fn(i64, i64) -> Option<i64>) -> SqlResult<Value> {
    let distance = args.get(1).and_then(Value::as_i64).unwrap_or_default();
    let distance = by(0, distance).ok_or_else(out_of_range)?;
    network(args, call, 0)?.moved(distance).map(made).ok_or_else(out_of_range)
}

fn set_masklen(args: &[Value], call: &Call<'_>) -> SqlResult<Value> {
    let bits = args.get(1).and_then(Value::as_i64).and_then(|bits| i32::try_from(bits).ok()).unwrap_or_default();
    let set = network(args, call, 0)?.with_bits(bits).ok_or_else(|| invalid(format!("invalid mask length: {bits}")))?;
    Ok(made(if call.types.first() == Some(&CIDR) { set.network() } else { set }))
}
