//! Statements as steps of traces: plan, execute, and what COMMIT proposes are parts of the statement's own step.

use perigee_plan::Prepared;
use perigee_telemetry::trace::{self, Parent, Step};
use perigee_types::SqlError;

use crate::session::Session;
use crate::slow::shown;

/// What a session knows of the traces that its statements belong to.
#[derive(Default)]
pub(crate) struct Traced {
    /// The door, where nobody before the session begins traces.
    door: Option<&'static str>,
    /// The step of the request that its statements are parts of.
    request: Option<Parent>,
    /// The statement that runs.
    statement: Option<Step>,
    /// When the last plan was begun and done.
    plan: Option<(u64, u64)>,
}

impl Traced {
    /// When planning begins, where somebody may want to know.
    pub(crate) fn plans(&self) -> Option<u64> {
        ((self.door.is_some() || self.request.is_some()) && trace::is_on()).then(trace::now)
    }

    /// It has ended now.
    pub(crate) fn planned(&mut self, began: Option<u64>) {
        self.plan = began.map(|began| (began, trace::now()));
    }

    /// A part of the statement that runs.
    pub(crate) fn step(&self, name: &'static str) -> Option<Step> {
        self.parent().map(|parent| Step::of(parent, name))
    }

    /// The statement that runs.
    pub(crate) fn parent(&self) -> Option<Parent> {
        self.statement.as_ref().map(Step::parent)
    }

    /// The statement that runs has failed.
    pub(crate) fn fail(&mut self, error: &SqlError) {
        if let Some(statement) = &mut self.statement {
            statement.fail(error.state().code(), error.message());
        }
    }

    /// The statement is over.
    pub(crate) fn end(&mut self) {
        self.statement = None;
    }
}

impl Session {
    /// Its statements are requests of this door's clients, and begin traces.
    pub fn begins_traces(&mut self, door: &'static str) {
        self.traced.door = Some(door);
    }

    /// What its statements are parts of from now on.
    pub fn trace_within(&mut self, request: Option<Parent>) {
        self.traced.request = request;
    }

    /// A statement begins.
    pub(crate) fn begin_trace(&mut self, prepared: &Prepared) {
        let plan = self.traced.plan.take();
        let step = match (self.traced.request, self.traced.door) {
            (Some(request), _) => Some(Step::of(request, prepared.tag)),
            (None, Some(_)) => trace::begin(prepared.tag, None),
            (None, None) => None,
        };
        let Some(mut step) = step else { return };
        if let Some(door) = self.traced.door {
            step.tell("perigee.door", door);
        }
        step.tell("db.system.name", "perigee");
        step.tell("db.namespace", self.database.as_str());
        step.tell("db.operation.name", prepared.tag);
        step.tell("db.query.text", shown(&prepared.text));
        step.tell("user.name", self.login_name.as_str());
        if let Some((began, ended)) = plan {
            step.began(began);
            trace::over(step.parent(), "plan", began, ended);
        }
        self.traced.statement = Some(step);
    }
}
