//! Columns of the other tables of UPDATE … FROM and DELETE … USING that RETURNING names.
//!
//! RETURNING is planned over one relation, the rows of the table. So a column of another table becomes a hidden column of
//! that relation, and the names in the clause are written as its name.

use std::ops::ControlFlow;

use perigee_types::{SqlError, SqlResult, SqlState, SqlType};
use sqlparser::ast::{
    self, Expr, Ident, Query, SelectItem, SelectItemQualifiedWildcardKind, TableWithJoins, VisitMut, VisitorMut,
};

use super::columns::expression_name;
use super::parameters::Parameters;
use super::point::Target;
use super::update::qualified;
use super::{names, query, returning};
use crate::sql::context::PlanContext;
use crate::sql::parse::fold;

/// The system column of a row's last writer.
const XMAX: &str = "xmax";

/// A column of another table.
#[derive(Clone, Debug)]
pub(super) struct Column {
    pub(super) table: Option<String>,
    pub(super) name: String,
    pub(super) ty: SqlType,
}

impl Column {
    /// Its name in the relation that RETURNING is planned over.
    fn hidden(&self) -> String {
        format!("{}\u{1}{}", self.name, self.table.as_deref().unwrap_or_default())
    }

    /// Its name in the statement's query.
    pub(super) fn expression(&self) -> Expr {
        match &self.table {
            Some(table) => qualified(table, &self.name),
            None => Expr::Identifier(Ident::with_quote('"', &self.name)),
        }
    }
}

/// A RETURNING clause with what it wants of other tables.
pub(super) struct Returning {
    pub(super) items: Option<Vec<SelectItem>>,
    /// The columns that it names.
    pub(super) others: Vec<Column>,
}

impl Returning {
    /// The clause over the target alone.
    pub(super) fn plain(items: Option<&[SelectItem]>) -> Self {
        Self { items: items.map(<[SelectItem]>::to_vec), others: Vec::new() }
    }

    /// The clause of an INSERT: `xmax` is 0 in rows that are new, and a transaction's number in those that ON CONFLICT has
    /// updated. Applications ask for it to tell them apart.
    ///
    /// # Errors
    /// What PostgreSQL's analysis would refuse.
    pub(super) fn of_insert(items: Option<&[SelectItem]>, target: &Target) -> SqlResult<Self> {
        let Some(items) = items.filter(|_| names_xmax(items, target)) else { return Ok(Self::plain(items)) };
        let table = Some(target.known_as.clone());
        let all = [Column { table, name: XMAX.to_owned(), ty: SqlType::Xid }];
        let mut rename = Rename { target, all: &all, used: Vec::new(), depth: 0 };
        let mut renamed = Vec::with_capacity(items.len());
        for item in items {
            match item {
                SelectItem::Wildcard(_) => rename.own(&mut renamed),
                other => rename.item(other, &mut renamed)?,
            }
        }
        Ok(Self { items: Some(renamed), others: all.to_vec() })
    }

    /// The clause of a statement whose query also reads `from`.
    ///
    /// # Errors
    /// What PostgreSQL's analysis would refuse.
    pub(super) fn over(
        items: Option<&[SelectItem]>,
        target: &Target,
        from: &[TableWithJoins],
        with: Option<&ast::With>,
        context: &PlanContext,
    ) -> SqlResult<Self> {
        let Some(items) = items.filter(|_| !from.is_empty()) else { return Ok(Self::plain(items)) };
        let all = columns(from, with, context)?;
        let mut rename = Rename { target, all: &all, used: Vec::new(), depth: 0 };
        let mut renamed = Vec::with_capacity(items.len());
        for item in items {
            rename.item(item, &mut renamed)?;
        }
        let others = rename.used.iter().filter_map(|place| all.get(*place).cloned()).collect();
        Ok(Self { items: Some(renamed), others })
    }

    /// The columns of other tables, as the write says them.
    pub(super) fn fields(&self) -> Vec<(String, SqlType)> {
        self.others.iter().map(|column| (column.hidden(), column.ty.clone())).collect()
    }

    /// They in the select list of the statement's query.
    pub(super) fn selected(&self) -> impl Iterator<Item = SelectItem> {
        self.others.iter().enumerate().map(|(place, column)| SelectItem::ExprWithAlias {
            expr: column.expression(),
            alias: Ident::with_quote('"', format!("other\u{1}{place}")),
        })
    }
}

/// Whether a RETURNING clause names `xmax`, and the table has no such column of its own.
pub(super) fn names_xmax(items: Option<&[SelectItem]>, target: &Target) -> bool {
    if target.through.is_some() || target.is_keys() || target.visible_names().contains(&XMAX) {
        return false;
    }
    let is_xmax = |expr: &Expr| match expr {
        Expr::Identifier(name) => fold(name) == XMAX,
        Expr::CompoundIdentifier(parts) => parts.last().is_some_and(|name| fold(name) == XMAX),
        _ => false,
    };
    let found = ast::visit_expressions(&items.map(<[SelectItem]>::to_vec), |expr| match is_xmax(expr) {
        true => ControlFlow::Break(()),
        false => ControlFlow::Continue(()),
    });
    found.is_break()
}

