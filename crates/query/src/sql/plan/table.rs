//! CREATE TABLE.

use std::collections::BTreeMap;

use perigee_plan::ddl::{
    CheckConstraint, ColumnDefinition, ForeignKeyConstraint, KeyConstraint, Lineage, SequenceClauses, SequenceColumn,
};
use perigee_plan::{Ddl, Expr, Plan};
use perigee_types::catalog::retention::{Retention, TIER, TTL, WARM_RETENTION};
use perigee_types::catalog::{Deferral, OnCommit, ReferentialAction, TEMPORARY_SCHEMA};
use perigee_types::{Oid, SqlError, SqlResult, SqlState, SqlType, Value};
use sqlparser::ast::helpers::stmt_create_table::CreateTableBuilder;
use sqlparser::ast::{
    self, ColumnDef, ColumnOption, CreateTable, CreateTableOptions, Expr as AstExpr, Ident, IndexColumn, SqlOption,
    TableConstraint,
};

use super::parameters::Parameters;
use super::scalar::{Scope, Stop};
use super::types::{ColumnType, column_type};
use super::{Planned, checks, hypertable, like, names, partition, query, refuse, undefined_parameter};
use crate::sql::context::PlanContext;
use crate::sql::parse::{RESET, fold, parse_expression};
use crate::sql::statement::LikeClause;

/// The most columns of a table; PostgreSQL's limit.
const COLUMNS_MAX: usize = 1_600;

/// What a column's definition gives besides the column.
pub(super) struct Column {
    pub(super) definition: ColumnDefinition,
    pub(super) key: Option<KeyConstraint>,
    pub(super) checks: Vec<CheckConstraint>,
    pub(super) foreign_keys: Vec<ForeignKeyConstraint>,
}

/// Plans CREATE TABLE, also AS a query. `with_data`: not WITH NO DATA.
///
/// # Errors
/// What PostgreSQL's analysis would refuse.
pub(super) fn create(
    create: &CreateTable,
    with_data: bool,
    likes: &[LikeClause],
    context: &PlanContext,
) -> SqlResult<Planned> {
    refuse(create.external || create.or_replace || create.transient || create.clone.is_some(), "this CREATE TABLE")?;
    refuse(create.like.is_some(), "CREATE TABLE … LIKE")?;
    let mut name = names::qualified(&create.name, context)?;
    let schema = names::creation_schema(&name, create.temporary, context)?;
    if schema == TEMPORARY_SCHEMA {
        name.0 = Some(context.temporary.name.to_owned());
    }
    let on_commit = on_commit(create, schema)?;
    let mut options = options(&create.table_options)?;
    let time = (options.remove("time_column"), options.remove("partition"));
    let aged = [TTL, WARM_RETENTION, TIER].iter().any(|name| options.contains_key(*name));
    refuse(aged && schema == TEMPORARY_SCHEMA, "age as an option of a temporary table")?;
    if let Some(source) = &create.query {
        like::refuse(likes)?;
        return create_as(create, source, with_data, (schema, name.1), (options, on_commit), context);
    }
    refuse(!with_data, "WITH NO DATA without a query")?;
    let mut lineage = partition::lineage(create, schema == TEMPORARY_SCHEMA, context)?;
    let mut columns: Vec<ColumnDefinition> = Vec::with_capacity(create.columns.len());
    let (mut keys, mut checks, mut foreign_keys) = (Vec::new(), Vec::new(), Vec::new());
    let mut indexes = Vec::new();
    for place in 0..=create.columns.len() {
        for like in likes.iter().filter(|like| like.at == place) {
            let taken = like::taken(like, context)?;
            if let Some(twice) = taken.columns.iter().find(|new| columns.iter().any(|other| other.name == new.name)) {
                return Err(duplicate_column(&twice.name));
            }
            columns.extend(taken.columns);
            keys.extend(taken.keys);
            checks.extend(taken.checks);
            indexes.extend(taken.indexes);
        }
        let Some(definition) = create.columns.get(place) else { continue };
        let (definition, domain) = partition::with_type(definition, &lineage)?;
        let mut column = column(&definition, Some(&name), context)?;
        column.definition.domain = domain.or(column.definition.domain);
        if columns.iter().any(|other| other.name == column.definition.name) {
            return Err(duplicate_column(&column.definition.name));
        }
        columns.push(column.definition);
        keys.extend(column.key);
        checks.extend(column.checks);
        foreign_keys.extend(column.foreign_keys);
    }
    for constraint in &create.constraints {
        match table_constraint(constraint, Some(&name), context)? {
            Constraint::Key(key) => keys.push(key),
            Constraint::Check(check) => checks.push(check),
            Constraint::ForeignKey(key) => foreign_keys.push(key),
        }
    }
    partition::inherit(&mut lineage, &mut columns, &mut checks)?;
    check_keys(&keys, &mut columns, &name.1)?;
    if columns.len() > COLUMNS_MAX {
        return Err(SqlError::new(SqlState::TooManyColumns, format!("tables can have at most {COLUMNS_MAX} columns")));
    }
    checks::validate(&name.1, &columns, &checks, context)?;
    if let Some(clause) = &create.partition_by {
        let table = checks::to_be(&name.1, &columns, context);
        lineage.partition_by = Some(partition::partition_by(clause, &table, context)?);
    }
    if let Some(by) = hypertable::options(&time, &columns)? {
        refuse(lineage.partition_by.is_some(), "PARTITION BY beside time_column")?;
        lineage.partition_by = Some(by);
        for column in columns.iter_mut().filter(|column| Some(&column.name) == time.0.as_ref()) {
            column.not_null = true;
        }
    }
    Ok(Planned::command(
        Plan::Ddl(Ddl::CreateTable {
            schema,
            name: name.1,
            if_not_exists: create.if_not_exists,
            columns,
            keys,
            checks,
            foreign_keys,
            indexes,
            options,
            on_commit,
            lineage,
            source: None,
            with_data: true,
        }),
        "CREATE TABLE",
    ))
}

