//! `JOIN … USING` and `NATURAL JOIN`: their columns stand once and first, and hold what either side has.
//!
//! DataFusion's planner gives such a column as the left side's, which is NULL where only the right side has a row, and
//! leaves it in the left side's place. So the join becomes one with ON, `*` the list of its columns, and a name without a
//! table the expression that it stands for. Where the columns of a relation are not known here (system tables, functions
//! of several columns), the join stays as it is.

use std::collections::{HashMap, HashSet};

use perigee_types::catalog::Object;
use perigee_types::{SqlError, SqlResult, SqlState, SqlType};
use sqlparser::ast::{
    BinaryOperator, Expr, Ident, Join, JoinConstraint, JoinOperator, ObjectName, Query, Select, SelectItem,
    SelectItemQualifiedWildcardKind, SetExpr, TableFactor, TableWithJoins, Value, With,
};

use super::super::columns::expression_name;
use super::super::names;
use super::functions;
use crate::exec::system::system_tables;
use crate::sql::context::PlanContext;
use crate::sql::parse::{JOIN_NAME_MARK, fold};

/// A column that a FROM gives, in the order of `*`.
#[derive(Clone, Debug)]
struct Output {
    name: String,
    expr: Expr,
    /// Where the catalog says it.
    ty: Option<SqlType>,
}

impl Output {
    /// Whether it is a column of the relation of this name.
    fn is_of(&self, relation: &str) -> bool {
        matches!(&self.expr, Expr::CompoundIdentifier(parts) if parts.first().is_some_and(|part| part.value == relation))
    }
}

/// What the common columns of a FROM's joins stand for.
#[derive(Debug, Default)]
struct Merged {
    /// By their names alone.
    names: HashMap<String, Expr>,
    /// By the names that `USING (…) AS name` gives to them together.
    joined: Vec<(String, Vec<Output>)>,
}

impl Merged {
    /// What a name stands for that has no table, or that of a join, before it.
    fn get(&self, expr: &Expr) -> Option<&Expr> {
        match expr {
            Expr::Identifier(ident) => self.names.get(&fold(ident)),
            Expr::CompoundIdentifier(parts) => match parts.as_slice() {
                [join, column] => {
                    let column = fold(column);
                    self.of_join(&fold(join))?.iter().find(|output| output.name == column).map(|output| &output.expr)
                }
                _ => None,
            },
            _ => None,
        }
    }

    fn of_join(&self, name: &str) -> Option<&[Output]> {
        self.joined.iter().find(|(join, _)| join == name).map(|(_, outputs)| outputs.as_slice())
    }
}

/// Columns of the queries in WITH; `None` where they are not known.
type Ctes = HashMap<String, Option<Vec<String>>>;

/// A SELECT while it is visited.
#[derive(Debug, Default)]
struct Scope {
    /// What names without a table stand for.
    merged: Merged,
    /// All columns of its FROM, in lower case as they are folded; `None` where they are not known.
    columns: Option<HashSet<String>>,
    /// The names of its own output columns, which ORDER BY sees first.
    outputs: HashSet<String>,
    /// ORDER BY is being visited.
    ordering: bool,
}

/// The scopes around what is being visited.
#[derive(Debug, Default)]
pub(super) struct Joins {
    scopes: Vec<Scope>,
    /// For each query around: whether its body is a SELECT, whose scope lasts through ORDER BY.
    queries: Vec<bool>,
    ctes: Vec<Ctes>,
}

impl Joins {
    pub(super) fn enter_query(&mut self, query: &Query, context: &PlanContext) {
        self.queries.push(matches!(*query.body, SetExpr::Select(_)));
        let ctes = match &query.with {
            Some(with) => self.with_columns(with, context),
            None => Ctes::new(),
        };
        self.ctes.push(ctes);
    }

    /// Whether a query in WITH around has this name.
    pub(super) fn names_cte(&self, name: &str) -> bool {
        self.ctes.iter().any(|ctes| ctes.contains_key(name))
    }

    pub(super) fn leave_query(&mut self) {
        if self.queries.pop() == Some(true) {
            self.scopes.pop();
        }
        self.ctes.pop();
    }

