//! Which tables belong together: partitions and inheritance as CREATE TABLE and ALTER TABLE make and end them.
//!
//! A change of a family puts its parent anew: what is planned or kept for the parent's rows goes by its version.

use std::sync::Arc;

use perigee_plan::ddl::{BoundDefinition, Lineage};
use perigee_types::catalog::{Catalog, CatalogChange, ForeignKey, Index, IndexDefinition, IndexState, Object, Table};
use perigee_types::partition::{Datum, PartitionBound, PartitionKey, Partitioning, Router, Strategy, is_empty_range};
use perigee_types::{IndexId, Oid, Row, SqlError, SqlResult, SqlState, SqlType, TableId, Value};

use super::index::index_columns;
use super::{Oids, names};
use crate::family::PartitionRules;
use crate::session::Session;

fn wrong_type(text: impl Into<String>) -> SqlError {
    SqlError::new(SqlState::WrongObjectType, text)
}

fn wrong_definition(text: impl Into<String>) -> SqlError {
    SqlError::new(SqlState::InvalidTableDefinition, text)
}

/// The catalog's form of PARTITION BY for a table whose columns are known.
pub(super) fn partitioning(table: &Table, lineage: &Lineage) -> SqlResult<Option<Partitioning>> {
    let Some(by) = &lineage.partition_by else { return Ok(None) };
    let mut keys = Vec::with_capacity(by.keys.len());
    for (column, expression, ty) in &by.keys {
        let number = match column {
            Some(name) => {
                let found = table.columns.iter().find(|column| column.name == *name);
                Some(found.ok_or_else(|| SqlError::internal("a partition key without its column"))?.number)
            }
            None => None,
        };
        keys.push(PartitionKey { column: number, expression: expression.clone(), ty: ty.clone() });
    }
    if let (Some(every), Some((Some(name), ..))) = (by.every, by.keys.first())
        && let Some(column) = table.columns.iter().find(|column| column.name == *name)
    {
        super::chunk::check_every(column, every)?;
    }
    Ok(Some(Partitioning { strategy: by.strategy, keys, every: by.every }))
}

/// Refuses a unique key of a partitioned table that does not hold the whole partition key: rows of two partitions could
/// share it.
pub(super) fn check_unique(table: &Table, columns: &[u16], primary: bool) -> SqlResult<()> {
    let Some(partitioning) = &table.partitioning else { return Ok(()) };
    let kind = if primary { "PRIMARY KEY" } else { "UNIQUE" };
    for key in &partitioning.keys {
        let Some(number) = key.column else {
            return Err(SqlError::new(
                SqlState::FeatureNotSupported,
                format!("unsupported {kind} constraint with partition key definition"),
            )
            .detail(format!("{kind} constraints cannot be used when partition keys include expressions.")));
        };
        if !columns.contains(&number) {
            let name = table.columns.iter().find(|c| c.number == number).map_or("", |c| c.name.as_str());
            return Err(SqlError::new(
                SqlState::FeatureNotSupported,
                "unique constraint on partitioned table must include all partitioning columns",
            )
            .detail(format!(
                "{kind} constraint on table \"{}\" lacks column \"{name}\" which is part of the partition key.",
                table.name
            )));
        }
    }
    Ok(())
}

