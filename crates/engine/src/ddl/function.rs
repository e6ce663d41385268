//! CREATE, ALTER and DROP FUNCTION.
//!
//! Statements hold the bodies of the functions that they call, so nothing depends on a function but texts in the catalog: those of
//! views, defaults, CHECK constraints and indexes are planned anew whenever they are used, and so keep their functions.

use std::sync::Arc;

use perigee_plan::ddl::{FunctionChange, FunctionName};
use perigee_types::acl::{AclKind, Privileges};
use perigee_types::catalog::{AmbiguousFunction, Catalog, CatalogChange, ColumnDefault, Domain, Function, Object};
use perigee_types::{SqlError, SqlResult, SqlState};

use super::Oids;
use crate::privileges::require;
use crate::session::Session;

impl Session {
    pub(super) fn create_function(&mut self, function: &Function, replace: bool) -> SqlResult<()> {
        let catalog = self.latest_catalog();
        let same = |old: &&Arc<Function>| types(old).eq(types(function));
        let old = catalog.functions(function.schema, &function.name).find(same).cloned();
        let mut new = Function { tenant: self.tenant, owner: self.current_role(), ..function.clone() };
        match old {
            None => {
                let count = function.parameters.len();
                let mut others = catalog.functions(function.schema, &function.name);
                if others.any(|other| other.parameters.len() == count) {
                    let what = "two functions of one name and number of parameters";
                    return Err(SqlError::unsupported(what));
                }
                new.oid = Oids::new(&catalog).next();
                new.acl = self.acl_of_new(AclKind::Function, Some(function.schema));
            }
            Some(_) if !replace => {
                let text = format!("function \"{}\" already exists with same argument types", function.name);
                return Err(SqlError::new(SqlState::DuplicateFunction, text));
            }
            Some(old) => {
                let identity = self.identity(&catalog);
                self.require_owner(&catalog, &identity.rights, &Object::Function(old.clone()))?;
                check_replacement(&old, function)?;
                new.oid = old.oid;
                new.owner = old.owner;
                new.acl.clone_from(&old.acl);
                new.comment.clone_from(&old.comment);
            }
        }
        self.change(vec![CatalogChange::Put(Object::Function(Arc::new(new)))])
    }

    pub(super) fn drop_functions(&mut self, names: &[FunctionName], if_exists: bool, cascade: bool) -> SqlResult<()> {
        let mut gone = Vec::with_capacity(names.len());
        for name in names {
            let catalog = self.latest_catalog();
            match self.function_named(&catalog, name)? {
                Some(function) => {
                    let identity = self.identity(&catalog);
                    let object = Object::Function(function.clone());
                    let schema = catalog.object(function.schema);
                    if !schema.is_some_and(|schema| identity.rights.owns(schema, &catalog)) {
                        self.require_owner(&catalog, &identity.rights, &object)?;
                    }
                    if let Some(user) = user_of(&catalog, &function) {
                        let on = format!("function {}", signature(&function));
                        if cascade {
                            let what = format!("DROP FUNCTION … CASCADE, where {user} uses it,");
                            return Err(SqlError::unsupported(what));
                        }
                        return Err(SqlError::new(
                            SqlState::DependentObjectsStillExist,
                            format!("cannot drop {on} because other objects depend on it"),
                        )
                        .detail(format!("{user} depends on {on}"))
                        .hint("Use DROP ... CASCADE to drop the dependent objects too."));
                    }
                    gone.push(CatalogChange::Remove(function.oid));
                }
                None if if_exists => self.notify(format!("function {} does not exist, skipping", name.signature())),
                None => return Err(name.undefined()),
            }
        }
        self.change(gone)
    }

