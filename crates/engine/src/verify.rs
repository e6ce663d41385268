//! Whether log, catalog, rows and indexes of this node agree; and where the node stands.

use std::sync::Arc;

use perigee_keyspace::scan::{Scan, ScanError};
use perigee_log::LogError;
use perigee_query::exec::{ClusterMember, ClusterState};
use perigee_types::catalog::{Catalog, Object, Table};
use perigee_types::{LogIndex, Oid, SqlError, SqlResult, SqlState};

use crate::engine::Engine;

/// How often the log is read anew when its very end looks torn: it is being written to.
const LOG_READS: usize = 5;

/// Where a node stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeStatus {
    /// Perigee's version.
    pub version: String,
    /// Whether it leads.
    pub leads: bool,
    /// The term.
    pub term: u64,
    /// Members with a vote.
    pub voters: u64,
    /// The first entry that can be read.
    pub log_first: LogIndex,
    /// The last entry.
    pub log_last: LogIndex,
    /// The last durable entry.
    pub log_synced: LogIndex,
    /// The last committed entry.
    pub log_committed: LogIndex,
    /// Bytes of the log's files.
    pub log_bytes: u64,
    /// The last applied entry.
    pub applied: LogIndex,
    /// The last entry that the LSM holds.
    pub checkpoint: LogIndex,
    /// Open sessions.
    pub sessions: u64,
    /// When the engine was started: microseconds since 1970 UTC.
    pub started_micros: i64,
}

/// What to look at.
#[derive(Clone, Debug, Default)]
pub struct VerifyOptions {
    /// Tables as (schema, name); all of them when empty.
    pub tables: Vec<(String, String)>,
    /// Leaves out the log's files.
    pub skip_log: bool,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// The entry that rows were read at.
    pub index: LogIndex,
    /// Each table.
    pub tables: Vec<VerifiedTable>,
    /// The log, where it was looked at and is whole.
    pub log: Option<VerifiedLog>,
    /// What does not agree, in words.
    pub faults: Vec<String>,
}

/// A table that was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VerifiedTable {
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// Its rows.
    pub rows: u64,
    /// Its indexes by name, with their entries.
    pub indexes: Vec<(String, u64)>,
}

/// A log that is whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VerifiedLog {
    /// The first record.
    pub first: u64,
    /// The last record.
    pub last: u64,
    /// How many.
    pub records: u64,
    /// Bytes of their frames.
    pub bytes: u64,
    /// The chain hash of the last one.
    pub head: [u8; 32],
    /// The attested record that the chain agrees with; 0 without an attestation.
    pub attested: u64,
}

impl Engine {
    /// Where the node stands.
    #[must_use]
    pub fn status(&self) -> NodeStatus {
        let raft = self.consensus.metrics();
        NodeStatus {
            version: self.options.version.clone(),
            leads: raft.serving,
            term: raft.term.0,
            voters: raft.voters as u64,
            log_first: raft.first,
            log_last: raft.last,
            log_synced: raft.synced,
            log_committed: raft.committed,
            log_bytes: raft.disk_bytes,
            applied: raft.applied,
            checkpoint: self.store.statistics().checkpoint,
            sessions: self.sessions.all().len() as u64,
            started_micros: self.started_micros(),
        }
    }

