//! What a statement needs the current role to be allowed.
//!
//! Reads are taken from the plan: its scans say which columns. What a write does to its table is taken from its text,
//! because the plan of an UPDATE reads whole rows whether or not the statement looks at them.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::logical_expr::{LogicalPlan, TableScan};
use perigee_plan::relational::{ConflictAction, ConflictValues, WithMain, Write, WriteKind};
use perigee_plan::{Copy, Ddl, Need, Plan, Point, Query, SessionCommand};
use perigee_types::Oid;
use perigee_types::acl::Privileges;
use perigee_types::catalog::{Object, Table};
use sqlparser::ast::{
    self, AssignmentTarget, ConflictTarget, Expr, FromTable, MergeAction, MergeClauseKind, ObjectName,
    OnConflictAction, OnInsert, SelectItem, SetExpr, Statement, TableFactor, TableObject, Visit, Visitor,
};

use super::view_target::{Relations, Verb};
use super::{names, point};
use crate::exec::{finds_written_rows, scanned_table};
use crate::sql::context::PlanContext;
use crate::sql::parse::{CONFLICT_TARGET, fold, parse_expression};

/// Columns of one object: all of it, or these.
#[derive(Default)]
struct Columns {
    whole: bool,
    numbers: BTreeSet<u16>,
}

/// The needs of one statement: one for each object and privilege.
#[derive(Default)]
struct Needs {
    own: BTreeMap<(Oid, &'static str), (Privileges, Columns)>,
    /// What the owners of views need.
    others: Vec<Need>,
}

impl Needs {
    fn add(&mut self, object: Oid, privilege: Privileges, columns: Option<&BTreeSet<u16>>) {
        let name = privilege.names().next().unwrap_or_default();
        let (_, known) = self.own.entry((object, name)).or_insert_with(|| (privilege, Columns::default()));
        match columns {
            None => known.whole = true,
            Some(columns) => known.numbers.extend(columns),
        }
    }

    /// What only subqueries of views read (whose rights count, and what) is their owners' matter, unless the statement names it.
    fn give_to_owners(&mut self, queried: &[(Oid, Oid)], named: &[Oid]) {
        let select = Privileges::SELECT.names().next().unwrap_or_default();
        for (owner, object) in queried.iter().filter(|(_, object)| !named.contains(object)) {
            self.own.remove(&(*object, select));
            let (object, privileges) = (*object, Privileges::SELECT);
            self.others.push(Need { object, privileges, columns: None, by: Some(*owner) });
        }
    }