    pub(super) fn alter_function(&mut self, name: &FunctionName, change: &FunctionChange) -> SqlResult<()> {
        let catalog = self.latest_catalog();
        let old = self.function_named(&catalog, name)?.ok_or_else(|| name.undefined())?;
        let identity = self.identity(&catalog);
        self.require_owner(&catalog, &identity.rights, &Object::Function(old.clone()))?;
        let mut new = Function::clone(&old);
        match change {
            FunctionChange::Rename(to) => {
                if let Some(schema) = catalog.object(old.schema) {
                    require(&identity.rights, schema, Privileges::CREATE, None)?;
                }
                new.name.clone_from(to);
            }
            FunctionChange::SetSchema(to) => new.schema = *to,
            FunctionChange::Owner(to) => {
                self.check_new_owner(&catalog, &identity, to, Some(old.schema))?;
                let owner = self.named_role(&catalog, to)?.oid;
                return self.change(vec![CatalogChange::Put(Object::Function(old).with_owner(owner))]);
            }
            FunctionChange::Comment(text) => new.comment.clone_from(text),
        }
        if (new.schema, &new.name) != (old.schema, &old.name) {
            if let Some(user) = user_of(&catalog, &old) {
                let what = format!("a new name or schema for a function that {user} uses");
                return Err(SqlError::unsupported(what));
            }
            let count = new.parameters.len();
            if catalog.functions(new.schema, &new.name).any(|other| other.parameters.len() == count) {
                let schema = catalog.object(new.schema).map(Object::name).unwrap_or_default();
                let text = format!("function {} already exists in schema \"{schema}\"", signature(&new));
                return Err(SqlError::new(SqlState::DuplicateFunction, text));
            }
        }
        self.change(vec![CatalogChange::Put(Object::Function(Arc::new(new)))])
    }

    /// The function that a statement names, by the search path where it names no schema.
    ///
    /// # Errors
    /// `42725` where several have the name and their parameters are not written.
    fn function_named(&self, catalog: &Catalog, name: &FunctionName) -> SqlResult<Option<Arc<Function>>> {
        let path = name.path(&self.search_path(catalog).schemas);
        catalog
            .function_named(self.tenant, &path, &name.name, name.oids())
            .map_err(|AmbiguousFunction| name.ambiguous())
    }
}

/// The oids of the types of a function's parameters.
fn types(function: &Function) -> impl Iterator<Item = u32> {
    function.parameters.iter().map(|parameter| parameter.ty.oid())
}

/// What tells it from other functions of its name.
pub(super) fn signature(function: &Function) -> String {
    let types: Vec<String> = function.parameters.iter().map(|parameter| parameter.ty.to_string()).collect();
    format!("{}({})", function.name, types.join(","))
}

/// What OR REPLACE leaves as it is: the result's type, the names of parameters, and defaults.
fn check_replacement(old: &Function, new: &Function) -> SqlResult<()> {
    let invalid = |text: String| {
        let hint = format!("Use DROP FUNCTION {} first.", signature(old));
        Err(SqlError::new(SqlState::InvalidFunctionDefinition, text).hint(hint))
    };
    if old.returns != new.returns {
        return invalid("cannot change return type of existing function".to_owned());
    }
    for (old, new) in old.parameters.iter().zip(&new.parameters) {
        if let Some(name) = &old.name
            && new.name.as_ref() != Some(name)
        {
            return invalid(format!("cannot change name of input parameter \"{name}\""));
        }
        if old.default.is_some() && new.default.is_none() {
            return invalid("cannot remove parameter defaults from existing function".to_owned());
        }
    }
    Ok(())
}

/// An object whose text in the catalog calls a function of this name.
fn user_of(catalog: &Catalog, function: &Function) -> Option<String> {
    let calls = |text: &str| perigee_query::sql::text_calls(text, &function.name);
    catalog.objects().find_map(|object| {
        let is_user = match object {
            Object::View(view) => calls(&view.query),
            Object::Index(index) => {
                let expressions = index.definition.keys.iter().filter_map(|key| key.expression.as_ref());
                expressions.chain(index.definition.predicate.as_ref()).any(|text| calls(text))
            }
            Object::Table(table) => {
                let of_columns = table.columns.iter().filter_map(|column| match &column.default {
                    Some(ColumnDefault::Expression(text) | ColumnDefault::Generated(text)) => Some(text),
                    _ => None,
                });
                let query = table.materialized.as_ref().map(|materialized| &materialized.query);
                of_columns
                    .chain(table.checks.iter().map(|check| &check.expression))
                    .chain(query)
                    .any(|text| calls(text))
            }
            Object::Type(ty) => {
                let of_domain = |domain: &Domain| {
                    domain.checks.iter().map(|check| &check.expression).chain(&domain.default).any(|text| calls(text))
                };
                ty.calls() == Some(function.oid) || ty.kind.as_domain().is_some_and(of_domain)
            }
            Object::Function(other) => {
                other.parameters.iter().filter_map(|parameter| parameter.default.as_ref()).any(|text| calls(text))
            }
            _ => false,
        };
        (is_user && object.oid() != function.oid)
            .then(|| format!("{} {}", crate::privileges::noun(object), object.name()))
    })
}
