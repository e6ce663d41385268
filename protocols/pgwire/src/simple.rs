//! Query: a string of statements, run one after the other, answered with ReadyForQuery.
//!
//! Several statements share one implicit transaction; an error stops the rest. The transaction is committed before
//! the last statement's CommandComplete, so that a client that has seen it may rely on it.

use perigee_engine::{Outcome, RowSource, Statement};
use perigee_types::SqlError;

use crate::backend;
use crate::client::{Client, rows_tag};
use crate::copy;
use crate::error::{Failure, Handled};
use crate::extended::State;
use crate::portal::{Sent, send_rows};
use crate::rows::RowEncoder;

impl Client {
    pub(crate) async fn simple_query(&mut self, sql: &str) -> Handled<()> {
        if self.state == State::SkipUntilSync {
            return Ok(());
        }
        // A simple query replaces the unnamed statement and portal.
        self.session.close_portal("");
        self.session.close_statement("");
        self.empty_statements.remove("");
        match Box::pin(self.run_string(sql)).await {
            Ok(()) => self.ready().await,
            Err(Failure::Sql(error)) => self.refuse_query(error).await,
            Err(failure) => Err(failure),
        }
    }

    /// A simple query that failed.
    pub(crate) async fn refuse_query(&mut self, error: SqlError) -> Handled<()> {
        if self.state == State::SkipUntilSync {
            return Ok(());
        }
        self.session.fail();
        self.error(error)?;
        if let Err(error) = self.session.finish().await {
            tracing::debug!(%error, "rolling back a failed statement");
        }
        self.ready().await
    }

    async fn run_string(&mut self, sql: &str) -> Handled<()> {
        if let Some(statement) = self.session.cached(sql, &[]) {
            return self.run_statement(&statement, true).await;
        }
        let statements = self.session.split(sql)?;
        if statements.is_empty() {
            self.session.finish().await?;
            backend::bare(&mut self.connection.output, b'I');
            return Ok(());
        }
        if statements.len() > 1 {
            self.session.begin_implicit_block();
        }
        let last = statements.len() - 1;
        for (i, statement) in statements.iter().enumerate() {
            // Each is planned just before it runs: it may need what the one before has made.
            let planned = self.session.plan(statement, &[]).await?;
            self.run_statement(&planned, i == last).await?;
        }
        Ok(())
    }

    async fn run_statement(&mut self, statement: &Statement, last: bool) -> Handled<()> {
        let tag = match self.session.execute(statement, &[]).await? {
            Outcome::Rows(columns, stream) => {
                backend::row_description(&mut self.connection.output, &columns, &[]);
                let mut encoder = RowEncoder::new(&columns, &[], self.session.output_settings())
                    .with_names(|| self.session.object_names());
                let mut rows = RowSource::new(stream, &statement.prepared.text);
                let sent = send_rows(&mut self.connection, &mut rows, &mut encoder, None).await?;
                rows_tag(rows.tag(), if let Sent::All(rows) = sent { rows } else { 0 })
            }
            Outcome::Command(tag) => tag,
            Outcome::CopyIn(copy) => copy::copy_in(&mut self.connection, &mut self.session, copy).await?,
            Outcome::CopyOut(copy) => copy::copy_out(&mut self.connection, &self.session, copy).await?,
        };
        if last {
            if self.connection.foreign && self.session.has_written() {
                let mut told = Vec::new();
                backend::command_complete(&mut told, &tag.text());
                self.tell_before_commit(&told).await?;
            }
            self.session.finish().await?;
        }
        self.complete(&tag);
        Ok(())
    }
}
