//! What `.datetime()` gives: a date, a time or both, with a zone or without.

use std::cmp::Ordering;
use std::sync::Arc;

use perigee_types::text::calendar::DAY_MICROS;
use perigee_types::text::{OutputSettings, TimeZone, datetime_out};
use perigee_types::{SqlError, SqlResult, SqlState};

use crate::exec::view::ReadView;

/// The type of a [`Moment`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Date,
    Time,
    TimeTz,
    Timestamp,
    TimestampTz,
}

impl Kind {
    /// As `.type()` says it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Date => "date",
            Kind::Time => "time without time zone",
            Kind::TimeTz => "time with time zone",
            Kind::Timestamp => "timestamp without time zone",
            Kind::TimestampTz => "timestamp with time zone",
        }
    }

    fn short_name(self) -> &'static str {
        match self {
            Kind::Date => "date",
            Kind::Time => "time",
            Kind::TimeTz => "timetz",
            Kind::Timestamp => "timestamp",
            Kind::TimestampTz => "timestamptz",
        }
    }

    fn has_zone(self) -> bool {
        matches!(self, Kind::TimeTz | Kind::TimestampTz)
    }

    fn has_date(self) -> bool {
        !matches!(self, Kind::Time | Kind::TimeTz)
    }
}

/// A point in time as it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Moment {
    pub(super) kind: Kind,
    /// Microseconds since midnight or since 1970-01-01 00:00, as clocks in its zone show them.
    pub(super) local: i128,
    /// Seconds east of UTC; zero without a zone.
    pub(super) east: i32,
}

impl Moment {
    /// As it stands in JSON.
    pub(super) fn text(&self) -> String {
        let settings = &OutputSettings::DEFAULT;
        let mut out = Vec::new();
        match self.kind {
            Kind::Date => {
                let days = i32::try_from(self.local.div_euclid(i128::from(DAY_MICROS))).unwrap_or(i32::MAX - 1);
                datetime_out::format_date(&mut out, days, settings);
            }
            Kind::Time | Kind::TimeTz => datetime_out::format_time(&mut out, self.micros()),
            Kind::Timestamp | Kind::TimestampTz => datetime_out::format_timestamp(&mut out, self.micros(), settings),
        }
        let mut text = String::from_utf8(out).unwrap_or_default().replacen(' ', "T", 1);
        if self.kind.has_zone() {
            let (sign, east) = if self.east < 0 { ('-', -self.east) } else { ('+', self.east) };
            text.push_str(&format!("{sign}{:02}:{:02}", east / 3600, east / 60 % 60));
            if east % 60 != 0 {
                text.push_str(&format!(":{:02}", east % 60));
            }
        }
        text
    }

    /// What a timestamp or time holds; a date may be beyond it.
    fn micros(&self) -> i64 {
        i64::try_from(self.local).unwrap_or(i64::MAX - 1)
    }

    fn utc(&self) -> i128 {
        self.local - i128::from(self.east) * 1_000_000
    }

    /// The order of two; `None` for a date and a time, which do not compare.
    ///
    /// # Errors
    /// `0A000` where one has a zone and there is none for the other.
    pub(super) fn compare(
        &self,
        other: &Self,
        zone: Option<TimeZone>,
        view: Option<&Arc<ReadView>>,
    ) -> SqlResult<Option<Ordering>> {
        if self.kind.has_date() != other.kind.has_date() {
            return Ok(None);
        }
        let (a, b) = match (self.kind.has_zone(), other.kind.has_zone()) {
            (false, false) => return Ok(Some(self.local.cmp(&other.local))),
            (true, true) => (*self, *other),
            (false, true) => (self.zoned(other.kind, zone, view)?, *other),
            (true, false) => (*self, other.zoned(self.kind, zone, view)?),
        };
        // Times of day at the same moment are ordered by their zones, as timetz is.
        let by_zone = if a.kind == Kind::TimeTz { b.east.cmp(&a.east) } else { Ordering::Equal };
        Ok(Some(a.utc().cmp(&b.utc()).then(by_zone)))
    }

    /// The same in the session's zone.
    fn zoned(&self, kind: Kind, zone: Option<TimeZone>, view: Option<&Arc<ReadView>>) -> SqlResult<Self> {
        let Some(zone) = zone else {
            let (from, to) = (self.kind.short_name(), kind.short_name());
            return Err(SqlError::new(
                SqlState::FeatureNotSupported,
                format!("cannot convert value from {from} to {to} without time zone usage"),
            )
            .hint("Use *_tz() function for time zone support."));
        };
        let east = if kind == Kind::TimeTz {
            zone.offset_at(view.map_or(0, |view| view.session.transaction_time))
        } else {
            zone.offset_of_local(self.micros())
        };
        Ok(Self { kind, local: self.local, east })
    }
}
