//! Files that a person can read in one go.

use crate::Finding;
use crate::tree::Tree;

const LINES_MAX: usize = 800;
const LINES_MANY: usize = 600;

/// No source file of the server is over 800 lines; one over 600 is warned of.
#[must_use]
pub fn file_lengths(tree: &Tree) -> Vec<Finding> {
    // What is generated nobody reads.
    let ours = |file: &str| {
        let server = file.starts_with("crates/") || file.starts_with("protocols/");
        server && file.ends_with(".rs") && !file.contains("/src/generated/")
    };
    let mut findings = Vec::new();
    for (file, text) in tree.files().filter(|(file, _)| ours(file)) {
        let lines = text.lines().count();
        if lines > LINES_MAX {
            findings.push(Finding::error(file, 0, format!("{lines} lines; at most {LINES_MAX}: divide it by topic")));
        } else if lines > LINES_MANY {
            findings.push(Finding::warning(file, 0, format!("{lines} lines; better at most {LINES_MANY}")));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_files_are_found() {
        let lines = |count: usize| "x\n".repeat(count);
        let (good, many, over) = (lines(600), lines(601), lines(801));
        let tree = Tree::of(&[
            ("crates/a/src/good.rs", &good),
            ("crates/a/src/many.rs", &many),
            ("protocols/b/src/over.rs", &over),
            ("crates/c/src/generated/over.rs", &over),
            ("tests/slt/long.slt", &over),
        ]);
        let found: Vec<_> = file_lengths(&tree).into_iter().map(|finding| (finding.file, finding.fatal)).collect();
        assert_eq!(found, [("crates/a/src/many.rs".to_owned(), false), ("protocols/b/src/over.rs".to_owned(), true)]);
    }
}
