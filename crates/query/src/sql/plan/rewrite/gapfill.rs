//! `time_bucket_gapfill`, with `locf` and `interpolate`: a row for each bucket between two times, whether or not anything
//! falls into it.
//!
//! ```text
//! SELECT time_bucket_gapfill('1 h', t) AS h, g, locf(avg(v)) FROM s WHERE t >= a AND t < b GROUP BY h, g
//!
//! agg       SELECT time_bucket('1 h', t), g, avg(v) FROM s WHERE … GROUP BY 1, 2       one row for each bucket with rows
//! ahead     each with the bucket of the next row of its group, and what interpolate() wants of it
//! filled    each as often as there are buckets up to the next row; the first also from the start on
//! SELECT    aggregates where the bucket is the row's own, NULL where it was filled in; locf(x) is x of the row before
//! ```

use std::ops::ControlFlow;

use perigee_types::{SqlError, SqlResult, SqlState};
use sqlparser::ast::{
    BinaryOperator, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, GroupByExpr, Ident, OrderByKind, Query,
    Select, SelectItem, SetExpr, Value, VisitMut, VisitorMut, visit_expressions,
};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;

use super::super::columns::expression_name;
use crate::exec::{BUCKETS, is_aggregate};
use crate::sql::parse::fold;

const GAPFILL: &str = "time_bucket_gapfill";

/// Rewrites a query that groups by `time_bucket_gapfill`.
///
/// # Errors
/// `22023` where no time range is to be had, `0A000` for forms that are not supported.
pub(super) fn fill(query: &mut Query) -> SqlResult<()> {
    let SetExpr::Select(select) = query.body.as_mut() else { return Ok(()) };
    if !calls_gapfill(select) {
        return Ok(());
    }
    let groups = groups(select)?;
    let Some(at) = groups.iter().position(is_gapfill) else {
        return Err(refused("time_bucket_gapfill that is not in GROUP BY"));
    };
    let bucket = groups[at].clone();
    let range = Range::of(&bucket, select)?;
    let mut slots = Slots { bucket, groups, aggregates: Vec::new(), ahead: Vec::new(), error: None };
    slots.groups.remove(at);

    let mut projection = Vec::with_capacity(select.projection.len());
    for item in &select.projection {
        let (expr, alias) = match item {
            SelectItem::UnnamedExpr(expr) => (expr, Ident::with_quote('"', expression_name(expr))),
            SelectItem::ExprWithAlias { expr, alias } => (expr, alias.clone()),
            _ => return Err(refused("* beside time_bucket_gapfill")),
        };
        projection.push(SelectItem::ExprWithAlias { expr: slots.outer(expr)?, alias });
    }
    if let Some(order_by) = &mut query.order_by
        && let OrderByKind::Expressions(order) = &mut order_by.kind
    {
        for by in order {
            let named = matches!(&by.expr, Expr::Identifier(_)) && !slots.groups.contains(&by.expr);
            if !named && !matches!(by.expr, Expr::Value(_)) {
                by.expr = slots.outer(&by.expr)?;
            }
        }
    }
    let filled = format!("SELECT * FROM {}", slots.filled(select, &range));
    let SetExpr::Select(source) = *parsed(&filled)?.body else { return Err(SqlError::internal("no SELECT")) };
    select.projection = projection;
    select.from = source.from;
    (select.selection, select.having) = (None, None);
    select.group_by = GroupByExpr::Expressions(Vec::new(), Vec::new());
    Ok(())
}

fn refused(what: &str) -> SqlError {
    SqlError::unsupported(what)
}

/// Reads what was written here.
fn parsed(sql: &str) -> SqlResult<Query> {
    let mut parser = Parser::new(&PostgreSqlDialect {})
        .try_with_sql(sql)
        .map_err(|error| SqlError::internal(format!("time_bucket_gapfill: {error}")))?;
    let query = parser.parse_query().map_err(|error| SqlError::internal(format!("time_bucket_gapfill: {error}")))?;
    Ok(*query)
}

fn parsed_expr(sql: &str) -> SqlResult<Expr> {
    crate::sql::parse::parse_expression(sql)
}

fn calls_gapfill(select: &Select) -> bool {
    let in_list = select.projection.iter().any(|item| match item {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => mentions(expr),
        _ => false,
    });
    in_list || matches!(&select.group_by, GroupByExpr::Expressions(by, _) if by.iter().any(mentions))
}

