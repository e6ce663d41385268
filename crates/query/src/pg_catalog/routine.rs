//! Functions of users as the SQL that makes them.

use perigee_types::catalog::{Function, Parallel, Returns, Volatility};
use perigee_types::{Oid, SqlType};

use super::deparse::quote_ident;
use super::functions::type_name;
use super::scope::Scope;

/// `CREATE OR REPLACE FUNCTION …`
pub(super) fn definition(scope: &Scope, function: &Function) -> String {
    let (schema, name) = (quote_ident(scope.schema_name(function.schema)), quote_ident(&function.name));
    let mut options = String::new();
    if function.volatility != Volatility::Volatile {
        options.push_str(&format!(" {}", function.volatility.word()));
    }
    if function.parallel != Parallel::Unsafe {
        options.push_str(&format!(" PARALLEL {}", function.parallel.word()));
    }
    if function.strict {
        options.push_str(" STRICT");
    }
    if !options.is_empty() {
        options.push('\n');
    }
    // A quote that does not stand in the body.
    let mut quote = "$function$".to_owned();
    while function.source.contains(quote.trim_end_matches('$')) {
        quote.insert(quote.len() - 1, 'x');
    }
    format!(
        "CREATE OR REPLACE FUNCTION {schema}.{name}({})\n RETURNS {}\n LANGUAGE sql\n{options}AS {quote}{}{quote}\n",
        arguments(scope, function, true),
        result(scope, function),
        function.source,
    )
}

/// Its parameters, as in CREATE FUNCTION; with their defaults or without.
pub(super) fn arguments(scope: &Scope, function: &Function, defaults: bool) -> String {
    let parameters = function.parameters.iter().map(|parameter| {
        let name = parameter.name.as_ref().map(|name| format!("{} ", quote_ident(name))).unwrap_or_default();
        let default = parameter.default.as_ref().filter(|_| defaults);
        let default =
            default.map(|default| format!(" DEFAULT {}", super::deparse::default(scope, default, &parameter.ty)));
        format!("{name}{}{}", named(scope, &parameter.ty), default.unwrap_or_default())
    });
    parameters.collect::<Vec<_>>().join(", ")
}

/// What it gives, as behind RETURNS.
pub(super) fn result(scope: &Scope, function: &Function) -> String {
    match &function.returns {
        Returns::Value(ty) => named(scope, ty),
        Returns::Set(ty) => format!("SETOF {}", named(scope, ty)),
        Returns::Table(columns) => {
            let columns = columns.iter().map(|(name, ty)| format!("{} {}", quote_ident(name), named(scope, ty)));
            format!("TABLE({})", columns.collect::<Vec<_>>().join(", "))
        }
    }
}

fn named(scope: &Scope, ty: &SqlType) -> String {
    match ty {
        SqlType::Char(_) => "character".to_owned(),
        ty => type_name(scope, Oid(ty.oid())),
    }
}
