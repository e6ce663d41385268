//! Traces: what a request did, step by step and node by node, for a receiver of OTLP.
//!
//! ```text
//! door (begin) --> plan, execute, propose --> append, apply: here
//!    \ Parent, to other nodes                \ replicate, apply: on each member that gets the entry
//! ```
//!
//! A [`Step`] is one span. Those that have ended wait, bounded, until [`take`] fetches them; what finds no place is counted and lost.
//! Unless [`enable`] was called nothing is kept, and nothing but a flag is looked at.

use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

/// Spans that wait to be fetched.
const WAITING_MAX: usize = 16_384;
/// Entries of the log that are remembered as parts of a trace.
const ENTRIES_MAX: usize = 4_096;

/// One request out of so many is traced that nobody else has decided about; 0: none, and nothing is kept.
static EVERY: AtomicU32 = AtomicU32::new(0);
/// Requests that were decided about.
static SEEN: AtomicU64 = AtomicU64::new(0);
static LOST: AtomicU64 = AtomicU64::new(0);
static WAITING: Mutex<Vec<Span>> = Mutex::new(Vec::new());
static HAS_ENTRIES: AtomicBool = AtomicBool::new(false);
static ENTRIES: LazyLock<Mutex<Entries>> = LazyLock::new(Mutex::default);

/// The step that others are parts of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parent {
    /// The trace; never zero.
    pub trace: u128,
    /// The step in it; never zero.
    pub span: u64,
}

/// What a client has said of the trace that its request belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// It is recorded, and this is the step that has asked.
    Recorded(Parent),
    /// It is not.
    NotRecorded,
}

impl Told {
    /// Reads a `traceparent` (W3C Trace Context, level 1); `None` for what is none.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let mut parts = text.trim().split('-');
        let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let is_hex = |part: &str, length: usize| {
            part.len() == length && part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        };
        // A later version may have more behind the flags.
        let fits = is_hex(version, 2) && version != "ff" && (version != "00" || parts.next().is_none());
        if !(fits && is_hex(trace, 32) && is_hex(span, 16) && is_hex(flags, 2)) {
            return None;
        }
        let parent = Parent { trace: u128::from_str_radix(trace, 16).ok()?, span: u64::from_str_radix(span, 16).ok()? };
        if parent.trace == 0 || parent.span == 0 {
            return None;
        }
        let recorded = u8::from_str_radix(flags, 16).ok()? & 1 == 1;
        Some(if recorded { Told::Recorded(parent) } else { Told::NotRecorded })
    }
}

impl Parent {
    /// As the header `traceparent`.
    #[must_use]
    pub fn header(self) -> String {
        format!("00-{:032x}-{:016x}-01", self.trace, self.span)
    }
}

/// Whom a step works for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A part of the node's own work.
    Internal,
    /// A request of somebody else.
    Server,
}

/// A step that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// What was done.
    pub name: Cow<'static, str>,
    /// For whom.
    pub kind: Kind,
    /// Itself: its trace and its own number.
    pub own: Parent,
    /// The number of the step that it is a part of; `None` for the first of a trace.
    pub parent: Option<u64>,
    /// When it began: nanoseconds since 1970 UTC.
    pub began_nanos: u64,
    /// When it ended.
    pub ended_nanos: u64,
    /// What is known of it.
    pub attributes: Vec<(&'static str, String)>,
    /// Why it has failed: a code, and words.
    pub error: Option<(String, String)>,
}

/// A step that goes on; it ends when it is dropped.
#[derive(Debug)]
pub struct Step(Span);

impl Step {
    fn new(name: Cow<'static, str>, kind: Kind, trace: u128, parent: Option<u64>) -> Self {
        let own = Parent { trace, span: rand::random::<u64>().max(1) };
        let began_nanos = now();
        let (attributes, error) = (Vec::new(), None);
        Self(Span { name, kind, own, parent, began_nanos, ended_nanos: 0, attributes, error })
    }

    /// A part of another step.
    #[must_use]
    pub fn of(parent: Parent, name: impl Into<Cow<'static, str>>) -> Self {
        Self::new(name.into(), Kind::Internal, parent.trace, Some(parent.span))
    }

    /// What its parts name, here and on other nodes.
    #[must_use]
    pub fn parent(&self) -> Parent {
        self.0.own
    }

    /// It has begun before.
    pub fn began(&mut self, nanos: u64) {
        self.0.began_nanos = nanos;
    }

    /// Says what is known of it.
    pub fn tell(&mut self, attribute: &'static str, value: impl Into<String>) {
        self.0.attributes.push((attribute, value.into()));
    }

    /// It has failed.
    pub fn fail(&mut self, code: &str, words: &str) {
        self.0.error = Some((code.to_owned(), words.to_owned()));
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        let span = &mut self.0;
        // Zero: it ends now.
        let ended_nanos = if span.ended_nanos == 0 { now() } else { span.ended_nanos };
        keep(Span {
            name: std::mem::take(&mut span.name),
            attributes: std::mem::take(&mut span.attributes),
            error: span.error.take(),
            ended_nanos: ended_nanos.max(span.began_nanos),
            ..*span
        });
    }
}

/// From now on one request out of `every` is traced, and those whose client wants it.
pub fn enable(every: u32) {
    EVERY.store(every.max(1), Ordering::Relaxed);
}

/// Whether anything is kept.
#[must_use]
pub fn is_on() -> bool {
    EVERY.load(Ordering::Relaxed) > 0
}