    /// The cluster as this node knows it.
    #[must_use]
    pub fn cluster_state(&self) -> ClusterState {
        let raft = self.consensus.metrics();
        let members = self.consensus.members().into_iter().map(|member| ClusterMember {
            name: member.node.name,
            incarnation: format!("{:032x}", member.node.incarnation),
            address: member.node.address,
            voter: member.voter,
            leads: member.leads,
            matched: member.matched.map(|index| index.0),
            answered_ms: member.answered.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX)),
        });
        ClusterState {
            node: self.consensus.node().name.clone(),
            leads: raft.serving,
            leader: self.consensus.leader().map(|leader| leader.name),
            term: raft.term.0,
            log: (raft.first.0, raft.last.0),
            synced: raft.synced.0,
            committed: raft.committed.0,
            applied: raft.applied.0,
            checkpoint: self.store.statistics().checkpoint.0,
            log_bytes: raft.disk_bytes,
            members: members.collect(),
        }
    }

    /// Reads everything and compares. Runs where it may block, beside the node's other work.
    ///
    /// # Errors
    /// `42P01` for a table that is not there. What cannot be read is a fault.
    pub async fn verify(self: &Arc<Self>, options: VerifyOptions) -> SqlResult<Verified> {
        let engine = Arc::clone(self);
        tokio::task::spawn_blocking(move || engine.verify_here(&options)).await.map_err(SqlError::internal)?
    }

    fn verify_here(&self, options: &VerifyOptions) -> SqlResult<Verified> {
        let snapshot = self.store.snapshot();
        let catalog = &snapshot.catalog;
        let mut verified = Verified { index: snapshot.index, ..Verified::default() };
        verified.faults = catalog_faults(catalog);
        for table in self.tables_to_verify(catalog, options)? {
            let schema = catalog.object(table.schema).map(Object::name).unwrap_or_default().to_owned();
            let at = |fault: String| format!("{schema}.{}: {fault}", table.name);
            let check = match self.store.verify_table(&table, &snapshot) {
                Ok(check) => check,
                // The other tables may be whole.
                Err(error) => {
                    verified.faults.push(at(error.to_string()));
                    continue;
                }
            };
            verified.faults.extend(check.faults.into_iter().map(at));
            let name_of = |oid: Oid| catalog.object(oid).map(Object::name).unwrap_or_default().to_owned();
            let indexes = check.indexes.into_iter().map(|(oid, entries)| (name_of(oid), entries)).collect();
            verified.tables.push(VerifiedTable { schema, name: table.name.clone(), rows: check.rows, indexes });
        }
        if options.tables.is_empty() {
            verified.faults.extend(self.key_faults());
            verified.faults.extend(self.store.verify_lsm().err().map(|error| format!("LSM: {error}")));
        }
        if !options.skip_log {
            match self.verify_log() {
                Ok(log) => verified.log = Some(log),
                Err(error) => verified.faults.push(format!("log: {error}")),
            }
        }
        Ok(verified)
    }

    /// Databases with keys that cannot be read.
    fn key_faults(&self) -> Vec<String> {
        let scans = self.keyspace.iter().flat_map(|keyspace| keyspace.hold());
        let read = |scan: Scan| {
            let name = crate::compare::name_of(&scan);
            match scan.read() {
                // The rest is read with the LSM, if not as keys.
                Ok(()) | Err(ScanError::Overflow) => None,
                Err(error) => Some(format!("{name}: {error}")),
            }
        };
        scans.filter_map(read).collect()
    }

    fn tables_to_verify(&self, catalog: &Catalog, options: &VerifyOptions) -> SqlResult<Vec<Arc<Table>>> {
        let tables = catalog.objects().filter_map(|object| match object {
            Object::Table(table) => Some(Arc::clone(table)),
            _ => None,
        });
        if options.tables.is_empty() {
            return Ok(tables.collect());
        }
        let all: Vec<Arc<Table>> = tables.collect();
        let find = |(schema, name): &(String, String)| {
            let found = all.iter().find(|table| {
                table.name == *name && catalog.object(table.schema).is_some_and(|object| object.name() == schema)
            });
            found.cloned().ok_or_else(|| {
                SqlError::new(SqlState::UndefinedTable, format!("relation \"{schema}.{name}\" does not exist"))
            })
        };
        options.tables.iter().map(find).collect()
    }

    fn verify_log(&self) -> Result<VerifiedLog, LogError> {
        let mut reads = 0;
        loop {
            reads += 1;
            match self.consensus.verify_log() {
                Ok((report, anchor)) => {
                    return Ok(VerifiedLog {
                        first: report.first,
                        last: report.last,
                        records: report.records,
                        bytes: report.bytes,
                        head: report.head,
                        attested: anchor.filter(|_| report.anchored).map_or(0, |anchor| anchor.index),
                    });
                }
                // Its end may be half written just now, and its beginning may be cut just now.
                Err(LogError::Damaged { .. } | LogError::Io { .. } | LogError::Purged { .. }) if reads < LOG_READS => {
                    std::thread::sleep(std::time::Duration::from_millis(50));
                }
                Err(error) => return Err(error),
            }
        }
    }
}

/// What objects of the catalog name and is not there.
fn catalog_faults(catalog: &Catalog) -> Vec<String> {
    let mut faults = Vec::new();
    let mut needs = |of: &Object, what: &str, oid: Oid| {
        if catalog.object(oid).is_none() {
            faults.push(format!("catalog: {} {} names {what} {oid}, which is not there", of.oid(), of.name()));
        }
    };
    for object in catalog.objects() {
        match object {
            Object::Table(table) => {
                needs(object, "schema", table.schema);
                table.indexes.iter().chain(&table.primary_key).for_each(|index| needs(object, "index", *index));
                table.foreign_keys.iter().for_each(|key| {
                    needs(object, "table", key.references);
                    needs(object, "index", key.index);
                });
                let types = table.columns.iter().filter_map(|column| column.domain.or(column.ty.user_type()));
                types.for_each(|ty| needs(object, "type", ty));
                table.aggregates.iter().for_each(|view| needs(object, "materialized view", *view));
                if let Some(materialized) = &table.materialized {
                    materialized.depends_on.iter().for_each(|oid| needs(object, "relation", *oid));
                }
            }
            Object::Index(index) => {
                needs(object, "schema", index.schema);
                needs(object, "table", index.table);
            }
            Object::Sequence(sequence) => {
                needs(object, "schema", sequence.schema);
                sequence.owned_by.iter().for_each(|(table, _)| needs(object, "table", *table));
            }
            Object::Type(ty) => needs(object, "schema", ty.schema),
            Object::Function(function) => {
                needs(object, "schema", function.schema);
                function.user_types().for_each(|ty| needs(object, "type", ty));
            }
            Object::View(view) => {
                needs(object, "schema", view.schema);
                view.depends_on.iter().for_each(|oid| needs(object, "relation", *oid));
            }
            _ => {}
        }
    }
    for object in catalog.objects() {
        if let Object::Index(index) = object
            && let Some(table) = catalog.table(index.table)
        {
            if !table.indexes.contains(&index.oid) {
                faults.push(format!("catalog: table {} does not know its index {}", table.name, index.name));
            }
            if index.columns.iter().any(|number| table.number_position(*number).is_none()) {
                faults.push(format!("catalog: index {} names a column that {} does not have", index.name, table.name));
            }
        }
    }
    faults
}
