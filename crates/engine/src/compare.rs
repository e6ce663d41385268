//! Whether the nodes of a cluster hold the same tables and keys at one entry of the log.
//!
//! ```text
//!   leader                              each member
//!   arm(behind)           ---->         takes hold of its state at the first attestation behind that entry
//!   attests (an entry)    --log-->      ... which is this one, unless another came first: then all begin anew
//!   sums                  ---->         reads what it holds, which takes as long as it takes, while it goes on
//! ```
//!
//! Attestations alone compare the log and what became of its entries. What is compared here is what is in tables and keys.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use perigee_keyspace::scan::Scan;
use perigee_keyspace::{IDEMPOTENCY_DB, Keyspace};
use perigee_storage::store::{Applier, ContentSum, HeldStore};
use perigee_types::LogIndex;
use tokio::sync::oneshot;

/// How long a state is held that nobody asks for.
const HELD: Duration = Duration::from_secs(120);

/// What one node holds at one entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StateSums {
    /// The entry.
    pub index: LogIndex,
    /// Every table, database of keys and so on by its name, in the same order on all nodes.
    pub parts: Vec<(String, ContentSum)>,
}

/// A state that is to be read.
struct Held {
    index: LogIndex,
    store: HeldStore,
    keys: Vec<Scan>,
    beside: Vec<(&'static str, ContentSum)>,
}

/// What this node was told to take hold of.
struct Armed {
    number: u64,
    behind: LogIndex,
    hold: Option<oneshot::Sender<Held>>,
    held: Option<oneshot::Receiver<Held>>,
}

/// Takes hold of this node's state where it is told to. One state at a time: who asks last is the one who gets it.
#[derive(Default)]
pub struct StateHolder {
    keyspace: Option<Arc<Keyspace>>,
    armed: Mutex<Option<Armed>>,
}

impl StateHolder {
    /// For a node with these keys.
    #[must_use]
    pub fn new(keyspace: Option<Arc<Keyspace>>) -> Arc<Self> {
        Arc::new(Self { keyspace, armed: Mutex::default() })
    }

    /// Takes hold of the state at the first attestation that stands behind an entry. On a tokio runtime.
    pub fn arm(self: &Arc<Self>, behind: LogIndex) {
        let (hold, held) = oneshot::channel();
        let number = {
            let mut armed = self.armed.lock();
            let number = armed.as_ref().map_or(0, |armed| armed.number) + 1;
            *armed = Some(Armed { number, behind, hold: Some(hold), held: Some(held) });
            number
        };
        let holder = Arc::clone(self);
        tokio::spawn(async move {
            tokio::time::sleep(HELD).await;
            let mut armed = holder.armed.lock();
            // Held versions cost memory.
            if let Some(armed) = armed.as_mut().filter(|armed| armed.number == number) {
                (armed.hold, armed.held) = (None, None);
            }
        });
    }

    /// An attestation is applied, and nothing behind it.
    pub(crate) fn attested(&self, index: LogIndex, applier: &mut Applier) {
        let hold = {
            let mut armed = self.armed.lock();
            armed.as_mut().filter(|armed| index > armed.behind).and_then(|armed| armed.hold.take())
        };
        if let Some(hold) = hold {
            // A snapshot shows what is published.
            applier.publish();
            let keys = self.keyspace.as_ref().map_or_else(Vec::new, |keyspace| keyspace.hold());
            // Who asked may have gone.
            let beside = self.keyspace.as_ref().map_or_else(Vec::new, |keyspace| keyspace.sums_beside());
            drop(hold.send(Held { index, store: applier.store().hold(), keys, beside }));
        }
    }

    /// Reads the state that this node was told to take hold of, once it has come so far.
    ///
    /// # Errors
    /// In words: it was not told to, does not come so far in time, or cannot read.
    pub async fn sums(&self) -> Result<StateSums, String> {
        let held = self.armed.lock().as_mut().and_then(|armed| armed.held.take());
        let held = held.ok_or("nobody has asked this node to take hold of its state")?;
        let held = tokio::time::timeout(HELD, held).await;
        let held = held.ok().and_then(Result::ok).ok_or("this node has not come so far in time")?;
        tokio::task::spawn_blocking(|| read(held)).await.map_err(|error| error.to_string())?
    }
}

fn read(held: Held) -> Result<StateSums, String> {
    let Held { index, store, keys, beside } = held;
    let mut parts = vec![("catalog".to_owned(), store.catalog_sum()), ("sequences".to_owned(), store.sequences_sum())];
    for (schema, table) in store.tables() {
        let name = format!("table {schema}.{}", table.name);
        let sum = store.table_sum(table).map_err(|error| format!("{name}: {error}"))?;
        parts.push((name, sum));
    }
    for keys in keys {
        let name = name_of(&keys);
        let sum = keys.sum().map_err(|error| format!("{name}: {error}"))?;
        if sum.count > 0 {
            parts.push((name, sum));
        }
    }
    let there = beside.into_iter().filter(|(_, sum)| sum.count > 0);
    parts.extend(there.map(|(name, sum)| (name.to_owned(), sum)));
    Ok(StateSums { index, parts })
}

/// What the database of a scan is called.
pub(crate) fn name_of(keys: &Scan) -> String {
    let db = keys.db();
    match db.number {
        IDEMPOTENCY_DB => format!("idempotency keys of tenant {}", db.tenant),
        number => format!("keys of database {number} of tenant {}", db.tenant),
    }
}

/// What is said of a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberState {
    /// Its name.
    pub name: String,
    /// Why nothing is known of it; empty where something is.
    pub error: String,
    /// What differs from what most have, in words.
    pub differs: Vec<String>,
}

