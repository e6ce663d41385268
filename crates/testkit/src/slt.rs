//! sqllogictest files against a server, over its PostgreSQL door.
//!
//! Values are compared as PostgreSQL's text; NULL is written `NULL`, an empty string `(empty)`. A statement runs in the
//! simple protocol, so a file may use whatever psql may. Column types are not compared.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use sqllogictest::{AsyncDB, DBOutput, DefaultColumnType, Runner};
use tokio_postgres::SimpleQueryMessage;

use crate::{Client, TestkitError};

/// One connection of a file; `connection NAME` in a file opens another.
struct Connection {
    client: Client,
    engine: &'static str,
}

#[async_trait]
impl AsyncDB for Connection {
    type Error = SltError;
    type ColumnType = DefaultColumnType;

    async fn run(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, SltError> {
        let messages = self.client.simple_query(sql).await.map_err(SltError)?;
        let mut columns = None;
        let mut rows = Vec::new();
        let mut count = 0;
        for message in messages {
            match message {
                SimpleQueryMessage::RowDescription(description) => columns = Some(description.len()),
                SimpleQueryMessage::Row(row) => rows.push((0..row.len()).map(|at| text(row.get(at))).collect()),
                SimpleQueryMessage::CommandComplete(rows) => count = rows,
                _ => {}
            }
        }
        Ok(match columns {
            Some(columns) => DBOutput::Rows { types: vec![DefaultColumnType::Any; columns], rows },
            None => DBOutput::StatementComplete(count),
        })
    }

    async fn shutdown(&mut self) {}

    fn engine_name(&self) -> &str {
        self.engine
    }

    async fn sleep(time: Duration) {
        tokio::time::sleep(time).await;
    }

    fn error_sql_state(error: &SltError) -> Option<String> {
        error.0.code().map(|state| state.code().to_owned())
    }
}

fn text(value: Option<&str>) -> String {
    match value {
        None => "NULL".to_owned(),
        Some("") => "(empty)".to_owned(),
        Some(value) => value.to_owned(),
    }
}

/// An error with its SQLSTATE and message in one line, for `statement error <pattern>`.
#[derive(Debug)]
struct SltError(tokio_postgres::Error);

impl std::fmt::Display for SltError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0.as_db_error() {
            Some(error) => write!(f, "{}: {}", error.code().code(), error.message()),
            None => write!(f, "{}", self.0),
        }
    }
}

impl std::error::Error for SltError {}

/// Runs one file. `engine` is what `onlyif` and `skipif` in the file compare with.
///
/// # Errors
/// The first record that fails, with file and line.
pub async fn run_file(server: SocketAddr, engine: &'static str, file: &Path) -> Result<(), String> {
    let mut runner = Runner::new(|| async move {
        let connected = Client::connect(server).await.map(|client| Connection { client, engine });
        connected.map_err(|error| match error {
            TestkitError::Postgres(error) => SltError(error),
            other => panic!("{other}"),
        })
    });
    runner.run_file_async(file).await.map_err(|error| error.to_string())
}
