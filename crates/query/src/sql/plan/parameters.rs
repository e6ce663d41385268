//! Types of the parameters `$1`, `$2`, …
//!
//! What the client declared wins. For a query, a first look at the syntax finds casts, LIMIT and the targets of INSERT;
//! then DataFusion's planner types what stands beside a column; what is left is text, as in PostgreSQL.

use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::DFSchema;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr as DfExpr, ExprSchemable, LogicalPlan, Union};
use datafusion::scalar::ScalarValue;
use perigee_types::{SqlError, SqlResult, SqlType};
use sqlparser::ast::{
    AccessExpr, BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, JoinConstraint,
    JoinOperator, LimitClause, Query, Select, SetExpr, Subscript, Value, Visit, Visitor,
};

use super::types::base_type;
use super::{names, probe, undefined_parameter};
use crate::exec::{parameter_types, without_modifier};
use crate::sql::parse::fold;

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
            if let LogicalPlan::Union(union) = plan {
                of_rows(union, &mut found);
            }
            let schema = merge_schema(&plan.inputs());
            plan.apply_expressions(|expr| {
                expr.apply(|expr| {
                    of_values(expr, &schema, &mut found);
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
            let told = match probe::is_told(&name) {
                true => probe::told(&name, &ty),
                false => Some((name, ty)),
            };
            if let Some((name, ty)) = told {
                let place = self.place(&name)?;
                self.infer(place, &ty);
            }
        }
        Ok(())
    }
}

/// A parameter without a type.
fn open(expr: &DfExpr) -> Option<&str> {
    match expr {
        DfExpr::Placeholder(placeholder) if placeholder.field.is_none() => Some(&placeholder.id),
        DfExpr::Alias(alias) => open(&alias.expr),
        _ => None,
    }
}

/// The type of an expression, `None` for what has none yet.
fn known(expr: &DfExpr, schema: &DFSchema) -> Option<SqlType> {
    if open(expr).is_some() {
        return None;
    }
    // The planner makes every integer literal an int8.
    if let DfExpr::Literal(ScalarValue::Int64(Some(value)), _) = expr
        && i32::try_from(*value).is_ok()
    {
        return Some(SqlType::Int4);
    }
    let (_, field) = expr.to_field(schema).ok()?;
    let has_type = !matches!(field.data_type(), DataType::Utf8 | DataType::Null);
    has_type.then(|| SqlType::of_field(&field))
}

/// Gives the parameters among `exprs` the type of the first that has one.
fn alike<'e>(exprs: impl Iterator<Item = &'e DfExpr> + Clone, schema: &DFSchema, found: &mut Vec<(String, SqlType)>) {
    let mut names = exprs.clone().filter_map(open).peekable();
    if names.peek().is_none() {
        return;
    }
    if let Some(ty) = exprs.clone().find_map(|expr| known(expr, schema)) {
        found.extend(names.map(|name| (name.to_owned(), ty.clone())));
    }
}

/// Parameters among values that are compared with each other, or one of which is chosen.
fn of_values(expr: &DfExpr, schema: &DFSchema, found: &mut Vec<(String, SqlType)>) {
    match expr {
        DfExpr::Case(case) => {
            let results = case.when_then_expr.iter().map(|(_, then)| then.as_ref()).chain(case.else_expr.as_deref());
            alike(results, schema, found);
            if case.expr.is_some() {
                let compared = case.expr.as_deref().into_iter();
                alike(compared.chain(case.when_then_expr.iter().map(|(when, _)| when.as_ref())), schema, found);
            }
        }
        DfExpr::InList(list) => alike(std::iter::once(list.expr.as_ref()).chain(&list.list), schema, found),
        DfExpr::Between(between) => {
            let all = [between.expr.as_ref(), between.low.as_ref(), between.high.as_ref()];
            alike(all.into_iter(), schema, found);
        }
        DfExpr::ScalarFunction(call) => match call.func.name() {
            "coalesce" | "greatest" | "least" | "nullif" | "make_array" => alike(call.args.iter(), schema, found),
            _ => {}
        },
        _ => {}
    }
}

