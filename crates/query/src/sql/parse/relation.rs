//! CREATE SEQUENCE; ALTER SEQUENCE, INDEX, VIEW, and of ALTER TABLE what goes for all of them; LOCK; REINDEX.

use perigee_plan::command::LockMode;
use perigee_plan::ddl::SequenceClauses;
use perigee_types::{SqlError, SqlResult, SqlState};
use sqlparser::ast::ObjectName;
use sqlparser::tokenizer::Token;

use super::role::role_name;
use super::tokens::Tokens;
use crate::sql::statement::{AlterAction, AlterStatement, Ast, SequenceStatement};

/// Reads the statement if it is one of these; `None` where something else reads it.
pub(super) fn parse(tokens: &Tokens) -> SqlResult<Option<Ast>> {
    match tokens.peek_word().as_deref() {
        Some("create") => create_sequence(&mut tokens.clone()),
        Some("alter") => alter(&mut tokens.clone()),
        _ => Ok(None),
    }
}

/// `CREATE [TEMPORARY] SEQUENCE …`; `None` where it creates something else.
fn create_sequence(tokens: &mut Tokens) -> SqlResult<Option<Ast>> {
    tokens.next();
    tokens.accept_one(&["local", "global"]);
    let temporary = tokens.accept_one(&["temp", "temporary"]).is_some();
    tokens.accept_words(&["unlogged"]);
    if !tokens.accept_words(&["sequence"]) {
        return Ok(None);
    }
    let if_not_exists = tokens.accept_words(&["if", "not", "exists"]);
    let name = tokens.object_name()?;
    let (clauses, owned_by) = sequence_clauses(tokens)?;
    Ok(Some(Ast::CreateSequence(Box::new(SequenceStatement { temporary, if_not_exists, name, clauses, owned_by }))))
}

/// `ALTER SEQUENCE …` and its like; `None` where sqlparser reads it.
fn alter(tokens: &mut Tokens) -> SqlResult<Option<Ast>> {
    tokens.next();
    if tokens.accept_words(&["schema"]) {
        return schema(tokens).map(Some);
    }
    let Some(kind) = tokens.accept_one(&["sequence", "index", "view", "table"]) else { return Ok(None) };
    let if_exists = tokens.accept_words(&["if", "exists"]);
    if kind == "table" {
        tokens.accept_words(&["only"]);
    }
    let Ok(name) = tokens.object_name() else { return if kind == "table" { Ok(None) } else { Err(tokens.error()) } };
    tokens.accept(&Token::Mul);
    let action = match action(tokens, kind)? {
        Some(action) if tokens.is_done() => action,
        Some(_) if kind != "table" => return Err(tokens.error()),
        _ if kind == "index" => return Ok(Some(Ast::Unsupported("ALTER INDEX"))),
        _ if kind == "view" => return Ok(Some(Ast::Unsupported("ALTER VIEW"))),
        _ => return Ok(None),
    };
    Ok(Some(Ast::Alter(Box::new(AlterStatement { kind, if_exists, name, action }))))
}

/// `ALTER SCHEMA name OWNER TO role`
fn schema(tokens: &mut Tokens) -> SqlResult<Ast> {
    let name = tokens.object_name()?;
    if !tokens.accept_words(&["owner", "to"]) {
        return Ok(Ast::Unsupported("ALTER SCHEMA … RENAME"));
    }
    let action = AlterAction::Owner(role_name(tokens)?);
    tokens.expect_end()?;
    Ok(Ast::Alter(Box::new(AlterStatement { kind: "schema", if_exists: false, name, action })))
}

fn action(tokens: &mut Tokens, kind: &str) -> SqlResult<Option<AlterAction>> {
    if tokens.accept_words(&["rename", "to"]) {
        return Ok(Some(AlterAction::Rename(tokens.name()?)));
    }
    if tokens.accept_words(&["set", "schema"]) {
        return Ok(Some(AlterAction::SetSchema(tokens.name()?)));
    }
    if kind != "table" && tokens.accept_words(&["owner", "to"]) {
        return Ok(Some(AlterAction::Owner(role_name(tokens)?)));
    }
    match kind {
        "sequence" => {
            if tokens.is_done() {
                return Err(tokens.error());
            }
            let (clauses, owned_by) = sequence_clauses(tokens)?;
            Ok(Some(AlterAction::Sequence(clauses, owned_by)))
        }
        "view" if tokens.accept_words(&["rename"]) => {
            tokens.accept_words(&["column"]);
            let from = tokens.name()?;
            tokens.expect_words(&["to"])?;
            Ok(Some(AlterAction::RenameColumn(from, tokens.name()?)))
        }
        "index" if tokens.accept_words(&["attach", "partition"]) => {
            Ok(Some(AlterAction::AttachIndex(tokens.object_name()?)))
        }
        "table" => identity(tokens),
        _ => Ok(None),
    }
}

