//! Aggregates that keep every value they are given: `string_agg`, `array_agg`, and what stands on them.
//!
//! DataFusion asks an accumulator for its size behind each batch of rows, and a batch of large values is more than all
//! memory. So DataFusion's aggregates are given few rows at a time here, and what they have taken is counted before.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray};
use arrow::compute;
use arrow::datatypes::{DataType, FieldRef};
use datafusion::error::{DataFusionError, Result};
use datafusion::functions_aggregate::array_agg::array_agg_udaf;
use datafusion::functions_aggregate::string_agg::string_agg_udaf;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, EmitTo, GroupsAccumulator, ReversedUDAF, Signature,
};
use datafusion::scalar::ScalarValue;
use perigee_types::SqlType;

use super::limits::check_bytes;
use crate::exec::error::from_sql;

/// A batch of fewer bytes than this is taken at once.
const BATCH_BYTES: usize = 1 << 20;
/// Rows that are taken at once of a batch that is larger.
const ROWS: usize = 64;

/// `array_agg`
pub(super) fn array_agg() -> Arc<AggregateUDF> {
    collecting(&array_agg_udaf())
}

/// The aggregates in the place of DataFusion's of the same names.
pub(super) fn aggregates() -> Vec<Arc<AggregateUDF>> {
    vec![array_agg(), collecting(&string_agg_udaf())]
}

fn collecting(inner: &AggregateUDF) -> Arc<AggregateUDF> {
    Arc::new(AggregateUDF::new_from_impl(Collecting { inner: inner.clone() }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Collecting {
    inner: AggregateUDF,
}

impl AggregateUDFImpl for Collecting {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.inner().coerce_types(arg_types)
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        self.inner.inner().return_type(arg_types)
    }

    fn return_field(&self, arg_fields: &[FieldRef]) -> Result<FieldRef> {
        let field = self.inner.inner().return_field(arg_fields)?;
        let (DataType::List(_), Some(arg)) = (field.data_type(), arg_fields.first()) else { return Ok(field) };
        // DataFusion keeps the Arrow type of what is collected alone.
        let of = SqlType::of_field(arg);
        if of.arrow() != *arg.data_type() {
            return Ok(field);
        }
        let known = SqlType::Array(Box::new(of)).field(field.name().clone(), true).metadata().clone();
        Ok(Arc::new(field.as_ref().clone().with_metadata(known)))
    }

    fn is_nullable(&self) -> bool {
        self.inner.inner().is_nullable()
    }

    fn default_value(&self, data_type: &DataType) -> Result<ScalarValue> {
        self.inner.inner().default_value(data_type)
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        self.inner.inner().state_fields(args)
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        self.inner.inner().order_sensitivity()
    }

    fn supports_null_handling_clause(&self) -> bool {
        self.inner.inner().supports_null_handling_clause()
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        // DataFusion's forget with DISTINCT that they run the other way round.
        ReversedUDAF::NotSupported
    }

    fn with_beneficial_ordering(self: Arc<Self>, ordered: bool) -> Result<Option<Arc<dyn AggregateUDFImpl>>> {
        let inner = Arc::clone(self.inner.inner()).with_beneficial_ordering(ordered)?;
        Ok(inner.map(|inner| Arc::new(Self { inner: AggregateUDF::new_from_shared_impl(inner) }) as _))
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(Taken { inner: self.inner.inner().accumulator(args)?, bytes: 0 }))
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        self.inner.inner().groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(TakenOfGroups { inner: self.inner.inner().create_groups_accumulator(args)?, bytes: 0 }))
    }
}

/// Bytes of an array's values.
fn bytes_of(array: &ArrayRef) -> usize {
    let between = |first: Option<i64>, last: Option<i64>| {
        first.zip(last).and_then(|(first, last)| usize::try_from(last - first).ok()).unwrap_or(0)
    };
    let of = |offsets: &[i32]| between(offsets.first().map(|o| i64::from(*o)), offsets.last().map(|o| i64::from(*o)));
    let of_large = |offsets: &[i64]| between(offsets.first().copied(), offsets.last().copied());
    array.len() * array.data_type().primitive_width().unwrap_or(size_of::<u128>())
        + match array.data_type() {
            DataType::Utf8View => array.as_string_view().lengths().map(|length| length as usize).sum(),
            DataType::BinaryView => array.as_binary_view().lengths().map(|length| length as usize).sum(),
            DataType::Utf8 => of(array.as_string::<i32>().value_offsets()),
            DataType::Binary => of(array.as_binary::<i32>().value_offsets()),
            DataType::LargeUtf8 => of_large(array.as_string::<i64>().value_offsets()),
            DataType::LargeBinary => of_large(array.as_binary::<i64>().value_offsets()),
            DataType::List(_) => array.as_list::<i32>().iter().flatten().map(|list| bytes_of(&list)).sum(),
            DataType::Struct(_) => array.as_struct().columns().iter().map(bytes_of).sum(),
            _ => 0,
        }
}

