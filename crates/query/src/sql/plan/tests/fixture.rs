//! A catalog made by planning DDL and carrying it out in memory.

use std::sync::Arc;

use perigee_plan::ddl::{KeyConstraint, SequenceColumn};
use perigee_plan::{Ddl, Plan, Prepared};
use perigee_types::catalog::{
    BOOTSTRAP_ROLE, Catalog, CatalogChange, Check, ColumnDefault, Index, IndexState, Object, Sequence, Table, View,
};
use perigee_types::{LogIndex, Oid, SqlResult, SqlType, TenantId};

use crate::sql::{PlanContext, parse, plan};

pub(crate) struct Fixture {
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) search_path: Vec<String>,
}

/// pgbench's tables, one table of many types, a view and a sequence.
const SCHEMA: &str = "
    create table pgbench_accounts (aid int not null, bid int, abalance int, filler char(84)) with (fillfactor=100);
    alter table pgbench_accounts add primary key (aid);
    create table pgbench_tellers (tid int primary key, bid int, tbalance int, filler char(84));
    create table pgbench_history (tid int, bid int, aid int, delta int, mtime timestamp, filler char(22));
    create table pairs (a int, b text, c numeric(10,2) default 1.5, d varchar(3), primary key (a, b), unique (d));
    create table things (
        id bigserial primary key, name text not null, price numeric(10,2), tags text[], at timestamptz default now(),
        ok bool, note jsonb, ratio float8, small int2, day date, key uuid unique);
    create view cheap as select id, name as label from things where price < 10;
    create sequence seq;
";

impl Fixture {
    pub(crate) fn new() -> Self {
        let mut fixture =
            Self { catalog: Arc::new(Catalog::bootstrap("postgres")), search_path: vec!["public".to_owned()] };
        for statement in parse(SCHEMA).unwrap() {
            let prepared = fixture.run(|context| plan(&statement, context)).unwrap();
            let Plan::Ddl(ddl) = &prepared.plan else { panic!("{}", statement.text) };
            fixture.carry_out(ddl);
        }
        fixture
    }

    pub(crate) fn run<T>(&self, run: impl FnOnce(&PlanContext) -> T) -> T {
        self.run_declared(&[], run)
    }

    pub(crate) fn run_declared<T>(&self, declared: &[Option<SqlType>], run: impl FnOnce(&PlanContext) -> T) -> T {
        run(&PlanContext {
            catalog: &self.catalog,
            tenant: TenantId(1),
            database: "postgres",
            search_path: &self.search_path,
            temporary: crate::sql::context::TemporarySchema { name: "pg_temp_1", implicit: false },
            user: "postgres",
            role: BOOTSTRAP_ROLE,
            maintains: None,
            settings: &|_| None,
            declared,
            uses: None,
            relations: &[],
        })
    }

    /// Plans a text of one statement.
    pub(crate) fn plan(&self, sql: &str) -> SqlResult<Arc<Prepared>> {
        let mut statements = parse(sql)?;
        assert_eq!(statements.len(), 1, "{sql}");
        self.run(|context| plan(&statements.remove(0), context))
    }

    fn put(&mut self, object: Object) {
        let version = LogIndex(self.catalog.version.0 + 1);
        self.catalog = Arc::new(self.catalog.with_changes(&[CatalogChange::Put(object)], version));
    }

