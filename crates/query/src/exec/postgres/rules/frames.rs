//! `RANGE BETWEEN … PRECEDING`: a frame that goes by distance, brought to types that DataFusion has distances of.

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::logical_expr::expr::Sort;
use datafusion::logical_expr::{ExprSchemable, WindowFrame, WindowFrameBound, cast};
use perigee_types::{SqlError, SqlState, SqlType, Value, text};

use super::super::function::type_name;
use super::super::numeric::is_wide;
use crate::exec::error::from_sql;

/// # Errors
/// `0A000` for a column that has no distances, or not of the kind that is written; `22013` for one that goes back.
pub(super) fn by_distance(frame: &mut WindowFrame, order_by: &mut [Sort], schema: &DFSchema) -> Result<()> {
    let [by] = order_by else { return Ok(()) };
    let ty = by.expr.get_type(schema)?;
    let by_time = matches!(ty, DataType::Date32 | DataType::Time64(_) | DataType::Timestamp(TimeUnit::Microsecond, _));
    if !by_time && !ty.is_numeric() && !is_wide(&ty) {
        return Err(refused(&ty, ""));
    }
    for bound in [&mut frame.start_bound, &mut frame.end_bound] {
        let (WindowFrameBound::Preceding(offset) | WindowFrameBound::Following(offset)) = bound else { continue };
        let ScalarValue::Utf8(Some(written)) = &offset else { continue };
        if !by_time {
            if written.parse::<f64>().is_err() {
                return Err(refused(&ty, " and offset type interval"));
            }
            continue;
        }
        if written.parse::<f64>().is_ok() {
            let kind = if written.contains(['.', 'e', 'E']) { "numeric" } else { "integer" };
            return Err(refused(&ty, &format!(" and offset type {kind}")));
        }
        let Value::Interval(distance) = text::parse(written, &SqlType::Interval).map_err(from_sql)? else { continue };
        if distance.approximate_micros() < 0 {
            return Err(from_sql(SqlError::new(
                SqlState::InvalidPrecedingOrFollowingSize,
                "invalid preceding or following size in window function",
            )));
        }
        if matches!(ty, DataType::Time64(_)) {
            // A time of day has no days: they leave it at once.
            let micros = i64::try_from(distance.approximate_micros()).unwrap_or(i64::MAX);
            *offset = ScalarValue::Int64(Some(micros));
        }
    }
    match ty {
        DataType::Date32 => {
            by.expr = cast(std::mem::take(&mut by.expr), DataType::Timestamp(TimeUnit::Microsecond, None))
        }
        DataType::Time64(_) => by.expr = cast(std::mem::take(&mut by.expr), DataType::Int64),
        _ => {}
    }
    Ok(())
}

fn refused(ty: &DataType, offset: &str) -> datafusion::error::DataFusionError {
    let message =
        format!("RANGE with offset PRECEDING/FOLLOWING is not supported for column type {}{offset}", type_name(ty));
    from_sql(SqlError::new(SqlState::FeatureNotSupported, message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::logical_expr::{Expr, WindowFrameUnits, col};

    fn frame(offset: &str) -> WindowFrame {
        let offset = ScalarValue::Utf8(Some(offset.to_owned()));
        let start = WindowFrameBound::Preceding(offset);
        WindowFrame::new_bounds(WindowFrameUnits::Range, start, WindowFrameBound::CurrentRow)
    }

    fn check(ty: DataType, offset: &str) -> std::result::Result<(WindowFrame, Expr), String> {
        let fields = vec![arrow::datatypes::Field::new("x", ty, true)];
        let schema = DFSchema::try_from(arrow::datatypes::Schema::new(fields)).unwrap();
        let (mut frame, mut order) = (frame(offset), [Sort::new(col("x"), true, false)]);
        match by_distance(&mut frame, &mut order, &schema) {
            Ok(()) => Ok((frame, order[0].expr.clone())),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn times_go_by_intervals_and_numbers_by_numbers() {
        let time = DataType::Time64(TimeUnit::Microsecond);
        let (made, _) = check(time, "1 hour").unwrap();
        assert_eq!(made.start_bound, WindowFrameBound::Preceding(ScalarValue::Int64(Some(3_600_000_000))));
        assert!(check(DataType::Int32, "2").is_ok());
        assert!(check(DataType::Date32, "1 day").is_ok());
        for (ty, offset) in [(DataType::Int32, "1 day"), (DataType::Date32, "1"), (DataType::Utf8View, "1")] {
            assert!(check(ty, offset).unwrap_err().contains("is not supported for column type"));
        }
        assert!(check(DataType::Date32, "-1 day").unwrap_err().contains("invalid preceding"));
    }
}
