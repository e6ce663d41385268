//! Operators and the syntax that stands for functions, as PostgreSQL resolves them.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, TimeUnit};
use datafusion::common::DFSchema;
use datafusion::error::Result;
use datafusion::logical_expr::expr::{
    AggregateFunction, Placeholder, ScalarFunction, WindowFunction, WindowFunctionDefinition, WindowFunctionParams,
};
use datafusion::logical_expr::planner::{
    ExprPlanner, PlannerResult, RawAggregateExpr, RawBinaryExpr, RawFieldAccessExpr, RawWindowExpr,
};
use datafusion::logical_expr::{BinaryExpr, Cast, Expr, ExprSchemable, GetFieldAccess, Operator};
use datafusion::scalar::ScalarValue;
use perigee_types::network::AddressType;
use perigee_types::numeric::Numeric;
use perigee_types::{SqlError, SqlState, SqlType};
use sqlparser::ast::BinaryOperator;

use super::choice::Choice;
use super::function::{Function, is_unknown, type_name, undefined_operator};
use super::{arithmetic, cast, chains, datetime, elements, numeric};
use crate::exec::bind::evaluate_constant;
use crate::exec::error::from_sql;

/// Resolves operators, EXTRACT, SUBSTRING, aggregates.
#[derive(Debug)]
pub(in crate::exec) struct PostgresOperators;

/// One side of an operator.
struct Side {
    expr: Expr,
    ty: DataType,
    field: Option<FieldRef>,
}

impl Side {
    fn new(expr: Expr, schema: &DFSchema) -> Result<Self> {
        let expr = shrink(expr);
        if matches!(&expr, Expr::Placeholder(p) if p.field.is_none()) {
            return Ok(Self { expr, ty: DataType::Null, field: None });
        }
        let mut field = expr.to_field(schema)?.1;
        if let Some(ty) = chosen_type(&expr, schema)?
            && ty.arrow() == *field.data_type()
        {
            field = Arc::new(ty.field(field.name(), true));
        }
        Ok(Self { ty: field.data_type().clone(), field: Some(field), expr })
    }

    fn is_unknown(&self) -> bool {
        is_unknown(&self.ty) && matches!(&self.expr, Expr::Placeholder(_) | Expr::Literal(..))
    }

    /// The SQL type.
    fn sql(&self) -> SqlType {
        match &self.field {
            Some(field) if !is_unknown(&self.ty) => SqlType::of_field(field),
            _ => SqlType::Unknown,
        }
    }

    /// A wide numeric as a double; anything else as it is.
    fn into_float(self, schema: &DFSchema) -> Result<Self> {
        if !numeric::is_wide(&self.ty) {
            return Ok(self);
        }
        let field: FieldRef = Arc::new(SqlType::Float8.field("float8", true));
        let expr = numeric::brought(self.expr, &SqlType::Float8, schema)?;
        Ok(Self { expr, ty: DataType::Float64, field: Some(field) })
    }

    /// This side as a value of `ty`, where it is a literal or parameter without a type.
    fn adopt(self, ty: &SqlType) -> Result<Self> {
        let expr = adopt(self.expr, ty)?;
        let field = match &expr {
            // Beside a numeric(p,s) it is a numeric of any digits.
            Expr::Placeholder(Placeholder { field: Some(field), .. }) => Arc::clone(field),
            _ => Arc::new(ty.field(ty.internal_name(), true)),
        };
        Ok(Self { expr, ty: field.data_type().clone(), field: Some(field) })
    }
}

/// The type of a choice whose values all have it: DataFusion's field of CASE says the Arrow type alone.
fn chosen_type(expr: &Expr, schema: &DFSchema) -> Result<Option<SqlType>> {
    let arms: Vec<&Expr> = match expr {
        Expr::Case(case) => {
            case.when_then_expr.iter().map(|(_, then)| then).chain(&case.else_expr).map(AsRef::as_ref).collect()
        }
        Expr::ScalarFunction(call) if call.func.inner().downcast_ref::<Choice>().is_some() => {
            call.args.iter().collect()
        }
        _ => return Ok(None),
    };
    let mut chosen: Option<SqlType> = None;
    for arm in arms {
        if matches!(arm, Expr::Placeholder(p) if p.field.is_none()) {
            continue;
        }
        let ty = match chosen_type(arm, schema)? {
            Some(ty) => ty,
            None => {
                let field = arm.to_field(schema)?.1;
                if is_unknown(field.data_type()) {
                    continue;
                }
                SqlType::of_field(&field)
            }
        };
        match &chosen {
            Some(before) if *before != ty => return Ok(None),
            _ => chosen = Some(ty),
        }
    }
    Ok(chosen)
}

