//! A keyspace without a log, for tests: each command is an entry of its own, at a time that the test sets.

use bytes::Bytes;
use parking_lot::RwLock;
use perigee_types::{Hlc, LogIndex, Oid};

use crate::db::Position;
use crate::state::{DbId, State};
use crate::{Context, Effects, Load, Ran, Reply, StorageFault, Writer};

/// Nothing is ever out of memory.
#[derive(Clone, Copy, Debug, Default)]
pub struct NothingCold;

impl Load for NothingCold {
    fn load(&self, _state: &mut State, _db: DbId, _key: &[u8]) -> Result<(), StorageFault> {
        Ok(())
    }

    fn load_shared(&self, _state: &RwLock<State>, _db: DbId, _key: &[u8]) -> Result<(), StorageFault> {
        Ok(())
    }

    fn due(&self, _state: &State, _db: DbId, _due: crate::Due) -> Result<Vec<Box<[u8]>>, StorageFault> {
        Ok(Vec::new())
    }

    fn due_until(&self, _db: &crate::Db, _now: i64, _count: usize) -> Result<Option<crate::Due>, StorageFault> {
        Ok(None)
    }

    fn holds_any(&self, _incarnation: u32) -> Result<bool, StorageFault> {
        Ok(false)
    }

    fn cold_objects(
        &self,
        _db: &crate::Db,
        _from: u64,
        _next: Option<u64>,
    ) -> Result<Vec<crate::ColdObject>, StorageFault> {
        Ok(Vec::new())
    }
}

/// See the module.
pub struct Twin {
    /// The state.
    pub state: State,
    /// Who runs commands, and when.
    pub context: Context,
    /// What the last command told others.
    pub effects: Effects,
    /// Whether entries end where [`Twin::end_entry`] says, and nowhere else.
    pub whole_entries: bool,
    index: u64,
}

impl Default for Twin {
    fn default() -> Self {
        Self::new()
    }
}

impl Twin {
    /// An empty keyspace at 2024-01-01 00:00 UTC, with database 0 selected.
    #[must_use]
    pub fn new() -> Self {
        let context = Context::new(DbId { tenant: Oid(5), number: 0 }, 1_704_067_200_000);
        Self { state: State::default(), context, effects: Effects::default(), whole_entries: false, index: 0 }
    }

    /// Runs a command by its arguments.
    ///
    /// # Panics
    /// When the node would stop.
    pub fn run<T: AsRef<[u8]>>(&mut self, args: &[T]) -> Ran {
        let args: Vec<Bytes> = args.iter().map(|arg| Bytes::copy_from_slice(arg.as_ref())).collect();
        let spec = args.first().and_then(|name| crate::command::find(name)).and_then(|spec| spec.resolve(&args));
        let Some(spec) = spec else { return Ran::Reply(Reply::error("ERR unknown command")) };
        self.index += 1;
        // Some entries hold one command, others many.
        if self.index.is_multiple_of(3) && !self.whole_entries {
            self.end_entry();
        }
        self.effects.clear();
        let position = Position { index: self.index, n: 0 };
        let mut writer = Writer::new(&mut self.state, self.context.clone(), &mut self.effects, position, self.index);
        match crate::run_command(&mut writer, &NothingCold, spec, &args) {
            Ok(ran) => ran,
            Err(fault) => panic!("{fault}"),
        }
    }

    /// The command that comes next begins another entry.
    pub fn end_entry(&mut self) {
        self.state.luas.end();
    }

    /// Runs a line of words and gives the reply as text, as redis-cli would without a terminal: one line for each value,
    /// nested ones indented; `nil` for no value, quotes around strings, `(error) …`, `(waits)`.
    pub fn line(&mut self, line: &str) -> String {
        let args = words(line);
        match self.run(&args) {
            Ran::Reply(reply) => text(&reply),
            Ran::Block(_) => "(waits)".to_owned(),
        }
    }

    /// Runs lines of the form `command => reply` and compares; lines without `=>` only run. Replies are written as in
    /// [`Twin::line`], with `, ` between the values of an array, in brackets.
    ///
    /// # Panics
    /// When a reply differs.
    pub fn check(&mut self, script: &str) {
        for line in script.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            match line.split_once(" => ") {
                Some((command, want)) => assert_eq!(self.line(command.trim()), want.trim(), "{command}"),
                None => {
                    let got = self.line(line);
                    assert!(!got.starts_with("(error)"), "{line}: {got}");
                }
            }
        }
    }
}

