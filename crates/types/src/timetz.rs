//! `time with time zone`: a time of day and how far its zone is from UTC.
//!
//! A value is kept as 12 bytes whose order is PostgreSQL's: the moment of the day in UTC first, then the zone.
//!
//! ```text
//! microseconds of the time, plus those that its zone lies west of UTC (8 bytes, big endian, sign bit flipped)
//! seconds west of UTC (4 bytes, as well)
//! ```

use crate::error::{SqlError, SqlResult, SqlState};
use crate::sql_type::SqlType;
use crate::text::OutputSettings;
use crate::text::datetime_in;
use crate::text::datetime_out::format_time;

const DAY_MICROS: i64 = 86_400_000_000;
/// A zone lies less than 16 hours from UTC.
const WEST_MAX: i32 = 16 * 3600 - 1;

/// A time of day with its zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeTz {
    /// Microseconds since midnight, up to 24:00.
    pub micros: i64,
    /// Seconds that the zone lies west of UTC.
    pub west: i32,
}

impl TimeTz {
    /// The bytes that are kept.
    #[must_use]
    pub fn encode(self) -> Vec<u8> {
        let utc = self.micros + i64::from(self.west) * 1_000_000;
        let mut kept = Vec::with_capacity(12);
        kept.extend_from_slice(&(utc.cast_unsigned() ^ (1 << 63)).to_be_bytes());
        kept.extend_from_slice(&(self.west.cast_unsigned() ^ (1 << 31)).to_be_bytes());
        kept
    }

    /// Of the bytes that are kept; `None` where they are none.
    #[must_use]
    pub fn decode(kept: &[u8]) -> Option<Self> {
        let (utc, west) = kept.split_first_chunk::<8>()?;
        let utc = (u64::from_be_bytes(*utc) ^ (1 << 63)).cast_signed();
        let west = (u32::from_be_bytes(west.try_into().ok()?) ^ (1 << 31)).cast_signed();
        Some(Self { micros: utc.checked_sub(i64::from(west) * 1_000_000)?, west })
    }

    /// The bytes of the binary format: the time, then the zone.
    #[must_use]
    pub fn to_wire(self) -> Vec<u8> {
        let mut wire = self.micros.to_be_bytes().to_vec();
        wire.extend_from_slice(&self.west.to_be_bytes());
        wire
    }

    /// Of the binary format.
    ///
    /// # Errors
    /// `08P01` for another length, `22008` and `22009` for a time or a zone that does not exist.
    pub fn from_wire(wire: &[u8]) -> SqlResult<Self> {
        let malformed = || SqlError::new(SqlState::ProtocolViolation, "insufficient data left in message");
        let (micros, west) = wire.split_first_chunk::<8>().ok_or_else(malformed)?;
        let time = Self {
            micros: i64::from_be_bytes(*micros),
            west: i32::from_be_bytes(west.try_into().map_err(|_| malformed())?),
        };
        if !(0..=DAY_MICROS).contains(&time.micros) {
            return Err(SqlError::new(SqlState::DatetimeFieldOverflow, "time out of range"));
        }
        if time.west.abs() > WEST_MAX {
            return Err(SqlError::new(SqlState::InvalidTimeZoneDisplacement, "time zone displacement out of range"));
        }
        Ok(time)
    }

    /// With the digits of a second that a type was declared with.
    #[must_use]
    pub fn rounded(self, ty: &SqlType) -> Self {
        Self { micros: ty.rounded_micros(self.micros), ..self }
    }

    /// Reads a text. Without a zone the session's counts, as it is now.
    ///
    /// # Errors
    /// `22007`, `22008`.
    pub fn parse(text: &str, settings: &OutputSettings) -> SqlResult<Self> {
        let (micros, east) = datetime_in::parse_timetz(text, settings)?;
        Ok(Self { micros, west: -east })
    }

    /// Appends its text.
    pub fn format(self, out: &mut Vec<u8>) {
        format_time(out, self.micros);
        out.push(if self.west > 0 { b'-' } else { b'+' });
        let seconds = self.west.abs();
        out.extend_from_slice(format!("{:02}", seconds / 3600).as_bytes());
        let (minutes, seconds) = (seconds / 60 % 60, seconds % 60);
        if minutes != 0 || seconds != 0 {
            out.extend_from_slice(format!(":{minutes:02}").as_bytes());
        }
        if seconds != 0 {
            out.extend_from_slice(format!(":{seconds:02}").as_bytes());
        }
    }
}

/// Appends the text of the bytes that are kept.
pub fn format_into(out: &mut Vec<u8>, kept: &[u8]) {
    if let Some(time) = TimeTz::decode(kept) {
        time.format(out);
    }
}

/// The binary format of the bytes that are kept.
#[must_use]
pub fn to_wire(kept: &[u8]) -> Vec<u8> {
    TimeTz::decode(kept).map(TimeTz::to_wire).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> TimeTz {
        TimeTz::parse(text, &OutputSettings::DEFAULT).unwrap()
    }

    #[test]
    fn texts_come_back() {
        for (text, shown) in [
            ("12:34:56+02", "12:34:56+02"),
            ("12:34:56.5-03:30", "12:34:56.5-03:30"),
            ("00:00:00 UTC", "00:00:00+00"),
            ("12:00 CET", "12:00:00+01"),
            ("24:00:00-12", "24:00:00-12"),
            ("2024-07-01 12:00:00 Europe/Zurich", "12:00:00+02"),
        ] {
            let (mut out, time) = (Vec::new(), read(text));
            time.format(&mut out);
            assert_eq!(String::from_utf8(out).unwrap(), shown);
            assert_eq!(TimeTz::decode(&time.encode()), Some(time));
            assert_eq!(TimeTz::from_wire(&time.to_wire()).unwrap(), time);
        }
    }

    #[test]
    fn they_are_ordered_by_the_moment_and_then_by_the_zone() {
        let texts = ["10:00:00+03", "08:00:00+00", "10:00:00+02", "09:00:00+00", "08:30:00-01"];
        let mut kept: Vec<_> = texts.iter().map(|text| (read(text).encode(), *text)).collect();
        kept.sort();
        let sorted: Vec<_> = kept.iter().map(|(_, text)| *text).collect();
        assert_eq!(sorted, ["10:00:00+03", "10:00:00+02", "08:00:00+00", "09:00:00+00", "08:30:00-01"]);
    }

    #[test]
    fn a_foreign_length_is_refused() {
        assert!(TimeTz::from_wire(&[0; 11]).is_err());
        assert!(TimeTz::from_wire(&[0xff; 12]).is_err());
        assert_eq!(TimeTz::decode(&[1, 2]), None);
    }
}