fn slices(arrays: &[ArrayRef], from: usize, rows: usize) -> Vec<ArrayRef> {
    arrays.iter().map(|array| array.slice(from, rows)).collect()
}

/// Hands a batch on in parts that are small enough, each with its place and its length, and counts their bytes.
fn take(
    arrays: &[ArrayRef],
    bytes: &mut usize,
    mut hand_on: impl FnMut(&[ArrayRef], usize, usize) -> Result<()>,
) -> Result<()> {
    let mut count = |part: &[ArrayRef]| {
        *bytes = bytes.saturating_add(part.iter().map(bytes_of).sum());
        check_bytes(Some(*bytes)).map_err(from_sql)
    };
    let rows = arrays.first().map_or(0, |array| array.len());
    if arrays.iter().map(bytes_of).sum::<usize>() < BATCH_BYTES {
        count(arrays)?;
        return hand_on(arrays, 0, rows);
    }
    for from in (0..rows).step_by(ROWS) {
        let length = ROWS.min(rows - from);
        let part = slices(arrays, from, length);
        count(&part)?;
        hand_on(&part, from, length)?;
    }
    Ok(())
}

/// An accumulator, and the bytes of what it was given.
#[derive(Debug)]
struct Taken {
    inner: Box<dyn Accumulator>,
    bytes: usize,
}

impl Accumulator for Taken {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        take(values, &mut self.bytes, |part, _, _| self.inner.update_batch(part))
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        take(states, &mut self.bytes, |part, _, _| self.inner.merge_batch(part))
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.bytes = self.bytes.saturating_sub(values.iter().map(bytes_of).sum());
        self.inner.retract_batch(values)
    }

    fn supports_retract_batch(&self) -> bool {
        self.inner.supports_retract_batch()
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        self.inner.evaluate()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.inner.state()
    }

    fn size(&self) -> usize {
        self.inner.size().max(self.bytes)
    }
}

/// An accumulator of many groups, and the bytes of what it was given and has not given back.
struct TakenOfGroups {
    inner: Box<dyn GroupsAccumulator>,
    bytes: usize,
}

impl TakenOfGroups {
    /// Some groups have been given back.
    fn emitted(&mut self, emit_to: EmitTo) {
        self.bytes = match emit_to {
            EmitTo::All => 0,
            EmitTo::First(_) => self.bytes.min(self.inner.size()),
        };
    }
}

impl GroupsAccumulator for TakenOfGroups {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        // What the filter leaves out is not kept, and so not counted.
        let kept = filter.map(|filter| {
            let values = values.iter().map(|array| compute::filter(array, filter)).collect::<Result<Vec<_>, _>>()?;
            let indices = group_indices.iter().zip(filter.iter()).filter(|(_, kept)| *kept == Some(true));
            Ok::<_, DataFusionError>((values, indices.map(|(index, _)| *index).collect::<Vec<_>>()))
        });
        let kept = kept.transpose()?;
        let (values, indices) = kept.as_ref().map_or((values, group_indices), |(values, indices)| (values, indices));
        take(values, &mut self.bytes, |part, from, length| {
            self.inner.update_batch(part, &indices[from..from + length], None, total_num_groups)
        })
    }

    fn merge_batch(&mut self, values: &[ArrayRef], group_indices: &[usize], total_num_groups: usize) -> Result<()> {
        take(values, &mut self.bytes, |part, from, length| {
            self.inner.merge_batch(part, &group_indices[from..from + length], total_num_groups)
        })
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let given = self.inner.evaluate(emit_to)?;
        self.emitted(emit_to);
        Ok(given)
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let given = self.inner.state(emit_to)?;
        self.emitted(emit_to);
        Ok(given)
    }

    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        self.inner.convert_to_state(values, filter)
    }

    fn size(&self) -> usize {
        self.inner.size().max(self.bytes)
    }
}
