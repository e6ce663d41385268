//! Partitions and inheritance: what a table has from its parents, how its rows are spread, and which rows a partition
//! takes.

use std::ops::ControlFlow;
use std::sync::Arc;

use perigee_plan::ddl::{
    AlterTable, BoundDefinition, CheckConstraint, ColumnDefinition, InheritedColumn, Lineage, PartitionBy,
    SequenceClauses,
};
use perigee_plan::{Ddl, Expr, Plan};
use perigee_types::catalog::{Column, ColumnDefault, Object, Table};
use perigee_types::partition::{Datum, PartitionKey, Strategy};
use perigee_types::{Oid, SqlError, SqlResult, SqlState, SqlType, Value};
use sqlparser::ast::{self, ColumnDef, CreateTable, DataType, ForValues, ObjectName, PartitionBoundValue};

use super::parameters::Parameters;
use super::scalar::{Scope, Stop};
use super::{Planned, checks, names};
use crate::sql::context::PlanContext;
use crate::sql::parse::partition::{PARENTS_TYPE, clause};
use crate::sql::parse::{fold, parse_expression};
use crate::sql::statement::{self, LineageChange};

/// The most columns of a partition key; PostgreSQL's limit.
const KEYS_MAX: usize = 32;

fn wrong(text: impl Into<String>) -> SqlError {
    SqlError::new(SqlState::InvalidTableDefinition, text)
}

/// The parents of a table that is being made, and which rows of one it takes.
///
/// # Errors
/// `42P17` where PARTITION OF names a table that is not partitioned, `42809` for what cannot be inherited from.
pub(super) fn lineage(create: &CreateTable, temporary: bool, context: &PlanContext) -> SqlResult<Lineage> {
    let mut lineage = Lineage::default();
    let refused = |text: String| Err(SqlError::new(SqlState::WrongObjectType, text));
    if let Some(parent) = &create.partition_of {
        let parent = names::base_table(parent, context)?;
        let Some(bound) = &create.for_values else {
            return Err(SqlError::syntax("syntax error at end of input"));
        };
        if parent.partitioning.is_none() {
            return Err(SqlError::new(
                SqlState::InvalidObjectDefinition,
                format!("\"{}\" is not partitioned", parent.name),
            ));
        }
        match (context.catalog.is_temporary(parent.schema), temporary) {
            (true, false) => {
                let text = "cannot create a permanent relation as partition of temporary relation";
                return refused(format!("{text} \"{}\"", parent.name));
            }
            (false, true) => {
                let text = "cannot create a temporary relation as partition of permanent relation";
                return refused(format!("{text} \"{}\"", parent.name));
            }
            _ => {}
        }
        lineage.bound = Some(self::bound(bound, &parent, context)?);
        lineage.parents.push(parent);
    }
    for name in create.inherits.iter().flatten() {
        let parent = names::base_table(name, context)?;
        if parent.partitioning.is_some() {
            return Err(SqlError::new(
                SqlState::WrongObjectType,
                format!("cannot inherit from partitioned table \"{}\"", parent.name),
            ));
        }
        if parent.is_partition() {
            return Err(SqlError::new(
                SqlState::WrongObjectType,
                format!("cannot inherit from partition \"{}\"", parent.name),
            ));
        }
        if context.catalog.is_temporary(parent.schema) && !temporary {
            return refused(format!("cannot inherit from temporary relation \"{}\"", parent.name));
        }
        if lineage.parents.iter().any(|other| other.oid == parent.oid) {
            return Err(SqlError::new(
                SqlState::DuplicateTable,
                format!("relation \"{}\" would be inherited from more than once", parent.name),
            ));
        }
        lineage.parents.push(parent);
    }
    Ok(lineage)
}

