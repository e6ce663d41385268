//! What gives another value each time that it is evaluated.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use perigee_types::Oid;
use sqlparser::ast::{self, Expr, visit_expressions};

use super::body::{find, query_of};
use crate::sql::context::PlanContext;
use crate::sql::parse::fold;

/// Functions of PostgreSQL that give another value each time.
const VOLATILE: &[&str] = &[
    "random",
    "random_normal",
    "setseed",
    "nextval",
    "setval",
    "currval",
    "lastval",
    "clock_timestamp",
    "timeofday",
    "gen_random_uuid",
    "uuid_generate_v1",
    "uuid_generate_v4",
    "pg_sleep",
    "set_config",
];

/// Whether an expression gives another value each time, also because of what the bodies of users' functions call; `seen`
/// are those that were looked at.
pub(super) fn is_volatile<N: ast::Visit>(node: &N, context: &PlanContext, seen: &mut BTreeSet<Oid>) -> bool {
    let found = visit_expressions(node, |expr| {
        let Expr::Function(call) = expr else { return ControlFlow::Continue(()) };
        let name = call.name.0.last().and_then(|part| part.as_ident()).map(fold).unwrap_or_default();
        if VOLATILE.contains(&name.as_str()) {
            return ControlFlow::Break(());
        }
        let ast::FunctionArguments::List(list) = &call.args else { return ControlFlow::Continue(()) };
        let Some(function) = find(&call.name, list.args.len(), context) else { return ControlFlow::Continue(()) };
        if !seen.insert(function.oid) {
            return ControlFlow::Continue(());
        }
        match query_of(&function) {
            Ok(body) if !is_volatile(&body, context, seen) => ControlFlow::Continue(()),
            _ => ControlFlow::Break(()),
        }
    });
    found.is_break()
}
