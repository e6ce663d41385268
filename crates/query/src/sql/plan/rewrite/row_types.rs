//! `jsonb_populate_recordset(NULL::t, …)` in FROM: the row type of a table stands for a column definition list.

use perigee_types::SqlResult;
use perigee_types::catalog::Object;
use sqlparser::ast::{
    DataType, Expr, FunctionArg, FunctionArgExpr, Ident, ObjectName, TableAlias, TableAliasColumnDef, TableFactor,
    TableWithJoins, Value,
};

use super::super::names;
use super::domains;
use crate::sql::context::PlanContext;
use crate::sql::parse::fold;

const FUNCTIONS: &[&str] =
    &["json_populate_record", "jsonb_populate_record", "json_populate_recordset", "jsonb_populate_recordset"];

/// Gives calls that name a table's row type its columns as a definition list.
///
/// # Errors
/// `0A000` for a column whose type cannot be written.
pub(super) fn define(from: &mut [TableWithJoins], context: &PlanContext) -> SqlResult<()> {
    for table in from {
        factor(&mut table.relation, context)?;
        for join in &mut table.joins {
            factor(&mut join.relation, context)?;
        }
    }
    Ok(())
}

fn factor(factor: &mut TableFactor, context: &PlanContext) -> SqlResult<()> {
    let (name, args, alias) = match factor {
        TableFactor::Table { name, args: Some(args), alias, .. } => (name, &mut args.args, alias),
        TableFactor::Function { name, args, alias, .. } => (name, args, alias),
        _ => return Ok(()),
    };
    let function = fold(names::last_ident(name)?);
    // Names of the alias are those of the definition list: the table's would be lost.
    let is_named = alias.as_ref().is_some_and(|alias| !alias.columns.is_empty());
    let Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Cast { expr, data_type, .. }))) = args.first_mut() else {
        return Ok(());
    };
    let is_null = matches!(expr.as_ref(), Expr::Value(value) if value.value == Value::Null);
    let DataType::Custom(row_type, modifiers) = &*data_type else { return Ok(()) };
    if is_named || !is_null || !modifiers.is_empty() || !FUNCTIONS.contains(&function.as_str()) {
        return Ok(());
    }
    let Some(Object::Table(table)) = names::find(&names::qualified(row_type, context)?, context) else {
        return Ok(());
    };
    let columns = table.visible_columns().iter().map(|column| {
        let name = Ident::with_quote('"', &column.name);
        Ok(TableAliasColumnDef { name, data_type: Some(domains::written(&column.ty)?) })
    });
    let columns = columns.collect::<SqlResult<Vec<_>>>()?;
    *data_type = DataType::Custom(ObjectName::from(vec![Ident::new("record")]), Vec::new());
    let name = Ident::with_quote('"', function);
    alias.get_or_insert_with(|| TableAlias { explicit: true, name, columns: Vec::new(), at: None }).columns = columns;
    Ok(())
}