/// The definition of a column of a partition, with the type, or the domain, that its parent gives it.
///
/// # Errors
/// `42703` where the parent has no such column.
pub(super) fn with_type(definition: &ColumnDef, lineage: &Lineage) -> SqlResult<(ColumnDef, Option<Oid>)> {
    let mut definition = definition.clone();
    if let DataType::Custom(name, _) = &definition.data_type
        && names::last_ident(name).is_ok_and(|name| name.value == PARENTS_TYPE)
    {
        let name = fold(&definition.name);
        let parent = lineage.parents.first();
        let column = parent.and_then(|parent| parent.columns.iter().find(|column| column.name == name));
        let column = column
            .ok_or_else(|| SqlError::new(SqlState::UndefinedColumn, format!("column \"{name}\" does not exist")))?;
        definition.data_type = syntax_of(&column.ty)?;
        return Ok((definition, column.domain));
    }
    Ok((definition, None))
}

fn syntax_of(ty: &SqlType) -> SqlResult<DataType> {
    match parse_expression(&format!("NULL::{ty}"))? {
        ast::Expr::Cast { data_type, .. } => Ok(data_type),
        _ => Err(SqlError::internal(format_args!("type {ty} has no syntax"))),
    }
}

/// Puts the columns and CHECK constraints of the parents before a table's own, merging those of the same name.
///
/// # Errors
/// `42804` where types differ, `42611` where defaults do.
pub(super) fn inherit(
    lineage: &mut Lineage,
    columns: &mut Vec<ColumnDefinition>,
    own_checks: &mut Vec<CheckConstraint>,
) -> SqlResult<()> {
    let own = std::mem::take(columns);
    let mut conflicting: Option<String> = None;
    for parent in &lineage.parents {
        for column in parent.visible_columns() {
            let Some(known) = columns.iter_mut().find(|known| known.name == column.name) else {
                columns.push(inherited(column));
                continue;
            };
            refuse_other_type(&known.name, (&known.ty, known.domain), (&column.ty, column.domain))?;
            known.not_null |= column.not_null;
            if let Some(from) = &mut known.inherited {
                from.parents += 1;
                match (&from.default, passed_on(column)) {
                    (Some(one), Some(other)) if *one != other => conflicting = Some(column.name.clone()),
                    (None, other) => from.default = other,
                    _ => {}
                }
            }
        }
    }
    for definition in own {
        let Some(known) = columns.iter_mut().find(|known| known.name == definition.name) else {
            columns.push(definition);
            continue;
        };
        refuse_other_type(&known.name, (&known.ty, known.domain), (&definition.ty, definition.domain))?;
        known.not_null |= definition.not_null;
        if definition.default.is_some() || definition.sequence.is_some() {
            let inherited = known.inherited.as_ref().and_then(|inherited| inherited.default.as_ref());
            let is_generated = matches!(inherited, Some(ColumnDefault::Generated(_)));
            if is_generated != definition.generated {
                let name = &known.name;
                return Err(SqlError::new(
                    SqlState::InvalidColumnDefinition,
                    if is_generated {
                        format!("column \"{name}\" inherits from generated column but specifies default")
                    } else {
                        format!("child column \"{name}\" specifies generation expression")
                    },
                ));
            }
            known.default = definition.default;
            known.generated = definition.generated;
            known.default_value = definition.default_value;
            known.sequence = definition.sequence;
            known.clauses = definition.clauses;
            if conflicting.as_ref() == Some(&known.name) {
                conflicting = None;
            }
        }
        if let Some(inherited) = &mut known.inherited {
            inherited.local = true;
        }
    }
    if let Some(name) = conflicting {
        return Err(SqlError::new(
            SqlState::InvalidColumnDefinition,
            format!("column \"{name}\" inherits conflicting default values"),
        )
        .hint("To resolve the conflict, specify a default explicitly."));
    }
    let partition = lineage.bound.is_some();
    for check in lineage.parents.iter().flat_map(|parent| &parent.checks) {
        if let Some(known) = lineage.checks.iter_mut().find(|known| known.name == check.name) {
            if known.expression != check.expression {
                return Err(SqlError::new(
                    SqlState::DuplicateObject,
                    format!(
                        "check constraint name \"{}\" appears multiple times but with different expressions",
                        check.name
                    ),
                ));
            }
            known.inherited += 1;
            continue;
        }
        let mut check = perigee_types::catalog::Check { inherited: 1, local: false, ..check.clone() };
        own_checks.retain(|own| {
            let same = own.name.as_ref() == Some(&check.name)
                && checks::check_text(&own.expression, "", None).is_ok_and(|text| text == check.expression);
            // What a partition shares with its parent is the parent's.
            check.local |= same && !partition;
            !same
        });
        lineage.checks.push(check);
    }
    Ok(())
}

