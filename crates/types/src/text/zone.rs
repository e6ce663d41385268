//! Time zones: UTC, a fixed offset, or a name of the IANA database.

use chrono::{DateTime, MappedLocalTime, NaiveDateTime, Offset, TimeZone as _};
use chrono_tz::{OffsetName, Tz};

/// A time zone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TimeZone {
    /// UTC
    #[default]
    Utc,
    /// Seconds east of Greenwich.
    Fixed(i32),
    /// A zone of the IANA database.
    Named(Tz),
}

/// Abbreviations that PostgreSQL knows without a zone, in seconds east.
const ABBREVIATIONS: &[(&str, i32)] = &[
    ("z", 0),
    ("zulu", 0),
    ("utc", 0),
    ("ut", 0),
    ("gmt", 0),
    ("wet", 0),
    ("uct", 0),
    ("cet", 3600),
    ("met", 3600),
    ("bst", 3600),
    ("west", 3600),
    ("eet", 7200),
    ("cest", 7200),
    ("mest", 7200),
    ("sast", 7200),
    ("eest", 10800),
    ("msk", 10800),
    ("ist", 7200),
    ("jst", 32400),
    ("kst", 32400),
    ("awst", 28800),
    ("acst", 34200),
    ("aest", 36000),
    ("aedt", 39600),
    ("nzst", 43200),
    ("nzdt", 46800),
    ("hst", -36000),
    ("akst", -32400),
    ("akdt", -28800),
    ("pst", -28800),
    ("pdt", -25200),
    ("mst", -25200),
    ("mdt", -21600),
    ("cst", -21600),
    ("cdt", -18000),
    ("est", -18000),
    ("edt", -14400),
    ("ast", -14400),
    ("adt", -10800),
    ("nst", -12600),
    ("ndt", -9000),
    ("brt", -10800),
    ("art", -10800),
];

impl TimeZone {
    /// Reads a value of the setting `TimeZone`: a name, an abbreviation, a number of hours east, or a POSIX zone
    /// (`GMT+3`, `<+03>-03`), whose offsets count to the west. `None` where it is nothing of these.
    #[must_use]
    pub fn parse(text: &str) -> Option<TimeZone> {
        let text = text.trim();
        if text.eq_ignore_ascii_case("utc") || text.eq_ignore_ascii_case("gmt") {
            return Some(TimeZone::Utc);
        }
        if let Ok(hours) = text.parse::<f64>() {
            return (hours.abs() <= 15.0).then(|| TimeZone::fixed((hours * 3600.0).round() as i32));
        }
        TimeZone::named(text).or_else(|| TimeZone::posix(text))
    }

    /// A zone by its IANA name, whatever the case, or by an abbreviation.
    #[must_use]
    pub fn named(text: &str) -> Option<TimeZone> {
        if let Some(seconds) = TimeZone::abbreviation(text) {
            // A few abbreviations are IANA names with rules of their own (EST5EDT is not here, CET is): the name wins.
            return Some(match Tz::from_str_insensitive(text) {
                Ok(tz) if seconds != 0 => TimeZone::Named(tz),
                _ => TimeZone::fixed(seconds),
            });
        }
        Tz::from_str_insensitive(text).ok().map(|tz| if tz == Tz::UTC { TimeZone::Utc } else { TimeZone::Named(tz) })
    }

    /// Seconds east of an abbreviation.
    #[must_use]
    pub fn abbreviation(text: &str) -> Option<i32> {
        ABBREVIATIONS.iter().find(|(name, _)| text.eq_ignore_ascii_case(name)).map(|(_, seconds)| *seconds)
    }

