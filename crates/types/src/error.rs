//! The error that reaches a client, and its SQLSTATE.

use std::fmt;

/// Shorthand for results that may become an error message for a client.
pub type SqlResult<T> = Result<T, SqlError>;

macro_rules! states {
    ($($(#[$doc:meta])* $name:ident = $code:literal),* $(,)?) => {
        /// SQLSTATE by PostgreSQL's condition names.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum SqlState { $($(#[$doc])* #[doc = $code] $name),* }

        impl SqlState {
            /// Every state that Perigee gives.
            pub const ALL: &'static [SqlState] = &[$(SqlState::$name),*];

            /// The five characters that go over the wire.
            #[must_use]
            pub fn code(self) -> &'static str {
                match self { $(SqlState::$name => $code),* }
            }
        }
    };
}

states! {
    SuccessfulCompletion = "00000",
    Warning = "01000",
    NoData = "02000",
    ConnectionFailure = "08006",
    TransactionResolutionUnknown = "08007",
    ProtocolViolation = "08P01",
    FeatureNotSupported = "0A000",
    CardinalityViolation = "21000",
    StringDataRightTruncation = "22001",
    NumericValueOutOfRange = "22003",
    NullValueNotAllowed = "22004",
    InvalidDatetimeFormat = "22007",
    DatetimeFieldOverflow = "22008",
    InvalidTimeZoneDisplacement = "22009",
    DivisionByZero = "22012",
    InvalidArgumentForNtile = "22014",
    InvalidArgumentForNthValue = "22016",
    IntervalFieldOverflow = "22015",
    InvalidArgumentForLogarithm = "2201E",
    InvalidArgumentForPowerFunction = "2201F",
    InvalidArgumentForWidthBucket = "2201G",
    InvalidRowCountInLimit = "2201W",
    InvalidRowCountInOffset = "2201X",
    CharacterNotInRepertoire = "22021",
    InvalidParameterValue = "22023",
    InvalidRegularExpression = "2201B",
    SubstringError = "22011",
    InvalidEscapeSequence = "22025",
    StringDataLengthMismatch = "22026",
    InvalidUseOfEscapeCharacter = "2200C",
    ArraySubscriptError = "2202E",
    DataException = "22000",
    InvalidTextRepresentation = "22P02",
    InvalidBinaryRepresentation = "22P03",
    BadCopyFileFormat = "22P04",
    UntranslatableCharacter = "22P05",
    InvalidJsonDatetimeArgument = "22031",
    InvalidJsonSubscript = "22033",
    NonNumericJsonItem = "22036",
    SingletonJsonItemRequired = "22038",
    JsonArrayNotFound = "22039",
    JsonMemberNotFound = "2203A",
    JsonNumberNotFound = "2203B",
    JsonObjectNotFound = "2203C",
    NotNullViolation = "23502",
    ForeignKeyViolation = "23503",
    UniqueViolation = "23505",
    CheckViolation = "23514",
    SequenceGeneratorLimitExceeded = "2200H",
    InvalidCursorState = "24000",
    InvalidTransactionState = "25000",
    ActiveSqlTransaction = "25001",
    ReadOnlySqlTransaction = "25006",
    NoActiveSqlTransaction = "25P01",
    InFailedSqlTransaction = "25P02",
    InvalidSqlStatementName = "26000",
    InvalidAuthorizationSpecification = "28000",
    InvalidPassword = "28P01",
    InvalidGrantor = "0L000",
    InvalidGrantOperation = "0LP01",
    InvalidRoleSpecification = "0P000",
    DependentObjectsStillExist = "2BP01",
    InvalidCursorName = "34000",
    InvalidCatalogName = "3D000",
    InvalidSavepointSpecification = "3B001",
    InvalidSchemaName = "3F000",
    SerializationFailure = "40001",
    DeadlockDetected = "40P01",
    SyntaxError = "42601",
    InsufficientPrivilege = "42501",
    CannotCoerce = "42846",
    GroupingError = "42803",
    InvalidPrecedingOrFollowingSize = "22013",
    WindowingError = "42P20",
    InvalidRecursion = "42P19",
    InvalidForeignKey = "42830",
    InvalidName = "42602",
    NameTooLong = "42622",
    ReservedName = "42939",
    DatatypeMismatch = "42804",
    IndeterminateDatatype = "42P18",
    WrongObjectType = "42809",
    UndefinedColumn = "42703",
    UndefinedFunction = "42883",
    UndefinedTable = "42P01",
    UndefinedParameter = "42P02",
    UndefinedObject = "42704",
    DuplicateColumn = "42701",
    DuplicateCursor = "42P03",
    DuplicateDatabase = "42P04",
    DuplicatePreparedStatement = "42P05",
    DuplicateSchema = "42P06",
    DuplicateTable = "42P07",
    DuplicateAlias = "42712",
    DuplicateObject = "42710",
    AmbiguousColumn = "42702",
    AmbiguousFunction = "42725",
    InvalidColumnReference = "42P10",
    InvalidColumnDefinition = "42611",
    GeneratedAlways = "428C9",
    InvalidFunctionDefinition = "42P13",
    DuplicateFunction = "42723",
    InvalidTableDefinition = "42P16",
    InvalidObjectDefinition = "42P17",
    WithCheckOptionViolation = "44000",
    RaiseException = "P0001",
    InsufficientResources = "53000",
    DiskFull = "53100",
    OutOfMemory = "53200",
    TooManyConnections = "53300",
    ProgramLimitExceeded = "54000",
    StatementTooComplex = "54001",
    TooManyColumns = "54011",
    ObjectNotInPrerequisiteState = "55000",
    ObjectInUse = "55006",
    CantChangeRuntimeParam = "55P02",
    LockNotAvailable = "55P03",
    QueryCanceled = "57014",
    AdminShutdown = "57P01",
    IdleSessionTimeout = "57P05",
    CannotConnectNow = "57P03",
    IdleInTransactionSessionTimeout = "25P03",
    IoError = "58030",
    SnapshotTooOld = "72000",
    InternalError = "XX000",
    DataCorrupted = "XX001",
    IndexCorrupted = "XX002",
}

/// What went wrong, with every field that a PostgreSQL client may show. Text is lower case without a full stop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SqlError(Box<Fields>);

/// The fields of a [`SqlError`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fields {
    /// What kind of error it is.
    pub state: SqlState,
    /// One line for a person.
    pub message: String,
    /// More about the values involved.
    pub detail: Option<String>,
    /// What to do about it.
    pub hint: Option<String>,
    /// Place in the statement's text: characters, from 1.
    pub position: Option<u32>,
    /// Where it happened, e.g. `COPY t, line 3`.
    pub context: Option<String>,
    /// Schema of the object concerned.
    pub schema: Option<String>,
    /// Table concerned.
    pub table: Option<String>,
    /// Column concerned.
    pub column: Option<String>,
    /// Constraint concerned.
    pub constraint: Option<String>,
}

