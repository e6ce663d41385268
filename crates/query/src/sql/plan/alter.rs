//! ALTER TABLE.

use std::collections::BTreeMap;
use std::sync::Arc;

use perigee_plan::ddl::{AlterTable as Action, CheckConstraint, ColumnType, ForeignKeyConstraint, RelationChange};
use perigee_plan::role::RoleName;
use perigee_plan::{Ddl, Plan};
use perigee_types::catalog::{ColumnDefault, Object, Table};
use perigee_types::{SqlError, SqlResult, SqlState, SqlType};
use sqlparser::ast::{self, AlterColumnOperation, AlterTable, AlterTableOperation, DropBehavior, Expr, Ident, Owner};

use super::table::{Constraint, column, default_of, storage_options, table_constraint};
use super::types::{base_type, domain_of};
use super::{Planned, names, refuse};
use crate::sql::context::PlanContext;
use crate::sql::parse::{RESET, WITHOUT_EFFECT, fold};

/// Plans ALTER TABLE.
///
/// # Errors
/// `42P01`, `42703` and the like; `0A000` for actions that Perigee does not have.
pub(super) fn plan(alter: &AlterTable, context: &PlanContext) -> SqlResult<Planned> {
    refuse(alter.table_type.is_some() || alter.location.is_some(), "this ALTER TABLE")?;
    let name = names::qualified(&alter.name, context)?;
    let table = match names::find(&name, context) {
        Some(Object::Table(table)) if table.materialized.is_none() => Some(Arc::clone(table)),
        Some(object) => {
            // pg_dump writes OWNER TO of sequences and views so.
            let [AlterTableOperation::OwnerTo { new_owner }] = alter.operations.as_slice() else {
                return Err(names::not_a_table(&name.1));
            };
            let change = RelationChange::Owner(owner(new_owner));
            let ddl = Ddl::AlterRelation { object: Some(object.oid()), name: name.1, change };
            return Ok(Planned::command(Plan::Ddl(ddl), "ALTER TABLE"));
        }
        None if alter.if_exists => None,
        None => return Err(names::undefined_table(&name)),
    };
    let mut actions = Vec::new();
    if let Some(table) = &table {
        let mut operations: Vec<_> = alter.operations.iter().collect();
        operations.sort_by_key(|operation| pass(operation));
        // Each sees the table as the ones before it leave it.
        let mut current = Arc::clone(table);
        for operation in operations {
            let first = actions.len();
            action(&current, table, operation, &mut actions, context)?;
            for action in actions.iter().skip(first) {
                follow(Arc::make_mut(&mut current), action);
            }
        }
    }
    let (actions, only) = (together(actions), alter.only);
    Ok(Planned::command(Plan::Ddl(Ddl::AlterTable { table, actions, only }), "ALTER TABLE"))
}

/// What goes first where a statement has several actions: what drops, then new types, new columns, the rest.
fn pass(operation: &AlterTableOperation) -> u8 {
    use AlterColumnOperation::{DropDefault, DropNotNull, SetDataType};
    match operation {
        AlterTableOperation::DropColumn { .. }
        | AlterTableOperation::DropConstraint { .. }
        | AlterTableOperation::AlterColumn { op: DropDefault | DropNotNull, .. } => 0,
        AlterTableOperation::AlterColumn { op: SetDataType { .. }, .. } => 1,
        AlterTableOperation::AddColumn { .. } => 2,
        _ => 3,
    }
}

/// The table as an action leaves it, as far as planning the next ones asks.
fn follow(table: &mut Table, action: &Action) {
    match action {
        Action::AddColumn { column, .. } if table.column_position(&column.name).is_none() => {
            let mut added = column.column(table.next_column);
            added.not_null |= column.sequence.is_some();
            // Hidden columns stay behind the others.
            let place = table.visible_columns().len();
            table.columns.insert(place, added);
            table.next_column += 1;
        }
        Action::DropColumn { name, .. } => table.columns.retain(|column| column.name != *name),
        Action::SetDefault { column, default: None } => {
            if let Some(column) = table.columns.iter_mut().find(|other| other.name == *column) {
                column.default = None;
            }
        }
        Action::SetTypes(types) => {
            for new in types {
                if let Some(column) = table.columns.iter_mut().find(|other| other.name == new.column) {
                    column.ty = new.ty.clone();
                    column.domain = new.domain;
                }
            }
        }
        _ => {}
    }
}

/// New types of several columns are one action, so that the rows are written once, and each USING sees the old row.
fn together(actions: Vec<Action>) -> Vec<Action> {
    let mut merged: Vec<Action> = Vec::with_capacity(actions.len());
    for action in actions {
        match (merged.last_mut(), action) {
            (Some(Action::SetTypes(types)), Action::SetTypes(more)) => types.extend(more),
            (_, action) => merged.push(action),
        }
    }
    merged
}