impl Session {
    /// The catalog's form of FOR VALUES.
    pub(super) fn evaluate_bound(&self, bound: &BoundDefinition, parent: &Table) -> SqlResult<PartitionBound> {
        let keys = parent.partitioning.as_ref().map(|p| p.keys.as_slice()).unwrap_or_default();
        Ok(match bound {
            BoundDefinition::Default => PartitionBound::Default,
            BoundDefinition::Hash { modulus, remainder } => {
                PartitionBound::Hash { modulus: *modulus, remainder: *remainder }
            }
            BoundDefinition::List(values) => {
                let mut found: Vec<Value> = Vec::with_capacity(values.len());
                for value in values {
                    let value = self.evaluate(value, &[], &[])?;
                    if !found.contains(&value) {
                        found.push(value);
                    }
                }
                PartitionBound::List(found)
            }
            BoundDefinition::Range { from, to } => {
                let datums = |ends: &[Result<perigee_plan::Expr, Datum>]| {
                    ends.iter()
                        .zip(keys)
                        .map(|(end, _)| match end {
                            Err(datum) => Ok(datum.clone()),
                            Ok(expr) => match self.evaluate(expr, &[], &[])? {
                                Value::Null => Err(SqlError::new(
                                    SqlState::InvalidObjectDefinition,
                                    "cannot specify NULL in range bound",
                                )),
                                value => Ok(Datum::Value(value)),
                            },
                        })
                        .collect::<SqlResult<Vec<_>>>()
                };
                PartitionBound::Range { from: datums(from)?, to: datums(to)? }
            }
        })
    }

    /// Refuses a bound that is empty or shares keys with another partition, and one that takes rows which the default
    /// partition holds.
    pub(super) async fn check_new_bound(
        &mut self,
        parent: &Arc<Table>,
        name: &str,
        bound: &PartitionBound,
    ) -> SqlResult<()> {
        let catalog = self.latest_catalog();
        let Some(router) = catalog.router(parent) else {
            return Err(SqlError::internal("a partition of what is not partitioned"));
        };
        if let PartitionBound::Range { from, to } = bound
            && is_empty_range(from, to)
        {
            return Err(SqlError::new(
                SqlState::InvalidObjectDefinition,
                format!("empty range bound specified for partition \"{name}\""),
            )
            .detail(format!(
                "Specified lower bound {} is greater than or equal to upper bound {}.",
                perigee_query::sql::bound_end(from, parent),
                perigee_query::sql::bound_end(to, parent)
            )));
        }
        if let PartitionBound::Hash { modulus, .. } = bound {
            self.check_modulus(&catalog, &router, *modulus)?;
        }
        if let Some(other) = router.overlapping(bound) {
            let other = catalog.table(other).map_or(String::new(), |table| table.name.clone());
            let text = match bound {
                PartitionBound::Default => {
                    format!("partition \"{name}\" conflicts with existing default partition \"{other}\"")
                }
                _ => format!("partition \"{name}\" would overlap partition \"{other}\""),
            };
            return Err(SqlError::new(SqlState::InvalidObjectDefinition, text));
        }
        match router.default_partition() {
            Some(default) if *bound != PartitionBound::Default => {
                self.check_default_keeps(&catalog, parent, default, bound).await
            }
            _ => Ok(()),
        }
    }

    fn check_modulus(&self, catalog: &Catalog, router: &Router, modulus: u32) -> SqlResult<()> {
        let mut known: Vec<(u32, TableId)> = router.moduli().collect();
        known.sort_unstable();
        let refused = |detail: String| {
            Err(SqlError::new(
                SqlState::InvalidObjectDefinition,
                "every hash partition modulus must be a factor of the next larger modulus",
            )
            .detail(detail))
        };
        let name = |oid: TableId| catalog.table(oid).map_or(String::new(), |table| table.name.clone());
        if let Some((below, oid)) = known.iter().rev().find(|(other, _)| *other <= modulus)
            && !modulus.is_multiple_of(*below)
        {
            return refused(format!(
                "The new modulus {modulus} is not divisible by {below}, the modulus of existing partition \"{}\".",
                name(*oid)
            ));
        }
        if let Some((above, oid)) = known.iter().find(|(other, _)| *other >= modulus)
            && above % modulus != 0
        {
            return refused(format!(
                "The new modulus {modulus} is not a factor of {above}, the modulus of existing partition \"{}\".",
                name(*oid)
            ));
        }
        Ok(())
    }

