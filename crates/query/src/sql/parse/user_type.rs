//! CREATE TYPE, ALTER TYPE; CREATE, ALTER and DROP DOMAIN. DROP TYPE is sqlparser's.

use perigee_types::SqlResult;
use perigee_types::enum_type::EnumPlace;
use sqlparser::ast::{Expr, ObjectName};
use sqlparser::tokenizer::Token;

use super::tokens::Tokens;
use crate::sql::statement::{AlterTypeAction, Ast};

/// The statement, where it is one of these.
///
/// # Errors
/// `42601`
pub(super) fn parse(tokens: &mut Tokens) -> SqlResult<Option<Ast>> {
    if tokens.accept_words(&["create", "type"]) {
        create(tokens).map(Some)
    } else if tokens.accept_words(&["alter", "type"]) {
        alter(tokens).map(Some)
    } else if tokens.accept_words(&["create", "domain"]) {
        create_domain(tokens).map(Some)
    } else if tokens.accept_words(&["alter", "domain"]) {
        alter_domain(tokens).map(Some)
    } else if tokens.accept_words(&["drop", "domain"]) {
        drop_domains(tokens).map(Some)
    } else {
        Ok(None)
    }
}

fn create(tokens: &mut Tokens) -> SqlResult<Ast> {
    let name = tokens.object_name()?;
    let is_as = tokens.accept_words(&["as"]);
    if is_as && tokens.accept(&Token::LParen) {
        return composite(tokens, name);
    }
    if is_as && tokens.accept_words(&["range"]) {
        return range(tokens, name);
    }
    if !is_as || !tokens.accept_words(&["enum"]) {
        return Ok(Ast::Unsupported("CREATE TYPE of this kind"));
    }
    let mut labels = Vec::new();
    tokens.expect(&Token::LParen)?;
    if !tokens.accept(&Token::RParen) {
        labels.push(tokens.string()?);
        while tokens.accept(&Token::Comma) {
            labels.push(tokens.string()?);
        }
        tokens.expect(&Token::RParen)?;
    }
    tokens.expect_end()?;
    Ok(Ast::CreateType { name, labels })
}

/// `CREATE TYPE t AS (name type, …)`, behind the parenthesis.
fn composite(tokens: &mut Tokens, name: ObjectName) -> SqlResult<Ast> {
    let mut attributes = Vec::new();
    if !tokens.accept(&Token::RParen) {
        loop {
            let attribute = tokens.ident()?;
            let (ty, closed) = tokens.type_of_list()?;
            attributes.push((attribute, ty));
            if closed {
                break;
            }
        }
    }
    tokens.expect_end()?;
    Ok(Ast::CreateCompositeType { name, attributes })
}

/// `CREATE TYPE t AS RANGE (option = value, …)`, behind RANGE.
fn range(tokens: &mut Tokens, name: ObjectName) -> SqlResult<Ast> {
    tokens.expect(&Token::LParen)?;
    let mut options = Vec::new();
    loop {
        let option = tokens.ident()?;
        tokens.expect(&Token::Eq)?;
        let (value, closed) = tokens.type_of_list()?;
        options.push((option, value));
        if closed {
            break;
        }
    }
    tokens.expect_end()?;
    Ok(Ast::CreateRangeType { name, options })
}

fn alter(tokens: &mut Tokens) -> SqlResult<Ast> {
    let name = tokens.object_name()?;
    let action = if tokens.accept_words(&["add", "value"]) {
        let if_not_exists = tokens.accept_words(&["if", "not", "exists"]);
        let label = tokens.string()?;
        let place = match tokens.accept_one(&["before", "after"]) {
            Some("before") => EnumPlace::Before(tokens.string()?),
            Some(_) => EnumPlace::After(tokens.string()?),
            None => EnumPlace::Last,
        };
        AlterTypeAction::AddValue { label, if_not_exists, place }
    } else if tokens.accept_words(&["rename", "value"]) {
        let from = tokens.string()?;
        tokens.expect_words(&["to"])?;
        AlterTypeAction::RenameValue { from, to: tokens.string()? }
    } else if tokens.accept_words(&["rename", "to"]) {
        AlterTypeAction::Rename(tokens.ident()?)
    } else if tokens.accept_words(&["set", "schema"]) {
        AlterTypeAction::SetSchema(tokens.ident()?)
    } else if tokens.accept_words(&["owner", "to"]) {
        match tokens.accept_one(&["current_user", "current_role", "session_user"]) {
            Some(_) => AlterTypeAction::Owner(None),
            None => AlterTypeAction::Owner(Some(tokens.ident()?)),
        }
    } else if tokens.accept_one(&["add", "drop", "alter", "rename", "set"]).is_some() {
        return Ok(Ast::Unsupported("ALTER TYPE of this kind"));
    } else {
        return Err(tokens.error());
    };
    tokens.expect_end()?;
    Ok(Ast::AlterType { name, domain: false, action: Box::new(action) })
}

