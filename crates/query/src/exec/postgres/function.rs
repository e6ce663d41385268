//! Functions by their PostgreSQL signatures, evaluated value by value.
//!
//! A [`Function`] is a name and its overloads. Which overload a call means follows PostgreSQL's rules in short: exact
//! types win, a literal in quotes takes whatever type is wanted, numbers widen. The hot operators have kernels of their
//! own (see `arithmetic`); everything here is for the many functions where clarity counts more.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, Field, FieldRef, TimeUnit};
use datafusion::common::DFSchema;
use datafusion::error::Result;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ExprSchemable, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};
use datafusion::scalar::ScalarValue;
use perigee_storage::arrow_value::{ColumnBuilder, value_at};
use perigee_types::{SqlError, SqlResult, SqlState, SqlType, Value};

use super::limits::{self, Made};
use super::meeting::is_unzoned;
use super::numeric::{WIDE, is_exact, is_wide};
use crate::exec::error::from_sql;
use crate::exec::scalar::scalar;
use crate::exec::view::ReadView;
use crate::pg_catalog::VECTOR_METADATA_KEY;

/// What a call knows besides its arguments.
pub(in crate::exec) struct Call<'a> {
    /// Types of the arguments, in order.
    pub(in crate::exec) types: &'a [SqlType],
    /// The Arrow type of the result.
    pub(in crate::exec) returned: &'a DataType,
    /// The type of the result as the signature has it, where it says one.
    pub(in crate::exec) declared: Option<&'a SqlType>,
    /// The statement's view, for functions that ask the catalog or the session.
    pub(in crate::exec) view: Option<&'a Arc<ReadView>>,
}

impl Call<'_> {
    /// The statement's view.
    ///
    /// # Errors
    /// Internal, where a constant is evaluated without a session.
    pub(in crate::exec) fn view(&self) -> SqlResult<&Arc<ReadView>> {
        self.view.ok_or_else(|| SqlError::internal("a function asks for a session where there is none"))
    }

    /// Ends the evaluation of a statement that shall stop.
    ///
    /// # Errors
    /// `57014`
    pub(in crate::exec) fn check_canceled(&self) -> SqlResult<()> {
        match self.view {
            Some(view) if view.cancel.is_cancelled() => Err(crate::exec::error::canceled()),
            _ => Ok(()),
        }
    }
}

pub(in crate::exec) type Eval = fn(&[Value], &Call<'_>) -> SqlResult<Value>;

/// What a parameter takes.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::exec) enum Parameter {
    /// A value of this type, or one that widens to it.
    Of(SqlType),
    /// Any exact number, as it is.
    AnyNumeric,
    /// Anything, as it is.
    Any,
}

/// What a function gives.
#[derive(Clone, Debug)]
pub(in crate::exec) enum Returns {
    /// This type.
    Type(SqlType),
    /// What the arguments' types and constants say.
    Derived(fn(&[SqlType], &[Option<Value>]) -> SqlType),
}

/// One signature of a function.
#[derive(Clone)]
pub(in crate::exec) struct Overload {
    parameters: Vec<Parameter>,
    /// Whether the last parameter may be given any number of times, also none.
    variadic: bool,
    returns: Returns,
    /// Whether a NULL argument gives NULL without asking.
    strict: bool,
    /// Whether the session's time zone is passed behind the last argument.
    zone: bool,
    eval: Eval,
}

/// A strict signature.
pub(in crate::exec) fn overload(parameters: &[SqlType], returns: SqlType, eval: Eval) -> Overload {
    overload_of(parameters.iter().cloned().map(Parameter::Of).collect(), Returns::Type(returns), eval)
}

/// A strict signature with looser types.
pub(in crate::exec) fn overload_of(parameters: Vec<Parameter>, returns: Returns, eval: Eval) -> Overload {
    Overload { parameters, variadic: false, returns, strict: true, zone: false, eval }
}

