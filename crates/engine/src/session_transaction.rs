//! BEGIN, COMMIT, ROLLBACK and savepoints of a session.

use perigee_plan::TransactionCommand;
use perigee_plan::command::{Isolation, TransactionModes};
use perigee_telemetry::measured;
use perigee_types::{LogIndex, SqlError, SqlResult, SqlState};

use crate::api::{CommandTag, Outcome, Severity};
use crate::session::Session;
use crate::transaction::Transaction;

impl Session {
    /// Runs a command; `begun` is what BEGIN is called.
    ///
    /// # Errors
    /// What COMMIT gives; for savepoints and SET TRANSACTION where they may not be.
    pub(crate) async fn transaction_command(
        &mut self,
        command: &TransactionCommand,
        begun: &'static str,
    ) -> SqlResult<Outcome> {
        let tag = |name| Ok(Outcome::Command(CommandTag { name, rows: None }));
        match command {
            TransactionCommand::Begin(modes) => {
                match &mut self.transaction {
                    Some(t) if t.explicit => {
                        self.warn(SqlState::ActiveSqlTransaction, "there is already a transaction in progress")
                    }
                    // The statements before it in the same implicit transaction become part of the block.
                    Some(t) => t.explicit = true,
                    None => self.begin(true, *modes)?,
                }
                tag(begun)
            }
            TransactionCommand::Commit { chain } => {
                let modes = self.modes_to_chain(*chain)?;
                let outcome = match &self.transaction {
                    Some(t) if t.failed => {
                        self.rollback_transaction();
                        "ROLLBACK"
                    }
                    Some(t) => {
                        if !t.explicit {
                            self.warn(SqlState::NoActiveSqlTransaction, "there is no transaction in progress");
                        }
                        self.commit_transaction().await?;
                        "COMMIT"
                    }
                    None => {
                        self.warn(SqlState::NoActiveSqlTransaction, "there is no transaction in progress");
                        "COMMIT"
                    }
                };
                if let Some(modes) = modes {
                    self.begin(true, modes)?;
                }
                tag(outcome)
            }
            TransactionCommand::Rollback { chain } => {
                let modes = self.modes_to_chain(*chain)?;
                if !self.transaction.as_ref().is_some_and(|t| t.explicit) {
                    self.warn(SqlState::NoActiveSqlTransaction, "there is no transaction in progress");
                }
                self.rollback_transaction();
                if let Some(modes) = modes {
                    self.begin(true, modes)?;
                }
                tag("ROLLBACK")
            }
            TransactionCommand::Savepoint(name) => {
                let sequences = self.services.own_sequences();
                let transaction = self.block("SAVEPOINT")?;
                transaction.savepoint(name, sequences);
                tag("SAVEPOINT")
            }
            TransactionCommand::Release(name) => {
                let transaction = self.block("RELEASE SAVEPOINT")?;
                let place = savepoint(transaction, name)?;
                transaction.savepoints.truncate(place);
                self.portals.release(place);
                tag("RELEASE")
            }
            TransactionCommand::RollbackTo(name) => {
                let place = savepoint(self.block("ROLLBACK TO SAVEPOINT")?, name)?;
                self.roll_back_to(place).await?;
                tag("ROLLBACK")
            }
            TransactionCommand::SetConstraints { constraints, deferred } => {
                if !self.transaction.as_ref().is_some_and(|t| t.explicit) {
                    let text = "SET CONSTRAINTS can only be used in transaction blocks";
                    self.warn(SqlState::NoActiveSqlTransaction, text);
                    return tag("SET CONSTRAINTS");
                }
                Box::pin(self.set_constraints(constraints.as_deref(), *deferred)).await?;
                tag("SET CONSTRAINTS")
            }
            TransactionCommand::Set(modes) => {
                self.check_mode(modes.read_only.unwrap_or(true))?;
                let Some(transaction) = self.transaction.as_mut().filter(|t| t.explicit) else {
                    self.warn(
                        SqlState::NoActiveSqlTransaction,
                        "SET TRANSACTION can only be used in transaction blocks",
                    );
                    return tag("SET");
                };
                if let Some(isolation) = modes.isolation {
                    if transaction.has_run && isolation != transaction.isolation {
                        return Err(SqlError::new(
                            SqlState::ActiveSqlTransaction,
                            "SET TRANSACTION ISOLATION LEVEL must be called before any query",
                        ));
                    }
                    (transaction.isolation, transaction.uncommitted) = (isolation, modes.uncommitted);
                }
                if let Some(read_only) = modes.read_only {
                    if transaction.has_run && transaction.read_only && !read_only {
                        return Err(SqlError::new(
                            SqlState::ActiveSqlTransaction,
                            "transaction read-write mode must be set before any query",
                        ));
                    }
                    transaction.read_only = read_only;
                }
                transaction.deferrable = modes.deferrable.unwrap_or(transaction.deferrable);
                tag("SET")
            }
            TransactionCommand::SetSnapshot(name) => {
                self.set_snapshot(name)?;
                tag("SET")
            }
            TransactionCommand::SetDefault(modes) => {
                if let Some(isolation) = modes.isolation {
                    let name = isolation_name(isolation, modes.uncommitted);
                    self.set("default_transaction_isolation", Some(name), false)?;
                }
                if let Some(read_only) = modes.read_only {
                    self.set("default_transaction_read_only", Some(if read_only { "on" } else { "off" }), false)?;
                }
                tag("SET")
            }
        }
    }

