//! ALTER TABLE.

use std::sync::Arc;

use perigee_plan::ddl::AlterTable as Action;
use perigee_plan::role::RoleName;
use perigee_plan::{Ddl, Plan};
use perigee_types::catalog::{Object, Table};
use perigee_types::{SqlError, SqlResult};
use sqlparser::ast::{AlterColumnOperation, AlterTable, AlterTableOperation, DropBehavior, Owner, RenameTableNameKind};

use super::table::{Constraint, column, default_of, storage_options, table_constraint};
use super::{Planned, names, refuse};
use crate::sql::context::PlanContext;
use crate::sql::parse::fold;

/// Plans ALTER TABLE.
///
/// # Errors
/// `42P01`, `42703` and the like; `0A000` for actions that Perigee does not have.
pub(super) fn plan(alter: &AlterTable, context: &PlanContext) -> SqlResult<Planned> {
    refuse(alter.table_type.is_some() || alter.location.is_some(), "this ALTER TABLE")?;
    let name = names::qualified(&alter.name, context)?;
    let table = match names::find(&name, context) {
        Some(Object::Table(table)) if table.materialized.is_none() => Some(Arc::clone(table)),
        Some(_) => return Err(names::not_a_table(&name.1)),
        None if alter.if_exists => None,
        None => return Err(names::undefined_table(&name)),
    };
    let mut actions = Vec::new();
    if let Some(table) = &table {
        for operation in &alter.operations {
            action(table, operation, &mut actions, context)?;
        }
    }
    Ok(Planned::command(Plan::Ddl(Ddl::AlterTable { table, actions }), "ALTER TABLE"))
}

fn action(
    table: &Arc<Table>,
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
        AlterTableOperation::RenameTable {
            table_name: RenameTableNameKind::To(name) | RenameTableNameKind::As(name),
        } => Action::Rename { to: fold(names::last_ident(name)?) },
        AlterTableOperation::AlterColumn { column_name, op } => {
            alter_column(table, existing(table, fold(column_name), false)?, op, context)?
        }
        AlterTableOperation::AddConstraint { constraint, not_valid } => {
            refuse(*not_valid, "NOT VALID")?;
            match table_constraint(constraint, None, context)? {
                Constraint::Key(key) => {
                    for name in &key.columns {
                        let place = names::column(table, name).map_err(|_| {
                            SqlError::new(
                                perigee_types::SqlState::UndefinedColumn,
                                format!("column \"{name}\" named in key does not exist"),
                            )
                        })?;
                        super::table::check_key_type(&table.columns[place].ty, name)?;
                    }
                    Action::AddKey(key)
                }
                Constraint::Check(check) => {
                    super::checks::validate_one(table, &check, context)?;
                    Action::AddCheck(check)
                }
                Constraint::ForeignKey(key) => Action::AddForeignKey(key),
            }
        }
        AlterTableOperation::DropConstraint { if_exists, name, drop_behavior } => {
            Action::DropConstraint { name: fold(name), if_exists: *if_exists, cascade: cascade(drop_behavior) }
        }
        AlterTableOperation::SetOptionsParens { options } => Action::SetOptions(storage_options(options)?),
        AlterTableOperation::OwnerTo { new_owner } => Action::Owner(match new_owner {
            Owner::Ident(name) => RoleName::Named(fold(name)),
            Owner::CurrentRole | Owner::CurrentUser => RoleName::Current,
            Owner::SessionUser => RoleName::Session,
        }),
        other => return Err(SqlError::unsupported(format_args!("ALTER TABLE {other}"))),
    });
    Ok(())
}

fn alter_column(
    table: &Table,
    column: String,
    operation: &AlterColumnOperation,
    context: &PlanContext,
) -> SqlResult<Action> {
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
        AlterColumnOperation::SetDataType { .. } => return Err(SqlError::unsupported("ALTER COLUMN TYPE")),
        AlterColumnOperation::AddGenerated { .. } => return Err(SqlError::unsupported("ADD GENERATED")),
    })
}

/// The name of a column that is there, or may be missing.
fn existing(table: &Table, name: String, if_exists: bool) -> SqlResult<String> {
    if !if_exists {
        names::column(table, &name)?;
    }
    Ok(name)
}
