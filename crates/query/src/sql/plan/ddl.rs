//! The smaller statements of the catalog: CREATE INDEX, SCHEMA, SEQUENCE; DROP; TRUNCATE; COMMENT.

use std::sync::Arc;

use perigee_plan::ddl::{DropKind, IndexKeyDefinition};
use perigee_plan::role::RoleName;
use perigee_plan::{Ddl, Plan};
use perigee_types::catalog::{Column, Object, Table, extension};
use perigee_types::{Oid, SqlError, SqlResult, SqlState};
use sqlparser::ast::{
    self, CommentObject, CreateIndex, Expr, IndexColumn, IndexType, ObjectName, ObjectType, SchemaName, Truncate,
    TruncateIdentityOption,
};

use super::table::check_key_type;
use super::{Planned, checks, names, refuse};
use crate::sql::context::PlanContext;
use crate::sql::parse::{CONSTRAINT_MARK, fold};
use crate::sql::statement::Statement;

/// Plans a statement that changes the catalog.
///
/// # Errors
/// What PostgreSQL's analysis would refuse; `0A000` for every statement that Perigee does not have.
pub(super) fn plan(statement: &Statement, ast: &ast::Statement, context: &PlanContext) -> SqlResult<Planned> {
    let (ddl, tag) = match ast {
        ast::Statement::CreateIndex(create) => (create_index(create, context)?, "CREATE INDEX"),
        ast::Statement::CreateSchema { schema_name, if_not_exists, .. } => {
            (create_schema(schema_name, *if_not_exists)?, "CREATE SCHEMA")
        }
        ast::Statement::Drop { object_type, if_exists, names, cascade, temporary, .. } => {
            refuse(*temporary, "DROP TEMPORARY")?;
            drop(*object_type, *if_exists, names, *cascade, context)?
        }
        ast::Statement::CreateExtension(create) => {
            let (name, if_not_exists) = (fold(&create.name), create.if_not_exists);
            if extension(&name).is_none() {
                return Err(no_extension(&name));
            }
            (Ddl::CreateExtension { name, if_not_exists }, "CREATE EXTENSION")
        }
        ast::Statement::DropExtension(drop) => {
            let names = drop.names.iter().map(|name| (None, fold(name))).collect();
            let cascade = drop.cascade_or_restrict == Some(ast::ReferentialAction::Cascade);
            (Ddl::Drop { kind: DropKind::Extension, names, if_exists: drop.if_exists, cascade }, "DROP EXTENSION")
        }
        ast::Statement::Truncate(truncate) => (self::truncate(truncate, context)?, "TRUNCATE TABLE"),
        ast::Statement::Comment { object_type, object_name, comment, if_exists } => {
            refuse(*if_exists, "COMMENT IF EXISTS")?;
            (self::comment(*object_type, object_name, comment.clone(), context)?, "COMMENT")
        }
        _ => {
            let words: Vec<_> = statement.text.split_whitespace().take(2).collect();
            return Err(SqlError::unsupported(words.join(" ").to_uppercase()));
        }
    };
    Ok(Planned::command(Plan::Ddl(ddl), tag))
}

/// What PostgreSQL says of an extension that is not installed on its system, and what is there without it.
fn no_extension(name: &str) -> SqlError {
    let built_in = match name {
        "timescaledb" => Some("create_hypertable, time_bucket, first and last, WITH (continuous)"),
        _ => None,
    };
    let error = SqlError::new(SqlState::FeatureNotSupported, format!("extension \"{name}\" is not available"))
        .detail("This server loads no extensions.");
    match built_in {
        Some(what) => error.hint(format!("Built in, without CREATE EXTENSION: {what}.")),
        None => error,
    }
}

fn create_index(create: &CreateIndex, context: &PlanContext) -> SqlResult<Ddl> {
    let instead_of = match &create.using {
        None | Some(IndexType::BTree | IndexType::Hash) => None,
        Some(IndexType::GIN) => Some("gin"),
        Some(IndexType::GiST) => Some("gist"),
        Some(IndexType::SPGiST) => Some("spgist"),
        Some(IndexType::BRIN) => Some("brin"),
        Some(other) => {
            let name = other.to_string().to_lowercase();
            return Err(SqlError::unsupported(format_args!("access method \"{name}\"")));
        }
    };
    if let Some(method) = instead_of.filter(|_| create.unique) {
        let message = format!("access method \"{method}\" does not support unique indexes");
        return Err(SqlError::new(SqlState::FeatureNotSupported, message));
    }
    refuse(create.nulls_distinct == Some(false), "NULLS NOT DISTINCT")?;
    let table = names::table(&create.table_name, context)?;
    refuse(table.materialized.as_ref().is_some_and(|m| m.continuous.is_some()), "an index on a continuous aggregate")?;
    let key = |key| index_key(key, &table, instead_of.is_some(), context);
    let keys = create.columns.iter().map(key).collect::<SqlResult<Vec<_>>>()?;
    let predicate = match &create.predicate {
        Some(predicate) => Some(checks::index_predicate(&table, predicate, context)?),
        None => None,
    };
    let include: Vec<String> = create.include.iter().map(fold).collect();
    for name in &include {
        index_column(&table, name)?;
    }
    let name = match &create.name {
        None if create.if_not_exists => {
            return Err(SqlError::syntax("syntax error at or near \"ON\""));
        }
        name => name.as_ref().map(names::last_ident).transpose()?.map(fold),
    };
    let (unique, if_not_exists) = (create.unique, create.if_not_exists);
    Ok(Ddl::CreateIndex { table, name, keys, predicate, include, unique, instead_of, if_not_exists })
}

