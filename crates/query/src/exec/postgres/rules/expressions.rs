//! Expressions: literals, casts, session values, signs, BETWEEN and IN over untyped literals, SIMILAR TO.

use std::collections::HashSet;
use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, Field};
use datafusion::common::tree_node::{Transformed, TreeNodeRecursion, TreeNodeRewriter};
use datafusion::common::{Column, DFSchema, Result};
use datafusion::error::DataFusionError;
use datafusion::execution::SessionStateDefaults;
use datafusion::logical_expr::expr::{AggregateFunction, Between, BinaryExpr, InList, Like, ScalarFunction};
use datafusion::logical_expr::utils::COUNT_STAR_EXPANSION;
use datafusion::logical_expr::{Case, Cast, Expr, ExprSchemable, LogicalPlanBuilder, Operator, Subquery};
use datafusion::scalar::ScalarValue;
use perigee_types::network::AddressType;
use perigee_types::numeric::Numeric;
use perigee_types::text::calendar::{DATE_INFINITY, DATE_MINUS_INFINITY, TIMESTAMP_INFINITY, TIMESTAMP_MINUS_INFINITY};
use perigee_types::{CodedType, SqlError, SqlState, SqlType};

use super::super::choice::Choice;
use super::super::domains::DOMAIN_VALUE;
use super::super::elements::{self, ELEMENT};
use super::super::function::{Function, is_enum, is_unknown, undefined_operator};
use super::super::operators::{adopt, jsonb_key, same_bytes, shrink};
use super::super::subscripts::SUBSCRIPTED;
use super::super::text::{self, backslashed};
use super::super::{
    arithmetic, cast, citext, coded, datetime, forms, json, like, meeting, numeric as wide, quantified, ranges,
    session, sets,
};
use super::{conditions, numeric};
use crate::exec::bind::evaluate_constant;
use crate::exec::error::from_sql;
use crate::exec::rewrite::{AS_IT_IS, NEGATE};
use crate::exec::values::SessionValue;

/// Rewrites the expressions of one node of a plan.
pub(super) struct Rewriter<'a> {
    /// What the expressions may name.
    pub(super) schema: &'a DFSchema,
    /// Whether integer literals become int4.
    pub(super) shrinks: bool,
}

impl TreeNodeRewriter for Rewriter<'_> {
    type Node = Expr;

    fn f_down(&mut self, expr: Expr) -> Result<Transformed<Expr>> {
        // count(*) is known by its argument.
        if let Expr::AggregateFunction(AggregateFunction { func, params }) = &expr
            && func.name() == "count"
            && matches!(params.args.as_slice(), [Expr::Literal(value, _)] if *value == COUNT_STAR_EXPANSION)
            && params.filter.is_none()
        {
            return Ok(Transformed::new(expr, false, TreeNodeRecursion::Jump));
        }
        Ok(Transformed::no(expr))
    }

    fn f_up(&mut self, expr: Expr) -> Result<Transformed<Expr>> {
        conditions::check(&expr, self.schema)?;
        match expr {
            Expr::Literal(ScalarValue::Int64(Some(_)) | ScalarValue::UInt64(Some(_)), None) if self.shrinks => {
                Ok(Transformed::yes(shrink(expr)))
            }
            Expr::Cast(cast) => cast::rewrite(cast, self.schema).map(Transformed::yes),
            Expr::Negative(inner) => self.negative(*inner),
            Expr::ScalarFunction(call) => self.call(call),
            Expr::BinaryExpr(binary) if is_comparison(binary.op) => self.comparison(binary),
            Expr::ScalarSubquery(subquery) => maybe_null(subquery).map(Transformed::yes),
            Expr::AggregateFunction(call) => {
                self.gathering(Expr::AggregateFunction(numeric::aggregate(call, self.schema)?))
            }
            Expr::WindowFunction(call) => {
                self.gathering(Expr::WindowFunction(Box::new(numeric::window(*call, self.schema)?)))
            }
            Expr::InSubquery(list) => {
                numeric::in_subquery(list, self.schema).map(|l| Transformed::yes(Expr::InSubquery(l)))
            }
            Expr::Between(between) => self.between(between),
            Expr::InList(list) => self.in_list(list),
            Expr::Like(like) => like::planned(self.escaped(like)?).map(|planned| Transformed::yes(planned.data)),
            Expr::SimilarTo(like) => self.similar(like),
            Expr::Case(mut case) => {
                if let Some(operand) = &case.expr
                    && let Some(ty) = self.known(operand)?
                {
                    for (when, _) in &mut case.when_then_expr {
                        **when = adopt(std::mem::take(when), &ty)?;
                    }
                    let whens = case.when_then_expr.iter().map(|(when, _)| self.known(when));
                    let alike = whens.collect::<Result<Vec<_>>>()?.iter().flatten().all(|known| *known == ty);
                    if alike && forms::has_key(&ty) {
                        case.expr = case.expr.take().map(|operand| Box::new(forms::key(*operand, &ty)));
                        for (when, _) in &mut case.when_then_expr {
                            **when = forms::key(std::mem::take(when), &ty);
                        }
                    }
                }
                let known = self.first_known(
                    case.when_then_expr.iter().map(|(_, t)| t.as_ref()).chain(case.else_expr.as_deref()),
                )?;
                if let Some(ty) = known {
                    for (_, then) in &mut case.when_then_expr {
                        **then = adopt(std::mem::take(then), &ty)?;
                    }
                    case.else_expr = match case.else_expr {
                        Some(otherwise) => Some(Box::new(adopt(*otherwise, &ty)?)),
                        None => None,
                    };
                }
                self.refuse_other_choices(
                    case.when_then_expr.iter().map(|(_, then)| then.as_ref()).chain(case.else_expr.as_deref()),
                )?;
                // The type of ELSE is the first to be asked.
                let arms = case.else_expr.iter().chain(case.when_then_expr.iter().map(|(_, then)| then));
                let types: Vec<SqlType> =
                    arms.filter_map(|arm| self.known(arm).transpose()).collect::<Result<Vec<_>>>()?;
                let case = numeric::case(case, self.schema)?;
                Ok(Transformed::yes(one_type(Expr::Case(case), &types)))
            }
            other => Ok(Transformed::no(other)),
        }
    }
}

