//! `perigee.compat_gaps`: what clients have asked for in vain.

use perigee_types::Value;

use crate::pg_catalog::builder::{Rows, int8, text};
use crate::pg_catalog::scope::Scope;

pub(super) fn fill(scope: &Scope, rows: &mut Rows) {
    let gaps = scope.session().services.as_ref().map(|services| services.compat_gaps());
    for gap in gaps.into_iter().flatten() {
        rows.push([
            ("sqlstate", text(gap.sqlstate)),
            ("message", text(gap.message)),
            ("count", int8(gap.count)),
            ("first_seen", Value::Timestamptz(gap.first_micros)),
            ("last_seen", Value::Timestamptz(gap.last_micros)),
        ]);
    }
}
