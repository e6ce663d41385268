//! Migrations: files of statements, each in one transaction and once.
//!
//! Which ones were applied is told by a table in the database itself, written in the transaction of the statements: no crash leaves one
//! without the other. Its lock is held from the look at it until the end, so of two that apply the same one waits and finds it done.

use std::fmt::Write as _;

use perigee_door::Given;
use perigee_door::script::fetch;
use perigee_engine::{Outcome, Session};
use perigee_plan::{Plan, TransactionCommand};
use perigee_types::{SqlError, SqlResult, SqlState, Value};
use sha2::{Digest as _, Sha256};

use crate::v1::ApplyMigrationResponse;

/// Which migrations were applied.
const TABLE: &str = "public.perigee_migrations";
/// Characters of a name.
const NAME_MAX: usize = 500;

/// Runs the statements of `sql` unless the migration was applied before.
///
/// # Errors
/// The statements'; `55000` where it was applied with other statements, `25001` for statements that begin or end transactions. Then nothing of it
/// is left once the session is dropped.
pub(crate) async fn apply(session: &mut Session, name: &str, sql: &str) -> SqlResult<ApplyMigrationResponse> {
    if name.is_empty() || name.chars().count() > NAME_MAX {
        let message = format!("a migration has a name of 1 to {NAME_MAX} characters");
        return Err(SqlError::new(SqlState::InvalidParameterValue, message));
    }
    let mut sha256 = String::with_capacity(64);
    for byte in Sha256::digest(sql) {
        // Writing into a String does not fail.
        let _ = write!(sha256, "{byte:02x}");
    }
    let statements = session.split(sql)?;
    let count = statements.len() as u64;
    run(session, "BEGIN ISOLATION LEVEL READ COMMITTED").await?;
    let make = format!(
        "CREATE TABLE IF NOT EXISTS {TABLE} (name text PRIMARY KEY, sha256 text NOT NULL, \
         applied_at timestamptz NOT NULL DEFAULT now(), applied_by text NOT NULL DEFAULT current_user)"
    );
    run(session, &make).await?;
    run(session, &format!("LOCK TABLE {TABLE} IN EXCLUSIVE MODE")).await?;
    let look = format!("SELECT sha256, applied_at FROM {TABLE} WHERE name = $1");
    let known = fetch(session, &look, &[Given::text(name)]).await?.rows.into_iter().next();
    if let Some([Value::Text(before), Value::Timestamptz(at)]) = known.as_deref() {
        if *before != sha256 {
            let message = format!("migration \"{name}\" was applied with other statements");
            return Err(SqlError::new(SqlState::ObjectNotInPrerequisiteState, message)
                .detail(format!("Their SHA-256 is {before}, and that of these is {sha256}."))
                .hint("Write what is to change into a migration of its own."));
        }
        let answer = ApplyMigrationResponse { applied: false, statements: count, sha256, applied_micros: *at };
        run(session, "COMMIT").await?;
        return Ok(answer);
    }
    // Before the statements: they may change who the session is, and what it may do.
    let note = format!("INSERT INTO {TABLE} (name, sha256) VALUES ($1, $2) RETURNING applied_at");
    let noted = fetch(session, &note, &[Given::text(name), Given::text(&sha256)]).await?.rows;
    let Some([Value::Timestamptz(applied_micros)]) = noted.first().map(Vec::as_slice) else {
        return Err(SqlError::internal("the migration was not noted"));
    };
    let applied_micros = *applied_micros;
    for statement in &statements {
        let planned = session.plan(statement, &[]).await?;
        check(&planned.prepared.plan)?;
        finish(session.execute(&planned, &[]).await?).await?;
    }
    run(session, "COMMIT").await?;
    Ok(ApplyMigrationResponse { applied: true, statements: count, sha256, applied_micros })
}

/// The transaction is the migration's.
fn check(plan: &Plan) -> SqlResult<()> {
    use TransactionCommand::{Begin, Commit, Rollback};
    match plan {
        Plan::Transaction(Begin(_) | Commit { .. } | Rollback { .. }) => {
            let message = "a migration runs in one transaction, which its statements neither begin nor end";
            Err(SqlError::new(SqlState::ActiveSqlTransaction, message).hint("Leave out BEGIN, COMMIT and ROLLBACK."))
        }
        _ => Ok(()),
    }
}

/// Runs what is written here.
async fn run(session: &mut Session, sql: &str) -> SqlResult<()> {
    for statement in &session.split(sql)? {
        let planned = session.plan(statement, &[]).await?;
        finish(session.execute(&planned, &[]).await?).await?;
    }
    Ok(())
}

/// Takes rows that nobody wants to see: a query has run when it has given them.
async fn finish(outcome: Outcome) -> SqlResult<()> {
    match outcome {
        Outcome::Command(_) => Ok(()),
        Outcome::Rows(_, mut rows) => {
            while rows.next().await?.is_some() {}
            Ok(())
        }
        Outcome::CopyIn(_) | Outcome::CopyOut(_) => Err(SqlError::unsupported("COPY with the client in a migration")),
    }
}