impl Overload {
    /// Also called with NULLs.
    pub(in crate::exec) fn called_on_null(mut self) -> Self {
        self.strict = false;
        self
    }

    /// The last parameter may be given any number of times.
    pub(in crate::exec) fn variadic(mut self) -> Self {
        self.variadic = true;
        self
    }

    /// The evaluation gets the session's time zone as one more, last argument.
    pub(in crate::exec) fn with_zone(mut self) -> Self {
        self.zone = true;
        self
    }

    fn parameter(&self, at: usize) -> Option<&Parameter> {
        if self.variadic && at + 1 >= self.parameters.len() { self.parameters.last() } else { self.parameters.get(at) }
    }

    fn takes(&self, count: usize) -> bool {
        if self.variadic { count + 1 >= self.parameters.len() } else { count == self.parameters.len() }
    }

    /// How badly arguments of these types fit; `None` where they do not.
    fn cost(&self, types: &[DataType]) -> Option<u32> {
        if !self.takes(types.len()) {
            return None;
        }
        types.iter().enumerate().map(|(at, ty)| cost(ty, self.parameter(at)?)).sum()
    }
}

/// The types that a call wants of its arguments that are parameters without one, by the parameters' names.
pub(crate) fn parameter_types(call: &ScalarFunction, schema: &DFSchema) -> Vec<(String, SqlType)> {
    let Some(function) = call.func.inner().downcast_ref::<Function>() else { return Vec::new() };
    let open = |arg: &Expr| match arg {
        Expr::Placeholder(placeholder) if placeholder.field.is_none() => Some(placeholder.id.clone()),
        _ => None,
    };
    let names: Vec<Option<String>> = call.args.iter().map(open).collect();
    if names.iter().all(Option::is_none) {
        return Vec::new();
    }
    // They take what a literal in quotes takes.
    let ty = |(arg, name): (&Expr, &Option<String>)| match name {
        Some(_) => Some(DataType::Utf8),
        None => arg.get_type(schema).ok(),
    };
    let types: Option<Vec<DataType>> = call.args.iter().zip(&names).map(ty).collect();
    let wanted = types.map(|types| function.literal_types(&types)).unwrap_or_default();
    names.into_iter().zip(wanted).filter_map(|(name, ty)| Some((name?, ty?))).collect()
}

/// A function with its overloads.
#[derive(Clone)]
pub(in crate::exec) struct Function {
    name: String,
    aliases: Vec<String>,
    overloads: Arc<[Overload]>,
    signature: Signature,
    /// For operators: how a call is written.
    operator: Option<&'static str>,
    /// For functions that return sets: what becomes of the array that they make.
    set: Option<Set>,
    /// Whether the array that it gives is an int2vector or oidvector to clients.
    vector: bool,
}

/// A set-returning function makes an array of its rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Set {
    /// As planned: a call stands for one row's value, and has the type of an element.
    Rows,
    /// As it runs, below the node that takes the array apart.
    Array,
}

impl Function {
    pub(in crate::exec) fn new(name: &str, overloads: Vec<Overload>) -> Self {
        Self {
            name: name.to_owned(),
            aliases: Vec::new(),
            overloads: overloads.into(),
            signature: Signature::user_defined(Volatility::Immutable),
            operator: None,
            set: None,
            vector: false,
        }
    }

    pub(in crate::exec) fn with_aliases(mut self, aliases: &[&str]) -> Self {
        self.aliases = aliases.iter().map(|a| (*a).to_owned()).collect();
        self
    }

    /// Never evaluated before the statement runs.
    pub(in crate::exec) fn volatile(mut self) -> Self {
        self.signature = Signature::user_defined(Volatility::Volatile);
        self
    }

    /// Shown as an operator between its arguments.
    pub(in crate::exec) fn operator(mut self, symbol: &'static str) -> Self {
        self.operator = Some(symbol);
        self
    }

    /// The array that it gives is an int2vector or oidvector.
    pub(in crate::exec) fn vector(mut self) -> Self {
        self.vector = true;
        self
    }

