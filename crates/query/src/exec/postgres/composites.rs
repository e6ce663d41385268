//! Attributes of values of composite types.

use std::sync::Arc;

use arrow::array::Array;
use arrow::datatypes::{DataType, FieldRef};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use perigee_storage::arrow_value::{ColumnBuilder, value_at};
use perigee_types::{CompositeType, SqlError, SqlState, SqlType, Value};

use crate::exec::error::from_sql;

/// The attribute `name` of a value.
///
/// # Errors
/// `42703`
pub(super) fn attribute(value: Expr, of: &Arc<CompositeType>, name: &str) -> Result<Expr> {
    let Some(place) = of.place(name) else {
        let message = format!("column \"{name}\" not found in data type {}", of.display_name());
        return Err(from_sql(SqlError::new(SqlState::UndefinedColumn, message)));
    };
    let signature = Signature::user_defined(Volatility::Immutable);
    let udf = ScalarUDF::new_from_impl(Attribute { of: Arc::clone(of), place, signature });
    Ok(Expr::ScalarFunction(ScalarFunction::new_udf(Arc::new(udf), vec![value])))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Attribute {
    of: Arc<CompositeType>,
    place: usize,
    signature: Signature,
}

impl Attribute {
    fn known(&self) -> Result<&(String, SqlType)> {
        self.of.attributes.get(self.place).ok_or_else(lost)
    }
}

fn lost() -> DataFusionError {
    DataFusionError::Internal("a composite type has lost an attribute".to_owned())
}

impl ScalarUDFImpl for Attribute {
    fn name(&self) -> &str {
        "__attribute"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        Ok(arg_types.to_vec())
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.known()?.1.arrow())
    }

    fn return_field_from_args(&self, _: ReturnFieldArgs) -> Result<FieldRef> {
        let (name, ty) = self.known()?;
        Ok(Arc::new(ty.field(name.as_str(), true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [of] = args.args.as_slice() else { return Err(lost()) };
        let column = of.to_array(args.number_rows)?;
        let mut builder = ColumnBuilder::new(&self.known()?.1, column.len());
        for row in 0..column.len() {
            let attribute = match value_at(&column, row, &SqlType::Bytea) {
                Value::Bytea(kept) => {
                    let mut values = self.of.decode(&kept).map_err(from_sql)?;
                    if self.place < values.len() { values.swap_remove(self.place) } else { Value::Null }
                }
                _ => Value::Null,
            };
            builder.push(&attribute).map_err(|error| from_sql(SqlError::internal(error)))?;
        }
        Ok(ColumnarValue::Array(builder.finish()))
    }
}