/// `original` is the table before the statement: what USING is over.
fn action(
    table: &Arc<Table>,
    original: &Arc<Table>,
    operation: &AlterTableOperation,
    actions: &mut Vec<Action>,
    context: &PlanContext,
) -> SqlResult<()> {
    let cascade = |behavior: &Option<DropBehavior>| *behavior == Some(DropBehavior::Cascade);
    actions.push(match operation {
        AlterTableOperation::AddColumn { if_not_exists, column_def, column_position: None, .. } => {
            let added = column(column_def, None, context)?;
            // What comes with a column that is there already does not come either.
            if *if_not_exists && table.column_position(&added.definition.name).is_some() {
                refuse(!added.checks.is_empty() || !added.foreign_keys.is_empty(), "this ADD COLUMN IF NOT EXISTS")?;
            }
            if added.definition.generated {
                let mut with = Table::clone(table);
                with.columns.push(added.definition.column(table.next_column));
                super::checks::generated(&Arc::new(with), context)?;
            }
            actions.push(Action::AddColumn { column: added.definition, if_not_exists: *if_not_exists, key: added.key });
            actions.extend(added.checks.into_iter().map(Action::AddCheck));
            actions.extend(added.foreign_keys.into_iter().map(Action::AddForeignKey));
            return Ok(());
        }
        AlterTableOperation::DropColumn { column_names, if_exists, drop_behavior, .. } => {
            for name in column_names {
                actions.push(Action::DropColumn {
                    name: existing(table, fold(name), *if_exists)?,
                    if_exists: *if_exists,
                    cascade: cascade(drop_behavior),
                });
            }
            return Ok(());
        }
        AlterTableOperation::RenameColumn { old_column_name, new_column_name } => {
            Action::RenameColumn { from: existing(table, fold(old_column_name), false)?, to: fold(new_column_name) }
        }
        AlterTableOperation::RenameConstraint { old_name, new_name } => {
            Action::RenameConstraint { from: fold(old_name), to: fold(new_name) }
        }
        AlterTableOperation::AlterColumn { column_name, op } => {
            alter_column(table, original, existing(table, fold(column_name), false)?, op, context)?
        }
        AlterTableOperation::AddConstraint { constraint, not_valid } => {
            match table_constraint(constraint, None, context)? {
                Constraint::Key(_) if *not_valid => {
                    return Err(SqlError::unsupported("UNIQUE and PRIMARY KEY constraints cannot be marked NOT VALID"));
                }
                Constraint::Key(key) => {
                    for name in &key.columns {
                        let place = names::column(table, name).map_err(|_| {
                            SqlError::new(
                                SqlState::UndefinedColumn,
                                format!("column \"{name}\" named in key does not exist"),
                            )
                        })?;
                        super::table::check_key_type(&table.columns[place].ty, name)?;
                    }
                    Action::AddKey(key)
                }
                Constraint::Check(check) => {
                    super::checks::validate_one(table, &check, context)?;
                    Action::AddCheck(CheckConstraint { not_valid: *not_valid, ..check })
                }
                Constraint::ForeignKey(key) => {
                    Action::AddForeignKey(ForeignKeyConstraint { not_valid: *not_valid, ..key })
                }
            }
        }
        AlterTableOperation::ValidateConstraint { name } => match name.value.strip_prefix(WITHOUT_EFFECT) {
            // What [`crate::sql::parse`] makes of actions that have nothing to change here, with the column that they name.
            Some("") => return Ok(()),
            Some(column) => {
                existing(table, column.to_owned(), false)?;
                return Ok(());
            }
            None => Action::ValidateConstraint { name: fold(name) },
        },
        AlterTableOperation::ReplicaIdentity { .. } => return Ok(()),
        AlterTableOperation::DropConstraint { if_exists, name, drop_behavior } => {
            Action::DropConstraint { name: fold(name), if_exists: *if_exists, cascade: cascade(drop_behavior) }
        }
        AlterTableOperation::SetOptionsParens { options } => {
            let options = storage_options(options)?;
            let time = options.contains_key("time_column") || options.contains_key("partition");
            refuse(time, "SET of time_column and partition")?;
            let (reset, set): (BTreeMap<_, _>, _) = options.into_iter().partition(|(_, value)| value == RESET);
            Action::SetOptions { set, reset: reset.into_keys().collect() }
        }
        AlterTableOperation::OwnerTo { new_owner } => Action::Owner(owner(new_owner)),
        other => return Err(SqlError::unsupported(format_args!("ALTER TABLE {other}"))),
    });
    Ok(())
}

fn owner(name: &Owner) -> RoleName {
    match name {
        Owner::Ident(name) => RoleName::Named(fold(name)),
        Owner::CurrentRole | Owner::CurrentUser => RoleName::Current,
        Owner::SessionUser => RoleName::Session,
    }
}