    /// # Errors
    /// `42703` and `42702` for columns of USING.
    pub(super) fn enter_select(&mut self, select: &mut Select, context: &PlanContext) -> SqlResult<()> {
        select.from.iter_mut().for_each(derive_aliased);
        let merges = select.from.iter().any(has_using);
        let inner = self.scopes.iter().any(|scope| !scope.merged.names.is_empty());
        let mut scope = Scope::default();
        if merges && self.outputs_of(&select.from, context).is_some() {
            let mut outputs = Vec::new();
            for table in &mut select.from {
                outputs.extend(self.merge(table, &mut scope.merged, context)?);
            }
            expand(select, &outputs, &scope.merged);
            scope.columns = Some(outputs.into_iter().map(|output| output.name).collect());
            scope.outputs = select.projection.iter().filter_map(output_name).collect();
        } else if let Some(name) = select.from.iter().find_map(join_name) {
            return Err(SqlError::unsupported(format_args!("JOIN … USING (…) AS {name} of relations of this kind")));
        } else if inner {
            let outputs = self.outputs_of(&select.from, context);
            scope.columns = outputs.map(|outputs| outputs.into_iter().map(|output| output.name).collect());
        }
        self.scopes.push(scope);
        Ok(())
    }

    pub(super) fn leave_select(&mut self) {
        if self.queries.last() == Some(&true) {
            if let Some(scope) = self.scopes.last_mut() {
                scope.ordering = true;
            }
        } else {
            self.scopes.pop();
        }
    }

    /// What a name without a table stands for.
    pub(super) fn merged(&self, expr: &Expr) -> Option<Expr> {
        if let Expr::CompoundIdentifier(_) = expr {
            return self.scopes.iter().rev().find_map(|scope| scope.merged.get(expr)).cloned();
        }
        let Expr::Identifier(ident) = expr else { return None };
        if self.scopes.iter().all(|scope| scope.merged.names.is_empty()) {
            return None;
        }
        let name = fold(ident);
        for scope in self.scopes.iter().rev() {
            if scope.ordering && scope.outputs.contains(&name) {
                return None;
            }
            if let Some(expr) = scope.merged.names.get(&name) {
                return Some(expr.clone());
            }
            if scope.columns.as_ref().is_none_or(|columns| columns.contains(&name)) {
                return None;
            }
        }
        None
    }

    fn with_columns(&mut self, with: &With, context: &PlanContext) -> Ctes {
        let mut known = Ctes::new();
        for cte in &with.cte_tables {
            self.ctes.push(known);
            let named: Vec<String> = cte.alias.columns.iter().map(|column| fold(&column.name)).collect();
            let columns = self.query_columns(&cte.query, context).map(|columns| renamed(columns, &named));
            known = self.ctes.pop().unwrap_or_default();
            known.insert(fold(&cte.alias.name), columns);
        }
        known
    }

    /// The names of a query's columns.
    fn query_columns(&self, query: &Query, context: &PlanContext) -> Option<Vec<String>> {
        // Queries with a WITH of their own may hide names; they are left alone.
        if query.with.is_some() { None } else { self.body_columns(&query.body, context) }
    }

