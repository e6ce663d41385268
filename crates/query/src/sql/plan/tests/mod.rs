//! Plans of statements over a small catalog.

mod ddl;
mod errors;
pub(in crate::sql) mod fixture;
mod point;
mod relational;

use fixture::Fixture;
