//! Ranges of time: what `time_bucket` gives, and what continuous aggregates are kept by.

use crate::text::calendar::{civil_from_days, days_from_civil};
use crate::{Interval, SqlError, SqlResult, SqlState, SqlType, Value};

const DAY: i64 = 86_400_000_000;
/// Ranges of days and shorter begin at a Monday, 2000-01-03.
const ORIGIN: i64 = 10_959 * DAY;
/// Ranges of months begin at 2000-01-01.
const ORIGIN_MONTH: i64 = 2000 * 12;

/// How long a range is: so many months, or so many microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BucketWidth {
    /// Months of the calendar.
    Months(i64),
    /// Microseconds; a day has 24 hours.
    Micros(i64),
}

impl BucketWidth {
    /// # Errors
    /// `22023` for an interval that is not positive, `0A000` for months together with days or times.
    pub fn new(interval: Interval) -> SqlResult<Self> {
        let micros = i64::from(interval.days).saturating_mul(DAY).saturating_add(interval.micros);
        if interval.months != 0 && micros != 0 {
            return Err(SqlError::unsupported("an interval of months together with days or times as a bucket"));
        }
        let width = match interval.months {
            0 => Self::Micros(micros),
            months => Self::Months(i64::from(months)),
        };
        match width {
            Self::Months(..=0) | Self::Micros(..=0) => {
                Err(SqlError::new(SqlState::InvalidParameterValue, "period must be greater than 0"))
            }
            width => Ok(width),
        }
    }

    /// The beginning of the range that a time is in, in microseconds since 1970. Infinite times are ranges of their own.
    #[must_use]
    pub fn start(self, at: i64) -> i64 {
        if is_infinite(at) {
            return at;
        }
        match self {
            Self::Micros(width) => {
                // The distance from the origin may not fit.
                let distance = (i128::from(at) - i128::from(ORIGIN)).div_euclid(i128::from(width)) * i128::from(width);
                i64::try_from(i128::from(ORIGIN) + distance).unwrap_or(i64::MIN + 1)
            }
            Self::Months(width) => month_start(month_of(at).saturating_sub(ORIGIN_MONTH).div_euclid(width) * width),
        }
    }

    /// The last microsecond of the range that begins at `start`.
    #[must_use]
    pub fn last(self, start: i64) -> i64 {
        if is_infinite(start) {
            return start;
        }
        let next = match self {
            Self::Micros(width) => start.saturating_add(width),
            Self::Months(width) => month_start(month_of(start) - ORIGIN_MONTH + width),
        };
        (next - 1).min(i64::MAX - 1)
    }

    /// The beginning of the range that a value is in, of the value's type: timestamp, timestamptz or date.
    ///
    /// # Errors
    /// Internal for other types.
    pub fn start_of(self, value: &Value) -> SqlResult<Value> {
        Ok(match value {
            Value::Null => Value::Null,
            Value::Timestamp(at) => Value::Timestamp(self.start(*at)),
            Value::Timestamptz(at) => Value::Timestamptz(self.start(*at)),
            Value::Date(day) => match micros(value) {
                Some(at) if !is_infinite(at) => {
                    Value::Date(i32::try_from(self.start(at).div_euclid(DAY)).unwrap_or(i32::MIN + 1))
                }
                _ => Value::Date(*day),
            },
            _ => return Err(SqlError::internal("a bucket for something without a time")),
        })
    }
}

/// A time in microseconds since 1970; infinite ones are the ends of the numbers. `None` for what is no time.
#[must_use]
pub fn micros(value: &Value) -> Option<i64> {
    match value {
        Value::Timestamp(at) | Value::Timestamptz(at) => Some(*at),
        Value::Date(i32::MAX) => Some(i64::MAX),
        Value::Date(i32::MIN) => Some(i64::MIN),
        Value::Date(day) => Some(i64::from(*day) * DAY),
        _ => None,
    }
}

/// Microseconds since 1970 as a value of a type; of timestamptz for what is no date and no timestamp.
#[must_use]
pub fn time_value(at: i64, ty: &SqlType) -> Value {
    match ty {
        SqlType::Date => Value::Date(match at {
            i64::MAX => i32::MAX,
            i64::MIN => i32::MIN,
            at => i32::try_from(at.div_euclid(DAY)).unwrap_or(i32::MAX),
        }),
        SqlType::Timestamp(_) => Value::Timestamp(at),
        _ => Value::Timestamptz(at),
    }
}

fn is_infinite(at: i64) -> bool {
    at == i64::MAX || at == i64::MIN
}

/// Months since year 0.
fn month_of(at: i64) -> i64 {
    let (year, month, _) = civil_from_days(at.div_euclid(DAY));
    year * 12 + i64::from(month) - 1
}

/// The beginning of a month, counted from the origin.
fn month_start(month: i64) -> i64 {
    let month = month + ORIGIN_MONTH;
    days_from_civil(month.div_euclid(12), month.rem_euclid(12) as u32 + 1, 1).saturating_mul(DAY)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn width(months: i32, days: i32, micros: i64) -> BucketWidth {
        BucketWidth::new(Interval { months, days, micros }).unwrap()
    }

    fn at(year: i64, month: u32, day: u32, micros: i64) -> i64 {
        days_from_civil(year, month, day) * DAY + micros
    }

    #[test]
    fn ranges_hold_the_times_in_them() {
        let widths = [
            width(0, 0, 1),
            width(0, 0, 300_000_000),
            width(0, 1, 0),
            width(0, 7, 0),
            width(1, 0, 0),
            width(3, 0, 0),
            width(12, 0, 0),
        ];
        let times = [
            0,
            -1,
            1,
            at(2024, 2, 29, 5),
            at(1999, 12, 31, DAY - 1),
            at(2000, 1, 1, 0),
            at(-50, 3, 1, 7),
            at(9999, 12, 31, 0),
        ];
        for width in widths {
            for time in times {
                let start = width.start(time);
                let last = width.last(start);
                assert!(start <= time && time <= last, "{width:?} {time}: {start} to {last}");
                assert_eq!((width.start(start), width.start(last)), (start, start), "{width:?} {time}");
                assert_eq!(width.start(last + 1), last + 1, "{width:?} {time}");
            }
        }
    }

    #[test]
    fn weeks_begin_on_monday_and_months_on_their_first() {
        assert_eq!(width(0, 7, 0).start(at(2024, 5, 16, 9)), at(2024, 5, 13, 0));
        assert_eq!(width(1, 0, 0).start(at(2024, 5, 16, 9)), at(2024, 5, 1, 0));
        assert_eq!(width(3, 0, 0).start(at(2024, 5, 16, 9)), at(2024, 4, 1, 0));
        assert_eq!(width(1, 0, 0).start(i64::MAX), i64::MAX);
        assert!(BucketWidth::new(Interval { months: 1, days: 1, micros: 0 }).is_err());
        assert!(BucketWidth::new(Interval { months: 0, days: 0, micros: 0 }).is_err());
    }
}
