//! Casts that Arrow does not do as PostgreSQL does: from and to text, to integers, across time zones.
//!
//! DataFusion's own cast stays where both agree (integers that widen, decimals that rescale).

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray};
use arrow::datatypes::{DataType, Date32Type, Field, FieldRef, TimeUnit, TimestampMicrosecondType};
use datafusion::common::DFSchema;
use datafusion::common::metadata::FieldMetadata;
use datafusion::error::Result;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    BinaryExpr, Cast, ColumnarValue, Expr, ExprSchemable, Operator, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature, Volatility,
};
use datafusion::scalar::ScalarValue;
use perigee_plan::evaluate::cast as cast_value;
use perigee_types::sql_type::FIELD_METADATA_KEY;
use perigee_types::text::array::{DIMENSIONS_MAX, dimensions};
use perigee_types::text::calendar::{DATE_INFINITY, DATE_MINUS_INFINITY, TIMESTAMP_INFINITY, TIMESTAMP_MINUS_INFINITY};
use perigee_types::text::{ByteaOutput, DateStyle, IntervalStyle, OutputSettings, TimeZone};
use perigee_types::{SqlError, SqlResult, SqlState, SqlType, Value};

use super::datetime::DAY;
use super::function::{each_row, is_unknown};
use super::numeric::{is_exact, is_wide, nearest_double};
use crate::exec::error::from_sql;
use crate::exec::scalar::scalar;
use crate::exec::values::SessionValue;

/// A numeric that was declared without precision, with `scale` places.
pub(super) fn numeric_field(name: &str, scale: i8) -> Field {
    // The field of another scale than the default's would otherwise say numeric(38, scale).
    let json = serde_json::to_string(&SqlType::Numeric(None)).unwrap_or_default();
    let metadata = HashMap::from([(FIELD_METADATA_KEY.to_owned(), json)]);
    Field::new(name, DataType::Decimal128(38, scale), true).with_metadata(metadata)
}

/// A literal that remembers its SQL type.
pub(super) fn literal(value: ScalarValue, field: &Field) -> Expr {
    let metadata = (!field.metadata().is_empty()).then(|| FieldMetadata::from(field));
    Expr::Literal(value, metadata)
}

/// `expr` as `CAST(expr AS field)` means it in PostgreSQL.
pub(super) fn rewrite(cast: Cast, schema: &DFSchema) -> Result<Expr> {
    let Cast { expr, field } = cast;
    if let DataType::Timestamp(TimeUnit::Nanosecond, Some(zone)) = field.data_type() {
        return at_time_zone(*expr, zone, schema);
    }
    let to = SqlType::of_field(&field);
    if let Expr::Placeholder(mut placeholder) = *expr {
        if placeholder.field.is_none() {
            placeholder.field = Some(Arc::new(to.field(placeholder.id.clone(), true)));
        }
        return finish(Expr::Placeholder(placeholder), &to, field, schema);
    }
    if let Expr::Literal(value, _) = expr.as_ref() {
        if value.is_null() {
            return Ok(literal(ScalarValue::try_from(field.data_type())?, &field));
        }
        if let ScalarValue::Utf8(Some(text)) = value {
            return text_literal(text, &to, true);
        }
    }
    finish(*expr, &to, field, schema)
}

fn finish(expr: Expr, to: &SqlType, field: FieldRef, schema: &DFSchema) -> Result<Expr> {
    let from_field = expr.to_field(schema)?.1;
    let from = SqlType::of_field(&from_field);
    // A cast is one of the elements: an array keeps its dimensions.
    if let (SqlType::Array(_), SqlType::Array(_)) = (&from, to)
        && from.dimensions() > to.dimensions()
    {
        let to = to.with_dimensions(from.dimensions());
        let field = Arc::new(to.field(field.name(), true));
        return finish(expr, &to, field, schema);
    }
    if from == *to && from_field.data_type() == field.data_type() {
        return Ok(expr);
    }
    // Arrow divides what it has rounded already.
    if matches!((&from, to), (SqlType::Int2 | SqlType::Int4 | SqlType::Int8 | SqlType::Numeric(_), SqlType::Float8))
        && let Some(value) = nearest_double(&expr).filter(|value| value.is_finite())
    {
        return Ok(literal(ScalarValue::Float64(Some(value)), &field));
    }
    let wide = holds_wide(from_field.data_type()) || holds_wide(field.data_type());
    if !wide && arrow_agrees(&from, to) {
        return Ok(Expr::Cast(Cast::new_from_field(Box::new(expr), named(to, &field))));
    }
    let target = to.field(to.internal_name(), true);
    let mut args = vec![expr];
    let formats = depends_on_formats(&from, to);
    if needs_zone(&from, to) || formats {
        args.push(SessionValue::TimeZone.expr());
    }
    if formats {
        args.push(SessionValue::Formats.expr());
    }
    if matches!(to, SqlType::Timetz(_)) {
        // A zone's offset is that of now.
        args.push(SessionValue::TransactionTime.expr());
    }
    let is_kept = |ty: &DataType| (is_exact(ty) && !is_wide(ty)) || *ty == TIMESTAMP || *ty == DataType::Date32;
    let from_exact = Some(from_field.data_type()).filter(|ty| is_kept(ty)).cloned();
    Ok(call_from(target, args, from_exact))
}

