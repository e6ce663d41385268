//! Sequences; ALTER of what is not a table; LOCK and REINDEX.

use std::sync::Arc;

use perigee_plan::ddl::{AlterTable as Action, RelationChange, SequenceClauses};
use perigee_plan::{Ddl, Plan};
use perigee_types::catalog::{Deferral, Object, TEMPORARY_SCHEMA, Table};
use perigee_types::{Oid, SqlError, SqlResult, SqlState};
use sqlparser::ast::{self, Expr, ObjectName, SequenceOptions, UnaryOperator};

use super::{Planned, names};
use crate::sql::context::PlanContext;
use crate::sql::parse::fold;
use crate::sql::statement::{AlterAction, AlterStatement, SequenceStatement};

/// CREATE SEQUENCE
pub(super) fn create_sequence(create: &SequenceStatement, context: &PlanContext) -> SqlResult<Planned> {
    let name = names::qualified(&create.name, context)?;
    let schema = names::creation_schema(&name, create.temporary, context)?;
    let mut clauses = create.clauses.clone();
    if let Some(owner) = &create.owned_by {
        // The session's own schema may not exist yet.
        let of = if schema == TEMPORARY_SCHEMA {
            context.catalog.schema(context.tenant, context.temporary.name).map_or(schema, |schema| schema.oid)
        } else {
            schema
        };
        clauses.owned_by = Some(owner_of(owner.as_ref(), of, context)?);
    }
    let ddl = Ddl::CreateSequence { schema, name: name.1, if_not_exists: create.if_not_exists, clauses };
    Ok(Planned::command(Plan::Ddl(ddl), "CREATE SEQUENCE"))
}

/// The column of OWNED BY, in the sequence's schema.
fn owner_of(owner: Option<&ObjectName>, schema: Oid, context: &PlanContext) -> SqlResult<Option<(Oid, u16)>> {
    let Some(owner) = owner else { return Ok(None) };
    let mut table = owner.clone();
    table.0.pop();
    if table.0.is_empty() {
        return Err(SqlError::syntax("invalid OWNED BY option").hint("Specify OWNED BY table.column or OWNED BY NONE."));
    }
    let column = crate::sql::parse::fold(names::last_ident(owner)?);
    let name = names::qualified(&table, context)?;
    let table = match names::find(&name, context) {
        Some(Object::Table(table)) => table,
        Some(other) => {
            let text = format!("sequence cannot be owned by relation \"{}\"", other.name());
            return Err(SqlError::new(SqlState::WrongObjectType, text));
        }
        None => return Err(names::undefined_table(&name)),
    };
    if table.schema != schema {
        let text = "sequence must be in same schema as table it is linked to";
        return Err(SqlError::new(SqlState::ObjectNotInPrerequisiteState, text));
    }
    Ok(Some((table.oid, table.columns[names::column(table, &column)?].number)))
}

