//! Writing date, time, timestamp and timestamptz.

use super::calendar::{
    DATE_INFINITY, DATE_MINUS_INFINITY, DAY_MICROS, MONTHS, TIMESTAMP_INFINITY, TIMESTAMP_MINUS_INFINITY, WEEKDAYS,
    civil_from_days, weekday,
};
use super::number::format_integer;
use super::settings::{DateOrder, DateStyle, OutputSettings};
use super::zone::TimeZone;

/// Appends a date (days since 1970-01-01).
pub fn format_date(out: &mut Vec<u8>, days: i32, settings: &OutputSettings) {
    match days {
        DATE_INFINITY => out.extend_from_slice(b"infinity"),
        DATE_MINUS_INFINITY => out.extend_from_slice(b"-infinity"),
        _ => {
            let bc = write_date(out, i64::from(days), settings);
            write_era(out, bc);
        }
    }
}

/// Appends a time (microseconds since midnight; a whole day is 24:00:00).
pub fn format_time(out: &mut Vec<u8>, micros: i64) {
    let seconds = micros.div_euclid(1_000_000);
    two(out, seconds / 3600);
    out.push(b':');
    two(out, seconds / 60 % 60);
    out.push(b':');
    two(out, seconds % 60);
    fraction(out, micros.rem_euclid(1_000_000));
}

/// Appends a timestamp (microseconds since 1970).
pub fn format_timestamp(out: &mut Vec<u8>, micros: i64, settings: &OutputSettings) {
    if !write_infinite(out, micros) {
        write_moment(out, micros, None, settings);
    }
}

/// Appends a timestamptz (microseconds since 1970 UTC) as clocks of the session's zone show it.
pub fn format_timestamptz(out: &mut Vec<u8>, micros: i64, settings: &OutputSettings) {
    if !write_infinite(out, micros) {
        let offset = settings.time_zone.offset_at(micros);
        let local = micros.saturating_add(i64::from(offset) * 1_000_000);
        write_moment(out, local, Some((settings.time_zone, offset, micros)), settings);
    }
}

fn write_infinite(out: &mut Vec<u8>, micros: i64) -> bool {
    match micros {
        TIMESTAMP_INFINITY => out.extend_from_slice(b"infinity"),
        TIMESTAMP_MINUS_INFINITY => out.extend_from_slice(b"-infinity"),
        _ => return false,
    }
    true
}

fn write_moment(out: &mut Vec<u8>, local: i64, zone: Option<(TimeZone, i32, i64)>, settings: &OutputSettings) {
    let (days, of_day) = (local.div_euclid(DAY_MICROS), local.rem_euclid(DAY_MICROS));
    let bc = if settings.date_style == DateStyle::Postgres {
        let (year, month, day) = civil_from_days(days);
        let month = &MONTHS[month as usize - 1][..3];
        out.extend_from_slice(&WEEKDAYS[weekday(days)].as_bytes()[..3]);
        out.push(b' ');
        if settings.date_order == DateOrder::Dmy {
            two(out, i64::from(day));
            out.push(b' ');
            out.extend_from_slice(month.as_bytes());
        } else {
            out.extend_from_slice(month.as_bytes());
            out.push(b' ');
            two(out, i64::from(day));
        }
        out.push(b' ');
        format_time(out, of_day);
        out.push(b' ');
        write_year(out, year)
    } else {
        let bc = write_date(out, days, settings);
        out.push(b' ');
        format_time(out, of_day);
        bc
    };
    if let Some((zone, offset, utc)) = zone {
        if settings.date_style == DateStyle::Iso {
            write_offset(out, offset);
        } else {
            out.push(b' ');
            out.extend_from_slice(zone.abbreviation_at(utc).as_bytes());
        }
    }
    write_era(out, bc);
}

/// Appends a date in the session's style without its era; tells whether it is BC.
fn write_date(out: &mut Vec<u8>, days: i64, settings: &OutputSettings) -> bool {
    let (year, month, day) = civil_from_days(days);
    let (month, day) = (i64::from(month), i64::from(day));
    let separator = match settings.date_style {
        DateStyle::Iso => {
            let bc = write_year(out, year);
            out.push(b'-');
            two(out, month);
            out.push(b'-');
            two(out, day);
            return bc;
        }
        DateStyle::Sql => b'/',
        DateStyle::Postgres => b'-',
        DateStyle::German => b'.',
    };
    let day_first = settings.date_order == DateOrder::Dmy || settings.date_style == DateStyle::German;
    let (first, second) = if day_first { (day, month) } else { (month, day) };
    two(out, first);
    out.push(separator);
    two(out, second);
    out.push(separator);
    write_year(out, year)
}

/// Appends a year with at least four digits; tells whether it is BC.
fn write_year(out: &mut Vec<u8>, year: i64) -> bool {
    let bc = year <= 0;
    let shown = if bc { 1 - year } else { year };
    if shown < 10_000 {
        two(out, shown / 100);
        two(out, shown % 100);
    } else {
        format_integer(out, shown);
    }
    bc
}

fn write_era(out: &mut Vec<u8>, bc: bool) {
    if bc {
        out.extend_from_slice(b" BC");
    }
}

/// Appends `+02`, `-03:30`.
fn write_offset(out: &mut Vec<u8>, seconds_east: i32) {
    out.push(if seconds_east < 0 { b'-' } else { b'+' });
    let seconds = i64::from(seconds_east.unsigned_abs());
    two(out, seconds / 3600);
    if seconds % 3600 != 0 {
        out.push(b':');
        two(out, seconds / 60 % 60);
        if seconds % 60 != 0 {
            out.push(b':');
            two(out, seconds % 60);
        }
    }
}

/// Appends two digits.
pub(super) fn two(out: &mut Vec<u8>, number: i64) {
    if number < 100 {
        out.extend_from_slice(&[b'0' + (number / 10) as u8, b'0' + (number % 10) as u8]);
    } else {
        format_integer(out, number);
    }
}

/// Appends a fraction of a second without zeros at its end, nothing when it is zero.
pub(super) fn fraction(out: &mut Vec<u8>, micros: i64) {
    if micros == 0 {
        return;
    }
    out.push(b'.');
    let (mut rest, mut unit) = (micros, 100_000);
    while rest > 0 {
        out.push(b'0' + (rest / unit) as u8);
        rest %= unit;
        unit /= 10;
    }
}
