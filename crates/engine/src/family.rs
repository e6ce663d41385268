//! Writing to a table whose rows lie in others: its partitions, or the tables that inherit from it.
//!
//! ```text
//!   row of the root --+-- place --> partition, and its partition, ... --> row of the member --> Target
//!                     +-- no partitions: the root itself
//! ```
//!
//! Statements are planned over the root's columns. A member may have them in another order, and one that inherits has
//! more; rows are turned where they cross. Whoever writes holds the root and the member against DDL, and DDL that changes
//! which tables belong together holds the root alone, so the members stay the same while a statement writes.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use perigee_plan::Write;
use perigee_plan::relational::ViewCheck;
use perigee_query::sql::{RowExpression, row_expression};
use perigee_types::catalog::{Catalog, Table};
use perigee_types::partition::Router;
use perigee_types::text::OutputSettings;
use perigee_types::{Oid, Row, SqlError, SqlResult, SqlState, TableId, Value, Vid};
use rustc_hash::FxHashMap;

use crate::commit::{check_values, describe};
use crate::error::storage;
use crate::locks::{LockMode, LockWait};
use crate::rows::{Target, concurrent_update, schema_name};
use crate::session::Session;
use crate::write::Returned;

/// Tables whose routers are kept.
const TABLES_MAX: usize = 4_096;

/// A table that a statement writes to, with those that hold its rows.
pub(crate) struct Family {
    /// The table as the statement names it.
    pub(crate) root: Arc<Table>,
    /// As of the locks on the root.
    pub(crate) catalog: Arc<Catalog>,
    /// How to wait for rows, where the statement says it.
    pub(crate) wait: Option<LockWait>,
    command: String,
    /// Conditions of the views that it is written through.
    view_checks: Vec<ViewCheck>,
    /// Where the transaction's own rows began before the statement, by storage.
    began: FxHashMap<Oid, Vid>,
    members: FxHashMap<TableId, Member>,
}

/// A table with rows of a family.
pub(crate) struct Member {
    pub(crate) target: Target,
    /// Where the transaction's own rows of this statement begin.
    pub(crate) own_first: Vid,
    /// For each of its columns the place in the root's; `None` where they are the same.
    from_root: Option<Vec<Option<usize>>>,
    /// For each of the root's columns the place in its own.
    to_root: Option<Vec<Option<usize>>>,
}

/// A part of a partition key, ready to run.
enum KeyPart {
    /// The place of a column.
    Column(usize),
    /// An expression over the row.
    Expression(RowExpression),
}

/// How the rows of a partitioned table are spread, ready to run.
pub(crate) struct PartitionRules {
    parts: Vec<KeyPart>,
    pub(crate) router: Router,
}

/// A table as it was when its rules were planned, and them.
type Planned = (Arc<Table>, Arc<PartitionRules>);

/// Rows with their numbers in the statement that are still to be placed, at a table of the tree.
type Level = (Arc<Table>, Vec<(usize, Row)>);

/// Planned rules of partitioned tables.
#[derive(Default)]
pub(crate) struct PartitionCache {
    tables: Mutex<FxHashMap<Oid, Planned>>,
}

impl Member {
    fn new(target: Target, root: &Table, own_first: Vid) -> Self {
        Self { own_first, from_root: target.table.places_in(root), to_root: root.places_in(&target.table), target }
    }

    /// A row of the root as this table holds it; NULL in columns that the root does not have.
    pub(crate) fn row_from_root(&self, row: Row) -> Row {
        turned(row, self.from_root.as_deref())
    }

    /// A row of this table as the root shows it.
    pub(crate) fn to_root(&self, row: &Row) -> Row {
        turned(row.clone(), self.to_root.as_deref())
    }

    /// The place here of the root's column at `place`.
    pub(crate) fn place(&self, place: usize) -> Option<usize> {
        match &self.to_root {
            None => Some(place),
            Some(places) => places.get(place).copied().flatten(),
        }
    }

    /// Whether a row as the root shows it, with so many values, has all columns of this table.
    fn is_whole(&self, width: usize) -> bool {
        match &self.from_root {
            None => width == self.target.table.columns.len(),
            Some(places) => places.iter().all(|place| place.is_some_and(|place| place < width)),
        }
    }

