//! Aggregates over numeric: sums that do not overflow, variances and standard deviations that are exact.
//!
//! Each stands in for DataFusion's aggregate of the same name while a statement is planned, when the argument's type is not
//! known; analysis puts DataFusion's back where its own is right: sums that fit, and floats.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, LargeBinaryArray, ListArray};
use arrow::buffer::OffsetBuffer;
use arrow::compute::sum_checked;
use arrow::datatypes::{DataType, Decimal128Type, Field, FieldRef};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, GroupsAccumulator, Signature, Volatility};
use datafusion::scalar::ScalarValue;
use perigee_types::numeric::{self, Numeric, NumericSum, Spread};
use perigee_types::{SqlError, SqlState};

use super::floats::{FloatAccumulator, FloatGroups, STATE, Variance};
use super::function::type_name;
use super::numeric::{WIDE, field, is_exact, is_wide, number_at};
use super::sums::DecimalSums;
use crate::exec::error::from_sql;

/// Decimals of more digits than this are added up in any count of digits: DataFusion's sum has ten more than its argument.
const SUM_PRECISION_MAX: u8 = 28;

/// What is made of the numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    Sum,
    Variance { sample: bool, root: bool },
}

/// An aggregate over numbers of any type.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct NumericAggregate {
    inner: Arc<AggregateUDF>,
    aliases: Vec<String>,
    kind: Kind,
    signature: Signature,
}

impl NumericAggregate {
    /// DataFusion's aggregate where it does what PostgreSQL's does with arguments of this type.
    pub(super) fn replacement(&self, ty: &DataType) -> Option<Arc<AggregateUDF>> {
        if self.floats(ty).is_some() {
            return None;
        }
        let own = match (self.kind, ty) {
            (Kind::Sum, DataType::Decimal128(precision, _)) => *precision > SUM_PRECISION_MAX,
            (Kind::Sum, ty) => is_wide(ty),
            (Kind::Variance { .. }, ty) => is_exact(ty),
        };
        (!own).then(|| Arc::clone(&self.inner))
    }
}

impl NumericAggregate {
    /// What is made of floats; sums of them are DataFusion's.
    fn floats(&self, ty: &DataType) -> Option<Variance> {
        match self.kind {
            Kind::Variance { sample, root } if !is_exact(ty) => Some(Variance { sample, root }),
            _ => None,
        }
    }

    fn floats_of(&self, args: &AccumulatorArgs) -> Option<Variance> {
        self.floats(args.expr_fields.first()?.data_type()).filter(|_| !args.is_distinct)
    }

    /// The places of the decimals that are added up, where that can be done for many groups at once.
    fn decimal_scale(&self, args: &AccumulatorArgs) -> Option<u32> {
        match args.expr_fields.first()?.data_type() {
            DataType::Decimal128(_, scale) if self.kind == Kind::Sum && !args.is_distinct => u32::try_from(*scale).ok(),
            _ => None,
        }
    }
}

/// The aggregates by all their names.
pub(super) fn aggregates() -> Vec<Arc<AggregateUDF>> {
    use datafusion::functions_aggregate::{stddev, sum, variance};
    let made = |inner: Arc<AggregateUDF>, aliases: &[&str], kind: Kind| {
        let aliases = aliases.iter().map(|a| (*a).to_owned()).collect();
        let signature = Signature::user_defined(Volatility::Immutable);
        Arc::new(AggregateUDF::new_from_impl(NumericAggregate { inner, aliases, kind, signature }))
    };
    let variance_of = |sample, root| Kind::Variance { sample, root };
    vec![
        made(sum::sum_udaf(), &[], Kind::Sum),
        made(stddev::stddev_udaf(), &["stddev_samp"], variance_of(true, true)),
        made(stddev::stddev_pop_udaf(), &[], variance_of(false, true)),
        made(variance::var_samp_udaf(), &["var_sample", "var_samp", "variance"], variance_of(true, false)),
        made(variance::var_pop_udaf(), &["var_population"], variance_of(false, false)),
    ]
}

