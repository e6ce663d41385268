//! `--queue FILE`: statements that wait in a file until a node has done them, each once and in their order.
//!
//! ```text
//! {"key": "…", "database": "…", "sql": "…"}      is to be done
//! {"done": "…"}                                  was done, or refused for good
//! ```
//!
//! A statement is on disk before it is sent, with an idempotency key: of one that was done, and of which the client has not heard so, the
//! node knows that by the key (for a day, unless `idempotency-key-ttl` says otherwise). The file is empty when nothing waits.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::Path;

use perigee_api::client::{ClientError, Sql};
use perigee_api::v1;
use serde_json::{Value, json};
use tonic::{Code, Status};

use crate::admin_command::{access, failure};
use crate::cli::ClientArguments;
use crate::client::connection::begins_transaction;
use crate::client::output::Output;
use crate::client::script::{self, Piece};
use crate::failure::Failure;

/// A statement, or several that are one transaction.
#[derive(Clone, Debug, PartialEq)]
struct Waiting {
    key: String,
    database: String,
    sql: String,
}

/// What waits, in its file.
struct Queue {
    file: File,
    waiting: VecDeque<Waiting>,
}

impl Queue {
    fn open(path: &Path) -> Result<Self, Failure> {
        let wrong = |why: String| Failure::Refused(format!("{}: {why}", path.display()));
        let said = |error: io::Error| wrong(error.to_string());
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(path).map_err(said)?;
        file.try_lock().map_err(|_| wrong("another client has it open".to_owned()))?;
        let mut text = Vec::new();
        file.read_to_end(&mut text).map_err(said)?;
        // A line without its end was never acknowledged.
        let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        file.set_len(whole as u64).map_err(said)?;
        text.truncate(whole);
        let waiting = read(&text).map_err(|line| wrong(format!("line {line} is none of a queue")))?;
        Ok(Self { file, waiting })
    }

    fn push(&mut self, database: &str, sql: &str) -> io::Result<()> {
        let key = format!("queue-{:032x}", rand::random::<u128>());
        let waiting = Waiting { key, database: database.to_owned(), sql: sql.to_owned() };
        self.write(&json!({"key": waiting.key, "database": waiting.database, "sql": waiting.sql}))?;
        self.waiting.push_back(waiting);
        Ok(())
    }

    /// The first was done.
    fn pop(&mut self) -> io::Result<()> {
        let Some(done) = self.waiting.pop_front() else { return Ok(()) };
        if self.waiting.is_empty() {
            return self.file.set_len(0);
        }
        self.write(&json!({"done": done.key}))
    }

    fn write(&mut self, line: &Value) -> io::Result<()> {
        self.file.write_all(format!("{line}\n").as_bytes())
    }
}

/// What the lines of a file leave to be done; the number of a line that is none.
fn read(text: &[u8]) -> Result<VecDeque<Waiting>, usize> {
    let mut waiting: VecDeque<Waiting> = VecDeque::new();
    for (at, line) in text.split(|byte| *byte == b'\n').enumerate() {
        if line.is_empty() {
            continue;
        }
        let line: Value = serde_json::from_slice(line).map_err(|_| at + 1)?;
        let word = |name: &str| line[name].as_str().map(str::to_owned);
        if let Some(done) = word("done") {
            waiting.retain(|waiting| waiting.key != done);
            continue;
        }
        let (Some(key), Some(database), Some(sql)) = (word("key"), word("database"), word("sql")) else {
            return Err(at + 1);
        };
        waiting.push_back(Waiting { key, database, sql });
    }
    Ok(waiting)
}

/// Puts what the command line and standard input say behind what waits, and sends all of it as far as a node takes it.
///
/// # Errors
/// [`Failure::Refused`] for what cannot be put there; [`Failure::Fatal`] once all was sent and the node has refused some of it, or where
/// it does not let the client in.
pub(super) fn run(arguments: &ClientArguments, path: &Path, runtime: &tokio::runtime::Runtime) -> Result<(), Failure> {
    let mut queue = Queue::open(path)?;
    let unwritten = |error: io::Error| Failure::Refused(format!("{}: {error}", path.display()));
    let database = arguments.script.database.clone().unwrap_or_default();
    for sql in statements(arguments)? {
        queue.push(&database, &sql).map_err(unwritten)?;
    }
    queue.file.sync_data().map_err(unwritten)?;
    let node = arguments.node();
    let mut sql = match runtime.block_on(Sql::connect(&node.address, &access(&node))) {
        Ok(sql) => sql,
        Err(error @ ClientError::Unreachable { .. }) => {
            wait(&queue, path, &error.to_string());
            return Ok(());
        }
        Err(error) => return Err(failure(error)),
    };
    let mut output = Output::new(arguments.script.format, arguments.script.rows_max);
    let mut refused = 0;
    while let Some(first) = queue.waiting.front().cloned() {
        let statement = v1::Statement { sql: first.sql, database: first.database, ..v1::Statement::default() };
        match runtime.block_on(sql.execute_once(&first.key, statement)) {
            Ok(response) => output.end(&response.summary.unwrap_or_default()),
            Err(status) => match fate(&status) {
                Fate::Done => {}
                Fate::Waits => {
                    wait(&queue, path, status.message());
                    return Ok(());
                }
                Fate::Stops => {
                    wait(&queue, path, status.message());
                    return Err(Failure::Fatal(status.message().to_owned()));
                }
                Fate::Refused => {
                    refused += 1;
                    eprintln!("perigee: refused, and left out: {}", status.message());
                }
            },
        }
        queue.pop().map_err(unwritten)?;
    }
    match refused {
        0 => Ok(()),
        count => Err(Failure::Fatal(format!("the node has refused {count} of what was in {}", path.display()))),
    }
}

