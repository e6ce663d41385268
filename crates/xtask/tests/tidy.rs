//! The repository passes its own checks.

use xtask::CHECKS;
use xtask::tree::Tree;

#[test]
fn the_repository_is_tidy() {
    let tree = Tree::of_repository().unwrap();
    let mut errors = Vec::new();
    for (name, check) in CHECKS {
        for finding in check(&tree).into_iter().filter(|finding| finding.fatal) {
            errors.push(format!("{name}: {finding}"));
        }
    }
    assert!(errors.is_empty(), "\n{}", errors.join("\n"));
}