    fn finish(self) -> Vec<Need> {
        let need = |((object, _), (privileges, columns)): ((Oid, _), (Privileges, Columns))| {
            let columns = (!columns.whole).then(|| columns.numbers.into_iter().collect());
            Need { object, privileges, columns, by: None }
        };
        let mut needs: Vec<Need> = self.own.into_iter().map(need).collect();
        needs.extend(self.others);
        needs
    }
}

/// What `plan`, made of `statement`, needs.
pub(super) fn needs(statement: Option<&Statement>, plan: &Plan, context: &PlanContext) -> Vec<Need> {
    let mut needs = Needs::default();
    named(&mut needs, context);
    match plan {
        Plan::Explain(explain) => return explain.statement.needs.to_vec(),
        Plan::Session(SessionCommand::Declare { statement, .. }) => return statement.needs.to_vec(),
        Plan::Point(Point::Select { lookup, output, for_update }) => {
            let mut columns = BTreeSet::new();
            let mut see = |place: usize| columns.extend(lookup.table.columns.get(place).map(|c| c.number));
            output.iter().chain(&lookup.residual).for_each(|expr| expr.visit_columns(&mut see));
            columns.extend(context.catalog.index(lookup.index).into_iter().flat_map(|index| index.columns.clone()));
            needs.add(lookup.table.oid, Privileges::SELECT, Some(&columns));
            if *for_update {
                needs.add(lookup.table.oid, Privileges::UPDATE, Some(&BTreeSet::new()));
            }
        }
        Plan::Query(query) => {
            calls(None, &mut needs, context);
            reads(query, None, &mut needs);
        }
        Plan::Write(write) => {
            calls(None, &mut needs, context);
            reads_of_write(write, &mut needs);
        }
        Plan::With(with) => {
            calls(None, &mut needs, context);
            for query in &with.locks {
                reads(query, None, &mut needs);
            }
            for write in with.parts.iter().chain(&with.after) {
                reads_of_write(write, &mut needs);
            }
            match &with.main {
                WithMain::Query(query) => reads(query, None, &mut needs),
                WithMain::Write(write) => reads_of_write(write, &mut needs),
            }
        }
        Plan::Copy(Copy::FromStdin { table, columns, .. }) => {
            let columns = columns.iter().filter_map(|place| table.columns.get(*place)).map(|c| c.number).collect();
            needs.add(table.oid, Privileges::INSERT, Some(&columns));
        }
        Plan::Copy(Copy::ToStdout { query, .. }) => {
            calls(None, &mut needs, context);
            reads(query, None, &mut needs);
        }
        Plan::Ddl(Ddl::CreateTable { source: Some(query), .. } | Ddl::CreateMaterializedView { source: query, .. }) => {
            calls(None, &mut needs, context);
            reads(query, None, &mut needs)
        }
        // Read for its owner, whoever refreshes it.
        Plan::Ddl(Ddl::RefreshMaterializedView { view, source, with_data: true }) => {
            let mut owners = Needs::default();
            reads(source, None, &mut owners);
            needs.others.extend(owners.finish().into_iter().map(|need| Need { by: Some(view.owner), ..need }));
            calls(Some(view.owner), &mut needs, context);
        }
        Plan::Point(_) | Plan::Ddl(_) | Plan::Transaction(_) | Plan::Session(_) | Plan::Admin(_) => {}
    }
    if let Some(statement) = statement {
        let mut queried = Vec::new();
        Writes { context, needs: &mut needs, queried: &mut queried }.statement(statement);
        if !queried.is_empty() {
            let mut named = Relations { context, found: Vec::new() };
            let _ = statement.visit(&mut named);
            needs.give_to_owners(&queried, &named.found);
        }
    }
    needs.finish()
}

/// What a statement calls, whoever wrote the view that does. Definitions that are only kept call nothing.
fn calls(by: Option<Oid>, needs: &mut Needs, context: &PlanContext) {
    let Some(uses) = context.uses else { return };
    let need = |object: &Oid| Need { object: *object, privileges: Privileges::EXECUTE, columns: None, by };
    needs.others.extend(uses.functions.borrow().iter().map(need));
}

/// What a statement names for what it calls, or keeps, or makes like it.
fn named(needs: &mut Needs, context: &PlanContext) {
    let Some(uses) = context.uses else { return };
    let need = |object: &Oid| Need { object: *object, privileges: Privileges::USAGE, columns: None, by: None };
    needs.others.extend(uses.schemas.borrow().iter().map(need));
    uses.likes.borrow().iter().for_each(|relation| needs.add(*relation, Privileges::SELECT, None));
}

/// What a query reads.
fn reads(query: &Query, written: Option<Oid>, needs: &mut Needs) {
    reads_in(query, &[&query.logical], written, needs);
}

/// What a write reads: to find its rows, and in RETURNING and ON CONFLICT. [`Query::reads`] of its source has all of it.
fn reads_of_write(write: &Write, needs: &mut Needs) {
    let mut plans = vec![&write.source.logical];
    plans.extend(&write.returning);
    if let WriteKind::Insert { on_conflict: Some(on) } = &write.kind
        && let ConflictAction::Update { values: ConflictValues::Rows(plan), .. } = &on.action
    {
        plans.push(plan);
    }
    reads_in(&write.source, &plans, Some(write.table.oid), needs);
}

/// `written`: the table that the query finds rows of for a write to change. What the write looks at of them is taken from
/// its text; other scans of the table are reads like all others.
fn reads_in(query: &Query, plans: &[&Arc<LogicalPlan>], written: Option<Oid>, needs: &mut Needs) {
    let direct: BTreeSet<Oid> = query.reads.iter().copied().collect();
    let mut scanned: BTreeSet<Oid> = written.into_iter().collect();
    for plan in plans {
        // The closure never fails.
        let _ = plan.apply_with_subqueries(|node| {
            if let LogicalPlan::TableScan(scan) = node
                && let Some((oid, columns)) = columns_of(scan)
                && direct.contains(&oid)
                && !(Some(oid) == written && finds_written_rows(&scan.source).unwrap_or_default())
            {
                scanned.insert(oid);
                needs.add(oid, Privileges::SELECT, Some(&columns));
            }
            Ok(TreeNodeRecursion::Continue)
        });
    }
    for (oid, columns) in query.named.iter().filter(|(oid, _)| direct.contains(oid)) {
        scanned.insert(*oid);
        needs.add(*oid, Privileges::SELECT, Some(&columns.iter().copied().collect()));
    }
    // Views, and tables that the optimizer found to have no rows to give.
    for oid in direct.difference(&scanned) {
        needs.add(*oid, Privileges::SELECT, None);
    }
    if let Some(lock) = &query.row_lock {
        for table in &lock.tables {
            needs.add(*table, Privileges::UPDATE, Some(&BTreeSet::new()));
        }
    }
}

/// The table of a scan and the numbers of the columns that it gives or looks at.
fn columns_of(scan: &TableScan) -> Option<(Oid, BTreeSet<u16>)> {
    let table = scanned_table(&scan.source).ok()??;
    let number = |place: usize| table.columns.get(place).map(|c| c.number);
    let mut columns: BTreeSet<u16> = match &scan.projection {
        Some(places) => places.iter().copied().filter_map(number).collect(),
        None => table.columns.iter().map(|c| c.number).collect(),
    };
    let looked_at = scan.filters.iter().flat_map(|filter| filter.column_refs().into_iter());
    columns.extend(looked_at.filter_map(|column| number(table.column_position(&column.name)?)));
    Some((table.oid, columns))
}

/// Collects what the writes of a statement do to their tables.
struct Writes<'a> {
    context: &'a PlanContext<'a>,
    needs: &'a mut Needs,
    /// What subqueries of views read that are written through.
    queried: &'a mut Vec<(Oid, Oid)>,
}