/// `sum` over numbers of any type.
pub(super) fn sum() -> Arc<AggregateUDF> {
    aggregates().swap_remove(0)
}

impl AggregateUDFImpl for NumericAggregate {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        match arg_types {
            [DataType::Null | DataType::Utf8] => Ok(vec![DataType::Float64]),
            [ty] if ty.is_numeric() && self.kind != Kind::Sum && !is_exact(ty) => Ok(vec![DataType::Float64]),
            [ty] if (ty.is_numeric() || is_wide(ty)) && self.replacement(ty).is_none() => Ok(arg_types.to_vec()),
            [ty] if ty.is_numeric() || (self.kind == Kind::Sum && matches!(ty, DataType::Interval(_))) => {
                Ok(arg_types.to_vec())
            }
            _ => {
                let types: Vec<String> = arg_types.iter().map(type_name).collect();
                let message = format!("function {}({}) does not exist", self.name(), types.join(", "));
                Err(from_sql(SqlError::new(SqlState::UndefinedFunction, message)))
            }
        }
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        match arg_types {
            [ty] if self.floats(ty).is_some() => Ok(DataType::Float64),
            [ty] if self.replacement(ty).is_none() => Ok(WIDE),
            [DataType::Interval(unit)] => Ok(DataType::Interval(*unit)),
            _ if self.kind != Kind::Sum => Ok(DataType::Float64),
            _ => self.inner.return_type(arg_types),
        }
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        if let Some(what) = self.floats_of(&args) {
            return Ok(Box::new(FloatAccumulator::new(what)));
        }
        if args.expr_fields.first().is_some_and(|field| self.floats(field.data_type()).is_some()) {
            return self.inner.accumulator(args);
        }
        let wide = args.expr_fields.first().is_some_and(|f| self.replacement(f.data_type()).is_none());
        if !wide {
            return self.inner.accumulator(args);
        }
        let distinct = args.is_distinct.then(BTreeSet::new);
        Ok(Box::new(Numbers {
            kind: self.kind,
            count: 0,
            sum: NumericSum::default(),
            squares: NumericSum::default(),
            distinct,
        }))
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        self.decimal_scale(&args).is_some() || self.floats_of(&args).is_some()
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        if let Some(what) = self.floats_of(&args) {
            return Ok(Box::new(FloatGroups::new(what)));
        }
        let scale = self.decimal_scale(&args).ok_or_else(wrong_state)?;
        Ok(Box::new(DecimalSums::new(scale)))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        if args.input_fields.first().is_some_and(|field| self.floats(field.data_type()).is_some()) {
            if args.is_distinct {
                return self.inner.state_fields(args);
            }
            return Ok(STATE.into_iter().map(|(name, ty)| Arc::new(Field::new(name, ty, false))).collect());
        }
        if args.is_distinct {
            let item = Arc::new(Field::new_list_field(WIDE, true));
            return Ok(vec![Arc::new(Field::new("distinct", DataType::List(item), true))]);
        }
        Ok(vec![Arc::new(Field::new("count", DataType::Int64, true)), field("sum", true), field("squares", true)])
    }
}

/// The numbers so far.
#[derive(Debug)]
struct Numbers {
    kind: Kind,
    count: i64,
    sum: NumericSum,
    squares: NumericSum,
    /// The canonical forms seen, for DISTINCT.
    distinct: Option<BTreeSet<Vec<u8>>>,
}

impl Numbers {
    fn add(&mut self, number: &Numeric) -> Result<()> {
        self.count += 1;
        self.sum.add(number);
        if self.kind != Kind::Sum {
            self.squares.add(&number.multiply(number).map_err(from_sql)?);
        }
        Ok(())
    }

    fn scalar(number: &Numeric) -> ScalarValue {
        let mut form = Vec::new();
        numeric::encode(number, &mut form);
        ScalarValue::LargeBinary(Some(form))
    }
}

