//! The functions of `pg_catalog` that ask the catalog.
//!
//! A [`SystemFunction`] is evaluated row by row against the [`Scope`] of the running statement. It takes what it is
//! given: an oid may come as any integer, as text that holds one, or as a relation's name.
//!
//! - [`names`]: oids to names and back
//! - [`definitions`]: objects as SQL
//! - [`privileges`]: `has_table_privilege` and its like
//! - [`sizes`]: `pg_relation_size` and its like
//! - [`server`]: the server and the session; [`sequences`]: what sequences are at

mod definitions;
mod names;
mod privileges;
mod sequences;
mod server;
mod sizes;

use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::RangeInclusive;
use std::sync::{Arc, LazyLock};

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, FieldRef};
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::scalar::ScalarValue;
use perigee_storage::arrow_value::{ColumnBuilder, value_at};
use perigee_types::{Oid, SqlError, SqlResult, SqlState, SqlType, Value};

use super::deparse::{parse_ident, told_name};
use super::scope::{Relation, Scope};
use crate::exec::error::from_sql;
use crate::exec::view::view_of;

type Eval = fn(&Scope, &[Value]) -> SqlResult<Value>;

/// A type's name, with its schema where the bare name means another.
pub(super) fn type_name(scope: &Scope, oid: Oid) -> String {
    names::formatted(scope, oid, -1)
}

/// All functions of this module, for the planner.
pub(super) fn functions() -> &'static [Arc<ScalarUDF>] {
    static FUNCTIONS: LazyLock<Vec<Arc<ScalarUDF>>> = LazyLock::new(|| {
        server::mark_start();
        [names::all(), definitions::all(), privileges::all(), sequences::all(), sizes::all(), server::all()]
            .into_iter()
            .flatten()
            .map(|function| Arc::new(ScalarUDF::new_from_impl(function)))
            .collect()
    });
    &FUNCTIONS
}

pub(super) use names::{Callable, callables, object_text};
pub(crate) use names::{built_in_function, kind_of_function};
pub(crate) use sequences::{SEQUENCE_CALLED, SEQUENCE_VALUE};

/// A function of this module by name.
pub(super) fn find(name: &str) -> Option<Arc<ScalarUDF>> {
    functions().iter().find(|f| f.name() == name).cloned()
}

/// A cell of the row of one of PostgreSQL's own types in `pg_type`.
pub(super) fn type_cell(oid: Oid, column: &str) -> Option<Value> {
    names::cell("pg_type", oid, column)
}

/// A function over the catalog.
#[derive(Clone)]
struct SystemFunction {
    name: &'static str,
    /// How many arguments it takes.
    counts: RangeInclusive<usize>,
    returns: SqlType,
    /// Whether a NULL argument gives NULL without asking.
    strict: bool,
    eval: Eval,
    signature: Signature,
}

/// A strict function.
fn function(name: &'static str, counts: RangeInclusive<usize>, returns: SqlType, eval: Eval) -> SystemFunction {
    let signature = Signature::user_defined(Volatility::Stable);
    SystemFunction { name, counts, returns, strict: true, eval, signature }
}

impl SystemFunction {
    /// Also called with NULLs.
    fn called_on_null(mut self) -> Self {
        self.strict = false;
        self
    }

    fn call(&self, scope: &Scope, values: &[Value]) -> Result<Value> {
        if self.strict && values.iter().any(Value::is_null) {
            return Ok(Value::Null);
        }
        (self.eval)(scope, values).map_err(from_sql)
    }
}

impl fmt::Debug for SystemFunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SystemFunction").field("name", &self.name).finish_non_exhaustive()
    }
}

/// There is one function of each name.
impl PartialEq for SystemFunction {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for SystemFunction {}

impl Hash for SystemFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for SystemFunction {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(self.returns.arrow())
    }

