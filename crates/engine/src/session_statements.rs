//! Prepared statements of a session.

use std::sync::Arc;

use perigee_plan::{Plan, Prepared, SessionCommand};
use perigee_query::exec::NamedStatement;
use perigee_query::sql;
use perigee_types::{Oid, SqlError, SqlResult, SqlState, SqlType};

use crate::Statement;
use crate::session::Session;

impl Session {
    /// Keeps a prepared statement, which the client made by sending `text`, with PREPARE where it is `by_sql`. The unnamed
    /// one may be replaced.
    ///
    /// # Errors
    /// `42P05` if the name is taken.
    pub fn put_statement(&mut self, name: &str, statement: Statement, text: &str, by_sql: bool) -> SqlResult<()> {
        if !name.is_empty() && self.has_statement(name) {
            return Err(SqlError::new(
                SqlState::DuplicatePreparedStatement,
                format!("prepared statement \"{name}\" already exists"),
            ));
        }
        if !name.is_empty() {
            let parameters = if statement.literals.is_empty() { &*statement.prepared.parameters } else { &[] };
            self.services.prepared(NamedStatement {
                name: name.to_owned(),
                text: text.to_owned(),
                made_micros: self.engine.now_micros(),
                parameters: parameters.iter().map(|ty| Oid(ty.oid())).collect(),
                by_sql,
            });
        }
        self.changes.prepared(name, &statement);
        self.statements.insert(name.to_owned(), statement);
        Ok(())
    }

    /// The prepared statements that have a plan here.
    pub(crate) fn prepared_statements(&self) -> impl Iterator<Item = (&String, &Statement)> {
        self.statements.iter()
    }

    /// A prepared statement, planned anew if the catalog has changed since.
    ///
    /// # Errors
    /// `26000` without such a statement, `0A000` when its result has other columns now, and what planning gives.
    pub fn get_statement(&mut self, name: &str) -> SqlResult<Statement> {
        self.plan_imported(name)?;
        let statement = self.statements.get(name).cloned().ok_or_else(|| {
            let what = if name.is_empty() {
                "unnamed prepared statement does not exist".to_owned()
            } else {
                format!("prepared statement \"{name}\" does not exist")
            };
            SqlError::new(SqlState::InvalidSqlStatementName, what)
        })?;
        if self.is_failed() {
            self.refuse_in_failed(&statement.prepared.plan)?;
            return Ok(statement);
        }
        let fresh = self.refresh(&statement)?;
        if !Arc::ptr_eq(&fresh.prepared, &statement.prepared) {
            self.statements.insert(name.to_owned(), fresh.clone());
        }
        Ok(fresh)
    }

    /// The statement planned against the present catalog.
    pub(crate) fn refresh(&self, statement: &Statement) -> SqlResult<Statement> {
        // EXECUTE and FETCH name what has a plan of its own.
        let names_another = matches!(
            statement.prepared.plan,
            Plan::Session(SessionCommand::Execute { .. } | SessionCommand::Fetch { .. })
        );
        if names_another || statement.prepared.catalog_version == self.planning_catalog().version {
            return Ok(statement.clone());
        }
        self.planned_again(statement, &statement.prepared.parameters)
    }

    /// A prepared statement for parameters of other types: arrays of other dimensions, which the client calls by one type.
    ///
    /// # Errors
    /// `0A000` where its result would be another one, and what planning gives.
    pub fn retyped(&self, statement: &Statement, types: Vec<SqlType>) -> SqlResult<Statement> {
        self.planned_again(statement, &types)
    }

    fn planned_again(&self, statement: &Statement, types: &[SqlType]) -> SqlResult<Statement> {
        let declared: Vec<Option<SqlType>> = types.iter().cloned().map(Some).collect();
        let parsed = sql::parse(&statement.prepared.text)?;
        let [parsed] = parsed.as_slice() else {
            return Ok(statement.clone());
        };
        let prepared = self.with_plan_context(&declared, |_, context| sql::plan(parsed, context))?;
        check_result(&prepared, &statement.prepared)?;
        Ok(Statement { prepared, literals: statement.literals.clone() })
    }

    /// Forgets a prepared statement; without one nothing happens.
    pub fn close_statement(&mut self, name: &str) {
        self.imported.remove(name);
        if self.statements.remove(name).is_some() {
            self.services.closed(name);
            self.changes.closed(name);
        }
    }

    pub(crate) fn has_statement(&self, name: &str) -> bool {
        self.statements.contains_key(name) || self.imported.contains_key(name)
    }

    pub(crate) fn close_all_statements(&mut self) {
        self.statements.clear();
        self.imported.clear();
        self.services.all_closed();
        self.changes.all_closed();
    }
}

/// Whether a client knows both by one type.
fn same_type(a: &SqlType, b: &SqlType) -> bool {
    a == b || matches!((a, b), (SqlType::Array(_), SqlType::Array(_))) && a.element() == b.element()
}

/// Refuses a plan whose result is not that of the plan before it.
///
/// # Errors
/// `0A000`
pub(crate) fn check_result(new: &Prepared, old: &Prepared) -> SqlResult<()> {
    if same_columns(new.columns.as_deref(), old.columns.as_deref()) {
        return Ok(());
    }
    Err(SqlError::new(SqlState::FeatureNotSupported, "cached plan must not change result type"))
}

fn same_columns(a: Option<&[perigee_plan::ResultColumn]>, b: Option<&[perigee_plan::ResultColumn]>) -> bool {
    match (a, b) {
        (None, None) => true,
        (Some(a), Some(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.name == b.name && same_type(&a.ty, &b.ty))
        }
        _ => false,
    }
}
