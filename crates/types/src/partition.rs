//! Partitions: how a table's rows are spread over others, and which of them a row belongs to.
//!
//! A partitioned table has no rows of its own. Each of its partitions is a table with a [`PartitionBound`]; bounds of one
//! parent do not overlap, so a key belongs to one partition, or to the default one, or to none. Keys are compared by
//! [`crate::key`], as indexes do.

use serde::{Deserialize, Serialize};

use crate::ids::TableId;
use crate::key;
use crate::sql_type::SqlType;
use crate::value::{Interval, Value};

/// How rows are spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Strategy {
    /// PARTITION BY RANGE
    Range,
    /// PARTITION BY LIST
    List,
    /// PARTITION BY HASH
    Hash,
}

/// One part of a partition key: a column or an expression.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PartitionKey {
    /// The column's number.
    pub column: Option<u16>,
    /// The expression's SQL, where it is no column.
    pub expression: Option<String>,
    /// Its type.
    pub ty: SqlType,
}

/// What makes a table a partitioned one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Partitioning {
    /// How.
    pub strategy: Strategy,
    /// By what, at least one.
    pub keys: Vec<PartitionKey>,
    /// Partitions of this length in time are made as rows come: the key is one column of time.
    #[serde(default)]
    pub every: Option<Interval>,
}

/// One end of a range in one part of the key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Datum {
    /// MINVALUE: below all values.
    Minimum,
    /// A value, never NULL.
    Value(Value),
    /// MAXVALUE: above all values.
    Maximum,
}

/// Which keys belong to a partition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum PartitionBound {
    /// Those that belong to no other one.
    Default,
    /// These values; NULL may be one.
    List(Vec<Value>),
    /// From (inclusive) to (exclusive), compared part by part; no key with a NULL in it.
    Range {
        /// The lower end.
        from: Vec<Datum>,
        /// The upper end.
        to: Vec<Datum>,
    },
    /// Those whose hash leaves `remainder` when divided by `modulus`.
    Hash {
        /// At least 1.
        modulus: u32,
        /// Below `modulus`.
        remainder: u32,
    },
}

impl Strategy {
    /// `range`, `list` or `hash`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Strategy::Range => "range",
            Strategy::List => "list",
            Strategy::Hash => "hash",
        }
    }
}

/// The order-preserving bytes of one value.
#[must_use]
pub fn bytes_of(value: &Value) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(16);
    key::encode_value(value, &mut bytes);
    bytes
}

/// A place among keys: MINVALUE and MAXVALUE are below and above the marker of every value.
fn place_of(datums: &[Datum]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(16);
    for datum in datums {
        match datum {
            Datum::Minimum => {
                // What stands behind does not count.
                bytes.push(0x00);
                break;
            }
            Datum::Maximum => {
                bytes.push(0xff);
                break;
            }
            Datum::Value(value) => key::encode_value(value, &mut bytes),
        }
    }
    bytes
}

/// Whether a range holds no key.
#[must_use]
pub fn is_empty_range(from: &[Datum], to: &[Datum]) -> bool {
    place_of(from) >= place_of(to)
}