    /// SET TRANSACTION SNAPSHOT
    fn set_snapshot(&mut self, name: &str) -> SqlResult<()> {
        let is_block = self.transaction.as_ref().is_some_and(|t| t.explicit);
        if !is_block {
            let text = "SET TRANSACTION can only be used in transaction blocks";
            self.warn(SqlState::NoActiveSqlTransaction, text);
        }
        let tenant = self.tenant;
        let engine = self.engine.clone();
        let transaction = self.transaction()?;
        if is_block && transaction.has_run {
            let text = "SET TRANSACTION SNAPSHOT must be called before any query";
            return Err(SqlError::new(SqlState::ActiveSqlTransaction, text));
        }
        match transaction.isolation {
            Isolation::ReadCommitted => {
                let text = "a snapshot-importing transaction must have isolation level SERIALIZABLE or REPEATABLE READ";
                return Err(SqlError::new(SqlState::FeatureNotSupported, text));
            }
            // What was written since the snapshot would have to be kept for it.
            Isolation::Serializable => {
                return Err(SqlError::unsupported("SET TRANSACTION SNAPSHOT in a serializable transaction"));
            }
            Isolation::RepeatableRead => {}
        }
        transaction.snapshot = Some(engine.shared_snapshots.get(name, tenant)?);
        transaction.has_run = true;
        Ok(())
    }

    /// Takes back what the open transaction has done behind its savepoint at `place`, which stays.
    ///
    /// # Errors
    /// `0A000` where too much was loaded since.
    pub(crate) async fn roll_back_to(&mut self, place: usize) -> SqlResult<()> {
        let engine = self.engine.clone();
        let Some(transaction) = self.transaction.as_mut() else { return Ok(()) };
        if let Some(staging) = &mut transaction.staging {
            staging.settle().await?;
        }
        transaction.rollback_to(place, &engine)?;
        transaction.failed = false;
        let sequences = transaction.savepoints.get(place).map(|savepoint| savepoint.sequences.clone());
        self.services.restore_own_sequences(sequences.unwrap_or_default());
        self.portals.rollback_to(place);
        Ok(())
    }

    fn modes_to_chain(&self, chain: bool) -> SqlResult<Option<TransactionModes>> {
        if !chain {
            return Ok(None);
        }
        match self.transaction.as_ref().filter(|t| t.explicit) {
            Some(t) => Ok(Some(TransactionModes {
                isolation: Some(t.isolation),
                uncommitted: t.uncommitted,
                read_only: Some(t.read_only),
                deferrable: Some(t.deferrable),
            })),
            None => {
                Err(SqlError::new(SqlState::NoActiveSqlTransaction, "AND CHAIN can only be used in transaction blocks"))
            }
        }
    }

    fn block(&mut self, command: &str) -> SqlResult<&mut Transaction> {
        self.transaction.as_mut().filter(|t| t.explicit).ok_or_else(|| {
            SqlError::new(SqlState::NoActiveSqlTransaction, format!("{command} can only be used in transaction blocks"))
        })
    }

    pub(crate) fn warn(&mut self, state: SqlState, text: &str) {
        self.notice(Severity::Warning, SqlError::new(state, text));
    }