    /// A row of this table with new values at places of the root.
    pub(crate) fn assigned(&self, old: &Row, values: impl IntoIterator<Item = (usize, Value)>) -> SqlResult<Row> {
        let mut new = old.clone();
        for (place, value) in values {
            let slot = self.place(place).and_then(|place| new.get_mut(place));
            *slot.ok_or_else(|| SqlError::internal("assignment past the row"))? = value;
        }
        Ok(new)
    }

    /// How a row is locked for an assignment to places of the root.
    pub(crate) fn update_mode(&self, assigned: &[usize], may_move: bool) -> LockMode {
        match may_move {
            true => LockMode::Ending,
            false => self.target.write_mode(assigned.iter().filter_map(|place| self.place(*place))),
        }
    }
}

/// The values at `places`, NULL where there is none.
fn turned(row: Row, places: Option<&[Option<usize>]>) -> Row {
    match places {
        None => row,
        Some(places) => {
            let value = |place: &Option<usize>| place.and_then(|place| row.get(place).cloned()).unwrap_or(Value::Null);
            places.iter().map(value).collect()
        }
    }
}

impl Family {
    /// A member that was asked for before.
    pub(crate) fn member(&self, oid: TableId) -> SqlResult<&Member> {
        self.members.get(&oid).ok_or_else(|| SqlError::internal("a table of a family was not opened"))
    }

    /// As [`Family::member`].
    pub(crate) fn member_mut(&mut self, oid: TableId) -> SqlResult<&mut Member> {
        self.members.get_mut(&oid).ok_or_else(|| SqlError::internal("a table of a family was not opened"))
    }

    /// All that were opened.
    pub(crate) fn members_mut(&mut self) -> impl Iterator<Item = &mut Member> {
        self.members.values_mut()
    }

    /// How many old values the source of a write yields for a row.
    pub(crate) fn width(&self, write: &Write) -> usize {
        if write.family { self.root.visible_columns().len() } else { self.root.columns.len() }
    }

    /// A row of a member for RETURNING, `others` behind it.
    pub(crate) fn returned(&self, member: &Member, row: &Row, others: Row) -> Returned {
        let mut shown = member.to_root(row);
        shown.truncate(self.root.visible_columns().len());
        shown.extend(others);
        (member.target.table.oid, shown)
    }

    /// Whether an assignment to these places of the root may move a row to another partition.
    pub(crate) fn may_move(&self, assigned: &[usize]) -> bool {
        if self.root.partitioning.is_none() {
            return false;
        }
        if self.root.is_partition() {
            // The tables above it have keys too.
            return true;
        }
        let name = |place: &usize| self.root.columns.get(*place).map(|column| column.name.as_str());
        let names: Vec<&str> = assigned.iter().filter_map(name).collect();
        self.catalog.family(&self.root).iter().any(|table| {
            key_columns(table)
                .iter()
                .filter_map(|number| table.columns.iter().find(|column| column.number == *number))
                .any(|column| names.contains(&column.name.as_str()))
        })
    }
}

/// Numbers of the columns that a table's partition key is made of.
pub(crate) fn key_columns(table: &Table) -> Vec<u16> {
    let keys = table.partitioning.iter().flat_map(|partitioning| &partitioning.keys);
    keys.flat_map(|key| match (&key.column, &key.expression) {
        (Some(number), _) => vec![*number],
        (None, Some(text)) => perigee_query::sql::check_columns(table, text),
        (None, None) => Vec::new(),
    })
    .collect()
}

impl Session {
    /// Locks a table against DDL and gets ready to write to it and to those that hold its rows.
    ///
    /// # Errors
    /// As [`Session::target`].
    pub(crate) async fn family(&mut self, table: &Arc<Table>, command: &str) -> SqlResult<Family> {
        let target = self.target(table, command).await?;
        let engine = self.engine.clone();
        let catalog = self.transaction()?.catalog(&engine);
        let own_first = self.transaction()?.writes.next_local(target.table.storage);
        let root = target.table.clone();
        let began = match root.partitioning {
            Some(_) => self.transaction()?.writes.next_locals(),
            None => FxHashMap::default(),
        };
        let mut members = FxHashMap::default();
        members.insert(root.oid, Member::new(target, &root, own_first));
        Ok(Family { root, catalog, wait: None, command: command.to_owned(), view_checks: Vec::new(), began, members })
    }

