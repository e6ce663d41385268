//! `perigee.cluster_nodes` and `perigee.raft_status`: the cluster as the node sees it that the statement runs on.

use perigee_types::Value;

use crate::exec::ClusterState;
use crate::pg_catalog::builder::{Rows, bool, int8, text};
use crate::pg_catalog::scope::Scope;

fn state(scope: &Scope) -> Option<ClusterState> {
    scope.session().services.as_ref().and_then(|services| services.cluster())
}

fn known(value: Option<u64>) -> Value {
    value.map_or(Value::Null, int8)
}

pub(super) fn nodes(scope: &Scope, rows: &mut Rows) {
    for member in state(scope).into_iter().flat_map(|state| state.members) {
        rows.push([
            ("name", text(member.name)),
            ("incarnation", text(member.incarnation)),
            ("address", text(member.address)),
            ("voter", bool(member.voter)),
            ("leader", bool(member.leads)),
            ("matched_index", known(member.matched)),
            ("answered_ms", known(member.answered_ms)),
        ]);
    }
}

pub(super) fn status(scope: &Scope, rows: &mut Rows) {
    let Some(state) = state(scope) else { return };
    rows.push([
        ("node", text(state.node)),
        ("role", text(if state.leads { "leader" } else { "follower" })),
        ("leader", state.leader.map_or(Value::Null, text)),
        ("term", int8(state.term)),
        ("voters", int8(state.members.iter().filter(|member| member.voter).count() as u64)),
        ("first_index", int8(state.log.0)),
        ("last_index", int8(state.log.1)),
        ("synced_index", int8(state.synced)),
        ("committed_index", int8(state.committed)),
        ("applied_index", int8(state.applied)),
        ("checkpoint_index", int8(state.checkpoint)),
        ("log_bytes", int8(state.log_bytes)),
    ]);
}
