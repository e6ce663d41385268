//! What PostgreSQL writes and DataFusion's planner does not know, written as it does know it.

mod arguments;
mod array_queries;
mod asof;
mod conditions;
mod domains;
mod escapes;
mod expanded;
mod functions;
mod gapfill;
mod groups;
mod information;
mod joins;
mod latest;
mod literals;
mod ordered;
mod row_types;
mod rows;
mod shadowed;
mod subscripts;
mod system_columns;
mod user_functions;
mod value_columns;
pub(super) mod values;
mod whole_rows;
mod wildcards;
mod windows;

use std::ops::ControlFlow;

use perigee_types::text::array;
use perigee_types::{SqlError, SqlResult, SqlState};
use sqlparser::ast::{
    self, BinaryOperator, Expr, FunctionArg, FunctionArgExpr, FunctionArgumentClause, FunctionArguments, GroupByExpr,
    Ident, LimitClause, NamedWindowDefinition, ObjectName, ObjectNamePart, OrderBy, OrderByKind, Query, Select,
    SelectItem, SetExpr, TableFactor, UnaryOperator, Visit, VisitMut, VisitorMut, WindowType,
};

use super::{columns, size, with};
use crate::exec::{ALL, ANY, BIT_NOT, UNNEST, WITH_TIES};
use crate::sql::context::PlanContext;
use crate::sql::parse::fold;

/// Rewrites a query and all within it.
///
/// # Errors
/// `0A000` for what DataFusion would leave out silently, `54001` for a query of too many relations.
pub(super) fn query(query: &mut Query, context: &PlanContext) -> SqlResult<()> {
    run(query, context)
}

/// Rewrites an expression and all within it.
///
/// # Errors
/// As [`query`].
pub(super) fn expression(expr: &mut Expr, context: &PlanContext) -> SqlResult<()> {
    run(expr, context)
}

pub(super) use system_columns::{hide as hide_table_oid, refuse_tid};

fn run<N: Visit + VisitMut>(node: &mut N, context: &PlanContext) -> SqlResult<()> {
    size::check_text(node)?;
    let mut rewrite = Rewrite {
        context,
        named: system_columns::named(node),
        relations: Vec::new(),
        rows: Vec::new(),
        joins: joins::Joins::default(),
        windows: Vec::new(),
        expanded: expanded::Expanded::default(),
        calls: user_functions::Calls::default(),
    };
    match VisitMut::visit(node, &mut rewrite) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

fn flow(result: SqlResult<()>) -> ControlFlow<SqlError> {
    match result {
        Ok(()) => ControlFlow::Continue(()),
        Err(error) => ControlFlow::Break(error),
    }
}

struct Rewrite<'a> {
    context: &'a PlanContext<'a>,
    /// Which columns that need another scan stand anywhere in it.
    named: system_columns::Named,
    /// The tables that each SELECT around reads, innermost last.
    relations: Vec<system_columns::Relations>,
    joins: joins::Joins,
    /// The windows that each SELECT around names.
    windows: Vec<Vec<NamedWindowDefinition>>,
    /// Their columns, where they are known.
    rows: Vec<whole_rows::Relations>,
    expanded: expanded::Expanded,
    calls: user_functions::Calls,
}

