//! Functions in FROM, as subqueries that call them in their select list.
//!
//! `FROM f(x) AS a(b)` is `FROM LATERAL (SELECT f(x) AS b) AS a`: set-returning functions in a select list are what the
//! planner knows, with columns of the same FROM as their arguments. Only `generate_series` over constants stays, which
//! the planner gives out batch by batch instead of as one list.

use std::ops::ControlFlow;

use perigee_types::SqlType;
use sqlparser::ast::{
    BinaryOperator, CastKind, DataType, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgOperator,
    FunctionArgumentClause, FunctionArgumentList, FunctionArguments, Ident, Join, JoinOperator, JsonNullClause,
    ObjectName, ObjectNamePart, OrderByExpr, OrderByOptions, SelectItem, TableAlias, TableAliasColumnDef, TableFactor,
    TableFunctionArgs, TableWithJoins, Value, Visitor,
};

pub(super) use super::super::returning::select_query as select;
use crate::exec::{ORDINALITY, RECORD, RECORD_SET, UNNEST, record_columns};
use crate::sql::parse::fold;

/// Rewrites the functions of one FROM. What stands behind the first relation may name those before it.
pub(super) fn from(tables: &mut [TableWithJoins]) {
    let mut first = true;
    for table in tables {
        with_joins(table, first);
        first = false;
    }
}

fn with_joins(table: &mut TableWithJoins, first: bool) {
    factor(&mut table.relation, !first);
    for Join { relation, join_operator, .. } in &mut table.joins {
        // The right side of a full or right join cannot name the left.
        let lateral = !matches!(join_operator, JoinOperator::FullOuter(_) | JoinOperator::RightOuter(_));
        factor(relation, lateral);
    }
}

/// Rewrites a relation where it is a function.
fn factor(relation: &mut TableFactor, lateral: bool) {
    let (name, args, ordinality, alias) = match relation {
        TableFactor::NestedJoin { table_with_joins, .. } => return with_joins(table_with_joins, !lateral),
        TableFactor::Table { name, args: Some(TableFunctionArgs { args, .. }), with_ordinality, alias, .. } => {
            if bare(name).as_deref() == Some("generate_series") && !*with_ordinality && args.iter().all(is_integer) {
                strip(name);
                return name_column(alias);
            }
            (name.clone(), std::mem::take(args), *with_ordinality, alias.take())
        }
        TableFactor::Function { name, args, with_ordinality, alias, .. } => {
            (name.clone(), std::mem::take(args), *with_ordinality, alias.take())
        }
        TableFactor::UNNEST { array_exprs, with_ordinality, alias, with_offset: false, .. } => {
            let args = array_exprs.drain(..).map(|e| FunctionArg::Unnamed(FunctionArgExpr::Expr(e))).collect();
            (ObjectName::from(vec![Ident::new("unnest")]), args, *with_ordinality, alias.take())
        }
        _ => return,
    };
    let lateral = lateral && !args.iter().all(is_constant);
    *relation = derived(name, args, ordinality, alias, lateral);
}

/// A function's alias names its column too.
fn name_column(alias: &mut Option<TableAlias>) {
    if let Some(alias) = alias
        && alias.columns.is_empty()
    {
        alias.columns = vec![TableAliasColumnDef { name: alias.name.clone(), data_type: None }];
    }
}

