//! One statement in a session of its own, its whole result at once: for doors that keep no session.

use std::sync::Arc;

use perigee_storage::arrow_value::batch_to_rows;
use perigee_types::{Oid, Row, SqlError, SqlResult, SqlState, SqlType, Value, text};

use crate::api::{Outcome, RowBlock};
use crate::engine::Engine;
use crate::session::Session;

/// Rows of a result, and values, beyond which it is refused: it stands in memory as a whole.
const VALUES_MAX: usize = 4_000_000;

/// The result of a statement.
#[derive(Clone, Debug, Default)]
pub struct WholeResult {
    /// Names and types of the columns; none for a command.
    pub columns: Vec<(String, SqlType)>,
    /// The rows.
    pub rows: Vec<Row>,
    /// The tag of its completion, as PostgreSQL writes it.
    pub tag: String,
}

impl Engine {
    /// Runs one statement as a role that has proved itself, and commits it. `parameters` are `$1`, `$2`, … as text.
    ///
    /// # Errors
    /// The statement's; `42601` for more than one, `0A000` for COPY with the client, `54000` for too large a result. Those
    /// of [`Engine::connect_as`].
    pub async fn run_once(
        self: &Arc<Self>,
        role: Oid,
        settings: Vec<(String, String)>,
        statement: &str,
        parameters: &[&str],
    ) -> SqlResult<WholeResult> {
        let mut session = self.connect_as(role, settings).await?;
        let result = run(&mut session, statement, parameters).await;
        let result = match result {
            Ok(result) => session.finish().await.map(|()| result),
            Err(error) => {
                session.fail();
                // The error that the client is told is the first one.
                let _ = session.finish().await;
                Err(error)
            }
        };
        if let Err(error) = &result {
            session.note_error(error);
        }
        result
    }
}

impl Session {
    /// Runs statements whose plans are nobody else's, in the transaction that is open. Gives how many rows they have changed.
    ///
    /// # Errors
    /// Theirs.
    pub(crate) async fn run_alone(&mut self, text: &str) -> SqlResult<u64> {
        let mut changed = 0;
        for statement in self.split(text)? {
            let statement = self.plan_unlifted(&statement, &[])?;
            if let Outcome::Command(tag) = Box::pin(self.execute(&statement, &[])).await? {
                changed += tag.rows.unwrap_or_default();
            }
        }
        Ok(changed)
    }
}

async fn run(session: &mut Session, statement: &str, parameters: &[&str]) -> SqlResult<WholeResult> {
    let mut statements = session.split(statement)?;
    let statement = match (statements.pop(), statements.len()) {
        (Some(statement), 0) => statement,
        (None, _) => return Ok(WholeResult::default()),
        _ => return Err(SqlError::new(SqlState::SyntaxError, "cannot run several statements in one command")),
    };
    let planned = session.plan(&statement, &[]).await?;
    let types = &planned.prepared.parameters[planned.literals.len().min(planned.prepared.parameters.len())..];
    if types.len() != parameters.len() {
        let message = format!("the statement has {} parameters, and {} were given", types.len(), parameters.len());
        return Err(SqlError::new(SqlState::UndefinedParameter, message));
    }
    let values = parameters.iter().zip(types).map(|(value, ty)| text::parse(value, ty));
    let values = values.collect::<SqlResult<Vec<Value>>>()?;
    match session.execute(&planned, &values).await? {
        Outcome::Rows(columns, mut stream) => {
            let mut rows = Vec::new();
            while let Some(block) = stream.next().await? {
                match block {
                    RowBlock::Values(some) => rows.extend(some),
                    RowBlock::Batch(batch) => rows.extend(batch_to_rows(&batch)),
                }
                if rows.len().saturating_mul(columns.len().max(1)) > VALUES_MAX {
                    return Err(SqlError::new(SqlState::ProgramLimitExceeded, "the result is too large for one reply"));
                }
            }
            let columns = columns.iter().map(|column| (column.name.to_string(), column.ty.clone())).collect();
            let tag = format!("{} {}", stream.tag, rows.len());
            Ok(WholeResult { columns, rows, tag })
        }
        Outcome::Command(tag) => Ok(WholeResult { tag: tag.text(), ..WholeResult::default() }),
        Outcome::CopyIn(_) | Outcome::CopyOut(_) => {
            Err(SqlError::new(SqlState::FeatureNotSupported, "COPY with the client is not possible here"))
        }
    }
}
