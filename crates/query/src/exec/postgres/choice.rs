//! COALESCE, NULLIF, GREATEST and LEAST: the arguments' common type by PostgreSQL's rules, then DataFusion's functions.
//!
//! DataFusion refuses `coalesce(a_date, '2024-01-01')` while the statement is still being planned, before the literal can
//! be given its type. These stand in until analysis has done so.

use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::type_coercion::binary::comparison_coercion;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use perigee_types::{SqlError, SqlState};

use super::function::{is_unknown, is_untyped, type_name};
use crate::exec::error::from_sql;
use crate::exec::rewrite::{AS_IT_IS, NEGATE};

/// A function that gives one of its arguments.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Choice {
    inner: Arc<ScalarUDF>,
    signature: Signature,
}

impl Choice {
    /// DataFusion's function, once the arguments have their types.
    pub(super) fn inner(&self) -> &Arc<ScalarUDF> {
        &self.inner
    }
}

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    use datafusion::functions::core::{coalesce, greatest, least, nullif};
    [coalesce(), nullif(), greatest(), least()]
        .into_iter()
        .map(|inner| {
            let signature = Signature::user_defined(Volatility::Immutable);
            Arc::new(ScalarUDF::new_from_impl(Choice { inner, signature }))
        })
        .chain([Sign::udf(NEGATE, '-'), Sign::udf(AS_IT_IS, '+')])
        .collect()
}

/// `-x` and `+x` of any type that has it; analysis puts the operator for that type in its place.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Sign {
    name: &'static str,
    symbol: char,
    signature: Signature,
}

impl Sign {
    fn udf(name: &'static str, symbol: char) -> Arc<ScalarUDF> {
        let signature = Signature::user_defined(Volatility::Immutable);
        Arc::new(ScalarUDF::new_from_impl(Self { name, symbol, signature }))
    }
}

impl ScalarUDFImpl for Sign {
    fn name(&self) -> &str {
        self.name
    }

    fn schema_name(&self, args: &[datafusion::logical_expr::Expr]) -> Result<String> {
        Ok(args.iter().map(|a| format!("({} {})", self.symbol, a.schema_name())).collect())
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        Ok(arg_types.to_vec())
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        let known = |ty: &DataType| {
            let is_interval = matches!(ty, DataType::Interval(_)) && self.symbol == '-';
            ty.is_numeric() || is_unknown(ty) || super::numeric::is_wide(ty) || is_interval
        };
        match arg_types {
            [ty] if known(ty) => Ok(ty.clone()),
            types => {
                let types: Vec<String> = types.iter().map(type_name).collect();
                let message = format!("operator does not exist: {} {}", self.symbol, types.join(", "));
                Err(from_sql(SqlError::new(SqlState::UndefinedFunction, message)))
            }
        }
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let types: Vec<DataType> = args.arg_fields.iter().map(|f| f.data_type().clone()).collect();
        let ty = self.return_type(&types)?;
        let metadata = args.arg_fields.first().map(|f| f.metadata().clone()).unwrap_or_default();
        Ok(Arc::new(arrow::datatypes::Field::new(self.name, ty, true).with_metadata(metadata)))
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> Result<ColumnarValue> {
        Err(DataFusionError::Internal("a sign was not replaced in analysis".to_owned()))
    }
}

/// The type that all arguments of `name` are brought to; text where none has one.
fn common(name: &str, types: &[DataType]) -> Result<DataType> {
    let mut known = types.iter().filter(|ty| !is_unknown(ty));
    let Some(first) = known.next() else { return Ok(DataType::Utf8View) };
    if let Some(ty) = super::meeting::chosen(types.iter()) {
        return Ok(ty.arrow());
    }
    known.try_fold(first.clone(), |so_far, ty| {
        comparison_coercion(&so_far, ty).ok_or_else(|| {
            from_sql(SqlError::new(
                SqlState::DatatypeMismatch,
                format!("{} types {} and {} cannot be matched", name.to_uppercase(), type_name(&so_far), type_name(ty)),
            ))
        })
    })
}

impl ScalarUDFImpl for Choice {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        let ty = common(self.name(), arg_types)?;
        // Arrow has no cast to and from numerics of any count of digits: analysis puts ours.
        if arg_types.iter().chain([&ty]).any(super::numeric::is_wide) {
            return Ok(arg_types.to_vec());
        }
        Ok(vec![ty; arg_types.len()])
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        common(self.name(), arg_types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let types: Vec<DataType> = args.arg_fields.iter().map(|f| f.data_type().clone()).collect();
        let ty = common(self.name(), &types)?;
        // An argument that has the type already says which SQL type it is.
        let mut typed = args.arg_fields.iter().zip(args.scalar_arguments).filter(|(_, value)| !is_untyped(**value));
        let like = typed.find(|(field, _)| *field.data_type() == ty);
        let metadata = like.map(|(field, _)| field.metadata().clone()).unwrap_or_default();
        Ok(Arc::new(arrow::datatypes::Field::new(self.name(), ty, true).with_metadata(metadata)))
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> Result<ColumnarValue> {
        Err(DataFusionError::Internal(format!("{} was not replaced in analysis", self.name())))
    }
}