/// An untyped literal or parameter as one of type `ty`; anything else as it is.
pub(in crate::exec) fn adopt(expr: Expr, ty: &SqlType) -> Result<Expr> {
    // A constraint on the column's values does not bind what it is compared with.
    let ty = &match ty {
        SqlType::Varchar(_) | SqlType::Name | SqlType::InternalChar => SqlType::Text,
        SqlType::Numeric(_) => SqlType::Numeric(None),
        SqlType::Vector(_) => SqlType::Vector(None),
        SqlType::Coded(of) => SqlType::Coded(of.without_modifier()),
        ty => ty.clone(),
    };
    match expr {
        Expr::Literal(ScalarValue::Utf8(Some(text)), _) => cast::text_literal(&text, ty, false),
        Expr::Literal(value, _) if value.is_null() => {
            Ok(cast::literal(ScalarValue::try_from(&ty.arrow())?, &ty.field("", true)))
        }
        Expr::Placeholder(mut placeholder) if placeholder.field.is_none() => {
            placeholder.field = Some(Arc::new(ty.field(placeholder.id.clone(), true)));
            Ok(Expr::Placeholder(placeholder))
        }
        other => Ok(other),
    }
}

/// The elements of an array; literals in quotes and NULLs beside elements that all have one type are of that type.
fn adopt_elements(exprs: Vec<Expr>, types: &[DataType], schema: &DFSchema) -> Result<Vec<Expr>> {
    let is_literal = |e: &Expr| matches!(e, Expr::Literal(ScalarValue::Utf8(Some(_)), _));
    let mut typed = exprs.iter().zip(types).filter(|(e, ty)| !is_literal(e) && !is_unknown(ty));
    let Some((first, ty)) = typed.next() else { return Ok(exprs) };
    // DataFusion makes these meet with text by itself.
    if ty.is_numeric() || typed.any(|(_, other)| other != ty) {
        return Ok(exprs);
    }
    let element = SqlType::of_field(&first.to_field(schema)?.1);
    let is_null = |e: &Expr| matches!(e, Expr::Literal(ScalarValue::Null | ScalarValue::Utf8(None), _));
    exprs.into_iter().map(|e| if is_literal(&e) || is_null(&e) { adopt(e, &element) } else { Ok(e) }).collect()
}

/// A parameter without a type as one of type `ty`; anything else, also a literal in quotes, as it is.
fn parameter(expr: Expr, ty: &SqlType) -> Result<Expr> {
    match &expr {
        Expr::Placeholder(placeholder) if placeholder.field.is_none() && *ty != SqlType::Unknown => adopt(expr, ty),
        _ => Ok(expr),
    }
}

/// An integer literal as int4 where it fits; DataFusion's planner makes all of them int8.
pub(in crate::exec) fn shrink(expr: Expr) -> Expr {
    match expr {
        Expr::Literal(ScalarValue::Int64(Some(value)), None) => match i32::try_from(value) {
            Ok(small) => Expr::Literal(ScalarValue::Int32(Some(small)), None),
            Err(_) => Expr::Literal(ScalarValue::Int64(Some(value)), None),
        },
        Expr::Literal(ScalarValue::UInt64(Some(value)), None) => {
            numeric::literal(&Numeric::small(i128::from(value), 0))
        }
        other => other,
    }
}

fn arithmetic_operator(op: &BinaryOperator) -> Option<(Operator, &'static str)> {
    Some(match op {
        BinaryOperator::Plus => (Operator::Plus, "+"),
        BinaryOperator::Minus => (Operator::Minus, "-"),
        BinaryOperator::Multiply => (Operator::Multiply, "*"),
        BinaryOperator::Divide => (Operator::Divide, "/"),
        BinaryOperator::Modulo => (Operator::Modulo, "%"),
        _ => return None,
    })
}

fn comparison(op: &BinaryOperator) -> Option<(Operator, &'static str)> {
    Some(match op {
        BinaryOperator::Eq => (Operator::Eq, "="),
        BinaryOperator::NotEq => (Operator::NotEq, "<>"),
        BinaryOperator::Lt => (Operator::Lt, "<"),
        BinaryOperator::LtEq => (Operator::LtEq, "<="),
        BinaryOperator::Gt => (Operator::Gt, ">"),
        BinaryOperator::GtEq => (Operator::GtEq, ">="),
        _ => return None,
    })
}

fn binary(left: Expr, op: Operator, right: Expr) -> Expr {
    Expr::BinaryExpr(BinaryExpr::new(Box::new(left), op, Box::new(right)))
}

/// What an average counts. A cast makes nothing NULL, and without it averages of one column as several types count it
/// once, under one name.
fn counted(mut arg: Expr) -> Expr {
    while let Expr::Cast(cast) = arg {
        arg = *cast.expr;
    }
    arg
}