fn on_commit(create: &CreateTable, schema: Oid) -> SqlResult<OnCommit> {
    let on_commit = match create.on_commit {
        None => return Ok(OnCommit::PreserveRows),
        Some(ast::OnCommit::PreserveRows) => OnCommit::PreserveRows,
        Some(ast::OnCommit::DeleteRows) => OnCommit::DeleteRows,
        Some(ast::OnCommit::Drop) => OnCommit::Drop,
    };
    if schema != TEMPORARY_SCHEMA {
        return Err(SqlError::new(SqlState::InvalidTableDefinition, "ON COMMIT can only be used on temporary tables"));
    }
    Ok(on_commit)
}

fn create_as(
    create: &CreateTable,
    source: &ast::Query,
    with_data: bool,
    (schema, name): (Oid, String),
    (options, on_commit): (BTreeMap<String, String>, OnCommit),
    context: &PlanContext,
) -> SqlResult<Planned> {
    let relational = query::relational(source.clone(), context, Parameters::declared(context.declared), None)?;
    let (mut query, result) = query::finish(&relational, None, 0, context)?;
    if create.columns.len() > result.len() {
        return Err(SqlError::syntax("too many column names were specified"));
    }
    refuse(create.columns.iter().any(|c| !c.options.is_empty()), "a constraint in CREATE TABLE AS")?;
    refuse(create.partition_by.is_some() || create.partition_of.is_some(), "a partitioned table in CREATE TABLE AS")?;
    refuse(create.inherits.is_some(), "INHERITS in CREATE TABLE AS")?;
    let mut columns: Vec<ColumnDefinition> = Vec::with_capacity(result.len());
    for (place, column) in result.iter().enumerate() {
        let name = create.columns.get(place).map_or_else(|| column.name.clone(), |given| fold(&given.name));
        if columns.iter().any(|other| other.name == name) {
            return Err(duplicate_column(&name));
        }
        no_record(&name, &column.ty)?;
        columns.push(plain_column(name, column.ty.clone()));
    }
    query.row_lock = None;
    let mut planned = Planned::command(
        Plan::Ddl(Ddl::CreateTable {
            schema,
            name,
            if_not_exists: create.if_not_exists,
            columns,
            keys: Vec::new(),
            checks: Vec::new(),
            foreign_keys: Vec::new(),
            indexes: Vec::new(),
            options,
            on_commit,
            lineage: Lineage::default(),
            source: Some(query),
            with_data,
        }),
        if with_data { "SELECT" } else { "CREATE TABLE AS" },
    );
    planned.parameters = relational.parameters;
    Ok(planned)
}

