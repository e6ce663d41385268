//! Which members of a table's family a scan reads: its partitions, and the tables that inherit from it.
//!
//! Plans name the table alone. Members are found when a plan is made ready to run, with the values of its parameters at
//! hand, so a partition that cannot hold a matching row is not even opened. What is left out is decided level by level:
//! a partition goes with all below it.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};
use perigee_storage::arrow_value::value_at;
use perigee_types::catalog::{Catalog, Table};
use perigee_types::partition::{Domain, PartitionBound, Router, bytes_of};
use perigee_types::{SqlType, TableId, Value};

/// Keys that are tried one by one, at most.
const KEYS_MAX: usize = 256;

/// The tables with rows of `root`'s family that may pass `filters`, which are over the root's columns.
pub(super) fn members(catalog: &Catalog, root: &Arc<Table>, filters: &[Expr]) -> Result<Vec<Arc<Table>>> {
    let conjuncts: Vec<&Expr> = filters.iter().flat_map(split_conjunction).collect();
    let mut all = Vec::new();
    collect(catalog, root, &conjuncts, &mut all);
    Ok(all)
}

fn collect(catalog: &Catalog, table: &Arc<Table>, conjuncts: &[&Expr], all: &mut Vec<Arc<Table>>) {
    let Some(router) = catalog.router(table) else {
        if all.iter().all(|known| known.oid != table.oid) {
            all.push(Arc::clone(table));
        }
        for child in catalog.children(table.oid) {
            collect(catalog, child, conjuncts, all);
        }
        return;
    };
    let mut children: Vec<&Arc<Table>> = catalog.children(table.oid).collect();
    children.sort_by_key(|child| (order(child), child.oid));
    for child in children {
        let Some(bound) = &child.bound else { continue };
        let link = Link { parent: table, child: child.oid, bound, router: &router };
        if link.may_hold(conjuncts) {
            collect(catalog, child, conjuncts, all);
        }
    }
}

/// Where a partition stands among its siblings, as PostgreSQL lists them: by bound, the default one last.
fn order(child: &Table) -> (bool, Vec<u8>) {
    match &child.bound {
        None | Some(PartitionBound::Default) => (true, Vec::new()),
        Some(bound @ (PartitionBound::List(_) | PartitionBound::Range { .. })) => match bound.domain(0) {
            Domain::Values(values) => (false, values.into_iter().min().unwrap_or_default()),
            Domain::Between { low, .. } => (false, low.unwrap_or_default()),
            Domain::Any => (false, Vec::new()),
        },
        Some(PartitionBound::Hash { modulus, remainder }) => {
            (false, [modulus.to_be_bytes(), remainder.to_be_bytes()].concat())
        }
    }
}

/// A partition and the table that it is one of.
struct Link<'a> {
    parent: &'a Table,
    child: TableId,
    bound: &'a PartitionBound,
    router: &'a Router,
}

/// What a condition says about one column.
enum Condition<'a> {
    Compare(Operator, &'a ScalarValue),
    In(Vec<&'a ScalarValue>),
    Null(bool),
}

impl Link<'_> {
    /// Whether the partition may hold a row for which all of these are true.
    fn may_hold(&self, conjuncts: &[&Expr]) -> bool {
        conjuncts.iter().all(|conjunct| self.possible(conjunct)) && self.keys_lead_here(conjuncts)
    }

    fn possible(&self, expr: &Expr) -> bool {
        match expr {
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => {
                self.possible(left) && self.possible(right)
            }
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::Or, right }) => {
                [left, right].into_iter().any(|side| self.may_hold(&split_conjunction(side)))
            }
            Expr::Literal(ScalarValue::Boolean(value), _) => *value == Some(true),
            Expr::Between(between) if !between.negated => {
                let sides = [(Operator::GtEq, &between.low), (Operator::LtEq, &between.high)];
                sides.into_iter().all(|(operator, value)| match value.as_ref() {
                    Expr::Literal(value, _) => self.allows(&between.expr, &Condition::Compare(operator, value)),
                    _ => true,
                })
            }
            _ => match condition(expr) {
                Some((column, condition)) => self.allows(column, &condition),
                None => true,
            },
        }
    }

    /// The place in the key, the type and the domain of a column.
    fn key_of(&self, column: &Expr) -> Option<(usize, &SqlType)> {
        let (column, cast) = match column {
            Expr::Cast(cast) => (cast.expr.as_ref(), Some(cast.field.data_type())),
            other => (other, None),
        };
        let Expr::Column(column) = column else { return None };
        let place = self.parent.column_position(&column.name)?;
        let number = self.parent.columns.get(place)?.number;
        let keys = &self.parent.partitioning.as_ref()?.keys;
        let at = keys.iter().position(|key| key.column == Some(number))?;
        let ty = &keys.get(at)?.ty;
        cast.is_none_or(|to| keeps_order(ty, to)).then_some((at, ty))
    }

    fn allows(&self, column: &Expr, condition: &Condition) -> bool {
        let Some((at, ty)) = self.key_of(column) else { return true };
        let domain = self.bound.domain(at);
        match condition {
            Condition::Null(true) => match domain {
                Domain::Any => true,
                Domain::Values(values) => values.contains(&bytes_of(&Value::Null)),
                Domain::Between { .. } => false,
            },
            Condition::Null(false) => match domain {
                Domain::Values(values) => values.iter().any(|value| *value != bytes_of(&Value::Null)),
                _ => true,
            },
            // Nothing compares with NULL.
            Condition::Compare(_, value) if value.is_null() => false,
            Condition::Compare(operator, value) => match exactly(value, ty) {
                Some(value) => within(&domain, *operator, &bytes_of(&value)),
                None => true,
            },
            Condition::In(values) => values
                .iter()
                .filter(|value| !value.is_null())
                .any(|value| exactly(value, ty).is_none_or(|value| within(&domain, Operator::Eq, &bytes_of(&value)))),
        }
    }

    /// Where the conditions name all values that the whole key may have: whether one of them belongs to the partition.
    fn keys_lead_here(&self, conjuncts: &[&Expr]) -> bool {
        let Some(partitioning) = &self.parent.partitioning else { return true };
        let mut known: BTreeMap<usize, Vec<Value>> = BTreeMap::new();
        for conjunct in conjuncts {
            let Some((column, condition)) = condition(conjunct) else { continue };
            let Some((at, ty)) = self.key_of(column) else { continue };
            let values: Option<Vec<Value>> = match condition {
                Condition::Compare(Operator::Eq, value) => exactly(value, ty).map(|value| vec![value]),
                Condition::In(values) => values.into_iter().map(|value| exactly(value, ty)).collect(),
                Condition::Null(true) => Some(vec![Value::Null]),
                _ => None,
            };
            if let Some(values) = values {
                known.entry(at).or_insert(values);
            }
        }
        let count = known.values().map(Vec::len).try_fold(1usize, |product, n| product.checked_mul(n));
        if known.len() < partitioning.keys.len() || count.is_none_or(|count| count > KEYS_MAX) {
            return true;
        }
        let mut keys: Vec<Vec<Value>> = vec![Vec::new()];
        for values in known.values() {
            keys = keys
                .iter()
                .flat_map(|key| values.iter().map(move |value| key.iter().chain([value]).cloned().collect()))
                .collect();
        }
        keys.iter().any(|key| self.router.find(key) == Some(self.child))
    }
}

