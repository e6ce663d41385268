//! Histories of transactions over lists, and whether they are strictly serializable.
//!
//! Every transaction appends values, each of them once in the whole history, to lists, and reads lists whole. So a read tells which
//! append came before which, and what a transaction saw:
//!
//! ```text
//! wr  what was read had been appended            ww  a value stands before another in a list
//! rw  what was not read was appended behind it   rt  it had ended before the other began
//! ```
//!
//! An order of all transactions that explains the history exists if and only if these edges have no circle (Adya; the same idea as
//! Elle's). For transactions of one step that is linearizability of each list.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::sync::Mutex;
use std::time::Instant;

/// A step of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A value was put behind a list.
    Append {
        /// Which list.
        key: u64,
        /// The value, of this step alone.
        value: u64,
        /// How long the list was then, if it was told.
        length: Option<usize>,
    },
    /// A list was read.
    Read {
        /// Which list.
        key: u64,
        /// What was in it.
        found: Vec<u64>,
    },
}

/// How a transaction has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It was acknowledged.
    Done,
    /// It was refused: nothing of it may be seen, ever.
    Refused,
    /// Nobody said.
    Unknown,
}

/// What a client did, and was told.
#[derive(Clone, Debug)]
pub struct Transaction {
    /// Who did it, for messages.
    pub who: String,
    /// When it began, in nanoseconds of the history's clock.
    pub began: u64,
    /// When the client knew its end.
    pub ended: u64,
    /// What it did.
    pub steps: Vec<Step>,
    /// How it has ended.
    pub end: End,
}

impl fmt::Display for Transaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = |nanos: u64| nanos as f64 / 1e6;
        write!(f, "{} [{:.3} ms, {:.3} ms] {:?}", self.who, millis(self.began), millis(self.ended), self.end)?;
        for step in &self.steps {
            match step {
                Step::Append { key, value, length } => {
                    write!(f, ", append {value} to {key}")?;
                    length.map_or(Ok(()), |length| write!(f, " (as number {length})"))?;
                }
                Step::Read { key, found } => {
                    write!(f, ", read {key}: {} values", found.len())?;
                    found.last().map_or(Ok(()), |last| write!(f, ", the last {last}"))?;
                }
            }
        }
        Ok(())
    }
}

/// Collects transactions of many clients.
pub struct History {
    clock: Instant,
    transactions: Mutex<Vec<Transaction>>,
}

impl Default for History {
    fn default() -> Self {
        Self { clock: Instant::now(), transactions: Mutex::default() }
    }
}

