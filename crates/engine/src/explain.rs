//! EXPLAIN of point plans.

use perigee_plan::Point;
use perigee_plan::point::KeyLookup;
use perigee_types::catalog::Catalog;

/// The lines for a point plan.
pub(crate) fn point(point: &Point, catalog: &Catalog) -> Vec<String> {
    match point {
        Point::Select { lookup, for_update, .. } => {
            let mut lines = key_lookup("Point read", lookup, catalog);
            if *for_update {
                lines.insert(0, "LockRows".to_owned());
            }
            lines
        }
        Point::Insert { table, rows, .. } => vec![format!("Point insert on {}: rows={}", table.name, rows.len())],
        Point::Update { lookup, .. } => key_lookup("Point update", lookup, catalog),
        Point::Delete { lookup, .. } => key_lookup("Point delete", lookup, catalog),
    }
}

fn key_lookup(what: &str, lookup: &KeyLookup, catalog: &Catalog) -> Vec<String> {
    let index = catalog.index(lookup.index);
    let name = index.map(|i| i.name.as_str()).unwrap_or_default();
    let columns: Vec<&str> = index
        .iter()
        .flat_map(|i| &i.columns)
        .filter_map(|n| lookup.table.columns.iter().find(|c| c.number == *n))
        .map(|c| c.name.as_str())
        .collect();
    let mut lines =
        vec![format!("{what} on {} using {name}", lookup.table.name), format!("  Key: ({})", columns.join(", "))];
    if lookup.residual.is_some() {
        lines.push("  Filter: on the row".to_owned());
    }
    lines
}
