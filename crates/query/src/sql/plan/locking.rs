//! Queries within a statement that lock rows: `UPDATE … WHERE id IN (SELECT … FOR UPDATE SKIP LOCKED LIMIT 1)`.
//!
//! Each runs once, before the statement, as a query of its WITH clause does; the statement reads the rows that it gave.

use std::ops::ControlFlow;

use perigee_types::{SqlError, SqlResult};
use sqlparser::ast::helpers::attached_token::AttachedToken;
use sqlparser::ast::{
    Cte, Ident, Query, SelectItem, SetExpr, Statement, TableAlias, TableWithJoins, Visit, VisitMut, Visitor,
    VisitorMut, WildcardAdditionalOptions, With,
};

use super::returning::{named, select_query};
use super::with::{names_relation, written};
use crate::sql::parse::fold;

/// Whether a query has a locking clause and rows to lock.
pub(super) fn locks_rows(query: &Query) -> bool {
    !query.locks.is_empty() && written(query).is_none() && !is_without_from(query)
}

fn is_without_from(query: &Query) -> bool {
    matches!(&*query.body, SetExpr::Select(select) if select.from.is_empty())
}

/// Whether a query within the statement has a locking clause; that of the statement itself does not count.
pub(super) fn are_within(statement: &Statement) -> bool {
    struct Within(usize);
    impl Visitor for Within {
        type Break = ();

        fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
            self.0 += 1;
            if self.0 > 1 && !query.locks.is_empty() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        }

        fn post_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
            self.0 -= 1;
            ControlFlow::Continue(())
        }
    }
    let around = usize::from(!matches!(statement, Statement::Query(_)));
    statement.visit(&mut Within(around)).is_break()
}

/// The statement as one behind a WITH clause which has all queries that lock rows, each before what reads it.
///
/// # Errors
/// `0A000` for statements and places that this cannot be done for.
pub(super) fn at_the_front(statement: &Statement) -> SqlResult<(Query, With)> {
    let mut whole = match statement {
        Statement::Query(query) => query.as_ref().clone(),
        other => {
            let body = match other {
                Statement::Insert(_) => SetExpr::Insert(other.clone()),
                Statement::Update(_) => SetExpr::Update(other.clone()),
                Statement::Delete(_) => SetExpr::Delete(other.clone()),
                Statement::Merge(_) => SetExpr::Merge(other.clone()),
                _ => return Err(SqlError::unsupported("FOR UPDATE in a subquery of this statement")),
            };
            Query { body: Box::new(body), ..select_query(Vec::new(), Vec::new(), None) }
        }
    };
    let with = whole.with.take();
    let mut with =
        with.unwrap_or_else(|| With { with_token: AttachedToken::empty(), recursive: false, cte_tables: Vec::new() });
    let mut taken = Taken::default();
    let mut tables = Vec::with_capacity(with.cte_tables.len() + 1);
    for mut cte in std::mem::take(&mut with.cte_tables) {
        taken.take_within(&mut cte.query)?;
        if is_without_from(&cte.query) {
            cte.query.locks.clear();
        }
        tables.append(&mut taken.found);
        tables.push(cte);
    }
    taken.take_within(&mut whole)?;
    tables.append(&mut taken.found);
    with.cte_tables = tables;
    Ok((whole, with))
}

/// Takes the queries that lock rows from within a query.
#[derive(Default)]
struct Taken {
    found: Vec<Cte>,
    /// How many were taken from all queries.
    count: usize,
    /// What the queries around define by WITH, the outermost first.
    defined: Vec<Vec<String>>,
}

impl Taken {
    fn take_within(&mut self, query: &mut Query) -> SqlResult<()> {
        match VisitMut::visit(query, self) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(error) => Err(error),
        }
    }
}

impl VisitorMut for Taken {
    type Break = SqlError;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<SqlError> {
        let defined = query.with.iter().flat_map(|with| with.cte_tables.iter().map(|cte| fold(&cte.alias.name)));
        self.defined.push(defined.collect());
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<SqlError> {
        self.defined.pop();
        // The outermost one is the statement, or stands in its WITH clause already.
        if self.defined.is_empty() || query.locks.is_empty() {
            return ControlFlow::Continue(());
        }
        if is_without_from(query) {
            query.locks.clear();
            return ControlFlow::Continue(());
        }
        if self.defined.iter().flatten().any(|name| names_relation(query, name)) {
            return ControlFlow::Break(SqlError::unsupported(
                "FOR UPDATE in a subquery beside a WITH clause of the subquery around it",
            ));
        }
        let name = format!("locked\u{1}{}", self.count);
        self.count += 1;
        let all = vec![SelectItem::Wildcard(WildcardAdditionalOptions::default())];
        let from = vec![TableWithJoins { relation: named(&name), joins: Vec::new() }];
        let locking = std::mem::replace(query, select_query(all, from, None));
        let name = Ident::with_quote('"', name);
        self.found.push(Cte {
            alias: TableAlias { explicit: true, name, columns: Vec::new(), at: None },
            query: Box::new(locking),
            from: None,
            materialized: None,
            closing_paren_token: AttachedToken::empty(),
        });
        ControlFlow::Continue(())
    }
}
