//! The common logical plan: what every protocol's statement becomes before anything runs.
//!
//! Plans name catalog objects and carry expressions; they hold no data and no snapshot, so one plan serves many
//! executions with other parameters.
//!
//! - [`point`]: reads and writes of one row by key; they run straight on storage
//! - [`expr`]: the scalar expressions of point plans
//! - [`evaluate`]: their values
//! - [`relational`]: queries and writes that DataFusion evaluates
//! - [`ddl`]: changes of the catalog
//! - [`command`]: transactions, sessions, COPY, EXPLAIN, maintenance

pub mod block;
pub mod command;
pub mod ddl;
pub mod evaluate;
pub mod expr;
pub mod point;
pub mod relational;
pub mod role;

use std::sync::Arc;

use perigee_types::{LogIndex, Oid, SqlType};

pub use command::{Admin, Copy, Explain, FetchDirection, SessionCommand, TransactionCommand};
pub use ddl::Ddl;
pub use evaluate::EvaluationContext;
pub use expr::Expr;
pub use point::Point;
pub use relational::{Query, With, Write};
pub use role::{Need, RoleChange};

/// One statement, ready to run.
#[derive(Clone, Debug)]
pub enum Plan {
    /// One row by key, straight on storage.
    Point(Point),
    /// Anything relational that only reads.
    Query(Query),
    /// Rows or a query feeding a table.
    Write(Write),
    /// A statement behind a WITH whose queries write.
    With(With),
    /// A change of the catalog.
    Ddl(Ddl),
    /// BEGIN, COMMIT, …
    Transaction(TransactionCommand),
    /// SET, SHOW, PREPARE, …
    Session(SessionCommand),
    /// COPY.
    Copy(Copy),
    /// EXPLAIN.
    Explain(Explain),
    /// VACUUM, ANALYZE, CHECKPOINT.
    Admin(Admin),
}

/// A column of a result.
#[derive(Clone, Debug, PartialEq)]
pub struct ResultColumn {
    /// Its name.
    pub name: String,
    /// Its type.
    pub ty: SqlType,
    /// The table column that it shows unchanged: (table, column number).
    pub source: Option<(Oid, u16)>,
    /// An array that PostgreSQL has as int2vector or oidvector, in columns of its catalogs: clients expect these types,
    /// whose text is numbers with blanks between.
    pub vector: bool,
}

impl ResultColumn {
    /// The oid of the type as clients are told.
    #[must_use]
    pub fn type_oid(&self) -> u32 {
        if self.vector { vector_oid(&self.ty) } else { self.ty.oid() }
    }
}

/// The oid of int2vector or oidvector: the form that an array of such numbers has in PostgreSQL's catalogs.
#[must_use]
pub fn vector_oid(array: &SqlType) -> u32 {
    match array {
        SqlType::Array(of) if **of == SqlType::Int2 => 22,
        SqlType::Array(of) if **of == SqlType::Oid => 30,
        other => other.oid(),
    }
}

/// A planned statement: what the protocols describe and the engine runs.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// What to do.
    pub plan: Plan,
    /// Types of the parameters `$1`, `$2`, …
    pub parameters: Vec<SqlType>,
    /// Places of parameters, from 0, that stand where a value of a domain is wanted, with its oid: what clients are told.
    pub parameter_domains: Vec<(usize, Oid)>,
    /// Columns of the result; `None` for statements without one.
    pub columns: Option<Arc<[ResultColumn]>>,
    /// What the current role must be allowed.
    pub needs: Arc<[Need]>,
    /// The catalog that it was planned against; another one makes it stale.
    pub catalog_version: LogIndex,
    /// The command's name in its completion tag, e.g. `SELECT`, `INSERT`, `CREATE TABLE`.
    pub tag: &'static str,
    /// The statement's text.
    pub text: Arc<str>,
}
