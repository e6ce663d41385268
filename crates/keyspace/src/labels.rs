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
    series: BTreeMap<Bytes, Vec<Label>>,
    by_label: BTreeMap<Label, BTreeSet<Bytes>>,
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
    /// All series with their labels, by key.
    pub fn iter(&self) -> impl Iterator<Item = (&Bytes, &[Label])> {
        self.series.iter().map(|(key, labels)| (key, &**labels))
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

    /// The series that all matchers match, with their labels, by key.
    #[must_use]
    pub fn query(&self, matchers: &[Matcher]) -> Vec<(&Bytes, &[Label])> {
        let sets = |name: &Bytes, values: &[Bytes]| -> Vec<&BTreeSet<Bytes>> {
            values.iter().filter_map(|value| self.by_label.get(&(name.clone(), value.clone()))).collect()
        };
        let candidates = matchers.iter().filter_map(|matcher| match matcher {
            Matcher::Is(name, values) => Some(sets(name, values)),
            _ => None,
        });
        let fewest = candidates.min_by_key(|sets| sets.iter().map(|set| set.len()).sum::<usize>());
        let found = |labels: &[Label]| matchers.iter().all(|matcher| matcher.matches(labels));
        match fewest {
            Some(sets) => {
                let keys: BTreeSet<&Bytes> = sets.into_iter().flatten().collect();
                let series = keys.into_iter().filter_map(|key| self.series.get_key_value(key));
                series.map(|(key, labels)| (key, &**labels)).filter(|(_, labels)| found(labels)).collect()
            }
            None => self.iter().filter(|(_, labels)| found(labels)).collect(),
        }
    }

    /// Takes note of what a key holds now.
    pub(crate) fn note(&mut self, key: &[u8], value: Option<&Value>) {
        match value {
            Some(Value::Series(series)) => {
                if self.series.get(key) != Some(&series.options.labels) {
                    self.forget(key);
                    self.put(Bytes::copy_from_slice(key), series.options.labels.clone());
                }
            }
            _ => self.forget(key),
        }
    }

    /// Adds a series that is not there.
    pub(crate) fn put(&mut self, key: Bytes, labels: Vec<Label>) {
        for label in &labels {
            self.by_label.entry(label.clone()).or_default().insert(key.clone());
        }
        self.series.insert(key, labels);
    }

    fn forget(&mut self, key: &[u8]) {
        for label in self.series.remove(key).unwrap_or_default() {
            if let Some(keys) = self.by_label.get_mut(&label) {
                keys.remove(key);
                if keys.is_empty() {
                    self.by_label.remove(&label);
                }
            }
        }
    }
}