    fn body_columns(&self, body: &SetExpr, context: &PlanContext) -> Option<Vec<String>> {
        match body {
            SetExpr::Select(select) => {
                let mut columns = Vec::new();
                for item in &select.projection {
                    match item {
                        SelectItem::Wildcard(_) => {
                            self.outputs_of(&select.from, context)?;
                            for mut table in select.from.clone() {
                                let outputs = self.merge(&mut table, &mut Merged::default(), context).ok()?;
                                columns.extend(outputs.into_iter().map(|output| output.name));
                            }
                        }
                        SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), _) => {
                            let wanted = fold(names::last_ident(name).ok()?);
                            let outputs = self.outputs_of(&select.from, context)?;
                            let own = outputs.into_iter().filter(|output| output.is_of(&wanted));
                            columns.extend(own.map(|output| output.name));
                        }
                        item => columns.push(output_name(item)?),
                    }
                }
                Some(columns)
            }
            SetExpr::Query(query) => self.query_columns(query, context),
            SetExpr::SetOperation { left, .. } => self.body_columns(left, context),
            SetExpr::Values(values) => {
                let count = values.rows.first()?.content.len();
                Some((1..=count).map(|at| format!("column{at}")).collect())
            }
            _ => None,
        }
    }

    /// The columns of a subquery, or of a query of WITH, each with a name of its own; `None` of another relation.
    pub(super) fn columns_of_query(&self, factor: &TableFactor, context: &PlanContext) -> Option<Vec<String>> {
        if let TableFactor::Table { name, .. } = factor {
            let qualified = names::qualified(name, context).ok()?;
            if qualified.0.is_some() || !self.names_cte(&qualified.1) && returned(&qualified, context).is_none() {
                return None;
            }
        }
        let columns: Vec<String> =
            self.factor_outputs(factor, context)?.into_iter().map(|output| output.name).collect();
        let distinct: HashSet<&String> = columns.iter().collect();
        (distinct.len() == columns.len()).then_some(columns)
    }

    fn outputs_of(&self, from: &[TableWithJoins], context: &PlanContext) -> Option<Vec<Output>> {
        let mut outputs = Vec::new();
        for table in from {
            outputs.extend(self.factor_outputs(&table.relation, context)?);
            for join in &table.joins {
                outputs.extend(self.factor_outputs(&join.relation, context)?);
            }
        }
        Some(outputs)
    }

    /// The columns of one relation, each by its qualified name.
    fn factor_outputs(&self, factor: &TableFactor, context: &PlanContext) -> Option<Vec<Output>> {
        let (name, columns, alias): (_, Vec<(String, Option<SqlType>)>, _) = match factor {
            TableFactor::Table { name, alias, args: None, .. } => {
                let qualified = names::qualified(name, context).ok()?;
                let cte = match &qualified.0 {
                    None => self.ctes.iter().rev().find_map(|ctes| ctes.get(&qualified.1)),
                    Some(_) => None,
                };
                let columns = match cte {
                    Some(columns) => untyped(columns.clone()?),
                    None => match returned(&qualified, context) {
                        Some(columns) => untyped(columns),
                        None => relation_columns(&qualified, context)?,
                    },
                };
                (Some(qualified.1), columns, alias)
            }
            TableFactor::Derived { subquery, alias, .. } => {
                (None, untyped(self.query_columns(subquery, context)?), alias)
            }
            TableFactor::NestedJoin { table_with_joins, alias: None } => {
                return self.outputs_of(std::slice::from_ref(table_with_joins), context);
            }
            _ => return None,
        };
        let qualifier = alias.as_ref().map(|alias| fold(&alias.name)).or(name)?;
        let given: Vec<String> =
            alias.iter().flat_map(|alias| alias.columns.iter().map(|column| fold(&column.name))).collect();
        let output = |(at, (name, ty)): (usize, (String, Option<SqlType>))| {
            let name = given.get(at).cloned().unwrap_or(name);
            let expr = Expr::CompoundIdentifier(vec![quoted(&qualifier), quoted(&name)]);
            Output { name, expr, ty }
        };
        Some(columns.into_iter().enumerate().map(output).collect())
    }

    /// Gives the joins of one FROM item conditions, and collects what their common columns stand for.
    fn merge(&self, table: &mut TableWithJoins, merged: &mut Merged, context: &PlanContext) -> SqlResult<Vec<Output>> {
        let mut left = self.merge_factor(&mut table.relation, merged, context)?;
        for join in &mut table.joins {
            let right = self.merge_factor(&mut join.relation, merged, context)?;
            let side = match &join.join_operator {
                JoinOperator::Right(_) | JoinOperator::RightOuter(_) => Holder::Right,
                JoinOperator::FullOuter(_) => Holder::Either,
                _ => Holder::Left,
            };
            let asof = matches!(join.join_operator, JoinOperator::AsOf { .. });
            left = match constraint(&mut join.join_operator) {
                Some(constraint @ (JoinConstraint::Using(_) | JoinConstraint::Natural)) => {
                    let (mut condition, outputs) = common(constraint, left, right, side, merged)?;
                    if asof {
                        super::asof::compare_last(&mut condition);
                    }
                    *constraint = JoinConstraint::On(condition);
                    outputs
                }
                _ => left.into_iter().chain(right).collect(),
            };
        }
        Ok(left)
    }

    fn merge_factor(
        &self,
        factor: &mut TableFactor,
        merged: &mut Merged,
        context: &PlanContext,
    ) -> SqlResult<Vec<Output>> {
        match factor {
            TableFactor::NestedJoin { table_with_joins, alias: None } => self.merge(table_with_joins, merged, context),
            factor => Ok(self.factor_outputs(factor, context).unwrap_or_default()),
        }
    }
}

/// The columns of what a writing query of WITH returns.
fn returned(name: &(Option<String>, String), context: &PlanContext) -> Option<Vec<String>> {
    let (None, name) = name else { return None };
    let (_, plan) = context.relations.iter().find(|(known, _)| known == name)?;
    Some(plan.schema().fields().iter().map(|field| field.name().clone()).collect())
}