fn derived(
    mut name: ObjectName,
    args: Vec<FunctionArg>,
    ordinality: bool,
    alias: Option<TableAlias>,
    lateral: bool,
) -> TableFactor {
    strip(&mut name);
    let bare = bare(&name).unwrap_or_default();
    let alias_name = alias.as_ref().map_or_else(|| Ident::with_quote('"', bare.clone()), |a| a.name.clone());
    let given: Vec<Ident> = alias.iter().flat_map(|a| a.columns.iter().map(|c| c.name.clone())).collect();
    let calls: Vec<(Expr, Ident)> = if let Some(calls) = record_calls(&bare, &args, alias.as_ref()) {
        calls
    } else if bare == "unnest" {
        let single = args.len() == 1;
        args.into_iter()
            .map(|arg| {
                let column = if single { alias_name.clone() } else { Ident::new("unnest") };
                (call_of(ObjectName::from(vec![Ident::new(UNNEST)]), vec![arg]), column)
            })
            .collect()
    } else if let Some(columns) = record_columns(&bare) {
        // A function of several columns is several functions whose rows go together.
        columns
            .iter()
            .map(|(column, function)| {
                (call_of(ObjectName::from(vec![Ident::new(*function)]), args.clone()), Ident::new(*column))
            })
            .collect()
    } else {
        vec![(call_of(name, args), alias_name.clone())]
    };
    // Arrays may have different lengths; the columns of a record are as long as each other.
    let counted = if bare == "unnest" { calls.len() } else { 1 };
    let counted: Vec<Expr> = calls.iter().take(counted).map(|(call, _)| call.clone()).collect();
    let mut columns = calls;
    if ordinality && !counted.is_empty() {
        columns.push((call(ORDINALITY, counted), Ident::new("ordinality")));
    }
    let projection = columns
        .into_iter()
        .enumerate()
        .map(|(at, (expr, column))| SelectItem::ExprWithAlias { expr, alias: given.get(at).cloned().unwrap_or(column) })
        .collect();
    TableFactor::Derived {
        lateral,
        subquery: Box::new(select(projection, Vec::new(), None)),
        alias: Some(TableAlias { explicit: true, name: alias_name, columns: Vec::new(), at: None }),
        sample: None,
    }
}

/// Whether a select list calls a function that makes rows.
pub(super) fn makes_rows(items: &[SelectItem]) -> bool {
    let found = sqlparser::ast::visit_expressions(&items.to_vec(), |expr| match is_set(expr) {
        true => ControlFlow::Break(()),
        false => ControlFlow::Continue(()),
    });
    found.is_break()
}

fn is_set(expr: &Expr) -> bool {
    let Expr::Function(function) = expr else { return false };
    let name = bare(&function.name).unwrap_or_default();
    matches!(name.as_str(), "unnest" | "generate_series" | "generate_subscripts")
        || name.ends_with("_elements")
        || name.ends_with("_elements_text")
        || name.ends_with("_object_keys")
        || name.ends_with("_to_table")
        || name == "regexp_matches"
        || name.starts_with("jsonb_path_query") && !name.ends_with("_first") && !name.ends_with("_array")
}

/// Adds the calls of functions that make rows in an expression, each once; those in arguments of such a call are part of it.
pub(super) fn sets_in(expr: &Expr, calls: &mut Vec<Expr>) {
    struct Sets<'a> {
        within: usize,
        calls: &'a mut Vec<Expr>,
    }
    impl Visitor for Sets<'_> {
        type Break = ();

        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            if !is_set(expr) {
                return ControlFlow::Continue(());
            }
            if self.within == 0 && !self.calls.contains(expr) {
                self.calls.push(expr.clone());
            }
            self.within += 1;
            ControlFlow::Continue(())
        }

        fn post_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            self.within -= usize::from(is_set(expr));
            ControlFlow::Continue(())
        }
    }
    // It never ends early.
    let _ = sqlparser::ast::Visit::visit(expr, &mut Sets { within: 0, calls });
}

/// The columns of a function that returns records, by their definition list.
fn record_calls(function: &str, args: &[FunctionArg], alias: Option<&TableAlias>) -> Option<Vec<(Expr, Ident)>> {
    let set = function.ends_with("set");
    let json = match function {
        "json_to_record" | "jsonb_to_record" | "json_to_recordset" | "jsonb_to_recordset" => args.first()?,
        "json_populate_record" | "jsonb_populate_record" | "json_populate_recordset" | "jsonb_populate_recordset" => {
            args.get(1).filter(|_| args.first().is_some_and(is_null_record))?
        }
        _ => return None,
    };
    let FunctionArg::Unnamed(FunctionArgExpr::Expr(json)) = json else { return None };
    let columns = &alias?.columns;
    if columns.is_empty() {
        return None;
    }
    let text = |text: &str| Expr::value(Value::SingleQuotedString(text.to_owned()));
    columns
        .iter()
        .map(|column| {
            let mut ty = column.data_type.clone()?;
            let form = match crate::exec::sql_type_of(&ty) {
                // A cast would cut what is too long, which is an error here, as it is where the value is stored.
                Ok(SqlType::Varchar(Some(_))) => {
                    ty = DataType::Varchar(None);
                    "text"
                }
                Ok(SqlType::Json) => "json",
                Ok(SqlType::Jsonb) => "jsonb",
                Ok(SqlType::Array(_)) => "array",
                _ => "text",
            };
            let name = if set { RECORD_SET } else { RECORD };
            let field = call(name, vec![json.clone(), text(&fold(&column.name)), text(form)]);
            let cast =
                Expr::Cast { kind: CastKind::Cast, expr: Box::new(field), data_type: ty, array: false, format: None };
            Some((cast, column.name.clone()))
        })
        .collect()
}