/// Words of a line; double quotes hold spaces and `\xNN`, `\n`, `\r`, `\t`, `\\`, `\"`.
#[must_use]
pub fn words(line: &str) -> Vec<Vec<u8>> {
    let (mut words, mut word, mut quoted, mut open) = (Vec::new(), Vec::new(), false, false);
    let mut bytes = line.bytes().peekable();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => (quoted, open) = (!quoted, true),
            b'\\' if quoted => match bytes.next() {
                Some(b'n') => word.push(b'\n'),
                Some(b'r') => word.push(b'\r'),
                Some(b't') => word.push(b'\t'),
                Some(b'x') => {
                    let digits: String = bytes.by_ref().take(2).map(char::from).collect();
                    word.push(u8::from_str_radix(&digits, 16).unwrap_or(b'?'));
                }
                Some(other) => word.push(other),
                None => {}
            },
            b' ' if !quoted => {
                if open || !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                open = false;
            }
            other => word.push(other),
        }
    }
    if open || !word.is_empty() {
        words.push(word);
    }
    words
}

/// A reply as text.
#[must_use]
pub fn text(reply: &Reply) -> String {
    let list = |items: &[Reply]| format!("[{}]", items.iter().map(text).collect::<Vec<_>>().join(", "));
    let pairs = |items: &[(Reply, Reply)]| {
        items.iter().map(|(key, value)| format!("{}: {}", text(key), text(value))).collect::<Vec<_>>().join(", ")
    };
    match reply {
        Reply::Status(line) => line.to_string(),
        Reply::Error(line) => format!("(error) {line}"),
        Reply::Integer(value) => value.to_string(),
        Reply::Bulk(bytes) | Reply::Verbatim(_, bytes) => format!("\"{}\"", bytes.escape_ascii()),
        Reply::Null | Reply::NullArray => "nil".to_owned(),
        Reply::Array(items) => list(items),
        Reply::Set(items) => format!("~{}", list(items)),
        Reply::Push(items) => format!(">{}", list(items)),
        Reply::Map(items) => format!("{{{}}}", pairs(items)),
        Reply::Pairs(items) => format!("<{}>", pairs(items)),
        Reply::Double(value) => format!(",{}", crate::args::format_float(*value)),
        Reply::Boolean(value) => format!("#{value}"),
        Reply::BigNumber(digits) => format!("({digits}"),
        Reply::Attribute(_, reply) => text(reply),
        Reply::Nothing => "(nothing)".to_owned(),
    }
}

/// A log without a log: every entry is applied at once, in the order in which it came.
pub struct AtOnce {
    keyspace: std::sync::Weak<crate::Keyspace>,
    index: std::sync::atomic::AtomicU64,
}

impl AtOnce {
    /// For one keyspace.
    #[must_use]
    pub fn new(keyspace: &std::sync::Arc<crate::Keyspace>) -> Self {
        Self { keyspace: std::sync::Arc::downgrade(keyspace), index: 0.into() }
    }
}

impl crate::Proposer for AtOnce {
    fn propose(
        &self,
        payload: Bytes,
        _traced: &[perigee_telemetry::trace::Parent],
    ) -> futures::future::BoxFuture<'static, Result<(), crate::SubmitError>> {
        let applied = self.keyspace.upgrade().map(|keyspace| {
            let index = 1 + self.index.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let time = Hlc::from_micros(u64::try_from(keyspace.now_ms()).unwrap_or(0) * 1_000);
            let applied = keyspace.apply(LogIndex(index), time, &payload);
            keyspace.publish();
            applied
        });
        Box::pin(std::future::ready(match applied {
            Some(Ok(_)) => Ok(()),
            Some(Err(fault)) => Err(crate::SubmitError::Refused(format!("ERR {fault}"))),
            None => Err(crate::SubmitError::Unknown),
        }))
    }

    fn check_room(&self, _bytes: usize) -> Result<(), String> {
        Ok(())
    }

    fn relieved(&self) -> futures::future::BoxFuture<'static, ()> {
        Box::pin(std::future::ready(()))
    }
}
