//! A node in this process, and clients of it.

use std::sync::Arc;

use perigee_consensus::{Applied, Consensus, ConsensusOptions, Node as Member};
use perigee_engine::{ConnectRequest, Engine, EngineOptions, Machine, Outcome, RowBlock, Session};
use perigee_log::{Log, LogOptions, Meta};
use perigee_query::exec::{QueryOptions, QueryRuntime};
use perigee_runtime::Runtime;
use perigee_storage::arrow_value::batch_to_rows;
use perigee_storage::budget::MemoryBudget;
use perigee_storage::disk::DiskReserve;
use perigee_storage::kv::{KvEngine, MemKv};
use perigee_storage::store::{Store, StoreOptions};
use perigee_types::text::{OutputSettings, format};
use perigee_types::{LogIndex, SqlError, SqlState, Value};

/// A node whose log is in a folder and whose LSM is in memory.
pub(crate) struct Node {
    pub(crate) engine: Arc<Engine>,
    consensus: Consensus,
    log: Arc<Log>,
    folder: Arc<tempfile::TempDir>,
    kv: Arc<dyn KvEngine>,
}

impl Node {
    pub(crate) async fn start() -> Self {
        Self::open(Arc::new(tempfile::tempdir().unwrap()), Arc::new(MemKv::new())).await
    }

    async fn open(folder: Arc<tempfile::TempDir>, kv: Arc<dyn KvEngine>) -> Self {
        let runtime = Runtime::system();
        let budget = MemoryBudget::unlimited();
        let (store, applier) = Store::open(StoreOptions::default(), kv.clone(), budget.clone()).unwrap();
        let meta = Arc::new(Meta::open(runtime.files.clone(), &folder.path().join("meta")).unwrap());
        let options =
            LogOptions { dir: folder.path().join("log"), cluster_id: 7, segment_bytes: perigee_log::SEGMENT_BYTES };
        let (log, recovery) = Log::open(runtime.files.clone(), options).unwrap();
        let log = Arc::new(log);
        let recovered = store.recovered();
        let restored =
            Applied { index: recovered.index, term: recovered.term, membership: recovered.membership.clone() };
        let member = Member { name: "n1".to_owned(), incarnation: 1, address: String::new() };
        let mut options = ConsensusOptions::new(member, 7);
        options.committed = LogIndex(recovery.committed);
        let machine = Machine::new(applier, restored, log.clone());
        let consensus = Consensus::start(options, runtime.clone(), log.clone(), meta, machine).await.unwrap();
        let query = QueryRuntime::new(QueryOptions {
            threads: 2,
            memory_bytes: 256 << 20,
            spill_dir: folder.path().join("tmp"),
            spill_bytes_max: 1 << 30,
        })
        .unwrap();
        let disk = DiskReserve::new(runtime.files.clone(), runtime.clock.clone(), folder.path(), Some(0));
        // Small, so that tests reach what is staged.
        let options = EngineOptions { transaction_bytes_max: 4 << 20, ..EngineOptions::default() };
        let engine = Engine::new(options, runtime, store, consensus.clone(), query, Arc::new(disk), budget, None);
        Self { engine, consensus, log, folder, kv }
    }

    /// Stops, with or without a checkpoint, and starts again on the same data.
    pub(crate) async fn restart(self, checkpoint: bool) -> Self {
        if checkpoint {
            let engine = self.engine.clone();
            tokio::task::spawn_blocking(move || perigee_engine::maintenance::checkpoint(&engine))
                .await
                .unwrap()
                .unwrap();
        }
        self.consensus.shutdown().await;
        self.log.close().unwrap();
        let Self { folder, kv, .. } = self;
        Self::open(folder, kv).await
    }

    pub(crate) async fn client(&self) -> Client {
        let request =
            ConnectRequest { user: "postgres".to_owned(), database: "postgres".to_owned(), ..Default::default() };
        Client { session: self.engine.connect(request).await.unwrap() }
    }
}

/// A client that sends simple queries.
pub(crate) struct Client {
    pub(crate) session: Session,
}

impl Client {
    /// Runs a simple query; rows of all its statements as text, then the tag of the last.
    pub(crate) async fn run(&mut self, sql: &str) -> Result<(Vec<Vec<String>>, String), SqlError> {
        let result = self.statements(sql).await;
        if result.is_err() {
            self.session.fail();
        }
        let finished = self.session.finish().await;
        let result = result?;
        finished?;
        Ok(result)
    }

    async fn statements(&mut self, sql: &str) -> Result<(Vec<Vec<String>>, String), SqlError> {
        if let Some(statement) = self.session.cached(sql, &[]) {
            let mut rows = Vec::new();
            let outcome = self.session.execute(&statement, &[]).await?;
            let tag = read(outcome, &mut rows).await?;
            return Ok((rows, tag));
        }
        let statements = self.session.split(sql)?;
        if statements.len() > 1 {
            self.session.begin_implicit_block();
        }
        let (mut rows, mut tag) = (Vec::new(), String::new());
        for statement in statements {
            let statement = self.session.plan(&statement, &[]).await?;
            let outcome = self.session.execute(&statement, &[]).await?;
            tag = read(outcome, &mut rows).await?;
        }
        Ok((rows, tag))
    }

    /// Runs a statement and leaves an implicit transaction open, as before Sync.
    pub(crate) async fn unfinished(&mut self, sql: &str) -> Result<Vec<Vec<String>>, SqlError> {
        let statements = self.session.split(sql)?;
        let statement = self.session.plan(&statements[0], &[]).await?;
        let mut rows = Vec::new();
        read(self.session.execute(&statement, &[]).await?, &mut rows).await?;
        Ok(rows)
    }

    /// Runs what must work; its tag.
    pub(crate) async fn ok(&mut self, sql: &str) -> String {
        match self.run(sql).await {
            Ok((_, tag)) => tag,
            Err(error) => panic!("{sql}: {error}\n{:?}", error.fields()),
        }
    }

    /// The rows, values joined with `|`.
    pub(crate) async fn rows(&mut self, sql: &str) -> Vec<String> {
        match self.run(sql).await {
            Ok((rows, _)) => rows.into_iter().map(|row| row.join("|")).collect(),
            Err(error) => panic!("{sql}: {error}\n{:?}", error.fields()),
        }
    }

    /// The SQLSTATE of what must fail.
    pub(crate) async fn fails(&mut self, sql: &str) -> SqlState {
        match self.run(sql).await {
            Ok((rows, tag)) => panic!("{sql} gave {tag} {rows:?}"),
            Err(error) => error.state(),
        }
    }
}

async fn read(outcome: Outcome, rows: &mut Vec<Vec<String>>) -> Result<String, SqlError> {
    let settings = OutputSettings::DEFAULT;
    match outcome {
        Outcome::Command(tag) => Ok(tag.text()),
        Outcome::Rows(columns, mut stream) => {
            while let Some(block) = stream.next().await? {
                let values = match block {
                    RowBlock::Values(values) => values,
                    RowBlock::Batch(batch) => batch_to_rows(&batch),
                };
                for row in values {
                    let cells = row.iter().zip(columns.iter()).map(|(value, column)| match value {
                        Value::Null => "NULL".to_owned(),
                        value => format(value, &column.ty, &settings),
                    });
                    rows.push(cells.collect());
                }
            }
            Ok(format!("{} {}", stream.tag, rows.len()))
        }
        Outcome::CopyIn(_) | Outcome::CopyOut(_) => Ok("COPY".to_owned()),
    }
}
