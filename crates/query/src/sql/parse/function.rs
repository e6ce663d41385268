//! CREATE, ALTER and DROP FUNCTION, COMMENT ON FUNCTION.

use perigee_types::catalog::{Parallel, Volatility};
use perigee_types::{SqlError, SqlResult};
use sqlparser::ast::{DataType, Expr, Ident};
use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::tokens::{Tokens, word_of};
use crate::sql::statement::{AlterFunctionAction, Ast, FunctionStatement, ParameterClause, ReturnsClause};

/// The statement, where it is one of these.
///
/// # Errors
/// `42601`
pub(super) fn parse(tokens: &mut Tokens) -> SqlResult<Option<Ast>> {
    if tokens.accept_words(&["create", "function"]) {
        create(tokens, false).map(Some)
    } else if tokens.accept_words(&["create", "or", "replace", "function"]) {
        create(tokens, true).map(Some)
    } else if tokens.accept_words(&["drop", "function"]) {
        drop(tokens).map(Some)
    } else if tokens.accept_words(&["alter", "function"]) {
        alter(tokens).map(Some)
    } else if tokens.accept_words(&["comment", "on", "function"]) {
        comment(tokens).map(Some)
    } else {
        Ok(None)
    }
}

fn create(tokens: &mut Tokens, replace: bool) -> SqlResult<Ast> {
    if tokens.peek_word().is_some_and(|word| crate::pg_catalog::is_grammars(&word))
        && tokens.rest().get(1).is_some_and(|next| next.token == Token::LParen)
    {
        return Err(tokens.error());
    }
    let mut made = FunctionStatement {
        replace,
        name: tokens.object_name()?,
        parameters: Vec::new(),
        returns: None,
        language: None,
        body: None,
        volatility: Volatility::default(),
        strict: false,
        parallel: Parallel::default(),
        unsupported: None,
    };
    for item in items(tokens)? {
        match parameter(tokens, item)? {
            Ok(parameter) => made.parameters.push(parameter),
            Err(what) => made.unsupported = Some(what),
        }
    }
    if tokens.accept_words(&["returns"]) {
        made.returns = Some(returns(tokens)?);
    }
    while !tokens.is_done() {
        clause(tokens, &mut made)?;
    }
    Ok(Ast::CreateFunction(Box::new(made)))
}

/// What stands behind the result's type, clause by clause and in any order.
fn clause(tokens: &mut Tokens, made: &mut FunctionStatement) -> SqlResult<()> {
    let conflict = || SqlError::syntax("conflicting or redundant options");
    if tokens.accept_words(&["language"]) {
        let language = match tokens.peek() {
            Some(Token::Word(_)) => tokens.name()?,
            _ => tokens.string()?.to_lowercase(),
        };
        if made.language.replace(language).is_some() {
            return Err(conflict());
        }
    } else if tokens.accept_words(&["as"]) {
        if made.body.replace(tokens.string()?).is_some() {
            return Err(conflict());
        }
        if tokens.accept(&Token::Comma) {
            tokens.string()?;
            made.unsupported = Some("a function of a library");
        }
    } else if let Some(word) = tokens.accept_one(&["immutable", "stable", "volatile"]) {
        made.volatility = match word {
            "immutable" => Volatility::Immutable,
            "stable" => Volatility::Stable,
            _ => Volatility::Volatile,
        };
    } else if tokens.accept_words(&["strict"]) || tokens.accept_words(&["returns", "null", "on", "null", "input"]) {
        made.strict = true;
    } else if tokens.accept_words(&["called", "on", "null", "input"]) {
        made.strict = false;
    } else if tokens.accept_words(&["parallel"]) {
        made.parallel = match tokens.accept_one(&["safe", "restricted", "unsafe"]) {
            Some("safe") => Parallel::Safe,
            Some("restricted") => Parallel::Restricted,
            Some(_) => Parallel::Unsafe,
            None => return Err(tokens.error()),
        };
    } else if tokens.accept_words(&["security", "definer"]) || tokens.accept_words(&["external", "security", "definer"])
    {
        made.unsupported = Some("SECURITY DEFINER");
    } else if tokens.accept_words(&["security", "invoker"])
        || tokens.accept_words(&["external", "security", "invoker"])
        || tokens.accept_words(&["not", "leakproof"])
    {
        // As it is.
    } else if tokens.accept_words(&["leakproof"]) {
        made.unsupported = Some("LEAKPROOF");
    } else if tokens.accept_words(&["window"]) {
        made.unsupported = Some("a window function of a user");
    } else if tokens.accept_one(&["cost", "rows"]).is_some() {
        // Estimates, which planning here does not ask for.
        match tokens.next() {
            Some(Token::Number(..)) => {}
            _ => return Err(tokens.error()),
        }
    } else if tokens.accept_one(&["set", "transform", "support", "return", "begin"]).is_some() {
        made.unsupported = Some("this clause of CREATE FUNCTION");
        while tokens.next().is_some() {}
    } else {
        return Err(tokens.error());
    }
    Ok(())
}

