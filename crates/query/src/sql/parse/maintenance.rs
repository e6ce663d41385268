//! EXPLAIN, VACUUM, ANALYZE, CHECKPOINT, REFRESH, and the procedures of the system that CALL knows.

use perigee_types::{SqlError, SqlResult, SqlState};
use sqlparser::ast::ObjectName;
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::Token;

use super::api_key;
use super::copy::boolean;
use super::tokens::{Tokens, word_of};
use crate::sql::statement::Ast;

pub(super) fn parse(tokens: &mut Tokens) -> SqlResult<Ast> {
    match tokens.next().and_then(word_of).as_deref() {
        Some("explain") => explain(tokens),
        Some("vacuum") => vacuum(tokens),
        Some("checkpoint") => {
            tokens.expect_end()?;
            Ok(Ast::Checkpoint)
        }
        Some("refresh") => refresh(tokens),
        _ => analyze(tokens),
    }
}

/// CALL of a procedure of the system: `perigee.migrate('table', 'cold')`, `perigee.compact('table')`,
/// `perigee.export('table')`, `perigee.collect_cold_files()`, `perigee.backup(['url'])`, and those of API keys.
///
/// # Errors
/// `42601`, `42883` for another procedure, `22023` for another tier.
pub(super) fn call(tokens: &mut Tokens) -> SqlResult<Ast> {
    tokens.expect_words(&["call"])?;
    let name = tokens.object_name()?;
    let plain = name.to_string().to_lowercase();
    if ["perigee.create_api_key", "perigee.revoke_api_key"].contains(&plain.as_str()) {
        return api_key::call(&plain, tokens);
    }
    tokens.expect(&Token::LParen)?;
    let mut arguments = Vec::new();
    while tokens.peek() != Some(&Token::RParen) {
        if !["perigee.migrate", "perigee.compact", "perigee.export", "perigee.backup"].contains(&plain.as_str()) {
            tokens.until_closed()?;
            return Err(no_procedure(&plain));
        }
        arguments.push(tokens.string()?);
        if !tokens.accept(&Token::Comma) {
            break;
        }
    }
    tokens.expect(&Token::RParen)?;
    tokens.expect_end()?;
    match (plain.as_str(), arguments.as_slice()) {
        ("perigee.collect_cold_files", []) => Ok(Ast::CollectCold),
        ("perigee.backup", []) => Ok(Ast::Backup(None)),
        ("perigee.backup", [url]) => Ok(Ast::Backup(Some(url.clone()))),
        ("perigee.migrate", [table, tier]) => {
            if tier.to_lowercase() != "cold" {
                let text = format!("rows cannot be moved to tier \"{tier}\"");
                return Err(SqlError::new(SqlState::InvalidParameterValue, text).hint(
                    "'cold' is the one tier that rows are moved to; between hot and warm they go by themselves.",
                ));
            }
            Ok(Ast::Migrate(written_name(table)?))
        }
        ("perigee.compact", [table]) => Ok(Ast::Compact(written_name(table)?)),
        ("perigee.export", [table]) => Ok(Ast::Export(written_name(table)?)),
        _ => Err(no_procedure(&plain)),
    }
}

/// A name as it is written in SQL.
fn written_name(text: &str) -> SqlResult<ObjectName> {
    Parser::new(&PostgreSqlDialect {})
        .try_with_sql(text)
        .and_then(|mut parser| parser.parse_object_name(false))
        .map_err(|_| SqlError::new(SqlState::InvalidName, format!("invalid name syntax: \"{text}\"")))
}

fn no_procedure(name: &str) -> SqlError {
    SqlError::new(SqlState::UndefinedFunction, format!("procedure {name} does not exist with these arguments")).hint(
        "perigee.migrate('table', 'cold'), perigee.compact('table'), perigee.export('table'), \
         perigee.collect_cold_files(), perigee.backup(['url']), perigee.create_api_key('role'), perigee.revoke_api_key('id')",
    )
}

/// REFRESH MATERIALIZED VIEW [CONCURRENTLY] name [WITH [NO] DATA]
fn refresh(tokens: &mut Tokens) -> SqlResult<Ast> {
    tokens.expect_words(&["materialized", "view"])?;
    let concurrently = tokens.accept_words(&["concurrently"]);
    let name = tokens.object_name()?;
    let no_data = tokens.accept_words(&["with", "no", "data"]);
    if !no_data {
        tokens.accept_words(&["with", "data"]);
    }
    tokens.expect_end()?;
    Ok(Ast::Refresh { name, concurrently, with_data: !no_data })
}