/// Whether values of a type are, or hold, numerics that Arrow has no cast for.
fn holds_wide(ty: &DataType) -> bool {
    match ty {
        DataType::List(item) => holds_wide(item.data_type()),
        ty => is_wide(ty),
    }
}

/// The type of an exact number that Arrow has a type for, where a call casts it to numeric.
pub(super) fn widened(call: &ScalarFunction) -> Option<&DataType> {
    let cast = call.func.inner().downcast_ref::<CastTo>()?;
    cast.from_exact.as_ref().filter(|_| is_wide(cast.target.data_type()))
}

/// The Arrow type of timestamps without a time zone.
const TIMESTAMP: DataType = DataType::Timestamp(TimeUnit::Microsecond, None);

/// A comparison of a date or a timestamp, as a time of UTC, or of a date as a timestamp, with a constant as one of the date or
/// timestamp itself, which statistics and indexes know; `None` where it is another.
///
/// The session's zone is known only once a plan runs.
pub(in crate::exec) fn utc_comparison(left: &Expr, op: Operator, right: &Expr) -> Option<Expr> {
    use Operator::{Eq, Gt, GtEq, Lt, LtEq, NotEq};
    if !matches!(op, Eq | NotEq | Lt | LtEq | Gt | GtEq) {
        return None;
    }
    let (value, at, zoned, flipped) = match (left, right) {
        (value, Expr::Literal(ScalarValue::TimestampMicrosecond(Some(at), zone), _)) => {
            (value, *at, zone.is_some(), false)
        }
        (Expr::Literal(ScalarValue::TimestampMicrosecond(Some(at), zone), _), value) => {
            (value, *at, zone.is_some(), true)
        }
        _ => return None,
    };
    let Expr::ScalarFunction(call) = value else { return None };
    let cast = call.func.inner().downcast_ref::<CastTo>()?;
    let (of, whole) = match call.args.as_slice() {
        [of, Expr::Literal(ScalarValue::Utf8View(Some(zone)), _)]
            if zoned && matches!(time_zone(zone), Ok(TimeZone::Utc)) =>
        {
            (of, SqlType::Timestamptz(None))
        }
        [of] if !zoned => (of, SqlType::Timestamp(None)),
        _ => return None,
    };
    if SqlType::of_field(&cast.target) != whole {
        return None;
    }
    let op = if flipped { op.swap()? } else { op };
    let constant = match cast.from_exact.as_ref()? {
        DataType::Date32 => ScalarValue::Date32(Some(day_beside(op, at)?)),
        ty if *ty == TIMESTAMP => ScalarValue::TimestampMicrosecond(Some(at), None),
        _ => return None,
    };
    let constant = Expr::Literal(constant, None);
    Some(Expr::BinaryExpr(BinaryExpr::new(Box::new(of.clone()), op, Box::new(constant))))
}

/// The day that a date compares with by `op` as its midnight does with the time `at`, all of UTC; `None` where no day does.
fn day_beside(op: Operator, at: i64) -> Option<i32> {
    if at == i64::MAX || at == i64::MIN {
        // An infinity, which no day is beside.
        return None;
    }
    let (day, is_midnight) = (at.div_euclid(DAY), at.rem_euclid(DAY) == 0);
    let day = match op {
        Operator::Gt | Operator::LtEq => day,
        Operator::GtEq | Operator::Lt => day + i64::from(!is_midnight),
        _ if is_midnight => day,
        _ => return None,
    };
    i32::try_from(day).ok()
}

