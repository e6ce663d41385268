//! What ALTER and DROP FUNCTION name and do.

use perigee_types::{Oid, SqlError, SqlState, SqlType};

use crate::role::RoleName;

/// A function as a statement names it.
#[derive(Clone, Debug, PartialEq)]
pub struct FunctionName {
    /// Its schema, where one was written.
    pub schema: Option<String>,
    /// Its name.
    pub name: String,
    /// The types of its parameters, where they were written.
    pub parameters: Option<Vec<SqlType>>,
}

/// What ALTER FUNCTION and COMMENT ON FUNCTION do.
#[derive(Clone, Debug, PartialEq)]
pub enum FunctionChange {
    /// RENAME TO
    Rename(String),
    /// SET SCHEMA
    SetSchema(Oid),
    /// OWNER TO
    Owner(RoleName),
    /// COMMENT ON FUNCTION
    Comment(Option<String>),
}

impl FunctionName {
    /// As errors name it: `f(integer, text)`.
    #[must_use]
    pub fn signature(&self) -> String {
        let schema = self.schema.as_ref().map(|schema| format!("{schema}.")).unwrap_or_default();
        let types = self.parameters.iter().flatten().map(ToString::to_string).collect::<Vec<_>>();
        format!("{schema}{}({})", self.name, types.join(", "))
    }

    /// The schemas that it may be in, in order.
    #[must_use]
    pub fn path(&self, search_path: &[String]) -> Vec<String> {
        self.schema.as_ref().map_or_else(|| search_path.to_vec(), |schema| vec![schema.clone()])
    }

    /// The oids of the types of its parameters, where they were written.
    #[must_use]
    pub fn oids(&self) -> Option<Vec<u32>> {
        self.parameters.as_ref().map(|types| types.iter().map(SqlType::oid).collect())
    }

    /// `42883`
    #[must_use]
    pub fn undefined(&self) -> SqlError {
        let text = match self.parameters {
            None => format!("could not find a function named \"{}\"", self.name),
            Some(_) => format!("function {} does not exist", self.signature()),
        };
        SqlError::new(SqlState::UndefinedFunction, text)
    }

    /// `42725`
    #[must_use]
    pub fn ambiguous(&self) -> SqlError {
        let text = format!("function name \"{}\" is not unique", self.name);
        SqlError::new(SqlState::AmbiguousFunction, text)
            .hint("Specify the argument list to select the function unambiguously.")
    }
}
