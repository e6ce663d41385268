//! MERGE: a query joins the source with the table, and says for each of its rows which clause it meets and what it writes.
//!
//! ```text
//! old values of the table's row (NULL: none matches) | values of clause 0, of clause 1, … | which clause | [table] | vid
//! ```
//!
//! The values of a clause are computed for its rows alone.

use std::ops::ControlFlow;

use perigee_plan::relational::{MergeAction, VID_COLUMN, WriteKind};
use perigee_types::catalog::Table;
use perigee_types::{SqlError, SqlResult, SqlState};
use sqlparser::ast::helpers::attached_token::AttachedToken;
use sqlparser::ast::{
    self, CaseWhen, Expr, Ident, Join, JoinConstraint, JoinOperator, Merge, MergeClause, MergeClauseKind,
    MergeInsertExpr, MergeInsertKind, MergeUpdateExpr, Query, SelectItem, TableFactor, TableWithJoins, VisitMut,
    VisitorMut,
};

use super::others::{self, Column, Returning};
use super::parameters::Parameters;
use super::point::{self, Target};
use super::query::TARGET;
use super::update::{
    assignments, default_expression, hidden_columns, is_default, old_columns, qualified, written_query,
};
use super::{Planned, insert, names, returning};
use crate::sql::context::PlanContext;
use crate::sql::parse::{NOTHING, fold};

/// What the names of the columns with values begin with: a constant in one has no type of its own.
pub(super) const VALUE: &str = "value\u{1}";

/// Plans a MERGE.
///
/// # Errors
/// What PostgreSQL's analysis would refuse.
pub(super) fn plan(merge: &Merge, with: Option<&ast::With>, context: &PlanContext) -> SqlResult<Planned> {
    if merge.output.is_some() {
        return Err(SqlError::syntax("syntax error at or near \"RETURNING\""));
    }
    let TableFactor::Table { name, alias, args: None, .. } = &merge.table else {
        return Err(SqlError::syntax(format!("MERGE into \"{}\" is not possible", merge.table)));
    };
    let target = point::written(name, alias.as_ref().map(|alias| &alias.name), context)?;
    if target.is_keys() {
        return Err(SqlError::unsupported("MERGE into a table of schema redis"));
    }
    let source = TableWithJoins { relation: merge.source.clone(), joins: Vec::new() };
    let columns = others::columns(std::slice::from_ref(&source), with, context)?;
    if columns.iter().any(|column| column.table.as_deref() == Some(&target.known_as)) {
        return Err(SqlError::new(
            SqlState::DuplicateAlias,
            format!("name \"{}\" specified more than once", target.known_as),
        )
        .detail("The name is used both as MERGE target table and data source."));
    }
    let mut clauses = Clauses {
        target: &target,
        columns: &columns,
        context,
        parameters: Parameters::declared(context.declared),
        matched: Vec::new(),
        unmatched: Vec::new(),
        values: Vec::new(),
        actions: Vec::new(),
    };
    for clause in &merge.clauses {
        clauses.add(clause)?;
    }
    let Clauses { parameters, matched, unmatched, values, actions, .. } = clauses;
    let vid = qualified(&target.known_as, VID_COLUMN);
    let which = case(vec![(Expr::IsNotNull(Box::new(vid.clone())), choice(matched))], Some(choice(unmatched)));
    let mut items = old_columns(&target, context);
    let mut casts: Vec<Option<usize>> = vec![None; items.len()];
    for (at, value) in values.into_iter().enumerate() {
        let meets = Expr::BinaryOp {
            left: Box::new(Expr::Nested(Box::new(which.clone()))),
            op: ast::BinaryOperator::Eq,
            right: Box::new(number(value.action as i64)),
        };
        items.push(aliased(case(vec![(meets, value.expr)], None), &format!("{VALUE}{at}")));
        casts.push(Some(value.place));
    }
    items.push(aliased(which, "which\u{1}"));
    items.extend(hidden_columns(&target, context));
    // Without an INSERT, rows of the source that match nothing are of no use.
    let inserts = actions.iter().any(|action| matches!(action, MergeAction::Insert { .. }));
    let on = JoinConstraint::On((*merge.on).clone());
    let join = Join {
        relation: returning::known_as(TARGET, &target.known_as),
        global: false,
        join_operator: if inserts { JoinOperator::LeftOuter(on) } else { JoinOperator::Inner(on) },
    };
    let from = TableWithJoins { joins: vec![join], ..source };
    let mut query = returning::select_query(items, vec![from], None);
    query.with = with.cloned();
    let casts = |at: usize| casts.get(at).copied().flatten();
    let (query, parameters) = written_query(query, &target, parameters, casts, context)?;
    let kind = WriteKind::Merge { actions };
    returning::write(&target, kind, query, &Returning::plain(None), with, parameters, "MERGE", context)
}