/// The hash of a key by which HASH partitions are chosen. It is part of the data's format: rows stay where it put them.
#[must_use]
pub fn hash(values: &[Value]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for value in values {
        for byte in bytes_of(value) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
    // The low bits alone choose among few partitions, so the high ones are mixed in.
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^ (hash >> 33)
}

/// The partitions of one table, ready to find the one of a key.
#[derive(Clone, Debug)]
pub struct Router {
    strategy: Strategy,
    default: Option<TableId>,
    /// Lower place (inclusive), upper place (exclusive), by lower place.
    ranges: Vec<(Vec<u8>, Vec<u8>, TableId)>,
    /// By value.
    lists: Vec<(Vec<u8>, TableId)>,
    hashes: Vec<(u32, u32, TableId)>,
}

impl Router {
    /// Over the partitions of a table.
    #[must_use]
    pub fn new<'a>(strategy: Strategy, partitions: impl IntoIterator<Item = (TableId, &'a PartitionBound)>) -> Self {
        let mut router = Self { strategy, default: None, ranges: Vec::new(), lists: Vec::new(), hashes: Vec::new() };
        for (oid, bound) in partitions {
            match bound {
                PartitionBound::Default => router.default = Some(oid),
                PartitionBound::List(values) => router.lists.extend(values.iter().map(|v| (bytes_of(v), oid))),
                PartitionBound::Range { from, to } => router.ranges.push((place_of(from), place_of(to), oid)),
                PartitionBound::Hash { modulus, remainder } => router.hashes.push((*modulus, *remainder, oid)),
            }
        }
        router.ranges.sort();
        router.lists.sort();
        router
    }

    /// The default partition.
    #[must_use]
    pub fn default_partition(&self) -> Option<TableId> {
        self.default
    }

    /// The partition of a key, the default one where no other takes it; `None` where there is none.
    #[must_use]
    pub fn find(&self, values: &[Value]) -> Option<TableId> {
        self.find_bounded(values).or(self.default)
    }

    /// The partition of a key that has a bound of its own.
    #[must_use]
    pub fn find_bounded(&self, values: &[Value]) -> Option<TableId> {
        match self.strategy {
            Strategy::Range => {
                if values.iter().any(Value::is_null) {
                    return None;
                }
                let mut place = Vec::with_capacity(16);
                key::encode(values, &mut place);
                let behind = self.ranges.partition_point(|(from, _, _)| *from <= place);
                let (_, to, oid) = self.ranges.get(behind.checked_sub(1)?)?;
                (place < *to).then_some(*oid)
            }
            Strategy::List => {
                let place = bytes_of(values.first()?);
                let at = self.lists.binary_search_by(|(value, _)| value.cmp(&place)).ok()?;
                self.lists.get(at).map(|(_, oid)| *oid)
            }
            Strategy::Hash => {
                let hash = hash(values);
                let fits = |(modulus, remainder, _): &&(u32, u32, TableId)| {
                    hash.checked_rem(u64::from(*modulus)) == Some(u64::from(*remainder))
                };
                self.hashes.iter().find(fits).map(|(_, _, oid)| *oid)
            }
        }
    }

    /// A partition that a new one with `bound` would share keys with.
    #[must_use]
    pub fn overlapping(&self, bound: &PartitionBound) -> Option<TableId> {
        match bound {
            PartitionBound::Default => self.default,
            PartitionBound::List(values) => values.iter().find_map(|v| self.find_bounded(std::slice::from_ref(v))),
            PartitionBound::Range { from, to } => {
                let (from, to) = (place_of(from), place_of(to));
                self.ranges.iter().find(|(low, high, _)| *low < to && from < *high).map(|(_, _, oid)| *oid)
            }
            PartitionBound::Hash { modulus, remainder } => {
                // Every modulus divides the next larger one, so two of them meet in the smaller one's remainders.
                let meets = |(other, left, _): &&(u32, u32, TableId)| {
                    let small = (*modulus).min(*other).max(1);
                    remainder % small == left % small
                };
                self.hashes.iter().find(meets).map(|(_, _, oid)| *oid)
            }
        }
    }

    /// The moduli of its HASH partitions.
    pub fn moduli(&self) -> impl Iterator<Item = (u32, TableId)> + '_ {
        self.hashes.iter().map(|(modulus, _, oid)| (*modulus, *oid))
    }
}

/// What values one part of a partition's key may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Domain {
    /// Any.
    Any,
    /// These, in bytes; NULL is among them where it may be.
    Values(Vec<Vec<u8>>),
    /// Between these, in bytes, and never NULL.
    Between {
        /// The least, inclusive.
        low: Option<Vec<u8>>,
        /// The greatest, and whether it is in.
        high: Option<(Vec<u8>, bool)>,
    },
}

