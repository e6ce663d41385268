//! PREPARE and EXECUTE of SQL.

use perigee_plan::{EvaluationContext, Plan, SessionCommand};
use perigee_types::{SqlError, SqlResult, SqlState, SqlType};
use sqlparser::ast::{DataType, Expr};

use super::parameters::Parameters;
use super::scalar::{Scope, Stop};
use super::types::sql_type;
use super::{Planned, literal};
use crate::sql::context::PlanContext;
use crate::sql::statement::Statement;

/// PREPARE: the statement is planned when it is executed, as a client's own is.
///
/// # Errors
/// `42704` for an unknown type of a parameter.
pub(super) fn prepare(name: &str, parameters: &[DataType], statement: &Statement) -> SqlResult<Planned> {
    let declared = |ty: &DataType| Ok(Some(sql_type(ty)?).filter(|ty| *ty != SqlType::Unknown));
    let command = SessionCommand::Prepare {
        name: name.to_owned(),
        parameters: parameters.iter().map(declared).collect::<SqlResult<_>>()?,
        statement: statement.text.clone(),
    };
    Ok(Planned::command(Plan::Session(command), "PREPARE"))
}

/// EXECUTE: its parameters are constants; a text among them has no type yet.
///
/// # Errors
/// `0A000` for an expression that needs rows or a session.
pub(super) fn execute(name: &str, parameters: &[Expr], context: &PlanContext) -> SqlResult<Planned> {
    let settings = literal::output_settings(context);
    let constant = EvaluationContext { settings: &settings, ..EvaluationContext::constant() };
    let mut none = Parameters::default();
    let mut scope = Scope { table: None, context, parameters: &mut none };
    let mut values = Vec::with_capacity(parameters.len());
    for parameter in parameters {
        let bound = match scope.bind(parameter) {
            Ok((bound, _)) => bound,
            Err(Stop::Error(error)) => return Err(error),
            Err(Stop::Relational) => return Err(SqlError::unsupported("this expression in EXECUTE")),
        };
        if !scope.parameters.finish().is_empty() {
            return Err(SqlError::new(SqlState::UndefinedParameter, "there is no parameter $1"));
        }
        values.push(bound.evaluate(&[], &[], &constant)?);
    }
    let command = SessionCommand::Execute { name: name.to_owned(), parameters: values };
    Ok(Planned::command(Plan::Session(command), "EXECUTE"))
}
