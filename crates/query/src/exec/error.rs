//! DataFusion's errors as SQLSTATEs, in one place.
//!
//! Our own code gives [`SqlError`]s and sends them through DataFusion with [`from_sql`]; they come out unchanged. What
//! DataFusion, Arrow and storage say themselves is put into PostgreSQL's words here, by the kind of error and, where the
//! kind says too little, by its text.

use arrow::error::ArrowError;
use datafusion::common::SchemaError;
use datafusion::error::DataFusionError;
use perigee_storage::cold::ColdError;
use perigee_storage::store::StoreError;
use perigee_types::{SqlError, SqlState};

/// Carries an error of ours through DataFusion; [`sql_error`] finds it again.
#[must_use]
pub fn from_sql(error: SqlError) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

/// Carries an error of storage through DataFusion.
pub(super) fn store_error(error: StoreError) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

/// `57014`
pub(super) fn canceled() -> SqlError {
    SqlError::new(SqlState::QueryCanceled, "canceling statement due to user request")
}

/// `22003` for an integer type.
pub(super) fn integer_out_of_range(ty: &str) -> SqlError {
    SqlError::new(SqlState::NumericValueOutOfRange, format!("{ty} out of range"))
}

/// `22012`
pub(super) fn division_by_zero() -> SqlError {
    SqlError::new(SqlState::DivisionByZero, "division by zero")
}

/// The error for a client.
#[must_use]
pub fn sql_error(error: DataFusionError) -> SqlError {
    match error.find_root() {
        DataFusionError::External(inner) => external(inner.as_ref()),
        DataFusionError::ArrowError(arrow, _) => arrow_error(arrow),
        DataFusionError::ResourcesExhausted(message) => resources(message),
        DataFusionError::SchemaError(schema, _) => schema_error(schema),
        DataFusionError::SQL(parser, _) => {
            let text = parser.to_string();
            SqlError::syntax(text.trim_start_matches("sql parser error: ").to_owned())
        }
        DataFusionError::IoError(io) => match io.kind() {
            std::io::ErrorKind::StorageFull => SqlError::new(SqlState::DiskFull, format!("could not spill: {io}")),
            _ => SqlError::new(SqlState::IoError, io.to_string()),
        },
        DataFusionError::ObjectStore(error) => object_store_error(error),
        DataFusionError::ParquetError(error) => parquet_error(error),
        DataFusionError::NotImplemented(message) if message.contains("Multiple recursive references") => {
            SqlError::new(SqlState::InvalidRecursion, "a recursive reference must not appear more than once")
        }
        DataFusionError::NotImplemented(message) => SqlError::new(SqlState::FeatureNotSupported, tidy(message)),
        DataFusionError::Plan(message) => plan_error(message),
        DataFusionError::Execution(message) => execution_error(message),
        DataFusionError::Collection(errors) => match errors.first() {
            // `find_root` stops at a collection; its first error is what happened first.
            Some(first) => sql_error(DataFusionError::Execution(first.message().into_owned())),
            None => SqlError::internal("an empty list of errors"),
        },
        DataFusionError::Configuration(message) => SqlError::new(SqlState::InvalidParameterValue, tidy(message)),
        DataFusionError::ExecutionJoin(join) => SqlError::internal(format_args!("a query task failed: {join}")),
        other => SqlError::internal(tidy(&other.strip_backtrace())),
    }
}

