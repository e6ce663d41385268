//! `generate_series` in FROM: integers and timestamps.

use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableFunctionArgs, TableFunctionImpl, TableProvider};
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::memory::{LazyBatchGenerator, LazyMemoryExec};
use parking_lot::RwLock;
use perigee_storage::arrow_value::{ColumnBuilder, value_at};
use perigee_types::numeric::Numeric;
use perigee_types::text::TimeZone;
use perigee_types::{Interval, SqlError, SqlResult, SqlState, SqlType, Value};

use super::datetime::instant_plus;
use crate::exec::error::from_sql;
use crate::exec::template::BATCH_ROWS;

const NAME: &str = "generate_series";

/// The table function.
#[derive(Debug)]
pub(in crate::exec) struct GenerateSeries;

impl TableFunctionImpl for GenerateSeries {
    fn call_with_args(&self, args: TableFunctionArgs) -> Result<Arc<dyn TableProvider>> {
        let values = args.exprs().iter().map(constant).collect::<Result<Vec<_>>>()?;
        let series = Series::new(&values, TimeZone::Utc).map_err(from_sql)?;
        let field = series.ty().field(NAME, false);
        Ok(Arc::new(SeriesTable { schema: Arc::new(Schema::new(vec![field])), series }))
    }
}

fn constant(expr: &Expr) -> Result<Value> {
    match expr {
        Expr::Literal(value, _) => {
            let array = value.to_array()?;
            let ty = SqlType::of_arrow(&value.data_type()).unwrap_or(SqlType::Text);
            Ok(value_at(&array, 0, &ty))
        }
        _ => Err(from_sql(SqlError::unsupported("generate_series over values that are not constant"))),
    }
}

/// What is counted.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Series {
    Empty,
    Integers { start: i64, stop: i64, step: i64, small: bool },
    Numerics { start: Numeric, stop: Numeric, step: Numeric },
    Times { start: i64, stop: i64, step: Interval, zone: Option<TimeZone> },
}

impl Series {
    /// The series of a call's arguments. Days of a `timestamptz` are those of `zone`.
    ///
    /// # Errors
    /// `22023` for a step of zero, `42883` for arguments of other types.
    pub(super) fn new(args: &[Value], zone: TimeZone) -> SqlResult<Self> {
        if args.iter().any(Value::is_null) {
            return Ok(Series::Empty);
        }
        let zero = || SqlError::new(SqlState::InvalidParameterValue, "step size cannot equal zero");
        match args {
            [start, stop] | [start, stop, _] if start.as_i64().is_some() && stop.as_i64().is_some() => {
                let step = args.get(2).map_or(Some(1), Value::as_i64).ok_or_else(undefined)?;
                let (start, stop) = (start.as_i64().unwrap_or(0), stop.as_i64().unwrap_or(0));
                if step == 0 {
                    return Err(zero());
                }
                let small = [start, stop, step].iter().all(|v| i32::try_from(*v).is_ok());
                Ok(Series::Integers { start, stop, step, small })
            }
            [start, stop, rest @ ..] if rest.len() <= 1 && args.iter().all(|value| Numeric::of(value).is_some()) => {
                let number = |value: &Value| Numeric::of(value).ok_or_else(undefined);
                let step = rest.first().map_or(Ok(Numeric::integer(1)), number)?;
                let (start, stop) = (number(start)?, number(stop)?);
                for (what, value) in [("start", &start), ("stop", &stop), ("step size", &step)] {
                    let (kind, verb) = match value {
                        Numeric::Finite { .. } => continue,
                        Numeric::NaN => ("NaN", what),
                        _ => ("infinity", what),
                    };
                    let value = if what == "step size" { "" } else { " value" };
                    let message = format!("{verb}{value} cannot be {kind}");
                    return Err(SqlError::new(SqlState::InvalidParameterValue, message));
                }
                if step.is_zero() {
                    return Err(zero());
                }
                Ok(Series::Numerics { start, stop, step })
            }
            [start, stop, Value::Interval(step)] => {
                let zoned = matches!(start, Value::Timestamptz(_)) || matches!(stop, Value::Timestamptz(_));
                if step.approximate_micros() == 0 {
                    return Err(zero());
                }
                let (start, stop) = (time(start)?, time(stop)?);
                Ok(Series::Times { start, stop, step: *step, zone: zoned.then_some(zone) })
            }
            _ => Err(undefined()),
        }
    }