/// SELECT … INTO: CREATE TABLE AS in other words.
pub(super) fn select_into(query: &ast::Query, context: &PlanContext) -> SqlResult<Planned> {
    let mut query = query.clone();
    let into = match &mut *query.body {
        ast::SetExpr::Select(select) => select.into.take(),
        _ => None,
    };
    let Some(into) = into else { return Err(SqlError::internal("SELECT without INTO")) };
    let made = CreateTableBuilder::new(into.name).temporary(into.temporary).query(Some(Box::new(query))).build();
    create(&made, true, &[], context)
}

pub(super) fn plain_column(name: String, ty: SqlType) -> ColumnDefinition {
    ColumnDefinition {
        name,
        ty,
        domain: None,
        not_null: false,
        default: None,
        generated: false,
        default_value: None,
        sequence: None,
        clauses: SequenceClauses::default(),
        inherited: None,
    }
}

fn duplicate_column(name: &str) -> SqlError {
    SqlError::new(SqlState::DuplicateColumn, format!("column \"{name}\" specified more than once"))
}

/// No relation has a column that is a record.
///
/// # Errors
/// `42P16`
pub(super) fn no_record(name: &str, ty: &SqlType) -> SqlResult<()> {
    let item = if let SqlType::Array(of) = ty { of } else { ty };
    match item {
        SqlType::Record(_) => {
            Err(SqlError::new(SqlState::InvalidTableDefinition, format!("column \"{name}\" has pseudo-type {ty}")))
        }
        _ => Ok(()),
    }
}

/// A column as CREATE TABLE and ADD COLUMN define it.
///
/// # Errors
/// What PostgreSQL's analysis would refuse.
pub(super) fn column(
    definition: &ColumnDef,
    made: Option<&names::Qualified>,
    context: &PlanContext,
) -> SqlResult<Column> {
    let name = fold(&definition.name);
    let (ty, mut sequence) = match column_type(&definition.data_type)? {
        ColumnType::Plain(SqlType::Unknown | SqlType::Void) => {
            return Err(SqlError::new(
                SqlState::InvalidTableDefinition,
                format!("column \"{name}\" has a pseudo-type"),
            ));
        }
        ColumnType::Plain(ty) => (ty, None),
        ColumnType::Serial(ty) => (ty, Some(SequenceColumn::Serial)),
    };
    let mut not_null = sequence.is_some();
    let mut expression = None;
    let mut clauses = SequenceClauses::default();
    let (mut default, mut key, mut checks, mut foreign_keys) = (None, None, Vec::new(), Vec::new());
    for option in &definition.options {
        let constraint_name = option.name.as_ref().map(fold);
        match &option.option {
            ColumnOption::Null => {}
            ColumnOption::NotNull => not_null = true,
            ColumnOption::Default(expr) => default = Some(expr),
            ColumnOption::PrimaryKey(primary) => {
                not_null = true;
                let deferral = deferral(primary.characteristics.as_ref())?;
                let columns = vec![name.clone()];
                key = Some(KeyConstraint { name: constraint_name, columns, primary: true, deferral });
            }
            ColumnOption::Unique(unique) => {
                refuse(unique.nulls_distinct == ast::NullsDistinctOption::NotDistinct, "NULLS NOT DISTINCT")?;
                // A primary key is unique anyway.
                let deferral = deferral(unique.characteristics.as_ref())?;
                let columns = vec![name.clone()];
                key.get_or_insert(KeyConstraint { name: constraint_name, columns, primary: false, deferral });
            }
            ColumnOption::Check(check) => {
                checks.push(CheckConstraint {
                    name: constraint_name,
                    expression: check.expr.to_string(),
                    not_valid: false,
                });
            }
            ColumnOption::ForeignKey(foreign) => {
                let mut foreign = foreign_key(foreign, made, context)?;
                foreign.name = constraint_name.or(foreign.name);
                foreign.columns = vec![name.clone()];
                foreign_keys.push(foreign);
            }
            ColumnOption::Generated { generation_expr: None, generated_as, sequence_options, .. } => {
                clauses = super::relation::clauses(sequence_options.as_deref().unwrap_or_default())?;
                if !ty.is_integer() {
                    return Err(SqlError::new(
                        SqlState::InvalidParameterValue,
                        "identity column type must be smallint, integer, or bigint",
                    ));
                }
                not_null = true;
                sequence = Some(match generated_as {
                    ast::GeneratedAs::Always => SequenceColumn::IdentityAlways,
                    _ => SequenceColumn::IdentityByDefault,
                });
            }
            ColumnOption::Generated { generation_expr: Some(expr), generation_expr_mode, .. } => {
                let stored = matches!(generation_expr_mode, Some(ast::GeneratedExpressionMode::Stored));
                refuse(!stored, "a generated column that is not STORED")?;
                expression = Some(expr);
            }
            ColumnOption::Collation(collation) => {
                let name = names::last_ident(collation)?;
                let bytes = matches!(name.value.as_str(), "C" | "POSIX" | "default" | "ucs_basic");
                refuse(!bytes, "this collation")?;
            }
            other => {
                return Err(SqlError::unsupported(format_args!("column option \"{other}\"")));
            }
        }
    }
    if let (Some(_), true) = (expression, default.is_some() || sequence.is_some()) {
        let what = if default.is_some() { "default" } else { "identity" };
        return Err(SqlError::syntax(format!("both {what} and generation expression specified for column \"{name}\"")));
    }
    if sequence.is_some() && default.is_some() {
        return Err(SqlError::syntax(format!("multiple default values specified for column \"{name}\"")));
    }
    let generated = expression.is_some();
    if let Some(expression) = expression {
        default = Some(expression);
    }
    let (default, default_value) = match default {
        Some(expr) if generated => (Some(expr.to_string()), None),
        Some(expr) => default_of(expr, &name, &ty, context)?,
        None => (None, None),
    };
    let domain = super::types::domain_of(&definition.data_type).map(|domain| domain.oid);
    let of_domain = context.catalog.domains(domain).find_map(|(_, domain)| domain.default.clone());
    let default_value = match of_domain {
        // Rows that are there already get the domain's.
        Some(text) if default.is_none() => default_of(&parse_expression(&text)?, &name, &ty, context)?.1,
        _ => default_value,
    };
    let definition = ColumnDefinition {
        name,
        ty,
        domain,
        not_null,
        default,
        generated,
        default_value,
        sequence,
        clauses,
        inherited: None,
    };
    Ok(Column { definition, key, checks, foreign_keys })
}