/// `ALTER [COLUMN] c DROP { IDENTITY | EXPRESSION } [IF EXISTS]`, `… { SET GENERATED … | SET option | RESTART } …`
fn identity(tokens: &mut Tokens) -> SqlResult<Option<AlterAction>> {
    if !tokens.accept_words(&["alter"]) {
        return Ok(None);
    }
    tokens.accept_words(&["column"]);
    let Ok(column) = tokens.name() else { return Ok(None) };
    if tokens.accept_words(&["drop", "expression"]) {
        return Ok(Some(AlterAction::DropExpression { column, if_exists: tokens.accept_words(&["if", "exists"]) }));
    }
    if tokens.accept_words(&["add", "generated"]) {
        return add_identity(tokens, column).map(Some);
    }
    if tokens.accept_words(&["drop", "identity"]) {
        return Ok(Some(AlterAction::DropIdentity { column, if_exists: tokens.accept_words(&["if", "exists"]) }));
    }
    let (mut always, mut clauses, mut any) = (None, SequenceClauses::default(), false);
    loop {
        if tokens.accept_words(&["set", "generated", "always"]) {
            always = Some(true);
        } else if tokens.accept_words(&["set", "generated", "by", "default"]) {
            always = Some(false);
        } else if tokens.peek_word().as_deref() == Some("restart") {
            clause(tokens, &mut clauses)?;
        } else if tokens.accept_words(&["set"]) {
            if !clause(tokens, &mut clauses)? {
                return Ok(None);
            }
        } else {
            return Ok(any.then_some(AlterAction::SetIdentity { column, always, clauses }));
        }
        any = true;
    }
}

/// `ADD GENERATED { ALWAYS | BY DEFAULT } AS IDENTITY [ ( option … ) ]`
fn add_identity(tokens: &mut Tokens, column: String) -> SqlResult<AlterAction> {
    let always = tokens.accept_words(&["always"]);
    if !always {
        tokens.expect_words(&["by", "default"])?;
    }
    tokens.expect_words(&["as", "identity"])?;
    let mut clauses = SequenceClauses::default();
    if tokens.accept(&Token::LParen) {
        while !tokens.accept(&Token::RParen) {
            if tokens.accept_words(&["sequence", "name"]) {
                // The sequence stands in the table's schema.
                let name = tokens.object_name()?;
                let last = name.0.last().and_then(|part| part.as_ident()).ok_or_else(|| tokens.error())?;
                once(&mut clauses.name, super::fold(last))?;
            } else if !clause(tokens, &mut clauses)? {
                return Err(tokens.error());
            }
        }
    }
    Ok(AlterAction::AddIdentity { column, always, clauses })
}

type Clauses = (SequenceClauses, Option<Option<ObjectName>>);

fn sequence_clauses(tokens: &mut Tokens) -> SqlResult<Clauses> {
    let (mut clauses, mut owned_by) = (SequenceClauses::default(), None);
    while !tokens.is_done() {
        if tokens.accept_words(&["owned", "by"]) {
            let owner = if tokens.accept_words(&["none"]) { None } else { Some(tokens.object_name()?) };
            if owned_by.replace(owner).is_some() {
                return Err(redundant());
            }
        } else if !clause(tokens, &mut clauses)? {
            return Err(tokens.error());
        }
    }
    Ok((clauses, owned_by))
}

fn redundant() -> SqlError {
    SqlError::syntax("conflicting or redundant options")
}

fn once<T>(slot: &mut Option<T>, value: T) -> SqlResult<()> {
    if slot.replace(value).is_some() { Err(redundant()) } else { Ok(()) }
}