fn passed_on(column: &Column) -> Option<ColumnDefault> {
    // An identity is the parent's own.
    if column.identity_always.is_some() { None } else { column.default.clone() }
}

fn inherited(column: &Column) -> ColumnDefinition {
    ColumnDefinition {
        name: column.name.clone(),
        ty: column.ty.clone(),
        domain: column.domain,
        not_null: column.not_null,
        default: None,
        generated: false,
        default_value: None,
        sequence: None,
        clauses: SequenceClauses::default(),
        inherited: Some(InheritedColumn { parents: 1, local: false, default: passed_on(column) }),
    }
}

fn refuse_other_type(
    name: &str,
    (one, domain): (&SqlType, Option<Oid>),
    (other, other_domain): (&SqlType, Option<Oid>),
) -> SqlResult<()> {
    if one == other && domain == other_domain {
        return Ok(());
    }
    Err(SqlError::new(SqlState::DatatypeMismatch, format!("column \"{name}\" has a type conflict"))
        .detail(format!("{one} versus {other}")))
}

/// PARTITION BY of a table with these columns.
///
/// # Errors
/// `42703`, `42P17` and `22023` as PostgreSQL gives them.
pub(super) fn partition_by(clause_of: &ast::Expr, table: &Arc<Table>, context: &PlanContext) -> SqlResult<PartitionBy> {
    let (strategy, keys) = clause(clause_of)?;
    let strategy = match strategy.to_lowercase().as_str() {
        "range" => Strategy::Range,
        "list" => Strategy::List,
        "hash" => Strategy::Hash,
        other => {
            return Err(SqlError::new(
                SqlState::InvalidParameterValue,
                format!("unrecognized partitioning strategy \"{other}\""),
            ));
        }
    };
    let invalid = |text: &str| SqlError::new(SqlState::InvalidObjectDefinition, text);
    if strategy == Strategy::List && keys.len() > 1 {
        return Err(invalid("cannot use \"list\" partition strategy with more than one column"));
    }
    if keys.len() > KEYS_MAX {
        return Err(SqlError::new(
            SqlState::TooManyColumns,
            format!("cannot partition using more than {KEYS_MAX} columns"),
        ));
    }
    let mut found = Vec::with_capacity(keys.len());
    for key in &keys {
        let (expr, bare) = match key {
            ast::Expr::Nested(inner) => (inner.as_ref(), inner.as_ref()),
            ast::Expr::Collate { expr, .. } => (key, expr.as_ref()),
            other => (other, other),
        };
        if let ast::Expr::Identifier(ident) = bare {
            let name = fold(ident);
            let Some(column) = table.columns.iter().find(|column| column.name == name) else {
                if matches!(name.as_str(), "tableoid" | "xmin" | "xmax" | "cmin" | "cmax" | "ctid") {
                    return Err(invalid(&format!("cannot use system column \"{name}\" in partition key")));
                }
                return Err(SqlError::new(
                    SqlState::UndefinedColumn,
                    format!("column \"{name}\" named in partition key does not exist"),
                ));
            };
            if column.generated().is_some() {
                return Err(invalid("cannot use generated column in partition key")
                    .detail(format!("Column \"{name}\" is a generated column.")));
            }
            super::table::check_key_type(&column.ty, &name)?;
            super::refuse(matches!(column.ty, SqlType::Citext), "a citext column as a partition key")?;
            found.push((Some(name), None, column.ty.clone()));
            continue;
        }
        checks::refuse_calls(expr, "partition key expressions", "partition key expression")?;
        let pseudo = match expr {
            ast::Expr::Tuple(_) => Some("record"),
            ast::Expr::Value(value) if matches!(value.value, ast::Value::SingleQuotedString(_)) => Some("unknown"),
            _ => None,
        };
        if let Some(pseudo) = pseudo {
            return Err(wrong(format!("partition key column {} has pseudo-type {pseudo}", found.len() + 1)));
        }
        let text = expr.to_string();
        let columns = checks::check_columns(table, &text);
        if columns.is_empty() {
            return Err(invalid("cannot use constant expression as partition key"));
        }
        let generated = |number: &u16| {
            table.columns.iter().find(|c| c.number == *number).filter(|c| c.generated().is_some()).map(|c| &c.name)
        };
        if let Some(name) = columns.iter().find_map(generated) {
            return Err(invalid("cannot use generated column in partition key")
                .detail(format!("Column \"{name}\" is a generated column.")));
        }
        let (_, ty) = checks::row_expression(table, &text, context)?;
        found.push((None, Some(checks::check_text(&text, &table.name, None)?), ty));
    }
    Ok(PartitionBy { strategy, keys: found, every: None })
}

