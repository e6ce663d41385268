//! Which series of a database have which labels.
//!
//! Names and labels stand here themselves, so that a query needs no series in memory to know which it is about. Every
//! change of a key passes by here ([`crate::Writer`]); checkpoints write it with the state.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use crate::object::{Label, Value};

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct LabelIndex {
    series: BTreeMap<Bytes, Indexed>,
    by_label: BTreeMap<Label, BTreeSet<Bytes>>,
}

/// What is known of a series.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Indexed {
    /// In the order given.
    pub labels: Vec<Label>,
    /// When its key ends: milliseconds since 1970 UTC.
    pub expire_at: Option<i64>,
}

/// What a query asks of a label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Matcher {
    /// `label=value`, `label=(a,b)`: it has one of the values.
    Is(Bytes, Vec<Bytes>),
    /// `label!=value`, `label!=(a,b)`: it has none of the values.
    IsNot(Bytes, Vec<Bytes>),
    /// `label!=`: the label is there.
    Has(Bytes),
    /// `label=`: the label is not there.
    HasNot(Bytes),
}

impl Matcher {
    fn matches(&self, labels: &[Label]) -> bool {
        let value = |name: &Bytes| labels.iter().find(|(label, _)| label == name).map(|(_, value)| value);
        match self {
            Matcher::Is(name, values) => value(name).is_some_and(|value| values.contains(value)),
            Matcher::IsNot(name, values) => value(name).is_none_or(|value| !values.contains(value)),
            Matcher::Has(name) => value(name).is_some(),
            Matcher::HasNot(name) => value(name).is_none(),
        }
    }
}

impl LabelIndex {
    /// All series, by key.
    pub fn iter(&self) -> impl Iterator<Item = (&Bytes, &Indexed)> {
        self.series.iter()
    }

    /// How many series there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.series.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.series.is_empty()
    }

    /// The series that all matchers match, with their labels, by key. One whose time is over at `now` is none.
    #[must_use]
    pub fn query(&self, matchers: &[Matcher], now: i64) -> Vec<(&Bytes, &[Label])> {
        let sets = |name: &Bytes, values: &[Bytes]| -> Vec<&BTreeSet<Bytes>> {
            values.iter().filter_map(|value| self.by_label.get(&(name.clone(), value.clone()))).collect()
        };
        let candidates = matchers.iter().filter_map(|matcher| match matcher {
            Matcher::Is(name, values) => Some(sets(name, values)),
            _ => None,
        });
        let fewest = candidates.min_by_key(|sets| sets.iter().map(|set| set.len()).sum::<usize>());
        let found = |series: &Indexed| {
            series.expire_at.is_none_or(|at| at > now) && matchers.iter().all(|one| one.matches(&series.labels))
        };
        match fewest {
            Some(sets) => {
                let keys: BTreeSet<&Bytes> = sets.into_iter().flatten().collect();
                let series = keys.into_iter().filter_map(|key| self.series.get_key_value(key));
                series.filter(|(_, series)| found(series)).map(|(key, series)| (key, &*series.labels)).collect()
            }
            None => {
                self.iter().filter(|(_, series)| found(series)).map(|(key, series)| (key, &*series.labels)).collect()
            }
        }
    }

    /// Takes note of what a key holds now.
    pub(crate) fn note(&mut self, key: &[u8], value: Option<&Value>, expire_at: Option<i64>) {
        let Some(Value::Series(series)) = value else { return self.forget(key) };
        match self.series.get_mut(key) {
            Some(known) if known.labels == series.options.labels => known.expire_at = expire_at,
            _ => {
                self.forget(key);
                let indexed = Indexed { labels: series.options.labels.clone(), expire_at };
                self.put(Bytes::copy_from_slice(key), indexed);
            }
        }
    }

    /// Takes note of a key's end.
    pub(crate) fn set_expire(&mut self, key: &[u8], expire_at: Option<i64>) {
        if let Some(known) = self.series.get_mut(key) {
            known.expire_at = expire_at;
        }
    }

    /// Adds a series that is not there.
    pub(crate) fn put(&mut self, key: Bytes, series: Indexed) {
        for label in &series.labels {
            self.by_label.entry(label.clone()).or_default().insert(key.clone());
        }
        self.series.insert(key, series);
    }

    fn forget(&mut self, key: &[u8]) {
        for label in self.series.remove(key).unwrap_or_default().labels {
            if let Some(keys) = self.by_label.get_mut(&label) {
                keys.remove(key);
                if keys.is_empty() {
                    self.by_label.remove(&label);
                }
            }
        }
    }
}