/// One clause of a sequence; whether there is one.
fn clause(tokens: &mut Tokens, clauses: &mut SequenceClauses) -> SqlResult<bool> {
    if tokens.accept_words(&["as"]) {
        let ty = tokens.one_type()?;
        once(&mut clauses.ty, ty)?;
    } else if tokens.accept_words(&["increment"]) {
        tokens.accept_words(&["by"]);
        let value = bigint(tokens)?;
        once(&mut clauses.increment, value)?;
    } else if tokens.accept_words(&["minvalue"]) {
        let value = bigint(tokens)?;
        once(&mut clauses.minimum, Some(value))?;
    } else if tokens.accept_words(&["maxvalue"]) {
        let value = bigint(tokens)?;
        once(&mut clauses.maximum, Some(value))?;
    } else if tokens.accept_words(&["no", "minvalue"]) {
        once(&mut clauses.minimum, None)?;
    } else if tokens.accept_words(&["no", "maxvalue"]) {
        once(&mut clauses.maximum, None)?;
    } else if tokens.accept_words(&["start"]) {
        tokens.accept_words(&["with"]);
        let value = bigint(tokens)?;
        once(&mut clauses.start, value)?;
    } else if tokens.accept_words(&["restart"]) {
        let with = tokens.accept_words(&["with"]);
        let number = matches!(tokens.peek(), Some(Token::Number(..) | Token::Minus | Token::Plus));
        let value = if with || number { Some(bigint(tokens)?) } else { None };
        once(&mut clauses.restart, value)?;
    } else if tokens.accept_words(&["cache"]) {
        let value = bigint(tokens)?;
        once(&mut clauses.cache, value)?;
    } else if tokens.accept_words(&["cycle"]) {
        once(&mut clauses.cycle, true)?;
    } else if tokens.accept_words(&["no", "cycle"]) {
        once(&mut clauses.cycle, false)?;
    } else {
        return Ok(false);
    }
    Ok(true)
}

fn bigint(tokens: &mut Tokens) -> SqlResult<i64> {
    let negative = tokens.accept(&Token::Minus);
    if !negative {
        tokens.accept(&Token::Plus);
    }
    let Some(Token::Number(number, _)) = tokens.peek() else { return Err(tokens.error()) };
    let text = if negative { format!("-{number}") } else { number.clone() };
    tokens.next();
    text.parse().map_err(|_| {
        let text = format!("value \"{text}\" is out of range for type bigint");
        SqlError::new(SqlState::NumericValueOutOfRange, text)
    })
}

/// `LOCK [TABLE] [ONLY] name [*], … [IN mode MODE] [NOWAIT]`
pub(super) fn lock(tokens: &mut Tokens) -> SqlResult<Ast> {
    tokens.next();
    tokens.accept_words(&["table"]);
    let mut tables = Vec::new();
    loop {
        let only = tokens.accept_words(&["only"]);
        let name = tokens.object_name()?;
        tables.push(if only { super::partition::only(name) } else { name });
        tokens.accept(&Token::Mul);
        if !tokens.accept(&Token::Comma) {
            break;
        }
    }
    let mut mode = LockMode::Exclusive;
    if tokens.accept_words(&["in"]) {
        let modes: [(&[&str], LockMode); 8] = [
            (&["access", "share"], LockMode::AccessShare),
            (&["row", "share"], LockMode::RowShare),
            (&["row", "exclusive"], LockMode::RowExclusive),
            (&["share", "update", "exclusive"], LockMode::Exclusive),
            (&["share", "row", "exclusive"], LockMode::Exclusive),
            (&["share"], LockMode::Exclusive),
            (&["exclusive"], LockMode::Exclusive),
            (&["access", "exclusive"], LockMode::Exclusive),
        ];
        let found = modes.iter().find(|(words, _)| tokens.accept_words(words));
        mode = found.map(|(_, mode)| *mode).ok_or_else(|| tokens.error())?;
        tokens.expect_words(&["mode"])?;
    }
    let nowait = tokens.accept_words(&["nowait"]);
    tokens.expect_end()?;
    Ok(Ast::Lock { tables, mode, nowait })
}

/// `REINDEX [( … )] { INDEX | TABLE | SCHEMA | DATABASE | SYSTEM } [CONCURRENTLY] [name]`
pub(super) fn reindex(tokens: &mut Tokens) -> SqlResult<Ast> {
    tokens.next();
    if tokens.accept(&Token::LParen) {
        tokens.until_closed()?;
    }
    let Some(kind) = tokens.accept_one(&["index", "table", "schema", "database", "system"]) else {
        return Err(tokens.error());
    };
    tokens.accept_words(&["concurrently"]);
    let named = matches!(kind, "index" | "table");
    let name = if tokens.is_done() && !named && kind != "schema" { None } else { Some(tokens.object_name()?) };
    tokens.expect_end()?;
    Ok(Ast::Reindex { index: kind == "index", name: name.filter(|_| named) })
}
