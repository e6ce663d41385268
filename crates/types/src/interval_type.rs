//! Intervals that were declared with fields or digits of a second: `interval hour to minute`, `interval(3)`.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::text::interval::parse_interval;
use crate::{Interval, SqlResult};

const SECOND: i64 = 1_000_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;

/// All fields, in the upper half of a type's modifier.
const FULL_RANGE: i32 = 0x7fff;
/// All digits, in the lower half.
const FULL_PRECISION: i32 = 0xffff;

/// The fields that values keep: what is finer than the last is cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum IntervalFields {
    /// YEAR
    Year,
    /// MONTH
    Month,
    /// DAY
    Day,
    /// HOUR
    Hour,
    /// MINUTE
    Minute,
    /// SECOND
    Second,
    /// YEAR TO MONTH
    YearToMonth,
    /// DAY TO HOUR
    DayToHour,
    /// DAY TO MINUTE
    DayToMinute,
    /// DAY TO SECOND
    DayToSecond,
    /// HOUR TO MINUTE
    HourToMinute,
    /// HOUR TO SECOND
    HourToSecond,
    /// MINUTE TO SECOND
    MinuteToSecond,
}

/// What an interval was declared with besides its name; never nothing at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct IntervalType {
    /// Its fields; `None` are all.
    pub fields: Option<IntervalFields>,
    /// Its digits of a second, 0 to 6; `None` are all.
    pub digits: Option<u8>,
}

impl IntervalFields {
    /// All of them; those that begin with the words of another come before it.
    pub const ALL: [Self; 13] = [
        Self::YearToMonth,
        Self::DayToHour,
        Self::DayToMinute,
        Self::DayToSecond,
        Self::HourToMinute,
        Self::HourToSecond,
        Self::MinuteToSecond,
        Self::Year,
        Self::Month,
        Self::Day,
        Self::Hour,
        Self::Minute,
        Self::Second,
    ];

    /// The fields as words, as `format_type` prints them.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Year => "year",
            Self::Month => "month",
            Self::Day => "day",
            Self::Hour => "hour",
            Self::Minute => "minute",
            Self::Second => "second",
            Self::YearToMonth => "year to month",
            Self::DayToHour => "day to hour",
            Self::DayToMinute => "day to minute",
            Self::DayToSecond => "day to second",
            Self::HourToMinute => "hour to minute",
            Self::HourToSecond => "hour to second",
            Self::MinuteToSecond => "minute to second",
        }
    }

    /// The last field: the unit of a number without one.
    fn last(self) -> &'static str {
        match self {
            Self::Year => "year",
            Self::Month | Self::YearToMonth => "month",
            Self::Day => "day",
            Self::Hour | Self::DayToHour => "hour",
            Self::Minute | Self::DayToMinute | Self::HourToMinute => "minute",
            Self::Second | Self::DayToSecond | Self::HourToSecond | Self::MinuteToSecond => "second",
        }
    }

    /// PostgreSQL's bits: one for each field.
    fn mask(self) -> i32 {
        let (month, year, day, hour, minute, second) = (1 << 1, 1 << 2, 1 << 3, 1 << 10, 1 << 11, 1 << 12);
        match self {
            Self::Year => year,
            Self::Month => month,
            Self::Day => day,
            Self::Hour => hour,
            Self::Minute => minute,
            Self::Second => second,
            Self::YearToMonth => year | month,
            Self::DayToHour => day | hour,
            Self::DayToMinute => day | hour | minute,
            Self::DayToSecond => day | hour | minute | second,
            Self::HourToMinute => hour | minute,
            Self::HourToSecond => hour | minute | second,
            Self::MinuteToSecond => minute | second,
        }
    }
}

impl IntervalType {
    /// `atttypmod`
    #[must_use]
    pub fn modifier(self) -> i32 {
        let range = self.fields.map_or(FULL_RANGE, IntervalFields::mask);
        (range << 16) | self.digits.map_or(FULL_PRECISION, i32::from)
    }

    /// The type with a modifier; `None` for one that says nothing, or no fields that there are.
    #[must_use]
    pub fn of_modifier(modifier: i32) -> Option<Self> {
        let (range, digits) = (modifier >> 16, modifier & FULL_PRECISION);
        let digits = u8::try_from(digits).ok().filter(|digits| *digits <= 6);
        let fields = IntervalFields::ALL.into_iter().find(|fields| fields.mask() == range);
        let known = modifier >= 0 && (fields.is_some() || range == FULL_RANGE);
        Some(Self { fields, digits }).filter(|of| known && *of != Self { fields: None, digits: None })
    }