fn is_number(ty: &DataType) -> bool {
    ty.is_numeric() || numeric::is_wide(ty)
}

fn is_text(ty: &DataType) -> bool {
    matches!(ty, DataType::Utf8View | DataType::Utf8 | DataType::LargeUtf8)
}

/// `left op right` for `+ - * / %`.
fn plan_arithmetic(op: Operator, symbol: &'static str, left: Side, right: Side, schema: &DFSchema) -> Result<Expr> {
    let (left, right) = match (left.is_unknown(), right.is_unknown()) {
        (true, true) if left.ty == DataType::Null && right.ty == DataType::Null => {
            // Two parameters without types: the statement is planned again once they have some.
            return Ok(binary(left.expr, op, right.expr));
        }
        (true, true) => {
            return Err(from_sql(SqlError::new(
                SqlState::AmbiguousFunction,
                format!("operator is not unique: unknown {symbol} unknown"),
            )));
        }
        (true, false) => {
            let ty = datetime::other_side(op, &right.sql(), true);
            (left.adopt(&ty)?, right)
        }
        (false, true) => {
            let ty = datetime::other_side(op, &left.sql(), false);
            let right = right.adopt(&ty)?;
            (left, right)
        }
        (false, false) => (left, right),
    };
    if is_number(&left.ty) && is_number(&right.ty) {
        // A float with a numeric is a float.
        let (left, right) = match numeric::common([&left.ty, &right.ty].into_iter()) {
            Some(SqlType::Float8) => (left.into_float(schema)?, right.into_float(schema)?),
            _ => (left, right),
        };
        // Constants are computed here, and always exactly. What fails stays: it may never be reached.
        if matches!((&left.expr, &right.expr), (Expr::Literal(..), Expr::Literal(..)))
            && let Some(call) = arithmetic::exact_operation(op, &left.expr, &right.expr, (&left.ty, &right.ty))
        {
            return Ok(evaluate_constant(&call).map_or(call, numeric::narrowed));
        }
        if let Some(call) = arithmetic::operation(op, left.expr.clone(), right.expr.clone(), (&left.ty, &right.ty)) {
            return Ok(call);
        }
        return Ok(binary(left.expr, op, right.expr));
    }
    let known = datetime::operator(symbol)
        .ok_or_else(|| undefined_operator(symbol, &left.sql().to_string(), &right.sql().to_string()));
    let udf = known.map_err(from_sql)?;
    // Unknown operators are found out here, with the names of the SQL types.
    if let Some(function) = udf.inner().downcast_ref::<Function>()
        && !function.knows(&[left.ty.clone(), right.ty.clone()])
    {
        return Err(from_sql(undefined_operator(symbol, &left.sql().to_string(), &right.sql().to_string())));
    }
    Ok(Expr::ScalarFunction(ScalarFunction::new_udf(udf, vec![left.expr, right.expr])))
}

/// Whether values of two types compare at all.
fn comparable(left: &DataType, right: &DataType) -> bool {
    let class = |ty: &DataType| match ty {
        ty if is_text(ty) => 1,
        ty if is_number(ty) => 2,
        // An enumerated type compares with itself alone.
        DataType::Timestamp(TimeUnit::Second, Some(_)) => 10,
        DataType::Date32 | DataType::Timestamp(..) => 3,
        DataType::Time64(_) | DataType::Time32(_) => 4,
        DataType::Interval(_) | DataType::Duration(_) => 5,
        DataType::Boolean => 6,
        DataType::Binary | DataType::BinaryView => 7,
        DataType::FixedSizeBinary(_) => 8,
        DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..) => 9,
        _ => 0,
    };
    let (l, r) = (class(left), class(right));
    l == 0 || r == 0 || (l == r && (l != 10 || left == right))
}

/// Whether what is kept as bytes, here or in arrays, is kept so by one type: bytes of two types compare, and mean nothing.
pub(in crate::exec) fn same_bytes(left: &SqlType, right: &SqlType) -> bool {
    let is_network = |ty: &SqlType| matches!(ty, SqlType::Address(AddressType::Inet | AddressType::Cidr));
    match (left, right) {
        (SqlType::Array(left), SqlType::Array(right)) => same_bytes(left, right),
        (left, right) if left.is_kept_as_bytes() && right.is_kept_as_bytes() => {
            left.without_second_digits() == right.without_second_digits() || is_network(left) && is_network(right)
        }
        _ => true,
    }
}

