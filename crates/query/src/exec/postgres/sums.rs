//! Sums of decimals for many groups at once: in 128 bits, and beyond where a group's sum needs more.

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array};
use arrow::datatypes::{Decimal128Type, Int64Type};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{EmitTo, GroupsAccumulator};
use perigee_types::numeric::{Numeric, NumericSum};
use std::collections::HashMap;
use std::sync::Arc;

use super::numeric::{WideBuilder, number_at};
use crate::exec::error::from_sql;

/// The sums of all groups of decimals with `scale` places. Its state is that of the aggregate for one group.
pub(super) struct DecimalSums {
    scale: u32,
    sums: Vec<i128>,
    seen: Vec<bool>,
    /// What did not fit the groups' 128 bits: added to what stands there.
    beyond: HashMap<usize, NumericSum>,
}

impl DecimalSums {
    pub(super) fn new(scale: u32) -> Self {
        Self { scale, sums: Vec::new(), seen: Vec::new(), beyond: HashMap::new() }
    }

    fn resize(&mut self, groups: usize) {
        self.sums.resize(groups, 0);
        self.seen.resize(groups, false);
    }

    /// Takes out the sums of the groups to emit, NULL of groups without numbers.
    fn take(&mut self, emit: EmitTo) -> Result<Vec<Option<Numeric>>> {
        let sums = emit.take_needed(&mut self.sums);
        let seen = emit.take_needed(&mut self.seen);
        let beyond = std::mem::take(&mut self.beyond);
        let (emitted, kept): (HashMap<_, _>, HashMap<_, _>) = beyond.into_iter().partition(|(at, _)| *at < sums.len());
        self.beyond = kept.into_iter().map(|(at, sum)| (at - sums.len(), sum)).collect();
        let number = |(at, (sum, seen)): (usize, (i128, bool))| {
            if !seen {
                return Ok(None);
            }
            let short = Numeric::small(sum, self.scale);
            Ok(Some(match emitted.get(&at) {
                None => short,
                Some(more) => more.total().and_then(|more| more.add(&short)).map_err(from_sql)?,
            }))
        };
        sums.into_iter().zip(seen).enumerate().map(number).collect()
    }
}

impl GroupsAccumulator for DecimalSums {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        self.resize(total_num_groups);
        let [values] = values else { return Err(wrong_state()) };
        let values = values.as_primitive::<Decimal128Type>();
        let mut add = |group: usize, value: i128| {
            self.seen[group] = true;
            match self.sums[group].checked_add(value) {
                Some(sum) => self.sums[group] = sum,
                None => self.beyond.entry(group).or_default().add_small(value, self.scale),
            }
        };
        let rows = group_indices.iter().zip(values.values());
        if values.null_count() == 0 && opt_filter.is_none() {
            rows.for_each(|(group, value)| add(*group, *value));
            return Ok(());
        }
        for (row, (group, value)) in rows.enumerate() {
            if values.is_valid(row) && opt_filter.is_none_or(|filter| filter.is_valid(row) && filter.value(row)) {
                add(*group, *value);
            }
        }
        Ok(())
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let numbers = self.take(emit_to)?;
        let mut out = WideBuilder::new(numbers.len());
        for number in numbers {
            match number {
                Some(number) => out.push(&number),
                None => out.push_null(),
            }
        }
        Ok(out.finish())
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let numbers = self.take(emit_to)?;
        let counts: Int64Array = numbers.iter().map(|number| Some(i64::from(number.is_some()))).collect();
        let (mut sums, mut squares) = (WideBuilder::new(numbers.len()), WideBuilder::new(numbers.len()));
        for number in numbers {
            sums.push(&number.unwrap_or(Numeric::ZERO));
            squares.push(&Numeric::ZERO);
        }
        Ok(vec![Arc::new(counts), sums.finish(), squares.finish()])
    }

    fn merge_batch(&mut self, values: &[ArrayRef], group_indices: &[usize], total_num_groups: usize) -> Result<()> {
        self.resize(total_num_groups);
        let [counts, sums, _] = values else { return Err(wrong_state()) };
        let counts = counts.as_primitive::<Int64Type>();
        for (row, group) in group_indices.iter().enumerate() {
            if counts.is_null(row) || counts.value(row) == 0 {
                continue;
            }
            let Some(number) = number_at(sums, row) else { continue };
            self.seen[*group] = true;
            match number.exactly_at(self.scale).and_then(|v| self.sums[*group].checked_add(v)) {
                Some(sum) => self.sums[*group] = sum,
                None => self.beyond.entry(*group).or_default().add(&number),
            }
        }
        Ok(())
    }

    fn convert_to_state(&self, values: &[ArrayRef], opt_filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let [values] = values else { return Err(wrong_state()) };
        let values = values.as_primitive::<Decimal128Type>();
        let passes = |row: usize| opt_filter.is_none_or(|filter| filter.is_valid(row) && filter.value(row));
        let mut counts = Int64Array::builder(values.len());
        let (mut sums, mut squares) = (WideBuilder::new(values.len()), WideBuilder::new(values.len()));
        for (row, value) in values.iter().enumerate() {
            let value = value.filter(|_| passes(row));
            counts.append_value(i64::from(value.is_some()));
            sums.push(&Numeric::small(value.unwrap_or(0), self.scale));
            squares.push(&Numeric::ZERO);
        }
        Ok(vec![Arc::new(counts.finish()), sums.finish(), squares.finish()])
    }

    fn size(&self) -> usize {
        let beyond: usize = self.beyond.values().map(|sum| size_of::<NumericSum>() + 32 + sum.heap_bytes()).sum();
        self.sums.capacity() * 16 + self.seen.capacity() + beyond
    }
}

fn wrong_state() -> DataFusionError {
    DataFusionError::Internal("the state of a sum has other parts".to_owned())
}