    /// The elements of the array that it gives are rows.
    pub(in crate::exec) fn set_returning(mut self) -> Self {
        self.set = Some(Set::Rows);
        self
    }

    /// Whether a call stands for the rows that it makes.
    pub(in crate::exec) fn returns_set(&self) -> bool {
        self.set == Some(Set::Rows)
    }

    /// The function that gives its rows as an array.
    pub(in crate::exec) fn as_array(&self) -> Arc<ScalarUDF> {
        Self { set: Some(Set::Array), ..self.clone() }.udf()
    }

    fn field(&self, field: Field) -> Field {
        match (self.set, SqlType::of_field(&field)) {
            (Some(Set::Rows), SqlType::Array(of)) => of.field(&self.name, true),
            _ if self.vector => {
                let mut metadata = field.metadata().clone();
                metadata.insert(VECTOR_METADATA_KEY.to_owned(), String::new());
                field.with_metadata(metadata)
            }
            _ => field,
        }
    }

    pub(in crate::exec) fn udf(self) -> Arc<ScalarUDF> {
        Arc::new(ScalarUDF::new_from_impl(self))
    }

    /// Whether a call with these types needs the session's zone behind its arguments.
    pub(in crate::exec) fn wants_zone(&self, types: &[DataType]) -> bool {
        self.resolve(types).is_some_and(|(overload, zone_given)| overload.zone && !zone_given)
    }

    /// The types that literals in quotes take as arguments of a call with these types; `None` where they stay text.
    pub(in crate::exec) fn literal_types(&self, types: &[DataType]) -> Vec<Option<SqlType>> {
        let Some((overload, _)) = self.resolve(types) else { return Vec::new() };
        let of = |at: usize| match overload.parameter(at) {
            Some(Parameter::Of(ty)) if !ty.is_string() => Some(ty.clone()),
            Some(Parameter::AnyNumeric) => Some(SqlType::Numeric(None)),
            _ => None,
        };
        (0..types.len()).map(of).collect()
    }

    /// The types that arguments of a call with these types are cast to where DataFusion has no cast for them, as for wide
    /// numerics, or another than PostgreSQL, as from a date to a time in the session's zone, or from an infinite one.
    pub(in crate::exec) fn cast_types(&self, types: &[DataType]) -> Vec<Option<SqlType>> {
        let Some((overload, _)) = self.resolve(types) else { return Vec::new() };
        let of = |(at, ty): (usize, &DataType)| match overload.parameter(at) {
            Some(Parameter::Of(wanted)) if is_wide(ty) && !is_wide(&target(ty, &Parameter::Of(wanted.clone()))) => {
                Some(wanted.clone())
            }
            Some(Parameter::Of(wanted @ SqlType::Timestamptz(_))) if is_unzoned(ty) => Some(wanted.clone()),
            Some(Parameter::Of(wanted @ SqlType::Timestamp(_))) if *ty == DataType::Date32 => Some(wanted.clone()),
            _ => None,
        };
        types.iter().enumerate().map(of).collect()
    }

    /// Whether there is an overload for these types.
    pub(in crate::exec) fn knows(&self, types: &[DataType]) -> bool {
        self.resolve(types).is_some()
    }

    /// The overload that a call means, and whether its last argument is the zone.
    fn resolve(&self, types: &[DataType]) -> Option<(&Overload, bool)> {
        let best = |types: &[DataType], zone_given: bool| {
            self.overloads
                .iter()
                .filter(|o| o.zone || !zone_given)
                .filter_map(|o| Some((o.cost(types)?, o)))
                .min_by_key(|(cost, _)| *cost)
                .map(|(_, o)| (o, zone_given))
        };
        best(types, false).or_else(|| match types.split_last() {
            Some((DataType::Utf8View, front)) => best(front, true),
            _ => None,
        })
    }