    /// Commits the open transaction. It is over afterwards, whatever comes.
    pub(crate) async fn commit_transaction(&mut self) -> SqlResult<()> {
        self.commit_transaction_at().await.map(|_| ())
    }

    /// As [`Session::commit_transaction`]; gives the entry that it became, if it had to become one.
    pub(crate) async fn commit_transaction_at(&mut self) -> SqlResult<Option<LogIndex>> {
        let mut ready = Box::pin(self.uphold_left()).await;
        if ready.is_ok() {
            ready = Box::pin(self.uphold_postponed(true)).await;
        }
        if ready.is_ok() {
            ready = Box::pin(self.end_temporary()).await;
        }
        if let Err(error) = ready {
            self.rollback_transaction();
            return Err(error);
        }
        let Some(mut transaction) = self.transaction.take() else { return Ok(None) };
        transaction.sequences.extend(self.services.take_own_sequences());
        transaction.traced = self.traced.parent();
        let writes = !transaction.writes.is_empty() || transaction.staging.is_some() || transaction.changes_keys();
        let started = std::time::Instant::now();
        let listening = std::mem::take(&mut transaction.listening);
        let process_id = self.entry.process_id;
        let begun = match listening.as_slice() {
            [] => Vec::new(),
            changes => {
                self.changes.channels = true;
                let (listeners, terminated) = (&self.engine.listeners, &self.entry.terminated);
                listeners.change(&self.engine, process_id, &self.inbox, terminated, changes)
            }
        };
        let result = crate::commit::commit(&self.engine, &mut transaction, &self.cancel, self.commit_name).await;
        if result.is_err() && !begun.is_empty() {
            self.engine.listeners.take_back(process_id, &begun);
        }
        // So that a client that has told itself something gets it with the answer.
        if let Some(index) = transaction.committed_at {
            self.engine.listeners.delivered(process_id, index).await;
        }
        match &result {
            Ok(()) if writes => measured::COMMITS.record(started.elapsed()),
            Ok(()) => {}
            Err(_) => measured::ROLLBACKS.increment(),
        }
        if result.is_err() {
            let staging = transaction.staging.take();
            self.drop_staged(staging);
        }
        let committed = transaction.committed_at;
        self.engine.locks.unlink(transaction.holder);
        drop(transaction);
        self.services.advisory.end_transaction();
        self.services.end_exports();
        self.portals.end_transaction(result.is_ok());
        self.end_settings(result.is_ok());
        result.map(|()| committed)
    }

    pub(crate) fn rollback_transaction(&mut self) {
        if let Some(mut transaction) = self.transaction.take() {
            measured::ROLLBACKS.increment();
            let staging = transaction.staging.take();
            self.engine.locks.unlink(transaction.holder);
            self.drop_staged(staging);
        }
        self.services.advisory.end_transaction();
        self.services.end_exports();
        self.services.take_own_sequences();
        self.portals.end_transaction(false);
        self.end_settings(false);
    }

    /// Rows that were staged in vain are dropped by an entry, in the background: nobody waits for it.
    pub(crate) fn drop_staged(&self, staging: Option<crate::stage::Staging>) {
        if let Some(staging) = staging {
            let engine = self.engine.clone();
            tokio::spawn(async move {
                if let Err(error) = staging.abort(&engine).await {
                    tracing::warn!(%error, "staged rows are dropped with the term");
                }
            });
        }
    }
}

fn savepoint(transaction: &Transaction, name: &str) -> SqlResult<usize> {
    transaction.savepoints.iter().rposition(|savepoint| savepoint.name == name).ok_or_else(|| {
        SqlError::new(SqlState::InvalidSavepointSpecification, format!("savepoint \"{name}\" does not exist"))
    })
}

pub(crate) fn isolation_of(name: &str) -> Isolation {
    match name {
        "serializable" => Isolation::Serializable,
        "repeatable read" => Isolation::RepeatableRead,
        _ => Isolation::ReadCommitted,
    }
}

/// What READ COMMITTED is called where it was asked for by its other name.
pub(crate) const UNCOMMITTED: &str = "read uncommitted";

pub(crate) fn isolation_name(isolation: Isolation, uncommitted: bool) -> &'static str {
    match isolation {
        Isolation::ReadCommitted if uncommitted => UNCOMMITTED,
        Isolation::ReadCommitted => "read committed",
        Isolation::RepeatableRead => "repeatable read",
        Isolation::Serializable => "serializable",
    }
}