fn external(error: &(dyn std::error::Error + Send + Sync + 'static)) -> SqlError {
    if let Some(ours) = error.downcast_ref::<SqlError>() {
        return ours.clone();
    }
    let text = error.to_string();
    // Arrow has a version of its own of what reads them.
    if error.is::<regex::Error>() || text.contains("regex parse error") {
        let reason = text.lines().last().unwrap_or_default().trim_start_matches("error: ");
        return SqlError::new(SqlState::InvalidRegularExpression, format!("invalid regular expression: {reason}"));
    }
    match error.downcast_ref::<StoreError>() {
        Some(StoreError::Damaged { .. } | StoreError::Column { .. }) => {
            SqlError::new(SqlState::DataCorrupted, error.to_string())
        }
        Some(StoreError::Cold(error)) => cold_error(error),
        Some(StoreError::Kv(_) | StoreError::Stopped) => SqlError::new(SqlState::IoError, error.to_string()),
        _ => SqlError::internal(error),
    }
}

/// An error of the cold tier. A store that is away is one of I/O; what it gave that is not what was written is damage.
#[must_use]
pub fn cold_error(error: &ColdError) -> SqlError {
    match error {
        ColdError::Damaged { .. } => SqlError::new(SqlState::DataCorrupted, error.to_string()),
        ColdError::NoStore => SqlError::new(SqlState::ObjectNotInPrerequisiteState, error.to_string()),
        ColdError::Away { .. } | ColdError::Missing(_) | ColdError::Write(_) => {
            SqlError::new(SqlState::IoError, error.to_string())
        }
    }
}

fn object_store_error(error: &object_store::Error) -> SqlError {
    if let Some(error) = std::error::Error::source(error).and_then(|source| source.downcast_ref::<ColdError>()) {
        return cold_error(error);
    }
    SqlError::new(SqlState::IoError, format!("the object store of cold rows cannot be used: {error}"))
}

fn parquet_error(error: &parquet::errors::ParquetError) -> SqlError {
    if let parquet::errors::ParquetError::External(inner) = error
        && let Some(error) = inner.downcast_ref::<object_store::Error>()
    {
        return object_store_error(error);
    }
    let text = error.to_string();
    // What DataFusion's reader of footers says of the store comes as text.
    if text.contains("Object Store error") && !text.contains(" is damaged: ") {
        return SqlError::new(SqlState::IoError, format!("the object store of cold rows cannot be used: {text}"));
    }
    SqlError::new(SqlState::DataCorrupted, format!("a cold file is damaged: {text}"))
}

/// The error for a client of an error of Arrow's kernels.
pub(super) fn arrow_error(error: &ArrowError) -> SqlError {
    match error {
        ArrowError::DivideByZero => division_by_zero(),
        ArrowError::ArithmeticOverflow(_) => SqlError::new(SqlState::NumericValueOutOfRange, "numeric field overflow"),
        ArrowError::ExternalError(inner) if inner.is::<parquet::errors::ParquetError>() => {
            inner.downcast_ref().map_or_else(|| SqlError::internal(inner), parquet_error)
        }
        ArrowError::ExternalError(inner) => match inner.downcast_ref::<DataFusionError>() {
            Some(nested) => sql_error(DataFusionError::Execution(nested.message().into_owned())),
            None => external(inner.as_ref()),
        },
        ArrowError::CastError(message) | ArrowError::ParseError(message) => conversion(message),
        ArrowError::ComputeError(message) | ArrowError::InvalidArgumentError(message) => execution_error(message),
        ArrowError::MemoryError(message) => resources(message),
        other => SqlError::internal(other),
    }
}

fn resources(message: &str) -> SqlError {
    let first = message.lines().next().unwrap_or(message);
    if message.contains("disk") && message.contains("limit") {
        return SqlError::new(SqlState::DiskFull, "temporary file size exceeds the limit for queries").detail(first);
    }
    SqlError::new(SqlState::OutOfMemory, "out of memory")
        .detail(tidy(first))
        .hint("Raise --memory, or make the query hold fewer rows at once.")
}

fn schema_error(error: &SchemaError) -> SqlError {
    match error {
        SchemaError::AmbiguousReference { field } => {
            SqlError::new(SqlState::AmbiguousColumn, format!("column reference \"{}\" is ambiguous", field.name))
        }
        // Two relations of one name have met: columns of one relation differ, or are told apart before.
        SchemaError::DuplicateQualifiedField { qualifier, .. } => {
            let table = qualifier.table();
            SqlError::new(SqlState::DuplicateAlias, format!("table name \"{table}\" specified more than once"))
        }
        SchemaError::DuplicateUnqualifiedField { name } => {
            SqlError::new(SqlState::DuplicateColumn, format!("column \"{name}\" specified more than once"))
        }
        SchemaError::FieldNotFound { field, valid_fields } => match &field.relation {
            Some(relation) if !valid_fields.iter().any(|f| f.relation.as_ref() == Some(relation)) => SqlError::new(
                SqlState::UndefinedTable,
                format!("missing FROM-clause entry for table \"{}\"", relation.table()),
            ),
            Some(relation) => SqlError::new(
                SqlState::UndefinedColumn,
                format!("column {}.{} does not exist", relation.table(), field.name),
            ),
            None => SqlError::new(SqlState::UndefinedColumn, format!("column \"{}\" does not exist", field.name)),
        },
    }
}

/// What planning refuses, by its words: DataFusion has one kind for all of it.
fn plan_error(message: &str) -> SqlError {
    const UNMATCHED: &str = " cannot be matched";
    let text = tidy(message);
    let has = |part: &str| text.contains(part);
    if let Some(known) = clause_error(&text) {
        return known;
    }
    if let Some(name) = quoted_after(&text, "Invalid function ") {
        if WINDOW_FUNCTIONS.contains(&name.as_str()) {
            let message = format!("window function {name} requires an OVER clause");
            return SqlError::new(SqlState::WrongObjectType, message);
        }
        return SqlError::new(SqlState::UndefinedFunction, format!("function {name} does not exist"))
            .hint("No function matches the given name and argument types. You might need to add explicit type casts.");
    }
    // What a choice says of its arguments comes in what DataFusion says of its call.
    if let (Some(at), Some(end)) = (text.find(" types "), text.find(UNMATCHED)) {
        let start = text.get(..at).and_then(|before| before.rfind(' ')).map_or(0, |blank| blank + 1);
        let message = text.get(start..end + UNMATCHED.len()).unwrap_or(&text);
        return SqlError::new(SqlState::DatatypeMismatch, message.to_owned());
    }
    if let Some(name) = text.strip_prefix("Invalid qualifier ") {
        let message = format!("missing FROM-clause entry for table \"{name}\"");
        return SqlError::new(SqlState::UndefinedTable, message);
    }
    if has("No function matches") || has("does not support zero arguments") || has("Function '") && has("expects") {
        let name = quoted_after(&text, "No function matches the given name and argument types ")
            .or_else(|| quoted_after(&text, "Failed to coerce arguments to satisfy a call to "))
            .unwrap_or_else(|| text.clone());
        let name = signature(&name);
        return SqlError::new(SqlState::UndefinedFunction, format!("function {name} does not exist"))
            .hint("No function matches the given name and argument types. You might need to add explicit type casts.");
    }
    if has("Failed to coerce arguments") {
        return SqlError::new(SqlState::UndefinedFunction, text);
    }
    if has("Cannot coerce arithmetic expression")
        || has("Cannot infer common argument type")
        || has("cannot be used with")
    {
        return SqlError::new(SqlState::UndefinedFunction, format!("operator does not exist: {text}"));
    }
    if has("must be in GROUP BY")
        || has("must appear in the GROUP BY")
        || has("could not be resolved from available columns")
    {
        return SqlError::new(SqlState::GroupingError, grouping(&text));
    }
    if has("Aggregate functions are not allowed") || has("aggregate functions are not allowed") {
        return SqlError::new(SqlState::GroupingError, text);
    }
    if has("table name") && has("specified more than once") {
        return SqlError::new(SqlState::DuplicateAlias, text);
    }
    if has("must return the same number of columns")
        || has("have different number of columns")
        || has("queries have different number of columns")
        || has("requires the same number of columns")
    {
        return SqlError::syntax("each UNION query must have the same number of columns");
    }
    if has("Union") && has("type") || has("UNION types") {
        return SqlError::new(SqlState::DatatypeMismatch, text);
    }
    if has("Placeholder type could not be resolved") || has("could not be inferred") {
        return SqlError::new(SqlState::IndeterminateDatatype, "could not determine data type of parameter");
    }
    if has("should only return one column") || has("subquery must return") || has("Subquery must") {
        return SqlError::syntax("subquery must return only one column");
    }
    if has("boolean") && (has("Unary operator 'NOT'") || has("filter expression") || has("Filter expression")) {
        return SqlError::new(SqlState::DatatypeMismatch, "argument of WHERE must be type boolean");
    }
    if has("Recursive") || has("recursive") {
        return SqlError::new(SqlState::InvalidRecursion, text);
    }
    SqlError::new(SqlState::SyntaxError, text)
}

/// What is wrong with a clause that PostgreSQL gives a state of its own.
fn clause_error(text: &str) -> Option<SqlError> {
    let has = |part: &str| text.contains(part);
    let new = |state, message: &str| Some(SqlError::new(state, message));
    if has("DISTINCT ON expressions must match") {
        return new(SqlState::InvalidColumnReference, text);
    }
    if has("For SELECT DISTINCT, ORDER BY expressions") {
        let message = "for SELECT DISTINCT, ORDER BY expressions must appear in select list";
        return new(SqlState::InvalidColumnReference, message);
    }
    if let Some(place) = number_after(text, "Order by column out of bounds, specified: ") {
        let message = format!("ORDER BY position {place} is not in select list");
        return new(SqlState::InvalidColumnReference, &message);
    }
    if let Some(place) = number_after(text, "Cannot find column with position ") {
        let message = format!("GROUP BY position {place} is not in select list");
        return new(SqlState::InvalidColumnReference, &message);
    }
    if has("LIMIT must be >= 0") {
        return new(SqlState::InvalidRowCountInLimit, "LIMIT must not be negative");
    }
    if has("OFFSET must be >=") {
        return new(SqlState::InvalidRowCountInOffset, "OFFSET must not be negative");
    }
    if has("Cannot create filter with non-boolean predicate") {
        return new(SqlState::DatatypeMismatch, "argument of WHERE must be type boolean");
    }
    if has("Join condition must be boolean") {
        return new(SqlState::DatatypeMismatch, "argument of JOIN/ON must be type boolean");
    }
    if has("for logical boolean operation") {
        let word = if has(" OR ") { "OR" } else { "AND" };
        return new(SqlState::DatatypeMismatch, &format!("argument of {word} must be type boolean"));
    }
    if has("function calls cannot be nested") {
        return new(SqlState::GroupingError, "aggregate function calls cannot be nested");
    }
    if has("to grouping function is not in grouping columns") {
        let message = "arguments to GROUPING must be grouping expressions of the associated query level";
        return new(SqlState::GroupingError, message);
    }
    if has("WITH query name") && has("specified more than once") {
        return new(SqlState::DuplicateAlias, text);
    }
    if has("Source table contains") && has("given as column alias") {
        return new(SqlState::InvalidColumnReference, "more column aliases are given than there are columns");
    }
    if let Some(rest) = text.strip_prefix("The window ") {
        let name = rest.split(' ').next().unwrap_or_default();
        return new(SqlState::UndefinedObject, &format!("window \"{name}\" does not exist"));
    }
    None
}

/// Functions that are nothing without OVER.
const WINDOW_FUNCTIONS: [&str; 11] = [
    "row_number",
    "rank",
    "dense_rank",
    "percent_rank",
    "cume_dist",
    "ntile",
    "lag",
    "lead",
    "first_value",
    "last_value",
    "nth_value",
];

/// The digits behind `before`.
fn number_after<'t>(text: &'t str, before: &str) -> Option<&'t str> {
    let rest = &text[text.find(before)? + before.len()..];
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    (end > 0).then(|| &rest[..end])
}