fn index_column<'a>(table: &'a Table, name: &str) -> SqlResult<&'a Column> {
    let found = table.visible_columns().iter().find(|column| column.name == name);
    found.ok_or_else(|| SqlError::new(SqlState::UndefinedColumn, format!("column \"{name}\" does not exist")))
}

/// `substituted`: another access method was asked for, for which a type need not have an order. Of one without it the index says
/// which values are NULL.
fn index_key(
    key: &IndexColumn,
    table: &Arc<Table>,
    substituted: bool,
    context: &PlanContext,
) -> SqlResult<IndexKeyDefinition> {
    if let Some(class) = key.operator_class.as_ref().filter(|_| !substituted) {
        // Text orders by bytes, which is what these classes ask for.
        let class = class.to_string().to_lowercase();
        let known = ["text_ops", "varchar_ops", "bpchar_ops", "text_pattern_ops", "varchar_pattern_ops"];
        let known = known.contains(&class.as_str()) || class.ends_with("_ops") && class.starts_with("int");
        refuse(!known, "this operator class")?;
    }
    let mut expr = &key.column.expr;
    while let Expr::Nested(inner) = expr {
        expr = inner;
    }
    let descending = key.column.options.asc == Some(false);
    let nulls_first = key.column.options.nulls_first.unwrap_or(descending);
    let mut name = index_expression_name(expr);
    let is_null = Expr::IsNull(Box::new(match expr {
        Expr::Identifier(_) => expr.clone(),
        other => Expr::Nested(Box::new(other.clone())),
    }));
    if let Expr::Identifier(ident) = expr {
        name = fold(ident);
        match check_key_type(&index_column(table, &name)?.ty, &name) {
            Ok(()) => return Ok(IndexKeyDefinition { name, expression: None, descending, nulls_first }),
            Err(_) if substituted => expr = &is_null,
            Err(error) => return Err(error),
        }
    }
    let (mut text, mut ty) = checks::index_expression(table, expr, context)?;
    match check_key_type(&ty, "expr") {
        Err(_) if substituted => (text, ty) = checks::index_expression(table, &is_null, context)?,
        checked => checked?,
    }
    Ok(IndexKeyDefinition { name, expression: Some((text, ty)), descending, nulls_first })
}

/// What an expression is called in the name of an index.
pub(super) fn index_expression_name(expr: &Expr) -> String {
    match super::columns::expression_name(expr) {
        name if name == super::columns::UNNAMED => "expr".to_owned(),
        name => name,
    }
}

fn create_schema(name: &SchemaName, if_not_exists: bool) -> SqlResult<Ddl> {
    let role = |ident: &ast::Ident| match fold(ident).as_str() {
        "current_user" | "current_role" if ident.quote_style.is_none() => RoleName::Current,
        "session_user" if ident.quote_style.is_none() => RoleName::Session,
        name => RoleName::Named(name.to_owned()),
    };
    let (name, owner) = match name {
        SchemaName::Simple(name) => (fold(names::last_ident(name)?), None),
        SchemaName::NamedAuthorization(name, owner) => (fold(names::last_ident(name)?), Some(role(owner))),
        SchemaName::UnnamedAuthorization(owner) => match role(owner) {
            RoleName::Named(name) => (name.clone(), Some(RoleName::Named(name))),
            _ => return Err(SqlError::unsupported("CREATE SCHEMA AUTHORIZATION CURRENT_USER without a name")),
        },
    };
    if name.starts_with("pg_") {
        return Err(SqlError::new(SqlState::ReservedName, format!("unacceptable schema name \"{name}\""))
            .detail("The prefix \"pg_\" is reserved for system schemas."));
    }
    Ok(Ddl::CreateSchema { name, if_not_exists, owner })
}

fn drop(
    kind: ObjectType,
    if_exists: bool,
    names: &[ObjectName],
    cascade: bool,
    context: &PlanContext,
) -> SqlResult<(Ddl, &'static str)> {
    let (kind, tag) = match kind {
        ObjectType::Table => (DropKind::Table, "DROP TABLE"),
        ObjectType::View => (DropKind::View, "DROP VIEW"),
        ObjectType::MaterializedView => (DropKind::MaterializedView, "DROP MATERIALIZED VIEW"),
        ObjectType::Index => (DropKind::Index, "DROP INDEX"),
        ObjectType::Sequence => (DropKind::Sequence, "DROP SEQUENCE"),
        ObjectType::Schema => (DropKind::Schema, "DROP SCHEMA"),
        ObjectType::Type => (DropKind::Type, "DROP TYPE"),
        other => return Err(SqlError::unsupported(format_args!("DROP {other}"))),
    };
    let names = names.iter().map(|name| names::qualified(name, context)).collect::<SqlResult<Vec<_>>>()?;
    Ok((Ddl::Drop { kind, names, if_exists, cascade }, tag))
}