/// `CREATE DOMAIN d AS type …`: behind the type stands what stands behind a column's.
fn create_domain(tokens: &mut Tokens) -> SqlResult<Ast> {
    let name = tokens.object_name()?;
    tokens.accept_words(&["as"]);
    if tokens.is_done() {
        return Err(tokens.error());
    }
    tokens.column_of_table(&name).map(|statement| Ast::CreateDomain(Box::new(statement)))
}

fn alter_domain(tokens: &mut Tokens) -> SqlResult<Ast> {
    let name = tokens.object_name()?;
    let action = if tokens.accept_words(&["set", "default"]) {
        AlterTypeAction::SetDefault(Some(tokens.rest_expression()?))
    } else if tokens.accept_words(&["drop", "default"]) {
        AlterTypeAction::SetDefault(None)
    } else if tokens.accept_words(&["set", "not", "null"]) {
        AlterTypeAction::SetNotNull(true)
    } else if tokens.accept_words(&["drop", "not", "null"]) {
        AlterTypeAction::SetNotNull(false)
    } else if tokens.accept_words(&["add"]) {
        let constraint = if tokens.accept_words(&["constraint"]) { Some(tokens.ident()?) } else { None };
        tokens.expect_words(&["check"])?;
        tokens.expect(&Token::LParen)?;
        let inner = tokens.until_closed()?;
        let [check]: [Expr; 1] = tokens.expressions(inner)?.try_into().map_err(|_| tokens.error())?;
        if tokens.accept_words(&["not", "valid"]) {
            return Ok(Ast::Unsupported("NOT VALID"));
        }
        AlterTypeAction::AddCheck(constraint, check)
    } else if tokens.accept_words(&["drop", "constraint"]) {
        let if_exists = tokens.accept_words(&["if", "exists"]);
        let constraint = tokens.ident()?;
        tokens.accept_one(&["cascade", "restrict"]);
        AlterTypeAction::DropConstraint(constraint, if_exists)
    } else if tokens.accept_words(&["rename", "constraint"]) {
        let from = tokens.ident()?;
        tokens.expect_words(&["to"])?;
        AlterTypeAction::RenameConstraint(from, tokens.ident()?)
    } else if tokens.accept_words(&["rename", "to"]) {
        AlterTypeAction::Rename(tokens.ident()?)
    } else if tokens.accept_words(&["set", "schema"]) {
        AlterTypeAction::SetSchema(tokens.ident()?)
    } else if tokens.accept_words(&["owner", "to"]) {
        match tokens.accept_one(&["current_user", "current_role", "session_user"]) {
            Some(_) => AlterTypeAction::Owner(None),
            None => AlterTypeAction::Owner(Some(tokens.ident()?)),
        }
    } else if tokens.accept_words(&["validate", "constraint"]) {
        return Ok(Ast::Unsupported("VALIDATE CONSTRAINT"));
    } else {
        return Err(tokens.error());
    };
    tokens.expect_end()?;
    Ok(Ast::AlterType { name, domain: true, action: Box::new(action) })
}

fn drop_domains(tokens: &mut Tokens) -> SqlResult<Ast> {
    let if_exists = tokens.accept_words(&["if", "exists"]);
    let mut names = vec![tokens.object_name()?];
    while tokens.accept(&Token::Comma) {
        names.push(tokens.object_name()?);
    }
    let cascade = tokens.accept_one(&["cascade", "restrict"]) == Some("cascade");
    tokens.expect_end()?;
    Ok(Ast::DropDomain { names, if_exists, cascade })
}