/// Whether equal records of a type have equal values in Arrow's form.
fn is_plain_record(ty: &DataType) -> bool {
    let DataType::Struct(fields) = ty else { return false };
    fields.iter().all(|field| match SqlType::of_field(field) {
        SqlType::Json | SqlType::Jsonb | SqlType::Interval | SqlType::IntervalOf(_) | SqlType::Array(_) => false,
        SqlType::Record(_) => is_plain_record(field.data_type()),
        _ => !numeric::is_wide(field.data_type()),
    })
}

fn plan_comparison(op: Operator, symbol: &'static str, left: Side, right: Side, schema: &DFSchema) -> Result<Expr> {
    let (left, right) = match (left.is_unknown(), right.is_unknown()) {
        (true, false) => {
            let ty = right.sql();
            (left.adopt(&ty)?, right)
        }
        (false, true) => {
            let ty = left.sql();
            let right = right.adopt(&ty)?;
            (left, right)
        }
        _ => (left, right),
    };
    if !same_bytes(&left.sql(), &right.sql()) {
        return Err(from_sql(undefined_operator(symbol, &left.sql().to_string(), &right.sql().to_string())));
    }
    if [&left, &right].iter().any(|side| matches!(side.sql(), SqlType::Composite(_))) {
        return Err(from_sql(SqlError::unsupported("a comparison of values of a composite type")));
    }
    if [&left, &right].iter().any(|side| matches!(side.sql(), SqlType::Coded(of) if !of.has_order())) {
        return Err(from_sql(undefined_operator(symbol, &left.sql().to_string(), &right.sql().to_string())));
    }
    let is_record = |side: &Side| matches!(side.ty, DataType::Struct(_));
    // Records that are equal have the same NULLs in PostgreSQL too; in its order NULL comes last.
    let equates =
        matches!(op, Operator::Eq | Operator::NotEq) && is_plain_record(&left.ty) && is_plain_record(&right.ty);
    if (is_record(&left) || is_record(&right)) && !equates {
        return Err(from_sql(SqlError::unsupported("a comparison of records that are not written out")));
    }
    if !comparable(&left.ty, &right.ty) && !is_unknown(&left.ty) && !is_unknown(&right.ty) {
        return Err(from_sql(undefined_operator(symbol, &left.sql().to_string(), &right.sql().to_string())));
    }
    if matches!(left.ty, DataType::Interval(_)) && matches!(right.ty, DataType::Interval(_)) {
        // Intervals compare by their length, which their parts do not say.
        let length = |expr| datetime::interval_length(expr);
        return Ok(binary(length(left.expr), op, length(right.expr)));
    }
    if numeric::is_wide(&left.ty) || numeric::is_wide(&right.ty) {
        let mut sides = numeric::comparable(vec![left.expr, right.expr], schema)?;
        let (right, left) = (sides.pop().unwrap_or_default(), sides.pop().unwrap_or_default());
        return Ok(binary(left, op, right));
    }
    Ok(binary(left.expr, op, right.expr))
}

/// `left || right`: text with anything, arrays with arrays and elements.
fn plan_concat(left: Side, right: Side) -> Result<Option<Expr>> {
    let is_list = |ty: &DataType| matches!(ty, DataType::List(_));
    if is_list(&left.ty) || is_list(&right.ty) {
        return Ok(None);
    }
    let is_bytes = |ty: &DataType| matches!(ty, DataType::BinaryView | DataType::Binary);
    let is_own = |side: &Side| side.sql().is_kept_as_bytes();
    if !is_own(&left) && !is_own(&right) && (is_bytes(&left.ty) || is_bytes(&right.ty)) {
        let (left, right) = (left.adopt(&SqlType::Bytea)?, right.adopt(&SqlType::Bytea)?);
        let udf = super::text::concat_bytes();
        return Ok(Some(Expr::ScalarFunction(ScalarFunction::new_udf(udf, vec![left.expr, right.expr]))));
    }
    if !is_text(&left.ty) && !is_text(&right.ty) && !left.is_unknown() && !right.is_unknown() {
        return Err(from_sql(undefined_operator("||", &left.sql().to_string(), &right.sql().to_string())));
    }
    let text = |side: Side| -> Result<Expr> {
        if side.is_unknown() {
            return adopt(side.expr, &SqlType::Text);
        }
        if is_text(&side.ty) {
            return Ok(side.expr);
        }
        let field: FieldRef = Arc::new(SqlType::Text.field("text", true));
        Ok(Expr::Cast(Cast::new_from_field(Box::new(side.expr), field)))
    };
    Ok(Some(chains::append(text(left)?, Operator::StringConcat, text(right)?)))
}

fn call(udf: Arc<datafusion::logical_expr::ScalarUDF>, args: Vec<Expr>) -> Expr {
    Expr::ScalarFunction(ScalarFunction::new_udf(udf, args))
}