/// What running refuses, by its words.
fn execution_error(message: &str) -> SqlError {
    let text = tidy(message);
    let has = |part: &str| text.contains(part);
    if has("Divide by zero") || has("division by zero") {
        return division_by_zero();
    }
    if has("Can't cast value") {
        return conversion(&text);
    }
    // `a.b` where no table is called a, but a column that has no fields.
    if has("Cannot access field at argument") {
        return SqlError::new(SqlState::UndefinedTable, "missing FROM-clause entry for table");
    }
    if has("Overflow") || has("overflow") || has("out of range") || has("too large to store in a Decimal") {
        return SqlError::new(SqlState::NumericValueOutOfRange, "numeric field overflow").detail(text);
    }
    if has("more than one row") || has("returned more than one") || has("more than one value") {
        return SqlError::new(
            SqlState::CardinalityViolation,
            "more than one row returned by a subquery used as an expression",
        );
    }
    if has("NTILE requires a positive integer") {
        return SqlError::new(SqlState::InvalidArgumentForNtile, "argument of ntile must be greater than zero");
    }
    if has("field position must not be zero") || has("invalid Unicode scalar value") {
        return SqlError::new(SqlState::InvalidParameterValue, text);
    }
    if has("overlay start position must be") {
        return SqlError::new(SqlState::SubstringError, "negative substring length not allowed");
    }
    if has("egular expression") || has("regex") {
        return SqlError::new(SqlState::InvalidRegularExpression, format!("invalid regular expression: {text}"));
    }
    if has("Cannot cast") || has("Error parsing") || has("parse") {
        return conversion(&text);
    }
    SqlError::internal(text)
}