fn mentions(expr: &Expr) -> bool {
    visit_expressions(expr, |e| if is_gapfill(e) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        .is_break()
}

fn called(expr: &Expr) -> Option<String> {
    let Expr::Function(function) = expr else { return None };
    function.name.0.last().and_then(|part| part.as_ident()).map(fold)
}

fn is_gapfill(expr: &Expr) -> bool {
    called(expr).as_deref() == Some(GAPFILL)
}

/// The expressions of GROUP BY, where they are positions or names of the select list what stands there.
fn groups(select: &Select) -> SqlResult<Vec<Expr>> {
    let GroupByExpr::Expressions(by, modifiers) = &select.group_by else {
        return Err(refused("GROUP BY ALL with time_bucket_gapfill"));
    };
    if !modifiers.is_empty() || by.iter().any(|e| matches!(e, Expr::GroupingSets(_) | Expr::Cube(_) | Expr::Rollup(_)))
    {
        return Err(refused("grouping sets with time_bucket_gapfill"));
    }
    let at = |place: usize| match select.projection.get(place) {
        Some(SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }) => Some(expr.clone()),
        _ => None,
    };
    let alias = |name: &Ident| {
        select.projection.iter().find_map(|item| match item {
            SelectItem::ExprWithAlias { expr, alias } if fold(alias) == fold(name) => Some(expr.clone()),
            _ => None,
        })
    };
    let resolved = by.iter().map(|expr| match expr {
        Expr::Value(value) => match &value.value {
            Value::Number(text, _) => text.parse::<usize>().ok().and_then(|place| at(place.checked_sub(1)?)),
            _ => None,
        }
        .unwrap_or_else(|| expr.clone()),
        Expr::Identifier(name) => alias(name).unwrap_or_else(|| expr.clone()),
        other => other.clone(),
    });
    Ok(resolved.collect())
}

/// Which buckets there are, as text.
struct Range {
    width: String,
    time: String,
    /// A time in the first bucket.
    start: String,
    /// The time behind the last bucket, or in it where it is included.
    finish: String,
    included: bool,
}

impl Range {
    fn of(bucket: &Expr, select: &Select) -> SqlResult<Self> {
        let args = arguments(bucket)?;
        let (Some(width), Some(time)) = (args.first(), args.get(1)) else {
            return Err(SqlError::new(
                SqlState::UndefinedFunction,
                format!("function {GAPFILL} needs the width of a bucket and a time"),
            ));
        };
        let mut bounds = Bounds::default();
        if let Some(condition) = &select.selection {
            bounds.look_at(condition, time);
        }
        let given = |at: usize| args.get(at).filter(|e| !is_null(e)).cloned();
        if let Some(start) = given(2) {
            bounds.start = Some(start);
        }
        if let Some(finish) = given(3) {
            bounds.finish = Some((finish, false));
        }
        let missing = |what: &str| {
            SqlError::new(SqlState::InvalidParameterValue, format!("{GAPFILL} does not know its {what}"))
                .hint("Give start and finish as arguments, or as conditions on the time in WHERE.")
        };
        let start = bounds.start.ok_or_else(|| missing("start"))?;
        let (finish, included) = bounds.finish.ok_or_else(|| missing("finish"))?;
        // Whatever it is written as, it has the type of the time.
        let from = select.from.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let typed = |expr: &Expr| format!("coalesce((SELECT {time} FROM {from} LIMIT 0), {expr})");
        Ok(Self {
            width: width.to_string(),
            time: time.to_string(),
            start: typed(&start),
            finish: typed(&finish),
            included,
        })
    }
}

fn is_null(expr: &Expr) -> bool {
    matches!(expr, Expr::Value(value) if value.value == Value::Null)
}

