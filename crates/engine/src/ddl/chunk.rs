//! Partitions of time that are made as rows come, and tables that are turned into such: `create_hypertable`.
//!
//! A row whose time no partition takes waits for a new one: made in a transaction of its own, so that others need not
//! wait for the end of this one; in the statement's own transaction where that has changed the catalog, or reads by a
//! snapshot that would not show it.

use std::sync::Arc;

use perigee_plan::command::Isolation;
use perigee_plan::ddl::Hypertable;
use perigee_types::catalog::{CatalogChange, Column, Object, Table};
use perigee_types::partition::{Datum, PartitionBound, PartitionKey, Partitioning, Strategy};
use perigee_types::text::calendar::{self, DAY_MICROS};
use perigee_types::{Interval, Oid, SqlError, SqlResult, SqlState, SqlType, TableId, Value};

use super::partition::check_unique;
use super::{Oids, names};
use crate::session::Session;
use crate::transaction::Transaction;

/// The first value of the partition that holds `value`, and the first one behind it; `None` where it has none.
fn chunk_of(value: &Value, every: Interval) -> Option<(Value, Value)> {
    let of_micros = |micros: i64| -> Option<(i64, i64)> {
        if every.months > 0 {
            let days = micros.div_euclid(DAY_MICROS);
            let (year, month, _) = calendar::civil_from_days(days);
            let length = i64::from(every.months);
            let month = (year * 12 + i64::from(month) - 1).div_euclid(length) * length;
            let start = |month: i64| {
                let month_of_year = u32::try_from(month.rem_euclid(12)).ok()? + 1;
                calendar::days_from_civil(month.div_euclid(12), month_of_year, 1).checked_mul(DAY_MICROS)
            };
            return Some((start(month)?, start(month.checked_add(length)?)?));
        }
        let length = i64::from(every.days).checked_mul(DAY_MICROS)?.checked_add(every.micros)?;
        let from = micros.checked_sub(micros.rem_euclid(length))?;
        Some((from, from.checked_add(length)?))
    };
    match value {
        Value::Timestamp(micros) => of_micros(*micros).map(|(from, to)| (Value::Timestamp(from), Value::Timestamp(to))),
        Value::Timestamptz(micros) => {
            of_micros(*micros).map(|(from, to)| (Value::Timestamptz(from), Value::Timestamptz(to)))
        }
        Value::Date(days) => {
            let (from, to) = of_micros(i64::from(*days).checked_mul(DAY_MICROS)?)?;
            let day = |micros: i64| i32::try_from(micros / DAY_MICROS).ok().map(Value::Date);
            Some((day(from)?, day(to)?))
        }
        Value::Int2(_) | Value::Int4(_) | Value::Int8(_) => {
            let length = every.micros;
            let from = value.as_i64()?;
            let from = from.checked_sub(from.checked_rem_euclid(length)?)?;
            let to = from.checked_add(length)?;
            Some(match value {
                Value::Int2(_) => (Value::Int2(i16::try_from(from).ok()?), Value::Int2(i16::try_from(to).ok()?)),
                Value::Int4(_) => (Value::Int4(i32::try_from(from).ok()?), Value::Int4(i32::try_from(to).ok()?)),
                _ => (Value::Int8(from), Value::Int8(to)),
            })
        }
        _ => None,
    }
}

/// What the name of a partition says about its first value.
fn label(from: &Value, every: Interval) -> String {
    let of_micros = |micros: i64| {
        let (year, month, day) = calendar::civil_from_days(micros.div_euclid(DAY_MICROS));
        let date = format!("p{year:04}{month:02}{day:02}");
        let within = micros.rem_euclid(DAY_MICROS) / 1_000_000;
        if every.micros == 0 {
            return date;
        }
        format!("{date}_{:02}{:02}{:02}", within / 3_600, within / 60 % 60, within % 60)
    };
    match from {
        Value::Timestamp(micros) | Value::Timestamptz(micros) => of_micros(*micros),
        Value::Date(days) => of_micros(i64::from(*days) * DAY_MICROS),
        other => match other.as_i64() {
            Some(number) if number < 0 => format!("pm{}", number.unsigned_abs()),
            Some(number) => format!("p{number}"),
            None => "p".to_owned(),
        },
    }
}

