//! CREATE, ALTER and DROP FUNCTION, of language `sql`.
//!
//! A function is kept as the text of its body and put in the place of each call when a statement is planned ([`body`]): nothing
//! runs functions.

pub(super) mod body;
pub(super) mod schemas;
mod volatile;

use std::sync::Arc;

use perigee_plan::ddl::{FunctionChange, FunctionName};
use perigee_plan::role::RoleName;
use perigee_plan::{Ddl, Plan};
use perigee_types::catalog::{AmbiguousFunction, Function, Parameter, Returns, TEMPORARY_SCHEMA};
use perigee_types::{Oid, SqlError, SqlResult, SqlState, SqlType};
use sqlparser::ast::{DataType, Expr, ObjectName, Value};

use super::parameters::Parameters;
use super::table::default_of;
use super::types::{domain_of, sql_type};
use super::{Planned, names, query, refuse};
use crate::exec::watch_types;
use crate::sql::context::PlanContext;
use crate::sql::parse::fold;
use crate::sql::statement::{AlterFunctionAction, FunctionStatement, ReturnsClause};

/// CREATE FUNCTION
///
/// # Errors
/// `0A000` for other languages and for bodies that are not one SELECT, `42P13` where it contradicts itself, and what planning
/// its body gives.
pub(super) fn create(statement: &FunctionStatement, context: &PlanContext) -> SqlResult<Planned> {
    let Some(language) = &statement.language else { return Err(invalid("no language specified")) };
    match language.as_str() {
        "sql" => {}
        "plpgsql" | "c" | "internal" => {
            return Err(SqlError::unsupported(format_args!("CREATE FUNCTION in language {language}")));
        }
        other => {
            let text = format!("language \"{other}\" does not exist");
            return Err(SqlError::new(SqlState::UndefinedObject, text));
        }
    }
    if let Some(what) = statement.unsupported {
        return Err(SqlError::unsupported(what));
    }
    let name = names::qualified(&statement.name, context)?;
    let schema = names::creation_schema(&name, false, context)?;
    refuse(schema == TEMPORARY_SCHEMA, "a temporary function")?;
    let (parameters, names_temporary) = watch_types(|| parameters(statement, context));
    let parameters = parameters?;
    let keeps_temporary = names_temporary && parameters.iter().any(|parameter| parameter.default.is_some());
    refuse(keeps_temporary, "a temporary type in what is not temporary")?;
    let returns = match &statement.returns {
        None => return Err(invalid("function result type must be specified")),
        Some(ReturnsClause::Value(ty)) => Returns::Value(bare(ty)?),
        Some(ReturnsClause::Set(ty)) => Returns::Set(bare(ty)?),
        Some(ReturnsClause::Table(columns)) => {
            let columns =
                columns.iter().map(|(name, ty)| Ok((fold(name), bare(ty)?))).collect::<SqlResult<Vec<_>>>()?;
            for (at, (name, _)) in columns.iter().enumerate() {
                let before = columns.iter().take(at).map(|(name, _)| Some(name));
                if parameters.iter().map(|p| p.name.as_ref()).chain(before).any(|other| other == Some(name)) {
                    return Err(invalid(format!("parameter name \"{name}\" used more than once")));
                }
            }
            Returns::Table(columns)
        }
    };
    let Some(source) = &statement.body else { return Err(invalid("no function body specified")) };
    let function = Function {
        oid: Oid(0),
        tenant: context.tenant,
        schema,
        name: name.1,
        owner: Oid(0),
        acl: None,
        parameters,
        returns,
        source: source.clone(),
        volatility: statement.volatility,
        strict: statement.strict,
        parallel: statement.parallel,
        comment: None,
    };
    check(&function, context)?;
    let ddl = Ddl::CreateFunction { replace: statement.replace, function: Box::new(function) };
    Ok(Planned::command(Plan::Ddl(ddl), "CREATE FUNCTION"))
}