    fn carry_out(&mut self, ddl: &Ddl) {
        match ddl {
            Ddl::CreateTable { schema, name, columns, keys, checks, options, .. } => {
                let sequences: Vec<Option<Oid>> = columns
                    .iter()
                    .map(|c| c.sequence.map(|_| self.sequence(&format!("{name}_{}_seq", c.name))))
                    .collect();
                let oid = Oid(self.catalog.next_oid());
                let mut table = Table {
                    oid,
                    tenant: TenantId(1),
                    schema: *schema,
                    name: name.clone(),
                    owner: BOOTSTRAP_ROLE,
                    version: 1,
                    storage: oid,
                    columns: (1..).zip(columns).map(|(number, c)| c.column(number)).collect(),
                    next_column: u16::try_from(columns.len()).unwrap() + 1,
                    primary_key: None,
                    indexes: Vec::new(),
                    checks: Vec::new(),
                    foreign_keys: Vec::new(),
                    aggregates: Vec::new(),
                    materialized: None,
                    options: options.clone(),
                    on_commit: perigee_types::catalog::OnCommit::PreserveRows,
                    parents: Vec::new(),
                    partitioning: None,
                    bound: None,
                    constraint_comments: Vec::new(),
                    comment: None,
                    acl: None,
                };
                for (place, column) in columns.iter().enumerate() {
                    let (Some(kind), Some(sequence)) = (column.sequence, sequences[place]) else { continue };
                    table.columns[place].default = Some(ColumnDefault::Sequence(sequence));
                    table.columns[place].identity_always = match kind {
                        SequenceColumn::Serial => None,
                        SequenceColumn::IdentityByDefault => Some(false),
                        SequenceColumn::IdentityAlways => Some(true),
                    };
                }
                table.checks = checks
                    .iter()
                    .map(|check| Check {
                        oid: Oid(1),
                        name: "c".to_owned(),
                        expression: check.expression.clone(),
                        inherited: 0,
                        local: true,
                        not_valid: false,
                    })
                    .collect();
                self.put(Object::Table(Arc::new(table.clone())));
                for key in keys {
                    self.key(&mut table, key);
                }
            }
            Ddl::AlterTable { table: Some(table), actions, .. } => {
                let mut table = Table::clone(table);
                for action in actions {
                    let perigee_plan::ddl::AlterTable::AddKey(key) = action else { panic!("{action:?}") };
                    self.key(&mut table, key);
                }
            }
            Ddl::CreateView { schema, name, columns, query, depends_on, .. } => {
                let oid = Oid(self.catalog.next_oid());
                self.put(Object::View(Arc::new(View {
                    oid,
                    tenant: TenantId(1),
                    schema: *schema,
                    name: name.clone(),
                    owner: BOOTSTRAP_ROLE,
                    query: query.clone(),
                    columns: columns.clone(),
                    depends_on: depends_on.clone(),
                    check_option: None,
                    comment: None,
                    acl: None,
                })));
            }
            Ddl::CreateSequence { name, .. } => {
                self.sequence(name);
            }
            other => panic!("{other:?}"),
        }
    }

    fn key(&mut self, table: &mut Table, key: &KeyConstraint) {
        let oid = Oid(self.catalog.next_oid());
        let number = |name: &String| table.columns[table.column_position(name).unwrap()].number;
        self.put(Object::Index(Arc::new(Index {
            oid,
            table: table.oid,
            schema: table.schema,
            name: format!("{}_{}", table.name, oid),
            columns: key.columns.iter().map(number).collect(),
            unique: true,
            constraint: true,
            parent: None,
            definition: Default::default(),
            state: IndexState::Valid,
            comment: None,
        })));
        table.indexes.push(oid);
        if key.primary {
            table.primary_key = Some(oid);
        }
        self.put(Object::Table(Arc::new(table.clone())));
    }

    fn sequence(&mut self, name: &str) -> Oid {
        let oid = Oid(self.catalog.next_oid());
        self.put(Object::Sequence(Arc::new(Sequence {
            oid,
            tenant: TenantId(1),
            schema: perigee_types::catalog::PUBLIC_SCHEMA,
            name: name.to_owned(),
            owner: BOOTSTRAP_ROLE,
            ty: SqlType::Int8,
            start: 1,
            increment: 1,
            minimum: 1,
            maximum: i64::MAX,
            cycle: false,
            owned_by: None,
            comment: None,
            acl: None,
        })));
        oid
    }
}