impl VisitorMut for Rewrite<'_> {
    type Break = SqlError;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<SqlError> {
        if !query.locks.is_empty() {
            return ControlFlow::Break(SqlError::unsupported("FOR UPDATE in a subquery"));
        }
        system_columns::in_order(query, self.named, self.context);
        value_columns::name(query, self.context);
        shadowed::rename(query, self.context);
        if let Err(error) = values::in_query(query, self.context) {
            return ControlFlow::Break(error);
        }
        if query.with.as_ref().is_some_and(with::writes) {
            return ControlFlow::Break(with::not_at_the_top());
        }
        if let Err(error) = gapfill::fill(query) {
            return ControlFlow::Break(error);
        }
        // Columns of WITH are named as those of a statement are.
        query
            .with
            .iter_mut()
            .flat_map(|with| &mut with.cte_tables)
            .for_each(|cte| columns::name_derived(&mut cte.query));
        whole_rows::in_order(query, self.context);
        self.joins.enter_query(query, self.context);
        places_of_groups(query);
        flow(fetch_as_limit(query).and_then(|()| row_counts(query)).and_then(|()| order_by_constants(query)))
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<SqlError> {
        self.joins.leave_query();
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<SqlError> {
        if select.into.is_some() {
            return ControlFlow::Break(SqlError::unsupported("SELECT INTO").hint("Use CREATE TABLE AS instead."));
        }
        let checked = windows::resolve(&mut select.named_window)
            .and_then(|()| no_constants(&select.group_by))
            .and_then(|()| latest::on(select, self.context, &self.joins));
        if let Err(error) = checked {
            return ControlFlow::Break(error);
        }
        group_of_nothing(select);
        having_of_one_group(select);
        conditions::of_select(select);
        if let Err(error) = row_types::define(&mut select.from, self.context) {
            return ControlFlow::Break(error);
        }
        groups::places_in_sets(select);
        groups::sets_into_from(select, self.context);
        self.windows.push(select.named_window.clone());
        self.expanded.enter_select(&mut select.projection);
        if let Err(error) = self.calls.from(&mut select.from, &self.rows, self.context) {
            return ControlFlow::Break(error);
        }
        functions::from(&mut select.from);
        literals::in_select_list(&mut select.projection);
        system_columns::name_only(&mut select.from);
        if self.named.any() {
            let marked = system_columns::mark(&mut select.from, self.named, self.context);
            if let Err(error) = system_columns::hide_in(select, &marked) {
                return ControlFlow::Break(error);
            }
        }
        wildcards::named_as_in_from(select, self.context);
        self.relations.push(system_columns::relations(&select.from, self.context));
        let (joins, context) = (&self.joins, self.context);
        let queries = |factor: &TableFactor| joins.columns_of_query(factor, context);
        let rows = whole_rows::relations_with(&select.from, context, &queries);
        self.rows.push(rows);
        system_columns::name(&mut select.projection);
        whole_rows::in_select_list(&mut select.projection, &self.rows);
        select.projection.iter_mut().for_each(rows::value);
        flow(self.joins.enter_select(select, self.context).and_then(|()| asof::joins(&mut select.from)))
    }

    fn post_visit_select(&mut self, _: &mut Select) -> ControlFlow<SqlError> {
        self.joins.leave_select();
        self.windows.pop();
        self.relations.pop();
        self.rows.pop();
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<SqlError> {
        if let TableFactor::Derived { subquery, .. } = factor {
            // Its columns are named as those of a statement are.
            columns::name_derived(subquery);
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<SqlError> {
        self.calls.leave(expr);
        if let Some(rewritten) = subscripts::rewrite(expr) {
            *expr = rewritten;
        }
        if let Some(made) = array_of_outer(expr, &self.rows) {
            *expr = made;
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<SqlError> {
        if let Expr::Function(function) = expr
            && let Some(rewritten) = information::called(function)
        {
            *expr = rewritten;
        }
        if let Err(error) = self.calls.enter(expr, &self.rows, self.context) {
            return ControlFlow::Break(error);
        }
        if let Some(field) = self.expanded.field(expr) {
            *expr = field;
        }
        escapes::plain(expr);
        conditions::of_operator(expr);
        // With its sign, before the sign alone becomes something else.
        if let Some(number) = literals::long_number(expr) {
            *expr = number;
        }
        crate::exec::rewrite_expression(expr);
        if let Err(error) = same_dimensions(expr) {
            return ControlFlow::Break(error);
        }
        with_dimensions(expr);
        if let Some(vector) = catalog_vector(expr) {
            *expr = vector;
        }
        match domains::cast(expr, self.context) {
            Ok(Some(checked)) => *expr = checked,
            Ok(None) => {}
            Err(error) => return ControlFlow::Break(error),
        }
        if let Some(value) = system_columns::value(expr, &self.relations) {
            *expr = value;
        }
        if let Some(rewritten) = array_queries::array_of_query(expr) {
            *expr = rewritten;
        }
        if let Some(listed) = listed(expr) {
            *expr = listed;
        }
        if let Some(rewritten) = quantified(expr).or_else(|| some_as_all(expr)) {
            *expr = rewritten;
        }
        if let Some(merged) = self.joins.merged(expr) {
            *expr = merged;
        }
        match rows::rewrite(expr, &self.rows) {
            Ok(Some(rewritten)) => *expr = rewritten,
            Ok(None) => {}
            Err(error) => return ControlFlow::Break(error),
        }
        whole_rows::in_operands(expr, &self.rows);
        if let Some(distance) = functions::distance(expr) {
            *expr = distance;
        }
        if let Expr::Function(function) = expr
            && let Some(object) = functions::json_object(function)
        {
            *expr = object;
        }
        if let Expr::Function(function) = expr
            && let Some(rewritten) =
                ordered::within_group(function).or_else(|| cast_of_call(function)).or_else(|| rounded_now(function))
        {
            *expr = rewritten;
        }
        match expr {
            // The parser knows the others that have no parentheses.
            Expr::Identifier(name) if name.quote_style.is_none() && fold(name) == "current_role" => {
                *expr = functions::call("current_role", Vec::new());
            }
            Expr::UnaryOp { op: UnaryOperator::BitwiseNot, expr: of } => {
                *expr = functions::call(BIT_NOT, vec![std::mem::replace(of, Expr::value(ast::Value::Null))]);
            }
            Expr::BinaryOp { left, op: BinaryOperator::PGStartsWith, right } => {
                let take = |e: &mut Box<Expr>| std::mem::replace(e.as_mut(), Expr::value(ast::Value::Null));
                *expr = functions::call("starts_with", vec![take(left), take(right)]);
            }
            Expr::Function(function) => {
                if let Some(WindowType::WindowSpec(spec)) = &mut function.over {
                    let named = self.windows.last().map(Vec::as_slice).unwrap_or_default();
                    if let Err(error) = windows::inherit_over(spec, named) {
                        return ControlFlow::Break(error);
                    }
                }
                strip_schema(&mut function.name);
                no_places(function);
                whole_rows::as_json(function, &self.rows);
                if let Err(error) = whole_rows::counted(function, &self.rows) {
                    return ControlFlow::Break(error);
                }
                whole_rows::in_arguments(function, &self.rows);
                if let Err(error) = arguments::by_position(function) {
                    return ControlFlow::Break(error);
                }
                functions::first_and_last(function);
                if let Some(set) = functions::set_of_array(function) {
                    *expr = set;
                    return ControlFlow::Continue(());
                }
                if function.name.to_string().eq_ignore_ascii_case("unnest") {
                    function.name = ObjectName::from(vec![Ident::new(UNNEST)]);
                }
            }
            Expr::BinaryOp { op, .. } => {
                if let BinaryOperator::PGCustomBinaryOperator(parts) = op
                    && let Some(known) = operator_named(parts)
                {
                    *op = known;
                }
            }
            // Text compares by bytes, whatever the collation is called.
            Expr::Collate { expr: inner, collation } if is_byte_order(collation) => {
                *expr = std::mem::replace(inner, Expr::value(sqlparser::ast::Value::Null));
            }
            Expr::Value(value) => {
                if let Some(cast) = bits(&value.value) {
                    *expr = cast;
                }
            }
            Expr::Collate { collation, .. } => {
                return ControlFlow::Break(SqlError::unsupported(format_args!("collation {collation}")));
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

/// Leaves numbers out of the ORDER BY of an aggregate: they are constants there, the planner takes them for places.
fn no_places(function: &mut ast::Function) {
    let FunctionArguments::List(list) = &mut function.args else { return };
    for clause in &mut list.clauses {
        if let FunctionArgumentClause::OrderBy(keys) = clause {
            keys.retain(
                |key| !matches!(&key.expr, Expr::Value(value) if matches!(value.value, ast::Value::Number(..))),
            );
        }
    }
    list.clauses.retain(|clause| !matches!(clause, FunctionArgumentClause::OrderBy(keys) if keys.is_empty()));
}

/// `float8(x)`: a type's name as a function of one argument is a cast.
fn cast_of_call(function: &ast::Function) -> Option<Expr> {
    const TYPES: &[&str] = &[
        "bool",
        "int2",
        "int4",
        "int8",
        "float4",
        "float8",
        "text",
        "name",
        "bytea",
        "date",
        "timestamptz",
        "uuid",
        "json",
        "jsonb",
        "oid",
    ];
    let name = function.name.to_string().to_lowercase();
    let plain = function.over.is_none() && function.filter.is_none() && function.within_group.is_empty();
    if !plain || !TYPES.contains(&name.as_str()) {
        return None;
    }
    let FunctionArguments::List(list) = &function.args else { return None };
    let [FunctionArg::Unnamed(FunctionArgExpr::Expr(arg))] = list.args.as_slice() else { return None };
    Some(Expr::Cast {
        kind: ast::CastKind::Cast,
        expr: Box::new(arg.clone()),
        data_type: ast::DataType::Custom(ObjectName::from(vec![Ident::new(name)]), Vec::new()),
        array: false,
        format: None,
    })
}

/// `B'101'` and `X'1F'`: bits without a declared length.
fn bits(literal: &ast::Value) -> Option<Expr> {
    let text = match literal {
        ast::Value::SingleQuotedByteStringLiteral(digits) => format!("b{digits}"),
        ast::Value::HexStringLiteral(digits) => format!("x{digits}"),
        _ => return None,
    };
    Some(Expr::Cast {
        kind: ast::CastKind::Cast,
        expr: Box::new(Expr::value(ast::Value::SingleQuotedString(text))),
        data_type: ast::DataType::Custom(ObjectName::from(vec![Ident::with_quote('"', "bit")]), Vec::new()),
        array: false,
        format: None,
    })
}

/// `current_timestamp(3)` is a cast of the time without digits.
fn rounded_now(function: &ast::Function) -> Option<Expr> {
    let name = function.name.to_string().to_lowercase();
    let FunctionArguments::List(list) = &function.args else { return None };
    let [FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Value(digits)))] = list.args.as_slice() else { return None };
    let ast::Value::Number(digits, _) = &digits.value else { return None };
    let digits = Some(digits.parse().ok()?);
    let data_type = match name.as_str() {
        "current_timestamp" => ast::DataType::Timestamp(digits, ast::TimezoneInfo::WithTimeZone),
        "localtimestamp" => ast::DataType::Timestamp(digits, ast::TimezoneInfo::None),
        "localtime" => ast::DataType::Time(digits, ast::TimezoneInfo::None),
        _ => return None,
    };
    let now = Expr::Function(ast::Function { args: FunctionArguments::None, ..function.clone() });
    Some(Expr::Cast { kind: ast::CastKind::Cast, expr: Box::new(now), data_type, array: false, format: None })
}

/// `x = ANY (ARRAY[a, b])` is `x IN (a, b)`, and `x <> ALL (…)` is NOT IN.
fn listed(expr: &mut Expr) -> Option<Expr> {
    let (left, right, negated) = match expr {
        Expr::AnyOp { left, compare_op: BinaryOperator::Eq, right, .. } => (left, right, false),
        Expr::AllOp { left, compare_op: BinaryOperator::NotEq, right } => (left, right, true),
        _ => return None,
    };
    let array = match right.as_mut() {
        Expr::Nested(inner) => inner.as_mut(),
        other => other,
    };
    let Expr::Array(array) = array else { return None };
    if array.elem.is_empty() || array.elem.iter().any(|element| matches!(element, Expr::Array(_))) {
        return None;
    }
    let left = std::mem::replace(left.as_mut(), Expr::value(ast::Value::Null));
    Some(Expr::InList { expr: Box::new(left), list: std::mem::take(&mut array.elem), negated })
}

/// `x op ANY (array)` where the planner does not know the operator or the array's type: a function.
fn quantified(expr: &mut Expr) -> Option<Expr> {
    let untyped = |right: &Expr| {
        let right = if let Expr::Nested(inner) = right { inner } else { right };
        matches!(right, Expr::Value(value) if matches!(&value.value, ast::Value::SingleQuotedString(_)))
    };
    let known = |op: &BinaryOperator| {
        use BinaryOperator as B;
        matches!(op, B::Eq | B::NotEq | B::Lt | B::LtEq | B::Gt | B::GtEq)
    };
    let (name, left, op, right) = match expr {
        Expr::AnyOp { left, compare_op, right, .. } => (ANY, left, compare_op, right),
        Expr::AllOp { left, compare_op, right } => (ALL, left, compare_op, right),
        _ => return None,
    };
    if matches!(right.as_ref(), Expr::Subquery(_)) || (known(op) && !untyped(right)) {
        return None;
    }
    let symbol = op.to_string();
    let symbol = if symbol == "!=" { "<>".to_owned() } else { symbol };
    let take = |e: &mut Box<Expr>| std::mem::replace(e.as_mut(), Expr::value(ast::Value::Null));
    let right = match take(right) {
        Expr::Nested(inner) => *inner,
        other => other,
    };
    let symbol = Expr::value(ast::Value::SingleQuotedString(symbol));
    Some(functions::call(name, vec![take(left), symbol, right]))
}

/// `x < ANY (array)` is `NOT x >= ALL (array)`: DataFusion's ANY forgets elements that are NULL, its ALL does not.
fn some_as_all(expr: &mut Expr) -> Option<Expr> {
    use BinaryOperator as B;
    let Expr::AnyOp { left, compare_op, right, .. } = expr else { return None };
    let compare_op = match compare_op {
        B::NotEq => B::Eq,
        B::Lt => B::GtEq,
        B::LtEq => B::Gt,
        B::Gt => B::LtEq,
        B::GtEq => B::Lt,
        _ => return None,
    };
    if matches!(right.as_ref(), Expr::Subquery(_)) {
        return None;
    }
    let null = || Box::new(Expr::value(ast::Value::Null));
    let all =
        Expr::AllOp { left: std::mem::replace(left, null()), compare_op, right: std::mem::replace(right, null()) };
    Some(Expr::UnaryOp { op: ast::UnaryOperator::Not, expr: Box::new(Expr::Nested(Box::new(all))) })
}

/// Refuses `ARRAY[[1, 2], [3]]`.
fn same_dimensions(expr: &Expr) -> SqlResult<()> {
    let Expr::Array(array) = expr else { return Ok(()) };
    let lengths = array.elem.iter().map(|element| match element {
        Expr::Array(inner) => Some(inner.elem.len()),
        _ => None,
    });
    let mut lengths = lengths.filter(Option::is_some);
    let first = lengths.next();
    if lengths.any(|length| Some(length) != first) {
        let message = "multidimensional arrays must have array expressions with matching dimensions";
        return Err(SqlError::new(SqlState::ArraySubscriptError, message));
    }
    Ok(())
}

/// ARRAY[…] as a call where its elements name rows or queries around theirs: the planner reads elements as if they stood
/// alone.
fn array_of_outer(expr: &mut Expr, scopes: &[whole_rows::Relations]) -> Option<Expr> {
    let Expr::Array(array) = expr else { return None };
    let looks_out = ast::visit_expressions(&array.elem, |e| {
        let is_query = matches!(e, Expr::Subquery(_) | Expr::Exists { .. } | Expr::InSubquery { .. });
        if is_query || whole_rows::is_outer(e, scopes) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    looks_out.is_break().then(|| functions::call("make_array", std::mem::take(&mut array.elem)))
}

/// How many ARRAY constructors stand within each other.
fn nesting(expr: &Expr) -> usize {
    match expr {
        Expr::Nested(inner) => nesting(inner),
        Expr::Array(array) => 1 + array.elem.iter().map(nesting).max().unwrap_or(0),
        _ => 0,
    }
}

/// Lets the type of `'{{1, 2}, {3, 4}}'::int[]`, and of ARRAY[[1, 2], [3, 4]]::int[], say how many dimensions it has: subscripts and
/// columns ask for it.
fn with_dimensions(expr: &mut Expr) {
    let Expr::Cast { expr: of, data_type, .. } = expr else { return };
    let ast::DataType::Array(ast::ArrayElemTypeDef::SquareBracket(element, _)) = data_type else { return };
    let count = match of.as_ref() {
        Expr::Value(value) => match &value.value {
            ast::Value::SingleQuotedString(text) | ast::Value::EscapedStringLiteral(text) => array::dimensions(text),
            _ => return,
        },
        other => nesting(other),
    };
    let count = count.min(array::DIMENSIONS_MAX);
    if count > 1 {
        let mut element = element.as_ref();
        while let ast::DataType::Array(ast::ArrayElemTypeDef::SquareBracket(of, _)) = element {
            element = of;
        }
        let nested = |ty| ast::DataType::Array(ast::ArrayElemTypeDef::AngleBracket(Box::new(ty)));
        *data_type = (0..count).fold(element.clone(), |ty, _| nested(ty));
    }
}

/// A cast to int2vector or oidvector, which are arrays here, as the function that does it.
fn catalog_vector(expr: &mut Expr) -> Option<Expr> {
    let Expr::Cast { expr: of, data_type: ast::DataType::Custom(name, modifiers), .. } = expr else { return None };
    let name = crate::exec::type_planner::bare_name(name).filter(|_| modifiers.is_empty())?;
    if !matches!(name.as_str(), "int2vector" | "oidvector") {
        return None;
    }
    let of = std::mem::replace(of.as_mut(), Expr::value(ast::Value::Null));
    Some(functions::call(&name, vec![of]))
}

/// `GROUP BY ()` is a group of all rows: what HAVING makes. Beside other keys it says nothing.
fn group_of_nothing(select: &mut Select) {
    let GroupByExpr::Expressions(by, _) = &mut select.group_by else { return };
    let count = by.len();
    by.retain(|key| !matches!(key, Expr::Tuple(of) if of.is_empty()));
    if by.is_empty() && count > 0 {
        select.having.get_or_insert_with(|| Expr::value(ast::Value::Boolean(true)));
    }
}

/// HAVING makes one group of all rows, also where neither it nor the select list aggregates anything: an aggregate that
/// always holds stands beside its condition then.
fn having_of_one_group(select: &mut Select) {
    let ungrouped = matches!(&select.group_by, GroupByExpr::Expressions(by, _) if by.is_empty());
    let Some(condition) = select.having.take_if(|condition| ungrouped && !has_calls(condition)) else { return };
    let number = |n: &str| Expr::value(ast::Value::Number(n.to_owned(), false));
    let rows = functions::call("count", vec![number("1")]);
    let always = Expr::BinaryOp { left: Box::new(rows), op: BinaryOperator::GtEq, right: Box::new(number("0")) };
    let condition = Box::new(Expr::Nested(Box::new(condition)));
    select.having = Some(Expr::BinaryOp { left: condition, op: BinaryOperator::And, right: Box::new(always) });
}

/// Whether a function is called in an expression.
fn has_calls(expr: &Expr) -> bool {
    ast::visit_expressions(expr, |e| match e {
        Expr::Function(_) => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    })
    .is_break()
}

/// `FETCH FIRST n ROWS ONLY` is LIMIT n, and WITH TIES a limit that analysis finds by its function.
fn fetch_as_limit(query: &mut Query) -> SqlResult<()> {
    let Some(fetch) = query.fetch.take() else { return Ok(()) };
    if fetch.percent {
        return Err(SqlError::unsupported("FETCH FIRST … PERCENT"));
    }
    if fetch.with_ties && query.order_by.is_none() {
        return Err(SqlError::syntax("WITH TIES cannot be specified without ORDER BY clause"));
    }
    let one = || Expr::value(sqlparser::ast::Value::Number("1".to_owned(), false));
    let mut quantity = fetch.quantity.unwrap_or_else(one);
    if fetch.with_ties {
        quantity = functions::call(WITH_TIES, vec![quantity]);
    }
    match &mut query.limit_clause {
        Some(LimitClause::LimitOffset { limit: limit @ None, .. }) => *limit = Some(quantity),
        None => {
            query.limit_clause =
                Some(LimitClause::LimitOffset { limit: Some(quantity), offset: None, limit_by: Vec::new() });
        }
        Some(_) => return Err(SqlError::syntax("multiple LIMIT clauses not allowed")),
    }
    Ok(())
}

/// LIMIT and OFFSET that stand there as bigint: `LIMIT '2'`, `LIMIT 1.5`.
///
/// # Errors
/// `22P02`
fn row_counts(query: &mut Query) -> SqlResult<()> {
    let Some(LimitClause::LimitOffset { limit, offset, .. }) = &mut query.limit_clause else { return Ok(()) };
    for count in limit.iter_mut().chain(offset.iter_mut().map(|offset| &mut offset.value)) {
        let count = match count {
            Expr::Function(ast::Function { args: FunctionArguments::List(list), name, .. })
                if name.to_string() == WITH_TIES =>
            {
                match list.args.as_mut_slice() {
                    [FunctionArg::Unnamed(FunctionArgExpr::Expr(count))] => count,
                    _ => continue,
                }
            }
            count => count,
        };
        let Expr::Value(value) = count else { continue };
        let number = match &value.value {
            ast::Value::SingleQuotedString(text) => text.trim().parse::<i64>().map_err(|_| {
                let message = format!("invalid input syntax for type bigint: \"{text}\"");
                SqlError::new(SqlState::InvalidTextRepresentation, message)
            })?,
            ast::Value::Number(text, _) if text.contains(['.', 'e', 'E']) => match text.parse::<f64>() {
                // Halves go up, as numeric does it.
                Ok(number) if number.abs() < 1e15 => (number + 0.5).floor() as i64,
                _ => continue,
            },
            _ => continue,
        };
        *count = Expr::value(ast::Value::Number(number.to_string(), false));
    }
    Ok(())
}

/// `ORDER BY 2` of a query with groups as what stands there: the planner looks for a column of the groups that is called like
/// the expression.
fn places_of_groups(query: &mut Query) {
    let SetExpr::Select(select) = query.body.as_ref() else { return };
    let grouped = !matches!(&select.group_by, GroupByExpr::Expressions(by, _) if by.is_empty());
    let Some(OrderBy { kind: OrderByKind::Expressions(order), .. }) = &mut query.order_by else { return };
    let is_plain = |item: &SelectItem| matches!(item, SelectItem::UnnamedExpr(_) | SelectItem::ExprWithAlias { .. });
    if !grouped || !select.projection.iter().all(is_plain) {
        return;
    }
    for by in order {
        let Expr::Value(value) = &by.expr else { continue };
        let ast::Value::Number(text, _) = &value.value else { continue };
        let item = text.parse::<usize>().ok().and_then(|place| select.projection.get(place.checked_sub(1)?));
        if let Some(SelectItem::UnnamedExpr(expr @ (Expr::BinaryOp { .. } | Expr::UnaryOp { .. } | Expr::Nested(_)))) =
            item
        {
            by.expr = expr.clone();
        }
    }
}

/// `42601` for constants that are no places in the select list.
fn order_by_constants(query: &Query) -> SqlResult<()> {
    let Some(OrderBy { kind: OrderByKind::Expressions(order), .. }) = &query.order_by else { return Ok(()) };
    match order.iter().any(|by| is_constant(&by.expr)) {
        true => Err(SqlError::syntax("non-integer constant in ORDER BY")),
        false => Ok(()),
    }
}

fn no_constants(group_by: &GroupByExpr) -> SqlResult<()> {
    match group_by {
        GroupByExpr::Expressions(by, _) if by.iter().any(is_constant) => {
            Err(SqlError::syntax("non-integer constant in GROUP BY"))
        }
        _ => Ok(()),
    }
}

fn is_constant(expr: &Expr) -> bool {
    let is_fraction = |text: &str| text.contains(['.', 'e', 'E']);
    let value = match expr {
        Expr::Value(value) => value,
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => {
            return matches!(expr.as_ref(), Expr::Value(value)
                if matches!(&value.value, ast::Value::Number(text, _) if is_fraction(text)));
        }
        _ => return false,
    };
    match &value.value {
        ast::Value::Number(text, _) => is_fraction(text),
        ast::Value::SingleQuotedString(_) | ast::Value::Boolean(_) | ast::Value::Null => true,
        _ => false,
    }
}

/// `pg_catalog.f` is `f`.
fn strip_schema(name: &mut ObjectName) {
    if let [ObjectNamePart::Identifier(schema), _] = name.0.as_slice()
        && fold(schema) == "pg_catalog"
    {
        name.0.remove(0);
    }
}

/// The operator of `OPERATOR(pg_catalog.~)`.
fn operator_named(parts: &[String]) -> Option<BinaryOperator> {
    Some(match parts.last()?.as_str() {
        "=" => BinaryOperator::Eq,
        "<>" => BinaryOperator::NotEq,
        "<" => BinaryOperator::Lt,
        "<=" => BinaryOperator::LtEq,
        ">" => BinaryOperator::Gt,
        ">=" => BinaryOperator::GtEq,
        "+" => BinaryOperator::Plus,
        "-" => BinaryOperator::Minus,
        "*" => BinaryOperator::Multiply,
        "/" => BinaryOperator::Divide,
        "%" => BinaryOperator::Modulo,
        "||" => BinaryOperator::StringConcat,
        "~" => BinaryOperator::PGRegexMatch,
        "~*" => BinaryOperator::PGRegexIMatch,
        "!~" => BinaryOperator::PGRegexNotMatch,
        "!~*" => BinaryOperator::PGRegexNotIMatch,
        "~~" => BinaryOperator::PGLikeMatch,
        "~~*" => BinaryOperator::PGILikeMatch,
        "!~~" => BinaryOperator::PGNotLikeMatch,
        "!~~*" => BinaryOperator::PGNotILikeMatch,
        _ => return None,
    })
}

fn is_byte_order(collation: &ObjectName) -> bool {
    let name = collation.0.last().and_then(|part| part.as_ident()).map(|ident: &Ident| ident.value.as_str());
    matches!(name, Some("C" | "POSIX" | "default" | "ucs_basic"))
}
