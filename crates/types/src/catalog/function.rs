//! Functions that users make: a query of SQL with parameters.

use serde::{Deserialize, Serialize};

use crate::acl::Acl;
use crate::ids::{Oid, TenantId};
use crate::sql_type::SqlType;

/// What a function says of its results for the same arguments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Volatility {
    /// They never change.
    Immutable,
    /// They do not change within a statement.
    Stable,
    /// They may differ from call to call.
    #[default]
    Volatile,
}

impl Volatility {
    /// `provolatile`
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Volatility::Immutable => "i",
            Volatility::Stable => "s",
            Volatility::Volatile => "v",
        }
    }

    /// Its word in SQL.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Volatility::Immutable => "IMMUTABLE",
            Volatility::Stable => "STABLE",
            Volatility::Volatile => "VOLATILE",
        }
    }
}

/// Whether a function may run beside others. Kept and shown: nothing here depends on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Parallel {
    /// SAFE
    Safe,
    /// RESTRICTED
    Restricted,
    /// UNSAFE
    #[default]
    Unsafe,
}

impl Parallel {
    /// `proparallel`
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Parallel::Safe => "s",
            Parallel::Restricted => "r",
            Parallel::Unsafe => "u",
        }
    }

    /// Its word in SQL.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Parallel::Safe => "SAFE",
            Parallel::Restricted => "RESTRICTED",
            Parallel::Unsafe => "UNSAFE",
        }
    }
}

/// A parameter of a function.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Parameter {
    /// Its name, where it has one.
    pub name: Option<String>,
    /// Its type, without a modifier.
    pub ty: SqlType,
    /// What it is where the call does not say: an SQL expression.
    #[serde(default)]
    pub default: Option<String>,
}

/// What a function gives.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Returns {
    /// One value.
    Value(SqlType),
    /// SETOF: rows of one column.
    Set(SqlType),
    /// TABLE: rows with these columns.
    Table(Vec<(String, SqlType)>),
}

impl Returns {
    /// The types of its columns.
    pub fn types(&self) -> impl Iterator<Item = &SqlType> {
        let (one, many) = match self {
            Returns::Value(ty) | Returns::Set(ty) => (Some(ty), &[][..]),
            Returns::Table(columns) => (None, columns.as_slice()),
        };
        one.into_iter().chain(many.iter().map(|(_, ty)| ty))
    }
}

/// A name that several functions have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AmbiguousFunction;

/// A function that a user made, in language `sql`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Function {
    /// Its oid.
    pub oid: Oid,
    /// Its tenant.
    pub tenant: TenantId,
    /// Its schema.
    pub schema: Oid,
    /// Its name.
    pub name: String,
    /// The role that owns it.
    pub owner: Oid,
    /// Who may call it, where something was granted or revoked.
    #[serde(default)]
    pub acl: Option<Acl>,
    /// Its parameters, in order.
    pub parameters: Vec<Parameter>,
    /// What it gives.
    pub returns: Returns,
    /// Its body: the text of one SELECT, whose names mean what they mean to the caller.
    pub source: String,
    /// What it says of its results.
    #[serde(default)]
    pub volatility: Volatility,
    /// Whether it is NULL where an argument is, without a look at its body.
    #[serde(default)]
    pub strict: bool,
    /// Whether it may run beside others.
    #[serde(default)]
    pub parallel: Parallel,
    /// Comment.
    #[serde(default)]
    pub comment: Option<String>,
}

impl Function {
    /// Whether a call with so many arguments may mean it: the last parameters may have defaults.
    #[must_use]
    pub fn takes(&self, arguments: usize) -> bool {
        let needed = self.parameters.iter().filter(|parameter| parameter.default.is_none()).count();
        (needed..=self.parameters.len()).contains(&arguments)
    }

    /// Whether its parameters have the types of these oids.
    #[must_use]
    pub fn has_types(&self, oids: &[u32]) -> bool {
        self.parameters.iter().map(|parameter| parameter.ty.oid()).eq(oids.iter().copied())
    }

    /// The types that users made and that it names.
    pub fn user_types(&self) -> impl Iterator<Item = Oid> {
        let parameters = self.parameters.iter().map(|parameter| &parameter.ty);
        parameters.chain(self.returns.types()).filter_map(SqlType::user_type)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_let_arguments_away() {
        let parameter =
            |default: Option<&str>| Parameter { name: None, ty: SqlType::Int4, default: default.map(str::to_owned) };
        let function = Function {
            oid: Oid(20_000),
            tenant: TenantId(1),
            schema: Oid(2200),
            name: "f".to_owned(),
            owner: Oid(10),
            acl: None,
            parameters: vec![parameter(None), parameter(Some("1"))],
            returns: Returns::Value(SqlType::Int4),
            source: "select $1 + $2".to_owned(),
            volatility: Volatility::default(),
            strict: false,
            parallel: Parallel::default(),
            comment: None,
        };
        assert_eq!([0, 1, 2, 3].map(|arguments| function.takes(arguments)), [false, true, true, false]);
    }
}