    /// As [`Session::family`], of what a statement writes to, perhaps through views.
    ///
    /// # Errors
    /// As [`Session::target`].
    pub(crate) async fn written_family(&mut self, write: &Write, command: &str) -> SqlResult<Family> {
        let mut family = self.family(&write.table, command).await?;
        let root = family.root.oid;
        self.add_view_checks(&mut family.member_mut(root)?.target, &write.view_checks)?;
        family.view_checks.clone_from(&write.view_checks);
        Ok(family)
    }

    /// Opens a member of a family.
    ///
    /// # Errors
    /// As [`Session::target`].
    pub(crate) async fn open_member(&mut self, family: &mut Family, oid: TableId) -> SqlResult<()> {
        if !family.members.contains_key(&oid) {
            let table = family.catalog.table(oid).cloned();
            let table = table.ok_or_else(|| SqlError::internal("a table of a family is gone"))?;
            let mut target = self.target(&table, &family.command).await?;
            self.add_view_checks(&mut target, &family.view_checks)?;
            let own_first = family.began.get(&target.table.storage).copied().unwrap_or(Vid::LOCAL_FIRST);
            family.members.insert(oid, Member::new(target, &family.root, own_first));
        }
        if let (Some(wait), Some(member)) = (family.wait, family.members.get_mut(&oid)) {
            member.target.wait = wait;
        }
        Ok(())
    }

    /// The tables that rows of the root belong to, in runs of rows of one table that stand together. Opens them; the rows
    /// are turned to their columns.
    ///
    /// # Errors
    /// `23514` for a row that no partition takes, or that the root, a partition itself, does not.
    pub(crate) async fn place(&mut self, family: &mut Family, rows: Vec<Row>) -> SqlResult<Vec<(TableId, Vec<Row>)>> {
        let root = family.root.clone();
        if root.partitioning.is_none() {
            return Ok(vec![(root.oid, rows)]);
        }
        self.check_bounds(&root, &rows).await?;
        let mut placed: Vec<Option<(TableId, Row)>> = rows.iter().map(|_| None).collect();
        let mut levels: Vec<Level> = vec![(root, rows.into_iter().enumerate().collect())];
        while let Some((table, rows)) = levels.pop() {
            let (places, rows): (Vec<usize>, Vec<Row>) = rows.into_iter().unzip();
            let mut rules = self.partition_rules(&family.catalog, &table)?;
            let keys = self.partition_keys(&table, &rules, &rows).await?;
            let every = table.partitioning.as_ref().and_then(|partitioning| partitioning.every);
            let missing = keys.iter().filter(|key| rules.router.find(key).is_none()).flatten();
            let mut missing: Vec<Value> =
                missing.filter(|value| every.is_some() && !value.is_null()).cloned().collect();
            if !missing.is_empty() {
                missing.dedup();
                Box::pin(self.make_chunks(table.oid, &missing)).await?;
                let engine = self.engine.clone();
                family.catalog = self.transaction()?.catalog(&engine);
                let current = family.catalog.table(table.oid).cloned();
                let current = current.ok_or_else(|| SqlError::internal("a partitioned table is gone"))?;
                rules = self.partition_rules(&family.catalog, &current)?;
            }
            let mut below: BTreeMap<TableId, Vec<(usize, Row)>> = BTreeMap::new();
            for ((place, row), key) in places.into_iter().zip(rows).zip(keys) {
                let Some(child) = rules.router.find(&key) else {
                    if every.is_some() && !key.iter().any(Value::is_null) {
                        // Somebody else has made it, and this transaction's snapshot does not show it.
                        return Err(concurrent_update());
                    }
                    return Err(self.no_partition(family, &table, &key));
                };
                below.entry(child).or_default().push((place, row));
            }
            for (oid, rows) in below {
                let child = family.catalog.table(oid).cloned();
                let child = child.ok_or_else(|| SqlError::internal("a partition is gone"))?;
                let turn = child.places_in(&table);
                let rows = rows.into_iter().map(|(place, row)| (place, turned(row, turn.as_deref())));
                if child.partitioning.is_some() {
                    levels.push((child, rows.collect()));
                    continue;
                }
                for (place, row) in rows {
                    if let Some(slot) = placed.get_mut(place) {
                        *slot = Some((oid, row));
                    }
                }
            }
        }
        let mut runs: Vec<(TableId, Vec<Row>)> = Vec::new();
        for (oid, row) in placed.into_iter().flatten() {
            match runs.last_mut() {
                Some((last, rows)) if *last == oid => rows.push(row),
                _ => runs.push((oid, vec![row])),
            }
        }
        for (oid, _) in &runs {
            self.open_member(family, *oid).await?;
        }
        Ok(runs)
    }