/// `NULL::record`
fn is_null_record(arg: &FunctionArg) -> bool {
    let FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Cast { expr, data_type, .. })) = arg else { return false };
    matches!(expr.as_ref(), Expr::Value(value) if value.value == Value::Null)
        && data_type.to_string().eq_ignore_ascii_case("record")
}

/// A set-returning function of the catalog, as the elements of an array that a scalar function gives.
pub(super) fn set_of_array(function: &Function) -> Option<Expr> {
    let name = bare(&function.name)?;
    if !name.starts_with("pg_partition_ancestors") && !name.starts_with("pg_partition_tree_")
        || name.ends_with("_array")
    {
        return None;
    }
    let mut array = function.clone();
    array.name = ObjectName::from(vec![Ident::new(format!("{name}_array"))]);
    let elements = call(UNNEST, vec![Expr::Function(array)]);
    if name.ends_with("_leaf") || name.ends_with("_level") {
        return Some(elements);
    }
    Some(Expr::Cast {
        kind: CastKind::Cast,
        expr: Box::new(elements),
        data_type: DataType::Custom(ObjectName::from(vec![Ident::new("regclass")]), Vec::new()),
        array: false,
        format: None,
    })
}

/// `name(args)`
/// `l2_distance(a, b)` of pgvector as `a <-> b`: an operator gives a literal beside a vector its type.
pub(super) fn distance(expr: &Expr) -> Option<Expr> {
    let Expr::Function(function) = expr else { return None };
    let op = match bare(&function.name)?.as_str() {
        "l2_distance" => BinaryOperator::LtDashGt,
        "cosine_distance" => BinaryOperator::Spaceship,
        "l1_distance" => BinaryOperator::Custom("<+>".to_owned()),
        _ => return None,
    };
    let FunctionArguments::List(list) = &function.args else { return None };
    let [FunctionArg::Unnamed(FunctionArgExpr::Expr(left)), FunctionArg::Unnamed(FunctionArgExpr::Expr(right))] =
        list.args.as_slice()
    else {
        return None;
    };
    Some(Expr::BinaryOp { left: Box::new(left.clone()), op, right: Box::new(right.clone()) })
}

pub(super) fn call(name: &str, args: Vec<Expr>) -> Expr {
    let args = args.into_iter().map(|arg| FunctionArg::Unnamed(FunctionArgExpr::Expr(arg))).collect();
    call_of(ObjectName::from(vec![Ident::new(name)]), args)
}