/// A field with a name and so with its own metadata: a nameless one without metadata would keep those of the source.
fn named(to: &SqlType, field: &FieldRef) -> FieldRef {
    let name = if field.name().is_empty() { to.internal_name() } else { field.name().clone() };
    Arc::new(Field::new(name, field.data_type().clone(), true).with_metadata(field.metadata().clone()))
}

fn call(target: Field, args: Vec<Expr>) -> Expr {
    call_from(target, args, None)
}

fn call_from(target: Field, args: Vec<Expr>, from_exact: Option<DataType>) -> Expr {
    let udf = ScalarUDF::new_from_impl(CastTo { target: Arc::new(target), from_exact, signature: any_signature() });
    Expr::ScalarFunction(ScalarFunction::new_udf(Arc::new(udf), args))
}

fn any_signature() -> Signature {
    Signature::user_defined(Volatility::Immutable)
}

/// A literal in quotes as a value of a type. `explicit`: a cast stands there, which may cut text.
pub(super) fn text_literal(text: &str, to: &SqlType, explicit: bool) -> Result<Expr> {
    // An array has the dimensions of its text, whatever the type says; one without elements has none.
    let nested = match to {
        SqlType::Array(_) if text.trim() != "{}" => to.with_dimensions(dimensions(text).min(DIMENSIONS_MAX)),
        _ => to.clone(),
    };
    let to = &nested;
    let field = to.field(to.internal_name(), true);
    match to {
        SqlType::Range(of) | SqlType::Multirange(of) if depends_on_session(&of.subtype()) => {
            let text = Expr::Literal(ScalarValue::Utf8View(Some(text.to_owned())), None);
            let session = [SessionValue::TimeZone, SessionValue::Formats, SessionValue::TransactionTime];
            return Ok(call(field, std::iter::once(text).chain(session.map(SessionValue::expr)).collect()));
        }
        // What the text means depends on the session.
        SqlType::Date | SqlType::Time(_) | SqlType::Timetz(_) | SqlType::Timestamp(_) | SqlType::Timestamptz(_)
            if (matches!(to, SqlType::Timetz(_) | SqlType::Timestamptz(_)) || !is_plain(text))
                && !is_infinity(text) =>
        {
            let text = Expr::Literal(ScalarValue::Utf8View(Some(text.to_owned())), None);
            let session = [SessionValue::TimeZone, SessionValue::Formats, SessionValue::TransactionTime];
            return Ok(call(field, std::iter::once(text).chain(session.map(SessionValue::expr)).collect()));
        }
        SqlType::Regclass | SqlType::Regtype | SqlType::Regproc | SqlType::Regnamespace | SqlType::Regrole
            if !text.trim().bytes().all(|b| b.is_ascii_digit()) =>
        {
            let text = Expr::Literal(ScalarValue::Utf8View(Some(text.to_owned())), None);
            return super::catalog::registered(to, text);
        }
        SqlType::Array(of) if matches!(**of, SqlType::Regclass | SqlType::Regtype) => {
            let text = Expr::Literal(ScalarValue::Utf8View(Some(text.to_owned())), None);
            return super::catalog::registered(to, text);
        }
        _ => {}
    }
    let value = cast_value(Value::Text(text.to_owned()), &SqlType::Unknown, to, explicit, OutputSettings::DEFAULT);
    Ok(literal(scalar(&value.map_err(from_sql)?, field.data_type())?, &field))
}

/// Whether the text of a bound of a range means what the session says.
fn depends_on_session(subtype: &SqlType) -> bool {
    use SqlType::{Date, Time, Timestamp, Timestamptz, Timetz};
    matches!(subtype, Date | Time(_) | Timetz(_) | Timestamp(_) | Timestamptz(_))
}

/// Whether a date or time means the same in every session: it begins with the year, or with the hour, and names nothing.
fn is_plain(text: &str) -> bool {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let year_first = digits >= 4 && text.as_bytes().get(digits) == Some(&b'-');
    let hour_first = text.as_bytes().get(digits) == Some(&b':');
    (year_first || hour_first) && !text.bytes().any(|b| b.is_ascii_alphabetic() && b != b'T')
}

/// Whether a text is one of the infinities, which mean the same in every zone.
fn is_infinity(text: &str) -> bool {
    let text = text.trim();
    text.strip_prefix('-').unwrap_or(text).eq_ignore_ascii_case("infinity")
}

