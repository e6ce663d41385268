//! CREATE TYPE, ALTER TYPE; CREATE, ALTER and DROP DOMAIN.

use std::sync::Arc;

use perigee_plan::ddl::{AlterType, CheckConstraint, ColumnDefinition, DropKind, TypeDefinition};
use perigee_plan::{Ddl, Plan};
use perigee_types::catalog::{TEMPORARY_SCHEMA, TypeKind, UserType};
use perigee_types::{SqlError, SqlResult, SqlState, SqlType};
use sqlparser::ast::{self, ColumnOption, DataType, Ident, ObjectName};

use super::table::default_of;
use super::types::{base_type, domain_of, sql_type};
use super::{Planned, names, refuse};
use crate::sql::context::PlanContext;
use crate::sql::parse::fold;
use crate::sql::statement::AlterTypeAction;

/// CREATE TYPE … AS ENUM
///
/// # Errors
/// `3F000`, `42501`
pub(super) fn create_enum(name: &ObjectName, labels: &[String], context: &PlanContext) -> SqlResult<Planned> {
    let name = names::qualified(name, context)?;
    let schema = names::creation_schema(&name, false, context)?;
    let definition = TypeDefinition::Enum(labels.to_vec());
    Ok(Planned::command(Plan::Ddl(Ddl::CreateType { schema, name: name.1, definition }), "CREATE TYPE"))
}

/// CREATE TYPE … AS (…)
///
/// # Errors
/// `3F000`, `42501`; `42701` for a name that is there twice, `42704` for an unknown type, `0A000` for one that a user made.
pub(super) fn create_composite(
    name: &ObjectName,
    attributes: &[(Ident, DataType)],
    context: &PlanContext,
) -> SqlResult<Planned> {
    let name = names::qualified(name, context)?;
    let schema = names::creation_schema(&name, false, context)?;
    let mut found: Vec<(String, SqlType)> = Vec::with_capacity(attributes.len());
    for (attribute, ty) in attributes {
        let attribute = fold(attribute);
        if found.iter().any(|(known, _)| *known == attribute) {
            let text = format!("column \"{attribute}\" specified more than once");
            return Err(SqlError::new(SqlState::DuplicateColumn, text));
        }
        refuse(domain_of(ty).is_some(), "a domain as the type of an attribute")?;
        let ty = sql_type(ty)?;
        refuse(ty.user_type().is_some(), "a type that a user made as the type of an attribute")?;
        super::table::no_record(&attribute, &ty)?;
        if matches!(ty, SqlType::Unknown | SqlType::Void) {
            let text = format!("column \"{attribute}\" has pseudo-type {ty}");
            return Err(SqlError::new(SqlState::InvalidTableDefinition, text));
        }
        found.push((attribute, ty));
    }
    let definition = TypeDefinition::Composite(found);
    Ok(Planned::command(Plan::Ddl(Ddl::CreateType { schema, name: name.1, definition }), "CREATE TYPE"))
}

/// ALTER TYPE
///
/// # Errors
/// `42704` for an unknown type, `3F000` for an unknown schema.
pub(super) fn alter(
    name: &ObjectName,
    domain: bool,
    action: &AlterTypeAction,
    context: &PlanContext,
) -> SqlResult<Planned> {
    let found = find(&names::qualified(name, context)?, context)?;
    let is_domain = matches!(found.kind, TypeKind::Domain(_));
    if domain && !is_domain {
        let text = format!("\"{}\" is not a domain", found.name);
        return Err(SqlError::new(SqlState::WrongObjectType, text));
    }
    if is_domain && !domain && matches!(action, AlterTypeAction::AddValue { .. } | AlterTypeAction::RenameValue { .. })
    {
        return Err(SqlError::new(SqlState::WrongObjectType, format!("{} is not an enum", found.name)));
    }
    let ty = found.oid;
    let action = match action.clone() {
        AlterTypeAction::AddValue { label, if_not_exists, place } => {
            AlterType::AddValue { label, if_not_exists, place }
        }
        AlterTypeAction::RenameValue { from, to } => AlterType::RenameValue { from, to },
        AlterTypeAction::Rename(to) => AlterType::Rename { to: fold(&to) },
        AlterTypeAction::SetSchema(schema) => {
            let name = (Some(fold(&schema)), String::new());
            let schema = names::creation_schema(&name, false, context)?;
            refuse(schema == TEMPORARY_SCHEMA, "moving a type into a temporary schema")?;
            AlterType::SetSchema { schema }
        }
        AlterTypeAction::Owner(role) => {
            AlterType::Owner(role.map_or_else(|| context.user.to_owned(), |role| fold(&role)))
        }
        AlterTypeAction::SetDefault(default) => {
            let base = found.sql_type();
            let text = |expr| Ok::<_, SqlError>(default_of(&expr, &found.name, &base, context)?.0);
            AlterType::SetDefault(default.map(text).transpose()?.flatten())
        }
        AlterTypeAction::SetNotNull(not_null) => AlterType::SetNotNull(not_null),
        AlterTypeAction::AddCheck(name, check) => {
            let check =
                CheckConstraint { name: name.as_ref().map(fold), expression: check.to_string(), not_valid: false };
            validate(&found.name, found.sql_type(), std::slice::from_ref(&check), context)?;
            AlterType::AddCheck(check)
        }
        AlterTypeAction::DropConstraint(name, if_exists) => AlterType::DropConstraint { name: fold(&name), if_exists },
        AlterTypeAction::RenameConstraint(from, to) => AlterType::RenameConstraint { from: fold(&from), to: fold(&to) },
    };
    let tag = if domain { "ALTER DOMAIN" } else { "ALTER TYPE" };
    Ok(Planned::command(Plan::Ddl(Ddl::AlterType { ty, action }), tag))
}

