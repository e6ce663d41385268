//! Runs a file of statements against both servers.

use std::collections::HashMap;
use std::net::SocketAddr;

use perigee_testkit::session::{Answer, Reply, Request, Session};
use perigee_tests::expectations::Outcome;

use super::{compare, script};

/// A statement that takes longer is a difference.
const SETTINGS: &[(&str, &str)] = &[("statement_timeout", "15000"), ("TimeZone", "UTC"), ("client_encoding", "UTF8")];

/// The statements of one file, in order. Both servers must be empty.
pub(super) fn file(area: &str, text: &str, postgres: SocketAddr, perigee: SocketAddr) -> Result<Vec<Outcome>, String> {
    let statements = script::parse(text).map_err(|error| format!("{area}: {error}"))?;
    let mut wanted = Side::new(postgres);
    let mut got = Side::new(perigee);
    let mut seen: HashMap<String, usize> = HashMap::new();
    let mut outcomes = Vec::new();
    for statement in &statements {
        let request = Request {
            sql: &statement.sql,
            extended: statement.extended,
            binary: statement.binary,
            parameters: &statement.parameters,
            copy_data: &statement.copy_data,
        };
        let (wanted, got) = (wanted.ask(&statement.session, &request), got.ask(&statement.session, &request));
        if let Some(Answer::Lost(why)) = wanted.answers.last() {
            return Err(format!("{area}:{}: PostgreSQL does not answer: {why}", statement.line));
        }
        let mut label = format!("{area}: {}", statement.label());
        let count = seen.entry(label.clone()).and_modify(|count| *count += 1).or_insert(1);
        if *count > 1 {
            label.push_str(&format!(" #{count}"));
        }
        let difference = compare::difference(&statement.sql, &wanted, &got);
        outcomes.push(Outcome { area: area.to_owned(), line: statement.line, label, difference });
    }
    Ok(outcomes)
}

/// Empties a PostgreSQL: its database and its roles.
pub(super) fn reset(postgres: SocketAddr) -> Result<(), String> {
    let mut session = Session::connect(postgres, "template1", &[]).map_err(|error| error.to_string())?;
    let mut ask = |sql: &str| {
        let reply = session.ask(&Request { sql, ..Request::default() });
        match reply.answers.into_iter().next() {
            Some(Answer::Rows { rows, .. }) => Ok(rows),
            Some(Answer::Done(_)) => Ok(Vec::new()),
            other => Err(format!("{sql}: {other:?}")),
        }
    };
    ask("DROP DATABASE IF EXISTS postgres WITH (FORCE)")?;
    ask("CREATE DATABASE postgres TEMPLATE template0")?;
    for row in ask("SELECT quote_ident(rolname) FROM pg_roles WHERE rolname !~ '^pg_' AND rolname <> 'postgres'")? {
        if let Some(Some(name)) = row.first() {
            ask(&format!("DROP ROLE {}", String::from_utf8_lossy(name)))?;
        }
    }
    Ok(())
}

/// A server and the sessions that a file has opened there.
struct Side {
    server: SocketAddr,
    sessions: HashMap<String, Session>,
}

impl Side {
    fn new(server: SocketAddr) -> Self {
        Self { server, sessions: HashMap::new() }
    }

    /// A session that broke is opened anew for the next statement.
    fn ask(&mut self, name: &str, request: &Request<'_>) -> Reply {
        let lost = |why: String| Reply { answers: vec![Answer::Lost(why)], parameters: Vec::new(), status: ' ' };
        let mut session = match self.sessions.remove(name) {
            Some(session) => session,
            None => match Session::connect(self.server, "postgres", SETTINGS) {
                Ok(session) => session,
                Err(error) => return lost(error.to_string()),
            },
        };
        let reply = session.ask(request);
        if reply.status != ' ' {
            self.sessions.insert(name.to_owned(), session);
        }
        reply
    }
}