/// The columns of relations in FROM.
///
/// # Errors
/// What planning the relations gives.
pub(super) fn columns(
    from: &[TableWithJoins],
    with: Option<&ast::With>,
    context: &PlanContext,
) -> SqlResult<Vec<Column>> {
    let all = vec![SelectItem::Wildcard(ast::WildcardAdditionalOptions::default())];
    let mut read = returning::select_query(all, from.to_vec(), None);
    read.with = with.cloned();
    let planned = query::relational(read, context, Parameters::declared(context.declared), None)?;
    let columns = planned.logical.schema().iter().map(|(qualifier, field)| Column {
        table: qualifier.map(|qualifier| qualifier.table().to_owned()),
        name: field.name().clone(),
        ty: match SqlType::of_field(field) {
            SqlType::Unknown => SqlType::Text,
            ty => ty,
        },
    });
    Ok(columns.collect())
}

struct Rename<'a> {
    target: &'a Target,
    all: &'a [Column],
    /// Places of the columns that were named, in their order in the relation.
    used: Vec<usize>,
    /// Subqueries around.
    depth: usize,
}

impl Rename<'_> {
    fn item(&mut self, item: &SelectItem, into: &mut Vec<SelectItem>) -> SqlResult<()> {
        match item {
            SelectItem::Wildcard(_) => {
                self.own(into);
                (0..self.all.len()).for_each(|place| self.other(place, into));
            }
            SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), _) => {
                let wanted = fold(names::last_ident(name)?);
                if wanted == self.target.known_as {
                    self.own(into);
                    return Ok(());
                }
                let before = into.len();
                for place in 0..self.all.len() {
                    if self.all[place].table.as_deref() == Some(&wanted) {
                        self.other(place, into);
                    }
                }
                if into.len() == before {
                    return Err(SqlError::new(
                        SqlState::UndefinedTable,
                        format!("missing FROM-clause entry for table \"{wanted}\""),
                    ));
                }
            }
            SelectItem::UnnamedExpr(expr) => {
                let alias = Ident::with_quote('"', expression_name(expr));
                into.push(SelectItem::ExprWithAlias { expr: self.expr(expr)?, alias });
            }
            SelectItem::ExprWithAlias { expr, alias } => {
                into.push(SelectItem::ExprWithAlias { expr: self.expr(expr)?, alias: alias.clone() });
            }
            other => into.push(other.clone()),
        }
        Ok(())
    }

    fn own(&self, into: &mut Vec<SelectItem>) {
        let names = self.target.visible_names().into_iter();
        into.extend(names.map(|name| SelectItem::UnnamedExpr(qualified(&self.target.known_as, name))));
    }

    fn other(&mut self, place: usize, into: &mut Vec<SelectItem>) {
        let alias = Ident::with_quote('"', &self.all[place].name);
        into.push(SelectItem::ExprWithAlias { expr: self.hidden(place), alias });
    }

    fn hidden(&mut self, place: usize) -> Expr {
        if !self.used.contains(&place) {
            self.used.push(place);
        }
        qualified(&self.target.known_as, &self.all[place].hidden())
    }

    fn expr(&mut self, expr: &Expr) -> SqlResult<Expr> {
        let mut expr = expr.clone();
        match expr.visit(self) {
            ControlFlow::Continue(()) => Ok(expr),
            ControlFlow::Break(error) => Err(error),
        }
    }
}

impl VisitorMut for Rename<'_> {
    type Break = SqlError;

    fn pre_visit_query(&mut self, _query: &mut Query) -> ControlFlow<SqlError> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _query: &mut Query) -> ControlFlow<SqlError> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<SqlError> {
        let found = match expr {
            Expr::CompoundIdentifier(parts) => {
                let [qualifier, column] = parts.as_slice() else { return ControlFlow::Continue(()) };
                let (qualifier, column) = (fold(qualifier), fold(column));
                self.all.iter().position(|c| c.table.as_deref() == Some(&qualifier) && c.name == column)
            }
            // In a subquery the name may mean another table's.
            Expr::Identifier(ident) if self.depth == 0 => {
                let name = fold(ident);
                let mut places = (0..self.all.len()).filter(|place| self.all[*place].name == name);
                let (first, second) = (places.next(), places.next());
                if second.is_some() || (first.is_some() && self.target.visible_names().contains(&name.as_str())) {
                    let text = format!("column reference \"{name}\" is ambiguous");
                    return ControlFlow::Break(SqlError::new(SqlState::AmbiguousColumn, text));
                }
                first
            }
            _ => None,
        };
        if let Some(place) = found {
            *expr = self.hidden(place);
        }
        ControlFlow::Continue(())
    }
}