    fn return_field_from_args(&self, _args: ReturnFieldArgs) -> Result<FieldRef> {
        Ok(Arc::new(self.returns.field(self.name, true)))
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        if !self.counts.contains(&arg_types.len()) {
            let types: Vec<String> =
                arg_types.iter().map(|t| SqlType::of_arrow(t).unwrap_or(SqlType::Unknown).to_string()).collect();
            return Err(from_sql(SqlError::new(
                SqlState::UndefinedFunction,
                format!("function {}({}) does not exist", self.name, types.join(", ")),
            )));
        }
        let plain = |ty: &DataType| match ty {
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Null => DataType::Utf8View,
            other => other.clone(),
        };
        Ok(arg_types.iter().map(plain).collect())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let view = view_of(&args.config_options)
            .ok_or_else(|| from_sql(SqlError::internal("a function asks for a session where there is none")))?;
        let scope = Scope::new(&view);
        let types: Vec<SqlType> = args.arg_fields.iter().map(|f| SqlType::of_field(f)).collect();
        let constant = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let rows = if constant { 1 } else { args.number_rows };
        let columns = ColumnarValue::values_to_arrays(&args.args)?;
        let mut builder = ColumnBuilder::new(&self.returns, rows);
        for row in 0..rows {
            let values = values_of(&columns, &types, row);
            let value = self.call(&scope, &values)?;
            builder.push(&value).map_err(|e| from_sql(SqlError::internal(e)))?;
        }
        let result = builder.finish();
        Ok(if constant {
            ColumnarValue::Scalar(ScalarValue::try_from_array(&result, 0)?)
        } else {
            ColumnarValue::Array(result)
        })
    }
}

/// The arguments of one row.
fn values_of(columns: &[ArrayRef], types: &[SqlType], row: usize) -> Vec<Value> {
    columns.iter().zip(types).map(|(column, ty)| value_at(column, row, ty)).collect()
}

/// An oid, also from text that holds one.
fn oid_of(value: &Value) -> Option<Oid> {
    match value {
        Value::Text(text) => text.trim().parse().ok().map(Oid),
        other => other.as_i64().and_then(|v| u32::try_from(v).ok()).map(Oid),
    }
}

/// The oid at `at`, zero where it is none.
fn oid_at(values: &[Value], at: usize) -> Oid {
    values.get(at).and_then(oid_of).unwrap_or(Oid(0))
}

/// The text at `at`.
fn text_at(values: &[Value], at: usize) -> &str {
    values.get(at).and_then(Value::as_str).unwrap_or_default()
}

fn bool_at(values: &[Value], at: usize) -> bool {
    matches!(values.get(at), Some(Value::Bool(true)))
}

/// The relation that an oid or a name means.
///
/// # Errors
/// `42P01` for a name without a relation, `42602` for what is no name.
fn relation_of<'a>(scope: &Scope<'a>, value: &Value) -> SqlResult<Option<Relation<'a>>> {
    if let Some(oid) = oid_of(value) {
        return Ok(scope.relation(oid));
    }
    let Some(text) = value.as_str() else { return Ok(None) };
    match named(scope, text)? {
        Some(relation) => Ok(Some(relation)),
        None => {
            let name = told_name(text);
            Err(SqlError::new(SqlState::UndefinedTable, format!("relation \"{name}\" does not exist")))
        }
    }
}

/// The relation of a name.
///
/// # Errors
/// `42602` for what is no name.
fn named<'a>(scope: &Scope<'a>, text: &str) -> SqlResult<Option<Relation<'a>>> {
    let parts = parse_ident(text);
    match parts.as_deref() {
        Some([name]) => Ok(scope.find(None, name)),
        Some([schema, name]) => Ok(scope.find(Some(schema), name)),
        Some([database, schema, name]) if *database == scope.session().database => Ok(scope.find(Some(schema), name)),
        _ => Err(SqlError::new(SqlState::InvalidName, "invalid name syntax")),
    }
}
