//! CREATE TYPE, ALTER TYPE; CREATE, ALTER and DROP DOMAIN.

use std::sync::Arc;

use perigee_plan::ddl::{AlterType, CheckConstraint, ColumnDefinition, DropKind, TypeDefinition};
use perigee_plan::{Ddl, Plan};
use perigee_types::catalog::{Function, Returns, TEMPORARY_SCHEMA, TypeKind, UserType, Volatility};
use perigee_types::range::RangeType;
use perigee_types::{CodedType, Oid, SqlError, SqlResult, SqlState, SqlType};
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

/// What may be said of a range type.
const RANGE_OPTIONS: [&str; 6] =
    ["subtype", "subtype_diff", "multirange_type_name", "subtype_opclass", "collation", "canonical"];

/// CREATE TYPE … AS RANGE
///
/// # Errors
/// `3F000`, `42501`; `42601` for an option that is not there, missing or given twice, `42704` for an unknown type or one without
/// an order, `42883` for an unknown function, `0A000` for what is not supported.
pub(super) fn create_range(
    name: &ObjectName,
    options: &[(Ident, DataType)],
    context: &PlanContext,
) -> SqlResult<Planned> {
    let name = names::qualified(name, context)?;
    let schema = names::creation_schema(&name, false, context)?;
    let mut given: [Option<&DataType>; 6] = [None; 6];
    for (option, value) in options {
        let option = fold(option);
        let Some(at) = RANGE_OPTIONS.iter().position(|known| *known == option) else {
            return Err(SqlError::syntax(format!("type attribute \"{option}\" not recognized")));
        };
        if given[at].replace(value).is_some() {
            return Err(SqlError::syntax("conflicting or redundant options"));
        }
    }
    let [subtype, subtype_diff, multirange, class, collation, canonical] = given;
    refuse(class.is_some(), "the operator class of a range type")?;
    refuse(canonical.is_some(), "the canonical function of a range type")?;
    if let Some(collation) = collation {
        let bare = object_name(collation)?.0.pop().and_then(|part| part.as_ident().map(fold)).unwrap_or_default();
        refuse(!matches!(bare.as_str(), "C" | "POSIX" | "default"), "a collation other than C of a range type")?;
    }
    let Some(subtype) = subtype else { return Err(SqlError::syntax("type attribute \"subtype\" is required")) };
    let subtype = range_subtype(subtype)?;
    let subtype_diff = subtype_diff.map(|function| distance(&object_name(function)?, &subtype, context)).transpose()?;
    let multirange = match multirange {
        Some(multirange) => {
            let multirange = names::qualified(&object_name(multirange)?, context)?;
            let is_elsewhere = names::creation_schema(&multirange, false, context)? != schema;
            refuse(is_elsewhere, "a multirange type in another schema than its range type")?;
            Some(multirange.1)
        }
        None => None,
    };
    let definition = TypeDefinition::Range { subtype, subtype_diff, multirange };
    Ok(Planned::command(Plan::Ddl(Ddl::CreateType { schema, name: name.1, definition }), "CREATE TYPE"))
}

/// The name that was read as one of a type.
fn object_name(read: &DataType) -> SqlResult<ObjectName> {
    match read {
        DataType::Custom(name, modifiers) if modifiers.is_empty() => Ok(name.clone()),
        other => Err(SqlError::syntax(format!("syntax error at or near \"{other}\""))),
    }
}

/// A type as that of a range's bounds, without a modifier.
fn range_subtype(ty: &DataType) -> SqlResult<SqlType> {
    refuse(domain_of(ty).is_some(), "a domain as the subtype of a range type")?;
    let ty = match sql_type(ty)?.without_second_digits() {
        SqlType::Numeric(_) => SqlType::Numeric(None),
        SqlType::Varchar(_) => SqlType::Varchar(None),
        other => other,
    };
    let is_shape = matches!(ty, SqlType::Coded(CodedType::Shape(_)));
    if matches!(ty, SqlType::Unknown | SqlType::Void) {
        let text = format!("range subtype cannot be {ty}");
        return Err(SqlError::new(SqlState::DatatypeMismatch, text));
    }
    if is_shape || matches!(ty, SqlType::Json | SqlType::JsonPath | SqlType::Xid) {
        let text = format!("data type {ty} has no default operator class for access method \"btree\"");
        return Err(SqlError::new(SqlState::UndefinedObject, text));
    }
    if !RangeType::takes(&ty) {
        return Err(SqlError::unsupported(format_args!("ranges of {ty}")));
    }
    Ok(ty)
}

/// The function that a range type names to measure how far two bounds are apart.
fn distance(name: &ObjectName, subtype: &SqlType, context: &PlanContext) -> SqlResult<Oid> {
    let (schema, name) = names::qualified(name, context)?;
    let fits = |function: &&Arc<Function>| {
        function.parameters.len() == 2 && function.parameters.iter().all(|parameter| parameter.ty == *subtype)
    };
    let within = |schema: &str| {
        let schema = context.catalog.schema(context.tenant, schema)?.oid;
        context.catalog.functions(schema, &name).find(fits)
    };
    let built_in = || crate::pg_catalog::built_in_function(&name, &[subtype.clone(), subtype.clone()]);
    let found = match schema.as_deref() {
        Some("pg_catalog") => return built_in().ok_or_else(|| undefined_distance(&name, subtype)),
        Some(schema) => within(schema),
        None => match built_in() {
            Some(oid) => return Ok(oid),
            None => context.search_path.iter().find_map(|schema| within(schema)),
        },
    };
    let function = found.ok_or_else(|| undefined_distance(&name, subtype))?;
    let refused = |why: &str| {
        let text = format!("range subtype diff function {name}({subtype}, {subtype}) must {why}");
        Err(SqlError::new(SqlState::InvalidObjectDefinition, text))
    };
    if function.returns != Returns::Value(SqlType::Float8) {
        return refused("return type double precision");
    }
    if function.volatility != Volatility::Immutable {
        return refused("be immutable");
    }
    Ok(function.oid)
}

fn undefined_distance(name: &str, subtype: &SqlType) -> SqlError {
    let text = format!("function {name}({subtype}, {subtype}) does not exist");
    SqlError::new(SqlState::UndefinedFunction, text)
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