    /// The default partition holds what no other takes: a new one may take none of its rows.
    async fn check_default_keeps(
        &mut self,
        catalog: &Catalog,
        parent: &Arc<Table>,
        default: TableId,
        bound: &PartitionBound,
    ) -> SqlResult<()> {
        let Some(table) = catalog.table(default).cloned() else { return Ok(()) };
        let strategy = parent.partitioning.as_ref().map_or(Strategy::List, |partitioning| partitioning.strategy);
        let new = Router::new(strategy, [(Oid(0), bound)]);
        let rules = self.partition_rules(catalog, parent)?;
        let taken = move |keys: &[Value]| new.find_bounded(keys).is_some();
        if self.any_row_with_key(&table, parent, &rules, &taken).await? {
            return Err(SqlError::new(
                SqlState::CheckViolation,
                format!(
                    "updated partition constraint for default partition \"{}\" would be violated by some row",
                    table.name
                ),
            )
            .table(crate::rows::schema_name(catalog, &table), &table.name));
        }
        Ok(())
    }

    /// Whether a row of a table or of one below it has a partition key in `parent` for which `test` is true.
    async fn any_row_with_key(
        &mut self,
        table: &Arc<Table>,
        parent: &Arc<Table>,
        rules: &PartitionRules,
        test: &(impl Fn(&[Value]) -> bool + Sync),
    ) -> SqlResult<bool> {
        let catalog = self.latest_catalog();
        for member in catalog.family(table) {
            self.lock_table(member.oid, &member.name).await?;
            let turn = parent.places_in(&member);
            let mut all = self.all_rows(&member).await?;
            while let Some(rows) = all.next().await? {
                let rows: Vec<Row> = match &turn {
                    None => rows,
                    Some(places) => rows
                        .into_iter()
                        .map(|row| {
                            let value = |p: &Option<usize>| p.and_then(|p| row.get(p).cloned()).unwrap_or(Value::Null);
                            places.iter().map(value).collect()
                        })
                        .collect(),
                };
                let keys = self.partition_keys(parent, rules, &rows).await?;
                if keys.iter().any(|key| test(key)) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// Puts a parent anew because its family has changed.
    pub(super) fn touch_parent(&mut self, parent: TableId) -> SqlResult<()> {
        let Some(current) = self.latest_catalog().table(parent).cloned() else { return Ok(()) };
        let mut changed = Table::clone(&current);
        changed.version += 1;
        self.change_table(Arc::new(changed), Vec::new(), |row| row)
    }

    /// ATTACH PARTITION
    pub(super) async fn attach(
        &mut self,
        parent: &Arc<Table>,
        child: &Arc<Table>,
        bound: &BoundDefinition,
    ) -> SqlResult<()> {
        let child = self.lock_table(child.oid, &child.name).await?;
        let catalog = self.latest_catalog();
        if child.is_partition() {
            return Err(wrong_type(format!("\"{}\" is already a partition", child.name)));
        }
        if !child.parents.is_empty() {
            return Err(wrong_type("cannot attach inheritance child as partition"));
        }
        if child.partitioning.is_none() && catalog.has_children(child.oid) {
            return Err(wrong_type("cannot attach inheritance parent as partition"));
        }
        if catalog.family(&child).iter().any(|below| below.oid == parent.oid) {
            return Err(SqlError::new(SqlState::DuplicateTable, "circular inheritance not allowed")
                .detail(format!("\"{}\" is already a child of \"{}\".", parent.name, child.name)));
        }
        if let Some(extra) =
            child.visible_columns().iter().find(|column| parent.column_position(&column.name).is_none())
        {
            return Err(SqlError::new(
                SqlState::DatatypeMismatch,
                format!(
                    "table \"{}\" contains column \"{}\" not found in parent \"{}\"",
                    child.name, extra.name, parent.name
                ),
            )
            .detail("The new partition may contain only the columns present in parent."));
        }
        let bound = self.evaluate_bound(bound, parent)?;
        let mut changed = self.adopted(parent, &child, false)?;
        self.check_new_bound(parent, &child.name, &bound).await?;
        self.check_rows_fit(parent, &child, &bound).await?;
        changed.bound = Some(bound);
        changed.version += 1;
        self.change_table(Arc::new(changed), Vec::new(), |row| row)?;
        self.touch_parent(parent.oid)?;
        self.follow_parent(parent.oid, child.oid).await
    }

    /// Tests that the rows of a table are those that a partition would take.
    async fn check_rows_fit(
        &mut self,
        parent: &Arc<Table>,
        child: &Arc<Table>,
        bound: &PartitionBound,
    ) -> SqlResult<()> {
        let catalog = self.latest_catalog();
        let strategy = parent.partitioning.as_ref().map_or(Strategy::List, |partitioning| partitioning.strategy);
        let rules = self.partition_rules(&catalog, parent)?;
        let alone = Router::new(strategy, [(child.oid, bound)]);
        let (default, own) = (*bound == PartitionBound::Default, child.oid);
        let others = &rules.router;
        let outside = |key: &[Value]| {
            if default { others.find_bounded(key).is_some() } else { alone.find_bounded(key) != Some(own) }
        };
        if self.any_row_with_key(child, parent, &rules, &outside).await? {
            return Err(SqlError::new(
                SqlState::CheckViolation,
                format!("partition constraint of relation \"{}\" is violated by some row", child.name),
            )
            .table(crate::rows::schema_name(&catalog, child), &child.name));
        }
        Ok(())
    }

    /// A table as a child of `parent`, whose columns and CHECK constraints it has to have.
    fn adopted(&self, parent: &Table, child: &Table, inherits: bool) -> SqlResult<Table> {
        let mut changed = child.clone();
        for column in parent.visible_columns() {
            let Some(own) = changed.columns.iter_mut().find(|own| own.name == column.name) else {
                return Err(SqlError::new(
                    SqlState::DatatypeMismatch,
                    format!("child table is missing column \"{}\"", column.name),
                ));
            };
            if own.ty != column.ty || own.domain != column.domain {
                return Err(SqlError::new(
                    SqlState::DatatypeMismatch,
                    format!("child table \"{}\" has different type for column \"{}\"", child.name, column.name),
                ));
            }
            if column.not_null && !own.not_null {
                return Err(SqlError::new(
                    SqlState::DatatypeMismatch,
                    format!("column \"{}\" in child table must be marked NOT NULL", column.name),
                ));
            }
            if column.generated().is_some() != own.generated().is_some() {
                let what = if column.generated().is_some() { "must" } else { "must not" };
                return Err(SqlError::new(
                    SqlState::DatatypeMismatch,
                    format!("column \"{}\" in child table {what} be a generated column", column.name),
                ));
            }
            own.inherited += 1;
            own.local &= inherits;
        }
        for check in &parent.checks {
            let Some(own) = changed.checks.iter_mut().find(|own| own.name == check.name) else {
                return Err(SqlError::new(
                    SqlState::DatatypeMismatch,
                    format!("child table is missing constraint \"{}\"", check.name),
                ));
            };
            if own.expression != check.expression {
                return Err(SqlError::new(
                    SqlState::DatatypeMismatch,
                    format!(
                        "child table \"{}\" has different definition for check constraint \"{}\"",
                        child.name, check.name
                    ),
                ));
            }
            own.inherited += 1;
            own.local &= inherits;
        }
        changed.parents.push(parent.oid);
        Ok(changed)
    }

    /// Gives a partition, and those below it, the indexes and foreign keys of its parent that it does not have.
    pub(super) async fn follow_parent(&mut self, parent: TableId, child: TableId) -> SqlResult<()> {
        let catalog = self.latest_catalog();
        let Some(parent) = catalog.table(parent).cloned() else { return Ok(()) };
        let indexes: Vec<Arc<Index>> = catalog.indexes_of(&parent).cloned().collect();
        for index in indexes {
            self.index_on_partition(&parent, &index, child).await?;
        }
        for key in &parent.foreign_keys {
            self.key_on_partition(&parent, key, child).await?;
        }
        Ok(())
    }

    /// Gives a partition, and those below it, the index that belongs to an index of its parent.
    pub(super) async fn index_on_partition(
        &mut self,
        parent: &Arc<Table>,
        index: &Arc<Index>,
        child: TableId,
    ) -> SqlResult<()> {
        let child = self.lock_table(child, "").await?;
        let catalog = self.latest_catalog();
        let wanted = Wanted::of(parent, index, &child)?;
        let primary = parent.primary_key == Some(index.oid);
        let alike = catalog.indexes_of(&child).find(|own| {
            own.parent.is_none()
                && own.unique == index.unique
                && own.constraint == index.constraint
                && (child.primary_key == Some(own.oid)) == primary
                && wanted.is(own)
        });
        let below = match alike.cloned() {
            Some(own) => {
                let own = Arc::new(Index { parent: Some(index.oid), ..Index::clone(&own) });
                self.change(vec![CatalogChange::Put(Object::Index(own.clone()))])?;
                own
            }
            None => {
                if primary && child.primary_key.is_some() {
                    return Err(wrong_definition(format!(
                        "multiple primary keys for table \"{}\" are not allowed",
                        child.name
                    )));
                }
                let oid = Oids::new(&catalog).next();
                let names = wanted.names.join("_");
                let (middle, label) = match (primary, index.constraint) {
                    (true, _) => (String::new(), "pkey"),
                    (false, true) => (names, "key"),
                    (false, false) => (names, "idx"),
                };
                let mut changed = Table::clone(&child);
                let predicate = wanted.definition.predicate.as_deref();
                let columns = index_columns(&mut changed, oid, wanted.keys, predicate);
                if primary {
                    changed.primary_key = Some(oid);
                    for column in &mut changed.columns {
                        if columns.contains(&column.number) && !column.not_null {
                            self.refuse_nulls(&child, column.number, &column.name).await?;
                            column.not_null = true;
                        }
                    }
                }
                let new = Index {
                    oid,
                    table: child.oid,
                    schema: child.schema,
                    name: names::choose(&catalog, child.schema, &[], &child.name, &middle, label),
                    columns,
                    unique: index.unique,
                    constraint: index.constraint,
                    parent: Some(index.oid),
                    state: IndexState::Valid,
                    definition: wanted.definition,
                    comment: None,
                };
                self.place_index(&child, changed, new.clone()).await?;
                Arc::new(new)
            }
        };
        self.index_on_partitions(child.oid, below.oid).await
    }

    /// Gives all partitions of a table an index that belongs to its index; none where it has none.
    pub(super) async fn index_on_partitions(&mut self, table: TableId, index: IndexId) -> SqlResult<()> {
        let catalog = self.latest_catalog();
        let (Some(table), Some(index)) = (catalog.table(table).cloned(), catalog.index(index).cloned()) else {
            return Ok(());
        };
        if table.partitioning.is_none() {
            return Ok(());
        }
        let children: Vec<TableId> = catalog.children(table.oid).map(|child| child.oid).collect();
        for child in children {
            Box::pin(self.index_on_partition(&table, &index, child)).await?;
        }
        Ok(())
    }

    /// Gives a partition, and those below it, a foreign key of its parent.
    pub(super) async fn key_on_partition(
        &mut self,
        parent: &Arc<Table>,
        key: &ForeignKey,
        child: TableId,
    ) -> SqlResult<()> {
        let child = self.lock_table(child, "").await?;
        let name_of = |table: &Table, number: &u16| {
            table.columns.iter().find(|column| column.number == *number).map(|column| column.name.clone())
        };
        let columns: Option<Vec<String>> = key.columns.iter().map(|number| name_of(parent, number)).collect();
        let columns = columns.ok_or_else(|| SqlError::internal("a foreign key without its columns"))?;
        let numbers: Option<Vec<u16>> = columns
            .iter()
            .map(|name| child.columns.iter().find(|column| column.name == *name).map(|column| column.number))
            .collect();
        let numbers = numbers.ok_or_else(|| SqlError::internal("a partition without a column of its parent"))?;
        let mut changed = Table::clone(&child);
        let alike = changed.foreign_keys.iter_mut().find(|own| {
            own.parent.is_none()
                && own.columns == numbers
                && own.references == key.references
                && own.referenced == key.referenced
                && (own.on_update, own.on_delete) == (key.on_update, key.on_delete)
                && (own.match_full, own.deferral) == (key.match_full, key.deferral)
        });
        let below = match alike {
            Some(own) => {
                own.parent = Some(key.oid);
                own.clone()
            }
            None => {
                let catalog = self.latest_catalog();
                let taken = changed.foreign_keys.iter().any(|own| own.name == key.name);
                let name = match taken {
                    true => names::choose_constraint(&catalog, &changed, &[], &columns.join("_"), "fkey"),
                    false => key.name.clone(),
                };
                let new = ForeignKey {
                    oid: Oids::new(&catalog).next(),
                    name,
                    columns: numbers,
                    parent: Some(key.oid),
                    ..key.clone()
                };
                self.check_foreign_rows(&child, &new).await?;
                changed.foreign_keys.push(new.clone());
                new
            }
        };
        changed.version += 1;
        let child = Arc::new(changed);
        self.change_table(child.clone(), Vec::new(), |row| row)?;
        if child.partitioning.is_some() {
            let children: Vec<TableId> = self.latest_catalog().children(child.oid).map(|child| child.oid).collect();
            for grandchild in children {
                Box::pin(self.key_on_partition(&child, &below, grandchild)).await?;
            }
        }
        Ok(())
    }

    /// DETACH PARTITION
    pub(super) async fn detach(&mut self, parent: &Arc<Table>, child: &Arc<Table>) -> SqlResult<()> {
        let child = self.lock_table(child.oid, &child.name).await?;
        if !child.is_partition() || !child.parents.contains(&parent.oid) {
            return Err(SqlError::new(
                SqlState::UndefinedTable,
                format!("relation \"{}\" is not a partition of relation \"{}\"", child.name, parent.name),
            ));
        }
        let catalog = self.latest_catalog();
        let mut changed = orphaned(parent, &child);
        changed.bound = None;
        for key in &mut changed.foreign_keys {
            key.parent = None;
        }
        let indexes = catalog.indexes_of(&child).filter(|index| index.parent.is_some());
        let others = indexes
            .map(|index| CatalogChange::Put(Object::Index(Arc::new(Index { parent: None, ..Index::clone(index) }))));
        let others = others.collect();
        changed.version += 1;
        self.change_table(Arc::new(changed), others, |row| row)?;
        self.touch_parent(parent.oid)
    }

    /// INHERIT
    pub(super) async fn inherit(&mut self, child: &Arc<Table>, parent: &Arc<Table>) -> SqlResult<()> {
        let parent = self.lock_table(parent.oid, &parent.name).await?;
        if child.is_partition() {
            return Err(wrong_type("cannot change inheritance of a partition"));
        }
        if child.partitioning.is_some() {
            return Err(wrong_type("cannot change inheritance of partitioned table"));
        }
        if parent.partitioning.is_some() {
            return Err(wrong_type(format!("cannot inherit from partitioned table \"{}\"", parent.name)));
        }
        if parent.is_partition() {
            return Err(wrong_type("cannot inherit from a partition"));
        }
        if child.parents.contains(&parent.oid) {
            return Err(SqlError::new(
                SqlState::DuplicateTable,
                format!("relation \"{}\" would be inherited from more than once", parent.name),
            ));
        }
        if !parent.aggregates.is_empty() {
            return Err(SqlError::unsupported("INHERIT of a table with continuous aggregates"));
        }
        if self.latest_catalog().family(child).iter().any(|below| below.oid == parent.oid) {
            return Err(SqlError::new(SqlState::DuplicateTable, "circular inheritance not allowed")
                .detail(format!("\"{}\" is already a child of \"{}\".", parent.name, child.name)));
        }
        let mut changed = self.adopted(&parent, child, true)?;
        changed.version += 1;
        self.change_table(Arc::new(changed), Vec::new(), |row| row)?;
        self.touch_parent(parent.oid)
    }

    /// NO INHERIT
    pub(super) async fn disinherit(&mut self, child: &Arc<Table>, parent: &Arc<Table>) -> SqlResult<()> {
        let parent = self.lock_table(parent.oid, &parent.name).await?;
        if child.is_partition() {
            return Err(wrong_type("cannot change inheritance of a partition"));
        }
        if !child.parents.contains(&parent.oid) {
            return Err(SqlError::new(
                SqlState::UndefinedTable,
                format!("relation \"{}\" is not a parent of relation \"{}\"", parent.name, child.name),
            ));
        }
        let mut changed = orphaned(&parent, child);
        changed.version += 1;
        self.change_table(Arc::new(changed), Vec::new(), |row| row)?;
        self.touch_parent(parent.oid)
    }
}

/// An index of a partitioned table as one of its partitions would have it.
struct Wanted {
    /// For each key the number of a column, or an expression and its type.
    keys: Vec<Result<u16, (String, SqlType)>>,
    definition: IndexDefinition,
    /// What the index's name is made of.
    names: Vec<String>,
}

impl Wanted {
    fn of(parent: &Table, index: &Index, child: &Table) -> SqlResult<Self> {
        let column = |number: u16| parent.columns.get(parent.number_position(number)?);
        let below = |number: u16| {
            let name = &column(number)?.name;
            child.columns.iter().find(|own| own.name == *name).map(|own| own.number)
        };
        let missing = || SqlError::internal("a partition without a column of its parent");
        let mut keys = Vec::new();
        let mut names = Vec::new();
        for (at, number) in index.key_columns().iter().enumerate() {
            let expression = index.definition.keys.get(at).and_then(|key| key.expression.clone());
            let own = column(*number).ok_or_else(missing)?;
            match expression {
                Some(text) => {
                    names.push(label_of(&text).to_owned());
                    keys.push(Err((text, own.ty.clone())));
                }
                None => {
                    names.push(own.name.clone());
                    keys.push(Ok(below(*number).ok_or_else(missing)?));
                }
            }
        }
        let mut definition = index.definition.clone();
        for number in &mut definition.include {
            names.extend(column(*number).map(|column| column.name.clone()));
            *number = below(*number).ok_or_else(missing)?;
        }
        Ok(Self { keys, definition, names })
    }

    /// Whether an index of the partition is such.
    fn is(&self, own: &Index) -> bool {
        let same = |(key, number): (&Result<u16, (String, SqlType)>, &u16)| match key {
            Ok(wanted) => wanted == number,
            // The definition says it.
            Err(_) => true,
        };
        own.definition == self.definition
            && own.key_columns().len() == self.keys.len()
            && self.keys.iter().zip(own.key_columns()).all(same)
    }
}

/// What an index is called after an expression: the function that it calls.
fn label_of(expression: &str) -> &str {
    let name = expression.split_once('(').map_or("", |(name, _)| name);
    let name = name.rsplit_once('.').map_or(name, |(_, name)| name);
    let is_name = !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || c == '_');
    if is_name { name } else { "expr" }
}

/// A table without one of its parents: what it had from that is its own.
fn orphaned(parent: &Table, child: &Table) -> Table {
    let mut changed = child.clone();
    changed.parents.retain(|oid| *oid != parent.oid);
    for column in &mut changed.columns {
        if parent.column_position(&column.name).is_some() {
            column.inherited = column.inherited.saturating_sub(1);
            column.local |= column.inherited == 0;
        }
    }
    for check in &mut changed.checks {
        if parent.checks.iter().any(|other| other.name == check.name) {
            check.inherited = check.inherited.saturating_sub(1);
            check.local |= check.inherited == 0;
        }
    }
    changed
}
