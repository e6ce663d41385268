//! The node that is asked, and what of a session lives between two statements: the database and the transaction.

use std::fmt;

use perigee_api::client::Sql;
use perigee_api::v1;
use perigee_api::v1::query_response::Part;
use tonic::{Code, Status};

use crate::admin_command::{access, failure};
use crate::cli::NodePlace;
use crate::client::output::Output;
use crate::failure::Failure;

/// How long a transaction of a person or a script may take, milliseconds: as long as the node lets it.
const TRANSACTION_MS: u64 = 3_600_000;

/// Why a statement did not do what it should.
#[derive(Debug, Default)]
pub(super) struct SqlFailure {
    /// Empty where it is not of SQL.
    pub(super) sqlstate: String,
    message: String,
    notes: Vec<(&'static str, String)>,
    /// The node cannot be reached, or has not let the client in.
    pub(super) is_lost: bool,
}

impl SqlFailure {
    /// The person does not want to wait.
    pub(super) fn cancelled() -> Self {
        Self { sqlstate: "57014".to_owned(), message: "cancelled".to_owned(), ..Self::default() }
    }

    /// What is wrong with what was typed.
    pub(super) fn of(message: impl Into<String>) -> Self {
        Self { message: message.into(), ..Self::default() }
    }

    fn status(status: &Status, sql: &str) -> Self {
        let message = clean(status.message());
        let Some(detail) = perigee_grpc::detail(status) else {
            let is_lost = matches!(status.code(), Code::Unavailable | Code::Unknown | Code::Internal);
            return Self { message, is_lost, ..Self::default() };
        };
        let mut notes = Vec::new();
        if let Some((line, mark)) = marked(sql, detail.position) {
            notes.push(("", line));
            notes.push(("", mark));
        }
        for (name, text) in [("DETAIL: ", &detail.detail), ("HINT: ", &detail.hint), ("CONTEXT: ", &detail.context)] {
            if !text.is_empty() {
                notes.push((name, clean(text)));
            }
        }
        let is_lost = status.code() == Code::Unauthenticated;
        Self { sqlstate: detail.sqlstate, message, notes, is_lost }
    }
}

impl fmt::Display for SqlFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if !self.sqlstate.is_empty() {
            write!(f, " ({})", self.sqlstate)?;
        }
        for (name, text) in &self.notes {
            write!(f, "\n{name}{text}")?;
        }
        Ok(())
    }
}

/// A text without what would command a terminal.
pub(super) fn clean(text: &str) -> String {
    let visible = |c: char| if c.is_control() && c != '\n' && c != '\t' { '\u{fffd}' } else { c };
    text.chars().map(visible).collect()
}

/// The line that an error is in, and a mark below the place. `position` counts characters from 1.
fn marked(sql: &str, position: u32) -> Option<(String, String)> {
    let before: String = sql.chars().take(usize::try_from(position).ok()?.checked_sub(1)?).collect();
    let line = sql.lines().nth(before.matches('\n').count())?;
    let column = before.rsplit('\n').next().map_or(0, unicode_width::UnicodeWidthStr::width);
    Some((clean(line).replace('\t', " "), format!("{}^", " ".repeat(column))))
}

/// A node, and what is open there.
pub(super) struct Connection {
    sql: Sql,
    pub(super) address: String,
    pub(super) user: Option<String>,
    /// Empty for the node's own.
    pub(super) database: String,
    /// The transaction that statements belong to.
    transaction: Option<String>,
    /// A statement of it has failed: only its end is taken.
    pub(super) has_failed: bool,
}

impl Connection {
    /// Connects, and looks that somebody is let in.
    pub(super) async fn open(node: &NodePlace, database: Option<String>) -> Result<Self, Failure> {
        let sql = Sql::connect(&node.address, &access(node)).await.map_err(failure)?;
        Self::over(sql, node.address.clone(), node.user.clone(), database).await
    }

    /// Over what is connected to the node at `address`.
    pub(super) async fn over(
        sql: Sql,
        address: String,
        user: Option<String>,
        database: Option<String>,
    ) -> Result<Self, Failure> {
        let database = database.unwrap_or_default();
        let mut connection = Self { sql, address, user, database, transaction: None, has_failed: false };
        let asked = connection.rows("SELECT 1").await;
        asked.map_err(|failure| Failure::Refused(format!("{}: {failure}", connection.address)))?;
        Ok(connection)
    }

    /// Whether a transaction is open.
    pub(super) fn in_transaction(&self) -> bool {
        self.transaction.is_some()
    }

    /// Runs a statement; its result goes out as it comes.
    pub(super) async fn run(&mut self, sql: &str, output: &mut Output) -> Result<(), SqlFailure> {
        if self.transaction.is_none() && begins_transaction(sql) {
            return self.begin(sql, output).await;
        }
        let result = self.ask(sql, output).await;
        match &result {
            Ok(Some(command)) if ends_transaction(sql, command) => {
                self.transaction = None;
                self.has_failed = false;
            }
            Ok(_) if self.in_transaction() && is_word(sql, "rollback") => self.has_failed = false,
            Ok(_) => {}
            Err(_) => self.has_failed = self.in_transaction(),
        }
        // The time of a transaction is limited at the node.
        if result.as_ref().is_err_and(|failure| failure.message.starts_with("there is no such transaction")) {
            self.transaction = None;
            self.has_failed = false;
        }
        result.map(drop)
    }