/// A value that a clause writes.
struct Value {
    /// The place of the clause.
    action: usize,
    /// The place of the column.
    place: usize,
    expr: Expr,
}

struct Clauses<'a> {
    target: &'a Target,
    /// The columns of the source.
    columns: &'a [Column],
    context: &'a PlanContext<'a>,
    parameters: Parameters,
    /// The conditions of the clauses for rows that match and for others, with their places.
    matched: Vec<(Option<Expr>, usize)>,
    unmatched: Vec<(Option<Expr>, usize)>,
    values: Vec<Value>,
    actions: Vec<MergeAction>,
}

impl Clauses<'_> {
    fn add(&mut self, clause: &MergeClause) -> SqlResult<()> {
        let action = self.actions.len();
        let is_match = match clause.clause_kind {
            MergeClauseKind::Matched => true,
            MergeClauseKind::NotMatched => false,
            _ => return Err(SqlError::syntax("syntax error at or near \"BY\"")),
        };
        let mut condition = clause.predicate.clone();
        if !is_match && let Some(condition) = &mut condition {
            self.over_source(condition)?;
        }
        let known = if is_match { &mut self.matched } else { &mut self.unmatched };
        if known.last().is_some_and(|(condition, _)| condition.is_none()) {
            return Err(SqlError::syntax("unreachable WHEN clause specified after unconditional WHEN clause"));
        }
        known.push((condition, action));
        let made = match &clause.action {
            _ if does_nothing(&clause.action) => MergeAction::Nothing,
            ast::MergeAction::Update(update) => self.update(update, action)?,
            ast::MergeAction::Insert(insert) => self.insert(insert, action)?,
            ast::MergeAction::Delete { .. } => MergeAction::Delete,
        };
        self.actions.push(made);
        Ok(())
    }

    fn update(&mut self, update: &MergeUpdateExpr, action: usize) -> SqlResult<MergeAction> {
        let MergeUpdateExpr { assignments: list, update_predicate: None, delete_predicate: None, .. } = update else {
            return Err(SqlError::syntax("this form of UPDATE in MERGE is not PostgreSQL's"));
        };
        let first = self.values.len();
        let mut assigned = Vec::with_capacity(list.len());
        for (place, value) in assignments(&self.target.table, list)? {
            self.value(action, place, value.into_owned())?;
            assigned.push(place);
        }
        Ok(MergeAction::Update { assigned, first })
    }

    fn insert(&mut self, insert: &MergeInsertExpr, action: usize) -> SqlResult<MergeAction> {
        let MergeInsertExpr { columns, kind: MergeInsertKind::Values(values), insert_predicate: None, .. } = insert
        else {
            return Err(SqlError::syntax("this form of INSERT in MERGE is not PostgreSQL's"));
        };
        let [row] = values.rows.as_slice() else {
            return Err(SqlError::syntax("INSERT in MERGE takes one row of values"));
        };
        let row = &row.content;
        let table: &Table = &self.target.table;
        let places = match columns.as_slice() {
            [] => (0..table.visible_columns().len()).collect(),
            names => self.places(names)?,
        };
        if row.len() > places.len() {
            return Err(SqlError::syntax("INSERT has more expressions than target columns"));
        }
        if row.len() < places.len() && !columns.is_empty() {
            return Err(SqlError::syntax("INSERT has more target columns than expressions"));
        }
        let first = self.values.len();
        for place in 0..table.columns.len() {
            let given = places.iter().zip(row).find(|(given, _)| **given == place).map(|(_, value)| value);
            let value = match given {
                Some(value) => {
                    insert::refuse_always_identity(table, place, value)?;
                    let mut value = value.clone();
                    if !is_default(&value) {
                        self.over_source(&mut value)?;
                    }
                    value
                }
                None => default_expression(table, place, self.context)?,
            };
            self.value(action, place, value)?;
        }
        Ok(MergeAction::Insert { first })
    }

    fn places(&self, columns: &[ast::ObjectName]) -> SqlResult<Vec<usize>> {
        let mut places = Vec::with_capacity(columns.len());
        for name in columns {
            let name = fold(names::last_ident(name)?);
            let place = names::column(&self.target.table, &name)?;
            if places.contains(&place) {
                let text = format!("column \"{name}\" specified more than once");
                return Err(SqlError::new(SqlState::DuplicateColumn, text));
            }
            places.push(place);
        }
        Ok(places)
    }

    fn value(&mut self, action: usize, place: usize, value: Expr) -> SqlResult<()> {
        let table = &self.target.table;
        let expr = if is_default(&value) { default_expression(table, place, self.context)? } else { value };
        self.parameters.infer_target(&expr, &table.columns[place].ty)?;
        self.values.push(Value { action, place, expr });
        Ok(())
    }

    /// An expression of WHEN NOT MATCHED: it sees the source alone.
    fn over_source(&self, expr: &mut Expr) -> SqlResult<()> {
        let mut source = OverSource { target: self.target, columns: self.columns, depth: 0 };
        match expr.visit(&mut source) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(error) => Err(error),
        }
    }
}