/// Operators on json and arrays; `None` for others.
fn plan_containers(raw: &RawBinaryExpr, schema: &DFSchema) -> Result<Option<Expr>> {
    use BinaryOperator as B;
    let concerned = matches!(
        raw.op,
        B::Arrow
            | B::LongArrow
            | B::HashArrow
            | B::HashLongArrow
            | B::HashMinus
            | B::Question
            | B::QuestionAnd
            | B::QuestionPipe
            | B::AtArrow
            | B::ArrowAt
            | B::AtQuestion
            | B::AtAt
            | B::PGOverlap
            | B::AndLt
            | B::AndGt
            | B::PGBitwiseShiftLeft
            | B::PGBitwiseShiftRight
            | B::StringConcat
            | B::Plus
            | B::Minus
            | B::Multiply
            | B::Divide
            | B::LtDashGt
            | B::Spaceship
            | B::Custom(_)
            | B::PGRegexMatch
            | B::At
            | B::BitwiseAnd
            | B::BitwiseOr
            | B::BitwiseXor
            | B::PGBitwiseXor
            | B::Eq
            | B::NotEq
            | B::Lt
            | B::LtEq
            | B::Gt
            | B::GtEq
    );
    if !concerned {
        return Ok(None);
    }
    let (left, right) = (Side::new(raw.left.clone(), schema)?, Side::new(raw.right.clone(), schema)?);
    if let Some(udf) = super::json::operator(&raw.op, &left.sql(), &right.sql()) {
        let of = |side: &SqlType, other: &SqlType| match (&raw.op, other) {
            (B::AtArrow | B::ArrowAt | B::StringConcat, SqlType::Jsonb) => SqlType::Jsonb,
            (B::AtQuestion | B::AtAt, SqlType::Jsonb) => SqlType::JsonPath,
            (B::AtQuestion | B::AtAt, SqlType::JsonPath) => SqlType::Jsonb,
            _ => side.clone(),
        };
        let (of_left, of_right) = (of(&left.sql(), &right.sql()), of(&right.sql(), &left.sql()));
        let (left, right) = (parameter(left.expr, &of_left)?, parameter(right.expr, &of_right)?);
        return Ok(Some(call(udf, vec![left, right])));
    }
    let known = super::networks::operator(&raw.op, &left.sql(), &right.sql())
        .or_else(|| super::coded::operator(&raw.op, &left.sql(), &right.sql()));
    if let Some((udf, of_left, of_right)) =
        known.or_else(|| super::ranges::operator(&raw.op, &left.sql(), &right.sql()))
    {
        let (left, right) = (left.adopt(&of_left)?, right.adopt(&of_right)?);
        return Ok(Some(call(udf, vec![left.expr, right.expr])));
    }
    let compares = matches!(raw.op, B::Eq | B::NotEq | B::Lt | B::LtEq | B::Gt | B::GtEq | B::StringConcat);
    if !compares && [left.sql(), right.sql()].iter().any(|ty| matches!(ty, SqlType::Range(_) | SqlType::Multirange(_)))
    {
        let (left, right) = (left.sql().to_string(), right.sql().to_string());
        return Err(from_sql(undefined_operator(&raw.op.to_string(), &left, &right)));
    }
    if let Some(udf) = super::vectors::operator(&raw.op) {
        let of = SqlType::Vector(None);
        if [left.sql(), right.sql()].iter().any(|ty| matches!(ty, SqlType::Vector(_))) {
            let (left, right) = (left.adopt(&of)?, right.adopt(&of)?);
            return Ok(Some(call(udf, vec![left.expr, right.expr])));
        }
        if matches!(raw.op, B::LtDashGt | B::Spaceship | B::Custom(_)) {
            let (left, right) = (left.sql().to_string(), right.sql().to_string());
            return Err(from_sql(undefined_operator(&raw.op.to_string(), &left, &right)));
        }
    }
    if let Some(udf) = super::arrays::operator(&raw.op)
        && let Some(array) = [left.sql(), right.sql()].into_iter().find(|ty| matches!(ty, SqlType::Array(_)))
    {
        let (left, right) = (left.adopt(&array)?, right.adopt(&array)?);
        return Ok(Some(call(udf, vec![left.expr, right.expr])));
    }
    if let Some((op, symbol)) = comparison(&raw.op) {
        let sides = [left.sql(), right.sql()];
        if sides.contains(&SqlType::Json) || (sides.contains(&SqlType::Jsonb) && !sides.iter().all(is_jsonb_or_unknown))
        {
            return Err(from_sql(undefined_operator(symbol, &sides[0].to_string(), &sides[1].to_string())));
        }
        if sides.contains(&SqlType::Jsonb) {
            let (left, right) = (left.adopt(&SqlType::Jsonb)?, right.adopt(&SqlType::Jsonb)?);
            return Ok(Some(binary(jsonb_key(left.expr), op, jsonb_key(right.expr))));
        }
    }
    Ok(None)
}

