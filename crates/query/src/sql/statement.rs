//! One statement of a client's text.

use std::sync::Arc;

use perigee_plan::command::CopyKind;
use perigee_plan::command::LockMode;
use perigee_plan::ddl::{DatabaseChange, SequenceClauses};
use perigee_plan::role::RoleName;
use perigee_plan::{RoleChange, SessionCommand, TransactionCommand};
use perigee_types::acl::AclKind;
use perigee_types::catalog::{Parallel, Volatility};
use perigee_types::enum_type::EnumPlace;
use perigee_types::{SqlError, Value};
use sqlparser::ast::{DataType, Expr, ForValues, Ident, ObjectName, Query, SetExpr};

/// One statement of a text.
#[derive(Clone, Debug)]
pub struct Statement {
    /// Its own text, without the semicolon.
    pub text: Arc<str>,
    /// Where it starts in the client's text, in characters: to be added to the positions of errors.
    pub offset: u32,
    /// What the parser made of it.
    pub ast: Ast,
    /// Literals that were lifted to parameters.
    pub literals: Vec<Value>,
}

impl Statement {
    /// Whether it only reads tables and keys, as far as its text says: what functions do is not looked at.
    #[must_use]
    pub fn reads(&self) -> bool {
        match &self.ast {
            Ast::Sql(statement) => match &**statement {
                sqlparser::ast::Statement::Query(query) => reads(query),
                _ => false,
            },
            Ast::Session(SessionCommand::Show(_) | SessionCommand::ShowAll) => true,
            Ast::Explain { statement, .. } => statement.reads(),
            _ => false,
        }
    }

    /// Whether it is about settings of Perigee's own alone.
    #[must_use]
    pub fn sets_own(&self) -> bool {
        let own = |name: &str| name.to_ascii_lowercase().starts_with("perigee.");
        match &self.ast {
            Ast::Session(SessionCommand::Set { name, local, .. }) => own(name) && !local,
            Ast::Session(SessionCommand::Reset(Some(name)) | SessionCommand::Show(name)) => own(name),
            _ => false,
        }
    }

    /// Whether it is COMMIT.
    #[must_use]
    pub fn commits(&self) -> bool {
        matches!(&self.ast, Ast::Transaction(TransactionCommand::Commit { .. }))
    }

    /// Whether it is ROLLBACK.
    #[must_use]
    pub fn rolls_back(&self) -> bool {
        matches!(&self.ast, Ast::Transaction(TransactionCommand::Rollback { .. }))
    }
}

fn reads(query: &Query) -> bool {
    fn body_reads(body: &SetExpr) -> bool {
        match body {
            SetExpr::Select(select) => select.into.is_none(),
            SetExpr::Query(query) => reads(query),
            SetExpr::SetOperation { left, right, .. } => body_reads(left) && body_reads(right),
            SetExpr::Values(_) | SetExpr::Table(_) => true,
            _ => false,
        }
    }
    let with = query.with.as_ref().is_none_or(|with| with.cte_tables.iter().all(|table| reads(&table.query)));
    with && query.locks.is_empty() && body_reads(&query.body)
}

