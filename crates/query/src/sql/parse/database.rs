//! CREATE, ALTER and DROP DATABASE.

use perigee_plan::ddl::DatabaseChange;
use perigee_types::{SqlError, SqlResult, SqlState};
use sqlparser::tokenizer::Token;

use super::role::role_name;
use super::tokens::Tokens;
use crate::sql::statement::Ast;

/// The statement, where it is one of these.
///
/// # Errors
/// `42601`, `0A000` for what a database cannot be here.
pub(super) fn parse(tokens: &mut Tokens) -> SqlResult<Option<Ast>> {
    let change = if tokens.accept_words(&["create", "database"]) {
        create(tokens)?
    } else if tokens.accept_words(&["drop", "database"]) {
        drop(tokens)?
    } else if tokens.accept_words(&["alter", "database"]) {
        match alter(tokens)? {
            Some(change) => change,
            None => return Ok(Some(Ast::Unsupported("ALTER DATABASE of this kind"))),
        }
    } else {
        return Ok(None);
    };
    tokens.expect_end()?;
    Ok(Some(Ast::Database(change)))
}

fn create(tokens: &mut Tokens) -> SqlResult<DatabaseChange> {
    let name = tokens.name()?;
    tokens.accept_words(&["with"]);
    let mut owner = None;
    while !tokens.is_done() {
        if tokens.accept_words(&["owner"]) {
            tokens.accept(&Token::Eq);
            owner = if tokens.accept_words(&["default"]) { None } else { Some(role_name(tokens)?) };
            continue;
        }
        let mut option = tokens.name()?;
        if option == "connection" && tokens.accept_words(&["limit"]) {
            option = "connection_limit".to_owned();
        }
        tokens.accept(&Token::Eq);
        check(&option, &value(tokens)?)?;
    }
    Ok(DatabaseChange::Create { name, owner })
}

/// An option's value as text.
fn value(tokens: &mut Tokens) -> SqlResult<String> {
    match tokens.peek() {
        Some(Token::SingleQuotedString(_)) => tokens.string(),
        Some(Token::Word(_)) => tokens.name(),
        _ => Ok(tokens.integer()?.to_string()),
    }
}

/// Refuses what a database cannot be: all are empty at first, have UTF-8, and order text by bytes.
fn check(option: &str, value: &str) -> SqlResult<()> {
    let small = value.to_lowercase();
    let is = |values: &[&str]| small == "default" || values.contains(&small.as_str());
    let fits = match option {
        "template" => is(&["template0", "template1"]),
        "encoding" => is(&["utf8", "utf-8", "unicode", "6"]),
        "tablespace" => is(&["pg_default"]),
        "connection_limit" => is(&["-1"]),
        "allow_connections" => is(&["true", "on", "1", "yes"]),
        "is_template" => is(&["false", "off", "0", "no"]),
        // Names of locales, which change nothing here.
        "locale" | "lc_collate" | "lc_ctype" | "locale_provider" | "icu_locale" | "icu_rules" | "strategy"
        | "collation_version" => true,
        _ => return Err(SqlError::new(SqlState::SyntaxError, format!("option \"{option}\" not recognized"))),
    };
    match fits {
        true => Ok(()),
        false => Err(SqlError::unsupported(format_args!("CREATE DATABASE with {option} {value}"))),
    }
}

fn drop(tokens: &mut Tokens) -> SqlResult<DatabaseChange> {
    let if_exists = tokens.accept_words(&["if", "exists"]);
    let name = tokens.name()?;
    let with = tokens.accept_words(&["with"]);
    let mut force = false;
    if tokens.peek() == Some(&Token::LParen) {
        force = true;
        tokens.list(|tokens| tokens.expect_words(&["force"]))?;
    } else if with {
        return Err(tokens.error());
    }
    Ok(DatabaseChange::Drop { name, if_exists, force })
}

fn alter(tokens: &mut Tokens) -> SqlResult<Option<DatabaseChange>> {
    let name = tokens.name()?;
    if tokens.accept_words(&["rename", "to"]) {
        return Ok(Some(DatabaseChange::Rename { name, to: tokens.name()? }));
    }
    if tokens.accept_words(&["owner", "to"]) {
        return Ok(Some(DatabaseChange::Owner { name, to: role_name(tokens)? }));
    }
    Ok(None)
}