impl Writes<'_> {
    fn statement(&mut self, statement: &Statement) {
        match statement {
            Statement::Query(query) => self.query(query),
            Statement::Insert(insert) => {
                let TableObject::TableName(name) = &insert.table else { return };
                let Some(target) = self.target(name) else { return };
                self.below(name, Verb::Insert);
                let given = insert.columns.iter().filter_map(|name| name.0.last()?.as_ident().map(fold));
                let columns = match insert.columns.is_empty() {
                    true => target.first(insert.source.as_deref().and_then(width)),
                    false => target.numbers(given),
                };
                self.needs.add(target.oid, Privileges::INSERT, Some(&columns));
                if let Some(OnInsert::OnConflict(on)) = &insert.on {
                    // Whether a key is taken tells of the row that has it.
                    let mut seen = self.arbiters(name, &target, on.conflict_target.as_ref());
                    if let OnConflictAction::DoUpdate(update) = &on.action {
                        self.assigned(&target, &update.assignments);
                        seen.extend(target.seen(&update.assignments));
                        seen.extend(target.seen(&update.selection));
                    }
                    self.see(&target, &seen);
                }
                self.returning(&target, insert.returning.as_deref());
                if let Some(source) = &insert.source {
                    self.query(source);
                }
            }
            Statement::Update(update) => {
                let TableFactor::Table { name, .. } = &update.table.relation else { return };
                let Some(target) = self.target(name) else { return };
                self.below(name, Verb::Update);
                self.assigned(&target, &update.assignments);
                let mut seen = target.seen(&update.selection);
                for assignment in &update.assignments {
                    seen.extend(target.seen(&assignment.value));
                }
                self.see(&target, &seen);
                self.returning(&target, update.returning.as_deref());
            }
            Statement::Delete(delete) => {
                let (FromTable::WithFromKeyword(from) | FromTable::WithoutKeyword(from)) = &delete.from;
                let Some(TableFactor::Table { name, .. }) = from.first().map(|from| &from.relation) else { return };
                let Some(target) = self.target(name) else { return };
                self.below(name, Verb::Delete);
                self.needs.add(target.oid, Privileges::DELETE, None);
                self.see(&target, &target.seen(&delete.selection));
                self.returning(&target, delete.returning.as_deref());
            }
            // Who may truncate a table may truncate those that hold its rows.
            Statement::Truncate(truncate) => {
                for named in &truncate.table_names {
                    let Some(target) = self.target(&named.name) else { continue };
                    self.needs.add(target.oid, Privileges::TRUNCATE, None);
                }
            }
            Statement::Merge(merge) => {
                let TableFactor::Table { name, alias, .. } = &merge.table else { return };
                let Some(target) = self.target(name) else { return };
                let known_as = alias.as_ref().map(|alias| &alias.name).or_else(|| name.0.last()?.as_ident()).map(fold);
                let known_as = known_as.unwrap_or_default();
                self.see(&target, &target.seen_as(&known_as, &merge.on));
                for clause in &merge.clauses {
                    // Which clause a row meets tells of the row. Where none matches, there is no row to look at.
                    if clause.clause_kind == MergeClauseKind::Matched {
                        self.see(&target, &target.seen_as(&known_as, &clause.predicate));
                    }
                    match &clause.action {
                        MergeAction::Insert(insert) => {
                            let given = insert.columns.iter().filter_map(|name| name.0.last()?.as_ident().map(fold));
                            let columns = if insert.columns.is_empty() { target.all() } else { target.numbers(given) };
                            self.needs.add(target.oid, Privileges::INSERT, Some(&columns));
                        }
                        MergeAction::Update(update) => {
                            self.assigned(&target, &update.assignments);
                            for assignment in &update.assignments {
                                self.see(&target, &target.seen_as(&known_as, &assignment.value));
                            }
                        }
                        MergeAction::Delete { .. } => self.needs.add(target.oid, Privileges::DELETE, None),
                    }
                }
            }
            _ => {}
        }
    }

    /// Writes stand in WITH, or behind it.
    fn query(&mut self, query: &ast::Query) {
        for cte in query.with.iter().flat_map(|with| &with.cte_tables) {
            self.query(&cte.query);
        }
        match &*query.body {
            SetExpr::Insert(statement)
            | SetExpr::Update(statement)
            | SetExpr::Delete(statement)
            | SetExpr::Merge(statement) => self.statement(statement),
            SetExpr::Query(query) => self.query(query),
            _ => {}
        }
    }

    fn target(&self, name: &ObjectName) -> Option<Target> {
        let name = names::qualified(name, self.context).ok()?;
        Some(match names::find(&name, self.context)? {
            Object::Table(table) => Target::of_table(table),
            Object::View(view) => Target {
                oid: view.oid,
                columns: view.columns.iter().zip(1..).map(|((name, _), number)| (name.clone(), number)).collect(),
            },
            _ => return None,
        })
    }

    /// What stands below a view is written with the rights of the view's owner.
    fn below(&mut self, name: &ObjectName, verb: Verb) {
        let Ok(target) = point::written_through(name, None, verb, self.context) else { return };
        let Some(through) = target.through else { return };
        let (privilege, reads) = match verb {
            Verb::Insert => (Privileges::INSERT, None),
            Verb::Update => (Privileges::UPDATE, Some(Privileges::SELECT)),
            Verb::Delete => (Privileges::DELETE, Some(Privileges::SELECT)),
        };
        self.queried.extend_from_slice(&through.queried);
        for (owner, object) in &through.below {
            let need = |privileges| Need { object: *object, privileges, columns: None, by: Some(*owner) };
            self.needs.others.extend(std::iter::once(privilege).chain(reads).map(need));
        }
    }

    /// The columns by which ON CONFLICT finds rows: what is named, or what the named constraint covers.
    fn arbiters(&self, name: &ObjectName, target: &Target, given: Option<&ConflictTarget>) -> BTreeSet<u16> {
        match given {
            None => BTreeSet::new(),
            Some(ConflictTarget::Columns(columns)) => target.numbers(columns.iter().map(fold)),
            Some(ConflictTarget::OnConstraint(constraint)) => {
                let Some(constraint) = constraint.0.last().and_then(|part| part.as_ident()).map(fold) else {
                    return target.all();
                };
                if let Some(text) = constraint.strip_prefix(CONFLICT_TARGET) {
                    let parts = text.split(CONFLICT_TARGET).filter(|part| !part.is_empty());
                    // What cannot be read is refused where it is planned.
                    return parts
                        .filter_map(|part| parse_expression(part).ok())
                        .flat_map(|e| target.seen(&e))
                        .collect();
                }
                let Ok(name) = names::qualified(name, self.context) else { return target.all() };
                match names::find(&name, self.context) {
                    Some(Object::Table(table)) => {
                        let indexes = self.context.catalog.indexes_of(table).filter(|index| index.name == constraint);
                        indexes.flat_map(|index| index.key_columns().to_vec()).collect()
                    }
                    _ => target.all(),
                }
            }
        }
    }

    fn assigned(&mut self, target: &Target, assignments: &[ast::Assignment]) {
        let mut named = BTreeSet::new();
        for assignment in assignments {
            let names = match &assignment.target {
                AssignmentTarget::ColumnName(name) => std::slice::from_ref(name),
                AssignmentTarget::Tuple(names) => names.as_slice(),
            };
            // `column`, or `column.field`.
            named.extend(
                target.numbers(names.iter().flat_map(|name| name.0.iter()).filter_map(|p| p.as_ident().map(fold))),
            );
        }
        self.needs.add(target.oid, Privileges::UPDATE, Some(&named));
    }

    fn see(&mut self, target: &Target, columns: &BTreeSet<u16>) {
        if !columns.is_empty() {
            self.needs.add(target.oid, Privileges::SELECT, Some(columns));
        }
    }

    fn returning(&mut self, target: &Target, items: Option<&[SelectItem]>) {
        let Some(items) = items else { return };
        let wildcard = |item: &SelectItem| matches!(item, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..));
        let columns = if items.iter().any(wildcard) { target.all() } else { target.seen(&items.to_vec()) };
        self.see(target, &columns);
    }
}