/// Whether a clause is DO NOTHING, as the parser was given it.
fn does_nothing(action: &ast::MergeAction) -> bool {
    let is_nothing = |name: &ast::ObjectName| names::last_ident(name).is_ok_and(|ident| ident.value == NOTHING);
    match action {
        ast::MergeAction::Update(update) => update.assignments.iter().any(
            |assignment| matches!(&assignment.target, ast::AssignmentTarget::ColumnName(name) if is_nothing(name)),
        ),
        ast::MergeAction::Insert(insert) => insert.columns.iter().any(is_nothing),
        ast::MergeAction::Delete { .. } => false,
    }
}

/// The place of the first clause whose condition holds; -1 where none does.
fn choice(clauses: Vec<(Option<Expr>, usize)>) -> Expr {
    let mut branches = Vec::with_capacity(clauses.len());
    for (condition, place) in clauses {
        match condition {
            Some(condition) => branches.push((condition, number(place as i64))),
            None if branches.is_empty() => return number(place as i64),
            None => return case(branches, Some(number(place as i64))),
        }
    }
    if branches.is_empty() { number(-1) } else { case(branches, Some(number(-1))) }
}

fn number(number: i64) -> Expr {
    let magnitude = Expr::value(ast::Value::Number(number.unsigned_abs().to_string(), false));
    match number {
        0.. => magnitude,
        _ => Expr::UnaryOp { op: ast::UnaryOperator::Minus, expr: Box::new(magnitude) },
    }
}

fn case(branches: Vec<(Expr, Expr)>, otherwise: Option<Expr>) -> Expr {
    Expr::Case {
        case_token: AttachedToken::empty(),
        end_token: AttachedToken::empty(),
        operand: None,
        conditions: branches.into_iter().map(|(condition, result)| CaseWhen { condition, result }).collect(),
        else_result: otherwise.map(Box::new),
    }
}

fn aliased(expr: Expr, alias: &str) -> SelectItem {
    SelectItem::ExprWithAlias { expr, alias: Ident::with_quote('"', alias) }
}

struct OverSource<'a> {
    target: &'a Target,
    columns: &'a [Column],
    /// Subqueries around.
    depth: usize,
}

impl VisitorMut for OverSource<'_> {
    type Break = SqlError;

    fn pre_visit_query(&mut self, _query: &mut Query) -> ControlFlow<SqlError> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _query: &mut Query) -> ControlFlow<SqlError> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<SqlError> {
        match expr {
            Expr::CompoundIdentifier(parts) => {
                if let [qualifier, _] = parts.as_slice()
                    && fold(qualifier) == self.target.known_as
                {
                    let name = &self.target.known_as;
                    return ControlFlow::Break(
                        SqlError::new(
                            SqlState::UndefinedTable,
                            format!("invalid reference to FROM-clause entry for table \"{name}\""),
                        )
                        .detail(format!(
                            "There is an entry for table \"{name}\", but it cannot be referenced from this part of the \
                             query."
                        )),
                    );
                }
            }
            // In a subquery the name may mean another table's.
            Expr::Identifier(ident) if self.depth == 0 => {
                let name = fold(ident);
                let mut found = self.columns.iter().filter(|column| column.name == name);
                match (found.next(), found.next()) {
                    (Some(column), None) => *expr = column.expression(),
                    (None, _) if self.target.table.column_position(&name).is_some() => {
                        let text = format!("column \"{name}\" does not exist");
                        return ControlFlow::Break(SqlError::new(SqlState::UndefinedColumn, text));
                    }
                    _ => {}
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}