fn call_of(name: ObjectName, args: Vec<FunctionArg>) -> Expr {
    Expr::Function(Function {
        name,
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList { duplicate_treatment: None, args, clauses: Vec::new() }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

/// Takes `pg_catalog` from the front of a name.
fn strip(name: &mut ObjectName) {
    if let [ObjectNamePart::Identifier(schema), _] = name.0.as_slice()
        && fold(schema) == "pg_catalog"
    {
        name.0.remove(0);
    }
}

/// The function's name without the system's schema.
/// `JSON_OBJECT(key VALUE value, … [RETURNING jsonb])` of SQL/JSON is `json_build_object` or `jsonb_build_object`.
pub(super) fn json_object(function: &Function) -> Option<Expr> {
    let FunctionArguments::List(list) = &function.args else { return None };
    if bare(&function.name)? != "json_object" {
        return None;
    }
    let mut binary = false;
    for clause in &list.clauses {
        match clause {
            FunctionArgumentClause::JsonReturningClause(returning) => {
                binary = match crate::exec::sql_type_of(&returning.data_type) {
                    Ok(SqlType::Jsonb) => true,
                    Ok(SqlType::Json) => false,
                    _ => return None,
                };
            }
            FunctionArgumentClause::JsonNullClause(JsonNullClause::NullOnNull) => {}
            _ => return None,
        }
    }
    let is_pair =
        |operator: &FunctionArgOperator| matches!(operator, FunctionArgOperator::Value | FunctionArgOperator::Colon);
    let mut args = Vec::with_capacity(list.args.len() * 2);
    for arg in &list.args {
        match arg {
            FunctionArg::Named { name, arg: FunctionArgExpr::Expr(value), operator } if is_pair(operator) => {
                args.extend([Expr::Identifier(name.clone()), value.clone()]);
            }
            FunctionArg::ExprNamed { name, arg: FunctionArgExpr::Expr(value), operator } if is_pair(operator) => {
                args.extend([name.clone(), value.clone()]);
            }
            _ => return None,
        }
    }
    // What has neither pairs nor clauses may be PostgreSQL's function of one or two arrays.
    let stands = !args.is_empty() || !list.clauses.is_empty();
    stands.then(|| call(if binary { "jsonb_build_object" } else { "json_build_object" }, args))
}

pub(super) fn bare(name: &ObjectName) -> Option<String> {
    let mut name = name.clone();
    strip(&mut name);
    match name.0.as_slice() {
        [ObjectNamePart::Identifier(ident)] => Some(fold(ident)),
        _ => None,
    }
}

/// Whether an argument is an integer that stands there.
fn is_integer(arg: &FunctionArg) -> bool {
    fn integer(expr: &Expr) -> bool {
        match expr {
            Expr::Value(value) => matches!(&value.value, Value::Number(n, _) if n.bytes().all(|b| b.is_ascii_digit())),
            Expr::Nested(inner) | Expr::UnaryOp { expr: inner, .. } => integer(inner),
            Expr::BinaryOp { left, right, .. } => integer(left) && integer(right),
            _ => false,
        }
    }
    matches!(arg, FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) if integer(expr))
}

/// Whether an argument holds nothing but literals and operators.
fn is_constant(arg: &FunctionArg) -> bool {
    match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => constant(expr),
        _ => false,
    }
}

fn constant(expr: &Expr) -> bool {
    match expr {
        Expr::Value(value) => !matches!(value.value, Value::Placeholder(_)),
        Expr::TypedString(_) => true,
        Expr::Interval(interval) => constant(&interval.value),
        Expr::Nested(inner) | Expr::UnaryOp { expr: inner, .. } | Expr::Cast { expr: inner, .. } => constant(inner),
        Expr::BinaryOp { left, right, .. } => constant(left) && constant(right),
        Expr::Array(array) => array.elem.iter().all(constant),
        _ => false,
    }
}

/// `first(value, time)` and `last(value, time)`: the value of the row with the least or the greatest time, as aggregates with an
/// order. Rows without a time do not count.
pub(super) fn first_and_last(function: &mut Function) {
    let known = match bare(&function.name).as_deref() {
        Some("first") => "first_value",
        Some("last") => "last_value",
        _ => return,
    };
    let FunctionArguments::List(list) = &mut function.args else { return };
    let [FunctionArg::Unnamed(FunctionArgExpr::Expr(_)), FunctionArg::Unnamed(FunctionArgExpr::Expr(time))] =
        list.args.as_slice()
    else {
        return;
    };
    if function.over.is_some() || !list.clauses.is_empty() {
        return;
    }
    let time = time.clone();
    list.args.truncate(1);
    list.clauses.push(FunctionArgumentClause::OrderBy(vec![OrderByExpr {
        expr: time.clone(),
        options: OrderByOptions { asc: None, nulls_first: None },
        with_fill: None,
    }]));
    let timed = Expr::IsNotNull(Box::new(time));
    function.filter = Some(Box::new(match function.filter.take() {
        Some(given) => Expr::BinaryOp {
            left: Box::new(Expr::Nested(given)),
            op: sqlparser::ast::BinaryOperator::And,
            right: Box::new(timed),
        },
        None => timed,
    }));
    function.name = ObjectName::from(vec![Ident::new(known)]);
}