    fn unknown(&self, types: &[DataType]) -> SqlError {
        let types: Vec<String> = types.iter().map(type_name).collect();
        match self.operator {
            Some(symbol) if types.len() == 2 => undefined_operator(symbol, &types[0], &types[1]),
            _ => SqlError::new(
                SqlState::UndefinedFunction,
                format!("function {}({}) does not exist", self.name, types.join(", ")),
            )
            .hint("No function matches the given name and argument types. You might need to add explicit type casts."),
        }
    }
}

/// `42883` for an operator.
pub(in crate::exec) fn undefined_operator(symbol: &str, left: &str, right: &str) -> SqlError {
    SqlError::new(SqlState::UndefinedFunction, format!("operator does not exist: {left} {symbol} {right}"))
        .hint("No operator matches the given name and argument types. You might need to add explicit type casts.")
}

/// PostgreSQL's name of an Arrow type, as errors show it.
pub(in crate::exec) fn type_name(ty: &DataType) -> String {
    if is_unknown(ty) {
        return "unknown".to_owned();
    }
    match SqlType::of_arrow(ty) {
        Some(SqlType::Numeric(_)) => "numeric".to_owned(),
        Some(ty) => ty.to_string(),
        None => ty.to_string(),
    }
}

/// Whether a type is that of a literal in quotes that nothing has typed yet. Text of columns and functions is a view.
pub(in crate::exec) fn is_unknown(ty: &DataType) -> bool {
    matches!(ty, DataType::Utf8 | DataType::Null)
}

/// Whether a constant argument has no type of its own: NULL, or a literal in quotes. Its field has the type that the function
/// takes it as, without what a field says of an SQL type.
pub(super) fn is_untyped(constant: Option<&ScalarValue>) -> bool {
    constant.is_some_and(|value| value.is_null() || matches!(value, ScalarValue::Utf8(_)))
}

/// Whether a type is an enumerated one.
pub(in crate::exec) fn is_enum(ty: &DataType) -> bool {
    matches!(ty, DataType::Timestamp(TimeUnit::Second, Some(_)))
}

/// Where numbers stand among those that they widen to.
fn number_rank(ty: &DataType) -> Option<u32> {
    Some(match ty {
        DataType::Int8 | DataType::UInt8 | DataType::Int16 => 0,
        // DataFusion's counts and places: int4 in PostgreSQL, and made that by analysis.
        DataType::UInt16 | DataType::Int32 | DataType::UInt64 => 1,
        DataType::UInt32 | DataType::Int64 => 2,
        DataType::Decimal32(..) | DataType::Decimal64(..) | DataType::Decimal128(..) | DataType::LargeBinary => 3,
        DataType::Float32 => 4,
        DataType::Float64 => 5,
        _ => return None,
    })
}

fn cost(ty: &DataType, parameter: &Parameter) -> Option<u32> {
    let wanted = match parameter {
        Parameter::Any => return Some(6),
        Parameter::AnyNumeric => WIDE,
        Parameter::Of(ty) => ty.arrow(),
    };
    if *ty == wanted {
        return Some(0);
    }
    if is_enum(ty) || is_enum(&wanted) {
        return is_unknown(ty).then_some(3);
    }
    if is_unknown(ty) {
        // Among several candidates PostgreSQL prefers text, then the preferred type of a category.
        return Some(match wanted {
            DataType::Utf8View => 1,
            DataType::Float64 | DataType::Timestamp(_, Some(_)) => 2,
            _ => 3,
        });
    }
    if let (Some(from), Some(to)) = (number_rank(ty), number_rank(&wanted)) {
        return match to.checked_sub(from) {
            Some(steps) => Some(10 * steps),
            // The planner makes every integer literal an int8; analysis makes it int4 only later.
            None if *ty == DataType::Int64 => Some(15),
            None => None,
        };
    }
    match (ty, &wanted) {
        (DataType::LargeUtf8 | DataType::Utf8, DataType::Utf8View) | (DataType::Binary, DataType::BinaryView) => {
            Some(0)
        }
        (DataType::Date32, DataType::Timestamp(_, None)) => Some(20),
        (DataType::Date32, DataType::Timestamp(_, Some(_))) => Some(10),
        (DataType::Timestamp(_, None), DataType::Timestamp(_, None))
        | (DataType::Timestamp(_, Some(_)), DataType::Timestamp(_, Some(_))) => Some(0),
        (DataType::Timestamp(_, None), DataType::Timestamp(_, Some(_))) => Some(10),
        (DataType::Interval(_), DataType::Interval(_)) | (DataType::Time64(_), DataType::Time64(_)) => Some(0),
        (DataType::List(_), DataType::List(_)) => Some(10),
        _ => None,
    }
}