impl Accumulator for Numbers {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let Some(array) = values.first() else { return Ok(()) };
        if let (DataType::Decimal128(_, scale), Kind::Sum, None) = (array.data_type(), self.kind, &self.distinct)
            && let Ok(scale) = u32::try_from(*scale)
        {
            let decimals = array.as_primitive::<Decimal128Type>();
            self.count += i64::try_from(decimals.len() - decimals.null_count()).unwrap_or(i64::MAX);
            match sum_checked(decimals) {
                Ok(total) => self.sum.add_small(total.unwrap_or(0), scale),
                // They need more than 128 bits.
                Err(_) => decimals.iter().flatten().for_each(|value| self.sum.add_small(value, scale)),
            }
            return Ok(());
        }
        for row in 0..array.len() {
            let Some(number) = number_at(array, row) else { continue };
            if let Some(seen) = &mut self.distinct {
                let mut form = Vec::new();
                numeric::encode(&number.trim_scale(), &mut form);
                if !seen.insert(form) {
                    continue;
                }
            }
            self.add(&number)?;
        }
        Ok(())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let Some(array) = values.first() else { return Ok(()) };
        for row in 0..array.len() {
            let Some(number) = number_at(array, row) else { continue };
            self.count -= 1;
            self.sum.subtract(&number);
            if self.kind != Kind::Sum {
                self.squares.subtract(&number.multiply(&number).map_err(from_sql)?);
            }
        }
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        self.distinct.is_none()
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let null = ScalarValue::LargeBinary(None);
        if self.count == 0 {
            return Ok(null);
        }
        let sum = self.sum.total().map_err(from_sql)?;
        match self.kind {
            Kind::Sum => Ok(Self::scalar(&sum)),
            Kind::Variance { sample, root } => {
                let squares = self.squares.total().map_err(from_sql)?;
                let spread = Spread { count: self.count, sum: &sum, squares: &squares };
                Ok(spread.result(sample, root).map_err(from_sql)?.map_or(null, |number| Self::scalar(&number)))
            }
        }
    }

    fn size(&self) -> usize {
        let seen = self.distinct.as_ref().map_or(0, |seen| seen.iter().map(|form| form.len() + 48).sum());
        size_of::<Self>() + self.sum.heap_bytes() + self.squares.heap_bytes() + seen
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        if let Some(seen) = &self.distinct {
            let values: ArrayRef = Arc::new(LargeBinaryArray::from_iter_values(seen));
            let item = Arc::new(Field::new_list_field(WIDE, true));
            let list = ListArray::try_new(item, OffsetBuffer::from_lengths([values.len()]), values, None)?;
            return Ok(vec![ScalarValue::List(Arc::new(list))]);
        }
        let (sum, squares) = (self.sum.total().map_err(from_sql)?, self.squares.total().map_err(from_sql)?);
        Ok(vec![ScalarValue::Int64(Some(self.count)), Self::scalar(&sum), Self::scalar(&squares)])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        if self.distinct.is_some() {
            let [lists] = states else { return Err(wrong_state()) };
            for list in lists.as_list::<i32>().iter().flatten() {
                self.update_batch(&[list])?;
            }
            return Ok(());
        }
        let [counts, sums, squares] = states else { return Err(wrong_state()) };
        let counts = counts.as_primitive::<arrow::datatypes::Int64Type>();
        for row in 0..counts.len() {
            if counts.is_null(row) || counts.value(row) == 0 {
                continue;
            }
            self.count += counts.value(row);
            if let Some(number) = number_at(sums, row) {
                self.sum.add(&number);
            }
            if let Some(number) = number_at(squares, row) {
                self.squares.add(&number);
            }
        }
        Ok(())
    }
}

fn wrong_state() -> DataFusionError {
    DataFusionError::Internal("the state of a numeric aggregate has other parts".to_owned())
}