/// Refuses a length that partitions of a column cannot have.
///
/// # Errors
/// `42804` for a column that has no time, `22023` for a length that is not above zero or mixes months and days.
pub(super) fn check_every(column: &Column, every: Interval) -> SqlResult<()> {
    let invalid = |text: &str| Err(SqlError::new(SqlState::InvalidParameterValue, text));
    match &column.ty {
        SqlType::Int2 | SqlType::Int4 | SqlType::Int8 if every.months == 0 && every.days == 0 && every.micros > 0 => {
            Ok(())
        }
        SqlType::Int2 | SqlType::Int4 | SqlType::Int8 => {
            invalid("integer dimensions need an integer interval above zero")
        }
        SqlType::Timestamp(_) | SqlType::Timestamptz(_) | SqlType::Date => {
            if every.months != 0 && (every.days != 0 || every.micros != 0) {
                return invalid("an interval of partitions may not mix months with days or time");
            }
            if every.months < 0 || (every.months == 0 && every.approximate_micros() <= 0) {
                return invalid("an interval of partitions must be above zero");
            }
            if every.months == 0 && (every.days < 0 || every.micros < 0) {
                return invalid("an interval of partitions may not have parts below zero");
            }
            if column.ty == SqlType::Date && every.micros % DAY_MICROS != 0 {
                return invalid("partitions of a date must be whole days long");
            }
            Ok(())
        }
        other => {
            Err(SqlError::new(SqlState::DatatypeMismatch, format!("invalid type for dimension \"{}\"", column.name))
                .detail(format!("The column has type {other}."))
                .hint("Use an integer, timestamp, or date type."))
        }
    }
}

impl Session {
    /// Makes partitions for keys that none takes.
    ///
    /// # Errors
    /// What locks and the log give.
    pub(crate) async fn make_chunks(&mut self, parent: TableId, keys: &[Value]) -> SqlResult<()> {
        let engine = self.engine.clone();
        let transaction = self.transaction()?;
        let own = transaction.writes.catalog().is_some() || transaction.isolation != Isolation::ReadCommitted;
        if own {
            self.lock_catalog("INSERT").await?;
            return self.make_missing_chunks(parent, keys).await;
        }
        let inner = Transaction::new(&engine, true, Isolation::ReadCommitted, false)?;
        let outer = self.transaction.replace(inner);
        let made = self.make_in_own_transaction(parent, keys).await;
        // Its locks go with it.
        self.transaction = outer;
        made
    }

    async fn make_in_own_transaction(&mut self, parent: TableId, keys: &[Value]) -> SqlResult<()> {
        self.lock_catalog("INSERT").await?;
        self.make_missing_chunks(parent, keys).await?;
        let (engine, cancel) = (self.engine.clone(), self.cancel.clone());
        crate::commit::commit(&engine, self.transaction()?, &cancel, None).await
    }

    /// The catalog is locked: somebody else may have made them meanwhile.
    async fn make_missing_chunks(&mut self, parent: TableId, keys: &[Value]) -> SqlResult<()> {
        for key in keys {
            let catalog = self.latest_catalog();
            let Some(table) = catalog.table(parent).cloned() else { return Ok(()) };
            let every = table.partitioning.as_ref().and_then(|partitioning| partitioning.every);
            let (Some(every), Some(router)) = (every, catalog.router(&table)) else { return Ok(()) };
            if router.find(std::slice::from_ref(key)).is_some() {
                continue;
            }
            let Some((from, to)) = chunk_of(key, every) else {
                return Err(SqlError::new(SqlState::DatetimeFieldOverflow, "a time is out of range of partitions"));
            };
            let name = label(&from, every);
            let bound = PartitionBound::Range { from: vec![Datum::Value(from)], to: vec![Datum::Value(to)] };
            self.make_chunk(&table, &name, bound).await?;
        }
        Ok(())
    }

