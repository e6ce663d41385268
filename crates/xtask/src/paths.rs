//! The repository works wherever it is cloned.

use std::sync::LazyLock;

use regex::Regex;

use crate::Finding;
use crate::tree::Tree;

/// Folders of one person or one machine: a home, a scratch folder, a mount. Split so that this file passes its own check.
static MACHINE: LazyLock<Regex> = LazyLock::new(|| {
    let folders = ["home", "root", "Users", "work", "workspace", "tmp", "mnt", "media"].join("|");
    let text = format!(r#"(?:^|[\s"'`(=:,\[])(/(?:{folders})/[A-Za-z0-9_.\-/]+)"#);
    Regex::new(&text).unwrap_or_else(|error| panic!("{text}: {error}"))
});

/// No file names an absolute path of a machine. Paths inside of a container image are the image's own.
#[must_use]
pub fn machine_paths(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (file, text) in tree.files() {
        if file.starts_with("docker/") || file == "crates/xtask/src/paths.rs" {
            continue;
        }
        for (number, line) in text.lines().enumerate() {
            for found in MACHINE.captures_iter(line) {
                findings.push(Finding::error(file, number + 1, format!("{} is a path of one machine", &found[1])));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, expected: usize) {
        assert_eq!(machine_paths(&Tree::of(&[("a.md", line)])).len(), expected, "{line}");
    }

    #[test]
    fn paths_of_machines_are_found() {
        check("see /home/someone/x", 1);
        check("D=\"/tmp/x/y\"", 1);
        check("`/root/.cargo`", 1);
        check("cd /workspace/main", 1);
        check("https://example.org/home/x", 0);
        check("mktemp -d", 0);
        check("/usr/lib/postgresql and /sys/fs/cgroup", 0);
        check("the tmp/ folder of DIR/tmp/x", 0);
    }
}
