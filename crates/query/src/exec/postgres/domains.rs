//! The rules of a domain over a value that is cast to it.

use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, FieldRef};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use perigee_types::{SqlError, SqlState};

use crate::exec::error::from_sql;

/// The function's name, which casts to domains are rewritten to: a value, then for each rule the domain's name, the constraint's
/// (empty for NOT NULL) and whether it holds. NULL holds.
pub(crate) const DOMAIN_VALUE: &str = "__domain_value";

pub(super) fn function() -> Arc<ScalarUDF> {
    let signature = Signature::user_defined(Volatility::Immutable);
    Arc::new(ScalarUDF::new_from_impl(DomainValue { signature }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct DomainValue {
    signature: Signature,
}

impl ScalarUDFImpl for DomainValue {
    fn name(&self) -> &str {
        DOMAIN_VALUE
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        arg_types.first().cloned().ok_or_else(nothing)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let field = args.arg_fields.first().ok_or_else(nothing)?;
        Ok(Arc::new(field.as_ref().clone().with_nullable(true)))
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        let rule = |(at, ty): (usize, &DataType)| match at % 3 {
            0 if at > 0 => DataType::Boolean,
            0 => ty.clone(),
            _ => DataType::Utf8View,
        };
        Ok(arg_types.iter().enumerate().map(rule).collect())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let Some((value, rules)) = args.args.split_first() else { return Err(nothing()) };
        for rule in rules.chunks_exact(3) {
            let [domain, constraint, holds] = rule else { continue };
            let fails = match holds {
                ColumnarValue::Scalar(holds) => *holds == datafusion::scalar::ScalarValue::Boolean(Some(false)),
                ColumnarValue::Array(holds) => {
                    let holds = holds.as_boolean_opt().ok_or_else(nothing)?;
                    (0..holds.len()).any(|row| holds.is_valid(row) && !holds.value(row))
                }
            };
            if fails {
                return Err(from_sql(violation(&text(domain)?, &text(constraint)?)));
            }
        }
        Ok(value.clone())
    }
}

/// What a value gives that a domain does not take; `constraint` is empty for NOT NULL.
pub(crate) fn violation(domain: &str, constraint: &str) -> SqlError {
    if constraint.is_empty() {
        return SqlError::new(SqlState::NotNullViolation, format!("domain {domain} does not allow null values"));
    }
    let text = format!("value for domain {domain} violates check constraint \"{constraint}\"");
    SqlError::new(SqlState::CheckViolation, text).constraint(constraint)
}

fn text(value: &ColumnarValue) -> Result<String> {
    match value {
        ColumnarValue::Scalar(value) => value.try_as_str().flatten().map(str::to_owned).ok_or_else(nothing),
        ColumnarValue::Array(array) => {
            let array = array.as_string_view_opt().filter(|array| !array.is_empty()).ok_or_else(nothing)?;
            Ok(array.value(0).to_owned())
        }
    }
}

fn nothing() -> DataFusionError {
    DataFusionError::Internal("a domain's rules without their parts".to_owned())
}