/// The columns of a table or view, of the system's too.
fn relation_columns(name: &(Option<String>, String), context: &PlanContext) -> Option<Vec<(String, Option<SqlType>)>> {
    if let Some(table) = system_tables().table(name.0.as_deref().unwrap_or("pg_catalog"), &name.1) {
        let schema = table.schema();
        return Some(schema.fields().iter().map(|f| (f.name().clone(), Some(SqlType::of_field(f)))).collect());
    }
    match names::find(name, context)? {
        Object::Table(table) => {
            Some(table.visible_columns().iter().map(|column| (column.name.clone(), Some(column.ty.clone()))).collect())
        }
        Object::View(view) => Some(view.columns.iter().map(|(name, ty)| (name.clone(), Some(ty.clone()))).collect()),
        _ => None,
    }
}

/// Which side of a join has the value of a common column.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Holder {
    Left,
    Right,
    Either,
}

/// The condition of a join by common columns, and its columns.
fn common(
    constraint: &JoinConstraint,
    left: Vec<Output>,
    right: Vec<Output>,
    holder: Holder,
    merged: &mut Merged,
) -> SqlResult<(Expr, Vec<Output>)> {
    let mut names: Vec<String> = match constraint {
        JoinConstraint::Using(names) => using_names(names).collect(),
        _ => {
            let shared = left.iter().filter(|l| right.iter().any(|r| r.name == l.name));
            shared.map(|output| output.name.clone()).collect()
        }
    };
    let join = names.pop_if(|name| name.starts_with(JOIN_NAME_MARK));
    let mut condition: Option<Expr> = None;
    let mut outputs = Vec::new();
    for name in &names {
        let (l, r) = (the_one(&left, name, "left")?, the_one(&right, name, "right")?);
        let equal = binary(l.expr.clone(), BinaryOperator::Eq, r.expr.clone());
        condition = Some(match condition {
            None => equal,
            Some(so_far) => binary(so_far, BinaryOperator::And, equal),
        });
        let same_type = l.ty.is_some() && l.ty == r.ty;
        let expr = match holder {
            Holder::Left if same_type => l.expr.clone(),
            Holder::Right if same_type => r.expr.clone(),
            _ => functions::call("coalesce", vec![l.expr.clone(), r.expr.clone()]),
        };
        merged.names.insert(name.clone(), expr.clone());
        let ty = if same_type { l.ty.clone() } else { None };
        outputs.push(Output { name: name.clone(), expr, ty });
    }
    if let Some(join) = join {
        merged.joined.push((join.trim_start_matches(JOIN_NAME_MARK).to_owned(), outputs.clone()));
    }
    outputs.extend(left.into_iter().chain(right).filter(|output| !names.contains(&output.name)));
    let condition = condition.unwrap_or_else(|| Expr::value(Value::Boolean(true)));
    Ok((condition, outputs))
}

fn using_names(names: &[ObjectName]) -> impl Iterator<Item = String> {
    names.iter().map(|name| name.0.last().and_then(|part| part.as_ident()).map(fold).unwrap_or_default())
}

/// The name that a join's USING gives to its common columns.
fn join_name(table: &TableWithJoins) -> Option<String> {
    let nested = |factor: &TableFactor| match factor {
        TableFactor::NestedJoin { table_with_joins, .. } => join_name(table_with_joins),
        _ => None,
    };
    let of_join = |join: &Join| match constraint(&mut join.join_operator.clone()) {
        Some(JoinConstraint::Using(names)) => {
            using_names(names).find_map(|name| name.strip_prefix(JOIN_NAME_MARK).map(str::to_owned))
        }
        _ => None,
    };
    let joined = |join: &Join| nested(&join.relation).or_else(|| of_join(join));
    nested(&table.relation).or_else(|| table.joins.iter().find_map(joined))
}

fn the_one<'o>(outputs: &'o [Output], name: &str, side: &str) -> SqlResult<&'o Output> {
    let mut found = outputs.iter().filter(|output| output.name == name);
    match (found.next(), found.next()) {
        (Some(output), None) => Ok(output),
        (None, _) => Err(SqlError::new(
            SqlState::UndefinedColumn,
            format!("column \"{name}\" specified in USING clause does not exist in {side} table"),
        )),
        (Some(_), Some(_)) => Err(SqlError::new(
            SqlState::AmbiguousColumn,
            format!("common column name \"{name}\" appears more than once in {side} table"),
        )),
    }
}

