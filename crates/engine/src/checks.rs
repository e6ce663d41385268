//! Generated columns and CHECK constraints of rows that are about to be written.

use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::record_batch::RecordBatch;
use parking_lot::Mutex;
use perigee_plan::relational::ViewCheck;
use perigee_query::sql::{Check, Generated, RowExpression};
use perigee_storage::arrow_value::batch_to_rows;
use perigee_types::catalog::{Column, Table};
use perigee_types::{LogIndex, Oid, Row, SqlError, SqlResult, SqlState, Value};
use rustc_hash::FxHashMap;

use crate::commit::{check_values, describe};
use crate::rows::Target;
use crate::session::Session;
use crate::write::table_batch;

/// Tables whose planned checks are kept.
const TABLES_MAX: usize = 4_096;

/// What makes and tests a table's rows, ready to run.
#[derive(Clone, Default)]
pub(crate) struct RowRules {
    pub(crate) checks: Vec<Check>,
    pub(crate) generated: Vec<Generated>,
}

impl RowRules {
    fn calls_functions(&self) -> bool {
        let tests = self.checks.iter().map(|check| &check.test);
        tests.chain(self.generated.iter().map(|generated| &generated.value)).any(|expr| !expr.calls().is_empty())
    }
}

/// The rules of a table.
struct KnownRules {
    /// The table that they were planned for.
    table: Arc<Table>,
    /// The catalog that they were planned against, where they hold what functions of users say: these may be replaced.
    version: Option<LogIndex>,
    rules: Arc<RowRules>,
}

/// Planned row rules, by table.
#[derive(Default)]
pub(crate) struct RuleCache {
    tables: Mutex<FxHashMap<Oid, KnownRules>>,
}

impl Session {
    /// The rules of a table's rows.
    pub(crate) fn rules_of(&self, table: &Arc<Table>) -> SqlResult<Arc<RowRules>> {
        let has_rules = |column: &Column| column.generated().is_some() || column.domain.is_some();
        if table.checks.is_empty() && !table.columns.iter().any(has_rules) {
            return Ok(Arc::default());
        }
        let now = self.planning_catalog().version;
        if let Some(known) = self.engine.rules.tables.lock().get(&table.oid)
            && Arc::ptr_eq(&known.table, table)
            && known.version.is_none_or(|version| version == now)
        {
            return Ok(known.rules.clone());
        }
        let rules = Arc::new(self.plan_rules(table)?);
        let version = rules.calls_functions().then_some(now);
        let mut tables = self.engine.rules.tables.lock();
        if tables.len() >= TABLES_MAX {
            tables.clear();
        }
        tables.insert(table.oid, KnownRules { table: table.clone(), version, rules: rules.clone() });
        Ok(rules)
    }

    pub(crate) fn plan_rules(&self, table: &Arc<Table>) -> SqlResult<RowRules> {
        self.with_plan_context(&[], |_, context| {
            Ok(RowRules {
                checks: perigee_query::sql::checks(table, context)?,
                generated: perigee_query::sql::generated(table, context)?,
            })
        })
    }

    /// Has rows that are written to `target` tested by conditions of views too.
    ///
    /// # Errors
    /// What planning the conditions gives.
    pub(crate) fn add_view_checks(&self, target: &mut Target, checks: &[ViewCheck]) -> SqlResult<()> {
        if checks.is_empty() {
            return Ok(());
        }
        let planned = self.with_plan_context(&[], |_, context| {
            let planned = checks.iter().map(|check| {
                let test = perigee_query::sql::row_condition(&target.table, &check.condition, context)?;
                Ok(Check { name: String::new(), test, domain: None, view: Some(check.view.clone()) })
            });
            planned.collect::<SqlResult<Vec<_>>>()
        })?;
        Arc::make_mut(&mut target.rules).checks.extend(planned);
        Ok(())
    }

    /// Puts the values of generated columns into rows whose other columns are known.
    ///
    /// # Errors
    /// What their expressions give.
    pub(crate) async fn generate(&mut self, target: &Target, rows: &mut [Row]) -> SqlResult<()> {
        if target.rules.generated.is_empty() || rows.is_empty() {
            return Ok(());
        }
        for generated in &target.rules.generated {
            self.check_calls(&generated.value, target.by)?;
            let values = self.values_over(&target.table, &generated.value, rows).await?;
            for (row, value) in rows.iter_mut().zip(values) {
                if let Some(slot) = row.get_mut(generated.place) {
                    *slot = value;
                }
            }
        }
        Ok(())
    }

    /// The value of an expression over each of some rows of a table.
    ///
    /// # Errors
    /// What the expression gives.
    pub(crate) async fn values_over(
        &mut self,
        table: &Table,
        expression: &RowExpression,
        rows: &[Row],
    ) -> SqlResult<Vec<Value>> {
        match expression {
            RowExpression::Row(expr) => rows.iter().map(|row| self.evaluate(expr, row, &[])).collect(),
            RowExpression::Rows { plan, .. } => {
                let batch = table_batch(table, rows)?;
                let view = self.view()?;
                let batches = self.engine.query.evaluate(plan, batch, &[], view).await?;
                Ok(batches.iter().flat_map(batch_to_rows).filter_map(|mut row| row.pop()).collect())
            }
        }
    }

