//! `perigee client`: statements to a node over its gRPC door, typed by a person or written in a script.
//!
//! ```text
//! mod          what the command line asks for
//!   connection the node, the database, the transaction that is open
//!   script     where statements end
//!   commands   what begins with a backslash
//!   queue      statements that wait for a node in a file
//!   output     results as tables, JSON and CSV
//!   prompt     a person: history, completion
//!     editor   one line on a terminal
//! ```

mod commands;
mod connection;
mod editor;
mod output;
mod prompt;
mod queue;
mod script;

use std::io::{IsTerminal as _, Read as _, Write as _};

use perigee_api::client::{Access, Sql, connect_within};
use tokio::io::DuplexStream;

use crate::admin_command::failure;
use crate::cli::{ClientArguments, ScriptArguments};
use crate::client::commands::Outcome;
use crate::client::connection::{Connection, SqlFailure};
use crate::client::output::Output;
use crate::client::script::Piece;
use crate::failure::Failure;

/// Runs what `-e` and `-f` say, in their order by kind; else what standard input says.
pub(crate) fn run(arguments: &ClientArguments) -> Result<(), Failure> {
    if let Some(path) = &arguments.queue {
        return queue::run(arguments, path, &threads()?);
    }
    let database = arguments.script.database.clone();
    over(async { Connection::open(&arguments.node(), database).await }, &arguments.script)
}

/// The same at a node in this process, over connections that `open` makes.
pub(crate) fn run_within(
    open: impl Fn() -> DuplexStream + Send + Sync + 'static,
    name: &str,
    arguments: &ScriptArguments,
) -> Result<(), Failure> {
    let connected = async {
        let channel = connect_within(open).await.map_err(failure)?;
        let sql = Sql::over(channel, &Access::default()).map_err(failure)?;
        Connection::over(sql, name.to_owned(), None, arguments.database.clone()).await
    };
    over(connected, arguments)
}

fn threads() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(|error| Failure::fatal(format!("cannot start threads: {error}")))
}

fn over(
    connection: impl Future<Output = Result<Connection, Failure>>,
    arguments: &ScriptArguments,
) -> Result<(), Failure> {
    let runtime = threads()?;
    let mut client = Client {
        connection: runtime.block_on(connection)?,
        output: Output::new(arguments.format, arguments.rows_max),
        timing: arguments.timing,
        runtime,
        depth: 0,
    };
    let given = !arguments.execute.is_empty() || !arguments.file.is_empty();
    for text in &arguments.execute {
        client.script(text)?;
    }
    for path in &arguments.file {
        client.file(path)?;
    }
    if given {
        return Ok(());
    }
    let input = std::io::stdin();
    if input.is_terminal() {
        return prompt::run(&mut client);
    }
    let mut text = String::new();
    input.lock().read_to_string(&mut text).map_err(|error| Failure::Refused(format!("standard input: {error}")))?;
    client.script(&text)
}

/// Files that include one another, at most.
const DEPTH_MAX: usize = 16;

/// A client and how it shows what it gets.
struct Client {
    connection: Connection,
    output: Output,
    /// Says how long each statement took.
    timing: bool,
    runtime: tokio::runtime::Runtime,
    /// How many files are being read.
    depth: usize,
}

impl Client {
    /// Runs all statements of a text, up to the first that fails.
    fn script(&mut self, text: &str) -> Result<(), Failure> {
        let mut rest = text;
        while let Some((piece, behind)) = script::next(rest, true) {
            rest = behind;
            let outcome = match piece {
                Piece::Statement(statement) => self.statement(statement).map(|()| Outcome::GoOn),
                Piece::Command(line) => commands::run(self, line),
            };
            match outcome {
                Ok(Outcome::GoOn) => {}
                Ok(Outcome::End) => return Ok(()),
                Err(failure) => return Err(failed(&failure)),
            }
        }
        Ok(())
    }

    fn file(&mut self, path: &std::path::Path) -> Result<(), Failure> {
        let wrong = |reason: String| Failure::Refused(format!("{}: {reason}", path.display()));
        let text = match path.to_str() {
            Some("-") => std::io::read_to_string(std::io::stdin()),
            _ => std::fs::read_to_string(path),
        };
        let text = text.map_err(|error| wrong(error.to_string()))?;
        if self.depth == DEPTH_MAX {
            return Err(wrong("files include one another too deep".to_owned()));
        }
        self.depth += 1;
        let result = self.script(&text);
        self.depth -= 1;
        result
    }

    /// Runs one statement and shows its result. Ctrl-C cancels it.
    fn statement(&mut self, sql: &str) -> Result<(), SqlFailure> {
        let started = std::time::Instant::now();
        let Self { connection, output, runtime, .. } = self;
        let result = runtime.block_on(async {
            tokio::select! {
                result = connection.run(sql, output) => result,
                _ = tokio::signal::ctrl_c() => Err(SqlFailure::cancelled()),
            }
        });
        if result.is_err() {
            self.output.abandon();
        }
        if self.timing {
            eprintln!("time: {:.3} ms", started.elapsed().as_secs_f64() * 1e3);
        }
        // Whoever reads may have gone; the next write says so.
        let _ = std::io::stdout().flush();
        result
    }
}

/// What ends a script that a statement has failed in.
fn failed(failure: &SqlFailure) -> Failure {
    if failure.is_lost { Failure::Refused(failure.to_string()) } else { Failure::Fatal(failure.to_string()) }
}