/// Parameters that are columns of one of the queries of UNION and its like: they have the type of the others' column.
fn of_rows(union: &Union, found: &mut Vec<(String, SqlType)>) {
    for input in &union.inputs {
        let LogicalPlan::Projection(projection) = input.as_ref() else { continue };
        for (expr, field) in projection.expr.iter().zip(union.schema.fields()) {
            if let Some(name) = open(expr)
                && !matches!(field.data_type(), DataType::Utf8 | DataType::Null)
            {
                found.push((name.to_owned(), SqlType::of_field(field)));
            }
        }
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

impl Look<'_> {
    /// What functions take whose Arrow types alone do not say it.
    fn arguments(&mut self, function: &Function) -> ControlFlow<SqlError> {
        let FunctionArguments::List(list) = &function.args else { return ControlFlow::Continue(()) };
        let Ok(name) = names::last_ident(&function.name).map(fold) else { return ControlFlow::Continue(()) };
        let args = list.args.iter().filter_map(|arg| match arg {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr),
            _ => None,
        });
        if matches!(name.as_str(), "generate_series" | "mod") {
            // They take integers of the size that the others have.
            let is_small = |expr: &Expr| match expr {
                Expr::Value(value) => matches!(&value.value, Value::Number(n, _) if n.parse::<i32>().is_ok()),
                _ => false,
            };
            let others = || args.clone().filter(|arg| placeholder(arg).is_none());
            if others().next().is_some() && others().all(is_small) {
                for arg in args {
                    self.infer(arg, &SqlType::Int4)?;
                }
            }
            return ControlFlow::Continue(());
        }
        let Some((_, types)) = ARGUMENTS.iter().find(|(of, _)| *of == name) else { return ControlFlow::Continue(()) };
        for (arg, ty) in args.zip(*types) {
            if let Some(ty) = ty {
                self.infer(arg, &ty.sql())?;
            }
        }
        ControlFlow::Continue(())
    }
}

/// A type that a function takes.
#[derive(Clone, Copy)]
enum Takes {
    Text,
    Texts,
    Int4,
    Bool,
    Json,
    Jsonb,
    Path,
    SmallIntegers,
    Oids,
}

impl Takes {
    fn sql(self) -> SqlType {
        match self {
            Takes::Text => SqlType::Text,
            Takes::Texts => SqlType::Array(Box::new(SqlType::Text)),
            Takes::Int4 => SqlType::Int4,
            Takes::Bool => SqlType::Bool,
            Takes::Json => SqlType::Json,
            Takes::Jsonb => SqlType::Jsonb,
            Takes::Path => SqlType::JsonPath,
            Takes::SmallIntegers => SqlType::Array(Box::new(SqlType::Int2)),
            Takes::Oids => SqlType::Array(Box::new(SqlType::Oid)),
        }
    }
}

