//! Operators and functions of the types that are kept as bytes in a code of their own. What orders and equals them are the bytes.
//!
//! All have one Arrow type: an evaluation asks what its arguments are.

mod bits;
mod hstores;
mod ltrees;
mod moneys;
mod shapes;
mod tids;

use std::sync::Arc;

use datafusion::logical_expr::ScalarUDF;
use perigee_types::{CodedType, SqlError, SqlResult, SqlState, SqlType, Value};
use sqlparser::ast::BinaryOperator;

use super::function::{Call, Eval, Function, overload};

pub(crate) use tids::ROW_TID;

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    let mut all = hstores::functions();
    all.extend(ltrees::functions());
    all.extend(shapes::functions());
    all.push(tids::function());
    all.push(moneys::function());
    all.extend(operations().iter().map(Operation::udf));
    all
}

/// An operator between a type's values and others, and the function behind it.
struct Operation {
    symbol: &'static str,
    name: &'static str,
    left: SqlType,
    right: SqlType,
    returns: SqlType,
    eval: Eval,
}

impl Operation {
    fn new(
        symbol: &'static str,
        name: &'static str,
        [left, right]: [SqlType; 2],
        returns: SqlType,
        eval: Eval,
    ) -> Operation {
        Operation { symbol, name, left, right, returns, eval }
    }

    fn udf(&self) -> Arc<ScalarUDF> {
        let sides = [self.left.clone(), self.right.clone()];
        Function::new(self.name, vec![overload(&sides, self.returns.clone(), self.eval)]).udf()
    }

    fn takes(&self, left: &SqlType, right: &SqlType) -> bool {
        let is = |side: &SqlType, wanted: &SqlType| match (side, wanted) {
            (SqlType::Unknown, _) => true,
            // Both kinds of bits are one here.
            (
                SqlType::Coded(CodedType::Bit(_) | CodedType::VarBit(_)),
                SqlType::Coded(CodedType::Bit(_) | CodedType::VarBit(_)),
            ) => true,
            (SqlType::Varchar(_) | SqlType::Char(_) | SqlType::Name, SqlType::Text) => true,
            (SqlType::Array(side), SqlType::Array(wanted)) if **wanted == SqlType::Text => side.is_string(),
            (side, wanted) if wanted.is_integer() => side.is_integer(),
            (side, SqlType::Float8) => side.is_number() && !side.is_integer(),
            (side, wanted) => side == wanted,
        };
        is(left, &self.left) && is(right, &self.right)
    }
}

fn operations() -> Vec<Operation> {
    let all =
        [hstores::operations(), ltrees::operations(), bits::operations(), shapes::operations(), moneys::operations()];
    all.into_iter().flatten().collect()
}

fn symbol(op: &BinaryOperator) -> Option<&str> {
    Some(match op {
        BinaryOperator::Arrow => "->",
        BinaryOperator::Question => "?",
        BinaryOperator::QuestionAnd => "?&",
        BinaryOperator::QuestionPipe => "?|",
        BinaryOperator::AtArrow => "@>",
        BinaryOperator::ArrowAt => "<@",
        BinaryOperator::StringConcat => "||",
        BinaryOperator::Plus => "+",
        BinaryOperator::Minus => "-",
        BinaryOperator::Multiply => "*",
        BinaryOperator::Divide => "/",
        BinaryOperator::PGRegexMatch => "~",
        BinaryOperator::BitwiseAnd => "&",
        BinaryOperator::BitwiseOr => "|",
        BinaryOperator::BitwiseXor | BinaryOperator::PGBitwiseXor => "#",
        BinaryOperator::PGBitwiseShiftLeft => "<<",
        BinaryOperator::PGBitwiseShiftRight => ">>",
        BinaryOperator::LtDashGt => "<->",
        BinaryOperator::At => "@",
        BinaryOperator::Custom(name) => name,
        _ => return None,
    })
}

/// What an operator calls between values of these types, and what its sides are where they have no type yet; `None` where none of
/// them is of these types, or there is no such operator.
pub(super) fn operator(
    op: &BinaryOperator,
    left: &SqlType,
    right: &SqlType,
) -> Option<(Arc<ScalarUDF>, SqlType, SqlType)> {
    let is_coded = |ty: &SqlType| matches!(ty, SqlType::Coded(_));
    if !is_coded(left) && !is_coded(right) {
        return None;
    }
    let symbol = symbol(op)?;
    let found = operations().into_iter().find(|known| known.symbol == symbol && known.takes(left, right))?;
    Some((found.udf(), found.left.clone(), found.right.clone()))
}

/// The function of bits behind one of texts and bytes that counts: `length` and its like.
pub(super) fn count_of_bits(name: &str) -> Option<Arc<ScalarUDF>> {
    bits::count_of(name).map(Function::udf)
}

/// The bytes of an argument that must be of a type, whatever its length.
fn kept<'a>(args: &'a [Value], call: &Call<'_>, at: usize, ty: CodedType) -> SqlResult<&'a [u8]> {
    let is_of = |given: &SqlType| match given {
        SqlType::Coded(of) => of.without_modifier() == ty,
        SqlType::Unknown | SqlType::Text => true,
        _ => false,
    };
    match (args.get(at), call.types.get(at)) {
        (Some(Value::Bytea(kept)), given) if given.is_none_or(is_of) => Ok(kept),
        (_, given) => {
            let given = given.map_or_else(|| "unknown".to_owned(), ToString::to_string);
            let message = format!("no function of type {} takes a value of type {given}", ty.name());
            Err(SqlError::new(SqlState::UndefinedFunction, message))
        }
    }
}

/// The text of an argument.
fn text(args: &[Value], at: usize) -> &str {
    args.get(at).and_then(Value::as_str).unwrap_or_default()
}

/// The texts of an array.
fn texts(args: &[Value], at: usize) -> Vec<Option<&str>> {
    match args.get(at) {
        Some(Value::Array(items)) => items.iter().map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

fn text_or_null(text: Option<&str>) -> Value {
    text.map_or(Value::Null, |text| Value::Text(text.to_owned()))
}
