//! Runs a script on both servers.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use perigee_testkit::resp::{Connection, Value, command};
use perigee_tests::expectations::Outcome;

use super::compare;
use super::script::{self, Action, How, Part, Step, Word};

/// A reply of Redis that takes longer is a fault of the script.
const PATIENCE: Duration = Duration::from_secs(5);
/// So long is waited for a reply that is not to come.
const SILENCE: Duration = Duration::from_millis(150);
/// So long a command has to reach the server when nothing tells that it did.
const ON_ITS_WAY: Duration = Duration::from_millis(100);
const SCAN_CALLS_MAX: usize = 20_000;

/// The lines of one file, in order, in both protocols. A reply of Perigee's that takes longer than `patience` is a difference.
pub(super) fn file(
    name: &str,
    text: &str,
    redis: SocketAddr,
    perigee: SocketAddr,
    patience: Duration,
) -> Result<Vec<Outcome>, String> {
    let steps = script::parse(text).map_err(|error| format!("{name}: {error}"))?;
    let mut differences: BTreeMap<usize, Option<String>> = BTreeMap::new();
    for protocol in [2, 3] {
        let mut wanted = Side::new(redis, protocol, PATIENCE);
        let mut got = Side::new(perigee, protocol, patience);
        wanted.reset().map_err(|error| format!("redis-server: {error}"))?;
        // What is not built shows itself in the lines.
        drop(got.reset());
        for (at, step) in steps.iter().enumerate() {
            let found =
                one(step, protocol, &mut wanted, &mut got).map_err(|why| format!("{name}:{}: {why}", step.line))?;
            if let Some(found) = found {
                let found = found.map(|why| format!("RESP{protocol}: {why}"));
                let known = differences.entry(at).or_default();
                *known = known.take().or(found);
            }
        }
    }
    let mut seen: HashMap<String, usize> = HashMap::new();
    let outcome = |(at, difference): (usize, Option<String>)| {
        let step = &steps[at];
        let mut label = format!("{name}: {}", step.text);
        let count = seen.entry(label.clone()).and_modify(|count| *count += 1).or_insert(1);
        if *count > 1 {
            label.push_str(&format!(" #{count}"));
        }
        let area = name.split('-').next().unwrap_or(name).to_owned();
        Outcome { area, line: step.line, label, difference }
    };
    Ok(differences.into_iter().map(outcome).collect())
}

/// Runs a step on both sides. `None` when it has nothing to compare, else what differs.
fn one(step: &Step, protocol: u8, wanted: &mut Side, got: &mut Side) -> Result<Option<Option<String>>, String> {
    match &step.action {
        Action::Sleep(ms) => {
            thread::sleep(Duration::from_millis(*ms));
            return Ok(None);
        }
        Action::Flush => {
            for side in [wanted, got] {
                side.ask("", &[b"FLUSHALL"]);
            }
            return Ok(None);
        }
        Action::Scan(words) => {
            let (wanted, got) = (wanted.scan(step, words), got.scan(step, words));
            return Ok(Some(compare::difference(How::Exact, &wanted, &got)));
        }
        Action::Command(_) | Action::Raw(_) | Action::Receive => {}
    }
    got.send(step);
    if let Some(want) = &step.want {
        let got = got.receive(step).to_string();
        let want = &want[usize::from(protocol == 3)];
        return Ok(Some((got != *want).then(|| format!("{got}, not {want}"))));
    }
    wanted.send(step);
    if step.replies == 0 {
        thread::sleep(ON_ITS_WAY);
        return Ok(None);
    }
    let (mut difference, mut last) = (None, None);
    for _ in 0..step.replies {
        // Behind a reply that did not come there is none either.
        let got = last.take().filter(Value::is_end).unwrap_or_else(|| got.receive(step));
        let wanted = wanted.receive(step);
        if (wanted == Value::Silence) != step.silent {
            return Err(format!("redis-server says {wanted}"));
        }
        difference = difference.or(compare::difference(step.how, &wanted, &got));
        last = Some(got);
    }
    Ok(Some(difference))
}