/// Writes `*` out, and keeps the names of columns that now are expressions.
fn expand(select: &mut Select, outputs: &[Output], merged: &Merged) {
    let item = |output: &Output| {
        let (expr, alias) = (output.expr.clone(), quoted(&output.name));
        match expr {
            Expr::CompoundIdentifier(_) => SelectItem::UnnamedExpr(expr),
            expr => SelectItem::ExprWithAlias { expr, alias },
        }
    };
    let of_join = |name: &ObjectName| match name.0.as_slice() {
        [name] => merged.of_join(&fold(name.as_ident()?)),
        _ => None,
    };
    let projection = std::mem::take(&mut select.projection);
    for selected in projection {
        match selected {
            SelectItem::Wildcard(_) => select.projection.extend(outputs.iter().map(item)),
            SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(ref name), _)
                if let Some(outputs) = of_join(name) =>
            {
                select.projection.extend(outputs.iter().map(item));
            }
            SelectItem::UnnamedExpr(expr) if merged.get(&expr).is_some() => {
                let alias = quoted(&expression_name(&expr));
                select.projection.push(SelectItem::ExprWithAlias { expr, alias });
            }
            other => select.projection.push(other),
        }
    }
}

/// `(a JOIN b …) AS j` is `(SELECT * FROM a JOIN b …) AS j`: the tables in it have no names outside.
fn derive_aliased(table: &mut TableWithJoins) {
    for factor in std::iter::once(&mut table.relation).chain(table.joins.iter_mut().map(|join| &mut join.relation)) {
        let TableFactor::NestedJoin { table_with_joins, alias } = factor else { continue };
        derive_aliased(table_with_joins);
        let Some(alias) = alias.take() else { continue };
        let everything = SelectItem::Wildcard(sqlparser::ast::WildcardAdditionalOptions::default());
        let from = vec![std::mem::replace(table_with_joins.as_mut(), empty())];
        let subquery = Box::new(functions::select(vec![everything], from, None));
        *factor = TableFactor::Derived { lateral: false, subquery, alias: Some(alias), sample: None };
    }
}

/// What stands in a place for a moment.
fn empty() -> TableWithJoins {
    let relation = TableFactor::Derived {
        lateral: false,
        subquery: Box::new(functions::select(Vec::new(), Vec::new(), None)),
        alias: None,
        sample: None,
    };
    TableWithJoins { relation, joins: Vec::new() }
}

fn has_using(table: &TableWithJoins) -> bool {
    let nested = |factor: &TableFactor| match factor {
        TableFactor::NestedJoin { table_with_joins, .. } => has_using(table_with_joins),
        _ => false,
    };
    nested(&table.relation)
        || table.joins.iter().any(|join| {
            let mut operator = join.join_operator.clone();
            nested(&join.relation)
                || matches!(constraint(&mut operator), Some(JoinConstraint::Using(_) | JoinConstraint::Natural))
        })
}

pub(super) fn constraint(operator: &mut JoinOperator) -> Option<&mut JoinConstraint> {
    match operator {
        JoinOperator::Join(constraint)
        | JoinOperator::Inner(constraint)
        | JoinOperator::Left(constraint)
        | JoinOperator::LeftOuter(constraint)
        | JoinOperator::Right(constraint)
        | JoinOperator::RightOuter(constraint)
        | JoinOperator::FullOuter(constraint)
        | JoinOperator::AsOf { constraint, .. } => Some(constraint),
        _ => None,
    }
}

fn output_name(item: &SelectItem) -> Option<String> {
    match item {
        SelectItem::UnnamedExpr(expr) => Some(expression_name(expr)),
        SelectItem::ExprWithAlias { alias, .. } => Some(fold(alias)),
        _ => None,
    }
}

fn untyped(columns: Vec<String>) -> Vec<(String, Option<SqlType>)> {
    columns.into_iter().map(|name| (name, None)).collect()
}

fn renamed(mut columns: Vec<String>, names: &[String]) -> Vec<String> {
    for (column, name) in columns.iter_mut().zip(names) {
        column.clone_from(name);
    }
    columns
}

fn binary(left: Expr, op: BinaryOperator, right: Expr) -> Expr {
    Expr::BinaryOp { left: Box::new(left), op, right: Box::new(right) }
}

fn quoted(name: &str) -> Ident {
    Ident::with_quote('"', name)
}