fn is_jsonb_or_unknown(ty: &SqlType) -> bool {
    matches!(ty, SqlType::Jsonb | SqlType::Unknown)
}

/// What a jsonb compares by.
pub(in crate::exec) fn jsonb_key(expr: Expr) -> Expr {
    call(super::json::key(), vec![expr])
}

/// `name[n]`: a name is an array of letters there, whose subscripts begin at zero.
fn letter_of_name(name: Expr, subscript: Expr, schema: &DFSchema) -> Result<Expr> {
    let one = || Expr::Literal(ScalarValue::Int32(Some(1)), None);
    let place = Side::new(subscript, schema)?.adopt(&SqlType::Int4)?;
    let place = plan_arithmetic(Operator::Plus, "+", place, Side::new(one(), schema)?, schema)?;
    let letter = call(super::text::substring(), vec![name, place, one()]);
    Ok(super::sets::labeled(letter, Arc::new(SqlType::InternalChar.field("name", true))))
}

impl ExprPlanner for PostgresOperators {
    fn plan_binary_op(&self, raw: RawBinaryExpr, schema: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
        use BinaryOperator as B;
        let sides = |raw: RawBinaryExpr| {
            Ok::<_, datafusion::error::DataFusionError>((Side::new(raw.left, schema)?, Side::new(raw.right, schema)?))
        };
        if let Some(planned) = plan_containers(&raw, schema)? {
            return Ok(PlannerResult::Planned(planned));
        }
        if let Some((op, symbol)) = arithmetic_operator(&raw.op) {
            let (left, right) = sides(raw)?;
            return plan_arithmetic(op, symbol, left, right, schema).map(PlannerResult::Planned);
        }
        if let Some((op, symbol)) = comparison(&raw.op) {
            let (left, right) = sides(raw)?;
            return plan_comparison(op, symbol, left, right, schema).map(PlannerResult::Planned);
        }
        match &raw.op {
            B::StringConcat => {
                let (left, right) = sides(raw.clone())?;
                // Beside an array, what has no type is an array.
                let of_array = |expr: Expr, other: &Side| match other.sql() {
                    ty @ SqlType::Array(_) => parameter(expr, &ty),
                    _ => Ok(expr),
                };
                let raw =
                    RawBinaryExpr { left: of_array(raw.left, &right)?, right: of_array(raw.right, &left)?, op: raw.op };
                Ok(match plan_concat(left, right)? {
                    Some(planned) => PlannerResult::Planned(planned),
                    None => PlannerResult::Original(raw),
                })
            }
            B::PGRegexMatch
            | B::PGRegexIMatch
            | B::PGRegexNotMatch
            | B::PGRegexNotIMatch
            | B::PGLikeMatch
            | B::PGILikeMatch
            | B::PGNotLikeMatch
            | B::PGNotILikeMatch => {
                let is_regex =
                    matches!(raw.op, B::PGRegexMatch | B::PGRegexIMatch | B::PGRegexNotMatch | B::PGRegexNotIMatch);
                let right = match raw.right {
                    Expr::Literal(ScalarValue::Utf8(Some(pattern)), metadata) if is_regex => {
                        let pattern = perigee_types::text::pattern::translate(&pattern);
                        Expr::Literal(ScalarValue::Utf8(Some(pattern)), metadata)
                    }
                    other => other,
                };
                // citext matches whatever the case.
                let op = match raw.op {
                    op if Side::new(raw.left.clone(), schema)?.sql() != SqlType::Citext => op,
                    B::PGRegexMatch => B::PGRegexIMatch,
                    B::PGRegexNotMatch => B::PGRegexNotIMatch,
                    B::PGLikeMatch => B::PGILikeMatch,
                    B::PGNotLikeMatch => B::PGNotILikeMatch,
                    op => op,
                };
                let left = adopt(raw.left, &SqlType::Text)?;
                let right = adopt(right, &SqlType::Text)?;
                Ok(PlannerResult::Original(RawBinaryExpr { op, left, right }))
            }
            B::And | B::Or => {
                let op = if raw.op == B::And { Operator::And } else { Operator::Or };
                Ok(PlannerResult::Planned(chains::append(shrink(raw.left), op, shrink(raw.right))))
            }
            B::PGExp => {
                let (left, right) = sides(raw)?;
                let power = super::math::power();
                let call = ScalarFunction::new_udf(power, vec![left.expr, right.expr]);
                Ok(PlannerResult::Planned(Expr::ScalarFunction(call)))
            }
            _ => Ok(PlannerResult::Original(RawBinaryExpr {
                left: shrink(raw.left),
                right: shrink(raw.right),
                op: raw.op,
            })),
        }
    }