impl Rewriter<'_> {
    /// The SQL type of an expression that is not an untyped literal or parameter.
    fn known(&self, expr: &Expr) -> Result<Option<SqlType>> {
        if matches!(expr, Expr::Placeholder(p) if p.field.is_none()) {
            return Ok(None);
        }
        let field = expr.to_field(self.schema)?.1;
        Ok((!is_unknown(field.data_type())).then(|| SqlType::of_field(&field)))
    }

    fn first_known<'e>(&self, exprs: impl Iterator<Item = &'e Expr>) -> Result<Option<SqlType>> {
        for expr in exprs {
            if let Some(ty) = self.known(expr)? {
                return Ok(Some(ty));
            }
        }
        Ok(None)
    }

    fn negative(&self, inner: Expr) -> Result<Transformed<Expr>> {
        let ty = inner.get_type(self.schema)?;
        let zero = match ty {
            DataType::Int16 => ScalarValue::Int16(Some(0)),
            DataType::Int32 => ScalarValue::Int32(Some(0)),
            DataType::Int64 => ScalarValue::Int64(Some(0)),
            DataType::LargeBinary => {
                let zero = wide::literal(&Numeric::ZERO);
                let call = arithmetic::operation(Operator::Minus, zero, inner.clone(), (&ty, &ty));
                return Ok(Transformed::yes(call.unwrap_or_else(|| Expr::Negative(Box::new(inner)))));
            }
            _ => return Ok(Transformed::yes(Expr::Negative(Box::new(inner)))),
        };
        if let Expr::Literal(value, None) = &inner
            && let Ok(negated) = value.arithmetic_negate()
        {
            return Ok(Transformed::yes(Expr::Literal(negated, None)));
        }
        let zero = Expr::Literal(zero, None);
        Ok(match arithmetic::operation(Operator::Minus, zero, inner.clone(), (&ty, &ty)) {
            Some(call) => Transformed::yes(call),
            None => Transformed::no(Expr::Negative(Box::new(inner))),
        })
    }

    fn call(&self, mut call: ScalarFunction) -> Result<Transformed<Expr>> {
        if call.args.is_empty()
            && let Some((value, ty)) = session::session_value(call.func.name())
        {
            let field = Arc::new(ty.field(call.func.name(), true));
            let as_type = Cast::new_from_field(Box::new(value), field);
            return cast::rewrite(as_type, self.schema).map(Transformed::yes);
        }
        if call.func.name() == DOMAIN_VALUE && call.args.first().is_some_and(Expr::is_volatile) {
            // The rules would test other values than the one that comes out.
            return Err(from_sql(SqlError::unsupported("a volatile expression that is cast to a domain")));
        }
        if call.func.name() == "age"
            && let [of] = call.args.as_slice()
            && of.get_type(self.schema)? != SqlType::Xid.arrow()
        {
            let today = SessionValue::TransactionTime.expr();
            let date = Arc::new(SqlType::Date.field("date", true));
            let today = cast::rewrite(Cast::new_from_field(Box::new(today), date), self.schema)?;
            let midnight = Arc::new(SqlType::Timestamp(None).field("timestamp", true));
            let today = cast::rewrite(Cast::new_from_field(Box::new(today), midnight), self.schema)?;
            call.args.insert(0, today);
        }
        self.type_elements(&mut call)?;
        if call.func.name() == "array_has"
            && let [array, value] = call.args.as_slice()
            && let (Some(SqlType::Array(of)), Some(ty)) = (self.known(array)?, self.known(value)?)
            && !same_bytes(&of, &ty)
        {
            return Err(from_sql(undefined_operator("=", &ty.to_string(), &of.to_string())));
        }
        if call.func.name() == "array_has"
            && let [array, value] = call.args.as_mut_slice()
            && self.known(value)? == Some(SqlType::Citext)
        {
            (*array, *value) = (citext::key(std::mem::take(array)), citext::key(std::mem::take(value)));
        }
        self.meet_elements(&mut call)?;
        call = quantified::with_types(call, self.schema)?;
        quantified::with_nulls(&mut call);
        elements::keep_types(&mut call);
        if let [of] = call.args.as_slice()
            && let Some(counted) = coded::count_of_bits(call.func.name())
            && matches!(self.known(of)?, Some(SqlType::Coded(CodedType::Bit(_) | CodedType::VarBit(_))))
        {
            call.func = counted;
        }
        if OF_BYTES.contains(&call.func.name())
            && let Some(of) = call.args.first()
            && let Some(ty) = self.known(of)?
            && ty.is_kept_as_bytes()
        {
            let text = format!("function {}({ty}) does not exist", call.func.name());
            return Err(from_sql(SqlError::new(SqlState::UndefinedFunction, text)));
        }
        if let Some(function) = call.func.inner().downcast_ref::<Function>() {
            let types = call.args.iter().map(|a| a.get_type(self.schema)).collect::<Result<Vec<_>>>()?;
            for (arg, ty) in call.args.iter_mut().zip(function.literal_types(&types)) {
                if let (Expr::Literal(ScalarValue::Utf8(Some(_)), _), Some(ty)) = (&*arg, ty) {
                    *arg = adopt(std::mem::take(arg), &ty)?;
                }
            }
            for (arg, ty) in call.args.iter_mut().zip(function.cast_types(&types)) {
                if let Some(ty) = ty {
                    *arg = wide::brought(std::mem::take(arg), &ty, self.schema)?;
                }
            }
            let types = call.args.iter().map(|a| a.get_type(self.schema)).collect::<Result<Vec<_>>>()?;
            if function.wants_zone(&types) {
                call.args.push(SessionValue::TimeZone.expr());
                return Ok(Transformed::yes(Expr::ScalarFunction(call)));
            }
            return Ok(Transformed::no(Expr::ScalarFunction(call)));
        }
        if call.func.name() == SUBSCRIPTED {
            let value = call.args.pop().unwrap_or_default();
            return Ok(Transformed::yes(match self.known(&value)? {
                Some(array @ SqlType::Array(_)) if is_element(&value) => {
                    let of = array.element();
                    cast::literal(ScalarValue::try_from(&of.arrow())?, &of.field("element", true))
                }
                _ => value,
            }));
        }
        if let name @ (NEGATE | AS_IT_IS) = call.func.name() {
            let negate = name == NEGATE;
            let inner = call.args.pop().unwrap_or_default();
            // A literal in quotes is a double here, as PostgreSQL prefers it.
            let inner = adopt(inner, &SqlType::Float8)?;
            return if negate { self.negative(inner) } else { Ok(Transformed::yes(inner)) };
        }
        if let Some(choice) = call.func.inner().downcast_ref::<Choice>() {
            if call.func.name() == "nullif" {
                self.refuse_other_bytes("=", call.args.iter())?;
            }
            self.refuse_other_choices(call.args.iter())?;
            let ty = self.first_known(call.args.iter())?.unwrap_or(SqlType::Text);
            call.args = call.args.into_iter().map(|arg| adopt(arg, &ty)).collect::<Result<_>>()?;
            call.args = match call.func.name() {
                "nullif" => match self.null_if_equal(&call.args)? {
                    Some(case) => return Ok(Transformed::yes(case)),
                    // What it gives is its first argument, whatever that is compared with.
                    None => wide::unified(call.args, self.schema)?,
                },
                _ => wide::chosen(call.args, self.schema)?,
            };
            call.func = Arc::clone(choice.inner());
            let chooses = call.func.name() != "nullif";
            let asked = if chooses { call.args.len() } else { 1 };
            let types: Vec<SqlType> =
                call.args.iter().take(asked).filter_map(|arg| self.known(arg).transpose()).collect::<Result<_>>()?;
            let compares = matches!(call.func.name(), "greatest" | "least");
            if compares && ty == SqlType::Jsonb {
                call.func = json::extreme(call.func.name() == "greatest");
            }
            let chosen = Expr::ScalarFunction(call);
            // The first type is the common one of varchar and text; DataFusion says text.
            return Ok(Transformed::yes(match ty {
                SqlType::Varchar(_) if chooses => {
                    sets::labeled(chosen, Arc::new(SqlType::Varchar(None).field("varchar", true)))
                }
                _ => one_type(chosen, &types),
            }));
        }
        self.refuse_enums(&mut call)?;
        if call.func.name() == "make_array" {
            return self.array_of_one_type(call);
        }
        let expr = Expr::ScalarFunction(call);
        self.refuse_gathered(&expr)?;
        // Counts and places are int4 in PostgreSQL.
        if expr.get_type(self.schema)? == DataType::UInt64 {
            let field = Arc::new(SqlType::Int4.field("int4", true));
            return Ok(Transformed::yes(Expr::Cast(Cast::new_from_field(Box::new(expr), field))));
        }
        Ok(Transformed::no(expr))
    }

    /// An array of values of one type says that type where DataFusion would take another from their form.
    fn array_of_one_type(&self, mut call: ScalarFunction) -> Result<Transformed<Expr>> {
        let types: Vec<SqlType> =
            call.args.iter().filter_map(|arg| self.known(arg).transpose()).collect::<Result<_>>()?;
        let own = match types.as_slice() {
            [first, rest @ ..] if rest.iter().all(|ty| ty == first) && has_label(first) => Some(first),
            _ => None,
        };
        let Some(of) = own else {
            let expr = Expr::ScalarFunction(call);
            self.refuse_gathered(&expr)?;
            return Ok(Transformed::no(expr));
        };
        call.args = call.args.into_iter().map(|arg| adopt(arg, of)).collect::<Result<_>>()?;
        let array = SqlType::Array(Box::new(of.clone()));
        Ok(Transformed::yes(sets::labeled(Expr::ScalarFunction(call), Arc::new(array.field("array", true)))))
    }

    /// An aggregate or a window function that is PostgreSQL's now, where it gives what it has gathered its type.
    fn gathering(&self, call: Expr) -> Result<Transformed<Expr>> {
        self.refuse_gathered(&call)?;
        Ok(Transformed::yes(call))
    }

    /// What gathers addresses or ranges would give bytes: DataFusion keeps the Arrow type of a value alone.
    fn refuse_gathered(&self, call: &Expr) -> Result<()> {
        let (name, args) = match call {
            Expr::ScalarFunction(call) => (call.func.name(), &call.args),
            Expr::AggregateFunction(call) => (call.func.name(), &call.params.args),
            Expr::WindowFunction(call) => (call.fun.name(), &call.params.args),
            _ => return Ok(()),
        };
        if !is_bytes(&call.get_type(self.schema)?) {
            return Ok(());
        }
        for arg in args {
            if let Some(ty) = self.known(arg)?
                && has_own_bytes(&ty)
                && !numeric::has_extreme(name, &ty)
                && !has_own_bytes(&SqlType::of_field(&call.to_field(self.schema)?.1))
            {
                return Err(from_sql(SqlError::unsupported(format_args!("{name} of {ty}"))));
            }
        }
        Ok(())
    }

    /// DataFusion's own functions would take a value of an enumerated type for a time, an address for bytes. Those of arrays may have it.
    fn refuse_enums(&self, call: &mut ScalarFunction) -> Result<()> {
        static BUILT_IN: LazyLock<HashSet<String>> = LazyLock::new(|| {
            let all = SessionStateDefaults::default_scalar_functions();
            all.iter().map(|function| function.name().to_owned()).collect()
        });
        let name = call.func.name().to_owned();
        let of_any = name.starts_with("array_") || matches!(name.as_str(), "make_array" | "cardinality" | "flatten");
        let is_own = call.func.inner().downcast_ref::<ranges::BoundOrCase>().is_some();
        if is_own || !BUILT_IN.contains(&name) || (of_any && name != "array_to_string") {
            return Ok(());
        }
        let fields = call.args.iter().map(|arg| Ok(arg.to_field(self.schema)?.1)).collect::<Result<Vec<_>>>()?;
        let types: Vec<SqlType> = fields.iter().map(|field| SqlType::of_field(field)).collect();
        if !types.iter().any(|ty| ty.user_type().is_some() || has_own_bytes(ty)) {
            return Ok(());
        }
        if name == "array_to_string"
            && types.iter().all(|ty| !has_own_bytes(ty))
            && let Some(array) = call.args.first_mut()
        {
            let texts = Arc::new(SqlType::Array(Box::new(SqlType::Text)).field("text", true));
            *array = cast::rewrite(Cast::new_from_field(Box::new(std::mem::take(array)), texts), self.schema)?;
            return Ok(());
        }
        let names: Vec<String> = types.iter().map(SqlType::to_string).collect();
        let text = format!("function {name}({}) does not exist", names.join(", "));
        Err(from_sql(
            SqlError::new(SqlState::UndefinedFunction, text).hint(
                "No function matches the given name and argument types. You might need to add explicit type casts.",
            ),
        ))
    }

    /// Literals in quotes beside an array of an enumerated type are labels, beside one of addresses addresses. NULL is an
    /// element where the Arrow type alone does not say of which type.
    fn type_elements(&self, call: &mut ScalarFunction) -> Result<()> {
        const FUNCTIONS: &[&str] = &[
            "array_append",
            "array_has",
            "array_position",
            "array_positions",
            "array_prepend",
            "array_remove",
            "array_remove_all",
            "array_replace",
            "array_replace_all",
        ];
        if !FUNCTIONS.contains(&call.func.name()) {
            return Ok(());
        }
        let mut element = None;
        for arg in &call.args {
            if let Some(SqlType::Array(of)) = self.known(arg)?
                && (is_enum(&of.arrow()) || of.is_kept_as_bytes() || has_label(&of))
            {
                element = Some(*of);
            }
        }
        let Some(element) = element else { return Ok(()) };
        let reads = is_enum(&element.arrow()) || element.is_kept_as_bytes();
        for arg in &mut call.args {
            match arg {
                Expr::Literal(ScalarValue::Utf8(Some(_)), _) if reads => *arg = adopt(std::mem::take(arg), &element)?,
                Expr::Literal(ScalarValue::Null | ScalarValue::Utf8(None), _) => {
                    *arg = cast::literal(ScalarValue::try_from(&element.arrow())?, &element.field("element", true));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// `nullif` as a CASE where its sides are compared as another type than the first, which is the result's.
    fn null_if_equal(&self, args: &[Expr]) -> Result<Option<Expr>> {
        let [value, other] = args else { return Ok(None) };
        let (ty, other_ty) = (value.get_type(self.schema)?, other.get_type(self.schema)?);
        match meeting::compared([&ty, &other_ty].into_iter()) {
            Some(to) if to.arrow() != ty => {}
            _ => return Ok(None),
        }
        let sides = wide::comparable(vec![value.clone(), other.clone()], self.schema)?;
        let [left, right] = pair(sides)?;
        let null = Expr::Literal(ScalarValue::try_from(&ty)?, None);
        let equal = Expr::BinaryExpr(BinaryExpr::new(Box::new(left), Operator::Eq, Box::new(right)));
        let case = Case::new(None, vec![(Box::new(equal), Box::new(null))], Some(Box::new(value.clone())));
        Ok(Some(Expr::Case(case)))
    }

    /// The elements of an array, or those of `value = ANY (array)` and the value, as one type where DataFusion would take
    /// another than PostgreSQL.
    fn meet_elements(&self, call: &mut ScalarFunction) -> Result<()> {
        if call.func.name() == "make_array" {
            let types = call.args.iter().map(|arg| arg.get_type(self.schema)).collect::<Result<Vec<_>>>()?;
            let to = meeting::times(types.iter())
                .or_else(|| wide::choice(types.iter()).filter(|_| types.iter().any(wide::is_wide)));
            let Some(to) = to else { return Ok(()) };
            for arg in &mut call.args {
                *arg = wide::brought(std::mem::take(arg), &to, self.schema)?;
            }
            return Ok(());
        }
        if call.func.name() != "array_has" {
            return Ok(());
        }
        let [array, value] = call.args.as_mut_slice() else { return Ok(()) };
        let (DataType::List(item), ty) = (array.get_type(self.schema)?, value.get_type(self.schema)?) else {
            return Ok(());
        };
        let to = match meeting::compared([item.data_type(), &ty].into_iter()) {
            // Wide numerics have a comparison of their own.
            Some(to) if !wide::is_wide(&to.arrow()) => to,
            _ => return Ok(()),
        };
        *value = wide::brought(std::mem::take(value), &to, self.schema)?;
        *array = wide::brought(std::mem::take(array), &SqlType::Array(Box::new(to)), self.schema)?;
        Ok(())
    }

    /// `42846` where a choice is between values that are kept as bytes by several types.
    fn refuse_other_choices<'e>(&self, exprs: impl Iterator<Item = &'e Expr>) -> Result<()> {
        let mut first: Option<SqlType> = None;
        for expr in exprs {
            let Some(ty) = self.known(expr)? else { continue };
            match &first {
                Some(first) if !same_bytes(first, &ty) => {
                    let text = format!("could not convert type {ty} to {first}");
                    return Err(from_sql(SqlError::new(SqlState::CannotCoerce, text)));
                }
                Some(_) => {}
                None => first = Some(ty),
            }
        }
        Ok(())
    }

    /// `42883` where values are compared that are kept as bytes by several types.
    fn refuse_other_bytes<'e>(&self, symbol: &str, exprs: impl Iterator<Item = &'e Expr>) -> Result<()> {
        let mut first: Option<SqlType> = None;
        for expr in exprs {
            let Some(ty) = self.known(expr)? else { continue };
            match &first {
                Some(first) if !same_bytes(first, &ty) => {
                    return Err(from_sql(undefined_operator(symbol, &first.to_string(), &ty.to_string())));
                }
                Some(_) => {}
                None => first = Some(ty),
            }
        }
        Ok(())
    }

    /// A date compared with a constant timestamp at midnight is compared as a date, which statistics and indexes know.
    fn comparison(&self, binary: BinaryExpr) -> Result<Transformed<Expr>> {
        let BinaryExpr { left, op, right } = binary;
        self.refuse_other_bytes(symbol(op), [left.as_ref(), right.as_ref()].into_iter())?;
        // Beside IS DISTINCT FROM a constant has no type yet.
        let (left, right) = match (self.known(&left)?, self.known(&right)?) {
            (Some(ty), None) if forms::has_key(&ty) => (left, Box::new(adopt(*right, &ty)?)),
            (None, Some(ty)) if forms::has_key(&ty) => (Box::new(adopt(*left, &ty)?), right),
            _ => (left, right),
        };
        if let (Some(of_left), Some(of_right)) = (self.known(&left)?, self.known(&right)?)
            && of_left == of_right
            && forms::has_key(&of_left)
        {
            let (left, right) = (Box::new(forms::key(*left, &of_left)), Box::new(forms::key(*right, &of_right)));
            return Ok(Transformed::yes(Expr::BinaryExpr(BinaryExpr { left, op, right })));
        }
        let (left_type, right_type) = (left.get_type(self.schema)?, right.get_type(self.schema)?);
        let (left, right) = match (&left_type, &right_type) {
            (DataType::Date32, DataType::Timestamp(_, None)) => (left, Box::new(midnight_as_date(*right))),
            (DataType::Timestamp(_, None), DataType::Date32) => (Box::new(midnight_as_date(*left)), right),
            _ => (left, right),
        };
        let [left, right] = pair(wide::comparable(vec![*left, *right], self.schema)?)?;
        Ok(Transformed::yes(Expr::BinaryExpr(BinaryExpr { left: Box::new(left), op, right: Box::new(right) })))
    }

    fn between(&self, between: Between) -> Result<Transformed<Expr>> {
        let Between { expr, negated, low, high } = between;
        self.refuse_other_bytes(">=", [expr.as_ref(), low.as_ref(), high.as_ref()].into_iter())?;
        let known = self.first_known([expr.as_ref(), low.as_ref(), high.as_ref()].into_iter())?;
        let (expr, low, high) = match &known {
            Some(ty) => (adopt(*expr, ty)?, adopt(*low, ty)?, adopt(*high, ty)?),
            None => (*expr, *low, *high),
        };
        let (low, high) = if expr.get_type(self.schema)? == DataType::Date32 {
            (midnight_as_date(low), midnight_as_date(high))
        } else {
            (low, high)
        };
        let (expr, low, high) = if matches!(known, Some(SqlType::Interval | SqlType::IntervalOf(_))) {
            (datetime::interval_length(expr), datetime::interval_length(low), datetime::interval_length(high))
        } else if let Some(ty) = known.as_ref().filter(|ty| forms::has_key(ty)) {
            (forms::key(expr, ty), forms::key(low, ty), forms::key(high, ty))
        } else {
            (expr, low, high)
        };
        let sides = wide::comparable(vec![expr, low, high], self.schema)?;
        let [expr, low, high] = <[Expr; 3]>::try_from(sides).map_err(|_| lost())?;
        Ok(Transformed::yes(Expr::Between(Between::new(Box::new(expr), negated, Box::new(low), Box::new(high)))))
    }

    fn in_list(&self, list: InList) -> Result<Transformed<Expr>> {
        let InList { expr, list, negated } = list;
        self.refuse_other_bytes("=", std::iter::once(expr.as_ref()).chain(&list))?;
        let known = self.first_known(std::iter::once(expr.as_ref()).chain(&list))?;
        let Some(ty) = known else { return Ok(Transformed::no(Expr::InList(InList { expr, list, negated }))) };
        let mut all = vec![adopt(*expr, &ty)?];
        all.extend(list.into_iter().map(|e| adopt(e, &ty)).collect::<Result<Vec<_>>>()?);
        let mut all = if ty == SqlType::Jsonb {
            all.into_iter().map(jsonb_key).collect()
        } else if forms::has_key(&ty) {
            all.into_iter().map(|value| forms::key(value, &ty)).collect()
        } else {
            wide::listed(all, self.schema)?
        };
        let list = all.split_off(1);
        let expr = Box::new(all.pop().ok_or_else(lost)?);
        Ok(Transformed::yes(Expr::InList(InList { expr, list, negated })))
    }

    fn like(&self, like: Like) -> Result<Like> {
        // citext does so whatever the case.
        let case_insensitive = like.case_insensitive || self.known(&like.expr)? == Some(SqlType::Citext);
        let expr = Box::new(adopt(*like.expr, &SqlType::Text)?);
        let pattern = Box::new(adopt(*like.pattern, &SqlType::Text)?);
        Ok(Like { expr, pattern, case_insensitive, ..like })
    }

    /// LIKE with an escape of its own: its pattern with backslashes.
    fn escaped(&self, like: Like) -> Result<Like> {
        let mut like = self.like(like)?;
        let Some(escape) = like.escape_char.filter(|c| *c != '\\') else { return Ok(like) };
        if let Expr::Literal(ScalarValue::Utf8View(Some(pattern)), _) = like.pattern.as_mut() {
            *pattern = backslashed(pattern, escape).map_err(from_sql)?;
        } else {
            let escape = Expr::Literal(ScalarValue::Utf8View(Some(escape.to_string())), None);
            let args = vec![*like.pattern, escape];
            like.pattern = Box::new(Expr::ScalarFunction(ScalarFunction::new_udf(text::like_escape(), args)));
        }
        like.escape_char = None;
        Ok(like)
    }

    fn similar(&self, like: Like) -> Result<Transformed<Expr>> {
        let like = self.like(like)?;
        let escape = like.escape_char.unwrap_or('\\');
        let pattern = match like.pattern.as_ref() {
            Expr::Literal(ScalarValue::Utf8View(Some(pattern)), _) => similar_to_regex(pattern, escape),
            _ => {
                return Err(DataFusionError::NotImplemented(
                    "SIMILAR TO with a pattern that is not constant".to_owned(),
                ));
            }
        };
        let op = if like.negated { Operator::RegexNotMatch } else { Operator::RegexMatch };
        let pattern = Expr::Literal(ScalarValue::Utf8View(Some(pattern)), None);
        Ok(Transformed::yes(Expr::BinaryExpr(BinaryExpr::new(like.expr, op, Box::new(pattern)))))
    }
}

/// Functions of bytes, which addresses and ranges are not: their overloads go by Arrow types.
const OF_BYTES: &[&str] = &[
    "length",
    "octet_length",
    "bit_length",
    "bit_count",
    "substring",
    "substr",
    "overlay",
    "position",
    "btrim",
    "ltrim",
    "rtrim",
    "md5",
    "sha224",
    "sha256",
    "sha384",
    "sha512",
    "encode",
    "convert_from",
    "get_bit",
    "get_byte",
    "set_bit",
    "set_byte",
];

/// Whether an expression is an element of an array.
fn is_element(expr: &Expr) -> bool {
    matches!(expr, Expr::ScalarFunction(call) if call.func.name() == ELEMENT)
}

/// Whether it is a type that is kept as bytes, or an array of one.
fn has_own_bytes(ty: &SqlType) -> bool {
    match ty {
        SqlType::Array(of) => has_own_bytes(of),
        ty => ty.is_kept_as_bytes(),
    }
}

/// Whether values are bytes, or arrays of bytes.
fn is_bytes(ty: &DataType) -> bool {
    match ty {
        DataType::BinaryView => true,
        DataType::List(item) => is_bytes(item.data_type()),
        _ => false,
    }
}

/// Whether a type is another than the one that DataFusion would take from its form. What digits a numeric has is said by its own rules.
fn has_label(ty: &SqlType) -> bool {
    let is_its_form = SqlType::of_field(&Field::new("form", ty.arrow(), true)) == *ty;
    !is_its_form && !matches!(ty, SqlType::Numeric(_))
}

/// A choice between values of `types` says its type where DataFusion would take another from its form: values of one type have that,
/// texts of several types the first of them.
fn one_type(expr: Expr, types: &[SqlType]) -> Expr {
    let is_text = |ty: &SqlType| matches!(ty, SqlType::Text | SqlType::Varchar(_));
    let is_network = |ty: &SqlType| matches!(ty, SqlType::Address(AddressType::Inet | AddressType::Cidr));
    match types {
        [first, rest @ ..] if rest.iter().all(|ty| ty == first) && has_label(first) => {
            sets::labeled(expr, Arc::new(first.field("case", true)))
        }
        [_, _, ..] if types.iter().all(is_network) => {
            sets::labeled(expr, Arc::new(SqlType::Address(AddressType::Inet).field("case", true)))
        }
        [first, rest @ ..] if types.iter().all(is_text) && rest.iter().any(|ty| ty != first) => {
            let common = if *first == SqlType::Text { SqlType::Text } else { SqlType::Varchar(None) };
            sets::labeled(expr, Arc::new(common.field("case", true)))
        }
        _ => expr,
    }
}

/// A subquery whose value is NULL where it has no row, also when its column is never NULL: DataFusion takes the column's
/// word for the value's.
fn maybe_null(mut subquery: Subquery) -> Result<Expr> {
    let schema = Arc::clone(subquery.subquery.schema());
    let [field] = schema.fields().as_ref() else { return Ok(Expr::ScalarSubquery(subquery)) };
    if !field.is_nullable() {
        let nullable = Arc::new(field.as_ref().clone().with_nullable(true));
        let (qualifier, _) = schema.qualified_field(0);
        let column = Expr::Column(Column::from((qualifier, field)));
        let value = sets::labeled(column, nullable).alias_qualified(qualifier.cloned(), field.name());
        let plan = LogicalPlanBuilder::from(Arc::unwrap_or_clone(subquery.subquery)).project([value])?.build()?;
        subquery.subquery = Arc::new(plan);
    }
    Ok(Expr::ScalarSubquery(subquery))
}

/// A comparison as PostgreSQL writes it; what asks whether values are distinct is `=`.
fn symbol(op: Operator) -> &'static str {
    match op {
        Operator::NotEq => "<>",
        Operator::Lt => "<",
        Operator::LtEq => "<=",
        Operator::Gt => ">",
        Operator::GtEq => ">=",
        _ => "=",
    }
}

