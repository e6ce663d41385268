//! Parameters that stand where a value of a domain is wanted: clients are told the domain. Values are of the type below it, and the
//! domain's rules are asked like those of any other value.

use std::ops::ControlFlow;

use perigee_types::Oid;
use perigee_types::catalog::TypeKind;
use sqlparser::ast::{self, Expr};

use super::parameters::placeholder;
use super::types::domain_of;
use crate::sql::context::PlanContext;
use crate::sql::statement::{Ast, Statement};

/// Places of such parameters, from 0, each with its domain: those that are cast to one, and those that INSERT or UPDATE
/// gives a column of one. What the client has declared by itself is none.
pub(super) fn of_statement(statement: &Statement, context: &PlanContext) -> Vec<(usize, Oid)> {
    let Ast::Sql(ast) = &statement.ast else { return Vec::new() };
    if !context.catalog.user_types().any(|ty| matches!(ty.kind, TypeKind::Domain(_))) {
        return Vec::new();
    }
    let mut found: Vec<(usize, Oid)> = Vec::new();
    let mut add = |expr: &Expr, domain: Oid| {
        let place = placeholder(expr).and_then(|name| name.strip_prefix('$')?.parse::<usize>().ok()?.checked_sub(1));
        let Some(place) = place else { return };
        let declared = context.declared.get(place).is_some_and(Option::is_some);
        if !declared && !found.iter().any(|(known, _)| *known == place) {
            found.push((place, domain));
        }
    };
    let _: ControlFlow<()> = ast::visit_expressions(&**ast, |expr| {
        if let Expr::Cast { expr, data_type, .. } = expr
            && let Some(domain) = domain_of(data_type)
        {
            add(expr.as_ref(), domain.oid);
        }
        ControlFlow::Continue(())
    });
    let given = match &**ast {
        ast::Statement::Insert(insert) => super::insert::values_of_domains(insert, context),
        ast::Statement::Update(update) => super::update::values_of_domains(update, context),
        _ => Vec::new(),
    };
    for (value, domain) in &given {
        add(value, *domain);
    }
    found.sort_unstable();
    found
}