    /// The elements as one type where one of them is a numeric that DataFusion has no cast for.
    fn plan_array_literal(&self, exprs: Vec<Expr>, schema: &DFSchema) -> Result<PlannerResult<Vec<Expr>>> {
        // A parameter has no type yet.
        let Ok(types) = exprs.iter().map(|e| e.get_type(schema)).collect::<Result<Vec<_>>>() else {
            return Ok(PlannerResult::Original(exprs));
        };
        let to = numeric::choice(types.iter()).filter(|_| types.iter().any(numeric::is_wide));
        let elements = match to {
            None => adopt_elements(exprs, &types, schema)?,
            Some(to) => {
                exprs.into_iter().map(|e| numeric::brought(shrink(e), &to, schema)).collect::<Result<Vec<_>>>()?
            }
        };
        Ok(PlannerResult::Planned(elements::array(elements)))
    }

    fn plan_extract(&self, args: Vec<Expr>) -> Result<PlannerResult<Vec<Expr>>> {
        Ok(PlannerResult::Planned(Expr::ScalarFunction(ScalarFunction::new_udf(datetime::extract(), args))))
    }

    fn plan_position(&self, args: Vec<Expr>) -> Result<PlannerResult<Vec<Expr>>> {
        let udf = datafusion::functions::unicode::strpos();
        Ok(PlannerResult::Planned(Expr::ScalarFunction(ScalarFunction::new_udf(udf, args))))
    }

    fn plan_substring(&self, args: Vec<Expr>) -> Result<PlannerResult<Vec<Expr>>> {
        let udf = super::text::substring();
        Ok(PlannerResult::Planned(Expr::ScalarFunction(ScalarFunction::new_udf(udf, args))))
    }

    fn plan_overlay(&self, args: Vec<Expr>) -> Result<PlannerResult<Vec<Expr>>> {
        let udf = datafusion::functions::core::overlay();
        Ok(PlannerResult::Planned(Expr::ScalarFunction(ScalarFunction::new_udf(udf, args))))
    }

    fn plan_compound_identifier(
        &self,
        field: &Field,
        _: Option<&datafusion::common::TableReference>,
        nested: &[String],
    ) -> Result<PlannerResult<Vec<Expr>>> {
        Err(from_sql(SqlError::new(
            SqlState::WrongObjectType,
            format!(
                "column notation .{} applied to type {}, which is not a composite type",
                nested.first().map_or("", String::as_str),
                type_name(field.data_type())
            ),
        )))
    }

    fn plan_field_access(
        &self,
        raw: RawFieldAccessExpr,
        schema: &DFSchema,
    ) -> Result<PlannerResult<RawFieldAccessExpr>> {
        let key = match &raw.field_access {
            GetFieldAccess::ListIndex { key } => shrink(key.as_ref().clone()),
            GetFieldAccess::NamedStructField { name } => Expr::Literal(name.clone(), None),
            GetFieldAccess::ListRange { .. } => return Ok(PlannerResult::Original(raw)),
        };
        if matches!(raw.field_access, GetFieldAccess::ListIndex { .. })
            && crate::pg_catalog::is_vector(&raw.expr, schema)
        {
            // Their subscripts begin at zero.
            let place = Side::new(key, schema)?.adopt(&SqlType::Int4)?;
            let one = Side::new(Expr::Literal(ScalarValue::Int32(Some(1)), None), schema)?;
            let key = Box::new(plan_arithmetic(Operator::Plus, "+", place, one, schema)?);
            return Ok(PlannerResult::Original(RawFieldAccessExpr {
                field_access: GetFieldAccess::ListIndex { key },
                expr: raw.expr,
            }));
        }
        // DataFusion would forget the element's type, and make an aggregate of the element of one that takes one kind of
        // integers, and one order for all of its like.
        if let GetFieldAccess::ListIndex { key } = &raw.field_access
            && matches!(raw.expr.get_type(schema)?, DataType::List(_))
        {
            return Ok(PlannerResult::Planned(elements::at(raw.expr.clone(), key.as_ref().clone())));
        }
        let container = Side::new(raw.expr.clone(), schema)?;
        if let (SqlType::Record(fields), GetFieldAccess::NamedStructField { name }) =
            (container.sql(), &raw.field_access)
        {
            let name = name.try_as_str().flatten().unwrap_or_default();
            return super::records::field(container.expr, &fields, name).map(PlannerResult::Planned);
        }
        if let (SqlType::Composite(of), GetFieldAccess::NamedStructField { name }) =
            (container.sql(), &raw.field_access)
        {
            let name = name.try_as_str().flatten().unwrap_or_default();
            return super::composites::attribute(container.expr, &of, name).map(PlannerResult::Planned);
        }
        if container.sql() == SqlType::Name && matches!(raw.field_access, GetFieldAccess::ListIndex { .. }) {
            return letter_of_name(container.expr, key, schema).map(PlannerResult::Planned);
        }
        if container.sql() != SqlType::Jsonb {
            return Ok(PlannerResult::Original(raw));
        }
        let key = Side::new(key, schema)?;
        Ok(PlannerResult::Planned(call(super::json::subscript(), vec![container.expr, key.expr])))
    }

