//! Documentation names files that exist.

use std::sync::LazyLock;

use regex::Regex;

use crate::Finding;
use crate::tree::Tree;

/// Folders of the repository. What starts with one of them in a text is meant as a path.
const ROOTS: [&str; 9] =
    ["crates/", "protocols/", "config/", "tests/", "integration/", "docs/", "docker/", "helm/", ".ci/"];

static QUOTED: LazyLock<Regex> = LazyLock::new(|| pattern(r"`([^`\s]+)`"));
static LINKED: LazyLock<Regex> = LazyLock::new(|| pattern(r"\]\(([^)\s]+)\)"));

fn pattern(text: &str) -> Regex {
    Regex::new(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// Every path in backquotes and every relative link in `README.md`, `docs/` and the folders' own READMEs exists.
#[must_use]
pub fn named_paths(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (file, text) in tree.files().filter(|(file, _)| file.ends_with(".md")) {
        for (number, line) in text.lines().enumerate() {
            let quoted = QUOTED.captures_iter(line).map(|found| found[1].to_owned()).filter(|path| is_path(path));
            let linked = LINKED
                .captures_iter(line)
                .map(|found| found[1].to_owned())
                .filter(|link| !link.contains("://") && !link.starts_with(['#', '/']) && !link.starts_with("mailto:"))
                .map(|link| resolve(file, &link));
            for path in quoted.chain(linked) {
                let bare = path.split(['#', ':']).next().unwrap_or_default();
                // A pattern, a placeholder or a Rust path is not one file.
                if !bare.contains(['*', '<', '{', '…']) && !tree.exists(bare) {
                    findings.push(Finding::error(file, number + 1, format!("there is no {bare}")));
                }
            }
        }
    }
    findings
}

fn is_path(text: &str) -> bool {
    ROOTS.iter().any(|root| text.starts_with(root) && text.len() > root.len())
}

/// A link as seen from the repository.
fn resolve(file: &str, link: &str) -> String {
    let mut parts: Vec<&str> = file.split('/').collect();
    parts.pop();
    for part in link.split('/') {
        match part {
            "." | "" => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[&str]) {
        let tree = Tree::of(&[("docs/x/page.md", text), ("crates/log/src/lib.rs", ""), ("README.md", "")]);
        let found: Vec<String> = named_paths(&tree).into_iter().map(|finding| finding.text).collect();
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn named_files_are_looked_for() {
        check("see `crates/log/src/lib.rs`, `crates/log/` and `crates/log`", &[]);
        check("see `crates/log/src/lib.rs:12`", &[]);
        check("see `crates/log/src/gone.rs`", &["there is no crates/log/src/gone.rs"]);
        check("[up](../../README.md#start), [out](https://example.org/x)", &[]);
        check("[up](../gone.md)", &["there is no docs/gone.md"]);
        check("`crates/*/src`, `crates/<name>`, `SELECT 1/2`, `log/`", &[]);
    }
}