/// The table that a write changes.
struct Target {
    oid: Oid,
    columns: Vec<(String, u16)>,
}

impl Target {
    fn of_table(table: &Table) -> Self {
        Self { oid: table.oid, columns: table.columns.iter().map(|c| (c.name.clone(), c.number)).collect() }
    }

    fn all(&self) -> BTreeSet<u16> {
        self.columns.iter().map(|(_, number)| *number).collect()
    }

    /// As many columns as there are values; all of them where that is not known.
    fn first(&self, count: Option<usize>) -> BTreeSet<u16> {
        self.columns.iter().take(count.unwrap_or(usize::MAX)).map(|(_, number)| *number).collect()
    }

    fn numbers(&self, names: impl Iterator<Item = String>) -> BTreeSet<u16> {
        names.filter_map(|name| self.columns.iter().find(|(known, _)| *known == name)).map(|(_, n)| *n).collect()
    }

    /// The columns whose names `part` says. A column of another table with the same name counts too: rather too much
    /// is asked for than too little.
    fn seen(&self, part: &impl Visit) -> BTreeSet<u16> {
        let mut names = Names { found: Vec::new(), known_as: None };
        let _ = part.visit(&mut names);
        self.numbers(names.found.into_iter())
    }

    /// [`Self::seen`] of a table that `part` knows under one name: what other tables' names stand before does not count.
    fn seen_as(&self, known_as: &str, part: &impl Visit) -> BTreeSet<u16> {
        let columns = self.columns.iter().map(|(name, _)| name.as_str());
        let mut names = Names { found: Vec::new(), known_as: Some(columns.chain([known_as]).collect()) };
        let _ = part.visit(&mut names);
        self.numbers(names.found.into_iter())
    }
}

/// How many values a query gives for each row, where its text says it.
fn width(query: &ast::Query) -> Option<usize> {
    match &*query.body {
        SetExpr::Values(values) => values.rows.first().map(|row| row.len()),
        SetExpr::Select(select) => {
            let plain =
                |item: &SelectItem| matches!(item, SelectItem::UnnamedExpr(_) | SelectItem::ExprWithAlias { .. });
            select.projection.iter().all(plain).then_some(select.projection.len())
        }
        _ => None,
    }
}

struct Names<'a> {
    found: Vec<String>,
    /// What the first of two names must be for them to count: the table, or a column before its field.
    known_as: Option<BTreeSet<&'a str>>,
}

impl Visitor for Names<'_> {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        match expr {
            Expr::Identifier(ident) => self.found.push(fold(ident)),
            Expr::CompoundIdentifier(parts) => {
                let of_another = match (parts.as_slice(), &self.known_as) {
                    ([first, _], Some(known_as)) => !known_as.contains(fold(first).as_str()),
                    _ => false,
                };
                if !of_another {
                    self.found.extend(parts.iter().map(fold));
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}
