//! A query written for the first look at it, while parameters have no types: where one stands beside an array, or in a function of
//! arrays, its type follows from the others', which DataFusion's planner does not say. There the query gets a comparison
//! instead, with a parameter in it whose number says what its type tells of the real one. No such query is ever run.

use std::ops::ControlFlow;

use perigee_types::SqlType;
use sqlparser::ast::helpers::attached_token::AttachedToken;
use sqlparser::ast::{
    Array, BinaryOperator, CaseWhen, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Query, Value,
    VisitMut, VisitorMut,
};

use super::names;
use super::parameters::{PARAMETERS_MAX, placeholder};
use crate::exec::{ALL, ANY};
use crate::sql::parse::fold;

/// Numbers from here on: the type is that of the elements of parameter `n - ELEMENT`.
const ELEMENT: usize = 100_000;
/// Numbers from here on: the type is an array whose elements have that of parameter `n - ARRAY`.
const ARRAY: usize = 200_000;

/// Where a function of arrays takes what, and what it gives.
struct OfArrays {
    name: &'static str,
    arguments: &'static [Kind],
    returns: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Array,
    Element,
    Number,
    Numbers,
}

const FUNCTIONS: &[OfArrays] = {
    use Kind::{Array, Element, Number, Numbers};
    &[
        OfArrays { name: "array_append", arguments: &[Array, Element], returns: Array },
        OfArrays { name: "array_prepend", arguments: &[Element, Array], returns: Array },
        OfArrays { name: "array_remove", arguments: &[Array, Element], returns: Array },
        OfArrays { name: "array_replace", arguments: &[Array, Element, Element], returns: Array },
        OfArrays { name: "array_cat", arguments: &[Array, Array], returns: Array },
        OfArrays { name: "array_position", arguments: &[Array, Element], returns: Number },
        OfArrays { name: "array_position", arguments: &[Array, Element, Number], returns: Number },
        OfArrays { name: "array_positions", arguments: &[Array, Element], returns: Numbers },
    ]
};

/// The query for the first look; `None` where that is the query itself.
pub(super) fn of(query: &Query) -> Option<Query> {
    let mut probe = Probe { changed: false };
    let mut copy = query.clone();
    let _ = copy.visit(&mut probe);
    probe.changed.then_some(copy)
}

/// The parameter that one of a probe tells of, and the type that follows for it from its own; `None` for a parameter of the
/// statement's, and for what tells nothing.
pub(super) fn told(name: &str, ty: &SqlType) -> Option<(String, SqlType)> {
    let number: usize = name.strip_prefix('$')?.parse().ok()?;
    match number {
        _ if number > ARRAY => match ty {
            SqlType::Array(_) => Some((format!("${}", number - ARRAY), ty.element().clone())),
            _ => None,
        },
        _ if number > ELEMENT => {
            // An array of arrays is an array of more dimensions.
            let of = ty.element().clone();
            Some((format!("${}", number - ELEMENT), SqlType::Array(Box::new(of))))
        }
        _ => None,
    }
}

/// Whether a parameter is one of a probe.
pub(super) fn is_told(name: &str) -> bool {
    name.strip_prefix('$').and_then(|n| n.parse::<usize>().ok()).is_some_and(|n| n > PARAMETERS_MAX)
}

struct Probe {
    changed: bool,
}

impl VisitorMut for Probe {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        let probe = match expr {
            Expr::AnyOp { left, right, .. } | Expr::AllOp { left, right, .. } => quantified(left, right),
            Expr::Function(function) => call(function),
            _ => None,
        };
        if let Some(probe) = probe {
            *expr = probe;
            self.changed = true;
        }
        ControlFlow::Continue(())
    }
}

/// `value op ANY (array)`
fn quantified(value: &Expr, array: &Expr) -> Option<Expr> {
    if matches!(array, Expr::Subquery(_)) {
        return None;
    }
    match (placeholder(value), placeholder(array)) {
        (None, Some(name)) => Some(equal(value.clone(), shifted(name, ELEMENT)?)),
        (Some(name), None) => Some(equal(array.clone(), shifted(name, ARRAY)?)),
        _ => None,
    }
}

fn call(function: &Function) -> Option<Expr> {
    let name = fold(names::last_ident(&function.name).ok()?);
    let FunctionArguments::List(list) = &function.args else { return None };
    let args: Option<Vec<&Expr>> = list
        .args
        .iter()
        .map(|arg| match arg {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr),
            _ => None,
        })
        .collect();
    let args = args?;
    if let ([value, _, array], true) = (args.as_slice(), name == ANY || name == ALL) {
        return quantified(value, array);
    }
    let of = FUNCTIONS.iter().find(|of| of.name == name && of.arguments.len() == args.len())?;
    let polymorphic = || of.arguments.iter().zip(&args).filter(|(kind, _)| matches!(kind, Kind::Array | Kind::Element));
    // What is known is the array that the others go by.
    let (kind, known) = polymorphic().find(|(_, arg)| placeholder(arg).is_none())?;
    let array = match kind {
        Kind::Element => Expr::Array(Array { elem: vec![(*known).clone()], named: true }),
        _ => (*known).clone(),
    };
    let mut condition: Option<Expr> = None;
    for (kind, arg) in polymorphic() {
        let Some(name) = placeholder(arg) else { continue };
        let parameter = match kind {
            Kind::Element => shifted(name, ARRAY)?,
            _ => Expr::value(Value::Placeholder(name.to_owned())),
        };
        let is_like = equal(array.clone(), parameter);
        condition = Some(match condition {
            Some(before) => and(before, is_like),
            None => is_like,
        });
    }
    let one = || Expr::value(Value::Number("1".to_owned(), false));
    let result = match of.returns {
        Kind::Number => one(),
        Kind::Numbers => Expr::Array(Array { elem: vec![one()], named: true }),
        _ => array,
    };
    Some(Expr::Case {
        case_token: AttachedToken::empty(),
        end_token: AttachedToken::empty(),
        operand: None,
        conditions: vec![CaseWhen { condition: condition?, result }],
        else_result: None,
    })
}

fn equal(left: Expr, right: Expr) -> Expr {
    let side = |expr| Box::new(Expr::Nested(Box::new(expr)));
    Expr::Nested(Box::new(Expr::BinaryOp { left: side(left), op: BinaryOperator::Eq, right: side(right) }))
}

fn and(left: Expr, right: Expr) -> Expr {
    Expr::BinaryOp { left: Box::new(left), op: BinaryOperator::And, right: Box::new(right) }
}

/// A parameter of a probe that tells of `name`.
fn shifted(name: &str, by: usize) -> Option<Expr> {
    let number: usize = name.strip_prefix('$')?.parse().ok()?;
    (1..=PARAMETERS_MAX).contains(&number).then(|| Expr::value(Value::Placeholder(format!("${}", number + by))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_tells_of_arrays_and_their_elements() {
        let list = |of: SqlType| SqlType::Array(Box::new(of));
        assert_eq!(told("$100002", &SqlType::Uuid), Some(("$2".to_owned(), list(SqlType::Uuid))));
        assert_eq!(told("$200001", &list(SqlType::Int4)), Some(("$1".to_owned(), SqlType::Int4)));
        assert_eq!(told("$200001", &SqlType::Int4), None);
        assert_eq!(told("$65535", &SqlType::Int4), None);
        assert!(is_told("$100001") && !is_told("$65535"));
    }
}