/// ALTER FUNCTION, COMMENT ON FUNCTION
///
/// # Errors
/// `42704` for an unknown type, `3F000` for an unknown schema.
pub(super) fn alter(
    name: &ObjectName,
    parameters: Option<&[DataType]>,
    action: &AlterFunctionAction,
    context: &PlanContext,
) -> SqlResult<Planned> {
    let name = function_name(name, parameters, context)?;
    let change = match action {
        AlterFunctionAction::Rename(to) => FunctionChange::Rename(fold(to)),
        AlterFunctionAction::SetSchema(to) => {
            let schema = names::creation_schema(&(Some(fold(to)), String::new()), false, context)?;
            refuse(schema == TEMPORARY_SCHEMA, "a temporary function")?;
            FunctionChange::SetSchema(schema)
        }
        AlterFunctionAction::Owner(None) => FunctionChange::Owner(RoleName::Current),
        AlterFunctionAction::Owner(Some(role)) => FunctionChange::Owner(RoleName::Named(fold(role))),
        AlterFunctionAction::Comment(text) => FunctionChange::Comment(text.clone()),
    };
    let tag = if matches!(action, AlterFunctionAction::Comment(_)) { "COMMENT" } else { "ALTER FUNCTION" };
    Ok(Planned::command(Plan::Ddl(Ddl::AlterFunction { name, change }), tag))
}

fn function_name(name: &ObjectName, types: Option<&[DataType]>, context: &PlanContext) -> SqlResult<FunctionName> {
    let (schema, name) = names::qualified(name, context)?;
    let parameters = types.map(|types| types.iter().map(bare).collect()).transpose()?;
    Ok(FunctionName { schema, name, parameters })
}

/// The function that GRANT names.
///
/// # Errors
/// `42883`; `42725` where several have the name and their parameters are not written; `0A000` for one of PostgreSQL's own.
pub(super) fn named(name: &ObjectName, types: Option<&[DataType]>, context: &PlanContext) -> SqlResult<Arc<Function>> {
    let name = function_name(name, types, context)?;
    let own = crate::pg_catalog::kind_of_function(&name.name).is_some();
    match context.catalog.function_named(context.tenant, &name.path(context.search_path), &name.name, name.oids()) {
        Ok(Some(function)) => Ok(function),
        Ok(None) if own => Err(SqlError::unsupported("privileges on a function of the system")),
        Ok(None) => Err(name.undefined()),
        Err(AmbiguousFunction) => Err(name.ambiguous()),
    }
}

/// DROP FUNCTION
///
/// # Errors
/// `42704` for an unknown type.
pub(super) fn drop(
    names: &[(ObjectName, Option<Vec<DataType>>)],
    if_exists: bool,
    cascade: bool,
    context: &PlanContext,
) -> SqlResult<Planned> {
    let names = names
        .iter()
        .map(|(name, types)| function_name(name, types.as_deref(), context))
        .collect::<SqlResult<Vec<_>>>()?;
    Ok(Planned::command(Plan::Ddl(Ddl::DropFunctions { names, if_exists, cascade }), "DROP FUNCTION"))
}

fn invalid(text: impl Into<String>) -> SqlError {
    SqlError::new(SqlState::InvalidFunctionDefinition, text)
}

fn parameters(statement: &FunctionStatement, context: &PlanContext) -> SqlResult<Vec<Parameter>> {
    let mut all: Vec<Parameter> = Vec::with_capacity(statement.parameters.len());
    for clause in &statement.parameters {
        let name = clause.name.as_ref().map(fold);
        let ty = bare(&clause.data_type)?;
        let default = match &clause.default {
            Some(expr) => default_of(expr, name.as_deref().unwrap_or_default(), &ty, context)?.0,
            None if all.iter().any(|before| before.default.is_some()) => {
                let text = "input parameters after one with a default value must also have defaults";
                return Err(invalid(text));
            }
            None => None,
        };
        if name.is_some() && all.iter().any(|before| before.name == name) {
            return Err(invalid(format!("parameter name \"{}\" used more than once", name.unwrap_or_default())));
        }
        all.push(Parameter { name, ty, default });
    }
    Ok(all)
}

