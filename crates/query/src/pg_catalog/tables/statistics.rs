//! What this node has counted: `perigee.queries`, `perigee.metrics`. Empty for who is no member of `pg_read_all_stats`.

use perigee_types::Value;
use perigee_types::catalog::READ_ALL_STATS;
use perigee_types::rights::Rights;

use crate::pg_catalog::builder::{Rows, int8, text};
use crate::pg_catalog::scope::Scope;

/// Whether the session's role may see what others do.
fn sees_all(scope: &Scope) -> bool {
    let facts = scope.session();
    Rights::of(scope.catalog(), facts.role, facts.tenant).is(READ_ALL_STATS)
}

/// Statements that ran, those first that have taken most.
pub(super) fn queries(scope: &Scope, rows: &mut Rows) {
    let services = scope.session().services.as_ref().filter(|_| sees_all(scope));
    let millis = |nanos: u64| nanos as f64 / 1e6;
    for query in services.into_iter().flat_map(|services| services.queries()) {
        rows.push([
            ("query", text(query.text.as_ref())),
            ("calls", int8(query.calls)),
            ("errors", int8(query.errors)),
            ("total_ms", Value::Float8(millis(query.total_nanos))),
            ("mean_ms", Value::Float8(millis(query.total_nanos) / query.calls.max(1) as f64)),
            ("max_ms", Value::Float8(millis(query.max_nanos))),
            ("last_seen", Value::Timestamptz(query.last_micros)),
        ]);
    }
}

/// What `/metrics` shows, a row for each value.
pub(super) fn metrics(scope: &Scope, rows: &mut Rows) {
    let services = scope.session().services.as_ref().filter(|_| sees_all(scope));
    let all = services.map(|services| services.metrics()).unwrap_or_default();
    for (name, labels, value) in all.lines().filter_map(sample) {
        rows.push([("name", text(name)), ("labels", text(labels)), ("value", Value::Float8(value))]);
    }
}

/// A line of Prometheus' text format: `name{labels} value`.
fn sample(line: &str) -> Option<(&str, &str, f64)> {
    if line.starts_with('#') {
        return None;
    }
    let (series, value) = line.rsplit_once(' ')?;
    let (name, labels) = match series.split_once('{') {
        Some((name, labels)) => (name, labels.strip_suffix('}')?),
        None => (series, ""),
    };
    Some((name, labels, value.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read() {
        assert_eq!(sample("perigee_ready 1"), Some(("perigee_ready", "", 1.0)));
        let line = "perigee_errors_total{sqlstate=\"42P01\",door=\"a b\"} 3";
        assert_eq!(sample(line), Some(("perigee_errors_total", "sqlstate=\"42P01\",door=\"a b\"", 3.0)));
        assert_eq!(sample("x_bucket{le=\"+Inf\"} 1e3"), Some(("x_bucket", "le=\"+Inf\"", 1000.0)));
        for wrong in ["# HELP x y", "", "x", "x{y 1", "x y"] {
            assert_eq!(sample(wrong), None, "{wrong}");
        }
    }
}