    /// `NAME±hh[:mm[:ss]]`, the name letters or anything in angle brackets, or absent.
    fn posix(text: &str) -> Option<TimeZone> {
        let offset = match text.strip_prefix('<') {
            Some(rest) => rest.split_once('>')?.1,
            None => text.trim_start_matches(|c: char| c.is_ascii_alphabetic()),
        };
        let (west, digits) = match offset.as_bytes().first()? {
            b'-' => (-1, &offset[1..]),
            b'+' => (1, &offset[1..]),
            _ => (1, offset),
        };
        let mut seconds = 0;
        for (part, unit) in digits.split(':').zip([3600, 60, 1]) {
            let number: i32 = part.parse().ok().filter(|n| (0..60).contains(n))?;
            seconds += number * unit;
        }
        (seconds <= 15 * 3600 + 3599 && digits.split(':').count() <= 3).then(|| TimeZone::fixed(-west * seconds))
    }

    /// A zone with one offset.
    #[must_use]
    pub fn fixed(seconds_east: i32) -> TimeZone {
        if seconds_east == 0 { TimeZone::Utc } else { TimeZone::Fixed(seconds_east) }
    }

    /// Seconds east at an instant (microseconds since 1970 UTC).
    #[must_use]
    pub fn offset_at(self, utc_micros: i64) -> i32 {
        match self {
            TimeZone::Utc => 0,
            TimeZone::Fixed(seconds) => seconds,
            TimeZone::Named(tz) => tz.offset_from_utc_datetime(&naive(utc_micros)).fix().local_minus_utc(),
        }
    }

    /// Seconds east when clocks show `local_micros`. Where they show it twice the later offset counts, where never the
    /// one before the gap, as in PostgreSQL.
    #[must_use]
    pub fn offset_of_local(self, local_micros: i64) -> i32 {
        let TimeZone::Named(tz) = self else { return self.offset_at(0) };
        let mut local = naive(local_micros);
        for _ in 0..26 {
            match tz.offset_from_local_datetime(&local) {
                MappedLocalTime::Single(offset) => return offset.fix().local_minus_utc(),
                MappedLocalTime::Ambiguous(_, later) => return later.fix().local_minus_utc(),
                MappedLocalTime::None => {
                    local = local.checked_sub_signed(chrono::TimeDelta::hours(1)).unwrap_or(NaiveDateTime::MIN);
                }
            }
        }
        0
    }

    /// The zone's abbreviation at an instant: `CET`, `UTC`, `+03`.
    #[must_use]
    pub fn abbreviation_at(self, utc_micros: i64) -> String {
        match self {
            TimeZone::Utc => "UTC".to_owned(),
            TimeZone::Fixed(seconds) => offset_text(seconds),
            TimeZone::Named(tz) => {
                let offset = tz.offset_from_utc_datetime(&naive(utc_micros));
                offset.abbreviation().map_or_else(|| offset_text(offset.fix().local_minus_utc()), str::to_owned)
            }
        }
    }

    /// As SHOW TimeZone writes it.
    #[must_use]
    pub fn name(self) -> String {
        match self {
            TimeZone::Utc => "UTC".to_owned(),
            TimeZone::Fixed(seconds) => format!("<{}>{}", offset_text(seconds), offset_text(-seconds)),
            TimeZone::Named(tz) => tz.name().to_owned(),
        }
    }
}

/// `+03`, `-03:30`
#[must_use]
pub fn offset_text(seconds_east: i32) -> String {
    let sign = if seconds_east < 0 { '-' } else { '+' };
    let seconds = seconds_east.abs();
    let (h, m, s) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match (m, s) {
        (0, 0) => format!("{sign}{h:02}"),
        (_, 0) => format!("{sign}{h:02}:{m:02}"),
        _ => format!("{sign}{h:02}:{m:02}:{s:02}"),
    }
}

/// chrono knows fewer years than PostgreSQL; outside of them the rules of its first or last year hold.
fn naive(micros: i64) -> NaiveDateTime {
    DateTime::from_timestamp_micros(micros)
        .map_or_else(|| if micros < 0 { NaiveDateTime::MIN } else { NaiveDateTime::MAX }, |time| time.naive_utc())
}
