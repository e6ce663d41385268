//! Enumerated types: CREATE TYPE … AS ENUM.
//!
//! A value is the *order* of its label: a number that never changes while the type lives, and that leaves room between
//! two labels for a third. So values compare, sort and index as integers, and no row is touched when a label is added or
//! renamed. What a number is called stands in the type.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, LazyLock, OnceLock, PoisonError, RwLock};

use serde::{Deserialize, Serialize};

use crate::error::{SqlError, SqlResult, SqlState};
use crate::ids::Oid;

/// Before an enumerated type's JSON in the zone of an Arrow timestamp, where no short zone is left for it.
const ZONE_PREFIX: &str = "perigee.enum:";

/// Definitions of enumerated types that have short zones, the most; two signs and two ways to write an offset.
const SHORT_ZONES_MAX: usize = 4 * 2_300;

/// How far apart labels are that come one after the other, the most: about thirty may be put in one place between two.
const STEP_MAX: i64 = 1 << 31;

/// Orders lie between this and its negative: Arrow shows them as seconds, and knows no later ones.
const ORDER_MAX: i64 = 1 << 42;

/// Bytes of a label, the most.
pub const LABEL_BYTES_MAX: usize = 63;

/// A label of an enumerated type.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct EnumLabel {
    /// Its oid in `pg_enum`.
    pub oid: Oid,
    /// What stands for it in rows: ascending in the order of the labels.
    pub order: i64,
    /// Its text.
    pub label: String,
    /// The bits of `enumsortorder` in `pg_enum`, a real that PostgreSQL chooses: shown, not used.
    #[serde(default)]
    shown_order: u32,
}

impl EnumLabel {
    /// `enumsortorder` in `pg_enum`.
    #[must_use]
    pub fn shown_order(&self) -> f32 {
        f32::from_bits(self.shown_order)
    }
}

/// Where a new label goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EnumPlace {
    /// Behind all others.
    Last,
    /// Before this one.
    Before(String),
    /// Behind this one.
    After(String),
}

/// An enumerated type.
#[derive(Debug, Serialize, Deserialize)]
pub struct EnumType {
    oid: Oid,
    array: Oid,
    name: String,
    labels: Vec<EnumLabel>,
    #[serde(skip)]
    zone: OnceLock<Arc<str>>,
}

impl Clone for EnumType {
    fn clone(&self) -> Self {
        Self::of_labels(self.oid, self.array, &self.name, self.labels.clone())
    }
}

impl PartialEq for EnumType {
    fn eq(&self, other: &Self) -> bool {
        self.oid == other.oid && self.array == other.array && self.name == other.name && self.labels == other.labels
    }
}

impl Eq for EnumType {}

impl Hash for EnumType {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.oid.hash(state);
        self.labels.hash(state);
    }
}

impl EnumType {
    /// A type with these labels, each with its oid, in order.
    ///
    /// # Errors
    /// `42602` for a label that is too long, `23505` for one that is there twice.
    pub fn new(oid: Oid, array: Oid, name: &str, labels: &[(Oid, String)]) -> SqlResult<Self> {
        let mut made = Self::of_labels(oid, array, name, Vec::with_capacity(labels.len()));
        let step = STEP_MAX.min(ORDER_MAX / (i64::try_from(labels.len()).unwrap_or(i64::MAX).saturating_add(1)));
        for (oid, label) in labels {
            if made.labels.iter().any(|known| known.label == *label) {
                return Err(SqlError::new(
                    SqlState::UniqueViolation,
                    "duplicate key value violates unique constraint \"pg_enum_typid_label_index\"",
                )
                .detail(format!("Key (enumtypid, enumlabel)=({oid}, {label}) already exists.")));
            }
            made = made.with_label_by(*oid, label, &EnumPlace::Last, step)?;
        }
        Ok(made)
    }

    fn of_labels(oid: Oid, array: Oid, name: &str, labels: Vec<EnumLabel>) -> Self {
        Self { oid, array, name: name.to_owned(), labels, zone: OnceLock::new() }
    }

    /// Stands for all enumerated types where only their values' form matters.
    #[must_use]
    pub fn form() -> Arc<Self> {
        static FORM: LazyLock<Arc<EnumType>> =
            LazyLock::new(|| Arc::new(EnumType::of_labels(Oid(0), Oid(0), "", Vec::new())));
        Arc::clone(&FORM)
    }