/// Whether a cast reads or writes text whose form the session decides.
fn depends_on_formats(from: &SqlType, to: &SqlType) -> bool {
    fn has_formats(ty: &SqlType) -> bool {
        match ty {
            SqlType::Date
            | SqlType::Time(_)
            | SqlType::Timetz(_)
            | SqlType::Timestamp(_)
            | SqlType::Timestamptz(_)
            | SqlType::Interval
            | SqlType::IntervalOf(_) => true,
            SqlType::Bytea | SqlType::Float4 | SqlType::Float8 => true,
            SqlType::Array(of) => has_formats(of),
            SqlType::Range(of) | SqlType::Multirange(of) => has_formats(&of.subtype()),
            SqlType::Record(fields) => fields.iter().any(|(_, ty)| has_formats(ty)),
            _ => false,
        }
    }
    (from.is_string() && has_formats(to)) || (has_formats(from) && to.is_string())
}

/// Whether Arrow's cast gives what PostgreSQL's does, errors apart.
fn arrow_agrees(from: &SqlType, to: &SqlType) -> bool {
    use SqlType as T;
    match (from, to) {
        (T::Int2 | T::Int4 | T::Int8 | T::Oid, T::Int2 | T::Int4 | T::Int8 | T::Numeric(_) | T::Float4 | T::Float8)
        | (T::Numeric(_), T::Numeric(Some(_)) | T::Float8 | T::Float4)
        | (T::Float4 | T::Float8, T::Float4 | T::Float8)
        | (T::Bool, T::Int4)
        | (T::Int4, T::Bool)
        | (T::Timestamp(_), T::Timestamp(None))
        | (T::Timestamptz(_), T::Timestamptz(None))
        | (T::Time(_), T::Time(None))
        | (T::Int4 | T::Int8, T::Oid | T::Regclass | T::Regtype | T::Regproc | T::Regnamespace | T::Regrole)
        | (T::Oid, T::Regclass | T::Regtype | T::Regproc | T::Regnamespace | T::Regrole)
        | (T::Regclass | T::Regtype | T::Regproc | T::Regnamespace | T::Regrole, T::Oid | T::Int4 | T::Int8) => true,
        // Text of any kind is text; only a length, or the rules of json, ask for more.
        (T::Text | T::Varchar(_) | T::Char(_) | T::Name | T::Unknown, T::Text | T::Varchar(None) | T::Unknown) => true,
        (T::Array(from), T::Array(to)) => arrow_agrees(from, to) || from == to,
        _ => from == to,
    }
}

fn needs_zone(from: &SqlType, to: &SqlType) -> bool {
    let is_zoned = |ty: &SqlType| matches!(ty, SqlType::Timestamptz(_));
    let zoned = |ty: &SqlType| match ty {
        SqlType::Range(of) | SqlType::Multirange(of) => is_zoned(&of.subtype()),
        SqlType::Array(of) => match of.element() {
            SqlType::Range(of) => is_zoned(&of.subtype()),
            element => is_zoned(element),
        },
        ty => is_zoned(ty),
    };
    zoned(from) != zoned(to) || matches!(to, SqlType::Timetz(_))
}

/// `expr AT TIME ZONE 'zone'`, which DataFusion's planner writes as a cast to a timestamp in that zone.
fn at_time_zone(expr: Expr, zone: &str, schema: &DFSchema) -> Result<Expr> {
    let zone = Expr::Literal(ScalarValue::Utf8View(Some(zone.to_owned())), None);
    let ty = expr.get_type(schema)?;
    let target = if matches!(ty, DataType::Timestamp(_, Some(_))) {
        SqlType::Timestamp(None)
    } else {
        SqlType::Timestamptz(None)
    };
    let expr = if is_unknown(&ty) || ty == DataType::Date32 {
        let field = Arc::new(SqlType::Timestamp(None).field("", true));
        rewrite(Cast::new_from_field(Box::new(expr), field), schema)?
    } else {
        expr
    };
    Ok(call(target.field("timezone", true), vec![expr, zone]))
}

/// The cast to one type; behind the value stand a time zone, the session's formats and the transaction's time, where they
/// matter.
#[derive(Debug, PartialEq, Eq, Hash)]
struct CastTo {
    target: FieldRef,
    /// The argument's type where it is a number that Arrow has an exact type for, a date or a timestamp.
    from_exact: Option<DataType>,
    signature: Signature,
}

