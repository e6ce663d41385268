//! The body of a function in the place of a call.
//!
//! Arguments stand, cast to the types of the parameters, where the body names these. A body that reads tables becomes a subquery;
//! there its relations get names of their own, so that what an argument says of the call's relations means the same inside.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use perigee_types::catalog::{Catalog, Function, Object, Returns};
use perigee_types::{SqlError, SqlResult, SqlState, SqlType};
use sqlparser::ast::{
    self, CastKind, DataType, Expr, FunctionArg, FunctionArgExpr, GroupByExpr, Ident, LimitClause, ObjectName,
    ObjectNamePart, Query, Select, SelectItem, SelectItemQualifiedWildcardKind, SetExpr, TableAlias, TableFactor,
    TableFunctionArgs, Value, VisitMut, VisitorMut, visit_expressions,
};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;

use super::super::types::sql_type;
use super::super::{columns, names};
use super::volatile::is_volatile;
use crate::sql::context::PlanContext;
use crate::sql::parse::{fold, parse, parse_expression};
use crate::sql::statement::Ast;

/// The function of a call with so many arguments, by the search path where its name has no schema. PostgreSQL's own come first,
/// and what the grammar reads as no function's name (`coalesce`) is none.
pub(in crate::sql::plan) fn find(name: &ObjectName, arguments: usize, context: &PlanContext) -> Option<Arc<Function>> {
    if !context.catalog.has_functions() {
        return None;
    }
    if let [ObjectNamePart::Identifier(bare)] = name.0.as_slice()
        && bare.quote_style.is_none()
        && crate::pg_catalog::is_grammars(&fold(bare))
    {
        return None;
    }
    let (schema, name) = names::qualified(name, context).ok()?;
    let within = |schema: &str| {
        let schema = context.catalog.schema(context.tenant, schema)?.oid;
        let fitting = context.catalog.functions(schema, &name).filter(|function| function.takes(arguments));
        fitting.min_by_key(|function| function.parameters.len())
    };
    let found = match &schema {
        Some(schema) => within(schema),
        // A function of a type's name is a cast: users' come first, as those of other types do in PostgreSQL.
        None if crate::pg_catalog::kind_of_function(&name).is_some() && !is_type(&name) => None,
        None => context.search_path.iter().find_map(|schema| within(schema)),
    };
    found.cloned()
}

fn is_type(name: &str) -> bool {
    let name = ObjectName::from(vec![Ident::with_quote('"', name)]);
    sql_type(&DataType::Custom(name, Vec::new())).is_ok()
}

/// Refuses users' functions without a schema in an expression that the catalog keeps as text: with another search path it
/// would mean another one.
///
/// # Errors
/// `0A000`
pub(in crate::sql::plan) fn refuse_bare(expr: &Expr, context: &PlanContext) -> SqlResult<()> {
    let found = visit_expressions(expr, |expr| match expr {
        Expr::Function(call) if call.name.0.len() == 1 => {
            let ast::FunctionArguments::List(list) = &call.args else { return ControlFlow::Continue(()) };
            find(&call.name, list.args.len(), context).map_or(ControlFlow::Continue(()), ControlFlow::Break)
        }
        _ => ControlFlow::Continue(()),
    });
    match found {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(function) => {
            let what =
                format!("function {} without its schema in a constraint, index or generated column", function.name);
            Err(SqlError::unsupported(what).hint("Write the name of its schema before its own."))
        }
    }
}

/// The arguments of a call in the order of the parameters, with defaults for those that are not there.
///
/// # Errors
/// `42883` for a name that no parameter has, `42601` for an argument that is given twice.
pub(in crate::sql::plan) fn arguments(function: &Function, given: &[FunctionArg]) -> SqlResult<Vec<Expr>> {
    let undefined = || {
        let text = format!("function {} does not exist", function.name);
        SqlError::new(SqlState::UndefinedFunction, text)
    };
    let mut places: Vec<Option<Expr>> = vec![None; function.parameters.len()];
    for (at, arg) in given.iter().enumerate() {
        let (place, value) = match arg {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(value)) => (at, value),
            FunctionArg::Named { name, arg: FunctionArgExpr::Expr(value), .. } => {
                let name = Some(fold(name));
                let place = function.parameters.iter().position(|parameter| parameter.name == name);
                (place.ok_or_else(undefined)?, value)
            }
            FunctionArg::ExprNamed { name: Expr::Identifier(name), arg: FunctionArgExpr::Expr(value), .. } => {
                let name = Some(fold(name));
                let place = function.parameters.iter().position(|parameter| parameter.name == name);
                (place.ok_or_else(undefined)?, value)
            }
            _ => return Err(undefined()),
        };
        let place = places.get_mut(place).ok_or_else(undefined)?;
        if place.replace(value.clone()).is_some() {
            return Err(SqlError::syntax("argument name used more than once"));
        }
    }
    let missing =
        places.into_iter().zip(&function.parameters).map(|(given, parameter)| match (given, &parameter.default) {
            (Some(given), _) => Ok(given),
            (None, Some(default)) => parse_expression(default),
            (None, None) => Err(undefined()),
        });
    missing.collect()
}