/// `( a, b )`: the tokens of each item.
fn items<'a>(tokens: &mut Tokens<'a>) -> SqlResult<Vec<&'a [TokenWithSpan]>> {
    tokens.expect(&Token::LParen)?;
    let inner = tokens.until_closed()?;
    Ok(if inner.is_empty() { Vec::new() } else { split(inner) })
}

/// Tokens between commas that stand in no parentheses.
fn split(tokens: &[TokenWithSpan]) -> Vec<&[TokenWithSpan]> {
    let mut depth = 0_usize;
    tokens
        .split(|token| {
            match token.token {
                Token::LParen | Token::LBracket => depth += 1,
                Token::RParen | Token::RBracket => depth = depth.saturating_sub(1),
                _ => {}
            }
            depth == 0 && token.token == Token::Comma
        })
        .collect()
}

/// `[IN] [name] type [DEFAULT expression]`; `Err`: a mode that Perigee does not have.
fn parameter(tokens: &Tokens, item: &[TokenWithSpan]) -> SqlResult<Result<ParameterClause, &'static str>> {
    let mode = item.first().and_then(|token| word_of(&token.token));
    let item = match mode.as_deref() {
        Some("out" | "inout") if item.len() > 1 => return Ok(Err("a parameter that is OUT")),
        Some("variadic") if item.len() > 1 => return Ok(Err("a parameter that is VARIADIC")),
        Some("in") => item.get(1..).unwrap_or_default(),
        _ => item,
    };
    let is_default =
        |token: &TokenWithSpan| token.token == Token::Eq || word_of(&token.token).is_some_and(|word| word == "default");
    let (declared, default) = match item.iter().position(is_default) {
        Some(at) => (item.get(..at).unwrap_or_default(), item.get(at + 1..)),
        None => (item, None),
    };
    let default = match default {
        Some(given) => {
            let [default]: [Expr; 1] = tokens.expressions(given)?.try_into().map_err(|_| tokens.error())?;
            Some(default)
        }
        None => None,
    };
    let (name, data_type) = name_and_type(tokens, declared)?;
    Ok(Ok(ParameterClause { name, data_type, default }))
}

/// `[name] type`: what is a type as a whole has no name.
fn name_and_type(tokens: &Tokens, declared: &[TokenWithSpan]) -> SqlResult<(Option<Ident>, DataType)> {
    if declared.is_empty() {
        return Err(tokens.error());
    }
    if let Ok(data_type) = one_type(tokens, declared) {
        return Ok((None, data_type));
    }
    match declared {
        [TokenWithSpan { token: Token::Word(word), span }, rest @ ..] if !rest.is_empty() => {
            Ok((Some(word.clone().into_ident(*span)), one_type(tokens, rest)?))
        }
        _ => Err(tokens.error()),
    }
}

fn one_type(tokens: &Tokens, declared: &[TokenWithSpan]) -> SqlResult<DataType> {
    let [data_type]: [DataType; 1] = tokens.types(declared)?.try_into().map_err(|_| tokens.error())?;
    Ok(data_type)
}

