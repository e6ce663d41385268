//! Durations: `500ms`, `1s`, `5min`, `48h`, `7d`, `1h30min`, `off`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A length of time in milliseconds; zero is written `off`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(Duration);

const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1_000), ("ms", 1)];

impl Span {
    /// No time at all: whatever the setting limits is not limited, whatever it keeps is not kept.
    pub const OFF: Span = Span(Duration::ZERO);

    /// This many milliseconds.
    #[must_use]
    pub const fn from_millis(count: u64) -> Self {
        Self(Duration::from_millis(count))
    }

    /// This many seconds.
    #[must_use]
    pub const fn from_secs(count: u64) -> Self {
        Self(Duration::from_secs(count))
    }

    /// The duration, or `None` when it is off.
    #[must_use]
    pub fn get(self) -> Option<Duration> {
        (!self.0.is_zero()).then_some(self.0)
    }

    /// The duration; zero when it is off.
    #[must_use]
    pub const fn duration(self) -> Duration {
        self.0
    }
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not a duration: give a number and a unit (ms, s, min, h, d) or \"off\"");
        let mut rest = text.trim();
        if matches!(rest, "off" | "0") {
            return Ok(Self::OFF);
        }
        let mut millis: u64 = 0;
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
            let number: u64 = rest[..digits].parse().map_err(|_| wrong())?;
            rest = rest[digits..].trim_start();
            let letters = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
            let factor = match &rest[..letters] {
                "ms" => 1,
                "s" | "sec" => 1_000,
                "m" | "min" => 60_000,
                "h" => 3_600_000,
                "d" => 86_400_000,
                _ => return Err(wrong()),
            };
            rest = rest[letters..].trim_start();
            millis = number.checked_mul(factor).and_then(|part| millis.checked_add(part)).ok_or_else(wrong)?;
        }
        if text.trim().is_empty() { Err(wrong()) } else { Ok(Self::from_millis(millis)) }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        match UNITS.iter().find(|(_, factor)| millis >= *factor && millis.is_multiple_of(*factor)) {
            Some((unit, factor)) => write!(f, "{}{unit}", millis / factor),
            None => f.write_str("off"),
        }
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<u64, ()>) {
        let parsed = text.parse::<Span>().map(|span| span.duration().as_millis() as u64);
        assert_eq!(parsed.map_err(|_| ()), expected, "{text}");
    }

    #[test]
    fn durations_are_read() {
        check("off", Ok(0));
        check("0", Ok(0));
        check("500ms", Ok(500));
        check("48h", Ok(48 * 3_600_000));
        check("7d", Ok(7 * 86_400_000));
        check("1h30min", Ok(5_400_000));
        check("1 h 30 m", Ok(5_400_000));
        check("5", Err(()));
        check("", Err(()));
        check("h", Err(()));
        check("-1s", Err(()));
        check("3 fortnights", Err(()));
    }

    #[test]
    fn what_is_printed_reads_back() {
        for millis in [0, 1, 999, 1_000, 90_000, 3_600_000, 48 * 3_600_000] {
            let span = Span::from_millis(millis);
            assert_eq!(span.to_string().parse(), Ok(span));
        }
        assert_eq!(Span::from_secs(48 * 3_600).to_string(), "2d");
    }
}