impl ScalarUDFImpl for CastTo {
    fn name(&self) -> &str {
        self.target.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.target.data_type().clone())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        // An infinity has no time of day, and what is null in jsonb is NULL.
        let of_day = matches!(SqlType::of_field(&self.target), SqlType::Time(_) | SqlType::Timetz(_));
        let of_json = args.arg_fields.first().is_some_and(|f| SqlType::of_field(f) == SqlType::Jsonb);
        let nullable = of_day || of_json || args.arg_fields.iter().any(|f| f.is_nullable());
        Ok(Arc::new(self.target.as_ref().clone().with_nullable(nullable)))
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        Ok(arg_types.to_vec())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let types: Vec<SqlType> = args.arg_fields.iter().map(|f| SqlType::of_field(f)).collect();
        let to = match self.target.data_type() {
            DataType::Decimal128(precision, scale) => {
                SqlType::Numeric(Some((u16::from(*precision), i16::from(*scale))))
            }
            _ => SqlType::of_field(&self.target),
        };
        let from = types.first().cloned().unwrap_or(SqlType::Unknown);
        if let [ColumnarValue::Array(array)] = args.args.as_slice()
            && let Some(times) = between_days_and_times(array, self.target.data_type())
        {
            return Ok(ColumnarValue::Array(times));
        }
        each_row(&args, &types, true, |values| {
            let settings = settings(values.get(1..).unwrap_or_default())?;
            match values.first() {
                Some(value) => cast_value(value.clone(), &from, &to, true, settings),
                None => Err(SqlError::internal("a cast of nothing")),
            }
        })
    }
}

/// Dates as timestamps at midnight, or timestamps as their dates, all rows at once; `None` for other types, and where a date is no
/// timestamp.
fn between_days_and_times(array: &ArrayRef, to: &DataType) -> Option<ArrayRef> {
    let midnight = |day: i32| match day {
        DATE_INFINITY => Some(TIMESTAMP_INFINITY),
        DATE_MINUS_INFINITY => Some(TIMESTAMP_MINUS_INFINITY),
        day => i64::from(day).checked_mul(DAY),
    };
    let day = |at: i64| match at {
        TIMESTAMP_INFINITY => DATE_INFINITY,
        TIMESTAMP_MINUS_INFINITY => DATE_MINUS_INFINITY,
        at => i32::try_from(at.div_euclid(DAY)).unwrap_or(DATE_INFINITY),
    };
    match (array.data_type(), to) {
        (DataType::Date32, to) if *to == TIMESTAMP => {
            let days = array.as_primitive::<Date32Type>();
            let times = days.try_unary::<_, TimestampMicrosecondType, ()>(|of| midnight(of).ok_or(()));
            times.ok().map(|times| Arc::new(times) as ArrayRef)
        }
        (from, DataType::Date32) if *from == TIMESTAMP => {
            let times = array.as_primitive::<TimestampMicrosecondType>();
            Some(Arc::new(times.unary::<_, Date32Type>(day)))
        }
        _ => None,
    }
}

/// How values are read and written: by a time zone, the session's formats, and the transaction's time.
pub(super) fn settings(session: &[Value]) -> SqlResult<OutputSettings> {
    let mut settings = OutputSettings::DEFAULT;
    for value in session {
        match value {
            Value::Text(formats) if formats.contains('|') => formatted(formats, &mut settings),
            Value::Text(zone) => settings.time_zone = time_zone(zone)?,
            Value::Timestamptz(now) => settings.now = Some(*now),
            _ => {}
        }
    }
    Ok(settings)
}

/// Takes over what [`SessionValue::Formats`] says.
fn formatted(formats: &str, settings: &mut OutputSettings) {
    let mut parts = formats.split('|');
    let mut next = || parts.next().unwrap_or_default();
    if let Some((style, order)) = DateStyle::parse(next(), (settings.date_style, settings.date_order)) {
        (settings.date_style, settings.date_order) = (style, order);
    }
    if let Some(style) = IntervalStyle::parse(next()) {
        settings.interval_style = style;
    }
    if next().eq_ignore_ascii_case("escape") {
        settings.bytea_output = ByteaOutput::Escape;
    }
    if let Ok(digits) = next().parse() {
        settings.extra_float_digits = digits;
    }
}

/// A zone by name.
///
/// # Errors
/// `22023` where there is none.
pub(super) fn time_zone(name: &str) -> SqlResult<TimeZone> {
    TimeZone::parse(name)
        .ok_or_else(|| SqlError::new(SqlState::InvalidParameterValue, format!("time zone \"{name}\" not recognized")))
}
