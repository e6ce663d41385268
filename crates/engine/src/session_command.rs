//! SET, SHOW, RESET, DISCARD, PREPARE, EXECUTE, DEALLOCATE.

use perigee_plan::Prepared;
use perigee_plan::command::{Discard, SessionCommand};
use perigee_query::sql;
use perigee_types::{SqlError, SqlResult, SqlState, SqlType, Value};

use crate::api::{CommandTag, Outcome, RowBlock, RowStream};
use crate::session::Session;
use crate::settings::DEFINITIONS;

impl Session {
    pub(crate) async fn session_command(
        &mut self,
        prepared: &Prepared,
        command: &SessionCommand,
    ) -> SqlResult<Outcome> {
        match command {
            SessionCommand::Set { name, value, local } => self.set(name, value.as_deref(), *local)?,
            SessionCommand::Show(name) => {
                let value = self.show(name)?;
                return Ok(rows(prepared, vec![vec![Value::Text(value)]]));
            }
            SessionCommand::ShowAll => {
                let all = DEFINITIONS
                    .iter()
                    .map(|d| {
                        let value = self.show(d.name).unwrap_or_default();
                        vec![Value::Text(d.name.to_owned()), Value::Text(value), Value::Text(d.description.to_owned())]
                    })
                    .collect();
                return Ok(rows(prepared, all));
            }
            SessionCommand::Reset(Some(name)) => self.set(name, None, false)?,
            SessionCommand::Reset(None) => self.reset_all()?,
            SessionCommand::Discard(what) => self.discard(*what)?,
            SessionCommand::Prepare { name, parameters, statement } => {
                self.prepare(name, parameters, statement).await?;
            }
            SessionCommand::Execute { name, parameters } => return self.execute_prepared(name, parameters).await,
            SessionCommand::Deallocate(Some(name)) => {
                if !self.has_statement(name) {
                    return Err(SqlError::new(
                        SqlState::InvalidSqlStatementName,
                        format!("prepared statement \"{name}\" does not exist"),
                    ));
                }
                self.close_statement(name);
            }
            SessionCommand::Deallocate(None) => self.close_all_statements(),
        }
        Ok(Outcome::Command(CommandTag { name: prepared.tag, rows: None }))
    }

    fn discard(&mut self, what: Discard) -> SqlResult<()> {
        match what {
            Discard::All => {
                if self.transaction.as_ref().is_some_and(|t| t.explicit) {
                    return Err(SqlError::new(
                        SqlState::ActiveSqlTransaction,
                        "DISCARD ALL cannot run inside a transaction block",
                    ));
                }
                self.close_all_statements();
                self.services.forget();
                self.reset_all()
            }
            Discard::Sequences => {
                self.services.forget();
                Ok(())
            }
            // Plans are shared by all sessions and checked at each use; temporary tables do not exist.
            Discard::Plans | Discard::Temp => Ok(()),
        }
    }

    async fn prepare(&mut self, name: &str, declared: &[Option<SqlType>], text: &str) -> SqlResult<()> {
        let parsed = sql::parse(text)?;
        let [parsed] = parsed.as_slice() else {
            return Err(SqlError::syntax("PREPARE takes one statement"));
        };
        if self.has_statement(name) {
            return Err(SqlError::new(
                SqlState::DuplicatePreparedStatement,
                format!("prepared statement \"{name}\" already exists"),
            ));
        }
        let statement = self.plan_unlifted(parsed, declared)?;
        self.put_statement(name, statement)
    }

    async fn execute_prepared(&mut self, name: &str, parameters: &[Value]) -> SqlResult<Outcome> {
        let statement = self.get_statement(name)?;
        let wanted = &statement.prepared.parameters;
        if parameters.len() != wanted.len() {
            return Err(SqlError::syntax(format!("wrong number of parameters for prepared statement \"{name}\""))
                .detail(format!("Expected {} parameters but got {}.", wanted.len(), parameters.len())));
        }
        let settings = self.output_settings();
        let mut values = Vec::with_capacity(parameters.len());
        for (value, ty) in parameters.iter().zip(wanted) {
            values.push(convert(value, ty, &settings)?);
        }
        self.run(&statement.prepared, &values).await
    }
}

/// A value written in EXECUTE as the type that the statement wants.
fn convert(value: &Value, ty: &SqlType, settings: &perigee_types::text::OutputSettings) -> SqlResult<Value> {
    let from = match value {
        Value::Null => return Ok(Value::Null),
        Value::Text(text) => return perigee_types::text::parse(text, ty),
        Value::Bool(_) => SqlType::Bool,
        Value::Int2(_) => SqlType::Int2,
        Value::Int4(_) => SqlType::Int4,
        Value::Int8(_) => SqlType::Int8,
        Value::Float4(_) => SqlType::Float4,
        Value::Float8(_) => SqlType::Float8,
        Value::Numeric(..) => SqlType::Numeric(None),
        _ => return Ok(value.clone()),
    };
    if from == *ty {
        return Ok(value.clone());
    }
    perigee_types::text::parse(&perigee_types::text::format(value, &from, settings), ty)
}

fn rows(prepared: &Prepared, rows: Vec<Vec<Value>>) -> Outcome {
    let columns = prepared.columns.clone().unwrap_or_else(|| Vec::new().into());
    Outcome::Rows(columns, RowStream::ready(prepared.tag, RowBlock::Values(rows)))
}