    async fn make_chunk(&mut self, parent: &Arc<Table>, label: &str, bound: PartitionBound) -> SqlResult<()> {
        let catalog = self.latest_catalog();
        let mut oids = Oids::new(&catalog);
        let oid = oids.next();
        let name = names::choose(&catalog, parent.schema, &[], &parent.name, "", label);
        self.check_new_bound(parent, &name, &bound).await?;
        let mut chunk = Table::clone(parent);
        chunk.oid = oid;
        chunk.storage = oid;
        chunk.name = name;
        chunk.version = 1;
        // Its indexes bring hidden columns of their own.
        chunk.columns.retain(|column| !column.is_hidden());
        for (column, number) in chunk.columns.iter_mut().zip(1..) {
            column.number = number;
            column.inherited = 1;
            column.local = false;
            column.comment = None;
            column.missing = Value::Null;
            if column.identity_always.take().is_some() {
                // The identity is the parent's.
                column.default = None;
            }
        }
        chunk.next_column = u16::try_from(chunk.columns.len() + 1).unwrap_or(u16::MAX);
        for check in &mut chunk.checks {
            check.oid = oids.next();
            check.inherited = 1;
            check.local = false;
        }
        chunk.primary_key = None;
        chunk.aggregates = Vec::new();
        chunk.indexes = Vec::new();
        chunk.foreign_keys = Vec::new();
        chunk.parents = vec![parent.oid];
        chunk.partitioning = None;
        chunk.bound = Some(bound);
        chunk.comment = None;
        chunk.constraint_comments.clear();
        self.change_table(Arc::new(chunk), Vec::new(), |row| row)?;
        self.touch_parent(parent.oid)?;
        self.follow_parent(parent.oid, oid).await
    }

    /// `create_hypertable`: the table's rows go to partitions of time. Whether it has been turned into one now.
    ///
    /// # Errors
    /// `42710` where it is one, `42809` for a table that has partitions or relatives, `0A000` for one with rows unless
    /// they may be moved.
    pub(super) async fn create_hypertable(&mut self, of: &Hypertable) -> SqlResult<bool> {
        let table = self.lock_table(of.table.oid, &of.table.name).await?;
        let wrong = |text: String| Err(SqlError::new(SqlState::WrongObjectType, text));
        if let Some(partitioning) = &table.partitioning {
            let text = format!("table \"{}\" is already a hypertable", table.name);
            if partitioning.every.is_none() {
                return wrong(format!("table \"{}\" is already partitioned", table.name));
            }
            if !of.if_not_exists {
                return Err(SqlError::new(SqlState::DuplicateObject, text));
            }
            self.notify(format!("{text}, skipping"));
            return Ok(false);
        }
        let catalog = self.latest_catalog();
        if !table.parents.is_empty() || catalog.has_children(table.oid) {
            return wrong(format!("table \"{}\" inherits or is inherited from", table.name));
        }
        if !table.aggregates.is_empty() {
            return Err(SqlError::unsupported("a hypertable of a table with continuous aggregates"));
        }
        if catalog.referencing(table.oid).next().is_some() {
            return Err(SqlError::unsupported("a hypertable that foreign keys point to"));
        }
        let column = table.columns.iter().find(|column| column.name == of.column).cloned().ok_or_else(|| {
            SqlError::new(SqlState::UndefinedColumn, format!("column \"{}\" does not exist", of.column))
        })?;
        check_every(&column, of.every)?;
        let mut changed = Table::clone(&table);
        let key = PartitionKey { column: Some(column.number), expression: None, ty: column.ty.clone() };
        changed.partitioning = Some(Partitioning { strategy: Strategy::Range, keys: vec![key], every: Some(of.every) });
        for index in catalog.indexes_of(&table).filter(|index| index.unique) {
            check_unique(&changed, index.key_columns(), table.primary_key == Some(index.oid))?;
        }
        if !column.not_null {
            self.refuse_nulls(&table, column.number, &column.name).await?;
            self.notify(format!("adding not-null constraint to column \"{}\"", column.name));
            if let Some(own) = changed.columns.iter_mut().find(|own| own.number == column.number) {
                own.not_null = true;
            }
        }
        let mut all = self.all_rows(&table).await?;
        let mut first = all.next().await?;
        while first.as_ref().is_some_and(Vec::is_empty) {
            first = all.next().await?;
        }
        if first.is_some() && !of.migrate_data {
            return Err(SqlError::new(SqlState::FeatureNotSupported, format!("table \"{}\" is not empty", table.name))
                .hint("You can migrate data by specifying 'migrate_data => true' when calling this function."));
        }
        // The old storage keeps the rows that are read below.
        let mut oids = Oids::new(&catalog);
        changed.storage = oids.next();
        changed.version += 1;
        let changed = Arc::new(changed);
        self.change(vec![CatalogChange::Put(Object::Table(changed.clone()))])?;
        self.transaction()?.writes.forget(table.storage);
        let mut family = self.family(&changed, "create_hypertable").await?;
        while let Some(rows) = first {
            for (oid, rows) in self.place(&mut family, rows).await? {
                for row in rows {
                    self.transaction()?.insert_row(&family.member(oid)?.target, row).await?;
                }
                self.stage_if_large(&mut family.member_mut(oid)?.target, false).await?;
            }
            first = all.next().await?;
        }
        self.settle_staged().await?;
        Ok(true)
    }
}

