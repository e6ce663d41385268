//! One statement of a client's text.

use std::sync::Arc;

use perigee_plan::Prepared;
use perigee_types::{SqlError, SqlResult, Value};

use super::context::PlanContext;

/// One statement of a text.
#[derive(Clone, Debug)]
pub struct Statement {
    /// Its own text, without the semicolon.
    pub text: Arc<str>,
    /// What the parser made of it.
    pub ast: Ast,
    /// Literals that were lifted to parameters.
    pub literals: Vec<Value>,
}

/// What the parser made of a statement.
#[derive(Clone, Debug, PartialEq)]
pub enum Ast {
    /// What sqlparser knows.
    Sql(Box<sqlparser::ast::Statement>),
}

/// Splits and parses a client's text. An empty text or one of comments alone has no statements.
///
/// # Errors
/// `42601` with the place of the error.
pub fn parse(sql: &str) -> SqlResult<Vec<Statement>> {
    let _ = sql;
    Err(SqlError::unsupported("SQL"))
}

/// Plans one statement.
///
/// # Errors
/// What PostgreSQL's analysis would refuse.
pub fn plan(statement: &Statement, context: &PlanContext) -> SqlResult<Arc<Prepared>> {
    let _ = (statement, context);
    Err(SqlError::unsupported("SQL"))
}