/// Begins the first step of a request, where it is to be traced: as its client says, else one out of so many.
#[must_use]
pub fn begin(name: impl Into<Cow<'static, str>>, told: Option<Told>) -> Option<Step> {
    let every = EVERY.load(Ordering::Relaxed);
    if every == 0 {
        return None;
    }
    let (trace, parent) = match told {
        Some(Told::NotRecorded) => return None,
        Some(Told::Recorded(parent)) => (parent.trace, Some(parent.span)),
        None if SEEN.fetch_add(1, Ordering::Relaxed).is_multiple_of(u64::from(every)) => {
            (rand::random::<u128>().max(1), None)
        }
        None => return None,
    };
    Some(Step::new(name.into(), Kind::Server, trace, parent))
}

/// A step that is over already.
pub fn over(parent: Parent, name: &'static str, began_nanos: u64, ended_nanos: u64) {
    let mut step = Step::of(parent, name);
    (step.0.began_nanos, step.0.ended_nanos) = (began_nanos, ended_nanos.max(1));
}

/// Nanoseconds since 1970 UTC.
#[must_use]
pub fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)
}

/// What has ended since the last call, and how many found no place.
#[must_use]
pub fn take() -> (Vec<Span>, u64) {
    (std::mem::take(&mut *lock(&WAITING)), LOST.swap(0, Ordering::Relaxed))
}

fn keep(span: Span) {
    if !is_on() {
        return;
    }
    let mut waiting = lock(&WAITING);
    if waiting.len() < WAITING_MAX {
        waiting.push(span);
    } else {
        LOST.fetch_add(1, Ordering::Relaxed);
    }
}

/// Entries of the log that belong to a trace, by the name of their proposal; the oldest are forgotten first.
#[derive(Default)]
struct Entries {
    known: HashMap<(u64, u64), Entry>,
    order: VecDeque<(u64, u64)>,
}

/// An entry of the log that belongs to a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The step that has proposed it.
    pub parent: Parent,
    /// When another member has sent it here: nanoseconds since 1970 UTC.
    pub received_nanos: Option<u64>,
}

/// The entry whose proposal is called so belongs to a trace.
pub fn note_entry(name: (u64, u64), entry: Entry) {
    if !is_on() {
        return;
    }
    let mut entries = lock(LazyLock::force(&ENTRIES));
    if entries.known.insert(name, entry).is_none() {
        entries.order.push_back(name);
    }
    while entries.order.len() > ENTRIES_MAX {
        if let Some(oldest) = entries.order.pop_front() {
            entries.known.remove(&oldest);
        }
    }
    HAS_ENTRIES.store(true, Ordering::Release);
}

/// What is known of the entry whose proposal is called so.
#[must_use]
pub fn entry(name: (u64, u64)) -> Option<Entry> {
    if !HAS_ENTRIES.load(Ordering::Acquire) {
        return None;
    }
    lock(LazyLock::force(&ENTRIES)).known.get(&name).copied()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parents_are_read() {
        let text = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let Some(Told::Recorded(parent)) = Told::read(text) else { panic!("{text}") };
        assert_eq!(parent.header(), text);
        assert_eq!(Told::read(&text.replace("-01", "-00")), Some(Told::NotRecorded));
        assert_eq!(Told::read(&format!("{}-what-comes", text.replacen("00", "42", 1))), Told::read(text));
        for wrong in [
            "",
            "00",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-+af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ] {
            assert_eq!(Told::read(wrong), None, "{wrong}");
        }
    }

    /// One test: the queue is the process's.
    #[test]
    fn steps_wait_until_they_are_fetched() {
        drop(Step::of(Parent { trace: 1, span: 1 }, "nobody asked"));
        assert!(begin("nobody asked", None).is_none() && take().0.is_empty());
        enable(2);
        let mut first = begin("first", None).unwrap();
        assert!(begin("second", None).is_none());
        first.tell("key", "value");
        first.fail("42601", "syntax error");
        let parent = first.parent();
        over(parent, "part", 5, 7);
        drop(first);
        let (spans, lost) = take();
        let [part, first] = spans.as_slice() else { panic!("{spans:?}") };
        assert_eq!((part.parent, part.own.trace), (Some(parent.span), parent.trace));
        assert_eq!((part.began_nanos, part.ended_nanos, lost), (5, 7, 0));
        assert_eq!((first.own, first.parent, first.kind), (parent, None, Kind::Server));
        assert!(first.began_nanos > 0 && first.ended_nanos >= first.began_nanos);
        assert_eq!(first.error, Some(("42601".to_owned(), "syntax error".to_owned())));

        assert_eq!(begin("theirs", Some(Told::Recorded(parent))).unwrap().parent().trace, parent.trace);
        assert!(begin("not theirs", Some(Told::NotRecorded)).is_none());

        assert_eq!(entry((7, 0)), None);
        let known = Entry { parent, received_nanos: None };
        for number in 0..ENTRIES_MAX as u64 + 3 {
            note_entry((7, number), known);
        }
        assert_eq!((entry((7, 2)), entry((7, 3))), (None, Some(known)));

        drop(take());
        for _ in 0..WAITING_MAX + 3 {
            over(parent, "many", 1, 1);
        }
        let (spans, lost) = take();
        assert_eq!((spans.len(), lost), (WAITING_MAX, 3));
    }
}