/// What the parser made of a statement.
#[derive(Clone, Debug)]
pub enum Ast {
    /// What sqlparser reads as PostgreSQL does.
    Sql(Box<sqlparser::ast::Statement>),
    /// CREATE TABLE with what sqlparser does not read, CREATE MATERIALIZED VIEW … WITH NO DATA
    CreateTable {
        /// The rest of the statement.
        statement: Box<sqlparser::ast::Statement>,
        /// Not WITH NO DATA.
        with_data: bool,
        /// LIKE among its columns.
        likes: Vec<LikeClause>,
    },
    /// CREATE SEQUENCE
    CreateSequence(Box<SequenceStatement>),
    /// ALTER SEQUENCE, INDEX, VIEW, TABLE
    Alter(Box<AlterStatement>),
    /// LOCK TABLE
    Lock {
        /// The tables.
        tables: Vec<ObjectName>,
        /// Its mode.
        mode: LockMode,
        /// NOWAIT
        nowait: bool,
    },
    /// SET CONSTRAINTS
    SetConstraints {
        /// The constraints; `None` for ALL.
        names: Option<Vec<ObjectName>>,
        /// DEFERRED
        deferred: bool,
    },
    /// REINDEX; the table or index, `None` for a schema or database
    Reindex {
        /// INDEX (else TABLE).
        index: bool,
        /// Its name.
        name: Option<ObjectName>,
    },
    /// BEGIN, COMMIT, …
    Transaction(TransactionCommand),
    /// SET, SHOW, RESET, DISCARD, DEALLOCATE, FETCH, MOVE, CLOSE
    Session(SessionCommand),
    /// PREPARE
    Prepare {
        /// Its name.
        name: String,
        /// Declared parameter types.
        parameters: Vec<DataType>,
        /// The statement to prepare.
        statement: Box<Statement>,
    },
    /// EXECUTE
    Execute {
        /// Its name.
        name: String,
        /// The parameters, expressions without columns.
        parameters: Vec<Expr>,
    },
    /// DECLARE … CURSOR
    Declare {
        /// Its name.
        name: String,
        /// SCROLL
        scroll: Option<bool>,
        /// WITH HOLD
        hold: bool,
        /// The query.
        statement: Box<Statement>,
    },
    /// CREATE TYPE … AS ENUM
    CreateType {
        /// Its name.
        name: ObjectName,
        /// Its labels, in order.
        labels: Vec<String>,
    },
    /// CREATE TYPE … AS (…)
    CreateCompositeType {
        /// Its name.
        name: ObjectName,
        /// Names and types of its attributes.
        attributes: Vec<(Ident, DataType)>,
    },
    /// CREATE TYPE … AS RANGE
    CreateRangeType {
        /// Its name.
        name: ObjectName,
        /// What is said of it; names too are read as types are.
        options: Vec<(Ident, DataType)>,
    },
    /// CREATE DOMAIN, read as a table of one column, `value`.
    CreateDomain(Box<sqlparser::ast::Statement>),
    /// DROP DOMAIN
    DropDomain {
        /// Their names.
        names: Vec<ObjectName>,
        /// IF EXISTS
        if_exists: bool,
        /// CASCADE
        cascade: bool,
    },
    /// CREATE FUNCTION
    CreateFunction(Box<FunctionStatement>),
    /// DROP FUNCTION
    DropFunctions {
        /// Their names, each with the types of its parameters where they were written.
        names: Vec<(ObjectName, Option<Vec<DataType>>)>,
        /// IF EXISTS
        if_exists: bool,
        /// CASCADE
        cascade: bool,
    },
    /// ALTER FUNCTION, COMMENT ON FUNCTION
    AlterFunction {
        /// Its name.
        name: ObjectName,
        /// The types of its parameters, where they were written.
        parameters: Option<Vec<DataType>>,
        /// What to do.
        action: AlterFunctionAction,
    },
    /// ALTER TYPE, ALTER DOMAIN
    AlterType {
        /// The type.
        name: ObjectName,
        /// Whether it must be a domain.
        domain: bool,
        /// What to do.
        action: Box<AlterTypeAction>,
    },
    /// ALTER TABLE that changes which tables belong to which
    Lineage(Lineage),
    /// COPY
    Copy(Box<CopyStatement>),
    /// EXPLAIN
    Explain {
        /// Run it and show rows and times.
        analyze: bool,
        /// VERBOSE
        verbose: bool,
        /// FORMAT JSON
        json: bool,
        /// What to explain.
        statement: Box<Statement>,
    },
    /// VACUUM
    Vacuum {
        /// The tables; empty: all.
        tables: Vec<ObjectName>,
        /// Also ANALYZE.
        analyze: bool,
    },
    /// ANALYZE. Empty: all tables.
    Analyze(Vec<ObjectName>),
    /// CHECKPOINT
    Checkpoint,
    /// `CALL perigee.migrate('table', 'cold')`
    Migrate(ObjectName),
    /// `CALL perigee.compact('table')`
    Compact(ObjectName),
    /// `CALL perigee.export('table')`
    Export(ObjectName),
    /// `CALL perigee.collect_cold_files()`
    CollectCold,
    /// `CALL perigee.backup(['url'])`
    Backup(Option<String>),
    /// REFRESH MATERIALIZED VIEW
    Refresh {
        /// The view.
        name: ObjectName,
        /// CONCURRENTLY
        concurrently: bool,
        /// Not WITH NO DATA.
        with_data: bool,
    },
    /// CREATE, ALTER and DROP ROLE, GRANT and REVOKE of membership, …
    Role(RoleChange),
    /// CREATE, ALTER, DROP DATABASE
    Database(DatabaseChange),
    /// GRANT and REVOKE of privileges
    Privileges(Box<PrivilegeStatement>),
    /// A command that never succeeds here: its error comes when it is planned.
    Refused(SqlError),
    /// A command of PostgreSQL that Perigee does not have: 0A000 when planned.
    Unsupported(&'static str),
}

/// CREATE FUNCTION as written.
#[derive(Clone, Debug)]
pub struct FunctionStatement {
    /// OR REPLACE
    pub replace: bool,
    /// Its name.
    pub name: ObjectName,
    /// Its parameters, in order.
    pub parameters: Vec<ParameterClause>,
    /// RETURNS; `None` without it.
    pub returns: Option<ReturnsClause>,
    /// LANGUAGE
    pub language: Option<String>,
    /// The text behind AS.
    pub body: Option<String>,
    /// IMMUTABLE, STABLE, VOLATILE
    pub volatility: Volatility,
    /// STRICT
    pub strict: bool,
    /// PARALLEL
    pub parallel: Parallel,
    /// A clause that Perigee does not have.
    pub unsupported: Option<&'static str>,
}

/// ALTER FUNCTION as written.
#[derive(Clone, Debug)]
pub enum AlterFunctionAction {
    /// RENAME TO
    Rename(Ident),
    /// SET SCHEMA
    SetSchema(Ident),
    /// OWNER TO; `None` for the current role.
    Owner(Option<Ident>),
    /// COMMENT ON FUNCTION
    Comment(Option<String>),
}

/// A parameter in CREATE FUNCTION.
#[derive(Clone, Debug)]
pub struct ParameterClause {
    /// Its name, where it has one.
    pub name: Option<Ident>,
    /// Its type.
    pub data_type: DataType,
    /// DEFAULT
    pub default: Option<Expr>,
}

/// RETURNS in CREATE FUNCTION.
#[derive(Clone, Debug)]
pub enum ReturnsClause {
    /// A type.
    Value(DataType),
    /// SETOF a type.
    Set(DataType),
    /// TABLE (name type, …)
    Table(Vec<(Ident, DataType)>),
}

/// ALTER TYPE as written.
#[derive(Clone, Debug)]
pub enum AlterTypeAction {
    /// ADD VALUE
    AddValue {
        /// The label.
        label: String,
        /// IF NOT EXISTS
        if_not_exists: bool,
        /// Where it goes.
        place: EnumPlace,
    },
    /// RENAME VALUE
    RenameValue {
        /// The label as it is.
        from: String,
        /// The label as it becomes.
        to: String,
    },
    /// RENAME TO
    Rename(Ident),
    /// SET SCHEMA
    SetSchema(Ident),
    /// OWNER TO; `None` for the current role.
    Owner(Option<Ident>),
    /// SET DEFAULT, DROP DEFAULT
    SetDefault(Option<Expr>),
    /// SET NOT NULL, DROP NOT NULL
    SetNotNull(bool),
    /// ADD CHECK
    AddCheck(Option<Ident>, Expr),
    /// DROP CONSTRAINT, and whether it says IF EXISTS
    DropConstraint(Ident, bool),
    /// RENAME CONSTRAINT
    RenameConstraint(Ident, Ident),
}

/// GRANT or REVOKE of privileges, as written.
#[derive(Clone, Debug)]
pub struct PrivilegeStatement {
    /// REVOKE
    pub revoke: bool,
    /// Names of privileges, each with the columns listed behind it.
    pub items: Vec<(String, Vec<String>)>,
    /// On what.
    pub target: PrivilegeTarget,
    /// To or from whom.
    pub grantees: Vec<RoleName>,
    /// WITH GRANT OPTION; of REVOKE: GRANT OPTION FOR.
    pub option: bool,
    /// CASCADE
    pub cascade: bool,
}

/// What GRANT and REVOKE name behind ON.
#[derive(Clone, Debug)]
pub enum PrivilegeTarget {
    /// Tables and views.
    Tables(Vec<ObjectName>),
    /// Sequences.
    Sequences(Vec<ObjectName>),
    /// Schemas.
    Schemas(Vec<String>),
    /// Databases.
    Databases(Vec<String>),
    /// ALL TABLES IN SCHEMA
    AllTables(Vec<String>),
    /// ALL SEQUENCES IN SCHEMA
    AllSequences(Vec<String>),
    /// Functions, with the types of their parameters where they are written.
    Functions(Vec<(ObjectName, Option<Vec<DataType>>)>),
    /// ALL FUNCTIONS (or ROUTINES) IN SCHEMA
    AllFunctions(Vec<String>),
    /// ALL PROCEDURES IN SCHEMA, where there are none
    AllProcedures(Vec<String>),
    /// ALTER DEFAULT PRIVILEGES: objects that are to come.
    New {
        /// Who will make them; empty: the current role.
        roles: Vec<RoleName>,
        /// Where; empty: anywhere.
        schemas: Vec<String>,
        /// What kind.
        kind: AclKind,
    },
}

/// ALTER TABLE that changes whose partition a table is, or from which it inherits.
#[derive(Clone, Debug)]
pub struct Lineage {
    /// The table.
    pub table: ObjectName,
    /// IF EXISTS
    pub if_exists: bool,
    /// What to do.
    pub change: LineageChange,
}

/// What a [`Lineage`] does.
#[derive(Clone, Debug)]
pub enum LineageChange {
    /// ATTACH PARTITION
    Attach {
        /// The partition to be.
        child: ObjectName,
        /// Which rows it takes.
        bound: ForValues,
    },
    /// DETACH PARTITION
    Detach {
        /// The partition.
        child: ObjectName,
    },
    /// INHERIT
    Inherit {
        /// The parent.
        parent: ObjectName,
    },
    /// NO INHERIT
    NoInherit {
        /// The parent.
        parent: ObjectName,
    },
}

/// What COPY reads or writes.
#[derive(Clone, Debug)]
pub enum CopyTarget {
    /// A table, and the columns listed.
    Table(ObjectName, Vec<Ident>),
    /// A query.
    Query(Box<Query>),
}

/// COPY as written.
#[derive(Clone, Debug)]
pub struct CopyStatement {
    /// What it reads or writes.
    pub target: CopyTarget,
    /// FROM STDIN (else TO STDOUT).
    pub from: bool,
    /// Its options.
    pub options: CopyOptions,
    /// WHERE, of COPY FROM.
    pub filter: Option<Expr>,
}

/// Options of COPY; `None` leaves the format's default.
#[derive(Clone, Debug, Default)]
pub struct CopyOptions {
    /// FORMAT
    pub kind: Option<CopyKind>,
    /// DELIMITER
    pub delimiter: Option<String>,
    /// NULL
    pub null: Option<String>,
    /// HEADER
    pub header: bool,
    /// QUOTE
    pub quote: Option<String>,
    /// ESCAPE
    pub escape: Option<String>,
    /// FORCE_QUOTE
    pub force_quote: Option<CopyColumns>,
    /// FORCE_NOT_NULL
    pub force_not_null: Option<CopyColumns>,
    /// FORCE_NULL
    pub force_null: Option<CopyColumns>,
}

/// Columns named in an option of COPY.
#[derive(Clone, Debug)]
pub enum CopyColumns {
    /// `*`
    All,
    /// These.
    Some(Vec<Ident>),
}

/// LIKE among the columns of CREATE TABLE.
#[derive(Clone, Debug)]
pub struct LikeClause {
    /// How many columns stand before it.
    pub at: usize,
    /// The relation.
    pub name: ObjectName,
    /// INCLUDING (else EXCLUDING) and what, in lower case.
    pub options: Vec<(bool, String)>,
}

/// CREATE SEQUENCE as written.
#[derive(Clone, Debug)]
pub struct SequenceStatement {
    /// TEMPORARY
    pub temporary: bool,
    /// IF NOT EXISTS
    pub if_not_exists: bool,
    /// Its name.
    pub name: ObjectName,
    /// All but OWNED BY.
    pub clauses: SequenceClauses,
    /// OWNED BY; `Some(None)`: NONE
    pub owned_by: Option<Option<ObjectName>>,
}

/// ALTER … of a relation as written.
#[derive(Clone, Debug)]
pub struct AlterStatement {
    /// `SEQUENCE`, `INDEX`, `VIEW` or `TABLE`
    pub kind: &'static str,
    /// IF EXISTS
    pub if_exists: bool,
    /// Its name.
    pub name: ObjectName,
    /// What to do.
    pub action: AlterAction,
}

/// What ALTER does to a relation.
#[derive(Clone, Debug)]
pub enum AlterAction {
    /// RENAME TO
    Rename(String),
    /// RENAME COLUMN
    RenameColumn(String, String),
    /// SET SCHEMA
    SetSchema(String),
    /// OWNER TO
    Owner(RoleName),
    /// Clauses of ALTER SEQUENCE, and OWNED BY
    Sequence(SequenceClauses, Option<Option<ObjectName>>),
    /// ATTACH PARTITION of an index
    AttachIndex(ObjectName),
    /// ALTER COLUMN … ADD GENERATED … AS IDENTITY
    AddIdentity {
        /// The column.
        column: String,
        /// ALWAYS, not BY DEFAULT
        always: bool,
        /// Its sequence.
        clauses: SequenceClauses,
    },
    /// ALTER COLUMN … SET GENERATED and clauses of its sequence
    SetIdentity {
        /// The column.
        column: String,
        /// ALWAYS or BY DEFAULT
        always: Option<bool>,
        /// Its sequence.
        clauses: SequenceClauses,
    },
    /// ALTER COLUMN … DROP EXPRESSION
    DropExpression {
        /// The column.
        column: String,
        /// IF EXISTS
        if_exists: bool,
    },
    /// ALTER COLUMN … DROP IDENTITY
    DropIdentity {
        /// The column.
        column: String,
        /// IF EXISTS
        if_exists: bool,
    },
}
