//! Truth values of a path: true, false, and unknown (`None`).

use std::cell::RefCell;
use std::cmp::Ordering;
use std::sync::Arc;

use perigee_types::text::jsonpath::{Binary, Chain, Pattern, Step, Unary};
use perigee_types::{SqlError, SqlResult};
use regex::Regex;
use rustc_hash::FxHashMap;

use super::super::tree::compare_numbers;
use super::item::{Item, Node};
use super::machine::{Machine, Outcome};

/// A truth value that may be unknown.
pub(super) type Truth = Option<bool>;

impl Machine<'_> {
    /// The truth value of a condition.
    pub(super) fn chain_truth(&mut self, chain: &Chain, item: &Item) -> SqlResult<Truth> {
        match chain.as_slice() {
            [step] => self.truth(step, item),
            _ => Err(SqlError::internal("boolean jsonpath item cannot have next item")),
        }
    }

    /// The truth value of a predicate.
    pub(super) fn truth(&mut self, step: &Step, item: &Item) -> SqlResult<Truth> {
        match step {
            Step::Binary(Binary::And, sides) => {
                let left = self.chain_truth(&sides.0, item)?;
                if left == Some(false) {
                    return Ok(left);
                }
                let right = self.chain_truth(&sides.1, item)?;
                Ok(if right == Some(true) { left } else { right })
            }
            Step::Binary(Binary::Or, sides) => {
                let left = self.chain_truth(&sides.0, item)?;
                if left == Some(true) {
                    return Ok(left);
                }
                let right = self.chain_truth(&sides.1, item)?;
                Ok(if right == Some(false) { left } else { right })
            }
            Step::Binary(Binary::StartsWith, sides) => {
                let starts = |_: &Self, left: &Node, right: Option<&Node>| {
                    Ok(match (left, right) {
                        (Node::String(text), Some(Node::String(start))) => Some(text.starts_with(start.as_ref())),
                        _ => None,
                    })
                };
                self.pairs(&sides.0, Some((&sides.1, false)), item, starts)
            }
            Step::Binary(op, sides) => {
                let compared = |machine: &Self, left: &Node, right: Option<&Node>| match right {
                    Some(right) => machine.compared(*op, left, right),
                    None => Ok(None),
                };
                self.pairs(&sides.0, Some((&sides.1, true)), item, compared)
            }
            Step::LikeRegex(value, pattern) => {
                let regex = compiled(pattern)?;
                self.pairs(value, None, item, |_, left, _| {
                    Ok(match left {
                        Node::String(text) => Some(regex.is_match(text)),
                        _ => None,
                    })
                })
            }
            Step::Unary(Unary::Not, condition) => Ok(self.chain_truth(condition, item)?.map(|truth| !truth)),
            Step::Unary(Unary::IsUnknown, condition) => Ok(Some(self.chain_truth(condition, item)?.is_none())),
            Step::Unary(Unary::Exists, value) => self.exists(value, item),
            _ => Err(SqlError::internal("a jsonpath value stands where a condition should")),
        }
    }

    fn exists(&mut self, value: &Chain, item: &Item) -> SqlResult<Truth> {
        if self.is_lax() {
            let outcome = self.spared(|machine| machine.run(value, item, None))?;
            return Ok(match outcome {
                Outcome::Error => None,
                outcome => Some(outcome == Outcome::Found),
            });
        }
        let mut found = Vec::new();
        let outcome = self.spared(|machine| machine.run(value, item, Some(&mut found)))?;
        Ok(if outcome == Outcome::Error { None } else { Some(!found.is_empty()) })
    }

    /// Whether `holds` for one pair of values at least. `right`: the other side, and whether its arrays are taken apart.
    fn pairs(
        &mut self,
        left: &Chain,
        right: Option<(&Chain, bool)>,
        item: &Item,
        holds: impl Fn(&Self, &Node, Option<&Node>) -> SqlResult<Truth>,
    ) -> SqlResult<Truth> {
        let (mut lefts, mut rights) = (Vec::new(), Vec::new());
        if self.spared(|machine| machine.run_elements(left, item, &mut lefts))? == Outcome::Error {
            return Ok(None);
        }
        if let Some((right, unwrap)) = right {
            let outcome = self.spared(|machine| {
                if unwrap {
                    machine.run_elements(right, item, &mut rights)
                } else {
                    machine.run(right, item, Some(&mut rights))
                }
            })?;
            if outcome == Outcome::Error {
                return Ok(None);
            }
        }
        let (mut found, mut unknown) = (false, false);
        let strict = !self.is_lax();
        for left in &lefts {
            let count = if right.is_some() { rights.len() } else { 1 };
            for at in 0..count {
                if at % 1024 == 1023 && self.view.is_some_and(|view| view.cancel.is_cancelled()) {
                    return Err(crate::exec::error::canceled());
                }
                match holds(self, left, rights.get(at).map(|right| &**right))? {
                    None if strict => return Ok(None),
                    None => unknown = true,
                    Some(true) if !strict => return Ok(Some(true)),
                    Some(true) => found = true,
                    Some(false) => {}
                }
            }
        }
        Ok(match (found, unknown) {
            (true, _) => Some(true),
            (_, true) => None,
            _ => Some(false),
        })
    }

    fn compared(&self, op: Binary, left: &Node, right: &Node) -> SqlResult<Truth> {
        let order = match (left, right) {
            (Node::Null, Node::Null) => Ordering::Equal,
            (Node::Null, _) | (_, Node::Null) => return Ok(Some(op == Binary::NotEqual)),
            (Node::Bool(a), Node::Bool(b)) => a.cmp(b),
            (Node::Number(a), Node::Number(b)) => compare_numbers(a, b),
            (Node::String(a), Node::String(b)) => a.as_bytes().cmp(b.as_bytes()),
            (Node::Time(a), Node::Time(b)) => match a.compare(b, self.zone, self.view)? {
                Some(order) => order,
                None => return Ok(None),
            },
            _ => return Ok(None),
        };
        Ok(Some(match op {
            Binary::Equal => order.is_eq(),
            Binary::NotEqual => order.is_ne(),
            Binary::Less => order.is_lt(),
            Binary::LessOrEqual => order.is_le(),
            Binary::Greater => order.is_gt(),
            _ => order.is_ge(),
        }))
    }
}

/// A pattern's regular expression; the last ones of this thread are kept.
fn compiled(pattern: &Pattern) -> SqlResult<Arc<Regex>> {
    type Key = (String, [bool; 4]);
    thread_local! {
        static KNOWN: RefCell<FxHashMap<Key, Arc<Regex>>> = RefCell::new(FxHashMap::default());
    }
    let flags = [pattern.ignore_case, pattern.dot_all, pattern.multi_line, pattern.quoted];
    let key = (pattern.text.clone(), flags);
    if let Some(known) = KNOWN.with_borrow(|known| known.get(&key).cloned()) {
        return Ok(known);
    }
    let regex = Arc::new(pattern.regex()?);
    KNOWN.with_borrow_mut(|known| {
        if known.len() == super::CACHED_MAX {
            known.clear();
        }
        known.insert(key, Arc::clone(&regex));
    });
    Ok(regex)
}
