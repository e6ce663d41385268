//! `CALL perigee.create_api_key(role [, name] [, expires] [, scope])` and `CALL perigee.revoke_api_key(id)`: constants, by place or by
//! name.

use perigee_plan::RoleChange;
use perigee_types::{SqlError, SqlResult, SqlState, SqlType, Value};
use sqlparser::tokenizer::Token;

use super::tokens::Tokens;
use crate::sql::statement::Ast;

/// Bytes of what people call a key.
const NAME_BYTES_MAX: usize = 200;

/// The call of `procedure`, from its `(` on.
///
/// # Errors
/// `42601`, `42883` for other arguments, `22023` for values that they cannot have, `22007` for a time that is none.
pub(super) fn call(procedure: &str, tokens: &mut Tokens) -> SqlResult<Ast> {
    let names: &[&str] = match procedure {
        "perigee.create_api_key" => &["role", "name", "expires", "scope"],
        _ => &["id"],
    };
    let other = || {
        SqlError::new(SqlState::UndefinedFunction, format!("procedure {procedure} does not exist with these arguments"))
            .hint("perigee.create_api_key('role', name => 'text', expires => 'time', scope => 'read'), perigee.revoke_api_key('id')")
    };
    tokens.expect(&Token::LParen)?;
    let mut given: [Option<String>; 4] = Default::default();
    let mut at = 0;
    while tokens.peek() != Some(&Token::RParen) {
        let place = match tokens.peek() {
            Some(Token::Word(_)) => {
                let name = tokens.name()?;
                tokens.expect(&Token::RArrow)?;
                // What stands behind a name has one too.
                at = names.len();
                names.iter().position(|known| *known == name).ok_or_else(other)?
            }
            _ => at,
        };
        at += 1;
        if place >= names.len() || given[place].is_some() {
            return Err(other());
        }
        given[place] = Some(tokens.string()?);
        if !tokens.accept(&Token::Comma) {
            break;
        }
    }
    tokens.expect(&Token::RParen)?;
    tokens.expect_end()?;
    let [first, name, expires, scope] = given;
    let first = first.ok_or_else(other)?;
    if procedure != "perigee.create_api_key" {
        return Ok(Ast::Role(RoleChange::RevokeApiKey(first)));
    }
    let invalid = |text: String| SqlError::new(SqlState::InvalidParameterValue, text);
    let name = name.unwrap_or_default();
    if name.len() > NAME_BYTES_MAX {
        return Err(invalid(format!("the name of an API key has at most {NAME_BYTES_MAX} bytes")));
    }
    let read_only = match scope.as_deref().unwrap_or("all") {
        "all" => false,
        "read" => true,
        other => return Err(invalid(format!("the scope of an API key is 'all' or 'read', not '{other}'"))),
    };
    let expires = match expires {
        None => None,
        Some(text) => match perigee_types::text::parse(&text, &SqlType::Timestamptz(None))? {
            Value::Timestamptz(micros) => Some(micros),
            _ => None,
        },
    };
    Ok(Ast::Role(RoleChange::CreateApiKey { role: first, name, expires, read_only }))
}