/// The arguments by position: width, time, start, finish.
fn arguments(call: &Expr) -> SqlResult<Vec<Expr>> {
    let Expr::Function(function) = call else { return Ok(Vec::new()) };
    let FunctionArguments::List(list) = &function.args else { return Ok(Vec::new()) };
    let mut args: Vec<Expr> = Vec::new();
    for arg in &list.args {
        let (place, expr) = match arg {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => (args.len(), expr),
            FunctionArg::Named { name, arg: FunctionArgExpr::Expr(expr), .. }
            | FunctionArg::ExprNamed { name: Expr::Identifier(name), arg: FunctionArgExpr::Expr(expr), .. } => {
                match fold(name).as_str() {
                    "bucket_width" => (0, expr),
                    "ts" => (1, expr),
                    "start" => (2, expr),
                    "finish" => (3, expr),
                    other => return Err(refused(&format!("argument {other} of {GAPFILL}"))),
                }
            }
            _ => return Err(refused(&format!("this argument of {GAPFILL}"))),
        };
        while args.len() <= place {
            args.push(Expr::value(Value::Null));
        }
        args[place] = expr.clone();
    }
    if args.len() > 4 {
        return Err(refused(&format!("{GAPFILL} with a time zone")));
    }
    Ok(args)
}

/// The times that WHERE asks for.
#[derive(Default)]
struct Bounds {
    start: Option<Expr>,
    finish: Option<(Expr, bool)>,
}

impl Bounds {
    fn look_at(&mut self, condition: &Expr, time: &Expr) {
        match condition {
            Expr::Nested(inner) => self.look_at(inner, time),
            Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
                self.look_at(left, time);
                self.look_at(right, time);
            }
            Expr::Between { expr, negated: false, low, high } if **expr == *time => {
                self.start.get_or_insert_with(|| low.as_ref().clone());
                self.finish.get_or_insert_with(|| (high.as_ref().clone(), true));
            }
            Expr::BinaryOp { left, op, right } => {
                use BinaryOperator as B;
                let (bound, from, included) = match op {
                    B::Gt | B::GtEq if **left == *time => (right, true, true),
                    B::Lt | B::LtEq if **right == *time => (left, true, true),
                    B::Lt if **left == *time => (right, false, false),
                    B::LtEq if **left == *time => (right, false, true),
                    B::Gt if **right == *time => (left, false, false),
                    B::GtEq if **right == *time => (left, false, true),
                    _ => return,
                };
                if from {
                    self.start.get_or_insert_with(|| bound.as_ref().clone());
                } else {
                    self.finish.get_or_insert_with(|| (bound.as_ref().clone(), included));
                }
            }
            _ => {}
        }
    }
}

/// What the select list takes from below.
struct Slots {
    bucket: Expr,
    /// `__g0`, `__g1`, …
    groups: Vec<Expr>,
    /// `__a0`, `__a1`, …
    aggregates: Vec<Expr>,
    /// Of the next row, `__i0`, `__i1`, …: over the names below.
    ahead: Vec<Expr>,
    error: Option<SqlError>,
}

impl Slots {
    /// An expression over aggregates and groups, as one over the filled rows.
    fn outer(&mut self, expr: &Expr) -> SqlResult<Expr> {
        self.replaced(expr, true)
    }

    /// `fills`: an aggregate is NULL in a bucket that was filled in.
    fn replaced(&mut self, expr: &Expr, fills: bool) -> SqlResult<Expr> {
        let mut expr = expr.clone();
        let _ = VisitMut::visit(&mut expr, &mut Replace { slots: self, fills });
        match self.error.take() {
            None => Ok(expr),
            Some(error) => Err(error),
        }
    }

    fn place(list: &mut Vec<Expr>, expr: Expr) -> usize {
        list.iter().position(|known| *known == expr).unwrap_or_else(|| {
            list.push(expr);
            list.len() - 1
        })
    }