/// What a conversion of text refuses.
fn conversion(message: &str) -> SqlError {
    let text = tidy(message);
    if let Some(rest) = text.split("Can't cast value ").nth(1)
        && let Some((_, ty)) = rest.split_once(" to type ")
    {
        return integer_out_of_range(&type_in_words(ty));
    }
    let temporal = ["imestamp", "Date", "date", "Time", "nterval"].iter().any(|word| text.contains(word));
    if text.contains("range") || text.contains("too large") || text.contains("overflow") {
        return SqlError::new(SqlState::NumericValueOutOfRange, text);
    }
    let state = if temporal { SqlState::InvalidDatetimeFormat } else { SqlState::InvalidTextRepresentation };
    SqlError::new(state, text)
}

/// PostgreSQL's name for an Arrow type as DataFusion prints it.
fn type_in_words(arrow: &str) -> String {
    let name = match arrow.split(['(', '<']).next().unwrap_or(arrow).trim() {
        "Int8" | "Int16" | "UInt8" => "smallint",
        "Int32" | "UInt16" => "integer",
        "Int64" => "bigint",
        "UInt32" => "oid",
        "Float32" => "real",
        "Float64" => "double precision",
        "UInt64" | "Decimal128" | "Decimal256" => "numeric",
        "Utf8" | "Null" => "unknown",
        "Utf8View" | "LargeUtf8" => "text",
        "Boolean" => "boolean",
        "Date32" => "date",
        "Time64" => "time without time zone",
        "Timestamp" if arrow.contains("None") || !arrow.contains(',') => "timestamp without time zone",
        "Timestamp" => "timestamp with time zone",
        "Interval" => "interval",
        "Binary" | "BinaryView" => "bytea",
        "FixedSizeBinary" => "uuid",
        "List" => "anyarray",
        other => other,
    };
    name.to_owned()
}

