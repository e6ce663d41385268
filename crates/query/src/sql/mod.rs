//! SQL text to [`perigee_plan::Plan`].
//!
//! ```text
//! text -- StatementCache: literals lifted by a scanner --> hit: Arc<Prepared> + values
//!           |
//!           +-- miss -- parse --> Statement -- plan --> Arc<Prepared>
//! ```
//!
//! - `parse`: text to statements
//! - [`statement`]: one statement and what it may be
//! - `plan`: statements to plans
//! - [`context`]: what planning asks of a session
//! - [`cache`]: plans by normalized text
//! - [`normalize`]: the scanner that lifts literals

pub mod cache;
pub mod context;
pub mod normalize;
mod parse;
mod plan;
pub mod statement;

pub use crate::pg_catalog::deparse::bound_end;
pub use cache::StatementCache;
pub use context::{PlanContext, TemporarySchema, Uses};
pub(crate) use parse::{PerigeeDialect, fold};
pub use parse::{parse, parse_expression};
pub use perigee_plan::Prepared;
pub(crate) use plan::updatable_columns;
pub use plan::{
    Check, DomainRule, Generated, RowExpression, check_columns, check_text, checks, column_default, generated,
    index_type, maintenance, plan, refresh_rows, renamed_literal, rewritten_value, row_condition, row_expression,
    text_calls,
};
pub use statement::{Ast, Statement};