fn truncate(truncate: &Truncate, context: &PlanContext) -> SqlResult<Ddl> {
    refuse(truncate.partitions.is_some() || truncate.if_exists, "this TRUNCATE")?;
    let mut tables = Vec::with_capacity(truncate.table_names.len());
    for target in &truncate.table_names {
        let table = names::base_table(&target.name, context)?;
        if target.only && table.partitioning.is_some() {
            return Err(SqlError::new(SqlState::WrongObjectType, "cannot truncate only a partitioned table")
                .hint("Do not specify the ONLY keyword, or use TRUNCATE ONLY on the partitions directly."));
        }
        let family = if target.only { vec![table] } else { context.catalog.family(&table) };
        // A table named twice is truncated once.
        for table in family {
            if tables.iter().all(|other: &std::sync::Arc<perigee_types::catalog::Table>| other.oid != table.oid) {
                tables.push(table);
            }
        }
    }
    let restart_identity = matches!(truncate.identity, Some(TruncateIdentityOption::Restart));
    let cascade = matches!(truncate.cascade, Some(ast::CascadeOption::Cascade));
    Ok(Ddl::Truncate { tables, restart_identity, cascade })
}

fn comment(kind: CommentObject, name: &ObjectName, text: Option<String>, context: &PlanContext) -> SqlResult<Ddl> {
    if matches!(kind, CommentObject::Column) {
        let mut table = name.clone();
        let column = fold(names::last_ident(name)?);
        table.0.pop();
        let table = names::table(&table, context)?;
        if let Some(name) = column.strip_suffix(CONSTRAINT_MARK) {
            let constraint = Some(constraint(&table, name, context)?);
            return Ok(Ddl::Comment { object: table.oid, column: None, constraint, text });
        }
        let number = table.columns[names::column(&table, &column)?].number;
        return Ok(Ddl::Comment { object: table.oid, column: Some(number), constraint: None, text });
    }
    if matches!(kind, CommentObject::Schema) {
        let name = fold(names::last_ident(name)?);
        let schema = context.catalog.schema(context.tenant, &name).ok_or_else(|| names::undefined_schema(&name))?;
        return Ok(Ddl::Comment { object: schema.oid, column: None, constraint: None, text });
    }
    let name = names::qualified(name, context)?;
    if matches!(kind, CommentObject::Type | CommentObject::Domain) {
        let object = super::user_type::find(&name, context)?.oid;
        return Ok(Ddl::Comment { object, column: None, constraint: None, text });
    }
    let found: Option<Oid> = match (kind, names::find(&name, context)) {
        (CommentObject::Table, Some(Object::Table(o))) if o.materialized.is_none() => Some(o.oid),
        (CommentObject::MaterializedView, Some(Object::Table(o))) if o.materialized.is_some() => Some(o.oid),
        (CommentObject::Sequence, Some(Object::Sequence(o))) => Some(o.oid),
        (CommentObject::View, Some(Object::View(o))) => Some(o.oid),
        (CommentObject::Index, Some(Object::Index(o))) => Some(o.oid),
        (
            CommentObject::Table
            | CommentObject::View
            | CommentObject::Index
            | CommentObject::MaterializedView
            | CommentObject::Sequence,
            Some(_),
        ) => {
            return Err(SqlError::new(
                SqlState::WrongObjectType,
                format!("\"{}\" is not a {}", name.1, kind.to_string().to_lowercase()),
            ));
        }
        (
            CommentObject::Table
            | CommentObject::View
            | CommentObject::Index
            | CommentObject::MaterializedView
            | CommentObject::Sequence,
            None,
        ) => None,
        _ => return Err(SqlError::unsupported(format_args!("COMMENT ON {kind}"))),
    };
    let object = found.ok_or_else(|| names::undefined_table(&name))?;
    Ok(Ddl::Comment { object, column: None, constraint: None, text })
}

/// The constraint of a table by its name.
fn constraint(table: &Table, name: &str, context: &PlanContext) -> SqlResult<Oid> {
    let of_index = context.catalog.indexes_of(table).find(|index| index.constraint && index.name == name);
    let check = table.checks.iter().find(|check| check.name == name).map(|check| check.oid);
    let foreign = table.foreign_keys.iter().find(|key| key.name == name).map(|key| key.oid);
    of_index.map(|index| index.oid).or(check).or(foreign).ok_or_else(|| {
        let message = format!("constraint \"{name}\" for table \"{}\" does not exist", table.name);
        SqlError::new(SqlState::UndefinedObject, message)
    })
}