    /// A transaction over several calls, with what the statement says of it.
    async fn begin(&mut self, sql: &str, output: &mut Output) -> Result<(), SqlFailure> {
        let request = v1::BeginRequest {
            time_ms: TRANSACTION_MS,
            database: self.database.clone(),
            ..v1::BeginRequest::default()
        };
        let begun = self.sql.begin(request).await.map_err(|status| SqlFailure::status(&status, sql))?;
        self.transaction = Some(begun.transaction);
        self.has_failed = false;
        let said = sql.trim().split_once(char::is_whitespace).map_or("", |(_, said)| said.trim_start());
        let said = ["transaction", "work"].iter().fold(said, |said, word| behind(said, word).unwrap_or(said)).trim();
        if !said.is_empty()
            && let Err(failure) = self.ask_quietly(&format!("SET TRANSACTION {said}")).await
        {
            // As if it had never begun.
            drop(self.ask_quietly("ROLLBACK").await);
            self.transaction = None;
            return Err(failure);
        }
        output.end(&v1::Summary { command: "BEGIN".to_owned(), ..v1::Summary::default() });
        Ok(())
    }

    async fn ask_quietly(&mut self, sql: &str) -> Result<(), SqlFailure> {
        self.collect(sql).await.map(drop)
    }

    /// Gives what the command says it was.
    async fn ask(&mut self, sql: &str, output: &mut Output) -> Result<Option<String>, SqlFailure> {
        let failed = |status: Status| SqlFailure::status(&status, sql);
        let mut stream = self.sql.query(self.request(sql)).await.map_err(failed)?;
        let mut command = None;
        while let Some(message) = stream.message().await.map_err(failed)? {
            match message.part {
                Some(Part::Columns(columns)) => output.begin(columns.columns),
                Some(Part::Rows(rows)) => output.rows(rows.rows),
                Some(Part::Summary(summary)) => {
                    output.end(&summary);
                    command = Some(summary.command);
                }
                Some(Part::Arrow(_)) | None => {}
            }
        }
        // A result is whole with its end only.
        if command.is_none() {
            return Err(SqlFailure {
                is_lost: true,
                ..SqlFailure::of("the result has no end: the connection was lost")
            });
        }
        Ok(command)
    }

    fn request(&self, sql: &str) -> v1::QueryRequest {
        // A transaction has its own database.
        let database = if self.in_transaction() { String::new() } else { self.database.clone() };
        let transaction = self.transaction.clone().unwrap_or_default();
        let statement = v1::Statement { sql: sql.to_owned(), transaction, database, ..v1::Statement::default() };
        v1::QueryRequest { statement: Some(statement), ..v1::QueryRequest::default() }
    }

    async fn collect(&mut self, sql: &str) -> Result<Vec<v1::Row>, SqlFailure> {
        let failed = |status: Status| SqlFailure::status(&status, sql);
        let mut stream = self.sql.query(self.request(sql)).await.map_err(failed)?;
        let mut rows = Vec::new();
        while let Some(message) = stream.message().await.map_err(failed)? {
            if let Some(Part::Rows(some)) = message.part {
                rows.extend(some.rows);
            }
        }
        Ok(rows)
    }

    /// Rows of texts, for what the client itself wants to know. Not while a transaction has failed, which takes none.
    pub(super) async fn rows(&mut self, sql: &str) -> Result<Vec<Vec<String>>, SqlFailure> {
        let texts = |row: v1::Row| {
            row.values.iter().map(|v| v.kind.as_ref().map(perigee_grpc::text).unwrap_or_default()).collect()
        };
        Ok(self.collect(sql).await?.into_iter().map(texts).collect())
    }
}

/// What stands behind a word that a text begins with.
fn behind<'a>(text: &'a str, word: &str) -> Option<&'a str> {
    let (first, rest) = text.split_at_checked(word.len())?;
    let ends = !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_');
    (first.eq_ignore_ascii_case(word) && ends).then(|| rest.trim_start())
}

fn is_word(sql: &str, word: &str) -> bool {
    behind(sql.trim_start(), word).is_some()
}

pub(super) fn begins_transaction(sql: &str) -> bool {
    let sql = sql.trim_start();
    is_word(sql, "begin") || behind(sql, "start").is_some_and(|rest| is_word(rest, "transaction"))
}

/// Whether a statement was the end of its transaction: `ROLLBACK TO` is none, and `AND CHAIN` begins the next one.
fn ends_transaction(sql: &str, command: &str) -> bool {
    let words: Vec<String> = sql.split_whitespace().map(str::to_ascii_lowercase).collect();
    let is_partial = words.iter().any(|word| word == "to") || words.ends_with(&["and".to_owned(), "chain".to_owned()]);
    matches!(command, "COMMIT" | "ROLLBACK") && !is_partial
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transactions_begin_and_end() {
        for sql in ["BEGIN", "begin isolation level serializable", " START  TRANSACTION READ ONLY", "BEGIN;"] {
            assert!(begins_transaction(sql), "{sql}");
        }
        for sql in ["beginning", "START", "SELECT 'BEGIN'", "COMMIT"] {
            assert!(!begins_transaction(sql), "{sql}");
        }
        for (sql, command) in
            [("COMMIT", "COMMIT"), ("end", "COMMIT"), ("ROLLBACK", "ROLLBACK"), ("COMMIT AND NO CHAIN", "COMMIT")]
        {
            assert!(ends_transaction(sql, command), "{sql}");
        }
        for (sql, command) in [("ROLLBACK TO a", "ROLLBACK"), ("COMMIT AND CHAIN", "COMMIT"), ("SELECT 1", "SELECT 1")]
        {
            assert!(!ends_transaction(sql, command), "{sql}");
        }
    }

    #[test]
    fn places_are_marked() {
        assert_eq!(marked("SELECT\n  ä, b", 12), Some(("  ä, b".to_owned(), "    ^".to_owned())));
        assert_eq!(marked("SELECT", 0), None);
        assert_eq!(clean("a\x1b[2Jb"), "a\u{fffd}[2Jb");
    }
}
