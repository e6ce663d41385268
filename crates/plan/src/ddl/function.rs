//! What ALTER and DROP FUNCTION name and do.

use perigee_types::{Oid, SqlType};

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
}
