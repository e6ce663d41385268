//! The schemas that a statement names before functions: who runs it needs to use them.

use std::ops::ControlFlow;

use sqlparser::ast::{Expr, ObjectName, TableFactor, Visit, Visitor};

use super::super::names;
use crate::sql::context::{PlanContext, Uses};
use crate::sql::statement::{AlterTypeAction, Ast, CopyTarget};

/// Notes the schemas that a statement names before functions.
pub(in crate::sql::plan) fn note(statement: &Ast, context: &PlanContext) {
    match statement {
        Ast::Sql(statement) | Ast::CreateTable { statement, .. } | Ast::CreateDomain(statement) => {
            note_in(&**statement, context);
        }
        Ast::CreateFunction(create) => {
            let defaults = create.parameters.iter().filter_map(|parameter| parameter.default.as_ref());
            defaults.for_each(|expr| note_in(expr, context));
        }
        Ast::AlterType { action, .. } => match &**action {
            AlterTypeAction::SetDefault(Some(expr)) | AlterTypeAction::AddCheck(_, expr) => {
                note_in(expr, context);
            }
            _ => {}
        },
        Ast::Copy(copy) => {
            if let CopyTarget::Query(query) = &copy.target {
                note_in(&**query, context);
            }
            copy.filter.iter().for_each(|expr| note_in(expr, context));
        }
        _ => {}
    }
}

pub(super) fn note_in<N: Visit>(node: &N, context: &PlanContext) {
    if let Some(uses) = context.uses.filter(|_| context.catalog.has_functions()) {
        let _ = node.visit(&mut NamedSchemas { context, uses });
    }
}

struct NamedSchemas<'a> {
    context: &'a PlanContext<'a>,
    uses: &'a Uses,
}

impl NamedSchemas<'_> {
    fn note(&self, name: &ObjectName) {
        let Ok((Some(schema), _)) = names::qualified(name, self.context) else { return };
        if let Some(schema) = self.context.catalog.schema(self.context.tenant, &schema) {
            self.uses.schemas.borrow_mut().insert(schema.oid);
        }
    }
}

impl Visitor for NamedSchemas<'_> {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        if let Expr::Function(call) = expr {
            self.note(&call.name);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        if let TableFactor::Table { name, args: Some(_), .. } | TableFactor::Function { name, .. } = factor {
            self.note(name);
        }
        ControlFlow::Continue(())
    }
}