/// A function's body as a query of this statement.
///
/// # Errors
/// As [`query_of`].
fn called_query(function: &Function, context: &PlanContext) -> SqlResult<Query> {
    let query = query_of(function)?;
    super::schemas::note_in(&query, context);
    Ok(query)
}

/// A function's body as a query.
///
/// # Errors
/// `42601`, `0A000` where it is not one SELECT.
pub(super) fn query_of(function: &Function) -> SqlResult<Query> {
    let not_one = || SqlError::unsupported("a function whose body is not one SELECT");
    let mut statements = parse(&function.source)?;
    let (Some(statement), true) = (statements.pop(), statements.is_empty()) else { return Err(not_one()) };
    let Ast::Sql(statement) = statement.ast else { return Err(not_one()) };
    let ast::Statement::Query(query) = *statement else { return Err(not_one()) };
    let writes =
        matches!(query.body.as_ref(), SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_));
    let writes = writes || query.with.as_ref().is_some_and(super::super::with::writes);
    if writes { Err(not_one()) } else { Ok(*query) }
}

/// The body with these arguments, as a query that names nothing around it.
///
/// # Errors
/// As [`query_of`]; `42P02` for a parameter that the function does not have.
pub(in crate::sql::plan) fn instance(
    function: &Function,
    arguments: Vec<Expr>,
    context: &PlanContext,
) -> SqlResult<Query> {
    let mut query = called_query(function, context)?;
    substitute(&mut query, function, arguments, context)?;
    Ok(query)
}

/// A call's value: its body with the arguments in it. `number` tells this call's relations from those of others.
///
/// # Errors
/// As [`instance`]; `0A000` for what cannot be put in without evaluating it twice.
pub(in crate::sql::plan) fn value(
    function: &Function,
    arguments: Vec<Expr>,
    number: usize,
    owner_of: impl Fn(&Ident) -> Option<String>,
    context: &PlanContext,
) -> SqlResult<Expr> {
    let [ty] = function.returns.types().collect::<Vec<_>>()[..] else { return Err(SqlError::internal("no value")) };
    let nulls = if function.strict { null_test(function, &arguments, context)? } else { None };
    let mut query = called_query(function, context)?;
    let inner = match row_expression(&query) {
        Some(mut expr) => {
            substitute(&mut expr, function, arguments, context)?;
            Expr::Nested(Box::new(expr))
        }
        None => {
            refuse_volatile(function, &arguments, context)?;
            let arguments = enclose(&mut query, arguments, number, owner_of, context)?;
            substitute(&mut query, function, arguments, context)?;
            first_row(&mut query);
            Expr::Subquery(Box::new(query))
        }
    };
    let value = cast(inner, ty, context.catalog)?;
    Ok(match nulls {
        None => value,
        Some(nulls) => Expr::Case {
            case_token: ast::helpers::attached_token::AttachedToken::empty(),
            end_token: ast::helpers::attached_token::AttachedToken::empty(),
            operand: None,
            conditions: vec![ast::CaseWhen { condition: nulls, result: Expr::value(Value::Null) }],
            else_result: Some(Box::new(value)),
        },
    })
}

