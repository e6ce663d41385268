//! DataFusion's functions of arrays, with what these forget of their arguments: the SQL type, where the Arrow type alone does not
//! say it.

use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef};
use datafusion::error::Result;
use datafusion::functions_nested::concat::{array_append_udf, array_concat_udf, array_prepend_udf};
use datafusion::functions_nested::extract::array_element_udf;
use datafusion::functions_nested::make_array::make_array_udf;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};
use perigee_types::SqlType;

use super::common_type::without_modifier;
use super::function::{is_unknown, is_untyped};

/// `array[place]`
pub(super) const ELEMENT: &str = "array_element";

/// The functions in the place of DataFusion's of the same names.
pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    [array_element_udf(), array_append_udf(), array_prepend_udf(), array_concat_udf(), make_array_udf()]
        .into_iter()
        .map(typed)
        .collect()
}

/// `ARRAY[…]`
pub(super) fn array(elements: Vec<Expr>) -> Expr {
    Expr::ScalarFunction(ScalarFunction::new_udf(typed(make_array_udf()), elements))
}

/// The element of an array at a place.
pub(super) fn at(array: Expr, place: Expr) -> Expr {
    Expr::ScalarFunction(ScalarFunction::new_udf(typed(array_element_udf()), vec![array, place]))
}

/// Puts these in the place of what DataFusion's planner has called by itself.
pub(super) fn keep_types(call: &mut ScalarFunction) {
    let is_named =
        matches!(call.func.name(), ELEMENT | "array_append" | "array_prepend" | "array_concat" | "make_array");
    if is_named && call.func.inner().downcast_ref::<Typed>().is_none() {
        call.func = typed(Arc::clone(&call.func));
    }
}

fn typed(inner: Arc<ScalarUDF>) -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::new_from_impl(Typed { inner }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Typed {
    inner: Arc<ScalarUDF>,
}

impl Typed {
    /// What a call with arguments of these types gives, where they say it.
    fn gives(&self, types: &[SqlType]) -> Option<SqlType> {
        if self.inner.name() == ELEMENT {
            let Some(SqlType::Array(of)) = types.first() else { return None };
            return Some((**of).clone());
        }
        let (first, rest) = types.split_first()?;
        let element = first.element();
        if rest.iter().all(|ty| ty.element() == element) {
            return Some(SqlType::Array(Box::new(element.clone())));
        }
        let bare = without_modifier(element);
        rest.iter().all(|ty| without_modifier(ty.element()) == bare).then(|| SqlType::Array(Box::new(bare)))
    }
}

impl ScalarUDFImpl for Typed {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(arg_types)
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(arg_types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let known = args.arg_fields.iter().zip(args.scalar_arguments);
        let known = known.filter(|(field, constant)| !is_unknown(field.data_type()) && !is_untyped(**constant));
        let types: Vec<SqlType> = known.map(|(field, _)| SqlType::of_field(field)).collect();
        let field = self.inner.return_field_from_args(args)?;
        let dimensions = SqlType::of_arrow(field.data_type()).map_or(0, |ty| ty.dimensions());
        let ty = self.gives(&types).map(|ty| if dimensions == 0 { ty } else { ty.with_dimensions(dimensions) });
        Ok(match ty {
            Some(ty) if ty.arrow() == *field.data_type() => {
                let known = ty.field(field.name(), true).metadata().clone();
                Arc::new(field.as_ref().clone().with_metadata(known))
            }
            _ => field,
        })
    }

    fn simplify(&self, args: Vec<Expr>, context: &SimplifyContext) -> Result<ExprSimplifyResult> {
        self.inner.simplify(args, context)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        self.inner.invoke_with_args(args)
    }
}