    /// Its oid.
    #[must_use]
    pub fn oid(&self) -> Oid {
        self.oid
    }

    /// The oid of the type of its arrays.
    #[must_use]
    pub fn array(&self) -> Oid {
        self.array
    }

    /// Its name, without a schema.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its labels, in order.
    #[must_use]
    pub fn labels(&self) -> &[EnumLabel] {
        &self.labels
    }

    /// The text of a value; `None` for a number that is none of its.
    #[must_use]
    pub fn label(&self, order: i64) -> Option<&str> {
        let at = self.labels.binary_search_by_key(&order, |label| label.order).ok()?;
        Some(&self.labels[at].label)
    }

    /// The value of a text.
    ///
    /// # Errors
    /// `22P02` where it is no label.
    pub fn parse(&self, text: &str) -> SqlResult<i64> {
        self.labels.iter().find(|label| label.label == text).map(|label| label.order).ok_or_else(|| {
            SqlError::new(
                SqlState::InvalidTextRepresentation,
                format!("invalid input value for enum {}: \"{text}\"", self.display_name()),
            )
        })
    }

    /// Its name as SQL needs it.
    #[must_use]
    pub fn display_name(&self) -> String {
        quoted(&self.name)
    }

    /// The type under another name.
    #[must_use]
    pub fn renamed(&self, name: &str) -> Self {
        Self::of_labels(self.oid, self.array, name, self.labels.clone())
    }

    /// The type with one more label.
    ///
    /// # Errors
    /// `42602` for a label that is too long, `42710` where it is there, `22023` where its neighbour is not, `54000` where
    /// too many were put in the same place.
    pub fn with_label(&self, oid: Oid, label: &str, place: &EnumPlace) -> SqlResult<Self> {
        self.with_label_by(oid, label, place, STEP_MAX)
    }

    fn with_label_by(&self, oid: Oid, label: &str, place: &EnumPlace, step: i64) -> SqlResult<Self> {
        check_label(label)?;
        if self.labels.iter().any(|known| known.label == label) {
            return Err(duplicate(label));
        }
        let at = match place {
            EnumPlace::Last => self.labels.len(),
            EnumPlace::Before(neighbour) => self.position(neighbour)?,
            EnumPlace::After(neighbour) => self.position(neighbour)? + 1,
        };
        let before = at.checked_sub(1).and_then(|at| self.labels.get(at)).map(|label| label.order);
        let after = self.labels.get(at).map(|label| label.order);
        let order = match (before, after) {
            (None, None) => Some(0),
            (Some(before), None) => Some((before + step).min(before + (ORDER_MAX - before) / 2)),
            (None, Some(after)) => Some((after - step).max(after - (ORDER_MAX + after) / 2)),
            (Some(before), Some(after)) => Some(before + (after - before) / 2),
        };
        let order = order.filter(|order| Some(*order) != before && Some(*order) != after);
        let order = order.ok_or_else(|| {
            SqlError::new(
                SqlState::ProgramLimitExceeded,
                format!("there is no room for enum label \"{label}\" between its neighbors"),
            )
        })?;
        let shown = |label: &EnumLabel| label.shown_order();
        let neighbours =
            (at.checked_sub(1).and_then(|at| self.labels.get(at)).map(shown), self.labels.get(at).map(shown));
        let shown_order = match neighbours {
            (None, None) => 1.0,
            (Some(before), None) => before + 1.0,
            (None, Some(after)) => after - 1.0,
            (Some(before), Some(after)) => (before + after) / 2.0,
        };
        let mut labels = self.labels.clone();
        let shown_order = shown_order.to_bits();
        labels.insert(at, EnumLabel { oid, order, label: label.to_owned(), shown_order });
        Ok(Self::of_labels(self.oid, self.array, &self.name, labels))
    }

    /// The type with a label under another text.
    ///
    /// # Errors
    /// `22023` where there is no such label, `42710` where the new text is one, `42602` where it is too long.
    pub fn with_renamed(&self, from: &str, to: &str) -> SqlResult<Self> {
        check_label(to)?;
        let at = self.position(from)?;
        if self.labels.iter().any(|known| known.label == to) {
            return Err(duplicate(to));
        }
        let mut labels = self.labels.clone();
        labels[at].label = to.to_owned();
        Ok(Self::of_labels(self.oid, self.array, &self.name, labels))
    }