/// ALTER SEQUENCE, INDEX, VIEW, TABLE
pub(super) fn alter(alter: &AlterStatement, context: &PlanContext) -> SqlResult<Planned> {
    let tag = match alter.kind {
        "sequence" => "ALTER SEQUENCE",
        "index" => "ALTER INDEX",
        "view" => "ALTER VIEW",
        _ => "ALTER TABLE",
    };
    if alter.kind == "schema" {
        let name = fold(names::last_ident(&alter.name)?);
        let schema = context.catalog.schema(context.tenant, &name).ok_or_else(|| names::undefined_schema(&name))?;
        let AlterAction::Owner(role) = &alter.action else { return Err(SqlError::unsupported("ALTER SCHEMA")) };
        let (object, change) = (Some(schema.oid), RelationChange::Owner(role.clone()));
        return Ok(Planned::command(Plan::Ddl(Ddl::AlterRelation { object, name, change }), "ALTER SCHEMA"));
    }
    let name = names::qualified(&alter.name, context)?;
    let found = match names::find(&name, context) {
        None if alter.if_exists => None,
        None => return Err(names::undefined_table(&name)),
        Some(object) => {
            let fits = match object {
                Object::Sequence(_) => alter.kind == "sequence",
                Object::Index(_) => alter.kind == "index",
                Object::View(_) => alter.kind == "view",
                _ => false,
            };
            // ALTER TABLE renames and moves all of them.
            if !fits && alter.kind != "table" {
                let article = if alter.kind == "index" { "an" } else { "a" };
                let text = format!("\"{}\" is not {article} {}", name.1, alter.kind);
                return Err(SqlError::new(SqlState::WrongObjectType, text));
            }
            Some(object)
        }
    };
    let change = match &alter.action {
        AlterAction::Rename(to) => RelationChange::Rename(to.clone()),
        AlterAction::RenameColumn(from, to) => RelationChange::RenameColumn { from: from.clone(), to: to.clone() },
        AlterAction::SetSchema(schema) => {
            let to = context.catalog.schema(context.tenant, schema).ok_or_else(|| names::undefined_schema(schema))?;
            RelationChange::SetSchema(to.oid)
        }
        AlterAction::Owner(role) => RelationChange::Owner(role.clone()),
        AlterAction::Sequence(clauses, owner) => {
            let mut clauses = clauses.clone();
            if let (Some(owner), Some(Object::Sequence(sequence))) = (owner, found) {
                clauses.owned_by = Some(owner_of(owner.as_ref(), sequence.schema, context)?);
            }
            RelationChange::Sequence(clauses)
        }
        AlterAction::AttachIndex(child) => {
            let child = names::qualified(child, context)?;
            match names::find(&child, context) {
                Some(Object::Index(index)) => RelationChange::AttachIndex(index.oid),
                Some(_) => {
                    let text = format!("\"{}\" is not an index", child.1);
                    return Err(SqlError::new(SqlState::WrongObjectType, text));
                }
                None => return Err(names::undefined_table(&child)),
            }
        }
        AlterAction::AddIdentity { .. }
        | AlterAction::SetIdentity { .. }
        | AlterAction::DropIdentity { .. }
        | AlterAction::DropExpression { .. } => {
            let table = match found {
                Some(Object::Table(table)) => Some(Arc::clone(table)),
                Some(_) => return Err(names::not_a_table(&name.1)),
                None => None,
            };
            let actions = match &table {
                Some(table) => vec![identity(table, &alter.action)?],
                None => Vec::new(),
            };
            return Ok(Planned::command(Plan::Ddl(Ddl::AlterTable { table, actions, only: false }), tag));
        }
    };
    let ddl = match (found, &change) {
        (Some(Object::Table(table)), RelationChange::Rename(to)) => Ddl::AlterTable {
            table: Some(Arc::clone(table)),
            actions: vec![Action::Rename { to: to.clone() }],
            only: false,
        },
        (found, _) => Ddl::AlterRelation { object: found.map(Object::oid), name: name.1, change },
    };
    Ok(Planned::command(Plan::Ddl(ddl), tag))
}

fn identity(table: &Table, action: &AlterAction) -> SqlResult<Action> {
    Ok(match action {
        AlterAction::AddIdentity { column, always, clauses } => {
            names::column(table, column)?;
            Action::AddIdentity { column: column.clone(), always: *always, clauses: clauses.clone() }
        }
        AlterAction::SetIdentity { column, always, clauses } => {
            names::column(table, column)?;
            Action::SetIdentity { column: column.clone(), always: *always, clauses: clauses.clone() }
        }
        AlterAction::DropIdentity { column, if_exists } => {
            names::column(table, column)?;
            Action::DropIdentity { column: column.clone(), if_exists: *if_exists }
        }
        AlterAction::DropExpression { column, if_exists } => {
            names::column(table, column)?;
            Action::DropExpression { column: column.clone(), if_exists: *if_exists }
        }
        _ => return Err(SqlError::internal("not a change of an identity column")),
    })
}

/// What sqlparser read of an identity column's sequence.
pub(super) fn clauses(options: &[SequenceOptions]) -> SqlResult<SequenceClauses> {
    let mut clauses = SequenceClauses::default();
    for option in options {
        match option {
            SequenceOptions::IncrementBy(value, _) => clauses.increment = Some(integer(value)?),
            SequenceOptions::MinValue(value) => clauses.minimum = Some(value.as_ref().map(integer).transpose()?),
            SequenceOptions::MaxValue(value) => clauses.maximum = Some(value.as_ref().map(integer).transpose()?),
            SequenceOptions::StartWith(value, _) => clauses.start = Some(integer(value)?),
            SequenceOptions::Cache(value) => clauses.cache = Some(integer(value)?),
            // sqlparser keeps whether NO stands before it.
            SequenceOptions::Cycle(no) => clauses.cycle = Some(!no),
        }
    }
    Ok(clauses)
}

fn integer(expr: &Expr) -> SqlResult<i64> {
    let parsed = match expr {
        Expr::Value(value) => match &value.value {
            ast::Value::Number(number, _) => number.parse().ok(),
            _ => None,
        },
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => match &**expr {
            Expr::Value(value) => match &value.value {
                ast::Value::Number(number, _) => format!("-{number}").parse().ok(),
                _ => None,
            },
            _ => None,
        },
        _ => None,
    };
    parsed.ok_or_else(|| SqlError::syntax(format!("syntax error at or near \"{expr}\"")))
}

