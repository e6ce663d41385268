//! How large a query may be.
//!
//! What analyzes, optimizes, runs and frees a plan walks it by recursion, on stacks of
//! [`STACK_BYTES`](perigee_runtime::STACK_BYTES), and in time that grows faster than the plan. What would not fit is
//! refused before anything recurses into it.

use std::collections::HashMap;
use std::ops::ControlFlow;

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::logical_expr::LogicalPlan;
use perigee_types::{SqlError, SqlResult, SqlState};
use sqlparser::ast::{ObjectName, Query, TableFactor, Visit, Visitor};

use crate::sql::parse::fold;

/// Relations and queries that a text may name. Each makes the rows of a plan wider or the plan deeper.
const RELATIONS_MAX: usize = 1_000;
/// How deep a plan may be: a join, a query of a WITH clause that reads the one before, or a view makes it one or two
/// nodes deeper.
const DEPTH_MAX: usize = 2_000;
/// Nodes of a plan with all that it reads written out where it is read.
const NODES_MAX: usize = 20_000;

/// Relations that a text may read, those of a query of a WITH clause counted wherever its name stands: DataFusion's
/// planner writes them out there, and walks them before there is a whole plan to look at.
const RELATIONS_READ_MAX: usize = 10_000;

/// Refuses a text that names, or reads, too many relations.
///
/// # Errors
/// `54001`
pub(super) fn check_text(node: &impl Visit) -> SqlResult<()> {
    match node.visit(&mut Relations::default()) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(too_large("The statement names too many relations.")),
    }
}

/// Refuses a plan that is too deep, or too large.
///
/// # Errors
/// `54001`
pub(super) fn check_plan(plan: &LogicalPlan) -> SqlResult<()> {
    Sizes::default().of(plan, DEPTH_MAX).map(drop)
}

/// The refusal of a statement whose plan would be too large.
pub(super) fn too_large(hint: &str) -> SqlError {
    SqlError::new(SqlState::StatementTooComplex, "stack depth limit exceeded").hint(hint)
}

/// Counts relations; see [`check_text`].
#[derive(Default)]
struct Relations {
    named: usize,
    /// The queries around, outermost first.
    around: Vec<Reads>,
    /// The names of queries of WITH clauses that are still to be looked at, by their address.
    with: HashMap<*const Query, String>,
}

/// What a query reads.
#[derive(Default)]
struct Reads {
    relations: usize,
    /// The same of the queries of its WITH clause.
    with: HashMap<String, usize>,
}

impl Relations {
    fn more(&mut self, read: usize) -> ControlFlow<()> {
        self.named += 1;
        let within = self.around.last_mut().is_none_or(|query| {
            query.relations = query.relations.saturating_add(read);
            query.relations <= RELATIONS_READ_MAX
        });
        if within && self.named <= RELATIONS_MAX { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }

    /// What is read where `name` stands.
    fn read_by(&self, name: &ObjectName) -> usize {
        let [part] = name.0.as_slice() else { return 1 };
        let Some(name) = part.as_ident().map(fold) else { return 1 };
        self.around.iter().rev().find_map(|query| query.with.get(&name)).copied().unwrap_or(1)
    }
}

impl Visitor for Relations {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        for cte in query.with.iter().flat_map(|with| &with.cte_tables) {
            self.with.insert(std::ptr::from_ref(&*cte.query), fold(&cte.alias.name));
        }
        self.around.push(Reads::default());
        self.more(1)
    }

    fn post_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        let reads = self.around.pop().map_or(0, |reads| reads.relations);
        let Some(outer) = self.around.last_mut() else { return ControlFlow::Continue(()) };
        match self.with.remove(&std::ptr::from_ref(query)) {
            Some(name) => {
                outer.with.insert(name, reads);
                ControlFlow::Continue(())
            }
            None => {
                outer.relations = outer.relations.saturating_add(reads);
                if outer.relations <= RELATIONS_READ_MAX { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            }
        }
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        let read = match factor {
            TableFactor::Table { name, .. } => self.read_by(name),
            _ => 1,
        };
        self.more(read)
    }
}

/// Depth and nodes of a plan.
#[derive(Clone, Copy, Default)]
struct Size {
    depth: usize,
    nodes: usize,
}

/// The sizes of plans that are inputs of others, by their address: what a WITH clause names is shared by all who read it.
#[derive(Default)]
struct Sizes(HashMap<*const LogicalPlan, Size>);

impl Sizes {
    /// `left`: how much deeper the walk may go.
    fn of(&mut self, plan: &LogicalPlan, left: usize) -> SqlResult<Size> {
        let Some(left) = left.checked_sub(1) else { return Err(too_deep()) };
        let mut below = Size::default();
        for input in plan.inputs() {
            let size = match self.0.get(&std::ptr::from_ref(input)) {
                Some(size) => *size,
                None => {
                    let size = self.of(input, left)?;
                    self.0.insert(std::ptr::from_ref(input), size);
                    size
                }
            };
            below = below.and(size);
        }
        let mut refused = None;
        // The walk itself cannot fail.
        let _ = plan.apply_subqueries(|subquery| {
            Ok(match self.of(subquery, left) {
                Ok(size) => {
                    below = below.and(size);
                    TreeNodeRecursion::Continue
                }
                Err(error) => {
                    refused = Some(error);
                    TreeNodeRecursion::Stop
                }
            })
        });
        if let Some(error) = refused {
            return Err(error);
        }
        let size = Size { depth: below.depth + 1, nodes: below.nodes.saturating_add(1) };
        if size.depth > DEPTH_MAX {
            return Err(too_deep());
        }
        if size.nodes > NODES_MAX {
            return Err(too_large("The statement reads too many relations, counted with all that views read."));
        }
        Ok(size)
    }
}

impl Size {
    fn and(self, other: Self) -> Self {
        Self { depth: self.depth.max(other.depth), nodes: self.nodes.saturating_add(other.nodes) }
    }
}

fn too_deep() -> SqlError {
    too_large("The statement nests joins, WITH queries or views too deeply.")
}