impl History {
    /// The time, in nanoseconds.
    #[must_use]
    pub fn now(&self) -> u64 {
        u64::try_from(self.clock.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// A transaction that began at `began` has ended now.
    pub fn add(&self, who: String, began: u64, steps: Vec<Step>, end: End) {
        let ended = self.now();
        self.lock().push(Transaction { who, began, ended, steps, end });
    }

    /// How many have ended so.
    #[must_use]
    pub fn count(&self, end: End) -> usize {
        self.lock().iter().filter(|one| one.end == end).count()
    }

    /// The lists that were appended to.
    #[must_use]
    pub fn keys(&self) -> BTreeSet<u64> {
        let appended = |step: &Step| match step {
            Step::Append { key, .. } => Some(*key),
            Step::Read { .. } => None,
        };
        self.lock().iter().flat_map(|one| &one.steps).filter_map(appended).collect()
    }

    /// Whether all that clients were told is possible. Every list has to be read whole once all else has ended: what is acknowledged
    /// and not found then is lost.
    ///
    /// # Errors
    /// What is impossible, a line each.
    pub fn check(&self) -> Result<(), Vec<String>> {
        check(&self.lock())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Transaction>> {
        self.transactions.lock().unwrap_or_else(|e| e.into_inner())
    }
}

/// See [`History::check`].
///
/// # Errors
/// What is impossible, a line each.
pub fn check(history: &[Transaction]) -> Result<(), Vec<String>> {
    let mut wrong = Vec::new();
    let appends = appends(history, &mut wrong);
    let orders = orders(history, &appends, &mut wrong);
    lengths(history, &orders, &mut wrong);
    if wrong.is_empty() {
        wrong.extend(circle(history, &appends, &orders));
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong) }
}

/// Which transaction has appended a value to a list.
type Appends = BTreeMap<(u64, u64), usize>;
/// The values of each list, in their order.
type Orders<'a> = BTreeMap<u64, &'a [u64]>;

fn appends(history: &[Transaction], wrong: &mut Vec<String>) -> Appends {
    let mut appends = Appends::new();
    for (number, one) in history.iter().enumerate() {
        for step in &one.steps {
            if let Step::Append { key, value, .. } = step
                && appends.insert((*key, *value), number).is_some()
            {
                wrong.push(format!("the history is of no use: {value} was appended to {key} twice"));
            }
        }
    }
    appends
}

/// What clients have read, when they were told that it stands.
fn reads(history: &[Transaction]) -> impl Iterator<Item = (usize, u64, &[u64])> {
    history.iter().enumerate().filter(|(_, one)| one.end == End::Done).flat_map(|(number, one)| {
        one.steps.iter().filter_map(move |step| match step {
            Step::Read { key, found } => Some((number, *key, &found[..])),
            Step::Append { .. } => None,
        })
    })
}

fn orders<'a>(history: &'a [Transaction], appends: &Appends, wrong: &mut Vec<String>) -> Orders<'a> {
    let mut orders = Orders::new();
    for (_, key, found) in reads(history) {
        let order = orders.entry(key).or_insert(found);
        if found.len() > order.len() {
            *order = found;
        }
    }
    for (number, key, found) in reads(history) {
        if !orders[&key].starts_with(found) {
            wrong.push(format!("{} has read another beginning of list {key} than others", history[number]));
        }
    }
    for (key, order) in &orders {
        let mut seen = BTreeSet::new();
        for value in *order {
            if !seen.insert(value) {
                wrong.push(format!("{value} stands twice in list {key}"));
            }
            match appends.get(&(*key, *value)).map(|number| &history[*number]) {
                None => wrong.push(format!("{value} in list {key} was appended by nobody")),
                Some(one) if one.end == End::Refused => {
                    wrong.push(format!("{one} was refused, and {value} is in list {key}"));
                }
                Some(_) => {}
            }
        }
    }
    orders
}

fn lengths(history: &[Transaction], orders: &Orders<'_>, wrong: &mut Vec<String>) {
    for one in history.iter().filter(|one| one.end == End::Done) {
        for step in &one.steps {
            let Step::Append { key, value, length: Some(length) } = step else { continue };
            let stands = orders.get(key).and_then(|order| order.iter().position(|other| other == value));
            if stands.is_some_and(|at| at + 1 != *length) {
                wrong.push(format!("{one}: {value} is number {} of list {key}", stands.map_or(0, |at| at + 1)));
            }
        }
    }
}

/// Edges between transactions, and points in time (numbered behind them) that stand between those that have ended and those that
/// began later.
struct Graph {
    after: Vec<BTreeMap<usize, &'static str>>,
}

impl Graph {
    fn edge(&mut self, from: usize, to: usize, why: &'static str) {
        if from != to {
            self.after[from].entry(to).or_insert(why);
        }
    }

    fn new(history: &[Transaction], appends: &Appends, orders: &Orders<'_>) -> Self {
        let mut graph = Self { after: vec![BTreeMap::new(); history.len() * 2] };
        for (key, order) in orders {
            let writers: Vec<usize> = order.iter().filter_map(|value| appends.get(&(*key, *value)).copied()).collect();
            for pair in writers.windows(2) {
                graph.edge(pair[0], pair[1], "ww");
            }
        }
        // What was acknowledged and never read comes behind all that was read.
        let mut unread: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
        for ((key, value), number) in appends {
            let read = orders.get(key).is_some_and(|order| order.contains(value));
            if !read && history[*number].end == End::Done {
                unread.entry(*key).or_default().push(*number);
            }
        }
        for (number, key, found) in reads(history) {
            let order = orders[&key];
            let writer = |at: usize| order.get(at).and_then(|value| appends.get(&(key, *value))).copied();
            if let Some(writer) = found.len().checked_sub(1).and_then(writer) {
                graph.edge(writer, number, "wr");
            }
            match writer(found.len()) {
                Some(writer) => graph.edge(number, writer, "rw"),
                None => unread.get(&key).into_iter().flatten().for_each(|writer| graph.edge(number, *writer, "rw")),
            }
        }
        graph.real_time(history);
        graph
    }