/// Which rows of `parent` a partition takes.
///
/// # Errors
/// `42P16` where the bound is not one of the parent's strategy, `42804` for values of other types.
pub(super) fn bound(bound: &ForValues, parent: &Table, context: &PlanContext) -> SqlResult<BoundDefinition> {
    let Some(partitioning) = &parent.partitioning else {
        return Err(SqlError::new(
            SqlState::InvalidObjectDefinition,
            format!("table \"{}\" is not partitioned", parent.name),
        ));
    };
    let strategy = partitioning.strategy;
    let keys = &partitioning.keys;
    match (bound, strategy) {
        (ForValues::Default, Strategy::Hash) => Err(wrong("a hash-partitioned table may not have a default partition")),
        (ForValues::Default, _) => Ok(BoundDefinition::Default),
        (ForValues::In(values), Strategy::List) => {
            let Some(key) = keys.first() else { return Err(SqlError::internal("a partition key of nothing")) };
            let values = values.iter().map(|value| constant(value, parent, key, context));
            Ok(BoundDefinition::List(values.collect::<SqlResult<_>>()?))
        }
        (ForValues::From { from, to }, Strategy::Range) => {
            for (word, values) in [("FROM", from), ("TO", to)] {
                if values.len() != keys.len() {
                    return Err(wrong(format!("{word} must specify exactly one value per partitioning column")));
                }
            }
            Ok(BoundDefinition::Range {
                from: datums(from, parent, keys, context)?,
                to: datums(to, parent, keys, context)?,
            })
        }
        (ForValues::With { modulus, remainder }, Strategy::Hash) => {
            let modulus = u32::try_from(*modulus).ok().filter(|modulus| (1..=i32::MAX as u32).contains(modulus));
            let modulus = modulus
                .ok_or_else(|| wrong("modulus for hash partition must be an integer value greater than zero"))?;
            let remainder = u32::try_from(*remainder).ok().filter(|remainder| *remainder < modulus);
            let remainder = remainder.ok_or_else(|| wrong("remainder for hash partition must be less than modulus"))?;
            Ok(BoundDefinition::Hash { modulus, remainder })
        }
        _ => Err(wrong(format!("invalid bound specification for a {} partition", strategy.name()))),
    }
}