/// `f(Int64, Utf8)` as `f(bigint, unknown)`.
fn signature(call: &str) -> String {
    let Some((name, args)) = call.strip_suffix(')').and_then(|c| c.split_once('(')) else { return call.to_owned() };
    let name = if name == "widen" { "sum" } else { name };
    let mut depth = 0;
    let pieces = args.split(|c: char| {
        match c {
            '(' | '<' => depth += 1,
            ')' | '>' => depth -= 1,
            _ => {}
        }
        c == ',' && depth == 0
    });
    let types: Vec<String> = pieces.filter(|p| !p.trim().is_empty()).map(|p| type_in_words(p.trim())).collect();
    format!("{name}({})", types.join(", "))
}

fn grouping(text: &str) -> String {
    match quoted_after(
        text,
        "Column in SELECT must be in GROUP BY or an aggregate function: While expanding wildcard, column ",
    )
    .or_else(|| quoted_after(text, "column "))
    {
        Some(column) => {
            format!("column \"{column}\" must appear in the GROUP BY clause or be used in an aggregate function")
        }
        None => text.to_owned(),
    }
}

/// The words in quotes behind `before`, without their quotes.
fn quoted_after(text: &str, before: &str) -> Option<String> {
    let rest = &text[text.find(before)? + before.len()..];
    let quote = rest.chars().next().filter(|c| matches!(c, '\'' | '"' | '`'))?;
    let rest = &rest[1..];
    Some(rest[..rest.find(quote)?].to_owned())
}

/// The message without DataFusion's prefixes, backtraces and later lines.
fn tidy(message: &str) -> String {
    let mut text = message.lines().next().unwrap_or(message);
    for prefix in [
        "Error during planning: ",
        "This feature is not implemented: ",
        "Execution error: ",
        "Arrow error: ",
        "Cast error: ",
        "Parser error: ",
        "Compute error: ",
        "External error: ",
        "SQL error: ",
        "Invalid argument error: ",
    ] {
        text = text.strip_prefix(prefix).unwrap_or(text);
    }
    text.trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_its_state() {
        let check = |error: DataFusionError, code: &str| {
            let sql = sql_error(error);
            assert_eq!(sql.state().code(), code, "{sql}");
        };
        check(from_sql(division_by_zero()), "22012");
        check(from_sql(division_by_zero()).context("while running"), "22012");
        check(ArrowError::DivideByZero.into(), "22012");
        check(DataFusionError::ResourcesExhausted("no".into()), "53200");
        check(DataFusionError::Plan("Invalid function 'nope'.\nDid you mean 'now'?".into()), "42883");
        check(DataFusionError::NotImplemented("x".into()), "0A000");
        check(ArrowError::CastError("Cannot cast string 'x' to value of Int32 type".into()).into(), "22P02");
        check(ArrowError::ParseError("Error parsing timestamp from 'x'".into()).into(), "22007");
    }

    #[test]
    fn prefixes_do_not_reach_clients() {
        let error = DataFusionError::Plan("Invalid function 'nope'.".into()).context("planning");
        assert_eq!(sql_error(error).message(), "function nope does not exist");
    }
}