/// Whether different values of a type stay different, and in their order, when they are cast.
fn keeps_order(from: &SqlType, to: &DataType) -> bool {
    match from {
        SqlType::Int2 | SqlType::Int4 => {
            to.is_integer() || matches!(to, DataType::Decimal128(..)) || *to == DataType::Float64
        }
        SqlType::Int8 => *to == DataType::Int64 || matches!(to, DataType::Decimal128(..)),
        SqlType::Date => matches!(to, DataType::Timestamp(_, None)),
        from if from.is_string() => matches!(to, DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8),
        _ => false,
    }
}

fn condition(expr: &Expr) -> Option<(&Expr, Condition<'_>)> {
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => match (left.as_ref(), right.as_ref()) {
            (column, Expr::Literal(value, _)) => Some((column, Condition::Compare(*op, value))),
            (Expr::Literal(value, _), column) => Some((column, Condition::Compare(op.swap()?, value))),
            _ => None,
        },
        Expr::InList(list) if !list.negated => {
            let values = list.list.iter().map(|value| match value {
                Expr::Literal(value, _) => Some(value),
                _ => None,
            });
            Some((&list.expr, Condition::In(values.collect::<Option<_>>()?)))
        }
        Expr::IsNull(column) => Some((column, Condition::Null(true))),
        Expr::IsNotNull(column) => Some((column, Condition::Null(false))),
        _ => None,
    }
}

/// A literal as a value of a key's type; `None` where the type has no such value.
fn exactly(literal: &ScalarValue, ty: &SqlType) -> Option<Value> {
    let own = ty.arrow();
    let cast = literal.cast_to(&own).ok()?;
    if literal.data_type() != own && cast.cast_to(&literal.data_type()).ok()? != *literal {
        return None;
    }
    Some(value_at(&cast.to_array().ok()?, 0, ty))
}

/// Whether a value of the domain may stand in this relation to `value`.
fn within(domain: &Domain, operator: Operator, value: &[u8]) -> bool {
    let null = bytes_of(&Value::Null);
    match domain {
        Domain::Any => true,
        Domain::Values(values) => values.iter().filter(|known| **known != null).any(|known| match operator {
            Operator::Eq => known == value,
            Operator::NotEq => known != value,
            Operator::Lt => known.as_slice() < value,
            Operator::LtEq => known.as_slice() <= value,
            Operator::Gt => known.as_slice() > value,
            Operator::GtEq => known.as_slice() >= value,
            _ => true,
        }),
        Domain::Between { low, high } => {
            let low = low.as_deref();
            let below_high = |value: &[u8]| match high {
                None => true,
                Some((high, true)) => value <= high.as_slice(),
                Some((high, false)) => value < high.as_slice(),
            };
            match operator {
                Operator::Eq => low.is_none_or(|low| low <= value) && below_high(value),
                Operator::Lt => low.is_none_or(|low| low < value),
                Operator::LtEq => low.is_none_or(|low| low <= value),
                Operator::Gt | Operator::GtEq => below_high(value),
                _ => true,
            }
        }
    }
}