/// What stands behind RETURNS.
fn returns(tokens: &mut Tokens) -> SqlResult<ReturnsClause> {
    if tokens.accept_words(&["table"]) {
        let mut columns = Vec::new();
        for item in items(tokens)? {
            match name_and_type(tokens, item)? {
                (Some(name), data_type) => columns.push((name, data_type)),
                (None, _) => return Err(tokens.error()),
            }
        }
        return Ok(ReturnsClause::Table(columns));
    }
    let set = tokens.accept_words(&["setof"]);
    let rest = tokens.rest();
    // A type ends where the next clause begins.
    let ends = |token: &TokenWithSpan| {
        word_of(&token.token).is_some_and(|word| {
            matches!(
                word.as_str(),
                "as" | "language"
                    | "immutable"
                    | "stable"
                    | "volatile"
                    | "strict"
                    | "called"
                    | "returns"
                    | "parallel"
                    | "security"
                    | "external"
                    | "not"
                    | "leakproof"
                    | "window"
                    | "cost"
                    | "rows"
                    | "set"
                    | "transform"
                    | "support"
                    | "return"
                    | "begin"
            )
        })
    };
    let length = rest.iter().position(ends).unwrap_or(rest.len());
    let declared = rest.get(..length).unwrap_or_default();
    if declared.is_empty() {
        return Err(tokens.error());
    }
    let data_type = one_type(tokens, declared)?;
    for _ in 0..length {
        tokens.next();
    }
    Ok(if set { ReturnsClause::Set(data_type) } else { ReturnsClause::Value(data_type) })
}

fn drop(tokens: &mut Tokens) -> SqlResult<Ast> {
    let if_exists = tokens.accept_words(&["if", "exists"]);
    let mut names = vec![function_name(tokens)?];
    while tokens.accept(&Token::Comma) {
        names.push(function_name(tokens)?);
    }
    let cascade = tokens.accept_one(&["cascade", "restrict"]) == Some("cascade");
    tokens.expect_end()?;
    Ok(Ast::DropFunctions { names, if_exists, cascade })
}

fn alter(tokens: &mut Tokens) -> SqlResult<Ast> {
    let (name, parameters) = function_name(tokens)?;
    let action = if tokens.accept_words(&["rename", "to"]) {
        AlterFunctionAction::Rename(tokens.ident()?)
    } else if tokens.accept_words(&["set", "schema"]) {
        AlterFunctionAction::SetSchema(tokens.ident()?)
    } else if tokens.accept_words(&["owner", "to"]) {
        match tokens.accept_one(&["current_user", "current_role", "session_user"]) {
            Some(_) => AlterFunctionAction::Owner(None),
            None => AlterFunctionAction::Owner(Some(tokens.ident()?)),
        }
    } else {
        return Ok(Ast::Unsupported("ALTER FUNCTION of this kind"));
    };
    tokens.expect_end()?;
    Ok(Ast::AlterFunction { name, parameters, action })
}

fn comment(tokens: &mut Tokens) -> SqlResult<Ast> {
    let (name, parameters) = function_name(tokens)?;
    tokens.expect_words(&["is"])?;
    let text = if tokens.accept_words(&["null"]) { None } else { Some(tokens.string()?) };
    tokens.expect_end()?;
    let action = AlterFunctionAction::Comment(text.filter(|text| !text.is_empty()));
    Ok(Ast::AlterFunction { name, parameters, action })
}

/// `name [( [IN] [name] type, … )]`
pub(super) fn function_name(tokens: &mut Tokens) -> SqlResult<(sqlparser::ast::ObjectName, Option<Vec<DataType>>)> {
    let name = tokens.object_name()?;
    if tokens.peek() != Some(&Token::LParen) {
        return Ok((name, None));
    }
    let mut types = Vec::new();
    for item in items(tokens)? {
        if let Ok(parameter) = parameter(tokens, item)? {
            types.push(parameter.data_type);
        }
    }
    Ok((name, Some(types)))
}