fn alter_column(
    table: &Table,
    original: &Arc<Table>,
    column: String,
    operation: &AlterColumnOperation,
    context: &PlanContext,
) -> SqlResult<Action> {
    let is_identity = table.columns[names::column(table, &column)?].identity_always.is_some();
    let drops_default = matches!(operation, AlterColumnOperation::DropDefault);
    if is_identity
        && (drops_default
            || matches!(operation, AlterColumnOperation::SetDefault { .. } | AlterColumnOperation::DropNotNull))
    {
        let text = format!("column \"{column}\" of relation \"{}\" is an identity column", table.name);
        let error = SqlError::syntax(text);
        let hint = "Use ALTER TABLE ... ALTER COLUMN ... DROP IDENTITY instead.";
        return Err(if drops_default { error.hint(hint) } else { error });
    }
    let is_generated = table.columns[names::column(table, &column)?].generated().is_some();
    if is_generated && matches!(operation, AlterColumnOperation::SetDefault { .. } | AlterColumnOperation::DropDefault)
    {
        return Err(SqlError::syntax(format!(
            "column \"{column}\" of relation \"{}\" is a generated column",
            table.name
        )));
    }
    Ok(match operation {
        AlterColumnOperation::SetNotNull => Action::SetNotNull { column, not_null: true },
        AlterColumnOperation::DropNotNull => Action::SetNotNull { column, not_null: false },
        AlterColumnOperation::SetDefault { value } => {
            let ty = &table.columns[names::column(table, &column)?].ty;
            let (default, _) = default_of(value, &column, ty, context)?;
            Action::SetDefault { column, default }
        }
        AlterColumnOperation::DropDefault => Action::SetDefault { column, default: None },
        AlterColumnOperation::SetDataType { data_type, using, .. } => {
            let domain = domain_of(data_type).map(|domain| domain.oid);
            let new = set_type(table, original, column, base_type(data_type)?, using.as_ref(), context)?;
            Action::SetTypes(vec![ColumnType { domain, ..new }])
        }
        AlterColumnOperation::AddGenerated { generated_as, sequence_options } => Action::AddIdentity {
            column,
            always: matches!(generated_as, Some(ast::GeneratedAs::Always)),
            clauses: super::relation::clauses(sequence_options.as_deref().unwrap_or_default())?,
        },
    })
}

fn set_type(
    table: &Table,
    original: &Arc<Table>,
    name: String,
    ty: SqlType,
    using: Option<&Expr>,
    context: &PlanContext,
) -> SqlResult<ColumnType> {
    let mismatch = |text: String, hint: &str| {
        let error =
            SqlError::new(SqlState::DatatypeMismatch, format!("{text} cannot be cast automatically to type {ty}"));
        Err(if hint.is_empty() { error } else { error.hint(hint) })
    };
    if matches!(ty, SqlType::Unknown | SqlType::Void) {
        let text = format!("column \"{name}\" has pseudo-type {ty}");
        return Err(SqlError::new(SqlState::InvalidTableDefinition, text));
    }
    let column = &table.columns[names::column(table, &name)?];
    let mut changed = Table::clone(original);
    let Some(place) = changed.column_position(&name) else {
        return Err(SqlError::unsupported("ALTER COLUMN TYPE of a column that the statement adds"));
    };
    if column.ty != changed.columns[place].ty {
        let text = format!("cannot alter type of column \"{name}\" twice");
        return Err(SqlError::new(SqlState::FeatureNotSupported, text));
    }
    if let (Some(_), Some(_)) = (column.generated(), using) {
        return Err(SqlError::new(
            SqlState::InvalidColumnDefinition,
            "cannot specify USING when altering type of generated column",
        )
        .detail(format!("Column \"{name}\" is a generated column.")));
    }
    if column.identity_always.is_some() && !ty.is_integer() {
        return Err(SqlError::new(
            SqlState::InvalidParameterValue,
            "identity column type must be smallint, integer, or bigint",
        ));
    }
    if using.is_none() && !super::scalar::assignable(&column.ty, &ty) {
        let quoted = Ident::with_quote('"', &name);
        let plain = name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
        let shown = if plain { name.clone() } else { quoted.to_string() };
        let hint = format!("You might need to specify \"USING {shown}::{ty}\".");
        return mismatch(format!("column \"{name}\""), &hint);
    }
    let using = using.map(ToString::to_string);
    changed.columns[place].ty = ty.clone();
    if let Some(text) = &using {
        match super::checks::rewritten_value(original, &changed, place, Some(text), context) {
            Ok(_) => {}
            Err(error) if error.state() == SqlState::DatatypeMismatch => {
                let text = format!("result of USING clause for column \"{name}\"");
                return mismatch(text, "You might need to add an explicit cast.");
            }
            Err(error) => return Err(error),
        }
    }
    match &column.default {
        Some(ColumnDefault::Sequence(_)) if !ty.is_integer() && !matches!(ty, SqlType::Numeric(_)) => {
            return mismatch(format!("default for column \"{name}\""), "");
        }
        // A default has the column's type: it follows as a value of it would.
        Some(ColumnDefault::Expression(_)) if !super::scalar::assignable(&column.ty, &ty) => {
            return mismatch(format!("default for column \"{name}\""), "");
        }
        _ => {}
    }
    let indexed = context.catalog.indexes_of(original).any(|index| index.columns.contains(&column.number));
    if indexed {
        super::table::check_key_type(&ty, &name)?;
    }
    Ok(ColumnType { column: name, ty, domain: None, using })
}

/// The name of a column that is there, or may be missing.
fn existing(table: &Table, name: String, if_exists: bool) -> SqlResult<String> {
    if !if_exists {
        names::column(table, &name)?;
    }
    Ok(name)
}