    fn ty(&self) -> SqlType {
        match self {
            Series::Empty | Series::Integers { small: true, .. } => SqlType::Int4,
            Series::Integers { .. } => SqlType::Int8,
            Series::Numerics { .. } => SqlType::Numeric(None),
            Series::Times { zone: Some(_), .. } => SqlType::Timestamptz(None),
            Series::Times { .. } => SqlType::Timestamp(None),
        }
    }

    /// The first value, and the series behind it.
    pub(super) fn next(&mut self) -> SqlResult<Option<Value>> {
        let (value, rest) = match self {
            Series::Empty => return Ok(None),
            Series::Integers { start, stop, step, small } => {
                if (*step > 0 && start > stop) || (*step < 0 && start < stop) {
                    return Ok(None);
                }
                let value = if *small { Value::Int4(*start as i32) } else { Value::Int8(*start) };
                let rest = match start.checked_add(*step) {
                    Some(start) => Series::Integers { start, stop: *stop, step: *step, small: *small },
                    None => Series::Empty,
                };
                (value, rest)
            }
            Series::Numerics { start, stop, step } => {
                let order = start.compare(stop);
                if if step.signum() > 0 { order.is_gt() } else { order.is_lt() } {
                    return Ok(None);
                }
                let rest = Series::Numerics { start: start.add(step)?, stop: stop.clone(), step: step.clone() };
                (start.clone().into_value(), rest)
            }
            Series::Times { start, stop, step, zone } => {
                let forward = step.approximate_micros() > 0;
                if (forward && start > stop) || (!forward && start < stop) {
                    return Ok(None);
                }
                let value = if zone.is_some() { Value::Timestamptz(*start) } else { Value::Timestamp(*start) };
                let next = instant_plus(*start, *step, zone.unwrap_or(TimeZone::Utc))?;
                (value, Series::Times { start: next, stop: *stop, step: *step, zone: *zone })
            }
        };
        *self = rest;
        Ok(Some(value))
    }
}

fn undefined() -> SqlError {
    SqlError::new(SqlState::UndefinedFunction, "function generate_series with these arguments does not exist")
        .hint("No function matches the given name and argument types. You might need to add explicit type casts.")
}

fn time(value: &Value) -> SqlResult<i64> {
    match value {
        Value::Date(days) => Ok(i64::from(*days) * super::datetime::DAY),
        Value::Timestamp(at) | Value::Timestamptz(at) => Ok(*at),
        Value::Text(text) => match perigee_types::text::parse(text, &SqlType::Timestamp(None))? {
            Value::Timestamp(at) => Ok(at),
            _ => Err(undefined()),
        },
        _ => Err(undefined()),
    }
}

#[derive(Debug)]
struct SeriesTable {
    schema: SchemaRef,
    series: Series,
}

#[async_trait]
impl TableProvider for SeriesTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Temporary
    }

    async fn scan(
        &self,
        _: &dyn Session,
        projection: Option<&Vec<usize>>,
        _: &[Expr],
        _: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let generator =
            Generator { schema: Arc::clone(&self.schema), begin: self.series.clone(), rest: self.series.clone() };
        let exec = LazyMemoryExec::try_new(Arc::clone(&self.schema), vec![Arc::new(RwLock::new(generator))])?;
        Ok(Arc::new(exec.with_projection(projection.cloned())))
    }
}

/// Gives the series batch by batch.
#[derive(Debug, Clone)]
struct Generator {
    schema: SchemaRef,
    begin: Series,
    rest: Series,
}

impl fmt::Display for Generator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(NAME)
    }
}

impl LazyBatchGenerator for Generator {
    fn as_any(&self) -> &dyn std::any::Any {
        self
    }

    fn generate_next_batch(&mut self) -> Result<Option<RecordBatch>> {
        let mut column = ColumnBuilder::new(&self.begin.ty(), BATCH_ROWS);
        while column.len() < BATCH_ROWS {
            let Some(value) = self.rest.next().map_err(from_sql)? else { break };
            column.push(&value).map_err(|e| from_sql(SqlError::internal(e)))?;
        }
        if column.is_empty() {
            return Ok(None);
        }
        let column: ArrayRef = column.finish();
        Ok(Some(RecordBatch::try_new(Arc::clone(&self.schema), vec![column])?))
    }

    fn reset_state(&self) -> Arc<RwLock<dyn LazyBatchGenerator>> {
        Arc::new(RwLock::new(Self { rest: self.begin.clone(), ..self.clone() }))
    }
}
