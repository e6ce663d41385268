//! Checks of this repository that no other tool makes.
//!
//! Each check is a function from the repository's [`tree::Tree`] to the list of what is wrong, so that it runs from
//! the command line (`cargo run -p xtask -- tidy`), in `cargo test`, and on made-up trees in its own tests.

pub mod dependencies;
pub mod docs;
pub mod paths;
pub mod size;
pub mod tree;

use crate::tree::Tree;

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// File, relative to the repository.
    pub file: String,
    /// Line, from 1; 0 for the whole file.
    pub line: usize,
    /// What is wrong.
    pub text: String,
    /// Whether the check fails by it; else it is a warning.
    pub fatal: bool,
}

impl Finding {
    fn error(file: &str, line: usize, text: impl Into<String>) -> Self {
        Self { file: file.to_owned(), line, text: text.into(), fatal: true }
    }

    fn warning(file: &str, line: usize, text: impl Into<String>) -> Self {
        Self { fatal: false, ..Self::error(file, line, text) }
    }
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = if self.fatal { "error" } else { "warning" };
        write!(f, "{kind}: {}:{}: {}", self.file, self.line, self.text)
    }
}

/// A check's name and what it does.
pub type Check = (&'static str, fn(&Tree) -> Vec<Finding>);

/// All checks.
pub const CHECKS: &[Check] = &[
    ("paths named in docs exist", docs::named_paths),
    ("files stay readable", size::file_lengths),
    ("protocols touch only the engine", dependencies::protocols),
    ("the layers point one way", dependencies::layers),
    ("one crypto provider", dependencies::crypto),
    ("one Arrow, one tokio", dependencies::once),
    ("no path of a machine", paths::machine_paths),
];