impl SqlError {
    /// An error with a message alone.
    #[must_use]
    pub fn new(state: SqlState, message: impl Into<String>) -> Self {
        Self(Box::new(Fields {
            state,
            message: message.into(),
            detail: None,
            hint: None,
            position: None,
            context: None,
            schema: None,
            table: None,
            column: None,
            constraint: None,
        }))
    }

    /// `0A000` for what Perigee does not do.
    #[must_use]
    pub fn unsupported(what: impl fmt::Display) -> Self {
        Self::new(SqlState::FeatureNotSupported, format!("{what} is not supported"))
    }

    /// `XX000` for what should not happen.
    #[must_use]
    pub fn internal(what: impl fmt::Display) -> Self {
        Self::new(SqlState::InternalError, what.to_string())
    }

    /// `42601` at a place.
    #[must_use]
    pub fn syntax(message: impl Into<String>) -> Self {
        Self::new(SqlState::SyntaxError, message)
    }

    /// Adds the detail line.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.0.detail = Some(detail.into());
        self
    }

    /// Adds the hint line.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// Adds the place in the statement's text (characters, from 1).
    #[must_use]
    pub fn position(mut self, position: u32) -> Self {
        self.0.position = Some(position);
        self
    }

    /// Without a place: that of a text that the client has not sent as a statement.
    #[must_use]
    pub fn without_position(mut self) -> Self {
        self.0.position = None;
        self
    }

    /// Adds where it happened.
    #[must_use]
    pub fn context(mut self, context: impl Into<String>) -> Self {
        self.0.context = Some(context.into());
        self
    }

    /// Adds the table concerned.
    #[must_use]
    pub fn table(mut self, schema: impl Into<String>, table: impl Into<String>) -> Self {
        self.0.schema = Some(schema.into());
        self.0.table = Some(table.into());
        self
    }

    /// Adds the column concerned.
    #[must_use]
    pub fn column(mut self, column: impl Into<String>) -> Self {
        self.0.column = Some(column.into());
        self
    }

    /// Adds the constraint concerned.
    #[must_use]
    pub fn constraint(mut self, constraint: impl Into<String>) -> Self {
        self.0.constraint = Some(constraint.into());
        self
    }

    /// What kind of error it is.
    #[must_use]
    pub fn state(&self) -> SqlState {
        self.0.state
    }

    /// The message line.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// All fields.
    #[must_use]
    pub fn fields(&self) -> &Fields {
        &self.0
    }
}

impl fmt::Display for SqlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.0.message, self.0.state.code())
    }
}

impl std::error::Error for SqlError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_five_characters_and_its_own() {
        let mut seen = std::collections::BTreeSet::new();
        for state in SqlState::ALL {
            assert_eq!(state.code().len(), 5, "{state:?}");
            assert!(seen.insert(state.code()), "{state:?} shares its code");
        }
    }
}
