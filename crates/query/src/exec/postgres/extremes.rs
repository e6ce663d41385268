//! `min` and `max` of floats in groups: NaN is the greatest, as PostgreSQL orders them.
//!
//! DataFusion's take each NaN as the extreme, and whatever comes next instead of it; and a group of infinities alone has the
//! greatest finite number. And those of values whose type DataFusion would forget.

use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Float64Array};
use arrow::compute::{cast, nullif};
use arrow::datatypes::{DataType, FieldRef, Float64Type};
use datafusion::error::{DataFusionError, Result};
use datafusion::functions_aggregate::min_max::{max_udaf, min_udaf};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, EmitTo, GroupsAccumulator, Signature, Volatility,
};
use perigee_types::{CodedType, SqlError, SqlResult, SqlState, SqlType};

/// The aggregate of that name over floats; `None` for every other name.
pub(super) fn of_floats(name: &str) -> Option<Arc<AggregateUDF>> {
    static BOTH: LazyLock<[Arc<AggregateUDF>; 2]> = LazyLock::new(|| {
        [(min_udaf(), false), (max_udaf(), true)].map(|(inner, greatest)| {
            let signature = Signature::any(1, Volatility::Immutable);
            Arc::new(AggregateUDF::new_from_impl(Extreme { inner, greatest, signature }))
        })
    });
    BOTH.iter().find(|extreme| extreme.name() == name).cloned()
}

/// The aggregate of that name over values of a type that their form does not say, and that PostgreSQL keeps; `None` for every
/// other name and type.
///
/// # Errors
/// `42883` for types that have no extremes.
pub(super) fn of_type(name: &str, ty: &SqlType) -> SqlResult<Option<Arc<AggregateUDF>>> {
    let inner = match name {
        "min" => min_udaf(),
        "max" => max_udaf(),
        _ => return Ok(None),
    };
    match ty {
        SqlType::Json | SqlType::Jsonb => {
            let text = format!("function {name}({ty}) does not exist");
            Err(SqlError::new(SqlState::UndefinedFunction, text).hint(
                "No function matches the given name and argument types. You might need to add explicit type casts.",
            ))
        }
        SqlType::Array(_) | SqlType::Char(_) | SqlType::Coded(CodedType::Lsn | CodedType::Tid | CodedType::Money) => {
            let signature = Signature::any(1, Volatility::Immutable);
            Ok(Some(Arc::new(AggregateUDF::new_from_impl(OfType { inner, signature }))))
        }
        _ => Ok(None),
    }
}

/// An extreme that has the SQL type of its values.
#[derive(Debug, PartialEq, Eq, Hash)]
struct OfType {
    inner: Arc<AggregateUDF>,
    signature: Signature,
}

impl AggregateUDFImpl for OfType {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(types)
    }

    fn return_field(&self, args: &[FieldRef]) -> Result<FieldRef> {
        let field = self.inner.inner().return_field(args)?;
        let known = args.first().map(|arg| arg.metadata().clone()).unwrap_or_default();
        Ok(Arc::new(field.as_ref().clone().with_metadata(known)))
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        self.inner.accumulator(args)
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        self.inner.create_sliding_accumulator(args)
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        self.inner.groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        self.inner.create_groups_accumulator(args)
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        self.inner.state_fields(args)
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Extreme {
    inner: Arc<AggregateUDF>,
    greatest: bool,
    signature: Signature,
}

impl AggregateUDFImpl for Extreme {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(types)
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        self.inner.accumulator(args)
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        self.inner.create_sliding_accumulator(args)
    }

    fn groups_accumulator_supported(&self, _: AccumulatorArgs) -> bool {
        true
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        let ty = args.return_field.data_type().clone();
        Ok(Box::new(Extremes { ty, greatest: self.greatest, groups: Vec::new() }))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        self.inner.state_fields(args)
    }
}

/// The extreme of each group, `None` while it has no value.
struct Extremes {
    ty: DataType,
    greatest: bool,
    groups: Vec<Option<f64>>,
}

impl Extremes {
    fn add(&mut self, group: usize, value: f64) {
        let known = &mut self.groups[group];
        let further = known.is_none_or(|known| match self.greatest {
            true => value.is_nan() || value > known,
            false => !value.is_nan() && (known.is_nan() || value < known),
        });
        if further {
            *known = Some(value);
        }
    }
}

impl GroupsAccumulator for Extremes {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        self.groups.resize(total_num_groups, None);
        let [values] = values else {
            return Err(DataFusionError::Internal("min and max take one value".to_owned()));
        };
        let values = cast(values, &DataType::Float64)?;
        let values = values.as_primitive::<Float64Type>();
        for (row, group) in group_indices.iter().enumerate() {
            let kept = filter.is_none_or(|filter| filter.is_valid(row) && filter.value(row));
            if kept && values.is_valid(row) {
                self.add(*group, values.value(row));
            }
        }
        Ok(())
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let values: Float64Array = emit_to.take_needed(&mut self.groups).into_iter().collect();
        Ok(cast(&values, &self.ty)?)
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.evaluate(emit_to)?])
    }

    fn merge_batch(&mut self, values: &[ArrayRef], group_indices: &[usize], total_num_groups: usize) -> Result<()> {
        self.update_batch(values, group_indices, None, total_num_groups)
    }

    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let [values] = values else {
            return Err(DataFusionError::Internal("min and max take one value".to_owned()));
        };
        let Some(filter) = filter else { return Ok(vec![Arc::clone(values)]) };
        let left_out: BooleanArray = filter.iter().map(|kept| Some(kept != Some(true))).collect();
        Ok(vec![nullif(values, &left_out)?])
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.groups.capacity() * size_of::<Option<f64>>()
    }
}
