//! Variances of floats as PostgreSQL computes them (Youngs and Cramer).
//!
//! A value that is not finite makes every variance NaN. It is counted apart, so that a window's frame may let it go again.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{Accumulator, EmitTo, GroupsAccumulator};
use datafusion::scalar::ScalarValue;

/// What is made of the numbers: a variance, of a sample or of all, or its root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Variance {
    pub(super) sample: bool,
    pub(super) root: bool,
}

/// Numbers so far.
#[derive(Clone, Copy, Debug, Default)]
struct Moments {
    count: i64,
    /// Those that are not finite.
    odd: i64,
    sum: f64,
    /// The sum of the squares of the distances from the mean.
    squares: f64,
}

impl Moments {
    fn add(&mut self, value: f64) {
        if !value.is_finite() {
            self.odd += 1;
            return;
        }
        self.count += 1;
        self.sum += value;
        if self.count > 1 {
            let n = self.count as f64;
            let distance = value * n - self.sum;
            self.squares += distance * distance / (n * (n - 1.0));
        }
    }

    fn remove(&mut self, value: f64) {
        if !value.is_finite() {
            self.odd -= 1;
            return;
        }
        let n = self.count as f64;
        let distance = value * n - self.sum;
        self.count -= 1;
        self.sum -= value;
        match self.count {
            0 => (self.sum, self.squares) = (0.0, 0.0),
            1 => self.squares = 0.0,
            _ => self.squares = (self.squares - distance * distance / (n * (n - 1.0))).max(0.0),
        }
    }

    fn merge(&mut self, other: Moments) {
        self.odd += other.odd;
        match (self.count, other.count) {
            (_, 0) => {}
            (0, _) => (self.count, self.sum, self.squares) = (other.count, other.sum, other.squares),
            (mine, theirs) => {
                let (n, m) = (mine as f64, theirs as f64);
                let between = self.sum / n - other.sum / m;
                self.count += theirs;
                self.sum += other.sum;
                self.squares += other.squares + n * m * between * between / (n + m);
            }
        }
    }

    fn result(&self, what: Variance) -> Option<f64> {
        let count = self.count + self.odd;
        if count <= i64::from(what.sample) {
            return None;
        }
        if self.odd > 0 {
            return Some(f64::NAN);
        }
        let variance = self.squares / (count - i64::from(what.sample)) as f64;
        Some(if what.root { variance.sqrt() } else { variance })
    }

    fn scalars(&self) -> Vec<ScalarValue> {
        vec![
            ScalarValue::Int64(Some(self.count)),
            ScalarValue::Int64(Some(self.odd)),
            ScalarValue::Float64(Some(self.sum)),
            ScalarValue::Float64(Some(self.squares)),
        ]
    }
}

/// The types of a state.
pub(super) const STATE: [(&str, DataType); 4] =
    [("count", DataType::Int64), ("odd", DataType::Int64), ("sum", DataType::Float64), ("squares", DataType::Float64)];

/// The states that stand in columns.
fn states(columns: &[ArrayRef]) -> Result<Vec<Moments>> {
    let [counts, odds, sums, squares] = columns else {
        return Err(DataFusionError::Internal("the state of a variance has other parts".to_owned()));
    };
    let integers = [counts, odds].map(|array| array.as_primitive::<Int64Type>());
    let floats = [sums, squares].map(|array| array.as_primitive::<Float64Type>());
    let moments = |row: usize| Moments {
        count: integers[0].value(row),
        odd: integers[1].value(row),
        sum: floats[0].value(row),
        squares: floats[1].value(row),
    };
    Ok((0..counts.len()).map(moments).collect())
}

/// States as columns.
fn columns(states: &[Moments]) -> Vec<ArrayRef> {
    let integers = |of: fn(&Moments) -> i64| -> ArrayRef { Arc::new(states.iter().map(of).collect::<Int64Array>()) };
    let floats = |of: fn(&Moments) -> f64| -> ArrayRef { Arc::new(states.iter().map(of).collect::<Float64Array>()) };
    vec![integers(|m| m.count), integers(|m| m.odd), floats(|m| m.sum), floats(|m| m.squares)]
}

fn doubles(values: &[ArrayRef]) -> Result<ArrayRef> {
    let array = values.first().ok_or_else(|| DataFusionError::Internal("an aggregate of nothing".to_owned()))?;
    Ok(cast(array, &DataType::Float64)?)
}

/// One group.
#[derive(Debug)]
pub(super) struct FloatAccumulator {
    what: Variance,
    moments: Moments,
}

impl FloatAccumulator {
    pub(super) fn new(what: Variance) -> Self {
        Self { what, moments: Moments::default() }
    }
}

impl Accumulator for FloatAccumulator {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        for value in doubles(values)?.as_primitive::<Float64Type>().iter().flatten() {
            self.moments.add(value);
        }
        Ok(())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        for value in doubles(values)?.as_primitive::<Float64Type>().iter().flatten() {
            self.moments.remove(value);
        }
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(ScalarValue::Float64(self.moments.result(self.what)))
    }

    fn size(&self) -> usize {
        size_of::<Self>()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(self.moments.scalars())
    }

    fn merge_batch(&mut self, columns: &[ArrayRef]) -> Result<()> {
        for state in states(columns)? {
            self.moments.merge(state);
        }
        Ok(())
    }
}

/// Many groups.
#[derive(Debug)]
pub(super) struct FloatGroups {
    what: Variance,
    groups: Vec<Moments>,
}

impl FloatGroups {
    pub(super) fn new(what: Variance) -> Self {
        Self { what, groups: Vec::new() }
    }

    fn take(&mut self, emit_to: EmitTo) -> Vec<Moments> {
        emit_to.take_needed(&mut self.groups)
    }
}

impl GroupsAccumulator for FloatGroups {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        self.groups.resize(total_num_groups, Moments::default());
        let values = doubles(values)?;
        let values = values.as_primitive::<Float64Type>();
        for (row, group) in group_indices.iter().enumerate() {
            let kept = filter.is_none_or(|filter| filter.is_valid(row) && filter.value(row));
            if kept && values.is_valid(row) {
                self.groups[*group].add(values.value(row));
            }
        }
        Ok(())
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let what = self.what;
        let results = self.take(emit_to).into_iter().map(|moments| moments.result(what));
        Ok(Arc::new(results.collect::<Float64Array>()))
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        Ok(columns(&self.take(emit_to)))
    }

    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let values = doubles(values)?;
        let values = values.as_primitive::<Float64Type>();
        let alone = |(row, value): (usize, Option<f64>)| {
            let mut moments = Moments::default();
            if filter.is_none_or(|filter| filter.is_valid(row) && filter.value(row)) {
                value.into_iter().for_each(|value| moments.add(value));
            }
            moments
        };
        Ok(columns(&values.iter().enumerate().map(alone).collect::<Vec<_>>()))
    }

    fn merge_batch(&mut self, columns: &[ArrayRef], group_indices: &[usize], total_num_groups: usize) -> Result<()> {
        self.groups.resize(total_num_groups, Moments::default());
        for (state, group) in states(columns)?.into_iter().zip(group_indices) {
            self.groups[*group].merge(state);
        }
        Ok(())
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.groups.capacity() * size_of::<Moments>()
    }
}