fn datums(
    values: &[PartitionBoundValue],
    parent: &Table,
    keys: &[PartitionKey],
    context: &PlanContext,
) -> SqlResult<Vec<Result<Expr, Datum>>> {
    let mut found: Vec<Result<Expr, Datum>> = Vec::with_capacity(values.len());
    for (value, key) in values.iter().zip(keys) {
        let datum = match value {
            PartitionBoundValue::MinValue => Err(Datum::Minimum),
            PartitionBoundValue::MaxValue => Err(Datum::Maximum),
            PartitionBoundValue::Expr(expr) => Ok(constant(expr, parent, key, context)?),
        };
        if let Some(Err(before)) = found.last()
            && datum.as_ref().err() != Some(before)
        {
            let word = if *before == Datum::Minimum { "MINVALUE" } else { "MAXVALUE" };
            return Err(SqlError::new(
                SqlState::DatatypeMismatch,
                format!("every bound following {word} must also be {word}"),
            ));
        }
        if matches!(datum, Ok(Expr::Literal(Value::Null))) {
            return Err(SqlError::new(SqlState::InvalidObjectDefinition, "cannot specify NULL in range bound"));
        }
        found.push(datum);
    }
    Ok(found)
}

/// A value of a bound.
fn constant(expr: &ast::Expr, parent: &Table, key: &PartitionKey, context: &PlanContext) -> SqlResult<Expr> {
    refuse_in_bound(expr)?;
    let column = key.column.and_then(|number| parent.columns.iter().find(|c| c.number == number));
    let name = column.map_or_else(|| key.expression.clone().unwrap_or_default(), |column| column.name.clone());
    let mut parameters = Parameters::default();
    parameters.look_at_expression(expr)?;
    let mut scope = Scope { table: None, context, parameters: &mut parameters };
    let assigned = scope.bind(expr).and_then(|bound| scope.assign(bound, &key.ty, &name));
    match assigned {
        Ok(expr) => Ok(expr),
        Err(Stop::Error(error)) if error.state() == SqlState::DatatypeMismatch => Err(SqlError::new(
            SqlState::DatatypeMismatch,
            format!("specified value cannot be cast to type {} for column \"{name}\"", key.ty),
        )),
        Err(Stop::Error(error)) => Err(error),
        Err(Stop::Relational) => Err(SqlError::unsupported(format_args!("the expression {expr} in a partition bound"))),
    }
}

fn refuse_in_bound(expr: &ast::Expr) -> SqlResult<()> {
    let found = ast::visit_expressions(expr, |expr| match expr {
        ast::Expr::Identifier(_) | ast::Expr::CompoundIdentifier(_) => ControlFlow::Break(SqlError::new(
            SqlState::FeatureNotSupported,
            "cannot use column reference in partition bound expression",
        )),
        _ => ControlFlow::Continue(()),
    });
    checks::refuse_calls(expr, "partition bound", "partition bound")?;
    match found {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

/// ATTACH PARTITION, DETACH PARTITION, INHERIT, NO INHERIT.
///
/// # Errors
/// `42P01`, `42809`, and what [`bound`] gives.
pub(super) fn alter(change: &statement::Lineage, context: &PlanContext) -> SqlResult<Planned> {
    let name = names::qualified(&change.table, context)?;
    let ddl =
        |table, actions| Planned::command(Plan::Ddl(Ddl::AlterTable { table, actions, only: true }), "ALTER TABLE");
    let table = match names::find(&name, context) {
        Some(Object::Table(table)) => Arc::clone(table),
        Some(_) => return Err(names::not_a_table(&name.1)),
        None if change.if_exists => return Ok(ddl(None, Vec::new())),
        None => return Err(names::undefined_table(&name)),
    };
    let of = |name: &ObjectName| names::base_table(name, context);
    let action = match &change.change {
        LineageChange::Attach { child, bound } => {
            let bound = self::bound(bound, &table, context)?;
            AlterTable::Attach { child: of(child)?, bound }
        }
        LineageChange::Detach { child } => {
            if table.partitioning.is_none() {
                return Err(SqlError::new(
                    SqlState::WrongObjectType,
                    format!("table \"{}\" is not partitioned", table.name),
                ));
            }
            AlterTable::Detach { child: of(child)? }
        }
        LineageChange::Inherit { parent } => AlterTable::Inherit { parent: of(parent)? },
        LineageChange::NoInherit { parent } => AlterTable::NoInherit { parent: of(parent)? },
    };
    Ok(ddl(Some(table), vec![action]))
}