fn explain(tokens: &mut Tokens) -> SqlResult<Ast> {
    let (mut analyze, mut verbose, mut json) = (false, false, false);
    if tokens.peek() == Some(&Token::LParen) {
        tokens.list(|tokens| {
            let name = tokens.name()?;
            match name.as_str() {
                "analyze" | "analyse" => analyze = boolean(tokens)?,
                "verbose" => verbose = boolean(tokens)?,
                // They choose what PostgreSQL shows besides; a plan here has no such lines.
                "costs" | "buffers" | "settings" | "generic_plan" | "wal" | "timing" | "summary" | "memory" => {
                    boolean(tokens)?;
                }
                "format" => json = format_json(tokens)?,
                _ => return Err(SqlError::syntax(format!("unrecognized EXPLAIN option \"{name}\""))),
            }
            Ok(())
        })?;
    } else {
        analyze = tokens.accept_one(&["analyze", "analyse"]).is_some();
        verbose = tokens.accept_words(&["verbose"]);
    }
    let statement = Box::new(tokens.rest_statement()?);
    if !matches!(statement.ast, Ast::Sql(_) | Ast::CreateTable { .. } | Ast::Execute { .. }) {
        let first = statement.text.split_whitespace().next().unwrap_or_default();
        return Err(SqlError::syntax(format!("syntax error at or near \"{first}\""))
            .position(statement.offset.saturating_add(1)));
    }
    Ok(Ast::Explain { analyze, verbose, json, statement })
}

fn format_json(tokens: &mut Tokens) -> SqlResult<bool> {
    let format =
        if matches!(tokens.peek(), Some(Token::Word(_))) { tokens.name()? } else { tokens.string()?.to_lowercase() };
    match format.as_str() {
        "text" => Ok(false),
        "json" => Ok(true),
        "xml" | "yaml" => Err(SqlError::unsupported(format_args!("EXPLAIN (FORMAT {format})"))),
        _ => Err(SqlError::new(
            SqlState::InvalidParameterValue,
            format!("unrecognized value for EXPLAIN option \"format\": \"{format}\""),
        )),
    }
}

fn vacuum(tokens: &mut Tokens) -> SqlResult<Ast> {
    let mut analyze = false;
    if tokens.peek() == Some(&Token::LParen) {
        tokens.list(|tokens| {
            let name = tokens.name()?;
            match name.as_str() {
                "analyze" | "analyse" => analyze = boolean(tokens)?,
                // What they ask for, VACUUM does here anyway, or has no counterpart.
                "full"
                | "freeze"
                | "verbose"
                | "skip_locked"
                | "truncate"
                | "disable_page_skipping"
                | "process_toast"
                | "process_main"
                | "skip_database_stats"
                | "only_database_stats" => {
                    boolean(tokens)?;
                }
                "index_cleanup" => {
                    tokens.accept_words(&["auto"]);
                    boolean(tokens)?;
                }
                "parallel" | "buffer_usage_limit" => {
                    tokens.next();
                }
                _ => return Err(SqlError::syntax(format!("unrecognized VACUUM option \"{name}\""))),
            }
            Ok(())
        })?;
    } else {
        tokens.accept_words(&["full"]);
        tokens.accept_words(&["freeze"]);
        tokens.accept_words(&["verbose"]);
        analyze = tokens.accept_one(&["analyze", "analyse"]).is_some();
        tokens.accept_words(&["verbose"]);
    }
    Ok(Ast::Vacuum { tables: tables(tokens)?, analyze })
}

fn analyze(tokens: &mut Tokens) -> SqlResult<Ast> {
    if tokens.peek() == Some(&Token::LParen) {
        tokens.list(|tokens| {
            let name = tokens.name()?;
            match name.as_str() {
                "verbose" | "skip_locked" => boolean(tokens).map(|_| ()),
                "buffer_usage_limit" => {
                    tokens.next();
                    Ok(())
                }
                _ => Err(SqlError::syntax(format!("unrecognized ANALYZE option \"{name}\""))),
            }
        })?;
    } else {
        tokens.accept_words(&["verbose"]);
    }
    Ok(Ast::Analyze(tables(tokens)?))
}

/// `table [ ( column, … ) ], …` to the end. Columns are accepted: statistics are kept for all.
fn tables(tokens: &mut Tokens) -> SqlResult<Vec<ObjectName>> {
    let mut tables = Vec::new();
    if tokens.is_done() {
        return Ok(tables);
    }
    loop {
        tables.push(tokens.object_name()?);
        if tokens.peek() == Some(&Token::LParen) {
            tokens.list(Tokens::ident)?;
        }
        if !tokens.accept(&Token::Comma) {
            tokens.expect_end()?;
            return Ok(tables);
        }
    }
}
