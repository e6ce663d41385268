//! Scalar expressions of point plans, evaluated over one row without DataFusion.
//!
//! Everything is typed at planning: both sides of an operation have the type that [`Expr::Binary`] names, casts are
//! explicit. What cannot be written so is planned as a [`crate::Query`] or [`crate::Write`] instead.

use std::fmt;

use perigee_types::{Oid, SqlType, Value};

/// An operator over two values of one type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// `+`
    Add,
    /// `-`
    Subtract,
    /// `*`
    Multiply,
    /// `/`
    Divide,
    /// `%`
    Modulo,
    /// `||`
    Concat,
    /// `=`
    Eq,
    /// `<>`
    NotEq,
    /// `<`
    Lt,
    /// `<=`
    LtEq,
    /// `>`
    Gt,
    /// `>=`
    GtEq,
    /// `AND`, three-valued
    And,
    /// `OR`, three-valued
    Or,
}

/// A scalar expression.
#[derive(Clone, Debug, PartialEq)]
pub enum Expr {
    /// The row's value at a place in the table's columns.
    Column(usize),
    /// Parameter, from 0.
    Parameter(usize),
    /// A constant.
    Literal(Value),
    /// `left operator right`, both of type `ty` (for AND, OR and comparisons: the type compared).
    Binary {
        /// Left side.
        left: Box<Expr>,
        /// What to do.
        operator: Operator,
        /// Right side.
        right: Box<Expr>,
        /// Type of both sides.
        ty: SqlType,
    },
    /// `NOT`
    Not(Box<Expr>),
    /// `-`
    Negate(Box<Expr>),
    /// `IS NULL`
    IsNull(Box<Expr>),
    /// `IS NOT NULL`
    IsNotNull(Box<Expr>),
    /// `COALESCE`
    Coalesce(Vec<Expr>),
    /// A cast, with PostgreSQL's rules and errors.
    Cast {
        /// What to cast.
        from: Box<Expr>,
        /// Its type.
        from_type: SqlType,
        /// The wanted type.
        to: SqlType,
        /// Written by the user (`x::varchar(3)` cuts), else an assignment (too long is 22001).
        explicit: bool,
    },
    /// A cast to the type of a key column for a lookup: NULL, which finds nothing, where no value of that type equals it.
    KeyCast {
        /// What to cast.
        from: Box<Expr>,
        /// Its type.
        from_type: SqlType,
        /// The column's type.
        to: SqlType,
    },
    /// `now()`, `CURRENT_TIMESTAMP`: the transaction's time, as timestamptz.
    TransactionTime,
    /// `statement_timestamp()`
    StatementTime,
    /// `nextval` of a sequence.
    NextValue(Oid),
    /// `gen_random_uuid()`
    RandomUuid,
}

impl fmt::Display for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Operator::Add => "+",
            Operator::Subtract => "-",
            Operator::Multiply => "*",
            Operator::Divide => "/",
            Operator::Modulo => "%",
            Operator::Concat => "||",
            Operator::Eq => "=",
            Operator::NotEq => "<>",
            Operator::Lt => "<",
            Operator::LtEq => "<=",
            Operator::Gt => ">",
            Operator::GtEq => ">=",
            Operator::And => "AND",
            Operator::Or => "OR",
        })
    }
}

impl Expr {
    /// Tells `each` the places of the columns that it names.
    pub fn visit_columns(&self, each: &mut impl FnMut(usize)) {
        match self {
            Expr::Column(place) => each(*place),
            Expr::Binary { left, right, .. } => {
                left.visit_columns(each);
                right.visit_columns(each);
            }
            Expr::Not(e) | Expr::Negate(e) | Expr::IsNull(e) | Expr::IsNotNull(e) => e.visit_columns(each),
            Expr::Coalesce(list) => list.iter().for_each(|e| e.visit_columns(each)),
            Expr::Cast { from, .. } | Expr::KeyCast { from, .. } => from.visit_columns(each),
            Expr::Parameter(_)
            | Expr::Literal(_)
            | Expr::TransactionTime
            | Expr::StatementTime
            | Expr::NextValue(_)
            | Expr::RandomUuid => {}
        }
    }

    /// Whether it names a column of the row.
    #[must_use]
    pub fn has_column(&self) -> bool {
        match self {
            Expr::Column(_) => true,
            Expr::Binary { left, right, .. } => left.has_column() || right.has_column(),
            Expr::Not(e) | Expr::Negate(e) | Expr::IsNull(e) | Expr::IsNotNull(e) => e.has_column(),
            Expr::Coalesce(list) => list.iter().any(Expr::has_column),
            Expr::Cast { from, .. } | Expr::KeyCast { from, .. } => from.has_column(),
            Expr::Parameter(_)
            | Expr::Literal(_)
            | Expr::TransactionTime
            | Expr::StatementTime
            | Expr::NextValue(_)
            | Expr::RandomUuid => false,
        }
    }
}
