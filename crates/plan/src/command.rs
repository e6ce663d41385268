//! Transactions, sessions, COPY, EXPLAIN, maintenance.

use std::sync::Arc;

use perigee_types::catalog::Table;
use perigee_types::{Oid, SqlType, Value};

use crate::Prepared;
use crate::block::Block;
use crate::relational::Query;

/// How much a transaction sees of others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// Each statement has a snapshot of its own. READ UNCOMMITTED is the same.
    ReadCommitted,
    /// One snapshot for the transaction.
    RepeatableRead,
    /// As if transactions ran one behind the other.
    Serializable,
}

/// What BEGIN or SET TRANSACTION asks for; `None` leaves the default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TransactionModes {
    /// ISOLATION LEVEL
    pub isolation: Option<Isolation>,
    /// READ COMMITTED was called READ UNCOMMITTED, and is shown so.
    pub uncommitted: bool,
    /// READ ONLY or READ WRITE
    pub read_only: Option<bool>,
    /// DEFERRABLE
    pub deferrable: Option<bool>,
}

/// Control of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TransactionCommand {
    /// BEGIN, START TRANSACTION
    Begin(TransactionModes),
    /// COMMIT, END; `chain`: AND CHAIN
    Commit {
        /// AND CHAIN
        chain: bool,
    },
    /// ROLLBACK, ABORT
    Rollback {
        /// AND CHAIN
        chain: bool,
    },
    /// SAVEPOINT
    Savepoint(String),
    /// RELEASE SAVEPOINT
    Release(String),
    /// ROLLBACK TO SAVEPOINT
    RollbackTo(String),
    /// SET CONSTRAINTS
    SetConstraints {
        /// Oids of the constraints, with those of partitions; `None` for ALL
        constraints: Option<Vec<Oid>>,
        /// DEFERRED
        deferred: bool,
    },
    /// SET TRANSACTION
    Set(TransactionModes),
    /// SET TRANSACTION SNAPSHOT
    SetSnapshot(String),
    /// SET SESSION CHARACTERISTICS AS TRANSACTION
    SetDefault(TransactionModes),
}

/// A change of the session, or a look at it.
#[derive(Clone, Debug)]
pub enum SessionCommand {
    /// SET name = value; `None` is DEFAULT.
    Set {
        /// The setting, lower case.
        name: String,
        /// The value as text; lists joined with `, `.
        value: Option<String>,
        /// SET LOCAL
        local: bool,
    },
    /// SHOW name
    Show(String),
    /// SHOW ALL
    ShowAll,
    /// RESET name; `None` is ALL.
    Reset(Option<String>),
    /// DISCARD ALL, PLANS, SEQUENCES or TEMP
    Discard(Discard),
    /// LISTEN
    Listen(String),
    /// UNLISTEN; `None` is `*`.
    Unlisten(Option<String>),
    /// NOTIFY
    Notify {
        /// The channel.
        channel: String,
        /// The text that goes with it, empty where none was given.
        payload: String,
    },
    /// PREPARE
    Prepare {
        /// Its name.
        name: String,
        /// Declared parameter types.
        parameters: Vec<Option<SqlType>>,
        /// The statement's text.
        statement: Arc<str>,
    },
    /// EXECUTE
    Execute {
        /// Its name.
        name: String,
        /// The parameters' values.
        parameters: Vec<Value>,
    },
    /// DO
    Do(Arc<Block>),
    /// DEALLOCATE; `None` is ALL.
    Deallocate(Option<String>),
    /// DECLARE … CURSOR
    Declare {
        /// Its name.
        name: String,
        /// SCROLL: it may go back; `Some(false)` is NO SCROLL.
        scroll: Option<bool>,
        /// WITH HOLD: it outlives its transaction.
        hold: bool,
        /// Yields the rows.
        statement: Arc<Prepared>,
    },
    /// FETCH, or MOVE
    Fetch {
        /// The cursor.
        name: String,
        /// Which rows.
        direction: FetchDirection,
        /// MOVE: the rows are counted, not shown.
        moves: bool,
    },
    /// CLOSE; `None` is ALL.
    Close(Option<String>),
}

/// Which rows FETCH takes, seen from the row that the cursor stands on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FetchDirection {
    /// So many of the next rows; `None` is ALL; 0 is the row that the cursor stands on.
    Forward(Option<u64>),
    /// So many of the rows before, the nearest first; `None` is ALL.
    Backward(Option<u64>),
    /// The row with this number, counted from 1; negative from the end.
    Absolute(i64),
    /// The row that is so many rows on.
    Relative(i64),
}