/// A default's text, and its value where it is a constant.
///
/// # Errors
/// `0A000` where it names a column, `42804` where its type does not fit.
pub(super) fn default_of(
    expr: &AstExpr,
    column: &str,
    ty: &SqlType,
    context: &PlanContext,
) -> SqlResult<(Option<String>, Option<Value>)> {
    let mut parameters = Parameters::default();
    parameters.look_at_expression(expr)?;
    if !parameters.finish().is_empty() {
        return Err(undefined_parameter("$1"));
    }
    let mut scope = Scope { table: None, context, parameters: &mut parameters };
    let bound = scope.bind(expr).and_then(|bound| scope.assign(bound, ty, column));
    let no_column = |error: SqlError| match error.state() {
        SqlState::UndefinedColumn | SqlState::UndefinedTable => {
            SqlError::new(SqlState::FeatureNotSupported, "cannot use column reference in DEFAULT expression")
        }
        _ => error,
    };
    checks::refuse_calls(expr, "DEFAULT expressions", "DEFAULT expression").map_err(|error| {
        // PostgreSQL looks at the arguments first.
        let columns = ast::visit_expressions(expr, |expr| match expr {
            AstExpr::Identifier(_) => std::ops::ControlFlow::Break(()),
            _ => std::ops::ControlFlow::Continue(()),
        });
        match error.state() == SqlState::GroupingError && columns.is_break() {
            true => SqlError::new(SqlState::FeatureNotSupported, "cannot use column reference in DEFAULT expression"),
            false => error,
        }
    })?;
    let value = match bound {
        Ok(Expr::Literal(value)) => Some(value),
        Ok(_) => None,
        Err(Stop::Error(error)) => return Err(error),
        Err(Stop::Relational) => {
            // Planned for its errors: names, types.
            let mut expr = expr.clone();
            super::rewrite::expression(&mut expr, context)?;
            query::expression(expr, &datafusion::common::DFSchema::empty(), context).map_err(no_column)?;
            None
        }
    };
    Ok((Some(expr.to_string()), value))
}

/// PRIMARY KEY, UNIQUE, CHECK or FOREIGN KEY.
pub(super) enum Constraint {
    /// PRIMARY KEY, UNIQUE
    Key(KeyConstraint),
    /// CHECK
    Check(CheckConstraint),
    /// FOREIGN KEY
    ForeignKey(ForeignKeyConstraint),
}

