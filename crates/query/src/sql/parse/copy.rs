//! COPY: the form of today, `WITH ( option value, … )`, and the one from before PostgreSQL 9.0 that psql still sends.

use perigee_plan::command::CopyKind;
use perigee_types::{SqlError, SqlResult, SqlState};
use sqlparser::tokenizer::Token;

use super::tokens::Tokens;
use crate::sql::statement::{Ast, CopyColumns, CopyOptions, CopyStatement, CopyTarget};

pub(super) fn parse(tokens: &mut Tokens) -> SqlResult<Ast> {
    tokens.next();
    let mut options = CopyOptions::default();
    if tokens.accept_words(&["binary"]) {
        options.kind = Some(CopyKind::Binary);
    }
    let target = if tokens.accept(&Token::LParen) {
        let inner = tokens.until_closed()?;
        CopyTarget::Query(tokens.query(inner)?)
    } else {
        let table = tokens.object_name()?;
        let columns = if tokens.peek() == Some(&Token::LParen) { tokens.list(Tokens::ident)? } else { Vec::new() };
        CopyTarget::Table(table, columns)
    };
    let from = match tokens.accept_one(&["from", "to"]) {
        Some("from") if matches!(target, CopyTarget::Query(_)) => {
            return Err(SqlError::syntax("COPY FROM not supported with a query"));
        }
        Some(word) => word == "from",
        None => return Err(tokens.error()),
    };
    if tokens.accept_words(&["program"]) || matches!(tokens.peek(), Some(Token::SingleQuotedString(_))) {
        return Err(SqlError::unsupported("COPY with a file or a program of the server")
            .hint("Use COPY FROM STDIN or TO STDOUT, or psql's \\copy."));
    }
    // PostgreSQL takes STDIN and STDOUT for each other.
    if tokens.accept_one(&["stdin", "stdout"]).is_none() {
        return Err(tokens.error());
    }
    tokens.accept_one(&["with"]);
    if tokens.peek() == Some(&Token::LParen) {
        tokens.list(|tokens| option(tokens, &mut options))?;
    } else {
        while !tokens.is_done() && tokens.peek_word().as_deref() != Some("where") {
            legacy_option(tokens, &mut options)?;
        }
    }
    let filter = match from && tokens.accept_words(&["where"]) {
        true => Some(tokens.rest_expression()?),
        false => None,
    };
    tokens.expect_end()?;
    Ok(Ast::Copy(Box::new(CopyStatement { target, from, options, filter })))
}

fn option(tokens: &mut Tokens, options: &mut CopyOptions) -> SqlResult<()> {
    let name = tokens.name()?;
    match name.as_str() {
        "format" => {
            let format = name_or_string(tokens)?;
            options.kind = Some(match format.as_str() {
                "text" => CopyKind::Text,
                "csv" => CopyKind::Csv,
                "binary" => CopyKind::Binary,
                _ => {
                    return Err(SqlError::new(
                        SqlState::InvalidParameterValue,
                        format!("COPY format \"{format}\" not recognized"),
                    ));
                }
            });
        }
        "freeze" => {
            boolean(tokens)?;
        }
        "header" => {
            if tokens.accept_words(&["match"]) {
                return Err(SqlError::unsupported("COPY with HEADER MATCH"));
            }
            options.header = boolean(tokens)?;
        }
        "delimiter" => options.delimiter = Some(tokens.string()?),
        "null" => options.null = Some(tokens.string()?),
        "quote" => options.quote = Some(tokens.string()?),
        "escape" => options.escape = Some(tokens.string()?),
        "force_quote" => options.force_quote = Some(columns(tokens)?),
        "force_not_null" => options.force_not_null = Some(columns(tokens)?),
        "force_null" => options.force_null = Some(columns(tokens)?),
        "encoding" => encoding(&name_or_string(tokens)?)?,
        "on_error" if name_or_string(tokens)? == "stop" => {}
        "default" | "on_error" | "log_verbosity" | "reject_limit" => {
            return Err(SqlError::unsupported(format_args!("COPY option \"{name}\"")));
        }
        _ => return Err(SqlError::syntax(format!("option \"{name}\" not recognized"))),
    }
    Ok(())
}

fn legacy_option(tokens: &mut Tokens, options: &mut CopyOptions) -> SqlResult<()> {
    const WORDS: &[&str] = &[
        "binary",
        "freeze",
        "csv",
        "header",
        "delimiter",
        "delimiters",
        "null",
        "quote",
        "escape",
        "force",
        "encoding",
    ];
    let Some(word) = tokens.accept_one(WORDS) else { return Err(tokens.error()) };
    match word {
        "binary" => options.kind = Some(CopyKind::Binary),
        "csv" => options.kind = Some(CopyKind::Csv),
        "freeze" => {}
        "header" => options.header = true,
        "force" if tokens.accept_words(&["quote"]) => {
            options.force_quote = Some(if tokens.accept(&Token::Mul) {
                CopyColumns::All
            } else {
                CopyColumns::Some(bare_columns(tokens)?)
            });
        }
        "force" if tokens.accept_words(&["not", "null"]) => {
            options.force_not_null = Some(CopyColumns::Some(bare_columns(tokens)?));
        }
        "force" => {
            tokens.expect_words(&["null"])?;
            options.force_null = Some(CopyColumns::Some(bare_columns(tokens)?));
        }
        _ => {
            tokens.accept_words(&["as"]);
            let value = tokens.string()?;
            match word {
                "null" => options.null = Some(value),
                "quote" => options.quote = Some(value),
                "escape" => options.escape = Some(value),
                "encoding" => encoding(&value)?,
                _ => options.delimiter = Some(value),
            }
        }
    }
    Ok(())
}

fn bare_columns(tokens: &mut Tokens) -> SqlResult<Vec<sqlparser::ast::Ident>> {
    let mut columns = vec![tokens.ident()?];
    while tokens.accept(&Token::Comma) {
        columns.push(tokens.ident()?);
    }
    Ok(columns)
}

fn columns(tokens: &mut Tokens) -> SqlResult<CopyColumns> {
    if tokens.accept(&Token::Mul) {
        return Ok(CopyColumns::All);
    }
    Ok(CopyColumns::Some(tokens.list(Tokens::ident)?))
}

fn name_or_string(tokens: &mut Tokens) -> SqlResult<String> {
    if matches!(tokens.peek(), Some(Token::Word(_))) { tokens.name() } else { tokens.string() }
}

/// A boolean option's value; none is true.
pub(super) fn boolean(tokens: &mut Tokens) -> SqlResult<bool> {
    let value = match tokens.peek() {
        Some(Token::Comma | Token::RParen) | None => return Ok(true),
        Some(Token::Number(number, _)) => {
            tokens.next();
            number.clone()
        }
        _ => name_or_string(tokens)?,
    };
    match value.to_ascii_lowercase().as_str() {
        "true" | "on" | "1" => Ok(true),
        "false" | "off" | "0" => Ok(false),
        _ => Err(SqlError::syntax("option requires a Boolean value")),
    }
}

fn encoding(name: &str) -> SqlResult<()> {
    let plain = name.to_ascii_lowercase().replace(['-', '_'], "");
    if matches!(plain.as_str(), "utf8" | "unicode" | "sqlascii") {
        return Ok(());
    }
    Err(SqlError::unsupported(format_args!("encoding \"{name}\"")))
}
