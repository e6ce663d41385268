//! `ctid`: where a row version is, made of the version's number.

use std::sync::Arc;

use arrow::array::{AsArray, BinaryViewArray};
use arrow::datatypes::{DataType, FieldRef, UInt64Type};
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use perigee_types::coded::tid_of;
use perigee_types::{CodedType, SqlError, SqlType, Vid};

use crate::exec::error::from_sql;

/// What the planner writes for `ctid`, over the hidden column of the version's number.
pub(crate) const ROW_TID: &str = "__row_tid";

const TID: SqlType = SqlType::Coded(CodedType::Tid);

pub(super) fn function() -> Arc<ScalarUDF> {
    let signature = Signature::exact(vec![DataType::UInt64], Volatility::Immutable);
    Arc::new(ScalarUDF::new_from_impl(RowTid { signature }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct RowTid {
    signature: Signature,
}

impl ScalarUDFImpl for RowTid {
    fn name(&self) -> &str {
        ROW_TID
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(TID.arrow())
    }

    fn return_field_from_args(&self, _: ReturnFieldArgs) -> Result<FieldRef> {
        Ok(Arc::new(TID.field(ROW_TID, true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [vids] = args.args.as_slice() else {
            return Err(from_sql(SqlError::internal("a place is made of one number")));
        };
        let vids = vids.to_array(args.number_rows)?;
        let places = vids.as_primitive::<UInt64Type>().iter().map(|vid| vid.map(|vid| tid_of(Vid(vid))));
        Ok(ColumnarValue::Array(Arc::new(places.collect::<BinaryViewArray>())))
    }
}