impl PartitionBound {
    /// What values the part `at` of a key of the partition may have.
    #[must_use]
    pub fn domain(&self, at: usize) -> Domain {
        match self {
            PartitionBound::List(values) if at == 0 => Domain::Values(values.iter().map(bytes_of).collect()),
            PartitionBound::Range { from, to } => {
                // A later part is bounded only where all before it have one value.
                let fixed = from.iter().zip(to).take(at).all(|(a, b)| matches!(a, Datum::Value(_)) && a == b);
                if !fixed {
                    return Domain::Between { low: None, high: None };
                }
                let low = match from.get(at) {
                    Some(Datum::Value(value)) => Some(bytes_of(value)),
                    _ => None,
                };
                let high = match to.get(at) {
                    Some(Datum::Value(value)) => {
                        let rest = to.get(at + 1..).unwrap_or_default();
                        let inclusive = rest.first().is_some_and(|next| *next != Datum::Minimum);
                        Some((bytes_of(value), inclusive))
                    }
                    _ => None,
                };
                Domain::Between { low, high }
            }
            _ => Domain::Any,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Oid;

    fn ints(values: &[i32]) -> Vec<Value> {
        values.iter().map(|v| Value::Int4(*v)).collect()
    }

    fn range(from: &[Option<i32>], to: &[Option<i32>]) -> PartitionBound {
        let datum = |open: Datum| move |v: &Option<i32>| v.map_or(open.clone(), |v| Datum::Value(Value::Int4(v)));
        PartitionBound::Range {
            from: from.iter().map(datum(Datum::Minimum)).collect(),
            to: to.iter().map(datum(Datum::Maximum)).collect(),
        }
    }

    #[test]
    fn ranges_take_their_lower_end_and_not_their_upper() {
        let bounds = [range(&[None], &[Some(10)]), range(&[Some(10)], &[Some(20)]), range(&[Some(30)], &[None])];
        let router = Router::new(Strategy::Range, bounds.iter().enumerate().map(|(i, b)| (Oid(i as u32), b)));
        for (value, wanted) in [(-5, Some(0)), (9, Some(0)), (10, Some(1)), (19, Some(1)), (20, None), (30, Some(2))] {
            assert_eq!(router.find(&ints(&[value])).map(|oid| oid.0), wanted, "{value}");
        }
        assert_eq!(router.find(&[Value::Null]), None);
        assert_eq!(router.overlapping(&range(&[Some(20)], &[Some(30)])), None);
        assert_eq!(router.overlapping(&range(&[Some(19)], &[Some(20)])), Some(Oid(1)));
        assert_eq!(router.overlapping(&range(&[Some(29)], &[None])), Some(Oid(2)));
    }

    #[test]
    fn later_parts_count_where_the_first_are_equal() {
        let bounds = [range(&[Some(1), None], &[Some(1), Some(5)]), range(&[Some(1), Some(5)], &[Some(2), Some(0)])];
        let router = Router::new(Strategy::Range, bounds.iter().enumerate().map(|(i, b)| (Oid(i as u32), b)));
        for (values, wanted) in [([1, 4], Some(0)), ([1, 5], Some(1)), ([2, -1], Some(1)), ([2, 0], None)] {
            assert_eq!(router.find(&ints(&values)).map(|oid| oid.0), wanted, "{values:?}");
        }
        assert_eq!(bounds[0].domain(1), Domain::Between { low: None, high: Some((bytes_of(&Value::Int4(5)), false)) });
        assert_eq!(bounds[1].domain(1), Domain::Between { low: None, high: None });
        let first = bounds[1].domain(0);
        assert_eq!(
            first,
            Domain::Between { low: Some(bytes_of(&Value::Int4(1))), high: Some((bytes_of(&Value::Int4(2)), true)) }
        );
    }

    #[test]
    fn every_key_has_one_hash_partition() {
        let bounds: Vec<_> =
            [(2, 0), (4, 1), (4, 3)].map(|(modulus, remainder)| PartitionBound::Hash { modulus, remainder }).to_vec();
        let router = Router::new(Strategy::Hash, bounds.iter().enumerate().map(|(i, b)| (Oid(i as u32), b)));
        let mut counts = [0; 3];
        for value in 0..1000 {
            counts[router.find(&ints(&[value])).unwrap().0 as usize] += 1;
        }
        assert!(counts[0] > 400 && counts[1] > 180 && counts[2] > 180, "{counts:?}");
        assert_eq!(router.overlapping(&PartitionBound::Hash { modulus: 8, remainder: 5 }), Some(Oid(1)));
    }

    #[test]
    fn what_no_list_names_goes_to_the_default() {
        let bounds = [PartitionBound::List(vec![Value::Int4(1), Value::Null]), PartitionBound::Default];
        let router = Router::new(Strategy::List, bounds.iter().enumerate().map(|(i, b)| (Oid(i as u32), b)));
        assert_eq!(router.find(&ints(&[1])), Some(Oid(0)));
        assert_eq!(router.find(&[Value::Null]), Some(Oid(0)));
        assert_eq!(router.find(&ints(&[2])), Some(Oid(1)));
    }

    /// Rows lie where this hash put them.
    #[test]
    fn the_hash_stays() {
        assert_eq!(hash(&ints(&[1])), 0xeb14a10a031779e);
    }
}
