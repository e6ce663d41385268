//! Constants as SQL writes them.

use perigee_types::numeric::Numeric;
use perigee_types::text::{self, DateStyle, OutputSettings, TimeZone};
use perigee_types::{SqlResult, SqlType, Value};

use crate::sql::context::PlanContext;

/// A number without a sign, with the type that PostgreSQL gives it: integer, else bigint, else numeric.
///
/// `None` where it has more digits than a numeric holds.
pub(super) fn number(text: &str) -> Option<(Value, SqlType)> {
    let plain = text.bytes().all(|b| b.is_ascii_digit());
    if plain && let Ok(value) = text.parse::<i64>() {
        return Some(match i32::try_from(value) {
            Ok(small) => (Value::Int4(small), SqlType::Int4),
            Err(_) => (Value::Int8(value), SqlType::Int8),
        });
    }
    Some((Numeric::parse(text).ok()?.into_value(), SqlType::Numeric(None)))
}

/// Whether the text of a value of this type means something else under another TimeZone or DateStyle, or at another
/// time (`'now'`).
pub(super) fn depends_on_session(ty: &SqlType) -> bool {
    match ty {
        SqlType::Date | SqlType::Time(_) | SqlType::Timetz(_) | SqlType::Timestamp(_) | SqlType::Timestamptz(_) => true,
        SqlType::Array(of) => depends_on_session(of),
        SqlType::Range(of) | SqlType::Multirange(of) => depends_on_session(&of.subtype()),
        _ => false,
    }
}

/// The value of an untyped literal for a parameter of type `ty`, as the session reads it.
///
/// # Errors
/// `22P02` and the like, as the type's input function gives them.
pub(in crate::sql) fn untyped_value(text: &str, ty: &SqlType, context: &PlanContext) -> SqlResult<Value> {
    if depends_on_session(ty) {
        return text::parse_with(text, ty, &output_settings(context));
    }
    text::parse(text, ty)
}

/// How the session reads and writes values.
pub(in crate::sql) fn output_settings(context: &PlanContext) -> OutputSettings {
    let mut settings = OutputSettings::DEFAULT;
    if let Some(zone) = (context.settings)("timezone").and_then(|zone| TimeZone::parse(&zone)) {
        settings.time_zone = zone;
    }
    let now = (settings.date_style, settings.date_order);
    if let Some((style, order)) = (context.settings)("datestyle").and_then(|style| DateStyle::parse(&style, now)) {
        (settings.date_style, settings.date_order) = (style, order);
    }
    settings
}