    fn replace(&mut self, expr: &Expr, fills: bool) -> SqlResult<Option<Expr>> {
        if *expr == self.bucket {
            return parsed_expr("__f.__s").map(Some);
        }
        if let Some(at) = self.groups.iter().position(|group| group == expr) {
            return parsed_expr(&format!("__f.__g{at}")).map(Some);
        }
        let Some(name) = called(expr) else { return Ok(None) };
        let Expr::Function(function) = expr else { return Ok(None) };
        if function.over.is_some() {
            return Err(refused("a window function beside time_bucket_gapfill"));
        }
        match name.as_str() {
            "locf" | "interpolate" => {
                let [value] = arguments(expr)?.try_into().map_err(|_| refused(&format!("{name} with options")))?;
                let value = self.replaced(&value, false)?;
                if name == "locf" {
                    return parsed_expr(&format!("(CASE WHEN __f.__s >= __f.__b THEN {value} END)")).map(Some);
                }
                let below = Unqualified::of(&value);
                let at = Self::place(&mut self.ahead, below);
                let seconds = |of: &str| format!("extract(epoch FROM __f.{of})::double precision");
                let (at_row, here, next) = (seconds("__b"), seconds("__s"), seconds("__next"));
                parsed_expr(&format!(
                    "(CASE WHEN __f.__s = __f.__b THEN {value} WHEN __f.__s > __f.__b \
                     THEN {value} + (__f.__i{at} - {value}) * (({here} - {at_row}) / ({next} - {at_row})) END)"
                ))
                .map(Some)
            }
            GAPFILL => Err(refused("a second time_bucket_gapfill")),
            _ if is_aggregate(&name) => {
                let at = Self::place(&mut self.aggregates, expr.clone());
                let text = match fills {
                    true => format!("(CASE WHEN __f.__s = __f.__b THEN __f.__a{at} END)"),
                    false => format!("__f.__a{at}"),
                };
                parsed_expr(&text).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// The relation of the filled rows.
    fn filled(&self, select: &Select, range: &Range) -> String {
        let Range { width, time, start, finish, included } = range;
        let mut columns = vec![format!("time_bucket({width}, {time}) AS __b")];
        columns.extend(self.groups.iter().enumerate().map(|(at, group)| format!("{group} AS __g{at}")));
        columns.extend(self.aggregates.iter().enumerate().map(|(at, of)| format!("{of} AS __a{at}")));
        let positions = (1..=self.groups.len() + 1).map(|n| n.to_string()).collect::<Vec<_>>().join(", ");
        let from = select.from.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let clause =
            |word: &str, expr: &Option<Expr>| expr.as_ref().map(|e| format!(" {word} {e}")).unwrap_or_default();
        let grouped = format!(
            "(SELECT {} FROM {from}{} GROUP BY {positions}{}) AS __agg",
            columns.join(", "),
            clause("WHERE", &select.selection),
            clause("HAVING", &select.having),
        );
        // Without groups there are the buckets even where there is no row.
        let rows = match self.groups.is_empty() {
            true => format!("(SELECT 1 AS __one) AS __o LEFT JOIN {grouped} ON true"),
            false => grouped,
        };
        let names = (0..self.groups.len()).map(|at| format!("__g{at}")).collect::<Vec<_>>();
        let partition = match names.is_empty() {
            true => String::new(),
            false => format!("PARTITION BY {} ", names.join(", ")),
        };
        let window = format!("OVER ({partition}ORDER BY __b)");
        let ahead = self.ahead.iter().enumerate().map(|(at, of)| format!(", lead({of}) {window} AS __i{at}"));
        let ahead: String = ahead.collect();
        let start = format!("time_bucket({width}, {start})");
        let buckets = format!(
            "unnest({BUCKETS}(CASE WHEN __n = 1 THEN least({start}, __b) ELSE __b END, coalesce(__next, 'infinity'), \
             greatest({finish}, __b), coalesce(__b >= {finish}, false) OR {included}, {width}))"
        );
        format!(
            "(SELECT *, {buckets} AS __s FROM (SELECT *, lead(__b) {window} AS __next, row_number() {window} AS __n{ahead} \
             FROM {rows}) AS __ahead) AS __f"
        )
    }
}

struct Replace<'a> {
    slots: &'a mut Slots,
    fills: bool,
}

impl VisitorMut for Replace<'_> {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        match self.slots.replace(expr, self.fills) {
            Ok(Some(replaced)) => *expr = replaced,
            Ok(None) => {}
            Err(error) => {
                self.slots.error = Some(error);
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    }
}

/// Takes the filled rows' name from columns: below it they have none.
struct Unqualified;

impl Unqualified {
    fn of(expr: &Expr) -> Expr {
        let mut expr = expr.clone();
        let _ = VisitMut::visit(&mut expr, &mut Self);
        expr
    }
}

impl VisitorMut for Unqualified {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::CompoundIdentifier(parts) = expr
            && let [relation, column] = parts.as_slice()
            && relation.value == "__f"
        {
            *expr = Expr::Identifier(column.clone());
        }
        ControlFlow::Continue(())
    }
}
