//! EXPLAIN of point plans, and plans as JSON.

use std::fmt::Write;

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

/// A node of a plan, as its lines say it.
struct Node {
    /// Columns before its text.
    indent: usize,
    text: String,
    /// Lines about it.
    details: Vec<String>,
    children: Vec<Node>,
}

/// The lines of a plan in the form of `EXPLAIN (FORMAT JSON)`: a node's type is its line up to the colon.
pub(crate) fn json(lines: &[String]) -> String {
    let mut path: Vec<Node> = Vec::new();
    let mut behind: Vec<&str> = Vec::new();
    // The deepest node goes to the one above it.
    let close = |path: &mut Vec<Node>| {
        if path.len() > 1
            && let Some(node) = path.pop()
            && let Some(parent) = path.last_mut()
        {
            parent.children.push(node);
        }
    };
    for line in lines {
        let indent = line.len() - line.trim_start().len();
        let text = line.trim_start();
        let child = text.strip_prefix("->").map(str::trim_start);
        match (child, path.last_mut()) {
            (None, Some(node)) if indent > node.indent => node.details.push(text.to_owned()),
            (None, Some(_)) => behind.push(text),
            (child, _) => {
                while path.len() > 1 && path.last().is_some_and(|node| node.indent >= indent) {
                    close(&mut path);
                }
                let text = child.unwrap_or(text).to_owned();
                path.push(Node { indent, text, details: Vec::new(), children: Vec::new() });
            }
        }
    }
    while path.len() > 1 {
        close(&mut path);
    }
    let mut out = "[\n  {\n    \"Plan\": ".to_owned();
    match path.first() {
        Some(root) => write_node(&mut out, root, 4),
        None => out.push_str("{}"),
    }
    for line in behind {
        let (name, value) = line.split_once(": ").unwrap_or(("Note", line));
        // Times are numbers of milliseconds.
        let number = value.split(" ms").next().and_then(|v| v.parse::<f64>().ok());
        let value = number.map_or_else(|| quoted(value), |v| v.to_string());
        let _ = write!(out, ",\n    {}: {value}", quoted(name));
    }
    out.push_str("\n  }\n]");
    out
}

fn write_node(out: &mut String, node: &Node, indent: usize) {
    let pad = " ".repeat(indent + 2);
    let (kind, rest) = node.text.split_once(": ").unwrap_or((&node.text, ""));
    let _ = write!(out, "{{\n{pad}\"Node Type\": {}", quoted(kind));
    if !rest.is_empty() {
        let _ = write!(out, ",\n{pad}\"Description\": {}", quoted(rest));
    }
    if !node.details.is_empty() {
        let details: Vec<String> = node.details.iter().map(|d| quoted(d)).collect();
        let _ = write!(out, ",\n{pad}\"Details\": [{}]", details.join(", "));
    }
    if !node.children.is_empty() {
        let _ = write!(out, ",\n{pad}\"Plans\": [");
        for (at, child) in node.children.iter().enumerate() {
            out.push_str(if at == 0 { "\n" } else { ",\n" });
            let _ = write!(out, "{pad}  ");
            write_node(out, child, indent + 4);
        }
        let _ = write!(out, "\n{pad}]");
    }
    let _ = write!(out, "\n{}}}", " ".repeat(indent));
}

/// A JSON string.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => {
                out.push('\\');
                out.push(c);
            }
            c if u32::from(c) < 0x20 => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