/// A type of a parameter or a result: modifiers are not kept.
fn bare(ty: &DataType) -> SqlResult<SqlType> {
    refuse(domain_of(ty).is_some(), "a function with a domain")?;
    let ty = sql_type(ty)?;
    let is_pseudo = matches!(ty, SqlType::Void | SqlType::Unknown | SqlType::Record(_));
    refuse(is_pseudo, &format!("a function with type {ty}"))?;
    Ok(without_modifier(ty))
}

fn without_modifier(ty: SqlType) -> SqlType {
    match ty {
        SqlType::Array(of) => SqlType::Array(Box::new(without_modifier(*of))),
        SqlType::Varchar(_) => SqlType::Varchar(None),
        SqlType::Numeric(_) => SqlType::Numeric(None),
        SqlType::Time(_) => SqlType::Time(None),
        SqlType::Timetz(_) => SqlType::Timetz(None),
        SqlType::Timestamp(_) => SqlType::Timestamp(None),
        SqlType::Timestamptz(_) => SqlType::Timestamptz(None),
        other => other,
    }
}

/// Plans the body with arguments that are NULL, for its errors and for the types of its columns.
fn check(function: &Function, context: &PlanContext) -> SqlResult<()> {
    let nulls = function.parameters.iter().map(|_| Expr::value(Value::Null)).collect();
    let body = body::instance(function, nulls, context)?;
    let alone = PlanContext { declared: &[], ..*context };
    let relational = query::relational(body, &alone, Parameters::default(), None)?;
    let (_, columns) = query::finish(&relational, None, 0, context)?;
    let wanted: Vec<&SqlType> = function.returns.types().collect();
    let mismatch = |ty: String| invalid(format!("return type mismatch in function declared to return {ty}"));
    let declared = match wanted.as_slice() {
        [one] => one.to_string(),
        _ => "record".to_owned(),
    };
    if columns.len() != wanted.len() {
        let detail = match wanted.len() {
            1 => "Final statement must return exactly one column.".to_owned(),
            _ if columns.len() > wanted.len() => "Final statement returns too many columns.".to_owned(),
            _ => "Final statement returns too few columns.".to_owned(),
        };
        return Err(mismatch(declared).detail(detail));
    }
    for (at, (column, wanted)) in columns.iter().zip(&wanted).enumerate() {
        if !fits(&column.ty, wanted) {
            let detail = match function.returns {
                Returns::Table(_) => {
                    format!("Final statement returns {} instead of {wanted} at column {}.", column.ty, at + 1)
                }
                _ => format!("Actual return type is {}.", column.ty),
            };
            return Err(mismatch(declared).detail(detail));
        }
    }
    Ok(())
}

/// Whether values of a type become another one's when they are assigned.
fn fits(from: &SqlType, to: &SqlType) -> bool {
    use SqlType as T;
    let number = |ty: &T| matches!(ty, T::Int2 | T::Int4 | T::Int8 | T::Float4 | T::Float8 | T::Numeric(_) | T::Oid);
    let text = |ty: &T| matches!(ty, T::Text | T::Varchar(_) | T::Char(_) | T::Name);
    let moment = |ty: &T| matches!(ty, T::Date | T::Timestamp(_) | T::Timestamptz(_));
    let json = |ty: &T| matches!(ty, T::Json | T::Jsonb);
    matches!(from, T::Unknown)
        || text(to)
        || number(from) && number(to)
        || moment(from) && (moment(to) || matches!(to, T::Time(_)) && !matches!(from, T::Date))
        || json(from) && json(to)
        || from.oid() == to.oid()
}
