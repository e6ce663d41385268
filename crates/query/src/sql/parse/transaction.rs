//! BEGIN, COMMIT, ROLLBACK, savepoints, and the modes of transactions.

use perigee_plan::TransactionCommand;
use perigee_plan::command::{Isolation, TransactionModes};
use perigee_types::{SqlError, SqlResult, SqlState};
use sqlparser::tokenizer::Token;

use super::tokens::Tokens;
use crate::sql::statement::Ast;

pub(super) fn parse(tokens: &mut Tokens) -> SqlResult<Ast> {
    let command = match tokens.next().and_then(super::tokens::word_of).as_deref() {
        Some("begin") => {
            tokens.accept_one(&["work", "transaction"]);
            TransactionCommand::Begin(modes(tokens)?)
        }
        Some("start") => {
            tokens.expect_words(&["transaction"])?;
            TransactionCommand::Begin(modes(tokens)?)
        }
        Some("commit") if tokens.accept_words(&["prepared"]) => return no_prepared(tokens),
        Some("commit" | "end") => {
            tokens.accept_one(&["work", "transaction"]);
            TransactionCommand::Commit { chain: chain(tokens)? }
        }
        Some("savepoint") => TransactionCommand::Savepoint(tokens.name()?),
        Some("release") => {
            tokens.accept_words(&["savepoint"]);
            TransactionCommand::Release(tokens.name()?)
        }
        Some("rollback") if tokens.accept_words(&["prepared"]) => return no_prepared(tokens),
        _ => {
            tokens.accept_one(&["work", "transaction"]);
            if tokens.accept_words(&["to"]) {
                tokens.accept_words(&["savepoint"]);
                TransactionCommand::RollbackTo(tokens.name()?)
            } else {
                TransactionCommand::Rollback { chain: chain(tokens)? }
            }
        }
    };
    tokens.expect_end()?;
    Ok(Ast::Transaction(command))
}

/// COMMIT PREPARED, ROLLBACK PREPARED: no transaction is ever prepared.
fn no_prepared(tokens: &mut Tokens) -> SqlResult<Ast> {
    let name = tokens.string()?;
    tokens.expect_end()?;
    let text = format!("prepared transaction with identifier \"{name}\" does not exist");
    Ok(Ast::Refused(SqlError::new(SqlState::UndefinedObject, text)))
}

fn chain(tokens: &mut Tokens) -> SqlResult<bool> {
    if !tokens.accept_words(&["and"]) {
        return Ok(false);
    }
    let no = tokens.accept_words(&["no"]);
    tokens.expect_words(&["chain"])?;
    Ok(!no)
}

/// Modes up to the end of the statement, with or without commas between them.
pub(super) fn modes(tokens: &mut Tokens) -> SqlResult<TransactionModes> {
    let mut modes = TransactionModes::default();
    let mut first = true;
    while !tokens.is_done() {
        if !first {
            tokens.accept(&Token::Comma);
        }
        first = false;
        if tokens.accept_words(&["isolation", "level"]) {
            modes.uncommitted = tokens.accept_words(&["read", "uncommitted"]);
            let level = if modes.uncommitted { Isolation::ReadCommitted } else { isolation(tokens)? };
            modes.isolation = Some(level);
        } else if tokens.accept_words(&["read", "only"]) {
            modes.read_only = Some(true);
        } else if tokens.accept_words(&["read", "write"]) {
            modes.read_only = Some(false);
        } else if tokens.accept_words(&["not", "deferrable"]) {
            modes.deferrable = Some(false);
        } else if tokens.accept_words(&["deferrable"]) {
            modes.deferrable = Some(true);
        } else {
            return Err(tokens.error());
        }
    }
    Ok(modes)
}

fn isolation(tokens: &mut Tokens) -> SqlResult<Isolation> {
    if tokens.accept_words(&["serializable"]) {
        Ok(Isolation::Serializable)
    } else if tokens.accept_words(&["repeatable", "read"]) {
        Ok(Isolation::RepeatableRead)
    } else if tokens.accept_words(&["read", "committed"]) {
        Ok(Isolation::ReadCommitted)
    } else {
        Err(tokens.error())
    }
}
