//! DO: the steps of a block, one statement after the other in the transaction that is open. A block that catches errors
//! begins with a savepoint, which its errors go back to.

use futures::FutureExt;
use futures::future::BoxFuture;
use perigee_plan::block::{Block, Handler, Raise, Step};
use perigee_plan::{Admin, Plan, SessionCommand};
use perigee_query::sql;
use perigee_types::{SqlError, SqlResult, SqlState};

use crate::api::{Outcome, Severity};
use crate::session::Session;

impl Session {
    /// Runs a block.
    ///
    /// # Errors
    /// What its steps give and its handlers do not catch; `0A000` for statements that no block may have.
    pub(crate) async fn run_block(&mut self, block: &Block) -> SqlResult<()> {
        // Statements that would commit by themselves are refused, as in a simple query of several statements.
        let shared = std::mem::replace(&mut self.shared_implicit, true);
        let result = self.block_steps(block).await;
        self.shared_implicit = shared;
        result.map_err(SqlError::without_position)
    }

    fn block_steps<'a>(&'a mut self, block: &'a Block) -> BoxFuture<'a, SqlResult<()>> {
        async move {
            if block.handlers.is_empty() {
                return self.steps(&block.steps).await;
            }
            let sequences = self.services.own_sequences();
            let transaction = self.transaction()?;
            let place = transaction.savepoints.len();
            transaction.savepoint("", sequences);
            let mut result = self.steps(&block.steps).await;
            if let Err(error) = &result
                && let Some(handler) = block.handlers.iter().find(|handler| catches(handler, error))
            {
                self.roll_back_to(place).await?;
                result = self.steps(&handler.steps).await;
            }
            if let Some(transaction) = &mut self.transaction {
                transaction.savepoints.truncate(place);
            }
            self.portals.release(place);
            result
        }
        .boxed()
    }

    fn steps<'a>(&'a mut self, steps: &'a [Step]) -> BoxFuture<'a, SqlResult<()>> {
        async move {
            for step in steps {
                match step {
                    Step::Run(text) => drop(self.rows_of(text).await?),
                    Step::Block(block) => self.block_steps(block).await?,
                    Step::Raise(level, message) => self.raise(*level, message)?,
                    Step::If(branches, otherwise) => {
                        let mut chosen = otherwise;
                        for (condition, steps) in branches {
                            if self.rows_of(condition).await? > 0 {
                                chosen = steps;
                                break;
                            }
                        }
                        self.steps(chosen).await?;
                    }
                }
            }
            Ok(())
        }
        .boxed()
    }

    fn raise(&mut self, level: Raise, message: &str) -> SqlResult<()> {
        let severity = match level {
            Raise::Exception => return Err(SqlError::new(SqlState::RaiseException, message)),
            Raise::Info => Severity::Info,
            Raise::Notice => Severity::Notice,
            Raise::Warning => Severity::Warning,
        };
        let state = if level == Raise::Warning { SqlState::Warning } else { SqlState::SuccessfulCompletion };
        self.notice(severity, SqlError::new(state, message));
        Ok(())
    }

    /// Runs a text of statements; gives how many rows they had.
    async fn rows_of(&mut self, text: &str) -> SqlResult<u64> {
        let mut count = 0;
        for statement in sql::parse(text)? {
            let planned = self.plan_unlifted(&statement, &[])?;
            let allowed = match &planned.prepared.plan {
                Plan::Point(_) | Plan::Query(_) | Plan::Write(_) | Plan::With(_) | Plan::Ddl(_) => true,
                Plan::Admin(admin) => matches!(admin, Admin::Analyze(_) | Admin::Reindex(_) | Admin::Lock { .. }),
                Plan::Session(command) => matches!(
                    command,
                    SessionCommand::Set { .. } | SessionCommand::Reset(_) | SessionCommand::Notify { .. }
                ),
                Plan::Transaction(_) | Plan::Copy(_) | Plan::Explain(_) => false,
            };
            if !allowed {
                return Err(SqlError::unsupported(format_args!("{} in DO", planned.prepared.tag)));
            }
            if let Outcome::Rows(_, mut rows) = Box::pin(self.run(&planned.prepared, &[])).await? {
                while let Some(block) = rows.next().await? {
                    count += block.row_count() as u64;
                }
            }
            self.adopt_settings()?;
        }
        Ok(count)
    }
}

/// A cancel is nobody's to catch.
fn catches(handler: &Handler, error: &SqlError) -> bool {
    handler.states.iter().any(|state| match state {
        Some(state) => **state == *error.state().code(),
        None => !matches!(error.state(), SqlState::QueryCanceled | SqlState::AdminShutdown),
    })
}