/// The row that `create_hypertable` gives.
pub(super) fn hypertable_row(oid: Oid, schema: &str, name: &str, created: bool) -> Vec<Value> {
    vec![
        Value::Int4(i32::try_from(oid.0).unwrap_or(i32::MAX)),
        Value::Text(schema.to_owned()),
        Value::Text(name.to_owned()),
        Value::Bool(created),
    ]
}

/// Such a row as a record's text.
pub(super) fn as_record(row: &[Value]) -> Value {
    let part = |value: &Value| match value {
        Value::Bool(value) => if *value { "t" } else { "f" }.to_owned(),
        Value::Text(text) => text.clone(),
        other => other.as_i64().map_or(String::new(), |number| number.to_string()),
    };
    Value::Text(format!("({})", row.iter().map(part).collect::<Vec<_>>().join(",")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_cut_from_the_epoch() {
        let day = Interval { months: 0, days: 1, micros: 0 };
        let at = |days: i64, micros: i64| Value::Timestamptz(days * DAY_MICROS + micros);
        assert_eq!(chunk_of(&at(3, 5), day), Some((at(3, 0), at(4, 0))));
        assert_eq!(chunk_of(&at(-3, 5), day), Some((at(-3, 0), at(-2, 0))));
        let month = Interval { months: 1, days: 0, micros: 0 };
        // 1970-02-14
        assert_eq!(chunk_of(&Value::Date(44), month), Some((Value::Date(31), Value::Date(59))));
        assert_eq!(chunk_of(&Value::Date(-1), month), Some((Value::Date(-31), Value::Date(0))));
        let ten = Interval { months: 0, days: 0, micros: 10 };
        assert_eq!(chunk_of(&Value::Int8(-1), ten), Some((Value::Int8(-10), Value::Int8(0))));
        assert_eq!(chunk_of(&Value::Int8(i64::MAX), ten), None);
    }

    #[test]
    fn names_say_where_a_chunk_begins() {
        let day = Interval { months: 0, days: 1, micros: 0 };
        assert_eq!(label(&Value::Date(0), day), "p19700101");
        let hour = Interval { months: 0, days: 0, micros: 3_600_000_000 };
        assert_eq!(label(&Value::Timestamp(7_200_000_000), hour), "p19700101_020000");
    }
}