/// A server, the connections that a script has opened there, and the values that it has saved.
struct Side {
    server: SocketAddr,
    protocol: u8,
    patience: Duration,
    connections: HashMap<String, Connection>,
    saved: HashMap<String, Vec<u8>>,
}

impl Side {
    fn new(server: SocketAddr, protocol: u8, patience: Duration) -> Self {
        Self { server, protocol, patience, connections: HashMap::new(), saved: HashMap::new() }
    }

    /// An empty server.
    fn reset(&mut self) -> Result<(), String> {
        for line in ["FLUSHALL", "FUNCTION FLUSH", "SCRIPT FLUSH"] {
            let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
            match self.ask("", &words) {
                Value::Status(_) => {}
                other => return Err(format!("{line}: {other}")),
            }
        }
        Ok(())
    }

    /// The connection of that name, opened when it is not there.
    fn connection(&mut self, name: &str) -> Option<&mut Connection> {
        if !self.connections.contains_key(name) {
            let mut connection = Connection::open(self.server, self.patience).ok()?;
            if self.protocol == 3 && connection.line("HELLO 3").is_end() {
                return None;
            }
            self.connections.insert(name.to_owned(), connection);
        }
        self.connections.get_mut(name)
    }

    fn ask(&mut self, name: &str, args: &[&[u8]]) -> Value {
        let reply = self.connection(name).map_or(Value::Closed, |connection| connection.ask(args));
        if reply.is_end() {
            self.connections.remove(name);
        }
        reply
    }

    fn send(&mut self, step: &Step) {
        let bytes = match &step.action {
            Action::Command(words) => command(&self.filled(words)),
            Action::Raw(bytes) => bytes.clone(),
            _ => return,
        };
        // What goes wrong shows itself in the reply.
        drop(self.connection(&step.connection).map(|connection| connection.send(&bytes)));
    }

    /// A connection that has ended is opened anew by the next line.
    fn receive(&mut self, step: &Step) -> Value {
        let patience = self.patience;
        let Some(connection) = self.connection(&step.connection) else { return Value::Closed };
        connection.set_patience(if step.silent { SILENCE } else { patience });
        let reply = connection.receive();
        connection.set_patience(patience);
        if reply.is_end() && !(step.silent && reply == Value::Silence) {
            self.connections.remove(&step.connection);
        }
        if let Some((name, index)) = &step.save {
            let value = match index {
                Some(index) => reply.items().and_then(|items| items.get(*index)),
                None => Some(&reply),
            };
            self.saved.insert(name.clone(), value.and_then(Value::bytes).unwrap_or_default());
        }
        reply
    }

    fn filled(&self, words: &[Word]) -> Vec<Vec<u8>> {
        let part = |part: &Part| match part {
            Part::Bytes(bytes) => bytes.clone(),
            Part::Saved(name) => self.saved.get(name).cloned().unwrap_or_default(),
        };
        words.iter().map(|word| word.iter().flat_map(part).collect()).collect()
    }

    /// All that a SCAN, SSCAN, HSCAN or ZSCAN gives, sorted, each once; or the first reply that is none.
    fn scan(&mut self, step: &Step, words: &[Word]) -> Value {
        let mut args = self.filled(words);
        let name = args.first().map(|name| name.to_ascii_uppercase()).unwrap_or_default();
        let alone = args.iter().any(|arg| arg.eq_ignore_ascii_case(b"NOVALUES"));
        let (at, width) = match name.as_slice() {
            b"SCAN" => (1, 1),
            b"SSCAN" => (2, 1),
            _ => (2, if alone { 1 } else { 2 }),
        };
        let mut found: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for _ in 0..SCAN_CALLS_MAX {
            let sent: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
            let reply = self.ask(&step.connection, &sent);
            let Some([Value::Bulk(cursor), Value::Array(items)]) = reply.items() else { return reply };
            found.extend(items.chunks(width).map(|group| (format!("{group:?}"), group.to_vec())));
            if cursor == b"0" {
                return Value::Array(found.into_values().flatten().collect());
            }
            match args.get_mut(at) {
                Some(place) => place.clone_from(cursor),
                None => return reply,
            }
        }
        Value::Silence
    }
}