/// A call's rows: a query whose columns have these names.
///
/// # Errors
/// As [`value`].
pub(in crate::sql::plan) fn rows(
    function: &Function,
    arguments: Vec<Expr>,
    names: &[Ident],
    number: usize,
    owner_of: impl Fn(&Ident) -> Option<String>,
    context: &PlanContext,
) -> SqlResult<Query> {
    let nulls = if function.strict { null_test(function, &arguments, context)? } else { None };
    let mut query = called_query(function, context)?;
    refuse_volatile(function, &arguments, context)?;
    let arguments = enclose(&mut query, arguments, number, owner_of, context)?;
    substitute(&mut query, function, arguments, context)?;
    let relation = Ident::with_quote('"', format!("{} {number}", function.name));
    let inner: Vec<Ident> = (1..=names.len()).map(|at| Ident::with_quote('"', format!("column {at}"))).collect();
    let mut projection = Vec::with_capacity(names.len());
    for ((name, column), ty) in names.iter().zip(&inner).zip(function.returns.types()) {
        let column = Expr::CompoundIdentifier(vec![relation.clone(), column.clone()]);
        projection.push(SelectItem::ExprWithAlias { expr: cast(column, ty, context.catalog)?, alias: name.clone() });
    }
    let columns = inner.into_iter().map(|name| ast::TableAliasColumnDef { name, data_type: None }).collect();
    let from = TableFactor::Derived {
        lateral: false,
        subquery: Box::new(query),
        alias: Some(TableAlias { explicit: true, name: relation, columns, at: None }),
        sample: None,
    };
    let condition =
        nulls.map(|nulls| Expr::UnaryOp { op: ast::UnaryOperator::Not, expr: Box::new(Expr::Nested(Box::new(nulls))) });
    let from = vec![ast::TableWithJoins { relation: from, joins: Vec::new() }];
    Ok(super::super::returning::select_query(projection, from, condition))
}

/// Whether any argument is NULL; `None` without arguments.
fn null_test(function: &Function, arguments: &[Expr], context: &PlanContext) -> SqlResult<Option<Expr>> {
    refuse_volatile(function, arguments, context)?;
    let tests = arguments.iter().map(|argument| Expr::IsNull(Box::new(Expr::Nested(Box::new(argument.clone())))));
    Ok(tests.reduce(|left, right| Expr::BinaryOp {
        left: Box::new(left),
        op: ast::BinaryOperator::Or,
        right: Box::new(right),
    }))
}

/// What is evaluated for each row of the body, or beside it, may not differ from time to time.
fn refuse_volatile(function: &Function, arguments: &[Expr], context: &PlanContext) -> SqlResult<()> {
    let volatile = arguments.iter().any(|argument| is_volatile(argument, context, &mut BTreeSet::new()));
    if volatile { Err(twice(function)) } else { Ok(()) }
}

fn twice(function: &Function) -> SqlError {
    SqlError::unsupported(format_args!(
        "a volatile argument of {}, which its body does not use exactly once,",
        function.name
    ))
}

/// `CAST(expr AS type)`
fn cast(expr: Expr, ty: &SqlType, catalog: &Catalog) -> SqlResult<Expr> {
    let data_type = data_type(ty, catalog)?;
    Ok(Expr::Cast { kind: CastKind::Cast, expr: Box::new(expr), data_type, array: false, format: None })
}

/// A type as SQL writes it, whatever the search path is.
///
/// # Errors
/// Internal, where the catalog has lost the type.
pub(in crate::sql::plan) fn data_type(ty: &SqlType, catalog: &Catalog) -> SqlResult<DataType> {
    let text = match ty {
        SqlType::Array(of) => {
            let of = data_type(of, catalog)?;
            return Ok(DataType::Array(ast::ArrayElemTypeDef::SquareBracket(Box::new(of), None)));
        }
        ty if ty.user_type().is_some() => {
            let Some(Object::Type(ty)) = ty.user_type().and_then(|oid| catalog.object(oid)) else {
                return Err(SqlError::internal("a type that a user made is not there"));
            };
            let quoted = |name: &str| ObjectNamePart::Identifier(Ident::with_quote('"', name));
            let schema = catalog.object(ty.schema).map(Object::name).unwrap_or_default();
            return Ok(DataType::Custom(ObjectName(vec![quoted(schema), quoted(&ty.name)]), Vec::new()));
        }
        // Of any length.
        SqlType::Char(_) => "bpchar".to_owned(),
        other => other.to_string(),
    };
    let parsed = Parser::new(&PostgreSqlDialect {}).try_with_sql(&text).and_then(|mut parser| parser.parse_data_type());
    parsed.map_err(|_| SqlError::internal(format_args!("type {text} cannot be read")))
}