    /// One point for each end: behind what has ended there and behind the point before it; before what began later.
    fn real_time(&mut self, history: &[Transaction]) {
        let mut moments: Vec<(u64, bool, usize)> = Vec::new();
        for (number, one) in history.iter().enumerate() {
            moments.push((one.began, false, number));
            if one.end == End::Done {
                moments.push((one.ended, true, number));
            }
        }
        moments.sort_unstable();
        let mut last = None;
        for (_, ends, number) in moments {
            if ends {
                let point = history.len() + number;
                self.edge(number, point, "rt");
                last.into_iter().for_each(|last| self.edge(last, point, "rt"));
                last = Some(point);
            } else if let Some(last) = last {
                self.edge(last, number, "rt");
            }
        }
    }

    /// Nodes that are part of a circle, or behind one.
    fn stuck(&self) -> BTreeSet<usize> {
        let mut before = vec![0_usize; self.after.len()];
        for to in self.after.iter().flat_map(BTreeMap::keys) {
            before[*to] += 1;
        }
        let mut free: Vec<usize> = (0..before.len()).filter(|node| before[*node] == 0).collect();
        let mut stuck: BTreeSet<usize> = (0..before.len()).collect();
        while let Some(node) = free.pop() {
            stuck.remove(&node);
            for to in self.after[node].keys() {
                before[*to] -= 1;
                if before[*to] == 0 {
                    free.push(*to);
                }
            }
        }
        stuck
    }

    /// The shortest circle through a node.
    fn circle_through(&self, start: usize, among: &BTreeSet<usize>) -> Option<Vec<usize>> {
        let mut from: BTreeMap<usize, usize> = BTreeMap::new();
        let mut next = VecDeque::from([start]);
        while let Some(node) = next.pop_front() {
            for to in self.after[node].keys().filter(|to| among.contains(to)) {
                if *to == start {
                    let mut path = vec![node];
                    while let Some(before) = path.last().filter(|last| **last != start).and_then(|last| from.get(last))
                    {
                        path.push(*before);
                    }
                    path.reverse();
                    return Some(path);
                }
                if let std::collections::btree_map::Entry::Vacant(entry) = from.entry(*to) {
                    entry.insert(node);
                    next.push_back(*to);
                }
            }
        }
        None
    }
}