    /// As [`Session::place`], for one row.
    ///
    /// # Errors
    /// As [`Session::place`].
    pub(crate) async fn place_one(&mut self, family: &mut Family, row: Row) -> SqlResult<(TableId, Row)> {
        if family.root.partitioning.is_none() {
            return Ok((family.root.oid, row));
        }
        let placed = self.place(family, vec![row]).await?;
        let placed = placed.into_iter().find_map(|(oid, mut rows)| Some((oid, rows.pop()?)));
        placed.ok_or_else(|| SqlError::internal("a row was lost on its way to its partition"))
    }

    fn no_partition(&self, family: &Family, table: &Table, key: &[Value]) -> SqlError {
        let settings = OutputSettings::default();
        let keys = table.partitioning.as_ref().map(|p| p.keys.as_slice()).unwrap_or_default();
        let names: Vec<String> = keys
            .iter()
            .map(|key| {
                let column = key.column.and_then(|number| table.columns.iter().find(|c| c.number == number));
                match (column, &key.expression) {
                    (Some(column), _) => column.name.clone(),
                    (None, Some(text)) => text.clone(),
                    (None, None) => String::new(),
                }
            })
            .collect();
        let values: Vec<String> = key
            .iter()
            .zip(keys)
            .map(|(value, key)| match value {
                Value::Null => "null".to_owned(),
                value => perigee_types::text::format(value, &key.ty, &settings),
            })
            .collect();
        SqlError::new(SqlState::CheckViolation, format!("no partition of relation \"{}\" found for row", table.name))
            .detail(format!(
                "Partition key of the failing row contains ({}) = ({}).",
                names.join(", "),
                values.join(", ")
            ))
            .table(schema_name(&family.catalog, table), &table.name)
    }

    /// How the rows of a partitioned table are spread.
    ///
    /// # Errors
    /// What its expressions give.
    pub(crate) fn partition_rules(&self, catalog: &Catalog, table: &Arc<Table>) -> SqlResult<Arc<PartitionRules>> {
        if let Some((of, rules)) = self.engine.partitions.tables.lock().get(&table.oid)
            && Arc::ptr_eq(of, table)
        {
            return Ok(rules.clone());
        }
        let (Some(partitioning), Some(router)) = (&table.partitioning, catalog.router(table)) else {
            return Err(SqlError::internal("a table is not partitioned"));
        };
        let mut parts = Vec::with_capacity(partitioning.keys.len());
        for key in &partitioning.keys {
            parts.push(match (key.column, &key.expression) {
                (Some(number), _) => {
                    let place = table.number_position(number);
                    KeyPart::Column(place.ok_or_else(|| SqlError::internal("a column of a partition key is gone"))?)
                }
                (None, Some(text)) => {
                    let expression = self.with_plan_context(&[], |_, context| row_expression(table, text, context))?;
                    KeyPart::Expression(expression.0)
                }
                (None, None) => return Err(SqlError::internal("a partition key of nothing")),
            });
        }
        // What functions of users say may change.
        let keeps = |part: &KeyPart| !matches!(part, KeyPart::Expression(expr) if !expr.calls().is_empty());
        let may_be_kept = parts.iter().all(keeps);
        let rules = Arc::new(PartitionRules { parts, router });
        if !may_be_kept {
            return Ok(rules);
        }
        let mut tables = self.engine.partitions.tables.lock();
        if tables.len() >= TABLES_MAX {
            tables.clear();
        }
        tables.insert(table.oid, (table.clone(), rules.clone()));
        Ok(rules)
    }