fn wait(queue: &Queue, path: &Path, why: &str) {
    eprintln!("perigee: {why}");
    eprintln!("perigee: {} to be done, in {}", queue.waiting.len(), path.display());
}

/// What becomes of a statement that was not done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It was, before.
    Done,
    /// Nobody knows, or the node cannot do it now.
    Waits,
    /// The same, and somebody has to look.
    Stops,
    /// It never will be.
    Refused,
}

fn fate(status: &Status) -> Fate {
    let Some(detail) = perigee_grpc::detail(status) else {
        return match status.code() {
            // The answer of the first time was not kept.
            Code::Aborted => Fate::Done,
            Code::InvalidArgument | Code::FailedPrecondition | Code::Unimplemented => Fate::Refused,
            _ => Fate::Waits,
        };
    };
    match detail.sqlstate.get(..2) {
        // Who is not let in, and what takes longer than it may.
        Some("28") => Fate::Stops,
        Some("57") if detail.sqlstate == "57014" => Fate::Stops,
        // The connection, a conflict, resources, the node's end or begin, its disk.
        Some("08" | "40" | "53" | "57" | "58") => Fate::Waits,
        _ => Fate::Refused,
    }
}

/// Each `-e` as it is, in one transaction; of files and standard input each statement.
fn statements(arguments: &ClientArguments) -> Result<Vec<String>, Failure> {
    let script = &arguments.script;
    let mut found = script.execute.clone();
    let mut texts = Vec::new();
    for path in &script.file {
        let text = match path.to_str() {
            Some("-") => io::read_to_string(io::stdin()),
            _ => std::fs::read_to_string(path),
        };
        texts.push(text.map_err(|error| Failure::Refused(format!("{}: {error}", path.display())))?);
    }
    if script.execute.is_empty() && script.file.is_empty() && !io::IsTerminal::is_terminal(&io::stdin()) {
        let text = io::read_to_string(io::stdin());
        texts.push(text.map_err(|error| Failure::Refused(format!("standard input: {error}")))?);
    }
    for text in &texts {
        let mut rest = text.as_str();
        while let Some((piece, behind)) = script::next(rest, true) {
            rest = behind;
            match piece {
                Piece::Statement(statement) => found.push(statement.to_owned()),
                Piece::Command(line) => {
                    return Err(Failure::Refused(format!("\\{line}: a queue takes statements only")));
                }
            }
        }
    }
    if found.iter().any(|statement| begins_transaction(statement)) {
        let why = "a queue has no transactions over several statements: say them with one -e, without BEGIN";
        return Err(Failure::Refused(why.to_owned()));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_done_waits_no_more() {
        let text = b"{\"key\":\"a\",\"database\":\"\",\"sql\":\"X\"}\n{\"key\":\"b\",\"database\":\"d\",\"sql\":\"Y\"}\n{\"done\":\"a\"}\n";
        let left = Waiting { key: "b".to_owned(), database: "d".to_owned(), sql: "Y".to_owned() };
        assert_eq!(read(text).unwrap(), [left]);
        assert_eq!(read(b""), Ok(VecDeque::new()));
        assert_eq!(read(b"\n{}\n"), Err(2));
        assert_eq!(read(b"{\"key\":\n"), Err(1));
    }

    #[test]
    fn only_what_the_node_never_does_is_left_out() {
        assert_eq!(fate(&Status::unavailable("away")), Fate::Waits);
        assert_eq!(fate(&Status::resource_exhausted("too often")), Fate::Waits);
        assert_eq!(fate(&Status::aborted("done before")), Fate::Done);
        assert_eq!(fate(&Status::invalid_argument("none")), Fate::Refused);
    }
}
