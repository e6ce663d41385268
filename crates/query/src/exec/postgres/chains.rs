//! Long chains of one operator, as trees that are not deep.
//!
//! DataFusion works out names and types of all that stands below a node at each node, so that an expression as deep as it is long
//! takes a time that grows with the third power of its length, and more.

use datafusion::logical_expr::{BinaryExpr, Expr, Operator};

/// `left op right`, where `op` may be read with parentheses around any of its neighbours: `right` comes to the end of the chain
/// that `left` is. What is written first is evaluated first, as before.
pub(super) fn append(left: Expr, op: Operator, right: Expr) -> Expr {
    match left {
        Expr::BinaryExpr(BinaryExpr { left: first, op: of, right: rest })
            if of == op && height(&rest, op) < height(&first, op) =>
        {
            binary(*first, op, append(*rest, op, right))
        }
        left => binary(left, op, right),
    }
}

/// What `op` joins, in this order; `false` where there is nothing.
pub(super) fn joined(terms: impl IntoIterator<Item = Expr>, op: Operator) -> Expr {
    terms.into_iter().reduce(|left, right| append(left, op, right)).unwrap_or_default()
}

fn binary(left: Expr, op: Operator, right: Expr) -> Expr {
    Expr::BinaryExpr(BinaryExpr::new(Box::new(left), op, Box::new(right)))
}

/// How deep a chain is on its left side, which is the deeper one.
fn height(expr: &Expr, op: Operator) -> usize {
    let (mut height, mut at) = (0, expr);
    while let Expr::BinaryExpr(binary) = at
        && binary.op == op
    {
        height += 1;
        at = &binary.left;
    }
    height
}

#[cfg(test)]
mod tests {
    use datafusion::logical_expr::lit;

    use super::*;

    fn depth(expr: &Expr) -> usize {
        match expr {
            Expr::BinaryExpr(binary) => 1 + depth(&binary.left).max(depth(&binary.right)),
            _ => 0,
        }
    }

    fn terms(expr: &Expr, found: &mut Vec<Expr>) {
        match expr {
            Expr::BinaryExpr(binary) => {
                terms(&binary.left, found);
                terms(&binary.right, found);
            }
            term => found.push(term.clone()),
        }
    }

    #[test]
    fn a_long_chain_is_not_deep_and_keeps_its_order() {
        let all: Vec<Expr> = (0..1_000).map(|number: i32| lit(number)).collect();
        let chain = joined(all.clone(), Operator::Or);
        let mut found = Vec::new();
        terms(&chain, &mut found);
        assert_eq!(found, all);
        // By Fibonacci's numbers, not by powers of two: a side counts as full once it is as deep as the other.
        assert_eq!(depth(&chain), 14);
    }

    #[test]
    fn another_operator_begins_another_chain() {
        let or = joined([lit(1), lit(2)], Operator::Or);
        let and = append(or.clone(), Operator::And, lit(3));
        assert_eq!(and, binary(or, Operator::And, lit(3)));
    }
}
