//! Scalar expressions of point plans, evaluated over one row without DataFusion.
//!
//! Everything is typed at planning: both sides of an operation have the type that [`Expr::Binary`] names, casts are
//! explicit. What cannot be written so is planned as a [`crate::Query`] or [`crate::Write`] instead.

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
    /// `now()`, `CURRENT_TIMESTAMP`: the transaction's time, as timestamptz.
    TransactionTime,
    /// `statement_timestamp()`
    StatementTime,
    /// `nextval` of a sequence.
    NextValue(Oid),
    /// `gen_random_uuid()`
    RandomUuid,
}