/// A constraint of a table.
///
/// # Errors
/// `0A000` for exclusion constraints.
pub(super) fn table_constraint(
    constraint: &TableConstraint,
    made: Option<&names::Qualified>,
    context: &PlanContext,
) -> SqlResult<Constraint> {
    let name = |name: &Option<Ident>| name.as_ref().map(fold);
    Ok(match constraint {
        TableConstraint::PrimaryKey(key) => {
            let deferral = deferral(key.characteristics.as_ref())?;
            let columns = key_columns(&key.columns)?;
            Constraint::Key(KeyConstraint { name: name(&key.name), columns, primary: true, deferral })
        }
        TableConstraint::Unique(key) => {
            refuse(key.nulls_distinct == ast::NullsDistinctOption::NotDistinct, "NULLS NOT DISTINCT")?;
            Constraint::Key(KeyConstraint {
                name: name(&key.name),
                columns: key_columns(&key.columns)?,
                primary: false,
                deferral: deferral(key.characteristics.as_ref())?,
            })
        }
        TableConstraint::Check(check) => {
            let expression = check.expr.to_string();
            Constraint::Check(CheckConstraint { name: name(&check.name), expression, not_valid: false })
        }
        TableConstraint::ForeignKey(key) => Constraint::ForeignKey(foreign_key(key, made, context)?),
        other => return Err(SqlError::unsupported(format_args!("constraint \"{other}\""))),
    })
}

/// A foreign key. `made` names the table that is being made: it may point to itself.
fn foreign_key(
    key: &ast::ForeignKeyConstraint,
    made: Option<&names::Qualified>,
    context: &PlanContext,
) -> SqlResult<ForeignKeyConstraint> {
    let deferral = deferral(key.characteristics.as_ref())?;
    let match_full = match &key.match_kind {
        None | Some(ast::ConstraintReferenceMatchKind::Simple) => false,
        Some(ast::ConstraintReferenceMatchKind::Full) => true,
        Some(ast::ConstraintReferenceMatchKind::Partial) => return Err(SqlError::unsupported("MATCH PARTIAL")),
    };
    let name = names::qualified(&key.foreign_table, context)?;
    // Where the table's own schema is known, a table of that name elsewhere is not meant.
    let itself = made.is_some_and(|made| {
        let fits = made.1 == name.1 && (name.0.is_none() || name.0 == made.0);
        fits && names::find(if made.0.is_some() { made } else { &name }, context).is_none()
    });
    let references = if itself { None } else { Some(names::base_table(&key.foreign_table, context)?.oid) };
    let action = |action: &Option<ast::ReferentialAction>| match action {
        None | Some(ast::ReferentialAction::NoAction) => ReferentialAction::NoAction,
        Some(ast::ReferentialAction::Restrict) => ReferentialAction::Restrict,
        Some(ast::ReferentialAction::Cascade) => ReferentialAction::Cascade,
        Some(ast::ReferentialAction::SetNull) => ReferentialAction::SetNull,
        Some(ast::ReferentialAction::SetDefault) => ReferentialAction::SetDefault,
    };
    Ok(ForeignKeyConstraint {
        name: key.name.as_ref().map(fold),
        columns: key.columns.iter().map(fold).collect(),
        references,
        referenced: key.referred_columns.iter().map(fold).collect(),
        on_update: action(&key.on_update),
        on_delete: action(&key.on_delete),
        match_full,
        deferral,
        not_valid: false,
    })
}

/// What DEFERRABLE and INITIALLY say.
///
/// # Errors
/// `42601` where they contradict each other.
fn deferral(characteristics: Option<&ast::ConstraintCharacteristics>) -> SqlResult<Deferral> {
    let Some(characteristics) = characteristics else { return Ok(Deferral::Never) };
    refuse(characteristics.enforced == Some(false), "NOT ENFORCED")?;
    match (characteristics.deferrable, &characteristics.initially) {
        (Some(false), Some(ast::DeferrableInitial::Deferred)) => {
            Err(SqlError::syntax("constraint declared INITIALLY DEFERRED must be DEFERRABLE"))
        }
        (_, Some(ast::DeferrableInitial::Deferred)) => Ok(Deferral::Deferred),
        (Some(true), _) => Ok(Deferral::Immediate),
        _ => Ok(Deferral::Never),
    }
}