/// The one expression of a query that reads nothing and gathers nothing: it can stand by itself.
fn row_expression(query: &Query) -> Option<Expr> {
    let SetExpr::Select(select) = query.body.as_ref() else { return None };
    let plain = query.with.is_none()
        && query.order_by.is_none()
        && query.limit_clause.is_none()
        && query.fetch.is_none()
        && query.locks.is_empty()
        && select.from.is_empty()
        && select.selection.is_none()
        && select.distinct.is_none()
        && select.having.is_none()
        && select.into.is_none()
        && !is_grouped(select);
    let [SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }] = select.projection.as_slice() else {
        return None;
    };
    (plain && !gathers(expr)).then(|| expr.clone())
}

fn is_grouped(select: &Select) -> bool {
    !matches!(&select.group_by, GroupByExpr::Expressions(by, modifiers) if by.is_empty() && modifiers.is_empty())
}

/// Whether an expression has a subquery, an aggregate, a window function or a function of several rows in it. What is not known
/// may be one.
fn gathers(expr: &Expr) -> bool {
    let found = visit_expressions(expr, |expr| {
        let gathers = match expr {
            Expr::Subquery(_) | Expr::Exists { .. } | Expr::InSubquery { .. } => true,
            Expr::Function(function) => {
                let name = function.name.0.last().and_then(|part| part.as_ident()).map(fold).unwrap_or_default();
                let subquery = matches!(function.args, ast::FunctionArguments::Subquery(_));
                subquery || function.over.is_some() || crate::pg_catalog::kind_of_function(&name) != Some('f')
            }
            _ => false,
        };
        if gathers { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    found.is_break()
}

/// A function's value is what the first row of its query says, however many the query itself lets through.
fn first_row(query: &mut Query) {
    let one_row = match query.body.as_ref() {
        SetExpr::Select(select) => !is_grouped(select) && select.having.is_none() && is_aggregate(&select.projection),
        _ => false,
    };
    if let Some(fetch) = query.fetch.take_if(|fetch| !fetch.with_ties && !fetch.percent) {
        let limit = fetch.quantity.map_or_else(one, at_most_one);
        limited(query, limit);
    } else if query.fetch.is_some() {
        // Refused where the query is planned.
    } else if let Some(LimitClause::LimitOffset { limit: Some(limit), .. }) = &query.limit_clause {
        let limit = at_most_one(limit.clone());
        limited(query, limit);
    } else if !one_row {
        limited(query, one());
    }
}

fn one() -> Expr {
    Expr::value(Value::Number("1".to_owned(), false))
}

/// `least(limit, 1)`: NULL is no limit.
fn at_most_one(limit: Expr) -> Expr {
    match &limit {
        Expr::Value(value) => match &value.value {
            // Halves go up.
            Value::Number(number, _) if number.parse::<f64>().is_ok_and(|number| number < 0.5) => {
                Expr::value(Value::Number("0".to_owned(), false))
            }
            Value::Number(..) | Value::Null => one(),
            _ => least_of(limit),
        },
        _ => least_of(limit),
    }
}

fn least_of(limit: Expr) -> Expr {
    let limit = Expr::Cast {
        kind: CastKind::Cast,
        expr: Box::new(limit),
        data_type: DataType::BigInt(None),
        array: false,
        format: None,
    };
    let arg = |expr| FunctionArg::Unnamed(FunctionArgExpr::Expr(expr));
    Expr::Function(ast::Function {
        name: ObjectName(vec![ObjectNamePart::Identifier(Ident::new("least"))]),
        uses_odbc_syntax: false,
        parameters: ast::FunctionArguments::None,
        args: ast::FunctionArguments::List(ast::FunctionArgumentList {
            duplicate_treatment: None,
            args: vec![arg(limit), arg(one())],
            clauses: Vec::new(),
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

/// The query with this limit in place of its own; what it skips stays.
fn limited(query: &mut Query, limit: Expr) {
    let offset = match query.limit_clause.take() {
        Some(LimitClause::LimitOffset { offset, .. }) => offset,
        Some(LimitClause::OffsetCommaLimit { offset, .. }) => {
            Some(ast::Offset { value: offset, rows: ast::OffsetRows::None })
        }
        None => None,
    };
    query.limit_clause = Some(LimitClause::LimitOffset { limit: Some(limit), offset, limit_by: Vec::new() });
}

/// Whether a select list has an aggregate that is no window function: over all rows, it makes one of them.
fn is_aggregate(items: &[SelectItem]) -> bool {
    items.iter().any(|item| {
        let (SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }) = item else { return false };
        // The outermost expression or an argument of it; not what a subquery says.
        match expr {
            Expr::Function(function) => {
                let name = function.name.0.last().and_then(|part| part.as_ident()).map(fold).unwrap_or_default();
                function.over.is_none() && crate::pg_catalog::kind_of_function(&name) == Some('a')
            }
            _ => false,
        }
    })
}

/// Puts arguments where parameters are named.
///
/// # Errors
/// `42P02` for `$n` beyond the last parameter, `0A000` for a volatile argument that is used twice.
fn substitute<N: VisitMut>(
    node: &mut N,
    function: &Function,
    arguments: Vec<Expr>,
    context: &PlanContext,
) -> SqlResult<()> {
    let mut named = Named { context, columns: BTreeSet::new(), relations: BTreeSet::new() };
    let _ = node.visit(&mut named);
    let volatile: Vec<bool> =
        arguments.iter().map(|argument| is_volatile(argument, context, &mut BTreeSet::new())).collect();
    let arguments = arguments
        .into_iter()
        .zip(&function.parameters)
        .map(|(argument, parameter)| cast(Expr::Nested(Box::new(argument)), &parameter.ty, context.catalog))
        .collect::<SqlResult<Vec<_>>>()?;
    let uses = vec![0; arguments.len()];
    let sizes = arguments.iter().map(|argument| Size::of(argument).count).collect();
    let mut own = named.columns;
    own.append(&mut named.relations);
    let mut substitution = Substitution { function, arguments, own, uses, sizes, grown: 0 };
    match node.visit(&mut substitution) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => {
            let repeated = substitution.uses.iter().zip(volatile).any(|(uses, volatile)| volatile && *uses != 1);
            if repeated { Err(twice(function)) } else { Ok(()) }
        }
    }
}

struct Substitution<'a> {
    function: &'a Function,
    arguments: Vec<Expr>,
    /// What the body calls its columns, and its relations, whose name is a whole row: these come before parameters.
    own: BTreeSet<String>,
    uses: Vec<usize>,
    /// How many expressions each argument is, and how many have been put in.
    sizes: Vec<usize>,
    grown: usize,
}

/// How many expressions there are in a part of a statement, and how deep they stand in each other.
#[derive(Default)]
pub(in crate::sql::plan) struct Size {
    pub(in crate::sql::plan) count: usize,
    pub(in crate::sql::plan) depth: usize,
    open: usize,
}

impl Size {
    pub(in crate::sql::plan) fn of<N: ast::Visit>(node: &N) -> Self {
        let mut size = Self::default();
        let _ = ast::Visit::visit(node, &mut size);
        size
    }
}

impl ast::Visitor for Size {
    type Break = ();

    fn pre_visit_expr(&mut self, _: &Expr) -> ControlFlow<()> {
        self.count += 1;
        self.open += 1;
        self.depth = self.depth.max(self.open);
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, _: &Expr) -> ControlFlow<()> {
        self.open = self.open.saturating_sub(1);
        ControlFlow::Continue(())
    }
}

/// Expressions that calls of a statement may become.
pub(in crate::sql::plan) const EXPRESSIONS_MAX: usize = 100_000;

impl Substitution<'_> {
    fn place(&self, expr: &Expr) -> Option<Result<usize, SqlError>> {
        let by_name = |name: &Ident| {
            let name = Some(fold(name));
            self.function.parameters.iter().position(|parameter| parameter.name == name)
        };
        match expr {
            Expr::Value(value) => {
                let Value::Placeholder(text) = &value.value else { return None };
                let number = text.strip_prefix('$').and_then(|number| number.parse::<usize>().ok());
                let place = number.and_then(|number| number.checked_sub(1)).filter(|at| *at < self.arguments.len());
                Some(place.ok_or_else(|| super::super::undefined_parameter(text)))
            }
            Expr::Identifier(name) if !self.own.contains(&fold(name)) => by_name(name).map(Ok),
            Expr::CompoundIdentifier(parts) => match parts.as_slice() {
                [function, name] if fold(function) == self.function.name => by_name(name).map(Ok),
                _ => None,
            },
            _ => None,
        }
    }
}

impl VisitorMut for Substitution<'_> {
    type Break = SqlError;

    // Behind its parts, so that what an argument says is not taken for the body's.
    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<SqlError> {
        let place = match self.place(expr) {
            None => return ControlFlow::Continue(()),
            Some(Err(error)) => return ControlFlow::Break(error),
            Some(Ok(place)) => place,
        };
        if let (Some(argument), Some(uses)) = (self.arguments.get(place), self.uses.get_mut(place)) {
            self.grown += self.sizes.get(place).copied().unwrap_or_default();
            if self.grown > EXPRESSIONS_MAX {
                return ControlFlow::Break(SqlError::new(SqlState::StatementTooComplex, "stack depth limit exceeded"));
            }
            *expr = argument.clone();
            *uses += 1;
        }
        ControlFlow::Continue(())
    }
}

/// What the relations of a query, and of those within it, are called, and their columns.
struct Named<'a> {
    context: &'a PlanContext<'a>,
    columns: BTreeSet<String>,
    relations: BTreeSet<String>,
}

impl VisitorMut for Named<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        for cte in query.with.iter().flat_map(|with| &with.cte_tables) {
            self.columns.extend(cte.alias.columns.iter().map(|column| fold(&column.name)));
            self.columns.extend(columns_of(&cte.query.body));
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        if let Some(alias) = alias_of(factor) {
            self.relations.insert(fold(&alias.name));
            self.columns.extend(alias.columns.iter().map(|column| fold(&column.name)));
        }
        match factor {
            TableFactor::Table { name, args: None, alias, .. } => {
                let Ok(qualified) = names::qualified(name, self.context) else { return ControlFlow::Continue(()) };
                match names::find(&qualified, self.context) {
                    Some(Object::Table(table)) => {
                        self.columns.extend(table.visible_columns().iter().map(|column| column.name.clone()));
                    }
                    Some(Object::View(view)) => {
                        self.columns.extend(view.columns.iter().map(|(column, _)| column.clone()));
                    }
                    _ => {}
                }
                if alias.is_none() {
                    self.relations.insert(qualified.1);
                }
            }
            TableFactor::Table { name, args: Some(TableFunctionArgs { args, .. }), .. }
            | TableFactor::Function { name, args, .. } => {
                if let Some(function) = find(name, args.len(), self.context)
                    && let Returns::Table(columns) = &function.returns
                {
                    self.columns.extend(columns.iter().map(|(column, _)| column.clone()));
                }
            }
            TableFactor::Derived { subquery, .. } => self.columns.extend(columns_of(&subquery.body)),
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

/// The names of a query's columns that it says itself: those of a wildcard are its relations'.
fn columns_of(body: &SetExpr) -> Vec<String> {
    match body {
        SetExpr::Select(select) => {
            let names = select.projection.iter().filter_map(|item| match item {
                SelectItem::UnnamedExpr(expr) => Some(columns::expression_name(expr)),
                SelectItem::ExprWithAlias { alias, .. } => Some(fold(alias)),
                _ => None,
            });
            names.collect()
        }
        // The first part of a set operation names its columns.
        SetExpr::SetOperation { left, .. } => columns_of(left),
        SetExpr::Query(query) => columns_of(&query.body),
        SetExpr::Values(values) => {
            let count = values.rows.first().map_or(0, |row| row.len());
            (1..=count).map(|at| format!("column{at}")).collect()
        }
        _ => Vec::new(),
    }
}

fn alias_of(factor: &TableFactor) -> Option<&TableAlias> {
    match factor {
        TableFactor::Table { alias, .. }
        | TableFactor::Derived { alias, .. }
        | TableFactor::Function { alias, .. }
        | TableFactor::UNNEST { alias, .. } => alias.as_ref(),
        _ => None,
    }
}

/// Lets arguments that name columns of the call's relations mean them inside of the body too: the body's relations get other
/// names, the arguments the names of their relations.
///
/// # Errors
/// `0A000` for a column whose relation is not known here.
fn enclose(
    query: &mut Query,
    mut arguments: Vec<Expr>,
    number: usize,
    owner_of: impl Fn(&Ident) -> Option<String>,
    context: &PlanContext,
) -> SqlResult<Vec<Expr>> {
    let names_columns = |expr: &Expr| {
        let found = visit_expressions(expr, |expr| match expr {
            Expr::Identifier(_) | Expr::CompoundIdentifier(_) => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        });
        found.is_break()
    };
    if !arguments.iter().any(names_columns) {
        return Ok(arguments);
    }
    let mut named = Named { context, columns: BTreeSet::new(), relations: BTreeSet::new() };
    let _ = query.visit(&mut named);
    let mut apart = Apart { number, columns: named.columns, relations: named.relations };
    let _ = query.visit(&mut apart);
    for argument in &mut arguments {
        // A name within a query of its own may be one of that query's columns.
        let queries = visit_expressions(argument, |expr| match expr {
            Expr::Subquery(_) | Expr::Exists { .. } | Expr::InSubquery { .. } => ControlFlow::Break(()),
            Expr::Function(call) if matches!(call.args, ast::FunctionArguments::Subquery(_)) => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        });
        let queries = queries.is_break();
        let qualified = ast::visit_expressions_mut(argument, |expr| {
            if let Expr::Identifier(ident) = expr {
                let Some(owner) = owner_of(ident).filter(|_| !queries) else {
                    let what = format!("column {ident} as an argument of a function that reads tables");
                    let hint = "Write the name of its table before the column's.";
                    return ControlFlow::Break(SqlError::unsupported(what).hint(hint));
                };
                *expr = Expr::CompoundIdentifier(vec![Ident::with_quote('"', owner), ident.clone()]);
            }
            ControlFlow::Continue(())
        });
        if let ControlFlow::Break(error) = qualified {
            return Err(error);
        }
    }
    Ok(arguments)
}

/// Gives the relations of a body names that no statement writes.
struct Apart {
    number: usize,
    columns: BTreeSet<String>,
    relations: BTreeSet<String>,
}

impl Apart {
    fn name(&self, relation: &str) -> Ident {
        Ident::with_quote('"', format!("{relation} {}", self.number))
    }
}

impl VisitorMut for Apart {
    type Break = ();

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        for item in &mut select.projection {
            if let SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), _) = item
                && let Some(last) = name.0.last().and_then(|part| part.as_ident()).map(fold)
                && self.relations.contains(&last)
            {
                *name = ObjectName(vec![ObjectNamePart::Identifier(self.name(&last))]);
            }
        }
        ControlFlow::Continue(())
    }

    fn post_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        let (alias, name) = match factor {
            TableFactor::Table { alias, name, .. } => (alias, name.0.last().and_then(|part| part.as_ident()).map(fold)),
            TableFactor::Derived { alias, .. }
            | TableFactor::Function { alias, .. }
            | TableFactor::UNNEST { alias, .. } => (alias, None),
            _ => return ControlFlow::Continue(()),
        };
        match (alias, name) {
            (Some(alias), _) => alias.name = self.name(&fold(&alias.name)),
            (alias @ None, Some(name)) => {
                *alias = Some(TableAlias { explicit: true, name: self.name(&name), columns: Vec::new(), at: None });
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        match expr {
            Expr::Identifier(name) => {
                let folded = fold(name);
                if self.relations.contains(&folded) && !self.columns.contains(&folded) {
                    *name = self.name(&folded);
                }
            }
            Expr::CompoundIdentifier(parts) if parts.len() > 1 => {
                let at = parts.len() - 2;
                if let Some(relation) = parts.get(at).map(fold).filter(|name| self.relations.contains(name)) {
                    parts.drain(..at);
                    parts[0] = self.name(&relation);
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

/// Whether the catalog's texts of an object call a function of this name: `name(`, with the name in quotes or not.
#[must_use]
pub fn text_calls(text: &str, name: &str) -> bool {
    let any_case = text.to_lowercase();
    let text = if name.to_lowercase() == name { any_case.as_str() } else { text };
    let calls = |written: &str| {
        text.match_indices(written).any(|(at, _)| {
            let before = text.get(..at).and_then(|before| before.chars().next_back());
            let behind = text.get(at + written.len()..).unwrap_or_default();
            behind.starts_with('(') && !before.is_some_and(|c| c.is_alphanumeric() || c == '_')
        })
    };
    calls(name) || calls(&format!("\"{name}\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_found_in_texts() {
        for (text, calls) in [
            ("f(1)", true),
            ("1 + \"f\"(x)", true),
            ("public.f(x)", true),
            ("g(f)", false),
            ("of(1)", false),
            ("f + 1", false),
        ] {
            assert_eq!(text_calls(text, "f"), calls, "{text}");
        }
    }
}