/// Members, and which of them differ.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Comparison {
    /// The entry that they were compared at.
    pub index: LogIndex,
    /// What all of those hold that agree: its parts.
    pub parts: u64,
    /// Whether more than half of those that were asked agree; else it is not known who is right.
    pub majority: bool,
    /// All that were asked.
    pub members: Vec<MemberState>,
}

/// Compares what members have given, all at the same entry. The first is right where it is one against one.
#[must_use]
pub fn compare(asked: Vec<(String, Result<StateSums, String>)>) -> Comparison {
    let given: Vec<&StateSums> = asked.iter().filter_map(|(_, sums)| sums.as_ref().ok()).collect();
    let alike = |sums: &StateSums| given.iter().filter(|other| other.parts == sums.parts).count();
    // The first of the largest group.
    let right = given.iter().rev().max_by_key(|sums| alike(sums)).map(|sums| (*sums).clone());
    let Some(right) = right else {
        let members = asked.into_iter().map(|(name, sums)| MemberState {
            name,
            error: sums.err().unwrap_or_default(),
            differs: Vec::new(),
        });
        return Comparison { members: members.collect(), ..Comparison::default() };
    };
    let (index, parts, majority) = (right.index, right.parts.len() as u64, alike(&right) * 2 > asked.len());
    let members = asked.into_iter().map(|(name, sums)| match sums {
        Ok(sums) => MemberState { name, error: String::new(), differs: differences(&sums, &right) },
        Err(error) => MemberState { name, error, differs: Vec::new() },
    });
    Comparison { index, parts, majority, members: members.collect() }
}

fn differences(sums: &StateSums, right: &StateSums) -> Vec<String> {
    let find = |sums: &StateSums, name: &str| sums.parts.iter().find(|part| part.0 == *name).map(|part| part.1);
    let mut differs = Vec::new();
    for (name, wanted) in &right.parts {
        match find(sums, name) {
            Some(found) if found == *wanted => {}
            Some(found) if found.count == wanted.count => {
                differs.push(format!("{name}: as many as others have ({}), and not the same", found.count));
            }
            Some(found) => differs.push(format!("{name}: {}, others have {}", found.count, wanted.count)),
            None => differs.push(format!("{name}: not there, others have {}", wanted.count)),
        }
    }
    let more = sums.parts.iter().filter(|part| find(right, &part.0).is_none());
    differs.extend(more.map(|(name, found)| format!("{name}: {}, others have none", found.count)));
    differs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sums(parts: &[(&str, u64, u128)]) -> Result<StateSums, String> {
        let part =
            |(name, count, sum): &(&str, u64, u128)| ((*name).to_owned(), ContentSum { count: *count, sum: *sum });
        Ok(StateSums { index: LogIndex(7), parts: parts.iter().map(part).collect() })
    }

    fn check(asked: &[Result<StateSums, String>], majority: bool, expected: &[&str]) {
        let named = (1..).zip(asked).map(|(number, sums)| (format!("n{number}"), sums.clone()));
        let compared = compare(named.collect());
        let said = compared.members.iter().map(|member| [member.error.clone(), member.differs.join("; ")].concat());
        assert_eq!(
            (compared.majority, said.collect::<Vec<_>>()),
            (majority, expected.iter().map(|s| (*s).to_owned()).collect())
        );
    }

    #[test]
    fn who_differs_is_found() {
        let good = || sums(&[("a", 2, 1), ("b", 3, 5)]);
        check(&[good(), good(), good()], true, &["", "", ""]);
        let other = sums(&[("a", 2, 9), ("c", 1, 5)]);
        let said =
            "a: as many as others have (2), and not the same; b: not there, others have 3; c: 1, others have none";
        check(&[other.clone(), good(), good()], true, &[said, "", ""]);
        check(&[good(), sums(&[("a", 2, 1), ("b", 4, 6)]), good()], true, &["", "b: 4, others have 3", ""]);
        check(&[good(), Err("away".to_owned()), good()], true, &["", "away", ""]);
        // One against one: the first, which leads, is what others are compared with, and nobody knows.
        check(
            &[good(), other, Err("away".to_owned())],
            false,
            &[
                "",
                "a: as many as others have (2), and not the same; b: not there, others have 3; c: 1, others have none",
                "away",
            ],
        );
        check(&[Err("x".to_owned())], false, &["x"]);
    }
}