/// CREATE DOMAIN
///
/// # Errors
/// What PostgreSQL's analysis would refuse.
pub(super) fn create_domain(statement: &ast::Statement, context: &PlanContext) -> SqlResult<Planned> {
    let ast::Statement::CreateTable(create) = statement else { return Err(SqlError::internal("not CREATE DOMAIN")) };
    let [column] = create.columns.as_slice() else { return Err(SqlError::syntax("syntax error in CREATE DOMAIN")) };
    let name = names::qualified(&create.name, context)?;
    let schema = names::creation_schema(&name, false, context)?;
    let of = domain_of(&column.data_type).map(|domain| domain.oid);
    let base = base_type(&column.data_type)?;
    if matches!(base, SqlType::Unknown | SqlType::Void) {
        let text = format!("\"{base}\" is not a valid base type for a domain");
        return Err(SqlError::new(SqlState::DatatypeMismatch, text));
    }
    let (mut default, mut not_null, mut checks) = (None, None, Vec::new());
    for option in &column.options {
        let constraint = option.name.as_ref().map(fold);
        match &option.option {
            ColumnOption::Null if not_null == Some(true) => return Err(conflicting()),
            ColumnOption::NotNull if not_null == Some(false) => return Err(conflicting()),
            ColumnOption::Null => not_null = Some(false),
            ColumnOption::NotNull => not_null = Some(true),
            ColumnOption::Default(_) if default.is_some() => {
                return Err(SqlError::syntax("multiple default expressions"));
            }
            ColumnOption::Default(expr) => default = default_of(expr, &name.1, &base, context)?.0,
            ColumnOption::Check(check) => {
                checks.push(CheckConstraint { name: constraint, expression: check.expr.to_string(), not_valid: false });
            }
            ColumnOption::Collation(_) => {}
            ColumnOption::Unique(_) => return Err(SqlError::syntax("unique constraints not possible for domains")),
            ColumnOption::PrimaryKey(_) => {
                return Err(SqlError::syntax("primary key constraints not possible for domains"));
            }
            ColumnOption::ForeignKey(_) => {
                return Err(SqlError::syntax("foreign key constraints not possible for domains"));
            }
            other => return Err(SqlError::syntax(format!("syntax error at or near \"{other}\""))),
        }
    }
    validate(&name.1, base.clone(), &checks, context)?;
    let definition = TypeDefinition::Domain { base, of, default, not_null: not_null == Some(true), checks };
    Ok(Planned::command(Plan::Ddl(Ddl::CreateType { schema, name: name.1, definition }), "CREATE DOMAIN"))
}

fn conflicting() -> SqlError {
    SqlError::syntax("conflicting NULL/NOT NULL constraints")
}

/// Plans the CHECKs of a domain, for their errors.
fn validate(name: &str, base: SqlType, checks: &[CheckConstraint], context: &PlanContext) -> SqlResult<()> {
    let value = ColumnDefinition {
        name: "value".to_owned(),
        ty: base,
        domain: None,
        not_null: false,
        default: None,
        generated: false,
        default_value: None,
        sequence: None,
        clauses: Default::default(),
        inherited: None,
    };
    super::checks::validate(name, &[value], checks, context)
}

/// DROP DOMAIN
///
/// # Errors
/// `42601` for a name of too many parts.
pub(super) fn drop_domains(
    names: &[ObjectName],
    if_exists: bool,
    cascade: bool,
    context: &PlanContext,
) -> SqlResult<Planned> {
    let names = names.iter().map(|name| names::qualified(name, context)).collect::<SqlResult<Vec<_>>>()?;
    Ok(Planned::command(Plan::Ddl(Ddl::Drop { kind: DropKind::Domain, names, if_exists, cascade }), "DROP DOMAIN"))
}

/// The type of a name, by the search path where it names no schema.
///
/// # Errors
/// `42704`
pub(super) fn find<'a>(name: &names::Qualified, context: &PlanContext<'a>) -> SqlResult<&'a Arc<UserType>> {
    let catalog = context.catalog;
    let within = |schema: &str| catalog.user_type(catalog.schema(context.tenant, schema)?.oid, &name.1);
    let found = match &name.0 {
        Some(schema) => within(schema),
        None => context.search_path.iter().find_map(|schema| within(schema)),
    };
    found.ok_or_else(|| {
        let name = match &name.0 {
            Some(schema) => format!("{schema}.{}", name.1),
            None => name.1.clone(),
        };
        SqlError::new(SqlState::UndefinedObject, format!("type \"{name}\" does not exist"))
    })
}