fn is_comparison(op: Operator) -> bool {
    matches!(
        op,
        Operator::Eq
            | Operator::NotEq
            | Operator::Lt
            | Operator::LtEq
            | Operator::Gt
            | Operator::GtEq
            | Operator::IsDistinctFrom
            | Operator::IsNotDistinctFrom
    )
}

fn pair(exprs: Vec<Expr>) -> Result<[Expr; 2]> {
    exprs.try_into().map_err(|_| lost())
}

fn lost() -> DataFusionError {
    DataFusionError::Internal("the sides of a comparison have been lost".to_owned())
}

/// A constant timestamp at midnight, or an infinite one, as that date; anything else as it is.
fn midnight_as_date(expr: Expr) -> Expr {
    let constant = match &expr {
        Expr::Literal(..) => Some(expr.clone()),
        Expr::ScalarFunction(call) if call.args.iter().all(|a| matches!(a, Expr::Literal(..))) => {
            evaluate_constant(&expr).ok()
        }
        _ => None,
    };
    match constant {
        Some(Expr::Literal(ScalarValue::TimestampMicrosecond(Some(TIMESTAMP_INFINITY), None), _)) => {
            Expr::Literal(ScalarValue::Date32(Some(DATE_INFINITY)), None)
        }
        Some(Expr::Literal(ScalarValue::TimestampMicrosecond(Some(TIMESTAMP_MINUS_INFINITY), None), _)) => {
            Expr::Literal(ScalarValue::Date32(Some(DATE_MINUS_INFINITY)), None)
        }
        Some(Expr::Literal(ScalarValue::TimestampMicrosecond(Some(at), None), _)) if at % datetime::DAY == 0 => {
            match i32::try_from(at / datetime::DAY) {
                Ok(days) => Expr::Literal(ScalarValue::Date32(Some(days)), None),
                Err(_) => expr,
            }
        }
        _ => expr,
    }
}

/// An SQL pattern as a regular expression over the whole text.
fn similar_to_regex(pattern: &str, escape: char) -> String {
    let mut out = String::from("^(?s:");
    let mut in_brackets = false;
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        match c {
            c if c == escape => out.push_str(&regex::escape(&chars.next().map(String::from).unwrap_or_default())),
            '[' => {
                in_brackets = true;
                out.push(c);
            }
            ']' => {
                in_brackets = false;
                out.push(c);
            }
            '%' if !in_brackets => out.push_str(".*"),
            '_' if !in_brackets => out.push('.'),
            '.' | '^' | '$' if !in_brackets => {
                out.push('\\');
                out.push(c);
            }
            other => out.push(other),
        }
    }
    out.push_str(")$");
    out
}
