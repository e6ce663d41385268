//! Casts that Arrow does not do as PostgreSQL does: from and to text, to integers, across time zones.
//!
//! DataFusion's own cast stays where both agree (integers that widen, decimals that rescale).

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, TimeUnit};
use datafusion::common::DFSchema;
use datafusion::common::metadata::FieldMetadata;
use datafusion::error::Result;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    Cast, ColumnarValue, Expr, ExprSchemable, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};
use datafusion::scalar::ScalarValue;
use perigee_plan::evaluate::cast as cast_value;
use perigee_plan::evaluate::numeric::Decimal;
use perigee_types::sql_type::FIELD_METADATA_KEY;
use perigee_types::text::{OutputSettings, TimeZone};
use perigee_types::{SqlError, SqlResult, SqlState, SqlType, Value};

use super::function::{each_row, is_unknown};
use crate::exec::error::from_sql;
use crate::exec::scalar::scalar;
use crate::exec::values::SessionValue;

/// Decimal places that a float keeps as an unconstrained numeric.
const FLOAT_SCALE: i8 = 15;

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
    if from == *to && from_field.data_type() == field.data_type() {
        return Ok(expr);
    }
    if *to == SqlType::Numeric(None) {
        match from_field.data_type() {
            DataType::Decimal128(_, scale) => {
                let target = Arc::new(numeric_field("numeric", *scale));
                return Ok(Expr::Cast(Cast::new_from_field(Box::new(expr), target)));
            }
            DataType::Int16 | DataType::Int32 | DataType::Int64 => {
                let target = Arc::new(numeric_field("numeric", 0));
                return Ok(Expr::Cast(Cast::new_from_field(Box::new(expr), target)));
            }
            _ => {}
        }
    }
    if arrow_agrees(&from, to) {
        return Ok(Expr::Cast(Cast::new_from_field(Box::new(expr), named(to, &field))));
    }
    let target = match to {
        SqlType::Numeric(None) => numeric_field("numeric", FLOAT_SCALE),
        _ => to.field(to.internal_name(), true),
    };
    let mut args = vec![expr];
    if needs_zone(&from, to) {
        args.push(SessionValue::TimeZone.expr());
    }
    Ok(call(target, args))
}

/// A field with a name and so with its own metadata: a nameless one without metadata would keep those of the source.
fn named(to: &SqlType, field: &FieldRef) -> FieldRef {
    let name = if field.name().is_empty() { to.internal_name() } else { field.name().clone() };
    Arc::new(Field::new(name, field.data_type().clone(), true).with_metadata(field.metadata().clone()))
}

fn call(target: Field, args: Vec<Expr>) -> Expr {
    let udf = ScalarUDF::new_from_impl(CastTo { target: Arc::new(target), signature: any_signature() });
    Expr::ScalarFunction(ScalarFunction::new_udf(Arc::new(udf), args))
}

fn any_signature() -> Signature {
    Signature::user_defined(Volatility::Immutable)
}

/// A literal in quotes as a value of a type. `explicit`: a cast stands there, which may cut text.
pub(super) fn text_literal(text: &str, to: &SqlType, explicit: bool) -> Result<Expr> {
    let field = to.field(to.internal_name(), true);
    match to {
        // What the text means depends on the session.
        SqlType::Timestamptz => {
            let text = Expr::Literal(ScalarValue::Utf8View(Some(text.to_owned())), None);
            return Ok(call(field, vec![text, SessionValue::TimeZone.expr()]));
        }
        SqlType::Date | SqlType::Timestamp if is_relative(text) => {
            let text = Expr::Literal(ScalarValue::Utf8View(Some(text.to_owned())), None);
            return Ok(call(field, vec![text, SessionValue::TimeZone.expr(), SessionValue::TransactionTime.expr()]));
        }
        SqlType::Regclass | SqlType::Regtype | SqlType::Regproc if !text.trim().bytes().all(|b| b.is_ascii_digit()) => {
            let text = Expr::Literal(ScalarValue::Utf8View(Some(text.to_owned())), None);
            return super::catalog::registered(to, text);
        }
        SqlType::Numeric(None) => {
            if let Some(decimal) = Decimal::parse_signed(text) {
                let scale = i8::try_from(decimal.scale).unwrap_or(38);
                let value = ScalarValue::Decimal128(Some(decimal.unscaled), 38, scale);
                return Ok(literal(value, &numeric_field("numeric", scale)));
            }
        }
        _ => {}
    }
    let value = cast_value(Value::Text(text.to_owned()), &SqlType::Unknown, to, explicit, OutputSettings::DEFAULT);
    Ok(literal(scalar(&value.map_err(from_sql)?, field.data_type())?, &field))
}