    /// Reads a value: a number without a unit counts the last field.
    ///
    /// # Errors
    /// `22007`, `22015`.
    pub fn parse(self, text: &str) -> SqlResult<Interval> {
        let words: Vec<&str> = text.split_ascii_whitespace().collect();
        let read = match (words.as_slice(), self.fields) {
            ([number], Some(fields)) if is_number(number) => parse_interval(&format!("{number} {}", fields.last())),
            ([days, hours], Some(IntervalFields::DayToHour)) if is_number(days) && is_number(hours) => {
                parse_interval(&format!("{days} day {hours} hour"))
            }
            ([clock], Some(IntervalFields::MinuteToSecond)) if clock.matches(':').count() == 1 => {
                let (sign, clock) = clock.strip_prefix('-').map_or(("", *clock), |rest| ("-", rest));
                parse_interval(&format!("{sign}00:{clock}"))
            }
            _ => parse_interval(text),
        };
        read.map(|value| self.cut(value))
    }

    /// The value without what is finer than the last field, and with the digits of a second; halves go away from zero.
    #[must_use]
    pub fn cut(self, value: Interval) -> Interval {
        use IntervalFields as F;
        let Interval { months, days, micros } = value;
        let of_day = |unit: i64| Interval { months, days, micros: micros / unit * unit };
        let value = match self.fields {
            Some(F::Year) => Interval { months: months / 12 * 12, days: 0, micros: 0 },
            Some(F::Month | F::YearToMonth) => Interval { months, days: 0, micros: 0 },
            Some(F::Day) => Interval { months, days, micros: 0 },
            Some(F::Hour | F::DayToHour) => of_day(HOUR),
            Some(F::Minute | F::DayToMinute | F::HourToMinute) => of_day(MINUTE),
            Some(F::Second | F::DayToSecond | F::HourToSecond | F::MinuteToSecond) | None => value,
        };
        let Some(digits) = self.digits.filter(|digits| *digits < 6) else { return value };
        let unit = 10_i64.pow(6 - u32::from(digits));
        let (whole, rest) = (value.micros / unit, value.micros % unit);
        let up = if rest.abs() * 2 >= unit { value.micros.signum() } else { 0 };
        Interval { micros: (whole + up).checked_mul(unit).unwrap_or(value.micros), ..value }
    }
}

fn is_number(word: &str) -> bool {
    word.parse::<f64>().is_ok() && word.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'+' | b'-' | b'.'))
}

impl fmt::Display for IntervalType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("interval")?;
        if let Some(fields) = self.fields {
            write!(f, " {}", fields.words())?;
        }
        self.digits.map_or(Ok(()), |digits| write!(f, "({digits})"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SqlType;
    use crate::text::{OutputSettings, format, parse};

    #[test]
    fn values_keep_what_was_declared() {
        use IntervalFields as F;
        let check = |fields, digits, text: &str, want: &str| {
            let ty = SqlType::IntervalOf(IntervalType { fields, digits });
            let value = parse(text, &ty).unwrap();
            assert_eq!(format(&value, &ty, &OutputSettings::DEFAULT), want, "{ty} {text}");
        };
        check(None, Some(2), "1 day 00:00:01.23456", "1 day 00:00:01.23");
        check(None, Some(0), "-1.5 s", "-00:00:02");
        check(None, Some(6), "1.234567 s", "00:00:01.234567");
        check(Some(F::Hour), None, "5", "05:00:00");
        check(Some(F::Hour), None, "1 day 2:30", "1 day 02:00:00");
        check(Some(F::DayToHour), None, "1 2", "1 day 02:00:00");
        check(Some(F::DayToSecond), Some(1), "1 2:03:04.56", "1 day 02:03:04.6");
        check(Some(F::MinuteToSecond), None, "1:30", "00:01:30");
        check(Some(F::HourToMinute), None, "1:30:59", "01:30:00");
        check(Some(F::Year), None, "1 year 11 mons", "1 year");
        check(Some(F::YearToMonth), None, "1-2 3 4:05", "1 year 2 mons");
        check(Some(F::Day), None, "1 mon 3 days 4:05", "1 mon 3 days");
    }

    #[test]
    fn modifiers_are_those_of_postgresql() {
        let of = |fields, digits| IntervalType { fields, digits };
        assert_eq!(of(None, Some(3)).modifier(), 2_147_418_115);
        assert_eq!(of(Some(IntervalFields::Hour), None).modifier(), 67_174_399);
        assert_eq!(of(Some(IntervalFields::DayToSecond), Some(3)).modifier(), 470_286_339);
        assert_eq!(of(Some(IntervalFields::DayToSecond), Some(3)).to_string(), "interval day to second(3)");
        for fields in IntervalFields::ALL.map(Some).into_iter().chain([None]) {
            for digits in [None, Some(0), Some(6)] {
                let wanted = Some(of(fields, digits)).filter(|of| *of != IntervalType { fields: None, digits: None });
                assert_eq!(IntervalType::of_modifier(of(fields, digits).modifier()), wanted);
            }
        }
        assert_eq!(IntervalType::of_modifier(-1), None);
        assert_eq!(IntervalType::of_modifier(5 << 16), None);
    }
}