/// Functions whose arguments DataFusion takes in more than one type, or in a form that several types have.
const ARGUMENTS: &[(&str, &[Option<Takes>])] = {
    const TEXT: Option<Takes> = Some(Takes::Text);
    const TEXTS: Option<Takes> = Some(Takes::Texts);
    const INT4: Option<Takes> = Some(Takes::Int4);
    const BOOL: Option<Takes> = Some(Takes::Bool);
    const JSON: Option<Takes> = Some(Takes::Json);
    const JSONB: Option<Takes> = Some(Takes::Jsonb);
    const PATH: Option<Takes> = Some(Takes::Path);
    &[
        // Casts to these types are functions by now.
        ("int2vector", &[Some(Takes::SmallIntegers)]),
        ("oidvector", &[Some(Takes::Oids)]),
        ("left", &[TEXT, INT4]),
        ("right", &[TEXT, INT4]),
        ("split_part", &[TEXT, TEXT, INT4]),
        ("lpad", &[TEXT, INT4, TEXT]),
        ("rpad", &[TEXT, INT4, TEXT]),
        ("chr", &[INT4]),
        ("lag", &[None, INT4]),
        ("lead", &[None, INT4]),
        ("nth_value", &[None, INT4]),
        ("ntile", &[INT4]),
        ("json_array_elements", &[JSON]),
        ("json_array_elements_text", &[JSON]),
        ("json_array_length", &[JSON]),
        ("json_each", &[JSON]),
        ("json_each_text", &[JSON]),
        ("json_object_keys", &[JSON]),
        ("json_strip_nulls", &[JSON]),
        ("json_typeof", &[JSON]),
        ("jsonb_array_elements", &[JSONB]),
        ("jsonb_array_elements_text", &[JSONB]),
        ("jsonb_array_length", &[JSONB]),
        ("jsonb_each", &[JSONB]),
        ("jsonb_each_text", &[JSONB]),
        ("jsonb_insert", &[JSONB, TEXTS, JSONB, BOOL]),
        ("jsonb_object_keys", &[JSONB]),
        ("jsonb_path_exists", &[JSONB, PATH, JSONB, BOOL]),
        ("jsonb_path_match", &[JSONB, PATH, JSONB, BOOL]),
        ("jsonb_path_query", &[JSONB, PATH, JSONB, BOOL]),
        ("jsonb_path_query_array", &[JSONB, PATH, JSONB, BOOL]),
        ("jsonb_path_query_first", &[JSONB, PATH, JSONB, BOOL]),
        ("jsonb_pretty", &[JSONB]),
        ("jsonb_set", &[JSONB, TEXTS, JSONB, BOOL]),
        ("jsonb_strip_nulls", &[JSONB]),
        ("jsonb_typeof", &[JSONB]),
    ]
};

/// The conditions of a SELECT: WHERE, HAVING and those of its joins.
fn conditions(select: &Select) -> impl Iterator<Item = &Expr> {
    let of_joins = select.from.iter().flat_map(|table| &table.joins).filter_map(|join| match &join.join_operator {
        JoinOperator::Join(JoinConstraint::On(on))
        | JoinOperator::Inner(JoinConstraint::On(on))
        | JoinOperator::Left(JoinConstraint::On(on))
        | JoinOperator::LeftOuter(JoinConstraint::On(on))
        | JoinOperator::Right(JoinConstraint::On(on))
        | JoinOperator::RightOuter(JoinConstraint::On(on))
        | JoinOperator::FullOuter(JoinConstraint::On(on)) => Some(on),
        _ => None,
    });
    select.selection.iter().chain(&select.having).chain(of_joins)
}

impl Visitor for Look<'_> {
    type Break = SqlError;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<SqlError> {
        if let SetExpr::Select(select) = query.body.as_ref() {
            for condition in conditions(select) {
                self.infer(condition, &SqlType::Bool)?;
            }
        }
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
            Expr::BinaryOp { left, op: BinaryOperator::And | BinaryOperator::Or, right } => {
                self.infer(left, &SqlType::Bool)?;
                self.infer(right, &SqlType::Bool)?;
            }
            Expr::Case { operand: None, conditions, .. } => {
                for when in conditions {
                    self.infer(&when.condition, &SqlType::Bool)?;
                }
            }
            Expr::Overlay { expr, overlay_what, overlay_from, overlay_for } => {
                self.infer(expr, &SqlType::Text)?;
                self.infer(overlay_what, &SqlType::Text)?;
                for place in std::iter::once(overlay_from).chain(overlay_for) {
                    self.infer(place, &SqlType::Int4)?;
                }
            }
            Expr::Substring { expr, substring_from, substring_for, shorthand: true, .. } => {
                self.infer(expr, &SqlType::Text)?;
                for place in substring_from.iter().chain(substring_for) {
                    self.infer(place, &SqlType::Int4)?;
                }
            }
            Expr::CompoundFieldAccess { access_chain, .. } => {
                for access in access_chain {
                    if let AccessExpr::Subscript(Subscript::Index { index }) = access {
                        self.infer(index, &SqlType::Int4)?;
                    }
                }
            }
            Expr::Function(function) => self.arguments(function)?,
            Expr::Like { expr, pattern, .. } | Expr::ILike { expr, pattern, .. } => {
                self.infer(expr, &SqlType::Text)?;
                self.infer(pattern, &SqlType::Text)?;
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}
