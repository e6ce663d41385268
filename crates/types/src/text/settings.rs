//! The settings of a session that decide how values are read and written.

use super::zone::TimeZone;

/// How dates are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DateStyle {
    /// `1997-12-17 07:37:16-08`
    #[default]
    Iso,
    /// `12/17/1997 07:37:16 PST`
    Sql,
    /// `Wed Dec 17 07:37:16 1997 PST`
    Postgres,
    /// `17.12.1997 07:37:16 PST`
    German,
}

/// In which order day, month and year stand where the text does not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DateOrder {
    /// month, day, year
    #[default]
    Mdy,
    /// day, month, year
    Dmy,
    /// year, month, day
    Ymd,
}

/// How intervals are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IntervalStyle {
    /// `1 year 2 mons 3 days 04:05:06`
    #[default]
    Postgres,
    /// `@ 1 year 2 mons 3 days 4 hours 5 mins 6 secs`
    PostgresVerbose,
    /// `+1-2 +3 +4:05:06`
    SqlStandard,
    /// `P1Y2M3DT4H5M6S`
    Iso8601,
}

/// How bytea is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ByteaOutput {
    /// `\x68690a`
    #[default]
    Hex,
    /// `hi\012`
    Escape,
}

/// What a session's settings say about the text of values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OutputSettings {
    /// TimeZone
    pub time_zone: TimeZone,
    /// The style of DateStyle.
    pub date_style: DateStyle,
    /// The order of DateStyle.
    pub date_order: DateOrder,
    /// IntervalStyle
    pub interval_style: IntervalStyle,
    /// bytea_output
    pub bytea_output: ByteaOutput,
    /// extra_float_digits: above 0 the shortest text that reads back the same, else 15 (6) digits and this many more.
    pub extra_float_digits: i8,
    /// The transaction's start in microseconds since 1970 UTC, for the inputs `now`, `today`, …; without it they are
    /// refused.
    pub now: Option<i64>,
}

impl OutputSettings {
    /// PostgreSQL's defaults in UTC.
    pub const DEFAULT: OutputSettings = OutputSettings {
        time_zone: TimeZone::Utc,
        date_style: DateStyle::Iso,
        date_order: DateOrder::Mdy,
        interval_style: IntervalStyle::Postgres,
        bytea_output: ByteaOutput::Hex,
        extra_float_digits: 1,
        now: None,
    };
}

impl Default for OutputSettings {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl DateStyle {
    /// Reads a value of the setting `DateStyle` (`ISO, MDY`, `german`, `dmy`, …) on top of what holds now; `None` where
    /// it is not one.
    #[must_use]
    pub fn parse(text: &str, now: (DateStyle, DateOrder)) -> Option<(DateStyle, DateOrder)> {
        let (mut style, mut order) = now;
        let mut ordered = false;
        for word in text.split([',', ' ']).map(str::trim).filter(|w| !w.is_empty()) {
            match word.to_ascii_lowercase().as_str() {
                "iso" => style = DateStyle::Iso,
                "sql" => style = DateStyle::Sql,
                "german" => {
                    style = DateStyle::German;
                    if !ordered {
                        order = DateOrder::Dmy;
                    }
                }
                w if w.starts_with("postgres") => style = DateStyle::Postgres,
                "ymd" => (order, ordered) = (DateOrder::Ymd, true),
                "dmy" => (order, ordered) = (DateOrder::Dmy, true),
                w if w.starts_with("euro") => (order, ordered) = (DateOrder::Dmy, true),
                "mdy" | "us" => (order, ordered) = (DateOrder::Mdy, true),
                w if w.starts_with("noneuro") => (order, ordered) = (DateOrder::Mdy, true),
                "default" => (style, order) = (DateStyle::Iso, DateOrder::Mdy),
                _ => return None,
            }
        }
        Some((style, order))
    }

    /// As SHOW writes it.
    #[must_use]
    pub fn text(self, order: DateOrder) -> String {
        let style = match self {
            DateStyle::Iso => "ISO",
            DateStyle::Sql => "SQL",
            DateStyle::Postgres => "Postgres",
            DateStyle::German => "German",
        };
        let order = match order {
            DateOrder::Mdy => "MDY",
            DateOrder::Dmy => "DMY",
            DateOrder::Ymd => "YMD",
        };
        format!("{style}, {order}")
    }
}

impl IntervalStyle {
    /// Reads a value of the setting; `None` where it is not one.
    #[must_use]
    pub fn parse(text: &str) -> Option<IntervalStyle> {
        Some(match text.to_ascii_lowercase().as_str() {
            "postgres" => IntervalStyle::Postgres,
            "postgres_verbose" => IntervalStyle::PostgresVerbose,
            "sql_standard" => IntervalStyle::SqlStandard,
            "iso_8601" => IntervalStyle::Iso8601,
            _ => return None,
        })
    }

    /// As SHOW writes it.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            IntervalStyle::Postgres => "postgres",
            IntervalStyle::PostgresVerbose => "postgres_verbose",
            IntervalStyle::SqlStandard => "sql_standard",
            IntervalStyle::Iso8601 => "iso_8601",
        }
    }
}
