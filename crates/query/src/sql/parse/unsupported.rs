//! Commands of PostgreSQL that Perigee does not have, known by their first words.
//!
//! They parse, so that a text of several statements runs up to them, and fail with 0A000.

use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::rewrite::is_words;
use super::tokens::word_of;

const COMMANDS: &[&str] = &[
    "ALTER AGGREGATE",
    "ALTER COLLATION",
    "ALTER CONVERSION",
    "ALTER EVENT TRIGGER",
    "ALTER EXTENSION",
    "ALTER FOREIGN",
    "ALTER LANGUAGE",
    "ALTER LARGE OBJECT",
    "ALTER MATERIALIZED VIEW",
    "ALTER OPERATOR",
    "ALTER POLICY",
    "ALTER PROCEDURE",
    "ALTER PUBLICATION",
    "ALTER ROUTINE",
    "ALTER RULE",
    "ALTER SCHEMA",
    "ALTER SERVER",
    "ALTER STATISTICS",
    "ALTER SUBSCRIPTION",
    "ALTER SYSTEM",
    "ALTER TABLESPACE",
    "ALTER TEXT SEARCH",
    "ALTER TRIGGER",
    "ALTER USER MAPPING",
    "CLUSTER",
    "CREATE ACCESS METHOD",
    "CREATE AGGREGATE",
    "CREATE CAST",
    "CREATE COLLATION",
    "CREATE CONSTRAINT TRIGGER",
    "CREATE CONVERSION",
    "CREATE EVENT TRIGGER",
    "CREATE FOREIGN",
    "CREATE LANGUAGE",
    "CREATE OPERATOR",
    "CREATE OR REPLACE PROCEDURE",
    "CREATE OR REPLACE RULE",
    "CREATE OR REPLACE TRIGGER",
    "CREATE POLICY",
    "CREATE PROCEDURE",
    "CREATE PUBLICATION",
    "CREATE RECURSIVE VIEW",
    "CREATE RULE",
    "CREATE SERVER",
    "CREATE STATISTICS",
    "CREATE SUBSCRIPTION",
    "CREATE TABLESPACE",
    "CREATE TEXT SEARCH",
    "CREATE TRANSFORM",
    "CREATE TRIGGER",
    "CREATE USER MAPPING",
    "DROP ACCESS METHOD",
    "DROP AGGREGATE",
    "DROP CAST",
    "DROP COLLATION",
    "DROP CONVERSION",
    "DROP EVENT TRIGGER",
    "DROP FOREIGN",
    "DROP LANGUAGE",
    "DROP OPERATOR",
    "DROP POLICY",
    "DROP PROCEDURE",
    "DROP PUBLICATION",
    "DROP ROUTINE",
    "DROP RULE",
    "DROP SERVER",
    "DROP STATISTICS",
    "DROP SUBSCRIPTION",
    "DROP TABLESPACE",
    "DROP TEXT SEARCH",
    "DROP TRANSFORM",
    "DROP TRIGGER",
    "DROP USER MAPPING",
    "IMPORT FOREIGN SCHEMA",
    "LOAD",
    "SECURITY LABEL",
];

/// The command that `tokens` start with, if Perigee does not have it, or a clause that sqlparser does not have.
pub(super) fn find(tokens: &[TokenWithSpan]) -> Option<&'static str> {
    let excludes = |at: usize| {
        let words: &[&[&str]] = &[&["exclude", "current", "row"], &["exclude", "ties"], &["exclude", "group"]];
        let found = words.iter().find(|words| is_words(tokens, at, words));
        found.is_some_and(|words| tokens.get(at + words.len()).is_some_and(|next| next.token == Token::RParen))
    };
    if (0..tokens.len()).any(excludes) {
        return Some("EXCLUDE in a window's frame");
    }
    if (0..tokens.len()).any(|at| is_words(tokens, at, &["where", "current", "of"])) {
        return Some("WHERE CURRENT OF");
    }
    COMMANDS.iter().copied().find(|command| {
        let mut at = 0;
        command.split(' ').all(|word| {
            let found = tokens.get(at).and_then(|t| word_of(&t.token)).is_some_and(|w| w.eq_ignore_ascii_case(word));
            at += 1;
            found
        })
    })
}