    fn position(&self, label: &str) -> SqlResult<usize> {
        self.labels.iter().position(|known| known.label == label).ok_or_else(|| {
            SqlError::new(SqlState::InvalidParameterValue, format!("\"{label}\" is not an existing enum label"))
        })
    }

    /// The zone of the Arrow timestamp that carries this type: an offset, because Arrow reads the zone of what it shows.
    pub(crate) fn zone(&self) -> Arc<str> {
        Arc::clone(self.zone.get_or_init(|| match known_slot(self) {
            Some(slot) => short_zone(slot).into(),
            None => format!("{ZONE_PREFIX}{}", serde_json::to_string(self).unwrap_or_default()).into(),
        }))
    }

    /// The type that the zone of an Arrow timestamp carries.
    pub(crate) fn of_zone(zone: &str) -> Option<Arc<Self>> {
        if let Some(json) = zone.strip_prefix(ZONE_PREFIX) {
            return serde_json::from_str(json).ok().map(Arc::new);
        }
        KNOWN.read().unwrap_or_else(PoisonError::into_inner).types.get(slot_of(zone)?).cloned()
    }
}

/// The definitions that this process has met, by the number of their zone. A definition never changes, so neither does
/// what a zone means; numbers are not reused, because arrays anywhere may have the zone.
#[derive(Default)]
struct Known {
    slots: HashMap<Arc<EnumType>, usize>,
    types: Vec<Arc<EnumType>>,
}

static KNOWN: LazyLock<RwLock<Known>> = LazyLock::new(RwLock::default);

fn known_slot(ty: &EnumType) -> Option<usize> {
    if let Some(slot) = KNOWN.read().unwrap_or_else(PoisonError::into_inner).slots.get(ty) {
        return Some(*slot);
    }
    let mut known = KNOWN.write().unwrap_or_else(PoisonError::into_inner);
    if let Some(slot) = known.slots.get(ty) {
        return Some(*slot);
    }
    let slot = known.types.len();
    if slot >= SHORT_ZONES_MAX {
        return None;
    }
    let ty = Arc::new(ty.clone());
    known.types.push(Arc::clone(&ty));
    known.slots.insert(ty, slot);
    Some(slot)
}

/// `+00:00`, `-00:00`, `+0000`, `-0000`, `+00:01`, …: up to 22 hours and 99 minutes, all of which are offsets to Arrow.
fn short_zone(slot: usize) -> String {
    let (number, form) = (slot / 4, slot % 4);
    let sign = if form % 2 == 0 { '+' } else { '-' };
    let colon = if form < 2 { ":" } else { "" };
    format!("{sign}{:02}{colon}{:02}", number / 100, number % 100)
}

fn slot_of(zone: &str) -> Option<usize> {
    let (negative, digits) = match zone.split_at_checked(1)? {
        ("+", digits) => (0, digits),
        ("-", digits) => (1, digits),
        _ => return None,
    };
    let (without_colon, (hours, minutes)) = match digits.split_once(':') {
        Some(parts) => (0, parts),
        None => (2, digits.split_at_checked(2)?),
    };
    let two = |text: &str| if text.len() == 2 { text.parse::<usize>().ok() } else { None };
    Some((two(hours)? * 100 + two(minutes)?) * 4 + without_colon + negative)
}

fn check_label(label: &str) -> SqlResult<()> {
    if label.len() > LABEL_BYTES_MAX {
        return Err(SqlError::new(SqlState::InvalidName, format!("invalid enum label \"{label}\""))
            .detail(format!("Labels must be {LABEL_BYTES_MAX} bytes or less.")));
    }
    Ok(())
}

fn duplicate(label: &str) -> SqlError {
    SqlError::new(SqlState::DuplicateObject, format!("enum label \"{label}\" already exists"))
}