    /// As [`Session::generate`], for rows in columns.
    ///
    /// # Errors
    /// As [`Session::generate`].
    pub(crate) async fn generate_batch(&mut self, target: &Target, batch: RecordBatch) -> SqlResult<RecordBatch> {
        if target.rules.generated.is_empty() {
            return Ok(batch);
        }
        let mut rows = batch_to_rows(&batch);
        self.generate(target, &mut rows).await?;
        table_batch(&target.table, &rows)
    }

    /// Tests rows that are about to be written, one value for each live column.
    ///
    /// # Errors
    /// `23502`, which PostgreSQL looks for first, and `23514`.
    pub(crate) async fn check_rows(&mut self, target: &Target, rows: &[Row]) -> SqlResult<()> {
        if target.rules.checks.is_empty() || rows.is_empty() {
            return Ok(());
        }
        // Values become the domain's before they become the row's.
        let domains = target.rules.checks.iter().take_while(|check| check.domain.is_some()).count();
        let (domains, checks) = target.rules.checks.split_at(domains);
        if let Some((_, check)) = self.find_violation(target, domains, rows).await? {
            return Err(domain_violation(check));
        }
        for row in rows {
            check_values(&target.table, &target.schema, row)?;
        }
        match self.find_violation(target, checks, rows).await? {
            Some((at, check)) => {
                let row = rows.get(at).map(Vec::as_slice).unwrap_or_default();
                if let Some(view) = &check.view {
                    let text = format!("new row violates check option for view \"{view}\"");
                    return Err(SqlError::new(SqlState::WithCheckOptionViolation, text)
                        .detail(format!("Failing row contains ({}).", describe(&target.table, row))));
                }
                let text = format!(
                    "new row for relation \"{}\" violates check constraint \"{}\"",
                    target.table.name, check.name
                );
                Err(SqlError::new(SqlState::CheckViolation, text)
                    .detail(format!("Failing row contains ({}).", describe(&target.table, row)))
                    .table(&target.schema, &target.table.name)
                    .constraint(&check.name))
            }
            None => Ok(()),
        }
    }

    /// As [`Session::check_rows`], for rows in columns.
    ///
    /// # Errors
    /// As [`Session::check_rows`].
    pub(crate) async fn check_batch(&mut self, target: &Target, batch: &RecordBatch) -> SqlResult<()> {
        if target.rules.checks.is_empty() {
            return Ok(());
        }
        self.check_rows(target, &batch_to_rows(batch)).await
    }

    /// The first row that violates one of these checks, and which. NULL passes.
    pub(crate) async fn find_violation<'a>(
        &mut self,
        target: &Target,
        checks: &'a [Check],
        rows: &[Row],
    ) -> SqlResult<Option<(usize, &'a Check)>> {
        let mut first: Option<(usize, &Check)> = None;
        for check in checks {
            self.check_calls(&check.test, target.by)?;
            let found = match &check.test {
                RowExpression::Row(expr) => {
                    let mut found = None;
                    for (at, row) in rows.iter().enumerate() {
                        if self.evaluate(expr, row, &[])? == Value::Bool(false) {
                            found = Some(at);
                            break;
                        }
                    }
                    found
                }
                RowExpression::Rows { plan, .. } => {
                    let batch = table_batch(&target.table, rows)?;
                    let view = self.view()?;
                    let mut found = None;
                    let mut before = 0;
                    for batch in self.engine.query.evaluate(plan, batch, &[], view).await? {
                        let passes = batch.columns().first().and_then(|array| array.as_boolean_opt());
                        let passes = passes.ok_or_else(|| SqlError::internal("a check is not boolean"))?;
                        let fails = |row: &usize| passes.is_valid(*row) && !passes.value(*row);
                        found = found.or_else(|| (0..passes.len()).find(fails).map(|row| before + row));
                        before += passes.len();
                    }
                    found
                }
            };
            if let Some(at) = found
                && first.is_none_or(|(other, _)| at < other)
            {
                first = Some((at, check));
            }
        }
        Ok(first)
    }
}

/// What a value gives that its domain does not take.
pub(crate) fn domain_violation(check: &Check) -> SqlError {
    let domain = check.domain.as_ref();
    let name = domain.map_or("", |rule| rule.domain.as_str());
    if domain.is_some_and(|rule| rule.not_null) {
        return SqlError::new(SqlState::NotNullViolation, format!("domain {name} does not allow null values"));
    }
    let text = format!("value for domain {name} violates check constraint \"{}\"", check.name);
    SqlError::new(SqlState::CheckViolation, text).constraint(&check.name)
}