    fn plan_aggregate(&self, mut raw: RawAggregateExpr) -> Result<PlannerResult<RawAggregateExpr>> {
        if let Some(planned) = super::json::aggregate(&raw) {
            return Ok(PlannerResult::Planned(planned));
        }
        super::aggregate::pair_arguments(raw.func.name(), &mut raw.args);
        let [arg] = raw.args.as_slice() else { return Ok(PlannerResult::Original(raw)) };
        let call = |udf: Arc<datafusion::logical_expr::AggregateUDF>, arg: Expr| {
            Expr::AggregateFunction(AggregateFunction::new_udf(
                udf,
                vec![arg],
                raw.distinct,
                raw.filter.clone(),
                Vec::new(),
                None,
            ))
        };
        match raw.func.name() {
            "sum" => {
                let arg = super::aggregate::sum_argument(shrink(arg.clone()));
                Ok(PlannerResult::Planned(call(Arc::clone(&raw.func), arg)))
            }
            "avg" => {
                let arg = shrink(arg.clone());
                let sum = call(super::spread::sum(), super::aggregate::double_argument(arg.clone()));
                let count = call(datafusion::functions_aggregate::count::count_udaf(), counted(arg));
                Ok(PlannerResult::Planned(super::aggregate::average(sum, count)))
            }
            _ => Ok(PlannerResult::Original(raw)),
        }
    }

    fn plan_window(&self, mut raw: RawWindowExpr) -> Result<PlannerResult<RawWindowExpr>> {
        if let WindowFunctionDefinition::AggregateUDF(udaf) = &raw.func_def {
            super::aggregate::pair_arguments(udaf.name(), &mut raw.args);
        }
        let call = |fun: WindowFunctionDefinition, args: Vec<Expr>| {
            Expr::WindowFunction(Box::new(WindowFunction {
                fun,
                params: WindowFunctionParams {
                    args,
                    partition_by: raw.partition_by.clone(),
                    order_by: raw.order_by.clone(),
                    window_frame: raw.window_frame.clone(),
                    filter: raw.filter.clone(),
                    null_treatment: raw.null_treatment,
                    distinct: raw.distinct,
                },
            }))
        };
        let integer = |expr: Expr, ty: SqlType| {
            Expr::Cast(Cast::new_from_field(Box::new(expr), Arc::new(ty.field(ty.internal_name(), true))))
        };
        match (&raw.func_def, raw.args.as_slice()) {
            (WindowFunctionDefinition::AggregateUDF(udaf), [arg]) if udaf.name() == "sum" => {
                let args = vec![super::aggregate::sum_argument(shrink(arg.clone()))];
                Ok(PlannerResult::Planned(call(raw.func_def.clone(), args)))
            }
            (WindowFunctionDefinition::AggregateUDF(udaf), [arg]) if udaf.name() == "avg" => {
                let arg = shrink(arg.clone());
                let sum = WindowFunctionDefinition::AggregateUDF(super::spread::sum());
                let count =
                    WindowFunctionDefinition::AggregateUDF(datafusion::functions_aggregate::count::count_udaf());
                let sum = call(sum, vec![super::aggregate::sum_argument(arg.clone())]);
                let count = call(count, vec![counted(arg)]);
                Ok(PlannerResult::Planned(super::aggregate::average(sum, count)))
            }
            (WindowFunctionDefinition::WindowUDF(udwf), args) => match udwf.name() {
                "row_number" | "rank" | "dense_rank" => {
                    Ok(PlannerResult::Planned(integer(call(raw.func_def.clone(), args.to_vec()), SqlType::Int8)))
                }
                "ntile" => {
                    Ok(PlannerResult::Planned(integer(call(raw.func_def.clone(), args.to_vec()), SqlType::Int4)))
                }
                _ => Ok(PlannerResult::Original(raw)),
            },
            _ => Ok(PlannerResult::Original(raw)),
        }
    }
}