/// A name in quotes where SQL would read it otherwise; words of the language are not told apart.
pub(crate) fn quoted(name: &str) -> String {
    let plain = |c: char| c.is_ascii_lowercase() || c == '_';
    let is_plain = name.starts_with(plain) && name.chars().all(|c| plain(c) || c.is_ascii_digit() || c == '$');
    if is_plain { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

#[cfg(test)]
mod tests {
    use arrow::array::TimestampSecondArray;
    use arrow::util::display::array_value_to_string;

    use super::*;

    fn mood() -> EnumType {
        let labels: Vec<_> = ["sad", "ok", "happy"].iter().zip(1..).map(|(l, n)| (Oid(n), (*l).to_owned())).collect();
        EnumType::new(Oid(100), Oid(101), "mood", &labels).unwrap()
    }

    fn texts(ty: &EnumType) -> Vec<&str> {
        assert!(ty.labels().windows(2).all(|pair| pair[0].order < pair[1].order), "{:?}", ty.labels());
        ty.labels().iter().map(|label| label.label.as_str()).collect()
    }

    #[test]
    fn labels_go_where_they_are_put_and_values_stay() {
        let old = mood();
        let sad = old.parse("sad").unwrap();
        let new = old.with_label(Oid(9), "fine", &EnumPlace::After("ok".to_owned())).unwrap();
        let new = new.with_label(Oid(10), "awful", &EnumPlace::Before("sad".to_owned())).unwrap();
        let new = new.with_label(Oid(11), "great", &EnumPlace::Last).unwrap();
        assert_eq!(texts(&new), ["awful", "sad", "ok", "fine", "happy", "great"]);
        assert_eq!(new.parse("sad").unwrap(), sad);
        assert_eq!(new.with_renamed("sad", "blue").unwrap().label(sad), Some("blue"));
        assert_eq!(new.label(sad + 1), None);
    }

    #[test]
    fn one_place_takes_many_labels_and_then_says_so() {
        let mut ty = mood();
        let mut count = 0;
        let error = loop {
            match ty.with_label(Oid(9), &format!("l{count}"), &EnumPlace::Before("ok".to_owned())) {
                Ok(next) => ty = next,
                Err(error) => break error,
            }
            count += 1;
        };
        assert_eq!(error.state(), SqlState::ProgramLimitExceeded);
        assert_eq!(count, 31);
        assert_eq!(texts(&ty).len(), 34);
    }

    #[test]
    fn many_labels_keep_their_order_and_leave_room() {
        let labels: Vec<_> = (0..20_000).map(|n| (Oid(n), format!("l{n}"))).collect();
        let mut ty = EnumType::new(Oid(1), Oid(2), "many", &labels).unwrap();
        for n in 0..10 {
            ty = ty.with_label(Oid(0), &format!("last{n}"), &EnumPlace::Last).unwrap();
            ty = ty.with_label(Oid(0), &format!("first{n}"), &EnumPlace::Before(ty.labels()[0].label.clone())).unwrap();
        }
        assert_eq!(texts(&ty).len(), 20_020);
        assert!(ty.labels().iter().all(|label| label.order.abs() < ORDER_MAX));
    }

    #[test]
    fn what_is_wrong_is_refused() {
        let code = |result: SqlResult<EnumType>| result.unwrap_err().state().code();
        assert_eq!(code(mood().with_label(Oid(1), "ok", &EnumPlace::Last)), "42710");
        assert_eq!(code(mood().with_label(Oid(1), "x", &EnumPlace::Before("no".to_owned()))), "22023");
        assert_eq!(code(mood().with_label(Oid(1), &"x".repeat(64), &EnumPlace::Last)), "42602");
        assert_eq!(code(mood().with_renamed("no", "yes")), "22023");
        assert_eq!(code(mood().with_renamed("sad", "ok")), "42710");
        assert_eq!(mood().parse("glad").unwrap_err().message(), "invalid input value for enum mood: \"glad\"");
    }

    #[test]
    fn arrow_carries_the_whole_type() {
        let ty = mood();
        assert_eq!(*EnumType::of_zone(&ty.zone()).unwrap(), ty);
        assert!(EnumType::of_zone("UTC").is_none());
        assert!(EnumType::of_zone("perigee.enum:{").is_none());
        for slot in [0, 1, 2, 3, 4, 399, 400, SHORT_ZONES_MAX - 1] {
            let zone = short_zone(slot);
            assert_eq!(slot_of(&zone), Some(slot), "{zone}");
            let shown = TimestampSecondArray::from(vec![ORDER_MAX, -ORDER_MAX]).with_timezone(zone.as_str());
            assert!((0..2).all(|row| array_value_to_string(&shown, row).is_ok()), "{zone}");
        }
        let other = ty.renamed("Mood");
        assert_ne!(*EnumType::of_zone(&other.zone()).unwrap(), ty);
        assert_eq!(other.display_name(), "\"Mood\"");
    }
}