    /// The partition keys of rows.
    ///
    /// # Errors
    /// What the key's expressions give.
    pub(crate) async fn partition_keys(
        &mut self,
        table: &Arc<Table>,
        rules: &PartitionRules,
        rows: &[Row],
    ) -> SqlResult<Vec<Vec<Value>>> {
        let mut keys: Vec<Vec<Value>> = rows.iter().map(|_| Vec::with_capacity(rules.parts.len())).collect();
        for part in &rules.parts {
            match part {
                KeyPart::Column(place) => {
                    for (key, row) in keys.iter_mut().zip(rows) {
                        key.push(row.get(*place).cloned().unwrap_or(Value::Null));
                    }
                }
                KeyPart::Expression(expression) => {
                    self.check_calls(expression, None)?;
                    let values = self.values_over(table, expression, rows).await?;
                    for (key, value) in keys.iter_mut().zip(values) {
                        key.push(value);
                    }
                }
            }
        }
        Ok(keys)
    }

    /// Tests that rows of a partition belong to it. Does nothing for other tables.
    ///
    /// # Errors
    /// `23502`, which PostgreSQL looks for first, and `23514`.
    pub(crate) async fn check_bounds(&mut self, table: &Arc<Table>, rows: &[Row]) -> SqlResult<()> {
        if !table.is_partition() || rows.is_empty() {
            return Ok(());
        }
        let schema = schema_name(&self.planning_catalog(), table);
        for row in rows {
            check_values(table, &schema, row)?;
        }
        let Some(at) = self.find_outside(table, rows).await? else { return Ok(()) };
        let row = rows.get(at).map(Vec::as_slice).unwrap_or_default();
        let text = format!("new row for relation \"{}\" violates partition constraint", table.name);
        Err(SqlError::new(SqlState::CheckViolation, text)
            .detail(format!("Failing row contains ({}).", describe(table, row)))
            .table(&schema, &table.name))
    }

    /// The first of these rows of a partition that does not belong to it, or its parent not to the one above.
    ///
    /// # Errors
    /// What the keys' expressions give.
    pub(crate) async fn find_outside(&mut self, table: &Arc<Table>, rows: &[Row]) -> SqlResult<Option<usize>> {
        let engine = self.engine.clone();
        let catalog = self.transaction()?.catalog(&engine);
        let (mut child, mut rows) = (table.clone(), rows.to_vec());
        while child.is_partition() {
            let parent = child.parents.first().and_then(|oid| catalog.table(*oid)).cloned();
            let parent = parent.ok_or_else(|| SqlError::internal("the table of a partition is gone"))?;
            if let Some(turn) = parent.places_in(&child) {
                rows = rows.into_iter().map(|row| turned(row, Some(&turn))).collect();
            }
            let rules = self.partition_rules(&catalog, &parent)?;
            let keys = self.partition_keys(&parent, &rules, &rows).await?;
            if let Some(at) = keys.iter().position(|key| rules.router.find(key) != Some(child.oid)) {
                return Ok(Some(at));
            }
            child = parent;
        }
        Ok(None)
    }

    /// A row version of a member as that holds it, from what the root's query shows of it; `None` where it is gone.
    ///
    /// # Errors
    /// The LSM's.
    pub(crate) fn whole_row(&mut self, member: &Member, vid: Vid, shown: Row) -> SqlResult<Option<Row>> {
        if member.is_whole(shown.len()) {
            return Ok(Some(member.row_from_root(shown)));
        }
        let table = &member.target.table;
        if vid.is_local() {
            let place = (vid.0 - Vid::LOCAL_FIRST.0) as usize;
            let writes = self.transaction()?.writes.table(table.storage);
            return Ok(writes.and_then(|writes| writes.inserted.get(place)).and_then(Clone::clone));
        }
        match &member.target.store {
            Some(store) => store.row_as(vid, table).map_err(storage),
            None => Ok(None),
        }
    }
}
