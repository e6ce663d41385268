//! PostgreSQL's semantics: expressions and what PostgreSQL answers.

use super::Fixture;

#[test]
fn literals() {
    Fixture::new().check_all(&[("1", "1"), ("1.50", "1.50"), ("'a'", "a"), ("NULL", "NULL"), ("true", "t")]);
}