/// What DISCARD drops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Discard {
    /// Everything of the session.
    All,
    /// Cached plans.
    Plans,
    /// Sequence values taken ahead.
    Sequences,
    /// Temporary objects.
    Temp,
}

/// The format of a COPY.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyFormat {
    /// text, CSV or binary.
    pub kind: CopyKind,
    /// DELIMITER
    pub delimiter: u8,
    /// NULL
    pub null: String,
    /// HEADER
    pub header: bool,
    /// QUOTE
    pub quote: u8,
    /// ESCAPE
    pub escape: u8,
    /// FORCE_QUOTE: places in the copied columns; all with `*`.
    pub force_quote: Vec<usize>,
    /// FORCE_NOT_NULL: places in the copied columns.
    pub force_not_null: Vec<usize>,
    /// FORCE_NULL: places in the copied columns.
    pub force_null: Vec<usize>,
}

/// The three formats of COPY.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyKind {
    /// PostgreSQL's own text format.
    Text,
    /// CSV.
    Csv,
    /// PostgreSQL's binary format.
    Binary,
}

/// COPY.
#[derive(Clone, Debug)]
pub enum Copy {
    /// COPY table FROM STDIN
    FromStdin {
        /// The table as planned.
        table: Arc<Table>,
        /// Places in `table.columns` of the columns that the data holds, in order.
        columns: Vec<usize>,
        /// How the data is written.
        format: CopyFormat,
        /// WHERE, as text over the table's columns: other rows are left out.
        filter: Option<String>,
    },
    /// COPY table or (query) TO STDOUT
    ToStdout {
        /// Yields the rows.
        query: Query,
        /// Names and types of its columns.
        columns: Arc<[crate::ResultColumn]>,
        /// How to write the data.
        format: CopyFormat,
    },
}

/// EXPLAIN.
#[derive(Clone, Debug)]
pub struct Explain {
    /// What to explain.
    pub statement: Arc<Prepared>,
    /// Run it and show rows and times.
    pub analyze: bool,
    /// VERBOSE
    pub verbose: bool,
    /// FORMAT JSON instead of text.
    pub json: bool,
}

/// Maintenance.
#[derive(Clone, Debug)]
pub enum Admin {
    /// VACUUM: drops dead row versions now. Empty: all tables.
    Vacuum {
        /// The tables.
        tables: Vec<Arc<Table>>,
        /// Also ANALYZE.
        analyze: bool,
    },
    /// ANALYZE. Empty: all tables.
    Analyze(Vec<Arc<Table>>),
    /// CHECKPOINT
    Checkpoint,
    /// `CALL perigee.migrate('table', 'cold')`: rows written so far go to the object store.
    Migrate(Vec<Arc<Table>>),
    /// `CALL perigee.compact('table')`: cold files become as few as they can be, without rows that have ended.
    Compact(Vec<Arc<Table>>),
    /// `CALL perigee.export('table')`: what others read of its cold rows is made as they are now.
    Export(Vec<Arc<Table>>),
    /// `CALL perigee.collect_cold_files()`: files in the object store that nothing needs are removed.
    CollectCold,
    /// `CALL perigee.backup(['url'])`: a base backup, at a URL or where the configuration says.
    Backup(Option<String>),
    /// LOCK TABLE
    Lock {
        /// The tables.
        tables: Vec<Arc<Table>>,
        /// What the statement names: these tables, or views over them.
        named: Vec<Oid>,
        /// Its mode.
        mode: LockMode,
        /// NOWAIT
        nowait: bool,
    },
    /// REINDEX of a table or an index, `None`: of all in a schema or database. Indexes are rebuilt in each checkpoint's
    /// merges; there is nothing to repair on demand.
    Reindex(Option<Oid>),
}

/// The mode of LOCK TABLE, as far as modes differ here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockMode {
    /// ACCESS SHARE: waits for who changes the table's definition.
    AccessShare,
    /// ROW SHARE: as above; who locks rows takes it.
    RowShare,
    /// ROW EXCLUSIVE: as above; who writes rows takes it.
    RowExclusive,
    /// All others: whoever writes to the table waits.
    Exclusive,
}