/// The tables of LOCK, with those that hold their rows, for a view those that it reads; and what the statement names.
pub(super) fn locked(tables: &[ObjectName], context: &PlanContext) -> SqlResult<(Vec<Arc<Table>>, Vec<Oid>)> {
    let (mut found, mut named) = (Vec::new(), Vec::new());
    for name in tables {
        let qualified = names::qualified(name, context)?;
        let object = names::find(&qualified, context);
        named.extend(object.map(Object::oid));
        match object {
            Some(Object::View(view)) => {
                let mut reads = view.depends_on.clone();
                let mut seen = 0;
                while let Some(oid) = reads.get(seen).copied() {
                    seen += 1;
                    match context.catalog.object(oid) {
                        Some(Object::Table(table)) => found.extend(context.catalog.family(table)),
                        Some(Object::View(view)) => {
                            let new: Vec<Oid> =
                                view.depends_on.iter().filter(|o| !reads.contains(o)).copied().collect();
                            reads.extend(new);
                        }
                        _ => {}
                    }
                }
            }
            Some(Object::Table(_)) | None => {
                let table = names::table(name, context)?;
                let only = names::is_only(name);
                found.extend(if only { vec![table] } else { context.catalog.family(&table) });
            }
            Some(_) => {
                let text = format!("\"{}\" is not a table or view", qualified.1);
                return Err(SqlError::new(SqlState::WrongObjectType, text));
            }
        }
    }
    Ok((found, named))
}

/// What REINDEX names.
///
/// # Errors
/// `42P01`, `42809`
pub(super) fn reindexed(index: bool, name: Option<&ObjectName>, context: &PlanContext) -> SqlResult<Option<Oid>> {
    let Some(name) = name else { return Ok(None) };
    let name = names::qualified(name, context)?;
    match (names::find(&name, context), index) {
        (Some(object @ Object::Index(_)), true) | (Some(object @ Object::Table(_)), false) => Ok(Some(object.oid())),
        (Some(_), true) => Err(SqlError::new(SqlState::WrongObjectType, format!("\"{}\" is not an index", name.1))),
        (Some(_), false) => {
            Err(SqlError::new(SqlState::WrongObjectType, format!("\"{}\" is not a table or materialized view", name.1)))
        }
        (None, _) => Err(names::undefined_table(&name)),
    }
}

/// The constraints of SET CONSTRAINTS, with those of partitions that are theirs.
///
/// # Errors
/// `42704` where there is none of a name, `42809` for one that is not deferrable.
pub(super) fn deferrable(names: &[ObjectName], context: &PlanContext) -> SqlResult<Vec<Oid>> {
    let catalog = context.catalog;
    let tables = || {
        catalog.objects().filter_map(|object| match object {
            Object::Table(table) => Some(table),
            _ => None,
        })
    };
    let mut found: Vec<Oid> = Vec::new();
    for name in names {
        let (schema, name) = names::qualified(name, context)?;
        let schemas = match &schema {
            Some(schema) => {
                vec![catalog.schema(context.tenant, schema).ok_or_else(|| names::undefined_schema(schema))?]
            }
            None => context.search_path.iter().filter_map(|s| catalog.schema(context.tenant, s)).collect(),
        };
        let mut of_name = Vec::new();
        let mut other = false;
        for schema in schemas {
            for table in tables().filter(|table| table.schema == schema.oid) {
                for key in table.foreign_keys.iter().filter(|key| key.name == name) {
                    if key.deferral == Deferral::Never { other = true } else { of_name.push(key.oid) }
                }
                for index in catalog.indexes_of(table).filter(|index| index.constraint && index.name == name) {
                    match index.definition.deferral {
                        Deferral::Never => other = true,
                        _ => of_name.push(index.oid),
                    }
                }
                other |= table.checks.iter().any(|check| check.name == name);
            }
            // The first schema of the path that has one is meant.
            if other || !of_name.is_empty() {
                break;
            }
        }
        if other && of_name.is_empty() {
            let text = format!("constraint \"{name}\" is not deferrable");
            return Err(SqlError::new(SqlState::WrongObjectType, text));
        }
        if of_name.is_empty() {
            let text = format!("constraint \"{name}\" does not exist");
            return Err(SqlError::new(SqlState::UndefinedObject, text));
        }
        found.extend(of_name);
    }
    // Those of partitions stand for their part of the rows.
    loop {
        let keys = tables().flat_map(|table| &table.foreign_keys);
        let keys = keys.map(|key| (key.oid, key.parent));
        let indexes = tables().flat_map(|table| catalog.indexes_of(table)).map(|index| (index.oid, index.parent));
        let below = keys.chain(indexes).filter(|(_, parent)| parent.is_some_and(|parent| found.contains(&parent)));
        let new: Vec<Oid> = below.map(|(oid, _)| oid).filter(|oid| !found.contains(oid)).collect();
        if new.is_empty() {
            return Ok(found);
        }
        found.extend(new);
    }
}
