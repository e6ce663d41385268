//! Records: `ROW(a, b)` and whole rows as values, which are structs of Arrow with the names and types of their fields.

use std::sync::Arc;

use arrow::array::{ArrayRef, StructArray};
use arrow::datatypes::{DataType, Field, FieldRef, Fields};
use datafusion::error::Result;
use datafusion::functions::core::get_field;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility, lit,
};
use datafusion::scalar::ScalarValue;
use perigee_types::{SqlError, SqlState, SqlType};

use super::sets::labeled;
use crate::exec::error::from_sql;

/// The function that makes a record of names and values: `__row('a', 1, 'b', 2)`.
pub(crate) const ROW: &str = "__row";

pub(super) fn function() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::new_from_impl(Row { signature: Signature::user_defined(Volatility::Immutable) }))
}

/// The field `name` of a record.
///
/// # Errors
/// `42703`
pub(super) fn field(record: Expr, fields: &[(String, SqlType)], name: &str) -> Result<Expr> {
    let Some((name, ty)) = fields.iter().find(|(known, _)| known == name) else {
        let message = format!("could not identify column \"{name}\" in record data type");
        return Err(from_sql(SqlError::new(SqlState::UndefinedColumn, message)));
    };
    let value = ScalarFunction::new_udf(get_field(), vec![record, lit(name.as_str())]);
    Ok(labeled(Expr::ScalarFunction(value), Arc::new(ty.field(name.as_str(), true))))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Row {
    signature: Signature,
}

impl ScalarUDFImpl for Row {
    fn name(&self) -> &str {
        ROW
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        let plain = |ty: &DataType| match ty {
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Null => DataType::Utf8View,
            other => other.clone(),
        };
        // The names stay the literals that they are.
        let of = |(at, ty): (usize, &DataType)| if at % 2 == 0 { ty.clone() } else { plain(ty) };
        Ok(arg_types.iter().enumerate().map(of).collect())
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        // Without the names: DataFusion asks for the field.
        let types = self.coerce_types(arg_types)?;
        let unnamed = types.iter().skip(1).step_by(2).enumerate();
        Ok(DataType::Struct(unnamed.map(|(at, ty)| Field::new(format!("f{}", at + 1), ty.clone(), true)).collect()))
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let types: Vec<DataType> = args.arg_fields.iter().map(|field| field.data_type().clone()).collect();
        let types = self.coerce_types(&types)?;
        let fields = (0..types.len() / 2).map(|at| {
            let name = match args.scalar_arguments.get(at * 2) {
                Some(Some(ScalarValue::Utf8(Some(name)) | ScalarValue::Utf8View(Some(name)))) => name.clone(),
                _ => format!("f{}", at + 1),
            };
            let (value, ty) = (&args.arg_fields[at * 2 + 1], &types[at * 2 + 1]);
            Field::new(name, ty.clone(), true).with_metadata(value.metadata().clone())
        });
        Ok(Arc::new(Field::new("row", DataType::Struct(fields.collect()), true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let columns = ColumnarValue::values_to_arrays(&args.args)?;
        let constant = !args.args.is_empty() && args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let rows = columns.first().map_or(args.number_rows, |column| column.len());
        let fields = match args.return_field.data_type() {
            DataType::Struct(fields) => fields.clone(),
            _ => Fields::empty(),
        };
        let values: Vec<ArrayRef> = columns.into_iter().skip(1).step_by(2).collect();
        let records = StructArray::try_new_with_length(fields, values, None, rows)?;
        Ok(if constant {
            ColumnarValue::Scalar(ScalarValue::Struct(Arc::new(records)))
        } else {
            ColumnarValue::Array(Arc::new(records))
        })
    }
}