/// Names of the columns of an index.
///
/// # Errors
/// `0A000` for expressions, descending order and operator classes.
pub(super) fn key_columns(columns: &[IndexColumn]) -> SqlResult<Vec<String>> {
    let mut found: Vec<String> = Vec::with_capacity(columns.len());
    for column in columns {
        let AstExpr::Identifier(ident) = &column.column.expr else {
            return Err(SqlError::unsupported("an index on an expression"));
        };
        refuse(column.column.options.asc == Some(false), "an index in descending order")?;
        refuse(column.column.options.nulls_first == Some(true), "an index with NULLS FIRST")?;
        refuse(column.operator_class.is_some(), "an operator class")?;
        let name = fold(ident);
        if found.contains(&name) {
            return Err(SqlError::new(SqlState::DuplicateColumn, format!("column \"{name}\" appears twice in a key")));
        }
        found.push(name);
    }
    Ok(found)
}

fn check_keys(keys: &[KeyConstraint], columns: &mut [ColumnDefinition], table: &str) -> SqlResult<()> {
    if keys.iter().filter(|key| key.primary).count() > 1 {
        return Err(SqlError::new(
            SqlState::InvalidTableDefinition,
            format!("multiple primary keys for table \"{table}\" are not allowed"),
        ));
    }
    for key in keys {
        for name in &key.columns {
            let column = columns.iter_mut().find(|column| column.name == *name).ok_or_else(|| {
                SqlError::new(SqlState::UndefinedColumn, format!("column \"{name}\" named in key does not exist"))
            })?;
            check_key_type(&column.ty, name)?;
            column.not_null |= key.primary;
        }
    }
    Ok(())
}

/// Which types have an order.
pub(super) fn check_key_type(ty: &SqlType, column: &str) -> SqlResult<()> {
    if matches!(ty, SqlType::Json | SqlType::JsonPath) || matches!(ty, SqlType::Coded(of) if !of.has_order()) {
        return Err(SqlError::new(
            SqlState::UndefinedObject,
            format!("data type {ty} has no default operator class for access method \"btree\""),
        ));
    }
    if matches!(ty, SqlType::Composite(_)) {
        return Err(SqlError::unsupported(format_args!("an index on the column \"{column}\" of a composite type")));
    }
    if matches!(ty, SqlType::Jsonb) {
        return Err(SqlError::unsupported(format_args!("an index on the jsonb column \"{column}\"")));
    }
    Ok(())
}

/// WITH ( name = value, … )
///
/// # Errors
/// `22023` for an unknown one.
pub(super) fn options(options: &CreateTableOptions) -> SqlResult<BTreeMap<String, String>> {
    match options {
        CreateTableOptions::None => Ok(BTreeMap::new()),
        CreateTableOptions::With(options) => storage_options(options),
        _ => Err(SqlError::unsupported("these options of a table")),
    }
}

/// Storage options as ALTER TABLE … SET and WITH give them.
///
/// # Errors
/// `22023` for an unknown one.
pub(super) fn storage_options(options: &[SqlOption]) -> SqlResult<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    for option in options {
        let (key, value) = match option {
            SqlOption::KeyValue { key, value } => (fold(key), option_value(value)),
            SqlOption::Ident(key) => (fold(key), "true".to_owned()),
            other => return Err(SqlError::unsupported(format_args!("option \"{other}\""))),
        };
        let known = matches!(
            key.as_str(),
            "fillfactor" | "parallel_workers" | "user_catalog_table" | "oids" | "time_column" | "partition"
        ) || key.starts_with("autovacuum_")
            || key.starts_with("toast_")
            || key.starts_with("toast.");
        if value == RESET {
            found.insert(key, value);
            continue;
        }
        if !known && !Retention::check(&key, &value)? {
            return Err(SqlError::new(SqlState::InvalidParameterValue, format!("unrecognized parameter \"{key}\"")));
        }
        if key == "fillfactor" && !value.parse::<u8>().is_ok_and(|v| (10..=100).contains(&v)) {
            return Err(SqlError::new(
                SqlState::InvalidParameterValue,
                format!("value {value} out of bounds for option \"fillfactor\""),
            )
            .detail("Valid values are between \"10\" and \"100\"."));
        }
        found.insert(key, value);
    }
    Ok(found)
}

fn option_value(value: &AstExpr) -> String {
    match value {
        AstExpr::Value(value) => match &value.value {
            ast::Value::SingleQuotedString(text) => text.clone(),
            other => other.to_string(),
        },
        AstExpr::Identifier(ident) => fold(ident),
        other => other.to_string(),
    }
}