/// Reads a number with its sign.
trait ParseSigned: Sized {
    fn parse_signed(text: &str) -> Option<Self>;
}

impl ParseSigned for Decimal {
    fn parse_signed(text: &str) -> Option<Self> {
        let text = text.trim();
        let (negative, digits) = match text.as_bytes().first()? {
            b'-' => (true, &text[1..]),
            b'+' => (false, &text[1..]),
            _ => (false, text),
        };
        if !digits.bytes().next()?.is_ascii_digit() && !digits.starts_with('.') {
            return None;
        }
        let decimal = Decimal::parse(digits)?;
        Some(if negative { Decimal { unscaled: -decimal.unscaled, ..decimal } } else { decimal })
    }
}

/// `now`, `today` and their like, which mean the transaction's time.
fn is_relative(text: &str) -> bool {
    ["now", "today", "tomorrow", "yesterday"].iter().any(|word| text.trim().eq_ignore_ascii_case(word))
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
        | (T::Date, T::Timestamp)
        | (T::Timestamp, T::Date)
        | (T::Int4 | T::Int8, T::Oid | T::Regclass | T::Regtype | T::Regproc)
        | (T::Oid, T::Regclass | T::Regtype | T::Regproc)
        | (T::Regclass | T::Regtype | T::Regproc, T::Oid | T::Int4 | T::Int8) => true,
        // Text of any kind is text; only a length, or the rules of json, ask for more.
        (T::Text | T::Varchar(_) | T::Char(_) | T::Name | T::Unknown, T::Text | T::Varchar(None) | T::Unknown) => true,
        (T::Array(from), T::Array(to)) => arrow_agrees(from, to) || from == to,
        _ => from == to,
    }
}

fn needs_zone(from: &SqlType, to: &SqlType) -> bool {
    let zoned = |ty: &SqlType| match ty {
        SqlType::Timestamptz => true,
        SqlType::Array(of) => **of == SqlType::Timestamptz,
        _ => false,
    };
    zoned(from) != zoned(to)
}

/// `expr AT TIME ZONE 'zone'`, which DataFusion's planner writes as a cast to a timestamp in that zone.
fn at_time_zone(expr: Expr, zone: &str, schema: &DFSchema) -> Result<Expr> {
    let zone = Expr::Literal(ScalarValue::Utf8View(Some(zone.to_owned())), None);
    let ty = expr.get_type(schema)?;
    let target = if matches!(ty, DataType::Timestamp(_, Some(_))) { SqlType::Timestamp } else { SqlType::Timestamptz };
    let expr = if is_unknown(&ty) || ty == DataType::Date32 {
        let field = Arc::new(SqlType::Timestamp.field("", true));
        rewrite(Cast::new_from_field(Box::new(expr), field), schema)?
    } else {
        expr
    };
    Ok(call(target.field("timezone", true), vec![expr, zone]))
}

/// The cast to one type; its second argument, where there is one, is a time zone, its third the transaction's time.
#[derive(Debug, PartialEq, Eq, Hash)]
struct CastTo {
    target: FieldRef,
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
        let nullable = args.arg_fields.iter().any(|f| f.is_nullable());
        Ok(Arc::new(self.target.as_ref().clone().with_nullable(nullable)))
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        Ok(arg_types.to_vec())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let types: Vec<SqlType> = args.arg_fields.iter().map(|f| SqlType::of_field(f)).collect();
        let to = match self.target.data_type() {
            DataType::Decimal128(precision, scale) => SqlType::Numeric(Some((*precision, *scale))),
            _ => SqlType::of_field(&self.target),
        };
        let from = types.first().cloned().unwrap_or(SqlType::Unknown);
        each_row(&args, &types, true, |values| {
            let settings = settings(values.get(1), values.get(2))?;
            match values.first() {
                Some(value) => cast_value(value.clone(), &from, &to, true, settings),
                None => Err(SqlError::internal("a cast of nothing")),
            }
        })
    }
}

/// How values are read and written in a zone.
pub(super) fn settings(zone: Option<&Value>, now: Option<&Value>) -> SqlResult<OutputSettings> {
    let mut settings = OutputSettings::DEFAULT;
    if let Some(Value::Text(zone)) = zone {
        settings.time_zone = time_zone(zone)?;
    }
    if let Some(Value::Timestamptz(now)) = now {
        settings.now = Some(*now);
    }
    Ok(settings)
}

/// A zone by name.
///
/// # Errors
/// `22023` where there is none.
pub(super) fn time_zone(name: &str) -> SqlResult<TimeZone> {
    TimeZone::parse(name)
        .ok_or_else(|| SqlError::new(SqlState::InvalidParameterValue, format!("time zone \"{name}\" not recognized")))
}
