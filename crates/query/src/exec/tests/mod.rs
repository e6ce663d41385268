//! Queries over a store in memory: one helper, then cases that are data.

mod cost;
mod semantics;
mod tables;
mod tpch;

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::planner::SqlToRel;
use perigee_plan::Query;
use perigee_storage::arrow_value::batch_to_rows;
use perigee_storage::budget::MemoryBudget;
use perigee_storage::entry::{Entry, RowBlock, TableChange, Transaction};
use perigee_storage::kv::MemKv;
use perigee_storage::store::{Applier, Overlay, Store, StoreOptions};
use perigee_types::catalog::{BOOTSTRAP_ROLE, CatalogChange, Column, Index, IndexState, Object, PUBLIC_SCHEMA, Table};
use perigee_types::text::{self, OutputSettings};
use perigee_types::{Hlc, LogIndex, Oid, Row, SqlResult, SqlType, TenantId, Term, Value};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;
use tokio_util::sync::CancellationToken;

use super::{Planning, PlanningOptions, QueryOptions, QueryRuntime, ReadView, SessionFacts, optimize, sql_error};

/// A store in memory and what runs queries over it.
pub(crate) struct Fixture {
    pub(crate) store: Arc<Store>,
    applier: Applier,
    index: u64,
    pub(crate) runtime: Arc<QueryRuntime>,
    tokio: tokio::runtime::Runtime,
    pub(crate) facts: SessionFacts,
    pub(crate) overlay: Option<Arc<Overlay>>,
    _spill: tempfile::TempDir,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        Self::with_memory(256 << 20)
    }

    pub(crate) fn with_memory(memory_bytes: usize) -> Self {
        let options = StoreOptions { maintenance_thread: false, ..StoreOptions::default() };
        let (store, applier) = Store::open(options, Arc::new(MemKv::new()), MemoryBudget::unlimited()).unwrap();
        let spill = tempfile::tempdir().unwrap();
        let runtime = QueryRuntime::new(QueryOptions {
            threads: 2,
            memory_bytes,
            spill_dir: spill.path().join("spill"),
            spill_bytes_max: 1 << 30,
        })
        .unwrap();
        let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        // 2026-01-02 03:04:05.678901 UTC
        let facts = SessionFacts { transaction_time: 1_767_323_045_678_901, ..SessionFacts::nobody() };
        Self { store, applier, index: 0, runtime, tokio, facts, overlay: None, _spill: spill }
    }

    pub(crate) fn apply(&mut self, transaction: Transaction) {
        self.index += 1;
        let bytes = Entry::Transaction(transaction).encode();
        self.applier.apply(LogIndex(self.index), Term(1), Hlc(self.index), Term(1), &bytes).unwrap();
        self.applier.publish();
    }

    /// A table in `public` whose first column is the primary key.
    pub(crate) fn table(&mut self, name: &str, columns: &[(&str, SqlType)]) -> Arc<Table> {
        let oid = self.store.catalog().next_oid();
        let columns: Vec<Column> = columns
            .iter()
            .enumerate()
            .map(|(at, (name, ty))| Column {
                number: at as u16 + 1,
                name: (*name).to_owned(),
                ty: ty.clone(),
                not_null: at == 0,
                default: None,
                missing: Value::Null,
                domain: None,
                identity_always: None,
                inherited: 0,
                local: true,
                comment: None,
                acl: Default::default(),
            })
            .collect();
        let table = Arc::new(Table {
            oid: Oid(oid),
            tenant: TenantId(1),
            schema: PUBLIC_SCHEMA,
            name: name.to_owned(),
            owner: BOOTSTRAP_ROLE,
            version: 1,
            storage: Oid(oid),
            next_column: columns.len() as u16 + 1,
            columns,
            primary_key: Some(Oid(oid + 1)),
            indexes: vec![Oid(oid + 1)],
            checks: Vec::new(),
            foreign_keys: Vec::new(),
            aggregates: Vec::new(),
            materialized: None,
            options: BTreeMap::new(),
            on_commit: perigee_types::catalog::OnCommit::PreserveRows,
            parents: Vec::new(),
            partitioning: None,
            bound: None,
            constraint_comments: Vec::new(),
            comment: None,
            acl: None,
        });
        let index = Arc::new(Index {
            oid: Oid(oid + 1),
            table: table.oid,
            schema: PUBLIC_SCHEMA,
            name: format!("{name}_pkey"),
            columns: vec![1],
            unique: true,
            constraint: true,
            parent: None,
            definition: Default::default(),
            state: IndexState::Valid,
            comment: None,
        });
        let catalog =
            vec![CatalogChange::Put(Object::Table(Arc::clone(&table))), CatalogChange::Put(Object::Index(index))];
        self.apply(Transaction { catalog, ..Transaction::default() });
        table
    }

    pub(crate) fn insert(&mut self, table: &Table, rows: Vec<Row>) {
        let columns = table.columns.iter().map(|c| c.number).collect();
        let change = TableChange { storage: table.storage, columns, ended: Vec::new(), rows: RowBlock::Rows(rows) };
        self.apply(Transaction { changes: vec![change], ..Transaction::default() });
    }

    pub(crate) fn plan(&self, sql: &str) -> SqlResult<LogicalPlan> {
        self.plan_with(sql, &[])
    }

    pub(crate) fn plan_with(&self, sql: &str, with_vid: &[Oid]) -> SqlResult<LogicalPlan> {
        let mut statements = Parser::parse_sql(&PostgreSqlDialect {}, sql).unwrap_or_else(|e| panic!("{sql}: {e}"));
        let _ = sqlparser::ast::visit_expressions_mut(&mut statements, |expr| {
            crate::exec::rewrite_expression(expr);
            std::ops::ControlFlow::<()>::Continue(())
        });
        let search_path = ["public".to_owned()];
        let planning = Planning::new(PlanningOptions {
            catalog: self.store.catalog(),
            tenant: TenantId(1),
            database: "postgres",
            search_path: &search_path,
            temporary: "pg_temp_1",
            views: None,
            with_vid,
        });
        let sql_to_rel = SqlToRel::new_with_options(&planning, planning.parser_options());
        let plan = sql_to_rel.sql_statement_to_plan(statements.remove(0)).map_err(sql_error)?;
        optimize(&plan)
    }

    pub(crate) fn view(&self) -> Arc<ReadView> {
        Arc::new(ReadView {
            snapshot: self.store.snapshot(),
            overlay: self.overlay.clone(),
            begun: perigee_storage::table::Begun::EVER,
            reads: None,
            keys: None,
            returned: Vec::new(),
            session: Arc::new(self.facts.clone()),
            cancel: CancellationToken::new(),
        })
    }

    pub(crate) fn query(&self, sql: &str) -> SqlResult<Query> {
        Ok(query_of(self.plan(sql)?))
    }

    pub(crate) fn run(&self, sql: &str, parameters: &[Value]) -> SqlResult<Vec<String>> {
        let query = self.query(sql)?;
        self.run_query(&query, parameters)
    }

    pub(crate) fn run_query(&self, query: &Query, parameters: &[Value]) -> SqlResult<Vec<String>> {
        let batches = self.tokio.block_on(self.runtime.fetch_batches(query, parameters, self.view()))?;
        let mut lines = Vec::new();
        for batch in &batches {
            let types: Vec<SqlType> = query.logical.schema().fields().iter().map(|f| SqlType::of_field(f)).collect();
            for row in batch_to_rows(batch) {
                let cells: Vec<String> = row.iter().zip(&types).map(|(value, ty)| cell(value, ty)).collect();
                lines.push(cells.join("|"));
            }
        }
        Ok(lines)
    }

    pub(crate) fn block_on<T>(&self, work: impl Future<Output = T>) -> T {
        self.tokio.block_on(work)
    }

    /// The rows of `sql`, one a line, columns between bars; or the code and message of its error.
    #[track_caller]
    pub(crate) fn check(&self, sql: &str, expected: &[&str]) {
        let got = match self.run(sql, &[]) {
            Ok(lines) => lines,
            Err(error) => vec![format!("{}: {}", error.state().code(), error.message())],
        };
        assert_eq!(got, expected, "{sql}");
    }

    /// Runs every case and shows all that differ, not the first alone.
    #[track_caller]
    pub(crate) fn check_all(&self, cases: &[(&str, &str)]) {
        let mut wrong = Vec::new();
        for (expression, expected) in cases {
            let sql = if ["SELECT", "VALUES", "WITH"].iter().any(|word| expression.starts_with(word)) {
                (*expression).to_owned()
            } else {
                format!("SELECT {expression}")
            };
            let got = match self.run(&sql, &[]) {
                Ok(lines) => lines.join("\n"),
                Err(error) => format!("{}: {}", error.state().code(), error.message()),
            };
            // An expectation that is a bare code leaves the message open.
            let matches =
                got == *expected || (expected.len() == 6 && expected.ends_with(':') && got.starts_with(expected));
            if !matches {
                wrong.push(format!("{sql}\n     got {got}\n  wanted {expected}"));
            }
        }
        assert!(wrong.is_empty(), "{} of {} cases:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    }
}

pub(crate) fn query_of(plan: LogicalPlan) -> Query {
    Query { logical: Arc::new(plan), reads: Vec::new(), named: Vec::new(), replan: false, row_lock: None }
}

fn cell(value: &Value, ty: &SqlType) -> String {
    match (value, ty) {
        (Value::Null, _) => "NULL".to_owned(),
        // The wire shows the name, which it finds in the catalog.
        (Value::Oid(oid), SqlType::Regtype) => {
            SqlType::from_oid(*oid).map_or_else(|| oid.to_string(), |of| of.to_string())
        }
        _ => text::format(value, ty, &OutputSettings::DEFAULT),
    }
}