/// A short circle, in words, if there is one.
fn circle(history: &[Transaction], appends: &Appends, orders: &Orders<'_>) -> Option<String> {
    let graph = Graph::new(history, appends, orders);
    let stuck = graph.stuck();
    let looked_at = stuck.iter().filter(|node| **node < history.len()).take(200);
    let shortest = looked_at.filter_map(|node| graph.circle_through(*node, &stuck)).min_by_key(Vec::len)?;
    let mut text = "no order explains this:".to_owned();
    for (at, node) in shortest.iter().enumerate() {
        let why = graph.after[*node].get(&shortest[(at + 1) % shortest.len()]).copied().unwrap_or_default();
        // A point in time is none.
        if let Some(one) = history.get(*node) {
            text.push_str(&format!("\n  {one}\n    {why}, before"));
        }
    }
    text.push_str(" the first again");
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn append(key: u64, value: u64) -> Step {
        Step::Append { key, value, length: None }
    }

    fn read(key: u64, found: &[u64]) -> Step {
        Step::Read { key, found: found.to_vec() }
    }

    fn done(began: u64, ended: u64, steps: Vec<Step>) -> Transaction {
        Transaction { who: "c".to_owned(), began, ended, steps, end: End::Done }
    }

    fn ending(end: End, one: Transaction) -> Transaction {
        Transaction { end, ..one }
    }

    fn wrong(history: &[Transaction]) -> String {
        check(history).expect_err("it is impossible").join("\n")
    }

    #[test]
    fn what_is_possible_passes() {
        let history = [
            done(0, 10, vec![append(1, 1)]),
            // At once with the next two: any order.
            done(20, 60, vec![append(1, 2)]),
            done(30, 40, vec![read(1, &[1])]),
            done(45, 50, vec![read(1, &[1, 2]), append(2, 3)]),
            // Nobody knows, and it took effect; nobody knows, and it did not.
            ending(End::Unknown, done(5, 6, vec![append(2, 4)])),
            ending(End::Unknown, done(5, 6, vec![append(2, 5)])),
            ending(End::Refused, done(5, 6, vec![append(2, 6)])),
            done(70, 80, vec![read(1, &[1, 2])]),
            done(70, 80, vec![read(2, &[3, 4])]),
        ];
        assert_eq!(check(&history), Ok(()));
    }

    #[test]
    fn a_lost_write_is_found() {
        let history =
            [done(0, 10, vec![append(1, 1)]), done(0, 10, vec![append(1, 2)]), done(20, 30, vec![read(1, &[2])])];
        assert!(wrong(&history).contains("append 1 to 1"));
        let history = [done(0, 10, vec![append(1, 1)]), done(20, 30, vec![read(1, &[])])];
        assert!(wrong(&history).contains("append 1 to 1"));
    }

    #[test]
    fn a_doubled_write_is_found() {
        let history = [done(0, 10, vec![append(1, 1)]), done(20, 30, vec![read(1, &[1, 1])])];
        assert!(wrong(&history).contains("1 stands twice in list 1"));
    }

    #[test]
    fn a_refused_write_that_took_effect_is_found() {
        let history = [ending(End::Refused, done(0, 10, vec![append(1, 1)])), done(20, 30, vec![read(1, &[1])])];
        assert!(wrong(&history).contains("was refused"));
        assert!(wrong(&[done(20, 30, vec![read(1, &[9])])]).contains("appended by nobody"));
    }

    #[test]
    fn a_stale_read_is_found() {
        let history = [
            done(0, 10, vec![append(1, 1)]),
            done(20, 30, vec![append(1, 2)]),
            done(40, 50, vec![read(1, &[1])]),
            done(60, 70, vec![read(1, &[1, 2])]),
        ];
        assert!(wrong(&history).contains("append 2 to 1"));
        // Two that read one behind the other, and time runs back for them.
        let history = [
            ending(End::Unknown, done(0, 10, vec![append(1, 1)])),
            done(20, 30, vec![read(1, &[1])]),
            done(40, 50, vec![read(1, &[])]),
        ];
        assert!(wrong(&history).contains("no order explains this"));
    }

    #[test]
    fn lists_that_differ_are_found() {
        let history = [
            done(0, 10, vec![append(1, 1)]),
            done(0, 10, vec![append(1, 2)]),
            done(20, 30, vec![read(1, &[1, 2])]),
            done(20, 30, vec![read(1, &[2])]),
        ];
        assert!(wrong(&history).contains("another beginning"));
        let mut counted = [done(0, 10, vec![append(1, 1)]), done(20, 30, vec![read(1, &[1])])];
        counted[0].steps = vec![Step::Append { key: 1, value: 1, length: Some(2) }];
        assert!(wrong(&counted).contains("is number 1"));
    }

    #[test]
    fn a_transaction_seen_in_half_is_found() {
        let history = [
            done(0, 100, vec![append(1, 1), append(2, 2)]),
            done(0, 100, vec![read(1, &[1]), read(2, &[])]),
            done(200, 210, vec![read(1, &[1]), read(2, &[2])]),
        ];
        assert!(wrong(&history).contains("no order explains this"));
        // What a transaction had before its end.
        let history = [
            done(0, 100, vec![append(1, 1), append(1, 2)]),
            done(0, 100, vec![read(1, &[1])]),
            done(200, 210, vec![read(1, &[1, 2])]),
        ];
        assert!(wrong(&history).contains("no order explains this"));
    }

    #[test]
    fn write_skew_is_found() {
        let history = [
            done(0, 100, vec![read(1, &[]), append(2, 2)]),
            done(0, 100, vec![read(2, &[]), append(1, 1)]),
            done(200, 210, vec![read(1, &[1]), read(2, &[2])]),
        ];
        assert!(wrong(&history).contains("rw"));
    }
}