/// The Arrow type that an argument is brought to.
fn target(ty: &DataType, parameter: &Parameter) -> DataType {
    match parameter {
        // Exact numbers are read as they are.
        Parameter::Of(SqlType::Numeric(_)) | Parameter::AnyNumeric if is_exact(ty) => ty.clone(),
        Parameter::AnyNumeric => WIDE,
        Parameter::Of(wanted) => wanted.arrow(),
        Parameter::Any => match ty {
            DataType::Utf8 | DataType::LargeUtf8 => DataType::Utf8View,
            DataType::Binary => DataType::BinaryView,
            ty if is_enum(ty) => ty.clone(),
            DataType::Timestamp(_, zone) => DataType::Timestamp(TimeUnit::Microsecond, zone.clone()),
            DataType::UInt64 => DataType::Int64,
            DataType::Null => DataType::Utf8View,
            _ => ty.clone(),
        },
    }
}

impl std::fmt::Debug for Function {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Function").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Functions are the same when they have the same name: there is one of each.
impl PartialEq for Function {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.set == other.set
    }
}

impl Eq for Function {}

impl Hash for Function {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for Function {
    fn name(&self) -> &str {
        &self.name
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn schema_name(&self, args: &[datafusion::logical_expr::Expr]) -> Result<String> {
        let args: Vec<String> = args.iter().map(|a| a.schema_name().to_string()).collect();
        Ok(match (self.operator, args.as_slice()) {
            (Some(symbol), [left, right]) => format!("{left} {symbol} {right}"),
            _ => format!("{}({})", self.name, args.join(",")),
        })
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        let fields: Vec<FieldRef> = arg_types.iter().map(|t| Arc::new(Field::new("", t.clone(), true))).collect();
        let (overload, _) = self.resolve(arg_types).ok_or_else(|| from_sql(self.unknown(arg_types)))?;
        Ok(self.field(returned(overload, &self.name, &fields, &[])).data_type().clone())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let data_types: Vec<DataType> = args.arg_fields.iter().map(|f| f.data_type().clone()).collect();
        let (overload, _) = self.resolve(&data_types).ok_or_else(|| from_sql(self.unknown(&data_types)))?;
        Ok(Arc::new(self.field(returned(overload, &self.name, args.arg_fields, args.scalar_arguments))))
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        let (overload, zone_given) = self.resolve(arg_types).ok_or_else(|| from_sql(self.unknown(arg_types)))?;
        let count = arg_types.len() - usize::from(zone_given);
        Ok(arg_types
            .iter()
            .enumerate()
            .map(|(at, ty)| match overload.parameter(at) {
                // Arrow has no cast from these: analysis puts ours, see [`Self::cast_types`].
                _ if is_wide(ty) => ty.clone(),
                Some(parameter) if at < count => target(ty, parameter),
                _ => ty.clone(),
            })
            .collect())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let data_types: Vec<DataType> = args.arg_fields.iter().map(|f| f.data_type().clone()).collect();
        let types: Vec<SqlType> = args.arg_fields.iter().map(|f| SqlType::of_field(f)).collect();
        let (overload, _) = self.resolve(&data_types).ok_or_else(|| from_sql(self.unknown(&data_types)))?;
        if self.returns_set() {
            let message = "set-returning functions are not allowed here";
            return Err(from_sql(SqlError::new(SqlState::FeatureNotSupported, message)));
        }
        let view = crate::exec::view::view_of(&args.config_options);
        let declared = match &overload.returns {
            Returns::Type(ty) => Some(ty),
            Returns::Derived(_) => None,
        };
        let returned = args.return_field.data_type();
        let call = Call { types: &types, returned, declared, view: view.as_ref() };
        let once = self.signature.volatility != Volatility::Volatile;
        rows(&args, &types, overload.strict, once, |values| (overload.eval)(values, &call))
    }
}

/// The field of a call's result.
fn returned(overload: &Overload, name: &str, args: &[FieldRef], constants: &[Option<&ScalarValue>]) -> Field {
    match &overload.returns {
        Returns::Type(ty) => ty.field(name, true),
        Returns::Derived(derive) => {
            let types: Vec<SqlType> = args.iter().map(|f| SqlType::of_field(f)).collect();
            let values: Vec<Option<Value>> = constants
                .iter()
                .zip(&types)
                .map(|(constant, ty)| Some(value_at(&constant.as_ref()?.to_array().ok()?, 0, ty)))
                .collect();
            derive(&types, &values).field(name, true)
        }
    }
}

/// Applies `eval` to the arguments of each row.
pub(in crate::exec) fn each_row(
    args: &ScalarFunctionArgs,
    types: &[SqlType],
    strict: bool,
    eval: impl FnMut(&[Value]) -> SqlResult<Value>,
) -> Result<ColumnarValue> {
    rows(args, types, strict, true, eval)
}

/// [`each_row`]; `once`: constant arguments give one result for all rows.
fn rows(
    args: &ScalarFunctionArgs,
    types: &[SqlType],
    strict: bool,
    once: bool,
    mut eval: impl FnMut(&[Value]) -> SqlResult<Value>,
) -> Result<ColumnarValue> {
    let returned = args.return_field.data_type();
    let mut columns: Vec<Option<ArrayRef>> = Vec::with_capacity(args.args.len());
    let mut values: Vec<Value> = Vec::with_capacity(args.args.len());
    for (arg, ty) in args.args.iter().zip(types) {
        match arg {
            ColumnarValue::Scalar(value) => {
                values.push(value_at(&value.to_array()?, 0, ty));
                columns.push(None);
            }
            ColumnarValue::Array(array) => {
                values.push(Value::Null);
                columns.push(Some(Arc::clone(array)));
            }
        }
    }
    let mut call = |values: &[Value]| {
        if strict && values.iter().any(Value::is_null) { Ok(Value::Null) } else { eval(values).map_err(from_sql) }
    };
    if once && columns.iter().all(Option::is_none) && !args.args.is_empty() {
        let value = call(&values)?;
        limits::check_value(&value).map_err(from_sql)?;
        return Ok(ColumnarValue::Scalar(scalar(&value, returned)?));
    }
    let result = builder_type(&args.return_field);
    let view = crate::exec::view::view_of(&args.config_options);
    let mut builder = ColumnBuilder::new(&result, args.number_rows);
    let mut made = Made::default();
    for row in 0..args.number_rows {
        if view.as_ref().is_some_and(|view| view.cancel.is_cancelled()) {
            return Err(from_sql(crate::exec::error::canceled()));
        }
        for ((value, column), ty) in values.iter_mut().zip(&columns).zip(types) {
            if let Some(column) = column {
                *value = value_at(column, row, ty);
            }
        }
        let value = call(&values)?;
        made.add(&value)?;
        builder.push(&value).map_err(|e| from_sql(SqlError::internal(e)))?;
    }
    Ok(ColumnarValue::Array(builder.finish()))
}

/// The SQL type whose column has exactly the Arrow type of a field.
fn builder_type(field: &FieldRef) -> SqlType {
    match field.data_type() {
        DataType::Decimal128(precision, scale) => SqlType::Numeric(Some((u16::from(*precision), i16::from(*scale)))),
        _ => SqlType::of_field(field),
    }
}
