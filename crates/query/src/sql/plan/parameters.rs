//! Types of the parameters `$1`, `$2`, …
//!
//! What the client declared wins. For a query, a first look at the syntax finds casts, LIMIT and the targets of INSERT;
//! then DataFusion's planner types what stands beside a column; what is left is text, as in PostgreSQL.

use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::datatypes::FieldRef;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr as DfExpr, ExprSchemable, LogicalPlan};
use perigee_types::{SqlError, SqlResult, SqlType};
use sqlparser::ast::{Expr, LimitClause, Query, Value, Visit, Visitor};

use super::types::base_type;
use super::undefined_parameter;
use crate::exec::{parameter_types, without_modifier};

/// The most parameters: what the protocol can bind.
pub(super) const PARAMETERS_MAX: usize = 65_535;

/// What is known of the parameters' types so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Parameters {
    types: Vec<Option<SqlType>>,
    used: usize,
}

impl Parameters {
    /// Those that the client declared.
    pub(super) fn declared(types: &[Option<SqlType>]) -> Self {
        let types: Vec<_> = types.iter().map(|ty| ty.clone().filter(|ty| *ty != SqlType::Unknown)).collect();
        Self { used: types.len(), types }
    }

    /// The place of `$n`, from 0.
    ///
    /// # Errors
    /// `42P02` where it cannot be one.
    pub(super) fn place(&mut self, name: &str) -> SqlResult<usize> {
        let place = name
            .strip_prefix('$')
            .and_then(|n| n.parse::<usize>().ok())
            .filter(|n| (1..=PARAMETERS_MAX).contains(n))
            .ok_or_else(|| undefined_parameter(name))?
            - 1;
        if self.types.len() <= place {
            self.types.resize(place + 1, None);
        }
        self.used = self.used.max(place + 1);
        Ok(place)
    }

    pub(super) fn get(&self, place: usize) -> Option<&SqlType> {
        self.types.get(place)?.as_ref()
    }

    /// Types a parameter unless it has a type.
    pub(super) fn infer(&mut self, place: usize, ty: &SqlType) {
        if let Some(known @ None) = self.types.get_mut(place) {
            // `$1` for a varchar(3) column takes any text, and the assignment checks it.
            *known = Some(without_modifier(ty));
        }
    }

    /// All types; text where nothing said otherwise.
    pub(super) fn finish(&self) -> Vec<SqlType> {
        self.types.iter().map(|ty| ty.clone().unwrap_or(SqlType::Text)).collect()
    }

    /// What DataFusion's planner takes.
    pub(super) fn fields(&self) -> Vec<Option<FieldRef>> {
        let field = |(place, ty): (usize, &Option<SqlType>)| {
            ty.as_ref().map(|ty| Arc::new(ty.field(format!("${}", place + 1), true)))
        };
        self.types.iter().enumerate().map(field).collect()
    }

    /// As [`Self::fields`], with text for what is not known.
    pub(super) fn fields_or_text(&self) -> Vec<Option<FieldRef>> {
        let types = self.finish();
        types.iter().enumerate().map(|(i, ty)| Some(Arc::new(ty.field(format!("${}", i + 1), true)))).collect()
    }

    /// Whether each parameter has a type.
    pub(super) fn is_complete(&self) -> bool {
        self.types.iter().all(Option::is_some)
    }

    /// Finds the parameters of a query and what its syntax says about their types.
    ///
    /// # Errors
    /// `42P02` for `$0`.
    pub(super) fn look_at(&mut self, query: &Query) -> SqlResult<()> {
        self.look(query)
    }

    /// As [`Self::look_at`], for an expression.
    ///
    /// # Errors
    /// `42P02` for `$0`.
    pub(super) fn look_at_expression(&mut self, expr: &Expr) -> SqlResult<()> {
        self.look(expr)
    }

    fn look(&mut self, node: &impl Visit) -> SqlResult<()> {
        match node.visit(&mut Look { parameters: self }) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(error) => Err(error),
        }
    }

    /// Types a parameter that stands alone where a value of `ty` is wanted.
    ///
    /// # Errors
    /// `42P02` for `$0`.
    pub(super) fn infer_target(&mut self, expr: &Expr, ty: &SqlType) -> SqlResult<()> {
        if let Some(name) = placeholder(expr) {
            let place = self.place(name)?;
            self.infer(place, ty);
        }
        Ok(())
    }

    /// Takes over what DataFusion's planner found out.
    pub(super) fn learn(&mut self, plan: &LogicalPlan) -> SqlResult<()> {
        let mut found = Vec::new();
        plan.apply_with_subqueries(|plan| {
            let schema = merge_schema(&plan.inputs());
            plan.apply_expressions(|expr| {
                expr.apply(|expr| {
                    // `x = ANY ($1)`
                    if let DfExpr::ScalarFunction(call) = expr
                        && call.func.name() == "array_has"
                        && let [DfExpr::Placeholder(placeholder), needle] = call.args.as_slice()
                        && placeholder.field.is_none()
                        && let Ok((_, field)) = needle.to_field(&schema)
                    {
                        found.push((placeholder.id.clone(), SqlType::Array(Box::new(SqlType::of_field(&field)))));
                    }
                    if let DfExpr::ScalarFunction(call) = expr {
                        found.extend(parameter_types(call, &schema));
                    }
                    if let DfExpr::Placeholder(placeholder) = expr
                        && let Some(field) = &placeholder.field
                    {
                        found.push((placeholder.id.clone(), SqlType::of_field(field)));
                    }
                    Ok(TreeNodeRecursion::Continue)
                })
            })
        })
        .map_err(crate::exec::sql_error)?;
        for (name, ty) in found {
            let place = self.place(&name)?;
            self.infer(place, &ty);
        }
        Ok(())
    }
}

/// The name of the parameter that an expression is.
pub(super) fn placeholder(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Value(value) => match &value.value {
            Value::Placeholder(name) => Some(name),
            _ => None,
        },
        Expr::Nested(inner) => placeholder(inner),
        _ => None,
    }
}

struct Look<'a> {
    parameters: &'a mut Parameters,
}

impl Look<'_> {
    fn infer(&mut self, expr: &Expr, ty: &SqlType) -> ControlFlow<SqlError> {
        match self.parameters.infer_target(expr, ty) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(error),
        }
    }
}

impl Visitor for Look<'_> {
    type Break = SqlError;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<SqlError> {
        if let Some(LimitClause::LimitOffset { limit, offset, .. }) = &query.limit_clause {
            for expr in limit.iter().chain(offset.as_ref().map(|o| &o.value)) {
                self.infer(expr, &SqlType::Int8)?;
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<SqlError> {
        match expr {
            Expr::Cast { expr, data_type, .. } if placeholder(expr).is_some() => {
                if let Ok(ty) = base_type(data_type) {
                    self.infer(expr, &ty)?;
                }
            }
            Expr::Value(value) => {
                if let Value::Placeholder(name) = &value.value
                    && let Err(error) = self.parameters.place(name)
                {
                    return ControlFlow::Break(error);
                }
            }
            Expr::IsTrue(e) | Expr::IsFalse(e) | Expr::IsNotTrue(e) | Expr::IsNotFalse(e) => {
                self.infer(e, &SqlType::Bool)?;
            }
            Expr::UnaryOp { op: sqlparser::ast::UnaryOperator::Not, expr } => self.infer(expr, &SqlType::Bool)?,
            Expr::Like { expr, pattern, .. } | Expr::ILike { expr, pattern, .. } => {
                self.infer(expr, &SqlType::Text)?;
                self.infer(pattern, &SqlType::Text)?;
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}
