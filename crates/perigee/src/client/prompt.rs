//! A person at the prompt: statements over several lines, a history that stays, names that complete.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

use super::Client;
use super::commands::{self, Outcome, database};
use super::editor::{self, Typed, line::Line};
use super::script::{self, Piece};
use crate::failure::Failure;

/// Names of relations and columns that are completed, at most.
const NAMES_MAX: usize = 10_000;
/// Lines of the file that are read; it is cut to them.
const FILE_LINES: usize = 1_000;

const WORDS: &str = "ADD ALTER ANALYZE AND AS ASC ASOF BEGIN BETWEEN BY CALL CASCADE CASE CHECK CHECKPOINT COALESCE COLUMN COMMIT CONFLICT CONSTRAINT \
     CREATE CROSS CURRENT_TIMESTAMP DATABASE DEFAULT DELETE DESC DISTINCT DO DROP ELSE END EXCEPT EXISTS EXPLAIN FALSE FETCH FOREIGN FROM FULL \
     FUNCTION GRANT GROUP HAVING ILIKE IN INDEX INNER INSERT INTERSECT INTERVAL INTO IS JOIN KEY LATERAL LATEST LEFT LIKE LIMIT MATERIALIZED MERGE \
     NATURAL NOT NOTHING NULL OFFSET ON OR ORDER OUTER OVER PARTITION PRIMARY REFERENCES REFRESH RENAME RETURNING REVOKE RIGHT ROLE ROLLBACK \
     SAVEPOINT SCHEMA SELECT SEQUENCE SET SHOW TABLE THEN TO TRUE TRUNCATE UNION UNIQUE UPDATE USING VACUUM VALUES VIEW WHEN WHERE WINDOW WITH \
     bigint boolean bytea count date double precision integer interval json jsonb now numeric real smallint sum text time timestamp timestamptz uuid \
     \\c \\conninfo \\cluster \\d \\df \\di \\dk \\dm \\dn \\ds \\dt \\dts \\du \\dv \\format \\i \\l \\q \\sessions \\tiers \\timing \\x";

/// Reads and runs until the person has enough.
pub(super) fn run(client: &mut Client) -> Result<(), Failure> {
    println!("perigee {}, node {}. \\? says what there is.", env!("CARGO_PKG_VERSION"), client.connection.address);
    let mut line = Line::default();
    let file = HistoryFile::open();
    for old in file.lines() {
        line.remember(&old);
    }
    line.set_words(words(client));
    let mut pending = String::new();
    loop {
        let typed = editor::read(&prompt(client, pending.is_empty()), &mut line)
            .map_err(|error| Failure::fatal(format!("the terminal: {error}")))?;
        match typed {
            Typed::Line(text) => {
                pending.push_str(&text);
                pending.push('\n');
            }
            Typed::Nothing => {
                pending.clear();
                continue;
            }
            Typed::End => return Ok(()),
        }
        let mut definitions = false;
        while let Some((piece, behind)) = script::next(&pending, false) {
            let rest = behind.to_owned();
            let (kept, outcome) = match piece {
                Piece::Statement(sql) => {
                    definitions |= is_definition(sql);
                    (format!("{sql};"), client.statement(sql).map(|()| Outcome::GoOn))
                }
                Piece::Command(command) => (format!("\\{command}"), commands::run(client, command)),
            };
            line.remember(&kept);
            file.add(&kept);
            pending = rest;
            match outcome {
                Ok(Outcome::GoOn) => {}
                Ok(Outcome::End) => return Ok(()),
                Err(failure) => eprintln!("ERROR: {failure}"),
            }
        }
        if script::next(&pending, true).is_none() {
            pending.clear();
        }
        if definitions && !client.connection.in_transaction() {
            line.set_words(words(client));
        }
    }
}

/// `postgres=>`; `*` in a transaction, `!` where one has failed, `-` within a statement.
fn prompt(client: &Client, begins: bool) -> String {
    let state = match (client.connection.in_transaction(), client.connection.has_failed) {
        (false, _) => "",
        (true, false) => "*",
        (true, true) => "!",
    };
    format!("{}{}{state}> ", database(client), if begins { "=" } else { "-" })
}

fn is_definition(sql: &str) -> bool {
    let word = sql.split_whitespace().next().unwrap_or_default().to_ascii_lowercase();
    matches!(word.as_str(), "create" | "alter" | "drop" | "commit")
}

/// What Tab knows: keywords, and names of relations and columns.
fn words(client: &mut Client) -> Vec<String> {
    let mut words: Vec<String> = WORDS.split_whitespace().map(str::to_owned).collect();
    let sql = format!(
        "SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname NOT IN ('pg_catalog', 'information_schema') \
         UNION SELECT a.attname FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace \
         WHERE n.nspname NOT IN ('pg_catalog', 'information_schema') AND a.attnum > 0 AND c.relkind <> 'i' LIMIT {NAMES_MAX}"
    );
    // Who may not know the names types them.
    let names = client.runtime.block_on(client.connection.rows(&sql)).unwrap_or_default();
    words.extend(names.into_iter().flatten());
    words
}

/// The history, over several runs.
struct HistoryFile(Option<PathBuf>);

impl HistoryFile {
    /// `PERIGEE_HISTORY`, or `.perigee_history` at home; nowhere where the variable is empty.
    fn open() -> Self {
        let path = match std::env::var_os("PERIGEE_HISTORY") {
            Some(path) => Some(PathBuf::from(path)).filter(|path| !path.as_os_str().is_empty()),
            None => std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".perigee_history")),
        };
        let history = Self(path);
        let lines = history.lines();
        if let (Some(path), true) = (&history.0, lines.len() > FILE_LINES) {
            let kept: String = lines[lines.len() - FILE_LINES..].iter().map(|line| escaped(line) + "\n").collect();
            drop(fs::write(path, kept));
        }
        history
    }

    fn lines(&self) -> Vec<String> {
        let text = self.0.as_ref().and_then(|path| fs::read_to_string(path).ok()).unwrap_or_default();
        text.lines().map(unescaped).collect()
    }

    /// Adds a line, unless it may have a secret. A history that cannot be written is none.
    fn add(&self, line: &str) {
        let lower = line.to_ascii_lowercase();
        let Some(path) = self.0.as_ref().filter(|_| !lower.contains("password") && !lower.contains("api_key")) else {
            return;
        };
        if let Ok(mut file) = OpenOptions::new().create(true).append(true).mode(0o600).open(path) {
            drop(writeln!(file, "{}", escaped(line)));
        }
    }
}

fn escaped(line: &str) -> String {
    line.replace('\\', "\\\\").replace('\n', "\\n")
}

fn unescaped(line: &str) -> String {
    let (mut text, mut chars) = (String::new(), line.chars());
    while let Some(c) = chars.next() {
        match (c, if c == '\\' { chars.next() } else { None }) {
            ('\\', Some('n')) => text.push('\n'),
            ('\\', Some(escaped)) => text.push(escaped),
            (c, _) => text.push(c),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_survive_their_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = HistoryFile(Some(folder.path().join("history")));
        let lines = ["SELECT 'a\nb', '\\n'", "\\d t"];
        for line in lines {
            file.add(line);
        }
        file.add("ALTER ROLE ann PASSWORD 'x'");
        assert_eq!(file.lines(), lines);
    }

    #[test]
    fn definitions_are_told_apart() {
        assert!(is_definition(" create table t ()") && !is_definition("SELECT 'create'"));
    }
}
