//! The words that every layer shares: ids, values, SQL types, table schemas, the catalog, errors.
//!
//! Nothing here does I/O, reads a clock or knows a protocol.
//!
//! - [`ids`]: log index, term, object ids, row version numbers, hybrid logical time
//! - [`sql_type`]: SQL types and the Arrow type each one is stored as
//! - [`enum_type`]: enumerated types
//! - [`interval_type`]: intervals of fields and digits
//! - [`value`]: one datum outside of Arrow
//! - [`key`]: order-preserving key encoding
//! - [`range`], [`multirange`]: ranges
//! - [`network`]: internet and hardware addresses
//! - [`partition`]: which partition a row belongs to
//! - [`row`]: compact row encoding, as it stands in the log
//! - [`acl`]: privileges on objects
//! - [`bucket`]: ranges of time
//! - [`rights`]: what a role may do
//! - [`catalog`]: schemas, tables, indexes, sequences, views, roles, and their versions
//! - [`opaque`]: where constants and comments of a text of SQL end
//! - [`text`]: the text form of values, in and out
//! - [`error`]: SQLSTATE and the error that reaches a client

pub mod acl;
pub mod bucket;
pub mod catalog;
pub mod coded;
pub mod composite;
pub mod enum_type;
pub mod error;
pub mod ids;
pub mod interval_type;
pub mod key;
pub mod multirange;
pub mod network;
pub mod numeric;
pub mod opaque;
pub mod partition;
pub mod range;
mod range_type;
pub mod rights;
pub mod row;
pub mod sql_type;
pub mod text;
pub mod timetz;
pub mod value;
pub mod vector;

pub use coded::CodedType;
pub use composite::CompositeType;
pub use enum_type::EnumType;
pub use error::{SqlError, SqlResult, SqlState};
pub use ids::{Hlc, IndexId, LogIndex, Oid, TableId, TenantId, Term, TransactionId, Vid};
pub use interval_type::{IntervalFields, IntervalType};
pub use sql_type::SqlType;
pub use value::{Interval, Row, Value};
